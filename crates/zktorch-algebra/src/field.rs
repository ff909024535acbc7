//! Scalars: from integers and bytes, to bytes, inversion in batches.

use ark_bn254::{Fr, FrConfig};
use ark_ff::{BigInt, BigInteger, MontConfig, PrimeField};

/// Length of an encoded scalar.
pub const FR_BYTES: usize = 32;

const MODULUS: [u64; 4] = Fr::MODULUS.0;
/// `-r^{-1} mod 2^64`.
const INV: u64 = FrConfig::INV;

/// `2^256` as a field element (its Montgomery limbs are `2^512 mod r`).
const TWO_256: Fr = Fr::new_unchecked(FrConfig::R2);

/// Subtracts the modulus until the value is reduced: at most five times, as `2^256 < 6r`.
pub(crate) fn reduce_limbs(mut limbs: [u64; 4]) -> BigInt<4> {
    loop {
        let (reduced, borrow) = sub_limbs(limbs, MODULUS);
        if borrow {
            return BigInt(limbs);
        }
        limbs = reduced;
    }
}

fn sub_limbs(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
    let mut out = [0; 4];
    let mut borrow = false;
    for i in 0..4 {
        let (d, b1) = a[i].overflowing_sub(b[i]);
        let (d, b2) = d.overflowing_sub(u64::from(borrow));
        out[i] = d;
        borrow = b1 | b2;
    }
    (out, borrow)
}

/// The element whose *Montgomery* limbs are congruent to `low + 2^256·high`.
pub(crate) fn from_montgomery_wide(low: [u64; 4], high: u128) -> Fr {
    let low = Fr::new_unchecked(reduce_limbs(low));
    // 2^256·high is exactly the Montgomery form of `high`.
    if high == 0 { low } else { low + Fr::from(high) }
}

/// `⌊2^304 / r⌋`.
const RECIPROCAL: u64 = 0x5_4a47_4626_23a0;

/// The element whose *Montgomery* limbs are congruent to a five-limb value `t < 2^300`, by Barrett reduction.
pub(crate) fn reduce_montgomery(t: [u64; 5]) -> Fr {
    debug_assert!(t[4] < 1 << 44, "out of range");
    // The quotient by r, up to two too small: 2^240 and 2^64 are divided off in turn.
    let top = t[3] >> 48 | t[4] << 16;
    let quotient = ((u128::from(top) * u128::from(RECIPROCAL)) >> 64) as u64;
    let mut out = [0; 4];
    let (mut carry, mut borrow) = (0u128, false);
    for i in 0..4 {
        let s = u128::from(quotient) * u128::from(MODULUS[i]) + carry;
        carry = s >> 64;
        let (d, b1) = t[i].overflowing_sub(s as u64);
        let (d, b2) = d.overflowing_sub(u64::from(borrow));
        out[i] = d;
        borrow = b1 | b2;
    }
    // What is left is below 4r < 2^256, so the fifth limb cancels.
    Fr::new_unchecked(reduce_limbs(out))
}

/// The element whose *Montgomery* limbs are congruent to `low + 2^256·high`.
pub(crate) fn from_montgomery_signed(low: [u64; 4], high: i64) -> Fr {
    Fr::new_unchecked(reduce_limbs(low)) + fr_from_i64(high)
}

/// One Montgomery step on a five-limb value `t < 2^64·r`: `t / 2^64 mod r`, fully reduced.
fn reduce_one_limb(t: [u64; 5]) -> Fr {
    let m = t[0].wrapping_mul(INV);
    let mut carry = (u128::from(t[0]) + u128::from(m) * u128::from(MODULUS[0])) >> 64;
    let mut out = [0u64; 4];
    for i in 1..4 {
        let s = u128::from(t[i]) + u128::from(m) * u128::from(MODULUS[i]) + carry;
        out[i - 1] = s as u64;
        carry = s >> 64;
    }
    // t < 2^64·r and m·r < 2^64·r, so the quotient is below 2r < 2^255 and fits four limbs.
    out[3] = (u128::from(t[4]) + carry) as u64;
    let (reduced, borrow) = sub_limbs(out, MODULUS);
    Fr::new_unchecked(BigInt(if borrow { out } else { reduced }))
}

