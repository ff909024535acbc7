//! Multilinear extensions as tables of `2^n` evaluations, most significant variable first.

use ark_ff::{AdditiveGroup, Field};

use crate::{
    Fr,
    par::{self, THRESHOLD},
    small,
    table::{self, split},
};

/// `[eq(point, i)]_{i < 2^n}`, where bit `n-1-k` of `i` pairs with `point[k]`. One multiplication per two entries.
pub fn eq_table(point: &[Fr]) -> Vec<Fr> {
    eq_table_scaled(point, Fr::ONE)
}

/// `[scale · eq(point, i)]_{i < 2^n}`.
pub fn eq_table_scaled(point: &[Fr], scale: Fr) -> Vec<Fr> {
    let mut table = table::zeros(1 << point.len());
    table[0] = scale;
    let mut len = 1;
    for x in point.iter().rev() {
        let (low, rest) = table.split_at_mut(len);
        par::chunks_mut_pair(low, &mut rest[..len], THRESHOLD / 2, |low, high| split(low, high, x));
        len *= 2;
    }
    table
}

/// `Π_k (a_k·b_k + (1-a_k)(1-b_k))`.
///
/// # Panics
/// If the points differ in length.
pub fn eq_eval(a: &[Fr], b: &[Fr]) -> Fr {
    assert_eq!(a.len(), b.len(), "eq needs two points of one length");
    a.iter().zip(b).map(|(a, b)| (*a * b).double() - a - b + Fr::ONE).product()
}

/// `eq(point, index)`: entry `index` of [`eq_table`], in `n` multiplications. Zero if `index ≥ 2^n`.
pub fn eq_index(point: &[Fr], index: usize) -> Fr {
    let n = point.len();
    if n < usize::BITS as usize && index >> n != 0 {
        return Fr::ZERO;
    }
    let bit = |k: usize| k < usize::BITS as usize && index >> k & 1 == 1;
    point.iter().rev().enumerate().map(|(k, x)| if bit(k) { *x } else { Fr::ONE - x }).product()
}

/// `Σ_{i < size} eq(point, i)`, in `O(n)` multiplications. One if `size ≥ 2^n`.
pub fn sum_of_eq_below(point: &[Fr], size: usize) -> Fr {
    let n = point.len();
    if n < usize::BITS as usize && size >> n != 0 {
        return Fr::ONE;
    }
    let mut sum = Fr::ZERO;
    // eq of the variables seen so far with the leading bits of `size`.
    let mut prefix = Fr::ONE;
    for (k, x) in (0..n).rev().zip(point) {
        let one = prefix * x;
        let zero = prefix - one;
        if k < usize::BITS as usize && size >> k & 1 == 1 {
            sum += zero;
            prefix = one;
        } else {
            prefix = zero;
        }
    }
    sum
}

/// The extension of `table` at `point`: `Σ_i eq(point, i)·table[i]`. One lazily reduced product per entry.
///
/// # Panics
/// If the table has not `2^n` entries.
pub fn evaluate(table: &[Fr], point: &[Fr]) -> Fr {
    assert_eq!(table.len(), 1 << point.len(), "a table over n variables has 2^n entries");
    let (high, low) = point.split_at(point.len() / 2);
    let (eq_high, eq_low) = (eq_table(high), eq_table(low));
    let width = eq_low.len();
    let rows_per_task = (THRESHOLD / width).max(1);
    par::map(eq_high.len().div_ceil(rows_per_task), |task| {
        let first = task * rows_per_task;
        let rows = table[first * width..].chunks(width);
        rows.zip(&eq_high[first..]).take(rows_per_task).map(|(row, e)| small::dot(row, &eq_low) * e).sum::<Fr>()
    })
    .into_iter()
    .sum()
}

/// Binds variable 0 (the top one) to `r`: `new[i] = t[i] + r·(t[i + half] - t[i])`; the table halves.
///
/// # Panics
/// If the table has fewer than two entries or an odd number of them.
pub fn bind_top(table: &mut Vec<Fr>, r: Fr) {
    let half = table.len() / 2;
    assert!(half > 0 && table.len() == 2 * half, "a table without variables cannot be bound");
    let (low, high) = table.split_at_mut(half);
    par::chunks_mut_pair(low, high, THRESHOLD / 2, |low, high| table::bind(low, high, &r));
    table.truncate(half);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_to_fr;

    fn point(n: usize, seed: u8) -> Vec<Fr> {
        (0..n).map(|i| hash_to_fr(&[seed, i as u8])).collect()
    }

    #[test]
    fn eq_table_has_the_first_variable_on_top() {
        let [a, b] = [hash_to_fr(b"a"), hash_to_fr(b"b")];
        let na = Fr::ONE - a;
        let nb = Fr::ONE - b;
        assert_eq!(eq_table(&[a, b]), vec![na * nb, na * b, a * nb, a * b]);
        assert_eq!(eq_table(&[]), vec![Fr::ONE]);
    }

    #[test]
    fn eq_forms_agree() {
        for n in [0, 1, 5, 13] {
            let p = point(n, 1);
            let scale = hash_to_fr(b"scale");
            let table = eq_table_scaled(&p, scale);
            let mut sum = Fr::ZERO;
            for (i, t) in table.iter().enumerate() {
                if i < 70 || i + 3 > table.len() {
                    assert_eq!(eq_index(&p, i) * scale, *t);
                    assert_eq!(sum_of_eq_below(&p, i) * scale, sum);
                    let bits: Vec<Fr> = (0..n).rev().map(|k| Fr::from((i >> k & 1) as u64)).collect();
                    assert_eq!(eq_eval(&p, &bits) * scale, *t);
                }
                sum += t;
            }
            assert_eq!(sum, scale);
            assert_eq!(sum_of_eq_below(&p, 1 << n), Fr::ONE);
            assert_eq!(eq_index(&p, 1 << n), Fr::ZERO);
        }
    }

    #[test]
    fn evaluation_equals_binding_every_variable() {
        for n in [0, 1, 2, 3, 8, 14] {
            let table: Vec<Fr> = (0..1u32 << n).map(|i| hash_to_fr(&i.to_le_bytes())).collect();
            let p = point(n, 2);
            let mut bound = table.clone();
            for r in &p {
                bind_top(&mut bound, *r);
            }
            assert_eq!(evaluate(&table, &p), bound[0]);
        }
    }
}
