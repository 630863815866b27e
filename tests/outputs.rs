//! Where a build's result goes: files, tars, archives, metadata, and a full or missing place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, host, layout_of, needs, tar_of};
use lath::image::json::Value;
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Stdio;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const ROOT: &str = "FROM busybox\nRUN mkdir -p /d/e && echo one > /d/1 && ln /d/1 /d/hard && ln -s 1 /d/soft \
                    && chmod 4755 /d/1 && chown 1000:50 /d/e && mknod /d/null c 1 3 && mkfifo /d/fifo \
                    && touch -d @1234567890 /d/e\nRUN rm -r /home && echo x > /d/.wh.x\n";

/// Builds in `c` with these words, and wants that to work.
fn build(lath: &Lath, words: &[&str]) -> harness::Output {
    lath.run(&[&["build"], words, &["c"]].concat()).success()
}

/// One line for each thing below a folder, with all that a tar tells of it.
const LISTING: &str = "cd \"$1\" && find . -mindepth 1 | sort | while read -r f; do \
    stat -c '%n %f %u:%g %h %Y %t:%T' \"$f\"; [ -L \"$f\" ] && readlink \"$f\"; \
    [ -f \"$f\" ] && sha256sum < \"$f\"; done; true";

#[test]
fn local_files_are_those_that_a_container_sees() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    // A name that a layer cannot hold can only come in by a tar, and never does.
    lath.write("c/Dockerfile", ROOT.replace(" && echo x > /d/.wh.x", ""));
    build(&lath, &["-t", "x", "-o", "out", "-o", "type=local,dest=deep/er"]);
    let list = |folder: &str| host("sh", &["-c", LISTING, "sh", &lath.text(folder)]);
    assert_eq!(list("out"), list("deep/er"));
    lath.write("list.sh", LISTING);
    let seen = lath.ok(&["run", "--rm", "x", "sh", "-c", &format!("set -- /d; {LISTING}")]);
    let here = host("sh", &["-c", LISTING, "sh", &lath.text("out/d")]);
    // busybox writes the numbers of a device as GNU does, and sums with the same words.
    assert_eq!(here, seen);
    assert!(here.contains("./hard 89ed 0:0 2 ") && here.contains("./null 21a4 0:0 1 "), "{here}");
    assert!(!lath.path("out/home").exists());
    // The image is in the store as well.
    assert!(lath.id("x").starts_with("sha256:"));
    // What is there is overwritten, and what else is there stays.
    lath.write("out/d/1", "old");
    lath.write("out/own", "own");
    fs::remove_file(lath.path("out/d/soft")).unwrap();
    lath.write("out/d/soft/inside", "a directory where a link shall be");
    build(&lath, &["-o", "out"]);
    fs::remove_file(lath.path("out/own")).unwrap();
    assert_eq!(list("out"), list("deep/er"));
}

