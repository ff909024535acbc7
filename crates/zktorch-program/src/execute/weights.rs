//! Products with a weight matrix: `c[i][j] = Σ_k x[i][k] · w[k][j]`.
//!
//! The weights are read once, in place. With weights of at most 16 bits this is for [`madd`]; what is here reads them row by row, whatever their width,
//! if `j` runs through neighbouring cells; sums of a few dozen products stay in 32 bits where they fit.

use super::columns::side_by_side;
use super::madd;
use super::product::{Data, Letter, Operand, offsets, volume};
use crate::cells::CellSlice;
use crate::with_cells;
use rayon::prelude::*;
use std::ops::Range;

/// Summed indices between two transfers of the narrow sums to the wide ones.
const DEPTH: usize = 64;
/// Rows of `x` that share one pass over the weights of a block.
const GROUP: usize = 4;
/// Summed indices per pass over the sums.
const UNROLL: usize = 4;

/// `c[i][j] = Σ_k x[i][k] · w[k][j]`, dense; operand `w` is the weights. All cells are below 2^31 and all sums below 2^63 in absolute value. Nothing
/// if this module cannot do it: there are batches, or the weights are long and their own letter does not run through neighbouring cells.
pub(super) fn product(operands: &[Operand<'_>], w: usize, batch: &[Letter], own: &[Vec<Letter>; 2], sum: &[Letter]) -> Option<Vec<i64>> {
    let ([], [j]) = (batch, &own[w][..]) else { return None };
    let (depth, depth_stride) = (volume(sum), even_steps(&offsets(sum, w))?);
    let (weights, other) = (&operands[w], &operands[1 - w]);
    let Data::Narrow(cells) = &weights.data else { return None };
    let cut = madd::Cut::new(other.peak, weights.peak).filter(|_| !matches!(cells, CellSlice::I32(_)));
    if cut.is_none() && j.strides[w] != 1 {
        return None;
    }
    let x = pack(other, &own[1 - w], sum, 1 - w);
    if let Some(cut) = cut {
        let product = with_cells!(cells, cells => {
            let all = madd::Weights { cells: &cells[weights.offset..], depth_stride, column_stride: j.strides[w] };
            madd::product(&x, all, depth, j.size, cut)
        });
        if product.is_some() || j.strides[w] != 1 {
            return product;
        }
    }
    let narrow = other.peak.saturating_mul(weights.peak).saturating_mul(DEPTH as u128) < 1 << 31;
    Some(with_cells!(cells, cells => {
        let all = Weights { cells: &cells[weights.offset..], stride: depth_stride };
        match narrow {
            true => blocks::<_, i32>(&x, all, depth, j.size),
            false => blocks::<_, i64>(&x, all, depth, j.size),
        }
    }))
}

/// Integers that partial sums are kept in.
trait Sum: Copy + Default + Into<i64> + Send + Sync {
    /// `self + a · b`, for a caller who has bounded the sums.
    fn plus(self, a: i32, b: i32) -> Self;
}

impl Sum for i32 {
    #[inline(always)]
    fn plus(self, a: i32, b: i32) -> i32 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn plus(self, a: i32, b: i32) -> i64 {
        self.wrapping_add(i64::from(a).wrapping_mul(i64::from(b)))
    }
}

/// The distance between neighbouring offsets, if it is always the same; the first of them is 0.
fn even_steps(offsets: &[usize]) -> Option<usize> {
    let step = offsets.get(1).copied().unwrap_or(0);
    offsets.iter().enumerate().all(|(i, o)| *o == i * step).then_some(step)
}

/// The other side, dense: row `i` holds the summed indices.
fn pack(x: &Operand<'_>, own: &[Letter], sum: &[Letter], i: usize) -> Vec<i32> {
    let (rows, depth) = (offsets(own, i), offsets(sum, i));
    let mut out = vec![0; rows.len() * depth.len()];
    out.par_chunks_mut(depth.len()).zip(&rows).with_min_len(16).for_each(|(to, row)| {
        let at = x.offset + row;
        match &x.data {
            Data::Wide(cells) => to.iter_mut().zip(&depth).for_each(|(to, d)| *to = cells[at + d] as i32),
            Data::Narrow(cells) => {
                with_cells!(cells, cells => to.iter_mut().zip(&depth).for_each(|(to, d)| *to = i32::from(cells[at + d])))
            }
        }
    });
    out
}

/// Row `k` begins at `k · stride`.
#[derive(Clone, Copy)]
struct Weights<'a, T> {
    cells: &'a [T],
    stride: usize,
}

fn blocks<T: Copy + Into<i32> + Sync, S: Sum>(x: &[i32], weights: Weights<'_, T>, depth: usize, columns: usize) -> Vec<i64> {
    let arch = pulp::Arch::new();
    side_by_side(x.len() / depth, columns, |columns| arch.dispatch(Block::<T, S> { x, weights, depth, columns, sum: Default::default() }))
}

/// Some columns of the product.
struct Block<'a, T, S> {
    x: &'a [i32],
    weights: Weights<'a, T>,
    depth: usize,
    columns: Range<usize>,
    sum: std::marker::PhantomData<S>,
}

/// Compiled once for each instruction set; a closure would not be inlined into the function that enables the instructions.
impl<T: Copy + Into<i32>, S: Sum> pulp::WithSimd for Block<'_, T, S> {
    type Output = Vec<i64>;

    #[inline(always)]
    fn with_simd<A: pulp::Simd>(self, _: A) -> Vec<i64> {
        let n = self.columns.len();
        let mut c = vec![0i64; self.x.len() / self.depth * n];
        let mut sums = vec![S::default(); GROUP * n];
        for first in (0..self.depth).step_by(DEPTH) {
            let last = (first + DEPTH).min(self.depth);
            for (x, c) in self.x.chunks(GROUP * self.depth).zip(c.chunks_mut(GROUP * n)) {
                sums.fill(S::default());
                let used = &mut sums[..c.len()];
                let mut k = first;
                while k + UNROLL <= last {
                    let rows: [&[T]; UNROLL] = std::array::from_fn(|u| row(self.weights, k + u, &self.columns));
                    for (x, sums) in x.chunks(self.depth).zip(used.chunks_mut(n)) {
                        add_rows(sums, &rows, std::array::from_fn(|u| x[k + u]));
                    }
                    k += UNROLL;
                }
                for k in k..last {
                    let rows = [row(self.weights, k, &self.columns)];
                    for (x, sums) in x.chunks(self.depth).zip(used.chunks_mut(n)) {
                        add_rows(sums, &rows, [x[k]]);
                    }
                }
                for (c, &s) in c.iter_mut().zip(&*used) {
                    *c += s.into();
                }
            }
        }
        c
    }
}

#[inline(always)]
fn row<'a, T>(weights: Weights<'a, T>, k: usize, columns: &Range<usize>) -> &'a [T] {
    &weights.cells[k * weights.stride..][columns.clone()]
}

/// `sums[j] += Σ_u x[u] · rows[u][j]`.
#[inline(always)]
fn add_rows<T: Copy + Into<i32>, S: Sum, const N: usize>(sums: &mut [S], rows: &[&[T]; N], x: [i32; N]) {
    let n = sums.len();
    let rows: [&[T]; N] = std::array::from_fn(|u| &rows[u][..n]);
    for j in 0..n {
        let mut sum = sums[j];
        for u in 0..N {
            sum = sum.plus(x[u], rows[u][j].into());
        }
        sums[j] = sum;
    }
}
