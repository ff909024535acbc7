//! Softmax and log-softmax along the last axis.

use super::cells::{bit_length, ceil_log2, letters};
use super::divide::quotient_of_constant;
use super::extremum::{Distances, Fill, distances, maximum_cells, plain_maximum, span};
use super::{BlockError, Lowering, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Step, Term, View};

/// Softmax along the last axis of `x` (any other axis: permute the view before and the result after).
///
/// With `k` fractional bits for exponentials and `K = x.scale`, over the allowed positions `i` of a row:
/// `m = max x_i`, `d_i = m - x_i` (from 65535 on it counts as infinite), `e_i = floor(2^k·exp(-d_i·2^-K) + 1/2)`, `S = Σ e_i`,
/// `v = floor(2^t / S)`, `p_i = floor(e_i·v / 2^(t - out.scale) + 1/2)`; a masked position has `p_i = 0`. `mask` is `true` where a position is
/// allowed, row-major over the shape of `x`. `out.scale ≤ out.bits - 2`, because `p = 1` must fit. Absolute error against the softmax of
/// the same integers: about 2^-14 plus half a unit of the output.
///
/// Per element: `(d, e, z = [d = 0])` is a row of a table, and `p` and its remainder are range-checked. `Σ z - 1 ≥ 0` makes `m` one of the
/// row's elements, so that it is their maximum. Elements of more than 16 bits need `K ≤ 12`, so that `exp(-65535·2^-K)` is nothing.
///
/// # Errors
/// A row without an allowed position; an output format that cannot hold 1.
pub(crate) fn softmax(ctx: &mut Lowering, node: &str, x: &QTensor, mask: Option<&[bool]>, out: Format) -> Result<QTensor, BlockError> {
    if out.bits > 32 || out.scale > out.bits as i32 - 2 {
        return Err(BlockError::unsupported(
            node,
            format!("an output of {} bits at scale {}, which cannot hold 1", out.bits, out.scale),
            format!("use scale {} or less", out.bits as i32 - 2),
        ));
    }
    let e = exponentials(ctx, node, x, mask)?;
    let rank = x.view.axes.len();
    let all = letters(rank);
    // 2^t/S keeps `precision` bits for the largest S; two remainder limbs per element are enough for usual rows.
    let precision = (32 + out.scale - e.bits as i32 - e.log_count as i32).clamp(11, 16) as u32;
    let t = e.bits + e.log_count + precision;
    let v = quotient_of_constant(ctx, node, 1i128 << t, &e.sum, e.log_count + precision + 1)?;
    let mut p = Accumulator::zero(&x.shape(), t as i32);
    p.push(1, &[(&e.each, &all), (&v, &all[..rank - 1])]);
    requantize(ctx, node, &p, out)
}

