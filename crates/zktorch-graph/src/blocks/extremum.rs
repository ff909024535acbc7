//! Maxima, minima and their positions.

use super::cells::{bit_length, ceil_log2, check_range, checked_cells, letters, negated, signed_bits};
use super::compare::non_negative;
use super::{BlockError, Lowering, broadcast_shape, broadcast_to};
use crate::tensor::{Accumulator, QTensor};
use zktorch_program::{Digit, Part, Step, TableId, Term, View};

/// Distances `d ≥ 0` in one digit of a table, or in two where one would be too wide.
pub(super) struct Distances {
    /// Output columns of the table of the low digit, as tensors at scale 0.
    pub low: Vec<QTensor>,
    /// `1` where the high digit is 0; absent if there is none.
    pub near: Option<QTensor>,
}

/// What to split into distances: `d = floor(Σ terms / 2^shift)`, `0 ≤ d ≤ span`, over all output letters.
pub(super) struct Gap {
    /// Letter sizes.
    pub sizes: Vec<usize>,
    /// Number of output letters.
    pub outputs: usize,
    /// The value.
    pub terms: Vec<Term>,
    /// Bits dropped below `d`.
    pub shift: u32,
    /// Largest distance.
    pub span: i128,
}

/// Cells of distances: allocated first, because a step may use them before they hold distances.
pub(super) struct DistanceCells {
    gap: Gap,
    parts: Vec<Part>,
    views: Vec<View>,
    low: (TableId, Vec<View>),
    high: Option<(TableId, Vec<View>)>,
}

impl DistanceCells {
    /// The low digit's table has the given columns, made by `columns(bits)` for arguments in `[0, 2^bits)`. It has at most 16 bits, and
    /// about `least` bits if the program uses it rarely.
    pub(super) fn new(
        ctx: &mut Lowering,
        node: &str,
        gap: Gap,
        label: &str,
        columns: &dyn Fn(u32) -> Vec<Vec<i64>>,
        least: u32,
    ) -> Result<DistanceCells, BlockError> {
        let bits = bit_length(gap.span).max(1);
        if bits > 32 {
            return Err(BlockError::TooWide { node: node.to_string(), what: "the difference of two elements", bits, limit: 32 });
        }
        let shape = gap.sizes[..gap.outputs].to_vec();
        let widest = if ctx.tables.avoids(label) { least.max(bits.div_ceil(2)).min(16) } else { 16 };
        let low_bits = bits.min(widest);
        let mut parts = vec![Part { weight: 1i128 << gap.shift, lo: 0, bits: low_bits }];
        let table = ctx.builder.function_table(label, 0, columns(low_bits));
        let low = (table, ctx.builder.column_cells(table, &shape));
        let mut views = vec![low.1[0].clone()];
        let mut high = None;
        if bits > low_bits {
            let flags = (0..1i64 << (bits - low_bits)).map(|h| (h == 0) as i64).collect();
            let table = ctx.builder.function_table("is zero", 0, vec![flags]);
            let cells = ctx.builder.column_cells(table, &shape);
            parts.insert(0, Part { weight: 1i128 << (low_bits + gap.shift), lo: 0, bits: bits - low_bits });
            views.insert(0, cells[0].clone());
            high = Some((table, cells));
        }
        if gap.shift > 0 {
            for part in ctx.limbs(gap.shift) {
                let table = ctx.builder.range_table(part.lo, part.bits);
                views.push(ctx.builder.column_cells(table, &shape).swap_remove(0));
                parts.push(part);
            }
        }
        Ok(DistanceCells { gap, parts, views, low, high })
    }

    /// Fills `max` with the maximum over the trailing axes of `floor(Σ terms / 2^shift)`.
    pub(super) fn scratch_maximum(&self, ctx: &mut Lowering, node: &str, terms: Vec<Term>, max: &View) {
        let x = self.scratch(ctx, node, terms);
        ctx.builder.step(Step::Max { x, max: max.clone() });
    }

