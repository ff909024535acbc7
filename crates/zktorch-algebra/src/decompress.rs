//! Points from their encodings, eight at a time: ordinates from abscissae, and whether given ordinates are right.

#![expect(unsafe_code, reason = "enters a function compiled for the instructions, holding the token")]

use ark_bn254::{Fq, FqConfig};
use ark_ff::{AdditiveGroup, BigInt, Field, MontConfig, PrimeField};

use crate::G1Affine;
use crate::ifma::{Ifma, Packed, U64x8};

type Packed8 = Packed<FqConfig>;

/// `(p + 1) / 4`: as `p = 3 mod 4`, a square to this power is one of its roots.
const EXPONENT: [u64; 4] = {
    let p = Fq::MODULUS.0;
    // p + 1 does not carry: the low word of p is odd and not all ones.
    [(p[0] + 1) >> 2 | p[1] << 62, p[1] >> 2 | p[2] << 62, p[2] >> 2 | p[3] << 62, p[3] >> 2]
};

/// The points with the given abscissae (integers below the modulus) whose ordinates are the larger (where `larger` has a one) or
/// the smaller of the two roots; the second result has a one for every point that exists.
///
/// Per point about a fifth of the time of a single root.
pub(crate) fn lift_eight(ifma: Ifma, abscissae: &[[u64; 4]; 8], larger: u8) -> ([G1Affine; 8], u8) {
    // SAFETY: the token says that the processor has the instructions.
    unsafe { lift(ifma, abscissae, larger) }
}

/// Whether pairs of coordinates, integers below the modulus, are points: the second result has a one for each that is.
pub(crate) fn check_eight(ifma: Ifma, coordinates: &[[[u64; 4]; 2]; 8]) -> ([G1Affine; 8], u8) {
    // SAFETY: the token says that the processor has the instructions.
    unsafe { check(ifma, coordinates) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn check(ifma: Ifma, coordinates: &[[[u64; 4]; 2]; 8]) -> ([G1Affine; 8], u8) {
    let [xs, ys] = [0, 1].map(|k| std::array::from_fn(|i| coordinates[i][k]));
    let (x, y) = (raised(ifma, &xs), raised(ifma, &ys));
    let cube = x.square(ifma).mul(ifma, x).add(ifma, Packed8::splat_raised(ifma, &Fq::from(3u64)));
    // Both below 3p.
    let exists = y.square(ifma).sub::<4>(ifma, cube).reduce::<4>(ifma).canonical(ifma).is_zero();
    (points(ifma, x, y), exists)
}

/// Integers below the modulus as raised elements. Below `1.2p`.
#[inline(always)]
fn raised(ifma: Ifma, integers: &[[u64; 4]; 8]) -> Packed8 {
    let mut columns = [[0; 8]; 4];
    for (i, x) in integers.iter().enumerate() {
        for (column, word) in columns.iter_mut().zip(x) {
            column[i] = *word;
        }
    }
    let [a, b, c, d] = columns;
    let integer = Packed8::from_words(ifma, [U64x8::new(ifma, a), U64x8::new(ifma, b), U64x8::new(ifma, c), U64x8::new(ifma, d)]);
    // The words of `R2` are those of the element 2^256; what raises an integer is 2^520.
    integer.mul(ifma, Packed8::splat_raised(ifma, &(Fq::new_unchecked(FqConfig::R2) * Fq::from(16u64))))
}

/// Points with these raised coordinates.
#[inline(always)]
fn points(ifma: Ifma, x: Packed8, y: Packed8) -> [G1Affine; 8] {
    let plain = Packed8::splat(ifma, &Fq::ONE);
    let (mut xs, mut ys) = ([Fq::ZERO; 8], [Fq::ZERO; 8]);
    x.mul(ifma, plain).canonical(ifma).store(ifma, &mut xs);
    y.mul(ifma, plain).canonical(ifma).store(ifma, &mut ys);
    let mut points = [G1Affine::identity(); 8];
    for (point, (x, y)) in points.iter_mut().zip(xs.into_iter().zip(ys)) {
        *point = G1Affine::new_unchecked(x, y);
    }
    points
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn lift(ifma: Ifma, abscissae: &[[u64; 4]; 8], larger: u8) -> ([G1Affine; 8], u8) {
    let one = Packed8::splat(ifma, &Fq::new_unchecked(BigInt([1, 0, 0, 0])));
    let three = Packed8::splat_raised(ifma, &Fq::from(3u64));
    let x = raised(ifma, abscissae);
    let square = x.square(ifma).mul(ifma, x).add(ifma, three);
    let root = power(ifma, square);
    let defect = root.square(ifma).sub::<4>(ifma, square).reduce::<4>(ifma).canonical(ifma);
    let exists = defect.is_zero();
    let y = root.mul(ifma, one).canonical(ifma);
    // Larger than its opposite: 2y > p, and 2y - p is never zero.
    let is_smaller = y.lazy().add(y.lazy()).carry(ifma).is_below_modulus(ifma);
    let opposite = Packed8::zero(ifma).sub::<2>(ifma, root);
    (points(ifma, x, root.select(is_smaller ^ !larger, opposite)), exists)
}

/// `x^((p + 1) / 4)`, raised, with windows of four bits.
#[inline(always)]
fn power(ifma: Ifma, x: Packed8) -> Packed8 {
    let mut table = [x; 16];
    for i in 2..16 {
        table[i] = table[i - 1].mul(ifma, x);
    }
    // The top window, bits 248 to 251, is not zero.
    let window = |i: usize| (EXPONENT[i / 16] >> (4 * (i % 16)) & 15) as usize;
    let mut out = table[window(62)];
    for i in (0..62).rev() {
        for _ in 0..4 {
            out = out.square(ifma);
        }
        if window(i) != 0 {
            out = out.mul(ifma, table[window(i)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_to_g1;

    #[test]
    fn eight_roots_equal_those_of_arkworks() {
        let Some(ifma) = Ifma::get() else { return };
        for start in 0..40u64 {
            let abscissae: [[u64; 4]; 8] = std::array::from_fn(|i| match i {
                0 => hash_to_g1(&start.to_le_bytes()).x.into_bigint().0,
                1 => [start, 0, 0, 0],
                2 => (-Fq::from(start + 1)).into_bigint().0,
                _ => Fq::from_le_bytes_mod_order(blake3::hash(&[start as u8, i as u8]).as_bytes()).into_bigint().0,
            });
            for larger in [0, 255, 0b1100_1010] {
                let (points, exists) = lift_eight(ifma, &abscissae, larger);
                for i in 0..8 {
                    let expected = Fq::from_bigint(BigInt(abscissae[i])).and_then(|x| crate::curve::lift_x(x, larger >> i & 1 == 1));
                    assert_eq!((exists >> i & 1 == 1).then_some(points[i]), expected);
                }
            }
        }
    }
}
