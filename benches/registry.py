#!/usr/bin/env python3
"""Pull and push of lath beside skopeo, umoci, podman and docker, by a docker-registry of this machine.

    registry.py --lath PATH [--layers 6] [--mb 50] [--rounds 3]

skopeo pulls into an OCI layout, which does not unpack; umoci unpacks that; lath, podman and docker
have unpacked all when they are done. What is pushed is compressed by all of them, but for the row
of skopeo that says so. Wall clock and seconds of processors are medians of the rounds; of docker they
are those of its daemon and of its client. Written is what went to the file system, against the bytes of the
unpacked layers. Programs that are not there are left out. root.
"""
import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import tarfile
import tempfile
import time

from compare import Memory

# busybox counts in pages where it says KB.
SCALE = Memory().scale
CONFIG = """version: 0.1
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:%d"}
log: {level: error}
"""


def layout(folder, layers, size, packer):
    """An OCI layout of layers that shrink to about half."""
    blobs = folder + "/blobs/sha256"
    os.makedirs(blobs)

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        with open("%s/%s" % (blobs, digest), "wb") as out:
            out.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    entries, diff_ids = [], []
    kind = "application/vnd.oci.image."
    for number in range(layers):
        text = io.BytesIO()
        with tarfile.open(fileobj=text, mode="w") as tar:
            for part in range(20):
                member = tarfile.TarInfo("l%d/f%d" % (number, part))
                half = size // 40
                member.size = 2 * half
                tar.addfile(member, io.BytesIO(random.Random(number * 99 + part).randbytes(half) + bytes(half)))
        diff_ids.append("sha256:" + hashlib.sha256(text.getvalue()).hexdigest())
        packed = subprocess.run(packer, input=text.getvalue(), stdout=subprocess.PIPE, check=True).stdout
        suffix = "+gzip" if packer[0] == "gzip" else ""
        entries.append(dict(blob(packed), mediaType=kind + "layer.v1.tar" + suffix))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = dict(blob(json.dumps(config).encode()), mediaType=kind + "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": entries}
    manifest = dict(blob(json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "x:1"}
    with open(folder + "/index.json", "w") as out:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, out)
    with open(folder + "/oci-layout", "w") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')


def run(words, **more):
    """Wall clock, seconds of processors, KB at most and written bytes of one run."""
    start = time.monotonic()
    # For the memory: a child of this program begins with its own.
    more["stderr"] = subprocess.PIPE
    child = subprocess.Popen(["busybox", "time", "-v", *words], stdout=subprocess.DEVNULL, **more)
    said = child.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("%s: status %d\n%s" % (" ".join(words), status, said))
    peak = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", said).group(1)) // SCALE
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, peak, usage.ru_oublock * 512


