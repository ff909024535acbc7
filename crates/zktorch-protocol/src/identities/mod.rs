//! Einsum identities: one batched sumcheck for all of them.
//!
//! # Relation
//! For every identity `ι` and all output indices `o` in its box, `Σ_t c_t · Σ_k Π_f V_{t,f}[o, k] = 0`. An identity that leaves virtual cells over
//! defines them: the lookups claim their extension at a point, or those of several parts, and the identity is checked there instead of at a point of its own.
//!
//! # Protocol
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | 1 | | draws one point, long enough for the output letters of any identity, and `γ` | [`identity_argument`] |
//! | 2 | hidden values of all one-factor terms at that point | | `Plan::singles` |
//! | 3 | sumcheck of `Σ_ι γ^ι Σ_t c_t Σ_s eq(r_s, s) Π_f V_{t,f}[s]` over the letters `s` that several factors share | | [`hidden_sumcheck`] |
//! | 4 | hidden values of every factor at the end | the end of the sumcheck, in the circuit | `Slots` |
//!
//! A letter that occurs in one factor only is bound to the point (an output letter) or summed (a contraction letter) before the sumcheck
//! starts. Factors that the verifier knows (constants, public tensors) it evaluates itself.
//!
//! # Cost and soundness
//! One small-integer multiplication per cell of every factor, then a sumcheck over shared letters only. Error
//! `(bits + I + d·rounds) / |F|` for `I` identities, `bits` output variables and degree `d ≤ 4` (Schwartz–Zippel; Thaler 2013 for products).
//! The identities hold over the integers because the program's audit excludes wrap-around.

mod plan;

use crate::circuit::{Lc, Product, ROW, Wire};
use crate::claims::{Claim, Resolved, VirtualClaim, weighted_sum};
use crate::error::VerifyError;
use crate::party::Party;
use crate::sumcheck::{Weights, hidden_sumcheck};
use crate::witness::Witness;
use ark_ff::Field;
use plan::{Multi, Plan, output_bits};
use zktorch_algebra::{Fr, mle::eq_eval};
use zktorch_program::Program;

/// Where the hidden factors of each term stand in the last message: those of one term in one row, for their product.
struct Slots {
    /// First value of each term.
    first: Vec<usize>,
    /// Number of values.
    len: usize,
}

impl Slots {
    /// Values of a term: its hidden factors; of three, also the product of the first two.
    fn size(multi: &Multi<'_>) -> usize {
        match multi.factors.iter().filter(|f| matches!(f.source, Resolved::Committed(..))).count() {
            3 => 4,
            n => n,
        }
    }

    /// Larger terms first: sizes are 0, 1, 2 and 4, so no term crosses a row.
    fn new(plan: &Plan<'_>) -> Slots {
        const { assert!(ROW.is_multiple_of(4)) };
        let mut order: Vec<usize> = (0..plan.multis.len()).collect();
        order.sort_by_key(|&t| std::cmp::Reverse(Slots::size(&plan.multis[t])));
        let mut slots = Slots { first: vec![0; order.len()], len: 0 };
        for t in order {
            slots.first[t] = slots.len;
            slots.len += Slots::size(&plan.multis[t]);
        }
        slots
    }
}

/// Last variables that share messages. There are up to four tables for every term: from `2^6` entries on each.
const LATE: usize = 6;

