//! Quantised tensors and accumulators: what blocks pass to each other while they lower themselves into a program.

use zktorch_program::{Term, View};

/// How real numbers are stored in integers: `real = integer · 2^-scale`, integers in `[-2^(bits-1), 2^(bits-1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Power of two: `real = integer · 2^-scale`. May be negative.
    pub scale: i32,
    /// Signed width, 2 to 32; 16 is what tables and most products expect.
    pub bits: u32,
}

/// A tensor whose integers are cells of the program (heap, parameters, constants or public).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QTensor {
    /// The cells; the view's axes are the tensor's shape.
    pub view: View,
    /// `real = integer · 2^-scale`.
    pub scale: i32,
    /// Smallest integer that the program admits.
    pub lo: i64,
    /// Largest integer that the program admits.
    pub hi: i64,
}

impl QTensor {
    /// The tensor's shape.
    pub fn shape(&self) -> Vec<usize> {
        self.view.shape()
    }
}

/// A value that is no cell (yet): `integer[o] = Σ terms`, as in an identity over output letters `0..outputs`;
/// `real = integer · 2^-scale`. Matrix products, sums and products of tensors are accumulators until they are rescaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accumulator {
    /// Letter sizes; letters `0..outputs` are the axes of the result, in order.
    pub sizes: Vec<usize>,
    /// Number of output letters.
    pub outputs: usize,
    /// The terms, all at the same scale.
    pub terms: Vec<Term>,
    /// `real = integer · 2^-scale`.
    pub scale: i32,
    /// Smallest integer that the bounds of the factors admit.
    pub lo: i128,
    /// Largest integer that the bounds of the factors admit.
    pub hi: i128,
}
