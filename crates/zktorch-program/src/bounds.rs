//! Bounds of what a view reads, shared by the builder and the finished program.

use crate::program::{Matrix, ParamBlock, Program, Public, Region, RegionKind};
use crate::relation::Table;
use crate::view::{ConstantId, Source, TableId, View};

/// What declared bounds follow from. Tables and constants are long, so their bounds come from functions that may remember them.
pub(crate) struct Declared<'a, T, C> {
    pub(crate) regions: &'a [Region],
    pub(crate) params: &'a [ParamBlock],
    pub(crate) matrices: &'a [Matrix],
    pub(crate) publics: &'a [Public],
    pub(crate) tables: &'a [Table],
    /// Bounds of a column of a table, `None` for the content of [`Table::Rows`].
    pub(crate) column: T,
    pub(crate) constant: C,
}

fn widen((lo, hi): (i64, i64)) -> (i128, i128) {
    (lo as i128, hi as i128)
}

/// Smallest and largest of the values, (0, 0) if there are none.
pub(crate) fn min_max(values: &[i64]) -> (i64, i64) {
    match (values.iter().min(), values.iter().max()) {
        (Some(&lo), Some(&hi)) => (lo, hi),
        _ => (0, 0),
    }
}

impl<T, C> Declared<'_, T, C>
where
    T: Fn(TableId, usize) -> Option<(i64, i64)>,
    C: Fn(ConstantId) -> (i64, i64),
{
    /// Smallest and largest value that any cell of the view may have. The view's ids exist.
    pub(crate) fn of(&self, view: &View) -> (i128, i128) {
        match view.source {
            Source::Region(r) => match &self.regions[r.0 as usize].kind {
                RegionKind::Column { table, column } => match (self.column)(*table, *column) {
                    Some(bounds) => widen(bounds),
                    None => match &self.tables[table.0 as usize] {
                        Table::Rows { view, .. } => self.of(view),
                        _ => (0, 0),
                    },
                },
                RegionKind::Assigned { lo, hi } => widen((*lo, *hi)),
                RegionKind::Virtual { table } => (self.column)(*table, 0).map_or((0, 0), widen),
                RegionKind::Multiplicity { .. } => (0, i64::MAX as i128),
            },
            Source::Params => {
                let (from, to) = (view.offset, view.end());
                let first = self.params.partition_point(|b| b.offset + b.len <= from);
                let touched = self.params[first..].iter().take_while(|b| b.offset < to);
                touched.fold((0, 0), |(lo, hi), b| (lo.min(b.lo as i128), hi.max(b.hi as i128)))
            }
            Source::Matrix(m) => {
                let m = &self.matrices[m.0 as usize];
                widen((m.lo, m.hi))
            }
            Source::Constant(c) => widen((self.constant)(c)),
            Source::Public(p) => {
                let p = &self.publics[p.0 as usize];
                widen((p.lo, p.hi))
            }
        }
    }
}

/// Bounds of every view of a valid program; tables and constants are scanned once.
pub(crate) struct BoundsOf<'a> {
    program: &'a Program,
    columns: Vec<Vec<Option<(i64, i64)>>>,
    constants: Vec<(i64, i64)>,
}

impl<'a> BoundsOf<'a> {
    pub(crate) fn new(program: &'a Program) -> BoundsOf<'a> {
        BoundsOf {
            program,
            columns: program.tables.iter().map(column_bounds).collect(),
            constants: (program.constants.iter()).map(|c| min_max(&c.values)).collect(),
        }
    }

    pub(crate) fn of(&self, view: &View) -> (i128, i128) {
        let columns = |t: TableId, c: usize| self.columns[t.0 as usize].get(c).copied().flatten();
        declared(self.program, columns, |c: ConstantId| self.constants[c.0 as usize]).of(view)
    }

    pub(crate) fn column(&self, table: TableId, column: usize) -> Option<(i64, i64)> {
        (self.columns.get(table.0 as usize)?.get(column).copied()).flatten()
    }
}

/// Bounds of all columns of a table.
pub(crate) fn column_bounds(table: &Table) -> Vec<Option<(i64, i64)>> {
    (0..table.columns()).map(|c| table.bounds(c)).collect()
}

fn declared<T, C>(program: &Program, column: T, constant: C) -> Declared<'_, T, C> {
    Declared {
        regions: &program.regions,
        params: &program.params,
        matrices: &program.matrices,
        publics: &program.publics,
        tables: &program.tables,
        column,
        constant,
    }
}

impl Program {
    /// Smallest and largest value that any cell of the view may have. The view's ids must exist, as [`Program::validate`] checks.
    pub fn bounds(&self, view: &View) -> (i128, i128) {
        let column = |t: TableId, c: usize| self.tables[t.0 as usize].bounds(c);
        let constant = |c: ConstantId| min_max(&self.constants[c.0 as usize].values);
        declared(self, column, constant).of(view)
    }
}
