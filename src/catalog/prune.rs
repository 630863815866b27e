//! Takes away what nobody needs: images without a name or without a use, and the cache; and says
//! what takes how much.
//!
//! Source: docker's daemon/images (ImagesPrune) and builder (Prune).

use std::collections::BTreeSet;

use super::filter::{Filters, until};
use super::list::list;
use crate::error::{Error, Result};
use crate::image::digest::ImageId;
use crate::instruction::parse_size;
use crate::session::Session;
pub use crate::store::{Pruned, Removal, Sizes, Wanted};

/// What `image prune` may take.
#[derive(Debug, Default)]
pub struct Images {
    /// Also those with a name.
    pub all: bool,
    /// `--filter`.
    pub filters: Vec<String>,
}

/// Removes the images without a name of which no other image was made; with `all` every one that
/// nothing runs of now.
pub fn images(session: &Session, wanted: &Images) -> Result<Removal> {
    let filters = filters(&wanted.filters, &["until", "label", "label!", "dangling"])?;
    let store = &session.store;
    let rows = list(store, false)?;
    let below = below(session)?;
    let mut ids: Vec<ImageId> = Vec::new();
    for row in &rows {
        let is_dangling = row.name.is_none() && !below.contains(&row.id);
        if (is_dangling || wanted.all) && filters.take(row)? && !ids.contains(&row.id) {
            ids.push(row.id);
        }
    }
    store.prune_images(&ids, wanted.all)
}

/// Reads what `builder prune` may take: the cache that led to no image, or all of it.
pub fn cache(all: bool, words: &[String], keep: Option<&str>) -> Result<Wanted> {
    filters(words, &["until"])?;
    let before = words.iter().filter_map(|word| word.split_once('='));
    let before = before.map(|(_, value)| until(value)).collect::<Result<Vec<_>>>()?;
    let keep = match keep {
        Some(text) => parse_size(text)
            .ok_or_else(|| Error::usage(format!("--keep-storage: invalid size: {text:?}")))?,
        None => 0,
    };
    Ok(Wanted { keep, before: before.into_iter().min(), is_vain: !all, nameless: false })
}

fn filters(words: &[String], known: &[&str]) -> Result<Filters> {
    let filters = Filters::parse(words)?;
    let name = |word: &String| word.split('=').next().unwrap_or_default().to_ascii_lowercase();
    match words.iter().map(name).find(|name| !known.contains(&name.as_str())) {
        None => Ok(filters),
        Some(name) => Err(Error::usage(format!("invalid filter {name:?}"))
            .hint(format!("use {}", known.join(" or ")))),
    }
}

/// The images that others were made of.
fn below(session: &Session) -> Result<BTreeSet<ImageId>> {
    let parents = session.store.parents()?;
    let mut below = BTreeSet::new();
    for id in session.store.images()? {
        let mut at = parents.get(&id);
        while let Some(id) = at.filter(|id| below.insert(**id)) {
            at = parents.get(id);
        }
    }
    Ok(below)
}
