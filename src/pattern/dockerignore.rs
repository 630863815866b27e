//! `.dockerignore` and `COPY --exclude`: the last rule that fits decides, `!` takes back.
//!
//! As moby's `patternmatcher`, its quirks included: `\a` is not the letter a, `x/**` is all below x
//! and not x itself.

use super::glob::{self, Token, next_char};
use crate::error::{Error, Result};

/// No path is longer, so no pattern needs to be.
const MAX_PATTERN: usize = 4096;

/// Rules in their order.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

/// What the rules say about a path; needed again for what lies below it.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The path is left out.
    pub excluded: bool,
    /// Which rules the path or a directory above it fits; empty for the root.
    fits: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Rule {
    takes_back: bool,
    kind: Kind,
}

/// The usual rules are compared without a walk over their signs.
#[derive(Clone, Debug)]
enum Kind {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Signs(Vec<Sign>),
}

#[derive(Clone, Debug)]
enum Sign {
    One(Token),
    /// `*`
    Name,
    /// The start of `**/`: leads inside, or past it.
    Folders,
    /// The inside of `**/`: anything up to a slash.
    InFolders,
    /// `**` at the end.
    All,
}

impl Ignore {
    /// Reads a `.dockerignore` file.
    pub fn parse(text: &[u8]) -> Result<Ignore> {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let text = String::from_utf8_lossy(text);
        let mut ignore = Ignore::default();
        // Only a # in the first column begins a comment.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            let (takes_back, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if pattern.is_empty() && !takes_back {
                continue;
            }
            let mut pattern = if pattern.is_empty() { String::new() } else { clean(pattern) };
            if pattern.len() > 1 && pattern.starts_with('/') {
                pattern.remove(0);
            }
            ignore.add(takes_back, &pattern)?;
        }
        Ok(ignore)
    }

    /// The rules of `--exclude` flags.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Ignore> {
        let mut ignore = Ignore::default();
        for pattern in patterns {
            let pattern = pattern.trim();
            if pattern.is_empty() {
                continue;
            }
            let pattern = clean(pattern);
            match pattern.strip_prefix('!') {
                Some(rest) => ignore.add(true, rest)?,
                None => ignore.add(false, &pattern)?,
            }
        }
        Ok(ignore)
    }

    /// There are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Some rule takes something back.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }

    /// What the rules say about the root itself: it is never left out.
    pub fn root(&self) -> Verdict {
        Verdict::default()
    }

    /// What the rules say about a path without a leading slash, given the verdict on the directory
    /// that it lies in.
    pub fn check(&self, path: &[u8], parent: &Verdict) -> Verdict {
        let mut verdict = Verdict { excluded: false, fits: Vec::with_capacity(self.rules.len()) };
        for (at, rule) in self.rules.iter().enumerate() {
            let mut fits = parent.fits.get(at).copied().unwrap_or(false);
            // A rule that could change nothing is not tried.
            if !fits && rule.takes_back == verdict.excluded {
                fits = rule.matches(path);
            }
            verdict.fits.push(fits);
            if fits {
                verdict.excluded = !rule.takes_back;
            }
        }
        verdict
    }

    /// The same for a single path of which nothing above is known.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let mut verdict = self.root();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            verdict = self.check(path.get(..end).unwrap_or(path), &verdict);
        }
        verdict.excluded
    }

    /// Whether something below a directory that is left out may be taken back: if not, a walker
    /// need not go in.
    pub fn may_include_below(&self, directory: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.takes_back && rule.may_match_below(directory))
    }

    fn add(&mut self, takes_back: bool, pattern: &str) -> Result<()> {
        if pattern.is_empty() {
            return Err(Error::input("illegal exclusion pattern: \"!\"")
                .hint("a ! needs a pattern behind it"));
        }
        if pattern.len() > MAX_PATTERN {
            return Err(Error::input("a pattern is longer than 4096 bytes"));
        }
        glob::matches(pattern, b".")?;
        self.rules.push(Rule { takes_back, kind: kind(pattern) });
        Ok(())
    }
}

impl Rule {
    fn matches(&self, path: &[u8]) -> bool {
        match &self.kind {
            Kind::Exact(name) => path == name.as_slice(),
            Kind::Prefix(prefix) => path.starts_with(prefix),
            Kind::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Kind::Signs(signs) => walk(signs, path).last() == Some(&true),
        }
    }

