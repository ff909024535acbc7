//! Rows of a (committed) table by computed index: embeddings.

use super::{BlockError, Lowering};
use crate::tensor::QTensor;
use zktorch_program::Step;

/// `out[i, …] = table[index[i], …]`: axis 0 of `table` counts rows; `index` has scale 0. The result has the axes of `index`, then those of
/// a row, the scale of `table` and the bounds declared for its cells. An index outside the table is an error of execution that names the node.
pub(crate) fn gather_rows(ctx: &mut Lowering, node: &str, index: &QTensor, table: &QTensor) -> Result<QTensor, BlockError> {
    if index.scale != 0 {
        return Err(BlockError::unsupported(node, format!("indices at scale {}", index.scale), "make the indices an integer tensor"));
    }
    let Some((_, row)) = table.view.axes.split_first() else {
        return Err(BlockError::Shape { node: node.to_string(), what: "a table of rows", expected: vec![1], got: vec![] });
    };
    let at = if index.view.axes.is_empty() { index.view.broadcast_axis(0, 1) } else { index.view.clone() };
    let mut shape = at.shape();
    let index_axes = shape.len();
    shape.extend(row.iter().map(|a| a.size));
    let (lo, hi) = ctx.builder.bounds(&table.view);
    let (lo, hi) = (lo as i64, hi as i64);
    let out = ctx.builder.assigned_cells(&shape, lo, hi);
    let id = ctx.builder.rows_table(node, table.view.clone());
    ctx.builder.step(Step::Gather { node: node.to_string(), table: id, index: at.clone(), out: out.clone() });
    ctx.builder.lookup(node, id, vec![at, out.clone()], index_axes);
    let view = if index.view.axes.is_empty() { out.at(0, 0) } else { out };
    Ok(QTensor { view, scale: table.scale, lo, hi })
}
