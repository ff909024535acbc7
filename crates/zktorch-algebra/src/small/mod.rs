//! Inner products of signed integers with scalars, and of scalars with scalars, reduced once at the end.
//!
//! A scalar is held as Montgomery limbs `x·2^256 mod r < 2^254`. An integer times these limbs, summed over many terms, is
//! kept as a plain wide integer; the congruent scalar is computed once, when the sum is asked for.

mod cell;
mod digits;
#[cfg(target_arch = "x86_64")]
mod ifma;

use crate::{
    Fr,
    field::{from_montgomery_wide, reduce_limbs},
    mle, par, table,
};
use ark_ff::AdditiveGroup;
pub use cell::Cell;
use digits::Columns;

/// `Σ integer·scalar`, lazily reduced.
///
/// Holds positive and negative terms apart, 384 bits each: exact for up to `2^66` terms of any `i64`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmallAccumulator {
    positive: [u64; 6],
    negative: [u64; 6],
}

impl SmallAccumulator {
    /// The empty sum.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `value · weight`.
    #[inline]
    pub fn add(&mut self, value: i64, weight: &Fr) {
        let sum = if value < 0 { &mut self.negative } else { &mut self.positive };
        let v = u128::from(value.unsigned_abs());
        let mut carry = 0u128;
        for (limb, w) in sum.iter_mut().zip(weight.0.0) {
            let s = v * u128::from(w) + u128::from(*limb) + carry;
            *limb = s as u64;
            carry = s >> 64;
        }
        for limb in &mut sum[4..] {
            let s = u128::from(*limb) + carry;
            *limb = s as u64;
            carry = s >> 64;
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (sum, term) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            let mut carry = 0u128;
            for (s, t) in sum.iter_mut().zip(term) {
                let v = u128::from(*s) + u128::from(*t) + carry;
                *s = v as u64;
                carry = v >> 64;
            }
        }
    }

    /// The sum, as a scalar.
    pub fn value(&self) -> Fr {
        let reduce = |s: &[u64; 6]| from_montgomery_wide([s[0], s[1], s[2], s[3]], u128::from(s[4]) | u128::from(s[5]) << 64);
        reduce(&self.positive) - reduce(&self.negative)
    }
}

/// `Σ scalar·scalar`, lazily reduced: 512-bit products in a 576-bit sum, exact for up to `2^64` terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct WideAccumulator {
    limbs: [u64; 9],
}

impl WideAccumulator {
    /// The empty sum.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `a · b`.
    #[inline]
    pub fn add(&mut self, a: &Fr, b: &Fr) {
        let (a, b) = (&a.0.0, &b.0.0);
        let mut product = [0u64; 8];
        for i in 0..4 {
            let mut carry = 0u128;
            for j in 0..4 {
                let s = u128::from(a[i]) * u128::from(b[j]) + u128::from(product[i + j]) + carry;
                product[i + j] = s as u64;
                carry = s >> 64;
            }
            product[i + 4] = carry as u64;
        }
        let mut carry = false;
        for (limb, p) in self.limbs.iter_mut().zip(product) {
            let (s, c1) = limb.overflowing_add(p);
            let (s, c2) = s.overflowing_add(u64::from(carry));
            *limb = s;
            carry = c1 | c2;
        }
        self.limbs[8] += u64::from(carry);
    }

    /// The sum, as a scalar.
    pub fn value(&self) -> Fr {
        use ark_ff::MontConfig;
        let modulus = ark_bn254::FrConfig::MODULUS.0;
        let mut t = [0u64; 10];
        t[..9].copy_from_slice(&self.limbs);
        // Four Montgomery steps divide by 2^256; each adds less than 2^64·r at its own position.
        for i in 0..4 {
            let m = t[i].wrapping_mul(ark_bn254::FrConfig::INV);
            let mut carry = 0u128;
            for j in 0..4 {
                let s = u128::from(m) * u128::from(modulus[j]) + u128::from(t[i + j]) + carry;
                t[i + j] = s as u64;
                carry = s >> 64;
            }
            for limb in &mut t[i + 4..] {
                let s = u128::from(*limb) + carry;
                *limb = s as u64;
                carry = s >> 64;
            }
        }
        let high = u128::from(t[8]) | u128::from(t[9]) << 64;
        if high == 0 {
            Fr::new_unchecked(reduce_limbs([t[4], t[5], t[6], t[7]]))
        } else {
            from_montgomery_wide([t[4], t[5], t[6], t[7]], high)
        }
    }
}

/// `Σ a[i]·b[i]` over the shorter length, with one reduction.
pub fn dot(a: &[Fr], b: &[Fr]) -> Fr {
    table::dot(a, b)
}

