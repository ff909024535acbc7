//! Derived programs hold on the inferences that they are about, and on nothing else.

use super::{DeriveError, Derived, batch, batched_segments, segments, segments_within};
use crate::testing::sample_program;
use crate::view::{Axis, PublicId, RegionId, Source, View};
use crate::{Builder, Built, Part, Program, RegionKind, Step, Term, Witness, audit, check, execute};
use proptest::prelude::*;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

/// Maps a table's arguments to the nearest numbers of 8 bits.
fn clamped(b: &mut Builder, name: &str, bits: u32, sizes: &[usize], outputs: usize, terms: Vec<Term>, divisor: u32) -> View {
    let lo = -(1i64 << (bits - 1));
    let table = b.function_table("clamp", lo, vec![(lo..-lo).map(|v| v.clamp(-128, 127)).collect()]);
    let y = b.column_cells(table, &sizes[..outputs]);
    let mut parts = vec![Part { weight: 1 << divisor, lo, bits }];
    let mut cells = vec![y[0].clone()];
    if divisor > 0 {
        let rest = b.range_table(0, divisor);
        cells.push(b.column_cells(rest, &sizes[..outputs]).swap_remove(0));
        parts.push(Part { weight: 1, lo: 0, bits: divisor });
    }
    b.decompose_into(name, sizes, outputs, terms, &parts, &cells);
    b.apply(name, table, &y);
    y[1].clone()
}

/// A random program on vectors of numbers of 8 bits: inputs public and committed, products, sums, scalars, windows, gathers.
fn random_program(rng: &mut Rng) -> Built {
    let mut b = Builder::new();
    let n = 3 + rng.below(60);
    let x = b.public("x", &[n], -128, 127);
    b.step(Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: -128, hi: 127 });
    let image = b.committed_cells("image", &[n], -128, 127);
    b.step(Step::Input { input: 1, name: "image".into(), view: image.clone(), lo: -128, hi: 127 });
    let byte = b.range_table(-128, 8);
    b.lookup("image", byte, vec![image.clone()], 1);
    let mut known = vec![(x, n), (image, n)];
    for k in 0..4 + rng.below(8) {
        let recent = known.len().saturating_sub(1 + rng.below(3));
        let (a, len) = known[recent].clone();
        let (c, other) = known[rng.below(known.len())].clone();
        let n = len.min(other);
        let (a, c) = (a.slice(0, 0, n, 1), c.slice(0, other - n, n, 1));
        let name = format!("node {k}");
        let y = match rng.below(5) {
            0 => clamped(&mut b, &name, 8, &[n], 1, vec![Term::linear(1, a, &[0]), Term::linear(1, c, &[0])], 1),
            1 => clamped(&mut b, &name, 9, &[n], 1, vec![Term::product(1, a, &[0], c, &[0]), Term::constant(3)], 7),
            2 if n > 3 => {
                let weight = b.matrix(&name, &[3], vec![1, -2, 1]);
                let windows = View { axes: vec![Axis { size: n - 2, stride: 1 }, Axis { size: 3, stride: 1 }], ..a };
                clamped(&mut b, &name, 11, &[n - 2, 3], 1, vec![Term::product(1, windows, &[0, 1], weight, &[1])], 0)
            }
            3 => {
                let index = b.function_table("index", -128, vec![(-128i64..128).map(|v| v.rem_euclid(9)).collect()]);
                let cells = b.column_cells(index, &[n]);
                b.decompose_into(&name, &[n], 1, vec![Term::linear(1, a, &[0])], &[Part { weight: 1, lo: -128, bits: 8 }], &cells[..1]);
                b.apply(&name, index, &cells);
                let rows: Vec<i64> = (0..18).map(|i| (i * 53) % 200 - 100).collect();
                let rows = b.param(&name, &[9, 2], &rows);
                let table = b.rows_table(&name, rows);
                let found = b.assigned_cells(&[n, 2], -128, 127);
                b.step(Step::Gather { node: name.clone(), table, index: cells[1].clone(), out: found.clone() });
                b.lookup(&name, table, vec![cells[1].clone(), found.clone()], 1);
                clamped(&mut b, &name, 9, &[n, 2], 1, vec![Term::linear(1, found, &[0, 1])], 0)
            }
            _ => {
                let sum = b.assign(&name, &[n], 0, vec![Term::linear(1, a, &[0])], -(128 * n as i64), 127 * n as i64);
                clamped(&mut b, &name, 14, &[n], 1, vec![Term::linear(1, sum, &[]), Term::linear(-1, c, &[0])], 0)
            }
        };
        let len = y.axes[0].size;
        known.push((y, len));
    }
    for (k, (y, len)) in known[2..].iter().rev().take(2).enumerate() {
        let out = b.public(&format!("out {k}"), &[*len], -128, 127);
        b.assign_into(&format!("out {k}"), &[*len], 1, vec![Term::linear(1, y.clone(), &[0])], &out, -128, 127);
    }
    // Nothing else need read all of the image.
    let (image, n) = known.swap_remove(1);
    let out = b.public("image", &[n], -128, 127);
    b.assign_into("image", &[n], 1, vec![Term::linear(1, image, &[0])], &out, -128, 127);
    b.finish(Some(4 + rng.below(3) as u32))
}

