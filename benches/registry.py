#!/usr/bin/env python3
"""Pull and push of lath beside skopeo, by a docker-registry of this machine.

    registry.py --lath PATH [--layers 6] [--mb 20] [--rounds 5]

skopeo pulls into an OCI layout, which does not unpack; lath's pull has unpacked all. Times are wall
clock, medians; written is what went to the file system, against the bytes of
the unpacked layers. root.
"""
import argparse
import hashlib
import io
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import tarfile
import tempfile
import time

from compare import Memory

CONFIG = """version: 0.1
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:%d"}
log: {level: error}
"""


def layout(folder, layers, size):
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
        packed = subprocess.run(["gzip", "-1"], input=text.getvalue(), stdout=subprocess.PIPE, check=True).stdout
        entries.append(dict(blob(packed), mediaType=kind + "layer.v1.tar+gzip"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = dict(blob(json.dumps(config).encode()), mediaType=kind + "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": entries}
    manifest = dict(blob(json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json")
    with open(folder + "/index.json", "w") as out:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, out)
    with open(folder + "/oci-layout", "w") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')


def run(words, **more):
    """Seconds and written bytes of one run."""
    start = time.monotonic()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, **more)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("%s: status %d" % (" ".join(words), status))
    return time.monotonic() - start, usage.ru_oublock * 512


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--lath", required=True)
    options.add_argument("--layers", type=int, default=6)
    options.add_argument("--mb", type=int, default=20)
    options.add_argument("--rounds", type=int, default=5)
    words = options.parse_args()
    work = tempfile.mkdtemp(prefix="lath-bench-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(work + "/config.yml", "w") as out:
        out.write(CONFIG % (work + "/registry", port))
    server = subprocess.Popen(["docker-registry", "serve", work + "/config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        layout(work + "/image", words.layers, words.mb << 20)
        name = "127.0.0.1:%d/bench/x" % port
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        skopeo = ["skopeo", "copy", "-q", *plain]
        run([*skopeo, "oci:%s/image" % work, "docker://%s:1" % name])
        rows = {"pull": [], "push": []}
        for number in range(words.rounds):
            store, copy = "%s/s%d" % (work, number), "%s/c%d" % (work, number)
            env = dict(os.environ, LATH_ROOT=store)
            ours = run([words.lath, "pull", "-q", name + ":1"], env=env)
            theirs = run([*skopeo, "docker://%s:1" % name, "oci:" + copy])
            rows["pull"].append((ours, theirs))
            # A new name in each round, so that the blobs are sent; pulled ones would be mounted.
            other = "127.0.0.1:%d/r%d" % (port, number)
            subprocess.run([words.lath, "save", "-o", work + "/x.tar", name + ":1"], env=env, check=True)
            env = dict(os.environ, LATH_ROOT=store + "b")
            subprocess.run([words.lath, "load", "-q", "-i", work + "/x.tar"], env=env, check=True, stdout=subprocess.DEVNULL)
            subprocess.run([words.lath, "tag", name + ":1", other + "/a:1"], env=env, check=True)
            ours = run([words.lath, "push", "-q", other + "/a:1"], env=env)
            theirs = run([*skopeo, "oci-archive:" + work + "/x.tar", "docker://%s/b:1" % other])
            rows["push"].append((ours, theirs))
            for path in (store, store + "b", copy):
                shutil.rmtree(path)
        unpacked = words.layers * words.mb << 20
        for what, pairs in rows.items():
            ours, theirs = ([statistics.median(one) for one in zip(*side)] for side in zip(*pairs))
            print("%s: lath %.2f s, skopeo %.2f s (%.2fx); written %.2f and %.2f of the unpacked bytes" % (
                what, ours[0], theirs[0], theirs[0] / ours[0], ours[1] / unpacked, theirs[1] / unpacked))
        memory = Memory()
        ours = memory.of([words.lath, "pull", "-q", name + ":1"], env=dict(os.environ, LATH_ROOT=work + "/m"))
        theirs = memory.of([*skopeo, "docker://%s:1" % name, "oci:%s/mc" % work])
        print("peak memory of a pull: lath %d KB, skopeo %d KB" % (ours, theirs))
    finally:
        server.terminate()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
