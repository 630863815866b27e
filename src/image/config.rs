//! The image config: what a container of the image starts with, its layers and its history.
//!
//! Source: OCI image-spec, config.md; `Healthcheck`, `OnBuild` and `Shell` are docker's additions.
//! Fields that are not known here are kept and written again.

use std::sync::Arc;

use super::digest::{ChainId, DiffId, Digest};
use super::json::{Value, quote};
use super::platform::Platform;
use crate::error::{Context, Error, Result};
use crate::map::Map;
use crate::sort::sort;

/// The PATH where an image names none; docker's.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How to see whether a container is well. Times are nanoseconds; 0 means inherited.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", command]`.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval_ns: u64,
    /// A check that takes longer has failed.
    pub timeout_ns: u64,
    /// Failures in this first time do not count.
    pub start_period_ns: u64,
    /// Time between two checks in the start period.
    pub start_interval_ns: u64,
    /// So many failures in a row make it unhealthy.
    pub retries: u64,
}

/// What a container of the image starts with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ContainerConfig {
    /// `user[:group]`, names or numbers; empty is root.
    pub user: String,
    /// `port/protocol`, sorted.
    pub exposed_ports: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// The fixed first words of the command.
    pub entrypoint: Option<Vec<String>>,
    /// The default words of the command.
    pub cmd: Option<Vec<String>>,
    /// Paths that are volumes, sorted.
    pub volumes: Vec<String>,
    /// Where the command starts; empty is `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: Map<String, String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// The health check.
    pub healthcheck: Option<Healthcheck>,
    /// The words in front of a shell form; `None` is `/bin/sh -c`.
    pub shell: Option<Vec<String>>,
    /// Statements to be carried out in a build on this image.
    pub on_build: Vec<String>,
    /// Fields that are not known here.
    pub rest: Vec<(String, Value)>,
}

/// The value in `NAME=value`, if it is that name. Where the sign stands rules most others out.
fn value_of<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    match entry.as_bytes().get(name.len()) {
        Some(b'=') => entry.strip_prefix(name)?.strip_prefix('='),
        _ => None,
    }
}

impl ContainerConfig {
    /// The value of an environment variable.
    pub fn env_value(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|entry| value_of(entry, name))
    }

    /// Sets an environment variable, in its old place if it was there.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        // A name with that sign in it is never the same as another.
        let is_same = |old: &&mut String| old.as_str() == name || value_of(old, name).is_some();
        match self.env.iter_mut().find(is_same).filter(|_| !name.contains('=')) {
            Some(old) => *old = entry,
            None => self.env.push(entry),
        }
    }

    /// The shell in force for shell forms.
    pub fn shell_words(&self) -> Vec<String> {
        match &self.shell {
            Some(words) => words.clone(),
            None => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// Reads the `config` object.
    pub fn from_json(value: &Value) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        for (key, value) in value.as_object().unwrap_or_default() {
            match key.as_str() {
                "User" => config.user = value.as_str().unwrap_or_default().to_owned(),
                "ExposedPorts" => config.exposed_ports = keys(value),
                "Env" => config.env = value.to_strings(),
                "Entrypoint" => config.entrypoint = words(value),
                "Cmd" => config.cmd = words(value),
                "Volumes" => config.volumes = keys(value),
                "WorkingDir" => config.working_dir = value.as_str().unwrap_or_default().to_owned(),
                "Labels" => {
                    let labels = value.as_object().unwrap_or_default().iter();
                    config.labels.extend(labels.filter_map(|(key, value)| {
                        value.as_str().map(|text| (key.clone(), text.to_owned()))
                    }));
                }
                "StopSignal" => config.stop_signal = filled(value),
                "Healthcheck" => config.healthcheck = Healthcheck::from_json(value),
                "Shell" => config.shell = words(value),
                "OnBuild" => config.on_build = value.to_strings(),
                // What docker fills from the machine of the build: of no use in an image.
                "Hostname" | "Domainname" | "AttachStdin" | "AttachStdout" | "AttachStderr"
                | "Tty" | "OpenStdin" | "StdinOnce" | "Image" | "ArgsEscaped" => {}
                _ => config.rest.push((key.clone(), value.clone())),
            }
        }
        config
    }

    /// The `config` object; fields that are empty are left out.
    pub fn to_json(&self) -> Value {
        let mut out = Value::Object(Vec::new());
        out.set("User", some_text(&self.user));
        out.set("ExposedPorts", some_set(&self.exposed_ports));
        out.set("Env", some_list(&self.env));
        out.set("Entrypoint", self.entrypoint.as_ref().map(Value::strings));
        out.set("Cmd", self.cmd.as_ref().map(Value::strings));
        out.set("Volumes", some_set(&self.volumes));
        out.set("WorkingDir", some_text(&self.working_dir));
        let labels = self.labels.iter().map(|(key, text)| (key.clone(), Value::string(text)));
        let labels: Vec<_> = labels.collect();
        out.set("Labels", (!labels.is_empty()).then_some(Value::Object(labels)));
        out.set("StopSignal", self.stop_signal.as_ref().map(Value::string));
        out.set("Healthcheck", self.healthcheck.as_ref().map(Healthcheck::to_json));
        out.set("Shell", self.shell.as_ref().map(Value::strings));
        out.set("OnBuild", some_list(&self.on_build));
        for (key, value) in &self.rest {
            out.set(key, Some(value.clone()));
        }
        out
    }
}

