//! Proving and verifying keys.

use crate::bytes::{Reader, Writer};
use crate::claims::index_bits;
use crate::error::VerifyError;
use crate::party::decode_points;
use crate::pcs;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use zktorch_algebra::{Fr, G1_BYTES, G1Affine, g1_to_bytes};
use zktorch_program::Program;

/// What a verifier needs: the program, the commitments to the parameters and the reference string's verifier part. It *is* the model's
/// identity; whoever holds it can say what a proof proves.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// What is proved.
    pub(crate) program: Program,
    /// Row commitments of the parameter heap.
    pub(crate) params_rows: Vec<G1Affine>,
    /// Row commitments of each matrix.
    pub(crate) matrix_rows: Vec<Vec<G1Affine>>,
    /// The reference string's verifier part.
    pub(crate) pcs: pcs::VerifierKey,
    /// The digest, once it is known: nothing above changes after the key is made.
    digest: OnceLock<[u8; 32]>,
}

/// Encoding of a verifying key that is at hand, the same as that of [`Encoded`].
#[derive(Serialize)]
struct Encoding<'a> {
    program: &'a Program,
    params_rows: Vec<[u8; G1_BYTES]>,
    matrix_rows: Vec<Vec<[u8; G1_BYTES]>>,
    pcs: Vec<u8>,
}

/// Encoding of a verifying key.
#[derive(Deserialize)]
struct Encoded {
    program: Program,
    params_rows: Vec<[u8; G1_BYTES]>,
    matrix_rows: Vec<Vec<[u8; G1_BYTES]>>,
    pcs: Vec<u8>,
}

impl VerifyingKey {
    /// A key that is not validated.
    pub(crate) fn new(
        program: Program,
        params_rows: Vec<G1Affine>,
        matrix_rows: Vec<Vec<G1Affine>>,
        pcs: pcs::VerifierKey,
    ) -> VerifyingKey {
        VerifyingKey { program, params_rows, matrix_rows, pcs, digest: OnceLock::new() }
    }

    /// What is proved.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// `H`, the generator that hides.
    pub fn hiding_generator(&self) -> G1Affine {
        self.pcs.h
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let rows = |rows: &[G1Affine]| rows.iter().map(g1_to_bytes).collect();
        let encoded = Encoding {
            program: &self.program,
            params_rows: rows(&self.params_rows),
            matrix_rows: self.matrix_rows.iter().map(|r| rows(r)).collect(),
            pcs: self.pcs.encode(),
        };
        postcard::to_allocvec(&encoded).unwrap_or_default()
    }

    /// Decodes and validates: points on the curve, a program that passes its audit, as many commitments as the program has rows.
    pub fn decode(bytes: &[u8]) -> Result<VerifyingKey, VerifyError> {
        let bad = |why: &str| VerifyError::Key(why.to_string());
        let encoded: Encoded = postcard::from_bytes(bytes).map_err(|e| VerifyError::Key(format!("it cannot be read: {e}")))?;
        let rows = |rows: &[[u8; G1_BYTES]]| {
            decode_points(rows).into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| bad("a commitment is no canonical curve point"))
        };
        // All at once, since matrices with a single row are many.
        let points = rows(&encoded.matrix_rows.concat())?;
        let mut rest = &points[..];
        let matrix_rows = encoded
            .matrix_rows
            .iter()
            .map(|rows| {
                let (own, others) = rest.split_at_checked(rows.len()).unwrap_or((rest, &[]));
                rest = others;
                own.to_vec()
            })
            .collect();
        let pcs = pcs::VerifierKey::decode(&encoded.pcs).map_err(|e| VerifyError::Key(e.to_string()))?;
        let key = VerifyingKey::new(encoded.program, rows(&encoded.params_rows)?, matrix_rows, pcs);
        if key.encode() != bytes {
            return Err(bad("its encoding is not canonical"));
        }
        let program = &key.program;
        program.validate().map_err(|e| VerifyError::Key(e.to_string()))?;
        crate::limits::check(program)?;
        zktorch_program::audit(program).map_err(|e| VerifyError::Key(e.to_string()))?;
        let counts = key.matrix_rows.len() == program.matrices.len()
            && key.params_rows.len() == program.params_len.div_ceil(1 << program.row_bits)
            && key.matrix_rows.iter().zip(&program.matrices).all(|(r, m)| r.len() == matrix_row_count(&m.shape, program.row_bits));
        if !counts {
            return Err(bad("it has another number of commitments than its program has rows"));
        }
        // The bytes are the canonical encoding.
        key.digest.get_or_init(|| *blake3::hash(bytes).as_bytes());
        Ok(key)
    }

    /// The key's digest: the identity of the committed model. Encodes the key the first time.
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.get_or_init(|| *blake3::hash(&self.encode()).as_bytes())
    }
}