/// Montgomery limbs of `2^64`: multiplied by an integer `v` and divided by `2^64` they give those of `v`.
const TWO_64_LIMBS: [u64; 4] = Fr::new(BigInt([0, 1, 0, 0])).0.0;

fn fr_from_u64(v: u64) -> Fr {
    let mut t = [0u64; 5];
    let mut carry = 0u128;
    for i in 0..4 {
        let s = u128::from(v) * u128::from(TWO_64_LIMBS[i]) + carry;
        t[i] = s as u64;
        carry = s >> 64;
    }
    t[4] = carry as u64;
    reduce_one_limb(t)
}

/// `a + b` without a branch: 2 ns, where the operator takes 6 on unpredictable data. For inner loops.
#[inline(always)]
pub fn add(a: &Fr, b: &Fr) -> Fr {
    crate::limbs::add(a, b)
}

/// `a - b` without a branch: 3 ns, where the operator takes 5 on unpredictable data. For inner loops.
#[inline(always)]
pub fn sub(a: &Fr, b: &Fr) -> Fr {
    crate::limbs::sub(a, b)
}

/// The scalar congruent to a signed 64-bit integer, in one step of Montgomery reduction.
pub fn fr_from_i64(v: i64) -> Fr {
    let magnitude = fr_from_u64(v.unsigned_abs());
    if v < 0 { -magnitude } else { magnitude }
}

/// The scalar congruent to a signed 128-bit integer.
pub fn fr_from_i128(v: i128) -> Fr {
    let magnitude = Fr::from(v.unsigned_abs());
    if v < 0 { -magnitude } else { magnitude }
}

/// The 512-bit little-endian integer reduced modulo `r`.
///
/// Uniform bytes give a scalar within `2^-258` of uniform.
pub fn fr_from_wide_bytes(bytes: &[u8; 64]) -> Fr {
    let mut limbs = [0u64; 8];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(word);
    }
    let [a, b, c, d, e, f, g, h] = limbs;
    Fr::new(reduce_limbs([a, b, c, d])) + Fr::new(reduce_limbs([e, f, g, h])) * TWO_256
}

/// A scalar derived from arbitrary bytes with BLAKE3, statistically close to uniform.
pub fn hash_to_fr(bytes: &[u8]) -> Fr {
    let mut wide = [0; 64];
    let mut hasher = blake3::Hasher::new_derive_key("zktorch 2026 hash to BN254 scalar");
    hasher.update(bytes);
    hasher.finalize_xof().fill(&mut wide);
    fr_from_wide_bytes(&wide)
}

/// Canonical encoding: 32 bytes, little-endian, below `r`.
pub fn fr_to_bytes(x: &Fr) -> [u8; FR_BYTES] {
    limbs_to_bytes(&x.into_bigint().0)
}

/// Decodes [`fr_to_bytes`]; `None` if the integer is not below `r`.
pub fn fr_from_bytes(bytes: &[u8; FR_BYTES]) -> Option<Fr> {
    Fr::from_bigint(BigInt(limbs_from_bytes(bytes)))
}

pub(crate) fn limbs_to_bytes(limbs: &[u64; 4]) -> [u8; 32] {
    let mut out = [0; 32];
    for (chunk, limb) in out.chunks_exact_mut(8).zip(limbs) {
        chunk.copy_from_slice(&limb.to_le_bytes());
    }
    out
}

pub(crate) fn limbs_from_bytes(bytes: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(word);
    }
    limbs
}

/// Replaces every element by its inverse, zero by zero. One inversion and three multiplications per element.
pub fn batch_inverse(values: &mut [Fr]) {
    let chunk = (values.len().div_ceil(crate::par::threads())).max(1 << 10);
    crate::par::chunks_mut(values, chunk, |_, values| crate::inverse::invert_all(values));
}

