//! Splits values into digits.

use super::einsum::Values;
use super::memory::Memory;
use super::{ExecuteError, index_of};
use crate::step::Digit;
use rayon::prelude::*;

/// Values per parallel task.
const CHUNK: usize = 1 << 14;

/// `value − rest = weight · digit` with `rest` in `origin .. origin + |weight|`.
trait Split: Copy + Send + Sync {
    /// The digit, and what remains of the value; `None` if the digit does not fit 64 bits.
    fn split(self, weight: i128, origin: i128) -> Option<(i64, Self)>;
    fn is_zero(self) -> bool;
    fn wide(self) -> i128;
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
    let mut out = vec![0i64; values.len()];
    for (d, digit) in digits.iter().enumerate() {
        let start = origin(&digits[d..]);
        let bad = values
            .par_chunks_mut(CHUNK)
            .zip(out.par_chunks_mut(CHUNK))
            .enumerate()
            .filter_map(|(chunk, (values, out))| {
                for (j, (value, out)) in values.iter_mut().zip(out).enumerate() {
                    match value.split(digit.weight, start) {
                        Some((q, rest)) if digit.lo <= q && q <= digit.hi => {
                            *out = q;
                            *value = rest;
                        }
                        other => {
                            let q = other.map_or(value.wide() / digit.weight, |o| o.0 as i128);
                            return Some((chunk * CHUNK + j, q));
                        }
                    }
                }
                None
            })
            .min();
        if let Some((at, value)) = bad {
            return Err(ExecuteError::OutOfRange {
                node: node.to_string(),
                value,
                index: index_of(at, shape),
                lo: digit.lo as i128,
                hi: digit.hi as i128,
                what: match digits.len() {
                    1 => String::new(),
                    n => format!(" (digit {} of {n})", d + 1),
                },
            });
        }
        memory.write(&digit.view, &out);
    }
    match values.iter().position(|v| !v.is_zero()) {
        None => Ok(()),
        Some(at) => Err(ExecuteError::Remainder { node: node.to_string(), index: index_of(at, shape), rest: values[at].wide() }),
    }
}

/// Decomposes the values and writes the digits.
pub(crate) fn write_digits(memory: &mut Memory, node: &str, shape: &[usize], values: Values, digits: &[Digit]) -> Result<(), ExecuteError> {
    match values {
        Values::Narrow(values) => split_all(memory, node, shape, values, digits),
        Values::Wide(values) => split_all(memory, node, shape, values, digits),
    }
}
