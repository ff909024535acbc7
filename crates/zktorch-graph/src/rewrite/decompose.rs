//! Composite operators as nodes of the core.

use super::{Rewriter, fold};
use zktorch_float::{BinaryFn, DType, Data, EvalError, Node, Op, ReduceFn, ResizeMode, Tensor, UnaryFn, ValueId, eval_op};

impl Rewriter {
    /// Rewrites one node, or keeps it.
    pub(super) fn node(&mut self, node: Node) -> Result<(), EvalError> {
        let operand = |i: usize| node.inputs.get(i).copied().flatten();
        let [out] = node.outputs[..] else {
            return match node.op {
                Op::Lstm { .. } | Op::Gru { .. } | Op::Rnn { .. } => self.recurrent(node),
                Op::TopK { axis, k, largest } => self.top_k(node, axis, k, largest),
                _ => self.push(node),
            };
        };
        let folds = node.inputs.iter().flatten().all(|id| self.graph.constant(*id).is_some());
        if folds {
            return self.push(node);
        }
        let shape = self.shape(out);
        match (&node.op, operand(0), operand(1)) {
            (Op::Gemm { alpha, beta, trans_a, trans_b }, Some(a), Some(b)) => {
                let (alpha, beta) = (*alpha, *beta);
                let mut a = a;
                let mut b = b;
                if *trans_a {
                    a = self.transpose(a, &[1, 0])?;
                }
                if *trans_b {
                    b = self.transpose(b, &[1, 0])?;
                }
                if alpha != 1.0 {
                    b = self.scaled(b, alpha)?;
                }
                match operand(2).filter(|_| beta != 0.0) {
                    None => self.finish(Op::MatMul, &[a, b], out),
                    Some(c) => {
                        let c = if beta == 1.0 { c } else { self.scaled(c, beta)? };
                        let product = self.emit(Op::MatMul, &[a, b], DType::F32, &shape)?;
                        self.finish(Op::Binary(BinaryFn::Add), &[product, c], out)
                    }
                }
            }
            (Op::BatchNormalization { eps }, Some(x), _) => {
                let Some((scale, shift)) = fold::affine(&self.graph, &node.inputs, *eps)? else {
                    return self.push(node);
                };
                let mut channel = vec![1; shape.len()];
                channel[1] = scale.len();
                let scale = self.new_constant(Tensor::f32(channel.clone(), scale)?, true);
                let shift = self.new_constant(Tensor::f32(channel, shift)?, true);
                let y = self.binary(BinaryFn::Mul, x, scale, &shape)?;
                self.finish(Op::Binary(BinaryFn::Add), &[y, shift], out)
            }
            (Op::MaskedSoftmax { .. }, ..) => self.masked_softmax(node),
            (Op::GlobalAveragePool | Op::GlobalMaxPool, Some(x), _) => {
                let function = if node.op == Op::GlobalMaxPool { ReduceFn::Max } else { ReduceFn::Mean };
                let op = Op::Reduce { function, axes: (2..shape.len()).collect(), keepdims: true };
                self.finish(op, &[x], out)
            }
            (Op::Reduce { function, axes, keepdims }, Some(x), _) => self.reduce(*function, axes, *keepdims, x, out, node.clone()),
            (Op::Binary(BinaryFn::Div), Some(a), Some(b)) if self.dtype(b) == DType::F32 => match self.constant(b) {
                Some(t) if t.to_f32_vec().iter().all(|v| *v != 0.0) => {
                    let inverse = fold::map(&t, |v| 1.0 / v)?;
                    let from_weights = self.graph.value(b).from_weights;
                    let inverse = self.new_constant((*inverse).clone(), from_weights);
                    self.finish(Op::Binary(BinaryFn::Mul), &[a, inverse], out)
                }
                _ => self.push(node),
            },
            (Op::Binary(BinaryFn::Pow), Some(a), Some(b)) => self.power(a, b, out, &shape, node),
            (Op::Binary(BinaryFn::PRelu), Some(a), Some(b)) => {
                // relu(a) - b·relu(-a)
                let positive = self.unary(UnaryFn::Relu, a)?;
                let negated = self.unary(UnaryFn::Neg, a)?;
                let negative = self.unary(UnaryFn::Relu, negated)?;
                let scaled = self.binary(BinaryFn::Mul, negative, b, &shape)?;
                self.finish(Op::Binary(BinaryFn::Sub), &[positive, scaled], out)
            }
            (Op::ScatterElements { .. } | Op::ScatterNd, Some(x), Some(indices)) => match operand(2) {
                Some(updates) => self.scatter(node, x, indices, updates, out),
                None => self.push(node),
            },
            (Op::Gather { axis }, Some(x), Some(index)) => {
                let axis = *axis;
                self.gather_computed(node, axis, x, index, out)
            }
            (Op::GatherElements { axis }, Some(x), Some(index)) => {
                let axis = *axis;
                self.gather_elements(node, axis, x, index, out)
            }
            (Op::GatherNd { batch_dims }, Some(x), Some(index)) => {
                let batch = *batch_dims;
                self.gather_nd(node, batch, x, index, out)
            }
            (Op::OneHot { axis, depth }, ..) => {
                let (axis, depth) = (*axis, *depth);
                self.one_hot(node, axis, depth, out)
            }
            (Op::Trilu { .. }, Some(x), _) if self.dtype(x) == DType::F32 => {
                let n: usize = shape.iter().product();
                let ones = Tensor::f32(shape.clone(), vec![1.0; n])?;
                let mask = single(eval_op(&node.op, &[Some(&ones)])?)?;
                let mask = self.new_constant(mask, false);
                self.finish(Op::Binary(BinaryFn::Mul), &[x, mask], out)
            }
            (Op::CumSum { axis, .. }, Some(x), _) => {
                // A linear map of one axis: its matrix is the image of the identity.
                let n = shape[*axis];
                let mut op = node.op.clone();
                if let Op::CumSum { axis, .. } = &mut op {
                    *axis = 1;
                }
                let mut matrix = single(eval_op(&op, &[Some(&identity(n)?)])?)?;
                if self.dtype(x) == DType::I64 {
                    matrix = single(eval_op(&Op::Cast { to: DType::I64 }, &[Some(&matrix)])?)?;
                }
                self.linear_map(x, *axis, matrix, Some(out)).map(|_| ())
            }
            (Op::Resize { mode: ResizeMode::Linear, transform, scales, sizes }, Some(x), _) => {
                let from = self.shape(x);
                let axes: Vec<usize> = (0..from.len()).filter(|&d| from[d] != sizes[d]).collect();
                let mut x = x;
                for &d in &axes {
                    let op = Op::Resize {
                        mode: ResizeMode::Linear,
                        transform: *transform,
                        scales: vec![1.0, scales[d]],
                        sizes: vec![from[d], sizes[d]],
                    };
                    let matrix = single(eval_op(&op, &[Some(&identity(from[d])?)])?)?;
                    let last = (axes.last() == Some(&d)).then_some(out);
                    x = self.linear_map(x, d, matrix, last)?;
                }
                if axes.is_empty() {
                    self.finish(Op::Reshape { shape }, &[x], out)?;
                }
                Ok(())
            }
            (Op::Unary(UnaryFn::Clip { min, max }), Some(x), _) if *min == f32::NEG_INFINITY && *max == f32::INFINITY => {
                self.finish(Op::Reshape { shape }, &[x], out)
            }
            (Op::Unary(UnaryFn::Identity), Some(x), _) => self.finish(Op::Reshape { shape }, &[x], out),
            (Op::Lstm { .. } | Op::Gru { .. } | Op::Rnn { .. }, ..) => self.recurrent(node),
            _ => self.push(node),
        }
    }

