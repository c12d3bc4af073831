//! A body that is small as it is sent and large once it is decompressed.

/// Gzip of so many bytes of space, and some more: one in 158 of them.
pub(crate) fn gzip_of_spaces(bytes: usize) -> Vec<u8> {
    // The header: deflate, no flags, no time, unknown system.
    let mut bits = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], filled: 0 };
    // The last block, with the fixed code of RFC 1951 (3.2.6).
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    bits.push_code(0x30 + u32::from(b' '), 8);
    for _ in 0..bytes.div_ceil(258) {
        // 258 bytes (285) from one byte before (0).
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    // Nobody comes as far as the check and the size at the end.
    bits.bytes.extend([0; 8]);
    bits.bytes
}

/// Bytes that are filled from their lowest bit.
struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used; 0 for none of a further one.
    filled: u32,
}

impl Bits {
    /// Adds a number, its lowest bit first.
    fn push(&mut self, number: u32, count: u32) {
        for index in 0..count {
            if self.filled == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((number >> index & 1) as u8) << self.filled;
            }
            self.filled = (self.filled + 1) % 8;
        }
    }

    /// Adds a code, its highest bit first.
    fn push_code(&mut self, code: u32, count: u32) {
        self.push(code.reverse_bits() >> (32 - count), count);
    }
}
