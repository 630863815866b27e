"""How each builder is told to load the base, build a case and give the image back."""
import argparse
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading

import lib


class Outcome:
    """One finished build: exit code, stderr, and the archive when it worked."""

    def __init__(self, rc, err, archive=None, out=""):
        self.rc, self.err, self.archive, self.out = rc, err, archive, out

    @property
    def ok(self):
        return self.rc == 0


def text(b):
    return b.decode("utf-8", "replace")


class Driver:
    name = "?"
    default_network = None
    default_platform = None

    def __init__(self, work, options):
        self.work, self.options = work, options
        self.env = dict(os.environ)
        self.server = None

    def sh(self, args, timeout=300, cwd=None):
        try:
            p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=self.env, timeout=timeout, cwd=cwd)
        except subprocess.TimeoutExpired:
            return 124, "", "timed out after %d s" % timeout
        return p.returncode, text(p.stdout), text(p.stderr)

    def unmount(self):
        """Take away the mounts that are left in the work folder; returns them."""
        with open("/proc/mounts") as f:
            left = [line.split()[1] for line in f if line.split()[1].startswith(self.work + "/")]
        for p in reversed(left):
            subprocess.run(["umount", "-l", p], stderr=subprocess.DEVNULL)
        return left

    def must(self, args):
        rc, out, err = self.sh(args)
        if rc:
            raise SystemExit("%s: %s failed: %s" % (self.name, " ".join(args[:4]), err.strip()[-400:]))
        return out

    def start(self):
        """Load the base; called once per worker."""

    def stop(self):
        pass

    def url(self, ctx):
        """A loopback http server of the case's www/ folder."""
        handler = functools.partial(Quiet, directory=os.path.join(ctx, "www"))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def stop_server(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def common(self, case, ctx):
        """The part of a command line that docker-like builders have in common."""
        a = []
        for k, v in case.get("args", {}).items():
            if v == "@HTTP@":
                v = self.url(ctx)
            a += ["--build-arg", k if v is None else "%s=%s" % (k, v)]
        if case.get("target"):
            a += ["--target", case.get("target")]
        network = case.get("network", self.default_network)
        if network:
            a += ["--network", network]
        if case.get("no_cache"):
            a += ["--no-cache"]
        platform = case.get("platform", self.default_platform)
        if platform:
            a += ["--platform", platform]
        for k, v in case.get("labels", {}).items():
            a += ["--label", "%s=%s" % (k, v)]
        for h in case.get("add_hosts", []):
            a += ["--add-host", h]
        for v in case.get("allow", []):
            a += ["--allow", v]
        for k, v in case.get("secrets", {}).items():
            p = os.path.join(os.path.dirname(ctx), "secret-" + k)
            with open(p, "w") as f:
                f.write(v)
            a += ["--secret", "id=%s,src=%s" % (k, p)]
        for k, v in case.get("build_contexts", {}).items():
            a += ["--build-context", "%s=%s" % (k, os.path.join(ctx, v))]
        return a

    def dockerfile(self, case, ctx, step=None):
        return os.path.join(ctx, (step or case.meta).get("dockerfile", "Dockerfile"))

    def context(self, case, ctx):
        return os.path.join(ctx, case.get("context")) if case.get("context") else ctx


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a):
        pass


class Lath(Driver):
    name = "lath"

    def start(self):
        if self.options.emulated:
            self.default_platform = "linux/amd64"
        self.n = 0
        self.fresh()

    def fresh(self):
        self.n += 1
        if self.options.driver:
            self.env["LATH_DRIVER"] = self.options.driver
        self.env["LATH_ROOT"] = os.path.join(self.work, "root%d" % self.n)
        self.must([self.options.lath, "load", "-i", self.options.base])

    def build(self, case, ctx):
        if self.options.fresh:
            self.fresh()
        try:
            for step in case.get("before", []):
                rc, out, err = self.sh([self.options.lath, "build", "-t", step["tag"], "-f",
                                        self.dockerfile(case, ctx, step), self.context(case, ctx)])
                if rc:
                    return Outcome(rc, "before: " + err)
            args = [self.options.lath, "build"]
            if case.get("check"):
                rc, out, err = self.sh(args + ["--check"] + self.common(case, ctx)
                                       + ["-f", self.dockerfile(case, ctx), self.context(case, ctx)])
                return Outcome(rc, err, out=out + err)
            rc, out, err = self.sh(args + ["-t", "case/" + case.name.lower()] + self.common(case, ctx)
                                   + ["-f", self.dockerfile(case, ctx), self.context(case, ctx)])
            if rc:
                return Outcome(rc, err)
            archive = os.path.join(self.work, "out.tar")
            rc, out, err = self.sh([self.options.lath, "save", "-o", archive, "case/" + case.name.lower()])
            return Outcome(rc, ("save: " + err) if rc else err, archive)
        finally:
            self.stop_server()

    def stop(self):
        left = self.unmount()
        if left:
            print("WARNING %d mounts left under the root: %s" % (len(left), left[0]))


