//! lath builds and runs container images on the device itself.
//!
//! The rooms by floor; a room uses rooms of lower floors only (tests/floors.rs holds this, and
//! docs/ARCHITECTURE.md draws it):
//!
//! ```text
//!  5  cli                                             words -> one call -> text
//!  4  build  container  catalog  doctor  session      what a user asks for
//!  3  archive -> snapshot   sandbox   network         views of layers, processes, image files
//!  2  plan -> instruction   layer   store   http      meaning, layer tars, the flat files, the net
//!  1  dockerfile  image  pattern  event -> image      pure text and types
//!  0  error  sys -> error  logging -> sys  map -> sort  base64      the ground
//! ```

pub mod base64;
pub mod error;
pub mod logging;
pub mod map;
pub mod sort;
pub mod sys;

pub mod dockerfile;
pub mod event;
pub mod image;
pub mod pattern;

#[cfg(feature = "net")]
pub mod http;
pub mod instruction;
pub mod layer;
pub mod plan;
pub mod store;

pub mod archive;
#[cfg(feature = "bridge")]
pub mod network;
#[cfg(feature = "net")]
pub mod registry;
pub mod sandbox;
pub mod snapshot;

pub mod build;
pub mod catalog;
pub mod container;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod session;

pub mod cli;
