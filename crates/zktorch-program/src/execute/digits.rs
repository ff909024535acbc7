//! Splits values into digits.

use super::einsum::Values;
use super::memory::Memory;
use super::{ExecuteError, index_of};
use crate::step::Digit;
use crate::view::View;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Values per parallel task: they stay in the first-level cache from digit to digit.
const CHUNK: usize = 1 << 12;

/// `value − rest = weight · digit` with `rest` in `origin .. origin + |weight|`.
trait Split: Copy + Send + Sync {
    /// The digit, and what remains of the value; `None` if the digit does not fit 64 bits.
    fn split(self, weight: i128, origin: i128) -> Option<(i64, Self)>;
    fn is_zero(self) -> bool;
    fn wide(self) -> i128;

    /// Splits off a digit of each value, which leaves the rests. Returns the first place where the digit is out of range, and the digit.
    fn split_each(values: &mut [Self], digit: &Digit, origin: i128, out: &mut [i64]) -> Option<(usize, i128)> {
        split_slowly(values, digit, origin, out)
    }
}

/// [`Split::split_each`], value by value.
fn split_slowly<T: Split>(values: &mut [T], digit: &Digit, origin: i128, out: &mut [i64]) -> Option<(usize, i128)> {
    for (j, (value, out)) in values.iter_mut().zip(out).enumerate() {
        match value.split(digit.weight, origin) {
            Some((q, rest)) if digit.lo <= q && q <= digit.hi => (*out, *value) = (q, rest),
            other => return Some((j, other.map_or(value.wide() / digit.weight, |o| o.0 as i128))),
        }
    }
    None
}

impl Split for i64 {
    #[inline(always)]
    fn split(self, weight: i128, origin: i128) -> Option<(i64, i64)> {
        // Values are below 2^62, so an origin within 64 bits cannot overflow the difference by more than one bit: fall back to 128 bits
        // where it might.
        match (i64::try_from(weight), i64::try_from(origin)) {
            (Ok(w), Ok(o)) if o.unsigned_abs() < 1 << 62 => {
                let shifted = self - o;
                let rest = shifted.rem_euclid(w);
                Some(((shifted - rest) / w, rest + o))
            }
            _ => {
                let (digit, rest) = (self as i128).split(weight, origin)?;
                Some((digit, i64::try_from(rest).ok()?))
            }
        }
    }
    fn is_zero(self) -> bool {
        self == 0
    }
    fn wide(self) -> i128 {
        self as i128
    }

    fn split_each(values: &mut [i64], digit: &Digit, origin: i128, out: &mut [i64]) -> Option<(usize, i128)> {
        if let (Ok(weight), Ok(origin)) = (u64::try_from(digit.weight), i64::try_from(origin))
            && weight.is_power_of_two()
            && weight <= 1 << 62
            && origin.unsigned_abs() < 1 << 62
        {
            let shift = Shift { values, bits: weight.trailing_zeros(), origin, range: (digit.lo, digit.hi), out: &mut *out };
            if Arch::new().dispatch(shift) {
                return None;
            }
            let found = out.iter().position(|q| !(digit.lo..=digit.hi).contains(q));
            return found.map(|j| (j, out[j].into()));
        }
        split_slowly(values, digit, origin, out)
    }
}

/// Digits of weight `2^bits` of values and an origin below `2^62` in absolute value. Returns whether all are in the range.
struct Shift<'a> {
    values: &'a mut [i64],
    bits: u32,
    origin: i64,
    range: (i64, i64),
    out: &'a mut [i64],
}

impl WithSimd for Shift<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Shift { values, bits, origin, range: (lo, hi), out } = self;
        let mask = (1i64 << bits) - 1;
        let mut outside = false;
        for (value, out) in values.iter_mut().zip(out) {
            let shifted = *value - origin;
            let q = shifted >> bits;
            *out = q;
            *value = (shifted & mask) + origin;
            outside |= (q < lo) | (q > hi);
        }
        !outside
    }
}

impl Split for i128 {
    fn split(self, weight: i128, origin: i128) -> Option<(i64, i128)> {
        let shifted = self.checked_sub(origin)?;
        let rest = shifted.rem_euclid(weight);
        let digit = i64::try_from((shifted - rest) / weight).ok()?;
        Some((digit, rest.checked_add(origin)?))
    }
    fn is_zero(self) -> bool {
        self == 0
    }
    fn wide(self) -> i128 {
        self
    }
}

