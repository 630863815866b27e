//! The rules of the house as a test: which room may use which, where `unsafe` may stand, how long
//! a file may be. No exceptions list: who breaks a rule changes the code or, with reasons, the
//! table below together with the one in src/lib.rs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, its floor, and the rooms of its own floor that it may use all the same.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("error", 0, &[]),
    ("sys", 0, &["error"]),
    ("logging", 0, &["sys", "error"]),
    ("sort", 0, &[]),
    ("map", 0, &["sort"]),
    ("base64", 0, &[]),
    ("dockerfile", 1, &[]),
    ("image", 1, &[]),
    ("pattern", 1, &[]),
    ("event", 1, &["image"]),
    ("instruction", 2, &[]),
    ("plan", 2, &["instruction"]),
    ("layer", 2, &[]),
    ("store", 2, &[]),
    ("http", 2, &[]),
    ("snapshot", 3, &[]),
    ("sandbox", 3, &[]),
    ("network", 3, &[]),
    ("archive", 3, &["snapshot"]),
    ("registry", 3, &["archive"]),
    ("session", 4, &[]),
    ("build", 4, &["session", "catalog"]),
    ("container", 4, &["session", "catalog"]),
    ("catalog", 4, &["session"]),
    ("doctor", 4, &["session"]),
    ("cli", 5, &[]),
];

/// All that the top floor sees of the floors below the one under it: what is typed and what is
/// shown, never how it is done.
const CLI_SEES: &[&str] = &["error", "sys", "logging", "sort", "map", "base64", "image", "event"];

const LONGEST_FILE: usize = 600;
const EMPTY_NAMES: &[&str] = &["util", "common", "helper", "manager", "misc"];
const PRINTS: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!"];

struct Source {
    /// From `src/` on, as the messages show it.
    name: String,
    text: String,
    /// The text with comments and the insides of strings blanked out, line breaks kept.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let inside = self.name.strip_prefix("src/").unwrap();
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where `word` stands in the code as a word of its own.
    fn find(&self, word: &str) -> Vec<usize> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let starts_as_word = word.starts_with(is_word);
        let ends_as_word = word.ends_with(is_word);
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| !starts_as_word || !self.code[..*at].ends_with(is_word))
            .filter(|at| !ends_as_word || !self.code[at + word.len()..].starts_with(is_word))
            .collect()
    }
}

