//! Read-only stores below the writable one (`LATH_STORES`): used where they lie, never written, and
//! named when they are not there.

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
    Lath, Listing, Member, Need, Output, Shelf, busybox_tar, finish, host, layout_of, needs, tar_of,
};
use std::fs;
use std::path::Path;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const SQUASHED: &[Need] = &[Need::Root, Need::Busybox, Need::Program("mksquashfs")];

/// Steps with a whiteout, an opaque directory, a link of two names and files from the context.
const PREPARED: &str = "FROM base\nRUN rm /etc/group && rm -rf /gone && mkdir /gone && echo 1 > /gone/new\n\
                        RUN echo a > /a && ln /a /b && chown 3:4 /a\nCOPY d /d/\nLABEL made=on-workstation\n";

/// A mount; taken away when dropped, so before its lath.
struct Mounted(String);

impl Mounted {
    fn new(lath: &Lath, name: &str, args: &[&str]) -> Mounted {
        let place = lath.text(name);
        fs::create_dir_all(&place).unwrap();
        host("mount", &[args, &[&place]].concat());
        Mounted(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

/// The archive of `base`: busybox, and a layer over it.
fn base() -> Vec<u8> {
    let more = [
        Member::File("gone/old", "old"),
        Member::File("etc/group", "g"),
        Member::File("etc/one", "one"),
        Member::File("etc/.wh.passwd", ""),
    ];
    layout_of("base:latest", &[busybox_tar(), tar_of(&more)])
}

/// A call with another store, and others below it.
fn with(lath: &Lath, root: &str, below: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = lath.command(args);
    finish(command.env("LATH_ROOT", root).env("LATH_STORES", below), input)
}

/// Makes the store of a workstation in the folder `name`: `base` and `prepared`.
fn prepare(lath: &Lath, name: &str) -> String {
    let root = lath.text(name);
    with(lath, &root, "", &["load"], &base()).success();
    lath.write("p/d/f", "from the context");
    lath.write("p/Dockerfile", PREPARED);
    with(lath, &root, "", &["build", "-t", "prepared", "p"], b"").success();
    root
}

/// How many layers a store has of its own.
fn layers(lath: &Lath) -> usize {
    fs::read_dir(lath.store().join("layers")).unwrap().count()
}

/// The store of a test's lath with one store below it.
struct Device<'a> {
    lath: &'a Lath,
    below: String,
}

impl Device<'_> {
    fn run(&self, args: &[&str]) -> Output {
        finish(self.lath.command(args).env("LATH_STORES", &self.below), &[])
    }

    fn ok(&self, args: &[&str]) -> String {
        self.run(args).success().stdout
    }

    fn build(&self, tag: &str, dockerfile: &str) -> Output {
        self.lath.write("b/Dockerfile", dockerfile);
        self.run(&["build", "-t", tag, "b"]).success()
    }
}

/// What `run` shows of the prepared image, and of all that is in it.
const SHOW: &str = "cat /a /d/f /etc/one; ls /gone /etc; stat -c '%u:%g %h' /a";
const SHOWN: &str =
    "a\nfrom the contextone/etc:\nhostname\nhosts\none\nresolv.conf\n\n/gone:\nnew\n3:4 2\n";

#[test]
fn a_store_in_a_squashfs_is_used_in_place_and_nothing_of_it_is_written_again() {
    if !needs(SQUASHED) {
        return;
    }
    for driver in ["overlay", "copy"] {
        let lath = Lath::new();
        let station = prepare(&lath, "station");
        let image = lath.text("firmware.sqfs");
        host("mksquashfs", &[&station, &image, "-quiet", "-no-progress"]);
        let mounted = Mounted::new(&lath, "ro", &["-o", "loop,ro", &image]);
        let device = Device { lath: &lath, below: mounted.0.clone() };
        let run = |args: &[&str]| device.ok(&[&["--driver", driver], args].concat());
        let ids = ["base", "prepared"].map(|name| {
            let id = with(&lath, &station, "", &["images", "-q", "--no-trunc", name], b"");
            id.success().stdout
        });
        for (name, id) in ["base", "prepared"].into_iter().zip(&ids) {
            assert_eq!(&run(&["images", "-q", "--no-trunc", name]), id);
        }
        assert_eq!(run(&["run", "--rm", "prepared", "sh", "-c", SHOW]), SHOWN, "{driver}");
        for words in [&["inspect", "prepared"][..], &["history", "--no-trunc", "prepared"]] {
            let there = with(&lath, &station, "", words, b"").success().stdout;
            // Ages may differ by a second; what is inspected has none.
            let columns = |text: &str| text.lines().count();
            match words[0] {
                "inspect" => assert_eq!(run(words), there),
                _ => assert_eq!(columns(&run(words)), columns(&there)),
            }
        }

        // What was built there is built here, and even the name is there.
        let before = lath.listing();
        let again = device.run(&["--driver", driver, "build", "-t", "prepared", "p"]).success();
        assert_eq!(again.cached().len(), 4, "{again}");
        let context =
            |path: &&Path| !path.strip_prefix(lath.store()).unwrap().starts_with("context");
        let names = |listing: &Listing| {
            let names = listing.names();
            names.into_iter().filter(context).map(Path::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(&before), names(&lath.listing()));
        // A second time nothing at all is touched.
        let before = lath.listing();
        device.run(&["--driver", driver, "build", "-t", "prepared", "p"]).success();
        before.assert_same(&lath.listing());
        assert_eq!(layers(&lath), 0);

        // The same archive again, under the same and under another name.
        finish(lath.command(&["load"]).env("LATH_STORES", &device.below), &base()).success();
        run(&["tag", "prepared", "mine"]);
        assert_eq!(layers(&lath), 0);
        assert_eq!(run(&["images", "-q", "--no-trunc", "mine"]), ids[1]);

        // Steps on top are the only layers here; files come out of both.
        lath.write(
            "b/Dockerfile",
            "FROM prepared\nRUN echo more >> /a && rm -rf /d /etc/one\n\
             FROM base\nCOPY --from=prepared /a /gone /copied/\nCOPY --from=0 /a /mine\n\
             RUN --mount=from=prepared,target=/m cat /m/d/f > /f\n",
        );
        device.run(&["--driver", driver, "build", "-t", "app", "b"]).success();
        assert_eq!(layers(&lath), 4, "one of the first stage, three of the second");
        let show = "cat /copied/a /mine /f; ls /copied; ls /etc/one /gone";
        assert_eq!(
            run(&["run", "--rm", "app", "sh", "-c", show]),
            "a\na\nmore\nfrom the contexta\nnew\n/etc/one\n\n/gone:\nold\n",
        );
        device.run(&["--driver", driver, "build", "--squash", "-t", "flat", "b"]).success();
        assert!(run(&["run", "--rm", "flat", "cat", "/etc/one"]).contains("one"));

        // All of an image is in an archive of it, wherever it lay.
        run(&["save", "-o", "app.tar", "app", "prepared"]);
        let other = Lath::new();
        other.ok(&["load", "-i", &lath.text("app.tar")]);
        assert_eq!(other.shell("prepared", SHOW), SHOWN);
        assert_eq!(other.id("app"), run(&["images", "-q", "--no-trunc", "app"]).trim());

        let said = run(&["fsck"]);
        assert!(said.starts_with("clean"), "{said}");
        let df = run(&["df", "--format", "{{.Type}} {{.TotalCount}}"]);
        assert!(df.contains("Read-only Stores 1\n"), "{df}");
        assert!(run(&["info"]).contains(&format!("Read-only Stores: {}\n", device.below)));
    }
}

#[test]
fn nothing_is_ever_written_into_a_store_below_even_where_it_could_be() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let device = Device { lath: &lath, below: station.clone() };
    let before = Listing::of(Path::new(&station));
    for words in [
        &["images", "-a"][..],
        &["run", "--rm", "prepared", "true"],
        &["build", "-t", "again", "p"],
        &["build", "--no-cache", "-t", "anew", "p"],
        &["build", "--squash", "-t", "flat", "p"],
        &["tag", "base", "other"],
        &["df", "-v"],
        &["fsck"],
        &["fsck", "--repair"],
        &["rmi", "again", "other"],
        &["prune", "-af"],
        &["builder", "prune", "-af"],
        &["gc"],
    ] {
        device.run(words).success();
        before.assert_same(&Listing::of(Path::new(&station)));
    }
    let names = device.ok(&["images", "--format", "{{.Repository}}"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["prepared", "base"]);
    assert_eq!(layers(&lath), 0, "what was built stands on layers that stayed");
    assert_eq!(fs::read_dir(lath.store().join("chains")).unwrap().count(), 0);

    // A limit is for the writable store, which has room.
    lath.write("b/Dockerfile", "FROM prepared\nRUN head -c 3000000 /dev/zero > /x\n");
    let mut command = lath.command(&["build", "-t", "x", "b"]);
    command.env("LATH_STORES", &station).env("LATH_STORE_LIMIT", "20MB");
    finish(&mut command, &[]).success();
    before.assert_same(&Listing::of(Path::new(&station)));
    // A store is never below itself: this is how it is prepared where the variable is set.
    with(&lath, &station, &station, &["rmi", "prepared"], b"").success();
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_what_to_do() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let says = |below: &str, words: [&str; 2]| {
        let said = with(&lath, lath.store().to_str().unwrap(), below, &["images"], b"").failure(1);
        for word in [below, "LATH_STORES"].into_iter().chain(words) {
            assert!(said.contains(word), "{below}: {said}");
        }
    };
    says(&lath.text("nowhere"), ["No such file", "mount it first"]);
    fs::create_dir(lath.path("empty")).unwrap();
    says(&lath.text("empty"), ["it is no store", "mount it first"]);
    lath.write("file", "");
    says(&lath.text("file"), ["Not a directory", "take it out"]);
    let version = lath.path("station/VERSION");
    let whole = fs::read(&version).unwrap();
    fs::write(&version, "lath 2\n").unwrap();
    says(&station, ["has format 2", "this lath knows 1"]);
    fs::write(&version, &whole[..whole.len() - 3]).unwrap();
    says(&station, ["it is no store: it has no whole VERSION", "take it out"]);
    fs::write(&version, whole).unwrap();
    host("chown", &["1000:1000", &station]);
    says(&station, ["belongs to another user", "make it again as root"]);
    host("chown", &["0:0", &station]);
    // Nothing between two colons is nothing; of two stores each is looked into.
    let both = format!(":{station}::{}:", lath.text("second"));
    with(&lath, &lath.text("second"), "", &["import", "-", "second"], &busybox_tar()).success();
    let own = lath.store();
    let listed = with(&lath, own.to_str().unwrap(), &both, &["images", "-q"], b"").success();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed}");
    with(&lath, own.to_str().unwrap(), &both, &["run", "--rm", "second", "true"], b"").success();
}

#[test]
fn names_here_hide_those_below_and_those_stay() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let device = Device { lath: &lath, below: station.clone() };
    let id = |name: &str| device.ok(&["images", "-q", "--no-trunc", name]).trim().to_owned();
    let (base, prepared) = (id("base"), id("prepared"));
    for words in [["rmi", "base"], ["rmi", &base], ["rmi", "-f"]] {
        let words = if words[1] == "-f" { vec!["rmi", "-f", &base] } else { words.to_vec() };
        let said = device.run(&words).failure(1);
        assert!(said.contains("is in a read-only store, one of LATH_STORES"), "{said}");
    }
    // Another image under the name, and then the one below again.
    device.build("base", "FROM prepared\nRUN echo other > /other\n");
    assert_ne!(id("base"), base);
    assert_eq!(device.ok(&["run", "--rm", "base", "cat", "/other"]), "other\n");
    let said = device.ok(&["rmi", "base"]);
    assert!(said.starts_with("Untagged: base:latest\nDeleted: "), "{said}");
    assert_eq!((id("base"), layers(&lath)), (base, 0));
    // One more name of an image below, and then no more.
    device.ok(&["tag", "prepared", "mine:1"]);
    assert_eq!(id("mine:1"), prepared);
    assert_eq!(device.ok(&["rmi", "mine:1"]), "Untagged: mine:1\n");
    let own = ["images", "chains", "refs"].map(|dir| lath.store().join(dir));
    assert!(own.iter().all(|dir| fs::read_dir(dir).unwrap().count() == 0));
    // A step of below as an image.
    let step = device.ok(&["history", "-q", "--no-trunc", "prepared"]);
    let step = step.lines().nth(1).unwrap();
    device.ok(&["tag", step, "step"]);
    assert_eq!(device.ok(&["run", "--rm", "step", "cat", "/d/f"]), "from the context");
    assert!(device.run(&["rmi", step]).code == 0);
}

