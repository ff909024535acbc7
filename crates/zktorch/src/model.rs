//! The compiled model: its file, its inputs, its runs.

use crate::container::{self, Kind, Parts};
use crate::error::{Error, FileError, InputError};
use crate::tensors::{self, TensorSpec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use zktorch_float::Tensor;
use zktorch_graph::{CompiledModel, Fidelity, RunOutput};
use zktorch_program::{CellWidth, Matrix, MatrixCells};

/// What a compiled model's file holds before the matrices' cells.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ModelFile {
    operators: Vec<(String, u64)>,
    /// Without the cells of matrices.
    compiled: CompiledModel,
}

/// The cells of each matrix begin at a multiple of this many bytes from the start of the file.
const ALIGNMENT: usize = 64;

/// Zeros before what comes next, if `payload` bytes of payload are written already.
fn padding(payload: usize) -> usize {
    (container::HEADER + payload).next_multiple_of(ALIGNMENT) - container::HEADER - payload
}

/// Width in which the cells of a matrix are written: the narrowest for its bounds.
fn width(matrix: &Matrix) -> Option<CellWidth> {
    CellWidth::of_bounds(matrix.lo, matrix.hi)
}

/// A compiled model: integers and equations. It contains the weights.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) compiled: CompiledModel,
    operators: Vec<(String, u64)>,
    digest: [u8; 32],
    /// Encoded [`ModelFile`].
    metadata: Vec<u8>,
}

impl Model {
    pub(crate) fn new(compiled: CompiledModel, operators: Vec<(String, u64)>) -> Result<Model, Error> {
        let mut model = Model::undigested(compiled, operators)?;
        model.digest = model.parts().digest();
        Ok(model)
    }

    fn undigested(mut compiled: CompiledModel, operators: Vec<(String, u64)>) -> Result<Model, Error> {
        let fail = |e: String| Error::Mismatch(format!("the compiled model cannot be encoded: {e}"));
        let mut matrices = std::mem::take(&mut compiled.built.parameters.matrices);
        for (matrix, cells) in compiled.built.program.matrices.iter().zip(&mut matrices) {
            let width = width(matrix).ok_or_else(|| fail(format!("the bounds of {} exceed 32 bits", matrix.name)))?;
            if cells.width() != width {
                let (lo, hi) = width.bounds();
                if cells.view().first_outside(lo, hi).is_some() {
                    return Err(fail(format!("{} exceeds its bounds", matrix.name)));
                }
                *cells = MatrixCells::with_width(width, cells.view().iter());
            }
        }
        let mut file = ModelFile { operators, compiled };
        let metadata = postcard::to_allocvec(&file).map_err(|e| fail(e.to_string()))?;
        file.compiled.built.parameters.matrices = matrices;
        Ok(Model { compiled: file.compiled, operators: file.operators, digest: [0; 32], metadata })
    }

