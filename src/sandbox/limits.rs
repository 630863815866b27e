//! What a process may use at most: docker's `--ulimit` and `--shm-size`.
//!
//! Source: docker's go-units (`ParseUlimit`, `RAMInBytes`), getrlimit(2).

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::error::{Context, Error, Result};
use crate::instruction::parse_size;

/// docker's names; `as` is none of them.
const NAMES: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// The limits of one process and its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Size of /dev/shm in bytes; 0 for the usual 64 MiB.
    pub shm_bytes: u64,
    /// Names with the soft and the hard limit; `None` is unlimited.
    ulimits: Vec<(String, Option<u64>, Option<u64>)>,
}

impl Limits {
    /// Reads the values of `--shm-size` and of all `--ulimit`: `NAME=SOFT[:HARD]`, -1 for no
    /// limit. The last of a name counts.
    pub fn parse(shm_size: Option<&str>, ulimits: &[String]) -> Result<Limits> {
        let mut limits = Limits::default();
        if let Some(text) = shm_size {
            limits.shm_bytes = parse_size(text)
                .ok_or_else(|| Error::usage(format!("--shm-size: invalid size: {text:?}")))?;
        }
        for word in ulimits {
            let bad = |why: &str| {
                Error::usage(format!("--ulimit {word:?}: {why}"))
                    .hint("write --ulimit NAME=SOFT:HARD, such as nofile=1024:4096; -1 is no limit")
            };
            let (name, values) =
                word.split_once('=').ok_or_else(|| bad("invalid ulimit argument"))?;
            if !NAMES.iter().any(|(known, _)| *known == name) {
                return Err(bad("invalid ulimit type"));
            }
            let number = |text: &str| match text {
                "-1" => Ok(None),
                text => text.parse::<u64>().map(Some).map_err(|_| bad("invalid limit")),
            };
            let (soft, hard) = values.split_once(':').unwrap_or((values, values));
            let (soft, hard) = (number(soft)?, number(hard)?);
            if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
                return Err(bad("the soft limit must be less than or equal to the hard limit"));
            }
            limits.ulimits.retain(|(old, ..)| old != name);
            limits.ulimits.push((name.to_owned(), soft, hard));
        }
        Ok(limits)
    }

    /// The limits as a text for a cache key; empty for the usual ones.
    pub fn key(&self) -> String {
        let mut key = String::new();
        if self.shm_bytes > 0 {
            key.push_str(&format!("shm {}\n", self.shm_bytes));
        }
        for (name, soft, hard) in &self.ulimits {
            let text =
                |limit: &Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
            key.push_str(&format!("{name} {} {}\n", text(soft), text(hard)));
        }
        key
    }

    /// Sets them for the calling process. Raising a hard limit needs CAP_SYS_RESOURCE.
    pub(super) fn apply(&self) -> Result<()> {
        for (name, current, maximum) in &self.ulimits {
            if let Some((_, resource)) = NAMES.iter().find(|(known, _)| known == name) {
                let limit = Rlimit { current: *current, maximum: *maximum };
                setrlimit(*resource, limit).context(|| format!("set the limit {name}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let words = ["nofile=1024:4096", "core=0", "nproc=-1", "nofile=10", "fsize=5:-1"];
        let limits = Limits::parse(Some("64m"), &words.map(str::to_owned)).unwrap();
        assert_eq!(limits.key(), "shm 67108864\ncore 0 0\nnproc -1 -1\nnofile 10 10\nfsize 5 -1\n");
        assert_eq!(Limits::parse(Some("0"), &[]).unwrap().key(), "");
        for word in [
            "nofile",
            "as=1",
            "nofile=",
            "nofile=x",
            "nofile=2:1",
            "nofile=-1:5",
            "nofile=-2",
            "nofile=1:2:3",
            "=1",
        ] {
            assert!(Limits::parse(None, &[word.to_owned()]).is_err(), "{word}");
        }
        assert!(Limits::parse(Some("-1"), &[]).is_err());
    }
}
