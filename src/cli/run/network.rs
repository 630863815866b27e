//! `--network`, `-p` and what goes with them.

use std::net::Ipv4Addr;

use super::Args;
use super::report;
use crate::container::{Port, Ports, Protocol, Request, network};
use crate::error::{Error, Result};

/// More ports than that in one word are a slip.
const MANY: u16 = 4096;

/// Adds what the words ask for. `host` and `none` are said by a flag of their own.
pub(super) fn add(args: &Args, mut request: Request) -> Result<Request> {
    let mut ports = Vec::new();
    for word in &args.publish {
        ports.append(&mut published(word)?);
    }
    let wants_ports = !ports.is_empty() || args.publish_all;
    let mode = args.network.as_deref().or(args.net.as_deref()).unwrap_or_default();
    let conflict = |what: &str| {
        Err(Error::usage(format!("conflicting options: {what} and the network mode {mode:?}")))
    };
    match mode {
        // Nobody publishes a port of a container that has the host's.
        "" if wants_ports => request.network = Some(network::BRIDGE.to_owned()),
        "" | "default" | "host" if wants_ports => {
            warn("published ports are discarded when using host network mode");
            ports.clear();
        }
        "" | "default" | "host" => {}
        "none" => {
            request.flags.no_network = true;
            ports.clear();
        }
        name => {
            let is_shared = name.starts_with(network::CONTAINER);
            if is_shared && wants_ports {
                return conflict("port publishing");
            }
            if is_shared && args.hostname.is_some() {
                return conflict("hostname");
            }
            if is_shared && !args.dns.is_empty() {
                return conflict("dns");
            }
            request.network = Some(name.to_owned());
        }
    }
    let has_own = request.network.as_deref().is_some_and(|name| !name.starts_with(network::CONTAINER));
    if let Some(ip) = &args.ip {
        let address: Ipv4Addr = ip.parse().map_err(|_| {
            Error::usage(format!("invalid argument {ip:?} for \"--ip\" flag: it is not an IPv4 address"))
        })?;
        if !has_own || request.network.as_deref() == Some(network::BRIDGE) {
            return Err(Error::usage(
                "user specified IP address is supported on user defined networks only",
            )
            .hint("lath network create makes one"));
        }
        request.address = Some(address);
    }
    request.aliases = [&args.network_alias[..], &args.net_alias[..]].concat();
    if !has_own && !request.aliases.is_empty() {
        return conflict("network aliases");
    }
    if let Some(wrong) = request.aliases.iter().find(|alias| !is_alias(alias)) {
        return Err(Error::usage(format!("invalid network alias {wrong:?}")));
    }
    for word in &args.expose {
        let Ports { first, last, protocol, .. } = taken_apart(word)?;
        request.exposed.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    if has_own && let Some(lack) = network::lack() {
        warn(lack);
    }
    request.ports = ports;
    request.all_ports = args.publish_all && has_own;
    Ok(request)
}

fn warn(text: &str) {
    // With standard error gone nobody reads it.
    let _ = report::warning(&mut std::io::stderr(), text);
}

fn is_alias(alias: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    !alias.is_empty() && alias.len() <= 63 && alias.chars().all(is_letter)
}

/// What is wrong with a word of the command line is no fault of a Dockerfile.
fn taken_apart(word: &str) -> Result<Ports> {
    Ports::parse(word).map_err(|error| Error::usage(error.text().to_owned()))
}

/// The ports of one `-p`: `[[ADDRESS:]PORT[-PORT]:]PORT[-PORT][/PROTOCOL]`.
fn published(word: &str) -> Result<Vec<Port>> {
    let Ports { address, host, first, last, protocol } = taken_apart(word)?;
    let protocol = match protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => {
            return Err(Error::unsupported(format!("-p {word}: {protocol} is not published"))
                .hint("tcp and udp are"));
        }
    };
    if last - first >= MANY {
        return Err(Error::usage(format!("-p {word}: more than {MANY} ports")));
    }
    let port = |inside: u16| {
        // Of several on the host's side for one inside, the first.
        let host = host.map_or(0, |(begin, _)| begin + (inside - first));
        Port { address, host, inside, protocol }
    };
    Ok((first..=last).map(port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        let show = |word: &str| {
            let ports = published(word).unwrap();
            ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(show("80"), "0 80 tcp");
        assert_eq!(show("8080:80"), "8080 80 tcp");
        assert_eq!(show("127.0.0.1:8080:80/udp"), "127.0.0.1 8080 80 udp");
        assert_eq!(show("127.0.0.1::80"), "127.0.0.1 0 80 tcp");
        assert_eq!(show("[::1]:8080:80"), "::1 8080 80 tcp");
        assert_eq!(show("7000-7001:80-81"), "7000 80 tcp, 7001 81 tcp");
        for wrong in ["", "x", "80:", "70000:1", "1-2:1-3", "1.2.3:1:1", "80:80/sctp", "1-65535"] {
            assert!(published(wrong).is_err(), "{wrong}");
        }
    }
}