#[test]
fn without_its_store_an_image_says_what_it_lacks_and_nothing_is_lost() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let device = Device { lath: &lath, below: station.clone() };
    device.build("app", "FROM prepared\nRUN echo app > /app\n");
    device.ok(&["tag", "base", "named"]);
    device.ok(&["run", "--rm", "app", "true"]);
    let whole = lath.listing();

    let names = lath.ok(&["images", "--format", "{{.Repository}}"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["app", "named"]);
    let lacks = |output: &Output, code: i32| {
        let place = format!("it was in {station}, and LATH_STORES is \"\"");
        assert!(output.code == code && output.stderr.contains(&place), "{output}");
    };
    lath.write("b/Dockerfile", "FROM app\nRUN true\n");
    lacks(&lath.run(&["run", "--rm", "app", "true"]), 125);
    lacks(&lath.run(&["build", "b"]), 1);
    lacks(&lath.run(&["save", "-o", "x.tar", "named"]), 1);
    let said = lath.run(&["fsck"]).success().stdout;
    let note = format!("note: LATH_STORES: expected the store {station:?}, ");
    assert!(said.starts_with(&note) && said.contains(&format!("mend: LATH_STORES={station}\n")));
    assert!(said.ends_with("clean: 2 images, 1 layers, 1 steps, 2 cache records\n"), "{said}");
    lath.ok(&["fsck", "--repair"]);
    lath.ok(&["gc"]);
    lath.ok(&["tag", "app", "again"]);
    lath.ok(&["rmi", "again"]);
    assert_eq!(whole.names(), lath.listing().names());
    assert_eq!(device.ok(&["run", "--rm", "app", "cat", "/app", "/a"]), "app\na\n");

    // An archive brings back what is missing, and what stands on it works too.
    lath.give(&["load"], &base()).success();
    assert_eq!(layers(&lath), 3);
    lath.ok(&["run", "--rm", "named", "true"]);
    lacks(&lath.run(&["run", "--rm", "app", "true"]), 125);
    device.ok(&["save", "-o", "app.tar", "app"]);
    lath.ok(&["load", "-i", "app.tar"]);
    assert_eq!(lath.ok(&["run", "--rm", "app", "cat", "/app", "/a"]), "app\na\n");
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
}

