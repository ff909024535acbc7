//! Makes programs: allocates cells, states relations, records how the prover fills them.

use crate::bounds::{self, Declared};
use crate::cells::{CellSlice, MatrixCells};
use crate::layout;
use crate::program::{Committed, Constant, Matrix, ParamBlock, Parameters, Program, Public, Region, RegionKind};
use crate::relation::{Factor, Identity, Lookup, Table, Term};
use crate::step::{Digit, Step};
use crate::view::{ConstantId, MatrixId, PublicId, RegionId, Source, TableId, View};
use crate::virtuals::{VirtualBlocks, leaves_over};

/// A program together with the integers that set-up commits to and the steps that compute a heap.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Built {
    /// What is proved.
    pub program: Program,
    /// Weights.
    pub parameters: Parameters,
    /// Witness generation.
    pub steps: Vec<Step>,
}

/// A digit to be allocated by [`Builder::decompose`]: `weight · digit`, `digit ∈ lo .. lo + 2^bits`, `bits ≤ 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Weight of the digit.
    pub weight: i128,
    /// Smallest digit.
    pub lo: i64,
    /// Width of the range.
    pub bits: u32,
}

/// Builds a [`Program`]. Cells of one table and column are laid out contiguously, so that each table has one large lookup.
#[derive(Default, Debug)]
pub struct Builder {
    regions: Vec<Region>,
    tables: Vec<Table>,
    column_regions: Vec<Vec<RegionId>>,
    params: Vec<ParamBlock>,
    parameters: Parameters,
    matrices: Vec<Matrix>,
    constants: Vec<Constant>,
    publics: Vec<Public>,
    committed: Vec<Committed>,
    lookups: Vec<Lookup>,
    identities: Vec<Identity>,
    steps: Vec<Step>,
    /// Bounds of the columns of each table and of each constant, taken once.
    column_bounds: Vec<Vec<Option<(i64, i64)>>>,
    constant_bounds: Vec<(i64, i64)>,
}

impl Builder {
    /// An empty program.
    pub fn new() -> Builder {
        Builder::default()
    }

    fn region(&mut self, len: usize, kind: RegionKind, own_rows: bool) -> RegionId {
        let id = RegionId(self.regions.len() as u32);
        self.regions.push(Region { base: 0, len, kind, own_rows });
        id
    }

    fn table(&mut self, table: Table) -> TableId {
        if let Some(i) = self.tables.iter().position(|t| *t == table) {
            return TableId(i as u32);
        }
        self.column_bounds.push(bounds::column_bounds(&table));
        self.tables.push(table);
        self.column_regions.push(Vec::new());
        TableId((self.tables.len() - 1) as u32)
    }

    /// The table `lo .. lo + 2^bits`, `bits ≤ 16`. Equal tables are shared.
    pub fn range_table(&mut self, lo: i64, bits: u32) -> TableId {
        assert!(bits <= 16, "range tables have at most 2^16 entries");
        self.table(Table::Range { lo, bits })
    }

    /// A function table: row `j` is `(lo + j, outputs[0][j], …)`, at most 2^16 rows. Equal tables are shared.
    pub fn function_table(&mut self, name: &str, lo: i64, outputs: Vec<Vec<i64>>) -> TableId {
        let len = outputs.first().map_or(0, Vec::len);
        assert!(len > 0 && len <= 1 << 16 && outputs.iter().all(|c| c.len() == len), "1 to 2^16 rows, columns of one length");
        self.table(Table::Function { name: name.to_string(), lo, outputs })
    }

    /// A table whose row `j` is `(j, view[j, ·])`; `view` is a parameter, a matrix or a constant.
    pub fn rows_table(&mut self, name: &str, view: View) -> TableId {
        self.table(Table::Rows { name: name.to_string(), view })
    }

    /// A table by id.
    pub fn table_ref(&self, id: TableId) -> &Table {
        &self.tables[id.0 as usize]
    }

