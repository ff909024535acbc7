//! Eight residues modulo a prime below `2^254`, in radix `2^52`.
//!
//! # Ranges
//!
//! A residue is held as any integer below `2^260 > 84p` that is congruent to it, in five limbs of 52 bits: products read the
//! low 52 bits of a limb and *silently drop the rest*, so every method returns normalised limbs. Methods state the bound of
//! their result as a multiple of the modulus `p`; the caller keeps sums of bounds below `84p`.
//!
//! # Montgomery factors
//!
//! [`Packed::mul`] divides by `2^260`, while arkworks holds `x` as the integer `x·2^256`. Nothing needs converting: call
//! `x·2^256` the *plain* form and `x·2^260` the *raised* form. Then
//!
//! ```text
//! mul(raised, raised) = raised      mul(raised, plain) = plain      mul(plain, plain) = x·y·2^252
//! ```
//!
//! and raising is a shift by four bits on loading ([`Packed::load_raised`]), which costs range instead of time.

#![expect(unsafe_code, reason = "elements are read as the words they consist of")]

use std::marker::PhantomData;
use std::mem::{offset_of, size_of};

use ark_ff::{BigInt, MontBackend, MontConfig};

use super::{Ifma, U64x8};

/// A prime field of four 64-bit limbs in Montgomery form with `R = 2^256`.
pub(crate) type Element<C> = ark_ff::Fp<MontBackend<C, 4>, 4>;

const LIMB: u64 = (1 << 52) - 1;

/// `k·p` in limbs of 52 bits, for `k·p < 2^260`.
const fn multiple(p: [u64; 4], k: u64) -> [u64; 5] {
    let p = limbs(p);
    let mut out = [0; 5];
    let mut carry = 0;
    let mut i = 0;
    while i < 5 {
        let t = p[i] as u128 * k as u128 + carry;
        out[i] = t as u64 & LIMB;
        carry = t >> 52;
        i += 1;
    }
    assert!(carry == 0, "a multiple of the modulus has 260 bits");
    out
}

/// The limbs of 52 bits of a 256-bit integer.
const fn limbs(w: [u64; 4]) -> [u64; 5] {
    [w[0] & LIMB, (w[0] >> 52 | w[1] << 12) & LIMB, (w[1] >> 40 | w[2] << 24) & LIMB, (w[2] >> 28 | w[3] << 36) & LIMB, w[3] >> 16]
}

/// Each integer eight times. (Not with `map`: its closure would be compiled without the instructions and called.)
#[inline(always)]
fn splat_each(ifma: Ifma, [a, b, c, d, e]: [u64; 5]) -> [U64x8; 5] {
    [U64x8::splat(ifma, a), U64x8::splat(ifma, b), U64x8::splat(ifma, c), U64x8::splat(ifma, d), U64x8::splat(ifma, e)]
}

/// Constants of a field.
struct Constants<C>(PhantomData<C>);

impl<C: MontConfig<4>> Constants<C> {
    const P: [u64; 5] = multiple(C::MODULUS.0, 1);
    /// `-p^{-1} mod 2^52`.
    const INVERSE: u64 = C::INV & LIMB;
    /// Elements are read as four words: the type has their size and begins with them, hence holds nothing else.
    const LAYOUT: () = assert!(
        size_of::<Element<C>>() == 32 && offset_of!(Element<C>, 0) == 0 && size_of::<BigInt<4>>() == 32 && offset_of!(BigInt<4>, 0) == 0
    );
}

/// The words of an element.
#[inline(always)]
pub(crate) fn words<C: MontConfig<4>>(elements: &[Element<C>; 2]) -> &[u64; 8] {
    let () = Constants::<C>::LAYOUT;
    // SAFETY: an element is exactly its four words (checked at compile time), of alignment 8, and any words may be read.
    unsafe { &*std::ptr::from_ref(elements).cast() }
}

