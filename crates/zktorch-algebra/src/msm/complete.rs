//! Sums of affine points in eight lanes, by complete additions with AVX-512 IFMA.
//!
//! For sums of a few hundred points, too few to share an inversion: every lane adds up its eighth in homogeneous coordinates
//! (`x = X/Z`, `y = Y/Z`), then the lanes are added. The formulas are complete: Renes, Costello and Batina, "Complete addition
//! formulas for prime order elliptic curves" (2015), algorithms 7 and 8, for `y² = x³ + 3`; the identity is `(0 : 1 : 0)`.

#![expect(unsafe_code, reason = "enters a function compiled for the instructions, holding the token")]

use ark_bn254::{Fq, FqConfig};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field};

use super::lists::NEGATE;
use super::vector::Point;
use crate::ifma::{Ifma, Lazy, Packed, U64x8, prefetch};
use crate::{G1Affine, G1Projective, par};

type Packed8 = Packed<FqConfig>;

/// Steps between asking for points and using them.
const AHEAD: usize = 2;

/// Words of the coordinates, raised (see [`Packed`]) and below the modulus; all zeros for the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Raised([u64; 8]);

impl Raised {
    pub(super) const IDENTITY: Self = Self([0; 8]);

    #[cfg(test)]
    fn new(p: &G1Affine) -> Self {
        if p.is_zero() {
            return Self::IDENTITY;
        }
        let raise = |x: Fq| (0..4).fold(x, |x, _| crate::limbs::add(&x, &x)).0.0;
        let ([a, b, c, d], [e, f, g, h]) = (raise(p.x), raise(p.y));
        Self([a, b, c, d, e, f, g, h])
    }
}

