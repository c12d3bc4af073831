//! The random bytes of a guest: the host's, or those of a seed.

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};

use crate::fs::Errno;

/// Where random bytes come from. The host's if there is no seed.
#[derive(Clone, Debug, Default)]
pub(super) struct Random(Option<Seeded>);

#[derive(Clone, Debug)]
struct Seeded {
    seed: u64,
    rng: ChaCha12Rng,
}

/// A seed, and how much was drawn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RandomCheckpoint {
    seed: u64,
    word: u128,
}

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Some(Seeded { seed, rng: ChaCha12Rng::seed_from_u64(seed) }))
    }

    pub(super) fn seed(&self) -> Option<u64> {
        self.0.as_ref().map(|seeded| seeded.seed)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Errno> {
        match &mut self.0 {
            Some(seeded) => {
                seeded.rng.fill_bytes(bytes);
                Ok(())
            }
            None => getrandom::fill(bytes).map_err(|_| Errno::Io),
        }
    }

    pub(super) fn checkpoint(&self) -> Option<RandomCheckpoint> {
        let Seeded { seed, rng } = self.0.as_ref()?;
        Some(RandomCheckpoint { seed: *seed, word: rng.get_word_pos() })
    }

    pub(super) fn restored(checkpoint: Option<RandomCheckpoint>) -> Self {
        let Some(RandomCheckpoint { seed, word }) = checkpoint else { return Self::default() };
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_word_pos(word);
        Self(Some(Seeded { seed, rng }))
    }
}