    fn scaled(&mut self, x: ValueId, factor: f32) -> Result<ValueId, EvalError> {
        let shape = self.shape(x);
        let factor = self.scalar(factor);
        self.binary(BinaryFn::Mul, x, factor, &shape)
    }

    /// Multiplies axis `axis` of `x` by `matrix` of shape `[in, out]`.
    fn linear_map(&mut self, x: ValueId, axis: usize, matrix: Tensor, out: Option<ValueId>) -> Result<ValueId, EvalError> {
        let rank = self.shape(x).len();
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(axis, rank - 1);
        let identity = axis + 1 == rank;
        let matrix = self.new_constant(matrix, false);
        let moved = if identity { x } else { self.transpose(x, &perm)? };
        match (identity, out) {
            (true, Some(out)) => self.finish(Op::MatMul, &[moved, matrix], out).map(|()| out),
            (true, None) => self.matmul(moved, matrix),
            (false, Some(out)) => {
                let y = self.matmul(moved, matrix)?;
                self.finish(Op::Transpose { perm }, &[y], out).map(|()| out)
            }
            (false, None) => {
                let y = self.matmul(moved, matrix)?;
                self.transpose(y, &perm)
            }
        }
    }

    fn reduce(
        &mut self,
        function: ReduceFn,
        axes: &[usize],
        keepdims: bool,
        x: ValueId,
        out: ValueId,
        node: Node,
    ) -> Result<(), EvalError> {
        let from = self.shape(x);
        let shape = self.shape(out);
        let op = |function, keepdims| Op::Reduce { function, axes: axes.to_vec(), keepdims };
        match function {
            ReduceFn::L1 => {
                let y = self.unary(UnaryFn::Abs, x)?;
                self.finish(op(ReduceFn::Sum, keepdims), &[y], out)
            }
            ReduceFn::SumSquare => {
                let y = self.binary(BinaryFn::Mul, x, x, &from)?;
                self.finish(op(ReduceFn::Sum, keepdims), &[y], out)
            }
            ReduceFn::L2 => {
                let y = self.binary(BinaryFn::Mul, x, x, &from)?;
                let y = self.emit(op(ReduceFn::Sum, keepdims), &[y], DType::F32, &shape)?;
                self.finish(Op::Unary(UnaryFn::Sqrt), &[y], out)
            }
            ReduceFn::LogSum => {
                let y = self.emit(op(ReduceFn::Sum, keepdims), &[x], DType::F32, &shape)?;
                self.finish(Op::Unary(UnaryFn::Log), &[y], out)
            }
            ReduceFn::LogSumExp => {
                let mut kept = from.clone();
                for &a in axes {
                    kept[a] = 1;
                }
                let m = self.emit(op(ReduceFn::Max, true), &[x], DType::F32, &kept)?;
                let d = self.binary(BinaryFn::Sub, x, m, &from)?;
                let e = self.unary(UnaryFn::Exp, d)?;
                let s = self.emit(op(ReduceFn::Sum, true), &[e], DType::F32, &kept)?;
                let l = self.unary(UnaryFn::Log, s)?;
                let y = self.binary(BinaryFn::Add, l, m, &kept)?;
                self.finish(Op::Reshape { shape }, &[y], out)
            }
            ReduceFn::Min => {
                let truth = self.dtype(x) == DType::Bool;
                let dtype = if truth { DType::I64 } else { self.dtype(x) };
                let x = if truth { self.emit(Op::Cast { to: dtype }, &[x], dtype, &from)? } else { x };
                let negative = Op::Unary(UnaryFn::Neg);
                let y = self.emit(negative.clone(), &[x], dtype, &from)?;
                let y = self.emit(op(ReduceFn::Max, keepdims), &[y], dtype, &shape)?;
                if !truth {
                    return self.finish(negative, &[y], out);
                }
                let y = self.emit(negative, &[y], dtype, &shape)?;
                self.finish(Op::Cast { to: DType::Bool }, &[y], out)
            }
            ReduceFn::Prod => self.product(node, axes, x, out),
            ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Max => self.push(node),
        }
    }

