//! What a user does to images: names, lists, looks, removes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs};
use std::os::unix::fs::symlink;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

#[test]
fn tag_gives_one_image_more_names() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["tag", "busybox", "hub/box"]);
    lath.ok(&["tag", "hub/box:latest", "localhost:5000/a/b:1.0"]);
    let id = lath.id("busybox");
    assert_eq!(lath.id("hub/box"), id);
    assert_eq!(lath.id("localhost:5000/a/b:1.0"), id);
    let long = ["inspect", "-f", "{{.Id}}", "docker.io/library/busybox:latest"];
    assert_eq!(lath.ok(&long).trim(), id, "the long form of the name");
    lath.ok(&["tag", id.split_at(20).0, "by-prefix"]);
    assert_eq!(lath.id("by-prefix"), id);
    let names = lath.inspect("busybox");
    let mut names = names.get("RepoTags").unwrap().to_strings();
    names.sort();
    let wanted = ["busybox:latest", "by-prefix:latest", "hub/box:latest", "localhost:5000/a/b:1.0"];
    assert_eq!(names, wanted);
    for bad in ["Upper", "a b", "a:", "a//b", "a:-t"] {
        assert!(!lath.fails(&["tag", "busybox", bad]).is_empty(), "{bad}");
    }
    assert!(lath.fails(&["tag", "nosuch", "x"]).contains("nosuch"));
}

#[test]
fn images_is_a_table_ids_or_what_a_format_says() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("hub/a:1", "FROM busybox\nLABEL kind=test\nRUN echo 1 > /a\n");
    let table = lath.ok(&["images"]);
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    let id = lath.id("hub/a:1");
    let short = id.strip_prefix("sha256:").unwrap().split_at(12).0;
    let row = lines.clone().find(|line| line.starts_with("hub/a ")).expect("a row for hub/a");
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words.get(..3), Some(&["hub/a", "1", short][..]), "{table}");
    assert_eq!(lines.count(), 2);

    let by = |args: &[&str]| lath.ok(&[&["images"], args].concat());
    assert_eq!(by(&["-q", "hub/a:1"]).trim(), short);
    assert_eq!(by(&["-q"]).lines().count(), 2);
    assert!(by(&["-aq"]).lines().count() >= 2, "with -a the steps too");
    assert_eq!(
        by(&["--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "hub/a"]).trim(),
        format!("hub/a:1 {short}")
    );
    assert_eq!(by(&["-q", "hub/a"]).lines().count(), 1, "a name without a tag is all its tags");
    assert_eq!(by(&["-q", "--filter", "reference=hub/*"]).trim(), short);
    assert_eq!(by(&["-q", "-f", "reference=hub/*:2"]), "");
    assert_eq!(by(&["-q", "--filter=label=kind=test"]).trim(), short);
    assert_eq!(by(&["-q", "--filter=label=kind=other"]), "");
    assert_eq!(by(&["-q", "--filter=dangling=true"]), "");
    // The name goes to another image; the old one stays, without a name.
    lath.build("hub/a:1", "FROM busybox\nRUN echo 2 > /a\n");
    assert_eq!(by(&["-q", "--filter=dangling=true"]).trim(), short);
    assert!(by(&[]).lines().any(|line| line.starts_with("<none> ")), "{}", by(&[]));
    assert!(lath.run(&["images", "--filter", "nosuch=1"]).code != 0);
}

#[test]
fn history_tells_how_the_image_came_to_be() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let long = "echo a word and another one to make this line longer than a table shows > /a";
    lath.build("x", &format!("FROM busybox\nRUN {long}\nENV A=b\nCMD [\"c\"]\n"));
    let table = lath.ok(&["history", "x"]);
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]);
    let rows: Vec<_> = lines.collect();
    assert!(rows.len() >= 4, "{table}");
    let newest = rows.first().unwrap();
    assert!(newest.contains("CMD [\"c\"]"), "{table}");
    let id = lath.id("x");
    assert!(id.contains(newest.split(' ').next().unwrap()), "{table}");
    assert!(!table.contains(long), "long lines are cut: {table}");
    let whole = lath.ok(&["history", "--no-trunc", "x"]);
    assert!(whole.contains(long), "{whole}");
    assert!(whole.contains(&id), "{whole}");
    assert!(lath.fails(&["history", "nosuch"]).contains("nosuch"));
}

