//! Recurrent layers, unrolled over their steps into matrix products, tables and elementwise products.

use super::Rewriter;
use std::sync::Arc;
use zktorch_float::{BinaryFn, DType, Direction, EvalError, Node, Op, RnnActivation, Tensor, UnaryFn, ValueId};

fn function(activation: RnnActivation) -> UnaryFn {
    match activation {
        RnnActivation::Sigmoid => UnaryFn::Sigmoid,
        RnnActivation::Tanh => UnaryFn::Tanh,
        RnnActivation::Relu => UnaryFn::Relu,
    }
}

/// Constant weights of one direction for some gates.
struct Gates {
    /// `[input, gates·hidden]`.
    w: ValueId,
    /// `[hidden, gates·hidden]`.
    r: ValueId,
    /// `[gates·hidden]`: bias of the input side and of the recurrent side.
    bias: Option<(Vec<f32>, Vec<f32>)>,
    width: usize,
}

impl Rewriter {
    /// Rows `from..to` (in units of `hidden`) of the stacked gates of one direction.
    fn gates(&mut self, node: &Node, direction: usize, from: usize, to: usize, hidden: usize) -> Result<Option<Gates>, EvalError> {
        let operand = |i: usize| node.inputs.get(i).copied().flatten();
        let (Some(w), Some(r)) = (operand(1), operand(2)) else {
            return Ok(None);
        };
        let (Some(w), Some(r)) = (self.constant(w), self.constant(r)) else {
            return Ok(None);
        };
        let (lo, hi) = (from * hidden, to * hidden);
        let w = self.block(&w, direction, lo, hi)?;
        let r = self.block(&r, direction, lo, hi)?;
        let bias = match operand(3) {
            None => None,
            Some(b) => {
                let Some(b) = self.constant(b) else {
                    return Ok(None);
                };
                let all = b.shape.get(1).copied().unwrap_or(0);
                let values = &b.as_f32()?[direction * all..(direction + 1) * all];
                let half = all / 2;
                Some((values[lo..hi].to_vec(), values[half + lo..half + hi].to_vec()))
            }
        };
        Ok(Some(Gates { w, r, bias, width: hi - lo }))
    }

    /// Rows `lo..hi` of matrix `direction` of `[dirs, rows, cols]`, transposed.
    fn block(&mut self, t: &Arc<Tensor>, direction: usize, lo: usize, hi: usize) -> Result<ValueId, EvalError> {
        let (rows, cols) = (t.shape[1], t.shape[2]);
        let values = t.as_f32()?;
        let mut out = Vec::with_capacity((hi - lo) * cols);
        for c in 0..cols {
            for r in lo..hi {
                out.push(values[(direction * rows + r) * cols + c]);
            }
        }
        let tensor = Tensor::f32(vec![cols, hi - lo], out)?;
        Ok(self.new_constant(tensor, true))
    }

    fn bias(&mut self, values: Vec<f32>) -> Result<ValueId, EvalError> {
        let tensor = Tensor::f32(vec![values.len()], values)?;
        Ok(self.new_constant(tensor, true))
    }

    /// Weights with which the input, output and forget gates of direction `direction` see the cell's state.
    fn peepholes(&mut self, node: &Node, direction: usize, hidden: usize) -> Result<Option<[ValueId; 3]>, EvalError> {
        let Some(p) = node.inputs.get(7).copied().flatten().and_then(|id| self.constant(id)) else {
            return Ok(None);
        };
        let values = &p.as_f32()?[direction * 3 * hidden..][..3 * hidden];
        let mut part = |gate: usize| self.bias(values[gate * hidden..][..hidden].to_vec());
        Ok(Some([part(0)?, part(1)?, part(2)?]))
    }

