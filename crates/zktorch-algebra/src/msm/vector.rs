//! Affine additions eight at a time, with AVX-512 IFMA.
//!
//! Coordinates stay in the common Montgomery form (*plain*, see [`Packed`]): with the difference of the abscissae and its
//! inverse *raised*, four times the slope comes out of `mul` with the factor that makes its square and its product with
//! four times a plain value plain again.

#![expect(unsafe_code, reason = "enters functions compiled for the instructions, holding the token")]

use std::borrow::Cow;

use ark_bn254::{Fq, FqConfig};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, Field};

use super::lists::{Adder, NEGATE, Pair};
use crate::ifma::{Ifma, Lazy, Packed, U64x8, prefetch};
use crate::{G1Affine, inverse::invert, limbs, par};

/// Vectors of additions per shared inversion.
const GROUPS: usize = 256;
/// Groups between asking for points and using them.
const AHEAD: usize = 6;

/// Words of `x`, below the modulus, then of `y`, below twice the modulus. The identity is all zeros (no point of the curve has
/// abscissa zero). One line of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Point(pub(super) [u64; 8]);

const IDENTITY: Point = Point([0; 8]);

/// The vector adder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector(pub(super) Ifma);

/// What the second pass over eight additions needs.
pub(super) struct Slot {
    x1: Packed<FqConfig>,
    y1: Lazy<FqConfig>,
    /// `2p - x1 - x2`.
    minus_x: Lazy<FqConfig>,
    /// Four times the slope's numerator.
    numerator: Packed<FqConfig>,
    /// The slope's denominator, raised.
    denominator: Packed<FqConfig>,
    /// Product of the denominators before, raised.
    before: Packed<FqConfig>,
}

/// Memory of one worker.
pub(super) struct Scratch {
    slots: Vec<Slot>,
    /// Sums that were found without a slope: where they belong.
    done: Vec<(u32, Point)>,
}

impl Adder for Vector {
    type Point = Point;
    type Scratch = Scratch;

    fn scratch(self) -> Scratch {
        Scratch { slots: Vec::new(), done: Vec::new() }
    }

    fn identity(self) -> Point {
        IDENTITY
    }

    fn import(self, points: &[G1Affine]) -> Cow<'_, [Point]> {
        let mut own = vec![IDENTITY; points.len()];
        par::chunks_mut(&mut own, 1 << 13, |offset, own| {
            for (own, p) in own.iter_mut().zip(&points[offset..]) {
                if !p.is_zero() {
                    own.0[..4].copy_from_slice(&p.x.0.0);
                    own.0[4..].copy_from_slice(&p.y.0.0);
                }
            }
        });
        Cow::Owned(own)
    }

    fn export(self, point: &Point) -> G1Affine {
        if *point == IDENTITY {
            return G1Affine::identity();
        }
        let [a, b, c, d, e, f, g, h] = point.0;
        // Adding zero reduces the ordinate.
        let y = limbs::add(&Fq::new_unchecked(BigInt([e, f, g, h])), &Fq::ZERO);
        G1Affine::new_unchecked(Fq::new_unchecked(BigInt([a, b, c, d])), y)
    }

    #[inline]
    fn load(self, source: &[Point], entry: u32) -> Point {
        let p = &source[(entry & !NEGATE) as usize];
        if entry & NEGATE == 0 || *p == IDENTITY {
            return *p;
        }
        let [a, b, c, d, e, f, g, h] = p.0;
        let y = limbs::add(&Fq::new_unchecked(BigInt([e, f, g, h])), &Fq::ZERO);
        let [e, f, g, h] = limbs::sub(&Fq::ZERO, &y).0.0;
        Point([a, b, c, d, e, f, g, h])
    }

    fn add(self, scratch: &mut Scratch, source: &[Point], pairs: &[Pair], out: &mut [Point]) {
        for pairs in pairs.chunks(8 * GROUPS) {
            // SAFETY: the token says that the processor has the instructions.
            unsafe { add_batch(self.0, scratch, source, pairs, out) };
        }
    }
}

