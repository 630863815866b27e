//! `--quiet`: the id at the end and nothing else, unless a step fails: then its output.

use std::io::Write;

use super::tail::Tail;
use super::{Progress, Terminals};
use crate::cli::report;
use crate::cli::safe::Filter;
use crate::error::Error;
use crate::event::{Event, Listener};
use crate::sys::flow::Outflow;

const KEPT: usize = 64 << 10;

/// Waits for the id.
pub struct Quiet<'a> {
    out: &'a mut dyn Outflow,
    err: &'a mut dyn Outflow,
    terminals: Terminals,
    tail: Tail,
}

impl<'a> Quiet<'a> {
    /// The id goes to `out`, all else to `err`.
    pub fn new(out: &'a mut dyn Outflow, err: &'a mut dyn Outflow, terminals: Terminals) -> Self {
        Quiet { out, err, terminals, tail: Tail::new(KEPT) }
    }
}

impl Listener for Quiet<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { .. } => self.tail.clear(),
            Event::Output { bytes, .. } => self.tail.push(bytes),
            Event::Warning { text } => {
                let _ = report::warning(self.err, text);
            }
            Event::Built { image } => {
                self.tail.clear();
                let _ = writeln!(self.out, "{image}").and_then(|()| self.out.flush());
            }
            _ => {}
        }
    }
}

impl Progress for Quiet<'_> {
    fn finish(&mut self, failed: Option<&Error>) {
        if failed.is_some() {
            let page = shown(&mut self.tail, self.terminals.err, self.terminals.colours);
            let _ = self.err.write_all(&page).and_then(|()| self.err.flush());
        }
    }
}

/// A failed step's output, with what is missing said; ends with a line end.
pub fn shown(tail: &mut Tail, is_terminal: bool, colours: bool) -> Vec<u8> {
    let mut page = Vec::new();
    if tail.cut() > 0 {
        page.extend_from_slice(format!("({} bytes of output cut)\n", tail.cut()).as_bytes());
    }
    if is_terminal {
        let mut filter = Filter::new(colours);
        filter.push(tail.bytes(), &mut page);
        filter.finish(&mut page);
    } else {
        page.extend_from_slice(tail.bytes());
    }
    if page.last().is_some_and(|last| *last != b'\n') {
        page.push(b'\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Kept, NONE, build, lint};
    use super::*;
    use crate::event::Stream;

    #[test]
    fn only_the_id_is_told() {
        let (out, err) = (Kept::default(), Kept::default());
        let (mut out_writer, mut err_writer) = (out.clone(), err.clone());
        let mut quiet = Quiet::new(&mut out_writer, &mut err_writer, NONE);
        build(&mut quiet);
        lint(&mut quiet);
        quiet.finish(None);
        assert_eq!(
            out.text(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        );
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_failed_steps_output_is_not_lost() {
        let (mut out, err) = (Kept::default(), Kept::default());
        let mut err_writer = err.clone();
        let mut quiet = Quiet::new(&mut out, &mut err_writer, NONE);
        quiet.event(&Event::Step { number: 1, total: 2, text: "RUN a" });
        quiet.event(&Event::Output { stream: Stream::Out, bytes: b"of the first\n" });
        quiet.event(&Event::Step { number: 2, total: 2, text: "RUN b" });
        quiet.event(&Event::Output { stream: Stream::Out, bytes: &[b'x'; KEPT] });
        quiet.event(&Event::Output { stream: Stream::Err, bytes: b"no such package" });
        quiet.finish(Some(&Error::input("x")));
        let text = err.text();
        assert!(text.starts_with("(15 bytes of output cut)\nxxx"));
        assert!(text.ends_with("xno such package\n"));
    }
}
