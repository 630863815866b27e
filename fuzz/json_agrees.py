#!/usr/bin/env python3
"""Whether lath and Python take the same texts for JSON: json_agrees.py READ FILE-OR-FOLDER...

READ is the project's example `read`: `cargo build --release --example read`.
Beside what is named, every expected result and case.json of the conformance cases is read, whole and cut
off at some places. Not compared: what lath refuses on purpose (a key twice, depth over 64, more than 32,768 values).
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class OnPurpose(Exception):
    pass


def once(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise OnPurpose
    return dict(pairs)


def measure(value, depth=0):
    """Depth and number of values."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    below = [measure(v, depth + 1) for v in inside]
    return max([depth] + [d for d, _ in below]), 1 + sum(n for _, n in below)


def constant(name):
    raise ValueError(name)


def accepts(data):
    """True, False, or nothing when the two need not agree."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=once, parse_constant=constant, parse_int=str, parse_float=str)
        depth, values = measure(value)
    except (OnPurpose, RecursionError):
        return None
    except ValueError:
        # A duplicate or depth may have hidden behind the fault, and either is a no.
        return False
    return None if depth > 64 or values > 32768 else True


def main():
    files = []
    for name in sys.argv[2:]:
        files += sorted(glob.glob(os.path.join(name, "*"))) if os.path.isdir(name) else [name]
    texts = []
    for name in files:
        with open(name, "rb") as f:
            texts.append(f.read())
    cases = os.path.join(HERE, "../tests/conformance")
    for name in sorted(glob.glob(cases + "/expected/*.json") + glob.glob(cases + "/cases/*/case.json")):
        with open(name, "rb") as f:
            text = f.read()
        texts += [text, text[:len(text) // 2], text[:-2], text.replace(b":", b"", 1), text.replace(b"{", b"[", 1)]
    with tempfile.TemporaryDirectory(prefix="json-agrees-") as folder:
        names = []
        for number, text in enumerate(texts):
            names.append(os.path.join(folder, "%06d" % number))
            with open(names[-1], "wb") as f:
                f.write(text)
        said = subprocess.run([sys.argv[1], "--json"], input="\n".join(names) + "\n", stdout=subprocess.PIPE, text=True, check=True)
        said = said.stdout.split()
    compared = differ = taken = 0
    for text, word in zip(texts, said, strict=True):
        wanted = accepts(text)
        if wanted is None:
            continue
        compared += 1
        taken += wanted
        if (word == "yes") != wanted:
            differ += 1
            print("lath says %s, Python %s: %r" % (word, "yes" if wanted else "no", text[:200]))
    print("%d texts, %d are JSON, %d differ" % (compared, taken, differ))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
