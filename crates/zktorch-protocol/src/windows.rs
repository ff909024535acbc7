//! The weight functions of many claims at one point, with tables for what their windows have in common.
//!
//! # Relation
//! `Σ_j c_j K̃_j(z)` for weight functions `K_j` of windows, as in [`crate::automaton`].
//!
//! # Method
//! `K̃(z) = F(offset)`, where `F(t) = Σ_i w(i) eq(z, t + Σ_d stride_d·i_d)`. Let `F_S` be this sum over the innermost axes `S` only, whose cells reach from `t` to
//! `t + reach`. With `L` low bits of addresses, `2^L > reach`, and `D_S(u) = Σ_i w(i) eq(z_low, u + Σ_d stride_d·i_d)`, where `eq` is zero outside of `0..2^L`,
//!
//! `F_S(2^L h + l) = eq(z_high, h) D_S(l) + eq(z_high, h+1) D_S(l - 2^L)`.
//!
//! `D_S` is a table of `2^L + reach` entries: the equality table, correlated with the weights of one axis after the other, a bit of the index at a time. All claims whose innermost
//! axes have the same sizes, strides and weights share it; they differ in their offsets and outer axes, whose indices are summed one by one. A model repeats its layers,
//! so that there are few different tables. Claims for which no table pays are evaluated by the carry automaton.
//!
//! # Cost
//! At most that of the automaton for each claim, by the estimates of both: `limits` bounds these.

use crate::automaton::{self, merge};
use crate::claims::{Claim, Weight};
use ark_ff::{AdditiveGroup, Field};
use std::collections::HashMap;
use zktorch_algebra::{
    Fr,
    mle::eq_table,
    small::{WideAccumulator, dot},
    table::{add_scaled, bind},
};
use zktorch_program::Axis;

/// Most low bits of a table.
const MOST_BITS: usize = 15;
/// Costs in passes over one entry of a table: of an index of the outer axes, of going on to another value of an address' high bits, and of a step of the automaton.
const TERM: usize = 2;
const BLOCK: usize = 20;
const STEP: u64 = 8;

/// Sums that are worth dividing between threads.
const LARGE: usize = 1 << 15;

/// `Σ_j c_j K̃_j(z)`, most significant bit of `z` first, for windows that lie inside `0..2^z.len()`.
pub(crate) fn evaluate(claims: &[(Fr, Claim)], z: &[Fr]) -> Fr {
    let windows: Vec<Window> = claims.iter().map(|(weight, claim)| Window::new(*weight, claim)).collect();
    let (groups, others) = plan(&windows, z.len());
    let alone = |w: &&Window| w.scale * automaton::evaluate_merged(w.offset, &w.axes, z);
    #[cfg(feature = "prover")]
    if windows.len() > FEW {
        let (groups, others) = rayon::join(|| sum_of(&groups, |group| group.sum(z)), || sum_of(&others, alone));
        return groups + others;
    }
    groups.iter().map(|group| group.sum(z)).sum::<Fr>() + others.iter().map(alone).sum::<Fr>()
}

/// Windows that are sooner evaluated than handed to other threads.
#[cfg(feature = "prover")]
const FEW: usize = 64;

/// `Σ f(item)`, on all threads if there are any and enough for them.
fn sum_of<T: Sync>(items: &[T], f: impl Fn(&T) -> Fr + Sync + Send) -> Fr {
    #[cfg(feature = "prover")]
    if items.len() > 1 {
        use rayon::prelude::*;
        return items.par_iter().map(f).sum();
    }
    items.iter().map(f).sum()
}

/// A claim's window: a factor, and axes that move it, the largest stride first.
struct Window {
    scale: Fr,
    offset: usize,
    axes: Vec<(Axis, Weight)>,
}

impl Window {
    fn new(weight: Fr, claim: &Claim) -> Window {
        let (scale, mut axes) = merge(&claim.axes);
        axes.sort_by_key(|(axis, _)| std::cmp::Reverse((axis.stride, axis.size)));
        Window { scale: weight * scale, offset: claim.offset, axes }
    }

