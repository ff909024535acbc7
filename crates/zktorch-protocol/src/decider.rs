//! The decider: proves that the hidden messages satisfy the verifier circuit.
//!
//! # Relation
//! Wires `W` (committed row by row) satisfy `(A z) ∘ (B z) = C z`, `z = (W, 1)`; `A, B, C` are known to both parties.
//!
//! # Protocol
//! | step | prover sends | verifier checks or samples | code |
//! | --- | --- | --- | --- |
//! | 1 | hidden random wires that no constraint uses | | [`decide`] |
//! | 2 | a random relaxed instance: `comm(W')`, `comm(E')`, `u'` with `E' = Az'∘Bz' − u'Cz'`; the cross term `comm(T)` | draws `ρ`; the folded instance has `u = 1 + ρu'`, `W + ρW'`, `E = ρT + ρ²E'` | `prover::random_instance` |
//! | 3 | sumcheck of `Σ_x eq(τ, x)(Az·Bz − u·Cz − E)(x) = 0` in the clear | draws `τ` and the rounds' challenges | |
//! | 4 | `Az, Bz, Cz, E` at the point `r_x` | the end of the sumcheck | [`VerifyError::DeciderOuter`] |
//! | 5 | sumcheck of `Σ_y (A + γB + γ²C)(r_x, y) · W(y)` | the matrices at `(r_x, r_y)`, by itself | [`VerifyError::DeciderInner`] |
//! | 6 | `W̃(r_y)` and `W̃'(r_y)` | public claims on `Σ_i eq·C_i`, `comm(W')` and `ρ comm(T) + ρ² comm(E')` | |
//!
//! # Cost and soundness
//! Work of the size of the circuit (a few thousand field elements). Error `2/|F|` for the fold (degree 2 in `ρ`; Nova, ePrint 2021/370, lemma 3) plus
//! `(3·log m + 2·log n + log m)/|F|` for the sumchecks (Spartan, ePrint 2019/550). Zero knowledge: the folded witness is uniformly random, because `W'` is, and
//! everything in the clear is a function of it; the random wires of step 1 make `W̃(r_y)` and the two other values that tell `W` from
//! `W'` uniformly random too.
//!
//! # Departures
//! Nova commits to the whole witness at once. Here a prover's messages are committed one by one (see [`crate::party`]), in rows, and the rows are combined by
//! `eq(r_y)` when the claim on `W` is opened, as in Hyrax (ePrint 2017/1132). `W'` is one message, so one commitment is enough for it.

use crate::circuit::{Circuit, Lc, ROW, ROW_BITS};
use crate::error::VerifyError;
use crate::opening::{MASK_ROWS, OpenClaim, OpeningSecrets};
use crate::party::Party;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{
    Fr,
    mle::{eq_eval, eq_table},
};

