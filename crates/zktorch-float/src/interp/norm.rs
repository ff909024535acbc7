//! Normalisations and softmax.

use super::strided::row_major;
use super::{Args, check_axis, ensure, float, view};
use crate::{BinaryFn, ClosedRow, EvalError, Tensor};

/// Mean and variance, accumulated in `f64`.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let var = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, var)
}

/// The elements of a per-channel parameter.
fn per_channel(t: &Tensor, channels: usize) -> Result<&[f32], EvalError> {
    ensure(t.len() == channels, || format!("parameter of shape {:?} for {channels} channels", t.shape))?;
    t.as_f32()
}

/// Batch normalisation with fixed statistics.
pub(crate) fn batch(args: &Args<'_>, eps: f32) -> Result<Tensor, EvalError> {
    let x = args.get(0)?;
    ensure(x.rank() >= 2, || format!("shape {:?} has no channels", x.shape))?;
    let channels = x.shape[1];
    let [scale, bias, mean, var] = [1, 2, 3, 4].map(|i| args.get(i).and_then(|t| per_channel(t, channels)));
    let (scale, bias, mean, var) = (scale?, bias?, mean?, var?);
    let size = x.shape[2..].iter().product::<usize>().max(1);
    let mut out = x.as_f32()?.to_vec();
    for (i, block) in out.chunks_exact_mut(size).enumerate() {
        let c = i % channels;
        let factor = f64::from(scale[c]) / (f64::from(var[c]) + f64::from(eps)).sqrt();
        let offset = f64::from(bias[c]) - f64::from(mean[c]) * factor;
        block.iter_mut().for_each(|v| *v = (f64::from(*v) * factor + offset) as f32);
    }
    float(x.shape.clone(), out)
}

/// Applies scale and optional bias that broadcast to the normalised axes.
fn affine(x: Tensor, scale: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, EvalError> {
    let shape = x.shape.clone();
    let mut y = super::elementwise::binary(BinaryFn::Mul, &x, scale)?;
    if let Some(bias) = bias {
        y = super::elementwise::binary(BinaryFn::Add, &y, bias)?;
    }
    ensure(y.shape == shape, || format!("scale {:?} does not fit {shape:?}", scale.shape))?;
    Ok(y)
}

/// Layer normalisation.
pub(crate) fn layer(args: &Args<'_>, axis: usize, eps: f32) -> Result<Tensor, EvalError> {
    let x = args.get(0)?;
    check_axis(axis, &x.shape)?;
    let size = x.shape[axis..].iter().product::<usize>().max(1);
    let mut out = x.as_f32()?.to_vec();
    for row in out.chunks_exact_mut(size) {
        standardise(row, eps);
    }
    affine(float(x.shape.clone(), out)?, args.get(1)?, args.opt(2))
}

fn standardise(row: &mut [f32], eps: f32) {
    let (mean, var) = moments(row);
    let factor = 1.0 / (var + f64::from(eps)).sqrt();
    row.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) * factor) as f32);
}

/// Root-mean-square normalisation.
pub(crate) fn rms(args: &Args<'_>, axis: usize, eps: f32) -> Result<Tensor, EvalError> {
    let x = args.get(0)?;
    check_axis(axis, &x.shape)?;
    let size = x.shape[axis..].iter().product::<usize>().max(1);
    let mut out = x.as_f32()?.to_vec();
    for row in out.chunks_exact_mut(size) {
        let mean = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / size as f64;
        let factor = 1.0 / (mean + f64::from(eps)).sqrt();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
    }
    affine(float(x.shape.clone(), out)?, args.get(1)?, None)
}

/// Instance normalisation.
pub(crate) fn instance(args: &Args<'_>, eps: f32) -> Result<Tensor, EvalError> {
    let x = args.get(0)?;
    ensure(x.rank() >= 3, || format!("shape {:?} has no spatial axes", x.shape))?;
    group(args, x.shape[1], eps)
}

/// Group normalisation.
pub(crate) fn group(args: &Args<'_>, groups: usize, eps: f32) -> Result<Tensor, EvalError> {
    let x = args.get(0)?;
    ensure(x.rank() >= 2, || format!("shape {:?} has no channels", x.shape))?;
    let channels = x.shape[1];
    ensure(groups > 0 && channels % groups == 0, || format!("{groups} groups of {channels} channels"))?;
    let (scale, bias) = (per_channel(args.get(1)?, channels)?, per_channel(args.get(2)?, channels)?);
    let size = x.shape[2..].iter().product::<usize>().max(1);
    let mut out = x.as_f32()?.to_vec();
    for block in out.chunks_exact_mut((channels / groups * size).max(1)) {
        standardise(block, eps);
    }
    for (i, block) in out.chunks_exact_mut(size).enumerate() {
        let c = i % channels;
        block.iter_mut().for_each(|v| *v = *v * scale[c] + bias[c]);
    }
    float(x.shape.clone(), out)
}

/// Calls `visit` with start and stride of each line along `axis`.
fn for_each_line(shape: &[usize], axis: usize, mut visit: impl FnMut(usize, usize)) {
    let stride = row_major(shape)[axis] as usize;
    let block = stride * shape[axis];
    let total: usize = shape.iter().product();
    if block == 0 {
        return;
    }
    for start in (0..total).step_by(block) {
        for inner in 0..stride {
            visit(start + inner, stride);
        }
    }
}

/// Softmax or its logarithm.
pub(crate) fn softmax(x: &Tensor, axis: usize, log: bool) -> Result<Tensor, EvalError> {
    check_axis(axis, &x.shape)?;
    let mut out = x.as_f32()?.to_vec();
    let n = x.shape[axis];
    for_each_line(&x.shape, axis, |start, stride| {
        let at = |i: usize| start + i * stride;
        let max = (0..n).fold(f32::NEG_INFINITY, |m, i| m.max(out[at(i)]));
        let sum: f64 = (0..n).map(|i| f64::from((out[at(i)] - max).exp())).sum();
        for i in 0..n {
            let shifted = out[at(i)] - max;
            out[at(i)] = if log { (f64::from(shifted) - sum.ln()) as f32 } else { (f64::from(shifted.exp()) / sum) as f32 };
        }
    });
    float(x.shape.clone(), out)
}

/// Softmax over the elements where the mask is true.
pub(crate) fn masked_softmax(x: &Tensor, mask: &Tensor, axis: usize, closed: ClosedRow) -> Result<Tensor, EvalError> {
    check_axis(axis, &x.shape)?;
    let mask = view::expand(mask, &x.shape)?;
    let keep = mask.as_bool()?;
    let mut out = x.as_f32()?.to_vec();
    let n = x.shape[axis];
    for_each_line(&x.shape, axis, |start, stride| {
        let at = |i: usize| start + i * stride;
        let row_is_closed = (0..n).map(at).all(|i| !keep[i]);
        if row_is_closed && closed == ClosedRow::Equal {
            (0..n).map(at).for_each(|i| out[i] = 0.0);
        }
        let counts = |i: usize| keep[i] || (row_is_closed && closed != ClosedRow::Zero);
        let kept = || (0..n).map(at).filter(|&i| counts(i));
        let max = kept().fold(f32::NEG_INFINITY, |m, i| m.max(out[i]));
        let sum: f64 = kept().map(|i| f64::from((out[i] - max).exp())).sum();
        for i in (0..n).map(at) {
            out[i] = if counts(i) { (f64::from((out[i] - max).exp()) / sum) as f32 } else { 0.0 };
        }
    });
    float(x.shape.clone(), out)
}
