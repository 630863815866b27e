//! Options of `lath build` and `lath run` beyond the usual ones, as docker buildx has them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, host, needs};
use lath::image::json::Value;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

const DESCRIBED: &str = "# VERSION is what to build\nARG VERSION=1.2\n\
    # build compiles it\nFROM busybox AS build\nARG VERSION\n# JOBS at once\nARG JOBS\n\
    RUN --mount=type=secret,id=tok,required --mount=type=cache,target=/c true\n\n\
    # final is what is shipped\nFROM busybox AS final\nCOPY --from=build /bin /b\n";

#[test]
fn an_outline_and_targets_are_printed_as_buildx_prints_them() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", DESCRIBED);
    assert_eq!(
        lath.ok(&["build", "--call=outline", "--build-arg", "JOBS=4", "c"]),
        "TARGET:      final\nDESCRIPTION: is what is shipped\n\n\
         BUILD ARG   VALUE   DESCRIPTION\n\
         VERSION     1.2     is what to build\n\
         JOBS        4       at once\n\n\
         SECRET   REQUIRED\ntok      true\n\n\
         CACHE MOUNT\n/c\n\n"
    );
    assert_eq!(
        lath.ok(&["build", "--call", "targets", "c"]),
        "TARGET            DESCRIPTION\n\
         build             compiles it\n\
         final (default)   is what is shipped\n"
    );
    let before = lath.listing();
    let json = |call: &str| {
        let text = lath.ok(&["build", call, "--target=build", "c"]);
        Value::parse(text.as_bytes()).unwrap()
    };
    let outline = json("--call=outline,format=json");
    assert_eq!(outline.get("name").and_then(Value::as_str), Some("build"));
    let first = |of: &Value, list: &str| of.get(list).unwrap().as_array().unwrap()[0].to_text();
    assert_eq!(
        first(&outline, "args"),
        r#"{"name":"VERSION","description":"is what to build","value":"1.2","location":{"ranges":[{"start":{"line":2},"end":{"line":2}}]}}"#
    );
    assert_eq!(
        first(&outline, "secrets"),
        r#"{"name":"tok","required":true,"location":{"ranges":[{"start":{"line":8},"end":{"line":8}}]}}"#
    );
    assert!(first(&outline, "sources").starts_with("\"IyBWRVJTSU9O"));
    let targets = json("--call=targets,format=json");
    assert_eq!(
        first(&targets, "targets"),
        r#"{"name":"build","description":"compiles it","base":"busybox","location":{"ranges":[{"start":{"line":4},"end":{"line":4}}]}}"#
    );
    before.assert_same(&lath.listing());
}

#[test]
fn a_check_has_buildxs_json_and_exit_code() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nCMD echo a\n");
    let checked = lath.run(&["build", "--call=check,format=json", "c"]);
    assert_eq!(checked.code, 1);
    let value = Value::parse(checked.stdout.as_bytes()).unwrap();
    assert_eq!(
        value.get("warnings").unwrap().to_text(),
        r#"[{"ruleName":"JSONArgsRecommended","url":"https://docs.docker.com/go/dockerfile/rule/json-args-recommended/","detail":"JSON arguments recommended for CMD to prevent unintended behavior related to OS signals","location":{"ranges":[{"start":{"line":2},"end":{"line":2}}]}}]"#
    );
    let ignoring = lath.ok(&["build", "--call=check,ignorestatus=true", "c"]);
    assert!(ignoring.starts_with("Check complete, 1 warning has been found!\n"), "{ignoring}");
    assert_eq!(lath.run(&["build", "--check", "c"]).code, 1);
    lath.run(&["build", "--call=ceck", "c"]).failure(2);
}

