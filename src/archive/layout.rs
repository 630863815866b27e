//! One image of an OCI layout in a directory, by a tag or a digest.

use crate::archive::load::load_one;
use crate::archive::tape::{Candidate, Tape};
use crate::archive::{Folder, oci};
use crate::error::{Context, Error, Result};
use crate::event::Listener;
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::store::{Scratch, Store};

const FORM: &str = "write oci-layout://DIR[:TAG][@sha256:DIGEST]; DIR has index.json and blobs";

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPlace {
    /// The directory.
    pub path: String,
    /// Which of its images; without one and without a digest `latest`, or the only one.
    pub tag: Option<String>,
    /// Which manifest or index; goes before the tag.
    pub digest: Option<Digest>,
}

/// An image that was found; nothing of its layers was read.
pub struct Layout {
    tape: Tape,
    candidate: Candidate,
}

impl Layout {
    /// Finds the image. Of one for several platforms that for `wanted` is taken, or for this
    /// machine when none is wanted.
    pub fn find(place: &LayoutPlace, wanted: Option<&Platform>) -> Result<Layout> {
        let says = || format!("read the OCI layout {:?}", place.path);
        let told = |error: Error| error.during(says()).hint(FORM);
        let tape = Tape::Folder(Folder::open(&place.path).map_err(told)?.into_fd());
        if !tape.has("index.json") {
            return Err(told(Error::input("it has no index.json")));
        }
        let candidate = oci::one(&tape, place.tag.as_deref(), place.digest, wanted);
        Ok(Layout { candidate: candidate.context(says)?, tape })
    }

    /// The text of its config.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.tape.text(&self.candidate.config).context(|| "the image's config")
    }

    /// Brings it into the store, without a name.
    pub fn load(
        &self,
        store: &Store,
        scratch: &Scratch,
        listener: &mut dyn Listener,
    ) -> Result<ImageId> {
        Ok(load_one(store, scratch, &self.tape, &self.candidate, None, listener)?.image)
    }
}
