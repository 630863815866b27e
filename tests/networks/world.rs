//! A device and its neighbours: network namespaces, so that nothing of this machine's is touched.

use super::harness::{Lath, Output, busybox, finish, until};
use std::fs;
use std::process::{Child, Command, Stdio};

/// What is started so is looked after here, and is nothing that a container has left behind.
pub const OURS: (&str, &str) = ("LATH_ROOT", "/");

/// A command behind another one, which runs it: with the same environment and directory.
pub fn wrapped(words: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = inner.get_current_dir() {
        command.current_dir(dir);
    }
    command
}

/// A network namespace, for as long as this lives.
pub struct Space(Child);

impl Space {
    pub fn new() -> Space {
        let mut command = Command::new("unshare");
        command.args(["-n", "sleep", "600"]).env(OURS.0, OURS.1);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let space = Space(child);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        until("a namespace of its own", || {
            fs::read_link(space.path()).is_ok_and(|link| link != own)
        });
        space.sh("ip link set lo up");
        space
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A command that runs in there.
    pub fn within(&self, inner: &Command) -> Command {
        wrapped(&["nsenter", &format!("--net={}", self.path()), "--"], inner)
    }

    pub fn try_sh(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env(OURS.0, OURS.1);
        finish(&mut self.within(&command), &[])
    }

    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).success().stdout
    }

    /// What a page at this address says.
    pub fn page(&self, url: &str) -> Option<String> {
        let script = "import sys,urllib.request as r; print(r.urlopen(sys.argv[1],timeout=3).read().decode())";
        let said = self.try_sh(&format!("python3 -c '{script}' {url}"));
        (said.code == 0).then(|| said.stdout.trim().to_owned())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A device (10.99.0.1, 10.98.0.1) between two neighbours that send everything through it.
pub struct World {
    pub device: Space,
    pub left: Space,
    pub right: Space,
    pub lath: Lath,
}

impl World {
    pub fn new() -> World {
        let [device, left, right] = [Space::new(), Space::new(), Space::new()];
        // A new namespace has this machine's, whatever that is.
        device.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
        for (space, name, net) in [(&left, "left", 99), (&right, "right", 98)] {
            let pid = space.0.id();
            device.sh(&format!("ip link add {name} type veth peer name far netns {pid}"));
            device.sh(&format!("ip addr add 10.{net}.0.1/24 dev {name} && ip link set {name} up"));
            space.sh(&format!("ip addr add 10.{net}.0.2/24 dev far && ip link set far up"));
            space.sh(&format!("ip route add default via 10.{net}.0.1"));
        }
        // A libc that looks names up, and a server besides.
        let lath = Lath::with_base("alpine-amd64.oci.tar");
        fs::create_dir_all(lath.path("web")).unwrap();
        fs::copy(busybox().unwrap(), lath.path("web/busybox-server")).unwrap();
        let dockerfile = "FROM alpine\nCOPY busybox-server /bin/\nEXPOSE 80 53/udp\n\
             RUN mkdir /www && echo page >/www/index.html\n\
             CMD [\"busybox-server\", \"httpd\", \"-f\", \"-vv\", \"-h\", \"/www\"]\n";
        lath.build_in("web", "web", dockerfile, &[]).success();
        World { device, left, right, lath }
    }

    pub fn run(&self, words: &[&str]) -> Output {
        finish(&mut self.device.within(&self.lath.command(words)), &[])
    }

    pub fn ok(&self, words: &[&str]) -> String {
        self.run(words).success().stdout.trim().to_owned()
    }

    pub fn field(&self, name: &str, template: &str) -> String {
        self.ok(&["inspect", "-f", template, name])
    }

    pub fn address(&self, name: &str) -> String {
        self.field(name, "{{.NetworkSettings.IPAddress}}")
    }

    /// The process of a container's program.
    pub fn pid(&self, name: &str) -> i32 {
        self.field(name, "{{.State.Pid}}").parse().unwrap()
    }

    /// Ends all containers, before their namespaces go.
    pub fn end(self) {
        let all = self.ok(&["ps", "-aq"]);
        for id in all.lines() {
            self.ok(&["rm", "-f", id]);
        }
        let links = self.device.sh("ip -o link");
        assert!(!links.contains(": lv"), "links of containers are left: {links}");
    }
}
