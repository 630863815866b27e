//! What layers mean: whiteouts, opaque directories, what the tar leaves out, what comes twice.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Scratch, layer};

/// A merged view to unpack on.
fn view() -> Scratch {
    let view = Scratch::new();
    for path in ["d/e/f", "d/x", "file", "usr/bin/sh", "top/a"] {
        view.write(path, path.as_bytes());
    }
    symlink("usr/bin", view.path.join("bin")).unwrap();
    symlink("/usr/../usr/bin", view.path.join("absolute")).unwrap();
    symlink("../../../../usr", view.path.join("climbs")).unwrap();
    symlink("loop", view.path.join("loop")).unwrap();
    std::fs::set_permissions(view.path.join("d"), PermissionsExt::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(view.path.join("d"), Some(8), Some(9)).unwrap();
    view
}

fn names(script: &str) -> String {
    match layer(&Scratch::new().python(script), Some(&view())) {
        Ok(layer) => layer.diff.names(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn marks_hide_what_is_below() {
    for (script, expected) in [
        ("add('.wh.file')", "file-"),
        ("add('d/.wh.x')", "d/ d/x-"),
        ("add('.wh.nothing')", ""),
        ("add('d/.wh..wh..opq')", "d/!"),
        ("add('d/n'); add('d/.wh..wh..opq'); add('d/e/n')", "d/! d/e/ d/e/n d/n"),
        ("add('nothing/.wh..wh..opq')", "nothing/"),
        ("add('bin/.wh.sh')", "usr/ usr/bin/ usr/bin/sh-"),
        ("add('.wh.d'); add('d/n')", "d/! d/n"),
        ("add('.wh.d'); add('d/e/f')", "d/! d/e/ d/e/f"),
        ("add('.wh.d'); add('d', D); add('d/e', D)", "d/! d/e/"),
        ("add('d/n'); add('.wh.d')", "d-"),
        ("add('d'); add('d', D)", "d/!"),
        ("add('.wh..wh..opq'); add('d/n')", "absolute- bin- climbs- d/! d/n file- loop- top- usr-"),
        ("add('file'); add('.wh..wh..opq')", "absolute- bin- climbs- d- file loop- top- usr-"),
        ("add('.wh..wh.aufs'); add('.wh..wh.plnk', D); add('.wh..wh.plnk/1.2'); add('n')", "n"),
    ] {
        assert_eq!(names(script), expected, "{script}");
    }
}

#[test]
fn impossible_marks_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.d/n"] {
        assert!(names(&format!("add({name:?}, data=b'x')")).starts_with("error: "), "{name}");
    }
}

#[test]
fn what_the_tar_leaves_out_is_as_it_is_below() {
    let layer = layer(&Scratch::new().python("add('d/e/n'); add('new/n')"), Some(&view())).unwrap();
    let listing = layer.diff.listing();
    assert!(listing.starts_with("d/ 41770 8:9 "), "{listing}");
    assert!(listing.contains("\nnew/ 40755 0:0 0 "), "{listing}");
}

#[test]
fn links_on_the_way_are_followed_in_the_root() {
    for (script, expected) in [
        ("add('bin/n')", "usr/ usr/bin/ usr/bin/n"),
        ("add('absolute/n')", "usr/ usr/bin/ usr/bin/n"),
        ("add('bin', S, link='d'); add('bin/n')", "bin->d d/ d/n"),
        ("add('bin', D); add('bin/n')", "bin/ bin/n"),
        (
            "add('a/l', S, link='../nowhere/at/all'); add('a/l/n')",
            "a/ a/l->../nowhere/at/all nowhere/ nowhere/at/ nowhere/at/all/ nowhere/at/all/n",
        ),
        ("add('l', S, link='/'); add('l/n')", "l->/ n"),
        ("add('l', S, link='d/e/..'); add('l/n')", "d/ d/e/ d/n l->d/e/.."),
        ("add('.wh.bin'); add('bin/n')", "bin/ bin/n"),
    ] {
        assert_eq!(names(script), expected, "{script}");
    }
    for script in ["add('loop/n')", "add('file/n')", "add('d/x/n')", "add('climbs/n')"] {
        assert!(names(script).starts_with("error: "), "{script}");
    }
}

#[test]
fn hard_links_find_their_target_here_or_below() {
    let script = "add('a', data=b'1', mode=0o4711, uid=3)
add('b', L, link='./a', mode=0o4711, uid=3)
add('c', L, link='/usr/bin/sh')
add('e', L, link='bin/sh')
add('soft', S, link='nowhere')
add('soft2', L, link='soft')";
    let layer = layer(&Scratch::new().python(script), Some(&view())).unwrap();
    assert_eq!(layer.diff.names(), "a b c e soft->nowhere soft2->nowhere");
    let listing = layer.diff.listing();
    assert!(listing.contains("b 104711 3:0 5 0:0 x2 1 "), "{listing}");
    assert_eq!(std::fs::read(layer.diff.path.join("e")).unwrap(), b"usr/bin/sh");
    for bad in ["nowhere", "d", "../file", "", "a", "d/nowhere", "gone", "nowhere/x"] {
        let script = format!("add('.wh.gone'); add('a', L, link={bad:?})");
        assert!(names(&script).starts_with("error: "), "{bad}");
    }
}

#[test]
fn later_entries_replace_earlier_ones_and_the_bytes_come_back() {
    for (script, expected, kept) in [
        ("add('a', data=b'1'); add('a', data=b'22'); add('./a', data=b'333')", "a", 2),
        ("add('a', data=b'1'); add('.wh.a')", "", 1),
        ("add('q/w/a', data=b'1'); add('q/b', data=b'2'); add('q', S, link='d')", "q->d", 2),
        ("add('q/a', data=b'1'); add('q', data=b'2'); add('q/a', data=b'3')", "error", 0),
        ("add('q/a', data=b'1'); add('q'); add('q', D); add('q/a', data=b'3')", "q/ q/a", 2),
        ("add('a', data=b'1'); add('b', L, link='a'); add('a', data=b'2')", "a b", 1),
        ("add('a', data=b'1'); add('b', L, link='a'); add('b', data=b'2')", "a b", 1),
        ("add('l', S, link='q'); add('l/a', data=b'1'); add('q/a', data=b'2')", "l->q q/ q/a", 1),
        ("add('l', S, link='q'); add('l', data=b'1'); add('l', S, link='q')", "l->q", 1),
        ("add('p', F); add('p', C, dev=(1, 3)); add('p', B, dev=(1, 3)); add('p', D)", "p/", 0),
        ("add('q', D); add('q/a', data=b'1'); add('q', D, mode=0o700)", "q/ q/a", 0),
    ] {
        let tar = Scratch::new().python(script);
        match layer(&tar, None) {
            Ok(layer) => {
                assert_eq!(layer.diff.names(), expected, "{script}");
                assert_eq!(layer.unpacked.kept, kept, "{script}");
                let names = std::fs::read_dir(&layer.kept.path).unwrap().count();
                assert_eq!(names as u64, kept, "{script}");
            }
            Err(error) => assert_eq!(expected, "error", "{script}: {error}"),
        }
    }
}

#[test]
fn times_of_directories_are_those_of_their_entries_in_any_order() {
    let script = "add('d', D, mtime=11)
add('d/e', D, mtime=12)
add('z', mtime=13)
add('d/e/f', mtime=14)
add('d/g', mtime=15)
add('late/x', mtime=16)
add('late', D, mtime=17)
add('late/y', mtime=18)
add('.', D, mtime=19, mode=0o711)
add('d/e/.wh.f', mtime=20)";
    let layer = layer(&Scratch::new().python(script), None).unwrap();
    let times: Vec<String> = layer
        .diff
        .listing()
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{}{}", words[0], words[3])
        })
        .collect();
    assert_eq!(times, ["d/11", "d/e/12", "d/g15", "late/17", "late/x16", "late/y18", "z13"]);
    let root = rustix::fs::fstat(layer.diff.fd()).unwrap();
    assert_eq!((root.st_mtime, root.st_mode & 0o7777), (19, 0o711));
}

