//! Descriptors, manifests and indexes (OCI image-spec: descriptor.md, manifest.md, image-index.md;
//! docker's schema 2 has the same shape under other media types).

use super::digest::Digest;
use super::json::Value;
use super::platform::Platform;
use crate::error::{Context, Error, Result};

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A plain layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Names some bytes: what they are, how many, their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size_bytes: u64,
    /// What it runs on, in an index.
    pub platform: Option<Platform>,
    /// Annotations, as they stand.
    pub annotations: Vec<(String, String)>,
}

impl Descriptor {
    /// A descriptor without platform and annotations.
    pub fn new(media_type: &str, digest: Digest, size_bytes: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size_bytes,
            platform: None,
            annotations: Vec::new(),
        }
    }

    /// The text of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str())
    }

    /// Whether it names an index.
    pub fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_LIST].contains(&self.media_type.as_str())
    }

    /// Whether an entry of an index may be an image or more of them, and not an attestation or
    /// what nobody has thought of yet (image-spec, "image-index": unknown types are passed over).
    pub fn may_be_image(&self) -> bool {
        let known = ["", OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
        known.contains(&self.media_type.as_str())
            && self.annotation("vnd.docker.reference.type").is_none()
    }

    /// Reads a descriptor.
    pub fn from_json(value: &Value) -> Result<Descriptor> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let digest = text("digest").ok_or_else(|| Error::input("descriptor without a digest"))?;
        let size = value.get("size").and_then(Value::as_u64);
        let platform = value.get("platform").map(|platform| {
            let part = |key| platform.get(key).and_then(Value::as_str).unwrap_or_default();
            Platform::normal(part("os"), part("architecture"), part("variant"))
        });
        let annotations = value.get("annotations").and_then(Value::as_object).unwrap_or_default();
        Ok(Descriptor {
            media_type: text("mediaType").unwrap_or_default().to_owned(),
            digest: Digest::parse(digest)?,
            size_bytes: size.ok_or_else(|| Error::input("descriptor without a size"))?,
            platform,
            annotations: annotations
                .iter()
                .filter_map(|(key, text)| text.as_str().map(|text| (key.clone(), text.to_owned())))
                .collect(),
        })
    }

    /// Writes a descriptor.
    pub fn to_json(&self) -> Value {
        let mut out = Value::Object(Vec::new());
        out.set("mediaType", Some(Value::string(&self.media_type)));
        out.set("digest", Some(Value::string(self.digest.to_string())));
        out.set("size", Some(Value::number(self.size_bytes)));
        if let Some(platform) = &self.platform {
            let mut fields = Value::Object(Vec::new());
            fields.set("architecture", Some(Value::string(&platform.architecture)));
            fields.set("os", Some(Value::string(&platform.os)));
            let variant = (!platform.variant.is_empty()).then(|| Value::string(&platform.variant));
            fields.set("variant", variant);
            out.set("platform", Some(fields));
        }
        let annotations: Vec<_> =
            self.annotations.iter().map(|(key, text)| (key.clone(), Value::string(text))).collect();
        out.set("annotations", (!annotations.is_empty()).then_some(Value::Object(annotations)));
        out
    }
}

/// What a manifest blob turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image: its config and its layers, lowest first.
    Image {
        /// The config.
        config: Descriptor,
        /// The layers.
        layers: Vec<Descriptor>,
    },
    /// Several images.
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Reads a manifest or an index. One that claims to be both is refused, since two readers
    /// would see two images.
    pub fn parse(text: &[u8]) -> Result<Manifest> {
        let value = Value::parse(text).context(|| "manifest")?;
        let list = |key: &str| value.get(key).and_then(Value::as_array);
        match (list("manifests"), list("layers")) {
            (Some(_), Some(_)) => {
                Err(Error::input("manifest has both \"manifests\" and \"layers\""))
            }
            (Some(manifests), None) => {
                let read = manifests.iter().map(Descriptor::from_json).collect::<Result<Vec<_>>>();
                Ok(Manifest::Index(read.context(|| "image index")?))
            }
            (None, layers) => {
                let config =
                    value.get("config").ok_or_else(|| Error::input("manifest without a config"))?;
                let layers = layers.unwrap_or_default().iter().map(Descriptor::from_json);
                Ok(Manifest::Image {
                    config: Descriptor::from_json(config).context(|| "manifest")?,
                    layers: layers.collect::<Result<Vec<_>>>().context(|| "manifest")?,
                })
            }
        }
    }
}

/// Picks the manifest of an index for a platform: the first exact match, else the newest ARM
/// variant that the platform can run. Entries that are no images (attestations) are passed over.
pub fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let images = entries.iter().filter(|entry| {
        entry.annotation("vnd.docker.reference.type") != Some("attestation-manifest")
    });
    let mut best: Option<(&Descriptor, &str)> = None;
    for entry in images {
        let Some(platform) = &entry.platform else { continue };
        if !platform.suits(wanted) {
            continue;
        }
        if best.is_none_or(|(_, variant)| platform.variant.as_str() > variant) {
            best = Some((entry, &platform.variant));
        }
    }
    best.map(|(entry, _)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str) -> Descriptor {
        let mut entry = Descriptor::new(OCI_MANIFEST, Digest::of(platform.as_bytes()), 1);
        entry.platform = Platform::parse(platform).ok();
        entry
    }

    #[test]
    fn the_newest_variant_that_runs_is_chosen() {
        let entries: Vec<_> =
            ["linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7"].map(entry).to_vec();
        let pick = |platform: &str| {
            let wanted = Platform::parse(platform).unwrap();
            choose(&entries, &wanted).map(|entry| entry.platform.clone().unwrap().to_string())
        };
        assert_eq!(pick("linux/arm/v6").as_deref(), Some("linux/arm/v6"));
        assert_eq!(pick("linux/arm/v7").as_deref(), Some("linux/arm/v7"));
        assert_eq!(pick("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(pick("linux/riscv64"), None);
    }

    #[test]
    fn descriptors_read_back_and_bad_ones_are_refused() {
        let mut one = entry("linux/arm/v7");
        one.annotations.push(("a".into(), "b".into()));
        assert_eq!(Descriptor::from_json(&one.to_json()).unwrap(), one);
        let both = br#"{"manifests":[],"layers":[],"config":{}}"#;
        assert!(Manifest::parse(both).is_err());
        let negative = br#"{"config":{"digest":"sha256:00","size":-1},"layers":[]}"#;
        assert!(Manifest::parse(negative).is_err());
    }
}
