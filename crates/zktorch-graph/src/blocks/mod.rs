//! Basic blocks: the exact integer meaning of each operator and its lowering to cells, identities and lookups.
//!
//! Every block is a function of [`Lowering`], the node's name, operands and an output [`Format`]. Cells never leave freedom to the
//! prover: each is a function of the inputs, forced by the identities and tables of its block, and each is bounded by a table or by an
//! identity over bounded cells. Values that need no cells are passed on as [`Accumulator`]s.

#![allow(dead_code, unused_imports)] // until the lowering of graphs calls every block

mod accumulator;
mod cells;
mod compare;
mod divide;
mod error;
mod extremum;
mod gather;
mod normalise;
mod requantize;
mod softmax;
mod unary;

pub(crate) use accumulator::{broadcast_shape, broadcast_to};
pub(crate) use compare::{Comparison, compare, logical_and, logical_not, logical_or, logical_xor, where_select};
pub(crate) use divide::{divide, reciprocal, sqrt};
pub use error::BlockError;
pub(crate) use extremum::{arg_max, arg_min, max_of, min_of, reduce_max, reduce_min};
pub(crate) use gather::gather_rows;
pub(crate) use normalise::{Affine, Norm, normalise};
pub(crate) use requantize::requantize;
pub(crate) use softmax::{log_softmax, softmax};
pub(crate) use unary::unary;

use zktorch_program::Builder;

/// What blocks need to lower themselves: the program under construction.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    /// The program under construction.
    pub builder: Builder,
}

impl Lowering {
    /// An empty program.
    pub(crate) fn new() -> Lowering {
        Lowering::default()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
