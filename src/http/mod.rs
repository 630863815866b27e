//! A small HTTP/1.1 client: connections that serve one request after the other, bodies that stream.
//! Which files are fetched and what becomes of them is decided above.

mod body;
mod chunks;
mod connection;
mod head;
mod idle;
mod proxy;
mod socks;
#[cfg(feature = "tls")]
mod suites;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_missing.rs"]
mod tls;
mod url;

use crate::sys::flow::Outflow;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub use body::Body;
pub use connection::Patience;
pub use head::Headers;
#[cfg(all(feature = "doctor", feature = "tls"))]
pub use tls::{is_clock_set, knows_authorities};
pub use url::{Url, encoded, is_link_local};

use crate::error::{Error, Kind, Result};
use connection::Stream;
use connection::{Input, Wire};
use head::Head;
use idle::Idle;
use proxy::{Proxies, Proxy};
use tls::Tls;

/// As docker's libraries have it.
const MAX_REDIRECTS: usize = 10;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    url: Url,
    headers: Vec<(&'static str, String)>,
    content: Option<Vec<u8>>,
}

/// Writes the content of a request, once.
pub type Fill<'a> = dyn FnMut(&mut dyn Outflow) -> Result<()> + 'a;

impl Request {
    /// GET; with the name and password of the address, if it has them.
    pub fn get(url: Url) -> Request {
        Request::new("GET", url)
    }

    /// Any other method. Only along with GET and HEAD a redirect is gone along with.
    pub fn new(method: &'static str, url: Url) -> Request {
        Request { method, url, headers: Vec::new(), content: None }
    }

    /// With a content of this type.
    #[must_use]
    pub fn with(mut self, media_type: &str, content: impl Into<Vec<u8>>) -> Request {
        self.content = Some(content.into());
        self.header("Content-Type", media_type)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((name, value.into()));
        self
    }

    /// Where it goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn only_asks(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// The bytes of its head. `via` is the proxy that gets them in the server's place.
    fn head(&self, via: Option<&Url>, is_streamed: bool) -> Result<String> {
        let target = if via.is_some() { self.url.absolute() } else { self.url.target.clone() };
        let mut text = format!("{} {target} HTTP/1.1\r\n", self.method);
        let mut add = |name: &str, value: &str| {
            if value.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(Error::input(format!("the header {name} has a control character")));
            }
            for part in [name, ": ", value, "\r\n"] {
                text.push_str(part);
            }
            Ok(())
        };
        add("Host", &self.url.authority())?;
        add("User-Agent", concat!("lath/", env!("CARGO_PKG_VERSION")))?;
        add("Accept-Encoding", "identity")?;
        if let Some(authorization) = self.url.authorization() {
            add("Authorization", &authorization)?;
        }
        if let Some(authorization) = via.and_then(Url::authorization) {
            add("Proxy-Authorization", &authorization)?;
        }
        for (name, value) in &self.headers {
            add(name, value)?;
        }
        if is_streamed {
            add("Transfer-Encoding", "chunked")?;
        } else if !self.only_asks() {
            let length = self.content.as_ref().map_or(0, Vec::len);
            add("Content-Length", &length.to_string())?;
        }
        text.push_str("\r\n");
        Ok(text)
    }
}

/// What came back.
pub struct Response {
    /// Where it came from in the end.
    pub url: Url,
    /// A redirect has led from https to http on the way.
    pub lost_tls: bool,
    /// Three digits.
    pub status: u16,
    /// What was said about the body.
    pub headers: Headers,
    /// The body, still to be read.
    pub body: Body,
}

impl Response {
    /// The error that a status means which is none of those asked for.
    pub fn refusal(&self) -> Error {
        let text = format!("{}: invalid response status {}", self.url, self.status);
        let (kind, hint) = match self.status {
            401 | 403 => (Kind::Denied, "the server wants to know who asks, or does not give it"),
            404 | 410 => (Kind::NotFound, "the server has no such file: is the address right?"),
            407 => {
                (Kind::Denied, "the proxy wants a name and password: http://NAME:PASSWORD@PROXY")
            }
            429 | 500..=599 => (Kind::System, "the server is busy or broken: try again later"),
            _ => (Kind::Input, "the server does not give it"),
        };
        Error::new(kind, text).hint(hint)
    }
}

