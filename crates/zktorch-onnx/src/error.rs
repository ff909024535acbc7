//! Errors of the importer.

use std::fmt;
use std::path::PathBuf;
use zktorch_float::{EvalError, GraphError};

/// One thing in a model that the importer does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The node.
    pub node: String,
    /// Its operator, with the domain where it is not `ai.onnx`.
    pub op: String,
    /// The attribute at fault, if it is one.
    pub attribute: Option<String>,
    /// Version of the operator set.
    pub opset: i64,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node '{}' ({}, opset {})", self.node, self.op, self.opset)?;
        if let Some(attribute) = &self.attribute {
            write!(f, ", attribute '{attribute}'")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Lines that an error shows before it only counts the rest.
const MAX_LINES: usize = 20;

fn list(items: &[Unsupported]) -> String {
    let mut text = String::new();
    for item in items.iter().take(MAX_LINES) {
        text.push_str("\n  ");
        text.push_str(&item.to_string());
    }
    if items.len() > MAX_LINES {
        text.push_str(&format!("\n  and {} more", items.len() - MAX_LINES));
    }
    text
}

/// A dimension of an input whose size the file leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDim {
    /// The input.
    pub input: String,
    /// The axis.
    pub axis: usize,
    /// Name of the size: the model's symbol, or `INPUT.AXIS` if there is none.
    pub dim: String,
}

/// The options that give all sizes, each once.
fn flags(open: &[OpenDim]) -> String {
    let mut flags: Vec<String> = open.iter().map(|d| format!("--dim {}=N", d.dim)).collect();
    let mut seen = std::collections::HashSet::new();
    flags.retain(|f| seen.insert(f.clone()));
    flags.join(" ")
}

fn unnamed(open: &[OpenDim]) -> &'static str {
    let unnamed = open.iter().any(|d| d.dim == format!("{}.{}", d.input, d.axis));
    if unnamed { " (INPUT.AXIS stands for a dimension without a name; axes count from 0)" } else { "" }
}

/// A model that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no protobuf message of the right kind: another format, or a truncated file.
    #[error("not an ONNX model, or a damaged one: {0}")]
    NotOnnx(String),
    /// The graph computes nothing.
    #[error("the model's graph has no {0}")]
    EmptyGraph(&'static str),
    /// The operator set is too old, too new or missing.
    #[error("operator set {domain} version {version} is not supported (supported: {supported})")]
    Opset {
        /// Domain.
        domain: String,
        /// Version in the file.
        version: i64,
        /// What would be accepted.
        supported: &'static str,
    },
    /// Operators or attributes that are not known; all of the model at once.
    #[error("{} unsupported item(s):{}", .0.len(), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// Sizes of the inputs that neither the file nor the options say; all of the model at once.
    #[error("the file leaves open the size of {}; give {}{}", .0.iter().map(|d| format!("input '{}' axis {}", d.input, d.axis)).collect::<Vec<_>>().join(", "), flags(.0), unnamed(.0))]
    MissingDims(Vec<OpenDim>),
    /// A size is given for a dimension that the model does not have.
    #[error("the model has no dimension '{name}'; its symbolic dimensions are: {}", if .known.is_empty() { "(none, all sizes are fixed)".to_owned() } else { .known.join(", ") })]
    UnknownDim {
        /// The name given.
        name: String,
        /// Names of the model's open dimensions.
        known: Vec<String>,
    },
    /// Two different sizes for one dimension.
    #[error("dimension '{name}' is {size} in the model or in another option, but {given} is given")]
    DimConflict {
        /// The name given.
        name: String,
        /// The size that is known.
        size: usize,
        /// The size given.
        given: usize,
    },
    /// An input has a type that the importer does not know.
    #[error("input '{input}': {reason}")]
    Input {
        /// The input.
        input: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant cannot be read.
    #[error("tensor '{tensor}': {reason}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// Two definitions have the same name.
    #[error("'{0}' is defined more than once")]
    Duplicate(String),
    /// A value is read that nothing defines.
    #[error("{reader} reads '{value}', which nothing defines")]
    Undefined {
        /// Node or output list that reads it.
        reader: String,
        /// The value.
        value: String,
    },
    /// Nodes that wait for each other.
    #[error("the graph has a cycle through node(s) {0}")]
    Cycle(String),
    /// A node cannot be translated.
    #[error("node '{node}' ({op}): {reason}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What is wrong.
        reason: String,
    },
    /// The imported graph is inconsistent.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The imported graph cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
}
