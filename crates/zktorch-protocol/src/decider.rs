//! The decider: proves one accumulator, for good.
//!
//! # Relation
//! Wires `w` (committed row by row), an error `e` (committed) and a known form satisfy `u ⟨x, w⟩ + Σ y_{i,ab} w_{i,a} w_{i,b} + u² c = e`: the relaxed verifier circuit of
//! [`mod@crate::accumulate`]. For a proof that was not folded, `u = 1` and `e = 0`.
//!
//! # Protocol
//! | step | prover sends | verifier checks or samples | code |
//! | --- | --- | --- | --- |
//! | 1 | a hidden row of random wires that the form does not use | | `decide` |
//! | 2 | commitments to random wires `w'` and to the cross terms `t_1, t_2`: the form at `w + ρw'` is `e + ρ t_1 + ρ² t_2` | draws `ρ` | `prover::masked` |
//! | 3 | `ê = e + ρ t_1 + ρ² t_2` | a public claim on the combination of the commitments | |
//! | 4 | sumcheck of `Σ_i u ⟨x_i, ŵ_i⟩ + Σ y_{i,ab} ŵ_{i,a} ŵ_{i,b} = ê − u² c` over the rows `i`, in the clear, `ŵ = w + ρw'` | draws the rounds' challenges `r` | |
//! | 5 | the row `ŵ(r)` | the end of the sumcheck; draws `s` | [`VerifyError::Circuit`] |
//! | 6 | `w̃'(r, s)` | public claims: `Σ_i eq(r, i) C_i` at `s` is `ŵ̃(r, s) − ρ w̃'(r, s)`, and `w'` at `(r, s)` | |
//!
//! The public claims, with the accumulator's own, become one opening: [`crate::opening::open_batch`].
//!
//! # Cost and soundness
//! Work of the size of the circuit (some ten thousand field elements). Error `2/|F|` for `ρ` (the form is of degree 2 in the wires), `3 log(rows)/|F|` for the
//! sumcheck, `log(ROW)/|F|` for `s`. Zero knowledge: `ŵ` is uniformly random, because `w'` is, and everything in the clear up to step 5 is a function of it; the random
//! row of step 1 makes `Σ_i eq(r, i) w_i`, which steps 6 and the opening show parts of, uniformly random too.
//!
//! # Departures
//! Nova and Spartan commit to the whole witness at once and prove R1CS. Here a prover's messages are committed one by one (see [`crate::party`]), in rows, and the rows are combined
//! by `eq(r)`, as in Hyrax (ePrint 2017/1132). All constraints are one equation, with coefficients that both parties know, so one sumcheck is enough.

use crate::accumulate::Total;
use crate::circuit::{Form, Pair, ROW, ROW_BITS};
use crate::error::VerifyError;
use crate::opening::{MASK_ROWS, OpenClaim, open_batch};
use crate::party::{Mask, Party};
use crate::pcs;
use crate::proof::Phase;
use ark_ff::{AdditiveGroup, Field};
use std::collections::BTreeMap;
use zktorch_algebra::{Fr, G1Affine, mle::eq_table};

/// What the prover brings to [`decide`]: the reference string, `H`, and the accumulator's secrets.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "prover"), expect(dead_code, reason = "a verifier has none"))]
pub(crate) struct Secrets<'a> {
    pub srs: &'a pcs::Srs,
    pub h: G1Affine,
    pub wires: &'a [Fr],
    pub blinders: &'a [Fr],
    pub error: (Fr, Fr),
}