/// `Σ values[i]·weights[i]` over the shorter length.
///
/// With the same weights for many vectors, [`combine_rows`] and [`evaluate_small`] are several times faster.
pub fn dot_small<C: Cell>(values: &[C], weights: &[Fr]) -> Fr {
    let n = values.len().min(weights.len());
    let (values, weights) = (&values[..n], &weights[..n]);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        return ifma::dot(ifma, values, weights);
    }
    let blocks = values.chunks(DOT_BLOCK).zip(weights.chunks(DOT_BLOCK));
    blocks.map(|(values, weights)| dot_block(values, weights)).sum()
}

/// [`dot_small`] of several vectors, as long as the weights, with the same weights.
pub fn dot_small_each<C: Cell, const N: usize>(values: [&[C]; N], weights: &[Fr]) -> [Fr; N] {
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get()
        && values.iter().all(|v| v.len() == weights.len())
    {
        return ifma::dot_each(ifma, values, weights);
    }
    values.map(|values| dot_small(values, weights))
}

/// Terms of at most 52 bits whose products with 64-bit limbs fit a signed 128-bit sum.
const DOT_BLOCK: usize = 1 << 10;

fn dot_block<C: Cell>(values: &[C], weights: &[Fr]) -> Fr {
    if cell::bit_length(values) > 52 {
        let mut sum = SmallAccumulator::new();
        for (v, w) in values.iter().zip(weights) {
            sum.add((*v).into(), w);
        }
        return sum.value();
    }
    // Four sums, one per limb, in two's complement: `-p` is `!p + 1`, and the ones are counted apart.
    let mut sums = [0u128; 4];
    let mut negatives = 0u128;
    for (v, w) in values.iter().zip(weights) {
        let v: i64 = (*v).into();
        let sign = (v >> 63) as u64;
        let magnitude = u128::from(v.unsigned_abs());
        let mask = u128::from(sign) | u128::from(sign) << 64;
        for (sum, limb) in sums.iter_mut().zip(w.0.0) {
            *sum = sum.wrapping_add((magnitude * u128::from(limb)) ^ mask);
        }
        negatives += u128::from(sign & 1);
    }
    digits::from_limb_sums(sums.map(|s| s.wrapping_add(negatives) as i128))
}

/// The multilinear extension at `point` of an integer vector, padded with zeros to `2^n`.
///
/// # Panics
/// If there are more than `2^n` values.
pub fn evaluate_small<C: Cell>(values: &[C], point: &[Fr]) -> Fr {
    let used = values.len().next_power_of_two().trailing_zeros() as usize;
    assert!(used <= point.len(), "more values than the point has corners");
    // Beyond the values all cells are zero, so the leading variables only contribute their share of index 0.
    let (unused, point) = point.split_at(point.len() - used);
    let scale = mle::eq_index(unused, 0);
    let (high, low) = point.split_at(used / 2);
    let (eq_high, eq_low) = (mle::eq_table_scaled(high, scale), mle::eq_table(low));
    if used < 8 {
        let rows = values.chunks(eq_low.len()).zip(&eq_high);
        return rows.map(|(row, e)| dot_small(row, &eq_low) * e).sum();
    }
    let width = eq_low.len();
    let row = |i: usize| values.get(i * width..).map_or(&[][..], |rest| rest.get(..width).unwrap_or(rest));
    dot(&combine_rows(row, &eq_high, width), &eq_low)
}

/// `[Σ_i weights[i]·rows(i)[j]]_{j < len}`. Rows shorter than `len` count as padded with zeros; what a row has beyond
/// `len` is ignored.
///
/// Rows with weight zero are not read where they are many, as for `eq` at a point whose leading coordinates are bits.
pub fn combine_rows<'a, C: Cell>(rows: impl Fn(usize) -> &'a [C] + Sync, weights: &[Fr], len: usize) -> Vec<Fr> {
    let read: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] != Fr::ZERO).collect();
    if 4 * read.len() <= 3 * weights.len() {
        let weights: Vec<Fr> = read.iter().map(|&i| weights[i]).collect();
        return combine_all(|i| rows(read[i]), &weights, len);
    }
    combine_all(rows, weights, len)
}

