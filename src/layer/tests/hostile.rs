//! Tars that want to get out, to get in, or to take everything with them.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::{Scratch, layer};
use crate::layer::unpack;
use crate::layer::writer::BLOCK;

/// Unpacks next to a canary; says what came of it. The canary must be as it was.
fn attack(tar: &[u8]) -> Result<String, String> {
    let outside = Scratch::new();
    outside.write("canary", b"alive");
    outside.write("tree/.keep", b"");
    std::fs::remove_file(outside.path.join("tree/.keep")).unwrap();
    let before = std::fs::metadata(outside.path.join("canary")).unwrap();
    let tree = crate::layer::node::open_directory(outside.fd(), b"tree").unwrap();
    let fd = std::os::fd::AsFd::as_fd(&tree);
    let done = unpack(&mut &tar[..], fd, None, crate::layer::Form::Overlay, None);
    let after = std::fs::metadata(outside.path.join("canary")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::read(outside.path.join("canary")).unwrap(), b"alive");
    let state = |m: &std::fs::Metadata| (m.ctime(), m.ctime_nsec(), m.mode(), m.nlink());
    assert_eq!(state(&before), state(&after));
    assert_eq!(std::fs::read_dir(&outside.path).unwrap().count(), 2);
    match done {
        Ok(_) => Ok(super::listing(fd, false).replace('\n', " ").trim_end().to_owned()),
        Err(error) => Err(error.text().to_owned()),
    }
}

fn script(script: &str) -> Result<String, String> {
    attack(&Scratch::new().python(script))
}

#[test]
fn names_stay_inside() {
    assert_eq!(script("add('/abs')").unwrap(), "abs");
    assert_eq!(script("add('//a//./b')").unwrap(), "a/ a/b");
    assert_eq!(script("add('a/l', S, link='../../canary'); add('a/l')").unwrap(), "a/ a/l");
    assert_eq!(
        script("add('l', S, link='../canary'); add('h', L, link='l'); add('h')").unwrap(),
        "h l->../canary"
    );
    assert_eq!(
        script("add('l', S, link='/canary'); add('l', D, mode=0); add('l/x')").unwrap(),
        "l/ l/x"
    );
    assert_eq!(script("add('n\\n\\x1b[2J')").unwrap(), "n \x1b[2J");
    for bad in [
        "add('../canary')",
        "add('a/../../canary')",
        "add('l', S, link='..'); add('l/x')",
        "add('l', S, link='../../../..'); add('l/.wh.canary')",
        "add('a/l', S, link='../../canary'); add('a/l/x')",
        "add('..', D)",
        "add('h', L, link='../canary')",
        "add('l', S, link='..'); add('h', L, link='l/canary')",
        "add('h', L, link='/../canary')",
        "add('l', S, link='../canary'); add('l/x')",
        "add('.')",
        "add('/', S, link='..')",
        "add('./', L, link='x')",
        "add('w', C)",
        "add('x' * 256)",
        "add('l', S, link='x' * 5000)",
        "add('x', pax={'path': 'a\\0b'})",
        "add('x', uid=1, pax={'uid': '4294967295'})",
        "add('x', pax={'gid': '-1'})",
    ] {
        match script(bad) {
            // A link out of the tree leads nowhere inside of it; a file may be made there.
            Ok(names) if bad.contains("add('l/x')") => {
                assert_eq!(names, "canary/ canary/x l->../canary")
            }
            done => assert!(done.is_err(), "{bad}: {done:?}"),
        }
    }
}

#[test]
fn types_that_are_unknown_are_refused_by_name() {
    for (kind, word) in [("b'S'", "sparse"), ("b'V'", "'V'"), ("b'M'", "'M'"), ("b'Z'", "'Z'")] {
        let error = script(&format!("add('x', {kind})")).unwrap_err();
        assert!(error.contains(word), "{kind}: {error}");
    }
    let sparse =
        "add('x', data=b'1\\n0\\n512\\n', pax={'GNU.sparse.major': '1', 'GNU.sparse.minor': '0'})";
    assert!(script(sparse).unwrap_err().contains("sparse"));
    assert_eq!(script("add('x', b'7', data=b'1')").unwrap(), "x");
}

#[test]
fn gnu_sparse_files_are_refused_in_both_forms() {
    for format in ["gnu", "posix"] {
        let scratch = Scratch::new();
        let command = format!("truncate -s 1M s; tar --format={format} -S -cf t.tar s");
        assert!(
            Command::new("sh")
                .args(["-c", &command])
                .current_dir(&scratch.path)
                .status()
                .unwrap()
                .success()
        );
        let error = attack(&std::fs::read(scratch.path.join("t.tar")).unwrap()).unwrap_err();
        assert!(error.contains("sparse"), "{format}: {error}");
    }
}

