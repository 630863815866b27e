//! Text in the cells of a terminal: how wide it is, where it is cut, the last lines of a stream.

use std::collections::VecDeque;

use crate::cli::safe::Filter;
use crate::event::Stream;

/// Longer lines are only kept to here: no terminal is wider.
const MAX_LINE: usize = 1024;

/// The cells that a character takes. Not a full table (UAX 11): marks that combine, and the wide
/// blocks of East Asia and of emoji.
fn width(c: char) -> usize {
    match c as u32 {
        0x300..=0x36f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// As much of the text as fits, with `..` for the rest.
pub fn fit(text: &str, columns: usize) -> String {
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(2);
    let mut out = String::new();
    for c in text.chars() {
        match left.checked_sub(width(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        out.push(c);
    }
    out.extend(std::iter::repeat_n('.', columns.min(2)));
    out
}

/// The last lines of a step's output, as a screen would show them.
pub struct LastLines {
    filters: [Filter; 2],
    lines: VecDeque<String>,
    current: String,
    /// A CR came: the next character begins the line anew.
    returns: bool,
    limit: usize,
}

impl LastLines {
    /// No lines yet; `limit` at most.
    pub fn new(limit: usize) -> LastLines {
        LastLines {
            filters: [Filter::new(false), Filter::new(false)],
            lines: VecDeque::new(),
            current: String::new(),
            returns: false,
            limit,
        }
    }

    /// Takes output as it comes.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let mut shown = Vec::new();
        let [of_out, of_err] = &mut self.filters;
        match stream {
            Stream::Out => of_out.push(bytes, &mut shown),
            Stream::Err => of_err.push(bytes, &mut shown),
        }
        for c in String::from_utf8_lossy(&shown).chars() {
            self.take(c);
        }
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = LastLines::new(self.limit);
    }

    /// The lines, oldest first, the unfinished one last.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let unfinished = (!self.current.is_empty()).then_some(self.current.as_str());
        let all = self.lines.len() + usize::from(unfinished.is_some());
        let skipped = all.saturating_sub(self.limit);
        self.lines.iter().map(String::as_str).chain(unfinished).skip(skipped)
    }

    fn take(&mut self, c: char) {
        match c {
            '\n' => {
                self.returns = false;
                let line = std::mem::take(&mut self.current);
                if line.trim().is_empty() {
                    return;
                }
                self.lines.push_back(line);
                if self.lines.len() > self.limit {
                    self.lines.pop_front();
                }
            }
            '\r' => self.returns = true,
            c => {
                if std::mem::take(&mut self.returns) {
                    self.current.clear();
                }
                if self.current.len() >= MAX_LINE {
                    return;
                }
                if c == '\t' {
                    let blanks = 8 - self.current.chars().count() % 8;
                    self.current.extend(std::iter::repeat_n(' ', blanks));
                } else {
                    self.current.push(c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_cells() {
        for (text, columns, cut) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcd.."),
            ("漢字漢字", 8, "漢字漢字"),
            ("漢字漢字", 7, "漢字.."),
            ("ab", 1, "."),
            ("ab", 0, ""),
        ] {
            assert_eq!(fit(text, columns), cut, "{text} {columns}");
        }
    }

    #[test]
    fn the_last_lines_are_what_a_screen_would_show() {
        let mut last = LastLines::new(3);
        last.push(Stream::Out, b"one\n\ntwo\n10%\r20%\r\x1b[31m30%");
        assert_eq!(last.lines().collect::<Vec<_>>(), ["one", "two", "30%"]);
        last.push(Stream::Err, b"\r\nfour\na\tb");
        assert_eq!(last.lines().collect::<Vec<_>>(), ["30%", "four", "a       b"]);
        last.push(Stream::Out, &[b'x'; 1 << 20]);
        assert!(last.lines().all(|line| line.len() <= MAX_LINE));
        last.clear();
        assert_eq!(last.lines().count(), 0);
    }
}
