#!/usr/bin/env python3
"""The inputs that fuzzing begins with, out of the conformance cases: seeds.py FOLDER"""
import glob
import hashlib
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../tests/conformance"))
import lib  # noqa: E402

TEMPLATES = ["json", "table {{.Id}}\t{{.Size}}", "{{.Id}} {{json .Config}}", "{{range .Config.Env}}{{.}} {{end}}",
             "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "{{with .No}}a{{else}}b{{end}}",
             "{{if and .Yes (eq .Size 7)}}{{upper .Id}}{{end}}", "{{- len .Config.Env | printf \"%d\" -}}",
             "{{index .Config.Labels \"a\"}}{{join .Config.Env \",\"}}{{split .Id \":\"}}{{/* x */}}"]
MANIFEST = """{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,
"digest":"sha256:%s"},"layers":[{"digest":"sha256:%s","size":1}]}""" % ("0" * 64, "a" * 64)
INDEX = """{"manifests":[{"digest":"sha256:%s","size":3,"platform":{"os":"linux","architecture":"arm","variant":"v7"},
"annotations":{"a":"\\u00e9\\ud83d\\ude00"}}]}""" % ("b" * 64)
CONFIG = """{"architecture":"amd64","os":"linux","created":"2020-09-13T12:26:40Z","config":{"Env":["PATH=/bin"],
"Cmd":["sh"],"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"],"Retries":3}},
"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"x","empty_layer":true}],"x":-1.5e3}"""


def main(folder):
    def put(target, data):
        path = os.path.join(folder, target)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, hashlib.sha256(data).hexdigest()[:16]), "wb") as f:
            f.write(data)

    for case in lib.load_cases(os.path.join(HERE, "../tests/conformance/cases")):
        for path in sorted(glob.glob(os.path.join(case.folder, "*ockerfile*"))):
            with open(path, "rb") as f:
                text = f.read()
            put("parser", text)
            for line in text.splitlines():
                if b"$" in line:
                    put("expansion", b"\0" + line + b"\0val\0\0a/b.tar.gz")
                if line.upper().startswith(b"FROM "):
                    put("reference", line.split()[-1])
        ignore = os.path.join(case.folder, ".dockerignore")
        if os.path.exists(ignore):
            with open(ignore, "rb") as f:
                put("patterns", b"\3" + f.read())
        for op in case.get("setup", []):
            if op.get("type") == "tar" and op.get("compress") in (None, "", "none", "gz"):
                put("tar", lib.make_tar(op, lib.EPOCH)[:65536])
    for number in range(40):
        put("patterns", bytes([number % 3]) + hashlib.sha256(bytes([number])).digest())
        put("expansion", bytes([3 | number & 4]) + hashlib.sha256(bytes([number])).digest())
    for text in (MANIFEST, INDEX, CONFIG % ("c" * 64)):
        put("json", text.encode())
    for name in ("localhost:5000/a/b:1@sha256:" + "0" * 64, "linux/arm/v7", "sha256:" + "0" * 64, "a.b/c_d__e-f:x.y"):
        put("reference", name.encode())
    for text in TEMPLATES:
        put("template", text.encode())
        put("template", text.encode() + b'\0{"Id":[1,{"a":null}],"Config":"x"}')


if __name__ == "__main__":
    main(sys.argv[1])
