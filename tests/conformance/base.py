"""The base image of the cases, `busybox`: a static busybox from this machine in a small root.

Made anew for each run, always the same for the same busybox. Nothing of lath makes it.
"""
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile

EPOCH = 1600000000
CREATED = "2020-09-13T12:26:40Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:daemon
staff:x:50:app
users:x:100:
app:x:1000:
nogroup:x:65534:
"""
DIRS = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "home/app": 0o750, "proc": 0o555, "root": 0o700,
        "run": 0o755, "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/share": 0o755,
        "usr/share/doc": 0o755, "var": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/tmp": 0o1777}
FILES = {"etc/passwd": (PASSWD, 0o644), "etc/group": (GROUP, 0o644),
         "etc/shadow": ("root:*:19000:0:99999:7:::\n", 0o640), "home/app/.profile": ("PS1='$ '\n", 0o644),
         "usr/share/doc/README": ("base image of the conformance suite\n", 0o644)}
LINKS = {"usr/bin/env": "../../bin/env", "var/run": "../run"}


def busybox():
    """The path of a busybox that asks for no library: no name of a loader at its start."""
    path = shutil.which("busybox")
    if not path:
        raise SystemExit("busybox is missing: apt-get install busybox-static")
    with open(path, "rb") as f:
        if b"/ld-" in f.read(4096):
            raise SystemExit("%s is not static: apt-get install busybox-static" % path)
    return path


def layer():
    program = busybox()
    applets = subprocess.run([program, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    with open(program, "rb") as f:
        files = {"bin/busybox": (f.read(), 0o755)}
    files.update({name: (text.encode(), mode) for name, (text, mode) in FILES.items()})
    links = {"bin/" + name: "busybox" for name in applets if name != "busybox"}
    links.update(LINKS)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([*DIRS, *files, *links]):
            member = tarfile.TarInfo(name)
            member.mtime = EPOCH
            if name.startswith("home/app"):
                member.uid = member.gid = 1000
            if name in DIRS:
                member.type, member.mode = tarfile.DIRTYPE, DIRS[name]
                tar.addfile(member)
            elif name in links:
                member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, links[name]
                tar.addfile(member)
            else:
                data, member.mode = files[name]
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def make(path):
    """Writes the image as an OCI layout that is a docker-save archive too."""
    blobs = {}

    def blob(data, **more):
        digest = hashlib.sha256(data).hexdigest()
        blobs["blobs/sha256/" + digest] = data
        return dict(more, digest="sha256:" + digest, size=len(data))

    def text(value):
        return json.dumps(value, separators=(",", ":")).encode()

    tar = layer()
    packed = blob(gzip.compress(tar, 1, mtime=0), mediaType="application/vnd.oci.image.layer.v1.tar+gzip")
    config = blob(text({
        "architecture": "amd64", "os": "linux", "created": CREATED,
        "config": {"Env": ["PATH=" + PATH], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
        "history": [{"created": CREATED, "created_by": "base image of the conformance suite"}],
    }), mediaType="application/vnd.oci.image.config.v1+json")
    manifest = blob(text({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [packed],
    }), mediaType="application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest",
                               "io.containerd.image.name": "docker.io/library/busybox:latest"}
    manifest["platform"] = {"architecture": "amd64", "os": "linux"}

    def place(d):
        return "blobs/sha256/" + d["digest"].split(":")[1]

    files = dict(sorted(blobs.items()))
    files["index.json"] = text({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                                "manifests": [manifest]})
    files["manifest.json"] = text([{"Config": place(config), "RepoTags": ["busybox:latest"],
                                    "Layers": [place(packed)]}])
    files["oci-layout"] = text({"imageLayoutVersion": "1.0.0"})
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), EPOCH, 0o644
            out.addfile(member, io.BytesIO(data))
