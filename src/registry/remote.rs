//! One repository of one registry: where it is, who asks, and what is asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::challenge::Challenge;
use super::credentials::{self, Credentials};
use super::login::refused;
use super::mirror::Mirror;
use crate::error::{Context, Error, Kind, Result};
use crate::http::{Client, Fill, Patience, Request, Response, Trust, Url, encoded, is_link_local};
use crate::image::json::Value;
use crate::image::reference::Reference;
use crate::sys::flow::read_most;
use crate::sys::signal;

/// Where the images of Docker Hub are.
const HUB: &str = "registry-1.docker.io";
/// A token is a few kilobytes at most.
const MAX_TOKEN_BYTES: u64 = 1 << 20;
/// How often something small is asked for before it is given up.
const TRIES: u32 = 4;
/// The longest that a server may make lath wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;

/// How a registry may be asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Without TLS if need be: `--tls-verify=false`. A registry on this device always may.
    pub may_be_plain: bool,
    /// Seconds since 1970 that have surely passed, whatever the clock says.
    pub passed: u64,
    /// What has its images too, and is asked before it.
    pub mirrors: Vec<Mirror>,
}

/// A repository, which several threads may ask at once.
pub struct Remote {
    client: Client,
    /// `https://host`.
    base: String,
    origin: Url,
    registry: String,
    repository: String,
    /// What a token is to be good for.
    scopes: Mutex<Vec<String>>,
    /// The header that was asked for the last time.
    authorization: Mutex<Option<String>>,
    /// It has been heard of: a registry that was never there is not waited for.
    has_answered: AtomicBool,
    /// There is another that has the same.
    is_mirror: bool,
}

impl Remote {
    /// Finds out how the registry of a name is spoken to.
    /// `actions`: what is wanted of it, `pull` or `pull,push`.
    pub fn open(reference: &Reference, access: &Access, actions: &str) -> Result<Remote> {
        let repository = reference.repository.clone();
        let scopes = Mutex::new(vec![format!("repository:{repository}:{actions}")]);
        let registry =
            Remote::of_registry(&reference.registry, access.may_be_plain, access.passed)?;
        Ok(Remote { repository, scopes, ..registry })
    }

