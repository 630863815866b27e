//! Lists of images for several platforms that a user puts together: each image is in the registry
//! already, and the list names them (docker's `manifest` commands).

use super::manifest;
use super::push::put_manifest;
use super::remote::{Access, Remote};
use super::sources::Sources;
use crate::error::{Context, Error, Result};
use crate::http::{Request, encoded};
use crate::image::config::ImageConfig;
use crate::image::descriptor::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Manifest, OCI_INDEX};
use crate::image::digest::Digest;
use crate::image::json::Value;
use crate::image::reference::Reference;

/// A list under way.
#[derive(Clone, Debug, Default)]
pub struct List(Vec<(Reference, Descriptor)>);

impl List {
    /// Reads what `to_text` has written.
    pub fn parse(text: &[u8]) -> Result<List> {
        let value = Value::parse(text)?;
        let entries = value.get("manifests").and_then(Value::as_array).unwrap_or_default();
        let read = |entry: &Value| {
            let from = entry.get("from").and_then(Value::as_str).unwrap_or_default();
            Ok((Reference::parse(from)?, Descriptor::from_json(entry)?))
        };
        entries.iter().map(read).collect::<Result<_>>().map(List)
    }

    /// As it is kept: an index, and where each image is.
    pub fn to_text(&self) -> String {
        let entries = self.0.iter().map(|(from, descriptor)| {
            let mut entry = descriptor.to_json();
            entry.set("from", Some(Value::string(from.to_string())));
            entry
        });
        let mut out = Value::Object(Vec::new());
        out.set("manifests", Some(Value::Array(entries.collect())));
        out.to_text()
    }

    /// As a registry gets it: docker's when all of its images are docker's, else an index.
    pub fn to_json(&self) -> Value {
        let is_dockers = self.0.iter().all(|(_, entry)| entry.media_type == DOCKER_MANIFEST);
        let media_type = if is_dockers { DOCKER_LIST } else { OCI_INDEX };
        let mut out = Value::Object(Vec::new());
        out.set("schemaVersion", Some(Value::number(2)));
        out.set("mediaType", Some(Value::string(media_type)));
        let entries = self.0.iter().map(|(_, descriptor)| descriptor.to_json()).collect();
        out.set("manifests", Some(Value::Array(entries)));
        out
    }

    /// Adds the image that a name means in its registry, in the place of the same one.
    pub fn add(&mut self, name: &Reference, access: &Access) -> Result<()> {
        let sources = Sources::of(name, access)?;
        let (text, media_type) = manifest::get(&sources, name)?;
        let Manifest::Image { config, .. } = Manifest::parse(&text).context(|| name)? else {
            return Err(Error::input(format!("{name} is a list already"))
                .hint("name the image of each platform: NAME@DIGEST"));
        };
        let config = super::pull::config(&sources, &config)?;
        let config = ImageConfig::parse(&config).context(|| "the image's config")?;
        let mut entry = Descriptor::new(&media_type, Digest::of(&text), text.len() as u64);
        entry.platform = Some(config.platform);
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.clone(), entry));
        Ok(())
    }

    /// The entry of an image, to be changed.
    pub fn entry(&mut self, name: &Reference) -> Option<&mut Descriptor> {
        self.0.iter_mut().find(|(known, _)| known == name).map(|(_, entry)| entry)
    }

    /// Sends it. Images of other repositories are made known to this one first.
    pub fn push(&self, name: &Reference, access: &Access) -> Result<Digest> {
        if self.0.is_empty() {
            return Err(Error::input(format!("{name} names no image")));
        }
        let remote = Remote::open(name, access, "pull,push")?;
        for (from, entry) in &self.0 {
            if from.registry != name.registry {
                let text = format!("{from} is in another registry than {name}");
                return Err(Error::input(text).hint("push it there first, and name it so"));
            }
            if from.repository != name.repository {
                lend(&remote, from, entry, access).context(|| from)?;
            }
        }
        let text = self.to_json().to_text();
        put_manifest(&remote, name.tag_or_latest(), text.as_bytes())?;
        Ok(Digest::of(text.as_bytes()))
    }
}

/// Has a repository take an image from another one of its registry.
fn lend(remote: &Remote, from: &Reference, entry: &Descriptor, access: &Access) -> Result<()> {
    let exact = Reference { digest: Some(entry.digest), ..from.clone() };
    let (text, _) = manifest::get(&Sources::of(&exact, access)?, &exact)?;
    let Manifest::Image { config, layers } = Manifest::parse(&text)? else {
        return Err(Error::corrupt("it is no image any more"));
    };
    remote.also_reads(&from.repository);
    for blob in layers.iter().chain([&config]) {
        let (digest, from) = (blob.digest.to_string(), encoded(&from.repository));
        let path = format!("blobs/uploads/?mount={}&from={from}", encoded(&digest));
        let answer = remote.send(&Request::new("POST", remote.url(&path)?))?;
        match answer.status {
            201 => {}
            202 => {
                return Err(Error::unsupported("the registry does not lend blobs")
                    .hint("push the image into the repository of the list"));
            }
            _ => return Err(remote.refusal(&answer, "the blob")),
        }
    }
    put_manifest(remote, &entry.digest.to_string(), &text)
}

/// What a name means in its registry, byte for byte.
pub fn raw(name: &Reference, access: &Access) -> Result<Vec<u8>> {
    Ok(manifest::get(&Sources::of(name, access)?, name)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::platform::Platform;

    #[test]
    fn a_list_reads_back_and_tells_nobody_where_it_came_from() {
        let mut list = List::default();
        let name = Reference::parse("reg.example/a/b:1").unwrap();
        let mut entry = Descriptor::new(DOCKER_MANIFEST, Digest::of(b"x"), 1);
        entry.platform = Platform::parse("linux/arm/v7").ok();
        list.0.push((name.clone(), entry.clone()));
        let mut back = List::parse(list.to_text().as_bytes()).unwrap();
        assert_eq!(back.entry(&name), Some(&mut entry));
        let text = back.to_json().to_text();
        assert!(text.contains(DOCKER_LIST) && !text.contains("reg.example"), "{text}");
        back.0.push((name, Descriptor::new("application/x", Digest::of(b"y"), 1)));
        assert!(back.to_json().to_text().contains(OCI_INDEX));
    }
}
