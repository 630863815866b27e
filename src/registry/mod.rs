//! Images from registries (OCI distribution-spec 1.1, docker's registry API v2).
//!
//! `remote` asks one registry and shows it who asks; `blob` reads what is large, over connections
//! that break; `pull` makes an image of the store of it.

mod blob;
mod challenge;
mod credentials;
mod manifest;
mod pull;
mod remote;

pub use pull::{Pulled, pull};
pub use remote::Access;
