//! The prover's weights of claims: `Σ_j ρ^j K_j`, made a slice at a time, so that they never exist as a whole.

use crate::automaton::merge;
use crate::claims::{Claim, Weight};
use ark_ff::AdditiveGroup;
use std::ops::Range;
use zktorch_algebra::Fr;
use zktorch_algebra::mle::eq_table;
use zktorch_algebra::table::{Run, add_runs, add_scaled};
use zktorch_program::Axis;

/// Runs of weights that are long enough for vector instructions.
const RUN: usize = 64;
/// Runs that are worth listing, so that those of several claims are added at once.
const LONG_RUN: usize = 16;
/// log2 of the cells of a long run that get their weights at a time.
const RUN_BITS: usize = 11;

/// `scale · K` of one claim, ready to be added to any slice of cells.
pub(crate) struct Scatter {
    /// First cell, and the end of the window.
    cells: Range<usize>,
    /// Strides with their weights, the largest stride first.
    tables: Vec<(usize, Vec<Fr>)>,
    /// Distance from the first to the last cell that the tables from the d-th on reach.
    reach: Vec<usize>,
}

impl Scatter {
    pub fn new(offset: usize, axes: &[(Axis, Weight)], scale: Fr) -> Scatter {
        let (factor, axes) = merge(axes);
        let mut tables: Vec<(usize, Vec<Fr>)> = Vec::new();
        let end = offset + axes.iter().map(|(a, _)| (a.size - 1) * a.stride).sum::<usize>() + 1;
        let single = axes.len() == 1;
        for (axis, weight) in axes {
            match weight {
                // A long run is a product of two short tables. Where other axes repeat it, it has to end with the second one.
                Weight::Eq(point) if axis.stride == 1 && point.len() > RUN_BITS && (single || axis.size.is_multiple_of(1 << RUN_BITS)) => {
                    let (high, low) = point.split_at(point.len() - RUN_BITS);
                    let mut high = eq_table(high);
                    high.truncate(axis.size.div_ceil(1 << RUN_BITS));
                    tables.extend([(1 << RUN_BITS, high), (1, eq_table(low))]);
                }
                weight => tables.push((axis.stride, weight.table(axis.size))),
            }
        }
        tables.sort_by_key(|(stride, _)| std::cmp::Reverse(*stride));
        convolve(&mut tables);
        join_short_runs(&mut tables);
        // The factor goes into the shortest table.
        match tables.iter_mut().min_by_key(|(_, t)| t.len()) {
            Some((_, table)) => table.iter_mut().for_each(|t| *t *= factor * scale),
            None => tables.push((1, vec![factor * scale])),
        }
        let mut reach: Vec<usize> = tables.iter().map(|(stride, t)| (t.len() - 1) * stride).collect();
        for d in (1..reach.len()).rev() {
            reach[d - 1] += reach[d];
        }
        Scatter { cells: offset..end, tables, reach }
    }

    /// Adds `factor` times the weights of the cells from `first` on, but for long runs, which it lists.
    fn add_to<'a>(&'a self, factor: Fr, first: usize, out: &mut [Fr], runs: &mut Vec<Run<'a>>) {
        // Cells past the window's end have no weight, even if the last run has entries for them.
        let len = out.len().min(self.cells.end.saturating_sub(first));
        self.add(0, self.cells.start as isize - first as isize, factor, &mut out[..len], runs);
    }

    /// Adds `w` times the tables from the `d`-th on, whose first cell is `out[at]`.
    fn add<'a>(&'a self, d: usize, at: isize, w: Fr, out: &mut [Fr], runs: &mut Vec<Run<'a>>) {
        let len = out.len() as isize;
        let (stride, table) = &self.tables[d];
        let (step, inner) = (*stride as isize, self.reach.get(d + 1).map_or(0, |r| *r as isize));
        // Indices whose cells reach into `out`.
        let from = (-at - inner + step - 1).div_euclid(step).max(0) as usize;
        let to = ((len - at + step - 1).div_euclid(step).max(0) as usize).min(table.len());
        if from >= to {
            return;
        }
        let last = d + 1 == self.tables.len();
        if last && *stride == 1 {
            let (begin, values) = ((at + from as isize) as usize, &table[from..to]);
            if values.len() >= LONG_RUN {
                runs.push(Run { first: begin, values, factor: w });
            } else {
                add_scaled(&mut out[begin..begin + values.len()], values, &w);
            }
            return;
        }
        for (i, t) in table.iter().enumerate().take(to).skip(from) {
            let at = at + i as isize * step;
            if last {
                out[at as usize] += w * t;
            } else {
                self.add(d + 1, at, w * t, out, runs);
            }
        }
    }
}

