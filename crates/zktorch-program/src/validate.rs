//! Structural checks of a program that may come from an untrusted file: after them, no index is out of range and no size overflows.

use crate::program::{Program, RegionKind};
use crate::relation::{Table, Term};
use crate::view::{Source, View};

/// Largest number of cells of any vector (heap, parameter heap, matrix, constant, public tensor).
pub const MAX_CELLS: usize = 1 << 34;
/// Largest number of axes of a view and of letters of an identity.
pub const MAX_AXES: usize = 32;
/// Largest number of index combinations of a view or of a term.
pub const MAX_INDICES: usize = 1 << 48;
/// Largest logarithm of the row length.
pub const MAX_ROW_BITS: u32 = 26;
/// Largest number of rows of a range or function table.
pub const MAX_TABLE_ROWS: usize = 1 << 16;

/// What is wrong with a view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewFlaw {
    /// The source's id is not the id of anything.
    #[error("there is no {0:?}")]
    NoSuchSource(Source),
    /// An axis has no index.
    #[error("axis {0} has size 0")]
    EmptyAxis(usize),
    /// More than `MAX_AXES` axes or `MAX_INDICES` indices.
    #[error("the view is too large")]
    TooLarge,
    /// The window reads past the end of its source.
    #[error("the view ends at cell {end}, its source at cell {len}")]
    Outside {
        /// One past the largest cell of the view.
        end: u128,
        /// Number of cells of the source.
        len: usize,
    },
    /// A view of a matrix is not the whole matrix with permuted axes.
    #[error("a view of a matrix must be the whole matrix with its axes in some order")]
    PartialMatrix,
}

/// What is wrong with the shape of a term.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermFlaw {
    /// A factor's view is malformed.
    #[error("factor {factor}: {flaw}")]
    View {
        /// Position of the factor.
        factor: usize,
        /// What is wrong.
        flaw: ViewFlaw,
    },
    /// A factor has more or fewer letters than its view has axes.
    #[error("factor {factor} has {letters} letters for {axes} axes")]
    LetterCount {
        /// Position of the factor.
        factor: usize,
        /// Number of letters.
        letters: usize,
        /// Number of axes.
        axes: usize,
    },
    /// A letter has no size.
    #[error("factor {factor} uses letter {letter}, which has no size")]
    NoSuchLetter {
        /// Position of the factor.
        factor: usize,
        /// The letter.
        letter: u8,
    },
    /// A letter occurs twice in one factor.
    #[error("factor {factor} has letter {letter} twice")]
    LetterTwice {
        /// Position of the factor.
        factor: usize,
        /// The letter.
        letter: u8,
    },
    /// A matrix is summed over an axis by itself. Claims on matrices are evaluations: every letter must be an output letter or shared.
    #[error("factor {factor}: a matrix is summed over letter {letter}, which no other factor has")]
    SummedMatrix {
        /// Position of the factor.
        factor: usize,
        /// The letter.
        letter: u8,
    },
    /// An axis and its letter differ in size.
    #[error("factor {factor}, letter {letter}: the axis has size {axis}, the letter {size}")]
    AxisSize {
        /// Position of the factor.
        factor: usize,
        /// The letter.
        letter: u8,
        /// Size of the axis.
        axis: usize,
        /// Size of the letter.
        size: usize,
    },
    /// More than three factors.
    #[error("{0} factors, at most 3 are possible")]
    TooManyFactors(usize),
    /// `|coeff| ≥ 2^100`.
    #[error("the coefficient {0} is not below 2^100")]
    Coefficient(i128),
    /// Letters without indices, too many letters, or more than `MAX_INDICES` index combinations.
    #[error("the letter sizes {sizes:?} with {outputs} output letters are not admitted")]
    Sizes {
        /// Letter sizes.
        sizes: Vec<usize>,
        /// Number of output letters.
        outputs: usize,
    },
}

