//! Every pass against its definition, with the processor's instructions and without.

use super::*;
use crate::{hash_to_fr, ifma::both};
use ark_ff::PrimeField;

const LENGTHS: [usize; 14] = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 33, 64, 100, 2100];

/// Scalars with extremes among them.
pub(crate) fn table(seed: u8, n: usize) -> Vec<Fr> {
    let mut largest = Fr::MODULUS;
    largest.0[0] -= 1;
    let extremes = [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::new_unchecked(largest)];
    (0..n)
        .map(|i| match (i * 7 + seed as usize) % 11 {
            k if k < 4 => extremes[k],
            _ => hash_to_fr(&[seed, i as u8, (i >> 8) as u8]),
        })
        .collect()
}

#[test]
fn overlapping_runs_equal_their_sums() {
    let values = table(1, 3000);
    let factors = table(2, 40);
    for (count, len) in [(0, 10), (1, 7), (3, 64), (40, 200), (25, 1000), (40, 24)] {
        let runs: Vec<Run<'_>> = (0..count)
            .map(|k| {
                let n = (k * 37) % len + 1;
                Run { first: (k * 91) % (len - n + 1), values: &values[k * 11..k * 11 + n], factor: factors[k] }
            })
            .collect();
        let start = &values[500..500 + len];
        let got = both(|| {
            let mut out = start.to_vec();
            add_runs(&mut out, &runs);
            out
        });
        let mut expected = start.to_vec();
        for run in &runs {
            run.values.iter().enumerate().for_each(|(i, v)| expected[run.first + i] += run.factor * v);
        }
        assert_eq!(got, expected);
    }
}

#[test]
fn scaled_addition_and_binding_equal_their_definitions() {
    for n in LENGTHS {
        let (x, y, r) = (table(1, n), table(2, n), hash_to_fr(b"r"));
        for r in [r, Fr::ZERO, Fr::ONE, -Fr::ONE] {
            let sum = both(|| {
                let mut out = x.clone();
                add_scaled(&mut out, &y, &r);
                out
            });
            let bound = both(|| {
                let mut out = x.clone();
                bind(&mut out, &y, &r);
                out
            });
            let pairs = both(|| {
                let mut out = x.clone();
                bind_pairs(&mut out, &r);
                out
            });
            let parts = both(|| {
                let (mut low, mut high) = (x.clone(), y.clone());
                split(&mut low, &mut high, &r);
                (low, high)
            });
            for i in 0..n {
                assert_eq!(sum[i], x[i] + r * y[i]);
                assert_eq!(bound[i], x[i] + r * (y[i] - x[i]));
                assert_eq!((parts.0[i], parts.1[i]), (x[i] * (Fr::ONE - r), x[i] * r));
            }
            assert_eq!(pairs.len(), n / 4 * 2);
            for (i, got) in pairs.iter().enumerate() {
                let at = i / 2 * 4 + i % 2;
                assert_eq!(*got, x[at] + r * (x[at + 2] - x[at]));
            }
        }
    }
}

