//! `lath fsck`: each file of a store damaged in each way costs what it belongs to, is named, and
//! is mended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{
    Lath, Member, Need, RealRegistry, host, layout_of, needs, small_busybox_tar, tar_of,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// Images that have nothing to do with those of another family.
const FAMILIES: [&[&str]; 3] = [&["apart:1"], &["foreign:latest"], &["busybox:latest", "built:1"]];

const DOCKERFILE: &str = "FROM busybox\nRUN echo a > /a && ln -s a /soft && rm /etc/group\n\
                          COPY d /d/\nRUN --mount=type=cache,target=/k echo k > /k/k\nCMD [\"true\"]\n";

fn make(lath: &Lath, family: usize) {
    match family {
        0 => drop(lath.give(&["import", "-", "apart:1"], &small_busybox_tar("apart")).success()),
        1 => {
            let more = [
                Member::File("etc/one", "1"),
                Member::File("etc/empty", ""),
                Member::File("etc/one", "one and one"),
                Member::Soft("etc/two", "one"),
                Member::File("etc/.wh.group", ""),
            ];
            let layout =
                layout_of("foreign:latest", &[small_busybox_tar("foreign"), tar_of(&more)]);
            lath.give(&["load"], &layout).success();
        }
        _ => {
            lath.give(&["import", "-", "busybox:latest"], &small_busybox_tar("base")).success();
            lath.write("c/d/f", "from the context");
            lath.build_in("c", "built:1", DOCKERFILE, &[]).success();
        }
    }
}

/// Every regular file of the store, and the links of trees, from the store on.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![store.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                _ => found.push(entry.path().strip_prefix(store).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

/// A store with all families, a copy of it, and which file came with which family.
struct Whole {
    lath: Lath,
    family_of: BTreeMap<PathBuf, Option<usize>>,
}

impl Whole {
    fn new() -> Whole {
        let lath = Lath::new();
        let mut family_of = BTreeMap::new();
        for family in 0..FAMILIES.len() {
            make(&lath, family);
            for file in files(&lath.store()) {
                let is_shared =
                    ["VERSION", "lock", "contents", "mountpoints", "mounts", "context", "urls"]
                        .iter()
                        .any(|name| file.starts_with(name));
                family_of.entry(file).or_insert((!is_shared).then_some(family));
            }
        }
        let archive = lath.text("all.tar");
        let mut save = vec!["save", "-o", &archive];
        save.extend(FAMILIES.concat());
        lath.ok(&save);
        host("cp", &["-a", lath.store().to_str().unwrap(), &lath.text("whole")]);
        Whole { lath, family_of }
    }

    fn restore(&self) {
        let store = self.lath.store();
        fs::remove_dir_all(&store).unwrap();
        host("cp", &["-a", &self.lath.text("whole"), store.to_str().unwrap()]);
    }

    /// All images but those of a family list, run and build.
    fn others_work(&self, but: Option<usize>, what: &str) {
        let listed = self.lath.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert_eq!(listed.code, 0, "{what}: {listed}");
        for (family, images) in FAMILIES.iter().enumerate().filter(|(at, _)| Some(*at) != but) {
            for image in *images {
                assert!(listed.stdout.lines().any(|line| line == *image), "{what}: {listed}");
                let ran = self.lath.run(&["run", "--rm", image, "true"]);
                assert_eq!(ran.code, 0, "{what}: {ran}");
            }
            if but.is_none() && family != 2 {
                continue;
            }
            let file = format!("FROM {}\nRUN echo more > /more\n", images[0]);
            let built = self.lath.build_in(&format!("more{family}"), "more", &file, &[]);
            assert_eq!(built.code, 0, "{what}: {built}");
        }
    }

    fn is_clean(&self, what: &str) {
        let checked = self.lath.run(&["fsck"]);
        assert!(checked.code == 0 && checked.stdout.starts_with("clean"), "{what}: {checked}");
    }
}

const WAYS: [&str; 4] = ["gone", "empty", "half", "a bit"];