/// Eight residues modulo the prime of `C`, in limbs below `2^52`.
#[derive(Debug)]
pub(crate) struct Packed<C> {
    limbs: [U64x8; 5],
    field: PhantomData<C>,
}

impl<C> Clone for Packed<C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Packed<C> {}

impl<C: MontConfig<4>> Packed<C> {
    #[inline(always)]
    fn of(limbs: [U64x8; 5]) -> Self {
        Self { limbs, field: PhantomData }
    }

    #[inline(always)]
    fn splat_limbs(ifma: Ifma, limbs: [u64; 5]) -> Self {
        Self::of(splat_each(ifma, limbs))
    }

    /// Eight zeros.
    #[inline(always)]
    pub(crate) fn zero(ifma: Ifma) -> Self {
        Self::of([U64x8::zero(ifma); 5])
    }

    /// The same element eight times, plain. Below `p`.
    #[inline(always)]
    pub(crate) fn splat(ifma: Ifma, x: &Element<C>) -> Self {
        Self::splat_limbs(ifma, limbs(x.0.0))
    }

    /// The same element eight times, raised. Below `p`. Four doublings: not for inner loops.
    #[inline(always)]
    pub(crate) fn splat_raised(ifma: Ifma, x: &Element<C>) -> Self {
        let mut x = *x;
        for _ in 0..4 {
            x = crate::limbs::add(&x, &x);
        }
        Self::splat(ifma, &x)
    }

    /// Eight consecutive elements, plain. Below `p`.
    #[inline(always)]
    pub(crate) fn load(ifma: Ifma, elements: &[Element<C>; 8]) -> Self {
        Self::from_words(ifma, Self::load_words(ifma, elements))
    }

    /// Eight consecutive elements, raised. Below `16p`.
    #[inline(always)]
    pub(crate) fn load_raised(ifma: Ifma, elements: &[Element<C>; 8]) -> Self {
        Self::from_words_raised(ifma, Self::load_words(ifma, elements))
    }

    /// Four vectors: word `i` of each of the elements.
    #[inline(always)]
    fn load_words(ifma: Ifma, elements: &[Element<C>; 8]) -> [U64x8; 4] {
        let [a, b, c, d, e, f, g, h] = *elements;
        let rows = [
            U64x8::load(ifma, words(&[a, b])),
            U64x8::load(ifma, words(&[c, d])),
            U64x8::load(ifma, words(&[e, f])),
            U64x8::load(ifma, words(&[g, h])),
        ];
        let low = U64x8::new(ifma, [0, 4, 8, 12, 1, 5, 9, 13]);
        let high = U64x8::new(ifma, [2, 6, 10, 14, 3, 7, 11, 15]);
        let (low_front, low_back) = (rows[0].pick(low, rows[1]), rows[2].pick(low, rows[3]));
        let (high_front, high_back) = (rows[0].pick(high, rows[1]), rows[2].pick(high, rows[3]));
        [
            low_front.pairs::<0b01_00_01_00>(low_back),
            low_front.pairs::<0b11_10_11_10>(low_back),
            high_front.pairs::<0b01_00_01_00>(high_back),
            high_front.pairs::<0b11_10_11_10>(high_back),
        ]
    }

