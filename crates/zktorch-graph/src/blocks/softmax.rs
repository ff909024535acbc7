//! Softmax and log-softmax along the last axis.

use super::cells::{bit_length, ceil_log2, check_range, check_width, letters, negated, signed_bits};
use super::divide::quotient_of_constant;
use super::extremum::{DistanceCells, Gap, maximum_cells};
use super::{BlockError, Lowering, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Step, Term, View};

/// Softmax along the last axis of `x`; see [`softmax_of`].
#[cfg(test)]
pub(crate) fn softmax(ctx: &mut Lowering, node: &str, x: &QTensor, mask: Option<&[bool]>, out: Format) -> Result<QTensor, BlockError> {
    softmax_of(ctx, node, &Accumulator::of(x), width_of(x), mask, out)
}

/// The format of a tensor's cells.
fn width_of(x: &QTensor) -> Format {
    Format { scale: x.scale, bits: signed_bits(x.lo as i128, x.hi as i128) }
}

/// Softmax along the last axis of an accumulator (any other axis: permute a view before and the result after), whose scores are taken in
/// the format `input` without becoming cells.
///
/// With `k` fractional bits for exponentials, `K = input.scale` and `x_i` the scores rounded to that scale (halves down), over the allowed
/// positions `i` of a row: `m = max x_i`, `d_i = m - x_i` (from 65535 on it counts as infinite), `e_i = floor(2^k·exp(-d_i·2^-K) + 1/2)`,
/// `S = Σ e_i`, `v = floor(2^t / S)`, `p_i = floor(e_i·v / 2^(t - out.scale) + 1/2)`; a masked position has `p_i = 0`. `mask` is `true` where
/// a position is allowed, row-major over the shape. `out.scale ≤ out.bits - 2`, because `p = 1` must fit. Absolute error against the
/// softmax of the same integers: about 2^-14 plus half a unit of the output.
///
/// Per element: `2^s·m - acc + 2^(s-1) = 2^s·d + r`, `(d, e, z = [d = 0])` is a row of a table, and `p` and its remainder are range-checked.
/// `Σ z - 1 ≥ 0` makes `m` one of the row's scores, so that it is their maximum. Scores of more than 16 bits need `K ≤ 12`, so that
/// `exp(-65535·2^-K)` is nothing. With a mask the scores are cells first (and halves are rounded up).
///
/// # Errors
/// A row without an allowed position; an output format that cannot hold 1.
pub(crate) fn softmax_of(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    input: Format,
    mask: Option<&[bool]>,
    out: Format,
) -> Result<QTensor, BlockError> {
    if out.bits > 32 || out.scale > out.bits as i32 - 2 {
        return Err(BlockError::unsupported(
            node,
            format!("an output of {} bits at scale {}, which cannot hold 1", out.bits, out.scale),
            format!("use scale {} or less", out.bits as i32 - 2),
        ));
    }
    let log_count = acc.shape().last().map_or(0, |&count| ceil_log2(count));
    // Two remainder limbs per element are enough for usual rows.
    let precision = (32 + out.scale - exponential_bits(log_count) as i32 - log_count as i32).clamp(11, 16) as u32;
    let weights = softmax_weights(ctx, node, acc, input, mask, precision)?;
    let shape = acc.shape();
    let all = letters(shape.len());
    let p = [(&weights.each, &all[..]), (&weights.factor, &all[..shape.len() - 1])];
    requantize(ctx, node, &Accumulator::contraction(1, shape, shape.len(), &p), out)
}

/// A softmax that is not multiplied out: `p_i = each_i·factor`.
#[derive(Clone, Debug)]
pub(crate) struct SoftmaxWeights {
    /// `e`, over the shape of the scores; scale 0.
    pub each: QTensor,
    /// `v`, over the rows; its scale `t` is that of the product.
    pub factor: QTensor,
}

