//! The bucket method.
//!
//! For each row and window the points are sorted into buckets by their digits and every bucket is summed. Bucket
//! `h·columns + l` holds the points of digit `±(h·columns + l + 1)`, so with row sums `R_h` and column sums `C_l` the window
//! is worth `columns·Σ h·R_h + Σ (l+1)·C_l`. These weights are taken apart into bits: bit `p` of the result is the sum of the
//! rows and columns in whose weight it is set. What is left is one point per row and bit, for Horner's rule. All but Horner's
//! rule for few rows are sums of lists, for all rows and windows at once.

use std::ops::Range;

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Zero};

use super::digits::{Digits, Window};
use super::lists::{Adder, NEGATE, Pair, Pool, sum_lists};
use crate::{G1Affine, G1Projective, par};

/// Most entries of a group, which bounds the memory of each thread: 4 bytes each, and 4 bytes of sums.
const GROUP: usize = 1 << 20;
/// Entries that are not worth a group of their own.
const SMALL_GROUP: usize = 1 << 14;
/// Least number of sums for which Horner's rule is done with affine additions.
const MANY_ROWS: usize = 64;

/// The sums `Σ_i scalar(row, i)·bases[i]`, one per row.
pub(super) fn sums<A: Adder, D: Digits>(adder: A, bases: &[G1Affine], digits: &D, windows: &[Window]) -> Vec<G1Projective> {
    let rows = digits.rows();
    if windows.is_empty() {
        return vec![G1Projective::zero(); rows];
    }
    let longest = (0..rows.min(1)).map(|r| digits.len(r)).max().unwrap_or(0);
    let bases = adder.import(&bases[..longest]);
    let pool = Pool::new(adder);
    let per_row: usize = windows.iter().map(|w| w.width).sum();
    // A row of short scalars has nothing in the windows for long ones. A window's sums begin at its first bit.
    let tasks: Vec<(usize, Window)> =
        (0..rows).flat_map(|r| windows.iter().map(move |w| (r, *w))).filter(|(r, w)| digits.reaches(*r, *w)).collect();
    let entries: usize = tasks.iter().map(|(row, _)| digits.len(*row)).sum();
    // Groups side by side: what one thread does alone for a group is done while others add.
    let most = entries.div_ceil(par::threads()).clamp(SMALL_GROUP, GROUP);
    let mut groups: Vec<&[(usize, Window)]> = Vec::new();
    let mut rest = &tasks[..];
    while !rest.is_empty() {
        let mut entries = 0;
        let fits = |(row, _): &&(usize, Window)| {
            entries += digits.len(*row);
            entries <= most
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, tail) = rest.split_at(count);
        groups.push(group);
        rest = tail;
    }
    let sums = par::map(groups.len(), |g| bit_sums(&pool, &bases, digits, groups[g]));
    let mut bits = vec![adder.identity(); rows * per_row];
    for (group, sums) in groups.into_iter().zip(sums) {
        let mut sums = sums.into_iter();
        for (row, window) in group {
            bits[row * per_row + window.start..].iter_mut().take(window.width).zip(&mut sums).for_each(|(bit, sum)| *bit = sum);
        }
    }
    if rows >= MANY_ROWS { many_horner(adder, &bits, per_row) } else { par::map(rows, |r| horner(adder, &bits[r * per_row..][..per_row])) }
}

/// `Σ_p 2^p·bits[p]`.
fn horner<A: Adder>(adder: A, bits: &[A::Point]) -> G1Projective {
    let mut sum = G1Projective::zero();
    for point in bits.iter().rev() {
        sum.double_in_place();
        let point = adder.export(point);
        if !point.is_zero() {
            sum += point;
        }
    }
    sum
}

/// [`horner`] for each `per_row` points, with affine additions.
fn many_horner<A: Adder>(adder: A, bits: &[A::Point], per_row: usize) -> Vec<G1Projective> {
    let rows = bits.len() / per_row;
    let mut sums = vec![adder.identity(); rows];
    let chunk = rows.div_ceil(par::threads()).clamp(MANY_ROWS, 1 << 11);
    par::chunks_mut(&mut sums, chunk, |first, sums| {
        let mut scratch = adder.scratch();
        let n = sums.len();
        // Sums so far, then the points of one bit.
        let mut source = vec![adder.identity(); 2 * n];
        for p in (0..per_row).rev() {
            for (i, point) in source[n..].iter_mut().enumerate() {
                *point = bits[(first + i) * per_row + p];
            }
            // 2·S + P = (S + P) + S: two chords rather than a tangent and a chord.
            let pairs: Vec<Pair> = (0..n as u32).map(|i| Pair { a: i, b: i + n as u32, out: i }).collect();
            adder.add(&mut scratch, &source, &pairs, sums);
            source[n..].copy_from_slice(sums);
            adder.add(&mut scratch, &source, &pairs, sums);
            source[..n].copy_from_slice(sums);
        }
    });
    sums.iter().map(|s| adder.export(s).into_group()).collect()
}

/// Rows and columns of the buckets of one sorted part.
struct Square {
    rows: usize,
    columns: usize,
    shift: usize,
}

