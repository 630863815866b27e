//! `login` and `logout`: credentials are tried first, then kept in docker's config.json or with
//! the helper that it names.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::credentials::{self, key_of};
use super::remote::{Access, Remote};
use crate::error::{Context, Error, Kind, Result};
use crate::image::json::Value;

/// Tries a name and a password at a registry and keeps them. Gives the file, when it is one.
pub fn login(
    registry: &str,
    user: &str,
    password: &str,
    access: &Access,
) -> Result<Option<PathBuf>> {
    let auth = credentials::basic(user, password);
    Remote::of_registry(registry, access.may_be_plain, access.passed)?.check(&auth)?;
    let (path, mut config) = open()?;
    if let Some(helper) = credentials::helper(&config, registry) {
        let mut said = Value::Object(Vec::new());
        said.set("ServerURL", Some(Value::string(key_of(registry))));
        said.set("Username", Some(Value::string(user)));
        said.set("Secret", Some(Value::string(password)));
        let kept = credentials::call(&helper, "store", said.to_text().as_bytes())?;
        let failed = || Error::input(format!("docker-credential-{helper} does not keep it"));
        kept.ok_or_else(failed)?;
        return Ok(None);
    }
    let mut entry = Value::Object(Vec::new());
    entry.set("auth", Some(Value::string(auth)));
    let mut auths = config.get("auths").cloned().unwrap_or(Value::Object(Vec::new()));
    auths.set(key_of(registry), Some(entry));
    config.set("auths", Some(auths));
    write(&path, &config)?;
    Ok(Some(path))
}

/// Forgets a registry; whether anything was known.
pub fn logout(registry: &str) -> Result<bool> {
    let (path, mut config) = open()?;
    let mut was_known = false;
    if let Some(helper) = credentials::helper(&config, registry) {
        was_known = credentials::call(&helper, "erase", key_of(registry).as_bytes())?.is_some();
    }
    let Some(mut auths) = config.get("auths").cloned() else { return Ok(was_known) };
    for key in [key_of(registry), registry] {
        if auths.get(key).is_some() {
            auths.set(key, None);
            was_known = true;
        }
    }
    config.set("auths", Some(auths));
    write(&path, &config)?;
    Ok(was_known)
}

/// The file and what is in it; an empty object when there is none.
fn open() -> Result<(PathBuf, Value)> {
    let path = credentials::path().ok_or_else(|| {
        Error::not_found("there is no place for credentials").hint("set HOME or DOCKER_CONFIG")
    })?;
    match credentials::open(&path)?.unwrap_or(Value::Object(Vec::new())) {
        config @ Value::Object(_) => Ok((path, config)),
        _ => Err(Error::input(format!("{path:?} is not docker's config.json"))),
    }
}

/// For its user alone, and never half of it.
fn write(path: &Path, config: &Value) -> Result<()> {
    let says = || format!("write {path:?}");
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).context(says)?;
    }
    let aside = path.with_extension(format!("json.{}", std::process::id()));
    // One that an earlier process of this number has left is nobody's.
    let _ = std::fs::remove_file(&aside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(config.to_pretty().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written.context(says)
}

/// The error for credentials that a registry does not take.
pub(super) fn refused(registry: &str) -> Error {
    Error::new(Kind::Denied, format!("{registry} does not take this name and password"))
        .hint("are both right? Some registries want an access token as the password")
}
