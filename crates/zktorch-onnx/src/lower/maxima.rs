//! Maxima of windows with their positions, and their inverse.

use super::linear::{Window, window};
use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, Data, Op, ReduceFn, Tensor, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "MaxPool" => max_pool(ctx),
        "MaxUnpool" => max_unpool(ctx),
        _ => return None,
    })
}

/// Most elements of all windows of a channel whose positions are listed.
const MAX_TAPS: usize = 1 << 24;

/// Digits of `i` in the mixed base `sizes`, most significant first.
fn digits(mut i: usize, sizes: &[usize]) -> Vec<usize> {
    let mut found = vec![0; sizes.len()];
    for d in (0..sizes.len()).rev() {
        found[d] = i % sizes[d];
        i /= sizes[d];
    }
    found
}

fn max_pool(ctx: &mut Ctx<'_>) -> Lowered {
    let w = window(ctx, None)?;
    let op = Op::MaxPool {
        kernel: w.kernel.clone(),
        strides: w.strides.clone(),
        dilations: w.dilations.clone(),
        pads: w.pads.clone(),
        ceil_mode: ctx.attrs.flag("ceil_mode"),
    };
    let values = ctx.emit_same(op)?[0];
    if ctx.node.output.get(1).is_none_or(String::is_empty) {
        return Ok(vec![values]);
    }
    let places = positions(ctx, &w, values)?;
    Ok(vec![values, places])
}

/// Row-major position in the whole tensor of the first largest element of each window: the window's elements are listed, their maximum is
/// found, and its one-hot row chooses from the list.
fn positions(ctx: &mut Ctx<'_>, w: &Window, values: ValueId) -> Result<ValueId, ImportError> {
    let x = ctx.input(0)?;
    let (from, to) = (ctx.shape(x), ctx.shape(values));
    let (input, output) = (&from[2..], &to[2..]);
    let (size, count, taps): (usize, usize, usize) = (input.iter().product(), output.iter().product(), w.kernel.iter().product());
    ctx.ensure(count.saturating_mul(taps) <= MAX_TAPS, || format!("{count} windows of {taps} elements are too many to list"))?;
    let by_column = ctx.attrs.int("storage_order").unwrap_or(0) == 1;
    let (mut elements, mut numbers) = (Vec::with_capacity(count * taps), Vec::with_capacity(count * taps));
    for o in 0..count {
        let start = digits(o, output);
        let mut inside = vec![None; taps];
        for (t, place) in inside.iter_mut().enumerate() {
            let tap = digits(t, &w.kernel);
            let at = |d: usize| (start[d] * w.strides[d] + tap[d] * w.dilations[d]).checked_sub(w.pads[d].0).filter(|&p| p < input[d]);
            *place = (0..input.len()).map(at).collect::<Option<Vec<usize>>>();
        }
        let first = inside.iter().flatten().next().cloned().ok_or_else(|| ctx.error("a window without any element"))?;
        for place in inside {
            // The first element stands in for what is outside: it changes neither the maximum nor which element is the first one.
            let place = place.unwrap_or_else(|| first.clone());
            let row_major = place.iter().zip(input).fold(0, |p, (&i, &n)| p * n + i);
            let column_major = place.iter().zip(input).rev().fold(0, |p, (&i, &n)| p * n + i);
            elements.push(row_major as i64);
            numbers.push(if by_column { column_major } else { row_major } as i64);
        }
    }
    let list = |ctx: &mut Ctx<'_>, shape: Vec<usize>, values: Vec<i64>| -> Result<ValueId, ImportError> {
        let tensor = ctx.tensor(shape, Data::I64(values))?;
        Ok(ctx.literal(tensor))
    };
    let flat = ctx.reshape(x, vec![from[0], from[1], size])?;
    let elements = list(ctx, vec![count, taps], elements)?;
    let windows = ctx.emit(Op::Gather { axis: 2 }, &[flat, elements])?;
    let best = ctx.emit(Op::ArgMax { axis: 3, keepdims: false, select_last_index: false }, &[windows])?;
    let values = ctx.literal(Tensor::ints(vec![0, 1]));
    let chosen = ctx.emit(Op::OneHot { axis: 3, depth: taps }, &[best, values])?;
    let numbers = list(ctx, vec![count, taps], numbers)?;
    let places = ctx.binary(BinaryFn::Mul, chosen, numbers)?;
    let places = ctx.emit(Op::Reduce { function: ReduceFn::Sum, axes: vec![3], keepdims: false }, &[places])?;
    let base = (0..from[0] * from[1]).map(|c| (c * size) as i64).collect();
    let base = list(ctx, vec![from[0], from[1], 1], base)?;
    let places = ctx.binary(BinaryFn::Add, places, base)?;
    ctx.reshape(places, to)
}

/// Elements at the positions that a pooling has found, 0 elsewhere. A larger shape than the windows cover is filled up at the end.
fn max_unpool(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, places) = (ctx.input(0)?, ctx.input(1)?);
    let w = window(ctx, None)?;
    let mut shape = ctx.shape(x);
    for (a, size) in shape.iter_mut().skip(2).enumerate() {
        let full = size.saturating_sub(1) * w.strides[a] + w.kernel[a];
        *size = full.checked_sub(w.pads[a].0 + w.pads[a].1).ok_or_else(|| ctx.error("more padding than elements"))?;
    }
    let (count, size): (usize, usize) = (ctx.shape(x).iter().product(), shape.iter().product());
    let zeros = ctx.tensor(vec![size], Data::F32(vec![0.0; size].into()))?;
    let zeros = ctx.literal(zeros);
    let (x, places) = (ctx.reshape(x, vec![count])?, ctx.reshape(places, vec![count])?);
    let y = ctx.emit(Op::ScatterElements { axis: 0 }, &[zeros, places, x])?;
    let y = ctx.reshape(y, shape.clone())?;
    let Some(wanted) = ctx.const_ints(2)? else { return Ok(vec![y]) };
    let wanted = ctx.sizes(&wanted, "output_shape")?;
    let fits = wanted.len() == shape.len() && wanted.iter().zip(&shape).all(|(w, s)| w >= s);
    ctx.ensure(fits, || format!("output_shape {wanted:?} for windows that cover {shape:?}"))?;
    if wanted == shape {
        return Ok(vec![y]);
    }
    let pads = wanted.iter().zip(&shape).map(|(w, s)| (0, w - s)).collect();
    Ok(vec![ctx.emit(Op::Pad { mode: zktorch_float::PadMode::Constant, pads, value: 0.0 }, &[y])?])
}
