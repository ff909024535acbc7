//! One argument for all lookups of a program.
//!
//! # Relation
//! For every lookup of the program and every site `i` of its box, `(V_1[i], …, V_a[i])` is a row of the lookup's table. The prover knows the
//! heap, the parameters and, for each table, how often each row is looked up (multiplicities, on the heap).
//!
//! # Protocol
//! Haböck's LogUp (ePrint 2022/1530) over a tree of fractions, the GKR way (Papini and Haböck, ePrint 2023/1284). With
//! `fp(v) = Σ_c β^c v_c + β^K (table + 1)`, `K` the largest number of columns, the lookups hold if and only if (up to the error below)
//! `Σ_sites 1/(α − fp(site)) − Σ_tables Σ_j m_j/(α − fp(row_j)) = 0`.
//!
//! | step | prover sends | verifier checks or samples | code |
//! | --- | --- | --- | --- |
//! | 0 | commitments of heap and multiplicities | absorbed by the caller | |
//! | 1 | | `r_inner` per table of rows: its content is read as one value `Σ_inner eq(r_inner, inner) · view[j, inner]`; then `α`, `β` | [`lookup_argument`] |
//! | 2 | hidden `p_i, q_i, q_i^{-1}, p_i/q_i` for the 8 nodes of layer 3 | `q_i q_i^{-1} = 1`, quotients, their sum is 0; draws a point of the layer | `gkr` |
//! | 3, per layer | | `λ` | `gkr` |
//! | | hidden messages for `Σ_x eq(r,x)((p_0 + λ q_0) q_1 + p_1 q_0)(x) = p̃(r) + λ q̃(r)`, up to the last three variables | their challenges | [`crate::sumcheck`] |
//! | | hidden `p_0, p_1, q_0, q_1` of the 8 nodes that are left | the sum over them, with 24 products; draws three coordinates and `μ`, which completes the point: the claims on the next layer | `gkr` |
//! | 4 | hidden value of each column of each block of leaves that the verifier does not know | two linear constraints: the leaves' numerators and denominators; a [`Claim`] per committed column, a [`VirtualClaim`] for others | `leaves` |
//!
//! The verifier evaluates ranges, function tables, constants and public tensors itself.
//!
//! # Cost and soundness
//! With `2^N` leaves (sites and table rows, padded: see `layout`): prover about 10 field multiplications per leaf (2 for the tree, 2.5 in the
//! sumcheck above the leaves, 5 in all others), about 4 where leaves look up ranges, and about two field elements of memory per leaf; proof `N²/6 + O(N)` rows of 32 bytes, two thirds of a row more
//! for each variable beyond 12 of a layer, and a row per 32 columns of blocks; verifier circuit one constraint per layer. Leaves past the last block cost nothing.
//! `examples/lookup.rs` measures it.
//!
//! Error, over the challenges in the order in which they are drawn, `F` the scalar field:
//! * `(K + inner variables) · 2^N / |F|`: if some site is no row, then the sum of fractions is not zero as a rational function of `α`
//!   over `F(β, r_inner)` (a pole at the site's fingerprint remains: 2022/1530, Lemma 5, which needs fewer than `|F|` sites); its numerator has
//!   total degree at most `(K + inner variables) · 2^N` (Schwartz–Zippel).
//! * `3/|F|` for the point of the top layer.
//! * per layer of `2^k` nodes: `1/|F|` for `λ`, `2(k − 3)/|F|` for the sumcheck, `4/|F|` for the point of the nodes and `μ` (2023/1284): below `(N² + 5N)/|F|` in all.
//!
//! # Departures
//! * All messages are hidden; the checks are constraints of the verifier circuit.
//! * The root is not sent: layer 3 is, and its quotients sum to zero. All its denominators are inverted in the circuit, so no leaf has
//!   denominator zero.
//! * Tables that no lookup uses have no leaves; their multiplicities are unconstrained, and nothing depends on them.
//! * Tables with secret content are compressed by a random point rather than by powers of `β`: their columns become claims like all others.
//! * A layer's sumcheck runs over `h = (p_0 + λ q_0) q_1 + p_1 q_0` alone, of degree 2: the factor `eq` is known (Gruen). It ends three variables early, with the nodes themselves.
//! * Prover: variables are bound from the least significant one on, so that the unused tail of the leaves stays unused in every round; `eq` is
//!   split (Gruen, ePrint 2024/108); numerators that are all 1 are never stored.
//! * Prover: leaves that look up a range are `α − x` for small integers `x`. The two layers above them, and the first three rounds of the two lowest
//!   sumchecks, are sums of small integers times scalars (small-value sumcheck, after Bagad, Domb and Thaler): no table of the leaves exists.

