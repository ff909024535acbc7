//! Integer × scalar sums on vectors of four 64-bit lanes.
//!
//! The Montgomery limbs of a scalar are cut into nine digits of 29 bits. A cell of at most 28 bits times a digit is one
//! 32×32→64-bit lane product, and the nine sums stay in plain 64-bit lanes until they could overflow.

use super::SmallAccumulator;
use super::cell::{self, Cell};
use crate::{Fr, field::from_montgomery_signed};

/// Digits of a scalar.
const DIGITS: usize = 9;
const DIGIT_BITS: usize = 29;
/// Cells of more bits than this take another way.
const CELL_BITS: u32 = 28;
/// Cells in a vector.
pub(super) const LANES: usize = 4;
/// Sums of `|cell|` up to here keep every lane below `2^62`.
const BUDGET: u64 = 1 << (62 - DIGIT_BITS);

/// Calls a kernel in a copy compiled for AVX2 where the processor has it, else as it is.
macro_rules! dispatch {
    ($body:ident, <$c:ident>($($name:ident: $type:ty),*) -> $result:ty) => {{
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[target_feature(enable = "avx2")]
            fn vectorised<$c: Cell>($($name: $type),*) -> $result {
                $body($($name),*)
            }
            // SAFETY: the processor has AVX2, which is all that the function asks for; it is safe code otherwise.
            #[expect(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
            return unsafe { vectorised($($name),*) };
        }
        $body($($name),*)
    }};
}

/// Nine digit sums of four columns, digit by digit.
type Lanes = [i64; DIGITS * LANES];

/// The digits of the Montgomery limbs of a scalar.
fn digits(x: &Fr) -> [i64; DIGITS] {
    let limbs = x.0.0;
    std::array::from_fn(|k| {
        let (word, shift) = (k * DIGIT_BITS / 64, k * DIGIT_BITS % 64);
        let mut v = limbs.get(word).map_or(0, |w| w >> shift);
        if shift + DIGIT_BITS > 64 {
            v |= limbs.get(word + 1).map_or(0, |w| w << (64 - shift));
        }
        (v & ((1 << DIGIT_BITS) - 1)) as i64
    })
}

/// The scalar whose Montgomery limbs are congruent to `Σ_k sums[k]·2^{29k}`. Sums are below `2^62` in magnitude.
fn from_digit_sums(sums: [i64; DIGITS]) -> Fr {
    let mut limbs = [0u64; 4];
    // What lies above the 256 bits of the limbs.
    let mut high = 0;
    let mut carry = 0;
    for (k, sum) in sums.into_iter().enumerate() {
        let t = sum + carry;
        let digit = (t & ((1 << DIGIT_BITS) - 1)) as u64;
        carry = t >> DIGIT_BITS;
        let (word, shift) = (k * DIGIT_BITS / 64, k * DIGIT_BITS % 64);
        limbs[word] |= digit << shift;
        if shift + DIGIT_BITS > 64 {
            match limbs.get_mut(word + 1) {
                Some(limb) => *limb |= digit >> (64 - shift),
                None => high = (digit >> (64 - shift)) as i64,
            }
        }
    }
    from_montgomery_signed(limbs, high + (carry << (DIGITS * DIGIT_BITS - 256)))
}

/// The scalar whose Montgomery limbs are congruent to `Σ_k sums[k]·2^{64k}`. Sums are below `2^126` in magnitude.
pub(super) fn from_limb_sums(sums: [i128; 4]) -> Fr {
    let mut carry = 0;
    let limbs = sums.map(|sum| {
        let t = sum + carry;
        carry = t >> 64;
        t as u64
    });
    from_montgomery_signed(limbs, carry as i64)
}

fn lane_value(lanes: &Lanes, lane: usize) -> Fr {
    from_digit_sums(std::array::from_fn(|k| lanes[k * LANES + lane]))
}

/// Combinations of rows, `[Σ_i weight_i·row_i[j]]_j`, built up row block by row block.
pub(super) struct Columns {
    sums: Vec<Lanes>,
    /// What the lanes may still take.
    budget: u64,
    /// What has been moved out of the lanes; empty until needed.
    moved: Vec<Fr>,
    /// Rows with cells too long for the lanes; empty until needed.
    long: Vec<SmallAccumulator>,
    len: usize,
}

