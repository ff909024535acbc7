//! Attention, written out as products, scaling, mask and softmax.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, ClosedRow, DType, Data, Op, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    match ctx.kind() {
        "Attention" => Some(attention(ctx)),
        "RotaryEmbedding" => Some(rotary(ctx)),
        _ => None,
    }
}

/// Operand `id` as `[batch, heads, length, size]`; a tensor of three axes has the heads inside its last one.
pub(super) fn heads(ctx: &mut Ctx<'_>, id: ValueId, attribute: &str) -> Result<ValueId, ImportError> {
    match ctx.shape(id).as_slice() {
        [_, _, _, _] => Ok(id),
        &[batch, length, width] => {
            let count = ctx.attrs.required(ctx.attrs.int(attribute), attribute)?;
            let count = usize::try_from(count).unwrap_or(0);
            ctx.ensure(count > 0 && width % count == 0, || format!("{count} heads of a width of {width}"))?;
            let split = ctx.reshape(id, vec![batch, length, count, width / count])?;
            ctx.emit(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[split])
        }
        other => Err(ctx.error(format!("operand of shape {other:?}, expected three or four axes"))),
    }
}

/// Repeats each head of keys or values so that every query head has its own.
pub(super) fn share(ctx: &mut Ctx<'_>, id: ValueId, query_heads: usize) -> Result<ValueId, ImportError> {
    let &[batch, count, length, size] = ctx.shape(id).as_slice() else {
        return Err(ctx.error("keys and values should have four axes"));
    };
    if count == query_heads {
        return Ok(id);
    }
    ctx.ensure(query_heads.is_multiple_of(count), || format!("{query_heads} query heads share {count}"))?;
    let group = query_heads / count;
    let column = ctx.reshape(id, vec![batch, count, 1, length, size])?;
    let wide = ctx.emit(Op::Expand { shape: vec![batch, count, group, length, size] }, &[column])?;
    ctx.reshape(wide, vec![batch, query_heads, length, size])
}

/// A mask for `keys` keys: one for fewer leaves out those behind.
fn widened(ctx: &mut Ctx<'_>, mask: ValueId, keys: usize) -> Result<ValueId, ImportError> {
    let shape = ctx.shape(mask);
    let width = shape.last().copied().unwrap_or(1);
    ctx.ensure(width == 1 || width <= keys, || format!("a mask for {width} keys, but there are {keys}"))?;
    if width == 1 || width == keys {
        return Ok(mask);
    }
    let mut rest = shape.clone();
    let axis = rest.len() - 1;
    rest[axis] = keys - width;
    let count = rest.iter().product();
    let data =
        if ctx.dtype(mask) == DType::Bool { Data::Bool(vec![false; count]) } else { Data::F32(vec![f32::NEG_INFINITY; count].into()) };
    let rest = ctx.tensor(rest, data)?;
    let rest = ctx.literal(rest);
    ctx.emit(Op::Concat { axis }, &[mask, rest])
}

/// Which keys each query may see by position: causality, the window and the number of keys that are no padding. Queries come behind the
/// `past` keys, or at the end of the keys that are no padding.
fn structure(ctx: &mut Ctx<'_>, batch: usize, length: usize, keys: usize, past: usize) -> Result<Option<ValueId>, ImportError> {
    let causal = ctx.attrs.flag("is_causal");
    let side = |name: &str| ctx.attrs.int(name).filter(|&w| w >= 0);
    let (left, right) = (side("left_window_size"), side("right_window_size"));
    let valid = ctx.const_ints(6)?;
    if !causal && left.is_none() && right.is_none() && valid.is_none() {
        return Ok(None);
    }
    let batches = if valid.is_some() { batch } else { 1 };
    if let Some(valid) = &valid {
        ctx.ensure(valid.len() == batch && past == 0, || format!("{} lengths for a batch of {batch}", valid.len()))?;
    }
    let mut rows = Vec::with_capacity(batches * length * keys);
    for b in 0..batches {
        let known = valid.as_ref().map(|v| v[b]);
        let offset = known.map_or(past as i64, |n| n - length as i64);
        for (i, j) in (0..length as i64).flat_map(|i| (0..keys as i64).map(move |j| (i, j))) {
            let p = i + offset;
            let within = left.is_none_or(|w| p - j <= w) && right.is_none_or(|w| j - p <= w);
            rows.push((!causal || j <= p) && within && known.is_none_or(|n| j < n));
        }
    }
    let shape = if valid.is_some() { vec![batch, 1, length, keys] } else { vec![length, keys] };
    let tensor = ctx.tensor(shape, Data::Bool(rows))?;
    Ok(Some(ctx.literal(tensor)))
}

