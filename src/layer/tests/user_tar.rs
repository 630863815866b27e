//! Tars that a user adds to a tree.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::Scratch;
use crate::layer::unpack_into;

const TAR: &str = "add('t', D, mode=0o750)
add('t/f', data=b'in tar', mode=0o640, uid=11, gid=22, mtime=1000000000)
add('t/h', L, link='t/f', mode=0o640, uid=11, gid=22, mtime=1000000000)
add('t/l', S, link='f')
add('t/x', mode=0o4755, data=b'x')
add('../../up', data=b'up')
add('/abs', data=b'1')
add('p/q/r')
add('.wh.plain')
add('./', D, mode=0)";

#[test]
fn entries_go_into_the_destination_and_nowhere_else() {
    let root = Scratch::new();
    root.write("real/t/keep", b"kept");
    root.write("real/t/f", b"old");
    symlink("/real", root.path.join("dest")).unwrap();
    std::fs::set_permissions(root.path.join("real/t"), PermissionsExt::from_mode(0o700)).unwrap();
    let tar = Scratch::new().python(TAR);
    unpack_into(&mut tar.as_slice(), root.fd(), "/dest/", None).unwrap();
    assert_eq!(
        root.names(),
        "dest->/real real/ real/.wh.plain real/abs real/p/ real/p/q/ real/p/q/r real/t/ real/t/f \
         real/t/h real/t/keep real/t/l->f real/t/x real/up"
    );
    let listing = root.listing();
    for line in [
        "real/t/ 40750 0:0 5 ",
        "real/t/f 100640 11:22 1000000000 0:0 x2 6 ",
        "real/t/x 104755 0:0 5 ",
        "real/ 40755 0:0 ",
    ] {
        assert!(listing.contains(line), "{line}\n{listing}");
    }
    let implied = std::fs::metadata(root.path.join("real/p/q")).unwrap();
    assert!(implied.mtime() > 1_000_000_000);
}

#[test]
fn a_destination_that_is_missing_is_made_and_owned() {
    let root = Scratch::new();
    root.write("a/x", b"");
    let tar =
        Scratch::new().python("add('f', uid=1); add('t', D); add('l', S, link='f'); add('q/r')");
    unpack_into(&mut tar.as_slice(), root.fd(), "a/b/c", Some((1000, 50))).unwrap();
    let listing = root.listing();
    for line in [
        "a/ 40755 0:0",
        "a/b/ 40755 1000:50",
        "a/b/c/ 40755 1000:50",
        "a/b/c/f 100644 1000:50",
        "a/b/c/l->f 120777 1000:50",
        "a/b/c/t/ 40755 1000:50",
        "a/b/c/q/ 40755 0:0",
        "a/b/c/q/r 100644 1000:50",
    ] {
        assert!(listing.contains(line), "{line}\n{listing}");
    }
}

#[test]
fn a_destination_may_not_lead_out() {
    let root = Scratch::new();
    let outside = Scratch::new();
    symlink(&outside.path, root.path.join("out")).unwrap();
    symlink("../../../../../../over", root.path.join("up")).unwrap();
    let tar = Scratch::new().python("add('f', data=b'1'); add('h', L, link='../../f')");
    for dest in ["out/x", "up", "../../z"] {
        unpack_into(&mut tar.as_slice(), root.fd(), dest, None).unwrap();
    }
    assert_eq!(std::fs::read_dir(&outside.path).unwrap().count(), 0);
    let names = root.names();
    assert!(names.contains("over/f") && names.contains("z/h") && names.contains("x/f"), "{names}");
}
