//! The sums of small integers times scalars with AVX-512 IFMA. Each takes what fills vectors; the caller does the rest.

use ark_ff::AdditiveGroup;

use super::{DOUBLE_GROUP, GRID, GROUP, HEAD, PairSums, at_infinity, join};
use crate::ifma::{Ifma, U64x8, kernels};
use crate::{Fr, fr_from_i64, limbs};

type Packed = crate::ifma::Packed<ark_bn254::FrConfig>;

/// Corners of the grid.
const CORNERS: usize = 1 << HEAD;
/// What products on the grid are raised by: they are at most `2^38`, positive or negative.
const BIAS: u64 = 1 << 40;
/// Vectors whose products fit lanes: each adds two terms below `2^52`.
const BUDGET: usize = 1 << 9;

/// A constant for [`Packed::of_integers`].
#[inline(always)]
fn constant(ifma: Ifma, x: Fr) -> Packed {
    Packed::splat(ifma, &(x * fr_from_i64(1 << 52)))
}

/// Sums and products of the integers of eight pairs.
#[inline(always)]
fn sum_and_product(ifma: Ifma, pairs: &[u32; 16]) -> [U64x8; 2] {
    let both = U64x8::load_u32(ifma, pairs);
    let (x, y) = (both.and(U64x8::splat(ifma, u64::from(u32::MAX))), both.shr::<32>());
    [x.add(y), x.mul_u32(y)]
}

/// The integers of nodes: `[j][k][lane]` is `x_j` of node `k` of the lane's group.
#[inline(always)]
fn load_groups(ifma: Ifma, groups: &[[u32; GROUP]; 8]) -> [[U64x8; CORNERS]; 2] {
    let [a, b, c, d, e, f, g, h] = groups;
    let low = [U64x8::load_u32(ifma, a), U64x8::load_u32(ifma, b), U64x8::load_u32(ifma, c), U64x8::load_u32(ifma, d)];
    let high = [U64x8::load_u32(ifma, e), U64x8::load_u32(ifma, f), U64x8::load_u32(ifma, g), U64x8::load_u32(ifma, h)];
    let nodes = U64x8::transpose([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]]);
    let half = U64x8::splat(ifma, u64::from(u32::MAX));
    let mut out = [nodes; 2];
    for (k, node) in nodes.into_iter().enumerate() {
        out[0][k] = node.and(half);
        out[1][k] = node.shr::<32>();
    }
    out
}

/// Sums and products of the pairs below nodes: `[s, t]` of the first children, then of the second, `[k][lane]` for node `k` of the lane's group.
#[inline(always)]
fn load_double_groups(ifma: Ifma, groups: &[[u32; DOUBLE_GROUP]; 8]) -> [[U64x8; CORNERS]; 4] {
    let zero = U64x8::zero(ifma);
    let mut out = [[zero; CORNERS]; 4];
    for half in 0..2 {
        let mut rows = [[0u32; GROUP]; 8];
        for (row, group) in rows.iter_mut().zip(groups) {
            *row = group.as_chunks::<GROUP>().0[half];
        }
        let [first, second] = load_groups(ifma, &rows);
        // Pair `i` of this half is child `i % 2` of node `4 half + i / 2`.
        for i in 0..CORNERS {
            let (node, child) = (4 * half + i / 2, i % 2);
            out[2 * child][node] = first[i].add(second[i]);
            out[2 * child + 1][node] = first[i].mul_u32(second[i]);
        }
    }
    out
}

