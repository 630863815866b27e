//! Archives made here and by python, through real stores; other programs read what was saved.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Import, Layout, LayoutPlace, Loaded, Style, Target, import, load, save};
use crate::error::Result;
use crate::event::Silent;
use crate::image::config::{ContainerConfig, ImageConfig};
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::store::{Scratch, Store};

struct Place {
    path: PathBuf,
    store: Store,
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        assert!(rustix::process::geteuid().is_root(), "these tests make devices: run them as root");
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("lath-archive-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let store = Store::open(&path).unwrap();
        let scratch = store.scratch().unwrap();
        Place { path, store, scratch }
    }

    fn load(&self, archive: &[u8], platform: Option<&str>) -> Result<Vec<Loaded>> {
        let platform = platform.map(|platform| Platform::parse(platform).unwrap());
        load(&self.store, &self.scratch, file(archive), platform.as_ref(), &mut Silent)
    }

    fn save(&self, images: &[(ImageId, Vec<Reference>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let target = Target::Tar(&mut out);
        save(&self.store, &self.scratch, images, &Style::default(), target, &mut Silent).unwrap();
        out
    }

    fn import(&self, tar: &[u8], name: &str) -> ImageId {
        let made = Import {
            name: Some(Reference::parse(name).unwrap()),
            config: ContainerConfig { cmd: Some(vec!["sh".into()]), ..Default::default() },
            comment: "Imported from -".into(),
            platform: Platform::parse("linux/amd64").unwrap(),
            created: "2020-01-02T03:04:05Z".into(),
        };
        import(&self.store, &self.scratch, file(tar), made).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("rm").arg("-rf").arg(&self.path).status();
    }
}

fn file(bytes: &[u8]) -> OwnedFd {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("lath-tape-{}-{number}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.into()
}

fn run(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = feeder.join().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {words}");
    Some(output.stdout)
}

/// What the scripts start with: `put` writes a member, `image` an image's blobs.
const PYTHON: &str = "
import tarfile, io, sys, json, hashlib, gzip
buffer = io.BytesIO()
out = tarfile.open(fileobj=buffer, mode='w')
def put(name, data, **more):
    if isinstance(data, (dict, list)): data = json.dumps(data).encode()
    info = tarfile.TarInfo(name); info.size = len(data)
    for key in more: setattr(info, key, more[key])
    out.addfile(info, io.BytesIO(data))
    return data
def layer(files):
    b = io.BytesIO(); t = tarfile.open(fileobj=b, mode='w', format=tarfile.GNU_FORMAT)
    for name, data in files:
        i = tarfile.TarInfo(name); i.size = len(data); t.addfile(i, io.BytesIO(data))
    t.close(); return b.getvalue()
def digest(data): return 'sha256:' + hashlib.sha256(data).hexdigest()
def blob(data, kind='', **more):
    data = put('blobs/sha256/' + digest(data)[7:], data)
    return dict(mediaType=kind, digest=digest(data), size=len(data), **more)
def config(layers, arch='amd64'):
    return json.dumps({'architecture': arch, 'os': 'linux', 'config': {'Cmd': ['sh']},
        'rootfs': {'type': 'layers', 'diff_ids': [digest(l) for l in layers]}}).encode()
M = 'application/vnd.oci.image.manifest.v1+json'
I = 'application/vnd.oci.image.index.v1+json'
def manifest(layers, arch='amd64', pack=lambda l: l, **more):
    return blob(json.dumps({'schemaVersion': 2, 'config': blob(config(layers, arch)),
        'layers': [blob(pack(l)) for l in layers]}).encode(), M, **more)
def index(*entries): put('index.json', {'schemaVersion': 2, 'manifests': list(entries)})
def at(arch): return {'os': 'linux', 'architecture': arch}
def name(n): return {'org.opencontainers.image.ref.name': n}
A, B = layer([('etc/a', b'1'), ('bin/x', b'x' * 3000)]), layer([('etc/.wh.a', b''), ('etc/b', b'2')])
";

fn python(script: &str) -> Vec<u8> {
    let script =
        format!("{PYTHON}{script}\nout.close(); sys.stdout.buffer.write(buffer.getvalue())");
    run("python3", &["-c", &script], b"").expect("python3 is there")
}

fn shown(loaded: Result<Vec<Loaded>>) -> String {
    match loaded {
        Err(error) => format!("error: {error}"),
        Ok(images) => images
            .iter()
            .map(|image| image.names.iter().map(Reference::to_string).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn names(script: &str, platform: Option<&str>) -> String {
    shown(Place::new().load(&python(script), platform))
}

#[test]
fn a_saved_image_comes_back_with_the_same_id_and_saves_the_same() {
    let first = Place::new();
    let tree = python("put('f', b'1' * 70000); put('d/g', b'2'); put('.wh.x', b'')");
    let id = first.import(&tree, "hub/tree:1");
    let other = first.import(&python("put('z', b'3')"), "other");
    let name = |text: &str| Reference::parse(text).unwrap();
    let images = [(id, vec![name("hub/tree:1"), name("b")]), (other, vec![]), (id, vec![])];
    let archive = first.save(&images);
    let second = Place::new();
    let loaded = second.load(&archive, None).unwrap();
    assert_eq!(shown(Ok(loaded.clone())), "hub/tree:1,b:latest ");
    assert_eq!((loaded[0].image, loaded[1].image), (id, other));
    assert_eq!(second.save(&images), archive);
    assert_eq!(second.store.config_text(&id).unwrap(), first.store.config_text(&id).unwrap());
    assert_eq!(second.store.named(&name("b")).unwrap(), Some(id));
    // The layer is the tar that was imported, byte for byte.
    let config = second.store.config(&id).unwrap().unwrap();
    assert_eq!(config.diff_ids, [Digest::of(&tree)]);
    assert_eq!(config.history[0].comment.as_deref(), Some("Imported from -"));
}

#[test]
fn other_programs_read_what_was_saved() {
    let place = Place::new();
    let id = place.import(&python("put('etc/f', b'1' * 70000)"), "hub/tree:1");
    let archive = place.save(&[(id, vec![Reference::parse("hub/tree:1").unwrap()])]);
    let path = place.path.with_extension("tar");
    std::fs::write(&path, archive).unwrap();
    let path = path.to_str().unwrap();
    for source in [format!("oci-archive:{path}:1"), format!("docker-archive:{path}:hub/tree:1")] {
        let to = format!("dir:{}/copy", place.path.display());
        // Not on every machine.
        if let Some(text) = run("skopeo", &["inspect", "--config", "--raw", &source], b"") {
            assert_eq!(Digest::of(&text), id, "{source}");
            run("skopeo", &["--insecure-policy", "copy", &source, &to], b"").unwrap();
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn layouts_of_all_kinds_are_loaded() {
    for (script, expected) in [
        ("index(manifest([A, B], annotations=name('x:1')))", "x:1"),
        ("index(manifest([A], pack=gzip.compress, annotations=name('x:1')))", "x:1"),
        ("m = manifest([A]); index(dict(m, annotations=name('x:1')), dict(m, annotations=name('y:2')))", "x:1,y:2"),
        ("index(manifest([A], annotations=name('latest')))", ""),
        ("index(manifest([A], annotations={'io.containerd.image.name': 'docker.io/library/x:1', **name('1')}))", "x:1"),
        ("index(manifest([]))", ""),
        ("index(manifest([A, A], annotations=name('UPPER:1')))", ""),
        (
            "index(blob(json.dumps({'manifests': [manifest([B], 'arm64', platform=at('arm64')),
               manifest([A], platform=at('amd64'))]}).encode(), I, annotations=name('x:1')))",
            "x:1",
        ),
        (
            "index(manifest([B], 'arm64', platform=at('arm64'), annotations=name('x:1')),
                   manifest([A], platform=at('amd64'), annotations=name('x:1')))",
            "x:1",
        ),
        ("index(manifest([A], platform=at('amd64')), manifest([B], platform=at('amd64')))", " "),
        (
            "index(manifest([A], annotations=name('x:1')), dict(blob(b'{}'), mediaType='text/plain'),
                   dict(blob(b'{}', M), annotations={'vnd.docker.reference.type': 'attestation-manifest'}))",
            "x:1",
        ),
        (
            "m = manifest([A], annotations=name('1')); index(m)
put('manifest.json', [{'Config': 'blobs/sha256/' + digest(config([A]))[7:], 'RepoTags': ['q/x:1'], 'Layers': []}])",
            "q/x:1",
        ),
    ] {
        assert_eq!(names(script, Some("linux/amd64")), expected, "{script}");
    }
}

#[test]
fn docker_archives_of_all_kinds_are_loaded() {
    for (script, expected) in [
        (
            "c = config([A, B]); put(digest(c)[7:] + '.json', c); put('1/layer.tar', A); put('2/layer.tar', B)
put('manifest.json', [{'Config': digest(c)[7:] + '.json', 'RepoTags': ['x:1', 'y'], 'Layers': ['1/layer.tar', '2/layer.tar']}])",
            "x:1,y:latest",
        ),
        (
            "c = config([A, A]); put('c.json', c); put('./1/layer.tar', A)
put('2/layer.tar', b'', type=b'2', linkname='../1/layer.tar')
put('manifest.json', [{'Config': 'c.json', 'RepoTags': None, 'Layers': ['1/layer.tar', '2/layer.tar']}])",
            "",
        ),
        (
            "c = config([A]); put(digest(c), c); put('l.tar.gz', gzip.compress(A))
put('manifest.json', [{'Config': digest(c), 'RepoTags': ['x:1'], 'Layers': ['l.tar.gz']}] * 2)",
            "x:1 x:1",
        ),
    ] {
        assert_eq!(names(script, None), expected, "{script}");
    }
}

#[test]
fn the_platform_asked_for_is_taken_or_nothing() {
    let both = "index(manifest([B], 'arm64', platform=at('arm64'), annotations=name('x:1')),
        manifest([A], platform=at('amd64'), annotations=name('x:1')))";
    let place = Place::new();
    let loaded = place.load(&python(both), Some("linux/arm64")).unwrap();
    let config: ImageConfig = place.store.config(&loaded[0].image).unwrap().unwrap();
    assert_eq!(config.platform.architecture, "arm64");
    let error = names(both, Some("linux/riscv64"));
    assert!(error.starts_with("error: the archive has no image for linux/riscv64"), "{error}");
    let one = "index(manifest([B], 'arm', annotations=name('x:1')))";
    assert_eq!(names(one, None), "x:1");
    assert!(names(one, Some("linux/amd64")).starts_with("error: the image is for linux/arm"));
}

#[test]
fn one_image_of_a_layout_is_found_by_tag_digest_and_platform() {
    let script = "index(manifest([A], platform=at('amd64'), annotations=name('1')),
        manifest([B], 'arm64', platform=at('arm64'), annotations=name('1')),
        blob(json.dumps({'manifests': [manifest([B], 'riscv64', platform=at('riscv64'))]}).encode(),
        I, annotations=name('hub/x:2')))";
    let place = Place::new();
    let folder = place.path.join("tmp/lay");
    std::fs::create_dir(&folder).unwrap();
    run("tar", &["-xC", folder.to_str().unwrap()], &python(script)).unwrap();
    let at = |tag: Option<&str>, digest: Option<Digest>| LayoutPlace {
        path: folder.to_str().unwrap().to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    };
    let found = |place: &LayoutPlace, platform: &str| {
        let wanted = Platform::parse(platform).unwrap();
        match Layout::find(place, Some(&wanted)) {
            Ok(layout) => {
                ImageConfig::parse(&layout.config().unwrap()).unwrap().platform.architecture
            }
            Err(error) => error.text().to_owned(),
        }
    };
    assert_eq!(found(&at(Some("1"), None), "linux/arm64"), "arm64");
    assert_eq!(found(&at(Some("1"), None), "linux/amd64"), "amd64");
    assert!(found(&at(Some("1"), None), "linux/386").ends_with("has no image for linux/386"));
    assert_eq!(found(&at(Some("hub/x:2"), None), "linux/riscv64"), "riscv64");
    assert!(found(&at(Some("hub/x:2"), None), "linux/386").ends_with("no image for linux/386"));
    assert!(found(&at(None, None), "linux/amd64").ends_with("no image has the tag \"latest\""));
    // A manifest that index.json does not name itself.
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let text = String::from_utf8(index).unwrap();
    let inner = text.split("sha256:").nth(3).unwrap().get(..64).unwrap();
    let index = std::fs::read(folder.join("blobs/sha256").join(inner)).unwrap();
    let text = String::from_utf8(index).unwrap();
    let manifest = Digest::parse_hex(text.split("sha256:").nth(1).unwrap().get(..64).unwrap());
    assert_eq!(found(&at(Some("none"), manifest), "linux/386"), "riscv64");
}

