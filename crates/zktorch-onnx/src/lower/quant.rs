//! Quantised operators, as integers with the rounding of ONNX Runtime.
//!
//! A `QuantizeLinear` behind dequantised operands stands for one integer operator with a requantisation, which is what ONNX Runtime
//! makes of it: `Conv`, `MatMul` and `Gemm` (with a rectifier behind them) and operators that only move or choose elements.

use super::{Ctx, Lowered};
use crate::ImportError;
use crate::proto::ElementType;
use zktorch_float::{BinaryFn, DType, Node, Op, UnaryFn, ValueId};

mod blocks;

/// Integers with the parameters that make floats of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantised {
    pub integers: ValueId,
    pub scale: ValueId,
    pub zero: Option<ValueId>,
    pub axis: usize,
}

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "QuantizeLinear" => quantize(ctx),
        "DequantizeLinear" => dequantize(ctx),
        "DynamicQuantizeLinear" => dynamic(ctx),
        "QLinearConv" => qlinear_conv(ctx),
        "QLinearMatMul" => qlinear_matmul(ctx),
        "QGemm" => qgemm(ctx),
        "ConvInteger" => conv_integer(ctx),
        "MatMulInteger" => matmul_integer(ctx),
        _ => return None,
    })
}

/// Smallest and largest integer of an element type.
fn range(ctx: &Ctx<'_>, element: i32) -> Result<(i64, i64), ImportError> {
    Ok(match ElementType::try_from(element) {
        Ok(ElementType::Uint2) => (0, 3),
        Ok(ElementType::Int2) => (-2, 1),
        Ok(ElementType::Uint4) => (0, 15),
        Ok(ElementType::Int4) => (-8, 7),
        Ok(ElementType::Uint8) => (0, 255),
        Ok(ElementType::Int8) => (-128, 127),
        Ok(ElementType::Uint16) => (0, 65535),
        Ok(ElementType::Int16) => (-32768, 32767),
        _ => return Err(ctx.error(format!("quantised elements of type {element} are not supported"))),
    })
}

/// Range of the results of a quantisation, from the type of its zero point (`None`: unsigned bytes).
fn range_of(ctx: &Ctx<'_>, zero: Option<ValueId>) -> Result<(i64, i64), ImportError> {
    let Some(zero) = zero else { return Ok((0, 255)) };
    let element = ctx.builder.elements.get(&zero).copied();
    range(ctx, element.ok_or_else(|| ctx.error("the zero point is computed, so that its element type is unknown"))?)
}

fn given(ids: &[Option<ValueId>]) -> Vec<Option<ValueId>> {
    let mut ids = ids.to_vec();
    while ids.last() == Some(&None) {
        ids.pop();
    }
    ids
}

fn one(ctx: &mut Ctx<'_>, op: Op, inputs: &[Option<ValueId>]) -> Result<ValueId, ImportError> {
    let outputs = ctx.emit_many(op, &given(inputs))?;
    outputs.first().copied().ok_or_else(|| ctx.error("no result"))
}

fn quantisation_axis(ctx: &Ctx<'_>, x: ValueId) -> Result<usize, ImportError> {
    let rank = ctx.shape(x).len() as i64;
    let axis = ctx.attrs.int("axis").unwrap_or(1);
    // The axis has no meaning for one parameter per tensor, and the default need not exist.
    Ok(usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX))
}

/// The size of blocks that share parameters, if the operator says one.
fn block_size(ctx: &Ctx<'_>, x: ValueId, axis: usize) -> Result<Option<usize>, ImportError> {
    let block = ctx.attrs.int("block_size").unwrap_or(0);
    if block == 0 {
        return Ok(None);
    }
    ctx.ensure(block > 0 && axis < ctx.shape(x).len(), || format!("blocks of {block} along axis {axis}"))?;
    Ok(usize::try_from(block).ok())
}

