//! Nothing of an image, a Dockerfile or a step's output steers the user's terminal.
//!
//! `text` is for names, labels and other text: what is no plain character is shown as an escape.
//! `Filter` is for the output of a step on a terminal: colours pass, everything else that acts
//! does not. Sources: ECMA-48 (control functions), UAX 9 (bidirectional formatting characters).

use std::borrow::Cow;

/// The text with all control and bidirectional characters written as `\u{..}`.
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether the character does something else than stand there.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Longer colour sequences than this are no colours.
const MAX_SEQUENCE: usize = 64;
/// A title or the like without an end hides at most so many bytes.
const MAX_STRING: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: one more byte belongs to it.
    Intermediate,
    /// After ESC [.
    Control,
    /// In a string (title, device control) until BEL or ESC \, with the bytes it has.
    String(usize),
}

/// Lets the output of a step through: text, tabs, CR, LF and SGR (colours). It holds back what
/// may still become a sequence, so pieces may be cut anywhere.
pub struct Filter {
    state: State,
    /// The parameters of a control sequence.
    sequence: Vec<u8>,
    /// The first bytes of a character.
    partial: Vec<u8>,
    passes_colours: bool,
    is_coloured: bool,
}

impl Filter {
    /// A filter at the start of a line; without colours SGR is dropped as well.
    pub fn new(passes_colours: bool) -> Filter {
        Filter {
            state: State::Ground,
            sequence: Vec::new(),
            partial: Vec::new(),
            passes_colours,
            is_coloured: false,
        }
    }

    /// Takes some bytes and appends what may be shown.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            self.take(byte, out);
        }
    }

    /// The output ends here: colours that are still on are switched off, and a sequence that was
    /// begun is forgotten.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_partial(out);
        self.state = State::Ground;
        if self.is_coloured {
            out.extend_from_slice(b"\x1b[0m");
            self.is_coloured = false;
        }
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Ground => self.ground(byte, out),
            State::Escape => match byte {
                b'[' => {
                    self.sequence.clear();
                    self.state = State::Control;
                }
                b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::String(0),
                b' '..=b'/' => self.state = State::Intermediate,
                b'0'..=b'~' => self.state = State::Ground,
                _ => self.again(byte, out),
            },
            State::Intermediate => match byte {
                b' '..=b'/' => {}
                b'0'..=b'~' => self.state = State::Ground,
                _ => self.again(byte, out),
            },
            State::Control => match byte {
                b' '..=b'?' if self.sequence.len() < MAX_SEQUENCE => self.sequence.push(byte),
                b'@'..=b'~' => {
                    self.state = State::Ground;
                    if byte == b'm' {
                        self.colour(out);
                    }
                }
                _ => self.again(byte, out),
            },
            State::String(length) => match byte {
                0x07 | 0x18 | 0x1a => self.state = State::Ground,
                0x1b => self.state = State::Escape,
                b'\n' => self.again(byte, out),
                _ if length >= MAX_STRING => self.again(byte, out),
                _ => self.state = State::String(length + 1),
            },
        }
    }

    /// The sequence was none: the byte is taken as text.
    fn again(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = State::Ground;
        self.ground(byte, out);
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte >= 0x80 {
            // A byte that begins a character ends the one before.
            if byte >= 0xc0 {
                self.end_partial(out);
            }
            self.partial.push(byte);
            return self.character(out);
        }
        self.end_partial(out);
        match byte {
            0x1b => self.state = State::Escape,
            b'\t' | b'\r' | b'\n' | b' '..=b'~' => out.push(byte),
            _ => {}
        }
    }

    /// Lets the character through when it is complete.
    fn character(&mut self, out: &mut Vec<u8>) {
        let wanted = match self.partial.first() {
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            _ => 1,
        };
        if self.partial.len() < wanted {
            return;
        }
        match std::str::from_utf8(&self.partial) {
            Ok(text) if !text.chars().any(acts) => out.extend_from_slice(text.as_bytes()),
            Ok(_) => {}
            Err(_) => out.extend_from_slice("\u{fffd}".as_bytes()),
        }
        self.partial.clear();
    }

    /// A character that was begun and not completed.
    fn end_partial(&mut self, out: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.partial.clear();
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }

    fn colour(&mut self, out: &mut Vec<u8>) {
        // `ESC [ > 4 m` and others with a private mark set keyboard modes.
        let is_colour = self.sequence.iter().all(|b| matches!(b, b'0'..=b'9' | b';' | b':'));
        if self.passes_colours && is_colour {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(&self.sequence);
            out.push(b'm');
            self.is_coloured = !matches!(self.sequence.as_slice(), b"" | b"0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut filter = Filter::new(true);
        filter.push(bytes, &mut out);
        filter.finish(&mut out);
        out
    }

    #[test]
    fn names_show_what_would_act() {
        assert_eq!(text("plain é 漢"), "plain é 漢");
        assert_eq!(text("a\x1b[31m\u{202e}b\u{9b}\n"), "a\\u{1b}[31m\\u{202e}b\\u{9b}\\n");
    }

    #[test]
    fn only_colours_tabs_and_line_ends_pass() {
        for (given, shown) in [
            ("a\tb\r\nc", "a\tb\r\nc"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[2Jx\x1b[10;10Hy\x1b[?1049h", "xy"),
            ("\x1b[>4mx", "x"),
            ("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\link", "xlink"),
            ("\x1bPq#0\x1b\\x\x1bcy\x1b(0z", "xyz"),
            ("a\x08\x07\x00\x7fb", "ab"),
            ("\u{9b}31m\u{202e}x", "31mx"),
            ("\x1b]endless\nnext", "\nnext"),
            ("\x1b[3\x1b[31mx", "\x1b[31mx\x1b[0m"),
            ("é漢😀", "é漢😀"),
        ] {
            let got = String::from_utf8(filtered(given.as_bytes())).unwrap();
            assert_eq!(got, shown, "{given:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let got = String::from_utf8(filtered(b"\xff\x9b1m\xe6\xbcx\xc3")).unwrap();
        assert_eq!(got, "\u{fffd}\u{fffd}1m\u{fffd}x\u{fffd}");
    }

    #[test]
    fn pieces_cut_anywhere_give_the_same() {
        let text = "é\x1b[1;31mr漢\x1b]0;t\x1b\\\x1b[2J😀\x1b[0m\u{202e}.".as_bytes();
        let whole = filtered(text);
        for at in 0..=text.len() {
            let mut out = Vec::new();
            let mut filter = Filter::new(true);
            filter.push(&text[..at], &mut out);
            filter.push(&text[at..], &mut out);
            filter.finish(&mut out);
            assert_eq!(out, whole, "cut at {at}");
        }
    }

    #[test]
    fn a_colour_left_on_is_switched_off_and_no_colours_means_none() {
        assert_eq!(filtered(b"\x1b[31mx"), b"\x1b[31mx\x1b[0m");
        let mut out = Vec::new();
        Filter::new(false).push(b"\x1b[31mx\x1b[0m", &mut out);
        assert_eq!(out, b"x");
    }
}
