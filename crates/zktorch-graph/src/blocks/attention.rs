//! Softmax as weights of a sum, normalised by a shift instead of a division.

use super::cells::{bit_length, check_range, check_terms, check_width, checked_cells};
use super::extremum::DistanceCells;
use super::softmax::{Mask, Scores, least_digits, outer_axes};
use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Step, Term, View};

/// Fewest and most bits of a weight of 1.
pub(crate) const WEIGHT_BITS: std::ops::RangeInclusive<u32> = 14..=22;
/// Fractional bits of scores.
const SCALES: std::ops::RangeInclusive<i32> = 4..=12;

/// Weights that are about a softmax: `p_i = each_i·allowed_i`.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// `e`, over the shape of the scores; its scale is `k`. Anything where a mask is closed.
    pub each: QTensor,
    /// The mask as a constant of zeros and ones, and the axes of the scores that it runs over.
    pub allowed: Option<(QTensor, Vec<usize>)>,
}

impl Attention {
    /// The weights times a mask over the shape of the scores.
    pub(crate) fn times(self, mask: &QTensor) -> Attention {
        let axes = (0..mask.view.axes.len()).collect();
        Attention { allowed: Some((mask.clone(), axes)), ..self }
    }
}

/// Softmax along the last axis of an accumulator, whose scores are taken in the format `input` (4 to 12 fractional bits) without becoming cells.
///
/// With `K = input.scale`, `k = bits` and `x_i` the scores rounded to scale `K` (halves down), over the allowed positions `i` of a row:
/// `e_i = T(m - x_i)` with `T(d) = floor(2^k·exp(-d·2^-K) + 1/2)`, where `m` is the smallest integer with `Σ e_i ≤ τ` for
/// `τ = round(2^k·exp(2^-(K+1)))`. So `m·2^-K` is the logarithm of the sum of exponentials, rounded, and `Σ e_i·2^-k` is within a factor of
/// `exp(±2^-(K+1))` of 1, as is the error that rounding a score causes; besides, each `e_i` is rounded to `k` bits. A row with one allowed position has `e = 2^k`
/// there. `mask` is `true` where a position is allowed, row-major over the shape.
///
/// Per element: `2^s·m - acc + 2^(s-1) = 2^s·d + r`, and `(d, T(d), T(d - 1))` is a row of a table. Per row: `τ - Σ T(d) ≥ 0` and
/// `Σ T(d - 1) - τ - 1 ≥ 0`. As `T` never increases, the sum for `m - 1` exceeds `τ` and so do those for all smaller `m`: only one `m` is
/// possible. No `d` is negative, because `T(-1) > τ`. At closed positions `d` is larger by a constant, so that it may have either sign, and `T(d)`
/// is not used.
///
/// # Errors
/// A row without an allowed position; scales out of range.
pub(crate) fn attention_weights(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    input: Format,
    mask: Option<&[bool]>,
    bits: u32,
) -> Result<Attention, BlockError> {
    let shape = acc.shape().to_vec();
    let outer = outer_axes(node, &shape)?;
    if !SCALES.contains(&input.scale) || !WEIGHT_BITS.contains(&bits) || !(-60..=60).contains(&(acc.scale - input.scale)) {
        return Err(BlockError::unsupported(
            node,
            format!("weights of {bits} bits for scores at scale {} taken at scale {}", acc.scale, input.scale),
            "use scale 4 to 12, near that of the scores, and 14 to 22 bits",
        ));
    }
    let count = shape[outer];
    let allowed = match mask {
        Some(mask) => Some(open(ctx, node, &shape, mask)?),
        None => None,
    };
    let acc = &*acc.at_least(input.scale);
    check_width(node, "the scores", acc)?;
    let scores = Scores::new(acc, input);

    // m exceeds the largest score by ln(count) at most; half of that is added to its cell, whose range is then that of the scores.
    let exceeds = libm::ceil(libm::ldexp(libm::log(count as f64), input.scale)) as i64 + 1;
    let raised = exceeds / 2;
    let span = scores.span() + i128::from(exceeds);
    // Scores of 16 bits never span their whole range in a row.
    let limit = if input.bits <= 16 { (1 << 16) - 1 } else { (1 << 32) - 1 };
    let (span, lifted) = match mask {
        None => (span.min(limit), 0),
        Some(_) => {
            let span = (2 * span).min(limit);
            (span, (span + 1) / 2)
        }
    };
    let width = signed(scores.lo - i128::from(raised), scores.hi + i128::from(exceeds - raised), input.bits);
    let (lo, hi) = (-(1i64 << (width - 1)), (1i64 << (width - 1)) - 1);
    let rows = shape[..outer].to_vec();
    let cell = QTensor { view: checked_cells(ctx, &rows, lo, width), scale: input.scale, lo, hi };

    let mut gap = scores.gap(&cell);
    gap.span = span;
    gap.terms.push(Term::constant(i128::from(raised) << scores.shift));
    if let Some(allowed) = &allowed {
        // lifted·(1 - M)
        gap.terms.push(Term::constant(lifted << scores.shift));
        gap.terms.push(Term::linear(-(lifted << scores.shift), allowed.view.clone(), &allowed.letters));
    }
    let scale = input.scale;
    let label = format!("exp(-d·2^-{scale})·2^{bits} and before");
    let cells = DistanceCells::new(ctx, node, gap, &label, &move |digits| columns(digits, scale, bits), least_digits(scale))?;
    let most = libm::floor(exponential(-0.5, scale, bits) + 0.5) as i64;
    let x = cells.scratch(ctx, node, scores.rounded());
    ctx.builder.step(Step::Level {
        node: node.to_string(),
        x,
        allowed: allowed.as_ref().map(|a| a.spread(&shape)),
        table: cells.table(),
        column: 0,
        offset: raised,
        limit: most,
        out: cell.view.clone(),
        lo,
        hi,
    });
    check_range(ctx, node, &cell.view, lo, width);
    let d = cells.finish(ctx, node);

    let sum = |column: usize, sign: i128| -> Vec<Term> {
        let with_mask = |t: Term| match &allowed {
            Some(a) => t.times(a.view.clone(), &a.letters),
            None => t,
        };
        d.total(column).into_iter().map(|t| with_mask(Term { coeff: sign * t.coeff, ..t })).collect()
    };
    // One step of m changes the sum by its 2^-K-th part, and by the rounding of each exponential.
    let step = libm::ceil(most as f64 * (libm::exp(libm::ldexp(1.0, -scale)) - 1.0)) as i128 + count as i128;
    let rest = bit_length(step).next_multiple_of(ctx.tables.limb_bits);
    let mut fits = sum(0, -1);
    fits.push(Term::constant(i128::from(most)));
    check_terms(ctx, node, &shape, outer, fits, rest);
    let mut exceeds = sum(1, 1);
    exceeds.push(Term::constant(-i128::from(most) - 1));
    check_terms(ctx, node, &shape, outer, exceeds, rest);

    let each = QTensor { scale: bits as i32, ..d.column(ctx, node, 0) };
    let allowed = allowed.map(|a| {
        let axes = a.letters.iter().map(|&l| usize::from(l)).collect();
        (QTensor { view: a.view, scale: 0, lo: 0, hi: 1 }, axes)
    });
    Ok(Attention { each, allowed })
}

