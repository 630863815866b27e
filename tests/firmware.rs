//! What is flashed: file systems and initramfs of an image, each read back by programs that are not
//! lath's and compared with the image's files, entry by entry.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, Output, Running, finish, hex, host, layout_of, needs, tar_of};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, setxattr};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const HERE: &[Need] = &[
    Need::Root,
    Need::Busybox,
    Need::Program("mount"),
    Need::Program("mksquashfs"),
    Need::Program("mkfs.erofs"),
    Need::Program("fsck.erofs"),
    Need::Program("e2fsck"),
    Need::Program("cpio"),
];
const KINDS: [&str; 4] = ["squashfs", "ext4", "erofs", "cpio"];

/// All kinds of entries that a step can make.
const STEPS: &str = "FROM busybox
RUN mkdir -p /d/e /d/empty && echo one > /d/1 && ln /d/1 /d/hard && ln -s 1 /d/soft && chmod 4755 /d/1 && \
chown 1000:50 /d/e && chmod 2711 /d/e && mknod /d/null c 1 3 && mknod /d/disk b 300 70000 && mkfifo /d/fifo && \
touch -d @1234567890 /d/e && : > /d/nothing && chown 100000:70000 /d/nothing && ln -s soft /d/again
RUN rm -r /home && ln -s \"$(printf %0200d 7)\" /d/long && ln /d/long /d/long-too && ln /d/fifo /pipe
RUN mkdir /many && i=0 && while [ $i -lt 700 ]; do echo $i > /many/$i-in-a-directory-of-blocks; i=$((i+1)); done
COPY . /
";

/// The context besides: attributes, names that mean something to somebody, a deep path, holes.
fn context(lath: &Lath) {
    lath.write("c/Dockerfile", STEPS);
    let few = lath.write("c/few", "capable");
    // cap_net_raw=ep, version 2.
    let capable = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(&few, "security.capability", &capable, XattrFlags::empty()).unwrap();
    let many = lath.write("c/names/many", "attributes");
    for (name, length) in [("user.z", 0), ("user.bb", 7), ("user.a", 1500), ("user.cc", 3)] {
        setxattr(&many, name, &vec![b'v'; length], XattrFlags::empty()).unwrap();
    }
    setxattr(lath.path("c/names"), "user.folder", b"f", XattrFlags::empty()).unwrap();
    // mkfs.erofs 1.5 fails for a name of 255 bytes.
    let names: &[&[u8]] = &[
        b"TRAILER!!!",
        b"-rf",
        b" blank ",
        b"new\nline",
        b"back\\slash\\n",
        b"quote\"'",
        b"\xff\xfe not utf-8",
        b"FILE",
        b"$(id)",
        b"*",
        &[b'n'; 254],
    ];
    for name in names {
        for folder in ["c", "c/names"] {
            fs::write(lath.path(folder).join(OsStr::from_bytes(name)), *name).unwrap();
        }
        let link = [&name[..name.len().min(249)], b".link"].concat();
        symlink(OsStr::from_bytes(name), lath.path("c/names").join(OsStr::from_bytes(&link)))
            .unwrap();
    }
    let mut deep = lath.path("c/deep");
    for _ in 0..12 {
        deep.push("x".repeat(240));
    }
    // Longer than what a system call takes at once.
    let script = "mkdir -p \"$1\" && cd \"$1\" && echo deep > file";
    host("sh", &["-c", script, "sh", deep.to_str().unwrap()]);
    holes(&lath.path("c/holes"), 30);
    fs::set_permissions(&few, fs::Permissions::from_mode(0o2755)).unwrap();
}

/// A file of pieces with a hole behind each, and one at the end.
fn holes(path: &Path, pieces: u64) {
    let file = File::create(path).unwrap();
    for piece in 0..pieces {
        file.write_all_at(&piece.to_be_bytes(), piece * (128 << 10)).unwrap();
    }
    file.set_len((pieces << 17) + 5).unwrap();
}

/// One entry, as everybody can see it.
type Entries = BTreeMap<PathBuf, String>;

