//! Reading and writing at computed positions, as products with one-hot rows and as selections.
//!
//! Every index is shown to be on its axis first ([`Op::Position`]), so that each row of hits has one 1. `[I = j]` is decided for every position
//! `j` of the axis: the cost is the number of indices times the size of the axis. Rows of a constant at computed indices stay a lookup.

use super::Rewriter;
use zktorch_float::{BinaryFn, DType, EvalError, Node, Op, Tensor, ValueId};

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
    /// A number that an index is below whatever the input is, if it is known never to count from the end: positions that were asked for,
    /// those of extrema, and what is made of them by movements, sums and products.
    fn bound(&self, id: ValueId) -> Option<usize> {
        if let Some(t) = self.graph.constant(id) {
            let values = t.as_i64().ok()?.iter().map(|&i| usize::try_from(i).ok()).collect::<Option<Vec<_>>>()?;
            return values.into_iter().max()?.checked_add(1);
        }
        let node = self.graph.nodes.iter().rev().find(|n| n.outputs.contains(&id))?;
        let operand = |i: usize| node.inputs.get(i).copied().flatten();
        let known = |i: usize| self.bound(operand(i)?);
        match node.op {
            Op::Position { size } => Some(size),
            Op::ArgMax { axis, .. } | Op::ArgMin { axis, .. } => self.shape(operand(0)?).get(axis).copied(),
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Split { .. } | Op::Expand { .. } | Op::Tile { .. } => {
                known(0)
            }
            Op::Gather { .. } | Op::GatherElements { .. } => known(0),
            Op::Concat { .. } => (0..node.inputs.len()).map(known).try_fold(0, |most, b| Some(b?.max(most))),
            Op::Binary(BinaryFn::Add) => known(0)?.checked_add(known(1)?)?.checked_sub(1),
            Op::Binary(BinaryFn::Mul) => known(0)?.checked_sub(1)?.checked_mul(known(1)?.checked_sub(1)?)?.checked_add(1),
            _ => None,
        }
    }

    fn is_within(&self, id: ValueId, size: usize) -> bool {
        self.bound(id).is_some_and(|b| b <= size)
    }

    /// The index counted from the start of an axis, shown to be on it.
    fn position(&mut self, index: ValueId, size: usize) -> Result<ValueId, EvalError> {
        if self.is_within(index, size) {
            return Ok(index);
        }
        let shape = self.shape(index);
        self.emit(Op::Position { size }, &[index], DType::I64, &shape)
    }

    /// `[index = j]` for the positions `0 .. depth`, laid out as `row` says: `shape` is that of the index broadcast with `row`. An index outside
    /// of `[-depth, depth)` finds nothing.
    pub(super) fn found(&mut self, index: ValueId, depth: usize, row: &[usize], shape: &[usize]) -> Result<ValueId, EvalError> {
        let mut hits = Vec::new();
        let starts = if self.is_within(index, depth) { vec![0] } else { vec![0, -(depth as i64)] };
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

    /// `[index = j]` on a new last axis, as numbers of type `to`: one of each row is 1.
    fn hits(&mut self, index: ValueId, depth: usize, to: DType) -> Result<ValueId, EvalError> {
        let index = self.position(index, depth)?;
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

    /// Row-major positions that index tuples on the last axis stand for in a tensor of shape `dims`, each component shown to be on its axis.
    fn joined(&mut self, index: ValueId, dims: &[usize]) -> Result<ValueId, EvalError> {
        let shape = self.shape(index);
        let axis = shape.len() - 1;
        let mut sum: Option<ValueId> = None;
        for (d, &size) in dims.iter().enumerate() {
            let part = self.slice(index, axis, d, 1)?;
            let part = self.reshape(part, &shape[..axis])?;
            let part = self.position(part, size)?;
            let pitch = self.new_constant(Tensor::i64(Vec::new(), vec![volume(&dims[d + 1..]) as i64])?, false);
            let part = self.emit(Op::Binary(BinaryFn::Mul), &[part, pitch], DType::I64, &shape[..axis])?;
            sum = Some(match sum {
                None => part,
                Some(before) => self.emit(Op::Binary(BinaryFn::Add), &[before, part], DType::I64, &shape[..axis])?,
            });
        }
        sum.ok_or_else(|| EvalError::Invalid("index tuples without components".into()))
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
        let index = self.joined(index, &dims)?;
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
                let index = self.position(index, from[axis])?;
                (self.transpose(x, &perm)?, self.transpose(index, &perm)?, self.transpose(updates, &perm)?, Some(inverse))
            }
            _ => {
                let k = own.last().copied().unwrap_or(0);
                let m = volume(&own[..own.len() - 1]);
                let (n, inner) = (volume(&from[..k.min(from.len())]), volume(from.get(k..).unwrap_or_default()));
                if k == 0 || m > MOST_UPDATES || m.saturating_mul(n) > MOST_HITS {
                    return self.push(node);
                }
                let index = self.joined(index, &from[..k])?;
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
