"""What run.py and oracle.py share: cases, build contexts, image archives, comparison.

Python 3.9 or newer, standard library only (a zstd layer needs the `zstd` program).
"""
import base64
import bz2
import fnmatch
import functools
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
import tarfile

import base

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH = 1600000000
MOUNT_POINTS = {"/proc", "/sys", "/dev"}
BUSYBOX = "busybox"


class Broken(Exception):
    """The archive or the image in it is not valid."""


# ---------------------------------------------------------------- cases

class Case:
    def __init__(self, name, folder, expected):
        self.name, self.folder, self.expected_file = name, folder, expected
        path = os.path.join(folder, "case.json")
        self.meta = {}
        if os.path.exists(path):
            with open(path, encoding="ascii") as f:
                self.meta = json.load(f)

    @property
    def area(self):
        return self.name.split("-")[0]

    def get(self, key, default=None):
        return self.meta.get(key, default)

    def runs(self):
        """Whether one of its Dockerfiles, or an image made before, may run a program."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                    if re.search(r"\bRUN\b", f.read(), re.IGNORECASE):
                        return True
        return False

    def expected(self):
        with open(self.expected_file, encoding="ascii") as f:
            return json.load(f)


def load_cases(folder, only=None, expected=None):
    folder = os.path.abspath(folder)
    expected = expected or os.path.join(os.path.dirname(folder), "expected")
    out = []
    for name in sorted(os.listdir(folder)):
        if not os.path.isdir(os.path.join(folder, name)):
            continue
        if only and not any(fnmatch.fnmatch(name, o) for o in only):
            continue
        out.append(Case(name, os.path.join(folder, name), os.path.join(expected, name + ".json")))
    return out


# ---------------------------------------------------------------- build context

def content_of(op):
    if "base64" in op:
        return base64.b64decode(op["base64"])
    if "repeat" in op:
        return op["content"].encode("utf-8", "surrogateescape") * op["repeat"]
    return op.get("content", "").encode("utf-8", "surrogateescape")


def compress(data, kind):
    if kind in (None, "", "none"):
        return data
    if kind == "gz":
        return gzip.compress(data, mtime=0)
    if kind == "bz2":
        return bz2.compress(data)
    if kind == "xz":
        return lzma.compress(data)
    if kind == "zst":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    raise ValueError(kind)


def make_tar(op, epoch):
    """A tar out of `entries`: path, type, content, mode, uid, gid, target, mtime."""
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w", format=tarfile.PAX_FORMAT) as t:
        for e in op.get("entries", []):
            i = tarfile.TarInfo(e["path"])
            kind = e.get("type", "file")
            i.mode = int(e.get("mode", "0755" if kind == "dir" else "0644"), 8)
            i.uid, i.gid, i.mtime = e.get("uid", 0), e.get("gid", 0), e.get("mtime", epoch)
            i.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
                      "hardlink": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "char": tarfile.CHRTYPE}[kind]
            if "xattrs" in e:
                i.pax_headers = {"SCHILY.xattr." + k: v for k, v in e["xattrs"].items()}
            if kind in ("symlink", "hardlink"):
                i.linkname = e["target"]
            if kind == "char":
                i.devmajor, i.devminor = e["dev"]
            data = b""
            if kind == "file":
                data = content_of(e)
                i.size = len(data)
            t.addfile(i, io.BytesIO(data) if kind == "file" else None)
    return compress(buf.getvalue(), op.get("compress"))


def make_context(case, work):
    """A fresh copy of the case in `work`, with modes, owners and times that do not
    depend on the checkout; then the operations under "setup" in case.json."""
    ctx = os.path.join(work, case.name)
    shutil.copytree(case.folder, ctx, symlinks=True)
    if os.path.exists(os.path.join(ctx, "case.json")):
        os.unlink(os.path.join(ctx, "case.json"))
    epoch = EPOCH + int(hashlib.sha256(case.name.encode()).hexdigest()[:5], 16)
    fixed = {}
    for root, dirs, files in os.walk(ctx):
        os.chmod(root, 0o755)
        for f in files:
            p = os.path.join(root, f)
            if not os.path.islink(p):
                os.chmod(p, 0o755 if os.stat(p).st_mode & 0o100 else 0o644)
    late = []
    for op in case.get("setup", []):
        p = os.path.join(ctx, op["path"]) if op["path"] else ctx
        kind = op.get("type", "file")
        if kind not in ("touch", "remove"):
            os.makedirs(os.path.dirname(p), exist_ok=True)
        if kind == "file":
            with open(p, "wb") as f:
                f.write(content_of(op))
            os.chmod(p, int(op.get("mode", "0644"), 8))
        elif kind == "dir":
            os.makedirs(p, exist_ok=True)
            os.chmod(p, int(op.get("mode", "0755"), 8))
        elif kind == "symlink":
            os.symlink(op["target"], p)
        elif kind == "hardlink":
            os.link(os.path.join(ctx, op["target"]), p)
        elif kind == "fifo":
            os.mkfifo(p)
            os.chmod(p, int(op.get("mode", "0644"), 8))
        elif kind == "socket":
            import socket
            here = os.getcwd()
            s = socket.socket(socket.AF_UNIX)
            os.chdir(os.path.dirname(p))
            try:
                s.bind(os.path.basename(p))
            finally:
                os.chdir(here)
                s.close()
        elif kind == "many":
            os.makedirs(p, exist_ok=True)
            for n in range(op["count"]):
                with open(os.path.join(p, op.get("name", "f%04d") % n), "w") as f:
                    f.write("%d\n" % n)
        elif kind == "tar":
            with open(p, "wb") as f:
                f.write(make_tar(op, epoch))
        elif kind == "gzfile":
            with open(p, "wb") as f:
                f.write(compress(content_of(op), op.get("compress", "gz")))
        elif kind == "touch":
            if "mode" in op:
                os.chmod(p, int(op["mode"], 8))
            if "uid" in op:
                os.lchown(p, op["uid"], op["gid"])
        elif kind == "remove":
            os.unlink(p)
        else:
            raise ValueError("case %s: setup type %r" % (case.name, kind))
        if "uid" in op and kind != "touch":
            os.lchown(p, op["uid"], op["gid"])
            late.append((p, op))
        if "mtime" in op:
            fixed[p] = op["mtime"]
    for p, op in late:
        if not os.path.islink(p) and "mode" in op:
            os.chmod(p, int(op["mode"], 8))
    for root, dirs, files in os.walk(ctx, topdown=False):
        for f in files + dirs + ["."]:
            p = os.path.normpath(os.path.join(root, f))
            when = fixed.get(p, epoch)
            os.utime(p, (when, when), follow_symlinks=False)
    return ctx


# ---------------------------------------------------------------- image archives

def decompress(data):
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-q", "-d", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


@functools.lru_cache(maxsize=None)
def busybox_digest():
    with open(base.busybox(), "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """The image in an archive: OCI layout, docker-save, or both at once."""

    def __init__(self, path, strict=False):
        self.problems = []
        with tarfile.open(path) as t:
            self.files, links = {}, {}
            for m in t.getmembers():
                name = os.path.normpath(m.name)
                if m.isfile():
                    self.files[name] = t.extractfile(m).read()
                elif m.islnk() or m.issym():
                    links[name] = os.path.normpath(
                        m.linkname if m.islnk() else os.path.join(os.path.dirname(m.name), m.linkname))
        # older docker writes a layer that comes twice once, and links to it
        for name, target in links.items():
            for _ in range(8):
                target = links.get(target, target)
            self.files[name] = self.files.get(target, b"")
        views = []
        if "index.json" in self.files:
            views.append(self.oci())
        if "manifest.json" in self.files:
            views.append(self.docker())
        if not views:
            raise Broken("neither index.json nor manifest.json in the archive")
        if len(views) == 2 and views[0] != views[1]:
            raise Broken("index.json and manifest.json in the archive name different images")
        config, self.layers = views[0]
        self.config_id = sha(config)
        self.config = json.loads(config)
        self.check()

    def blob(self, d):
        data = self.files.get("blobs/sha256/" + d["digest"].split(":")[1])
        if data is None:
            raise Broken("blob %s is not in the archive" % d["digest"])
        if sha(data) != d["digest"] or len(data) != d["size"]:
            raise Broken("blob %s does not match its digest or size" % d["digest"])
        return data

    def oci(self):
        index = json.loads(self.files["index.json"])
        todo = list(index["manifests"])
        while todo:
            d = todo.pop(0)
            if d.get("annotations", {}).get("vnd.docker.reference.type"):
                continue
            m = json.loads(self.blob(d))
            if "manifests" in m:
                todo = list(m["manifests"]) + todo
                continue
            return self.blob(m["config"]), [decompress(self.blob(x)) for x in m.get("layers") or []]
        raise Broken("no manifest in index.json")

    def docker(self):
        m = json.loads(self.files["manifest.json"])[0]
        layers = []
        for x in m["Layers"] or []:
            if os.path.normpath(x) not in self.files:
                raise Broken("layer %s is not in the archive" % x)
            layers.append(decompress(self.files[os.path.normpath(x)]))
        return self.files[os.path.normpath(m["Config"])], layers

    def check(self):
        ids = self.config.get("rootfs", {}).get("diff_ids") or []
        if len(ids) != len(self.layers):
            raise Broken("%d diff_ids but %d layers" % (len(ids), len(self.layers)))
        for i, (want, data) in enumerate(zip(ids, self.layers)):
            if sha(data) != want:
                raise Broken("layer %d does not match its diff_id" % i)
        history = self.config.get("history") or []
        if history:
            n = sum(1 for h in history if not h.get("empty_layer"))
            if n != len(ids):
                self.problems.append("history has %d entries with a layer, the image has %d layers" % (n, len(ids)))

    def rootfs(self):
        root = {}
        for data in self.layers:
            apply_layer(root, data)
        return root


class Node:
    __slots__ = ("kind", "mode", "uid", "gid", "size", "sha256", "target", "xattrs", "mtime", "dev")


def apply_layer(root, data):
    """root: path -> Node; hard links share a Node."""
    if not data:
        return
    added = set()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as t:
        for m in t:
            if m.name.startswith("/") or ".." in m.name.split("/"):
                raise Broken("layer entry %r leaves the root" % m.name)
            name = "/" + os.path.normpath("/" + m.name).lstrip("/")
            if name == "/":
                continue
            folder, leaf = os.path.split(name)
            if leaf == ".wh..wh..opq":
                prefix = folder.rstrip("/") + "/"
                for p in [p for p in root if p.startswith(prefix) and p not in added]:
                    del root[p]
                continue
            if leaf.startswith(".wh..wh."):
                continue
            if leaf.startswith(".wh."):
                gone = os.path.join(folder, leaf[4:])
                for p in [p for p in root if (p == gone or p.startswith(gone + "/")) and p not in added]:
                    del root[p]
                continue
            old = root.get(name)
            if old is not None and old.kind == "dir" and not m.isdir():
                for p in [p for p in root if p.startswith(name + "/")]:
                    del root[p]
            added.add(name)
            if m.islnk():
                target = "/" + os.path.normpath(m.linkname).lstrip("/")
                if target not in root:
                    raise Broken("hard link %s to %s, which is not there" % (name, target))
                root[name] = root[target]
                continue
            n = Node()
            n.mode, n.uid, n.gid, n.mtime = "%04o" % (m.mode & 0o7777), m.uid, m.gid, int(m.mtime)
            n.size = n.sha256 = n.target = n.dev = None
            n.xattrs = {}
            for k, v in (m.pax_headers or {}).items():
                if k.startswith("SCHILY.xattr."):
                    n.xattrs[k[13:]] = v.encode("utf-8", "surrogateescape").hex()
            if m.isdir():
                n.kind = "dir"
            elif m.issym():
                n.kind, n.target, n.mode = "symlink", m.linkname, "0777"
            elif m.isfifo():
                n.kind = "fifo"
            elif m.ischr():
                n.kind, n.dev = "char", [m.devmajor, m.devminor]
            elif m.isblk():
                n.kind, n.dev = "block", [m.devmajor, m.devminor]
            elif m.isfile():
                body = t.extractfile(m).read()
                n.kind, n.size, n.sha256 = "file", len(body), hashlib.sha256(body).hexdigest()
            else:
                raise Broken("layer entry %s of type %r" % (name, m.type))
            root[name] = n


def listing(root, mtimes=()):
    """path -> plain dict, ready for JSON."""
    groups = {}
    for p, n in root.items():
        if n.kind != "dir":
            groups.setdefault(id(n), []).append(p)
    out = {}
    for p, n in root.items():
        e = {"type": n.kind, "mode": n.mode, "uid": n.uid, "gid": n.gid}
        if n.kind == "file":
            e["size"], e["sha256"] = n.size, n.sha256
            if n.sha256 == busybox_digest():
                # whichever version the base was made of
                e["size"], e["sha256"] = 0, BUSYBOX
        if n.kind == "symlink":
            e["target"] = n.target
        if n.dev is not None:
            e["dev"] = n.dev
        if n.xattrs:
            e["xattrs"] = n.xattrs
        if len(groups.get(id(n), ())) > 1:
            e["hardlinks"] = sorted(groups[id(n)])
        if p in mtimes:
            e["mtime"] = n.mtime
        out[p] = e
    return out


def normal_config(c):
    """The parts of an image config that are compared, with the empty forms made one."""
    k = c.get("config") or {}
    health = k.get("Healthcheck") or None
    if health:
        health = {x: v for x, v in health.items() if v}
    labels = {x: v for x, v in (k.get("Labels") or {}).items() if not x.startswith("io.buildah.")}
    return {
        "os": c.get("os"), "architecture": c.get("architecture"), "variant": c.get("variant") or "",
        "author": c.get("author") or "",
        "Env": k.get("Env") or [], "Cmd": k.get("Cmd") or [], "Entrypoint": k.get("Entrypoint") or [],
        "WorkingDir": os.path.normpath("/" + (k.get("WorkingDir") or "/").lstrip("/")), "User": k.get("User") or "",
        "Labels": dict(sorted(labels.items())),
        "ExposedPorts": sorted(k.get("ExposedPorts") or {}), "Volumes": sorted(k.get("Volumes") or {}),
        "StopSignal": k.get("StopSignal") or "", "Healthcheck": health,
        "OnBuild": k.get("OnBuild") or [], "Shell": k.get("Shell") or [],
    }


def describe(image, case, below):
    """The facts about an image that expected/NAME.json holds."""
    mtimes = set(case.get("mtime", []))
    final = listing(image.rootfs(), mtimes)
    if case.get("loose_hardlinks"):
        for e in final.values():
            e.pop("hardlinks", None)
    out = {"config": normal_config(image.config)}
    if case.get("created"):
        out["config"]["created"] = (image.config.get("created") or "")[:19]
    if case.get("summary"):
        new = [p for p in sorted(final) if final[p] != below.get(p)]
        text = "".join(json.dumps([p, final[p]], sort_keys=True) + "\n" for p in new)
        out["summary"] = {"entries": len(new), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    else:
        removed = sorted(p for p in below if p not in final)
        if len(removed) > len(below) // 2:
            out["delta_to"] = "nothing"
            removed, start = [], {}
        else:
            out["delta_to"], start = "base", below
        out["rootfs"] = [dict([("path", p)] + list(final[p].items())) for p in sorted(final)
                         if final[p] != start.get(p)]
        out["removed"] = [p for p in removed if os.path.dirname(p) not in removed]
    return out


def informational(image):
    return {"layers": len(image.layers),
            "history": [[(h.get("created_by") or ""), bool(h.get("empty_layer"))]
                        for h in image.config.get("history") or []]}


def compare(want, got):
    """Differences, as lines; none when equal."""
    out = []
    for key in sorted(set(want["config"]) | set(got["config"])):
        a, b = want["config"].get(key), got["config"].get(key)
        if a != b:
            out.append("config %s: want %s, got %s" % (key, json.dumps(a), json.dumps(b)))
    if "summary" in want:
        if want["summary"] != got.get("summary"):
            out.append("rootfs: want %s, got %s" % (want["summary"], got.get("summary")))
        return out
    if want["delta_to"] != got["delta_to"]:
        return out + ["rootfs: the base's files are %s" % ("missing" if want["delta_to"] == "base" else "still there")]
    # what a sandbox may leave of its mount points when the image had none
    a = {e["path"]: e for e in want["rootfs"] if e["path"] not in MOUNT_POINTS}
    b = {e["path"]: e for e in got["rootfs"] if e["path"] not in MOUNT_POINTS}
    for p in sorted(set(a) | set(b)):
        if p not in b:
            out.append("%s: missing, or as in the base; want %s" % (p, brief(a[p])))
        elif p not in a:
            out.append("%s: not expected, got %s" % (p, brief(b[p])))
        elif a[p] != b[p]:
            diff = [k for k in sorted(set(a[p]) | set(b[p])) if a[p].get(k) != b[p].get(k)]
            out.append("%s: %s" % (p, ", ".join("%s want %s got %s" % (k, a[p].get(k), b[p].get(k)) for k in diff)))
    for p in sorted((set(want["removed"]) ^ set(got["removed"])) - MOUNT_POINTS):
        out.append("%s: %s" % (p, "should be removed" if p in want["removed"] else "should not be removed"))
    return out


def brief(e):
    return " ".join("%s=%s" % (k, v if k != "sha256" else v[:12]) for k, v in e.items() if k != "path")


def base_listing(archive):
    return listing(Image(archive).rootfs())