/// Proves that all identities of the program hold, and the claims on virtual regions, which together speak of all their cells; leaves claims on committed vectors. `witness` is present at the
/// prover only.
pub fn identity_argument<P: Party>(
    party: &mut P,
    program: &Program,
    publics: &[Vec<i64>],
    witness: Option<Witness<'_>>,
    virtuals: &[VirtualClaim],
    claims: &mut Vec<Claim>,
) -> Result<(), VerifyError> {
    if program.identities.is_empty() {
        return Ok(());
    }
    let bits = program.identities.iter().map(output_bits).max().unwrap_or(0);
    let point = party.challenges(b"identity point", bits);
    let gamma = party.challenge(b"identity batch");
    let plan = Plan::new(program, publics, &point, gamma, virtuals);

    // One-factor terms.
    let wires = party.hidden("identity evaluations", plan.singles.len(), || prover::singles(&plan, witness))?;
    let mut rest = Lc::constant(plan.constant);
    plan.claimed.iter().for_each(|&(weight, wire)| rest.add_wire(weight, wire));
    for (single, &wire) in plan.singles.iter().zip(&wires) {
        rest.add_wire(single.weight, wire);
        if let Resolved::Committed(vector, offset) = single.factor.source {
            claims.push(Claim { vector, offset, axes: single.factor.weighted(|_| Vec::new()), value: Lc::wire(wire) });
        }
    }
    if plan.multis.is_empty() {
        party.circuit().zero(rest);
        return Ok(());
    }

    // Terms with several factors: their sum must be −rest.
    let rounds = plan.multis.iter().map(Multi::vars).max().unwrap_or(0);
    let degree = plan.multis.iter().map(|m| m.factors.len() + usize::from(m.has_eq())).max().unwrap_or(2);
    let mut state = prover::state(&plan, witness, rounds, degree);
    let (point, end) =
        hidden_sumcheck(party, "identity sumcheck", rest.scaled(-Fr::ONE), Weights::Sum, rounds, degree, LATE, state.as_mut())?;

    // The factors at the end of the sumcheck.
    let slots = Slots::new(&plan);
    let wires = party.hidden("identity factors", slots.len, || prover::finals(&plan, &slots, state.as_ref()))?;
    let mut products = Vec::new();
    let mut total = Lc::zero();
    let half = Fr::from(2u64).inverse().unwrap_or_default();
    for (multi, &slot) in plan.multis.iter().zip(&slots.first) {
        let own = &point[rounds - multi.vars()..];
        let mut scale = multi.weight * half.pow([(rounds - multi.vars()) as u64]);
        let mut tail = own;
        let mut letters: Vec<(u8, &[Fr])> = Vec::new();
        for ((letter, bits), eq) in multi.shared.iter().zip(&multi.eq) {
            let (head, rest) = tail.split_at(*bits);
            tail = rest;
            letters.push((*letter, head));
            if let Some(eq) = eq {
                scale *= eq_eval(eq, head);
            }
        }
        let point_of = |l: u8| letters.iter().find(|(x, _)| *x == l).map_or_else(Vec::new, |(_, p)| p.to_vec());
        let mut own = wires[slot..].iter().copied();
        let mut next = move || own.next().unwrap_or(Wire(0));
        let mut hidden: Vec<Wire> = Vec::new();
        for factor in &multi.factors {
            let axes = factor.weighted(point_of);
            match factor.source {
                Resolved::Known(values) => scale *= weighted_sum(values, factor.offset, &axes),
                Resolved::Committed(vector, offset) => {
                    if let &[a, b] = &hidden[..] {
                        let product = next();
                        party.circuit().quadratic(Lc::wire(product).scaled(-Fr::ONE), vec![Product { coefficient: Fr::ONE, a, b }]);
                        hidden = vec![product];
                    }
                    let wire = next();
                    claims.push(Claim { vector, offset, axes, value: Lc::wire(wire) });
                    hidden.push(wire);
                }
            }
        }
        match hidden[..] {
            [] => total.constant += scale,
            [a] => total.add_wire(scale, a),
            [a, b, ..] => products.push(Product { coefficient: -scale, a, b }),
        }
    }
    let mut check = end;
    check.add_scaled(-Fr::ONE, &total);
    party.circuit().quadratic(check, products);
    Ok(())
}

#[cfg(feature = "prover")]
mod prover {
    use super::plan::Bound;
    use super::*;
    use crate::claims::{Vector, Weight, Window};
    use crate::integers::{HEAD_BITS, Integers};
    use crate::product::{Batch, Factors, Join, Term};
    use ark_ff::AdditiveGroup;
    use rayon::prelude::*;
    use std::sync::Arc;
    use zktorch_algebra::{
        mle::{eq_table, eq_table_scaled},
        small::{Cell, combine_rows},
    };
    use zktorch_program::{Axis, with_cells};

