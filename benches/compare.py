#!/usr/bin/env python3
"""Measures lath side by side with its rivals, in the same run on the same machine.

    compare.py --lath PATH [--copy-mb 1024] [--files 20000 50000] [--base-files 100000] [--rounds 15]
                [--only PART ...] [--without NAME ...]

A step is set against `bwrap --unshare-all` with the same root and the same command, a copy against
`cp` and a sync, all of it against docker (its classic builder, and BuildKit in the same daemon, which is
started for this), buildah and podman, where they are installed and work. Python's standard library only;
root. Times are wall clock, medians; memory is what the kernel counts for the whole process, of docker its
daemon's. PART is one of steps, copy, base, archive, cost, growth.
"""
import argparse
import math
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from rivals import Rivals

STEPS = 50


def quiet(words, check=True, **more):
    """Runs a command that must work, and gives its output."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode and check:
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


class Bench:
    """What all parts need: lath, its rivals, a folder, a table."""

    def __init__(self, lath, work, words):
        self.lath, self.work, self.words = lath, work, words
        self.root = make_root(work)
        quiet([lath, "import", work + "/root.tar", "localhost/base"])
        self.rivals = Rivals(work, words.without)
        self.table = Table()

    def build(self, tag, folder, *more):
        return [self.lath, "build", "-t", tag] + list(more) + [folder]

    def against(self, what, ours, measure):
        """A row for each rival; measure(rival) gives milliseconds, or nothing for what it has not."""
        shown = False
        for rival in self.rivals:
            theirs = measure(rival)
            if theirs is not None:
                self.table.row(what, ours, rival.name, theirs)
                shown = True
        if not shown:
            self.table.row(what, ours)


def steps(bench):
    """The same fifty commands, set up and ended one by one; first those that change nothing."""
    bwrap = ["bwrap", "--unshare-all", "--bind", bench.root, "/", "--proc", "/proc", "--dev", "/dev"]

    def boxes(command):
        start = time.monotonic()
        for number in range(STEPS):
            quiet(bwrap + ["sh", "-c", command % number])
        return (time.monotonic() - start) * 1000 / STEPS

    for what, command in (("RUN echo", "echo %d"), ("RUN echo > file", "echo %d > /tmp/f")):
        lines = "".join("RUN %s\n" % (command % number) for number in range(STEPS))
        folder = context(bench.work, "steps-" + what.replace(" ", ""), "FROM localhost/base\n" + lines)
        step = "%s, a step of %d" % (what, STEPS)
        # One after the other, so that both see the same machine.
        pairs = [(timed(bench.build("steps", folder, "--no-cache")) / STEPS, boxes(command)) for _ in range(7)]
        ours = statistics.median(pair[0] for pair in pairs)
        bench.table.row(step, ours, "bwrap --unshare-all", statistics.median(pair[1] for pair in pairs))
        cached = median(bench.words.rounds, bench.build("steps", folder))
        bench.against(step, ours, lambda rival: timed(rival.build("steps", folder, cached=False)) / STEPS)
        bench.against("%d steps from the cache" % STEPS, cached, lambda rival: median(3, rival.build("steps", folder)))
    run = median(bench.words.rounds, [bench.lath, "run", "--rm", "steps", "true"])
    bench.table.row("run --rm true", run, "bwrap --unshare-all", median(bench.words.rounds, bwrap + ["true"]))
    bench.against("run --rm true", run, lambda rival: rival.run and median(3, rival.run("steps", "true")))


def make_files(folder, count):
    for number in range(count):
        below = os.path.join(folder, "d%03d" % (number // 100))
        os.makedirs(below, exist_ok=True)
        with open(os.path.join(below, "f%d" % number), "w") as f:
            f.write("%d\n" % number * 20)


def big(bench, name="big"):
    folder = context(bench.work, name, "FROM localhost/base\nCOPY big /big\n")
    if not os.path.exists(folder + "/big"):
        fill(folder + "/big", bench.words.copy_mb)
    return folder


def copy(bench):
    """One large file and many small ones."""
    work = bench.work
    cases = [("COPY %d MB" % bench.words.copy_mb, big(bench), "big")]
    for count in bench.words.files:
        many = context(work, "many%d" % count, "FROM localhost/base\nCOPY . /many/\n")
        make_files(many, count)
        cases.append(("COPY %d files" % count, many, "many%d" % count))
    copied = work + "/copied"
    for what, folder, tag in cases:
        quiet(["sync"])
        theirs = timed(["sh", "-c", 'cp -a "$0" "$1" && sync -f "$1"', folder, copied])
        shutil.rmtree(copied)
        quiet(["sync"])
        ours = timed(bench.build(tag, folder))
        bench.table.row(what, ours, "cp -a and sync", theirs)
        bench.against(what, ours, lambda rival: timed(rival.build(tag, folder, cached=False)))
        # What is too new for its time to be believed is read once more.
        timed(bench.build(tag, folder))
        again = median(3, bench.build(tag, folder))
        bench.against(what + ", cached", again, lambda rival: (timed(rival.build(tag, folder)), timed(rival.build(tag, folder)))[1])
        if tag != "big":
            # Nothing is read again: what is left is to walk and to stat, as find does.
            bench.table.row(what + ", cached", again, "find -ls", median(3, ["sh", "-c", 'find "$0" -ls >/dev/null', folder]))


def base(bench):
    """A small step on a base of very many files."""
    work = bench.work
    many = context(work, "base-many", "FROM localhost/base\nCOPY . /many/\n")
    make_files(many, bench.words.base_files)
    quiet(bench.build("localhost/many", many))
    touch = {
        name: context(work, "touch-" + name, "FROM localhost/%s\nRUN touch /tmp/x\n" % name) for name in ("base", "many")
    }
    pairs = [[timed(bench.build("touch", touch[name], "--no-cache")) for name in ("many", "base")] for _ in range(9)]
    ours, few = (statistics.median(times) for times in zip(*pairs))
    bench.table.row("RUN touch on %d files" % bench.words.base_files, ours, "lath on %d files" % len(os.listdir(bench.root + "/bin")), few)
    if bench.rivals:
        shutil.copy(work + "/root.tar", many)

    def theirs(rival):
        quiet(rival.build("localhost/many", many))
        return timed(rival.build("touch", touch["many"], cached=False))

    bench.against("RUN touch on %d files" % bench.words.base_files, ours, theirs)
    # The copy driver's first step copies the tree, each further one walks it.
    further = context(work, "further", "FROM localhost/many\n" + "RUN touch /tmp/x\n" * 4)
    env = dict(os.environ, LATH_DRIVER="copy")
    one = timed(bench.build("touch", touch["many"], "--no-cache"), env=env)
    four = timed(bench.build("touch", further, "--no-cache"), env=env)
    walk = median(3, ["sh", "-c", 'find "$0" -ls >/dev/null', many])
    bench.table.row("the same, copied: a further step", (four - one) / 3, "find -ls", walk)


def archive(bench):
    folder, tar = big(bench), bench.work + "/big.tar"
    quiet(bench.build("big", folder))
    what = "%d MB" % bench.words.copy_mb
    save = timed([bench.lath, "save", "-o", tar, "big"])

    def saved(rival):
        quiet(rival.build("big", folder))
        return rival.save and timed(rival.save("big", bench.work + "/theirs.tar"))

    bench.against("save " + what, save, saved)
    load = timed([bench.lath, "load", "-i", tar], env=dict(os.environ, LATH_ROOT=bench.work + "/other"))

    def loaded(rival):
        if not rival.load:
            return None
        quiet(rival.remove("big"))
        return timed(rival.load(bench.work + "/theirs.tar"))

    bench.against("load " + what, load, loaded)


def cost(bench):
    """What it takes of the machine: memory, bytes written, disk, the programs themselves."""
    work, lath, memory = bench.work, bench.lath, Memory()
    folder, tar = big(bench), work + "/big.tar"
    steps_ = context(work, "fifty", "FROM localhost/base\n" + "".join("RUN echo %d\n" % number for number in range(STEPS)))
    many = context(work, "many-cost", "FROM localhost/base\nCOPY . /many/\n")
    make_files(many, bench.words.files[0])
    quiet(bench.build("big", folder))
    quiet([lath, "save", "-o", tar, "big"])
    empty = dict(os.environ, LATH_ROOT=work + "/empty")
    print("\npeak memory of lath")
    for what, command, env in (
        ("--version", [lath, "--version"], None),
        ("images", [lath, "images"], None),
        ("build of %d steps" % STEPS, bench.build("fifty", steps_, "--no-cache"), None),
        ("the same from the cache", bench.build("fifty", steps_), None),
        ("run --rm true", [lath, "run", "--rm", "fifty", "true"], None),
        ("COPY %d MB" % bench.words.copy_mb, bench.build("big", folder, "--no-cache"), None),
        ("COPY %d files" % bench.words.files[0], bench.build("many", many, "--no-cache"), None),
        ("save %d MB" % bench.words.copy_mb, [lath, "save", "-o", tar, "big"], None),
        ("load %d MB" % bench.words.copy_mb, [lath, "load", "-i", tar], empty),
    ):
        print("%-34s %9d KB" % (what, memory.of(command, env=env)), flush=True)
    print("\nCOPY %d MB: peak memory, bytes written and disk used, of its bytes; programs" % bench.words.copy_mb)
    # One that nobody has had yet.
    folder = big(bench, "another")
    size = os.path.getsize(folder + "/big")

    def show(name, peak, written, used, programs):
        print("%-22s %9d KB %9.2f %9.2f %9.1f MB" % (name, peak, written / size, used / size, programs / 1e6), flush=True)

    os.environ["LATH_ROOT"] = work + "/third"
    quiet([lath, "import", work + "/root.tar", "localhost/base"])
    before = disk(work + "/third")
    written = writes(bench.build("big", folder))
    show("lath", memory.of(bench.build("big", folder, "--no-cache")), written, disk(work + "/third") - before, os.path.getsize(lath))
    os.environ["LATH_ROOT"] = work + "/store"
    for rival in bench.rivals:
        quiet(rival.remove("big"), check=False)
        before, had = disk(rival.place), rival.written()
        words = rival.build("big", folder, cached=False)
        own = writes(words)
        peak = rival.peak() or memory.of(rival.build("big", folder, cached=False))
        show(rival.name, peak, rival.written() - had if had is not None else own, disk(rival.place) - before, rival.programs())


def disk(folder):
    """Bytes of blocks."""
    return int(quiet(["du", "-s", "-B1", folder]).split()[0])


def writes(words):
    """Bytes that a command and its children have given to the disk."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
    quiet(words)
    quiet(["sync"])
    return (resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before) * 512