    /// New cells looked up in a range or function table, one dense tensor per column: `(views[0][i], views[1][i], …)` is a row of the table.
    pub fn column_cells(&mut self, table: TableId, shape: &[usize]) -> Vec<View> {
        let columns = self.tables[table.0 as usize].columns();
        if self.column_regions[table.0 as usize].is_empty() {
            let ids = (0..columns).map(|column| self.region(0, RegionKind::Column { table, column }, false)).collect();
            self.column_regions[table.0 as usize] = ids;
        }
        let len: usize = shape.iter().product();
        let ids = self.column_regions[table.0 as usize].clone();
        ids.into_iter()
            .map(|id| {
                let region = &mut self.regions[id.0 as usize];
                let offset = region.len;
                region.len += len;
                View::dense(Source::Region(id), offset, shape)
            })
            .collect()
    }

    /// New cells `lo .. lo + 2^bits` for what an identity leaves over. If that identity, in which they are a term of their own over all output letters, is
    /// the only relation that reads them, they are not committed; [`Builder::finish`] sees to it. `name` is that of the identity.
    pub fn remainder_cells(&mut self, name: &str, table: TableId, shape: &[usize]) -> View {
        match VirtualBlocks::of(shape).are_worth(shape.iter().product()) {
            true => self.virtual_cells(name, table, shape),
            false => self.column_cells(table, shape).swap_remove(0),
        }
    }

    /// Like [`Builder::remainder_cells`], not committed however few they are.
    pub fn virtual_cells(&mut self, name: &str, table: TableId, shape: &[usize]) -> View {
        let id = self.region(shape.iter().product(), RegionKind::Virtual { table }, false);
        let view = View::dense(Source::Region(id), 0, shape);
        self.lookups.push(Lookup { name: name.to_string(), table, columns: vec![view.clone()], index_axes: shape.len() });
        view
    }

    /// New cells that an identity of the caller bounds to `lo..=hi` (checked when the program is audited).
    pub fn assigned_cells(&mut self, shape: &[usize], lo: i64, hi: i64) -> View {
        let id = self.region(shape.iter().product(), RegionKind::Assigned { lo, hi }, false);
        View::dense(Source::Region(id), 0, shape)
    }

    /// New cells in rows of their own, whose commitments are published under `name`; the caller bounds them by a lookup or an identity.
    pub fn committed_cells(&mut self, name: &str, shape: &[usize], lo: i64, hi: i64) -> View {
        let id = self.region(shape.iter().product(), RegionKind::Assigned { lo, hi }, true);
        self.committed.push(Committed { name: name.to_string(), region: id });
        View::dense(Source::Region(id), 0, shape)
    }

