//! JSON for configs and manifests: a value tree that keeps unknown fields and their order.
//!
//! Depth and size are bounded, since the text may be hostile. Source: RFC 8259.

use crate::error::{Error, Result};

/// Texts larger than this are refused; a manifest of a registry has 4 MiB at most.
pub const MAX_BYTES: usize = 4 << 20;
const MAX_DEPTH: usize = 64;
/// A value takes a hundred times the memory of the two bytes that it can be written with. Configs
/// and manifests have some hundreds.
const MAX_VALUES: usize = 32_768;

/// A JSON value. Numbers keep their digits, objects their order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The digits as written.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object; keys in the order of the text.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads one JSON text.
    pub fn parse(text: &[u8]) -> Result<Value> {
        if text.len() > MAX_BYTES {
            return Err(Error::input(format!("JSON of more than {MAX_BYTES} bytes")));
        }
        let text = std::str::from_utf8(text).map_err(|_| Error::input("JSON is not UTF-8"))?;
        let mut parser = Parser { text: text.as_bytes(), at: 0, values: 0 };
        let value = parser.value(0)?;
        parser.blanks();
        if parser.peek().is_some() {
            return Err(parser.fault("something after the end"));
        }
        Ok(value)
    }

    /// A string value.
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// An array of strings.
    pub fn strings<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Value {
        Value::Array(texts.into_iter().map(|text| Value::string(text.as_ref())).collect())
    }

    /// An object of labels, `NAME=VALUE` each.
    #[cfg(feature = "containers")]
    pub fn labels(labels: &[String]) -> Value {
        let mut out = Value::default();
        for label in labels {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            out.set(name, Some(Value::string(value)));
        }
        out
    }

    /// A whole number.
    pub fn number(number: impl Into<i128>) -> Value {
        Value::Number(number.into().to_string())
    }

    /// The field of an object; nothing for other values.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => {
                fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The fields of an object.
    pub fn as_object(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The strings of an array of strings; empty for anything else.
    pub fn to_strings(&self) -> Vec<String> {
        let values = self.as_array().unwrap_or_default();
        values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    }

    /// Puts a field into an object, in its old place if it was there; `None` takes it out.
    pub fn set(&mut self, key: &str, value: Option<Value>) {
        if !matches!(self, Value::Object(_)) {
            *self = Value::Object(Vec::new());
        }
        let Value::Object(fields) = self else { return };
        let old = fields.iter().position(|(name, _)| name == key);
        match (old, value) {
            (Some(at), Some(value)) => {
                if let Some(field) = fields.get_mut(at) {
                    field.1 = value;
                }
            }
            (Some(at), None) => {
                fields.remove(at);
            }
            (None, Some(value)) => fields.push((key.to_owned(), value)),
            (None, None) => {}
        }
    }

    /// The compact text: no blanks, the order kept.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None, 0);
        out
    }

    /// The text for people, indented by four blanks a level as `docker inspect` does.
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(4), 0);
        out
    }

    fn write(&self, out: &mut String, indent: Option<usize>, level: usize) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(digits) => out.push_str(digits),
            Value::String(text) => quote(out, text),
            Value::Array(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    separate(out, indent, level + 1, at);
                    value.write(out, indent, level + 1);
                }
                close(out, indent, level, values.is_empty());
                out.push(']');
            }
            Value::Object(fields) => {
                out.push('{');
                for (at, (key, value)) in fields.iter().enumerate() {
                    separate(out, indent, level + 1, at);
                    quote(out, key);
                    out.push_str(if indent.is_some() { ": " } else { ":" });
                    value.write(out, indent, level + 1);
                }
                close(out, indent, level, fields.is_empty());
                out.push('}');
            }
        }
    }
}

fn separate(out: &mut String, indent: Option<usize>, level: usize, at: usize) {
    if at > 0 {
        out.push(',');
    }
    new_line(out, indent, level);
}

fn close(out: &mut String, indent: Option<usize>, level: usize, empty: bool) {
    if !empty {
        new_line(out, indent, level);
    }
}

