//! From a template's text to nodes. Positions are kept as bytes of the text, for the messages.

use super::{Base, Node, Operand, Pipe, Stage};
use crate::error::{Error, Result};
use crate::image::json::Value;

const MAX_TEXT: usize = 64 << 10;
const MAX_DEPTH: usize = 32;
const MAX_STAGES: usize = 32;

/// Go's words for a place in a template, and what is wrong there.
pub fn fault(text: &str, at: usize, what: &str) -> Error {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().len();
    Error::usage(format!("template: :{line}:{column}: {what}"))
}

/// Reads a whole template.
pub fn nodes(text: &str) -> Result<Vec<Node>> {
    if text.len() > MAX_TEXT {
        return Err(Error::usage(format!("template of more than {MAX_TEXT} bytes")));
    }
    let mut reader = Reader { text, at: 0, trims: false };
    let (nodes, end) = reader.block(0)?;
    match end {
        End::Text => Ok(nodes),
        End::Close(at) => Err(fault(text, at, "unexpected {{end}}")),
        End::Else(at, _) => Err(fault(text, at, "unexpected {{else}}")),
    }
}

/// What ended a block.
enum End {
    Text,
    Close(usize),
    /// With the words that follow: `{{else if .X}}`.
    Else(usize, Vec<Token>),
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    Field(String),
    Dot,
    Variable(String),
    Literal(Value),
    /// `(`, `)`, `|`, `,`, `=` or `:` (for `:=`).
    Mark(char),
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    at: usize,
    /// No blank before it: `.A.B` is one operand, `.A .B` are two.
    is_glued: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The action before ended in `-}}`.
    trims: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, End)> {
        if depth > MAX_DEPTH {
            return Err(fault(self.text, self.at, "nested too deeply"));
        }
        let mut nodes = Vec::new();
        loop {
            let rest = self.rest();
            let (plain, has_action) = match rest.find("{{") {
                Some(at) => (rest.get(..at).unwrap_or_default(), true),
                None => (rest, false),
            };
            self.at += plain.len();
            let mut plain = if self.trims { plain.trim_start() } else { plain };
            self.trims = false;
            let begin = self.at;
            if has_action && begins_trim(self.rest()) {
                plain = plain.trim_end();
            }
            if !plain.is_empty() {
                nodes.push(Node::Text(plain.replace("\\t", "\t").replace("\\n", "\n")));
            }
            if !has_action {
                return Ok((nodes, End::Text));
            }
            let Some(tokens) = self.action()? else { continue };
            if let Some(end) = self.node(tokens, begin + 2, depth, &mut nodes)? {
                return Ok((nodes, end));
            }
        }
    }

    /// Reads `{{ .. }}`; nothing for a comment.
    fn action(&mut self) -> Result<Option<Vec<Token>>> {
        let begin = self.at;
        self.at += if begins_trim(self.rest()) { 3 } else { 2 };
        if let Some(comment) = self.rest().trim_start().strip_prefix("/*") {
            let Some((_, after)) = comment.split_once("*/") else {
                return Err(fault(self.text, begin, "unclosed comment"));
            };
            self.at = self.text.len() - after.len();
            if !self.closes() {
                return Err(fault(self.text, begin, "comment ends before closing delimiter"));
            }
            return Ok(None);
        }
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            let blank = self.rest().len() - self.rest().trim_start().len();
            // `-}}` takes a blank before it; without one the dash is part of a word.
            if self.closes() {
                return Ok(Some(tokens));
            }
            self.at += blank;
            if self.rest().is_empty() {
                return Err(fault(self.text, begin, "unclosed action"));
            }
            let at = self.at;
            let kind = self.token()?;
            tokens.push(Token { kind, at, is_glued: blank == 0 });
        }
    }

    fn closes(&mut self) -> bool {
        let rest = self.rest();
        let inner = rest.trim_start();
        let after = match inner.strip_prefix("-}}") {
            Some(after)
                if inner.len() < rest.len()
                    || self.text.get(..self.at).is_some_and(|before| before.ends_with("*/")) =>
            {
                self.trims = true;
                Some(after)
            }
            _ => inner.strip_prefix("}}"),
        };
        if let Some(after) = after {
            self.at = self.text.len() - after.len();
        }
        after.is_some()
    }

    fn token(&mut self) -> Result<Kind> {
        let rest = self.rest();
        let begin = self.at;
        let Some(first) = rest.chars().next() else {
            return Err(fault(self.text, begin, "unexpected end"));
        };
        let name = |text: &'a str| -> &'a str {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            text.get(..end).unwrap_or_default()
        };
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let (kind, length) = match first {
            '(' | ')' | '|' | ',' | '=' => (Kind::Mark(first), 1),
            ':' if behind.starts_with('=') => (Kind::Mark(':'), 2),
            '.' => match name(behind) {
                "" => (Kind::Dot, 1),
                field => (Kind::Field(field.to_owned()), 1 + field.len()),
            },
            '$' => (Kind::Variable(name(behind).to_owned()), 1 + name(behind).len()),
            '"' | '`' => return self.quoted(first),
            '-' | '0'..='9' => {
                let is_more = |c: char| !c.is_ascii_digit() && c != '.';
                let length = 1 + behind.find(is_more).unwrap_or(behind.len());
                let digits = rest.get(..length).unwrap_or_default();
                if Value::parse(digits.as_bytes()).is_err() {
                    return Err(fault(self.text, begin, &format!("bad number {digits:?}")));
                }
                (Kind::Literal(Value::Number(digits.to_owned())), length)
            }
            c if c.is_alphabetic() || c == '_' => {
                let word = name(rest);
                let kind = match word {
                    "true" | "false" => Kind::Literal(Value::Bool(word == "true")),
                    "nil" => Kind::Literal(Value::Null),
                    _ => Kind::Word(word.to_owned()),
                };
                (kind, word.len())
            }
            c => {
                let what = format!("unexpected {c:?} in command");
                return Err(fault(self.text, begin, &what));
            }
        };
        self.at += length;
        Ok(kind)
    }

    fn quoted(&mut self, quote: char) -> Result<Kind> {
        let begin = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at = begin + at + 1;
                    return Ok(Kind::Literal(Value::String(out)));
                }
                '\\' if quote == '"' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                    _ => return Err(fault(self.text, begin, "unknown escape in a string")),
                },
                c => out.push(c),
            }
        }
        Err(fault(self.text, begin, "unterminated quoted string"))
    }

    /// Makes a node of an action; or says how the block ended.
    fn node(
        &mut self,
        tokens: Vec<Token>,
        begin: usize,
        depth: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<Option<End>> {
        let at = tokens.first().map_or(begin, |token| token.at);
        let word = match tokens.first().map(|token| &token.kind) {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "end" => return Ok(Some(End::Close(at))),
            "else" => return Ok(Some(End::Else(at, tokens.into_iter().skip(1).collect()))),
            "if" | "with" => nodes.push(self.condition(&word, tokens, at, depth)?),
            "range" => nodes.push(self.range(tokens, at, depth)?),
            "define" | "template" | "block" | "break" | "continue" => {
                let what = format!("template action {word:?} is not supported");
                return Err(fault(self.text, at, &what));
            }
            _ => nodes.push(Node::Show(self.pipe(&tokens, at)?)),
        }
        Ok(None)
    }

    fn condition(
        &mut self,
        word: &str,
        tokens: Vec<Token>,
        at: usize,
        depth: usize,
    ) -> Result<Node> {
        let pipe = self.pipe(tokens.get(1..).unwrap_or_default(), at)?;
        let (then, end) = self.block(depth + 1)?;
        let otherwise = self.otherwise(end, depth)?;
        Ok(Node::If { pipe, moves_dot: word == "with", then, otherwise })
    }

    /// What stands between `{{else}}` and `{{end}}`, once the first block has ended.
    fn otherwise(&mut self, end: End, depth: usize) -> Result<Vec<Node>> {
        match end {
            End::Close(_) => Ok(Vec::new()),
            End::Text => Err(fault(self.text, self.at, "unexpected EOF")),
            End::Else(_, tokens) if tokens.is_empty() => match self.block(depth + 1)? {
                (nodes, End::Close(_)) => Ok(nodes),
                (_, End::Text) => Err(fault(self.text, self.at, "unexpected EOF")),
                (_, End::Else(at, _)) => Err(fault(self.text, at, "unexpected {{else}}")),
            },
            // `{{else if .X}}` is an `if` inside the `else` that shares its end.
            End::Else(at, tokens) => match tokens.first().map(|token| token.kind.clone()) {
                Some(Kind::Word(word)) if (word == "if" || word == "with") && depth < MAX_DEPTH => {
                    Ok(vec![self.condition(&word, tokens, at, depth + 1)?])
                }
                _ => Err(fault(self.text, at, "unexpected words after else")),
            },
        }
    }

    fn range(&mut self, tokens: Vec<Token>, at: usize, depth: usize) -> Result<Node> {
        let kinds: Vec<&Kind> = tokens.iter().skip(1).take(4).map(|token| &token.kind).collect();
        let (key, value, skip) = match kinds.as_slice() {
            [Kind::Variable(k), Kind::Mark(','), Kind::Variable(v), Kind::Mark(':')] => {
                (Some(k.clone()), Some(v.clone()), 5)
            }
            [Kind::Variable(v), Kind::Mark(':'), ..] => (None, Some(v.clone()), 3),
            _ => (None, None, 1),
        };
        let pipe = self.pipe(tokens.get(skip..).unwrap_or_default(), at)?;
        let (body, end) = self.block(depth + 1)?;
        let otherwise = self.otherwise(end, depth)?;
        Ok(Node::Range { key, value, pipe, body, otherwise })
    }

    fn pipe(&self, tokens: &[Token], at: usize) -> Result<Pipe> {
        let mut words = Words { text: self.text, tokens, next: 0, end: at };
        let pipe = words.pipe(0)?;
        match words.peek() {
            None => Ok(pipe),
            Some(token) => Err(words.unexpected(token)),
        }
    }
}

