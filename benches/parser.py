#!/usr/bin/env python3
"""What reading a Dockerfile of 10 MB costs: instructions, user time and peak memory, shape by shape.

    benches/parser.py READ HOST [SHAPE...]

READ is the example `read` (benches/read) as it is released, HOST the same for this machine's C library, for valgrind,
which cannot run the static one. It reads the file and goes through all statements once more; with `--plan`
it makes the plan and lints too. The time is that on a processor, so it does not depend on what else the machine does,
but for shared caches; instructions a byte, counted by valgrind's callgrind for 1 MB and 2 MB, do not at all. What grows
faster than its text is seen by these two, and by the plan of 5 MB and 10 MB. Memory is the peak's growth, the text
itself counted in, as a multiple of the text. Exit code 1 if reading takes more than four times the text.
"""
import os
import re
import resource
import subprocess
import sys
import tempfile

MB = 1_000_000


def repeat(unit, size, head="FROM scratch\n", tail=""):
    count = (size - len(head) - len(tail)) // len(unit)
    return head + unit * count + tail


def numbered(form, size, names):
    out, length, n = ["FROM scratch\n"], 13, 0
    while length < size:
        out.append(form % (n % names))
        length += len(out[-1])
        n += 1
    return "".join(out)


SIGN = "FROM scratch\nRUN a <b\n"
SHAPES = {
    "short": lambda size: repeat("RUN a\n", size),
    "usual": lambda size: repeat("RUN apk add --no-cache redis && rm -rf /var/cache\n", size),
    "giant": lambda size: repeat("    some words of a command && \\\n", size, "FROM scratch\nRUN \\\n", "    true\n"),
    "giants": lambda size: repeat("RUN " + "    some words && \\\n" * 5000 + "    true\n", size),
    "heredocs": lambda size: repeat("RUN <<EOF\nset -e\nmake all\nEOF\n", size),
    "heredoc": lambda size: repeat("a line of a script\n", size, "FROM scratch\nCOPY <<EOF /f\n", "EOF\n"),
    "comments": lambda size: repeat("# a comment of a few words\n", size, "FROM scratch\n", "RUN a\n"),
    "env": lambda size: numbered("ENV NAME%d=value-$HOME\n", size, 500),
    "arg": lambda size: numbered("ARG NAME%d=value\n", size, 500),
    "global": lambda size: numbered("ARG NAME%d=value\n", size, 500).replace("FROM scratch\n", "", 1) + "FROM scratch\n",
    "pairs": lambda size: repeat("NAME=value ", size, "FROM scratch\nENV ", "\n"),
    "line": lambda size: "FROM scratch\nRUN " + "x" * (size - 18) + "\n",
    "words": lambda size: repeat("<<' a ' ", size, "FROM scratch\nCMD ", "\n"),
    "newlines": lambda size: repeat("\\\n", size, "FROM scratch\nRUN a \\\n", "b\n"),
    "json": lambda size: repeat('"a",', size, "FROM scratch\nRUN [", '"a"]\n'),
    "volumes": lambda size: numbered("VOLUME /v/%d\n", size, 5000),
    "ports": lambda size: numbered("EXPOSE %d\n", size, 60000),
    "labels": lambda size: numbered("LABEL name%d=value\n", size, 100000),
    "stages": lambda size: numbered("FROM scratch AS s%d\nRUN some words that fill the stage\n", size, 10 ** 9)
    if size < 10000 else numbered("RUN some words\n" * 700 + "FROM scratch AS s%d\n", size, 10 ** 9),
    # What follows has a `<` in it, so that each line is looked at for here-documents.
    "tiny": lambda size: repeat("RUN a\n", size, SIGN),
    "heredoc1": lambda size: repeat("RUN <<E\na\nE\n", size),
    "continued": lambda size: repeat("a\\\n", size, SIGN + "RUN \\\n", "a\n"),
    "chains": lambda size: repeat("RUN a \\\n  && b \\\n  && c\n", size, SIGN),
    "flags": lambda size: repeat("COPY " + "--a " * 900 + "b c\n", size, SIGN),
    "excludes": lambda size: repeat("COPY " + "--exclude=a " * 300 + "b c\n", size, SIGN),
    "mounts": lambda size: repeat("RUN --mount=type=cache,target=/a,id=b,sharing=locked,uid=1,gid=2,mode=0755 make\n", size, SIGN),
    "copies": lambda size: repeat("COPY --from=build --chown=app:app /a /b\n", size, SIGN),
    "unset": lambda size: numbered("ENV A=$NOBODY_%d\n", size, 10 ** 9),
}


def run(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime - before.ru_utime


def instructions(words, folder):
    out = os.path.join(folder, "callgrind")
    subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, *words],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(out) as f:
        return int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M).group(1))


def main():
    program, host, names = sys.argv[1], sys.argv[2], sys.argv[3:] or list(SHAPES)
    worst = 0
    print("%-9s %9s %9s %8s %8s | %9s %9s %8s" % ("shape", "instr/B", "at twice", "MB/s", "memory", "plan s, 5", "10 MB", "memory"))
    with tempfile.TemporaryDirectory(prefix="parser-") as folder:
        path = os.path.join(folder, "Dockerfile")
        for name in names:
            def of(size, *words):
                with open(path, "w") as f:
                    f.write(SHAPES[name](size))
                return [program, *words, path]
            one = instructions([host, *of(MB)[1:]], folder) / MB
            two = instructions([host, *of(2 * MB)[1:]], folder) / MB / 2
            done, _ = run(of(10 * MB))
            said = dict(re.findall(r"(\w+) (\d+)", done.stdout.decode()))
            speed = int(said.get("bytes", 0)) / max(1, int(said.get("user_us", 0)))
            memory = int(said.get("grown_kb", 0)) * 1024 / (10 * MB) + 1
            _, half = run(of(5 * MB, "--plan"))
            done, whole = run(of(10 * MB, "--plan"))
            planned = dict(re.findall(r"(\w+) (\d+)", done.stdout.decode()))
            more = int(planned.get("grown_kb", 0)) * 1024 / (10 * MB) + 1
            print("%-9s %9.1f %9.1f %8.0f %7.1fx | %9.2f %9.2f %7.1fx %s" % (
                name, one, two, speed, memory, half, whole, more,
                "" if planned else done.stdout.decode()[-200:]), flush=True)
            worst = max(worst, memory)
    return 0 if worst <= 4 else 1


if __name__ == "__main__":
    sys.exit(main())