    fn power(&mut self, a: ValueId, b: ValueId, out: ValueId, shape: &[usize], node: Node) -> Result<(), EvalError> {
        let exponents = self.constant(b).map(|t| t.to_f32_vec()).filter(|v| !v.is_empty());
        let exponent = exponents.as_ref().filter(|v| v.iter().all(|x| *x == v[0])).map(|v| v[0]);
        match exponents {
            Some(several) if exponent.is_none() => return self.powers(a, b, &several, out, shape, node),
            None if self.constant(a).is_none_or(|t| t.len() != 1) && self.dtype(a) == DType::F32 => {
                // e^(b·ln a), for bases above 0: others are refused when calibration meets them.
                let log = self.unary(UnaryFn::Log, a)?;
                let b = if self.dtype(b) == DType::F32 {
                    b
                } else {
                    let own = self.shape(b);
                    self.emit(Op::Cast { to: DType::F32 }, &[b], DType::F32, &own)?
                };
                let product = self.binary(BinaryFn::Mul, log, b, shape)?;
                return self.finish(Op::Unary(UnaryFn::Exp), &[product], out);
            }
            _ => {}
        }
        if self.shape(a) != shape {
            return self.push(node);
        }
        let mul = Op::Binary(BinaryFn::Mul);
        match exponent {
            Some(1.0) => self.finish(Op::Reshape { shape: shape.to_vec() }, &[a], out),
            Some(2.0) => self.finish(mul, &[a, a], out),
            Some(3.0) => {
                let dtype = self.dtype(a);
                let square = self.emit(mul.clone(), &[a, a], dtype, shape)?;
                self.finish(mul, &[square, a], out)
            }
            Some(0.5) => self.finish(Op::Unary(UnaryFn::Sqrt), &[a], out),
            Some(-1.0) => self.finish(Op::Unary(UnaryFn::Reciprocal), &[a], out),
            _ => self.push(node),
        }
    }
}

