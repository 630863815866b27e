//! What a registry has, made by a test: blobs and manifests under their addresses, served as a
//! good registry would, or as the test has it.

use super::base::{architecture, hex};
use super::web::{Asked, Web};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

/// The repository of all images of a shelf.
const REPOSITORY: &str = "/v2/hub/x";

/// Addresses and what is there: media type and bytes.
#[derive(Clone, Default)]
pub struct Shelf(BTreeMap<String, (String, Vec<u8>)>);

impl Shelf {
    /// With one image, `hub/x:latest`, of these tars, each compressed with gzip.
    pub fn of(layers: &[Vec<u8>]) -> Shelf {
        let mut shelf = Shelf::default();
        let kind = "application/vnd.oci.image";
        let packed: Vec<_> = layers.iter().map(|layer| packed("gzip", layer)).collect();
        let packed: Vec<_> = packed
            .iter()
            .map(|layer| shelf.blob(&format!("{kind}.layer.v1.tar+gzip"), layer))
            .collect();
        let config = shelf.blob(&format!("{kind}.config.v1+json"), config_of(layers).as_bytes());
        let media_type = format!("{kind}.manifest.v1+json");
        shelf.manifest("latest", &media_type, &manifest_of(&media_type, &config, &packed));
        shelf
    }

    /// Adds a blob; gives its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", hex(bytes));
        let path = format!("{REPOSITORY}/blobs/{digest}");
        self.0.insert(path, ("application/octet-stream".into(), bytes.to_owned()));
        descriptor(media_type, bytes)
    }

    /// Adds a manifest under its digest and a tag; gives its descriptor.
    pub fn manifest(&mut self, tag: &str, media_type: &str, text: &str) -> String {
        let digest = format!("sha256:{}", hex(text.as_bytes()));
        for name in [tag, &digest] {
            let path = format!("{REPOSITORY}/manifests/{name}");
            self.0.insert(path, (media_type.to_owned(), text.as_bytes().to_owned()));
        }
        descriptor(media_type, text.as_bytes())
    }

    /// What lies at an address.
    pub fn bytes(&self, target: &str) -> Option<&[u8]> {
        self.0.get(target).map(|(_, bytes)| bytes.as_slice())
    }

    /// The address of the largest thing: that of a layer, where a test has one to speak of.
    pub fn largest(&self) -> String {
        let largest = self.0.iter().max_by_key(|(_, (_, bytes))| bytes.len());
        largest.unwrap().0.clone()
    }

    /// The address of what is said with these words in it.
    pub fn with(&self, words: &str) -> String {
        let mut all = self.0.iter();
        let found = all.find(|(path, (_, bytes))| {
            !path.ends_with(":latest") && String::from_utf8_lossy(bytes).contains(words)
        });
        found.unwrap_or_else(|| panic!("nothing says {words}")).0.clone()
    }

    /// A good registry's answer.
    pub fn answer(&self, asked: &Asked) -> Vec<u8> {
        if asked.target() == "/v2/" {
            return super::web::ok("", "{}");
        }
        let Some((media_type, bytes)) = self.0.get(asked.target()) else {
            return super::web::status(404);
        };
        let range = asked.header("range").map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let last = last.parse().unwrap_or(bytes.len() - 1);
            (first.parse::<usize>().unwrap(), last.min(bytes.len() - 1))
        });
        let (first, last) = range.unwrap_or((0, bytes.len().saturating_sub(1)));
        let part = bytes.get(first..=last).unwrap_or_default();
        let status = match range {
            None => "200 OK".to_owned(),
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}",
                bytes.len()
            ),
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            part.len()
        )
        .into_bytes();
        answer.extend(part);
        answer
    }

    /// A registry that has it.
    pub fn serve(self) -> Web {
        self.serve_but(|_, _| None)
    }

    /// A registry that has it, but answers as the test says, where that says something.
    pub fn serve_but(
        self,
        but: impl Fn(&Shelf, &Asked) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Web {
        Web::start(move |asked| but(&self, asked).unwrap_or_else(|| self.answer(asked)))
    }
}

/// A descriptor of these bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    format!(
        "{{\"mediaType\":\"{media_type}\",\"digest\":\"sha256:{}\",\"size\":{}}}",
        hex(bytes),
        bytes.len()
    )
}

/// A config for this machine, with these layers (plain tars).
pub fn config_of(layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|l| format!("\"sha256:{}\"", hex(l))).collect();
    format!(
        "{{\"architecture\":\"{}\",\"os\":\"linux\",\"config\":{{\"Cmd\":[\"sh\"]}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
        architecture(),
        diff_ids.join(",")
    )
}

/// A manifest of these descriptors.
pub fn manifest_of(media_type: &str, config: &str, layers: &[String]) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{media_type}\",\"config\":{config},\
         \"layers\":[{}]}}",
        layers.join(",")
    )
}

/// What a program of this machine, gzip or zstd, makes of bytes.
pub fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut own = super::process::own_children();
    let mut child = command.spawn().unwrap();
    own.insert(child.id());
    drop(own);
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_owned());
    let writer = thread::spawn(move || input.write_all(&bytes).unwrap());
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    super::process::own_children().remove(&id);
    assert!(output.status.success());
    output.stdout
}
