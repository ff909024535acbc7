//! Repeats a program for several inferences.
//!
//! Every region but the multiplicities becomes one region of `count` copies, `pitch` cells apart. Views of regions and of public tensors get an
//! outermost axis `(count, pitch)`; parameters, matrices and constants are the same for every inference and keep their views.

use super::DeriveError;
use super::atoms::{strips, views_of, whole_columns};
use super::draft::{Draft, Padding};
use crate::audit::{is_small, largest_sums};
use crate::cover::Cover;
use crate::program::Program;
use crate::relation::{Factor, Identity, Lookup, Term};
use crate::validate::MAX_CELLS;
use crate::view::{Axis, Source, View};

/// Distance between copies of `len` cells: at most 1/16 more, with the smallest odd part, which the carry automaton's states follow.
pub(super) fn pitch(len: usize) -> usize {
    let most = len + len / 16;
    let rounded = (0..usize::BITS).map(|k| len.next_multiple_of(1 << k.min(40))).take_while(|&p| p <= most);
    rounded.min_by_key(|p| (p >> p.trailing_zeros(), *p)).unwrap_or(len)
}

/// Whether an identity reads a public tensor that is summed.
fn reads_summed(identity: &Identity, summed: &[bool]) -> bool {
    views_of(identity).any(|v| is_summed(v, summed))
}

fn is_summed(view: &View, summed: &[bool]) -> bool {
    matches!(view.source, Source::Public(p) if summed.get(p.0 as usize).copied().unwrap_or(false))
}

/// Checks that every public tensor to be summed is a sum in the first place: each identity that reads it says `terms = ± public`, and all other
/// cells of that identity are cells of identities before it. Each index of the identity has values of the tensor of its own, which nothing else reads.
/// So the identity defines the tensor and nothing else, and adding it up over the inferences loses nothing but the addends and their range. Nor may the sums
/// over `count` inferences wrap around the field.
pub(super) fn check_sums(program: &Program, count: usize, summed: &[bool]) -> Result<(), DeriveError> {
    if !summed.contains(&true) {
        return Ok(());
    }
    let refuse = |name: &str, reason: &'static str| Err(DeriveError::Sum { name: name.to_string(), reason });
    if let Some(l) = program.lookups.iter().find(|l| l.columns.iter().any(|v| is_summed(v, summed))) {
        return refuse(&l.name, "it looks the tensor up");
    }
    let mut known = Known::new(program)?;
    let mut defined = vec![Cover::Empty; program.publics.len()];
    let largest_sum = largest_sums(program);
    for identity in &program.identities {
        if reads_summed(identity, summed) {
            for term in identity.terms.iter().filter(|t| t.factors.iter().any(|f| is_summed(&f.view, summed))) {
                if term.factors.len() != 1 || term.coeff.abs() != 1 {
                    return refuse(&identity.name, "the tensor is multiplied");
                }
                // Two equations for one value would become one equation for two sums.
                let Factor { view, letters } = &term.factors[0];
                let own = (0..identity.outputs).all(|l| identity.sizes[l] == 1 || letters.contains(&(l as u8)));
                let Source::Public(p) = view.source else { continue };
                let cover = &mut defined[p.0 as usize];
                let len = program.source_len(view.source).unwrap_or(0);
                if !own || !is_injective(view) || cover.add(view, len) != view.len() {
                    return refuse(&identity.name, "a value is defined more than once");
                }
            }
            if !views_of(identity).all(|v| known.contains(v)) {
                return refuse(&identity.name, "it also determines private cells");
            }
            let sum = largest_sum(identity).and_then(|sum| sum.checked_mul(count as u128));
            if !sum.is_some_and(is_small) {
                return refuse(&identity.name, "the sum may reach 2^120");
            }
        }
        views_of(identity).for_each(|v| known.add(v));
    }
    Ok(())
}

/// Whether no two indices of a view read one cell. Some views of which this is true are taken for others.
fn is_injective(view: &View) -> bool {
    let mut axes: Vec<&Axis> = view.axes.iter().filter(|a| a.size > 1).collect();
    axes.sort_by_key(|a| a.stride);
    let mut extent = 1;
    axes.into_iter().all(|a| {
        let apart = a.stride >= extent;
        extent += (a.size - 1) * a.stride;
        apart
    })
}

/// Cells that identities before the current one read, or that a table gives for such cells.
struct Known<'a> {
    program: &'a Program,
    /// One per region.
    covers: Vec<Cover>,
    /// For the first column of a table's regions the other ones.
    given: Vec<Vec<usize>>,
}

