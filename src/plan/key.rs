//! Cache keys: blake3 of length-framed, named fields of an effect, never of the source text, so
//! that two ways to write a statement share a key and no two effects do.

use crate::image::digest::{ChainId, ImageId};
use crate::instruction::{CopyEffect, CopyFrom, Effect, Lowered, RunEffect, RunMount, Source};

/// Changes when the meaning of a key's fields changes.
const VERSION: &str = "1";

/// The fields of one key.
pub struct Fields(blake3::Hasher);

impl Fields {
    /// No fields yet.
    pub fn new() -> Fields {
        let mut fields = Fields(blake3::Hasher::new());
        fields.text("version", VERSION);
        fields
    }

    /// One field. Name and value are framed by their lengths: `("a", "bc")` is not `("ab", "c")`.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.bytes(name, &value.to_le_bytes());
    }

    /// A list; its length is framed too.
    pub fn list<'a>(&mut self, name: &str, values: impl ExactSizeIterator<Item = &'a String>) {
        self.number(name, values.len() as u64);
        for value in values {
            self.text(name, value);
        }
    }

    /// A text that may be missing: not the same as an empty one.
    pub fn option(&mut self, name: &str, value: Option<&String>) {
        self.number(name, u64::from(value.is_some()));
        self.text(name, value.map_or("", String::as_str));
    }

    /// The key.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// The first eight bytes of it.
    fn short(&self) -> u64 {
        self.finish().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

impl Default for Fields {
    fn default() -> Self {
        Fields::new()
    }
}

/// The key of a step after the image `parent`; `step` is what `step_hash` gave.
pub fn key(parent: &ImageId, step: &[u8; 32]) -> [u8; 32] {
    let mut fields = Fields::new();
    fields.bytes("parent", parent.bytes());
    fields.bytes("step", step);
    fields.finish()
}

/// Everything of a step but its parent: its effect, the content of the files it takes in, and
/// the image config that it leaves (as text), so that no instruction can be forgotten
/// (CVE-2024-24557).
pub fn step_hash(
    lowered: &Lowered,
    config: &str,
    author: Option<&String>,
    epoch: Option<i64>,
    content: &[u8],
) -> [u8; 32] {
    let mut fields = Fields::new();
    effect_fields(&mut fields, &lowered.effect);
    fields.text("created by", &lowered.created_by);
    fields.text("config", config);
    fields.option("author", author);
    fields.option("epoch", epoch.map(|seconds| seconds.to_string()).as_ref());
    fields.bytes("content", content);
    fields.finish()
}

/// Short hashes of what a step's key is made of, to say later what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The line of the history.
    pub text: u64,
    /// The effect: what the line does not show.
    pub effect: u64,
    /// The files that it takes in, and the like.
    pub content: u64,
}

impl Brief {
    /// Of a step.
    pub fn new(lowered: &Lowered, content: &[u8]) -> Brief {
        let mut text = Fields::new();
        text.text("created by", &lowered.created_by);
        let mut effect = Fields::new();
        effect_fields(&mut effect, &lowered.effect);
        let mut files = Fields::new();
        files.bytes("content", content);
        Brief { text: text.short(), effect: effect.short(), content: files.short() }
    }

    /// One line.
    pub fn to_text(&self) -> String {
        format!("{:x} {:x} {:x}", self.text, self.effect, self.content)
    }

    /// Reads it back.
    pub fn parse(text: &str) -> Option<Brief> {
        let mut words = text.split(' ').map(|word| u64::from_str_radix(word, 16).ok());
        let mut next = || words.next().flatten();
        Some(Brief { text: next()?, effect: next()?, content: next()? })
    }
}

/// What a step's layer depends on besides the files below it: its effect and the files that it
/// takes in. `None` for a step that makes no layer.
pub fn layer_hash(effect: &Effect, epoch: Option<i64>, content: &[u8]) -> Option<[u8; 32]> {
    if matches!(effect, Effect::Config) {
        return None;
    }
    let mut fields = Fields::new();
    effect_fields(&mut fields, effect);
    fields.option("epoch", epoch.map(|seconds| seconds.to_string()).as_ref());
    fields.bytes("content", content);
    Some(fields.finish())
}

/// The key of a layer on top of others; `step` is what `layer_hash` gave. The image's config is no
/// part of it, so it gives the layer alone and never a config (CVE-2024-24557).
pub fn layer_key(below: Option<&ChainId>, step: &[u8; 32]) -> [u8; 32] {
    let mut fields = Fields::new();
    fields.bytes("below", below.map_or(&[][..], |chain| chain.bytes()));
    fields.bytes("layer", step);
    fields.finish()
}

/// Stands for the files that a copy takes out of layers: these and the words that choose them.
pub fn copied(chain: &ChainId, copy: &CopyEffect) -> [u8; 32] {
    let mut fields = Fields::new();
    fields.bytes("copied from", chain.bytes());
    for source in &copy.sources {
        if let Source::Path(path) = source {
            fields.text("path", path);
        }
    }
    fields.list("excludes", copy.excludes.iter());
    fields.number("parents", u64::from(copy.parents));
    fields.finish()
}

/// Stands for the files of layers that a mount shows.
pub fn mounted(chain: &ChainId, source: &str) -> [u8; 32] {
    let mut fields = Fields::new();
    fields.bytes("mounted from", chain.bytes());
    fields.text("path", source);
    fields.finish()
}

fn effect_fields(fields: &mut Fields, effect: &Effect) {
    match effect {
        Effect::Config => fields.text("effect", "config"),
        Effect::Run(run) => run_fields(fields, run),
        Effect::Copy(copy) => copy_fields(fields, copy),
    }
}

