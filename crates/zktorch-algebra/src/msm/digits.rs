//! Signed digits of scalars, in windows whose widths are chosen from the sizes of the scalars.

use std::ops::Range;

use ark_ff::{BigInteger, PrimeField};

use crate::{Fr, par, small::Cell};

/// Widest window: its digits fit 16 bits.
const MAX_WIDTH: usize = 16;

/// Bits `start .. start + width` of the scalars. All windows but the last have digits in `[-2^(width-1), 2^(width-1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: usize,
    pub(super) width: usize,
    /// The last window takes what is left, as a signed number.
    pub(super) last: bool,
}

impl Window {
    /// The digit, from the scalar with its bias shifted right by `start`.
    #[inline(always)]
    fn digit(self, shifted: i32) -> i32 {
        if self.last { shifted } else { (shifted & ((1 << self.width) - 1)) - (1 << (self.width - 1)) }
    }
}

/// Digits of the scalars of several sums over the same bases.
pub(super) trait Digits: Sync {
    /// Number of sums.
    fn rows(&self) -> usize;
    /// Number of scalars in a sum.
    fn len(&self, row: usize) -> usize;
    /// Whether a row may have a digit that is not zero in a window.
    fn reaches(&self, row: usize, window: Window) -> bool;
    /// The digits of consecutive scalars of a row, at most `2^(width-1)` in magnitude.
    fn digits(&self, row: usize, range: Range<usize>, window: Window) -> Vec<i32>;
}

/// Window widths of least cost, for sums whose scalars have the given bit lengths.
///
/// `lengths[b]` counts the scalars of `b` bits (magnitude, without sign). A window at bit `p` only sees those longer than
/// `p`, so a few long scalars among many short ones get narrow windows of their own. Unit of cost: one affine addition;
/// adding up a bucket costs three (in its row, in its column, and as a list of its own), and each row and column is part of half of the bits' sums.
pub(super) fn plan(lengths: &[usize], rows: usize) -> Vec<Window> {
    let Some(longest) = lengths.iter().rposition(|c| *c > 0) else {
        return Vec::new();
    };
    // One bit for the sign.
    let bits = longest + 1;
    let mut visible = vec![0.0; bits];
    let mut longer = 0;
    for p in (0..bits).rev() {
        longer += lengths.get(p + 1).copied().unwrap_or(0);
        // Half of the scalars of exactly p bits round up into the window above them.
        let rounded = if p > 0 { lengths[p] as f64 / 2.0 } else { 0.0 };
        visible[p] = (longer as f64 + rounded) / rows.max(1) as f64;
    }
    let mut best = vec![(f64::INFINITY, 0); bits + 1];
    best[bits] = (0.0, 0);
    for p in (0..bits).rev() {
        for width in 1..=MAX_WIDTH.min(bits - p) {
            let buckets = f64::powi(2.0, width as i32 - 1);
            let cost = visible[p] + 3.0 * buckets + buckets.sqrt() * width as f64 / 2.0 + best[p + width].0;
            if cost < best[p].0 {
                best[p] = (cost, width);
            }
        }
    }
    let mut windows = Vec::new();
    let mut start = 0;
    while start < bits {
        let width = best[start].1;
        windows.push(Window { start, width, last: start + width == bits });
        start += width;
    }
    windows
}

/// Half of every window but the last: added to a scalar, it turns plain digits into signed ones without carries.
fn bias(windows: &[Window]) -> [u64; 4] {
    let mut bias = [0; 4];
    for w in windows.iter().filter(|w| !w.last) {
        let bit = w.start + w.width - 1;
        bias[bit / 64] |= 1 << (bit % 64);
    }
    bias
}

/// The least and the largest cell, or 0.
fn extremes<T: Cell>(cells: &[T]) -> (i64, i64) {
    cells.iter().fold((0, 0), |(least, largest), c| (least.min((*c).into()), largest.max((*c).into())))
}

/// Number of cells of each bit length.
fn bit_lengths<T: Cell>(cells: &[T]) -> [usize; 65] {
    // Neighbours are often of equal length: with counts of their own, they need not wait for each other.
    let mut counts = [[0; 4]; 65];
    let bits = |c: &T| (u64::BITS - (*c).into().unsigned_abs().leading_zeros()) as usize;
    let (fours, rest) = cells.as_chunks::<4>();
    for four in fours {
        for (i, c) in four.iter().enumerate() {
            counts[bits(c)][i] += 1;
        }
    }
    for c in rest {
        counts[bits(c)][0] += 1;
    }
    counts.map(|c| c.into_iter().sum())
}

/// Rows of signed integers.
pub(super) struct SmallDigits<'a, T> {
    cells: &'a [T],
    row_len: usize,
    bias: i128,
    /// The bias, if it and all cells are below `2^62` in magnitude.
    narrow: Option<i64>,
    /// The least and the largest cell of each row.
    extremes: Vec<(i64, i64)>,
}

