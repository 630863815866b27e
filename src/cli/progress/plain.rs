//! docker's classic log: `Step 1/3 : FROM alpine`, ` ---> 3fed6d4a8a3c`.
//!
//! The log and a step's standard output go to standard output, its standard error to standard
//! error; the order of the two is kept, since each is written out before the other is.

use std::io::Write;

use super::{Progress, Terminals};
use crate::cli::findings;
use crate::cli::safe::Filter;
use crate::error::Error;
use crate::event::{Event, Listener, Stream};
use crate::sys::flow::Outflow;

/// Written out at the latest when so much waits.
const FULL: usize = 32 << 10;

/// One of the two streams.
struct Lane<'a> {
    writer: &'a mut dyn Outflow,
    waiting: Vec<u8>,
    /// On a terminal: nothing but text and colours.
    filter: Option<Filter>,
    is_in_line: bool,
}

impl<'a> Lane<'a> {
    fn new(writer: &'a mut dyn Outflow, is_terminal: bool, colours: bool) -> Lane<'a> {
        let filter = is_terminal.then(|| Filter::new(colours));
        Lane { writer, waiting: Vec::new(), filter, is_in_line: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.is_in_line = *last != b'\n';
        }
        match &mut self.filter {
            Some(filter) => filter.push(bytes, &mut self.waiting),
            None => self.waiting.extend_from_slice(bytes),
        }
        if self.waiting.len() >= FULL {
            self.write_out();
        }
    }

    /// A step's output is over: its last line ends here.
    fn end_output(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.finish(&mut self.waiting);
        }
        if std::mem::take(&mut self.is_in_line) {
            self.waiting.push(b'\n');
        }
    }

    fn write_out(&mut self) {
        if !self.waiting.is_empty() {
            let _ = self.writer.write_all(&self.waiting);
            self.waiting.clear();
            let _ = self.writer.flush();
        }
    }
}

/// Writes the log.
pub struct Plain<'a> {
    out: Lane<'a>,
    err: Lane<'a>,
    /// Triggers that are still to come: docker does not show their words.
    triggers: usize,
}

impl<'a> Plain<'a> {
    /// A log on these streams.
    pub fn new(out: &'a mut dyn Outflow, err: &'a mut dyn Outflow, terminals: Terminals) -> Self {
        let Terminals { out: out_is, err: err_is, colours, .. } = terminals;
        let (out, err) = (Lane::new(out, out_is, colours), Lane::new(err, err_is, colours));
        Plain { out, err, triggers: 0 }
    }

    fn say(&mut self, parts: &[&str]) {
        self.err.end_output();
        self.err.write_out();
        self.out.end_output();
        parts.iter().for_each(|part| self.out.push(part.as_bytes()));
        self.out.push(b"\n");
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let (lane, other) = match stream {
            Stream::Out => (&mut self.out, &mut self.err),
            Stream::Err => (&mut self.err, &mut self.out),
        };
        other.write_out();
        lane.push(bytes);
    }
}

impl Listener for Plain<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { .. } if self.triggers > 0 => {
                self.triggers -= 1;
                return;
            }
            Event::Step { number, total, text } => {
                let count = format!("Step {number}/{total} : ");
                self.say(&[&count, text]);
                // Written out with what follows at once: so a cached build is one write.
                return;
            }
            Event::Triggers { count } => {
                self.triggers = *count;
                let plural = if *count == 1 { "" } else { "s" };
                let line = format!("# Executing {count} build trigger{plural}");
                return self.say(&[&line]);
            }
            // Only the image after the last of them is told.
            Event::StepDone { .. } if self.triggers > 0 => return,
            Event::Cached => return self.say(&[" ---> Using cache"]),
            Event::NotCached { why } => return self.say(&[" ---> Not cached: ", why]),
            Event::StepDone { image } => return self.say(&[" ---> ", &image.short()]),
            Event::Running { id } => self.say(&[" ---> Running in ", id]),
            Event::Removed { id } => return self.say(&["Removing intermediate container ", id]),
            Event::Output { stream, bytes } => self.output(*stream, bytes),
            Event::Pulling { name } => self.say(&["Pulling ", name]),
            Event::Moved { .. } => {}
            Event::Warning { text } => {
                self.err.end_output();
                self.output(Stream::Err, b"lath: warning: ");
                self.output(Stream::Err, text.as_bytes());
                self.err.push(b"\n");
            }
            Event::Findings { list } => {
                self.out.end_output();
                self.err.end_output();
                self.output(Stream::Err, findings::list(list).as_bytes());
            }
            Event::Built { image } => self.say(&["Successfully built ", &image.short()]),
            Event::Tagged { name } => self.say(&["Successfully tagged ", name]),
        }
        self.tick();
    }
}