/// What is below a folder. `is_dated`: with times; `has_attributes`: with extended ones.
fn entries(folder: &Path, is_dated: bool, has_attributes: bool) -> Entries {
    let mut found = Entries::new();
    let mut firsts = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(folder.join(&here)).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), here.join(entry.file_name()));
            let stat = entry.metadata().unwrap();
            let mut line = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
            let kind = stat.file_type();
            if is_dated {
                line += &format!(" {}", stat.mtime());
            }
            if kind.is_file() {
                let content = fs::read(&path).unwrap();
                line += &format!(" {} bytes {}", content.len(), hex(&content));
            } else if kind.is_symlink() {
                line += &format!(" {:?}", fs::read_link(&path).unwrap());
            } else if kind.is_dir() {
                folders.push(name.clone());
            } else {
                line += &format!(" {:x}", stat.rdev());
            }
            if has_attributes && (kind.is_file() || kind.is_dir()) {
                line += &attributes(&path);
            }
            // One file is one file, whatever its number; but to an initramfs a link is one each time.
            if !kind.is_dir() && (has_attributes || !kind.is_symlink()) {
                line += &format!(" {} names", stat.nlink());
                if stat.nlink() > 1 {
                    firsts.entry(stat.ino()).or_insert_with(Vec::new).push(name.clone());
                }
            }
            found.insert(name, line);
        }
    }
    for mut names in firsts.into_values() {
        names.sort();
        for name in &names {
            *found.get_mut(name).unwrap() += &format!(" as {:?}", names[0]);
        }
    }
    found
}

fn attributes(path: &Path) -> String {
    let mut list = vec![0; 64 << 10];
    // An erofs in which nothing has any knows none.
    let length = match llistxattr(path, list.as_mut_slice()) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        length => length.unwrap(),
    };
    let mut names: Vec<&[u8]> = list[..length].split(|byte| *byte == 0).collect();
    names.sort();
    let mut text = String::new();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        text += &format!(" {}={}", String::from_utf8_lossy(name), hex(&value[..length]));
    }
    text
}

#[track_caller]
fn same(kind: &str, expected: &Entries, found: &Entries) {
    for path in expected.keys().chain(found.keys()) {
        assert_eq!(expected.get(path), found.get(path), "{kind}: {}", path.display());
    }
}

/// Mounts an image, looks at it, and unmounts it. Gives the time of its root too.
fn mounted(lath: &Lath, kind: &str, file: &str) -> (Entries, i64) {
    let at = lath.path("mounted");
    fs::create_dir_all(&at).unwrap();
    host("mount", &["-t", kind, "-o", "loop,ro", &lath.text(file), at.to_str().unwrap()]);
    let mut found = entries(&at, true, true);
    let root = fs::metadata(&at).unwrap();
    host("umount", &[at.to_str().unwrap()]);
    if kind == "ext4" {
        // As all that make one have it: e2fsck wants it.
        assert!(found.remove(Path::new("lost+found")).unwrap().starts_with("40700 0:0 "));
    }
    assert_eq!((root.mode(), root.uid(), root.gid()), (0o040_755, 0, 0), "{kind}");
    (found, root.mtime())
}

fn build(lath: &Lath, words: &[&str]) -> Output {
    lath.run(&[&["build"], words, &["c"]].concat())
}