fn quantize(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, scale, zero) = (ctx.input(0)?, ctx.input(1)?, ctx.opt(2));
    ctx.ensure(ctx.dtype(x) == DType::F32, || "only floats can be quantised".to_owned())?;
    let axis = quantisation_axis(ctx, x)?;
    let wanted = ctx.attrs.int("output_dtype").filter(|&t| t != 0);
    let (low, high) = match wanted {
        Some(element) => range(ctx, i32::try_from(element).unwrap_or(0))?,
        None => range_of(ctx, zero)?,
    };
    let target = Target { scale, zero, low, high };
    if let Some(y) = fused(ctx, x, &target)? {
        return Ok(vec![y]);
    }
    let block = block_size(ctx, x, axis)?;
    if !single(ctx, scale) {
        return Ok(vec![blocks::quantize(ctx, x, &target, axis, block)?]);
    }
    Ok(vec![one(ctx, Op::QuantizeLinear { axis, low, high }, &[Some(x), Some(scale), zero])?])
}

fn dequantize(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, scale, zero) = (ctx.input(0)?, ctx.input(1)?, ctx.opt(2));
    let axis = quantisation_axis(ctx, x)?;
    if let Some(block) = block_size(ctx, x, axis)? {
        return Ok(vec![blocks::dequantize(ctx, x, scale, zero, axis, block)?]);
    }
    if ctx.dtype(x) == DType::F32 {
        // Floats of 8 bits have no zero point but 0.
        return Ok(vec![blocks::dequantize(ctx, x, scale, zero, axis, 1)?]);
    }
    let differ = |t: &zktorch_float::Tensor| t.as_i64().is_ok_and(|v| v.iter().any(|z| *z != v[0]));
    if ctx.builder.graph.constant(x).is_none() && zero.and_then(|z| ctx.builder.graph.constant(z)).is_some_and(|t| differ(t)) {
        let centred = centred(ctx, x, zero, axis)?;
        return Ok(vec![one(ctx, Op::DequantizeLinear { axis }, &[Some(centred), Some(scale)])?]);
    }
    let known = |id: ValueId| ctx.builder.graph.constant(id).is_some();
    if !known(scale) || zero.is_some_and(|z| !known(z)) {
        return Ok(vec![computed(ctx, x, scale, zero, axis)?]);
    }
    let y = one(ctx, Op::DequantizeLinear { axis }, &[Some(x), Some(scale), zero])?;
    ctx.builder.dequantised.insert(y, Quantised { integers: x, scale, zero, axis });
    Ok(vec![y])
}

/// Scale and zero point from the input's extrema, which include zero.
fn dynamic(ctx: &mut Ctx<'_>) -> Lowered {
    let outputs = ctx.emit_same(Op::DynamicQuantizeLinear)?;
    for &integers in [0, 2].iter().filter_map(|&i| outputs.get(i)) {
        ctx.builder.elements.insert(integers, ElementType::Uint8 as i32);
    }
    Ok(outputs)
}

/// `(x - zero)·scale` with parameters of which one is computed, written out.
fn computed(ctx: &mut Ctx<'_>, x: ValueId, scale: ValueId, zero: Option<ValueId>, axis: usize) -> Result<ValueId, ImportError> {
    let x = centred(ctx, x, zero, axis)?;
    let x = ctx.emit(Op::Cast { to: DType::F32 }, &[x])?;
    let count: usize = ctx.shape(scale).iter().product();
    let mut wide = vec![1; ctx.shape(x).len()];
    if count != 1 {
        ctx.ensure(wide.get(axis).is_some(), || format!("scales for axis {axis}"))?;
        wide[axis] = count;
    }
    let scale = ctx.reshape(scale, wide)?;
    ctx.binary(BinaryFn::Mul, x, scale)
}

/// What a result is quantised to.
struct Target {
    scale: ValueId,
    zero: Option<ValueId>,
    low: i64,
    high: i64,
}

/// `x - zero`, along `axis` of `x` if there is one zero point per index.
fn centred(ctx: &mut Ctx<'_>, x: ValueId, zero: Option<ValueId>, axis: usize) -> Result<ValueId, ImportError> {
    let Some(zero) = zero else { return Ok(x) };
    if ctx.builder.graph.constant(zero).is_some_and(|t| t.as_i64().is_ok_and(|v| v.iter().all(|&z| z == 0))) {
        return Ok(x);
    }
    let count: usize = ctx.shape(zero).iter().product();
    let mut wide = vec![1; ctx.shape(x).len()];
    if count != 1 {
        ctx.ensure(wide.get(axis).is_some(), || format!("zero points for axis {axis}"))?;
        wide[axis] = count;
    }
    let zero = ctx.reshape(zero, wide)?;
    ctx.binary(BinaryFn::Sub, x, zero)
}

