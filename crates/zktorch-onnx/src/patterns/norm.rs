//! Normalisations written out in elementary operators.

use super::{Rewrite, Rewriter, first, orders, pair};
use zktorch_float::{BinaryFn, Node, Op, ReduceFn, Tensor, UnaryFn, ValueId};

/// `x / √(mean(x²) + eps)` in its usual spellings, with a scale of ones. If `x` is itself `y - mean(y)`, that is a layer
/// normalisation of `y`.
pub(super) fn rms(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let (x, eps) = match node.op {
        Op::Binary(BinaryFn::Div) => {
            let (x, root) = pair(node)?;
            (x, mean_square(r, square_root(r, root)?, x)?)
        }
        Op::Binary(BinaryFn::Mul) => orders(pair(node)?).into_iter().find_map(|(x, factor)| {
            let under = match r.unary(factor) {
                Some((UnaryFn::Reciprocal, root)) => square_root(r, root)?,
                _ => inverse_root(r, factor)?,
            };
            Some((x, mean_square(r, under, x)?))
        })?,
        _ => return None,
    };
    let size = *r.shape(x).last()?;
    let axis = r.shape(x).len() - 1;
    let ones = r.constant(Tensor::f32(vec![size], vec![1.0; size]).ok()?, false);
    Some(match centred(r, x) {
        Some(y) => Rewrite::Replace(Op::LayerNormalization { axis, eps }, vec![y, ones]),
        None => Rewrite::Replace(Op::RmsNormalization { axis, eps }, vec![x, ones]),
    })
}

/// The operand of a square root.
fn square_root(r: &Rewriter<'_>, id: ValueId) -> Option<ValueId> {
    match r.unary(id) {
        Some((UnaryFn::Sqrt, x)) => Some(x),
        _ => {
            let (x, exponent) = r.binary(id, BinaryFn::Pow)?;
            (r.scalar(exponent)? == 0.5).then_some(x)
        }
    }
}

/// The operand of `x^-1/2` or of `1/√x` as a division.
fn inverse_root(r: &Rewriter<'_>, id: ValueId) -> Option<ValueId> {
    if let Some((x, exponent)) = r.binary(id, BinaryFn::Pow) {
        return (r.scalar(exponent)? == -0.5).then_some(x);
    }
    let (one, root) = r.binary(id, BinaryFn::Div)?;
    if r.scalar(one)? == 1.0 { square_root(r, root) } else { None }
}

/// The constant `eps` if `id` is `mean(x²) + eps` over the last axis.
fn mean_square(r: &Rewriter<'_>, id: ValueId, x: ValueId) -> Option<f32> {
    let (mean, eps) = orders(r.binary(id, BinaryFn::Add)?).into_iter().find_map(|(m, e)| Some((m, r.scalar(e)?)))?;
    let square = mean_of(r, mean)?;
    let is_square = match r.binary(square, BinaryFn::Mul) {
        Some((a, b)) => a == x && b == x,
        None => {
            let (base, exponent) = r.binary(square, BinaryFn::Pow)?;
            base == x && r.scalar(exponent)? == 2.0
        }
    };
    (is_square && eps > 0.0).then_some(eps)
}

/// The operand of a mean over the last axis that keeps the axis.
fn mean_of(r: &Rewriter<'_>, id: ValueId) -> Option<ValueId> {
    let node = r.node(id)?;
    let x = first(node)?;
    match &node.op {
        Op::Reduce { function: ReduceFn::Mean, axes, keepdims: true } => (axes.len() == 1 && axes[0] + 1 == r.shape(x).len()).then_some(x),
        _ => None,
    }
}

/// The tensor whose mean over the last axis is taken away.
fn centred(r: &Rewriter<'_>, id: ValueId) -> Option<ValueId> {
    let (y, mean) = r.binary(id, BinaryFn::Sub)?;
    (mean_of(r, mean)? == y).then_some(y)
}

/// Whether `id` is a constant with one element per element of the last axis of `x`; if so, as a vector.
fn feature_vector(r: &mut Rewriter<'_>, id: ValueId, x: ValueId) -> Option<ValueId> {
    let size = *r.shape(x).last()?;
    let shape = r.shape(id);
    if r.floats(id)?.len() != size || shape.last() != Some(&size) || shape.len() > r.shape(x).len() {
        return None;
    }
    if shape.len() == 1 {
        return Some(id);
    }
    let flat = r.graph.constant(id)?.reshaped(vec![size]).ok()?;
    let from_weights = r.graph.value(id).from_weights;
    Some(r.constant(flat, from_weights))
}

/// Scale after a normalisation that has none.
pub(super) fn scale(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let Op::Binary(BinaryFn::Mul) = node.op else { return None };
    orders(pair(node)?).into_iter().find_map(|(y, factor)| {
        let inner = r.node(y)?.clone();
        if !matches!(inner.op, Op::RmsNormalization { .. } | Op::LayerNormalization { .. }) {
            return None;
        }
        let [Some(x), Some(own)] = inner.inputs[..] else { return None };
        if !r.floats(own)?.iter().all(|&v| v == 1.0) || !over_last_axis(r, &inner, x) {
            return None;
        }
        let factor = feature_vector(r, factor, x)?;
        Some(Rewrite::Replace(inner.op, vec![x, factor]))
    })
}

/// Whether a normalisation runs over the last axis only.
fn over_last_axis(r: &Rewriter<'_>, node: &Node, x: ValueId) -> bool {
    match node.op {
        Op::RmsNormalization { axis, .. } | Op::LayerNormalization { axis, .. } => axis + 1 == r.shape(x).len(),
        _ => false,
    }
}

/// Bias after a layer normalisation that has none.
pub(super) fn bias(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let Op::Binary(BinaryFn::Add) = node.op else { return None };
    orders(pair(node)?).into_iter().find_map(|(y, term)| {
        let inner = r.node(y)?.clone();
        let [Some(x), Some(own)] = inner.inputs[..] else { return None };
        if !matches!(inner.op, Op::LayerNormalization { .. }) || !over_last_axis(r, &inner, x) {
            return None;
        }
        let term = feature_vector(r, term, x)?;
        Some(Rewrite::Replace(inner.op, vec![x, own, term]))
    })
}