#[test]
fn nothing_is_believed() {
    for (script, word) in [
        ("m = manifest([A]); m['size'] += 1; index(m)", "bytes and not"),
        ("m = manifest([A]); m['digest'] = digest(b'x'); index(m)", "lacks"),
        ("m = manifest([A]); m['digest'] = 'sha512:00'; index(m)", "sha512"),
        (
            "m = manifest([A]); put('blobs/sha256/' + m['digest'][7:], b' ' * m['size']); index(m)",
            "its digest",
        ),
        (
            "m = manifest([A]); put('blobs/sha256/' + digest(A)[7:], b' ' * len(A)); index(m)",
            "what should be",
        ),
        (
            "m = manifest([A]); put('blobs/sha256/' + digest(config([A]))[7:], b' ' * len(config([A]))); index(m)",
            "its digest",
        ),
        (
            "index(blob(json.dumps({'config': blob(config([A])), 'layers': [blob(B)]}).encode(), M))",
            "the config says",
        ),
        (
            "index(blob(json.dumps({'config': blob(config([A, B])), 'layers': [blob(A)]}).encode(), M))",
            "names 2 layers",
        ),
        (
            "index(blob(json.dumps({'config': {}, 'layers': [], 'manifests': []}).encode(), M))",
            "both",
        ),
        ("index(blob(json.dumps({'manifests': []}).encode(), M))", "is not of the type"),
        ("index(dict(manifest([A]), mediaType=I))", "is not of the type"),
        ("index()", "no images"),
        ("put('index.json', b'x' * (5 << 20))", "4 MiB"),
        ("put('index.json', b'[' * 100000)", "index.json"),
        ("put('etc/passwd', b'')", "neither"),
        (
            "c = config([A]); put('0' * 64 + '.json', c); put('manifest.json', [{'Config': '0' * 64 + '.json', 'Layers': ['l']}]); put('l', A)",
            "its digest",
        ),
        (
            "c = config([A]); put('c', c); put('manifest.json', [{'Config': 'c', 'Layers': ['l']}]); put('l', B)",
            "the config says",
        ),
        (
            "c = config([A]); put('c', c); put('manifest.json', [{'Config': 'c', 'Layers': ['l']}])
put('l', b'', type=b'2', linkname='k'); put('k', b'', type=b'1', linkname='l')",
            "lacks",
        ),
        (
            "c = config([A]); put('c', c); put('manifest.json', [{'Config': 'c', 'Layers': ['../../../etc/passwd']}])",
            "lacks",
        ),
        ("Z = layer([('../x', b'')]); index(manifest([Z]))", "\"..\""),
        (
            "i = blob(b'{}', I)
for n in range(9): i = blob(json.dumps({'manifests': [dict(i, platform=at('amd64'))]}).encode(), I)
index(i)",
            "nested too deeply",
        ),
    ] {
        let place = Place::new();
        let shown = shown(place.load(&python(script), Some("linux/amd64")));
        assert!(shown.starts_with("error: ") && shown.contains(word), "{script}: {shown}");
        assert_eq!(place.store.images().unwrap(), []);
        assert_eq!(std::fs::read_dir(place.path.join("layers")).unwrap().count(), 0, "{script}");
        assert_eq!(std::fs::read_dir(place.path.join("chains")).unwrap().count(), 0, "{script}");
    }
}

