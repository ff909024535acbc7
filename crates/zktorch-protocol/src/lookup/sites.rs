//! What each site looks up: the row number where there is one, the fingerprint where there is none.

use super::layout::{Window, pads_with_first_row};
use super::{Fingerprint, Statement};
use crate::claims::index_bits;
use ark_ff::Field;
use rayon::prelude::*;
use zktorch_algebra::small::{SmallAccumulator, dot_small};
use zktorch_algebra::{Fr, fr_from_i64, mle};
use zktorch_program::{Axis, CellSlice, Lookup, Source, Table, View, with_cells};

/// A leaf outside its block's box that holds `0/1`.
pub(super) const PADDING: u32 = u32::MAX;
/// A site that is no row of its table (no honest prover has one): its fingerprint is kept apart.
pub(super) const STRAY: u32 = u32::MAX - 1;

/// Integers of either width.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    Wide(&'a [i64]),
    Narrow(CellSlice<'a>),
}

impl Cells<'_> {
    #[inline]
    pub fn get(&self, i: usize) -> i64 {
        match self {
            Cells::Wide(v) => v[i],
            Cells::Narrow(v) => v.get(i),
        }
    }
}

/// A weight for each combination of the inner indices of a table of rows, with the cells' distances from a row's or a site's first.
pub(super) struct Inner {
    weights: Vec<Fr>,
    pub table_cells: Distances,
    site_cells: Distances,
}

/// Distances of cells from a first one.
pub(super) struct Distances {
    list: Vec<usize>,
    /// They are neighbours, in order.
    contiguous: bool,
}

impl Distances {
    fn new(axes: &[Axis]) -> Distances {
        let list = View { source: Source::Params, offset: 0, axes: axes.to_vec() }.cells();
        Distances { contiguous: list.iter().enumerate().all(|(i, d)| i == *d), list }
    }
}

impl Inner {
    pub fn new(fingerprint: &Fingerprint, table: usize, table_axes: &[Axis], site_axes: &[Axis]) -> Inner {
        let mut weights = vec![Fr::ONE];
        let mut point = &fingerprint.inner[table][..];
        for axis in table_axes {
            let (head, tail) = point.split_at(index_bits(axis.size));
            let eq = &mle::eq_table(head)[..axis.size];
            weights = weights.iter().flat_map(|w| eq.iter().map(move |e| *w * e)).collect();
            point = tail;
        }
        Inner { weights, table_cells: Distances::new(table_axes), site_cells: Distances::new(site_axes) }
    }

    pub fn compress(&self, cells: Cells<'_>, first: usize, distances: &Distances) -> Fr {
        if distances.contiguous {
            let end = first + distances.list.len();
            return match cells {
                Cells::Wide(cells) => dot_small(&cells[first..end], &self.weights),
                Cells::Narrow(cells) => with_cells!(cells, cells => dot_small(&cells[first..end], &self.weights)),
            };
        }
        let mut sum = SmallAccumulator::new();
        for (w, d) in self.weights.iter().zip(&distances.list) {
            sum.add(cells.get(first + d), w);
        }
        sum.value()
    }
}

impl<'a> Statement<'a> {
    /// The vector of a source, and where the source begins in it.
    pub fn cells(&self, witness: crate::Witness<'a>, source: Source) -> (Cells<'a>, usize) {
        match source {
            Source::Region(r) => (Cells::Wide(witness.heap), self.program.regions[r.0 as usize].base),
            Source::Params => (Cells::Wide(&witness.parameters.heap), 0),
            Source::Matrix(m) => (Cells::Narrow(witness.parameters.matrices[m.0 as usize].view()), 0),
            Source::Constant(c) => (Cells::Wide(&self.program.constants[c.0 as usize].values), 0),
            Source::Public(p) => (Cells::Wide(&self.publics[p.0 as usize]), 0),
        }
    }
}

/// One column of a block of sites.
struct Column<'a> {
    cells: Cells<'a>,
    first: usize,
    strides: &'a [usize],
}

/// What a table's rows are compared with.
enum Rows<'a> {
    /// The argument alone decides.
    Range,
    Function(&'a [Vec<i64>]),
    Content {
        inner: Inner,
        cells: Cells<'a>,
        first: usize,
        stride: usize,
    },
}

/// Reads the sites of a block.
pub(super) struct SiteReader<'a> {
    fingerprint: &'a Fingerprint,
    table: usize,
    sizes: &'a [usize],
    columns: Vec<Column<'a>>,
    rows: Rows<'a>,
    /// First argument and number of rows of the table.
    lo: i64,
    len: usize,
    /// What leaves outside the box look up.
    padding: u32,
}

