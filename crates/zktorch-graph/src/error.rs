//! Errors of compilation and of running a compiled model.

use zktorch_float::{EvalError, GraphError};

/// A node that cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Name of the node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why, and what helps.
    pub reason: String,
}

impl std::fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node '{}' ({}): {}", self.node, self.op, self.reason)
    }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(|n| format!("\n  {n}")).collect::<Vec<_>>().concat()
}

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The graph breaks its own rules.
    #[error("the graph is invalid: {0}")]
    Graph(#[from] GraphError),
    /// The float interpreter failed, on the calibration inputs or on a constant.
    #[error("evaluating the float graph: {0}")]
    Float(#[from] EvalError),
    /// Some nodes have no lowering; all of them are listed.
    #[error("{} node(s) cannot be compiled:{}", nodes.len(), list(nodes))]
    Unsupported {
        /// The nodes.
        nodes: Vec<UnsupportedNode>,
    },
    /// A value is NaN or infinite on a calibration input.
    #[error("value '{value}' of node '{node}' is {got} on calibration input {sample}; give calibration inputs from the model's domain")]
    NotFinite {
        /// The node that produces the value, or "graph input".
        node: String,
        /// The value.
        value: String,
        /// What was found.
        got: f32,
        /// Number of the calibration input.
        sample: usize,
    },
    /// An option does not fit the graph.
    #[error("option `{option}`: expected {expected}, got {got}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What would be accepted.
        expected: String,
        /// What was given.
        got: String,
    },
}

/// Why inputs do not fit a compiled model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// Wrong number of inputs.
    #[error("the model has {expected} inputs, got {got}")]
    Count {
        /// Inputs of the model.
        expected: usize,
        /// Inputs given.
        got: usize,
    },
    /// Wrong shape.
    #[error("input '{name}': expected shape {expected:?}, got {got:?}")]
    Shape {
        /// Name of the input.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The given shape.
        got: Vec<usize>,
    },
    /// Wrong element type.
    #[error("input '{name}': expected elements of type {expected}, got {got}")]
    Type {
        /// Name of the input.
        name: String,
        /// The model's element type.
        expected: String,
        /// The given element type.
        got: String,
    },
    /// NaN or infinite.
    #[error("input '{name}', element {index}: {value} is not a finite number")]
    NotFinite {
        /// Name of the input.
        name: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A value that the program has no integer for.
    #[error("input '{name}', element {index}: {value} is outside [{lo}, {hi}]; compile with calibration inputs that cover it")]
    Range {
        /// Name of the input.
        name: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: f64,
        /// Smallest admitted value.
        lo: f64,
        /// Largest admitted value.
        hi: f64,
    },
}

/// Why a compiled model cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs do not fit.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A step of the program failed, for example because a value left its calibrated range.
    #[error("executing the program: {0}")]
    Execute(Box<zktorch_program::ExecuteError>),
}

impl From<zktorch_program::ExecuteError> for RunError {
    fn from(e: zktorch_program::ExecuteError) -> RunError {
        RunError::Execute(Box::new(e))
    }
}
