//! Parser directives: `# syntax=`, `# escape=` and `# check=` on top of a Dockerfile.

/// What the directives say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// The wanted frontend; read and otherwise ignored.
    pub syntax: Option<String>,
    /// The character that escapes and continues lines.
    pub escape: char,
    /// What to check; the defaults when there is no such directive.
    pub check: Check,
}

impl Default for Directives {
    fn default() -> Self {
        Directives { syntax: None, escape: '\\', check: Check::default() }
    }
}

/// A longer list of rules has more than there are: it is looked at for each finding.
const MAX_RULES: usize = 4096;

/// What `check=` says about linting.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Check {
    /// No rule is checked.
    pub skip_all: bool,
    /// The rules that are not checked, with commas between them.
    skip: String,
    /// All experimental rules are checked too.
    pub experimental_all: bool,
    /// The experimental rules that are checked too, with commas between them.
    experimental: String,
    /// A finding fails the build.
    pub error: bool,
}

impl Check {
    /// Reads a comment, without its sign, as `check=...`; nothing when it is another comment.
    pub fn of_comment(comment: &str) -> Option<Check> {
        let (name, value) = comment.split_once('=')?;
        name.trim().eq_ignore_ascii_case("check").then(|| Check::parse(value).ok())?
    }

    /// Whether a rule is switched off.
    pub fn skips(&self, rule: &str) -> bool {
        self.skip_all || names(&self.skip, rule)
    }

    /// Whether an experimental rule is asked for.
    pub fn wants(&self, rule: &str) -> bool {
        self.experimental_all || names(&self.experimental, rule)
    }

    /// Reads `skip=A,B;error=true`.
    pub fn parse(text: &str) -> Result<Check, String> {
        let mut check = Check::default();
        for option in text.trim().split(';').filter(|option| !option.trim().is_empty()) {
            let Some((key, value)) = option.split_once('=') else {
                return Err(format!("invalid check option {option:?}"));
            };
            let value = value.trim();
            match key.trim() {
                "skip" if value.eq_ignore_ascii_case("all") => check.skip_all = true,
                "skip" | "experimental" if value.len() > MAX_RULES => {
                    return Err(format!("more than {MAX_RULES} bytes of check option {key}"));
                }
                "skip" => value.clone_into(&mut check.skip),
                "experimental" if value.eq_ignore_ascii_case("all") => {
                    check.experimental_all = true;
                }
                "experimental" => value.clone_into(&mut check.experimental),
                "error" => {
                    check.error = parse_bool(value)
                        .ok_or_else(|| format!("invalid value {value:?} of check option error"))?;
                }
                key => return Err(format!("invalid check option {key:?}")),
            }
        }
        Ok(check)
    }
}

/// Reads the lines on top until the first that is no directive.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) directives: Directives,
    seen: Vec<String>,
    /// No directive follows.
    pub(super) done: bool,
}

impl Reader {
    /// The same with nothing of the directives but what the lines below are read by.
    pub(super) fn passed(&self) -> Reader {
        let directives = Directives { escape: self.directives.escape, ..Directives::default() };
        Reader { directives, done: self.done, ..Reader::default() }
    }

    /// Takes a line without its end and leading blanks; says whether it is a directive.
    pub(super) fn offer(&mut self, line: &str) -> Result<bool, String> {
        if self.done {
            return Ok(false);
        }
        let Some((name, value)) = name_and_value(line) else {
            self.done = true;
            return Ok(false);
        };
        let name = name.to_ascii_lowercase();
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            self.done = true;
            return Ok(false);
        }
        if self.seen.contains(&name) {
            return Err(format!("only one {name} parser directive can be used"));
        }
        match name.as_str() {
            "syntax" => self.directives.syntax = Some(value.to_owned()),
            "check" => self.directives.check = Check::parse(value)?,
            _ => match value {
                "\\" => self.directives.escape = '\\',
                "`" => self.directives.escape = '`',
                _ => {
                    return Err(format!("invalid escape token '{value}' does not match ` or \\"));
                }
            },
        }
        self.seen.push(name);
        Ok(true)
    }
}

fn name_and_value(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut letters = name.bytes();
    let well_formed = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric());
    (well_formed && !value.is_empty()).then_some((name, value))
}

fn names(list: &str, rule: &str) -> bool {
    list.split(',').any(|name| name.trim() == rule)
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Directives, String> {
        let mut reader = Reader::default();
        for line in lines {
            reader.offer(line)?;
        }
        Ok(reader.directives)
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        for (lines, escape) in [
            (&["# escape=`"][..], '`'),
            (&["#Escape = ` "], '`'),
            (&["# syntax=docker/dockerfile:1", "# escape=`"], '`'),
            (&["# a comment", "# escape=`"], '\\'),
            (&["# unknown=1", "# escape=`"], '\\'),
            (&["", "# escape=`"], '\\'),
            (&["FROM x", "# escape=`"], '\\'),
            (&["#escape="], '\\'),
        ] {
            assert_eq!(read(lines).unwrap().escape, escape, "{lines:?}");
        }
    }

    #[test]
    fn a_second_or_a_strange_directive_is_refused() {
        let twice = read(&["# escape=`", "# escape=`"]).unwrap_err();
        assert_eq!(twice, "only one escape parser directive can be used");
        let strange = read(&["# escape=x"]).unwrap_err();
        assert_eq!(strange, "invalid escape token 'x' does not match ` or \\");
        assert!(read(&["# check=foo=1"]).is_err());
    }

    #[test]
    fn check_options_are_read() {
        let check = read(&["# check=skip=A, B ;error=true"]).unwrap().check;
        assert!(check.skips("A") && check.skips("B") && !check.skips("A, B"));
        assert!(read(&[&format!("# check=skip={}", ",".repeat(5000))]).is_err());
        assert!(check.error && !check.skip_all);
        assert!(read(&["# check=skip=all"]).unwrap().check.skip_all);
        assert!(read(&["# check=experimental=X"]).unwrap().check.wants("X"));
    }
}
