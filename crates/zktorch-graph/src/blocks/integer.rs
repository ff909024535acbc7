//! Integer division with remainder, and bitwise logic of two's complement integers.

use super::cells::{bit_length, check_width, compact, letters, signed_bits, spread};
use super::compare::non_negative;
use super::divide::{Sign, divisor, quotient};
use super::{BlockError, Lowering, broadcast_shape, broadcast_to, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Term};

/// Where a quotient that is no integer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    /// Down.
    Floor,
    /// To zero, as in C.
    Zero,
}

/// `a / b` of tensors of one scale as an integer at scale 0, with broadcasting.
///
/// `floor(σ·a / |b|)` with `σ = sign b` in one cell per distinct divisor, or `σ·α·floor(α·a / |b|)` with `α = 2·[a ≥ 0] - 1`: a quotient with a
/// remainder in `[0, |b|)` is unique. A divisor of 0 is an error of execution that names the node.
pub(crate) fn integer_quotient(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor, towards: Towards) -> Result<QTensor, BlockError> {
    let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
    let (a, b) = (broadcast_to(node, a, &shape)?, broadcast_to(node, b, &shape)?);
    let all = letters(shape.len());
    let largest = a.lo.unsigned_abs().max(a.hi.unsigned_abs()) as i128;
    let out = Format { scale: 0, bits: signed_bits(-largest - 1, largest) };
    let divided = divisor(ctx, node, &b, 0)?;
    let signed = towards == Towards::Zero && a.lo < 0;
    let alpha = if signed { Some(sign(ctx, node, &a)?) } else { None };
    // 2·|b| is in cells, so everything is counted twice.
    let mut numerator = Accumulator::zero(&shape, 0);
    match (&divided.sign, &alpha, towards) {
        (_, Some(alpha), _) => numerator.push(2, &[(alpha, &all), (&a, &all)]),
        (_, None, Towards::Zero) => numerator.push(2, &[(&a, &all)]),
        (Sign::Known(s), None, Towards::Floor) => numerator.push(2 * s, &[(&a, &all)]),
        (Sign::Cells(s), None, Towards::Floor) => numerator.push(2, &[(s, &all), (&a, &all)]),
    }
    let q = quotient(ctx, node, &numerator, &divided.twice, out)?;
    if towards == Towards::Floor {
        return Ok(q);
    }
    let mut result = Accumulator::zero(&shape, 0);
    match (&divided.sign, &alpha) {
        (Sign::Known(s), None) => result.push(*s, &[(&q, &all)]),
        (Sign::Known(s), Some(alpha)) => result.push(*s, &[(alpha, &all), (&q, &all)]),
        (Sign::Cells(s), None) => result.push(1, &[(s, &all), (&q, &all)]),
        (Sign::Cells(s), Some(alpha)) => {
            let mut both = Accumulator::zero(&shape, 0);
            both.push(1, &[(s, &all), (alpha, &all)]);
            let view = ctx.builder.assign(node, &shape, shape.len(), both.terms, -1, 1);
            let both = QTensor { view, scale: 0, lo: -1, hi: 1 };
            result.push(1, &[(&both, &all), (&q, &all)]);
        }
    }
    assigned(ctx, node, &result)
}

/// `a - b·q` with `q` as in [`integer_quotient`], at the common scale of `a` and `b`: the remainder with the sign of `b` ([`Towards::Floor`])
/// or of `a` ([`Towards::Zero`]).
pub(crate) fn remainder(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor, towards: Towards) -> Result<QTensor, BlockError> {
    let q = integer_quotient(ctx, node, a, b, towards)?;
    let shape = q.shape();
    let (a, b) = (broadcast_to(node, a, &shape)?, broadcast_to(node, b, &shape)?);
    let all = letters(shape.len());
    let mut rest = Accumulator::of(&a);
    rest.push(-1, &[(&b, &all), (&q, &all)]);
    // |r| < |b| follows from the quotient, but not from the bounds of its cells: one lookup keeps later bounds tight.
    let largest = i128::from(b.lo.unsigned_abs().max(b.hi.unsigned_abs())) - 1;
    requantize(ctx, node, &rest, Format { scale: a.scale, bits: signed_bits(-largest, largest) })
}

