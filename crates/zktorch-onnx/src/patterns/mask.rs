//! Masks of a softmax.
//!
//! Exporters write a mask as very negative numbers in the scores. Such numbers have no place in fixed-point arithmetic, so the
//! mask is taken out as truth values: [`Op::MaskedSoftmax`].

use super::{Rewrite, Rewriter, first, orders, pair};
use zktorch_float::{BinaryFn, ClosedRow, DType, Data, Node, Op, Tensor, UnaryFn, ValueId};

/// Constants at or below this mask a score. Exporters write -10000, -1e9, the smallest float or -∞; next to any score of a
/// sane size the exponential of all of them is 0.
const MASKED: f32 = -9999.0;
/// Masks that are taken out of one softmax.
const MAX_MASKS: usize = 4;

/// Softmax of masked scores.
pub(super) fn softmax(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let mut scores = first(node)?;
    let shape = r.shape(scores).to_vec();
    let (axis, before, mut closed) = match node.op {
        Op::Softmax { axis } => (axis, None, ClosedRow::Scores),
        Op::MaskedSoftmax { axis, closed } => (axis, node.inputs.get(1).copied().flatten(), closed),
        _ => return None,
    };
    let mut mask = before.map(|mask| plain(r, mask));
    for _ in 0..MAX_MASKS {
        let Some(Taken { scores: inner, mask: next, row }) = take_out(r, scores, &shape) else { break };
        scores = inner;
        closed = closed.max(row);
        mask = Some(match mask {
            None => next,
            Some(mask) => {
                let joined = broadcast(r.shape(mask), r.shape(next));
                r.emit(Op::Binary(BinaryFn::And), &[mask, next], DType::Bool, joined)?
            }
        });
    }
    let mask = mask?;
    if Some(mask) == before {
        return None;
    }
    Some(Rewrite::Replace(Op::MaskedSoftmax { axis, closed }, vec![scores, mask]))
}

fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank).map(|i| if at(a, i) == 1 { at(b, i) } else { at(a, i) }).collect()
}

/// Scores without their mask.
struct Taken {
    /// The unmasked scores, of the shape of the masked ones.
    scores: ValueId,
    mask: ValueId,
    /// What the mask makes of a row that it closes.
    row: ClosedRow,
}

/// Splits scores into unmasked scores of the same shape and a mask.
fn take_out(r: &mut Rewriter<'_>, scores: ValueId, shape: &[usize]) -> Option<Taken> {
    let node = r.node(scores)?.clone();
    match node.op {
        Op::Where => {
            let [Some(condition), Some(a), Some(b)] = node.inputs[..] else { return None };
            let masked = |id: ValueId| highest(r.floats(id)?).filter(|&v| v <= MASKED).map(ClosedRow::of_chosen);
            if let Some(row) = masked(b).filter(|_| r.shape(a) == shape) {
                Some(Taken { scores: a, mask: plain(r, condition), row })
            } else if let Some(row) = masked(a).filter(|_| r.shape(b) == shape) {
                Some(Taken { scores: b, mask: negate(r, condition)?, row })
            } else {
                None
            }
        }
        Op::Binary(BinaryFn::Add) => {
            orders(pair(&node)?).into_iter().find_map(|(x, m)| if r.shape(x) == shape { additive(r, x, m, MAX_MASKS) } else { None })
        }
        _ => None,
    }
}

fn highest(values: &[f32]) -> Option<f32> {
    values.iter().copied().reduce(f32::max)
}

