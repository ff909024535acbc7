//! The prover's view of the lookups, and the leaves of its tree.

use super::Statement;
use super::layout::Content;
use super::leaves::Opening;
use super::sites::{Cells, Inner, PADDING, STRAY, SiteReader};
use crate::Witness;
use crate::claims::{Vector, Weight};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::small::SmallAccumulator;
use zktorch_algebra::units::Units;
use zktorch_algebra::{Fr, fr_from_i64, mle, small, table};
use zktorch_program::{Axis, Table};

pub(super) use super::tree::Tree;

/// log2 of the number of leaves that are handled at a time: 128 KiB of field elements, which stay in a second-level cache.
pub(super) const CHUNK_BITS: usize = 12;

/// The prover's view of all lookups.
pub(super) struct LookupProver<'a> {
    pub statement: Statement<'a>,
    witness: Witness<'a>,
    /// `α − fp_j` for the rows of each table in use.
    rows: Vec<Vec<Fr>>,
    /// The compressed content of each table of rows.
    contents: Vec<Vec<Fr>>,
    /// For each block of sites the row that each leaf looks up.
    sites: Vec<Vec<u32>>,
    /// For each block the sites that are no rows, with `α − fp`.
    strays: Vec<Vec<(usize, Fr)>>,
}

impl<'a> LookupProver<'a> {
    /// Finds out what each site looks up. `None` only in a build without a prover.
    pub fn new(statement: Statement<'a>, witness: Witness<'a>) -> Option<Self> {
        let tables = statement.program.tables.len();
        let (rows, contents) = (vec![Vec::new(); tables], vec![Vec::new(); tables]);
        let mut prover = LookupProver { statement, witness, rows, contents, sites: Vec::new(), strays: Vec::new() };
        for block in &statement.layout.blocks {
            let (mut rows, mut strays) = (Vec::new(), Vec::new());
            match &block.content {
                Content::Rows { table, .. } => prover.fill_table(*table),
                Content::Sites { lookup, sizes, windows, .. } => {
                    let reader = SiteReader::new(&statement, witness, &statement.program.lookups[*lookup], sizes, windows);
                    rows = reader.all_rows(block.bits);
                    let found = rows.par_iter().enumerate().filter(|(_, row)| **row == STRAY);
                    strays = found.map(|(leaf, _)| (leaf, reader.denominator(leaf))).collect();
                }
            }
            prover.sites.push(rows);
            prover.strays.push(strays);
        }
        Some(prover)
    }

    /// Computes `α − fp` of each row of a table.
    fn fill_table(&mut self, table: usize) {
        let fingerprint = self.statement.fingerprint;
        let constant = fingerprint.constant(table);
        let t = &self.statement.program.tables[table];
        self.rows[table] = match t {
            Table::Range { lo, .. } => descending(constant, *lo, t.len(), |_, value| value),
            Table::Function { lo, outputs, .. } => descending(constant, *lo, t.len(), |j, value| {
                let mut sum = SmallAccumulator::new();
                for (column, beta) in outputs.iter().zip(&fingerprint.beta[1..]) {
                    sum.add(column[j], beta);
                }
                value - sum.value()
            }),
            Table::Rows { view, .. } => {
                let (cells, base) = self.statement.cells(self.witness, view.source);
                let inner = Inner::new(fingerprint, table, &view.axes[1..], &[]);
                let first = base + view.offset;
                let contents: Vec<Fr> = (0..t.len())
                    .into_par_iter()
                    .map(|j| inner.compress(cells, first + j * view.axes[0].stride, &inner.table_cells))
                    .collect();
                let rows = contents.par_iter().enumerate().map(|(j, v)| constant - Fr::from(j as u64) - fingerprint.beta[1] * v).collect();
                self.contents[table] = contents;
                rows
            }
        };
    }