    /// The `n` innermost axes.
    fn inner(&self, n: usize) -> &[(Axis, Weight)] {
        self.axes.get(self.axes.len().saturating_sub(n)..).unwrap_or(&self.axes)
    }

    /// All axes but the `n` innermost.
    fn outer(&self, n: usize) -> &[(Axis, Weight)] {
        self.axes.get(..self.axes.len().saturating_sub(n)).unwrap_or_default()
    }

    /// Numbers that tell the weights of innermost axes apart, for none, one, two, … of them.
    fn fingerprints(&self) -> Vec<u64> {
        let mut state = 0u64;
        let mut all = vec![state];
        for (axis, weight) in self.axes.iter().rev() {
            let mut mix = |word: u64| state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            mix(axis.size as u64);
            mix(axis.stride as u64);
            if let Weight::Eq(point) = weight {
                point.iter().flat_map(|x| x.0.0).for_each(mix);
            }
            all.push(state);
        }
        all
    }

    /// Cost of summing over all axes but the `n` innermost, with `bits` low bits.
    fn cost(&self, n: usize, bits: usize) -> usize {
        let outer = self.outer(n);
        let Some(((last, _), rest)) = outer.split_last() else { return TERM + BLOCK };
        let rows = rest.iter().fold(1usize, |product, (axis, _)| product.saturating_mul(axis.size));
        let blocks = (last.size.saturating_mul(last.stride) >> bits).saturating_add(1).min(last.size);
        rows.saturating_mul(last.size.saturating_mul(TERM).saturating_add(blocks.saturating_mul(BLOCK)))
    }
}

/// Cells from the first to the last of a window.
fn reach(axes: &[(Axis, Weight)]) -> usize {
    axes.iter().fold(0, |sum: usize, (axis, _)| sum.saturating_add((axis.size - 1).saturating_mul(axis.stride)))
}

/// Low bits of the smallest table for these axes.
fn least_bits(axes: &[(Axis, Weight)]) -> usize {
    (usize::BITS - reach(axes).leading_zeros()) as usize
}

/// Cost of the table of some axes with as few bits as possible.
fn table_cost(axes: &[(Axis, Weight)]) -> usize {
    let passes: usize = axes.iter().map(|(axis, _)| 2 * axis.size.ilog2() as usize + 1 - axis.size.trailing_zeros() as usize).sum();
    (passes + 1).saturating_mul(reach(axes).saturating_add(1usize << least_bits(axes).min(MOST_BITS + 1)))
}

/// Windows that share a table.
struct Group<'a> {
    inner: &'a [(Axis, Weight)],
    /// Low bits of the table.
    bits: usize,
    windows: Vec<&'a Window>,
}

