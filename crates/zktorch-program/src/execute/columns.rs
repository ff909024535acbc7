//! Columns of a product as tasks.

use rayon::prelude::*;
use std::ops::Range;

/// Columns per task: their sums for a few rows stay in the first-level cache, their weights for 128 summed indices in the second-level one.
const COLUMNS: usize = 256;
/// Tasks have a multiple of so many columns.
pub(super) const STRIP: usize = 32;

/// The product `[rows, columns]` of blocks `[rows, range]` that tasks of nearly equal size compute, as many for each thread. Lines of a block may be
/// longer than its range.
pub(super) fn side_by_side(rows: usize, columns: usize, block: impl Fn(Range<usize>) -> Vec<i64> + Sync) -> Vec<i64> {
    let count = columns.div_ceil(COLUMNS).next_multiple_of(rayon::current_num_threads()).min(columns.div_ceil(STRIP)).max(1);
    let width = columns.div_ceil(count).next_multiple_of(STRIP);
    let tasks: Vec<Range<usize>> = (0..columns).step_by(width).map(|j| j..(j + width).min(columns)).collect();
    let done: Vec<Vec<i64>> = tasks.par_iter().map(|task| block(task.clone())).collect();
    let mut c = vec![0; rows * columns];
    c.par_chunks_mut(columns.max(1)).enumerate().with_min_len((COLUMNS * STRIP).div_ceil(columns.max(1))).for_each(|(i, row)| {
        for (task, block) in tasks.iter().zip(&done) {
            let line = block.len() / rows.max(1);
            row[task.clone()].copy_from_slice(&block[i * line..][..task.len()]);
        }
    });
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_computed_once_and_lands_in_its_place() {
        for columns in [1, 31, 32, 33, 511, 512, 513, 1100, 5000] {
            let value = |i: usize, j: usize| (i * 10_000 + j) as i64;
            let expected: Vec<i64> = (0..3).flat_map(|i| (0..columns).map(move |j| value(i, j))).collect();
            let padded = |range: Range<usize>| {
                let width = range.len().next_multiple_of(STRIP);
                let (start, used) = (range.start, range.len());
                let row = |i: usize| (0..width).map(move |j| if j < used { value(i, start + j) } else { -1 });
                (0..3).flat_map(row).collect()
            };
            assert_eq!(side_by_side(3, columns, padded), expected);
            let exact = |range: Range<usize>| {
                let row = |i: usize| range.clone().map(move |j| value(i, j));
                (0..3).flat_map(row).collect()
            };
            assert_eq!(side_by_side(3, columns, exact), expected);
        }
    }
}