/// The first half of [`softmax_of`]: exponentials and one factor per row, which keeps `precision` bits for the largest `S` (at most 20).
///
/// A product `Σ_j p_j·V_j` can take `Σ_j e_j·v·V_j` as one term of three factors: `p` then needs no cells (nor lookups for its remainder),
/// and is not rounded.
pub(crate) fn softmax_weights(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    input: Format,
    mask: Option<&[bool]>,
    precision: u32,
) -> Result<SoftmaxWeights, BlockError> {
    let e = exponentials(ctx, node, acc, input, mask)?;
    let t = e.bits + e.log_count + precision;
    let v = quotient_of_constant(ctx, node, 1i128 << t, &e.sum, e.log_count + precision + 1)?;
    Ok(SoftmaxWeights { each: e.each, factor: QTensor { scale: t as i32, ..v } })
}

/// One unit of each of `2^log_count` exponentials is at most 2^-12 of the largest one, except for very long rows.
fn exponential_bits(log_count: u32) -> u32 {
    (12 + log_count).clamp(16, 22)
}

/// `floor((x_i - m - ln Σ exp(x_j - m))·2^out.scale + 1/2)` along the last axis of `x`, without a mask.
///
/// `S = Σ e_i` as in [`softmax`]. `u = floor(S/2^k) ≥ 1` gives `J = floor(log2 u)` by table, so that `S·2^-J` has its leading bit at a fixed
/// place; its 16 leading bits give the logarithm by a second table: `ln(S/2^k) = J·ln 2 + ln(S/2^(k+J))`. Absolute error about 2^-13.
pub(crate) fn log_softmax(ctx: &mut Lowering, node: &str, x: &QTensor, out: Format) -> Result<QTensor, BlockError> {
    let e = exponentials(ctx, node, &Accumulator::of(x), width_of(x), None)?;
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
        let limbs = ctx.limbs(bits);
        views.extend(ctx.builder.digit_cells(node, acc.shape(), &limbs));
        parts.extend(limbs);
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

/// Exponentials of the differences of `x = round(acc / 2^s)` (halves down) in the format `input` to their row's maximum.
fn exponentials(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    input: Format,
    mask: Option<&[bool]>,
) -> Result<Exponentials, BlockError> {
    let shape = acc.shape().to_vec();
    let outer = outer_axes(node, &shape)?;
    let count = shape[outer];
    let log_count = ceil_log2(count);
    if !(-8..=40).contains(&input.scale) || !(-60..=60).contains(&(acc.scale - input.scale)) {
        return Err(BlockError::unsupported(
            node,
            format!("scores at scale {} taken at scale {}", acc.scale, input.scale),
            "use a scale from -8 to 40, near that of the scores",
        ));
    }
    let acc = &*acc.at_least(input.scale);
    check_width(node, "the scores", acc)?;
    let kept;
    let (acc, input) = if mask.is_some() {
        // Scores become cells: a mask on the terms of a matrix product would cost the size of that product.
        let x = requantize(ctx, node, acc, input)?;
        kept = Accumulator::of(&x);
        (&kept, width_of(&x))
    } else {
        (acc, input)
    };
    let scores = Scores::new(acc, input);
    if scores.span() >= 1 << 16 && input.scale > 12 {
        return Err(BlockError::unsupported(
            node,
            format!("scores of more than 16 bits at scale {}", input.scale),
            "use scale 12 or less for wide scores",
        ));
    }
    let (maximum, max_bits) = maximum_cells(ctx, &shape[..outer], input.scale, scores.lo, scores.hi);
    let bits = exponential_bits(log_count);
    let scale = input.scale;
    let table = move |digits: u32| exponential_columns(digits, scale, bits, mask.is_some());
    let label = format!("exp(-d·2^-{scale})·2^{bits}");
    let least = least_digits(scale);
    let tensor = acc.as_tensor().filter(|_| scores.shift == 0);
    let cells = match (mask, tensor) {
        (Some(mask), Some(x)) => {
            let masked = Masked::new(ctx, node, &x, mask)?;
            let cells = DistanceCells::new(ctx, node, masked.gap(&x, &maximum, scores.span()), &label, &table, least)?;
            cells.scratch_maximum(ctx, node, masked.lowered(&x), &maximum.view);
            cells
        }
        (_, tensor) => {
            let cells = DistanceCells::new(ctx, node, scores.gap(&maximum), &label, &table, least)?;
            match tensor {
                Some(x) => ctx.builder.step(Step::Max { x: x.view, max: maximum.view.clone() }),
                None => cells.scratch_maximum(ctx, node, scores.rounded(), &maximum.view),
            }
            cells
        }
    };
    check_range(ctx, node, &maximum.view, maximum.lo, max_bits);
    let d = cells.finish(ctx, node);
    d.attained(ctx, node, 1, outer)?;
    let each = d.column(ctx, node, 0);
    let (lo, hi) = (each.lo * count as i64, each.hi * count as i64);
    let total = vec![Term::linear(1, each.view.clone(), &letters(shape.len()))];
    let view = ctx.builder.assign(node, &shape, outer, total, lo, hi);
    Ok(Exponentials { bits, log_count, maximum, each, sum: QTensor { view, scale: 0, lo, hi } })
}

/// The axes before the last one.
pub(super) fn outer_axes(node: &str, shape: &[usize]) -> Result<usize, BlockError> {
    let none = || BlockError::Shape { node: node.to_string(), what: "softmax needs an axis", expected: vec![1], got: shape.to_vec() };
    shape.len().checked_sub(1).ok_or_else(none)
}

/// Bits of the smallest table of exponentials for scores at this scale: `exp(-16)·2^22` rounds to 0, and so does the exponential of its last row.
pub(super) fn least_digits(scale: i32) -> u32 {
    (scale + if scale < 6 { 5 } else { 4 }).clamp(1, 16) as u32
}

/// `(e, z)` for `d` in `[0, 2^digits)`. Distance 65535 counts as infinite; with a mask, the last row stands for masked positions.
fn exponential_columns(digits: u32, scale: i32, bits: u32, masked: bool) -> Vec<Vec<i64>> {
    let end = 1i64 << digits;
    let infinite = (1i64 << 16) - 1;
    let e = |d: i64| {
        let gone = d == infinite || (masked && d == end - 1);
        let v = if gone { 0.0 } else { libm::exp(-libm::ldexp(d as f64, -scale)) };
        libm::floor(libm::ldexp(v, bits as i32) + 0.5) as i64
    };
    vec![(0..end).map(e).collect(), (0..end).map(|d| (d == 0) as i64).collect()]
}

/// Scores `x = floor((acc + 2^s - 1 - 2^(s-1)) / 2^s)`, which need no cells.
pub(super) struct Scores<'a> {
    acc: &'a Accumulator,
    pub shift: u32,
    half: i128,
    pub lo: i128,
    pub hi: i128,
}

