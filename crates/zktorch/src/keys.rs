//! Keys: who holds the proving key proves, who holds the verifying key verifies.

use crate::container::{self, Kind};
use crate::error::{Error, FileError};
use crate::id::ModelId;
use crate::model::Model;
use crate::random;
use crate::srs::ReferenceString;
use crate::tensors::TensorSpec;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::Path;
use zktorch_float::{Data, Tensor};
use zktorch_graph::{Element, IoInfo, Visibility};
use zktorch_protocol as protocol;

/// What a verifier needs to read a statement in real numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Name of the source model, as whoever compiled it says.
    pub source: String,
    /// Inputs in graph order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs in graph order.
    pub outputs: Vec<TensorInfo>,
    /// Operators with their number of nodes.
    pub operators: Vec<(String, u64)>,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the source model.
    pub name: String,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub element: Element,
    /// `real = integer · 2^-scale`.
    pub scale: i32,
    /// Who learns it.
    pub visibility: Visibility,
    /// Position among the statement's tensors, if it is public.
    pub public: Option<u32>,
}

impl TensorInfo {
    fn new(info: &IoInfo) -> TensorInfo {
        TensorInfo {
            name: info.name.clone(),
            shape: info.shape.clone(),
            element: info.element,
            scale: info.scale,
            visibility: info.visibility,
            public: info.public.map(|p| p.0),
        }
    }

    /// Name, type and shape.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { name: self.name.clone(), dtype: self.element.dtype(), shape: self.shape.clone() }
    }

    /// The real numbers behind integers.
    pub fn to_real(&self, integers: &[i64]) -> Tensor {
        let unit = f64::from(-self.scale).exp2();
        let data = match self.element {
            Element::F32 => Data::F32(integers.iter().map(|&v| (v as f64 * unit) as f32).collect()),
            Element::I64 => Data::I64(integers.to_vec()),
            Element::Bool => Data::Bool(integers.iter().map(|&v| v != 0).collect()),
        };
        Tensor { shape: self.shape.clone(), data }
    }
}

impl ModelInfo {
    fn new(model: &Model) -> ModelInfo {
        ModelInfo {
            source: model.compiled.source.clone(),
            inputs: model.compiled.inputs.iter().map(TensorInfo::new).collect(),
            outputs: model.compiled.outputs.iter().map(TensorInfo::new).collect(),
            operators: model.operators().to_vec(),
        }
    }

    /// Every public tensor of the program is exactly one input or output, with its name and shape.
    fn check(&self, program: &zktorch_program::Program) -> Result<(), String> {
        let mut used = vec![false; program.publics.len()];
        for tensor in self.inputs.iter().chain(&self.outputs) {
            let Some(p) = tensor.public else {
                if tensor.visibility == Visibility::Public {
                    return Err(format!("tensor '{}' is public but not part of the statement", tensor.name));
                }
                continue;
            };
            let index = p as usize;
            let fits = program.publics.get(index).is_some_and(|public| public.name == tensor.name && public.shape == tensor.shape);
            match used.get_mut(index) {
                Some(used) if fits && !*used && tensor.visibility == Visibility::Public => *used = true,
                _ => return Err(format!("tensor '{}' does not match the statement", tensor.name)),
            }
            if !(-64..=64).contains(&tensor.scale) {
                return Err(format!("tensor '{}' has scale 2^{}", tensor.name, tensor.scale));
            }
        }
        if used.iter().all(|&u| u) { Ok(()) } else { Err("a public tensor of the program is neither input nor output".to_owned()) }
    }
}

/// Contents of a verifying key's file.
#[derive(Serialize, Deserialize)]
struct VerifyingFile<'a> {
    info: Cow<'a, ModelInfo>,
    key: &'a [u8],
}

/// What a verifier needs. It describes the model completely, except for the weights, of which it holds hiding commitments.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    pub(crate) key: protocol::VerifyingKey,
    info: ModelInfo,
    id: ModelId,
    payload: Vec<u8>,
}

impl VerifyingKey {
    pub(crate) fn new(key: protocol::VerifyingKey, info: ModelInfo) -> Result<VerifyingKey, String> {
        let encoded = key.encode();
        VerifyingKey::with_encoding(key, &encoded, info)
    }

    /// `encoded` is what [`protocol::VerifyingKey::encode`] makes of `key`.
    fn with_encoding(key: protocol::VerifyingKey, encoded: &[u8], info: ModelInfo) -> Result<VerifyingKey, String> {
        info.check(key.program())?;
        let metadata = postcard::to_allocvec(&info).map_err(|e| e.to_string())?;
        let id = ModelId::new(&key.digest(), &metadata);
        let payload = postcard::to_allocvec(&VerifyingFile { info: Cow::Borrowed(&info), key: encoded }).map_err(|e| e.to_string())?;
        Ok(VerifyingKey { key, info, id, payload })
    }

    fn decode(payload: &[u8]) -> Result<VerifyingKey, String> {
        let file: VerifyingFile<'_> = postcard::from_bytes(payload).map_err(|e| e.to_string())?;
        let key = protocol::VerifyingKey::decode(file.key).map_err(|e| e.to_string())?;
        // Decoding has refused other encodings of the same key.
        let key = VerifyingKey::with_encoding(key, file.key, file.info.into_owned())?;
        if key.payload == payload { Ok(key) } else { Err("the encoding is not canonical".to_owned()) }
    }

