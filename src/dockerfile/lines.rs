//! From bytes to statements: byte order mark, comments, continued lines, here-documents.

use std::borrow::Cow;
use std::str::from_utf8;

use super::{
    Document, Fault, MAX_BYTES, MAX_FAULTS, Statement, directives, flags, heredoc, json_form, scan,
};

/// Reads a whole Dockerfile; all faults of form are gathered, at most ten.
pub fn parse(text: &[u8]) -> Result<Document<'_>, Vec<Fault>> {
    if text.len() > MAX_BYTES {
        let fault = Fault::new(0, "the Dockerfile is larger than 16 MiB");
        return Err(vec![fault.hint("check that it is a Dockerfile and no archive")]);
    }
    if text.is_empty() {
        return Err(vec![Fault::new(0, "the Dockerfile cannot be empty")]);
    }
    let mut parser = Statements { only_faults: true, ..Statements::new(text) };
    let mut is_empty = true;
    while let Some(line) = parser.logical_line() {
        is_empty = false;
        // Else no fault is left to find: no here-document is opened, and few flags fit.
        let sign = parser.sign(&line);
        if sign.is_some() || line.text.len() > flags::MAX_FLAGS {
            parser.parts(&line, sign);
        }
        if let Cow::Owned(text) = line.text {
            parser.spare_text = text.into_bytes();
        }
    }
    if is_empty && parser.faults.is_empty() {
        parser.faults.push(Fault::new(0, "file with no instructions"));
    }
    if !parser.faults.is_empty() {
        return Err(parser.faults);
    }
    Ok(Document { directives: parser.top.directives, text })
}

/// Gives the statements of a text one by one, and gathers what is wrong.
#[derive(Default)]
pub struct Statements<'a> {
    rest: &'a [u8],
    /// The whole text if it is UTF-8: its lines need no look of their own then.
    valid: Option<&'a str>,
    /// Some line holds a NUL.
    has_nul: bool,
    /// Some line holds a `<`.
    has_sign: bool,
    /// Nobody asks for the text of a statement that can have no fault.
    only_faults: bool,
    /// Memory for the next line that is continued.
    spare_text: Vec<u8>,
    /// The number of the line that was read last.
    line: usize,
    top: directives::Reader,
    /// What the lines of comments above begin with, if there are any.
    comments: Option<&'a [u8]>,
    faults: Vec<Fault>,
}

/// A statement that is not taken apart yet.
struct LogicalLine<'a> {
    /// All that was continued on one line, trimmed.
    text: Cow<'a, str>,
    /// The number of its first line.
    first: usize,
    comments: &'a [u8],
    empty_continuation: Option<usize>,
}

/// What a statement is made of.
struct Parts<'a> {
    below: &'a str,
    keyword_end: usize,
    rest_start: usize,
}

/// The same place in the text again. What the reader has for itself stays behind, so it is small.
impl Clone for Statements<'_> {
    fn clone(&self) -> Self {
        Statements {
            rest: self.rest,
            valid: self.valid,
            has_nul: self.has_nul,
            has_sign: self.has_sign,
            line: self.line,
            top: self.top.passed(),
            comments: self.comments,
            ..Statements::default()
        }
    }
}

impl std::fmt::Debug for Statements<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "statements behind line {}", self.line)
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        loop {
            let line = self.logical_line()?;
            let sign = self.sign(&line);
            let Some(Parts { below, keyword_end, rest_start }) = self.parts(&line, sign) else {
                continue;
            };
            return Some(Statement {
                original: line.text,
                below,
                line: line.first,
                last_line: self.line,
                empty_continuation: line.empty_continuation,
                comments: line.comments,
                keyword_end,
                rest_start,
            });
        }
    }
}

impl<'a> Statements<'a> {
    pub(super) fn new(text: &'a [u8]) -> Statements<'a> {
        let rest = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let valid = from_utf8(rest).ok();
        let (has_nul, has_sign) = (rest.contains(&0), rest.contains(&b'<'));
        Statements { rest, valid, has_nul, has_sign, ..Statements::default() }
    }

    /// The next line with its end.
    #[inline(always)]
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_at_checked(scan::line_length(self.rest))?;
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// The next line that is a statement, with all that continue it.
    fn logical_line(&mut self) -> Option<LogicalLine<'a>> {
        while self.faults.len() < MAX_FAULTS {
            let from = self.rest;
            if let ([b'\n', after @ ..], true) = (from, self.top.done) {
                // What stands apart says nothing about the statement below.
                (self.rest, self.comments) = (after, None);
                self.line += 1;
                continue;
            }
            let raw = self.next_line()?;
            if self.line == 1 && raw.starts_with(b"#!") {
                continue;
            }
            if let Some(line) = self.line_or_comment(raw, from) {
                return Some(line);
            }
        }
        None
    }

