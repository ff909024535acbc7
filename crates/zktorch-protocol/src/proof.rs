//! The whole protocol: one function, run by both parties.

use crate::claims::{Vector, index_bits};
use crate::decider::decide;
use crate::error::VerifyError;
use crate::identities::identity_argument;
use crate::keys::{VerifyingKey, matrix_row_bits};
use crate::lookup::lookup_argument;
use crate::opening::{OpeningSecrets, RowVector, open_batch, open_rows};
use crate::party::{Party, Verifier};
use crate::reduce::reduce_claims;
use crate::transcript::Transcript;
use crate::witness::Witness;
use zktorch_algebra::{Fr, G1Affine};
use zktorch_program::Program;

/// A step of proving or verifying, for progress displays and timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
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
    /// The polynomial opening.
    Opening,
}

impl Phase {
    /// Short name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Commit => "commit",
            Phase::Lookups => "lookups",
            Phase::Identities => "identities",
            Phase::Claims => "claims",
            Phase::Rows => "rows",
            Phase::Decider => "decider",
            Phase::Opening => "opening",
        }
    }
}

/// What the prover brings to [`run`].
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    opening: OpeningSecrets<'a>,
    heap_rows: &'a [G1Affine],
    heap_blinders: &'a [Fr],
    params_blinders: &'a [Fr],
    matrix_blinders: &'a [Vec<Fr>],
}

/// A transcript that has absorbed the statement: the verifying key (by digest: program, tables, visibilities, parameter commitments), the
/// caller's context and the public tensors.
pub(crate) fn statement(key_digest: &[u8; 32], context: &[u8], publics: &[Vec<i64>]) -> Transcript {
    let mut t = Transcript::new();
    t.absorb_bytes(b"verifying key", key_digest);
    t.absorb_bytes(b"context", context);
    t.absorb_bytes(b"public tensors", &(publics.len() as u64).to_le_bytes());
    for values in publics {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        t.absorb_bytes(b"public tensor", &bytes);
    }
    t
}

/// The shared description of the protocol.
pub(crate) fn run<P: Party>(
    party: &mut P,
    program: &Program,
    key: Option<&VerifyingKey>,
    publics: &[Vec<i64>],
    secrets: Option<Secrets<'_>>,
    phase: &mut dyn FnMut(Phase),
) -> Result<usize, VerifyError> {
    let row = 1usize << program.row_bits;
    let mut heap_rows = Vec::new();
    for i in 0..program.heap_len / row {
        heap_rows.push(party.point("heap row", || secrets.map_or(G1Affine::identity(), |s| s.heap_rows[i]))?);
    }
    let witness: Option<Witness<'_>> = secrets.map(|s| s.opening.witness);
    let mut claims = Vec::new();
    phase(Phase::Lookups);
    lookup_argument(party, program, publics, witness, &mut claims)?;
    phase(Phase::Identities);
    identity_argument(party, program, publics, witness, &mut claims)?;
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
    let mut open = vec![open_rows(party, points, &vectors, secrets.map(|s| s.opening))?];
    phase(Phase::Decider);
    open.extend(decide(party, secrets.map(|s| s.opening))?);
    phase(Phase::Opening);
    let bits = open.iter().map(|c| c.point.len()).max().unwrap_or(0);
    open_batch(party, open, key.map(|k| &k.pcs), secrets.map(|s| s.opening.srs))?;
    Ok(bits)
}

/// What a program's proofs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofShape {
    /// Length of the proof in bytes, without the statement.
    pub bytes: usize,
    /// Powers of τ that proving needs.
    pub srs_size: usize,
    /// Constraints of the verifier circuit.
    pub constraints: usize,
    /// Committed rows of hidden messages.
    pub hidden_rows: usize,
}

/// Length of a proof, size of the reference string and of the verifier circuit, from the program alone.
pub fn proof_shape(program: &Program) -> Result<ProofShape, VerifyError> {
    let publics: Vec<Vec<i64>> = program.publics.iter().map(|p| vec![0; p.shape.iter().product()]).collect();
    let mut party = Verifier::dry();
    let bits = run(&mut party, program, None, &publics, None, &mut |_| {})?;
    let length = party.dry_length();
    let circuit = party.circuit();
    Ok(ProofShape {
        bytes: length,
        srs_size: 1 << bits.max(program.row_bits as usize),
        constraints: circuit.constraints.len(),
        hidden_rows: circuit.rows,
    })
}