fn random_inputs(rng: &mut Rng, built: &Built) -> Vec<Vec<i64>> {
    let n = built.program.publics[0].shape[0];
    (0..2).map(|_| (0..n).map(|_| rng.below(256) as i64 - 128).collect()).collect()
}

fn sample_inferences(count: usize) -> (Built, Vec<Witness>) {
    let (built, inputs) = sample_program();
    let run = |k: usize| {
        let mut inputs = inputs.clone();
        inputs[0].rotate_left(k);
        inputs[1][0] = (k % 9) as i64;
        inputs[2].iter_mut().for_each(|v| *v = (*v + 3 * k as i64) % 16);
        execute(&built, &inputs).expect("runs")
    };
    let witnesses = (0..count).map(run).collect();
    (built, witnesses)
}

fn fill_all(all: &[Derived], built: &Built, inferences: &[Witness]) -> Vec<Witness> {
    all.iter().map(|d| d.fill(&built.parameters, inferences).expect("fits")).collect()
}

fn check_all(all: &[Derived], built: &Built, witnesses: &[Witness]) {
    for (s, (d, w)) in all.iter().zip(witnesses).enumerate() {
        if let Err(e) = check(&d.program, &built.parameters, w) {
            panic!("segment {s}: {e}");
        }
        for import in &d.imports {
            assert!(import.from_segment < s && import.rows > 0);
            let row = 1 << d.program.row_bits;
            let cells = |w: &Witness, first: usize| w.heap[first * row..(first + import.rows) * row].to_vec();
            assert_eq!(cells(w, import.first_row), cells(&witnesses[import.from_segment], import.from_row));
        }
    }
}

fn sorted_names<'a>(programs: impl Iterator<Item = &'a Program>) -> Vec<String> {
    let mut names: Vec<String> = programs.flat_map(|p| p.identities.iter().map(|i| i.name.clone())).collect();
    names.sort();
    names
}

/// Sites of the lookups in each table, and of those with a name.
fn sites<'a>(programs: impl Iterator<Item = &'a Program> + Clone, tables: usize) -> Vec<usize> {
    let of = |t: usize| programs.clone().flat_map(|p| &p.lookups).filter(|l| l.table.0 as usize == t).map(|l| l.sites()).sum();
    (0..tables).map(of).collect()
}

fn everything_is_proved_once(all: &[Derived], base: &Program) {
    assert_eq!(sorted_names(all.iter().map(|d| &d.program)), sorted_names(std::iter::once(base)));
    let tables = base.tables.len();
    assert_eq!(sites(all.iter().map(|d| &d.program), tables), sites(std::iter::once(base), tables));
    let committed: usize = all.iter().map(|d| d.program.committed.len()).sum();
    assert_eq!(committed, base.committed.len());
    for d in all {
        assert_eq!((&d.program.tables, &d.program.matrices, &d.program.params), (&base.tables, &base.matrices, &base.params));
    }
}

#[test]
fn a_batch_holds_on_all_inferences() {
    let (built, inferences) = sample_inferences(5);
    for count in 1..=5 {
        let d = batch(&built.program, count, &[]).expect("can be batched");
        let report = d.audit().expect("sound");
        let base = audit(&built.program).expect("sound");
        assert_eq!((report.identities, report.equations), (base.identities, count * base.equations));
        let w = d.fill(&built.parameters, &inferences[..count]).expect("fits");
        check(&d.program, &built.parameters, &w).expect("holds");
        let outputs: Vec<i64> = inferences[..count].iter().flat_map(|w| w.publics[2].clone()).collect();
        assert_eq!(w.publics[2], outputs);
    }
    let one = batch(&built.program, 1, &[]).expect("a batch");
    assert_eq!(one.program, built.program);
    assert_eq!(one.fill(&built.parameters, &inferences[..1]).expect("fits"), inferences[0]);
}

