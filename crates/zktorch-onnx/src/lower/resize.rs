//! Interpolation.

use super::resample::{Axis, Resampling};
use super::{Ctx, Lowered};
use zktorch_float::{CoordinateTransform, NearestMode, Op, ResizeMode};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    match ctx.kind() {
        "Resize" | "Upsample" => Some(resize(ctx)),
        _ => None,
    }
}

/// The interpolation, if the float graph has no operator for it.
fn resampling<'a>(ctx: &Ctx<'a>) -> Option<Resampling<'a>> {
    let text = |name: &str, default: &'static str| ctx.attrs.string(name).unwrap_or(default);
    let found = Resampling {
        mode: text("mode", "nearest"),
        nearest_mode: text("nearest_mode", "round_prefer_floor"),
        transform: text("coordinate_transformation_mode", "half_pixel"),
        cubic_coefficient: f64::from(ctx.attrs.float("cubic_coeff_a").unwrap_or(-0.75)),
        antialias: ctx.attrs.flag("antialias"),
        exclude_outside: ctx.attrs.flag("exclude_outside"),
        extrapolation: ctx.attrs.float("extrapolation_value").unwrap_or(0.0),
    };
    let beyond = found.mode == "cubic"
        || found.antialias
        || found.exclude_outside
        || matches!(found.transform, "tf_crop_and_resize" | "half_pixel_symmetric");
    beyond.then_some(found)
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
            let chosen = axes.iter().map(|&a| factor[a]);
            let common = match ctx.attrs.string("keep_aspect_ratio_policy") {
                Some("not_larger") => chosen.reduce(f32::min),
                Some("not_smaller") => chosen.reduce(f32::max),
                _ => None,
            };
            for &axis in axes.iter().filter(|_| common.is_some()) {
                factor[axis] = common.unwrap_or(1.0);
                target[axis] = (f64::from(factor[axis]) * shape[axis] as f64 + 0.5).floor() as usize;
            }
        }
        _ => return Err(ctx.error("exactly one of scales and sizes should be given")),
    }
    if let Some(resampling) = resampling(ctx).filter(|_| !old) {
        let roi = ctx.const_floats(1)?.filter(|r| r.len() == 2 * axes.len());
        let part = |d: usize| {
            let (i, roi) = (axes.iter().position(|&a| a == d)?, roi.as_ref()?);
            (resampling.transform == "tf_crop_and_resize").then(|| (f64::from(roi[i]), f64::from(roi[i + axes.len()])))
        };
        let axis = |d: usize| Axis { input: shape[d], output: target[d], scale: f64::from(factor[d]), roi: part(d).unwrap_or((0.0, 1.0)) };
        let parts: Vec<Axis> = (0..rank).map(axis).collect();
        return Ok(vec![resampling.apply(ctx, x, &parts)?]);
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
