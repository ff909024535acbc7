//! Reductions, selections and running sums.

use super::strided::{for_each_row, last, row_major};
use super::{check_axis, ensure};
use crate::tensor::volume;
use crate::{Data, EvalError, ReduceFn, Tensor};

/// For a reduction over `axes`: the shape with reduced axes of size 1, and the strides with which the input's elements fall on
/// the result's.
fn target(shape: &[usize], axes: &[usize]) -> Result<(Vec<usize>, Vec<isize>), EvalError> {
    let mut kept = shape.to_vec();
    for &axis in axes {
        check_axis(axis, shape)?;
        kept[axis] = 1;
    }
    let mut strides = row_major(&kept);
    for &axis in axes {
        strides[axis] = 0;
    }
    Ok((kept, strides))
}

/// Folds the elements of `source` into `out`.
fn fold<T: Copy, A>(source: &[T], shape: &[usize], strides: &[isize], out: &mut [A], f: impl Fn(&mut A, T)) {
    let (length, step) = last(shape, strides);
    let mut position = 0;
    for_each_row(shape, [strides], [0], |[start]| {
        for (i, &v) in source[position..position + length].iter().enumerate() {
            f(&mut out[(start + i as isize * step) as usize], v);
        }
        position += length;
    });
}

/// Reduces over some axes.
pub(crate) fn reduce(x: &Tensor, function: ReduceFn, axes: &[usize], keepdims: bool) -> Result<Tensor, EvalError> {
    let (kept, mut strides) = target(&x.shape, axes)?;
    if x.rank() == 0 {
        strides.clear();
    }
    let cells = volume(&kept)?;
    let count: usize = axes.iter().map(|&a| x.shape[a]).product();
    let data = match &x.data {
        Data::F32(v) => Data::F32(floats(v, &x.shape, &strides, cells, count, function).into()),
        Data::I64(v) => Data::I64(ints(v, &x.shape, &strides, cells, count, function)?),
        Data::Bool(v) => {
            let start = match function {
                ReduceFn::Max => false,
                ReduceFn::Min => true,
                _ => return Err(EvalError::invalid(format!("{function:?} of a bool tensor"))),
            };
            let mut out = vec![start; cells];
            fold(v, &x.shape, &strides, &mut out, |a, v| if start { *a &= v } else { *a |= v });
            Data::Bool(out)
        }
    };
    let shape = if keepdims { kept } else { (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.shape[a]).collect() };
    Tensor::new(shape, data)
}

fn floats(v: &[f32], shape: &[usize], strides: &[isize], cells: usize, count: usize, function: ReduceFn) -> Vec<f32> {
    let start = match function {
        ReduceFn::Max => f64::NEG_INFINITY,
        ReduceFn::Min => f64::INFINITY,
        ReduceFn::Prod => 1.0,
        _ => 0.0,
    };
    let mut out = vec![start; cells];
    let run = |out: &mut Vec<f64>, f: &dyn Fn(&mut f64, f32)| fold(v, shape, strides, out, f);
    match function {
        ReduceFn::Sum | ReduceFn::Mean | ReduceFn::LogSum => run(&mut out, &|a, v| *a += f64::from(v)),
        ReduceFn::Max => run(&mut out, &|a, v| *a = a.max(f64::from(v))),
        ReduceFn::Min => run(&mut out, &|a, v| *a = a.min(f64::from(v))),
        ReduceFn::Prod => run(&mut out, &|a, v| *a *= f64::from(v)),
        ReduceFn::L1 => run(&mut out, &|a, v| *a += f64::from(v.abs())),
        ReduceFn::L2 | ReduceFn::SumSquare => run(&mut out, &|a, v| *a += f64::from(v).powi(2)),
        // Subtracting the maximum first would need a second buffer; f64 has the range for any f32 below 709, and above it the
        // maximum is the answer to within f32.
        ReduceFn::LogSumExp => {
            let mut max = vec![f64::NEG_INFINITY; cells];
            run(&mut max, &|a, v| *a = a.max(f64::from(v)));
            let shift = max.iter().copied().filter(|m| m.is_finite()).fold(0.0, f64::max);
            run(&mut out, &|a, v| *a += (f64::from(v) - shift).exp());
            for (a, m) in out.iter_mut().zip(max) {
                let sum = a.ln() + shift;
                *a = if sum.is_finite() { sum } else { m };
            }
        }
    }
    for a in &mut out {
        *a = match function {
            ReduceFn::Mean => *a / count as f64,
            ReduceFn::L2 => a.sqrt(),
            ReduceFn::LogSum => a.ln(),
            _ => *a,
        };
    }
    out.into_iter().map(|a| a as f32).collect()
}