    /// Writes eight canonical values as elements; plain in, plain out.
    ///
    /// The values must be below `p`: see [`canonical`](Self::canonical).
    #[inline(always)]
    pub(crate) fn store(self, ifma: Ifma, elements: &mut [Element<C>; 8]) {
        let w = self.to_words();
        // Pairs of words (0, 1) and (2, 3) of elements 0, 2, 4, 6 and of elements 1, 3, 5, 7.
        let (low_even, low_odd) = (w[0].even(w[1]), w[0].odd(w[1]));
        let (high_even, high_odd) = (w[2].even(w[3]), w[2].odd(w[3]));
        let first = U64x8::new(ifma, [0, 1, 8, 9, 2, 3, 10, 11]);
        let second = U64x8::new(ifma, [4, 5, 12, 13, 6, 7, 14, 15]);
        let even = [low_even.pick(first, high_even), low_even.pick(second, high_even)];
        let odd = [low_odd.pick(first, high_odd), low_odd.pick(second, high_odd)];
        let rows = [
            even[0].pairs::<0b01_00_01_00>(odd[0]),
            even[0].pairs::<0b11_10_11_10>(odd[0]),
            even[1].pairs::<0b01_00_01_00>(odd[1]),
            even[1].pairs::<0b11_10_11_10>(odd[1]),
        ];
        for (two, row) in elements.chunks_exact_mut(2).zip(rows) {
            let [a, b, c, d, e, f, g, h] = row.to_array();
            two[0] = Element::<C>::new_unchecked(BigInt([a, b, c, d]));
            two[1] = Element::<C>::new_unchecked(BigInt([e, f, g, h]));
        }
    }

    /// From four vectors of 64-bit words; the same integers. Below `2^256 < 5.3p`.
    #[inline(always)]
    pub(crate) fn from_words(ifma: Ifma, w: [U64x8; 4]) -> Self {
        let mask = U64x8::splat(ifma, LIMB);
        Self::of([
            w[0].and(mask),
            w[0].funnel::<52>(w[1]).and(mask),
            w[1].funnel::<40>(w[2]).and(mask),
            w[2].funnel::<28>(w[3]).and(mask),
            w[3].shr::<16>(),
        ])
    }

    /// From four vectors of 64-bit words; sixteen times the integers.
    #[inline(always)]
    pub(crate) fn from_words_raised(ifma: Ifma, w: [U64x8; 4]) -> Self {
        let mask = U64x8::splat(ifma, LIMB);
        Self::of([
            w[0].shl::<4>().and(mask),
            w[0].funnel::<48>(w[1]).and(mask),
            w[1].funnel::<36>(w[2]).and(mask),
            w[2].funnel::<24>(w[3]).and(mask),
            w[3].shr::<12>(),
        ])
    }

    /// To four vectors of 64-bit words, for values below `2^256`.
    #[inline(always)]
    pub(crate) fn to_words(self) -> [U64x8; 4] {
        let l = self.limbs;
        [
            l[0].or(l[1].shl::<52>()),
            l[1].shr::<12>().or(l[2].shl::<40>()),
            l[2].shr::<24>().or(l[3].shl::<28>()),
            l[3].shr::<36>().or(l[4].shl::<16>()),
        ]
    }

    /// The same value as a term of a sum that is carried later.
    #[inline(always)]
    pub(crate) fn lazy(self) -> Lazy<C> {
        Lazy(self)
    }

    /// Sum. Below the sum of the bounds.
    #[inline(always)]
    pub(crate) fn add(self, ifma: Ifma, b: Self) -> Self {
        self.lazy().add(b.lazy()).carry(ifma)
    }

    /// `self - b + K·p` for `b` at most `K·p`. Below the bound of `self` plus `K·p`.
    #[inline(always)]
    pub(crate) fn sub<const K: u64>(self, ifma: Ifma, b: Self) -> Self {
        Lazy::multiple::<K>(ifma).add(self.lazy()).sub(b.lazy()).carry(ifma)
    }

    /// `self - K·p` where that is not negative, else `self`: from below `2K·p` to below `K·p`.
    #[inline(always)]
    pub(crate) fn reduce<const K: u64>(self, ifma: Ifma) -> Self {
        let difference = self.lazy().sub(Lazy::multiple::<K>(ifma)).carry(ifma);
        difference.select(difference.limbs[4].negative(), self)
    }

    /// Moves lane `i + N` to lane `i`, around the end.
    #[inline(always)]
    pub(crate) fn rotate<const N: i32>(self) -> Self {
        let [a, b, c, d, e] = self.limbs;
        Self::of([a.rotate::<N>(), b.rotate::<N>(), c.rotate::<N>(), d.rotate::<N>(), e.rotate::<N>()])
    }