fn new_line(out: &mut String, indent: Option<usize>, level: usize) {
    if let Some(width) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', width * level));
    }
}

/// Appends the text as a JSON string.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // All that must be escaped is ASCII, so bytes will do.
    while let Some(at) = rest.bytes().position(|b| b < b' ' || matches!(b, b'"' | b'\\' | 0x7f)) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(c) => out.push_str(&format!("\\u{:04x}", c as u32)),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    values: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault(&self, what: &str) -> Error {
        Error::input(format!("JSON: {what} at byte {}", self.at))
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        self.blanks();
        if self.peek() != Some(byte) {
            return Err(self.fault(&format!("no '{}'", byte as char)));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        let end = self.at + word.len();
        if self.text.get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.fault("unknown word"));
        }
        self.at = end;
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(self.fault("nested too deeply"));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.fault("too many values"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault("no value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut fields: Vec<(String, Value)> = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        let mut seen = std::collections::BTreeSet::new();
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.fault("no key"));
            }
            let key = self.string()?;
            // Two readers that take different ones of two equal keys see different images.
            if !seen.insert(key.clone()) {
                return Err(self.fault("a key stands twice"));
            }
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            fields.push((key, value));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(fields));
                }
                _ => return Err(self.fault("no ',' or '}'")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut values = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(values));
                }
                _ => return Err(self.fault("no ',' or ']'")),
            }
        }
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("no digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(String::from_utf8_lossy(digits).into_owned()))
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|b| b != b'"' && b != b'\\' && b >= 0x20) {
                self.at += 1;
            }
            out.push_str(&String::from_utf8_lossy(self.text.get(start..self.at).unwrap_or(b"")));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.fault("control character in a string")),
                None => return Err(self.fault("string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let byte = self.peek().ok_or_else(|| self.fault("string without an end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(self.fault("unknown escape")),
        })
    }

    fn hex4(&mut self) -> Result<u32> {
        let text = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if text.len() != 4 || !text.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.fault("bad \\u escape"));
        }
        self.at += 4;
        u32::from_str_radix(&String::from_utf8_lossy(text), 16)
            .map_err(|_| self.fault("bad \\u escape"))
    }

    fn unicode(&mut self) -> Result<char> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high)
            && self.text.get(self.at..self.at + 2) == Some(b"\\u".as_slice())
        {
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            return Ok('\u{fffd}');
        }
        // A lone surrogate reads as U+FFFD, as Go's encoding/json has it.
        Ok(char::from_u32(high).unwrap_or('\u{fffd}'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        let text = r#"{"a":[1,-2.5e3,true,null],"b":{"x":"\"\\\n\u0001é"},"c":[],"d":{}}"#;
        assert_eq!(Value::parse(text.as_bytes()).unwrap().to_text(), text);
    }

    #[test]
    fn surrogate_pairs_and_escapes_are_read() {
        let value = Value::parse(br#""\ud83d\ude00\/\b""#).unwrap();
        assert_eq!(value.as_str(), Some("\u{1f600}/\u{8}"));
    }

    #[test]
    fn bad_texts_are_refused() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "01",
            "1.",
            "\"\t\"",
            "nul",
            "1 2",
            "\"\\x\"",
            "{a:1}",
            "\"\\u12\"",
        ] {
            assert!(Value::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Value::parse("[".repeat(100_000).as_bytes()).is_err());
        let many = |count: usize| format!("[{}0]", "0,".repeat(count));
        assert!(Value::parse(many(10_000).as_bytes()).is_ok());
        let error = Value::parse(many(1 << 20).as_bytes()).unwrap_err();
        assert!(error.text().contains("too many values"), "{error:?}");
    }

    #[test]
    fn set_keeps_the_place_of_a_field() {
        let mut value = Value::parse(br#"{"a":1,"b":2}"#).unwrap();
        value.set("a", Some(Value::Bool(true)));
        value.set("b", None);
        value.set("c", Some(Value::Null));
        assert_eq!(value.to_text(), r#"{"a":true,"c":null}"#);
    }
}
