//! Data movement that does nothing, or no more than a reshape.

use super::{Rewrite, Rewriter, first};
use zktorch_float::{Data, Node, Op, Tensor, eval_op};

/// Largest tensor that is traced through a data movement.
const MAX_TRACED: usize = 1 << 20;

/// Movement that keeps all elements in order is a reshape.
pub(super) fn reshape_only(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let movable = matches!(
        node.op,
        Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Expand { .. }
            | Op::Tile { .. }
    );
    let x = first(node)?;
    let output = r.shape(*node.outputs.first()?).to_vec();
    let (from, to): (usize, usize) = (r.shape(x).iter().product(), output.iter().product());
    if !movable || from != to || from > MAX_TRACED || r.graph.constant(x).is_some() {
        return None;
    }
    let trace = Tensor::i64(r.shape(x).to_vec(), (0..from as i64).collect()).ok()?;
    let mut operands = vec![Some(&trace)];
    for id in node.inputs.iter().skip(1).flatten() {
        operands.push(Some(r.graph.constant(*id)?));
    }
    let moved = eval_op(&node.op, &operands).ok()?.into_iter().next()?;
    match moved.data {
        Data::I64(v) if v.iter().copied().eq(0..from as i64) => Some(Rewrite::Replace(Op::Reshape { shape: output }, vec![x])),
        _ => None,
    }
}

/// A reshape of a reshape, a transpose of a transpose, and a reshape to the same shape.
pub(super) fn merge(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    let x = first(node)?;
    match &node.op {
        Op::Reshape { shape } if r.shape(x) == shape => Some(Rewrite::Alias(x)),
        Op::Reshape { shape } => {
            let inner = r.node(x)?;
            let source = first(inner)?;
            matches!(inner.op, Op::Reshape { .. }).then(|| Rewrite::Replace(Op::Reshape { shape: shape.clone() }, vec![source]))
        }
        Op::Transpose { perm } => {
            let inner = r.node(x)?;
            let source = first(inner)?;
            let Op::Transpose { perm: before } = &inner.op else { return None };
            let perm: Vec<usize> = perm.iter().map(|&p| before[p]).collect();
            if perm.iter().copied().eq(0..perm.len()) {
                return Some(Rewrite::Alias(source));
            }
            Some(Rewrite::Replace(Op::Transpose { perm }, vec![source]))
        }
        _ => None,
    }
}
