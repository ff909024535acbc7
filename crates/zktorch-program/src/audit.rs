//! The soundness self-check: every cell is bounded, no identity can wrap modulo the field.
//!
//! Identities hold modulo the field. They hold over the integers because every cell that they read is a small integer, and their sums stay
//! far below the field's size. A cell is small because a lookup says so, or because an identity expresses it by cells that are known to be
//! small: the identities are taken in order, so no justification can be circular.

use crate::bounds::BoundsOf;
use crate::cover::Cover;
use crate::program::{Program, RegionKind};
use crate::relation::{Factor, Identity, Term};
use crate::validate::Malformed;
use crate::view::{Source, View};

/// No sum of absolute values of an identity's terms reaches this: far below the field's size of about 2^254.
const LIMIT: i128 = 1 << 120;

/// What a program consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Heap cells, padding included.
    pub heap_cells: usize,
    /// Cells that a lookup of their region bounds.
    pub column_cells: usize,
    /// Cells that an identity or an explicit lookup bounds.
    pub assigned_cells: usize,
    /// Cells of multiplicities.
    pub multiplicity_cells: usize,
    /// Cells behind the heap that a lookup bounds and no commitment holds.
    pub virtual_cells: usize,
    /// Heap cells outside all regions.
    pub padding_cells: usize,
    /// Parameters.
    pub parameters: usize,
    /// Tuples looked up.
    pub lookups: usize,
    /// Rows of all tables.
    pub table_rows: usize,
    /// Identities.
    pub identities: usize,
    /// Equations: output indices of all identities.
    pub equations: usize,
    /// Largest possible absolute value of a sum in an identity.
    pub largest_sum: u128,
}

/// Why a program is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The program is not well formed.
    #[error("the program is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A column region is not looked up over its whole length.
    #[error("no lookup in table {table} has region {region} as its column {column}{}", near(node))]
    ColumnNotLookedUp {
        /// The region.
        region: usize,
        /// Its table.
        table: usize,
        /// Its column.
        column: usize,
        /// A relation that uses the region, empty if none does.
        node: String,
    },
    /// Nothing bounds some cell of an assigned region.
    #[error("no lookup and no identity bounds cell {cell} of region {region} to {lo}..={hi}{}", near(node))]
    Unbounded {
        /// The region.
        region: usize,
        /// First cell without a bound, relative to the region.
        cell: usize,
        /// Declared smallest value.
        lo: i64,
        /// Declared largest value.
        hi: i64,
        /// A relation that uses the region, empty if none does.
        node: String,
    },
    /// An identity expresses cells whose declared bounds do not contain all values that it admits.
    #[error("identity {name} admits {from}..={to} for cells declared as {lo}..={hi}")]
    BoundTooNarrow {
        /// Name of the identity.
        name: String,
        /// Declared smallest value.
        lo: i64,
        /// Declared largest value.
        hi: i64,
        /// Smallest value that the identity admits.
        from: i128,
        /// Largest value that the identity admits.
        to: i128,
    },
    /// The terms of an identity may sum up to 2^120 or more.
    #[error("the sums of identity {name} may reach 2^120")]
    Wraps {
        /// Name of the identity.
        name: String,
    },
    /// A relation reads multiplicities, which nothing bounds.
    #[error("{name} reads multiplicities")]
    ReadsMultiplicities {
        /// Name of the identity or lookup.
        name: String,
    },
}

fn near(node: &str) -> String {
    match node {
        "" => String::new(),
        node => format!(" (used by {node})"),
    }
}

/// Checks that a proof of the program's relations is a proof over the integers. Never panics, whatever the program.
///
/// # Errors
/// The first flaw, with the name of the relation where it shows.
pub fn audit(program: &Program) -> Result<AuditReport, AuditError> {
    audit_beside(program, &Exempt::default())
}

