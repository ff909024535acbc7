//! The passes with AVX-512 IFMA. Each takes what fills vectors; the caller does the rest.

use ark_bn254::FrConfig;

use crate::Fr;
use crate::ifma::{self, BLOCK, Ifma, U64x8, kernels};

type Packed = ifma::Packed<FrConfig>;
type Lazy = ifma::Lazy<FrConfig>;
type Products = ifma::Products<FrConfig>;

/// Factors of the longest product.
pub(super) const MAX_FACTORS: usize = 6;

/// `[first pair's elements, second pair's elements]` of eight groups of two pairs.
#[inline(always)]
fn load_groups(ifma: Ifma, groups: &[[Fr; 4]; 8]) -> [[[U64x8; 4]; 2]; 2] {
    let first: [&[Fr; 2]; 8] = std::array::from_fn(|i| half(&groups[i], 0));
    let second: [&[Fr; 2]; 8] = std::array::from_fn(|i| half(&groups[i], 1));
    [Packed::load_pairs(ifma, first), Packed::load_pairs(ifma, second)]
}

#[inline(always)]
fn half(group: &[Fr; 4], i: usize) -> &[Fr; 2] {
    &group.as_chunks::<2>().0[i]
}

/// `low·high` and the product of the slopes of a node pair's factors, as packed words `[[x, y] of the even node, of the odd node]`:
/// raised once. Returns the factors of both.
#[inline(always)]
fn factors(ifma: Ifma, nodes: [[[U64x8; 4]; 2]; 2]) -> [[Packed; 2]; 2] {
    let [[x0, y0], [x1, y1]] = nodes;
    let (x0, y0_plain, y0_raised) = (Packed::from_words(ifma, x0), Packed::from_words(ifma, y0), Packed::from_words_raised(ifma, y0));
    let (x1, y1) = (Packed::from_words(ifma, x1), Packed::from_words(ifma, y1));
    let slope = Lazy::multiple::<1>(ifma).add(y1.lazy()).sub(y0_plain.lazy()).shl::<4>().carry(ifma);
    [[x0, y0_raised], [x1.sub::<1>(ifma, x0), slope]]
}

/// A run of whole vectors.
pub(super) struct WholeRun<'a> {
    first: usize,
    values: &'a [[Fr; 8]],
    factor: Packed,
}

