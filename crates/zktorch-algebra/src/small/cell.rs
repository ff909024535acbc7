//! The integers that vectors are made of.

mod sealed {
    pub trait Sealed {}
}

/// A signed integer type of at most 64 bits, as vectors of small integers are stored.
pub trait Cell: Copy + Send + Sync + Into<i64> + sealed::Sealed + 'static {
    /// Width of the type.
    const BITS: u32;
    /// Zero.
    const ZERO: Self;

    /// The low bits of an integer.
    fn truncate(value: i64) -> Self;
}

macro_rules! cells {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl Cell for $type {
            const BITS: u32 = <$type>::BITS;
            const ZERO: Self = 0;

            #[inline(always)]
            fn truncate(value: i64) -> Self {
                value as $type
            }
        }
    )*};
}

cells!(i8, i16, i32, i64);

/// Least `b` with all values in `[-2^b, 2^b)`, or a bound of it that the type gives.
#[inline(always)]
pub(crate) fn bit_length<C: Cell>(values: &[C]) -> u32 {
    if C::BITS <= 16 {
        return C::BITS - 1;
    }
    let mut all = 0;
    for v in values {
        let v: i64 = (*v).into();
        all |= v ^ (v >> 63);
    }
    i64::BITS - all.leading_zeros()
}
