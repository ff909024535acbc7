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
//! | 3 | hidden `S̃(r*)` for each heap | evaluates `Σ_j ρ^j K̃_j(r*)`; the end of the sumcheck, in the circuit | `windows::evaluate` |
//!
//! # Cost and soundness
//! Prover: two multiplications per cell and claim to make `K` twice, at most eight of an integer per cell, about one and a half per cell for the rest of the sumcheck; no table of
//! scalars has more than an eighth of the heap's length (see `streamed.rs`). Error `(claims + 2·rounds) / |F|`.

use crate::circuit::Lc;
use crate::claims::{Claim, Vector, Weight, index_bits};
use crate::error::VerifyError;
use crate::party::Party;
use crate::sumcheck::{Weights, hidden_sumcheck};
use crate::windows;
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

/// Last variables that share messages: from tables of `2^12` entries on.
const LATE: usize = 12;

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
    let mut state = prover::state(program, &groups, witness, rounds);
    let (point, end) = hidden_sumcheck(party, "claim sumcheck", total, Weights::Sum, rounds, 2, LATE, state.as_mut())?;
    let wires = party.hidden("heap evaluations", groups.len(), || prover::finals(groups.len(), state.as_ref()))?;
    drop(state);
    let half = Fr::from(2u64).inverse().unwrap_or_default();
    let mut check = end;
    for (group, wire) in groups.into_iter().zip(wires) {
        let own = &point[rounds - group.bits..];
        let kernel = windows::evaluate(&group.claims, own);
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
    use crate::product::{Batch, Factors, Join, Term};

    pub(super) fn state<'a>(program: &Program, groups: &[Group], witness: Option<Witness<'a>>, rounds: usize) -> Option<Batch<'a>> {
        let witness = witness?;
        let terms = groups
            .iter()
            .map(|g| {
                let cells: &'a [i64] = match g.vector {
                    Vector::Heap => witness.committed(program),
                    _ => &witness.parameters.heap,
                };
                Term { coeff: Fr::ONE, factors: Factors::streamed(cells, &g.claims, g.bits) }
            })
            .collect();
        Some(Batch::new(terms, rounds, 2, Join::Constant))
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

    pub(super) fn state(_: &Program, _: &[Group], _: Option<Witness<'_>>, _: usize) -> Option<NoProver> {
        None
    }
    pub(super) fn finals(_: usize, _: Option<&NoProver>) -> Vec<Fr> {
        Vec::new()
    }
}