/// See [`super::extend`].
#[inline(always)]
fn extend(ifma: Ifma, corners: [U64x8; CORNERS]) -> [U64x8; GRID] {
    let zero = U64x8::zero(ifma);
    let (mut edges, mut faces, mut grid) = ([zero; 12], [zero; 18], [zero; GRID]);
    for k in 0..4 {
        let [low, high] = [corners[2 * k], corners[2 * k + 1]];
        (edges[3 * k], edges[3 * k + 1], edges[3 * k + 2]) = (low, high, high.sub(low));
    }
    for k in 0..2 {
        for i in 0..3 {
            let [low, high] = [edges[6 * k + i], edges[6 * k + 3 + i]];
            (faces[9 * k + i], faces[9 * k + 3 + i], faces[9 * k + 6 + i]) = (low, high, high.sub(low));
        }
    }
    for i in 0..9 {
        let [low, high] = [faces[i], faces[9 + i]];
        (grid[i], grid[9 + i], grid[18 + i]) = (low, high, high.sub(low));
    }
    grid
}

/// Where the grid's corners are.
const CORNER: [usize; CORNERS] = [0, 1, 3, 4, 9, 10, 12, 13];

/// See [`super::Units::products`]: the sums of products, and of sums at the corners.
pub(super) fn products(ifma: Ifma, x: &[[u32; GROUP]], eq: &[[Fr; 8]]) -> ([Fr; GRID], [Fr; GRID]) {
    let (mut both, mut sums) = ([Fr::ZERO; GRID], [Fr::ZERO; GRID]);
    let mut weight = Fr::ZERO;
    for (x, eq) in x.as_chunks::<8>().0.chunks(BUDGET).zip(eq.chunks(BUDGET)) {
        let mut lanes = [[Fr::ZERO; 8]; GRID + CORNERS];
        weighted(ifma, x, eq, &mut lanes);
        let mut totals = [Fr::ZERO; GRID + CORNERS];
        for (total, lanes) in totals.iter_mut().zip(&lanes) {
            *total = lanes.iter().fold(Fr::ZERO, |sum, lane| limbs::add(&sum, lane));
        }
        both.iter_mut().zip(&totals).for_each(|(sum, total)| *sum = limbs::add(sum, total));
        CORNER.iter().zip(&totals[GRID..]).for_each(|(at, total)| sums[*at] = limbs::add(&sums[*at], total));
        weight += eq.iter().flatten().sum::<Fr>();
    }
    let shift = fr_from_i64(1 << 52);
    let bias = weight * Fr::from(BIAS);
    (both.map(|sum| sum * shift - bias), sums.map(|sum| sum * shift))
}

/// Sums at a corner.
const AT_CORNER: usize = 5;
/// Sums at another point.
const AT_SLOPE: usize = 6;
/// All sums of [`pair_products`].
const ALL: usize = AT_CORNER * CORNERS + AT_SLOPE * (GRID - CORNERS);

/// See [`super::Units::pair_products`].
pub(super) fn pair_products(ifma: Ifma, x: &[[u32; DOUBLE_GROUP]], eq: &[[Fr; 8]]) -> PairSums {
    let mut totals = [Fr::ZERO; ALL];
    let mut weight = Fr::ZERO;
    for (x, eq) in x.as_chunks::<8>().0.chunks(BUDGET).zip(eq.chunks(BUDGET)) {
        let mut lanes = [[Fr::ZERO; 8]; ALL];
        weighted_pairs(ifma, x, eq, &mut lanes);
        for (total, lanes) in totals.iter_mut().zip(&lanes) {
            *total = lanes.iter().fold(*total, |sum, lane| limbs::add(&sum, lane));
        }
        weight += eq.iter().flatten().sum::<Fr>();
    }
    let shift = fr_from_i64(1 << 52);
    let bias = weight * Fr::from(BIAS);
    let (corners, slopes) = totals.split_at(AT_CORNER * CORNERS);
    let mut sums = PairSums::default();
    for (out, sums) in sums.corners.iter_mut().zip(corners.as_chunks::<AT_CORNER>().0) {
        let [e1, e2, e3, low, high] = sums.map(|sum| sum * shift);
        *out = [e1, e2, e3, low + high * fr_from_i64(1 << 32)];
    }
    let points = (0..GRID).filter(|g| at_infinity(*g));
    for (g, raised) in points.zip(slopes.as_chunks::<AT_SLOPE>().0) {
        sums.slopes[g] = join(raised.map(|sum| sum * shift - bias));
    }
    sums
}