/// The names in a folder of the test.
fn names(lath: &Lath, folder: &str) -> Vec<String> {
    let found = fs::read_dir(lath.path(folder)).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = found.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_entry_of_an_image_is_read_back_from_what_is_flashed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    context(&lath);
    let outputs: Vec<String> =
        KINDS.iter().map(|kind| format!("type={kind},dest=o.{kind}")).collect();
    let mut words = vec!["-o", "out"];
    for output in &outputs {
        words.extend(["-o", output.as_str()]);
    }
    words.extend(["-o", "type=erofs,dest=small.erofs,compression=lz4hc"]);
    words.extend(["-o", "type=squashfs,dest=small.squashfs,compression=xz"]);
    let said = build(&lath, &words).success();
    assert!(
        said.stderr.contains("cpio holds no extended attributes: 3 files lose theirs"),
        "{said}"
    );
    let expected = entries(&lath.path("out"), true, true);
    let line = |name: &str| expected.get(Path::new(name)).unwrap().as_str();
    assert!(line("few").contains(" security.capability="), "{}", line("few"));
    assert!(
        line("d/hard").starts_with("104755 0:0 ") && line("d/hard").contains("2 names as \"d/1\"")
    );
    assert!(line("d/e").starts_with("42711 1000:50 1234567890"), "{}", line("d/e"));
    assert!(!expected.contains_key(Path::new("home")) && expected.len() > 1000);
    for kind in ["squashfs", "ext4", "erofs"] {
        same(kind, &expected, &mounted(&lath, kind, &format!("o.{kind}")).0);
    }
    for kind in ["squashfs", "erofs"] {
        let (file, plain) = (format!("small.{kind}"), format!("o.{kind}"));
        same(&file, &expected, &mounted(&lath, kind, &file).0);
        let size = |name: &str| fs::metadata(lath.path(name)).unwrap().len();
        assert!(size(&file) < size(&plain), "{kind} is not smaller");
    }
    host("e2fsck", &["-fn", &lath.text("o.ext4")]);
    host("fsck.erofs", &[&lath.text("o.erofs")]);
    // Holes are holes.
    let image = fs::metadata(lath.path("o.ext4")).unwrap();
    assert!(image.blocks() * 512 + (2 << 20) < image.len());
    // GNU cpio does not put times of directories and links back, and an archive has no attributes.
    fs::create_dir(lath.path("unpacked")).unwrap();
    let script = "cd \"$1\" && exec cpio -idm --quiet < ../o.cpio";
    host("sh", &["-c", script, "sh", &lath.text("unpacked")]);
    let plain = entries(&lath.path("out"), false, false);
    same("cpio", &plain, &entries(&lath.path("unpacked"), false, false));
    let listed =
        host("sh", &["-c", "TZ=UTC cpio -itvn --quiet < \"$1\"", "sh", &lath.text("o.cpio")]);
    let line = listed.lines().find(|line| line.ends_with(" d/e")).unwrap();
    assert!(line.starts_with("drwx--s--x") && line.contains("Feb 13  2009"), "{line}");
    // What tools want beside it.
    for kind in KINDS {
        host(
            "sh",
            &[
                "-c",
                "cd \"$1\" && sha256sum -c --strict \"o.$2.sha256\"",
                "sh",
                &lath.text(""),
                kind,
            ],
        );
        let size = fs::metadata(lath.path(&format!("o.{kind}"))).unwrap().len();
        let told = fs::read_to_string(lath.path(&format!("o.{kind}.size"))).unwrap();
        assert_eq!(told, format!("{size}\n"));
    }
}

/// The view of one layer is the layer itself, and no overlayfs takes its marks away.
#[test]
fn what_a_base_of_one_layer_says_is_gone_is_in_no_output() {
    if !needs(HERE) {
        return;
    }
    let layer = tar_of(&[
        Member::Folder("d"),
        Member::File("d/.wh..wh..opq", ""),
        Member::File("d/.wh.gone", ""),
        Member::File("d/kept", "kept"),
        Member::File("d/late", "late"),
        Member::File("d/.wh.late", ""),
        Member::File(".wh..wh.plnk/1.2", ""),
        Member::File(".wh..wh..opq", ""),
        Member::File(".wh.gone", ""),
    ]);
    for driver in ["overlay", "copy"] {
        let lath = Lath::new();
        lath.give(&["load"], &layout_of("one:latest", std::slice::from_ref(&layer))).success();
        lath.write("c/Dockerfile", "FROM one\n");
        let mut words = vec!["--driver".into(), driver.into(), "build".into()];
        for kind in KINDS.iter().chain(&["tar", "local"]) {
            words.extend(["-o".to_owned(), format!("type={kind},dest=o.{kind}")]);
        }
        words.push("c".to_owned());
        lath.ok(&words);
        for (kind, made) in [("cpio", "cpio -idm --quiet"), ("tar", "tar -x")] {
            let script = format!("mkdir \"$1/$2\" && cd \"$1/$2\" && {made} < ../o.$2");
            host("sh", &["-c", &script, "sh", &lath.text(""), kind]);
        }
        let expected = [Path::new("d"), Path::new("d/kept")];
        for folder in ["cpio", "tar", "o.local"] {
            let found = entries(&lath.path(folder), false, false);
            assert!(found.keys().eq(expected), "{driver} {folder}: {found:?}");
        }
        for kind in ["squashfs", "ext4", "erofs"] {
            let (found, _) = mounted(&lath, kind, &format!("o.{kind}"));
            assert!(found.keys().eq(expected), "{driver} {kind}: {found:?}");
        }
    }
}

