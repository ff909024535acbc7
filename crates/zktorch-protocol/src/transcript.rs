//! The Fiat–Shamir transcript: a STROBE-based Merlin transcript with labelled messages.

use crate::pcs::PcsTranscript;
use zktorch_algebra::{Fr, G1Affine, fr_from_wide_bytes, fr_to_bytes, g1_to_bytes};

/// Every prover message and every public value is absorbed before the challenges that depend on it.
#[derive(Clone)]
pub struct Transcript(merlin::Transcript);

impl Transcript {
    /// A transcript bound to the protocol's name and version.
    pub fn new() -> Transcript {
        Transcript(merlin::Transcript::new(b"zktorch proof v5"))
    }

    /// Absorbs bytes; the length is absorbed with them.
    pub fn absorb_bytes(&mut self, label: &'static [u8], bytes: &[u8]) {
        self.0.append_message(label, bytes);
    }

    /// Absorbs a point in its canonical encoding.
    pub fn absorb_point(&mut self, label: &'static [u8], point: &G1Affine) {
        self.0.append_message(label, &g1_to_bytes(point));
    }

    /// Absorbs a scalar in its canonical encoding.
    pub fn absorb_scalar(&mut self, label: &'static [u8], scalar: &Fr) {
        self.0.append_message(label, &fr_to_bytes(scalar));
    }

    /// Draws a challenge: 64 bytes reduced modulo the group order, so that its bias is below 2^-250.
    pub fn challenge(&mut self, label: &'static [u8]) -> Fr {
        let mut bytes = [0u8; 64];
        self.0.challenge_bytes(label, &mut bytes);
        fr_from_wide_bytes(&bytes)
    }

    /// 32 bytes that stand for everything absorbed so far.
    pub fn digest(&mut self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        self.0.challenge_bytes(b"digest", &mut bytes);
        bytes
    }

    /// Draws several challenges.
    pub fn challenges(&mut self, label: &'static [u8], n: usize) -> Vec<Fr> {
        (0..n).map(|_| self.challenge(label)).collect()
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl PcsTranscript for Transcript {
    fn absorb_point(&mut self, label: &'static [u8], p: &G1Affine) {
        Transcript::absorb_point(self, label, p);
    }
    fn absorb_scalar(&mut self, label: &'static [u8], s: &Fr) {
        Transcript::absorb_scalar(self, label, s);
    }
    fn challenge(&mut self, label: &'static [u8]) -> Fr {
        Transcript::challenge(self, label)
    }
}
