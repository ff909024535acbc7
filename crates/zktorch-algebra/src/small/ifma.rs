//! Integer × scalar sums with AVX-512 IFMA.
//!
//! An instruction adds the product of two integers to a 64-bit lane as long as the product has at most 52 bits. So cells of
//! `b` bits meet scalars that are cut into digits of `52 - b` bits:
//!
//! | cells | digits of the Montgomery limbs |
//! | --- | --- |
//! | `[-2^7, 2^7)` | 6 of 44 bits |
//! | `[-2^19, 2^19)` | 8 of 32 bits |
//! | `[-2^29, 2^29)` | 12 of 22 bits |
//!
//! and 2^12 products fit a lane. Longer cells are cut into pieces. As the instructions know no signs, cells are raised by
//! `2^(b-1)`, and the sum of the weights is taken off at the end.

use super::cell::{Cell, bit_length};
use crate::field::reduce_montgomery;
use crate::ifma::{Ifma, U64x8, kernels, prefetch, words};
use crate::{Fr, fr_from_i64, limbs};

type Packed = crate::ifma::Packed<ark_bn254::FrConfig>;

/// Products of 52 bits that fit a lane.
const BUDGET: usize = 1 << 12;
/// Rows that one call of [`Columns::add`] may bring.
pub(super) const ROWS: usize = 32;
/// Cells in a vector.
pub(super) const LANES: usize = 8;
/// Bits of the pieces of long cells.
const PIECE: u32 = 19;

/// Rows that [`few`] takes.
pub(super) const FEW: usize = 12;
/// Bits of the cells that [`few`] takes.
const FEW_BITS: u32 = 50;
/// Columns that [`few`] widens at a time, in the first-level cache; a multiple of the lanes.
const FEW_COLUMNS: usize = 64;

/// A row, in vectors, with its weight `W`.
struct Weighted<'r, C, W> {
    row: &'r [[C; LANES]],
    /// The row that is read in its place next time.
    next: &'r [[C; LANES]],
    weight: W,
}

/// Eight columns' sums, digit by digit.
type Group<const D: usize> = [[u64; LANES]; D];

/// Bits of a digit, of `D`.
const fn digit_bits(digits: usize) -> usize {
    match digits {
        6 => 44,
        8 => 32,
        _ => 22,
    }
}

/// What cells are raised by when scalars have `D` digits.
const fn bias(digits: usize) -> i64 {
    1 << (51 - digit_bits(digits))
}

/// The digits of the Montgomery limbs.
#[inline(always)]
fn digits<const D: usize>(x: &Fr) -> [u64; D] {
    let (limbs, bits) = (x.0.0, const { digit_bits(D) });
    std::array::from_fn(|k| {
        let (word, shift) = (k * bits / 64, k * bits % 64);
        let mut v = limbs.get(word).map_or(0, |w| w >> shift);
        if shift + bits > 64 {
            v |= limbs.get(word + 1).map_or(0, |w| w << (64 - shift));
        }
        v & ((1 << bits) - 1)
    })
}

/// The scalar whose Montgomery limbs are congruent to `Σ_k sums[k]·2^(bits·k)`.
fn from_digit_sums<const D: usize>(sums: [u64; D]) -> Fr {
    let mut words = [0u128; 5];
    for (k, sum) in sums.into_iter().enumerate() {
        let (word, shift) = (k * digit_bits(D) / 64, k * digit_bits(D) % 64);
        let wide = u128::from(sum) << shift;
        words[word] += u128::from(wide as u64);
        words[word + 1] += wide >> 64;
    }
    let mut carry = 0;
    let words = words.map(|w| {
        let t = w + carry;
        carry = t >> 64;
        t as u64
    });
    reduce_montgomery(words)
}

/// Combinations of rows whose cells fit the table's row for `D` digits.
struct Sums<const D: usize> {
    groups: Vec<Group<D>>,
    /// Rows in the lanes.
    rows: usize,
    /// Sum of the weights of all rows.
    weights: Fr,
}

