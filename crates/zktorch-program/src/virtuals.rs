//! Virtual regions: cells that one identity leaves over and one lookup bounds. They are not committed.
//!
//! A rescaled value is `acc = 2^s q + r` with `r` in a table. Nothing else reads `r`, and given `q` it is linear in other cells and in products of
//! cells: so a lookup of `(acc − 2^s q)` says all that a committed `r` with its lookup would. This saves the commitment and the claims of half of
//! the cells of such a value.

use crate::program::{Program, Region, RegionKind};
use crate::relation::{Identity, Term};
use crate::validate::Malformed;
use crate::view::{RegionId, Source, View};

/// How the cells of a virtual region are looked up: the box of its axes in blocks, each padded to powers of two axis by axis. Several blocks share one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualBlocks {
    /// The axis that is cut.
    pub axis: usize,
    /// First index and number of indices of each block on that axis. A first index is a multiple of the number's next power of two; all numbers but the last are powers of two.
    pub runs: Vec<(usize, usize)>,
    /// Number of sites of all blocks, with padding.
    padded: u128,
}

/// Most blocks of a virtual region: each costs the verifier a claim on every tensor of the identity.
const MOST_BLOCKS: usize = 3;

impl VirtualBlocks {
    /// The blocks of a region of this shape: one, if its padding is at most a third, or else the cut of one axis that leaves the least.
    pub fn of(shape: &[usize]) -> VirtualBlocks {
        let power = |n: usize| n.next_power_of_two() as u128;
        let whole: u128 = shape.iter().map(|&s| power(s)).product();
        let cells: u128 = shape.iter().map(|&s| s as u128).product();
        let uncut = VirtualBlocks { axis: 0, runs: vec![(0, shape.first().copied().unwrap_or(1))], padded: whole };
        if 20 * whole <= 27 * cells {
            return uncut;
        }
        let cut = |(axis, &size): (usize, &usize)| {
            let runs = cut(size);
            let padded = whole / power(size) * runs.iter().map(|r| power(r.1)).sum::<u128>();
            VirtualBlocks { axis, runs, padded }
        };
        std::iter::once(uncut)
            .chain(shape.iter().enumerate().map(cut))
            .min_by_key(|b| b.padded)
            .unwrap_or_else(|| unreachable!("one is uncut"))
    }

    /// Whether looking up cells in these blocks costs less than committing to them: a leaf of the lookup tree costs about as much as a cell.
    pub(crate) fn are_worth(&self, cells: usize) -> bool {
        cells >= LEAST_CELLS && 5 * self.padded <= 7 * cells as u128
    }
}

/// Fewer cells than this share the rows and the lookups of others.
const LEAST_CELLS: usize = 1 << 10;

/// Powers of two, largest first, and what remains.
fn cut(size: usize) -> Vec<(usize, usize)> {
    let mut runs = Vec::with_capacity(MOST_BLOCKS);
    let mut first = 0;
    while first < size {
        let rest = size - first;
        let len = if runs.len() + 1 == MOST_BLOCKS { rest } else { 1 << rest.ilog2() };
        runs.push((first, len));
        first += len;
    }
    runs
}

impl Region {
    /// Whether the cells are not committed.
    pub fn is_virtual(&self) -> bool {
        matches!(self.kind, RegionKind::Virtual { .. })
    }
}

impl Program {
    /// Number of cells of a witness: the heap, and behind it the virtual regions.
    pub fn witness_len(&self) -> usize {
        let end = |r: &Region| if r.is_virtual() { r.base.saturating_add(r.len) } else { 0 };
        self.regions.iter().map(end).fold(self.heap_len, usize::max)
    }

    /// The virtual region that a view looks at.
    pub fn virtual_region(&self, view: &View) -> Option<RegionId> {
        match view.source {
            Source::Region(r) if self.regions.get(r.0 as usize).is_some_and(Region::is_virtual) => Some(r),
            _ => None,
        }
    }

    /// The virtual region that a term is about.
    pub fn virtual_term(&self, term: &Term) -> Option<RegionId> {
        term.factors.iter().find_map(|f| self.virtual_region(&f.view))
    }

    /// Checks that every virtual region is a term of one identity, alone and over its output letters, that no identity has two, and that it is the only column
    /// of one lookup in its table, with the same indices. All other parts of the program are well formed.
    pub(crate) fn validate_virtual(&self) -> Result<(), Malformed> {
        let mut defined: Vec<Option<&View>> = vec![None; self.regions.len()];
        let mut looked_up = vec![false; self.regions.len()];
        for identity in &self.identities {
            let mut terms = identity.terms.iter().filter_map(|t| self.virtual_term(t).map(|r| (t, r)));
            let Some((term, r)) = terms.next() else { continue };
            let again = defined[r.0 as usize].replace(&term.factors[0].view).is_some();
            if again || terms.next().is_some() || !leaves_over(identity, term, r, self.regions[r.0 as usize].len) {
                return Err(Malformed::Virtual(r.0 as usize));
            }
        }
        for lookup in &self.lookups {
            for view in &lookup.columns {
                let Some(r) = self.virtual_region(view) else { continue };
                let region = &self.regions[r.0 as usize];
                let own = matches!(region.kind, RegionKind::Virtual { table } if table == lookup.table);
                let same = defined[r.0 as usize] == Some(view);
                let alone = lookup.columns.len() == 1 && lookup.index_axes == view.axes.len();
                let again = std::mem::replace(&mut looked_up[r.0 as usize], true);
                if again || !(own && same && alone) {
                    return Err(Malformed::Virtual(r.0 as usize));
                }
            }
        }
        let unused = |r: usize| self.regions[r].is_virtual() && !looked_up[r];
        match (0..self.regions.len()).find(|&r| unused(r)) {
            Some(r) => Err(Malformed::Virtual(r)),
            None => Ok(()),
        }
    }
}

/// Whether the term is cells of the region `r`, `len` of them, by themselves, one for each index of the identity's output letters. Without output letters there would be
/// no letter to cut, and none of the claim's coordinates.
pub(crate) fn leaves_over(identity: &Identity, term: &Term, r: RegionId, len: usize) -> bool {
    let [factor] = &term.factors[..] else { return false };
    let dense = View::dense(Source::Region(r), 0, &identity.sizes[..identity.outputs]);
    let in_order = factor.letters.iter().copied().eq(0..identity.outputs as u8);
    identity.outputs > 0 && term.coeff != 0 && in_order && factor.view == dense && dense.len() == len
}
