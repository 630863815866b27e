//! Images on their way in and out: what other tools wrote is read, what lath writes they read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, bases, busybox_tar, layout_of, needs, tar_of};
use std::fs;
use std::path::PathBuf;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const IMAGE: &str = "FROM busybox\nRUN mkdir -p /d/e && echo one > /d/1 && ln /d/1 /d/hard && ln -s 1 /d/soft \
                     && chmod 4755 /d/1 && chown 1000:50 /d/e\nRUN rm /d/soft\nENV A=b\nCMD [\"cat\", \"/d/1\"]\n";

#[test]
fn what_is_saved_is_loaded_again_as_the_same_image() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("hub/x:1", IMAGE);
    let id = lath.id("hub/x:1");
    lath.ok(&["save", "-o", &lath.text("x.tar"), "hub/x:1"]);
    let other = Lath::new();
    let said = other.ok(&["load", "-i", &lath.text("x.tar")]);
    assert_eq!(said, "Loaded image: hub/x:1\n");
    assert_eq!(other.id("hub/x:1"), id);
    assert_eq!(other.ok(&["run", "--rm", "hub/x:1"]), "one\n");
    let script = "stat -c '%a %u:%g %h' /d/1 /d/hard /d/e; ls /d";
    let shown = other.shell("hub/x:1", script);
    assert_eq!(shown, "4755 0:0 2\n4755 0:0 2\n755 1000:50 2\n1\ne\nhard\n");
    // A second time nothing is new.
    let before = other.listing();
    other.ok(&["load", "-i", &lath.text("x.tar")]);
    let names = other.listing();
    assert_eq!(before.names().len(), names.names().len());
}

#[test]
fn save_and_load_work_in_a_pipe_and_with_gzip() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("gzip")]) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("hub/x", IMAGE);
    let line = format!(
        "LATH_ROOT={} {} save hub/x | gzip",
        lath.store().display(),
        harness::binary().display()
    );
    harness::host("sh", &["-c", &format!("{line} > {}", lath.text("x.tar.gz"))]);
    let other = Lath::new();
    let packed = fs::read(lath.path("x.tar.gz")).unwrap();
    let said = other.give(&["load"], &packed).success();
    assert_eq!(said.stdout, "Loaded image: hub/x:latest\n");
    assert_eq!(other.id("hub/x"), lath.id("hub/x"));
    let quiet = other.give(&["load", "-q"], &packed).success();
    assert!(quiet.stdout.lines().count() <= 1, "{quiet}");
}

#[test]
fn save_gives_the_same_bytes_twice_and_takes_several_images() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("a", IMAGE);
    lath.build("b", "FROM a\nRUN echo b > /b\n");
    for name in ["1.tar", "2.tar"] {
        lath.ok(&["save", "-o", &lath.text(name), "a", "b"]);
    }
    assert_eq!(fs::read(lath.path("1.tar")).unwrap(), fs::read(lath.path("2.tar")).unwrap());
    let other = Lath::new();
    other.ok(&["load", "-i", &lath.text("1.tar")]);
    assert_eq!((other.id("a"), other.id("b")), (lath.id("a"), lath.id("b")));
    assert_eq!(other.shell("b", "cat /d/1 /b"), "one\nb\n");
    assert!(lath.fails(&["save", "-o", &lath.text("no.tar"), "nosuch"]).contains("nosuch"));
    assert!(!lath.path("no.tar").exists(), "a save that failed leaves no file");
}

