#!/usr/bin/env python3
"""Run the conformance cases against a builder and compare with expected/.

    run.py --lath PATH [--driver overlay|copy] [--only GLOB]... [--jobs N] [--junit FILE] [--cases DIR] [--fresh] [-v]
    run.py --lath PATH --same-layers ...
    run.py --lath PATH --emulated ...
    run.py --peer docker|buildah|buildctl ...

A case listed in known-failures must fail, any other must pass; see README.md.
"""
import argparse
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import xml.sax.saxutils as sax

import base
import drivers
import lib

KNOWN = os.path.join(lib.HERE, "known-failures")


def judge(case, outcome, below, strict):
    """Reasons why the outcome is not the expected one."""
    want = case.expected()
    if case.get("check"):
        got = warnings(outcome.out)
        if not want["warnings"] and not outcome.ok:
            return ["check failed (%d): %s" % (outcome.rc, outcome.err.strip()[-300:])]
        return ["warnings: want %s, got %s" % (want["warnings"], got)] if got != want["warnings"] else []
    if want["result"] == "fail":
        if outcome.ok:
            return ["the build should fail: " + want["error"].strip()[-200:]]
        out = []
        err = outcome.err.strip()
        if strict and (outcome.rc < 0 or outcome.rc > 123 or outcome.rc == 101 or "panicked at" in err):
            out.append("exit code %d is that of a crash: %s" % (outcome.rc, err[-300:]))
        if not err:
            out.append("nothing on stderr")
        for word in case.get("error_contains", []):
            if word.lower() not in err.lower():
                out.append("stderr does not mention %r: %s" % (word, err[-300:]))
        return out
    if not outcome.ok and "may_fail" in case.meta and outcome.err.strip():
        if all(w.lower() in outcome.err.lower() for w in case.get("may_fail")):
            return []
    if not outcome.ok:
        return ["build failed (%d): %s" % (outcome.rc, outcome.err.strip()[-400:])]
    try:
        image = lib.Image(outcome.archive)
        got = lib.describe(image, case, below)
    except (lib.Broken, OSError, KeyError, ValueError, lib.tarfile.TarError) as e:
        return ["archive: %s" % (e,)]
    return lib.compare(want, got) + (image.problems if strict else [])