impl Progress for Plain<'_> {
    fn tick(&mut self) {
        self.out.write_out();
        self.err.write_out();
    }

    fn finish(&mut self, _: Option<&Error>) {
        self.out.end_output();
        self.err.end_output();
        self.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Kept, NONE, build, lint};
    use super::*;
    use crate::image::digest::Digest;

    #[test]
    fn the_log_is_dockers_and_the_order_of_the_streams_is_kept() {
        let both = Kept::default();
        let (mut out, mut err) = (both.clone(), both.clone());
        let mut plain = Plain::new(&mut out, &mut err, NONE);
        build(&mut plain);
        plain.finish(None);
        assert_eq!(
            both.text(),
            "Step 1/3 : FROM alpine\n ---> e3b0c44298fc\n\
             Step 2/3 : RUN apk add redis\n ---> Running in 7a9c1f0e2b55\n\
             fetch\ncareful\nOK: 8 MiB\nRemoving intermediate container 7a9c1f0e2b55\n \
             ---> e3b0c44298fc\n\
             Step 3/3 : CMD [\"redis-server\"]\n ---> Using cache\n ---> e3b0c44298fc\n\
             Successfully built e3b0c44298fc\nSuccessfully tagged hub/redis:latest\n"
        );
    }

    #[test]
    fn only_the_steps_standard_error_goes_to_standard_error() {
        let (out, err) = (Kept::default(), Kept::default());
        let (mut out_writer, mut err_writer) = (out.clone(), err.clone());
        build(&mut Plain::new(&mut out_writer, &mut err_writer, NONE));
        assert_eq!(err.text(), "careful\n");
        assert!(!out.text().contains("careful"));
    }

    #[test]
    fn findings_go_to_standard_error() {
        let (out, err) = (Kept::default(), Kept::default());
        let (mut out_writer, mut err_writer) = (out.clone(), err.clone());
        let mut plain = Plain::new(&mut out_writer, &mut err_writer, NONE);
        lint(&mut plain);
        plain.finish(None);
        assert_eq!(out.text(), "");
        assert_eq!(
            err.text(),
            "\n 1 warning found (use --check to expand):\n - FromAsCasing: do not match (line 2)\n"
        );
    }

    #[test]
    fn a_cached_build_is_one_write() {
        let (out, mut err) = (Kept::default(), Kept::default());
        let mut out_writer = out.clone();
        let mut plain = Plain::new(&mut out_writer, &mut err, NONE);
        let image = Digest::of(b"");
        for number in 1..=50 {
            plain.event(&Event::Step { number, total: 50, text: "RUN true" });
            plain.event(&Event::Cached);
            plain.event(&Event::StepDone { image: &image });
        }
        plain.event(&Event::Built { image: &image });
        assert_eq!(out.writes(), 1);
        assert_eq!(out.text().lines().count(), 151);
    }

    #[test]
    fn raw_bytes_pass_unless_a_terminal_would_see_them() {
        for (out_is, shown) in [(false, "\x1b[2Jx\n"), (true, "x\n")] {
            let (out, mut err) = (Kept::default(), Kept::default());
            let mut out_writer = out.clone();
            let terminals = Terminals { out: out_is, ..NONE };
            let mut plain = Plain::new(&mut out_writer, &mut err, terminals);
            plain.event(&Event::Output { stream: Stream::Out, bytes: b"\x1b[2Jx\n" });
            assert_eq!(out.text(), shown);
        }
    }
}
