//! What a user sees of work that goes on: listeners that turn events into text.
//!
//! `plain` is docker's classic log, `tty` live lines, `json` one object a line, `quiet` the id
//! alone. A write that fails is forgotten: nobody watching is no reason to end a build.

mod json;
mod plain;
mod quiet;
mod screen;
mod tail;
mod tty;

use std::io::IsTerminal as _;

use super::suggest::nearest;
use crate::error::{Error, Result};
use crate::event::Listener;
use crate::sys::flow::Outflow;

/// A listener that draws.
pub trait Progress: Listener {
    /// Time went by without an event: seconds on the screen move on. Cheap; call it as often as
    /// it is convenient, ten times a second is enough. An `Output` event without bytes does the
    /// same for those who only hold a `Listener`.
    fn tick(&mut self) {}

    /// The work is over. What was held back is shown; of a failed step all that is known.
    fn finish(&mut self, failed: Option<&Error>);
}

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Live lines on a terminal, otherwise the log.
    Auto,
    /// The log.
    Plain,
    /// Live lines; on what is no terminal the log all the same.
    Tty,
    /// One JSON object a line.
    Json,
    /// The id at the end.
    Quiet,
}

impl Mode {
    /// Reads the word after `--progress`; docker's `rawjson` is `json`.
    pub fn parse(word: &str) -> Result<Mode> {
        Ok(match word {
            "auto" => Mode::Auto,
            "plain" => Mode::Plain,
            "tty" => Mode::Tty,
            "json" | "rawjson" => Mode::Json,
            "quiet" => Mode::Quiet,
            _ => {
                let known = ["auto", "plain", "tty", "json", "quiet"];
                let meant = nearest(word, known)
                    .map_or(String::new(), |word| format!(" (did you mean {word}?)"));
                let text = format!("unknown kind of progress {word:?}{meant}");
                return Err(Error::usage(text).hint("use auto, plain, tty, json or quiet"));
            }
        })
    }
}

/// What the two streams are connected to.
#[derive(Clone, Copy, Debug)]
pub struct Terminals {
    /// Standard output is a terminal.
    pub out: bool,
    /// Standard error is a terminal.
    pub err: bool,
    /// It moves its cursor when told: `TERM` is neither `dumb` nor missing.
    pub is_able: bool,
    /// Colours are wanted: no `NO_COLOR`.
    pub colours: bool,
    /// Columns and rows of standard error, now.
    pub size: fn() -> (usize, usize),
}

impl Terminals {
    /// Looks at this process's streams and environment.
    pub fn probe() -> Terminals {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Terminals {
            out: std::io::stdout().is_terminal(),
            err: std::io::stderr().is_terminal(),
            is_able: is_set("TERM") && std::env::var_os("TERM").is_some_and(|term| term != "dumb"),
            colours: !is_set("NO_COLOR"),
            size,
        }
    }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        // A serial console does not know its size.
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// The listener for a mode on these streams.
pub fn choose<'a>(
    mode: Mode,
    out: &'a mut dyn Outflow,
    err: &'a mut dyn Outflow,
    terminals: Terminals,
) -> Box<dyn Progress + 'a> {
    let can_draw = terminals.err && terminals.is_able;
    match mode {
        Mode::Quiet => Box::new(quiet::Quiet::new(out, err, terminals)),
        Mode::Json => Box::new(json::Json::new(out)),
        Mode::Auto | Mode::Tty if can_draw => Box::new(tty::Tty::new(err, terminals)),
        Mode::Auto | Mode::Tty | Mode::Plain => Box::new(plain::Plain::new(out, err, terminals)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Finding, Stream};
    use crate::image::digest::Digest;

    /// No stream is a terminal.
    pub(super) const NONE: Terminals =
        Terminals { out: false, err: false, is_able: true, colours: true, size: || (60, 24) };

    /// A build of three steps: one from the cache, one with output.
    pub(super) fn build(listener: &mut dyn Listener) {
        let image = Digest::of(b"");
        let mut tell = |event: Event<'_>| listener.event(&event);
        tell(Event::Step { number: 1, total: 3, text: "FROM alpine" });
        tell(Event::StepDone { image: &image });
        tell(Event::Step { number: 2, total: 3, text: "RUN apk add redis" });
        tell(Event::Running { id: "7a9c1f0e2b55" });
        tell(Event::Output { stream: Stream::Out, bytes: b"fetch\n" });
        tell(Event::Output { stream: Stream::Err, bytes: b"careful\n" });
        tell(Event::Output { stream: Stream::Out, bytes: b"OK: 8 MiB" });
        tell(Event::Removed { id: "7a9c1f0e2b55" });
        tell(Event::StepDone { image: &image });
        tell(Event::Step { number: 3, total: 3, text: "CMD [\"redis-server\"]" });
        tell(Event::Cached);
        tell(Event::StepDone { image: &image });
        tell(Event::Built { image: &image });
        tell(Event::Tagged { name: "hub/redis:latest" });
    }

    /// A linter that has found something.
    pub(super) fn lint(listener: &mut dyn Listener) {
        let finding =
            Finding { rule: "FromAsCasing", message: "do not match".into(), lines: (2, 3) };
        listener.event(&Event::Findings { list: &[finding] });
    }

    /// A writer that can still be looked at while a listener has it, and counts the writes.
    #[derive(Clone, Default)]
    pub(super) struct Kept(std::rc::Rc<std::cell::RefCell<(Vec<u8>, usize)>>);

    impl Kept {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().0.clone()).unwrap()
        }
        pub(super) fn writes(&self) -> usize {
            self.0.borrow().1
        }
    }

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut kept = self.0.borrow_mut();
            kept.0.extend_from_slice(bytes);
            kept.1 += 1;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Which listener was chosen shows in what it writes first.
    fn first(mode: Mode, terminals: Terminals) -> (String, String) {
        let (out, err) = (Kept::default(), Kept::default());
        let (mut out_writer, mut err_writer) = (out.clone(), err.clone());
        let mut progress = choose(mode, &mut out_writer, &mut err_writer, terminals);
        progress.event(&Event::Step { number: 1, total: 1, text: "FROM a" });
        progress.event(&Event::Running { id: "x" });
        progress.finish(None);
        drop(progress);
        (out.text(), err.text())
    }

    #[test]
    fn live_lines_are_for_terminals_that_can() {
        let terminal = Terminals { err: true, out: true, ..NONE };
        let dumb = Terminals { is_able: false, ..terminal };
        for (mode, terminals, is_live) in [
            (Mode::Auto, terminal, true),
            (Mode::Tty, terminal, true),
            (Mode::Plain, terminal, false),
            (Mode::Auto, NONE, false),
            (Mode::Tty, NONE, false),
            (Mode::Auto, dumb, false),
            (Mode::Tty, dumb, false),
        ] {
            let (out, err) = first(mode, terminals);
            assert_eq!(err.contains("[1/1] FROM a"), is_live, "{mode:?} {terminals:?}");
            assert_eq!(out.contains("Step 1/1 : FROM a"), !is_live, "{mode:?} {terminals:?}");
        }
        assert!(first(Mode::Json, terminal).0.starts_with('{'));
        assert_eq!(first(Mode::Quiet, terminal), (String::new(), String::new()));
    }

    #[test]
    fn modes_have_dockers_words() {
        assert_eq!(Mode::parse("rawjson").unwrap(), Mode::Json);
        assert!(Mode::parse("plian").unwrap_err().text().ends_with("(did you mean plain?)"));
    }
}