kernels! {
    /// See [`super::Units::pairs`].
    pub(super) fn pairs(ifma, x: &[[u32; 16]], c: &Fr, p: &mut [[Fr; 8]], q: &mut [[Fr; 8]]) {
        let (c, square, twice) = (constant(ifma, -*c), Packed::splat(ifma, &(*c * c)), Packed::splat(ifma, &(*c + c)));
        let (one, minus_one) = (constant(ifma, Fr::from(1u64)), constant(ifma, -Fr::from(1u64)));
        for ((x, p), q) in x.iter().zip(p).zip(q) {
            let [sum, product] = sum_and_product(ifma, x);
            Packed::of_integers(ifma, [(sum, minus_one)].into_iter()).add(ifma, twice).canonical(ifma).store(ifma, p);
            Packed::of_integers(ifma, [(sum, c), (product, one)].into_iter()).add(ifma, square).canonical(ifma).store(ifma, q);
        }
    }

    /// See [`super::Units::quads`]: by the symmetric functions `e_1` to `e_4` of the four integers, `q = c^4 − e_1 c^3 + e_2 c^2 − e_3 c + e_4` and
    /// `p = dq/dc`.
    pub(super) fn quads(ifma, x: &[[[u32; 16]; 2]], c: &Fr, p: &mut [[Fr; 8]], q: &mut [[Fr; 8]]) {
        let (square, minus) = (*c * c, -*c);
        let cube = square * c;
        let (c4, four_c3) = (Packed::splat(ifma, &(square * square)), Packed::splat(ifma, &(cube * Fr::from(4u64))));
        let (c3, c2, c1, one) = (constant(ifma, -cube), constant(ifma, square), constant(ifma, minus), constant(ifma, Fr::from(1u64)));
        let upper = constant(ifma, fr_from_i64(1 << 32));
        let (three_c2, two_c) = (constant(ifma, -square * Fr::from(3u64)), constant(ifma, *c + c));
        let minus_one = constant(ifma, -Fr::from(1u64));
        let (even, odd) = (U64x8::new(ifma, [0, 2, 4, 6, 8, 10, 12, 14]), U64x8::new(ifma, [1, 3, 5, 7, 9, 11, 13, 15]));
        let half = U64x8::splat(ifma, u64::from(u32::MAX));
        for ((x, p), q) in x.iter().zip(p).zip(q) {
            let ([s, t], [u, v]) = (sum_and_product(ifma, &x[0]), sum_and_product(ifma, &x[1]));
            let (s, u, t, v) = (s.pick(even, u), s.pick(odd, u), t.pick(even, v), t.pick(odd, v));
            let (e1, e2) = (s.add(u), t.add(v).add(s.mul_u32(u)));
            let (e3, e4) = (s.mul_u32(v).add(u.mul_u32(t)), t.mul_u32(v));
            // e_3 < 2^50, and so the sum is below 1.3p; with the constant below 2.3p.
            let terms = [(e1, c3), (e2, c2), (e3, c1), (e4.and(half), one), (e4.shr::<32>(), upper)];
            Packed::of_integers(ifma, terms.into_iter()).add(ifma, c4).canonical(ifma).store(ifma, q);
            let terms = [(e1, three_c2), (e2, two_c), (e3, minus_one)];
            Packed::of_integers(ifma, terms.into_iter()).add(ifma, four_c3).canonical(ifma).store(ifma, p);
        }
    }

    /// For every lane the sums of raised products on the grid and of sums at its corners, times weights, divided by `2^52`.
    fn weighted(ifma, x: &[[[u32; GROUP]; 8]], eq: &[[Fr; 8]], out: &mut [[Fr; 8]; GRID + CORNERS]) {
        let mut lanes = [[U64x8::zero(ifma); 6]; GRID + CORNERS];
        let bias = U64x8::splat(ifma, BIAS);
        for (x, eq) in x.iter().zip(eq) {
            let eq = Packed::load(ifma, eq);
            let [first, second] = load_groups(ifma, x);
            let (x, y) = (extend(ifma, first), extend(ifma, second));
            for (lanes, (x, y)) in lanes.iter_mut().zip(x.into_iter().zip(y)) {
                eq.times_into(x.mul_i32(y).add(bias), lanes);
            }
            for (lanes, (x, y)) in lanes[GRID..].iter_mut().zip(first.into_iter().zip(second)) {
                eq.times_into(x.add(y), lanes);
            }
        }
        for (lanes, out) in lanes.into_iter().zip(out) {
            Packed::reduce_integers(ifma, lanes).canonical(ifma).store(ifma, out);
        }
    }

    /// For every lane the sums of [`AT_CORNER`] integers at the corners and [`AT_SLOPE`] raised ones at the other points, times weights, divided by
    /// `2^52`.
    fn weighted_pairs(ifma, x: &[[[u32; DOUBLE_GROUP]; 8]], eq: &[[Fr; 8]], out: &mut [[Fr; 8]; ALL]) {
        let mut lanes = [[U64x8::zero(ifma); 6]; ALL];
        let (bias, half) = (U64x8::splat(ifma, BIAS), U64x8::splat(ifma, u64::from(u32::MAX)));
        let low = U64x8::splat(ifma, 0xffff);
        for (x, eq) in x.iter().zip(eq) {
            let eq = Packed::load(ifma, eq);
            let [s, t, u, v] = load_double_groups(ifma, x);
            let (corners, slopes) = lanes.split_at_mut(AT_CORNER * CORNERS);
            let (mut h, mut l, mut m, mut n) = (t, t, v, v);
            for (k, lanes) in corners.as_chunks_mut::<AT_CORNER>().0.iter_mut().enumerate() {
                let (s, t, u, v) = (s[k], t[k], u[k], v[k]);
                let e4 = t.mul_u32(v);
                eq.times_into(s.add(u), &mut lanes[0]);
                eq.times_into(t.add(v).add(s.mul_u32(u)), &mut lanes[1]);
                eq.times_into(s.mul_u32(v).add(u.mul_u32(t)), &mut lanes[2]);
                eq.times_into(e4.and(half), &mut lanes[3]);
                eq.times_into(e4.shr::<32>(), &mut lanes[4]);
                (h[k], l[k], m[k], n[k]) = (t.shr::<16>(), t.and(low), v.shr::<16>(), v.and(low));
            }
            let (s, h, l) = (extend(ifma, s), extend(ifma, h), extend(ifma, l));
            let (u, m, n) = (extend(ifma, u), extend(ifma, m), extend(ifma, n));
            let mut slopes = slopes.as_chunks_mut::<AT_SLOPE>().0.iter_mut();
            for g in 0..GRID {
                if !at_infinity(g) {
                    continue;
                }
                let Some(lanes) = slopes.next() else { break };
                let (s, h, l, u, m, n) = (s[g], h[g], l[g], u[g], m[g], n[g]);
                eq.times_into(s.mul_i32(u).add(bias), &mut lanes[0]);
                eq.times_into(s.mul_i32(m).add(h.mul_i32(u)).add(bias), &mut lanes[1]);
                eq.times_into(s.mul_i32(n).add(l.mul_i32(u)).add(bias), &mut lanes[2]);
                eq.times_into(h.mul_i32(m).add(bias), &mut lanes[3]);
                eq.times_into(h.mul_i32(n).add(l.mul_i32(m)).add(bias), &mut lanes[4]);
                eq.times_into(l.mul_i32(n).add(bias), &mut lanes[5]);
            }
        }
        for (lanes, out) in lanes.into_iter().zip(out) {
            Packed::reduce_integers(ifma, lanes).canonical(ifma).store(ifma, out);
        }
    }

    /// See [`super::Units::pair_bind`]: with `S = Σ w_k s_k` and `T = Σ w_k t_k`, a node's `p = 2c − S` and `q = c^2 − cS + T`.
    pub(super) fn pair_bind(
        ifma, x: &[[u32; DOUBLE_GROUP]], weights: &[Fr; CORNERS], lambda: &Fr, c: &Fr, a: &mut [[[Fr; 2]; 8]], b: &mut [[[Fr; 2]; 8]]
    ) {
        let kappa = Fr::from(1u64) + *lambda * c;
        let zero = Packed::zero(ifma);
        let (mut plain, mut minus, mut minus_c, mut minus_kappa, mut by_lambda) = ([zero; CORNERS], [zero; CORNERS], [zero; CORNERS], [zero; CORNERS], [zero; CORNERS]);
        for (k, w) in weights.iter().enumerate() {
            (plain[k], minus[k], minus_c[k]) = (constant(ifma, *w), constant(ifma, -*w), constant(ifma, -*c * w));
            (minus_kappa[k], by_lambda[k]) = (constant(ifma, -kappa * w), constant(ifma, *lambda * w));
        }
        let (twice, square) = (Packed::splat(ifma, &(*c + c)), Packed::splat(ifma, &(*c * c)));
        let combined = Packed::splat(ifma, &(*c + c + *lambda * *c * c));
        for ((x, a), b) in x.as_chunks::<8>().0.iter().zip(a).zip(b) {
            let [s, t, u, v] = load_double_groups(ifma, x);
            let (mut a0, mut a1, mut b0, mut b1) = ([U64x8::zero(ifma); 6], [U64x8::zero(ifma); 6], [U64x8::zero(ifma); 6], [U64x8::zero(ifma); 6]);
            for k in 0..CORNERS {
                minus_kappa[k].times_into(s[k], &mut a0);
                by_lambda[k].times_into(t[k], &mut a0);
                minus_c[k].times_into(u[k], &mut a1);
                plain[k].times_into(v[k], &mut a1);
                minus[k].times_into(u[k], &mut b0);
                minus_c[k].times_into(s[k], &mut b1);
                plain[k].times_into(t[k], &mut b1);
            }
            let a0 = Packed::reduce_integers(ifma, a0).add(ifma, combined).canonical(ifma);
            let a1 = Packed::reduce_integers(ifma, a1).add(ifma, square).canonical(ifma);
            Packed::store_pairs(a0, a1, a);
            let b0 = Packed::reduce_integers(ifma, b0).add(ifma, twice).canonical(ifma);
            let b1 = Packed::reduce_integers(ifma, b1).add(ifma, square).canonical(ifma);
            Packed::store_pairs(b0, b1, b);
        }
    }

    /// See [`super::Units::bind`]: `constant + Σ weights_k·x_k`.
    pub(super) fn bind(ifma, x: &[[u32; GROUP]], weights: &[Fr; CORNERS], constant_term: &Fr, out: &mut [[[Fr; 2]; 8]]) {
        let mut packed = [Packed::zero(ifma); CORNERS];
        for (packed, weight) in packed.iter_mut().zip(weights) {
            *packed = constant(ifma, *weight);
        }
        let constant_term = Packed::splat(ifma, constant_term);
        for (x, out) in x.as_chunks::<8>().0.iter().zip(out) {
            let [first, second] = load_groups(ifma, x);
            let first = Packed::of_integers(ifma, first.into_iter().zip(packed)).add(ifma, constant_term).canonical(ifma);
            let second = Packed::of_integers(ifma, second.into_iter().zip(packed)).add(ifma, constant_term).canonical(ifma);
            Packed::store_pairs(first, second, out);
        }
    }
}
