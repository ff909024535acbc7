//! Data movement.

use super::strided::{broadcast_strides, read, read_mapped, row_major};
use super::{check_axis, ensure, map_data, same_type};
use crate::tensor::volume;
use crate::{Data, EvalError, PadMode, Tensor};

/// Permutes axes.
pub(crate) fn transpose(x: &Tensor, perm: &[usize]) -> Result<Tensor, EvalError> {
    let mut seen = vec![false; x.rank()];
    let valid = perm.len() == x.rank() && perm.iter().all(|&p| seen.get_mut(p).is_some_and(|s| !std::mem::replace(s, true)));
    ensure(valid, || format!("{perm:?} is no permutation of the axes of {:?}", x.shape))?;
    let shape: Vec<usize> = perm.iter().map(|&p| x.shape[p]).collect();
    let source = row_major(&x.shape);
    let strides: Vec<isize> = perm.iter().map(|&p| source[p]).collect();
    let data = map_data!(&x.data, v => read(v, &shape, &strides, 0)?);
    Tensor::new(shape, data)
}

/// Takes a strided box.
pub(crate) fn slice(x: &Tensor, starts: &[usize], sizes: &[usize], steps: &[i64]) -> Result<Tensor, EvalError> {
    let rank = x.rank();
    let fits = |axis: usize| {
        let (size, start, count) = (x.shape[axis] as i128, starts[axis] as i128, sizes[axis] as i128);
        let last = start + (count - 1) * i128::from(steps[axis]);
        count == 0 || ((0..size).contains(&start) && (0..size).contains(&last))
    };
    let valid = starts.len() == rank && sizes.len() == rank && steps.len() == rank && (0..rank).all(fits);
    ensure(valid, || format!("slice {starts:?} of sizes {sizes:?} by {steps:?} leaves shape {:?}", x.shape))?;
    if sizes.contains(&0) {
        return Tensor::new(sizes.to_vec(), map_data!(&x.data, v => v[..0].to_vec()));
    }
    let source = row_major(&x.shape);
    // A step on an axis of one element may be arbitrarily large and is never taken.
    let strides: Vec<isize> = (0..rank).map(|a| if sizes[a] == 1 { 0 } else { source[a] * steps[a] as isize }).collect();
    let base = (0..rank).map(|a| source[a] * starts[a] as isize).sum();
    Tensor::new(sizes.to_vec(), map_data!(&x.data, v => read(v, sizes, &strides, base)?))
}

/// Splits along an axis.
pub(crate) fn split(x: &Tensor, axis: usize, sizes: &[usize]) -> Result<Vec<Tensor>, EvalError> {
    check_axis(axis, &x.shape)?;
    let total = sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s));
    ensure(total == Some(x.shape[axis]), || format!("parts {sizes:?} do not sum to {}", x.shape[axis]))?;
    let steps = vec![1; x.rank()];
    let mut starts = vec![0; x.rank()];
    let mut parts = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let mut shape = x.shape.clone();
        shape[axis] = size;
        parts.push(slice(x, &starts, &shape, &steps)?);
        starts[axis] += size;
    }
    Ok(parts)
}

/// Concatenates along an axis.
pub(crate) fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor, EvalError> {
    let first = *parts.first().ok_or_else(|| EvalError::invalid("nothing to concatenate"))?;
    check_axis(axis, &first.shape)?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for part in parts {
        same_type(first, part)?;
        let fits = part.rank() == first.rank() && (0..first.rank()).all(|a| a == axis || part.shape[a] == first.shape[a]);
        ensure(fits, || format!("shapes {:?} and {:?} cannot be concatenated", first.shape, part.shape))?;
        shape[axis] += part.shape[axis];
    }
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    volume(&shape)?;
    let data = match &first.data {
        Data::F32(_) => Data::F32(interleave(parts, axis, outer, inner, |t| t.as_f32())?.into()),
        Data::I64(_) => Data::I64(interleave(parts, axis, outer, inner, |t| t.as_i64())?),
        Data::Bool(_) => Data::Bool(interleave(parts, axis, outer, inner, |t| t.as_bool())?),
    };
    Tensor::new(shape, data)
}

