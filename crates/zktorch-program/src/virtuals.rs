//! Virtual regions: cells that one identity leaves over and one lookup bounds. They are not committed.
//!
//! A rescaled value is `acc = 2^s q + r` with `r` in a table. Nothing else reads `r`, and given `q` it is linear in other cells and in products of
//! cells: so a lookup of `(acc − 2^s q)` says all that a committed `r` with its lookup would. This saves the commitment and the claims of half of
//! the cells of such a value.

use crate::program::{Program, Region, RegionKind};
use crate::relation::{Identity, Term};
use crate::validate::Malformed;
use crate::view::{RegionId, Source, View};

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
            if again || terms.next().is_some() || !self.leaves_over(identity, term, r) {
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

    fn leaves_over(&self, identity: &Identity, term: &Term, r: RegionId) -> bool {
        let [factor] = &term.factors[..] else { return false };
        let sizes = &identity.sizes[..identity.outputs];
        let in_order = factor.letters.iter().copied().eq(0..identity.outputs as u8);
        term.coeff != 0
            && in_order
            && factor.view == View::dense(Source::Region(r), 0, sizes)
            && factor.view.len() == self.regions[r.0 as usize].len
    }
}