    /// A gate that also sees a cell's state, if there is one.
    fn peeped(
        &mut self,
        sum: ValueId,
        weights: ValueId,
        cell: Option<ValueId>,
        state: &[usize; 2],
        clip: Option<f32>,
        activation: RnnActivation,
    ) -> Result<ValueId, EvalError> {
        let mut addends = vec![sum];
        if let Some(cell) = cell {
            addends.push(self.binary(BinaryFn::Mul, cell, weights, state)?);
        }
        self.gate(&addends, state, clip, activation)
    }

    fn total(&mut self, addends: &[ValueId], shape: &[usize]) -> Result<ValueId, EvalError> {
        let mut sum = addends[0];
        for &a in &addends[1..] {
            sum = self.binary(BinaryFn::Add, sum, a, shape)?;
        }
        Ok(sum)
    }

    /// Sum of the given addends of shape `shape`, clipped and passed through `activation`.
    fn gate(&mut self, addends: &[ValueId], shape: &[usize], clip: Option<f32>, activation: RnnActivation) -> Result<ValueId, EvalError> {
        let mut sum = self.total(addends, shape)?;
        if let Some(c) = clip {
            sum = self.unary(UnaryFn::Clip { min: -c, max: c }, sum)?;
        }
        self.unary(function(activation), sum)
    }

    pub(super) fn recurrent(&mut self, node: Node) -> Result<(), EvalError> {
        let operand = |i: usize| node.inputs.get(i).copied().flatten();
        let (direction, hidden) = match &node.op {
            Op::Lstm { direction, hidden, .. } | Op::Gru { direction, hidden, .. } | Op::Rnn { direction, hidden, .. } => {
                (*direction, *hidden)
            }
            _ => return self.push(node),
        };
        let constant = |id: Option<ValueId>| id.is_none_or(|id| self.constant(id).is_some());
        if !(1..=3).all(|i| constant(operand(i))) || !constant(operand(7)) {
            // Computed weights: lowering reports the node.
            return self.push(node);
        }
        let Some(x) = operand(0) else {
            return self.push(node);
        };
        let (seq, batch, input) = match self.shape(x)[..] {
            [s, b, i] => (s, b, i),
            _ => return self.push(node),
        };
        let state = [batch, hidden];
        // One row of steps per direction, in time order, then the last states.
        let mut rows: Vec<Vec<ValueId>> = Vec::new();
        let mut last: Vec<Vec<ValueId>> = Vec::new();
        for d in 0..direction.count() {
            let initial = |this: &mut Self, i: usize| -> Result<Option<ValueId>, EvalError> {
                let Some(id) = node.inputs.get(i).copied().flatten() else {
                    return Ok(None);
                };
                let zero = this.constant(id).is_some_and(|t| t.to_f32_vec().iter().all(|v| *v == 0.0));
                if zero {
                    return Ok(None);
                }
                let part = this.slice(id, 0, d, 1)?;
                this.reshape(part, &state).map(Some)
            };
            let mut h = initial(self, 5)?;
            let mut c = match node.op {
                Op::Lstm { .. } => initial(self, 6)?,
                _ => None,
            };
            let backwards = direction == Direction::Reverse || d == 1;
            let mut steps = Vec::with_capacity(seq);
            let cell = Cell::new(self, &node, d, hidden)?;
            for t in 0..seq {
                let t = if backwards { seq - 1 - t } else { t };
                let xt = self.slice(x, 0, t, 1)?;
                let xt = self.reshape(xt, &[batch, input])?;
                let next = cell.step(self, xt, h, c, &state)?;
                h = Some(next.0);
                c = next.1;
                steps.push(next.0);
            }
            if backwards {
                steps.reverse();
            }
            rows.push(steps);
            last.push(h.into_iter().chain(c).collect());
        }
        let outputs = node.outputs.clone();
        if let Some(&y) = outputs.first() {
            let mut parts = Vec::new();
            for t in 0..seq {
                for row in &rows {
                    parts.push(self.reshape(row[t], &[1, 1, batch, hidden])?);
                }
            }
            let dirs = rows.len();
            let flat = [seq * dirs, 1, batch, hidden];
            let joined = self.emit(Op::Concat { axis: 0 }, &parts, DType::F32, &flat)?;
            let shape = vec![seq, dirs, batch, hidden];
            self.finish(Op::Reshape { shape }, &[joined], y)?;
        }
        for (i, &out) in outputs.iter().enumerate().skip(1) {
            let mut parts = Vec::new();
            for states in &last {
                parts.push(self.reshape(states[i - 1], &[1, batch, hidden])?);
            }
            if parts.len() == 1 {
                let shape = vec![1, batch, hidden];
                self.finish(Op::Reshape { shape }, &parts, out)?;
            } else {
                self.finish(Op::Concat { axis: 0 }, &parts, out)?;
            }
        }
        Ok(())
    }
}

