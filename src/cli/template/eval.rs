//! From nodes and a value to text. Values print as Go prints them.

use std::borrow::Cow;

use super::parse::fault;
use super::{Base, Node, Operand, Pipe, Stage};
use crate::error::{Error, Result};
use crate::image::json::Value;
use crate::sort::sort_by;

/// The functions, those of docker's templates package and Go's own that are in use.
pub const FUNCTIONS: &[&str] = &[
    "and", "eq", "index", "join", "json", "len", "lower", "ne", "not", "or", "print", "println",
    "split", "title", "upper",
];

const MAX_STEPS: usize = 1_000_000;
const MAX_OUTPUT: usize = 16 << 20;
const MAX_PRINT_DEPTH: usize = 80;

/// Renders for one value. For a header the value has the names of the columns: a field without
/// one is its own name, and functions that change text leave it.
pub fn render(nodes: &[Node], text: &str, value: &Value, is_header: bool) -> Result<String> {
    let mut machine = Machine {
        text,
        root: value,
        is_header,
        steps: 0,
        variables: Vec::new(),
        out: String::new(),
    };
    machine.nodes(nodes, &Cow::Borrowed(value))?;
    Ok(machine.out)
}

type Shared<'v> = Cow<'v, Value>;

struct Machine<'v> {
    text: &'v str,
    root: &'v Value,
    is_header: bool,
    steps: usize,
    variables: Vec<(&'v str, Shared<'v>)>,
    out: String,
}

impl<'v> Machine<'v> {
    fn nodes(&mut self, nodes: &'v [Node], dot: &Shared<'v>) -> Result<()> {
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
                return Err(Error::usage("template: too much output"));
            }
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Show(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    match value.as_ref() {
                        Value::Null => self.out.push_str(nothing(pipe)),
                        value => print(&mut self.out, value, 0),
                    }
                }
                Node::If { pipe, moves_dot, then, otherwise } => {
                    let value = self.pipe(pipe, dot)?;
                    match (is_true(&value), moves_dot) {
                        (true, true) => self.nodes(then, &value)?,
                        (true, false) => self.nodes(then, dot)?,
                        (false, _) => self.nodes(otherwise, dot)?,
                    }
                }
                Node::Range { .. } => self.range(node, dot)?,
            }
        }
        Ok(())
    }

    fn range(&mut self, node: &'v Node, dot: &Shared<'v>) -> Result<()> {
        let Node::Range { key, value, pipe, body, otherwise } = node else { return Ok(()) };
        let over = self.pipe(pipe, dot)?;
        let at = pipe.stages.first().map_or(0, |stage| stage.at);
        let rows: Vec<(Value, Shared<'v>)> = match over {
            Cow::Borrowed(Value::Array(values)) => numbered(values.iter().map(Cow::Borrowed)),
            Cow::Owned(Value::Array(values)) => numbered(values.into_iter().map(Cow::Owned)),
            Cow::Borrowed(Value::Object(fields)) => {
                let mut rows: Vec<_> = fields.iter().map(|(key, value)| (key, value)).collect();
                sort_by(&mut rows, &mut |(one, _), (other, _)| one.cmp(other));
                rows.into_iter()
                    .map(|(key, value)| (Value::string(key.as_str()), Cow::Borrowed(value)))
                    .collect()
            }
            Cow::Owned(Value::Object(mut fields)) => {
                sort_by(&mut fields, &mut |(one, _), (other, _)| one.cmp(other));
                fields
                    .into_iter()
                    .map(|(key, value)| (Value::String(key), Cow::Owned(value)))
                    .collect()
            }
            other if *other == Value::Null => Vec::new(),
            other => {
                let mut what = String::from("range can't iterate over ");
                print(&mut what, &other, 0);
                return Err(self.fault(at.saturating_sub("range ".len()), "range", &what));
            }
        };
        if rows.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let height = self.variables.len();
        for (name, element) in rows {
            if let Some(key) = key {
                self.variables.push((key, Cow::Owned(name)));
            }
            if let Some(value) = value {
                self.variables.push((value, element.clone()));
            }
            self.nodes(body, &element)?;
            self.variables.truncate(height);
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &'v Pipe, dot: &Shared<'v>) -> Result<Shared<'v>> {
        let mut value = None;
        for stage in &pipe.stages {
            value = Some(self.stage(stage, value, dot)?);
        }
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
    }

    fn stage(
        &mut self,
        stage: &'v Stage,
        piped: Option<Shared<'v>>,
        dot: &Shared<'v>,
    ) -> Result<Shared<'v>> {
        let mut arguments = Vec::with_capacity(stage.operands.len() + 1);
        for operand in &stage.operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let Some(name) = &stage.function else {
            return Ok(arguments.pop().unwrap_or(Cow::Owned(Value::Null)));
        };
        if self.is_header && !arguments.is_empty() && !matches!(name.as_str(), "print" | "println")
        {
            return Ok(arguments.swap_remove(0));
        }
        call(name, arguments).map_err(|what| self.fault(stage.at, name, &what))
    }

    fn operand(&mut self, operand: &'v Operand, dot: &Shared<'v>) -> Result<Shared<'v>> {
        let mut value: Shared<'v> = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Literal(value) => Cow::Borrowed(value),
            Base::Pipe(pipe) => self.pipe(pipe, dot)?,
            Base::Variable(name) if name.is_empty() => Cow::Borrowed(self.root),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = found else {
                    let what = format!("undefined variable \"${name}\"");
                    return Err(fault(self.text, operand.at, &what));
                };
                value.clone()
            }
        };
        for name in &operand.fields {
            let next = match value {
                Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
                Cow::Owned(ref value) => value.get(name).cloned().map(Cow::Owned),
            };
            value = match next {
                Some(next) => next,
                None if self.is_header => Cow::Owned(Value::String(name.to_ascii_uppercase())),
                None => return Err(self.missing(operand, name, &value)),
            };
        }
        Ok(value)
    }

    fn missing(&self, operand: &Operand, name: &str, value: &Value) -> Error {
        let what = match value {
            Value::Object(_) => format!("map has no entry for key {name:?}"),
            Value::Null => format!("nil pointer evaluating interface {{}}.{name}"),
            other => {
                let kind = match other {
                    Value::String(_) => "string",
                    Value::Number(_) => "number",
                    Value::Bool(_) => "bool",
                    _ => "[]interface {}",
                };
                format!("can't evaluate field {name} in type {kind}")
            }
        };
        let base = match &operand.base {
            Base::Variable(name) => format!("${name}"),
            Base::Pipe(_) => "(..)".to_owned(),
            _ => String::new(),
        };
        self.fault(operand.at, &format!("{base}.{}", operand.fields.join(".")), &what)
    }

    fn fault(&self, at: usize, node: &str, what: &str) -> Error {
        fault(self.text, at, &format!("executing \"\" at <{node}>: {what}"))
    }
}