/// `(a·b) / y` of constant scales, in this order and in `f32`; `b` may be a vector.
fn factor(ctx: &mut Ctx<'_>, a: ValueId, b: ValueId, y: ValueId) -> Result<ValueId, ImportError> {
    let numerator = ctx.binary(BinaryFn::Mul, a, b)?;
    let f = ctx.binary(BinaryFn::Div, numerator, y)?;
    let count: usize = ctx.shape(f).iter().product();
    ctx.reshape(f, if count == 1 { Vec::new() } else { vec![count] })
}

fn requantize(ctx: &mut Ctx<'_>, acc: ValueId, factor: ValueId, axis: usize, to: &Target) -> Result<ValueId, ImportError> {
    let zero = match to.zero {
        Some(z) => Some(ctx.reshape(z, Vec::new())?),
        None => None,
    };
    one(ctx, Op::Requantize { axis, low: to.low, high: to.high }, &[Some(acc), Some(factor), zero])
}

/// The node behind a value.
fn producer(ctx: &Ctx<'_>, id: ValueId) -> Option<Node> {
    ctx.builder.graph.nodes.iter().rev().find(|n| n.outputs.contains(&id)).cloned()
}

fn single(ctx: &Ctx<'_>, id: ValueId) -> bool {
    ctx.shape(id).iter().product::<usize>() == 1
}

/// The constant behind a value as floats.
fn numbers(ctx: &Ctx<'_>, id: Option<ValueId>) -> Option<Vec<f32>> {
    match id {
        None => Some(vec![0.0]),
        Some(id) => ctx.builder.graph.constant(id).map(|t| t.to_f32_vec()),
    }
}

/// Whether quantised integers have the parameters of the target.
fn same(ctx: &Ctx<'_>, q: &Quantised, to: &Target) -> bool {
    let equal = |a: Option<ValueId>, b: Option<ValueId>| a == b || numbers(ctx, a).is_some_and(|a| Some(a) == numbers(ctx, b));
    single(ctx, q.scale) && equal(Some(q.scale), Some(to.scale)) && equal(q.zero, to.zero)
}