/// One direction of a recurrent layer.
enum Cell {
    Lstm { iof: Gates, c: Gates, peepholes: Option<[ValueId; 3]>, activations: [RnnActivation; 3], clip: Option<f32>, input_forget: bool },
    Gru { zr: Gates, h: Gates, activations: [RnnActivation; 2], clip: Option<f32>, linear_before_reset: bool },
    Rnn { h: Gates, activation: RnnActivation, clip: Option<f32> },
}

impl Cell {
    fn new(rw: &mut Rewriter, node: &Node, d: usize, hidden: usize) -> Result<Cell, EvalError> {
        let missing = || EvalError::Invalid("recurrent layer without constant weights".into());
        let peepholes = match node.op {
            Op::Lstm { .. } => rw.peepholes(node, d, hidden)?,
            _ => None,
        };
        let mut gates = |from, to| rw.gates(node, d, from, to, hidden)?.ok_or_else(missing);
        let of = |n: usize| n.min(d);
        match &node.op {
            Op::Lstm { activations, clip, input_forget, .. } => Ok(Cell::Lstm {
                iof: gates(0, 3)?,
                c: gates(3, 4)?,
                peepholes,
                activations: activations[of(activations.len() - 1)],
                clip: *clip,
                input_forget: *input_forget,
            }),
            Op::Gru { activations, clip, linear_before_reset, .. } => Ok(Cell::Gru {
                zr: gates(0, 2)?,
                h: gates(2, 3)?,
                activations: activations[of(activations.len() - 1)],
                clip: *clip,
                linear_before_reset: *linear_before_reset,
            }),
            Op::Rnn { activations, clip, .. } => {
                Ok(Cell::Rnn { h: gates(0, 1)?, activation: activations[of(activations.len() - 1)], clip: *clip })
            }
            _ => Err(missing()),
        }
    }

    /// Pre-activation addends `x·W (+ h·R) (+ b)`.
    fn addends(rw: &mut Rewriter, g: &Gates, x: ValueId, h: Option<ValueId>) -> Result<Vec<ValueId>, EvalError> {
        let mut out = vec![rw.matmul(x, g.w)?];
        if let Some(h) = h {
            out.push(rw.matmul(h, g.r)?);
        }
        if let Some((b, rb)) = &g.bias {
            let sum = b.iter().zip(rb).map(|(a, b)| a + b).collect();
            out.push(rw.bias(sum)?);
        }
        Ok(out)
    }

