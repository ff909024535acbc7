//! Fractions `1/(c − x)` for small integers `x`: leaves of a tree of fractions that look up a range.
//!
//! Whatever the tree and the first rounds of its lowest sumchecks need of them are polynomials in `c` whose coefficients are small integers,
//! or sums of such integers times weights. So scalars are multiplied by integers, and no table of them is made: not even the leaves exist.
//!
//! All run on the calling thread, as the passes of [`crate::table`] do.

#[cfg(target_arch = "x86_64")]
mod ifma;

use crate::small::SmallAccumulator;
use crate::{Fr, fr_from_i64};
use ark_ff::{AdditiveGroup, Field};

/// Variables that [`Units::products`] and [`Units::bind`] take together.
pub const HEAD: usize = 3;
/// Integers of the nodes that differ in these variables only.
const GROUP: usize = 2 << HEAD;
/// Integers of the nodes two layers above that differ in these variables only.
const DOUBLE_GROUP: usize = 2 * GROUP;
/// Points of `{0, 1, ∞}^HEAD`; the first variable is the least significant digit, `∞` is 2.
pub const GRID: usize = 27;

/// Fractions `1/(c − x_i)`, two to a node of the layer above.
#[derive(Clone, Copy, Debug)]
pub struct Units<'a> {
    x: &'a [u32],
    c: Fr,
}

impl<'a> Units<'a> {
    /// `None` if some integer has more than 16 bits.
    pub fn new(x: &'a [u32], c: Fr) -> Option<Units<'a>> {
        (x.iter().fold(0, |all, x| all | x) < 1 << 16).then_some(Units { x, c })
    }

    /// Numerators and denominators of the sums of two neighbours. A last fraction without a sibling is dropped.
    pub fn pairs(&self) -> (Vec<Fr>, Vec<Fr>) {
        let n = self.x.len() / 2;
        let (mut p, mut q) = (vec![Fr::ZERO; n], vec![Fr::ZERO; n]);
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            ifma::pairs(ifma, self.x.as_chunks().0, &self.c, p.as_chunks_mut().0, q.as_chunks_mut().0);
            done = n / 8 * 8;
        }
        for (i, [x, y]) in self.x.as_chunks::<2>().0.iter().enumerate().skip(done) {
            let [x, y] = [x, y].map(|x| self.c - fr_from_i64(i64::from(*x)));
            (p[i], q[i]) = (x + y, x * y);
        }
        (p, q)
    }

    /// Numerators and denominators of the sums of four neighbours. Last fractions that are no four are dropped.
    pub fn quads(&self) -> (Vec<Fr>, Vec<Fr>) {
        let n = self.x.len() / 4;
        let (mut p, mut q) = (vec![Fr::ZERO; n], vec![Fr::ZERO; n]);
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            ifma::quads(ifma, self.x.as_chunks::<16>().0.as_chunks().0, &self.c, p.as_chunks_mut().0, q.as_chunks_mut().0);
            done = n / 8 * 8;
        }
        for (i, x) in self.x.as_chunks::<4>().0.iter().enumerate().skip(done) {
            let [a, b, c, d] = x.map(|x| self.c - fr_from_i64(i64::from(x)));
            let (low, high) = (a * b, c * d);
            (p[i], q[i]) = ((a + b) * high + (c + d) * low, low * high);
        }
        (p, q)
    }

    /// Number of nodes after [`HEAD`] variables are bound.
    fn bound(&self) -> usize {
        self.x.len() / GROUP
    }

    /// `Σ_y eq[y]·(a_0 a_1 − 1)` at the points of the grid, where `a_j = 1 + λ(c − x_j)` is extended over the [`HEAD`] last variables of the nodes' index and
    /// `y` are the others. At `∞` stands the leading coefficient. `eq` has an entry for each `y`.
    pub fn products(&self, lambda: &Fr, eq: &[Fr]) -> [Fr; GRID] {
        let n = self.bound().min(eq.len());
        let (mut both, mut sums) = ([Fr::ZERO; GRID], [Fr::ZERO; GRID]);
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            (both, sums) = ifma::products(ifma, self.x[..n * GROUP].as_chunks().0, eq[..n].as_chunks().0);
            done = n / 8 * 8;
        }
        if done < n {
            let mut rest = [[SmallAccumulator::new(); 2]; GRID];
            for (x, e) in self.x.as_chunks::<GROUP>().0[..n].iter().zip(eq).skip(done) {
                let [first, second] = [0, 1].map(|j| extend(std::array::from_fn(|k| i64::from(x[2 * k + j]))));
                for ((rest, x), y) in rest.iter_mut().zip(first).zip(second) {
                    rest[0].add(x * y, e);
                    rest[1].add(x + y, e);
                }
            }
            for (g, rest) in rest.iter().enumerate() {
                both[g] += rest[0].value();
                sums[g] += rest[1].value();
            }
        }
        let weight: Fr = eq[..n].iter().sum();
        let constant = Fr::ONE + *lambda * self.c;
        std::array::from_fn(|g| {
            // (A − λx)(A − λy); the leading coefficients have no A.
            let value = lambda.square() * both[g];
            if at_infinity(g) {
                return value;
            }
            value + (constant.square() - Fr::ONE) * weight - constant * lambda * sums[g]
        })
    }

    /// `a_0` and `a_1` of each node once the [`HEAD`] last variables are bound, the last one first: see [`products`](Self::products).
    pub fn bind(&self, lambda: &Fr, challenges: &[Fr; HEAD]) -> Vec<Fr> {
        let weights = crate::mle::eq_table(&[challenges[2], challenges[1], challenges[0]]);
        let constant = Fr::ONE + *lambda * self.c;
        let mut out = vec![Fr::ZERO; 2 * self.bound()];
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            let weights = std::array::from_fn(|k| -*lambda * weights[k]);
            ifma::bind(ifma, self.x.as_chunks().0, &weights, &constant, out.as_chunks_mut::<2>().0.as_chunks_mut().0);
            done = out.len() / 16 * 8;
        }
        for (x, out) in self.x.as_chunks::<GROUP>().0.iter().zip(out.as_chunks_mut::<2>().0).skip(done) {
            for (j, out) in out.iter_mut().enumerate() {
                let mut sum = SmallAccumulator::new();
                weights.iter().enumerate().for_each(|(k, w)| sum.add(i64::from(x[2 * k + j]), w));
                *out = constant - *lambda * sum.value();
            }
        }
        out
    }
}

