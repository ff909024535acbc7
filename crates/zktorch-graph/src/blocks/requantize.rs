//! Rescaling by powers of two.

use super::cells::{Top, check_width, decompose_rounded, letters};
use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Term};

/// `y = floor(acc / 2^s + 1/2)` with `s = acc.scale - out.scale`, as cells of format `out` (`bits ≤ 32`).
///
/// `s > 0`: `acc + 2^(s-1) = y·2^s + r`, `y` in a signed range table or `y - lo` in limbs, `r ∈ [0, 2^s)` in limbs. `s ≤ 0`: `y = acc·2^-s`
/// exactly, without a lookup where the bounds of `acc` fit the format. A tensor that has the format already is returned as it is.
/// A value outside the format is an error of execution that names the node.
pub(crate) fn requantize(ctx: &mut Lowering, node: &str, acc: &Accumulator, out: Format) -> Result<QTensor, BlockError> {
    if !(2..=32).contains(&out.bits) {
        return Err(BlockError::unsupported(
            node,
            format!("an output of {} bits; 2 to 32 are possible", out.bits),
            "choose a width in that range",
        ));
    }
    check_width(node, "the accumulator", acc)?;
    let shift = acc.scale - out.scale;
    if shift < -64 {
        return Err(BlockError::unsupported(node, format!("a rescale by 2^{}", -shift), "choose scales that differ by at most 64 bits"));
    }
    let acc = &*acc.at_least(out.scale);
    check_width(node, "the accumulator", acc)?;
    let s = shift.max(0) as u32;
    if s == 0 && acc.lo >= out.lo() as i128 && acc.hi <= out.hi() as i128 {
        if let Some(tensor) = acc.as_tensor() {
            return Ok(tensor);
        }
        let (lo, hi) = (acc.lo as i64, acc.hi as i64);
        let view = ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms.clone(), lo, hi);
        return Ok(QTensor { view, scale: out.scale, lo, hi });
    }
    let shape = acc.shape().to_vec();
    let in_table = out.bits <= ctx.tables.value_bits;
    let view = if in_table {
        let table = ctx.builder.range_table(out.lo(), out.bits);
        ctx.result_cells(node, table, &shape).swap_remove(0)
    } else {
        ctx.builder.assigned_cells(&shape, out.lo(), out.hi())
    };
    let y = QTensor { view, scale: out.scale, lo: out.lo(), hi: out.hi() };
    if in_table {
        let top = [Top { part: Part { weight: 1, lo: out.lo(), bits: out.bits }, view: y.view.clone() }];
        decompose_rounded(ctx, node, acc, s, &top);
    } else {
        // A wide result, less its smallest value, is a sum of limbs; the sum gets a cell because a tensor is one view.
        let tops: Vec<Top> = ctx
            .limbs(out.bits)
            .into_iter()
            .map(|part| {
                let table = ctx.builder.range_table(part.lo, part.bits);
                Top { part, view: ctx.builder.column_cells(table, &shape).swap_remove(0) }
            })
            .collect();
        let mut lifted = acc.clone();
        lifted.add_constant(-(out.lo() as i128) << s);
        decompose_rounded(ctx, node, &lifted, s, &tops);
        let all = letters(shape.len());
        let mut terms: Vec<Term> = tops.iter().map(|t| Term::linear(t.part.weight, t.view.clone(), &all)).collect();
        terms.push(Term::constant(out.lo() as i128));
        ctx.builder.assign_into(node, &shape, shape.len(), terms, &y.view, y.lo, y.hi);
    }
    Ok(y)
}

/// `y = acc` as cells in `[0, 2^bits)`, for sums whose bounds say less than is known of them: one cell and one lookup per element. A value outside
/// of the range is an error of execution that names the node.
pub(crate) fn bounded(ctx: &mut Lowering, node: &str, acc: &Accumulator, bits: u32) -> Result<QTensor, BlockError> {
    check_width(node, "the accumulator", acc)?;
    let table = ctx.builder.range_table(0, bits);
    let view = ctx.result_cells(node, table, acc.shape()).swap_remove(0);
    let top = [Top { part: Part { weight: 1, lo: 0, bits }, view: view.clone() }];
    decompose_rounded(ctx, node, acc, 0, &top);
    Ok(QTensor { view, scale: acc.scale, lo: 0, hi: (1i64 << bits) - 1 })
}
