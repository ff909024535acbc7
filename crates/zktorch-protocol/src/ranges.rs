//! A proof, made once at set-up, that the committed parameters are small integers.
//!
//! # Relation
//! Every cell of the parameter heap and of every matrix behind the commitments of a verifying key is an integer within the bounds that the key's program
//! declares. The audit of a program relies on these bounds; whoever made the key could have committed to anything.
//!
//! # Protocol
//! The statement is a program of its own, derived from the key's program: same parameters, same commitments, and on the heap the 16-bit digits of
//! `v − lo` for every parameter `v` (and of `hi − v`, unless the number of admitted values is a power of two). It is proved like any other.
//!
//! # Cost and soundness
//! One digit, lookup and identity evaluation per 16 bits of every parameter; those of the protocol.

use crate::error::VerifyError;
use crate::keys::VerifyingKey;
use crate::proof::verify;
use zktorch_program::{Builder, Built, MatrixId, Part, Program, Source, Term, View};

/// Separates these proofs from proofs of inferences.
const CONTEXT: &[u8] = b"zktorch parameter ranges";

/// The program that states the bounds of `program`'s parameters.
pub fn range_program(program: &Program) -> Built {
    let mut b = Builder::new();
    for block in &program.params {
        b.param(&block.name, &[block.len], &vec![0; block.len]);
    }
    for m in &program.matrices {
        b.declare_matrix(&m.name, &m.shape, m.lo, m.hi);
    }
    for block in program.params.iter().filter(|p| p.len > 0) {
        bound(&mut b, &block.name, View::dense(Source::Params, block.offset, &[block.len]), block.lo, block.hi);
    }
    for (i, m) in program.matrices.iter().enumerate() {
        bound(&mut b, &m.name, View::dense(Source::Matrix(MatrixId(i as u32)), 0, &m.shape), m.lo, m.hi);
    }
    let mut built = b.finish(Some(program.row_bits));
    built.program.params = program.params.clone();
    built.program.matrices = program.matrices.clone();
    built
}

/// States `lo ≤ view ≤ hi`.
fn bound(b: &mut Builder, name: &str, view: View, lo: i64, hi: i64) {
    let shape = view.shape();
    let letters: Vec<u8> = (0..shape.len() as u8).collect();
    let width = hi as i128 - lo as i128;
    let bits = i128::BITS - width.leading_zeros();
    let mut parts: Vec<Part> = Vec::new();
    let mut below = 0;
    loop {
        let take = (bits - below).min(16);
        parts.insert(0, Part { weight: 1i128 << below, lo: 0, bits: take });
        below += take;
        if below >= bits {
            break;
        }
    }
    let above = vec![Term::linear(1, view.clone(), &letters), Term::constant(-(lo as i128))];
    b.decompose(name, &shape, shape.len(), above, &parts);
    if width != (1i128 << bits) - 1 {
        let below = vec![Term::linear(-1, view, &letters), Term::constant(hi as i128)];
        b.decompose(name, &shape, shape.len(), below, &parts);
    }
}

/// The key of the range statement: another program over the same commitments.
fn range_key(key: &VerifyingKey) -> (VerifyingKey, Built) {
    let built = range_program(&key.program);
    let key = VerifyingKey::new(built.program.clone(), key.params_rows.clone(), key.matrix_rows.clone(), key.pcs);
    (key, built)
}

/// Verifies that the parameters behind a key are within its program's bounds.
pub fn verify_ranges(key: &VerifyingKey, proof: &[u8]) -> Result<(), VerifyError> {
    if key.program.parameter_count() == 0 {
        return if proof.is_empty() { Ok(()) } else { Err(VerifyError::TrailingBytes { count: proof.len() }) };
    }
    let (key, _) = range_key(key);
    let verified = verify(&key, CONTEXT, &[], proof)?;
    debug_assert!(verified.publics.is_empty());
    Ok(())
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::keys::ProvingKey;
    use crate::proof::{Blinding, Phase, ProveError, Statement, prove};
    use crate::witness::Witness as Secrets;
    use rand_core::{CryptoRng, RngCore};
    use zktorch_program::{ExecuteError, Parameters, execute_steps};

    /// Why a range proof cannot be made.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum RangeError {
        /// A parameter is out of range.
        #[error(transparent)]
        Execute(Box<ExecuteError>),
        /// The proof cannot be made.
        #[error(transparent)]
        Prove(#[from] ProveError),
    }

    /// Proves that the parameters behind a key are within its program's bounds; empty if there are none.
    pub fn prove_ranges<R: RngCore + CryptoRng>(
        pk: &ProvingKey,
        key: &VerifyingKey,
        parameters: &Parameters,
        rng: R,
        phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<u8>, RangeError> {
        if key.program.parameter_count() == 0 {
            return Ok(Vec::new());
        }
        if pk.key_digest != key.digest() {
            return Err(ProveError::KeyMismatch.into());
        }
        let (key, built) = range_key(key);
        let witness = execute_steps(&built.program, parameters, &built.steps, &[]).map_err(|e| RangeError::Execute(Box::new(e)))?;
        let pk = ProvingKey { key_digest: key.digest(), hidden_rows: 0, ..pk.clone() };
        let statement = Statement::of(&key, CONTEXT, &[]);
        Ok(prove(&pk, &key, &statement, Secrets { heap: &witness.heap, parameters }, Blinding::Fresh, rng, phase)?)
    }
}

#[cfg(feature = "prover")]
pub use prover::{RangeError, prove_ranges};
