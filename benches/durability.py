#!/usr/bin/env python3
"""What durability costs: bytes written for what is kept, and time that is waited for the disk.

    durability.py --lath PATH [--dir /var/tmp] [--mb 32] [--files 2000] [--rounds 15]

Bytes: lath works on an ext4 of its own on a loop device. `process` is what /proc/PID/io says of lath
and of the steps that it has waited for, `device` what reached the device until a sync after it, with
the journal and all else of ext4; each as a multiple of the unpacked bytes, less 8 KB (8192 bytes) an
entry.

Waiting: builds of 50 `RUN echo` with and without syncs, by turns on that disk, whole processes. In both a seccomp
filter of the same length looks at each system call; in one of them fsync, fdatasync and syncfs come
back at once with success. So the binary, and the work besides, are the same.

Python's standard library; root, busybox, docker-registry, mkfs.ext4.
"""
import argparse
import ctypes
import os
import platform
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

from compare import quiet
from registry import CONFIG

STEPS = 50
ENTRY = 8192
# Of asm/unistd.h; the rest of the filter does not depend on the machine.
SYNCS = {"x86_64": (0xC000003E, [74, 75, 162, 306]), "aarch64": (0xC00000B7, [82, 83, 81, 267])}
# No call has these numbers.
NOTHING = [900, 901, 902, 903]