impl Scores<'_> {
    pub(super) fn new(acc: &Accumulator, input: Format) -> Scores<'_> {
        let shift = (acc.scale - input.scale).max(0) as u32;
        let half = (1i128 << shift) >> 1;
        let round = |v: i128| ((v + (1i128 << shift) - 1 - half) >> shift).clamp(input.lo() as i128, input.hi() as i128);
        Scores { acc, shift, half, lo: round(acc.lo), hi: round(acc.hi) }
    }

    pub(super) fn span(&self) -> i128 {
        self.hi - self.lo
    }

    /// `2^s·x` plus a remainder.
    pub(super) fn rounded(&self) -> Vec<Term> {
        let mut terms = self.acc.terms.clone();
        terms.push(Term::constant((1i128 << self.shift) - 1 - self.half));
        terms
    }

    /// `m - x = floor((2^s·m - acc + 2^(s-1)) / 2^s)`.
    pub(super) fn gap(&self, m: &QTensor) -> Gap {
        let mut terms = negated(&self.acc.terms);
        terms.push(Term::linear(1i128 << self.shift, m.view.clone(), &letters(self.acc.outputs - 1)));
        if self.half != 0 {
            terms.push(Term::constant(self.half));
        }
        Gap { sizes: self.acc.sizes.clone(), outputs: self.acc.outputs, terms, shift: self.shift, span: self.span() }
    }
}