/// [`combine_rows`], all of them.
fn combine_all<'a, C: Cell>(rows: impl Fn(usize) -> &'a [C] + Sync, weights: &[Fr], len: usize) -> Vec<Fr> {
    let mut out = table::zeros(len);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        let few = weights.len() <= ifma::FEW;
        par::chunks_mut(&mut out, column_block(len), |offset, out| {
            if few {
                let list: [&[C]; ifma::FEW] =
                    std::array::from_fn(|i| if i < weights.len() { rows(i).get(offset..).unwrap_or_default() } else { &[] });
                if ifma::few(ifma, &list[..weights.len()], weights, out) {
                    return;
                }
            }
            let mut columns = ifma::Columns::new(ifma, out);
            in_blocks(&rows, weights, offset, ifma::ROWS, |rows, next, weights| columns.add(rows, next, weights));
            columns.finish();
        });
        return out;
    }
    par::chunks_mut(&mut out, column_block(len), |offset, out| {
        let mut columns = Columns::new(out.len());
        in_blocks(&rows, weights, offset, digits::ROWS, |rows, _, weights| columns.add(rows, weights));
        columns.finish(out);
    });
    out
}

/// Calls `add` for blocks of rows, without their first `offset` cells, the rows of the block after, and the weights.
fn in_blocks<'a, C: Cell>(
    rows: &(impl Fn(usize) -> &'a [C] + Sync),
    weights: &[Fr],
    offset: usize,
    block: usize,
    mut add: impl FnMut(&[&'a [C]], &[&'a [C]], &[Fr]),
) {
    let count = weights.len();
    let list = |first: usize, to: &mut Vec<&'a [C]>| {
        to.clear();
        to.extend((first..count.min(first + block)).map(|i| rows(i).get(offset..).unwrap_or_default()));
    };
    let (mut these, mut next) = (Vec::with_capacity(block), Vec::with_capacity(block));
    list(0, &mut next);
    for (b, weights) in weights.chunks(block).enumerate() {
        std::mem::swap(&mut these, &mut next);
        list((b + 1) * block, &mut next);
        add(&these, &next, weights);
    }
}