    /// Mask of the lanes below `p`.
    #[inline(always)]
    pub(crate) fn is_below_modulus(self, ifma: Ifma) -> u8 {
        self.lazy().sub(Lazy::multiple::<1>(ifma)).carry(ifma).limbs[4].negative()
    }

    /// The residues below `p` of values below `4p`.
    #[inline(always)]
    pub(crate) fn canonical(self, ifma: Ifma) -> Self {
        self.reduce::<2>(ifma).reduce::<1>(ifma)
    }

    /// Lane by lane `b` where the mask has a one, else `self`.
    #[inline(always)]
    pub(crate) fn select(self, mask: u8, b: Self) -> Self {
        let mut out = self;
        for (o, b) in out.limbs.iter_mut().zip(b.limbs) {
            *o = o.replace(mask, b);
        }
        out
    }

    /// The lowest limbs.
    #[inline(always)]
    pub(crate) fn low(self) -> U64x8 {
        self.limbs[0]
    }

    /// The lowest limb of `2^S·p`.
    #[inline(always)]
    pub(crate) fn low_of_modulus<const S: u32>(ifma: Ifma) -> U64x8 {
        U64x8::splat(ifma, const { (Constants::<C>::P[0] << S) & LIMB })
    }

    /// Mask of the lanes that hold the integer zero (not another multiple of `p`).
    #[inline(always)]
    pub(crate) fn is_zero(self) -> u8 {
        let [a, b, c, d, e] = self.limbs;
        a.or(b).or(c.or(d).or(e)).is_zero()
    }

    /// `self·b / 2^260`. With bounds `A·p` and `B·p` below `(0.0119·A·B + 1)·p`: below `1.2p` for `A·B ≤ 16`, below `4.1p`
    /// for `A·B ≤ 256`.
    #[inline(always)]
    pub(crate) fn mul(self, ifma: Ifma, b: Self) -> Self {
        let (a, b) = (self.limbs, b.limbs);
        let zero = U64x8::zero(ifma);
        let p = splat_each(ifma, const { Constants::<C>::P });
        let inverse = U64x8::splat(ifma, const { Constants::<C>::INVERSE });
        let mut t = [zero; 5];
        for a in a {
            // t + a·b, then plus q·p, which clears the lowest limb; the limbs move down by one. A limb gathers at most 19
            // terms below 2^52 before it is carried.
            t[0] = t[0].madd_lo(a, b[0]);
            let q = zero.madd_lo(t[0], inverse);
            for i in 1..5 {
                t[i] = t[i].madd_lo(a, b[i]);
            }
            let lowest = t[0].madd_lo(q, p[0]);
            let mut next = [t[1], t[2], t[3], t[4], zero];
            for i in 0..5 {
                next[i] = next[i].madd_hi(a, b[i]);
            }
            for i in 0..4 {
                next[i] = next[i].madd_lo(q, p[i + 1]);
            }
            for i in 0..5 {
                next[i] = next[i].madd_hi(q, p[i]);
            }
            next[0] = next[0].add(lowest.shr::<52>());
            t = next;
        }
        Lazy(Self::of(t)).carry(ifma)
    }

    /// `self² / 2^260`; bounds as for [`mul`](Self::mul).
    #[inline(always)]
    pub(crate) fn square(self, ifma: Ifma) -> Self {
        let a = self.limbs;
        let mut t = [U64x8::zero(ifma); 10];
        // Doubled limbs would have 53 bits, so the mixed terms are doubled after they are summed.
        for i in 0..5 {
            for j in i + 1..5 {
                t[i + j] = t[i + j].madd_lo(a[i], a[j]);
                t[i + j + 1] = t[i + j + 1].madd_hi(a[i], a[j]);
            }
        }
        for t in &mut t[1..] {
            *t = t.add(*t);
        }
        for i in 0..5 {
            t[2 * i] = t[2 * i].madd_lo(a[i], a[i]);
            t[2 * i + 1] = t[2 * i + 1].madd_hi(a[i], a[i]);
        }
        Self::redc(ifma, t)
    }