/// A constant mask and its complement.
struct Masked {
    allow: View,
    forbid: View,
    used: Vec<u8>,
}

impl Masked {
    fn new(ctx: &mut Lowering, node: &str, x: &QTensor, mask: &[bool]) -> Result<Masked, BlockError> {
        let mask = Mask::new(node, &x.shape(), mask)?;
        let allow: Vec<i64> = mask.values.iter().map(|&v| v as i64).collect();
        let forbid = allow.iter().map(|v| 1 - v).collect();
        Ok(Masked {
            allow: ctx.builder.constant(&format!("{node}.allowed"), &mask.sizes, allow),
            forbid: ctx.builder.constant(&format!("{node}.masked"), &mask.sizes, forbid),
            used: mask.letters,
        })
    }

    /// `M·x + (1 - M)·lo`: masked scores count as the smallest one for the maximum.
    fn lowered(&self, x: &QTensor) -> Vec<Term> {
        vec![
            Term::product(1, self.allow.clone(), &self.used, x.view.clone(), &letters(x.view.axes.len())),
            Term::linear(x.lo as i128, self.forbid.clone(), &self.used),
        ]
    }

    /// `M·(m - x) + (1 - M)·d_max`, where the row `d_max` of the table is infinite. Below 16 bits it is one that no allowed position reaches.
    fn gap(&self, x: &QTensor, m: &QTensor, span: i128) -> Gap {
        let sizes = x.shape();
        let all = letters(sizes.len());
        let span = if span < (1 << 16) - 1 { span + 1 } else { span };
        let infinite = (1i128 << bit_length(span).min(16)) - 1;
        let terms = vec![
            Term::product(1, self.allow.clone(), &self.used, m.view.clone(), &all[..sizes.len() - 1]),
            Term::product(-1, self.allow.clone(), &self.used, x.view.clone(), &all),
            Term::linear(infinite, self.forbid.clone(), &self.used),
        ];
        Gap { outputs: sizes.len(), sizes, terms, shift: 0, span }
    }
}

/// A mask over the axes along which it changes.
pub(super) struct Mask {
    /// The axes, ascending.
    pub letters: Vec<u8>,
    /// Their sizes.
    pub sizes: Vec<usize>,
    /// Row-major over `sizes`; `true` where a position is allowed.
    pub values: Vec<bool>,
}

impl Mask {
    /// # Errors
    /// A mask of another size than the scores; a row without an allowed position.
    pub(super) fn new(node: &str, shape: &[usize], full: &[bool]) -> Result<Mask, BlockError> {
        if full.len() != shape.iter().product::<usize>() {
            return Err(BlockError::Shape { node: node.to_string(), what: "the mask", expected: shape.to_vec(), got: vec![full.len()] });
        }
        if let Some(row) = shape.last().and_then(|&count| full.chunks(count).position(|r| !r.contains(&true))) {
            return Err(BlockError::EmptyRow { node: node.to_string(), row });
        }
        let mut values = full.to_vec();
        let (mut letters, mut sizes) = (Vec::new(), Vec::new());
        let mut inner = 1;
        // From the last axis: `values` is [outer…, size, inner] with `inner` the axes that were kept so far.
        for (d, &size) in shape.iter().enumerate().rev() {
            let constant = values.chunks(size * inner).all(|c| c.chunks(inner).all(|v| v == &c[..inner]));
            if constant {
                values = values.chunks(size * inner).flat_map(|c| c[..inner].to_vec()).collect();
            } else {
                letters.insert(0, d as u8);
                sizes.insert(0, size);
                inner *= size;
            }
        }
        Ok(Mask { letters, sizes, values })
    }
}