/// Whether there was anything to damage.
fn damage(path: &Path, way: &str) -> bool {
    let is_link = fs::symlink_metadata(path).unwrap().is_symlink();
    let is_plain = fs::symlink_metadata(path).unwrap().is_file();
    if way == "gone" {
        fs::remove_file(path).unwrap();
        return true;
    }
    let whole = if is_plain && !is_link { fs::read(path).unwrap() } else { Vec::new() };
    if whole.is_empty() {
        return false;
    }
    let mut flipped = whole.clone();
    flipped[whole.len() * 2 / 3] ^= 1;
    let damaged = match way {
        "empty" => &[],
        "half" => &whole[..whole.len() / 2],
        _ => &flipped,
    };
    fs::write(path, damaged).unwrap();
    true
}

/// What may be damaged without a word: a lock has no content, a cache mount is its user's, and
/// the places for mounts are made where they lack.
fn is_harmless(file: &Path, way: &str) -> bool {
    // A name that is not there is no name, and of a step its layer is what spares work.
    let gone = ["mountpoints", "contents", "context", "urls", "cache", "refs", "steps"];
    let is_below = |names: &[&str]| names.iter().any(|name| file.starts_with(name));
    is_below(&["lock", "mounts"])
        || (way == "gone" && is_below(&gone))
        || (way == "gone" && file == Path::new("VERSION"))
        // Nothing is left of it that could be wrong.
        || (way == "empty" && file == Path::new("contents"))
}

#[test]
fn each_file_damaged_in_each_way_is_named_and_mended_and_costs_nobody_else() {
    if !needs(HERE) {
        return;
    }
    let whole = Whole::new();
    let Whole { lath, family_of } = &whole;
    whole.is_clean("a new store");
    let archive = lath.text("all.tar");
    let is_long = std::env::var_os("LATH_TORTURE").is_some();
    let mut count = [0; 2];
    for (at, (file, family)) in family_of.iter().enumerate() {
        for (number, way) in WAYS.iter().enumerate() {
            // All ways for all files take minutes (LATH_TORTURE=1); here each file has one.
            let is_turn = is_long || (at + number).is_multiple_of(WAYS.len());
            if !is_turn || !damage(&lath.store().join(file), way) {
                continue;
            }
            let what = format!("{} {way}", file.display());
            count[0] += 1;
            let checked = lath.run(&["fsck"]);
            // What only spares work, and is not synced, may be torn: that is no fault.
            let is_aid = ["context", "contents", "urls"].iter().any(|aid| file.starts_with(aid));
            let is_seen = checked.code == 1 || checked.stdout.starts_with("note: ");
            if is_seen {
                assert_eq!(checked.code == 0, is_aid, "{what}: {checked}");
                // The layer, for what is in one.
                let parts: Vec<_> = file.iter().map(|part| part.to_str().unwrap()).collect();
                let named = parts.get(1).unwrap_or(&parts[0]);
                let named = named.get(..12).unwrap_or(named);
                assert!(checked.stdout.contains(named), "{what}: {checked}");
                assert!(checked.stdout.contains("mend: lath fsck --repair"), "{what}");
            } else {
                assert!(checked.code == 0 && is_harmless(file, way), "{what}: {checked}");
            }
            whole.others_work(*family, &what);
            // One time by what an archive has, one time by taking away what is bad.
            if (at / 4 + number).is_multiple_of(2) {
                lath.ok(&["fsck", "--repair", "--from", &archive]);
                whole.is_clean(&what);
                let is_name = file.starts_with("refs");
                whole.others_work(is_name.then_some(*family).flatten(), &what);
            } else {
                lath.ok(&["fsck", "--repair"]);
                whole.is_clean(&what);
                whole.others_work(*family, &what);
                make(lath, family.unwrap_or(2));
                whole.others_work(None, &what);
                whole.is_clean(&what);
            }
            count[1] += usize::from(is_seen);
            whole.restore();
        }
    }
    drop(writeln!(std::io::stderr(), "{} damages, {} of them named", count[0], count[1]));
    assert!(count[0] > 30 && count[1] > 25, "{count:?}");
}

