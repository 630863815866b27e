//! Images -> one archive that is an OCI layout and a docker archive at once.
//!
//! Layers are plain tars or gzip, shared by the images, and the same bytes each time. Everything is
//! written in one go: sizes and digests are known before. Source: OCI image-spec, image-layout.md;
//! docker's `manifest.json`.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;

use crate::archive::folder::{Fill, Folder};
use crate::archive::oci::{IMAGE_NAME, REF_NAME, path};
use crate::error::{Context, Error, Result};
use crate::event::{Event, Listener};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{
    Descriptor, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST,
};
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::image::json::{MAX_BYTES, Value};
use crate::image::reference::Reference;
use crate::layer::compress::Gzip;
use crate::layer::entry::{Attributes, Entry, Node};
use crate::layer::verify::HashingWriter;
use crate::layer::writer::Writer;
use crate::layer::{Form, pack, replay};
use crate::map::Map;
use crate::store::{Layer, Scratch, Store};
use crate::sys::flow::Outflow;
use crate::sys::fs::copy_stream;

/// How images are written.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Layers are compressed with gzip of this level, 0 to 9; otherwise they are plain tars.
    pub gzip: Option<u8>,
    /// What the manifests, their descriptors or the index say besides.
    pub annotations: Vec<Annotation>,
}

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Who says it.
    pub level: Level,
    /// Its key.
    pub key: String,
    /// Its text.
    pub value: String,
}

/// What an annotation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A manifest.
    Manifest,
    /// A manifest's line in the index.
    Descriptor,
    /// The index.
    Index,
}

