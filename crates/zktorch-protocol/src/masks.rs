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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zktorch_algebra::G1Affine;
use zktorch_program::Program;

/// Names of the masks, in the order in which they are needed.
pub(crate) const NAMES: [&str; 2] = ["opening mask", "random witness"];

/// How long to wait for a mask that another thread has begun, before making it a second time.
const PATIENCE: Duration = Duration::from_millis(50);

/// The masks of one proof.
pub(crate) struct Masks {
    srs: Arc<pcs::Srs>,
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

impl Masks {
    /// For a proof of the key's own program; the lengths for other programs are not known.
    pub(crate) fn new(pk: &ProvingKey, h: G1Affine, statement: &Statement<'_>, rng: &mut impl RngCore) -> Option<Arc<Masks>> {
        if pk.hidden_rows == 0 || pk.hidden_rows > pk.srs.g1.len() || !statement.label.is_empty() {
            return None;
        }
        let jobs = Masks::lens(pk.hidden_rows, statement.program).map(|len| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            Job { len, seed, state: Mutex::new(State::Waiting) }
        });
        Some(Arc::new(Masks { srs: pk.srs.clone(), h, jobs }))
    }

    /// Lengths of the masks of a program's proofs that have so many rows of hidden messages.
    pub(crate) fn lens(hidden_rows: usize, program: &Program) -> [usize; NAMES.len()] {
        let rows = hidden_rows + MASK_ROWS;
        [mask_len(rows, index_bits(program.heap_len).min(program.row_bits as usize)), rows * ROW]
    }

    /// Lets another thread make the masks, if there is one. Nobody waits for it to end: while it waits for help it may take up other work, even a proof that waits for this one.
    pub(crate) fn spawn(self: &Arc<Self>) {
        if rayon::current_num_threads() > 1 {
            let masks = self.clone();
            rayon::spawn(move || masks.make());
        }
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
            let mut state = job.state();
            if matches!(*state, State::Begun) {
                *state = State::Made(mask);
            }
        }
    }

    /// The mask of this name, once, if it is one of this length.
    pub(crate) fn take(&self, name: &str, len: usize) -> Option<Mask> {
        let job = NAMES.iter().zip(&self.jobs).find(|(n, job)| **n == name && job.len == len)?.1;
        let began = Instant::now();
        loop {
            {
                let mut state = job.state();
                match std::mem::replace(&mut *state, State::Taken) {
                    State::Made(mask) => return Some(mask),
                    State::Taken => return None,
                    // See `spawn`.
                    State::Begun if began.elapsed() < PATIENCE => *state = State::Begun,
                    State::Waiting | State::Begun => break,
                }
            }
            if rayon::yield_now().is_none() {
                std::thread::yield_now();
            }
        }
        Some(self.mask(job))
    }

    /// As a thread that never comes back to them.
    #[cfg(test)]
    pub(crate) fn begin(&self) {
        self.jobs.iter().for_each(|job| *job.state() = State::Begun);
    }

    fn mask(&self, job: &Job) -> Mask {
        Mask::random(&mut ChaCha20Rng::from_seed(job.seed), job.len, |values, blinder| commit_to(&self.srs, self.h, values, blinder))
    }
}
