//! Operators that move data or compute with shapes.

use super::{Ctx, Lowered};
use crate::ImportError;
use crate::tensor::{dtype, read};
use zktorch_float::{BinaryFn, DType, Data, Op, PadMode, Tensor};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "Constant" => constant(ctx),
        "ConstantOfShape" => constant_of_shape(ctx),
        "Shape" => shape(ctx),
        "Size" => size(ctx),
        "Range" => range(ctx),
        "EyeLike" => eye_like(ctx),
        "NonZero" => non_zero(ctx),
        "Reshape" => reshape(ctx),
        "Flatten" => flatten(ctx),
        "Squeeze" => squeeze(ctx),
        "Unsqueeze" => unsqueeze(ctx),
        "Transpose" => transpose(ctx),
        "Slice" => slice(ctx),
        "Split" => split(ctx),
        "Concat" => concat(ctx),
        "Expand" => expand(ctx),
        "Tile" => tile(ctx),
        "Pad" => pad(ctx),
        "Trilu" => trilu(ctx),
        "DepthToSpace" => depth_to_space(ctx),
        "SpaceToDepth" => space_to_depth(ctx),
        _ => return None,
    })
}

fn constant(ctx: &mut Ctx<'_>) -> Lowered {
    let a = ctx.attrs;
    let tensor = if let Some(t) = a.tensor("value") {
        read(t, ctx.files)?
    } else if let Some(v) = a.float("value_float") {
        Tensor::scalar(v)
    } else if let Some(v) = a.int("value_int") {
        ctx.tensor(Vec::new(), Data::I64(vec![v]))?
    } else if let Some(v) = a.floats("value_floats") {
        ctx.tensor(vec![v.len()], Data::F32(v.to_vec().into()))?
    } else if let Some(v) = a.ints("value_ints") {
        Tensor::ints(v.to_vec())
    } else {
        return Err(ctx.error("a constant without a value"));
    };
    let id = ctx.literal(tensor);
    if let Some(element) = a.tensor("value").and_then(|t| t.data_type) {
        ctx.builder.elements.insert(id, element);
    }
    Ok(vec![id])
}

fn constant_of_shape(ctx: &mut Ctx<'_>) -> Lowered {
    let shape = ctx.const_ints(0)?.unwrap_or_default();
    let shape = ctx.sizes(&shape, "shape")?;
    let value = match ctx.attrs.tensor("value") {
        Some(t) => read(t, ctx.files)?,
        None => Tensor::scalar(0.0),
    };
    ctx.ensure(value.len() == 1, || format!("the value has shape {:?}, expected one element", value.shape))?;
    let value = value.reshaped(Vec::new()).map_err(|e| ctx.error(e.to_string()))?;
    let value = ctx.literal(value);
    Ok(vec![ctx.emit(Op::Expand { shape }, &[value])?])
}

fn shape(ctx: &mut Ctx<'_>) -> Lowered {
    let shape = ctx.shape(ctx.input(0)?);
    let rank = shape.len() as i64;
    let bound = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let start = bound(ctx.attrs.int("start").unwrap_or(0));
    let end = bound(ctx.attrs.int("end").unwrap_or(rank)).max(start);
    Ok(vec![ctx.literal(Tensor::ints(shape[start..end].iter().map(|&d| d as i64).collect()))])
}

fn size(ctx: &mut Ctx<'_>) -> Lowered {
    let count: usize = ctx.shape(ctx.input(0)?).iter().product();
    let tensor = ctx.tensor(Vec::new(), Data::I64(vec![count as i64]))?;
    Ok(vec![ctx.literal(tensor)])
}

/// Longest range or index list that is written out.
const MAX_RANGE: usize = 1 << 28;

