//! Reading and writing at computed positions, as products with one-hot rows and as selections.
//!
//! `[I = j]` is decided for every position `j` of the axis, so the cost is the number of indices times the size of the axis. Rows of a
//! constant at computed indices stay a lookup.

use super::Rewriter;
use zktorch_float::{BinaryFn, DType, EvalError, Node, Op, ReduceFn, Tensor, ValueId};

/// Most comparisons of an index with a position.
const MOST_HITS: usize = 1 << 22;
/// Most updates at computed positions, which come one after the other.
const MOST_UPDATES: usize = 64;

fn volume(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// `perm` that moves `axis` behind the other axes, and its inverse.
fn last(rank: usize, axis: usize) -> (Vec<usize>, Vec<usize>) {
    let mut perm: Vec<usize> = (0..rank).filter(|&d| d != axis).collect();
    perm.push(axis);
    let mut inverse = vec![0; rank];
    for (new, &old) in perm.iter().enumerate() {
        inverse[old] = new;
    }
    (perm, inverse)
}

impl Rewriter {
    /// Whether an index never counts from the end: it is the position of an extremum, moved at most.
    fn counts_up(&self, id: ValueId) -> bool {
        if let Some(t) = self.graph.constant(id) {
            return t.as_i64().is_ok_and(|v| v.iter().all(|&i| i >= 0));
        }
        let Some(node) = self.graph.nodes.iter().rev().find(|n| n.outputs.contains(&id)) else { return false };
        let all = |count: usize| node.inputs.iter().take(count).flatten().all(|&i| self.counts_up(i));
        match node.op {
            Op::ArgMax { .. } | Op::ArgMin { .. } => true,
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Split { .. } | Op::Expand { .. } | Op::Tile { .. } => all(1),
            Op::Gather { .. } | Op::GatherElements { .. } => all(1),
            Op::Concat { .. } => all(node.inputs.len()),
            _ => false,
        }
    }

    /// `[index = j]` for the positions `0 .. depth`, laid out as `row` says: `shape` is that of the index broadcast with `row`.
    pub(super) fn found(&mut self, index: ValueId, depth: usize, row: &[usize], shape: &[usize]) -> Result<ValueId, EvalError> {
        let mut hits = Vec::new();
        let starts = if self.counts_up(index) { vec![0] } else { vec![0, -(depth as i64)] };
        for from in starts {
            let numbers = Tensor::i64(row.to_vec(), (0..depth as i64).map(|i| i + from).collect())?;
            let numbers = self.new_constant(numbers, false);
            hits.push(self.emit(Op::Binary(BinaryFn::Equal), &[index, numbers], DType::Bool, shape)?);
        }
        match hits[..] {
            [one] => Ok(one),
            _ => self.emit(Op::Binary(BinaryFn::Or), &hits, DType::Bool, shape),
        }
    }

    /// `[index = j]` on a new last axis, as numbers of type `to`.
    fn hits(&mut self, index: ValueId, depth: usize, to: DType) -> Result<ValueId, EvalError> {
        let own = self.shape(index);
        let index = self.reshape(index, &[&own[..], &[1]].concat())?;
        let shape = [&own[..], &[depth]].concat();
        let hit = self.found(index, depth, &[depth], &shape)?;
        self.emit(Op::Cast { to }, &[hit], to, &shape)
    }

    fn typed_matmul(&mut self, a: ValueId, b: ValueId, shape: &[usize]) -> Result<ValueId, EvalError> {
        let dtype = self.dtype(b);
        self.emit(Op::MatMul, &[a, b], dtype, shape)
    }

    /// Gathering at computed indices from a computed tensor, or along an axis other than the first: `H·X` with one-hot rows `H`.
    pub(super) fn gather_computed(&mut self, node: Node, axis: usize, x: ValueId, index: ValueId, out: ValueId) -> Result<(), EvalError> {
        let (from, own, dtype) = (self.shape(x), self.shape(index), self.dtype(x));
        let constant = self.constant(x).is_some();
        if self.constant(index).is_some() || (constant && axis == 0) || dtype == DType::Bool {
            return self.push(node);
        }
        let (outer, n, inner) = (&from[..axis], from[axis], &from[axis + 1..]);
        if constant {
            // The axis goes to the front, so that its slices are rows.
            let mut perm: Vec<usize> = (0..from.len()).filter(|&d| d != axis).collect();
            perm.insert(0, axis);
            let rows = self.transpose(x, &perm)?;
            let shape = [&own[..], outer, inner].concat();
            let y = self.emit(Op::Gather { axis: 0 }, &[rows, index], dtype, &shape)?;
            let (m, k) = (own.len(), outer.len());
            let perm: Vec<usize> = (m..m + k).chain(0..m).chain(m + k..shape.len()).collect();
            return self.finish(Op::Transpose { perm }, &[y], out);
        }
        let m = volume(&own);
        if m.saturating_mul(n) > MOST_HITS {
            return self.push(node);
        }
        let flat = self.reshape(index, &[m])?;
        let hits = self.hits(flat, n, dtype)?;
        let x = self.reshape(x, &[volume(outer), n, volume(inner)])?;
        let y = self.typed_matmul(hits, x, &[volume(outer), m, volume(inner)])?;
        let shape = self.shape(out);
        self.finish(Op::Reshape { shape }, &[y], out)
    }

    /// `y[…, i] = Σ_j [I[…, i] = j]·x[…, j]` along one axis.
    pub(super) fn gather_elements(&mut self, node: Node, axis: usize, x: ValueId, index: ValueId, out: ValueId) -> Result<(), EvalError> {
        let (from, own, dtype) = (self.shape(x), self.shape(index), self.dtype(x));
        let n = from[axis];
        if self.constant(index).is_some() || dtype == DType::Bool || volume(&own).saturating_mul(n) > MOST_HITS {
            return self.push(node);
        }
        let mut x = x;
        for d in (0..from.len()).filter(|&d| d != axis && from[d] != own[d]) {
            x = self.slice(x, d, 0, own[d])?;
        }
        let (perm, inverse) = last(from.len(), axis);
        let (x, index) = (self.transpose(x, &perm)?, self.transpose(index, &perm)?);
        let rows = self.shape(index);
        let hits = self.hits(index, n, dtype)?;
        let column = [&self.shape(x)[..], &[1]].concat();
        let x = self.reshape(x, &column)?;
        let y = self.typed_matmul(hits, x, &[&rows[..], &[1]].concat())?;
        let y = self.reshape(y, &rows)?;
        self.finish(Op::Transpose { perm: inverse }, &[y], out)
    }

    /// Row-major positions that index tuples on the last axis stand for in a tensor of shape `dims`. `None` if they may count from the end.
    fn joined(&mut self, index: ValueId, dims: &[usize]) -> Result<Option<ValueId>, EvalError> {
        if !self.counts_up(index) {
            return Ok(None);
        }
        let shape = self.shape(index);
        let pitches = (0..dims.len()).map(|d| volume(&dims[d + 1..]) as i64).collect();
        let pitches = self.new_constant(Tensor::i64(vec![dims.len()], pitches)?, false);
        let parts = self.emit(Op::Binary(BinaryFn::Mul), &[index, pitches], DType::I64, &shape)?;
        let axis = shape.len() - 1;
        let op = Op::Reduce { function: ReduceFn::Sum, axes: vec![axis], keepdims: false };
        self.emit(op, &[parts], DType::I64, &shape[..axis]).map(Some)
    }

    /// Gathering at computed index tuples.
    pub(super) fn gather_nd(&mut self, node: Node, batch: usize, x: ValueId, index: ValueId, out: ValueId) -> Result<(), EvalError> {
        let (from, own, dtype) = (self.shape(x), self.shape(index), self.dtype(x));
        let k = own.last().copied().unwrap_or(0);
        let fits = self.constant(index).is_none() && k > 0 && batch + k <= from.len() && dtype != DType::Bool;
        let dims = from.get(batch..batch + k).unwrap_or_default().to_vec();
        let (batches, n, inner) = (volume(&from[..batch]), volume(&dims), volume(from.get(batch + k..).unwrap_or_default()));
        let m = volume(&own[..own.len() - 1]) / batches.max(1);
        if !fits || (batches * m).saturating_mul(n) > MOST_HITS {
            return self.push(node);
        }
        let Some(index) = self.joined(index, &dims)? else { return self.push(node) };
        let shape = self.shape(out);
        let y = if batches == 1 && self.constant(x).is_some() {
            let (x, index) = (self.reshape(x, &[n, inner])?, self.reshape(index, &[m])?);
            self.emit(Op::Gather { axis: 0 }, &[x, index], dtype, &[m, inner])?
        } else {
            let index = self.reshape(index, &[batches, m])?;
            let hits = self.hits(index, n, dtype)?;
            let x = self.reshape(x, &[batches, n, inner])?;
            self.typed_matmul(hits, x, &[batches, m, inner])?
        };
        self.finish(Op::Reshape { shape }, &[y], out)
    }

    /// Updates at computed positions, one after the other, so that the last one of equal positions stays.
    pub(super) fn scatter_computed(
        &mut self,
        node: Node,
        (x, index, updates): (ValueId, ValueId, ValueId),
        out: ValueId,
    ) -> Result<(), EvalError> {
        let (from, own, dtype) = (self.shape(x), self.shape(index), self.dtype(x));
        // Rows of positions, with what belongs to each update.
        let (mut y, index, updates, back) = match node.op {
            Op::ScatterElements { axis } => {
                let others = (0..from.len()).all(|d| d == axis || from[d] == own[d]);
                if !others || own[axis] > MOST_UPDATES || volume(&own).saturating_mul(from[axis]) > MOST_HITS {
                    return self.push(node);
                }
                let (perm, inverse) = last(from.len(), axis);
                (self.transpose(x, &perm)?, self.transpose(index, &perm)?, self.transpose(updates, &perm)?, Some(inverse))
            }
            _ => {
                let k = own.last().copied().unwrap_or(0);
                let m = volume(&own[..own.len() - 1]);
                let (n, inner) = (volume(&from[..k.min(from.len())]), volume(from.get(k..).unwrap_or_default()));
                let index =
                    if k == 0 || m > MOST_UPDATES || m.saturating_mul(n) > MOST_HITS { None } else { self.joined(index, &from[..k])? };
                let Some(index) = index else { return self.push(node) };
                // Positions on the last axis: one row of updates per inner element.
                let (x, updates) = (self.reshape(x, &[n, inner])?, self.reshape(updates, &[m, inner])?);
                (self.transpose(x, &[1, 0])?, self.reshape(index, &[1, m])?, self.transpose(updates, &[1, 0])?, None)
            }
        };
        let shape = self.shape(y);
        let axis = shape.len() - 1;
        for j in 0..self.shape(index)[axis] {
            let (place, new) = (self.slice(index, axis, j, 1)?, self.slice(updates, axis, j, 1)?);
            let mut hit = self.shape(place);
            hit[axis] = shape[axis];
            let hit = self.found(place, shape[axis], &[shape[axis]], &hit)?;
            y = self.emit(Op::Where, &[hit, new, y], dtype, &shape)?;
        }
        match back {
            Some(perm) => self.finish(Op::Transpose { perm }, &[y], out),
            None => {
                let y = self.transpose(y, &[1, 0])?;
                self.finish(Op::Reshape { shape: from }, &[y], out)
            }
        }
    }
}
