//! Discrete Fourier transforms, windows and mel filters: linear maps with coefficients known at import.

use super::sampling::{MAX_COEFFICIENTS, derived};
use super::{Ctx, Lowered};
use crate::ImportError;
use crate::tensor::dtype;
use std::f64::consts::PI;
use zktorch_float::{BinaryFn, DType, Data, Op, Tensor, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "DFT" => fourier(ctx),
        "STFT" => frames(ctx),
        "MelWeightMatrix" => mel(ctx),
        "HannWindow" => window(ctx, &|t| (t / 2.0).sin().powi(2)),
        "HammingWindow" => window(ctx, &|t| 25.0 / 46.0 - 21.0 / 46.0 * t.cos()),
        "BlackmanWindow" => window(ctx, &|t| 0.42 - 0.5 * t.cos() + 0.08 * (2.0 * t).cos()),
        _ => return None,
    })
}

/// Transform along an axis.
fn fourier(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let rank = shape.len();
    ctx.ensure(rank >= 2 && (1..=2).contains(&shape[rank - 1]), || format!("shape {shape:?}"))?;
    let axis = match ctx.const_int(2)? {
        Some(axis) if ctx.opset >= 20 => axis,
        _ if ctx.opset >= 20 => -2,
        _ => ctx.attrs.int("axis").unwrap_or(1),
    };
    let axis = ctx.axis(axis, rank)?;
    ctx.ensure(axis + 1 < rank, || "the axis of the parts cannot be transformed".to_owned())?;
    let (inverse, onesided) = (ctx.attrs.flag("inverse"), ctx.attrs.flag("onesided"));
    let default = if inverse && onesided { 2 * shape[axis].saturating_sub(1) } else { shape[axis] };
    let length = match ctx.const_int(1)? {
        Some(length) => ctx.sizes(&[length], "dft_length")?[0],
        None => default,
    };
    Ok(vec![transform(ctx, x, axis, length, (inverse, onesided))?])
}

/// Discrete Fourier transform of real or complex numbers (last axis of 1 or 2): one real matrix over time and parts.
fn transform(ctx: &mut Ctx<'_>, x: ValueId, axis: usize, length: usize, (inverse, onesided): (bool, bool)) -> Result<ValueId, ImportError> {
    let shape = ctx.shape(x);
    let rank = shape.len();
    let (given, parts) = (shape[axis], shape[rank - 1]);
    ctx.ensure(length > 0, || "a transform of length 0".to_owned())?;
    let outputs = if onesided && !inverse { length / 2 + 1 } else { length };
    let out_parts = if inverse && onesided { 1 } else { 2 };
    // x[t] = a + ib becomes Σ x[t]·w^(±tk); a one-sided inverse counts each frequency and its conjugate.
    let (sign, scale) = if inverse { (1.0, 1.0 / length as f64) } else { (-1.0, 1.0) };
    let total = (given * parts).saturating_mul(outputs * out_parts);
    ctx.ensure(total <= MAX_COEFFICIENTS, || format!("{total} coefficients are too many"))?;
    let mut matrix = vec![0f32; total];
    let used = if inverse && onesided { given.min(length / 2 + 1) } else { given.min(length) };
    for (t, k) in (0..used).flat_map(|t| (0..outputs).map(move |k| (t, k))) {
        let angle = sign * 2.0 * PI * ((t * k) % length) as f64 / length as f64;
        let twice = if inverse && onesided && t != 0 && 2 * t != length { 2.0 } else { 1.0 };
        let (cos, sin) = (twice * scale * angle.cos(), twice * scale * angle.sin());
        let mut set = |part: usize, out: usize, v: f64| {
            if part < parts && out < out_parts {
                matrix[(t * parts + part) * outputs * out_parts + k * out_parts + out] = v as f32;
            }
        };
        set(0, 0, cos);
        set(0, 1, sin);
        set(1, 0, -sin);
        set(1, 1, cos);
    }
    let matrix = derived(ctx, vec![given * parts, outputs * out_parts], matrix, &[])?;
    // The transformed axis goes next to the parts.
    let mut perm: Vec<usize> = (0..rank - 1).filter(|&a| a != axis).collect();
    let outer: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
    perm.extend([axis, rank - 1]);
    let y = ctx.emit(Op::Transpose { perm: perm.clone() }, &[x])?;
    let y = ctx.reshape(y, [&outer[..], &[given * parts]].concat())?;
    let y = ctx.emit(Op::MatMul, &[y, matrix])?;
    let y = ctx.reshape(y, [&outer[..], &[outputs, out_parts]].concat())?;
    let mut back = vec![0; rank];
    for (to, &from) in perm.iter().enumerate() {
        back[from] = to;
    }
    ctx.emit(Op::Transpose { perm: back }, &[y])
}

