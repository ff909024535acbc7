//! Proves an algebraic [`zktorch_program::Program`] in zero knowledge, and verifies the proof. Knows nothing of machine learning.

#[cfg(all(test, feature = "prover"))]
#[allow(clippy::unwrap_used)]
mod attacks;
pub mod automaton;
pub mod circuit;
pub mod claims;
pub mod decider;
mod error;
pub mod identities;
mod keys;
mod limits;
pub mod lookup;
pub mod opening;
pub mod party;
pub mod pcs;
#[cfg(feature = "prover")]
mod product;
mod proof;
mod ranges;
pub mod reduce;
pub mod sumcheck;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod transcript;
mod witness;

pub use error::VerifyError;
#[cfg(feature = "prover")]
pub use keys::{ProvingKey, SetupError, VerifyingKey, matrix_bits, setup};
#[cfg(not(feature = "prover"))]
pub use keys::{ProvingKey, VerifyingKey, matrix_bits};
pub use proof::{Phase, ProofShape, Verified, proof_shape, required_srs_size, verify};
#[cfg(feature = "prover")]
pub use proof::{ProveError, prove};
#[cfg(feature = "prover")]
pub use ranges::{RangeError, prove_ranges};
pub use ranges::{range_program, verify_ranges};
pub use transcript::Transcript;
pub use witness::Witness;
