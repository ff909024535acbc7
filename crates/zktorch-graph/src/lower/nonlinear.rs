//! Reductions, softmax and normalisations: arranging operands for their blocks.

use super::linear::{permute_acc, squeeze_letters};
use super::{Lower, LowerError, Value, Weights, unsupported};
use crate::blocks::{self, Affine, Norm};
use crate::{Accumulator, Format, QTensor};
use zktorch_float::{ClosedRow, Data, Node, Op, Tensor, ValueId};

/// `perm` that moves `axes` behind the other axes, and its inverse.
fn to_the_end(rank: usize, axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut perm: Vec<usize> = (0..rank).filter(|d| !axes.contains(d)).collect();
    perm.extend_from_slice(axes);
    let mut inverse = vec![0; rank];
    for (new, &old) in perm.iter().enumerate() {
        inverse[old] = new;
    }
    (perm, inverse)
}

fn permuted(q: &QTensor, perm: &[usize]) -> QTensor {
    QTensor { view: q.view.permute(perm), ..q.clone() }
}

/// A mask known at compile time, in the order of the permuted scores.
fn static_mask(mask: &Tensor, shape: &[usize], perm: &[usize]) -> Result<Vec<bool>, LowerError> {
    let op = Op::Expand { shape: shape.to_vec() };
    let expanded = zktorch_float::eval_op(&op, &[Some(mask)])?;
    let op = Op::Transpose { perm: perm.to_vec() };
    let moved = zktorch_float::eval_op(&op, &[expanded.first()])?;
    match moved.into_iter().next().map(|t| t.data) {
        Some(Data::Bool(v)) => Ok(v),
        _ => unsupported("the mask is not boolean"),
    }
}

/// Bits that the factor of a softmax's row keeps at least.
const FACTOR_BITS: u32 = 14;
/// Fewest fractional bits of scores whose softmax is normalised by a shift: a sum is then within 1/64 of 1.
const LEAST_SHIFTED: i32 = 5;

