//! LayerNorm, RMSNorm, InstanceNorm, GroupNorm and L2 normalisation.

use super::cells::{LIMIT_BITS, bit_length, ceil_log2, check_range, check_terms, checked_cells, letters, negated};
use super::{BlockError, Lowering, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Step, Term};

/// A real parameter of a normalisation, private to the model's owner.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    /// Name of the weight.
    pub name: String,
    /// Values, row-major over `axes`.
    pub values: Vec<f64>,
    /// The axes of `x` that the values run over, ascending; the other axes broadcast.
    pub axes: Vec<usize>,
}

/// What a normalisation computes; see [`normalise`].
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    /// The first `outer` axes of `x` count rows; the others are normalised together.
    pub outer: usize,
    /// Subtract the row's mean (LayerNorm, InstanceNorm, GroupNorm) or not (RMSNorm, L2).
    pub center: bool,
    /// Divide by the root of the mean of squares (`true`) or of their sum (`false`, L2 normalisation).
    pub mean: bool,
    /// Added to the mean (or sum) of squares, in real units.
    pub eps: f64,
    /// Factor; 1 if absent.
    pub gamma: Option<Affine>,
    /// Summand; 0 if absent.
    pub beta: Option<Affine>,
}

/// `a`: fractional bits of the mean beyond those of `x`.
const MEAN_BITS: u32 = 2;
/// Fewest bits of `t` for the largest variance that the bounds of `x` admit.
const LEAST_ROOT: i32 = 11;
/// The same for a remainder of one limb: inputs within calibrated ranges leave the two bits of headroom to `t`.
const LEAST_ROOT_OF_ONE_LIMB: i32 = 9;
/// Bits of `f` beyond those of `D`.
const FACTOR_BITS: u32 = 16;
/// `V` is rounded down to this many bits, so that `t²·V` stays below the field's size for every `V`.
const VARIANCE_BITS: u32 = 44;
/// Width of `γ'` and `β'` without sign.
const PARAMETER_BITS: i32 = 14;

