//! Elementwise operators.

use super::linear::{broadcast_acc, times_real};
use super::{Const, Lower, LowerError, Value, unsupported};
use crate::blocks::{self, Comparison, Towards};
use crate::{Accumulator, Format, QTensor};
use std::sync::Arc;
use zktorch_float::{BinaryFn, DType, Data, Node, Op, Tensor, UnaryFn, ValueId, eval_op};

/// Most letters of a sum of two accumulators; a program admits 32.
const MOST_LETTERS: usize = 24;

/// The value of all elements of a constant, if they are equal.
fn uniform(c: &Const) -> Option<f64> {
    let values = c.tensor.to_f32_vec();
    let first = *values.first()?;
    values.iter().all(|v| *v == first).then_some(f64::from(first))
}

/// Whether every term has at most one factor and no contraction: a product with another tensor stays a product of two.
fn is_linear(acc: &Accumulator) -> bool {
    acc.terms.iter().all(|t| t.factors.len() <= 1 && t.factors.iter().all(|f| f.letters.iter().all(|&l| (l as usize) < acc.outputs)))
}

/// `acc · q` elementwise, both of the accumulator's shape.
fn times_tensor(acc: &Accumulator, q: &QTensor) -> Accumulator {
    let letters: Vec<u8> = (0..acc.outputs as u8).collect();
    let factor = Accumulator::of(q).terms.swap_remove(0).factors.swap_remove(0);
    let mut out = acc.clone();
    for t in &mut out.terms {
        t.factors.push(zktorch_program::Factor { view: factor.view.clone(), letters: letters.clone() });
    }
    let (lo, hi) = (i128::from(q.lo), i128::from(q.hi));
    let corners = [acc.lo.saturating_mul(lo), acc.lo.saturating_mul(hi), acc.hi.saturating_mul(lo), acc.hi.saturating_mul(hi)];
    out.lo = corners.into_iter().fold(i128::MAX, i128::min);
    out.hi = corners.into_iter().fold(i128::MIN, i128::max);
    out.scale += q.scale;
    out
}

/// Powers of two and small powers of integers such as `1/√d`, which come from the architecture and not from training.
fn is_structural(v: f64) -> bool {
    let whole = |x: f64| x < 1e6 && (x - libm::round(x)).abs() <= 1e-5 * x;
    let v = v.abs();
    v == 0.0
        || libm::frexp(v).0 == 0.5
        || [1.0, -1.0, 2.0, -2.0, 4.0, -4.0].iter().any(|&e| libm::pow(v, e) >= 0.5 && whole(libm::pow(v, e)))
}