#[test]
fn the_same_dockerfile_gives_the_same_bytes_everywhere() {
    if !needs(HERE) {
        return;
    }
    let mut digests: Vec<Vec<String>> = Vec::new();
    for (driver, folder) in [("overlay", ""), ("copy", "another/place/"), ("overlay", "")] {
        let lath = Lath::with_busybox();
        context(&lath);
        let mut words = vec!["--driver".to_owned(), driver.to_owned(), "build".to_owned()];
        for kind in KINDS {
            words.extend(["-o".to_owned(), format!("type={kind},dest={folder}o.{kind}")]);
        }
        words.push("c".to_owned());
        fs::create_dir_all(lath.path(folder)).unwrap();
        // A store of another age, and files with times that no other has.
        host("sh", &["-c", "find \"$1\" -type f -exec touch {} +", "sh", &lath.text("c")]);
        let mut command = lath.command(&words);
        finish(command.env("SOURCE_DATE_EPOCH", "1600000000"), &[]).success();
        let sum = |kind: &str| {
            fs::read_to_string(lath.path(&format!("{folder}o.{kind}.sha256"))).unwrap()
        };
        digests.push(KINDS.iter().map(|kind| sum(kind)).collect());
        for kind in ["squashfs", "ext4", "erofs"] {
            let (found, root) = mounted(&lath, kind, &format!("{folder}o.{kind}"));
            let time = |line: &String| line.split(' ').nth(2).unwrap().parse::<i64>().unwrap();
            assert_eq!(found.values().map(time).max(), Some(1_600_000_000), "{kind}");
            assert_eq!(root, 1_600_000_000, "{kind}");
        }
    }
    assert_eq!(digests[0], digests[1], "drivers");
    assert_eq!(digests[0], digests[2], "stores");
}