    /// `floor(Σ terms / 2^shift)`, for steps that come before the distances are known. Until then, their cells hold these values: a value that
    /// is needed for nothing else gets no cell of its own.
    pub(super) fn scratch(&self, ctx: &mut Lowering, node: &str, terms: Vec<Term>) -> View {
        let wide = self.low.1[0].clone();
        let value = Digit { view: wide.clone(), weight: 1i128 << self.gap.shift, lo: -(1 << 40), hi: 1 << 40 };
        let remainder = self.parts.iter().zip(&self.views).filter(|(p, _)| p.weight < 1i128 << self.gap.shift);
        let remainder = remainder.map(|(p, v)| Digit { view: v.clone(), weight: p.weight, lo: p.lo, hi: p.lo + (1i64 << p.bits) - 1 });
        ctx.builder.step(Step::Digits {
            node: node.to_string(),
            sizes: self.gap.sizes.clone(),
            outputs: self.gap.outputs,
            terms,
            digits: std::iter::once(value).chain(remainder).collect(),
        });
        wide
    }

    /// The table of the low digits.
    pub(super) fn table(&self) -> TableId {
        self.low.0
    }

    /// States what the distances are and looks them up.
    pub(super) fn finish(self, ctx: &mut Lowering, node: &str) -> Distances {
        let DistanceCells { gap, parts, views, low: (table, low), high } = self;
        ctx.builder.decompose_into(node, &gap.sizes, gap.outputs, gap.terms, &parts, &views);
        ctx.builder.apply(node, table, &low);
        let near = high.map(|(table, cells)| {
            ctx.builder.apply(node, table, &cells);
            QTensor { view: cells[1].clone(), scale: 0, lo: 0, hi: 1 }
        });
        let columns = low.into_iter().enumerate().skip(1);
        let low = columns
            .map(|(c, view)| {
                let (lo, hi) = ctx.builder.table_ref(table).bounds(c).unwrap_or((0, 0));
                QTensor { view, scale: 0, lo, hi }
            })
            .collect();
        Distances { low, near }
    }
}

impl Distances {
    /// `column·near` over all letters, as a term; an identity with fewer output letters sums it.
    pub(super) fn total(&self, column: usize) -> Vec<Term> {
        let shape = self.low[column].shape();
        let all = letters(shape.len());
        let term = Term::linear(1, self.low[column].view.clone(), &all);
        vec![match &self.near {
            Some(near) => term.times(near.view.clone(), &all),
            None => term,
        }]
    }

    /// `column·near` as a tensor: new cells only where distances have two digits.
    pub(super) fn column(&self, ctx: &mut Lowering, node: &str, column: usize) -> QTensor {
        let low = &self.low[column];
        if self.near.is_none() {
            return low.clone();
        }
        let shape = low.shape();
        let (lo, hi) = (low.lo.min(0), low.hi.max(0));
        let view = ctx.builder.assign(node, &shape, shape.len(), self.total(column), lo, hi);
        QTensor { view, scale: 0, lo, hi }
    }

    /// At least one distance of a row is 0: `Σ_k z_k - 1 ∈ [0, 2^b)` with `2^b ≥ K`; `z` is the given column.
    pub(super) fn attained(&self, ctx: &mut Lowering, node: &str, column: usize, outputs: usize) -> Result<(), BlockError> {
        let shape = self.low[column].shape();
        let count: usize = shape[outputs..].iter().product();
        if count > 1 << 16 {
            return Err(BlockError::unsupported(
                node,
                format!("a reduction over {count} elements; at most 65536 are possible"),
                "reduce in two steps",
            ));
        }
        let mut terms = self.total(column);
        terms.push(Term::constant(-1));
        ctx.builder.decompose(node, &shape, outputs, terms, &ctx.limbs(ceil_log2(count).max(1)));
        Ok(())
    }
}