#[test]
fn what_has_no_owner_is_named_and_removed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let layer = fs::read_dir(lath.store().join("layers")).unwrap().next().unwrap().unwrap().path();
    let layer = layer.file_name().unwrap().to_str().unwrap().to_owned();
    let in_layer = format!("layers/{layer}/junk");
    let strays = [
        "junk",
        ".hidden",
        "layers/x.y",
        "layers/aaaaaaaaaa",
        "chains/zz",
        "images/zz",
        "steps/zz",
        "refs/UPPER/1",
        "refs/docker.io%library%busybox/.x",
        "cache/zz",
        "cache/00/zz",
        "mounts/zz",
        "context/zz",
        "urls/zz",
        "mountpoints/junk",
        &in_layer,
    ];
    for stray in strays {
        let path = lath.store().join(stray);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let said = lath.run(&["fsck"]);
    assert_eq!(said.code, 1, "{said}");
    for stray in strays {
        assert!(said.stdout.contains(stray), "{stray}: {said}");
    }
    lath.ok(&["fsck", "--repair"]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    for stray in strays {
        assert!(!lath.store().join(stray).exists(), "{stray}");
    }
    lath.ok(&["run", "--rm", "busybox", "true"]);
    assert!(lath.run(&["fsck", "--from", "x"]).code == 2);
}

#[test]
fn containers_are_no_strays() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["create", "--name", "kept", "busybox", "true"]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    lath.ok(&["fsck", "--repair"]);
    lath.ok(&["start", "kept"]);
    // A damaged one is told, and taken away by whoever wants that.
    let id = lath.ok(&["create", "busybox", "true"]);
    let folder = lath.store().join("containers").join(id.trim());
    let config = fs::read_to_string(folder.join("config")).unwrap();
    fs::write(folder.join("config"), config.replace("busybox", "busybux")).unwrap();
    for words in [&["fsck"][..], &["fsck", "--repair"]] {
        let said = lath.run(words).all();
        assert!(said.contains(&format!("lath rm -f {}", id.trim())), "{said}");
        assert!(folder.is_dir());
    }
    lath.ok(&["rm", "-f", id.trim()]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    lath.ok(&["rm", "-f", "kept"]);
}

#[test]
fn a_quick_check_reads_no_layers_and_a_whole_one_sees_every_attribute() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    make(&lath, 1);
    let trees =
        fs::read_dir(lath.store().join("layers")).unwrap().map(|entry| entry.unwrap().path());
    let tree = trees.map(|layer| layer.join("diff")).find(|tree| tree.join("etc/two").is_symlink());
    let tree = tree.unwrap();
    let empty = tree.join("etc/empty");
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    for (doing, undoing) in [
        (["chmod", "0755"], ["chmod", "0644"]),
        (["chown", "7:7"], ["chown", "0:0"]),
        (["touch", "-d@5"], ["touch", "-d@1700000000"]),
        (["setfattr", "-nuser.x"], ["setfattr", "-xuser.x"]),
    ] {
        if doing[0] == "setfattr" && std::process::Command::new(doing[0]).output().is_err() {
            continue;
        }
        host(doing[0], &[doing[1], &at(&empty)]);
        assert!(lath.ok(&["fsck", "--quick"]).starts_with("clean"));
        let said = lath.run(&["fsck"]);
        assert!(said.code == 1 && said.stdout.contains("the tree"), "{doing:?}: {said}");
        host(undoing[0], &[undoing[1], &at(&empty)]);
        assert!(lath.ok(&["fsck", "-q"]).is_empty());
    }
}

/// The only layer with such a file in its tree.
fn layer_with(lath: &Lath, file: &str) -> PathBuf {
    let layers = fs::read_dir(lath.store().join("layers")).unwrap();
    let mut layers = layers.map(|layer| layer.unwrap().path());
    layers.find(|layer| layer.join("diff").join(file).exists()).unwrap()
}

