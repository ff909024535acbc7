//! Rows of scores that a constant mask closes entirely.

use super::Rewriter;
use zktorch_float::{ClosedRow, DType, EvalError, Node, Op, Tensor, ValueId, eval_op};

/// A constant mask without closed rows, and which rows of it were open.
struct Opened {
    mask: Tensor,
    /// Of size 1 along the axis of the softmax.
    rows: Tensor,
}

/// Opens the closed rows of `mask` along an axis of scores of rank `rank`; nothing if it has none.
fn opened(mask: &Tensor, axis: usize, rank: usize) -> Result<Option<Opened>, EvalError> {
    let shape = [vec![1; rank.saturating_sub(mask.rank())], mask.shape.clone()].concat();
    let values = mask.as_bool()?;
    let inner: usize = shape[axis + 1..].iter().product();
    let size = shape[axis];
    let row = |at: usize| at / (size * inner) * inner + at % inner;
    let mut rows = vec![false; values.len() / size.max(1)];
    for (at, _) in values.iter().enumerate().filter(|(_, open)| **open) {
        rows[row(at)] = true;
    }
    if !rows.contains(&false) {
        return Ok(None);
    }
    let open = values.iter().enumerate().map(|(at, &open)| open || !rows[row(at)]).collect();
    let mut short = shape.clone();
    short[axis] = 1;
    Ok(Some(Opened { mask: Tensor::bool(shape, open)?, rows: Tensor::bool(short, rows)? }))
}

impl Rewriter {
    /// A masked softmax: rows that a constant mask closes are opened, and their scores or weights replaced, as [`ClosedRow`] says.
    pub(super) fn masked_softmax(&mut self, node: Node) -> Result<(), EvalError> {
        let (&Op::MaskedSoftmax { axis, closed }, &[Some(scores), Some(mask)], &[out]) = (&node.op, &node.inputs[..], &node.outputs[..])
        else {
            return self.push(node);
        };
        let shape = self.shape(scores);
        let Some(opened) = self.constant(mask).map(|m| opened(&m, axis, shape.len())).transpose()?.flatten() else {
            return self.push(node);
        };
        let mask = self.new_constant(opened.mask, false);
        let op = Op::MaskedSoftmax { axis, closed };
        let or_zero = |this: &mut Self, x: ValueId| -> Result<[ValueId; 3], EvalError> {
            let rows = eval_op(&Op::Expand { shape: shape.clone() }, &[Some(&opened.rows)])?.pop();
            let rows = rows.ok_or_else(|| EvalError::Invalid("expand without result".into()))?;
            Ok([this.new_constant(rows, false), x, this.scalar(0.0)])
        };
        match closed {
            ClosedRow::Scores => self.finish(op, &[scores, mask], out),
            ClosedRow::Equal => {
                let operands = or_zero(self, scores)?;
                let scores = self.emit(Op::Where, &operands, DType::F32, &shape)?;
                self.finish(op, &[scores, mask], out)
            }
            ClosedRow::Zero => {
                let weights = self.emit(op, &[scores, mask], DType::F32, &shape)?;
                let operands = or_zero(self, weights)?;
                self.finish(Op::Where, &operands, out)
            }
        }
    }
}
