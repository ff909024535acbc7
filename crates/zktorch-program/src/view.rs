//! Strided windows onto the vectors that a program speaks about.

use serde::{Deserialize, Serialize};

/// One axis of a [`View`]: index `i < size` moves the window by `i · stride` cells. A stride of 0 repeats the same cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Axis {
    /// Number of indices; at least 1.
    pub size: usize,
    /// Distance in cells between neighbouring indices; may be 0 (broadcast) or overlap with other axes (windows).
    pub stride: usize,
}

/// Index of a [`crate::Region`] of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegionId(pub u32);
/// Index of a committed parameter matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MatrixId(pub u32);
/// Index of a constant of the circuit, known to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConstantId(pub u32);
/// Index of a public tensor of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicId(pub u32);
/// Index of a [`crate::Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub u32);

/// The vector that a view looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A region of the witness heap; offsets count from the region's base.
    Region(RegionId),
    /// The parameter heap (small parameters: biases, norms, …), committed at set-up.
    Params,
    /// A parameter matrix (a large weight), committed at set-up. Offsets and strides count cells of the dense row-major
    /// tensor; a view of a matrix is always the whole matrix with its axes in any order.
    Matrix(MatrixId),
    /// A constant of the circuit (masks, position tables that the model's owner does not hide).
    Constant(ConstantId),
    /// A public tensor of the statement (public inputs and outputs).
    Public(PublicId),
}

/// A strided window: `V[i_1, …, i_D] = source[offset + Σ_d stride_d · i_d]`, `i_d < size_d`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// What the window looks at.
    pub source: Source,
    /// First cell, relative to the source's start.
    pub offset: usize,
    /// Axes, outermost first; none for a scalar.
    pub axes: Vec<Axis>,
}

impl View {
    /// A dense row-major window of the given shape at `offset`.
    pub fn dense(source: Source, offset: usize, shape: &[usize]) -> View {
        let mut axes = vec![Axis { size: 1, stride: 1 }; shape.len()];
        let mut stride = 1;
        for (axis, &size) in axes.iter_mut().zip(shape).rev() {
            *axis = Axis { size, stride };
            stride *= size;
        }
        View { source, offset, axes }
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|a| a.size).collect()
    }

    /// Number of indices (not of distinct cells).
    pub fn len(&self) -> usize {
        self.axes.iter().map(|a| a.size).product()
    }

    /// Whether some axis has size 0 (never true for a view in a finished program).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One past the largest cell that the window touches, relative to the source.
    pub fn end(&self) -> usize {
        self.offset + self.axes.iter().map(|a| (a.size.max(1) - 1) * a.stride).sum::<usize>() + 1
    }

    /// The axes in another order: axis `d` of the result is axis `perm[d]` of `self`. `perm` must be a permutation.
    pub fn permute(&self, perm: &[usize]) -> View {
        View { source: self.source, offset: self.offset, axes: perm.iter().map(|&p| self.axes[p]).collect() }
    }

    /// Inserts an axis of the given size and stride 0 (broadcast) before position `at`.
    pub fn broadcast_axis(&self, at: usize, size: usize) -> View {
        let mut v = self.clone();
        v.axes.insert(at, Axis { size, stride: 0 });
        v
    }

    /// Keeps indices `start, start+step, …` (`count` of them) of one axis.
    pub fn slice(&self, axis: usize, start: usize, count: usize, step: usize) -> View {
        let mut v = self.clone();
        v.offset += start * v.axes[axis].stride;
        v.axes[axis].size = count;
        v.axes[axis].stride *= step;
        v
    }

    /// Fixes one axis at `index` and drops it.
    pub fn at(&self, axis: usize, index: usize) -> View {
        let mut v = self.slice(axis, index, 1, 1);
        v.axes.remove(axis);
        v
    }

    /// The same elements under another row-major shape, if strides allow it without moving cells.
    pub fn reshape(&self, shape: &[usize]) -> Option<View> {
        if self.len() != shape.iter().product::<usize>() {
            return None;
        }
        // Merge neighbouring axes that are contiguous with each other, then split the merged axes.
        let mut groups: Vec<Axis> = Vec::new();
        for a in self.axes.iter().filter(|a| a.size != 1) {
            match groups.last_mut() {
                Some(g) if g.stride == a.stride * a.size => {
                    g.size *= a.size;
                    g.stride = a.stride;
                }
                _ => groups.push(*a),
            }
        }
        let mut axes = vec![Axis { size: 1, stride: 0 }; shape.len()];
        let mut g = groups.len();
        let (mut left, mut stride) = (1usize, 0usize);
        for (d, &size) in shape.iter().enumerate().rev() {
            if size == 1 {
                continue;
            }
            if left == 1 {
                g = g.checked_sub(1)?;
                left = groups[g].size;
                stride = groups[g].stride;
            }
            if left % size != 0 {
                return None;
            }
            axes[d] = Axis { size, stride };
            stride *= size;
            left /= size;
        }
        (g == 0 && left == 1).then_some(View { source: self.source, offset: self.offset, axes })
    }

    /// Whether the window is a dense row-major run of cells.
    pub fn is_contiguous(&self) -> bool {
        let mut stride = 1;
        for a in self.axes.iter().rev() {
            if a.size != 1 && a.stride != stride {
                return false;
            }
            stride *= a.size;
        }
        true
    }

    /// Calls `f(cell)` for every index in row-major order; cells count from the source's start.
    pub fn for_each(&self, mut f: impl FnMut(usize)) {
        let n = self.axes.len();
        if self.is_empty() {
            return;
        }
        if n == 0 {
            f(self.offset);
            return;
        }
        let inner = self.axes[n - 1];
        let mut index = vec![0usize; n - 1];
        let mut base = self.offset;
        loop {
            let mut cell = base;
            for _ in 0..inner.size {
                f(cell);
                cell += inner.stride;
            }
            let mut d = n - 1;
            loop {
                if d == 0 {
                    return;
                }
                d -= 1;
                index[d] += 1;
                base += self.axes[d].stride;
                if index[d] < self.axes[d].size {
                    break;
                }
                base -= self.axes[d].stride * self.axes[d].size;
                index[d] = 0;
            }
        }
    }

    /// The cells of the window in row-major order.
    pub fn cells(&self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.len());
        self.for_each(|c| out.push(c));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_keeps_the_order_of_cells() {
        let v = View::dense(Source::Params, 3, &[4, 6]);
        for shape in [vec![24], vec![2, 2, 6], vec![4, 2, 3], vec![8, 3], vec![1, 4, 1, 6]] {
            let w = v.reshape(&shape).expect("a dense view takes any shape");
            assert_eq!(w.shape(), shape);
            assert_eq!(w.cells(), v.cells());
        }
    }

    #[test]
    fn reshape_of_a_transposed_view_splits_but_does_not_merge() {
        let v = View::dense(Source::Params, 0, &[4, 6]).permute(&[1, 0]);
        assert!(v.reshape(&[24]).is_none());
        let w = v.reshape(&[2, 3, 4]).expect("splitting an axis is always possible");
        assert_eq!(w.cells(), v.cells());
    }

    #[test]
    fn slices_and_broadcasts_visit_the_expected_cells() {
        let v = View::dense(Source::Params, 0, &[3, 4]);
        assert_eq!(v.slice(1, 1, 2, 2).cells(), vec![1, 3, 5, 7, 9, 11]);
        assert_eq!(v.at(0, 2).broadcast_axis(0, 2).cells(), vec![8, 9, 10, 11, 8, 9, 10, 11]);
        assert_eq!(v.slice(0, 1, 2, 1).end(), 12);
    }
}
