//! Matrix products, einsums and sums: everything that stays an accumulator.

use super::{Const, Lower, LowerError, Value, Weights, unsupported};
use crate::blocks::broadcast_to;
use crate::{Accumulator, QTensor};
use zktorch_float::{Node, ValueId};

/// The accumulator with axes of size 1 added or removed, if that is all that distinguishes its shape from `shape`.
pub(super) fn squeeze_letters(acc: &Accumulator, shape: &[usize]) -> Option<Accumulator> {
    let from: Vec<usize> = (0..acc.outputs).filter(|&d| acc.sizes[d] != 1).collect();
    let to: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
    let same = from.len() == to.len() && from.iter().zip(&to).all(|(&f, &t)| acc.sizes[f] == shape[t]);
    if !same {
        return None;
    }
    let mut map = vec![None; acc.sizes.len()];
    for (f, t) in from.iter().zip(&to) {
        map[*f] = Some(*t as u8);
    }
    Some(remapped(acc, &map, shape))
}

/// Gives output letter `l` the new name `map[l]` (axes of letters without a new name are dropped: they must have size 1) and appends the
/// contraction letters behind the new shape.
fn remapped(acc: &Accumulator, map: &[Option<u8>], shape: &[usize]) -> Accumulator {
    let mut sizes = shape.to_vec();
    sizes.extend_from_slice(&acc.sizes[acc.outputs..]);
    let mut out = acc.clone();
    for term in &mut out.terms {
        for factor in &mut term.factors {
            let mut letters = Vec::with_capacity(factor.letters.len());
            let mut axes = Vec::with_capacity(factor.letters.len());
            for (&l, axis) in factor.letters.iter().zip(&factor.view.axes) {
                let new = if l as usize >= acc.outputs { Some((l as usize - acc.outputs + shape.len()) as u8) } else { map[l as usize] };
                if let Some(new) = new {
                    letters.push(new);
                    axes.push(*axis);
                }
            }
            factor.letters = letters;
            factor.view.axes = axes;
        }
    }
    out.sizes = sizes;
    out.outputs = shape.len();
    out
}

/// The accumulator broadcast to `shape` by the rules of ONNX.
pub(super) fn broadcast_acc(acc: Accumulator, shape: &[usize]) -> Accumulator {
    if acc.shape() == shape {
        return acc;
    }
    let shift = shape.len() - acc.outputs;
    let map: Vec<Option<u8>> =
        (0..acc.outputs).map(|l| (acc.sizes[l] == shape[l + shift] && acc.sizes[l] != 1).then_some((l + shift) as u8)).collect();
    remapped(&acc, &map, shape)
}

/// Permutes the axes of an accumulator: axis `i` of the result is axis `perm[i]`.
pub(super) fn permute_acc(acc: &Accumulator, perm: &[usize]) -> Accumulator {
    let mut map = vec![None; acc.outputs];
    for (new, &old) in perm.iter().enumerate() {
        map[old] = Some(new as u8);
    }
    let shape: Vec<usize> = perm.iter().map(|&p| acc.sizes[p]).collect();
    remapped(acc, &map, &shape)
}

/// `acc · c` for a real `c`: an odd integer factor of at most 14 bits and a change of scale. Powers of two are exact and free.
pub(super) fn times_real(acc: Accumulator, c: f64) -> Accumulator {
    let (mantissa, exponent) = odd_mantissa(c, 14);
    let mut acc = acc.times(mantissa);
    acc.scale += exponent;
    acc
}

/// `(m, e)` with `m·2^-e ≈ c`, `|m| < 2^bits`, `m` odd or 0.
fn odd_mantissa(c: f64, bits: i32) -> (i128, i32) {
    if c == 0.0 || !c.is_finite() {
        return (0, 0);
    }
    let mut e = bits - 1 - libm::floor(libm::log2(c.abs())) as i32;
    let mut m = libm::round(c * libm::exp2(f64::from(e))) as i128;
    while m != 0 && m % 2 == 0 {
        m /= 2;
        e -= 1;
    }
    (m, e)
}

/// Numbers the letters of a contraction and remembers their sizes.
struct Letters {
    sizes: Vec<usize>,
}

impl Letters {
    fn of(shape: &[usize]) -> Letters {
        Letters { sizes: shape.to_vec() }
    }
    fn contract(&mut self, size: usize) -> u8 {
        self.sizes.push(size);
        (self.sizes.len() - 1) as u8
    }
}