mod gkr;
mod layout;
mod leaves;
#[cfg(feature = "prover")]
mod prover;
#[cfg(not(feature = "prover"))]
#[path = "no_prover.rs"]
mod prover;
#[cfg(feature = "prover")]
mod round;
#[cfg(feature = "prover")]
mod sites;
mod table;
#[cfg(all(test, feature = "prover"))]
mod tests;
#[cfg(feature = "prover")]
mod tree;

use crate::claims::{Claim, VirtualClaim, index_bits};
use crate::error::VerifyError;
use crate::party::Party;
use crate::witness::Witness;
use ark_ff::Field;
use layout::Layout;
use zktorch_algebra::Fr;
use zktorch_program::{Program, Table};

/// The challenges that make one field element of a table row.
struct Fingerprint {
    /// The pole of a fingerprint `f` is at `α = f`.
    alpha: Fr,
    /// `β^0..=β^K`.
    beta: Vec<Fr>,
    /// For each table the point at which a row's content is read: a coordinate per bit of each inner axis.
    inner: Vec<Vec<Fr>>,
}

impl Fingerprint {
    /// Draws the challenges.
    fn draw<P: Party>(party: &mut P, program: &Program) -> Fingerprint {
        let inner = program.tables.iter().map(|t| match t {
            Table::Rows { view, .. } => view.axes.iter().skip(1).map(|a| index_bits(a.size)).sum(),
            _ => 0,
        });
        let inner = inner.map(|n| party.challenges(b"lookup inner point", n)).collect();
        let alpha = party.challenge(b"lookup alpha");
        let step = party.challenge(b"lookup beta");
        let columns = program.tables.iter().map(Table::columns).max().unwrap_or(0);
        let beta = std::iter::successors(Some(Fr::ONE), |b| Some(*b * step)).take(columns + 1).collect();
        Fingerprint { alpha, beta, inner }
    }

    /// `α − β^K (table + 1)`: the denominator without the columns.
    fn constant(&self, table: usize) -> Fr {
        let separator = self.beta.last().copied().unwrap_or(Fr::ONE);
        self.alpha - separator * Fr::from(table as u64 + 1)
    }
}

/// What both parties agree on once the challenges are drawn.
#[derive(Clone, Copy)]
struct Statement<'a> {
    program: &'a Program,
    publics: &'a [Vec<i64>],
    layout: &'a Layout,
    fingerprint: &'a Fingerprint,
}

/// Shows that every lookup of the program holds, up to the claims that it appends to `claims` and those on virtual regions that it returns. To be called after the commitments of the heap
/// (with the multiplicities) have been absorbed; `program` has passed [`Program::validate`] and `publics` has the lengths that it states.
/// `witness` is present at the prover only. Without lookups nothing happens.
///
/// # Errors
/// [`VerifyError::Truncated`] and [`VerifyError::BadPoint`] for a broken proof, [`VerifyError::Key`] for more than `2^40` lookups.
pub fn lookup_argument<P: Party>(
    party: &mut P,
    program: &Program,
    publics: &[Vec<i64>],
    witness: Option<Witness<'_>>,
    claims: &mut Vec<Claim>,
) -> Result<Vec<VirtualClaim>, VerifyError> {
    let Some(layout) = Layout::new(program)? else {
        return Ok(Vec::new());
    };
    let fingerprint = Fingerprint::draw(party, program);
    let statement = Statement { program, publics, layout: &layout, fingerprint: &fingerprint };
    let prover = witness.and_then(|w| prover::LookupProver::new(statement, w));
    let claim = {
        let mut tree = prover.as_ref().map(|p| p.tree());
        gkr::fractions_sum_to_zero(party, layout.bits, tree.as_mut())?
    };
    leaves::open_leaves(party, &statement, claim, prover.as_ref(), claims)
}
