//! Layers: one directory tree <-> one tar stream.

pub mod compress;
mod crc32;
pub mod entry;
mod links;
pub mod node;
mod pack;
mod pax;
pub mod reader;
mod recipe;
pub mod verify;
pub mod walk;
pub mod writer;

pub use pack::{Packed, pack};
pub use recipe::{Recipe, replay};

#[cfg(test)]
mod tests;
