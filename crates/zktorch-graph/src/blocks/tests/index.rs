//! Computed indices.

use crate::blocks::testing::{Bench, Run};
use crate::blocks::*;
use crate::tensor::QTensor;
use zktorch_program::RegionKind;

/// Limbs of `bits` bits; with `avoid`, no table of indices.
fn bench(bits: u32, avoid: Option<&str>) -> Bench {
    let avoided: std::collections::BTreeSet<String> = avoid.iter().map(|s| s.to_string()).collect();
    let mut bench = Bench::default();
    bench.ctx.tables = TablePlan { limb_bits: bits, value_bits: bits, avoided: avoided.into() };
    bench
}

const FORMS: [Option<&str>; 2] = [None, Some("index into 5 from -5")];

fn place(avoid: Option<&str>, shape: &[usize], values: &[i64]) -> (Bench, QTensor) {
    let mut bench = bench(4, avoid);
    let index = bench.input(shape, -8, 7, 0, values.to_vec());
    let p = position(&mut bench.ctx, "at", &index, 5).unwrap();
    (bench, p)
}

fn executed(avoid: Option<&str>, values: &[i64]) -> (Run, QTensor) {
    let (bench, p) = place(avoid, &[values.len()], values);
    (bench.run(), p)
}

#[test]
fn indices_count_from_either_end() {
    for form in FORMS {
        let (run, p) = executed(form, &[0, 4, -1, -5, 2, -2]);
        assert_eq!(run.read(&p), vec![0, 4, 4, 0, 2, 3]);
        run.assert_forced();
    }
    // A single index, and one on an axis that is too long for a table.
    let (bench, p) = place(None, &[], &[-3]);
    let run = bench.run();
    assert_eq!(run.read(&p), vec![2]);
    run.assert_forced();
    let mut bench = Bench::default();
    let index = bench.input(&[3], -(1 << 20), 1 << 20, 0, vec![-1, 99_999, -100_000]);
    let p = position(&mut bench.ctx, "at", &index, 100_000).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&p), vec![99_999, 99_999, 0]);
    run.assert_forced();
}

#[test]
fn bounds_that_say_enough_need_nothing() {
    let mut bench = Bench::default();
    let index = bench.input(&[2], 0, 4, 0, vec![4, 1]);
    assert_eq!(position(&mut bench.ctx, "at", &index, 5).unwrap(), index);
    // Nothing to turn round: rows or limbs for the positions alone.
    for avoid in [None, Some("index into 3 from 0")] {
        let mut bench = self::bench(4, avoid);
        let index = bench.input(&[2], 0, 4, 0, vec![2, 0]);
        let p = position(&mut bench.ctx, "at", &index, 3).unwrap();
        let run = bench.run();
        assert_eq!(run.read(&p), vec![2, 0]);
        run.assert_forced();
    }
}

#[test]
fn an_index_outside_of_its_axis_is_an_error_that_names_the_node() {
    for form in FORMS {
        for outside in [5, 7, -6, -8] {
            let error = place(form, &[2], &[1, outside]).0.fails();
            assert!(error.contains("node at") && error.contains("[1]"), "{error}");
        }
    }
}

#[test]
fn no_cells_make_an_index_outside_of_its_axis_a_position() {
    for form in FORMS {
        let (run, _) = executed(form, &[1]);
        let cells: Vec<usize> = run
            .built
            .program
            .regions
            .iter()
            .filter(|r| !matches!(r.kind, RegionKind::Multiplicity { .. }))
            .flat_map(|r| r.base..r.base + r.len)
            .collect();
        assert!(cells.len() <= 6, "{} cells are too many to try", cells.len());
        let range = |i: i64| -> usize {
            (0..7i64.pow(cells.len() as u32))
                .filter(|&n| {
                    let mut witness = run.witness.clone();
                    witness.publics[0][0] = i;
                    let mut n = n;
                    for &c in &cells {
                        witness.heap[c] = n % 7 - 1;
                        n /= 7;
                    }
                    !run.rejects(witness)
                })
                .count()
        };
        assert_eq!([1, -5].map(range), [1, 1], "an index on the axis has one position");
        for outside in [5, -6] {
            assert_eq!(range(outside), 0, "{outside} was given a position");
        }
    }
}
