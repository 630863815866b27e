//! From bytes to statements: byte order mark, comments, continued lines, here-documents.

use super::{
    Document, EmptyContinuation, Fault, Heredoc, MAX_BYTES, MAX_FAULTS, Statement, directives,
    flags, heredoc, json_form,
};

/// Reads a whole Dockerfile; all faults of form are gathered, at most ten.
pub fn parse(text: &[u8]) -> Result<Document, Vec<Fault>> {
    if text.len() > MAX_BYTES {
        let fault = Fault::new(0, "the Dockerfile is larger than 16 MiB");
        return Err(vec![fault.hint("check that it is a Dockerfile and no archive")]);
    }
    if text.is_empty() {
        return Err(vec![Fault::new(0, "the Dockerfile cannot be empty")]);
    }
    let rest = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    Parser { rest, ..Parser::default() }.document()
}

#[derive(Default)]
struct Parser<'a> {
    rest: &'a [u8],
    /// The number of the line that was read last.
    line: usize,
    top: directives::Reader,
    comments: Vec<String>,
    statements: Vec<Statement>,
    empty_continuations: Vec<EmptyContinuation>,
    faults: Vec<Fault>,
}

impl<'a> Parser<'a> {
    fn document(mut self) -> Result<Document, Vec<Fault>> {
        while self.faults.len() < MAX_FAULTS {
            let Some(raw) = self.next_line() else { break };
            if self.line == 1 && raw.starts_with(b"#!") {
                continue;
            }
            self.statement_or_comment(raw);
        }
        if self.statements.is_empty() && self.faults.is_empty() {
            self.faults.push(Fault::new(0, "file with no instructions"));
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        Ok(Document {
            directives: self.top.directives,
            statements: self.statements,
            empty_continuations: self.empty_continuations,
        })
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

    fn statement_or_comment(&mut self, raw: &'a [u8]) {
        let first = self.line;
        let Some(written) = self.text(raw, first) else { return };
        let written = without_end(written).trim_start();
        match self.top.offer(written) {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => {
                self.faults.push(Fault::new(first, problem));
                return;
            }
        }
        if let Some(comment) = written.strip_prefix('#') {
            let comment = comment.trim();
            if comment.is_empty() {
                self.comments.clear();
            } else {
                self.comments.push(comment.to_owned());
            }
            return;
        }
        if written.is_empty() {
            // What stands apart says nothing about the statement below.
            self.comments.clear();
            return;
        }
        let (joined, intact) = self.joined(written);
        let comments = std::mem::take(&mut self.comments);
        if !intact {
            return;
        }
        let mut statement = split_statement(&joined);
        statement.line = first;
        statement.comments = comments;
        if joined.contains('\0') {
            self.faults.push(
                Fault::new(first, "the line holds a NUL character")
                    .hint("save the file as UTF-8 text"),
            );
        }
        if may_open_heredocs(&statement) {
            for document in heredoc::opened_by(&joined) {
                match self.heredoc(document, first) {
                    Some(document) => statement.heredocs.push(document),
                    None => return,
                }
            }
        }
        statement.last_line = self.line;
        statement.original = joined.trim().to_owned();
        self.statements.push(statement);
    }

    /// The statement that begins with this line, with all lines that continue it.
    fn joined(&mut self, first_line: &str) -> (String, bool) {
        let escape = self.top.directives.escape;
        let Some(head) = continued(first_line, escape) else {
            return (first_line.to_owned(), true);
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
        if empty {
            let statement = joined.clone();
            self.empty_continuations.push(EmptyContinuation { line: self.line, statement });
        }
        (joined, intact)
    }

    fn heredoc(&mut self, mut document: Heredoc, first: usize) -> Option<Heredoc> {
        while let Some(raw) = self.next_line() {
            let Some(line) = self.text(raw, self.line) else {
                if is_comment(raw) {
                    self.faults.push(not_utf8(self.line));
                }
                continue;
            };
            let mut end = without_end(line);
            if document.strip_tabs {
                end = end.trim_start_matches('\t');
            }
            if end == document.name {
                return Some(document);
            }
            document.content.push_str(line);
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

/// Keyword, flags and the rest of a statement on one line.
pub(super) fn split_statement(line: &str) -> Statement {
    let line = line.trim();
    let blank = [' ', '\t', '\x0b', '\x0c', '\r'];
    let (keyword, rest) = line.split_once(blank).unwrap_or((line, ""));
    let (flags, rest) = flags::split(rest);
    Statement {
        keyword: keyword.to_ascii_uppercase(),
        keyword_written: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
        ..Statement::default()
    }
}

fn may_open_heredocs(statement: &Statement) -> bool {
    match statement.keyword.as_str() {
        "RUN" | "COPY" | "ADD" => {
            matches!(json_form::parse(&statement.rest), json_form::JsonForm::NotJson)
        }
        "ONBUILD" if statement.rest.contains("<<") => {
            let trigger = split_statement(&statement.rest);
            trigger.keyword != "ONBUILD" && may_open_heredocs(&trigger)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