fn range(ctx: &mut Ctx<'_>) -> Lowered {
    let mut bounds = Vec::with_capacity(3);
    for i in 0..3 {
        bounds.push(ctx.constant(i)?.cloned().ok_or_else(|| ctx.error("a bound is missing"))?);
    }
    ctx.ensure(bounds.iter().all(|t| t.len() == 1), || "the bounds should be scalars".to_owned())?;
    let from_weights = ctx.all()?.iter().any(|&id| ctx.builder.graph.value(id).from_weights);
    let tensor = match (&bounds[0].data, &bounds[1].data, &bounds[2].data) {
        (Data::I64(start), Data::I64(limit), Data::I64(delta)) => {
            let (start, limit, delta) = (i128::from(start[0]), i128::from(limit[0]), i128::from(delta[0]));
            ctx.ensure(delta != 0, || "the step is 0".to_owned())?;
            let span = limit - start;
            let count = if (span > 0) == (delta > 0) { (span.abs() + delta.abs() - 1) / delta.abs() } else { 0 };
            ctx.ensure(count <= MAX_RANGE as i128, || format!("a range of {count} numbers is too long"))?;
            Tensor::ints((0..count).map(|i| (start + i * delta) as i64).collect())
        }
        (Data::F32(start), Data::F32(limit), Data::F32(delta)) => {
            let count = (f64::from(limit[0] - start[0]) / f64::from(delta[0])).ceil().max(0.0);
            ctx.ensure(count <= MAX_RANGE as f64, || format!("a range of {count} numbers is too long"))?;
            let values: Vec<f32> = (0..count as usize).map(|i| start[0] + i as f32 * delta[0]).collect();
            ctx.tensor(vec![values.len()], Data::F32(values.into()))?
        }
        _ => return Err(ctx.error("the bounds should all be integers or all be floats")),
    };
    let id = ctx.literal(tensor);
    ctx.builder.graph.values[id.0].from_weights = from_weights;
    Ok(vec![id])
}

fn eye_like(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    ctx.ensure(shape.len() == 2, || format!("shape {shape:?} is no matrix"))?;
    let k = ctx.attrs.int("k").unwrap_or(0);
    let to = match ctx.attrs.int("dtype") {
        None => ctx.dtype(x),
        Some(code) => dtype(i32::try_from(code).unwrap_or(0)).map_err(|e| ctx.error(e))?,
    };
    let (rows, cols) = (shape[0], shape[1]);
    let on = |i: usize| (i % cols) as i64 - (i / cols) as i64 == k;
    let ones: Vec<bool> = (0..rows * cols).map(on).collect();
    let data = match to {
        DType::Bool => Data::Bool(ones),
        DType::I64 => Data::I64(ones.into_iter().map(i64::from).collect()),
        DType::F32 => Data::F32(ones.into_iter().map(|b| f32::from(u8::from(b))).collect()),
    };
    let tensor = ctx.tensor(shape, data)?;
    Ok(vec![ctx.literal(tensor)])
}

/// Positions of the non-zero elements; their number is only fixed for constants.
fn non_zero(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.constant(0)?.cloned().ok_or_else(|| ctx.error("no operand"))?;
    let positions: Vec<usize> = x.to_f32_vec().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
    let mut out = Vec::with_capacity(positions.len() * x.rank());
    for axis in 0..x.rank() {
        let inner: usize = x.shape[axis + 1..].iter().product();
        out.extend(positions.iter().map(|p| (p / inner % x.shape[axis]) as i64));
    }
    let tensor = ctx.tensor(vec![x.rank(), positions.len()], Data::I64(out))?;
    let from_weights = ctx.builder.graph.value(ctx.input(0)?).from_weights;
    let id = ctx.literal(tensor);
    ctx.builder.graph.values[id.0].from_weights = from_weights;
    Ok(vec![id])
}