#[test]
fn attributes_are_taken_from_pax_and_only_those_a_layer_holds() {
    let script = "add('f', data=b'x', pax={
  'SCHILY.xattr.user.a': 'b', 'SCHILY.xattr.trusted.overlay.opaque': 'y',
  'SCHILY.xattr.user.overlay.opaque': 'y', 'SCHILY.xattr.security.selinux': 'l',
  'SCHILY.xattr.security.capability': '\\x01\\0\\0\\x02\\0\\x04' + '\\0' * 14,
  'mtime': '-1.5', 'uid': '3000000', 'gid': '4294967294'}, mode=0o6751)
add('d', D, pax={'SCHILY.xattr.trusted.overlay.opaque': 'y', 'SCHILY.xattr.user.d': '1'})
t.pax_headers = {'path': 'evil', 'size': '7'}
add('g', data=b'123')";
    let layer = layer(&Scratch::new().python(script), Some(&view())).unwrap();
    let listing = layer.diff.listing();
    assert!(listing.contains("f 106751 3000000:4294967294 -2 0:0 x1 1 "), "{listing}");
    for (name, expected) in [("f", "security.capability user.a"), ("d", "user.d")] {
        let mut names = vec![0; 1000];
        let path = layer.diff.path.join(name);
        let length = rustix::fs::listxattr(&path, names.as_mut_slice()).unwrap();
        let mut names: Vec<_> = names[..length].split(|byte| *byte == 0).collect();
        names.sort_unstable();
        let names: Vec<_> = names.into_iter().map(String::from_utf8_lossy).collect();
        assert_eq!(names.join(" ").trim(), expected, "{name}");
    }
}
