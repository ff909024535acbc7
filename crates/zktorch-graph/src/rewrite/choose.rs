//! Operators that overwrite, choose or order elements, as movements, comparisons and maxima.

use super::Rewriter;
use zktorch_float::{BinaryFn, DType, EvalError, Node, Op, ReduceFn, Tensor, UnaryFn, ValueId, eval_op};

/// Most elements that [`Op::TopK`] chooses one after the other.
const MOST_CHOSEN: usize = 64;
/// Most pairs of elements that [`Op::TopK`] compares to order rows.
const MOST_PAIRS: usize = 1 << 22;
/// Most factors of a product that is written out.
const MOST_FACTORS: usize = 64;

impl Rewriter {
    /// Scattering at constant positions: a gather from the tensor and the updates behind it.
    pub(super) fn scatter(&mut self, node: Node, x: ValueId, indices: ValueId, updates: ValueId, out: ValueId) -> Result<(), EvalError> {
        let Some(at) = self.constant(indices) else {
            return self.scatter_computed(node, (x, indices, updates), out);
        };
        let count = |this: &Self, id: ValueId| this.shape(id).iter().product::<usize>();
        let (n, m) = (count(self, x), count(self, updates));
        let own = Tensor::i64(self.shape(x), (0..n as i64).collect())?;
        let new = Tensor::i64(self.shape(updates), (n as i64..(n + m) as i64).collect())?;
        let Some(positions) = eval_op(&node.op, &[Some(&own), Some(&at), Some(&new)])?.pop() else {
            return self.push(node);
        };
        let positions = self.new_constant(positions, false);
        let dtype = self.dtype(x);
        let (x, updates) = (self.reshape(x, &[n])?, self.reshape(updates, &[m])?);
        let all = self.emit(Op::Concat { axis: 0 }, &[x, updates], dtype, &[n + m])?;
        self.finish(Op::Gather { axis: 0 }, &[all, positions], out)
    }

    /// `where(index = 0, 1, …)`; negative indices count from the end.
    pub(super) fn one_hot(&mut self, node: Node, axis: usize, depth: usize, out: ValueId) -> Result<(), EvalError> {
        let (Some(&Some(indices)), Some(&Some(values))) = (node.inputs.first(), node.inputs.get(1)) else {
            return self.push(node);
        };
        if self.constant(values).is_none() || self.dtype(indices) != DType::I64 {
            return self.push(node);
        }
        let shape = self.shape(out);
        let mut column = self.shape(indices);
        column.insert(axis, 1);
        let mut row = vec![1; shape.len()];
        row[axis] = depth;
        let index = self.reshape(indices, &column)?;
        let hit = self.found(index, depth, &row, &shape)?;
        let (off, on) = (self.slice(values, 0, 0, 1)?, self.slice(values, 0, 1, 1)?);
        self.finish(Op::Where, &[hit, on, off], out)
    }

    /// The product over some axes, factor by factor.
    pub(super) fn product(&mut self, node: Node, axes: &[usize], x: ValueId, out: ValueId) -> Result<(), EvalError> {
        let from = self.shape(x);
        let factors: usize = axes.iter().map(|&a| from[a]).product();
        let dtype = self.dtype(x);
        if factors == 0 || factors > MOST_FACTORS || dtype == DType::Bool {
            return self.push(node);
        }
        let mut y = x;
        for &a in axes {
            let size = self.shape(y)[a];
            let mut product = self.slice(y, a, 0, 1)?;
            for i in 1..size {
                let factor = self.slice(y, a, i, 1)?;
                let shape = self.shape(factor);
                product = self.emit(Op::Binary(BinaryFn::Mul), &[product, factor], dtype, &shape)?;
            }
            y = product;
        }
        let shape = self.shape(out);
        self.finish(Op::Reshape { shape }, &[y], out)
    }

    /// The largest element, then the largest of the rest, and so on: chosen elements become smaller than all others. Of equal elements
    /// the first one is chosen first. Rows of which most is asked for, and integers, which may be too wide for the distances to a maximum,
    /// are ordered by comparing all pairs.
    pub(super) fn top_k(&mut self, node: Node, axis: usize, k: usize, largest: bool) -> Result<(), EvalError> {
        let (Some(&Some(x)), [values, indices]) = (node.inputs.first(), &node.outputs[..]) else {
            return self.push(node);
        };
        let (values, indices) = (*values, *indices);
        let shape = self.shape(x);
        let dtype = self.dtype(x);
        let n = shape[axis];
        let pairs = shape.iter().product::<usize>().saturating_mul(n);
        let by_pairs = pairs <= MOST_PAIRS && (3 * k > 2 * n || k > MOST_CHOSEN || dtype == DType::I64);
        if by_pairs || k == 0 || k > MOST_CHOSEN || k > n || dtype == DType::Bool {
            return self.push(node);
        }
        let mut single = shape.clone();
        single[axis] = 1;
        let mut row = vec![1; shape.len()];
        row[axis] = shape[axis];
        let neg = Op::Unary(UnaryFn::Neg);
        let mut rest = if largest { x } else { self.emit(neg.clone(), &[x], dtype, &shape)? };
        let reduce = |function| Op::Reduce { function, axes: vec![axis], keepdims: true };
        let negative = self.emit(neg.clone(), &[rest], dtype, &shape)?;
        let most = self.emit(reduce(ReduceFn::Max), &[negative], dtype, &single)?;
        let least = self.emit(neg, &[most], dtype, &single)?;
        let one = match dtype {
            DType::I64 => self.new_constant(Tensor::i64(Vec::new(), vec![1])?, false),
            _ => self.scalar(1.0),
        };
        let floor = self.emit(Op::Binary(BinaryFn::Sub), &[least, one], dtype, &single)?;
        let numbers = Tensor::i64(row, (0..shape[axis] as i64).collect())?;
        let numbers = self.new_constant(numbers, false);
        let (mut chosen, mut places) = (Vec::new(), Vec::new());
        for i in 0..k {
            let op = Op::ArgMax { axis, keepdims: true, select_last_index: false };
            let place = self.emit(op, &[rest], DType::I64, &single)?;
            chosen.push(self.emit(reduce(ReduceFn::Max), &[rest], dtype, &single)?);
            places.push(place);
            if i + 1 < k {
                let hit = self.emit(Op::Binary(BinaryFn::Equal), &[numbers, place], DType::Bool, &shape)?;
                rest = self.emit(Op::Where, &[hit, floor, rest], dtype, &shape)?;
            }
        }
        self.finish(Op::Concat { axis }, &places, indices)?;
        if largest {
            return self.finish(Op::Concat { axis }, &chosen, values);
        }
        let many = self.shape(values);
        let joined = self.emit(Op::Concat { axis }, &chosen, dtype, &many)?;
        self.finish(Op::Unary(UnaryFn::Neg), &[joined], values)
    }
}
