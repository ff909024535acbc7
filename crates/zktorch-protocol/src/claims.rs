//! Claims on committed vectors through views: `Σ_{i in box} Π_d w_d(i_d) · vector[offset + Σ_d stride_d · i_d] = value`.

use crate::circuit::Lc;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, mle::eq_table};
use zktorch_program::{Axis, Program, Source, View};

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

/// `Σ_{i in box} Π_d w_d(i_d) · values[offset + Σ stride·i]` by direct summation. Cost: one multiplication per index.
pub fn evaluate_known(values: &[i64], offset: usize, axes: &[(Axis, Weight)]) -> Fr {
    // Axes of stride 0 only scale the sum.
    let mut scale = Fr::ONE;
    let mut inner: Vec<(Axis, Vec<Fr>)> = Vec::new();
    for (axis, weight) in axes {
        let table = weight.table(axis.size);
        if axis.stride == 0 {
            scale *= table.iter().sum::<Fr>();
        } else {
            inner.push((*axis, table));
        }
    }
    fn sum(values: &[i64], offset: usize, axes: &[(Axis, Vec<Fr>)]) -> Fr {
        match axes.split_first() {
            None => zktorch_algebra::fr_from_i64(values[offset]),
            Some(((axis, table), [])) => {
                let mut acc = zktorch_algebra::small::SmallAccumulator::new();
                for (i, w) in table.iter().enumerate() {
                    acc.add(values[offset + i * axis.stride], w);
                }
                acc.value()
            }
            Some(((axis, table), rest)) => {
                table.iter().enumerate().fold(Fr::ZERO, |acc, (i, w)| acc + *w * sum(values, offset + i * axis.stride, rest))
            }
        }
    }
    scale * sum(values, offset, &inner)
}