#[test]
fn pipes_and_gzip_are_spooled_and_cut_archives_refused() {
    let archive = python("index(manifest([A, B], annotations=name('x:1')))");
    let packed = run("gzip", &[], &archive).unwrap();
    let place = Place::new();
    assert_eq!(shown(place.load(&packed, None)), "x:1");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let feed = archive.clone();
    let feeder = std::thread::spawn(move || writer.write_all(&feed));
    let loaded = load(&place.store, &place.scratch, reader.into(), None, &mut Silent);
    assert_eq!(shown(loaded), "x:1");
    feeder.join().unwrap().unwrap();
    for end in [0, 100, 600, archive.len() / 2] {
        assert!(shown(Place::new().load(&archive[..end], None)).starts_with("error: "), "{end}");
    }
    assert!(shown(Place::new().load(&packed[..packed.len() / 2], None)).starts_with("error: "));
}

#[test]
fn a_layer_lies_on_what_is_below_it() {
    let place = Place::new();
    let script = "C = layer([('new/.wh.x', b''), ('link/f', b'3')]); L = io.BytesIO()
t = tarfile.open(fileobj=L, mode='w'); i = tarfile.TarInfo('link'); i.type = b'2'; i.linkname = '/etc'
t.addfile(i); t.close(); L = L.getvalue()
index(manifest([A, B, L, C], annotations=name('x:1')))";
    let loaded = place.load(&python(script), None).unwrap();
    let chains = place.store.config(&loaded[0].image).unwrap().unwrap().chains();
    let files = |number: usize| {
        let name = place.store.layer(&chains[number]).unwrap().unwrap().name.unwrap();
        let find =
            format!("cd {}/layers/{name}/diff && find . -mindepth 1 | sort", place.path.display());
        String::from_utf8(run("sh", &["-c", &find], b"").unwrap()).unwrap().replace('\n', " ")
    };
    assert_eq!(files(1), "./etc ./etc/a ./etc/b ");
    assert_eq!(files(3), "./etc ./etc/f ./new ");
}
