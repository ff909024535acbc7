//! Reduces all claims on views to one point per committed vector.
//!
//! # Relation
//! Claims `j`: `Σ_x K_j(x) · S(x) = y_j`, on the witness heap and on the parameter heap; claims on matrices are evaluations already.
//!
//! # Protocol
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | 1 | | draws `ρ` | [`reduce_claims`] |
//! | 2 | sumcheck of `Σ_j ρ^j Σ_x K_j(x) S(x)` for both heaps at once | | [`hidden_sumcheck`] |
//! | 3 | hidden `S̃(r*)` for each heap | evaluates `K̃_j(r*)` with the carry automaton; the end of the sumcheck, in the circuit | [`automaton::evaluate`] |
//!
//! # Cost and soundness
//! Prover: one multiplication per cell and claim to scatter `K`, about six per cell for the sumcheck. Error `(claims + 2·rounds) / |F|`.

use crate::automaton;
use crate::circuit::Lc;
use crate::claims::{Claim, Vector, Weight, index_bits};
use crate::error::VerifyError;
use crate::party::Party;
use crate::sumcheck::hidden_sumcheck;
use crate::witness::Witness;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::Fr;
use zktorch_program::Program;

/// A claim on the multilinear extension of a committed vector at a point.
#[derive(Clone, Debug)]
pub struct PointClaim {
    /// The vector.
    pub vector: Vector,
    /// The point, most significant bit first.
    pub point: Vec<Fr>,
    /// The value.
    pub value: Lc,
}

/// Reduces `claims`. `witness` is present at the prover only.
pub fn reduce_claims<P: Party>(
    party: &mut P,
    program: &Program,
    witness: Option<Witness<'_>>,
    claims: Vec<Claim>,
) -> Result<Vec<PointClaim>, VerifyError> {
    let mut points = Vec::new();
    let mut heaps: [Vec<Claim>; 2] = [Vec::new(), Vec::new()];
    for claim in claims {
        match claim.vector {
            Vector::Heap => heaps[0].push(claim),
            Vector::Params => heaps[1].push(claim),
            Vector::Matrix(_) => points.push(matrix_claim(program, claim)),
        }
    }
    let rho = party.challenge(b"claim batch");
    let mut weight = Fr::ONE;
    let mut total = Lc::zero();
    let mut groups = Vec::new();
    for (vector, claims, len) in
        [Vector::Heap, Vector::Params].into_iter().zip(heaps).zip([program.heap_len, program.params_len]).map(|((v, c), l)| (v, c, l))
    {
        if claims.is_empty() {
            continue;
        }
        let mut weighted = Vec::with_capacity(claims.len());
        for claim in claims {
            total.add_scaled(weight, &claim.value);
            weighted.push((weight, claim));
            weight *= rho;
        }
        groups.push(Group { vector, bits: index_bits(len), claims: weighted });
    }
    if groups.is_empty() {
        return Ok(points);
    }
    let rounds = groups.iter().map(|g| g.bits).max().unwrap_or(0);
    let mut state = prover::state(&groups, witness, rounds);
    let (point, end) = hidden_sumcheck(party, "claim sumcheck", total, rounds, 2, state.as_mut())?;
    let wires = party.hidden("heap evaluations", groups.len(), || prover::finals(groups.len(), state.as_ref()))?;
    drop(state);
    let half = Fr::from(2u64).inverse().unwrap_or_default();
    let mut check = end;
    for (group, wire) in groups.into_iter().zip(wires) {
        let own = &point[rounds - group.bits..];
        let kernel = kernel(&group, own);
        check.add_wire(-kernel * half.pow([(rounds - group.bits) as u64]), wire);
        points.push(PointClaim { vector: group.vector, point: own.to_vec(), value: Lc::wire(wire) });
    }
    party.circuit().zero(check);
    Ok(points)
}

struct Group {
    vector: Vector,
    bits: usize,
    claims: Vec<(Fr, Claim)>,
}

/// `Σ_j ρ^j K̃_j(r)`.
fn kernel(group: &Group, point: &[Fr]) -> Fr {
    let one = |(w, c): &(Fr, Claim)| *w * automaton::evaluate(c.offset, &c.axes, point);
    #[cfg(feature = "prover")]
    {
        use rayon::prelude::*;
        group.claims.par_iter().map(one).sum()
    }
    #[cfg(not(feature = "prover"))]
    group.claims.iter().map(one).sum()
}

