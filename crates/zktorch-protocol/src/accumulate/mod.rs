//! Accumulation: proofs fold pairwise, and only the last accumulator is decided.
//!
//! # Relation
//! Mira (Beal and Fisch, ePrint 2024/2025) accumulates arguments whose messages are homomorphic commitments and whose verifier is an algebraic map of low degree. Its vocabulary, here:
//!
//! | Mira | here | code |
//! | --- | --- | --- |
//! | prover messages `pi` | hidden wires `w`, in rows of 32, and the vector behind the opening claim | [`Accumulator`] |
//! | their commitments `[C_i]` | one Pedersen commitment per row; the claim's commitment | `Total::rows`, [`OpenClaim::commitment`] |
//! | challenges `[r_i]` | what the verifier computes from them: the coefficients `(x, y, c)` of the verifier circuit's form, and the claim's kernel `k` | [`Form`], [`OpenClaim::kernel`] |
//! | slack `μ` | `u`: 1 in a fresh accumulator | `Total::slack` |
//! | error `E` | `e`, committed; 0 in a fresh accumulator. The claim's value is its own error term | `Total::error`, [`OpenClaim::value`] |
//!
//! An accumulator stands for `u ⟨x, w⟩ + Σ y_{i,ab} w_{i,a} w_{i,b} + u² c = e` and `⟨k, p⟩ = v`. The first is homogeneous of degree 3 in `(x, y, c, u, w)`, the second of degree 2 in
//! `(k, p)`. Every circuit has this one shape (shorter ones count as padded with zeros), so any two accumulators fold: of different segments of a model, of different
//! inferences, fresh or folded before.
//!
//! # Protocol
//! A *leaf* is the run of [`crate::prove`]'s steps up to the claim, for one program and one witness. `fold(A, B)`, all parts of `B` with weight `ρ`:
//!
//! | step | prover sends | verifier | code |
//! | --- | --- | --- | --- |
//! | 1 | commitments to the cross terms `t_1, t_2` of the form and, in the clear, `s = ⟨k_A, p_B⟩ + ⟨k_B, p_A⟩` | absorbs the digests of `A` and `B`, draws `ρ` | `fold_messages` |
//! | 2 | | `(x, y, c, u, w, k, p) = A + ρB`, `e = e_A + ρ t_1 + ρ² t_2 + ρ³ e_B`, `v = v_A + ρ s + ρ² v_B`; the digest of the result | [`Accumulator::fold`], `replay` |
//!
//! The folds form a binary tree over the leaves, of any shape: the statement is the list of leaves. The verifier replays every leaf's transcript and every fold and adds nothing up before the end: the weight of
//! a leaf is the product of the `ρ` on its path, so all commitments of all leaves go into the decider's one multi-scalar multiplication.
//!
//! # Cost and soundness
//! A fold sends 96 bytes and costs the prover four multiplications per cell of `p` and some per wire, without a large multi-scalar multiplication and without an opening; the verifier pays three group
//! operations in the last multi-scalar multiplication. Completeness is perfect. Soundness: if `A` or `B` is wrong, the result is wrong except with probability `3/|F| + 2/|F|`: the cross terms are fixed
//! before `ρ`, and the two equations are polynomials in `ρ` of degree 3 and 2 whose coefficients are the errors of `A` and `B` (Schwartz–Zippel). A tree of `N` leaves has `N − 1` folds: `5 N/|F|`. Extraction is straight-line in
//! the algebraic group model: whoever makes a commitment shows what is in it.
//!
//! Zero knowledge: `t_1, t_2` are hidden. `p` of every leaf is uniformly random over its whole length (it contains the mask `g` of [`crate::opening`]), and `s` is a function of such vectors alone.
//!
//! # Departures
//! Mira folds a fresh proof into an accumulator, one after the other; the parallel form folds accumulator with accumulator (degree 3 in `ρ` instead of 2 and one more cross term). Mira's challenges are a part of the instance; here it is the coefficients that
//! they determine, so the verifier's map is of degree 3 whatever the number of rounds, and nothing that a challenge multiplies has to be committed.

use crate::circuit::Form;
use crate::error::VerifyError;
use crate::opening::OpenClaim;
use crate::party::{Party, Verifier};
use crate::transcript::Transcript;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, G1Affine};

/// What stands for everything that an accumulator contains.
pub type Digest = [u8; 32];

/// The public part of an accumulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total {
    /// Binds everything below.
    pub digest: Digest,
    /// The verifier circuit.
    pub form: Form,
    /// `u`.
    pub slack: Fr,
    /// The opening claim.
    pub claim: OpenClaim,
    /// Row commitments of the leaves, each leaf with its weight (verifier).
    pub rows: Vec<(Fr, Vec<G1Affine>)>,
    /// The commitment to `e` as a linear combination (verifier).
    pub error: Vec<(Fr, G1Affine)>,
}

impl Total {
    /// A fresh accumulator.
    pub fn fresh(digest: Digest, form: Form, claim: OpenClaim, rows: Vec<G1Affine>) -> Total {
        Total { digest, form, slack: Fr::ONE, claim, rows: vec![(Fr::ONE, rows)], error: Vec::new() }
    }
}

