//! The bucket method: signed digits, window widths chosen from the sizes of the scalars, one list per bucket.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInteger, PrimeField, Zero};

use super::affine::{NEGATE, sum_lists};
use crate::{Fr, G1Affine, G1Projective, par};

/// Widest window: its digits fit 16 bits.
const MAX_WIDTH: usize = 16;
/// Entries sorted at a time, which bounds the memory: 4 bytes each.
const GROUP: usize = 1 << 22;

/// Bits `start .. start + width` of the scalars. All windows but the last have digits in `[-2^(width-1), 2^(width-1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    start: usize,
    width: usize,
    /// The last window takes what is left, as a signed number.
    last: bool,
}

/// Digits of the scalars of several sums over the same bases.
pub(super) trait Digits: Sync {
    /// Number of sums.
    fn rows(&self) -> usize;
    /// Number of scalars in a sum.
    fn len(&self, row: usize) -> usize;
    /// One digit, at most `2^(width-1)` in magnitude.
    fn digit(&self, row: usize, index: usize, window: Window) -> i32;
}

/// Window widths of least cost, for sums whose scalars have the given bit lengths.
///
/// `lengths[b]` counts the scalars of `b` bits (magnitude, without sign). A window at bit `p` only sees those longer than
/// `p`, so a few long scalars among many short ones get narrow windows of their own. Unit of cost: one affine addition;
/// adding up a bucket costs two, and the last step about four per row and column of the square of buckets.
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
            let cost = visible[p] + 2.0 * buckets + 8.0 * buckets.sqrt() + best[p + width].0;
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

/// Rows of signed 64-bit integers.
pub(super) struct SmallDigits<'a> {
    cells: &'a [i64],
    row_len: usize,
    bias: i128,
}

impl<'a> SmallDigits<'a> {
    /// The digits, and the windows they are for.
    pub(super) fn new(cells: &'a [i64], row_len: usize) -> (Self, Vec<Window>) {
        let mut lengths = [0; 65];
        for c in cells {
            lengths[(u64::BITS - c.unsigned_abs().leading_zeros()) as usize] += 1;
        }
        lengths[0] = 0;
        let windows = plan(&lengths, cells.len().div_ceil(row_len));
        let [low, high, ..] = bias(&windows);
        // All windows but the last lie below bit 65, so this is a small positive number.
        let bias = (u128::from(low) | u128::from(high) << 64) as i128;
        (Self { cells, row_len, bias }, windows)
    }
}

impl Digits for SmallDigits<'_> {
    fn rows(&self) -> usize {
        self.cells.len().div_ceil(self.row_len)
    }

    fn len(&self, row: usize) -> usize {
        self.row_len.min(self.cells.len() - row * self.row_len)
    }

    #[inline]
    fn digit(&self, row: usize, index: usize, w: Window) -> i32 {
        let shifted = (i128::from(self.cells[row * self.row_len + index]) + self.bias) >> w.start;
        if w.last { shifted as i32 } else { (shifted as i32 & ((1 << w.width) - 1)) - (1 << (w.width - 1)) }
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

    #[inline]
    fn digit(&self, _row: usize, index: usize, w: Window) -> i32 {
        let words = &self.words[index];
        let (word, shift) = (w.start / 64, w.start % 64);
        let mut v = words[word] >> shift;
        if shift > 0 {
            // Beyond the top word the sign repeats.
            let above = words.get(word + 1).copied().unwrap_or(((words[3] as i64) >> 63) as u64);
            v |= above << (64 - shift);
        }
        if w.last { v as i32 } else { (v as i32 & ((1 << w.width) - 1)) - (1 << (w.width - 1)) }
    }
}

/// The sums `Σ_i scalar(row, i)·bases[i]`, one per row.
pub(super) fn sums<D: Digits>(bases: &[G1Affine], digits: &D, windows: &[Window]) -> Vec<G1Projective> {
    if windows.is_empty() {
        return vec![G1Projective::zero(); digits.rows()];
    }
    let mut tasks = (0..digits.rows()).flat_map(|r| windows.iter().map(move |w| (r, *w))).peekable();
    let mut values = Vec::with_capacity(digits.rows() * windows.len());
    while tasks.peek().is_some() {
        let mut group = Vec::new();
        let mut entries = 0;
        while let Some((row, window)) = tasks.next_if(|(row, _)| group.is_empty() || entries + digits.len(*row) <= GROUP) {
            entries += digits.len(row);
            group.push((row, window));
        }
        values.extend(window_sums(bases, digits, &group));
    }
    par::map(digits.rows(), |row| {
        let mut values = values[row * windows.len()..(row + 1) * windows.len()].iter().zip(windows).rev();
        let mut sum = values.next().map_or(G1Projective::zero(), |(v, _)| *v);
        for (v, w) in values {
            for _ in 0..w.width {
                sum.double_in_place();
            }
            sum += v;
        }
        sum
    })
}