#[test]
fn sums_over_inferences_are_bound() {
    let (built, inferences) = sample_inferences(3);
    for summed in [&[PublicId(2)][..], &[PublicId(1), PublicId(2)]] {
        let all = batched_segments(&built.program, 3, summed, 2).expect("can be summed");
        let mut witnesses = fill_all(&all, &built, &inferences);
        check_all(&all, &built, &witnesses);
        for d in &all {
            assert_eq!((d.program.publics[2].shape.clone(), d.program.publics[2].lo), (vec![3], 3 * -2048));
        }
        for i in 0..3 {
            assert_eq!(witnesses[0].publics[2][i], inferences.iter().map(|w| w.publics[2][i]).sum::<i64>());
        }
        witnesses.iter_mut().for_each(|w| w.publics[2][1] -= 1);
        let refused = all.iter().zip(&witnesses).filter(|(d, w)| check(&d.program, &built.parameters, w).is_err());
        assert_eq!(refused.count(), 1);
    }
}

#[test]
fn constants_in_sums_count_once_per_inference() {
    let mut b = Builder::new();
    let range = b.range_table(0, 8);
    let x = b.column_cells(range, &[4]).swap_remove(0);
    b.step(Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: 0, hi: 255 });
    let double = b.assign("double", &[4], 1, vec![Term::linear(2, x, &[0])], 0, 510);
    let (bias, offset) = (b.param("bias", &[4], &[5, 6, 7, 8]), b.constant("offset", &[4], vec![1, 2, 3, 4]));
    let terms = vec![
        Term::linear(1, double, &[0]),
        Term::linear(2, bias.clone(), &[0]),
        Term::product(1, bias, &[0], offset, &[0]),
        Term::constant(9),
    ];
    let out = b.public("out", &[4], 0, 1000);
    b.assign_into("out", &[4], 1, terms, &out, 0, 1000);
    let built = b.finish(None);
    let inferences: Vec<Witness> = (0..7).map(|k| execute(&built, &[vec![k, 10 * k, 255, 0]]).expect("runs")).collect();
    let d = batch(&built.program, 7, &[PublicId(0)]).expect("can be summed");
    d.audit().expect("sound");
    let mut w = d.fill(&built.parameters, &inferences).expect("fits");
    check(&d.program, &built.parameters, &w).expect("holds");
    w.publics[0][3] += 1;
    check(&d.program, &built.parameters, &w).expect_err("a wrong sum");
}

