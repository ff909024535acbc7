//! Interpolation beyond what the float graph has an operator for: each axis is multiplied by a matrix of coefficients.
//!
//! Coefficients follow the reference implementation of the ONNX project: the nearest neighbours of a coordinate, fewer indices first, with the
//! border element repeated outside.

use super::Ctx;
use crate::ImportError;
use zktorch_float::{BinaryFn, Data, Op, ValueId};

/// How an axis is interpolated.
pub(super) struct Resampling<'a> {
    pub mode: &'a str,
    pub nearest_mode: &'a str,
    pub transform: &'a str,
    pub cubic_coefficient: f64,
    pub antialias: bool,
    pub exclude_outside: bool,
    pub extrapolation: f32,
}

/// One axis: its size before and after, the scale, and the part of it that is read (0 to 1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub scale: f64,
    pub roi: (f64, f64),
}

impl Axis {
    fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.input == self.output && self.roi == (0.0, 1.0)
    }

    /// Source coordinate of output `i`.
    fn coordinate(&self, transform: &str, i: usize) -> f64 {
        let (i, input, scale) = (i as f64, self.input as f64, self.scale);
        let width = scale * input;
        match transform {
            "align_corners" if width == 1.0 => 0.0,
            "align_corners" => i * (input - 1.0) / (width - 1.0),
            "asymmetric" => i / scale,
            "tf_crop_and_resize" => {
                let (from, to) = self.roi;
                let inner = if width == 1.0 { (to - from) * (input - 1.0) / 2.0 } else { i * (to - from) * (input - 1.0) / (width - 1.0) };
                inner + from * (input - 1.0)
            }
            "pytorch_half_pixel" if width == 1.0 => -0.5,
            "half_pixel_symmetric" => input / 2.0 * (1.0 - self.output as f64 / width) + (i + 0.5) / scale - 0.5,
            _ => (i + 0.5) / scale - 0.5,
        }
    }
}

impl Resampling<'_> {
    /// Coefficients of the neighbours of a coordinate whose fractional part is `ratio`, in `(0, 1]`.
    fn coefficients(&self, ratio: f64, scale: f64) -> Vec<f64> {
        let a = self.cubic_coefficient;
        let cubic = |x: f64| {
            let x = x.abs();
            if x <= 1.0 {
                ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
            } else {
                0.0
            }
        };
        let shrink = scale.min(1.0);
        let normalised = |v: Vec<f64>| {
            let sum: f64 = v.iter().sum();
            v.into_iter().map(|c| c / sum).collect()
        };
        match (self.mode, self.antialias) {
            ("cubic", false) => (-1..=2).map(|i| cubic(f64::from(i) - ratio)).collect(),
            ("cubic", true) => {
                let start = (-2.0 / shrink).floor() as i32 + 1;
                normalised((start..2 - start).map(|i| cubic(shrink * (f64::from(i) - ratio))).collect())
            }
            ("linear", false) => vec![1.0 - ratio, ratio],
            ("linear", true) => {
                let start = (-1.0 / shrink).floor() as i32 + 1;
                normalised((start..2 - start).map(|i| (1.0 - ((f64::from(i) - ratio) * shrink).abs()).clamp(0.0, 1.0)).collect())
            }
            _ => {
                let upper = ratio == 1.0
                    || match self.nearest_mode {
                        "round_prefer_ceil" => ratio >= 0.5,
                        "floor" => false,
                        "ceil" => true,
                        _ => ratio > 0.5,
                    };
                if upper { vec![0.0, 1.0] } else { vec![1.0, 0.0] }
            }
        }
    }

    /// The matrix `[input, output]` of an axis, and which outputs lie outside of it.
    fn matrix(&self, axis: Axis) -> (Vec<f32>, Vec<bool>) {
        let mut matrix = vec![0f64; axis.input * axis.output];
        let mut outside = vec![false; axis.output];
        for o in 0..axis.output {
            let x = axis.coordinate(self.transform, o);
            if self.transform == "tf_crop_and_resize" && !(0.0..=axis.input as f64 - 1.0).contains(&x) {
                outside[o] = true;
                continue;
            }
            let ratio = if x == x.floor() { 1.0 } else { x - x.floor() };
            let mut coefficients = self.coefficients(ratio, axis.scale);
            let n = coefficients.len() as i64;
            let fraction = x - x.floor();
            let from = match n % 2 {
                0 if fraction == 0.0 => -(n / 2),
                0 => 1 - n / 2,
                _ if fraction <= 0.5 => -((n - 1) / 2),
                _ => 1 - (n - 1) / 2,
            };
            let places: Vec<i64> = (0..n).map(|i| x.floor() as i64 + from + i).collect();
            let inside = |p: i64| (0..axis.input as i64).contains(&p);
            if self.exclude_outside {
                places.iter().zip(&mut coefficients).filter(|(p, _)| !inside(**p)).for_each(|(_, c)| *c = 0.0);
                let sum: f64 = coefficients.iter().sum();
                coefficients.iter_mut().filter(|_| sum != 0.0).for_each(|c| *c /= sum);
            }
            for (place, c) in places.into_iter().zip(coefficients) {
                matrix[place.clamp(0, axis.input as i64 - 1) as usize * axis.output + o] += c;
            }
        }
        (matrix.into_iter().map(|v| v as f32).collect(), outside)
    }

    /// Interpolates every axis that changes.
    pub(super) fn apply(&self, ctx: &mut Ctx<'_>, x: ValueId, axes: &[Axis]) -> Result<ValueId, ImportError> {
        let mut y = x;
        for (d, &axis) in axes.iter().enumerate().filter(|(_, a)| !a.is_identity()) {
            ctx.ensure(axis.input > 0 && axis.output > 0, || "an axis without elements".to_owned())?;
            let (matrix, outside) = self.matrix(axis);
            let matrix = ctx.tensor(vec![axis.input, axis.output], Data::F32(matrix.into()))?;
            let matrix = ctx.literal(matrix);
            let mut perm: Vec<usize> = (0..axes.len()).collect();
            perm.swap(d, axes.len() - 1);
            let last = d + 1 == axes.len();
            if !last {
                y = ctx.emit(Op::Transpose { perm: perm.clone() }, &[y])?;
            }
            y = ctx.emit(Op::MatMul, &[y, matrix])?;
            if self.extrapolation != 0.0 && outside.contains(&true) {
                let fill: Vec<f32> = outside.iter().map(|&o| if o { self.extrapolation } else { 0.0 }).collect();
                let fill = ctx.tensor(vec![axis.output], Data::F32(fill.into()))?;
                let fill = ctx.literal(fill);
                y = ctx.binary(BinaryFn::Add, y, fill)?;
            }
            if !last {
                y = ctx.emit(Op::Transpose { perm }, &[y])?;
            }
        }
        Ok(y)
    }
}