/// Why a program is not well formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The heap's length is 0, too large, or no multiple of the row length.
    #[error("the heap has {heap_len} cells in rows of 2^{row_bits}: not a whole number of rows within limits")]
    Heap {
        /// Number of cells.
        heap_len: usize,
        /// log2 of the row length.
        row_bits: u32,
    },
    /// A region is empty (only the multiplicities of a table that is not used may be), leaves the heap or overlaps another one.
    #[error("region {region} is empty, leaves the heap or overlaps region {other:?}")]
    RegionPlace {
        /// The region.
        region: usize,
        /// The overlapped region, if that is the reason.
        other: Option<usize>,
    },
    /// A region that claims rows of its own shares one.
    #[error("region {0} claims rows of its own but shares one")]
    SharedRow(usize),
    /// A region's kind refers to no table or column, or its bounds are empty.
    #[error("region {0} names a table or column that does not exist, or has empty bounds")]
    RegionKind(usize),
    /// Parameter blocks have gaps, overlap, or do not add up to the parameter heap.
    #[error("parameter block {name} is out of place or has empty bounds")]
    ParamBlock {
        /// Name of the block, empty for the end of the list.
        name: String,
    },
    /// A matrix, constant or public tensor is empty or too large, or has a wrong number of values or empty bounds.
    #[error("tensor {name} is empty, too large, or has a wrong number of values or empty bounds")]
    Tensor {
        /// Name of the tensor.
        name: String,
    },
    /// A committed tensor's region does not have rows of its own.
    #[error("committed tensor {name} has no region with rows of its own")]
    Committed {
        /// Name of the tensor.
        name: String,
    },
    /// A table is empty, too large or irregular, or reads private cells.
    #[error("table {table}: {reason}")]
    Table {
        /// The table.
        table: usize,
        /// Why.
        reason: String,
    },
    /// The region of a table's multiplicities is missing, of the wrong kind or of the wrong length.
    #[error("table {table}: its multiplicity region is missing or does not match")]
    Multiplicity {
        /// The table.
        table: usize,
    },
    /// A virtual region is not what one identity leaves over, or not the column of one lookup in its table, or another relation reads it.
    #[error("virtual region {0} must be a term of one identity, over its output letters, and the column of one lookup in its table")]
    Virtual(usize),
    /// A lookup's columns do not match its table.
    #[error("lookup {name}: {reason}")]
    Lookup {
        /// Name of the lookup.
        name: String,
        /// Why.
        reason: String,
    },
    /// A term of an identity is malformed.
    #[error("identity {name}, term {term}: {flaw}")]
    Term {
        /// Name of the identity.
        name: String,
        /// Position of the term.
        term: usize,
        /// What is wrong.
        flaw: TermFlaw,
    },
}

/// The product of the sizes, if it is within `limit` and no size is 0.
pub(crate) fn volume(sizes: impl IntoIterator<Item = usize>, limit: usize) -> Option<usize> {
    sizes.into_iter().try_fold(1usize, |v, s| v.checked_mul(s).filter(|&v| s > 0 && v <= limit))
}

impl Program {
    /// Number of cells of a source, `None` if it does not exist.
    pub fn source_len(&self, source: Source) -> Option<usize> {
        match source {
            Source::Region(r) => self.regions.get(r.0 as usize).map(|r| r.len),
            Source::Params => Some(self.params_len),
            Source::Matrix(m) => {
                let m = self.matrices.get(m.0 as usize)?;
                volume(m.shape.iter().copied(), MAX_CELLS)
            }
            Source::Constant(c) => self.constants.get(c.0 as usize).map(|c| c.values.len()),
            Source::Public(p) => {
                let p = self.publics.get(p.0 as usize)?;
                volume(p.shape.iter().copied(), MAX_CELLS)
            }
        }
    }

    /// Checks that a view stays within its source. Never panics.
    pub fn check_view(&self, view: &View) -> Result<(), ViewFlaw> {
        let len = self.source_len(view.source).ok_or(ViewFlaw::NoSuchSource(view.source))?;
        if let Some(d) = view.axes.iter().position(|a| a.size == 0) {
            return Err(ViewFlaw::EmptyAxis(d));
        }
        if view.axes.len() > MAX_AXES || volume(view.axes.iter().map(|a| a.size), MAX_INDICES).is_none() {
            return Err(ViewFlaw::TooLarge);
        }
        // At most 32 summands below 2^112 each.
        let end = view.axes.iter().map(|a| (a.size as u128 - 1) * a.stride as u128).sum::<u128>() + view.offset as u128 + 1;
        if end > len as u128 {
            return Err(ViewFlaw::Outside { end, len });
        }
        if let Source::Matrix(m) = view.source {
            let mut dense = View::dense(view.source, 0, &self.matrices[m.0 as usize].shape).axes;
            let mut axes = view.axes.clone();
            dense.sort_by_key(|a| (a.stride, a.size));
            axes.sort_by_key(|a| (a.stride, a.size));
            if dense != axes {
                return Err(ViewFlaw::PartialMatrix);
            }
        }
        Ok(())
    }

