//! What a user does to images: find, list, look into, name, remove, carry in and out.

pub mod change;
#[cfg(feature = "fsck")]
pub mod check;
#[cfg(feature = "outputs")]
pub mod export;
pub mod filter;
pub mod inspect;
pub mod list;
#[cfg(feature = "net")]
pub mod manifest;
pub mod obtain;
pub mod prune;
#[cfg(feature = "net")]
pub mod pull;
#[cfg(not(feature = "net"))]
#[path = "pull_missing.rs"]
pub mod pull;
#[cfg(feature = "net")]
pub mod push;
#[cfg(not(feature = "net"))]
#[path = "push_missing.rs"]
pub mod push;
pub mod remove;
pub mod resolve;
pub mod transfer;
