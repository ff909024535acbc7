//! One register of eight 64-bit integers.

#![expect(unsafe_code, reason = "intrinsics; sound because a vector exists only where they do")]

use std::arch::x86_64::*;

use super::Ifma;
use crate::small::Cell;

/// Eight unsigned 64-bit integers. A value exists only where the instructions do, so its methods are safe.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct U64x8(pub(super) __m512i);

/// Declares methods that are one intrinsic each.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) = $intrinsic:expr;)*) => {
        impl U64x8 {
            $($(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: `self` exists, so the processor has the instruction.
                Self(unsafe { $intrinsic(self.0 $(, $arg.0)*) })
            })*
        }
    };
}

/// Declares shifts by a constant.
macro_rules! shifts {
    ($($(#[$doc:meta])* $name:ident = $intrinsic:ident;)*) => {
        impl U64x8 {
            $($(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name<const N: u32>(self) -> Self {
                // SAFETY: `self` exists, so the processor has the instruction.
                Self(unsafe { $intrinsic::<N>(self.0) })
            })*
        }
    };
}

methods! {
    /// Sum modulo `2^64`.
    add(b) = _mm512_add_epi64;
    /// Difference modulo `2^64`.
    sub(b) = _mm512_sub_epi64;
    /// Bitwise and.
    and(b) = _mm512_and_si512;
    /// Bitwise or.
    or(b) = _mm512_or_si512;
    /// Bitwise exclusive or.
    xor(b) = _mm512_xor_si512;
    /// `self` plus the low 52 bits of the product of the low 52 bits of `b` and of `c`.
    madd_lo(b, c) = _mm512_madd52lo_epu64;
    /// `self` plus the product of the low 52 bits of `b` and of `c`, shifted right by 52 bits.
    madd_hi(b, c) = _mm512_madd52hi_epu64;
    /// Even lanes of `self` and `b`, alternating.
    even(b) = _mm512_unpacklo_epi64;
    /// Odd lanes of `self` and `b`, alternating.
    odd(b) = _mm512_unpackhi_epi64;
    /// Product of the low 32 bits.
    mul_u32(b) = _mm512_mul_epu32;
    /// Product of the low 32 bits, which are signed.
    mul_i32(b) = _mm512_mul_epi32;
}

shifts! {
    /// Shift left by `N` bits.
    shl = _mm512_slli_epi64;
    /// Shift right by `N` bits, filling with zeros.
    shr = _mm512_srli_epi64;
    /// Shift right by `N` bits, filling with the top bit.
    sar = _mm512_srai_epi64;
}

impl U64x8 {
    /// Eight integers.
    #[inline(always)]
    pub(crate) fn new(_: Ifma, lanes: [u64; 8]) -> Self {
        // SAFETY: both types are 64 bytes without padding or invalid values.
        Self(unsafe { std::mem::transmute::<[u64; 8], __m512i>(lanes) })
    }

    /// The same integer eight times.
    #[inline(always)]
    pub(crate) fn splat(_: Ifma, value: u64) -> Self {
        // SAFETY: the token says that the processor has the instruction.
        Self(unsafe { _mm512_set1_epi64(value as i64) })
    }

    /// Eight zeros.
    #[inline(always)]
    pub(crate) fn zero(_: Ifma) -> Self {
        // SAFETY: the token says that the processor has the instruction.
        Self(unsafe { _mm512_setzero_si512() })
    }

    /// Eight integers from memory.
    #[inline(always)]
    pub(crate) fn load(_: Ifma, from: &[u64; 8]) -> Self {
        // SAFETY: the token says that the processor has the instruction; it needs no alignment and reads the array.
        Self(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) })
    }

    /// Eight signed integers of any width from memory, widened.
    #[inline(always)]
    pub(crate) fn widen<C: Cell>(_: Ifma, from: &[C; 8]) -> Self {
        // SAFETY: the token says that the processor has the instructions; the loads need no alignment and read the array, which is eight primitive integers of `BITS`
        // bits: `Cell` is sealed.
        Self(unsafe {
            match C::BITS {
                8 => _mm512_cvtepi8_epi64(_mm_loadl_epi64(from.as_ptr().cast())),
                16 => _mm512_cvtepi16_epi64(_mm_loadu_si128(from.as_ptr().cast())),
                32 => _mm512_cvtepi32_epi64(_mm256_loadu_si256(from.as_ptr().cast())),
                _ => _mm512_loadu_si512(from.as_ptr().cast()),
            }
        })
    }

    /// Sixteen 32-bit integers from memory, two a lane, the first in the low half.
    #[inline(always)]
    pub(crate) fn load_u32(_: Ifma, from: &[u32; 16]) -> Self {
        // SAFETY: the token says that the processor has the instruction; it needs no alignment and reads the array.
        Self(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) })
    }

    /// Two groups of four integers from memory.
    #[inline(always)]
    pub(crate) fn load_halves(_: Ifma, low: &[u64; 4], high: &[u64; 4]) -> Self {
        // SAFETY: the token says that the processor has the instructions; the loads need no alignment and read the arrays.
        Self(unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(low.as_ptr().cast()));
            _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(high.as_ptr().cast()))
        })
    }

    /// Writes the integers to memory.
    #[inline(always)]
    pub(crate) fn store(self, to: &mut [u64; 8]) {
        // SAFETY: `self` exists, so the processor has the instruction; it needs no alignment and writes the array.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self.0) }
    }

    /// The integers.
    #[inline(always)]
    pub(crate) fn to_array(self) -> [u64; 8] {
        let mut out = [0; 8];
        self.store(&mut out);
        out
    }

    /// Bits `N..N + 64` of the 128-bit integers `self + 2^64·high`, for `N` in `1..64`.
    #[inline(always)]
    pub(crate) fn funnel<const N: i32>(self, high: Self) -> Self {
        // SAFETY: `self` exists, so the processor has the instruction.
        Self(unsafe { _mm512_shrdi_epi64::<N>(self.0, high.0) })
    }

    /// Lane `i` of the result is lane `index[i]` of `self` (0 to 7) or of `b` (8 to 15).
    #[inline(always)]
    pub(crate) fn pick(self, index: Self, b: Self) -> Self {
        // SAFETY: `self` exists, so the processor has the instruction.
        Self(unsafe { _mm512_permutex2var_epi64(self.0, index.0, b.0) })
    }

    /// Moves lane `i + N` to lane `i`, around the end.
    #[inline(always)]
    pub(crate) fn rotate<const N: i32>(self) -> Self {
        // SAFETY: `self` exists, so the processor has the instruction.
        Self(unsafe { _mm512_alignr_epi64::<N>(self.0, self.0) })
    }

    /// Pairs of lanes `(N & 3)` and `(N >> 2 & 3)` of `self`, then `(N >> 4 & 3)` and `(N >> 6)` of `b`.
    #[inline(always)]
    pub(crate) fn pairs<const N: i32>(self, b: Self) -> Self {
        // SAFETY: `self` exists, so the processor has the instruction.
        Self(unsafe { _mm512_shuffle_i64x2::<N>(self.0, b.0) })
    }

    /// Lane by lane `b` where the mask has a one, else `self`.
    #[inline(always)]
    pub(crate) fn replace(self, mask: u8, b: Self) -> Self {
        // SAFETY: `self` exists, so the processor has the instruction.
        Self(unsafe { _mm512_mask_mov_epi64(self.0, mask, b.0) })
    }

    /// Mask of the lanes whose top bit is set.
    #[inline(always)]
    pub(crate) fn negative(self) -> u8 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_movepi64_mask(self.0) }
    }

    /// Mask of the lanes that are equal.
    #[inline(always)]
    pub(crate) fn equals(self, b: Self) -> u8 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_cmpeq_epi64_mask(self.0, b.0) }
    }

    /// Mask of the lanes that are zero.
    #[inline(always)]
    pub(crate) fn is_zero(self) -> u8 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_testn_epi64_mask(self.0, self.0) }
    }

    /// Rows become columns: lane `j` of vector `i` moves to lane `i` of vector `j`.
    #[inline(always)]
    pub(crate) fn transpose(r: [Self; 8]) -> [Self; 8] {
        let even = [r[0].even(r[1]), r[2].even(r[3]), r[4].even(r[5]), r[6].even(r[7])];
        let odd = [r[0].odd(r[1]), r[2].odd(r[3]), r[4].odd(r[5]), r[6].odd(r[7])];
        // Pairs of lanes 0 and 2 (columns 0, 4), then 1 and 3 (columns 2, 6), of four rows each.
        let (a, b) = (even[0].pairs::<0b10_00_10_00>(even[1]), even[0].pairs::<0b11_01_11_01>(even[1]));
        let (c, d) = (even[2].pairs::<0b10_00_10_00>(even[3]), even[2].pairs::<0b11_01_11_01>(even[3]));
        let (e, f) = (odd[0].pairs::<0b10_00_10_00>(odd[1]), odd[0].pairs::<0b11_01_11_01>(odd[1]));
        let (g, h) = (odd[2].pairs::<0b10_00_10_00>(odd[3]), odd[2].pairs::<0b11_01_11_01>(odd[3]));
        [
            a.pairs::<0b10_00_10_00>(c),
            e.pairs::<0b10_00_10_00>(g),
            b.pairs::<0b10_00_10_00>(d),
            f.pairs::<0b10_00_10_00>(h),
            a.pairs::<0b11_01_11_01>(c),
            e.pairs::<0b11_01_11_01>(g),
            b.pairs::<0b11_01_11_01>(d),
            f.pairs::<0b11_01_11_01>(h),
        ]
    }
}

