//! The text of a Dockerfile: lines, directives, here-documents, flags, words, JSON form and
//! variable expansion, as BuildKit's frontend reads them.
//!
//! Nothing here knows what an instruction means; only which ones may carry here-documents.
//! Source: the parser and shell packages of BuildKit's `frontend/dockerfile`, and its tests.

mod directives;
mod expand;
mod flags;
mod heredoc;
pub mod json_form;
mod lines;
mod names;
mod scan;
mod shell_pattern;
mod words;

pub use directives::{Check, Directives};
pub use expand::Expander;
pub use flags::Flag;
pub use heredoc::{Heredoc, opens as opens_heredoc};
pub use lines::{Statements, parse};
pub use names::nearest;
pub use words::{Form, Pair, blank_separated, name_values, split as split_words};

use std::borrow::Cow;

use crate::error::{Error, Place};

/// The largest text that is read; a longer one is no Dockerfile.
pub const MAX_BYTES: usize = 16 << 20;

/// How many faults are gathered before the rest is left out.
pub const MAX_FAULTS: usize = 10;

/// A Dockerfile whose form is right. It holds the text and nothing made of it: statements are cut
/// out when they are asked for, so that memory does not grow with their number.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// What the comments on top say to the parser.
    pub directives: Directives,
    text: &'a [u8],
}

impl<'a> Document<'a> {
    /// The statements in order.
    pub fn statements(&self) -> Statements<'a> {
        Statements::new(self.text)
    }
}

/// One instruction with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Statement<'a> {
    /// The whole statement on one line as written, here-documents left out.
    pub original: Cow<'a, str>,
    /// First line, from 1.
    pub line: usize,
    /// Last line, that of the last here-document's end included.
    pub last_line: usize,
    /// It is continued over an empty line: its last line without here-documents, where BuildKit
    /// reports that.
    pub empty_continuation: Option<usize>,
    /// The lines of its here-documents.
    below: &'a str,
    /// The lines of comments right above.
    comments: &'a [u8],
    /// Where in `original` the instruction's name ends and where the arguments begin.
    keyword_end: usize,
    rest_start: usize,
}

impl<'a> Statement<'a> {
    /// The instruction's name in upper case.
    pub fn keyword(&self) -> Cow<'_, str> {
        let written = self.keyword_written();
        match written.bytes().any(|byte| byte.is_ascii_lowercase()) {
            true => Cow::Owned(written.to_ascii_uppercase()),
            false => Cow::Borrowed(written),
        }
    }

    /// The same as it was written.
    pub fn keyword_written(&self) -> &str {
        self.original.get(..self.keyword_end).unwrap_or_default()
    }

    /// The flags in front of the arguments.
    pub fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let after = self.original.get(self.keyword_end..).unwrap_or_default();
        flags::split(after, Some(&mut flags));
        flags
    }

    /// The here-documents that the line opens, in order.
    pub fn heredocs(&self) -> Vec<Heredoc<'_>> {
        let (mut heredocs, mut below) = (Vec::new(), self.below);
        // One has at least the line that ends it.
        if !below.is_empty() {
            heredoc::opened_by(&self.original, &mut |mut document| {
                let (content, length, _) = document.measure(below.as_bytes())?;
                document.content = Cow::Borrowed(below.get(..content)?);
                below = below.get(length..)?;
                heredocs.push(document);
                Some(())
            });
        }
        heredocs
    }

    /// What follows the flags, on one line and trimmed.
    pub fn rest(&self) -> &str {
        self.original.get(self.rest_start..).unwrap_or_default()
    }

    /// The comment lines right above, without their signs. One that is no UTF-8 is left out.
    pub fn comments(&self) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
        let lines = self.comments.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| std::str::from_utf8(line).ok()?.trim().strip_prefix('#'))
            .map(str::trim)
    }
}

/// Something wrong with the form of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first line of the statement, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault at a line.
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        Fault { line, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as an error that names the file and shows the line.
    pub fn into_error(self, file: &str, text: &[u8]) -> Error {
        let mut error = Error::input(self.message);
        if let Some(hint) = self.hint {
            error = error.hint(hint);
        }
        if self.line == 0 {
            return error.during(file);
        }
        let shown = line_text(text, self.line);
        error.at(Place { file: file.to_owned(), line: self.line, text: shown })
    }
}

/// The text of a line, counted from 1, for showing.
pub fn line_text(text: &[u8], line: usize) -> String {
    let raw = text.split(|byte| *byte == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let shown = raw.get(..raw.len().min(400)).unwrap_or_default();
    String::from_utf8_lossy(shown).trim_end().to_owned()
}
