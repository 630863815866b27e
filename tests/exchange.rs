//! Finished steps that go from one store to another, and images of which the layers become one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, RealRegistry, Shelf, host, needs};
use std::fs;
use std::path::PathBuf;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const FILE: &str = "FROM busybox AS first\nRUN echo one > /1 && ln /1 /hard\n\
                    FROM busybox\nCOPY --from=first /1 /one\nCOPY f /f\nRUN rm /bin/vi && mkdir /d\n\
                    ENV A=b\nRUN true\n";

/// A store that has built `FILE` and kept its steps in `kept`, and one with the same base only.
fn two(mode: &str) -> (Lath, Lath) {
    let one = Lath::with_busybox();
    one.write("c/f", "content");
    one.write("c/Dockerfile", FILE);
    let to = format!("type=local,dest={},mode={mode}", one.text("kept"));
    one.run(&["build", "-t", "x", "--cache-to", &to, "c"]).success();
    one.ok(&["save", "-o", &one.text("base.tar"), "busybox"]);
    let other = other(&one);
    (one, other)
}

fn other(one: &Lath) -> Lath {
    let other = Lath::new();
    other.ok(&["load", "-q", "-i", &one.text("base.tar")]);
    other
}

fn from(one: &Lath, other: &Lath) -> harness::Output {
    let from = format!("type=local,src={}", one.text("kept"));
    other.run(&["build", "-t", "x", "--cache-from", &from, &one.text("c")]).success()
}

fn files(one: &Lath, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(one.path(&format!("kept/lath-1/{folder}"))).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn steps_of_one_store_are_found_by_another() {
    if !needs(HERE) {
        return;
    }
    let (one, other) = two("max");
    let built = from(&one, &other);
    assert_eq!(built.cached().len(), 6, "{built}");
    assert_eq!(other.id("x"), one.id("x"));
    assert_eq!(other.shell("x", "cat /one /f; ls -d /bin/vi /d; echo $A"), "one\ncontent/d\nb\n");
    // They are the other store's own now.
    let again = other.run(&["build", "-t", "x", &one.text("c")]).success();
    assert_eq!(again.cached().len(), 6, "{again}");
    // It hands them on, and what is there already is not written again.
    let before = harness::Listing::of(&one.path("kept/lath-1/layers"));
    let to = format!("type=local,dest={},mode=max", one.text("kept"));
    other.run(&["build", "--cache-to", &to, &one.text("c")]).success();
    let names = |list: &harness::Listing| list.names().len();
    let after = harness::Listing::of(&one.path("kept/lath-1/layers"));
    before.assert_same(&after);
    assert_eq!(names(&before), 1 + files(&one, "layers").len());
    assert_eq!(files(&one, "steps").len(), 6);
    // The steps of the base, which another may have built, are not among them.
    let base =
        fs::read_to_string(one.store().join("refs/docker.io%library%busybox/latest")).unwrap();
    for step in files(&one, "steps") {
        let text = fs::read_to_string(step).unwrap();
        assert!(!text.contains(&format!("image {}", base.trim())), "{text}");
    }
}

#[test]
fn min_keeps_the_steps_of_the_image_alone() {
    if !needs(HERE) {
        return;
    }
    let (one, other) = two("min");
    assert_eq!(files(&one, "steps").len(), 5);
    let built = from(&one, &other);
    // The first stage is built again, with the same content for the COPY.
    let cached = built.cached();
    assert!(!cached.contains(&"RUN echo one > /1 && ln /1 /hard".to_owned()), "{built}");
    assert_eq!(cached.len(), 5, "{built}");
    assert_eq!(other.id("x"), one.id("x"));
}

#[test]
fn what_is_damaged_or_forged_is_a_miss_and_the_build_is_right() {
    if !needs(HERE) {
        return;
    }
    let (one, _other) = two("max");
    let right = "one\ncontent/d\nb\n";
    let check = |what: &str, least: usize| {
        let other = other(&one);
        let built = from(&one, &other);
        assert!(built.cached().len() < 6 && built.cached().len() >= least, "{what}: {built}");
        assert_eq!(
            other.shell("x", "cat /one /f; ls -d /bin/vi /d; echo $A"),
            right,
            "{what}: {built}"
        );
        assert_eq!(other.ok(&["images", "-q"]).lines().count(), 2, "{what}");
    };
    {
        let layer = files(&one, "layers")[0].clone();
        let whole = fs::read(&layer).unwrap();
        // Some bits only say by which of many ways zeros are repeated: one that says more.
        let content = || {
            let words = format!("gzip -dc <{} 2>/dev/null | sha256sum", layer.display());
            host("sh", &["-c", &words])
        };
        let (right, mut at) = (content(), whole.len() / 2);
        loop {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&layer, &flipped).unwrap();
            if content() != right {
                break;
            }
            at += 1;
        }
        check(&format!("a bit of {}", layer.display()), 0);
        fs::write(&layer, &whole[..at]).unwrap();
        check("half a layer", 0);
        fs::remove_file(&layer).unwrap();
        check("no layer", 0);
        fs::create_dir(&layer).unwrap();
        check("a directory", 0);
        fs::remove_dir(&layer).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &layer).unwrap();
        check("an endless file", 0);
        fs::remove_file(&layer).unwrap();
        fs::write(&layer, &whole).unwrap();
    }
    // The record of one step under the key of each other one.
    let steps = files(&one, "steps");
    let texts: Vec<String> = steps.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for (at, path) in steps.iter().enumerate() {
        fs::write(path, &texts[(at + 1) % texts.len()]).unwrap();
    }
    check("all records exchanged", 0);
    for (path, text) in steps.iter().zip(&texts) {
        let other = texts.iter().find(|other| *other != text && other.contains("diff "));
        let field = |text: &str, name: &str| {
            text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
        };
        // Another's layer, and another's image.
        for name in ["diff ", "image "] {
            let forged = text.replace(&field(text, name), &field(other.unwrap(), name));
            fs::write(path, forged).unwrap();
        }
    }
    check("forged records", 0);
    for (path, text) in steps.iter().zip(&texts) {
        fs::write(path, &text[..text.len() / 2]).unwrap();
    }
    check("half records", 0);
    // A full export mends all of it.
    let to = format!("type=local,dest={},mode=max", one.text("kept"));
    let first = &files(&one, "layers")[0];
    fs::write(first, "rubbish").unwrap();
    one.run(&["build", "--cache-to", &to, "c"]).success();
    let last = other(&one);
    assert_eq!(from(&one, &last).cached().len(), 6);
}