class Both(Driver):
    """lath with both ways of making snapshots: the layers must be the same, and the result BuildKit's. Both builds have
    one SOURCE_DATE_EPOCH, or no two layers were the same; a case that looks at times is built once more without it."""
    name = "lath"

    def start(self):
        self.ways = [self.way(name, driver) for name, driver in
                     (("overlay", "overlay"), ("copy", "copy"), ("plain", self.options.driver))]
        for way in self.ways[:2]:
            way.env["SOURCE_DATE_EPOCH"] = "1000000000"

    def way(self, name, driver):
        work = os.path.join(self.work, name)
        os.mkdir(work)
        way = Lath(work, argparse.Namespace(**dict(vars(self.options), driver=driver)))
        way.start()
        return way

    def build(self, case, ctx):
        got = []
        for way in self.ways[:2]:
            outcome = way.build(case, ctx)
            if outcome.ok and outcome.archive:
                outcome.layers = lib.Image(outcome.archive).config["rootfs"]["diff_ids"]
            got.append(outcome)
        one, other = got
        layers = [getattr(outcome, "layers", None) for outcome in got]
        reasons = []
        if one.rc != other.rc:
            reasons.append("exit code %d and %d: %s" % (one.rc, other.rc, (one.err + other.err).strip()[-300:]))
        elif layers[0] != layers[1] and not case.get("reads_clock"):
            reasons.append("layers: %s" % [n for n, (a, b) in enumerate(zip(*layers)) if a != b])
        outcome = self.ways[2].build(case, ctx) if looks_at_times(case) else one
        outcome.reasons = reasons
        return outcome

    def stop(self):
        for way in self.ways:
            way.stop()


def looks_at_times(case):
    text = json.dumps(case.meta)
    return '"mtime"' in text or '"created"' in text or "SOURCE_DATE_EPOCH" in text


class Docker(Driver):
    """The classic builder of docker.io; DOCKER_HOST picks the daemon."""
    name = "docker"
    default_network = "host"

    def start(self):
        self.env["DOCKER_BUILDKIT"] = "1" if self.options.buildkit else "0"
        self.must(["docker", "load", "-i", self.options.base])

    def build(self, case, ctx):
        if case.get("check"):
            return Outcome(1, "no lint")
        try:
            for step in case.get("before", []):
                rc, out, err = self.sh(["docker", "build", "-t", step["tag"], "-f", self.dockerfile(case, ctx, step),
                                        self.context(case, ctx)])
                if rc:
                    return Outcome(rc, "before: " + err)
            tag = "case/" + case.name.lower()
            rc, out, err = self.sh(["docker", "build", "-t", tag] + self.common(case, ctx)
                                   + ["-f", self.dockerfile(case, ctx), self.context(case, ctx)])
            if rc:
                return Outcome(rc, err)
            archive = os.path.join(self.work, "out.tar")
            rc, out, err = self.sh(["docker", "save", "-o", archive, tag])
            self.sh(["docker", "rmi", tag])
            return Outcome(rc, err, archive)
        finally:
            self.stop_server()