#[test]
fn a_size_of_pax_counts_for_its_own_entry_only() {
    // The size stands in front of a GNU long name: it is the file's, not the long name's.
    let tar = Scratch::new().python(
        "add('a', data=b'x' * 600, pax={'size': '600'})
add('b', data=b'1')",
    );
    assert_eq!(attack(&tar).unwrap(), "a b");
    let both = Scratch::new().python(
        "t.addfile(tarfile.TarInfo('drop'))
t.fileobj.seek(0); t.fileobj.truncate(); t.offset = 0
h = tarfile.TarInfo('x'); h.type = b'x'; rec = b'12 size=513\\n'; h.size = len(rec)
def block(data): return data + b'\\0' * (-len(data) % 512)
n = tarfile.TarInfo('././@LongLink'); n.type = b'L'; name = b'n' * 120 + b'\\0'; n.size = len(name)
f = tarfile.TarInfo('short'); f.size = 1
for part in (h.tobuf(), block(rec), n.tobuf(), block(name), f.tobuf(), block(b'y' * 513)):
    t.fileobj.write(part); t.offset += len(part)
add('after')",
    );
    let names = attack(&both).unwrap();
    assert_eq!(names, format!("after {}", "n".repeat(120)));
}

#[test]
fn damage_is_noticed() {
    let tar = Scratch::new().python("add('a', data=b'x' * 3000); add('d/b')");
    for end in [1, 511, 513, 600, BLOCK * 7 - 1, BLOCK * 7 + 5] {
        let error = attack(&tar[..end]).unwrap_err();
        assert!(error.contains("ends too early"), "{end}: {error}");
    }
    // The end may be missing as a whole, and behind it may be anything.
    assert_eq!(attack(&tar[..BLOCK * 8]).unwrap(), "a d/ d/b");
    assert_eq!(attack(&tar[..BLOCK * 9]).unwrap(), "a d/ d/b");
    assert_eq!(attack(b"").unwrap(), "");
    for at in [0, 100, 124, 150, 156] {
        let mut bent = tar.clone();
        bent[at] ^= 1;
        let error = attack(&bent).unwrap_err();
        assert!(error.contains("checksum"), "{at}: {error}");
    }
    let mut gap = tar[..BLOCK * 8].to_vec();
    gap.extend([0; BLOCK]);
    gap.extend(&tar[..BLOCK * 7]);
    assert!(attack(&gap).unwrap_err().contains("block of zeros"));
    let huge = Scratch::new().python("add('x', pax={'size': '9000000000000000000'}, data=b'1')");
    assert!(attack(&huge).unwrap_err().contains("ends too early"));
    let long = Scratch::new().python("add('x', pax={'comment': 'c' * (1 << 20)})");
    assert!(attack(&long).unwrap_err().contains("1 MiB"));
}

#[test]
fn a_tree_ten_thousand_levels_deep_is_unpacked_and_comes_back() {
    let script = "for n in (1, 400, 10000, 3, 9999): add('a/' * n + 'f', data=b'1', pax={})";
    let layer = layer(&Scratch::new().python(script), None).unwrap();
    let mut tar = Vec::new();
    let packed =
        crate::layer::pack(layer.diff.fd(), crate::layer::Form::Overlay, &mut tar).unwrap();
    assert_eq!(packed.entries, 10_005);
}

#[test]
fn a_view_that_is_a_trap_is_not_followed_out() {
    let view = Scratch::new();
    let outside = Scratch::new();
    symlink(&outside.path, view.path.join("out")).unwrap();
    let tar = Scratch::new().python("add('out/x', data=b'1'); add('h', L, link='out/x')");
    let layer = layer(&tar, Some(&view)).unwrap();
    assert_eq!(std::fs::read_dir(&outside.path).unwrap().count(), 0);
    assert!(layer.diff.names().ends_with("/x"), "{}", layer.diff.names());
}

#[test]
fn tars_bent_at_random_do_no_harm() {
    let script = "add('d', D); add('d/f', data=b'x' * 700, pax={'SCHILY.xattr.user.a': 'b', 'mtime': '1.5'})
add('l', S, link='d/../..'); add('l/n'); add('h', L, link='d/f'); add('.wh.x'); add('d/.wh..wh..opq')
add('n' * 150, data=b'1'); add('q', C, dev=(1, 3)); add('d', S, link='/')";
    let tar = Scratch::new().python(script);
    let mut state = 1u64;
    let mut random = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..400 {
        let mut bent = tar.clone();
        for _ in 0..1 + random(4) {
            let at = random(bent.len());
            // Bytes that mean something in a tar are more telling than any.
            bent[at] = [b'/', b'.', 0, b'7', b'1', b'5', 0x80, 0xff, b'x', b'=', b' '][random(11)];
        }
        for header in bent.chunks_exact_mut(BLOCK) {
            if header.get(257..262) == Some(b"ustar") {
                let mut fixed = tar::Header::from_byte_slice(header).clone();
                fixed.set_cksum();
                header.copy_from_slice(fixed.as_bytes());
            }
        }
        let _ = attack(&bent);
        if let Err(error) = layer(&bent, None) {
            assert!(!error.text().is_empty());
        }
    }
}
