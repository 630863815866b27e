//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and backslashes, no brackets.
//!
//! As in BuildKit, where they become regular expressions, neither sign matches a line's end.

use super::expand::MAX_RESULT;

/// How many comparisons the patterns of one text may take.
const MAX_WORK: usize = 20_000_000;

/// How long a pattern may be: taken apart it is four times as large. In how many of its places a
/// match may be at once is bounded by the comparisons.
const MAX_TEXT: usize = 1 << 20;

enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::One | Token::Many => c != '\n',
        }
    }
}

/// A parsed pattern.
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        if text.len() > MAX_TEXT {
            return Err("it is larger than 1 MiB".to_owned());
        }
        let mut tokens = Vec::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                // Two in a row are one, and cost half.
                '*' if matches!(tokens.last(), Some(Token::Many)) => continue,
                '*' => Token::Many,
                '?' => Token::One,
                // The closing signs of ${} are escaped for the sake of ${}, not of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\')) => Token::Char(c),
                    Some(c) => return Err(format!("invalid escape '\\{c}'")),
                    None => return Err("invalid escape at the end".to_owned()),
                },
                c => Token::Char(c),
            });
        }
        Ok(Pattern { tokens })
    }

    pub(super) fn without_prefix(
        &self,
        value: &str,
        longest: bool,
        work: &mut usize,
    ) -> Result<String, String> {
        let cut = self.end_of_match(value.chars(), false, longest, work)?;
        Ok(value.chars().skip(cut.unwrap_or_default()).collect())
    }

    pub(super) fn without_suffix(
        &self,
        value: &str,
        longest: bool,
        work: &mut usize,
    ) -> Result<String, String> {
        let cut = self.end_of_match(value.chars().rev(), true, longest, work)?;
        let kept = value.chars().count() - cut.unwrap_or_default();
        Ok(value.chars().take(kept).collect())
    }

    pub(super) fn replace(
        &self,
        value: &str,
        by: &str,
        all: bool,
        work: &mut usize,
    ) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = value.chars();
        let mut after_match = false;
        loop {
            if let Some(length) = self.end_of_match(rest.clone(), false, true, work)? {
                // Nothing, right behind a match, is no match of its own.
                if length > 0 || !after_match {
                    out.push_str(by);
                    if out.len() > MAX_RESULT {
                        return Err("the result is too large".to_owned());
                    }
                    if !all {
                        rest.by_ref().take(length).for_each(drop);
                        break;
                    }
                }
                if length > 0 {
                    rest.by_ref().take(length).for_each(drop);
                    after_match = true;
                    continue;
                }
            }
            after_match = false;
            match rest.next() {
                Some(c) => out.push(c),
                None => break,
            }
        }
        out.push_str(rest.as_str());
        Ok(out)
    }

    /// Where a match that begins at the start ends, in characters: the nearest or the farthest.
    fn end_of_match(
        &self,
        value: impl Iterator<Item = char>,
        backwards: bool,
        longest: bool,
        work: &mut usize,
    ) -> Result<Option<usize>, String> {
        let count = self.tokens.len();
        let token =
            |at: usize| self.tokens.get(if backwards { count.wrapping_sub(at + 1) } else { at });
        // All positions in the pattern at once: no backtracking, so no exponential time.
        let mut here = vec![0usize];
        let mut best = None;
        let mut taken = 0;
        let mut value = value;
        loop {
            // `*` may also take nothing; there are never two in a row.
            let mut all = Vec::with_capacity(2 * here.len());
            for position in here {
                if all.last() != Some(&position) {
                    all.push(position);
                }
                if matches!(token(position), Some(Token::Many)) {
                    all.push(position + 1);
                }
            }
            here = all;
            *work += here.len() + 1;
            if *work > MAX_WORK {
                return Err("matching it takes too long".to_owned());
            }
            if here.last() == Some(&count) {
                best = Some(taken);
                if !longest {
                    return Ok(best);
                }
            }
            if here.is_empty() {
                return Ok(best);
            }
            let Some(c) = value.next() else { return Ok(best) };
            let mut next = Vec::with_capacity(here.len() + 1);
            for position in here {
                let Some(token) = token(position).filter(|token| token.takes(c)) else { continue };
                let to = position + usize::from(!matches!(token, Token::Many));
                if next.last() != Some(&to) {
                    next.push(to);
                }
            }
            here = next;
            taken += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_suffixes_are_cut_short_or_long() {
        for (value, pattern, short, long) in [
            ("abcabc", "?", "bcabc", "bcabc"),
            ("abcabc", "a*c", "abc", ""),
            ("abcabc", "*", "abcabc", ""),
            ("abcabc", "", "abcabc", "abcabc"),
            ("abcabc", "x", "abcabc", "abcabc"),
            ("a*b", "a\\*", "b", "b"),
            ("a}b", "a\\}", "b", "b"),
            ("ab\ncd", "*d", "ab\ncd", "ab\ncd"),
            ("üxü", "*x", "ü", "ü"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.without_prefix(value, false, &mut 0).unwrap(),
                short,
                "{value} {pattern}"
            );
            assert_eq!(
                parsed.without_prefix(value, true, &mut 0).unwrap(),
                long,
                "{value} {pattern}"
            );
        }
        for (value, pattern, short, long) in [
            ("abcabc", "b*", "abca", "a"),
            ("x.tar.gz", ".*", "x.tar", "x"),
            ("ab", "a", "ab", "ab"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.without_suffix(value, false, &mut 0).unwrap(),
                short,
                "{value} {pattern}"
            );
            assert_eq!(
                parsed.without_suffix(value, true, &mut 0).unwrap(),
                long,
                "{value} {pattern}"
            );
        }
    }

    #[test]
    fn replacing_goes_on_behind_what_was_replaced() {
        for (value, pattern, by, once, all) in [
            ("aaa", "a", "aa", "aaaa", "aaaaaa"),
            ("abc", "", "-", "-abc", "-a-b-c-"),
            ("foo", "*", "x", "x", "x"),
            ("a/b", "\\/", "_", "a_b", "a_b"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.replace(value, by, false, &mut 0).unwrap(),
                once,
                "{value} {pattern}"
            );
            assert_eq!(parsed.replace(value, by, true, &mut 0).unwrap(), all, "{value} {pattern}");
        }
    }

    #[test]
    fn a_strange_escape_is_refused_and_hostile_ones_end() {
        assert_eq!(Pattern::parse("\\x").err().unwrap(), "invalid escape '\\x'");
        assert!(Pattern::parse("a\\").is_err());
        let stars = Pattern::parse(&"*a".repeat(3000)).unwrap();
        assert!(stars.replace(&"a".repeat(100_000), "b", true, &mut 0).is_err());
        assert!(Pattern::parse(&"a".repeat(MAX_TEXT)).is_ok());
        assert!(Pattern::parse(&"a".repeat(MAX_TEXT + 1)).is_err());
    }
}
