//! The first rounds of a sumcheck of `Σ_x eq(x) a(x) b(x) Π_f T_f(x)`, for integers `a` and `b` that are at hand and tables `T_f` that do not depend on the first variables.
//!
//! With the first `c` variables `X` before all others `y`, and `w(y) = eq(y) Π_f T_f(y)`, the first `c` round polynomials depend on the integers only through
//! `S(X) = Σ_y w(y) a(X, y) b(X, y)`, which is of degree 2 in each variable: `3^c` sums of products of integers times weights. Then the `c` variables are bound at once. No table of
//! scalars has full length: on large terms, touching that memory for the first time would cost more than the arithmetic.

use ark_ff::AdditiveGroup;
use rayon::prelude::*;
use std::sync::Arc;
use zktorch_algebra::Fr;
use zktorch_algebra::mle::eq_table;
use zktorch_algebra::small::{combine_rows, dot_small};

/// Variables that are bound at once.
pub(crate) const HEAD_BITS: usize = 3;
const CORNERS: usize = 1 << HEAD_BITS;
/// Values of a polynomial of degree 2 in each variable, at 0, 1 and ∞ (the leading coefficient).
const GRID: usize = 27;
/// Values of `y` whose products stay in the second-level cache.
const BLOCK: usize = 1 << 8;
/// Blocks per task at least.
const BLOCKS: usize = 4;
/// Bits of both integers together: products of differences of `2^c` of them fit 64 bits.
const PRODUCT_BITS: u32 = 63 - 2 * HEAD_BITS as u32 - 1;

/// A term's integers, whose first variables are not bound yet, and its other factors.
pub(crate) struct Integers {
    factors: [Arc<[i32]>; 2],
    /// Where the two stand among the term's factors.
    places: [usize; 2],
    /// The point of `eq` for each of the first variables, if it depends on it.
    point: [Option<Fr>; HEAD_BITS],
    /// The other factors over all but the first variables.
    others: Vec<Vec<Fr>>,
    /// `eq` over all but the first variables, if the term has it.
    eq: Option<Vec<Fr>>,
    /// `S` over the first variables that are left, on `{0, 1, ∞}` each, the first at stride 1.
    grid: Vec<Fr>,
    /// Challenges so far.
    bound: Vec<Fr>,
}

impl Integers {
    /// `factors` have `2^vars` entries each, `others` and `eq` an eighth of these; `fits` says for which factors.
    pub fn new(
        factors: [Arc<[i32]>; 2],
        places: [usize; 2],
        point: [Option<Fr>; HEAD_BITS],
        others: Vec<Vec<Fr>>,
        eq: Option<Vec<Fr>>,
    ) -> Integers {
        let rest = factors[0].len() / CORNERS;
        let tasks = (0..rest.div_ceil(BLOCK)).into_par_iter().with_min_len(BLOCKS);
        let weights: Vec<&[Fr]> = others.iter().chain(&eq).map(|t| &t[..]).collect();
        let sums = |i: usize| block(&factors, &weights, i * BLOCK..rest.min((i + 1) * BLOCK));
        let grid = tasks.fold(|| vec![Fr::ZERO; GRID], |all, i| add(all, sums(i))).reduce(|| vec![Fr::ZERO; GRID], add);
        Integers { factors, places, point, others, eq, grid, bound: Vec::new() }
    }

    /// Whether sums of products of these integers are exact.
    pub fn fits(factors: [&[i32]; 2]) -> bool {
        let bits = |x: &[i32]| x.par_chunks(1 << 14).map(bit_length).max().unwrap_or(0);
        bits(factors[0]) + bits(factors[1]) <= PRODUCT_BITS
    }

    /// Number of variables at first.
    pub fn vars(&self) -> usize {
        self.factors[0].len().trailing_zeros() as usize
    }

    /// `eq` of a bound or summed variable, at 0 and at 1.
    fn line(point: Option<Fr>) -> [Fr; 2] {
        point.map_or([Fr::from(1u64); 2], |p| [Fr::from(1u64) - p, p])
    }

    /// The sum over all variables that are left.
    pub fn sum(&self) -> Fr {
        let [zero, one, _] = self.first();
        let [e0, e1] = Integers::line(self.point[self.bound.len()]);
        e0 * zero + e1 * one
    }

    /// The quadratic in the first variable that is left, at 0, 1 and ∞: the others are summed.
    fn first(&self) -> [Fr; 3] {
        let mut grid = self.grid.clone();
        for point in self.point[self.bound.len() + 1..].iter().rev() {
            let [e0, e1] = Integers::line(*point);
            let third = grid.len() / 3;
            grid = (0..third).map(|i| e0 * grid[i] + e1 * grid[third + i]).collect();
        }
        [grid[0], grid[1], grid[2]]
    }

    /// Coefficients of the round polynomial.
    pub fn round(&self) -> Vec<Fr> {
        let [zero, one, leading] = self.first();
        let quadratic = [zero, one - zero - leading, leading];
        let Some(p) = self.point[self.bound.len()] else { return quadratic.to_vec() };
        let (constant, slope) = (Fr::from(1u64) - p, p + p - Fr::from(1u64));
        let mut out = vec![Fr::ZERO; 4];
        for (i, c) in quadratic.into_iter().enumerate() {
            out[i] += constant * c;
            out[i + 1] += slope * c;
        }
        out
    }