/// `Σ_i digit(i)·bases[i]` for each row and window of a group.
fn window_sums<D: Digits>(bases: &[G1Affine], digits: &D, group: &[(usize, Window)]) -> Vec<G1Projective> {
    let sorted = par::map(group.len(), |t| sort(digits, group[t].0, group[t].1));
    let entries = sorted.iter().map(|(e, _)| e.as_slice()).collect::<Vec<_>>().concat();
    let lengths = sorted.iter().map(|(_, l)| l.as_slice()).collect::<Vec<_>>().concat();
    let buckets = sum_lists(bases, &entries, &lengths);

    // Bucket h·columns + l holds the points of digit h·columns + l + 1. With row sums R_h and column sums C_l the window is
    // columns·Σ h·R_h + Σ (l+1)·C_l.
    let mut entries = Vec::with_capacity(2 * buckets.len());
    let mut lengths = Vec::new();
    let mut first = 0;
    let shapes: Vec<(usize, usize, u32)> = sorted
        .iter()
        .map(|(_, counts)| {
            let n = counts.len();
            let shift = (usize::BITS - n.leading_zeros()) / 2;
            let columns = 1usize << shift;
            let rows = n.div_ceil(columns);
            for h in 1..rows {
                let row = h * columns..n.min((h + 1) * columns);
                lengths.push(row.len() as u32);
                entries.extend(row.map(|i| (first + i) as u32));
            }
            for l in 0..columns {
                let column = (l..n).step_by(columns);
                lengths.push(column.len() as u32);
                entries.extend(column.map(|i| (first + i) as u32));
            }
            first += n;
            (rows.saturating_sub(1), columns, shift)
        })
        .collect();
    let parts = sum_lists(&buckets, &entries, &lengths);
    let mut starts = Vec::with_capacity(shapes.len());
    let mut start = 0;
    for (rows, columns, _) in &shapes {
        starts.push(start);
        start += rows + columns;
    }
    par::map(shapes.len(), |t| {
        let (rows, columns, shift) = shapes[t];
        let parts = &parts[starts[t]..starts[t] + rows + columns];
        let mut sum = weighted(&parts[..rows]);
        for _ in 0..shift {
            sum.double_in_place();
        }
        sum + weighted(&parts[rows..])
    })
}

/// `Σ_i (i+1)·points[i]`.
fn weighted(points: &[G1Affine]) -> G1Projective {
    let mut running = G1Projective::zero();
    let mut sum = G1Projective::zero();
    for p in points.iter().rev() {
        if !p.is_zero() {
            running += p;
        }
        sum += running;
    }
    sum
}

/// Entries by bucket, and the length of each bucket; bucket `d - 1` holds the digits `±d`. Only as many buckets as the
/// largest digit.
fn sort<D: Digits>(digits: &D, row: usize, window: Window) -> (Vec<u32>, Vec<u32>) {
    let n = digits.len(row);
    let mut lengths = vec![0u32; (1 << (window.width - 1)) + 1];
    for i in 0..n {
        lengths[digits.digit(row, i, window).unsigned_abs() as usize] += 1;
    }
    let mut next = Vec::with_capacity(lengths.len());
    let mut total = 0;
    lengths[0] = 0;
    for l in &lengths {
        next.push(total);
        total += l;
    }
    let mut entries = vec![0; total as usize];
    for i in 0..n {
        let d = digits.digit(row, i, window);
        if d != 0 {
            let slot = &mut next[d.unsigned_abs() as usize];
            entries[*slot as usize] = i as u32 | if d < 0 { NEGATE } else { 0 };
            *slot += 1;
        }
    }
    let used = lengths.iter().rposition(|l| *l > 0).unwrap_or(0);
    lengths.truncate(used + 1);
    lengths.remove(0);
    (entries, lengths)
}
