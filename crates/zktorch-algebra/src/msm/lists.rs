//! Sums of many lists of points, by affine additions that share their inversions.
//!
//! An affine addition needs one inversion and three multiplications. Montgomery's trick replaces the inversions of a
//! batch by one inversion and three multiplications each, so an addition costs six multiplications, where a mixed
//! Jacobian addition costs eleven. Lists are summed as trees: round after round, neighbours are added in pairs.

use std::{borrow::Cow, sync::Mutex};

use crate::{G1Affine, par};

/// Marks, in an entry, that the point is to be subtracted.
pub(super) const NEGATE: u32 = 1 << 31;

/// Least number of points that a task sums.
const SHORT_BLOCK: usize = 2048;
/// Points summed by one task; their tree stays in the second-level cache.
const BLOCK: usize = 8192;
/// Longest list that is summed at once. Of a longer one the sums of such pieces form a new list: that way the last rounds,
/// of few additions, are made for more lists together, and their inversions are shared by more.
const PIECE: u32 = 16;

/// `out = ±source[a] ± source[b]`; `a` and `b` carry [`NEGATE`] as their sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) out: u32,
}

/// A way to add points pair by pair.
pub(super) trait Adder: Copy + Send + Sync {
    /// A point in affine coordinates.
    type Point: Copy + Send + Sync;
    /// Memory of one worker.
    type Scratch: Send;

    /// Memory for one worker.
    fn scratch(self) -> Self::Scratch;
    /// The neutral element.
    fn identity(self) -> Self::Point;
    /// Points in the adder's own form.
    fn import(self, points: &[G1Affine]) -> Cow<'_, [Self::Point]>;
    /// A point in the common form.
    fn export(self, point: &Self::Point) -> G1Affine;
    /// The point of an entry, with its sign.
    fn load(self, source: &[Self::Point], entry: u32) -> Self::Point;
    /// Performs the additions. Any mixture of equal, opposite and identity points is allowed.
    fn add(self, scratch: &mut Self::Scratch, source: &[Self::Point], pairs: &[Pair], out: &mut [Self::Point]);
}

/// Memory of one worker.
struct Scratch<A: Adder> {
    adder: A::Scratch,
    pairs: Vec<Pair>,
    lengths: Vec<u32>,
    front: Vec<A::Point>,
    back: Vec<A::Point>,
}

/// An adder and the memory that its workers have used, for the next ones.
pub(super) struct Pool<A: Adder> {
    pub(super) adder: A,
    free: Mutex<Vec<Scratch<A>>>,
}

impl<A: Adder> Pool<A> {
    pub(super) fn new(adder: A) -> Self {
        Self { adder, free: Mutex::default() }
    }

    /// Memory for blocks of at most `block` points.
    fn lease(&self, block: usize) -> Lease<'_, A> {
        let free = self.free.lock().ok().and_then(|mut free| free.pop());
        let mut scratch = free.unwrap_or_else(|| Scratch {
            adder: self.adder.scratch(),
            pairs: Vec::new(),
            lengths: Vec::new(),
            front: Vec::new(),
            back: Vec::new(),
        });
        for points in [&mut scratch.front, &mut scratch.back] {
            if points.len() < block {
                points.resize(block, self.adder.identity());
            }
        }
        Lease { pool: self, scratch: Some(scratch) }
    }
}

/// Memory that goes back to its pool.
struct Lease<'a, A: Adder> {
    pool: &'a Pool<A>,
    scratch: Option<Scratch<A>>,
}

impl<A: Adder> Drop for Lease<'_, A> {
    fn drop(&mut self) {
        if let (Some(scratch), Ok(mut free)) = (self.scratch.take(), self.pool.free.lock()) {
            free.push(scratch);
        }
    }
}

/// One block: `out[s] = Σ` of the entries of list `s`.
fn sum_block<A: Adder>(adder: A, scratch: &mut Scratch<A>, source: &[A::Point], entries: &[u32], lengths: &[u32], out: &mut [A::Point]) {
    let Scratch { adder: memory, pairs, lengths: left, front, back } = scratch;
    left.clear();
    left.extend_from_slice(lengths);
    let mut longest = 0;
    // First round: from the source, through the entries.
    pairs.clear();
    let (mut read, mut write) = (0, 0);
    for length in left.iter_mut() {
        let (list, n) = (&entries[read..read + *length as usize], *length as usize);
        for ab in list.chunks_exact(2) {
            pairs.push(Pair { a: ab[0], b: ab[1], out: write });
            write += 1;
        }
        if n % 2 == 1 {
            front[write as usize] = adder.load(source, list[n - 1]);
            write += 1;
        }
        read += n;
        *length = length.div_ceil(2);
        longest = longest.max(*length);
    }
    adder.add(memory, source, pairs, front);
    // Later rounds: from one buffer to the other.
    while longest > 1 {
        pairs.clear();
        longest = 0;
        let (mut read, mut write) = (0, 0);
        for length in left.iter_mut() {
            let n = *length;
            for i in 0..n / 2 {
                pairs.push(Pair { a: read + 2 * i, b: read + 2 * i + 1, out: write });
                write += 1;
            }
            if n % 2 == 1 {
                back[write as usize] = front[(read + n - 1) as usize];
                write += 1;
            }
            read += n;
            *length = n.div_ceil(2);
            longest = longest.max(*length);
        }
        adder.add(memory, front, pairs, back);
        std::mem::swap(front, back);
    }
    let mut sums = front.iter();
    for (out, length) in out.iter_mut().zip(left.iter()) {
        *out = match length {
            0 => adder.identity(),
            _ => *sums.next().expect("every non-empty list leaves one point"),
        };
    }
}