fn numbered<'v>(values: impl Iterator<Item = Shared<'v>>) -> Vec<(Value, Shared<'v>)> {
    values.enumerate().map(|(at, value)| (Value::number(at as u64), value)).collect()
}

/// How Go prints a field that holds nothing: docker's fields have types.
fn nothing(pipe: &Pipe) -> &'static str {
    let [Stage { function: None, operands, .. }] = pipe.stages.as_slice() else {
        return "<no value>";
    };
    let name = operands.first().and_then(|operand| operand.fields.last());
    match name.map_or("", String::as_str) {
        "Labels" | "Volumes" | "ExposedPorts" => "map[]",
        "Cmd" | "Entrypoint" | "Env" | "OnBuild" | "Shell" => "[]",
        "Healthcheck" => "<nil>",
        _ => "<no value>",
    }
}

/// Go's truth: nothing, zero and empty are false.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(digits) => digits.chars().any(|c| ('1'..='9').contains(&c)),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn call<'v>(name: &str, arguments: Vec<Shared<'v>>) -> Result<Shared<'v>, String> {
    let count = arguments.len();
    let wanted = match name {
        "json" | "len" | "lower" | "upper" | "title" | "not" => 1..=1,
        "join" | "split" => 2..=2,
        "eq" | "ne" => 2..=usize::MAX,
        "index" | "and" | "or" => 1..=usize::MAX,
        _ => 0..=usize::MAX,
    };
    if !wanted.contains(&count) {
        let least = wanted.start();
        let at_least = if wanted.end() == least { "" } else { "at least " };
        return Err(format!("wrong number of args for {name}: want {at_least}{least} got {count}"));
    }
    let mut rest = arguments.into_iter();
    let Some(first) = rest.next() else {
        return Ok(Cow::Owned(Value::string(if name == "println" { "\n" } else { "" })));
    };
    let value = match name {
        "json" => Value::String(first.to_text()),
        "len" => Value::number(match first.as_ref() {
            Value::String(text) => text.len() as u64,
            Value::Array(values) => values.len() as u64,
            Value::Object(fields) => fields.len() as u64,
            Value::Null => 0,
            _ => return Err("error calling len: no length".to_owned()),
        }),
        "lower" => Value::String(shown(&first).to_ascii_lowercase()),
        "upper" => Value::String(shown(&first).to_ascii_uppercase()),
        "title" => Value::String(title(&shown(&first))),
        "join" | "split" => {
            let by = rest.next().map(|by| shown(&by)).unwrap_or_default();
            match (name, first.as_ref()) {
                ("join", Value::Array(values)) => {
                    Value::String(values.iter().map(shown).collect::<Vec<_>>().join(&by))
                }
                ("join", Value::Null) => Value::string(""),
                ("join", _) => return Err("error calling join: not a list".to_owned()),
                _ => Value::strings(shown(&first).split(by.as_str())),
            }
        }
        "not" => Value::Bool(!is_true(&first)),
        "and" | "or" => {
            let mut value = first;
            for next in rest {
                if is_true(&value) == (name == "or") {
                    break;
                }
                value = next;
            }
            return Ok(value);
        }
        "eq" => Value::Bool(rest.any(|other| other == first)),
        "ne" => Value::Bool(rest.all(|other| other != first)),
        "index" => return index(first, rest),
        _ => Value::String(print_all(first, rest, name == "println")),
    };
    Ok(Cow::Owned(value))
}

