//! The part of Go's templates that docker's users write after `--format`.
//!
//! Fields, variables, `if`, `with`, `range`, pipes, and the functions of `eval::FUNCTIONS`;
//! everything else is refused by name. Templates and values may be hostile: nesting, steps and
//! output are bounded. Source: Go's text/template and docker/cli's templates package.

mod eval;
mod parse;

use std::io::{self, Write};

use super::table::Table;
use crate::error::Result;
use crate::image::json::Value;
use crate::sys::flow::Outflow;

/// A template that was understood.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    is_table: bool,
}

impl Template {
    /// Reads a template. The word `json` means `{{json .}}`; `table ` in front means columns.
    pub fn parse(text: &str) -> Result<Template> {
        let (text, is_table) = match text.strip_prefix("table") {
            Some("") => ("", true),
            Some(rest) if rest.starts_with([' ', '\t']) || rest.starts_with("\\t") => {
                (rest.trim_start(), true)
            }
            _ => (text, false),
        };
        let text = if text == "json" { "{{json .}}" } else { text };
        Ok(Template { text: text.to_owned(), nodes: parse::nodes(text)?, is_table })
    }

    /// Whether only the word `table` was given: the command's own table is meant.
    pub fn is_default_table(&self) -> bool {
        self.is_table && self.text.is_empty()
    }

    /// The text for one value.
    pub fn render(&self, value: &Value) -> Result<String> {
        eval::render(&self.nodes, &self.text, value, false)
    }

    /// Writes one line a value; for a table aligned and below a line of names. `names` has
    /// docker's name of a field where it is another than the field's in upper case.
    pub fn write(
        &self,
        values: &mut dyn Iterator<Item = Value>,
        names: &[(&str, &str)],
        out: &mut dyn Outflow,
    ) -> Result<()> {
        if !self.is_table {
            for value in values {
                line(&self.render(&value)?, out)?;
            }
            return Ok(());
        }
        let names = names.iter().map(|&(field, name)| (field.to_owned(), Value::string(name)));
        let header = eval::render(&self.nodes, &self.text, &Value::Object(names.collect()), true)?;
        let mut table = Table::without_header();
        table.row(header.split('\t'));
        for value in values {
            let text = self.render(&value)?;
            text.lines().for_each(|line| table.row(line.split('\t')));
        }
        Ok(table.write(out)?)
    }
}

fn line(text: &str, out: &mut dyn Outflow) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

#[derive(Debug)]
enum Node {
    Text(String),
    Show(Pipe),
    If {
        pipe: Pipe,
        /// `with`: the dot is the value inside.
        moves_dot: bool,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        key: Option<String>,
        value: Option<String>,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Calls whose value is handed to the next one as its last argument.
#[derive(Debug)]
struct Pipe {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    function: Option<String>,
    operands: Vec<Operand>,
    /// Where it stands in the template's text.
    at: usize,
}

#[derive(Debug)]
struct Operand {
    base: Base,
    fields: Vec<String>,
    at: usize,
}

#[derive(Debug)]
enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Pipe(Pipe),
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"Id":"abc","N":3,"Z":0,"F":1.5,"B":true,"Nil":null,"L":["a","b"],"E":[],
        "M":{"z":"1","a":2},"Config":{"Cmd":["sh","-c"],"Labels":{"x.y":"v"}},
        "Ports":{"80/tcp":[{"HostPort":"8080"}],"1/tcp":[]}}"#;

    fn render(template: &str) -> Result<String> {
        Template::parse(template)?.render(&Value::parse(DATA.as_bytes()).unwrap())
    }

