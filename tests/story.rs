//! The story that everybody knows of a builder: a small Dockerfile, built, run, changed, built
//! again. First on the real Alpine with redis, then the same shape on any machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{ApkServer, Lath, Need, Output, Running, needs};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const REDIS: &str = "FROM alpine\nRUN apk add --update redis\nCMD [\"redis-server\"]\n";
const REDIS_GCC: &str =
    "FROM alpine\nRUN apk add --update redis\nRUN apk add --update gcc\nCMD [\"redis-server\"]\n";
const GCC_REDIS: &str =
    "FROM alpine\nRUN apk add --update gcc\nRUN apk add --update redis\nCMD [\"redis-server\"]\n";

#[test]
fn redis_on_alpine_is_built_run_changed_and_built_again() {
    if !needs(&[Need::Root, Need::Bases, Need::Program("python3")]) {
        return;
    }
    let apk = ApkServer::start();
    let lath = Lath::with_base("alpine-amd64.oci.tar");

    let first = build(&lath, REDIS);
    assert_eq!(
        words(&first),
        ["FROM alpine", "RUN apk add --update redis", "CMD [\"redis-server\"]"]
    );
    assert_eq!(first.cached(), [""; 0]);
    assert!(first.stdout.contains("Installing redis"), "the step's output is shown: {first}");
    assert!(first.stdout.contains("Successfully tagged hub/redis:latest"), "{first}");
    assert_eq!(apk.fetched("redis"), 1);

    for signal in [Signal::TERM, Signal::INT] {
        let server = answering(lath.start(&["run", "--rm", "hub/redis"]));
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(ended.code, 0, "redis ends in peace: {ended}");
        assert!(!answers(), "and it is gone");
    }

    let second = build(&lath, REDIS_GCC);
    assert_eq!(second.cached(), ["RUN apk add --update redis"]);
    assert_eq!(apk.fetched("redis"), 1, "nothing was fetched again");
    assert_eq!(apk.fetched("gcc"), 1);
    assert_ne!(first.built(), second.built());
    lath.write("a.c", "int main(void) { return 7; }");
    let mount = format!("{}:/a.c:ro", lath.text("a.c"));
    let compiled = ["run", "--rm", "-v", &mount, "hub/redis", "sh", "-c", "gcc -o /a /a.c && /a"];
    assert_eq!(lath.run(&compiled).code, 7, "gcc compiles");

    let id = lath.id("hub/redis");
    let requests = apk.requests();
    let before = lath.listing();
    let third = build(&lath, REDIS_GCC);
    let all: Vec<_> = words(&third).into_iter().skip(1).collect();
    assert_eq!(third.cached(), all, "every step after FROM comes from the cache");
    assert_eq!(lath.id("hub/redis"), id);
    assert_eq!(apk.requests(), requests);
    before.assert_same(&lath.listing());

    let swapped = build(&lath, GCC_REDIS);
    assert_eq!(swapped.cached(), [""; 0], "the order of the steps is part of the key");
    assert_eq!(apk.fetched("redis"), 2);
}

#[test]
fn the_same_story_on_busybox() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = |steps: &str| format!("FROM busybox\n{steps}CMD [\"cat\", \"/a\"]\n");
    let one = file("RUN echo a > /a && echo done\n");
    let two = file("RUN echo a > /a && echo done\nRUN cat /a > /b\n");
    let swapped = file("RUN cat /a > /b || true\nRUN echo a > /a && echo done\n");

    let first = build(&lath, &one);
    assert_eq!(first.cached(), [""; 0]);
    assert!(first.stdout.contains("\ndone\n"), "{first}");
    assert_eq!(lath.ok(&["run", "--rm", "hub/redis"]), "a\n");

    let second = build(&lath, &two);
    assert_eq!(second.cached(), ["RUN echo a > /a && echo done"]);
    assert!(!second.stdout.contains("\ndone\n"), "a cached step does not run: {second}");
    assert_eq!(lath.shell("hub/redis", "cat /b"), "a\n");

    let id = lath.id("hub/redis");
    let before = lath.listing();
    let third = build(&lath, &two);
    assert_eq!(third.cached().len(), 3, "{third}");
    assert_eq!(third.built(), second.built());
    assert_eq!(lath.id("hub/redis"), id);
    before.assert_same(&lath.listing());

    assert_eq!(build(&lath, &swapped).cached(), [""; 0]);
    assert_eq!(build(&lath, &one).built(), first.built(), "going back is from the cache too");
}

