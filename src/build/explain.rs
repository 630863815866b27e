//! `--explain`: why a step was not taken from the cache.
//!
//! A record keeps short hashes of what went into its step. The record that is nearest to the step
//! at hand shows what is not the same: one after the same image, best with the same text, else
//! one of the same text after another image; of several the newest.

use crate::error::Result;
use crate::image::config::ImageConfig;
use crate::instruction::{Effect, Lowered};
use crate::plan::key::Brief;
use crate::snapshot::Done;
use crate::store::{CacheKey, Record, Store};

/// Says in a few words why there is no record of this key. `changes` names files that have changed.
pub fn why(
    store: &Store,
    key: &CacheKey,
    parent: &Done,
    lowered: &Lowered,
    brief: &Brief,
    changes: &dyn Fn() -> Result<Option<String>>,
) -> Result<String> {
    if store.cached(key)?.is_some() {
        return Ok("its layer is not in the store any more".to_owned());
    }
    let own = parent.is_stored.then_some(parent.id);
    let mut nearest: Option<(u8, Record, Brief)> = None;
    store.each_record(false, &mut |_, record| {
        let Some(old) = Brief::parse(&record.brief) else { return Ok(true) };
        let is_same = (old.text == brief.text, old.effect == brief.effect);
        let rank = match (record.parent == own, is_same) {
            (true, (text, effect)) => 2 + 2 * u8::from(text) + u8::from(effect),
            (false, (true, true)) => 1,
            (false, _) => return Ok(true),
        };
        let is_nearer = nearest.as_ref().is_none_or(|(best, known, _)| {
            (*best, known.created.as_str()) < (rank, record.created.as_str())
        });
        if is_nearer {
            nearest = Some((rank, record.clone(), old));
        }
        Ok(true)
    })?;
    let Some((rank, record, old)) = nearest else {
        return Ok("this step is new".to_owned());
    };
    let text = match rank {
        1 if parent.base.is_some() => "the base image changed",
        1 => "the image before it changed",
        _ if old.text != brief.text => return changed_text(store, &record, lowered),
        _ if old.effect != brief.effect => "its flags or its here-document changed",
        _ if old.content == brief.content => "SOURCE_DATE_EPOCH changed",
        _ if matches!(lowered.effect, Effect::Run(_)) => {
            "files that it mounts, --add-host, --shm-size or --ulimit changed"
        }
        _ => {
            let files = changes()?.map(|files| format!(": {files}")).unwrap_or_default();
            return Ok(format!("the content of its files changed{files}"));
        }
    };
    Ok(text.to_owned())
}

/// The statement as it was and as it is.
fn changed_text(store: &Store, record: &Record, lowered: &Lowered) -> Result<String> {
    let old = store.config_text(&record.image)?;
    let old = old.and_then(|text| ImageConfig::parse(&text).ok());
    let line = old.as_ref().and_then(|image| image.history.last());
    let old = line.map_or("?", |line| line.created_by.as_str());
    let new = lowered.created_by.as_str();
    let is_argument = old.starts_with("ARG ") && new.starts_with("ARG ");
    let what = if is_argument { "build argument" } else { "instruction" };
    Ok(format!("{what} changed: {old} -> {new}").replace('\n', " "))
}
