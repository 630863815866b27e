//! Images from registries (OCI distribution-spec 1.1, docker's registry API v2).
//!
//! `remote` asks one registry and shows it who asks, `sources` are all that have a repository (a
//! `mirror` may); `blob` reads what is large, over connections that break, and `ahead` does so for
//! several at once; `pull` makes an image of the store of it, `push` goes the other way, by what `known`
//! finds out and with `upload`; `list` puts several images under one
//! name, `steps` has what builds share, and `restore` brings back what a store has lost.

mod ahead;
mod blob;
mod challenge;
mod credentials;
mod known;
mod list;
mod login;
mod manifest;
mod mirror;
mod pull;
mod push;
mod remote;
#[cfg(feature = "fsck")]
mod restore;
mod sources;
mod steps;
mod upload;

pub use list::{List, raw};
pub use login::{login, logout};
pub use mirror::Mirror;
pub use pull::{Pulled, pull};
pub use push::{Pushed, Sent, push};
pub use remote::Access;
#[cfg(feature = "fsck")]
pub use restore::restore;
pub use steps::{CacheImage, keep_steps};