/// `γ·(x - μ)/sqrt(mean((x - μ)²) + ε) + β` over the inner axes of `x`, in format `out`.
///
/// With `D` elements in a row and `a = 2` (`a = 0` and `μ = 0` without `center`): `s = Σ x`, `μ = round(2^a·s/D)`, `c_i = 2^a·x_i - μ`,
/// `V = floor(f·Σ c_i² / 2^w) + E` with `f = round(2^j/D)` for a mean (`f = 1`, `j = 0` for a sum), `j - w` even and `E ≥ 1` for ε,
/// `t = floor(2^h / sqrt(V))`, `out_i = floor((γ'_i·t·c_i + β'_i)/2^q + 1/2)`, where `γ'` are the integers next to `2^g·γ`. `t` is forced by
/// `0 ≤ 2^(2h) - t²·V` and `0 ≤ (t+1)²·V - 2^(2h) - 1`. `c` is no cell: per element there are the output
/// and two remainder limbs. `t` then has at least 11 bits for the largest variance that the bounds of `x` admit (half of a row at either end), and one
/// more for every factor of 4 below that. Without `γ` one limb is enough where `t` keeps 8 bits for that variance (and `a` may be 1 or 0).
///
/// LayerNorm: `outer` = the leading axes. InstanceNorm of `[N, C, …]`: `outer` = 2, parameters over axis 1. GroupNorm: view `x` as
/// `[N, G, C/G, …]`, `outer` = 2, parameters over axes 1 and 2. The result has the shape of `x`.
pub(crate) fn normalise(ctx: &mut Lowering, node: &str, x: &QTensor, norm: &Norm, out: Format) -> Result<QTensor, BlockError> {
    let shape = x.shape();
    if norm.outer > shape.len() {
        return Err(BlockError::Shape { node: node.to_string(), what: "outer axes", expected: vec![norm.outer], got: shape });
    }
    let count: usize = shape[norm.outer..].iter().product();
    let row = Row { shape, outer: norm.outer, count };
    // Whole limbs of about 16 bits.
    let limb = ctx.tables.limb_bits * (16 / ctx.tables.limb_bits).max(1);
    // Bits of c for the largest variance, and of t if the remainder has one limb.
    let widest = if norm.center { (x.hi - x.lo) / 2 } else { x.lo.abs().max(x.hi.abs()) };
    let root = |a: u32| limb as i32 + out.scale - bit_length(i128::from(widest) << a) as i32;
    let one_limb = norm.gamma.is_none() && root(0) >= LEAST_ROOT_OF_ONE_LIMB;
    let a = match norm.center {
        true if one_limb => (0..MEAN_BITS).rev().find(|&a| root(a + 1) >= LEAST_ROOT).map_or(0, |a| a + 1),
        true => MEAN_BITS,
        false => 0,
    };
    let mean = if norm.center { Some(row.mean(ctx, node, x, a)?) } else { None };
    let variance = row.variance(ctx, node, x, mean.as_ref(), a, norm)?;

    let g = norm.gamma.as_ref().map_or(0, |g| PARAMETER_BITS - exponent(magnitude(&g.values)));
    let half_bits = bit_length(variance.largest).div_ceil(2);
    // Whole remainder limbs per element, if they leave enough bits for t.
    let spare = |rest: u32| rest as i32 + out.scale - g + variance.unit - half_bits as i32;
    let one_limb = one_limb && spare(limb) >= LEAST_ROOT_OF_ONE_LIMB - 1;
    let precision = if one_limb { spare(limb).min(20) } else { spare(2 * limb).clamp(LEAST_ROOT, 16) } as u32;
    let h = (precision + half_bits).min(variance.widest_root());
    let t = row.inverse_root(ctx, node, &variance, h)?;

    // c·t is the normalised element at this scale.
    let scale = h as i32 - variance.unit + g;
    let all = letters(row.shape.len());
    let rows = &all[..row.outer];
    let gamma = match &norm.gamma {
        Some(p) => Some((parameter(ctx, node, p, &row.shape, g)?, p.axes.iter().map(|&d| d as u8).collect::<Vec<u8>>())),
        None => None,
    };
    let mut y = Accumulator::zero(&row.shape, scale);
    let mut push = |coeff: i128, factor: &QTensor, factor_letters: &[u8]| match &gamma {
        Some((gamma, l)) => y.push(coeff, &[(factor, factor_letters), (&t, rows), (gamma, l)]),
        None => y.push(coeff, &[(factor, factor_letters), (&t, rows)]),
    };
    push(1i128 << a, x, &all);
    if let Some(mean) = &mean {
        push(-1, mean, rows);
    }
    if let Some(p) = &norm.beta {
        let bits = (PARAMETER_BITS - exponent(magnitude(&p.values))).min(scale);
        let beta = parameter(ctx, node, p, &row.shape, bits)?;
        let l: Vec<u8> = p.axes.iter().map(|&d| d as u8).collect();
        y.push(1i128 << (scale - bits).min(100), &[(&beta, &l)]);
    }
    let short = (out.scale + limb as i32 - scale).clamp(0, limb as i32 - 1);
    let y = if one_limb { y.rescaled(scale + short) } else { y };
    requantize(ctx, node, &y, out)
}

/// Largest absolute value, 1 if all are 0.
fn magnitude(values: &[f64]) -> f64 {
    let m = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    if m > 0.0 { m } else { 1.0 }
}

/// `e` with `2^(e-1) ≤ v < 2^e`, for `v > 0`.
fn exponent(v: f64) -> i32 {
    libm::frexp(v).1
}

fn round(v: f64, scale: i32) -> i128 {
    libm::floor(libm::ldexp(v, scale) + 0.5) as i128
}

