//! Normalisations, softmax and reductions.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, Op, ReduceFn, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    if let Some(function) = reduction(ctx.kind()) {
        return Some(reduce(ctx, function));
    }
    let eps = ctx.attrs.float("epsilon").unwrap_or(1e-5);
    Some(match ctx.kind() {
        "BatchNormalization" => batch(ctx, eps),
        "InstanceNormalization" => ctx.emit_same(Op::InstanceNormalization { eps }),
        "LayerNormalization" => layer(ctx, eps),
        "RMSNormalization" => last_axes(ctx).and_then(|axis| ctx.emit_same(Op::RmsNormalization { axis, eps })),
        "GroupNormalization" => group(ctx, eps),
        "Softmax" => softmax(ctx, false),
        "LogSoftmax" => softmax(ctx, true),
        "LpNormalization" => lp(ctx),
        _ => return None,
    })
}

/// By given statistics or, in training mode, by those of the batch, with which the given ones are then mixed.
fn batch(ctx: &mut Ctx<'_>, eps: f32) -> Lowered {
    let training = ctx.attrs.flag("training_mode");
    let more = ctx.node.output.iter().skip(1).any(|o| !o.is_empty());
    ctx.ensure(training || !more, || "only training mode has more than one result".to_owned())?;
    if !training {
        return ctx.emit_same(Op::BatchNormalization { eps });
    }
    let (x, scale, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let shape = ctx.shape(x);
    ctx.ensure(shape.len() >= 2, || format!("an operand of shape {shape:?}"))?;
    // Each channel is one row: the batch becomes a spatial axis.
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    perm.swap(0, 1);
    let moved: Vec<usize> = perm.iter().map(|&d| shape[d]).collect();
    let rows = ctx.emit(Op::Transpose { perm: perm.clone() }, &[x])?;
    let rows = ctx.reshape(rows, vec![1, moved[0], moved[1..].iter().product()])?;
    let y = ctx.emit(Op::InstanceNormalization { eps }, &[rows, scale, bias])?;
    let y = ctx.reshape(y, moved.clone())?;
    let y = ctx.emit(Op::Transpose { perm }, &[y])?;
    if !more {
        return Ok(vec![y]);
    }
    let average = |ctx: &mut Ctx<'_>, x| ctx.emit(Op::Reduce { function: ReduceFn::Mean, axes: vec![2], keepdims: true }, &[x]);
    let mean = average(ctx, rows)?;
    let centred = ctx.binary(BinaryFn::Sub, rows, mean)?;
    let squares = ctx.binary(BinaryFn::Mul, centred, centred)?;
    let variance = average(ctx, squares)?;
    let momentum = ctx.attrs.float("momentum").unwrap_or(0.9);
    let mut outputs = vec![y];
    for (own, given) in [(mean, ctx.input(3)?), (variance, ctx.input(4)?)] {
        let (old, new) = (ctx.float_literal(momentum), ctx.float_literal(1.0 - momentum));
        let own = ctx.reshape(own, vec![moved[0]])?;
        let (old, new) = (ctx.binary(BinaryFn::Mul, given, old)?, ctx.binary(BinaryFn::Mul, own, new)?);
        outputs.push(ctx.binary(BinaryFn::Add, old, new)?);
    }
    Ok(outputs)
}

/// The normalisation and, where they are wanted, mean and inverse standard deviation of each row.
fn layer(ctx: &mut Ctx<'_>, eps: f32) -> Lowered {
    let axis = last_axes(ctx)?;
    let mut outputs = ctx.emit_same(Op::LayerNormalization { axis, eps })?;
    if ctx.node.output.iter().skip(1).any(|o| !o.is_empty()) {
        let x = ctx.input(0)?;
        let axes: Vec<usize> = (axis..ctx.shape(x).len()).collect();
        let average = |ctx: &mut Ctx<'_>, x| ctx.emit(Op::Reduce { function: ReduceFn::Mean, axes: axes.clone(), keepdims: true }, &[x]);
        let mean = average(ctx, x)?;
        let centred = ctx.binary(BinaryFn::Sub, x, mean)?;
        let squares = ctx.binary(BinaryFn::Mul, centred, centred)?;
        let variance = average(ctx, squares)?;
        let eps = ctx.float_literal(eps);
        let variance = ctx.binary(BinaryFn::Add, variance, eps)?;
        let deviation = ctx.unary(UnaryFn::Sqrt, variance)?;
        outputs.extend([mean, ctx.unary(UnaryFn::Reciprocal, deviation)?]);
    }
    Ok(outputs)
}

/// The first normalised axis; -1 by default.
fn last_axes(ctx: &Ctx<'_>) -> Result<usize, ImportError> {
    let rank = ctx.shape(ctx.input(0)?).len();
    ctx.axis(ctx.attrs.int("axis").unwrap_or(-1), rank)
}

/// Scale and bias were per group before version 21 and are per channel since.
fn group(ctx: &mut Ctx<'_>, eps: f32) -> Lowered {
    let (x, scale, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let groups = ctx.attrs.required(ctx.attrs.int("num_groups"), "num_groups")?;
    let groups = usize::try_from(groups).unwrap_or(0);
    let channels = ctx.shape(x).get(1).copied().unwrap_or(0);
    ctx.ensure(groups > 0 && channels % groups == 0, || format!("{groups} groups of {channels} channels"))?;
    let (mut scale, mut bias) = (scale, bias);
    if ctx.opset < 21 {
        scale = per_channel(ctx, scale, groups, channels)?;
        bias = per_channel(ctx, bias, groups, channels)?;
    }
    Ok(vec![ctx.emit(Op::GroupNormalization { groups, eps }, &[x, scale, bias])?])
}

fn per_channel(ctx: &mut Ctx<'_>, x: ValueId, groups: usize, channels: usize) -> Result<ValueId, ImportError> {
    let column = ctx.reshape(x, vec![groups, 1])?;
    let wide = ctx.emit(Op::Expand { shape: vec![groups, channels / groups] }, &[column])?;
    ctx.reshape(wide, vec![channels])
}

/// Before version 13 the operand was flattened to a matrix at the axis, and rows were normalised.
fn softmax(ctx: &mut Ctx<'_>, log: bool) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let op = |axis| if log { Op::LogSoftmax { axis } } else { Op::Softmax { axis } };
    if ctx.opset >= 13 {
        let axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(-1), shape.len())?;
        return Ok(vec![ctx.emit(op(axis), &[x])?]);
    }
    let axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(1), shape.len())?;
    if axis + 1 == shape.len() {
        return Ok(vec![ctx.emit(op(axis), &[x])?]);
    }
    let flat = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    let y = ctx.reshape(x, flat)?;
    let y = ctx.emit(op(1), &[y])?;
    Ok(vec![ctx.reshape(y, shape)?])
}

