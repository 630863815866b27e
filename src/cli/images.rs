//! `lath images`: the list of images.

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit, listing, size};
use crate::catalog::filter::Filters;
use crate::catalog::list::{Listed, list};
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::json::Value;
use crate::image::time::rfc3339;

/// List images
#[derive(FromArgs)]
#[argh(subcommand, name = "images")]
pub struct Args {
    /// show the steps of builds too
    #[argh(switch, short = 'a')]
    all: bool,
    /// show digests
    #[argh(switch)]
    digests: bool,
    /// only those for which it holds: dangling=true, label=NAME[=VALUE], until=TIME,
    /// reference=PATTERN, before=IMAGE, since=IMAGE
    #[argh(option, short = 'f', arg_name = "filter")]
    filter: Vec<String>,
    /// print by a template, e.g. "{{.Repository}}:{{.Tag}}", or "json"
    #[argh(option, arg_name = "template")]
    format: Option<String>,
    /// show whole ids
    #[argh(switch)]
    no_trunc: bool,
    /// print ids only
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// only images of this name; may have wildcards
    #[argh(positional, arg_name = "repository[:tag]")]
    names: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("all", Some('a')),
        Opt::switch("digests", None),
        Opt::values("filter", Some('f')),
        Opt::value("format", None),
        Opt::switch("no-trunc", None),
        Opt::switch("quiet", Some('q')),
    ],
    planned: &["tree"],
    ..Shape::PLAIN
};

pub(super) const TABLE: &str = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str =
    r"table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
pub(super) const NAMES: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Prints the list.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let name = arguments::one_at_most("images", args.names)?;
    let mut filters = Filters::parse(&args.filter)?;
    filters.references.extend(name.filter(|name| !name.is_empty()));
    let session = globals.open()?;
    let filters = filters.resolve(&session.store)?;
    let mut rows = Vec::new();
    for row in list(&session.store, args.all)? {
        if filters.take(&row)? {
            rows.push(row);
        }
    }
    let own = match (args.quiet, args.digests) {
        (true, _) => "{{.ID}}",
        (_, true) => TABLE_WITH_DIGESTS,
        _ => TABLE,
    };
    let (now, _) = crate::sys::fs::now();
    let mut values = rows.iter().map(|row| value(row, now, args.no_trunc));
    listing::print(args.format.as_deref(), own, NAMES, &mut values, out)?;
    Ok(exit::SUCCESS)
}

/// docker's fields, in the order in which it prints them as JSON. What it shows only after asking
/// for the sizes is `N/A` here too.
pub(super) fn value(row: &Listed, now: i64, in_full: bool) -> Value {
    let none = || "<none>".to_owned();
    let name = row.name.as_ref();
    let size = size::human(row.size_bytes);
    let created_at = rfc3339(row.created, 0).replace('T', " ").replace('Z', " +0000 UTC");
    let mut out = Value::default();
    for (field, text) in [
        ("Containers", "N/A".to_owned()),
        ("CreatedAt", created_at),
        ("CreatedSince", size::ago(now, row.created)),
        ("Digest", row.digest.as_ref().map_or_else(none, Digest::to_string)),
        ("ID", listing::id(&row.id, in_full)),
        ("Repository", name.map_or_else(none, |name| name.familiar_name())),
        ("SharedSize", "N/A".to_owned()),
        ("Size", size.clone()),
        ("Tag", name.and_then(|name| name.tag.clone()).unwrap_or_else(none)),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", size),
    ] {
        out.set(field, Some(Value::string(text)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::reference::Reference;

    fn row(name: Option<&str>) -> Listed {
        Listed {
            id: Digest::of(b""),
            name: name.map(|name| Reference::parse(name).unwrap()),
            digest: None,
            created: 1_795_513_750,
            size_bytes: 8_718_334,
            labels: Vec::new(),
        }
    }

    #[test]
    fn a_row_has_dockers_texts() {
        let now = 1_795_513_750 + 3 * 86_400;
        let json = value(&row(Some("hub/redis")), now, false).to_text();
        assert_eq!(
            json,
            r#"{"Containers":"N/A","CreatedAt":"2026-11-24 09:49:10 +0000 UTC","CreatedSince":"3 days ago","Digest":"<none>","ID":"e3b0c44298fc","Repository":"hub/redis","SharedSize":"N/A","Size":"8.72MB","Tag":"latest","UniqueSize":"N/A","VirtualSize":"8.72MB"}"#
        );
        let nameless = value(&row(None), now, true);
        let field = |name: &str| nameless.get(name).and_then(Value::as_str).unwrap().to_owned();
        assert_eq!((field("Repository"), field("Tag")), ("<none>".into(), "<none>".into()));
        assert_eq!(field("ID"), Digest::of(b"").to_string());
    }
}