/// Proves an accumulator. `key` is present at the verifier only, `secrets` at the prover only; `phase` is told the last steps as they begin. Returns log2 of the length of the opened vector.
pub(crate) fn decide<P: Party>(
    party: &mut P,
    total: Total,
    key: Option<&pcs::VerifierKey>,
    secrets: Option<Secrets<'_>>,
    phase: &mut dyn FnMut(Phase),
) -> Result<usize, VerifyError> {
    let Total { form, slack: u, claim, rows, error, .. } = total;
    let mask_row = form.rows();
    let count = mask_row + MASK_ROWS;
    debug_assert!(secrets.is_none() || claim.poly[count * ROW - 1] != Fr::ZERO, "the opening's mask covers all wires");
    let bits = row_bits(count);
    let mask = party.random(MASK_ROWS * ROW);
    party.hidden("mask wires", MASK_ROWS * ROW, || mask)?;

    // Masks the wires.
    let random = party.mask("random witness", count * ROW, |random, blinder| prover::commit(secrets, random, blinder))?;
    let comm_w = random.commitment;
    let cross_blinders = party.random(2);
    let masked = prover::masked(&form, u, party.secrets(), random, cross_blinders, secrets);
    let masked = masked.as_ref();
    let cross = [0, 1].map(|k| party.point("cross term", || prover::cross_commitment(masked, k)));
    let [first, second] = cross;
    let (first, second) = (first?, second?);
    let rho = party.challenge(b"mask");
    let folded_error = party.scalar("masked error", || prover::error(masked, rho))?;

    // Sumcheck over the rows.
    let mut state = prover::rows(&form, u, masked, rho, bits);
    let mut end = folded_error - u.square() * form.constant;
    let mut point = Vec::with_capacity(bits);
    for _ in 0..bits {
        let c = prover::round(state.as_mut());
        let mut next = [Fr::ZERO; 3];
        for (slot, from) in next.iter_mut().zip([0usize, 2, 3]) {
            *slot = party.scalar("decider round", || c[from])?;
        }
        let [c0, c2, c3] = next;
        let r = party.challenge(b"decider round");
        let c1 = end - c0.double() - c2 - c3;
        end = c0 + r * (c1 + r * (c2 + r * c3));
        prover::bind(state.as_mut(), r);
        point.push(r);
    }
    let mut row = [Fr::ZERO; ROW];
    for (a, slot) in row.iter_mut().enumerate() {
        *slot = party.scalar("masked row", || prover::row_value(state.as_ref(), a))?;
    }
    let eq = eq_table(&point);
    if party.checks() && row_form(&form, u, &eq, &row) != end {
        return Err(VerifyError::Circuit);
    }

    // Public claims.
    let low = party.challenges(b"row point", ROW_BITS);
    let whole: Vec<Fr> = point.iter().chain(&low).copied().collect();
    let random_value = party.scalar("random witness evaluation", || prover::random_value(masked, &whole))?;
    let own_value = zktorch_algebra::mle::evaluate(&row, &low) - rho * random_value;
    let mask_commitments = party.rows();
    let mut commitment: Vec<(Fr, G1Affine)> = mask_commitments.iter().zip(&eq[mask_row..]).map(|(c, e)| (*e, *c)).collect();
    for (weight, rows) in &rows {
        commitment.extend(rows.iter().zip(&eq).map(|(c, e)| (*weight * e, *c)));
    }
    let (row_poly, row_blinder) = prover::combined_row(masked, &eq);
    let (random_poly, random_blinder) = prover::random_poly(masked);
    let (error_poly, error_blinder) = prover::error_poly(masked, rho);
    let mut error_commitment = error;
    error_commitment.extend([(rho, first), (rho.square(), second)]);
    let claims = vec![
        claim,
        OpenClaim { commitment, poly: row_poly, blinder: row_blinder, ..OpenClaim::at(low, own_value) },
        OpenClaim { commitment: vec![(Fr::ONE, comm_w)], poly: random_poly, blinder: random_blinder, ..OpenClaim::at(whole, random_value) },
        OpenClaim { commitment: error_commitment, poly: error_poly, blinder: error_blinder, ..OpenClaim::at(Vec::new(), folded_error) },
    ];
    let bits = claims.iter().map(|c| c.bits).max().unwrap_or(0);
    phase(Phase::Opening);
    open_batch(party, claims, key, secrets.map(|s| s.srs), phase)?;
    Ok(bits)
}

/// log2 of the padded number of rows, at least one.
pub(crate) fn row_bits(rows: usize) -> usize {
    rows.max(2).next_power_of_two().trailing_zeros() as usize
}