/// Range-checked cells for a maximum in `lo..=hi`. The caller fills them, calls [`check_range`] with the returned range and proves that
/// they are the maximum.
pub(super) fn maximum_cells(ctx: &mut Lowering, shape: &[usize], scale: i32, lo: i128, hi: i128) -> (QTensor, u32) {
    let bits = signed_bits(lo, hi);
    let lo = -(1i64 << (bits - 1));
    let view = checked_cells(ctx, shape, lo, bits);
    (QTensor { view, scale, lo, hi: (1i64 << (bits - 1)) - 1 }, bits)
}

fn is_zero(bits: u32) -> Vec<Vec<i64>> {
    vec![(0..1i64 << bits).map(|d| (d == 0) as i64).collect()]
}

/// `max_k u[o, k]` for `u = Σ terms` (all letters are output letters of `u`) over the letters from `n_outputs` on.
fn maximum_of(ctx: &mut Lowering, node: &str, u: &Accumulator, n_outputs: usize) -> Result<QTensor, BlockError> {
    let shape = u.sizes.clone();
    if n_outputs >= shape.len() {
        return Err(BlockError::Shape {
            node: node.to_string(),
            what: "a reduction needs at least one axis after the output axes",
            expected: vec![n_outputs + 1],
            got: vec![shape.len()],
        });
    }
    let (m, bits) = maximum_cells(ctx, &shape[..n_outputs], u.scale, u.lo, u.hi);
    let mut terms = negated(&u.terms);
    terms.push(Term::linear(1, m.view.clone(), &letters(n_outputs)));
    let gap = Gap { outputs: shape.len(), sizes: shape, terms, shift: 0, span: u.hi - u.lo };
    let cells = DistanceCells::new(ctx, node, gap, "is zero", &is_zero, 1)?;
    match u.as_tensor() {
        Some(x) => ctx.builder.step(Step::Max { x: x.view, max: m.view.clone() }),
        None => cells.scratch_maximum(ctx, node, u.terms.clone(), &m.view),
    }
    check_range(ctx, node, &m.view, m.lo, bits);
    cells.finish(ctx, node).attained(ctx, node, 0, n_outputs)?;
    Ok(m)
}

/// `y[o] = max_k x[o, k]` over all axes of `x` from `n_outputs` on (pooling windows may overlap), at the scale of `x`.
///
/// `d_k = y - x_k`, `(d_k, z_k = [d_k = 0])` in a table, `Σ_k z_k - 1 ∈ [0, K)`: `y` is at least every `x_k` and equals one of them.
pub(crate) fn reduce_max(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize) -> Result<QTensor, BlockError> {
    maximum_of(ctx, node, &Accumulator::of(x), n_outputs)
}

/// `y[o] = min_k x[o, k]`: minus the maximum of `-x`; see [`reduce_max`].
pub(crate) fn reduce_min(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize) -> Result<QTensor, BlockError> {
    let m = maximum_of(ctx, node, &Accumulator::of(x).times(-1), n_outputs)?;
    let shape = m.shape();
    let terms = vec![Term::linear(-1, m.view, &letters(shape.len()))];
    let view = ctx.builder.assign(node, &shape, shape.len(), terms, -m.hi, -m.lo);
    Ok(QTensor { view, scale: x.scale, lo: -m.hi, hi: -m.lo })
}

/// Position of the largest element along the last axis of `x`, the first one (or the last one, with `last`) of equal elements; scale 0.
/// The result drops the axis.
///
/// The keys `2^L·x_k + ρ_k`, where `ρ_k = k` for the last and `N - 1 - k` for the first of equal elements, all differ. Their maximum
/// `2^L·y + ρ` splits uniquely into `y` and `ρ`, which is the position or `N - 1` minus it.
pub(crate) fn arg_max(ctx: &mut Lowering, node: &str, x: &QTensor, last: bool) -> Result<QTensor, BlockError> {
    position(ctx, node, x, 1, last)
}

