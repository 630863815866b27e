//! Containers and volumes: whether each can be read. What they hold is theirs; nothing of it is ever
//! taken away here.

use super::{Check, Remedy, fault};
use crate::error::Result;
#[cfg(feature = "bridge")]
use crate::store::networks;
use crate::store::{containers, seal};

impl Check<'_> {
    /// Looks at the record of each container.
    pub(super) fn containers(&mut self) -> Result<()> {
        let belongs = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        self.each(containers::CONTAINERS, &belongs, &mut |check, id| {
            let path = format!("{}/{id}/{}", containers::CONTAINERS, containers::CONFIG);
            check.record(&path, "the record of a container", &format!("lath rm -f {id}"))
        })
    }

    /// Looks at the record of each volume.
    pub(super) fn volumes(&mut self) -> Result<()> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let belongs = |name: &str| !name.starts_with('.') && name.bytes().all(is_letter);
        self.each("volumes", &belongs, &mut |check, name| {
            let path = format!("volumes/{name}/config");
            let command =
                format!("keep the files in volumes/{name}/data, then lath volume rm {name}");
            check.record(&path, "the record of a volume", &command)
        })
    }

    /// Looks at the record of each network.
    #[cfg(feature = "bridge")]
    pub(super) fn networks(&mut self) -> Result<()> {
        let belongs = |name: &str| !name.starts_with('.');
        self.each(networks::NETWORKS, &belongs, &mut |check, name| {
            let path = format!("{}/{name}", networks::NETWORKS);
            let command = format!("lath network rm {name}, then lath network create {name}");
            check.record(&path, "the record of a network", &command)
        })
    }

    fn record(&mut self, path: &str, expected: &str, command: &str) -> Result<()> {
        self.look(&mut |store| {
            let found = match store.plain(path, containers::LIMIT)? {
                Ok(text) => match String::from_utf8(text).ok().as_deref().and_then(seal::unseal) {
                    Some(_) => return Ok(None),
                    None => "another text".to_owned(),
                },
                // One that is just being made, or that the next command sweeps.
                Err(_) if !store.exists(path)? => return Ok(None),
                Err(found) => found,
            };
            let remedy = Remedy::Command(command.to_owned());
            Ok(Some(super::Fault { remedy, ..fault(path, expected, &found) }))
        })
        .map(drop)
    }
}