impl<'a> WholeRun<'a> {
    pub(super) fn new(ifma: Ifma, first: usize, values: &'a [[Fr; 8]], factor: &Fr) -> WholeRun<'a> {
        WholeRun { first, values, factor: Packed::splat_raised(ifma, factor) }
    }

    fn end(&self) -> usize {
        self.first + self.values.len()
    }
}

/// Products that are reduced together: they are below 1.2p then.
const TOGETHER: usize = 16;

/// See [`super::add_runs`]: stretch by stretch of entries that the same runs cover.
pub(super) fn add_whole_runs(ifma: Ifma, out: &mut [[Fr; 8]], mut runs: Vec<WholeRun<'_>>) {
    runs.sort_by_key(|r| std::cmp::Reverse(r.first));
    let mut covering: Vec<WholeRun<'_>> = Vec::new();
    let mut at = 0;
    loop {
        covering.retain(|r| r.end() > at);
        while runs.last().is_some_and(|r| r.first <= at) {
            covering.extend(runs.pop());
        }
        let next = runs.last().map(|r| r.first);
        let Some(end) = covering.iter().map(WholeRun::end).chain(next).min() else { return };
        for some in covering.chunks(TOGETHER) {
            add_products(ifma, &mut out[at..end], some, at);
        }
        at = end;
    }
}

kernels! {
    /// Adds the runs' products, all of which cover the entries from `first` on.
    fn add_products(ifma, out: &mut [[Fr; 8]], runs: &[WholeRun<'_>], first: usize) {
        for (i, out) in out.iter_mut().enumerate() {
            let mut sum = [U64x8::zero(ifma); 10];
            for run in runs {
                run.factor.product_into(Packed::load(ifma, &run.values[first - run.first + i]), &mut sum);
            }
            Packed::load(ifma, out).add(ifma, Packed::redc(ifma, sum)).canonical(ifma).store(ifma, out);
        }
    }

    /// See [`super::add_scaled`].
    pub(super) fn add_scaled(ifma, out: &mut [[Fr; 8]], x: &[[Fr; 8]], factor: &Fr) {
        let factor = Packed::splat_raised(ifma, factor);
        for (out, x) in out.iter_mut().zip(x) {
            let product = factor.mul(ifma, Packed::load(ifma, x));
            Packed::load(ifma, out).add(ifma, product).canonical(ifma).store(ifma, out);
        }
    }

    /// See [`super::bind`].
    pub(super) fn bind(ifma, low: &mut [[Fr; 8]], high: &[[Fr; 8]], r: &Fr) {
        let r = Packed::splat_raised(ifma, r);
        for (low, high) in low.iter_mut().zip(high) {
            let start = Packed::load(ifma, low);
            let step = Packed::load(ifma, high).sub::<1>(ifma, start);
            start.add(ifma, r.mul(ifma, step)).canonical(ifma).store(ifma, low);
        }
    }

    /// Of groups `[x, y, x', y']` it leaves `[x, y]` at `r`, in the first half of the blocks.
    pub(super) fn bind_pairs(ifma, blocks: &mut [[Fr; 8]], r: &Fr) {
        let r = Packed::splat_raised(ifma, r);
        for i in 0..blocks.len() / 2 {
            let (a, b) = (&blocks[2 * i], &blocks[2 * i + 1]);
            let low = Packed::load(ifma, &[a[0], a[1], a[4], a[5], b[0], b[1], b[4], b[5]]);
            let high = Packed::load(ifma, &[a[2], a[3], a[6], a[7], b[2], b[3], b[6], b[7]]);
            let step = high.sub::<1>(ifma, low);
            low.add(ifma, r.mul(ifma, step)).canonical(ifma).store(ifma, &mut blocks[i]);
        }
    }

    /// `high[i] = low[i]·x`, `low[i] -= high[i]`.
    pub(super) fn split(ifma, low: &mut [[Fr; 8]], high: &mut [[Fr; 8]], x: &Fr) {
        let x = Packed::splat_raised(ifma, x);
        for (low, high) in low.iter_mut().zip(high) {
            let all = Packed::load(ifma, low);
            let upper = x.mul(ifma, all).reduce::<1>(ifma);
            upper.store(ifma, high);
            all.sub::<1>(ifma, upper).reduce::<1>(ifma).store(ifma, low);
        }
    }

    /// `Σ a·b`.
    pub(super) fn dot(ifma, a: &[[Fr; 8]], b: &[[Fr; 8]]) -> Fr {
        let mut sum = Products::new(ifma);
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            for (a, b) in a.iter().zip(b) {
                sum.add(Packed::load(ifma, a), Packed::load(ifma, b));
            }
            sum.reduce(ifma);
        }
        sum.finish(ifma)
    }

    /// See [`super::product_ends`].
    pub(super) fn product_ends(ifma, a: [&[[Fr; 8]]; 2], b: [&[[Fr; 8]]; 2]) -> [Fr; 2] {
        let (mut zero, mut infinity) = (Products::new(ifma), Products::new(ifma));
        let n = a[0].len().min(a[1].len()).min(b[0].len()).min(b[1].len());
        for block in (0..n).step_by(BLOCK) {
            for i in block..n.min(block + BLOCK) {
                let [a0, a1, b0, b1] = [&a[0][i], &a[1][i], &b[0][i], &b[1][i]].map(|x| Packed::load(ifma, x));
                zero.add(a0, b0);
                infinity.add(a1.sub::<1>(ifma, a0), b1.sub::<1>(ifma, b0));
            }
            zero.reduce(ifma);
            infinity.reduce(ifma);
        }
        [zero.finish(ifma), infinity.finish(ifma)]
    }

    /// See [`super::product_values`]; each sum is divided by `16^(D−2)`, for `D ≥ 2` factors.
    pub(super) fn product_values(ifma, low: &[&[[Fr; 8]]], high: &[&[[Fr; 8]]], points: usize) -> Vec<Fr> {
        let mut sums: Vec<Products> = (0..points).map(|_| Products::new(ifma)).collect();
        let n = low.iter().chain(high).map(|x| x.len()).min().unwrap_or(0);
        let zero = Packed::zero(ifma);
        let (mut x, mut step) = ([zero; MAX_FACTORS], [zero; MAX_FACTORS]);
        for block in (0..n).step_by(BLOCK) {
            for i in block..n.min(block + BLOCK) {
                for (f, (low, high)) in low.iter().zip(high).enumerate() {
                    x[f] = Packed::load(ifma, &low[i]);
                    step[f] = Packed::load(ifma, &high[i]).sub::<1>(ifma, x[f]);
                }
                for (k, sum) in sums.iter_mut().enumerate() {
                    if k > 0 {
                        // Below (2k + 1)p ≤ 13p: products below 3.1p, and 41p² with the last factor.
                        for (x, s) in x.iter_mut().zip(step).take(low.len()) {
                            *x = x.add(ifma, s);
                        }
                    }
                    let mut product = x[0];
                    for x in &x[1..low.len() - 1] {
                        product = product.mul(ifma, *x);
                    }
                    sum.add(product, x[low.len() - 1]);
                }
            }
            for sum in &mut sums {
                sum.reduce(ifma);
            }
        }
        sums.into_iter().map(|s| s.finish(ifma)).collect()
    }

    /// See [`super::layer_ends`], for both factor pairs.
    pub(super) fn layer_ends(ifma, a: &[[[Fr; 4]; 8]], b: &[[[Fr; 4]; 8]], eq: &[[Fr; 8]]) -> [Fr; 2] {
        let (mut zero, mut infinity) = (Products::new(ifma), Products::new(ifma));
        for ((a, b), eq) in a.chunks(BLOCK).zip(b.chunks(BLOCK)).zip(eq.chunks(BLOCK)) {
            for ((a, b), eq) in a.iter().zip(b).zip(eq) {
                let eq = Packed::load(ifma, eq);
                let [[a0, a1], [da0, da1]] = factors(ifma, load_groups(ifma, a));
                let [[b0, b1], [db0, db1]] = factors(ifma, load_groups(ifma, b));
                zero.add(eq, Packed::sum_of_products(ifma, [a0, a1, b0, b1]));
                infinity.add(eq, Packed::sum_of_products(ifma, [da0, da1, db0, db1]));
            }
            zero.reduce(ifma);
            infinity.reduce(ifma);
        }
        [zero.finish(ifma), infinity.finish(ifma)]
    }

    /// See [`super::layer_ends`], for one factor pair.
    pub(super) fn layer_ends_single(ifma, a: &[[[Fr; 4]; 8]], eq: &[[Fr; 8]]) -> [Fr; 2] {
        let (mut zero, mut infinity) = (Products::new(ifma), Products::new(ifma));
        for (a, eq) in a.chunks(BLOCK).zip(eq.chunks(BLOCK)) {
            for (a, eq) in a.iter().zip(eq) {
                let eq = Packed::load(ifma, eq);
                let [[a0, a1], [da0, da1]] = factors(ifma, load_groups(ifma, a));
                zero.add(eq, a0.mul(ifma, a1));
                infinity.add(eq, da0.mul(ifma, da1));
            }
            zero.reduce(ifma);
            infinity.reduce(ifma);
        }
        [zero.finish(ifma), infinity.finish(ifma)]
    }

    /// See [`super::fraction_sums`].
    pub(super) fn fraction_sums(ifma, p: &[[[Fr; 2]; 8]], q: &[[[Fr; 2]; 8]], p_out: &mut [[Fr; 8]], q_out: &mut [[Fr; 8]]) {
        for (((p, q), p_out), q_out) in p.iter().zip(q).zip(p_out).zip(q_out) {
            let [p0, p1] = Packed::load_pairs(ifma, p.each_ref()).map(|w| Packed::from_words(ifma, w));
            let [w0, w1] = Packed::load_pairs(ifma, q.each_ref());
            let (q0, q1) = (Packed::from_words_raised(ifma, w0), Packed::from_words_raised(ifma, w1));
            Packed::sum_of_products(ifma, [p0, q1, p1, q0]).reduce::<1>(ifma).store(ifma, p_out);
            Packed::from_words(ifma, w0).mul(ifma, q1).reduce::<1>(ifma).store(ifma, q_out);
        }
    }

    /// See [`super::unit_fraction_sums`].
    pub(super) fn unit_fraction_sums(ifma, q: &[[[Fr; 2]; 8]], p_out: &mut [[Fr; 8]], q_out: &mut [[Fr; 8]]) {
        for ((q, p_out), q_out) in q.iter().zip(p_out).zip(q_out) {
            let [w0, w1] = Packed::load_pairs(ifma, q.each_ref());
            let (q0, q1) = (Packed::from_words(ifma, w0), Packed::from_words(ifma, w1));
            q0.add(ifma, q1).reduce::<1>(ifma).store(ifma, p_out);
            q0.mul(ifma, Packed::from_words_raised(ifma, w1)).reduce::<1>(ifma).store(ifma, q_out);
        }
    }

    /// See [`super::fractions_to_nodes`].
    pub(super) fn fractions_to_nodes(ifma, p: &mut [[[Fr; 2]; 8]], q: &mut [[[Fr; 2]; 8]], lambda: &Fr) {
        let lambda = Packed::splat_raised(ifma, lambda);
        for (p, q) in p.iter_mut().zip(q) {
            let [p0, p1] = Packed::load_pairs(ifma, p.each_ref()).map(|w| Packed::from_words(ifma, w));
            let [q0, q1] = Packed::load_pairs(ifma, q.each_ref()).map(|w| Packed::from_words(ifma, w));
            let first = p0.add(ifma, lambda.mul(ifma, q0)).canonical(ifma);
            Packed::store_pairs(first, q1, p);
            Packed::store_pairs(p1, q0, q);
        }
    }

    /// See [`super::fraction_nodes`].
    pub(super) fn fraction_nodes(ifma, p: &[[[Fr; 2]; 8]], q: &[[[Fr; 2]; 8]], lambda: &Fr, a: &mut [[[Fr; 2]; 8]], b: &mut [[[Fr; 2]; 8]]) {
        let lambda = Packed::splat_raised(ifma, lambda);
        for (((p, q), a), b) in p.iter().zip(q).zip(a).zip(b) {
            let [p0, p1] = Packed::load_pairs(ifma, p.each_ref()).map(|w| Packed::from_words(ifma, w));
            let [q0, q1] = Packed::load_pairs(ifma, q.each_ref()).map(|w| Packed::from_words(ifma, w));
            let first = p0.add(ifma, lambda.mul(ifma, q0)).canonical(ifma);
            Packed::store_pairs(first, q1, a);
            Packed::store_pairs(p1, q0, b);
        }
    }
}
