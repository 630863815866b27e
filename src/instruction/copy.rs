//! COPY: files out of the build context, a stage, an image or the Dockerfile itself.
//!
//! Also holds what ADD has in common with it.

use super::form::{Flags, Takes, list};
use super::paths::{destination, source};
use super::table::Meaning;
use super::{CopyEffect, CopyFrom, Effect, Lowered, Scope, Source};
use crate::dockerfile::{Statement, opens_heredoc};
use crate::error::{Error, Result};

/// `COPY [flags] SOURCE... DEST`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    from: Option<String>,
    parents: bool,
    files: Files,
}

/// What COPY and ADD share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// Not yet expanded, as all texts here.
    pub(super) sources: Vec<String>,
    pub(super) documents: Vec<Document>,
    pub(super) dest: String,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) excludes: Vec<String>,
    pub(super) link: bool,
}

/// What is expanded once and needed twice.
pub(super) struct Words {
    pub(super) sources: Vec<String>,
    dest: String,
}

/// A here-document as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    name: String,
    content: String,
    expand: bool,
}

impl Copy {
    /// The stage, image or context of `--from`.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The sources as written, here-documents left out, for the linter.
    pub fn sources(&self) -> &[String] {
        &self.files.sources
    }
}

impl Meaning for Copy {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Copy> {
        let flags = Flags::check(
            statement,
            &[
                ("from", Takes::Text),
                ("chown", Takes::Text),
                ("chmod", Takes::Text),
                ("link", Takes::Bool),
                ("parents", Takes::Bool),
                ("exclude", Takes::Texts),
            ],
        )?;
        let from = flags.text("from");
        if from.as_deref().is_some_and(|from| from.contains('$')) {
            return Err(Error::input(
                "variable expansion is not supported for --from, define a new stage with FROM \
                 using ARG from global scope as a workaround",
            ));
        }
        let files = Files::parse(statement, &flags)?;
        let parents = flags.bool("parents").unwrap_or(false);
        Ok(Copy { from, parents, files })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let words = self.files.words(scope)?;
        let mut effect = self.files.lower(scope, &words)?;
        for written in &words.sources {
            if is_git(written) {
                return Err(Error::input("source can't be a git ref for COPY").hint("use ADD"));
            }
            if is_url(written) {
                return Err(Error::input("source can't be a URL for COPY").hint("use ADD"));
            }
            effect.sources.push(Source::Path(match self.parents {
                true => with_pivot(written),
                false => super::paths::source(written),
            }));
        }
        effect.from = self.from.clone().map_or(CopyFrom::Context, CopyFrom::Named);
        effect.parents = self.parents;
        self.files.finish(effect, scope, "COPY", &words)
    }
}

impl Files {
    /// Checks what follows the flags.
    pub(super) fn parse(statement: &Statement<'_>, flags: &Flags) -> Result<Files> {
        let keyword = statement.keyword();
        let mut words = list(statement.rest())?;
        let dest = words.pop().filter(|_| !words.is_empty());
        let Some(dest) = dest else {
            return Err(Error::input(format!(
                "{keyword} requires at least two arguments, but only one was provided. \
                 Destination could not be determined"
            ))
            .hint(format!("write {keyword} SOURCE DESTINATION")));
        };
        if opens_heredoc(&dest).is_some() {
            let message = format!("{keyword} cannot accept a heredoc as a destination");
            return Err(Error::input(message));
        }
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        let of_the_line = statement.heredocs();
        for word in words {
            match opens_heredoc(&word) {
                None => sources.push(word),
                Some(opened) => {
                    // Of two of one name the last counts.
                    let document = of_the_line.iter().rev().find(|known| known.name == opened.name);
                    let content = document.map(|document| document.text().into_owned());
                    documents.push(Document {
                        name: opened.name.into_owned(),
                        content: content.unwrap_or_default(),
                        expand: opened.expand,
                    });
                }
            }
        }
        Ok(Files {
            sources,
            documents,
            dest,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            excludes: flags.texts("exclude"),
            link: flags.bool("link").unwrap_or(false),
        })
    }

    /// Sources and destination with the variables put in.
    pub(super) fn words(&self, scope: &Scope) -> Result<Words> {
        let sources =
            self.sources.iter().map(|source| scope.word(source)).collect::<Result<_>>()?;
        Ok(Words { sources, dest: scope.word(&self.dest)? })
    }

