//! Proofs: made from a model, its proving key and an input; verified with the verifying key alone.

use crate::container::{self, Kind};
use crate::error::{Error, FileError, Rejection};
use crate::id::ModelId;
use crate::keys::{ProvingKey, TensorInfo, VerifyingKey};
use crate::model::Model;
use crate::parts::{Layout, Parts};
use crate::random;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};
use zktorch_float::Tensor;
use zktorch_graph::Visibility;
use zktorch_program::Program;
use zktorch_protocol::{self as protocol, Blinding, Phase, VerifyError};

/// A proof with the public part of its statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    model: ModelId,
    runs: Vec<Run>,
    proof: Vec<u8>,
}

/// The public part of some inferences that are proved together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub layout: Layout,
    pub publics: Vec<Vec<i64>>,
}

/// Steps in order, with the time that each took.
pub type Phases = Vec<(&'static str, Duration)>;

/// A proof that was just made.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The proof.
    pub proof: Proof,
    /// Outputs in real numbers, also those that the proof hides.
    pub outputs: Vec<Tensor>,
    /// Time of each phase, in order.
    pub phases: Phases,
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
    /// Number of inferences that it is about: more than one only if tensors are summed over them.
    pub inferences: usize,
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
    /// The value is the sum over all inferences of the statement.
    pub summed: bool,
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
    let (run, ()) = rayon::join(|| model.run(inputs), || key.key.prepare());
    let run = run?;
    let verifying = key.verifying_key();
    let id = verifying.model_id();
    let cells = protocol::Witness { heap: &run.witness.heap, parameters: &model.compiled.built.parameters };
    let statement = protocol::Statement::of(&verifying.key, id.as_bytes(), &run.witness.publics);
    let blinding = link.map_or(Blinding::Fresh, Blinding::Linked);
    let mut phase = |phase: Phase| clock.begin(phase.name());
    let proof = protocol::prove(&key.key, &verifying.key, &statement, cells, blinding, random::secret_rng(), &mut phase)?;
    let phases = clock.end();
    let runs = vec![Run { layout: Layout::SINGLE, publics: run.witness.publics }];
    Ok(Proved { proof: Proof { model: id, runs, proof }, outputs: run.outputs, phases })
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

/// Most leaves of a proof per byte of it: each has rows of 32 bytes at least. Keeps a short proof from asking for much work.
const LEAF_BYTES: usize = 32;
/// Most different layouts in a proof: each costs work before anything of the proof is read.
pub(crate) const MAX_LAYOUTS: usize = 64;

/// Number of different layouts.
pub(crate) fn layouts(runs: &[Run]) -> usize {
    runs.iter().map(|r| &r.layout).collect::<HashSet<_>>().len()
}

/// The programs of each run's leaves, whose messages have `bytes` bytes; runs of one layout share the work of deriving them.
pub(crate) fn parts(program: &Program, runs: &[Run], bytes: usize) -> Result<Vec<Parts>, VerifyError> {
    let wrong = |why: &str| VerifyError::Parts(why.into());
    let asked: usize = runs.iter().map(|r| r.layout.segments as usize).fold(0, usize::saturating_add);
    if asked > bytes / LEAF_BYTES || runs.is_empty() {
        return Err(wrong("it is too short for so many"));
    }
    if layouts(runs) > MAX_LAYOUTS {
        return Err(wrong("it has too many different layouts"));
    }
    if runs.iter().any(|r| !r.layout.summed.is_sorted_by(|a, b| a < b)) {
        return Err(wrong("the list of summed tensors is not in order"));
    }
    Parts::sequence(runs.iter().map(|r| &r.layout), |layout| Parts::new(program, layout).map_err(|e| wrong(&e.to_string())))
}

/// What each leaf is about: run by run, segment by segment.
pub(crate) fn statements<'a>(key: &'a VerifyingKey, runs: &'a [Run], parts: &'a [Parts]) -> Vec<protocol::Statement<'a>> {
    let of = |(run, parts): (&'a Run, &'a Parts)| {
        (0..parts.len()).map(move |s| parts.statement(key.key.program(), s, key.model_id_bytes(), &run.publics))
    };
    runs.iter().zip(parts).flat_map(of).collect()
}

/// Verifies a proof of one inference.
///
/// # Errors
/// [`Rejection`]: nothing is known then. A proof of several inferences is for [`verify_all`].
pub fn verify(key: &VerifyingKey, proof: &Proof) -> Result<Statement, Rejection> {
    let mut statements = verify_all(key, proof)?;
    match (statements.pop(), statements.is_empty()) {
        // Sums over several inferences are one statement, too.
        (Some(statement), true) if statement.inferences == 1 => Ok(statement),
        _ => Err(VerifyError::Parts("one inference is expected, the proof is about several".into()).into()),
    }
}

/// Verifies a proof of any number of inferences, and lists what is known of each.
///
/// # Errors
/// [`Rejection`]: nothing is known then.
pub fn verify_all(key: &VerifyingKey, proof: &Proof) -> Result<Vec<Statement>, Rejection> {
    Ok(verify_timed(key, proof)?.0)
}

