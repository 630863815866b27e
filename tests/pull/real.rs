//! Pulling from Debian's docker-registry what skopeo has pushed there.

use super::harness::{Lath, Need, RealRegistry, bases, finish, host, needs};
use super::{digest, is_empty};
use lath::image::json::Value;
use std::fs;
use std::process::Command;

const HERE: &[Need] =
    &[Need::Root, Need::Bases, Need::Program("skopeo"), Need::Program("docker-registry")];

/// The digest of the config of an image of a registry, as skopeo tells it, for a platform.
fn config_digest(registry: &RealRegistry, name: &str, platform: [&str; 2]) -> String {
    let [architecture, variant] = platform;
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--override-arch", architecture]);
    if !variant.is_empty() {
        skopeo.args(["--override-variant", variant]);
    }
    skopeo.args(["inspect", "--config", "--raw", "--tls-verify=false"]);
    let output = finish(skopeo.arg(format!("docker://{}", registry.name(name))), &[]).success();
    digest(output.stdout.as_bytes())
}

/// What a name of a registry stands for, byte for byte.
fn raw(registry: &RealRegistry, name: &str) -> String {
    let from = format!("docker://{}", registry.name(name));
    host("skopeo", &["inspect", "--raw", "--tls-verify=false", &from])
}

/// The variant of the arm images, whose names differ.
const PLATFORMS: [(&str, [&str; 2]); 3] = [
    ("linux/amd64", ["amd64", ""]),
    ("linux/arm64", ["arm64", ""]),
    ("linux/arm/v7", ["arm", "v7"]),
];

#[test]
fn each_platform_is_the_image_that_skopeo_sees() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let name = registry.push("busybox-multi.oci.tar", "hub/busybox:1", &[]);
    for (platform, words) in PLATFORMS {
        lath.ok(&["pull", "--platform", platform, &name]);
        assert_eq!(lath.id(&name), config_digest(&registry, "hub/busybox:1", words), "{platform}");
    }
    let error = lath.fails(&["pull", "--platform", "linux/s390x", &name]);
    assert!(error.contains("it has: linux/amd64, linux/arm64"), "{error}");
    let error = lath.fails(&["pull", &registry.name("hub/busybox:2")]);
    assert!(error.contains("is not in"), "{error}");
    assert!(is_empty(&lath, "partial"));
}

#[test]
fn a_digest_names_the_image_beside_its_tag() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let name = registry.push("busybox-multi.oci.tar", "hub/busybox:1", &[]);
    let index = digest(raw(&registry, "hub/busybox:1").as_bytes());
    let base = registry.name("hub/busybox");
    let by_digest = format!("{base}@{index}");
    let id = config_digest(&registry, "hub/busybox:1", ["amd64", ""]);
    for reference in [&by_digest, &format!("{base}:some@{index}")] {
        let said = lath.ok(&["pull", "--platform", "linux/amd64", reference]);
        assert!(said.contains(&format!("Digest: {index}\n")), "{said}");
        assert!(said.ends_with(&format!("{by_digest}\n")), "{said}");
    }
    // A name with a digest gives no tag.
    let list = lath.ok(&["images", "--digests", "--no-trunc"]);
    let row: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().take(4).collect();
    assert_eq!(row, [&base, "<none>", &index, &id]);
    lath.ok(&["pull", &name]);
    let list =
        lath.ok(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
    assert_eq!(list, format!("{base} 1 {index}\n"));
    let inspected = lath.inspect(&name);
    let told = inspected.get("RepoDigests").map(Value::to_strings).unwrap();
    assert_eq!(told, [by_digest.as_str()]);
    assert_eq!(lath.inspect(&by_digest).get("Id"), inspected.get("Id"));
    assert_eq!(lath.shell(&by_digest, "echo here"), "here\n");
    // What came from a registry goes out again as it was.
    lath.ok(&["save", "-o", &lath.text("x.tar"), &name]);
    let saved = format!("docker-archive:{}", lath.text("x.tar"));
    assert_eq!(digest(host("skopeo", &["inspect", "--config", "--raw", &saved]).as_bytes()), id);
    // All of it goes with the last tag.
    lath.ok(&["rmi", &name]);
    super::has_nothing(&lath);
    lath.ok(&["pull", &by_digest]);
    lath.ok(&["rmi", &by_digest]);
    super::has_nothing(&lath);
}

#[test]
fn rmi_by_the_id_takes_the_digests_too() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let name = registry.push("busybox-amd64.oci.tar", "hub/busybox:1", &[]);
    lath.ok(&["pull", &name]);
    let id = lath.id(&name);
    assert!(!is_empty(&lath, "manifests"));
    lath.ok(&["rmi", &id]);
    super::has_nothing(&lath);
}

#[test]
fn tls_tokens_redirects_and_passwords() {
    if !needs(HERE) || !needs(&[Need::Program("openssl")]) {
        return;
    }
    let lath = Lath::new();
    for (folder, words) in [
        ("token", ["--tls", "--redirect", "--token", "joe:hunter2"].as_slice()),
        ("basic", &["--tls", "--auth", "joe:hunter2"]),
    ] {
        let registry = RealRegistry::start(&lath.path(folder), words);
        let creds = ["--dest-creds", "joe:hunter2"];
        let name = registry.push("busybox-amd64.oci.tar", "hub/busybox:1", &creds);
        let call = |with_certificate: bool| {
            let mut command = lath.command(&["pull", &name]);
            command.env("LATH_LOG", "debug").env("DOCKER_CONFIG", lath.path("docker"));
            if with_certificate {
                command.env("SSL_CERT_FILE", registry.said("ca"));
            }
            let output = finish(&mut command, &[]);
            assert!(!output.all().contains("hunter2"), "{output}");
            output
        };
        lath.write("docker/config.json", "{}");
        let error = call(false).failure(1);
        assert!(error.contains("certificate"), "{error}");
        if folder == "basic" {
            let error = call(true).failure(1);
            assert!(error.contains("denied"), "{error}");
            let auths = r#"{"auths":{"AT":{"username":"joe","password":"hunter2"}}}"#;
            lath.write("docker/config.json", auths.replace("AT", &registry.at));
        }
        call(true).success();
        let raw = format!("oci-archive:{}", bases().join("busybox-amd64.oci.tar").display());
        let config = host("skopeo", &["inspect", "--config", "--raw", &raw]);
        assert_eq!(lath.id(&name), digest(config.as_bytes()));
        lath.ok(&["rmi", &name]);
    }
}

