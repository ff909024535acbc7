//! Proves an algebraic [`zktorch_program::Program`] in zero knowledge, and verifies the proof. Knows nothing of machine learning.

pub mod circuit;
pub mod claims;
mod error;
pub mod party;
pub mod pcs;
pub mod sumcheck;
mod transcript;

pub use error::VerifyError;
pub use transcript::Transcript;