fn lp(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let axis = last_axes(ctx)?;
    let function = if ctx.attrs.int("p") == Some(1) { ReduceFn::L1 } else { ReduceFn::L2 };
    let norm = ctx.emit(Op::Reduce { function, axes: vec![axis], keepdims: true }, &[x])?;
    // A row of zeros stays one.
    let (zero, one) = (ctx.float_literal(0.0), ctx.float_literal(1.0));
    let empty = ctx.binary(BinaryFn::Equal, norm, zero)?;
    let norm = ctx.emit(Op::Where, &[empty, one, norm])?;
    Ok(vec![ctx.binary(BinaryFn::Div, x, norm)?])
}

fn reduction(name: &str) -> Option<ReduceFn> {
    Some(match name {
        "ReduceSum" => ReduceFn::Sum,
        "ReduceMean" => ReduceFn::Mean,
        "ReduceMax" => ReduceFn::Max,
        "ReduceMin" => ReduceFn::Min,
        "ReduceProd" => ReduceFn::Prod,
        "ReduceL1" => ReduceFn::L1,
        "ReduceL2" => ReduceFn::L2,
        "ReduceSumSquare" => ReduceFn::SumSquare,
        "ReduceLogSum" => ReduceFn::LogSum,
        "ReduceLogSumExp" => ReduceFn::LogSumExp,
        _ => return None,
    })
}

/// What a reduction does to a tensor that it does not reduce.
fn without_axes(ctx: &mut Ctx<'_>, function: ReduceFn, x: ValueId) -> Lowered {
    let y = match function {
        ReduceFn::L1 | ReduceFn::L2 => ctx.unary(UnaryFn::Abs, x)?,
        ReduceFn::SumSquare => ctx.binary(BinaryFn::Mul, x, x)?,
        ReduceFn::LogSum => ctx.unary(UnaryFn::Log, x)?,
        _ => x,
    };
    Ok(vec![y])
}

fn reduce(ctx: &mut Ctx<'_>, function: ReduceFn) -> Lowered {
    let x = ctx.input(0)?;
    let rank = ctx.shape(x).len();
    let as_operand = ctx.opset >= if function == ReduceFn::Sum { 13 } else { 18 };
    ctx.ensure(as_operand || ctx.opt(1).is_none(), || "the axes are an attribute in this opset".to_owned())?;
    let given = if as_operand { ctx.const_ints(1)? } else { ctx.attrs.ints("axes").map(<[i64]>::to_vec) };
    let axes = match given.filter(|a| !a.is_empty()) {
        Some(axes) => ctx.axes(&axes, rank)?,
        None if ctx.attrs.flag("noop_with_empty_axes") => return without_axes(ctx, function, x),
        None => (0..rank).collect(),
    };
    let keepdims = ctx.attrs.int("keepdims").unwrap_or(1) != 0;
    Ok(vec![ctx.emit(Op::Reduce { function, axes, keepdims }, &[x])?])
}
