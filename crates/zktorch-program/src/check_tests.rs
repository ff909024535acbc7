//! The checker rejects a change of any kind of cell, and execution names what does not fit.

use crate::testing::sample_program;
use crate::{Builder, Built, Digit, ExecuteError, Part, RegionKind, Step, StepFlaw, Table, Term, View, Violation, Witness, check, execute};
use proptest::prelude::*;

fn sample() -> (Built, Vec<Vec<i64>>, Witness) {
    let (built, inputs) = sample_program();
    let witness = execute(&built, &inputs).expect("runs");
    (built, inputs, witness)
}

#[test]
fn a_changed_cell_of_any_region_is_rejected() {
    let (built, _, honest) = sample();
    let rejects = |cell: usize, delta: i64| {
        let mut witness = honest.clone();
        witness.heap[cell] += delta;
        check(&built.program, &built.parameters, &witness).expect_err("a wrong cell")
    };
    let mut used = vec![false; honest.heap.len()];
    for r in &built.program.regions {
        used[r.base..r.base + r.len].fill(true);
        let last = r.base + r.len - 1;
        for (cell, delta) in [(r.base, 1), (r.base, -1), (last, 1), (last, -1)] {
            let violation = rejects(cell, delta);
            if let RegionKind::Multiplicity { .. } = r.kind {
                assert!(matches!(violation, Violation::Multiplicity { .. }));
            }
        }
    }
    let padding = used.iter().position(|u| !u).expect("some padding");
    assert!(matches!(rejects(padding, 1), Violation::Padding { value: 1, .. }));
}

#[test]
fn changed_public_values_and_parameters_are_rejected() {
    let (built, _, honest) = sample();
    for p in 0..honest.publics.len() {
        let mut witness = honest.clone();
        witness.publics[p][1] += 1;
        let violation = check(&built.program, &built.parameters, &witness);
        assert!(matches!(violation, Err(Violation::Identity { .. })));
        witness.publics[p][1] = i64::MAX;
        let violation = check(&built.program, &built.parameters, &witness);
        assert!(matches!(violation, Err(Violation::Bounds { .. })));
        witness.publics[p].pop();
        let violation = check(&built.program, &built.parameters, &witness);
        assert!(matches!(violation, Err(Violation::Length { .. })));
    }
    for name in ["w", "embedding", "kernel"] {
        let at = built.program.matrices.iter().position(|m| m.name == name);
        let at = at.expect("the sample has it");
        let mut parameters = built.parameters.clone();
        // Row 0 of the embedding is looked up too.
        parameters.matrices[at] = parameters.matrices[at].changed(|v| v[0] += 1);
        assert!(check(&built.program, &parameters, &honest).is_err(), "{name}");
    }
    let mut parameters = built.parameters.clone();
    parameters.heap[0] += 1;
    assert!(check(&built.program, &parameters, &honest).is_err());
}

#[test]
fn a_wrong_table_output_is_rejected() {
    let (built, _, mut witness) = sample();
    let column = |r: &&crate::Region| matches!(r.kind, RegionKind::Column { column: 1, .. });
    let region = built.program.regions.iter().find(column).expect("rectified");
    witness.heap[region.base] ^= 1;
    let violation = check(&built.program, &built.parameters, &witness);
    // An identity that reads the cell is off, or the lookup.
    assert!(matches!(violation, Err(Violation::Identity { .. } | Violation::Lookup { .. })));
    let mut program = built.program.clone();
    // Virtual cells cannot do without their identities.
    program.identities.retain(|i| i.terms.iter().any(|t| built.program.virtual_term(t).is_some()));
    let violation = check(&program, &built.parameters, &witness);
    assert!(matches!(violation, Err(Violation::Lookup { .. })));
}

#[test]
fn errors_name_node_index_value_and_range() {
    let (built, inputs, _) = sample();
    let mut wrong = inputs.clone();
    wrong[0][4] = 101;
    let error = execute(&built, &wrong).expect_err("too large");
    let text = "value 101 at [0, 4] is out of range -100..=100 in node x";
    assert_eq!(error.to_string(), text);
    let mut wrong = inputs.clone();
    wrong[1][2] = 9;
    let error = execute(&built, &wrong).expect_err("no such row");
    assert_eq!(error.to_string(), "value 9 at [2] is out of range 0..=8 in node ids");
    let mut wrong = inputs.clone();
    wrong[2].pop();
    let error = execute(&built, &wrong).expect_err("too short");
    assert_eq!(error.to_string(), "input image needs 36 values, got 35");
    let error = execute(&built, &inputs[..2]).expect_err("too few");
    assert!(matches!(error, ExecuteError::MissingInput { input: 2, got: 2, .. }));
}