impl<'a, T: Cell> SmallDigits<'a, T> {
    /// The digits, and the windows they are for.
    pub(super) fn new(cells: &'a [T], row_len: usize) -> (Self, Vec<Window>) {
        let of_rows = par::map(cells.len().div_ceil(row_len), |i| {
            let row = &cells[i * row_len..cells.len().min((i + 1) * row_len)];
            (bit_lengths(row), extremes(row))
        });
        let extremes = of_rows.iter().map(|(_, e)| *e).collect();
        let mut lengths = [0; 65];
        for (counts, _) in of_rows {
            lengths.iter_mut().zip(counts).for_each(|(l, c)| *l += c);
        }
        lengths[0] = 0;
        let windows = plan(&lengths, cells.len().div_ceil(row_len));
        let [low, high, ..] = bias(&windows);
        // All windows but the last lie below bit 65, so this is a small positive number.
        let bias = (u128::from(low) | u128::from(high) << 64) as i128;
        let narrow = i64::try_from(bias).ok().filter(|b| *b < 1 << 62 && lengths[63..].iter().all(|l| *l == 0));
        (Self { cells, row_len, bias, narrow, extremes }, windows)
    }
}

impl<T: Cell> Digits for SmallDigits<'_, T> {
    fn rows(&self) -> usize {
        self.cells.len().div_ceil(self.row_len)
    }

    fn len(&self, row: usize) -> usize {
        self.row_len.min(self.cells.len() - row * self.row_len)
    }

    fn reaches(&self, row: usize, window: Window) -> bool {
        // What is below the window, with its bias, carries into it or borrows from it.
        let (least, largest) = self.extremes[row];
        let below = self.bias & ((1 << window.start) - 1);
        i128::from(least) + below < 0 || (i128::from(largest) + below) >> window.start > 0
    }

    fn digits(&self, row: usize, range: Range<usize>, w: Window) -> Vec<i32> {
        let cells = &self.cells[row * self.row_len..][range];
        match self.narrow {
            #[cfg(target_arch = "x86_64")]
            Some(bias) if let Some(ifma) = crate::ifma::Ifma::get() => {
                let mut out = vec![0; cells.len()];
                // SAFETY: the token says that the processor has the instructions.
                #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
                unsafe {
                    narrow_digits(ifma, cells, bias, w, &mut out);
                }
                out
            }
            Some(bias) => cells.iter().map(|c| w.digit((((*c).into() + bias) >> w.start) as i32)).collect(),
            None => cells.iter().map(|c| w.digit(((i128::from((*c).into()) + self.bias) >> w.start) as i32)).collect(),
        }
    }
}

/// The digits of cells that do not overflow with the bias: compiled for long vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn narrow_digits<T: Cell>(_: crate::ifma::Ifma, cells: &[T], bias: i64, w: Window, out: &mut [i32]) {
    for (out, c) in out.iter_mut().zip(cells) {
        *out = w.digit(((*c).into().wrapping_add(bias) >> w.start) as i32);
    }
}

/// One sum of full-width scalars, each taken as the integer of least magnitude, in two's complement of 256 bits.
pub(super) struct WideDigits {
    words: Vec<[u64; 4]>,
}

impl WideDigits {
    /// The digits, and the windows they are for.
    pub(super) fn new(scalars: &[Fr]) -> (Self, Vec<Window>) {
        let half = Fr::MODULUS_MINUS_ONE_DIV_TWO;
        let mut words = vec![([0; 4], 0); scalars.len()];
        par::chunks_mut(&mut words, 1 << 11, |offset, words| {
            for (word, s) in words.iter_mut().zip(&scalars[offset..]) {
                let positive = s.into_bigint();
                *word = if positive > half {
                    let magnitude = (-*s).into_bigint();
                    (negate(magnitude.0), magnitude.num_bits())
                } else {
                    (positive.0, positive.num_bits())
                };
            }
        });
        let mut lengths = [0; 255];
        for (_, bits) in &words {
            lengths[*bits as usize] += 1;
        }
        lengths[0] = 0;
        let windows = plan(&lengths, 1);
        let bias = bias(&windows);
        let words = words.into_iter().map(|(word, _)| add(word, bias)).collect();
        (Self { words }, windows)
    }
}

fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut carry = 0u128;
    std::array::from_fn(|i| {
        let s = u128::from(a[i]) + u128::from(b[i]) + carry;
        carry = s >> 64;
        s as u64
    })
}

fn negate(a: [u64; 4]) -> [u64; 4] {
    add(a.map(|w| !w), [1, 0, 0, 0])
}

impl Digits for WideDigits {
    fn rows(&self) -> usize {
        1
    }

    fn len(&self, _row: usize) -> usize {
        self.words.len()
    }

    fn reaches(&self, _row: usize, _window: Window) -> bool {
        true
    }

    fn digits(&self, _row: usize, range: Range<usize>, w: Window) -> Vec<i32> {
        let (word, shift) = (w.start / 64, w.start % 64);
        let digit = |words: &[u64; 4]| {
            let mut v = words[word] >> shift;
            if shift > 0 {
                // Beyond the top word the sign repeats.
                let above = words.get(word + 1).copied().unwrap_or(((words[3] as i64) >> 63) as u64);
                v |= above << (64 - shift);
            }
            w.digit(v as i32)
        };
        self.words[range].iter().map(digit).collect()
    }
}
