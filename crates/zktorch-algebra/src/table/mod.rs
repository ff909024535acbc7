//! Passes over tables of scalars: what a sumcheck's prover does in a round, and the layers of a tree of fractions.
//!
//! All run on the calling thread; callers cut tables into chunks that stay in a cache. Results are reduced scalars, the same whatever
//! instructions the processor has. Per entry, on a processor with AVX-512 IFMA: a multiplication costs about 3 ns.

#[cfg(target_arch = "x86_64")]
mod ifma;

use ark_ff::{AdditiveGroup, Field};

use crate::small::WideAccumulator;
use crate::{Fr, limbs};

/// What fills vectors, and what is left: whole blocks of `N` entries, and the number of entries in them.
#[cfg(target_arch = "x86_64")]
fn whole<const N: usize>(n: usize) -> usize {
    n / N * N
}

/// `n` zeros. A long table comes from the system as pages that do not exist before somebody writes to them, so that the threads that fill
/// it share the work.
pub fn zeros(n: usize) -> Vec<Fr> {
    const _: () = assert!(size_of::<Fr>() == 32 && align_of::<Fr>() == align_of::<u64>());
    // A vector of integers is asked for zeroed memory, one of scalars would be written.
    let mut words = std::mem::ManuallyDrop::new(vec![0u64; 4 * n]);
    if words.capacity() != 4 * n {
        drop(std::mem::ManuallyDrop::into_inner(words));
        return vec![Fr::ZERO; n];
    }
    // SAFETY: a scalar is exactly four words of the same alignment, zero words are the scalar zero, and length and capacity are `4n` words.
    #[expect(unsafe_code, reason = "the same memory as another type of the same layout")]
    unsafe {
        Vec::from_raw_parts(words.as_mut_ptr().cast(), n, n)
    }
}

/// `out[i] += factor·x[i]` over the shorter length.
pub fn add_scaled(out: &mut [Fr], x: &[Fr], factor: &Fr) {
    let n = out.len().min(x.len());
    let (mut out, mut x) = (&mut out[..n], &x[..n]);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        ifma::add_scaled(ifma, out.as_chunks_mut().0, x.as_chunks().0, factor);
        (out, x) = (&mut out[whole::<8>(n)..], &x[whole::<8>(n)..]);
    }
    for (out, x) in out.iter_mut().zip(x) {
        *out = limbs::add(out, &(*factor * x));
    }
}

/// A multiple of a vector, to be added to part of a table.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// First entry of the table.
    pub first: usize,
    /// The vector.
    pub values: &'a [Fr],
    /// The factor.
    pub factor: Fr,
}

/// `out[first + i] += factor·values[i]` for every run. Where runs overlap, their products are reduced together.
///
/// # Panics
/// If a run reaches beyond the table.
pub fn add_runs(out: &mut [Fr], runs: &[Run<'_>]) {
    let mut add = |run: &Run<'_>, from: usize, to: usize| {
        add_scaled(&mut out[run.first + from..run.first + to], &run.values[from..to], &run.factor);
    };
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        let mut whole_runs = Vec::with_capacity(runs.len());
        for run in runs {
            // What fills vectors of the table, and the ends.
            let head = (run.first.next_multiple_of(8) - run.first).min(run.values.len());
            let end = head + whole::<8>(run.values.len() - head);
            add(run, 0, head);
            add(run, end, run.values.len());
            if end > head {
                whole_runs.push(ifma::WholeRun::new(ifma, (run.first + head) / 8, run.values[head..end].as_chunks().0, &run.factor));
            }
        }
        ifma::add_whole_runs(ifma, out.as_chunks_mut().0, whole_runs);
        return;
    }
    runs.iter().for_each(|run| add(run, 0, run.values.len()));
}

