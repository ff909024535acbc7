//! Recurrent layers.

use super::linear::{accumulate, view};
use super::{Args, ensure, float};
use crate::{Direction, EvalError, RnnActivation, Tensor, UnaryFn};

fn activate(activation: RnnActivation, clip: Option<f32>, x: f32) -> f32 {
    let x = clip.map_or(x, |c| x.max(-c).min(c));
    match activation {
        RnnActivation::Sigmoid => UnaryFn::Sigmoid.apply(x),
        RnnActivation::Tanh => x.tanh(),
        RnnActivation::Relu => x.max(0.0),
    }
}

/// Operands of a recurrent layer, checked against each other.
struct Layer<'a> {
    x: &'a [f32],
    w: &'a [f32],
    r: &'a [f32],
    b: Option<&'a [f32]>,
    h0: Option<&'a [f32]>,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    gates: usize,
    direction: Direction,
}

impl<'a> Layer<'a> {
    fn new(args: &Args<'a>, direction: Direction, hidden: usize, gates: usize) -> Result<Self, EvalError> {
        let (x, w, r) = (args.get(0)?, args.get(1)?, args.get(2)?);
        ensure(x.rank() == 3, || format!("input of shape {:?} has not three axes", x.shape))?;
        let dirs = direction.count();
        let (seq, batch, input) = (x.shape[0], x.shape[1], x.shape[2]);
        let rows = gates.checked_mul(hidden).ok_or_else(|| EvalError::invalid("hidden size too large"))?;
        let expect = |name: &str, t: &Tensor, shape: &[usize]| {
            ensure(t.shape == shape, || format!("{name} has shape {:?}, expected {shape:?}", t.shape))
        };
        expect("W", w, &[dirs, rows, input])?;
        expect("R", r, &[dirs, rows, hidden])?;
        ensure(args.opt(4).is_none(), || "sequence lengths are not supported".to_owned())?;
        let state = |i: usize, name: &str| -> Result<Option<&'a [f32]>, EvalError> {
            args.opt(i).map(|t| expect(name, t, &[dirs, batch, hidden]).and_then(|()| t.as_f32())).transpose()
        };
        let b = args.opt(3).map(|t| expect("B", t, &[dirs, 2 * rows]).and_then(|()| t.as_f32())).transpose()?;
        let h0 = state(5, "initial_h")?;
        Ok(Self { x: x.as_f32()?, w: w.as_f32()?, r: r.as_f32()?, b, h0, seq, batch, input, hidden, gates, direction })
    }

    fn rows(&self) -> usize {
        self.gates * self.hidden
    }

    /// Initial state of direction `d`.
    fn state(&self, from: Option<&[f32]>, d: usize) -> Vec<f32> {
        let n = self.batch * self.hidden;
        from.map_or_else(|| vec![0.0; n], |v| v[d * n..(d + 1) * n].to_vec())
    }

    /// Recurrent weights of direction `d`, gates `from..to`, transposed product `h·Rᵀ` of all batch rows.
    fn recur(&self, d: usize, h: &[f32], gates: std::ops::Range<usize>) -> Result<Vec<f32>, EvalError> {
        let rows = gates.len() * self.hidden;
        let start = (d * self.rows() + gates.start * self.hidden) * self.hidden;
        let r = view(&self.r[start..start + rows * self.hidden], rows, self.hidden)?;
        let mut out = vec![0.0; self.batch * rows];
        accumulate(&view(h, self.batch, self.hidden)?, &r.reversed_axes(), &mut out)?;
        Ok(out)
    }

    /// Runs all directions. `step(d, xw, state)` gets the input part of the gates for one time step and the hidden state, which
    /// it updates. Returns Y and Y_h.
    fn run(&self, mut step: impl FnMut(usize, &[f32], &mut Vec<f32>) -> Result<(), EvalError>) -> Result<(Tensor, Tensor), EvalError> {
        let dirs = self.direction.count();
        let (n, rows) = (self.batch * self.hidden, self.rows());
        let mut y = vec![0.0; self.seq * dirs * n];
        let mut last = Vec::with_capacity(dirs * n);
        for d in 0..dirs {
            let w = view(&self.w[d * rows * self.input..][..rows * self.input], rows, self.input)?;
            let mut xw = vec![0.0; self.seq * self.batch * rows];
            accumulate(&view(self.x, self.seq * self.batch, self.input)?, &w.reversed_axes(), &mut xw)?;
            let mut h = self.state(self.h0, d);
            let reverse = self.direction == Direction::Reverse || d == 1;
            for i in 0..self.seq {
                let t = if reverse { self.seq - 1 - i } else { i };
                step(d, &xw[t * self.batch * rows..][..self.batch * rows], &mut h)?;
                y[(t * dirs + d) * n..][..n].copy_from_slice(&h);
            }
            last.extend_from_slice(&h);
        }
        let y = float(vec![self.seq, dirs, self.batch, self.hidden], y)?;
        Ok((y, float(vec![dirs, self.batch, self.hidden], last)?))
    }

    /// Input bias and recurrent bias of row `row` in direction `d`.
    fn bias(&self, d: usize, row: usize) -> (f32, f32) {
        let rows = self.rows();
        self.b.map_or((0.0, 0.0), |b| (b[d * 2 * rows + row], b[(d * 2 + 1) * rows + row]))
    }
}

