//! Multi-scalar multiplication in G1.
//!
//! Bucket method with signed digits; the buckets are filled by affine additions that share their inversions. The windows
//! are chosen from the sizes of the scalars that are there, so 16-bit cells cost two additions each and a few long scalars
//! among them cost only themselves.

#[cfg(target_arch = "x86_64")]
mod complete;
mod digits;
mod fixed_base;
mod lists;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vector;
mod windows;

use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::Zero;

use crate::{Fr, G1Affine, G1Projective, small::Cell};
use digits::{Digits, SmallDigits, WideDigits, Window};

pub use fixed_base::FixedBaseTable;

/// `Σ scalars[i]·bases[i]` over the shorter length, for signed integers.
///
/// # Panics
/// If there are `2^31` terms or more.
pub fn msm_small<T: Cell>(bases: &[G1Affine], scalars: &[T]) -> G1Projective {
    let n = bases.len().min(scalars.len());
    if n == 0 {
        return G1Projective::zero();
    }
    row_sums(bases, &scalars[..n], n).pop().unwrap_or_default()
}

/// `Σ scalars[i]·bases[i]` over the shorter length, for scalars of any size.
///
/// # Panics
/// If there are `2^31` terms or more.
pub fn msm(bases: &[G1Affine], scalars: &[Fr]) -> G1Projective {
    let n = bases.len().min(scalars.len());
    assert!(n < 1 << 31, "a term is addressed by 31 bits");
    if n < 32 {
        // Buckets do not pay yet.
        return G1Projective::msm_unchecked(&bases[..n], &scalars[..n]);
    }
    let (digits, windows) = WideDigits::new(&scalars[..n]);
    sums(bases, &digits, &windows).pop().unwrap_or_default()
}

/// One commitment per row of `row_len` cells (the last row may be short): `C_i = Σ_j cells[i·row_len + j]·bases[j]`.
///
/// # Panics
/// If `row_len` is zero or exceeds the number of bases, or is `2^31` or more.
pub fn commit_rows<T: Cell>(bases: &[G1Affine], cells: &[T], row_len: usize) -> Vec<G1Affine> {
    assert!(row_len > 0 && row_len <= bases.len(), "a row needs one base per cell");
    G1Projective::normalize_batch(&row_sums(bases, cells, row_len))
}

fn row_sums<T: Cell>(bases: &[G1Affine], cells: &[T], row_len: usize) -> Vec<G1Projective> {
    assert!(row_len < 1 << 31, "a cell of a row is addressed by 31 bits");
    let (digits, windows) = SmallDigits::new(cells, row_len);
    sums(bases, &digits, &windows)
}

