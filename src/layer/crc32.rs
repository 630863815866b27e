//! The checksum of gzip, eight bytes at a time. Source: RFC 1952, 8.

/// Sums up bytes.
pub struct Crc32 {
    /// `tables[n][b]`: what the byte `b` does to the sum when `n` more bytes follow it.
    tables: Box<[[u32; 256]; 8]>,
    sum: u32,
}

impl Crc32 {
    /// The sum of nothing.
    pub fn new() -> Crc32 {
        // Made at run time: 8 KiB that the binary need not carry.
        let mut tables = Box::new([[0u32; 256]; 8]);
        let mut first = [0u32; 256];
        for (byte, value) in (0u32..).zip(first.iter_mut()) {
            *value = (0..8).fold(byte, |value, _| {
                if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 }
            });
        }
        let mut previous = first;
        for table in tables.iter_mut() {
            *table = previous;
            for value in &mut previous {
                *value = (*value >> 8) ^ at(&first, *value);
            }
        }
        Crc32 { tables, sum: 0 }
    }

    /// Takes some bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &*self.tables;
        let mut sum = !self.sum;
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let Some((low, high)) = eight.split_first_chunk::<4>() else { continue };
            let Some(high) = high.first_chunk::<4>() else { continue };
            let low = u32::from_le_bytes(*low) ^ sum;
            let high = u32::from_le_bytes(*high);
            sum = at(t7, low)
                ^ at(t6, low >> 8)
                ^ at(t5, low >> 16)
                ^ at(t4, low >> 24)
                ^ at(t3, high)
                ^ at(t2, high >> 8)
                ^ at(t1, high >> 16)
                ^ at(t0, high >> 24);
        }
        for byte in eights.remainder() {
            sum = (sum >> 8) ^ at(t0, sum ^ u32::from(*byte));
        }
        self.sum = !sum;
    }

    /// The sum of all bytes taken since the last call; the next one begins anew.
    pub fn take(&mut self) -> u32 {
        std::mem::take(&mut self.sum)
    }
}

fn at(table: &[u32; 256], index: u32) -> u32 {
    table.get((index & 0xff) as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_comes_out_in_pieces_of_any_length() {
        let mut crc = Crc32::new();
        for split in 0..10 {
            let (head, tail) = b"123456789".split_at(split.min(9));
            crc.update(head);
            crc.update(tail);
            assert_eq!(crc.take(), 0xcbf4_3926, "{split}");
        }
        let long: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        crc.update(&long);
        let whole = crc.take();
        long.chunks(13).for_each(|part| crc.update(part));
        assert_eq!(crc.take(), whole);
    }
}
