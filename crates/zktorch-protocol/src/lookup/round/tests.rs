//! The rounds of integers against those of tables.

#![allow(clippy::unwrap_used)]
use super::*;
use zktorch_algebra::hash_to_fr;

const SIZE: usize = 1 << super::super::prover::CHUNK_BITS;

fn scalars(label: &str, n: usize) -> Vec<Fr> {
    (0..n).map(|i| hash_to_fr(format!("{label} {i}").as_bytes())).collect()
}

#[test]
fn units_give_the_same_rounds_as_tables() {
    for (form, depth) in [(Form::Leaves, 0), (Form::Fractions, 1), (Form::Fractions, 2)] {
        compare(form, depth);
    }
}

/// With leaves `depth` layers below the nodes' children.
fn compare(form: Form, depth: usize) {
    let size = SIZE << depth;
    let (lambda, c) = (hash_to_fr(b"lambda"), hash_to_fr(b"c"));
    let integers: Vec<u32> = (0..3 * size as u32).map(|i| i.wrapping_mul(0x9e37_79b9) >> 16).collect();
    let units = |i: usize| Units::new(&integers[i * size..][..size], c);
    let table = |i| match (form, units(i).unwrap()) {
        (Form::Leaves, _) => {
            let a = integers[i * size..][..size].iter().map(|x| Fr::ONE + lambda * (c - Fr::from(*x))).collect();
            Chunk { a, ..Chunk::default() }
        }
        (Form::Fractions, units) => {
            let (p, q) = if depth == 1 { units.pairs() } else { units.quads() };
            let mut chunk = Chunk::default();
            table::fraction_nodes(&p, &q, &lambda, &mut chunk.a, &mut chunk.b);
            chunk
        }
    };
    let other = || Chunk { a: scalars("a", SIZE), b: scalars("b", SIZE), unbound: None };
    let below = if depth == 2 { Below::Quads } else { Below::Units };
    let lazy = |i| Chunk { unbound: units(i).map(below), ..Chunk::default() };
    let point = scalars("point", LATE_BITS + HEAD);
    let mut states = [vec![lazy(0), other(), lazy(1), lazy(2)], vec![table(0), other(), table(1), table(2)]]
        .map(|chunks| LayerSumcheck::new(form, chunks.into_par_iter(), SIZE, &point, lambda));
    for r in scalars("round", LATE_BITS + HEAD) {
        let claim = hash_to_fr(b"claim");
        let [a, b] = states.each_mut().map(|s| s.round(claim));
        assert_eq!(a, b);
        states.iter_mut().for_each(|s| s.bind(r));
    }
    let [a, b] = states.map(|s| s.tail(0));
    assert_eq!(a, b);
}
