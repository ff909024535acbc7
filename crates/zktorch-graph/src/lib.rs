//! Quantised graph, basic blocks and their lowering to an algebraic program.
//!
//! [`compile`] turns a float graph into a [`CompiledModel`] in four steps:
//!
//! 1. *rewrite*: constants are folded, composite operators become a small core, batch normalisation and scalar factors move into weights,
//!    masks become masked softmax, recurrent layers are unrolled, causal attention is cut into blocks;
//! 2. *calibrate*: the float interpreter runs on sample inputs; every value gets a power-of-two scale with room to spare;
//! 3. *lower*: node by node, values become constants, cells or accumulators; a product, its bias and its activation share one rescaling;
//! 4. *economise*: where tables would cost more than the model, ranges are checked in narrower limbs, functions that need no table get none,
//!    and narrower activations are tried against the float outputs.
//!
//! Integers mean `real = integer · 2^-scale`. Rounding is half up everywhere. A value outside its calibrated range is an error of execution
//! that names the node, never a wrong result.

mod blocks;
mod calibrate;
mod compile;
mod economy;
mod error;
mod goal;
mod lower;
mod model;
mod options;
mod rewrite;
mod store;
mod tensor;
#[cfg(test)]
mod tests;

pub use blocks::BlockError;
pub use calibrate::random_inputs;
pub use compile::{compile, compile_into};
pub use error::{CompileError, InputError, RunError, UnsupportedNode};
pub use goal::{GoalReport, Limit, compile_to_goal, compile_to_goal_into};
pub use model::{CompileReport, CompiledModel, Element, Fidelity, IoInfo, NodeReport, RunOutput};
pub use options::{CompileOptions, Visibility};
pub use store::{InMemory, WeightStore};
pub use tensor::{Accumulator, Format, QTensor};
