//! Why a block cannot be lowered.

/// A block that cannot be lowered with the operands and format it got.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Operands or format are outside what the block can do.
    #[error("node `{node}`: {what}; {help}")]
    Unsupported {
        /// Name of the graph node.
        node: String,
        /// What is wrong: expected and got.
        what: String,
        /// A way out.
        help: String,
    },
    /// Integers are wider than the node's identities, tables or steps allow; no identity takes 2^118 or more, too close to the field's size.
    #[error("node `{node}`: {what} needs {bits} bits, the limit is {limit}; use fewer bits for the node's inputs")]
    TooWide {
        /// Name of the graph node.
        node: String,
        /// Which value.
        what: &'static str,
        /// Its width in bits.
        bits: u32,
        /// The most bits that are possible.
        limit: u32,
    },
    /// A row of a masked reduction has no element left.
    #[error("node `{node}`: row {row} of the mask has no allowed position; let each row attend to at least one position")]
    EmptyRow {
        /// Name of the graph node.
        node: String,
        /// Row number, counted row-major over the outer axes.
        row: usize,
    },
    /// Shapes of operands do not fit together.
    #[error("node `{node}`: {what}: expected {expected:?}, got {got:?}")]
    Shape {
        /// Name of the graph node.
        node: String,
        /// Which operand.
        what: &'static str,
        /// The expected shape.
        expected: Vec<usize>,
        /// The operand's shape.
        got: Vec<usize>,
    },
}

impl BlockError {
    pub(crate) fn unsupported(node: &str, what: impl Into<String>, help: impl Into<String>) -> BlockError {
        BlockError::Unsupported { node: node.to_string(), what: what.into(), help: help.into() }
    }
}
