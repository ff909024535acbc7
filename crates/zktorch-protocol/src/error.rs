//! Why a proof is rejected, or cannot be made.

use crate::pcs::PcsError;

/// Why a proof is rejected. Every rejection has a variant of its own.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// The proof ends before the last message.
    #[error("E0501: the proof is truncated: it ends inside {what}")]
    Truncated {
        /// The message that was being read.
        what: &'static str,
    },
    /// Bytes follow the last message.
    #[error("E0502: {count} bytes follow the end of the proof")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A point is not canonically encoded or not on the curve.
    #[error("E0503: {what} is not a canonical encoding of a curve point")]
    BadPoint {
        /// The message.
        what: &'static str,
    },
    /// A scalar is not canonically encoded.
    #[error("E0504: {what} is not a canonical field element")]
    BadScalar {
        /// The message.
        what: &'static str,
    },
    /// The statement has another number of public tensors than the program.
    #[error("E0505: the statement has {got} public tensors, the model has {expected}")]
    PublicCount {
        /// By the verifying key.
        expected: usize,
        /// In the statement.
        got: usize,
    },
    /// A public tensor has another number of values than the program says.
    #[error("E0506: public tensor {name} has {got} values, the model says {expected}")]
    PublicLength {
        /// Name of the tensor.
        name: String,
        /// By the verifying key.
        expected: usize,
        /// In the statement.
        got: usize,
    },
    /// A public value is outside the range that the program admits.
    #[error("E0507: value {value} of public tensor {name} at position {index} is outside {lo}..={hi}")]
    PublicRange {
        /// Name of the tensor.
        name: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: i64,
        /// Smallest admitted.
        lo: i64,
        /// Largest admitted.
        hi: i64,
    },
    /// The decider's sumcheck is inconsistent: the verifier circuit is not satisfied.
    #[error("E0510: the verifier circuit is not satisfied")]
    Circuit,
    /// The evaluation claims do not reduce to one point.
    #[error("E0512: the evaluation claims are inconsistent with each other")]
    BatchedClaims,
    /// The polynomial opening is wrong.
    #[error("E0513: the polynomial opening is wrong: {0}")]
    Opening(#[from] PcsError),
    /// The folds do not form a tree over the leaves.
    #[error("E0514: the folds of the proof do not form a tree over its inferences and segments")]
    Tree,
    /// A proof of several parts lacks one, has one twice, or has none.
    #[error("E0515: the parts of the proof do not make up its statement: {0}")]
    Parts(String),
    /// The verifying key describes a program that no proof can be checked against.
    #[error("E0520: the verifying key is not valid: {0}")]
    Key(String),
}
