//! Programs whose regions have no place on the heap yet.

use super::{DeriveError, Derived, Import};
use crate::layout;
use crate::program::{Program, RegionKind};
use crate::view::{RegionId, Source, TableId, View};
use std::ops::Range;

/// What a cell between two copies of a region's content holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// The entry of a column in the table's row of the argument nearest to 0.
    Row(TableId, usize),
    /// A number.
    Value(i64),
    /// The region's cells come from no heap: multiplicities.
    Counted,
}

/// Where a region's cells come from: copies of some runs of cells, one copy per inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Cells of the base program's heap, one run after the other.
    pub runs: Vec<Range<usize>>,
    /// Distance between the first cells of two copies.
    pub pitch: usize,
    /// What lies between two copies.
    pub padding: Padding,
}

impl Piece {
    /// Number of cells of one copy.
    pub fn len(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }
}

/// Regions that share rows with each other only.
pub(super) struct Group {
    /// The regions.
    pub members: Vec<usize>,
    /// The segment, and its group, that these cells are copied from.
    pub from: Option<(usize, usize)>,
}

/// A program whose regions have no place yet.
pub(super) struct Draft {
    /// The program; regions begin at cell 0, the heap has no length.
    pub program: Program,
    /// One per region.
    pub pieces: Vec<Piece>,
    /// Regions on rows of their own; all other regions come before.
    pub groups: Vec<Group>,
}

/// The padding of a region of the base program.
pub(super) fn padding(kind: &RegionKind) -> Padding {
    match kind {
        RegionKind::Column { table, column } => Padding::Row(*table, *column),
        RegionKind::Virtual { table } => Padding::Row(*table, 0),
        RegionKind::Assigned { lo, hi } => Padding::Value(0.clamp(*lo, *hi)),
        RegionKind::Multiplicity { .. } => Padding::Counted,
    }
}

impl Draft {
    /// All of a well-formed program.
    pub fn whole(program: &Program) -> Draft {
        let piece = |r: &crate::program::Region| {
            let runs = match r.kind {
                RegionKind::Multiplicity { .. } => Vec::new(),
                _ => std::iter::once(r.base..r.base + r.len).collect(),
            };
            Piece { runs, pitch: r.len, padding: padding(&r.kind) }
        };
        let own = (0..program.regions.len()).filter(|&r| program.regions[r].own_rows);
        Draft {
            program: program.clone(),
            pieces: program.regions.iter().map(piece).collect(),
            groups: own.map(|r| Group { members: vec![r], from: None }).collect(),
        }
    }

    /// Gives every region its place. Returns the cells of each group.
    fn place(&mut self) -> Vec<Range<usize>> {
        let regions = &mut self.program.regions;
        let row = 1usize << self.program.row_bits;
        let mut grouped = vec![false; regions.len()];
        self.groups.iter().flat_map(|g| &g.members).for_each(|&r| grouped[r] = true);
        let (empty, shared): (Vec<usize>, Vec<usize>) =
            (0..regions.len()).filter(|&r| !grouped[r] && !regions[r].is_virtual()).partition(|&r| regions[r].len == 0);
        let mut end = layout::place(regions, &shared, 0);
        empty.into_iter().for_each(|r| regions[r].base = 0);
        let mut ranges = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let cells = layout::place_on_rows(regions, &group.members, end, row);
            end = cells.end;
            ranges.push(cells);
        }
        self.program.heap_len = end.next_multiple_of(row).max(row);
        layout::place_virtual(&mut self.program.regions, self.program.heap_len);
        ranges
    }
}

/// The gaps of a batched region that audits leave out: those of columns are looked up.
fn gap(region: usize, piece: &Piece, inferences: usize) -> Option<View> {
    let (len, pitch) = (piece.len(), piece.pitch);
    let gaps = matches!(piece.padding, Padding::Value(_)) && inferences > 1 && pitch > len;
    gaps.then(|| {
        let mut view = View::dense(Source::Region(RegionId(region as u32)), len, &[inferences - 1, pitch - len]);
        view.axes[0].stride = pitch;
        view
    })
}

/// Lays out the segments of one program, in order.
pub(super) fn finish(drafts: Vec<Draft>, inferences: usize, summed: &[bool]) -> Result<Vec<Derived>, DeriveError> {
    let mut places: Vec<Vec<Range<usize>>> = Vec::new();
    let mut out = Vec::new();
    for mut draft in drafts {
        let ranges = draft.place();
        let row_bits = draft.program.row_bits;
        let mut imports = Vec::new();
        let mut imported = Vec::new();
        for (group, cells) in draft.groups.iter().zip(&ranges) {
            let Some((segment, from)) = group.from else { continue };
            let original = &places[segment][from];
            debug_assert_eq!(original.len(), cells.len(), "a group is laid out by its lengths alone");
            imports.push(Import {
                first_row: cells.start >> row_bits,
                rows: cells.len() >> row_bits,
                from_segment: segment,
                from_row: original.start >> row_bits,
            });
            imported.extend_from_slice(&group.members);
        }
        imported.sort_unstable();
        draft.program.validate()?;
        let gaps = draft.pieces.iter().enumerate().filter_map(|(r, p)| gap(r, p, inferences)).collect();
        places.push(ranges);
        out.push(Derived { program: draft.program, imports, imported, gaps, pieces: draft.pieces, inferences, summed: summed.to_vec() });
    }
    Ok(out)
}
