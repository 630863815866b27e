//! `images --filter`: which rows of the list are wanted.
//!
//! Source: docker's daemon/images (filters are combined with "and", several references with
//! "or") and distribution's reference.FamiliarMatch.

use super::list::{Listed, created};
use super::resolve::resolve;
use crate::error::{Error, Result};
use crate::image::time::parse_until;
use crate::pattern;
use crate::store::Store;
use crate::sys::fs::now;

/// Which rows are wanted.
#[derive(Debug, Default)]
pub struct Filters {
    dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    /// `label!`: what it must not have.
    other_labels: Vec<(String, Option<String>)>,
    /// Patterns of names; one that fits is enough.
    pub references: Vec<String>,
    before: Option<String>,
    since: Option<String>,
    /// The same two as times.
    until_seconds: Option<i64>,
    from_seconds: Option<i64>,
}

impl Filters {
    /// Reads `name=value` words.
    pub fn parse(words: &[String]) -> Result<Filters> {
        let mut filters = Filters::default();
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                let text = format!("bad format of filter {word:?} (expected name=value)");
                return Err(Error::usage(text));
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "dangling" => filters.dangling = Some(truth(value)?),
                "label" => filters.labels.push(label(value)),
                "label!" => filters.other_labels.push(label(value)),
                "reference" => filters.references.push(value.to_owned()),
                "before" => filters.before = Some(value.to_owned()),
                "since" => filters.since = Some(value.to_owned()),
                "until" => filters.until_seconds = Some(until(value)?),
                other => {
                    return Err(Error::usage(format!("invalid filter {other:?}"))
                        .hint("use dangling, label, label!, until, reference, before or since"));
                }
            }
        }
        Ok(filters)
    }

    /// Finds the images that others are compared with.
    pub fn resolve(mut self, store: &Store) -> Result<Filters> {
        let time = |word: &Option<String>| match word {
            None => Ok(None),
            Some(word) => {
                let config = store.config(&resolve(store, word)?.image)?;
                Ok::<_, Error>(config.map(|config| created(&config)))
            }
        };
        let before = time(&self.before)?;
        self.until_seconds = [before, self.until_seconds].into_iter().flatten().min();
        self.from_seconds = time(&self.since)?;
        Ok(self)
    }

    /// Whether a row is shown.
    pub fn take(&self, row: &Listed) -> Result<bool> {
        let is_dangling = row.name.is_none();
        if self.dangling.is_some_and(|wanted| wanted != is_dangling)
            || self.until_seconds.is_some_and(|end| row.created >= end)
            || self.from_seconds.is_some_and(|start| row.created <= start)
        {
            return Ok(false);
        }
        let has = |(label, value): &(String, Option<String>)| {
            row.labels.iter().any(|(own, text)| {
                own == label && value.as_ref().is_none_or(|wanted| wanted == text)
            })
        };
        if !self.labels.iter().all(has) || self.other_labels.iter().any(has) {
            return Ok(false);
        }
        if self.references.is_empty() {
            return Ok(true);
        }
        let Some(name) = &row.name else { return Ok(false) };
        let names = [name.to_string(), name.familiar_name()];
        for pattern in &self.references {
            let pattern = familiar(pattern);
            for name in &names {
                if pattern::matches(pattern, name.as_bytes())? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn label(value: &str) -> (String, Option<String>) {
    match value.split_once('=') {
        Some((label, value)) => (label.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    }
}

/// The time that `until=` means.
pub(super) fn until(value: &str) -> Result<i64> {
    parse_until(value, now().0).ok_or_else(|| {
        Error::usage(format!("invalid filter \"until={value}\""))
            .hint("give a duration such as 24h or 1h30m, a date or a time (RFC 3339)")
    })
}

/// Names are compared in their short form; docker finds nothing by the long one.
fn familiar(pattern: &str) -> &str {
    match pattern.strip_prefix("docker.io/").or_else(|| pattern.strip_prefix("index.docker.io/")) {
        Some(short) => short.strip_prefix("library/").unwrap_or(short),
        None => pattern,
    }
}

/// Docker takes these four here and no other words.
fn truth(value: &str) -> Result<bool> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::usage(format!("invalid filter \"dangling={value}\": true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;
    use crate::image::reference::Reference;

    fn row(name: Option<&str>) -> Listed {
        Listed {
            id: Digest::of(b""),
            digest: None,
            name: name.map(|name| Reference::parse(name).unwrap()),
            created: 100,
            size_bytes: 0,
            labels: vec![("os".into(), "tiny".into()), ("empty".into(), String::new())],
        }
    }

    fn filters(words: &str) -> Result<Filters> {
        Filters::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_chosen_as_docker_chooses() {
        for (words, name, shown) in [
            ("", None, true),
            ("dangling=true", None, true),
            ("dangling=1", Some("alpine"), false),
            ("dangling=false", Some("alpine"), true),
            ("label=os", None, true),
            ("label=os=tiny", None, true),
            ("label=os=big", None, false),
            ("label=os label=none", None, false),
            ("label=empty=", None, true),
            ("label!=os", None, false),
            ("label!=os=big", None, true),
            ("until=1970-01-02", None, true),
            ("until=100", None, false),
            ("reference=alpine", Some("alpine:3.20"), true),
            ("reference=alpine:3.20", Some("alpine:3.20"), true),
            ("reference=alpine:3.*", Some("alpine:3.20"), true),
            ("reference=alpine:4*", Some("alpine:3.20"), false),
            ("reference=*", Some("hub/redis"), false),
            ("reference=*/*", Some("hub/redis"), true),
            ("reference=a reference=hub/redis:latest", Some("hub/redis"), true),
            ("reference=*", None, false),
            ("reference=docker.io/library/alpine:3*", Some("alpine:3.20"), true),
            ("reference=docker.io/hub/*", Some("hub/redis"), true),
            ("reference=docker.io/hub/*", Some("localhost/hub/redis"), false),
            ("LABEL=os dangling=true", None, true),
        ] {
            assert_eq!(filters(words).unwrap().take(&row(name)).unwrap(), shown, "{words}");
        }
    }

    #[test]
    fn the_image_that_is_compared_with_is_not_shown_itself() {
        for (until, from, shown) in [
            (Some(100), None, false),
            (Some(101), None, true),
            (None, Some(100), false),
            (None, Some(99), true),
            (Some(101), Some(100), false),
        ] {
            let filters =
                Filters { until_seconds: until, from_seconds: from, ..Filters::default() };
            assert_eq!(filters.take(&row(None)).unwrap(), shown, "{until:?} {from:?}");
        }
    }

    #[test]
    fn wrong_filters_are_named() {
        for (words, text) in [
            ("dangling", "bad format of filter \"dangling\" (expected name=value)"),
            ("dangling=yes", "invalid filter \"dangling=yes\": true or false"),
            ("color=red", "invalid filter \"color\""),
            ("until=1d", "invalid filter \"until=1d\""),
        ] {
            assert_eq!(filters(words).unwrap_err().text(), text);
        }
        assert!(filters("reference=[").unwrap().take(&row(Some("a"))).is_err());
    }
}
