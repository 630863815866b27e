//! The OCI types: references, digests, platforms, manifests and configs.
//!
//! Pure: nothing here opens a file. Source: the OCI image and distribution specifications 1.1 and
//! docker's image specification 1.2 for what only docker's configs have.

pub mod config;
pub mod descriptor;
pub mod digest;
pub mod json;
pub mod platform;
pub mod reference;
pub mod time;