/// Where the rest of a division by `digits[0]` begins: 0 (floor division) if the later digits can express `0..|weight|`, otherwise the
/// smallest value that they express.
fn origin(digits: &[Digit]) -> i128 {
    let span = |d: &Digit| {
        let ends = [d.weight.saturating_mul(d.lo as i128), d.weight.saturating_mul(d.hi as i128)];
        (ends[0].min(ends[1]), ends[0].max(ends[1]))
    };
    let (lo, hi) = digits[1..].iter().map(span).fold((0i128, 0i128), |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
    let weight = digits[0].weight.saturating_abs();
    if digits.len() == 1 || (lo <= 0 && hi >= weight - 1) { 0 } else { lo }
}

fn split_all<T: Split>(memory: &mut Memory, node: &str, shape: &[usize], mut values: Vec<T>, digits: &[Digit]) -> Result<(), ExecuteError> {
    let views: Vec<&View> = digits.iter().map(|d| &d.view).collect();
    let failed = match memory.in_place(&views) {
        Some(mut outs) => split_into(&mut values, digits, &mut outs),
        None => {
            let mut outs = vec![vec![0i64; values.len()]; digits.len()];
            let failed = split_into(&mut values, digits, &mut outs.iter_mut().map(|o| &mut o[..]).collect::<Vec<_>>());
            digits.iter().zip(outs).for_each(|(d, out)| memory.write(&d.view, &out));
            failed
        }
    };
    match failed {
        None => Ok(()),
        Some(Failure { digit: Some(d), at, value }) => Err(ExecuteError::OutOfRange {
            node: node.to_string(),
            value,
            index: index_of(at, shape),
            lo: digits[d].lo as i128,
            hi: digits[d].hi as i128,
            what: match digits.len() {
                1 => String::new(),
                n => format!(" (digit {} of {n})", d + 1),
            },
        }),
        Some(Failure { digit: None, at, value }) => {
            Err(ExecuteError::Remainder { node: node.to_string(), index: index_of(at, shape), rest: value })
        }
    }
}

/// The first digit that is out of range, or what is left of a value after all digits.
struct Failure {
    digit: Option<usize>,
    at: usize,
    value: i128,
}

/// Writes digit `d` of all values to `outs[d]`.
fn split_into<T: Split>(values: &mut [T], digits: &[Digit], outs: &mut [&mut [i64]]) -> Option<Failure> {
    let origins: Vec<i128> = (0..digits.len()).map(|d| origin(&digits[d..])).collect();
    let mut parts: Vec<Vec<&mut [i64]>> = Vec::new();
    parts.resize_with(values.len().div_ceil(CHUNK), Vec::new);
    for out in outs {
        parts.iter_mut().zip(out.chunks_mut(CHUNK)).for_each(|(part, out)| part.push(out));
    }
    let task = |(chunk, (values, outs)): (usize, (&mut [T], Vec<&mut [i64]>))| {
        for (d, (out, origin)) in outs.into_iter().zip(&origins).enumerate() {
            if let Some((j, value)) = T::split_each(values, &digits[d], *origin, out) {
                return Some(Failure { digit: Some(d), at: chunk * CHUNK + j, value });
            }
        }
        let left = values.iter().position(|v| !v.is_zero())?;
        Some(Failure { digit: None, at: chunk * CHUNK + left, value: values[left].wide() })
    };
    // The first digit that fails anywhere, and the first place where it does.
    let key = |f: &Failure| (f.digit.unwrap_or(usize::MAX), f.at);
    values.par_chunks_mut(CHUNK).zip(parts).enumerate().filter_map(task).min_by_key(key)
}

/// Decomposes the values and writes the digits.
pub(crate) fn write_digits(memory: &mut Memory, node: &str, shape: &[usize], values: Values, digits: &[Digit]) -> Result<(), ExecuteError> {
    match values {
        Values::Narrow(values) => split_all(memory, node, shape, values, digits),
        Values::Wide(values) => split_all(memory, node, shape, values, digits),
    }
}
