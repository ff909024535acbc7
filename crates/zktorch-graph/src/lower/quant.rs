//! Operators on quantised integers: exact, except where floats that the program has computed itself are quantised.

use super::linear::times_real;
use super::{Const, Lower, LowerError, unsupported};
use crate::blocks;
use crate::{Accumulator, Format, QTensor};
use zktorch_float::{Node, Op, Tensor, ValueId};
use zktorch_program::{Part, View};

/// Most fractional bits of a factor.
const MAX_EXPONENT: u32 = 60;
/// Bits of the rounded product before it is saturated.
const HIGH: Format = Format { scale: 0, bits: 16 };

/// `(m, e)` with `v = m·2^-e`, `m` odd or 0 and `e ≥ 0`: every finite float of at most 40 bits before the point.
fn exact(v: f32) -> Option<(i64, u32)> {
    let v = f64::from(v);
    if v == 0.0 {
        return Some((0, 0));
    }
    let mut e = 0;
    let mut m = v;
    while m != libm::trunc(m) {
        m *= 2.0;
        e += 1;
        if e > MAX_EXPONENT {
            return None;
        }
    }
    (m.abs() < libm::exp2(40.0)).then_some((m as i64, e))
}

/// Factors `m·2^-e` with a common exponent.
struct Factors {
    values: Vec<i64>,
    exponent: u32,
    /// The smallest exponent of one factor by itself that rounds at all.
    least: u32,
}

fn factors(values: &[f32]) -> Option<Factors> {
    let each: Vec<(i64, u32)> = values.iter().map(|&v| exact(v)).collect::<Option<_>>()?;
    let exponent = each.iter().map(|f| f.1).max()?;
    let least = each.iter().map(|f| f.1).filter(|&e| e > 0).min().unwrap_or(0);
    let common = |&(m, e): &(i64, u32)| i64::try_from(i128::from(m) << (exponent - e)).ok().filter(|m| m.abs() < 1 << 45);
    Some(Factors { values: each.iter().map(common).collect::<Option<_>>()?, exponent, least })
}