/// Sums lists of points: list `s` has `lengths[s]` entries, the lists lie one after the other in `entries`, an entry is
/// an index into `source` with [`NEGATE`] as its sign.
pub(super) fn sum_lists<A: Adder>(pool: &Pool<A>, source: &[A::Point], entries: &[u32], lengths: &[u32]) -> Vec<A::Point> {
    if lengths.iter().any(|l| *l > PIECE) {
        let counts: Vec<u32> = lengths.iter().map(|l| l.div_ceil(PIECE)).collect();
        let mut pieces = Vec::with_capacity(entries.len() / PIECE as usize + lengths.len());
        for l in lengths {
            pieces.extend(std::iter::repeat_n(PIECE, (l / PIECE) as usize));
            if l % PIECE != 0 {
                pieces.push(l % PIECE);
            }
        }
        let partial = sum_short_lists(pool, source, entries, &pieces);
        let all: Vec<u32> = (0..partial.len() as u32).collect();
        return sum_lists(pool, &partial, &all, &counts);
    }
    sum_short_lists(pool, source, entries, lengths)
}

fn sum_short_lists<A: Adder>(pool: &Pool<A>, source: &[A::Point], entries: &[u32], lengths: &[u32]) -> Vec<A::Point> {
    let adder = pool.adder;
    let mut out = vec![adder.identity(); lengths.len()];
    // Several tasks per worker, so that they end together, but not so short that inversions dominate.
    let block = (entries.len() / (4 * par::threads())).clamp(SHORT_BLOCK, BLOCK);
    let mut tasks = Vec::new();
    let (mut entries, mut lengths, mut rest) = (entries, lengths, out.as_mut_slice());
    while !lengths.is_empty() {
        let (mut lists, mut total) = (0, 0);
        while lists < lengths.len() {
            let next = total + lengths[lists] as usize;
            if lists > 0 && next > block {
                break;
            }
            (lists, total) = (lists + 1, next);
        }
        let (task_entries, task_lengths, task_out);
        (task_entries, entries) = entries.split_at(total);
        (task_lengths, lengths) = lengths.split_at(lists);
        (task_out, rest) = rest.split_at_mut(lists);
        tasks.push((task_entries, task_lengths, task_out));
    }
    let largest = tasks.iter().map(|(e, ..)| e.len()).max().unwrap_or(0);
    par::consume(
        tasks,
        || pool.lease(largest),
        |lease, (entries, lengths, out)| {
            if let Some(scratch) = &mut lease.scratch {
                sum_block(adder, scratch, source, entries, lengths, out);
            }
        },
    );
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{G1Projective, hash_to_g1};
    use ark_ec::{AffineRepr, CurveGroup};

    /// Sums lists in which every special case occurs, and compares with arkworks.
    pub(in crate::msm) fn check_special_cases<A: Adder>(adder: A) {
        let (p, q) = (hash_to_g1(b"p"), hash_to_g1(b"q"));
        let mut points = vec![p, q, p, -p, G1Affine::identity(), (p + q).into_affine(), -(p + q).into_affine()];
        for i in 0..20u8 {
            points.push(hash_to_g1(&[i]));
        }
        let source = adder.import(&points);
        for (point, own) in points.iter().zip(source.iter()) {
            assert_eq!(adder.export(own), *point);
        }
        let mut entries = Vec::new();
        let mut lengths = Vec::new();
        let mut state = 1u32;
        for l in [0, 1, 2, 3, 0, 4, 5, 17, 64, 1000, 2, 2, 2, 1, 0, 0, 9000, 5, 4096, 4097, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 15, 16] {
            lengths.push(l);
            for _ in 0..l {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let few = if l > 3 { source.len() as u32 } else { 7 };
                entries.push(((state >> 16) % few) | ((state & 0x8000) << 16));
            }
        }
        // Every pair of the first seven points, with every sign.
        for i in 0..7 * 7 * 4 {
            lengths.push(2);
            entries.extend([(i % 7) + ((i / 49 % 2) << 31), (i / 7 % 7) + ((i / 98) << 31)]);
        }
        let sums = sum_lists(&Pool::new(adder), &source, &entries, &lengths);
        let mut rest = entries.as_slice();
        for (sum, l) in sums.iter().zip(&lengths) {
            let (list, tail) = rest.split_at(*l as usize);
            rest = tail;
            let point = |e: &u32| match e & NEGATE {
                0 => points[*e as usize].into_group(),
                _ => -points[(e & !NEGATE) as usize].into_group(),
            };
            let expected: G1Projective = list.iter().map(point).sum();
            assert_eq!(adder.export(sum), expected.into_affine());
        }
        assert!(sum_lists(&Pool::new(adder), &source, &[], &[]).is_empty());
    }
}