/// Finds the groups that cost least, and the windows that are in none.
fn plan(windows: &[Window], n: usize) -> (Vec<Group<'_>>, Vec<&Window>) {
    let fingerprints: Vec<Vec<u64>> = windows.iter().map(Window::fingerprints).collect();
    let mut sharing: HashMap<u64, usize> = HashMap::new();
    for fingerprint in fingerprints.iter().flatten() {
        *sharing.entry(*fingerprint).or_insert(0) += 1;
    }
    let (mut groups, mut others): (Vec<Group<'_>>, Vec<&Window>) = Default::default();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for (window, fingerprints) in windows.iter().zip(&fingerprints) {
        let costs = fingerprints.iter().enumerate().filter_map(|(inner, fingerprint)| {
            let axes = window.inner(inner);
            let shared = sharing.get(fingerprint).copied().unwrap_or(1);
            // More bits than necessary make a longer table, and longer blocks of the sums.
            let sums = (least_bits(axes)..=MOST_BITS.min(n))
                .step_by(2)
                .map(|bits| window.cost(inner, bits).saturating_add((1 << bits) / shared))
                .min();
            sums.map(|sums| (sums.saturating_add(table_cost(axes) / shared), inner, fingerprint))
        });
        let best = costs.min_by_key(|(cost, ..)| *cost);
        let Some((_, inner, fingerprint)) = best.filter(|(cost, ..)| (*cost as u64) < automaton_cost(&window.axes)) else {
            others.push(window);
            continue;
        };
        let axes = window.inner(inner);
        match places.get(fingerprint).and_then(|place| groups.get_mut(*place)).filter(|group| group.inner == axes) {
            Some(group) => group.windows.push(window),
            None => {
                places.insert(*fingerprint, groups.len());
                groups.push(Group { inner: axes, bits: 0, windows: vec![window] });
            }
        }
    }
    // With the windows that a group really has.
    groups.retain_mut(|group| {
        let least = least_bits(group.inner);
        let inner = group.inner.len();
        let cost = |bits: usize| group.windows.iter().fold(1usize << bits, |sum, w| sum.saturating_add(w.cost(inner, bits)));
        let best = (least..=MOST_BITS.min(n)).map(|bits| (cost(bits), bits)).min();
        let automata = group.windows.iter().fold(0u64, |sum, w| sum.saturating_add(automaton_cost(&w.axes)));
        match best {
            Some((cost, bits)) if (cost.saturating_add(table_cost(group.inner)) as u64) < automata => {
                group.bits = bits;
                true
            }
            _ => {
                others.append(&mut group.windows);
                false
            }
        }
    });
    (groups, others)
}

fn automaton_cost(axes: &[(Axis, Weight)]) -> u64 {
    automaton::steps(axes.iter().map(|(axis, _)| axis)).saturating_mul(STEP)
}

impl Group<'_> {
    /// What the group's windows contribute.
    fn sum(&self, z: &[Fr]) -> Fr {
        let (high, low) = z.split_at(z.len().saturating_sub(self.bits));
        let table = Table::new(self.inner, high, low);
        let n = self.inner.len();
        let one = |window: &&Window| {
            let outer: Vec<(usize, Vec<Fr>)> =
                window.outer(n).iter().map(|(axis, weight)| (axis.stride, weight.table(axis.size))).collect();
            window.scale * table.sum(window.offset, &outer)
        };
        if self.windows.iter().map(|w| w.cost(n, self.bits)).sum::<usize>() > LARGE {
            sum_of(&self.windows, one)
        } else {
            self.windows.iter().map(one).sum()
        }
    }
}

/// `F_S` at any cell.
struct Table {
    bits: usize,
    reach: usize,
    /// `D_S(u)` at `u + reach`, for `u` from `-reach` to `2^bits`.
    entries: Vec<Fr>,
    high: Equality,
}

impl Table {
    fn new(axes: &[(Axis, Weight)], high: &[Fr], low: &[Fr]) -> Table {
        let reach = reach(axes);
        let (middle, low) = low.split_at(low.len().saturating_sub(least_bits(axes)));
        let bits = middle.len() + low.len();
        let mut small = vec![Fr::ZERO; reach];
        small.append(&mut eq_table(low));
        for (axis, weight) in axes {
            small = correlate(small, *axis, weight);
        }
        // More low bits: copies at multiples of the small table's, which overlap.
        let entries = if middle.is_empty() {
            small
        } else {
            let mut entries = vec![Fr::ZERO; reach + (1 << bits)];
            for (i, factor) in eq_table(middle).iter().enumerate() {
                if let Some(out) = entries.get_mut(i << low.len()..) {
                    add_scaled(out, &small, factor);
                }
            }
            entries
        };
        Table { bits, reach, entries, high: Equality::new(high) }
    }

    /// `Σ_i Π_d w_d(i_d) F_S(first + Σ_d stride_d·i_d)`.
    fn sum(&self, first: usize, outer: &[(usize, Vec<Fr>)]) -> Fr {
        match outer {
            [] => self.run(first, 0, &[Fr::ONE]),
            [(stride, weights)] => self.run(first, *stride, weights),
            [(stride, weights), rest @ ..] => {
                let mut sum = WideAccumulator::new();
                for (i, weight) in weights.iter().enumerate() {
                    sum.add(weight, &self.sum(first + i * stride, rest));
                }
                sum.value()
            }
        }
    }

