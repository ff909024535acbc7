//! Sumcheck with hidden messages, each about one or several variables.
//!
//! # Protocol
//! A message is a polynomial `g` in the next `v` variables, of degree `d` in each: their round polynomials in one. The claim is a mean of `g` over `{0,1}^v`: variable `i` has
//! weight `1 − e_i` at 0 and `e_i` at 1, where `e_i` is a coordinate of the claim's point ([`Weights::Eq`]: the factor `eq` is no part of `g`), or `e_i = 1/2` and the claim is
//! divided by `2^v` ([`Weights::Sum`]). So `claim = Σ_k c_k Π_i e_i^[k_i > 0]`.
//!
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | message | hidden coefficients `c_k` of `g = Σ_k c_k Π_i X_i^{k_i}`, all but the constant one | `c_0 = claim − Σ_{k≠0} c_k Π_i e_i^[k_i > 0]` by definition | [`hidden_sumcheck`] |
//! | | | draws `r_1, …, r_v`; `claim := g(r)`, a linear combination of wires | |
//!
//! # Cost and soundness
//! A message of `v` variables has `(d + 1)^v − 1` values. Of the last variables as many share a message as fit into one row, three if `d = 2`; those before, whose tables are
//! large, have messages of their own, which cost the prover less. No constraint: everything is linear. A false claim makes `g` another polynomial than the true one; they agree at
//! a random point with probability at most `v d / |F|` (Schwartz–Zippel), so the error is `rounds · d / |F|` however the variables are grouped (Thaler, §4.1).

use crate::circuit::{Lc, ROW};
use crate::error::VerifyError;
use crate::party::Party;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::Fr;

/// What a prover does in a sumcheck.
pub trait RoundProver {
    /// Coefficients `c_0..c_d` of the round polynomial, lowest first, given the current claim. Under [`Weights::Sum`] `c_1` may have any value: it follows from the claim.
    fn round(&mut self, claim: Fr) -> Vec<Fr>;
    /// Coefficients of the polynomial in the next `variables ≥ 2` variables: that of `Π_i X_i^{k_i}` at `Σ_i k_i (d + 1)^i`, the first variable being `X_0`. The constant one may
    /// have any value: it follows from the claim.
    fn joint(&mut self, variables: usize) -> Vec<Fr>;
    /// Binds the current variable to `r`.
    fn bind(&mut self, r: Fr);
    /// Binds the variables of a message.
    fn bind_all(&mut self, challenges: &[Fr]) {
        challenges.iter().for_each(|r| self.bind(*r));
    }
}

/// The state of a party that proves nothing.
#[derive(Debug)]
pub enum NoProver {}

impl RoundProver for NoProver {
    fn round(&mut self, _claim: Fr) -> Vec<Fr> {
        match *self {}
    }
    fn joint(&mut self, _variables: usize) -> Vec<Fr> {
        match *self {}
    }
    fn bind(&mut self, _r: Fr) {
        match *self {}
    }
}

/// What a claim is, of the values on the cube.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Their sum.
    Sum,
    /// Their mean with weights `eq(point, ·)`; the point's coordinates in the order in which variables are bound.
    Eq(&'a [Fr]),
}

/// Numbers of variables of the messages of a sumcheck: one each for all but the last `late` variables, which share messages as far as they fit into one row.
fn schedule(rounds: usize, degree: usize, late: usize) -> Vec<usize> {
    let mut most = 1;
    while (degree + 1).pow(most as u32 + 1) <= ROW + 1 {
        most += 1;
    }
    let late = late.min(rounds);
    let mut messages = vec![1; rounds - late];
    // The smaller message comes first, where tables are larger.
    messages.extend(Some(late % most).filter(|rest| *rest > 0));
    messages.extend(std::iter::repeat_n(most, late / most));
    messages
}

/// Number of messages, and of rows if `degree` is at most [`ROW`].
pub(crate) fn messages(rounds: usize, degree: usize, late: usize) -> usize {
    schedule(rounds, degree, late).len()
}

/// `Π_i powers_i(k_i)` for all exponents, in the order of a message's coefficients.
fn products(variables: &[Fr], powers: impl Fn(Fr) -> Vec<Fr>) -> Vec<Fr> {
    variables.iter().fold(vec![Fr::ONE], |before, x| powers(*x).iter().flat_map(|p| before.iter().map(move |b| *b * p)).collect())
}

/// Runs a sumcheck of `rounds` variables with polynomials of degree `degree ≥ 2` in each, in which the last `late` variables share messages. Returns the point (first variable
/// first) and the claim on the polynomial at that point. `state` is present at the prover only.
#[allow(clippy::too_many_arguments)]
pub fn hidden_sumcheck<P: Party, S: RoundProver + ?Sized>(
    party: &mut P,
    what: &'static str,
    mut claim: Lc,
    weights: Weights<'_>,
    rounds: usize,
    degree: usize,
    late: usize,
    mut state: Option<&mut S>,
) -> Result<(Vec<Fr>, Lc), VerifyError> {
    // A point of another length would leave coefficients without effect.
    if degree == 0 || matches!(weights, Weights::Eq(coordinates) if coordinates.len() != rounds) {
        return Err(VerifyError::Key("a sumcheck's degree and point do not fit it".into()));
    }
    let half = Fr::from(2u64).inverse().unwrap_or_default();
    let mut point = Vec::with_capacity(rounds);
    for variables in schedule(rounds, degree, late) {
        let value = party.value(&claim);
        let wires = party.hidden(what, (degree + 1).pow(variables as u32) - 1, || {
            let state = state.as_mut().expect("the prover has a state");
            let mut c = match variables {
                1 => {
                    let claim = value.expect("the prover knows the claim");
                    let mut c = state.round(claim);
                    c.resize(degree + 1, Fr::ZERO);
                    if let Weights::Sum = weights {
                        c[1] = claim - c[0].double() - c[2..].iter().sum::<Fr>();
                    }
                    c
                }
                _ => state.joint(variables),
            };
            c.remove(0);
            c
        })?;
        let challenges = party.challenges(b"round", variables);
        let means = match weights {
            Weights::Sum => {
                claim.scale(half.pow([variables as u64]));
                vec![half; variables]
            }
            Weights::Eq(coordinates) => coordinates.iter().skip(point.len()).take(variables).copied().collect(),
        };
        // g(r) = claim + Σ_{k≠0} c_k (Π r_i^{k_i} − Π e_i^[k_i > 0])
        let at = products(&challenges, |r| std::iter::successors(Some(Fr::ONE), |p| Some(*p * r)).take(degree + 1).collect());
        let mean = products(&means, |e| std::iter::once(Fr::ONE).chain(std::iter::repeat_n(e, degree)).collect());
        for (&wire, (at, mean)) in wires.iter().zip(at.iter().zip(&mean).skip(1)) {
            claim.add_wire(*at - mean, wire);
        }
        if let Some(state) = state.as_mut() {
            state.bind_all(&challenges);
        }
        point.extend(challenges);
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