impl Lower<'_> {
    pub(super) fn reduce_max(&mut self, node: &Node, axes: &[usize]) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let (perm, _) = to_the_end(q.view.axes.len(), axes);
        let n = q.view.axes.len() - axes.len();
        let q = blocks::reduce_max(&mut self.ctx, &node.name, &permuted(&q, &perm), n)?;
        self.finish_cells(node, q)
    }

    fn finish_cells(&mut self, node: &Node, q: QTensor) -> Result<(), LowerError> {
        let out = node.outputs[0];
        let shape = self.shape(out).to_vec();
        let q = self.reshaped(&node.name, q, &shape)?;
        self.set_cells(out, q)
    }

    pub(super) fn arg_extremum(&mut self, node: &Node, axis: usize, last: bool, max: bool) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let (perm, _) = to_the_end(q.view.axes.len(), &[axis]);
        let q = permuted(&q, &perm);
        let q =
            if max { blocks::arg_max(&mut self.ctx, &node.name, &q, last)? } else { blocks::arg_min(&mut self.ctx, &node.name, &q, last)? };
        self.finish_cells(node, q)
    }

    pub(super) fn top_k(&mut self, node: &Node, axis: usize, k: usize, largest: bool) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let &[values, indices] = &node.outputs[..] else {
            return unsupported(format!("{} results instead of values and indices", node.outputs.len()));
        };
        let (perm, inverse) = to_the_end(q.view.axes.len(), &[axis]);
        let (v, i) = blocks::top_k(&mut self.ctx, &node.name, &permuted(&q, &perm), k, largest)?;
        self.set_cells(values, permuted(&v, &inverse))?;
        self.set_cells(indices, permuted(&i, &inverse))
    }

    pub(super) fn softmax(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let format = self.format(node.outputs[0]);
        let shape = self.shape(x).to_vec();
        let (perm, inverse) = to_the_end(shape.len(), &[axis]);
        // The permutation alone does not tell: swapping the last two axes is its own inverse.
        let last = axis + 1 == shape.len();
        if matches!(node.op, Op::LogSoftmax { .. }) {
            let q = permuted(&self.cells(x)?, &perm);
            let y = blocks::log_softmax(&mut self.ctx, &node.name, &q, format)?;
            return self.finish_cells(node, permuted(&y, &inverse));
        }
        let mut input = self.argument_format(x)?;
        let mut acc = match self.values[x.0].clone() {
            Some(Value::Acc(p)) => squeeze_letters(&p.acc, &p.shape),
            _ => None,
        };
        if acc.is_none() {
            let q = self.cells(x)?;
            input.bits = 64 - i64::leading_zeros(q.hi.max(!q.lo)) + 1;
            acc = Some(Accumulator::of(&q));
        }
        let mut acc = acc.ok_or(LowerError::Operand)?;
        let mut mask = None;
        // What multiplies the weights, so that closed rows are zeros.
        let mut shown = None;
        if let Op::MaskedSoftmax { closed, .. } = node.op {
            let id = self.operand(node, 1)?;
            match self.constant(id) {
                Some(c) => mask = Some(static_mask(&c.tensor, &shape, &perm)?),
                None => {
                    // Wide scores take at most 12 fractional bits.
                    input.scale = input.scale.min(12);
                    acc = self.with_common_remainder(acc, input.scale);
                    let q = blocks::requantize(&mut self.ctx, &node.name, &acc, input)?;
                    let open = self.cells(id)?;
                    let open = blocks::broadcast_to(&node.name, &open, &q.shape())?;
                    let q = self.push_down(node, &q, &open, closed);
                    shown = (closed == ClosedRow::Zero).then_some(open);
                    input.bits = 64 - i64::leading_zeros(q.hi.max(!q.lo)) + 1;
                    acc = Accumulator::of(&q);
                }
            }
        }
        let acc = permute_acc(&acc, &perm);
        let weighed = self.values_weighed(node.outputs[0]).filter(|_| last && (shown.is_none() || input.scale >= LEAST_SHIFTED));
        if let Some((values, result)) = weighed {
            let masked = i32::from(mask.is_some() && acc.as_tensor().is_none());
            let weights = if input.scale >= LEAST_SHIFTED + masked {
                // Differences at closed positions may have either sign.
                let input = Format { scale: (input.scale - masked).min(12), ..input };
                let acc = self.with_common_remainder(acc, input.scale);
                let bits = self.weight_width(shape.last().copied().unwrap_or(1), values, result);
                let weights = blocks::attention_weights(&mut self.ctx, &node.name, &acc, input, mask.as_deref(), bits)?;
                Weights::Shifted(match shown {
                    Some(open) => weights.times(&open),
                    None => weights,
                })
            } else if self.has_fewer_columns(node.outputs[0], values) {
                let acc = self.with_common_remainder(acc, input.scale);
                Weights::Divided(blocks::softmax_weights(&mut self.ctx, &node.name, &acc, input, mask.as_deref(), FACTOR_BITS)?)
            } else {
                let acc = self.with_common_remainder(acc, input.scale);
                let y = blocks::softmax_of(&mut self.ctx, &node.name, &acc, input, mask.as_deref(), format)?;
                return self.finish_cells(node, y);
            };
            self.values[node.outputs[0].0] = Some(Value::Weights(Box::new(weights)));
            return Ok(());
        }
        let acc = self.with_common_remainder(acc, input.scale);
        let y = blocks::softmax_of(&mut self.ctx, &node.name, &acc, input, mask.as_deref(), format)?;
        let y = permuted(&y, &inverse);
        match shown {
            Some(open) => {
                let all: Vec<u8> = (0..shape.len() as u8).collect();
                let product = Accumulator::contraction(1, &shape, shape.len(), &[(&y, &all[..]), (&open, &all[..])]);
                let y = self.assigned(node, product);
                self.finish_cells(node, y)
            }
            None => self.finish_cells(node, y),
        }
    }

    /// Cells for an accumulator as it is.
    fn assigned(&mut self, node: &Node, acc: Accumulator) -> QTensor {
        let (lo, hi) = (acc.lo as i64, acc.hi as i64);
        let view = self.ctx.builder.assign(&node.name, &acc.sizes, acc.outputs, acc.terms, lo, hi);
        QTensor { view, scale: acc.scale, lo, hi }
    }

    /// The right factor and the result of a product that is all that a softmax is used for, as its left factor.
    fn values_weighed(&self, id: ValueId) -> Option<(ValueId, ValueId)> {
        let reader = self.reader[id.0].filter(|_| self.uses[id.0] == 1)?;
        let node = &self.graph.nodes[reader];
        let (Op::MatMul, [Some(p), Some(v)]) = (&node.op, &node.inputs[..]) else {
            return None;
        };
        let fits = *p == id && self.shape(id).len() >= 2 && self.shape(*v).len() >= 2 && self.constant(*v).is_none();
        fits.then(|| (*v, node.outputs[0]))
    }

    /// Whether a product has at most as many columns as its left factor: `Σ_j e_j·v·V_j` then costs less than cells for `e_j·v`.
    fn has_fewer_columns(&self, p: ValueId, values: ValueId) -> bool {
        self.shape(values).last() <= self.shape(p).last()
    }

    /// Bits of weights whose product with `values` is rescaled by one limb, if they are enough for rows of `count` elements.
    fn weight_width(&self, count: usize, values: ValueId, result: ValueId) -> u32 {
        let log = count.next_power_of_two().trailing_zeros() as i32;
        let (wanted, least) = ((log + 8).max(16), (log + 6).max(14));
        let one_limb = self.ctx.tables.limb_bits.max(16) as i32 + self.rescaling_scale(result) - self.format(values).scale;
        let (first, last) = (*blocks::WEIGHT_BITS.start(), *blocks::WEIGHT_BITS.end());
        (wanted.min(one_limb.max(least)) as u32).clamp(first, last)
    }

    /// Scores with those at the zeros of a computed mask more than 2^17 below the rest, so that their exponentials are zero unless the row is closed:
    /// `x + 2^17·(M - 1)`, or `M·x + (1 - M)·c` with one number `c` if closed rows have equal weights.
    fn push_down(&mut self, node: &Node, q: &QTensor, mask: &QTensor, closed: ClosedRow) -> QTensor {
        let mut acc = match closed {
            ClosedRow::Equal => {
                let all: Vec<u8> = (0..q.view.axes.len() as u8).collect();
                let low = i128::from(q.lo) - (1 << 17);
                let mut acc = Accumulator::contraction(1, &q.shape(), all.len(), &[(q, &all[..]), (mask, &all[..])]);
                let mask = QTensor { scale: q.scale, ..mask.clone() };
                acc = acc.plus(1, Accumulator::of(&mask).times(-low));
                acc.add_constant(low);
                acc
            }
            ClosedRow::Scores | ClosedRow::Zero => {
                let mut lifted = Accumulator::of(&QTensor { scale: q.scale, ..mask.clone() }).times(1 << 17);
                lifted.add_constant(-(1 << 17));
                Accumulator::of(q).plus(1, lifted)
            }
        };
        acc.scale = q.scale;
        self.assigned(node, acc)
    }

    pub(super) fn normalisation(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let out = node.outputs[0];
        let format = self.format(out);
        let mut q = self.cells(x)?;
        let shape = q.shape();
        let rank = shape.len();
        let (outer, center, eps, axes): (usize, bool, f32, Vec<usize>) = match node.op {
            Op::LayerNormalization { axis, eps } => (axis, true, eps, (axis..rank).collect()),
            Op::RmsNormalization { axis, eps } => (axis, false, eps, (axis..rank).collect()),
            Op::InstanceNormalization { eps } => (2, true, eps, vec![1]),
            Op::GroupNormalization { groups, eps } => {
                let split = [&shape[..1], &[groups, shape[1] / groups], &shape[2..]].concat();
                q = self.reshaped(&node.name, q, &split)?;
                (2, true, eps, vec![1, 2])
            }
            _ => return unsupported("not a normalisation"),
        };
        let sizes = q.shape();
        let affine = |this: &Self, i: usize| -> Result<Option<Affine>, LowerError> {
            let Some(id) = node.inputs.get(i).copied().flatten() else {
                return Ok(None);
            };
            let Some(c) = this.constant(id) else {
                return unsupported("scale and bias must be constants");
            };
            // Neutral ones that are no weights are left out; those of the model stay private.
            let neutral = if i == 1 { 1.0 } else { 0.0 };
            if !c.weights && c.tensor.to_f32_vec().iter().all(|v| *v == neutral) {
                return Ok(None);
            }
            // Parameters of layer norms may leave out or broadcast leading axes.
            let want: Vec<usize> = axes.iter().map(|&a| sizes[a]).collect();
            let n: usize = want.iter().product();
            let values: Vec<f64> = c.tensor.to_f32_vec().into_iter().map(f64::from).collect();
            let values = match values.len() {
                k if k == n => values,
                k if k > 0 && n.is_multiple_of(k) => (0..n).map(|j| values[j % k]).collect(),
                k => return unsupported(format!("{k} parameters for {n} elements")),
            };
            Ok(Some(Affine { name: c.name, values, axes: axes.clone() }))
        };
        let norm = Norm { outer, center, mean: true, eps: f64::from(eps), gamma: affine(self, 1)?, beta: affine(self, 2)? };
        let y = blocks::normalise(&mut self.ctx, &node.name, &q, &norm, format)?;
        let y = self.reshaped(&node.name, y, &shape)?;
        self.set_cells(out, y)
    }
}