fn reshape(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let from = ctx.shape(x);
    let wanted = ctx.const_ints(1)?.unwrap_or_default();
    let allow_zero = ctx.attrs.flag("allowzero");
    let total: usize = from.iter().product();
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (i, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            0 if !allow_zero => {
                *from.get(i).ok_or_else(|| ctx.error(format!("target {wanted:?} copies axis {i}, which shape {from:?} does not have")))?
            }
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            _ => usize::try_from(size).map_err(|_| ctx.error(format!("target shape {wanted:?} is not valid")))?,
        });
    }
    if let Some(axis) = open {
        let known = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).unwrap_or(0);
        ctx.ensure(known > 0 && total.is_multiple_of(known), || format!("shape {from:?} cannot become {wanted:?}"))?;
        shape[axis] = total / known;
    }
    Ok(vec![ctx.reshape(x, shape)?])
}

fn flatten(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axis = ctx.attrs.int("axis").unwrap_or(1);
    // The axis may be one past the last one.
    let axis = if axis == shape.len() as i64 { shape.len() } else { ctx.axis(axis, shape.len())? };
    let flat = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    Ok(vec![ctx.reshape(x, flat)?])
}

/// Axes given as an attribute, or as operand 1 since version 13.
fn listed_axes(ctx: &Ctx<'_>) -> Result<Option<Vec<i64>>, ImportError> {
    if ctx.opset >= 13 { ctx.const_ints(1) } else { Ok(ctx.attrs.ints("axes").map(<[i64]>::to_vec)) }
}

fn squeeze(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axes = match listed_axes(ctx)? {
        Some(axes) => ctx.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&a| shape[a] == 1).collect(),
    };
    ctx.ensure(axes.iter().all(|&a| shape[a] == 1), || format!("axes {axes:?} of {shape:?} are not all 1"))?;
    let target = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).collect();
    Ok(vec![ctx.reshape(x, target)?])
}

fn unsqueeze(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let mut shape = ctx.shape(x);
    let axes = listed_axes(ctx)?.ok_or_else(|| ctx.error("axes are missing"))?;
    for axis in ctx.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, 1);
    }
    Ok(vec![ctx.reshape(x, shape)?])
}

fn transpose(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let rank = ctx.shape(x).len();
    let perm = match ctx.attrs.ints("perm") {
        Some(perm) => perm.iter().map(|&p| ctx.axis(p, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    if perm.iter().copied().eq(0..rank) {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Transpose { perm }, &[x])?])
}

fn slice(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let rank = shape.len();
    let own = |name: &str| ctx.attrs.ints(name).map(<[i64]>::to_vec);
    let (begins, ends, axes, steps) = if ctx.opset < 10 {
        (own("starts"), own("ends"), own("axes"), None)
    } else {
        (ctx.const_ints(1)?, ctx.const_ints(2)?, ctx.const_ints(3)?, ctx.const_ints(4)?)
    };
    let begins = begins.ok_or_else(|| ctx.error("starts are missing"))?;
    let ends = ends.ok_or_else(|| ctx.error("ends are missing"))?;
    let axes = axes.unwrap_or_else(|| (0..begins.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; begins.len()]);
    ctx.ensure([ends.len(), axes.len(), steps.len()].iter().all(|&l| l == begins.len()), || {
        "starts, ends, axes and steps differ in length".to_owned()
    })?;
    ctx.axes(&axes, rank)?;
    let (mut from, mut sizes, mut by) = (vec![0usize; rank], shape.clone(), vec![1i64; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let axis = ctx.axis(axis, rank)?;
        let (n, step) = (shape[axis] as i64, steps[i]);
        ctx.ensure(step != 0 && step != i64::MIN, || "a step is 0".to_owned())?;
        let wrap = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (start, end) = if step > 0 {
            (wrap(begins[i]).clamp(0, n), wrap(ends[i]).clamp(0, n))
        } else {
            (wrap(begins[i]).clamp(0, (n - 1).max(0)), wrap(ends[i]).clamp(-1, (n - 1).max(-1)))
        };
        let span = if step > 0 { end - start } else { start - end };
        let count = if n == 0 || span <= 0 { 0 } else { (span - 1) / step.abs() + 1 };
        from[axis] = if count == 0 { 0 } else { start as usize };
        sizes[axis] = count as usize;
        by[axis] = step;
    }
    if sizes == shape && by.iter().all(|&s| s == 1) {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Slice { starts: from, sizes, steps: by }, &[x])?])
}