class Docker:
    """A daemon of its own, with what it has used so far."""

    def __init__(self, work):
        self.work = work
        self.at = "unix://%s/docker.sock" % work
        os.mkdir(work)
        os.mkdir(work)
        words = ["dockerd", "--data-root", work + "/docker", "--exec-root", work + "/exec", "-H", self.at]
        words += ["--pidfile", work + "/docker.pid", "--iptables=false", "--ip6tables=false", "--bridge=none"]
        with open(work + "/docker.log", "w") as log:
            self.daemon = subprocess.Popen(words, stdout=log, stderr=log)
        for _ in range(300):
            if subprocess.run(["docker", "-H", self.at, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit(open(work + "/docker.log").read())

    def processes(self):
        """The daemon and its children."""
        found, left = [], [self.daemon.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            try:
                for task in os.listdir("/proc/%d/task" % pid):
                    with open("/proc/%d/task/%s/children" % (pid, task)) as children:
                        left += [int(word) for word in children.read().split()]
            except OSError:
                pass
        return found

    def used(self):
        """Seconds of processors so far, and KB at most."""
        seconds, peak = 0, 0
        for pid in self.processes():
            with open("/proc/%d/stat" % pid) as stat:
                fields = stat.read().rpartition(") ")[2].split()
            seconds += sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
            with open("/proc/%d/status" % pid) as status:
                peak += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return seconds, peak

    def run(self, *words):
        before = self.used()[0]
        wall, seconds, _, written = run(["docker", "-H", self.at, *words])
        after, peak = self.used()
        return wall, seconds + after - before, peak, written

    def end(self):
        self.daemon.terminate()
        self.daemon.wait()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--lath", required=True)
    options.add_argument("--layers", type=int, default=6)
    options.add_argument("--mb", type=int, default=50)
    options.add_argument("--rounds", type=int, default=3)
    words = options.parse_args()
    work = tempfile.mkdtemp(prefix="lath-bench-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(work + "/config.yml", "w") as out:
        out.write(CONFIG % (work + "/registry", port))
    server = subprocess.Popen(["docker-registry", "serve", work + "/config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    docker = None
    try:
        time.sleep(1)
        layout(work + "/image", words.layers, words.mb << 20, ["gzip", "-1"])
        layout(work + "/plain", words.layers, words.mb << 20, ["cat"])
        subprocess.run(["tar", "-cf", work + "/plain.tar", "-C", work + "/plain", "."], check=True)
        name = "127.0.0.1:%d/bench/x:1" % port
        trust = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        # skopeo remembers what a registry has, which would spare it the work.
        alone = "mkdir -p /var/lib/containers/cache; mount -t tmpfs none /var/lib/containers/cache; exec \"$@\""
        skopeo = ["unshare", "-m", "sh", "-c", alone, "sh", "skopeo", "copy", "-q", *trust]
        run([*skopeo, "oci:%s/image:x:1" % work, "docker://" + name])
        if shutil.which("dockerd"):
            docker = Docker(work + "/d")
        pulls, pushes = {}, {}
        for number in range(words.rounds):
            place = "%s/n%d" % (work, number)
            os.mkdir(place)
            lath = dict(os.environ, LATH_ROOT=place + "/lath", HOME=place)
            home = dict(os.environ, HOME=place, XDG_DATA_HOME=place)

            def note(rows, who, figures):
                rows.setdefault(who, []).append(figures)

            note(pulls, "lath", run([words.lath, "pull", "-q", name], env=lath))
            note(pulls, "skopeo, not unpacked", run([*skopeo, "docker://" + name, "oci:%s/copy:x" % place], env=home))
            if shutil.which("umoci"):
                note(pulls, "umoci, of skopeo's copy", run(["umoci", "unpack", "--image", place + "/copy:x", place + "/bundle"]))
            if shutil.which("podman"):
                podman = ["podman", "--root", place + "/podman", "--runroot", place + "/run", "--storage-driver", "overlay"]
                note(pulls, "podman", run([*podman, "pull", "-q", "--tls-verify=false", name], env=home))
            if docker:
                note(pulls, "docker", docker.run("pull", "-q", name))
                docker.run("rmi", name)
            # A new repository, and a store that knows of no blob, in each round.
            other = "127.0.0.1:%d/r%d" % (port, number)
            lath["LATH_ROOT"] = place + "/fresh"
            subprocess.run([words.lath, "load", "-q", "-i", work + "/plain.tar"], env=lath, check=True, stdout=subprocess.DEVNULL)
            subprocess.run([words.lath, "tag", "x:1", other + "/a:1"], env=lath, check=True)
            note(pushes, "lath", run([words.lath, "push", "-q", other + "/a:1"], env=lath))
            note(pushes, "skopeo", run([*skopeo, "oci:%s/plain:x:1" % work, "docker://%s/b:1" % other], env=home))
            note(pushes, "skopeo, compressed already", run([*skopeo, "oci:%s/image:x:1" % work, "docker://%s/c:1" % other], env=home))
            if docker:
                # One that has not pulled the same layers.
                docker.end()
                docker = Docker(place + "/d")
                subprocess.run([*skopeo, "oci:%s/plain:x:1" % work, "docker-archive:%s/d.tar:x:1" % place], check=True)
                docker.run("load", "-q", "-i", place + "/d.tar")
                docker.run("tag", "x:1", other + "/d:1")
                note(pushes, "docker", docker.run("push", other + "/d:1"))
                docker.end()
                docker = Docker(work + "/d%d" % number)
            shutil.rmtree(place, ignore_errors=True)
        unpacked = words.layers * words.mb << 20
        for what, rows in (("pull", pulls), ("push", pushes)):
            for who, figures in rows.items():
                wall, seconds, peak, written = [statistics.median(one) for one in zip(*figures)]
                print("%s: %-28s %6.2f s, %6.2f s of processors, %7d KB, written %.2f" % (
                    what, who, wall, seconds, peak, written / unpacked))
    finally:
        if docker:
            docker.end()
        server.terminate()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
