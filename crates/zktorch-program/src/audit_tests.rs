//! One test per flaw that the audit and the validation reject.

use crate::testing::sample_program;
use crate::{
    AuditError, Axis, Builder, ConstantId, Identity, Lookup, Malformed, MatrixId, ParamBlock, Program, PublicId, Region, RegionId,
    RegionKind, Source, Table, TableId, Term, TermFlaw, View, ViewFlaw, audit,
};

fn flawed(change: impl FnOnce(&mut Program)) -> AuditError {
    let (mut built, _) = sample_program();
    change(&mut built.program);
    audit(&built.program).expect_err("a flaw")
}

fn malformed(change: impl FnOnce(&mut Program)) -> Malformed {
    match flawed(change) {
        AuditError::Malformed(m) => m,
        other => panic!("{other}"),
    }
}

fn identity(p: &Program, name: &str) -> usize {
    let found = p.identities.iter().position(|i| i.name == name);
    found.expect("the sample has it")
}

/// The flaw of the changed first factor of the first term of identity `linear`.
fn term_flaw(change: impl FnOnce(&mut Term, &mut Vec<usize>)) -> TermFlaw {
    let error = malformed(|p| {
        let i = identity(p, "linear");
        let i = &mut p.identities[i];
        change(&mut i.terms[0], &mut i.sizes);
    });
    match error {
        Malformed::Term { name, flaw, .. } => {
            assert_eq!(name, "linear");
            flaw
        }
        other => panic!("{other}"),
    }
}

#[test]
fn views_must_stay_inside_their_sources() {
    let of = |change: &dyn Fn(&mut View)| match term_flaw(|t, _| change(&mut t.factors[0].view)) {
        TermFlaw::View { factor: 0, flaw } => flaw,
        other => panic!("{other}"),
    };
    assert_eq!(of(&|v| v.offset = 1), ViewFlaw::Outside { end: 16, len: 15 });
    assert!(matches!(of(&|v| v.axes[0].stride = usize::MAX), ViewFlaw::Outside { .. }));
    assert!(matches!(of(&|v| v.offset = usize::MAX), ViewFlaw::Outside { .. }));
    assert_eq!(of(&|v| v.axes[1].size = 0), ViewFlaw::EmptyAxis(1));
    assert_eq!(of(&|v| v.axes[1] = Axis { size: usize::MAX, stride: 0 }), ViewFlaw::TooLarge);
    assert_eq!(of(&|v| v.axes = vec![Axis { size: 1, stride: 0 }; 40]), ViewFlaw::TooLarge);
    for source in
        [Source::Region(RegionId(1000)), Source::Matrix(MatrixId(1000)), Source::Constant(ConstantId(1000)), Source::Public(PublicId(1000))]
    {
        assert_eq!(of(&|v| v.source = source), ViewFlaw::NoSuchSource(source));
    }
    let flaw = term_flaw(|t, _| t.factors[1].view.axes[0].stride = 4);
    let flaw = matches!(flaw, TermFlaw::View { factor: 1, flaw: ViewFlaw::PartialMatrix });
    assert!(flaw);
}

#[test]
fn letters_must_fit_their_axes() {
    let flaw = term_flaw(|t, _| t.factors[0].letters.push(1));
    assert_eq!(flaw, TermFlaw::LetterCount { factor: 0, letters: 3, axes: 2 });
    let flaw = term_flaw(|t, _| t.factors[0].letters[1] = 9);
    assert_eq!(flaw, TermFlaw::NoSuchLetter { factor: 0, letter: 9 });
    let flaw = term_flaw(|t, _| t.factors[0].letters[1] = 0);
    assert_eq!(flaw, TermFlaw::LetterTwice { factor: 0, letter: 0 });
    let flaw = term_flaw(|t, _| drop(t.factors.remove(0)));
    assert_eq!(flaw, TermFlaw::SummedMatrix { factor: 0, letter: 2 });
    let flaw = term_flaw(|_, sizes| sizes[2] = 6);
    assert_eq!(flaw, TermFlaw::AxisSize { factor: 0, letter: 2, axis: 5, size: 6 });
    let flaw = term_flaw(|t, _| t.factors = vec![t.factors[0].clone(); 4]);
    assert_eq!(flaw, TermFlaw::TooManyFactors(4));
    let flaw = term_flaw(|t, _| t.coeff = -(1 << 100));
    assert_eq!(flaw, TermFlaw::Coefficient(-(1 << 100)));
    assert!(matches!(term_flaw(|_, sizes| sizes[0] = 0), TermFlaw::Sizes { .. }));
    assert!(matches!(term_flaw(|_, sizes| sizes.push(usize::MAX)), TermFlaw::Sizes { .. }));
    assert!(matches!(term_flaw(|_, sizes| sizes.truncate(1)), TermFlaw::Sizes { .. }));
}