#[test]
fn a_store_that_has_lost_a_layer_is_told_from_one_that_is_not_there() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let device = Device { lath: &lath, below: station.clone() };
    device.build("app", "FROM prepared\nRUN echo app > /app\n");
    device.ok(&["tag", "base", "named"]);
    // The next firmware has the base alone.
    with(&lath, &station, "", &["rmi", "prepared"], b"").success();
    let said = device.run(&["run", "--rm", "app", "true"]).failure(125);
    assert!(
        said.contains(&format!("it was in {station}, and LATH_STORES is {station:?}")),
        "{said}"
    );
    let said = device.run(&["fsck"]);
    assert!(said.code == 1 && said.stdout.contains("refs/docker.io%library%app/"), "{said}");
    device.ok(&["fsck", "--repair"]);
    assert!(device.ok(&["fsck"]).starts_with("clean"));
    let names = device.ok(&["images", "--format", "{{.Repository}}"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["base", "named"]);
    device.ok(&["run", "--rm", "named", "true"]);
}

#[test]
fn fsck_takes_from_a_store_below_what_is_damaged_here() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let station = prepare(&lath, "station");
    let device = Device { lath: &lath, below: station };
    let fill = || {
        drop(fs::remove_dir_all(lath.store()));
        lath.give(&["load"], &base()).success();
        lath.build("app", "FROM base\nRUN echo app > /app\n");
    };
    let one_in = |dir: &str, wanted: &dyn Fn(&Path) -> bool| {
        let dir = fs::read_dir(lath.store().join(dir)).unwrap();
        dir.map(|entry| entry.unwrap().path()).find(|path| wanted(path)).unwrap()
    };
    type Damage<'a> = &'a dyn Fn() -> std::path::PathBuf;
    let config = || {
        let id = lath.id("base");
        lath.store().join("images").join(&id[7..])
    };
    let content: Damage<'_> = &|| {
        let layer = one_in("layers", &|layer| layer.join("diff/etc/one").exists());
        fs::write(layer.join("diff/etc/one"), "two").unwrap();
        layer
    };
    let gone: Damage<'_> = &|| {
        let layer = one_in("layers", &|layer| layer.join("diff/etc/one").exists());
        fs::remove_dir_all(&layer).unwrap();
        lath.store().join("chains")
    };
    let chains: Damage<'_> = &|| {
        let layers = fs::read_dir(lath.store().join("layers")).unwrap();
        layers.for_each(|layer| fs::remove_dir_all(layer.unwrap().path()).unwrap());
        fs::remove_dir_all(lath.store().join("chains")).unwrap();
        lath.store().join("chains")
    };
    let text: Damage<'_> = &|| {
        fs::write(config(), "{}").unwrap();
        config()
    };
    for (what, damage, loses_app) in [
        ("content", content, false),
        ("gone", gone, false),
        ("chains", chains, true),
        ("text", text, false),
    ] {
        fill();
        let named = damage();
        let named = named.file_name().unwrap().to_str().unwrap();
        let said = device.run(&["fsck"]);
        assert!(said.code == 1 && said.stdout.contains(named), "{what}: {said}");
        let app = said.stdout.contains("%app/");
        assert_eq!(app, loses_app, "{what}: {said}");
        device.ok(&["fsck", "--repair"]);
        assert!(device.ok(&["fsck"]).starts_with("clean"), "{what}");
        assert_eq!(device.ok(&["run", "--rm", "base", "cat", "/etc/one"]), "one", "{what}");
        let ran = device.run(&["run", "--rm", "app", "cat", "/app"]);
        assert_eq!(ran.code == 0, !loses_app, "{what}: {ran}");
    }
    // Without the store it is lost, as ever.
    fill();
    content();
    lath.ok(&["fsck", "--repair"]);
    assert!(lath.ok(&["images", "-q"]).is_empty());
}

