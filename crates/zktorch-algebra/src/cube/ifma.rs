//! The passes with AVX-512 IFMA, eight `y` at a time.

use ark_bn254::FrConfig;

use crate::Fr;
use crate::ifma::{self, Ifma, U64x8, kernels};

type Packed = ifma::Packed<FrConfig>;

/// Products that a sum takes before it is reduced: factors are below `8p` each, so that many are below `(0.0119·64·64 + 1)·p` after a reduction by `2^260`.
const TOGETHER: usize = 64;

/// `Σ` of the products of `P` places.
struct Sums<const P: usize> {
    limbs: [[U64x8; 10]; P],
    /// Below `2p`.
    totals: [Packed; P],
    added: usize,
}

impl<const P: usize> Sums<P> {
    #[inline(always)]
    fn new(ifma: Ifma) -> Self {
        Self { limbs: [[U64x8::zero(ifma); 10]; P], totals: [Packed::zero(ifma); P], added: 0 }
    }

    /// Adds the products of the cubes with these corners, which are below `p`.
    #[inline(always)]
    fn add<const C: usize>(&mut self, ifma: Ifma, a: [Packed; C], b: [Packed; C]) {
        let (a, b) = (extend::<C, P>(ifma, a), extend::<C, P>(ifma, b));
        for i in 0..P {
            a[i].product_into(b[i], &mut self.limbs[i]);
        }
        self.added += 1;
        if self.added == TOGETHER {
            self.reduce(ifma);
        }
    }

    #[inline(always)]
    fn reduce(&mut self, ifma: Ifma) {
        let unit = ifma::unit(ifma);
        for (limbs, total) in self.limbs.iter_mut().zip(&mut self.totals) {
            ifma::settle(ifma, limbs, total, unit);
        }
        self.added = 0;
    }

    /// The sums over the lanes.
    #[inline(always)]
    fn finish(mut self, ifma: Ifma) -> [Fr; P] {
        self.reduce(ifma);
        let mut out = [Fr::from(0u64); P];
        for (out, total) in out.iter_mut().zip(self.totals) {
            *out = ifma::sum_of_lanes(ifma, total);
        }
        out
    }
}

/// The cube of these corners, which are below `p`; below `8p`.
#[inline(always)]
fn extend<const C: usize, const P: usize>(ifma: Ifma, corners: [Packed; C]) -> [Packed; P] {
    let mut cube = [Packed::zero(ifma); P];
    cube[..C].copy_from_slice(&corners);
    let (mut lines, mut stride, mut level) = (C / 2, 1, 0);
    while lines > 0 {
        // Lines grow from two entries to three: the last one moves first.
        for line in (0..lines).rev() {
            for i in 0..stride {
                let (low, high) = (cube[2 * line * stride + i], cube[(2 * line + 1) * stride + i]);
                // Values are below 2^level·p.
                let slope = match level {
                    0 => high.sub::<1>(ifma, low),
                    1 => high.sub::<2>(ifma, low),
                    _ => high.sub::<4>(ifma, low),
                };
                cube[3 * line * stride + i] = low;
                cube[(3 * line + 1) * stride + i] = high;
                cube[(3 * line + 2) * stride + i] = slope;
            }
        }
        (lines, stride, level) = (lines / 2, stride * 3, level + 1);
    }
    cube
}

/// Corners of eight groups.
#[inline(always)]
fn load_groups<const C: usize>(ifma: Ifma, groups: &[[Fr; C]; 8]) -> [Packed; C] {
    let mut out = [Packed::zero(ifma); C];
    for (i, two) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let [a, b, c, d, e, f, g, h] = groups;
        let pairs = [pair(a, i), pair(b, i), pair(c, i), pair(d, i), pair(e, i), pair(f, i), pair(g, i), pair(h, i)];
        let [low, high] = Packed::load_pairs(ifma, pairs);
        *two = [Packed::from_words(ifma, low), Packed::from_words(ifma, high)];
    }
    out
}

