//! Claims on committed vectors through views: `Σ_{i in box} Π_d w_d(i_d) · vector[offset + Σ_d stride_d · i_d] = value`.

use crate::circuit::{Lc, Wire};
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{
    Fr, fr_from_i64,
    mle::{eq_table, sum_of_eq_below},
    small::{Cell, SmallAccumulator, dot_small},
};
use zktorch_program::{Axis, Program, RegionId, Source, View};

/// The weight of one axis of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weight {
    /// `w(i) = eq(point, i)`, most significant bit first; the point has `⌈log2 size⌉` entries.
    Eq(Vec<Fr>),
    /// `w(i) = 1`.
    Ones,
}

impl Weight {
    /// The weights of the indices `0..size`.
    pub fn table(&self, size: usize) -> Vec<Fr> {
        match self {
            Weight::Eq(point) => {
                let mut t = eq_table(point);
                t.truncate(size);
                t
            }
            Weight::Ones => vec![Fr::ONE; size],
        }
    }
}

/// Number of variables of an index that runs over `0..size`.
pub fn index_bits(size: usize) -> usize {
    size.max(1).next_power_of_two().trailing_zeros() as usize
}

/// A committed vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vector {
    /// The witness heap.
    Heap,
    /// The parameter heap.
    Params,
    /// A parameter matrix, every axis padded to a power of two.
    Matrix(usize),
}

/// A claim on a committed vector.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The vector.
    pub vector: Vector,
    /// First cell of the window, from the vector's start.
    pub offset: usize,
    /// Axes with their weights. For a matrix: the dense strides of its shape.
    pub axes: Vec<(Axis, Weight)>,
    /// The claimed value.
    pub value: Lc,
}

/// A claim on a virtual region, which no commitment holds: `Σ_i eq(point, i) · cell_i = value` over the output indices `i` of the identity that
/// leaves these cells over. So it is a claim on that identity's other terms.
#[derive(Clone, Debug)]
pub struct VirtualClaim {
    /// The region.
    pub region: RegionId,
    /// The output letter whose index is in a part of its range only, the first index of the part and their number. A part whose size is no power of two ends where the range
    /// ends; it begins at a multiple of that power.
    pub part: (u8, usize, usize),
    /// A coordinate per bit of each output letter's index; of the letter of the part, of the distance from its first index.
    pub point: Vec<Fr>,
    /// The claimed value.
    pub value: Wire,
}

/// A view whose values the verifier knows (public tensors, constants), or a committed one.
pub enum Resolved<'a> {
    /// The verifier knows the values.
    Known(&'a [i64]),
    /// A committed vector, and the view's offset in it.
    Committed(Vector, usize),
}

/// Finds what a view looks at.
pub fn resolve<'a>(program: &'a Program, publics: &'a [Vec<i64>], view: &View) -> Resolved<'a> {
    match view.source {
        Source::Region(_) => Resolved::Committed(Vector::Heap, program.absolute_offset(view)),
        Source::Params => Resolved::Committed(Vector::Params, view.offset),
        Source::Matrix(m) => Resolved::Committed(Vector::Matrix(m.0 as usize), view.offset),
        Source::Constant(c) => Resolved::Known(&program.constants[c.0 as usize].values),
        Source::Public(p) => Resolved::Known(&publics[p.0 as usize]),
    }
}

/// `Σ_{i in box} Π_d w_d(i_d) · values[offset + Σ stride·i]` by direct summation. Cost: one small multiplication per index; axes of stride 0 cost
/// nothing, however long.
pub fn weighted_sum<T: Cell>(values: &[T], offset: usize, axes: &[(Axis, Weight)]) -> Fr {
    let repeated = axes.iter().filter(|(axis, _)| axis.stride == 0).map(|(axis, weight)| match weight {
        Weight::Eq(point) => sum_of_eq_below(point, axis.size),
        Weight::Ones => Fr::from(axis.size as u64),
    });
    let scale: Fr = repeated.product();
    let moving = axes.iter().filter(|(axis, _)| axis.stride != 0);
    scale * Window::new(moving.map(|(axis, weight)| (*axis, weight.table(axis.size))).collect()).sum(values, offset)
}

