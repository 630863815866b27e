//! In the place of `pull` in a lath without the feature `net`.

use crate::error::{Error, Result};
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::session::Session;

/// What a pull would have brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
}

/// Says that nothing is pulled.
pub fn pull(
    _: &Session,
    _: &Reference,
    _: Option<&Platform>,
    _: bool,
    _: &mut dyn Listener,
) -> Result<Pulled> {
    Err(Error::built_without("net"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Settings;

    #[test]
    fn a_lath_without_net_says_so() {
        let root = std::env::temp_dir().join(format!("lath-no-net-{}", std::process::id()));
        let settings = Settings { root: Some(root.clone()), ..Settings::default() };
        let session = Session::open(&settings).unwrap();
        let name = Reference::parse("alpine").unwrap();
        let error = pull(&session, &name, None, false, &mut crate::event::Silent);
        assert!(error.unwrap_err().to_string().contains("built without net"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
