//! Git repositories as sources: ADD, contexts, named contexts; served by `git daemon` on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, Running, needs};
use rustix::process::Signal;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const HERE: &[Need] = &[Need::Root, Need::Busybox, Need::Program("git")];

/// Repositories below `served/` of the test's folder, and who serves them.
struct Server<'a> {
    lath: &'a Lath,
    port: u16,
    daemon: Option<Running>,
}

impl<'a> Server<'a> {
    fn start(lath: &'a Lath) -> Server<'a> {
        fs::create_dir(lath.path("served")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not by way of git, which would stay in front of it.
        let programs = harness::host("git", &["--exec-path"]);
        let mut command = Command::new(format!("{}/git-daemon", programs.trim()));
        command.args(["--listen=127.0.0.1", "--reuseaddr", "--export-all", "--verbose"]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", lath.text("served")));
        let server = Server { lath, port, daemon: Some(Running::start(&mut command)) };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }

    /// git in one of the repositories.
    fn git(&self, name: &str, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@a", "-c", "commit.gpgsign=false"]);
        command.args(["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]);
        command.arg("-C").arg(self.lath.path(&format!("served/{name}"))).args(words);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        harness::finish(&mut command, &[]).success().stdout.trim().to_owned()
    }

    /// How often it was asked for something.
    fn stop(mut self) -> usize {
        let daemon = self.daemon.take().unwrap();
        daemon.signal(Signal::TERM);
        daemon.wait().stderr.matches("Request upload-pack").count()
    }

    fn make(&self, name: &str) {
        fs::create_dir(self.lath.path(&format!("served/{name}"))).unwrap();
        self.git(name, &["init", "-q"]);
    }

    /// Writes files and commits all; gives the commit.
    fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        for (file, content) in files {
            self.lath.write(&format!("served/{name}/{file}"), content);
        }
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", "x"]);
        self.git(name, &["rev-parse", "HEAD"])
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.signal_group(Signal::TERM);
            daemon.wait();
        }
    }
}

/// A lath with a base, or nothing where the binary has no git.
fn lath() -> Option<Lath> {
    if !needs(HERE) {
        return None;
    }
    let lath = Lath::with_busybox();
    let features = lath.ok(&["version", "--format", "{{.Client.Features}}"]);
    if features.split_whitespace().any(|name| name == "net") {
        return Some(lath);
    }
    let file = "FROM busybox\nADD https://127.0.0.1:1/x.git /x\n";
    let said = lath.build_in("c", "x", file, &[]).failure(1);
    assert!(said.contains("this lath was built without net"), "{said}");
    None
}

#[test]
fn add_takes_a_branch_a_tag_a_commit_or_a_directory() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    server.make("r");
    let first = server.commit("r", &[("a", "one"), ("d/b", "deep"), ("d/run", "#!")]);
    server.git("r", &["update-index", "--chmod=+x", "d/run"]);
    server.git("r", &["commit", "-q", "-m", "x"]);
    server.git("r", &["tag", "-a", "v1", "-m", "v1"]);
    server.git("r", &["checkout", "-q", "-b", "side/way"]);
    let side = server.commit("r", &[("a", "side")]);
    server.git("r", &["checkout", "-q", "main"]);
    std::os::unix::fs::symlink("d/b", lath.path("served/r/l")).unwrap();
    server.commit("r", &[("a", "two")]);
    let url = server.url("r");
    let file = format!(
        "FROM busybox\nADD {url} /head\nADD {url}#side/way /branch/\nADD {url}#v1 /tag\n\
         ADD {url}#{first} /commit\nADD {url}#:d /dir/\nADD --exclude=a {url}?tag=v1 /some\n\
         ADD --chown=1000:50 {url}?branch=side%2Fway&subdir=d /query\n\
         ADD --checksum={side} {url}#side/way /sum\n"
    );
    lath.build_in("c", "x", &file, &[]).success();
    let script = "cd /; cat head/a branch/a tag/a commit/a dir/b query/b sum/a; echo; ls -a head \
        some | tr '\\n' ' '; readlink head/l; stat -c '%a %u %g' head head/a head/d/run query/b";
    let wanted = "twosideoneonedeepdeepside\nhead: . .. a d l  some: . .. d d/b\n\
        755 0 0\n644 0 0\n755 0 0\n644 1000 50\n";
    assert_eq!(lath.shell("x", script), wanted);
    // Nothing moved: all from the cache. A branch that moves is seen.
    let steps = |output: harness::Output| output.cached().len();
    assert_eq!(steps(lath.build_in("c", "x", &file, &[]).success()), 8);
    server.commit("r", &[("a", "three")]);
    let again = lath.build_in("c", "x", &file, &[]).success();
    assert_eq!(steps(again), 0);
    assert_eq!(lath.shell("x", "cat /head/a /tag/a"), "threeone");
    // A commit that was named needs no server when it is cached.
    let file = format!("FROM busybox\nADD {url}#{first} /commit\n");
    lath.build_in("c", "y", &file, &[]).success();
    drop(server);
    assert_eq!(steps(lath.build_in("c", "y", &file, &[]).success()), 1);
}

#[test]
fn the_repository_itself_is_kept_when_asked_for() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    server.make("r");
    let commit = server.commit("r", &[("a", "one")]);
    let url = server.url("r");
    let file = format!(
        "FROM busybox\nADD --keep-git-dir {url} /kept\nADD {url}?keep-git-dir=1 /also\n\
         ADD --keep-git-dir=false {url} /bare\n"
    );
    lath.build_in("c", "x", &file, &[]).success();
    let script = "cat /kept/.git/HEAD /also/.git/HEAD; ls -a /bare | tr '\\n' ' '; ls \
        /kept/.git/FETCH_HEAD /kept/.git/hooks 2>/dev/null; grep -c url /kept/.git/config";
    assert_eq!(lath.shell("x", script), format!("{commit}\n{commit}\n. .. a 1\n"));
}

#[test]
fn what_is_not_there_or_not_promised_is_an_error() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    server.make("r");
    let commit = server.commit("r", &[("a", "one")]);
    let url = server.url("r");
    std::os::unix::fs::symlink("/etc", lath.path("served/r/etc")).unwrap();
    server.commit("r", &[]);
    let none = "1".repeat(40);
    for (add, wanted) in [
        (format!("ADD {url}#nothing /x"), "repository does not contain ref nothing"),
        (format!("ADD {url}#:nothing /x"), "the directory \"nothing\" is not there"),
        (format!("ADD {url}#:a /x"), "\"a\" is not a directory"),
        // A link is followed inside of the repository, where there is no such directory.
        (format!("ADD {url}#:etc /x"), "the directory \"etc\" is not there"),
        (format!("ADD {url}#:../x /x"), "leads out"),
        (format!("ADD {url}#--upload-pack=touch /x"), "is not a name of a commit"),
        (format!("ADD {url}#{none} /x"), "did not give commit 1111"),
        (format!("ADD --checksum={none} {url} /x"), "expected checksum to match 1111"),
        (format!("ADD --checksum={commit} {url} /x"), "expected checksum to match"),
        (format!("ADD {} /x", server.url("other")), "git ls-remote"),
    ] {
        let said = lath.build_in("c", "x", &format!("FROM busybox\n{add}\n"), &[]).failure(1);
        assert!(said.contains(wanted), "{add}: {said}");
    }
    lath.write("c/Dockerfile", format!("FROM busybox\nADD {url} /x\n"));
    let mut command = lath.command(&["build", "c"]);
    command.env("PATH", "/nowhere");
    let said = harness::finish(&mut command, &[]).failure(1);
    assert!(said.contains("there is no program git"), "{said}");
}