    /// [`Table::sum`] over one axis.
    fn run(&self, first: usize, stride: usize, weights: &[Fr]) -> Fr {
        let size = 1usize << self.bits;
        let (mut cell, mut rest) = (first, weights);
        let mut sum = Fr::ZERO;
        // Gathered, for vector instructions.
        let mut own = Vec::with_capacity(weights.len());
        while !rest.is_empty() {
            let (block, low) = (cell >> self.bits, cell & (size - 1));
            let count = if stride == 0 { rest.len() } else { (size - low).div_ceil(stride).min(rest.len()) };
            let (head, tail) = rest.split_at(count);
            // `D_S(low)`; and `D_S(low - 2^L)` where the window reaches into the next block.
            own.clear();
            own.extend((0..count).map(|i| self.entries.get(low + self.reach + i * stride).copied().unwrap_or_default()));
            sum += self.high.at(block) * dot(head, &own);
            let inside = if low + self.reach >= size { 0 } else { (size - self.reach - low).div_ceil(stride.max(1)) };
            if let Some(weights) = head.get(inside..).filter(|weights| !weights.is_empty()) {
                let first = low + inside * stride + self.reach - size;
                own.clear();
                own.extend((0..weights.len()).map(|i| self.entries.get(first + i * stride).copied().unwrap_or_default()));
                sum += self.high.at(block + 1) * dot(weights, &own);
            }
            (cell, rest) = (cell + count * stride, tail);
        }
        sum
    }
}

/// `eq(point, ·)` as a product of short tables.
struct Equality {
    /// Tables of bits of the index, the least significant first.
    tables: Vec<Vec<Fr>>,
}

/// Bits of the index that a table takes.
const TABLE_BITS: usize = 8;

impl Equality {
    fn new(point: &[Fr]) -> Equality {
        Equality { tables: point.rchunks(TABLE_BITS).map(eq_table).collect() }
    }

    /// `eq(point, index)`; zero if the index is too large.
    fn at(&self, index: usize) -> Fr {
        let mut left = index;
        let mut product = Fr::ONE;
        for table in &self.tables {
            product *= table.get(left % table.len()).copied().unwrap_or_default();
            left /= table.len();
        }
        if left == 0 { product } else { Fr::ZERO }
    }
}

/// `d'(u) = Σ_{i < size} w(i) d(u + stride·i)`, with zeros past the end.
fn correlate(d: Vec<Fr>, axis: Axis, weight: &Weight) -> Vec<Fr> {
    let top = axis.size.ilog2() as usize;
    // `None` where both values of the bit have weight 1.
    let coordinate = |bit: usize| match weight {
        Weight::Eq(point) => Some(point.len().checked_sub(1 + bit).and_then(|i| point.get(i)).copied().unwrap_or_default()),
        Weight::Ones => None,
    };
    // Sums over all low bits of the index, and over those that are below the size's.
    let (mut all, mut below): (Vec<Fr>, Option<Vec<Fr>>) = (d, None);
    for bit in 0..=top {
        let (step, r) = (axis.stride << bit, coordinate(bit));
        below = match (axis.size >> bit & 1 == 1, below) {
            (true, None) => Some(mix(&all, &[], r)),
            (true, Some(below)) => Some(mix(&all, below.get(step..).unwrap_or_default(), r)),
            (false, None) => None,
            (false, Some(below)) => Some(mix(&below, &[], r)),
        };
        if bit < top {
            all = mix(&all, all.get(step..).unwrap_or_default(), r);
        }
    }
    below.unwrap_or(all)
}