/// The signed integer of smallest magnitude congruent to `x`, if it fits in an `i64`.
pub fn fr_to_i64(x: &Fr) -> Option<i64> {
    let positive = x.into_bigint();
    if positive.num_bits() <= 63 {
        return i64::try_from(positive.0[0]).ok();
    }
    let negative = (-*x).into_bigint();
    if negative.num_bits() <= 63 { i64::try_from(negative.0[0]).ok().map(|v| -v) } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ark_ff::{Field, Zero};

    fn sample(i: u64) -> Fr {
        hash_to_fr(&i.to_le_bytes())
    }

    #[test]
    fn integers_map_to_the_scalars_arkworks_gives() {
        for v in [0, 1, -1, 2, 1 << 40, -(1 << 40), i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(fr_from_i64(v), Fr::from(v));
            assert_eq!(fr_from_i128(i128::from(v)), Fr::from(v));
            assert_eq!(fr_to_i64(&Fr::from(v)), (v != i64::MIN).then_some(v));
        }
        for i in 0..200u64 {
            let v = i64::from_le_bytes(sample(i).into_bigint().0[0].to_le_bytes());
            assert_eq!(fr_from_i64(v), Fr::from(v));
        }
        assert_eq!(fr_from_i128(i128::MIN), Fr::from(i128::MIN));
        assert_eq!(fr_to_i64(&sample(1)), None);
    }

    #[test]
    fn wide_bytes_reduce_as_arkworks_does() {
        let mut bytes = [0u8; 64];
        for seed in 0..50u64 {
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            assert_eq!(fr_from_wide_bytes(&bytes), Fr::from_le_bytes_mod_order(&bytes));
        }
        for fill in [0, 1, 0x7f, 0xff] {
            bytes.fill(fill);
            assert_eq!(fr_from_wide_bytes(&bytes), Fr::from_le_bytes_mod_order(&bytes));
        }
    }

    #[test]
    fn barrett_reduction_equals_division() {
        let check = |t: [u64; 5]| {
            let low = Fr::new_unchecked(reduce_limbs([t[0], t[1], t[2], t[3]]));
            // 2^256·t[4], whose Montgomery limbs those of t[4] are.
            assert_eq!(reduce_montgomery(t), low + Fr::from(t[4]), "{t:?}");
        };
        for high in [0, 1, 2, 0xfff, (1 << 44) - 1] {
            for t in [[0; 4], [u64::MAX; 4], MODULUS] {
                check([t[0], t[1], t[2], t[3], high]);
            }
            for i in 0..50 {
                let t = sample(i).into_bigint().0;
                check([t[0], t[1], t[2], t[3] << 2, high ^ (t[1] >> 20)]);
            }
        }
        // Multiples of the modulus and their neighbours.
        for q in [1u64, 2, 3, 1 << 20, (1 << 46) - 1, 0x2bcd_ef01_2345] {
            for off in [-1, 0, 1] {
                let mut t = [0u64; 5];
                let mut carry: i128 = off;
                for (t, m) in t.iter_mut().zip(MODULUS) {
                    // Below 2^110.
                    let sum = i128::from(q) * i128::from(m) + carry;
                    *t = sum as u64;
                    carry = sum >> 64;
                }
                t[4] = carry as u64;
                check(t);
            }
        }
    }

    #[test]
    fn only_canonical_encodings_decode() {
        for i in 0..20 {
            let x = sample(i);
            assert_eq!(fr_from_bytes(&fr_to_bytes(&x)), Some(x));
        }
        let modulus = limbs_to_bytes(&MODULUS);
        assert_eq!(fr_from_bytes(&modulus), None);
        assert_eq!(fr_from_bytes(&[0xff; 32]), None);
        let mut below = modulus;
        below[0] -= 1;
        assert_eq!(fr_from_bytes(&below), Some(-Fr::ONE));
    }

    #[test]
    fn batch_inverse_keeps_zeros_and_inverts_the_rest() {
        let mut values: Vec<Fr> = (0..3000).map(|i| if i % 7 == 0 { Fr::zero() } else { sample(i) }).collect();
        let before = values.clone();
        batch_inverse(&mut values);
        for (inverse, x) in values.iter().zip(before) {
            assert_eq!(*inverse, x.inverse().unwrap_or_default());
        }
    }
}
