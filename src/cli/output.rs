//! Standard output: buffered, and a reader that went away is no fault.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use super::safe::Filter;
use crate::sys::flow::Outflow;

/// Where a command's answer goes.
///
/// When the reader is gone (`lath images | head -1`) writes fail as usual, so that work for
/// nobody stops, and `is_closed` tells `cli` to end quietly. `println!` would panic instead.
///
/// On a terminal nothing but text and colours passes, whatever an image has in its labels. What
/// is to reach a terminal as it is (a program's own screen) does not go through here.
pub struct Output {
    writer: BufWriter<Box<dyn Outflow>>,
    is_closed: bool,
    filter: Option<Filter>,
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Output {
        let is_terminal = io::stdout().is_terminal();
        let filter = is_terminal.then(|| Filter::new(true));
        Output { filter, ..Output::to(Box::new(io::stdout())) }
    }

    /// Any other writer.
    pub fn to(writer: Box<dyn Outflow>) -> Output {
        Output { writer: BufWriter::new(writer), is_closed: false, filter: None }
    }

    /// Whether the reader went away.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.is_closed = true;
        }
        done
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(filter) = &mut self.filter else {
            let done = self.writer.write(bytes);
            return self.note(done);
        };
        let mut shown = Vec::with_capacity(bytes.len());
        filter.push(bytes, &mut shown);
        let done = self.writer.write_all(&shown).map(|()| bytes.len());
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.writer.flush();
        self.note(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_remembered() {
        let mut out = Output::to(Box::new(Gone));
        assert!(out.write_all(b"x").is_ok() && !out.is_closed());
        assert!(out.flush().is_err());
        assert!(out.is_closed());
    }

    #[test]
    fn a_terminal_gets_text_only() {
        let (mut reader, writer) = io::pipe().unwrap();
        let filter = Some(Filter::new(true));
        let mut out = Output { filter, ..Output::to(Box::new(writer)) };
        out.write_all(b"label \x1b[2J\x1b]0;x\x07end\n").unwrap();
        out.flush().unwrap();
        drop(out);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "label end\n");
    }
}
