//! Polynomial commitments: reference string and multilinear KZG opening.

use zktorch_algebra::{Fr, G1Affine};

/// What an opening needs of a transcript.
pub trait PcsTranscript {
    /// Absorbs a point.
    fn absorb_point(&mut self, label: &'static [u8], p: &G1Affine);
    /// Absorbs a scalar.
    fn absorb_scalar(&mut self, label: &'static [u8], s: &Fr);
    /// Draws a challenge.
    fn challenge(&mut self, label: &'static [u8]) -> Fr;
}

/// Why an opening is rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PcsError {
    /// The pairing equation does not hold.
    #[error("the pairing equation does not hold")]
    Pairing,
}