/// `floor((x_i - m - ln Σ exp(x_j - m))·2^out.scale + 1/2)` along the last axis of `x`, without a mask.
///
/// `S = Σ e_i` as in [`softmax`]. `u = floor(S/2^k) ≥ 1` gives `J = floor(log2 u)` by table, so that `S·2^-J` has its leading bit at a fixed
/// place; its 16 leading bits give the logarithm by a second table: `ln(S/2^k) = J·ln 2 + ln(S/2^(k+J))`. Absolute error about 2^-13.
pub(crate) fn log_softmax(ctx: &mut Lowering, node: &str, x: &QTensor, out: Format) -> Result<QTensor, BlockError> {
    let e = exponentials(ctx, node, x, None)?;
    let outer = x.view.axes.len() - 1;
    let shape = x.shape()[..outer].to_vec();
    let rows = letters(outer);
    let all = letters(outer + 1);
    let (k, top) = (e.bits, e.log_count);
    let fine = out.scale.max(x.scale).max(12) + 4;
    let ln = |v: f64| libm::floor(libm::ldexp(libm::log(v), fine) + 0.5) as i64;

    // (u; 2^(top - J), J·ln 2) for u in [0, 2^(top+1)); the row of u = 0 is out of reach because S ≥ 2^k.
    let exponent = |u: i64| 63 - u.max(1).leading_zeros();
    let part = Part { weight: 1i128 << k, lo: 0, bits: top + 1 };
    if part.bits > 16 {
        return Err(BlockError::unsupported(
            node,
            format!("a row of {} elements; at most 32768 are possible", 1u64 << top),
            "split the row",
        ));
    }
    let range = 0..1i64 << part.bits;
    let columns = vec![
        range.clone().map(|u| 1i64 << (top - exponent(u).min(top))).collect(),
        range.map(|u| ln((1u64 << exponent(u)) as f64)).collect(),
    ];
    let table = ctx.builder.function_table(&format!("exponent of 1..2^{top} at 2^-{fine}"), 0, columns);
    let coarse = ctx.builder.column_cells(table, &shape);
    split(ctx, node, Accumulator::of(&e.sum), part, &coarse[0]);
    ctx.builder.apply(node, table, &coarse);
    let bounds = |ctx: &Lowering, c: usize| ctx.builder.table_ref(table).bounds(c).unwrap_or((0, 0));
    let column = |ctx: &Lowering, c: usize| {
        let (lo, hi) = bounds(ctx, c);
        QTensor { view: coarse[c].clone(), scale: 0, lo, hi }
    };
    let (weight, whole) = (column(ctx, 1), column(ctx, 2));

    // S·2^(top - J) is in [2^(k+top), 2^(k+top+1)).
    let normal = Accumulator::contraction(1, &shape, outer, &[(&e.sum, &rows), (&weight, &rows)]);
    let part = Part { weight: 1i128 << (k + top - 15), lo: 1 << 15, bits: 15 };
    let column = (1i64 << 15..1 << 16).map(|h| ln((h as f64 + 0.5) / 32768.0)).collect();
    let table = ctx.builder.function_table(&format!("ln over [1, 2) at 2^-{fine}"), 1 << 15, vec![column]);
    let fraction = ctx.builder.column_cells(table, &shape);
    split(ctx, node, normal, part, &fraction[0]);
    ctx.builder.apply(node, table, &fraction);
    let (lo, hi) = ctx.builder.table_ref(table).bounds(1).unwrap_or((0, 0));
    let fraction = QTensor { view: fraction[1].clone(), scale: 0, lo, hi };

    let mut y = Accumulator::zero(&x.shape(), fine);
    let up = 1i128 << (fine - x.scale);
    y.push(up, &[(x, &all)]);
    y.push(-up, &[(&e.maximum, &rows)]);
    y.push(-1, &[(&whole, &rows)]);
    y.push(-1, &[(&fraction, &rows)]);
    requantize(ctx, node, &y, out)
}

/// `acc = weight·top + r` with `r ∈ [0, weight)` for a power of two `weight`.
fn split(ctx: &mut Lowering, node: &str, acc: Accumulator, top: Part, view: &View) {
    let mut parts = vec![top];
    let mut views = vec![view.clone()];
    let bits = bit_length(top.weight - 1);
    if bits > 0 {
        for part in super::cells::limbs(bits) {
            let table = ctx.builder.range_table(part.lo, part.bits);
            views.push(ctx.builder.column_cells(table, acc.shape()).swap_remove(0));
            parts.push(part);
        }
    }
    ctx.builder.decompose_into(node, &acc.sizes, acc.outputs, acc.terms, &parts, &views);
}

/// Exponentials of a row, at scale 0.
struct Exponentials {
    /// Fractional bits `k`.
    bits: u32,
    /// `ceil(log2(row length))`.
    log_count: u32,
    /// The row's maximum.
    maximum: QTensor,
    /// `e`, over the shape of `x`.
    each: QTensor,
    /// `S`, over the rows.
    sum: QTensor,
}

