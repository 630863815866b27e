//! Steps in a tree of their own, and what their layers have.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::super::{Chain, Snapshot};
use super::*;
use crate::store::{Driver, Store};

struct Scene {
    path: PathBuf,
    scratch: Option<Scratch>,
    chain: Chain,
    newest: Option<i64>,
    layers: Vec<Workspace>,
}

impl Scene {
    /// With a layer below.
    fn new() -> Scene {
        let name = format!("lath-copy-{}", crate::sys::fs::random_name().unwrap());
        let path = std::env::temp_dir().join(name);
        let mut store = Store::open(&path).unwrap();
        store.wish(Driver::Copy).unwrap();
        let scratch = Some(store.scratch().unwrap());
        let chain = Chain::new(&store);
        let mut scene = Scene { path, scratch, chain, newest: None, layers: Vec::new() };
        scene.step(&|root| {
            fs::create_dir_all(root.join("etc/deep")).unwrap();
            fs::create_dir_all(root.join("home/user")).unwrap();
            fs::write(root.join("etc/file"), "old").unwrap();
            fs::write(root.join("etc/deep/other"), "old").unwrap();
            symlink("file", root.join("etc/link")).unwrap();
            fs::write(root.join("home/one"), "1").unwrap();
            fs::hard_link(root.join("home/one"), root.join("home/two")).unwrap();
        });
        scene
    }

    /// Makes a step; gives what is in its layer, whiteouts with a minus.
    fn step(&mut self, change: &dyn Fn(&Path)) -> Vec<String> {
        let scratch = self.scratch.as_ref().unwrap();
        let Snapshot::Copy(snapshot) = Snapshot::prepare(scratch, &self.chain).unwrap() else {
            panic!("another driver");
        };
        change(Path::new(&crate::sys::mount::fd_path(snapshot.root.dir.as_fd())));
        let (chain, layer) = snapshot.finish(scratch, self.newest).unwrap();
        self.chain = chain;
        let mut left = Vec::new();
        if let Some(layer) = layer {
            let diff = layer.open_dir("diff").unwrap();
            let mut walk = Walk::new(diff.as_fd(), Some(self.chain.form())).unwrap();
            while let Some(visit) = walk.next_visit().unwrap() {
                let Visit::Enter(found) = visit else { continue };
                let mark = if found.whiteout { "-" } else { "" };
                let opaque = found
                    .directory
                    .is_some_and(|directory| self.chain.form().is_opaque(directory).unwrap());
                let end = if opaque { "!" } else { "" };
                left.push(format!("{mark}{}{end}", String::from_utf8_lossy(found.path)));
            }
            self.layers.push(layer);
        }
        left
    }