/// The integer form of what is behind `x`, quantised to `to`; `None` if it is no known form.
fn fused(ctx: &mut Ctx<'_>, x: ValueId, to: &Target) -> Result<Option<ValueId>, ImportError> {
    let mut to = Target { ..*to };
    let Some(zero) = numbers(ctx, to.zero).filter(|z| z.len() == 1).map(|z| z[0] as i64) else { return Ok(None) };
    if !single(ctx, to.scale) || ctx.builder.graph.constant(to.scale).is_none() {
        return Ok(None);
    }
    let mut value = x;
    let mut node = producer(ctx, value);
    if let Some(Node { op: Op::Unary(UnaryFn::Relu), inputs, .. }) = &node {
        // Rounding keeps the order: a rectifier is a bound on the result.
        let Some(&Some(inner)) = inputs.first() else { return Ok(None) };
        to.low = to.low.max(zero);
        value = inner;
        node = producer(ctx, value);
    }
    if let Some(q) = ctx.builder.dequantised.get(&value).copied() {
        if !same(ctx, &q, &to) {
            return Ok(None);
        }
        return Ok(Some(bounded(ctx, q.integers, &to)?));
    }
    let Some(node) = node else { return Ok(None) };
    let operand = |i: usize| node.inputs.get(i).copied().flatten();
    let quantised = |ctx: &Ctx<'_>, i: usize| operand(i).and_then(|id| ctx.builder.dequantised.get(&id).copied());
    let Some(a) = quantised(ctx, 0) else { return Ok(None) };
    if !single(ctx, a.scale) || numbers(ctx, Some(a.scale)).is_none() {
        return Ok(None);
    }
    match node.op {
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::MaxPool { .. } | Op::Expand { .. } | Op::Tile { .. }
            if same(ctx, &a, &to) =>
        {
            let moved = ctx.emit(node.op, &[a.integers])?;
            Ok(Some(bounded(ctx, moved, &to)?))
        }
        Op::Conv { .. } | Op::MatMul | Op::Gemm { .. } => {
            let Some(b) = quantised(ctx, 1) else { return Ok(None) };
            let columns = ctx.shape(b.integers).len().saturating_sub(1);
            // The axis of the weight that counts output channels, and that of the result.
            let (channel, axis, trans_b) = match node.op {
                Op::Conv { .. } => (0, 1, false),
                Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b } => (usize::from(!trans_b), 1, trans_b),
                Op::MatMul => (columns, ctx.shape(value).len().saturating_sub(1), false),
                _ => return Ok(None),
            };
            if numbers(ctx, Some(b.scale)).is_none() || (!single(ctx, b.scale) && b.axis != channel) {
                return Ok(None);
            }
            let bias = match operand(2) {
                None => None,
                Some(id) => match integer_bias(ctx, id, &a, &b) {
                    None => return Ok(None),
                    bias => bias,
                },
            };
            let x = centred(ctx, a.integers, a.zero, a.axis)?;
            let mut w = centred(ctx, b.integers, b.zero, b.axis)?;
            if trans_b {
                w = ctx.emit(Op::Transpose { perm: vec![1, 0] }, &[w])?;
            }
            let acc = if let Op::Conv { .. } = node.op {
                one(ctx, node.op.clone(), &[Some(x), Some(w), bias])?
            } else {
                let acc = ctx.emit(Op::MatMul, &[x, w])?;
                match bias {
                    Some(bias) => ctx.binary(BinaryFn::Add, acc, bias)?,
                    None => acc,
                }
            };
            let f = factor(ctx, a.scale, b.scale, to.scale)?;
            Ok(Some(requantize(ctx, acc, f, axis, &to)?))
        }
        _ => Ok(None),
    }
}

/// Integers within the target's range, which a rectifier may have narrowed.
fn bounded(ctx: &mut Ctx<'_>, x: ValueId, to: &Target) -> Result<ValueId, ImportError> {
    let full = [(0, 3), (-2, 1), (0, 15), (-8, 7), (0, 255), (-128, 127), (0, 65535), (-32768, 32767)].contains(&(to.low, to.high));
    if full { Ok(x) } else { ctx.unary(UnaryFn::Clip { min: to.low as f32, max: to.high as f32 }, x) }
}

/// The integers of a dequantised bias, if its scale is the product of the operands' scales, as ONNX Runtime demands.
fn integer_bias(ctx: &Ctx<'_>, id: ValueId, a: &Quantised, b: &Quantised) -> Option<ValueId> {
    let bias = ctx.builder.dequantised.get(&id)?;
    let zero = numbers(ctx, bias.zero)?.iter().all(|&z| z == 0.0);
    let a = *numbers(ctx, Some(a.scale))?.first()?;
    let (b, have) = (numbers(ctx, Some(b.scale))?, numbers(ctx, Some(bias.scale))?);
    let count = b.len().max(have.len());
    let near = (0..count).all(|i| {
        let want = a * b[i % b.len()];
        (have[i % have.len()] - want).abs() <= 1e-6 * want.abs()
    });
    (zero && near).then_some(bias.integers)
}

fn qlinear_conv(ctx: &mut Ctx<'_>) -> Lowered {
    let to = Target { scale: ctx.input(6)?, zero: ctx.opt(7), low: 0, high: 0 };
    let (low, high) = range_of(ctx, to.zero)?;
    let (x, w) = (ctx.input(0)?, ctx.input(3)?);
    let op = super::linear::conv_op(ctx, w)?;
    let x = centred(ctx, x, ctx.opt(2), 0)?;
    let w = centred(ctx, w, ctx.opt(5), 0)?;
    let acc = one(ctx, op, &[Some(x), Some(w), ctx.opt(8)])?;
    let f = (ctx.input(1)?, ctx.input(4)?);
    let f = factor(ctx, f.0, f.1, to.scale)?;
    Ok(vec![requantize(ctx, acc, f, 1, &Target { low, high, ..to })?])
}