/// `2·[x ≥ 0] - 1` in cells, one per distinct cell of `x`.
fn sign(ctx: &mut Lowering, node: &str, x: &QTensor) -> Result<QTensor, BlockError> {
    let small = QTensor { view: compact(&x.view), ..x.clone() };
    let g = non_negative(ctx, node, &Accumulator::of(&small))?;
    let mut acc = Accumulator::of(&g).times(2);
    acc.add_constant(-1);
    let view = ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms, -1, 1);
    Ok(QTensor { view: spread(view, &x.view), scale: 0, lo: -1, hi: 1 })
}

fn assigned(ctx: &mut Lowering, node: &str, acc: &Accumulator) -> Result<QTensor, BlockError> {
    check_width(node, "the result", acc)?;
    let (Ok(lo), Ok(hi)) = (i64::try_from(acc.lo), i64::try_from(acc.hi)) else {
        return Err(BlockError::TooWide { node: node.to_string(), what: "the result", bits: 64, limit: 63 });
    };
    let view = ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms.clone(), lo, hi);
    Ok(QTensor { view, scale: acc.scale, lo, hi })
}

/// Which bitwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bitwise {
    /// `a & b`.
    And,
    /// `a | b = a + b - (a & b)`.
    Or,
    /// `a ^ b = a + b - 2·(a & b)`.
    Xor,
}

/// Bitwise logic of integers in two's complement, with broadcasting: both operands in bits, one cell and lookup each, per distinct element;
/// `a & b = Σ 2^i·a_i·b_i - 2^w·(1 - a_w)·(1 - b_w)` where bit `w` is that of `x + 2^w`, if an operand may be negative.
pub(crate) fn bitwise(ctx: &mut Lowering, node: &str, which: Bitwise, a: &QTensor, b: &QTensor) -> Result<QTensor, BlockError> {
    if a.scale != 0 || b.scale != 0 {
        return Err(BlockError::unsupported(node, format!("bits of numbers at scales {} and {}", a.scale, b.scale), "use integers"));
    }
    let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
    let (a, b) = (broadcast_to(node, a, &shape)?, broadcast_to(node, b, &shape)?);
    let signed = a.lo < 0 || b.lo < 0;
    let magnitude = |x: &QTensor| bit_length(i128::from(x.hi.max(0)).max(-1 - i128::from(x.lo.min(-1)))).max(1);
    let width = magnitude(&a).max(magnitude(&b));
    let (bits_a, bits_b) = (bits(ctx, node, &a, width, signed), bits(ctx, node, &b, width, signed));
    let all = letters(shape.len());
    let mut and = Accumulator::zero(&shape, 0);
    for (i, (x, y)) in bits_a.iter().zip(&bits_b).enumerate() {
        let weight = 1i128 << i;
        if i == width as usize {
            // -2^w·(1 - x)(1 - y)
            and.add_constant(-weight);
            and.push(weight, &[(x, &all)]);
            and.push(weight, &[(y, &all)]);
            and.push(-weight, &[(x, &all), (y, &all)]);
        } else {
            and.push(weight, &[(x, &all), (y, &all)]);
        }
    }
    let sum = Accumulator::of(&a).plus(1, Accumulator::of(&b));
    let acc = match which {
        Bitwise::And => and,
        Bitwise::Or => sum.plus(-1, and),
        Bitwise::Xor => sum.plus(-2, and),
    };
    assigned(ctx, node, &acc)
}

/// The bits of `x`, least significant first; with `signed` those of `x + 2^width`, one more.
fn bits(ctx: &mut Lowering, node: &str, x: &QTensor, width: u32, signed: bool) -> Vec<QTensor> {
    let view = compact(&x.view);
    let shape = view.shape();
    let count = width + u32::from(signed);
    let mut terms = vec![Term::linear(1, view, &letters(shape.len()))];
    if signed {
        terms.push(Term::constant(1i128 << width));
    }
    let parts: Vec<Part> = (0..count).rev().map(|i| Part { weight: 1i128 << i, lo: 0, bits: 1 }).collect();
    let digits = ctx.builder.decompose(node, &shape, shape.len(), terms, &parts);
    digits.into_iter().rev().map(|view| QTensor { view: spread(view, &x.view), scale: 0, lo: 0, hi: 1 }).collect()
}
