//! From claims on committed vectors to one polynomial opening.
//!
//! # Relation
//! Vectors `v_j` are committed row by row; wanted is `ṽ_j(r_j) = y_j` for hidden `y_j`.
//!
//! # Protocol
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | 1 | commitment to a uniformly random vector `g` | | [`open_rows`] |
//! | 2 | | splits `r_j = (hi, lo)`: `u_j = Σ_i eq(hi, i) row_i`, claim `ũ_j(lo) = y_j`; draws `σ`; where `lo` is the same, combines: `t_k = Σ_j σ^j u_j` | `Group` |
//! | 3 | sumcheck of `Σ_k Σ_x t_k(x) eq(lo_k, x)` | | |
//! | 4 | hidden `t̃_k(r†)` and `g̃(r†)` | end of the sumcheck, in the circuit; draws `σ'` | |
//! | 5 | `v = g̃(r†) + Σ_k σ'^(k+1) t̃_k(r†)` in the clear | the same, in the circuit; a public claim on `C_g + Σ_k σ'^(k+1) Σ_j σ^j Σ_i eq·C_{j,i}` | |
//! | 6 | the masked vector's value at a second random point; with the decider's claims: a sumcheck in the clear to one point `r‡`, the values there | its rounds and its end | [`open_batch`] |
//! | 7 | the folded blinder, one multilinear KZG opening | one multi-scalar multiplication, one pairing check | [`crate::pcs`] |
//!
//! Vectors shorter than others count as padded with zeros: `Π (1 − x_i)` over the leading variables.
//!
//! All matrices of a shape have the same `lo`, whatever the layer, since all identities share one sumcheck; so a model of any depth has few `t_k`.
//!
//! # Cost and soundness
//! Prover: one multiplication of a small integer per cell and claim (step 2), then work of the length of a row for each `t_k`. Error `(J + 2·rounds)/|F|` for each
//! batching step, and the binding of the commitments (q-SDH, AGM). `g` makes `v`, the folded blinder and everything that the clear
//! steps show of `Σ σ'^(k+1) t_k` uniformly random.
//!
//! Why a second point: at one point the masked vector's part of a round polynomial is `ℓ(X)·(linear)` with a known `ℓ`, so at the root of `ℓ` a
//! round would show the parts of the other, unmasked vectors. With two points its part has no known root.

use crate::circuit::{Lc, ROW};
use crate::claims::Vector;
use crate::error::VerifyError;
use crate::party::{Mask, Party};
use crate::pcs;
use crate::proof::Phase;
use crate::reduce::PointClaim;
use crate::sumcheck::{Weights, hidden_sumcheck, messages};
use ark_ff::{AdditiveGroup, Field};
use std::collections::BTreeSet;
use zktorch_algebra::{
    Fr, G1Affine,
    mle::{eq_eval, eq_table_scaled},
};

/// A vector that is committed row by row.
#[derive(Clone, Copy, Debug)]
pub struct RowVector<'a> {
    /// The vector.
    pub vector: Vector,
    /// log2 of the row length.
    pub row_bits: usize,
    /// Row commitments (verifier).
    pub commitments: &'a [G1Affine],
    /// Row blinders (prover).
    pub blinders: &'a [Fr],
}

/// A claim in the clear: the inner product of the vector behind `commitment` with a public kernel is `value`.
#[derive(Clone, Debug, Default)]
pub struct OpenClaim {
    /// log2 of the vector's length.
    pub bits: usize,
    /// The kernel `Σ weight · eq(point, ·)`. A point of fewer than `bits` variables speaks of the vector's first cells.
    pub kernel: Vec<(Fr, Vec<Fr>)>,
    /// The value.
    pub value: Fr,
    /// The commitment as a linear combination (verifier).
    pub commitment: Vec<(Fr, G1Affine)>,
    /// The vector (prover).
    pub poly: Vec<Fr>,
    /// The kernel's `2^bits` values (prover), if they are at hand.
    pub table: Vec<Fr>,
    /// The commitment's blinder (prover).
    pub blinder: Fr,
}

