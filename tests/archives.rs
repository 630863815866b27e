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
use lath::image::json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The one image of an archive, as tar and this test see it: the digest of its config, and the plain tars
/// of its layers.
fn image_in(archive: &Path, folder: &Path) -> (String, Vec<Vec<u8>>) {
    fs::create_dir_all(folder).unwrap();
    harness::host("tar", &["-xf", archive.to_str().unwrap(), "-C", folder.to_str().unwrap()]);
    let json = |path: &Path| Value::parse(&fs::read(path).unwrap()).unwrap();
    let first = |value: &Value| value.as_array().unwrap()[0].clone();
    let text = |value: Option<&Value>| value.unwrap().as_str().unwrap().to_owned();
    let (config, layers): (PathBuf, Vec<PathBuf>) = if folder.join("manifest.json").exists() {
        let image = first(&json(&folder.join("manifest.json")));
        let layers = image.get("Layers").unwrap().to_strings();
        let layers = layers.iter().map(|layer| folder.join(layer)).collect();
        (folder.join(text(image.get("Config"))), layers)
    } else {
        let blob =
            |value: &Value| folder.join("blobs").join(text(value.get("digest")).replace(':', "/"));
        let mut at = json(&folder.join("index.json"));
        while let Some(list) = at.get("manifests") {
            at = json(&blob(&first(list)));
        }
        let layers = at.get("layers").unwrap().as_array().unwrap().iter().map(blob).collect();
        (blob(at.get("config").unwrap()), layers)
    };
    let tar = |path: &PathBuf| match fs::read(path).unwrap() {
        packed if packed.starts_with(&[0x1f, 0x8b]) => unpacked("gzip", &packed),
        packed if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => unpacked("zstd", &packed),
        plain => plain,
    };
    (harness::hex(&fs::read(config).unwrap()), layers.iter().map(tar).collect())
}

/// What gzip or zstd makes of bytes.
fn unpacked(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

/// Of an image that may have no name.
fn id_of(lath: &Lath, image: &str) -> String {
    lath.inspect(image).get("Id").and_then(Value::as_str).unwrap().to_owned()
}

/// What the archive's programs have written, and what lath writes after it has loaded it.
fn comes_back(archive: &Path, what: &str) -> Option<(Lath, String)> {
    let lath = Lath::new();
    let said = lath.run(&["load", "-i", archive.to_str().unwrap()]);
    let features = lath.ok(&["version", "--format", "{{.Client.Features}}"]);
    if what.contains("zstd") && !features.contains("zstd") {
        // The binary was built without that reader; then it says so.
        assert!(said.failure(1).contains("this lath was built without zstd"));
        return None;
    }
    let said = said.success();
    let name = said.stdout.trim().rsplit(' ').next().unwrap().to_owned();
    lath.ok(&["save", "-o", &lath.text("again.tar"), &name]);
    let (config, layers) = image_in(archive, &lath.path("theirs"));
    let (again, ours) = image_in(&lath.path("again.tar"), &lath.path("ours"));
    assert_eq!(config, again, "{what}: the image id");
    assert_eq!(id_of(&lath, &name), format!("sha256:{config}"), "{what}");
    assert_eq!(layers.len(), ours.len(), "{what}");
    for (number, (theirs, ours)) in layers.iter().zip(&ours).enumerate() {
        assert!(
            theirs == ours,
            "{what}: layer {number}: {} and {} bytes",
            theirs.len(),
            ours.len()
        );
    }
    // Plain layers, by the names of their digests.
    let blobs = lath.path("ours/blobs/sha256");
    for layer in &layers {
        assert!(blobs.join(harness::hex(layer)).exists(), "{what}: a layer's digest");
    }
    Some((lath, name))
}

#[test]
fn load_then_save_gives_the_layers_of_every_writer_back() {
    if !needs(&[Need::Root, Need::Bases, Need::Program("skopeo")]) {
        return;
    }
    let own = Lath::new();
    let there = |file: &str| bases().join("archives").join(file);
    let mut files: Vec<PathBuf> = [
        "buildah-docker.tar",
        "buildah-oci.tar",
        "buildkit-docker.tar",
        "buildkit-oci-gzip.tar",
        "buildkit-oci-plain.tar",
        "buildkit-oci-zstd.tar",
        "docker-20.10-save.tar",
        "kaniko-docker.tar",
        "umoci-layout.tar",
    ]
    .map(there)
    .into();
    // skopeo writes the same in forms of its own.
    let from = format!("docker-archive:{}", there("docker-20.10-save.tar").display());
    fs::create_dir_all(own.path(".")).unwrap();
    for form in ["docker-archive", "oci-archive"] {
        let tar = own.path(&format!("skopeo-{form}.tar"));
        let to = format!("{form}:{}:hub/skopeo:1", tar.display());
        harness::host("skopeo", &["copy", "-q", "--insecure-policy", &from, &to]);
        files.push(tar);
    }
    for file in files {
        let what = file.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((lath, name)) = comes_back(&file, &what) else { continue };
        let other = Lath::new();
        other.ok(&["load", "-i", &lath.text("again.tar")]);
        assert_eq!(id_of(&other, &name), id_of(&lath, &name), "{what}");
        if cfg!(target_arch = "x86_64") {
            let script = "cat /opt/d/1; stat -c '%u:%g %a' /opt/d/1; ls -a /opt/d";
            let args = ["run", "--rm", "-u", "0", "--entrypoint", "sh", &name, "-c", script];
            let shown = other.ok(&args);
            assert!(shown.starts_with("one\n0:0 4755\n"), "{what}: {shown}");
            assert!(shown.contains("hard") && shown.contains("fifo"), "{shown}");
            assert!(!shown.contains("soft") && !shown.contains(".wh."), "{shown}");
        }
    }
}

/// A header of the old kind, without a magic, or any other, as it stands; its checksum is made.
fn header(name: &str, kind: u8, size: usize, change: impl Fn(&mut [u8; 512])) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "14000000000\0");
    put(148, "        ");
    block[156] = kind;
    change(&mut block);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[test]
