//! ADD: as COPY, and it also unpacks local archives and fetches addresses.

use super::copy::{Files, is_git, is_url};
use super::form::{Flags, Takes};
use super::table::Meaning;
use super::{Lowered, Scope, Source, paths};
use crate::dockerfile::Statement;
use crate::error::{Error, Result};

/// `ADD [flags] SOURCE... DEST`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    files: Files,
    checksum: Option<String>,
    keep_git_dir: bool,
    unpack: Option<bool>,
}

impl Add {
    /// The sources as written, here-documents left out, for the linter.
    pub fn sources(&self) -> &[String] {
        &self.files.sources
    }
}

impl Meaning for Add {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Add> {
        let flags = Flags::check(
            statement,
            &[
                ("chown", Takes::Text),
                ("chmod", Takes::Text),
                ("link", Takes::Bool),
                ("exclude", Takes::Texts),
                ("checksum", Takes::Text),
                ("keep-git-dir", Takes::Bool),
                ("unpack", Takes::Bool),
            ],
        )?;
        Ok(Add {
            files: Files::parse(statement, &flags)?,
            checksum: flags.text("checksum"),
            keep_git_dir: flags.bool("keep-git-dir").unwrap_or(false),
            unpack: flags.bool("unpack"),
        })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let words = self.files.words(scope)?;
        let mut effect = self.files.lower(scope, &words)?;
        for written in &words.sources {
            effect.sources.push(if is_git(written) {
                Source::Git(written.clone())
            } else if is_url(written) {
                Source::Url(written.clone())
            } else {
                Source::Path(paths::source(written))
            });
        }
        if let Some(checksum) = &self.checksum {
            let checksum = scope.word(checksum)?;
            match effect.sources.as_slice() {
                [Source::Url(_) | Source::Git(_)] if self.files.documents.is_empty() => {}
                [_] if self.files.documents.is_empty() => {
                    return Err(Error::input("checksum requires HTTP(S) or Git sources"));
                }
                _ => return Err(Error::input("checksum can't be specified for multiple sources")),
            }
            effect.checksum = Some(checksum);
        }
        effect.keep_git_dir = self.keep_git_dir;
        effect.unpack = self.unpack.unwrap_or(true);
        effect.unpack_urls = self.unpack.unwrap_or(false);
        effect.is_add = true;
        self.files.finish(effect, scope, "ADD", &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{lower, scope};
    use crate::instruction::{CopyEffect, Effect};

    fn add(text: &str) -> CopyEffect {
        let mut scope = scope();
        scope.args.push(("U".into(), Some("http://h:1".into())));
        match lower(text, &mut scope).expect(text).effect {
            Effect::Copy(effect) => effect,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sources_are_paths_addresses_or_repositories() {
        let effect = add("ADD f $U/a.tar https://x/y.git#b /x/");
        let wanted = [
            Source::Path("f".into()),
            Source::Url("http://h:1/a.tar".into()),
            Source::Git("https://x/y.git#b".into()),
        ];
        assert_eq!(effect.sources, wanted);
        assert!(effect.is_add && effect.unpack && !effect.unpack_urls);
    }

    #[test]
    fn unpack_says_yes_or_no_for_all_sources() {
        let both = |text| {
            let effect = add(text);
            (effect.unpack, effect.unpack_urls)
        };
        assert_eq!(both("ADD --unpack=true a.tar /x"), (true, true));
        assert_eq!(both("ADD --unpack a.tar /x"), (true, true));
        assert_eq!(both("ADD --unpack=false a.tar /x"), (false, false));
    }

    #[test]
    fn a_checksum_is_for_one_address() {
        assert_eq!(add("ADD --checksum=sha256:00 $U/f /f").checksum.as_deref(), Some("sha256:00"));
        for (text, message) in [
            ("ADD --checksum=sha256:00 f /f", "checksum requires HTTP(S) or Git sources"),
            (
                "ADD --checksum=sha256:00 http://a http://b /f/",
                "checksum can't be specified for multiple sources",
            ),
        ] {
            assert_eq!(lower(text, &mut scope()).unwrap_err(), message);
        }
    }
}