#[test]
fn rooms_use_only_lower_floors_and_their_named_doors() {
    let mut broken = String::new();
    for source in sources() {
        for (at, used) in uses(&source) {
            if let Some(why) = forbidden(source.room(), &used) {
                let line = source.line_of(at);
                writeln!(broken, "{}:{line} uses {used}: {why}", source.name).unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn every_room_is_in_the_table_and_in_lib_rs() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut listed: Vec<_> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let mut known: Vec<_> = ROOMS.iter().map(|(room, ..)| (*room).to_owned()).collect();
    let mut found: Vec<_> = sources()
        .iter()
        .map(|source| source.room().to_owned())
        .filter(|room| room != "lib" && room != "main")
        .collect();
    listed.sort();
    known.sort();
    found.sort();
    found.dedup();
    assert_eq!(known, listed, "the table of tests/floors.rs and src/lib.rs");
    assert_eq!(known, found, "the table of tests/floors.rs and the folders of src");
}

#[test]
fn unsafe_stands_in_sys_only() {
    breaks(|source| {
        let found = if source.room() == "sys" { Vec::new() } else { source.find("unsafe") };
        found.into_iter().map(|at| (at, "unsafe belongs into sys".to_owned())).collect()
    });
}

#[test]
fn only_main_ends_the_process() {
    breaks(|source| {
        let found = if source.room() == "main" { Vec::new() } else { source.find("process::exit") };
        found.into_iter().map(|at| (at, "return the exit code instead".to_owned())).collect()
    });
}

#[test]
fn nothing_prints_with_a_macro_that_panics() {
    breaks(|source| {
        let found = PRINTS.iter().flat_map(|name| {
            source.find(name).into_iter().map(move |at| (at, format!("{name} panics on EPIPE")))
        });
        found.collect()
    });
}

#[test]
fn an_allowed_lint_has_its_reason() {
    breaks(|source| {
        let mut found = Vec::new();
        for start in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for at in source.find(start) {
                let rest = &source.code[at..];
                let attribute = &rest[..rest.find(")]").unwrap_or(rest.len())];
                if !attribute.contains("reason") {
                    found.push((at, "say why: reason = \"...\"".to_owned()));
                }
            }
        }
        found
    });
}

#[test]
fn files_are_short_and_say_what_they_are() {
    breaks(|source| {
        let mut found = Vec::new();
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            found.push((0, format!("{lines} lines, {LONGEST_FILE} are the limit: add a wall")));
        }
        if !source.text.starts_with("//! ") {
            found.push((0, "open it with //!: what it is, what it is not".to_owned()));
        }
        let base = source.name.rsplit('/').next().unwrap();
        if let Some(empty) = EMPTY_NAMES.iter().find(|name| base.contains(**name)) {
            found.push((0, format!("{empty:?} names nothing: name the noun")));
        }
        found
    });
}

#[test]
fn no_text_for_readers_names_a_path_of_the_workshop() {
    let mut files = Vec::new();
    for folder in ["src", "docs", "examples", "targets", "tools"] {
        gather(&root().join(folder), &mut files);
    }
    for file in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Cargo.toml", "cross.toml"] {
        files.push(root().join(file));
    }
    let mut broken = String::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for word in ["../shared", "/work/"] {
            for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains(word)) {
                writeln!(broken, "{}:{}: {line}", file.display(), number + 1).unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn the_scanner_sees_imports_in_every_form_and_none_in_comments() {
    let text = "//! crate::cli\nuse crate::{store::gc, sys};\n/* crate::cli */\n\
                let s = \"crate::cli\"; let c = '\"'; crate::layer::pack();\n\
                let r = r#\"crate::\"cli\"#; pub(in crate::image) fn f<'a>(x: &'a str) {}\n";
    let source = Source { name: "src/plan/key.rs".into(), text: text.into(), code: bare(text) };
    let found: Vec<_> = uses(&source).into_iter().map(|(_, used)| used).collect();
    assert_eq!(found, ["store", "sys", "layer", "image"]);
    assert_eq!(forbidden("plan", "store"), Some("it is on the same floor".to_owned()));
    assert_eq!(forbidden("plan", "build"), Some("it is on a higher floor".to_owned()));
    assert_eq!(forbidden("plan", "instruction"), None);
    assert_eq!(forbidden("plan", "error"), None);
    assert_eq!(forbidden("cli", "store"), Some("one command is one call of floor 4".to_owned()));
}

/// Why `room` may not use `used`, if it may not.
fn forbidden(room: &str, used: &str) -> Option<String> {
    if room == used || room == "main" || room == "lib" {
        return None;
    }
    let find = |name: &str| ROOMS.iter().find(|(known, ..)| *known == name);
    let Some((_, floor, doors)) = find(room) else {
        return Some(format!("{room} is not in the table of floors"));
    };
    let Some((_, below, _)) = find(used) else {
        return Some("it is no room: name the room that has it".to_owned());
    };
    if doors.contains(&used) {
        return None;
    }
    if below > floor {
        return Some("it is on a higher floor".to_owned());
    }
    if below == floor {
        return Some("it is on the same floor".to_owned());
    }
    if room == "cli" && *below != 4 && !CLI_SEES.contains(&used) {
        return Some("one command is one call of floor 4".to_owned());
    }
    None
}

/// The rooms that a file names, each with its place: `crate::x`, `crate::{x, y::z}`, and
/// `super::x` where that is the crate.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut roots: Vec<_> = source.find("crate::").iter().map(|at| at + "crate::".len()).collect();
    let depth = source.name.matches('/').count() - usize::from(source.name.ends_with("/mod.rs"));
    let super_is_crate = match depth {
        1 => "\nuse super::",
        2 => "\nuse super::super::",
        _ => "\nuse super::super::super::",
    };
    let supers = source.code.match_indices(super_is_crate);
    roots.extend(supers.map(|(at, _)| at + super_is_crate.len()));
    for at in roots {
        let rest = &source.code[at..];
        let Some(list) = rest.strip_prefix('{') else {
            found.push((at, first_word(rest)));
            continue;
        };
        let mut depth = 0_usize;
        let mut start = 0;
        for (i, c) in list.char_indices() {
            match c {
                ',' if depth == 0 => {
                    found.push((at, first_word(&list[start..i])));
                    start = i + 1;
                }
                '}' if depth == 0 => {
                    found.push((at, first_word(&list[start..i])));
                    break;
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.retain(|(_, used)| !used.is_empty());
    found
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Shows all places that break a rule at once.
fn breaks(rule: impl Fn(&Source) -> Vec<(usize, String)>) {
    let mut broken = String::new();
    for source in sources() {
        for (at, why) in rule(&source) {
            writeln!(broken, "{}:{}: {why}", source.name, source.line_of(at)).unwrap();
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    gather(&root().join("src"), &mut files);
    files.retain(|file| file.extension().is_some_and(|kind| kind == "rs"));
    files.sort();
    assert!(files.len() > 10, "no sources found");
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let code = bare(&text);
        Source { name, text, code }
    };
    files.iter().map(read).collect()
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Blanks comments and the insides of literals, so that words in them are no code.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = literal(rest, code.chars().next_back());
        let (taken, keep) = match skip {
            Some(length) => (length, false),
            None => (c.len_utf8(), true),
        };
        let (token, after) = rest.split_at(taken);
        if keep {
            code.push_str(token);
        } else {
            code.extend(token.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// The length of the comment, string or character that `rest` starts with.
fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 1;
            let end = raw[body..].find(&close).map_or(raw.len(), |end| body + end + close.len());
            return Some(1 + end);
        }
    }
    // A lifetime is a quote without a second one after the first character.
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let is_char = first == '\\' || inside[first.len_utf8()..].starts_with('\'');
    is_char.then(|| quoted(rest, '\''))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            _ if c == quote && !escaped => return i + 1,
            _ => escaped = false,
        }
    }
    rest.len()
}