/// Asks servers.
#[derive(Debug)]
pub struct Client {
    proxies: Proxies,
    trust: Trust,
    tls: OnceLock<Tls>,
    patience: Patience,
    idle: Arc<Idle>,
}

/// Whose certificates are good, and which one is shown.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Anybody's are: nothing is checked.
    pub is_blind: bool,
    /// Files with authorities besides those of the system.
    pub also: Vec<PathBuf>,
    /// The files of the certificate, and of its key, that say who this is.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Seconds since 1970 that have surely passed, whatever the clock says.
    pub passed: u64,
}

impl Client {
    /// With the proxies of the environment and the authorities of the system.
    pub fn new() -> Client {
        Client::trusting(Trust::default())
    }

    /// With other authorities.
    pub fn trusting(trust: Trust) -> Client {
        let proxies = Proxies::from(&|name| std::env::var(name).ok());
        Client {
            proxies,
            trust,
            tls: OnceLock::new(),
            patience: Patience::LONG,
            idle: Arc::default(),
        }
    }

    /// With more or less of it.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Client {
        Client { patience, ..self }
    }

    /// Sends a request and reads the head of what comes back; goes along redirects. Who may know
    /// the user's password is only the server that it was given for.
    pub fn send(&self, request: Request) -> Result<Response> {
        self.deliver(request, None, &|_| Ok(()))
    }

    /// The same, and goes along no redirect to where it may not go.
    pub fn send_within(
        &self,
        request: Request,
        may_go: &dyn Fn(&Url) -> Result<()>,
    ) -> Result<Response> {
        self.deliver(request, None, may_go)
    }

    /// Sends a request whose content comes in pieces, until `fill` is done. A server that answers
    /// before the end has heard enough.
    pub fn stream(&self, request: Request, fill: &mut Fill<'_>) -> Result<Response> {
        self.deliver(request, Some(fill), &|_| Ok(()))
    }

    fn deliver(
        &self,
        mut request: Request,
        mut fill: Option<&mut Fill<'_>>,
        may_go: &dyn Fn(&Url) -> Result<()>,
    ) -> Result<Response> {
        let mut lost_tls = false;
        for _ in 0..=MAX_REDIRECTS {
            let answered = self.exchange(&request, fill.as_deref_mut());
            let (head, body) = answered.map_err(|error| error.during(&request.url))?;
            let is_redirect = matches!(head.status, 301 | 302 | 303 | 307 | 308);
            let goes_along = is_redirect && request.only_asks();
            let location = head.headers.get("location").filter(|_| goes_along);
            let Some(location) = location else {
                let (status, headers) = (head.status, head.headers);
                return Ok(Response { url: request.url, lost_tls, status, headers, body });
            };
            let next = request.url.join(location);
            let mut next =
                next.map_err(|error| error.during(format!("{} redirects", request.url)))?;
            lost_tls |= request.url.is_https && !next.is_https;
            if !next.is_same_origin(&request.url) {
                request.headers.retain(|(name, _)| *name != "Authorization");
            } else if next.userinfo.is_none() {
                next.userinfo = request.url.userinfo.take();
            }
            log::debug!("{} leads to {next}", request.url);
            may_go(&next)?;
            request.url = next;
        }
        let text = format!("{}: stopped after {MAX_REDIRECTS} redirects", request.url);
        Err(Error::input(text))
    }

    /// The list of authorities is only read when it is needed.
    fn tls(&self) -> Result<&Tls> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let tls = Tls::new(&self.trust)?;
        Ok(self.tls.get_or_init(|| tls))
    }

    /// One request and the head of its answer, over a connection that is open already or a new one.
    fn exchange(&self, request: &Request, mut fill: Option<&mut Fill<'_>>) -> Result<(Head, Body)> {
        let url = &request.url;
        let proxy = self.proxies.of(url)?;
        // To a plain server the proxy itself answers.
        let via = proxy.as_ref().filter(|proxy| !url.is_https && !proxy.is_socks);
        let via = via.map(|proxy| &proxy.url);
        let place = match via {
            Some(proxy) => format!("via {}", proxy.host_and_port()),
            None => format!("{} {}", url.is_https, url.host_and_port()),
        };
        let text = request.head(via, fill.is_some())?;
        while let Some(mut input) = self.idle.take(&place) {
            match ask(&mut input, request, &text, fill.as_deref_mut()) {
                Ok(head) => return self.answer(input, head, request, place),
                // It was given up by the server while it was idle. Nothing that is sent in one
                // piece does harm when it comes twice.
                Err(Failure::Gone(_)) if fill.is_none() => log::debug!("{place} has hung up"),
                Err(Failure::Gone(error)) => return Err(error.into()),
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        let mut input = self.connect(url, proxy.as_ref())?;
        match ask(&mut input, request, &text, fill) {
            Ok(head) => self.answer(input, head, request, place),
            Err(Failure::Gone(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::input("the connection was closed before the answer was complete"))
            }
            Err(Failure::Gone(error)) => Err(error.into()),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    fn connect(&self, url: &Url, proxy: Option<&Proxy>) -> Result<Input> {
        let next = proxy.map_or(url, |proxy| &proxy.url);
        // Before a connection that would be of no use.
        let is_safe = url.is_https || next.is_https;
        let tls = if is_safe { Some(self.tls()?) } else { None };
        let wrap = |stream, host: &Url| match tls.filter(|_| host.is_https) {
            Some(tls) => tls.wrap(stream, &host.host),
            None => Ok(stream),
        };
        let wire = Wire::connect(&next.host, next.port, self.patience)?;
        let mut stream: Box<dyn Stream> = Box::new(wire);
        stream.wire().expect_answer();
        if let Some(proxy) = proxy {
            stream = wrap(stream, next)?;
            if url.is_https || proxy.is_socks {
                stream = proxy::tunnel(stream, proxy, url)?;
            }
            if url.is_https {
                stream = wrap(stream, url)?;
            }
        } else {
            stream = wrap(stream, url)?;
        }
        Ok(BufReader::with_capacity(16 << 10, stream))
    }

    fn answer(
        &self,
        input: Input,
        head: Head,
        request: &Request,
        place: String,
    ) -> Result<(Head, Body)> {
        let has_no_body = matches!(head.status, 204 | 304) || request.method == "HEAD";
        let home = head.is_lasting.then(|| (self.idle.clone(), place));
        let body = Body::new(input, &head.headers, has_no_body, home)?;
        Ok((head, body))
    }
}

/// Why there is no answer.
enum Failure {
    /// The connection has ended before its first byte.
    Gone(io::Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::BrokenPipe
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::UnexpectedEof => Failure::Gone(error),
            _ => Failure::Other(error.into()),
        }
    }
}

/// Sends a request over a connection and reads the head of what comes back.
fn ask(
    input: &mut Input,
    request: &Request,
    head: &str,
    fill: Option<&mut Fill<'_>>,
) -> Result<Head, Failure> {
    let stream = input.get_mut();
    match fill {
        None => stream.wire().expect_answer(),
        Some(_) => stream.wire().answered(),
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.content.as_deref().unwrap_or_default())?;
    stream.flush()?;
    let sent = match fill {
        Some(fill) => chunks::send(&mut *stream, fill),
        None => Ok(()),
    };
    stream.wire().expect_answer();
    if sent.is_ok() && input.fill_buf()?.is_empty() {
        return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    // A server that does not want it says so and hangs up.
    let head = match (head::read(input), sent) {
        (Ok(head), Ok(())) => head,
        (Ok(head), Err(_)) if head.status >= 300 => Head { is_lasting: false, ..head },
        (_, Err(error)) | (Err(error), _) => return Err(error.into()),
    };
    input.get_mut().wire().answered();
    Ok(head)
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}
