//! The carry automaton: evaluates the multilinear extension of a claim's weight function without touching the vector.
//!
//! # Relation
//! `K(x) = Σ_{i in box: offset + Σ_d stride_d·i_d = x} Π_d w_d(i_d)`; wanted is `K̃(z)`.
//!
//! # Protocol
//! The sum `offset + Σ stride·i` is formed bit by bit from the least significant position. The state is the carry and, for every axis whose size
//! is no power of two, whether the index bits so far are below those of the size. At each position every axis that has an index bit
//! there contributes the odd part of its stride; the output bit is weighted by `z`, the index bits by `w`.
//!
//! # Cost
//! (bits of the vector) × (states) × 2^(axes alive at a position) multiplications. The number of states is governed by the odd parts of the
//! strides: pitches that are multiples of large powers of two keep it small.

use crate::claims::{Weight, index_bits};
use ark_ff::{AdditiveGroup, Field};
use std::collections::HashMap;
use zktorch_algebra::{
    Fr,
    mle::{eq_index, sum_of_eq_below},
};
use zktorch_program::Axis;

struct Digit<'a> {
    size: usize,
    bits: usize,
    /// `None`: every weight is 1.
    point: Option<&'a [Fr]>,
    odd: u64,
    shift: usize,
    /// Position of the axis' flag, if its size is no power of two.
    flag: Option<u32>,
}

/// Merges neighbouring axes that are contiguous with each other, where the weights allow it.
pub(crate) fn merge(axes: &[(Axis, Weight)]) -> (Fr, Vec<(Axis, Weight)>) {
    let mut scale = Fr::ONE;
    let mut out: Vec<(Axis, Weight)> = Vec::new();
    for (axis, weight) in axes {
        if axis.stride == 0 || axis.size == 1 {
            scale *= match weight {
                Weight::Eq(point) => sum_of_eq_below(point, axis.size),
                Weight::Ones => Fr::from(axis.size as u64),
            };
            continue;
        }
        if let Some((last, last_weight)) = out.last_mut()
            && last.stride == axis.stride * axis.size
        {
            match (&mut *last_weight, weight) {
                (Weight::Eq(a), Weight::Eq(b)) if axis.size.is_power_of_two() => {
                    a.extend_from_slice(b);
                    *last = Axis { size: last.size * axis.size, stride: axis.stride };
                    continue;
                }
                (Weight::Ones, Weight::Ones) => {
                    *last = Axis { size: last.size * axis.size, stride: axis.stride };
                    continue;
                }
                _ => {}
            }
        }
        out.push((*axis, weight.clone()));
    }
    (scale, out)
}

/// Keys below this find their state in a table; the states of most claims are few, and hashing them would take most of a verification.
const TABLE: u64 = 1 << 16;

/// Absent from the table.
const NONE: u32 = u32::MAX;

/// Weights of the states of one position, by key: the carry above the flags.
struct States {
    list: Vec<(u64, Fr)>,
    /// Place in the list by key.
    table: Vec<u32>,
    /// The same for keys beyond the table.
    others: HashMap<u64, u32>,
}

/// The table's entry for a key, if it has one.
fn at(table: &mut [u32], key: u64) -> Option<&mut u32> {
    table.get_mut(usize::try_from(key).ok()?)
}

impl States {
    /// No states; keys are below `bound`, or not far above.
    fn new(bound: u64) -> States {
        States { list: Vec::new(), table: vec![NONE; bound.min(TABLE) as usize], others: HashMap::new() }
    }

    fn add(&mut self, key: u64, weight: Fr) {
        let place = match at(&mut self.table, key) {
            Some(place) => place,
            None => self.others.entry(key).or_insert(NONE),
        };
        match self.list.get_mut(*place as usize) {
            Some((_, sum)) => *sum += weight,
            None => {
                *place = self.list.len() as u32;
                self.list.push((key, weight));
            }
        }
    }

    fn clear(&mut self) {
        for (key, _) in self.list.drain(..) {
            if let Some(place) = at(&mut self.table, key) {
                *place = NONE;
            }
        }
        self.others.clear();
    }

    fn get(&self, key: u64) -> Option<Fr> {
        self.list.iter().find(|(k, _)| *k == key).map(|(_, weight)| *weight)
    }
}