/// The same two layers above: nodes whose children are the sums of pairs.
impl Units<'_> {
    /// Like [`products`](Self::products) for `h = (p_0 + λ q_0) q_1 + p_1 q_0`, with the fractions `p_j/q_j` that [`pairs`](Self::pairs) gives.
    pub fn pair_products(&self, lambda: &Fr, eq: &[Fr]) -> [Fr; GRID] {
        let n = (self.x.len() / DOUBLE_GROUP).min(eq.len());
        let mut sums = PairSums::default();
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            sums = ifma::pair_products(ifma, self.x[..n * DOUBLE_GROUP].as_chunks().0, eq[..n].as_chunks().0);
            done = n / 8 * 8;
        }
        if done < n {
            sums.add(&self.x.as_chunks::<DOUBLE_GROUP>().0[done..n], &eq[done..n]);
        }
        let c = self.c;
        let (square, kappa) = (c.square(), Fr::ONE + *lambda * c);
        let cube = square * c;
        let weight: Fr = eq[..n].iter().sum();
        let mut corner = 0;
        std::array::from_fn(|g| {
            if at_infinity(g) {
                // The slopes of p_0 + λ q_0, q_1, p_1, q_0 are −κS + λT, −cS' + T', −S', −cS + T.
                let [ss, st, tt] = sums.slopes[g];
                return c * (kappa + Fr::ONE) * ss - kappa * st + *lambda * tt;
            }
            // dQ/dc + λQ for Q = c^4 − e_1 c^3 + e_2 c^2 − e_3 c + e_4.
            let [e1, e2, e3, e4] = sums.corners[corner];
            corner += 1;
            let constant = cube * (Fr::from(4u64) + *lambda * c) * weight;
            let (first, second) = (square * (Fr::from(3u64) + *lambda * c), c * (Fr::from(2u64) + *lambda * c));
            constant - first * e1 + second * e2 - kappa * e3 + *lambda * e4
        })
    }

    /// `p_0 + λ q_0, q_1` and `p_1, q_0` of each of these nodes once the [`HEAD`] last variables are bound, the last one first.
    pub fn pair_bind(&self, lambda: &Fr, challenges: &[Fr; HEAD]) -> [Vec<Fr>; 2] {
        let weights = crate::mle::eq_table(&[challenges[2], challenges[1], challenges[0]]);
        let (c, n) = (self.c, self.x.len() / DOUBLE_GROUP);
        let mut out = [vec![Fr::ZERO; 2 * n], vec![Fr::ZERO; 2 * n]];
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            let [a, b] = out.each_mut().map(|out| out.as_chunks_mut::<2>().0.as_chunks_mut().0);
            ifma::pair_bind(ifma, self.x.as_chunks().0, &std::array::from_fn(|k| weights[k]), lambda, &c, a, b);
            done = n / 8 * 8;
        }
        for (i, x) in self.x.as_chunks::<DOUBLE_GROUP>().0.iter().enumerate().skip(done) {
            let mut sums = [[SmallAccumulator::new(); 2]; 2];
            for (k, w) in weights.iter().enumerate() {
                let children = children(x, k);
                sums.iter_mut().flatten().zip(children.iter().flatten()).for_each(|(sum, x)| sum.add(*x, w));
            }
            let [[p0, q0], [p1, q1]] = sums.map(|[s, t]| [s.value(), t.value()]).map(|[s, t]| [c + c - s, c.square() - c * s + t]);
            out[0][2 * i..2 * i + 2].copy_from_slice(&[p0 + *lambda * q0, q1]);
            out[1][2 * i..2 * i + 2].copy_from_slice(&[p1, q0]);
        }
        out
    }
}

