#![allow(clippy::unwrap_used)]
//! Both parties run the argument on small programs; the constraints and the claims are then checked in the clear.

use super::*;
use crate::Transcript;
use crate::claims::{Vector, weighted_sum};
use crate::party::{Prover, Verifier};
use ark_ff::AdditiveGroup;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::sync::LazyLock;
use zktorch_algebra::{hash_to_g1, msm::FixedBaseTable};
use zktorch_program::{Builder, Built, Lookup, RegionKind, Source, TableId, View};

static BASES: LazyLock<FixedBaseTable> = LazyLock::new(|| {
    let bases: Vec<_> = (0..=crate::circuit::ROW as u8).map(|i| hash_to_g1(&[i])).collect();
    FixedBaseTable::new(&bases, 6)
});

/// A program with everything that the prover knows.
#[derive(Clone)]
struct Case {
    built: Built,
    publics: Vec<Vec<i64>>,
    heap: Vec<i64>,
}

/// Which constraints, in order, and how many claims do not hold.
#[derive(Debug, PartialEq, Eq)]
struct Flaws {
    constraints: Vec<usize>,
    claims: usize,
}

const SOUND: Flaws = Flaws { constraints: Vec::new(), claims: 0 };

type Tamper<'a> = Box<dyn FnMut(&'static str, &mut Vec<Fr>) + 'a>;

impl Case {
    /// Lays out the heap; `cells` fills it and gives the public tensors, then the multiplicities are counted.
    fn new(builder: Builder, cells: impl FnOnce(&Built, &mut [i64]) -> Vec<Vec<i64>>) -> Case {
        let built = builder.finish(Some(4));
        let mut heap = vec![0; built.program.heap_len];
        let publics = cells(&built, &mut heap);
        let mut case = Case { built, publics, heap };
        case.count();
        case
    }

    fn read(&self, view: &View, cell: usize) -> i64 {
        let program = &self.built.program;
        match view.source {
            Source::Region(r) => self.heap[program.regions[r.0 as usize].base + cell],
            Source::Params => self.built.parameters.heap[cell],
            Source::Matrix(m) => self.built.parameters.matrices[m.0 as usize].view().get(cell),
            Source::Constant(c) => program.constants[c.0 as usize].values[cell],
            Source::Public(p) => self.publics[p.0 as usize][cell],
        }
    }

    fn multiplicity_cell(&self, table: usize, row: usize) -> usize {
        let program = &self.built.program;
        program.regions[program.multiplicities[table].0 as usize].base + row
    }

    fn count(&mut self) {
        for t in 0..self.built.program.tables.len() {
            for j in 0..self.built.program.tables[t].len() {
                let cell = self.multiplicity_cell(t, j);
                self.heap[cell] = 0;
            }
        }
        for l in self.built.program.lookups.clone() {
            let lo = match &self.built.program.tables[l.table.0 as usize] {
                Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
                Table::Rows { .. } => 0,
            };
            for cell in l.columns[0].cells() {
                let row = self.read(&l.columns[0], cell) - lo;
                let cell = self.multiplicity_cell(l.table.0 as usize, row as usize);
                self.heap[cell] += 1;
            }
        }
    }

    fn flaws(&self) -> Flaws {
        self.flaws_with(None)
    }

    fn flaws_with<'a>(&'a self, tamper: Option<Tamper<'a>>) -> Flaws {
        let program = &self.built.program;
        let mut prover = Prover::new(Transcript::new(), &BASES, ChaCha20Rng::seed_from_u64(1));
        prover.tamper = tamper;
        let witness = Witness { heap: &self.heap, parameters: &self.built.parameters };
        let mut claims = Vec::new();
        lookup_argument(&mut prover, program, &self.publics, Some(witness), &mut claims).unwrap();

        let proof = prover.proof.clone();
        let mut verifier = Verifier::new(Transcript::new(), &proof);
        let mut seen = Vec::new();
        lookup_argument(&mut verifier, program, &self.publics, None, &mut seen).unwrap();
        verifier.finish().unwrap();
        assert_eq!(seen.len(), claims.len());
        for (a, b) in seen.iter().zip(&claims) {
            assert_eq!((a.vector, a.offset, &a.axes, &a.value), (b.vector, b.offset, &b.axes, &b.value));
        }
        let stated = std::mem::take(&mut verifier.circuit().constraints);
        let constraints = std::mem::take(&mut prover.circuit().constraints);
        assert_eq!(stated.len(), constraints.len());
        for (a, b) in stated.iter().zip(&constraints) {
            assert_eq!(a.linear, b.linear);
            let products = |c: &crate::circuit::Constraint| c.products.iter().map(|p| (p.coefficient, p.a, p.b)).collect::<Vec<_>>();
            assert_eq!(products(a), products(b));
        }
        assert_eq!(verifier.challenge(b"end"), prover.challenge(b"end"));

