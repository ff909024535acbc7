//! Proves an algebraic [`zktorch_program::Program`] in zero knowledge, and verifies the proof. Knows nothing of machine learning.

pub mod accumulate;
#[cfg(all(test, feature = "prover"))]
#[allow(clippy::unwrap_used)]
mod attacks;
pub mod automaton;
mod bytes;
#[cfg(feature = "prover")]
mod cells;
pub mod circuit;
pub mod claims;
pub mod decider;
mod error;
pub mod identities;
#[cfg(feature = "prover")]
mod integers;
#[cfg(feature = "prover")]
mod joint;
#[cfg(feature = "prover")]
mod kernel;
mod keys;
mod limits;
pub mod lookup;
#[cfg(feature = "prover")]
mod masks;
pub mod opening;
pub mod party;
pub mod pcs;
#[cfg(feature = "prover")]
mod product;
mod proof;
mod ranges;
pub mod reduce;
mod shape;
#[cfg(feature = "prover")]
mod streamed;
pub mod sumcheck;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod transcript;
mod windows;
mod witness;

#[cfg(feature = "prover")]
pub use accumulate::{Accumulator, AccumulatorError};
pub use error::VerifyError;
#[cfg(feature = "prover")]
pub use keys::{ProvingKey, SetupError, VerifyingKey, matrix_bits, setup};
#[cfg(not(feature = "prover"))]
pub use keys::{ProvingKey, VerifyingKey, matrix_bits};
#[cfg(feature = "prover")]
pub use proof::{Blinding, ProveError, accumulate, check_accumulator, check_leaf, prove};
pub use proof::{Import, Phase, Statement, Verified, verify, verify_all, verify_phases};
#[cfg(feature = "prover")]
pub use ranges::{RangeError, prove_ranges};
pub use ranges::{range_program, verify_ranges};
pub use shape::{ProofShape, proof_shape, required_srs_size, shape_of};
pub use transcript::Transcript;
pub use witness::Witness;