impl Healthcheck {
    /// Reads it.
    pub fn from_json(value: &Value) -> Option<Healthcheck> {
        let number = |key| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        value.as_object()?;
        Some(Healthcheck {
            test: value.get("Test").map(Value::to_strings).unwrap_or_default(),
            interval_ns: number("Interval"),
            timeout_ns: number("Timeout"),
            start_period_ns: number("StartPeriod"),
            start_interval_ns: number("StartInterval"),
            retries: number("Retries"),
        })
    }

    /// As docker writes it.
    pub fn to_json(&self) -> Value {
        let mut out = Value::Object(Vec::new());
        out.set("Test", some_list(&self.test));
        for (key, number) in [
            ("Interval", self.interval_ns),
            ("Timeout", self.timeout_ns),
            ("StartPeriod", self.start_period_ns),
            ("StartInterval", self.start_interval_ns),
            ("Retries", self.retries),
        ] {
            out.set(key, (number > 0).then(|| Value::number(number)));
        }
        out
    }
}

/// One line of an image's history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct History {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The statement that made it.
    pub created_by: String,
    /// Who.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

impl History {
    fn from_json(value: &Value) -> History {
        let text = |key| value.get(key).and_then(filled);
        History {
            created: text("created"),
            created_by: text("created_by").unwrap_or_default(),
            author: text("author"),
            comment: text("comment"),
            empty_layer: value.get("empty_layer") == Some(&Value::Bool(true)),
        }
    }

    fn write(&self, out: &mut String) {
        let mut fields = Fields::begin(out);
        fields.text("created", self.created.as_deref());
        fields.text("created_by", Some(self.created_by.as_str()).filter(|text| !text.is_empty()));
        fields.text("author", self.author.as_deref());
        fields.text("comment", self.comment.as_deref());
        if self.empty_layer {
            fields.name("empty_layer").push_str("true");
        }
        fields.end();
    }
}

/// Writes an object's fields straight into a text: a config is written once a step, and grows with
/// the steps.
struct Fields<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl Fields<'_> {
    fn begin(out: &mut String) -> Fields<'_> {
        out.push('{');
        Fields { out, is_first: true }
    }

    fn name(&mut self, name: &str) -> &mut String {
        if !self.is_first {
            self.out.push(',');
        }
        self.is_first = false;
        quote(self.out, name);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            quote(self.name(name), value);
        }
    }

    fn end(self) {
        self.out.push('}');
    }
}

/// Writes things between brackets with commas.
fn list<T>(out: &mut String, items: &[T], write: &dyn Fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Where an image has the steps of its own build, for others (`--cache-to type=inline`).
#[cfg(feature = "net")]
pub const STEPS: &str = "lath.cache.v1";

/// An image's config.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// What a container starts with.
    pub config: ContainerConfig,
    /// The layers, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// How it came to be, oldest first.
    pub history: Vec<Arc<History>>,
    /// Fields that are not known here.
    pub rest: Vec<(String, Value)>,
}

