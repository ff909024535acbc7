//! Where a program is cut.

use super::atoms::Atoms;
use crate::program::Program;
use std::cmp::Reverse;

/// Positions of the first identities of all segments but the first: at most `segments − 1` of them, increasing. Segments cost about the same, in
/// cells and lookups that they are the first to need; within a quarter of a segment, the cut that the fewest cells cross wins. No segment costs
/// less than a quarter of what it should: then there are fewer.
pub(super) fn cuts(program: &Program, atoms: &Atoms, segments: usize) -> Vec<usize> {
    let positions = program.identities.len();
    let mut cost = vec![0u128; positions + 1];
    let mut crossing = vec![0i128; positions + 1];
    for strip in &atoms.strips {
        let committed = strip.regions.iter().filter(|&&r| !program.regions[r].is_virtual()).count();
        let per_cell = committed + usize::from(strip.lookup.is_some());
        for atom in &strip.atoms {
            let len = atom.end - atom.start;
            cost[atom.first] += (len * per_cell) as u128;
            // A cut before `p` separates positions below `p` from `p` on.
            for &last in atom.last.iter().filter(|&&last| last > atom.first) {
                crossing[atom.first + 1] += len as i128;
                crossing[last + 1] -= len as i128;
            }
        }
    }
    for (lookup, position) in program.lookups.iter().zip(&atoms.lookups) {
        if let Some(position) = *position {
            cost[position] += lookup.sites() as u128;
        }
    }
    // `before[p]`: cost of the positions below `p`.
    let mut before = vec![0u128; positions + 1];
    let mut crossed = 0i128;
    for p in 0..positions {
        before[p + 1] = before[p] + cost[p];
        crossed += crossing[p];
        crossing[p] = crossed;
    }
    let total = before[positions];
    // More segments than identities are not possible.
    let segments = segments.min(positions.max(1)) as u128;
    let slack = total / (4 * segments);
    let mut cuts: Vec<usize> = Vec::new();
    for k in 1..segments {
        let target = total * k / segments;
        let last = cuts.last().copied().unwrap_or(0);
        let worth = |cost: u128| cost >= slack.max(1);
        let candidates = (last + 1..positions).filter(|&p| worth(before[p] - before[last]) && worth(total - before[p]));
        let off = |p: usize| before[p].abs_diff(target);
        let best = candidates.min_by_key(|&p| match off(p) <= slack {
            true => (Reverse(true), crossing[p] as u128, off(p), p),
            false => (Reverse(false), off(p), 0, p),
        });
        cuts.extend(best);
    }
    cuts
}