def warnings(text):
    out, rule = [], None
    for line in text.splitlines():
        m = re.match(r"\s*WARNING: (\w+)", line)
        if m:
            rule = m.group(1)
            continue
        m = re.match(r"\S+:(\d+)\s*$", line)
        if m and rule:
            out.append([rule, int(m.group(1))])
            rule = None
    return sorted(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lath", help="path of the lath binary")
    p.add_argument("--driver", choices=["overlay", "copy"], help="with --lath: how it makes snapshots")
    p.add_argument("--same-layers", action="store_true", help="with --lath: by both drivers, which must give the same layers")
    p.add_argument("--emulated", action="store_true", help="with --lath: of another architecture, under qemu-user; README.md")
    p.add_argument("--peer", choices=sorted(drivers.PEERS), help="run another builder")
    p.add_argument("--cases", default=os.path.join(lib.HERE, "cases"), help="folder of cases; expected/ is beside it")
    p.add_argument("--only", action="append", metavar="GLOB", help="cases whose name matches; may be given more than once")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--junit", metavar="FILE")
    p.add_argument("--fresh", action="store_true", help="a new empty root for each case; else one a job, with its cache")
    p.add_argument("--keep", action="store_true", help="keep the work folder")
    p.add_argument("--buildkit", action="store_true", help="with --peer docker: DOCKER_BUILDKIT=1")
    p.add_argument("--storage-driver", help="with --peer buildah")
    p.add_argument("--ignore", action="append", default=[], metavar="PATH", help="a file of the image that is not compared")
    p.add_argument("-v", "--verbose", action="store_true", help="all differences, not the first three")
    options = p.parse_args()
    if bool(options.lath) == bool(options.peer):
        p.error("one of --lath and --peer is needed")
    if options.lath:
        options.lath = os.path.abspath(options.lath)
    kind = drivers.PEERS[options.peer] if options.peer else drivers.Both if options.same_layers else drivers.Lath
    cases = lib.load_cases(options.cases, options.only)
    if not cases:
        p.error("no case matches")
    if not options.only:
        whole(options.cases, cases)
    if options.emulated:
        cases = [case for case in cases if not case.runs()]
    known = set() if options.peer else known_failures(cases, options.only or options.emulated)
    os.umask(0o022)
    work = tempfile.mkdtemp(prefix="conformance-")
    options.base = os.path.join(work, "base.oci.tar")
    base.make(options.base)
    below = lib.base_listing(options.base)
    queue, lock, results = list(reversed(cases)), threading.Lock(), {}
    skipped = set()

    def worker(n):
        mine = os.path.join(work, "w%d" % n)
        os.mkdir(mine)
        driver = kind(mine, options)
        try:
            driver.start()
            while True:
                with lock:
                    if not queue:
                        break
                    case = queue.pop()
                t = time.monotonic()
                place = os.path.join(mine, "c")
                os.mkdir(place)
                try:
                    outcome = driver.build(case, lib.make_context(case, place))
                    reasons = judge(case, outcome, below, not options.peer) + getattr(outcome, "reasons", [])
                except Exception as e:  # a broken case must not hide the others
                    reasons = ["runner: %s: %s" % (type(e).__name__, e)]
                shutil.rmtree(place, ignore_errors=True)
                lacking = options.emulated and reasons and "Function not implemented" in outcome.err
                reasons = [] if lacking else reasons
                reasons = [r for r in reasons if not r.startswith(tuple(p + ": " for p in options.ignore))]
                if case.name in known:
                    reasons = [] if reasons else ["it passes: take it out of known-failures"]
                with lock:
                    results[case.name] = (reasons, time.monotonic() - t)
                    skipped.update([case.name] if lacking else [])
                    show(case.name, reasons, options.verbose, "skip" if lacking else "known" if case.name in known else "ok")
        except SystemExit as e:
            print(e, file=sys.stderr)
            os._exit(2)
        finally:
            driver.stop()

    threads = [threading.Thread(target=worker, args=(n,)) for n in range(max(1, options.jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if options.junit:
        junit(options.junit, results)
    if not options.keep:
        shutil.rmtree(work, ignore_errors=True)
    failed = sum(1 for r, _ in results.values() if r)
    known = {n for n in known if not results[n][0]}
    areas = {}
    for c in cases:
        a = areas.setdefault(c.area, [0, 0])
        a[bool(results[c.name][0]) or c.name in known | skipped] += 1
    print(" ".join("%s %d/%d" % (k, v[0], sum(v)) for k, v in sorted(areas.items())))
    if known:
        print("%d known failures" % len(known))
    print("%d passed, %d failed" % (len(results) - failed - len(known) - len(skipped), failed)
          + (", %d skipped" % len(skipped) if options.emulated else ""))
    return 1 if failed else 0


def whole(folder, cases):
    """Every case has its result and every result its case."""
    have = {c.name + ".json" for c in cases}
    want = set(os.listdir(os.path.dirname(cases[0].expected_file)))
    if have != want:
        sys.exit("%s: cases and expected differ in %s" % (folder, " ".join(sorted(have ^ want))))


def known_failures(cases, only):
    with open(KNOWN, encoding="ascii") as f:
        known = {line.strip() for line in f if line.strip() and not line.startswith("#")}
    names = {c.name for c in cases}
    if not only and known - names:
        sys.exit("known-failures names no case: %s" % " ".join(sorted(known - names)))
    return known & names


def show(name, reasons, verbose, word):
    if not reasons:
        print("%-4s %s" % (word, name), flush=True)
        return
    lines = reasons if verbose else reasons[:3]
    more = "" if len(lines) == len(reasons) else "\n     ... and %d more" % (len(reasons) - len(lines))
    print("FAIL %s: %s%s" % (name, "\n     ".join(x.replace("\n", "\n       ") for x in lines), more), flush=True)


def junit(path, results):
    with open(path, "w") as f:
        f.write('<testsuite name="conformance" tests="%d" failures="%d">\n'
                % (len(results), sum(1 for r, _ in results.values() if r)))
        for name, (reasons, seconds) in sorted(results.items()):
            f.write('<testcase name="%s" time="%.3f">' % (name, seconds))
            if reasons:
                f.write("<failure>%s</failure>" % sax.escape("\n".join(reasons).encode("ascii", "replace").decode()))
            f.write("</testcase>\n")
        f.write("</testsuite>\n")


if __name__ == "__main__":
    sys.exit(main())
