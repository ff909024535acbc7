//! The first rounds of a sumcheck of `Σ_x v(x) K(x)`, for integers `v` that are at hand and weights `K` that are made a slice at a time.
//!
//! Let the first `c` variables number blocks of cells. All that the first `c` round polynomials depend on is the matrix
//! `M_{ab} = Σ_y v(a, y) K(b, y)` of `2^c × 2^c` inner products, which takes one pass over the weights. A second pass binds the `c` variables at
//! once. Neither `K` nor `v` ever exists as a table of scalars of full length: on large heaps, touching that memory for the first time
//! would cost more than the arithmetic.

use crate::claims::Claim;
use crate::kernel::Kernel;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::mle::eq_table;
use zktorch_algebra::small::{combine_rows, dot_small_each};
use zktorch_algebra::{Fr, table};

/// Most variables that are bound at once.
const HEAD_BITS: usize = 3;
/// Bounds of log2 of the cells of a slice: their weights fit a second-level cache, and there are enough slices for all threads.
const SLICE_BITS: std::ops::RangeInclusive<usize> = 6..=12;

/// Most slices that a thread takes at a time: some cost much more than others.
const UNEVEN: usize = 4;

/// A sum over integers and weights whose first variables are not bound yet.
pub(crate) struct Streamed<'a> {
    cells: &'a [i64],
    kernel: Kernel,
    /// Cells of a block.
    block: usize,
    slice: usize,
    /// `M` over the block variables that are left, row by row.
    products: Vec<Fr>,
    /// Challenges so far.
    bound: Vec<Fr>,
    /// Number of block variables.
    head: usize,
}

impl<'a> Streamed<'a> {
    /// `Σ_x cells(x) · Σ_j w_j K_j(x)` over `2^vars` cells, padded with zeros; the claims' windows lie inside the cells.
    pub fn new(cells: &'a [i64], claims: &[(Fr, Claim)], vars: usize) -> Streamed<'a> {
        let head = HEAD_BITS.min(vars);
        let block = 1usize << (vars - head);
        let slice = 1usize << (vars - head).saturating_sub(3).clamp(*SLICE_BITS.start(), *SLICE_BITS.end()).min(vars - head);
        let kernel = Kernel::new(claims, slice);
        let blocks = 1usize << head;
        let mut streamed = Streamed { cells, kernel, block, slice, products: Vec::new(), bound: Vec::new(), head };
        let used = streamed.used();
        let inner = |first: usize| {
            let mut weights = vec![Fr::ZERO; slice];
            let mut products = vec![Fr::ZERO; blocks * blocks];
            for b in 0..used {
                weights.fill(Fr::ZERO);
                streamed.kernel.add_to(Fr::ONE, b * block + first, &mut weights);
                let cells: [&[i64]; 1 << HEAD_BITS] =
                    std::array::from_fn(|a| streamed.present(if a < used { a * block } else { 0 } + first));
                for (a, cells) in cells.as_chunks::<4>().0.iter().enumerate() {
                    for (i, product) in dot_small_each(*cells, &weights).into_iter().enumerate().take(used.saturating_sub(4 * a)) {
                        products[(4 * a + i) * blocks + b] = product;
                    }
                }
            }
            products
        };
        let add = |mut a: Vec<Fr>, b: Vec<Fr>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        let products = (0..block / slice)
            .into_par_iter()
            .with_max_len(UNEVEN)
            .map(|i| inner(i * slice))
            .reduce(|| vec![Fr::ZERO; blocks * blocks], add);
        streamed.products = products;
        streamed
    }

    /// Blocks that are not all padding.
    fn used(&self) -> usize {
        self.cells.len().div_ceil(self.block)
    }

    /// At most a slice of cells, without the padding.
    fn present(&self, first: usize) -> &'a [i64] {
        self.cells.get(first..).map_or(&[], |rest| rest.get(..self.slice).unwrap_or(rest))
    }

    /// The sum.
    pub fn sum(&self) -> Fr {
        let n = self.side();
        (0..n).map(|a| self.products[a * n + a]).sum()
    }

    fn side(&self) -> usize {
        1 << (self.head - self.bound.len())
    }

    /// The four quarters of the matrix: `[[M_00, M_01], [M_10, M_11]]` by the variable of each side, as functions of row and column.
    fn quarter(&self, s: usize, t: usize, a: usize, b: usize) -> Fr {
        let (n, half) = (self.side(), self.side() / 2);
        self.products[(s * half + a) * n + t * half + b]
    }

    /// Coefficients 0 and 2 of the round polynomial.
    pub fn round(&self) -> [Fr; 2] {
        let trace = |s: usize, t: usize| (0..self.side() / 2).map(|a| self.quarter(s, t, a, a)).sum::<Fr>();
        let zero = trace(0, 0);
        [zero, zero - trace(0, 1) - trace(1, 0) + trace(1, 1)]
    }

    /// Binds a variable. With the last of the block variables, returns the integers and the weights as tables over all others.
    pub fn bind(&mut self, r: Fr) -> Option<[Vec<Fr>; 2]> {
        let half = self.side() / 2;
        let (one, mixed, both) = ((Fr::ONE - r).square(), (Fr::ONE - r) * r, r.square());
        let entry = |i: usize| {
            let at = |s: usize, t: usize| self.quarter(s, t, i / half, i % half);
            one * at(0, 0) + mixed * (at(0, 1) + at(1, 0)) + both * at(1, 1)
        };
        self.products = (0..half * half).map(entry).collect();
        self.bound.push(r);
        (self.bound.len() == self.head).then(|| self.tables())
    }

    /// The integers and the weights as tables over the variables that are not bound.
    pub fn tables(&self) -> [Vec<Fr>; 2] {
        let (eq, used, block, side) = (eq_table(&self.bound), self.used(), self.block, self.side());
        // Blocks that differ in bound variables only are combined.
        let mut cells = Vec::new();
        for c in 0..side {
            let own = used.saturating_sub(c).div_ceil(side);
            let rows = |a: usize| self.cells.get((a * side + c) * block..).unwrap_or_default();
            let combined = if own > 0 { combine_rows(rows, &eq[..own], block) } else { vec![Fr::ZERO; block] };
            cells = if side == 1 { combined } else { [cells, combined].concat() };
        }
        let mut weights = table::zeros(side * block);
        weights.par_chunks_mut(self.slice).with_max_len(UNEVEN).enumerate().for_each(|(i, out)| {
            // Pages that are read before they are written would be set up twice.
            out.fill(Fr::ZERO);
            let (c, first) = (i * self.slice / block, i * self.slice % block);
            for (a, e) in eq.iter().enumerate().filter(|(a, _)| a * side + c < used) {
                self.kernel.add_to(*e, (a * side + c) * block + first, out);
            }
        });
        [cells, weights]
    }
}