fn split(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.shape(x);
    let axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(0), shape.len())?;
    let given = if ctx.opset >= 13 { ctx.const_ints(1)? } else { ctx.attrs.ints("split").map(<[i64]>::to_vec) };
    let sizes = match given {
        Some(sizes) => ctx.sizes(&sizes, "split")?,
        None => {
            let parts = ctx.attrs.int("num_outputs").unwrap_or(ctx.node.output.len() as i64);
            let parts = usize::try_from(parts).unwrap_or(0);
            ctx.ensure(parts > 0 && parts == ctx.node.output.len(), || format!("{parts} parts for {} outputs", ctx.node.output.len()))?;
            // All parts but the last are equal; the last one is what is left.
            let part = shape[axis].div_ceil(parts);
            (0..parts).map(|i| shape[axis].saturating_sub(i * part).min(part)).collect()
        }
    };
    ctx.ensure(sizes.len() == ctx.node.output.len(), || format!("{} parts for {} outputs", sizes.len(), ctx.node.output.len()))?;
    ctx.emit_many(Op::Split { axis, sizes }, &[Some(x)])
}

fn concat(ctx: &mut Ctx<'_>) -> Lowered {
    let inputs = ctx.all()?;
    let axis = ctx.attrs.required(ctx.attrs.int("axis"), "axis")?;
    let axis = ctx.axis(axis, ctx.shape(ctx.input(0)?).len())?;
    if let [single] = inputs.as_slice() {
        return Ok(vec![*single]);
    }
    Ok(vec![ctx.emit(Op::Concat { axis }, &inputs)?])
}

fn expand(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let own = ctx.shape(x);
    let wanted = ctx.const_ints(1)?.unwrap_or_default();
    let wanted = ctx.sizes(&wanted, "shape")?;
    let rank = own.len().max(wanted.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    // The two shapes are broadcast together, so the operand may also be the larger one.
    let shape: Vec<usize> = (0..rank).map(|i| if at(&wanted, i) == 1 { at(&own, i) } else { at(&wanted, i) }).collect();
    if shape == own {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Expand { shape }, &[x])?])
}

fn tile(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let repeats = ctx.const_ints(1)?.unwrap_or_default();
    let repeats = ctx.sizes(&repeats, "repeats")?;
    if repeats.iter().all(|&r| r == 1) && repeats.len() == ctx.shape(x).len() {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Tile { repeats }, &[x])?])
}

