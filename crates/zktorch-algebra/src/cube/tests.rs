//! Every pass against its definition, with the processor's instructions and without.

use super::*;
use crate::{hash_to_fr, ifma::both, table::tests::table};
use ark_ff::PrimeField;

/// The multilinear polynomial with these corners at a point.
fn line(corners: &[Fr], point: &[Fr]) -> Fr {
    let mut values = corners.to_vec();
    for x in point {
        values = values.chunks(2).map(|p| p[0] + *x * (p[1] - p[0])).collect();
    }
    values[0]
}

/// The polynomial of degree 2 with these coefficients at a point.
fn at(coefficients: &[Fr], point: &[Fr]) -> Fr {
    let mut c = coefficients.to_vec();
    for x in point {
        c = c.chunks(3).map(|c| c[0] + *x * (c[1] + *x * c[2])).collect();
    }
    c[0]
}

#[test]
fn coefficients_of_sums_of_products_are_those_at_any_point() {
    for variables in 0..=4usize {
        let corners = 1usize << variables;
        let point: Vec<Fr> = (0..variables as u8).map(|i| hash_to_fr(&[i])).collect();
        for n in [0, 1, 5, 8, 9, 24, 600, 1100] {
            let (a, b, w) = (table(1, n * corners), table(2, n * corners), table(3, n));
            let group = |t: &[Fr], y: usize| line(&t[y * corners..(y + 1) * corners], &point);
            let weighted = both(|| weighted_products(&a, &b, &w, variables));
            let expected: Fr = (0..n).map(|y| w[y] * group(&a, y) * group(&b, y)).sum();
            assert_eq!(at(&coefficients(weighted), &point), expected, "{variables} variables, {n} groups");
            // Corner by corner.
            let columns = |t: &[Fr]| -> Vec<Vec<Fr>> { (0..corners).map(|c| (0..n).map(|y| t[y * corners + c]).collect()).collect() };
            let (x, y) = (columns(&a), columns(&b));
            let (x, y): (Vec<&[Fr]>, Vec<&[Fr]>) = (x.iter().map(|v| &v[..]).collect(), y.iter().map(|v| &v[..]).collect());
            let plain = both(|| products(&x, &y, variables));
            let expected: Fr = (0..n).map(|y| group(&a, y) * group(&b, y)).sum();
            assert_eq!(at(&coefficients(plain), &point), expected, "{variables} variables, {n} columns");
            let bound: Vec<Fr> = (0..n).map(|y| group(&a, y)).collect();
            assert_eq!(both(|| bind(&a, &point)), bound);
        }
    }
}

#[test]
fn the_largest_values_do_not_overflow() {
    // Slopes of alternating extremes are as large as slopes get.
    let mut largest = Fr::MODULUS;
    largest.0[0] -= 1;
    let (n, x) = (1024, Fr::new_unchecked(largest));
    let a: Vec<Fr> = (0..8 * n).map(|i: usize| if i.count_ones().is_multiple_of(2) { Fr::ZERO } else { x }).collect();
    // The third slope is 4x or -4x in every group.
    let sums = both(|| weighted_products(&a, &a, &vec![x; n], 3));
    assert_eq!(sums[26], Fr::from(16 * n as u64) * x * x * x);
}