class Buildah(Driver):
    name = "buildah"

    def start(self):
        self.cmd = ["buildah", "--root", self.work + "/store", "--runroot", self.work + "/run"]
        if self.options.storage_driver:
            self.cmd += ["--storage-driver", self.options.storage_driver]
        self.must(self.cmd + ["pull", "oci-archive:" + self.options.base])
        ids = self.must(self.cmd + ["images", "-q"]).split()
        self.must(self.cmd + ["tag", ids[0], "docker.io/library/busybox:latest"])

    def build(self, case, ctx):
        if case.get("check"):
            return Outcome(1, "no lint")
        bud = self.cmd + ["bud", "--format", "docker", "--layers", "--isolation", "chroot"]
        try:
            for step in case.get("before", []):
                rc, out, err = self.sh(bud + ["-t", step["tag"], "-f", self.dockerfile(case, ctx, step),
                                              self.context(case, ctx)])
                if rc:
                    return Outcome(rc, "before: " + err)
            tag = "case/" + case.name.lower()
            rc, out, err = self.sh(bud + ["-t", tag] + self.common(case, ctx)
                                   + ["-f", self.dockerfile(case, ctx), self.context(case, ctx)])
            if rc:
                return Outcome(rc, err)
            archive = os.path.join(self.work, "out.tar")
            if os.path.exists(archive):
                os.unlink(archive)
            rc, out, err = self.sh(self.cmd + ["push", "-q", tag, "docker-archive:" + archive])
            return Outcome(rc, err, archive)
        finally:
            self.stop_server()

    def stop(self):
        self.unmount()


class Buildctl(Driver):
    """BuildKit with its own Dockerfile frontend; BUILDKIT_HOST picks the daemon."""
    name = "buildctl"

    def start(self):
        self.layouts = {}
        self.add_layout("busybox", self.options.base)

    def add_layout(self, name, archive):
        d = os.path.join(self.work, "layout-" + name.replace("/", "-").replace(":", "-"))
        shutil.rmtree(d, ignore_errors=True)
        with tarfile.open(archive) as t:
            t.extractall(d)
        with open(os.path.join(d, "index.json")) as f:
            self.layouts[name] = (d, json.load(f)["manifests"][0]["digest"])

    def call(self, case, ctx, dockerfile, output, extra=()):
        # "cmdline" keeps a `# syntax=` line from fetching another frontend
        args = ["buildctl", "build", "--progress", "plain", "--frontend", "dockerfile.v0", "--opt", "cmdline=builtin",
                "--local", "context=" + self.context(case, ctx), "--local", "dockerfile=" + os.path.dirname(dockerfile),
                "--opt", "filename=" + os.path.basename(dockerfile)] + list(extra)
        for name, (d, digest) in self.layouts.items():
            key = "l" + re.sub(r"\W", "", name)
            args += ["--oci-layout", key + "=" + d, "--opt", "context:%s=oci-layout://%s@%s" % (name, key, digest)]
        return self.sh(args + output)

    def build(self, case, ctx):
        before = list(self.layouts)
        try:
            for step in case.get("before", []):
                archive = os.path.join(self.work, "before.tar")
                rc, out, err = self.call(case, ctx, self.dockerfile(case, ctx, step),
                                         ["--output", "type=oci,dest=" + archive])
                if rc:
                    return Outcome(rc, "before: " + err)
                self.add_layout(step["tag"], archive)
            extra = []
            common = self.common(case, ctx)
            while common:
                k = common.pop(0)
                if k == "--no-cache":
                    extra += ["--no-cache"]
                    continue
                v = common.pop(0)
                if k == "--build-arg":
                    if "=" in v:
                        extra += ["--opt", "build-arg:" + v]
                elif k == "--target":
                    extra += ["--opt", "target=" + v]
                elif k == "--platform":
                    extra += ["--opt", "platform=" + v]
                elif k == "--network":
                    if v != "host":
                        extra += ["--opt", "force-network-mode=" + v]
                elif k == "--label":
                    extra += ["--opt", "label:" + v]
                elif k == "--add-host":
                    extra += ["--opt", "add-hosts=" + v.replace(":", "=", 1)]
                elif k == "--allow":
                    extra += ["--allow", v]
                elif k == "--secret":
                    extra += ["--secret", v]
                elif k == "--build-context":
                    n, p = v.split("=", 1)
                    extra += ["--local", "c" + n + "=" + p, "--opt", "context:%s=local:c%s" % (n, n)]
            if case.get("check"):
                return self.lint(case, ctx, extra)
            archive = os.path.join(self.work, "out.tar")
            rc, out, err = self.call(case, ctx, self.dockerfile(case, ctx),
                                     ["--output", "type=oci,dest=" + archive], extra)
            return Outcome(rc, err, archive)
        finally:
            self.stop_server()
            self.layouts = {k: v for k, v in self.layouts.items() if k in before}

    def lint(self, case, ctx, extra):
        rc, out, err = self.call(case, ctx, self.dockerfile(case, ctx), [], list(extra) + ["--opt", "requestid=frontend.lint"])
        return Outcome(rc, err, out=out + err)


PEERS = {"docker": Docker, "buildah": Buildah, "buildctl": Buildctl}
