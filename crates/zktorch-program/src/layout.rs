//! Where regions lie on the heap.

use crate::program::Region;
use std::cmp::Reverse;
use std::ops::Range;

/// A power of two near the region's own size over 64: low offset bits are then zero and the carry automaton of the claims has few states.
/// Regions with rows of their own begin at a row boundary anyway.
fn alignment(region: &Region) -> usize {
    if region.own_rows { 1 } else { (region.len.next_power_of_two() / 64).max(1) }
}

/// Lays out `members` from cell `base` on, large regions first. Returns one past the last cell. Distances from `base` depend on the lengths
/// alone if `base` is a multiple of every alignment.
pub(crate) fn place(regions: &mut [Region], members: &[usize], base: usize) -> usize {
    let mut order = members.to_vec();
    order.sort_by_key(|&i| Reverse(regions[i].len));
    order.into_iter().fold(base, |base, i| {
        let region = &mut regions[i];
        region.base = base.next_multiple_of(alignment(region));
        region.base + region.len
    })
}

/// Lays out the virtual regions one after the other from cell `base` on, in any order that keeps them apart.
pub(crate) fn place_virtual(regions: &mut [Region], base: usize) {
    regions.iter_mut().filter(|r| r.is_virtual()).fold(base, |base, region| {
        region.base = base;
        base + region.len
    });
}

/// Lays out `members` on whole rows after cell `end` that they share with no other region. Returns the cells of these rows.
pub(crate) fn place_on_rows(regions: &mut [Region], members: &[usize], end: usize, row: usize) -> Range<usize> {
    let align = members.iter().map(|&i| alignment(&regions[i])).fold(row, usize::max);
    let start = end.next_multiple_of(align);
    start..place(regions, members, start).next_multiple_of(row)
}