/// Binds a variable: `low[i] += r·(high[i] - low[i])`.
///
/// # Panics
/// If the halves differ in length.
pub fn bind(low: &mut [Fr], high: &[Fr], r: &Fr) {
    assert_eq!(low.len(), high.len(), "two halves of a table");
    let (mut low, mut high) = (low, high);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        let n = whole::<8>(low.len());
        ifma::bind(ifma, low.as_chunks_mut().0, high.as_chunks().0, r);
        (low, high) = (&mut low[n..], &high[n..]);
    }
    for (l, h) in low.iter_mut().zip(high) {
        *l = limbs::add(l, &(*r * limbs::sub(h, l)));
    }
}

/// Binds the last variable of a table of pairs: of each four entries `x, y, x', y'` it leaves `x + r·(x' - x)` and
/// `y + r·(y' - y)`. Entries past the last four are dropped.
pub fn bind_pairs(values: &mut Vec<Fr>, r: &Fr) {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        ifma::bind_pairs(ifma, values.as_chunks_mut().0, r);
        done = whole::<16>(values.len()) / 2;
    }
    let half = values.len() / 4 * 2;
    for i in (done..half).step_by(2) {
        for j in [0, 1] {
            let (low, high) = (values[2 * i + j], values[2 * i + 2 + j]);
            values[i + j] = limbs::add(&low, &(*r * limbs::sub(&high, &low)));
        }
    }
    values.truncate(half);
}

/// Splits a variable off an equality table: `high[i] = low[i]·x`, `low[i] -= high[i]`.
pub(crate) fn split(low: &mut [Fr], high: &mut [Fr], x: &Fr) {
    let (mut low, mut high) = (low, high);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        let n = whole::<8>(low.len().min(high.len()));
        ifma::split(ifma, low.as_chunks_mut().0, high.as_chunks_mut().0, x);
        (low, high) = (&mut low[n..], &mut high[n..]);
    }
    for (l, h) in low.iter_mut().zip(high) {
        *h = *l * x;
        *l = limbs::sub(l, h);
    }
}

/// `Σ a[i]·b[i]` over the shorter length.
pub(crate) fn dot(a: &[Fr], b: &[Fr]) -> Fr {
    let n = a.len().min(b.len());
    let (mut a, mut b) = (&a[..n], &b[..n]);
    let mut vectors = Fr::ZERO;
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        vectors = ifma::dot(ifma, a.as_chunks().0, b.as_chunks().0);
        (a, b) = (&a[whole::<8>(n)..], &b[whole::<8>(n)..]);
        if a.is_empty() {
            return vectors;
        }
    }
    let mut sum = WideAccumulator::new();
    for (a, b) in a.iter().zip(b) {
        sum.add(a, b);
    }
    vectors += sum.value();
    vectors
}

/// `Σ a_0·b_0` and `Σ (a_1 - a_0)·(b_1 - b_0)`: the constant and the leading coefficient of a round of a product of two tables whose
/// halves are `a_0, a_1` and `b_0, b_1`.
///
/// # Panics
/// If the halves differ in length.
pub fn product_ends(a: [&[Fr]; 2], b: [&[Fr]; 2]) -> [Fr; 2] {
    let n = a[0].len();
    assert!([a[1], b[0], b[1]].iter().all(|x| x.len() == n), "halves of two tables");
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let (mut done, mut ends) = (0, [Fr::ZERO; 2]);
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        ends = ifma::product_ends(ifma, a.map(|x| x.as_chunks().0), b.map(|x| x.as_chunks().0));
        done = whole::<8>(n);
        if done == n {
            return ends;
        }
    }
    let (mut zero, mut infinity) = (WideAccumulator::new(), WideAccumulator::new());
    for i in done..n {
        zero.add(&a[0][i], &b[0][i]);
        infinity.add(&limbs::sub(&a[1][i], &a[0][i]), &limbs::sub(&b[1][i], &b[0][i]));
    }
    [ends[0] + zero.value(), ends[1] + infinity.value()]
}