/// `(1 - r)·zero + r·one`, or `zero + one` without `r`; `one` may be shorter and then ends with zeros.
fn mix(zero: &[Fr], one: &[Fr], r: Option<Fr>) -> Vec<Fr> {
    let mut out = zero.to_vec();
    let (head, tail) = out.split_at_mut(one.len().min(zero.len()));
    match r {
        Some(r) => {
            bind(head, one, &r);
            let keep = Fr::ONE - r;
            tail.iter_mut().for_each(|x| *x *= keep);
        }
        None => head.iter_mut().zip(one).for_each(|(x, y)| *x += y),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automaton::tests::{Rng, by_definition, random_claim};
    use crate::claims::{Vector, index_bits};
    use zktorch_algebra::mle;

    fn claim(offset: usize, axes: Vec<(Axis, Weight)>) -> Claim {
        Claim { vector: Vector::Heap, offset, axes, value: Default::default() }
    }

    fn expected(claims: &[(Fr, Claim)], z: &[Fr]) -> Fr {
        claims.iter().map(|(c, claim)| *c * mle::evaluate(&by_definition(claim.offset, &claim.axes, z.len()), z)).sum()
    }

    #[test]
    fn tables_agree_with_the_definition_whatever_axes_they_hold() {
        let mut rng = Rng(21);
        for _ in 0..300 {
            let n = 4 + rng.below(6);
            let (offset, axes) = random_claim(&mut rng, n);
            let z = rng.point(n);
            let window = Window::new(Fr::from(3u64), &claim(offset, axes.clone()));
            let expected = Fr::from(3u64) * mle::evaluate(&by_definition(offset, &axes, n), &z);
            for inner in 0..=window.axes.len() {
                for bits in least_bits(window.inner(inner))..=n {
                    let group = Group { inner: window.inner(inner), bits, windows: vec![&window] };
                    assert_eq!(group.sum(&z), expected, "{inner} inner axes, {bits} bits");
                }
            }
        }
    }

    #[test]
    fn claims_of_repeated_layers_agree_with_the_definition() {
        let mut rng = Rng(22);
        let n = 14;
        let z = rng.point(n);
        let eq = |rng: &mut Rng, size: usize, stride: usize| (Axis { size, stride }, Weight::Eq(rng.point(index_bits(size))));
        // Windows of 3x3 on images with margins, images without, rows of ones, and a cell.
        let image = [eq(&mut rng, 14, 15), eq(&mut rng, 3, 15), eq(&mut rng, 14, 1), eq(&mut rng, 3, 1)];
        let row = [eq(&mut rng, 13, 1)];
        let ones = [(Axis { size: 14, stride: 14 }, Weight::Ones), (Axis { size: 14, stride: 1 }, Weight::Ones)];
        let mut claims = vec![(Fr::from(5u64), claim(77, Vec::new())), (Fr::from(6u64), claim((1 << n) - 1, Vec::new()))];
        for (k, offset) in [0, 1, 1234, 5000].into_iter().enumerate() {
            for (inner, pitch, channels) in [(&image[..], 250, 12), (&row[..], 13, 9), (&ones[..], 196, 7), (&image[2..], 300, 16)] {
                let mut axes = vec![eq(&mut rng, channels, pitch)];
                axes.extend_from_slice(inner);
                claims.push((Fr::from(k as u64 + 7), claim(offset, axes)));
            }
        }
        let windows: Vec<Window> = claims.iter().map(|(c, claim)| Window::new(*c, claim)).collect();
        let (groups, _) = plan(&windows, n);
        assert!(groups.iter().any(|g| g.windows.len() > 2), "claims share tables");
        assert_eq!(evaluate(&claims, &z), expected(&claims, &z));
    }

    #[test]
    fn windows_up_to_the_last_cell_agree_with_the_definition() {
        let mut rng = Rng(23);
        for size in [1usize, 2, 3, 31, 64, 100] {
            let n = 10;
            let z = rng.point(n);
            let axes = vec![
                (Axis { size: 5, stride: 180 }, Weight::Eq(rng.point(3))),
                (Axis { size, stride: 1 }, Weight::Eq(rng.point(index_bits(size)))),
            ];
            let claims: Vec<(Fr, Claim)> = (0..20).map(|k| (Fr::from(k + 1u64), claim((1 << n) - 720 - size, axes.clone()))).collect();
            assert_eq!(evaluate(&claims, &z), expected(&claims, &z));
        }
    }
}