impl Lower<'_> {
    /// A factor of a product: a weight at a suitable scale, or cells. `other` is the scale of the other factor, `out` that of the result.
    pub(super) fn factor(&mut self, id: ValueId, other: Option<i32>, out: i32) -> Result<QTensor, LowerError> {
        match self.constant(id) {
            Some(c) => self.weight_for(&c, other, out),
            None => self.cells(id),
        }
    }

    /// A weight whose scale lets the product be rescaled by at most `activation_bits` bits, if the weight keeps `weight_bits - 4` bits (and
    /// at least as many as activations have, less 2): a wider remainder costs another cell and lookup per element.
    pub(super) fn weight_for(&mut self, c: &Const, other: Option<i32>, out: i32) -> Result<QTensor, LowerError> {
        if c.tensor.dtype() != zktorch_float::DType::F32 {
            return self.constant_cells(c, Some(0));
        }
        let (weights, activations) = (self.options.weight_bits, self.options.activation_bits);
        let wanted = other.map_or(i32::MAX, |x| out + activations as i32 - x);
        let spare = weights.saturating_sub((weights - 4).min(activations - 2));
        self.weight(c, wanted, spare as i32)
    }

    /// Both factors of a product, constants after cells.
    pub(super) fn factors(&mut self, a: ValueId, b: ValueId, out: i32) -> Result<(QTensor, QTensor), LowerError> {
        if self.constant(a).is_some() {
            let qb = self.factor(b, None, out)?;
            let qa = self.factor(a, Some(qb.scale), out)?;
            return Ok((qa, qb));
        }
        let qa = self.factor(a, None, out)?;
        let qb = self.factor(b, Some(qa.scale), out)?;
        Ok((qa, qb))
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Result<(), LowerError> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let out = node.outputs[0];
        if let Some(Value::Weights(w)) = self.values[a.0].clone() {
            return self.weighted(node, &w, b);
        }
        let (mut qa, mut qb) = self.factors(a, b, self.rescaling_scale(out))?;
        if qa.view.axes.len() == 1 {
            qa.view = qa.view.broadcast_axis(0, 1);
        }
        if qb.view.axes.len() == 1 {
            qb.view = qb.view.broadcast_axis(1, 1);
        }
        let (sa, sb) = (qa.shape(), qb.shape());
        let (na, nb) = (sa.len() - 2, sb.len() - 2);
        let (rows, inner, cols) = (sa[na], sa[na + 1], sb[nb + 1]);
        let batch = crate::blocks::broadcast_shape(&node.name, &sa[..na], &sb[..nb])?;
        let mut shape = batch.clone();
        let over = |tail: [usize; 2]| [&batch[..], &tail[..]].concat();
        let qa = broadcast_to(&node.name, &qa, &over([rows, inner]))?;
        let qb = broadcast_to(&node.name, &qb, &over([inner, cols]))?;
        shape.extend([rows, cols]);
        let n = batch.len() as u8;
        let mut letters = Letters::of(&shape);
        let k = letters.contract(inner);
        let common: Vec<u8> = (0..n).collect();
        let la = [&common[..], &[n, k]].concat();
        let lb = [&common[..], &[k, n + 1]].concat();
        let acc = Accumulator::contraction(1, &letters.sizes, shape.len(), &[(&qa, &la[..]), (&qb, &lb[..])]);
        self.set_acc(node, out, acc)
    }

    /// A softmax times values: `Σ_j each[…, s, j]·b[…, j, d]`, with a mask over some axes or with a factor per row `[…, s]`.
    fn weighted(&mut self, node: &Node, weights: &Weights, b: ValueId) -> Result<(), LowerError> {
        let out = node.outputs[0];
        let values = self.cells(b)?;
        let mut shape = self.shape(out).to_vec();
        let outputs = shape.len();
        let batch = shape[..outputs - 2].to_vec();
        let (rows, cols) = (shape[outputs - 2], shape[outputs - 1]);
        let inner = values.shape()[values.view.axes.len() - 2];
        let over = |tail: &[usize]| [&batch[..], tail].concat();
        let values = broadcast_to(&node.name, &values, &over(&[inner, cols]))?;
        shape.push(inner);
        let n = batch.len() as u8;
        let common: Vec<u8> = (0..n).collect();
        let (s, d, j) = (n, n + 1, n + 2);
        let letters = |tail: &[u8]| [&common[..], tail].concat();
        // Scores may have fewer leading axes than the result.
        let (each, own) = match weights {
            Weights::Shifted(w) => (&w.each, w.each.view.axes.len()),
            Weights::Divided(w) => (&w.each, w.each.view.axes.len()),
        };
        let each = broadcast_to(&node.name, each, &over(&[rows, inner]))?;
        let mut factors = vec![(each, letters(&[s, j]))];
        match weights {
            Weights::Shifted(w) => {
                if let Some((allowed, axes)) = &w.allowed {
                    let letter = |&axis: &usize| letters(&[s, j])[axis + outputs - own];
                    factors.push((allowed.clone(), axes.iter().map(letter).collect()));
                }
            }
            Weights::Divided(w) => factors.push((broadcast_to(&node.name, &w.factor, &over(&[rows]))?, letters(&[s]))),
        }
        factors.push((values, letters(&[j, d])));
        let factors: Vec<(&QTensor, &[u8])> = factors.iter().map(|(q, l)| (q, l.as_slice())).collect();
        let acc = Accumulator::contraction(1, &shape, outputs, &factors);
        self.set_acc(node, out, acc)
    }

    pub(super) fn einsum(&mut self, node: &Node, equation: &str) -> Result<(), LowerError> {
        let Some((left, right)) = equation.split_once("->") else {
            return unsupported(format!("equation '{equation}' without an output"));
        };
        let operands: Vec<&str> = left.split(',').collect();
        let out = node.outputs[0];
        let scale = self.rescaling_scale(out);
        let ids: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let tensors: Vec<QTensor> = match ids[..] {
            [a] => vec![self.cells(a)?],
            [a, b] => {
                let (a, b) = self.factors(a, b, scale)?;
                vec![a, b]
            }
            _ => return unsupported(format!("einsum of {} operands, at most 2", ids.len())),
        };
        let mut names: Vec<char> = right.chars().collect();
        let mut sizes = self.shape(out).to_vec();
        let mut factors: Vec<(QTensor, Vec<u8>)> = Vec::new();
        for (q, text) in tensors.into_iter().zip(&operands) {
            let mut letters: Vec<u8> = Vec::new();
            let mut axes: Vec<zktorch_program::Axis> = Vec::new();
            for (c, axis) in text.chars().zip(&q.view.axes) {
                let l = names.iter().position(|&n| n == c).unwrap_or_else(|| {
                    names.push(c);
                    sizes.push(axis.size);
                    names.len() - 1
                });
                match letters.iter().position(|&o| o == l as u8) {
                    // A letter that occurs twice walks along the diagonal.
                    Some(same) => axes[same].stride += axis.stride,
                    None => {
                        letters.push(l as u8);
                        axes.push(*axis);
                    }
                }
            }
            let view = zktorch_program::View { axes, ..q.view.clone() };
            factors.push((QTensor { view, ..q }, letters));
        }
        let factors: Vec<(&QTensor, &[u8])> = factors.iter().map(|(q, l)| (q, l.as_slice())).collect();
        let outputs = self.shape(out).len();
        let acc = Accumulator::contraction(1, &sizes, outputs, &factors);
        self.set_acc(node, out, acc)
    }

    /// Sum or mean over `axes`.
    pub(super) fn reduce_sum(&mut self, node: &Node, axes: &[usize], mean: bool) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let acc = self.accumulator(x, self.format(x).scale)?;
        let count: usize = axes.iter().map(|&a| acc.sizes[a]).product();
        let mut acc = contracted(&acc, axes);
        if mean {
            acc = times_real(acc, 1.0 / count as f64);
        }
        self.set_acc(node, node.outputs[0], acc)
    }
}