/// Position of the smallest element; see [`arg_max`].
pub(crate) fn arg_min(ctx: &mut Lowering, node: &str, x: &QTensor, last: bool) -> Result<QTensor, BlockError> {
    position(ctx, node, x, -1, last)
}

fn position(ctx: &mut Lowering, node: &str, x: &QTensor, sign: i128, last: bool) -> Result<QTensor, BlockError> {
    let shape = x.shape();
    let Some(outer) = shape.len().checked_sub(1) else {
        return Err(BlockError::Shape { node: node.to_string(), what: "a position needs an axis", expected: vec![1], got: shape });
    };
    let count = shape[outer];
    let bits = ceil_log2(count).max(1);
    let end = count as i64 - 1;
    let ranks: Vec<i64> = (0..=end).map(|k| if last { k } else { end - k }).collect();
    let ranks = QTensor { view: ctx.builder.constant(&format!("{node}.ranks"), &[count], ranks), scale: 0, lo: 0, hi: end };
    let all = letters(shape.len());
    let mut keys = Accumulator::zero(&shape, 0);
    keys.push(sign << bits, &[(x, &all)]);
    keys.push(1, &[(&ranks, &all[outer..])]);
    let m = maximum_of(ctx, node, &keys, outer)?;
    let rows = &shape[..outer];
    let terms = vec![Term::linear(1, m.view.clone(), &all[..outer])];
    let high = signed_bits(m.lo as i128 >> bits, m.hi as i128 >> bits);
    let mut terms = terms;
    let mut parts = vec![Part { weight: 1i128 << bits, lo: -(1i64 << (high - 1)), bits: high }];
    if high > ctx.tables.value_bits {
        terms.push(Term::constant(1i128 << (high - 1 + bits)));
        parts = ctx.limbs(high).into_iter().map(|p| Part { weight: p.weight << bits, ..p }).collect();
    }
    parts.push(Part { weight: 1, lo: 0, bits });
    let mut digits = ctx.builder.decompose(node, rows, outer, terms, &parts);
    let Some(rank) = digits.pop() else { unreachable!("the last part was pushed") };
    let hi = (1i64 << bits) - 1;
    if last {
        return Ok(QTensor { view: rank, scale: 0, lo: 0, hi });
    }
    let terms = vec![Term::constant(end as i128), Term::linear(-1, rank, &all[..outer])];
    let view = ctx.builder.assign(node, rows, outer, terms, end - hi, end);
    Ok(QTensor { view, scale: 0, lo: end - hi, hi: end })
}

/// `[a ≥ b]·(a - b)` over the broadcast shape, and both operands.
fn excess(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<(Accumulator, Accumulator, Accumulator), BlockError> {
    let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
    let scale = a.scale.max(b.scale);
    let a = broadcast_to(node, a, &shape)?;
    let b = broadcast_to(node, b, &shape)?;
    let (ua, ub) = (Accumulator::of(&a).rescaled(scale), Accumulator::of(&b).rescaled(scale));
    let g = non_negative(ctx, node, &ua.clone().plus(-1, ub.clone()))?;
    let all = letters(shape.len());
    let mut product = Accumulator::zero(&shape, scale);
    product.push(1i128 << (scale - a.scale), &[(&g, &all), (&a, &all)]);
    product.push(-(1i128 << (scale - b.scale)), &[(&g, &all), (&b, &all)]);
    Ok((product, ua, ub))
}

/// Elementwise larger one of two tensors, with broadcasting, no cell yet: `b + [a ≥ b]·(a - b)` at the finer scale.
pub(crate) fn max_of(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<Accumulator, BlockError> {
    let (excess, _, b) = excess(ctx, node, a, b)?;
    Ok(b.plus(1, excess))
}

/// Elementwise smaller one of two tensors, with broadcasting, no cell yet: `a - [a ≥ b]·(a - b)` at the finer scale.
pub(crate) fn min_of(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<Accumulator, BlockError> {
    let (excess, a, _) = excess(ctx, node, a, b)?;
    Ok(a.plus(-1, excess))
}
