#!/usr/bin/env python3
"""What a step of the copy driver costs on a large root: time beside `find -ls` of the same tree, and memory.

    snapshot.py --lath PATH [--dir /dev/shm] [--disk MB] [--files 500000] [--steps 8]

The first step makes a tree of its own; each further one walks it once and hands it on. What is told are the times
between the lines `Step` of one build, and from the last one to the end, where the build waits for the medium and removes
the tree. In memory by default; with --disk on an ext4 of that size on a loop device, whose file is in the folder. The same
once more with syncs that do nothing (durability.py) tells what is waiting for the medium.

Python's standard library; root, busybox, findutils.
"""
import argparse
import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

from compare import Memory, quiet, timed
from durability import NOTHING, SYNCS, Disk, without


def base(lath, env, files):
    """Imports a root with so many small files, a hundred a directory."""
    importing = subprocess.Popen([lath, "import", "-", "base"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env)
    with tarfile.open(fileobj=importing.stdin, mode="w|") as tar:
        tar.add(shutil.which("busybox"), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
        for number in range(files):
            member = tarfile.TarInfo("many/d%d/e%d/f%d" % (number // 10000, number // 100 % 100, number))
            text = b"%d\n" % number
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    importing.stdin.close()
    if importing.wait():
        sys.exit("the import failed")


def phases(words, env, numbers):
    """Milliseconds of the first step, of each further one, and of the last with all that comes after it."""
    build = subprocess.Popen(words, stdout=subprocess.PIPE, env=env, text=True, preexec_fn=without(numbers))
    starts = []
    for line in build.stdout:
        if line.startswith("Step "):
            starts.append(time.monotonic())
    if build.wait():
        sys.exit("the build failed")
    starts.append(time.monotonic())
    gaps = [(end - start) * 1000 for start, end in zip(starts, starts[1:])]
    # The first line is that of FROM.
    return gaps[1], gaps[2:-1], gaps[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lath", required=True)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--disk", type=int)
    parser.add_argument("--files", type=int, default=500000)
    parser.add_argument("--steps", type=int, default=8)
    words = parser.parse_args()
    lath, work = os.path.abspath(words.lath), tempfile.mkdtemp(dir=words.dir)
    disk = Disk(work, words.disk) if words.disk else None
    store = (disk.at if disk else work) + "/store"
    env = dict(os.environ, LATH_ROOT=store, LATH_DRIVER="copy")
    try:
        base(lath, env, words.files)
        os.mkdir(work + "/c")
        with open(work + "/c/Dockerfile", "w") as f:
            f.write("FROM base\n" + "".join("RUN echo %d > /s%d\n" % (step, step) for step in range(words.steps)))
        build = [lath, "build", "--no-cache", "-t", "x", work + "/c"]
        layers = os.path.join(store, "layers")
        tree = os.path.join(layers, os.listdir(layers)[0], "diff")
        find = ["sh", "-c", "find \"$0\" -ls >/dev/null", tree]
        print("%d files" % words.files)
        for name, numbers in (("with syncs", NOTHING), ("syncs that do nothing", SYNCS[platform.machine()][1])):
            quiet(["sync", "-f", store])
            timed(find)
            walk = statistics.median(timed(find) for _ in range(3))
            first, further, last = phases(build, env, numbers)
            print("%s:" % name)
            print("  find -ls                      %10.0f ms" % walk)
            print("  the first step, which copies  %10.0f ms" % first)
            middle = statistics.median(further)
            print("  each further step, median     %10.0f ms, %.2f walks of find" % (middle, middle / walk))
            print("  the longest of them           %10.0f ms, %.2f walks of find" % (max(further), max(further) / walk))
            print("  the last step and the end     %10.0f ms" % last)
        print("peak memory, %d steps            %10d KB" % (words.steps, Memory().of(build, env=env)))
    finally:
        if disk:
            disk.close()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
