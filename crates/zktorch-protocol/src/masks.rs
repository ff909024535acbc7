//! Masks that are committed before their turn.
//!
//! The mask of the opening and the random wires of the decider depend on nothing but their lengths, which are known from set-up on. The messages before them follow one
//! another and leave a thread with little to do; it commits these masks meanwhile.

use crate::circuit::ROW;
use crate::claims::index_bits;
use crate::keys::ProvingKey;
use crate::opening::{MASK_ROWS, mask_len, prover::commit_to};
use crate::party::Mask;
use crate::pcs;
use crate::proof::Statement;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zktorch_algebra::G1Affine;
use zktorch_program::Program;

/// Names of the masks, in the order in which they are needed.
pub(crate) const NAMES: [&str; 2] = ["opening mask", "random witness"];

/// The masks of one proof.
pub(crate) struct Masks<'a> {
    srs: &'a pcs::Srs,
    h: G1Affine,
    jobs: [Job; NAMES.len()],
}

struct Job {
    len: usize,
    /// The mask is this seed's expansion, whoever makes it.
    seed: [u8; 32],
    state: Mutex<State>,
}

enum State {
    Waiting,
    Begun,
    Made(Mask),
    Taken,
}

impl Job {
    fn state(&self) -> MutexGuard<'_, State> {
        // A state is a single assignment: a thread that panics leaves no half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Masks<'a> {
    /// For a proof of the key's own program; the lengths for other programs are not known.
    pub(crate) fn new(pk: &'a ProvingKey, h: G1Affine, statement: &Statement<'_>, rng: &mut impl RngCore) -> Option<Masks<'a>> {
        if pk.hidden_rows == 0 || !statement.label.is_empty() {
            return None;
        }
        let jobs = Masks::lens(pk.hidden_rows, statement.program).map(|len| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            Job { len, seed, state: Mutex::new(State::Waiting) }
        });
        Some(Masks { srs: &pk.srs, h, jobs })
    }

    /// Lengths of the masks of a program's proofs that have so many rows of hidden messages.
    pub(crate) fn lens(hidden_rows: usize, program: &Program) -> [usize; NAMES.len()] {
        let rows = hidden_rows + MASK_ROWS;
        [mask_len(rows, index_bits(program.heap_len).min(program.row_bits as usize)), rows * ROW]
    }

    /// Makes the masks that nobody has begun, one after the other.
    pub(crate) fn make(&self) {
        for job in &self.jobs {
            {
                let mut state = job.state();
                if !matches!(*state, State::Waiting) {
                    continue;
                }
                *state = State::Begun;
            }
            let mask = self.mask(job);
            *job.state() = State::Made(mask);
        }
    }

    /// The mask of this name, once, if it is one of this length.
    pub(crate) fn take(&self, name: &str, len: usize) -> Option<Mask> {
        let job = NAMES.iter().zip(&self.jobs).find(|(n, job)| **n == name && job.len == len)?.1;
        loop {
            let mut state = job.state();
            match std::mem::replace(&mut *state, State::Taken) {
                State::Waiting => {
                    drop(state);
                    return Some(self.mask(job));
                }
                State::Made(mask) => return Some(mask),
                State::Taken => return None,
                State::Begun => *state = State::Begun,
            }
            drop(state);
            // Helps meanwhile.
            if rayon::yield_now().is_none() {
                std::thread::yield_now();
            }
        }
    }

    fn mask(&self, job: &Job) -> Mask {
        Mask::random(&mut ChaCha20Rng::from_seed(job.seed), job.len, |values, blinder| commit_to(self.srs, self.h, values, blinder))
    }
}
