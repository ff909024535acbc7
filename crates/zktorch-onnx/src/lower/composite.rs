//! Operators that are a few others in a row.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, DType, Data, Op, PadMode, ReduceFn, Tensor, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "Hardmax" => hardmax(ctx),
        "LRN" => local_response(ctx),
        "MeanVarianceNormalization" => mean_variance(ctx),
        "CenterCropPad" => center_crop_pad(ctx),
        "ReverseSequence" => reverse_sequence(ctx),
        "SwiGLU" => gated(ctx),
        "CumProd" => cumulative_product(ctx),
        "TensorScatter" => tensor_scatter(ctx),
        "Det" => determinant(ctx),
        "NegativeLogLikelihoodLoss" => ctx.input(0).and_then(|x| likelihood(ctx, x)).map(|y| vec![y]),
        "SoftmaxCrossEntropyLoss" => cross_entropy(ctx),
        _ => return None,
    })
}

/// 1 at the first largest element of each row, 0 elsewhere. Before version 13 a row was everything from the axis on.
fn hardmax(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let old = ctx.opset < 13;
    let mut axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(if old { 1 } else { -1 }), shape.len())?;
    let mut rows = x;
    if old {
        rows = ctx.reshape(x, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])?;
        axis = 1;
    }
    let depth = ctx.shape(rows)[axis];
    let best = ctx.emit(Op::ArgMax { axis, keepdims: false, select_last_index: false }, &[rows])?;
    let values = ctx.tensor(vec![2], Data::F32(vec![0.0, 1.0].into()))?;
    let values = ctx.literal(values);
    let y = ctx.emit(Op::OneHot { axis, depth }, &[best, values])?;
    Ok(vec![ctx.reshape(y, shape)?])
}

/// `x / (bias + alpha/size · Σ x²)^beta`, the sum over `size` channels around each one: a band matrix over the channels.
fn local_response(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    ctx.ensure(shape.len() >= 2, || format!("shape {shape:?} has no channels"))?;
    let size = ctx.attrs.required(ctx.attrs.int("size"), "size")?;
    let size = ctx.sizes(&[size], "size")?[0];
    ctx.ensure(size > 0, || "a window of 0 channels".to_owned())?;
    let alpha = ctx.attrs.float("alpha").unwrap_or(1e-4);
    let (beta, bias) = (ctx.attrs.float("beta").unwrap_or(0.75), ctx.attrs.float("bias").unwrap_or(1.0));
    let (before, after) = ((size - 1) / 2, size / 2);
    let c = shape[1];
    let weight = alpha / size as f32;
    let band: Vec<f32> = (0..c * c).map(|i| if i % c + before >= i / c && i % c <= i / c + after { weight } else { 0.0 }).collect();
    let band = ctx.tensor(vec![c, c], Data::F32(band.into()))?;
    let band = ctx.literal(band);
    let squares = ctx.binary(BinaryFn::Mul, x, x)?;
    let flat = ctx.reshape(squares, vec![shape[0], c, shape[2..].iter().product()])?;
    let sums = ctx.emit(Op::MatMul, &[band, flat])?;
    let sums = ctx.reshape(sums, shape)?;
    let bias = ctx.float_literal(bias);
    let base = ctx.binary(BinaryFn::Add, sums, bias)?;
    let exponent = ctx.float_literal(-beta);
    let factor = ctx.binary(BinaryFn::Pow, base, exponent)?;
    Ok(vec![ctx.binary(BinaryFn::Mul, x, factor)?])
}

