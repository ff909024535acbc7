//! Tables for sums of a few scalar multiples of bases known in advance.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, PrimeField, Zero};

#[cfg(target_arch = "x86_64")]
use super::complete::{self, Raised};
use super::lists::{Adder, NEGATE, Pair};
use crate::{Fr, G1Affine, G1Projective, par};

/// Scalars are below `r < 2^254`.
const SCALAR_BITS: usize = 254;

/// For each base `P` and each window `j`: `d·2^{window·j}·P` for `d = 1 … 2^{window-1}`.
///
/// With signed digits a scalar multiple costs one addition per window and no doubling. Building costs one addition per entry: `2^{window-1}·⌈255/window⌉` entries of 64 or 72 bytes per base.
#[derive(Clone, Debug)]
pub struct FixedBaseTable {
    window: usize,
    windows: usize,
    bases: usize,
    /// Whether a base, and so its entries, is the identity.
    identities: bool,
    entries: Entries,
}

/// `entries[(base·windows + j)·half + d - 1]`.
#[derive(Clone, Debug)]
enum Entries {
    Portable(Vec<G1Affine>),
    #[cfg(target_arch = "x86_64")]
    Vector(crate::ifma::Ifma, Vec<Raised>),
}

impl FixedBaseTable {
    /// Tables for `bases`, with digits of `window` bits (1 to 16; 6 is right for a few hundred uses).
    ///
    /// # Panics
    /// If `window` is not in `1..=16`, or there are `2^31` entries.
    pub fn new(bases: &[G1Affine], window: usize) -> Self {
        assert!((1..=16).contains(&window), "a window has 1 to 16 bits");
        // One bit more than the scalar for the carry out of the last signed digit.
        let windows = (SCALAR_BITS + 1).div_ceil(window);
        assert!((bases.len() * windows) << (window - 1) < 1 << 31, "an entry is addressed by 31 bits");
        let half = 1 << (window - 1);
        let entries = 'entries: {
            #[cfg(target_arch = "x86_64")]
            if let Some(ifma) = crate::ifma::Ifma::get() {
                let units = par::map(bases.len().div_ceil(8), |g| {
                    let eight = &bases[8 * g..bases.len().min(8 * g + 8)];
                    G1Projective::normalize_batch(&complete::doublings(ifma, eight, window, windows))
                });
                break 'entries Entries::Vector(ifma, complete::raise(ifma, multiples(super::vector::Vector(ifma), &units.concat(), half)));
            }
            let units = par::map(bases.len(), |b| {
                let mut units = vec![bases[b].into_group()];
                for j in 1..windows {
                    let mut unit = units[j - 1];
                    for _ in 0..window {
                        unit.double_in_place();
                    }
                    units.push(unit);
                }
                G1Projective::normalize_batch(&units)
            });
            Entries::Portable(multiples(super::portable::Portable, &units.concat(), half))
        };
        Self { window, windows, bases: bases.len(), identities: bases.iter().any(AffineRepr::is_zero), entries }
    }

    /// Number of bases.
    pub fn len(&self) -> usize {
        self.bases
    }

    /// Whether the table has no base.
    pub fn is_empty(&self) -> bool {
        self.bases == 0
    }

    /// `Σ scalar·bases[index]` over the given pairs.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn mul_sum(&self, terms: &[(usize, Fr)]) -> G1Projective {
        let picks = self.picks(terms);
        match &self.entries {
            Entries::Portable(entries) => {
                let mut sum = G1Projective::zero();
                for pick in picks {
                    let entry = entries[(pick & !NEGATE) as usize];
                    if pick & NEGATE == 0 {
                        sum += entry;
                    } else {
                        sum -= entry;
                    }
                }
                sum
            }
            #[cfg(target_arch = "x86_64")]
            Entries::Vector(ifma, entries) => {
                let mut picks = picks;
                if self.identities {
                    picks.retain(|pick| entries[(pick & !NEGATE) as usize] != Raised::IDENTITY);
                }
                complete::sum(*ifma, entries, &picks)
            }
        }
    }

    /// The entries that make up a sum; [`NEGATE`] is their sign.
    fn picks(&self, terms: &[(usize, Fr)]) -> Vec<u32> {
        let half = 1usize << (self.window - 1);
        let mut picks = Vec::with_capacity(terms.len() * self.windows);
        for (base, scalar) in terms {
            assert!(*base < self.bases, "base {base} of {}", self.bases);
            let limbs = scalar.into_bigint().0;
            let mut carry = 0;
            for j in 0..self.windows {
                let digit = bits(&limbs, j * self.window, self.window) + carry;
                carry = usize::from(digit > half);
                let (magnitude, sign) = if digit > half { (2 * half - digit, NEGATE) } else { (digit, 0) };
                if magnitude != 0 {
                    picks.push(((base * self.windows + j) * half + magnitude - 1) as u32 | sign);
                }
            }
        }
        picks
    }
}