/// Number of powers of τ that a program needs, the proof about its parameters included.
pub fn required_srs_size(program: &Program) -> Result<usize, VerifyError> {
    let ranges = crate::ranges::range_program(program).program;
    Ok(proof_shape(program)?.srs_size.max(proof_shape(&ranges)?.srs_size))
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

fn check_publics(program: &Program, publics: &[Vec<i64>]) -> Result<(), VerifyError> {
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
    let program = &key.program;
    check_publics(program, publics)?;
    let key_digest = key.digest();
    let mut party = Verifier::new(statement(&key_digest, context, publics), proof);
    run(&mut party, program, Some(key), publics, None, &mut |_| {})?;
    party.finish()?;
    // The heap's row commitments stand at the start of the proof.
    let row = 1usize << program.row_bits;
    let committed = program
        .committed
        .iter()
        .map(|c| {
            let region = program.regions.get(c.region.0 as usize);
            let (first, count) = region.map_or((0, 0), |r| (r.base / row, r.len.div_ceil(row)));
            proof.as_chunks::<{ zktorch_algebra::G1_BYTES }>().0.iter().skip(first).take(count).copied().collect()
        })
        .collect();
    Ok(Verified { key_digest, publics: publics.to_vec(), committed })
}

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::circuit::ROW;
    use crate::keys::{ProvingKey, blinded_rows};
    use crate::party::{Prover, random_scalar};
    use rand_core::{CryptoRng, RngCore};
    use zktorch_algebra::msm::FixedBaseTable;
    use zktorch_program::Parameters;

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

    /// Proves that the program holds for this witness. The witness is not checked: a wrong one gives a proof that does not verify.
    ///
    /// With `link`, a secret, the commitments to the program's committed tensors depend on the tensor and the secret alone: two proofs about the same
    /// data, made with the same secret and rows of one length, publish the same commitments. Without the secret they hide the data as others do.
    #[allow(clippy::too_many_arguments)]
    pub fn prove<R: RngCore + CryptoRng>(
        pk: &ProvingKey,
        key: &VerifyingKey,
        parameters: &Parameters,
        context: &[u8],
        heap: &[i64],
        publics: &[Vec<i64>],
        link: Option<&[u8; 32]>,
        rng: R,
        phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<u8>, ProveError> {
        prove_with(pk, key, parameters, context, heap, publics, link, rng, phase, |_| {})
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
        parameters: &Parameters,
        context: &[u8],
        heap: &[i64],
        publics: &[Vec<i64>],
        link: Option<&[u8; 32]>,
        mut rng: R,
        phase: &mut dyn FnMut(Phase),
        hook: impl FnOnce(&mut Prover<'_, R>),
    ) -> Result<Vec<u8>, ProveError> {
        let program = &key.program;
        let key_digest = key.digest();
        if pk.key_digest != key_digest {
            return Err(ProveError::KeyMismatch);
        }
        let length = |what, expected, got| if expected == got { Ok(()) } else { Err(ProveError::Length { what, expected, got }) };
        length("heap", program.heap_len, heap.len())?;
        length("parameter heap", program.params_len, parameters.heap.len())?;
        length("list of matrices", program.matrices.len(), parameters.matrices.len())?;
        for (m, values) in program.matrices.iter().zip(&parameters.matrices) {
            length("matrix", m.shape.iter().product(), values.len())?;
        }
        check_publics(program, publics)?;

        phase(Phase::Commit);
        let row = 1usize << program.row_bits;
        let mut heap_blinders: Vec<Fr> = (0..heap.len() / row).map(|_| random_scalar(&mut rng)).collect();
        if let Some(link) = link {
            for committed in &program.committed {
                let region = &program.regions[committed.region.0 as usize];
                let rows = heap[region.base..].chunks(row).zip(&mut heap_blinders[region.base / row..]);
                for (index, (cells, blinder)) in rows.take(region.len.div_ceil(row)).enumerate() {
                    *blinder = linked_blinder(link, index, cells);
                }
            }
        }
        let h = key.pcs.h;
        let heap_rows = blinded_rows(&pk.srs.g1, h, heap, row, &heap_blinders);
        let mut bases = pk.srs.g1[..ROW].to_vec();
        bases.push(h);
        let table = FixedBaseTable::new(&bases, 8);
        let mut party = Prover::new(statement(&key_digest, context, publics), &table, rng);
        hook(&mut party);
        let secrets = Secrets {
            opening: OpeningSecrets { witness: Witness { heap, parameters }, program, srs: &pk.srs, h },
            heap_rows: &heap_rows,
            heap_blinders: &heap_blinders,
            params_blinders: &pk.params_blinders,
            matrix_blinders: &pk.matrix_blinders,
        };
        run(&mut party, program, None, publics, Some(secrets), phase)?;
        Ok(party.proof)
    }
}

#[cfg(test)]
pub(crate) use prover::prove_with;
#[cfg(feature = "prover")]
pub use prover::{ProveError, prove};