impl OpenClaim {
    /// A claim on the vector's extension at a point.
    pub fn at(point: Vec<Fr>, value: Fr) -> OpenClaim {
        OpenClaim { bits: point.len(), kernel: vec![(Fr::ONE, point)], value, ..OpenClaim::default() }
    }

    /// The kernel's extension at a point of `bits` variables.
    fn kernel_at(&self, at: &[Fr]) -> Fr {
        let term = |(weight, point): &(Fr, Vec<Fr>)| {
            let (lead, own) = at.split_at(at.len() - point.len());
            *weight * padding(lead) * eq_eval(point, own)
        };
        self.kernel.iter().map(term).sum()
    }
}

/// What the prover needs to open: the cells of every vector, and the generators.
#[derive(Clone, Copy)]
pub struct OpeningSecrets<'a> {
    /// The prover's vectors.
    pub witness: crate::Witness<'a>,
    /// Shapes of the matrices.
    pub program: &'a zktorch_program::Program,
    /// The reference string.
    pub srs: &'a pcs::Srs,
    /// `H`.
    pub h: G1Affine,
}

/// Number of rows of random wires that [`crate::decider`] adds.
pub(crate) const MASK_ROWS: usize = 1;

/// Length of `g`: that of any vector that the last opening combines, so that the whole opening is uniformly random. What pads all of them to a power of two is zero, as
/// everybody knows. `rows` are those of wires, the random ones included; the longest combined row has `2^rounds` cells.
pub(crate) fn mask_len(rows: usize, rounds: usize) -> usize {
    (rows * ROW).max(1 << rounds)
}

/// Last variables that share messages in the sumcheck over the rows: there are few combined vectors, so it costs no more than messages one by one.
const LATE: usize = 15;

/// Claims whose points end alike, as one claim: the inner product of `eq(lo, ·)` with the sum of the members' combined rows.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    lo: Vec<Fr>,
    members: Vec<Member<'a>>,
}

/// `weight · Σ_i eq(hi, i) row_i`.
#[derive(Debug)]
struct Member<'a> {
    weight: Fr,
    hi: Vec<Fr>,
    vector: RowVector<'a>,
}

/// The claims with weights `σ^j` by the ends of their points, and the sum of their values with these weights.
fn group<'a>(claims: &[(PointClaim, RowVector<'a>)], sigma: Fr) -> (Vec<Group<'a>>, Lc) {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut total = Lc::zero();
    let mut weight = Fr::ONE;
    for (claim, vector) in claims {
        total.add_scaled(weight, &claim.value);
        let (hi, lo) = split(claim, vector);
        let at = groups.iter().position(|g| g.lo == lo).unwrap_or_else(|| {
            groups.push(Group { lo: lo.to_vec(), members: Vec::new() });
            groups.len() - 1
        });
        if let Some(g) = groups.get_mut(at) {
            g.members.push(Member { weight, hi: hi.to_vec(), vector: *vector });
        }
        weight *= sigma;
    }
    (groups, total)
}

/// A claim's point: which row, and where in it.
fn split<'p>(claim: &'p PointClaim, vector: &RowVector<'_>) -> (&'p [Fr], &'p [Fr]) {
    claim.point.split_at(claim.point.len().saturating_sub(vector.row_bits))
}

