//! XXH64 without a seed: the checksum of zstd's content. Source: the xxHash specification 0.1.1.

const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];
const STRIPE: usize = 32;

/// The sum of what it was given so far.
pub struct Xxh64 {
    lanes: [u64; 4],
    /// Bytes that do not fill a stripe yet, and how many.
    rest: [u8; STRIPE],
    held: usize,
    total: u64,
}

impl Xxh64 {
    /// Of nothing.
    pub fn new() -> Self {
        let [one, two, ..] = PRIMES;
        Xxh64 {
            lanes: [one.wrapping_add(two), two, 0, one.wrapping_neg()],
            rest: [0; STRIPE],
            held: 0,
            total: 0,
        }
    }

    /// Takes more bytes in.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if self.held > 0 {
            let free = self.rest.get_mut(self.held..).unwrap_or_default();
            let count = free.len().min(bytes.len());
            let (first, after) = bytes.split_at(count);
            free.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
            self.held += count;
            bytes = after;
            if self.held < STRIPE {
                return;
            }
            stripe(&mut self.lanes, &self.rest);
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        for bytes in stripes {
            stripe(&mut self.lanes, bytes);
        }
        self.rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.held = rest.len();
    }

    /// The sum.
    pub fn finish(&self) -> u64 {
        let [one, two, three, four, five] = PRIMES;
        let mut sum = five;
        if self.total >= STRIPE as u64 {
            let [a, b, c, d] = self.lanes;
            sum = a.rotate_left(1);
            for (lane, bits) in [(b, 7), (c, 12), (d, 18)] {
                sum = sum.wrapping_add(lane.rotate_left(bits));
            }
            for lane in self.lanes {
                sum = (sum ^ round(0, lane)).wrapping_mul(one).wrapping_add(four);
            }
        }
        sum = sum.wrapping_add(self.total);
        let (words, rest) = self.rest.get(..self.held).unwrap_or_default().as_chunks::<8>();
        for word in words {
            sum ^= round(0, u64::from_le_bytes(*word));
            sum = sum.rotate_left(27).wrapping_mul(one).wrapping_add(four);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(one);
            sum = sum.rotate_left(23).wrapping_mul(two).wrapping_add(three);
        }
        for byte in rest {
            sum ^= u64::from(*byte).wrapping_mul(five);
            sum = sum.rotate_left(11).wrapping_mul(one);
        }
        sum = (sum ^ (sum >> 33)).wrapping_mul(two);
        sum = (sum ^ (sum >> 29)).wrapping_mul(three);
        sum ^ (sum >> 32)
    }
}

fn stripe(lanes: &mut [u64; 4], bytes: &[u8; STRIPE]) {
    for (lane, word) in lanes.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *lane = round(*lane, u64::from_le_bytes(*word));
    }
}

fn round(lane: u64, word: u64) -> u64 {
    let [one, two, ..] = PRIMES;
    lane.wrapping_add(word.wrapping_mul(two)).rotate_left(31).wrapping_mul(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::compress::tests::{pipe, text};

    /// `zstd --check` writes the low half of the sum at the very end.
    #[test]
    fn sums_are_those_of_zstd() {
        let mut empty = Xxh64::new();
        empty.update(b"");
        assert_eq!(empty.finish(), 0xef46_db37_51d8_e999);
        for length in [1, 3, 4, 7, 8, 13, 31, 32, 33, 63, 64, 100, 5000] {
            let bytes = text(length);
            let packed = pipe("zstd", &["-q", "--check"], &bytes);
            let expected = u32::from_le_bytes(*packed.last_chunk().unwrap());
            for part in [1, 5, 32, 4096] {
                let mut sum = Xxh64::new();
                bytes.chunks(part).for_each(|bytes| sum.update(bytes));
                assert_eq!(sum.finish() as u32, expected, "{length} in parts of {part}");
            }
        }
    }
}