impl Lower<'_> {
    /// The constant operand `i`.
    fn parameter(&self, node: &Node, i: usize, what: &str) -> Result<Const, LowerError> {
        let id = self.operand(node, i)?;
        match self.constant(id) {
            Some(c) => Ok(c),
            None => unsupported(format!("{what} that depends on the input")),
        }
    }

    /// The one zero point.
    fn zero_point(&self, node: &Node) -> Result<i64, LowerError> {
        if node.inputs.get(2).copied().flatten().is_none() {
            return Ok(0);
        }
        match self.parameter(node, 2, "a zero point")?.tensor.as_i64()? {
            [z] => Ok(*z),
            z => match z.first() {
                Some(first) if z.iter().all(|v| v == first) => Ok(*first),
                _ => unsupported("different zero points per channel"),
            },
        }
    }

    /// An integer accumulator, not rescaled.
    fn integers(&mut self, id: ValueId) -> Result<Accumulator, LowerError> {
        let acc = self.accumulator(id, 0)?;
        if acc.scale == 0 { Ok(acc) } else { unsupported(format!("integers at scale 2^-{}", acc.scale)) }
    }

    /// The accumulator times one factor, or one per index of `axis`; its integers become cells in that case.
    fn times_factors(&mut self, node: &Node, acc: Accumulator, c: &Const, f: &Factors, axis: usize) -> Result<Accumulator, LowerError> {
        let first = f.values.first().copied().unwrap_or(0);
        let mut product = if f.values.iter().all(|v| *v == first) {
            if c.weights {
                self.warnings.push(format!("node '{}': the factor '{}' is part of the circuit, not private", node.name, c.name));
            }
            acc.times(i128::from(first))
        } else {
            let q = match acc.as_tensor() {
                Some(q) => q,
                None => {
                    let (Ok(lo), Ok(hi)) = (i64::try_from(acc.lo), i64::try_from(acc.hi)) else {
                        return unsupported("sums of 64 bits and more");
                    };
                    let view = self.ctx.builder.assign(&node.name, &acc.sizes, acc.outputs, acc.terms, lo, hi);
                    QTensor { view, scale: 0, lo, hi }
                }
            };
            let mut wide = vec![1; q.shape().len()];
            match wide.get_mut(axis) {
                Some(w) => *w = f.values.len(),
                None => return unsupported(format!("factors for axis {axis}")),
            }
            let tensor = Tensor::i64(wide, f.values.clone())?.into();
            let constant = Const { name: c.name.clone(), tensor, weights: c.weights };
            let factors = self.constant_cells(&constant, Some(0))?;
            Accumulator::product(&node.name, &q, &factors)?
        };
        product.scale = f.exponent as i32;
        Ok(product)
    }

    /// Rounds a float as the program knows it: the integers of the model exactly for numbers that the prover is given (the graph's
    /// inputs, moved at most). Any other float has a rounding of its own, and is quantised with a warning: an integer may differ by 1.
    pub(super) fn quantize(&mut self, node: &Node, low: i64, high: i64) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let scale = match self.parameter(node, 1, "a scale")?.tensor.as_f32()? {
            [s] => *s,
            _ => return unsupported("one scale per channel for an activation"),
        };
        let zero = self.zero_point(node)?;
        if !self.is_given(x) {
            let unit = libm::exp2(-f64::from(self.format(x).scale));
            let most = libm::floor(0.5 * unit / f64::from(scale)) + 1.0;
            self.warnings.push(format!(
                "node '{}': it quantises a computed float, whose rounding moves integers by up to {most}, so that they may differ from those of \
                 another runtime; inputs, and operators between quantised tensors (Conv, MatMul, Gemm, MaxPool, with a Relu behind them, and \
                 movements), are exact",
                node.name
            ));
        }
        let f = move |v: f64| {
            let rounded = f64::from(v as f32 / scale).round_ties_even();
            (rounded + zero as f64).clamp(low as f64, high as f64)
        };
        self.saturated(node, x, &f, &format!("quantise by {scale:e} + {zero} in {low}..={high}"))
    }

    /// Bytes, scale and zero point of [`blocks::dynamic_quantize`].
    pub(super) fn dynamic_quantize(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let made = blocks::dynamic_quantize(&mut self.ctx, &node.name, &q)?;
        let &[y, scale, zero] = &node.outputs[..] else {
            return unsupported(format!("{} results of a quantisation instead of 3", node.outputs.len()));
        };
        self.set_cells(y, made.y)?;
        let point = self.reshaped(&node.name, made.zero, &[])?;
        self.set_cells(zero, point)?;
        self.set_acc(node, scale, times_real(Accumulator::of(&made.span), 1.0 / 255.0))
    }

    /// Whether a tensor is an input, possibly moved.
    pub(super) fn is_given(&self, id: ValueId) -> bool {
        let mut id = id;
        loop {
            if self.graph.inputs.contains(&id) {
                return true;
            }
            let Some(node) = self.graph.nodes.iter().find(|n| n.outputs.contains(&id)) else { return false };
            match (&node.op, node.inputs.first()) {
                (Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Expand { .. }, Some(&Some(x))) => id = x,
                _ => return false,
            }
        }
    }

    /// A table on given numbers.
    fn saturated(&mut self, node: &Node, x: ValueId, f: &dyn Fn(f64) -> f64, name: &str) -> Result<(), LowerError> {
        let out = node.outputs[0];
        let q = self.cells(x)?;
        let input = Format { scale: q.scale, bits: 16 };
        let y = blocks::unary(&mut self.ctx, &node.name, &Accumulator::of(&q), input, f, name, Format { scale: 0, bits: 18 })?;
        let shape = self.shape(out).to_vec();
        let y = self.reshaped(&node.name, y, &shape)?;
        self.set_cells(out, y)
    }

    pub(super) fn dequantize(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let zero = self.zero_point(node)?;
        let c = self.parameter(node, 1, "a scale")?;
        let Some(f) = factors(c.tensor.as_f32()?) else {
            return unsupported("a scale below 2^-36 or scales of very different magnitude");
        };
        let mut acc = self.integers(x)?;
        acc.add_constant(-i128::from(zero));
        let acc = self.times_factors(node, acc, &c, &f, axis)?;
        self.set_acc(node, node.outputs[0], acc)
    }

    /// `saturate(round(acc·M) + zero)` with `M = m·2^-e` exactly and halves to even.
    ///
    /// A product is half way between two integers only if `2^(e-1)` divides the sum; if the sum's bound excludes that, rounding halves up
    /// is the same. Otherwise, for `e ≤ 15`, `acc·m = 2^(e+1)·h + l` and a table of `l` knows which way to round, `2h` being even; for larger
    /// `e`, `acc·m + 2^(e-1) = 2^e·(2h + p) + r`, and an odd result with `r = 0` was half way: it goes down by 1.
    pub(super) fn requantize(&mut self, node: &Node, axis: usize, low: i64, high: i64) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let out = node.outputs[0];
        let zero = self.zero_point(node)?;
        let c = self.parameter(node, 1, "a factor")?;
        let Some(f) = factors(c.tensor.as_f32()?) else {
            return unsupported("a factor below 2^-36 or factors of very different magnitude");
        };
        let acc = self.integers(x)?;
        let bound = acc.lo.unsigned_abs().max(acc.hi.unsigned_abs());
        let halves = f.least > 0 && bound >= 1 << (f.least - 1);
        let mut acc = self.times_factors(node, acc, &c, &f, axis)?;
        if halves {
            acc = match f.exponent {
                ..=15 => self.rounded_to_even(node, &acc, f.exponent),
                e => self.rounded_to_even_in_limbs(node, &acc, e)?,
            };
        }
        let g = move |v: f64| (v + zero as f64).clamp(low as f64, high as f64);
        let name = format!("+ {zero} in {low}..={high}");
        let y = blocks::unary(&mut self.ctx, &node.name, &acc, HIGH, &g, &name, Format { scale: 0, bits: 18 })?;
        let shape = self.shape(out).to_vec();
        let y = self.reshaped(&node.name, y, &shape)?;
        self.set_cells(out, y)
    }

    /// `round(acc / 2^e)`, halves to even, as `2h + t`: `acc = 2^(e+1)·h + l` with `(l, t)` in a table.
    fn rounded_to_even(&mut self, node: &Node, acc: &Accumulator, e: u32) -> Accumulator {
        let unit = libm::exp2(f64::from(e));
        let column = (0..1u32 << (e + 1)).map(|l| (f64::from(l) / unit).round_ties_even() as i64).collect();
        let table = self.ctx.builder.function_table(&format!("round to even of 2^-{e}"), 0, vec![column]);
        let mut views: Vec<View> = self.ctx.builder.column_cells(table, acc.shape());
        let turn = views.swap_remove(1);
        let low = views.swap_remove(0);
        let range = self.ctx.builder.range_table(-(1 << 14), 15);
        let high = self.ctx.builder.column_cells(range, acc.shape()).swap_remove(0);
        let parts = [Part { weight: 1i128 << (e + 1), lo: -(1 << 14), bits: 15 }, Part { weight: 1, lo: 0, bits: e + 1 }];
        let digits = [high.clone(), low.clone()];
        self.ctx.builder.decompose_into(&node.name, &acc.sizes, acc.outputs, acc.terms.clone(), &parts, &digits);
        self.ctx.builder.apply(&node.name, table, &[low, turn.clone()]);
        let high = QTensor { view: high, scale: 0, lo: -(1 << 14), hi: (1 << 14) - 1 };
        let turn = QTensor { view: turn, scale: 0, lo: 0, hi: 2 };
        Accumulator::of(&high).times(2).plus(1, Accumulator::of(&turn))
    }

    /// `round(acc / 2^e)`, halves to even, as `2h + p - p·[r = 0]` where `acc + 2^(e-1) = 2^(e+1)·h + 2^e·p + r` with `p ∈ {0, 1}` and
    /// `r ∈ [0, 2^e)` in limbs.
    fn rounded_to_even_in_limbs(&mut self, node: &Node, acc: &Accumulator, e: u32) -> Result<Accumulator, LowerError> {
        let mut lifted = acc.clone();
        lifted.add_constant(1i128 << (e - 1));
        let mut parts = vec![Part { weight: 1i128 << (e + 1), lo: -(1 << 14), bits: 15 }, Part { weight: 1i128 << e, lo: 0, bits: 1 }];
        parts.extend(self.ctx.limbs(e));
        let views = self.ctx.builder.decompose(&node.name, &lifted.sizes, lifted.outputs, lifted.terms, &parts);
        let shape = acc.shape().to_vec();
        let letters: Vec<u8> = (0..shape.len() as u8).collect();
        let digits: Vec<QTensor> =
            views.into_iter().zip(&parts).map(|(view, p)| QTensor { view, scale: 0, lo: p.lo, hi: p.lo + (1i64 << p.bits) - 1 }).collect();
        let mut rest = Accumulator::zero(&shape, 0);
        for (digit, part) in digits.iter().zip(&parts).skip(2) {
            rest.push(-part.weight, &[(digit, &letters)]);
        }
        let exact = blocks::non_negative(&mut self.ctx, &node.name, &rest)?;
        let mut rounded = Accumulator::zero(&shape, 0);
        rounded.push(2, &[(&digits[0], &letters)]);
        rounded.push(1, &[(&digits[1], &letters)]);
        rounded.push(-1, &[(&digits[1], &letters), (&exact, &letters)]);
        Ok(rounded)
    }
}