#[test]
fn submodules_come_along_and_never_from_this_machine() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    for name in ["inner", "sub", "r", "evil"] {
        server.make(name);
    }
    server.commit("inner", &[("i", "inner")]);
    server.commit("sub", &[("s", "sub")]);
    server.git("sub", &["submodule", "--quiet", "add", "../inner", "in"]);
    // Relative to where it was fetched from.
    server.git("sub", &["config", "-f", ".gitmodules", "submodule.in.url", "../inner"]);
    server.commit("sub", &[]);
    server.commit("r", &[("a", "one")]);
    server.git("r", &["submodule", "--quiet", "add", &server.url("sub"), "m"]);
    server.commit("r", &[]);
    let url = server.url("r");
    let file = format!("FROM busybox\nADD {url} /x\nADD {url}?submodules=false /y\n");
    lath.build_in("c", "x", &file, &[]).success();
    let script = "cat /x/a /x/m/s /x/m/in/i; echo; find /x /y -name .git; ls /y/m";
    assert_eq!(lath.shell("x", script), "onesubinner\n");
    server.commit("evil", &[("a", "one")]);
    server.git("evil", &["submodule", "--quiet", "add", &lath.text("served/sub"), "m"]);
    server.commit("evil", &[]);
    let file = format!("FROM busybox\nADD {} /x\n", server.url("evil"));
    let said = lath.build_in("c", "z", &file, &[]).failure(1);
    assert!(said.contains("transport 'file' not allowed"), "{said}");
}

