//! Random choices from a seed, the same on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Random choices, several from each number that is drawn.
pub(crate) struct Dice {
    source: ChaCha8Rng,
    bits: u64,
    left: u32,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { source: ChaCha8Rng::seed_from_u64(seed), bits: 0, left: 0 }
    }

    /// A seed for something that follows.
    pub(crate) fn seed(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// A number below `bound`; the bias of one in 2^32 / `bound` does not matter here.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let drawn = u64::from(self.source.next_u32()) * u64::from(bound);
        (drawn >> 32) as u32
    }

    /// An index below `bound`, which is at most 2^31.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        self.below(u32::try_from(bound).unwrap_or(u32::MAX)) as usize
    }

    /// A number below `bound`, which is at most 2^10 or so, from 16 bits.
    pub(crate) fn small(&mut self, bound: usize) -> usize {
        if self.left == 0 {
            (self.bits, self.left) = (self.source.next_u64(), 4);
        }
        let drawn = (self.bits & 0xffff) as usize;
        self.bits >>= 16;
        self.left -= 1;
        (drawn * bound) >> 16
    }

    /// One of a few.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.small(of.len())]
    }

    /// A position in `0..=most`.
    pub(crate) fn depth(&mut self, most: usize) -> usize {
        ((u128::from(self.source.next_u64()) * (most as u128 + 1)) >> 64) as usize
    }
}