/// `K̃(z)`, most significant bit of `z` first, for a window that lies inside `0..2^z.len()`.
pub fn evaluate(offset: usize, axes: &[(Axis, Weight)], z: &[Fr]) -> Fr {
    let (scale, axes) = merge(axes);
    scale * evaluate_merged(offset, &axes, z)
}

/// [`evaluate`] for axes that move the window.
pub(crate) fn evaluate_merged(offset: usize, axes: &[(Axis, Weight)], z: &[Fr]) -> Fr {
    let n = z.len();
    let mut flags = 0u32;
    let digits: Vec<Digit<'_>> = axes
        .iter()
        .map(|(axis, weight)| {
            let shift = axis.stride.trailing_zeros() as usize;
            let bits = index_bits(axis.size);
            let flag = (!axis.size.is_power_of_two()).then(|| {
                flags += 1;
                flags - 1
            });
            let point = match weight {
                Weight::Eq(p) => Some(&p[..]),
                Weight::Ones => None,
            };
            Digit { size: axis.size, bits, point, odd: (axis.stride >> shift) as u64, shift, flag }
        })
        .collect();
    let full: u64 = (1u64 << flags) - 1;
    // Half of a carry and all odd parts is carried on.
    let bound = digits.iter().fold(2u64, |sum, d| sum.saturating_add(d.odd)).saturating_mul(full + 1);
    let (mut states, mut next) = (States::new(bound), States::new(bound));
    states.add(0, Fr::ONE);
    let ends = digits.iter().map(|d| d.shift + d.bits).max().unwrap_or(0);
    // What each choice of index bits adds, how it changes the flags, and its weight; with the weight of either output bit.
    let (mut choices, mut weighted): (Vec<Choice<Fr>>, Vec<Choice<[Fr; 2]>>) = Default::default();
    for t in 0..ends.max(n) {
        let offset_bits = offset.checked_shr(t as u32).unwrap_or(0);
        if t >= ends && states.list.len() <= FEW {
            // Only carries are left to be added to the offset.
            let high = z.get(..n.saturating_sub(t)).unwrap_or_default();
            let rest = |(key, value): &(u64, Fr)| {
                let index = offset_bits.checked_add((key >> flags) as usize).filter(|_| key & full == full);
                index.map_or(Fr::ZERO, |index| *value * eq_index(high, index))
            };
            return states.list.iter().map(rest).sum();
        }
        choices.clear();
        choices.push((0, !0, 0, Fr::ONE));
        for d in digits.iter().filter(|d| d.shift <= t && t < d.shift + d.bits) {
            let position = t - d.shift;
            let size_bit = (d.size >> position) & 1;
            let one = d.point.map(|p| p[d.bits - 1 - position]);
            for i in 0..choices.len() {
                let (sum, keep, set, w) = choices[i];
                let high = one.map_or(w, |r| w * r);
                let low = if one.is_some() { w - high } else { w };
                let changed = |bit: usize| match d.flag {
                    Some(f) if bit != size_bit => (keep & !(1 << f), if bit < size_bit { set | 1 << f } else { set }),
                    _ => (keep, set),
                };
                let ((keep0, set0), (keep1, set1)) = (changed(0), changed(1));
                choices[i] = (sum, keep0, set0, low);
                choices.push((sum + d.odd, keep1, set1, high));
            }
        }
        let one = if t < n { z[n - 1 - t] } else { Fr::ZERO };
        weighted.clear();
        weighted.extend(choices.iter().map(|&(sum, keep, set, w)| {
            let high = w * one;
            (sum + (offset_bits & 1) as u64, keep, set, [w - high, high])
        }));
        next.clear();
        for (state, value) in &states.list {
            let (carry, flag) = (state >> flags, state & full);
            for (sum, keep, set, w) in &weighted {
                let total = carry + sum;
                let key = (total >> 1) << flags | ((flag & keep) | set);
                next.add(key, *value * w[(total & 1) as usize]);
            }
        }
        std::mem::swap(&mut states, &mut next);
    }
    states.get(full).unwrap_or(Fr::ZERO)
}

/// A choice of index bits: what it adds, the flags that it keeps, those that it sets, and its weight.
type Choice<W> = (u64, u64, u64, W);

/// States whose carries are not worth following any further.
const FEW: usize = 3;