#[test]
fn a_context_may_be_a_repository() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    server.make("r");
    server.commit(
        "r",
        &[
            ("Dockerfile", "FROM busybox\nCOPY . /x\n"),
            ("d/Dockerfile", "FROM busybox\nCOPY . /deep\n"),
            ("d/other", "FROM busybox\nCOPY f /other\n"),
            ("d/f", "file"),
            ("d/.dockerignore", "Dockerfile\n"),
        ],
    );
    let url = server.url("r");
    lath.ok(&["build", "-t", "x", &url]);
    assert_eq!(lath.shell("x", "cat /x/d/f; ls -a /x | tr '\\n' ' '"), "file. .. Dockerfile d ");
    lath.ok(&["build", "-t", "x", &format!("{url}#main:d")]);
    assert_eq!(lath.shell("x", "cd /deep; ls"), "f\nother\n");
    lath.ok(&["build", "-t", "x", "-f", "other", &format!("{url}#main:d")]);
    assert_eq!(lath.shell("x", "cat /other"), "file");
    let named = format!("src={url}#:d");
    let file = "FROM busybox\nCOPY --from=src f /named\n";
    lath.build_in("c", "y", file, &["--build-context", &named]).success();
    assert_eq!(lath.shell("y", "cat /named"), "file");
    let said = lath.build_in("c", "y", file, &["--build-context", &named]).success();
    assert_eq!(said.cached().len(), 1);
}

#[test]
fn what_several_steps_name_is_fetched_once() {
    let Some(lath) = lath() else { return };
    let server = Server::start(&lath);
    server.make("r");
    server.commit("r", &[("d/f", "one"), ("g", "two")]);
    let url = server.url("r");
    let file = format!(
        "FROM busybox AS a\nADD {url}#main /a\nFROM busybox AS m\nADD {url}#main:d /d\n\
         ADD {url}#main /all\nCOPY --from=n g /g\nCOPY --from=a /a/g /ag\n\
         FROM a AS b\nCOPY --from=n g /g\nFROM m\nCOPY --from=b /g /bg\n"
    );
    let named = format!("n={url}");
    lath.build_in("c", "x", &file, &["--build-context", &named, "--jobs=3"]).success();
    assert_eq!(lath.shell("x", "cat /d/f /all/g /g /ag /bg; ls /d"), "onetwotwotwotwof\n");
    assert_eq!(fs::read_dir(lath.store().join("tmp")).unwrap().count(), 0);
    // Each asks for what a name stands for, and fetches that: for the steps, and for the context.
    assert_eq!(server.stop(), 4);
}