#[test]
fn an_ext4_has_the_size_that_was_asked_for_and_grows() {
    if !needs(&[HERE, &[Need::Program("resize2fs"), Need::Program("dumpe2fs")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    // More than a group, and more than a file of 32 bits with a hole.
    let script = "head -c 150000000 /dev/urandom > /big && dd if=/dev/null of=/huge bs=1 seek=4294967301 && echo end >> /huge";
    lath.write("c/Dockerfile", format!("FROM busybox\nRUN {script}\nCOPY holes /\n"));
    // A tree of extents with more than one leaf.
    holes(&lath.path("c/holes"), 400);
    let output = "type=ext4,dest=x.ext4,size=1200M,digest=no";
    assert!(build(&lath, &["-o", output]).failure(2).contains("digest is true or false"));
    build(&lath, &["-t", "x", "-o", "type=ext4,dest=x.ext4,size=1200M,digest=false"]).success();
    assert_eq!(fs::metadata(lath.path("x.ext4")).unwrap().len(), 1200 << 20);
    assert!(!lath.path("x.ext4.sha256").exists() && !lath.path("x.ext4.size").exists());
    let image = lath.text("x.ext4");
    host("e2fsck", &["-fn", &image]);
    let told = host("dumpe2fs", &["-h", &image]);
    assert!(told.contains("has_journal") && told.contains("Journal features"), "{told}");
    fs::create_dir(lath.path("m")).unwrap();
    // Written to as a device would, with its journal, and grown afterwards.
    host("mount", &["-o", "loop", &image, &lath.text("m")]);
    let seen = host(
        "sh",
        &[
            "-c",
            "cd \"$1\" && sha256sum big holes && stat -c %s huge && tail -c 4 huge",
            "sh",
            &lath.text("m"),
        ],
    );
    host(
        "sh",
        &[
            "-c",
            "cp \"$1/big\" \"$1/copy\" && rm \"$1/big\" && mkdir \"$1/new\"",
            "sh",
            &lath.text("m"),
        ],
    );
    host("umount", &[&lath.text("m")]);
    host("e2fsck", &["-fn", &image]);
    assert_eq!(seen, lath.shell("x", "sha256sum big holes && stat -c %s huge && tail -c 4 huge"));
    host("truncate", &["-s", "5G", &image]);
    host("e2fsck", &["-fp", &image]);
    host("resize2fs", &[&image]);
    host("e2fsck", &["-fn", &image]);
    let too_large = build(&lath, &["-o", "type=cpio,dest=y.cpio"]).failure(1);
    assert!(
        too_large.contains("\"huge\": cpio holds 4294967295 bytes a file, not 4294967305"),
        "{too_large}"
    );
    // What is too small says so.
    lath.write("c/Dockerfile", "FROM busybox\nCOPY holes /\n");
    let too_small = build(&lath, &["-o", "type=ext4,dest=y.ext4,size=20M"]).failure(1);
    assert!(
        too_small.contains("the files need some 3") && too_small.contains("size is 20971520"),
        "{too_small}"
    );
    assert_eq!(names(&lath, ""), ["c", "m", "x.ext4"]);
}

#[test]
fn a_cpio_may_go_to_standard_output() {
    if !needs(&[HERE, &[Need::Program("gzip")]].concat()) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\n");
    build(&lath, &["-o", "type=cpio,dest=file"]).success();
    for (words, unpack) in [("", "cat"), (",compression=gzip", "gzip -d")] {
        let line = format!("\"$0\" build -q -o type=cpio,dest=-{words} c | {unpack} | cmp - file");
        let mut shell = std::process::Command::new("bash");
        shell.args(["-o", "pipefail", "-c", &line]).arg(harness::binary());
        shell.current_dir(lath.path("")).env("LATH_ROOT", lath.store());
        finish(&mut shell, &[]).success();
    }
}

#[test]
fn the_example_is_a_system_that_an_init_can_start() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/firmware");
    lath.ok(&["build", "-q", "-o", "type=cpio,dest=o", example]);
    let listed = host("sh", &["-c", "cpio -itv --quiet < \"$1\"", "sh", &lath.text("o")]);
    let has = |start: &str, end: &str| {
        listed.lines().any(|line| line.starts_with(start) && line.ends_with(end))
    };
    for folder in [" dev", " proc", " sys"] {
        assert!(has("drwxr-xr-x", folder), "{folder}: {listed}");
    }
    assert!(has("-rwxr-xr-x", " etc/init.d/rcS") && has("lrwxrwxrwx", " init -> bin/busybox"));
}

#[test]
fn what_cannot_be_is_said_before_the_build() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN echo a\n");
    for (output, text) in [
        ("type=ext4", "dest must be a file"),
        ("type=squashfs,dest=-", "dest must be a file"),
        ("type=ext4,dest=x,compression=gzip", "there is: dest, size, digest"),
        ("type=ext4,dest=x,size=big", "it is no size, such as 64M"),
        ("type=squashfs,dest=x,size=1", "there is: dest, compression, digest"),
        ("type=squashfs,dest=x,compression=zip", "there is: gzip, xz, zstd, lz4, lzo"),
        (
            "type=erofs,dest=x,compression=gzip",
            "there is: uncompressed, lz4, lz4hc, lzma, deflate, zstd",
        ),
        ("type=cpio,dest=x,compression-level=3", "what is uncompressed has no level"),
        ("type=cpio,dest=-,digest=true", "a digest goes beside a file"),
        ("type=cpio,\"dest=x\ny\"", "a name with a line break has no digest file"),
        ("type=squash,dest=x", "there is: local, tar, oci, docker, squashfs, ext4, erofs, cpio"),
    ] {
        let said = build(&lath, &["-o", output]);
        assert!(said.code == 2 && said.stderr.contains(text), "{text}: {said}");
        assert!(!said.stdout.contains("Step"), "{said}");
    }
    lath.write("scratch/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let said = lath.fails(&["build", "-o", "type=ext4,dest=x", "scratch"]);
    assert!(said.contains("the image has no files"), "{said}");
    let said = build(&lath, &["-o", "type=ext4,dest=/dev/null"]).failure(2);
    assert!(said.contains("no plain file"), "{said}");
    assert_eq!(names(&lath, ""), ["c", "scratch"]);
}

#[test]
fn a_program_that_is_missing_or_fails_leaves_what_was_there() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN head -c 9000000 /dev/urandom > /big\n");
    build(&lath, &["-t", "x"]).success();
    let programs =
        [("squashfs", "mksquashfs", "squashfs-tools"), ("erofs", "mkfs.erofs", "erofs-utils")];
    for (kind, program, package) in programs {
        let output = format!("type={kind},dest=o/x.img");
        lath.write("o/x.img", "old");
        lath.write("o/x.img.sha256", "old");
        let run = |path: &str| {
            let mut command = lath.command(&["build", "-o", &output, "c"]);
            finish(command.env("PATH", path).env("SECRET", "s"), &[]).failure(1)
        };
        fs::create_dir_all(lath.path("empty")).unwrap();
        let said = run(&lath.text("empty"));
        assert!(said.contains(&format!("there is no program {program}")), "{said}");
        assert!(said.contains(&format!("install {package}")), "{said}");
        // One that reads nothing and one that reads all; what they say is told, and they are told
        // nothing that is not theirs.
        for end in ["exit 3", "cat > /dev/null; exit 3"] {
            let script = format!(
                "#!/bin/sh\nfor word; do case $word in /*) echo half > \"$word\";; esac; done\n\
                 echo 'it is full' >&2; env >&2; {end}\n"
            );
            let stub = lath.write(&format!("bin/{program}"), script);
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
            let said = run(&format!("{}:/bin:/usr/bin", lath.text("bin")));
            assert!(said.contains(&format!("{program}: it is full")), "{said}");
            assert!(said.contains("SOURCE_DATE_EPOCH") && !said.contains("SECRET"), "{said}");
            assert!(!said.contains("LATH_ROOT"), "{said}");
        }
        assert_eq!(names(&lath, "o"), ["x.img", "x.img.sha256"]);
        assert_eq!(fs::read_to_string(lath.path("o/x.img")).unwrap(), "old");
    }
    // A full disk.
    fs::create_dir(lath.path("small")).unwrap();
    host("mount", &["-t", "tmpfs", "-o", "size=4m", "lath-test", &lath.text("small")]);
    let said: Vec<String> = KINDS
        .iter()
        .map(|kind| build(&lath, &["-o", &format!("type={kind},dest=small/x")]).failure(1))
        .collect();
    let left = names(&lath, "small");
    host("umount", &[&lath.text("small")]);
    assert!(said.iter().all(|said| said.contains("small/x")), "{said:?}");
    assert!(said[0].contains("No space left") || said[0].contains("write"), "{said:?}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_interrupted_image_leaves_nothing() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN head -c 250000000 /dev/urandom > /big\n");
    build(&lath, &["-t", "x"]).success();
    for kind in KINDS {
        let output = format!("type={kind},dest=o/x");
        let hit = (0..20).any(|_| {
            fs::create_dir(lath.path("o")).unwrap();
            let half = || {
                let entries = fs::read_dir(lath.path("o")).into_iter().flatten().flatten();
                entries.filter_map(|entry| entry.metadata().ok()).any(|data| data.len() > 1 << 20)
            };
            let running: Running =
                lath.start(&["build", "-o", &output, "c"]).until("a half file", half);
            running.signal(Signal::INT);
            let said = running.wait();
            assert!([0, 130].contains(&said.code), "{kind}: {said}");
            let left = names(&lath, "o");
            assert!(said.code == 0 || left.is_empty(), "{kind}: {left:?}");
            fs::remove_dir_all(lath.path("o")).unwrap();
            said.code == 130
        });
        assert!(hit, "{kind} was never interrupted");
    }
}