#[test]
fn parameters_are_checked_first() {
    let (built, inputs, _) = sample();
    let run = |change: fn(&mut Built)| {
        let mut built = built.clone();
        change(&mut built);
        execute(&built, &inputs).expect_err("wrong parameters")
    };
    let count = |e| matches!(e, ExecuteError::ParameterCount { .. });
    assert!(count(run(|b| b.parameters.heap.truncate(3))));
    assert!(count(run(|b| b.parameters.matrices.truncate(1))));
    assert!(count(run(|b| b.parameters.matrices[1] = b.parameters.matrices[1].changed(|v| v.truncate(1)))));
    let range = |e| matches!(e, ExecuteError::ParameterRange { .. });
    assert!(range(run(|b| b.parameters.heap[0] = 1 << 40)));
    assert!(range(run(|b| b.parameters.matrices[0] = b.parameters.matrices[0].changed(|v| v[3] = 1 << 20))));
}

#[test]
fn malformed_steps_are_refused() {
    let (built, inputs, _) = sample();
    let run = |change: &dyn Fn(&mut Step) -> bool| {
        let mut built = built.clone();
        assert!(built.steps.iter_mut().any(change), "the sample has such a step");
        match execute(&built, &inputs) {
            Err(ExecuteError::Step { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let view = run(&|s| match s {
        Step::Input { view, .. } => {
            view.offset = 1000;
            true
        }
        _ => false,
    });
    assert!(matches!(view, StepFlaw::View(_)));
    let term = run(&|s| match s {
        Step::Digits { sizes, .. } => {
            sizes[0] += 1;
            true
        }
        _ => false,
    });
    assert!(matches!(term, StepFlaw::Term(_)));
    let constant = built.program.constants.len() - 1;
    let read_only = run(&|s| match s {
        Step::Digits { digits, .. } if digits[0].view.shape() == [3] => {
            let len = built.program.constants[constant].values.len();
            assert!(len >= 3);
            digits[0].view = View::dense(crate::Source::Constant(crate::ConstantId(constant as u32)), 0, &[3]);
            true
        }
        _ => false,
    });
    assert_eq!(read_only, StepFlaw::ReadOnly);
    let shape = run(&|s| match s {
        Step::Sqrt { out, .. } => {
            out.axes[0].size = 2;
            true
        }
        _ => false,
    });
    assert!(matches!(shape, StepFlaw::Shape { .. }));
    let table = run(&|s| match s {
        Step::Apply { table, .. } => {
            table.0 = 1000;
            true
        }
        _ => false,
    });
    assert_eq!(table, StepFlaw::Table);
    let weight = run(&|s| match s {
        Step::Digits { digits, .. } => {
            digits[0].weight = 0;
            true
        }
        _ => false,
    });
    assert_eq!(weight, StepFlaw::Weight);
    let shift = run(&|s| match s {
        Step::InverseSqrt { shift, .. } => {
            *shift = 61;
            true
        }
        _ => false,
    });
    assert_eq!(shift, StepFlaw::Shift(61));
}

#[test]
fn public_tensors_must_be_complete() {
    let (mut built, inputs, _) = sample();
    built.steps.retain(|s| !matches!(s, Step::Digits { node, .. } if node == "pooled"));
    let error = execute(&built, &inputs).expect_err("an output is missing");
    assert_eq!(error.to_string(), "no step computes the value at [0] of public tensor pooled");
}

#[test]
fn lookups_of_other_cells_are_counted_and_compared() {
    let mut b = Builder::new();
    let table = b.function_table("double", 0, vec![(0..8).map(|x| 2 * x).collect()]);
    let x = b.public("x", &[3], 0, 7);
    let y = b.public("y", &[3], 0, 14);
    for (input, view) in [&x, &y].into_iter().enumerate() {
        b.step(Step::Input { input, name: format!("input {input}"), view: view.clone(), lo: -100, hi: 100 });
    }
    b.lookup("y = 2x", table, vec![x, y], 1);
    let built = b.finish(None);
    let witness = execute(&built, &[vec![1, 5, 5], vec![2, 10, 10]]).expect("doubles");
    let region = &built.program.regions[built.program.multiplicities[0].0 as usize];
    let counts = &witness.heap[region.base..region.base + 8];
    assert_eq!(counts, [0, 1, 0, 0, 0, 2, 0, 0]);
    let error = execute(&built, &[vec![1, 5, 5], vec![2, 10, 9]]).expect_err("no double");
    assert!(matches!(error, ExecuteError::NotInTable { row: 5, ref index, .. } if index == &[2]));
    let error = execute(&built, &[vec![1, 5, 8], vec![2, 10, 16]]).expect_err("too large");
    assert!(matches!(error, ExecuteError::OutOfRange { value: 8, lo: 0, hi: 7, .. }));
}

#[test]
fn lookups_of_many_sites_are_counted_in_parts() {
    let shape = [1, 40_000, 2];
    let mut b = Builder::new();
    let table = b.range_table(-3, 3);
    let x = b.public("x", &shape, -3, 4);
    b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: -100, hi: 100 });
    b.lookup("x is small", table, vec![x], 3);
    let built = b.finish(None);
    let values: Vec<i64> = (0..80_000).map(|i| i * i % 7 - 3).collect();
    let witness = execute(&built, std::slice::from_ref(&values)).expect("small");
    let region = &built.program.regions[built.program.multiplicities[0].0 as usize];
    let expected: Vec<i64> = (-3..5).map(|v| values.iter().filter(|x| **x == v).count() as i64).collect();
    assert_eq!(witness.heap[region.base..][..8], expected);
    for far in [[70_001, 79_999], [79_999, 79_999]] {
        let mut values = values.clone();
        far.iter().for_each(|&i| values[i] = 5);
        let error = execute(&built, &[values]).expect_err("a value is too large");
        assert!(matches!(error, ExecuteError::OutOfRange { value: 5, ref index, .. } if *index == [0, far[0] / 2, 1]), "{error}");
    }
}

#[test]
fn digits_of_many_values_are_found_in_parts() {
    let shape = [3, 5000];
    let values: Vec<i64> = (0..15_000).map(|i| i * 7919 % 65_536 - 32_768).collect();
    for weight in [256, 250] {
        let mut b = Builder::new();
        let x = b.public("x", &shape, -(1 << 40), 1 << 40);
        b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: -(1 << 40), hi: 1 << 40 });
        let terms = vec![Term::linear(1, x, &[0, 1])];
        let views = b.decompose("split", &shape, 2, terms, &[part(weight, -256, 9), part(1, 0, 8)]);
        let built = b.finish(None);
        let witness = execute(&built, std::slice::from_ref(&values)).expect("small");
        let cells = |v: &View| &witness.heap[built.program.absolute_offset(v)..][..15_000];
        for ((x, q), r) in values.iter().zip(cells(&views[0])).zip(cells(&views[1])) {
            assert_eq!((*q, *r), (x.div_euclid(weight as i64), x.rem_euclid(weight as i64)));
        }
        let mut values = values.clone();
        (values[9_003], values[14_000]) = (1 << 39, 1 << 39);
        let error = execute(&built, &[values]).expect_err("a value is too large");
        assert!(matches!(error, ExecuteError::OutOfRange { ref index, .. } if *index == [1, 4003]), "{error}");
    }
}

