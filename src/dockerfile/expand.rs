//! Variables, quotes and escapes in a word, as BuildKit's shell lexer takes them.
//!
//! Not a shell: no commands, no arithmetic, no bracket patterns. Nesting, the size of a result
//! and the work for patterns are bounded, so that hostile text ends in an error.

use std::str::Chars;

use super::shell_pattern::Pattern;
use crate::error::{Error, Result};

/// How deep `${a:-${b}}` may nest.
const MAX_DEPTH: usize = 100;

/// How large a result may grow; doubling values would otherwise fill the memory.
pub(super) const MAX_RESULT: usize = 16 << 20;

/// Expands words with the variables that `lookup` knows.
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// Quotes are ordinary characters: for here-documents.
    pub skip_quotes: bool,
    /// References to variables that are not set stay as written.
    pub keep_unset: bool,
}

impl<'a> Expander<'a> {
    /// An expander that takes quotes and escapes off and makes nothing of unset variables.
    pub fn new(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Expander {
            escape,
            lookup,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            keep_unset: false,
        }
    }

    /// The text with its variables put in; blanks stay.
    pub fn word(&self, text: &str) -> Result<String> {
        if !text.contains(['$', '\'', '"', self.escape]) {
            return Ok(text.to_owned());
        }
        self.expand(text, None).map(|output| output.text)
    }

    /// The text with its variables put in, then split at blanks that are not quoted.
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        self.words_that(text, |_, _| true)
    }

    /// The words that are wanted, of all those.
    pub(super) fn words_that(&self, text: &str, is_wanted: IsWanted) -> Result<Vec<String>> {
        self.expand(text, Some(is_wanted)).map(Output::into_words)
    }

    /// The text of a here-document: variables and escapes count, quotes do not.
    pub fn heredoc(&self, text: &str) -> Result<String> {
        let quiet = Expander {
            escape: '\\',
            lookup: self.lookup,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: true,
            keep_unset: self.keep_unset,
        };
        quiet.expand(text, None).map(|output| output.text)
    }

    fn expand(&self, text: &str, splits: Option<IsWanted>) -> Result<Output> {
        let mut run = Run { rules: self, rest: text.chars(), depth: 0, size: 0, work: 0 };
        run.until(None, self.raw_escapes, splits).map_err(|problem| {
            // The whole of a huge word would drown what is said about it.
            let shown: String = text.chars().take(200).collect();
            Error::input(format!("failed to process {shown:?}: {problem}"))
        })
    }
}

/// Whether a word is kept, when so many are already.
type IsWanted = fn(&str, usize) -> bool;

/// A result: one text, or its words. Words take many times the memory, so only on demand.
#[derive(Default)]
struct Output {
    splits: Option<IsWanted>,
    /// The whole text; the word that is not finished when it is split.
    text: String,
    words: Vec<String>,
}

impl Output {
    fn plain(&mut self, c: char) {
        if self.splits.is_none() || !c.is_whitespace() {
            self.text.push(c);
        } else {
            self.end_word();
        }
    }

    fn end_word(&mut self) {
        if !self.text.is_empty()
            && self.splits.is_some_and(|is_wanted| is_wanted(&self.text, self.words.len()))
        {
            self.words.push(std::mem::take(&mut self.text));
        }
        self.text.clear();
    }

    fn into_words(mut self) -> Vec<String> {
        self.end_word();
        self.words
    }
}

type Outcome<T> = std::result::Result<T, String>;

/// One pass over a text.
struct Run<'r, 'a> {
    rules: &'r Expander<'a>,
    rest: Chars<'r>,
    depth: usize,
    size: usize,
    work: usize,
}

