//! Typed float graph and its reference interpreter.
//!
//! A [`Graph`] is a list of [`Node`]s in topological order over numbered values. Every shape is static and every attribute is
//! resolved to a plain field of [`Op`], so that users of the graph need no knowledge of the file format it came from.
//! The interpreter executes it in `f32` and is the reference for everything derived from the graph.

mod error;
mod floats;
mod function;
mod graph;
mod interp;
mod op;
mod tensor;
mod tree;

pub use error::{EvalError, GraphError};
pub use floats::Floats;
pub use function::{BinaryFn, ReduceFn, UnaryFn};
pub use graph::{Graph, Node, ValueId, ValueInfo};
pub use interp::{eval_op, interpret, run};
pub use op::{ClosedRow, CoordinateTransform, Direction, NearestMode, Op, PadMode, ResizeMode, RnnActivation};
pub use tensor::{DType, Data, Tensor};
pub use tree::{TreeEnsemble, TreeNode};