    /// Checks letters, sizes, views and coefficient of a term. Never panics.
    pub fn check_term(&self, term: &Term, sizes: &[usize], outputs: usize) -> Result<(), TermFlaw> {
        if outputs > sizes.len() || sizes.len() > MAX_AXES || volume(sizes.iter().copied(), MAX_INDICES).is_none() {
            return Err(TermFlaw::Sizes { sizes: sizes.to_vec(), outputs });
        }
        if term.factors.len() > 3 {
            return Err(TermFlaw::TooManyFactors(term.factors.len()));
        }
        if term.coeff.unsigned_abs() >= 1 << 100 {
            return Err(TermFlaw::Coefficient(term.coeff));
        }
        for (factor, f) in term.factors.iter().enumerate() {
            self.check_view(&f.view).map_err(|flaw| TermFlaw::View { factor, flaw })?;
            let summed =
                |l: &&u8| **l as usize >= outputs && !term.factors.iter().enumerate().any(|(g, f)| g != factor && f.letters.contains(l));
            if let (Source::Matrix(_), Some(&letter)) = (f.view.source, f.letters.iter().find(summed)) {
                return Err(TermFlaw::SummedMatrix { factor, letter });
            }
            if f.letters.len() != f.view.axes.len() {
                return Err(TermFlaw::LetterCount { factor, letters: f.letters.len(), axes: f.view.axes.len() });
            }
            for (d, (&letter, axis)) in f.letters.iter().zip(&f.view.axes).enumerate() {
                let Some(&size) = sizes.get(letter as usize) else {
                    return Err(TermFlaw::NoSuchLetter { factor, letter });
                };
                if f.letters[..d].contains(&letter) {
                    return Err(TermFlaw::LetterTwice { factor, letter });
                }
                if size != axis.size {
                    return Err(TermFlaw::AxisSize { factor, letter, axis: axis.size, size });
                }
            }
        }
        Ok(())
    }

    /// Checks that the program is well formed: every id exists, every view stays inside its source, letters and axes agree, sizes cannot
    /// overflow, regions do not overlap, tables and lookups match. Never panics, whatever the program. Soundness beyond form is
    /// [`crate::audit`]'s.
    pub fn validate(&self) -> Result<(), Malformed> {
        self.validate_heap()?;
        self.validate_tensors()?;
        self.validate_tables()?;
        self.validate_lookups()?;
        for identity in &self.identities {
            let name = &identity.name;
            if identity.terms.is_empty() {
                // The sizes are checked with the terms; an identity without terms says nothing.
                self.check_term(&Term::constant(0), &identity.sizes, identity.outputs).map_err(|flaw| Malformed::Term {
                    name: name.clone(),
                    term: 0,
                    flaw,
                })?;
            }
            for (term, t) in identity.terms.iter().enumerate() {
                self.check_term(t, &identity.sizes, identity.outputs).map_err(|flaw| Malformed::Term { name: name.clone(), term, flaw })?;
            }
        }
        self.validate_virtual()
    }

    fn validate_heap(&self) -> Result<(), Malformed> {
        let heap = Malformed::Heap { heap_len: self.heap_len, row_bits: self.row_bits };
        if self.row_bits > MAX_ROW_BITS || self.heap_len == 0 || self.heap_len > MAX_CELLS {
            return Err(heap);
        }
        let row = 1usize << self.row_bits;
        if !self.heap_len.is_multiple_of(row) {
            return Err(heap);
        }
        for (i, r) in self.regions.iter().enumerate() {
            let end = r.base.checked_add(r.len);
            let may_be_empty = !r.own_rows && matches!(r.kind, RegionKind::Multiplicity { .. });
            let fits = end.is_some_and(|end| match r.is_virtual() {
                true => r.base >= self.heap_len && end <= MAX_CELLS && !r.own_rows,
                false => end <= self.heap_len,
            });
            if (r.len == 0 && !may_be_empty) || !fits {
                return Err(Malformed::RegionPlace { region: i, other: None });
            }
            let kind_is_sound = match &r.kind {
                RegionKind::Column { table, column } => self.tables.get(table.0 as usize).is_some_and(|t| *column < t.columns()),
                RegionKind::Assigned { lo, hi } => lo <= hi,
                RegionKind::Multiplicity { table } => self.tables.len() > table.0 as usize,
                RegionKind::Virtual { table } => self.tables.get(table.0 as usize).is_some_and(|t| matches!(t, Table::Range { .. })),
            };
            if !kind_is_sound {
                return Err(Malformed::RegionKind(i));
            }
        }
        let mut order: Vec<usize> = (0..self.regions.len()).filter(|&i| self.regions[i].len > 0).collect();
        order.sort_by_key(|&i| self.regions[i].base);
        for pair in order.windows(2) {
            let (a, b) = (&self.regions[pair[0]], &self.regions[pair[1]]);
            if a.base + a.len > b.base {
                return Err(Malformed::RegionPlace { region: pair[1], other: Some(pair[0]) });
            }
            if b.own_rows && (a.base + a.len - 1) / row == b.base / row {
                return Err(Malformed::SharedRow(pair[1]));
            }
            if a.own_rows && (a.base + a.len - 1) / row == b.base / row {
                return Err(Malformed::SharedRow(pair[0]));
            }
        }
        if let Some(i) = self.regions.iter().position(|r| r.own_rows && !r.base.is_multiple_of(row)) {
            return Err(Malformed::SharedRow(i));
        }
        Ok(())
    }

