//! The integers of one inference.

use serde::{Deserialize, Serialize};

/// All private and public integers of one inference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The heap, `heap_len` cells, 0 where no region lies, and behind it the virtual regions.
    pub heap: Vec<i64>,
    /// The public tensors, row-major, in the program's order.
    pub publics: Vec<Vec<i64>>,
}