#[test]
fn stores_whose_file_systems_hold_marks_otherwise_go_together() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let usual = prepare(&lath, "usual");
    // On an overlayfs marks are names.
    for dir in ["lower", "upper", "work"] {
        fs::create_dir(lath.path(dir)).unwrap();
    }
    let [lower, upper, work] = ["lower", "upper", "work"].map(|dir| lath.text(dir));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mounted = Mounted::new(&lath, "over", &["-t", "overlay", "-o", &options, "none"]);
    let named = format!("{}/store", mounted.0);
    let by_names = prepare(&lath, "over/other");
    assert!(fs::read_to_string(format!("{by_names}/VERSION")).unwrap().contains("names"));
    lath.write(
        "b/Dockerfile",
        "FROM prepared\nRUN rm /a /gone/new && rm -rf /d && mkdir /d && echo 2 > /d/two\n",
    );
    let show = "ls /a /b /gone /d /etc; cat /d/two";
    let own = lath.store();
    for (root, below) in [(named.as_str(), &usual), (own.to_str().unwrap(), &by_names)] {
        let run = |args: &[&str]| with(&lath, root, below, args, b"");
        assert_eq!(run(&["run", "--rm", "prepared", "sh", "-c", SHOW]).success().stdout, SHOWN);
        run(&["build", "-t", "app", "b"]).success();
        run(&["build", "--squash", "-t", "flat", "b"]).success();
        run(&["save", "-o", "app.tar", "app", "flat"]).success();
        assert!(run(&["fsck"]).success().stdout.starts_with("clean"));
        let other = Lath::new();
        other.ok(&["load", "-i", &lath.text("app.tar")]);
        for image in ["app", "flat"] {
            let there = other.run(&["run", "--rm", image, "sh", "-c", show]);
            let here = run(&["run", "--rm", image, "sh", "-c", show]);
            assert_eq!(here.stdout, there.stdout, "{image} on {root}");
            assert!(here.stdout.contains("two") && here.stderr.contains("/a"), "{here}");
        }
    }
}

#[test]
fn a_pull_fetches_no_layer_that_a_store_below_has() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("gzip")]) {
        return;
    }
    let lath = Lath::new();
    let station = lath.text("station");
    let (low, high) = (busybox_tar(), tar_of(&[Member::File("high", "1")]));
    let archive = layout_of("base:latest", std::slice::from_ref(&low));
    with(&lath, &station, "", &["load"], &archive).success();
    let web = Shelf::of(&[low, high]).serve();
    let name = format!("127.0.0.1:{}/hub/x", web.port());
    let device = Device { lath: &lath, below: station.clone() };
    device.ok(&["pull", &name]);
    let fetched = |web: &harness::Web| {
        let asked = web.take();
        asked.iter().filter(|asked| asked.target().contains("/blobs/")).count()
    };
    assert_eq!((fetched(&web), layers(&lath)), (2, 1), "the config and one layer");
    assert_eq!(device.ok(&["run", "--rm", &name, "cat", "/high"]), "1");
    // Without the store the same name gets what it lacks.
    lath.ok(&["pull", &name]);
    assert_eq!(layers(&lath), 2);
    assert_eq!(lath.ok(&["run", "--rm", &name, "cat", "/high"]), "1");
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
}