#[test]
fn only_the_named_stages_are_done_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS two\nRUN echo 2 > /2\n\
                FROM busybox\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n";
    lath.build_in("c", "x", file, &[]).success();
    let again = lath.build_in("c", "x", file, &["--no-cache-filter=TWO"]).success();
    let ran: Vec<String> =
        again.steps().into_iter().filter(|(_, cached)| !cached).map(|(words, _)| words).collect();
    assert_eq!(
        ran.iter().filter(|words| !words.starts_with("FROM")).collect::<Vec<_>>(),
        ["RUN echo 2 > /2"],
        "{again}"
    );
    let strange = lath.build_in("c", "x", file, &["--no-cache-filter", "one,nosuch"]).success();
    assert!(strange.stderr.contains("--no-cache-filter nosuch: there is no such stage"));
    assert!(strange.steps().contains(&("RUN echo 1 > /1".to_owned(), false)));
    lath.build_in("c", "x", file, &["--no-cache", "--no-cache-filter=one"]).failure(2);
}

#[test]
fn limits_hold_in_steps_and_containers() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let show = "ulimit -Sn; ulimit -Hn; ulimit -c; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; \
                ls -ld /dev/shm | cut -c1-10";
    let words = ["--ulimit", "nofile=100:200", "--ulimit=core=0", "--shm-size=3m"];
    let wanted = "100\n200\n0\n3072\ndrwxrwxrwt\n";
    let file = format!("FROM busybox\nRUN {show}\n");
    let built = lath.build_in("c", "x", &file, &words).success();
    assert!(built.stdout.contains(wanted), "{built}");
    let mut run = vec!["run", "--rm"];
    run.extend(words);
    run.extend(["busybox", "sh", "-c", show]);
    assert_eq!(lath.ok(&run), wanted);
    // As in BuildKit a step with other limits is another step.
    assert!(lath.build_in("c", "x", &file, &words).success().steps()[1].1);
    assert!(!lath.build_in("c", "x", &file, &[]).success().steps()[1].1);
    for bad in ["--ulimit=nofile", "--ulimit=as=1", "--ulimit=nofile=5:1", "--shm-size=x"] {
        lath.build_in("c", "x", &file, &[bad]).failure(2);
        lath.run(&["run", bad, "busybox", "true"]).failure(125);
    }
}

#[test]
fn dockers_words_that_change_nothing_are_taken_and_the_others_refused() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for word in [
        "--pull=false",
        "--compress",
        "--stream",
        "--disable-content-trust",
        "--isolation=default",
        "--provenance=false",
        "--sbom=false",
        "--attest=type=provenance,disabled=true",
        "--builder=default",
        "--progress=rawjson",
    ] {
        lath.build_in("c", "x", "FROM busybox\n", &[word]).success();
    }
    for word in [
        "--disable-content-trust=false",
        "--isolation=hyperv",
        "--provenance=mode=max",
        "--sbom=true",
        "--attest=type=sbom",
        "--builder=other",
        "--cpuset-cpus=0",
        "--security-opt=x",
    ] {
        let said = lath.build_in("c", "x", "FROM busybox\n", &[word]).failure(2);
        let name = word.split('=').next().unwrap();
        assert!(said.contains(name) && said.contains("not supported yet"), "{said}");
    }
}

/// The reasons that a build gives, in order.
fn reasons(built: &harness::Output) -> Vec<String> {
    let lines = built.stdout.lines();
    lines.filter_map(|line| line.strip_prefix(" ---> Not cached: ")).map(str::to_owned).collect()
}

