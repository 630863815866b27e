//! An http or https address in its parts (RFC 3986), strict: what a server could read in another
//! way than lath does is refused.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::connection::resolve;
use crate::base64;
use crate::error::{Error, Result};

/// The longest address that is taken, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// An address. Its text form, for messages, has neither the user's name and password nor the
/// values of a query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Over TLS.
    pub is_https: bool,
    /// Name and password before the `@`, still with their `%`; never shown.
    pub userinfo: Option<String>,
    /// The host's name in lower case, or an address; IPv6 without its brackets.
    pub host: String,
    /// The port, the scheme's own when none was written.
    pub port: u16,
    /// Path and query as they are sent; begins with a slash.
    pub target: String,
}

/// Whether an address is of this device's own network segment: clouds tell their machines secrets
/// under one.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Url {
    /// Reads an address. A fragment is dropped: it is none of the server's business.
    pub fn parse(text: &str) -> Result<Url> {
        let bad = |what: &str| Error::input(format!("invalid URL: {what}"));
        if text.len() > MAX_BYTES {
            return Err(bad("it is longer than 8 KiB"));
        }
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(bad("it has a control character"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(bad("only http and https are known")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (userinfo, place) = match authority.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place).ok_or_else(|| bad("its host is not valid"))?;
        let target = match target.starts_with('/') {
            true => escaped(target),
            false => escaped(&format!("/{target}")),
        };
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        Ok(Url { is_https, userinfo, host, port, target })
    }

    /// The address that a `Location` means, seen from this one (RFC 3986, 5.2).
    pub fn join(&self, location: &str) -> Result<Url> {
        let before_path = location.split(['/', '?', '#']).next().unwrap_or_default();
        if before_path.contains(':') {
            return Url::parse(location);
        }
        let scheme = self.scheme();
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = if location.starts_with('/') {
            location.to_owned()
        } else if location.is_empty() || location.starts_with('#') {
            self.target.clone()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            let (folder, _) = path.rsplit_once('/').unwrap_or_default();
            format!("{folder}/{location}")
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target.as_str(), None),
        };
        let mut target = without_dots(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let joined = Url::parse(&format!("{scheme}://{}{target}", self.authority()))?;
        Ok(Url { userinfo: self.userinfo.clone(), ..joined })
    }

    /// Host and port, the port only where it is not the scheme's own: the `Host` header.
    pub fn authority(&self) -> String {
        let own = if self.is_https { 443 } else { 80 };
        let mut text = bracketed(&self.host);
        if self.port != own {
            text.push_str(&format!(":{}", self.port));
        }
        text
    }

    /// Host and port, always both: what CONNECT takes.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// Whether both are the same server, so that what is secret for one may go to the other.
    pub fn is_same_origin(&self, other: &Url) -> bool {
        (self.is_https, &self.host, self.port) == (other.is_https, &other.host, other.port)
    }

    /// The last name of the path, decoded; none when there is no name that a file could have.
    pub fn file_name(&self) -> Option<String> {
        let path = unescaped(self.target.split('?').next().unwrap_or_default());
        let path = String::from_utf8(path).ok()?;
        let name = path.trim_end_matches('/').rsplit('/').next()?.to_owned();
        let usable = !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
        (usable && name.len() <= 255).then_some(name)
    }

    /// The value of an `Authorization` header for the name and password that were written.
    pub fn authorization(&self) -> Option<String> {
        let userinfo = self.userinfo.as_deref()?;
        let userinfo = match userinfo.contains(':') {
            true => unescaped(userinfo),
            false => unescaped(&format!("{userinfo}:")),
        };
        Some(format!("Basic {}", base64::encode(&userinfo)))
    }

    /// The name and the password that were written.
    pub(super) fn user_and_password(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let userinfo = self.userinfo.as_deref()?;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some((unescaped(user), unescaped(password)))
    }

    /// Whether it leads to this device.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether one of the addresses of its host is of a kind; not when it has none.
    pub fn leads_to(&self, is_so: &dyn Fn(IpAddr) -> bool) -> bool {
        let addresses = resolve(&self.host, self.port);
        addresses.is_ok_and(|all| all.iter().any(|one| is_so(one.ip().to_canonical())))
    }

    fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// As a proxy wants it: with scheme and host.
    pub(super) fn absolute(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = match self.target.split_once('?') {
            Some((path, _)) => (path, "?..."),
            None => (self.target.as_str(), ""),
        };
        write!(f, "{}://{}{path}{query}", self.scheme(), self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`.
pub(super) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        // In one form, so that two ways to write an address are the same host.
        let host = host.parse::<Ipv6Addr>().ok()?.to_string();
        (host, if port.is_empty() { "" } else { port.strip_prefix(':')? })
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        (host.to_ascii_lowercase(), port)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    if !is_name && host.parse::<IpAddr>().is_err() {
        return None;
    }
    let port = match port {
        "" => None,
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        _ => return None,
    };
    (port != Some(0)).then_some((host, port))
}

/// What may not stand in a request line, as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A value as it stands in a query or a form.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = rest.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                rest = rest.get(2..).unwrap_or_default();
            }
            _ => out.push(byte),
        }
    }
    out
}

/// A path without `.` and `..` (RFC 3986, 5.2.4); begins with a slash.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut ends_as_folder = false;
    for part in path.split('/').skip(1) {
        ends_as_folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if ends_as_folder {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_falls_into_its_parts() {
        let url = Url::parse("HTTPS://me:p%40ss@Example.com:8443/a b/ü?q=1#top").unwrap();
        assert!(url.is_https);
        assert_eq!((url.host.as_str(), url.port), ("example.com", 8443));
        assert_eq!(url.target, "/a%20b/%C3%BC?q=1");
        // "me:p@ss", by base64(1).
        assert_eq!(url.authorization().unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(url.to_string(), "https://example.com:8443/a%20b/%C3%BC?...");
        assert_eq!(format!("{url:?}"), url.to_string());
        let url = Url::parse("http://[2001:DB8:0::1]?x").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.target.as_str()), ("2001:db8::1", 80, "/?x"));
        assert_eq!(url.authority(), "[2001:db8::1]");
        assert_eq!(url.host_and_port(), "[2001:db8::1]:80");
    }

    #[test]
    fn addresses_of_the_segment_are_known() {
        let url = |host: &str| Url::parse(&format!("http://{host}/")).unwrap();
        let is_local = |host: &str| url(host).leads_to(&is_link_local);
        assert!(
            ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.1.1]"].iter().all(|h| is_local(h))
        );
        assert!(!["10.0.0.1", "[2001:db8::1]", "169.254.invalid"].iter().any(|h| is_local(h)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "file:///etc/passwd",
            "http:/x",
            "//x/y",
            "http://",
            "http://:80/",
            "http://a b/",
            "http://a\r\nX: y/",
            "http://a/\n",
            "http://a:0/",
            "http://a:65536/",
            "http://a:+80/",
            "http://[::1/",
            "http://[fe80::1%25eth0]/",
            "http://a:80:80/",
            "http://ü/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
        assert!(Url::parse(&format!("http://a/{}", "x".repeat(9000))).is_err());
    }

    /// From RFC 3986, 5.4.
    #[test]
    fn a_location_is_seen_from_where_it_was_said() {
        let base = Url::parse("http://u:p@a/b/c/d;p?q").unwrap();
        for (location, wanted) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("", "http://a/b/c/d;p?q"),
            ("#s", "http://a/b/c/d;p?q"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("https://x:1/y", "https://x:1/y"),
        ] {
            let joined = base.join(location).unwrap();
            assert_eq!(joined.absolute(), wanted, "{location}");
            assert_eq!(joined.userinfo.is_some(), joined.host == "a", "{location}");
        }
        for bad in ["file:///etc/passwd", "ftp://a/b", "javascript:x", "/\u{1}"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_name_is_the_last_of_the_path() {
        for (text, name) in [
            ("http://h/d/f.tar.gz?x=/y", Some("f.tar.gz")),
            ("http://h/d/", Some("d")),
            ("http://h/a%20b", Some("a b")),
            ("http://h/x%2Fy", Some("y")),
            ("http://h/..%2f..", None),
            ("http://h/%00", None),
            ("http://h", None),
            ("http://h/?f", None),
        ] {
            assert_eq!(Url::parse(text).unwrap().file_name().as_deref(), name, "{text}");
        }
    }
}
