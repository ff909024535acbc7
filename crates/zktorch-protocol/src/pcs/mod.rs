//! Polynomial commitments: reference string and multilinear KZG opening.
//!
//! # Relation
//!
//! `f` is a vector of `2^ℓ` scalars, read as the multilinear polynomial with these values on the cube (most significant
//! variable first) and as the univariate polynomial `f(X) = Σ_k f_k·X^k`. Its commitment is `C = f(τ)·G`. The relation: "I
//! know `f` with this commitment and `f̃(u) = v`".
//!
//! # Protocol
//!
//! Mercury (Eagen, Gabizon, ePrint 2025/385). Split `ℓ = s + t` with `s = ⌈ℓ/2⌉`, `b = 2^s`, and `u = (u₂, u₁)`, `u₂` the
//! first `t` variables. Row `j` of `f` holds the coefficients `j·b … (j+1)·b - 1`. `P₁`, `P₂` are the univariate polynomials
//! with coefficients `eq(u₁, ·)`, `eq(u₂, ·)`.
//!
//! | step | prover sends | verifier samples or checks | code |
//! | --- | --- | --- | --- |
//! | 0 | – (point and value are absorbed) | | `Schedule::start` |
//! | 1 | `h`: coefficient `j` is `⟨eq(u₁,·), row j⟩`, so `h̃(u₂) = v` | `α` | `Schedule::alpha` |
//! | 2 | `q, g` with `f = (X^b - α)·q + g`, `deg g < b`, so `g̃(u₁) = h(α)` | `γ` | `Schedule::gamma` |
//! | 3 | `S`, `D = X^{b-1}·g(1/X)` (shows `deg g < b`) | `ζ` | `Schedule::zeta` |
//! | 4 | `g, h, S` at `ζ` and `1/ζ`; `H = (f - (ζ^b - α)·q - g(ζ)) / (X - ζ)` | `β` | `Schedule::beta` |
//! | 5 | `W = Σ_k β^k·(p_k - r_k)/Z_k` for `p = g, h, S, D` | `z` | `Schedule::z` |
//! | 6 | `W'`, the quotient at `z` of the linearised check of `W` | `δ`, then one pairing product | `verify` |
//!
//! `S` proves both inner products at once: `g(X)P₁(1/X) + g(1/X)P₁(X) + γ·(h(X)P₂(1/X) + h(1/X)P₂(X))` equals
//! `2·(h(α) + γ·v) + X·S(X) + S(1/X)/X`. The verifier solves it at `ζ` for `h(α)`, and `D(ζ) = ζ^{b-1}·g(1/ζ)`, so neither is
//! sent. `W, W'` are the batch opening of Boneh, Drake, Fisch and Gabizon (ePrint 2020/081, §4.1) of `g` at `{ζ, 1/ζ}`, `h` at
//! `{ζ, 1/ζ, α}`, `S` at `{ζ, 1/ζ}` and `D` at `{ζ}`; `r_k` interpolates `p_k` on its points, `Z_k` vanishes on them.
//!
//! # Cost and soundness
//!
//! Prover: two multi-scalar multiplications of `2^ℓ` (for `q` and `H`), six of `2^{ℓ/2}`, `O(2^ℓ)` field operations. Proof:
//! 8 points and 6 scalars for every `ℓ > 0` (448 bytes), nothing for `ℓ = 0`. Verifier: one sum of 10 scalar
//! multiplications, one product of two pairings, `O(ℓ)` field operations.
//!
//! Knowledge-sound in the algebraic group model with random oracle under q-DLOG; the statistical part is at most a few
//! times `N/r` for a reference string of `N` powers. A committed polynomial of more than `2^ℓ` coefficients is no
//! forgery: its rows from `2^t` on meet no coefficient of `P₂`, so the relation speaks of its first `2^ℓ` coefficients.
//!
//! # Departures
//!
//! * `ℓ` may be odd: rows are then longer than columns. The paper takes squares.
//! * The commitment is not absorbed here. The caller must have absorbed it, or everything that determines it, before
//!   opening; in the proof protocol it is a public combination of row commitments that are all absorbed.
//! * No hiding: the caller opens a polynomial that it has masked with a uniformly random one.

mod mercury;
#[cfg(feature = "prover")]
mod open;
mod ptau;
mod srs;
#[cfg(all(test, feature = "prover"))]
mod tests;

pub use mercury::{Opening, verify};
#[cfg(feature = "prover")]
pub use open::open;
pub use ptau::import_ptau;
pub use srs::{Srs, SrsError, VerifierKey, hiding_generator};

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

/// Why an opening is rejected, or cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PcsError {
    /// The pairing equation does not hold.
    #[error("E0530: the pairing equation does not hold")]
    Pairing,
    /// The opening has not the number of points and scalars that the number of variables asks for.
    #[error("E0531: an opening over {variables} variables has another number of points or scalars")]
    Shape {
        /// Number of variables.
        variables: usize,
    },
    /// A challenge has a value for which the protocol is not defined. Chance: below `2^-250`.
    #[error("E0532: a challenge collides with another")]
    DegenerateChallenge,
    /// A polynomial without variables is not the constant that is claimed.
    #[error("E0533: the commitment is not to the claimed constant")]
    Constant,
    /// The polynomial has not one coefficient per corner of the cube.
    #[error("E0534: {got} coefficients cannot be opened at a point of {variables} variables")]
    Coefficients {
        /// Number of variables.
        variables: usize,
        /// Number of coefficients.
        got: usize,
    },
    /// The reference string is too short for the polynomial.
    #[error("E0535: the reference string has {have} powers, the polynomial needs {need}")]
    TooShort {
        /// Powers in the string.
        have: usize,
        /// Powers needed.
        need: usize,
    },
}