fn interleave<'a, T: Copy + 'a>(
    parts: &[&'a Tensor],
    axis: usize,
    outer: usize,
    inner: usize,
    elements: impl Fn(&'a Tensor) -> Result<&'a [T], EvalError>,
) -> Result<Vec<T>, EvalError> {
    let slices = parts.iter().map(|t| Ok((elements(t)?, t.shape[axis] * inner))).collect::<Result<Vec<_>, EvalError>>()?;
    let mut out = Vec::new();
    for block in 0..outer {
        for (slice, length) in &slices {
            out.extend_from_slice(&slice[block * length..(block + 1) * length]);
        }
    }
    Ok(out)
}

/// Broadcasts to a shape.
pub(crate) fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor, EvalError> {
    if x.shape == shape {
        return Ok(x.clone());
    }
    let strides = broadcast_strides(&x.shape, shape)?;
    Tensor::new(shape.to_vec(), map_data!(&x.data, v => read(v, shape, &strides, 0)?))
}

/// Repeats along each axis.
pub(crate) fn tile(x: &Tensor, repeats: &[usize]) -> Result<Tensor, EvalError> {
    ensure(repeats.len() == x.rank(), || format!("{repeats:?} does not fit shape {:?}", x.shape))?;
    let shape: Vec<usize> = x.shape.iter().zip(repeats).map(|(&s, &r)| s.saturating_mul(r)).collect();
    volume(&shape)?;
    let maps: Vec<Vec<usize>> = shape.iter().zip(&x.shape).map(|(&n, &s)| (0..n).map(|i| i % s).collect()).collect();
    mapped(x, &maps, 0.0)
}

/// Pads each axis.
pub(crate) fn pad(x: &Tensor, mode: PadMode, pads: &[(usize, usize)], value: f32) -> Result<Tensor, EvalError> {
    ensure(pads.len() == x.rank(), || format!("{pads:?} does not fit shape {:?}", x.shape))?;
    let mut shape = Vec::with_capacity(x.rank());
    for (&size, &(before, after)) in x.shape.iter().zip(pads) {
        let total = size.checked_add(before).and_then(|n| n.checked_add(after));
        shape.push(total.ok_or_else(|| EvalError::TooLarge { shape: x.shape.clone() })?);
        let fits = match mode {
            PadMode::Constant => true,
            PadMode::Reflect => before.max(after) < size.max(1),
            PadMode::Edge | PadMode::Wrap => size > 0 || before + after == 0,
        };
        ensure(fits, || format!("{mode:?} padding {before}+{after} of an axis of size {size}"))?;
    }
    volume(&shape)?;
    let maps: Vec<Vec<usize>> = (0..x.rank())
        .map(|axis| {
            let (size, before) = (x.shape[axis] as i64, pads[axis].0 as i64);
            (0..shape[axis] as i64)
                .map(|i| {
                    let i = i - before;
                    let inside = (0..size).contains(&i);
                    match mode {
                        _ if inside => i as usize,
                        PadMode::Constant => usize::MAX,
                        PadMode::Edge => i.clamp(0, size - 1) as usize,
                        PadMode::Wrap => i.rem_euclid(size) as usize,
                        PadMode::Reflect => (if i < 0 { -i } else { 2 * (size - 1) - i }) as usize,
                    }
                })
                .collect()
        })
        .collect();
    mapped(x, &maps, value)
}

/// Reads `x` through one table of positions per axis; `usize::MAX` stands for `fill`.
pub(crate) fn mapped(x: &Tensor, maps: &[Vec<usize>], fill: f32) -> Result<Tensor, EvalError> {
    let shape = maps.iter().map(Vec::len).collect();
    let data = match &x.data {
        Data::F32(v) => Data::F32(read_mapped(v, &x.shape, maps, fill)?.into()),
        Data::I64(v) => Data::I64(read_mapped(v, &x.shape, maps, fill as i64)?),
        Data::Bool(v) => Data::Bool(read_mapped(v, &x.shape, maps, fill != 0.0)?),
    };
    Tensor::new(shape, data)
}

/// Keeps one triangle of the last two axes.
pub(crate) fn trilu(x: &Tensor, upper: bool, k: i64) -> Result<Tensor, EvalError> {
    ensure(x.rank() >= 2, || format!("a triangle needs a matrix, got shape {:?}", x.shape))?;
    let (rows, cols) = (x.shape[x.rank() - 2], x.shape[x.rank() - 1]);
    let keep = |i: usize| {
        let (row, col) = (((i / cols) % rows) as i64, (i % cols) as i64);
        let distance = (col - row).saturating_sub(k);
        if upper { distance >= 0 } else { distance <= 0 }
    };
    let data = match &x.data {
        Data::F32(v) => Data::F32(v.iter().enumerate().map(|(i, &a)| if keep(i) { a } else { 0.0 }).collect()),
        Data::I64(v) => Data::I64(v.iter().enumerate().map(|(i, &a)| if keep(i) { a } else { 0 }).collect()),
        Data::Bool(v) => Data::Bool(v.iter().enumerate().map(|(i, &a)| a && keep(i)).collect()),
    };
    Tensor::new(x.shape.clone(), data)
}