    /// The effect, still without its sources.
    pub(super) fn lower(&self, scope: &Scope, words: &Words) -> Result<CopyEffect> {
        let optional = |text: &Option<String>| match text {
            Some(text) => scope.word(text).map(|text| Some(text).filter(|text| !text.is_empty())),
            None => Ok(None),
        };
        let chmod = optional(&self.chmod)?;
        if let Some(chmod) = &chmod {
            check_chmod(chmod)?;
        }
        let mut excludes = Vec::new();
        for pattern in &self.excludes {
            // Without a variable there is nothing to expand, and a pattern has its own escapes.
            let pattern =
                if pattern.contains('$') { scope.word(pattern)? } else { pattern.clone() };
            excludes.push(pattern);
        }
        Ok(CopyEffect {
            from: CopyFrom::Context,
            sources: Vec::new(),
            dest: destination(&scope.config.working_dir, &words.dest),
            chown: optional(&self.chown)?,
            chmod,
            link: self.link,
            parents: false,
            excludes,
            unpack: false,
            unpack_urls: false,
            checksum: None,
            keep_git_dir: false,
            is_add: false,
        })
    }

    /// Adds the here-documents and the line of history.
    pub(super) fn finish(
        &self,
        mut effect: CopyEffect,
        scope: &Scope,
        keyword: &str,
        words: &Words,
    ) -> Result<Lowered> {
        let mut created_by = keyword.to_owned();
        if effect.parents {
            created_by.push_str(" --parents");
        }
        for (name, value) in [("chown", &effect.chown), ("chmod", &effect.chmod)] {
            if let Some(value) = value {
                created_by.push_str(&format!(" --{name}={value}"));
            }
        }
        for source in &words.sources {
            created_by.push_str(&format!(" {}", without_password(source)));
        }
        for document in &self.documents {
            created_by.push_str(&format!(" <<{}", document.name));
            let content = match document.expand {
                true => scope.heredoc(&document.content)?,
                false => document.content.clone(),
            };
            effect.sources.push(Source::Text { name: document.name.clone(), content });
        }
        created_by.push_str(&format!(" {}", words.dest));
        Ok(Lowered { effect: Effect::Copy(effect), created_by })
    }
}

/// An address for the history, which everybody reads who gets the image.
fn without_password(source: &str) -> std::borrow::Cow<'_, str> {
    let found = source.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://xxxxx:xxxxx@{host}{path}"))
    });
    found.map_or(source.into(), Into::into)
}

/// An http(s) address that is no git repository.
pub(super) fn is_url(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && !is_git(text)
}

/// An address of a git repository: `git://`, `ssh://`, `user@host:path`, or http(s) with `.git`.
pub fn is_git(text: &str) -> bool {
    if text.starts_with("git://") || text.starts_with("ssh://") {
        return true;
    }
    let address = text.split(['#', '?']).next().unwrap_or_default();
    if let Some(rest) = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"))
    {
        return rest.ends_with(".git") && rest.contains('/');
    }
    // As ssh writes it. A path may hold both signs too, but not before its first slash.
    let before_slash = address.split('/').next().unwrap_or_default();
    match before_slash.split_once('@') {
        Some((user, rest)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let host = rest.split(':').next().unwrap_or_default();
            !user.is_empty()
                && user.chars().all(plain)
                && rest.contains(':')
                && !host.is_empty()
                && host.chars().all(plain)
        }
        None => false,
    }
}

/// With `--parents` a `/./` says where the part begins that is kept: both halves are cleaned.
fn with_pivot(written: &str) -> String {
    match written.split_once("/./") {
        Some((before, kept)) => format!("{}/./{}", source(before), source(kept)),
        None => source(written),
    }
}