/// `u ⟨x̃(r), ŵ⟩ + Σ ỹ_{ab}(r) ŵ_a ŵ_b`, where `eq[i] = eq(r, i)`.
fn row_form(form: &Form, u: Fr, eq: &[Fr], row: &[Fr; ROW]) -> Fr {
    let linear: Fr =
        form.linear.as_chunks::<ROW>().0.iter().zip(eq).map(|(x, e)| x.iter().zip(row).map(|(x, w)| *x * w).sum::<Fr>() * e).sum();
    let mut pairs: BTreeMap<(u8, u8), Fr> = BTreeMap::new();
    for (Pair { row, a, b }, y) in &form.products {
        *pairs.entry((*a, *b)).or_insert(Fr::ZERO) += eq.get(*row as usize).copied().unwrap_or_default() * y;
    }
    let at = |k: u8| row.get(k as usize).copied().unwrap_or_default();
    u * linear + pairs.iter().map(|((a, b), y)| *y * at(*a) * at(*b)).sum::<Fr>()
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::circuit::cross_terms;
    use crate::opening::prover::commit_to;
    use crate::sumcheck::interpolate;
    use rayon::prelude::*;
    use zktorch_algebra::mle::{self, bind_top};

    /// The wires with the mask row, the random wires, and the cross terms.
    pub(super) struct Masked {
        wires: Vec<Fr>,
        blinders: Vec<Fr>,
        random: Vec<Fr>,
        /// `e, t_1, t_2`.
        error: [Fr; 3],
        /// Blinder of the error.
        error_blinder: Fr,
        /// Blinders of `w', t_1, t_2`.
        random_blinders: [Fr; 3],
        /// To `t_1, t_2`.
        cross: [G1Affine; 2],
    }

    pub(super) fn commit(secrets: Option<Secrets<'_>>, values: &[Fr], blinder: Fr) -> G1Affine {
        let s = secrets.expect("the prover has generators");
        commit_to(s.srs, s.h, values, blinder)
    }

    pub(super) fn masked(
        form: &Form,
        u: Fr,
        mask: Option<(&[Fr], &[Fr])>,
        random: Mask,
        cross_blinders: Vec<Fr>,
        secrets: Option<Secrets<'_>>,
    ) -> Option<Masked> {
        let (secrets, (mask, mask_blinders)) = (secrets?, mask?);
        let &[first, second] = &cross_blinders[..] else { return None };
        let random_blinders = [random.blinder, first, second];
        let wires = [secrets.wires, mask].concat();
        let blinders = [secrets.blinders, mask_blinders].concat();
        // The form at w + ρw' is e + ρ t_1 + ρ² t_2; its values at ρ = ±1 give the cross terms.
        let at = |sign: Fr| {
            let sum: Vec<Fr> = wires.iter().zip(&random.values).map(|(w, r)| *w + sign * r).collect();
            form.evaluate(&sum, u)
        };
        let (ends, own) = rayon::join(|| rayon::join(|| at(Fr::ONE), || at(-Fr::ONE)), || form.evaluate(&wires, u));
        let [t1, t2] = cross_terms(ends.into(), [own, Fr::ZERO]);
        let cross = [commit_to(secrets.srs, secrets.h, &[t1], first), commit_to(secrets.srs, secrets.h, &[t2], second)];
        let (error, error_blinder) = secrets.error;
        Some(Masked { wires, blinders, random: random.values, error: [error, t1, t2], error_blinder, random_blinders, cross })
    }

    pub(super) fn cross_commitment(masked: Option<&Masked>, k: usize) -> G1Affine {
        masked.map_or(G1Affine::identity(), |m| m.cross[k])
    }
    pub(super) fn error(masked: Option<&Masked>, rho: Fr) -> Fr {
        masked.map_or(Fr::ZERO, |m| m.error[0] + rho * (m.error[1] + rho * m.error[2]))
    }

    /// The sumcheck over the rows: tables over the rows of each position's coefficients and values, and of each pair's coefficients.
    pub(super) struct Rows {
        u: Fr,
        linear: Vec<Vec<Fr>>,
        values: Vec<Vec<Fr>>,
        pairs: Vec<(u8, u8, Vec<Fr>)>,
    }

    pub(super) fn rows(form: &Form, u: Fr, masked: Option<&Masked>, rho: Fr, bits: usize) -> Option<Rows> {
        let m = masked?;
        let columns = |cells: &[Fr]| -> Vec<Vec<Fr>> {
            let mut columns = vec![vec![Fr::ZERO; 1 << bits]; ROW];
            for (i, cell) in cells.iter().enumerate() {
                columns[i % ROW][i / ROW] = *cell;
            }
            columns
        };
        let sum: Vec<Fr> = m.wires.iter().zip(&m.random).map(|(w, r)| *w + rho * r).collect();
        let mut pairs: BTreeMap<(u8, u8), Vec<Fr>> = BTreeMap::new();
        for (Pair { row, a, b }, y) in &form.products {
            pairs.entry((*a, *b)).or_insert_with(|| vec![Fr::ZERO; 1 << bits])[*row as usize] += y;
        }
        let pairs = pairs.into_iter().map(|((a, b), y)| (a, b, y)).collect();
        Some(Rows { u, linear: columns(&form.linear), values: columns(&sum), pairs })
    }

    pub(super) fn round(state: Option<&mut Rows>) -> Vec<Fr> {
        let Some(s) = state else { return vec![Fr::ZERO; 4] };
        let half = s.values[0].len() / 2;
        let sums = (0..half).into_par_iter().with_min_len(ROWS_PER_TASK).map(|i| s.at(i, i + half));
        interpolate(&sums.reduce(|| [Fr::ZERO; 4], |a, b| std::array::from_fn(|k| a[k] + b[k])))
    }

    /// Rows that are worth a task.
    const ROWS_PER_TASK: usize = 8;

    impl Rows {
        /// The form on the line through two rows, at 0, 1, 2 and 3.
        fn at(&self, low: usize, high: usize) -> [Fr; 4] {
            let line = |t: &Vec<Fr>| (t[low], t[high] - t[low]);
            let mut values: [(Fr, Fr); ROW] = std::array::from_fn(|a| line(&self.values[a]));
            let mut linear: [(Fr, Fr); ROW] = std::array::from_fn(|a| line(&self.linear[a]));
            // Most rows have few products or none.
            let used = self.pairs.iter().filter(|(_, _, t)| t[low] != Fr::ZERO || t[high] != Fr::ZERO);
            let mut pairs: Vec<(u8, u8, Fr, Fr)> = used.map(|(a, b, t)| (*a, *b, t[low], t[high] - t[low])).collect();
            let mut at = [Fr::ZERO; 4];
            for slot in &mut at {
                let sum: Fr = linear.iter().zip(&values).map(|(x, w)| x.0 * w.0).sum();
                *slot += self.u * sum;
                for (a, b, y, slope) in &mut pairs {
                    *slot += *y * values[*a as usize].0 * values[*b as usize].0;
                    *y += *slope;
                }
                for (value, slope) in values.iter_mut().chain(&mut linear) {
                    *value += *slope;
                }
            }
            at
        }
    }

    pub(super) fn bind(state: Option<&mut Rows>, r: Fr) {
        if let Some(s) = state {
            s.linear.iter_mut().chain(&mut s.values).chain(s.pairs.iter_mut().map(|(_, _, t)| t)).for_each(|t| bind_top(t, r));
        }
    }

    pub(super) fn row_value(state: Option<&Rows>, a: usize) -> Fr {
        state.map_or(Fr::ZERO, |s| s.values[a][0])
    }
    pub(super) fn random_value(masked: Option<&Masked>, point: &[Fr]) -> Fr {
        masked.map_or(Fr::ZERO, |m| {
            let mut table = m.random.clone();
            table.resize(1 << point.len(), Fr::ZERO);
            mle::evaluate(&table, point)
        })
    }

    /// `Σ_i eq(r, i) w_i` and its blinder.
    pub(super) fn combined_row(masked: Option<&Masked>, eq: &[Fr]) -> (Vec<Fr>, Fr) {
        let Some(m) = masked else { return Default::default() };
        let mut row = vec![Fr::ZERO; ROW];
        for (cells, e) in m.wires.chunks(ROW).zip(eq) {
            for (r, c) in row.iter_mut().zip(cells) {
                *r += *c * e;
            }
        }
        (row, m.blinders.iter().zip(eq).map(|(b, e)| *b * e).sum())
    }
    pub(super) fn random_poly(masked: Option<&Masked>) -> (Vec<Fr>, Fr) {
        masked.map_or_else(Default::default, |m| (m.random.clone(), m.random_blinders[0]))
    }
    pub(super) fn error_poly(masked: Option<&Masked>, rho: Fr) -> (Vec<Fr>, Fr) {
        masked.map_or_else(Default::default, |m| {
            let blinder = m.error_blinder + rho * (m.random_blinders[1] + rho * m.random_blinders[2]);
            (vec![error(masked, rho)], blinder)
        })
    }
}

