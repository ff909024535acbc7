//! Quantisation to unsigned bytes by the extrema of the tensor itself.

use super::cells::{letters, signed_bits};
use super::compare::non_negative;
use super::divide::quotient_in;
use super::{BlockError, Lowering, broadcast_to, reduce_max, reduce_min, relu, unary};
use crate::tensor::{Accumulator, Format, QTensor};

/// Most elements of one maximum.
const MOST: usize = 1 << 16;
/// Steps between the extrema.
const STEPS: i128 = 255;

/// What [`dynamic_quantize`] makes of a tensor.
pub(crate) struct Dynamic {
    /// Integers in `0..=255` at scale 0, of the tensor's shape.
    pub y: QTensor,
    /// `M - m`, shape `[1]`, at the scale of the tensor: 255 times the scale.
    pub span: QTensor,
    /// The zero point in `0..=255` at scale 0, shape `[1]`.
    pub zero: QTensor,
}

/// `M = max(x, 0)` and `m = min(x, 0)` over the whole tensor, `R = M - m` (one, as a real number, if that is 0), `zero = round(-255·m / R)`,
/// `y = min(round(255·x / R) + zero, 255)`, halves up.
///
/// The quotients are those of integers, exactly: the scale itself, which is rounded where it is used, has no part in them. ONNX rounds
/// the scale and the quotient to `f32` and halves to even, so that `zero` and each rounded quotient may differ by 1 where the exact one is
/// within 2^-14 of a half; `x` counts as the program knows it. An extremum of 16 bits costs 2 cells and one lookup per element, the quotient
/// 5 and 5, the saturation 2 and one.
pub(crate) fn dynamic_quantize(ctx: &mut Lowering, node: &str, x: &QTensor) -> Result<Dynamic, BlockError> {
    let mut whole = x.clone();
    whole.view.axes.insert(0, zktorch_program::Axis { size: 1, stride: 0 });
    if x.view.axes.is_empty() {
        whole.view.axes.push(zktorch_program::Axis { size: 1, stride: 0 });
    }
    let (mut largest, mut smallest) = (whole.clone(), whole);
    while largest.view.axes.len() > 1 {
        // Very large tensors lose one axis at a time.
        let kept = if largest.view.len() > MOST { largest.view.axes.len() - 1 } else { 1 };
        largest = reduce_max(ctx, node, &largest, kept)?;
        smallest = reduce_min(ctx, node, &smallest, kept)?;
    }
    let width = |u: &Accumulator| Format { scale: x.scale, bits: signed_bits(u.lo, u.hi) };
    let (above, below) = (Accumulator::of(&largest), Accumulator::of(&smallest).times(-1));
    let above = relu(ctx, node, &above, width(&above))?;
    let below = relu(ctx, node, &below, width(&below))?;
    let mut span = Accumulator::of(&above).plus(1, Accumulator::of(&below));
    let mut more = span.clone();
    more.add_constant(-1);
    let some = non_negative(ctx, node, &more)?;
    let one = 1i128 << x.scale.clamp(0, 30);
    span.add_constant(one);
    span.push(-one, &[(&some, &[0])]);
    let cells = |ctx: &mut Lowering, acc: Accumulator| {
        let hi = i64::try_from(acc.hi).unwrap_or(i64::MAX);
        let view = ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms, 0, hi);
        QTensor { view, scale: acc.scale, lo: 0, hi }
    };
    let span = cells(ctx, span);
    let twice = cells(ctx, Accumulator::of(&span).times(2));
    let mut turn = Accumulator::zero(&[1], 0);
    turn.push(2 * STEPS, &[(&below, &[0])]);
    turn.push(1, &[(&span, &[0])]);
    let zero = quotient_in(ctx, node, &turn, &twice, 0, 8, 0)?;
    let shape = x.shape();
    let all = letters(shape.len());
    let (wide, divisor) = match shape[..] {
        [] => (scalar(&span), scalar(&twice)),
        _ => (broadcast_to(node, &span, &shape)?, broadcast_to(node, &twice, &shape)?),
    };
    let mut numerator = Accumulator::zero(&shape, 0);
    numerator.push(2 * STEPS, &[(x, &all)]);
    numerator.push(1, &[(&wide, &all)]);
    let steps = quotient_in(ctx, node, &numerator, &divisor, -256, 9, 0)?;
    let moved = match shape[..] {
        [] => Accumulator::sum(node, &steps, 1, &scalar(&zero))?,
        _ => Accumulator::sum(node, &steps, 1, &zero)?,
    };
    let byte = |v: f64| v.clamp(0.0, 255.0);
    let y = unary(ctx, node, &moved, Format { scale: 0, bits: 11 }, &byte, "in a byte", Format { scale: 0, bits: 9 })?;
    Ok(Dynamic { y, span, zero })
}

/// The only element of a vector.
fn scalar(x: &QTensor) -> QTensor {
    QTensor { view: x.view.at(0, 0), ..x.clone() }
}