impl<'a> SiteReader<'a> {
    /// For the sites of a block of `lookup`.
    pub fn new(
        statement: &Statement<'a>,
        witness: crate::Witness<'a>,
        lookup: &'a Lookup,
        sizes: &'a [usize],
        windows: &'a [Window],
    ) -> Self {
        let table = lookup.table.0 as usize;
        let fingerprint = statement.fingerprint;
        let t = &statement.program.tables[table];
        let columns = lookup.columns.iter().zip(windows).map(|(view, w)| {
            let (cells, base) = statement.cells(witness, view.source);
            Column { cells, first: base + w.offset, strides: &w.strides }
        });
        let (lo, rows) = match t {
            Table::Range { lo, .. } => (*lo, Rows::Range),
            Table::Function { lo, outputs, .. } => (*lo, Rows::Function(outputs)),
            Table::Rows { view, .. } => {
                let inner = Inner::new(fingerprint, table, &view.axes[1..], &lookup.columns[1].axes[lookup.index_axes..]);
                let (cells, base) = statement.cells(witness, view.source);
                (0, Rows::Content { inner, cells, first: base + view.offset, stride: view.axes[0].stride })
            }
        };
        let padding = if pads_with_first_row(t) { 0 } else { PADDING };
        SiteReader { fingerprint, table, sizes, columns: columns.collect(), rows, lo, len: t.len(), padding }
    }

    /// The first cell of a column at a leaf of the block; `None` outside the box.
    #[inline]
    fn first_cell(&self, leaf: usize, column: usize) -> Option<usize> {
        let Column { first, strides, .. } = &self.columns[column];
        if let ([size], [stride]) = (self.sizes, strides) {
            return (leaf < *size).then(|| first + leaf * stride);
        }
        let mut rest = leaf;
        let mut cell = *first;
        for (size, stride) in self.sizes.iter().zip(*strides).rev() {
            let bits = index_bits(*size);
            let i = rest & ((1 << bits) - 1);
            rest >>= bits;
            if i >= *size {
                return None;
            }
            cell += i * stride;
        }
        Some(cell)
    }

    #[inline]
    fn value(&self, leaf: usize, column: usize) -> i64 {
        self.columns[column].cells.get(self.first_cell(leaf, column).unwrap_or_default())
    }

    /// The row that a leaf looks up, [`PADDING`] or [`STRAY`].
    pub fn row(&self, leaf: usize) -> u32 {
        let Some(argument) = self.first_cell(leaf, 0) else {
            return self.padding;
        };
        let row = self.row_of(self.columns[0].cells.get(argument));
        if row == STRAY {
            return STRAY;
        }
        let j = row as usize;
        let matches = match &self.rows {
            Rows::Range => true,
            Rows::Function(outputs) => outputs.iter().enumerate().all(|(c, column)| self.value(leaf, c + 1) == column[j]),
            Rows::Content { inner, cells, first, stride } => {
                let row = first + j * stride;
                let site = self.first_cell(leaf, 1).unwrap_or_default();
                let mut pairs = inner.table_cells.list.iter().zip(&inner.site_cells.list);
                pairs.all(|(r, s)| cells.get(row + r) == self.columns[1].cells.get(site + s))
            }
        };
        if matches { row } else { STRAY }
    }

    /// The row of an argument, or [`STRAY`].
    #[inline]
    fn row_of(&self, argument: i64) -> u32 {
        match argument.checked_sub(self.lo).and_then(|j| usize::try_from(j).ok()) {
            Some(j) if j < self.len && j < STRAY as usize => j as u32,
            _ => STRAY,
        }
    }

    /// The rows that all leaves of the block look up.
    pub fn all_rows(&self, bits: usize) -> Vec<u32> {
        let (Rows::Range, Some(&size), Some(&stride)) = (&self.rows, self.sizes.last(), self.columns[0].strides.last()) else {
            return (0..1usize << bits).into_par_iter().map(|leaf| self.row(leaf)).collect();
        };
        // Run by run of the innermost axis, long ones in pieces.
        let run = 1usize << index_bits(size);
        let piece = run.min(1 << 12);
        let mut rows = vec![self.padding; 1 << bits];
        rows.par_chunks_mut(piece).with_min_len((1usize << 12) / piece).enumerate().for_each(|(p, rows)| {
            let within = p * piece % run;
            let Some(first) = self.first_cell(p * piece - within, 0) else { return };
            let cells = self.columns[0].cells;
            let used = size.saturating_sub(within).min(piece);
            let first = first + within * stride;
            rows[..used].iter_mut().enumerate().for_each(|(i, row)| *row = self.row_of(cells.get(first + i * stride)));
        });
        rows
    }

    /// `α − fp` at a leaf inside the box.
    pub fn denominator(&self, leaf: usize) -> Fr {
        let mut sum = fr_from_i64(self.value(leaf, 0));
        match &self.rows {
            Rows::Content { inner, .. } => {
                let site = self.first_cell(leaf, 1).unwrap_or_default();
                sum += self.fingerprint.beta[1] * inner.compress(self.columns[1].cells, site, &inner.site_cells);
            }
            _ => sum += (1..self.columns.len()).map(|c| self.fingerprint.beta[c] * fr_from_i64(self.value(leaf, c))).sum::<Fr>(),
        }
        self.fingerprint.constant(self.table) - sum
    }
}