/// Sums an accumulator over some of its axes, which disappear.
pub(super) fn contracted(acc: &Accumulator, axes: &[usize]) -> Accumulator {
    let kept: Vec<usize> = (0..acc.outputs).filter(|d| !axes.contains(d)).collect();
    let mut sizes: Vec<usize> = kept.iter().map(|&d| acc.sizes[d]).collect();
    let outputs = sizes.len();
    let mut map = vec![0u8; acc.sizes.len()];
    for (new, &old) in kept.iter().enumerate() {
        map[old] = new as u8;
    }
    for &a in axes {
        map[a] = sizes.len() as u8;
        sizes.push(acc.sizes[a]);
    }
    for (new, &size) in map[acc.outputs..].iter_mut().zip(&acc.sizes[acc.outputs..]) {
        *new = sizes.len() as u8;
        sizes.push(size);
    }
    let mut out = acc.clone();
    for term in &mut out.terms {
        for &a in axes {
            // A term that does not depend on a summed axis is counted once per index.
            if !term.factors.iter().any(|f| f.letters.contains(&(a as u8))) {
                term.coeff *= acc.sizes[a] as i128;
            }
        }
        for factor in &mut term.factors {
            for l in &mut factor.letters {
                *l = map[*l as usize];
            }
        }
    }
    let count: usize = axes.iter().map(|&a| acc.sizes[a]).product();
    out.lo = acc.lo.saturating_mul(count as i128);
    out.hi = acc.hi.saturating_mul(count as i128);
    out.sizes = sizes;
    out.outputs = outputs;
    out
}
