//! Proofs: made from a model, its proving key and an input; verified with the verifying key alone.

use crate::container::{self, Kind};
use crate::error::{Error, FileError, Rejection};
use crate::id::ModelId;
use crate::keys::{ProvingKey, TensorInfo, VerifyingKey};
use crate::model::Model;
use crate::random;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use zktorch_float::Tensor;
use zktorch_graph::Visibility;
use zktorch_protocol::{self as protocol, Phase};

/// A proof with the public part of its statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    model: ModelId,
    publics: Vec<Vec<i64>>,
    proof: Vec<u8>,
}

/// A proof that was just made.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The proof.
    pub proof: Proof,
    /// Outputs in real numbers, also those that the proof hides.
    pub outputs: Vec<Tensor>,
    /// Time of each phase, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// What a verified proof shows.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Statement {
    /// The model.
    pub model_id: ModelId,
    /// Inputs in graph order.
    pub inputs: Vec<StatementTensor>,
    /// Outputs in graph order.
    pub outputs: Vec<StatementTensor>,
}

/// An input or output in a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct StatementTensor {
    /// Name, shape, scale, visibility.
    pub info: TensorInfo,
    /// Real numbers, if it is public.
    pub value: Option<Tensor>,
    /// BLAKE3 digest of its row commitments, if it is committed.
    pub commitment: Option<[u8; 32]>,
}

/// Proves a run of `model` on `inputs`. `progress` is told each phase as it begins.
///
/// # Errors
/// A key of another model, inputs out of range, a value that leaves its range.
pub fn prove(model: &Model, key: &ProvingKey, inputs: &[Tensor], progress: &mut dyn FnMut(&'static str)) -> Result<Proved, Error> {
    prove_linked(model, key, inputs, None, progress)
}

/// The key for [`prove_linked`] from a secret of at least 16 bytes; nothing for a shorter one.
pub fn link_key(secret: &[u8]) -> Option<[u8; 32]> {
    (secret.len() >= 16).then(|| blake3::derive_key("zktorch link secret v1", secret))
}

/// [`prove`]; with a `link`, a secret, commitments to committed tensors depend on it and the tensor alone: proofs of one model about the same data
/// show the same commitments.
///
/// # Errors
/// As [`prove`].
pub fn prove_linked(
    model: &Model,
    key: &ProvingKey,
    inputs: &[Tensor],
    link: Option<&[u8; 32]>,
    progress: &mut dyn FnMut(&'static str),
) -> Result<Proved, Error> {
    key.check_model(model)?;
    let mut clock = Clock { phases: Vec::new(), progress };
    clock.begin("witness");
    let run = model.run(inputs)?;
    let verifying = key.verifying_key();
    let id = verifying.model_id();
    let (parameters, witness) = (&model.compiled.built.parameters, &run.witness);
    let (context, rng) = (id.as_bytes(), random::secret_rng());
    let mut phase = |phase: Phase| clock.begin(phase.name());
    let proof = protocol::prove(&key.key, &verifying.key, parameters, context, &witness.heap, &witness.publics, link, rng, &mut phase)?;
    let phases = clock.end();
    Ok(Proved { proof: Proof { model: id, publics: run.witness.publics, proof }, outputs: run.outputs, phases })
}

/// Times phases; each one ends when the next begins.
struct Clock<'a> {
    phases: Vec<(&'static str, Instant)>,
    progress: &'a mut dyn FnMut(&'static str),
}

impl Clock<'_> {
    fn begin(&mut self, name: &'static str) {
        (self.progress)(name);
        self.phases.push((name, Instant::now()));
    }

    fn end(self) -> Vec<(&'static str, Duration)> {
        let ends = self.phases.iter().skip(1).map(|p| p.1).chain([Instant::now()]);
        self.phases.iter().zip(ends).map(|(&(name, began), end)| (name, end - began)).collect()
    }
}

/// Verifies a proof.
///
/// # Errors
/// [`Rejection`]: nothing is known then.
pub fn verify(key: &VerifyingKey, proof: &Proof) -> Result<Statement, Rejection> {
    let id = key.model_id();
    if proof.model != id {
        return Err(Rejection::OtherModel { expected: id.short(), got: proof.model.short() });
    }
    let verified = protocol::verify(&key.key, id.as_bytes(), &proof.publics, &proof.proof)?;
    let committed = |name: &str| {
        let position = key.program().committed.iter().position(|c| c.name == name)?;
        Some(*blake3::hash(verified.committed.get(position)?.as_flattened()).as_bytes())
    };
    let tensor = |info: &TensorInfo| StatementTensor {
        value: info.public.and_then(|p| verified.publics.get(p as usize)).map(|v| info.to_real(v)),
        commitment: (info.visibility == Visibility::Committed).then(|| committed(&info.name)).flatten(),
        info: info.clone(),
    };
    Ok(Statement {
        model_id: id,
        inputs: key.info().inputs.iter().map(tensor).collect(),
        outputs: key.info().outputs.iter().map(tensor).collect(),
    })
}

impl Proof {
    /// Reads a file. Whether the proof is valid is for [`verify`] to say.
    ///
    /// # Errors
    /// A file that is not intact, or whose encoding is not the canonical one.
    pub fn read(path: &Path) -> Result<Proof, FileError> {
        let bytes = container::read(path)?;
        let payload = container::open(Kind::Proof, path, &bytes)?;
        let invalid = |reason: String| FileError::Payload { file: path.to_path_buf(), kind: Kind::Proof, reason };
        let proof: Proof = postcard::from_bytes(payload).map_err(|e| invalid(e.to_string()))?;
        if proof.encode().map_err(|e| invalid(e.to_string()))? != payload {
            return Err(invalid("the encoding is not canonical".to_owned()));
        }
        Ok(proof)
    }

    /// The same proof with another model's id on it.
    #[cfg(test)]
    pub(crate) fn relabelled(&self, model: ModelId) -> Proof {
        Proof { model, ..self.clone() }
    }

    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// Never in practice: only if the proof is too large to be encoded.
    pub fn to_file(&self) -> Result<Vec<u8>, Error> {
        let payload = self.encode().map_err(|e| Error::Mismatch(format!("the proof cannot be encoded: {e}")))?;
        Ok(container::seal(Kind::Proof, &payload))
    }

    /// Writes a file and returns its length.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        let bytes = self.to_file()?;
        container::write_atomic(path, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// The model that the proof says it is about; [`verify`] checks it.
    pub fn claimed_model(&self) -> ModelId {
        self.model
    }

    /// Numbers in the statement.
    pub fn public_values(&self) -> usize {
        self.publics.iter().map(Vec::len).sum()
    }

    /// Length of the proof proper, without the statement.
    pub fn proof_len(&self) -> usize {
        self.proof.len()
    }
}
