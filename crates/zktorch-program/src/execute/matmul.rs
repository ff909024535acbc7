//! Batched matrix products of integers below 2^31, with 64-bit sums.

use super::product::{Data, Letter, Operand, offsets, volume};
use rayon::prelude::*;

/// Rows of the streamed side per task and per pass over the resident side.
const ROWS: usize = 16;
/// Summed indices per pass: a block of rows stays in the nearest caches.
const DEPTH: usize = 1024;

/// Where the letters of one factor are: batch, its own output letters, contraction.
pub(crate) struct Side<'a> {
    cells: &'a Data<'a>,
    /// First cell of each row, batches outermost.
    rows: Vec<usize>,
    /// Offset of each summed index within a row.
    depth: Vec<usize>,
    contiguous: bool,
}

impl<'a> Side<'a> {
    pub(crate) fn new(operand: &'a Operand<'a>, i: usize, batch: &[Letter], own: &[Letter], sum: &[Letter]) -> Side<'a> {
        let mut rows: Vec<Letter> = batch.to_vec();
        rows.extend_from_slice(own);
        let mut rows = offsets(&rows, i);
        rows.iter_mut().for_each(|r| *r += operand.offset);
        let depth = offsets(sum, i);
        let contiguous = depth.iter().enumerate().all(|(k, &d)| k == d);
        Side { cells: &operand.data, rows, depth, contiguous }
    }

    /// Copies rows to `to`, one after the other.
    fn pack(&self, rows: std::ops::Range<usize>, to: &mut [i32]) {
        for (to, &row) in to.chunks_mut(self.depth.len()).zip(&self.rows[rows]) {
            match self.cells {
                Data::Wide(cells) if self.contiguous => {
                    for (t, &c) in to.iter_mut().zip(&cells[row..]) {
                        *t = c as i32;
                    }
                }
                Data::Wide(cells) => {
                    for (t, &d) in to.iter_mut().zip(&self.depth) {
                        *t = cells[row + d] as i32;
                    }
                }
                Data::Narrow(cells) => {
                    for (t, &d) in to.iter_mut().zip(&self.depth) {
                        *t = cells[row + d];
                    }
                }
            }
        }
    }

    /// The cells, if the rows can be read in place.
    fn in_place(&self) -> Option<&'a [i32]> {
        match self.cells {
            Data::Narrow(cells) if self.contiguous => Some(cells),
            _ => None,
        }
    }
}

/// Rows of one side, in place or packed.
#[derive(Clone, Copy)]
struct Rows<'a> {
    cells: &'a [i32],
    starts: &'a [usize],
}

/// `Σ_k x[r][k] · y[s][k]` for all pairs. The caller bounded the sums; wrapping operations keep overflow checks out of the vectorised loop.
#[inline(always)]
fn tile<const R: usize, const S: usize>(x: [&[i32]; R], y: [&[i32]; S]) -> [[i64; S]; R] {
    const LANES: usize = 4;
    let depth = x[0].len();
    let x = x.map(|x| &x[..depth]);
    let y = y.map(|y| &y[..depth]);
    let mut lanes = [[[0i64; LANES]; S]; R];
    let whole = depth / LANES * LANES;
    let mut k = 0;
    while k < whole {
        for r in 0..R {
            for s in 0..S {
                for l in 0..LANES {
                    let product = (x[r][k + l] as i64).wrapping_mul(y[s][k + l] as i64);
                    lanes[r][s][l] = lanes[r][s][l].wrapping_add(product);
                }
            }
        }
        k += LANES;
    }
    let mut sums = [[0i64; S]; R];
    for r in 0..R {
        for s in 0..S {
            sums[r][s] = lanes[r][s].iter().sum();
            for k in whole..depth {
                sums[r][s] += x[r][k] as i64 * y[s][k] as i64;
            }
        }
    }
    sums
}