/// Most different exponents of one power.
const MOST_EXPONENTS: usize = 16;

impl Rewriter {
    /// Powers with several constant exponents: `Σ_e [exponent = e]·a^e`.
    fn powers(&mut self, a: ValueId, b: ValueId, several: &[f32], out: ValueId, shape: &[usize], node: Node) -> Result<(), EvalError> {
        let mut different = several.to_vec();
        different.sort_by(f32::total_cmp);
        different.dedup();
        if different.len() > MOST_EXPONENTS {
            return self.push(node);
        }
        let (dtype, own) = (self.dtype(a), self.shape(b));
        let from_weights = self.graph.value(b).from_weights;
        let mut sum: Option<ValueId> = None;
        for (i, &e) in different.iter().enumerate() {
            let chosen: Vec<bool> = several.iter().map(|&x| x == e).collect();
            let data = match dtype {
                DType::I64 => Data::I64(chosen.iter().map(|&c| i64::from(c)).collect()),
                _ => Data::F32(chosen.iter().map(|&c| f32::from(u8::from(c))).collect()),
            };
            let mask = self.new_constant(Tensor::new(own.clone(), data)?, from_weights);
            let small = self.shape(a);
            let exponent = self.scalar(e);
            let power = if e == 0.0 {
                None
            } else {
                self.serial += 1;
                let name = format!("{}#{}", self.name, self.serial);
                let power = self.graph.add_value(name.clone(), dtype, small.clone());
                let inputs = vec![Some(a), Some(exponent)];
                let inner = Node { name, onnx_op: node.onnx_op.clone(), op: Op::Binary(BinaryFn::Pow), inputs, outputs: vec![power] };
                self.power(a, exponent, power, &small, inner)?;
                Some(power)
            };
            let part = match power {
                None => mask,
                Some(power) => self.emit(Op::Binary(BinaryFn::Mul), &[power, mask], dtype, shape)?,
            };
            let last = i + 1 == different.len();
            sum = Some(match sum {
                None => part,
                Some(before) if last => return self.finish(Op::Binary(BinaryFn::Add), &[before, part], out),
                Some(before) => self.emit(Op::Binary(BinaryFn::Add), &[before, part], dtype, shape)?,
            });
        }
        match sum {
            Some(one) => self.finish(Op::Reshape { shape: shape.to_vec() }, &[one], out),
            None => self.push(node),
        }
    }
}

fn identity(n: usize) -> Result<Tensor, EvalError> {
    let mut values = vec![0.0; n * n];
    for i in 0..n {
        values[i * n + i] = 1.0;
    }
    Tensor::new(vec![n, n], Data::F32(values.into()))
}

fn single(mut results: Vec<Tensor>) -> Result<Tensor, EvalError> {
    results.pop().ok_or_else(|| EvalError::Invalid("operator without result".into()))
}