#[inline(always)]
fn pair<const C: usize>(group: &[Fr; C], i: usize) -> &[Fr; 2] {
    &group.as_chunks::<2>().0[i]
}

#[inline(always)]
fn products<const C: usize, const P: usize>(ifma: Ifma, a: [&[[Fr; 8]]; C], b: [&[[Fr; 8]]; C]) -> [Fr; P] {
    let mut sums = Sums::<P>::new(ifma);
    for y in 0..a[0].len() {
        let (mut x, mut z) = ([Packed::zero(ifma); C], [Packed::zero(ifma); C]);
        for i in 0..C {
            x[i] = Packed::load(ifma, &a[i][y]);
            z[i] = Packed::load(ifma, &b[i][y]);
        }
        sums.add(ifma, x, z);
    }
    sums.finish(ifma)
}

#[inline(always)]
fn weighted<const C: usize, const P: usize>(ifma: Ifma, a: &[[[Fr; C]; 8]], b: &[[[Fr; C]; 8]], weights: &[[Fr; 8]]) -> [Fr; P] {
    let mut sums = Sums::<P>::new(ifma);
    for ((a, b), w) in a.iter().zip(b).zip(weights) {
        let w = Packed::load_raised(ifma, w);
        let mut a = load_groups(ifma, a);
        for x in &mut a {
            // Below 1.2p, then below p.
            *x = x.mul(ifma, w).reduce::<1>(ifma);
        }
        sums.add(ifma, a, load_groups(ifma, b));
    }
    sums.finish(ifma)
}

#[inline(always)]
fn bind<const C: usize>(ifma: Ifma, table: &[[[Fr; C]; 8]], weights: &[Fr; C], out: &mut [[Fr; 8]]) {
    let mut raised = [Packed::zero(ifma); C];
    for (raised, w) in raised.iter_mut().zip(weights) {
        *raised = Packed::splat_raised(ifma, w);
    }
    for (groups, out) in table.iter().zip(out) {
        let mut limbs = [U64x8::zero(ifma); 10];
        for (x, w) in load_groups(ifma, groups).into_iter().zip(raised) {
            w.product_into(x, &mut limbs);
        }
        // Below 1.1p.
        Packed::redc(ifma, limbs).reduce::<1>(ifma).store(ifma, out);
    }
}

kernels! {
    /// See [`super::products`].
    pub(super) fn products_2(ifma, a: [&[[Fr; 8]]; 4], b: [&[[Fr; 8]]; 4]) -> [Fr; 9] {
        products::<4, 9>(ifma, a, b)
    }

    /// See [`super::products`].
    pub(super) fn products_3(ifma, a: [&[[Fr; 8]]; 8], b: [&[[Fr; 8]]; 8]) -> [Fr; 27] {
        products::<8, 27>(ifma, a, b)
    }

    /// See [`super::weighted_products`].
    pub(super) fn weighted_2(ifma, a: &[[[Fr; 4]; 8]], b: &[[[Fr; 4]; 8]], weights: &[[Fr; 8]]) -> [Fr; 9] {
        weighted::<4, 9>(ifma, a, b, weights)
    }

    /// See [`super::weighted_products`].
    pub(super) fn weighted_3(ifma, a: &[[[Fr; 8]; 8]], b: &[[[Fr; 8]; 8]], weights: &[[Fr; 8]]) -> [Fr; 27] {
        weighted::<8, 27>(ifma, a, b, weights)
    }

    /// See [`super::bind`].
    pub(super) fn bind_2(ifma, table: &[[[Fr; 4]; 8]], weights: &[Fr; 4], out: &mut [[Fr; 8]]) {
        bind(ifma, table, weights, out);
    }

    /// See [`super::bind`].
    pub(super) fn bind_3(ifma, table: &[[[Fr; 8]; 8]], weights: &[Fr; 8], out: &mut [[Fr; 8]]) {
        bind(ifma, table, weights, out);
    }
}
