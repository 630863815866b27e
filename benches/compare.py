#!/usr/bin/env python3
"""Measures lath side by side with its rivals, in the same run on the same machine.

    compare.py --lath PATH [--copy-mb 1024] [--files 20000] [--rounds 15]

A step is set against `bwrap --unshare-all` with the same root and the same command, a copy against
`cp` and a sync, all of it against docker and buildah where they work. Python's standard
library only; root. Times are wall clock, medians; memory is what wait4 says of the whole process.
"""
import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

STEPS = 50


def quiet(words, **more):
    """Runs a command that must work, and gives its output."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        sys.exit("%s: exit code %d\n%s" % (" ".join(words), done.returncode, done.stdout.decode(errors="replace")))
    return done.stdout.decode(errors="replace")


def timed(words, **more):
    """Milliseconds of one run."""
    start = time.monotonic()
    quiet(words, **more)
    return (time.monotonic() - start) * 1000


def median(rounds, words, before=None, **more):
    """The median of some runs, in milliseconds; `before` is not measured."""
    times = []
    for _ in range(rounds):
        if before:
            before()
        times.append(timed(words, **more))
    return statistics.median(times)


class Memory:
    """Peak memory of a process, in KB.

    Not by wait4 here: a child of Python starts with Python's own peak. busybox is small enough;
    its `time -v` counts in pages where it says KB, so a process of known size tells the scale.
    """

    def __init__(self):
        known = 64 << 20
        said = self.said([sys.executable, "-c", "a = b'x' * %d" % known])
        self.scale = 4 if said > 3 * known / 1024 else 1

    @staticmethod
    def said(words, **more):
        text = quiet(["busybox", "time", "-v"] + words, **more)
        return int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", text).group(1))

    def of(self, words, **more):
        return self.said(words, **more) // self.scale


class Table:
    """Rows as they come: what, lath, the rival, how many times faster lath is."""

    def __init__(self):
        print("%-34s %12s   %-22s %12s %8s" % ("what", "lath", "rival", "", "ratio"))

    @staticmethod
    def row(what, lath, rival="", theirs=None, unit="ms"):
        def show(number):
            return "%.1f %s" % (number, unit) if number < 100 else "%.0f %s" % (number, unit)

        ratio = "%.1fx" % (theirs / lath) if theirs and lath else ""
        print("%-34s %12s   %-22s %12s %8s" % (what, show(lath), rival, show(theirs) if theirs else "", ratio), flush=True)


def machine(folder):
    cpu = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("model name", "Model", "Hardware")):
                cpu = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) // 1024
    kind = quiet(["stat", "-f", "-c", "%T", folder]).strip()
    print("%s, %d processors, %d MB, Linux %s, %s on %s" % (cpu, os.cpu_count(), memory, platform.release(), platform.machine(), kind))


def make_root(work):
    """A busybox root as a folder and as a tar."""
    root = os.path.join(work, "root")
    os.makedirs(root + "/bin")
    for name in ("proc", "dev", "tmp", "etc", "sys"):
        os.mkdir(os.path.join(root, name))
    shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
    for applet in quiet(["busybox", "--list"]).split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", applet))
    quiet(["tar", "-C", root, "-cf", work + "/root.tar", "."])
    return root


def context(work, name, dockerfile):
    folder = os.path.join(work, name)
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/Dockerfile", "w") as f:
        f.write(dockerfile)
    return folder


def fill(path, megabytes):
    block = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for number in range(megabytes):
            f.write(number.to_bytes(8, "little") + block[8:])


def rivals(work):
    """Those that are installed and work here."""
    store = work + "/rival"
    found = []
    own = ["--root", store + "/root", "--runroot", store + "/run"]
    for name, words, build in (
        ("docker", ["docker"], ["build", "--network=host"]),
        ("buildah", ["buildah"] + own, ["bud", "--layers", "--network=host"]),
    ):
        if not shutil.which(name):
            continue
        base = context(work, "rival-base", "FROM scratch\nADD root.tar /\n")
        shutil.copy(work + "/root.tar", base)
        tried = subprocess.run(words + build + ["-t", "localhost/base", base], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if tried.returncode == 0:
            found.append((name, words + build))
        else:
            print("%s is left out: %s" % (name, tried.stdout.decode(errors="replace").strip().splitlines()[-1]))
    return found


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--lath", required=True)
    words.add_argument("--copy-mb", type=int, default=1024)
    words.add_argument("--files", type=int, default=20000)
    words.add_argument("--rounds", type=int, default=15)
    words = words.parse_args()
    lath = os.path.abspath(words.lath)
    with tempfile.TemporaryDirectory(prefix="lath-bench-") as work:
        os.environ["LATH_ROOT"] = work + "/store"
        compare(lath, work, words)


def compare(lath, work, words):
    machine(work)
    print("%s, %d bytes\n" % (quiet([lath, "--version"]).strip(), os.path.getsize(lath)))
    root = make_root(work)
    quiet([lath, "import", work + "/root.tar", "localhost/base"])
    others = rivals(work)
    table, memory = Table(), Memory()

    # Steps: the same fifty commands, set up and ended one by one; first those that change nothing.
    bwrap = ["bwrap", "--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev"]
    build = [lath, "build", "-t", "steps"]

    def boxes(command):
        start = time.monotonic()
        for number in range(STEPS):
            quiet(bwrap + ["sh", "-c", command % number])
        return (time.monotonic() - start) * 1000 / STEPS

    for what, command in (("RUN echo", "echo %d"), ("RUN echo > file", "echo %d > /tmp/f")):
        lines = "".join("RUN %s\n" % (command % number) for number in range(STEPS))
        steps = context(work, "steps-" + what.replace(" ", ""), "FROM localhost/base\n" + lines)
        step = "%s, a step of %d" % (what, STEPS)
        # One after the other, so that both see the same machine.
        pairs = [(timed(build + ["--no-cache", steps]) / STEPS, boxes(command)) for _ in range(7)]
        ours = statistics.median(pair[0] for pair in pairs)
        table.row(step, ours, "bwrap --unshare-all", statistics.median(pair[1] for pair in pairs))
        cached = median(words.rounds, build + [steps])
        for name, theirs in others:
            table.row(step, ours, name, timed(theirs + ["-t", "steps", "--no-cache", steps]) / STEPS)
            table.row("%d steps from the cache" % STEPS, cached, name, median(3, theirs + ["-t", "steps", steps]))
        if not others:
            table.row("%d steps from the cache" % STEPS, cached)
    table.row("run --rm true", median(words.rounds, [lath, "run", "--rm", "steps", "true"]), "bwrap --unshare-all", median(words.rounds, bwrap + ["true"]))

    # One large file and many small ones.
    big = context(work, "big", "FROM localhost/base\nCOPY big /big\n")
    fill(big + "/big", words.copy_mb)
    many = context(work, "many", "FROM localhost/base\nCOPY . /many/\n")
    for number in range(words.files):
        folder = os.path.join(many, "d%03d" % (number // 100))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "f%d" % number), "w") as f:
            f.write("%d\n" % number * 20)
    quiet(["sync"])
    copied = work + "/copied"
    for what, folder, tag in (("COPY %d MB" % words.copy_mb, big, "big"), ("COPY %d files" % words.files, many, "many")):
        theirs = timed(["sh", "-c", "cp -a \"$0\" \"$1\" && sync -f \"$1\"", folder, copied])
        shutil.rmtree(copied)
        table.row(what, timed([lath, "build", "-t", tag, folder]), "cp -a and sync", theirs)
        again = median(3, [lath, "build", "-t", tag, folder])
        if not others:
            table.row(what + ", cached", again)
        for name, build_words in others:
            table.row(what, timed([lath, "build", "--no-cache", "-t", tag, folder]), name, timed(build_words + ["-t", tag, folder]))
            table.row(what + ", cached", again, name, timed(build_words + ["-t", tag, folder]))
    # Nothing is read again: what is left is to walk and to stat, as find does.
    walks = ([lath, "build", "-t", "many", many], ["sh", "-c", "find \"$0\" -ls >/dev/null", many])
    pairs = [[timed(command) for command in walks] for _ in range(words.rounds)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs))
    table.row("COPY %d files, cached" % words.files, ours, "find -ls", theirs)
    archive = work + "/big.tar"
    table.row("save %d MB" % words.copy_mb, timed([lath, "save", "-o", archive, "big"]))

    # Memory does not grow with any of it.
    print("\npeak memory of lath")
    empty = dict(os.environ, LATH_ROOT=work + "/other")
    for what, command, env in (
        ("--version", [lath, "--version"], None),
        ("images", [lath, "images"], None),
        ("run --rm true", [lath, "run", "--rm", "steps", "true"], None),
        ("build of %d steps" % STEPS, build + ["--no-cache", steps], None),
        ("the same from the cache", build + [steps], None),
        ("COPY %d MB" % words.copy_mb, [lath, "build", "--no-cache", "-t", "big", big], None),
        ("COPY %d files" % words.files, [lath, "build", "--no-cache", "-t", "many", many], None),
        ("save %d MB" % words.copy_mb, [lath, "save", "-o", archive, "big"], None),
        ("load %d MB" % words.copy_mb, [lath, "load", "-i", archive], empty),
    ):
        print("%-34s %9d KB" % (what, memory.of(command, env=env)), flush=True)


if __name__ == "__main__":
    main()