/// log2 of the padded number of cells of a matrix.
pub fn matrix_bits(shape: &[usize]) -> usize {
    shape.iter().map(|&s| index_bits(s)).sum()
}

/// log2 of the row length of a matrix.
pub(crate) fn matrix_row_bits(shape: &[usize], row_bits: u32) -> usize {
    matrix_bits(shape).min(row_bits as usize)
}

/// Number of rows of a matrix.
pub(crate) fn matrix_row_count(shape: &[usize], row_bits: u32) -> usize {
    1 << (matrix_bits(shape) - matrix_row_bits(shape, row_bits))
}

/// What the prover needs beside the model: generators and the blinders of the parameter commitments. Secret.
#[derive(Clone)]
pub struct ProvingKey {
    /// Digest of the verifying key that it belongs to.
    pub key_digest: [u8; 32],
    /// The reference string, cut to the powers that this model needs.
    pub srs: Arc<pcs::Srs>,
    /// Blinders of the parameter heap's rows.
    pub params_blinders: Vec<Fr>,
    /// Blinders of each matrix' rows.
    pub matrix_blinders: Vec<Vec<Fr>>,
    /// Rows of hidden messages of a proof of the verifying key's program, or 0 if that is not known.
    pub(crate) hidden_rows: usize,
    /// See [`ProvingKey::message_table`].
    #[cfg(feature = "prover")]
    pub(crate) messages: Arc<OnceLock<zktorch_algebra::msm::FixedBaseTable>>,
}

impl ProvingKey {
    /// A key that has made no proof yet.
    pub(crate) fn new(
        key_digest: [u8; 32],
        srs: pcs::Srs,
        params_blinders: Vec<Fr>,
        matrix_blinders: Vec<Vec<Fr>>,
        hidden_rows: usize,
    ) -> ProvingKey {
        ProvingKey {
            key_digest,
            srs: Arc::new(srs),
            params_blinders,
            matrix_blinders,
            hidden_rows,
            #[cfg(feature = "prover")]
            messages: Default::default(),
        }
    }

    /// Multiples of what hidden messages are committed with, for all proofs with this key.
    #[cfg(feature = "prover")]
    pub(crate) fn message_table(&self) -> &zktorch_algebra::msm::FixedBaseTable {
        // Not made within `get_or_init`: while a thread waits for others to make a part, it may begin another proof with the key, and would wait for itself.
        self.messages.get().unwrap_or_else(|| {
            let table = crate::party::message_table(&self.srs, pcs::hiding_generator());
            self.messages.get_or_init(|| table)
        })
    }

    /// Does now what the first proof with the key does once for all: milliseconds, for which another thread may run the model.
    #[cfg(feature = "prover")]
    pub fn prepare(&self) {
        self.message_table();
    }

    /// Encoding: digest, reference string, number of rows of hidden messages, blinders; counts are u64 little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(self.key_digest.to_vec());
        let srs = self.srs.encode();
        out.count(srs.len());
        out.0.extend(srs);
        out.count(self.hidden_rows);
        out.count(self.matrix_blinders.len() + 1);
        std::iter::once(&self.params_blinders).chain(&self.matrix_blinders).for_each(|list| out.scalars(list));
        out.0
    }

    /// Decodes; points are checked to be on the curve.
    pub fn decode(bytes: &[u8]) -> Result<ProvingKey, VerifyError> {
        let bad = || VerifyError::Key("the proving key is truncated or malformed".to_string());
        let mut reader = Reader(bytes);
        let key_digest = *reader.array().ok_or_else(bad)?;
        let srs = reader.count(1).and_then(|n| reader.bytes(n)).ok_or_else(bad)?;
        let srs = pcs::Srs::decode(srs).map_err(|e| VerifyError::Key(e.to_string()))?;
        let hidden_rows = reader.count(0).ok_or_else(bad)?;
        // A list takes 8 bytes at least: its count.
        let mut blinders = reader.list(8, Reader::scalars).filter(|lists| !lists.is_empty() && reader.0.is_empty()).ok_or_else(bad)?;
        let params_blinders = blinders.remove(0);
        Ok(ProvingKey::new(key_digest, srs, params_blinders, blinders, hidden_rows))
    }
}

/// Commits to the parameters.
#[cfg(feature = "prover")]
mod setup {
    use super::*;
    use crate::cells::PaddedMatrix;
    use crate::circuit::ROW;
    use crate::party::{message_table, random_scalar};
    use ark_ec::CurveGroup;
    use rand_core::CryptoRng;
    use zktorch_algebra::{
        G1Projective,
        msm::{self, FixedBaseTable},
    };
    use zktorch_program::Parameters;

