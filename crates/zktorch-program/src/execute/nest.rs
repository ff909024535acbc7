//! Sums of products by strided loops: everything that is no matrix product.

use super::product::{Data, Letter, Product, offsets};
use crate::with_cells;
use rayon::prelude::*;
use std::ops::{AddAssign, Mul};

/// Integers that sums are computed in. The caller makes sure that nothing overflows.
pub(crate) trait Number: Copy + Send + Sync + From<i64> + AddAssign + Mul<Output = Self> {}
impl Number for i64 {}
impl Number for i128 {}

/// Outputs per parallel task, about.
const CHUNK: usize = 1 << 12;
/// Shortest summed letter that is worth an inner loop of its own.
const SHORT: usize = 8;

/// A run of cells, one per index of the innermost loop.
#[derive(Clone, Copy)]
struct Run<'a> {
    cells: &'a [i64],
    stride: usize,
}

impl Run<'_> {
    #[inline(always)]
    fn at(&self, j: usize) -> i64 {
        self.cells[j * self.stride]
    }
}

/// `row[j] += c · Π runs[j]`.
#[inline]
fn add_row<T: Number>(row: &mut [T], c: T, runs: &[Run]) {
    match runs {
        [] => row.iter_mut().for_each(|r| *r += c),
        [a] if a.stride == 1 => {
            for (r, &a) in row.iter_mut().zip(a.cells) {
                *r += c * T::from(a);
            }
        }
        [a] => {
            for (r, &a) in row.iter_mut().zip(a.cells.iter().step_by(a.stride)) {
                *r += c * T::from(a);
            }
        }
        [a, b] if a.stride == 1 && b.stride == 1 => {
            for ((r, &a), &b) in row.iter_mut().zip(a.cells).zip(b.cells) {
                *r += c * T::from(a) * T::from(b);
            }
        }
        _ => {
            for (j, r) in row.iter_mut().enumerate() {
                *r += runs.iter().fold(c, |p, run| p * T::from(run.at(j)));
            }
        }
    }
}

/// `c · Σ_j Π runs[j]` over `n` indices.
#[inline]
fn sum_row<T: Number>(n: usize, c: T, runs: &[Run]) -> T {
    let mut sum = T::from(0);
    match runs {
        [] => return c * T::from(n as i64),
        [a] if a.stride == 1 => {
            for &a in &a.cells[..n] {
                sum += T::from(a);
            }
        }
        [a, b] if a.stride == 1 && b.stride == 1 => {
            for (&a, &b) in a.cells[..n].iter().zip(&b.cells[..n]) {
                sum += T::from(a) * T::from(b);
            }
        }
        [a, b] => {
            for j in 0..n {
                sum += T::from(a.at(j)) * T::from(b.at(j));
            }
        }
        _ => {
            for j in 0..n {
                sum += runs.iter().fold(T::from(1), |p, run| p * T::from(run.at(j)));
            }
        }
    }
    c * sum
}

/// The cells of the operands from `at` on, for an inner loop over `n` indices of `letter` starting at index `first`; operands that the
/// letter does not move are multiplied into the coefficient.
fn runs<'a, T: Number>(
    cells: &[&'a [i64]],
    at: &[usize; 3],
    letter: &Letter,
    first: usize,
    n: usize,
    c: T,
    buffer: &mut [Run<'a>; 3],
) -> (T, usize) {
    let (mut c, mut used) = (c, 0);
    for (i, cells) in cells.iter().enumerate() {
        let stride = letter.strides[i];
        let start = at[i] + first * stride;
        if stride == 0 {
            c = c * T::from(cells[start]);
        } else {
            buffer[used] = Run { cells: &cells[start..=start + (n - 1) * stride], stride };
            used += 1;
        }
    }
    (c, used)
}

/// `out += coeff · product`. `out` is row-major over the product's out letters; the product is canonical.
pub(crate) fn accumulate<T: Number>(product: &Product, coeff: T, out: &mut [T]) {
    let widened: Vec<Vec<i64>> = product
        .operands
        .iter()
        .map(|o| match &o.data {
            Data::Wide(_) => Vec::new(),
            Data::Narrow(cells) => with_cells!(cells, v => v.par_iter().map(|&c| c.into()).collect()),
        })
        .collect();
    let cells: Vec<&[i64]> = product
        .operands
        .iter()
        .zip(&widened)
        .map(|(o, w)| match &o.data {
            Data::Wide(cells) => &cells[o.offset..],
            Data::Narrow(_) => &w[o.offset..],
        })
        .collect();
    let coeff = coeff * T::from(product.repeat);
    let scalar = Letter { size: 1, strides: [0; 3] };
    let (row, outer) = match product.out.split_last() {
        Some((row, outer)) => (*row, outer),
        None => (scalar, &[][..]),
    };
    // The innermost loop runs over a summed letter if that is the one that walks through memory cell by cell.
    let inner = product.sum.last().copied().filter(|l| {
        let near = l.strides.iter().all(|&s| s <= 1);
        let far = row.strides.iter().any(|&s| s > 1);
        l.size >= SHORT && (row.size < 2 * SHORT || (near && far))
    });
    let summed = match inner {
        Some(_) => &product.sum[..product.sum.len() - 1],
        None => &product.sum[..],
    };
    let sums: Vec<Vec<usize>> = (0..cells.len()).map(|i| offsets(summed, i)).collect();
    let steps: usize = summed.iter().map(|l| l.size).product();
    let work = steps * inner.map_or(1, |l| l.size);
    let chunk = (CHUNK / work.min(CHUNK)).max(1);
    out.par_chunks_mut(chunk).enumerate().for_each(|(task, out)| {
        let mut buffer = [Run { cells: &[], stride: 1 }; 3];
        let (mut position, end) = (task * chunk, task * chunk + out.len());
        let mut rest = out;
        while position < end {
            let (mut index, first) = (position / row.size, position % row.size);
            let n = (row.size - first).min(end - position);
            let (segment, tail) = rest.split_at_mut(n);
            rest = tail;
            position += n;
            let mut base = [0usize; 3];
            for l in outer.iter().rev() {
                let j = index % l.size;
                index /= l.size;
                for (b, s) in base.iter_mut().zip(l.strides) {
                    *b += j * s;
                }
            }
            for step in 0..steps {
                let mut at = base;
                for (a, s) in at.iter_mut().zip(&sums) {
                    *a += s[step];
                }
                match &inner {
                    None => {
                        let (c, used) = runs(&cells, &at, &row, first, n, coeff, &mut buffer);
                        add_row(segment, c, &buffer[..used]);
                    }
                    Some(letter) => {
                        for (j, o) in segment.iter_mut().enumerate() {
                            let mut at = at;
                            for (a, s) in at.iter_mut().zip(row.strides) {
                                *a += (first + j) * s;
                            }
                            let (c, used) = runs(&cells, &at, letter, 0, letter.size, coeff, &mut buffer);
                            *o += sum_row(letter.size, c, &buffer[..used]);
                        }
                    }
                }
            }
        }
    });
}
