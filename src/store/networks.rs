//! Networks that somebody has named: `networks/NAME`, a small record each.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::{Store, seal};
use crate::error::{Context, Result};
use crate::image::digest::Digest;
use crate::image::time::rfc3339;
use crate::sys::fs::{now, random_bytes, read_small, write_new};

/// Where they are.
pub const NETWORKS: &str = "networks";
/// Larger ones are no records.
pub(super) const LIMIT: usize = 1 << 20;

/// What is written of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRecord {
    /// Its name.
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Its first address, and how many bits of it are the network's.
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// Without a way out.
    pub internal: bool,
    /// `name=value`.
    pub labels: Vec<String>,
}

impl Store {
    /// Writes down a new network, which gets an id; false when there is one of that name. It is on the
    /// medium when this returns.
    pub fn make_network(&self, network: &NetworkRecord) -> Result<Option<String>> {
        let says = || format!("make the network {:?}", network.name);
        self.make_dir(NETWORKS)?;
        let id = Digest::of(&random_bytes::<32>()?).hex();
        let (seconds, nanoseconds) = now();
        let mut text = format!("id {id}\ncreated {}\n", rfc3339(seconds, nanoseconds));
        if let Some((address, bits)) = network.subnet {
            text.push_str(&format!("subnet {address} {bits}\n"));
        }
        if network.internal {
            text.push_str("internal yes\n");
        }
        for label in &network.labels {
            text.push_str(&format!("label {}\n", label.replace('\n', " ")));
        }
        let scratch = self.scratch()?;
        let workspace = scratch.workspace()?;
        let dir = workspace.dir.as_fd();
        let file = write_new(dir, "network", seal::seal(&text).as_bytes())?;
        rustix::fs::fsync(&file).context(says)?;
        let path = format!("{NETWORKS}/{}", network.name);
        let done =
            rustix::fs::renameat_with(dir, "network", self.fd(), &path, RenameFlags::NOREPLACE);
        match done {
            Ok(()) => {
                self.sync_dir(NETWORKS)?;
                scratch.discard(workspace)?;
                Ok(Some(id))
            }
            Err(Errno::EXIST) => Ok(None),
            Err(other) => Err(other).context(says),
        }
    }

    /// The network of a name. Of one whose record is damaged only its name is known.
    pub fn network(&self, name: &str) -> Result<Option<NetworkRecord>> {
        let path = format!("{NETWORKS}/{name}");
        let Some(sealed) = read_small(self.fd(), path, LIMIT)? else { return Ok(None) };
        let text = String::from_utf8(sealed).unwrap_or_default();
        let mut network = NetworkRecord { name: name.to_owned(), ..NetworkRecord::default() };
        for line in seal::unseal(&text).unwrap_or_default().lines() {
            let Some((field, value)) = line.split_once(' ') else { continue };
            match field {
                "id" => network.id = value.to_owned(),
                "created" => network.created = value.to_owned(),
                "label" => network.labels.push(value.to_owned()),
                "internal" => network.internal = true,
                "subnet" => {
                    let parts = value.split_once(' ');
                    network.subnet = parts.and_then(|(address, bits)| {
                        Some((address.parse().ok()?, bits.parse().ok()?))
                    });
                }
                // A later lath's.
                _ => {}
            }
        }
        Ok(Some(network))
    }

    /// All networks with a name, in no order.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>> {
        let mut found = Vec::new();
        self.each_name(NETWORKS, &mut |name| {
            found.extend(self.network(name)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Forgets a network; whether it was there. Needs no free space.
    pub fn forget_network(&self, name: &str) -> Result<bool> {
        match rustix::fs::unlinkat(self.fd(), format!("{NETWORKS}/{name}"), AtFlags::empty()) {
            Ok(()) => self.sync_dir(NETWORKS).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(other) => Err(other).context(|| format!("remove the network {name:?}")),
        }
    }
}
