//! Interpolation.

use super::{ensure, float, view};
use crate::tensor::volume;
use crate::{CoordinateTransform, EvalError, NearestMode, ResizeMode, Tensor};

/// Source coordinate of output position `i` on an axis.
fn coordinate(transform: CoordinateTransform, i: usize, scale: f32, input: usize, output: usize) -> f64 {
    let (i, scale) = (i as f64, f64::from(scale));
    match transform {
        CoordinateTransform::HalfPixel => (i + 0.5) / scale - 0.5,
        CoordinateTransform::PytorchHalfPixel if output <= 1 => 0.0,
        CoordinateTransform::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
        CoordinateTransform::AlignCorners if output <= 1 => 0.0,
        CoordinateTransform::AlignCorners => i * (input as f64 - 1.0) / (output as f64 - 1.0),
        CoordinateTransform::Asymmetric => i / scale,
    }
}

fn nearest(mode: NearestMode, x: f64) -> f64 {
    match mode {
        NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
        NearestMode::RoundPreferCeil => (x + 0.5).floor(),
        NearestMode::Floor => x.floor(),
        NearestMode::Ceil => x.ceil(),
    }
}

/// Resizes every axis.
pub(crate) fn resize(
    x: &Tensor,
    mode: ResizeMode,
    transform: CoordinateTransform,
    scales: &[f32],
    sizes: &[usize],
) -> Result<Tensor, EvalError> {
    let fits = scales.len() == x.rank() && sizes.len() == x.rank() && scales.iter().all(|&s| s > 0.0) && !x.is_empty();
    ensure(fits, || format!("scales {scales:?} and sizes {sizes:?} do not fit {:?}", x.shape))?;
    volume(sizes)?;
    let at = |axis: usize, i: usize| coordinate(transform, i, scales[axis], x.shape[axis], sizes[axis]);
    match mode {
        ResizeMode::Nearest(rounding) => {
            let map = |axis: usize| {
                let top = x.shape[axis] as f64 - 1.0;
                (0..sizes[axis]).map(|i| nearest(rounding, at(axis, i)).clamp(0.0, top) as usize).collect()
            };
            let maps: Vec<Vec<usize>> = (0..x.rank()).map(map).collect();
            view::mapped(x, &maps, 0.0)
        }
        ResizeMode::Linear => {
            let mut current = float(x.shape.clone(), x.as_f32()?.to_vec())?;
            for axis in 0..x.rank() {
                if sizes[axis] != x.shape[axis] || scales[axis] != 1.0 {
                    current = linear_axis(&current, axis, sizes[axis], |i| at(axis, i))?;
                }
            }
            Ok(current)
        }
    }
}

/// Linear interpolation along one axis.
fn linear_axis(x: &Tensor, axis: usize, size: usize, at: impl Fn(usize) -> f64) -> Result<Tensor, EvalError> {
    let v = x.as_f32()?;
    let n = x.shape[axis];
    let outer: usize = x.shape[..axis].iter().product();
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = size;
    let mut out = Vec::with_capacity(volume(&shape)?);
    let taps: Vec<(usize, usize, f32)> = (0..size)
        .map(|i| {
            let c = at(i).clamp(0.0, n as f64 - 1.0);
            let low = c.floor();
            (low as usize, (low as usize + 1).min(n - 1), (c - low) as f32)
        })
        .collect();
    for o in 0..outer {
        for &(low, high, weight) in &taps {
            let a = &v[(o * n + low) * inner..][..inner];
            let b = &v[(o * n + high) * inner..][..inner];
            out.extend(a.iter().zip(b).map(|(&a, &b)| a * (1.0 - weight) + b * weight));
        }
    }
    float(shape, out)
}