fn the_very_bytes_of_any_tar_come_back() {
    if !needs(&[Need::Root, Need::Program("tar")]) {
        return;
    }
    let own = Lath::new();
    let script = "mkdir -p t/d/empty t/$(printf 'n%.0s' $(seq 90)) && cd t && echo one >d/1 && ln d/1 d/hard \
        && ln -s ../$(printf 'l%.0s' $(seq 150)) d/soft && mkfifo d/fifo && echo x >'d/a\tb \\ é' \
        && chmod 4751 d/1 && chown 3000000:70 d/empty && touch -d '1969-12-31 23:00 UTC' d/empty \
        && touch -d '@1500000000.123456789' d/1 && head -c 70000 /dev/urandom >d/large";
    fs::create_dir_all(own.path(".")).unwrap();
    harness::host("sh", &["-c", &format!("cd {} && {script}", own.text("."))]);
    harness::host(
        "sh",
        &[
            "-c",
            &format!(
                "cd {}/t && echo deep >$(printf 'n%.0s' $(seq 90))/$(printf 'f%.0s' $(seq 90))",
                own.text(".")
            ),
        ],
    );
    let mut tars: Vec<(String, Vec<u8>)> = Vec::new();
    let ways: &[&[&str]] = &[
        &["--format=gnu", "."],
        &["--format=gnu", "-b", "1", "d", "d/1"],
        &["--format=gnu", "-b", "63", "--sort=name", "."],
        &["--format=oldgnu", "."],
        &["--format=pax", "--xattrs", "."],
        &["--format=pax", "--pax-option=globexthdr.name=g,comment=a comment", "."],
        &["--format=pax", "--pax-option=VENDOR.key:=of a kind,delete=atime", "."],
        &["--format=ustar", "--owner=1", "--mtime=@0", "--exclude=./d/soft", "."],
        &["--format=v7", "--owner=1", "--mtime=@0", "--exclude=d/soft", "--exclude=d/fifo", "d"],
        &["--format=gnu", "--hard-dereference", "-P", "d", "/proc/self/cmdline"],
    ];
    for way in ways {
        let tar = own.text("t.tar");
        harness::host("tar", &[&["-C", &own.text("t"), "-cf", &tar], *way].concat());
        tars.push((way.join(" "), fs::read(tar).unwrap()));
    }
    let plain = tars[0].1.clone();
    let end = plain.len() - plain.iter().rev().take_while(|byte| **byte == 0).count();
    let end = end.next_multiple_of(512);
    tars.push(("no end".into(), plain[..end].to_vec()));
    tars.push(("half an end".into(), [&plain[..end], &[0; 512]].concat()));
    tars.push(("much of an end".into(), [&plain[..], &vec![0; 3 << 20]].concat()));
    tars.push(("an end that is no block".into(), [&plain[..end], &[0; 1024 + 77]].concat()));
    tars.push(("rubbish after it".into(), [&plain[..], b"rubbish \0 of any length"].concat()));
    tars.push(("another tar after it".into(), [&plain[..], &plain[..]].concat()));
    let old = header("old", 0, 3, |_| {});
    let folder = header("old.d/", 0, 0, |_| {});
    let spaces = header("spaces", b'0', 3, |block| {
        block[100..108].copy_from_slice(b"   644 \0");
        block[124..136].copy_from_slice(b"          3 ");
        block[257..265].copy_from_slice(b"ustar  \0");
    });
    let prefixed = header("name", b'0', 3, |block| {
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[345..352].copy_from_slice(b"old.d/p");
        block[500..512].copy_from_slice(b"not of ustar");
    });
    let twice = header("./old", b'0', 3, |_| {});
    let pax = b"19 comment=nothing\n15 VENDOR.x=\0y\n15 path=of pax\n";
    let extended = header("any/name at all", b'x', pax.len(), |block| block[500] = 7);
    let content = |text: &[u8]| {
        let mut block = text.to_vec();
        // What is behind a file's end is anybody's.
        block.resize(512, b'#');
        block
    };
    let three = content(b"abc");
    let by_hand: &[&[&[u8]]] = &[
        &[&old, &three, &folder, &spaces, &three, &prefixed, &three],
        &[&old, &three, &twice, &content(b"xyz"), &old, &three],
        &[&extended, &content(pax), &old, &three],
    ];
    for (number, blocks) in by_hand.iter().enumerate() {
        tars.push((format!("by hand {number}"), [&blocks.concat()[..], &[0; 1024]].concat()));
    }
    for (what, tar) in tars {
        let lath = Lath::new();
        let layout = lath.write("layout.tar", layout_of("hub/odd:1", &[tar]));
        comes_back(&layout, &what);
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