#[test]
fn links_in_the_destination_lead_the_copy_nowhere() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let victim = lath.write("victim/passwd", "untouched");
    let folder = lath.text("victim");
    let tar = tar_of(&[
        Member::Folder("etc"),
        Member::File("etc/passwd", "from the image"),
        Member::File("file", "from the image"),
        Member::Soft("a", &folder),
        Member::Hard("hard", "file"),
    ]);
    // A later layer puts a file below a link of an earlier one: it goes to where that leads in
    // the image, and not on this machine.
    let below = tar_of(&[Member::File("a/f", "below the link")]);
    lath.give(&["load"], &layout_of("links:1", &[tar, below])).success();
    lath.write("c/Dockerfile", "FROM links:1\n");
    fs::create_dir(lath.path("out")).unwrap();
    symlink(&folder, lath.path("out/etc")).unwrap();
    symlink(victim.to_str().unwrap(), lath.path("out/file")).unwrap();
    fs::hard_link(&victim, lath.path("out/hard")).unwrap();
    build(&lath, &["-o", "out"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_dir(lath.path("victim")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(lath.path("out/etc/passwd")).unwrap(), "from the image");
    assert!(!fs::symlink_metadata(lath.path("out/etc")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(lath.path("out/hard")).unwrap(), "from the image");
    assert_eq!(fs::symlink_metadata(lath.path("out/file")).unwrap().nlink(), 2);
    let inside = lath.path("out").join(folder.trim_start_matches('/')).join("f");
    assert_eq!(fs::read_to_string(inside).unwrap(), "below the link");
}

#[test]
fn a_tar_is_the_same_twice_and_may_go_to_standard_output() {
    if !needs(&[HERE, &[Need::Program("tar")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", ROOT.replace(" && echo x > /d/.wh.x", ""));
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000", "--no-cache"];
    build(&lath, &[&epoch[..], &["-o", "type=tar,dest=1.tar"]].concat());
    build(&lath, &[&epoch[..], &["--output=type=tar,dest=2.tar"]].concat());
    let read = |name: &str| fs::read(lath.path(name)).unwrap();
    assert_eq!(read("1.tar"), read("2.tar"));
    let mut to_stdout = lath.command(&["build", "--build-arg", epoch[1], "-o", "-", "c"]);
    let said = to_stdout
        .stdin(Stdio::null())
        .stdout(File::create(lath.path("3.tar")).unwrap())
        .output()
        .unwrap();
    let log = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success() && log.contains("Step 2/3 : RUN mkdir"), "{log}");
    assert_eq!(read("1.tar"), read("3.tar"));
    let listed = host("tar", &["-tvf", &lath.text("1.tar"), "--numeric-owner", "--utc"]);
    let line = |end: &str| listed.lines().find(|line| line.ends_with(end)).unwrap();
    assert!(
        line(" d/e/").starts_with("drwxr-xr-x 1000/50 ") && line(" d/e/").contains("2009-02-13")
    );
    assert!(line(" d/1").starts_with("-rwsr-xr-x 0/0 ") && line(" d/1").contains("2020-09-13"));
    assert!(listed.contains("d/hard link to d/1") && listed.contains("d/soft -> 1"), "{listed}");
    assert!(!listed.contains(" home/") && !listed.contains(".wh."), "{listed}");
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert!(names.contains(&"d/fifo") && names.contains(&"bin/busybox"));
    // It is a root for others, and for lath.
    lath.ok(&["import", "1.tar", "again"]);
    assert_eq!(lath.shell("again", "cat /d/hard"), "one\n");
    // An image without files is an empty tar.
    lath.write("empty/Dockerfile", "FROM scratch\nLABEL a=b\n");
    lath.run(&["build", "-o", "type=tar,dest=empty.tar", "empty"]).success();
    assert_eq!(read("empty.tar"), [0; 1024]);
}

#[test]
fn archives_and_layouts_are_read_by_skopeo_umoci_and_podman() {
    let programs = ["skopeo", "umoci", "podman"].map(Need::Program);
    if !needs(&[HERE, &programs].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", ROOT.replace(" && echo x > /d/.wh.x", ""));
    build(
        &lath,
        &["-t", "hub/x:1", "-o", "type=oci,dest=gzip.tar", "-o", "type=oci,dest=lay,tar=false"],
    );
    build(&lath, &["-t", "hub/x:1", "-o", "type=docker,dest=plain.tar,compression=uncompressed"]);
    let raw =
        host("skopeo", &["inspect", "--raw", &format!("oci-archive:{}", lath.text("gzip.tar"))]);
    assert_eq!(raw.matches("layer.v1.tar+gzip").count(), 3, "{raw}");
    let raw =
        host("skopeo", &["inspect", "--raw", &format!("oci-archive:{}", lath.text("plain.tar"))]);
    assert_eq!(raw.matches("layer.v1.tar\"").count(), 3, "{raw}");
    // A second image goes beside the first, a new one of a name instead of the old one.
    lath.write("c/Dockerfile", "FROM hub/x:1\nRUN echo new > /new\n");
    build(&lath, &["-o", "type=oci,dest=lay,tar=false,\"name=hub/y,hub/y:2\""]);
    build(&lath, &["-o", "type=oci,dest=lay,tar=false,name=hub/y,compression-level=9"]);
    let index = fs::read_to_string(lath.path("lay/index.json")).unwrap();
    assert_eq!(index.matches("org.opencontainers.image.ref.name").count(), 3, "{index}");
    for (image, file) in [("1", "d/1"), ("latest", "new")] {
        let bundle = lath.text(&format!("bundle-{image}"));
        let to = format!("oci:{}:x", lath.text("one"));
        let from = format!("oci:{}:{image}", lath.text("lay"));
        host("skopeo", &["copy", "-q", "--insecure-policy", &from, &to]);
        host("umoci", &["unpack", "--image", &format!("{}:x", lath.text("one")), &bundle]);
        assert!(lath.path(&format!("{bundle}/rootfs/{file}")).exists());
        assert!(!lath.path(&format!("{bundle}/rootfs/home")).exists());
    }
    let (root, run) = (lath.text("podman"), lath.text("podman-run"));
    let fixed =
        ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--events-backend", "none"];
    for tar in ["gzip.tar", "plain.tar"] {
        let podman = |args: &[&str]| host("podman", &[&fixed, args].concat());
        let said = podman(&["load", "-q", "-i", &lath.text(tar)]);
        assert!(said.contains("hub/x:1"), "{said}");
        assert_eq!(podman(&["images", "-q", "--no-trunc"]).trim(), lath.id("hub/x:1"));
        podman(&["rmi", "-a"]);
    }
    // The same bytes again, and nothing half.
    lath.write("c/Dockerfile", "FROM hub/x:1\n");
    build(&lath, &["-t", "hub/x:1", "-o", "type=oci,dest=again.tar"]);
    assert_eq!(fs::read(lath.path("gzip.tar")).unwrap(), fs::read(lath.path("again.tar")).unwrap());
    let left = fs::read_dir(lath.path("lay/blobs/sha256")).unwrap();
    assert!(left.flatten().all(|blob| blob.file_name().len() == 64));
}

#[test]
fn notes_and_metadata_tell_what_is_there() {
    if !needs(&[HERE, &[Need::Program("skopeo")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\n");
    let output = "type=oci,dest=lay,tar=false,annotation.one=a=1,annotation-index.two=b";
    let more = ["--annotation", "index,manifest-descriptor:t:h=c", "--annotation", "four=d"];
    build(
        &lath,
        &[&["-t", "x", "-t", "hub/y:2", "--metadata-file", "m.json", "-o", output], &more[..]]
            .concat(),
    );
    let parse = |text: &[u8]| Value::parse(text).unwrap();
    let index = parse(&fs::read(lath.path("lay/index.json")).unwrap());
    let notes = |value: &Value| value.get("annotations").unwrap().to_text();
    assert_eq!(notes(&index), r#"{"two":"b","t:h":"c"}"#);
    let line = &index.get("manifests").unwrap().as_array().unwrap()[0];
    assert_eq!(line.get("annotations").unwrap().get("t:h").unwrap().as_str(), Some("c"));
    let raw = host("skopeo", &["inspect", "--raw", &format!("oci:{}:latest", lath.text("lay"))]);
    assert_eq!(notes(&parse(raw.as_bytes())), r#"{"one":"a=1","four":"d"}"#);
    let told = parse(&fs::read(lath.path("m.json")).unwrap());
    let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("containerimage.config.digest"), Some(lath.id("x")));
    assert_eq!(text("image.name").as_deref(), Some("docker.io/library/x:latest,docker.io/hub/y:2"));
    let digest = line.get("digest").unwrap().as_str().unwrap();
    assert_eq!(text("containerimage.digest").as_deref(), Some(digest));
    let blob = fs::read(lath.path(&format!("lay/blobs/{}", digest.replace(':', "/")))).unwrap();
    assert_eq!(String::from_utf8(blob).unwrap(), raw);
    // Names of an output that stays in the store are the store's, and no manifest is no manifest.
    build(&lath, &["-o", "type=image,name=z:3", "--load", "--metadata-file", "m.json"]);
    assert_eq!(lath.id("z:3"), lath.id("x"));
    let told = fs::read_to_string(lath.path("m.json")).unwrap();
    assert!(told.contains("z:3") && !told.contains("containerimage.digest"), "{told}");
    // A build that fails leaves no old one.
    lath.write("c/Dockerfile", "FROM busybox\nRUN false\n");
    lath.fails(&["build", "--metadata-file", "m.json", "-o", "type=tar,dest=no.tar", "c"]);
    assert!(!lath.path("m.json").exists() && !lath.path("no.tar").exists());
}

#[test]
fn what_cannot_be_is_said_before_the_build() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN echo a\n");
    lath.write("file", "");
    for (words, code, text) in [
        (&["-o", "type=foo,dest=x"][..], 2, "there is: local, tar, oci, docker, squashfs, ext4"),
        (&["-o", "dest=x"], 2, "type is required"),
        (&["-o", "type=oci,dest=x,size=1"], 2, "unknown key \"size\""),
        (&["-o", "type=local"], 2, "dest must be a directory"),
        (&["-o", "type=local,dest=-"], 2, "dest must be a directory"),
        (&["-o", "type=local,dest=file"], 2, "dest is no directory"),
        (&["-o", "type=tar,dest=c"], 2, "dest is a directory"),
        (&["-o", "-", "-o", "type=oci"], 2, "only one output"),
        (&["-o", "type=registry"], 2, "tag is needed when pushing to registry"),
        (&["-o", "type=image,push=true"], 2, "tag is needed when pushing to registry"),
        (&["-o", "type=docker,compression=gzip,compression-level=3"], 2, "name a dest"),
        (&["-o", "type=oci,dest=x,compression=zstd"], 2, "there is: gzip, uncompressed"),
        (&["-o", "type=oci,dest=x,compression-level=10"], 2, "0 to 9"),
        (&["--push"], 2, "tag is needed when pushing to registry"),
        (&["--annotation", "a=b"], 2, "no output of this build has annotations"),
        (&["--annotation", "top:a=b", "-o", "type=oci,dest=x"], 2, "unknown level \"top\""),
    ] {
        let said = lath.run(&[&["build"], words, &["c"]].concat());
        assert!(said.code == code && said.stderr.contains(text), "{text}: {said}");
        assert!(!said.stdout.contains("Step"), "{said}");
    }
    assert!(!lath.path("x").exists());
    let not_there = lath.fails(&["build", "-o", "type=tar,dest=no/such/x.tar", "c"]);
    assert!(not_there.contains("no/such/x.tar"), "{not_there}");
    let not_there = lath.fails(&["build", "-o", "file/x", "c"]);
    assert!(not_there.contains("file/x"), "{not_there}");
}

#[test]
fn a_full_place_leaves_no_half_file() {
    if !needs(&[HERE, &[Need::Program("mount")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=6\n");
    fs::create_dir(lath.path("small")).unwrap();
    host("mount", &["-t", "tmpfs", "-o", "size=4m", "lath-test", &lath.text("small")]);
    for (output, left) in [
        ("type=tar,dest=small/x.tar", &[][..]),
        ("type=oci,dest=small/x.tar", &[]),
        ("type=oci,dest=small/lay,tar=false", &["blobs", "oci-layout"]),
        ("type=local,dest=small/files", &["bin", "big"]),
    ] {
        let said = lath.run(&["build", "-o", output, "c"]).failure(1);
        assert!(said.contains("No space left on device") && said.contains("small/"), "{said}");
        let found = host(
            "sh",
            &["-c", "find \"$1\" -name '*.tmp' -o -name 'x.tar*'", "sh", &lath.text("small")],
        );
        assert_eq!(found, "", "{output}");
        for name in left.iter().filter(|name| **name == "big") {
            assert!(!lath.path(&format!("small/files/{name}")).exists(), "{output}");
        }
        assert!(!lath.path("small/lay/index.json").exists());
        host("sh", &["-c", "rm -rf \"$1\"/*", "sh", &lath.text("small")]);
    }
    host("umount", &[&lath.text("small")]);
}

#[test]
fn an_interrupted_output_leaves_nothing_half() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=600\n");
    build(&lath, &["-t", "big"]);
    for (output, place) in [
        ("type=tar,dest=out/x.tar", "out"),
        ("type=oci,dest=out/lay,tar=false,compression=uncompressed", "out/lay/blobs/sha256"),
        ("type=local,dest=out/files", "out/files"),
    ] {
        // The work has begun when something unfinished of some size is there.
        let half = || {
            let entries = fs::read_dir(lath.path(place)).into_iter().flatten().flatten();
            let mut sizes = entries.filter_map(|entry| entry.metadata().ok());
            sizes.any(|data| data.is_file() && data.len() > 1 << 20)
        };
        // A signal may come when all is done; then all is there.
        let hit = (0..20).any(|_| {
            fs::create_dir(lath.path("out")).unwrap();
            let running = lath.start(&["build", "-o", output, "c"]).until("a half file", half);
            running.signal(Signal::INT);
            let said = running.wait();
            assert!([0, 130].contains(&said.code), "{output}: {said}");
            let script = "find \"$1\" -name '*.tmp' -o -name 'x.tar?*' -o -name x.tar -o -name index.json \
                          -o -name big ! -size 614400k";
            let found = host("sh", &["-c", script, "sh", &lath.text("out")]);
            assert!(found.is_empty() || said.code == 0, "{found}{said}");
            fs::remove_dir_all(lath.path("out")).unwrap();
            said.code == 130
        });
        assert!(hit, "{output} was never interrupted");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_output() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\n");
    for kind in ["-", "type=oci"] {
        let line =
            format!("\"$0\" build -q -o {kind} c | head -c 600 | wc -c; exit ${{PIPESTATUS[0]}}");
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", &line]).arg(harness::binary());
        shell.current_dir(lath.path("")).env("LATH_ROOT", lath.store());
        let said = harness::finish(&mut shell, &[]);
        assert!(said.code != 0 && said.stdout.trim() == "600", "{said}");
        assert!(!said.stderr.contains("panicked"), "{said}");
    }
}