/// Runs `x → digits` for one value.
fn digits(value: i64, parts: &[Part]) -> Result<Vec<i64>, ExecuteError> {
    let mut b = Builder::new();
    let x = b.public("x", &[1], i64::MIN, i64::MAX);
    b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: i64::MIN, hi: i64::MAX });
    let views = b.decompose("split", &[1], 1, vec![Term::linear(1, x, &[0])], parts);
    let built = b.finish(None);
    let witness = execute(&built, &[vec![value]])?;
    check(&built.program, &built.parameters, &witness).expect("what runs, holds");
    let cell = |v: &View| witness.heap[built.program.absolute_offset(v)];
    Ok(views.iter().map(cell).collect())
}

fn part(weight: i128, lo: i64, bits: u32) -> Part {
    Part { weight, lo, bits }
}

#[test]
fn digits_are_floor_divisions() {
    let parts = [part(1 << 8, -128, 8), part(1, 0, 8)];
    assert_eq!(digits(1000, &parts), Ok(vec![3, 232]));
    assert_eq!(digits(-1, &parts), Ok(vec![-1, 255]));
    assert_eq!(digits(-32768, &parts), Ok(vec![-128, 0]));
    let error = digits(32768, &parts).expect_err("too large").to_string();
    let text = "value 128 (digit 1 of 2) at [0] is out of range -128..=127 in node split";
    assert_eq!(error, text);
    // A digit of negative weight is a sign.
    let sign = [part(-65536, 0, 1), part(1, 0, 16)];
    assert_eq!(digits(-5, &sign), Ok(vec![1, 65531]));
    assert_eq!(digits(5, &sign), Ok(vec![0, 5]));
    assert!(matches!(digits(65536, &sign), Err(ExecuteError::OutOfRange { value: -1, .. })));
    // A signed rest: digits are rounded quotients.
    let signed = [part(256, -16, 5), part(1, -128, 8)];
    assert_eq!(digits(200, &signed), Ok(vec![1, -56]));
    assert_eq!(digits(-200, &signed), Ok(vec![-1, 56]));
    // Nothing remains after the last digit.
    let even = [part(16, 0, 4), part(2, 0, 3)];
    assert_eq!(digits(30, &even), Ok(vec![1, 7]));
    assert!(matches!(digits(31, &even), Err(ExecuteError::Remainder { rest: 1, .. })));
}