        let value = |lc: &crate::circuit::Lc| prover.value(lc).unwrap();
        let wire = |w| value(&crate::circuit::Lc::wire(w));
        let left_side = |c: &crate::circuit::Constraint| {
            value(&c.linear) + c.products.iter().map(|p| p.coefficient * wire(p.a) * wire(p.b)).sum::<Fr>()
        };
        let wrong = |c: &Claim| {
            let values: Vec<i64> = match c.vector {
                Vector::Heap => self.heap.clone(),
                Vector::Params => self.built.parameters.heap.clone(),
                Vector::Matrix(m) => self.built.parameters.matrices[m].view().iter().collect(),
            };
            weighted_sum(&values, c.offset, &c.axes) != value(&c.value)
        };
        Flaws {
            constraints: constraints.iter().enumerate().filter(|(_, c)| left_side(c) != Fr::ZERO).map(|(i, _)| i).collect(),
            claims: claims.iter().filter(|c| wrong(c)).count(),
        }
    }

    /// Asserts that a changed witness is caught.
    fn caught(&self, change: impl FnOnce(&mut Case)) {
        let mut case = self.clone();
        change(&mut case);
        assert_ne!(case.heap, self.heap, "the change changes something");
        assert_ne!(case.flaws(), SOUND);
    }

    /// Heap cell of the first column of lookup `l` at a site, given by its position among the sites.
    fn site(&self, l: usize, column: usize, site: usize) -> usize {
        let view = &self.built.program.lookups[l].columns[column];
        self.built.program.absolute_offset(view) - view.offset + view.cells()[site]
    }
}

/// A sequence of small numbers.
fn numbers(n: usize, modulus: u64) -> impl Iterator<Item = i64> {
    (0..n as u64).map(move |i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as i64 % modulus as i64)
}

/// Fills the regions that are columns of range and function tables with rows of theirs.
fn fill_columns(built: &Built, heap: &mut [i64]) {
    for l in &built.program.lookups {
        let table = &built.program.tables[l.table.0 as usize];
        let Source::Region(r) = l.columns[0].source else { continue };
        if !matches!(built.program.regions[r.0 as usize].kind, RegionKind::Column { .. }) {
            continue;
        }
        let n = l.columns[0].len();
        for (i, row) in numbers(n, table.len() as u64).enumerate() {
            for (c, column) in l.columns.iter().enumerate() {
                let value = match table {
                    Table::Range { lo, .. } => lo + row,
                    Table::Function { lo, .. } if c == 0 => lo + row,
                    Table::Function { outputs, .. } => outputs[c - 1][row as usize],
                    Table::Rows { .. } => continue,
                };
                heap[built.program.absolute_offset(column) + i] = value;
            }
        }
    }
}

/// Ranges and functions in cells of their own.
fn plain(sites: usize) -> Case {
    let mut b = Builder::new();
    let bytes = b.range_table(-128, 8);
    let bits = b.range_table(0, 1);
    let f = b.function_table("f", -50, vec![(0..100).map(|j| (j * j) % 31).collect(), (0..100).map(|j| 3 - j).collect()]);
    b.column_cells(bytes, &[sites]);
    b.column_cells(bits, &[3]);
    b.column_cells(f, &[sites / 2 + 5]);
    Case::new(b, |built, heap| {
        fill_columns(built, heap);
        Vec::new()
    })
}

/// Explicit lookups: permuted, strided, scalar and broadcast windows, public and constant columns.
fn explicit() -> Case {
    let mut b = Builder::new();
    let nibble = b.range_table(0, 4);
    let square = b.function_table("square", -4, vec![(-4..5).map(|x| x * x).collect()]);
    let x = b.assigned_cells(&[3, 5, 2], -4, 4);
    let y = b.assigned_cells(&[5, 3, 2], 0, 16);
    let d = b.assigned_cells(&[40], 0, 15);
    let xp = b.public("x", &[7], -4, 4);
    let yc = b.constant("y", &[7], vec![16, 9, 4, 1, 0, 1, 4]);
    b.lookup("permuted", square, vec![x.clone(), y.permute(&[1, 0, 2])], 3);
    b.lookup("public", square, vec![xp.clone(), yc.clone()], 1);
    b.lookup("strided", nibble, vec![d.slice(0, 1, 13, 3)], 1);
    b.lookup("scalar", nibble, vec![d.at(0, 39)], 0);
    b.lookup("broadcast", square, vec![xp.at(0, 1).broadcast_axis(0, 6), yc.at(0, 1).broadcast_axis(0, 6)], 1);
    Case::new(b, |built, heap| {
        let program = &built.program;
        let [x, y] = [&program.lookups[0].columns[0], &program.lookups[0].columns[1]];
        let base = |v: &View| program.absolute_offset(v) - v.offset;
        for (k, (cx, cy)) in x.cells().into_iter().zip(y.cells()).enumerate() {
            let v = k as i64 % 9 - 4;
            heap[base(x) + cx] = v;
            heap[base(y) + cy] = v * v;
        }
        let d = &program.lookups[2].columns[0];
        for (k, v) in numbers(40, 16).enumerate() {
            heap[base(d) + k] = v;
        }
        vec![(-4..3).collect()]
    })
}