    /// A small parameter tensor on the parameter heap.
    pub fn param(&mut self, name: &str, shape: &[usize], values: &[i64]) -> View {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "one value per element");
        let offset = self.parameters.heap.len();
        let (lo, hi) = declared_bounds(values.iter().copied());
        self.params.push(ParamBlock { name: name.to_string(), offset, len: values.len(), lo, hi });
        self.parameters.heap.extend_from_slice(values);
        View::dense(Source::Params, offset, shape)
    }

    /// A large weight, committed as a matrix of its own. Use it with all its axes (in any order) in every term.
    pub fn matrix(&mut self, name: &str, shape: &[usize], values: Vec<i32>) -> View {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "one value per element");
        self.matrix_of_cells(name, shape, MatrixCells::narrowest(&values))
    }

    /// Like [`Builder::matrix`], for cells in the narrowest width that holds them.
    pub fn matrix_of_cells(&mut self, name: &str, shape: &[usize], cells: MatrixCells) -> View {
        assert_eq!(shape.iter().product::<usize>(), cells.len(), "one value per element");
        let (lo, hi) = match cells.view() {
            CellSlice::I32(values) => declared_bounds(values.iter().map(|&v| v as i64)),
            narrow => narrow.type_bounds(),
        };
        self.parameters.matrices.push(cells);
        self.declare_matrix(name, shape, lo, hi)
    }

    /// A matrix whose cells, of the given bounds, are known only when the program is run: its parameters are not those that
    /// [`Builder::finish`] returns.
    pub fn declare_matrix(&mut self, name: &str, shape: &[usize], lo: i64, hi: i64) -> View {
        let id = MatrixId(self.matrices.len() as u32);
        self.matrices.push(Matrix { name: name.to_string(), shape: shape.to_vec(), lo, hi });
        View::dense(Source::Matrix(id), 0, shape)
    }

    /// A constant of the circuit, known to the verifier.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: Vec<i64>) -> View {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "one value per element");
        let id = ConstantId(self.constants.len() as u32);
        self.constant_bounds.push(bounds::min_max(&values));
        self.constants.push(Constant { name: name.to_string(), shape: shape.to_vec(), values });
        View::dense(Source::Constant(id), 0, shape)
    }

    /// A tensor of the statement. Its id is its position among the public tensors.
    pub fn public(&mut self, name: &str, shape: &[usize], lo: i64, hi: i64) -> View {
        let id = PublicId(self.publics.len() as u32);
        self.publics.push(Public { name: name.to_string(), shape: shape.to_vec(), lo, hi });
        View::dense(Source::Public(id), 0, shape)
    }

    /// States an identity.
    pub fn identity(&mut self, name: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>) {
        self.identities.push(Identity { name: name.to_string(), sizes: sizes.to_vec(), outputs, terms });
    }

    /// States a lookup of existing cells: `(columns[0][i], …)` is a row of `table` for every `i`.
    pub fn lookup(&mut self, name: &str, table: TableId, columns: Vec<View>, index_axes: usize) {
        self.lookups.push(Lookup { name: name.to_string(), table, columns, index_axes });
    }

    /// Records a witness step.
    pub fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// New cells for digits, most significant first, of which the last is what the identity `name` leaves over.
    pub fn digit_cells(&mut self, name: &str, shape: &[usize], parts: &[Part]) -> Vec<View> {
        let cells = |(i, p): (usize, &Part)| {
            let table = self.range_table(p.lo, p.bits);
            match i + 1 == parts.len() {
                true => self.remainder_cells(name, table, shape),
                false => self.column_cells(table, shape).swap_remove(0),
            }
        };
        parts.iter().enumerate().map(cells).collect()
    }

    /// `Σ terms = Σ_p weight_p · digit_p` for every output index, digits in fresh range-checked cells (dense, shape = output letters).
    /// Records the identity and the step. Parts go from the most to the least significant.
    pub fn decompose(&mut self, name: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>, parts: &[Part]) -> Vec<View> {
        let shape = &sizes[..outputs];
        let views = self.digit_cells(name, shape, parts);
        self.decompose_into(name, sizes, outputs, terms, parts, &views);
        views
    }

    /// Like [`Builder::decompose`], with cells of the caller (that a table or the caller bounds to the parts' ranges).
    pub fn decompose_into(&mut self, name: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>, parts: &[Part], views: &[View]) {
        let letters: Vec<u8> = (0..outputs as u8).collect();
        let digits = parts
            .iter()
            .zip(views)
            .map(|(p, v)| Digit { view: v.clone(), weight: p.weight, lo: p.lo, hi: p.lo + (1i64 << p.bits) - 1 })
            .collect();
        let mut all = terms.clone();
        for (p, v) in parts.iter().zip(views) {
            all.push(Term { coeff: -p.weight, factors: vec![Factor { view: v.clone(), letters: letters.clone() }] });
        }
        self.identity(name, sizes, outputs, all);
        self.steps.push(Step::Digits { node: name.to_string(), sizes: sizes.to_vec(), outputs, terms, digits });
    }

    /// `cells = Σ terms` for every output index, in fresh cells bounded by the identity itself; `lo..=hi` must contain every value that the
    /// bounds of the terms admit.
    pub fn assign(&mut self, name: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>, lo: i64, hi: i64) -> View {
        let view = self.assigned_cells(&sizes[..outputs], lo, hi);
        self.assign_into(name, sizes, outputs, terms, &view, lo, hi);
        view
    }

    /// Like [`Builder::assign`], into cells of the caller.
    #[allow(clippy::too_many_arguments)]
    pub fn assign_into(&mut self, name: &str, sizes: &[usize], outputs: usize, terms: Vec<Term>, view: &View, lo: i64, hi: i64) {
        let letters: Vec<u8> = (0..outputs as u8).collect();
        let mut all = terms.clone();
        all.push(Term::linear(-1, view.clone(), &letters));
        self.identity(name, sizes, outputs, all);
        let digits = vec![Digit { view: view.clone(), weight: 1, lo, hi }];
        self.steps.push(Step::Digits { node: name.to_string(), sizes: sizes.to_vec(), outputs, terms, digits });
    }

    /// Applies a function table to cells that were allocated as its column 0 (`views[0]` of [`Builder::column_cells`]): records the step.
    pub fn apply(&mut self, node: &str, table: TableId, views: &[View]) {
        self.steps.push(Step::Apply { node: node.to_string(), table, x: views[0].clone(), outputs: views[1..].to_vec() });
    }

    /// Smallest and largest value that a view may have.
    pub fn bounds(&self, view: &View) -> (i128, i128) {
        Declared {
            regions: &self.regions,
            params: &self.params,
            matrices: &self.matrices,
            publics: &self.publics,
            tables: &self.tables,
            column: |t: TableId, c: usize| self.column_bounds[t.0 as usize].get(c).copied().flatten(),
            constant: |c: ConstantId| self.constant_bounds[c.0 as usize],
        }
        .of(view)
    }

    /// Virtual regions that some relation beside their own identity and lookup reads become columns of their tables.
    fn commit_what_is_read(&mut self) {
        let virtual_region = |v: &View| match v.source {
            Source::Region(r) if self.regions[r.0 as usize].is_virtual() => Some(r.0 as usize),
            _ => None,
        };
        let mut own = vec![0usize; self.regions.len()];
        let mut read = vec![false; self.regions.len()];
        for identity in &self.identities {
            let mut first = None;
            for term in &identity.terms {
                for r in term.factors.iter().filter_map(|f| virtual_region(&f.view)) {
                    own[r] += 1;
                    let left_over = leaves_over(identity, term, RegionId(r as u32), self.regions[r].len);
                    read[r] |= !left_over || first.replace(r).is_some();
                }
            }
        }
        let mut looked_up = vec![0usize; self.regions.len()];
        self.lookups.iter().flat_map(|l| &l.columns).filter_map(virtual_region).for_each(|r| looked_up[r] += 1);
        for r in 0..self.regions.len() {
            let RegionKind::Virtual { table } = self.regions[r].kind else { continue };
            if own[r] == 1 && looked_up[r] == 1 && !read[r] {
                continue;
            }
            self.regions[r].kind = RegionKind::Column { table, column: 0 };
            let len = self.regions[r].len;
            let source = Source::Region(RegionId(r as u32));
            if let Some(lookup) = self.lookups.iter_mut().find(|l| l.columns[0].source == source && l.table == table) {
                lookup.columns[0] = View::dense(source, 0, &[len]);
                lookup.index_axes = 1;
            }
        }
    }

    /// Lays out the heap and finishes. `row_bits`: log2 of the row length; `None` chooses it from the heap's size.
    pub fn finish(mut self, row_bits: Option<u32>) -> Built {
        self.commit_what_is_read();
        for t in 0..self.tables.len() {
            let regions = self.column_regions[t].clone();
            if !regions.is_empty() {
                let columns = regions.iter().map(|&r| View::dense(Source::Region(r), 0, &[self.regions[r.0 as usize].len])).collect();
                let name = format!("table {t}");
                self.lookups.push(Lookup { name, table: TableId(t as u32), columns, index_axes: 1 });
            }
        }
        let multiplicities = (0..self.tables.len())
            .map(|t| {
                let len = self.tables[t].len();
                self.region(len, RegionKind::Multiplicity { table: TableId(t as u32) }, false)
            })
            .collect();
        let cells: usize = self.regions.iter().filter(|r| !r.is_virtual()).map(|r| r.len).sum();
        let padded = |m: &Matrix| m.shape.iter().map(|s| s.next_power_of_two()).product::<usize>();
        let parameters = self.parameters.heap.len() + self.matrices.iter().map(padded).sum::<usize>();
        let row_bits = row_bits.unwrap_or_else(|| default_row_bits(cells, parameters));
        let row = 1usize << row_bits;
        let committed = (0..self.regions.len()).filter(|&i| !self.regions[i].is_virtual());
        let (mut own, shared): (Vec<usize>, Vec<usize>) = committed.partition(|&i| self.regions[i].own_rows);
        own.sort_by_key(|&i| std::cmp::Reverse(self.regions[i].len));
        let shared_end = layout::place(&mut self.regions, &shared, 0);
        let end = own.into_iter().fold(shared_end, |end, i| layout::place_on_rows(&mut self.regions, &[i], end, row).end);
        let heap_len = end.next_multiple_of(row).max(row);
        layout::place_virtual(&mut self.regions, heap_len);
        let program = Program {
            row_bits,
            heap_len,
            regions: self.regions,
            params_len: self.parameters.heap.len(),
            params: self.params,
            matrices: self.matrices,
            constants: self.constants,
            publics: self.publics,
            committed: self.committed,
            tables: self.tables,
            multiplicities,
            lookups: self.lookups,
            identities: self.identities,
        };
        Built { program, parameters: self.parameters, steps: self.steps }
    }
}

