//! Parameters that several elements share, but not all: per index of an axis, or per block along it.

use super::{Target, given};
use crate::ImportError;
use crate::lower::Ctx;
use zktorch_float::{BinaryFn, DType, Data, Op, Tensor, UnaryFn, ValueId};

/// Most different parameters of a quantised input.
const MOST_BOXES: usize = 256;

/// A parameter with one entry per element of `shape`: given per tensor, per index of `axis` or per block of `block` elements along it.
fn spread(ctx: &mut Ctx<'_>, parameter: ValueId, shape: &[usize], axis: usize, block: usize) -> Result<ValueId, ImportError> {
    let own = ctx.shape(parameter);
    if own.iter().product::<usize>() == 1 {
        return ctx.reshape(parameter, Vec::new());
    }
    if own.len() != shape.len() {
        let mut wide = vec![1; shape.len()];
        let fits = own.len() == 1 && shape.get(axis) == Some(&own[0]);
        ctx.ensure(fits, || format!("parameters of shape {own:?} for axis {axis} of {shape:?}"))?;
        wide[axis] = own[0];
        return ctx.reshape(parameter, wide);
    }
    let fits = (0..shape.len()).all(|d| own[d] == if d == axis { shape[d].div_ceil(block) } else { shape[d] });
    ctx.ensure(fits, || format!("parameters of shape {own:?} for blocks of {block} along axis {axis} of {shape:?}"))?;
    let mut split = own.clone();
    split.insert(axis + 1, 1);
    let column = ctx.reshape(parameter, split.clone())?;
    split[axis + 1] = block;
    let wide = ctx.emit(Op::Expand { shape: split }, &[column])?;
    let mut joined = own;
    joined[axis] *= block;
    let wide = ctx.reshape(wide, joined.clone())?;
    if joined == shape {
        return Ok(wide);
    }
    ctx.emit(Op::Slice { starts: vec![0; shape.len()], sizes: shape.to_vec(), steps: vec![1; shape.len()] }, &[wide])
}

/// `(x - zero)·scale`, element by element: integers, or floats of 8 bits.
pub(super) fn dequantize(
    ctx: &mut Ctx<'_>,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    axis: usize,
    block: usize,
) -> Result<ValueId, ImportError> {
    let shape = ctx.shape(x);
    let scale = spread(ctx, scale, &shape, axis, block)?;
    let mut y = x;
    if let Some(zero) = zero {
        let zero = spread(ctx, zero, &shape, axis, block)?;
        y = ctx.binary(BinaryFn::Sub, y, zero)?;
    }
    if ctx.dtype(y) != DType::F32 {
        y = ctx.emit(Op::Cast { to: DType::F32 }, &[y])?;
    }
    ctx.binary(BinaryFn::Mul, y, scale)
}

/// `saturate(round(x / scale) + zero)` with several scales: of a constant element by element, of an input box by box.
pub(super) fn quantize(ctx: &mut Ctx<'_>, x: ValueId, to: &Target, axis: usize, block: Option<usize>) -> Result<ValueId, ImportError> {
    let shape = ctx.shape(x);
    let scale = spread(ctx, to.scale, &shape, axis, block.unwrap_or(1))?;
    let zero = match to.zero {
        Some(zero) => Some(spread(ctx, zero, &shape, axis, block.unwrap_or(1))?),
        None => None,
    };
    if ctx.builder.graph.constant(x).is_some() {
        let quotient = ctx.binary(BinaryFn::Div, x, scale)?;
        let rounded = ctx.unary(UnaryFn::Round, quotient)?;
        let mut y = ctx.emit(Op::Cast { to: DType::I64 }, &[rounded])?;
        if let Some(zero) = zero {
            y = ctx.binary(BinaryFn::Add, y, zero)?;
        }
        return ctx.unary(UnaryFn::Clip { min: to.low as f32, max: to.high as f32 }, y);
    }
    let number = |ctx: &Ctx<'_>, id: ValueId| -> Result<(Vec<usize>, Vec<f64>), ImportError> {
        match ctx.builder.graph.constant(id) {
            Some(t) => Ok((t.shape.clone(), t.to_f32_vec().into_iter().map(f64::from).collect())),
            None => Err(ctx.error("a scale or zero point that depends on the input")),
        }
    };
    let (wide, scales) = number(ctx, scale)?;
    let zeros = match zero {
        Some(zero) => number(ctx, zero)?.1,
        None => vec![0.0],
    };
    // Indices of the parameters' axes that vary choose a box.
    let boxes: Vec<(usize, usize, usize)> = (0..shape.len())
        .map(|d| match (d == axis, wide.get(d).copied().unwrap_or(1)) {
            (true, n) if n > 1 => (n.div_ceil(block.unwrap_or(1)), block.unwrap_or(1), n),
            (_, n) if n > 1 => (n, 1, n),
            _ => (1, shape[d], shape[d]),
        })
        .collect();
    let count: usize = boxes.iter().map(|b| b.0).product();
    ctx.ensure(count <= MOST_BOXES, || format!("{count} different scales of an input; at most {MOST_BOXES} are supported"))?;
    let pitch = |sizes: &[usize], at: &[usize]| at.iter().zip(sizes).fold(0, |p, (&i, &n)| p * n + if n == 1 { 0 } else { i });
    let (mut parts, mut order) = (Vec::with_capacity(count), Vec::new());
    for i in 0..count {
        let mut rest = i;
        let mut starts = vec![0; shape.len()];
        let mut sizes = shape.clone();
        for d in (0..shape.len()).rev() {
            let (n, size, whole) = boxes[d];
            starts[d] = rest % n * size;
            sizes[d] = size.min(whole - starts[d]);
            rest /= n;
        }
        let at = pitch(&wide, &starts);
        let scale = ctx.literal(Tensor::scalar(scales[at] as f32));
        let zero = ctx.tensor(Vec::new(), Data::I64(vec![zeros[if zeros.len() == 1 { 0 } else { at }] as i64]))?;
        let zero = ctx.literal(zero);
        let part = ctx.emit(Op::Slice { starts: starts.clone(), sizes: sizes.clone(), steps: vec![1; shape.len()] }, &[x])?;
        let inputs = given(&[Some(part), Some(scale), Some(zero)]);
        let part = ctx.emit_many(Op::QuantizeLinear { axis: 0, low: to.low, high: to.high }, &inputs)?[0];
        let volume: usize = sizes.iter().product();
        parts.push(ctx.reshape(part, vec![volume])?);
        order.extend((0..volume).map(|e| {
            let mut rest = e;
            let mut at = starts.clone();
            for d in (0..shape.len()).rev() {
                at[d] += rest % sizes[d];
                rest /= sizes[d];
            }
            at.iter().zip(&shape).fold(0, |p, (&i, &n)| p * n + i)
        }));
    }
    let mut back = vec![0; order.len()];
    for (i, &position) in order.iter().enumerate() {
        back[position] = i as i64;
    }
    let all = ctx.emit(Op::Concat { axis: 0 }, &parts)?;
    let back = ctx.tensor(shape, Data::I64(back))?;
    let back = ctx.literal(back);
    ctx.emit(Op::Gather { axis: 0 }, &[all, back])
}
