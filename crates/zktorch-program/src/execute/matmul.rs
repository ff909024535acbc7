//! Batched matrix products of integers below 2^31, with 64-bit sums.

use super::product::{Data, Letter, Operand, offsets, volume};
use crate::cells::CellSlice;
use crate::with_cells;
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
                Data::Narrow(cells) if self.contiguous => with_cells!(cells, cells => {
                    for (t, &c) in to.iter_mut().zip(&cells[row..]) {
                        *t = c.into();
                    }
                }),
                Data::Narrow(cells) => with_cells!(cells, cells => {
                    for (t, &d) in to.iter_mut().zip(&self.depth) {
                        *t = cells[row + d].into();
                    }
                }),
            }
        }
    }

    /// The cells, if the rows can be read in place.
    fn in_place(&self) -> Option<&'a [i32]> {
        match self.cells {
            Data::Narrow(CellSlice::I32(cells)) if self.contiguous => Some(cells),
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

/// Rows of `x` and of `y` per tile.
const TILE: (usize, usize) = (4, 2);

/// `sum + a · b`. The caller bounded the sums; wrapping operations keep overflow checks out of the vectorised loops.
#[inline(always)]
fn add_product(sum: i64, a: i64, b: i64) -> i64 {
    sum.wrapping_add(a.wrapping_mul(b))
}

/// `Σ_k x[k] · y[k]`.
#[inline(always)]
fn dot(x: &[i32], y: &[i32]) -> i64 {
    x.iter().zip(y).fold(0, |sum, (&a, &b)| add_product(sum, a as i64, b as i64))
}

/// `Σ_k x[r][k] · y[s][k]` for all pairs. Eight separate sums in one plain loop: the form that the compiler vectorises, with every cell
/// loaded once for all its products.
#[inline(always)]
fn tile(x: [&[i32]; TILE.0], y: [&[i32]; TILE.1]) -> [[i64; TILE.1]; TILE.0] {
    let depth = x[0].len();
    let [x0, x1, x2, x3] = x.map(|x| &x[..depth]);
    let [y0, y1] = y.map(|y| &y[..depth]);
    let mut c = [[0i64; TILE.1]; TILE.0];
    for k in 0..depth {
        let (a, b) = (y0[k] as i64, y1[k] as i64);
        let z = x0[k] as i64;
        c[0] = [add_product(c[0][0], z, a), add_product(c[0][1], z, b)];
        let z = x1[k] as i64;
        c[1] = [add_product(c[1][0], z, a), add_product(c[1][1], z, b)];
        let z = x2[k] as i64;
        c[2] = [add_product(c[2][0], z, a), add_product(c[2][1], z, b)];
        let z = x3[k] as i64;
        c[3] = [add_product(c[3][0], z, a), add_product(c[3][1], z, b)];
    }
    c
}

/// `c[i][j] += Σ_k x[i][k] · y[j][k]`; `c` is row-major with `y.starts.len()` columns.
struct Block<'a> {
    x: Rows<'a>,
    y: Rows<'a>,
    depth: usize,
    c: &'a mut [i64],
}

/// Compiled once for each instruction set; a closure would not be inlined into the function that enables the instructions.
impl pulp::WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        block(self.x, self.y, self.depth, self.c);
    }
}

#[inline(always)]
fn block(x: Rows, y: Rows, depth: usize, c: &mut [i64]) {
    let (m, n) = (x.starts.len(), y.starts.len());
    let mut from = 0;
    while from < depth {
        let to = (from + DEPTH).min(depth);
        let x_row = |i: usize| &x.cells[x.starts[i] + from..x.starts[i] + to];
        let y_row = |j: usize| &y.cells[y.starts[j] + from..y.starts[j] + to];
        let (whole_m, whole_n) = (m / TILE.0 * TILE.0, n / TILE.1 * TILE.1);
        for j in (0..whole_n).step_by(TILE.1) {
            let ys = [y_row(j), y_row(j + 1)];
            for i in (0..whole_m).step_by(TILE.0) {
                let sums = tile([x_row(i), x_row(i + 1), x_row(i + 2), x_row(i + 3)], ys);
                for (r, sums) in sums.iter().enumerate() {
                    c[(i + r) * n + j] += sums[0];
                    c[(i + r) * n + j + 1] += sums[1];
                }
            }
        }
        for i in 0..m {
            let first = if i < whole_m { whole_n } else { 0 };
            for j in first..n {
                c[i * n + j] += dot(x_row(i), y_row(j));
            }
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
            arch.dispatch(Block { x, y, depth, c: head });
            row += count;
        }
    });
    c
}

/// Cells of a side's packed form.
pub(crate) fn packed_cells(batch: &[Letter], own: &[Letter], sum: &[Letter]) -> usize {
    volume(batch) * volume(own) * volume(sum)
}