#[test]
fn a_build_pulls_what_it_needs_and_once() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let base = registry.push("busybox-amd64.oci.tar", "hub/base:1", &[]);
    let files = registry.push("alpine-amd64.oci.tar:alpine:latest", "hub/files", &[]);
    let dockerfile = format!(
        "FROM {base} AS one\nRUN echo one > /f\nFROM {base} AS two\nRUN echo two > /g\n\
         FROM {base}\nCOPY --from=one /f /f\nCOPY --from=two /g /g\n\
         COPY --from={files} /etc/alpine-release /r\n"
    );
    let build = |more: &[&str]| lath.build_in("c", "x", &dockerfile, more);
    let output = build(&["--jobs", "2"]).success();
    assert_eq!(output.steps().len(), 8, "{output}");
    assert_eq!(registry.asked("\"GET /v2/hub/base/manifests/"), 1);
    assert_eq!(registry.asked("\"GET /v2/hub/base/blobs/"), 2);
    assert_eq!(registry.asked("\"GET /v2/hub/files/manifests/"), 1);
    assert!(lath.shell("x", "cat /f /g /r").starts_with("one\ntwo\n3."));
    // Nobody is asked where all is there.
    drop(registry);
    assert_eq!(build(&[]).success().cached().len(), 5);
    let error = build(&["--pull"]).failure(1);
    assert!(error.contains(&base), "{error}");
    let error = lath.build_in("d", "y", &format!("FROM {base}-other\n"), &[]).failure(1);
    assert!(error.contains("No such image here, and it cannot be pulled"), "{error}");
}

#[test]
fn a_tag_that_moved_is_seen_when_that_is_asked_for() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_base("busybox-amd64.oci.tar");
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let archive = format!("docker-archive:{}", lath.text("base.tar"));
    let base = registry.name("hub/base:1");
    let made = |text: &str| {
        let dockerfile =
            format!("FROM busybox\nRUN echo {text} > /t\nONBUILD RUN echo {text} > /on\n");
        lath.build("made", &dockerfile);
        lath.ok(&["save", "-o", &lath.text("base.tar"), "made"]);
        registry.copy(&archive, "hub/base:1", &[]);
    };
    let dockerfile = format!("FROM {base}\nRUN cat /t /on > /seen\n");
    let build = |more: &[&str]| {
        lath.build_in("c", "x", &dockerfile, more).success();
        lath.shell("x", "cat /seen")
    };
    made("first");
    // The triggers of a base that was not there are done too.
    assert_eq!(build(&[]), "first\nfirst\n");
    made("second");
    let asked = registry.asked("\"GET /v2/hub/base/");
    assert_eq!(build(&[]), "first\nfirst\n");
    assert_eq!(registry.asked("\"GET /v2/hub/base/"), asked, "it is there");
    assert_eq!(build(&["--pull"]), "second\nsecond\n");
    // Nothing has moved since: the manifest is asked for, and no more.
    let blobs = registry.asked("\"GET /v2/hub/base/blobs/");
    assert_eq!(build(&["--pull"]), "second\nsecond\n");
    assert_eq!(registry.asked("\"GET /v2/hub/base/blobs/"), blobs);
}

#[test]
fn run_pulls_as_it_is_told() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let registry = RealRegistry::start(&lath.path("registry"), &[]);
    let name = registry.push("busybox-multi.oci.tar", "hub/busybox:1", &[]);
    let run = |words: &[&str]| {
        let mut args = vec!["run", "--rm"];
        args.extend(words);
        args.extend([name.as_str(), "echo", "here"]);
        lath.run(&args)
    };
    let manifests = || registry.asked("\"GET /v2/hub/busybox/manifests/");
    let error = run(&["--pull", "never"]).failure(125);
    assert!(error.contains("No such image"), "{error}");
    assert_eq!(manifests(), 0);
    let output = run(&[]).success();
    assert_eq!(output.stdout, "here\n");
    assert!(output.stderr.contains(&format!("Unable to find image '{name}' locally")), "{output}");
    let before = manifests();
    for words in [["--pull", "missing"], ["--pull", "never"]] {
        assert_eq!(run(&words).success().stdout, "here\n");
    }
    assert_eq!(manifests(), before);
    assert_eq!(run(&["--pull", "always"]).success().stdout, "here\n");
    assert!(manifests() > before);
    run(&["--pull", "sometimes"]).failure(125);
    // Another platform than that of the image that is there.
    run(&["--platform", "linux/arm64"]);
    assert_eq!(lath.id(&name), config_digest(&registry, "hub/busybox:1", ["arm64", ""]));
    let before = manifests();
    run(&["--platform", "linux/arm64"]);
    assert_eq!(manifests(), before, "that one is there now");
    assert_eq!(run(&["--platform", "linux/amd64"]).success().stdout, "here\n");
    drop(registry);
    let error = run(&["--pull", "always"]).failure(125);
    assert!(error.contains("refused"), "{error}");
    assert!(fs::exists(lath.store()).unwrap());
}