/// Octal up to 07777, or symbolic as `u=rwX,go-w`.
fn check_chmod(text: &str) -> Result<()> {
    let bad = |what: &str| {
        Err(Error::input(format!("invalid chmod parameter: '{text}'. {what}"))
            .hint("write --chmod=0644, or --chmod=u=rwX,go=rX"))
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(()),
            _ => bad("it should be octal string and between 0 and 07777"),
        };
    }
    for clause in text.split(',') {
        let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let known = actions.chars().all(|c| "+-=rwxXstugo".contains(c));
        if !known || !actions.starts_with(['+', '-', '=']) {
            return bad("invalid syntax");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{form, lower, scope};

    fn copy(text: &str) -> CopyEffect {
        let mut scope = scope();
        scope.config.working_dir = "/w".into();
        scope.args.push(("D".into(), Some("dst".into())));
        match lower(text, &mut scope).expect(text).effect {
            Effect::Copy(effect) => effect,
            other => panic!("{other:?}"),
        }
    }

    fn paths(effect: &CopyEffect) -> Vec<&str> {
        let paths = effect.sources.iter().filter_map(|source| match source {
            Source::Path(path) => Some(path.as_str()),
            _ => None,
        });
        paths.collect()
    }

    #[test]
    fn sources_and_destination_are_expanded_and_cleaned() {
        for (text, sources, dest) in [
            ("COPY a /x", &["a"][..], "/x"),
            ("COPY ./a/ b/../c $D/", &["a", "c"], "/w/dst/"),
            ("COPY . .", &["."], "/w/"),
            ("COPY ../x /y/.", &["x"], "/y/"),
            ("COPY /abs /x", &["abs"], "/x"),
            ("COPY [\"a b\", \"/x y\"]", &["a b"], "/x y"),
            ("COPY 'f' \"/$D\"", &["f"], "/dst"),
            ("COPY f /x\\$D", &["f"], "/x$D"),
            ("COPY *.c[a-b] /x/", &["*.c[a-b]"], "/x/"),
            ("COPY --parents ./d/./s/f a /x/", &["d/./s/f", "a"], "/x/"),
        ] {
            let effect = copy(text);
            assert_eq!(
                (paths(&effect).as_slice(), effect.dest.as_str()),
                (sources, dest),
                "{text}"
            );
        }
    }

    #[test]
    fn flags_find_their_places() {
        let effect = copy(
            "COPY --from=Stage --chown=$D:1 --chmod=0755 --link --parents --exclude=*.o --exclude=!a.o a /x",
        );
        assert_eq!(effect.from, CopyFrom::Named("Stage".into()));
        assert_eq!(effect.chown.as_deref(), Some("dst:1"));
        assert_eq!(effect.chmod.as_deref(), Some("0755"));
        assert_eq!(effect.excludes, ["*.o", "!a.o"]);
        assert!(effect.link && effect.parents && !effect.unpack && !effect.is_add);
    }

    #[test]
    fn here_documents_are_sources() {
        let effect = copy("COPY f <<one <<-'two' /d/\n$D \\$D \"q\"\none\n\t$D\n\ttwo\n");
        let text =
            |name: &str, content: &str| Source::Text { name: name.into(), content: content.into() };
        assert_eq!(
            effect.sources,
            [Source::Path("f".into()), text("one", "dst $D \"q\"\n"), text("two", "$D\n")]
        );
    }

    #[test]
    fn what_cannot_be_copied_is_said() {
        let two = "COPY requires at least two arguments, but only one was provided. Destination \
                   could not be determined";
        for (text, message) in [
            ("COPY", two),
            ("COPY a", two),
            ("COPY [\"a\"]", two),
            ("COPY f <<E\nx\nE", "COPY cannot accept a heredoc as a destination"),
            ("COPY https://x/y /z", "source can't be a URL for COPY"),
            ("COPY git@github.com:a/b /z", "source can't be a git ref for COPY"),
            (
                "COPY --from=$S a b",
                "variable expansion is not supported for --from, define a new stage with FROM \
                 using ARG from global scope as a workaround",
            ),
            (
                "COPY --chmod=99999 a b",
                "invalid chmod parameter: '99999'. it should be octal string and between 0 and \
                 07777",
            ),
            ("COPY --chmod=worldwide a b", "invalid chmod parameter: 'worldwide'. invalid syntax"),
        ] {
            assert_eq!(lower(text, &mut scope()).unwrap_err(), message, "{text}");
        }
        assert!(form("COPY --chmod=u=rwX,go=rX,+x,u+s a b").is_ok());
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for (text, git, url) in [
            ("https://github.com/a/b.git#v1", true, false),
            ("https://x/y.git.txt", false, true),
            ("http://x", false, true),
            ("git@host:a/b", true, false),
            ("git://x/y", true, false),
            ("a@b/c:d", false, false),
            ("file.git", false, false),
            ("a:b", false, false),
        ] {
            assert_eq!((is_git(text), is_url(text)), (git, url), "{text}");
        }
    }
}
