//! Who the user is for a registry: docker's config.json (`auths`, `credHelpers`, `credsStore`).
//!
//! Source: docker's documentation of `docker login`; the protocol of docker-credential-helpers.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::base64;
use crate::error::{Context, Error, Kind, Result};
use crate::image::json::{self, Value};
use crate::sys::flow::read_most;
use crate::sys::process;
use crate::sys::program::{Child, Program, Stream};

/// Docker Hub's key, from its first days.
const HUB: &str = "https://index.docker.io/v1/";
/// The name by which a helper gives a token that stands for a user, in place of a password.
const TOKEN_USER: &str = "<token>";

/// How a user is known to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The value of an `Authorization` header after `Basic`.
    Password(String),
    /// A token to be changed for others at the realm.
    Identity(String),
}

/// docker's file, if there is one.
pub fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(dir.join("config.json"))
}

/// What is in it; nothing when it is not there.
pub fn open(path: &Path) -> Result<Option<Value>> {
    let says = || format!("read {path:?}");
    let mut text = Vec::new();
    match File::open(path) {
        Ok(mut file) => read_most(&mut file, json::MAX_BYTES as u64, &mut text)?,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause).context(says),
    };
    Value::parse(&text).map(Some).context(says)
}

/// What is known for a registry; nothing is not an error, since most of it is public.
pub fn of(registry: &str) -> Result<Option<Credentials>> {
    let Some(path) = path() else { return Ok(None) };
    let Some(config) = open(&path)? else { return Ok(None) };
    let key = key_of(registry);
    if let Some(helper) = helper(&config, registry)
        && let Some(found) = ask(&helper, key)?
    {
        return Ok(Some(found));
    }
    let Some(auths) = config.get("auths").and_then(Value::as_object) else { return Ok(None) };
    Ok(entry(auths, registry).and_then(read))
}

/// A warning when others can read the passwords of that file.
pub fn exposed() -> Option<String> {
    let path = path()?;
    let mode = std::fs::metadata(&path).ok()?.permissions().mode() & 0o777;
    let config = open(&path).ok()??;
    let auths = config.get("auths").and_then(Value::as_object).unwrap_or_default();
    let has_secrets = auths.iter().any(|(_, entry)| read(entry).is_some());
    let text = || format!("{path:?} has passwords that others can read (mode {mode:o}): chmod 600");
    (mode & 0o077 != 0 && has_secrets).then(text)
}

/// The entry of a registry, by its whole name.
fn entry<'a>(auths: &'a [(String, Value)], registry: &str) -> Option<&'a Value> {
    let own = auths.iter().find(|(name, _)| name == key_of(registry));
    let own = own.or_else(|| auths.iter().find(|(name, _)| host_of(name) == Some(registry)));
    own.map(|(_, entry)| entry)
}

/// Old files have whole addresses in the place of hosts.
fn host_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
    let host = name?.split('/').next()?;
    let is_hub = matches!(host, "index.docker.io" | "registry-1.docker.io");
    Some(if is_hub { "docker.io" } else { host })
}

fn read(entry: &Value) -> Option<Credentials> {
    let text = |key| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credentials::Identity(token.to_owned()));
    }
    if let Some(auth) = text("auth") {
        return Some(Credentials::Password(auth.to_owned()));
    }
    let (user, password) = (text("username")?, text("password").unwrap_or_default());
    Some(Credentials::Password(basic(user, password)))
}

/// A name and a password, as they stand after `Basic`.
pub fn basic(user: &str, password: &str) -> String {
    base64::encode(format!("{user}:{password}").as_bytes())
}

/// What a registry is called in that file and by helpers.
pub fn key_of(registry: &str) -> &str {
    if registry == "docker.io" { HUB } else { registry }
}

/// The helper that keeps the credentials of a registry.
pub fn helper(config: &Value, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(|helpers| helpers.get(registry));
    let name = own.or_else(|| config.get("credsStore")).and_then(Value::as_str)?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn ask(helper: &str, key: &str) -> Result<Option<Credentials>> {
    let Some(answer) = call(helper, "get", key.as_bytes())? else { return Ok(None) };
    let says = || format!("read what docker-credential-{helper} says");
    let answer = Value::parse(&answer).context(says)?;
    let text = |key| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(match (text("Username"), text("Secret")) {
        (_, "") => None,
        (TOKEN_USER, token) => Some(Credentials::Identity(token.to_owned())),
        (user, password) => Some(Credentials::Password(basic(user, password))),
    })
}

/// Calls a helper: `docker-credential-NAME get`, `store` or `erase`, with what it is about on its
/// standard input. `None` when it fails: that is how they say that they know nothing.
pub fn call(helper: &str, word: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
    let program = format!("docker-credential-{helper}");
    let says = || format!("ask {program}");
    // A path would be a program of anybody's choice.
    if helper.contains('/') {
        return Err(Error::input("a credential helper's name has a slash").during(says()));
    }
    let mut command = Program::new([program.as_str(), word]);
    command.inherit();
    command.streams = [Stream::Pipe, Stream::Pipe, Stream::Null];
    let Child { pid, pipes: [stdin, output, _] } = match command.start() {
        Ok(child) => child,
        Err(cause) if cause.kind() == Kind::NotFound => {
            let text = format!("config.json names the credential helper {program}");
            return Err(Error::not_found(format!("{text}, which is not there"))
                .hint("install it, or take the line out"));
        }
        Err(cause) => return Err(cause).context(says),
    };
    if let Some(mut stdin) = stdin {
        // One that does not read it has an answer all the same, or none.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(mut output) = output {
        read_most(&mut output, 64 << 10, &mut answer).context(says)?;
    }
    let code = process::wait(pid)?;
    log::debug!("{program} {word}: exit code {code}");
    Ok((code == 0).then_some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_token_or_a_password() {
        let read = |text: &str| read(&Value::parse(text.as_bytes()).unwrap());
        let password = |text: &str| Some(Credentials::Password(text.into()));
        assert!(read(r#"{"auth":"am9lOng="}"#) == password("am9lOng="));
        assert!(read(r#"{"username":"joe","password":"x"}"#) == password("am9lOng="));
        let token = Some(Credentials::Identity("t".into()));
        assert!(read(r#"{"auth":"am9lOg==","identitytoken":"t"}"#) == token);
        assert!(read("{}").is_none() && read(r#"{"auth":""}"#).is_none());
    }

    #[test]
    fn a_name_that_only_looks_like_it_is_another() {
        let text = br#"{"reg.example":1,"https://old.example/v1/":2,"reg.example:5000":3}"#;
        let auths = Value::parse(text).unwrap();
        let find =
            |registry: &str| entry(auths.as_object().unwrap(), registry).and_then(Value::as_u64);
        assert_eq!(find("reg.example"), Some(1));
        assert_eq!(find("old.example"), Some(2));
        assert_eq!(find("reg.example:5000"), Some(3));
        for other in [
            "evilreg.example",
            "reg.example.evil",
            "eg.example",
            "reg.example:443",
            "",
            "docker.io",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn old_keys_are_addresses() {
        assert_eq!(host_of("https://reg.example:5000/v2/"), Some("reg.example:5000"));
        assert_eq!(host_of("http://reg.example"), Some("reg.example"));
        assert_eq!(host_of("https://index.docker.io/v1/"), Some("docker.io"));
        // One without a scheme is compared as it stands.
        assert_eq!(host_of("reg.example"), None);
    }
}