#[test]
fn explain_names_what_has_changed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/f", "one");
    let file = "FROM busybox\nARG V=1\nCOPY f /f\nRUN echo a\nENV X=y\n";
    let build = |file: &str, more: &[&str]| {
        let words = [&["--explain"], more].concat();
        reasons(&lath.build_in("c", "x", file, &words).success())
    };
    let later = "an earlier step of the stage was not cached";
    let new = "this step is new";
    assert_eq!(build(file, &[]), [new, new, later, later]);
    assert!(build(file, &[]).is_empty());
    assert_eq!(
        build(&file.replace("echo a", "echo b"), &[]),
        [
            "instruction changed: RUN |1 V=1 /bin/sh -c echo a -> RUN |1 V=1 /bin/sh -c echo b",
            later
        ]
    );
    assert_eq!(
        build(&file.replace("RUN echo a", "RUN --network=none echo a"), &[])[0],
        "its flags or its here-document changed"
    );
    let words = build(file, &["--build-arg", "V=2"]);
    assert_eq!(words[0], "build argument changed: ARG V=1 -> ARG V=2");
    assert_eq!(
        build(file, &["--ulimit", "nofile=99"])[0],
        "files that it mounts, --add-host, --shm-size or --ulimit changed"
    );
    lath.write("c/f", "two");
    assert_eq!(build(file, &[])[0], "the content of its files changed: f");
    assert_eq!(build(file, &["--no-cache"]), ["--no-cache"; 4]);
    assert_eq!(build(file, &["--no-cache-filter=0"])[0], "--no-cache-filter");
    lath.give(&["import", "-c", "LABEL new=1", "-", "busybox:latest"], &harness::busybox_tar())
        .success();
    assert_eq!(build(file, &[])[0], "the base image changed");
    let json = lath.build_in(
        "c",
        "x",
        &file.replace("ENV X=y", "ENV X=z"),
        &["--explain", "--progress=json"],
    );
    let line = "{\"event\":\"not_cached\",\"why\":\"instruction changed: ENV X=y -> ENV X=z\"}";
    assert!(json.stdout.contains(line), "{json}");
    assert!(
        !lath.build_in("c", "x", "FROM busybox\nRUN echo c\n", &[]).stdout.contains("Not cached")
    );
}

#[test]
fn the_files_that_have_changed_are_named() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for name in ["a", "d/b", "d/c/e", "d/f", "g", "h"] {
        lath.write(&format!("c/{name}"), name);
    }
    lath.write("c/.dockerignore", "h\nDockerfile\n");
    let file =
        "FROM busybox\nCOPY a /a\nFROM busybox\nCOPY --exclude=g . /all\nCOPY --from=0 /a /a\n";
    let build = || reasons(&lath.build_in("c", "x", file, &["--explain", "--jobs=1"]).success());
    let later = "an earlier step of the stage was not cached";
    assert_eq!(build(), ["this step is new", "this step is new", later]);
    assert!(build().is_empty());
    // The second step names it too, though the first has read it again.
    let changed = "the content of its files changed: ";
    lath.write("c/a", "A");
    assert_eq!(build(), [&format!("{changed}a"), &format!("{changed}a"), later]);
    // Another inode with the same content is no change, nor is what is left out.
    for (name, content) in [("d/f", "f"), ("g", "G"), ("h", "H")] {
        std::fs::remove_file(lath.path(&format!("c/{name}"))).unwrap();
        lath.write(&format!("c/{name}"), if name == "d/f" { name } else { content });
    }
    assert!(build().is_empty());
    for name in ["d/b", "d/c/e", "new", "new2"] {
        lath.write(&format!("c/{name}"), "changed");
    }
    host("chmod", &["600", &lath.text("c/d/f")]);
    assert_eq!(build(), [&format!("{changed}d/b, d/c/e, d/f and 2 more"), later]);
    lath.write("c/\u{1b}[2Jx", "");
    let said = lath.build_in("c", "x", file, &["--explain"]).success();
    assert!(said.stdout.contains(&format!("{changed}\\u{{1b}}[2Jx\n")), "{said}");
    // Of what is gone there is no name.
    std::fs::remove_file(lath.path("c/new")).unwrap();
    assert_eq!(build(), ["the content of its files changed", later]);
}