fn ints(v: &[i64], shape: &[usize], strides: &[isize], cells: usize, count: usize, function: ReduceFn) -> Result<Vec<i64>, EvalError> {
    let (start, f): (i64, fn(&mut i64, i64)) = match function {
        ReduceFn::Sum | ReduceFn::Mean => (0, |a, v| *a = a.wrapping_add(v)),
        ReduceFn::Max => (i64::MIN, |a, v| *a = (*a).max(v)),
        ReduceFn::Min => (i64::MAX, |a, v| *a = (*a).min(v)),
        ReduceFn::Prod => (1, |a, v| *a = a.wrapping_mul(v)),
        ReduceFn::L1 => (0, |a, v| *a = a.wrapping_add(v.wrapping_abs())),
        ReduceFn::SumSquare => (0, |a, v| *a = a.wrapping_add(v.wrapping_mul(v))),
        ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp => {
            return Err(EvalError::invalid(format!("{function:?} of an integer tensor")));
        }
    };
    let mut out = vec![start; cells];
    fold(v, shape, strides, &mut out, f);
    if function == ReduceFn::Mean {
        ensure(count > 0, || "mean of no integers".to_owned())?;
        out.iter_mut().for_each(|a| *a /= count as i64);
    }
    Ok(out)
}

/// The elements as `f64` keys in which NaN-free tensors keep their order.
fn keys(x: &Tensor) -> Vec<f64> {
    match &x.data {
        Data::F32(v) => v.iter().map(|&a| f64::from(a)).collect(),
        Data::I64(v) => v.iter().map(|&a| a as f64).collect(),
        Data::Bool(v) => v.iter().map(|&a| f64::from(u8::from(a))).collect(),
    }
}

/// Lines of `shape` along `axis` as (outer, length, inner).
fn lines(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Index of the largest or smallest element.
pub(crate) fn arg(x: &Tensor, axis: usize, keepdims: bool, take_last: bool, largest: bool) -> Result<Tensor, EvalError> {
    check_axis(axis, &x.shape)?;
    let (outer, n, inner) = lines(&x.shape, axis);
    ensure(n > 0, || "index of an extreme element of nothing".to_owned())?;
    let keys = keys(x);
    let mut out = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let key = |k: usize| keys[(o * n + k) * inner + i];
            let mut best = 0;
            for k in 1..n {
                let (a, b) = (key(k), key(best));
                let better = if largest { a > b } else { a < b };
                if better || (take_last && a == b) {
                    best = k;
                }
            }
            out.push(best as i64);
        }
    }
    let mut shape = x.shape.clone();
    if keepdims {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    Tensor::i64(shape, out)
}

/// The `k` largest or smallest elements in order, and their indices.
pub(crate) fn top_k(x: &Tensor, axis: usize, k: usize, largest: bool) -> Result<Vec<Tensor>, EvalError> {
    check_axis(axis, &x.shape)?;
    let (outer, n, inner) = lines(&x.shape, axis);
    ensure(k <= n, || format!("the {k} best of {n}"))?;
    let keys = keys(x);
    let mut shape = x.shape.clone();
    shape[axis] = k;
    let mut indices = vec![0i64; volume(&shape)?];
    for o in 0..outer {
        for i in 0..inner {
            // Zeros of either sign are equal.
            let key = |j: usize| keys[(o * n + j) * inner + i] + 0.0;
            let mut order: Vec<usize> = (0..n).collect();
            // Stable, so equal elements keep the order of their indices.
            order.sort_by(|&a, &b| if largest { key(b).total_cmp(&key(a)) } else { key(a).total_cmp(&key(b)) });
            for (j, &index) in order.iter().take(k).enumerate() {
                indices[(o * k + j) * inner + i] = index as i64;
            }
        }
    }
    let indices = Tensor::i64(shape, indices)?;
    let values = super::index::gather_elements(x, &indices, axis)?;
    Ok(vec![values, indices])
}

/// Running sum along an axis.
pub(crate) fn cum_sum(x: &Tensor, axis: usize, exclusive: bool, reverse: bool) -> Result<Tensor, EvalError> {
    check_axis(axis, &x.shape)?;
    let (outer, n, inner) = lines(&x.shape, axis);
    let positions = move |o: usize, i: usize| (0..n).map(move |k| (o * n + if reverse { n - 1 - k } else { k }) * inner + i);
    let data = match &x.data {
        Data::F32(v) => {
            let mut out = vec![0.0f32; v.len()];
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let mut sum = 0.0f64;
                for p in positions(o, i) {
                    let before = sum;
                    sum += f64::from(v[p]);
                    out[p] = if exclusive { before } else { sum } as f32;
                }
            }
            Data::F32(out.into())
        }
        Data::I64(v) => {
            let mut out = vec![0i64; v.len()];
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let mut sum = 0i64;
                for p in positions(o, i) {
                    let before = sum;
                    sum = sum.wrapping_add(v[p]);
                    out[p] = if exclusive { before } else { sum };
                }
            }
            Data::I64(out)
        }
        Data::Bool(_) => return Err(EvalError::invalid("running sum of a bool tensor")),
    };
    Tensor::new(x.shape.clone(), data)
}