    /// The same of a mirror: another registry, by its own name and with its own credentials.
    pub fn of_mirror(mirror: &Mirror, repository: &str, passed: u64) -> Result<Remote> {
        let url = &mirror.url;
        let scheme = if url.is_https { "https" } else { "http" };
        let base = format!("{scheme}://{}", url.authority());
        let folder = url.target.trim_matches('/');
        let repository = match folder {
            "" => repository.to_owned(),
            folder => format!("{folder}/{repository}"),
        };
        let registry = url.authority();
        let client = Client::trusting(Trust { passed, ..trust(&registry)? });
        Ok(Remote {
            // Where it has nothing to say, the registry itself has.
            client: client.with_patience(Patience::SHORT),
            origin: Url::parse(&format!("{base}/v2/"))?,
            base,
            registry,
            scopes: Mutex::new(vec![format!("repository:{repository}:pull")]),
            repository,
            authorization: Mutex::default(),
            has_answered: AtomicBool::new(false),
            is_mirror: true,
        })
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The same for a registry as a whole, and none of its repositories.
    pub fn of_registry(registry: &str, may_be_plain: bool, passed: u64) -> Result<Remote> {
        let host = if registry == "docker.io" { HUB } else { registry };
        let client = Client::trusting(Trust { is_blind: may_be_plain, passed, ..trust(registry)? });
        let at = |scheme: &str| {
            let base = format!("{scheme}://{host}");
            Url::parse(&format!("{base}/v2/")).map(|url| (base, url))
        };
        let (mut base, mut origin) = at("https")?;
        if origin.is_loopback() || may_be_plain {
            let plain = at("http")?;
            // Whoever speaks TLS answers 400 to what does not, or nothing at all.
            let speaks = |url: &Url| {
                let answer = client.send(Request::get(url.clone()));
                answer.is_ok_and(|answer| answer.status < 400 || answer.status == 401)
            };
            let is_plain = match origin.is_loopback() {
                true => speaks(&plain.1),
                false => !speaks(&origin) && speaks(&plain.1),
            };
            if is_plain {
                (base, origin) = plain;
            }
        }
        let (registry, repository) = (registry.to_owned(), String::new());
        Ok(Remote {
            client,
            base,
            origin,
            registry,
            scopes: Mutex::default(),
            repository,
            authorization: Mutex::default(),
            has_answered: AtomicBool::new(false),
            is_mirror: false,
        })
    }

    /// Asks for something small of the repository, as who the user is to the registry; again and
    /// again while the network or the server is in the way. No more than `limit` bytes of it.
    pub fn small(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        limit: u64,
    ) -> Result<(Response, Vec<u8>)> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.get_once(path, headers).and_then(|mut answer| {
                let mut bytes = Vec::new();
                let body = &mut answer.body;
                read_most(body, limit, &mut bytes).context(|| path)?;
                Ok((answer, bytes))
            });
            let wait = match &answer {
                Ok((answer, _)) if is_busy(answer.status) => retry_after(answer),
                Err(error) if is_passing(error) && self.has_answered.load(Ordering::Relaxed) => {
                    None
                }
                _ => return answer,
            };
            if tries == TRIES || self.is_mirror {
                return answer;
            }
            pause(tries, wait)?;
        }
    }

    /// Asks for something of the repository.
    pub fn get_once(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Response> {
        let mut request = Request::get(self.url(path)?);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.send(&request)
    }

    /// The address of something in the repository.
    pub fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/v2/{}/{path}", self.base, self.repository))
    }

    /// Sends a request, and once more as who the user is if the registry wants to know.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let answer = self.client.send(self.shown(request))?;
        self.has_answered.store(true, Ordering::Relaxed);
        match self.learns(&answer)? {
            true => self.client.send(self.shown(request)),
            false => Ok(answer),
        }
    }

    /// Sends what comes in pieces. It is not sent again: only the caller can.
    pub fn stream(&self, request: &Request, fill: &mut Fill<'_>) -> Result<Response> {
        self.client.stream(self.shown(request), fill)
    }

    /// The request with what the registry wants to see; another server does not see it.
    fn shown(&self, request: &Request) -> Request {
        match &*held(&self.authorization) {
            Some(authorization) if request.url().is_same_origin(&self.origin) => {
                request.clone().header("Authorization", authorization.as_str())
            }
            _ => request.clone(),
        }
    }

    /// Whether an answer has led to another way to say who the user is. Of several that find out at
    /// once that a token is too old each asks for a new one, which is no harm.
    pub fn learns(&self, answer: &Response) -> Result<bool> {
        // Only the registry itself may say who is to be asked.
        if answer.status != 401 || !answer.url.is_same_origin(&self.origin) {
            return Ok(false);
        }
        let shown = self.prove(answer, credentials::of(&self.registry)?)?;
        let is_known = shown.is_some();
        *held(&self.authorization) = shown;
        Ok(is_known)
    }

    /// What is pushed may be taken from another repository here.
    pub fn also_reads(&self, repository: &str) {
        let scope = format!("repository:{repository}:pull");
        let mut scopes = held(&self.scopes);
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }

    /// Tries a name and a password, as they stand after `Basic`.
    pub fn check(&self, auth: &str) -> Result<()> {
        let answer = self.client.send(Request::get(self.origin.clone()))?;
        let known = Some(Credentials::Password(auth.to_owned()));
        let shown = match answer.status {
            401 if answer.url.is_same_origin(&self.origin) => self.prove(&answer, known)?,
            _ => None,
        };
        let answer = match shown {
            Some(authorization) => {
                let request = Request::get(self.origin.clone());
                self.client.send(request.header("Authorization", authorization))?
            }
            None => answer,
        };
        match answer.status {
            200 => Ok(()),
            401 | 403 => Err(refused(&self.registry)),
            404 => Err(Error::not_found(format!("{} is no registry", self.registry))),
            _ => Err(answer.refusal()),
        }
    }

    /// What a registry wants to see, if there is anything that could be shown.
    fn prove(&self, answer: &Response, known: Option<Credentials>) -> Result<Option<String>> {
        let challenge = Challenge::choose(answer.headers.all("www-authenticate"));
        match (challenge, known) {
            (Some(Challenge::Basic), Some(Credentials::Password(auth))) => {
                Ok(Some(format!("Basic {auth}")))
            }
            (Some(Challenge::Bearer { realm, service }), known) => {
                self.token(&realm, service.as_deref(), known).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether a place may know the user, and the registry what that place says. The registry could
    /// have lath ask for what only this device is told.
    fn may_tell(&self, url: &Url) -> Result<()> {
        let is_safe = url.is_https || url.is_loopback() || !self.origin.is_https;
        if !is_safe {
            let text = format!("{url} is plain http, where a password would be read by anybody");
            return Err(Error::new(Kind::Denied, text));
        }
        let is_outside = !self.origin.is_loopback() && url.host != self.origin.host;
        let is_near = (is_outside && url.leads_to(&|address| address.is_loopback()))
            || (url.host != self.origin.host && url.leads_to(&is_link_local));
        match is_near {
            true => {
                let text = format!("{url} is a place that only this device can ask");
                Err(Error::new(Kind::Denied, text))
            }
            false => Ok(()),
        }
    }

    /// Asks the registry's realm for a token (distribution's token authentication, and its OAuth2
    /// form for who has a token already).
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        known: Option<Credentials>,
    ) -> Result<String> {
        let says = || format!("ask for a token of {}", self.registry);
        let url = Url::parse(realm).context(says)?;
        self.may_tell(&url).map_err(|error| error.during(says()))?;
        let mut query = String::new();
        let is_form = matches!(known, Some(Credentials::Identity(_)));
        // A form has one field of each name (OAuth2), a query several.
        let scopes = held(&self.scopes).clone();
        let scopes = if is_form { vec![scopes.join(" ")] } else { scopes };
        for scope in scopes {
            query.push_str(&format!("&scope={}", encoded(&scope)));
        }
        if let Some(service) = service {
            query.push_str(&format!("&service={}", encoded(service)));
        }
        let request = match known {
            Some(Credentials::Identity(token)) => {
                let token = encoded(&token);
                let grant = "grant_type=refresh_token&client_id=lath";
                let form = format!("{grant}{query}&refresh_token={token}");
                Request::new("POST", url).with("application/x-www-form-urlencoded", form)
            }
            known => {
                let mark = if url.target.contains('?') { '&' } else { '?' };
                let query = query.trim_start_matches('&');
                let request = Request::get(Url::parse(&format!("{realm}{mark}{query}"))?);
                match known {
                    Some(Credentials::Password(auth)) => {
                        request.header("Authorization", format!("Basic {auth}"))
                    }
                    _ => request,
                }
            }
        };
        let sent = self.client.send_within(request, &|url| self.may_tell(url));
        let mut answer = sent.context(says)?;
        match answer.status {
            200 => {}
            // Of a login, where nothing is kept yet.
            401 | 403 if self.repository.is_empty() => return Err(refused(&self.registry)),
            _ => return Err(denied(answer.refusal(), &self.registry).during(says())),
        }
        let mut text = Vec::new();
        read_most(&mut answer.body, MAX_TOKEN_BYTES, &mut text).context(says)?;
        let value = Value::parse(&text).context(says)?;
        let token = |key: &str| value.get(key).and_then(Value::as_str);
        let token = token("token").or_else(|| token("access_token")).filter(|t| !t.is_empty());
        let missing = || Error::input("the answer has no token").during(says());
        Ok(format!("Bearer {}", token.ok_or_else(missing)?))
    }

    /// The error of an answer that is not what was asked for. `what` is missing when it is a 404.
    pub fn refusal(&self, answer: &Response, what: &str) -> Error {
        let (registry, repository) = (&self.registry, &self.repository);
        match answer.status {
            404 => Error::not_found(format!("{what} is not in {registry}/{repository}"))
                .hint("are its name and tag right?"),
            401 | 403 => {
                let text = format!(
                    "access to {repository} denied: it is not there, or {registry} wants to know \
                     who asks"
                );
                denied(Error::new(Kind::Denied, text), registry)
            }
            _ => answer.refusal(),
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an administrator has put down for one registry, in docker's folder and podman's:
/// `*.crt` is an authority, `*.cert` with a `*.key` beside it who this device is.
fn trust(registry: &str) -> Result<Trust> {
    let mut trust = Trust::default();
    for folder in ["/etc/docker/certs.d", "/etc/containers/certs.d"] {
        let Ok(entries) = std::fs::read_dir(format!("{folder}/{registry}")) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            match path.extension().and_then(|end| end.to_str()) {
                Some("crt") => trust.also.push(path),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        let text = format!("the key {key:?} of a client's certificate is missing");
                        return Err(Error::not_found(text)
                            .hint("the file of an authority has to end in .crt"));
                    }
                    trust.own.get_or_insert((path, key));
                }
                _ => {}
            }
        }
    }
    Ok(trust)
}

fn denied(error: Error, registry: &str) -> Error {
    match error.kind() {
        Kind::Denied => error.hint(format!(
            "lath login {registry} keeps a name and password in docker's config.json, in \
             $DOCKER_CONFIG or ~/.docker"
        )),
        _ => error,
    }
}

/// The server may do it when it is asked again.
pub fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

/// What may be gone with the next attempt. Not: that the user or the disk says no.
pub fn is_passing(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Interrupted(_) | Kind::Denied | Kind::NoSpace | Kind::Unsupported | Kind::Usage
    )
}

/// How long the server wants to be left alone, in seconds.
pub fn retry_after(answer: &Response) -> Option<u64> {
    answer.headers.get("retry-after")?.trim().parse().ok()
}

/// Waits before the next attempt, longer each time.
pub fn pause(tries: u32, wanted_seconds: Option<u64>) -> Result<()> {
    const SLICE: Duration = Duration::from_millis(50);
    let own = Duration::from_millis(250 << tries.min(6));
    let wanted = Duration::from_secs(wanted_seconds.unwrap_or(0).min(MAX_WAIT_SECONDS));
    let mut left = own.max(wanted);
    while !left.is_zero() {
        signal::check()?;
        std::thread::sleep(left.min(SLICE));
        left = left.saturating_sub(SLICE);
    }
    signal::check()
}