#[test]
fn heap_and_regions_must_have_room() {
    assert!(matches!(malformed(|p| p.heap_len -= 1), Malformed::Heap { .. }));
    assert!(matches!(malformed(|p| p.heap_len = usize::MAX), Malformed::Heap { .. }));
    assert!(matches!(malformed(|p| p.row_bits = 64), Malformed::Heap { .. }));
    let place = |change: fn(&mut Region)| match malformed(|p| change(&mut p.regions[0])) {
        Malformed::RegionPlace { other, .. } => other,
        other => panic!("{other}"),
    };
    assert_eq!(place(|r| r.len = 0), None);
    assert_eq!(place(|r| r.base = usize::MAX), None);
    assert!(malformed_kind(|r| r.base += 1));
    let own = |p: &Program| p.regions.iter().position(|r| r.own_rows).expect("committed");
    let shared = malformed(|p| {
        let own = own(p);
        p.regions[own].base += 1;
    });
    assert!(matches!(shared, Malformed::SharedRow(_)));
    let kind = malformed(|p| {
        p.regions[0].kind = RegionKind::Column { table: TableId(0), column: 9 };
    });
    assert_eq!(kind, Malformed::RegionKind(0));
    let kind = malformed(|p| p.regions[0].kind = RegionKind::Assigned { lo: 1, hi: 0 });
    assert_eq!(kind, Malformed::RegionKind(0));
}

#[test]
fn virtual_regions_belong_to_one_identity_and_one_lookup() {
    let (built, _) = sample_program();
    let program = &built.program;
    let r = program.regions.iter().position(Region::is_virtual).expect("virtual");
    let source = Source::Region(RegionId(r as u32));
    let has = |t: &Term| t.factors.iter().any(|f| f.view.source == source);
    let identity = program.identities.iter().position(|i| i.terms.iter().any(has)).expect("an identity");
    let term = program.identities[identity].terms.iter().position(has).expect("a term");
    let lookup = program.lookups.iter().position(|l| l.columns[0].source == source).expect("a lookup");
    let flaw = |change: &dyn Fn(&mut Program)| {
        let mut p = program.clone();
        change(&mut p);
        p.validate().expect_err("malformed")
    };
    let changes: [&dyn Fn(&mut Program); 9] = [
        &|p| p.identities[identity].terms[term].coeff = 0,
        &|p| p.identities[identity].terms[term].factors[0].letters.swap(0, 1),
        &|p| p.identities[identity].terms[term].factors[0].view.axes.reverse(),
        &|p| drop(p.identities[identity].terms.remove(term)),
        &|p| p.identities.push(p.identities[identity].clone()),
        &|p| {
            let again = p.identities[identity].terms[term].clone();
            p.identities[identity].terms.push(again);
        },
        &|p| drop(p.lookups.remove(lookup)),
        &|p| p.lookups.push(p.lookups[lookup].clone()),
        &|p| {
            let view = &mut p.lookups[lookup].columns[0];
            *view = View::dense(source, 0, &[view.len()]);
            p.lookups[lookup].index_axes = 1;
        },
    ];
    for (i, change) in changes.iter().enumerate() {
        // Reversed axes do not fit the letters' sizes.
        assert!(matches!(flaw(change), Malformed::Virtual(_) | Malformed::Term { .. }), "change {i}");
    }
    assert!(matches!(flaw(&|p| p.regions[r].base = 0), Malformed::RegionPlace { .. }));
    // A single cell that an identity without output letters leaves over.
    let scalar = flaw(&|p| {
        let len = p.witness_len();
        let region = RegionId(p.regions.len() as u32);
        let RegionKind::Virtual { table } = p.regions[r].kind else { unreachable!("it is virtual") };
        p.regions.push(Region { base: len, len: 1, kind: RegionKind::Virtual { table }, own_rows: false });
        let view = View::dense(Source::Region(region), 0, &[]);
        p.identities.push(Identity { name: "hostile".into(), sizes: vec![], outputs: 0, terms: vec![Term::linear(1, view.clone(), &[])] });
        p.lookups.push(Lookup { name: "hostile".into(), table, columns: vec![view], index_axes: 0 });
    });
    assert_eq!(scalar, Malformed::Virtual(program.regions.len()));
    assert!(matches!(flaw(&|p| p.regions[r].own_rows = true), Malformed::RegionPlace { .. }));
    let other = program.tables.iter().position(|t| !matches!(t, Table::Range { .. })).expect("another kind of table");
    assert_eq!(flaw(&|p| p.regions[r].kind = RegionKind::Virtual { table: TableId(other as u32) }), Malformed::RegionKind(r));
}