fn qlinear_matmul(ctx: &mut Ctx<'_>) -> Lowered {
    let to = Target { scale: ctx.input(6)?, zero: ctx.opt(7), low: 0, high: 0 };
    let (low, high) = range_of(ctx, to.zero)?;
    let acc = integer_product(ctx, (0, 2), (3, 5))?;
    let f = (ctx.input(1)?, ctx.input(4)?);
    ctx.ensure(single(ctx, f.0), || "one scale per row is not supported".to_owned())?;
    let f = factor(ctx, f.0, f.1, to.scale)?;
    let axis = ctx.shape(acc).len().saturating_sub(1);
    Ok(vec![requantize(ctx, acc, f, axis, &Target { low, high, ..to })?])
}

/// The product of operands `a.0` and `b.0` less their zero points `a.1` and `b.1`.
fn integer_product(ctx: &mut Ctx<'_>, a: (usize, usize), b: (usize, usize)) -> Result<ValueId, ImportError> {
    let (x, y) = (ctx.input(a.0)?, ctx.input(b.0)?);
    let (rows, columns) = (ctx.shape(x).len().saturating_sub(2), ctx.shape(y).len().saturating_sub(1));
    let x = centred(ctx, x, ctx.opt(a.1), rows)?;
    let y = centred(ctx, y, ctx.opt(b.1), columns)?;
    ctx.emit(Op::MatMul, &[x, y])
}

/// `A'·B' + C` of quantised matrices, an operator of ONNX Runtime's own; without a result scale the result is a float.
fn qgemm(ctx: &mut Ctx<'_>) -> Lowered {
    let (a, b) = (ctx.input(0)?, ctx.input(3)?);
    ctx.ensure(ctx.attrs.float("alpha").unwrap_or(1.0) == 1.0, || "a factor alpha is not supported".to_owned())?;
    let mut x = centred(ctx, a, ctx.opt(2), 0)?;
    let columns = usize::from(!ctx.attrs.flag("transB"));
    let mut y = centred(ctx, b, ctx.opt(5), columns)?;
    for (matrix, flag) in [(&mut x, "transA"), (&mut y, "transB")] {
        if ctx.attrs.flag(flag) {
            *matrix = ctx.emit(Op::Transpose { perm: vec![1, 0] }, &[*matrix])?;
        }
    }
    let mut acc = ctx.emit(Op::MatMul, &[x, y])?;
    if let Some(c) = ctx.opt(6) {
        acc = ctx.binary(BinaryFn::Add, acc, c)?;
    }
    let (sa, sb) = (ctx.input(1)?, ctx.input(4)?);
    ctx.ensure(single(ctx, sa), || "one scale per row is not supported".to_owned())?;
    let Some(scale) = ctx.opt(7) else {
        let scale = ctx.binary(BinaryFn::Mul, sa, sb)?;
        if ctx.builder.graph.constant(scale).is_none() {
            return Ok(vec![computed(ctx, acc, scale, None, 1)?]);
        }
        return Ok(vec![one(ctx, Op::DequantizeLinear { axis: 1 }, &[Some(acc), Some(scale)])?]);
    };
    let zero = ctx.opt(8);
    let (low, high) = range_of(ctx, zero)?;
    let f = factor(ctx, sa, sb, scale)?;
    Ok(vec![requantize(ctx, acc, f, 1, &Target { scale, zero, low, high })?])
}

fn matmul_integer(ctx: &mut Ctx<'_>) -> Lowered {
    Ok(vec![integer_product(ctx, (0, 2), (1, 3))?])
}

fn conv_integer(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let op = super::linear::conv_op(ctx, w)?;
    let x = centred(ctx, x, ctx.opt(2), 0)?;
    let w = centred(ctx, w, ctx.opt(3), 0)?;
    Ok(vec![ctx.emit(op, &[x, w])?])
}
