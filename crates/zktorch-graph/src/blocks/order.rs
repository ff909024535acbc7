//! The first elements of a row in order.

use super::cells::{ceil_log2, letters, signed_bits};
use super::compare::non_negative;
use super::{BlockError, Comparison, Lowering, bounded, compare, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::Axis;

/// The `k` largest (or smallest) elements along the last axis of `x`, in order, of equal ones the first one first, and their indices at
/// scale 0. Both have the axes of `x`, the last one with `k` elements.
///
/// Element `i` comes after `r_i = Σ_j [±(x_j - x_i)·2^b + i - j - 1 ≥ 0]` others, `2^b ≥ n`: the numbers `2^b·(±x_i) - i` all differ, so that `r` is
/// a permutation. With `H_{i,t} = [r_i = t]`, element `t` of the result is `Σ_i H_{i,t}·x_i`, and its index `Σ_i H_{i,t}·i`. A row of `n` elements costs
/// `n²` comparisons with zero, of any width, and `n·k` equalities.
pub(crate) fn top_k(ctx: &mut Lowering, node: &str, x: &QTensor, k: usize, largest: bool) -> Result<(QTensor, QTensor), BlockError> {
    let shape = x.shape();
    let Some(outer) = shape.len().checked_sub(1).filter(|&d| k > 0 && k <= shape[d] && shape[d] < 1 << 15) else {
        let got = [&shape[..], &[k]].concat();
        return Err(BlockError::Shape { node: node.to_string(), what: "an axis of k or more elements", expected: vec![k], got });
    };
    let n = shape[outer];
    let bits = ceil_log2(n).max(1);
    let numbers = ctx.builder.constant(&format!("{node}.numbers"), &[n], (0..n as i64).collect());
    let numbers = QTensor { view: numbers, scale: 0, lo: 0, hi: n as i64 - 1 };
    let rows = letters(outer);
    // Letters of element i, of element j, and of both.
    let (this, other) = (outer as u8, outer as u8 + 1);
    let [own, others] = [this, other].map(|l| [&rows[..], &[l]].concat());
    let sign = if largest { 1i128 } else { -1 } << bits;
    let mut before = Accumulator::zero(&[&shape[..], &[n]].concat(), 0);
    before.push(sign, &[(x, &others)]);
    before.push(-sign, &[(x, &own)]);
    before.push(1, &[(&numbers, &[this])]);
    before.push(-1, &[(&numbers, &[other])]);
    before.add_constant(-1);
    let before = non_negative(ctx, node, &before)?;
    let both = letters(outer + 2);
    let count = Accumulator::contraction(1, &[&shape[..], &[n]].concat(), outer + 1, &[(&before, &both)]);
    let view = ctx.builder.assign(node, &count.sizes, count.outputs, count.terms, 0, n as i64);
    let mut rank = QTensor { view, scale: 0, lo: 0, hi: n as i64 };
    rank.view.axes.push(Axis { size: 1, stride: 0 });
    let places = QTensor { view: numbers.view.slice(0, 0, k, 1), hi: k as i64 - 1, ..numbers.clone() };
    let hits = compare(ctx, node, Comparison::Equal, &rank, &places)?;
    // The results run over rows and places and sum over elements.
    let sizes = [&shape[..outer], &[k, n]].concat();
    let (place, element) = (outer as u8, outer as u8 + 1);
    let [of_hits, of_x] = [&[element, place][..], &[element]].map(|l| [&rows[..], l].concat());
    let values = Accumulator::contraction(1, &sizes, outer + 1, &[(&hits, &of_hits), (x, &of_x)]);
    let values = requantize(ctx, node, &values, Format { scale: x.scale, bits: signed_bits(x.lo.into(), x.hi.into()) })?;
    let indices = Accumulator::contraction(1, &sizes, outer + 1, &[(&hits, &of_hits), (&numbers, &[element])]);
    let indices = bounded(ctx, node, &indices, bits)?;
    Ok((values, indices))
}
