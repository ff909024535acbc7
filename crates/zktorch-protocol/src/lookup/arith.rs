//! Additions and subtractions without branches: on random operands the library's branch is mispredicted every other time, and costs then as
//! much as half a multiplication.

use ark_ff::{BigInt, PrimeField};
use zktorch_algebra::Fr;

const MODULUS: [u64; 4] = Fr::MODULUS.0;

#[inline(always)]
fn sub_limbs(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
    let (r0, b0) = a[0].overflowing_sub(b[0]);
    let (r1, b1) = borrowing_sub(a[1], b[1], b0);
    let (r2, b2) = borrowing_sub(a[2], b[2], b1);
    let (r3, b3) = borrowing_sub(a[3], b[3], b2);
    ([r0, r1, r2, r3], b3)
}

#[inline(always)]
fn add_limbs(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let (r0, c0) = a[0].overflowing_add(b[0]);
    let (r1, c1) = carrying_add(a[1], b[1], c0);
    let (r2, c2) = carrying_add(a[2], b[2], c1);
    let (r3, _) = carrying_add(a[3], b[3], c2);
    [r0, r1, r2, r3]
}

#[inline(always)]
fn borrowing_sub(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (d, b1) = a.overflowing_sub(b);
    let (d, b2) = d.overflowing_sub(u64::from(borrow));
    (d, b1 | b2)
}

#[inline(always)]
fn carrying_add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (s, c1) = a.overflowing_add(b);
    let (s, c2) = s.overflowing_add(u64::from(carry));
    (s, c1 | c2)
}

/// `a − b`.
#[inline(always)]
pub(super) fn sub(a: &Fr, b: &Fr) -> Fr {
    let (d, borrow) = sub_limbs(a.0.0, b.0.0);
    let mask = 0u64.wrapping_sub(u64::from(borrow));
    Fr::new_unchecked(BigInt(add_limbs(d, MODULUS.map(|m| m & mask))))
}

/// `a + b`.
#[inline(always)]
pub(super) fn add(a: &Fr, b: &Fr) -> Fr {
    // Both are below 2^254, so the sum fits.
    let (d, borrow) = sub_limbs(add_limbs(a.0.0, b.0.0), MODULUS);
    let mask = 0u64.wrapping_sub(u64::from(borrow));
    Fr::new_unchecked(BigInt(add_limbs(d, MODULUS.map(|m| m & mask))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, Field};

    #[test]
    fn sums_and_differences_equal_the_library_s() {
        let mut values: Vec<Fr> = (0..40u8).map(|i| zktorch_algebra::hash_to_fr(&[i])).collect();
        values.extend([Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::new_unchecked(BigInt([1, 0, 0, 0]))]);
        for a in &values {
            for b in &values {
                assert_eq!(sub(a, b), *a - b);
                assert_eq!(add(a, b), *a + b);
            }
        }
    }
}
