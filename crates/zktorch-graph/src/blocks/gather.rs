//! Rows of a (committed) table by computed index: embeddings; computed indices on an axis.

use super::cells::{bit_length, compact, letters, look_up, spread};
use super::compare::non_negative;
use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, QTensor};
use zktorch_program::{Step, Term};

/// Most rows of a table.
const MOST_ROWS: i64 = 1 << 16;

/// `p = i` for `i ≥ 0`, else `p = i + size`, with `0 ≤ p < size`, for `size < 2^31`: an index into an axis, counted from its start. An index
/// outside of `[-size, size)` is an error of execution that names the node, and no proof exists.
///
/// A table of all indices where it has at most 2^16 rows and is worth them: one cell and lookup per distinct index. Else
/// `p = i + size·(1 - [i ≥ 0])` with `p ∈ [0, 2^b)` and `size - 1 - p ∈ [0, 2^b)` in limbs. Nothing if the bounds of `index` say enough.
pub(crate) fn position(ctx: &mut Lowering, node: &str, index: &QTensor, size: usize) -> Result<QTensor, BlockError> {
    if index.scale != 0 {
        return Err(BlockError::unsupported(node, format!("indices at scale {}", index.scale), "make the indices an integer tensor"));
    }
    let Some(size) = i64::try_from(size).ok().filter(|s| (1..1 << 31).contains(s)) else {
        return Err(BlockError::unsupported(node, format!("indices into {size} elements"), "gather from fewer elements"));
    };
    if index.lo >= 0 && index.hi < size {
        return Ok(index.clone());
    }
    let first = if index.lo < 0 { -size } else { 0 };
    let label = format!("index into {size} from {first}");
    if size - first <= MOST_ROWS && !ctx.tables.avoids(&label) {
        let table = ctx.builder.function_table(&label, first, vec![(first..size).map(|i| i.rem_euclid(size)).collect()]);
        return Ok(look_up(ctx, node, table, index).swap_remove(0));
    }
    let view = compact(&index.view);
    let shape = view.shape();
    let all = letters(shape.len());
    let bits = bit_length(i128::from(size) - 1).max(1);
    let mut place = Accumulator::of(&QTensor { view, ..index.clone() });
    if index.lo < 0 {
        let forward = non_negative(ctx, node, &place)?;
        place.add_constant(i128::from(size));
        place.push(-i128::from(size), &[(&forward, &all)]);
    }
    let hi = (1i64 << bits) - 1;
    let p = ctx.builder.assigned_cells(&shape, 0, hi);
    ctx.builder.assign_into(node, &shape, shape.len(), place.terms, &p, 0, size - 1);
    let limbs = ctx.limbs(bits);
    ctx.builder.decompose(node, &shape, shape.len(), vec![Term::linear(1, p.clone(), &all)], &limbs);
    let below = vec![Term::constant(i128::from(size) - 1), Term::linear(-1, p.clone(), &all)];
    ctx.builder.decompose(node, &shape, shape.len(), below, &limbs);
    Ok(QTensor { view: spread(p, &index.view), scale: 0, lo: 0, hi })
}

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
