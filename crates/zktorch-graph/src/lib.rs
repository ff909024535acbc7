//! Quantised graph, basic blocks and their lowering to an algebraic program.

mod blocks;
mod calibrate;
mod compile;
mod error;
mod lower;
mod model;
mod options;
mod rewrite;
mod tensor;
#[cfg(test)]
mod tests;

pub use blocks::BlockError;
pub use compile::compile;
pub use error::{CompileError, InputError, RunError, UnsupportedNode};
pub use model::{CompileReport, CompiledModel, Element, Fidelity, IoInfo, NodeReport, RunOutput};
pub use options::{CompileOptions, Visibility};
pub use tensor::{Accumulator, Format, QTensor};
