//! Images -> one archive that is an OCI layout and a docker archive at once.
//!
//! Layers are plain tars, shared by the images, and the same bytes each time. Everything is
//! written in one go: sizes and digests are known before. Source: OCI image-spec, image-layout.md;
//! docker's `manifest.json`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::archive::oci::{IMAGE_NAME, REF_NAME, path};
use crate::error::{Context, Error, Result};
use crate::event::{Event, Listener};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{Descriptor, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::image::digest::{Digest, ImageId};
use crate::image::json::Value;
use crate::image::reference::Reference;
use crate::layer::entry::{Attributes, Entry, Node};
use crate::layer::verify::HashingWriter;
use crate::layer::writer::Writer;
use crate::layer::{pack, replay};
use crate::store::{Layer, Scratch, Store};

enum Blob {
    Text(Vec<u8>),
    Layer(Layer),
}

/// Writes images, each with the names it shall have in the archive.
pub fn save(
    store: &Store,
    scratch: &Scratch,
    images: &[(ImageId, Vec<Reference>)],
    out: &mut dyn Write,
    listener: &mut dyn Listener,
) -> Result<()> {
    let mut blobs = BTreeMap::new();
    let (mut index, mut manifest) = (Vec::new(), Vec::new());
    for (image, names) in images {
        let descriptor = gather(store, scratch, image, names, &mut blobs, &mut manifest)?;
        index.extend(named(&descriptor, names));
    }
    let mut writer = Writer::new(out);
    for name in ["blobs", "blobs/sha256"] {
        writer.entry(&entry(name, Node::Directory), &mut io::empty())?;
    }
    for (digest, blob) in &blobs {
        match blob {
            Blob::Text(text) => file(&mut writer, &path(digest), text)?,
            Blob::Layer(layer) => {
                let what = format!("layer {}", digest.short());
                let size = layer.tar_bytes;
                let moved =
                    |done_bytes| Event::Moved { what: &what, done_bytes, total_bytes: Some(size) };
                listener.event(&moved(0));
                let entry = entry(&path(digest), Node::File(size));
                writer.stream(&entry, size, &mut |out| write_layer(store, layer, out))?;
                listener.event(&moved(size));
            }
        }
    }
    let mut top = Value::Object(Vec::new());
    top.set("schemaVersion", Some(Value::number(2)));
    top.set("mediaType", Some(Value::string(OCI_INDEX)));
    top.set("manifests", Some(Value::Array(index)));
    file(&mut writer, "index.json", top.to_text().as_bytes())?;
    file(&mut writer, "manifest.json", Value::Array(manifest).to_text().as_bytes())?;
    file(&mut writer, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    writer.finish()
}

/// Writes the tar of a layer: foreign ones with the very bytes they came with.
pub fn write_layer(store: &Store, layer: &Layer, out: &mut dyn Write) -> Result<()> {
    let Some(name) = &layer.name else {
        return Ok(out.write_all(&[0; 1024])?);
    };
    let mut hashing = HashingWriter::new(out);
    let diff = store.open_layer(name)?;
    match store.open_recipe(name)? {
        Some((recipe, kept)) => {
            let mut recipe = std::fs::File::from(recipe);
            replay(&mut recipe, diff.as_fd(), kept.as_ref().map(AsFd::as_fd), &mut hashing)?;
        }
        None => drop(pack(diff.as_fd(), &mut hashing)?),
    }
    let (found, _) = hashing.finish();
    if found == layer.diff_id {
        return Ok(());
    }
    Err(Error::corrupt(format!("the layer {} was changed in the store", layer.diff_id))
        .hint("remove the images that use it with lath rmi, and build or load them again"))
}

/// Puts all blobs of an image to the others, and its line to docker's manifest.
fn gather(
    store: &Store,
    scratch: &Scratch,
    image: &ImageId,
    names: &[Reference],
    blobs: &mut BTreeMap<Digest, Blob>,
    manifest: &mut Vec<Value>,
) -> Result<Descriptor> {
    let text = store.config_text(image)?;
    let text = text.ok_or_else(|| Error::not_found(format!("no image {}", image.short())))?;
    let config = ImageConfig::parse(&text)?;
    let config_descriptor = Descriptor::new(OCI_CONFIG, *image, text.len() as u64);
    blobs.insert(*image, Blob::Text(text));
    let mut layers = Vec::new();
    for chain in config.chains() {
        let layer = store.layer(&chain)?.ok_or_else(|| {
            Error::corrupt(format!("the layer of chain {} is not in the store", chain.short()))
                .hint("load or build the image again")
        })?;
        if let Some(name) = &layer.name {
            scratch.uses(name)?;
        }
        layers.push(Descriptor::new(OCI_LAYER, layer.diff_id, layer.tar_bytes));
        blobs.entry(layer.diff_id).or_insert(Blob::Layer(layer));
    }
    let mut line = Value::Object(Vec::new());
    line.set("Config", Some(Value::string(path(image))));
    let tags = match names {
        [] => Value::Null,
        names => Value::strings(names.iter().map(Reference::to_string)),
    };
    line.set("RepoTags", Some(tags));
    let paths = layers.iter().map(|layer| path(&layer.digest));
    line.set("Layers", Some(Value::strings(paths)));
    manifest.push(line);

    let mut own = Value::Object(Vec::new());
    own.set("schemaVersion", Some(Value::number(2)));
    own.set("mediaType", Some(Value::string(OCI_MANIFEST)));
    own.set("config", Some(config_descriptor.to_json()));
    own.set("layers", Some(Value::Array(layers.iter().map(Descriptor::to_json).collect())));
    let own = own.to_text().into_bytes();
    let mut descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(&own), own.len() as u64);
    descriptor.platform = Some(config.platform);
    blobs.insert(descriptor.digest, Blob::Text(own));
    Ok(descriptor)
}

/// The lines of the index for an image: one a name.
fn named(descriptor: &Descriptor, names: &[Reference]) -> Vec<Value> {
    if names.is_empty() {
        return vec![descriptor.to_json()];
    }
    let line = |name: &Reference| {
        let mut line = descriptor.clone();
        let full = format!("{}:{}", name.full_name(), name.tag_or_latest());
        line.annotations.push((IMAGE_NAME.to_owned(), full));
        let tag = name.tag_or_latest().to_owned();
        line.annotations.push((REF_NAME.to_owned(), tag));
        line.to_json()
    };
    names.iter().map(line).collect()
}

fn entry(path: &str, node: Node) -> Entry {
    let mode = if node == Node::Directory { 0o755 } else { 0o644 };
    let attributes = Attributes { mode, ..Attributes::default() };
    Entry { path: path.into(), node, attributes }
}

fn file(writer: &mut Writer<'_>, path: &str, text: &[u8]) -> Result<()> {
    let entry = entry(path, Node::File(text.len() as u64));
    writer.entry(&entry, &mut &text[..]).context(|| path)
}