#[test]
fn triggers_are_told_as_dockers_log_tells_them() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("parent", "FROM busybox\nONBUILD RUN echo a\nONBUILD ENV A=b\n");
    let log = |built: harness::Output| {
        let line = |line: &str| {
            let is_id = |word: &&str| word.len() == 12 && u64::from_str_radix(word, 16).is_ok();
            line.split(' ')
                .map(|word| if is_id(&word) { "ID" } else { word })
                .collect::<Vec<_>>()
                .join(" ")
        };
        built.stdout.lines().map(line).collect::<Vec<_>>()
    };
    let file = "FROM parent\nCMD [\"x\"]\n";
    assert_eq!(
        log(lath.build("child", file)),
        [
            "Step 1/2 : FROM parent",
            "# Executing 2 build triggers",
            " ---> Running in ID",
            "a",
            "Removing intermediate container ID",
            " ---> Running in ID",
            "Removing intermediate container ID",
            " ---> ID",
            "Step 2/2 : CMD [\"x\"]",
            " ---> Running in ID",
            "Removing intermediate container ID",
            " ---> ID",
            "Successfully built ID",
            "Successfully tagged child:latest",
        ]
    );
    assert_eq!(
        log(lath.build("child", file))[1..5],
        ["# Executing 2 build triggers", " ---> Using cache", " ---> Using cache", " ---> ID"]
    );
}

#[test]
fn fields_that_hold_nothing_print_as_docker_prints_them() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("bare", "FROM scratch\nCOPY Dockerfile /\n");
    for (template, text) in [
        ("{{.Config.Labels}}", "map[]\n"),
        ("{{.Config.Volumes}}", "map[]\n"),
        ("{{.Config.Cmd}}", "[]\n"),
        ("{{.Config.Healthcheck}}", "<nil>\n"),
        ("{{json .Config.Labels}}", "null\n"),
    ] {
        assert_eq!(lath.ok(&["inspect", "-f", template, "bare"]), text, "{template}");
    }
}

#[test]
fn an_image_for_another_processor_is_built_and_its_programs_fail_clearly() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    // An ELF file for a machine that there is not, so that no emulator takes it.
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x34\x12".to_vec();
    program.resize(4096, 0);
    lath.write("c/sh", program);
    let other = if cfg!(target_arch = "s390x") { "linux/amd64" } else { "linux/s390x" };
    let file = "FROM scratch\nCOPY --chmod=755 sh /bin/sh\n";
    lath.build_in("c", "other", file, &["--platform", other]).success();
    lath.build_in("c", "x", "FROM other\nCOPY sh /x\n", &["--platform", other]).success();
    let said = lath.build_in("c", "x", "FROM other\nRUN true\n", &[]).failure(1);
    assert!(said.contains(&format!("the image is for {other}, this device is linux/")), "{said}");
    assert!(said.contains("Dockerfile:2") && said.contains("binfmt_misc"), "{said}");
    let said = lath.run(&["run", "--rm", "other", "sh"]).failure(126);
    assert!(said.contains(&format!("the image is for {other}")), "{said}");
    // Asked for, and not what the base is for: told once, by the linter.
    let built = lath.build_in("c", "x", "FROM busybox\nRUN true\n", &["--platform", other]);
    assert_eq!(built.success().stderr.matches(other).count(), 1);
}

/// Builds on `base` in the layout that `value` means.
fn on_layout(lath: &Lath, value: &str) -> harness::Output {
    let dockerfile = "FROM base AS a\nRUN echo $TWO > /two\n\
                      FROM base\nCOPY --from=base /bin/busybox /b\nCOPY --from=a /two /\n";
    lath.build_in("c", "x", dockerfile, &["--build-context", &format!("base=oci-layout://{value}")])
}

