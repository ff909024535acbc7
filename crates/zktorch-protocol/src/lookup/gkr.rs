//! The tree of fractions: a sum of `2^N` hidden fractions is zero, and no denominator is.
//!
//! Node `i` of layer `k` is the fraction `p_i/q_i`, the sum of nodes `2i` and `2i+1` of layer `k+1`; layer `N` are the leaves.

use super::prover::Tree;
use crate::circuit::{Lc, Product, ROW, Wire};
use crate::error::VerifyError;
use crate::party::Party;
use crate::sumcheck::hidden_sumcheck;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, mle};

/// Largest logarithm of the layer that is sent as a whole. Its `2^3` nodes take 4 rows of wires (see [`NODE`]); the three layers of sumchecks above it would take 6 and the root one. From `2^4` on nothing more is saved.
const TOP_BITS: usize = 3;

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

/// Values of a node that the top layer sends: numerator, denominator, its inverse, the quotient. Two nodes make a row.
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

/// From a claim on layer `layer` to one on the layer below.
fn step<P: Party>(party: &mut P, layer: usize, claim: LeafClaim, tree: Option<&mut Tree<'_>>) -> Result<LeafClaim, VerifyError> {
    let lambda = party.challenge(b"lookup lambda");
    let mut combined = claim.p;
    combined.add_scaled(lambda, &claim.q);
    let mut state = tree.map(|t| t.layer_sumcheck(layer, &claim.point, lambda));
    let (mut point, value) = hidden_sumcheck(party, "lookup round", combined, layer, 3, state.as_mut())?;
    // Variables are bound from the least significant one on.
    point.reverse();
    let wires = party.hidden("lookup children", 4, || state.expect("the prover has a state").children().to_vec())?;
    let &[p0, p1, q0, q1] = &wires[..] else { unreachable!("a message has the announced length") };
    // eq(r, x) · ((p0 + λ q0) q1 + p1 q0) = value
    let eq = mle::eq_eval(&claim.point, &point);
    let product = |k: Fr, a: Wire, b: Wire| Product { coefficient: k * eq, a, b };
    party.circuit().quadratic(value.scaled(-Fr::ONE), vec![product(Fr::ONE, p0, q1), product(lambda, q0, q1), product(Fr::ONE, p1, q0)]);
    let mu = party.challenge(b"lookup mu");
    let between = |low: Wire, high: Wire| Lc { terms: vec![(low, Fr::ONE - mu), (high, mu)], constant: Fr::ZERO };
    point.push(mu);
    Ok(LeafClaim { point, p: between(p0, p1), q: between(q0, q1) })
}