/// [`windows::sums`] with the best adder that the processor has.
fn sums<D: Digits>(bases: &[G1Affine], digits: &D, windows: &[Window]) -> Vec<G1Projective> {
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        return windows::sums(vector::Vector(ifma), bases, digits, windows);
    }
    windows::sums(portable::Portable, bases, digits, windows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fr_from_i64, hash_to_fr, hash_to_g1};
    use ark_ff::{AdditiveGroup, Field, PrimeField};

    /// Bases with duplicates, opposites and identities among them.
    fn bases(n: usize) -> Vec<G1Affine> {
        let mut step = hash_to_g1(b"step");
        let mut all: Vec<G1Projective> = Vec::with_capacity(n);
        let mut p = G1Projective::from(hash_to_g1(b"start"));
        for i in 0..n {
            match i % 11 {
                7 => all.push(all[i / 2]),
                8 => all.push(-all[i / 2]),
                9 if i % 2 == 0 => all.push(G1Projective::zero()),
                _ => all.push(p),
            }
            p += step;
            if i % 97 == 0 {
                step = p.into_affine();
            }
        }
        G1Projective::normalize_batch(&all)
    }

    fn integers(n: usize, bits: u32, seed: u8) -> Vec<i64> {
        (0..n)
            .map(|i| {
                let v = hash_to_fr(&[seed, i as u8, (i >> 8) as u8]).into_bigint().0[0] as i64 >> (64 - bits);
                if i % 13 == 5 { 0 } else { v }
            })
            .collect()
    }

    fn reference(bases: &[G1Affine], scalars: &[Fr]) -> G1Projective {
        G1Projective::msm_unchecked(&bases[..scalars.len()], scalars)
    }

    fn lift(values: &[i64]) -> Vec<Fr> {
        values.iter().map(|v| fr_from_i64(*v)).collect()
    }

    /// Checks the vector kernels, if the processor has them, and the portable ones.
    fn both(check: impl Fn()) {
        check();
        crate::ifma::portable(check);
    }

    #[test]
    fn sums_of_small_multiples_are_exact() {
        both(|| {
            let bases = bases(3000);
            for bits in [1, 2, 5, 8, 9, 16, 17, 24, 33, 62, 64] {
                for n in [0, 1, 2, 3, 40, 700] {
                    let scalars = integers(n, bits, bits as u8);
                    assert_eq!(msm_small(&bases, &scalars), reference(&bases, &lift(&scalars)), "{n} of {bits} bits");
                }
            }
            let scalars = integers(3000, 17, 0);
            assert_eq!(msm_small(&bases, &scalars), reference(&bases, &lift(&scalars)));
        });
    }

    #[test]
    fn extreme_integers_are_exact() {
        both(|| {
            let bases = bases(300);
            for value in [0, 1, -1, 127, 128, -128, -129, 32767, 32768, -32768, i64::MAX, i64::MIN, i64::MIN + 1] {
                let mut scalars = vec![value; 300];
                assert_eq!(msm_small(&bases, &scalars), reference(&bases, &lift(&scalars)), "{value}");
                scalars[3] = 1 << 50;
                scalars[7] = -3;
                assert_eq!(msm_small(&bases, &scalars), reference(&bases, &lift(&scalars)), "{value} and others");
            }
            let mut mixed = integers(300, 8, 1);
            mixed[17] = i64::MIN;
            mixed[18] = 1 << 61;
            assert_eq!(msm_small(&bases, &mixed), reference(&bases, &lift(&mixed)));
        });
    }

    #[test]
    fn one_crowded_bucket_is_exact() {
        both(|| {
            let bases = bases(9000);
            let ones = vec![1; 9000];
            assert_eq!(msm_small(&bases, &ones), bases.iter().sum::<G1Projective>());
        });
    }

    #[test]
    fn full_width_sums_are_exact() {
        both(|| {
            let bases = bases(1500);
            for n in [0, 1, 2, 5, 64, 1500] {
                let mut scalars: Vec<Fr> = (0..n).map(|i: usize| hash_to_fr(&i.to_le_bytes())).collect();
                let half = Fr::from(2u64).inverse().unwrap_or_default();
                for (s, v) in scalars.iter_mut().skip(1).zip([-Fr::ONE, Fr::ZERO, half, -half, Fr::ONE, half - Fr::ONE]) {
                    *s = v;
                }
                assert_eq!(msm(&bases, &scalars), reference(&bases, &scalars), "{n} terms");
            }
            let same = vec![hash_to_fr(b"same"); 200];
            assert_eq!(msm(&bases, &same), reference(&bases, &same));
        });
    }

    #[test]
    fn row_commitments_equal_sums_of_rows() {
        both(|| {
            let bases = bases(64);
            for (cells, row_len) in [(640, 64), (1000, 33), (5, 64), (0, 4), (3, 1), (6400, 63), (2100, 16)] {
                let cells = integers(cells, 17, 3);
                let rows: Vec<G1Affine> = cells.chunks(row_len).map(|r| reference(&bases, &lift(r)).into_affine()).collect();
                assert_eq!(commit_rows(&bases, &cells, row_len), rows);
            }
            assert_eq!(commit_rows(&bases, &[0; 8], 4), vec![G1Affine::identity(); 2]);
            // Rows that reach few of the windows, up to their very edges.
            let mut mixed = Vec::new();
            for edge in 0..40 {
                mixed.extend((0..50).map(|i| match i % 5 {
                    0 => 1i64 << edge,
                    1 => (1 << edge) - 1,
                    2 => -(1 << edge),
                    3 => 0,
                    _ => i % (1 << (edge % 9)),
                }));
            }
            let rows: Vec<G1Affine> = mixed.chunks(50).map(|r| reference(&bases, &lift(r)).into_affine()).collect();
            assert_eq!(commit_rows(&bases, &mixed, 50), rows);
        });
    }

    #[test]
    fn commitments_do_not_depend_on_the_width_of_the_cells() {
        both(|| {
            let bases = bases(50);
            let cells: Vec<i8> = integers(5000, 8, 5).iter().map(|v| *v as i8).collect();
            let wide: Vec<i64> = cells.iter().map(|v| i64::from(*v)).collect();
            let expected = commit_rows(&bases, &wide, 50);
            assert_eq!(commit_rows(&bases, &cells, 50), expected);
            assert_eq!(commit_rows(&bases, &cells.iter().map(|v| i16::from(*v)).collect::<Vec<_>>(), 50), expected);
            assert_eq!(commit_rows(&bases, &cells.iter().map(|v| i32::from(*v)).collect::<Vec<_>>(), 50), expected);
            assert_eq!(msm_small(&bases, &cells[..50]).into_affine(), expected[0]);
        });
    }
}