    /// Adds the limbs of `self·b`, nine terms below `2^52` to each of ten.
    #[inline(always)]
    pub(crate) fn product_into(self, b: Self, sum: &mut [U64x8; 10]) {
        for (i, a) in self.limbs.into_iter().enumerate() {
            for (j, b) in b.limbs.into_iter().enumerate() {
                sum[i + j] = sum[i + j].madd_lo(a, b);
                sum[i + j + 1] = sum[i + j + 1].madd_hi(a, b);
            }
        }
    }

    /// `a·b + c·d`, divided by `2^260`. With bounds `A·p` to `D·p` below `(0.0119·(A·B + C·D) + 1)·p`.
    #[inline(always)]
    pub(crate) fn sum_of_products(ifma: Ifma, [a, b, c, d]: [Self; 4]) -> Self {
        let mut limbs = [U64x8::zero(ifma); 10];
        a.product_into(b, &mut limbs);
        c.product_into(d, &mut limbs);
        Self::redc(ifma, limbs)
    }

    /// `Σ constant·x / 2^52` for vectors of integers below `2^52` and `n ≤ 80` constants below `p`. Below `(n + 1)p`.
    #[inline(always)]
    pub(crate) fn of_integers(ifma: Ifma, terms: impl Iterator<Item = (U64x8, Self)>) -> Self {
        let mut t = [U64x8::zero(ifma); 6];
        for (x, constant) in terms {
            constant.times_into(x, &mut t);
        }
        Self::reduce_integers(ifma, t)
    }

    /// Adds the limbs of `self·x` for integers below `2^52`, two terms below `2^52` to each of six.
    #[inline(always)]
    pub(crate) fn times_into(self, x: U64x8, sum: &mut [U64x8; 6]) {
        for (i, limb) in self.limbs.into_iter().enumerate() {
            sum[i] = sum[i].madd_lo(x, limb);
            sum[i + 1] = sum[i + 1].madd_hi(x, limb);
        }
    }

    /// Six limbs below `2^63`, divided by `2^52`. Below `t / 2^52 + p`.
    #[inline(always)]
    pub(crate) fn reduce_integers(ifma: Ifma, mut t: [U64x8; 6]) -> Self {
        let p = splat_each(ifma, const { Constants::<C>::P });
        let q = U64x8::zero(ifma).madd_lo(t[0], U64x8::splat(ifma, const { Constants::<C>::INVERSE }));
        for i in 0..5 {
            t[i] = t[i].madd_lo(q, p[i]);
            t[i + 1] = t[i + 1].madd_hi(q, p[i]);
        }
        Lazy(Self::of([t[1].add(t[0].shr::<52>()), t[2], t[3], t[4], t[5]])).carry(ifma)
    }