/// The messages of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Commitments to `t_1` and `t_2`.
    pub cross: [G1Affine; 2],
    /// `s`.
    pub claim: Fr,
}

/// The messages of a fold, the weight `ρ` of the right one and the digest of the result. `messages` runs at the prover only.
pub(crate) fn fold_messages<P: Party>(
    party: &mut P,
    left: &Digest,
    right: &Digest,
    messages: Option<Messages>,
) -> Result<(Messages, Fr, Digest), VerifyError> {
    *party.transcript() = Transcript::new();
    party.transcript().absorb_bytes(b"left accumulator", left);
    party.transcript().absorb_bytes(b"right accumulator", right);
    let mut cross = [G1Affine::identity(); 2];
    for (k, slot) in cross.iter_mut().enumerate() {
        *slot = party.point("fold cross term", || messages.map_or(G1Affine::identity(), |m| m.cross[k]))?;
    }
    let claim = party.scalar("fold claim", || messages.map_or(Fr::ZERO, |m| m.claim))?;
    let rho = party.challenge(b"fold");
    Ok((Messages { cross, claim }, rho, party.transcript().digest()))
}

/// The transcript of the decider of an accumulator.
pub(crate) fn decider_transcript(digest: &Digest) -> Transcript {
    let mut transcript = Transcript::new();
    transcript.absorb_bytes(b"accumulator", digest);
    transcript
}

/// A node of the tree of folds while it is replayed.
enum Node {
    Leaf(usize),
    Fold { left: usize, right: usize, messages: Messages, rho: Fr },
}

/// Reads the folds of a proof of `leaves.len() ≥ 1` leaves and adds everything up. Each fold says how many leaves come before it in the order "left, right, fold" of the tree.
pub(crate) fn replay(verifier: &mut Verifier<'_>, leaves: Vec<Total>) -> Result<Total, VerifyError> {
    if leaves.len() == 1 {
        return leaves.into_iter().next().ok_or(VerifyError::Tree);
    }
    let mut nodes: Vec<(Node, Digest)> = Vec::with_capacity(2 * leaves.len());
    let mut stack: Vec<usize> = Vec::new();
    let mut pushed = 0;
    for done in 1..leaves.len() {
        // A dry run folds one leaf after the other.
        let before = verifier.count("fold position", done as u32 + 1)? as usize;
        if before < pushed || before > leaves.len() {
            return Err(VerifyError::Tree);
        }
        for (leaf, total) in leaves.iter().enumerate().take(before).skip(pushed) {
            stack.push(nodes.len());
            nodes.push((Node::Leaf(leaf), total.digest));
        }
        pushed = before;
        let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { return Err(VerifyError::Tree) };
        let (messages, rho, digest) = fold_messages(verifier, &nodes[left].1, &nodes[right].1, None)?;
        stack.push(nodes.len());
        nodes.push((Node::Fold { left, right, messages, rho }, digest));
    }
    // A tree with one root takes all leaves; the last fold is the root.
    let (&[root], true) = (&stack[..], pushed == leaves.len()) else { return Err(VerifyError::Tree) };
    let mut total = Total { digest: nodes[root].1, ..Total::default() };
    // Weights of a node's linear parts, its claim's value and its error.
    let mut weights = vec![[Fr::ONE; 3]; nodes.len()];
    let mut leaves: Vec<Option<Total>> = leaves.into_iter().map(Some).collect();
    for index in (0..=root).rev() {
        let [linear, value, error] = weights[index];
        match &nodes[index].0 {
            Node::Leaf(leaf) => {
                let Some(leaf) = leaves[*leaf].take() else { return Err(VerifyError::Tree) };
                add_leaf(&mut total, leaf, linear, value);
            }
            Node::Fold { left, right, messages, rho } => {
                let square = rho.square();
                weights[*left] = [linear, value, error];
                weights[*right] = [linear * rho, value * square, error * square * rho];
                total.claim.value += value * rho * messages.claim;
                total.error.extend([(error * rho, messages.cross[0]), (error * square, messages.cross[1])]);
            }
        }
    }
    Ok(total)
}

fn add_leaf(total: &mut Total, leaf: Total, weight: Fr, value_weight: Fr) {
    total.form.add_scaled(weight, &leaf.form);
    total.slack += weight * leaf.slack;
    total.claim.bits = total.claim.bits.max(leaf.claim.bits);
    total.claim.kernel.extend(leaf.claim.kernel.into_iter().map(|(k, point)| (weight * k, point)));
    total.claim.value += value_weight * leaf.claim.value;
    total.claim.commitment.extend(leaf.claim.commitment.into_iter().map(|(k, c)| (weight * k, c)));
    total.rows.extend(leaf.rows.into_iter().map(|(k, rows)| (weight * k, rows)));
    // A leaf's error is zero.
}

#[cfg(feature = "prover")]
mod prover;
#[cfg(feature = "prover")]
pub use prover::{Accumulator, AccumulatorError};
#[cfg(all(test, feature = "prover"))]
#[allow(clippy::unwrap_used)]
mod tests;
