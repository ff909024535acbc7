//! Reading and writing at computed positions, as products with one-hot rows and as selections.
//!
//! Every index is shown to be on its axis first ([`Op::Position`]), so that each row of hits has one 1. `[I = j]` is decided for every position
//! `j` of the axis: the cost is the number of indices times the size of the axis. Rows of a constant at computed indices stay a lookup.

use super::Rewriter;
use zktorch_float::{BinaryFn, DType, EvalError, Node, Op, ReduceFn, Tensor, ValueId};

/// Most comparisons of an index with a position.
const MOST_HITS: usize = 1 << 22;
/// Most updates of a row at computed positions, which are compared with each other.
const MOST_UPDATES: usize = 1024;

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
            Op::TopK { axis, .. } if node.outputs.get(1) == Some(&id) => self.shape(operand(0)?).get(axis).copied(),
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

    /// Updates at computed positions; of several updates of one element the last one counts.
    ///
    /// With hits `H_{j,p} = [I_j = p]` and `l_j = 1` unless a later update has the position of `j`: `y_p = x_p·(1 - Σ_j l_j·H_{j,p}) + Σ_j l_j·u_j·H_{j,p}`.
    pub(super) fn scatter_computed(
        &mut self,
        node: Node,
        (x, index, updates): (ValueId, ValueId, ValueId),
        out: ValueId,
    ) -> Result<(), EvalError> {
        let (from, own) = (self.shape(x), self.shape(index));
        let fits =
            |rows: usize, m: usize, n: usize| (1..=MOST_UPDATES).contains(&m) && rows.saturating_mul(m).saturating_mul(n + m) <= MOST_HITS;
        // Rows of positions `[rows, m]`, of elements `[rows, inner, n]` and of updates `[rows, inner, m]`.
        match node.op {
            Op::ScatterElements { axis } => {
                let (m, n) = (own[axis], from[axis]);
                let rows = volume(&own) / m.max(1);
                let others = (0..from.len()).all(|d| d == axis || from[d] == own[d]);
                if !others || !fits(rows, m, n) {
                    return self.push(node);
                }
                let index = self.position(index, n)?;
                let (perm, inverse) = last(from.len(), axis);
                let moved: Vec<usize> = perm.iter().map(|&d| from[d]).collect();
                let [x, index, updates] = [x, index, updates].map(|id| self.transpose(id, &perm));
                let index = self.reshape(index?, &[rows, m])?;
                let (x, updates) = (self.reshape(x?, &[rows, 1, n])?, self.reshape(updates?, &[rows, 1, m])?);
                let y = self.overwritten(x, index, updates)?;
                let y = self.reshape(y, &moved)?;
                self.finish(Op::Transpose { perm: inverse }, &[y], out)
            }
            _ => {
                let k = own.last().copied().unwrap_or(0);
                let m = volume(&own[..own.len() - 1]);
                let (n, inner) = (volume(&from[..k.min(from.len())]), volume(from.get(k..).unwrap_or_default()));
                if k == 0 || !fits(1, m, n) {
                    return self.push(node);
                }
                let index = self.joined(index, &from[..k])?;
                let index = self.reshape(index, &[1, m])?;
                let (x, updates) = (self.reshape(x, &[1, n, inner])?, self.reshape(updates, &[1, m, inner])?);
                let (x, updates) = (self.transpose(x, &[0, 2, 1])?, self.transpose(updates, &[0, 2, 1])?);
                let y = self.overwritten(x, index, updates)?;
                let y = self.transpose(y, &[0, 2, 1])?;
                self.finish(Op::Reshape { shape: from }, &[y], out)
            }
        }
    }

    /// `[rows, inner, n]` with the updates `[rows, inner, m]` at positions `[rows, m]` on the last axis.
    fn overwritten(&mut self, x: ValueId, index: ValueId, updates: ValueId) -> Result<ValueId, EvalError> {
        let (shape, dtype) = (self.shape(x), self.dtype(x));
        if dtype == DType::Bool {
            let own = self.shape(updates);
            let to = DType::I64;
            let x = self.emit(Op::Cast { to }, &[x], to, &shape)?;
            let updates = self.emit(Op::Cast { to }, &[updates], to, &own)?;
            let y = self.overwritten(x, index, updates)?;
            return self.emit(Op::Cast { to: dtype }, &[y], dtype, &shape);
        }
        let (rows, n, m) = (shape[0], shape[2], self.shape(index)[1]);
        let hits = self.hits(index, n, dtype)?;
        let (mut counting, mut updates) = (None, updates);
        if m > 1 {
            let (a, b) = (self.reshape(index, &[rows, m, 1])?, self.reshape(index, &[rows, 1, m])?);
            let pairs = [rows, m, m];
            let same = self.emit(Op::Binary(BinaryFn::Equal), &[a, b], DType::Bool, &pairs)?;
            let same = self.emit(Op::Cast { to: DType::I64 }, &[same], DType::I64, &pairs)?;
            let later = (0..m * m).map(|i| i64::from(i % m > i / m)).collect();
            let later = self.new_constant(Tensor::i64(vec![m, m], later)?, false);
            let after = self.emit(Op::Binary(BinaryFn::Mul), &[same, later], DType::I64, &pairs)?;
            let op = Op::Reduce { function: ReduceFn::Sum, axes: vec![2], keepdims: false };
            let after = self.emit(op, &[after], DType::I64, &[rows, m])?;
            let none = self.new_constant(Tensor::i64(Vec::new(), vec![0])?, false);
            let last = self.emit(Op::Binary(BinaryFn::Equal), &[after, none], DType::Bool, &[rows, m])?;
            let last = self.emit(Op::Cast { to: dtype }, &[last], dtype, &[rows, m])?;
            let last = self.reshape(last, &[rows, 1, m])?;
            let own = self.shape(updates);
            updates = self.emit(Op::Binary(BinaryFn::Mul), &[updates, last], dtype, &own)?;
            counting = Some(last);
        }
        let written = match counting {
            Some(last) => self.typed_matmul(last, hits, &[rows, 1, n])?,
            None => hits,
        };
        let new = self.typed_matmul(updates, hits, &shape)?;
        let old = self.emit(Op::Binary(BinaryFn::Mul), &[x, written], dtype, &shape)?;
        let kept = self.emit(Op::Binary(BinaryFn::Sub), &[x, old], dtype, &shape)?;
        self.emit(Op::Binary(BinaryFn::Add), &[kept, new], dtype, &shape)
    }
}
