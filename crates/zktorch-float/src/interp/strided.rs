//! Walking over tensors with arbitrary strides.

use crate::EvalError;
use crate::tensor::volume;

/// Row-major strides of `shape`, in elements.
pub(crate) fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0isize; shape.len()];
    let mut step = 1isize;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        // Only an empty tensor can have sizes whose product wraps, and none of its strides is ever used.
        step = step.wrapping_mul(size.max(1) as isize);
    }
    strides
}

/// Strides with which a tensor of `shape` is read as one of the broadcast shape `target` (0 on repeated axes).
pub(crate) fn broadcast_strides(shape: &[usize], target: &[usize]) -> Result<Vec<isize>, EvalError> {
    let clash = || EvalError::Broadcast { a: shape.to_vec(), b: target.to_vec() };
    let lead = target.len().checked_sub(shape.len()).ok_or_else(clash)?;
    let mut strides = vec![0isize; target.len()];
    for (i, (&size, stride)) in shape.iter().zip(row_major(shape)).enumerate() {
        if size == target[lead + i] {
            strides[lead + i] = stride;
        } else if size != 1 {
            return Err(clash());
        }
    }
    Ok(strides)
}

/// The shape that `a` and `b` broadcast to (NumPy rules).
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, EvalError> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(EvalError::Broadcast { a: a.to_vec(), b: b.to_vec() }),
        })
        .collect()
}

/// Calls `visit` for each start of a run along the last axis, in row-major order, with the offsets of `N` operands. The runs
/// have length `shape.last()` (1 for scalars).
pub(crate) fn for_each_row<const N: usize>(shape: &[usize], strides: [&[isize]; N], base: [isize; N], mut visit: impl FnMut([isize; N])) {
    if shape.contains(&0) {
        return;
    }
    let outer = shape.len().saturating_sub(1);
    let mut counter = vec![0usize; outer];
    let mut offset = base;
    loop {
        visit(offset);
        let mut axis = outer;
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            counter[axis] += 1;
            if counter[axis] < shape[axis] {
                for (o, s) in offset.iter_mut().zip(&strides) {
                    *o += s[axis];
                }
                break;
            }
            counter[axis] = 0;
            for (o, s) in offset.iter_mut().zip(&strides) {
                *o -= s[axis] * (shape[axis] as isize - 1);
            }
        }
    }
}

/// The elements of `source` read with `strides` from `base` as a row-major tensor of `shape`. The caller guarantees that all
/// offsets lie inside.
pub(crate) fn read<T: Copy>(source: &[T], shape: &[usize], strides: &[isize], base: isize) -> Result<Vec<T>, EvalError> {
    let mut out = Vec::with_capacity(volume(shape)?);
    let (length, step) = last(shape, strides);
    for_each_row(shape, [strides], [base], |[start]| {
        if step == 1 {
            out.extend_from_slice(&source[start as usize..start as usize + length]);
        } else {
            out.extend((0..length as isize).map(|i| source[(start + i * step) as usize]));
        }
    });
    Ok(out)
}

/// Length and stride of the last axis.
pub(crate) fn last(shape: &[usize], strides: &[isize]) -> (usize, isize) {
    (shape.last().copied().unwrap_or(1), strides.last().copied().unwrap_or(1))
}

/// Applies `f` to corresponding elements of two broadcast operands.
pub(crate) fn zip<A: Copy, B: Copy, O>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    f: impl Fn(A, B) -> O,
) -> Result<(Vec<usize>, Vec<O>), EvalError> {
    if a_shape == b_shape {
        return Ok((a_shape.to_vec(), a.iter().zip(b).map(|(&x, &y)| f(x, y)).collect()));
    }
    let shape = broadcast_shape(a_shape, b_shape)?;
    let (sa, sb) = (broadcast_strides(a_shape, &shape)?, broadcast_strides(b_shape, &shape)?);
    let mut out = Vec::with_capacity(volume(&shape)?);
    let (length, step_a) = last(&shape, &sa);
    let step_b = last(&shape, &sb).1;
    for_each_row(&shape, [&sa, &sb], [0, 0], |[oa, ob]| {
        let (oa, ob) = (oa as usize, ob as usize);
        match (step_a, step_b) {
            (1, 1) => out.extend(a[oa..oa + length].iter().zip(&b[ob..ob + length]).map(|(&x, &y)| f(x, y))),
            (1, _) => out.extend(a[oa..oa + length].iter().map(|&x| f(x, b[ob]))),
            (_, 1) => out.extend(b[ob..ob + length].iter().map(|&y| f(a[oa], y))),
            _ => out.extend((0..length).map(|_| f(a[oa], b[ob]))),
        }
    });
    Ok((shape, out))
}

/// Reads `source` of `shape` at `maps[axis][i]` on every axis; `usize::MAX` stands for `fill`. The caller guarantees that all
/// other positions are inside.
pub(crate) fn read_mapped<T: Copy>(source: &[T], shape: &[usize], maps: &[Vec<usize>], fill: T) -> Result<Vec<T>, EvalError> {
    let out_shape: Vec<usize> = maps.iter().map(Vec::len).collect();
    let mut out = Vec::with_capacity(volume(&out_shape)?);
    let strides = row_major(shape);
    if maps.is_empty() {
        out.extend_from_slice(source);
        return Ok(out);
    }
    if out_shape.contains(&0) {
        return Ok(out);
    }
    let outer = maps.len() - 1;
    let mut counter = vec![0usize; outer];
    loop {
        let base = counter.iter().enumerate().try_fold(0usize, |base, (axis, &i)| {
            let position = maps[axis][i];
            (position != usize::MAX).then(|| base + position * strides[axis] as usize)
        });
        match base {
            Some(base) => {
                out.extend(maps[outer].iter().map(|&i| if i == usize::MAX { fill } else { source[base + i] }));
            }
            None => out.extend(std::iter::repeat_n(fill, maps[outer].len())),
        }
        let mut axis = outer;
        loop {
            if axis == 0 {
                return Ok(out);
            }
            axis -= 1;
            counter[axis] += 1;
            if counter[axis] < out_shape[axis] {
                break;
            }
            counter[axis] = 0;
        }
    }
}
