//! Images made by the tests themselves: a busybox root as a tar, tars with any member, and OCI
//! layouts around them. Nothing of lath makes them, so that lath cannot agree with itself alone.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use tar::{Builder, EntryType, Header};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                      app:x:1000:1000:app:/home/app:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nstaff:x:50:app\napp:x:1000:\nnogroup:x:65534:\n";

/// One member of a tar.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    File(&'a str, &'a str),
    Folder(&'a str),
    Soft(&'a str, &'a str),
    Hard(&'a str, &'a str),
}

/// The root of a small system as a tar: busybox with all its applets as links, four users.
pub fn busybox_tar() -> Vec<u8> {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let path = busybox().expect("a static busybox");
        let program = fs::read(&path).unwrap();
        let mut tar = Builder::new(Vec::new());
        for (name, mode) in [
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("var", 0o755),
            ("home", 0o755),
        ] {
            add(&mut tar, EntryType::Directory, name, "", &[], mode);
        }
        add(&mut tar, EntryType::Regular, "bin/busybox", "", &program, 0o755);
        for applet in super::host(path.to_str().unwrap(), &["--list"]).lines() {
            if applet != "busybox" {
                let name = format!("bin/{applet}");
                add(&mut tar, EntryType::Symlink, &name, "busybox", &[], 0o777);
            }
        }
        add(&mut tar, EntryType::Regular, "etc/passwd", "", PASSWD.as_bytes(), 0o644);
        add(&mut tar, EntryType::Regular, "etc/group", "", GROUP.as_bytes(), 0o644);
        tar.into_inner().unwrap()
    })
    .clone()
}

/// The same with the few applets that a test of many copies needs. `mark` tells one from another.
pub fn small_busybox_tar(mark: &str) -> Vec<u8> {
    let whole = busybox_tar();
    let mut small = Builder::new(Vec::new());
    for entry in tar::Archive::new(whole.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let applet = name.strip_prefix("bin/").unwrap_or("sh");
        if ["busybox", "sh", "true", "grep", "ln", "rm", ""].contains(&applet) {
            small.append(&header, &mut entry).unwrap();
        }
    }
    add(&mut small, EntryType::Regular, "mark", "", mark.as_bytes(), 0o644);
    small.into_inner().unwrap()
}

/// A tar of these members as they are written, whatever their names are.
pub fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for member in members {
        match *member {
            Member::File(name, text) => {
                add(&mut tar, EntryType::Regular, name, "", text.as_bytes(), 0o644);
            }
            Member::Folder(name) => add(&mut tar, EntryType::Directory, name, "", &[], 0o755),
            Member::Soft(name, to) => add(&mut tar, EntryType::Symlink, name, to, &[], 0o777),
            Member::Hard(name, to) => add(&mut tar, EntryType::Link, name, to, &[], 0o644),
        }
    }
    tar.into_inner().unwrap()
}

/// An OCI layout, as a tar, of one image with these layers (plain tars) and a name.
pub fn layout_of(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    packed_layout_of(name, layers, layers, "")
}

/// The same with the layers also as they lie there, and the end of their media type: `+zstd`.
pub fn packed_layout_of(
    name: &str,
    layers: &[Vec<u8>],
    packed: &[Vec<u8>],
    suffix: &str,
) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut blob = |bytes: &[u8]| {
        let hex = hex(bytes);
        add(&mut tar, EntryType::Regular, &format!("blobs/sha256/{hex}"), "", bytes, 0o644);
        format!("\"digest\":\"sha256:{hex}\",\"size\":{}", bytes.len())
    };
    let config = super::config_of(layers);
    let kind = "application/vnd.oci.image";
    let config = blob(config.as_bytes());
    let layers: Vec<_> = packed
        .iter()
        .map(|layer| format!("{{\"mediaType\":\"{kind}.layer.v1.tar{suffix}\",{}}}", blob(layer)))
        .collect();
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{kind}.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"{kind}.config.v1+json\",{config}}},\"layers\":[{}]}}",
        layers.join(",")
    );
    let manifest = blob(manifest.as_bytes());
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"{kind}.manifest.v1+json\",{manifest},\
         \"annotations\":{{\"org.opencontainers.image.ref.name\":\"{name}\"}}}}]}}"
    );
    add(&mut tar, EntryType::Regular, "index.json", "", index.as_bytes(), 0o644);
    let layout = b"{\"imageLayoutVersion\":\"1.0.0\"}";
    add(&mut tar, EntryType::Regular, "oci-layout", "", layout, 0o644);
    tar.into_inner().unwrap()
}

/// This machine's, as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// This machine's busybox, if it is static.
pub fn busybox() -> Option<PathBuf> {
    let path = super::needs::find("busybox")?;
    let program = fs::read(&path).ok()?;
    // The name of the loader stands right after the headers.
    let mut start = program.get(..4096)?.windows(4);
    let asks_for_a_library = start.any(|bytes| bytes == b"/ld-");
    (!asks_for_a_library).then_some(path)
}

/// The digest of these bytes, in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add(
    tar: &mut Builder<Vec<u8>>,
    kind: EntryType,
    name: &str,
    link: &str,
    content: &[u8],
    mode: u32,
) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    // Past the checks of the crate: hostile names are wanted too.
    let ustar = header.as_ustar_mut().unwrap();
    ustar.name[..name.len()].copy_from_slice(name.as_bytes());
    ustar.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}
