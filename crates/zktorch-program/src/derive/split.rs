//! Cuts a program into segments.

use super::atoms::{Atoms, Place, views_of};
use super::draft::{Draft, Group, Piece, padding};
use crate::program::{Committed, Program, Region, RegionKind};
use crate::relation::Lookup;
use crate::view::{RegionId, Source, TableId, View};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where an atom's cells went, for each region of the base program and each atom: region and first cell.
type Moved = HashMap<(usize, usize), (RegionId, usize)>;

/// Regions that the same later segments read; a region with rows of its own stays alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Readers {
    segments: Vec<usize>,
    own_rows: Option<usize>,
}

/// A group of regions that later segments read.
struct Export {
    segment: usize,
    group: usize,
    readers: Vec<usize>,
    regions: Vec<Exported>,
}

/// A region of an exported group: what it is in the base program, its cells, and where each of its atoms begins.
struct Exported {
    base_region: usize,
    own_rows: bool,
    piece: Piece,
    atoms: Vec<(usize, usize)>,
}

/// The segments that begin at `cuts`, in order.
pub(super) fn split(program: &Program, atoms: &Atoms, cuts: &[usize]) -> Vec<Draft> {
    let split = Split { program, atoms, cuts, readers: readers(program, atoms, cuts) };
    let mut exports = Vec::new();
    (0..=cuts.len()).map(|s| split.segment(s, &mut exports)).collect()
}

fn segment_of(cuts: &[usize], position: usize) -> usize {
    cuts.partition_point(|&c| c <= position)
}

/// The segments other than its own that read an atom's cells in one column.
fn readers(program: &Program, atoms: &Atoms, cuts: &[usize]) -> BTreeMap<Place, BTreeSet<usize>> {
    let mut readers: BTreeMap<Place, BTreeSet<usize>> = BTreeMap::new();
    let mut read = |places: Vec<Place>, position: usize| {
        let segment = segment_of(cuts, position);
        for p in places {
            if segment_of(cuts, atoms.strips[p.strip].atoms[p.atom].first) != segment {
                readers.entry(p).or_default().insert(segment);
            }
        }
    };
    for (position, identity) in program.identities.iter().enumerate() {
        read(atoms.places(views_of(identity)), position);
    }
    for (lookup, position) in program.lookups.iter().zip(&atoms.lookups) {
        if let Some(position) = *position {
            read(atoms.places(lookup.columns.iter()), position);
        }
    }
    readers
}

struct Split<'a> {
    program: &'a Program,
    atoms: &'a Atoms,
    cuts: &'a [usize],
    readers: BTreeMap<Place, BTreeSet<usize>>,
}

/// A segment under construction.
struct Parts {
    regions: Vec<Region>,
    pieces: Vec<Piece>,
    moved: Moved,
    lookups: Vec<Lookup>,
    committed: Vec<Committed>,
}

impl Parts {
    fn region(&mut self, kind: RegionKind, own_rows: bool, piece: Piece) -> RegionId {
        let id = RegionId(self.regions.len() as u32);
        self.regions.push(Region { base: 0, len: piece.len(), kind, own_rows });
        self.pieces.push(piece);
        id
    }
}