def without(numbers):
    """To be called in a child: from then on these calls do nothing, and say that they have."""
    load, equal, give = 0x20, 0x15, 0x06
    arch = SYNCS[platform.machine()][0]
    code = [(load, 0, 0, 4), (equal, 0, len(numbers) + 1, arch), (load, 0, 0, 0)]
    code += [(equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with 0.
    code += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050000)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)

    def act():
        # PR_SET_SECCOMP, SECCOMP_MODE_FILTER; root needs no PR_SET_NO_NEW_PRIVS.
        if libc.prctl(22, 2, ctypes.byref(program), 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")
        assert text

    return act


def fill(folder, files, megabytes):
    """A tree of many small files and some large ones, none like another; its bytes and entries."""
    numbers = random.Random(1)
    sizes = [numbers.randrange(1, 8192) for _ in range(files)] + [(megabytes << 20) // 8] * 8
    os.makedirs(folder)
    for number, size in enumerate(sizes):
        place = "%s/d%d" % (folder, number % 50)
        os.makedirs(place, exist_ok=True)
        with open("%s/f%d" % (place, number), "wb") as out:
            out.write(numbers.randbytes(size))
    return sum(sizes), len(sizes) + 51


class Disk:
    """An ext4 of its own on a loop device."""

    def __init__(self, home, megabytes):
        self.file, self.at = home + "/disk", home + "/mnt"
        os.mkdir(self.at)
        with open(self.file, "wb") as out:
            out.truncate(megabytes << 20)
        self.device = quiet(["losetup", "--find", "--show", self.file]).strip()
        # Nothing that the kernel would write later by itself.
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        quiet(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazy, self.device])
        quiet(["mount", "-o", "noatime", self.device, self.at])

    def written(self):
        """Bytes that have reached the device."""
        quiet(["sync", "-f", self.at])
        with open("/sys/block/%s/stat" % os.path.basename(self.device)) as stat:
            return int(stat.read().split()[6]) * 512

    def close(self):
        subprocess.run(["umount", self.at])
        subprocess.run(["losetup", "-d", self.device])


def io_of(words, **more):
    """Runs it; what it and what it has waited for have written."""
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    said = child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with open("/proc/%d/io" % child.pid) as io:
        fields = dict(line.split(": ") for line in io.read().splitlines())
    if child.wait():
        sys.exit("%s: %s" % (" ".join(words), said.decode(errors="replace")))
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


class Bench:
    def __init__(self, lath, home, disk):
        self.lath, self.home, self.disk = lath, home, disk
        self.has_failed = False

    def words(self, root, *words):
        return [self.lath, "--root", root] + list(words)

    def row(self, what, bytes_, entries, words, goal=1.1):
        before = self.disk.written()
        process = io_of(words)
        device = self.disk.written() - before
        if not bytes_:
            print("%-34s %10s %8s %12d %8s %12d %8s" % (what, "", "", process, "", device, ""))
            self.has_failed |= process > 0
            return
        share = [(count - ENTRY * entries) / bytes_ for count in (process, device)]
        self.has_failed |= share[0] > goal
        print(
            "%-34s %10d %8d %12d %8.2f %12d %8.2f"
            % (what, bytes_, entries, process, share[0], device, share[1])
        )


def base_of(bench, root):
    """busybox as an image, and an archive of one with many files."""
    tree = bench.home + "/tree"
    size, entries = fill(tree, bench.files, bench.megabytes)
    shutil.copy(shutil.which("busybox"), bench.home + "/busybox")
    os.makedirs(bench.home + "/root/bin")
    for name in ("busybox", "sh", "cp", "echo"):
        shutil.copy(shutil.which("busybox"), bench.home + "/root/bin/" + name)
    for name, folder in (("base", "root"), ("many", "tree")):
        with tarfile.open("%s/%s.tar" % (bench.home, name), "w") as tar:
            tar.add("%s/%s" % (bench.home, folder), ".")
        quiet(bench.words(root, "import", "%s/%s.tar" % (bench.home, name), name))
        quiet(bench.words(root, "save", "-o", "%s/%s.oci.tar" % (bench.home, name), name))
    return size, entries


def bytes_written(bench):
    print("%-34s %10s %8s %12s %8s %12s %8s" % ("what", "unpacked", "entries", "process", "of it", "device", "of it"))
    aside, store = bench.home + "/aside", bench.disk.at + "/store"
    size, entries = base_of(bench, aside)
    archive = bench.home + "/%s.oci.tar"
    # What is made once for a store is made before.
    quiet(bench.words(store, "load", "-i", archive % "base"))
    quiet(bench.words(store, "run", "--rm", "base", "echo"))
    bench.row("load", size, entries, bench.words(store, "load", "-i", archive % "many"))
    quiet(bench.words(store, "rmi", "many"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = bench.home + "/registry.yml"
    with open(config, "w") as out:
        out.write(CONFIG % (bench.home + "/registry", port))
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        name = "127.0.0.1:%d/many" % port
        quiet(bench.words(aside, "tag", "many", name))
        quiet(bench.words(aside, "push", name))
        bench.row("pull", size, entries, bench.words(store, "pull", name))
        quiet(bench.words(store, "rmi", name))
    finally:
        server.terminate()
        server.wait()

    def build(what, dockerfile, count, many):
        with open(bench.home + "/Dockerfile", "w") as out:
            out.write(dockerfile)
        file = bench.home + "/Dockerfile"
        words = bench.words(store, "build", "-t", what.split()[0].lower(), "-f", file, bench.home + "/tree")
        bench.row(what, count, many, words)
        return words

    large = "FROM base\nRUN for i in 1 2 3 4; do cp -r /bin /copy$i; done\n"
    program = os.path.getsize(bench.home + "/busybox")
    build("RUN that copies 16 programs", large, 16 * program, 20)
    copy = build("COPY of the same tree", "FROM base\nCOPY . /tree\n", size, entries)
    # The second has written down what is in the context.
    quiet(copy)
    bench.row("cached build, 1 step", 0, 0, copy)
    steps = "FROM base\nCOPY . /tree\n" + "".join("RUN echo %d > /n\n" % n for n in range(STEPS))
    with open(bench.home + "/Dockerfile", "w") as out:
        out.write(steps)
    before = bench.disk.written()
    process = io_of(copy)
    device = bench.disk.written() - before
    bench.row("cached build, %d steps" % (STEPS + 1), 0, 0, copy)
    print("a RUN of two bytes, records and all: %d bytes, device %d" % (process / STEPS, device / STEPS))


def store_size(bench):
    """Against the unique bytes of files, after the same image came in two ways and was built on."""
    store, seen = bench.disk.at + "/size", {}
    for name in ("base", "many"):
        quiet(bench.words(store, "load", "-i", "%s/%s.oci.tar" % (bench.home, name)))
    quiet(["sync", "-f", bench.disk.at])
    files = unique = 0
    for top in ("root", "tree"):
        for folder, _, names in os.walk("%s/%s" % (bench.home, top)):
            files += len(names) + 1
            for name in names:
                path = folder + "/" + name
                stat = os.lstat(path)
                seen[path] = stat.st_size
    unique = sum(seen.values())
    taken = int(quiet(["du", "-s", "-B1", store]).split()[0])
    share = (taken - 4096 * files) / unique
    print("\nstore after load: %d bytes (du), %d unique bytes in %d files: %.3f of them, less 4 KB a file" % (taken, unique, files, share))
    bench.has_failed |= share > 1.05


def waiting(bench, rounds):
    store = bench.disk.at + "/waiting"
    quiet(bench.words(store, "load", "-i", bench.home + "/base.oci.tar"))
    os.mkdir(bench.home + "/empty")
    with open(bench.home + "/empty/Dockerfile", "w") as out:
        out.write("FROM base\n" + "".join("RUN echo %d\n" % number for number in range(STEPS)))
    words = bench.words(store, "build", "--no-cache", "-t", "steps", bench.home + "/empty")
    ways = [without(NOTHING), without(SYNCS[platform.machine()][1])]
    times = ([], [])
    for turn in range(rounds + 1):
        # Which one is first changes, so that neither is always after the other.
        for at in (0, 1) if turn % 2 == 0 else (1, 0):
            quiet(["sync", "-f", bench.disk.at])
            start = time.monotonic()
            quiet(words, preexec_fn=ways[at])
            times[at].append((time.monotonic() - start) * 1000)
    # The first ones make what is made once.
    with_syncs, no_syncs = (list_[1:] for list_ in times)
    pairs = statistics.median(one / other for one, other in zip(with_syncs, no_syncs))
    print(
        "\n%d RUN echo, %d pairs: %.0f ms with syncs, %.0f ms without (medians; least %.0f and %.0f); median of the pairs %.3f"
        % (
            STEPS,
            rounds,
            statistics.median(with_syncs),
            statistics.median(no_syncs),
            min(with_syncs),
            min(no_syncs),
            pairs,
        )
    )
    bench.has_failed |= pairs > 1.10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lath", required=True)
    parser.add_argument("--dir", default="/var/tmp")
    parser.add_argument("--mb", type=int, default=32)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="lath-bench-", dir=options.dir)
    disk = Disk(home, 1024)
    try:
        bench = Bench(os.path.abspath(options.lath), home, disk)
        bench.files, bench.megabytes = options.files, options.mb
        bytes_written(bench)
        store_size(bench)
        waiting(bench, options.rounds)
    finally:
        disk.close()
        shutil.rmtree(home)
    sys.exit("a goal was missed" if bench.has_failed else 0)


if __name__ == "__main__":
    main()