impl ImageConfig {
    /// Reads a config's JSON text.
    pub fn parse(text: &[u8]) -> Result<ImageConfig> {
        let value = Value::parse(text).context(|| "image config")?;
        if value.as_object().is_none() {
            return Err(Error::input("image config: not a JSON object"));
        }
        let text = |key| value.get(key).and_then(filled);
        let mut image = ImageConfig {
            created: text("created"),
            author: text("author"),
            platform: Platform {
                os: text("os").unwrap_or_else(|| "linux".to_owned()),
                architecture: text("architecture").unwrap_or_default(),
                variant: text("variant").unwrap_or_default(),
            },
            ..ImageConfig::default()
        };
        for (key, value) in value.as_object().unwrap_or_default() {
            match key.as_str() {
                "created" | "author" | "os" | "architecture" | "variant" => {}
                // Docker's old fields speak of the build that made the base, not of this image.
                "container_config" | "container" | "docker_version" | "id" | "parent" => {}
                // The steps of the build that made the base, or BuildKit's: not those of this image.
                #[cfg(feature = "net")]
                STEPS | "moby.buildkit.cache.v0" => {}
                "config" => image.config = ContainerConfig::from_json(value),
                "history" => {
                    let lines = value.as_array().unwrap_or_default().iter();
                    image.history = lines.map(|line| Arc::new(History::from_json(line))).collect();
                }
                "rootfs" => {
                    for diff in value.get("diff_ids").map(Value::to_strings).unwrap_or_default() {
                        image.diff_ids.push(Digest::parse(&diff).context(|| "image config")?);
                    }
                }
                _ => image.rest.push((key.clone(), value.clone())),
            }
        }
        Ok(image)
    }

    /// The JSON text; the image id is its digest.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Appends the JSON text.
    pub fn write(&self, out: &mut String) {
        let mut fields = Fields::begin(out);
        fields.text("created", self.created.as_deref());
        fields.text("author", self.author.as_deref());
        fields.text("architecture", Some(&self.platform.architecture));
        let variant = self.platform.variant.as_str();
        fields.text("variant", Some(variant).filter(|variant| !variant.is_empty()));
        fields.text("os", Some(&self.platform.os));
        for (key, value) in &self.rest {
            fields.name(key).push_str(&value.to_text());
        }
        fields.name("config").push_str(&self.config.to_json().to_text());
        fields.name("rootfs").push_str(r#"{"type":"layers","diff_ids":"#);
        list(fields.out, &self.diff_ids, &|out, diff| {
            out.push_str("\"sha256:");
            out.push_str(&diff.hex());
            out.push('"');
        });
        fields.out.push('}');
        list(fields.name("history"), &self.history, &|out, line| line.write(out));
        fields.end();
    }

    /// Whether a manifest that names so many layers can be this image's.
    pub fn agrees(&self, layers: usize) -> Result<()> {
        let named = self.diff_ids.len();
        if named == layers {
            return Ok(());
        }
        let text = format!("the config names {named} layers and the manifest {layers}");
        Err(Error::corrupt(text))
    }

    /// The chain ids of its layers, lowest first.
    pub fn chains(&self) -> Vec<ChainId> {
        let mut below = None;
        self.diff_ids
            .iter()
            .map(|diff| {
                let chain = Digest::chain(below.as_ref(), diff);
                below = Some(chain);
                chain
            })
            .collect()
    }
}

fn filled(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn words(value: &Value) -> Option<Vec<String>> {
    value.as_array().map(|_| value.to_strings()).filter(|words| !words.is_empty())
}

fn keys(value: &Value) -> Vec<String> {
    let fields = value.as_object().unwrap_or_default();
    let mut keys: Vec<String> = fields.iter().map(|(key, _)| key.clone()).collect();
    sort(&mut keys);
    keys
}

fn some_text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| Value::string(text))
}

fn some_list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| Value::strings(texts))
}

fn some_set(keys: &[String]) -> Option<Value> {
    let fields = keys.iter().map(|key| (key.clone(), Value::Object(Vec::new()))).collect();
    (!keys.is_empty()).then_some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_come_through() {
        let text = br#"{"architecture":"arm","variant":"v7","os":"linux","os.version":"1",
            "config":{"Env":["A=1"],"X-Own":{"a":[1]},"Cmd":["sh"]},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x"}]}"#;
        let image = ImageConfig::parse(text).unwrap();
        let again = ImageConfig::parse(image.to_text().as_bytes()).unwrap();
        assert_eq!(image, again);
        assert!(again.to_text().contains(r#""X-Own":{"a":[1]}"#));
        assert!(again.to_text().contains(r#""os.version":"1""#));
        assert_eq!(again.platform.variant, "v7");
    }

    #[test]
    fn env_is_set_in_place() {
        let mut config =
            ContainerConfig { env: vec!["A=1".into(), "B=2".into()], ..Default::default() };
        config.set_env("A", "3");
        config.set_env("C", "");
        assert_eq!(config.env, ["A=3", "B=2", "C="]);
        assert_eq!(config.env_value("C"), Some(""));
        assert_eq!(config.env_value("D"), None);
    }
}