/// [`verify_all`], with the time that each step took, of all leaves together.
///
/// # Errors
/// As [`verify_all`].
pub fn verify_timed(key: &VerifyingKey, proof: &Proof) -> Result<(Vec<Statement>, Phases), Rejection> {
    let mut clock = Clock { phases: Vec::new(), progress: &mut |_| {} };
    clock.begin("statement");
    let id = key.model_id();
    if proof.model != id {
        return Err(Rejection::OtherModel { expected: id.short(), got: proof.model.short() });
    }
    // A batch of private values could have any size at no cost to whoever claims it; its heap's rows are in the proof.
    let parts = parts(key.program(), &proof.runs, proof.proof.len())?;
    let verified =
        protocol::verify_phases(&key.key, &statements(key, &proof.runs, &parts), &proof.proof, &mut |phase| clock.begin(phase.name()))?;
    let mut verified = verified.into_iter();
    let mut statements = Vec::new();
    for (run, parts) in proof.runs.iter().zip(&parts) {
        let leaves: Vec<protocol::Verified> = verified.by_ref().take(parts.len()).collect();
        statements.extend(describe(key, run, parts, &leaves));
    }
    let mut phases = Phases::new();
    for (name, time) in clock.end() {
        match phases.iter_mut().find(|(n, _)| *n == name) {
            Some((_, total)) => *total += time,
            None => phases.push((name, time)),
        }
    }
    Ok((statements, phases))
}

/// The statements of a run: one per inference, unless tensors are summed.
fn describe(key: &VerifyingKey, run: &Run, parts: &Parts, leaves: &[protocol::Verified]) -> Vec<Statement> {
    let inferences = run.layout.inferences as usize;
    let together = !run.layout.summed.is_empty();
    // Rows of a committed tensor, of all inferences, whichever segment holds them.
    let committed = |name: &str| {
        leaves.iter().enumerate().find_map(|(s, leaf)| {
            let position = parts.program(key.program(), s).committed.iter().position(|c| c.name == name)?;
            leaf.committed.get(position)
        })
    };
    let tensor = |info: &TensorInfo, inference: usize| {
        let summed = info.public.is_some_and(|p| run.layout.summed.contains(&p));
        let mut info = info.clone();
        let values = info.public.and_then(|p| run.publics.get(p as usize)).map(|values| {
            let each = values.len() / inferences;
            match together {
                true => &values[..],
                false => &values[inference * each..(inference + 1) * each],
            }
        });
        if together && !summed && inferences > 1 {
            info.shape.insert(0, inferences);
        }
        let digest = committed(&info.name).map(|rows| {
            let each = rows.len() / inferences;
            let own = if together { &rows[..] } else { &rows[inference * each..(inference + 1) * each] };
            *blake3::hash(own.as_flattened()).as_bytes()
        });
        StatementTensor {
            value: values.map(|v| info.to_real(v)),
            commitment: (info.visibility == Visibility::Committed).then_some(digest).flatten(),
            summed,
            info,
        }
    };
    let statement = |inference: usize| Statement {
        model_id: key.model_id(),
        inputs: key.info().inputs.iter().map(|i| tensor(i, inference)).collect(),
        outputs: key.info().outputs.iter().map(|o| tensor(o, inference)).collect(),
        inferences: if together { inferences } else { 1 },
    };
    (0..if together { 1 } else { inferences }).map(statement).collect()
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

    /// The same proof with other public values: `change` gets the public tensors of each batch.
    #[cfg(test)]
    pub(crate) fn altered(&self, change: impl Fn(&mut Vec<Vec<i64>>)) -> Proof {
        let mut proof = self.clone();
        proof.runs.iter_mut().for_each(|r| change(&mut r.publics));
        proof
    }

    /// The same proof with another model's id on it.
    #[cfg(test)]
    pub(crate) fn relabelled(&self, model: ModelId) -> Proof {
        Proof { model, ..self.clone() }
    }

    #[cfg(test)]
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The same proof for other batches.
    #[cfg(test)]
    pub(crate) fn with_runs(&self, runs: Vec<Run>) -> Proof {
        Proof { runs, ..self.clone() }
    }

    pub(crate) fn new(model: ModelId, runs: Vec<Run>, proof: Vec<u8>) -> Proof {
        Proof { model, runs, proof }
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
        self.runs.iter().flat_map(|r| &r.publics).map(Vec::len).sum()
    }

    /// Inferences that the proof says it is about.
    pub fn inferences(&self) -> usize {
        self.runs.iter().map(|r| r.layout.inferences as usize).sum()
    }

    /// What makes it up, if it is a proof for this key: the kinds of messages in the order of the protocol, with the bytes that all messages of a kind take. Costs about as
    /// much as verifying; nothing is verified.
    ///
    /// # Errors
    /// A proof about another model, about batches that this model does not have, or with another number of bytes.
    pub fn parts(&self, key: &VerifyingKey) -> Result<Vec<(&'static str, usize)>, Rejection> {
        let id = key.model_id();
        if self.model != id {
            return Err(Rejection::OtherModel { expected: id.short(), got: self.model.short() });
        }
        let parts = parts(key.program(), &self.runs, self.proof.len())?;
        let shape = protocol::shape_of(&statements(key, &self.runs, &parts), self.proof.len())?;
        if shape.bytes != self.proof.len() {
            return Err(VerifyError::Parts(format!("it has {} bytes and should have {}", self.proof.len(), shape.bytes)).into());
        }
        Ok(shape.parts)
    }

    /// Length of the proof proper, without the statement.
    pub fn proof_len(&self) -> usize {
        self.proof.len()
    }
}
