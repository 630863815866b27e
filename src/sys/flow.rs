//! Streams of bytes as objects. std's `dyn Read` and `dyn Write` carry seven more functions for
//! each type that becomes one, a kilobyte a type; these carry what the type itself has, and the
//! rest is there once. 42 KB.

use std::io::{self, Read, Write};

/// What bytes come out of: everything that is `Read`. `dyn Inflow` is so as well.
pub trait Inflow {
    /// `Read::read`.
    fn pour(&mut self, to: &mut [u8]) -> io::Result<usize>;
}

impl<T: Read> Inflow for T {
    fn pour(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read(to)
    }
}

impl Read for dyn Inflow + '_ {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.pour(to)
    }
}

/// Where bytes go: everything that is `Write`. `dyn Outflow` is so as well.
pub trait Outflow {
    /// `Write::write`.
    fn fill(&mut self, from: &[u8]) -> io::Result<usize>;

    /// `Write::flush`.
    fn drain(&mut self) -> io::Result<()>;
}

impl<T: Write> Outflow for T {
    fn fill(&mut self, from: &[u8]) -> io::Result<usize> {
        self.write(from)
    }

    fn drain(&mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for dyn Outflow + '_ {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.fill(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

/// Reads what is there, `most` bytes at the most; says how many.
pub fn read_most(from: &mut dyn Inflow, most: u64, to: &mut Vec<u8>) -> io::Result<usize> {
    from.take(most).read_to_end(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_do_what_the_types_do() {
        let mut from: &[u8] = b"a line\nand more";
        let source: &mut dyn Inflow = &mut from;
        let mut line = Vec::new();
        assert_eq!(read_most(source, 7, &mut line).unwrap(), 7);
        assert_eq!(line, b"a line\n");
        let mut rest = String::new();
        source.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "and more");

        let mut to = io::BufWriter::new(Vec::new());
        let sink: &mut dyn Outflow = &mut to;
        write!(sink, "{} of {}", 1, 2).unwrap();
        sink.write_all(b"!").unwrap();
        sink.flush().unwrap();
        assert_eq!(to.get_ref(), b"1 of 2!");
    }
}