/// Go trims before `{{- ` only with the blank.
fn begins_trim(rest: &str) -> bool {
    rest.strip_prefix("{{-").is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n']))
}

/// The tokens of one action.
struct Words<'a> {
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
    end: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn unexpected(&self, token: &Token) -> Error {
        let what = match &token.kind {
            Kind::Mark(':' | '=') => {
                return fault(
                    self.text,
                    self.end,
                    "template variables outside range are not supported",
                );
            }
            Kind::Mark(mark) => format!("unexpected {mark:?}"),
            Kind::Word(word) => format!("unexpected {word:?}"),
            _ => "unexpected operand".to_owned(),
        };
        fault(self.text, token.at, &what)
    }

    fn pipe(&mut self, depth: usize) -> Result<Pipe> {
        if depth > MAX_DEPTH {
            return Err(fault(self.text, self.end, "nested too deeply"));
        }
        let mut stages = Vec::new();
        loop {
            let stage = self.stage(depth)?;
            if stage.function.is_none() && (!stages.is_empty() || stage.operands.len() > 1) {
                return Err(fault(self.text, stage.at, "can't give argument to non-function"));
            }
            stages.push(stage);
            if stages.len() > MAX_STAGES {
                return Err(fault(self.text, self.end, "pipe too long"));
            }
            match self.peek() {
                Some(Token { kind: Kind::Mark('|'), .. }) => self.next += 1,
                _ => return Ok(Pipe { stages }),
            }
        }
    }

    fn stage(&mut self, depth: usize) -> Result<Stage> {
        let at = self.peek().map_or(self.end, |token| token.at);
        let mut function = None;
        if let Some(Token { kind: Kind::Word(name), .. }) = self.peek() {
            if !super::eval::FUNCTIONS.contains(&name.as_str()) {
                let what = format!("template function {name:?} is not supported");
                return Err(fault(self.text, at, &what));
            }
            function = Some(name.clone());
            self.next += 1;
        }
        let mut operands = Vec::new();
        while let Some(operand) = self.operand(depth)? {
            operands.push(operand);
        }
        if function.is_none() && operands.is_empty() {
            return Err(match self.peek() {
                Some(token) => self.unexpected(token),
                None => fault(self.text, self.end, "missing value for command"),
            });
        }
        Ok(Stage { function, operands, at })
    }

    fn operand(&mut self, depth: usize) -> Result<Option<Operand>> {
        let Some(token) = self.peek() else { return Ok(None) };
        let mut fields: Vec<String> = Vec::new();
        let mut at = token.at;
        let base = match &token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            Kind::Variable(name) => Base::Variable(name.clone()),
            Kind::Literal(value) => Base::Literal(value.clone()),
            Kind::Mark('(') => {
                self.next += 1;
                let pipe = self.pipe(depth + 1)?;
                match self.peek() {
                    Some(Token { kind: Kind::Mark(')'), .. }) => Base::Pipe(pipe),
                    _ => return Err(fault(self.text, token.at, "unclosed left paren")),
                }
            }
            // A function as an operand: `{{and .X not}}` means nothing here.
            Kind::Word(_) => return Err(self.unexpected(token)),
            Kind::Mark(_) => return Ok(None),
        };
        self.next += 1;
        let mut is_first = true;
        while let Some(Token { kind: Kind::Field(name), at: field_at, is_glued: true }) =
            self.peek()
        {
            // As Go has it, a chain stands where its second link does.
            if std::mem::take(&mut is_first) {
                at = *field_at;
            }
            fields.push(name.clone());
            self.next += 1;
        }
        Ok(Some(Operand { base, fields, at }))
    }
}