/// Upper bound of the steps of [`evaluate_merged`]: states times choices, over all bits of the window.
pub(crate) fn steps<'a>(axes: impl Iterator<Item = &'a Axis>) -> u64 {
    // Position, bits, odd part of the stride, and whether there is a flag.
    let digits: Vec<(usize, usize, u64, bool)> = axes
        .map(|a| {
            let shift = a.stride.trailing_zeros() as usize;
            (shift, index_bits(a.size), (a.stride >> shift) as u64, !a.size.is_power_of_two())
        })
        .collect();
    let last = digits.iter().map(|(shift, bits, ..)| shift + bits).max().unwrap_or(0);
    let (mut carry, mut states, mut steps) = (0u64, 1u64, 0u64);
    for t in 0..last {
        let live = digits.iter().filter(|(shift, bits, ..)| *shift <= t && t < shift + bits);
        let choices = 1u64.checked_shl(live.clone().count() as u32).unwrap_or(u64::MAX);
        let more = states.saturating_mul(choices);
        steps = steps.saturating_add(more);
        carry = (carry.saturating_add(live.map(|(_, _, odd, _)| odd).sum::<u64>())).div_ceil(2);
        let flags = digits.iter().filter(|(shift, _, _, flag)| *flag && *shift <= t).count();
        // Each step leads to one state; there are no more than carries with flags.
        states = more.min((carry + 1).saturating_mul(1u64.checked_shl(flags as u32).unwrap_or(u64::MAX)));
    }
    steps
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use zktorch_algebra::{hash_to_fr, mle};

    pub(crate) struct Rng(pub u64);
    impl Rng {
        pub fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % n
        }
        pub fn point(&mut self, n: usize) -> Vec<Fr> {
            (0..n).map(|_| hash_to_fr(&self.below(1 << 30).to_le_bytes())).collect()
        }
    }

    /// Offset and axes of a window inside `2^n` cells.
    pub(crate) fn random_claim(rng: &mut Rng, n: usize) -> (usize, Vec<(Axis, Weight)>) {
        let mut axes: Vec<(Axis, Weight)> = Vec::new();
        let mut reach = 0;
        for _ in 0..rng.below(4) {
            let axis = Axis { size: 1 + rng.below(6), stride: [0, 1, 2, 3, 5, 6, 8, 12][rng.below(8)] };
            if reach + (axis.size - 1) * axis.stride >= 1 << n {
                continue;
            }
            reach += (axis.size - 1) * axis.stride;
            let weight = if rng.below(5) == 0 { Weight::Ones } else { Weight::Eq(rng.point(index_bits(axis.size))) };
            axes.push((axis, weight));
        }
        if rng.below(2) == 0 {
            axes.sort_by_key(|(a, _)| std::cmp::Reverse(a.stride));
        }
        (rng.below((1 << n) - reach), axes)
    }

    /// `K` over `2^n` cells.
    pub(crate) fn by_definition(offset: usize, axes: &[(Axis, Weight)], n: usize) -> Vec<Fr> {
        let mut k = vec![Fr::ZERO; 1 << n];
        let tables: Vec<Vec<Fr>> = axes.iter().map(|(a, w)| w.table(a.size)).collect();
        let count: usize = axes.iter().map(|(a, _)| a.size).product();
        for mut flat in 0..count {
            let (mut x, mut w) = (offset, Fr::ONE);
            for (d, (a, _)) in axes.iter().enumerate().rev() {
                let i = flat % a.size;
                flat /= a.size;
                x += i * a.stride;
                w *= tables[d][i];
            }
            k[x] += w;
        }
        k
    }

    #[test]
    fn automaton_agrees_with_the_definition() {
        let mut rng = Rng(7);
        for _ in 0..300 {
            let n = 4 + rng.below(6);
            let (offset, axes) = random_claim(&mut rng, n);
            let z = rng.point(n);
            assert_eq!(evaluate(offset, &axes, &z), mle::evaluate(&by_definition(offset, &axes, n), &z));
        }
    }

    #[test]
    fn carries_beyond_the_table_agree_with_the_definition() {
        let mut rng = Rng(8);
        for stride in [21_845, 65_537, 80_003] {
            let axes: Vec<(Axis, Weight)> = [(3, stride), (5, 3), (3, 1)]
                .map(|(size, stride)| (Axis { size, stride }, Weight::Eq(rng.point(index_bits(size)))))
                .to_vec();
            let z = rng.point(18);
            assert_eq!(evaluate(5, &axes, &z), mle::evaluate(&by_definition(5, &axes, 18), &z));
        }
    }
}