    /// What a line begins; nothing if it is a comment, empty or wrong. `from` is the text from this
    /// line on.
    fn line_or_comment(&mut self, raw: &'a [u8], from: &'a [u8]) -> Option<LogicalLine<'a>> {
        let first = self.line;
        let written = scan::start(self.text(raw, from, first)?);
        if !self.top.done {
            match self.top.offer(written) {
                Ok(true) => return None,
                Ok(false) => {}
                Err(problem) => {
                    self.faults.push(Fault::new(first, problem));
                    return None;
                }
            }
        }
        match written.as_bytes() {
            [b'#', ..] => {
                match written.get(1..).is_none_or(|comment| scan::start(comment).is_empty()) {
                    true => self.comments = None,
                    false => drop(self.comments.get_or_insert(from)),
                }
                return None;
            }
            [] => {
                self.comments = None;
                return None;
            }
            _ => {}
        }
        let above = self
            .comments
            .take()
            .and_then(|above| above.get(..above.len().saturating_sub(from.len())));
        let (text, empty_continuation) = self.joined(written)?;
        if self.has_nul && text.contains('\0') {
            self.faults.push(
                Fault::new(first, "the line holds a NUL character")
                    .hint("save the file as UTF-8 text"),
            );
        }
        Some(LogicalLine { text, first, comments: above.unwrap_or_default(), empty_continuation })
    }

    /// Where the first `<` of a line stands, without which it opens no here-document.
    #[inline(always)]
    fn sign(&self, line: &LogicalLine<'_>) -> Option<usize> {
        if !self.has_sign {
            return None;
        }
        scan::position(line.text.as_bytes(), |byte| byte == b'<')
    }

    /// Takes a line apart, and reads its here-documents; nothing if it is wrong.
    fn parts(&mut self, line: &LogicalLine<'a>, sign: Option<usize>) -> Option<Parts<'a>> {
        let first = line.first;
        let (flags, keyword_end, rest_start) = split(&line.text);
        if flags > flags::MAX_FLAGS {
            let most = flags::MAX_FLAGS;
            self.faults.push(Fault::new(first, format!("more than {most} flags in a line")));
            return None;
        }
        let mut below = "";
        if let Some(sign) = sign
            && let only = heredoc::only(line.text.as_bytes(), sign)
            && (only.is_some() || heredoc::may_be_opened_by(&line.text, sign))
            && may_hold_heredocs(
                line.text.get(..keyword_end).unwrap_or_default(),
                line.text.get(rest_start..).unwrap_or_default(),
            )
        {
            let (from, mut count) = (self.rest, 0);
            match only {
                Some(name) => self.pass(name, false, first)?,
                None => heredoc::opened_by(&line.text, &mut |document| {
                    count += 1;
                    if count > heredoc::MAX_HEREDOCS {
                        let most = heredoc::MAX_HEREDOCS;
                        let problem = format!("more than {most} heredocs in a line");
                        self.faults.push(Fault::new(first, problem));
                        return None;
                    }
                    self.pass(document.name.as_bytes(), document.strip_tabs, first)
                })?,
            }
            below = self.text_of(from, from.len() - self.rest.len())?;
        }
        Some(Parts { below, keyword_end, rest_start })
    }

    /// The statement that begins with this line, with all lines that continue it, and its last line
    /// if it is continued over an empty one. Nothing if a line is no text.
    fn joined(&mut self, first_line: &'a str) -> Option<(Cow<'a, str>, Option<usize>)> {
        let escape = self.top.directives.escape;
        let Some(head) = continued(first_line.as_bytes(), escape) else {
            return Some((Cow::Borrowed(scan::end(first_line)), None));
        };
        if self.only_faults && self.passes(head, escape) {
            return Some((Cow::Borrowed(""), None));
        }
        let mut joined = std::mem::take(&mut self.spare_text);
        joined.clear();
        joined.reserve(head.len() + 2 * scan::line_length(self.rest));
        let first = self.line;
        let empty = self.pieces(head, escape, |piece| {
            scan::append(&mut joined, piece);
            true
        });
        // The pieces are cut at ASCII characters.
        let Ok(mut joined) = String::from_utf8(joined) else {
            self.faults.push(not_utf8(first));
            return None;
        };
        joined.truncate(scan::end(&joined).len());
        // Lines with nothing but the escape character may have come first.
        joined.drain(..joined.len() - scan::start(&joined).len());
        Some((Cow::Owned(joined), empty?.then_some(self.line)))
    }

    /// Gives what is continued on one line piece by piece, for as long as it is wanted; then whether
    /// it goes on over an empty line.
    #[inline(always)]
    fn pieces(
        &mut self,
        head: &'a [u8],
        escape: char,
        mut wanted: impl FnMut(&'a [u8]) -> bool,
    ) -> Option<bool> {
        let (mut piece, mut goes_on, mut empty) = (head, true, false);
        while wanted(piece) {
            if !goes_on {
                return Some(empty);
            }
            let line = loop {
                let Some(raw) = self.next_line() else { return Some(empty) };
                let line = scan::end_of(raw, scan::is_line_end);
                match scan::first(line) {
                    // A comment may be in any encoding.
                    Some(b'#') => {}
                    None => empty = true,
                    Some(_) => break line,
                }
            };
            let head = continued(line, escape);
            goes_on = head.is_some();
            piece = head.unwrap_or(line);
        }
        None
    }

    /// Passes a continued statement if it can have no fault: all is text, it opens no here-document,
    /// and few flags fit. Else stays where it is.
    fn passes(&mut self, head: &'a [u8], escape: char) -> bool {
        if self.valid.is_none() || self.has_nul {
            return false;
        }
        let (rest, line, has_sign) = (self.rest, self.line, self.has_sign);
        let mut length = 0;
        let passed = self.pieces(head, escape, |piece| {
            length += piece.len();
            length <= flags::MAX_FLAGS && !(has_sign && piece.contains(&b'<'))
        });
        if passed.is_none() {
            (self.rest, self.line) = (rest, line);
        }
        passed.is_some()
    }

    /// Passes the text of a here-document.
    #[inline(always)]
    fn pass(&mut self, name: &[u8], strip_tabs: bool, first: usize) -> Option<()> {
        let Some((_, length, lines)) = heredoc::measure(self.rest, name, strip_tabs) else {
            let name = String::from_utf8_lossy(name);
            self.rest = &[];
            self.faults.push(
                Fault::new(first, "unterminated heredoc")
                    .hint(format!("end it with a line that holds {name:?} alone")),
            );
            return None;
        };
        let (text, rest) = self.rest.split_at_checked(length)?;
        // Its comments are content too.
        if self.valid.is_none()
            && let Err(error) = from_utf8(text)
        {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            let above = before.iter().filter(|byte| **byte == b'\n').count();
            self.faults.push(not_utf8(self.line + 1 + above));
        }
        self.rest = rest;
        self.line += lines;
        Some(())
    }

    /// So many bytes at the beginning of the rest of the text, as text.
    #[inline(always)]
    fn text_of(&self, from: &'a [u8], length: usize) -> Option<&'a str> {
        match self.valid {
            Some(whole) => {
                let begin = whole.len() - from.len();
                whole.get(begin..begin + length)
            }
            None => from_utf8(from.get(..length)?).ok(),
        }
    }

    /// The line that `from` begins with, without its end; bytes that are no UTF-8 are a fault,
    /// unless they are a comment's.
    #[inline(always)]
    fn text(&mut self, raw: &'a [u8], from: &'a [u8], first: usize) -> Option<&'a str> {
        let text = self.text_of(from, scan::end_of(raw, scan::is_line_end).len());
        if text.is_none() && !is_comment(raw) && self.faults.len() < MAX_FAULTS {
            self.faults.push(not_utf8(first));
        }
        text
    }
}

fn not_utf8(line: usize) -> Fault {
    Fault::new(line, "the line is not valid UTF-8").hint("save the file as UTF-8 text")
}

fn is_comment(raw: &[u8]) -> bool {
    raw.trim_ascii_start().starts_with(b"#")
}

/// The line without its last escape character, when that continues it.
#[inline(always)]
fn continued(line: &[u8], escape: char) -> Option<&[u8]> {
    match scan::end_of(line, |byte| matches!(byte, b' ' | b'\t')) {
        [head @ .., last] if char::from(*last) == escape && head.last() != Some(last) => Some(head),
        _ => None,
    }
}

/// How many flags a statement on one line that is trimmed has; where its keyword ends, and where the
/// rest begins.
fn split(line: &str) -> (usize, usize, usize) {
    let keyword_end = scan::position(line.as_bytes(), scan::is_blank).unwrap_or(line.len());
    // Most have one blank there and no flag.
    if let Some([_, next @ b'!'..=b'~', ..]) = line.as_bytes().get(keyword_end..)
        && *next != b'-'
    {
        return (0, keyword_end, keyword_end + 1);
    }
    let (flags, rest) = flags::split(line.get(keyword_end..).unwrap_or_default(), None);
    (flags, keyword_end, line.len() - rest.len())
}

fn may_hold_heredocs(keyword: &str, rest: &str) -> bool {
    let is_taker = matches!(
        keyword.as_bytes(),
        [b'R' | b'r', b'U' | b'u', b'N' | b'n']
            | [b'A' | b'a', b'D' | b'd', b'D' | b'd']
            | [b'C' | b'c', b'O' | b'o', b'P' | b'p', b'Y' | b'y']
    );
    if is_taker {
        return rest.as_bytes().first() != Some(&b'[') || !json_form::is_array(rest);
    }
    let (_, end, start) = split(rest);
    let trigger = rest.get(..end).unwrap_or_default();
    keyword.eq_ignore_ascii_case("ONBUILD")
        && !trigger.eq_ignore_ascii_case("ONBUILD")
        && may_hold_heredocs(trigger, rest.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests;