#[test]
fn skopeo_umoci_and_podman_read_what_is_saved() {
    let programs = ["skopeo", "umoci", "podman"].map(Need::Program);
    if !needs(&[HERE, &programs].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("hub/x:1", IMAGE);
    let tar = lath.text("x.tar");
    lath.ok(&["save", "-o", &tar, "hub/x:1"]);
    let index = harness::host("tar", &["-xOf", &tar, "index.json"]);
    // As docker save has it: the tag alone, and containerd's full name beside it.
    assert!(index.contains("\"org.opencontainers.image.ref.name\":\"1\""), "{index}");
    assert!(index.contains("\"io.containerd.image.name\":\"docker.io/hub/x:1\""), "{index}");
    // As a docker archive, as an OCI archive, and by way of a layout.
    let inspected = harness::host("skopeo", &["inspect", &format!("docker-archive:{tar}")]);
    assert!(inspected.contains("\"A=b\""), "{inspected}");
    let inspected = harness::host("skopeo", &["inspect", &format!("oci-archive:{tar}")]);
    assert!(inspected.contains("\"A=b\""), "{inspected}");
    let layout = format!("oci:{}:x", lath.text("layout"));
    harness::host(
        "skopeo",
        &["copy", "-q", "--insecure-policy", &format!("oci-archive:{tar}"), &layout],
    );
    let image = format!("{}:x", lath.text("layout"));
    harness::host("umoci", &["unpack", "--image", &image, &lath.text("bundle")]);
    let one = lath.path("bundle/rootfs/d/1");
    assert_eq!(fs::read_to_string(one).unwrap(), "one\n");
    assert!(!lath.path("bundle/rootfs/d/soft").exists(), "the whiteout was understood");

    let podman = |args: &[&str]| {
        let (root, run) = (lath.text("podman"), lath.text("podman-run"));
        let fixed = [
            "--root",
            &root,
            "--runroot",
            &run,
            "--storage-driver",
            "vfs",
            "--events-backend",
            "none",
        ];
        harness::host("podman", &[&fixed, args].concat())
    };
    let loaded = podman(&["load", "-q", "-i", &tar]);
    assert!(loaded.contains("hub/x:1"), "{loaded}");
    let id = lath.id("hub/x:1");
    let seen = podman(&["images", "-q", "--no-trunc"]);
    assert_eq!(seen.trim(), id, "the image id is the config's digest everywhere");
}

#[test]
fn what_skopeo_and_umoci_write_is_loaded() {
    if !needs(&[Need::Root, Need::Bases, Need::Program("skopeo"), Need::Program("umoci")]) {
        return;
    }
    let lath = Lath::new();
    let from = format!("oci-archive:{}", bases().join("busybox-amd64.oci.tar").display());
    for form in ["oci-archive", "docker-archive"] {
        let tar = lath.text(&format!("{form}.tar"));
        let to = format!("{form}:{tar}:hub/{form}:2");
        harness::host("skopeo", &["copy", "-q", "--insecure-policy", &from, &to]);
        lath.ok(&["load", "-i", &tar]);
        assert_eq!(lath.shell(&format!("hub/{form}:2"), "echo $0"), "sh\n");
    }
}

#[test]
fn every_base_image_is_loaded() {
    if !needs(&[Need::Root, Need::Bases]) {
        return;
    }
    let cases: &[(&str, &[&str])] = &[
        ("alpine-amd64.oci.tar", &["alpine:3.23", "alpine:latest"]),
        ("alpine-amd64.docker.tar", &["alpine:3.23", "alpine:latest"]),
        ("busybox-amd64.oci.tar", &["busybox:latest"]),
        ("busybox-amd64.docker.tar", &["busybox:latest"]),
        ("busybox-arm64.oci.tar", &["busybox:latest"]),
        ("busybox-armhf.oci.tar", &["busybox:latest"]),
        ("busybox-multi.oci.tar", &["busybox:latest"]),
        ("busybox-multi-flat.oci.tar", &["busybox:latest"]),
    ];
    for (file, names) in cases {
        let lath = Lath::with_base(file);
        for name in *names {
            assert!(lath.id(name).starts_with("sha256:"), "{name} of {file}");
        }
        if cfg!(target_arch = "x86_64") && !file.contains("-arm") {
            assert_eq!(
                lath.shell(names[0], "echo runs; stat -c %a /tmp"),
                "runs\n1777\n",
                "{file}"
            );
        }
    }
    let [oci, docker] = ["oci", "docker"].map(|form| {
        let lath = Lath::with_base(&format!("alpine-amd64.{form}.tar"));
        lath.id("alpine")
    });
    assert_eq!(oci, docker, "one image in two forms");
}

#[test]
fn load_then_save_gives_the_layers_of_every_writer_back() {
    if !needs(&[Need::Root, Need::Bases]) {
        return;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(bases().join("archives"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "tar"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let lath = Lath::new();
        let said = lath.run(&["load", "-i", file.to_str().unwrap()]);
        let features = lath.ok(&["version", "--format", "{{.Client.Features}}"]);
        if file.to_str().unwrap().contains("zstd") && !features.contains("zstd") {
            // The binary was built without that reader; then it says so.
            assert!(said.failure(1).contains("this lath was built without zstd"));
            continue;
        }
        let said = said.success();
        let name = said.stdout.trim().rsplit(' ').next().unwrap().to_owned();
        let diff_ids = |lath: &Lath, name: &str| {
            let one = lath.inspect(name);
            one.get("RootFS").and_then(|root| root.get("Layers")).unwrap().to_strings()
        };
        lath.ok(&["save", "-o", &lath.text("again.tar"), &name]);
        let other = Lath::new();
        other.ok(&["load", "-i", &lath.text("again.tar")]);
        assert_eq!(diff_ids(&other, &name), diff_ids(&lath, &name), "{}", file.display());
        assert_eq!(other.id(&name), lath.id(&name), "{}", file.display());
        if cfg!(target_arch = "x86_64") {
            let script = "cat /opt/d/1; stat -c '%u:%g %a' /opt/d/1; ls -a /opt/d";
            let args = ["run", "--rm", "-u", "0", "--entrypoint", "sh", &name, "-c", script];
            let shown = other.ok(&args);
            assert!(shown.starts_with("one\n0:0 4755\n"), "{}: {shown}", file.display());
            assert!(shown.contains("hard") && shown.contains("fifo"), "{shown}");
            assert!(!shown.contains("soft") && !shown.contains(".wh."), "{shown}");
        }
    }
}

#[test]
fn export_and_import_are_one_root_as_a_tar() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("root.tar", busybox_tar());
    lath.ok(&["import", &lath.text("root.tar"), "by-file:1"]);
    assert_eq!(lath.shell("by-file:1", "id -u app"), "1000\n");
    let said = lath.give(&["import", "-"], &busybox_tar()).success();
    let id = said.stdout.trim();
    assert!(id.starts_with("sha256:"), "an image without a name has its id: {said}");
    assert_eq!(lath.shell(id, "echo it"), "it\n");
    lath.write("cut.tar", "no tar");
    let said = lath.fails(&["import", "cut.tar"]);
    assert!(said.contains("import \"cut.tar\": "), "{said}");
    let changed = ["import", "-c", "ENV A=b", "--change", "CMD [\"pwd\"]", "root.tar", "changed"];
    lath.ok(&changed);
    assert_eq!(lath.ok(&["run", "--rm", "changed"]), "/\n");
    assert_eq!(lath.env("changed"), ["A=b"]);
}

#[test]
fn hostile_and_broken_archives_are_refused_and_leave_nothing() {
    if !needs(HERE) {
        return;
    }
    let layer = |members: &[Member<'_>]| layout_of("hub/bad:1", &[tar_of(members)]);
    let out = "/tmp/lath-test-escaped";
    let mut cut = layout_of("hub/bad:1", &[busybox_tar()]);
    cut.truncate(cut.len() / 2);
    let mut wrong = layout_of("hub/bad:1", &[tar_of(&[Member::File("a", "content")])]);
    let at = wrong.windows(7).position(|bytes| bytes == b"content").unwrap();
    wrong[at] = b'C';
    let cases: &[(&str, Vec<u8>)] = &[
        ("not a tar", b"nonsense".repeat(200)),
        ("empty", Vec::from([0; 1024])),
        ("cut off", cut),
        ("content that is not its digest", wrong),
        ("..", layer(&[Member::File("../../../../../../tmp/lath-test-escaped", "x")])),
        ("hard link out", layer(&[Member::Hard("a", "../../../../../../etc/passwd")])),
        ("link to a file that is not there", layer(&[Member::Hard("a", "b")])),
    ];
    for (what, archive) in cases {
        let lath = Lath::with_busybox();
        let before = lath.listing().names().len();
        let said = lath.give(&["load"], archive).failure(1);
        assert!(said.lines().count() <= 4, "{what}: {said}");
        assert!(said.contains("load standard input: "), "{what}: {said}");
        assert_eq!(lath.ok(&["images", "-q"]).lines().count(), 1, "{what}");
        assert_eq!(lath.listing().names().len(), before, "{what} left something");
        assert!(!fs::exists(out).unwrap(), "{what} went out");
    }
}

#[test]
fn links_in_a_layer_lead_nowhere_outside_of_it() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let outside = lath.write("outside/f", "untouched");
    let folder = lath.text("outside");
    let lower = tar_of(&[
        Member::Soft("absolute", &folder),
        Member::Soft("up", "../../../../../../../../../../../../tmp"),
        Member::File("etc-passwd", "x"),
    ]);
    let upper = tar_of(&[
        Member::File("absolute/f", "through an absolute link"),
        Member::File("up/lath-test-escaped", "through a relative link"),
        Member::Hard("absolute/g", "etc-passwd"),
    ]);
    let archive = layout_of("hub/links:1", &[busybox_tar(), lower, upper]);
    let said = lath.give(&["load"], &archive);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "{said}");
    assert!(!fs::exists("/tmp/lath-test-escaped").unwrap(), "{said}");
    assert_eq!(fs::read_dir(lath.path("outside")).unwrap().count(), 1, "{said}");
    if said.code == 0 {
        // Followed inside of the root, as docker does.
        assert_eq!(
            lath.shell("hub/links:1", "cat /tmp/lath-test-escaped"),
            "through a relative link"
        );
    } else {
        said.failure(1);
    }
}