/// Rows of a parameter, a matrix (stored transposed) and a constant.
fn gathers() -> Case {
    let mut b = Builder::new();
    let small = b.param("before", &[3], &[7, 8, 9]);
    assert_eq!(small.len(), 3);
    let p = b.param("p", &[11, 3, 2], &numbers(66, 50).map(|v| v - 25).collect::<Vec<_>>());
    let m = b.matrix("m", &[5, 19], numbers(95, 200).map(|v| v as i32 - 100).collect());
    let c = b.constant("c", &[6, 4], numbers(24, 9).collect());
    let tables = [b.rows_table("p", p), b.rows_table("m", m.permute(&[1, 0])), b.rows_table("c", c)];
    let index = [b.assigned_cells(&[9], 0, 10), b.assigned_cells(&[2, 3], 0, 18), b.assigned_cells(&[70], 0, 5)];
    let out = [b.assigned_cells(&[9, 3, 2], -25, 24), b.assigned_cells(&[2, 3, 5], -100, 99), b.assigned_cells(&[70, 4], 0, 8)];
    for (((t, i), o), axes) in tables.into_iter().zip(index).zip(out).zip([1, 2, 1]) {
        b.lookup("gather", t, vec![i, o], axes);
    }
    Case::new(b, |built, heap| {
        let program = &built.program;
        for l in &program.lookups {
            let Table::Rows { view, .. } = &program.tables[l.table.0 as usize] else { unreachable!() };
            let base = |v: &View| program.absolute_offset(v) - v.offset;
            let n = l.columns[0].len();
            let out = l.columns[1].cells();
            let width = out.len() / n;
            for (i, j) in numbers(n, view.axes[0].size as u64).enumerate() {
                heap[base(&l.columns[0]) + i] = j;
                for (k, cell) in view.at(0, j as usize).cells().into_iter().enumerate() {
                    heap[base(&l.columns[1]) + out[i * width + k]] = match view.source {
                        Source::Params => built.parameters.heap[cell],
                        Source::Matrix(m) => built.parameters.matrices[m.0 as usize].view().get(cell),
                        _ => program.constants[0].values[cell],
                    };
                }
            }
        }
        Vec::new()
    })
}

#[test]
fn honest_lookups_are_proved() {
    for sites in [1, 2, 37, 300, 5000] {
        assert_eq!(plain(sites).flaws(), SOUND, "{sites} sites");
    }
    assert_eq!(explicit().flaws(), SOUND);
    assert_eq!(gathers().flaws(), SOUND);
}

#[test]
fn the_smallest_program_is_proved() {
    let mut b = Builder::new();
    let t = b.range_table(5, 0);
    b.column_cells(t, &[1]);
    let case = Case::new(b, |built, heap| {
        fill_columns(built, heap);
        Vec::new()
    });
    assert_eq!(Layout::new(&case.built.program).unwrap().unwrap().bits, 1);
    assert_eq!(case.flaws(), SOUND);
    case.caught(|c| {
        let cell = c.site(0, 0, 0);
        c.heap[cell] = 6;
    });
}

#[test]
fn a_tree_of_many_chunks_is_proved() {
    // The larger one does not keep the layers next to the leaves.
    for (sites, bits) in [(60_000, 17), (800_000, 21)] {
        let case = plain(sites);
        assert_eq!(Layout::new(&case.built.program).unwrap().unwrap().bits, bits);
        assert_eq!(case.flaws(), SOUND);
        case.caught(|c| {
            let cell = c.site(0, 0, sites - 1);
            c.heap[cell] = 128;
        });
    }
}