fn exponentials(ctx: &mut Lowering, node: &str, x: &QTensor, mask: Option<&[bool]>) -> Result<Exponentials, BlockError> {
    let shape = x.shape();
    let Some(outer) = shape.len().checked_sub(1) else {
        return Err(BlockError::Shape { node: node.to_string(), what: "softmax needs an axis", expected: vec![1], got: shape });
    };
    let count = shape[outer];
    let log_count = ceil_log2(count);
    if span(x) >= 1 << 16 && x.scale > 12 {
        return Err(BlockError::unsupported(
            node,
            format!("scores of more than 16 bits at scale {}", x.scale),
            "use scale 12 or less for wide scores",
        ));
    }
    if !(-8..=40).contains(&x.scale) {
        return Err(BlockError::unsupported(node, format!("scores at scale {}", x.scale), "use a scale from -8 to 40"));
    }
    // One unit of each of `count` exponentials is at most 2^-12 of the largest one, except for very long rows.
    let bits = (12 + log_count).clamp(16, 22);
    let all = letters(shape.len());
    let (terms, maximum, reach) = match mask {
        None => {
            let m = maximum_cells(ctx, node, x, outer, plain_maximum(x));
            let terms = vec![Term::linear(1, m.view.clone(), &all[..outer]), Term::linear(-1, x.view.clone(), &all)];
            (terms, m, span(x))
        }
        Some(mask) => masked_terms(ctx, node, x, mask)?,
    };
    let scale = x.scale;
    let table = move |digits: u32| {
        let end = 1i64 << digits;
        let infinite = (1i64 << 16) - 1;
        let e = (0..end)
            .map(|d| {
                // The last row stands for masked positions, too.
                let gone = d == infinite || (mask.is_some() && d == end - 1);
                let v = if gone { 0.0 } else { libm::exp(-libm::ldexp(d as f64, -scale)) };
                libm::floor(libm::ldexp(v, bits as i32) + 0.5) as i64
            })
            .collect();
        vec![e, (0..end).map(|d| (d == 0) as i64).collect()]
    };
    let label = format!("exp(-d·2^-{scale})·2^{bits}");
    let d: Distances = distances(ctx, node, &shape, terms, reach, &label, &table)?;
    d.attained(ctx, node, 1, outer)?;
    let each = d.column(ctx, node, 0);
    let (lo, hi) = (each.lo * count as i64, each.hi * count as i64);
    let total = vec![Term::linear(1, each.view.clone(), &all)];
    let view = ctx.builder.assign(node, &shape, outer, total, lo, hi);
    Ok(Exponentials { bits, log_count, maximum, each, sum: QTensor { view, scale: 0, lo, hi } })
}

/// `M·(m - x) + (1 - M)·d_max` for a constant mask `M`, the maximum over allowed positions, and the largest distance, whose row of the
/// table is infinite.
fn masked_terms(ctx: &mut Lowering, node: &str, x: &QTensor, mask: &[bool]) -> Result<(Vec<Term>, QTensor, i128), BlockError> {
    let shape = x.shape();
    let outer = shape.len() - 1;
    if mask.len() != x.view.len() {
        return Err(BlockError::Shape { node: node.to_string(), what: "the mask", expected: shape, got: vec![mask.len()] });
    }
    if let Some(row) = mask.chunks(shape[outer]).position(|r| !r.contains(&true)) {
        return Err(BlockError::EmptyRow { node: node.to_string(), row });
    }
    let all = letters(shape.len());
    let mask = Mask::new(&shape, mask);
    let used: Vec<u8> = mask.axes.iter().map(|&d| d as u8).collect();
    let allow: Vec<i64> = mask.values.iter().map(|&v| v as i64).collect();
    let forbid = allow.iter().map(|v| 1 - v).collect();
    let sizes: Vec<usize> = mask.axes.iter().map(|&d| shape[d]).collect();
    let allow = ctx.builder.constant(&format!("{node}.allowed"), &sizes, allow);
    let forbid = ctx.builder.constant(&format!("{node}.masked"), &sizes, forbid);

    let m = range_checked_maximum(ctx, node, x, &mask, &allow, &forbid, &used);
    let span = span(x);
    // Room for one row of the table that no allowed position reaches, as long as it fits 16 bits.
    let reach = if span < (1 << 16) - 1 { span + 1 } else { span };
    let infinite = (1i128 << bit_length(reach).min(16)) - 1;
    let terms = vec![
        Term::product(1, allow.clone(), &used, m.view.clone(), &all[..outer]),
        Term::product(-1, allow, &used, x.view.clone(), &all),
        Term::linear(infinite, forbid, &used),
    ];
    Ok((terms, m, reach))
}

