//! Layers: one directory tree <-> one tar stream.
//!
//! A tree is in overlayfs's upper form: a character device 0:0 says that a name is gone, the
//! attribute `trusted.overlay.opaque` that nothing of a directory shows through. All work is done
//! on file descriptors, streams, and fixed buffers; root's rights are taken for granted. This room
//! does not know where layers are kept (`store`).

pub mod compress;
mod crc32;
pub mod entry;
pub mod links;
pub mod node;
mod pack;
mod pax;
mod place;
pub mod reader;
mod recipe;
mod transfer;
mod unpack;
pub mod verify;
pub mod walk;
pub mod writer;

pub use pack::{Packed, View, pack, pack_view};
pub use recipe::replay;
pub use transfer::transfer;
pub use unpack::{Record, Unpacked, unpack, unpack_into};

#[cfg(test)]
mod tests;