impl Lower<'_> {
    pub(super) fn sum(&mut self, node: &Node, sign: i128) -> Result<(), LowerError> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let out = node.outputs[0];
        let shape = self.shape(out).to_vec();
        let scale = self.format(out).scale;
        // The constant, if any, comes last, so that it is rounded at the scale of the rest.
        let swap = self.constant(a).is_some();
        let (first, second) = if swap { (b, a) } else { (a, b) };
        let letters = |this: &Self, id: ValueId| match &this.values[id.0] {
            Some(Value::Acc(p)) => p.acc.sizes.len(),
            _ => 0,
        };
        if letters(self, first) + letters(self, second) > MOST_LETTERS {
            // A long sum of products: its part so far becomes cells.
            self.cells(first)?;
        }
        let mut x = self.accumulator(first, scale)?;
        let y = match self.constant(second) {
            Some(c) if c.tensor.dtype() == DType::F32 => {
                if x.scale < scale {
                    x = x.rescaled(scale);
                }
                match uniform(&c).filter(|_| !c.weights) {
                    Some(v) => {
                        let mut y = Accumulator::zero(&shape, x.scale);
                        y.add_constant(libm::floor(v * libm::exp2(f64::from(x.scale)) + 0.5) as i128);
                        y
                    }
                    None => self.accumulator(second, x.scale)?,
                }
            }
            _ => self.accumulator(second, x.scale)?,
        };
        let x = broadcast_acc(x, &shape);
        let y = broadcast_acc(y, &shape);
        let acc = if swap && sign < 0 { y.plus(-1, x) } else { x.plus(sign, y) };
        self.set_acc(node, out, acc)
    }

    pub(super) fn product(&mut self, node: &Node) -> Result<(), LowerError> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let out = node.outputs[0];
        let shape = self.shape(out).to_vec();
        for (x, c) in [(a, b), (b, a)] {
            let Some(c) = self.constant(c) else { continue };
            // A single factor that scales a whole tensor belongs to the architecture (1/√d and the like).
            if let Some(v) = uniform(&c).filter(|_| !c.weights || c.tensor.len() == 1) {
                let acc = self.accumulator(x, self.format(x).scale)?;
                let acc = broadcast_acc(acc, &shape);
                if c.weights && !is_structural(v) {
                    self.warnings
                        .push(format!("node '{}': the scalar factor {v} ('{}') is part of the circuit, not private", node.name, c.name));
                }
                return self.set_acc(node, out, times_real(acc, v));
            }
        }
        if self.constant(a).is_none() && self.constant(b).is_none() && a != b {
            // A difference times a tensor needs no cells of its own.
            for (x, y) in [(a, b), (b, a)] {
                let linear = matches!(&self.values[x.0], Some(Value::Acc(p)) if is_linear(&p.acc) && p.acc.terms.len() <= 3);
                if linear {
                    let q = self.cells(y)?;
                    let acc = broadcast_acc(self.accumulator(x, 0)?, &shape);
                    let q = blocks::broadcast_to(&node.name, &q, &shape)?;
                    return self.set_acc(node, out, times_tensor(&acc, &q));
                }
            }
        }
        let (qa, qb) = self.factors(a, b, self.rescaling_scale(out))?;
        let acc = Accumulator::product(&node.name, &qa, &qb)?;
        self.set_acc(node, out, acc)
    }

    pub(super) fn unary(&mut self, node: &Node, f: UnaryFn) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let out = node.outputs[0];
        match f {
            UnaryFn::Not => {
                let q = self.cells(x)?;
                let q = blocks::logical_not(&mut self.ctx, &node.name, &q)?;
                return self.set_cells(out, q);
            }
            UnaryFn::IsNaN | UnaryFn::IsInf { .. } => {
                // Values of a program are finite integers.
                let tensor = Tensor::bool(self.shape(out).to_vec(), vec![false; self.shape(out).iter().product()])?;
                self.values[out.0] = Some(Value::Const(Const { name: node.name.clone(), tensor: tensor.into(), weights: false }));
                return Ok(());
            }
            UnaryFn::Sqrt => {
                if matches!(self.values[x.0], Some(Value::Acc(_))) {
                    let acc = self.accumulator(x, 0)?;
                    let format = self.format(out);
                    let q = blocks::sqrt(&mut self.ctx, &node.name, &acc, format)?;
                    let shape = self.shape(out).to_vec();
                    let q = self.reshaped(&node.name, q, &shape)?;
                    return self.set_cells(out, q);
                }
            }
            _ => {}
        }
        if f == UnaryFn::Relu && self.relu(node, x, out, "Relu")? {
            return Ok(());
        }
        let name = format!("{f:?}");
        let input = self.argument_format(x)?;
        let values = self.function_values(f, input)?;
        let unit = libm::exp2(f64::from(input.scale));
        let real = move |v: f64| -> f64 {
            let h = libm::floor(v * unit + 0.5) as i64 - input.lo();
            usize::try_from(h).ok().and_then(|h| values.get(h)).map_or(f64::NAN, |y| f64::from(*y))
        };
        self.table(node, x, out, &real, &name)
    }

    /// The function at all arguments of a format of at most 16 bits.
    fn function_values(&mut self, f: UnaryFn, input: Format) -> Result<Arc<Vec<f32>>, LowerError> {
        let key = (format!("{f:?}"), input.scale, input.bits);
        if let Some(values) = self.functions.get(&key) {
            return Ok(values.clone());
        }
        let unit = libm::exp2(f64::from(-input.scale));
        let arguments = (input.lo()..=input.hi()).map(|h| (h as f64 * unit) as f32).collect();
        let arguments = Tensor::f32(vec![1 << input.bits], arguments)?;
        let results = eval_op(&Op::Unary(f), &[Some(&arguments)])?;
        let values = Arc::new(results.first().map(Tensor::to_f32_vec).unwrap_or_default());
        self.functions.insert(key, values.clone());
        Ok(values)
    }

    /// Format of the argument of a table on `x`.
    pub(super) fn argument_format(&mut self, x: ValueId) -> Result<Format, LowerError> {
        let mut input = self.format(x);
        if !matches!(self.values[x.0], Some(Value::Acc(_))) {
            input.scale = self.cells(x)?.scale;
        }
        input.bits = input.bits.min(16);
        Ok(input)
    }

    /// What a function of `x` is applied to: an accumulator that waits for its rescaling, or cells.
    fn argument(&mut self, x: ValueId, scale: i32) -> Result<Accumulator, LowerError> {
        Ok(match self.values[x.0].clone() {
            Some(Value::Acc(p)) => self.with_common_remainder(p.acc, scale),
            _ => Accumulator::of(&self.cells(x)?),
        })
    }

    /// Format of a function table's values.
    fn result_format(&self, out: ValueId) -> Format {
        match self.graph.value(out).dtype {
            DType::F32 => self.format(out),
            // Integers have 32 bits, however small their argument is.
            _ => Format { scale: 0, bits: 32 },
        }
    }

    /// `max(x, 0)` without a table, if its table, of which `name` is the function's name, would be used too rarely.
    fn relu(&mut self, node: &Node, x: ValueId, out: ValueId, name: &str) -> Result<bool, LowerError> {
        let input = self.argument_format(x)?;
        if self.graph.value(out).dtype != DType::F32 || !self.ctx.tables.avoids(&blocks::label(name, input, self.format(out))) {
            return Ok(false);
        }
        let acc = self.argument(x, input.scale)?;
        let q = blocks::relu(&mut self.ctx, &node.name, &acc, input)?;
        let shape = self.shape(out).to_vec();
        let q = self.reshaped(&node.name, q, &shape)?;
        self.set_cells(out, q)?;
        Ok(true)
    }

    /// A function table on `x`, sharing its rescaling if it is an accumulator.
    pub(super) fn table(&mut self, node: &Node, x: ValueId, out: ValueId, f: &dyn Fn(f64) -> f64, name: &str) -> Result<(), LowerError> {
        let input = self.argument_format(x)?;
        let acc = self.argument(x, input.scale)?;
        let format = self.result_format(out);
        let shape = self.shape(out).to_vec();
        let margin = self.margin(out).filter(|m| acc.shape().ends_with(&shape[shape.len() - m.pads.len()..]));
        let q = self.ctx.surrounding(margin, |ctx| blocks::unary(ctx, &node.name, &acc, input, f, name, format))?;
        let q = self.reshaped(&node.name, q, &shape)?;
        self.set_cells(out, q)
    }

    pub(super) fn binary(&mut self, node: &Node, f: BinaryFn) -> Result<(), LowerError> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let out = node.outputs[0];
        let format = self.format(out);
        let name = &node.name;
        let compare = |this: &mut Self, which| -> Result<(), LowerError> {
            let (qa, qb) = (this.cells(a)?, this.cells(b)?);
            let q = blocks::compare(&mut this.ctx, name, which, &qa, &qb)?;
            this.set_cells(out, q)
        };
        match f {
            BinaryFn::Equal => compare(self, Comparison::Equal),
            BinaryFn::Less => compare(self, Comparison::Less),
            BinaryFn::LessOrEqual => compare(self, Comparison::LessOrEqual),
            BinaryFn::Greater => compare(self, Comparison::Greater),
            BinaryFn::GreaterOrEqual => compare(self, Comparison::GreaterOrEqual),
            BinaryFn::And | BinaryFn::Or | BinaryFn::Xor => {
                let (qa, qb) = (self.cells(a)?, self.cells(b)?);
                let ctx = &mut self.ctx;
                let q = match f {
                    BinaryFn::And => blocks::logical_and(ctx, name, &qa, &qb)?,
                    BinaryFn::Or => blocks::logical_or(ctx, name, &qa, &qb)?,
                    _ => blocks::logical_xor(ctx, name, &qa, &qb)?,
                };
                self.set_cells(out, q)
            }
            BinaryFn::Max | BinaryFn::Min => {
                // Against one number it is a table.
                for (x, c) in [(a, b), (b, a)] {
                    let bound = self.constant(c).filter(|c| !c.weights || c.tensor.len() == 1);
                    if let Some(bound) = bound.as_ref().and_then(uniform)
                        && self.shape(x) == self.shape(out)
                    {
                        let name = format!("max {bound}");
                        if f == BinaryFn::Max && bound == 0.0 && self.relu(node, x, out, &name)? {
                            return Ok(());
                        }
                        return if f == BinaryFn::Max {
                            self.table(node, x, out, &|v| v.max(bound), &name)
                        } else {
                            self.table(node, x, out, &|v| v.min(bound), &format!("min {bound}"))
                        };
                    }
                }
                let (qa, qb) = (self.cells(a)?, self.cells(b)?);
                let acc = if f == BinaryFn::Max {
                    blocks::max_of(&mut self.ctx, name, &qa, &qb)?
                } else {
                    blocks::min_of(&mut self.ctx, name, &qa, &qb)?
                };
                self.set_acc(node, out, acc)
            }
            BinaryFn::Div if self.graph.value(out).dtype == DType::F32 => {
                let (qa, qb) = (self.cells(a)?, self.cells(b)?);
                let q = blocks::divide(&mut self.ctx, name, &qa, &qb, format)?;
                self.set_cells(out, q)
            }
            BinaryFn::Pow => {
                let exponent = self.constant(b).as_ref().and_then(uniform);
                let base = self.constant(a).as_ref().and_then(uniform);
                match (exponent, base) {
                    (Some(e), _) if self.shape(a) == self.shape(out) => self.table(node, a, out, &|v| libm::pow(v, e), &format!("pow {e}")),
                    (_, Some(base)) if self.shape(b) == self.shape(out) => {
                        self.table(node, b, out, &|v| libm::pow(base, v), &format!("{base} pow"))
                    }
                    _ => unsupported("Pow of integers needs constant exponents, or one constant base"),
                }
            }
            BinaryFn::Mod | BinaryFn::FMod | BinaryFn::Div => {
                let divisor = self.constant(b).filter(|c| !c.weights || c.tensor.len() == 1).as_ref().and_then(uniform);
                let small = self.shape(a) == self.shape(out) && self.format(a).bits <= 16;
                match divisor {
                    Some(d) if d != 0.0 && small => {
                        let g = |v: f64| match f {
                            BinaryFn::Mod => v - d * libm::floor(v / d),
                            BinaryFn::FMod => libm::fmod(v, d),
                            _ => libm::trunc(v / d),
                        };
                        self.table(node, a, out, &g, &format!("{f:?} {d}"))
                    }
                    _ => self.integer_division(node, f),
                }
            }
            BinaryFn::BitAnd | BinaryFn::BitOr | BinaryFn::BitXor => {
                let (qa, qb) = (self.cells(a)?, self.cells(b)?);
                let which = match f {
                    BinaryFn::BitAnd => blocks::Bitwise::And,
                    BinaryFn::BitOr => blocks::Bitwise::Or,
                    _ => blocks::Bitwise::Xor,
                };
                let q = blocks::bitwise(&mut self.ctx, name, which, &qa, &qb)?;
                self.set_cells(out, q)
            }
            BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul | BinaryFn::PRelu => unsupported(format!("{f:?} in an unexpected form")),
        }
    }

    /// Quotient of integers or remainder of integers or floats, by a divisor that need not be known.
    fn integer_division(&mut self, node: &Node, f: BinaryFn) -> Result<(), LowerError> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let (mut qa, mut qb) = (self.cells(a)?, self.cells(b)?);
        let scale = qa.scale.max(qb.scale);
        for q in [&mut qa, &mut qb] {
            if q.scale < scale {
                let fine = Accumulator::of(q).rescaled(scale);
                let (Ok(lo), Ok(hi)) = (i64::try_from(fine.lo), i64::try_from(fine.hi)) else {
                    return unsupported("operands of scales too far apart");
                };
                let view = self.ctx.builder.assign(&node.name, &fine.sizes, fine.outputs, fine.terms, lo, hi);
                *q = QTensor { view, scale, lo, hi };
            }
        }
        let (ctx, name) = (&mut self.ctx, &node.name);
        let q = match f {
            BinaryFn::Mod => blocks::remainder(ctx, name, &qa, &qb, Towards::Floor)?,
            BinaryFn::FMod => blocks::remainder(ctx, name, &qa, &qb, Towards::Zero)?,
            _ => blocks::integer_quotient(ctx, name, &qa, &qb, Towards::Zero)?,
        };
        self.set_cells(node.outputs[0], q)
    }

    pub(super) fn select(&mut self, node: &Node) -> Result<(), LowerError> {
        let (cond, a, b) = (self.operand(node, 0)?, self.operand(node, 1)?, self.operand(node, 2)?);
        let out = node.outputs[0];
        if let Some(c) = self.constant(cond)
            && let Data::Bool(values) = &c.tensor.data
            && let Some(&first) = values.first()
            && values.iter().all(|v| *v == first)
        {
            // One branch is always taken (for example behind an `IsNaN`).
            let taken = if first { a } else { b };
            if self.shape(taken) == self.shape(out) {
                return self.alias(node, taken, out);
            }
        }
        let scale = Some(self.format(out).scale);
        let branch = |this: &mut Self, id: ValueId| match this.constant(id) {
            Some(c) if c.tensor.dtype() == DType::F32 => {
                // Masks: any large negative number does what minus infinity does.
                let limit = libm::exp2(f64::from(16 - this.format(out).scale));
                let clamp = |v: f32| f64::from(v).clamp(-limit, limit) as f32;
                let tensor = match &c.tensor.data {
                    Data::F32(v) => Tensor::f32(c.tensor.shape.clone(), v.iter().map(|v| clamp(*v)).collect())?,
                    _ => (*c.tensor).clone(),
                };
                let c = Const { tensor: tensor.into(), ..c };
                this.constant_cells(&c, scale)
            }
            _ => this.cells(id),
        };
        let qa = branch(self, a)?;
        let qb = branch(self, b)?;
        let cond = self.cells(cond)?;
        let acc = blocks::where_select(&node.name, &cond, &qa, &qb)?;
        let shape = self.shape(out).to_vec();
        self.set_acc(node, out, broadcast_acc(acc, &shape))
    }

    /// `out` is `x`.
    pub(super) fn alias(&mut self, node: &Node, x: ValueId, out: ValueId) -> Result<(), LowerError> {
        match self.values[x.0].clone() {
            Some(Value::Acc(p)) if self.uses[x.0] <= 1 && self.uses[out.0] <= 1 => {
                self.values[out.0] = Some(Value::Acc(p));
                Ok(())
            }
            Some(Value::Const(c)) => {
                self.values[out.0] = Some(Value::Const(c));
                Ok(())
            }
            _ => {
                let q = self.cells(x)?;
                let shape = self.shape(out).to_vec();
                let q = self.reshaped(&node.name, q, &shape)?;
                self.set_cells(out, q)
            }
        }
    }

    fn avoids_truth_table(&mut self, x: ValueId, out: ValueId) -> Result<bool, LowerError> {
        let input = self.argument_format(x)?;
        Ok(self.ctx.tables.avoids(&blocks::label("bool", input, self.result_format(out))))
    }

    pub(super) fn cast(&mut self, node: &Node, to: DType) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let out = node.outputs[0];
        match (self.graph.value(x).dtype, to) {
            (DType::F32, DType::I64) => self.table(node, x, out, &libm::trunc, "trunc"),
            (DType::F32 | DType::I64, DType::Bool) if self.avoids_truth_table(x, out)? => {
                let q = self.cells(x)?;
                let q = blocks::differs_from_zero(&mut self.ctx, &node.name, &q)?;
                self.set_cells(out, q)
            }
            (DType::F32 | DType::I64, DType::Bool) => self.table(node, x, out, &|v| f64::from(u8::from(v != 0.0)), "bool"),
            _ => self.alias(node, x, out),
        }
    }
}
