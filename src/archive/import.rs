//! A tar of a root tree -> an image of one layer.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::archive::stack::Stack;
use crate::error::Result;
use crate::image::config::{ContainerConfig, History, ImageConfig};
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::layer::compress::decompress;
use crate::store::{NewImage, Publication, Scratch, Store};

/// What the image says beside its tree.
pub struct Import {
    /// Its name, if it gets one.
    pub name: Option<Reference>,
    /// What a container of it starts with (`--change`).
    pub config: ContainerConfig,
    /// The line of its history: `--message`, or where it came from.
    pub comment: String,
    /// What it runs on.
    pub platform: Platform,
    /// When it is made, RFC 3339.
    pub created: String,
}

/// Imports a tar, plain or gzipped, from a file or a pipe.
pub fn import(store: &Store, scratch: &Scratch, input: OwnedFd, import: Import) -> Result<ImageId> {
    let (_, mut tar) = decompress(Box::new(File::from(input)))?;
    let mut stack = Stack::new(store, scratch);
    let diff_id = stack.add(&mut tar, None)?;
    let history = History {
        created: Some(import.created.clone()),
        comment: Some(import.comment),
        ..History::default()
    };
    let image = ImageConfig {
        created: Some(import.created),
        platform: import.platform,
        config: import.config,
        diff_ids: vec![diff_id],
        history: vec![Arc::new(history)],
        ..ImageConfig::default()
    };
    let text = image.to_text().into_bytes();
    let id = Digest::of(&text);
    let mut publication = Publication {
        layers: stack.new,
        images: vec![NewImage { text, is_final: true }],
        names: import.name.into_iter().map(|name| (name, id)).collect(),
        ..Publication::default()
    };
    store.publish(scratch, &mut publication)?;
    Ok(id)
}