    #[test]
    fn templates_mean_what_go_means() {
        for (template, text) in [
            ("plain", "plain"),
            ("{{.Id}}", "abc"),
            (r"a\t{{.Id}}\n", "a\tabc\n"),
            (
                "{{.Config.Cmd}} {{.M}} {{.B}} {{.N}} {{.F}} {{.Nil}}",
                "[sh -c] map[a:2 z:1] true 3 1.5 <no value>",
            ),
            ("{{json .Config}}", r#"{"Cmd":["sh","-c"],"Labels":{"x.y":"v"}}"#),
            ("{{.L | json}}{{ json .Nil }}", r#"["a","b"]null"#),
            (r#"{{join .Config.Cmd " "}} {{.L | len}} {{len .Id}}"#, "sh -c 2 3"),
            (
                r#"{{index .Config.Labels "x.y"}} {{index .L 1}} {{index .Ports "80/tcp" 0}}"#,
                "v b map[HostPort:8080]",
            ),
            (r#"<{{index .Config.Labels "none"}}{{index .Nil "none"}}>{{len .Nil}}"#, "<>0"),
            (r#"{{(index .Ports "80/tcp" 0).HostPort}}"#, "8080"),
            ("{{range .L}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $v := .L}}{{$i}}={{$v}} {{end}}", "0=a 1=b "),
            ("{{range $v := .L}}{{$v}}{{$.Id}}{{end}}", "aabcbabc"),
            ("{{range $k, $v := .M}}{{$k}}:{{$v}};{{end}}", "a:2;z:1;"),
            (
                "{{range $p, $c := .Ports}}{{$p}}{{range $c}}->{{.HostPort}}{{end}} {{end}}",
                "1/tcp 80/tcp->8080 ",
            ),
            ("{{range .E}}x{{else}}none{{end}}{{range .Nil}}x{{end}}", "none"),
            ("{{if .B}}y{{else}}n{{end}}{{if .Z}}y{{else if .E}}e{{else}}n{{end}}", "yn"),
            ("{{with .Config}}{{.Cmd}}{{$.N}}{{end}}", "[sh -c]3"),
            ("{{upper .Id}}{{\"X\" | lower}}{{title .Id}}", "ABCxAbc"),
            ("{{println .Id .N}}{{print .N .N .Id}}", "abc 3\n3 3abc"),
            (
                "{{if eq .Id \"abc\" }}1{{end}}{{if ne .N 3}}2{{end}}{{if and .B (not .Z)}}3{{end}}{{or .Z .Id}}",
                "13abc",
            ),
            ("a {{- .N -}} b{{/* no */}}", "a3b"),
            ("{{`raw`}}{{\"q\\\"\\n\"}}{{true}}{{5}}", "rawq\"\ntrue5"),
            ("{{range (split \"a,b\" \",\")}}{{.}}.{{end}}", "a.b."),
            ("json", ""),
        ] {
            if template == "json" {
                assert!(render(template).unwrap().starts_with(r#"{"Id":"abc","#));
            } else {
                assert_eq!(render(template).unwrap(), text, "{template}");
            }
        }
    }

    #[test]
    fn errors_are_gos() {
        for (template, text) in [
            (
                "{{.Foo}}",
                "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "{{.Config.Foo.Bar}}",
                "template: :1:9: executing \"\" at <.Config.Foo.Bar>: map has no entry for key \"Foo\"",
            ),
            (
                "a\n{{ .Foo }}",
                "template: :2:3: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "{{.Id.X}}",
                "template: :1:5: executing \"\" at <.Id.X>: can't evaluate field X in type string",
            ),
            (
                "{{.Nil.X}}",
                "template: :1:6: executing \"\" at <.Nil.X>: nil pointer evaluating interface {}.X",
            ),
            ("{{foo .Id}}", "template: :1:2: template function \"foo\" is not supported"),
            (
                "{{define \"x\"}}{{end}}",
                "template: :1:2: template action \"define\" is not supported",
            ),
            ("{{$x := .Id}}", "template: :1:2: template variables outside range are not supported"),
            ("{{$x}}", "template: :1:2: undefined variable \"$x\""),
            ("{{.Id", "template: :1:0: unclosed action"),
            ("{{\"x}}", "template: :1:2: unterminated quoted string"),
            ("{{if .B}}x", "template: :1:10: unexpected EOF"),
            ("{{end}}", "template: :1:2: unexpected {{end}}"),
            ("{{}}", "template: :1:2: missing value for command"),
            (
                "{{index .L 7}}",
                "template: :1:2: executing \"\" at <index>: error calling index: index out of range: 7",
            ),
            (
                "{{json}}",
                "template: :1:2: executing \"\" at <json>: wrong number of args for json: want 1 got 0",
            ),
            (
                "{{range .Id}}{{end}}",
                "template: :1:2: executing \"\" at <range>: range can't iterate over abc",
            ),
            ("{{.Id | .N}}", "template: :1:8: can't give argument to non-function"),
        ] {
            assert_eq!(render(template).unwrap_err().text(), text, "{template}");
        }
    }

    #[test]
    fn hostile_templates_end() {
        for template in [
            "{{if .B}}".repeat(100_000),
            "{{if .B}}".repeat(5_000) + &"{{end}}".repeat(5_000),
            format!("{{{{{}1{}}}}}", "(".repeat(20_000), ")".repeat(20_000)),
            format!("{{{{.Id{}}}}}", "|json".repeat(10_000)),
            "{{range $.L}}".repeat(30) + "{{end}}".repeat(30).as_str(),
            "{{if .B}}{{else ".repeat(3_000),
        ] {
            assert!(render(&template).is_err(), "{}", template.get(..20).unwrap());
        }
        let mut deep = Value::Null;
        for _ in 0..2_000 {
            deep = Value::Array(vec![deep]);
        }
        assert!(Template::parse("{{.}}").unwrap().render(&deep).unwrap().contains("..."));
    }

    #[test]
    fn a_table_has_dockers_names_and_columns() {
        let template =
            Template::parse(r"table {{.ID}}\t{{.Repository | upper}}\t{{.Size}}").unwrap();
        let row = r#"{"ID":"3fed6d4a8a3c","Repository":"alpine","Size":"8.72MB"}"#;
        let mut rows = [Value::parse(row.as_bytes()).unwrap()].into_iter();
        let mut out = Vec::new();
        template.write(&mut rows, &[("ID", "IMAGE ID")], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "IMAGE ID       REPOSITORY   SIZE\n3fed6d4a8a3c   ALPINE       8.72MB\n");
        assert!(Template::parse("table").unwrap().is_default_table());
    }
}