#[inline(always)]
fn tiles<const R: usize>(x: [&[i32]; R], y: Rows, from: usize, to: usize, c: &mut [i64], n: usize) {
    let row = |j: usize| &y.cells[y.starts[j] + from..y.starts[j] + to];
    let mut j = 0;
    while j + 2 <= n {
        let t = tile(x, [row(j), row(j + 1)]);
        for (r, t) in t.iter().enumerate() {
            c[r * n + j] += t[0];
            c[r * n + j + 1] += t[1];
        }
        j += 2;
    }
    if j < n {
        let t = tile(x, [row(j)]);
        for (r, t) in t.iter().enumerate() {
            c[r * n + j] += t[0];
        }
    }
}

/// `c[i][j] += Σ_k x[i][k] · y[j][k]`; `c` is row-major with `y.starts.len()` columns.
#[inline(always)]
fn block(x: Rows, y: Rows, depth: usize, c: &mut [i64]) {
    let (m, n) = (x.starts.len(), y.starts.len());
    let mut from = 0;
    while from < depth {
        let to = (from + DEPTH).min(depth);
        let row = |i: usize| &x.cells[x.starts[i] + from..x.starts[i] + to];
        let mut i = 0;
        while i + 4 <= m {
            let rows = [row(i), row(i + 1), row(i + 2), row(i + 3)];
            tiles(rows, y, from, to, &mut c[i * n..], n);
            i += 4;
        }
        while i < m {
            tiles([row(i)], y, from, to, &mut c[i * n..], n);
            i += 1;
        }
        from = to;
    }
}

/// `c[b][i][j] = Σ_k x[b][i][k] · y[b][j][k]`, dense. All cells are below 2^31 and all sums below 2^63 in absolute value.
/// The rows of `x` are streamed (packed by the tasks that need them), those of `y` are resident.
pub(crate) fn product(x: &Side, y: &Side, batches: usize) -> Vec<i64> {
    let depth = x.depth.len();
    let (m, n) = (x.rows.len() / batches, y.rows.len() / batches);
    let mut packed;
    let dense: Vec<usize>;
    let (y_cells, y_starts) = match y.in_place() {
        Some(cells) => (cells, &y.rows),
        None => {
            packed = vec![0i32; y.rows.len() * depth];
            packed.par_chunks_mut(ROWS * depth).enumerate().for_each(|(t, to)| {
                let first = t * ROWS;
                y.pack(first..first + to.len() / depth, to);
            });
            dense = (0..y.rows.len()).map(|r| r * depth).collect();
            (&packed[..], &dense)
        }
    };
    let arch = pulp::Arch::new();
    let mut c = vec![0i64; x.rows.len() * n];
    c.par_chunks_mut(ROWS * n).enumerate().for_each_init(Vec::new, |buffer: &mut Vec<i32>, (task, c)| {
        let (mut row, end) = (task * ROWS, task * ROWS + c.len() / n);
        let mut rest = c;
        while row < end {
            let batch = row / m;
            let count = ((batch + 1) * m).min(end) - row;
            let (head, tail) = rest.split_at_mut(count * n);
            rest = tail;
            let starts: [usize; ROWS];
            let x = match x.in_place() {
                Some(cells) => Rows { cells, starts: &x.rows[row..row + count] },
                None => {
                    buffer.resize(ROWS * depth, 0);
                    x.pack(row..row + count, &mut buffer[..count * depth]);
                    starts = std::array::from_fn(|i| i * depth);
                    Rows { cells: buffer, starts: &starts[..count] }
                }
            };
            let y = Rows { cells: y_cells, starts: &y_starts[batch * n..(batch + 1) * n] };
            arch.dispatch(
                #[inline(always)]
                || block(x, y, depth, head),
            );
            row += count;
        }
    });
    c
}

/// Cells of a side's packed form.
pub(crate) fn packed_cells(batch: &[Letter], own: &[Letter], sum: &[Letter]) -> usize {
    volume(batch) * volume(own) * volume(sum)
}
