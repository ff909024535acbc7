//! Every pass against its definition, with the processor's instructions and without.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{hash_to_fr, ifma::both};

const LENGTHS: [usize; 10] = [0, 1, 3, 16, 31, 64, 127, 128, 400, 17_000];

fn integers(n: usize) -> Vec<u32> {
    let noise = |i: usize| hash_to_fr(&(i as u64).to_le_bytes()).0.0[0] as u32 & 0xffff;
    (0..n).map(|i| if i % 700 < 90 || i % 13 == 5 { 0xffff * u32::from(i % 7 != 2) } else { noise(i) }).collect()
}

#[test]
fn sums_of_units_equal_their_definitions() {
    for n in LENGTHS {
        let x = integers(n);
        for c in [hash_to_fr(b"c"), -Fr::ONE, Fr::ZERO] {
            let units = Units::new(&x, c).unwrap();
            let q: Vec<Fr> = x.iter().map(|x| c - Fr::from(*x)).collect();
            let (p2, q2) = crate::table::unit_fraction_sums(&q);
            assert_eq!(both(|| units.pairs()), (p2.clone(), q2.clone()));
            let whole = n / 4 * 2;
            assert_eq!(both(|| units.quads()), crate::table::fraction_sums(&p2[..whole], &q2[..whole]));
        }
    }
    assert!(Units::new(&[3, 1 << 16], Fr::ONE).is_none());
}

#[test]
fn the_first_variables_equal_those_of_tables() {
    let lambda = hash_to_fr(b"lambda");
    let challenges = [b"a", b"b", b"c"].map(|r| hash_to_fr(r));
    for n in LENGTHS {
        let (x, c) = (integers(n), hash_to_fr(b"c"));
        let units = Units::new(&x, c).unwrap();
        let nodes: Vec<[Fr; 2]> = x.as_chunks::<2>().0.iter().map(|x| x.map(|x| Fr::ONE + lambda * (c - Fr::from(x)))).collect();
        let eq: Vec<Fr> = (0..n / GROUP).map(|i| hash_to_fr(&[i as u8, (i >> 8) as u8, 7])).collect();
        let got = both(|| units.products(&lambda, &eq));
        let mut expected = [Fr::ZERO; GRID];
        let mut bound = Vec::new();
        for (y, group) in nodes.as_chunks::<8>().0.iter().enumerate() {
            let mut values = [[Fr::ZERO; 2]; GRID];
            for (g, value) in values.iter_mut().enumerate() {
                let mut rest = group.to_vec();
                for place in [1, 3, 9] {
                    let at = |pair: &[[Fr; 2]], j: usize| match g / place % 3 {
                        2 => pair[1][j] - pair[0][j],
                        at => pair[at][j],
                    };
                    rest = rest.chunks(2).map(|pair| [at(pair, 0), at(pair, 1)]).collect();
                }
                *value = rest[0];
            }
            for (g, (sum, v)) in expected.iter_mut().zip(values).enumerate() {
                *sum += eq[y] * (v[0] * v[1] - if at_infinity(g) { Fr::ZERO } else { Fr::ONE });
            }
            let mut rest = group.to_vec();
            for r in challenges {
                rest = rest.chunks(2).map(|pair| [0, 1].map(|j| pair[0][j] + r * (pair[1][j] - pair[0][j]))).collect();
            }
            bound.extend(rest[0]);
        }
        assert_eq!(got, expected, "{n} integers");
        assert_eq!(both(|| units.bind(&lambda, &challenges)), bound, "{n} integers");
    }
}

#[test]
fn the_first_variables_two_layers_up_equal_those_of_tables() {
    let lambda = hash_to_fr(b"lambda");
    let challenges = [b"a", b"b", b"c"].map(|r| hash_to_fr(r));
    let line = |pair: &[[Fr; 4]], at: &dyn Fn(Fr, Fr) -> Fr| std::array::from_fn(|j| at(pair[0][j], pair[1][j]));
    for n in LENGTHS {
        let (x, c) = (integers(n), hash_to_fr(b"c"));
        let units = Units::new(&x, c).unwrap();
        let (p, q) = units.pairs();
        let nodes: Vec<[Fr; 4]> = (0..n / 4).map(|i| [p[2 * i] + lambda * q[2 * i], q[2 * i + 1], p[2 * i + 1], q[2 * i]]).collect();
        let eq: Vec<Fr> = (0..n / DOUBLE_GROUP).map(|i| hash_to_fr(&[i as u8, (i >> 8) as u8, 7])).collect();
        let got = both(|| units.pair_products(&lambda, &eq));
        let mut expected = [Fr::ZERO; GRID];
        let mut bound = [Vec::new(), Vec::new()];
        for (group, e) in nodes.as_chunks::<8>().0.iter().zip(&eq) {
            for (g, sum) in expected.iter_mut().enumerate() {
                let mut rest = group.to_vec();
                for place in [1, 3, 9] {
                    let at = |low: Fr, high: Fr| [low, high, high - low][g / place % 3];
                    rest = rest.chunks(2).map(|pair| line(pair, &at)).collect();
                }
                *sum += *e * (rest[0][0] * rest[0][1] + rest[0][2] * rest[0][3]);
            }
            let mut rest = group.to_vec();
            for r in challenges {
                rest = rest.chunks(2).map(|pair| line(pair, &|low, high| low + r * (high - low))).collect();
            }
            bound[0].extend(&rest[0][..2]);
            bound[1].extend(&rest[0][2..]);
        }
        assert_eq!(got, expected, "{n} integers");
        assert_eq!(both(|| units.pair_bind(&lambda, &challenges)), bound, "{n} integers");
    }
}