/// `round(values·2^scale)` on the parameter heap.
fn parameter(ctx: &mut Lowering, node: &str, p: &Affine, shape: &[usize], scale: i32) -> Result<QTensor, BlockError> {
    let sizes: Vec<usize> = p.axes.iter().map(|&d| shape.get(d).copied().unwrap_or(0)).collect();
    if sizes.iter().product::<usize>() != p.values.len() {
        return Err(BlockError::Shape {
            node: node.to_string(),
            what: "the parameter of a normalisation",
            expected: sizes,
            got: vec![p.values.len()],
        });
    }
    let values: Vec<i64> = p.values.iter().map(|v| round(*v, scale) as i64).collect();
    let view = ctx.builder.param(&p.name, &sizes, &values);
    // The declared bounds, not those of the values: the program is public, the parameters are not.
    let (lo, hi) = ctx.builder.bounds(&view);
    Ok(QTensor { view, scale, lo: lo as i64, hi: hi as i64 })
}

impl Variance {
    /// Largest `h` with `(2^h/sqrt(V))²·V` far below the field's size for every `V`.
    fn widest_root(&self) -> u32 {
        let spare = LIMIT_BITS - 1 - bit_length(self.v.hi as i128);
        (spare / 2 + (bit_length(self.v.lo as i128) - 1) / 2).saturating_sub(2)
    }
}

/// `round(2^bits / count)`.
fn reciprocal(bits: u32, count: usize) -> i128 {
    ((1i128 << bits) + count as i128 / 2) / count as i128
}

/// Rows to be normalised.
struct Row {
    shape: Vec<usize>,
    outer: usize,
    count: usize,
}

/// `V` and what it stands for.
struct Variance {
    /// `V ≥ 1`, one cell per row.
    v: QTensor,
    /// `V·2^(-2·unit)` is the mean (or sum) of squares.
    unit: i32,
    /// Largest `V` that the bounds of `x` admit; `v.hi` counts whole limbs.
    largest: i128,
}

impl Row {
    fn rows(&self) -> &[usize] {
        &self.shape[..self.outer]
    }

    /// `s = Σ x` and `μ = round(2^a·s/D)`, the latter as `round(s·round(2^(a+q)/D) / 2^q)`: exact where `D` is a power of two, and off by
    /// less than 2^-3 units of `x`·2^a otherwise.
    fn mean(&self, ctx: &mut Lowering, node: &str, x: &QTensor, a: u32) -> Result<QTensor, BlockError> {
        let s = self.sum(ctx, node, x);
        let q = ceil_log2(self.count) + 19;
        let factor = reciprocal(a + q, self.count);
        let rows = letters(self.outer);
        let acc = Accumulator { scale: q as i32, ..Accumulator::contraction(factor, self.rows(), self.outer, &[(&s, &rows)]) };
        let largest = x.lo.unsigned_abs().max(x.hi.unsigned_abs()) as i128;
        let bits = bit_length(largest << a) + 2;
        let mean = requantize(ctx, node, &acc, Format { scale: 0, bits })?;
        Ok(mean)
    }

    fn sum(&self, ctx: &mut Lowering, node: &str, x: &QTensor) -> QTensor {
        let all = letters(self.shape.len());
        let (lo, hi) = (x.lo * self.count as i64, x.hi * self.count as i64);
        let terms = vec![Term::linear(1, x.view.clone(), &all)];
        QTensor { view: ctx.builder.assign(node, &self.shape, self.outer, terms, lo, hi), scale: 0, lo, hi }
    }

