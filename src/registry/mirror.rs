//! Mirrors: other places that have a registry's images, by `--registry-mirror` and by flat files of
//! one a line: `REGISTRY URL [tags]`.

use std::io::Read as _;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::http::Url;

const MAX_BYTES: u64 = 64 << 10;

/// One place.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Whose images it has.
    pub registry: String,
    /// Where it is; a path is what stands there before the names of repositories.
    pub url: Url,
    /// What a tag means is asked there too, and not only for what a digest promises.
    pub knows_tags: bool,
}

impl Mirror {
    /// `[REGISTRY=]URL`; Docker Hub's without one, as dockerd has it.
    pub fn parse(text: &str) -> Result<Mirror> {
        let says = || format!("--registry-mirror {text:?}");
        match text.split_once('=').filter(|(registry, _)| !registry.contains('/')) {
            Some((registry, url)) => Mirror::new(registry, url, false).context(says),
            None => Mirror::new("docker.io", text, false).context(says),
        }
    }

    fn new(registry: &str, url: &str, knows_tags: bool) -> Result<Mirror> {
        let url = Url::parse(url)?;
        if url.userinfo.is_some() || url.target.contains('?') {
            return Err(Error::input("a mirror's address has neither a password nor a query")
                .hint("lath login HOST keeps a password"));
        }
        // What dockerd does for the Hub.
        let knows_tags = knows_tags || registry == "docker.io";
        Ok(Mirror { registry: registry.to_owned(), url, knows_tags })
    }

    /// All of a file, in its order; none when it is not there.
    pub fn read(path: &Path) -> Result<Vec<Mirror>> {
        let says = || format!("read {path:?}");
        let mut text = String::new();
        match std::fs::File::open(path) {
            Ok(file) => file.take(MAX_BYTES).read_to_string(&mut text).context(says)?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(cause).context(says),
        };
        let lines = text.lines().enumerate();
        let lines =
            lines.map(|(number, line)| (number, line.split('#').next().unwrap_or_default()));
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line): (usize, &str)| {
            let mut words = line.split_whitespace();
            let mirror = match (words.next(), words.next(), words.next(), words.next()) {
                (Some(registry), Some(url), tags @ (None | Some("tags")), None) => {
                    Mirror::new(registry, url, tags.is_some())
                }
                _ => Err(Error::input(
                    "a line is REGISTRY URL, and tags if it may say what they mean",
                )),
            };
            mirror.context(|| format!("{path:?}, line {}", number + 1))
        };
        lines.map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_of_the_hub_unless_it_is_told_otherwise() {
        let mirror = Mirror::parse("http://cache:5000").unwrap();
        assert_eq!((mirror.registry.as_str(), mirror.knows_tags), ("docker.io", true));
        let mirror = Mirror::parse("quay.io=https://cache/quay").unwrap();
        assert_eq!((mirror.registry.as_str(), mirror.knows_tags), ("quay.io", false));
        assert_eq!(mirror.url.to_string(), "https://cache/quay");
        for bad in ["cache:5000", "", "ftp://x", "http://u:p@x", "http://x/?y=z", "a=b"] {
            assert!(Mirror::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_has_one_a_line() {
        let path = std::env::temp_dir().join(format!("lath-mirrors-{}", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Mirror::read(&path)
        };
        let text =
            "# ours\n\ndocker.io http://a\nquay.io  https://b/c tags # all of it\nx:5000 http://d";
        let found = read(text).unwrap();
        let found: Vec<_> = found.iter().map(|m| (m.registry.as_str(), m.knows_tags)).collect();
        assert_eq!(found, [("docker.io", true), ("quay.io", true), ("x:5000", false)]);
        for bad in ["docker.io", "docker.io http://a tag", "x http://a tags y", "x a"] {
            let error = read(&format!("\n{bad}\n")).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Mirror::read(&path).unwrap().is_empty());
    }
}
