//! Witness steps: how the prover computes the heap. Together they are the model's exact integer semantics.

use crate::relation::Term;
use crate::view::{TableId, View};
use serde::{Deserialize, Serialize};

/// One digit of a mixed-radix decomposition `value = Σ weight · digit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digit {
    /// Where the digit goes; axes = output letters of the step, in order.
    pub view: View,
    /// Weight, not 0; `|weight|` is strictly decreasing over the digits of a step, and the last one is ±1 unless the value is a multiple.
    pub weight: i128,
    /// Smallest digit.
    pub lo: i64,
    /// Largest digit.
    pub hi: i64,
}

/// One step of witness generation. Steps run in order; each reads cells that earlier steps wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Copies integer input tensor `input` (row-major) to the view, checking `lo..=hi`.
    Input {
        /// Index of the model's input.
        input: usize,
        /// Name of the model's input.
        name: String,
        /// Destination.
        view: View,
        /// Smallest admitted value.
        lo: i64,
        /// Largest admitted value.
        hi: i64,
    },
    /// For every output index: `value = Σ terms` (an [`crate::Identity`]'s left side without the digits), then
    /// `value = Σ weight · digit` with every digit in its range, most significant digit first. Each digit leaves a rest in
    /// `0..|weight|` (floor division, if the weight is positive), or, if the later digits cannot express that range, in `r .. r + |weight|`
    /// where `r` is the smallest value that they express (so signed rests round to nearest). Fails, naming the node, if a digit is out of range or something remains.
    Digits {
        /// Name of the graph node.
        node: String,
        /// Letter sizes, as in an identity.
        sizes: Vec<usize>,
        /// Number of output letters.
        outputs: usize,
        /// The value.
        terms: Vec<Term>,
        /// The digits.
        digits: Vec<Digit>,
    },
    /// `outputs[c][i] = table[x[i]]` for a [`crate::Table::Function`]. Fails, naming the node, if `x[i]` is outside the table.
    Apply {
        /// Name of the graph node.
        node: String,
        /// The table.
        table: TableId,
        /// Arguments.
        x: View,
        /// One destination per output column.
        outputs: Vec<View>,
    },
    /// `max[o] = max_k x[o, k]`; `x` has the axes of `max` and then those that are reduced.
    Max {
        /// Values.
        x: View,
        /// Destination.
        max: View,
    },
    /// `out[i] = floor(numerator / denominator[i])`. Fails, naming the node, unless `denominator[i] > 0`.
    Quotient {
        /// Name of the graph node.
        node: String,
        /// Letter sizes (outputs and contractions of `numerator`).
        sizes: Vec<usize>,
        /// Number of output letters.
        outputs: usize,
        /// The numerator.
        numerator: Vec<Term>,
        /// Positive denominators; axes = output letters, in order (stride 0 to broadcast).
        denominator: View,
        /// Destination; axes = output letters.
        quotient: View,
        /// Smallest admitted quotient.
        lo: i64,
        /// Largest admitted quotient.
        hi: i64,
    },
    /// `out[i] = floor(2^shift / sqrt(value[i]))`, that is the largest `t` with `t²·value ≤ 2^(2·shift)`. Needs `value[i] > 0`, `shift ≤ 60`.
    InverseSqrt {
        /// Name of the graph node.
        node: String,
        /// Positive values.
        value: View,
        /// Scale of the result.
        shift: u32,
        /// Destination.
        out: View,
    },
    /// `out[i] = floor(sqrt(value[i]))`. Needs `value[i] ≥ 0`.
    Sqrt {
        /// Name of the graph node.
        node: String,
        /// Values.
        value: View,
        /// Destination.
        out: View,
    },
    /// `out[i, ·] = table[index[i], ·]` for a [`crate::Table::Rows`]. Fails, naming the node, if an index is outside the table.
    Gather {
        /// Name of the graph node.
        node: String,
        /// The table.
        table: TableId,
        /// Row numbers.
        index: View,
        /// Destination: axes of `index`, then those of a row.
        out: View,
    },
    /// `out[o]` = the smallest `m` with `Σ_k allowed[o, k] · T(m + offset - x[o, k]) ≤ limit`, where `T` is an output column of a
    /// [`crate::Table::Function`] over `0..len` that never increases, and its values are not negative. Arguments below 0 count as more than `limit`, those from `len` on
    /// as 0. Fails, naming the node, if `m` is outside `lo..=hi`.
    Level {
        /// Name of the graph node.
        node: String,
        /// Values; axes of `out`, then those that are summed.
        x: View,
        /// Factors 0 or 1, of the shape of `x`; absent if all are 1.
        allowed: Option<View>,
        /// The table.
        table: TableId,
        /// Which of its output columns.
        column: usize,
        /// Added to every difference.
        offset: i64,
        /// Largest sum.
        limit: i64,
        /// Destination.
        out: View,
        /// Smallest admitted result.
        lo: i64,
        /// Largest admitted result.
        hi: i64,
    },
}

impl Step {
    /// Name of the graph node, or of the input; empty where the step has none.
    pub fn node(&self) -> &str {
        match self {
            Step::Input { name, .. } => name,
            Step::Digits { node, .. }
            | Step::Apply { node, .. }
            | Step::Quotient { node, .. }
            | Step::InverseSqrt { node, .. }
            | Step::Sqrt { node, .. }
            | Step::Gather { node, .. }
            | Step::Level { node, .. } => node,
            Step::Max { .. } => "",
        }
    }
}
