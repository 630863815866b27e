//! Which proxy stands before a server, by the usual variables: HTTP_PROXY, HTTPS_PROXY and
//! NO_PROXY or their lower-case names, with the meaning that docker's libraries give them.

use std::io::{BufReader, Write};
use std::net::IpAddr;

use super::connection::Stream;
use super::head;
use super::socks;
use super::url::{Url, host_and_port};
use crate::error::{Error, Result};

/// The port of SOCKS proxies where none is named.
const SOCKS: u16 = 1080;

/// A proxy.
pub(super) struct Proxy {
    /// Where it is; https when it is spoken to over TLS.
    pub url: Url,
    /// It is one of SOCKS.
    pub is_socks: bool,
}

/// The proxies of this process's environment.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: String,
}

impl Proxies {
    /// Reads the variables; `own` looks one up.
    pub fn from(own: &dyn Fn(&str) -> Option<String>) -> Proxies {
        let either = |upper: &str, lower: &str| {
            let set = |name| own(name).filter(|value| !value.is_empty());
            set(upper).or_else(|| set(lower))
        };
        // In a CGI script HTTP_PROXY is the header "Proxy" of whoever asks (httpoxy).
        let http = match own("REQUEST_METHOD") {
            Some(_) => either("http_proxy", "http_proxy"),
            None => either("HTTP_PROXY", "http_proxy"),
        };
        Proxies {
            http,
            https: either("HTTPS_PROXY", "https_proxy"),
            except: either("NO_PROXY", "no_proxy").unwrap_or_default(),
        }
    }

