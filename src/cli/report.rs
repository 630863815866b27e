//! Errors and warnings for people and for editors: `lath: FILE:LINE: TEXT`, the line, the hints.
//!
//! Only formatting: who knows more says it in the error.

use std::io::{self, Write};

use super::safe;
use crate::error::Error;
use crate::sys::flow::Outflow;

/// Prints an error, in one write.
pub fn error(err: &mut dyn Outflow, error: &Error) -> io::Result<()> {
    let mut page = String::from("lath: ");
    if let Some(place) = error.place() {
        page.push_str(&safe::text(&place.file));
        page.push_str(&format!(":{}: ", place.line));
    }
    page.push_str(&lines(error.text()));
    page.push('\n');
    if let Some(place) = error.place()
        && let Some(first) = place.text.lines().next()
        && !first.trim().is_empty()
    {
        page.push_str(&format!("{:5} | {}\n", place.line, safe::text(first)));
    }
    for hint in error.hints() {
        page.push_str(&format!("  hint: {}\n", lines(hint)));
    }
    err.write_all(page.as_bytes())?;
    err.flush()
}

/// Prints a warning.
pub fn warning(err: &mut dyn Outflow, text: &str) -> io::Result<()> {
    err.write_all(format!("lath: warning: {}\n", lines(text)).as_bytes())?;
    err.flush()
}

/// More of a text than this says nothing more; it may be an argument of a megabyte or a path of
/// ten thousand directories.
const MAX_CHARS: usize = 2000;

/// Texts of several lines keep them; each is made safe by itself.
fn lines(text: &str) -> String {
    let safe: Vec<_> = text.trim_end().split('\n').map(safe::text).collect();
    shortened(&safe.join("\n"))
}

/// The beginning and the end, where the cause stands.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_CHARS {
        return text.to_owned();
    }
    let half = MAX_CHARS / 2;
    let start: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{start} [...] {end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    fn printed(shown: &Error) -> String {
        let mut out = Vec::new();
        error(&mut out, shown).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_place_the_line_and_the_hints_are_shown() {
        let place =
            Place { file: "Dockerfile".into(), line: 3, text: "RNU apk add --update redis".into() };
        let error = Error::input("unknown instruction: RNU (did you mean RUN?)")
            .at(place)
            .hint("instructions are listed in docs/DOCKERFILE.md");
        assert_eq!(
            printed(&error),
            "lath: Dockerfile:3: unknown instruction: RNU (did you mean RUN?)\n    \
             3 | RNU apk add --update redis\n  \
             hint: instructions are listed in docs/DOCKERFILE.md\n"
        );
    }

    #[test]
    fn nothing_of_the_text_reaches_the_terminal_as_an_escape() {
        let place =
            Place { file: "D\x1b[2J".into(), line: 12, text: "RUN \x1b]0;x\x07\u{9b}1m".into() };
        let shown = printed(&Error::input("bad \x07\n\u{202e}second").at(place).hint("\x1bc"));
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
        assert_eq!(shown.lines().count(), 4);
    }

    #[test]
    fn a_text_without_end_is_cut_in_the_middle() {
        let long = "\u{e9}".repeat(1 << 20);
        let shown = printed(&Error::input(format!("{long:?}: no such image")));
        assert!(shown.chars().count() < 2100, "{}", shown.len());
        assert!(shown.starts_with("lath: \"\u{e9}") && shown.contains("no such image"), "{shown}");
    }

    #[test]
    fn a_warning_has_its_word() {
        let mut out = Vec::new();
        warning(&mut out, "no seccomp here").unwrap();
        assert_eq!(out, b"lath: warning: no seccomp here\n");
    }
}