    /// The value of an opening.
    pub fn open(&self, opening: &Opening) -> Fr {
        if let (Some(table), Some((_, Weight::Eq(point)))) = (opening.content_of, opening.axes.first()) {
            return small::dot(&self.contents[table], &mle::eq_table(point));
        }
        let cells = match opening.vector {
            Vector::Heap => Cells::Wide(self.witness.heap),
            Vector::Params => Cells::Wide(&self.witness.parameters.heap),
            Vector::Matrix(m) => Cells::Narrow(self.witness.parameters.matrices[m].view()),
        };
        if let (Cells::Wide(values), [(Axis { size, stride: 1 }, Weight::Eq(point))]) = (cells, &opening.axes[..]) {
            return small::evaluate_small(&values[opening.offset..opening.offset + size], point);
        }
        let tables: Vec<(Axis, Vec<Fr>)> = opening.axes.iter().map(|(axis, weight)| (*axis, weight.table(axis.size))).collect();
        weighted_sum(cells, opening.offset, &tables)
    }
}

/// `row(j, constant − lo − j)` for `j < len`.
fn descending(constant: Fr, lo: i64, len: usize, row: impl Fn(usize, Fr) -> Fr + Sync) -> Vec<Fr> {
    let mut rows = vec![Fr::ZERO; len];
    rows.par_chunks_mut(1 << CHUNK_BITS).enumerate().for_each(|(chunk, rows)| {
        let first = chunk << CHUNK_BITS;
        let mut value = constant - fr_from_i64(lo) - Fr::from(first as u64);
        for (j, out) in (first..).zip(rows) {
            *out = row(j, value);
            value -= Fr::ONE;
        }
    });
    rows
}

/// `Σ Π_d table_d[i_d] · cells[offset + Σ stride_d i_d]`.
fn weighted_sum(cells: Cells<'_>, offset: usize, axes: &[(Axis, Vec<Fr>)]) -> Fr {
    match axes {
        [] => fr_from_i64(cells.get(offset)),
        [(axis, table)] => {
            let mut sum = SmallAccumulator::new();
            for (i, w) in table.iter().enumerate() {
                sum.add(cells.get(offset + i * axis.stride), w);
            }
            sum.value()
        }
        [(axis, table), rest @ ..] => {
            table.par_iter().enumerate().map(|(i, w)| *w * weighted_sum(cells, offset + i * axis.stride, rest)).sum()
        }
    }
}

/// The leaves, as `q` (no `lambda`) or as `u = p + λ q`.
pub(super) struct Leaves<'a> {
    prover: &'a LookupProver<'a>,
    lambda: Option<Fr>,
    /// With a `lambda`: `1 + λ q` for the rows of each table.
    rows: Option<Vec<Vec<Fr>>>,
}