    /// Words of the first and of the second elements of eight pairs.
    #[inline(always)]
    pub(crate) fn load_pairs(ifma: Ifma, pairs: [&[Element<C>; 2]; 8]) -> [[U64x8; 4]; 2] {
        // Written out: `map` on an array of eight is too long to be inlined.
        let [a, b, c, d, e, f, g, h] = pairs;
        let low = [U64x8::load(ifma, words(a)), U64x8::load(ifma, words(b)), U64x8::load(ifma, words(c)), U64x8::load(ifma, words(d))];
        let high = [U64x8::load(ifma, words(e)), U64x8::load(ifma, words(f)), U64x8::load(ifma, words(g)), U64x8::load(ifma, words(h))];
        let [a, b, c, d, e, f, g, h] = U64x8::transpose([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]]);
        [[a, b, c, d], [e, f, g, h]]
    }

    /// Writes eight pairs of canonical values.
    #[inline(always)]
    pub(crate) fn store_pairs(first: Self, second: Self, pairs: &mut [[Element<C>; 2]; 8]) {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_words(), second.to_words());
        for (two, row) in pairs.iter_mut().zip(U64x8::transpose([a, b, c, d, e, f, g, h])) {
            let [a, b, c, d, e, f, g, h] = row.to_array();
            two[0] = Element::<C>::new_unchecked(BigInt([a, b, c, d]));
            two[1] = Element::<C>::new_unchecked(BigInt([e, f, g, h]));
        }
    }

    /// Montgomery reduction of ten limbs below `2^63`: `t / 2^260`, below `t / 2^260 + p`.
    #[inline(always)]
    pub(crate) fn redc(ifma: Ifma, mut t: [U64x8; 10]) -> Self {
        let zero = U64x8::zero(ifma);
        let p = splat_each(ifma, const { Constants::<C>::P });
        let inverse = U64x8::splat(ifma, const { Constants::<C>::INVERSE });
        for i in 0..5 {
            let q = zero.madd_lo(t[i], inverse);
            for j in 0..5 {
                t[i + j] = t[i + j].madd_lo(q, p[j]);
                t[i + j + 1] = t[i + j + 1].madd_hi(q, p[j]);
            }
            t[i + 1] = t[i + 1].add(t[i].shr::<52>());
        }
        Lazy(Self::of([t[5], t[6], t[7], t[8], t[9]])).carry(ifma)
    }
}

/// Eight sums and differences of [`Packed`] values whose limbs have not been carried: signed, of 64 bits.
#[derive(Debug)]
pub(crate) struct Lazy<C>(Packed<C>);

impl<C> Clone for Lazy<C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Lazy<C> {}

impl<C: MontConfig<4>> Lazy<C> {
    /// `K·p`, which keeps a difference from becoming negative.
    #[inline(always)]
    pub(crate) fn multiple<const K: u64>(ifma: Ifma) -> Self {
        Self(Packed::splat_limbs(ifma, const { multiple(C::MODULUS.0, K) }))
    }

    /// Sum.
    #[inline(always)]
    pub(crate) fn add(mut self, b: Self) -> Self {
        for (o, b) in self.0.limbs.iter_mut().zip(b.0.limbs) {
            *o = o.add(b);
        }
        self
    }

    /// Difference.
    #[inline(always)]
    pub(crate) fn sub(mut self, b: Self) -> Self {
        for (o, b) in self.0.limbs.iter_mut().zip(b.0.limbs) {
            *o = o.sub(b);
        }
        self
    }

    /// `2^S` times the value.
    #[inline(always)]
    pub(crate) fn shl<const S: u32>(mut self) -> Self {
        for l in &mut self.0.limbs {
            *l = l.shl::<S>();
        }
        self
    }

    /// Lane by lane `b` where the mask has a one, else `self`.
    #[inline(always)]
    pub(crate) fn select(self, mask: u8, b: Self) -> Self {
        Self(self.0.select(mask, b.0))
    }