/// Splits `x + m` if `m` is a mask, possibly with a bias in it, or a sum of at most `parts` with a mask among them.
fn additive(r: &mut Rewriter<'_>, x: ValueId, m: ValueId, parts: usize) -> Option<Taken> {
    if let Some(values) = r.floats(m) {
        let low: Vec<f32> = values.iter().copied().filter(|&v| v <= MASKED).collect();
        let row = ClosedRow::of_added(highest(&low)?);
        let keep: Vec<bool> = values.iter().map(|&v| v > MASKED).collect();
        let bias: Vec<f32> = values.iter().map(|&v| if v > MASKED { v } else { 0.0 }).collect();
        let shape = r.shape(m).to_vec();
        let mask = r.constant(Tensor::new(shape.clone(), Data::Bool(keep)).ok()?, false);
        if bias.iter().all(|&v| v == 0.0) {
            return Some(Taken { scores: x, mask, row });
        }
        let from_weights = r.graph.value(m).from_weights;
        let bias = r.constant(Tensor::new(shape, Data::F32(bias.into())).ok()?, from_weights);
        let shape = r.shape(x).to_vec();
        let scores = r.emit(Op::Binary(BinaryFn::Add), &[x, bias], DType::F32, shape)?;
        return Some(Taken { scores, mask, row });
    }
    let node = r.node(m)?.clone();
    match node.op {
        // Very negative numbers picked by a condition, and zeros or another mask elsewhere.
        Op::Where => {
            let [Some(condition), Some(a), Some(b)] = node.inputs[..] else { return None };
            let low = |id: ValueId| r.scalar(id).filter(|&v| v <= MASKED);
            let (low, rest, mask) = match (low(a), low(b)) {
                (None, Some(low)) => (low, a, plain(r, condition)),
                (Some(low), None) => (low, b, negate(r, condition)?),
                _ => return None,
            };
            Some(Taken { scores: plus(r, x, rest)?, mask, row: ClosedRow::of_added(low) })
        }
        // (1 - open)·low
        Op::Binary(BinaryFn::Mul) => {
            let (low, closed) = orders(pair(&node)?).into_iter().find_map(|(c, other)| Some((r.scalar(c)?, other)))?;
            let row = ClosedRow::of_added(low);
            let mask = if low <= MASKED { opposite(r, closed, row != ClosedRow::Scores)? } else { return None };
            Some(Taken { scores: x, mask, row })
        }
        // One of several masks, or of a mask and a bias; the others stay a part of the scores.
        Op::Binary(BinaryFn::Add) if parts > 1 => {
            let (p, q) = pair(&node)?;
            let (taken, rest) = orders((p, q)).into_iter().find_map(|(mask, rest)| Some((additive(r, x, mask, parts - 1)?, rest)))?;
            Some(Taken { scores: plus(r, taken.scores, rest)?, ..taken })
        }
        _ => None,
    }
}

/// The sum of scores and something that does not make them larger.
fn plus(r: &mut Rewriter<'_>, scores: ValueId, other: ValueId) -> Option<ValueId> {
    if r.scalar(other) == Some(0.0) {
        return Some(scores);
    }
    let shape = r.shape(scores).to_vec();
    if broadcast(&shape, r.shape(other)) != shape {
        return None;
    }
    r.emit(Op::Binary(BinaryFn::Add), &[scores, other], DType::F32, shape)
}

/// Where a number is 0, if it is 0 or 1: a cast truth value, or `1 - n` for a number `n` that is 1 where a position is open, as it is from 1 on. Floats may be
/// anything between, so only what weighs every such difference as a whole one (`whole`) is a mask.
fn opposite(r: &mut Rewriter<'_>, number: ValueId, whole: bool) -> Option<ValueId> {
    let node = r.node(number)?.clone();
    let shape = r.shape(number).to_vec();
    match node.op {
        Op::Cast { .. } if r.graph.value(first(&node)?).dtype == DType::Bool => negate(r, first(&node)?),
        Op::Binary(BinaryFn::Sub) => {
            let (one, mut open) = pair(&node)?;
            if r.scalar(one) != Some(1.0) {
                return None;
            }
            if let Some(Node { op: Op::Cast { .. }, inputs, .. }) = r.node(open) {
                open = inputs.first().copied().flatten()?;
            }
            let one = match r.graph.value(open).dtype {
                DType::Bool => return Some(plain(r, open)),
                DType::I64 => Tensor::i64(Vec::new(), vec![1]).ok()?,
                DType::F32 if whole => Tensor::scalar(1.0),
                DType::F32 => return None,
            };
            let one = r.constant(one, false);
            r.emit(Op::Binary(BinaryFn::GreaterOrEqual), &[open, one], DType::Bool, shape)
        }
        _ => None,
    }
}

