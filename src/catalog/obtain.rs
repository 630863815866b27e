//! An image by what a user wrote: from the store, or from a registry when it is not there.

use super::pull::pull;
use super::resolve::find;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Listener};
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::session::Session;

/// When a registry is asked: `--pull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// When the image is not there.
    #[default]
    Missing,
    /// Whatever is there.
    Always,
    /// Never.
    Never,
}

/// Digits of an id that is shown short.
const SHORT_ID: usize = 12;

/// Finds an image as `resolve::find` does; a slip such as `--from=b` shall not hit some image
/// whose id happens to begin so.
pub fn find_base(session: &Session, word: &str) -> Result<Option<ImageId>> {
    match word.len() < SHORT_ID {
        true => session.store.named(&Reference::parse(word)?),
        false => Ok(find(&session.store, word)?.map(|found| found.image)),
    }
}

/// Gives the image that is wanted, where `known` is there already under this word.
pub fn obtain(
    session: &Session,
    word: &str,
    known: Option<ImageId>,
    when: When,
    platform: Option<&Platform>,
    listener: &mut dyn Listener,
) -> Result<ImageId> {
    let reference = Reference::parse(word);
    let missing = || {
        Error::not_found(format!("{word}: No such image"))
            .hint("lath images shows what is there; lath load -i FILE brings images in")
    };
    if let Some(image) = known {
        // A damaged config is told when it is used.
        let config = session.store.config(&image).ok().flatten();
        let own = config.map(|config| config.platform);
        let suits = platform.zip(own.as_ref()).is_none_or(|(wanted, own)| own.suits(wanted));
        // What is named by its id is no registry's.
        let is_named =
            reference.as_ref().is_ok_and(|r| session.store.named(r).is_ok_and(|n| n.is_some()));
        if when == When::Never || !is_named || (when == When::Missing && suits) {
            return Ok(image);
        }
    }
    let Ok(reference) = reference else { return Err(missing()) };
    if when == When::Never {
        return Err(missing());
    }
    listener.event(&Event::Pulling { name: &reference.to_string() });
    match pull(session, &reference, platform, false, listener) {
        Ok(pulled) => Ok(pulled.image),
        Err(error) if matches!(error.kind(), Kind::Interrupted(_) | Kind::NoSpace) => Err(error),
        Err(error) => match known {
            // It is not for the platform that was asked for: whoever uses it will see.
            Some(image) if when == When::Missing => {
                let text = format!("what is here of {word} is used: {}", error.text());
                listener.event(&Event::Warning { text: &text });
                Ok(image)
            }
            Some(_) => Err(error.during(format!("pull {word}"))),
            None => Err(error
                .during(format!("{word}: No such image here, and it cannot be pulled"))
                .hint("lath load -i FILE brings images in without a network")),
        },
    }
}
