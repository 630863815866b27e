//! Certificates: those of a registry's own folder, and a clock that stands still.

use super::harness::{Authority, Lath, Need, Shelf, finish, needs};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Program("openssl"), Need::Program("python3")];

/// The time so many days from now, as openssl's `ca` has it.
fn in_days(days: &str) -> String {
    let words = ["-u", "-d", days, "+%y%m%d%H%M%SZ"];
    let output = Command::new("date").args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What docker's folder has for one registry; gone with this.
struct Folder(PathBuf);

impl Folder {
    fn of(port: u16) -> Folder {
        let path = PathBuf::from(format!("/etc/docker/certs.d/localhost:{port}"));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the server of the harness comes to when all is well with TLS.
const THROUGH: &str = "is plain http, where a password would be read by anybody";

#[test]
fn a_folder_of_a_registry_says_whom_to_trust_and_who_this_is() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let authority = Authority::new(&lath.path("authority"));
    let [from, to] = ["-1 day", "+1 day"].map(in_days);
    let web = authority.guarded("DNS:localhost", (&from, &to));
    let folder = Folder::of(web.port);
    let name = format!("localhost:{}/hub/x", web.port);
    let error = lath.fails(&["pull", &name]);
    assert!(error.contains("authority that this system does not know"), "{error}");
    fs::copy(authority.file(), folder.0.join("ca.crt")).unwrap();
    let error = lath.fails(&["pull", &name]);
    assert!(!error.contains(THROUGH) && error.to_lowercase().contains("certificate"), "{error}");
    for kind in ["ec", "rsa"] {
        authority.certificate(kind, "DNS:device", (&from, &to), kind);
        fs::copy(authority.path(&format!("{kind}.pem")), folder.0.join("client.cert")).unwrap();
        fs::copy(authority.path(&format!("{kind}.key")), folder.0.join("client.key")).unwrap();
        let error = lath.fails(&["pull", &name]);
        assert!(error.contains(THROUGH), "{kind}: {error}");
    }
    fs::write(folder.0.join("client.key"), "no key").unwrap();
    let error = lath.fails(&["pull", &name]);
    assert!(error.contains("are no certificate and its key"), "{error}");
    fs::remove_file(folder.0.join("client.key")).unwrap();
    let error = lath.fails(&["pull", &name]);
    assert!(error.contains("client.key") && error.contains("is missing"), "{error}");
}

#[test]
fn plain_http_is_only_spoken_where_it_was_asked_for() {
    if !needs(HERE) || !needs(&[Need::Program("unshare"), Need::Program("gzip")]) {
        return;
    }
    let shelf = Shelf::of(&[super::small()]);
    let web = shelf.serve();
    let name = format!("registry.test:{}/hub/x", web.port());
    let lath = Lath::new();
    let hosts = [("hosts", "127.0.0.1 registry.test\n")];
    let call = |words: &[&str]| finish(&mut super::with_etc(&lath, words, &hosts), &[]);
    let error = call(&["pull", &name]).failure(1);
    assert!(error.contains("https"), "{error}");
    assert!(web.take().iter().all(|asked| !asked.line.contains("HTTP/1.")));
    call(&["pull", "--tls-verify=false", &name]).success();
    // A list in such a registry.
    let list = format!("registry.test:{}/hub/list", web.port());
    for words in [&["create", &list, &name][..], &["inspect", &name], &["push", &list]] {
        let (verb, rest) = words.split_first().unwrap();
        let error = call(&[&["manifest", verb], rest].concat()).failure(1);
        assert!(error.contains("https") || error.contains("No such manifest"), "{error}");
    }
    call(&["manifest", "create", "--insecure", &list, &name]).success();
    let seen = call(&["manifest", "inspect", "--insecure", &name]).success().stdout;
    assert!(seen.contains(super::LAYER), "{seen}");
    web.take();
    // This one takes nothing; it is spoken to all the same.
    call(&["manifest", "push", "--insecure", &list]).failure(1);
    assert!(web.take().iter().any(|asked| asked.line.ends_with("HTTP/1.1")));
}

#[test]
fn certificates_that_prove_nothing_are_refused_by_name() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let authority = Authority::new(&lath.path("authority"));
    let narrow = Authority::narrow(&lath.path("narrow"), "DNS:example.invalid");
    let [from, to] = ["-1 day", "+1 day"].map(in_days);
    let call = |port: u16, trusted: &std::path::Path| {
        let name = format!("localhost:{port}/hub/x");
        let mut command = lath.command(&["pull", &name]);
        finish(command.env("SSL_CERT_FILE", trusted), b"").failure(1)
    };
    let good = authority.server("DNS:localhost", (&from, &to), "ec", "1.3");
    assert!(call(good.port, &authority.file()).contains(THROUGH));
    // Its own authority, one whose signatures are worth nothing, and one that has no say here.
    let own = authority.self_signed("DNS:localhost");
    let error = call(own.port, &authority.file());
    assert!(error.contains("authority that this system does not know"), "{error}");
    let weak = authority.weak("DNS:localhost", (&from, &to));
    let error = call(weak.port, &authority.file());
    assert!(!error.contains(THROUGH) && error.contains("certificate"), "{error}");
    let other = narrow.server("DNS:localhost", (&from, &to), "ec", "1.3");
    let error = call(other.port, &narrow.file());
    assert!(!error.contains(THROUGH) && error.contains("certificate"), "{error}");
    // Nobody to trust.
    let error = call(good.port, &lath.path("not/there"));
    assert!(error.contains("SSL_CERT_FILE") && error.contains("No such file"), "{error}");
}

#[test]
fn what_the_store_has_seen_has_passed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let authority = Authority::new(&lath.path("authority"));
    let [yesterday, tomorrow, later] = ["-1 day", "+1 day", "+2 days"].map(in_days);
    let call = |port: u16| {
        let name = format!("localhost:{port}/hub/x");
        let mut command = lath.command(&["pull", &name]);
        finish(command.env("SSL_CERT_FILE", authority.file()), b"").failure(1)
    };
    // For this certificate the clock of this machine stands still since yesterday.
    let early = authority.server("DNS:localhost", (&tomorrow, &later), "ec", "1.3");
    let error = call(early.port);
    assert!(error.contains("is not valid yet") && error.contains("clock"), "{error}");
    let touch = |days: &str| {
        let images = lath.store().join("images");
        let done = Command::new("touch").args(["-d", days]).arg(images).status().unwrap();
        assert!(done.success());
    };
    touch("+36 hours");
    assert!(call(early.port).contains(THROUGH));
    // A store from the future makes none too old, and no other one good.
    touch("+1000 days");
    assert!(call(early.port).contains("has expired"));
    let good = authority.server("DNS:localhost", (&yesterday, &tomorrow), "ec", "1.3");
    assert!(call(good.port).contains(THROUGH));
}
