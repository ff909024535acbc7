//! The whole protocol: one function, run by both parties.

use crate::accumulate::{Digest, Total, decider_transcript, replay};
use crate::circuit::Form;
use crate::claims::{Vector, index_bits};
use crate::decider::decide;
use crate::error::VerifyError;
use crate::identities::identity_argument;
use crate::keys::{VerifyingKey, matrix_row_bits};
use crate::lookup::lookup_argument;
use crate::opening::{OpenClaim, OpeningSecrets, RowVector, open_rows};
use crate::party::{Party, Verifier};
use crate::reduce::reduce_claims;
use crate::transcript::Transcript;
use crate::witness::Witness;
use zktorch_algebra::{Fr, G1Affine, g1_to_bytes};
use zktorch_program::Program;

/// A step of proving or verifying, for progress displays and timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The proof's bytes become points (verifier).
    Decode,
    /// Commits to the heap.
    Commit,
    /// The lookup argument.
    Lookups,
    /// The identities' sumcheck.
    Identities,
    /// All claims on the heap become one.
    Claims,
    /// Row claims become one public claim.
    Rows,
    /// The verifier circuit is proved.
    Decider,
    /// The polynomial opening. The verifier's part is one multi-scalar multiplication.
    Opening,
    /// The opening's last check (verifier).
    Pairing,
}

impl Phase {
    /// Short name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Decode => "decode",
            Phase::Commit => "commit",
            Phase::Lookups => "lookups",
            Phase::Identities => "identities",
            Phase::Claims => "claims",
            Phase::Rows => "rows",
            Phase::Decider => "decider",
            Phase::Opening => "opening",
            Phase::Pairing => "pairing",
        }
    }
}

/// What one leaf of a proof is about: an inference, a batch of them, or a segment of one.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The verifying key's program, or one that both parties derive from it.
    pub program: &'a Program,
    /// Tells derived programs and their places apart; empty for the key's own program.
    pub label: &'a [u8],
    /// Any bytes that the proof shall be bound to.
    pub context: &'a [u8],
    /// The public tensors, in the program's order.
    pub publics: &'a [Vec<i64>],
    /// Rows of the heap that other leaves commit to.
    pub imports: &'a [Import],
}

/// Rows of a leaf's heap that are rows of another leaf's heap: one commitment for both, so they cannot differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import {
    /// First row in this leaf's heap.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the other leaf, which comes earlier.
    pub from_leaf: usize,
    /// First row in its heap.
    pub from_row: usize,
}

impl<'a> Statement<'a> {
    /// One inference of a key's own program.
    pub fn of(key: &'a VerifyingKey, context: &'a [u8], publics: &'a [Vec<i64>]) -> Statement<'a> {
        Statement { program: &key.program, label: &[], context, publics, imports: &[] }
    }

    /// A transcript that has absorbed the statement: the verifying key (by digest: program, tables, visibilities, parameter commitments), which program is derived from it, the
    /// caller's context and the public tensors, each by its BLAKE3 digest. Imported rows are absorbed with the others.
    pub(crate) fn transcript(&self, key_digest: &[u8; 32]) -> Transcript {
        let mut t = Transcript::new();
        t.absorb_bytes(b"verifying key", key_digest);
        t.absorb_bytes(b"derived program", self.label);
        t.absorb_bytes(b"context", self.context);
        t.absorb_bytes(b"public tensors", &(self.publics.len() as u64).to_le_bytes());
        for values in self.publics {
            let mut bytes = vec![0u8; 8 * values.len()];
            bytes.as_chunks_mut::<8>().0.iter_mut().zip(values).for_each(|(bytes, v)| *bytes = v.to_le_bytes());
            // A digest stands for what may be megabytes: the transcript's permutation is slower than BLAKE3 by far.
            t.absorb_bytes(b"public tensor digest", blake3::hash(&bytes).as_bytes());
        }
        t
    }

    /// Where a row of the heap comes from, if it is imported: the other leaf and the row in its heap.
    pub fn imported(&self, row: usize) -> Option<(usize, usize)> {
        let import = self.imports.iter().find(|i| row.checked_sub(i.first_row).is_some_and(|k| k < i.rows))?;
        Some((import.from_leaf, import.from_row + (row - import.first_row)))
    }
}

/// What the prover brings to [`leaf`].
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    opening: OpeningSecrets<'a>,
    heap_rows: &'a [G1Affine],
    heap_blinders: &'a [Fr],
    params_blinders: &'a [Fr],
    matrix_blinders: &'a [Vec<Fr>],
}