#[test]
fn the_plain_log_is_the_one_that_everybody_knows() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let built = build(&lath, "FROM busybox\nRUN echo out; echo err >&2\nENV A=b\n");
    let log: Vec<_> = built.stdout.lines().map(short_ids).collect();
    let wanted = [
        "Step 1/3 : FROM busybox",
        " ---> ID",
        "Step 2/3 : RUN echo out; echo err >&2",
        " ---> Running in ID",
        "out",
        "Removing intermediate container ID",
        " ---> ID",
        "Step 3/3 : ENV A=b",
        " ---> Running in ID",
        "Removing intermediate container ID",
        " ---> ID",
        "Successfully built ID",
        "Successfully tagged hub/redis:latest",
    ];
    assert_eq!(log, wanted, "{built}");
    assert!(built.stderr.contains("err\n"), "a step's stderr is stderr: {built}");
    assert!(!built.stderr.contains("out\n"), "{built}");
}

#[test]
fn quiet_prints_the_id_alone() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let quiet = lath.build_in("c", "x", "FROM busybox\nRUN echo loud\n", &["--quiet"]).success();
    assert_eq!(quiet.stdout.trim(), lath.id("x"));
    assert!(quiet.stdout.starts_with("sha256:"), "{quiet}");
    assert_eq!(quiet.stderr, "");
}

#[test]
fn no_cache_runs_every_step_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /a\n";
    let build = |more: &[&str]| lath.build_in("c", "x", file, more).success();
    build(&[]);
    let first = lath.shell("x", "cat /a");
    assert_eq!(build(&["--no-cache"]).cached(), [""; 0]);
    let second = lath.shell("x", "cat /a");
    assert_ne!(first, second);
    assert_eq!(build(&[]).cached().len(), 1);
    assert_eq!(lath.shell("x", "cat /a"), second, "the later result is the one that counts");
}

#[test]
fn a_copied_file_counts_by_its_content_and_not_by_its_time() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\n";
    lath.write("c/a", "one");
    let build = || lath.build_in("c", "x", file, &[]).success();
    let first = build();
    assert_eq!(first.cached(), [""; 0]);
    // Written again in the same second and with the same length, then with the same content.
    lath.write("c/a", "two");
    assert_eq!(build().cached(), [""; 0]);
    assert_eq!(lath.shell("x", "cat /b"), "two");
    lath.write("c/a", "one");
    let third = build();
    assert_eq!(third.cached(), ["COPY a /a", "RUN cat /a > /b"]);
    assert_eq!(third.built(), first.built());
}

#[test]
fn the_examples_do_what_they_say() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    lath.ok(&["build", "-t", "hub/hello", &format!("{examples}/hello")]);
    let said = lath.ok(&["run", "--rm", "hub/hello"]);
    assert!(said.starts_with("hello from "), "{said}");
    lath.ok(&["build", "-t", "hub/greet", &format!("{examples}/multi-stage")]);
    let said = lath.ok(&["run", "--rm", "hub/greet", "you"]);
    assert!(said.starts_with("hello you, made on "), "{said}");
}

fn build(lath: &Lath, dockerfile: &str) -> Output {
    lath.build_in("story", "hub/redis", dockerfile, &[]).success()
}

fn words(built: &Output) -> Vec<String> {
    built.steps().into_iter().map(|(words, _)| words).collect()
}

/// The line with its twelve hex digits as `ID`.
fn short_ids(line: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    line.split(' ').map(|word| if is_id(word) { "ID" } else { word }).collect::<Vec<_>>().join(" ")
}

fn answers() -> bool {
    let Ok(mut stream) = TcpStream::connect("127.0.0.1:6379") else { return false };
    let second = Some(Duration::from_secs(1));
    if stream.set_read_timeout(second).is_err() || stream.write_all(b"PING\r\n").is_err() {
        return false;
    }
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG\r\n"
}

fn answering(server: Running) -> Running {
    server.until("an answer of redis", answers)
}