fn index<'v>(
    mut value: Shared<'v>,
    keys: impl Iterator<Item = Shared<'v>>,
) -> Result<Shared<'v>, String> {
    let pick = |value: &Value, key: &Value| -> Result<(), String> {
        match (value, key) {
            // Null is a map or a list of docker's that is empty.
            (Value::Object(_) | Value::Null, Value::String(_)) => Ok(()),
            (Value::Array(values), Value::Number(digits)) => match digits.parse::<usize>() {
                Ok(at) if at < values.len() => Ok(()),
                _ => Err(format!("error calling index: index out of range: {digits}")),
            },
            (Value::Null, Value::Number(at)) => {
                Err(format!("error calling index: index out of range: {at}"))
            }
            _ => Err("error calling index: can't index item".to_owned()),
        }
    };
    for key in keys {
        pick(&value, &key)?;
        let at = key.as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        // A key that a map lacks gives the zero value in Go, for labels an empty text.
        value = match value {
            Cow::Borrowed(Value::Array(values)) => values.get(at).map(Cow::Borrowed),
            Cow::Borrowed(map) => map.get(key.as_str().unwrap_or_default()).map(Cow::Borrowed),
            Cow::Owned(Value::Array(values)) => values.into_iter().nth(at).map(Cow::Owned),
            Cow::Owned(map) => map.get(key.as_str().unwrap_or_default()).cloned().map(Cow::Owned),
        }
        .unwrap_or_else(|| Cow::Owned(Value::string("")));
    }
    Ok(value)
}

/// Go's Sprint puts blanks between operands of which neither is a string; Sprintln always.
fn print_all<'v>(
    first: Shared<'v>,
    rest: impl Iterator<Item = Shared<'v>>,
    is_line: bool,
) -> String {
    let mut out = shown(&first);
    let mut before_is_text = first.as_str().is_some();
    for value in rest {
        let is_text = value.as_str().is_some();
        if is_line || (!before_is_text && !is_text) {
            out.push(' ');
        }
        print(&mut out, &value, 0);
        before_is_text = is_text;
    }
    if is_line {
        out.push('\n');
    }
    out
}

fn title(text: &str) -> String {
    let mut begins = true;
    text.chars()
        .map(|c| {
            let upper = std::mem::replace(&mut begins, c.is_whitespace());
            if upper { c.to_ascii_uppercase() } else { c }
        })
        .collect()
}

fn shown(value: &Value) -> String {
    let mut out = String::new();
    print(&mut out, value, 0);
    out
}

/// As Go's fmt prints it with %v.
fn print(out: &mut String, value: &Value, depth: usize) {
    if depth > MAX_PRINT_DEPTH || out.len() > MAX_OUTPUT {
        return out.push_str("...");
    }
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        Value::Number(text) | Value::String(text) => out.push_str(text),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                print(out, value, depth + 1);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sort_by(&mut sorted, &mut |(one, _), (other, _)| one.cmp(other));
            out.push_str("map[");
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                print(out, value, depth + 1);
            }
            out.push(']');
        }
    }
}