#[test]
fn directories_that_are_not_there_are_named_and_others_are_tried() {
    if !needs(HERE) {
        return;
    }
    let (one, other) = two("max");
    let good = format!("type=local,src={}", one.text("kept"));
    let words = ["build", "--cache-from", "type=local,src=no/such", "--cache-from", &good];
    let built = other.run(&[&words[..], &[&one.text("c")]].concat()).success();
    assert!(built.all().contains("no/such"), "{built}");
    assert_eq!(built.cached().len(), 6, "{built}");
    for (option, text) in [
        ("--cache-from=type=inline", "type=inline is not supported yet"),
        ("--cache-to=type=inline,mode=max", "type=inline is not supported yet"),
        ("--cache-from=type=gha", "type=gha is not supported yet"),
    ] {
        let said = other.fails(&["build", option, "."]);
        assert!(said.contains(text), "{said}");
    }
    for (option, text) in [
        ("--cache-to=type=local", "dest is required"),
        ("--cache-from=type=local,dest=x", "unknown key \"dest\""),
        ("--cache-to=type=local,dest=x,mode=most", "unknown mode \"most\""),
        ("--cache-to=type=registry", "ref is required"),
        ("--cache-from=type=registry,ref=x,mode=max", "unknown key \"mode\""),
    ] {
        let said = other.run(&["build", option, "."]).failure(2);
        assert!(said.contains(text), "{said}");
    }
    let said = other.fails(&["build", "--cache-to=type=local,dest=/dev/null/x", &one.text("c")]);
    assert!(said.contains("/dev/null/x"), "{said}");
}

const LAYERS: &str = "FROM busybox\nRUN mkdir -p /k/sub /gone/deep && echo a > /k/a && echo c > /k/sub/c && \
                      ln -s k /dir && echo x > /gone/deep/x && echo same > /same && touch -d @1000 /same\n";
