//! Images from registries (OCI distribution-spec 1.1, docker's registry API v2).
//!
//! `remote` asks one registry and shows it who asks; `blob` reads what is large, over connections
//! that break; `pull` makes an image of the store of it, `push` goes the other way, by what `known`
//! finds out.

mod blob;
mod challenge;
mod credentials;
mod known;
mod login;
mod manifest;
mod pull;
mod push;
mod remote;

pub use login::{login, logout};
pub use pull::{Pulled, pull};
pub use push::{Pushed, Sent, push};
pub use remote::Access;