/// `(x - mean) / deviation` over some axes: a layer normalisation with these axes last.
fn mean_variance(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let rank = ctx.shape(x).len();
    let axes = ctx.axes(ctx.attrs.ints("axes").unwrap_or(&[0, 2, 3]), rank)?;
    let mut perm: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).collect();
    let axis = perm.len();
    perm.extend(&axes);
    let mut back = vec![0; rank];
    for (to, &from) in perm.iter().enumerate() {
        back[from] = to;
    }
    let turned = ctx.emit(Op::Transpose { perm }, &[x])?;
    let row = ctx.shape(turned)[axis..].to_vec();
    let ones = ctx.tensor(row.clone(), Data::F32(vec![1.0; row.iter().product()].into()))?;
    let ones = ctx.literal(ones);
    let y = ctx.emit(Op::LayerNormalization { axis, eps: 1e-9 }, &[turned, ones])?;
    Ok(vec![ctx.emit(Op::Transpose { perm: back }, &[y])?])
}

/// Cuts or pads axes on both sides; where the difference is odd, the end gives or gets one more.
fn center_crop_pad(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let rank = shape.len();
    let target = ctx.const_ints(1)?.unwrap_or_default();
    let target = ctx.sizes(&target, "shape")?;
    let axes = match ctx.attrs.ints("axes") {
        Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    ctx.ensure(axes.len() == target.len(), || format!("target {target:?} for {} axes", axes.len()))?;
    let (mut starts, mut sizes, mut pads) = (vec![0; rank], shape.clone(), vec![(0, 0); rank]);
    for (&axis, &size) in axes.iter().zip(&target) {
        let have = shape[axis];
        starts[axis] = have.saturating_sub(size) / 2;
        sizes[axis] = have.min(size);
        let more = size.saturating_sub(have);
        pads[axis] = (more / 2, more - more / 2);
    }
    let mut y = x;
    if sizes != shape {
        y = ctx.emit(Op::Slice { starts, sizes, steps: vec![1; rank] }, &[y])?;
    }
    if pads.iter().any(|&p| p != (0, 0)) {
        y = ctx.emit(Op::Pad { mode: PadMode::Constant, pads, value: 0.0 }, &[y])?;
    }
    Ok(vec![y])
}

/// The first elements of each sequence in reverse order, as many as a constant says.
fn reverse_sequence(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let lengths = ctx.const_ints(1)?.unwrap_or_default();
    let time = ctx.axis(ctx.attrs.int("time_axis").unwrap_or(0), shape.len())?;
    let batch = ctx.axis(ctx.attrs.int("batch_axis").unwrap_or(1), shape.len())?;
    let fits = time != batch && lengths.len() == shape[batch] && lengths.iter().all(|&l| (0..=shape[time] as i64).contains(&l));
    ctx.ensure(fits, || format!("lengths {lengths:?} for shape {shape:?}"))?;
    let pitch = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let position = |i: usize| {
        let (t, b) = (i / pitch(time) % shape[time], i / pitch(batch) % shape[batch]);
        let length = lengths[b] as usize;
        (if t < length { length - 1 - t } else { t }) as i64
    };
    let positions = (0..shape.iter().product()).map(position).collect();
    let positions = ctx.tensor(shape.clone(), Data::I64(positions))?;
    let positions = ctx.literal(positions);
    Ok(vec![ctx.emit(Op::GatherElements { axis: time }, &[x, positions])?])
}

/// `swish(a)·b`.
fn gated(ctx: &mut Ctx<'_>) -> Lowered {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let alpha = ctx.attrs.float("alpha").unwrap_or(1.0);
    let gate = ctx.unary(UnaryFn::Silu { alpha }, a)?;
    Ok(vec![ctx.binary(BinaryFn::Mul, gate, b)?])
}

/// Longest axis along which products are written out.
const MAX_PRODUCTS: usize = 4096;

fn cumulative_product(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axis = ctx.const_int(1)?.ok_or_else(|| ctx.error("the axis is missing"))?;
    let axis = ctx.axis(axis, shape.len())?;
    let n = shape[axis];
    ctx.ensure((1..=MAX_PRODUCTS).contains(&n), || format!("an axis of {n} elements"))?;
    let parts = ctx.emit_many(Op::Split { axis, sizes: vec![1; n] }, &[Some(x)])?;
    let reverse = ctx.attrs.flag("reverse");
    let exclusive = ctx.attrs.flag("exclusive");
    let mut part = shape.clone();
    part[axis] = 1;
    let ones = match ctx.dtype(x) {
        DType::I64 => Data::I64(vec![1; part.iter().product()]),
        _ => Data::F32(vec![1.0; part.iter().product()].into()),
    };
    let ones = ctx.tensor(part, ones)?;
    let mut product: Option<ValueId> = None;
    let mut results = Vec::with_capacity(n);
    for i in 0..n {
        let next = parts[if reverse { n - 1 - i } else { i }];
        let so_far = match product {
            None => next,
            Some(before) => ctx.binary(BinaryFn::Mul, before, next)?,
        };
        results.push(match (exclusive, product) {
            (false, _) => so_far,
            (true, Some(before)) => before,
            (true, None) => ctx.literal(ones.clone()),
        });
        product = Some(so_far);
    }
    if reverse {
        results.reverse();
    }
    match results[..] {
        [one] => Ok(vec![one]),
        _ => Ok(vec![ctx.emit(Op::Concat { axis }, &results)?]),
    }
}

/// Writes a stretch of a cache, at a constant position per batch, around the end if it is circular.
fn tensor_scatter(ctx: &mut Ctx<'_>) -> Lowered {
    let (cache, update) = (ctx.input(0)?, ctx.input(1)?);
    let (shape, new) = (ctx.shape(cache), ctx.shape(update));
    let axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(-2), shape.len())?;
    let starts = ctx.const_ints(2)?.unwrap_or_else(|| vec![0; shape[0]]);
    let circular = ctx.attrs.string("mode") == Some("circular");
    ctx.ensure(axis > 0 && starts.len() == shape[0] && new.len() == shape.len(), || format!("{} positions for {shape:?}", starts.len()))?;
    let inner: usize = new[axis + 1..].iter().product();
    let per_batch: usize = new[1..].iter().product();
    let position = |i: usize| {
        let at = starts[i / per_batch] + (i / inner % new[axis]) as i64;
        if circular { at.rem_euclid(shape[axis].max(1) as i64) } else { at }
    };
    let positions = (0..new.iter().product()).map(position).collect();
    let positions = ctx.tensor(new.clone(), Data::I64(positions))?;
    let positions = ctx.literal(positions);
    Ok(vec![ctx.emit(Op::ScatterElements { axis }, &[cache, positions, update])?])
}