impl Run<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn grow(&mut self, bytes: usize) -> Outcome<()> {
        self.size = self.size.saturating_add(bytes);
        if self.size > MAX_RESULT {
            return Err("the result is larger than 16 MiB".to_owned());
        }
        Ok(())
    }

    /// Reads up to `stop`, or to the end when there is none.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
        splits: Option<IsWanted>,
    ) -> Outcome<Output> {
        let mut out = Output { splits, ..Output::default() };
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.rest.next();
                return Ok(out);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.grow(value.len())?;
                    value.chars().for_each(|c| out.plain(c));
                }
                '\'' if !self.rules.skip_quotes => out.text.push_str(&self.single_quoted()?),
                '"' if !self.rules.skip_quotes => {
                    out.text.push_str(&self.double_quoted(raw_escapes)?)
                }
                _ => {
                    self.rest.next();
                    if c != self.rules.escape {
                        out.plain(c);
                        continue;
                    }
                    if raw_escapes {
                        out.text.push(c);
                    }
                    match self.rest.next() {
                        Some(next) => out.text.push(next),
                        None => break,
                    }
                }
            }
        }
        match stop {
            Some(stop) => {
                Err(format!("unexpected end of statement while looking for matching {stop}"))
            }
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self) -> Outcome<String> {
        self.rest.next();
        let Some((inside, after)) = self.rest.as_str().split_once('\'') else {
            self.rest = "".chars();
            return Err(
                "unexpected end of statement while looking for matching single-quote".into()
            );
        };
        self.rest = after.chars();
        Ok(if self.rules.raw_quotes { format!("'{inside}'") } else { inside.to_owned() })
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Outcome<String> {
        let mut out = String::new();
        let raw_quotes = self.rules.raw_quotes;
        if raw_quotes {
            out.push('"');
        }
        self.rest.next();
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .into(),
                    );
                }
                Some('"') => {
                    self.rest.next();
                    if raw_quotes {
                        out.push('"');
                    }
                    return Ok(out);
                }
                Some('$') => {
                    let value = self.dollar()?;
                    self.grow(value.len())?;
                    out.push_str(&value);
                }
                Some(c) => {
                    self.rest.next();
                    if c != self.rules.escape {
                        out.push(c);
                        continue;
                    }
                    if raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if matches!(next, '"' | '$') || next == self.rules.escape => {
                            self.rest.next();
                            out.push(next);
                        }
                        Some(_) => out.push(c),
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Outcome<String> {
        self.rest.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.rules.lookup)(&name) {
                None if self.rules.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.rest.next();
        match self.peek() {
            None => return Err(MISSING_BRACE.to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        // The way through a modifier's word leads back here.
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("variables are nested more than {MAX_DEPTH} deep"));
        }
        let value = self.braced();
        self.depth -= 1;
        value
    }

    /// Reads what follows `${`.
    fn braced(&mut self) -> Outcome<String> {
        let name = self.name();
        let Some(mut modifier) = self.rest.next() else { return Err(MISSING_BRACE.to_owned()) };
        let mut written = modifier.to_string();
        let mut empty_is_unset = false;
        match modifier {
            '}' => {
                return Ok(match (self.rules.lookup)(&name) {
                    None if self.rules.keep_unset => format!("${{{name}}}"),
                    value => value.unwrap_or_default(),
                });
            }
            '/' => return self.replaced(&name),
            ':' => {
                empty_is_unset = true;
                modifier = self.rest.next().ok_or(MISSING_BRACE)?;
                written.push(modifier);
            }
            '+' | '-' | '?' | '#' | '%' => {}
            _ => return Err(unsupported(&written)),
        }
        let word = self.modifier_word('}', matches!(modifier, '#' | '%'))?;
        let value = (self.rules.lookup)(&name);
        if self.rules.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let set = value.as_deref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '-' => Ok(value.filter(|_| set).unwrap_or(word)),
            '+' => Ok(if set { word } else { String::new() }),
            '?' if set => Ok(value.unwrap_or_default()),
            '?' if !word.is_empty() => Err(format!("{name}: {word}")),
            '?' if value.is_none() => Err(format!("{name}: is not allowed to be unset")),
            '?' => Err(format!("{name}: is not allowed to be empty")),
            '#' | '%' => {
                let (pattern, longest) = match word.strip_prefix(modifier) {
                    Some(rest) => (rest, true),
                    None => (word.as_str(), false),
                };
                let parsed = Pattern::parse(pattern).map_err(|what| invalid(pattern, &what))?;
                let value = value.unwrap_or_default();
                match modifier {
                    '#' => parsed.without_prefix(&value, longest, &mut self.work),
                    _ => parsed.without_suffix(&value, longest, &mut self.work),
                }
            }
            _ => Err(unsupported(&written)),
        }
    }

    /// `${name/pattern/replacement}`, the first slash read already.
    fn replaced(&mut self, name: &str) -> Outcome<String> {
        let all = self.peek() == Some('/');
        if all {
            self.rest.next();
        }
        let pattern = self.modifier_word('/', true)?;
        let replacement = self.modifier_word('}', true)?;
        let Some(value) = (self.rules.lookup)(name) else {
            if self.rules.keep_unset {
                return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
            }
            return Ok(String::new());
        };
        let parsed = Pattern::parse(&pattern).map_err(|what| invalid(&pattern, &what))?;
        parsed.replace(&value, &replacement, all, &mut self.work)
    }

    fn modifier_word(&mut self, stop: char, raw_escapes: bool) -> Outcome<String> {
        match self.until(Some(stop), raw_escapes, None) {
            Ok(output) => Ok(output.text),
            Err(_) if self.rest.as_str().is_empty() && stop == '}' => Err(MISSING_BRACE.to_owned()),
            Err(_) if self.rest.as_str().is_empty() => {
                Err("syntax error: missing '/' in ${}".to_owned())
            }
            Err(problem) => Err(problem),
        }
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special signs.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_numeric() && c.is_alphanumeric() => {
                while let Some(c) = self.peek().filter(|c| c.is_numeric()) {
                    name.push(c);
                    self.rest.next();
                }
                return name;
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.rest.next();
                name.push(c);
                return name;
            }
            _ => {}
        }
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
            self.rest.next();
        }
        name
    }
}

