//! Interpolation.

use super::{Ctx, Lowered};
use zktorch_float::{CoordinateTransform, NearestMode, Op, ResizeMode};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    match ctx.kind() {
        "Resize" | "Upsample" => Some(resize(ctx)),
        _ => None,
    }
}

fn resize(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let rank = shape.len();
    // Operator set 10 and the older Upsample have the scales as operand 1, rounding down from an asymmetric grid.
    let old = ctx.kind() == "Upsample" || ctx.opset < 11;
    let (scales, sizes) = if ctx.kind() == "Upsample" && ctx.opset < 9 {
        (ctx.attrs.floats("scales").map(<[f32]>::to_vec), None)
    } else if old {
        (ctx.const_floats(1)?, None)
    } else {
        (ctx.const_floats(2)?, ctx.const_ints(3)?)
    };
    let scales = scales.filter(|s| !s.is_empty());
    let sizes = sizes.filter(|s| !s.is_empty());
    let axes = match ctx.attrs.ints("axes") {
        Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let (mut factor, mut target) = (vec![1.0f32; rank], shape.clone());
    match (scales, sizes) {
        (Some(scales), None) => {
            ctx.ensure(scales.len() == axes.len() && scales.iter().all(|&s| s.is_finite() && s > 0.0), || {
                format!("scales {scales:?} for {} axes", axes.len())
            })?;
            for (&axis, &scale) in axes.iter().zip(&scales) {
                factor[axis] = scale;
                // In f32, as in the definition of the operator.
                target[axis] = ctx.sizes(&[(shape[axis] as f32 * scale).floor() as i64], "size")?[0];
            }
        }
        (None, Some(sizes)) => {
            ctx.ensure(sizes.len() == axes.len(), || format!("sizes {sizes:?} for {} axes", axes.len()))?;
            let sizes = ctx.sizes(&sizes, "sizes")?;
            for (&axis, &size) in axes.iter().zip(&sizes) {
                factor[axis] = size as f32 / shape[axis] as f32;
                target[axis] = size;
            }
        }
        _ => return Err(ctx.error("exactly one of scales and sizes should be given")),
    }
    let transform = match ctx.attrs.string("coordinate_transformation_mode") {
        _ if old => CoordinateTransform::Asymmetric,
        Some("pytorch_half_pixel") => CoordinateTransform::PytorchHalfPixel,
        Some("align_corners") => CoordinateTransform::AlignCorners,
        Some("asymmetric") => CoordinateTransform::Asymmetric,
        _ => CoordinateTransform::HalfPixel,
    };
    let mode = if ctx.attrs.string("mode") == Some("linear") {
        ResizeMode::Linear
    } else {
        ResizeMode::Nearest(match ctx.attrs.string("nearest_mode") {
            _ if old => NearestMode::Floor,
            Some("round_prefer_ceil") => NearestMode::RoundPreferCeil,
            Some("floor") => NearestMode::Floor,
            Some("ceil") => NearestMode::Ceil,
            _ => NearestMode::RoundPreferFloor,
        })
    };
    if target == shape && factor.iter().all(|&f| f == 1.0) {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Resize { mode, transform, scales: factor, sizes: target }, &[x])?])
}
