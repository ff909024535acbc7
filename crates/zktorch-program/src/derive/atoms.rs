//! Runs of cells that stay together when a program is cut.

use super::DeriveError;
use crate::program::{Program, RegionKind};
use crate::relation::{Identity, Lookup};
use crate::view::{Source, View};

/// Regions whose cells stay side by side: the columns of a table, or one assigned region.
pub(super) struct Strip {
    /// Its regions, in the order of the table's columns; all of one length.
    pub regions: Vec<usize>,
    /// The lookup that the columns are looked up in as a whole.
    pub lookup: Option<usize>,
    /// The region has rows of its own.
    pub own_rows: bool,
    /// The strip in order, without gaps.
    pub atoms: Vec<Atom>,
}

/// A run of cells of a strip, such that no view of any relation reads cells of two runs.
pub(super) struct Atom {
    /// First cell, relative to the regions.
    pub start: usize,
    /// One past the last cell.
    pub end: usize,
    /// Position of the first relation that reads it. Positions count identities.
    pub first: usize,
    /// Position of the last relation that reads it, for each region of the strip.
    pub last: Vec<usize>,
}

/// A view's place among the atoms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the strip.
    pub strip: usize,
    /// Index of the atom in the strip.
    pub atom: usize,
    /// Index of the region in the strip.
    pub column: usize,
}

/// The atoms of a program.
pub(super) struct Atoms {
    /// The strips.
    pub strips: Vec<Strip>,
    /// For each lookup of single cells its position; `None` for the lookups of strips.
    pub lookups: Vec<Option<usize>>,
    /// For each region its strip and its place there; `None` for multiplicities.
    of_region: Vec<Option<(usize, usize)>>,
}

/// The regions of a lookup whose columns are whole column regions of its table.
pub(super) fn whole_columns(program: &Program, lookup: &Lookup) -> Option<Vec<usize>> {
    let whole = |(c, v): (usize, &View)| {
        let Source::Region(r) = v.source else { return None };
        let region = &program.regions[r.0 as usize];
        let kind = matches!(region.kind, RegionKind::Column { table, column } if table == lookup.table && column == c);
        let dense = v.axes.len() == 1 && v.offset == 0 && v.axes[0].size == region.len && v.is_contiguous();
        (kind && dense && lookup.index_axes == 1).then_some(r.0 as usize)
    };
    lookup.columns.iter().enumerate().map(whole).collect()
}

/// The views of an identity.
pub(super) fn views_of(identity: &Identity) -> impl Iterator<Item = &View> {
    identity.terms.iter().flat_map(|t| t.factors.iter().map(|f| &f.view))
}

/// Finds the strips of a well-formed program. The second list says for each lookup whether it is one of a strip.
pub(super) fn strips(program: &Program) -> Result<(Vec<Strip>, Vec<bool>), DeriveError> {
    let mut taken = vec![false; program.regions.len()];
    let mut strips = Vec::new();
    let mut whole = vec![false; program.lookups.len()];
    for (l, lookup) in program.lookups.iter().enumerate() {
        if let Some(regions) = whole_columns(program, lookup).filter(|regions| regions.iter().all(|&r| !taken[r])) {
            regions.iter().for_each(|&r| taken[r] = true);
            whole[l] = true;
            strips.push(Strip { regions, lookup: Some(l), own_rows: false, atoms: Vec::new() });
        }
    }
    for (r, region) in program.regions.iter().enumerate() {
        match region.kind {
            RegionKind::Column { .. } if !taken[r] => return Err(DeriveError::Column { region: r }),
            RegionKind::Assigned { .. } | RegionKind::Virtual { .. } => {
                strips.push(Strip { regions: vec![r], lookup: None, own_rows: region.own_rows, atoms: Vec::new() });
            }
            _ => {}
        }
    }
    Ok((strips, whole))
}