    /// The next hidden state, and the next cell state of an LSTM.
    fn step(
        &self,
        rw: &mut Rewriter,
        x: ValueId,
        h: Option<ValueId>,
        c: Option<ValueId>,
        state: &[usize; 2],
    ) -> Result<(ValueId, Option<ValueId>), EvalError> {
        let hidden = state[1];
        match self {
            Cell::Lstm { iof, c: gate_c, peepholes, activations, clip, input_forget } => {
                let a = Self::addends(rw, iof, x, h)?;
                let wide = [state[0], iof.width];
                // With peepholes the gates see the cell's state, the output gate the next one.
                let gates = match peepholes {
                    None => rw.gate(&a, &wide, *clip, activations[0])?,
                    Some(_) => rw.total(&a, &wide)?,
                };
                let mut i = rw.slice(gates, 1, 0, hidden)?;
                let mut o = rw.slice(gates, 1, hidden, hidden)?;
                let mut f = rw.slice(gates, 1, 2 * hidden, hidden)?;
                if let Some([pi, _, pf]) = peepholes {
                    i = rw.peeped(i, *pi, c, state, *clip, activations[0])?;
                    f = rw.peeped(f, *pf, c, state, *clip, activations[0])?;
                }
                if *input_forget {
                    let one = rw.scalar(1.0);
                    f = rw.binary(BinaryFn::Sub, one, i, state)?;
                }
                let a = Self::addends(rw, gate_c, x, h)?;
                let candidate = rw.gate(&a, state, *clip, activations[1])?;
                let mut next = rw.binary(BinaryFn::Mul, i, candidate, state)?;
                if let Some(c) = c {
                    let kept = rw.binary(BinaryFn::Mul, f, c, state)?;
                    next = rw.binary(BinaryFn::Add, next, kept, state)?;
                }
                if let Some([_, po, _]) = peepholes {
                    o = rw.peeped(o, *po, Some(next), state, *clip, activations[0])?;
                }
                let squashed = rw.unary(function(activations[2]), next)?;
                let out = rw.binary(BinaryFn::Mul, o, squashed, state)?;
                Ok((out, Some(next)))
            }
            Cell::Gru { zr, h: gate_h, activations, clip, linear_before_reset } => {
                let a = Self::addends(rw, zr, x, h)?;
                let gates = rw.gate(&a, &[state[0], zr.width], *clip, activations[0])?;
                let z = rw.slice(gates, 1, 0, hidden)?;
                let r = rw.slice(gates, 1, hidden, hidden)?;
                let mut a = vec![rw.matmul(x, gate_h.w)?];
                let (b, rb) = match &gate_h.bias {
                    None => (None, None),
                    Some((b, rb)) => (Some(b.clone()), Some(rb.clone())),
                };
                if let Some(b) = b {
                    a.push(rw.bias(b)?);
                }
                let recurrent_bias = match rb {
                    Some(rb) => Some(rw.bias(rb)?),
                    None => None,
                };
                match (h, linear_before_reset) {
                    (Some(h), true) => {
                        let mut y = rw.matmul(h, gate_h.r)?;
                        if let Some(b) = recurrent_bias {
                            y = rw.binary(BinaryFn::Add, y, b, state)?;
                        }
                        a.push(rw.binary(BinaryFn::Mul, r, y, state)?);
                    }
                    (Some(h), false) => {
                        let reset = rw.binary(BinaryFn::Mul, r, h, state)?;
                        a.push(rw.matmul(reset, gate_h.r)?);
                        a.extend(recurrent_bias);
                    }
                    (None, true) => {
                        if let Some(b) = recurrent_bias {
                            a.push(rw.binary(BinaryFn::Mul, r, b, state)?);
                        }
                    }
                    (None, false) => a.extend(recurrent_bias),
                }
                let n = rw.gate(&a, state, *clip, activations[1])?;
                // (1 - z)·n + z·h
                let zn = rw.binary(BinaryFn::Mul, z, n, state)?;
                let mut next = rw.binary(BinaryFn::Sub, n, zn, state)?;
                if let Some(h) = h {
                    let zh = rw.binary(BinaryFn::Mul, z, h, state)?;
                    next = rw.binary(BinaryFn::Add, next, zh, state)?;
                }
                Ok((next, None))
            }
            Cell::Rnn { h: gate, activation, clip } => {
                let a = Self::addends(rw, gate, x, h)?;
                Ok((rw.gate(&a, state, *clip, *activation)?, None))
            }
        }
    }
}