    /// Carries. The value must be in `0..2^260`, except where the caller looks at the sign and discards the rest.
    #[inline(always)]
    pub(crate) fn carry(self, ifma: Ifma) -> Packed<C> {
        let mask = U64x8::splat(ifma, LIMB);
        let [l0, l1, l2, l3, l4] = self.0.limbs;
        let l1 = l1.add(l0.sar::<52>());
        let l2 = l2.add(l1.sar::<52>());
        let l3 = l3.add(l2.sar::<52>());
        let l4 = l4.add(l3.sar::<52>());
        Packed::of([l0.and(mask), l1.and(mask), l2.and(mask), l3.and(mask), l4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_to_fr;
    use ark_bn254::{FqConfig, FrConfig};
    use ark_ff::{AdditiveGroup, Field, PrimeField};

    /// Random elements and those at the ends of the range.
    fn elements<C: MontConfig<4>>() -> Vec<Element<C>> {
        let mut out: Vec<Element<C>> =
            (0..56u8).map(|i| Element::<C>::from_le_bytes_mod_order(&crate::fr_to_bytes(&hash_to_fr(&[i])))).collect();
        out.extend([Element::<C>::ZERO, Element::<C>::ONE, -Element::<C>::ONE]);
        for k in 1..6 {
            let mut limbs = C::MODULUS;
            limbs.0[0] -= k;
            out.push(Element::<C>::new_unchecked(limbs));
        }
        out
    }

    fn stored<C: MontConfig<4>>(ifma: Ifma, x: Packed<C>) -> [Element<C>; 8] {
        let mut out = [Element::<C>::ZERO; 8];
        x.store(ifma, &mut out);
        out
    }

    fn check<C: MontConfig<4>>(ifma: Ifma) {
        let all = elements::<C>();
        let vectors: Vec<[Element<C>; 8]> = all.chunks_exact(8).map(|c| c.try_into().expect("chunks of eight")).collect();
        let raise = Packed::splat_raised(ifma, &Element::<C>::ONE);
        for a in &vectors {
            let plain = Packed::load(ifma, a);
            assert_eq!(stored(ifma, plain), *a);
            assert_eq!(stored(ifma, Packed::splat(ifma, &a[3])), [a[3]; 8]);
            for turn in 0..64 {
                let b: [Element<C>; 8] = std::array::from_fn(|i| all[(turn + 9 * i) % all.len()]);
                let (other, raised) = (Packed::load(ifma, &b), Packed::load_raised(ifma, &b));
                let expect = |f: fn(Element<C>, Element<C>) -> Element<C>| std::array::from_fn(|i| f(a[i], b[i]));
                assert_eq!(stored(ifma, plain.mul(ifma, raised).canonical(ifma)), expect(|a, b| a * b));
                assert_eq!(stored(ifma, plain.add(ifma, other).reduce::<1>(ifma)), expect(|a, b| a + b));
                assert_eq!(stored(ifma, plain.sub::<1>(ifma, other).reduce::<1>(ifma)), expect(|a, b| a - b));
                let shifted = |a: Packed<C>, b: Packed<C>| a.lazy().add(Lazy::multiple::<1>(ifma)).sub(b.lazy());
                let twice = shifted(plain, other).shl::<1>().carry(ifma);
                assert_eq!(stored(ifma, twice.canonical(ifma)), expect(|a, b| (a - b).double()));
                // The largest operands a product may get: raised differences, below 32p each.
                let (x, y) = (shifted(plain, other).shl::<4>().carry(ifma), shifted(other, plain).shl::<4>().carry(ifma));
                let product = x.mul(ifma, y).reduce::<8>(ifma).reduce::<4>(ifma).mul(ifma, Packed::splat(ifma, &Element::<C>::ONE));
                assert_eq!(stored(ifma, product.canonical(ifma)), expect(|a, b| -(a - b).square()));
                let square = x.square(ifma).reduce::<8>(ifma).reduce::<4>(ifma).mul(ifma, Packed::splat(ifma, &Element::<C>::ONE));
                assert_eq!(stored(ifma, square.canonical(ifma)), expect(|a, b| (a - b).square()));
                assert_eq!(stored(ifma, plain.select(0b1010_0110, other)), {
                    std::array::from_fn(|i| if 0b1010_0110u8 >> i & 1 == 1 { b[i] } else { a[i] })
                });
            }
            assert_eq!(stored(ifma, plain.mul(ifma, raise).canonical(ifma)), *a);
            let zeros = (0..8).filter(|i| a[*i] == Element::<C>::ZERO).fold(0, |m, i| m | 1 << i);
            assert_eq!(plain.is_zero(), zeros);
            assert_eq!(Packed::<C>::zero(ifma).is_zero(), 255);
        }
    }

    #[test]
    fn arithmetic_of_vectors_equals_arkworks() {
        if let Some(ifma) = Ifma::get() {
            check::<FqConfig>(ifma);
            check::<FrConfig>(ifma);
        }
    }
}
