//! Layers and chains, images and steps, cache records, names.

use super::{Check, Content, Fault, Lost, Remedy, fault};
use crate::error::Result;
use crate::image::config::ImageConfig;
use crate::image::digest::{ChainId, Digest};
use crate::image::json;
use crate::image::reference::Reference;
use crate::store::below::{self, is_place};
use crate::store::{Layer, Record, Store, is_dir, layers, refs};

const IN_LAYER: [&str; 5] = ["diff", "meta", "tar", "kept", "marks"];

/// What is found of a layer whose content is another.
const DAMAGED: &str = "a damaged one";

impl Check<'_> {
    /// Each chain's record, and the layer that it names with all that is in it.
    pub(super) fn chains(&mut self, content: &mut Content<'_>) -> Result<()> {
        let is_chain = |name: &str| Digest::parse_hex(name).is_some();
        self.each("chains", &is_chain, &mut |check, name| {
            let Some(chain) = Digest::parse_hex(name) else { return Ok(()) };
            check.chain(&chain, content)
        })
    }

    fn chain(&mut self, chain: &ChainId, content: &mut Content<'_>) -> Result<()> {
        let found = match self.store.whole_layer(chain)? {
            Ok(layer) => {
                let Some((expected, found)) = content(&layer)? else {
                    self.done.counts.layers += 1;
                    return Ok(());
                };
                let Some(name) = layer.name else { return Ok(()) };
                let below = self.store.place_below(chain);
                // Others may have removed it while it was read.
                let is_bad = self.look(&mut |store| {
                    let is_there = store
                        .whole_layer(chain)?
                        .is_ok_and(|layer| layer.name.as_ref() == Some(&name));
                    let lost = if below.is_some() { None } else { Some(*chain) };
                    let remedy = Remedy::Lose(Lost::Layer(lost));
                    let object = format!("layers/{name}");
                    Ok(is_there.then(|| Fault { remedy, ..fault(&object, &expected, &found) }))
                })?;
                if !is_bad {
                    return Ok(());
                }
                self.told_layers.insert(name.clone());
                self.done.bad_layers.insert(name);
                if below.is_none() {
                    self.done.bad_chains.insert(*chain);
                    return Ok(());
                }
                DAMAGED.to_owned()
            }
            Err(place) if is_place(&place) => match self.store.place_below(chain) {
                Some(_) => return Ok(()),
                None if self.store.is_below(&place) => format!("no such layer in {place:?}"),
                None => return self.away(chain, place),
            },
            Err(found) => found,
        };
        self.lost_chain(chain, &found, content)
    }

    /// A chain whose layer lies in a store that is not there now. Each such store is told once.
    fn away(&mut self, chain: &ChainId, place: String) -> Result<()> {
        self.away.0.insert(*chain);
        if self.away.1.insert(place.clone()) {
            let found = "other stores or none, so that images here lack layers";
            let remedy = Remedy::Name(place.clone());
            let fault = fault("LATH_STORES", &format!("the store {place:?}"), found);
            self.done.faults.push(Fault { remedy, ..fault });
        }
        Ok(())
    }

    /// A chain whose record is of no use: written anew if a layer says that it is the one.
    fn lost_chain(
        &mut self,
        chain: &ChainId,
        found: &str,
        content: &mut Content<'_>,
    ) -> Result<()> {
        let below = self.store.place_below(chain).map(str::to_owned);
        let claim = match below {
            None => self.claim(chain, content)?,
            below => below,
        };
        let remedy = match &claim {
            Some(name) => Remedy::Write(format!("{name}\n")),
            None => Remedy::Lose(Lost::Layer(Some(*chain))),
        };
        let object = format!("chains/{}", chain.hex());
        let expected = match &claim {
            Some(name) => format!("the layer {name}"),
            None => "a layer that is there and whole".to_owned(),
        };
        let is_bad = self.look(&mut |store| {
            let is_bad = store.whole_layer(chain)?.is_err() || found == DAMAGED;
            let fault = || fault(&object, &expected, found);
            Ok(is_bad.then(|| Fault { remedy: remedy.clone(), ..fault() }))
        })?;
        match (is_bad, claim) {
            (false, _) => {}
            (true, Some(name)) => {
                self.told_layers.insert(name);
                self.claimed.insert(*chain);
            }
            (true, None) => {
                self.done.bad_chains.insert(*chain);
            }
        }
        Ok(())
    }

    /// A whole layer that says that it is the top of a chain.
    fn claim(&mut self, chain: &ChainId, content: &mut Content<'_>) -> Result<Option<String>> {
        let mut claim = None;
        self.store.entries("layers", &mut |name, _| {
            let found = self.store.meta_of(name)?.filter(|layer| layer.chain == *chain);
            if let Some(layer) = found
                && is_dir(self.store.fd(), &format!("layers/{name}/diff"))
                && content(&layer)?.is_none()
            {
                claim = Some(name.to_owned());
            }
            Ok(())
        })?;
        Ok(claim)
    }

    /// Each layer's folder: whether a chain names it, and what is in it.
    pub(super) fn layers(&mut self) -> Result<()> {
        self.each("layers", &layers::is_name, &mut |check, name| {
            let path = format!("layers/{name}");
            check.each(&path, &|name| IN_LAYER.contains(&name), &mut |_, _| Ok(()))?;
            if check.told_layers.contains(name) {
                return Ok(());
            }
            check.look(&mut |store| {
                let chain = store.meta_of(name)?.map(|layer| layer.chain);
                let named = match chain {
                    Some(chain) => store.whole_layer(&chain)?.ok().and_then(|layer| layer.name),
                    None => None,
                };
                // Whoever works with it removes it or names it.
                if named.as_deref() == Some(name)
                    || store.leased()?.iter().any(|leased| leased == name)
                    || !store.exists(&path)?
                {
                    return Ok(None);
                }
                let remedy = Remedy::Lose(Lost::Layer(None));
                let found = "a layer that no chain names";
                Ok(Some(Fault { remedy, ..fault(&path, "nothing", found) }))
            })?;
            Ok(())
        })
    }

    /// The configs of images or of steps, and whether their layers are there.
    pub(super) fn images(&mut self, dir: &str, content: &mut Content<'_>) -> Result<()> {
        let is_id = |name: &str| Digest::parse_hex(name).is_some();
        self.each(dir, &is_id, &mut |check, name| {
            let Some(id) = Digest::parse_hex(name) else { return Ok(()) };
            let path = format!("{dir}/{name}");
            let lose = Remedy::Lose(Lost::Image(id));
            let text = check.store.below().and_then(|below| below.config_text(&id).ok()?);
            let below = text.and_then(|text| String::from_utf8(text).ok());
            let mut is_bad = check.look(&mut |store| {
                let expected = format!("a config of digest {}", id.short());
                let found = match store.plain(&path, json::MAX_BYTES)? {
                    Ok(text) => match Digest::of(&text) {
                        digest if digest == id => None,
                        digest => Some(format!("one of digest {}", digest.short())),
                    },
                    Err(_) if !store.exists(&path)? => None,
                    Err(found) => Some(found),
                };
                let remedy = match &below {
                    Some(text) => Remedy::Write(text.clone()),
                    None => lose.clone(),
                };
                Ok(found.map(|found| Fault { remedy, ..fault(&path, &expected, &found) }))
            })?;
            let config = match (check.store.plain(&path, json::MAX_BYTES)?, &below) {
                (_, Some(text)) => ImageConfig::parse(text.as_bytes()).ok(),
                (Ok(text), _) if !is_bad => ImageConfig::parse(&text).ok(),
                _ => None,
            };
            if let Some(config) = config {
                is_bad = check.image(&path, &config, &lose, content)?;
            }
            let counts = &mut check.done.counts;
            match dir {
                _ if is_bad => drop(check.done.bad_images.insert(id)),
                "images" => counts.images += 1,
                _ => counts.steps += 1,
            }
            Ok(())
        })
    }

    /// Whether the layers of an image are not all there.
    fn image(
        &mut self,
        path: &str,
        config: &ImageConfig,
        lose: &Remedy,
        content: &mut Content<'_>,
    ) -> Result<bool> {
        for (chain, diff) in config.chains().iter().zip(&config.diff_ids) {
            if self.away.0.contains(chain) {
                continue;
            }
            let is_gone = !self.store.has_own_chain(chain) && self.store.exists(path)?;
            let is_known = self.done.bad_chains.contains(chain) || self.claimed.contains(chain);
            if is_gone && !is_known {
                self.lost_chain(chain, "nothing", content)?;
            }
            if self.claimed.contains(chain) {
                continue;
            }
            let bad_chains = &self.done.bad_chains;
            let is_bad = bad_chains.contains(chain);
            let expected = format!("the layer {}", diff.short());
            let is_bad = self.look(&mut |store| {
                let found = match store.whole_layer(chain)? {
                    _ if is_bad => "a damaged or missing one",
                    Ok(layer) if layer.diff_id == *diff => return Ok(None),
                    Ok(_) => "another one",
                    Err(_) if store.place_below(chain).is_some() => return Ok(None),
                    Err(_) => "none",
                };
                let is_there = store.exists(path)?;
                let remedy = lose.clone();
                Ok(is_there.then(|| Fault { remedy, ..fault(path, &expected, found) }))
            })?;
            if is_bad {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Each step's record.
    pub(super) fn records(&mut self) -> Result<()> {
        let is_hex = |name: &str, length: usize| {
            name.len() == length && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        self.each("cache", &|name| is_hex(name, 2), &mut |check, start| {
            let dir = format!("cache/{start}");
            check.each(&dir, &|name| is_hex(name, 62), &mut |check, name| {
                let is_bad = check.text(&format!("{dir}/{name}"), "a cache record", &|text| {
                    Record::parse(text).is_some()
                })?;
                check.done.counts.records += usize::from(!is_bad);
                Ok(())
            })
        })
    }

    /// A small text that is of use or not.
    pub(super) fn text(
        &mut self,
        path: &str,
        expected: &str,
        is_whole: &dyn Fn(&str) -> bool,
    ) -> Result<bool> {
        self.look(&mut |store| {
            let found = match store.plain(path, 4096)? {
                Ok(text) if is_whole(&String::from_utf8_lossy(&text)) => return Ok(None),
                Ok(_) => "a damaged one".to_owned(),
                Err(_) if !store.exists(path)? => return Ok(None),
                Err(found) => found,
            };
            Ok(Some(fault(path, expected, &found)))
        })
    }

    /// Each name, and whether its image is there and can be used.
    pub(super) fn names(&mut self) -> Result<()> {
        self.each("refs", &|_| true, &mut |check, folder| {
            let dir = format!("refs/{folder}");
            let reference = |file: &str| {
                let tail = match file.strip_prefix('@') {
                    Some(hex) => format!("@sha256:{hex}"),
                    None => format!(":{file}"),
                };
                let name = Reference::parse(&(folder.replace('%', "/") + &tail)).ok()?;
                (refs::folder(&name) == dir && refs::file(&name) == file).then_some(name)
            };
            if !is_dir(check.store.fd(), &dir) {
                return check.stray(&dir).map(drop);
            }
            check.each(&dir, &|tag| reference(tag).is_some(), &mut |check, tag| {
                let Some(name) = reference(tag) else { return Ok(()) };
                let path = format!("{dir}/{tag}");
                let bad_images = std::mem::take(&mut check.done.bad_images);
                let looked = check.look(&mut |store| {
                    let found = match store.plain(&path, 256)? {
                        Err(_) if !store.exists(&path)? => return Ok(None),
                        Err(found) => found,
                        Ok(text) => {
                            let text = String::from_utf8_lossy(&text);
                            match Digest::parse(text.trim_end()) {
                                Err(_) => "no image's id".to_owned(),
                                Ok(id) if bad_images.contains(&id) => {
                                    format!("{}, which cannot be used", id.short())
                                }
                                Ok(id) if store.has_image(&id) => return Ok(None),
                                Ok(id) => format!("{}, which is not there", id.short()),
                            }
                        }
                    };
                    let remedy = Remedy::Lose(Lost::Name(name.clone()));
                    let expected = format!("the image {name}");
                    Ok(Some(Fault { remedy, ..fault(&path, &expected, &found) }))
                });
                check.done.bad_images = bad_images;
                looked.map(drop)
            })
        })
    }
}

impl Store {
    /// The layer of a chain as far as its records go; or what is wrong with them: that it lies in
    /// another store, whose path this is, may be right.
    pub(super) fn whole_layer(
        &self,
        chain: &ChainId,
    ) -> Result<std::result::Result<Layer, String>> {
        let path = format!("chains/{}", chain.hex());
        let text = match self.plain(&path, below::RECORD)? {
            Ok(text) => text,
            Err(found) => return Ok(Err(found)),
        };
        let text = String::from_utf8_lossy(&text);
        let name = text.trim_end();
        if name == layers::EMPTY {
            return Ok(Ok(Layer::empty(*chain)));
        }
        if is_place(name) {
            return Ok(Err(name.to_owned()));
        }
        if !layers::is_name(name) {
            return Ok(Err("no layer's name".into()));
        }
        Ok(match self.meta_of(name)? {
            Some(layer) if layer.chain != *chain => {
                Err(format!("the layer {name}, which is of another chain"))
            }
            Some(_) if !is_dir(self.fd(), &format!("layers/{name}/diff")) => {
                Err(format!("the layer {name}, which has no tree"))
            }
            Some(layer) => Ok(layer),
            None => Err(format!("the layer {name}, whose meta is not there or damaged")),
        })
    }

    /// A layer's meta, if it can be read.
    pub(super) fn meta_of(&self, name: &str) -> Result<Option<Layer>> {
        let text = self.plain(&format!("layers/{name}/meta"), 4096)?;
        Ok(text.ok().and_then(|text| Layer::parse_meta(name, &String::from_utf8_lossy(&text))))
    }
}
