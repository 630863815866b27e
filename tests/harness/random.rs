//! Numbers that look random and are the same for the same seed.

/// splitmix64, with its state.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many bytes of text, of which each has six bits that nobody can guess.
    pub fn text(&mut self, bytes: usize) -> String {
        let mut text = Vec::with_capacity(bytes + 8);
        while text.len() < bytes {
            text.extend(self.next().to_le_bytes().map(|byte| b'0' + (byte & 63)));
        }
        text.truncate(bytes);
        String::from_utf8(text).unwrap()
    }

    /// One of so many.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
