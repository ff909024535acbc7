//! The proof, made once at set-up, that the committed weights are small integers.

use crate::container::{self, Kind};
use crate::error::{Error, FileError, Rejection};
use crate::id::ModelId;
use crate::keys::{ProvingKey, VerifyingKey};
use crate::model::Model;
use crate::random;
use serde::{Deserialize, Serialize};
use std::path::Path;
use zktorch_protocol as protocol;

/// Shows that the weights behind a verifying key obey the bounds that the key declares. Every proof of an inference relies on these bounds; without a
/// range proof they are taken on trust from whoever made the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeProof {
    model: ModelId,
    proof: Vec<u8>,
}

impl RangeProof {
    /// Proves it. `progress` is told each phase as it begins.
    ///
    /// # Errors
    /// A key of another model, weights out of their bounds.
    pub fn make(model: &Model, key: &ProvingKey, progress: &mut dyn FnMut(&'static str)) -> Result<RangeProof, Error> {
        key.check_model(model)?;
        let verifying = key.verifying_key();
        let parameters = &model.compiled.built.parameters;
        let mut phase = |p: protocol::Phase| progress(p.name());
        let proof = protocol::prove_ranges(&key.key, &verifying.key, parameters, random::secret_rng(), &mut phase)?;
        Ok(RangeProof { model: verifying.model_id(), proof })
    }

    /// Verifies it.
    ///
    /// # Errors
    /// Why it is rejected.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), Rejection> {
        if self.model != key.model_id() {
            return Err(Rejection::OtherModel { expected: key.model_id().to_string(), got: self.model.to_string() });
        }
        Ok(protocol::verify_ranges(&key.key, &self.proof)?)
    }

    /// The model that it says it is about.
    pub fn claimed_model(&self) -> ModelId {
        self.model
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Anything but an intact range proof.
    pub fn read(path: &Path) -> Result<RangeProof, FileError> {
        let bytes = container::read(path)?;
        let payload = container::open(Kind::RangeProof, path, &bytes)?;
        let invalid = |reason: String| FileError::Payload { file: path.to_path_buf(), kind: Kind::RangeProof, reason };
        let proof: RangeProof = postcard::from_bytes(payload).map_err(|e| invalid(e.to_string()))?;
        if postcard::to_allocvec(&proof).map_err(|e| invalid(e.to_string()))? != payload {
            return Err(invalid("the encoding is not canonical".to_owned()));
        }
        Ok(proof)
    }

    /// Writes a file; returns its length.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        let payload = postcard::to_allocvec(self).unwrap_or_default();
        let bytes = container::seal(Kind::RangeProof, &payload);
        container::write_atomic(path, &bytes)?;
        Ok(bytes.len() as u64)
    }
}
