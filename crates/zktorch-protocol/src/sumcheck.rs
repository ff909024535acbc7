//! Sumcheck with hidden round messages.
//!
//! # Protocol
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | round `i` | hidden `c_0, c_2, …, c_d` of `g_i(X) = Σ c_k X^k` | `c_1 = claim − 2c_0 − Σ_{k≥2} c_k` by definition, so that `g_i(0) + g_i(1) = claim` | [`hidden_sumcheck`] |
//! | | | draws `r_i`; `claim := g_i(r_i)`, a linear combination of wires | |
//!
//! # Cost and soundness
//! `rounds · ⌈d/ROW⌉` row commitments, no constraint (everything is linear). Error `rounds · d / |F|` (Thaler, §4.1).

use crate::circuit::Lc;
use crate::error::VerifyError;
use crate::party::Party;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::Fr;

/// What a prover does in a sumcheck.
pub trait RoundProver {
    /// Coefficients `c_0..c_d` of the round polynomial, lowest first, given the current claim.
    fn round(&mut self, claim: Fr) -> Vec<Fr>;
    /// Binds the current variable to `r`.
    fn bind(&mut self, r: Fr);
}

/// The state of a party that proves nothing.
#[derive(Debug)]
pub enum NoProver {}

impl RoundProver for NoProver {
    fn round(&mut self, _: Fr) -> Vec<Fr> {
        match *self {}
    }
    fn bind(&mut self, _: Fr) {
        match *self {}
    }
}

/// Runs a sumcheck of `rounds` rounds with round polynomials of degree `degree ≥ 2`. Returns the point (first variable first) and the
/// claim on the polynomial at that point. `state` is present at the prover only.
pub fn hidden_sumcheck<P: Party, S: RoundProver + ?Sized>(
    party: &mut P,
    what: &'static str,
    mut claim: Lc,
    rounds: usize,
    degree: usize,
    mut state: Option<&mut S>,
) -> Result<(Vec<Fr>, Lc), VerifyError> {
    let mut point = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let value = party.value(&claim);
        let wires = party.hidden(what, degree, || {
            let state = state.as_mut().expect("the prover has a state");
            let mut c = state.round(value.expect("the prover knows the claim"));
            c.resize(degree + 1, Fr::ZERO);
            c.remove(1);
            c
        })?;
        let r = party.challenge(b"round");
        // g(r) = c_0 (1 − 2r) + claim·r + Σ_{k≥2} c_k (r^k − r)
        claim.scale(r);
        let mut power = r;
        for (k, &wire) in wires.iter().enumerate() {
            if k == 0 {
                claim.add_wire(Fr::ONE - r.double(), wire);
            } else {
                power *= r;
                claim.add_wire(power - r, wire);
            }
        }
        if let Some(state) = state.as_mut() {
            state.bind(r);
        }
        point.push(r);
    }
    Ok((point, claim))
}

/// Coefficients of the polynomial of degree `< values.len()` with the given values at `0, 1, 2, …` (at most 6 values).
pub fn interpolate(values: &[Fr]) -> Vec<Fr> {
    // Newton's divided differences, then expansion of the falling factorials.
    let n = values.len();
    let mut d = values.to_vec();
    for k in 1..n {
        let inv = small_inverse(k);
        for i in (k..n).rev() {
            d[i] = (d[i] - d[i - 1]) * inv;
        }
    }
    let mut coeffs = vec![Fr::ZERO; n];
    for k in (0..n).rev() {
        // coeffs := coeffs · (X − k) + d[k]
        for i in (1..n).rev() {
            coeffs[i] = coeffs[i - 1] - coeffs[i] * Fr::from(k as u64);
        }
        coeffs[0] = d[k] - coeffs[0] * Fr::from(k as u64);
    }
    coeffs
}

fn small_inverse(k: usize) -> Fr {
    // 1/k for k = 1..=5 is needed in every round of every sumcheck.
    static TABLE: std::sync::OnceLock<Vec<Fr>> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| (1..16u64).map(|k| Fr::from(k).inverse().unwrap_or_default()).collect())[k - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_reproduces_the_values() {
        for n in 1..=6u64 {
            let values: Vec<Fr> = (0..n).map(|i| Fr::from(7 * i * i * i + 3 * i + 11)).collect();
            let c = interpolate(&values);
            for (i, v) in values.iter().enumerate() {
                let x = Fr::from(i as u64);
                assert_eq!(c.iter().rev().fold(Fr::ZERO, |acc, c| acc * x + c), *v);
            }
        }
    }
}
