//! The reader of tars, gzip included: it ends, in bounded memory, and gives as many bytes of each
//! file as it says. A plain tar gives the same entries whole and in small pieces.

#![no_main]

use std::io::Read;

use lath::layer::compress::decompress;
use lath::layer::entry::Node;
use lath::layer::reader::Reader;
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

/// At most so many entries and bytes: a small gzip may hold gigabytes.
const MOST: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let (whole, bytes) = peak(|| entries(&mut { input }));
    assert!(bytes <= (2 << 20) + 16 * input.len(), "{bytes} bytes for {}", input.len());
    assert_eq!(whole, entries(&mut Slowly(input)));
    if let Ok((_, mut plain)) = decompress(Box::new(input)) {
        let ((), bytes) = peak(|| drop(entries(&mut plain.by_ref().take(MOST))));
        assert!(bytes <= 4 << 20, "{bytes} bytes for {}", input.len());
    }
});

/// What the tar holds: names and sizes, and whether it was read to its end.
fn entries(input: &mut dyn Read) -> (Vec<(Vec<u8>, u64)>, bool) {
    let mut reader = Reader::new(input, None);
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (seen, reader.finish().is_ok()),
            Err(_) => return (seen, false),
        };
        let Node::File(size) = entry.node else {
            seen.push((entry.path, 0));
            continue;
        };
        let mut left = size;
        while left > 0 {
            match reader.content(&mut buffer) {
                Ok(0) => panic!("{left} bytes of {size} are missing without an error"),
                Ok(read) => left -= read as u64,
                Err(_) => return (seen, false),
            }
        }
        assert!(matches!(reader.content(&mut buffer), Ok(0)));
        seen.push((entry.path, size));
    }
}

/// Gives one to seven bytes a call.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.0.len() % 7 + 1);
        self.0.read(&mut buffer[..most])
    }
}
