//! Points: canonical encodings and hashing to G1.
//!
//! G1 of BN254 has cofactor 1, so a point on the curve is in the group. G2 needs its subgroup check.

use ark_bn254::{Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

use crate::{
    field::{limbs_from_bytes, limbs_to_bytes},
    par,
};

/// Length of a compressed G1 point.
pub const G1_BYTES: usize = 32;
/// Length of an uncompressed G1 point.
pub const G1_UNCOMPRESSED_BYTES: usize = 64;
/// Length of an (uncompressed) G2 point.
pub const G2_BYTES: usize = 128;

const Y_IS_LARGER: u8 = 0x80;
const INFINITY: u8 = 0x40;

fn fq_to_bytes(x: &Fq) -> [u8; 32] {
    limbs_to_bytes(&x.into_bigint().0)
}

fn fq_from_bytes(bytes: &[u8; 32]) -> Option<Fq> {
    Fq::from_bigint(BigInt(limbs_from_bytes(bytes)))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Whether `y` is the larger of `y` and `-y`, as integers.
fn is_larger(y: &Fq) -> bool {
    y.into_bigint() > (-*y).into_bigint()
}

/// Compressed encoding: 32 bytes, `x` little-endian; in the last byte bit 7 says that `y` is the larger root, bit 6
/// marks the identity (every other bit then is zero).
pub fn g1_to_bytes(p: &G1Affine) -> [u8; G1_BYTES] {
    let mut out = [0; G1_BYTES];
    match p.xy() {
        None => out[31] = INFINITY,
        Some((x, y)) => {
            out = fq_to_bytes(&x);
            if is_larger(&y) {
                out[31] |= Y_IS_LARGER;
            }
        }
    }
    out
}

/// What the bytes of a compressed point say.
enum Compressed {
    Identity,
    /// An abscissa below the modulus, and whether the ordinate is the larger root.
    Abscissa([u64; 4], bool),
}

fn parse(bytes: &[u8; G1_BYTES]) -> Option<Compressed> {
    let mut x_bytes = *bytes;
    let flags = x_bytes[31] & (Y_IS_LARGER | INFINITY);
    x_bytes[31] &= !(Y_IS_LARGER | INFINITY);
    if flags & INFINITY != 0 {
        return (flags == INFINITY && x_bytes == [0; 32]).then_some(Compressed::Identity);
    }
    let x = limbs_from_bytes(&x_bytes);
    (BigInt(x) < Fq::MODULUS).then_some(Compressed::Abscissa(x, flags & Y_IS_LARGER != 0))
}

/// Decodes [`g1_to_bytes`]. `None` unless the bytes are the one encoding of a point on the curve. For many points
/// use [`g1_each_from_bytes`].
pub fn g1_from_bytes(bytes: &[u8; G1_BYTES]) -> Option<G1Affine> {
    match parse(bytes)? {
        Compressed::Identity => Some(G1Affine::identity()),
        Compressed::Abscissa(x, larger) => lift_x(Fq::from_bigint(BigInt(x))?, larger),
    }
}

/// Points that [`g1_each_from_bytes`] decodes at the price of one, or little more.
pub fn g1_batch() -> usize {
    if crate::ifma::available() { 8 } else { 1 }
}

/// [`g1_from_bytes`] of each element. Vector instructions and threads make it about five times faster on one
/// thread than one point after the other.
pub fn g1_each_from_bytes(bytes: &[[u8; G1_BYTES]]) -> Vec<Option<G1Affine>> {
    let mut out = vec![None; bytes.len()];
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        par::chunks_mut(&mut out, PART, |first, out| {
            for (bytes, out) in bytes[first..].chunks(8).zip(out.chunks_mut(8)) {
                decode_eight(ifma, bytes, out);
            }
        });
        return out;
    }
    par::chunks_mut(&mut out, PART, |first, out| {
        for (bytes, out) in bytes[first..].iter().zip(out) {
            *out = g1_from_bytes(bytes);
        }
    });
    out
}

/// Points that one task decodes.
const PART: usize = 64;

/// Decodes at most eight points.
#[cfg(target_arch = "x86_64")]
fn decode_eight(ifma: crate::ifma::Ifma, bytes: &[[u8; G1_BYTES]], out: &mut [Option<G1Affine>]) {
    // Lanes without an abscissa have abscissa 0, which is not on the curve.
    let mut abscissae = [[0; 4]; 8];
    let mut larger = 0;
    for (i, (bytes, out)) in bytes.iter().zip(out.iter_mut()).enumerate() {
        match parse(bytes) {
            None => {}
            Some(Compressed::Identity) => *out = Some(G1Affine::identity()),
            Some(Compressed::Abscissa(x, is_larger)) => {
                abscissae[i] = x;
                larger |= u8::from(is_larger) << i;
            }
        }
    }
    let (lifted, exists) = crate::decompress::lift_eight(ifma, &abscissae, larger);
    for (i, (out, lifted)) in out.iter_mut().zip(lifted).enumerate() {
        if exists >> i & 1 == 1 {
            *out = Some(lifted);
        }
    }
}

/// The point with this abscissa and the chosen ordinate, if there is one.
pub(crate) fn lift_x(x: Fq, larger: bool) -> Option<G1Affine> {
    let y = (x.square() * x + Fq::from(3u64)).sqrt()?;
    let y = if is_larger(&y) == larger { y } else { -y };
    Some(G1Affine::new_unchecked(x, y))
}

/// Uncompressed encoding: `x` then `y`, 32 bytes little-endian each; the identity is bit 6 of the last byte alone.
pub fn g1_to_uncompressed(p: &G1Affine) -> [u8; G1_UNCOMPRESSED_BYTES] {
    let mut out = [0; G1_UNCOMPRESSED_BYTES];
    match p.xy() {
        None => out[63] = INFINITY,
        Some((x, y)) => {
            out[..32].copy_from_slice(&fq_to_bytes(&x));
            out[32..].copy_from_slice(&fq_to_bytes(&y));
        }
    }
    out
}

/// Decodes [`g1_to_uncompressed`]. `None` unless the bytes are the one encoding of a point on the curve.
pub fn g1_from_uncompressed(bytes: &[u8; G1_UNCOMPRESSED_BYTES]) -> Option<G1Affine> {
    let (x, y) = bytes.split_at(32);
    if bytes[63] & INFINITY != 0 {
        let identity = G1Affine::identity();
        return (g1_to_uncompressed(&identity) == *bytes).then_some(identity);
    }
    let p = G1Affine::new_unchecked(fq_from_bytes(&array(x)?)?, fq_from_bytes(&array(y)?)?);
    // (0, 0) is not on the curve, but some point types use it as their mark of the identity.
    (!p.is_zero() && p.is_on_curve()).then_some(p)
}

/// [`g1_from_uncompressed`] of each element, with vector instructions and threads.
pub fn g1_each_from_uncompressed(bytes: &[[u8; G1_UNCOMPRESSED_BYTES]]) -> Vec<Option<G1Affine>> {
    let mut out = vec![None; bytes.len()];
    par::chunks_mut(&mut out, CHECKED, |first, out| {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::ifma::Ifma::get() {
            for (bytes, out) in bytes[first..].chunks(8).zip(out.chunks_mut(8)) {
                check_eight(ifma, bytes, out);
            }
            return;
        }
        for (bytes, out) in bytes[first..].iter().zip(out) {
            *out = g1_from_uncompressed(bytes);
        }
    });
    out
}

/// Points that one task checks.
const CHECKED: usize = 1 << 11;

/// Decodes at most eight uncompressed points.
#[cfg(target_arch = "x86_64")]
fn check_eight(ifma: crate::ifma::Ifma, bytes: &[[u8; G1_UNCOMPRESSED_BYTES]], out: &mut [Option<G1Affine>]) {
    // What is not two integers below the modulus is left at (0, 0), which is not on the curve.
    let mut coordinates = [[[0; 4]; 2]; 8];
    for ((bytes, out), slot) in bytes.iter().zip(out.iter_mut()).zip(&mut coordinates) {
        let (x, y) = bytes.split_at(32);
        let integer = |bytes| array(bytes).map(|b| limbs_from_bytes(&b)).filter(|x| BigInt(*x) < Fq::MODULUS);
        match (integer(x), integer(y)) {
            (Some(x), Some(y)) => *slot = [x, y],
            // The identity, or nothing.
            _ => *out = g1_from_uncompressed(bytes),
        }
    }
    let (points, exists) = crate::decompress::check_eight(ifma, &coordinates);
    for (i, (out, point)) in out.iter_mut().zip(points).enumerate() {
        if exists >> i & 1 == 1 {
            *out = Some(point);
        }
    }
}

/// Encoding of a G2 point: `x.c0, x.c1, y.c0, y.c1`, 32 bytes little-endian each; the identity is bit 6 of the last
/// byte alone.
pub fn g2_to_bytes(p: &G2Affine) -> [u8; G2_BYTES] {
    let mut out = [0; G2_BYTES];
    match p.xy() {
        None => out[127] = INFINITY,
        Some((x, y)) => {
            for (chunk, c) in out.chunks_exact_mut(32).zip([x.c0, x.c1, y.c0, y.c1]) {
                chunk.copy_from_slice(&fq_to_bytes(&c));
            }
        }
    }
    out
}

/// Decodes [`g2_to_bytes`]. `None` unless the bytes are the one encoding of a point of the prime-order subgroup.
pub fn g2_from_bytes(bytes: &[u8; G2_BYTES]) -> Option<G2Affine> {
    if bytes[127] & INFINITY != 0 {
        let identity = G2Affine::identity();
        return (g2_to_bytes(&identity) == *bytes).then_some(identity);
    }
    let mut c = [Fq::ZERO; 4];
    for (c, chunk) in c.iter_mut().zip(bytes.chunks_exact(32)) {
        *c = fq_from_bytes(&array(chunk)?)?;
    }
    let p = G2Affine::new_unchecked(Fq2::new(c[0], c[1]), Fq2::new(c[2], c[3]));
    (!p.is_zero() && p.is_on_curve() && p.is_in_correct_subgroup_assuming_on_curve()).then_some(p)
}

/// A generator of G1 whose discrete logarithm nobody knows, from a name.
///
/// Try and increment: for `n = 0, 1, …` BLAKE3 in derive-key mode maps `domain ‖ n` (`n` as 4 little-endian bytes) to 65
/// bytes; the first 64 give an abscissa modulo `q`, the low bit of the last one chooses the ordinate; the first `n`
/// whose abscissa is on the curve wins (two tries on average). Not for secret input: it is not constant-time.
pub fn hash_to_g1(domain: &[u8]) -> G1Affine {
    let mut counter = 0u32;
    loop {
        let mut bytes = [0; 65];
        let mut hasher = blake3::Hasher::new_derive_key("zktorch 2026 hash to BN254 G1");
        hasher.update(domain).update(&counter.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        let x = Fq::from_le_bytes_mod_order(&bytes[..64]);
        if let Some(p) = lift_x(x, bytes[64] & 1 == 1) {
            return p;
        }
        counter += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ark_ec::CurveGroup;

    #[test]
    fn points_survive_encoding_and_nothing_else_decodes() {
        for i in 0..20u8 {
            let p = hash_to_g1(&[i]);
            for p in [p, -p] {
                assert!(p.is_on_curve() && p.is_in_correct_subgroup_assuming_on_curve());
                assert_eq!(g1_from_bytes(&g1_to_bytes(&p)), Some(p));
                assert_eq!(g1_from_uncompressed(&g1_to_uncompressed(&p)), Some(p));
            }
            let q = (G2Affine::generator() * ark_bn254::Fr::from(u64::from(i) + 1)).into_affine();
            assert_eq!(g2_from_bytes(&g2_to_bytes(&q)), Some(q));
        }
        let zero = G1Affine::identity();
        assert_eq!(g1_from_bytes(&g1_to_bytes(&zero)), Some(zero));
        assert_eq!(g1_from_uncompressed(&g1_to_uncompressed(&zero)), Some(zero));
        assert_eq!(g2_from_bytes(&g2_to_bytes(&G2Affine::identity())), Some(G2Affine::identity()));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes() {
        let mut decoded = 0;
        for seed in 0..4000u32 {
            let mut bytes = *blake3::hash(&seed.to_le_bytes()).as_bytes();
            bytes[31] &= !0x30; // make values below the modulus likely
            if let Some(p) = g1_from_bytes(&bytes) {
                assert_eq!(g1_to_bytes(&p), bytes);
                decoded += 1;
            }
        }
        assert!(decoded > 500);
    }

    #[test]
    fn many_points_decode_as_single_ones_do() {
        for n in [0, 1, 7, 8, 9, 64, 150] {
            let mut points: Vec<G1Affine> = (0..n).map(|i: u32| hash_to_g1(&i.to_le_bytes())).collect();
            points.iter_mut().step_by(11).skip(1).for_each(|p| *p = G1Affine::identity());
            points.iter_mut().step_by(3).for_each(|p| *p = -*p);
            let mut bytes: Vec<[u8; 32]> = points.iter().map(g1_to_bytes).collect();
            for i in (2..n as usize).step_by(5) {
                bytes[i] = [[0xff; 32], [0; 32], limbs_to_bytes(&Fq::MODULUS.0)][i % 3];
            }
            let expected: Vec<Option<G1Affine>> = bytes.iter().map(g1_from_bytes).collect();
            assert_eq!(expected.iter().filter(|p| p.is_none()).count(), (2..n).step_by(5).count());
            assert_eq!(g1_each_from_bytes(&bytes), expected);
            assert_eq!(crate::ifma::portable(|| g1_each_from_bytes(&bytes)), expected);
        }
    }

    #[test]
    fn many_uncompressed_points_decode_as_single_ones_do() {
        for n in [0, 1, 7, 8, 9, 150] {
            let mut points: Vec<G1Affine> = (0..n).map(|i: u32| hash_to_g1(&i.to_le_bytes())).collect();
            points.iter_mut().step_by(11).skip(1).for_each(|p| *p = G1Affine::identity());
            points.iter_mut().step_by(3).for_each(|p| *p = -*p);
            let mut bytes: Vec<[u8; 64]> = points.iter().map(g1_to_uncompressed).collect();
            for (k, i) in (2..n as usize).step_by(5).enumerate() {
                let modulus = limbs_to_bytes(&Fq::MODULUS.0);
                match k % 6 {
                    0 => bytes[i][40] ^= 1,
                    1 => bytes[i] = [0; 64],
                    2 => bytes[i] = [0xff; 64],
                    3 => bytes[i][..32].copy_from_slice(&modulus),
                    4 => bytes[i][32..].copy_from_slice(&modulus),
                    _ => bytes[i][63] |= INFINITY,
                }
            }
            let expected: Vec<Option<G1Affine>> = bytes.iter().map(g1_from_uncompressed).collect();
            assert_eq!(expected.iter().filter(|p| p.is_none()).count(), (2..n).step_by(5).count());
            assert_eq!(g1_each_from_uncompressed(&bytes), expected);
            assert_eq!(crate::ifma::portable(|| g1_each_from_uncompressed(&bytes)), expected);
        }
    }

    #[test]
    fn non_canonical_points_are_refused() {
        let modulus = limbs_to_bytes(&Fq::MODULUS.0);
        assert_eq!(g1_from_bytes(&modulus), None);
        let mut flagged = [0; 32];
        flagged[31] = INFINITY | Y_IS_LARGER;
        assert_eq!(g1_from_bytes(&flagged), None);
        flagged[31] = INFINITY;
        flagged[0] = 1;
        assert_eq!(g1_from_bytes(&flagged), None);
        assert_eq!(g1_from_bytes(&[0xff; 32]), None);
        let mut off_curve = g1_to_uncompressed(&hash_to_g1(b"p"));
        off_curve[40] ^= 1;
        assert_eq!(g1_from_uncompressed(&off_curve), None);
        assert_eq!(g1_from_uncompressed(&[0; 64]), None);
        assert_eq!(g2_from_bytes(&[0; 128]), None);
    }

    #[test]
    fn g2_points_outside_the_subgroup_are_refused() {
        // A curve point taken at random is almost never in the subgroup: the cofactor has 254 bits.
        let b = ark_bn254::G2Affine::generator();
        let (gx, gy) = b.xy().unwrap();
        let coefficient = gy.square() - gx.square() * gx;
        let mut x = Fq2::new(Fq::ONE, Fq::ONE);
        let p = loop {
            if let Some(y) = (x.square() * x + coefficient).sqrt() {
                break G2Affine::new_unchecked(x, y);
            }
            x += Fq2::ONE;
        };
        assert!(p.is_on_curve());
        assert_eq!(g2_from_bytes(&g2_to_bytes(&p)), None);
    }

    #[test]
    fn hashing_depends_on_the_domain() {
        assert_ne!(hash_to_g1(b"a"), hash_to_g1(b"b"));
        assert_eq!(hash_to_g1(b"a"), hash_to_g1(b"a"));
    }
}