/// Units whose multiples one task finds: enough for additions to share inversions, and their multiples stay in the second-level cache.
const UNITS: usize = 64;

/// For each unit `U`: `U, 2U, …, half·U`. `half` is a power of two.
fn multiples<A: Adder>(adder: A, units: &[G1Affine], half: usize) -> Vec<A::Point> {
    let units = adder.import(units);
    let mut table = vec![adder.identity(); units.len() * half];
    par::chunks_mut(&mut table, UNITS * half, |first, table| {
        for (row, unit) in table.chunks_exact_mut(half).zip(&units[first / half..]) {
            row[0] = *unit;
        }
        let rows = table.len() / half;
        let mut scratch = adder.scratch();
        let mut sums = vec![adder.identity(); table.len() / 2];
        let mut pairs: Vec<Pair> = Vec::with_capacity(sums.len());
        let mut known = 1;
        while known < half {
            // d + known, for the multiples d that are known.
            pairs.clear();
            pairs.extend((0..rows * known).map(|i| {
                let row = i / known * half;
                Pair { a: (row + i % known) as u32, b: (row + known - 1) as u32, out: i as u32 }
            }));
            adder.add(&mut scratch, table, &pairs, &mut sums);
            for (row, sums) in table.chunks_exact_mut(half).zip(sums.chunks_exact(known)) {
                row[known..2 * known].copy_from_slice(sums);
            }
            known *= 2;
        }
    });
    table
}

/// `count ≤ 16` bits of a 256-bit integer from position `start`; zero beyond its end.
pub(super) fn bits(limbs: &[u64; 4], start: usize, count: usize) -> usize {
    let (word, shift) = (start / 64, start % 64);
    let mut v = limbs.get(word).map_or(0, |w| w >> shift);
    if shift + count > 64 {
        v |= limbs.get(word + 1).map_or(0, |w| w << (64 - shift));
    }
    (v & ((1 << count) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash_to_fr, hash_to_g1};
    use ark_ff::{AdditiveGroup, Field};

    #[test]
    fn table_sums_equal_scalar_multiplication() {
        check();
        crate::ifma::portable(check);
    }

    fn check() {
        let bases = [hash_to_g1(b"0"), G1Affine::identity(), hash_to_g1(b"2"), -hash_to_g1(b"0")];
        let scalars = [Fr::ZERO, Fr::ONE, -Fr::ONE, hash_to_fr(b"x"), Fr::from(u64::MAX), hash_to_fr(b"y")];
        for window in [1, 3, 5, 6, 8] {
            let table = FixedBaseTable::new(&bases, window);
            assert_eq!((table.len(), table.is_empty()), (4, false));
            assert_eq!(table.mul_sum(&[]), G1Projective::zero());
            for (i, s) in scalars.iter().enumerate() {
                let terms = [(0, *s), (i % 4, scalars[5 - i]), (3, *s)];
                let expected: G1Projective = terms.iter().map(|(b, s)| bases[*b] * s).sum();
                assert_eq!(table.mul_sum(&terms), expected);
                assert_eq!(table.mul_sum(&[(2, *s)]), bases[2] * s);
            }
        }
    }
}