/// Proves that the circuit is satisfied; returns public claims for [`crate::opening::open_batch`].
pub fn decide<P: Party>(party: &mut P, secrets: Option<OpeningSecrets<'_>>) -> Result<Vec<OpenClaim>, VerifyError> {
    let mask = party.random(MASK_ROWS * ROW);
    party.hidden("mask wires", MASK_ROWS * ROW, || mask)?;
    let circuit = party.circuit().clone();
    let (wire_bits, constraint_bits) = (circuit.wire_bits(), circuit.constraint_bits());

    // The fold with a random instance.
    let random = party.random(circuit.wires.len() + 4);
    let instance = prover::random_instance(&circuit, party.secrets(), random, secrets);
    let instance = instance.as_ref();
    let comm_w = party.point("random witness", || prover::commitment(instance, 0))?;
    let comm_e = party.point("random error", || prover::commitment(instance, 1))?;
    let u_random = party.scalar("random slack", || prover::slack(instance))?;
    let comm_t = party.point("cross term", || prover::commitment(instance, 2))?;
    let rho = party.challenge(b"fold");
    let u = Fr::ONE + rho * u_random;
    let folded = prover::fold(&circuit, instance, party.secrets(), rho, u);
    let folded = folded.as_ref();

    // Outer sumcheck.
    let tau = party.challenges(b"decider point", constraint_bits);
    let mut outer = prover::outer(folded, &tau);
    let mut claim = Fr::ZERO;
    let mut rx = Vec::with_capacity(constraint_bits);
    for _ in 0..constraint_bits {
        let c = prover::round(outer.as_mut(), claim, 4);
        let mut next = [Fr::ZERO; 3];
        for (slot, from) in next.iter_mut().zip([0usize, 2, 3]) {
            *slot = party.scalar("decider outer", || c[from])?;
        }
        let [c0, c2, c3] = next;
        let r = party.challenge(b"decider outer round");
        let c1 = claim - c0.double() - c2 - c3;
        claim = c0 + r * (c1 + r * (c2 + r * c3));
        prover::bind(outer.as_mut(), r);
        rx.push(r);
    }
    let mut values = [Fr::ZERO; 4];
    for (k, slot) in values.iter_mut().enumerate() {
        *slot = party.scalar("decider products", || prover::product(outer.as_ref(), k))?;
    }
    let [va, vb, vc, ve] = values;
    if party.checks() && eq_eval(&tau, &rx) * (va * vb - u * vc - ve) != claim {
        return Err(VerifyError::DeciderOuter);
    }

    // Inner sumcheck.
    let gamma = party.challenge(b"decider batch");
    let eq_x = eq_table(&rx);
    let (columns, constant) = combined_matrix(&circuit, &eq_x, gamma, wire_bits);
    let mut claim = va + gamma * (vb + gamma * vc) - u * constant;
    let mut inner = prover::inner(folded, &columns);
    let mut ry = Vec::with_capacity(wire_bits);
    for _ in 0..wire_bits {
        let c = prover::round(inner.as_mut(), claim, 3);
        let c0 = party.scalar("decider inner", || c[0])?;
        let c2 = party.scalar("decider inner", || c[2])?;
        let r = party.challenge(b"decider inner round");
        let c1 = claim - c0.double() - c2;
        claim = c0 + r * (c1 + r * c2);
        prover::bind(inner.as_mut(), r);
        ry.push(r);
    }
    let (hi, lo) = ry.split_at(wire_bits.saturating_sub(ROW_BITS));
    let combined_row = prover::combined_row(party.secrets(), hi);
    let w = party.scalar("witness evaluation", || prover::row_value(&combined_row, lo))?;
    let w_random = party.scalar("random witness evaluation", || prover::random_value(instance, &ry))?;
    let matrix = zktorch_algebra::mle::evaluate(&columns, &ry);
    if party.checks() && matrix * (w + rho * w_random) != claim {
        return Err(VerifyError::DeciderInner);
    }

    // Public claims.
    let eq_hi = eq_table(hi);
    let rows = party.rows().iter().zip(&eq_hi).map(|(c, e)| (*e, *c)).collect();
    let (combined_row, row_blinder) = combined_row.unwrap_or_default();
    let (random_poly, random_blinder) = prover::random_poly(instance);
    let (error_poly, error_blinder) = prover::error_poly(instance, rho);
    Ok(vec![
        OpenClaim { point: lo.to_vec(), value: w, commitment: rows, poly: combined_row, blinder: row_blinder },
        OpenClaim { point: ry.clone(), value: w_random, commitment: vec![(Fr::ONE, comm_w)], poly: random_poly, blinder: random_blinder },
        OpenClaim {
            point: rx,
            value: ve,
            commitment: vec![(rho, comm_t), (rho.square(), comm_e)],
            poly: error_poly,
            blinder: error_blinder,
        },
    ])
}