/// A weighted window, prepared for summation at many offsets.
pub(crate) struct Window {
    /// Factor from the axes of stride 0.
    scale: Fr,
    /// Outer axes with their weights.
    outer: Vec<(usize, Vec<Fr>)>,
    /// Cells of the innermost block, relative to its start, and their weights.
    block: Vec<usize>,
    weights: Vec<Fr>,
    /// The block is a run of neighbouring cells.
    contiguous: bool,
}

/// Blocks of about this many cells are summed with one table of weights.
const BLOCK: usize = 256;

impl Window {
    pub(crate) fn new(axes: Vec<(Axis, Vec<Fr>)>) -> Window {
        let mut scale = Fr::ONE;
        let mut outer = Vec::new();
        for (axis, table) in axes {
            match (axis.stride, axis.size) {
                // Repeating the same cell only scales the sum, and so does a single index.
                (0, _) | (_, 1) => scale *= table.iter().sum::<Fr>(),
                _ => outer.push((axis.stride, table)),
            }
        }
        let (mut block, mut weights) = (vec![0usize], vec![Fr::ONE]);
        while let Some((stride, table)) = outer.last() {
            if block.len() * table.len() > BLOCK && block.len() > 1 {
                break;
            }
            let cells = (0..table.len()).flat_map(|i| block.iter().map(move |c| c + i * stride)).collect();
            weights = table.iter().flat_map(|t| weights.iter().map(move |w| *w * t)).collect();
            block = cells;
            outer.pop();
        }
        let contiguous = block.iter().enumerate().all(|(i, c)| i == *c);
        Window { scale, outer, block, weights, contiguous }
    }

    pub(crate) fn sum<T: Cell>(&self, values: &[T], offset: usize) -> Fr {
        if self.weights.len() == 1 && self.outer.is_empty() {
            // A single cell: its weight is 1.
            let cell = fr_from_i64(values[offset].into());
            return if self.scale == Fr::ONE { cell } else { self.scale * cell };
        }
        self.scale * self.outer_sum(values, offset, &self.outer)
    }

    fn outer_sum<T: Cell>(&self, values: &[T], offset: usize, outer: &[(usize, Vec<Fr>)]) -> Fr {
        match outer.split_first() {
            Some(((stride, table), rest)) => {
                table.iter().enumerate().fold(Fr::ZERO, |acc, (i, w)| acc + *w * self.outer_sum(values, offset + i * stride, rest))
            }
            None if self.contiguous => dot_small(&values[offset..offset + self.block.len()], &self.weights),
            None => {
                let mut acc = SmallAccumulator::new();
                for (c, w) in self.block.iter().zip(&self.weights) {
                    acc.add(values[offset + c].into(), w);
                }
                acc.value()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zktorch_algebra::hash_to_fr;
    use zktorch_program::View;

    fn point(seed: u64, n: usize) -> Vec<Fr> {
        (0..n as u64).map(|i| hash_to_fr(&(seed * 100 + i).to_le_bytes())).collect()
    }

    #[test]
    fn weighted_sums_agree_with_the_definition() {
        let values: Vec<i64> = (0..4000).map(|i| (i * 7919) % 1001 - 500).collect();
        for (shape, strides) in [
            (vec![3, 5], vec![5, 1]),
            (vec![4, 300], vec![300, 1]),
            (vec![2, 3, 7], vec![0, 1, 3]),
            (vec![6, 1, 11], vec![1, 9, 6]),
            (vec![], vec![]),
        ] {
            let axes: Vec<(Axis, Weight)> = shape
                .iter()
                .zip(&strides)
                .enumerate()
                .map(|(d, (&size, &stride))| {
                    let w = if d == 1 { Weight::Ones } else { Weight::Eq(point(d as u64, index_bits(size))) };
                    (Axis { size, stride }, w)
                })
                .collect();
            let view = View { source: Source::Params, offset: 17, axes: axes.iter().map(|(a, _)| *a).collect() };
            let mut weights = vec![Fr::ONE];
            for (a, w) in &axes {
                let t = w.table(a.size);
                weights = weights.iter().flat_map(|x| t.iter().map(move |y| *x * y)).collect();
            }
            let want: Fr = view.cells().iter().zip(&weights).map(|(&c, w)| fr_from_i64(values[c]) * w).sum();
            assert_eq!(weighted_sum(&values, 17, &axes), want);
        }
    }
}
