//! Field, multilinear and multi-scalar-multiplication kernels of zktorch, over BN254.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`field`] | integers to field elements, hashing, canonical encoding, batch inversion |
//! | [`mle`] | multilinear extensions as tables of field elements |
//! | [`table`] | passes over tables of scalars: rounds of a sumcheck, layers of fractions |
//! | [`units`] | fractions `1/(c − x)` for small integers `x`, without tables of them |
//! | [`small`] | inner products of signed integers with field elements, reduced lazily |
//! | [`msm`] | multi-scalar multiplication in G1: small signed scalars, full-width scalars, fixed bases |
//! | [`curve`] | canonical point encodings, hashing to G1 |
//! | [`ifma`] | vector instructions behind the kernels: chosen at run time, never required |
//!
//! # Conventions
//!
//! A multilinear table over `n` variables is a slice of `2^n` field elements. Variables are most-significant-bit
//! first: the top bit of an index is variable 0, and binding always consumes variable 0.
//!
//! Every kernel is variable-time. The prover runs where its secrets live, so timing is outside the threat model.
//!
//! # Features
//!
//! `parallel` (default): rayon. Results never depend on the number of threads.

pub mod cube;
pub mod curve;
#[cfg(target_arch = "x86_64")]
mod decompress;
pub mod field;
pub mod ifma;
mod inverse;
mod limbs;
pub mod memory;
pub mod mle;
pub mod msm;
mod par;
pub mod small;
pub mod table;
pub mod units;

pub use ark_bn254::Fr;
use ark_bn254::{g1, g2};
use ark_ec::short_weierstrass::{Affine, Projective};
pub use curve::{
    G1_BYTES, G1_UNCOMPRESSED_BYTES, G2_BYTES, g1_batch, g1_each_from_bytes, g1_each_from_uncompressed, g1_from_bytes,
    g1_from_uncompressed, g1_to_bytes, g1_to_uncompressed, g2_from_bytes, g2_to_bytes, hash_to_g1,
};
pub use field::{FR_BYTES, batch_inverse, fr_from_bytes, fr_from_i64, fr_from_i128, fr_from_wide_bytes, fr_to_bytes, hash_to_fr};

// The same types as arkworks' aliases, but spelt without a projection through the pairing's configuration, which makes
// shorter compiler messages.

/// A point of G1 in affine coordinates.
pub type G1Affine = Affine<g1::Config>;
/// A point of G1 in Jacobian coordinates.
pub type G1Projective = Projective<g1::Config>;
/// A point of G2 in affine coordinates.
pub type G2Affine = Affine<g2::Config>;