/// Sums over `i` of `Π_f (low_f[i] + k·(high_f[i] - low_f[i]))` for `k` below `points`: a round of a product of tables with these halves,
/// or, with one point, the sum of the products of whole tables.
///
/// # Panics
/// If the halves differ in length or number.
pub fn product_values(low: &[&[Fr]], high: &[&[Fr]], points: usize) -> Vec<Fr> {
    let n = low.first().map_or(0, |x| x.len());
    assert!(low.len() == high.len() && low.iter().chain(high).all(|x| x.len() == n), "halves of tables");
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let (mut done, mut sums) = (0, vec![Fr::ZERO; points]);
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && (2..=ifma::MAX_FACTORS).contains(&low.len())
        && points <= ifma::MAX_FACTORS + 1
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        let factor = Fr::from(16u64).pow([low.len() as u64 - 2]);
        let (low, high): (Vec<_>, Vec<_>) = low.iter().zip(high).map(|(l, h)| (l.as_chunks().0, h.as_chunks().0)).unzip();
        sums = ifma::product_values(ifma, &low, &high, points);
        sums.iter_mut().for_each(|s| *s *= factor);
        done = whole::<8>(n);
    }
    let mut x = vec![Fr::ZERO; low.len()];
    for i in done..n {
        for (x, low) in x.iter_mut().zip(low) {
            *x = low[i];
        }
        for (k, sum) in sums.iter_mut().enumerate() {
            if k > 0 {
                for ((x, low), high) in x.iter_mut().zip(low).zip(high) {
                    *x = limbs::add(x, &limbs::sub(&high[i], &low[i]));
                }
            }
            *sum = limbs::add(sum, &x.iter().product());
        }
    }
    sums
}

/// `Σ_y eq[y]·h_y(0)` and `Σ_y eq[y]·[X^2] h_y(X)` for `h_y(X) = a_0 a_1 + b_0 b_1`, in which `a_j` is the line from `a[4y + j]` to
/// `a[4y + 2 + j]` and `b_j` likewise. Without `b`, for `h_y = a_0 a_1`. Over the shortest length.
pub fn layer_ends(a: &[Fr], b: Option<&[Fr]>, eq: &[Fr]) -> [Fr; 2] {
    let n = (a.len() / 4).min(eq.len()).min(b.map_or(usize::MAX, |b| b.len() / 4));
    let (mut a, mut b, mut eq) = (&a.as_chunks::<4>().0[..n], b.map(|b| &b.as_chunks::<4>().0[..n]), &eq[..n]);
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut ends = [Fr::ZERO; 2];
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        let done = whole::<8>(n);
        ends = match b {
            Some(b) => ifma::layer_ends(ifma, a.as_chunks().0, b.as_chunks().0, eq.as_chunks().0),
            None => ifma::layer_ends_single(ifma, a.as_chunks().0, eq.as_chunks().0),
        };
        (a, b, eq) = (&a[done..], b.map(|b| &b[done..]), &eq[done..]);
        if eq.is_empty() {
            return ends;
        }
    }
    let (mut zero, mut infinity) = (WideAccumulator::new(), WideAccumulator::new());
    let slopes = |x: &[Fr; 4]| limbs::sub(&x[2], &x[0]) * limbs::sub(&x[3], &x[1]);
    for (y, (a, e)) in a.iter().zip(eq).enumerate() {
        let (mut low, mut slope) = (a[0] * a[1], slopes(a));
        if let Some(b) = b.and_then(|b| b.get(y)) {
            low = limbs::add(&low, &(b[0] * b[1]));
            slope = limbs::add(&slope, &slopes(b));
        }
        zero.add(e, &low);
        infinity.add(e, &slope);
    }
    [ends[0] + zero.value(), ends[1] + infinity.value()]
}

/// A layer of fractions above another: numerators and denominators of `p_0/q_0 + p_1/q_1` for each pair. A missing sibling is 0/1.
///
/// # Panics
/// If there are not as many numerators as denominators.
pub fn fraction_sums(p: &[Fr], q: &[Fr]) -> (Vec<Fr>, Vec<Fr>) {
    assert_eq!(p.len(), q.len(), "fractions");
    let n = p.len() / 2;
    let (mut p_out, mut q_out) = (vec![Fr::ZERO; p.len().div_ceil(2)], vec![Fr::ZERO; p.len().div_ceil(2)]);
    let ((p, p_rest), (q, q_rest)) = (p.as_chunks::<2>(), q.as_chunks::<2>());
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        ifma::fraction_sums(ifma, p.as_chunks().0, q.as_chunks().0, p_out.as_chunks_mut().0, q_out.as_chunks_mut().0);
        done = whole::<8>(n);
    }
    for i in done..n {
        let (p, q) = (&p[i], &q[i]);
        p_out[i] = limbs::add(&(p[0] * q[1]), &(p[1] * q[0]));
        q_out[i] = q[0] * q[1];
    }
    if let (Some(p_last), Some(q_last)) = (p_rest.first(), q_rest.first()) {
        (p_out[n], q_out[n]) = (*p_last, *q_last);
    }
    (p_out, q_out)
}