/// Cells for the maximum over allowed positions, filled and range-checked.
fn range_checked_maximum(ctx: &mut Lowering, node: &str, x: &QTensor, mask: &Mask, allow: &View, forbid: &View, used: &[u8]) -> QTensor {
    let shape = x.shape();
    let outer = shape.len() - 1;
    let fill: Fill = match mask.intervals(&shape) {
        Some(steps) => Box::new(move |ctx, m| {
            for (rows, from, count) in &steps {
                let (mut from_view, mut to_view) = (x.view.slice(outer, *from, *count, 1), m.clone());
                for &(axis, index) in rows {
                    from_view = from_view.slice(axis, index, 1, 1);
                    to_view = to_view.slice(axis, index, 1, 1);
                }
                ctx.builder.step(Step::Max { x: from_view, max: to_view });
            }
        }),
        None => {
            // Scattered positions: a copy of the scores in which masked ones are as small as possible.
            let all = letters(shape.len());
            let terms = vec![Term::product(1, allow.clone(), used, x.view.clone(), &all), Term::linear(x.lo as i128, forbid.clone(), used)];
            let (lo, hi) = (2 * x.lo.min(0), x.hi.max(0) + x.lo.max(0));
            let kept = ctx.builder.assign(node, &shape, shape.len(), terms, lo, hi);
            Box::new(move |ctx, m| ctx.builder.step(Step::Max { x: kept, max: m.clone() }))
        }
    };
    maximum_cells(ctx, node, x, outer, fill)
}

/// A mask over the axes along which it changes.
struct Mask {
    axes: Vec<usize>,
    values: Vec<bool>,
}

impl Mask {
    fn new(shape: &[usize], full: &[bool]) -> Mask {
        let mut values = full.to_vec();
        let mut axes = Vec::new();
        let mut inner = 1;
        // From the last axis: `values` is [outer…, size, inner] with `inner` the axes that were kept so far.
        for (d, &size) in shape.iter().enumerate().rev() {
            let constant = values.chunks(size * inner).all(|c| c.chunks(inner).all(|v| v == &c[..inner]));
            if constant {
                values = values.chunks(size * inner).flat_map(|c| c[..inner].to_vec()).collect();
            } else {
                axes.insert(0, d);
                inner *= size;
            }
        }
        Mask { axes, values }
    }

    /// For every row of the mask, its position on the kept outer axes and the allowed interval of the last axis; `None` if some row's allowed
    /// positions are scattered.
    fn intervals(&self, shape: &[usize]) -> Option<Vec<(Vec<(usize, usize)>, usize, usize)>> {
        let last = shape.len() - 1;
        let along = self.axes.last() == Some(&last);
        let outer = if along { &self.axes[..self.axes.len() - 1] } else { &self.axes[..] };
        let width = if along { shape[last] } else { 1 };
        let mut steps = Vec::new();
        for (r, row) in self.values.chunks(width).enumerate() {
            let from = row.iter().position(|&v| v)?;
            let count = row.iter().filter(|&&v| v).count();
            if !row[from..from + count].iter().all(|&v| v) {
                return None;
            }
            let mut index = r;
            let mut at = Vec::new();
            for &d in outer.iter().rev() {
                at.push((d, index % shape[d]));
                index /= shape[d];
            }
            steps.push((at, from, if along { count } else { shape[last] }));
        }
        Some(steps)
    }
}