impl<'a> Leaves<'a> {
    /// As denominators.
    pub fn new(prover: &'a LookupProver<'a>) -> Leaves<'a> {
        Leaves { prover, lambda: None, rows: None }
    }

    /// Number of leaves in blocks.
    pub fn used(&self) -> usize {
        self.prover.statement.layout.used
    }

    /// Switches from `q` to `p + λ q`. One multiplication per table row.
    pub fn combine(&mut self, lambda: Fr) {
        let combined = |rows: &Vec<Fr>| {
            let mut out = vec![Fr::ONE; rows.len()];
            out.par_chunks_mut(1 << CHUNK_BITS).zip(rows.par_chunks(1 << CHUNK_BITS)).for_each(|(o, q)| table::add_scaled(o, q, &lambda));
            out
        };
        self.rows = Some(self.prover.rows.iter().map(combined).collect());
        self.lambda = Some(lambda);
    }

    /// Leaves `first .. first + len` (both are multiples of the chunk size, or this is the whole tree), and their numerators; these are empty
    /// if all are 1.
    pub fn chunk(&self, first: usize, len: usize) -> (Vec<Fr>, Vec<Fr>) {
        let layout = self.prover.statement.layout;
        let program = self.prover.statement.program;
        let tables = self.rows.as_ref().unwrap_or(&self.prover.rows);
        // Value of a leaf with fraction 0/1.
        let empty = self.lambda.unwrap_or(Fr::ONE);
        let mut values = Vec::with_capacity(len);
        // Runs of numerators that are not 1: offset from `first`, numerators.
        let mut numerators: Vec<(usize, Vec<Fr>)> = Vec::new();
        let begin = layout.blocks.partition_point(|b| b.start + (1 << b.bits) <= first);
        for (b, block) in layout.blocks.iter().enumerate().skip(begin) {
            if block.start >= first + len {
                break;
            }
            let from = first.max(block.start);
            let to = (first + len).min(block.start + (1 << block.bits));
            let leaves = from - block.start..to - block.start;
            match &block.content {
                Content::Sites { lookup, .. } => {
                    let table = &tables[program.lookups[*lookup].table.0 as usize];
                    let rows = &self.prover.sites[b][leaves.clone()];
                    let mut padded = false;
                    for (row, leaf) in rows.iter().zip(leaves) {
                        values.push(match *row {
                            PADDING => {
                                padded = true;
                                empty
                            }
                            STRAY => self.stray(b, leaf),
                            row => table[row as usize],
                        });
                    }
                    if padded {
                        let p = rows.iter().map(|row| if *row == PADDING { Fr::ZERO } else { Fr::ONE });
                        numerators.push((from - first, p.collect()));
                    }
                }
                Content::Rows { table, len } => {
                    let region = &program.regions[program.multiplicities[*table].0 as usize];
                    let counts = &self.prover.witness.heap[region.base..region.base + len];
                    // Most rows of a table may not be looked up at all.
                    let numerator = |j| counts.get(j).filter(|m| **m != 0).map_or(Fr::ZERO, |m| -fr_from_i64(*m));
                    let mut p: Vec<Fr> = leaves.clone().map(numerator).collect();
                    if leaves.start == 0 {
                        p[0] -= Fr::from(layout.padding[*table] as u64);
                    }
                    for (j, p) in leaves.zip(&p) {
                        values.push(match tables[*table].get(j) {
                            None => empty,
                            Some(value) if self.lambda.is_some() => *value - Fr::ONE + p,
                            Some(value) => *value,
                        });
                    }
                    numerators.push((from - first, p));
                }
            }
        }
        if values.len() < len {
            numerators.push((values.len(), vec![Fr::ZERO; len - values.len()]));
            values.resize(len, empty);
        }
        let mut p = Vec::new();
        if !numerators.is_empty() {
            p = vec![Fr::ONE; len];
            for (at, run) in numerators {
                p[at..at + run.len()].copy_from_slice(&run);
            }
        }
        (values, p)
    }

    /// Leaves `first .. first + len` if all are sites that look up a range of at most 16 bits.
    pub fn units(&self, first: usize, len: usize) -> Option<Units<'a>> {
        let Statement { program, layout, fingerprint, .. } = self.prover.statement;
        let b = layout.blocks.partition_point(|b| b.start + (1 << b.bits) <= first);
        let block = layout.blocks.get(b).filter(|block| first + len <= block.start + (1 << block.bits))?;
        let Content::Sites { lookup, .. } = &block.content else { return None };
        let table = program.lookups[*lookup].table.0 as usize;
        let Table::Range { lo, .. } = &program.tables[table] else { return None };
        let rows = &self.prover.sites[b][first - block.start..][..len];
        Units::new(rows, fingerprint.constant(table) - fr_from_i64(*lo))
    }

    fn stray(&self, block: usize, leaf: usize) -> Fr {
        let strays = &self.prover.strays[block];
        let q = strays.binary_search_by_key(&leaf, |s| s.0).map(|i| strays[i].1).unwrap_or_default();
        self.lambda.map_or(q, |lambda| Fr::ONE + lambda * q)
    }
}
