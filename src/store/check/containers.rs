//! Containers: whether each can be read. What they have changed is theirs; nothing of it is ever
//! taken away here.

use super::{Check, Remedy, fault};
use crate::error::Result;
use crate::store::{containers, seal};

impl Check<'_> {
    /// Looks at the record of each.
    pub(super) fn containers(&mut self) -> Result<()> {
        let belongs = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        self.each("containers", &belongs, &mut |check, id| {
            check
                .look(&mut |store| {
                    let path = format!("containers/{id}/{}", containers::CONFIG);
                    let found = match store.plain(&path, containers::LIMIT)? {
                        Ok(text) => {
                            match String::from_utf8(text).ok().as_deref().and_then(seal::unseal) {
                                Some(_) => return Ok(None),
                                None => "another text".to_owned(),
                            }
                        }
                        // One that is just being made, or that the next command sweeps.
                        Err(_) if !store.exists(&path)? => return Ok(None),
                        Err(found) => found,
                    };
                    let expected = "the record of a container";
                    let remedy = Remedy::Command(format!("lath rm -f {id}"));
                    Ok(Some(super::Fault { remedy, ..fault(&path, expected, &found) }))
                })
                .map(drop)
        })
    }
}