def growth(bench):
    """The same with ten and a hundred times as much: time, and the power of the number with which it grows."""
    work, lath = bench.work, bench.lath
    print("\n%-34s %10s %10s %10s   %s" % ("growth", "1", "10", "100", "exponents, 1 to 10 and 10 to 100"))

    def show(what, times):
        exponents = [math.log10(times[at + 1] / times[at]) for at in (0, 1)]
        print("%-34s %7.1f ms %7.1f ms %7.1f ms   %5.2f %5.2f" % (what, *times, *exponents), flush=True)

    sizes = (1, 10, 100)
    runs = [
        context(work, "grow-run%d" % n, "FROM localhost/base\n" + "".join("RUN echo %d > /f%d\n" % (i, i) for i in range(n))) for n in sizes
    ]
    show("steps, done", [median(3, bench.build("grow", folder, "--no-cache")) for folder in runs])
    for folder, n in zip(runs, sizes):
        quiet(bench.build("layers%d" % n, folder))
    show("steps, from the cache", [median(9, bench.build("grow", folder)) for folder in runs])
    show("layers: run --rm true", [median(9, [lath, "run", "--rm", "layers%d" % n, "true"]) for n in sizes])
    touch = [context(work, "grow-on%d" % n, "FROM layers%d\nRUN touch /x\n" % n) for n in sizes]
    show("layers: a step on them", [median(5, bench.build("grow", folder, "--no-cache")) for folder in touch])
    files = []
    for n in sizes:
        files.append(context(work, "grow-files%d" % n, "FROM localhost/base\nCOPY . /many/\n"))
        make_files(files[-1], 300 * n)
    show("files: COPY of 300 times that", [median(3, bench.build("grow", folder, "--no-cache")) for folder in files])
    show("files: the same from the cache", [median(5, bench.build("grow", folder)) for folder in files])


PARTS = {"steps": steps, "copy": copy, "base": base, "archive": archive, "cost": cost, "growth": growth}


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--lath", required=True)
    words.add_argument("--copy-mb", type=int, default=1024)
    words.add_argument("--files", type=int, nargs="+", default=[20000, 50000])
    words.add_argument("--base-files", type=int, default=100000)
    words.add_argument("--rounds", type=int, default=15)
    words.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    words.add_argument("--without", nargs="+", default=[])
    words = words.parse_args()
    lath = os.path.abspath(words.lath)
    with tempfile.TemporaryDirectory(prefix="lath-bench-") as work:
        os.environ["LATH_ROOT"] = work + "/store"
        machine(work)
        print("load average %.1f" % os.getloadavg()[0])
        print("%s, %d bytes\n" % (quiet([lath, "--version"]).strip(), os.path.getsize(lath)), flush=True)
        bench = Bench(lath, work, words)
        try:
            for part in words.only:
                PARTS[part](bench)
        finally:
            bench.rivals.end()


if __name__ == "__main__":
    main()
