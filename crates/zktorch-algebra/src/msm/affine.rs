//! Sums of many short lists of points, by affine additions that share their inversions.
//!
//! An affine addition needs one inversion and three multiplications. Montgomery's trick replaces the inversions of a
//! batch by one inversion and three multiplications each, so an addition costs six multiplications, where a mixed
//! Jacobian addition costs eleven. Lists are summed as trees: round after round, neighbours are added in pairs.

use ark_bn254::Fq;
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field, Zero};

use crate::{G1Affine, limbs, par};

/// Marks, in an entry, that the point is to be subtracted.
pub(super) const NEGATE: u32 = 1 << 31;

/// Additions per shared inversion.
const BATCH: usize = 2048;
/// Points summed by one task; their tree stays in the second-level cache.
const BLOCK: usize = 8192;

/// `out = ±source[a] ± source[b]`.
#[derive(Clone, Copy)]
struct Pair {
    a: u32,
    b: u32,
    out: u32,
}

#[inline]
fn load(source: &[G1Affine], entry: u32) -> G1Affine {
    let p = source[(entry & !NEGATE) as usize];
    if entry & NEGATE != 0 { -p } else { p }
}

/// An addition that is not the chord through two points of different abscissae.
enum Special {
    /// Equal points: the slope is `3x² / 2y`; this is the numerator.
    Tangent(Fq),
    /// No slope at all; the sum is written already.
    Done,
}

/// Denominator of the slope and kind of an addition whose abscissae are equal or zero; `None` if it is ordinary after all.
#[cold]
fn special(p: &G1Affine, q: &G1Affine, out: &mut G1Affine) -> Option<(Fq, Special)> {
    *out = if p.is_zero() {
        *q
    } else if q.is_zero() {
        *p
    } else if p.x != q.x {
        return None;
    } else if p.y == q.y {
        // The group has odd order, so y is not zero.
        let xx = p.x.square();
        return Some((p.y.double(), Special::Tangent(xx.double() + xx)));
    } else {
        G1Affine::identity()
    };
    Some((Fq::ONE, Special::Done))
}

/// Scratch memory of one worker.
pub(super) struct Scratch {
    /// For each addition of a batch: denominator, product of the denominators before it.
    chain: Vec<(Fq, Fq)>,
    pairs: Vec<Pair>,
    lengths: Vec<u32>,
    front: Vec<G1Affine>,
    back: Vec<G1Affine>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let points = || vec![G1Affine::identity(); BLOCK];
        Self { chain: Vec::with_capacity(BATCH), pairs: Vec::new(), lengths: Vec::new(), front: points(), back: points() }
    }
}

/// Performs the additions; any mixture of equal, opposite and identity points is allowed.
fn add_pairs(source: &[G1Affine], pairs: &[Pair], out: &mut [G1Affine], chain: &mut Vec<(Fq, Fq)>) {
    let point = |entry: u32| &source[(entry & !NEGATE) as usize];
    let mut specials = Vec::new();
    for batch in pairs.chunks(BATCH) {
        chain.clear();
        let mut product = Fq::ONE;
        for (i, pair) in batch.iter().enumerate() {
            let (x1, x2) = (&point(pair.a).x, &point(pair.b).x);
            let mut denominator = limbs::sub(x2, x1);
            if denominator.is_zero() | x1.is_zero() | x2.is_zero() {
                let sum = &mut out[pair.out as usize];
                if let Some((d, kind)) = special(&load(source, pair.a), &load(source, pair.b), sum) {
                    denominator = d;
                    specials.push((i, kind));
                }
            }
            chain.push((denominator, product));
            product *= denominator;
        }
        let mut inverse = product.inverse().expect("a product of non-zero elements of a field is not zero");
        for (i, (pair, (denominator, before))) in batch.iter().zip(chain.iter()).enumerate().rev() {
            let (p, q) = (point(pair.a), point(pair.b));
            let y = limbs::negate_if(&p.y, pair.a & NEGATE != 0);
            let reciprocal = inverse * before;
            inverse *= denominator;
            let mut numerator = limbs::sub(&limbs::negate_if(&q.y, pair.b & NEGATE != 0), &y);
            if let Some((_, kind)) = specials.pop_if(|(at, _)| *at == i) {
                match kind {
                    Special::Tangent(n) => numerator = n,
                    Special::Done => continue,
                }
            }
            let slope = numerator * reciprocal;
            let x3 = limbs::sub(&slope.square(), &limbs::add(&p.x, &q.x));
            let y3 = limbs::sub(&(slope * limbs::sub(&p.x, &x3)), &y);
            out[pair.out as usize] = G1Affine::new_unchecked(x3, y3);
        }
    }
}

