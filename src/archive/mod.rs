//! Images in files: OCI layouts and docker's archives, read and written, and bare root trees.
//!
//! Nothing of an archive is believed: sizes and digests are checked before a blob is read as what
//! it claims to be, and nothing is published before its layers are what the config says. This
//! room carries images between a stream and the store; names and options are `catalog`'s.

#[cfg(feature = "fsck")]
mod check;
mod docker;
mod fits;
mod folder;
mod import;
mod layout;
mod load;
mod oci;
#[cfg(feature = "fsck")]
mod restore;
mod save;
mod stack;
mod steps;
mod tape;

#[cfg(feature = "fsck")]
pub use check::differs;
#[cfg(feature = "net")]
pub use fits::Need;
pub use folder::Folder;
pub use import::{Import, import};
pub use layout::{Layout, LayoutPlace};
pub use load::{Loaded, load};
#[cfg(feature = "fsck")]
pub use restore::{Restoration, restore};
pub use save::{Annotation, Level, Style, Target, image_manifest, save, write_layer};
pub use stack::Stack;
pub use steps::Steps;

#[cfg(test)]
mod tests;