/// Asks for a value to be brought into the first-level cache.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    // SAFETY: a prefetch of any address has no effect on the program; every x86-64 processor has the instruction.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposition_swaps_rows_and_columns() {
        let Some(ifma) = Ifma::get() else { return };
        let rows: [[u64; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as u64));
        let columns = U64x8::transpose(rows.map(|r| U64x8::new(ifma, r)));
        for (j, column) in columns.into_iter().enumerate() {
            assert_eq!(column.to_array(), std::array::from_fn(|i| (10 * i + j) as u64));
        }
    }

    #[test]
    fn products_of_halves_are_exact() {
        let Some(ifma) = Ifma::get() else { return };
        let halves: [u32; 16] = std::array::from_fn(|i| (i as u32).wrapping_mul(0x9e37_79b9).rotate_left(7) | u32::from(i % 3 == 0) << 31);
        let x = U64x8::load_u32(ifma, &halves);
        let y = x.shr::<32>();
        let (unsigned, signed) = (x.mul_u32(y).to_array(), x.mul_i32(y).to_array());
        for i in 0..8 {
            let [a, b] = [halves[2 * i], halves[2 * i + 1]];
            assert_eq!(unsigned[i], u64::from(a) * u64::from(b));
            assert_eq!(signed[i] as i64, i64::from(a as i32) * i64::from(b as i32));
        }
    }

    #[test]
    fn shifts_and_products_of_limbs_are_exact() {
        let Some(ifma) = Ifma::get() else { return };
        let (a, b, c) = (u64::MAX - 5, 0x000f_edcb_a987_6543, 0xffff_1234_5678_9abc);
        let v = |x| U64x8::splat(ifma, x);
        let limb = |x: u64| u128::from(x & ((1 << 52) - 1));
        let product = limb(b) * limb(c);
        let lanes = |x: U64x8| x.to_array()[3];
        assert_eq!(lanes(v(a).madd_lo(v(b), v(c))), a.wrapping_add(limb(product as u64) as u64));
        assert_eq!(lanes(v(a).madd_hi(v(b), v(c))), a.wrapping_add((product >> 52) as u64));
        assert_eq!(lanes(v(a).funnel::<52>(v(b))), a >> 52 | b << 12);
        assert_eq!((lanes(v(c).shl::<4>()), lanes(v(c).shr::<4>()), lanes(v(c).sar::<4>())), (c << 4, c >> 4, (c as i64 >> 4) as u64));
        assert_eq!((v(a).negative(), v(b).negative(), v(0).is_zero(), v(b).is_zero()), (255, 0, 255, 0));
    }
}
