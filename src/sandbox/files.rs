//! What a process sees as /etc/resolv.conf, /etc/hosts and /etc/hostname.

/// Contents that are bound over the image's own files and never get into a layer.
#[derive(Clone, Debug, Default)]
pub struct NetworkFiles {
    /// /etc/resolv.conf
    pub resolv_conf: Vec<u8>,
    /// /etc/hosts
    pub hosts: Vec<u8>,
}

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

impl NetworkFiles {
    /// Of a process in the host's network: the host's name servers, the usual hosts and `more`,
    /// names and addresses. A host without a resolv.conf gives an empty one.
    pub fn of_host(more: &[(String, String)]) -> NetworkFiles {
        // Small on every machine; what cannot be read is as good as empty.
        let mut resolv_conf = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        resolv_conf.truncate(64 << 10);
        let mut hosts = HOSTS.to_owned();
        for (name, address) in more {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        NetworkFiles { resolv_conf, hosts: hosts.into_bytes() }
    }
}
