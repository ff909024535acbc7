//! Comparisons, logic and selection. Booleans are tensors of 0 and 1 at scale 0.

use super::cells::{bit_length, check_width, letters};
use super::{BlockError, Lowering, broadcast_shape, broadcast_to, label, unary};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Term};

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `a < b`.
    Less,
    /// `a ≤ b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a ≥ b`.
    GreaterOrEqual,
    /// `a = b`.
    Equal,
}

/// Differences in this range are compared by one table.
const SIGNED_16: std::ops::Range<i128> = -(1 << 15)..1 << 15;

/// Format of a truth value.
const FLAG: Format = Format { scale: 0, bits: 2 };

/// Whether a table of the given name is to answer for the sign of `u`.
fn has_table(ctx: &Lowering, u: &Accumulator, name: &str) -> bool {
    let label = label(name, Format { scale: u.scale, bits: 16 }, FLAG);
    SIGNED_16.contains(&u.lo) && SIGNED_16.contains(&u.hi) && !ctx.tables.avoids(&label)
}

fn by_table(ctx: &mut Lowering, node: &str, u: &Accumulator, f: &dyn Fn(f64) -> f64, name: &str) -> Result<QTensor, BlockError> {
    let input = Format { scale: u.scale, bits: 16 };
    unary(ctx, node, u, input, f, name, FLAG)
}

const NOT_NEGATIVE: &str = "is not negative";
const ZERO: &str = "is zero";

/// `[x ≠ 0]` at scale 0 without a table of its own.
pub(crate) fn differs_from_zero(ctx: &mut Lowering, node: &str, x: &QTensor) -> Result<QTensor, BlockError> {
    let u = Accumulator::of(x);
    let above = non_negative(ctx, node, &u)?;
    let below = non_negative(ctx, node, &u.times(-1))?;
    let zero = logical_and(ctx, node, &above, &below)?;
    logical_not(ctx, node, &zero)
}

/// `[u ≥ 0]` at scale 0: by a table if `u` has at most 16 bits and the program asks often enough, else `u + 2^B = 2^B·g + r`, `g ∈ {0, 1}`, `r ∈ [0, 2^B)`.
pub(crate) fn non_negative(ctx: &mut Lowering, node: &str, u: &Accumulator) -> Result<QTensor, BlockError> {
    if has_table(ctx, u, NOT_NEGATIVE) {
        return by_table(ctx, node, u, &|v| (v >= 0.0) as u8 as f64, NOT_NEGATIVE);
    }
    check_width(node, "the difference of the operands", u)?;
    let bits = bit_length(u.hi.max(-1 - u.lo).max(1));
    let mut terms = u.terms.clone();
    terms.push(Term::constant(1i128 << bits));
    let mut parts = vec![Part { weight: 1i128 << bits, lo: 0, bits: 1 }];
    parts.extend(ctx.limbs(bits));
    let view = ctx.builder.decompose(node, &u.sizes, u.outputs, terms, &parts).swap_remove(0);
    Ok(QTensor { view, scale: 0, lo: 0, hi: 1 })
}

/// Compares two tensors elementwise, with broadcasting: 1 or 0 at scale 0. Scales are aligned first.
///
/// `[u ≥ 0]` for `u ∈ [-2^B, 2^B)`: `u + 2^B = 2^B·g + r`, `g ∈ {0, 1}`, `r ∈ [0, 2^B)`; `Less` is `1 - [a - b ≥ 0]`, stated as
/// `[b - a - 1 ≥ 0]`, and so on. A difference of at most 16 bits takes one table instead. `Equal` of wider ones is the product of both
/// inequalities.
pub(crate) fn compare(ctx: &mut Lowering, node: &str, which: Comparison, a: &QTensor, b: &QTensor) -> Result<QTensor, BlockError> {
    let difference = |x: &QTensor, y: &QTensor, offset: i128| -> Result<Accumulator, BlockError> {
        let mut u = Accumulator::sum(node, x, -1, y)?;
        u.add_constant(offset);
        Ok(u)
    };
    match which {
        Comparison::GreaterOrEqual => non_negative(ctx, node, &difference(a, b, 0)?),
        Comparison::LessOrEqual => non_negative(ctx, node, &difference(b, a, 0)?),
        Comparison::Greater => non_negative(ctx, node, &difference(a, b, -1)?),
        Comparison::Less => non_negative(ctx, node, &difference(b, a, -1)?),
        Comparison::Equal => {
            let u = difference(a, b, 0)?;
            if has_table(ctx, &u, ZERO) {
                return by_table(ctx, node, &u, &|v| (v == 0.0) as u8 as f64, ZERO);
            }
            let above = non_negative(ctx, node, &u)?;
            let below = non_negative(ctx, node, &difference(b, a, 0)?)?;
            logical_and(ctx, node, &above, &below)
        }
    }
}