impl Atoms {
    /// Cuts the strips of a well-formed program into atoms.
    ///
    /// # Errors
    /// A column region that is not looked up, or a relation that reads multiplicities.
    pub fn new(program: &Program) -> Result<Atoms, DeriveError> {
        let (strips, whole) = strips(program)?;
        let mut of_region = vec![None; program.regions.len()];
        for (s, strip) in strips.iter().enumerate() {
            strip.regions.iter().enumerate().for_each(|(c, &r)| of_region[r] = Some((s, c)));
        }
        let mut atoms = Atoms { strips, lookups: whole.iter().map(|whole| (!whole).then_some(0)).collect(), of_region };
        atoms.cut(program)?;
        atoms.date(program);
        Ok(atoms)
    }

    /// The place of a view of a region; `None` for other views.
    pub fn place(&self, view: &View) -> Option<Place> {
        let Source::Region(r) = view.source else { return None };
        let (strip, column) = self.of_region[r.0 as usize]?;
        let atom = self.strips[strip].atoms.partition_point(|a| a.end <= view.offset);
        Some(Place { strip, atom, column })
    }

    /// The places of some views, each once.
    pub fn places<'a>(&self, views: impl Iterator<Item = &'a View>) -> Vec<Place> {
        let mut places: Vec<Place> = views.filter_map(|v| self.place(v)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Fills in the atoms' extents: overlapping extents of views are merged, cells between them go with those before.
    fn cut(&mut self, program: &Program) -> Result<(), DeriveError> {
        let mut extents: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.strips.len()];
        let explicit = program.lookups.iter().zip(&self.lookups).filter(|(_, position)| position.is_some());
        let explicit = explicit.flat_map(|(l, _)| l.columns.iter().map(|v| (l.name.as_str(), v)));
        let identities = program.identities.iter().flat_map(|i| views_of(i).map(|v| (i.name.as_str(), v)));
        for (name, view) in identities.chain(explicit) {
            let Source::Region(r) = view.source else { continue };
            let Some((strip, _)) = self.of_region[r.0 as usize] else {
                return Err(DeriveError::ReadsMultiplicities { name: name.to_string() });
            };
            extents[strip].push((view.offset, view.end()));
        }
        for (strip, mut extents) in self.strips.iter_mut().zip(extents) {
            let len = program.regions[strip.regions[0]].len;
            if strip.own_rows {
                extents = vec![(0, len)];
            }
            extents.sort_unstable();
            // The first cell of each atom but the first.
            let (mut starts, mut end) = (Vec::new(), 0);
            for (from, to) in extents {
                if from >= end && end > 0 {
                    starts.push(from);
                }
                end = end.max(to);
            }
            let first = std::iter::once(0).chain(starts.iter().copied());
            let ends = starts.iter().copied().chain([len]);
            let columns = strip.regions.len();
            let atom = |(start, end)| Atom { start, end, first: usize::MAX, last: vec![0; columns] };
            strip.atoms = first.zip(ends).map(atom).collect();
        }
        Ok(())
    }

    /// Fills in the positions of atoms and lookups.
    fn date(&mut self, program: &Program) {
        for (position, identity) in program.identities.iter().enumerate() {
            self.read(&self.places(views_of(identity)), position);
        }
        // A lookup of single cells comes when all its cells are there.
        for (l, lookup) in program.lookups.iter().enumerate().filter(|(l, _)| self.lookups[*l].is_some()).collect::<Vec<_>>() {
            let places = self.places(lookup.columns.iter());
            let known = places.iter().map(|p| self.strips[p.strip].atoms[p.atom].first).filter(|&first| first != usize::MAX);
            let position = known.max().unwrap_or(0);
            self.lookups[l] = Some(position);
            self.read(&places, position);
        }
        for strip in &mut self.strips {
            let mut before = strip.atoms.iter().map(|a| a.first).find(|&first| first != usize::MAX).unwrap_or(0);
            for atom in &mut strip.atoms {
                if atom.first == usize::MAX {
                    atom.first = before;
                }
                before = atom.first;
            }
        }
    }

    fn read(&mut self, places: &[Place], position: usize) {
        for p in places {
            let atom = &mut self.strips[p.strip].atoms[p.atom];
            atom.first = atom.first.min(position);
            atom.last[p.column] = atom.last[p.column].max(position);
        }
    }
}