/// What another argument says about a program's cells.
#[derive(Default)]
pub(crate) struct Exempt {
    /// Cells that need no bound, because no relation reads them (which is checked): the gaps between the copies of a tensor in a batch.
    pub(crate) gaps: Vec<View>,
    /// Regions that another program bounds to their declared ranges.
    pub(crate) given: Vec<usize>,
}

/// Like [`audit`], for a program that was derived from another one.
pub(crate) fn audit_beside(program: &Program, exempt: &Exempt) -> Result<AuditReport, AuditError> {
    program.validate()?;
    reject_multiplicities(program)?;
    let mut audit = Audit::new(program);
    audit.exempt(exempt);
    audit.columns()?;
    audit.explicit_lookups();
    let mut largest_sum = 0;
    for identity in &program.identities {
        let sum = audit.largest_sum(identity)?;
        largest_sum = largest_sum.max(sum);
        audit.justify(identity);
    }
    audit.everything_is_covered()?;
    Ok(report(program, largest_sum))
}

/// Largest sum of absolute values of an identity's terms; `None` from 2^120 on. The program is well formed.
pub(crate) fn largest_sums(program: &Program) -> impl Fn(&Identity) -> Option<u128> {
    let audit = Audit::new(program);
    move |identity| audit.largest_sum(identity).ok()
}

/// Whether sums of this absolute value are far below the field's size.
pub(crate) fn is_small(sum: u128) -> bool {
    sum < LIMIT as u128
}

struct Audit<'a> {
    program: &'a Program,
    bounds: BoundsOf<'a>,
    /// For each region the cells that are known to be bounded.
    covers: Vec<Cover>,
    /// For each region the first identity that expresses some of its cells, but not within its bounds.
    too_narrow: Vec<Option<AuditError>>,
}

fn views(program: &Program) -> impl Iterator<Item = (&str, &View)> {
    let lookups = program.lookups.iter();
    let lookups = lookups.flat_map(|l| l.columns.iter().map(|v| (l.name.as_str(), v)));
    let identities = program.identities.iter().flat_map(|i| {
        let factors = i.terms.iter().flat_map(|t| &t.factors);
        factors.map(|f| (i.name.as_str(), &f.view))
    });
    identities.chain(lookups)
}

/// Name of an identity or lookup that reads the region.
fn user(program: &Program, region: usize) -> String {
    let found = views(program).find(|(_, v)| region_of(v) == Some(region));
    found.map_or_else(String::new, |(name, _)| name.to_string())
}

fn region_of(view: &View) -> Option<usize> {
    match view.source {
        Source::Region(r) => Some(r.0 as usize),
        _ => None,
    }
}

fn reject_multiplicities(program: &Program) -> Result<(), AuditError> {
    let bad =
        views(program).find(|(_, v)| region_of(v).is_some_and(|r| matches!(program.regions[r].kind, RegionKind::Multiplicity { .. })));
    match bad {
        None => Ok(()),
        Some((name, _)) => Err(AuditError::ReadsMultiplicities { name: name.to_string() }),
    }
}

/// Number of index combinations of the letters that the term sums over.
fn contracted(term: &Term, identity: &Identity) -> i128 {
    let letters = identity.sizes.iter().enumerate().skip(identity.outputs);
    let used = |l: usize| term.factors.iter().any(|f| f.letters.contains(&(l as u8)));
    letters.filter(|(l, _)| used(*l)).map(|(_, &size)| size as i128).product()
}

fn times(a: (i128, i128), b: (i128, i128)) -> Option<(i128, i128)> {
    let corners = [a.0.checked_mul(b.0)?, a.0.checked_mul(b.1)?, a.1.checked_mul(b.0)?, a.1.checked_mul(b.1)?];
    Some((*corners.iter().min()?, *corners.iter().max()?))
}

/// Bounds of the product of two equal factors.
fn square((lo, hi): (i128, i128)) -> Option<(i128, i128)> {
    let (a, b) = (lo.checked_mul(lo)?, hi.checked_mul(hi)?);
    let least = if lo <= 0 && hi >= 0 { 0 } else { a.min(b) };
    Some((least, a.max(b)))
}

