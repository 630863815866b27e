//! One repository of one registry: where it is, who asks, and what is asked again.

use std::io::Read;
use std::time::Duration;

use super::challenge::Challenge;
use super::credentials::{self, Credentials};
use crate::error::{Context, Error, Kind, Result};
use crate::http::{Client, Request, Response, Url, encoded};
use crate::image::json::Value;
use crate::image::reference::Reference;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Without TLS if need be: `--tls-verify=false`. A registry on this device always may.
    pub may_be_plain: bool,
}

/// A repository.
pub struct Remote {
    client: Client,
    /// `https://host`.
    base: String,
    origin: Url,
    registry: String,
    repository: String,
    /// The header that was asked for the last time.
    authorization: Option<String>,
    /// It has been heard of: a registry that was never there is not waited for.
    has_answered: bool,
}

impl Remote {
    /// Finds out how the registry of a name is spoken to.
    pub fn open(reference: &Reference, access: Access) -> Result<Remote> {
        let registry = reference.registry.as_str();
        let host = if registry == "docker.io" { HUB } else { registry };
        let client = Client::new();
        let at = |scheme: &str| {
            let base = format!("{scheme}://{host}");
            Url::parse(&format!("{base}/v2/")).map(|url| (base, url))
        };
        let (mut base, mut origin) = at("https")?;
        if origin.is_loopback() || access.may_be_plain {
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
        let (registry, repository) = (registry.to_owned(), reference.repository.clone());
        Ok(Remote {
            client,
            base,
            origin,
            registry,
            repository,
            authorization: None,
            has_answered: false,
        })
    }

    /// Asks for something of the repository, as who the user is to the registry; again and again
    /// while the network or the server is in the way.
    pub fn get(&mut self, path: &str, headers: &[(&'static str, &str)]) -> Result<Response> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.get_once(path, headers);
            let wait = match &answer {
                Ok(answer) if is_busy(answer.status) => retry_after(answer),
                Err(error) if is_passing(error) && self.has_answered => None,
                _ => return answer,
            };
            if tries == TRIES {
                return answer;
            }
            pause(tries, wait)?;
        }
    }

    /// The same, once.
    pub fn get_once(&mut self, path: &str, headers: &[(&'static str, &str)]) -> Result<Response> {
        let url = Url::parse(&format!("{}/v2/{}/{path}", self.base, self.repository))?;
        let mut has_asked = false;
        loop {
            let mut request = Request::get(url.clone());
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization.as_str());
            }
            let answer = self.client.send(request)?;
            self.has_answered = true;
            // Only the registry itself may say who is to be asked.
            let is_own = answer.url.is_same_origin(&self.origin);
            if answer.status != 401 || has_asked || !is_own {
                return Ok(answer);
            }
            has_asked = true;
            self.authorization = match self.authorize(&answer)? {
                Some(authorization) => Some(authorization),
                None => return Ok(answer),
            };
        }
    }

    /// What a registry wants to see, if there is anything that could be shown.
    fn authorize(&self, answer: &Response) -> Result<Option<String>> {
        let challenge = Challenge::choose(answer.headers.all("www-authenticate"));
        let known = credentials::of(&self.registry)?;
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
        let is_safe = url.is_https || url.is_loopback() || !self.origin.is_https;
        if !is_safe {
            let text = format!("{url} is plain http, where a password would be read by anybody");
            return Err(Error::new(Kind::Denied, text).during(says()));
        }
        let mut query =
            format!("scope={}", encoded(&format!("repository:{}:pull", self.repository)));
        if let Some(service) = service {
            query.push_str(&format!("&service={}", encoded(service)));
        }
        let request = match known {
            Some(Credentials::Identity(token)) => {
                let token = encoded(&token);
                let grant = "grant_type=refresh_token&client_id=lath";
                Request::post(url, format!("{grant}&{query}&refresh_token={token}"))
            }
            known => {
                let mark = if url.target.contains('?') { '&' } else { '?' };
                let request = Request::get(Url::parse(&format!("{realm}{mark}{query}"))?);
                match known {
                    Some(Credentials::Password(auth)) => {
                        request.header("Authorization", format!("Basic {auth}"))
                    }
                    _ => request,
                }
            }
        };
        let answer = self.client.send(request).context(says)?;
        if answer.status != 200 {
            return Err(denied(answer.refusal(), &self.registry).during(says()));
        }
        let mut text = Vec::new();
        answer.body.take(MAX_TOKEN_BYTES).read_to_end(&mut text).context(says)?;
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

fn denied(error: Error, registry: &str) -> Error {
    match error.kind() {
        Kind::Denied => error.hint(format!(
            "credentials for {registry} are looked up in docker's config.json, in $DOCKER_CONFIG \
             or ~/.docker"
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
