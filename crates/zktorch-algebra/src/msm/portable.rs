//! Affine additions one at a time, on any processor.

use std::borrow::Cow;

use ark_bn254::Fq;
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field, Zero};

use super::lists::{Adder, NEGATE, Pair};
use crate::{G1Affine, inverse::invert, limbs};

/// Additions per shared inversion.
const BATCH: usize = 2048;

/// The portable adder.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// An addition that is not the chord through two points of different abscissae.
enum Special {
    /// Equal points: the slope is `3x² / 2y`; this is the numerator.
    Tangent(Fq),
    /// No slope at all; the sum is written already.
    Done,
}

/// Denominator of the slope and kind of an addition whose abscissae are equal or zero; `None` if it is ordinary after all.
#[cold]
fn special(p: &G1Affine, q: &G1Affine, out: &mut G1Affine) -> Option<(Fq, Special)> {
    *out = if p.is_zero() {
        *q
    } else if q.is_zero() {
        *p
    } else if p.x != q.x {
        return None;
    } else if p.y == q.y {
        // The group has odd order, so y is not zero.
        let xx = p.x.square();
        return Some((p.y.double(), Special::Tangent(xx.double() + xx)));
    } else {
        G1Affine::identity()
    };
    Some((Fq::ONE, Special::Done))
}

impl Adder for Portable {
    type Point = G1Affine;
    /// For each addition of a batch: denominator, product of the denominators before it.
    type Scratch = Vec<(Fq, Fq)>;

    fn scratch(self) -> Self::Scratch {
        Vec::with_capacity(BATCH)
    }

    fn identity(self) -> G1Affine {
        G1Affine::identity()
    }

    fn import(self, points: &[G1Affine]) -> Cow<'_, [G1Affine]> {
        Cow::Borrowed(points)
    }

    fn export(self, point: &G1Affine) -> G1Affine {
        *point
    }

    #[inline]
    fn load(self, source: &[G1Affine], entry: u32) -> G1Affine {
        let p = source[(entry & !NEGATE) as usize];
        if entry & NEGATE != 0 { -p } else { p }
    }

    fn add(self, chain: &mut Self::Scratch, source: &[G1Affine], pairs: &[Pair], out: &mut [G1Affine]) {
        let point = |entry: u32| &source[(entry & !NEGATE) as usize];
        let mut specials = Vec::new();
        for batch in pairs.chunks(BATCH) {
            chain.clear();
            let mut product = Fq::ONE;
            for (i, pair) in batch.iter().enumerate() {
                let (x1, x2) = (&point(pair.a).x, &point(pair.b).x);
                let mut denominator = limbs::sub(x2, x1);
                if denominator.is_zero() | x1.is_zero() | x2.is_zero() {
                    let sum = &mut out[pair.out as usize];
                    if let Some((d, kind)) = special(&self.load(source, pair.a), &self.load(source, pair.b), sum) {
                        denominator = d;
                        specials.push((i, kind));
                    }
                }
                chain.push((denominator, product));
                product *= denominator;
            }
            let mut inverse = invert(&product).expect("a product of non-zero elements of a field is not zero");
            for (i, (pair, (denominator, before))) in batch.iter().zip(chain.iter()).enumerate().rev() {
                let (p, q) = (point(pair.a), point(pair.b));
                let y = limbs::negate_if(&p.y, pair.a & NEGATE != 0);
                let reciprocal = inverse * before;
                inverse *= denominator;
                let mut numerator = limbs::sub(&limbs::negate_if(&q.y, pair.b & NEGATE != 0), &y);
                if let Some((_, kind)) = specials.pop_if(|(at, _)| *at == i) {
                    match kind {
                        Special::Tangent(n) => numerator = n,
                        Special::Done => continue,
                    }
                }
                let slope = numerator * reciprocal;
                let x3 = limbs::sub(&slope.square(), &limbs::add(&p.x, &q.x));
                let y3 = limbs::sub(&(slope * limbs::sub(&p.x, &x3)), &y);
                out[pair.out as usize] = G1Affine::new_unchecked(x3, y3);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msm::lists::tests::check_special_cases;

    #[test]
    fn lists_with_every_special_case_sum_exactly() {
        check_special_cases(Portable);
    }
}