fn per_direction<T>(activations: &[T], direction: Direction) -> Result<(), EvalError> {
    ensure(activations.len() == direction.count(), || {
        format!("activations for {} directions, expected {}", activations.len(), direction.count())
    })
}

/// LSTM.
pub(crate) fn lstm(
    args: &Args<'_>,
    direction: Direction,
    hidden: usize,
    activations: &[[RnnActivation; 3]],
    clip: Option<f32>,
    input_forget: bool,
) -> Result<Vec<Tensor>, EvalError> {
    per_direction(activations, direction)?;
    let layer = Layer::new(args, direction, hidden, 4)?;
    let dirs = direction.count();
    let n = layer.batch * hidden;
    let parameter = |i: usize, shape: &[usize], name: &str| -> Result<Option<&[f32]>, EvalError> {
        let Some(t) = args.opt(i) else { return Ok(None) };
        ensure(t.shape == shape, || format!("{name} has shape {:?}, expected {shape:?}", t.shape))?;
        t.as_f32().map(Some)
    };
    let c0 = parameter(6, &[dirs, layer.batch, hidden], "initial_c")?;
    let peepholes = parameter(7, &[dirs, 3 * hidden], "P")?;
    let mut cells: Vec<Vec<f32>> = (0..dirs).map(|d| layer.state(c0, d)).collect();
    let (y, y_h) = layer.run(|d, xw, h| {
        let hr = layer.recur(d, h, 0..4)?;
        let [f, g, k] = activations[d];
        for b in 0..layer.batch {
            for j in 0..hidden {
                let gate = |gate: usize| {
                    let row = gate * hidden + j;
                    let (wb, rb) = layer.bias(d, row);
                    xw[b * 4 * hidden + row] + hr[b * 4 * hidden + row] + wb + rb
                };
                let peephole = |gate: usize| peepholes.map_or(0.0, |p| p[(d * 3 + gate) * hidden + j]);
                let c = &mut cells[d][b * hidden + j];
                let i = activate(f, clip, gate(0) + peephole(0) * *c);
                let forget = if input_forget { 1.0 - i } else { activate(f, clip, gate(2) + peephole(2) * *c) };
                *c = forget * *c + i * activate(g, clip, gate(3));
                let o = activate(f, clip, gate(1) + peephole(1) * *c);
                h[b * hidden + j] = o * activate(k, clip, *c);
            }
        }
        Ok(())
    })?;
    let mut last = Vec::with_capacity(dirs * n);
    cells.iter().for_each(|c| last.extend_from_slice(c));
    let y_c = float(vec![dirs, layer.batch, hidden], last)?;
    Ok(vec![y, y_h, y_c])
}

/// GRU.
pub(crate) fn gru(
    args: &Args<'_>,
    direction: Direction,
    hidden: usize,
    activations: &[[RnnActivation; 2]],
    clip: Option<f32>,
    linear_before_reset: bool,
) -> Result<Vec<Tensor>, EvalError> {
    per_direction(activations, direction)?;
    let layer = Layer::new(args, direction, hidden, 3)?;
    let (y, y_h) = layer.run(|d, xw, h| {
        let hr = layer.recur(d, h, 0..2)?;
        let [f, g] = activations[d];
        let mut z = vec![0.0; h.len()];
        let mut r = vec![0.0; h.len()];
        for b in 0..layer.batch {
            for j in 0..hidden {
                let gate = |gate: usize| {
                    let row = gate * hidden + j;
                    let (wb, rb) = layer.bias(d, row);
                    activate(f, clip, xw[b * 3 * hidden + row] + hr[b * 2 * hidden + row] + wb + rb)
                };
                z[b * hidden + j] = gate(0);
                r[b * hidden + j] = gate(1);
            }
        }
        let recurrent = if linear_before_reset {
            layer.recur(d, h, 2..3)?
        } else {
            let reset: Vec<f32> = h.iter().zip(&r).map(|(h, r)| h * r).collect();
            layer.recur(d, &reset, 2..3)?
        };
        for b in 0..layer.batch {
            for j in 0..hidden {
                let (at, row) = (b * hidden + j, 2 * hidden + j);
                let (wb, rb) = layer.bias(d, row);
                let part = if linear_before_reset { r[at] * (recurrent[at] + rb) } else { recurrent[at] + rb };
                let candidate = activate(g, clip, xw[b * 3 * hidden + row] + wb + part);
                h[at] = (1.0 - z[at]) * candidate + z[at] * h[at];
            }
        }
        Ok(())
    })?;
    Ok(vec![y, y_h])
}

/// Elman network.
pub(crate) fn rnn(
    args: &Args<'_>,
    direction: Direction,
    hidden: usize,
    activations: &[RnnActivation],
    clip: Option<f32>,
) -> Result<Vec<Tensor>, EvalError> {
    per_direction(activations, direction)?;
    let layer = Layer::new(args, direction, hidden, 1)?;
    let (y, y_h) = layer.run(|d, xw, h| {
        let hr = layer.recur(d, h, 0..1)?;
        for (at, h) in h.iter_mut().enumerate() {
            let (wb, rb) = layer.bias(d, at % hidden);
            *h = activate(activations[d], clip, xw[at] + hr[at] + wb + rb);
        }
        Ok(())
    })?;
    Ok(vec![y, y_h])
}