    /// Binds a variable. With the last of the first ones, returns all factors as tables over the others. The second result is a factor of the term.
    pub fn bind(&mut self, r: Fr) -> (Option<Vec<Vec<Fr>>>, Fr) {
        let scale = self.point[self.bound.len()].map_or(Fr::from(1u64), |p| p * r + (Fr::from(1u64) - p) * (Fr::from(1u64) - r));
        self.grid = self
            .grid
            .as_chunks::<3>()
            .0
            .iter()
            .map(|[zero, one, leading]| *zero + r * (*one - zero + (r - Fr::from(1u64)) * leading))
            .collect();
        self.bound.push(r);
        ((self.bound.len() == HEAD_BITS).then(|| self.tables()), scale)
    }

    /// All factors, and `eq`, as tables over the variables that are not bound.
    pub fn tables(&self) -> Vec<Vec<Fr>> {
        let rest = self.factors[0].len() / CORNERS;
        let left = HEAD_BITS - self.bound.len();
        let eq = eq_table(&self.bound);
        let bound = |cells: &[i32]| -> Vec<Fr> {
            // The bound variables come first in an index.
            let row = |i: usize| &cells[i * (rest << left)..(i + 1) * (rest << left)];
            combine_rows(row, &eq, rest << left)
        };
        let mut out: Vec<Vec<Fr>> = self.others.iter().map(|t| t.repeat(1 << left)).collect();
        let lines = &self.point[self.bound.len()..];
        if self.eq.is_some() || lines.iter().any(Option::is_some) {
            let ones = [Fr::from(1u64)];
            let head = lines.iter().fold(ones.to_vec(), |head, p| {
                let [e0, e1] = Integers::line(*p);
                head.iter().flat_map(|w| [*w * e0, *w * e1]).collect()
            });
            let tail = self.eq.clone().unwrap_or_else(|| ones.repeat(rest));
            out.push(if left == 0 { tail } else { head.iter().flat_map(|w| tail.iter().map(move |t| *w * t)).collect() });
        }
        let first = bound(&self.factors[0]);
        let second = if Arc::ptr_eq(&self.factors[0], &self.factors[1]) { first.clone() } else { bound(&self.factors[1]) };
        out.insert(self.places[0], first);
        out.insert(self.places[1], second);
        out
    }
}

fn add(mut a: Vec<Fr>, b: Vec<Fr>) -> Vec<Fr> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// Bits of the magnitudes.
fn bit_length(values: &[i32]) -> u32 {
    32 - values.iter().fold(0, |all, v| all | v.unsigned_abs()).leading_zeros()
}

/// The sums of some values of `y`.
fn block(factors: &[Arc<[i32]>; 2], others: &[&[Fr]], ys: std::ops::Range<usize>) -> Vec<Fr> {
    let rest = factors[0].len() / CORNERS;
    let mut weights = match others {
        [] => vec![Fr::from(1u64); ys.len()],
        [first, ..] => first[ys.clone()].to_vec(),
    };
    for other in others.iter().skip(1) {
        weights.iter_mut().zip(&other[ys.clone()]).for_each(|(w, t)| *w *= t);
    }
    let corners = |cells: &[i32]| -> Vec<[i64; BLOCK]> {
        let mut grid = vec![[0i64; BLOCK]; GRID];
        for (c, out) in grid.iter_mut().take(CORNERS).enumerate() {
            // The first variable is the top bit of a corner's number and has stride 1 in the grid.
            let corner = c.reverse_bits() >> (usize::BITS as usize - HEAD_BITS);
            out.iter_mut().zip(&cells[corner * rest + ys.start..corner * rest + ys.end]).for_each(|(o, v)| *o = i64::from(*v));
        }
        extend(&mut grid);
        grid
    };
    let a = corners(&factors[0]);
    let own = if Arc::ptr_eq(&factors[0], &factors[1]) { None } else { Some(corners(&factors[1])) };
    let b = own.as_ref().unwrap_or(&a);
    let mut product = [0i64; BLOCK];
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            product.iter_mut().zip(a.iter().zip(b)).for_each(|(p, (a, b))| *p = a * b);
            dot_small(&product[..ys.len()], &weights)
        })
        .collect()
}

/// From values on `{0, 1}^c`, in the first places, to those on `{0, 1, ∞}^c`.
fn extend(grid: &mut [[i64; BLOCK]]) {
    let (mut lines, mut stride) = (CORNERS / 2, 1);
    while lines > 0 {
        // Lines grow from two entries to three: the last one moves first.
        for line in (0..lines).rev() {
            for i in (0..stride).rev() {
                let (low, high) = (grid[2 * line * stride + i], grid[(2 * line + 1) * stride + i]);
                let mut slope = high;
                slope.iter_mut().zip(&low).for_each(|(s, l)| *s -= l);
                grid[(3 * line + 2) * stride + i] = slope;
                grid[(3 * line + 1) * stride + i] = high;
                grid[3 * line * stride + i] = low;
            }
        }
        (lines, stride) = (lines / 2, stride * 3);
    }
}