/// The integers that make up the children of node `k` of a group: sums and products of pairs.
fn children(x: &[u32; DOUBLE_GROUP], k: usize) -> [[i64; 2]; 2] {
    [0, 1].map(|j| [0, 1].map(|i| i64::from(x[4 * k + 2 * j + i]))).map(|[x, y]| [x + y, x * y])
}

/// Weighted sums over the groups of nodes whose children are sums of pairs, `S, T` and `S', T'` the children's sums and products.
#[derive(Default)]
struct PairSums {
    /// At the corners: the symmetric functions of the four integers.
    corners: [[Fr; 4]; 1 << HEAD],
    /// At the other points: `S S'`, `S T' + T S'`, `T T'`.
    slopes: [[Fr; 3]; GRID],
}

impl PairSums {
    /// Adds groups, with their weights.
    fn add(&mut self, groups: &[[u32; DOUBLE_GROUP]], eq: &[Fr]) {
        let mut corners = [[SmallAccumulator::new(); 4]; 1 << HEAD];
        // Sums of `S S'`, `S H' + H S'`, `S L' + L S'`, `H H'`, `H L' + L H'`, `L L'` for `T = 2^16 H + L`.
        let mut slopes = [[SmallAccumulator::new(); 6]; GRID];
        for (x, e) in groups.iter().zip(eq) {
            let nodes: [[[i64; 2]; 2]; 1 << HEAD] = std::array::from_fn(|k| children(x, k));
            for (sums, [[s, t], [u, v]]) in corners.iter_mut().zip(nodes) {
                sums[0].add(s + u, e);
                sums[1].add(t + v + s * u, e);
                sums[2].add(s * v + u * t, e);
                let product = t as u64 * v as u64;
                sums[3].add((product >> 32) as i64, &(*e * Fr::from(1u64 << 32)));
                sums[3].add((product & 0xffff_ffff) as i64, e);
            }
            let [first, second] = [0, 1].map(|j| {
                let of = |part: fn([i64; 2]) -> i64| extend(nodes.map(|node| part(node[j])));
                [of(|[s, _]| s), of(|[_, t]| t >> 16), of(|[_, t]| t & 0xffff)]
            });
            for (g, sums) in slopes.iter_mut().enumerate().filter(|(g, _)| at_infinity(*g)) {
                let ([s, h, l], [u, m, n]) = (first.map(|x| x[g]), second.map(|x| x[g]));
                for (sum, value) in sums.iter_mut().zip([s * u, s * m + h * u, s * n + l * u, h * m, h * n + l * m, l * n]) {
                    sum.add(value, e);
                }
            }
        }
        for (sums, rest) in self.corners.iter_mut().zip(&corners) {
            sums.iter_mut().zip(rest).for_each(|(sum, rest)| *sum += rest.value());
        }
        for (sums, rest) in self.slopes.iter_mut().zip(&slopes) {
            let [ss, sh, sl, hh, hl, ll] = rest.map(|rest| rest.value());
            sums.iter_mut().zip(join([ss, sh, sl, hh, hl, ll])).for_each(|(sum, rest)| *sum += rest);
        }
    }
}

/// Puts the halves of `T = 2^16 H + L` together.
fn join([ss, sh, sl, hh, hl, ll]: [Fr; 6]) -> [Fr; 3] {
    let half = Fr::from(1u64 << 16);
    [ss, half * sh + sl, half * (half * hh + hl) + ll]
}

/// Whether a point of the grid has a coordinate `∞`.
fn at_infinity(point: usize) -> bool {
    [1, 3, 9].iter().any(|place| point / place % 3 == 2)
}

/// The grid's values of the function that is multilinear in the bits of the index.
fn extend(corners: [i64; 1 << HEAD]) -> [i64; GRID] {
    let value = |line: [i64; 2], at: usize| if at == 2 { line[1] - line[0] } else { line[at] };
    std::array::from_fn(|g| {
        let edge = |k: usize| value([corners[2 * k], corners[2 * k + 1]], g % 3);
        let face = |k: usize| value([edge(2 * k), edge(2 * k + 1)], g / 3 % 3);
        value([face(0), face(1)], g / 9)
    })
}

#[cfg(test)]
mod tests;
