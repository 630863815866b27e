//! Pulling: from registries that a test writes itself, right or wrong, and from a real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod formats;
mod links;
mod mirrors;
mod places;
mod real;
mod refused;
mod safe;

use harness::{Lath, Member, Need, Output, Shelf, Web, finish, hex, tar_of};
use std::fs;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Program("gzip")];
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LATEST: &str = "/v2/hub/x/manifests/latest";

/// The command in a world of its own where /etc has these files too.
fn with_etc(lath: &Lath, words: &[&str], files: &[(&str, &str)]) -> Command {
    for (name, text) in files {
        lath.write(&format!("etc/upper/{name}"), text);
    }
    fs::create_dir_all(lath.path("etc/work")).unwrap();
    let plain = lath.command(words);
    let script = "mount -t overlay overlay -o lowerdir=/etc,upperdir=$0/upper,workdir=$0/work /etc \
                  && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, &lath.text("etc")]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    command
}

/// The name of a shelf's image where it is served.
fn name(web: &Web) -> String {
    format!("127.0.0.1:{}/hub/x", web.port())
}

/// A layer of one small file.
fn small() -> Vec<u8> {
    tar_of(&[Member::File("f", "hello\n")])
}

/// A layer whose bytes can hardly be compressed, of some half a megabyte.
fn large() -> Vec<u8> {
    let mut state = 1_u64;
    let text: String = (0..600_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + u8::try_from(state >> 58).unwrap())
        })
        .collect();
    tar_of(&[Member::File("big", &text)])
}

/// What the manifest of a shelf is.
fn manifest(shelf: &Shelf) -> String {
    String::from_utf8(shelf.bytes(LATEST).unwrap().to_owned()).unwrap()
}

/// A shelf of one small image whose manifest was changed.
fn edited(edit: impl Fn(&str) -> String) -> Shelf {
    let mut shelf = Shelf::of(&[small()]);
    let text = edit(&manifest(&shelf));
    shelf.manifest("latest", MANIFEST, &text);
    shelf
}

/// The id of the image of a shelf: the digest that its manifest has of the config.
fn id(shelf: &Shelf) -> String {
    let text = manifest(shelf);
    let start = text.find("sha256:").unwrap();
    text[start..start + 71].to_owned()
}

/// `lath pull` with more words, and with the log that a developer sees.
fn pull(lath: &Lath, words: &[&str]) -> Output {
    let mut args = vec!["pull"];
    args.extend(words);
    finish(lath.command(&args).env("LATH_LOG", "debug"), &[])
}

/// Whether there is nothing in a folder of the store.
fn is_empty(lath: &Lath, folder: &str) -> bool {
    fs::read_dir(lath.store().join(folder)).map_or(true, |mut entries| entries.next().is_none())
}

/// Nothing of an image is there.
#[track_caller]
fn has_nothing(lath: &Lath) {
    for folder in ["images", "refs", "chains", "layers", "manifests"] {
        assert!(is_empty(lath, folder), "{folder}: {:?}", lath.listing().names());
    }
    assert_eq!(lath.ok(&["images", "-aq"]), "");
}

/// The image of this registry is refused with these words, and nothing of it is left.
#[track_caller]
fn refused(web: &Web, wanted: &str) -> String {
    let lath = Lath::new();
    let error = lath.fails(&["pull", &name(web)]);
    assert!(error.contains(wanted), "wanted {wanted:?}: {error}");
    has_nothing(&lath);
    error
}

/// The image of this registry comes in, and is what its config says.
#[track_caller]
fn pulled(web: &Web, id: &str) -> Lath {
    let lath = Lath::new();
    lath.ok(&["pull", &name(web)]);
    assert_eq!(lath.id(&name(web)), id);
    assert!(is_empty(&lath, "partial"), "{:?}", lath.listing().names());
    lath
}

/// The digest of bytes as it is written.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}