/// For each row and window of a group, its sums per bit: as many points as the window is wide.
fn bit_sums<A: Adder, D: Digits>(pool: &Pool<A>, bases: &[A::Point], digits: &D, group: &[(usize, Window)]) -> Vec<A::Point> {
    // Few sums are cut into parts, so that every worker sorts one.
    let parts: Vec<(usize, Range<usize>)> = (group.iter().enumerate())
        .flat_map(|(task, (row, window))| {
            let n = digits.len(*row);
            let count = par::threads().div_ceil(group.len()).min(n >> (window.width + 2)).max(1);
            (0..count).map(move |i| (task, n * i / count..n * (i + 1) / count))
        })
        .collect();
    let sorted = par::map(parts.len(), |i| {
        let (task, range) = &parts[i];
        let (row, window) = group[*task];
        sort(digits, row, range.clone(), window)
    });
    let entries = sorted.iter().map(|(e, _)| e.as_slice()).collect::<Vec<_>>().concat();
    let lengths = sorted.iter().map(|(_, l)| l.as_slice()).collect::<Vec<_>>().concat();
    let buckets = sum_lists(pool, bases, &entries, &lengths);

    let mut entries = Vec::with_capacity(2 * buckets.len());
    let mut lists = Vec::new();
    let mut first = 0;
    let mut add_list = |buckets: &mut dyn Iterator<Item = usize>, counts: &[u32], first: usize| {
        let before = entries.len();
        entries.extend(buckets.filter(|i| counts[*i] > 0).map(|i| (first + i) as u32));
        lists.push((entries.len() - before) as u32);
    };
    let squares: Vec<Square> = (sorted.iter())
        .map(|(_, counts)| {
            let n = counts.len();
            let shift = ((usize::BITS - n.leading_zeros()) / 2) as usize;
            let columns = 1usize << shift;
            let rows = n.div_ceil(columns);
            for h in 1..rows {
                add_list(&mut (h * columns..n.min((h + 1) * columns)), counts, first);
            }
            for l in 0..columns {
                add_list(&mut (l..n).step_by(columns), counts, first);
            }
            first += n;
            Square { rows: rows.saturating_sub(1), columns, shift }
        })
        .collect();
    let sums = sum_lists(pool, &buckets, &entries, &lists);

    let mut entries: Vec<u32> = Vec::new();
    let mut lengths = Vec::new();
    let mut squares = squares.iter().zip(&parts).peekable();
    let mut first = 0;
    for (task, (_, window)) in group.iter().enumerate() {
        let mut own = Vec::new();
        while let Some((square, _)) = squares.next_if(|(_, (t, _))| *t == task) {
            own.push((first, square));
            first += square.rows + square.columns;
        }
        for bit in 0..window.width {
            let before = entries.len();
            for (first, Square { rows, columns, shift }) in &own {
                let row_bit = bit.checked_sub(*shift);
                entries.extend((0..*rows).filter(|h| row_bit.is_some_and(|b| (h + 1) >> b & 1 == 1)).map(|h| (first + h) as u32));
                entries.extend((0..*columns).filter(|l| (l + 1) >> bit & 1 == 1).map(|l| (first + rows + l) as u32));
            }
            lengths.push((entries.len() - before) as u32);
        }
    }
    sum_lists(pool, &sums, &entries, &lengths)
}

/// Parts of a row that are sorted side by side.
const STREAMS: usize = 4;

/// Entries by bucket, and the length of each bucket; bucket `d - 1` holds the digits `±d`. Only as many buckets as the
/// largest digit.
fn sort<D: Digits>(digits: &D, row: usize, range: Range<usize>, window: Window) -> (Vec<u32>, Vec<u32>) {
    let first = range.start as u32;
    let digits = digits.digits(row, range, window);
    // Neighbouring cells are often equal, and counting one has to wait until the count before it is stored. So the row is cut into streams with counts of
    // their own, and every step takes a digit of each.
    let part = digits.len() / STREAMS;
    let streams: [&[i32]; STREAMS] = std::array::from_fn(|q| &digits[q * part..(q + 1) * part]);
    let rest = &digits[STREAMS * part..];
    let mut counts = vec![[0u32; STREAMS]; (1 << (window.width - 1)) + 1];
    for i in 0..part {
        for (q, stream) in streams.iter().enumerate() {
            counts[stream[i].unsigned_abs() as usize][q] += 1;
        }
    }
    for d in rest {
        counts[d.unsigned_abs() as usize][0] += 1;
    }
    let mut lengths: Vec<u32> = counts[1..].iter().map(|c| c.iter().sum()).collect();
    // Zeros go to the end, without a branch that would be mispredicted, and are cut off.
    let mut total = 0;
    let (zeros, others) = counts.split_at_mut(1);
    for slot in others.iter_mut().chain(zeros).flatten() {
        total += std::mem::replace(slot, total);
    }
    let mut next = counts;
    let mut entries = vec![0; digits.len()];
    let mut place = |q: usize, i: usize, d: i32| {
        let slot = &mut next[d.unsigned_abs() as usize][q];
        entries[*slot as usize] = (first + i as u32) | (d as u32 & NEGATE);
        *slot += 1;
    };
    for i in 0..part {
        for (q, stream) in streams.iter().enumerate() {
            place(q, q * part + i, stream[i]);
        }
    }
    for (i, d) in (STREAMS * part..).zip(rest) {
        place(0, i, *d);
    }
    entries.truncate(lengths.iter().sum::<u32>() as usize);
    let used = lengths.iter().rposition(|l| *l > 0).map_or(0, |last| last + 1);
    lengths.truncate(used);
    (entries, lengths)
}
