#!/usr/bin/env python3
"""What a step of the copy driver costs on a large root: time beside `find -ls` of the same tree, and memory.

    snapshot.py --lath PATH [--dir /dev/shm] [--files 500000] [--steps 4]

The first step makes a tree of its own; each further one walks it once and hands it on. So the cost of one
is what a build of several steps takes longer than a build of one. In memory by default, since a disk would
show how long it takes to sync a tree that was just copied.

Python's standard library; root, busybox, findutils.
"""
import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile

from compare import Memory, quiet, timed


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lath", required=True)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--files", type=int, default=500000)
    parser.add_argument("--steps", type=int, default=4)
    words = parser.parse_args()
    lath, work = os.path.abspath(words.lath), tempfile.mkdtemp(dir=words.dir)
    env = dict(os.environ, LATH_ROOT=work + "/store", LATH_DRIVER="copy")
    try:
        base(lath, env, words.files)
        quiet(["sync"])

        def build(steps):
            folder = "%s/c%d" % (work, steps)
            os.makedirs(folder, exist_ok=True)
            with open(folder + "/Dockerfile", "w") as f:
                f.write("FROM base\n" + "".join("RUN echo %d > /s%d\n" % (step, step) for step in range(steps)))
            return [lath, "build", "--no-cache", "-t", "x", folder]

        layers = os.path.join(work, "store", "layers")
        tree = os.path.join(layers, os.listdir(layers)[0], "diff")
        find = ["sh", "-c", "find \"$0\" -ls >/dev/null", tree]
        timed(find)
        walks = [timed(find) for _ in range(5)]
        one, several = timed(build(1), env=env), timed(build(words.steps), env=env)
        step, walk = (several - one) / (words.steps - 1), statistics.median(walks)
        print("files                           %10d" % words.files)
        print("a build of one step, copied     %10.0f ms" % one)
        print("each further step               %10.0f ms" % step)
        print("find -ls                        %10.0f ms" % walk)
        print("a step in walks of find         %10.2f" % (step / walk))
        print("peak memory, %d steps            %10d KB" % (words.steps, Memory().of(build(words.steps), env=env)))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
