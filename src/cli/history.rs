//! `lath history`: the steps that made an image, newest first.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit, listing, size};
use crate::catalog;
use crate::catalog::list::Line;
use crate::error::Result;
use crate::image::json::Value;
use crate::image::time::{parse_rfc3339, rfc3339};

/// Show the steps that made an image
#[derive(FromArgs)]
#[argh(subcommand, name = "history")]
pub struct Args {
    /// print by a template, e.g. "{{.CreatedBy}}", or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// sizes and times for people (the default)
    #[argh(option, short = 'H', arg_name = "bool")]
    human: Option<bool>,
    /// cut nothing off
    #[argh(switch)]
    no_trunc: bool,
    /// print ids only
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// name or id of an image
    #[argh(positional, arg_name = "image")]
    images: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("format", None),
        Opt::truth("human", Some('H')),
        Opt::switch("no-trunc", None),
        Opt::switch("quiet", Some('q')),
    ],
    planned: &["platform"],
    ..Shape::PLAIN
};

const TABLE: &str = r"table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const NAMES: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
];

/// How a line is shown.
struct View {
    human: bool,
    in_full: bool,
    now: i64,
}

/// Prints the lines.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let [image] = arguments::exactly("history", args.images)?;
    let session = globals.open()?;
    let id = catalog::resolve::resolve(&session.store, &image)?.image;
    let lines = catalog::list::history(&session.store, &id)?;
    let (now, _) = crate::sys::fs::now();
    let view = View { human: args.human != Some(false), in_full: args.no_trunc, now };
    let own = if args.quiet { "{{.ID}}" } else { TABLE };
    let mut rows = lines.iter().map(|line| view.row(line));
    listing::print(args.format.as_deref(), own, NAMES, &mut rows, out)?;
    Ok(exit::SUCCESS)
}

impl View {
    fn row(&self, line: &Line) -> Value {
        let history = &line.history;
        let created = history.created.as_deref().and_then(parse_rfc3339).unwrap_or(0);
        let at = rfc3339(created, 0);
        let since = if self.human { size::ago(self.now, created) } else { at.clone() };
        let by = history.created_by.replace('\t', " ");
        let by = if self.in_full { by } else { cut(&by, 45) };
        let size = match self.human {
            true => size::human(line.size_bytes),
            false => line.size_bytes.to_string(),
        };
        let id = line.image.as_ref().map(|id| listing::id(id, self.in_full));
        let mut row = Value::default();
        row.set("Comment", Some(Value::string(history.comment.clone().unwrap_or_default())));
        row.set("CreatedAt", Some(Value::string(at)));
        row.set("CreatedBy", Some(Value::string(by)));
        row.set("CreatedSince", Some(Value::string(since)));
        row.set("ID", Some(Value::string(id.unwrap_or_else(|| "<missing>".to_owned()))));
        row.set("Size", Some(Value::string(size)));
        row
    }
}

/// At most `width` characters, the last of them `…` when something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::History;
    use crate::image::digest::Digest;

    fn line() -> Line {
        Line {
            image: None,
            history: History {
                created: Some("1970-01-01T00:00:40Z".into()),
                created_by: format!("RUN\techo {}", "x".repeat(60)),
                comment: Some("made\nby hand".into()),
                ..History::default()
            },
            size_bytes: 8_718_334,
        }
    }

    fn field(view: &View, line: &Line, name: &str) -> String {
        view.row(line).get(name).and_then(Value::as_str).unwrap().to_owned()
    }

    #[test]
    fn people_get_short_texts_and_programs_exact_ones() {
        let people = View { human: true, in_full: false, now: 100 };
        let exact = View { human: false, in_full: true, now: 100 };
        let id = Digest::of(b"");
        let named = Line { image: Some(id), ..line() };
        for (name, short, long) in [
            ("ID", id.short(), id.to_string()),
            ("CreatedSince", "About a minute ago".into(), "1970-01-01T00:00:40Z".into()),
            (
                "CreatedBy",
                format!("RUN echo {}…", "x".repeat(35)),
                format!("RUN echo {}", "x".repeat(60)),
            ),
            ("Size", "8.72MB".into(), "8718334".into()),
        ] {
            assert_eq!(field(&people, &named, name), short);
            assert_eq!(field(&exact, &named, name), long);
        }
        assert_eq!(field(&people, &line(), "ID"), "<missing>");
    }
}
