//! A container's changes as an image.

use std::sync::Arc;

use super::changes::is_place;
use super::processes::Frozen;
use super::{Container, Record, keeper};
use crate::catalog::change;
use crate::catalog::resolve::new_name;
use crate::error::{Context, Error, Result};
use crate::image::config::{ContainerConfig, DEFAULT_PATH, History};
use crate::image::digest::{Digest, ImageId};
use crate::image::time::stamp;
use crate::session::Session;
use crate::snapshot::changed::layer_of;
use crate::store::{NewImage, Publication};

/// What is said of the new image.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its name.
    pub name: Option<String>,
    /// `--author`.
    pub author: Option<String>,
    /// `--message`.
    pub message: Option<String>,
    /// `--change`.
    pub changes: Vec<String>,
    /// `--pause`: nothing of it runs meanwhile.
    pub pause: bool,
}

impl Container {
    /// Makes an image of it; everything is on the medium when it returns.
    pub fn commit(&self, session: &Session, request: &Request) -> Result<ImageId> {
        let (record, store) = (&self.record, &session.store);
        let name = request.name.as_deref().map(new_name).transpose()?;
        let image = store.config(&record.image)?;
        let mut image = image.ok_or_else(|| Error::not_found("its image is gone"))?;
        let own = config_of(record, &image.config);
        image.config = change::apply(&request.changes, own)?;
        store.room(self.bytes()?)?;
        let scratch = session.scratch()?;
        scratch.uses(&record.chains.join("\n"))?;
        let chain = self.chain(session)?;
        let (is_running, state) = self.state()?;
        let leader = keeper::process_of(state.pid).filter(|_| is_running && request.pause);
        let frozen = leader.map(Frozen::of).transpose()?;
        let top = image.chains().pop();
        let layer = layer_of(self.folder.dir(), &chain, &is_place, top.as_ref(), &scratch);
        drop(frozen);
        let layer = layer.context(|| "make a layer of what it has changed")?;
        let created = stamp(None);
        image.history.push(Arc::new(History {
            created: Some(created.clone()),
            created_by: record.argv.join(" "),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: false,
        }));
        image.created = Some(created);
        image.author = request.author.clone().or(image.author);
        image.diff_ids.push(layer.layer.diff_id);
        let text = image.to_text().into_bytes();
        let id = Digest::of(&text);
        let mut publication = Publication {
            layers: vec![layer],
            images: vec![NewImage { text, is_final: true }],
            names: name.into_iter().map(|name| (name, id)).collect(),
            ..Publication::default()
        };
        store.publish(&scratch, &mut publication)?;
        Ok(id)
    }
}

/// What the image's containers are to start with: as this one was made, without what lath itself
/// has put into its environment.
fn config_of(record: &Record, image: &ContainerConfig) -> ContainerConfig {
    let mut config = image.clone();
    let lath_s = [
        ("PATH", DEFAULT_PATH),
        ("HOSTNAME", record.hostname.as_str()),
        ("TERM", if record.flags.tty { "xterm" } else { "" }),
    ];
    config.env = record.env.clone();
    config.env.retain(|entry| {
        let pair = entry.split_once('=').unwrap_or((entry, ""));
        !lath_s.contains(&pair) || image.env_value(pair.0).is_some()
    });
    let entrypoint = image.entrypoint.as_deref().unwrap_or_default();
    config.cmd = match record.argv.strip_prefix(entrypoint) {
        Some([]) => image.cmd.clone().filter(Vec::is_empty),
        Some(words) => Some(words.to_vec()),
        // It was made with another.
        None => {
            config.entrypoint = None;
            Some(record.argv.clone())
        }
    };
    config.user = record.user.clone();
    config.working_dir = record.cwd.clone();
    for label in &record.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        config.labels.insert(name.to_owned(), value.to_owned());
    }
    config
}
