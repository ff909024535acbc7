//! Tables for sums of a few scalar multiples of bases known in advance.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{PrimeField, Zero};

use crate::{Fr, G1Affine, G1Projective, par};

/// Scalars are below `r < 2^254`.
const SCALAR_BITS: usize = 254;

/// For each base `P` and each window `j`: `d·2^{window·j}·P` for `d = 1 … 2^{window-1}`.
///
/// With signed digits a scalar multiple costs one mixed addition per window and no doubling. Building costs one addition
/// per entry: `2^{window-1}·⌈255/window⌉` entries of 72 bytes per base.
#[derive(Clone, Debug)]
pub struct FixedBaseTable {
    window: usize,
    windows: usize,
    bases: usize,
    /// `entries[(base·windows + j)·half + d - 1]`.
    entries: Vec<G1Affine>,
}

impl FixedBaseTable {
    /// Tables for `bases`, with digits of `window` bits (1 to 16; 6 is right for a few hundred uses).
    ///
    /// # Panics
    /// If `window` is not in `1..=16`.
    pub fn new(bases: &[G1Affine], window: usize) -> Self {
        assert!((1..=16).contains(&window), "a window has 1 to 16 bits");
        // One bit more than the scalar for the carry out of the last signed digit.
        let windows = (SCALAR_BITS + 1).div_ceil(window);
        let half = 1usize << (window - 1);
        let per_base = par::map(bases.len(), |b| {
            let mut entries = Vec::with_capacity(windows * half);
            let mut unit = bases[b].into_group();
            for _ in 0..windows {
                let mut multiple = unit;
                for _ in 1..half {
                    entries.push(multiple);
                    multiple += unit;
                }
                entries.push(multiple);
                unit = multiple + multiple;
            }
            G1Projective::normalize_batch(&entries)
        });
        Self { window, windows, bases: bases.len(), entries: per_base.concat() }
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
        let half = 1usize << (self.window - 1);
        let mut sum = G1Projective::zero();
        for (base, scalar) in terms {
            assert!(*base < self.bases, "base {base} of {}", self.bases);
            let limbs = scalar.into_bigint().0;
            let table = &self.entries[base * self.windows * half..(base + 1) * self.windows * half];
            let mut carry = 0;
            for (j, window) in table.chunks_exact(half).enumerate() {
                let digit = bits(&limbs, j * self.window, self.window) + carry;
                if digit > half {
                    carry = 1;
                    let magnitude = 2 * half - digit;
                    if magnitude != 0 {
                        sum -= window[magnitude - 1];
                    }
                } else {
                    carry = 0;
                    if digit != 0 {
                        sum += window[digit - 1];
                    }
                }
            }
        }
        sum
    }
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
