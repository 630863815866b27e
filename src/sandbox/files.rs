//! What a process sees as /etc/resolv.conf, /etc/hosts and /etc/hostname.

/// Contents that are bound over the image's own files and never get into a layer.
#[derive(Clone, Debug)]
pub struct NetworkFiles {
    /// /etc/resolv.conf
    pub resolv_conf: Vec<u8>,
    /// /etc/hosts
    pub hosts: Vec<u8>,
    /// The address that its own name has.
    pub own: String,
}

/// In the place of an address: that of the host, as the process sees it.
pub const HOST_GATEWAY: &str = "host-gateway";
const LOOPBACK: &str = "127.0.0.1";

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// What the user says of names: each list replaces what the host's resolv.conf says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dns<'a> {
    /// Addresses of servers.
    pub servers: &'a [String],
    /// Domains to search in; `.` alone for none.
    pub search: &'a [String],
    /// Options of the resolver.
    pub options: &'a [String],
}

impl Dns<'_> {
    /// resolv.conf(5), from the host's.
    fn resolv_conf(&self, host: Vec<u8>) -> Vec<u8> {
        let lists =
            [("nameserver", self.servers), ("search", self.search), ("options", self.options)];
        if cfg!(not(feature = "containers")) || lists.iter().all(|(_, list)| list.is_empty()) {
            return host;
        }
        let mut text = String::new();
        for line in String::from_utf8_lossy(&host).lines() {
            let name = line.split_ascii_whitespace().next().unwrap_or_default();
            let name = if name == "domain" { "search" } else { name };
            if !lists.iter().any(|(known, list)| *known == name && !list.is_empty()) {
                text.push_str(line);
                text.push('\n');
            }
        }
        for server in self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for (name, list) in [("search", self.search), ("options", self.options)] {
            if !list.is_empty() && *list != ["."] {
                text.push_str(&format!("{name} {}\n", list.join(" ")));
            }
        }
        text.into_bytes()
    }
}

impl NetworkFiles {
    /// Of a process in the host's network: the host's name servers, the usual hosts and `more`,
    /// names and addresses. A host without a resolv.conf gives an empty one.
    pub fn of_host(more: &[(String, String)], dns: Dns<'_>) -> NetworkFiles {
        NetworkFiles::new(more, dns, LOOPBACK, LOOPBACK)
    }

    /// Of a process with the address `own`, that sees the host at `gateway`.
    pub fn new(more: &[(String, String)], dns: Dns<'_>, own: &str, gateway: &str) -> NetworkFiles {
        let resolv_conf = dns.resolv_conf(host_resolv_conf());
        let mut hosts = HOSTS.to_owned();
        for (name, address) in more {
            let address = if address == HOST_GATEWAY { gateway } else { address };
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        NetworkFiles { resolv_conf, hosts: hosts.into_bytes(), own: own.to_owned() }
    }
}

fn host_resolv_conf() -> Vec<u8> {
    // Small on every machine; what cannot be read is as good as empty.
    let mut text = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    text.truncate(64 << 10);
    text
}

/// The host's name servers.
#[cfg(feature = "bridge")]
pub fn name_servers() -> Vec<std::net::IpAddr> {
    let text = host_resolv_conf();
    let text = String::from_utf8_lossy(&text);
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse().ok()
    });
    servers.collect()
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_replaces_what_the_host_says() {
        let host = b"# host\nnameserver 10.0.0.1\nsearch lan\noptions ndots:1\n".to_vec();
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (servers, search, options) =
            (words(&["1.1.1.1", "::1"]), words(&["."]), words(&["ndots:3", "rotate"]));
        let show = |dns: Dns<'_>| String::from_utf8(dns.resolv_conf(host.clone())).unwrap();
        assert_eq!(show(Dns::default()).into_bytes(), host);
        let own = Dns { servers: &servers, ..Dns::default() };
        assert_eq!(
            show(own),
            "# host\nsearch lan\noptions ndots:1\nnameserver 1.1.1.1\nnameserver ::1\n"
        );
        let own = Dns { search: &search, options: &options, ..Dns::default() };
        assert_eq!(show(own), "# host\nnameserver 10.0.0.1\noptions ndots:3 rotate\n");
    }
}
