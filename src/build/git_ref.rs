//! What the address of a git repository says: where it is, which commit, which directory of it.
//!
//! Pure. The address may come from a stranger's Dockerfile, so nothing in it may be taken for an
//! option or a pattern by git or ssh. Source: "URL fragments" and "URL queries" of docker's page on
//! build contexts, and "ADD" of the Dockerfile reference.

use crate::error::{Error, Result};

/// The address of a repository, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRef {
    /// The address for git.
    pub remote: String,
    /// A branch, a tag, a full name under `refs/`, or a commit; else the default branch.
    pub reference: Option<String>,
    /// The directory that is meant, without slashes at its ends; empty for all.
    pub subdir: String,
    /// How the commit's id must begin.
    pub checksum: Option<String>,
    /// `?keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `?submodules`.
    pub submodules: Option<bool>,
}

impl GitRef {
    /// Takes an address apart.
    pub fn parse(text: &str) -> Result<GitRef> {
        GitRef::take_apart(text).map_err(|error| error.during(format!("git address {text:?}")))
    }

    fn take_apart(text: &str) -> Result<GitRef> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = address.split_once('?').unwrap_or((address, ""));
        let mut at = GitRef { remote: remote.to_owned(), ..GitRef::default() };
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut reference = decode(reference)?;
        let mut subdir = decode(subdir)?;
        let (mut tag, mut branch) = (String::new(), String::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            let field = match key {
                "ref" => &mut reference,
                "subdir" => &mut subdir,
                "tag" => &mut tag,
                "branch" => &mut branch,
                "checksum" | "commit" => at.checksum.get_or_insert_default(),
                "keep-git-dir" => {
                    at.keep_git_dir = Some(switch(&value)?);
                    continue;
                }
                "submodules" => {
                    at.submodules = Some(switch(&value)?);
                    continue;
                }
                other => return Err(Error::input(format!("unexpected query {other:?}"))),
            };
            if value.is_empty() {
                return Err(Error::input(format!("query {key:?} has no value")));
            }
            if !field.is_empty() && *field != value {
                return Err(Error::input(format!("{key} conflicts: {field:?} vs {value:?}")));
            }
            *field = value;
        }
        let given = [("ref", &reference), ("tag", &tag), ("branch", &branch)];
        let given: Vec<&str> =
            given.iter().filter(|(_, text)| !text.is_empty()).map(|(name, _)| *name).collect();
        if let [one, other, ..] = given.as_slice() {
            return Err(Error::input(format!("{other} conflicts with {one}")));
        }
        at.reference = match (reference, tag, branch, &at.checksum) {
            (text, _, _, _) if !text.is_empty() => Some(text),
            (_, tag, _, _) if !tag.is_empty() => Some(format!("refs/tags/{tag}")),
            (_, _, branch, _) if !branch.is_empty() => Some(format!("refs/heads/{branch}")),
            (_, _, _, checksum) => checksum.clone(),
        };
        subdir.trim_matches('/').clone_into(&mut at.subdir);
        at.check()?;
        Ok(at)
    }

    /// Refuses what git or ssh could take for something else than a name.
    pub fn check(&self) -> Result<()> {
        let (scheme, rest) = self.remote.split_once("://").unwrap_or(("", &self.remote));
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || c == ' ');
        if !["", "git", "ssh", "http", "https"].contains(&scheme)
            || [self.remote.as_str(), rest, host].iter().any(|part| part.starts_with('-'))
            || host.is_empty()
            || !is_plain(&self.remote)
        {
            return Err(Error::input("it is not the address of a repository"));
        }
        if let Some(reference) = &self.reference {
            let is_name = !reference.starts_with(['-', '+', '/', '.'])
                && !reference.contains(['^', '~', ':', '?', '*', '[', '\\'])
                && !["..", "@{", "//"].iter().any(|bad| reference.contains(bad))
                && is_plain(reference);
            if !is_name {
                return Err(Error::input(format!("{reference:?} is not a name of a commit")));
            }
        }
        if self.subdir.split('/').any(|part| part == "..") {
            return Err(Error::input(format!("the directory {:?} leads out", self.subdir)));
        }
        match &self.checksum {
            Some(sum) if sum.is_empty() || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Err(Error::input(format!("checksum {sum:?} is not the id of a commit")))
            }
            _ => Ok(()),
        }
    }

    /// The commit, where the reference is the id of one.
    pub fn commit(&self) -> Option<&str> {
        self.reference.as_deref().filter(|text| is_commit(text))
    }

    /// The address without a password, to be shown and to be kept.
    pub fn shown(&self) -> String {
        let (scheme, rest) = match self.remote.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.remote.as_str()),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match host.rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split(':').next().unwrap_or_default();
                format!("{name}@{host}")
            }
            None => host.to_owned(),
        };
        if path.is_empty() { format!("{scheme}{host}") } else { format!("{scheme}{host}/{path}") }
    }
}