    fn validate_tensors(&self) -> Result<(), Malformed> {
        let mut end = 0usize;
        for b in &self.params {
            if b.offset != end || b.lo > b.hi || b.len > MAX_CELLS {
                return Err(Malformed::ParamBlock { name: b.name.clone() });
            }
            end = b.offset.saturating_add(b.len);
        }
        if end != self.params_len || end > MAX_CELLS {
            return Err(Malformed::ParamBlock { name: String::new() });
        }
        let tensor = |name: &str| Malformed::Tensor { name: name.to_string() };
        for m in &self.matrices {
            let cells = volume(m.shape.iter().copied(), MAX_CELLS);
            if cells.is_none() || m.shape.len() > MAX_AXES || m.lo > m.hi {
                return Err(tensor(&m.name));
            }
            if m.lo < i32::MIN as i64 || m.hi > i32::MAX as i64 {
                return Err(tensor(&m.name));
            }
        }
        for c in &self.constants {
            if volume(c.shape.iter().copied(), MAX_CELLS) != Some(c.values.len()) {
                return Err(tensor(&c.name));
            }
        }
        for p in &self.publics {
            if volume(p.shape.iter().copied(), MAX_CELLS).is_none() || p.lo > p.hi {
                return Err(tensor(&p.name));
            }
        }
        for c in &self.committed {
            let region = self.regions.get(c.region.0 as usize);
            if !region.is_some_and(|r| r.own_rows) {
                return Err(Malformed::Committed { name: c.name.clone() });
            }
        }
        Ok(())
    }

    fn validate_tables(&self) -> Result<(), Malformed> {
        if self.multiplicities.len() != self.tables.len() {
            return Err(Malformed::Multiplicity { table: self.multiplicities.len().min(self.tables.len()) });
        }
        for (table, (t, m)) in self.tables.iter().zip(&self.multiplicities).enumerate() {
            let flaw = |reason: &str| Err(Malformed::Table { table, reason: reason.to_string() });
            match t {
                Table::Range { lo, bits } => {
                    if *bits > 16 || lo.checked_add(1 << 16).is_none() {
                        return flaw("a range has at most 2^16 entries, none above 2^63");
                    }
                }
                Table::Function { lo, outputs, .. } => {
                    let rows = outputs.first().map_or(0, Vec::len);
                    if rows == 0 || rows > MAX_TABLE_ROWS || outputs.iter().any(|c| c.len() != rows) || lo.checked_add(1 << 16).is_none() {
                        return flaw("1 to 2^16 rows and output columns of one length are needed");
                    }
                }
                Table::Rows { view, .. } => {
                    if let Err(e) = self.check_view(view) {
                        return flaw(&e.to_string());
                    }
                    if view.axes.is_empty() {
                        return flaw("a table of rows needs an axis that counts them");
                    }
                    if matches!(view.source, Source::Region(_) | Source::Public(_)) {
                        return flaw("rows must come from parameters or constants");
                    }
                }
            }
            let region = self.regions.get(m.0 as usize);
            // A table that is not used needs no multiplicities.
            let unused = || self.lookups.iter().all(|l| l.table.0 as usize != table);
            let fits = region.is_some_and(|r| {
                (r.len == t.len() || (r.len == 0 && unused()))
                    && matches!(r.kind, RegionKind::Multiplicity { table: of } if of.0 as usize == table)
            });
            if !fits {
                return Err(Malformed::Multiplicity { table });
            }
        }
        Ok(())
    }

    fn validate_lookups(&self) -> Result<(), Malformed> {
        for l in &self.lookups {
            let flaw = |reason: String| Err(Malformed::Lookup { name: l.name.clone(), reason });
            let Some(table) = self.tables.get(l.table.0 as usize) else {
                return flaw("there is no such table".to_string());
            };
            if l.columns.len() != table.columns() {
                return flaw(format!("{} columns for a table of {}", l.columns.len(), table.columns()));
            }
            for (c, v) in l.columns.iter().enumerate() {
                if let Err(e) = self.check_view(v) {
                    return flaw(format!("column {c}: {e}"));
                }
                let mut shape: Vec<usize> = v.shape();
                if shape.len() < l.index_axes {
                    return flaw(format!("column {c} has fewer than {} axes", l.index_axes));
                }
                let rest = shape.split_off(l.index_axes);
                if shape != l.columns[0].shape()[..l.index_axes] {
                    return flaw(format!("column {c} runs over other sites than column 0"));
                }
                let content = match table {
                    Table::Rows { view, .. } if c == 1 => view.shape()[1..].to_vec(),
                    _ => Vec::new(),
                };
                if rest != content {
                    return flaw(format!("column {c} has content axes {rest:?}, the table {content:?}"));
                }
            }
        }
        Ok(())
    }
}