    /// Why keys cannot be made.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum SetupError {
        /// The reference string has too few powers.
        #[error("E0401: the reference string has {got} powers, this model needs {needed}")]
        ReferenceString {
            /// Powers of the reference string.
            got: usize,
            /// Powers that the model needs.
            needed: usize,
        },
        /// The program is not sound.
        #[error("E0402: the program does not pass its audit: {0}")]
        Audit(String),
        /// The parameters do not fit the program.
        #[error("E0403: the parameters do not fit the program: {0}")]
        Parameters(String),
    }

    fn check(program: &Program, parameters: &Parameters) -> Result<(), SetupError> {
        let bad = |why: String| Err(SetupError::Parameters(why));
        if parameters.heap.len() != program.params_len || parameters.matrices.len() != program.matrices.len() {
            return bad("another number of values".into());
        }
        for block in &program.params {
            let cells = parameters.heap.get(block.offset..block.offset + block.len).unwrap_or_default();
            if cells.len() != block.len || cells.iter().any(|v| *v < block.lo || *v > block.hi) {
                return bad(format!("{} has a value outside {}..={}", block.name, block.lo, block.hi));
            }
        }
        for (m, values) in program.matrices.iter().zip(&parameters.matrices) {
            if values.len() != m.shape.iter().product::<usize>() {
                return bad(format!("{} has {} values for shape {:?}", m.name, values.len(), m.shape));
            }
            if values.view().first_outside(m.lo, m.hi).is_some() {
                return bad(format!("{} has a value outside {}..={}", m.name, m.lo, m.hi));
            }
        }
        Ok(())
    }

    /// Commits to the parameters of a program. Cost: one small-scalar multi-scalar multiplication per row.
    pub fn setup(
        program: &Program,
        parameters: &Parameters,
        srs: &pcs::Srs,
        rng: &mut impl CryptoRng,
    ) -> Result<(ProvingKey, VerifyingKey), SetupError> {
        zktorch_program::audit(program).map_err(|e| SetupError::Audit(e.to_string()))?;
        crate::limits::check(program).map_err(|e| SetupError::Audit(e.to_string()))?;
        check(program, parameters)?;
        let (needed, hidden_rows) = crate::shape::sizes(program).map_err(|e| SetupError::Audit(e.to_string()))?;
        if srs.g1.len() < needed {
            return Err(SetupError::ReferenceString { got: srs.g1.len(), needed });
        }
        let mut srs = srs.clone();
        srs.truncate(needed);
        let pcs = srs.verifier_key().map_err(|e| SetupError::Audit(e.to_string()))?;
        let mut random = |n: usize| (0..n).map(|_| random_scalar(rng)).collect::<Vec<Fr>>();
        let row = 1 << program.row_bits;
        let params_blinders = random(parameters.heap.len().div_ceil(row));
        let table = message_table(&srs, pcs.h);
        let params_rows = blinded_rows(&srs.g1, &table, &parameters.heap, row, &params_blinders);
        let (mut matrix_rows, mut matrix_blinders) = (Vec::new(), Vec::new());
        for (m, values) in program.matrices.iter().zip(&parameters.matrices) {
            let matrix = PaddedMatrix::new(&m.shape, values.view());
            let blinders = random(matrix_row_count(&m.shape, program.row_bits));
            let rows = matrix.commit_rows(&srs.g1, 1 << matrix_row_bits(&m.shape, program.row_bits));
            matrix_rows.push(blinded(rows, (&table, ROW), &blinders));
            matrix_blinders.push(blinders);
        }
        let key = VerifyingKey::new(program.clone(), params_rows, matrix_rows, pcs);
        let proving = ProvingKey::new(key.digest(), srs, params_blinders, matrix_blinders, hidden_rows);
        // The first proof with the key needs the same table.
        proving.messages.get_or_init(|| table);
        Ok((proving, key))
    }

    /// `C_i = Σ_j cells[i·row + j] G_j + β_i H`; `table` is that of the key's messages.
    pub(crate) fn blinded_rows(
        generators: &[G1Affine],
        table: &FixedBaseTable,
        cells: &[i64],
        row: usize,
        blinders: &[Fr],
    ) -> Vec<G1Affine> {
        let rows = msm::commit_rows(generators, cells, row);
        blinded(rows, (table, ROW), blinders)
    }

    /// Adds `β_i H` to the commitments, `H` being a base of the table.
    fn blinded(plain: Vec<G1Affine>, (table, h): (&FixedBaseTable, usize), blinders: &[Fr]) -> Vec<G1Affine> {
        let blinded: Vec<G1Projective> = plain.iter().zip(blinders).map(|(c, b)| table.mul_sum(&[(h, *b)]) + *c).collect();
        G1Projective::normalize_batch(&blinded)
    }
}

#[cfg(feature = "prover")]
pub(crate) use setup::blinded_rows;
#[cfg(feature = "prover")]
pub use setup::{SetupError, setup};
