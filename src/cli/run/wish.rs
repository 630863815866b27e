//! Which image `run` takes: when a registry is asked, and for which platform.

use std::io::Write as _;

use crate::catalog::obtain::{When, obtain};
use crate::catalog::resolve::find;
use crate::cli::progress::{self, Mode, Terminals};
use crate::error::{Error, Result};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::session::Session;

/// `--pull` and `--platform`.
pub struct Wish {
    when: When,
    platform: Option<Platform>,
}

impl Wish {
    /// Reads the words.
    pub fn parse(pull: Option<&str>, platform: Option<&str>) -> Result<Wish> {
        let when = match pull {
            None | Some("missing" | "") => When::Missing,
            Some("always") => When::Always,
            Some("never") => When::Never,
            Some(other) => {
                let text = format!("invalid pull option: {other:?}: always, missing or never");
                return Err(Error::usage(text));
            }
        };
        let platform = platform.filter(|text| !text.is_empty());
        Ok(Wish { when, platform: platform.map(Platform::parse).transpose()? })
    }

    /// The word by which the container finds the image: the one that was given for what is there.
    pub fn obtain(&self, session: &Session, word: &str) -> Result<String> {
        let found = find(&session.store, word)?.map(|found| found.image);
        if found.is_some() && self.when != When::Always && self.platform.is_none() {
            return Ok(word.to_owned());
        }
        let mut err = std::io::stderr();
        if let (Ok(name), None, When::Missing) = (Reference::parse(word), found, self.when) {
            // With standard error gone, the exit code is all that can still be told.
            let _ = writeln!(err, "Unable to find image '{name}' locally");
        }
        let mut none = std::io::sink();
        let mut progress = progress::choose(Mode::Auto, &mut none, &mut err, Terminals::probe());
        let platform = self.platform.as_ref();
        let image = obtain(session, word, found, self.when, platform, &mut *progress);
        progress.finish(image.as_ref().err());
        Ok(image?.to_string())
    }
}
