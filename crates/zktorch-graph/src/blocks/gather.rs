//! Rows of a (committed) table by computed index: embeddings.

use super::{BlockError, Lowering};
use crate::tensor::QTensor;

/// `out[i, …] = table[index[i], …]`: axis 0 of `table` counts rows; `index` has scale 0. The result has the axes of `index`, then those of
/// a row, and the scale and bounds of `table`. An index outside the table is an error of execution that names the node.
pub(crate) fn gather_rows(
    ctx: &mut Lowering,
    node: &str,
    index: &QTensor,
    table: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, index, table);
    Err(BlockError::unsupported(node, "gather", ""))
}