fn attention(ctx: &mut Ctx<'_>) -> Lowered {
    let flat = ctx.shape(ctx.input(0)?).len() == 3;
    let [q, k, v] = [(0, "q_num_heads"), (1, "kv_num_heads"), (2, "kv_num_heads")]
        .map(|(i, attribute)| ctx.input(i).and_then(|id| heads(ctx, id, attribute)));
    let (q, mut k, mut v) = (q?, k?, v?);
    let mut past = 0;
    if let (Some(past_k), Some(past_v)) = (ctx.opt(4), ctx.opt(5)) {
        past = ctx.shape(past_k).get(2).copied().unwrap_or(0);
        k = ctx.emit(Op::Concat { axis: 2 }, &[past_k, k])?;
        v = ctx.emit(Op::Concat { axis: 2 }, &[past_v, v])?;
    }
    let (present_k, present_v) = (k, v);
    let &[batch, count, length, size] = ctx.shape(q).as_slice() else {
        return Err(ctx.error("queries should have four axes"));
    };
    k = share(ctx, k, count)?;
    v = share(ctx, v, count)?;
    let keys = ctx.shape(k)[2];
    let turned = ctx.emit(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[k])?;
    let scores = ctx.emit(Op::MatMul, &[q, turned])?;
    let scale = ctx.attrs.float("scale").filter(|&s| s != 0.0).unwrap_or_else(|| 1.0 / (size as f32).sqrt());
    let mut scores = if scale == 1.0 {
        scores
    } else {
        let scale = ctx.float_literal(scale);
        ctx.binary(BinaryFn::Mul, scores, scale)?
    };
    let mut shown = vec![scores];
    let mask = ctx.opt(3);
    // Before the mask, in version 23 too: so do ONNX Runtime 1.31 and the node tests of ONNX 1.23, after version 23 was understood both ways.
    if let Some(cap) = ctx.attrs.float("softcap").filter(|&c| c != 0.0) {
        let (cap, inverse) = (ctx.float_literal(cap), ctx.float_literal(1.0 / cap));
        scores = ctx.binary(BinaryFn::Mul, scores, inverse)?;
        scores = ctx.unary(UnaryFn::Tanh, scores)?;
        scores = ctx.binary(BinaryFn::Mul, scores, cap)?;
    }
    shown.push(scores);
    let mut keep = structure(ctx, batch, length, keys, past)?;
    if let Some(mask) = mask {
        let mask = widened(ctx, mask, keys)?;
        if ctx.dtype(mask) == DType::Bool {
            keep = Some(match keep {
                Some(structure) => ctx.binary(BinaryFn::And, mask, structure)?,
                None => mask,
            });
        } else {
            scores = ctx.binary(BinaryFn::Add, scores, mask)?;
        }
    }
    shown.push(scores);
    let weights = match keep {
        Some(mask) => ctx.emit(Op::MaskedSoftmax { axis: 3, closed: ClosedRow::Zero }, &[scores, mask])?,
        None => ctx.emit(Op::Softmax { axis: 3 }, &[scores])?,
    };
    shown.push(weights);
    let mode = usize::try_from(ctx.attrs.int("qk_matmul_output_mode").unwrap_or(0)).unwrap_or(0);
    let wanted = ctx.node.output.get(3).is_some_and(|o| !o.is_empty());
    ctx.ensure(!wanted || mode != 2 || keep.is_none(), || "scores behind a mask of truth values are infinite".to_owned())?;
    let mut y = ctx.emit(Op::MatMul, &[weights, v])?;
    if flat {
        let width = ctx.shape(y)[3];
        y = ctx.emit(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
        y = ctx.reshape(y, vec![batch, length, count * width])?;
    }
    Ok(vec![y, present_k, present_v, shown[mode.min(3)]])
}

/// Rotation of pairs of features by position-dependent angles.
fn rotary(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let original = ctx.shape(x);
    let interleaved = ctx.attrs.flag("interleaved");
    let x = heads(ctx, x, "num_heads")?;
    let &[batch, count, length, size] = ctx.shape(x).as_slice() else {
        return Err(ctx.error("the operand should have four axes"));
    };
    let dim = ctx.attrs.int("rotary_embedding_dim").filter(|&d| d != 0).unwrap_or(size as i64);
    let dim = usize::try_from(dim).unwrap_or(0);
    ctx.ensure(dim > 0 && dim % 2 == 0 && dim <= size, || format!("{dim} rotated features of {size}"))?;
    let half = dim / 2;
    // The caches have one row per position, or one per token if there are no position numbers.
    let mut tables = [ctx.input(1)?, ctx.input(2)?];
    for table in &mut tables {
        if let Some(positions) = ctx.opt(3) {
            *table = ctx.emit(Op::Gather { axis: 0 }, &[*table, positions])?;
        }
        let shape = ctx.shape(*table);
        ctx.ensure(shape.len() == 3 && shape[1] == length && shape[2] == half, || {
            format!("a cache of shape {shape:?} for {length} tokens and {half} angles")
        })?;
        *table = ctx.reshape(*table, vec![shape[0], 1, length, half])?;
    }
    let [cos, sin] = tables;
    let part = |ctx: &mut Ctx<'_>, from: usize, width: usize, step: i64| {
        let op = Op::Slice { starts: vec![0, 0, 0, from], sizes: vec![batch, count, length, width], steps: vec![1, 1, 1, step] };
        ctx.emit(op, &[x])
    };
    let (first, second) =
        if interleaved { (part(ctx, 0, half, 2)?, part(ctx, 1, half, 2)?) } else { (part(ctx, 0, half, 1)?, part(ctx, half, half, 1)?) };
    let product = |ctx: &mut Ctx<'_>, a, b| ctx.binary(BinaryFn::Mul, a, b);
    let (fc, ss) = (product(ctx, first, cos)?, product(ctx, second, sin)?);
    let (fs, sc) = (product(ctx, first, sin)?, product(ctx, second, cos)?);
    let real = ctx.binary(BinaryFn::Sub, fc, ss)?;
    let imaginary = ctx.binary(BinaryFn::Add, fs, sc)?;
    let mut y = if interleaved {
        let wide = vec![batch, count, length, half, 1];
        let (a, b) = (ctx.reshape(real, wide.clone())?, ctx.reshape(imaginary, wide)?);
        let pairs = ctx.emit(Op::Concat { axis: 4 }, &[a, b])?;
        ctx.reshape(pairs, vec![batch, count, length, dim])?
    } else {
        ctx.emit(Op::Concat { axis: 3 }, &[real, imaginary])?
    };
    if dim < size {
        let rest = part(ctx, dim, size - dim, 1)?;
        y = ctx.emit(Op::Concat { axis: 3 }, &[y, rest])?;
    }
    if original.len() == 3 {
        y = ctx.emit(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
        y = ctx.reshape(y, original)?;
    }
    Ok(vec![y])
}
