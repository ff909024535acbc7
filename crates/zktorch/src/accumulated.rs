//! Proofs before the decider: they fold pairwise, and the last one is decided.

use crate::container::{self, Kind};
use crate::error::{Error, FileError};
use crate::id::ModelId;
use crate::keys::ProvingKey;
use crate::proof::{MAX_LAYOUTS, Proof, Run, layouts};
use crate::random;
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};
use std::path::Path;
use zktorch_protocol as protocol;

/// Inferences proved up to the decider, which can be folded with others of the same model. **Secret**: it tells about weights and inputs.
#[derive(Debug, Clone)]
pub struct Accumulated {
    pub(crate) model: ModelId,
    pub(crate) runs: Vec<Run>,
    pub(crate) accumulator: protocol::Accumulator,
}

/// Contents of an accumulator's file.
#[derive(Serialize, Deserialize)]
struct AccumulatedFile {
    model: ModelId,
    runs: Vec<Run>,
    accumulator: Vec<u8>,
}

/// Folds two accumulators of one model; the inferences of `left` come first. With `batches`, they stand for whole batches; otherwise `right` continues the batch that `left` ends
/// with: it holds the next segments of it.
///
/// # Errors
/// Accumulators of another model.
pub fn fold_as(key: &ProvingKey, left: Accumulated, right: Accumulated, batches: bool) -> Result<Accumulated, Error> {
    fold_with(key, left, right, batches, random::secret_rng())
}

/// [`fold_as`] with the caller's randomness.
pub(crate) fn fold_with(
    key: &ProvingKey,
    left: Accumulated,
    right: Accumulated,
    batches: bool,
    rng: ChaCha20Rng,
) -> Result<Accumulated, Error> {
    left.belongs_to(key)?;
    right.belongs_to(key)?;
    let mut runs = left.runs;
    if batches {
        runs.extend(right.runs);
        if layouts(&runs) > MAX_LAYOUTS {
            return Err(Error::Mismatch(format!("no proof has more than {MAX_LAYOUTS} different layouts of batches")));
        }
    }
    let accumulator =
        protocol::Accumulator::fold(left.accumulator, right.accumulator, &key.key.srs, key.verifying_key().key.hiding_generator(), rng);
    Ok(Accumulated { model: key.model_id(), runs, accumulator })
}

impl Accumulated {
    /// The public messages.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<u8> {
        self.accumulator.messages()
    }

    /// Number of leaves: batches times segments.
    pub fn leaves(&self) -> usize {
        self.accumulator.leaves()
    }

    /// The model that it is about.
    pub fn model_id(&self) -> ModelId {
        self.model
    }

    /// Number of inferences.
    pub fn inferences(&self) -> usize {
        self.runs.iter().map(|r| r.layout.inferences as usize).sum()
    }

    fn belongs_to(&self, key: &ProvingKey) -> Result<(), Error> {
        match self.model == key.model_id() {
            true => Ok(()),
            false => Err(Error::Mismatch("the accumulator belongs to another model than the proving key".into())),
        }
    }

    /// Proves it, for good.
    ///
    /// # Errors
    /// A key of another model.
    pub fn decide(self, key: &ProvingKey) -> Result<Proof, Error> {
        self.belongs_to(key)?;
        let proof = self.accumulator.decide(&key.key, random::secret_rng());
        Ok(Proof::new(self.model, self.runs, proof))
    }

    /// That it stands for what it says, and can be decided: for accumulators that somebody else made.
    ///
    /// # Errors
    /// [`Error::Accumulator`], with the part that is wrong.
    pub fn check(&self, key: &ProvingKey) -> Result<(), Error> {
        self.belongs_to(key)?;
        let verifying = key.verifying_key();
        let parts = crate::proof::parts(verifying.key.program(), &self.runs, self.accumulator.messages().len())
            .map_err(|e| Error::Accumulator(e.into()))?;
        let statements = crate::proof::statements(verifying, &self.runs, &parts);
        protocol::check_accumulator(&key.key, &verifying.key, &statements, &self.accumulator).map_err(Error::Accumulator)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not intact.
    pub fn read(path: &Path) -> Result<Accumulated, FileError> {
        let bytes = container::read(path)?;
        let payload = container::open(Kind::Accumulator, path, &bytes)?;
        let invalid = |reason: String| FileError::Payload { file: path.to_path_buf(), kind: Kind::Accumulator, reason };
        Accumulated::decode(payload).map_err(invalid)
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Accumulated, String> {
        let (file, rest) = postcard::take_from_bytes::<AccumulatedFile>(payload).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow its end", rest.len()));
        }
        let accumulator = protocol::Accumulator::decode(&file.accumulator).map_err(|e| e.to_string())?;
        Ok(Accumulated { model: file.model, runs: file.runs, accumulator })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let file = AccumulatedFile { model: self.model, runs: self.runs.clone(), accumulator: self.accumulator.encode() };
        postcard::to_allocvec(&file).map_err(|e| Error::Mismatch(format!("the accumulator cannot be encoded: {e}")))
    }

    /// Writes a file that only its owner can read, and returns its length.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        let bytes = container::seal(Kind::Accumulator, &self.encode()?);
        container::write_secret(path, &bytes)?;
        Ok(bytes.len() as u64)
    }
}