    /// `V = floor(f·Σ c² / 2^w) + E`: `f·Σ c² = 2^w·u + r` with `u` and `r` in limbs, `V = u + E`.
    fn variance(
        &self,
        ctx: &mut Lowering,
        node: &str,
        x: &QTensor,
        mean: Option<&QTensor>,
        a: u32,
        norm: &Norm,
    ) -> Result<Variance, BlockError> {
        let all = letters(self.shape.len());
        let rows = &all[..self.outer];
        let (j, f) = if norm.mean {
            let j = FACTOR_BITS + ceil_log2(self.count);
            (j, reciprocal(j, self.count))
        } else {
            (0, 1)
        };
        // Σ (2^a·x - μ)² = 2^(2a)·Σ x² - 2^(a+1)·μ·Σ x + D·μ².
        let mut terms = vec![Term::product(f << (2 * a), x.view.clone(), &all, x.view.clone(), &all)];
        if let Some(mean) = mean {
            terms.push(Term::product(-(2 * f) << a, mean.view.clone(), rows, x.view.clone(), &all));
            terms.push(Term::product(self.count as i128 * f, mean.view.clone(), rows, mean.view.clone(), rows));
        }
        let largest = if mean.is_some() {
            // A row's variance is at most the square of half its range; the rounded mean adds less than 1 to each square root.
            ((x.hi as i128 - x.lo as i128) << a) / 2 + 2
        } else {
            x.lo.unsigned_abs().max(x.hi.unsigned_abs()) as i128
        };
        let squares = (largest * largest).saturating_mul(self.count as i128 * f);
        let bits = bit_length(squares).max(1);
        // j - w is even, so that the root of V has a power of two as its unit.
        let shift = bits.saturating_sub(VARIANCE_BITS);
        let shift = shift + (j + shift) % 2;
        let kept = ctx.limbs(bits - shift);
        let mut parts: Vec<Part> = kept.iter().map(|p| Part { weight: p.weight << shift, ..*p }).collect();
        if shift > 0 {
            parts.extend(ctx.limbs(shift));
        }
        let digits = ctx.builder.decompose(node, &self.shape, self.outer, terms, &parts);
        let unit = (j as i32 - shift as i32) / 2;
        let eps = libm::floor(libm::ldexp(norm.eps, 2 * (x.scale + a as i32 + unit)) + 0.5).clamp(1.0, 9e18) as i64;
        let hi = (1i64 << (bits - shift)) - 1;
        if bit_length(eps as i128 + hi as i128) > 50 {
            return Err(BlockError::unsupported(
                node,
                format!("ε = {}, which is {eps} units of the variance", norm.eps),
                "lower the scale of the input",
            ));
        }
        let mut terms: Vec<Term> = kept.iter().zip(&digits).map(|(p, d)| Term::linear(p.weight, d.clone(), rows)).collect();
        terms.push(Term::constant(eps as i128));
        let (lo, hi) = (eps, eps + hi);
        let view = ctx.builder.assign(node, self.rows(), self.outer, terms, lo, hi);
        Ok(Variance { v: QTensor { view, scale: 0, lo, hi }, unit, largest: (squares >> shift) + eps as i128 })
    }

    /// `t = floor(2^h / sqrt(V))`.
    fn inverse_root(&self, ctx: &mut Lowering, node: &str, variance: &Variance, h: u32) -> Result<QTensor, BlockError> {
        let v = &variance.v;
        let largest = libm::ldexp(1.0, h as i32) / libm::sqrt(v.lo as f64);
        // One more than the float says, in case it was rounded down to a power of two.
        let bits = bit_length(largest as i128 + 1);
        let width = 2 * bits + bit_length(v.hi as i128) + 1;
        if width > LIMIT_BITS || h > 48 {
            return Err(BlockError::TooWide { node: node.to_string(), what: "the inverse root", bits: width, limit: LIMIT_BITS });
        }
        let view = checked_cells(ctx, self.rows(), 0, bits);
        ctx.builder.step(Step::InverseSqrt { node: node.to_string(), value: v.view.clone(), shift: h, out: view.clone() });
        check_range(ctx, node, &view, 0, bits);
        let rows = letters(self.outer);
        let square = Term::product(-1, view.clone(), &rows, view.clone(), &rows).times(v.view.clone(), &rows);
        let below = vec![Term::constant(1i128 << (2 * h)), square];
        let mut above = negated(&below);
        above.push(Term::product(2, view.clone(), &rows, v.view.clone(), &rows));
        above.push(Term::linear(1, v.view.clone(), &rows));
        above.push(Term::constant(-1));
        // Both are less than (2t + 1)·V ≤ 2·2^h·sqrt(V) + V.
        let root = libm::ceil(libm::sqrt(v.hi as f64)) as i128;
        let rest = bit_length((2i128 << h) * root + v.hi as i128);
        check_terms(ctx, node, self.rows(), self.outer, below, rest);
        check_terms(ctx, node, self.rows(), self.outer, above, rest);
        Ok(QTensor { view, scale: 0, lo: 0, hi: (1i64 << bits) - 1 })
    }
}