    /// Reads a file. Every point and the whole program are checked.
    ///
    /// # Errors
    /// A file that is not intact, or not a valid key.
    pub fn read(path: &Path) -> Result<VerifyingKey, Error> {
        let bytes = container::read(path)?;
        let payload = container::open(Kind::VerifyingKey, path, &bytes)?;
        let invalid = |reason| FileError::Payload { file: path.to_path_buf(), kind: Kind::VerifyingKey, reason };
        Ok(VerifyingKey::decode(payload).map_err(invalid)?)
    }

    /// The file's bytes.
    pub fn to_file(&self) -> Vec<u8> {
        container::seal(Kind::VerifyingKey, &self.payload)
    }

    /// Identity of the model.
    pub fn model_id(&self) -> ModelId {
        self.id
    }

    pub(crate) fn model_id_bytes(&self) -> &[u8] {
        self.id.as_bytes()
    }

    /// Names, shapes, scales and visibilities.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// What makes up a proof of one inference: the kinds of messages in the order of the protocol, with the bytes that all messages of a kind take. Costs about as much as
    /// verifying such a proof.
    ///
    /// # Errors
    /// Never in practice: a key that was read has a program with proofs.
    pub fn proof_parts(&self) -> Result<Vec<(&'static str, usize)>, Error> {
        Ok(protocol::proof_shape(self.key.program()).map_err(Error::Program)?.parts)
    }

    /// The program that proofs are about.
    pub fn program(&self) -> &zktorch_program::Program {
        self.key.program()
    }
}

/// Contents of a proving key's file, before the protocol's key.
#[derive(Serialize, Deserialize)]
struct ProvingFile<'a> {
    model: [u8; 32],
    verifying: &'a [u8],
    key: &'a [u8],
}

/// What a prover needs beside the model. It holds the blinders of the weight commitments: keep it as secret as the weights.
#[derive(Clone)]
pub struct ProvingKey {
    pub(crate) key: protocol::ProvingKey,
    verifying: VerifyingKey,
    model: [u8; 32],
}

impl std::fmt::Debug for ProvingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvingKey").field("model_id", &self.model_id()).finish_non_exhaustive()
    }
}

impl ProvingKey {
    /// Reads a file, which is mapped, not copied.
    ///
    /// # Errors
    /// A file that is not intact, or not a valid key.
    pub fn read(path: &Path) -> Result<ProvingKey, Error> {
        let (payload, _) = container::map(Kind::ProvingKey, path)?;
        let invalid = |reason: String| FileError::Payload { file: path.to_path_buf(), kind: Kind::ProvingKey, reason };
        let (file, rest) = postcard::take_from_bytes::<ProvingFile<'_>>(&payload).map_err(|e| invalid(e.to_string()))?;
        if !rest.is_empty() {
            return Err(invalid(format!("{} bytes follow its end", rest.len())).into());
        }
        let (key, verifying) = rayon::join(|| protocol::ProvingKey::decode(file.key), || VerifyingKey::decode(file.verifying));
        let key = key.map_err(|e| invalid(e.to_string()))?;
        Ok(ProvingKey { key, verifying: verifying.map_err(invalid)?, model: file.model })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// Never in practice: only if the key is too large to be encoded.
    pub fn to_file(&self) -> Result<Vec<u8>, Error> {
        let file = ProvingFile { model: self.model, verifying: &self.verifying.payload, key: &self.key.encode() };
        let payload = postcard::to_allocvec(&file).map_err(|e| Error::Mismatch(format!("the proving key cannot be encoded: {e}")))?;
        Ok(container::seal(Kind::ProvingKey, &payload))
    }

    /// The verifying key of the same set-up.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Identity of the model.
    pub fn model_id(&self) -> ModelId {
        self.verifying.id
    }

    /// Number of powers of the reference string that the key holds.
    pub fn srs_size(&self) -> usize {
        self.key.srs.len()
    }

    /// That the key was made for `model`.
    pub(crate) fn check_model(&self, model: &Model) -> Result<(), Error> {
        if self.model == model.digest() {
            return Ok(());
        }
        Err(Error::Mismatch(format!(
            "the proving key belongs to another compiled model (model id {}, from '{}'); run `zktorch setup` for this one",
            self.model_id().short(),
            self.verifying.info.source
        )))
    }
}

/// Makes the keys of a model. Cost: one multi-scalar multiplication over the parameters.
///
/// # Errors
/// [`Error::Setup`], for example a reference string that is too short.
pub fn setup(model: &Model, srs: &ReferenceString) -> Result<(ProvingKey, VerifyingKey), Error> {
    let built = &model.compiled.built;
    let (key, verifying) = protocol::setup(&built.program, &built.parameters, &srs.0, &mut random::secret_rng())?;
    let verifying = VerifyingKey::new(verifying, ModelInfo::new(model)).map_err(Error::Mismatch)?;
    Ok((ProvingKey { key, verifying: verifying.clone(), model: model.digest() }, verifying))
}

/// Writes both keys, or neither; only its owner can read the proving key.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_keys(pk: (&ProvingKey, &Path), vk: (&VerifyingKey, &Path)) -> Result<(u64, u64), Error> {
    let (pk_bytes, vk_bytes) = (pk.0.to_file()?, vk.0.to_file());
    let staged = [container::stage(Kind::ProvingKey, pk.1, &pk_bytes)?, container::stage(Kind::VerifyingKey, vk.1, &vk_bytes)?];
    for file in staged {
        file.commit()?;
    }
    Ok((pk_bytes.len() as u64, vk_bytes.len() as u64))
}