/// Transforms of frames of a signal `[batch, length, parts]`, each times a window.
fn frames(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let &[batch, length, parts] = ctx.shape(x).as_slice() else {
        return Err(ctx.error("the signal should have three axes"));
    };
    ctx.ensure((1..=2).contains(&parts), || format!("{parts} parts of a number"))?;
    let step = ctx.const_int(1)?.ok_or_else(|| ctx.error("the step is missing"))?;
    let step = ctx.sizes(&[step], "frame_step")?[0];
    let window = ctx.opt(2);
    let size = match (ctx.const_int(3)?, window) {
        (Some(size), _) => ctx.sizes(&[size], "frame_length")?[0],
        (None, Some(window)) => ctx.shape(window).iter().product(),
        (None, None) => length,
    };
    let fits = step > 0 && (1..=length).contains(&size) && window.is_none_or(|w| ctx.shape(w) == [size]);
    ctx.ensure(fits, || format!("frames of {size} every {step} of {length}"))?;
    let count = (length - size) / step + 1;
    ctx.ensure(count.saturating_mul(size) <= MAX_COEFFICIENTS, || format!("{count} frames of {size} are too many"))?;
    let positions = (0..count * size).map(|i| (i / size * step + i % size) as i64).collect();
    let positions = ctx.tensor(vec![count, size], Data::I64(positions))?;
    let positions = ctx.literal(positions);
    let mut y = ctx.emit(Op::Gather { axis: 1 }, &[x, positions])?;
    if let Some(window) = window {
        let column = ctx.reshape(window, vec![size, 1])?;
        y = ctx.binary(BinaryFn::Mul, y, column)?;
    }
    let onesided = ctx.attrs.int("onesided").unwrap_or(1) != 0;
    ctx.ensure(ctx.shape(y) == [batch, count, size, parts], || "frames of an unexpected shape".to_owned())?;
    Ok(vec![transform(ctx, y, 2, size, (false, onesided))?])
}

/// Triangular filters whose corners are equally spaced in mel: `[dft_length/2 + 1, bins]`.
fn mel(ctx: &mut Ctx<'_>) -> Lowered {
    let mut numbers = [0.0; 5];
    for (i, number) in numbers.iter_mut().enumerate() {
        let given = ctx.const_floats(i)?.and_then(|v| v.first().copied());
        *number = f64::from(given.ok_or_else(|| ctx.error(format!("operand {i} is missing")))?);
    }
    let [bins, length, rate, low, high] = numbers;
    let sizes = ctx.sizes(&[bins as i64, length as i64], "sizes")?;
    let (bins, spectrum) = (sizes[0], sizes[1] / 2 + 1);
    let fits = rate > 0.0 && bins.saturating_mul(spectrum) <= MAX_COEFFICIENTS;
    ctx.ensure(fits, || format!("{bins} filters of {spectrum} frequencies at a rate of {rate}"))?;
    let to = ctx.attrs.int("output_datatype").map_or(Ok(DType::F32), |c| dtype(i32::try_from(c).unwrap_or(0)));
    ctx.ensure(to == Ok(DType::F32), || "filters of integers".to_owned())?;
    let to_mel = |f: f64| 2595.0 * (f / 700.0).ln_1p() / 10f64.ln();
    let step = (to_mel(high) - to_mel(low)) / (bins + 2) as f64;
    let corner = |i: usize| {
        let frequency = 700.0 * ((i as f64 * step + to_mel(low)) / 2595.0 * 10f64.ln()).exp_m1();
        ((length + 1.0) * frequency / rate).floor() as i64
    };
    let mut values = vec![0f32; bins * spectrum];
    for i in 0..bins {
        let (left, centre, right) = (corner(i), corner(i + 1), corner(i + 2));
        for j in left..right.max(centre + 1) {
            let value = match j {
                j if j <= centre && left < centre => (j - left) as f64 / (centre - left) as f64,
                j if j < centre => continue,
                j if j == centre => 1.0,
                j => (right - j) as f64 / (right - centre) as f64,
            };
            // Behind the centre the falling edge counts; at the centre both are 1.
            if let Some(v) = usize::try_from(j).ok().filter(|&j| j < spectrum).and_then(|j| values.get_mut(j * bins + i)) {
                *v = value as f32;
            }
        }
    }
    Ok(vec![derived(ctx, vec![spectrum, bins], values, &[])?])
}

/// A window function of a constant length.
fn window(ctx: &mut Ctx<'_>, f: &dyn Fn(f64) -> f64) -> Lowered {
    let size = ctx.const_int(0)?.ok_or_else(|| ctx.error("the size is missing"))?;
    let size = ctx.sizes(&[size], "size")?[0];
    ctx.ensure(size <= MAX_COEFFICIENTS, || format!("a window of {size} numbers is too long"))?;
    let to = ctx.attrs.int("output_datatype").map_or(Ok(DType::F32), |c| dtype(i32::try_from(c).unwrap_or(0)));
    let to = to.map_err(|e| ctx.error(e))?;
    ctx.ensure(to == DType::F32, || "a window of integers".to_owned())?;
    let periodic = ctx.attrs.int("periodic").unwrap_or(1) != 0;
    let length = if periodic { size } else { size.saturating_sub(1) };
    let values = (0..size).map(|n| f(2.0 * PI * n as f64 / length.max(1) as f64) as f32).collect();
    let tensor = Tensor::f32(vec![size], values).map_err(|e| ctx.error(e.to_string()))?;
    Ok(vec![ctx.literal(tensor)])
}
