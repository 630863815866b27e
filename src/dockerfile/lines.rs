//! From bytes to statements: byte order mark, comments, continued lines, here-documents.

use std::borrow::Cow;

use super::{
    Document, Fault, Heredoc, MAX_BYTES, MAX_FAULTS, Statement, directives, flags, heredoc,
    json_form,
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
    let mut parser = Parser::new(text);
    let count = parser.by_ref().count();
    if count == 0 && parser.faults.is_empty() {
        parser.faults.push(Fault::new(0, "file with no instructions"));
    }
    if !parser.faults.is_empty() {
        return Err(parser.faults);
    }
    Ok(Document { directives: parser.top.directives, text })
}

/// Gives the statements of a text one by one, and gathers what is wrong.
#[derive(Default)]
pub(super) struct Parser<'a> {
    rest: &'a [u8],
    /// The number of the line that was read last.
    line: usize,
    top: directives::Reader,
    /// What the lines of comments above begin with, if there are any.
    comments: Option<&'a [u8]>,
    faults: Vec<Fault>,
}

impl<'a> Iterator for Parser<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        while self.faults.len() < MAX_FAULTS {
            let above = self.rest;
            let raw = self.next_line()?;
            if self.line == 1 && raw.starts_with(b"#!") {
                continue;
            }
            if let Some(statement) = self.statement_or_comment(raw, above) {
                return Some(statement);
            }
        }
        None
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8]) -> Parser<'a> {
        let rest = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        Parser { rest, ..Parser::default() }
    }

    /// The next line with its end.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end =
            self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |n| n + 1);
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// What a line begins; nothing if it is a comment, empty or wrong. `from` is the text from this
    /// line on.
    fn statement_or_comment(&mut self, raw: &'a [u8], from: &'a [u8]) -> Option<Statement<'a>> {
        let first = self.line;
        let written = without_end(self.text(raw, first)?).trim_start();
        match self.top.offer(written) {
            Ok(true) => return None,
            Ok(false) => {}
            Err(problem) => {
                self.faults.push(Fault::new(first, problem));
                return None;
            }
        }
        if let Some(comment) = written.strip_prefix('#') {
            match comment.trim().is_empty() {
                true => self.comments = None,
                false => drop(self.comments.get_or_insert(from)),
            }
            return None;
        }
        let above = self.comments.take();
        if written.is_empty() {
            // What stands apart says nothing about the statement below.
            return None;
        }
        let (joined, empty_continuation) = self.joined(written)?;
        if joined.contains('\0') {
            self.faults.push(
                Fault::new(first, "the line holds a NUL character")
                    .hint("save the file as UTF-8 text"),
            );
        }
        let mut statement = split_statement(trimmed(joined));
        if statement.flags.len() > flags::MAX_FLAGS {
            let most = flags::MAX_FLAGS;
            self.faults.push(Fault::new(first, format!("more than {most} flags in a line")));
            return None;
        }
        statement.line = first;
        statement.empty_continuation = empty_continuation;
        if let Some(above) = above {
            let length = above.len().saturating_sub(from.len());
            statement.comments = above.get(..length).unwrap_or_default();
        }
        if may_open_heredocs(&statement) {
            let opened = heredoc::opened_by(&statement.original);
            if opened.len() > heredoc::MAX_HEREDOCS {
                let most = heredoc::MAX_HEREDOCS;
                self.faults.push(Fault::new(first, format!("more than {most} heredocs in a line")));
                return None;
            }
            for document in opened {
                statement.heredocs.push(self.heredoc(document, first)?);
            }
        }
        statement.last_line = self.line;
        Some(statement)
    }

    /// The statement that begins with this line, with all lines that continue it, and its last line
    /// if it is continued over an empty one. Nothing if a line is no text.
    fn joined(&mut self, first_line: &'a str) -> Option<(Cow<'a, str>, Option<usize>)> {
        let escape = self.top.directives.escape;
        let Some(head) = continued(first_line, escape) else {
            return Some((Cow::Borrowed(first_line), None));
        };
        let mut joined = head.to_owned();
        let first = self.line;
        let (mut empty, mut intact) = (false, true);
        while let Some(raw) = self.next_line() {
            let Some(line) = self.text(raw, first) else {
                // A comment may be in any encoding.
                intact = intact && is_comment(raw);
                continue;
            };
            let line = without_end(line);
            let trimmed = line.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                empty = true;
                continue;
            }
            match continued(line, escape) {
                Some(head) => joined.push_str(head),
                None => {
                    joined.push_str(line);
                    break;
                }
            }
        }
        intact.then_some((Cow::Owned(joined), empty.then_some(self.line)))
    }

    fn heredoc(&mut self, mut document: Heredoc, first: usize) -> Option<Heredoc> {
        let content = self.rest;
        let mut length = 0;
        while let Some(raw) = self.next_line() {
            if let Some(line) = self.text(raw, self.line) {
                let mut end = without_end(line);
                if document.strip_tabs {
                    end = end.trim_start_matches('\t');
                }
                if end == document.name {
                    let content = content.get(..length).unwrap_or_default();
                    document.content = String::from_utf8_lossy(content).into_owned();
                    return Some(document);
                }
            } else if is_comment(raw) {
                self.faults.push(not_utf8(self.line));
            }
            length += raw.len();
        }
        let name = &document.name;
        self.faults.push(
            Fault::new(first, "unterminated heredoc")
                .hint(format!("end it with a line that holds {name:?} alone")),
        );
        None
    }

    /// The line as text; bytes that are no UTF-8 are a fault, unless they are a comment's.
    fn text(&mut self, raw: &'a [u8], first: usize) -> Option<&'a str> {
        match std::str::from_utf8(raw) {
            Ok(text) => Some(text),
            Err(_) => {
                if !is_comment(raw) && self.faults.len() < MAX_FAULTS {
                    self.faults.push(not_utf8(first));
                }
                None
            }
        }
    }
}

fn not_utf8(line: usize) -> Fault {
    Fault::new(line, "the line is not valid UTF-8").hint("save the file as UTF-8 text")
}

fn is_comment(raw: &[u8]) -> bool {
    raw.trim_ascii_start().starts_with(b"#")
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without its last escape character, when that continues it.
fn continued(line: &str, escape: char) -> Option<&str> {
    let head = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!head.ends_with(escape)).then_some(head)
}

fn trimmed(line: Cow<'_, str>) -> Cow<'_, str> {
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(line.trim()),
        Cow::Owned(mut line) => {
            line.truncate(line.trim_end().len());
            line.drain(..line.len() - line.trim_start().len());
            Cow::Owned(line)
        }
    }
}

/// Keyword, flags and the rest of a statement on one line that is trimmed.
fn split_statement(line: Cow<'_, str>) -> Statement<'_> {
    let blank = [' ', '\t', '\x0b', '\x0c', '\r'];
    let (keyword, rest) = line.split_once(blank).unwrap_or((&line, ""));
    let keyword_end = keyword.len();
    let (flags, rest) = flags::split(rest);
    let rest_start = line.len() - rest.trim_start().len();
    Statement { original: line, flags, keyword_end, rest_start, ..Statement::default() }
}

fn may_open_heredocs(statement: &Statement<'_>) -> bool {
    let rest = statement.rest();
    match statement.keyword().as_ref() {
        "RUN" | "COPY" | "ADD" => {
            rest.contains('<') && matches!(json_form::parse(rest), json_form::JsonForm::NotJson)
        }
        "ONBUILD" if rest.contains('<') => {
            let trigger = split_statement(Cow::Borrowed(rest));
            trigger.keyword() != "ONBUILD" && may_open_heredocs(&trigger)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