const MISSING_BRACE: &str = "syntax error: missing '}'";

fn unsupported(modifier: &str) -> String {
    format!("unsupported modifier ({modifier}) in substitution")
}

fn invalid(pattern: &str, what: &str) -> String {
    let pattern: String = pattern.chars().take(400).collect();
    format!("invalid pattern ({pattern}) in substitution: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "A" => "val",
            "E" => "",
            "P" => "/usr/local/lib/x.tar.gz",
            "F" => "foo-bar-foo",
            "V" => "v1.22.333",
            "T" => "two words",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn word(text: &str) -> Result<String> {
        Expander::new('\\', &lookup).word(text)
    }

    #[test]
    fn a_text_is_not_kept_as_words_too() {
        let expander = Expander::new('\\', &lookup);
        let text = "a b ${U:-c d} ${F//-/ } \"e f\"";
        let whole = expander.expand(text, None).unwrap();
        assert_eq!((whole.text.as_str(), whole.words.len()), ("a b c d foo bar foo e f", 0));
        let words = expander.words(text).unwrap();
        assert_eq!(words, ["a", "b", "c", "d", "foo", "bar", "foo", "e f"]);
    }

    #[test]
    fn every_modifier_gives_what_docker_gives() {
        for (text, wanted) in [
            ("$A", "val"),
            ("${A}x$A-x", "valxval-x"),
            ("x${A}y$A", "xvalyval"),
            ("[$U][${U}]", "[][]"),
            ("${A:-d}${E:-d}${U:-d}${A-d}[${E-d}]${U-d}", "valddval[]d"),
            ("${A:+x}[${E:+x}][${U:+x}]${A+x}${E+x}[${U+x}]", "x[][]xx[]"),
            ("${A:?m}${A?m}[${E?m}]", "valval[]"),
            ("${U:-${W:-deep}}", "deep"),
            ("${U:-$A$A}", "valval"),
            ("${U:-'q q'}", "q q"),
            ("${U:-http://x/y?z}", "http://x/y?z"),
            ("${P#*/}", "usr/local/lib/x.tar.gz"),
            ("${P##*/}", "x.tar.gz"),
            ("${P%.*}", "/usr/local/lib/x.tar"),
            ("${P%%.*}", "/usr/local/lib/x"),
            ("${P#/usr}", "/local/lib/x.tar.gz"),
            ("${P%nomatch}", "/usr/local/lib/x.tar.gz"),
            ("${F/foo/x}", "x-bar-foo"),
            ("${F//foo/x}", "x-bar-x"),
            ("${F/-/}", "foobar-foo"),
            ("${F/z/y}", "foo-bar-foo"),
            ("${V/.*/}", "v1"),
            ("${V//[0-9]/n}", "v1.22.333"),
            ("${V/?/X}", "X1.22.333"),
            ("${V//./_}", "v1_22_333"),
            ("${U/a/b}", ""),
            ("[$1][$@][$*][$#][$?][$-][$!]", "[][][][][][][]"),
            ("a$ $$ $", "a$  $"),
            ("\\$A", "$A"),
            ("'$A'", "$A"),
            ("\"$A\"", "val"),
            ("\"it's\"", "it's"),
            ("\"a\\b \\\" \\$A \\\\\"", "a\\b \" $A \\"),
            ("a\\ b\\tc", "a btc"),
            ("'a\\b'", "a\\b"),
            ("end\\", "end"),
            ("$A_x${A}_x", "val_x"),
            ("über$A", "überval"),
            ("$äöü", ""),
        ] {
            assert_eq!(word(text).expect(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_docker_says_it() {
        for (text, wanted) in [
            ("${U:?give it}", "failed to process \"${U:?give it}\": U: give it"),
            ("${E:?}", "failed to process \"${E:?}\": E: is not allowed to be empty"),
            ("${U?}", "failed to process \"${U?}\": U: is not allowed to be unset"),
            ("${B:x}", "failed to process \"${B:x}\": unsupported modifier (:x) in substitution"),
            ("${B", "failed to process \"${B\": syntax error: missing '}'"),
            ("${", "failed to process \"${\": syntax error: missing '}'"),
            ("${B:", "failed to process \"${B:\": syntax error: missing '}'"),
            ("${}", "failed to process \"${}\": syntax error: bad substitution"),
            ("${B:-x", "failed to process \"${B:-x\": syntax error: missing '}'"),
            ("${A/x}", "failed to process \"${A/x}\": syntax error: missing '/' in ${}"),
            (
                "\"abc",
                "failed to process \"\\\"abc\": unexpected end of statement while looking for \
                 matching double-quote",
            ),
            (
                "'abc",
                "failed to process \"'abc\": unexpected end of statement while looking for \
                 matching single-quote",
            ),
        ] {
            assert_eq!(word(text).unwrap_err().text(), wanted, "{text}");
        }
    }

    #[test]
    fn words_are_split_after_the_variables_are_put_in() {
        let words = |text| Expander::new('\\', &lookup).words(text).unwrap();
        assert_eq!(words("a $T \"$T\" b\\ c"), ["a", "two", "words", "two words", "b c"]);
        assert_eq!(words(" \"\" x $U y "), ["x", "y"]);
        assert_eq!(words("'a b'c"), ["a bc"]);
    }

    #[test]
    fn the_escape_character_is_the_one_of_the_directive() {
        let word = |text| Expander::new('`', &lookup).word(text).unwrap();
        assert_eq!(word("C:\\dir `$A $A"), "C:\\dir $A val");
    }

    #[test]
    fn a_here_document_keeps_its_quotes() {
        let lex = Expander::new('`', &lookup);
        let text = "$A ${U:-def} \\$A\nquotes \"stay\" 'here' \\\\ back\n";
        assert_eq!(lex.heredoc(text).unwrap(), "val def $A\nquotes \"stay\" 'here' \\ back\n");
    }

    #[test]
    fn hostile_text_ends_in_an_error_and_soon() {
        assert!(word(&"${a:-".repeat(100_000)).is_err());
        assert!(word(&"\"${a:-".repeat(100_000)).is_err());
        let double = |name: &str| (name == "A").then(|| "x".repeat(1 << 20));
        assert!(Expander::new('\\', &double).word(&"$A".repeat(64)).is_err());
        let long = "a".repeat(2 << 20);
        assert_eq!(word(&format!("\"{long}\"")).unwrap().len(), long.len());
        assert_eq!(word("a\0$A").unwrap(), "a\0val");
    }
}