/// [`fraction_sums`] of `1/q`. A last entry without a sibling is dropped.
pub fn unit_fraction_sums(q: &[Fr]) -> (Vec<Fr>, Vec<Fr>) {
    let q = q.as_chunks::<2>().0;
    let (mut p_out, mut q_out) = (vec![Fr::ZERO; q.len()], vec![Fr::ZERO; q.len()]);
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        ifma::unit_fraction_sums(ifma, q.as_chunks().0, p_out.as_chunks_mut().0, q_out.as_chunks_mut().0);
        done = whole::<8>(q.len());
    }
    for i in done..q.len() {
        p_out[i] = limbs::add(&q[i][0], &q[i][1]);
        q_out[i] = q[i][0] * q[i][1];
    }
    (p_out, q_out)
}

/// The factors of the layer above fractions: for each pair `p_0 + λ q_0, q_1` go to `a` and `p_1, q_0` to `b`. A missing sibling is
/// 0/1.
///
/// # Panics
/// If there are not as many numerators as denominators.
pub fn fraction_nodes(p: &[Fr], q: &[Fr], lambda: &Fr, a: &mut Vec<Fr>, b: &mut Vec<Fr>) {
    assert_eq!(p.len(), q.len(), "fractions");
    let ((p, p_rest), (q, q_rest)) = (p.as_chunks::<2>(), q.as_chunks::<2>());
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        done = whole::<8>(p.len());
        let (from_a, from_b) = (a.len(), b.len());
        a.resize(from_a + 2 * done, Fr::ZERO);
        b.resize(from_b + 2 * done, Fr::ZERO);
        let (a, b) = (a[from_a..].as_chunks_mut::<2>().0, b[from_b..].as_chunks_mut::<2>().0);
        ifma::fraction_nodes(ifma, p.as_chunks().0, q.as_chunks().0, lambda, a.as_chunks_mut().0, b.as_chunks_mut().0);
    }
    let last = p_rest.first().zip(q_rest.first()).map(|(p, q)| ([*p, Fr::ZERO], [*q, Fr::ONE]));
    let pairs = p[done..].iter().copied().zip(q[done..].iter().copied()).chain(last);
    for (p, q) in pairs {
        a.extend([limbs::add(&p[0], &(*lambda * q[0])), q[1]]);
        b.extend([p[1], q[0]]);
    }
}

/// [`fraction_nodes`] in place: of each pair, `p_0, p_1` become `p_0 + λ q_0, q_1`, and `q_0, q_1` become `p_1, q_0`. A last fraction without a
/// sibling stays.
///
/// # Panics
/// If there are not as many numerators as denominators.
pub fn fractions_to_nodes(p: &mut [Fr], q: &mut [Fr], lambda: &Fr) {
    assert_eq!(p.len(), q.len(), "fractions");
    let (mut p, mut q) = (p.as_chunks_mut::<2>().0, q.as_chunks_mut::<2>().0);
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        let done = whole::<8>(p.len());
        ifma::fractions_to_nodes(ifma, p.as_chunks_mut().0, q.as_chunks_mut().0, lambda);
        (p, q) = (&mut p[done..], &mut q[done..]);
    }
    for (p, q) in p.iter_mut().zip(q) {
        (*p, *q) = ([limbs::add(&p[0], &(*lambda * q[0])), q[1]], [p[1], q[0]]);
    }
}

#[cfg(test)]
pub(crate) mod tests;
