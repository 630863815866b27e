//! Layers that say by name what is gone are the same layers.

use super::super::{Form, View, merge, pack, unpack};
use super::Scratch;

const BELOW: &str = "
for n in ['a/', 'a/x', 'a/y', 'b/', 'b/old', 'c', 'd/', 'd/e/', 'd/e/f', 'g']:
    add(n.rstrip('/'), D if n.endswith('/') else b'0')";

const LAYER: &str = "
add('a', D)
add('a/.wh..wh..opq')
add('a/new', data=b'1')
add('.wh.b')
add('b', D)
add('b/new', data=b'2')
add('.wh.c')
add('c', data=b'3')
add('d/.wh.e')
add('d/e/again', data=b'4')
add('.wh.g')
add('.wh.nothing')
add('l', b'1', link='a/new')";

#[test]
fn both_forms_pack_to_the_same_tar_and_merge_to_the_same_tree() {
    let (below, tars) = (Scratch::new(), Scratch::new());
    let (lower, upper) = (tars.python(BELOW), tars.python(LAYER));
    unpack(&mut lower.as_slice(), below.fd(), None, Form::Overlay, None).unwrap();
    let results = [Form::Overlay, Form::Names].map(|form| {
        let diff = Scratch::new();
        unpack(&mut upper.as_slice(), diff.fd(), Some(below.fd()), form, None).unwrap();
        let mut tar = Vec::new();
        pack(diff.fd(), form, &mut tar).unwrap();
        let view = Scratch::new();
        for (layer, form) in [(&below, Form::Overlay), (&diff, form)] {
            let layer = View { root: layer.fd(), spill: view.fd(), newest: None };
            merge(&layer, form, view.fd()).unwrap();
        }
        (tar, view.listing(), diff.names())
    });
    let [(tar, view, _), (other_tar, other_view, names)] = results;
    assert!(tar == other_tar, "the tars differ");
    assert_eq!(view, other_view);
    assert!(names.contains("a/.wh..wh..opq"), "{names}");
    assert!(names.contains(".wh.g") && names.contains("d/e/.wh..wh..opq"), "{names}");
    assert!(!names.contains(".wh.nothing") && !names.contains(".wh.c"), "{names}");
    let shown: Vec<&str> = view.lines().filter_map(|line| line.split(' ').next()).collect();
    let wanted = ["a/", "a/new", "b/", "b/new", "c", "d/", "d/e/", "d/e/again", "l"];
    assert_eq!(shown, wanted);
}

#[test]
fn a_link_to_what_is_gone_by_name_is_refused() {
    let (below, tars, diff) = (Scratch::new(), Scratch::new(), Scratch::new());
    below.write("f", b"x");
    let tar = tars.python("\nadd('.wh.f')\nadd('l', b'1', link='f')");
    let done = unpack(&mut tar.as_slice(), diff.fd(), Some(below.fd()), Form::Names, None);
    assert!(done.unwrap_err().to_string().contains("not there"));
}