impl<const D: usize> Sums<D> {
    const fn new() -> Self {
        Self { groups: Vec::new(), rows: 0, weights: Fr::new_unchecked(ark_ff::BigInt([0; 4])) }
    }

    /// Adds rows of `width` groups.
    fn add<C: Cell>(&mut self, ifma: Ifma, width: usize, rows: &[Weighted<'_, C, Fr>], out: &mut [Fr]) {
        if rows.is_empty() {
            return;
        }
        self.groups.resize(width, [[0; LANES]; D]);
        if self.rows + rows.len() > BUDGET {
            self.flush(out);
        }
        self.rows += rows.len();
        let mut cut = Vec::with_capacity(rows.len());
        for &Weighted { row, next, weight } in rows {
            self.weights = limbs::add(&self.weights, &weight);
            cut.push(Weighted { row, next, weight: digits::<D>(&weight) });
        }
        // SAFETY: the token says that the processor has the instructions.
        #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
        unsafe {
            match D {
                6 => columns::<C, D, 4>(ifma, &mut self.groups, &cut),
                8 => columns::<C, D, 3>(ifma, &mut self.groups, &cut),
                _ => columns::<C, D, 2>(ifma, &mut self.groups, &cut),
            }
        }
    }

    /// Moves the lanes' content out of them.
    fn flush(&mut self, out: &mut [Fr]) {
        for (group, out) in self.groups.iter_mut().zip(out.chunks_mut(LANES)) {
            for (lane, out) in out.iter_mut().enumerate() {
                *out = limbs::add(out, &from_digit_sums::<D>(std::array::from_fn(|k| group[k][lane])));
            }
            *group = [[0; LANES]; D];
        }
        self.rows = 0;
    }

    fn finish(&mut self, out: &mut [Fr]) {
        if self.groups.is_empty() {
            return;
        }
        self.flush(out);
        let bias = self.weights * fr_from_i64(bias(D));
        for out in out {
            *out = limbs::sub(out, &bias);
        }
    }
}

/// Combinations of rows, `[Σ_i weight_i·row_i[j]]_j`, built up row block by row block.
pub(super) struct Columns<'a> {
    ifma: Ifma,
    out: &'a mut [Fr],
    short: Sums<6>,
    middle: Sums<8>,
    long: Sums<12>,
}

impl<'a> Columns<'a> {
    /// Combinations that [`finish`](Self::finish) writes to `out`.
    pub(super) fn new(ifma: Ifma, out: &'a mut [Fr]) -> Self {
        out.fill(Fr::default());
        Self { ifma, out, short: Sums::new(), middle: Sums::new(), long: Sums::new() }
    }