    fn may_match_below(&self, directory: &[u8]) -> bool {
        let mut start = directory.to_vec();
        start.push(b'/');
        match &self.kind {
            Kind::Exact(name) => name.starts_with(&start),
            Kind::Prefix(prefix) => prefix.starts_with(&start) || start.starts_with(prefix),
            Kind::Suffix(_) => true,
            Kind::Signs(signs) => walk(signs, &start).iter().take(signs.len()).any(|place| *place),
        }
    }
}

/// The cheapest way to compare with a pattern.
fn kind(pattern: &str) -> Kind {
    let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
    if plain(pattern) {
        return Kind::Exact(pattern.into());
    }
    match (pattern.strip_prefix("**"), pattern.strip_suffix("**")) {
        (Some(rest), _) if plain(rest) => Kind::Suffix(rest.into()),
        (None, Some(rest)) if plain(rest) => Kind::Prefix(rest.into()),
        _ => Kind::Signs(signs(pattern)),
    }
}

fn signs(pattern: &str) -> Vec<Sign> {
    let mut signs = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let sign = match c {
            '*' => match chars.as_str().strip_prefix('*') {
                // Two in a row only come from `***`, and mean no more than one.
                None if matches!(signs.last(), Some(Sign::Name)) => continue,
                None => Sign::Name,
                Some(rest) => {
                    let rest = rest.strip_prefix('/').unwrap_or(rest);
                    chars = rest.chars();
                    if rest.is_empty() {
                        Sign::All
                    } else {
                        signs.push(Sign::Folders);
                        Sign::InFolders
                    }
                }
            },
            '?' => Sign::One(Token::One),
            '[' => {
                let mut ahead = chars.clone();
                match glob::class(&mut ahead) {
                    Some(class) => {
                        chars = ahead;
                        Sign::One(class)
                    }
                    None => Sign::One(Token::Char('[')),
                }
            }
            '\\' => Sign::One(Token::Char(escaped(chars.next()))),
            c => Sign::One(Token::Char(c)),
        };
        signs.push(sign);
    }
    signs
}

/// moby hands escapes to Go's regular expressions, where some letters are control characters.
fn escaped(c: Option<char>) -> char {
    match c {
        None => '\\',
        Some('a') => '\x07',
        Some('f') => '\x0c',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\x0b',
        Some(c) => c,
    }
}

/// At which signs of the pattern one can be after the whole path, and whether behind all.
///
/// All places at once instead of trying: the time is the product of both lengths at worst.
fn walk(signs: &[Sign], path: &[u8]) -> Vec<bool> {
    let mut here = vec![false; signs.len() + 1];
    mark(&mut here, 0);
    let mut next = here.clone();
    let mut rest = path;
    skip_empty(signs, &mut here);
    while let Some((c, after)) = next_char(rest) {
        rest = after;
        let slash = c == u32::from('/');
        next.fill(false);
        for (at, (sign, _)) in signs.iter().zip(&here).enumerate().filter(|(_, place)| *place.1) {
            match sign {
                Sign::One(token) if token.takes(c) => mark(&mut next, at + 1),
                Sign::Name if !slash => mark(&mut next, at),
                Sign::All => mark(&mut next, at),
                Sign::InFolders => {
                    mark(&mut next, at);
                    if slash {
                        mark(&mut next, at + 1);
                    }
                }
                _ => {}
            }
        }
        skip_empty(signs, &mut next);
        std::mem::swap(&mut here, &mut next);
        if !here.contains(&true) {
            break;
        }
    }
    here
}

/// Adds the places behind signs that may take nothing.
fn skip_empty(signs: &[Sign], places: &mut [bool]) {
    for (at, sign) in signs.iter().enumerate() {
        if places.get(at) != Some(&true) {
            continue;
        }
        match sign {
            Sign::Name | Sign::All => mark(places, at + 1),
            Sign::Folders => {
                mark(places, at + 1);
                mark(places, at + 2);
            }
            _ => {}
        }
    }
}

fn mark(places: &mut [bool], at: usize) {
    if let Some(place) = places.get_mut(at) {
        *place = true;
    }
}

