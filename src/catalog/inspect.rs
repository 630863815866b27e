//! What `inspect` shows of an image: docker's fields under docker's names.

use crate::error::{Error, Result};
use crate::image::digest::{Digest, ImageId};
use crate::image::json::Value;
use crate::store::Store;

/// An image as `docker inspect` shows it.
pub fn inspect(store: &Store, id: &ImageId) -> Result<Value> {
    let config =
        store.config(id)?.ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
    let names = store.names()?;
    let tags = names.iter().filter(|name| name.image == *id).map(|name| name.reference.to_string());
    let parent = store.parents()?.get(id).map(Digest::to_string).unwrap_or_default();
    let mut out = Value::Object(Vec::new());
    out.set("Id", Some(Value::string(id.to_string())));
    out.set("RepoTags", Some(Value::strings(tags)));
    let digests = store.digests()?;
    let digests = digests.iter().filter(|name| name.image == *id);
    out.set("RepoDigests", Some(Value::strings(digests.map(|name| name.reference.to_string()))));
    out.set("Parent", Some(Value::string(parent)));
    let comment = config.history.last().and_then(|line| line.comment.clone()).unwrap_or_default();
    out.set("Comment", Some(Value::string(comment)));
    out.set("Created", Some(Value::string(config.created.clone().unwrap_or_default())));
    out.set("Author", Some(Value::string(config.author.clone().unwrap_or_default())));
    out.set("Config", Some(shown_config(&config.config.to_json())));
    out.set("Architecture", Some(Value::string(&config.platform.architecture)));
    let variant = &config.platform.variant;
    out.set("Variant", (!variant.is_empty()).then(|| Value::string(variant)));
    out.set("Os", Some(Value::string(&config.platform.os)));
    out.set("Size", Some(Value::number(super::list::size(store, &config))));
    let mut rootfs = Value::Object(Vec::new());
    rootfs.set("Type", Some(Value::string("layers")));
    rootfs.set("Layers", Some(Value::strings(config.diff_ids.iter().map(Digest::to_string))));
    out.set("RootFS", Some(rootfs));
    Ok(out)
}

/// The same with the fields that docker leaves out of its JSON when they are empty, and that a
/// template may ask for all the same.
pub fn for_template(mut object: Value) -> Value {
    let text = || Value::string("");
    if let Some(mut config) = object.get("Config").cloned() {
        add_missing(
            &mut config,
            [
                ("ExposedPorts", Value::Null),
                ("Healthcheck", Value::Null),
                ("Shell", Value::Null),
                ("StopSignal", text()),
                ("Hostname", text()),
                ("Domainname", text()),
            ],
        );
        object.set("Config", Some(config));
    }
    let size = object.get("Size").cloned().unwrap_or(Value::Null);
    add_missing(
        &mut object,
        [("Variant", text()), ("DockerVersion", text()), ("VirtualSize", size)],
    );
    object
}

fn add_missing<const N: usize>(object: &mut Value, fields: [(&str, Value); N]) {
    for (key, empty) in fields {
        if object.get(key).is_none() {
            object.set(key, Some(empty));
        }
    }
}

/// Docker shows these fields also when they are empty, and templates rely on it.
fn shown_config(config: &Value) -> Value {
    let text = || Value::string("");
    let mut out = Value::Object(Vec::new());
    for (key, empty) in [
        ("User", text()),
        ("Env", Value::Null),
        ("Cmd", Value::Null),
        ("Volumes", Value::Null),
        ("WorkingDir", text()),
        ("Entrypoint", Value::Null),
        ("OnBuild", Value::Null),
        ("Labels", Value::Null),
    ] {
        out.set(key, Some(config.get(key).cloned().unwrap_or(empty)));
    }
    for (key, value) in config.as_object().unwrap_or_default() {
        out.set(key, Some(value.clone()));
    }
    out
}