/// `cond·(a - b) + b` with broadcasting for `cond ∈ {0, 1}`, no cell yet; the scale is the finer one of `a` and `b`.
pub(crate) fn where_select(node: &str, cond: &QTensor, a: &QTensor, b: &QTensor) -> Result<Accumulator, BlockError> {
    check_boolean(node, cond)?;
    let shape = broadcast_shape(node, &broadcast_shape(node, &a.shape(), &b.shape())?, &cond.shape())?;
    let scale = a.scale.max(b.scale);
    let [cond, a, b] = [broadcast_to(node, cond, &shape)?, broadcast_to(node, a, &shape)?, broadcast_to(node, b, &shape)?];
    let all = letters(shape.len());
    let mut acc = Accumulator::of(&b).rescaled(scale);
    acc.push(1i128 << (scale - a.scale), &[(&cond, &all), (&a, &all)]);
    acc.push(-(1i128 << (scale - b.scale)), &[(&cond, &all), (&b, &all)]);
    Ok(acc)
}

fn check_boolean(node: &str, x: &QTensor) -> Result<(), BlockError> {
    if x.scale == 0 && x.lo >= 0 && x.hi <= 1 {
        return Ok(());
    }
    Err(BlockError::unsupported(
        node,
        format!("a boolean operand with integers in {}..={} at scale {}", x.lo, x.hi, x.scale),
        "compare it with zero first",
    ))
}

/// `constant + a_coeff·a + b_coeff·b + ab_coeff·a·b` in cells of 0 and 1.
fn logic(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor, linear: i128, product: i128) -> Result<QTensor, BlockError> {
    check_boolean(node, a)?;
    check_boolean(node, b)?;
    let mut acc = Accumulator::product(node, a, b)?.times(product);
    if linear != 0 {
        acc = Accumulator::sum(node, a, 1, b)?.times(linear).plus(1, acc);
    }
    let view = if acc.lo >= 0 && acc.hi <= 1 {
        ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms, 0, 1)
    } else {
        // Interval bounds of the polynomial exceed {0, 1}; one lookup keeps later bounds tight.
        let part = Part { weight: 1, lo: 0, bits: 1 };
        ctx.builder.decompose(node, &acc.sizes, acc.outputs, acc.terms, &[part]).swap_remove(0)
    };
    Ok(QTensor { view, scale: 0, lo: 0, hi: 1 })
}

/// `a·b` for booleans, with broadcasting.
pub(crate) fn logical_and(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<QTensor, BlockError> {
    logic(ctx, node, a, b, 0, 1)
}

/// `a + b - a·b` for booleans, with broadcasting.
pub(crate) fn logical_or(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<QTensor, BlockError> {
    logic(ctx, node, a, b, 1, -1)
}

/// `a + b - 2·a·b` for booleans, with broadcasting.
pub(crate) fn logical_xor(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor) -> Result<QTensor, BlockError> {
    logic(ctx, node, a, b, 1, -2)
}

/// `1 - a` for booleans.
pub(crate) fn logical_not(ctx: &mut Lowering, node: &str, a: &QTensor) -> Result<QTensor, BlockError> {
    check_boolean(node, a)?;
    let mut acc = Accumulator::of(a).times(-1);
    acc.add_constant(1);
    let view = ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms, 0, 1);
    Ok(QTensor { view, scale: 0, lo: 0, hi: 1 })
}