impl Split<'_> {
    fn segment(&self, segment: usize, exports: &mut Vec<Export>) -> Draft {
        let mut parts =
            Parts { regions: Vec::new(), pieces: Vec::new(), moved: HashMap::new(), lookups: Vec::new(), committed: Vec::new() };
        let imports = self.imports(segment, exports, &mut parts);
        let mut groups = self.own_cells(segment, exports, &mut parts);
        groups.extend(imports);
        let program = self.program;
        let here = |position: usize| segment_of(self.cuts, position) == segment;
        for (lookup, position) in program.lookups.iter().zip(&self.atoms.lookups) {
            if position.is_some_and(here) {
                let columns = lookup.columns.iter().map(|v| self.moved(&parts.moved, v)).collect();
                parts.lookups.push(Lookup { columns, ..lookup.clone() });
            }
        }
        let mut identities = Vec::new();
        for (_, identity) in program.identities.iter().enumerate().filter(|(position, _)| here(*position)) {
            let mut identity = identity.clone();
            for factor in identity.terms.iter_mut().flat_map(|t| &mut t.factors) {
                factor.view = self.moved(&parts.moved, &factor.view);
            }
            identities.push(identity);
        }
        let multiplicities = (program.tables.iter().enumerate())
            .map(|(t, table)| {
                let table_id = TableId(t as u32);
                let used = parts.lookups.iter().any(|l| l.table == table_id);
                let kind = RegionKind::Multiplicity { table: table_id };
                let padding = padding(&kind);
                let id = parts.region(kind, false, Piece { runs: Vec::new(), pitch: 0, padding });
                parts.regions[id.0 as usize].len = if used { table.len() } else { 0 };
                id
            })
            .collect();
        let Parts { regions, pieces, lookups, committed, .. } = parts;
        let program = Program { heap_len: 0, regions, multiplicities, lookups, identities, committed, ..self.shell() };
        Draft { program, pieces, groups }
    }

    /// What all segments share: parameters, matrices, constants, public tensors, tables.
    fn shell(&self) -> Program {
        let p = self.program;
        Program {
            row_bits: p.row_bits,
            heap_len: 0,
            regions: Vec::new(),
            params_len: p.params_len,
            params: p.params.clone(),
            matrices: p.matrices.clone(),
            constants: p.constants.clone(),
            publics: p.publics.clone(),
            committed: Vec::new(),
            tables: p.tables.clone(),
            multiplicities: Vec::new(),
            lookups: Vec::new(),
            identities: Vec::new(),
        }
    }

    fn moved(&self, moved: &Moved, view: &View) -> View {
        let (Some(p), Source::Region(r)) = (self.atoms.place(view), view.source) else { return view.clone() };
        let (id, first) = moved[&(r.0 as usize, p.atom)];
        let start = self.atoms.strips[p.strip].atoms[p.atom].start;
        View { source: Source::Region(id), offset: view.offset - start + first, axes: view.axes.clone() }
    }

    /// Copies of the groups of earlier segments that this one reads.
    fn imports(&self, segment: usize, exports: &[Export], parts: &mut Parts) -> Vec<Group> {
        let mut groups = Vec::new();
        for export in exports.iter().filter(|e| e.readers.contains(&segment)) {
            let mut members = Vec::new();
            for region in &export.regions {
                let base = &self.program.regions[region.base_region];
                let whole = View::dense(Source::Region(RegionId(region.base_region as u32)), 0, &[base.len]);
                let (lo, hi) = self.program.bounds(&whole);
                let id = parts.region(RegionKind::Assigned { lo: lo as i64, hi: hi as i64 }, region.own_rows, region.piece.clone());
                members.push(id.0 as usize);
                let first_cells = region.atoms.iter().map(|&(atom, first)| ((region.base_region, atom), (id, first)));
                parts.moved.extend(first_cells);
            }
            groups.push(Group { members, from: Some((export.segment, export.group)) });
        }
        groups
    }

    /// The cells that the segment is the first to use, with the lookups of its columns: one region for each column of a table and each set of
    /// later segments that read it.
    fn own_cells(&self, segment: usize, exports: &mut Vec<Export>, parts: &mut Parts) -> Vec<Group> {
        let mut grouped: BTreeMap<Readers, Vec<(RegionId, Exported)>> = BTreeMap::new();
        for (s, strip) in self.atoms.strips.iter().enumerate() {
            let mut bundles: BTreeMap<Vec<Vec<usize>>, Vec<usize>> = BTreeMap::new();
            for (a, _) in strip.atoms.iter().enumerate().filter(|(_, a)| segment_of(self.cuts, a.first) == segment) {
                let of = |column| self.readers.get(&Place { strip: s, atom: a, column });
                let readers = (0..strip.regions.len()).map(|c| of(c).map_or_else(Vec::new, |r| r.iter().copied().collect()));
                bundles.entry(readers.collect()).or_default().push(a);
            }
            for (readers, members) in bundles {
                let mut columns = Vec::new();
                for (&base_region, segments) in strip.regions.iter().zip(readers) {
                    let base = &self.program.regions[base_region];
                    let (piece, atoms) = self.piece(s, base_region, &members);
                    let id = parts.region(base.kind.clone(), strip.own_rows, piece.clone());
                    parts.moved.extend(atoms.iter().map(|&(atom, first)| ((base_region, atom), (id, first))));
                    columns.push(View::dense(Source::Region(id), 0, &[piece.len()]));
                    let committed = self.program.committed.iter().filter(|c| c.region.0 as usize == base_region);
                    parts.committed.extend(committed.map(|c| Committed { name: c.name.clone(), region: id }));
                    let key = Readers { segments, own_rows: strip.own_rows.then_some(base_region) };
                    if !key.segments.is_empty() || strip.own_rows {
                        grouped.entry(key).or_default().push((id, Exported { base_region, own_rows: strip.own_rows, piece, atoms }));
                    }
                }
                if let Some(lookup) = strip.lookup {
                    parts.lookups.push(Lookup { columns, ..self.program.lookups[lookup].clone() });
                }
            }
        }
        let mut groups = Vec::new();
        for (readers, regions) in grouped {
            let (members, regions): (Vec<usize>, Vec<Exported>) = regions.into_iter().map(|(id, e)| (id.0 as usize, e)).unzip();
            if !readers.segments.is_empty() {
                exports.push(Export { segment, group: groups.len(), readers: readers.segments, regions });
            }
            groups.push(Group { members, from: None });
        }
        groups
    }

    /// The cells of some atoms of a region, one after the other, and where each begins.
    fn piece(&self, strip: usize, base_region: usize, members: &[usize]) -> (Piece, Vec<(usize, usize)>) {
        let region = &self.program.regions[base_region];
        let mut piece = Piece { runs: Vec::new(), pitch: 0, padding: padding(&region.kind) };
        let mut first_cells = Vec::new();
        let mut len = 0;
        for &a in members {
            let atom = &self.atoms.strips[strip].atoms[a];
            first_cells.push((a, len));
            len += atom.end - atom.start;
            let run = region.base + atom.start..region.base + atom.end;
            match piece.runs.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => piece.runs.push(run),
            }
        }
        piece.pitch = len;
        (piece, first_cells)
    }
}