#[test]
fn inspect_is_json_or_what_a_format_says() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\nENV A=b\nWORKDIR /w\nLABEL a.b=c\nCMD [\"d\", \"e\"]\nEXPOSE 80\n",
    );
    let one = lath.inspect("x");
    let text = |key: &str| one.get(key).and_then(|value| value.as_str()).unwrap().to_owned();
    assert_eq!(text("Id"), lath.id("x"));
    assert_eq!(text("Os"), "linux");
    assert!(text("Created").ends_with('Z'), "{}", text("Created"));
    assert!(one.get("Size").and_then(lath::image::json::Value::as_u64).unwrap() > 0);
    let format = |format: &str| lath.ok(&["inspect", "-f", format, "x"]);
    assert_eq!(format("{{.Id}}").trim(), lath.id("x"));
    assert_eq!(format("{{json .Config.Cmd}}"), "[\"d\",\"e\"]\n");
    assert_eq!(format("{{.Config.WorkingDir}} {{.Os}}"), "/w linux\n");
    assert_eq!(format("{{index .Config.Labels \"a.b\"}}"), "c\n");
    assert_eq!(format("{{range .Config.Cmd}}{{.}};{{end}}"), "d;e;\n");
    // What docker knows of every image, although its JSON leaves it out when it is empty.
    let empty = "<{{.Config.StopSignal}}{{.Variant}}{{index .Config.Labels \"no\"}}>\
                 {{json .Config.Healthcheck}}{{if .Config.Shell}}y{{end}}{{len .Config.Volumes}}";
    assert_eq!(format(empty), "<>null0\n");
    assert!(!lath.ok(&["inspect", "x"]).contains("Healthcheck"));
    let two = lath.ok(&["inspect", "x", "busybox"]);
    let two = lath::image::json::Value::parse(two.as_bytes()).unwrap();
    assert_eq!(two.as_array().unwrap().len(), 2);
    let missing = lath.run(&["inspect", "nosuch"]);
    assert_eq!(missing.stdout.trim(), "[]");
    assert!(missing.failure(1).contains("nosuch"));
}

#[test]
fn rmi_takes_names_away_and_then_the_image() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("a", "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=4\n");
    lath.ok(&["tag", "a", "b"]);
    let id = lath.id("a");
    let untagged = lath.ok(&["rmi", "a"]);
    assert_eq!(untagged, "Untagged: a:latest\n");
    assert_eq!(lath.id("b"), id);
    lath.ok(&["tag", "b", "c"]);
    let refused = lath.fails(&["rmi", id.split_at(19).0]);
    assert!(refused.contains("-f") || refused.contains("force"), "{refused}");
    lath.ok(&["rmi", "c"]);
    let gone = lath.ok(&["rmi", "b"]);
    assert!(gone.starts_with("Untagged: b:latest\n"), "{gone}");
    assert!(gone.contains(&format!("Deleted: {id}\n")), "{gone}");
    assert_eq!(lath.ok(&["images", "-q"]).lines().count(), 1);
    assert!(lath.fails(&["rmi", "a"]).contains("No such image"));
    let both = lath.run(&["rmi", "nosuch", "busybox"]);
    assert_eq!(both.code, 1);
    assert_eq!(lath.ok(&["images", "-q"]), "", "one that fails does not keep the others: {both}");
}

#[test]
fn nothing_is_left_of_a_failed_build_when_its_base_is_removed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN echo a > /a\nRUN echo b > /b\n";
    lath.build("whole", file);
    lath.build_in("c", "x", &format!("{file}RUN echo c > /c\nRUN false\n"), &[]).failure(1);
    lath.build_in("c", "x", "FROM busybox\nRUN echo d > /d\nRUN false\n", &[]).failure(1);
    lath.ok(&["rmi", "whole"]);
    let ids = |all: &str| lath.ok(&["images", all]).lines().count();
    assert_eq!((ids("-q"), ids("-aq")), (1, 2), "what came from the other base image stays");
    lath.ok(&["rmi", "busybox"]);
    assert_eq!(ids("-aq"), 0);
    for folder in ["layers", "chains", "steps", "cache", "images"] {
        let left = std::fs::read_dir(lath.store().join(folder)).map_or(0, |files| files.count());
        assert_eq!(left, 0, "{folder}");
    }
}