    pub(super) fn singles(plan: &Plan<'_>, witness: Option<Witness<'_>>) -> Vec<Fr> {
        let witness = witness.expect("the prover has a witness");
        plan.singles
            .par_iter()
            .map(|s| {
                let (offset, axes) = (s.factor.offset, s.factor.weighted(|_| Vec::new()));
                match s.factor.source {
                    Resolved::Committed(Vector::Matrix(m), _) => {
                        with_cells!(witness.parameters.matrices[m].view(), cells => sum_parallel(cells, offset, axes))
                    }
                    _ => sum_parallel(wide(&s.factor.source, witness), offset, axes),
                }
            })
            .collect()
    }

    /// Splits a large window over its first axis, so that one large tensor does not keep a single thread busy.
    fn sum_parallel<T: Cell>(cells: &[T], offset: usize, axes: Vec<(Axis, Weight)>) -> Fr {
        let size: usize = axes.iter().map(|(a, _)| a.size).product();
        let outer = axes.first().map_or(1, |(a, _)| a.size);
        if size < 1 << 15 || outer < 2 {
            return weighted_sum(cells, offset, &axes);
        }
        let (axis, weight) = (axes[0].0, axes[0].1.table(outer));
        let inner = Window::new(axes[1..].iter().map(|(a, w)| (*a, w.table(a.size))).collect());
        weight.par_iter().enumerate().map(|(i, w)| *w * inner.sum(cells, offset + i * axis.stride)).sum()
    }

    /// The cells of a source that is no matrix.
    fn wide<'a>(source: &Resolved<'a>, witness: Witness<'a>) -> &'a [i64] {
        match source {
            Resolved::Known(values) => values,
            Resolved::Committed(Vector::Heap, _) => witness.heap,
            Resolved::Committed(Vector::Params, _) => &witness.parameters.heap,
            Resolved::Committed(Vector::Matrix(_), _) => unreachable!("matrices are narrow"),
        }
    }

    /// A factor of a term as a table over the term's shared letters.
    fn table(factor: &Bound<'_>, shared: &[(u8, usize)], witness: Witness<'_>) -> Vec<Fr> {
        match factor.source {
            Resolved::Committed(Vector::Matrix(m), _) => {
                with_cells!(witness.parameters.matrices[m].view(), cells => bind(cells, factor, shared))
            }
            _ => bind(wide(&factor.source, witness), factor, shared),
        }
    }