#[test]
fn an_image_of_an_oci_layout_is_a_named_context() {
    if !needs(&[HERE, &[Need::Program("skopeo"), Need::Program("umoci")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["save", "-o", "a.tar", "busybox"]);
    let image = |tag: &str| format!("{}:{tag}", lath.text("lay"));
    let from = format!("oci-archive:{}", lath.text("a.tar"));
    host("skopeo", &["copy", "-q", "--insecure-policy", &from, &format!("oci:{}", image("one"))]);
    // The only image of a layout needs no tag.
    let only = on_layout(&lath, "lay").success();
    host("umoci", &["config", "--image", &image("one"), "--tag", "two", "--config.env", "TWO=2"]);

    let lath = &lath;
    let others = Lath::new();
    let place = lath.text("lay:two");
    on_layout(&others, &place).success();
    assert_eq!(others.shell("x", "cat /two; cmp /b /bin/busybox && echo $TWO"), "2\n2\n");
    assert_ne!(others.id("x"), lath.id("x"), "{only}");
    // Without a name, as what is loaded without one.
    let names = others.ok(&["images"]);
    assert_eq!(names.lines().filter(|line| line.starts_with("<none>")).count(), 1, "{names}");

    // From the cache nothing is written, and no layer is read.
    let before = others.listing();
    let raw = host("skopeo", &["inspect", "--raw", &format!("oci:{}", image("two"))]);
    let manifest = Value::parse(raw.as_bytes()).unwrap();
    let layers = manifest.get("layers").unwrap().as_array().unwrap();
    for layer in layers {
        let digest = layer.get("digest").and_then(Value::as_str).unwrap();
        let blob = format!("lay/blobs/{}", digest.replace(':', "/"));
        let bytes = std::fs::read(lath.path(&blob)).unwrap();
        lath.write(&blob, vec![b'x'; bytes.len()]);
    }
    let again = on_layout(&others, &place).success();
    assert_eq!(again.cached().len(), 3, "{again}");
    before.assert_same(&others.listing());

    // The same layout is damaged for a store that has no layers yet.
    let empty = Lath::new();
    let said = on_layout(&empty, &place).failure(1);
    assert!(said.contains("layer 1 of 1: what should be sha256:"), "{said}");
    assert!(said.contains("lay\"") && said.contains("Dockerfile:"), "{said}");
    assert_eq!(empty.ok(&["images", "-aq"]), "");
    assert_eq!(std::fs::read_dir(empty.store().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_layout_that_is_not_there_or_not_one_is_told() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN echo a > /a\n");
    lath.ok(&["build", "-t", "n:1", "-o", "type=oci,dest=lay,tar=false", "c"]);
    let digest = format!("sha256:{:064}", 0);
    lath.write("none/f", "");
    lath.write("bad/index.json", "{\"layers\":[]}");
    std::fs::create_dir(lath.path("link")).unwrap();
    std::os::unix::fs::symlink(lath.path("lay/index.json"), lath.path("link/index.json")).unwrap();
    for (value, text) in [
        ("gone", "\"gone\": No such file"),
        ("gone", "write oci-layout://DIR[:TAG]"),
        ("none", "\"none\": it has no index.json"),
        ("link", "\"link\": it has no index.json"),
        ("none/f", "Not a directory"),
        ("bad", "index.json"),
        ("lay:2", "no image has the tag \"2\""),
        ("lay:2", "its tags are: 1"),
        (&format!("lay:1@{digest}"), "lacks \"blobs/sha256/0000"),
    ] {
        let said = on_layout(&lath, value).failure(1);
        assert!(said.contains(text) && said.contains("Dockerfile:"), "{value}: {said}");
    }
    for (value, text) in [("lay@sha256:1", "sha256:1"), (":x", "oci-layout://DIR")] {
        let said = on_layout(&lath, value);
        assert!(said.code != 0 && said.stderr.contains(text), "{value}: {said}");
    }
    // The digest goes before the tag.
    let index = std::fs::read(lath.path("lay/index.json")).unwrap();
    let index = Value::parse(&index).unwrap();
    let entry = &index.get("manifests").unwrap().as_array().unwrap()[0];
    let digest = entry.get("digest").and_then(Value::as_str).unwrap();
    on_layout(&lath, &format!("lay:2@{digest}")).success();
    assert_eq!(lath.shell("x", "cat /a"), "a\n");
}