const ABOVE: &str = "FROM under\nRUN rm -r /gone /k/sub && mkdir /k/sub && echo n > /k/sub/n && ln /k/sub/n /k/hard\n\
                     RUN rm /dir && mkdir /dir && echo d > /dir/d && rm /k/a && rm /same\n\
                     RUN echo same > /same && touch -d @1000 /same && echo big > /tmp/big && chown 5:6 /dir\n\
                     RUN rm /tmp/big && mkdir /k/new && chmod 1700 /k/new\nCMD [\"sh\"]\n";
const LIST: &str = "find /k /dir /same /gone /tmp | sort | while read f; do \
                    stat -c '%n %f %u:%g %Y' $f; [ -d $f ] || stat -c %h $f; done";

#[test]
fn squash_leaves_one_layer_with_the_same_files() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("under", LAYERS);
    let plain = lath.build("plain", ABOVE);
    let squashed = lath.build_in("s", "one", ABOVE, &["--squash"]).success();
    assert_eq!(squashed.cached().len(), plain.steps().len() - 1, "{squashed}");
    assert_eq!(lath.shell("one", LIST), lath.shell("plain", LIST));
    let list = |image: &str, path: &[&str]| {
        let mut value = lath.inspect(image);
        for name in path {
            value = value.get(name).unwrap().clone();
        }
        value.to_strings()
    };
    let layers = |image: &str| list(image, &["RootFS", "Layers"]);
    let (under, one) = (layers("under"), layers("one"));
    assert_eq!(one.len(), under.len() + 1);
    assert!(one.starts_with(&under));
    // As docker writes it: https://docs.docker.com/reference/cli/docker/buildx/build/ --squash.
    let comment = format!("merge {} to {}", lath.id("plain"), lath.id("under"));
    let history = lath.ok(&["history", "--no-trunc", "--format", "{{.Comment}}|{{.Size}}", "one"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(
        lines[0].starts_with(&format!("{comment}|")) && !lines[0].ends_with("|0B"),
        "{history}"
    );
    assert_eq!(lines[1..6], ["|0B"; 5], "{history}");
    assert_eq!(lines.len(), 8, "{history}");
    // What was there for a time only is in no layer.
    lath.ok(&["save", "-o", &lath.text("one.tar"), "one"]);
    fs::create_dir(lath.path("blobs")).unwrap();
    host("tar", &["-xf", &lath.text("one.tar"), "-C", &lath.text("blobs")]);
    let hex = one.last().unwrap().trim_start_matches("sha256:");
    let layer = host("tar", &["-tf", &lath.text(&format!("blobs/blobs/sha256/{hex}"))]);
    let names: Vec<&str> = layer.lines().collect();
    let expected = [
        ".wh.gone",
        "dir/",
        "dir/d",
        "k/",
        "k/.wh.a",
        "k/hard",
        "k/new/",
        "k/sub/",
        "k/sub/.wh.c",
        "k/sub/n",
    ];
    assert_eq!(
        names.iter().filter(|name| !name.starts_with("tmp")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert!(!layer.contains("big"), "{layer}");
    // Once more it is there.
    let id = lath.id("one");
    let again = lath.build_in("s", "one", ABOVE, &["--squash"]).success();
    assert!(id.contains(&again.built()), "{again}");
    assert_eq!(lath.id("one"), id);
    let names = lath.listing().names().len();
    lath.build_in("s", "one", ABOVE, &["--squash"]).success();
    assert_eq!(lath.listing().names().len(), names);
    lath.ok(&["rmi", "one"]);
    assert_eq!(lath.shell("plain", "cat /k/sub/n"), "n\n");
}

#[test]
fn squash_knows_what_the_base_of_the_last_stage_is() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file =
        "FROM busybox AS a\nRUN echo a > /a\nFROM a\nRUN echo b > /b\nRUN rm /a\nLABEL x=y\n";
    lath.build_in("c", "stage", file, &["--squash"]).success();
    let layers = |image: &str| {
        let root = lath.inspect(image).get("RootFS").unwrap().clone();
        root.get("Layers").unwrap().to_strings().len()
    };
    assert_eq!(layers("stage"), 3, "busybox, /a, and one on top");
    assert_eq!(lath.shell("stage", "cat /b; ls /a 2>&1 | wc -l"), "b\n1\n");
    // Nothing below: docker calls it new.
    lath.write("scratch/f", "f");
    lath.build_in("scratch", "new", "FROM scratch\nCOPY f /f\nCOPY f /g\n", &["--squash"])
        .success();
    assert_eq!(layers("new"), 1);
    let history = lath.ok(&["history", "--no-trunc", "--format", "{{.Comment}}", "new"]);
    assert!(history.starts_with("create new from sha256:"), "{history}");
    // No layer, nothing to merge; then it is the image itself.
    lath.build("label", "FROM busybox\nLABEL a=b\n");
    lath.build_in("l", "same", "FROM busybox\nLABEL a=b\n", &["--squash"]).success();
    assert_eq!(lath.id("same"), lath.id("label"));
}

/// Two stores, and a registry that has the steps of the first under a name.
fn steps_in_a_registry() -> Option<(Lath, Lath, RealRegistry, String)> {
    let more = [Need::Bases, Need::Program("skopeo"), Need::Program("docker-registry")];
    if !needs(HERE) || !needs(&more) {
        return None;
    }
    let (one, other) = two("max");
    let registry = RealRegistry::start(&one.path("registry"), &[]);
    let name = registry.name("team/cache:1");
    let to = format!("type=registry,ref={name},mode=max");
    one.run(&["build", "-t", "x", "--cache-to", &to, "c"]).success();
    Some((one, other, registry, name))
}

#[test]
fn steps_are_shared_by_a_registry() {
    let Some((one, other, registry, name)) = steps_in_a_registry() else { return };
    let to = format!("type=registry,ref={name},mode=max");
    let sent = registry.asked("PATCH /v2/team/cache/");
    let from = format!("type=registry,ref={name}");
    let context = one.text("c");
    let built = other.run(&["build", "-t", "x", "--cache-from", &from, &context]).success();
    assert_eq!(built.cached().len(), 6, "{built}");
    assert_eq!(other.id("x"), one.id("x"));
    assert_eq!(other.shell("x", "cat /one /f; ls -d /bin/vi /d; echo $A"), "one\ncontent/d\nb\n");
    // They are the other store's own now, and a build that has all asks nobody.
    let asked = registry.asked("/v2/team/cache/");
    let words = ["build", "-t", "x", "--cache-from", &name, &context];
    assert_eq!(other.run(&words).success().cached().len(), 6);
    assert_eq!(registry.asked("/v2/team/cache/"), asked);
    // What the other has done besides goes back, without the layers that are there.
    one.write("c/f", "other content");
    other.run(&["build", "--cache-from", &from, "--cache-to", &to, &context]).success();
    assert!(registry.asked("PATCH /v2/team/cache/") <= sent + 3, "a layer or two, and the config");
    let third = self::other(&one);
    let built = third.run(&["build", "--cache-from", &from, &context]).success();
    assert_eq!(built.cached().len(), 6, "{built}");
    // Steps of the image alone.
    let least = format!("type=registry,ref={}", registry.name("team/least"));
    one.run(&["build", "--cache-to", &least, "c"]).success();
    let fourth = self::other(&one);
    let built = fourth.run(&["build", "--cache-from", &least, &context]).success();
    assert!(built.cached().len() < 6 && !built.cached().is_empty(), "{built}");
}

#[test]
fn a_name_without_steps_is_told_and_no_error() {
    if !needs(HERE) || !needs(&[Need::Program("gzip")]) {
        return;
    }
    let (one, _) = two("min");
    let image = Shelf::of(&[harness::tar_of(&[harness::Member::File("f", "x")])]).serve();
    let name = format!("127.0.0.1:{}/hub/x", image.port());
    let missing = format!("127.0.0.1:{}/hub/none", image.port());
    let store = other(&one);
    let words = ["build", "--cache-from", &name, "--cache-from", &missing, &one.text("c")];
    let built = store.run(&words).success();
    for text in [format!("{name}:latest has no steps"), format!("{missing}:latest is not in")] {
        assert_eq!(built.all().matches(&text).count(), 1, "{text}: {built}");
    }
    let lost = ["build", "--cache-to=type=registry,ref=127.0.0.1:1/x", &one.text("c")];
    let error = store.run(&lost).failure(1);
    assert!(error.contains("write to 127.0.0.1:1/x"), "{error}");
}

#[test]
fn an_image_has_its_own_steps_in_it() {
    let Some((one, other, registry, _)) = steps_in_a_registry() else { return };
    let name = registry.name("team/app:1");
    let context = one.text("c");
    let words = ["build", "-t", &name, "--cache-to", "type=inline", &context];
    one.run(&words).success();
    assert_ne!(one.id(&name), one.id("x"), "it has the steps besides");
    assert_eq!(one.shell(&name, "cat /one /f; echo $A"), "one\ncontentb\n");
    // Once more nothing is written.
    let before = harness::Listing::of(&one.store());
    assert_eq!(one.run(&words).success().cached().len(), 6);
    before.assert_same(&harness::Listing::of(&one.store()));
    one.ok(&["push", &name]);
    // The steps of the other stage are not in it, and its content is the same when it is built.
    let built = other.run(&["build", "-t", "x", "--cache-from", &name, &context]).success();
    assert_eq!(built.cached().len(), 5, "{built}");
    assert_eq!(other.id("x"), one.id("x"));
    // Pulled, it is an image as any other; one that is made of it has not its steps.
    let third = Lath::new();
    third.ok(&["pull", &name]);
    assert_eq!(third.id(&name), one.id(&name));
    third.build("y", &format!("FROM {name}\nLABEL a=b\n"));
    let config = |lath: &Lath, image: &str| {
        let id = lath.id(image);
        let hex = id.trim_start_matches("sha256:").to_owned();
        fs::read_to_string(lath.store().join("images").join(hex)).unwrap()
    };
    assert!(config(&third, &name).contains("lath.cache.v1"));
    assert!(!config(&third, "y").contains("lath.cache.v1"));
    // With one layer in the place of those of the steps, only the steps without any are left.
    let squashed = registry.name("team/app:2");
    one.run(&["build", "--squash", "-t", &squashed, "--cache-to=type=inline", &context]).success();
    one.ok(&["push", &squashed]);
    let fourth = self::other(&one);
    let built = fourth.run(&["build", "-t", "x", "--cache-from", &squashed, &context]).success();
    assert!(built.cached().is_empty() && !built.all().contains("not used"), "{built}");
}

/// The words between two marks of a file of examples/, without quotes and list signs.
fn words_of(file: &str, from: &str, to: &str) -> Vec<String> {
    let path = format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(from).unwrap();
    let (words, _) = rest.split_once(to).unwrap();
    let words = words.split([',', '\n']).map(|word| word.trim().trim_start_matches("- "));
    // A comma is also within a word.
    let mut whole: Vec<String> = Vec::new();
    for word in words.map(|word| word.trim_matches('"')).filter(|word| !word.is_empty()) {
        match whole.last_mut() {
            Some(last) if word.starts_with("ref=") || word.starts_with("mode=") => {
                last.push_str(&format!(",{word}"));
            }
            _ => whole.push(word.to_owned()),
        }
    }
    whole
}

#[test]
fn the_jobs_of_the_examples_share_their_steps() {
    let more = [Need::Bases, Need::Program("skopeo"), Need::Program("docker-registry")];
    if !needs(HERE) || !needs(&more) {
        return;
    }
    let one = Lath::new();
    let registry = RealRegistry::start(&one.path("registry"), &[]);
    let base = registry.push("busybox-amd64.oci.tar", "base", &[]);
    one.write("c/Dockerfile", format!("FROM {base}\nRUN echo a > /a\nRUN echo b > /b\n"));
    let context = one.text("c");
    let job = |lath: &Lath, words: &[String]| {
        let words = words.iter().map(|word| {
            let word =
                word.replace("registry.lan:5000", &registry.at).replace("/context", &context);
            word.replace("${NOMAD_META_name}", "hello").replace("${NOMAD_META_source}", &context)
        });
        // Where a machine has no cgroups a limit is an error, and no matter here.
        let words: Vec<_> = words.filter(|word| !word.starts_with("--memory=")).collect();
        lath.run(&words).success()
    };
    let k3s = words_of("k3s/build.yaml", "args:", "env:");
    let nomad = words_of("nomad/build.nomad.hcl", "args = [", "]");
    assert!(k3s.len() == 8 && nomad.len() == 9, "{k3s:?} {nomad:?}");
    assert!(job(&one, &k3s).cached().is_empty());
    let first = one.id(&registry.name("hello:latest"));
    for words in [&nomad, &k3s] {
        let node = Lath::new();
        let built = job(&node, words);
        assert_eq!(built.cached().len(), 2, "{built}");
        assert_eq!(node.id(&registry.name("hello:latest")), first);
    }
}

/// BuildKit's own forms: docs.docker.com, "Registry cache" and "Inline cache"; what they hold is of no
/// matter here.
#[test]
fn what_buildkit_has_kept_is_told_apart() {
    if !needs(HERE) || !needs(&[Need::Program("gzip")]) {
        return;
    }
    let (one, _) = two("min");
    let oci = "application/vnd.oci.image";
    let kept = "{\"layers\":[{\"blob\":\"sha256:0\",\"parent\":-1}],\"records\":[{\"digest\":\"sha256:1\"}]}";
    let tar = harness::tar_of(&[harness::Member::File("f", "x")]);
    let mut shelf = Shelf::of(std::slice::from_ref(&tar));
    let config = shelf.blob("application/vnd.buildkit.cacheconfig.v0", kept.as_bytes());
    let layer = shelf.blob(&format!("{oci}.layer.v1.tar+gzip"), &harness::packed("gzip", &tar));
    // An index whose entries are layers, and, with image-manifest=true, an image.
    let index = format!("{oci}.index.v1+json");
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{index}\",\"manifests\":[{layer},{config}]}}"
    );
    shelf.manifest("index", &index, &text);
    let manifest = format!("{oci}.manifest.v1+json");
    let text = harness::manifest_of(&manifest, &config, std::slice::from_ref(&layer));
    shelf.manifest("image", &manifest, &text);
    // Inline, and one that says that its steps are lath's.
    let with = |field: &str| harness::config_of(std::slice::from_ref(&tar)).replacen('{', field, 1);
    for (tag, field) in [
        ("inline", "{\"moby.buildkit.cache.v0\":\"W10=\","),
        ("liar", "{\"lath.cache.v1\":{\"x\":7,\"00\":\"rubbish\"},"),
    ] {
        let config = shelf.blob(&format!("{oci}.config.v1+json"), with(field).as_bytes());
        let text = harness::manifest_of(&manifest, &config, std::slice::from_ref(&layer));
        shelf.manifest(tag, &manifest, &text);
    }
    let web = shelf.serve();
    let name = |tag: &str| format!("127.0.0.1:{}/hub/x:{tag}", web.port());
    let store = other(&one);
    for (tag, says) in [
        ("index", "has steps of BuildKit's, which lath cannot use"),
        ("image", "has steps of BuildKit's, which lath cannot use"),
        ("inline", "has no steps of lath's builds"),
        ("liar", ""),
    ] {
        let from = name(tag);
        let context = one.text("c");
        let words = ["build", "-t", tag, "--cache-from", &from, &context];
        store.run(&["builder", "prune", "-af"]).success();
        let built = store.run(&words).success();
        assert!(built.cached().is_empty(), "{tag}: {built}");
        let lines = built.all().matches("--cache-from").count();
        assert_eq!(lines, usize::from(!says.is_empty()), "{tag}: {built}");
        assert!(built.all().contains(says), "{tag}: {built}");
        assert_eq!(store.shell(tag, "cat /one /f"), "one\ncontent");
        store.ok(&["rmi", tag]);
    }
    // Neither is an image that a build could begin with; what is made of the inline one forgets it.
    for tag in ["index", "image"] {
        let error = store.fails(&["pull", &name(tag)]);
        assert!(error.contains("no match") || error.contains("it is no image"), "{tag}: {error}");
    }
    store.build("y", &format!("FROM {}\nLABEL a=b\n", name("inline")));
    let hex = store.id("y").trim_start_matches("sha256:").to_owned();
    let text = fs::read_to_string(store.store().join("images").join(hex)).unwrap();
    assert!(!text.contains("moby"), "{text}");
}

#[test]
fn a_layer_in_a_registry_that_is_another_is_not_used() {
    let Some((one, other, _registry, name)) = steps_in_a_registry() else { return };
    // One bit of every blob but the JSON ones.
    let blobs = one.path("registry");
    let found =
        host("find", &[blobs.to_str().unwrap(), "-path", "*/blobs/sha256/*", "-name", "data"]);
    for path in found.lines() {
        let mut bytes = fs::read(path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
    let words = ["build", "-t", "x", "--cache-from", &name, &one.text("c")];
    let built = other.run(&words).success();
    assert!(built.all().contains("is not used"), "{built}");
    assert_eq!(other.shell("x", "cat /one /f"), "one\ncontent");
}