impl<'a> Known<'a> {
    fn new(program: &'a Program) -> Result<Known<'a>, DeriveError> {
        let mut given = vec![Vec::new(); program.regions.len()];
        let (strips, whole) = strips(program)?;
        for strip in strips.iter().filter(|s| s.lookup.is_some()) {
            given[strip.regions[0]] = strip.regions[1..].to_vec();
        }
        let mut known = Known { program, covers: vec![Cover::Empty; program.regions.len()], given };
        // The rows that a gather finds.
        for (lookup, _) in program.lookups.iter().zip(whole).filter(|(_, whole)| !whole) {
            lookup.columns.iter().skip(1).for_each(|v| known.add(v));
        }
        Ok(known)
    }

    fn add(&mut self, view: &View) {
        let Source::Region(r) = view.source else { return };
        let r = r.0 as usize;
        let len = self.program.regions[r].len;
        self.covers[r].add(view, len);
        for other in self.given[r].clone() {
            self.covers[other].add(view, len);
        }
    }

    fn contains(&self, view: &View) -> bool {
        match view.source {
            Source::Region(r) => self.covers[r.0 as usize].contains(view),
            _ => true,
        }
    }
}

impl Draft {
    /// `count` inferences of the program; `summed[p]`: public tensor `p` holds the sums over the inferences.
    pub fn repeat(mut self, count: usize, summed: &[bool]) -> Result<Draft, DeriveError> {
        if count == 1 {
            return Ok(self);
        }
        let lens: Vec<usize> = self.program.publics.iter().map(|p| p.shape.iter().product()).collect();
        let whole: Vec<bool> = self.program.lookups.iter().map(|l| whole_columns(&self.program, l).is_some()).collect();
        self.repeat_regions(count)?;
        self.repeat_publics(count, summed)?;
        let repeat = Repeat { pitches: self.pieces.iter().map(|p| p.pitch).collect(), lens, count, summed };
        let regions = &self.program.regions;
        for (lookup, whole) in self.program.lookups.iter_mut().zip(whole) {
            if whole {
                let len = |v: &View| if let Source::Region(r) = v.source { regions[r.0 as usize].len } else { v.len() };
                lookup.columns.iter_mut().for_each(|v| *v = View::dense(v.source, 0, &[len(v)]));
            } else {
                repeat.lookup(lookup)?;
            }
        }
        for identity in &mut self.program.identities {
            match reads_summed(identity, summed) {
                true => repeat.sum(identity)?,
                false => repeat.identity(identity),
            }
        }
        Ok(self)
    }

    fn repeat_regions(&mut self, count: usize) -> Result<(), DeriveError> {
        let row = 1usize << self.program.row_bits;
        for (region, piece) in self.program.regions.iter_mut().zip(&mut self.pieces) {
            if piece.padding == Padding::Counted {
                continue;
            }
            piece.pitch = match region.own_rows {
                true => region.len.next_multiple_of(row),
                // No claim is about virtual cells, and nothing is to lie between them.
                false if region.is_virtual() => region.len,
                false => pitch(region.len),
            };
            let len = piece.pitch.checked_mul(count - 1).and_then(|first| first.checked_add(region.len));
            region.len = len.filter(|&len| len <= MAX_CELLS).ok_or(DeriveError::TooLarge)?;
        }
        Ok(())
    }

    fn repeat_publics(&mut self, count: usize, summed: &[bool]) -> Result<(), DeriveError> {
        for (public, &summed) in self.program.publics.iter_mut().zip(summed) {
            if summed {
                let times = |v: i64| i64::try_from(count).ok().and_then(|count| v.checked_mul(count)).ok_or(DeriveError::TooLarge);
                (public.lo, public.hi) = (times(public.lo)?, times(public.hi)?);
            } else {
                public.shape.insert(0, count);
            }
        }
        Ok(())
    }
}

struct Repeat<'a> {
    /// Pitch of each region.
    pitches: Vec<usize>,
    /// Number of values of each public tensor, for one inference.
    lens: Vec<usize>,
    count: usize,
    summed: &'a [bool],
}

impl Repeat<'_> {
    /// The axis over the inferences, for what differs between them.
    fn axis(&self, view: &View) -> Option<Axis> {
        match view.source {
            Source::Region(r) => Some(Axis { size: self.count, stride: self.pitches[r.0 as usize] }),
            Source::Public(p) if !self.summed[p.0 as usize] => Some(Axis { size: self.count, stride: self.lens[p.0 as usize] }),
            _ => None,
        }
    }

    fn lookup(&self, lookup: &mut Lookup) -> Result<(), DeriveError> {
        if lookup.columns.iter().all(|v| self.axis(v).is_none()) {
            return Ok(());
        }
        for view in &mut lookup.columns {
            if matches!(view.source, Source::Matrix(_)) {
                return Err(DeriveError::MatrixLookup { name: lookup.name.clone() });
            }
            view.axes.insert(0, self.axis(view).unwrap_or(Axis { size: self.count, stride: 0 }));
        }
        lookup.index_axes += 1;
        Ok(())
    }

    /// The inference becomes the first output letter.
    fn identity(&self, identity: &mut Identity) {
        if views_of(identity).all(|v| self.axis(v).is_none()) {
            return;
        }
        identity.sizes.insert(0, self.count);
        identity.outputs += 1;
        for factor in identity.terms.iter_mut().flat_map(|t| &mut t.factors) {
            factor.letters.iter_mut().for_each(|l| *l += 1);
            if let Some(axis) = self.axis(&factor.view) {
                factor.letters.insert(0, 0);
                factor.view.axes.insert(0, axis);
            }
        }
    }

    /// The inference becomes a contraction letter; what is the same for every inference counts as often.
    fn sum(&self, identity: &mut Identity) -> Result<(), DeriveError> {
        let letter = identity.sizes.len() as u8;
        identity.sizes.push(self.count);
        for Term { coeff, factors } in &mut identity.terms {
            let mut differs = false;
            for factor in factors.iter_mut() {
                if let Some(axis) = self.axis(&factor.view) {
                    factor.letters.insert(0, letter);
                    factor.view.axes.insert(0, axis);
                    differs = true;
                }
            }
            if !differs && !factors.iter().any(|f| is_summed(&f.view, self.summed)) {
                *coeff = i128::try_from(self.count).ok().and_then(|count| coeff.checked_mul(count)).ok_or(DeriveError::TooLarge)?;
            }
        }
        Ok(())
    }
}