/// Axes that overlap (windows of a convolution) become one: fewer cells than index pairs.
fn convolve(tables: &mut Vec<(usize, Vec<Fr>)>) {
    let mut d = 0;
    while d + 1 < tables.len() {
        let (big, small) = (&tables[d], &tables[d + 1]);
        let ratio = big.0 / small.0;
        let merged = ratio * (big.1.len() - 1) + small.1.len();
        if big.0.is_multiple_of(small.0) && merged < big.1.len() * small.1.len() {
            let mut table = vec![Fr::ZERO; merged];
            for (i, a) in big.1.iter().enumerate() {
                add_scaled(&mut table[i * ratio..], &small.1, a);
            }
            tables[d] = (small.0, table);
            tables.remove(d + 1);
            d = 0;
        } else {
            d += 1;
        }
    }
}

/// Short neighbouring runs become one, which is added many times.
fn join_short_runs(tables: &mut Vec<(usize, Vec<Fr>)>) {
    while let [.., outer, big, small] = &tables[..]
        && outer.1.len() > 1
        && small.0 == 1
        && big.0 == small.1.len()
        && small.1.len() < RUN
    {
        let mut table = vec![Fr::ZERO; big.1.len() * small.1.len()];
        for (out, a) in table.chunks_mut(small.1.len()).zip(&big.1) {
            add_scaled(out, &small.1, a);
        }
        tables.truncate(tables.len() - 2);
        tables.push((1, table));
    }
}

/// `Σ_j w_j K_j` over a vector.
pub(crate) struct Kernel {
    claims: Vec<Scatter>,
    /// Cells of a slice.
    slice: usize,
    /// The claims that may weigh cells of each slice.
    of_slice: Vec<Vec<u32>>,
}

impl Kernel {
    /// `slice` is the largest number of cells that [`Kernel::add_to`] will be asked for; it divides the places where they begin.
    pub fn new(claims: &[(Fr, Claim)], slice: usize) -> Kernel {
        use rayon::prelude::*;
        let claims: Vec<Scatter> = claims.par_iter().map(|(w, c)| Scatter::new(c.offset, &c.axes, *w)).collect();
        let end = claims.iter().map(|c| c.cells.end).max().unwrap_or(0);
        let mut of_slice = vec![Vec::new(); end.div_ceil(slice)];
        for (j, claim) in claims.iter().enumerate() {
            of_slice[claim.cells.start / slice..claim.cells.end.div_ceil(slice)].iter_mut().for_each(|list| list.push(j as u32));
        }
        Kernel { claims, slice, of_slice }
    }

    /// Adds `factor` times the weights of the cells from `first` on.
    pub fn add_to(&self, factor: Fr, first: usize, out: &mut [Fr]) {
        debug_assert!(out.len() <= self.slice && first % self.slice + out.len() <= self.slice, "within a slice");
        let mut runs = Vec::new();
        for j in self.of_slice.get(first / self.slice).into_iter().flatten() {
            self.claims[*j as usize].add_to(factor, first, out, &mut runs);
        }
        add_runs(out, &runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automaton::tests::{Rng, by_definition, random_claim};
    use ark_ff::Field;

    #[test]
    fn slices_of_weights_agree_with_the_definition() {
        let mut rng = Rng(11);
        for round in 0..400 {
            let n = 4 + rng.below(6);
            let claims: Vec<(Fr, Claim)> = (0..1 + rng.below(4))
                .map(|k| {
                    let (offset, axes) = random_claim(&mut rng, n);
                    (Fr::from(k as u64 + 3), Claim { vector: crate::claims::Vector::Heap, offset, axes, value: Default::default() })
                })
                .collect();
            let mut expected = vec![Fr::ZERO; 1 << n];
            for (w, c) in &claims {
                by_definition(c.offset, &c.axes, n).iter().zip(&mut expected).for_each(|(k, e)| *e += *w * k);
            }
            let slice = 1 << (round % (n + 1));
            let kernel = Kernel::new(&claims, slice);
            let mut got = vec![Fr::ONE; 1 << n];
            got.chunks_mut(slice).enumerate().for_each(|(i, out)| kernel.add_to(Fr::from(7u64), i * slice, out));
            assert!(got.iter().zip(&expected).all(|(g, e)| *g == Fr::ONE + Fr::from(7u64) * e));
        }
    }

    #[test]
    fn long_runs_are_split() {
        let mut rng = Rng(5);
        for (size, outer) in [(5000usize, 1usize), (1 << 13, 1), (1 << 12, 3), (4096 + 2048, 2), (5000, 2)] {
            let bits = crate::claims::index_bits(size);
            let mut axes = vec![(Axis { size, stride: 1 }, Weight::Eq(rng.point(bits)))];
            if outer > 1 {
                axes.insert(0, (Axis { size: outer, stride: size + 7 }, Weight::Eq(rng.point(crate::claims::index_bits(outer)))));
            }
            let expected = by_definition(3, &axes, 15);
            let claim = Claim { vector: crate::claims::Vector::Heap, offset: 3, axes, value: Default::default() };
            let kernel = Kernel::new(&[(Fr::ONE, claim)], 1 << 9);
            let mut got = vec![Fr::ZERO; 1 << 15];
            got.chunks_mut(1 << 9).enumerate().for_each(|(i, out)| kernel.add_to(Fr::ONE, i << 9, out));
            assert_eq!(got, expected);
        }
    }
}