/// Columns per task: their sums fit the second-level cache, a row's cells are a page that is read at once, and every worker has some.
fn column_block(len: usize) -> usize {
    len.div_ceil(2 * par::threads()).next_multiple_of(24).clamp(48, 2112)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fr_from_i64, hash_to_fr};
    use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};

    fn scalars(n: usize) -> Vec<Fr> {
        let mut out: Vec<Fr> = (0..n).map(|i| hash_to_fr(&(i as u64).to_le_bytes())).collect();
        for (slot, extreme) in out.iter_mut().step_by(5).zip([Fr::ZERO, -Fr::ONE, Fr::ONE, largest_limbs()]) {
            *slot = extreme;
        }
        out
    }

    /// The scalar whose Montgomery limbs are `r - 1`.
    fn largest_limbs() -> Fr {
        let mut limbs = Fr::MODULUS;
        limbs.0[0] -= 1;
        Fr::new_unchecked(BigInt(limbs.0))
    }

    /// Integers of about `bits` bits, with extremes among them.
    fn integers(n: usize, bits: u32) -> Vec<i64> {
        let mut out: Vec<i64> =
            (0..n).map(|i| hash_to_fr(&[i as u8, (i >> 8) as u8, bits as u8]).into_bigint().0[0] as i64 >> (64 - bits)).collect();
        for (slot, extreme) in out.iter_mut().step_by(3).zip([0, 1, -1, i64::MAX >> (64 - bits), i64::MIN >> (64 - bits)]) {
            *slot = extreme;
        }
        out
    }

    fn naive(values: &[i64], weights: &[Fr]) -> Fr {
        values.iter().zip(weights).map(|(v, w)| fr_from_i64(*v) * w).sum()
    }

    #[test]
    fn sums_of_integer_multiples_are_exact() {
        for bits in [2, 8, 17, 31, 32, 33, 48, 63, 64] {
            for n in [0, 1, 2, 7, 63, 64, 65, 1000] {
                let (v, w) = (integers(n, bits), scalars(n));
                assert_eq!(dot_small(&v, &w), naive(&v, &w), "{bits} bits, {n} terms");
            }
        }
        for v in [i64::MIN, i64::MIN + 1, i64::MAX, 0] {
            for w in [-Fr::ONE, largest_limbs(), Fr::ZERO] {
                assert_eq!(dot_small(&[v; 1000], &[w; 1000]), fr_from_i64(v) * w * Fr::from(1000u64));
            }
        }
    }

    /// The kernels of the processor and the portable ones, for cells of one type.
    fn kernels_agree<C: Cell>(bits: u32) {
        let weights = scalars(5000);
        let cells: Vec<C> = integers(5000 * 3, bits).into_iter().map(C::truncate).collect();
        for n in [0, 1, 7, 8, 9, 23, 24, 25, 100, 1023, 1024, 1025, 5000] {
            let fast = dot_small(&cells[..n], &weights[..n]);
            assert_eq!(fast, crate::ifma::portable(|| dot_small(&cells[..n], &weights[..n])), "{n} terms of {bits} bits");
            let several = [&cells[..n], &cells[n..2 * n], &cells[2 * n..3 * n]];
            assert_eq!(dot_small_each(several, &weights[..n]), several.map(|v| dot_small(v, &weights[..n])), "{n} terms of {bits} bits");
        }
        for (count, len) in [(1, 1), (3, 8), (7, 131), (12, 300), (13, 20), (65, 48), (70, 51), (130, 23), (5000, 3)] {
            let row = |i: usize| &cells[i * len % 10_000..][..if i % 11 == 5 { len / 2 } else { len }];
            let fast = combine_rows(row, &weights[..count], len);
            assert_eq!(fast, crate::ifma::portable(|| combine_rows(row, &weights[..count], len)), "{count} rows of {len}, {bits} bits");
        }
    }

    #[test]
    fn vector_kernels_equal_portable_ones() {
        kernels_agree::<i8>(8);
        kernels_agree::<i16>(16);
        kernels_agree::<i32>(32);
        for bits in [3, 8, 9, 20, 21, 28, 30, 31, 39, 58, 64] {
            kernels_agree::<i64>(bits);
        }
    }

    #[test]
    fn lanes_that_fill_up_are_emptied() {
        for v in [-128i64, 127, 1 << 19, -(1 << 19), (1 << 29) - 1, -(1 << 29), 1 << 50, i64::MIN] {
            let row = [v; 9];
            let weights = vec![largest_limbs(); 9000];
            let sum = fr_from_i64(v) * largest_limbs() * Fr::from(9000u64);
            assert_eq!(combine_rows(|_| &row, &weights, 9), vec![sum; 9]);
        }
    }

    #[test]
    fn accumulators_merge() {
        let (v, w) = (integers(100, 64), scalars(100));
        let mut a = SmallAccumulator::new();
        let mut b = SmallAccumulator::new();
        for i in 0..100 {
            if i % 3 == 0 { a.add(v[i], &w[i]) } else { b.add(v[i], &w[i]) }
        }
        a.merge(&b);
        assert_eq!(a.value(), naive(&v, &w));
    }

    #[test]
    fn sums_of_products_are_exact() {
        for n in [0, 1, 2, 100, 5000] {
            let a = scalars(n);
            let b: Vec<Fr> = scalars(n).into_iter().rev().collect();
            assert_eq!(dot(&a, &b), a.iter().zip(&b).map(|(a, b)| *a * b).sum::<Fr>());
        }
        let top = largest_limbs();
        assert_eq!(dot(&[top; 3000], &[top; 3000]), top * top * Fr::from(3000u64));
    }

    #[test]
    fn integer_evaluation_equals_field_evaluation() {
        for (n, len, bits) in [(0, 1, 8), (1, 2, 8), (3, 5, 64), (10, 1000, 17), (15, 20_000, 17), (6, 0, 8), (12, 300, 40), (9, 512, 62)] {
            let values = integers(len, bits);
            let point = scalars(n);
            let mut table: Vec<Fr> = values.iter().map(|v| fr_from_i64(*v)).collect();
            table.resize(1 << n, Fr::ZERO);
            assert_eq!(evaluate_small(&values, &point), mle::evaluate(&table, &point));
        }
    }

    #[test]
    fn combined_rows_equal_their_definition() {
        for (count, len, bits) in
            [(0, 5, 8), (1, 1, 8), (7, 300, 17), (40, 129, 33), (9, 70, 64), (300, 20, 31), (300, 21, 29), (100, 9, 30)]
        {
            let rows: Vec<Vec<i64>> = (0..count)
                .map(|i| {
                    let mut row = integers(len + i % 3, bits);
                    row.rotate_left(i % len);
                    if i % 4 == 3 {
                        row.truncate(len / 2);
                    }
                    row
                })
                .collect();
            let mut weights = scalars(count);
            for zeros in [false, true] {
                if zeros {
                    weights.iter_mut().enumerate().filter(|(i, _)| i % 3 > 0).for_each(|(_, w)| *w = Fr::from(0u64));
                }
                let got = combine_rows(|i| &rows[i], &weights, len);
                for (j, g) in got.iter().enumerate() {
                    let column: Vec<i64> = rows.iter().map(|r| r.get(j).copied().unwrap_or(0)).collect();
                    assert_eq!(*g, naive(&column, &weights), "{count} rows of {len}, {bits} bits, column {j}, zeros {zeros}");
                }
            }
        }
    }
}