#[cfg(not(feature = "prover"))]
mod prover {
    use super::*;
    use crate::sumcheck::NoProver;

    pub(super) fn commit(_: Option<Secrets<'_>>, _: &[Fr], _: Fr) -> G1Affine {
        G1Affine::identity()
    }
    pub(super) fn masked(_: &Form, _: Fr, _: Option<(&[Fr], &[Fr])>, _: Mask, _: Vec<Fr>, _: Option<Secrets<'_>>) -> Option<NoProver> {
        None
    }
    pub(super) fn cross_commitment(_: Option<&NoProver>, _: usize) -> G1Affine {
        G1Affine::identity()
    }
    pub(super) fn error(_: Option<&NoProver>, _: Fr) -> Fr {
        Fr::ZERO
    }
    pub(super) fn rows(_: &Form, _: Fr, _: Option<&NoProver>, _: Fr, _: usize) -> Option<NoProver> {
        None
    }
    pub(super) fn round(_: Option<&mut NoProver>) -> Vec<Fr> {
        vec![Fr::ZERO; 4]
    }
    pub(super) fn bind(_: Option<&mut NoProver>, _: Fr) {}
    pub(super) fn row_value(_: Option<&NoProver>, _: usize) -> Fr {
        Fr::ZERO
    }
    pub(super) fn random_value(_: Option<&NoProver>, _: &[Fr]) -> Fr {
        Fr::ZERO
    }
    pub(super) fn combined_row(_: Option<&NoProver>, _: &[Fr]) -> (Vec<Fr>, Fr) {
        Default::default()
    }
    pub(super) fn random_poly(_: Option<&NoProver>) -> (Vec<Fr>, Fr) {
        Default::default()
    }
    pub(super) fn error_poly(_: Option<&NoProver>, _: Fr) -> (Vec<Fr>, Fr) {
        Default::default()
    }
}