    /// Adds `Σ_i weights[i]·rows[i]`, at most [`ROWS`] of them. Rows may be shorter or longer than the combination. `next` are the rows that the next call will bring: those of a
    /// large matrix lie far apart, and are asked for while these are added.
    pub(super) fn add<C: Cell>(&mut self, rows: &[&[C]], next: &[&[C]], weights: &[Fr]) {
        let (ifma, len) = (self.ifma, self.out.len());
        let width = len.div_ceil(LANES);
        // Rows that need padding or cutting are copied, in three sorts as well.
        let mut copies: Vec<C> = Vec::new();
        let mut copied: Vec<(usize, Fr)> = Vec::new();
        let mut sorts: [Vec<Weighted<'_, C, Fr>>; 3] = Default::default();
        for (i, (row, weight)) in rows.iter().zip(weights).enumerate() {
            let row = row.get(..len).unwrap_or(row);
            if row.is_empty() {
                continue;
            }
            // SAFETY: the token says that the processor has the instructions.
            #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
            let bits = unsafe { bits(ifma, row) };
            let sort = match bits {
                0..=7 => 0,
                8..=19 => 1,
                20..=29 => 2,
                _ => {
                    let pieces = bits.div_ceil(PIECE);
                    for k in 0..pieces {
                        let mask = if k + 1 < pieces { (1 << PIECE) - 1 } else { -1 };
                        copies.extend(row.iter().map(|v| C::truncate((*v).into() >> (k * PIECE) & mask)));
                        copied.push((1, *weight * fr_from_i64(1 << (k * PIECE))));
                        copies.resize(copied.len() * width * LANES, C::ZERO);
                    }
                    continue;
                }
            };
            if row.len() == width * LANES {
                let next = next.get(i).map_or(&[][..], |row| row.as_chunks().0);
                sorts[sort].push(Weighted { row: row.as_chunks().0, next, weight: *weight });
            } else {
                copies.extend_from_slice(row);
                copied.push((sort, *weight));
                copies.resize(copied.len() * width * LANES, C::ZERO);
            }
        }
        for (row, (sort, weight)) in copies.chunks_exact((width * LANES).max(1)).zip(copied) {
            sorts[sort].push(Weighted { row: row.as_chunks().0, next: &[], weight });
        }
        self.short.add(ifma, width, &sorts[0], self.out);
        self.middle.add(ifma, width, &sorts[1], self.out);
        self.long.add(ifma, width, &sorts[2], self.out);
    }

    /// Writes the combination.
    pub(super) fn finish(mut self) {
        self.short.finish(self.out);
        self.middle.finish(self.out);
        self.long.finish(self.out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn bits<C: Cell>(_: Ifma, values: &[C]) -> u32 {
    bit_length(values)
}

/// Adds `(row + bias)·weight` for every row to the digit sums of the columns, `S` groups of columns at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn columns<C: Cell, const D: usize, const S: usize>(ifma: Ifma, sums: &mut [Group<D>], rows: &[Weighted<'_, C, [u64; D]>]) {
    let (strips, rest) = sums.as_chunks_mut::<S>();
    for (s, sums) in strips.iter_mut().enumerate() {
        strip::<C, D, S>(ifma, sums, rows, s * S);
    }
    let first = strips.len() * S;
    for (g, sums) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
        strip::<C, D, 1>(ifma, sums, rows, first + g);
    }
}

#[inline(always)]
fn strip<C: Cell, const D: usize, const S: usize>(ifma: Ifma, sums: &mut [Group<D>; S], rows: &[Weighted<'_, C, [u64; D]>], first: usize) {
    let bias = U64x8::splat(ifma, const { bias(D) } as u64);
    let mut lanes = [[U64x8::zero(ifma); D]; S];
    for (lanes, sums) in lanes.iter_mut().zip(sums.iter()) {
        for (lane, sum) in lanes.iter_mut().zip(sums) {
            *lane = U64x8::load(ifma, sum);
        }
    }
    for Weighted { row, next, weight } in rows {
        let Some(row) = row.get(first..first + S) else { continue };
        // A line of the cache has 64 bytes: what several vectors share is asked for once.
        for vector in next.get(first..first + S).unwrap_or_default().iter().step_by((64 / size_of::<[C; LANES]>()).min(S)) {
            prefetch(vector);
        }
        let mut cells = [bias; S];
        for (cells, row) in cells.iter_mut().zip(row) {
            *cells = cells.add(U64x8::widen(ifma, row));
        }
        for (d, digit) in weight.iter().enumerate() {
            let digit = U64x8::splat(ifma, *digit);
            for (lanes, cells) in lanes.iter_mut().zip(cells) {
                lanes[d] = lanes[d].madd_lo(cells, digit);
            }
        }
    }
    for (lanes, sums) in lanes.into_iter().zip(sums) {
        for (lane, sum) in lanes.into_iter().zip(sums) {
            lane.store(sum);
        }
    }
}

/// `out[j] = Σ_i weights[i]·rows[i][j]` for at most [`FEW`] rows, padded with zeros: each column is reduced once, eight at a time. Returns whether
/// the cells are short enough.
pub(super) fn few<C: Cell>(ifma: Ifma, rows: &[&[C]], weights: &[Fr], out: &mut [Fr]) -> bool {
    let part = |row: &'_ [C], from: usize, to: usize| (from.min(row.len()), to.min(row.len()));
    // SAFETY: the token says that the processor has the instructions.
    #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
    let long = |row: &&[C]| unsafe { bits(ifma, &row[..out.len().min(row.len())]) > FEW_BITS };
    if rows.iter().any(long) {
        return false;
    }
    let shift = fr_from_i64(1 << 52);
    let constants: Vec<Fr> = weights.iter().map(|w| *w * shift).collect();
    // What raised cells add to each sum.
    let excess = weights.iter().fold(Fr::default(), |sum, w| limbs::add(&sum, w)) * fr_from_i64(1 << FEW_BITS);
    let len = out.len();
    for (c, out) in out.chunks_mut(FEW_COLUMNS).enumerate() {
        let mut cells = [[0i64; FEW_COLUMNS]; FEW];
        for (wide, row) in cells.iter_mut().zip(rows) {
            let (from, to) = part(row, c * FEW_COLUMNS, len.min((c + 1) * FEW_COLUMNS));
            wide.iter_mut().zip(&row[from..to]).for_each(|(w, v)| *w = (*v).into());
        }
        let mut sums = [Fr::default(); FEW_COLUMNS];
        few_columns(ifma, &cells[..rows.len()], &constants, &excess, &mut sums);
        out.copy_from_slice(&sums[..out.len()]);
    }
    true
}

kernels! {
    /// Combinations of cells that are to be raised, times `2^52`; `excess` is taken off.
    fn few_columns(ifma, cells: &[[i64; FEW_COLUMNS]], constants: &[Fr], excess: &Fr, out: &mut [Fr; FEW_COLUMNS]) {
        let mut packed = [Packed::zero(ifma); FEW];
        for (packed, constant) in packed.iter_mut().zip(constants) {
            *packed = Packed::splat(ifma, constant);
        }
        let excess = Packed::splat(ifma, excess);
        let raise = U64x8::splat(ifma, 1 << FEW_BITS);
        for (g, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let terms = cells.iter().zip(packed).map(|(row, constant)| (U64x8::widen(ifma, &row.as_chunks::<LANES>().0[g]).add(raise), constant));
            Packed::of_integers(ifma, terms).sub::<1>(ifma, excess).canonical(ifma).store(ifma, out);
        }
    }
}

/// `Σ values_k[i]·weights[i]` for several vectors as long as the weights.
pub(super) fn dot_each<C: Cell, const N: usize>(ifma: Ifma, values: [&[C]; N], weights: &[Fr]) -> [Fr; N] {
    let mut sums = [Fr::default(); N];
    for (i, weights) in weights.chunks(BUDGET / 4).enumerate() {
        let block = values.map(|v| &v[i * (BUDGET / 4)..][..weights.len()]);
        // SAFETY: the token says that the processor has the instructions.
        #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
        let parts = unsafe { dot_each_block(ifma, block, weights) };
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = limbs::add(sum, &part);
        }
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn dot_each_block<C: Cell, const N: usize>(ifma: Ifma, values: [&[C]; N], weights: &[Fr]) -> [Fr; N] {
    if values.iter().any(|v| bit_length(v) > PIECE) {
        return values.map(|values| dot_block(ifma, values, weights));
    }
    dot_pieces(ifma, values, weights, 0, true)
}

/// `Σ values[i]·weights[i]` of two slices of one length.
pub(super) fn dot<C: Cell>(ifma: Ifma, values: &[C], weights: &[Fr]) -> Fr {
    let mut sum = Fr::default();
    for (values, weights) in values.chunks(BUDGET / 4).zip(weights.chunks(BUDGET / 4)) {
        // SAFETY: the token says that the processor has the instructions.
        #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
        let block = unsafe { dot_block(ifma, values, weights) };
        sum = limbs::add(&sum, &block);
    }
    sum
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn dot_block<C: Cell>(ifma: Ifma, values: &[C], weights: &[Fr]) -> Fr {
    let bits = bit_length(values);
    let pieces = bits.div_ceil(PIECE).max(1);
    let [mut sum] = dot_pieces(ifma, [values], weights, 0, pieces == 1);
    for k in 1..pieces {
        let [piece] = dot_pieces(ifma, [values], weights, k, k + 1 == pieces);
        sum = limbs::add(&sum, &(piece * fr_from_i64(1 << (k * PIECE))));
    }
    sum
}

/// The sums over piece `k` of the values: their bits from `19k` on, 19 of them if it is not the last piece. At most `2^10` terms of each of the
/// vectors, which are as long as the weights.
#[inline(always)]
fn dot_pieces<C: Cell, const N: usize>(ifma: Ifma, values: [&[C]; N], weights: &[Fr], k: u32, last: bool) -> [Fr; N] {
    const RAISE: u64 = 1 << PIECE;
    let half = U64x8::splat(ifma, u64::from(u32::MAX));
    let pick: [U64x8; 4] = std::array::from_fn(|i| U64x8::new(ifma, std::array::from_fn(|l| (2 * i + l / 4) as u64)));
    let mask = if last { -1 } else { (1 << PIECE) - 1 };
    let cut = |v: C| (((v.into() >> (k * PIECE)) & mask) as u64).wrapping_add(RAISE);
    let zero = U64x8::zero(ifma);
    let (mut low, mut high) = ([[zero; 2]; N], [[zero; 2]; N]);
    let (mut plain_low, mut plain_high) = ([zero; 2], [zero; 2]);
    let whole = weights.len() / LANES;
    let groups: [&[[C; LANES]]; N] = values.map(|v| &v.as_chunks::<LANES>().0[..whole]);
    for (g, w) in weights.as_chunks::<LANES>().0.iter().enumerate() {
        let mut cells = [zero; N];
        for (cells, group) in cells.iter_mut().zip(groups) {
            *cells = U64x8::new(ifma, group[g].map(cut));
        }
        for (i, two) in w.as_chunks::<2>().0.iter().enumerate() {
            let w = U64x8::load(ifma, words(two));
            let (w_low, w_high) = (w.and(half), w.shr::<32>());
            for ((low, high), cells) in low.iter_mut().zip(&mut high).zip(cells) {
                let v = cells.pick(pick[i], cells);
                low[i % 2] = low[i % 2].madd_lo(v, w_low);
                high[i % 2] = high[i % 2].madd_lo(v, w_high);
            }
            plain_low[i % 2] = plain_low[i % 2].add(w_low);
            plain_high[i % 2] = plain_high[i % 2].add(w_high);
        }
    }
    let total = |a: [U64x8; 2]| {
        let a = a[0].add(a[1]).to_array();
        [a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]]
    };
    let scalar =
        |low: [u64; 4], high: [u64; 4]| from_digit_sums::<8>(std::array::from_fn(|d| if d % 2 == 0 { low[d / 2] } else { high[d / 2] }));
    let (mut plain_low, mut plain_high) = (total(plain_low), total(plain_high));
    let rest = &weights[whole * LANES..];
    for w in rest {
        for (j, word) in w.0.0.iter().enumerate() {
            plain_low[j] += word & u64::from(u32::MAX);
            plain_high[j] += word >> 32;
        }
    }
    for plain in plain_low.iter_mut().chain(&mut plain_high) {
        *plain *= RAISE;
    }
    let excess = scalar(plain_low, plain_high);
    let mut sums = [Fr::default(); N];
    for (n, sum) in sums.iter_mut().enumerate() {
        let (mut low, mut high) = (total(low[n]), total(high[n]));
        for (v, w) in values[n][whole * LANES..].iter().zip(rest) {
            let v = cut(*v);
            for (j, word) in w.0.0.iter().enumerate() {
                low[j] += v * (word & u64::from(u32::MAX));
                high[j] += v * (word >> 32);
            }
        }
        *sum = limbs::sub(&scalar(low, high), &excess);
    }
    sums
}