proptest! {
    #[test]
    fn digits_sum_up_to_the_value(value in -(1i64 << 47)..1i64 << 47, negative: bool) {
        let parts = match negative {
            false => [part(1 << 32, -32768, 16), part(1 << 16, 0, 16), part(1, 0, 16)],
            true => [part(-(1 << 32), -32767, 16), part(1 << 16, 0, 16), part(1, 0, 16)],
        };
        let digits = digits(value, &parts).expect("48 bits fit");
        let sum: i128 = digits.iter().zip(parts).map(|(&d, p)| d as i128 * p.weight).sum();
        prop_assert_eq!(sum, value as i128);
    }

    #[test]
    fn roots_are_the_largest_below(value in 1i64..i64::MAX, small in 1i64..10_000, shift in 0u32..=60) {
        for value in [value, small] {
            let mut b = Builder::new();
            let v = b.public("v", &[1], 1, i64::MAX);
            let outs = [0, 1].map(|i| b.public(&format!("out {i}"), &[1], 0, i64::MAX));
            b.step(Step::Input { input: 0, name: "v".to_string(), view: v.clone(), lo: 1, hi: i64::MAX });
            b.step(Step::InverseSqrt { node: "i".to_string(), value: v.clone(), shift, out: outs[0].clone() });
            b.step(Step::Sqrt { node: "s".to_string(), value: v, out: outs[1].clone() });
            let witness = execute(&b.finish(None), &[vec![value]]).expect("positive");
            let (t, s) = (witness.publics[1][0] as u128, witness.publics[2][0] as u128);
            prop_assert!(s * s <= value as u128 && (s + 1) * (s + 1) > value as u128);
            // t²·v ≤ 2^(2·shift) < (t + 1)²·v, on halves where 128 bits are too few.
            let scale = 1u128 << (2 * shift);
            let above = |t: u128| (t * t).checked_mul(value as u128).is_none_or(|p| p > scale);
            prop_assert!(!above(t) && above(t + 1));
        }
    }
}

#[test]
fn quotients_are_floored_and_need_positive_denominators() {
    let run = |n: i64, d: i64| {
        let mut b = Builder::new();
        let x = b.public("x", &[2], i64::MIN, i64::MAX);
        let q = b.public("q", &[1], -100, 100);
        b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: i64::MIN, hi: i64::MAX });
        b.step(Step::Quotient {
            node: "div".to_string(),
            sizes: vec![1],
            outputs: 1,
            numerator: vec![Term::linear(1, x.slice(0, 0, 1, 1), &[0])],
            denominator: x.slice(0, 1, 1, 1),
            quotient: q,
            lo: -100,
            hi: 100,
        });
        execute(&b.finish(None), &[vec![n, d]]).map(|w| w.publics[1][0])
    };
    assert_eq!(run(7, 2), Ok(3));
    assert_eq!(run(-7, 2), Ok(-4));
    assert_eq!(run(i64::MIN, i64::MAX), Ok(-2));
    let error = run(7, 0).expect_err("no division by zero").to_string();
    assert!(error.starts_with("value 0 (the denominator) at [0] is out of range 1..="), "{error}");
    assert!(matches!(run(700, 2), Err(ExecuteError::OutOfRange { value: 350, .. })));
}

#[test]
fn sums_beyond_126_bits_are_refused() {
    let mut b = Builder::new();
    let x = b.public("x", &[1], i64::MIN, i64::MAX);
    b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: i64::MIN, hi: i64::MAX });
    b.step(Step::Digits {
        node: "huge".to_string(),
        sizes: vec![1],
        outputs: 1,
        terms: vec![Term::linear(1 << 90, x.clone(), &[0])],
        digits: vec![Digit { view: x, weight: 1 << 90, lo: i64::MIN, hi: i64::MAX }],
    });
    let built = b.finish(None);
    let error = execute(&built, &[vec![i64::MAX]]).expect_err("2^153");
    assert_eq!(error, ExecuteError::Overflow { node: "huge".to_string() });
    // Wide sums work.
    assert_eq!(execute(&built, &[vec![1 << 20]]).expect("2^110").publics[0], [1 << 20]);
}

#[test]
fn ranges_of_tables_are_those_of_their_entries() {
    let t = Table::Range { lo: -8, bits: 4 };
    assert_eq!((t.len(), t.bounds(0)), (16, Some((-8, 7))));
}
