//! Layers: one directory tree <-> one tar stream.
//!
//! A layer's tree says by marks that something below it is gone (`marks`). All work is done on file
//! descriptors, streams, and fixed buffers; root's rights are taken for granted. This room does not
//! know where layers are kept (`store`).

#[cfg(feature = "containers")]
mod carry;
mod changes;
pub mod compress;
mod crc32;
pub mod entry;
pub mod links;
mod marks;
pub mod node;
mod pack;
mod pax;
mod place;
pub mod reader;
mod recipe;
#[cfg(feature = "outputs")]
pub mod tell;
mod transfer;
mod unpack;
pub mod verify;
pub mod walk;
pub mod writer;

#[cfg(feature = "containers")]
pub use carry::{Thing, carry_into, carry_out, carry_tar};
pub use changes::Changes;
pub use marks::Form;
pub use pack::{Packed, View, outline, pack, pack_view};
pub use recipe::replay;
pub use transfer::{merge, transfer};
pub use unpack::{Record, Unpacked, unpack, unpack_into};

#[cfg(test)]
mod tests;