/// Signed width that holds `lo..=hi`, but no more than that of the scores' format.
fn signed(lo: i128, hi: i128, most: u32) -> u32 {
    super::cells::signed_bits(lo, hi).min(most.max(2))
}

/// A mask as a constant.
struct Open {
    view: View,
    letters: Vec<u8>,
}

impl Open {
    /// The mask over the whole shape.
    fn spread(&self, shape: &[usize]) -> View {
        let mut own = self.view.axes.iter();
        let axis = |(d, &size): (usize, &usize)| match self.letters.contains(&(d as u8)) {
            true => *own.next().expect("one axis per letter"),
            false => zktorch_program::Axis { size, stride: 0 },
        };
        View { source: self.view.source, offset: self.view.offset, axes: shape.iter().enumerate().map(axis).collect() }
    }
}

fn open(ctx: &mut Lowering, node: &str, shape: &[usize], mask: &[bool]) -> Result<Open, BlockError> {
    let mask = Mask::new(node, shape, mask)?;
    let values = mask.values.iter().map(|&v| i64::from(v)).collect();
    let view = ctx.builder.constant(&format!("{node}.allowed"), &mask.sizes, values);
    Ok(Open { view, letters: mask.letters })
}

/// `2^bits·exp(-d·2^-scale)`.
fn exponential(d: f64, scale: i32, bits: u32) -> f64 {
    libm::ldexp(libm::exp(-libm::ldexp(d, -scale)), bits as i32)
}

/// `(T(d), T(d - 1))` for `d` in `[0, 2^digits)`.
fn columns(digits: u32, scale: i32, bits: u32) -> Vec<Vec<i64>> {
    let all: Vec<i64> = (-1..1i64 << digits).map(|d| libm::floor(exponential(d as f64, scale, bits) + 0.5) as i64).collect();
    vec![all[1..].to_vec(), all[..all.len() - 1].to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_fall_and_the_first_one_beyond_exceeds_the_limit() {
        for scale in SCALES {
            for bits in WEIGHT_BITS {
                let columns = columns(16, scale, bits);
                let most = libm::floor(exponential(-0.5, scale, bits) + 0.5) as i64;
                assert!(columns[1][0] > most && most >= columns[0][0], "{scale} {bits}");
                assert!(columns[0].windows(2).all(|w| w[0] >= w[1]));
                assert_eq!((columns[0][0], columns[0][65535]), (1 << bits, 0));
            }
        }
    }
}