/// A view of a matrix takes all its axes, in any order: its point is the axes' points in the matrix' order.
fn matrix_claim(program: &Program, claim: Claim) -> PointClaim {
    let Vector::Matrix(m) = claim.vector else { return PointClaim { vector: claim.vector, point: Vec::new(), value: claim.value } };
    let shape = program.matrices.get(m).map_or(&[][..], |m| &m.shape);
    let mut stride: usize = shape.iter().product();
    let mut point = Vec::new();
    let mut used = vec![false; claim.axes.len()];
    for &size in shape {
        stride /= size.max(1);
        let axis = claim.axes.iter().zip(&mut used).find(|((a, _), used)| !**used && a.size == size && (a.stride == stride || size == 1));
        if let Some(((_, weight), used)) = axis {
            *used = true;
            match weight {
                Weight::Eq(p) => point.extend_from_slice(p),
                // Excluded by validation; a wrong point makes the proof fail, never pass.
                Weight::Ones => point.extend(std::iter::repeat_n(Fr::ZERO, index_bits(size))),
            }
        }
    }
    PointClaim { vector: claim.vector, point, value: claim.value }
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::product::{Batch, Join, Term};
    use rayon::prelude::*;
    use zktorch_algebra::{
        mle::{eq_table, eq_table_scaled},
        table,
    };

    pub(super) fn state<'a>(groups: &[Group], witness: Option<Witness<'a>>, rounds: usize) -> Option<Batch<'a>> {
        let witness = witness?;
        let terms = groups
            .iter()
            .map(|g| {
                let cells: &'a [i64] = match g.vector {
                    Vector::Heap => witness.heap,
                    _ => &witness.parameters.heap,
                };
                Term { coeff: Fr::ONE, integers: Some(cells), tables: vec![kernel_table(g)] }
            })
            .collect();
        Some(Batch::new(terms, rounds, 2, Join::Constant))
    }

    /// log2 of the cells that get their weights at a time.
    const RUN_BITS: usize = 11;

    /// A claim with its power of `ρ`.
    type Weighted<'c> = &'c (Fr, Claim);

    /// The table of `Σ_j ρ^j K_j`. Claims whose windows overlap are added by one thread, others in parallel.
    fn kernel_table(group: &Group) -> Vec<Fr> {
        let end = |c: &Claim| c.offset + c.axes.iter().map(|(a, _)| (a.size - 1) * a.stride).sum::<usize>() + 1;
        let mut table = table::zeros(1 << group.bits);
        // Pages that are read before they are written would be set up twice.
        let used = group.claims.iter().map(|(_, c)| end(c)).max().unwrap_or(0);
        table[..used].par_chunks_mut(1 << RUN_BITS).for_each(|run| run.fill(Fr::ZERO));
        // Large runs with a single equality table (lookups over whole regions) span many tensors: first, each in parallel.
        let is_run = |c: &Claim| matches!(c.axes.as_slice(), [(a, Weight::Eq(_))] if a.stride == 1 && a.size >= 1 << 12);
        for (w, c) in group.claims.iter().filter(|(_, c)| is_run(c)) {
            let (axis, Weight::Eq(point)) = (&c.axes[0].0, &c.axes[0].1) else { continue };
            let (high, low) = point.split_at(point.len().saturating_sub(RUN_BITS));
            let (high, low) = (eq_table_scaled(high, *w), eq_table(low));
            let runs = table[c.offset..c.offset + axis.size].par_chunks_mut(low.len()).zip(&high);
            runs.for_each(|(run, weight)| table::add_scaled(run, &low, weight));
        }
        let mut rest: Vec<&(Fr, Claim)> = group.claims.iter().filter(|(_, c)| !is_run(c)).collect();
        rest.sort_by_key(|(_, c)| c.offset);
        // Clusters of overlapping windows.
        let mut clusters: Vec<(usize, usize, Vec<Weighted<'_>>)> = Vec::new();
        for claim in rest {
            let (from, to) = (claim.1.offset, end(&claim.1));
            match clusters.last_mut() {
                Some((_, last, list)) if from < *last => {
                    *last = (*last).max(to);
                    list.push(claim);
                }
                _ => clusters.push((from, to, vec![claim])),
            }
        }
        let mut tasks: Vec<(usize, &mut [Fr], Vec<Weighted<'_>>)> = Vec::new();
        let mut left: &mut [Fr] = &mut table;
        let mut at = 0;
        for (from, to, list) in clusters {
            let (_, tail) = left.split_at_mut(from - at);
            let (own, tail) = tail.split_at_mut(to - from);
            left = tail;
            at = to;
            tasks.push((from, own, list));
        }
        tasks.sort_by_key(|(_, own, list)| std::cmp::Reverse(own.len() * list.len()));
        tasks.into_par_iter().for_each(|(base, own, list)| {
            for (w, c) in list {
                automaton::scatter(c.offset, &c.axes, *w, base, own);
            }
        });
        table
    }

    pub(super) fn finals(groups: usize, state: Option<&Batch<'_>>) -> Vec<Fr> {
        let state = state.expect("the prover has a state");
        (0..groups).map(|g| state.finals(g)[0]).collect()
    }
}

#[cfg(not(feature = "prover"))]
mod prover {
    use super::*;
    use crate::sumcheck::NoProver;

    pub(super) fn state(_: &[Group], _: Option<Witness<'_>>, _: usize) -> Option<NoProver> {
        None
    }
    pub(super) fn finals(_: usize, _: Option<&NoProver>) -> Vec<Fr> {
        Vec::new()
    }
}