/// Largest matrix whose determinant is written out.
const MAX_MATRIX: usize = 4;

/// Expansion by the first column, one product per permutation.
fn determinant(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let n = shape.last().copied().unwrap_or(0);
    let square = shape.len() >= 2 && shape[shape.len() - 2] == n && (1..=MAX_MATRIX).contains(&n);
    ctx.ensure(square, || format!("shape {shape:?}; matrices of up to {MAX_MATRIX} rows are supported"))?;
    let batch = shape[..shape.len() - 2].to_vec();
    let flat = ctx.reshape(x, [&batch[..], &[n * n]].concat())?;
    let entries = ctx.emit_many(Op::Split { axis: batch.len(), sizes: vec![1; n * n] }, &[Some(flat)])?;
    let y = minor(ctx, &entries, n, &(0..n).collect::<Vec<_>>(), 0)?;
    Ok(vec![ctx.reshape(y, batch)?])
}

/// Determinant of the rows `rows` and the columns from `column` on.
fn minor(ctx: &mut Ctx<'_>, entries: &[ValueId], n: usize, rows: &[usize], column: usize) -> Result<ValueId, ImportError> {
    let mut sum: Option<ValueId> = None;
    for (i, &row) in rows.iter().enumerate() {
        let mut term = entries[row * n + column];
        if rows.len() > 1 {
            let rest: Vec<usize> = rows.iter().copied().filter(|&r| r != row).collect();
            let rest = minor(ctx, entries, n, &rest, column + 1)?;
            term = ctx.binary(BinaryFn::Mul, term, rest)?;
        }
        sum = Some(match sum {
            None => term,
            Some(before) => ctx.binary(if i % 2 == 0 { BinaryFn::Add } else { BinaryFn::Sub }, before, term)?,
        });
    }
    sum.ok_or_else(|| ctx.error("no rows"))
}