    pub(super) fn state(plan: &Plan<'_>, witness: Option<Witness<'_>>, rounds: usize, degree: usize) -> Option<Batch<'static>> {
        let witness = witness?;
        let terms = plan.multis.par_iter().map(|m| {
            let factors = integers(m, witness).map_or_else(|| Factors::Tables(tables(m, witness)), Factors::Integers);
            Term { coeff: m.weight, factors }
        });
        Some(Batch::new(terms.collect(), rounds, degree, Join::Constant))
    }

    /// All factors as tables.
    fn tables(m: &Multi<'_>, witness: Witness<'_>) -> Vec<Vec<Fr>> {
        let mut tables: Vec<Vec<Fr>> = m.factors.iter().map(|f| table(f, &m.shared, witness)).collect();
        if m.has_eq() {
            tables.push(eq_over(&m.shared, &m.eq));
        }
        tables
    }

    /// Variables of a term that is worth more than tables.
    const LARGE: usize = 12;

    /// A large term with two factors that are cells, not sums of cells, where no other factor depends on the first variables.
    fn integers(m: &Multi<'_>, witness: Witness<'_>) -> Option<Integers> {
        const { assert!(LARGE >= LATE + HEAD_BITS) };
        if m.vars() < LARGE {
            return None;
        }
        let places: Vec<usize> = (0..m.factors.len()).filter(|&f| m.factors[f].axes.iter().all(|(_, _, w)| w.is_none())).take(2).collect();
        let places: [usize; 2] = places.try_into().ok()?;
        // The letters without the first variables, and `eq` in these.
        let (mut shared, mut eq) = (m.shared.clone(), m.eq.clone());
        let mut point = [None; HEAD_BITS];
        let mut left = HEAD_BITS;
        let mut letters = shared.iter_mut().zip(&mut eq);
        let mut first: Vec<u8> = Vec::new();
        while left > 0 {
            let ((letter, bits), eq) = letters.next()?;
            let taken = left.min(*bits);
            if let Some(eq) = eq {
                let at = HEAD_BITS - left;
                point[at..at + taken].iter_mut().zip(eq.drain(..taken)).for_each(|(p, e)| *p = Some(e));
            }
            first.extend((taken > 0).then_some(*letter));
            (*bits, left) = (*bits - taken, left - taken);
        }
        let others: Vec<&Bound<'_>> = m.factors.iter().enumerate().filter(|(f, _)| !places.contains(f)).map(|(_, f)| f).collect();
        if others.iter().any(|f| f.axes.iter().any(|(_, l, w)| w.is_none() && first.contains(l))) {
            return None;
        }
        let [a, b] = places.map(|f| &m.factors[f]);
        let cells = |f: &Bound<'_>| -> Option<Arc<[i32]>> {
            match f.source {
                Resolved::Committed(Vector::Matrix(i), _) => {
                    with_cells!(witness.parameters.matrices[i].view(), cells => gather(cells, f, &m.shared))
                }
                _ => gather(wide(&f.source, witness), f, &m.shared),
            }
        };
        let first = cells(a)?;
        let second = if a.same_cells(b) { first.clone() } else { cells(b)? };
        if !Integers::fits([&first, &second]) {
            return None;
        }
        let others = others.into_iter().map(|f| table(f, &shared, witness)).collect();
        let tail = eq.iter().any(|e| e.as_ref().is_some_and(|p| !p.is_empty()));
        let tail = tail.then(|| eq_over(&shared, &eq));
        Some(Integers::new([first, second], places, point, others, tail))
    }

    /// The cells of a factor over the shared letters, padded with zeros; `None` if one has more than 32 bits.
    fn gather<T: Cell>(cells: &[T], factor: &Bound<'_>, shared: &[(u8, usize)]) -> Option<Arc<[i32]>> {
        let (kept, bits) = shared.split_last().map(|(last, before)| (kept(factor, before), last.1))?;
        let last = kept_axis(factor, shared.last()?.0);
        let outer = offsets(factor.offset, &kept);
        let mut out = vec![0i32; outer.len() << bits];
        let fill = |(out, offset): (&mut [i32], &Option<usize>)| -> Option<()> {
            let Some(o) = offset else { return Some(()) };
            let (size, stride) = last.map_or((out.len(), 0), |a| (a.size, a.stride));
            for (i, out) in out.iter_mut().take(size).enumerate() {
                *out = i32::try_from(cells[o + i * stride].into()).ok()?;
            }
            Some(())
        };
        out.par_chunks_mut(1 << bits).with_min_len(1 << 12 >> bits.min(12)).zip(&outer).map(fill).collect::<Option<()>>()?;
        Some(out.into())
    }

    /// `eq(r_s, s)` over the shared letters; 1 for contraction letters.
    fn eq_over(shared: &[(u8, usize)], eq: &[Option<Vec<Fr>>]) -> Vec<Fr> {
        let mut table = vec![Fr::ONE];
        let mut letters = shared.iter().zip(eq).peekable();
        while let Some(((_, bits), eq)) = letters.next() {
            let Some(point) = eq else {
                table = table.iter().flat_map(|a| std::iter::repeat_n(*a, 1 << bits)).collect();
                continue;
            };
            // Neighbouring output letters together.
            let mut point = point.clone();
            while let Some((_, Some(next))) = letters.next_if(|(_, eq)| eq.is_some()) {
                point.extend_from_slice(next);
            }
            table = match &table[..] {
                [_] => eq_table(&point),
                weights => weights.par_iter().flat_map_iter(|a| eq_table_scaled(&point, *a)).collect(),
            };
        }
        table
    }

    /// The factor's axis of a shared letter, if it has the letter.
    fn kept_axis(factor: &Bound<'_>, letter: u8) -> Option<Axis> {
        factor.axes.iter().find(|(_, l, w)| *l == letter && w.is_none()).map(|(a, _, _)| *a)
    }

    /// The factor's axes of shared letters, with the letters' numbers of variables.
    fn kept(factor: &Bound<'_>, shared: &[(u8, usize)]) -> Vec<(Option<Axis>, usize)> {
        shared.iter().map(|(l, bits)| (kept_axis(factor, *l), *bits)).collect()
    }

    /// Offsets of all indices, the first axis outermost; `None` outside the box.
    fn offsets(offset: usize, kept: &[(Option<Axis>, usize)]) -> Vec<Option<usize>> {
        kept.iter().fold(vec![Some(offset)], |offsets, (axis, bits)| {
            let along = |o: &Option<usize>| {
                let o = *o;
                (0..1usize << bits).map(move |i| match axis {
                    Some(a) if i >= a.size => None,
                    Some(a) => o.map(|o| o + i * a.stride),
                    None => o,
                })
            };
            offsets.iter().flat_map(along).collect()
        })
    }

    /// The factor as a table over the shared letters (padded with zeros), its other letters bound. A shared letter that the factor lacks
    /// repeats it.
    fn bind<T: Cell>(cells: &[T], factor: &Bound<'_>, shared: &[(u8, usize)]) -> Vec<Fr> {
        let bound: Vec<(Axis, Vec<Fr>)> = factor.axes.iter().filter_map(|(a, _, w)| w.as_ref().map(|w| (*a, w.table(a.size)))).collect();
        let kept = kept(factor, shared);
        let total: usize = kept.iter().map(|(_, bits)| bits).sum();
        let offsets = offsets(factor.offset, &kept);
        debug_assert_eq!(offsets.len(), 1 << total);
        // Rows of neighbouring cells are combined as rows: one pass over the memory in order.
        if let Some((Some(a), bits)) = kept.last()
            && a.stride == 1
            && a.size >= 16
            && bound.iter().any(|(b, _)| b.size > 1)
        {
            let mut starts = vec![(0usize, Fr::ONE)];
            for (axis, table) in &bound {
                starts =
                    starts.iter().flat_map(|(o, w)| table.iter().enumerate().map(move |(i, t)| (o + i * axis.stride, *w * t))).collect();
            }
            let (rows, weights): (Vec<usize>, Vec<Fr>) = starts.into_iter().unzip();
            let mut out = Vec::with_capacity(1 << total);
            for first in offsets.chunks(1 << bits) {
                match first[0] {
                    Some(o) => out.extend(combine_rows(|i| &cells[o + rows[i]..o + rows[i] + a.size], &weights, a.size)),
                    None => out.extend(std::iter::repeat_n(Fr::ZERO, a.size)),
                }
                out.resize(out.len() + (1 << bits) - a.size, Fr::ZERO);
            }
            return out;
        }
        let window = Window::new(bound);
        offsets.par_iter().with_min_len(64).map(|o| o.map_or(Fr::ZERO, |o| window.sum(cells, o))).collect()
    }

    /// Values of the hidden factors and of their products, term by term.
    pub(super) fn finals(plan: &Plan<'_>, slots: &Slots, state: Option<&Batch<'_>>) -> Vec<Fr> {
        let state = state.expect("the prover has a state");
        let mut out = vec![Fr::ZERO; slots.len];
        for (t, (m, &slot)) in plan.multis.iter().zip(&slots.first).enumerate() {
            let finals = state.finals(t);
            let hidden: Vec<Fr> =
                m.factors.iter().zip(finals).filter(|(f, _)| matches!(f.source, Resolved::Committed(..))).map(|(_, v)| v).collect();
            let values = match hidden[..] {
                [a, b, c] => vec![a, b, a * b, c],
                _ => hidden,
            };
            out[slot..slot + values.len()].copy_from_slice(&values);
        }
        out
    }
}

#[cfg(not(feature = "prover"))]
mod prover {
    use super::*;
    use crate::sumcheck::NoProver;

    pub(super) fn singles(_: &Plan<'_>, _: Option<Witness<'_>>) -> Vec<Fr> {
        Vec::new()
    }
    pub(super) fn state(_: &Plan<'_>, _: Option<Witness<'_>>, _: usize, _: usize) -> Option<NoProver> {
        None
    }
    pub(super) fn finals(_: &Plan<'_>, _: &Slots, _: Option<&NoProver>) -> Vec<Fr> {
        Vec::new()
    }
}