/// Both coordinates of eight points, with their signs.
#[inline(always)]
fn load_eight(ifma: Ifma, source: &[Point], entries: [u32; 8]) -> (Packed<FqConfig>, Lazy<FqConfig>) {
    let mut rows = [U64x8::zero(ifma); 8];
    let mut negative = 0;
    for i in 0..8 {
        rows[i] = U64x8::load(ifma, &source[(entries[i] & !NEGATE) as usize].0);
        negative |= (entries[i] >> 31) << i;
    }
    let [a, b, c, d, e, f, g, h] = U64x8::transpose(rows);
    let y = Packed::from_words(ifma, [e, f, g, h]).lazy();
    let y = if negative == 0 { y } else { y.select(negative as u8, Lazy::multiple::<2>(ifma).sub(y)) };
    (Packed::from_words(ifma, [a, b, c, d]), y)
}

/// The pairs of a group; the last group is filled up with its last pair.
#[inline(always)]
fn group(pairs: &[Pair], g: usize) -> [Pair; 8] {
    let pairs = &pairs[8 * g..];
    match pairs.first_chunk::<8>() {
        Some(eight) => *eight,
        None => std::array::from_fn(|i| pairs[i.min(pairs.len() - 1)]),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn add_batch(ifma: Ifma, scratch: &mut Scratch, source: &[Point], pairs: &[Pair], out: &mut [Point]) {
    let groups = pairs.len().div_ceil(8);
    let Scratch { slots, done } = scratch;
    if slots.len() < groups {
        let zero = Packed::zero(ifma);
        let lazy = zero.lazy();
        slots.resize_with(groups, || Slot { x1: zero, y1: lazy, minus_x: lazy, numerator: zero, denominator: zero, before: zero });
    }
    let slots = &mut slots[..groups];
    let one = Packed::splat_raised(ifma, &Fq::ONE);
    // Two products, so that their latencies overlap.
    let mut product = [one; 2];
    for (g, slot) in slots.iter_mut().enumerate() {
        let eight = group(pairs, g);
        for pair in pairs.get(8 * (g + AHEAD)..8 * (g + AHEAD + 1)).unwrap_or_default() {
            prefetch(&source[(pair.a & !NEGATE) as usize]);
            prefetch(&source[(pair.b & !NEGATE) as usize]);
        }
        let (mut a, mut b) = ([0; 8], [0; 8]);
        for i in 0..8 {
            (a[i], b[i]) = (eight[i].a, eight[i].b);
        }
        let (x1, y1) = load_eight(ifma, source, a);
        let (x2, y2) = load_eight(ifma, source, b);
        let difference = Lazy::multiple::<1>(ifma).add(x2.lazy()).sub(x1.lazy());
        slot.x1 = x1;
        slot.y1 = y1;
        slot.minus_x = Lazy::multiple::<2>(ifma).sub(x1.lazy()).sub(x2.lazy());
        // Below 4·4p and 16·2p.
        slot.numerator = Lazy::multiple::<2>(ifma).add(y2).sub(y1).shl::<2>().carry(ifma);
        slot.denominator = difference.shl::<4>().carry(ifma);
        // Equal abscissae and identities; a lowest limb that is equal by chance does no harm.
        let equal = slot.denominator.low().equals(Packed::<FqConfig>::low_of_modulus::<4>(ifma));
        let special = equal | x1.low().is_zero() | x2.low().is_zero();
        if special != 0 {
            treat_special(ifma, special, slot, (y1, y2), (&eight, source), done);
        }
        // Below 1.7p: b = 0.0119·32·b + 1.
        slot.before = product[g & 1];
        product[g & 1] = product[g & 1].mul(ifma, slot.denominator);
    }
    let inverse = invert_eight(ifma, product[0].mul(ifma, product[1]));
    let mut inverse = [inverse.mul(ifma, product[1]), inverse.mul(ifma, product[0])];
    for (g, slot) in slots.iter().enumerate().rev() {
        let reciprocal = inverse[g & 1].mul(ifma, slot.before);
        inverse[g & 1] = inverse[g & 1].mul(ifma, slot.denominator);
        // Below 1.3p, so the square is below 1.1p and the abscissa below 3.1p.
        let slope = slot.numerator.mul(ifma, reciprocal);
        let x3 = slope.square(ifma).lazy().add(slot.minus_x).carry(ifma).canonical(ifma);
        let run = Lazy::multiple::<1>(ifma).add(slot.x1.lazy()).sub(x3.lazy()).shl::<2>().carry(ifma);
        let y3 = slope.mul(ifma, run).lazy().add(Lazy::multiple::<2>(ifma)).sub(slot.y1).carry(ifma).reduce::<2>(ifma);
        let ([a, b, c, d], [e, f, g_, h]) = (x3.to_words(), y3.to_words());
        let rows = U64x8::transpose([a, b, c, d, e, f, g_, h]);
        let real = &pairs[8 * g..pairs.len().min(8 * g + 8)];
        for (pair, row) in real.iter().zip(rows) {
            row.store(&mut out[pair.out as usize].0);
        }
    }
    for (at, sum) in done.drain(..) {
        out[at as usize] = sum;
    }
}

/// Lanes whose points have equal abscissae or are the identity: tangents replace chords, and what has no slope is summed here.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn treat_special(
    ifma: Ifma,
    special: u8,
    slot: &mut Slot,
    (y1, y2): (Lazy<FqConfig>, Lazy<FqConfig>),
    (pairs, source): (&[Pair; 8], &[Point]),
    done: &mut Vec<(u32, Point)>,
) {
    let adder = Vector(ifma);
    let y = y1.carry(ifma).reduce::<1>(ifma);
    let same_y = y.sub::<1>(ifma, y2.carry(ifma).reduce::<1>(ifma)).reduce::<1>(ifma).is_zero();
    let mut tangents = 0;
    let mut constant = 0;
    for (i, pair) in pairs.iter().enumerate().filter(|(i, _)| special >> i & 1 == 1) {
        let (p, q) = (adder.load(source, pair.a), adder.load(source, pair.b));
        let sum = if p == IDENTITY {
            q
        } else if q == IDENTITY {
            p
        } else if p.0[..4] != q.0[..4] {
            continue;
        } else if same_y >> i & 1 == 1 {
            tangents |= 1 << i;
            continue;
        } else {
            IDENTITY
        };
        constant |= 1 << i;
        done.push((pair.out, sum));
    }
    // Slope 3x² / 2y. Below 16·2p and 12·1.2p; y is not zero since the group has odd order.
    let xx = slot.x1.mul(ifma, slot.x1.lazy().shl::<4>().carry(ifma)).lazy();
    let denominator = y.lazy().shl::<5>().carry(ifma);
    slot.numerator = slot.numerator.select(tangents, xx.add(xx).add(xx).shl::<2>().carry(ifma));
    slot.denominator = slot.denominator.select(tangents, denominator).select(constant, Packed::splat_raised(ifma, &Fq::ONE));
}

/// The inverses of eight raised values below `2p`, raised; they must not be zero.
#[inline(always)]
fn invert_eight(ifma: Ifma, x: Packed<FqConfig>) -> Packed<FqConfig> {
    // The words of x raised are those of 16x plain.
    let mut x_plain = [Fq::ZERO; 8];
    x.canonical(ifma).store(ifma, &mut x_plain);
    let mut before = [Fq::ONE; 8];
    let mut product = Fq::ONE;
    for (before, x) in before.iter_mut().zip(&x_plain) {
        *before = product;
        product *= x;
    }
    let inverse = invert(&product).expect("a product of non-zero elements of a field is not zero");
    // From 1/16x plain to 16/x plain, whose words are those of 1/x raised.
    let mut inverse = (0..8).fold(inverse, |x, _| limbs::add(&x, &x));
    let mut out = [Fq::ZERO; 8];
    for (out, (before, x)) in out.iter_mut().zip(before.iter().zip(&x_plain)).rev() {
        *out = inverse * before;
        inverse *= x;
    }
    Packed::load(ifma, &out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msm::lists::tests::check_special_cases;

    #[test]
    fn lists_with_every_special_case_sum_exactly() {
        if let Some(ifma) = Ifma::get() {
            check_special_cases(Vector(ifma));
        }
    }
}