fn cross_entropy(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let log = ctx.emit(Op::LogSoftmax { axis: 1 }, &[x])?;
    let loss = likelihood(ctx, log)?;
    Ok(vec![loss, log])
}

/// `-Σ w[t]·x[t]` with the class of each place as `t`, or its mean by the weights.
fn likelihood(ctx: &mut Ctx<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    let target = ctx.input(1)?;
    let (shape, places) = (ctx.shape(x), ctx.shape(target));
    ctx.ensure(shape.len() >= 2 && places.len() + 1 == shape.len(), || format!("classes {places:?} for {shape:?}"))?;
    let classes = shape[1];
    // One-hot rows of the classes choose scores and weights; an ignored class chooses 0, and one that does not exist is refused.
    let values = ctx.tensor(vec![2], Data::F32(vec![0.0, 1.0].into()))?;
    let values = ctx.literal(values);
    let mut target = target;
    let ignored = ctx.attrs.int("ignore_index");
    if let Some(ignored) = ignored {
        let ignored = ctx.literal(Tensor::ints(vec![ignored]));
        let same = ctx.binary(BinaryFn::Equal, target, ignored)?;
        let (first, above) = (ctx.literal(Tensor::ints(vec![0])), ctx.literal(Tensor::ints(vec![classes as i64])));
        target = ctx.emit(Op::Where, &[same, first, target])?;
        target = ctx.emit(Op::Position { size: classes }, &[target])?;
        target = ctx.emit(Op::Where, &[same, above, target])?;
        let own = ctx.shape(target);
        if own != places {
            target = ctx.reshape(target, places.clone())?;
        }
    } else {
        target = ctx.emit(Op::Position { size: classes }, &[target])?;
    }
    let depth = classes + usize::from(ignored.is_some());
    let mut chosen = ctx.emit(Op::OneHot { axis: 1, depth }, &[target, values])?;
    if ignored.is_some() {
        let rank = shape.len();
        chosen = ctx.emit(Op::Slice { starts: vec![0; rank], sizes: shape.clone(), steps: vec![1; rank] }, &[chosen])?;
    }
    if let Some(weight) = ctx.opt(2) {
        let mut column = vec![1; shape.len()];
        column[1] = classes;
        let weight = ctx.reshape(weight, column)?;
        chosen = ctx.binary(BinaryFn::Mul, chosen, weight)?;
    }
    let products = ctx.binary(BinaryFn::Mul, x, chosen)?;
    let sum =
        |ctx: &mut Ctx<'_>, x: ValueId, axes: Vec<usize>| ctx.emit(Op::Reduce { function: ReduceFn::Sum, axes, keepdims: false }, &[x]);
    let all: Vec<usize> = (0..shape.len()).collect();
    match ctx.attrs.string("reduction").unwrap_or("mean") {
        "none" => {
            let loss = sum(ctx, products, vec![1])?;
            ctx.unary(UnaryFn::Neg, loss)
        }
        "sum" => {
            let loss = sum(ctx, products, all)?;
            ctx.unary(UnaryFn::Neg, loss)
        }
        _ => {
            let loss = sum(ctx, products, all.clone())?;
            let loss = ctx.unary(UnaryFn::Neg, loss)?;
            if ctx.opt(2).is_none() && ignored.is_none() {
                let count = ctx.float_literal(1.0 / places.iter().product::<usize>() as f32);
                return ctx.binary(BinaryFn::Mul, loss, count);
            }
            let weights = sum(ctx, chosen, all)?;
            ctx.binary(BinaryFn::Div, loss, weights)
        }
    }
}
