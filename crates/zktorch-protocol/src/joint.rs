//! Polynomials of several variables at once, for the prover's part of messages that sumcheck rounds share.
//!
//! A polynomial of degree `d` in each of `v` variables is a grid of `(d + 1)^v` numbers, its coefficients or its values on `{0, …, d}^v`, the first variable at stride 1.

use crate::sumcheck::interpolate;
use ark_ff::AdditiveGroup;
use rayon::prelude::*;
use zktorch_algebra::{Fr, cube};

/// Groups of table entries per parallel task at least.
const GROUPS: usize = 32;
/// Groups of table entries of a product of two, which go through vectors.
const TOGETHER: usize = 1 << 8;

/// The values on `{0, …, points − 1}^v` of the multilinear polynomial with these values on `{0,1}^v`.
fn extend(corners: Vec<Fr>, points: usize) -> Vec<Fr> {
    let mut grid = corners;
    let (mut stride, mut left) = (1, grid.len());
    while left > 1 {
        let mut out = vec![Fr::ZERO; grid.len() / 2 * points];
        for (pair, line) in grid.chunks_exact(2 * stride).zip(out.chunks_exact_mut(points * stride)) {
            let (low, high) = pair.split_at(stride);
            line[..stride].copy_from_slice(low);
            for i in 0..stride {
                let slope = high[i] - low[i];
                for k in 1..points {
                    line[k * stride + i] = line[(k - 1) * stride + i] + slope;
                }
            }
        }
        grid = out;
        stride *= points;
        left /= 2;
    }
    grid
}

/// Coefficients of the polynomial with these values on `{0, …, points − 1}^v`.
fn coefficients(mut grid: Vec<Fr>, points: usize) -> Vec<Fr> {
    let mut stride = 1;
    while stride < grid.len() {
        for line in grid.chunks_exact_mut(points * stride) {
            for i in 0..stride {
                let values: Vec<Fr> = (0..points).map(|k| line[k * stride + i]).collect();
                for (k, c) in interpolate(&values).into_iter().enumerate() {
                    line[k * stride + i] = c;
                }
            }
        }
        stride *= points;
    }
    grid
}

fn add(mut a: Vec<Fr>, b: Vec<Fr>) -> Vec<Fr> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// Coefficients of `Σ_y Π_f T_f(X, y)` in the first variables of some tables of one power-of-two size, on top of which the variables are; degree: the number of tables.
///
/// Cost: `(tables + 1)^variables` products for every `2^variables` entries.
pub(crate) fn product(tables: &[Vec<Fr>], variables: usize) -> Vec<Fr> {
    let points = tables.len() + 1;
    let rest = tables.first().map_or(1, Vec::len) >> variables;
    // The first variable is the top bit of a table's index and the lowest of a grid's.
    let place = |corner: usize| corner.reverse_bits().checked_shr(usize::BITS - variables as u32).unwrap_or(0);
    if let [a, b] = tables {
        let sums = (0..rest.div_ceil(TOGETHER)).into_par_iter().map(|part| {
            let ys = part * TOGETHER..rest.min((part + 1) * TOGETHER);
            let corners = (0..1usize << variables).map(|c| place(c) * rest).map(|at| at + ys.start..at + ys.end);
            let (a, b): (Vec<&[Fr]>, Vec<&[Fr]>) = corners.map(|c| (&a[c.clone()], &b[c])).unzip();
            cube::products(&a, &b, variables)
        });
        return cube::coefficients(sums.reduce(|| vec![Fr::ZERO; points.pow(variables as u32)], add));
    }
    let corners = |table: &[Fr], y: usize| (0..1usize << variables).map(|c| table[place(c) * rest + y]).collect();
    let sums = (0..rest).into_par_iter().with_min_len(GROUPS).fold(
        || vec![Fr::ZERO; points.pow(variables as u32)],
        |sums, y| {
            let mut grids = tables.iter().map(|t| extend(corners(t, y), points));
            let mut product = grids.next().unwrap_or_default();
            for grid in grids {
                product.iter_mut().zip(grid).for_each(|(p, x)| *p *= x);
            }
            add(sums, product)
        },
    );
    coefficients(sums.reduce(|| vec![Fr::ZERO; points.pow(variables as u32)], add), points)
}