/// One block: `out[s] = Σ` of the entries of list `s`. At most [`BLOCK`] entries.
fn sum_block(scratch: &mut Scratch, source: &[G1Affine], entries: &[u32], lengths: &[u32], out: &mut [G1Affine]) {
    let Scratch { chain, pairs, lengths: left, front, back } = scratch;
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
            front[write as usize] = load(source, list[n - 1]);
            write += 1;
        }
        read += n;
        *length = length.div_ceil(2);
        longest = longest.max(*length);
    }
    add_pairs(source, pairs, front, chain);
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
        add_pairs(front, pairs, back, chain);
        std::mem::swap(front, back);
    }
    let mut sums = front.iter();
    for (out, length) in out.iter_mut().zip(left.iter()) {
        *out = match length {
            0 => G1Affine::identity(),
            _ => *sums.next().expect("every non-empty list leaves one point"),
        };
    }
}

/// Sums lists of points: list `s` has `lengths[s]` entries, the lists lie one after the other in `entries`, an entry is
/// an index into `source` with [`NEGATE`] as its sign.
pub(super) fn sum_lists(source: &[G1Affine], entries: &[u32], lengths: &[u32]) -> Vec<G1Affine> {
    if lengths.iter().any(|l| *l as usize > BLOCK / 2) {
        return sum_long_lists(source, entries, lengths);
    }
    let mut out = vec![G1Affine::identity(); lengths.len()];
    // Several tasks per worker, so that they end together, but not so short that inversions dominate.
    let block = (entries.len() / (4 * par::threads())).clamp(BATCH.min(BLOCK / 2), BLOCK);
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
    par::consume(tasks, Scratch::new, |scratch, (entries, lengths, out)| {
        sum_block(scratch, source, entries, lengths, out);
    });
    out
}

/// Cuts lists that would not fit a block into pieces, sums the pieces, then the sums.
#[cold]
fn sum_long_lists(source: &[G1Affine], entries: &[u32], lengths: &[u32]) -> Vec<G1Affine> {
    let piece = (BLOCK / 2) as u32;
    let counts: Vec<u32> = lengths.iter().map(|l| l.div_ceil(piece)).collect();
    let pieces: Vec<u32> = lengths.iter().flat_map(|l| (0..l.div_ceil(piece)).map(move |i| (l - i * piece).min(piece))).collect();
    let partial = sum_lists(source, entries, &pieces);
    let all: Vec<u32> = (0..partial.len() as u32).collect();
    sum_lists(&partial, &all, &counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G1Projective, hash_to_g1};
    use ark_ec::CurveGroup;

    #[test]
    fn lists_with_every_special_case_sum_exactly() {
        let (p, q) = (hash_to_g1(b"p"), hash_to_g1(b"q"));
        let mut source = vec![p, q, p, -p, G1Affine::identity(), (p + q).into_affine(), -(p + q).into_affine()];
        for i in 0..20u8 {
            source.push(hash_to_g1(&[i]));
        }
        let mut entries = Vec::new();
        let mut lengths = Vec::new();
        let mut state = 1u32;
        for l in [0, 1, 2, 3, 0, 4, 5, 17, 64, 1000, 2, 2, 2, 1, 0, 0, 9000, 5, 4096, 4097] {
            lengths.push(l);
            for _ in 0..l {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let few = if l > 3 { source.len() as u32 } else { 7 };
                entries.push(((state >> 16) % few) | ((state & 0x8000) << 16));
            }
        }
        let sums = sum_lists(&source, &entries, &lengths);
        let mut rest = entries.as_slice();
        for (sum, l) in sums.iter().zip(&lengths) {
            let (list, tail) = rest.split_at(*l as usize);
            rest = tail;
            let expected: G1Projective = list.iter().map(|e| load(&source, *e).into_group()).sum();
            assert_eq!(sum.into_group(), expected);
        }
    }
}
