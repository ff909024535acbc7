//! Digits and range-checked cells that several blocks are made of.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, QTensor};
use zktorch_program::{Part, Term, View};

/// Identities stay below `2^LIMIT_BITS`, so that they hold over the integers and not only modulo the field's order.
pub(super) const LIMIT_BITS: u32 = 118;

/// Letters `0..n`.
pub(super) fn letters(n: usize) -> Vec<u8> {
    (0..n as u8).collect()
}

/// Number of bits of `v ≥ 0`; 0 for 0.
pub(super) fn bit_length(v: i128) -> u32 {
    i128::BITS - v.leading_zeros()
}

/// Smallest `b` with `2^b ≥ n`.
pub(super) fn ceil_log2(n: usize) -> u32 {
    n.next_power_of_two().trailing_zeros()
}

/// Errors unless the accumulator stays far below the field's order.
pub(super) fn check_width(node: &str, what: &'static str, acc: &Accumulator) -> Result<(), BlockError> {
    let bits = bit_length(acc.lo.saturating_abs().max(acc.hi.saturating_abs()));
    if bits > LIMIT_BITS {
        return Err(BlockError::TooWide { node: node.to_string(), what, bits, limit: LIMIT_BITS });
    }
    Ok(())
}

impl Lowering {
    /// Digits of an integer in `[0, 2^bits)`, most significant first, at most `limb_bits` bits each, at least one.
    pub(crate) fn limbs(&self, bits: u32) -> Vec<Part> {
        let width = self.tables.limb_bits;
        let count = bits.div_ceil(width).max(1);
        (0..count)
            .rev()
            .map(|i| Part { weight: 1i128 << (width * i), lo: 0, bits: bits.saturating_sub(width * i).clamp(1, width) })
            .collect()
    }
}

/// A leading digit whose cells exist already (a column of a table).
pub(super) struct Top {
    /// Weight (before the shift) and range.
    pub part: Part,
    /// The cells.
    pub view: View,
}

/// `acc + 2^(s-1) = 2^s·Σ tops + r` with `r ∈ [0, 2^s)` in fresh limbs; `acc = Σ tops` for `s = 0`.
pub(super) fn decompose_rounded(ctx: &mut Lowering, node: &str, acc: &Accumulator, s: u32, tops: &[Top]) {
    let mut terms = acc.terms.clone();
    let mut parts: Vec<Part> = Vec::new();
    let mut views = Vec::new();
    for t in tops {
        parts.push(Part { weight: t.part.weight << s, ..t.part });
        views.push(t.view.clone());
    }
    if s > 0 {
        terms.push(Term::constant(1i128 << (s - 1)));
        let limbs = ctx.limbs(s);
        views.extend(ctx.builder.digit_cells(node, acc.shape(), &limbs));
        parts.extend(limbs);
    }
    ctx.builder.decompose_into(node, &acc.sizes, acc.outputs, terms, &parts, &views);
}

/// Cells for integers in `[lo, lo + 2^bits)` that a later step fills: a column of a range table, or (above
/// [`TablePlan::value_bits`](super::TablePlan)) cells that
/// [`check_range`] bounds.
pub(crate) fn checked_cells(ctx: &mut Lowering, shape: &[usize], lo: i64, bits: u32) -> View {
    if bits <= ctx.tables.value_bits {
        let table = ctx.builder.range_table(lo, bits);
        ctx.builder.column_cells(table, shape).swap_remove(0)
    } else {
        ctx.builder.assigned_cells(shape, lo, lo + ((1i64 << bits) - 1))
    }
}

/// Bounds cells from [`checked_cells`], after the step that fills them, where no table does: `cell - lo = Σ limbs`.
pub(crate) fn check_range(ctx: &mut Lowering, node: &str, view: &View, lo: i64, bits: u32) {
    if bits > ctx.tables.value_bits {
        let shape = view.shape();
        let terms = vec![Term::linear(1, view.clone(), &letters(shape.len())), Term::constant(-(lo as i128))];
        ctx.builder.decompose(node, &shape, shape.len(), terms, &ctx.limbs(bits));
    }
}

/// States `Σ terms ∈ [0, 2^bits)` by limbs.
pub(super) fn check_terms(ctx: &mut Lowering, node: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>, bits: u32) {
    ctx.builder.decompose(node, sizes, outputs, terms, &ctx.limbs(bits));
}

/// The terms with their signs changed.
pub(super) fn negated(terms: &[Term]) -> Vec<Term> {
    terms.iter().map(|t| Term { coeff: -t.coeff, factors: t.factors.clone() }).collect()
}

/// Smallest signed width that holds `lo..=hi`, at least 2.
pub(super) fn signed_bits(lo: i128, hi: i128) -> u32 {
    (bit_length(hi.max(0)).max(bit_length(-(lo.min(0) + (lo < 0) as i128))) + 1).max(2)
}

/// The same cells without repetitions: axes of stride 0 get size 1, and a scalar gets one axis. [`spread`] undoes it.
pub(super) fn compact(view: &View) -> View {
    let mut v = view.clone();
    for a in &mut v.axes {
        if a.stride == 0 {
            a.size = 1;
        }
    }
    if v.axes.is_empty() { v.broadcast_axis(0, 1) } else { v }
}

/// Gives cells of the shape of `compact(like)` the shape of `like` again.
pub(super) fn spread(mut view: View, like: &View) -> View {
    if like.axes.is_empty() {
        view.axes.clear();
        return view;
    }
    for (a, l) in view.axes.iter_mut().zip(&like.axes) {
        if l.stride == 0 {
            a.size = l.size;
            a.stride = 0;
        }
    }
    view
}

/// Applies a function table to existing cells: `outputs[c][i] = table[x[i]]` in new cells, one lookup per distinct cell of `x`.
pub(super) fn look_up(ctx: &mut Lowering, node: &str, table: zktorch_program::TableId, x: &QTensor) -> Vec<QTensor> {
    let arg = compact(&x.view);
    let shape = arg.shape();
    let columns = ctx.builder.table_ref(table).columns();
    let bounds: Vec<(i64, i64)> = (1..columns).map(|c| ctx.builder.table_ref(table).bounds(c).unwrap_or((0, 0))).collect();
    let outputs: Vec<View> = bounds.iter().map(|&(lo, hi)| ctx.builder.assigned_cells(&shape, lo, hi)).collect();
    let mut views = vec![arg];
    views.extend(outputs.iter().cloned());
    ctx.builder.apply(node, table, &views);
    ctx.builder.lookup(node, table, views, shape.len());
    outputs.into_iter().zip(bounds).map(|(v, (lo, hi))| QTensor { view: spread(v, &x.view), scale: 0, lo, hi }).collect()
}