    fn layer(&self) -> PathBuf {
        PathBuf::from(crate::sys::mount::fd_path(self.chain.top().unwrap()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.chain.slot.take();
        self.scratch.take();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes without a new size or time: the clock of the last change alone tells.
fn write_alike(path: &Path, content: &str) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn what_was_only_touched_and_put_back_is_not_in_the_layer() {
    let mut scene = Scene::new();
    let left = scene.step(&|root| {
        for path in ["etc/file", "etc/deep", "home/one"] {
            let path = root.join(path);
            let mode = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
            fs::set_permissions(&path, mode).unwrap();
        }
        write_alike(&root.join("etc/deep/other"), "old");
    });
    assert_eq!(left, [""; 0]);
    // The tree is handed on and nothing else is in it.
    assert_eq!(scene.step(&|_| ()), [""; 0]);
}

#[test]
fn a_change_is_there_with_its_parents_and_their_times() {
    let mut scene = Scene::new();
    let before = fs::metadata(scene.layer().join("etc/deep")).unwrap();
    let left = scene.step(&|root| fs::write(root.join("etc/deep/other"), "new").unwrap());
    assert_eq!(left, ["etc", "etc/deep", "etc/deep/other"]);
    let after = fs::metadata(scene.layer().join("etc/deep")).unwrap();
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
}

#[test]
fn changes_one_after_the_other_as_fast_as_it_goes_are_all_found() {
    let mut scene = Scene::new();
    for round in 0..30 {
        let content = format!("{:03}", round % 2);
        let left = scene.step(&|root| write_alike(&root.join("etc/file"), &content));
        assert_eq!(left, ["etc", "etc/file"], "round {round}");
        assert_eq!(fs::read_to_string(scene.layer().join("etc/file")).unwrap(), content);
    }
}

#[test]
fn what_may_have_the_same_time_is_compared() {
    let mut scene = Scene::new();
    scene.step(&|_| ());
    // As if the clock stood still: no time of the index is believed.
    let scratch = scene.scratch.as_ref().unwrap();
    let mut snapshot = super::Snapshot::prepare(scratch, &scene.chain).unwrap();
    snapshot.since = 0;
    let (_, layer) = snapshot.finish(scratch, None).unwrap();
    assert!(layer.is_none());
}

#[test]
fn removals_are_whiteouts_and_only_where_something_was() {
    let mut scene = Scene::new();
    let left = scene.step(&|root| {
        fs::remove_file(root.join("etc/file")).unwrap();
        fs::write(root.join("etc/brief"), "").unwrap();
        fs::remove_file(root.join("etc/brief")).unwrap();
        fs::remove_dir_all(root.join("home/user")).unwrap();
        fs::create_dir(root.join("new")).unwrap();
    });
    assert_eq!(left, ["etc", "-etc/file", "home", "-home/user", "new"]);
    // One of two names: the other is as it was.
    let left = scene.step(&|root| fs::remove_file(root.join("home/one")).unwrap());
    assert_eq!(left, ["home", "-home/one"]);
}

#[test]
fn a_directory_made_anew_hides_the_old_one() {
    let mut scene = Scene::new();
    let left = scene.step(&|root| {
        fs::remove_dir_all(root.join("etc")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/file"), "old").unwrap();
    });
    assert_eq!(left, ["etc!", "etc/file"]);
    let left = scene.step(&|root| {
        fs::remove_dir_all(root.join("home")).unwrap();
        fs::write(root.join("home"), "").unwrap();
        fs::remove_file(root.join("etc/file")).unwrap();
        fs::create_dir(root.join("etc/file")).unwrap();
    });
    assert_eq!(left, ["etc", "etc/file", "home"]);
}

#[test]
fn a_second_name_of_an_old_file_brings_the_first_along() {
    for name in ["etc/a", "etc/twin"] {
        let mut scene = Scene::new();
        let left = scene.step(&|root| {
            fs::hard_link(root.join("etc/file"), root.join(name)).unwrap();
        });
        let mut wanted = ["etc", "etc/file", name];
        wanted.sort_unstable();
        assert_eq!(left, wanted);
        let inode = |path: &str| fs::metadata(scene.layer().join(path)).unwrap().ino();
        assert_eq!(inode("etc/file"), inode(name));
    }
}

#[test]
fn all_names_of_a_file_that_is_written_are_in_the_layer() {
    let mut scene = Scene::new();
    let left = scene.step(&|root| fs::write(root.join("home/two"), "2").unwrap());
    assert_eq!(left, ["home", "home/one", "home/two"]);
    assert_eq!(fs::metadata(scene.layer().join("home/one")).unwrap().nlink(), 2);
}

#[test]
fn times_are_taken_back_to_the_newest_that_is_allowed_and_stay_so() {
    let mut scene = Scene::new();
    scene.newest = Some(1_000_000_000);
    let left = scene.step(&|root| {
        fs::write(root.join("etc/deep/new"), "x").unwrap();
        symlink("x", root.join("etc/deep/link")).unwrap();
    });
    assert_eq!(left, ["etc", "etc/deep", "etc/deep/link", "etc/deep/new"]);
    for path in &left {
        let stat = fs::symlink_metadata(scene.layer().join(path)).unwrap();
        assert_eq!(stat.mtime(), 1_000_000_000, "{path}");
    }
    let left = scene.step(&|root| {
        let stat = fs::symlink_metadata(root.join("etc/deep")).unwrap();
        assert_eq!(stat.mtime(), 1_000_000_000);
    });
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_name_that_would_read_as_a_whiteout_is_refused() {
    let scene = Scene::new();
    let scratch = scene.scratch.as_ref().unwrap();
    let snapshot = super::Snapshot::prepare(scratch, &scene.chain).unwrap();
    let root = crate::sys::mount::fd_path(snapshot.root.dir.as_fd());
    fs::write(Path::new(&root).join("etc/.wh.x"), "").unwrap();
    let error = snapshot.finish(scratch, None).err().unwrap().to_string();
    assert!(error.contains("starts with \".wh.\""), "{error}");
}
