//! The end of a step's output, so much and no more.

use std::collections::VecDeque;

/// Keeps the last bytes of what is pushed, and counts those that it let go.
pub struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    cut: u64,
}

impl Tail {
    /// An empty tail that keeps up to `limit` bytes.
    pub fn new(limit: usize) -> Tail {
        Tail { bytes: VecDeque::new(), limit, cut: 0 }
    }

    /// Takes some bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // Of a piece larger than the tail only its end counts.
        let start = bytes.len().saturating_sub(self.limit);
        let (skipped, kept) = bytes.split_at(start);
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.cut += (skipped.len() + excess) as u64;
        self.bytes.extend(kept);
    }

    /// Forgets everything; what memory there is is used again.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cut = 0;
    }

    /// How many bytes are gone from the front.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// What is kept.
    pub fn bytes(&mut self) -> &[u8] {
        self.bytes.make_contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept_and_the_rest_counted() {
        let mut tail = Tail::new(4);
        for (piece, kept, cut) in
            [("ab", "ab", 0), ("cd", "abcd", 0), ("e", "bcde", 1), ("fghijk", "hijk", 7)]
        {
            tail.push(piece.as_bytes());
            assert_eq!((tail.cut(), tail.bytes()), (cut, kept.as_bytes()));
        }
        tail.clear();
        assert_eq!((tail.cut(), tail.bytes()), (0, b"".as_slice()));
    }
}
