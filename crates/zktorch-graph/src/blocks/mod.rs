//! Basic blocks: the exact integer meaning of each operator and its lowering to cells, identities and lookups.
//!
//! Every block is a function of [`Lowering`], the node's name, operands and an output [`Format`](crate::Format). Cells never leave freedom to
//! the prover: each is a function of the inputs, forced by the identities and tables of its block, and each is bounded by a table or by an
//! identity over bounded cells. Values that need no cells are passed on as [`Accumulator`](crate::Accumulator)s. Bounds of a
//! [`QTensor`](crate::QTensor) are those that the program declares for its cells (or wider), never what the model is expected to produce.
//!
//! # Cost
//!
//! Cells and lookups for 16-bit tensors. `⌈s⌉` is the number of 16-bit limbs of a rescale by `2^s`, `ceil(s/16)`.
//!
//! | block | per | cells | lookups |
//! | --- | --- | --- | --- |
//! | `requantize` | element | `1 + ⌈s⌉` (3 + ⌈s⌉ above 16 bits) | `1 + ⌈s⌉` (2 + ⌈s⌉) |
//! | `requantize` to a finer scale, no overflow possible | element | 1 | 0 |
//! | … of a result that a convolution pads, in addition | zero beside a row, column or channel | 1 (2 behind `unary`) | 1 |
//! | `unary` of a tensor | distinct cell | 1 | 1 |
//! | `unary` of an accumulator | element | `2 + ⌈s⌉` | `1 + ⌈s⌉` |
//! | `softmax` of a tensor | element | 6 | 4 |
//! | `softmax_of` an accumulator | element | `6 + ⌈s⌉` | `4 + ⌈s⌉` |
//! | … with a mask | element | `7 + ⌈s⌉` | `5 + ⌈s⌉` |
//! | `softmax_weights` of an accumulator, without a mask | element | `3 + ⌈s⌉` | `1 + ⌈s⌉` |
//! | … of scores with more than 16 bits, in addition | element | 3 | 1 |
//! | `attention_weights` of an accumulator, with or without a mask | element | `3 + ⌈s⌉` | `1 + ⌈s⌉` |
//! | `attention_weights` | row | 3 | 3 |
//! | `softmax` | row | 10 | 8 |
//! | `log_softmax` | element | 3 + that of `requantize` | 1 + that of `requantize` |
//! | `normalise` | element | 2 | 2 |
//! | … with a factor | element | 3 | 3 |
//! | `normalise` with mean, rows of 128 | row | 22 | 18 |
//! | `reduce_max`, `reduce_min` | input element | 2 | 1 |
//! | `reduce_max`, `reduce_min` | output element | 2 (3 for minima) | 2 |
//! | `arg_max`, `arg_min` | input element | 4 | 2 |
//! | `top_k` of a row of `n` | pair of elements | 3 | 3 |
//! | … in addition | element and place | 2 | 1 |
//! | `compare` of 16-bit tensors | element | 2 (5 for equality) | 2 (4) |
//! | `compare` where differences have 16 bits | element | 2 | 1 |
//! | `max_of`, `min_of`, `where_select`, products, sums | element | as the comparison or 0, then as `requantize` | |
//! | `divide` | element | 5, and 1 or 2 per distinct divisor | 5 and 0 or 1 |
//! | `divide` by a shared divisor | element | that of `requantize` | that of `requantize` |
//! | `integer_quotient` | element | 5 to 8, and 1 or 2 per distinct divisor | 5 to 7 and 0 or 1 |
//! | `remainder` | element | one more | one more |
//! | `bitwise` of integers of `b` bits | element | `2b + 1` | `2b` |
//! | `dynamic_quantize` of a tensor | element | 13 | 10 |
//! | `sqrt` | element | 5 to 10 | 4 to 8 |
//! | `gather_rows` | element | 1 | 1 per row |
//! | `position` | distinct index | 1, or `2 + 2⌈b⌉` and 3 for indices that may be negative | 1, or as many |
//!
//! [`TablePlan`] changes these figures for programs that use their tables so rarely that the tables would cost more than the values.
//! With limbs of `w < 16` bits, `⌈s⌉` is `ceil(s/w)`; a value of `b` bits that no range table holds is `ceil(b/w)` more cells and
//! `ceil(b/w) - 1` more lookups; `relu` has `2 + ⌈b-1⌉ + ⌈s⌉` cells and `1 + ⌈b-1⌉ + ⌈s⌉` lookups per element and no table of its own.

mod accumulator;
mod attention;
mod cells;
mod compare;
mod divide;
mod dynamic;
mod error;
mod extremum;
mod gather;
mod integer;
mod margin;
mod normalise;
mod order;
mod plan;
mod relu;
mod requantize;
mod softmax;
mod unary;

pub(crate) use accumulator::{broadcast_shape, broadcast_to};
pub(crate) use attention::{Attention, WEIGHT_BITS, attention_weights};
pub(crate) use cells::{check_range, checked_cells};
pub(crate) use compare::{
    Comparison, compare, differs_from_zero, logical_and, logical_not, logical_or, logical_xor, non_negative, where_select,
};
pub(crate) use divide::{divide, sqrt};
pub(crate) use dynamic::dynamic_quantize;
pub use error::BlockError;
pub(crate) use extremum::{arg_max, arg_min, max_of, min_of, reduce_max, reduce_min};
pub(crate) use gather::{gather_rows, position};
pub(crate) use integer::{Bitwise, Towards, bitwise, integer_quotient, remainder};
pub(crate) use margin::{Margin, Surrounded};
pub(crate) use normalise::{Affine, Norm, normalise};
pub(crate) use order::top_k;
pub(crate) use plan::TablePlan;
pub(crate) use relu::relu;
pub(crate) use requantize::{bounded, requantize};
#[cfg(test)]
pub(crate) use softmax::softmax;
pub(crate) use softmax::{SoftmaxWeights, log_softmax, softmax_of, softmax_weights};
pub(crate) use unary::{label, unary};

use zktorch_program::Builder;

/// What blocks need to lower themselves: the program under construction.
#[derive(Debug)]
pub(crate) struct Lowering {
    /// The program under construction.
    pub builder: Builder,
    /// Which tables the program may use.
    pub tables: TablePlan,
    /// Zeros that the next result needs around it.
    margin: Option<Margin>,
    /// Tensors that have zeros around them.
    surrounded: Vec<Surrounded>,
}

impl Default for Lowering {
    fn default() -> Lowering {
        Lowering { builder: Builder::new(), tables: TablePlan::default(), margin: None, surrounded: Vec::new() }
    }
}

impl Lowering {
    /// An empty program.
    #[cfg(test)]
    pub(crate) fn new() -> Lowering {
        Lowering::default()
    }

    /// An empty program that may use these tables.
    pub(crate) fn with_tables(tables: TablePlan) -> Lowering {
        Lowering { tables, ..Lowering::default() }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
