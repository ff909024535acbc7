//! Quantised graph, basic blocks and their lowering to an algebraic program.

mod blocks;
mod tensor;

pub use blocks::BlockError;
pub use tensor::{Accumulator, Format, QTensor};
