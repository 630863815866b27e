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

use harness::{Asked, Lath, Need, RealRegistry, Web, finish, hex, host, needs, ok, status};
use lath::image::json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    let other = Web::start(|_| status(400));
    let elsewhere = format!("Location: {}\r\n", other.url("/upload?x=1"));
    for (begun, wanted) in [
        (status(202), "does not say where to"),
        (status(500), "busy or broken"),
        (status(403), "denied"),
        (format!("HTTP/1.1 202 x\r\n{elsewhere}Content-Length: 0\r\n\r\n").into_bytes(), "/upload"),
    ] {
        // It hears the password before it leads elsewhere.
        let web = Web::start(move |asked| match asked.line.split(' ').next() {
            _ if asked.header("authorization") != Some("Basic am9lOng=") => {
                b"HTTP/1.1 401 x\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            Some("HEAD") => status(404),
            Some("POST") => begun.clone(),
            _ => status(200),
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

/// A registry that takes what it is given, but answers as the test says, where that says something.
fn taking(but: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Web {
    let count = AtomicUsize::new(0);
    Web::start(move |asked| {
        if let Some(answer) = but(asked) {
            return answer;
        }
        let said = |status: u16, location: &str| {
            format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
        };
        let answer = match asked.line.split(' ').next().unwrap() {
            "GET" => return status(200),
            "HEAD" => return status(404),
            "POST" => said(202, &format!("/up/{}", count.fetch_add(1, Ordering::Relaxed))),
            "PATCH" => said(202, asked.target()),
            _ => said(201, "/"),
        };
        answer.into_bytes()
    })
}

fn push_to(web: &Web, lath: &Lath) -> harness::Output {
    let name = format!("127.0.0.1:{}/a/b:1", web.port());
    lath.ok(&["tag", "x", &name]);
    lath.run(&["push", &name])
}

/// The bytes of an upload, put together of what was sent under this address from a place on, are
/// those of its digest.
fn is_whole(asked: &[Asked], upload: &str, first: &[u8]) {
    let mut sent = asked.iter().filter(|asked| asked.line.starts_with(&format!("PATCH {upload} ")));
    let bytes = [first, &sent.next_back().unwrap().bytes].concat();
    let digest = format!("{upload}?digest=sha256%3A{} ", hex(&bytes));
    assert!(asked.iter().any(|asked| asked.line.starts_with(&format!("PUT {digest}"))), "{digest}");
}

#[test]
fn layers_go_up_side_by_side() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let lath = with_image("x");
    let count = AtomicUsize::new(0);
    // None of the three is done before all have come.
    let web = taking(move |asked| {
        if asked.line.starts_with("PATCH") && count.fetch_add(1, Ordering::Relaxed) < 3 {
            while count.load(Ordering::Relaxed) < 3 {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        None
    });
    let pushed = push_to(&web, &lath).success().stdout;
    assert_eq!(pushed.matches(": Pushed\n").count(), 3, "{pushed}");
    let asked = web.take();
    for upload in 0..4 {
        is_whole(&asked, &format!("/up/{upload}"), b"");
    }
    assert!(asked.last().unwrap().line.starts_with("PUT /v2/a/b/manifests/1 "));
}

#[test]
fn an_upload_that_breaks_goes_on_where_it_stopped() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    const HAS: usize = 20_000;
    let lath = Lath::with_busybox();
    lath.build("x", "FROM busybox\nENV A=b\n");
    for knows in [true, false] {
        let first = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = first.clone();
        let web = taking(move |asked| {
            let mut seen = seen.lock().unwrap();
            if asked.line.starts_with("PATCH /up/0 ") && seen.is_empty() {
                *seen = asked.bytes.clone();
                return Some(Vec::new());
            }
            let range = format!("Location: /up/0?on\r\nRange: 0-{}\r\n", HAS - 1);
            asked.line.starts_with("GET /up/0").then(|| match knows {
                // The connection is not kept, and says so: else the rest may be sent into its end.
                true => format!("HTTP/1.1 204 x\r\nConnection: close\r\n{range}\r\n").into_bytes(),
                false => status(404),
            })
        });
        push_to(&web, &lath).success();
        let (asked, first) = (web.take(), first.lock().unwrap());
        assert!(first.len() > HAS, "{}", first.len());
        let sent = |upload: &str| {
            let mut all = asked.iter();
            all.find(|asked| asked.line.starts_with(&format!("PATCH {upload} ")))
                .map_or(0, |asked| asked.bytes.len())
        };
        match knows {
            true => {
                assert_eq!(sent("/up/0?on"), first.len() - HAS);
                let digest = format!("PUT /up/0?on&digest=sha256%3A{} ", hex(&first));
                assert!(asked.iter().any(|asked| asked.line.starts_with(&digest)), "{digest}");
            }
            false => is_whole(&asked, "/up/1", b""),
        }
    }
}

#[test]
fn a_real_registry_takes_an_upload_over_a_link_that_cuts() {
    if !needs(HERE) {
        return;
    }
    const SIZE: usize = 12 << 20;
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let port = registry.at.rsplit_once(':').unwrap().1.parse().unwrap();
    lath.write("c/noise", harness::Random(3).text(SIZE));
    lath.build_in("c", "x", "FROM scratch\nCOPY noise /\n", &[]).success();
    let cutting = harness::Cutting::start(port, 1_000_000, 3);
    let name = format!("127.0.0.1:{}/far/x:1", cutting.port);
    lath.ok(&["tag", "x", &name]);
    lath.ok(&["push", &name]);
    let [sent, cut] = [&cutting.sent, &cutting.cut].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(cut, 3);
    // It is asked how far it came. This one (2.8) forgets an upload of which it has a part that it has not
    // acknowledged, so that it begins anew: six bits of eight are left of each byte.
    assert!(registry.asked("GET /v2/far/x/blobs/uploads/") >= 3);
    assert!(sent > SIZE / 4 * 3 && sent < SIZE / 4 * 3 + 5_000_000, "{sent}");
    let other = Lath::new();
    other.ok(&["pull", &registry.name("far/x:1")]);
    assert_eq!(other.id(&registry.name("far/x:1")), lath.id("x"));
}

#[test]
fn what_is_cut_or_grows_too_old_is_sent_again() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("x", "FROM busybox\nENV A=b\n");
    let tokens = AtomicUsize::new(0);
    let realm = Web::start(move |_| {
        let number = tokens.fetch_add(1, Ordering::Relaxed) + 1;
        harness::ok("", &format!("{{\"token\":\"tick-{number}\"}}"))
    });
    let (url, patches, manifests) = (realm.url("/t"), AtomicUsize::new(0), AtomicUsize::new(0));
    let web = taking(move |asked| {
        // With the first layer the first token has become too old.
        let is_old =
            asked.line.starts_with("PATCH") && patches.fetch_add(1, Ordering::Relaxed) == 0;
        let authorization = asked.header("authorization");
        if is_old || authorization.is_none() {
            let head = "HTTP/1.1 401 x\r\nContent-Length: 0\r\n";
            return Some(format!("{head}WWW-Authenticate: Bearer realm=\"{url}\"\r\n\r\n").into());
        }
        let is_manifest = asked.line.contains("/manifests/");
        (is_manifest && manifests.fetch_add(1, Ordering::Relaxed) < 2).then(Vec::new)
    });
    push_to(&web, &lath).success();
    assert_eq!(realm.take().len(), 2);
    let asked = web.take();
    let puts = asked.iter().filter(|asked| asked.line.contains("/manifests/"));
    assert_eq!(puts.count(), 3);
    assert_eq!(asked.last().unwrap().header("authorization"), Some("Bearer tick-2"));
}

#[test]
fn a_list_puts_images_for_several_platforms_under_one_name() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let here = registry.push("busybox-amd64.oci.tar", "team/app:amd64", &[]);
    let there = registry.push("busybox-arm64.oci.tar", "other/app:arm64", &[]);
    let list = registry.name("team/app:1");
    let error = lath.fails(&["manifest", "push", &list]);
    assert!(error.contains("No such manifest"), "{error}");
    let said = lath.ok(&["manifest", "create", &list, &here]);
    assert_eq!(said, format!("Created manifest list {list}\n"));
    let error = lath.fails(&["manifest", "create", &list, &there]);
    assert!(error.contains("--amend"), "{error}");
    lath.ok(&["manifest", "create", "--amend", &list, &there]);
    let platforms = |text: &str| {
        let value = Value::parse(text.as_bytes()).unwrap();
        let entries = value.get("manifests").and_then(Value::as_array).unwrap().to_vec();
        let part = |entry: &Value, key: &str| {
            let platform = entry.get("platform").unwrap();
            platform.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all =
            entries.iter().map(|entry| ["os", "architecture", "variant"].map(|k| part(entry, k)));
        all.map(|parts| parts.join("/")).collect::<Vec<_>>()
    };
    let seen = lath.ok(&["manifest", "inspect", &list]);
    assert_eq!(platforms(&seen), ["linux/amd64/", "linux/arm64/"]);
    lath.ok(&["manifest", "annotate", "--arch", "arm", "--variant=v6", &list, &there]);
    assert!(lath.fails(&["manifest", "annotate", &list, "x", "--os", "y"]).contains("is not in"));
    let digest = lath.ok(&["manifest", "push", "--purge", &list]);
    assert!(lath.fails(&["manifest", "rm", &list]).contains("No such manifest"));
    // skopeo and lath see the list, and each of them an image of it.
    let at = format!("docker://{list}");
    let raw = host("skopeo", &["inspect", "--raw", "--tls-verify=false", &at]);
    assert_eq!(platforms(&raw), ["linux/amd64/", "linux/arm/v6"]);
    assert_eq!(digest.trim(), format!("sha256:{}", hex(raw.as_bytes())));
    assert_eq!(platforms(&lath.ok(&["manifest", "inspect", &list])).len(), 2);
    for words in [&["amd64"][..], &["arm", "--override-variant", "v6"]] {
        let mut all = vec!["--override-arch"];
        all.extend(words);
        let to = format!("dir:{}", lath.text(words[0]));
        all.extend(["copy", "-q", "--src-tls-verify=false", &at, &to]);
        host("skopeo", &all);
    }
    lath.ok(&["pull", "--platform", "linux/amd64", &list]);
    // What does nothing is an error, and what is not right too.
    let mut wrong =
        vec![vec!["manifest"], vec!["manifest", "make"], vec!["manifest", "create", &list]];
    wrong.push(vec!["manifest", "inspect", "--purge", &list]);
    wrong.push(vec!["manifest", "push", "--os", "linux", &list]);
    for words in wrong {
        lath.run(&words).failure(2);
    }
    let error = lath.fails(&["manifest", "create", &registry.name("team/app:2"), &list]);
    assert!(error.contains("is a list already"), "{error}");
    lath.ok(&["manifest", "create", "elsewhere.invalid/x:1", &here]);
    let error = lath.fails(&["manifest", "push", "elsewhere.invalid/x:1"]);
    assert!(error.contains("another registry"), "{error}");
}