/// Raises points.
pub(super) fn raise(ifma: Ifma, mut points: Vec<Point>) -> Vec<Raised> {
    par::chunks_mut(&mut points, 1 << 12, |_, points| {
        // SAFETY: the token says that the processor has the instructions.
        unsafe { raise_all(ifma, points) };
    });
    points.into_iter().map(|p| Raised(p.0)).collect()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn raise_all(ifma: Ifma, points: &mut [Point]) {
    let factor = Packed8::splat_raised(ifma, &Fq::from(16u64));
    for eight in points.chunks_mut(8) {
        let mut rows = [U64x8::zero(ifma); 8];
        for (row, point) in rows.iter_mut().zip(eight.iter()) {
            *row = U64x8::load(ifma, &point.0);
        }
        let [a, b, c, d, e, f, g, h] = U64x8::transpose(rows);
        // Below 1.1p, and zero stays zero.
        let x = Packed8::from_words(ifma, [a, b, c, d]).mul(ifma, factor).reduce::<1>(ifma);
        let y = Packed8::from_words(ifma, [e, f, g, h]).mul(ifma, factor).reduce::<1>(ifma);
        let ([a, b, c, d], [e, f, g, h]) = (x.to_words(), y.to_words());
        for (point, row) in eight.iter_mut().zip(U64x8::transpose([a, b, c, d, e, f, g, h])) {
            row.store(&mut point.0);
        }
    }
}

/// Eight points in homogeneous coordinates, raised: `X` below `3.2p`, `Y` below `2.2p`, `Z` below `2.4p`.
#[derive(Clone, Copy)]
struct Eight {
    x: Packed8,
    y: Packed8,
    z: Packed8,
}

/// `Σ ±points[entry]`, where [`NEGATE`] is an entry's sign. The points must not be the identity.
pub(super) fn sum(ifma: Ifma, points: &[Raised], entries: &[u32]) -> G1Projective {
    // SAFETY: the token says that the processor has the instructions.
    unsafe { sum_lanes(ifma, points, entries) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn sum_lanes(ifma: Ifma, points: &[Raised], entries: &[u32]) -> G1Projective {
    let zero = Packed8::zero(ifma);
    let nine = Packed8::splat_raised(ifma, &Fq::from(9u64));
    let identity = Eight { x: zero, y: Packed8::splat_raised(ifma, &Fq::ONE), z: zero };
    // Two sums that do not wait for each other.
    let mut sums = [identity; 2];
    for (step, entries_of_step) in entries.chunks(16).enumerate() {
        for entry in entries.get(16 * (step + AHEAD)..).unwrap_or_default().iter().take(16) {
            prefetch(&points[(entry & !NEGATE) as usize]);
        }
        for (sum, eight) in sums.iter_mut().zip(entries_of_step.chunks(8)) {
            let mut rows = [U64x8::zero(ifma); 8];
            let (mut negative, mut used) = (0u32, 0u8);
            for (i, entry) in eight.iter().enumerate() {
                rows[i] = U64x8::load(ifma, &points[(entry & !NEGATE) as usize].0);
                negative |= (entry >> 31) << i;
                used |= 1 << i;
            }
            let [a, b, c, d, e, f, g, h] = U64x8::transpose(rows);
            let x = Packed8::from_words(ifma, [a, b, c, d]);
            let y = Packed8::from_words(ifma, [e, f, g, h]).lazy();
            let y = y.select(negative as u8, Lazy::multiple::<1>(ifma).sub(y)).carry(ifma);
            let next = add_affine(ifma, *sum, x, y, nine);
            *sum = Eight { x: sum.x.select(used, next.x), y: sum.y.select(used, next.y), z: sum.z.select(used, next.z) };
        }
    }
    let mut sum = add(ifma, sums[0], sums[1], nine);
    sum = add(ifma, sum, Eight { x: sum.x.rotate::<4>(), y: sum.y.rotate::<4>(), z: sum.z.rotate::<4>() }, nine);
    sum = add(ifma, sum, Eight { x: sum.x.rotate::<2>(), y: sum.y.rotate::<2>(), z: sum.z.rotate::<2>() }, nine);
    sum = add(ifma, sum, Eight { x: sum.x.rotate::<1>(), y: sum.y.rotate::<1>(), z: sum.z.rotate::<1>() }, nine);
    sum.to_jacobian(ifma)[0]
}

impl Eight {
    /// To Jacobian coordinates, x = X/Z² and y = Y/Z³: (X·Z, Y·Z², Z).
    #[inline(always)]
    fn to_jacobian(self, ifma: Ifma) -> [G1Projective; 8] {
        let plain = Packed8::splat(ifma, &Fq::ONE);
        let zz = self.z.square(ifma);
        let coordinates = [self.x.mul(ifma, self.z), self.y.mul(ifma, zz), self.z];
        let mut out = [[Fq::ZERO; 8]; 3];
        for (out, v) in out.iter_mut().zip(coordinates) {
            v.mul(ifma, plain).canonical(ifma).store(ifma, out);
        }
        let [x, y, z] = out;
        std::array::from_fn(|i| if z[i] == Fq::ZERO { G1Projective::default() } else { G1Projective::new_unchecked(x[i], y[i], z[i]) })
    }
}

/// `P, 2^window·P, …, 2^(window·(count - 1))·P` for each of at most eight points.
pub(super) fn doublings(ifma: Ifma, points: &[G1Affine], window: usize, count: usize) -> Vec<G1Projective> {
    // SAFETY: the token says that the processor has the instructions.
    unsafe { double_lanes(ifma, points, window, count) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn double_lanes(ifma: Ifma, points: &[G1Affine], window: usize, count: usize) -> Vec<G1Projective> {
    let nine = Packed8::splat_raised(ifma, &Fq::from(9u64));
    let (mut x, mut y, mut z) = ([Fq::ZERO; 8], [Fq::ONE; 8], [Fq::ZERO; 8]);
    for (i, p) in points.iter().enumerate().filter(|(_, p)| !p.is_zero()) {
        (x[i], y[i], z[i]) = (p.x, p.y, Fq::ONE);
    }
    let factor = Packed8::splat_raised(ifma, &Fq::from(16u64));
    let mut sum = Eight {
        x: Packed8::load(ifma, &x).mul(ifma, factor),
        y: Packed8::load(ifma, &y).mul(ifma, factor),
        z: Packed8::load(ifma, &z).mul(ifma, factor),
    };
    let mut out = vec![G1Projective::default(); points.len() * count];
    for j in 0..count {
        for (i, p) in sum.to_jacobian(ifma).into_iter().take(points.len()).enumerate() {
            out[i * count + j] = p;
        }
        for _ in 0..window {
            sum = add(ifma, sum, sum, nine);
        }
    }
    out
}

/// `P + (x, y)` with `x` and `y` at most `p`.
#[inline(always)]
fn add_affine(ifma: Ifma, p: Eight, x: Packed8, y: Packed8, nine: Packed8) -> Eight {
    let xx = p.x.mul(ifma, x);
    let yy = p.y.mul(ifma, y);
    // x₁y₂ + x₂y₁, below 4.3p.
    let xy = x.add(ifma, y).mul(ifma, p.x.add(ifma, p.y));
    let xy = Lazy::multiple::<3>(ifma).add(xy.lazy()).sub(xx.lazy()).sub(yy.lazy()).carry(ifma);
    // Below 3.4p and 4.4p.
    let yz = y.mul(ifma, p.z).add(ifma, p.y);
    let xz = x.mul(ifma, p.z).add(ifma, p.x);
    finish(ifma, (xx, yy, p.z.mul(ifma, nine)), (xy, yz, xz), nine)
}

/// `P + Q`.
#[inline(always)]
fn add(ifma: Ifma, p: Eight, q: Eight, nine: Packed8) -> Eight {
    let xx = p.x.mul(ifma, q.x);
    let yy = p.y.mul(ifma, q.y);
    let zz = p.z.mul(ifma, q.z);
    let xy = cross(ifma, (p.x, p.y), (q.x, q.y), (xx, yy));
    let yz = cross(ifma, (p.y, p.z), (q.y, q.z), (yy, zz));
    let xz = cross(ifma, (p.x, p.z), (q.x, q.z), (xx, zz));
    finish(ifma, (xx, yy, zz.mul(ifma, nine)), (xy, yz, xz), nine)
}

/// `ad + bc` from `ac` and `bd`. Below `1.5p + 3p`. (No closure: it would be compiled without the instructions.)
#[inline(always)]
fn cross(ifma: Ifma, (a, b): (Packed8, Packed8), (c, d): (Packed8, Packed8), (ac, bd): (Packed8, Packed8)) -> Packed8 {
    let sum = a.add(ifma, b).mul(ifma, c.add(ifma, d));
    Lazy::multiple::<3>(ifma).add(sum.lazy()).sub(ac.lazy()).sub(bd.lazy()).carry(ifma)
}

/// The common end of both formulas: from `x₁x₂`, `y₁y₂`, `9z₁z₂` (below `1.2p`) and the mixed terms (below `4.6p`).
#[inline(always)]
fn finish(ifma: Ifma, (xx, yy, zz): (Packed8, Packed8, Packed8), (xy, yz, xz): (Packed8, Packed8, Packed8), nine: Packed8) -> Eight {
    let xx = xx.lazy().add(xx.lazy()).add(xx.lazy()).carry(ifma);
    let plus = yy.add(ifma, zz);
    let minus = yy.sub::<2>(ifma, zz);
    let xz = xz.mul(ifma, nine);
    Eight {
        x: xy.mul(ifma, minus).sub::<2>(ifma, yz.mul(ifma, xz)),
        y: xz.mul(ifma, xx).add(ifma, minus.mul(ifma, plus)),
        z: plus.mul(ifma, yz).add(ifma, xx.mul(ifma, xy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_to_g1;
    use ark_ec::CurveGroup;

    #[test]
    fn sums_in_lanes_are_exact_whatever_meets() {
        let Some(ifma) = Ifma::get() else { return };
        let mut points: Vec<G1Affine> = (0..20u8).map(|i| hash_to_g1(&[i])).collect();
        points.extend([points[0], -points[0], points[1], (points[0] + points[1]).into_affine()]);
        let raised: Vec<Raised> = points.iter().map(Raised::new).collect();
        let mut state = 7u32;
        for n in (0..40).chain([64, 100, 300]) {
            for few in [1, 2, points.len() as u32] {
                let entries: Vec<u32> = (0..n)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        // With few points, take the equal and the opposite ones at the end.
                        (points.len() as u32 - 1 - (state >> 16) % few) | ((state & 0x8000) << 16)
                    })
                    .collect();
                let term = |e: &u32| match e & NEGATE {
                    0 => points[*e as usize].into_group(),
                    _ => -points[(e & !NEGATE) as usize].into_group(),
                };
                assert_eq!(sum(ifma, &raised, &entries), entries.iter().map(term).sum::<G1Projective>(), "{n} of {few}");
            }
        }
        // Lane by lane a point and its opposite.
        let entries: Vec<u32> = (0..8).chain((0..8).map(|e| e | NEGATE)).collect();
        assert_eq!(sum(ifma, &raised, &entries), G1Projective::default());
    }
}