#[test]
fn remainders_that_something_reads_are_committed() {
    let (built, _) = sample_program();
    let read = |name: &str| {
        let i = built.program.identities.iter().find(|i| i.name == name).expect("an identity");
        let remainder = &i.terms.last().expect("digits come last").factors[0].view;
        built.program.virtual_region(remainder).is_some()
    };
    assert!(read("linear") && read("softmax/max") && read("softmax/scale"));
    assert!(!read("softmax/reciprocal"));
}

/// Whether moving the first region makes it overlap another.
fn malformed_kind(change: fn(&mut Region)) -> bool {
    let error = malformed(|p| {
        // Let the first two regions touch.
        let len = p.regions[0].len;
        p.regions[1].base = p.regions[0].base + len;
        change(&mut p.regions[0]);
    });
    matches!(error, Malformed::RegionPlace { other: Some(_), .. })
}

#[test]
fn tensors_must_match_their_declarations() {
    let block = |change: fn(&mut ParamBlock)| malformed(|p| change(&mut p.params[1]));
    assert!(matches!(block(|b| b.offset += 1), Malformed::ParamBlock { .. }));
    assert!(matches!(block(|b| b.len += 1), Malformed::ParamBlock { .. }));
    assert!(matches!(block(|b| b.lo = b.hi + 1), Malformed::ParamBlock { .. }));
    assert!(matches!(malformed(|p| p.params_len += 1), Malformed::ParamBlock { .. }));
    let is_tensor = |m: Malformed| matches!(m, Malformed::Tensor { .. });
    assert!(is_tensor(malformed(|p| p.matrices[0].lo = 1 << 40)));
    assert!(is_tensor(malformed(|p| p.matrices[0].hi = 1 << 40)));
    assert!(is_tensor(malformed(|p| p.matrices[0].shape = vec![usize::MAX, 3])));
    assert!(is_tensor(malformed(|p| p.constants[0].values.truncate(3))));
    assert!(is_tensor(malformed(|p| p.publics[0].shape[0] = 0)));
    assert!(is_tensor(malformed(|p| p.publics[0].lo = 1000)));
    let committed = malformed(|p| p.committed[0].region = RegionId(0));
    assert!(matches!(committed, Malformed::Committed { .. }));
}

