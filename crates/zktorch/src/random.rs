//! Randomness of set-up and proofs.

use rand_core::SeedableRng as _;

/// A generator seeded by the operating system: blinders and secrets come from it.
pub(crate) fn secret_rng() -> rand_chacha::ChaCha20Rng {
    rand_chacha::ChaCha20Rng::from_os_rng()
}