#[test]
fn sums_of_products_equal_their_definitions() {
    for n in LENGTHS {
        let [a, b, c, d, e, f] = [1, 2, 3, 4, 5, 6].map(|seed| table(seed, n));
        assert_eq!(both(|| dot(&a, &b)), (0..n).map(|i| a[i] * b[i]).sum::<Fr>());
        let ends = both(|| product_ends([&a, &b], [&c, &d]));
        assert_eq!(ends[0], (0..n).map(|i| a[i] * c[i]).sum::<Fr>());
        assert_eq!(ends[1], (0..n).map(|i| (b[i] - a[i]) * (d[i] - c[i])).sum::<Fr>());
        for factors in 1..=6 {
            let (low, high) = (&[&a[..], &b, &c, &d, &e, &f][..factors], &[&f[..], &d, &e, &c, &a, &b][..factors]);
            for points in [1, factors + 1] {
                let values = both(|| product_values(low, high, points));
                assert_eq!(values.len(), points);
                for (k, value) in values.into_iter().enumerate() {
                    let at = |i: usize| low.iter().zip(high).map(|(x, y)| x[i] + Fr::from(k as u64) * (y[i] - x[i])).product::<Fr>();
                    assert_eq!(value, (0..n).map(at).sum::<Fr>());
                }
            }
        }
    }
    // Lanes at their bounds.
    let top = vec![-Fr::ONE; 5000];
    let mut largest = Fr::MODULUS;
    largest.0[0] -= 1;
    let limbs = vec![Fr::new_unchecked(largest); 5000];
    let zero = vec![Fr::ZERO; 5000];
    both(|| {
        [
            dot(&top, &top),
            dot(&limbs, &limbs),
            product_ends([&zero, &limbs], [&zero, &limbs])[1],
            product_ends([&limbs, &zero], [&top, &zero])[1],
        ]
    });
    for factors in 2..=6 {
        both(|| product_values(&vec![&zero[..]; factors], &vec![&limbs[..]; factors], factors + 1));
        both(|| product_values(&vec![&limbs[..]; factors], &vec![&zero[..]; factors], factors + 1));
    }
}

#[test]
fn layers_equal_their_definitions() {
    for n in LENGTHS {
        let (a, b, eq) = (table(1, 4 * n), table(2, 4 * n), table(3, n));
        let line = |x: &[Fr], y: usize| [x[4 * y] * x[4 * y + 1], (x[4 * y + 2] - x[4 * y]) * (x[4 * y + 3] - x[4 * y + 1])];
        let single = both(|| layer_ends(&a, None, &eq));
        let pair = both(|| layer_ends(&a, Some(&b), &eq));
        for end in [0, 1] {
            assert_eq!(single[end], (0..n).map(|y| eq[y] * line(&a, y)[end]).sum::<Fr>());
            assert_eq!(pair[end], (0..n).map(|y| eq[y] * (line(&a, y)[end] + line(&b, y)[end])).sum::<Fr>());
        }
    }
}

#[test]
fn fractions_equal_their_definitions() {
    for n in LENGTHS {
        let (p, q, lambda) = (table(1, n), table(2, n), hash_to_fr(b"lambda"));
        let of = |x: &[Fr], i: usize, missing| x.get(i).copied().unwrap_or(missing);
        let (up, uq) = both(|| fraction_sums(&p, &q));
        let (a, b) = both(|| {
            let (mut a, mut b) = (vec![lambda], vec![-lambda; 3]);
            fraction_nodes(&p, &q, &lambda, &mut a, &mut b);
            (a, b)
        });
        assert_eq!((up.len(), uq.len(), a.len(), b.len()), (n.div_ceil(2), n.div_ceil(2), n.div_ceil(2) * 2 + 1, n.div_ceil(2) * 2 + 3));
        let (in_a, in_b) = both(|| {
            let (mut p, mut q) = (p.clone(), q.clone());
            fractions_to_nodes(&mut p, &mut q, &lambda);
            (p, q)
        });
        let whole = n / 2 * 2;
        assert_eq!((&in_a[..whole], &in_b[..whole]), (&a[1..1 + whole], &b[3..3 + whole]));
        assert_eq!((&in_a[whole..], &in_b[whole..]), (&p[whole..], &q[whole..]));
        for i in 0..n.div_ceil(2) {
            let (p0, q0) = (p[2 * i], q[2 * i]);
            let (p1, q1) = (of(&p, 2 * i + 1, Fr::ZERO), of(&q, 2 * i + 1, Fr::ONE));
            assert_eq!((up[i], uq[i]), (p0 * q1 + p1 * q0, q0 * q1));
            assert_eq!((a[2 * i + 1], a[2 * i + 2], b[2 * i + 3], b[2 * i + 4]), (p0 + lambda * q0, q1, p1, q0));
        }
        let (up, uq) = both(|| unit_fraction_sums(&q));
        for i in 0..n / 2 {
            assert_eq!((up[i], uq[i]), (q[2 * i] + q[2 * i + 1], q[2 * i] * q[2 * i + 1]));
        }
    }
}
