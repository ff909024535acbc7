//! Errors of graph validation and of evaluation.

use crate::DType;

/// A graph that breaks its own rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node or the interface names a value that does not exist.
    #[error("{place}: value {id} does not exist")]
    UnknownValue {
        /// Where the reference is: a node name, "graph inputs" or "graph outputs".
        place: String,
        /// The value's number.
        id: usize,
    },
    /// A node reads a value that nothing before it defines.
    #[error("node '{node}' reads value '{value}' before it is defined")]
    NotDefined {
        /// The reading node.
        node: String,
        /// The value's name.
        value: String,
    },
    /// A value is defined twice.
    #[error("value '{value}' is defined more than once")]
    DefinedTwice {
        /// The value's name.
        value: String,
    },
}

/// A failed evaluation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// The graph wants another number of inputs.
    #[error("the graph has {expected} inputs, got {got}")]
    InputCount {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        got: usize,
    },
    /// An input has the wrong shape or element type.
    #[error("input '{name}': expected {expected_dtype} {expected_shape:?}, got {got_dtype} {got_shape:?}")]
    InputMismatch {
        /// The input's name.
        name: String,
        /// Element type of the graph's input.
        expected_dtype: DType,
        /// Shape of the graph's input.
        expected_shape: Vec<usize>,
        /// Element type given.
        got_dtype: DType,
        /// Shape given.
        got_shape: Vec<usize>,
    },
    /// A value that a node reads has not been computed.
    #[error("node '{node}': value '{value}' has not been computed")]
    Missing {
        /// The reading node.
        node: String,
        /// The value's name.
        value: String,
    },
    /// An operator cannot be applied to the given tensors.
    #[error("node '{node}' ({op}): {source}")]
    Node {
        /// The node's name.
        node: String,
        /// The operator's name in the source model.
        op: String,
        /// What is wrong.
        source: Box<EvalError>,
    },
    /// An operator is given tensors or attributes that do not fit together.
    #[error("{0}")]
    Invalid(String),
    /// An input of an operator has an element type that the operator does not take.
    #[error("expected a {expected} tensor, got {got}")]
    WrongType {
        /// The element type wanted.
        expected: DType,
        /// The element type found.
        got: DType,
    },
    /// Two shapes cannot be broadcast together.
    #[error("shapes {a:?} and {b:?} cannot be broadcast")]
    Broadcast {
        /// First shape.
        a: Vec<usize>,
        /// Second shape.
        b: Vec<usize>,
    },
    /// A result would be larger than the interpreter is willing to hold.
    #[error("a tensor of shape {shape:?} is too large")]
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
    },
}

impl EvalError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}