/// Steps 1 to 5.
pub fn open_rows<P: Party>(
    party: &mut P,
    claims: Vec<PointClaim>,
    vectors: &[RowVector<'_>],
    secrets: Option<OpeningSecrets<'_>>,
) -> Result<OpenClaim, VerifyError> {
    let claims: Vec<(PointClaim, RowVector<'_>)> =
        claims.into_iter().filter_map(|c| vectors.iter().find(|v| v.vector == c.vector).map(|v| (c, *v))).collect();
    // The points are known, so the groups are; their weights follow.
    let ends: BTreeSet<&[Fr]> = claims.iter().map(|(c, v)| split(c, v).1).collect();
    let rounds = ends.iter().map(|lo| lo.len()).max().unwrap_or(0);

    let rows = party.circuit().rows + messages(rounds, 2, LATE) + (ends.len() + 1).div_ceil(ROW) + MASK_ROWS;
    let mask_len = mask_len(rows, rounds);
    let mask_bits = mask_len.next_power_of_two().trailing_zeros() as usize;
    let Mask { values: mask, blinder: mask_blinder, commitment: mask_commitment } =
        party.mask("opening mask", mask_len, |mask, blinder| prover::commit(secrets, mask, blinder))?;

    let sigma = party.challenge(b"row batch");
    let (groups, total) = group(&claims, sigma);
    let combined = prover::combine(&groups, secrets);
    let mut state = prover::state(&groups, &combined, rounds, secrets.is_some());
    let (point, end) = hidden_sumcheck(party, "row sumcheck", total, Weights::Sum, rounds, 2, LATE, state.as_mut())?;
    let wires = party.hidden("row evaluations", groups.len() + 1, || prover::finals(groups.len(), state.as_ref(), &mask, &point))?;
    drop(state);

    let second = party.challenge(b"row fold");
    let mut check = end;
    let mut sum = Lc::zero();
    // The mask has weight 1, so the vectors begin at σ': with a weight of its own each value is bound by itself. Were two weights equal, one
    // value could be wrong as long as the other makes up for it.
    let mut fold = second;
    let mut folds = Vec::with_capacity(groups.len());
    for (Group { lo, .. }, &wire) in groups.iter().zip(&wires) {
        let (lead, own) = point.split_at(rounds - lo.len());
        let pad = padding(lead);
        check.add_wire(-pad.square() * eq_eval(lo, own), wire);
        sum.add_wire(fold * pad, wire);
        folds.push(fold);
        fold *= second;
    }
    if let Some(&wire) = wires.last() {
        sum.add_wire(Fr::ONE, wire);
    }
    party.circuit().zero(check);
    let known = party.value(&sum);
    let value = party.scalar("masked evaluation", || known.unwrap_or_default())?;
    sum.constant -= value;
    party.circuit().zero(sum);

    // The public claim. Parts of a cut axis make claims on the same rows, which differ in `lo`.
    let mut sources: Vec<Member<'_>> = Vec::new();
    for (Group { members, .. }, fold) in groups.into_iter().zip(&folds) {
        for member in members {
            let weight = *fold * member.weight;
            match sources.iter_mut().find(|s| s.vector.vector == member.vector.vector && s.hi == member.hi) {
                Some(source) => source.weight += weight,
                None => sources.push(Member { weight, ..member }),
            }
        }
    }
    let mut commitment = vec![(Fr::ONE, mask_commitment)];
    let mut blinder = mask_blinder;
    for Member { weight, hi, vector } in sources {
        let rows = eq_table_scaled(&hi, weight);
        commitment.extend(rows.iter().copied().zip(vector.commitments.iter().copied()));
        blinder += rows.iter().zip(vector.blinders).map(|(e, b)| *e * b).sum::<Fr>();
    }
    let poly = prover::fold(combined, &folds, mask, mask_bits);
    Ok(OpenClaim { bits: mask_bits, kernel: vec![(Fr::ONE, point)], value, commitment, poly, table: Vec::new(), blinder })
}

/// `Π (1 − x_i)`.
fn padding(point: &[Fr]) -> Fr {
    point.iter().map(|x| Fr::ONE - x).product()
}

/// Steps 6 and 7. `srs` is present at the prover only; `phase` is told when the verifier comes to the pairing.
pub fn open_batch<P: Party>(
    party: &mut P,
    claims: Vec<OpenClaim>,
    key: Option<&pcs::VerifierKey>,
    srs: Option<&pcs::Srs>,
    phase: &mut dyn FnMut(Phase),
) -> Result<(), VerifyError> {
    // The first claim's vector is uniformly random, and so is its value at another point.
    let extra = party.challenges(b"second point", claims.first().map_or(0, |c| c.bits));
    let extra_value = party.scalar("second masked evaluation", || prover::clear_evaluate(&claims, &extra))?;
    let sigma = party.challenge(b"opening batch");
    let rounds = claims.iter().map(|c| c.bits).max().unwrap_or(0);
    let mut claim = Fr::ZERO;
    let mut weight = Fr::ONE;
    for c in &claims {
        claim += weight * c.value;
        weight *= sigma;
    }
    let extra_weight = weight;
    claim += extra_weight * extra_value;
    let mut state = prover::clear_state(&claims, sigma, (&extra, extra_weight), rounds, srs.is_some());
    let mut point = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut c = prover::clear_round(state.as_mut(), claim);
        let c2 = party.scalar("opening sumcheck", || c.pop().unwrap_or_default())?;
        let c0 = party.scalar("opening sumcheck", || c.swap_remove(0))?;
        let r = party.challenge(b"opening round");
        let c1 = claim - c0.double() - c2;
        claim = c0 + r * (c1 + r * c2);
        prover::clear_bind(state.as_mut(), r);
        point.push(r);
    }
    let mut end = Fr::ZERO;
    let mut weight = Fr::ONE;
    let mut evaluations = Vec::with_capacity(claims.len());
    for (j, c) in claims.iter().enumerate() {
        let e = party.scalar("opening evaluation", || prover::clear_final(state.as_ref(), j))?;
        let (lead, own) = point.split_at(rounds - c.bits);
        let pad = padding(lead);
        let mut kernel = weight * c.kernel_at(own);
        if j == 0 {
            kernel += extra_weight * eq_eval(&extra, own);
        }
        end += pad.square() * kernel * e;
        evaluations.push(pad * e);
        weight *= sigma;
    }
    if party.checks() && end != claim {
        return Err(VerifyError::BatchedClaims);
    }
    let delta = party.challenge(b"opening fold");
    let mut fold = Fr::ONE;
    let mut value = Fr::ZERO;
    let mut blinder = Fr::ZERO;
    let mut terms: Vec<(Fr, G1Affine)> = Vec::new();
    for (c, e) in claims.iter().zip(&evaluations) {
        value += fold * e;
        blinder += fold * c.blinder;
        terms.extend(c.commitment.iter().map(|(k, p)| (*k * fold, *p)));
        fold *= delta;
    }
    let blinder = party.scalar("folded blinder", || blinder)?;
    let shape = pcs::Opening::shape(rounds);
    let (points, scalars) = party.raw("opening", shape, |transcript| prover::open(&claims, delta, &point, srs, transcript))?;
    let Some(key) = key.filter(|_| party.checks()) else { return Ok(()) };
    terms.push((-blinder, key.h));
    let (scalars_, bases): (Vec<Fr>, Vec<G1Affine>) = terms.into_iter().unzip();
    let commitment = G1Affine::from(zktorch_algebra::msm::msm(&bases, &scalars_));
    phase(Phase::Pairing);
    pcs::verify(key, &commitment, &point, &value, &pcs::Opening { points, scalars }, party.transcript())?;
    Ok(())
}

/// Adds vectors that count as padded with zeros: `Σ_j folds_j · vectors_j`.
#[cfg(feature = "prover")]
fn add_padded(sum: &mut Vec<Fr>, fold: Fr, vector: &[Fr]) {
    use rayon::prelude::*;
    if sum.len() < vector.len() {
        sum.resize(vector.len(), Fr::ZERO);
    }
    sum.par_chunks_mut(1 << 11).zip(vector.par_chunks(1 << 11)).for_each(|(s, v)| zktorch_algebra::table::add_scaled(s, v, &fold));
}

#[cfg(feature = "prover")]
pub(crate) mod prover {
    use super::*;
    use crate::cells::PaddedMatrix;
    use crate::product::{Batch, Factors, Join, Term};
    use crate::sumcheck::RoundProver;
    use crate::transcript::Transcript;
    use rayon::prelude::*;
    use zktorch_algebra::{
        mle::{self, eq_table},
        small::combine_rows,
    };

    pub(crate) fn commit(secrets: Option<OpeningSecrets<'_>>, values: &[Fr], blinder: Fr) -> G1Affine {
        let s = secrets.expect("the prover has generators");
        commit_to(s.srs, s.h, values, blinder)
    }

    /// `Σ values_j · G_j + blinder · H`.
    pub(crate) fn commit_to(srs: &pcs::Srs, h: G1Affine, values: &[Fr], blinder: Fr) -> G1Affine {
        G1Affine::from(zktorch_algebra::msm::msm(&srs.g1, values) + h * blinder)
    }

    impl OpenClaim {
        /// The kernel's values.
        pub(crate) fn kernel_table(&self) -> Vec<Fr> {
            if !self.table.is_empty() {
                return self.table.clone();
            }
            let mut table = vec![Fr::ZERO; 1 << self.bits];
            for (weight, point) in &self.kernel {
                for (t, e) in table.iter_mut().zip(eq_table_scaled(point, *weight)) {
                    *t += e;
                }
            }
            table
        }
    }

    /// The sums `t_k`.
    pub(super) fn combine(groups: &[Group<'_>], secrets: Option<OpeningSecrets<'_>>) -> Vec<Vec<Fr>> {
        let Some(s) = secrets else { return Vec::new() };
        let add = |mut a: Vec<Fr>, b: Vec<Fr>| {
            if a.is_empty() {
                return b;
            }
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        let sum = |Group { lo, members }: &Group<'_>| members.par_iter().map(|m| m.combined(1 << lo.len(), s)).reduce(Vec::new, add);
        groups.par_iter().map(sum).collect()
    }

    impl Member<'_> {
        /// Its combined row.
        fn combined(&self, row: usize, s: OpeningSecrets<'_>) -> Vec<Fr> {
            let weights = eq_table_scaled(&self.hi, self.weight);
            let cells: &[i64] = match self.vector.vector {
                Vector::Heap => s.witness.committed(s.program),
                Vector::Params => &s.witness.parameters.heap,
                Vector::Matrix(m) => {
                    let cells = s.witness.parameters.matrices[m].view();
                    return PaddedMatrix::new(&s.program.matrices[m].shape, cells).combine(&weights, row);
                }
            };
            let rows = cells.len().div_ceil(row);
            combine_rows(|i| &cells[i * row..((i + 1) * row).min(cells.len())], &weights[..rows], row)
        }
    }

    pub(super) fn state(groups: &[Group<'_>], combined: &[Vec<Fr>], rounds: usize, prover: bool) -> Option<Batch<'static>> {
        if !prover {
            return None;
        }
        let term = |(g, t): (&Group<'_>, &Vec<Fr>)| Term { coeff: Fr::ONE, factors: Factors::Tables(vec![t.clone(), eq_table(&g.lo)]) };
        Some(Batch::new(groups.iter().zip(combined).map(term).collect(), rounds, 2, Join::Padded))
    }

    pub(super) fn finals(n: usize, state: Option<&Batch<'_>>, mask: &[Fr], point: &[Fr]) -> Vec<Fr> {
        let state = state.expect("the prover has a state");
        let mut out: Vec<Fr> = (0..n).map(|j| state.finals(j)[0]).collect();
        out.push(mle::evaluate(&mask[..1 << point.len()], point));
        out
    }

    /// The masked vector, `2^bits` values.
    pub(super) fn fold(combined: Vec<Vec<Fr>>, folds: &[Fr], mask: Vec<Fr>, bits: usize) -> Vec<Fr> {
        let mut sum = mask;
        sum.resize(1 << bits, Fr::ZERO);
        for (u, f) in combined.iter().zip(folds) {
            add_padded(&mut sum, *f, u);
        }
        sum
    }

    /// The value of the first claim's vector at another point.
    pub(super) fn clear_evaluate(claims: &[OpenClaim], point: &[Fr]) -> Fr {
        claims.first().map_or(Fr::ZERO, |c| {
            let mut poly = c.poly.clone();
            poly.resize(1 << point.len(), Fr::ZERO);
            mle::evaluate(&poly, point)
        })
    }

    /// `extra`: the second point of the first claim, with its weight.
    pub(super) fn clear_state(claims: &[OpenClaim], sigma: Fr, extra: (&[Fr], Fr), rounds: usize, prover: bool) -> Option<Batch<'static>> {
        if !prover {
            return None;
        }
        let mut weight = Fr::ONE;
        let terms = claims
            .iter()
            .enumerate()
            .map(|(j, c)| {
                let coeff = weight;
                weight *= sigma;
                let mut poly = c.poly.clone();
                poly.resize(1 << c.bits, Fr::ZERO);
                let mut kernel = c.kernel_table();
                if j == 0 {
                    for (k, e) in kernel.iter_mut().zip(eq_table_scaled(extra.0, extra.1)) {
                        *k += e;
                    }
                }
                Term { coeff, factors: Factors::Tables(vec![poly, kernel]) }
            })
            .collect();
        Some(Batch::new(terms, rounds, 2, Join::Padded))
    }
    pub(super) fn clear_round(state: Option<&mut Batch<'_>>, claim: Fr) -> Vec<Fr> {
        state.map_or_else(Vec::new, |s| s.round(claim))
    }
    pub(super) fn clear_bind(state: Option<&mut Batch<'_>>, r: Fr) {
        if let Some(s) = state {
            s.bind(r);
        }
    }
    pub(super) fn clear_final(state: Option<&Batch<'_>>, j: usize) -> Fr {
        state.map_or(Fr::ZERO, |s| s.finals(j)[0])
    }

    pub(super) fn open(
        claims: &[OpenClaim],
        delta: Fr,
        point: &[Fr],
        srs: Option<&pcs::Srs>,
        transcript: &mut Transcript,
    ) -> (Vec<G1Affine>, Vec<Fr>) {
        let srs = srs.expect("the prover has a reference string");
        let mut poly = vec![Fr::ZERO; 1 << point.len()];
        let mut fold = Fr::ONE;
        for c in claims {
            add_padded(&mut poly, fold, &c.poly);
            fold *= delta;
        }
        let opening = pcs::open(srs, &poly, point, transcript).expect("the reference string is as long as set-up made sure");
        (opening.points, opening.scalars)
    }
}

#[cfg(not(feature = "prover"))]
pub(crate) mod prover {
    use super::*;
    use crate::sumcheck::NoProver;
    use crate::transcript::Transcript;

    pub(crate) fn commit(_: Option<OpeningSecrets<'_>>, _: &[Fr], _: Fr) -> G1Affine {
        G1Affine::identity()
    }
    pub(super) fn combine(_: &[Group<'_>], _: Option<OpeningSecrets<'_>>) -> Vec<Vec<Fr>> {
        Vec::new()
    }
    pub(super) fn state(_: &[Group<'_>], _: &[Vec<Fr>], _: usize, _: bool) -> Option<NoProver> {
        None
    }
    pub(super) fn finals(_: usize, _: Option<&NoProver>, _: &[Fr], _: &[Fr]) -> Vec<Fr> {
        Vec::new()
    }
    pub(super) fn fold(_: Vec<Vec<Fr>>, _: &[Fr], _: Vec<Fr>, _: usize) -> Vec<Fr> {
        Vec::new()
    }
    pub(super) fn clear_evaluate(_: &[OpenClaim], _: &[Fr]) -> Fr {
        Fr::ZERO
    }
    pub(super) fn clear_state(_: &[OpenClaim], _: Fr, _: (&[Fr], Fr), _: usize, _: bool) -> Option<NoProver> {
        None
    }
    pub(super) fn clear_round(_: Option<&mut NoProver>, _: Fr) -> Vec<Fr> {
        Vec::new()
    }
    pub(super) fn clear_bind(_: Option<&mut NoProver>, _: Fr) {}
    pub(super) fn clear_final(_: Option<&NoProver>, _: usize) -> Fr {
        Fr::ZERO
    }
    pub(super) fn open(_: &[OpenClaim], _: Fr, _: &[Fr], _: Option<&pcs::Srs>, _: &mut Transcript) -> (Vec<G1Affine>, Vec<Fr>) {
        (Vec::new(), Vec::new())
    }
}