/// Go's `path.Clean`: no empty parts, no `.`, `..` taken together with the part before it.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(lines: &str) -> Ignore {
        Ignore::parse(lines.as_bytes()).expect(lines)
    }

    #[test]
    fn paths_match_as_they_do_in_docker() {
        for (pattern, path, excluded) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("dir/**", "dir/dir/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/xfile", false),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("a\\*", "a*", true),
            ("a\\b", "ab", true),
            ("\\a.txt", "a.txt", false),
            ("d\\/c.txt", "d/c.txt", true),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", "bar.foo", false),
            ("a(b)c/def", "a(b)c/def", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a/**/b", "ab", false),
            ("node/*", "node", false),
            ("/a.txt", "a.txt", true),
            ("/d/", "d/x", true),
            ("d/../b.log", "b.log", true),
            ("./node/./m/", "node/m/k", true),
            ("  a.txt  ", "a.txt", true),
            ("# a", "# a", false),
            ("  # a", "# a", true),
            ("[rR]*.md", "README.md", true),
            ("ü?", "üß", true),
        ] {
            assert_eq!(rules(pattern).excludes(path.as_bytes()), excluded, "{pattern} {path}");
        }
    }

    #[test]
    fn stars_without_end_do_not_multiply() {
        let path = "a/".repeat(500) + "b";
        // The last two want more slashes and more letters than the path has.
        for (unit, wanted) in [("**", true), ("**/", true), ("**/*", false), ("*?**", false)] {
            let pattern = unit.repeat(4000 / unit.len() - 1) + "b";
            let verdict = rules(&pattern).check(path.as_bytes(), &Verdict::default());
            assert_eq!(verdict.excluded, wanted, "{unit}");
        }
    }

    #[test]
    fn the_last_rule_that_fits_decides() {
        for (lines, path, excluded) in [
            ("*\n!a.txt\n!d", "a.txt", false),
            ("*\n!a.txt\n!d", "d/x/y", false),
            ("*\n!a.txt\n!d", "node/m", true),
            ("d\n!d/c.txt", "d/c.txt", false),
            ("d\n!d/c.txt", "d/e.log", true),
            ("!b.log\n*.log", "b.log", true),
            ("**/*.log\n!d/**\nd/s", "d/e.log", false),
            ("**/*.log\n!d/**\nd/s", "d/s/f.log", true),
            ("**\n!**/*.txt", "d/c.txt", false),
            ("**\n!**/*.txt", "d/c.log", true),
            ("\u{feff}a.txt\r\nb.log\r\n", "a.txt", true),
            ("!a.txt", "b", false),
        ] {
            assert_eq!(rules(lines).excludes(path.as_bytes()), excluded, "{lines:?} {path}");
        }
        assert!(!rules("").excludes(b"a") && rules("").is_empty());
    }

    #[test]
    fn a_directory_is_skipped_only_if_nothing_below_it_comes_back() {
        for (lines, directory, enter) in [
            ("node", "node", false),
            ("d\n!d/c.txt", "d", true),
            ("d\nnode\n!d/c.txt", "node", false),
            ("**\n!**/*.txt", "node", true),
            ("*\n!a/*/x", "a", true),
            ("*\n!a/*/x", "b", false),
            ("*\n!a/*/x", "a/b/c", false),
            ("*\n!d", "d2", false),
            ("*\n!a/**", "a/b", true),
        ] {
            let enters = rules(lines).may_include_below(directory.as_bytes());
            assert_eq!(enters, enter, "{lines:?} {directory}");
        }
    }

    #[test]
    fn excludes_of_copy_are_read_as_they_are() {
        let ignore = Ignore::from_patterns(["*.log", "!keep.log", " "]).unwrap();
        assert!(ignore.excludes(b"a.log") && !ignore.excludes(b"keep.log"));
        assert!(!Ignore::from_patterns(["# x"]).unwrap().is_empty());
    }

    #[test]
    fn malformed_rules_are_refused() {
        for (line, message) in [
            ("[", "syntax error in pattern \"[\""),
            ("!", "illegal exclusion pattern: \"!\""),
            ("a\\", "syntax error in pattern \"a\\\\\""),
        ] {
            assert_eq!(Ignore::parse(line.as_bytes()).unwrap_err().text(), message, "{line}");
        }
        assert!(Ignore::parse("x".repeat(5000).as_bytes()).is_err());
    }

    #[test]
    fn hostile_patterns_and_paths_end_soon() {
        let rule = Rule { takes_back: false, kind: kind(&format!("{}b", "**/*a".repeat(100))) };
        assert!(!rule.matches(&b"a/".repeat(500)));
    }
}
