//! Quantised graph, basic blocks and their lowering to an algebraic program.

mod tensor;

pub use tensor::{Accumulator, Format, QTensor};