#[test]
fn what_came_from_a_registry_comes_back_by_its_digest_and_alone() {
    if !needs(&[HERE, &[Need::Program("docker-registry"), Need::Bases]].concat()) {
        return;
    }
    let maker = Lath::new();
    let registry = RealRegistry::start(&maker.path("registry"), &[]);
    let name = registry.name("team/app");
    maker.give(&["import", "-", "busybox:latest"], &small_busybox_tar("base")).success();
    maker.build(&name, "FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n");
    maker.ok(&["push", &name]);
    let lath = Lath::new();
    lath.ok(&["pull", &name]);
    lath.build("built:1", &format!("FROM {name}\nRUN echo three > /three\n"));
    // The tag means another image by now.
    maker.build(&name, "FROM busybox\nRUN echo other > /one\n");
    maker.ok(&["push", &name]);
    let config = || lath.store().join("images").join(&lath.id(&name)["sha256:".len()..]);
    let (image, built) = (lath.id(&name), lath.id("built:1"));
    let path_of_config = config();
    let flip = || fs::write(layer_with(&lath, "two").join("diff/two"), "tvo\n").unwrap();
    let lose = || fs::remove_dir_all(layer_with(&lath, "one")).unwrap();
    let tear = || fs::write(&path_of_config, "{").unwrap();
    let all = || {
        flip();
        lose();
        tear();
    };
    let damages: [(&str, &dyn Fn(), usize); 4] =
        [("content", &flip, 1), ("layer", &lose, 1), ("config", &tear, 0), ("all", &all, 2)];
    for (what, damage, layers) in damages {
        damage();
        let said = lath.run(&["fsck"]);
        let command = format!("lath fsck --repair --from docker://{}", registry.name("team/app"));
        assert!(said.code == 1 && said.stdout.contains(&command), "{what}: {said}");
        let asked = registry.asked("GET /v2/team/app/blobs/");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let said = lath.ok(&words);
        assert!(said.contains(&format!("{layers} layers and ")), "{what}: {said}");
        // The config is asked for too.
        let asked = registry.asked("GET /v2/team/app/blobs/") - asked;
        assert_eq!(asked, layers + 1, "{what}");
        assert!(lath.ok(&["fsck"]).starts_with("clean"), "{what}");
        assert_eq!((lath.id(&name), lath.id("built:1")), (image.clone(), built.clone()), "{what}");
        assert_eq!(lath.shell("built:1", "cat /one /two /three"), "one\ntwo\nthree\n", "{what}");
    }
    // What it has under the name now is of no use for that: nothing comes, and the bad goes.
    flip();
    let from = format!("docker://{}:latest", registry.name("team/none"));
    let said = lath.run(&["fsck", "--repair", "--from", &from]).failure(1);
    assert!(said.contains("team/none"), "{said}");
    assert_eq!(lath.id(&name), image, "a repair that fails takes nothing away");
    lath.ok(&["fsck", "--repair"]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
}

#[test]
fn what_a_build_made_is_made_again_by_a_build_to_the_same_image() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    lath.give(&["import", "-", "busybox:latest"], &small_busybox_tar("base")).success();
    lath.ok(&["save", "-o", &lath.text("base.tar"), "busybox"]);
    lath.write("c/d/f", "from the context");
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    lath.build_in("c", "built:1", DOCKERFILE, &epoch).success();
    let image = lath.id("built:1");
    let config = lath.store().join("images").join(&image["sha256:".len()..]);
    let damages: [(&str, &dyn Fn()); 3] = [
        ("content", &|| fs::write(layer_with(&lath, "a").join("diff/a"), "b\n").unwrap()),
        ("layer", &|| fs::remove_dir_all(layer_with(&lath, "d/f")).unwrap()),
        ("config", &|| fs::write(&config, "{").unwrap()),
    ];
    for (what, damage) in damages {
        damage();
        let said = lath.run(&["fsck"]);
        let command = "mend: lath fsck --repair, then lath build -t built:1 CONTEXT\n";
        assert!(said.code == 1 && said.stdout.contains(command), "{what}: {said}");
        lath.ok(&["fsck", "--repair"]);
        assert!(lath.ok(&["fsck"]).starts_with("clean"), "{what}");
        assert_eq!(lath.id("built:1"), "", "{what}");
        lath.build_in("c", "built:1", DOCKERFILE, &epoch).success();
        assert_eq!(lath.id("built:1"), image, "{what}");
    }
    // A build does not make what it stands on.
    fs::remove_dir_all(layer_with(&lath, "bin/busybox")).unwrap();
    let said = lath.run(&["fsck"]);
    let commands = said.stdout.lines().filter(|line| line.contains("refs/"));
    assert!(commands.clone().count() == 2, "{said}");
    for line in commands {
        assert!(line.ends_with("mend: lath fsck --repair --from ARCHIVE"), "{said}");
    }
    lath.ok(&["fsck", "--repair", "--from", &lath.text("base.tar")]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    assert_eq!(lath.id("built:1"), image);
    assert_eq!(lath.shell("built:1", "cat /a /d/f"), "a\nfrom the context");
}
