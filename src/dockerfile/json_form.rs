//! The JSON form of arguments: `["a", "b"]`.
//!
//! Not a general JSON reader: it tells an array of strings, another array, and text that is no
//! JSON at all apart, since the last falls back to the shell form and the second is an error.

use super::scan;

/// What docker says about an array with something else than strings in it.
pub const NOT_STRINGS: &str =
    "when using JSON array syntax, arrays must be comprised of strings only";

/// How deep arrays and objects may nest before the text counts as no JSON.
const MAX_DEPTH: usize = 64;

/// What a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with other values.
    NotStrings,
    /// No JSON array: the shell form.
    NotJson,
}

/// Tells what the text is.
pub fn parse(text: &str) -> JsonForm {
    match read(text, true) {
        Some((strings, true)) => JsonForm::Strings(strings),
        Some((_, false)) => JsonForm::NotStrings,
        None => JsonForm::NotJson,
    }
}

/// Whether the text is an array, of strings or not.
pub(super) fn is_array(text: &str) -> bool {
    read(text, false).is_some()
}

fn read(text: &str, keeps: bool) -> Option<(Vec<String>, bool)> {
    let text = scan::start(text);
    match text.as_bytes() {
        [b'[', ..] => Reader { rest: text.get(1..)?, keeps }.array(),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// The strings are wanted.
    keeps: bool,
}

impl Reader<'_> {
    /// The strings of the array whose bracket is read already, and whether these are all.
    fn array(&mut self) -> Option<(Vec<String>, bool)> {
        let mut strings = Vec::new();
        let mut only_strings = true;
        if !self.eat(']') {
            loop {
                self.blanks();
                if self.rest.starts_with('"') {
                    let string = self.string()?;
                    if self.keeps {
                        strings.push(string);
                    }
                } else {
                    only_strings = false;
                    self.value(0)?;
                }
                if self.eat(',') {
                    continue;
                }
                if !self.eat(']') {
                    return None;
                }
                break;
            }
        }
        self.blanks();
        self.rest.is_empty().then_some((strings, only_strings))
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'b' => out.push('\x08'),
                    'f' => out.push('\x0c'),
                    c @ ('"' | '\\' | '/') => out.push(c),
                    'u' => {
                        let high = four_digits(&mut chars)?;
                        out.push(unit(high, &mut chars));
                    }
                    _ => return None,
                },
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(out)
    }

    /// Reads over any value.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.rest.chars().next()? {
            '"' => self.string().map(|_| ()),
            '[' => {
                self.eat('[');
                if self.eat(']') {
                    return Some(());
                }
                loop {
                    self.value(depth + 1)?;
                    if !self.eat(',') {
                        return self.eat(']').then_some(());
                    }
                }
            }
            '{' => {
                self.eat('{');
                if self.eat('}') {
                    return Some(());
                }
                loop {
                    self.blanks();
                    self.string()?;
                    if !self.eat(':') {
                        return None;
                    }
                    self.value(depth + 1)?;
                    if !self.eat(',') {
                        return self.eat('}').then_some(());
                    }
                }
            }
            '-' | '0'..='9' => self.number(),
            _ => {
                let word = ["true", "false", "null"];
                let rest = word.iter().find_map(|word| self.rest.strip_prefix(word))?;
                self.rest = rest;
                Some(())
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after = |text, n| str::split_at_checked(text, n).map(|(_, rest)| rest);
        let mut rest = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let whole = digits(rest);
        if whole == 0 || (whole > 1 && rest.starts_with('0')) {
            return None;
        }
        rest = after(rest, whole)?;
        if let Some(fraction) = rest.strip_prefix('.') {
            let n = digits(fraction);
            rest = after(fraction, n).filter(|_| n > 0)?;
        }
        if let Some(power) = rest.strip_prefix(['e', 'E']) {
            let power = power.strip_prefix(['+', '-']).unwrap_or(power);
            let n = digits(power);
            rest = after(power, n).filter(|_| n > 0)?;
        }
        self.rest = rest;
        Some(())
    }
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + chars.next()?.to_digit(16)?;
    }
    Some(unit)
}

/// The character of a UTF-16 unit and, if need be, the one after it; a lone half is U+FFFD.
fn unit(high: u32, chars: &mut std::str::Chars<'_>) -> char {
    if let Some(c) = char::from_u32(high) {
        return c;
    }
    let mut ahead = chars.clone();
    let is_first = (0xD800..0xDC00).contains(&high);
    let escaped = is_first && ahead.next() == Some('\\') && ahead.next() == Some('u');
    let low = if escaped { four_digits(&mut ahead) } else { None };
    if let Some(low) = low.filter(|low| (0xDC00..0xE000).contains(low)) {
        *chars = ahead;
        let c = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    char::REPLACEMENT_CHARACTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_strings_other_arrays_and_plain_text_are_told_apart() {
        let strings =
            |list: &[&str]| JsonForm::Strings(list.iter().map(|s| s.to_string()).collect());
        for (text, form) in [
            (r#"["a","b c",""]"#, strings(&["a", "b c", ""])),
            (r#"  [ "a" , "b" ]  "#, strings(&["a", "b"])),
            ("[]", strings(&[])),
            (r#"["a\tb\"\\\u0041\/"]"#, strings(&["a\tb\"\\A/"])),
            (r#"["\ud83d\ude00 \ud83d x"]"#, strings(&["😀 \u{fffd} x"])),
            (r#"["a", 1]"#, JsonForm::NotStrings),
            ("[1, -2.5e+3]", JsonForm::NotStrings),
            (r#"[null, {"a": [true]}]"#, JsonForm::NotStrings),
            (r#"["a", b]"#, JsonForm::NotJson),
            ("['a']", JsonForm::NotJson),
            (r#"["a"] b"#, JsonForm::NotJson),
            (r#"["a",]"#, JsonForm::NotJson),
            (r#"["a""#, JsonForm::NotJson),
            ("[01]", JsonForm::NotJson),
            ("[ -d /etc ] && x", JsonForm::NotJson),
            ("[\"a\tb\"]", JsonForm::NotJson),
            ("{}", JsonForm::NotJson),
            ("", JsonForm::NotJson),
        ] {
            assert_eq!(parse(text), form, "{text}");
        }
    }

    #[test]
    fn deep_nesting_ends_without_an_overflow() {
        assert_eq!(parse(&"[".repeat(1 << 20)), JsonForm::NotJson);
    }
}
