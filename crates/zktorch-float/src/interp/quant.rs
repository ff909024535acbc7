//! Quantised integers: the rounding and saturation of ONNX.

use super::strided::zip;
use super::{ensure, float};
use crate::{Data, EvalError, Tensor};

/// One number per tensor, or one per index of `axis`, as a tensor that broadcasts to `rank` axes.
fn along(t: &Tensor, axis: usize, shape: &[usize]) -> Result<Vec<usize>, EvalError> {
    if t.len() == 1 {
        return Ok(Vec::new());
    }
    let fits = t.rank() == 1 && shape.get(axis) == Some(&t.len());
    ensure(fits, || format!("parameters of shape {:?} do not fit axis {axis} of {shape:?}", t.shape))?;
    let mut wide = vec![1; shape.len()];
    wide[axis] = t.len();
    Ok(wide)
}

/// `f(x, scale, zero)` for every element.
fn apply<X: Copy, Y: Copy>(
    (x, shape): (&[X], &[usize]),
    scale: &Tensor,
    zero: Option<&Tensor>,
    axis: usize,
    f: impl Fn(X, f32, i64) -> Y,
) -> Result<Vec<Y>, EvalError> {
    let scales = scale.as_f32()?;
    let zeros = match zero {
        Some(z) => z.as_i64()?.to_vec(),
        None => vec![0],
    };
    let wide = along(scale, axis, shape)?;
    let zero_wide = match zero {
        Some(z) => along(z, axis, shape)?,
        None => Vec::new(),
    };
    let (joint, pairs) = zip((scales, &wide), (&zeros, &zero_wide), |s, z| (s, z))?;
    let (out_shape, out) = zip((x, shape), (&pairs, &joint), |x, (s, z)| f(x, s, z))?;
    ensure(out_shape == shape, || "quantisation parameters do not fit".to_owned())?;
    Ok(out)
}

/// `saturate(round(x) + zero)`, halves to even; NaN becomes `zero`.
fn saturate(x: f64, zero: i64, (low, high): (i64, i64)) -> i64 {
    (x.round_ties_even() as i64).saturating_add(zero).max(low).min(high)
}

/// `saturate(round(x / scale) + zero)`; the quotient is rounded to `f32` first, as ONNX Runtime does.
pub(crate) fn quantize(x: &Tensor, scale: &Tensor, zero: Option<&Tensor>, axis: usize, range: (i64, i64)) -> Result<Tensor, EvalError> {
    let out = apply((x.as_f32()?, &x.shape), scale, zero, axis, |x, s, z| saturate(f64::from(x / s), z, range))?;
    Tensor::i64(x.shape.clone(), out)
}

/// Unsigned bytes with their scale and zero point.
pub(crate) fn dynamic(x: &Tensor) -> Result<Vec<Tensor>, EvalError> {
    let values = x.as_f32()?;
    let (least, most) = values.iter().fold((0f32, 0f32), |(a, b), &v| (a.min(v), b.max(v)));
    let scale = if least == most { 1.0 } else { (most - least) / 255.0 };
    let zero = Tensor::i64(Vec::new(), vec![saturate(f64::from(-least / scale), 0, (0, 255))])?;
    let scale = Tensor::scalar(scale);
    let y = quantize(x, &scale, Some(&zero), 0, (0, 255))?;
    Ok(vec![y, scale, zero])
}

/// `(x - zero)·scale`.
pub(crate) fn dequantize(x: &Tensor, scale: &Tensor, zero: Option<&Tensor>, axis: usize) -> Result<Tensor, EvalError> {
    float(x.shape.clone(), apply((x.as_i64()?, &x.shape), scale, zero, axis, |x, s, z| x.wrapping_sub(z) as f32 * s)?)
}

/// `saturate(round(x·factor) + zero)` with the exact product.
pub(crate) fn requantize(x: &Tensor, factor: &Tensor, zero: Option<&Tensor>, axis: usize, range: (i64, i64)) -> Result<Tensor, EvalError> {
    // A product of 29 and 24 bits is exact in f64.
    let out = apply((x.as_i64()?, &x.shape), factor, zero, axis, |x, s, z| saturate(x as f64 * f64::from(s), z, range))?;
    Tensor::i64(x.shape.clone(), out)
}

/// Fails if sums of `terms` products of elements of `a` and `b` might overflow.
pub(crate) fn check_sums(a: &[i64], b: &[i64], terms: usize) -> Result<(), EvalError> {
    let most = |v: &[i64]| v.iter().map(|x| u128::from(x.unsigned_abs())).max().unwrap_or(0);
    let product = most(a).checked_mul(most(b)).and_then(|p| p.checked_mul(terms as u128 + 1));
    ensure(product.is_some_and(|p| p < 1 << 62), || "sums of products leave 64 bits".to_owned())
}

/// The largest integer of each window; windows are lists of positions in a channel.
pub(crate) fn max_of_windows(data: &[i64], size: usize, windows: &[(Vec<usize>, usize)]) -> Result<Data, EvalError> {
    let mut out = Vec::new();
    for channel in data.chunks_exact(size) {
        for (inside, _) in windows {
            let largest = inside.iter().map(|&i| channel[i]).max();
            out.push(largest.ok_or_else(|| EvalError::invalid("a window without any element"))?);
        }
    }
    Ok(Data::I64(out))
}
