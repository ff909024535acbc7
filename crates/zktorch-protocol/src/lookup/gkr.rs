//! The tree of fractions: a sum of `2^N` hidden fractions is zero, and no denominator is.
//!
//! Node `i` of layer `k` is the fraction `p_i/q_i`, the sum of nodes `2i` and `2i+1` of layer `k+1`; layer `N` are the leaves.

use super::prover::Tree;
use crate::circuit::{Lc, Product, ROW, Wire};
use crate::error::VerifyError;
use crate::party::Party;
use crate::sumcheck::{Weights, hidden_sumcheck};
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, mle};

/// Largest logarithm of the layer that is sent as a whole. Its `2^3` nodes fill a row of wires (see [`NODE`]). From `2^4` on nothing more is saved.
const TOP_BITS: usize = 3;
/// Variables of a layer that no sumcheck binds: the children of the `2^3` nodes that are left fill a row of wires. One node's children would take a row, too, and the sumcheck of
/// three variables another.
const TAIL_BITS: usize = 3;
/// log2 of the nodes from which on variables share messages.
pub(super) const LATE_BITS: usize = 12;

/// What remains to be shown about the leaves.
pub(super) struct LeafClaim {
    /// The point, one coordinate per leaf variable, most significant first.
    pub point: Vec<Fr>,
    /// The claimed extension of the numerators.
    pub p: Lc,
    /// The claimed extension of the denominators.
    pub q: Lc,
}

/// Reduces "the fractions at the `2^bits` leaves sum to zero and none has denominator zero" to a claim on the leaves. `bits ≥ 1`; `tree` is
/// present at the prover only.
pub(super) fn fractions_sum_to_zero<P: Party>(
    party: &mut P,
    bits: usize,
    mut tree: Option<&mut Tree<'_>>,
) -> Result<LeafClaim, VerifyError> {
    let top = TOP_BITS.min(bits - 1);
    let mut claim = top_layer(party, top, tree.as_deref_mut())?;
    for layer in top..bits {
        claim = step(party, layer, claim, tree.as_deref_mut())?;
    }
    Ok(claim)
}

/// Values of a node: in the top layer its numerator, denominator, the denominator's inverse, the quotient; in others the numerators and the denominators of its two children.
const NODE: usize = 4;
const _: () = assert!(ROW.is_multiple_of(NODE));

/// Sends layer `top` and shows that its fractions exist and sum to zero.
fn top_layer<P: Party>(party: &mut P, top: usize, tree: Option<&mut Tree<'_>>) -> Result<LeafClaim, VerifyError> {
    let n = 1usize << top;
    let wires = party.hidden("lookup top layer", NODE * n, || {
        let (p, q) = tree.expect("the prover has a tree").take_layer(top);
        let mut inverse = q.clone();
        zktorch_algebra::batch_inverse(&mut inverse);
        p.into_iter().zip(q).zip(inverse).flat_map(|((p, q), i)| [p, q, i, p * i]).collect()
    })?;
    let nodes = wires.as_chunks::<NODE>().0;
    let circuit = party.circuit();
    let mut sum = Lc::zero();
    for &[p, q, inverse, quotient] in nodes {
        // q · q⁻¹ = 1 and p · q⁻¹ = quotient
        circuit.quadratic(Lc::constant(-Fr::ONE), vec![Product { coefficient: Fr::ONE, a: q, b: inverse }]);
        circuit.quadratic(Lc::wire(quotient).scaled(-Fr::ONE), vec![Product { coefficient: Fr::ONE, a: p, b: inverse }]);
        sum.add_wire(Fr::ONE, quotient);
    }
    circuit.zero(sum);
    let point = party.challenges(b"lookup top point", top);
    let weights = mle::eq_table(&point);
    let combine =
        |of: fn(&[Wire; NODE]) -> Wire| Lc { terms: nodes.iter().map(of).zip(weights.iter().copied()).collect(), constant: Fr::ZERO };
    Ok(LeafClaim { p: combine(|n| n[0]), q: combine(|n| n[1]), point })
}

/// From a claim on layer `layer` to one on the layer below: a sumcheck over all but the first [`TAIL_BITS`] variables, then the nodes that are left.
fn step<P: Party>(party: &mut P, layer: usize, claim: LeafClaim, tree: Option<&mut Tree<'_>>) -> Result<LeafClaim, VerifyError> {
    let lambda = party.challenge(b"lookup lambda");
    let mut combined = claim.p;
    combined.add_scaled(lambda, &claim.q);
    let mut state = tree.map(|t| t.layer_sumcheck(layer, &claim.point, lambda));
    let tail = TAIL_BITS.min(layer);
    let (high, low) = claim.point.split_at(tail);
    // Variables are bound from the least significant one on.
    let weights: Vec<Fr> = low.iter().rev().copied().collect();
    let late = LATE_BITS - TAIL_BITS;
    let (mut bound, value) = hidden_sumcheck(party, "lookup round", combined, Weights::Eq(&weights), low.len(), 2, late, state.as_mut())?;
    bound.reverse();
    let wires = party.hidden("lookup nodes", NODE << tail, || state.expect("the prover has a state").tail(tail))?;
    let nodes = wires.as_chunks::<NODE>().0;
    // Σ_x eq(r, x) ((p0 + λ q0) q1 + p1 q0)(x) = value over the nodes that are left
    let mut products = Vec::with_capacity(3 * nodes.len());
    for (&[p0, p1, q0, q1], &eq) in nodes.iter().zip(&mle::eq_table(high)) {
        let product = |k: Fr, a: Wire, b: Wire| Product { coefficient: k * eq, a, b };
        products.extend([product(Fr::ONE, p0, q1), product(lambda, q0, q1), product(Fr::ONE, p1, q0)]);
    }
    party.circuit().quadratic(value.scaled(-Fr::ONE), products);
    let mut point = party.challenges(b"lookup nodes", tail);
    let mu = party.challenge(b"lookup mu");
    let weights = mle::eq_table(&point);
    let between = |low: fn(&[Wire; NODE]) -> Wire, high: fn(&[Wire; NODE]) -> Wire| {
        let terms = nodes.iter().zip(&weights).flat_map(|(n, w)| [(low(n), *w * (Fr::ONE - mu)), (high(n), *w * mu)]);
        Lc { terms: terms.collect(), constant: Fr::ZERO }
    };
    point.append(&mut bound);
    point.push(mu);
    Ok(LeafClaim { point, p: between(|n| n[0], |n| n[1]), q: between(|n| n[2], |n| n[3]) })
}
