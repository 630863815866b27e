//! The list of images, and an image's history.

use crate::error::{Error, Kind, Result};
use crate::image::config::{History, ImageConfig};
use crate::image::digest::{Digest, ImageId};
use crate::image::reference::Reference;
use crate::image::time::parse_rfc3339;
use crate::sort::sort_by;
use crate::store::{Name, Store};

/// An image in the list; one with several names stands there several times.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The image.
    pub id: ImageId,
    /// A name, if it has one; with a digest and no tag for an image that was pulled by it.
    pub name: Option<Reference>,
    /// What the registry of this name calls it, if it was pulled from there.
    pub digest: Option<Digest>,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// Bytes of the files in all its layers.
    pub size_bytes: u64,
    /// Labels.
    pub labels: Vec<(String, String)>,
}

/// All images, newest first; with the steps of builds when `all`.
pub fn list(store: &Store, all: bool) -> Result<Vec<Listed>> {
    let names = store.names()?;
    let digests = store.digests()?;
    let mut rows = Vec::new();
    let mut ids = store.images()?;
    if all {
        ids.extend(store.steps()?.into_iter().filter(|id| !store.has_image(id)));
    }
    for id in ids {
        let config = match store.config(&id) {
            Ok(Some(config)) => config,
            // Gone meanwhile.
            Ok(None) => continue,
            // A damaged image must be seen to be removed.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Input) => {
                log::debug!("{error}");
                ImageConfig::default()
            }
            Err(error) => return Err(error),
        };
        let row = Listed {
            id,
            name: None,
            digest: None,
            created: created(&config),
            size_bytes: size(store, &config),
            labels: config.config.labels.into_iter().collect(),
        };
        let count = rows.len();
        let own =
            |names: &'_ [Name]| names.iter().filter(|name| name.image == id).cloned().collect();
        let (named, pulled): (Vec<Name>, Vec<Name>) = (own(&names), own(&digests));
        for Name { reference, .. } in named {
            let from = pulled.iter().find(|from| from.reference.is_same_repository(&reference));
            let digest = from.and_then(|from| from.reference.digest);
            rows.push(Listed { name: Some(reference), digest, ..row.clone() });
        }
        if rows.len() == count {
            let name = pulled.into_iter().next().map(|name| name.reference);
            rows.push(Listed { digest: name.as_ref().and_then(|name| name.digest), name, ..row });
        }
    }
    sort_by(&mut rows, &mut |a, b| (b.created, &a.name).cmp(&(a.created, &b.name)));
    Ok(rows)
}

/// When an image was made, seconds since 1970.
pub fn created(config: &ImageConfig) -> i64 {
    config.created.as_deref().and_then(parse_rfc3339).unwrap_or(0)
}

/// Bytes of an image's files. A layer that cannot be read counts nothing: the list must work on
/// a damaged store too.
pub fn size(store: &Store, config: &ImageConfig) -> u64 {
    let layers = config.chains().into_iter().filter_map(|chain| store.layer(&chain).ok().flatten());
    layers.map(|layer| layer.size_bytes).sum()
}

/// A line of an image's history.
#[derive(Clone, Debug)]
pub struct Line {
    /// The image after that step, when it is known.
    pub image: Option<ImageId>,
    /// What the config says of it.
    pub history: History,
    /// Bytes of its layer.
    pub size_bytes: u64,
}

/// An image's history, newest first.
pub fn history(store: &Store, id: &ImageId) -> Result<Vec<Line>> {
    let config =
        store.config(id)?.ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
    let chains = config.chains();
    let mut layers = chains.iter();
    let mut lines = Vec::new();
    for history in &config.history {
        let layer = match history.empty_layer {
            true => None,
            false => layers.next().and_then(|chain| store.layer(chain).ok().flatten()),
        };
        lines.push(Line {
            image: None,
            history: History::clone(history),
            size_bytes: layer.map_or(0, |layer| layer.size_bytes),
        });
    }
    // Layers that no line speaks of, as other programs write them.
    for chain in layers {
        let size_bytes = store.layer(chain).ok().flatten().map_or(0, |layer| layer.size_bytes);
        lines.push(Line { image: None, history: History::default(), size_bytes });
    }
    if let Some(last) = lines.last_mut() {
        last.image = Some(*id);
    }
    name_steps(store, *id, &mut lines)?;
    lines.reverse();
    Ok(lines)
}

/// Finds the images of earlier steps by going from each to the one that it was made of.
fn name_steps(store: &Store, id: Digest, lines: &mut [Line]) -> Result<()> {
    let parents = store.parents()?;
    let mut at = id;
    for line in lines.iter_mut().rev() {
        line.image = store.config_text(&at)?.map(|_| at);
        match parents.get(&at) {
            Some(parent) => at = *parent,
            None => break,
        }
    }
    Ok(())
}
