//! Table columns that the verifier evaluates by itself.

use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, fr_from_i64, mle, small};
use zktorch_program::Table;

/// `Σ_{j < size} eq(point, j) · j`, in `O(n)` multiplications. Needs `size ≤ 2^n`.
pub(super) fn index_sum_below(point: &[Fr], size: usize) -> Fr {
    let n = point.len();
    // tails[k] = Σ_{i ≥ k} point_i · 2^(n-1-i): the extension of the index, restricted to the variables from k on.
    let mut tails = vec![Fr::ZERO; n + 1];
    let mut power = Fr::ONE;
    for k in (0..n).rev() {
        tails[k] = tails[k + 1] + power * point[k];
        power.double_in_place();
    }
    if size >> n != 0 {
        return tails[0];
    }
    let mut sum = Fr::ZERO;
    let mut prefix = Fr::ONE;
    let mut base = 0u64;
    for (k, x) in point.iter().enumerate() {
        let one = prefix * x;
        let zero = prefix - one;
        let bit = n - 1 - k;
        if size >> bit & 1 == 1 {
            sum += zero * (Fr::from(base) + tails[k + 1]);
            prefix = one;
            base |= 1 << bit;
        } else {
            prefix = zero;
        }
    }
    sum
}

/// Equality tables by number of variables, for suffixes of one point: tables of equal size share theirs.
pub(super) struct EqSuffixes<'a> {
    point: &'a [Fr],
    tables: Vec<Option<Vec<Fr>>>,
}

impl<'a> EqSuffixes<'a> {
    /// For the suffixes of `point`.
    pub fn new(point: &'a [Fr]) -> EqSuffixes<'a> {
        EqSuffixes { point, tables: vec![None; point.len() + 1] }
    }

    /// The table over the last `bits` variables.
    fn get(&mut self, bits: usize) -> &[Fr] {
        let suffix = &self.point[self.point.len() - bits..];
        self.tables[bits].get_or_insert_with(|| mle::eq_table(suffix))
    }
}

/// The columns of a range or function table, or the first column of a table of rows, extended to the last `bits` variables of the point and
/// padded with zeros: one value per column. Cost: nothing worth mentioning for a range, about 2 ms for two columns of 2^16 entries.
pub(super) fn column_values(table: &Table, eq: &mut EqSuffixes<'_>, bits: usize) -> Vec<Fr> {
    let len = table.len();
    let point = &eq.point[eq.point.len() - bits..];
    let index = index_sum_below(point, len);
    match table {
        Table::Range { lo, .. } => vec![index + fr_from_i64(*lo) * mle::sum_of_eq_below(point, len)],
        Table::Function { lo, outputs, .. } => {
            let first = index + fr_from_i64(*lo) * mle::sum_of_eq_below(point, len);
            let weights = eq.get(bits);
            std::iter::once(first).chain(outputs.iter().map(|c| small::dot_small(c, weights))).collect()
        }
        Table::Rows { .. } => vec![index],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_sums_equal_direct_summation() {
        for n in 0..7usize {
            let point: Vec<Fr> = (0..n).map(|k| zktorch_algebra::hash_to_fr(&[k as u8])).collect();
            let eq = mle::eq_table(&point);
            for size in 1..=1usize << n {
                let direct: Fr = (0..size).map(|j| eq[j] * Fr::from(j as u64)).sum();
                assert_eq!(index_sum_below(&point, size), direct, "{size} of 2^{n}");
            }
        }
    }

    #[test]
    fn columns_equal_direct_summation() {
        let point: Vec<Fr> = (0..9).map(|k| zktorch_algebra::hash_to_fr(&[k])).collect();
        let f = Table::Function { name: String::new(), lo: -7, outputs: vec![(0..100).map(|j| j * j - 50).collect(), vec![-3; 100]] };
        let range = Table::Range { lo: -16, bits: 5 };
        let mut eq = EqSuffixes::new(&point);
        let weights = mle::eq_table(&point[2..]);
        let sum = |cell: &dyn Fn(usize) -> i64| -> Fr { (0..100).map(|j| weights[j] * fr_from_i64(cell(j))).sum() };
        let expected = vec![sum(&|j| j as i64 - 7), sum(&|j| (j * j) as i64 - 50), sum(&|_| -3)];
        assert_eq!(column_values(&f, &mut eq, 7), expected);
        let weights = mle::eq_table(&point[4..]);
        let expected: Fr = weights.iter().enumerate().map(|(j, w)| *w * fr_from_i64(j as i64 - 16)).sum();
        assert_eq!(column_values(&range, &mut eq, 5), vec![expected]);
    }
}