/// Whether it is the whole id of a commit, SHA-1 or SHA-256.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As Go reads a boolean; a key alone means yes.
fn switch(value: &str) -> Result<bool> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Error::input(format!("{other:?} is neither true nor false"))),
    }
}

/// `%2F` and the like.
fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or(b' ')).to_digit(16);
        match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => return Err(Error::input("a % without two digits after it")),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::input("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let at = GitRef::parse(text).unwrap();
        (at.remote, at.reference.unwrap_or_default(), at.subdir)
    }

    #[test]
    fn fragments_and_queries_say_what_is_meant() {
        for (text, remote, reference, subdir) in [
            ("https://h/foo.git", "https://h/foo.git", "", ""),
            ("https://h/foo.git#dead", "https://h/foo.git", "dead", ""),
            ("https://h/foo.git#release/1.2", "https://h/foo.git", "release/1.2", ""),
            ("git://h/foo", "git://h/foo", "", ""),
            ("ssh://git@h:22/foo.git#:d", "ssh://git@h:22/foo.git", "", "d"),
            ("git@h:o/r.git#b/c:d/e/", "git@h:o/r.git", "b/c", "d/e"),
            ("git@h:o/r.git?branch=b", "git@h:o/r.git", "refs/heads/b", ""),
            ("https://h/f.git?tag=v1&subdir=a%2Fb", "https://h/f.git", "refs/tags/v1", "a/b"),
            ("https://h/f.git?ref=pull/1/head", "https://h/f.git", "pull/1/head", ""),
            ("https://h/f.git?commit=beef", "https://h/f.git", "beef", ""),
            ("https://h/f.git?subdir=x#b:x", "https://h/f.git", "b", "x"),
        ] {
            let wanted = (remote.to_owned(), reference.to_owned(), subdir.to_owned());
            assert_eq!(parts(text), wanted, "{text}");
        }
        let at = GitRef::parse("https://h/f.git?branch=b&checksum=beef&keep-git-dir&submodules=0");
        let at = at.unwrap();
        assert_eq!(at.checksum.as_deref(), Some("beef"));
        assert_eq!((at.keep_git_dir, at.submodules), (Some(true), Some(false)));
    }

    #[test]
    fn what_contradicts_itself_or_is_not_known_is_refused() {
        for (text, message) in [
            ("https://h/f.git?x=1", "unexpected query \"x\""),
            ("https://h/f.git?tag=", "query \"tag\" has no value"),
            ("https://h/f.git?tag=a&branch=b", "branch conflicts with tag"),
            ("https://h/f.git?tag=a#b", "tag conflicts with ref"),
            ("https://h/f.git?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("https://h/f.git?subdir=a#b:c", "subdir conflicts: \"c\" vs \"a\""),
            ("https://h/f.git?submodules=maybe", "\"maybe\" is neither true nor false"),
            ("https://h/f.git?checksum=xyz", "checksum \"xyz\" is not the id of a commit"),
        ] {
            let error = GitRef::parse(text).unwrap_err();
            assert!(error.text().ends_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_is_taken_for_an_option_or_a_pattern() {
        for text in [
            "-u@h:x.git",
            "git@-oProxyCommand=x:y.git",
            "ssh://-oProxyCommand=x/y.git",
            "ssh://u@-oProxyCommand=x/y.git",
            "file:///etc/x.git",
            "ext::sh -c x",
            "https:///x.git",
            "https://h/a\nb.git",
            "https://h/x.git#--upload-pack=x",
            "https://h/x.git#+refs/heads/a",
            "https://h/x.git#a..b",
            "https://h/x.git#a^{}",
            "https://h/x.git#refs/*",
            "https://h/x.git#a%0ab",
            "https://h/x.git#b:../x",
            "https://h/x.git?subdir=a/../../b",
            "https://h/x.git#%zz",
        ] {
            assert!(GitRef::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (text, shown) in [
            ("https://u:secret@h/f.git", "https://u@h/f.git"),
            ("https://h/f.git", "https://h/f.git"),
            ("git@h:o/r.git", "git@h:o/r.git"),
        ] {
            assert_eq!(GitRef::parse(text).unwrap().shown(), shown);
        }
    }

    #[test]
    fn a_commit_is_known_by_its_whole_id() {
        for (text, is) in [("a".repeat(40), true), ("0".repeat(64), true), ("A".repeat(40), false)]
        {
            assert_eq!(is_commit(&text), is, "{text}");
        }
        assert!(!is_commit("abcdef0"));
    }
}