/// Bounds of parameters are public, so they say no more than a width in whole bytes (at most 63 bits).
fn declared_bounds(values: impl Iterator<Item = i64>) -> (i64, i64) {
    let largest = values.map(|v| if v < 0 { !v } else { v }).max().unwrap_or(0);
    let bits = (i64::BITS - largest.leading_zeros() + 1).next_multiple_of(8).min(63);
    (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1)
}

/// Balances row commitments (32 bytes each in the proof or in the key, and a group operation for the verifier) against the opening, which costs the prover a few group operations
/// per cell of a row and the proof 64 bytes per doubling. Rows of the heap count more: they are in every proof. A heap has at most 2^9 rows, for then the opening takes some
/// hundredths of the time.
fn default_row_bits(heap: usize, parameters: usize) -> u32 {
    let bits = |cells: usize| usize::BITS - cells.max(1).leading_zeros();
    ((bits(heap) + 5) / 2).max(bits(heap + parameters) / 2 + 1).max(bits(heap).saturating_sub(9)).clamp(8, 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tables_are_one_table_with_one_lookup() {
        let mut b = Builder::new();
        let square = |b: &mut Builder| b.function_table("square", 0, vec![vec![0, 1, 4, 9]]);
        let (range, table) = (b.range_table(-8, 4), square(&mut b));
        assert_eq!((b.range_table(-8, 4), square(&mut b)), (range, table));
        let others = [
            b.range_table(-8, 5),
            b.range_table(0, 4),
            b.function_table("square", 1, vec![vec![0, 1, 4, 9]]),
            b.function_table("square", 0, vec![vec![0, 1, 4, 8]]),
            b.function_table("another name", 0, vec![vec![0, 1, 4, 9]]),
        ];
        assert!(others.iter().all(|t| *t != range && *t != table));

        let first = b.column_cells(table, &[2]);
        let again = square(&mut b);
        let second = b.column_cells(again, &[3]);
        let built = b.finish(None);
        let [lookup] = &built.program.lookups[..] else { panic!("one lookup for the cells of one table") };
        assert_eq!((lookup.table, lookup.columns.iter().map(View::len).collect::<Vec<_>>()), (table, vec![5, 5]));
        for ((first, second), all) in first.iter().zip(&second).zip(&lookup.columns) {
            assert_eq!((first.source, second.source), (all.source, all.source));
            assert_eq!((first.offset, second.offset), (0, 2));
        }
        assert_eq!(built.program.tables.len(), 2 + others.len());
        assert_eq!(built.program.multiplicities.len(), built.program.tables.len());
    }
}