/// Coefficients of `Σ_y eq_y (a_0 a_1 + b_0 b_1)(X, y)` in the last variables of four tables, which are at their bottom, the lowest first; degree 2. `eq` has a weight for every
/// `2^variables` entries.
pub(crate) fn weighted([a0, a1, b0, b1]: [&[Fr]; 4], eq: &[Fr], variables: usize) -> Vec<Fr> {
    let part = TOGETHER << variables;
    let products = |x: &[Fr], y: &[Fr]| {
        let parts = x.par_chunks(part).zip(y.par_chunks(part)).zip(eq.par_chunks(TOGETHER));
        let parts = parts.map(|((x, y), e)| cube::weighted_products(x, y, e, variables));
        parts.reduce(|| vec![Fr::ZERO; 3usize.pow(variables as u32)], add)
    };
    cube::coefficients(add(products(a0, a1), products(b0, b1)))
}

/// Binds the last variables of a table, the lowest first.
pub(crate) fn bind_low(table: &[Fr], challenges: &[Fr]) -> Vec<Fr> {
    let part = TOGETHER << challenges.len();
    match table.len() <= part {
        true => cube::bind(table, challenges),
        false => table.par_chunks(part).flat_map_iter(|t| cube::bind(t, challenges)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zktorch_algebra::{hash_to_fr, mle};

    fn table(seed: u64, n: usize) -> Vec<Fr> {
        (0..n as u64).map(|i| hash_to_fr(&(seed << 32 | i).to_le_bytes())).collect()
    }

    /// The polynomial with these coefficients at a point, first variable first.
    fn at(coefficients: &[Fr], degree: usize, point: &[Fr]) -> Fr {
        let mut c = coefficients.to_vec();
        for x in point {
            c = c.chunks(degree + 1).map(|line| line.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c)).collect();
        }
        c[0]
    }

    #[test]
    fn products_of_tables_are_those_at_the_point() {
        for tables in 1..=4u64 {
            for variables in 0..=3usize {
                let tables: Vec<Vec<Fr>> = (0..tables).map(|t| table(t, 32)).collect();
                let point = table(9, variables);
                let c = product(&tables, variables);
                let bound: Vec<Vec<Fr>> = tables
                    .iter()
                    .map(|t| {
                        point.iter().fold(t.clone(), |mut t, r| {
                            mle::bind_top(&mut t, *r);
                            t
                        })
                    })
                    .collect();
                let expected: Fr = (0..32usize >> variables).map(|y| bound.iter().map(|t| t[y]).product::<Fr>()).sum();
                assert_eq!(at(&c, tables.len(), &point), expected);
            }
        }
    }

    #[test]
    fn weighted_products_are_those_at_the_point() {
        for variables in 0..=3usize {
            let tables: Vec<Vec<Fr>> = (0..4).map(|t| table(t, 64)).collect();
            let [a0, a1, b0, b1] = std::array::from_fn(|i| &tables[i][..]);
            let (eq, point) = (table(7, 64 >> variables), table(9, variables));
            let c = weighted([a0, a1, b0, b1], &eq, variables);
            let bound: Vec<Vec<Fr>> = tables.iter().map(|t| bind_low(t, &point)).collect();
            let one = |t: &Vec<Fr>| point.iter().fold(t.clone(), |t, r| t.chunks(2).map(|p| p[0] + *r * (p[1] - p[0])).collect());
            assert_eq!(bound, tables.iter().map(one).collect::<Vec<_>>());
            let expected: Fr = eq.iter().enumerate().map(|(y, e)| *e * (bound[0][y] * bound[1][y] + bound[2][y] * bound[3][y])).sum();
            assert_eq!(at(&c, 2, &point), expected);
        }
    }
}