#[test]
fn tables_and_lookups_must_match() {
    let is_table = |m: Malformed| matches!(m, Malformed::Table { .. });
    let set = |t: Table| {
        malformed(|p| {
            let in_virtual =
                |at: usize| p.regions.iter().any(|r| matches!(r.kind, RegionKind::Virtual { table } if table.0 as usize == at));
            let range = (0..p.tables.len()).find(|&at| matches!(p.tables[at], Table::Range { .. }) && !in_virtual(at));
            p.tables[range.expect("the sample has it")] = t;
        })
    };
    assert!(is_table(set(Table::Range { lo: 0, bits: 17 })));
    assert!(is_table(set(Table::Range { lo: i64::MAX, bits: 4 })));
    let function = |lo, outputs| Table::Function { name: String::new(), lo, outputs };
    assert!(is_table(set(function(0, vec![vec![]]))));
    assert!(is_table(set(function(0, vec![vec![1], vec![1, 2]]))));
    assert!(is_table(set(function(i64::MAX, vec![vec![1]]))));
    let rows = |source, axes| Table::Rows { name: String::new(), view: View { source, offset: 0, axes } };
    let axis = Axis { size: 3, stride: 1 };
    assert!(is_table(set(rows(Source::Params, vec![]))));
    assert!(is_table(set(rows(Source::Region(RegionId(0)), vec![axis]))));
    assert!(is_table(set(rows(Source::Constant(ConstantId(7)), vec![axis]))));
    let is_multiplicity = |m: Malformed| matches!(m, Malformed::Multiplicity { .. });
    assert!(is_multiplicity(malformed(|p| p.multiplicities.truncate(1))));
    assert!(is_multiplicity(malformed(|p| p.multiplicities.swap(0, 1))));
    assert!(is_multiplicity(malformed(|p| p.multiplicities[0] = RegionId(1000))));
    let lookup = |change: fn(&mut crate::Lookup)| {
        let m = malformed(|p| {
            let at = p.lookups.iter().position(|l| l.name == "embedding");
            change(&mut p.lookups[at.expect("the sample has it")]);
        });
        assert!(matches!(m, Malformed::Lookup { .. }), "{m}");
    };
    lookup(|l| l.table = TableId(1000));
    lookup(|l| l.columns.truncate(1));
    lookup(|l| l.index_axes = 9);
    lookup(|l| l.columns[0].axes[0].size = 3);
    lookup(|l| l.columns[1].axes[1].size = 2);
    lookup(|l| l.columns[1].offset = 1);
}

#[test]
fn column_regions_must_be_looked_up_as_a_whole() {
    let error = flawed(|p| {
        let l = p.lookups.iter_mut().find(|l| l.name.starts_with("table"));
        let l = l.expect("a table's own lookup");
        let len = l.columns[0].axes[0].size;
        l.columns.iter_mut().for_each(|c| c.axes[0].size = len - 1);
    });
    assert!(matches!(&error, AuditError::ColumnNotLookedUp { node, .. } if !node.is_empty()), "{error}");
}

#[test]
fn columns_must_not_be_swapped() {
    let error = flawed(|p| {
        let l = p.lookups.iter_mut().find(|l| l.columns.len() == 3);
        l.expect("the exp table").columns.swap(1, 2);
    });
    assert!(matches!(error, AuditError::ColumnNotLookedUp { .. }), "{error}");
}

#[test]
fn assigned_cells_need_a_bound() {
    // Without their lookup, the committed cells are not bounded.
    let error = flawed(|p| p.lookups.retain(|l| l.name != "image"));
    assert!(matches!(&error, AuditError::Unbounded { lo: 0, hi: 15, node, .. } if node == "conv"), "{error}");
    // Without its identity, the sum is not.
    let error = flawed(|p| p.identities.retain(|i| i.name != "embed"));
    assert!(matches!(error, AuditError::Unbounded { .. }), "{error}");
    // Nor if the identity leaves one cell out.
    let error = flawed(|p| {
        let i = identity(p, "embed");
        let i = &mut p.identities[i];
        i.sizes[0] = 3;
        i.terms.iter_mut().for_each(|t| t.factors[0].view.axes[0].size = 3);
    });
    assert!(matches!(error, AuditError::Unbounded { cell: 9, .. }), "{error}");
    // A factor other than ±1 leaves a division in the field.
    let error = flawed(|p| {
        let i = identity(p, "embed");
        p.identities[i].terms.last_mut().expect("a term").coeff = -2;
    });
    assert!(matches!(error, AuditError::Unbounded { .. }), "{error}");
}

