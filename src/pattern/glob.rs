//! Go's `path/filepath.Match`, and a pattern cut at its slashes so that a walker can descend.

use crate::error::{Error, Result};

/// A pattern of sources: literal and wild parts between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This very name, escapes taken off.
    Name(String),
    /// All names that fit.
    Wild(String),
}

impl Glob {
    /// Cuts a pattern into its parts; empty ones and `.` are dropped.
    pub fn parse(pattern: &str) -> Result<Glob> {
        let mut parts = Vec::new();
        for text in pattern.split('/').filter(|text| !matches!(*text, "" | ".")) {
            if has_wildcards(text) {
                matches(text, b"")?;
                parts.push(Part::Wild(text.to_owned()));
            } else {
                parts.push(Part::Name(without_escapes(text)));
            }
        }
        Ok(Glob { parts })
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether it can match more than one name.
    pub fn is_wild(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Wild(_)))
    }
}

impl Part {
    /// Whether a name of a directory's entry fits.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Part::Name(own) => own.as_bytes() == name,
            Part::Wild(pattern) => matches(pattern, name).unwrap_or(false),
        }
    }
}

/// Whether a text has signs that stand for other names.
pub fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Whether the whole name fits the whole pattern; `*` and `?` do not match a slash.
///
/// The pattern is checked to its end even when the name fails early.
pub fn matches(pattern: &str, name: &[u8]) -> Result<bool> {
    let tokens = tokens(pattern).ok_or_else(|| {
        Error::input(format!("syntax error in pattern {pattern:?}"))
            .hint("a [ needs its ], and a \\ needs a character behind it")
    })?;
    // With one kind of star it is enough to come back to the last one.
    let (mut at, mut rest) = (0, name);
    let mut star: Option<(usize, &[u8])> = None;
    loop {
        let token = tokens.get(at);
        if let Some(Token::Star) = token {
            star = Some((at, rest));
            at += 1;
            continue;
        }
        if token.is_none() && rest.is_empty() {
            return Ok(true);
        }
        if let (Some(token), Some((c, after))) = (token, next_char(rest))
            && token.takes(c)
        {
            (at, rest) = (at + 1, after);
            continue;
        }
        // The last star takes one character more.
        let Some((star_at, from)) = star else { return Ok(false) };
        match next_char(from) {
            Some((c, after)) if c != u32::from('/') => {
                star = Some((star_at, after));
                (at, rest) = (star_at + 1, after);
            }
            _ => return Ok(false),
        }
    }
}

/// One sign of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `?`: anything but a slash.
    One,
    /// `*`: any number of anything but slashes.
    Star,
    /// `[a-c]` and `[^a-c]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    /// Whether it takes this character; stars are the caller's.
    pub(super) fn takes(&self, c: u32) -> bool {
        match self {
            Token::Char(own) => u32::from(*own) == c,
            Token::One | Token::Star => c != u32::from('/'),
            Token::Class { negated, ranges } => {
                let within =
                    |(from, to): &(char, char)| (u32::from(*from)..=u32::from(*to)).contains(&c);
                ranges.iter().any(within) != *negated
            }
        }
    }
}

/// The signs of a pattern, or nothing when it is malformed.
fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut chars)?),
            '\\' => tokens.push(Token::Char(chars.next()?)),
            c => tokens.push(Token::Char(c)),
        }
    }
    Some(tokens)
}

/// Reads a class whose `[` is read already.
pub(super) fn class(chars: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut rest = chars.as_str();
    let negated = rest.strip_prefix('^').inspect(|after| rest = after).is_some();
    *chars = rest.chars();
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = chars.as_str().strip_prefix(']').filter(|_| !ranges.is_empty()) {
            *chars = after.chars();
            return Some(Token::Class { negated, ranges });
        }
        let from = class_char(chars)?;
        let mut to = from;
        if let Some(after) = chars.as_str().strip_prefix('-') {
            *chars = after.chars();
            to = class_char(chars)?;
        }
        ranges.push((from, to));
    }
}

fn class_char(chars: &mut std::str::Chars<'_>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// The next character of a name; a byte that is no UTF-8 counts as a character of its own.
pub(super) fn next_char(name: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = name.split_first()?;
    if *first < 0x80 {
        return Some((u32::from(*first), rest));
    }
    for length in 2..=4 {
        let Some((head, after)) = name.split_at_checked(length) else { break };
        if let Some(c) = std::str::from_utf8(head).ok().and_then(|text| text.chars().next()) {
            return Some((u32::from(c), after));
        }
    }
    Some((u32::from(char::REPLACEMENT_CHARACTER), rest))
}

fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_they_do_in_go() {
        for (pattern, name, fits) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "-", true),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(matches(pattern, name.as_bytes()).expect(pattern), fits, "{pattern} {name}");
        }
        assert!(matches("a?", b"a\xff").unwrap());
        assert!(matches("*\u{fffd}", b"a\xff").unwrap());
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in
            ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "[^", "a\\", "[a", "x["]
        {
            assert!(matches(pattern, b"").is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_cut_at_its_slashes() {
        let glob = Glob::parse("./a\\*/[bc]*//d/").unwrap();
        let (name, wild) = (|s: &str| Part::Name(s.into()), |s: &str| Part::Wild(s.into()));
        assert_eq!(glob.parts(), [name("a*"), wild("[bc]*"), name("d")]);
        assert!(glob.is_wild() && glob.parts()[1].matches(b"cx") && !glob.parts()[1].matches(b"a"));
        assert!(!Glob::parse("a/b").unwrap().is_wild());
        assert!(Glob::parse("a/[").is_err());
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let name = vec![b'a'; 4096];
        assert!(!matches(&format!("{}b", "*a".repeat(500)), &name).unwrap());
    }
}