/// `mask + n = 0` where a constant mask has nothing but zeros and very negative numbers: where it is open and `n` is 0.
pub(super) fn open_zero(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let Op::Binary(BinaryFn::Equal) = node.op else { return None };
    let (zero, sum) = orders(pair(node)?).into_iter().find(|&(zero, _)| r.scalar(zero) == Some(0.0))?;
    let (a, b) = r.binary(sum, BinaryFn::Add)?;
    let is_mask = |r: &Rewriter<'_>, id| r.floats(id).is_some_and(|v| v.contains(&0.0) && v.iter().all(|&v| v == 0.0 || v <= MASKED));
    let (mask, number) = orders((a, b)).into_iter().find(|&(mask, _)| is_mask(r, mask))?;
    let open = r.floats(mask)?.iter().map(|&v| v == 0.0).collect();
    let open = Tensor::bool(r.shape(mask).to_vec(), open).ok()?;
    let (open, shape) = (r.constant(open, false), r.shape(number).to_vec());
    let none = r.emit(Op::Binary(BinaryFn::Equal), &[number, zero], DType::Bool, shape)?;
    Some(Rewrite::Replace(Op::Binary(BinaryFn::And), vec![open, none]))
}

/// A mask without parts that its broadcasting does anyway.
fn plain(r: &Rewriter<'_>, mut mask: ValueId) -> ValueId {
    for _ in 0..MAX_MASKS {
        let Some(node) = r.node(mask) else { break };
        let inner = match node.op {
            Op::Expand { .. } => first(node),
            Op::Binary(BinaryFn::And) => {
                pair(node).and_then(|p| orders(p).into_iter().find(|&(constant, _)| always(r, constant)).map(|(_, other)| other))
            }
            _ => None,
        };
        match inner {
            Some(inner) => mask = inner,
            None => break,
        }
    }
    mask
}

/// Whether `id` is a constant that is true everywhere.
fn always(r: &Rewriter<'_>, id: ValueId) -> bool {
    r.graph.constant(id).is_some_and(|t| t.as_bool().is_ok_and(|v| v.iter().all(|&b| b)))
}

fn negate(r: &mut Rewriter<'_>, condition: ValueId) -> Option<ValueId> {
    if let Some((UnaryFn::Not, inner)) = r.unary(condition) {
        return Some(plain(r, inner));
    }
    let shape = r.shape(condition).to_vec();
    r.emit(Op::Unary(UnaryFn::Not), &[condition], DType::Bool, shape)
}

/// `where(isnan(s), 0, s)` after a softmax: guards rows without any element, which do not occur in a softmax of unmasked scores.
pub(super) fn guard(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let Op::Where = node.op else { return None };
    let [Some(condition), Some(zero), Some(weights)] = node.inputs[..] else { return None };
    let (function, tested) = r.unary(condition)?;
    if function != UnaryFn::IsNaN || tested != weights || r.scalar(zero)? != 0.0 || r.shape(weights) != r.shape(*node.outputs.first()?) {
        return None;
    }
    let source = r.node(weights)?;
    let safe = match source.op {
        // Rows are not numbers where -∞ closes them, and those are zeros.
        Op::MaskedSoftmax { .. } => true,
        Op::Softmax { .. } => !masked_by_choice(r, first(source)?),
        _ => false,
    };
    safe.then_some(Rewrite::Alias(weights))
}

/// Whether the scores are chosen, or a sum with something chosen: a mask of a form that is not taken out, which may close rows.
fn masked_by_choice(r: &Rewriter<'_>, scores: ValueId) -> bool {
    let chosen = |id: ValueId| r.node(id).is_some_and(|n| n.op == Op::Where);
    let sum = |n: &Node| n.op == Op::Binary(BinaryFn::Add) && n.inputs.iter().flatten().any(|&id| chosen(id));
    chosen(scores) || r.node(scores).is_some_and(sum)
}

/// Conjunction with what is always true.
pub(super) fn all_true(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let Op::Binary(BinaryFn::And) = node.op else { return None };
    let output = *node.outputs.first()?;
    orders(pair(node)?)
        .into_iter()
        .find(|&(constant, other)| always(r, constant) && r.shape(other) == r.shape(output))
        .map(|(_, other)| Rewrite::Alias(other))
}