#[test]
fn cells_must_not_bound_each_other() {
    let mut b = Builder::new();
    let cells = b.assigned_cells(&[2], -10, 10);
    let (x, y) = (cells.slice(0, 0, 1, 1), cells.slice(0, 1, 1, 1));
    let equal = |x: &View, y: &View| vec![Term::linear(1, x.clone(), &[0]), Term::linear(-1, y.clone(), &[0])];
    b.identity("x = y", &[1], 1, equal(&x, &y));
    b.identity("y = x", &[1], 1, equal(&y, &x));
    let error = audit(&b.finish(None).program).expect_err("circular");
    assert!(matches!(error, AuditError::Unbounded { cell: 0, .. }), "{error}");
    // A cell does not bound itself either, in another term of the same identity.
    let mut b = Builder::new();
    let x = b.assigned_cells(&[1], -10, 10);
    b.identity("x = x", &[1], 1, equal(&x, &x));
    let error = audit(&b.finish(None).program).expect_err("circular");
    assert!(matches!(error, AuditError::Unbounded { .. }), "{error}");
}

#[test]
fn identities_must_run_over_all_cells_that_they_express() {
    // Σ_k cells[k] = 0 bounds the sum, not the cells.
    let mut b = Builder::new();
    let x = b.assigned_cells(&[4], -10, 10);
    b.identity("sum", &[4], 0, vec![Term::linear(1, x, &[0])]);
    let error = audit(&b.finish(None).program).expect_err("only the sum is bounded");
    assert!(matches!(error, AuditError::Unbounded { .. }), "{error}");
}

#[test]
fn declared_bounds_must_contain_what_the_identity_admits() {
    let error = flawed(|p| {
        for r in &mut p.regions {
            if r.kind == (RegionKind::Assigned { lo: 0, hi: 7 * 256 }) {
                r.kind = RegionKind::Assigned { lo: 0, hi: 7 * 256 - 1 };
            }
        }
    });
    let expected = AuditError::BoundTooNarrow { name: "softmax/sum".to_string(), lo: 0, hi: 1791, from: 0, to: 1792 };
    assert_eq!(error, expected);
}

#[test]
fn explicit_lookups_must_be_within_the_declared_bounds() {
    let error = flawed(|p| {
        for r in &mut p.regions {
            if r.kind == (RegionKind::Assigned { lo: 0, hi: 15 }) {
                r.kind = RegionKind::Assigned { lo: 0, hi: 14 };
            }
        }
    });
    assert!(matches!(error, AuditError::Unbounded { hi: 14, .. }), "{error}");
}

#[test]
fn sums_must_stay_far_below_the_field() {
    let error = flawed(|p| {
        let i = identity(p, "linear");
        p.identities[i].terms[0].coeff = 1 << 99;
        p.publics[0].hi = 1 << 40;
    });
    assert_eq!(error, AuditError::Wraps { name: "linear".to_string() });
    let error = flawed(|p| {
        let i = identity(p, "norm/inverse below");
        p.identities[i].terms[1].coeff = 1 << 99;
    });
    assert!(matches!(error, AuditError::Wraps { .. }), "{error}");
}

#[test]
fn multiplicities_are_not_to_be_read() {
    let error = flawed(|p| {
        let i = identity(p, "softmax/sum");
        let source = Source::Region(p.multiplicities[0]);
        p.identities[i].terms[0].factors[0].view.source = source;
    });
    assert_eq!(error, AuditError::ReadsMultiplicities { name: "softmax/sum".to_string() });
}

#[test]
fn squares_are_not_negative() {
    let mut b = Builder::new();
    let range = b.range_table(-8, 4);
    let x = b.column_cells(range, &[5]).swap_remove(0);
    let terms = vec![Term::product(1, x.clone(), &[0], x, &[0])];
    b.assign("square", &[5], 0, terms, 0, 5 * 64);
    audit(&b.finish(None).program).expect("a sum of squares has bounds 0..=320");
}