/// What a leaf ends with.
pub(crate) struct Leaf {
    digest: Digest,
    form: Form,
    claim: OpenClaim,
    heap_rows: Vec<G1Affine>,
}

/// The shared description of a leaf: everything up to the verifier circuit and the opening claim. `imported` gives the commitments of imported rows (verifier).
pub(crate) fn leaf<P: Party>(
    party: &mut P,
    statement: &Statement<'_>,
    key: Option<&VerifyingKey>,
    imported: &dyn Fn(usize, usize) -> Option<G1Affine>,
    secrets: Option<Secrets<'_>>,
    phase: &mut dyn FnMut(Phase),
) -> Result<Leaf, VerifyError> {
    let &Statement { program, publics, .. } = statement;
    let row = 1usize << program.row_bits;
    let mut heap_rows = Vec::new();
    for i in 0..program.heap_len / row {
        let own = secrets.map(|s| s.heap_rows[i]);
        heap_rows.push(match statement.imported(i) {
            None => party.point("heap row", || own.unwrap_or(G1Affine::identity()))?,
            Some((leaf, row)) => {
                let point =
                    own.or_else(|| imported(leaf, row)).ok_or_else(|| VerifyError::Parts("a row that it imports is not there".into()))?;
                party.transcript().absorb_point(b"imported row", &point);
                point
            }
        });
    }
    let witness: Option<Witness<'_>> = secrets.map(|s| s.opening.witness);
    let mut claims = Vec::new();
    phase(Phase::Lookups);
    let virtuals = lookup_argument(party, program, publics, witness, &mut claims)?;
    phase(Phase::Identities);
    identity_argument(party, program, publics, witness, &virtuals, &mut claims)?;
    phase(Phase::Claims);
    let points = reduce_claims(party, program, witness, claims)?;
    phase(Phase::Rows);
    let row_bits = program.row_bits as usize;
    let empty: &[G1Affine] = &[];
    let mut vectors = vec![
        RowVector {
            vector: Vector::Heap,
            row_bits: row_bits.min(index_bits(program.heap_len)),
            commitments: &heap_rows,
            blinders: secrets.map_or(&[], |s| s.heap_blinders),
        },
        RowVector {
            vector: Vector::Params,
            row_bits: row_bits.min(index_bits(program.params_len)),
            commitments: key.map_or(empty, |k| &k.params_rows),
            blinders: secrets.map_or(&[], |s| s.params_blinders),
        },
    ];
    for (m, matrix) in program.matrices.iter().enumerate() {
        vectors.push(RowVector {
            vector: Vector::Matrix(m),
            row_bits: matrix_row_bits(&matrix.shape, program.row_bits),
            commitments: key.and_then(|k| k.matrix_rows.get(m)).map_or(empty, |r| r),
            blinders: secrets.and_then(|s| s.matrix_blinders.get(m)).map_or(&[], |b| b),
        });
    }
    let claim = open_rows(party, points, &vectors, secrets.map(|s| s.opening))?;
    // All messages are fixed: the constraints become one form.
    let gamma = party.challenge(b"constraint batch");
    let form = party.circuit().combine(gamma);
    Ok(Leaf { digest: party.transcript().digest(), form, claim, heap_rows })
}

/// Reads the leaves of a proof, one per statement, without its folds. Returns the heaps' row commitments of each leaf, too.
pub(crate) fn read_leaves<P: Party>(
    party: &mut P,
    key_digest: &[u8; 32],
    statements: &[Statement<'_>],
    key: Option<&VerifyingKey>,
    phase: &mut dyn FnMut(Phase),
) -> Result<(Vec<Total>, Vec<Vec<G1Affine>>), VerifyError> {
    let mut totals = Vec::with_capacity(statements.len());
    let mut heaps: Vec<Vec<G1Affine>> = Vec::with_capacity(statements.len());
    for statement in statements {
        let (total, rows) = read_leaf(party, key_digest, statement, key, &heaps, phase)?;
        totals.push(total);
        heaps.push(rows);
    }
    Ok((totals, heaps))
}

/// Reads one leaf; `heaps` are the row commitments of those before it. Returns its own, too.
fn read_leaf<P: Party>(
    party: &mut P,
    key_digest: &[u8; 32],
    statement: &Statement<'_>,
    key: Option<&VerifyingKey>,
    heaps: &[Vec<G1Affine>],
    phase: &mut dyn FnMut(Phase),
) -> Result<(Total, Vec<G1Affine>), VerifyError> {
    phase(Phase::Commit);
    party.restart(statement.transcript(key_digest));
    let imported = |leaf: usize, row: usize| heaps.get(leaf).and_then(|rows| rows.get(row)).copied();
    let end = leaf(party, statement, key, &imported, None, phase)?;
    let rows = party.restart(Transcript::new()).rows;
    Ok((Total::fresh(end.digest, end.form, end.claim, rows), end.heap_rows))
}

/// Reads the decider of a proof. Returns log2 of the length of the opened vector.
pub(crate) fn read_decider<P: Party>(
    party: &mut P,
    total: Total,
    key: Option<&VerifyingKey>,
    phase: &mut dyn FnMut(Phase),
) -> Result<usize, VerifyError> {
    phase(Phase::Decider);
    party.restart(decider_transcript(&total.digest));
    decide(party, total, key.map(|k| &k.pcs), None, phase)
}

/// What a verified proof shows. Dropping it is accepting a statement that nobody looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    /// Digest of the verifying key: the model.
    pub key_digest: [u8; 32],
    /// The public tensors that were proved, in the program's order.
    pub publics: Vec<Vec<i64>>,
    /// Row commitments of the committed tensors, in the program's order.
    pub committed: Vec<Vec<[u8; zktorch_algebra::G1_BYTES]>>,
}