/// `Σ_i eq_x[i] · (A + γB + γ²C)[i, ·]` over the wires, and over the constant.
fn combined_matrix(circuit: &Circuit, eq_x: &[Fr], gamma: Fr, wire_bits: usize) -> (Vec<Fr>, Fr) {
    let mut columns = vec![Fr::ZERO; 1 << wire_bits];
    let mut constant = Fr::ZERO;
    let mut add = |lc: &Lc, k: Fr| {
        for &(wire, c) in &lc.terms {
            columns[wire.0 as usize] += c * k;
        }
        constant += lc.constant * k;
    };
    for (constraint, e) in circuit.constraints.iter().zip(eq_x) {
        add(&constraint.a, *e);
        add(&constraint.b, *e * gamma);
        add(&constraint.c, *e * gamma.square());
    }
    (columns, constant)
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::opening::prover::commit;
    use crate::sumcheck::{RoundProver, interpolate};
    use zktorch_algebra::{
        G1Affine,
        mle::{self, bind_top},
    };

    /// `Az, Bz, Cz` for all constraints.
    type Products = [Vec<Fr>; 3];

    fn products(circuit: &Circuit, wires: &[Fr], u: Fr) -> Products {
        let of = |pick: fn(&crate::circuit::Constraint) -> &Lc| circuit.constraints.iter().map(|c| pick(c).value(wires, u)).collect();
        [of(|c| &c.a), of(|c| &c.b), of(|c| &c.c)]
    }

    /// A random relaxed instance and the cross term with the real one.
    pub(super) struct Instance {
        wires: Vec<Fr>,
        u: Fr,
        error: Vec<Fr>,
        cross: Vec<Fr>,
        blinders: [Fr; 3],
        commitments: [G1Affine; 3],
    }

    pub(super) fn random_instance(
        circuit: &Circuit,
        party: Option<(&[Fr], &[Fr])>,
        mut random: Vec<Fr>,
        secrets: Option<OpeningSecrets<'_>>,
    ) -> Option<Instance> {
        let (own, _) = party?;
        let mut draw = || random.pop().expect("enough randomness was drawn");
        let (u, blinders) = (draw(), [draw(), draw(), draw()]);
        let mut wires = vec![Fr::ZERO; circuit.rows * ROW];
        for w in &circuit.wires {
            wires[w.0 as usize] = draw();
        }
        let (real, fake) = (products(circuit, own, Fr::ONE), products(circuit, &wires, u));
        let n = circuit.constraints.len();
        let error: Vec<Fr> = (0..n).map(|i| fake[0][i] * fake[1][i] - u * fake[2][i]).collect();
        let cross: Vec<Fr> = (0..n).map(|i| real[0][i] * fake[1][i] + fake[0][i] * real[1][i] - fake[2][i] - u * real[2][i]).collect();
        let commitments =
            [commit(secrets, &wires, blinders[0]), commit(secrets, &error, blinders[1]), commit(secrets, &cross, blinders[2])];
        Some(Instance { wires, u, error, cross, blinders, commitments })
    }

    pub(super) fn commitment(instance: Option<&Instance>, k: usize) -> G1Affine {
        instance.map_or(G1Affine::identity(), |i| i.commitments[k])
    }
    pub(super) fn slack(instance: Option<&Instance>) -> Fr {
        instance.map_or(Fr::ZERO, |i| i.u)
    }

    /// The folded instance: its wires, products and error.
    pub(super) struct Folded {
        wires: Vec<Fr>,
        products: Products,
        error: Vec<Fr>,
        u: Fr,
    }

    pub(super) fn fold(circuit: &Circuit, instance: Option<&Instance>, party: Option<(&[Fr], &[Fr])>, rho: Fr, u: Fr) -> Option<Folded> {
        let (instance, (own, _)) = (instance?, party?);
        let wires: Vec<Fr> = own.iter().zip(&instance.wires).map(|(a, b)| *a + rho * b).collect();
        let products = products(circuit, &wires, u);
        Some(Folded { wires, products, error: error(instance, rho), u })
    }

    fn error(instance: &Instance, rho: Fr) -> Vec<Fr> {
        instance.cross.iter().zip(&instance.error).map(|(t, e)| rho * (*t + rho * e)).collect()
    }

    /// A sumcheck in the clear over a few tables; `eval` combines their values.
    pub(super) struct Clear {
        tables: Vec<Vec<Fr>>,
        u: Fr,
        outer: bool,
    }

    fn padded(mut v: Vec<Fr>, bits: usize) -> Vec<Fr> {
        v.resize(1 << bits, Fr::ZERO);
        v
    }

    pub(super) fn outer(folded: Option<&Folded>, tau: &[Fr]) -> Option<Clear> {
        let f = folded?;
        let [a, b, c] = f.products.clone();
        let tables = [a, b, c, f.error.clone()].into_iter().map(|v| padded(v, tau.len())).chain([eq_table(tau)]).collect();
        Some(Clear { tables, u: f.u, outer: true })
    }

    pub(super) fn inner(folded: Option<&Folded>, columns: &[Fr]) -> Option<Clear> {
        let f = folded?;
        let bits = columns.len().trailing_zeros() as usize;
        Some(Clear { tables: vec![columns.to_vec(), padded(f.wires.clone(), bits)], u: f.u, outer: false })
    }

    impl RoundProver for Clear {
        fn round(&mut self, _: Fr) -> Vec<Fr> {
            let half = self.tables[0].len() / 2;
            let mut values = [Fr::ZERO; 4];
            let count = if self.outer { 4 } else { 3 };
            let mut x = [Fr::ZERO; 5];
            for i in 0..half {
                for (x, t) in x.iter_mut().zip(&self.tables) {
                    *x = t[i];
                }
                for value in values.iter_mut().take(count) {
                    *value += if self.outer { x[4] * (x[0] * x[1] - self.u * x[2] - x[3]) } else { x[0] * x[1] };
                    for (x, t) in x.iter_mut().zip(&self.tables) {
                        *x += t[i + half] - t[i];
                    }
                }
            }
            interpolate(&values[..count])
        }
        fn bind(&mut self, r: Fr) {
            for t in &mut self.tables {
                bind_top(t, r);
            }
        }
    }

    pub(super) fn round(state: Option<&mut Clear>, claim: Fr, n: usize) -> Vec<Fr> {
        state.map_or_else(|| vec![Fr::ZERO; n], |s| s.round(claim))
    }
    pub(super) fn bind(state: Option<&mut Clear>, r: Fr) {
        if let Some(s) = state {
            s.bind(r);
        }
    }
    /// `Az, Bz, Cz, E` at the end of the outer sumcheck.
    pub(super) fn product(state: Option<&Clear>, k: usize) -> Fr {
        state.map_or(Fr::ZERO, |s| s.tables[k][0])
    }

    /// `Σ_i eq(hi, i) row_i` and its blinder.
    pub(super) fn combined_row(party: Option<(&[Fr], &[Fr])>, hi: &[Fr]) -> Option<(Vec<Fr>, Fr)> {
        let (wires, blinders) = party?;
        let eq = eq_table(hi);
        let mut row = vec![Fr::ZERO; ROW];
        for (cells, e) in wires.chunks(ROW).zip(&eq) {
            for (r, c) in row.iter_mut().zip(cells) {
                *r += *c * e;
            }
        }
        let blinder = blinders.iter().zip(&eq).map(|(b, e)| *b * e).sum();
        Some((row, blinder))
    }
    pub(super) fn row_value(row: &Option<(Vec<Fr>, Fr)>, lo: &[Fr]) -> Fr {
        row.as_ref().map_or(Fr::ZERO, |(row, _)| mle::evaluate(row, lo))
    }
    pub(super) fn random_value(instance: Option<&Instance>, ry: &[Fr]) -> Fr {
        instance.map_or(Fr::ZERO, |i| mle::evaluate(&padded(i.wires.clone(), ry.len()), ry))
    }
    pub(super) fn random_poly(instance: Option<&Instance>) -> (Vec<Fr>, Fr) {
        instance.map_or_else(Default::default, |i| (i.wires.clone(), i.blinders[0]))
    }
    pub(super) fn error_poly(instance: Option<&Instance>, rho: Fr) -> (Vec<Fr>, Fr) {
        instance.map_or_else(Default::default, |i| (error(i, rho), rho * (i.blinders[2] + rho * i.blinders[1])))
    }
}

