//! Maxima, minima and their positions.

use super::cells::{ceil_log2, check_range, checked_cells, letters, limbs, signed_bits};
use super::compare::non_negative;
use super::{BlockError, Lowering, broadcast_shape, broadcast_to};
use crate::tensor::{Accumulator, QTensor};
use zktorch_program::{Part, Step, Term, View};

/// Distances `d ≥ 0` in one digit of a table, or in two where they can reach 2^16.
pub(super) struct Distances {
    /// Output columns of the table of the low digit, as tensors at scale 0.
    pub low: Vec<QTensor>,
    /// `1` where the high digit is 0; absent if there is none.
    pub near: Option<QTensor>,
}

/// Splits `d = Σ terms`, `0 ≤ d ≤ span`, over all letters of `shape`: the low digit's table has the given columns, made by `columns(bits)`
/// for arguments in `[0, 2^bits)`.
pub(super) fn distances(
    ctx: &mut Lowering,
    node: &str,
    shape: &[usize],
    terms: Vec<Term>,
    span: i128,
    label: &str,
    columns: &dyn Fn(u32) -> Vec<Vec<i64>>,
) -> Result<Distances, BlockError> {
    let bits = (i128::BITS - span.leading_zeros()).max(1);
    if bits > 32 {
        return Err(BlockError::TooWide { node: node.to_string(), what: "the difference of two elements", bits });
    }
    let low_bits = bits.min(16);
    let mut parts = vec![Part { weight: 1, lo: 0, bits: low_bits }];
    let table = ctx.builder.function_table(label, 0, columns(low_bits));
    let low = ctx.builder.column_cells(table, shape);
    let mut views = vec![low[0].clone()];
    let mut high = None;
    if bits > 16 {
        let flags = (0..1i64 << (bits - 16)).map(|h| (h == 0) as i64).collect();
        let table = ctx.builder.function_table("is zero", 0, vec![flags]);
        let cells = ctx.builder.column_cells(table, shape);
        parts.insert(0, Part { weight: 1 << 16, lo: 0, bits: bits - 16 });
        views.insert(0, cells[0].clone());
        high = Some((table, cells));
    }
    ctx.builder.decompose_into(node, shape, shape.len(), terms, &parts, &views);
    ctx.builder.apply(node, table, &low);
    let near = high.map(|(table, cells)| {
        ctx.builder.apply(node, table, &cells);
        QTensor { view: cells[1].clone(), scale: 0, lo: 0, hi: 1 }
    });
    let low = low
        .into_iter()
        .enumerate()
        .skip(1)
        .map(|(c, view)| {
            let (lo, hi) = ctx.builder.table_ref(table).bounds(c).unwrap_or((0, 0));
            QTensor { view, scale: 0, lo, hi }
        })
        .collect();
    Ok(Distances { low, near })
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
        ctx.builder.decompose(node, &shape, outputs, terms, &limbs(ceil_log2(count).max(1)));
        Ok(())
    }
}

/// Records the steps that write the maximum into the cells of a view.
pub(super) type Fill<'a> = Box<dyn FnOnce(&mut Lowering, &View) + 'a>;

/// The maximum over all trailing axes.
pub(super) fn plain_maximum(x: &QTensor) -> Fill<'_> {
    Box::new(|ctx, m| ctx.builder.step(Step::Max { x: x.view.clone(), max: m.clone() }))
}

/// Range-checked cells over the first `n_outputs` axes of `x`, which `fill` writes. The caller proves that they are the maximum.
pub(super) fn maximum_cells(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize, fill: Fill<'_>) -> QTensor {
    let outer = x.shape()[..n_outputs].to_vec();
    let bits = signed_bits(x.lo as i128, x.hi as i128);
    let lo = -(1i64 << (bits - 1));
    let view = checked_cells(ctx, &outer, lo, bits);
    fill(ctx, &view);
    check_range(ctx, node, &view, lo, bits);
    QTensor { view, scale: x.scale, lo, hi: (1i64 << (bits - 1)) - 1 }
}

fn is_zero(bits: u32) -> Vec<Vec<i64>> {
    vec![(0..1i64 << bits).map(|d| (d == 0) as i64).collect()]
}

/// Largest `max x - x_k` that bounds admit.
pub(super) fn span(x: &QTensor) -> i128 {
    x.hi as i128 - x.lo as i128
}

fn extremum(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize) -> Result<(QTensor, Distances), BlockError> {
    let shape = x.shape();
    if n_outputs >= shape.len() {
        return Err(BlockError::Shape {
            node: node.to_string(),
            what: "a reduction needs at least one axis after the output axes",
            expected: vec![n_outputs + 1],
            got: vec![shape.len()],
        });
    }
    let m = maximum_cells(ctx, node, x, n_outputs, plain_maximum(x));
    let all = letters(shape.len());
    let terms = vec![Term::linear(1, m.view.clone(), &all[..n_outputs]), Term::linear(-1, x.view.clone(), &all)];
    let d = distances(ctx, node, &shape, terms, span(x), "is zero", &is_zero)?;
    d.attained(ctx, node, 0, n_outputs)?;
    Ok((m, d))
}