/// Where the archive goes.
pub enum Target<'a> {
    /// A tar.
    Tar(&'a mut dyn Outflow),
    /// A directory with the layout's files. Other images in it stay.
    Folder(&'a Folder),
}

enum Blob {
    Text(Vec<u8>),
    Layer(Layer),
    Packed(File, u64),
}

/// Writes images, each with the names it shall have in the archive. Gives their manifests.
pub fn save(
    store: &Store,
    scratch: &Scratch,
    images: &[(ImageId, Vec<Reference>)],
    style: &Style,
    target: Target<'_>,
    listener: &mut dyn Listener,
) -> Result<Vec<Descriptor>> {
    let mut gathered = Gathered { store, scratch, style, blobs: Map::default(), lines: Vec::new() };
    let (mut index, mut manifests) = (Vec::new(), Vec::new());
    let look = store.look()?;
    for (image, names) in images {
        let descriptor = gathered.image(image, names, listener)?;
        index.extend(named(&descriptor, names));
        manifests.push(descriptor);
    }
    drop(look);
    let mut writer = match target {
        Target::Tar(out) => Sink::Tar(Writer::new(out)),
        Target::Folder(folder) => {
            index = merged(folder, index)?;
            Sink::Folder(folder)
        }
    };
    if let Sink::Tar(writer) = &mut writer {
        for name in ["blobs", "blobs/sha256"] {
            writer.entry(&entry(name, Node::Directory), &mut io::empty())?;
        }
    }
    for (digest, blob) in gathered.blobs.iter() {
        match blob {
            Blob::Text(text) => writer.text(&path(digest), text)?,
            Blob::Packed(file, size) => writer.file(&path(digest), *size, &mut |out| {
                let mut file = file;
                file.rewind()?;
                copy_stream(&mut file, out).map(drop)
            })?,
            Blob::Layer(layer) => {
                let what = format!("layer {}", digest.short());
                let size = layer.tar_bytes;
                let moved =
                    |done_bytes| Event::Moved { what: &what, done_bytes, total_bytes: Some(size) };
                listener.event(&moved(0));
                writer.file(&path(digest), size, &mut |out| write_layer(store, layer, out))?;
                listener.event(&moved(size));
            }
        }
    }
    let mut top = Value::Object(Vec::new());
    top.set("schemaVersion", Some(Value::number(2)));
    top.set("mediaType", Some(Value::string(OCI_INDEX)));
    top.set("manifests", Some(Value::Array(index)));
    top.set("annotations", style.of(Level::Index));
    const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
    match writer {
        Sink::Tar(_) => {
            writer.text("index.json", top.to_text().as_bytes())?;
            let manifest = Value::Array(gathered.lines);
            writer.text("manifest.json", manifest.to_text().as_bytes())?;
            writer.text("oci-layout", LAYOUT)?;
        }
        Sink::Folder(folder) => {
            writer.text("oci-layout", LAYOUT)?;
            folder.sync()?;
            writer.text("index.json", top.to_text().as_bytes())?;
            folder.sync()?;
        }
    }
    if let Sink::Tar(writer) = writer {
        writer.finish()?;
    }
    Ok(manifests)
}

impl Style {
    fn of(&self, level: Level) -> Option<Value> {
        let mut all = Value::Null;
        for own in self.annotations.iter().filter(|own| own.level == level) {
            all.set(&own.key, Some(Value::string(&own.value)));
        }
        (all != Value::Null).then_some(all)
    }
}

/// What takes the files of an archive.
enum Sink<'a> {
    Tar(Writer<'a>),
    Folder(&'a Folder),
}

impl Sink<'_> {
    fn file(&mut self, path: &str, size: u64, fill: &mut Fill<'_>) -> Result<()> {
        match self {
            Sink::Tar(writer) => writer.stream(&entry(path, Node::File(size)), size, fill),
            Sink::Folder(folder) => folder.file(path, fill),
        }
    }

    fn text(&mut self, path: &str, text: &[u8]) -> Result<()> {
        self.file(path, text.len() as u64, &mut |out| Ok(out.write_all(text)?))
    }
}

/// The lines of an index that is there already, without the images and the names that come.
fn merged(folder: &Folder, mut new: Vec<Value>) -> Result<Vec<Value>> {
    let Some(old) = folder.read("index.json", MAX_BYTES)? else { return Ok(new) };
    let old = Value::parse(&old).context(|| "index.json")?;
    let name = |line: &Value| {
        // Others may have written the tag alone.
        let all = line.get("annotations")?;
        all.get(IMAGE_NAME).or_else(|| all.get(REF_NAME)).and_then(Value::as_str).map(str::to_owned)
    };
    let replaces = |line: &Value, old: &Value| match (name(line), name(old)) {
        (None, None) => line.get("digest") == old.get("digest"),
        (new, old) => new == old,
    };
    let lines = old.get("manifests").and_then(Value::as_array).unwrap_or_default();
    let mut kept: Vec<Value> =
        lines.iter().filter(|old| !new.iter().any(|line| replaces(line, old))).cloned().collect();
    kept.append(&mut new);
    Ok(kept)
}

/// Writes the tar of a layer: foreign ones with the very bytes they came with.
pub fn write_layer(store: &Store, layer: &Layer, out: &mut dyn Outflow) -> Result<()> {
    if write_again(store, layer, out)?.0 == layer.diff_id {
        return Ok(());
    }
    Err(Error::corrupt(format!("the layer {} was changed in the store", layer.diff_id))
        .hint("remove the images that use it with lath rmi, and build or load them again"))
}

/// Writes the tar of a layer as its tree is now; gives its digest and its length.
pub fn write_again(store: &Store, layer: &Layer, out: &mut dyn Outflow) -> Result<(DiffId, u64)> {
    let mut hashing = HashingWriter::new(out);
    let Some(name) = &layer.name else {
        hashing.write_all(&[0; 1024])?;
        return Ok(hashing.finish());
    };
    let (diff, by_name) = store.open_layer(name)?;
    match store.open_recipe(name)? {
        Some((recipe, kept)) => {
            let mut recipe = std::fs::File::from(recipe);
            replay(&mut recipe, diff.as_fd(), kept.as_ref().map(AsFd::as_fd), &mut hashing)?;
        }
        None => drop(pack(diff.as_fd(), Form::new(by_name), &mut hashing)?),
    }
    Ok(hashing.finish())
}

/// What the archive will have.
struct Gathered<'a> {
    store: &'a Store,
    scratch: &'a Scratch,
    style: &'a Style,
    blobs: Map<Digest, Blob>,
    /// Of docker's manifest.
    lines: Vec<Value>,
}