#[cfg(not(feature = "prover"))]
mod prover {
    use super::*;
    use crate::sumcheck::NoProver;
    use zktorch_algebra::G1Affine;

    pub(super) fn random_instance(_: &Circuit, _: Option<(&[Fr], &[Fr])>, _: Vec<Fr>, _: Option<OpeningSecrets<'_>>) -> Option<NoProver> {
        None
    }
    pub(super) fn commitment(_: Option<&NoProver>, _: usize) -> G1Affine {
        G1Affine::identity()
    }
    pub(super) fn slack(_: Option<&NoProver>) -> Fr {
        Fr::ZERO
    }
    pub(super) fn fold(_: &Circuit, _: Option<&NoProver>, _: Option<(&[Fr], &[Fr])>, _: Fr, _: Fr) -> Option<NoProver> {
        None
    }
    pub(super) fn outer(_: Option<&NoProver>, _: &[Fr]) -> Option<NoProver> {
        None
    }
    pub(super) fn inner(_: Option<&NoProver>, _: &[Fr]) -> Option<NoProver> {
        None
    }
    pub(super) fn round(_: Option<&mut NoProver>, _: Fr, n: usize) -> Vec<Fr> {
        vec![Fr::ZERO; n]
    }
    pub(super) fn bind(_: Option<&mut NoProver>, _: Fr) {}
    pub(super) fn product(_: Option<&NoProver>, _: usize) -> Fr {
        Fr::ZERO
    }
    pub(super) fn combined_row(_: Option<(&[Fr], &[Fr])>, _: &[Fr]) -> Option<(Vec<Fr>, Fr)> {
        None
    }
    pub(super) fn row_value(_: &Option<(Vec<Fr>, Fr)>, _: &[Fr]) -> Fr {
        Fr::ZERO
    }
    pub(super) fn random_value(_: Option<&NoProver>, _: &[Fr]) -> Fr {
        Fr::ZERO
    }
    pub(super) fn random_poly(_: Option<&NoProver>) -> (Vec<Fr>, Fr) {
        Default::default()
    }
    pub(super) fn error_poly(_: Option<&NoProver>, _: Fr) -> (Vec<Fr>, Fr) {
        Default::default()
    }
}