#[test]
fn a_program_without_lookups_sends_nothing() {
    let case = Case::new(Builder::new(), |_, _| Vec::new());
    assert_eq!(case.flaws(), SOUND);
    let mut dry = Verifier::dry();
    lookup_argument(&mut dry, &case.built.program, &[], None, &mut Vec::new()).unwrap();
    assert!(dry.dry_parts().is_empty());
}

#[test]
fn a_wrong_cell_is_caught() {
    for case in [plain(37), explicit(), gathers()] {
        for (l, lookup) in case.built.program.lookups.iter().enumerate() {
            for (c, column) in lookup.columns.iter().enumerate() {
                if matches!(column.source, Source::Region(_)) {
                    for site in [0, column.len() / 2, column.len() - 1] {
                        case.caught(|case| {
                            let cell = case.site(l, c, site);
                            case.heap[cell] += 1;
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn a_value_outside_the_range_is_caught_whatever_the_multiplicities() {
    let case = plain(37);
    for value in [128, -129, 1 << 40, i64::MIN, i64::MAX] {
        for compensate in [0, 127, 255] {
            case.caught(|c| {
                let cell = c.site(0, 0, 11);
                let old = c.heap[cell] + 128;
                c.heap[cell] = value;
                let (from, to) = (c.multiplicity_cell(0, old as usize), c.multiplicity_cell(0, compensate));
                c.heap[from] -= 1;
                c.heap[to] += 1;
            });
        }
    }
}

#[test]
fn wrong_multiplicities_are_caught() {
    for case in [plain(37), explicit(), gathers()] {
        for t in 0..case.built.program.tables.len() {
            let len = case.built.program.tables[t].len();
            for row in [0, len / 3, len - 1] {
                let cell = case.multiplicity_cell(t, row);
                case.caught(|c| c.heap[cell] += 1);
                case.caught(|c| c.heap[cell] -= 1);
            }
            let counts = case.multiplicity_cell(t, 0);
            let other = (1..len).find(|&j| case.heap[counts + j] != case.heap[counts]).unwrap();
            case.caught(|c| c.heap.swap(counts, counts + other));
        }
    }
}

#[test]
fn a_function_value_of_another_row_is_caught() {
    let case = plain(37);
    // The outputs of two sites are exchanged: every value occurs in the table, in another row.
    let a = case.site(2, 2, 0);
    let b = (1..10).map(|i| case.site(2, 2, i)).find(|&b| case.heap[a] != case.heap[b]).unwrap();
    case.caught(|c| c.heap.swap(a, b));
    // An argument outside the table, with the outputs of the row that the padded table would have.
    case.caught(|c| {
        for (column, value) in [50, 0, 0].into_iter().enumerate() {
            let cell = c.site(2, column, 3);
            c.heap[cell] = value;
        }
    });
}

#[test]
fn a_row_of_another_table_is_caught() {
    let mut b = Builder::new();
    let wide = b.range_table(0, 5);
    let narrow = b.range_table(0, 3);
    b.column_cells(wide, &[20]);
    b.column_cells(narrow, &[20]);
    let case = Case::new(b, |built, heap| {
        fill_columns(built, heap);
        Vec::new()
    });
    assert_eq!(case.flaws(), SOUND);
    // A cell of the narrow table holds 20, and the row 20 of the wide table is said to be used once more.
    case.caught(|c| {
        let cell = c.site(1, 0, 4);
        let old = c.heap[cell] as usize;
        c.heap[cell] = 20;
        let (from, to) = (c.multiplicity_cell(1, old), c.multiplicity_cell(0, 20));
        c.heap[from] -= 1;
        c.heap[to] += 1;
    });
}

#[test]
fn the_padding_of_a_table_is_no_row() {
    let mut b = Builder::new();
    let t = b.function_table("three rows", 1, vec![vec![4, 5, 6]]);
    b.column_cells(t, &[5]);
    let case = Case::new(b, |built, heap| {
        fill_columns(built, heap);
        Vec::new()
    });
    assert_eq!(case.flaws(), SOUND);
    for row in [[0, 0], [4, 0], [4, 4]] {
        case.caught(|c| {
            for (column, value) in row.into_iter().enumerate() {
                let cell = c.site(0, column, 2);
                c.heap[cell] = value;
            }
        });
    }
}

#[test]
fn cells_beside_a_window_are_not_looked_up() {
    let mut case = explicit();
    // Cell 0 is skipped by the stride, and beyond the box of any block.
    let cell = case.site(2, 0, 0) - 1;
    case.heap[cell] = 1 << 30;
    assert_eq!(case.flaws(), SOUND);
}

#[test]
fn changed_rows_are_caught() {
    let case = gathers();
    for column in [0, 3, 5] {
        let mut other = case.clone();
        let row = case.heap[case.site(0, 0, 0)] as usize;
        other.built.parameters.heap[3 + 6 * row + column] += 1;
        assert_ne!(other.flaws(), SOUND);
    }
    let mut other = case.clone();
    let row = case.heap[case.site(1, 0, 0)] as usize;
    let matrix = &mut other.built.parameters.matrices[0];
    *matrix = matrix.changed(|v| v[2 * 19 + row] += 1);
    assert_ne!(other.flaws(), SOUND);
    let mut other = case.clone();
    let row = case.heap[case.site(2, 0, 0)] as usize;
    other.built.program.constants[0].values[4 * row] += 1;
    assert_ne!(other.flaws(), SOUND);
    // Two cells of one gathered row exchanged.
    let (a, b) = (case.site(0, 1, 0), (1..6).map(|i| case.site(0, 1, i)));
    let b = b.into_iter().find(|&b| case.heap[b] != case.heap[a]).unwrap();
    case.caught(|c| c.heap.swap(a, b));
}

#[test]
fn changed_public_values_are_caught() {
    let mut case = explicit();
    case.publics[0][2] += 1;
    assert_ne!(case.flaws(), SOUND);
}

#[test]
fn every_changed_message_is_caught() {
    let case = plain(37);
    let mut lengths = Vec::new();
    case.flaws_with(Some(Box::new(|_, values| lengths.push(values.len()))));
    for (message, &len) in lengths.iter().enumerate() {
        for position in [0, len / 2, len - 1] {
            let mut at = 0;
            let tamper = move |_: &'static str, values: &mut Vec<Fr>| {
                if at == message {
                    values[position] += Fr::ONE;
                }
                at += 1;
            };
            assert_ne!(case.flaws_with(Some(Box::new(tamper))), SOUND, "message {message}, value {position}");
        }
    }
}

#[test]
fn a_zero_denominator_in_the_top_layer_is_caught() {
    let case = plain(37);
    // A node 0/0 satisfies every constraint that its numerator, denominator and quotient occur in, but the one on the inverse: the first.
    let tamper = |what: &'static str, values: &mut Vec<Fr>| {
        if what == "lookup top layer" {
            values[..4].fill(Fr::ZERO);
        }
    };
    assert_eq!(case.flaws_with(Some(Box::new(tamper))).constraints.first(), Some(&0));
}

#[test]
fn the_tree_equals_a_sum_over_the_leaves() {
    let case = plain(300);
    let program = &case.built.program;
    let layout = Layout::new(program).unwrap().unwrap();
    let fingerprint = Fingerprint::draw(&mut Verifier::dry(), program);
    let witness = Witness { heap: &case.heap, parameters: &case.built.parameters };
    let prover =
        prover::LookupProver::new(Statement { program, publics: &[], layout: &layout, fingerprint: &fingerprint }, witness).unwrap();
    let (p, q) = prover.tree().take_layer(0);
    let mut product = Fr::ONE;
    let denominator = |l: &Lookup, site: usize| {
        let columns = l.columns.iter().zip(&fingerprint.beta);
        let sum: Fr = columns.map(|(v, b)| *b * Fr::from(case.read(v, v.cells()[site]))).sum();
        fingerprint.constant(l.table.0 as usize) - sum
    };
    for l in &program.lookups {
        for site in 0..l.columns[0].len() {
            product *= denominator(l, site);
        }
    }
    // Leaves outside the boxes look up the first row.
    for (t, padding) in layout.padding.iter().enumerate() {
        let rows = column_denominators(&case, &fingerprint, t);
        product *= rows.iter().product::<Fr>() * rows[0].pow([*padding as u64]);
    }
    assert_eq!(p, vec![Fr::from(0u64)]);
    assert_eq!(q, vec![product]);
}

fn column_denominators(case: &Case, fingerprint: &Fingerprint, table: usize) -> Vec<Fr> {
    let t = &case.built.program.tables[table];
    let constant = fingerprint.constant(TableId(table as u32).0 as usize);
    (0..t.len())
        .map(|j| match t {
            Table::Range { lo, .. } => constant - Fr::from(lo + j as i64),
            Table::Function { lo, outputs, .. } => {
                let outputs = outputs.iter().zip(&fingerprint.beta[1..]).map(|(c, b)| *b * Fr::from(c[j])).sum::<Fr>();
                constant - Fr::from(lo + j as i64) - outputs
            }
            Table::Rows { .. } => unreachable!("not in this program"),
        })
        .collect()
}