fn pad(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let rank = ctx.shape(x).len();
    let mode = match ctx.attrs.string("mode") {
        Some("reflect") => PadMode::Reflect,
        Some("edge") => PadMode::Edge,
        Some("wrap") => PadMode::Wrap,
        _ => PadMode::Constant,
    };
    let (amounts, value, axes) = if ctx.opset < 11 {
        (ctx.attrs.ints("pads").map(<[i64]>::to_vec), ctx.attrs.float("value"), None)
    } else {
        let value = ctx.const_floats(2)?.and_then(|v| v.first().copied());
        (ctx.const_ints(1)?, value, ctx.const_ints(3)?)
    };
    let amounts = amounts.ok_or_else(|| ctx.error("pads are missing"))?;
    let axes = match axes {
        None => (0..rank).collect(),
        Some(axes) => axes.iter().map(|&a| ctx.axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    ctx.ensure(amounts.len() == 2 * axes.len(), || format!("{} pads for {} axes", amounts.len(), axes.len()))?;
    // Negative amounts cut; that is a slice before the padding.
    let shape = ctx.shape(x);
    let (mut starts, mut sizes, mut pads) = (vec![0usize; rank], shape.clone(), vec![(0usize, 0usize); rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (amounts[i], amounts[i + axes.len()]);
        let cut = |v: i64| usize::try_from(v.saturating_neg()).unwrap_or(0);
        let grow = |v: i64| usize::try_from(v).unwrap_or(0);
        let lost = cut(before).saturating_add(cut(after));
        ctx.ensure(lost <= shape[axis], || format!("pads {amounts:?} cut more than shape {shape:?} has"))?;
        starts[axis] = cut(before).min(shape[axis].saturating_sub(1));
        sizes[axis] = shape[axis] - lost;
        pads[axis] = (grow(before), grow(after));
    }
    let mut y = x;
    if sizes != shape {
        y = ctx.emit(Op::Slice { starts, sizes, steps: vec![1; rank] }, &[y])?;
    }
    if pads.iter().any(|&p| p != (0, 0)) {
        y = ctx.emit(Op::Pad { mode, pads, value: value.unwrap_or(0.0) }, &[y])?;
    }
    Ok(vec![y])
}

fn trilu(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let k = ctx.const_int(1)?.unwrap_or(0);
    let upper = ctx.attrs.int("upper").unwrap_or(1) != 0;
    if ctx.dtype(x) == DType::I64 {
        let shape = ctx.shape(x);
        let ones = ctx.tensor(shape.clone(), Data::I64(vec![1; shape.iter().product()]))?;
        let ones = ctx.literal(ones);
        let kept = ctx.emit(Op::Trilu { upper, k }, &[ones])?;
        return Ok(vec![ctx.binary(BinaryFn::Mul, x, kept)?]);
    }
    Ok(vec![ctx.emit(Op::Trilu { upper, k }, &[x])?])
}

/// Operand shape `[N, C, H, W]` and the block size.
fn blocks(ctx: &Ctx<'_>) -> Result<([usize; 4], usize), ImportError> {
    let shape = ctx.shape(ctx.input(0)?);
    let block = usize::try_from(ctx.attrs.required(ctx.attrs.int("blocksize"), "blocksize")?).unwrap_or(0);
    let &[n, c, h, w] = shape.as_slice() else {
        return Err(ctx.error(format!("shape {shape:?} has not four axes")));
    };
    ctx.ensure((1..1 << 16).contains(&block), || format!("block size {block}"))?;
    Ok(([n, c, h, w], block))
}

fn depth_to_space(ctx: &mut Ctx<'_>) -> Lowered {
    let ([n, c, h, w], b) = blocks(ctx)?;
    ctx.ensure(c % (b * b) == 0, || format!("{c} channels for blocks of {b}"))?;
    let d = c / (b * b);
    let (split, perm) = if ctx.attrs.string("mode") == Some("CRD") {
        (vec![n, d, b, b, h, w], vec![0, 1, 4, 2, 5, 3])
    } else {
        (vec![n, b, b, d, h, w], vec![0, 3, 4, 1, 5, 2])
    };
    rearrange(ctx, split, perm, vec![n, d, h * b, w * b])
}

fn space_to_depth(ctx: &mut Ctx<'_>) -> Lowered {
    let ([n, c, h, w], b) = blocks(ctx)?;
    ctx.ensure(h % b == 0 && w % b == 0, || format!("{h}x{w} in blocks of {b}"))?;
    let split = vec![n, c, h / b, b, w / b, b];
    let perm = if ctx.attrs.string("mode") == Some("CRD") { vec![0, 1, 3, 5, 2, 4] } else { vec![0, 3, 5, 1, 2, 4] };
    rearrange(ctx, split, perm, vec![n, c * b * b, h / b, w / b])
}

fn rearrange(ctx: &mut Ctx<'_>, split: Vec<usize>, perm: Vec<usize>, merged: Vec<usize>) -> Lowered {
    let x = ctx.input(0)?;
    let y = ctx.reshape(x, split)?;
    let y = ctx.emit(Op::Transpose { perm }, &[y])?;
    Ok(vec![ctx.reshape(y, merged)?])
}
