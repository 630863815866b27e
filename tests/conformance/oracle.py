#!/usr/bin/env python3
"""Write expected/NAME.json out of what BuildKit does (buildctl on PATH, BUILDKIT_HOST set).

    oracle.py [--cases DIR] [--only GLOB]...

Nothing else may write there. A case whose "expect" or "error_contains" in case.json
does not hold for BuildKit is reported, and the exit code is 1.
"""
import argparse
import json
import os
import re
import shutil
import sys
import tempfile

import base
import drivers
import lib
import run


def message(err):
    """BuildKit's closing error line(s), without what changes from run to run."""
    i = err.rfind("error: ")
    text = err[i:] if i >= 0 else err
    text = re.sub(r"\b[a-z0-9]{25}\b", "ID", text)
    text = re.sub(r"/\S*/cachemounts/buildkit\d+", "ROOT", text)
    text = re.sub(r"/\S*conformance-\w+\S*", "PATH", text)
    text = re.sub(r"dial tcp: .*", "no such host", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return text.strip()[:600].encode("ascii", "replace").decode()


def dump(path, facts):
    lists = {}
    flat = dict(facts)
    for key in ("rootfs", "history"):
        if flat.get(key):
            lists["@%s@" % key] = "[\n" + ",\n".join("  " + json.dumps(e) for e in flat[key]) + "\n ]"
            flat[key] = "@%s@" % key
    text = json.dumps(flat, indent=1)
    for k, v in lists.items():
        text = text.replace('"%s"' % k, v)
    with open(path, "w", encoding="ascii") as f:
        f.write(text + "\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cases", default=os.path.join(lib.HERE, "cases"))
    p.add_argument("--only", action="append")
    options = p.parse_args()
    os.umask(0o022)
    work = tempfile.mkdtemp(prefix="conformance-")
    options.base = os.path.join(work, "base.oci.tar")
    base.make(options.base)
    below = lib.base_listing(options.base)
    driver = drivers.Buildctl(work, options)
    driver.start()
    bad = 0
    for case in lib.load_cases(options.cases, options.only):
        place = os.path.join(work, "c")
        os.mkdir(place)
        try:
            out = driver.build(case, lib.make_context(case, place))
            complaints = []
            if case.get("check"):
                facts = {"result": "check", "warnings": run.warnings(out.out)}
                if not facts["warnings"] and not case.get("clean"):
                    complaints.append("no warnings: " + out.err[-300:])
            elif out.ok:
                image = lib.Image(out.archive)
                facts = {"result": "ok"}
                facts.update(lib.describe(image, case, below))
                facts.update(lib.informational(image))
                complaints += image.problems
                if case.get("expect") == "fail":
                    complaints.append("should fail, does not")
            else:
                facts = {"result": "fail", "error": message(out.err)}
                if case.get("expect") != "fail":
                    complaints.append("fails: " + facts["error"])
                for w in case.get("error_contains", []):
                    if w.lower() not in facts["error"].lower():
                        complaints.append("error has no %r: %s" % (w, facts["error"]))
            os.makedirs(os.path.dirname(case.expected_file), exist_ok=True)
            dump(case.expected_file, facts)
            for c in complaints:
                bad += 1
                print("%s: %s" % (case.name, c), flush=True)
        except Exception as e:
            bad += 1
            print("%s: %s: %s" % (case.name, type(e).__name__, e), flush=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    driver.stop()
    shutil.rmtree(work, ignore_errors=True)
    print("%d complaints" % bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
