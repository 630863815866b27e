//! Pushing and logging in: to Debian's docker-registry, from which skopeo and lath take it back,
//! and to servers that a test writes itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, RealRegistry, Web, finish, host, needs, ok, status};
use lath::image::json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const HERE: &[Need] = &[
    Need::Root,
    Need::Busybox,
    Need::Bases,
    Need::Program("skopeo"),
    Need::Program("docker-registry"),
];

const TWO: &str = "FROM busybox\nRUN echo one > /one\nCOPY f /f\nCMD [\"cat\", \"/one\"]\n";

/// An image of three layers under this name.
fn with_image(name: &str) -> Lath {
    let lath = Lath::with_busybox();
    lath.write("c/f", "file\n");
    lath.build_in("c", name, TWO, &[]).success();
    lath
}

/// What skopeo sees under a name.
fn seen(name: &str) -> Value {
    let text = host("skopeo", &["inspect", "--tls-verify=false", &format!("docker://{name}")]);
    Value::parse(text.as_bytes()).unwrap()
}

fn digest_of(pushed: &str) -> String {
    let line = pushed.lines().last().unwrap();
    line.split("digest: ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn what_is_pushed_is_what_others_and_lath_take_back() {
    if !needs(HERE) {
        return;
    }
    let lath = with_image("x");
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let name = registry.name("team/app:1");
    lath.ok(&["tag", "x", &name]);
    let pushed = lath.ok(&["push", &name]);
    assert!(
        pushed.starts_with(&format!(
            "The push refers to repository [{}]\n",
            registry.name("team/app")
        ))
    );
    assert_eq!(pushed.matches(": Pushed\n").count(), 3, "{pushed}");
    let digest = digest_of(&pushed);
    assert_eq!(seen(&name).get("Digest").and_then(Value::as_str), Some(digest.as_str()));
    assert!(lath.ok(&["inspect", "-f", "{{.RepoDigests}}", &name]).contains(&digest));
    // skopeo checks every digest on the way, and lath reads what it writes.
    let archive = lath.path("back.tar");
    let to = format!("oci-archive:{}:back:1", archive.display());
    host("skopeo", &["copy", "-q", "--src-tls-verify=false", &format!("docker://{name}"), &to]);
    let other = Lath::new();
    other.ok(&["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(other.id("back:1"), lath.id("x"));
    let third = Lath::new();
    third.ok(&["pull", &name]);
    assert_eq!(third.id(&name), lath.id("x"));
    assert_eq!(third.shell(&name, "cat /one /f"), "one\nfile\n");
    // By the digest as well, which is proved.
    third.ok(&["pull", &format!("{}@{digest}", registry.name("team/app"))]);
}

#[test]
fn what_is_there_is_not_sent_again() {
    if !needs(HERE) {
        return;
    }
    let lath = with_image("x");
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let [first, second] = ["one/app:1", "two/app:1"].map(|name| registry.name(name));
    lath.ok(&["tag", "x", &first]);
    let digest = digest_of(&lath.ok(&["push", &first]));
    let sent = registry.asked("PATCH /v2/");
    let again = lath.ok(&["push", &first]);
    assert_eq!(again.matches(": Layer already exists\n").count(), 3, "{again}");
    assert_eq!(digest_of(&again), digest);
    lath.ok(&["tag", "x", &second]);
    let mounted = lath.ok(&["push", &second]);
    assert_eq!(mounted.matches(": Mounted from one/app\n").count(), 3, "{mounted}");
    assert_eq!(digest_of(&mounted), digest);
    // Of layers nothing; the config of the second repository is its own.
    assert_eq!(registry.asked("PATCH /v2/two/app/"), 1);
    assert_eq!(registry.asked("PATCH /v2/"), sent + 1);
    // What was built on a pulled base sends its own layers alone, and the base's as they came.
    let other = Lath::new();
    let child = registry.name("one/app:2");
    other.build_in("c", &child, &format!("FROM {first}\nRUN echo two > /two\n"), &[]).success();
    let pushed = other.ok(&["push", &child]);
    assert_eq!(pushed.matches(": Layer already exists\n").count(), 3, "{pushed}");
    assert_eq!(pushed.matches(": Pushed\n").count(), 1, "{pushed}");
    // A pulled image goes up with the manifest that it came with.
    let copy = registry.name("three/app:1");
    other.ok(&["tag", &first, &copy]);
    assert_eq!(digest_of(&other.ok(&["push", &copy])), digest);
}

#[test]
fn a_build_pushes_all_its_names() {
    if !needs(HERE) {
        return;
    }
    let lath = with_image("x");
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    for (number, words) in
        [&["--push"][..], &["-o", "type=registry"], &["-o", "type=image,push=true"]]
            .iter()
            .enumerate()
    {
        let names = ["a", "b"].map(|name| registry.name(&format!("{name}:{number}")));
        lath.build_in("c", &names[0], TWO, &[words, &["-t", &names[1]][..]].concat()).success();
        for name in &names {
            assert!(seen(name).get("Digest").is_some(), "{words:?}");
        }
    }
}

#[test]
fn who_logs_in_may_push_and_who_logs_out_no_more() {
    if !needs(HERE) {
        return;
    }
    let lath = with_image("x");
    for way in ["--token", "--auth"] {
        let folder = lath.path(way.trim_start_matches('-'));
        let registry = RealRegistry::start(&folder, &["--tls", way, "joe:sec:ret"]);
        let name = registry.name("joe/app:1");
        lath.ok(&["tag", "x", &name]);
        let config = lath.write(".docker/config.json", "{\"auths\":{},\"other\":[1]}");
        let call = |words: &[&str], input: &[u8]| {
            let mut command = lath.command(words);
            command.env("SSL_CERT_FILE", registry.said("ca")).env("LATH_LOG", "debug");
            finish(command.env("DOCKER_CONFIG", config.parent().unwrap()), input)
        };
        let said = call(&["push", &name], b"").failure(1);
        assert!(said.contains("denied") && said.contains("lath login"), "{said}");
        let login = ["login", "-u", "joe", "--password-stdin", &registry.at];
        let said = call(&login, b"wrong\n").failure(1);
        assert!(said.contains("does not take this name and password"), "{said}");
        assert_eq!(fs::read_to_string(&config).unwrap(), "{\"auths\":{},\"other\":[1]}");
        let logged_in = call(&login, b"sec:ret\n").success();
        assert_eq!(logged_in.stdout, "Login Succeeded\n");
        assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = Value::parse(&fs::read(&config).unwrap()).unwrap();
        assert!(kept.get("other").is_some(), "what others have put there stays");
        // By base64(1): joe:sec:ret
        let auth = kept.get("auths").and_then(|all| all.get(&registry.at)?.get("auth")?.as_str());
        assert_eq!(auth, Some("am9lOnNlYzpyZXQ="));
        let pushed = call(&["push", &name], b"").success();
        for text in [logged_in.all(), pushed.all()] {
            assert!(!text.contains("sec:ret") && !text.contains("am9lOnNlYzpyZXQ"), "{text}");
        }
        let removed = call(&["logout", &registry.at], b"").success();
        assert!(removed.stdout.starts_with("Removing login credentials for"), "{removed}");
        assert!(!fs::read_to_string(&config).unwrap().contains("am9l"));
        call(&["logout", &registry.at], b"").success();
        // The tag is another, so that the registry is asked for more than it has.
        lath.ok(&["tag", "x", &registry.name("joe/app:2")]);
        call(&["push", &registry.name("joe/app:2")], b"").failure(1);
    }
}

#[test]
fn a_helper_keeps_the_password_where_it_is_named() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let web = Web::start(|asked| match asked.header("authorization") {
        Some("Basic am9lOng=") => ok("", "{}"),
        _ => b"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n"
            .to_vec(),
    });
    let lath = Lath::new();
    let place = format!("127.0.0.1:{}", web.port());
    let helper = "#!/bin/sh\necho \"$1\" >> \"$HOME/called\"\ncat >> \"$HOME/called\"\n";
    let helper = lath.write("bin/docker-credential-box", helper);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config = lath.write(".docker/config.json", "{\"credsStore\":\"box\"}");
    let call = |words: &[&str]| {
        let mut command = lath.command(words);
        let path = format!("{}:/usr/bin:/bin", helper.parent().unwrap().display());
        command.env("PATH", path).env("DOCKER_CONFIG", config.parent().unwrap());
        finish(&mut command, b"x")
    };
    call(&["login", "-u", "joe", "--password-stdin", &place]).success();
    assert_eq!(fs::read_to_string(&config).unwrap(), "{\"credsStore\":\"box\"}");
    call(&["logout", &place]).success();
    let called = lath.path("..").join("called");
    let called = fs::read_to_string(called).unwrap();
    let wanted = format!(
        "store\n{{\"ServerURL\":\"{place}\",\"Username\":\"joe\",\"Secret\":\"x\"}}erase\n{place}"
    );
    assert_eq!(called, wanted);
}

#[test]
fn a_registry_that_does_not_take_it_is_named_and_hears_no_secret_it_should_not() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let other = Web::start(|_| status(202));
    let elsewhere = format!("Location: {}\r\n", other.url("/upload?x=1"));
    for (begun, wanted) in [
        (status(202), "does not say where to"),
        (status(500), "busy or broken"),
        (status(403), "denied"),
        (format!("HTTP/1.1 202 x\r\n{elsewhere}Content-Length: 0\r\n\r\n").into_bytes(), "/upload"),
    ] {
        let web = Web::start(move |asked| match asked.line.split(' ').next() {
            Some("HEAD") => status(404),
            Some("POST") => begun.clone(),
            _ => match asked.header("authorization") {
                Some("Basic am9lOng=") => status(200),
                _ => b"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            },
        });
        let lath = with_image("x");
        let name = format!("127.0.0.1:{}/a/b:1", web.port());
        lath.ok(&["tag", "x", &name]);
        let auths =
            format!("{{\"auths\":{{\"127.0.0.1:{}\":{{\"auth\":\"am9lOng=\"}}}}}}", web.port());
        let config = lath.write(".docker/config.json", auths);
        let mut command = lath.command(&["push", &name]);
        command.env("DOCKER_CONFIG", config.parent().unwrap());
        let said = finish(&mut command, b"").failure(1);
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert!(lath.ok(&["inspect", "-f", "{{.RepoDigests}}", &name]).trim() == "[]");
    }
    // The upload that was led to another server went there without the password.
    let asked = other.take();
    assert!(asked.iter().any(|asked| asked.line.starts_with("PATCH /upload")), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
}

#[test]
fn what_cannot_be_pushed_is_said() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let lath = with_image("x");
    assert!(lath.fails(&["push", "nowhere:1"]).contains("does not exist locally"));
    assert!(lath.run(&["push"]).failure(2).contains("requires exactly 1 argument"));
    assert!(
        lath.run(&["login", "-u", "a", "-p", "b", "--password-stdin"])
            .failure(2)
            .contains("mutually")
    );
    assert!(lath.run(&["login", "--password-stdin"]).failure(2).contains("--username"));
    let mut command = Command::new(harness::binary());
    command.env_clear().args(["login", "-u", "a", "--password-stdin", "127.0.0.1:1"]);
    assert!(finish(&mut command, b"x").failure(1).contains("127.0.0.1:1"));
}
