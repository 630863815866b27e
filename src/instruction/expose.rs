//! EXPOSE: ports that a container listens on.
//!
//! A part for the host, as `8080:80`, is checked and then left out, as docker does.

use super::form::{Flags, at_least_one, insert};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::{Statement, blank_separated};
use crate::error::{Error, Result};

/// `EXPOSE PORT[-PORT][/PROTOCOL]...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    /// The ports as written, not yet expanded.
    pub ports: Vec<String>,
}

impl Meaning for Expose {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Expose> {
        let ports = blank_separated(statement.rest());
        if ports.is_empty() {
            return Err(at_least_one("EXPOSE"));
        }
        Flags::check(statement, &[])?;
        Ok(Expose { ports })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let mut ports = Vec::new();
        for written in &self.ports {
            for spec in scope.words(written)? {
                let Ports { first, last, protocol, .. } = Ports::parse(&spec)?;
                ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
        }
        let created_by = format!("EXPOSE [{}]", ports.join(" "));
        ports.into_iter().for_each(|port| insert(&mut scope.config.exposed_ports, port));
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

/// `[[IP:]HOST:]PORT[-PORT][/PROTOCOL]`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The address of the host's; none for all.
    pub address: Option<std::net::IpAddr>,
    /// The first and the last port of the host's.
    pub host: Option<(u16, u16)>,
    /// The first port of the container's.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl Ports {
    /// Takes it apart.
    pub fn parse(spec: &str) -> Result<Ports> {
        parse_spec(spec)
    }
}

fn parse_spec(spec: &str) -> Result<Ports> {
    let bad = |what: String| {
        Err(Error::input(what)
            .hint("write a port as 80, 8000-8010, 53/udp; the protocol is tcp, udp or sctp"))
    };
    let (ports, protocol) = match spec.rsplit_once('/') {
        Some((ports, protocol)) if !protocol.is_empty() => (ports, protocol.to_ascii_lowercase()),
        Some((ports, _)) => (ports, "tcp".to_owned()),
        None => (spec, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return bad(format!("invalid port: {spec:?}: invalid proto: {protocol}"));
    }
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    if container.is_empty() {
        return bad(format!("no port specified: {spec}<empty>"));
    }
    let Some((first, last)) = range(container) else {
        return bad(format!("invalid containerPort: {container}"));
    };
    let (mut at, mut on) = (None, None);
    if let Some(host) = host {
        let (address, host_port) = match host.rsplit_once(':') {
            Some((address, port)) => (address, port),
            None => ("", host),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        at = address.parse().ok();
        if !address.is_empty() && at.is_none() {
            return bad(format!("invalid IP address: {address}"));
        }
        on = range(host_port);
        match on {
            None if host_port.is_empty() => {}
            None => return bad(format!("invalid hostPort: {host_port}")),
            // One port may be mapped to any of several on the host.
            Some((from, to)) if to - from != last - first && first != last => {
                return bad(format!(
                    "invalid ranges specified for container and host Ports: {container} and {host_port}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Ports { address: at, host: on, first, last, protocol })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn ports_become_numbers_with_protocols() {
        for (text, ports) in [
            (
                "EXPOSE 80 443/tcp 53/udp\nEXPOSE 9000/sctp",
                &["443/tcp", "53/udp", "80/tcp", "9000/sctp"][..],
            ),
            ("EXPOSE 80\nEXPOSE 80/tcp 80", &["80/tcp"]),
            ("EXPOSE 8080:80 127.0.0.1:81:82 [::1]:1:2", &["2/tcp", "80/tcp", "82/tcp"]),
            (
                "EXPOSE 8000-8002 7000-7001/udp",
                &["7000/udp", "7001/udp", "8000/tcp", "8001/tcp", "8002/tcp"],
            ),
            ("EXPOSE 80/TCP 81/Udp", &["80/tcp", "81/udp"]),
            (
                "ENV P=80 R=90-91 L=\"1000 1001\"\nEXPOSE $P $R/udp $L",
                &["1000/tcp", "1001/tcp", "80/tcp", "90/udp", "91/udp"],
            ),
        ] {
            let mut scope = scope();
            lower(text, &mut scope).expect(text);
            assert_eq!(scope.config.exposed_ports, ports, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_the_words_of_docker() {
        for (text, message) in [
            ("90-80", "invalid containerPort: 90-80"),
            ("http", "invalid containerPort: http"),
            ("70000", "invalid containerPort: 70000"),
            ("80/xyz", "invalid port: \"80/xyz\": invalid proto: xyz"),
            ("x:80", "invalid hostPort: x"),
            ("1.2.3:1:80", "invalid IP address: 1.2.3"),
            ("80:", "no port specified: 80:<empty>"),
            ("1-3:1-2", "invalid ranges specified for container and host Ports: 1-2 and 1-3"),
        ] {
            assert_eq!(lower(&format!("EXPOSE {text}"), &mut scope()).unwrap_err(), message);
        }
        assert_eq!(form("EXPOSE").unwrap_err(), "EXPOSE requires at least one argument");
    }
}