    /// The proxy for an address; none when the server is asked itself.
    pub fn of(&self, url: &Url) -> Result<Option<Proxy>> {
        let text = if url.is_https { &self.https } else { &self.http };
        let Some(text) = text.as_deref().filter(|_| !self.is_exempt(url)) else { return Ok(None) };
        let name = if url.is_https { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let (scheme, place) = text.split_once("://").unwrap_or(("http", text));
        let is_socks = match scheme {
            "http" | "https" => false,
            // Both leave it to the proxy to find the host.
            "socks5" | "socks5h" => true,
            _ => {
                let text = format!("{name}: a proxy with {scheme:?} is not supported");
                return Err(Error::unsupported(text).hint("there is: http, https, socks5"));
            }
        };
        let scheme = if scheme == "https" { scheme } else { "http" };
        let parsed = Url::parse(&format!("{scheme}://{place}")).map_err(|error| error.during(name));
        let mut url = parsed?;
        if is_socks && !place.trim_end_matches('/').ends_with(":80") && url.port == 80 {
            url.port = SOCKS;
        }
        Ok(Some(Proxy { url, is_socks }))
    }

    fn is_exempt(&self, url: &Url) -> bool {
        // The device itself never lies behind a proxy.
        if url.is_loopback() {
            return true;
        }
        let address = url.host.parse::<IpAddr>().ok();
        let entries = self.except.split([',', ' ']).filter(|entry| !entry.is_empty());
        entries.into_iter().any(|entry| matches(entry, url, address))
    }
}

/// Asks a proxy for a connection to the server itself, through which TLS goes unseen.
pub(super) fn tunnel(
    mut wire: Box<dyn Stream>,
    proxy: &Proxy,
    to: &Url,
) -> Result<Box<dyn Stream>> {
    let Proxy { url: proxy, is_socks } = proxy;
    if *is_socks {
        return socks::tunnel(&mut *wire, proxy, to).map(|()| wire);
    }
    let place = to.host_and_port();
    let mut text = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some(authorization) = proxy.authorization() {
        text.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    text.push_str("\r\n");
    wire.write_all(text.as_bytes())?;
    wire.flush()?;
    let mut input = BufReader::new(wire);
    let status = head::read(&mut input)?.status;
    if !(200..300).contains(&status) {
        let text = format!("the proxy {proxy} gives no way to {place}: status {status}");
        return Err(Error::input(text).hint("NO_PROXY names the hosts that need none"));
    }
    // Nobody speaks before the client in TLS.
    if !input.buffer().is_empty() {
        return Err(Error::input(format!("the proxy {proxy} speaks in the server's place")));
    }
    Ok(input.into_inner())
}

/// `*`, a name (it and all below it), `.name` (all below it), an address, or `address/bits`; a
/// name or an address with a port is for that port alone.
fn matches(entry: &str, url: &Url, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let found = network.parse().ok().zip(bits.parse().ok()).zip(address);
        return found.is_some_and(|((network, bits), address)| is_in(address, network, bits));
    }
    // An IPv6 address may stand without its brackets.
    if let Ok(entry) = entry.parse::<IpAddr>() {
        return address == Some(entry);
    }
    let Some((name, port)) = host_and_port(entry.trim_start_matches('*')) else { return false };
    if port.is_some_and(|port| port != url.port) {
        return false;
    }
    let below = name.trim_start_matches('.');
    let is_below =
        url.host.strip_suffix(below).is_some_and(|start| start.ends_with('.') && address.is_none());
    is_below || (url.host == name)
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, all) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u32::from(a).into(), u32::from(n).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (u128::from(a), u128::from(n), 128),
        _ => return false,
    };
    // All bits of the shorter kind and none of the longer: shifted out.
    bits <= all && (address ^ network).checked_shr(all - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let own = |name: &str| {
            let mut known = variables.iter();
            known.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let found = Proxies::from(&own).of(&Url::parse(url).unwrap()).unwrap();
        found.map(|proxy| match proxy.is_socks {
            true => format!("socks {}", proxy.url.host_and_port()),
            false => proxy.url.host_and_port(),
        })
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let both = [("HTTP_PROXY", "http://p:1/"), ("https_proxy", "q:2")];
        assert_eq!(proxy(&both, "http://x/").as_deref(), Some("p:1"));
        assert_eq!(proxy(&both, "https://x/").as_deref(), Some("q:2"));
        assert_eq!(proxy(&both, "http://localhost/"), None);
        assert_eq!(proxy(&both, "http://127.1.2.3/"), None);
        assert_eq!(proxy(&both, "http://[::1]/"), None);
        let cases = [("HTTP_PROXY", "a"), ("http_proxy", "b")];
        assert_eq!(proxy(&cases, "http://x/").as_deref(), Some("a:80"));
        let script = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "a"), ("http_proxy", "b")];
        assert_eq!(proxy(&script, "http://x/").as_deref(), Some("b:80"));
        assert_eq!(proxy(&[("HTTP_PROXY", "")], "http://x/"), None);
        for (text, wanted) in [
            ("https://p", "p:443"),
            ("socks5://p", "socks p:1080"),
            ("socks5h://u:w@p:80/", "socks p:80"),
        ] {
            assert_eq!(proxy(&[("HTTP_PROXY", text)], "http://x/").as_deref(), Some(wanted));
        }
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        for (except, url, is_exempt) in [
            ("*", "http://x/", true),
            ("a.b", "http://a.b/", true),
            ("a.b", "http://c.A.b/", true),
            ("a.b", "http://ca.b/", false),
            (".a.b", "http://c.a.b/", true),
            (".a.b", "http://a.b/", false),
            ("*.a.b", "http://c.a.b/", true),
            ("x, a.b:80", "http://a.b/", true),
            ("x, a.b:81", "http://a.b/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.0.0.0/99", "http://10.1.2.3/", false),
            ("0.0.0.0/0", "http://10.1.2.3/", true),
            ("fd00::/8", "http://[fd00::1]/", true),
            ("::/0", "http://[fd00::1]/", true),
            ("::1:2", "http://[::1:2]/", true),
            ("1.2.3.4", "http://1.2.3.4/", true),
            ("2.3.4", "http://1.2.3.4/", false),
        ] {
            let found = proxy(&[("http_proxy", "p"), ("NO_PROXY", except)], url);
            assert_eq!(found.is_none(), is_exempt, "{except} {url}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_said() {
        for text in ["socks4://p", "ftp://p", "http://"] {
            let proxies = Proxies { http: Some(text.into()), ..Proxies::default() };
            assert!(proxies.of(&Url::parse("http://x").unwrap()).is_err(), "{text}");
        }
    }
}