impl Columns {
    pub(super) fn new(len: usize) -> Self {
        Self { sums: vec![[0; DIGITS * LANES]; len.div_ceil(LANES)], budget: BUDGET, moved: Vec::new(), long: Vec::new(), len }
    }

    /// Adds `Σ_i weights[i]·rows[i]`. Rows may be shorter or longer than the combination.
    pub(super) fn add<C: Cell>(&mut self, rows: &[&[C]], weights: &[Fr]) {
        let mut padding: Vec<C> = Vec::new();
        let mut short: Vec<[i64; DIGITS]> = Vec::new();
        let mut full: Vec<&[[C; LANES]]> = Vec::with_capacity(rows.len());
        let mut full_digits: Vec<[i64; DIGITS]> = Vec::with_capacity(rows.len());
        let width = self.sums.len() * LANES;
        let mut cost = 0;
        for (row, weight) in rows.iter().zip(weights) {
            let row = row.get(..self.len).unwrap_or(row);
            let bits = bit_length(row);
            if bits > CELL_BITS {
                self.long.resize(self.len, SmallAccumulator::new());
                for (sum, v) in self.long.iter_mut().zip(row) {
                    sum.add((*v).into(), weight);
                }
                continue;
            }
            cost += 1 << bits;
            if row.len() == width {
                full.push(row.as_chunks().0);
                full_digits.push(digits(weight));
            } else {
                padding.extend_from_slice(row);
                short.push(digits(weight));
                padding.resize(short.len() * width, C::ZERO);
            }
        }
        full.extend(padding.chunks_exact(width).map(|row| row.as_chunks().0));
        full_digits.append(&mut short);
        if cost > self.budget {
            self.flush();
        }
        self.budget -= cost;
        column_lanes(&mut self.sums, &full, &full_digits);
    }

    /// Moves the lanes' content out of them.
    fn flush(&mut self) {
        self.moved.resize(self.len, Fr::default());
        for (lanes, sums) in self.sums.iter_mut().zip(self.moved.chunks_mut(LANES)) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += lane_value(lanes, lane);
            }
            *lanes = [0; DIGITS * LANES];
        }
        self.budget = BUDGET;
    }

    /// Writes the combination.
    pub(super) fn finish(mut self, out: &mut [Fr]) {
        self.flush();
        out.copy_from_slice(&self.moved);
        for (out, long) in out.iter_mut().zip(&self.long) {
            *out += long.value();
        }
    }
}

/// Rows that one call of [`Columns::add`] may bring, so that they fit the budget together.
pub(super) const ROWS: usize = 32;
const _: () = assert!((ROWS as u64) << CELL_BITS <= BUDGET);

fn bit_length<C: Cell>(values: &[C]) -> u32 {
    dispatch!(bit_length_body, <C>(values: &[C]) -> u32)
}

#[inline(always)]
fn bit_length_body<C: Cell>(values: &[C]) -> u32 {
    cell::bit_length(values)
}

/// Adds `weight·row` for every row to the digit sums of the columns. All values have at most 28 bits, and the budget holds.
fn column_lanes<C: Cell>(sums: &mut [Lanes], rows: &[&[[C; LANES]]], weights: &[[i64; DIGITS]]) {
    dispatch!(column_lanes_body, <C>(sums: &mut [Lanes], rows: &[&[[C; LANES]]], weights: &[[i64; DIGITS]]) -> ());
}

#[inline(always)]
fn column_lanes_body<C: Cell>(sums: &mut [Lanes], rows: &[&[[C; LANES]]], weights: &[[i64; DIGITS]]) {
    for (g, out) in sums.iter_mut().enumerate() {
        let mut sums = [[0i64; LANES]; DIGITS];
        for (row, w) in rows.iter().zip(weights) {
            let v: [i64; LANES] = row[g].map(Into::into);
            for (sum, w) in sums.iter_mut().zip(w) {
                for lane in 0..LANES {
                    sum[lane] += i64::from(v[lane] as i32) * i64::from(*w as i32);
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums.as_flattened()) {
            *out += sum;
        }
    }
}