/// The key of an image whose layers above a base are made one.
pub fn squash_key(image: &ImageId, base: Option<&ImageId>) -> [u8; 32] {
    let mut fields = Fields::new();
    fields.text("effect", "squash");
    fields.bytes("parent", image.bytes());
    fields.bytes("base", base.map_or(&[], |base| base.bytes().as_slice()));
    fields.finish()
}

fn run_fields(fields: &mut Fields, run: &RunEffect) {
    let RunEffect { argv, env, unkeyed, user, cwd, mounts, network, security, scripts } = run;
    fields.text("effect", "run");
    fields.list("argv", argv.iter());
    let is_keyed = |entry: &&String| {
        let name = entry.split('=').next().unwrap_or_default();
        !unkeyed.iter().any(|unkeyed| unkeyed == name)
    };
    let keyed: Vec<&String> = env.iter().filter(is_keyed).collect();
    fields.list("env", keyed.into_iter());
    fields.text("user", user);
    fields.text("cwd", cwd);
    fields.number("mounts", mounts.len() as u64);
    for mount in mounts {
        mount_fields(fields, mount);
    }
    fields.text("network", network);
    fields.text("security", security);
    fields.number("scripts", scripts.len() as u64);
    for (name, content) in scripts {
        fields.text("script", name);
        fields.text("script content", content);
    }
}

fn mount_fields(fields: &mut Fields, mount: &RunMount) {
    let RunMount {
        kind,
        target,
        source,
        from,
        id,
        readonly,
        required,
        sharing,
        mode,
        uid,
        gid,
        size_bytes,
        env,
    } = mount;
    for (name, value) in
        [("kind", kind), ("target", target), ("source", source), ("id", id), ("sharing", sharing)]
    {
        fields.text(name, value);
    }
    fields.option("from", from.as_ref());
    fields.option("env", env.as_ref());
    fields.number("readonly", u64::from(*readonly));
    fields.number("required", u64::from(*required));
    fields.number("mode", mode.map_or(u64::MAX, u64::from));
    fields.number("uid", u64::from(*uid));
    fields.number("gid", u64::from(*gid));
    fields.number("size", *size_bytes);
}

/// `from` and paths are not fields: the content that they lead to is.
fn copy_fields(fields: &mut Fields, copy: &CopyEffect) {
    let CopyEffect {
        from,
        sources,
        dest,
        chown,
        chmod,
        link,
        parents,
        excludes,
        unpack,
        unpack_urls,
        checksum,
        keep_git_dir,
        is_add,
    } = copy;
    fields.text("effect", "copy");
    fields.number("from", u64::from(*from != CopyFrom::Context));
    fields.number("sources", sources.len() as u64);
    for source in sources {
        match source {
            Source::Path(path) => {
                fields.text("source", "path");
                fields.text("path", path);
            }
            Source::Text { name, content } => {
                fields.text("source", "text");
                fields.text("name", name);
                fields.text("text", content);
            }
            Source::Url(url) => {
                fields.text("source", "url");
                fields.text("url", url);
            }
            Source::Git(url) => {
                fields.text("source", "git");
                fields.text("url", url);
            }
        }
    }
    fields.text("dest", dest);
    fields.option("chown", chown.as_ref());
    fields.option("chmod", chmod.as_ref());
    fields.list("excludes", excludes.iter());
    fields.option("checksum", checksum.as_ref());
    for (name, flag) in [
        ("link", link),
        ("parents", parents),
        ("unpack", unpack),
        ("unpack urls", unpack_urls),
        ("keep git dir", keep_git_dir),
        ("add", is_add),
    ] {
        fields.number(name, u64::from(*flag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;
    use std::collections::BTreeSet;

    fn run(argv: &[&str]) -> RunEffect {
        RunEffect {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn hash(effect: RunEffect) -> [u8; 32] {
        let lowered = Lowered { effect: Effect::Run(effect), created_by: "RUN x".into() };
        step_hash(&lowered, "{}", None, None, b"")
    }

    #[test]
    fn fields_are_framed_so_that_words_cannot_run_together() {
        let mut seen = BTreeSet::new();
        for argv in [&["ab", "c"][..], &["a", "bc"], &["abc"], &["a", "b", "c"], &["abc", ""], &[]]
        {
            assert!(seen.insert(hash(run(argv))), "{argv:?}");
        }
    }

    #[test]
    fn each_field_of_a_run_changes_the_key() {
        let mut seen = BTreeSet::from([hash(run(&["a"]))]);
        let changes: [fn(&mut RunEffect); 8] = [
            |run| run.env = vec!["A=1".into()],
            |run| run.env = vec!["A=2".into()],
            |run| run.user = "app".into(),
            |run| run.cwd = "/x".into(),
            |run| run.network = "none",
            |run| run.security = "insecure",
            |run| run.scripts = vec![("a".into(), "b".into())],
            |run| run.mounts = vec![RunMount { kind: "tmpfs".into(), ..Default::default() }],
        ];
        for change in changes {
            let mut effect = run(&["a"]);
            change(&mut effect);
            assert!(seen.insert(hash(effect)));
        }
    }

    #[test]
    fn predefined_proxy_arguments_do_not_change_the_key() {
        let mut with = run(&["a"]);
        with.env = vec!["HTTP_PROXY=x".into()];
        with.unkeyed = vec!["HTTP_PROXY".into()];
        assert_eq!(hash(with), hash(run(&["a"])));
    }

    #[test]
    fn the_parent_is_part_of_the_key() {
        let step = hash(run(&["a"]));
        assert_ne!(key(&Digest::of(b"a"), &step), key(&Digest::of(b"b"), &step));
    }
}