/// `y[o] = max_k x[o, k]` over all axes of `x` from `n_outputs` on (pooling windows may overlap), at the scale of `x`.
///
/// `d_k = y - x_k`, `(d_k, z_k = [d_k = 0])` in a table, `Σ_k z_k - 1 ∈ [0, K)`: `y` is at least every `x_k` and equals one of them.
pub(crate) fn reduce_max(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize) -> Result<QTensor, BlockError> {
    Ok(extremum(ctx, node, x, n_outputs)?.0)
}

/// `-x` in cells of its own.
fn negative(ctx: &mut Lowering, node: &str, x: &QTensor) -> QTensor {
    let arg = super::cells::compact(&x.view);
    let shape = arg.shape();
    let terms = vec![Term::linear(-1, arg, &letters(shape.len()))];
    let view = ctx.builder.assign(node, &shape, shape.len(), terms, -x.hi, -x.lo);
    QTensor { view: super::cells::spread(view, &x.view), scale: x.scale, lo: -x.hi, hi: -x.lo }
}

/// `y[o] = min_k x[o, k]`; see [`reduce_max`].
pub(crate) fn reduce_min(ctx: &mut Lowering, node: &str, x: &QTensor, n_outputs: usize) -> Result<QTensor, BlockError> {
    let minus = negative(ctx, node, x);
    let m = reduce_max(ctx, node, &minus, n_outputs)?;
    Ok(negative(ctx, node, &m))
}

/// Position of the largest element along the last axis of `x`, the first one (or the last one, with `last`) of equal elements; scale 0.
/// The result drops the axis.
///
/// With `z_k = [x_k is the maximum]`, `c_k = Σ_{j ≤ k} z_j` (`j ≥ k` for the last one) and `o_k = [c_k = 1]` from a table, the position is
/// `Σ_k k·z_k·o_k`: only the first flag has `z_k = c_k = 1`.
pub(crate) fn arg_max(ctx: &mut Lowering, node: &str, x: &QTensor, last: bool) -> Result<QTensor, BlockError> {
    let shape = x.shape();
    let Some(outer) = shape.len().checked_sub(1) else {
        return Err(BlockError::Shape { node: node.to_string(), what: "a position needs an axis", expected: vec![1], got: shape });
    };
    let count = shape[outer];
    let d = extremum(ctx, node, x, outer)?.1;
    let z = d.column(ctx, node, 0);
    let all = letters(shape.len());
    let mut sizes = shape.clone();
    sizes.push(count);
    let inner = shape.len() as u8;
    let mut z_letters = all.clone();
    z_letters[outer] = inner;
    let triangle = (0..count * count)
        .map(|i| {
            let (k, j) = (i / count, i % count);
            if last { (j >= k) as i64 } else { (j <= k) as i64 }
        })
        .collect();
    let triangle = ctx.builder.constant(&format!("{node}.order"), &[count, count], triangle);
    let ones: Vec<i64> = (0..1i64 << ceil_log2(count + 1)).map(|c| (c == 1) as i64).collect();
    let part = Part { weight: 1, lo: 0, bits: ceil_log2(ones.len()) };
    if part.bits > 16 {
        return Err(BlockError::unsupported(
            node,
            format!("a position among {count} elements; at most 65535 are possible"),
            "reduce in two steps",
        ));
    }
    let table = ctx.builder.function_table("is one", 0, vec![ones]);
    let counts = ctx.builder.column_cells(table, &shape);
    let prefix = Term::product(1, triangle, &[outer as u8, inner], z.view.clone(), &z_letters);
    ctx.builder.decompose_into(node, &sizes, shape.len(), vec![prefix], &[part], &counts[..1]);
    ctx.builder.apply(node, table, &counts);
    let positions = ctx.builder.constant(&format!("{node}.positions"), &[count], (0..count as i64).collect());
    let hit = Term::product(1, z.view, &all, counts[1].clone(), &all).times(positions, &[outer as u8]);
    // The sum of all positions bounds the sum from above; the value itself is below `count`.
    let hi = (count * (count - 1)) as i64;
    let view = ctx.builder.assign(node, &shape, outer, vec![hit], 0, hi);
    Ok(QTensor { view, scale: 0, lo: 0, hi })
}

/// Position of the smallest element; see [`arg_max`].
pub(crate) fn arg_min(ctx: &mut Lowering, node: &str, x: &QTensor, last: bool) -> Result<QTensor, BlockError> {
    let minus = negative(ctx, node, x);
    arg_max(ctx, node, &minus, last)
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