    /// The file, in places where it lies already.
    fn parts(&self) -> Parts<'_> {
        let mut payload = vec![Cow::Owned((self.metadata.len() as u64).to_le_bytes().to_vec()), Cow::Borrowed(&self.metadata[..])];
        let mut written = 8 + self.metadata.len();
        for cells in &self.compiled.built.parameters.matrices {
            let zeros = padding(written);
            let cells = cells.to_le_bytes();
            written += zeros + cells.len();
            payload.extend([Cow::Borrowed(&[0; ALIGNMENT][..zeros]), cells]);
        }
        Parts::new(Kind::Model, payload)
    }

    fn decode(payload: &Bytes, digest: [u8; 32]) -> Result<Model, String> {
        let short = || "it ends too early".to_owned();
        let (length, _) = payload.split_first_chunk::<8>().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
        let mut at = length.checked_add(8).ok_or_else(short)?;
        let metadata = payload.get(8..at).ok_or_else(short)?;
        let mut file: ModelFile = postcard::from_bytes(metadata).map_err(|e| e.to_string())?;
        let built = &mut file.compiled.built;
        built.program.validate().map_err(|e| e.to_string())?;
        if !built.parameters.matrices.is_empty() {
            return Err("cells of matrices are among the metadata".to_owned());
        }
        for matrix in &built.program.matrices {
            let zeros = padding(at);
            let width = width(matrix).ok_or("a matrix' bounds exceed 32 bits")?;
            let cells = matrix.shape.iter().try_fold(width.bytes(), |n, s| n.checked_mul(*s)).ok_or_else(short)?;
            let end = (at + zeros).checked_add(cells).filter(|end| *end <= payload.len()).ok_or_else(short)?;
            if payload.slice(at..at + zeros).iter().any(|b| *b != 0) {
                return Err("the encoding is not canonical".to_owned());
            }
            built.parameters.matrices.push(MatrixCells::from_le_bytes(width, payload.slice(at + zeros..end)).ok_or_else(short)?);
            at = end;
        }
        if at != payload.len() {
            return Err(format!("{} bytes follow its end", payload.len() - at));
        }
        let model = Model { digest, ..Model::undigested(file.compiled, file.operators).map_err(|e| e.to_string())? };
        if model.metadata != metadata { Err("the encoding is not canonical".to_owned()) } else { Ok(model) }
    }

    /// Reads a `.zkt` file. The cells of matrices stay in the file, which is mapped: do not change it while the model is in use. Cost: one pass over
    /// the file for its digest, memory for everything but the matrices.
    ///
    /// # Errors
    /// A file that is not intact, or not a compiled model.
    pub fn read(path: &Path) -> Result<Model, Error> {
        let (payload, digest) = container::map(Kind::Model, path)?;
        let invalid = |reason: String| FileError::Payload { file: path.to_path_buf(), kind: Kind::Model, reason };
        Ok(Model::decode(&payload, digest).map_err(invalid)?)
    }

    /// Writes a `.zkt` file that only its owner can read, and returns its length.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        Ok(self.parts().write(path, &self.digest)?)
    }

    /// Digest of the compiled model, the one at its file's end: proving keys name it.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Operators of the source model with their number of nodes.
    pub fn operators(&self) -> &[(String, u64)] {
        &self.operators
    }

    /// The program, its metadata and the report of compilation.
    pub fn compiled(&self) -> &CompiledModel {
        &self.compiled
    }

    /// Inputs in graph order.
    pub fn inputs(&self) -> Vec<TensorSpec> {
        self.compiled.inputs.iter().map(spec_of).collect()
    }

    /// Outputs in graph order.
    pub fn outputs(&self) -> Vec<TensorSpec> {
        self.compiled.outputs.iter().map(spec_of).collect()
    }

    /// Reads inputs of this model from a file.
    ///
    /// # Errors
    /// Another format, names, shapes or types that do not fit, numbers that are not finite.
    pub fn read_inputs(&self, path: &Path) -> Result<Vec<Tensor>, InputError> {
        tensors::bind(path, &self.inputs(), tensors::read_entries(path)?)
    }

    /// Reads many inputs: every file of a folder in the order of their names, or one file whose tensors have the inferences as an additional outermost axis (a file whose tensors
    /// have the model's own shapes is a single inference).
    ///
    /// # Errors
    /// As [`Model::read_inputs`], and a folder without files.
    pub fn read_many(&self, path: &Path) -> Result<Vec<Vec<Tensor>>, InputError> {
        read_many_of(path, &self.inputs())
    }

    /// Runs the integers: exactly what a proof proves.
    ///
    /// # Errors
    /// Inputs out of range, or a value that leaves the range of its calibration.
    pub fn run(&self, inputs: &[Tensor]) -> Result<RunOutput, Error> {
        Ok(self.compiled.run(inputs)?)
    }

    /// Compares outputs with a reference.
    pub fn fidelity(&self, reference: &[Tensor], got: &[Tensor]) -> Vec<Fidelity> {
        self.compiled.fidelity(reference, got)
    }

    /// Number of powers that a reference string needs for this model.
    ///
    /// # Errors
    /// [`Error::Program`].
    pub fn required_srs_size(&self) -> Result<usize, Error> {
        zktorch_protocol::required_srs_size(&self.compiled.built.program).map_err(Error::Program)
    }
}

/// [`Model::read_many`] for a model with the given inputs.
pub(crate) fn read_many_of(path: &Path, specs: &[TensorSpec]) -> Result<Vec<Vec<Tensor>>, InputError> {
    if !path.is_dir() {
        return tensors::bind_samples(path, specs, tensors::read_entries(path)?, usize::MAX);
    }
    let unreadable = |source| InputError::Read { file: path.to_path_buf(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|e| ["npz", "npy", "json"].iter().any(|k| e.eq_ignore_ascii_case(k))) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let reason = "the folder has no .npz, .npy or .json file".to_owned();
        return Err(InputError::Format { file: path.to_path_buf(), reason });
    }
    files.iter().map(|file| tensors::bind(file, specs, tensors::read_entries(file)?)).collect()
}

fn spec_of(info: &zktorch_graph::IoInfo) -> TensorSpec {
    TensorSpec { name: info.name.clone(), dtype: info.element.dtype(), shape: info.shape.clone() }
}
