"""Other builders, as far as they are installed and work here, each with a store of its own."""
import os
import shutil
import signal
import subprocess
import time


class Rival:
    """One of them, with its commands; None for what it cannot do."""

    def __init__(self, name, build, run, save, load, remove, place, binaries, daemon=None):
        self.name, self._build, self.place, self._binaries, self.daemon = name, build, place, binaries, daemon
        self.run = run and (lambda image, *command: run + [image, *command])
        self.save = save and (lambda image, file: save + [file, image])
        self.load = load and (lambda file: load + [file])
        self._remove = remove

    def build(self, tag, folder, cached=True):
        return self._build + ([] if cached else ["--no-cache"]) + ["-t", tag, folder]

    def remove(self, image):
        return self._remove + [image]

    def programs(self):
        """Bytes of the programs that a build needs."""
        return sum(os.path.getsize(os.path.realpath(path)) for path in map(shutil.which, self._binaries) if path)

    def peak(self):
        """The most memory of the daemon so far, in KB; None without one."""
        return self.daemon and self._number("status", "VmHWM:")

    def written(self):
        """Bytes that the daemon has written so far; None without one."""
        return self.daemon and self._number("io", "write_bytes:")

    def _number(self, file, key):
        with open("/proc/%d/%s" % (self.daemon, file)) as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(key))


class Rivals(list):
    """All that work here. Each has the base of lath's: localhost/base."""

    def __init__(self, work, without):
        super().__init__()
        self.dockerd = None
        self.work = work
        self.base = os.path.join(work, "rival-base")
        os.makedirs(self.base, exist_ok=True)
        shutil.copy(work + "/root.tar", self.base)
        with open(self.base + "/Dockerfile", "w") as f:
            f.write("FROM scratch\nADD root.tar /\n")
        if "docker" not in without:
            self.docker()
        for name in ("buildah", "podman"):
            if name not in without and shutil.which(name):
                self.podman(name)

    def docker(self):
        if not shutil.which("dockerd") or not shutil.which("docker"):
            return
        place = self.work + "/docker"
        os.makedirs(place)
        socket = "unix://%s/socket" % place
        words = ["dockerd", "--data-root", place + "/data", "--exec-root", place + "/exec", "--pidfile", place + "/pid"]
        words += ["-H", socket, "--iptables=false", "--ip6tables=false", "--bridge=none"]
        self.dockerd = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A client of later years has BuildKit only with a program of its own beside it.
        clients = ["docker", "/usr/bin/docker"]
        for _ in range(300):
            if subprocess.run(["docker", "-H", socket, "version"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        needs = ["docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc"]
        for name, kit in (("docker", "0"), ("BuildKit in docker", "1")):
            for client in clients:
                base = ["env", "DOCKER_BUILDKIT=" + kit, client, "-H", socket]
                rival = Rival(
                    name,
                    base + ["build", "--network=host"],
                    base + ["run", "--rm", "--network=host"] if kit == "0" else None,
                    base + ["save", "-o"] if kit == "0" else None,
                    base + ["load", "-i"] if kit == "0" else None,
                    base + ["rmi", "-f"],
                    place + "/data",
                    needs,
                    self.dockerd.pid,
                )
                if self.tried(rival):
                    break

    def podman(self, name):
        place = "%s/%s" % (self.work, name)
        base = [name, "--root", place + "/root", "--runroot", place + "/run"]
        has_more = name == "podman"
        self.tried(
            Rival(
                name,
                base + ["build" if has_more else "bud", "--layers", "--network=host"],
                base + ["--cgroup-manager=cgroupfs", "run", "--rm", "--network=host"] if has_more else None,
                base + ["save", "-o"] if has_more else None,
                base + ["load", "-i"] if has_more else None,
                base + ["rmi", "-f"],
                place + "/root",
                [name, "conmon", "runc"] if has_more else [name, "runc"],
            )
        )

    def tried(self, rival):
        done = subprocess.run(rival.build("localhost/base", self.base), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode == 0:
            self.append(rival)
            return True
        said = done.stdout.decode(errors="replace").strip().splitlines() or [""]
        print("%s is left out: %s" % (rival.name, said[-1]))
        return False

    def end(self):
        if self.dockerd:
            self.dockerd.send_signal(signal.SIGTERM)
            self.dockerd.wait()
            # It leaves the network that it took from the host.
            subprocess.run(["umount", self.work + "/docker/exec/netns/default"], capture_output=True, check=False)
