//! Layers that carry a state along a sequence: causal convolutions and linear attention, written out step by step.

use super::attention::{heads, share};
use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, Data, Op, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "CausalConvWithState" => causal_conv(ctx),
        "LinearAttention" => linear_attention(ctx),
        _ => return None,
    })
}

/// A convolution per channel behind what came before; the end of its operand is the next state.
fn causal_conv(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, weight) = (ctx.input(0)?, ctx.input(1)?);
    let (&[batch, channels, _], &[outputs, 1, kernel]) = (ctx.shape(x).as_slice(), ctx.shape(weight).as_slice()) else {
        return Err(ctx.error("the operand should have three axes and the weight one channel per group"));
    };
    ctx.ensure(outputs == channels && kernel > 0, || format!("a weight of {outputs} channels for {channels}"))?;
    let before = match ctx.opt(3) {
        Some(past) => past,
        None => {
            let zeros = ctx.tensor(vec![batch, channels, kernel - 1], Data::F32(vec![0.0; batch * channels * (kernel - 1)].into()))?;
            ctx.literal(zeros)
        }
    };
    let whole = if kernel > 1 { ctx.emit(Op::Concat { axis: 2 }, &[before, x])? } else { x };
    let conv = Op::Conv { kernel: vec![kernel], strides: vec![1], dilations: vec![1], pads: vec![(0, 0)], group: channels };
    let mut inputs = vec![whole, weight];
    inputs.extend(ctx.opt(2));
    let mut y = ctx.emit(conv, &inputs)?;
    if ctx.attrs.string("activation").is_some_and(|a| a != "none") {
        y = ctx.unary(UnaryFn::Silu { alpha: 1.0 }, y)?;
    }
    let length = ctx.shape(whole)[2];
    let op = Op::Slice { starts: vec![0, 0, length + 1 - kernel], sizes: vec![batch, channels, kernel - 1], steps: vec![1; 3] };
    let state = ctx.emit(op, &[whole])?;
    Ok(vec![y, state])
}

/// Most steps that are written out.
const MAX_STEPS: usize = 1 << 12;

/// `S ← e^g·S + k·(β·(v - Sᵀk))ᵀ` and `o = scale·Sᵀq` per step, each part as the update rule says.
fn linear_attention(ctx: &mut Ctx<'_>) -> Lowered {
    let rule = ctx.attrs.string("update_rule").unwrap_or("gated_delta");
    let (gated, delta) = (rule.starts_with("gated"), rule.ends_with("delta"));
    let (decay, beta) = (ctx.opt(4), ctx.opt(5));
    ctx.ensure(decay.is_some() == gated && beta.is_some() == delta, || format!("update rule {rule} with the operands that are given"))?;
    let mut operands = Vec::new();
    for (i, attribute) in [(0, "q_num_heads"), (1, "kv_num_heads"), (2, "kv_num_heads")] {
        let id = ctx.input(i)?;
        ctx.ensure(ctx.shape(id).len() == 3, || format!("operand {i} should have three axes"))?;
        operands.push(heads(ctx, id, attribute)?);
    }
    let (q, k, v) = (operands[0], operands[1], operands[2]);
    let (&[batch, query_heads, steps, size], &[_, count, _, width]) = (ctx.shape(q).as_slice(), ctx.shape(v).as_slice()) else {
        return Err(ctx.error("operands of unexpected shapes"));
    };
    ctx.ensure(steps <= MAX_STEPS && ctx.shape(k) == [batch, count, steps, size], || format!("{steps} steps, or keys that do not fit"))?;
    // One number per head, or per head and feature.
    let per_head = |ctx: &mut Ctx<'_>, id: ValueId| -> Result<ValueId, ImportError> {
        let last = ctx.shape(id).last().copied().unwrap_or(0);
        let (n, each) = if last == count || last == 1 { (last, 1) } else { (count, last / count.max(1)) };
        let split = ctx.reshape(id, vec![batch, steps, n, each])?;
        ctx.emit(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[split])
    };
    let decay = match decay {
        Some(id) => {
            let id = per_head(ctx, id)?;
            Some(ctx.unary(UnaryFn::Exp, id)?)
        }
        None => None,
    };
    let beta = match beta {
        Some(id) => Some(per_head(ctx, id)?),
        None => None,
    };
    let mut state = match ctx.opt(3) {
        Some(past) => past,
        None => {
            let zeros = ctx.tensor(vec![batch, count, size, width], Data::F32(vec![0.0; batch * count * size * width].into()))?;
            ctx.literal(zeros)
        }
    };
    let scale = ctx.attrs.float("scale").filter(|&s| s != 0.0).unwrap_or_else(|| 1.0 / (size as f32).sqrt());
    let step = |ctx: &mut Ctx<'_>, id: ValueId, t: usize| {
        let mut sizes = ctx.shape(id);
        let mut starts = vec![0; 4];
        (starts[2], sizes[2]) = (t, 1);
        ctx.emit(Op::Slice { starts, sizes, steps: vec![1; 4] }, &[id])
    };
    let turned = |ctx: &mut Ctx<'_>, id: ValueId| ctx.emit(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[id]);
    let mut results = Vec::with_capacity(steps);
    for t in 0..steps {
        let (key, mut value) = (step(ctx, k, t)?, step(ctx, v, t)?);
        if let Some(decay) = decay {
            let now = step(ctx, decay, t)?;
            let column = turned(ctx, now)?;
            state = ctx.binary(BinaryFn::Mul, state, column)?;
        }
        if let Some(beta) = beta {
            let known = ctx.emit(Op::MatMul, &[key, state])?;
            let new = ctx.binary(BinaryFn::Sub, value, known)?;
            let now = step(ctx, beta, t)?;
            value = ctx.binary(BinaryFn::Mul, new, now)?;
        }
        let column = turned(ctx, key)?;
        let outer = ctx.binary(BinaryFn::Mul, column, value)?;
        state = ctx.binary(BinaryFn::Add, state, outer)?;
        let shared = share(ctx, state, query_heads)?;
        let query = step(ctx, q, t)?;
        results.push(ctx.emit(Op::MatMul, &[query, shared])?);
    }
    let y = ctx.emit(Op::Concat { axis: 2 }, &results)?;
    let scale = ctx.float_literal(scale);
    let y = ctx.binary(BinaryFn::Mul, y, scale)?;
    let y = ctx.emit(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
    Ok(vec![ctx.reshape(y, vec![batch, steps, query_heads * width])?, state])
}