impl<'a> Audit<'a> {
    fn new(program: &'a Program) -> Audit<'a> {
        let regions = program.regions.len();
        Audit { program, covers: vec![Cover::Empty; regions], too_narrow: vec![None; regions], bounds: BoundsOf::new(program) }
    }

    /// Smallest and largest value of a term at any output index, `None` beyond 127 bits.
    fn term(&self, term: &Term, identity: &Identity) -> Option<(i128, i128)> {
        let mut factors: Vec<(&Factor, (i128, i128))> = (term.factors.iter()).map(|f| (f, self.bounds.of(&f.view))).collect();
        let mut total = times((term.coeff, term.coeff), (1, 1))?;
        while let Some((f, bounds)) = factors.pop() {
            let equal = factors.iter().position(|(g, _)| *g == f);
            total = match equal {
                Some(at) => {
                    factors.remove(at);
                    times(total, square(bounds)?)?
                }
                None => times(total, bounds)?,
            };
        }
        let n = contracted(term, identity);
        times(total, (n, n))
    }

    /// Largest sum of absolute values of the terms.
    fn largest_sum(&self, identity: &Identity) -> Result<u128, AuditError> {
        let peak = |t: &Term| {
            let (lo, hi) = self.term(t, identity)?;
            Some(lo.checked_abs()?.max(hi.checked_abs()?))
        };
        let sum = identity.terms.iter().try_fold(0i128, |sum, t| sum.checked_add(peak(t)?).filter(|&s| s < LIMIT));
        sum.map(|s| s as u128).ok_or_else(|| AuditError::Wraps { name: identity.name.clone() })
    }

    fn exempt(&mut self, exempt: &Exempt) {
        for gap in &exempt.gaps {
            let Some(r) = region_of(gap) else { continue };
            let len = self.program.regions[r].len;
            let mut read = Cover::Empty;
            for (_, view) in views(self.program).filter(|(_, v)| region_of(v) == Some(r)) {
                read.add(view, len);
            }
            if !read.meets(gap) {
                self.covers[r].add(gap, len);
            }
        }
        exempt.given.iter().for_each(|&r| self.covers[r] = Cover::Full);
    }

    /// Column regions: a lookup in their table has the whole region as that column.
    fn columns(&mut self) -> Result<(), AuditError> {
        let whole = |v: &View, len: usize| v.axes.len() == 1 && v.offset == 0 && v.axes[0].size == len && v.is_contiguous();
        for l in &self.program.lookups {
            for (c, v) in l.columns.iter().enumerate() {
                let Some(r) = region_of(v) else { continue };
                let region = &self.program.regions[r];
                let matches = matches!(region.kind, RegionKind::Column { table, column }
                    if table == l.table && column == c);
                // A row's content has axes of its own; only the first axes run over the sites.
                if matches && l.index_axes == 1 && whole(v, region.len) {
                    self.covers[r] = Cover::Full;
                }
            }
        }
        for (region, r) in self.program.regions.iter().enumerate() {
            // A well-formed program looks these up.
            if r.is_virtual() {
                self.covers[region] = Cover::Full;
            }
            if let RegionKind::Column { table, column } = r.kind
                && !matches!(self.covers[region], Cover::Full)
            {
                return Err(AuditError::ColumnNotLookedUp { region, table: table.0 as usize, column, node: user(self.program, region) });
            }
        }
        Ok(())
    }

    /// Lookups of assigned cells in tables within the declared bounds.
    fn explicit_lookups(&mut self) {
        use crate::relation::Table;
        for l in &self.program.lookups {
            for (c, v) in l.columns.iter().enumerate() {
                let Some(r) = region_of(v) else { continue };
                let region = &self.program.regions[r];
                let RegionKind::Assigned { lo, hi } = region.kind else {
                    continue;
                };
                let found = match self.bounds.column(l.table, c) {
                    Some((lo, hi)) => (lo as i128, hi as i128),
                    None => match &self.program.tables[l.table.0 as usize] {
                        Table::Rows { view, .. } => self.bounds.of(view),
                        _ => continue,
                    },
                };
                if found.0 >= lo as i128 && found.1 <= hi as i128 {
                    self.covers[r].add(v, region.len);
                }
            }
        }
    }

    /// If the identity expresses cells that were not bounded yet by cells that were, they are bounded now.
    fn justify(&mut self, identity: &Identity) {
        let open = |f: &Factor| region_of(&f.view).is_some_and(|r| !self.covers[r].contains(&f.view));
        let mut target = None;
        for (t, term) in identity.terms.iter().enumerate() {
            if term.factors.iter().any(open) && target.replace(t).is_some() {
                return;
            }
        }
        let Some(target) = target else { return };
        let term = &identity.terms[target];
        let [factor] = &term.factors[..] else { return };
        // The cells are expressed for every value of the output letters, and nothing is summed. A letter of size 1 may be left out.
        let outputs_occur = (0..identity.outputs).all(|l| identity.sizes[l] == 1 || factor.letters.contains(&(l as u8)));
        let whole = outputs_occur && factor.letters.iter().all(|&l| (l as usize) < identity.outputs);
        if !whole || term.coeff.abs() != 1 {
            return;
        }
        let Some(r) = region_of(&factor.view) else {
            return;
        };
        let region = &self.program.regions[r];
        let RegionKind::Assigned { lo, hi } = region.kind else {
            return;
        };
        let others = identity.terms.iter().enumerate().filter(|(t, _)| *t != target);
        let sum = others.map(|(_, t)| self.term(t, identity)).try_fold((0i128, 0i128), |sum, t| {
            let t = t?;
            Some((sum.0.checked_add(t.0)?, sum.1.checked_add(t.1)?))
        });
        let Some((from, to)) = sum else { return };
        let (from, to) = match term.coeff {
            -1 => (from, to),
            _ => (-to, -from),
        };
        if from >= lo as i128 && to <= hi as i128 {
            self.covers[r].add(&factor.view, region.len);
        } else if self.too_narrow[r].is_none() {
            self.too_narrow[r] = Some(AuditError::BoundTooNarrow { name: identity.name.clone(), lo, hi, from, to });
        }
    }

    fn everything_is_covered(&mut self) -> Result<(), AuditError> {
        for (region, r) in self.program.regions.iter().enumerate() {
            let RegionKind::Assigned { lo, hi } = r.kind else {
                continue;
            };
            if let Some(cell) = self.covers[region].first_missing(r.len) {
                return Err(self.too_narrow[region].take().unwrap_or_else(|| AuditError::Unbounded {
                    region,
                    cell,
                    lo,
                    hi,
                    node: user(self.program, region),
                }));
            }
        }
        Ok(())
    }
}

fn report(program: &Program, largest_sum: u128) -> AuditReport {
    let mut report = AuditReport {
        heap_cells: program.heap_len,
        parameters: program.parameter_count(),
        lookups: program.lookup_count(),
        table_rows: program.tables.iter().map(|t| t.len()).sum(),
        identities: program.identities.len(),
        largest_sum,
        ..AuditReport::default()
    };
    for r in &program.regions {
        match r.kind {
            RegionKind::Column { .. } => report.column_cells += r.len,
            RegionKind::Assigned { .. } => report.assigned_cells += r.len,
            RegionKind::Multiplicity { .. } => report.multiplicity_cells += r.len,
            RegionKind::Virtual { .. } => report.virtual_cells += r.len,
        }
    }
    let used = report.column_cells + report.assigned_cells + report.multiplicity_cells;
    report.padding_cells = report.heap_cells - used;
    report.equations = program.identities.iter().fold(0usize, |sum, i| {
        let outputs: usize = i.sizes[..i.outputs].iter().product();
        sum.saturating_add(outputs)
    });
    report
}