pub(crate) fn check_publics(program: &Program, publics: &[Vec<i64>]) -> Result<(), VerifyError> {
    if publics.len() != program.publics.len() {
        return Err(VerifyError::PublicCount { expected: program.publics.len(), got: publics.len() });
    }
    for (p, values) in program.publics.iter().zip(publics) {
        let expected: usize = p.shape.iter().product();
        if values.len() != expected {
            return Err(VerifyError::PublicLength { name: p.name.clone(), expected, got: values.len() });
        }
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, v)| **v < p.lo || **v > p.hi) {
            return Err(VerifyError::PublicRange { name: p.name.clone(), index, value, lo: p.lo, hi: p.hi });
        }
    }
    Ok(())
}

/// Verifies a proof of the statement (`key`, `context`, `publics`). The key must come from [`VerifyingKey::decode`] or set-up, which validate it.
pub fn verify(key: &VerifyingKey, context: &[u8], publics: &[Vec<i64>], proof: &[u8]) -> Result<Verified, VerifyError> {
    let verified = verify_all(key, &[Statement::of(key, context, publics)], proof)?;
    verified.into_iter().next().ok_or(VerifyError::Tree)
}

/// Verifies a proof of several statements, in their order. Their programs must be derived from the key's.
pub fn verify_all(key: &VerifyingKey, statements: &[Statement<'_>], proof: &[u8]) -> Result<Vec<Verified>, VerifyError> {
    verify_phases(key, statements, proof, &mut |_| {})
}

/// [`verify_all`]; `phase` is told each step as it begins, for every leaf again.
pub fn verify_phases(
    key: &VerifyingKey,
    statements: &[Statement<'_>],
    proof: &[u8],
    phase: &mut dyn FnMut(Phase),
) -> Result<Vec<Verified>, VerifyError> {
    for statement in statements {
        check_publics(statement.program, statement.publics)?;
    }
    let key_digest = key.digest();
    let mut party = Verifier::new(Transcript::new(), proof);
    phase(Phase::Decode);
    party.decode_ahead();
    let (leaves, heaps) = read_leaves(&mut party, &key_digest, statements, Some(key), phase)?;
    let total = replay(&mut party, leaves)?;
    read_decider(&mut party, total, Some(key), phase)?;
    party.finish()?;
    let verified = statements.iter().zip(&heaps).map(|(statement, rows)| {
        let row = 1usize << statement.program.row_bits;
        let committed = statement.program.committed.iter().map(|c| {
            let region = statement.program.regions.get(c.region.0 as usize);
            let (first, count) = region.map_or((0, 0), |r| (r.base / row, r.len.div_ceil(row)));
            rows.iter().skip(first).take(count).map(g1_to_bytes).collect()
        });
        Verified { key_digest, publics: statement.publics.to_vec(), committed: committed.collect() }
    });
    Ok(verified.collect())
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::accumulate::{Accumulator, AccumulatorError};
    use crate::keys::{ProvingKey, blinded_rows};
    use crate::masks::Masks;
    use crate::party::{Part, Prover, random_scalar};
    use rand_core::{CryptoRng, RngCore};

    /// Why a proof cannot be made.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum ProveError {
        /// Proving and verifying key belong to different set-ups.
        #[error("E0404: the proving key belongs to another verifying key")]
        KeyMismatch,
        /// Heap, parameters or public tensors do not have the program's sizes.
        #[error("E0405: the {what} has {got} values, the program needs {expected}")]
        Length {
            /// What was given.
            what: &'static str,
            /// By the program.
            expected: usize,
            /// Given.
            got: usize,
        },
        /// A public value is out of range, or the statement has another shape.
        #[error(transparent)]
        Statement(#[from] VerifyError),
    }

    /// Where the blinders of a heap's rows come from.
    #[derive(Clone, Copy, Debug)]
    pub enum Blinding<'a> {
        /// Fresh for every row.
        Fresh,
        /// Fresh, except for the program's committed tensors: their blinders depend on the tensor and this secret alone. Two proofs about the same data, made
        /// with the same secret and rows of one length, publish the same commitments. Without the secret they hide the data as others do.
        Linked(&'a [u8; 32]),
        /// One blinder per row, uniformly random to anybody else: leaves that share rows must agree on theirs.
        Given(&'a [Fr]),
    }

    /// Proves that the statement's program holds for this witness. The witness is not checked: a wrong one gives a proof that does not verify.
    pub fn prove<R: RngCore + CryptoRng>(
        pk: &ProvingKey,
        key: &VerifyingKey,
        statement: &Statement<'_>,
        witness: Witness<'_>,
        blinding: Blinding<'_>,
        rng: R,
        phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<u8>, ProveError> {
        prove_with(pk, key, statement, witness, blinding, rng, phase, |_| {})
    }

    /// Everything of a proof up to the decider.
    pub fn accumulate<R: RngCore + CryptoRng>(
        pk: &ProvingKey,
        key: &VerifyingKey,
        statement: &Statement<'_>,
        witness: Witness<'_>,
        blinding: Blinding<'_>,
        rng: R,
        phase: &mut dyn FnMut(Phase),
    ) -> Result<Accumulator, ProveError> {
        let mut party = Prover::new(Transcript::new(), pk.message_table(), rng);
        accumulate_with(&mut party, pk, key, statement, witness, blinding, phase)
    }

    /// Whether an accumulator that somebody else made stands for these statements and can be decided. Cost: that of verifying its leaves, and multi-scalar multiplications of the
    /// length of a row.
    pub fn check_accumulator(
        pk: &ProvingKey,
        key: &VerifyingKey,
        statements: &[Statement<'_>],
        accumulator: &Accumulator,
    ) -> Result<(), AccumulatorError> {
        for statement in statements {
            check_publics(statement.program, statement.publics)?;
        }
        if statements.len() != accumulator.leaves() {
            return Err(VerifyError::Parts(format!("{} statements for {} leaves", statements.len(), accumulator.leaves())).into());
        }
        let messages = accumulator.messages();
        let mut party = Verifier::new(Transcript::new(), &messages);
        let (leaves, _) = read_leaves(&mut party, &key.digest(), statements, Some(key), &mut |_| {})?;
        let total = replay(&mut party, leaves)?;
        party.finish()?;
        accumulator.check(&total, &pk.srs, key.pcs.h)
    }

    /// [`check_accumulator`] for a single leaf of several; `heaps` are what this function has returned for the leaves before it, whose rows it may import. Returns its own row
    /// commitments.
    pub fn check_leaf(
        pk: &ProvingKey,
        key: &VerifyingKey,
        statement: &Statement<'_>,
        heaps: &[Vec<G1Affine>],
        accumulator: &Accumulator,
    ) -> Result<Vec<G1Affine>, AccumulatorError> {
        check_publics(statement.program, statement.publics)?;
        if accumulator.leaves() != 1 {
            return Err(VerifyError::Parts(format!("one statement for {} leaves", accumulator.leaves())).into());
        }
        let messages = accumulator.messages();
        let mut party = Verifier::new(Transcript::new(), &messages);
        let (total, rows) = read_leaf(&mut party, &key.digest(), statement, Some(key), heaps, &mut |_| {})?;
        party.finish()?;
        accumulator.check(&total, &pk.srs, key.pcs.h)?;
        Ok(rows)
    }

    /// The blinder of a row that proofs are linked by: a keyed hash of position and content. Content goes in, because one blinder for two
    /// contents would show their difference.
    fn linked_blinder(link: &[u8; 32], index: usize, cells: &[i64]) -> Fr {
        let mut hasher = blake3::Hasher::new_keyed(link);
        hasher.update(b"zktorch linked row v1");
        hasher.update(&(index as u64).to_le_bytes());
        hasher.update(&(cells.len() as u64).to_le_bytes());
        for cell in cells {
            hasher.update(&cell.to_le_bytes());
        }
        let mut bytes = [0u8; 64];
        hasher.finalize_xof().fill(&mut bytes);
        zktorch_algebra::fr_from_wide_bytes(&bytes)
    }

    /// [`prove`], with a hook on the prover before it starts (tests turn it into a cheating one).
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn prove_with<R: RngCore + CryptoRng>(
        pk: &ProvingKey,
        key: &VerifyingKey,
        statement: &Statement<'_>,
        witness: Witness<'_>,
        blinding: Blinding<'_>,
        mut rng: R,
        phase: &mut dyn FnMut(Phase),
        hook: impl FnOnce(&mut Prover<'_, R>),
    ) -> Result<Vec<u8>, ProveError> {
        let masks = Masks::new(pk, key.pcs.h, statement, &mut rng);
        if let Some(masks) = &masks {
            masks.spawn();
        }
        let mut party = Prover::new(Transcript::new(), pk.message_table(), rng);
        party.masks = masks;
        hook(&mut party);
        let accumulator = accumulate_with(&mut party, pk, key, statement, witness, blinding, phase)?;
        phase(Phase::Decider);
        accumulator.decide_with(&mut party, &pk.srs, key.pcs.h, phase);
        Ok(party.proof)
    }

    /// [`accumulate`] with a party of the caller.
    pub(crate) fn accumulate_with<R: RngCore + CryptoRng>(
        party: &mut Prover<'_, R>,
        pk: &ProvingKey,
        key: &VerifyingKey,
        statement: &Statement<'_>,
        witness: Witness<'_>,
        blinding: Blinding<'_>,
        phase: &mut dyn FnMut(Phase),
    ) -> Result<Accumulator, ProveError> {
        let &Statement { program, publics, .. } = statement;
        let parameters = witness.parameters;
        let key_digest = key.digest();
        if pk.key_digest != key_digest {
            return Err(ProveError::KeyMismatch);
        }
        let length = |what, expected, got| if expected == got { Ok(()) } else { Err(ProveError::Length { what, expected, got }) };
        length("witness", program.witness_len(), witness.heap.len())?;
        let heap = witness.committed(program);
        length("parameter heap", program.params_len, parameters.heap.len())?;
        length("list of matrices", program.matrices.len(), parameters.matrices.len())?;
        for (m, values) in program.matrices.iter().zip(&parameters.matrices) {
            length("matrix", m.shape.iter().product(), values.len())?;
        }
        check_publics(program, publics)?;

        phase(Phase::Commit);
        let row = 1usize << program.row_bits;
        let rows = heap.len() / row;
        let heap_blinders: Vec<Fr> = match blinding {
            Blinding::Given(given) => {
                length("list of blinders", rows, given.len())?;
                given.to_vec()
            }
            Blinding::Fresh => (0..rows).map(|_| random_scalar(&mut party.rng)).collect(),
            Blinding::Linked(link) => {
                let mut blinders: Vec<Fr> = (0..rows).map(|_| random_scalar(&mut party.rng)).collect();
                for committed in &program.committed {
                    let region = &program.regions[committed.region.0 as usize];
                    let own = heap[region.base..].chunks(row).zip(&mut blinders[region.base / row..]);
                    for (index, (cells, blinder)) in own.take(region.len.div_ceil(row)).enumerate() {
                        *blinder = linked_blinder(link, index, cells);
                    }
                }
                blinders
            }
        };
        let h = key.pcs.h;
        let heap_rows = blinded_rows(&pk.srs.g1, pk.message_table(), heap, row, &heap_blinders);
        party.restart(statement.transcript(&key_digest));
        let secrets = Secrets {
            opening: OpeningSecrets { witness, program, srs: &pk.srs, h },
            heap_rows: &heap_rows,
            heap_blinders: &heap_blinders,
            params_blinders: &pk.params_blinders,
            matrix_blinders: &pk.matrix_blinders,
        };
        let end = leaf(party, statement, None, &|_, _| None, Some(secrets), phase)?;
        let Part { wires, blinders, messages, .. } = party.restart(Transcript::new());
        Ok(Accumulator::fresh(messages, end.digest, end.form, end.claim, wires, blinders))
    }
}

#[cfg(feature = "prover")]
pub use prover::{Blinding, ProveError, accumulate, check_accumulator, check_leaf, prove};
#[cfg(test)]
pub(crate) use prover::{accumulate_with, prove_with};