#[test]
fn what_is_no_sum_is_not_summed() {
    let refusal = |b: Builder, p: u32| match batch(&b.finish(None).program, 2, &[PublicId(p)]) {
        Err(DeriveError::Sum { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let cells = |b: &mut Builder, bits| {
        let range = b.range_table(0, bits);
        b.column_cells(range, &[2]).swap_remove(0)
    };
    let determines = "it also determines private cells";
    // An input.
    let mut b = Builder::new();
    let (x, y) = (b.public("x", &[2], 0, 255), cells(&mut b, 8));
    b.assign_into("copy", &[2], 1, vec![Term::linear(1, x, &[0])], &y, 0, 255);
    assert_eq!(refusal(b, 0), determines);
    // A quotient, whose remainder is found beside it.
    for weight in [1, 16] {
        let mut b = Builder::new();
        let (x, rest, y) = (cells(&mut b, 8), cells(&mut b, 4), b.public("y", &[2], 0, 255));
        let doubled = cells(&mut b, 9);
        b.assign_into("double", &[2], 1, vec![Term::linear(2, x.clone(), &[0])], &doubled, 0, 511);
        b.identity(
            "quotient",
            &[2],
            1,
            vec![Term::linear(1, x, &[0]), Term::linear(-weight, y, &[0]), Term::linear(-(17 - weight), rest, &[0])],
        );
        assert_eq!(refusal(b, 0), if weight == 1 { determines } else { "the tensor is multiplied" });
    }
    // A factor.
    assert_eq!(
        batch(&sample_program().0.program, 2, &[PublicId(0)]),
        Err(DeriveError::Sum { name: "linear".into(), reason: "the tensor is multiplied" })
    );
    // A tensor that is looked up.
    let mut b = Builder::new();
    let (x, range) = (b.public("x", &[2], 0, 255), b.range_table(0, 8));
    b.lookup("range", range, vec![x], 1);
    assert_eq!(refusal(b, 0), "it looks the tensor up");
    // A sum beyond 64 bits.
    let mut b = Builder::new();
    b.public("x", &[2], 0, i64::MAX);
    assert_eq!(batch(&b.finish(None).program, 2, &[PublicId(0)]), Err(DeriveError::TooLarge));
    // A sum that might wrap around the field: 2^70 per inference, 2^60 inferences.
    let mut b = Builder::new();
    let (x, sum) = (cells(&mut b, 8), b.public("sum", &[2], 0, 0));
    b.assign_into("x", &[2], 1, vec![Term::linear(1, x.clone(), &[0])], &x, 0, 255);
    b.identity("sum", &[2], 1, vec![Term::linear(1 << 62, x, &[0]), Term::linear(-1, sum, &[0])]);
    let error = batch(&b.finish(None).program, 1 << 60, &[PublicId(0)]);
    assert_eq!(error, Err(DeriveError::Sum { name: "sum".into(), reason: "the sum may reach 2^120" }));
}

#[test]
fn a_value_that_is_defined_twice_is_not_summed() {
    // `x = out` and `y = out` say that x and y are equal in each inference; their sums may be equal although x and y are not.
    let start = || {
        let mut b = Builder::new();
        let range = b.range_table(0, 8);
        let x = b.column_cells(range, &[2, 2]).swap_remove(0);
        b.assign("use", &[2, 2], 2, vec![Term::linear(1, x.clone(), &[0, 1])], 0, 255);
        (b, x)
    };
    let refused = |b: Builder| {
        let error = batch(&b.finish(None).program, 2, &[PublicId(0)]).expect_err("no sum");
        assert_eq!(error, DeriveError::Sum { name: "again".into(), reason: "a value is defined more than once" });
    };
    let equal = |x: View, out: View, letters: &[u8]| vec![Term::linear(1, x, &[0, 1]), Term::linear(-1, out, letters)];
    // By two identities, one of which reads it in another order.
    let (mut b, x) = start();
    let out = b.public("out", &[2, 2], 0, 255);
    b.identity("out", &[2, 2], 2, equal(x.clone(), out.clone(), &[0, 1]));
    b.identity("again", &[2, 2], 2, equal(x, out, &[1, 0]));
    refused(b);
    // By one identity that repeats it.
    let (mut b, x) = start();
    let out = b.public("out", &[2], 0, 255);
    b.identity("again", &[2, 2], 2, equal(x, out, &[1]));
    refused(b);
    // Through a view that repeats it.
    let (mut b, x) = start();
    let out = b.public("out", &[3], 0, 255);
    let windows = View { axes: vec![Axis { size: 2, stride: 1 }, Axis { size: 2, stride: 1 }], ..out };
    b.identity("again", &[2, 2], 2, equal(x, windows, &[0, 1]));
    refused(b);
}

#[test]
fn numbers_that_do_not_fit_are_errors() {
    let (built, inferences) = sample_inferences(2);
    let p = &built.program;
    assert_eq!(batch(p, 0, &[]), Err(DeriveError::Zero));
    assert_eq!(segments(p, 0), Err(DeriveError::Zero));
    assert_eq!(batch(p, 2, &[PublicId(9)]), Err(DeriveError::NoSuchPublic(PublicId(9))));
    assert_eq!(batch(p, usize::MAX, &[]), Err(DeriveError::TooLarge));
    assert!(batch(p, 1 << 32, &[]).is_err());
    let d = batch(p, 3, &[]).expect("a batch");
    d.fill(&built.parameters, &inferences).expect_err("one inference is missing");
    let mut short = vec![inferences[0].clone(), inferences[1].clone(), inferences[0].clone()];
    short[1].heap.truncate(10);
    d.fill(&built.parameters, &short).expect_err("cells are missing");
    short[1] = inferences[1].clone();
    short[1].publics[0].pop();
    d.fill(&built.parameters, &short).expect_err("a value is missing");
    let mut p = built.program.clone();
    p.identities[0].terms[0].factors[0].view.offset = 1 << 40;
    assert!(matches!(batch(&p, 2, &[]), Err(DeriveError::Malformed(_))));
    let mut b = Builder::new();
    let rows = b.matrix("rows", &[4, 2], vec![1; 8]);
    let (table, index) = (b.rows_table("rows", rows.clone()), b.assigned_cells(&[4], 0, 3));
    b.lookup("both", table, vec![index, rows], 1);
    assert_eq!(batch(&b.finish(None).program, 2, &[]), Err(DeriveError::MatrixLookup { name: "both".into() }));
}

#[test]
fn unsound_programs_are_not_cut() {
    let (built, _) = sample_program();
    let mut p = built.program.clone();
    p.lookups.retain(|l| !l.name.starts_with("table"));
    assert!(matches!(segments(&p, 2), Err(DeriveError::Column { .. })));
    let mut p = built.program.clone();
    let read = p.identities.iter_mut().flat_map(|i| i.terms.iter_mut().flat_map(|t| &mut t.factors));
    let scalar = read.map(|f| &mut f.view).find(|v| matches!(v.source, Source::Region(_)) && v.end() < 16).expect("a small view");
    scalar.source = Source::Region(p.multiplicities[0]);
    assert!(matches!(segments(&p, 2), Err(DeriveError::ReadsMultiplicities { .. })));
}

#[test]
fn segments_hold_and_cover_the_program_once() {
    let (built, inferences) = sample_inferences(3);
    for count in [1, 2, 3, 4, 7, 100] {
        let all = segments(&built.program, count).expect("can be cut");
        assert!(all.len() <= count && all.len() > usize::from(count > 1));
        everything_is_proved_once(&all, &built.program);
        assert!(all.iter().all(|d| d.audit().is_ok()));
        check_all(&all, &built, &fill_all(&all, &built, &inferences[..1]));
        assert!(count < 4 || all.iter().any(|d| !d.imports.is_empty()));
        let batched = batched_segments(&built.program, 3, &[], count).expect("can be cut");
        assert_eq!(batched.len(), all.len());
        check_all(&batched, &built, &fill_all(&batched, &built, &inferences));
    }
    let mut b = Builder::new();
    let range = b.range_table(0, 4);
    let x = b.column_cells(range, &[5]).swap_remove(0);
    b.identity("zero", &[5], 0, vec![Term::linear(1, x, &[0])]);
    assert_eq!(segments(&b.finish(None).program, 3).expect("cannot be cut").len(), 1);
}

/// Whether a changed cell is noticed, even if the multiplicities are made to fit.
fn is_refused(d: &Derived, built: &Built, honest: &Witness, cell: usize, delta: i64) -> bool {
    let mut w = honest.clone();
    w.heap[cell] += delta;
    let refused = |w: &Witness| check(&d.program, &built.parameters, w).is_err();
    refused(&w) && crate::execute::recount(&d.program, &built.parameters, w).map_or(true, |w| refused(&w))
}

/// Whether nothing in the segment itself determines a cell: it lies in an import, a gap or among multiplicities.
fn is_free(d: &Derived, region: usize, cell: usize) -> bool {
    let piece = &d.pieces[region];
    piece.runs.is_empty() || d.imported.contains(&region) || (cell - d.program.regions[region].base) % piece.pitch >= piece.len()
}

#[test]
fn a_changed_cell_is_refused_in_some_segment() {
    let (built, inferences) = sample_inferences(2);
    for (count, inferences) in [(1, &inferences[..]), (3, &inferences[..1]), (4, &inferences[..])] {
        let all = batched_segments(&built.program, inferences.len(), &[], count).expect("can be cut");
        let honest = fill_all(&all, &built, inferences);
        for (s, (d, w)) in all.iter().zip(&honest).enumerate() {
            for (r, region) in d.program.regions.iter().enumerate().filter(|(_, region)| region.len > 0) {
                let last = region.base + region.len - 1;
                for (cell, delta) in [(region.base, 1), (region.base, -1), (last, 1), (last, -1)] {
                    let is_multiplicity = matches!(region.kind, RegionKind::Multiplicity { .. });
                    assert!(is_free(d, r, cell) || is_refused_by_any(&all, &built, &honest, s, cell, delta), "segment {s}, {region:?}");
                    let mut w = w.clone();
                    w.heap[cell] += delta;
                    assert!(!is_multiplicity || check(&d.program, &built.parameters, &w).is_err());
                }
            }
        }
    }
}

/// Whether a segment refuses a changed cell of segment `s`, or another one that imports it.
fn is_refused_by_any(all: &[Derived], built: &Built, honest: &[Witness], s: usize, cell: usize, delta: i64) -> bool {
    let row_bits = all[s].program.row_bits;
    let (row, rest) = (cell >> row_bits, cell & ((1 << row_bits) - 1));
    let copies = all.iter().enumerate().flat_map(|(t, d)| {
        let import = d.imports.iter().find(|i| i.from_segment == s && (i.from_row..i.from_row + i.rows).contains(&row));
        import.map(|i| (t, ((i.first_row + row - i.from_row) << row_bits) + rest))
    });
    std::iter::once((s, cell)).chain(copies).any(|(t, cell)| is_refused(&all[t], built, &honest[t], cell, delta))
}

#[test]
fn gaps_of_columns_are_rows_and_gaps_of_others_are_not_read() {
    let mut b = Builder::new();
    let table = b.function_table("successor", 5, vec![(6..100).collect()]);
    let y = b.column_cells(table, &[67]);
    b.step(Step::Input { input: 0, name: "x".into(), view: y[0].clone(), lo: 5, hi: 90 });
    b.apply("successor", table, &y);
    b.assign("sum", &[67], 1, vec![Term::linear(1, y[0].clone(), &[0]), Term::linear(1, y[1].clone(), &[0])], 11, 197);
    let built = b.finish(None);
    let inferences: Vec<Witness> = (0..3).map(|k| execute(&built, &[vec![10 + k; 67]]).expect("runs")).collect();
    let d = batch(&built.program, 3, &[]).expect("a batch");
    let w = d.fill(&built.parameters, &inferences).expect("fits");
    check(&d.program, &built.parameters, &w).expect("holds");
    let cell = |r: usize| w.heap[d.program.regions[r].base + 67];
    assert_eq!((cell(0), cell(1), cell(2)), (5, 6, 11));
    assert_eq!(d.program.regions.iter().map(|r| r.len).collect::<Vec<_>>(), vec![2 * 68 + 67, 2 * 68 + 67, 2 * 68 + 67, 94]);
    // A gap that is read is no gap.
    let mut read = d.clone();
    d.audit().expect("sound");
    let view = View { source: Source::Region(RegionId(2)), offset: 67, axes: Vec::new() };
    read.program.identities[0].terms.push(Term::linear(1, view, &[]));
    read.audit().expect_err("reads a cell without bounds");
    audit(&d.program).expect_err("the gaps are not bounded");
}

#[test]
fn segments_are_made_small_enough_if_they_can_be() {
    let (built, _) = sample_program();
    let largest = |all: &[Derived]| all.iter().map(|d| d.cost().cells).max();
    let whole = batch(&built.program, 50, &[]).expect("a batch").cost().cells;
    let all = segments_within(&built.program, 50, &[], whole).expect("can be cut");
    assert_eq!(all.len(), 1);
    // Its committed tensor, a row for each inference, cannot be cut.
    let cells = whole / 3 * 2;
    let all = segments_within(&built.program, 50, &[], cells).expect("can be cut");
    assert!(all.len() > 1 && largest(&all) <= Some(cells));
    let best = segments_within(&built.program, 50, &[], 1).expect("as small as possible");
    assert!(largest(&best) <= largest(&all) && best.iter().all(|d| d.inferences() == 50));
}

#[test]
fn pitches_have_few_odd_bits() {
    for len in (1..5000).chain([58 * 58, 12 * 197 * 197, 768 * 50_257]) {
        let pitch = super::batch::pitch(len);
        assert!(pitch >= len && pitch <= len + len / 16);
        assert!(pitch >> pitch.trailing_zeros() <= 32, "{len}: {pitch}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn random_programs_can_be_batched_and_cut(seed: u64, count in 1usize..4, cuts in 1usize..6) {
        let mut rng = Rng(seed);
        let built = random_program(&mut rng);
        audit(&built.program).expect("sound");
        let inferences: Vec<Witness> = (0..count).map(|_| execute(&built, &random_inputs(&mut rng, &built)).expect("runs")).collect();
        let d = batch(&built.program, count, &[PublicId(1)]).expect("can be batched");
        d.audit().expect("sound");
        check_all(std::slice::from_ref(&d), &built, &fill_all(std::slice::from_ref(&d), &built, &inferences));
        let all = batched_segments(&built.program, count, &[], cuts).expect("can be cut");
        let witnesses = fill_all(&all, &built, &inferences);
        check_all(&all, &built, &witnesses);
        if count == 1 {
            everything_is_proved_once(&all, &built.program);
        }
        let s = rng.below(all.len());
        let d = &all[s];
        for (r, region) in d.program.regions.iter().enumerate().filter(|(_, region)| region.len > 0) {
            let cell = region.base + rng.below(region.len);
            prop_assert!(is_free(d, r, cell) || is_refused_by_any(&all, &built, &witnesses, s, cell, 1), "segment {s}, {region:?}");
        }
    }
}