impl Gathered<'_> {
    /// Puts all blobs of an image to the others, and its line to docker's manifest.
    fn image(
        &mut self,
        image: &ImageId,
        names: &[Reference],
        listener: &mut dyn Listener,
    ) -> Result<Descriptor> {
        let text = self.store.config_text(image)?;
        let text = text.ok_or_else(|| Error::not_found(format!("no image {}", image.short())))?;
        let config = ImageConfig::parse(&text)?;
        let config_descriptor = Descriptor::new(OCI_CONFIG, *image, text.len() as u64);
        self.blobs.insert(*image, Blob::Text(text));
        let mut layers = Vec::new();
        for chain in config.chains() {
            let layer = self.store.needed_layer(&chain)?;
            if let Some(name) = &layer.name {
                self.scratch.uses(name)?;
            }
            let (descriptor, blob) = match self.style.gzip {
                None => {
                    let plain = Descriptor::new(OCI_LAYER, layer.diff_id, layer.tar_bytes);
                    (plain, Blob::Layer(layer))
                }
                Some(level) => self.packed(&layer, level, listener)?,
            };
            if !self.blobs.contains_key(&descriptor.digest) {
                self.blobs.insert(descriptor.digest, blob);
            }
            layers.push(descriptor);
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
        self.lines.push(line);

        let annotations = self.style.of(Level::Manifest);
        let own = image_manifest(&config_descriptor, &layers, annotations);
        let mut descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(&own), own.len() as u64);
        descriptor.platform = Some(config.platform);
        for own in self.style.annotations.iter().filter(|own| own.level == Level::Descriptor) {
            descriptor.annotations.push((own.key.clone(), own.value.clone()));
        }
        self.blobs.insert(descriptor.digest, Blob::Text(own));
        Ok(descriptor)
    }

    /// A compressed layer. Its size and its digest are only known when it is done, so that it
    /// waits in a nameless file.
    fn packed(
        &self,
        layer: &Layer,
        level: u8,
        listener: &mut dyn Listener,
    ) -> Result<(Descriptor, Blob)> {
        let what = format!("layer {}", layer.diff_id.short());
        let total_bytes = Some(layer.tar_bytes);
        let moved = |done_bytes| Event::Moved { what: &what, done_bytes, total_bytes };
        listener.event(&moved(0));
        let mut file = self.scratch.nameless_file()?;
        let mut hashing = HashingWriter::new(&mut file);
        let mut gzip = Gzip::new(&mut hashing, level)?;
        write_layer(self.store, layer, &mut gzip)?;
        gzip.finish()?;
        let (digest, size) = hashing.finish();
        listener.event(&moved(layer.tar_bytes));
        Ok((Descriptor::new(OCI_LAYER_GZIP, digest, size), Blob::Packed(file, size)))
    }
}

/// The text of an image's manifest.
pub fn image_manifest(
    config: &Descriptor,
    layers: &[Descriptor],
    annotations: Option<Value>,
) -> Vec<u8> {
    let mut own = Value::Object(Vec::new());
    own.set("schemaVersion", Some(Value::number(2)));
    own.set("mediaType", Some(Value::string(OCI_MANIFEST)));
    own.set("config", Some(config.to_json()));
    own.set("layers", Some(Value::Array(layers.iter().map(Descriptor::to_json).collect())));
    own.set("annotations", annotations);
    own.to_text().into_bytes()
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