#[test]
fn a_removed_image_gives_its_space_back_and_spoils_no_other() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let size = || harness::host("du", &["-sk", lath.store().to_str().unwrap()]);
    let size = || size().split_whitespace().next().unwrap().parse::<u64>().unwrap();
    let before = size();
    lath.build(
        "a",
        "FROM busybox\nRUN echo shared > /s\nRUN dd if=/dev/urandom of=/big bs=1M count=8\n",
    );
    lath.build("b", "FROM busybox\nRUN echo shared > /s\nRUN echo b > /b\n");
    assert!(size() > before + 8000);
    lath.ok(&["rmi", "a"]);
    assert!(size() < before + 4000, "{} KB after, {before} KB before", size());
    assert_eq!(lath.shell("b", "cat /s /b"), "shared\nb\n");
    let again = lath.build("a", "FROM busybox\nRUN echo shared > /s\nRUN echo new > /n\n");
    assert_eq!(again.cached(), ["RUN echo shared > /s"]);
    assert_eq!(lath.shell("a", "cat /s /n"), "shared\nnew\n");
}

#[test]
fn the_famous_one_liner_empties_the_store() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("hub/a", "FROM busybox\nRUN echo a > /a\n");
    lath.ok(&["tag", "hub/a", "hub/b"]);
    let line = format!(
        "LATH_ROOT={0} {1} images -q | LATH_ROOT={0} xargs {1} rmi -f",
        lath.store().display(),
        harness::binary().display()
    );
    harness::host("sh", &["-c", &line]);
    assert_eq!(lath.ok(&["images", "-q"]), "");
    let layers = std::fs::read_dir(lath.store().join("layers"));
    assert_eq!(layers.map_or(0, Iterator::count), 0, "no layer without an image");
}

#[test]
fn a_prefix_of_the_id_is_a_name_as_long_as_it_is_one() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let id = lath.id("busybox");
    let hex = id.strip_prefix("sha256:").unwrap();
    for length in [4, 12, 64] {
        let prefix = hex.split_at(length).0;
        assert_eq!(lath.ok(&["run", "--rm", prefix, "echo", "it"]), "it\n", "{prefix}");
    }
    assert_eq!(lath.ok(&["run", "--rm", &id, "echo", "it"]), "it\n");
    // Of seventeen images two share their first digit.
    for number in 0..17 {
        lath.build("x", &format!("FROM busybox\nENV A={number}\n"));
        lath.ok(&["tag", "x", &format!("x:{number}")]);
    }
    let ids = lath.ok(&["images", "-q", "--no-trunc"]);
    let first = |id: &str| id.strip_prefix("sha256:").and_then(|hex| hex.chars().next()).unwrap();
    let mut digits: Vec<_> = ids.lines().collect();
    digits.sort_unstable();
    digits.dedup();
    let shared = digits.windows(2).find(|two| first(two[0]) == first(two[1])).unwrap();
    let prefix = first(shared[0]).to_string();
    assert!(!lath.fails(&["inspect", &prefix]).is_empty(), "{prefix} is two images");
}

#[test]
fn by_the_name_of_docker_it_does_the_same() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    symlink(harness::binary(), lath.path("docker")).unwrap();
    lath.write("c/Dockerfile", "FROM busybox\nCMD [\"echo\", \"hi\"]\n");
    let script = "set -e; export LATH_ROOT=\"$1\"; ./docker build -t hub/x c; ./docker run --rm hub/x; \
                  ./docker images -q hub/x; ./docker --version";
    let (folder, store) = (lath.text(""), lath.store());
    let shell = ["-c", "cd \"$0\"; eval \"$2\"", &folder, store.to_str().unwrap(), script];
    let shown = harness::host("sh", &shell);
    assert!(shown.contains("Successfully tagged hub/x:latest\nhi\n"), "{shown}");
    assert!(shown.to_lowercase().contains("version"), "{shown}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for number in 0..5 {
        lath.ok(&["tag", "busybox", &format!("x:{number}")]);
    }
    let line = format!(
        "LATH_ROOT={} {} images | head -1 >/dev/null",
        lath.store().display(),
        harness::binary().display()
    );
    let shown = harness::host("sh", &["-c", &format!("{{ {line}; }} 2>&1")]);
    assert_eq!(shown, "");
}
