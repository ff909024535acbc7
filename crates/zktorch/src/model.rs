//! Models: the ONNX file, the compiled model, its runs.

use crate::container::{self, Kind, Parts};
use crate::error::{Error, FileError, InputError};
use crate::metric::{self, Metric};
use crate::tensors::{self, TensorSpec};
use crate::weights::WeightFolder;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zktorch_float::{Graph, Tensor};
use zktorch_graph::{
    CompileError, CompileOptions, CompiledModel, Fidelity, GoalReport, InMemory, NodeReport, RunOutput, Visibility, WeightStore,
};
use zktorch_onnx::{ImportError, ImportOptions, OpenDim};
use zktorch_program::{CellWidth, Matrix, MatrixCells};

/// An ONNX model as imported: a float graph with fixed shapes.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    graph: Graph,
    file: PathBuf,
}

/// A node that cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why, and what helps.
    pub reason: String,
}

/// What a model needs.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Everything that cannot be proved; the rest is only filled in if this is empty.
    pub unsupported: Vec<UnsupportedNode>,
    /// Operators with their number of nodes.
    pub operators: BTreeMap<String, u64>,
    /// Inputs.
    pub inputs: Vec<TensorSpec>,
    /// Outputs.
    pub outputs: Vec<TensorSpec>,
    /// Weights and other parameters.
    pub parameters: usize,
    /// Cells that a proof commits to.
    pub cells: usize,
    /// Lookups of a proof.
    pub lookups: usize,
    /// Cells that count how often the rows of tables are looked up.
    pub table_rows: usize,
    /// What each node costs, in graph order; with the tables' rows and the inputs' cells these are all cells.
    pub nodes: Vec<NodeReport>,
    /// Relative cost of the whole: that of the nodes, tables and inputs.
    pub cost: usize,
    /// Length of a proof in bytes, without the public tensors.
    pub proof_bytes: usize,
    /// Powers that the reference string needs.
    pub srs_size: usize,
    /// Things worth knowing.
    pub warnings: Vec<String>,
}

/// How to compile.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Files of typical inputs; with none, random inputs are used.
    pub calibration: Vec<PathBuf>,
    /// Visibility of all inputs.
    pub inputs: Visibility,
    /// Visibility of all outputs; with a metric, its count is public and everything else private.
    pub outputs: Visibility,
    /// Signed width of weights in bits, 4 to 16; 16 if absent.
    pub weight_bits: Option<u32>,
    /// Count correct predictions instead of giving outputs.
    pub metric: Option<Metric>,
    /// Folder for the integers of large weights while the model is in use, on a disk with two bytes of space per parameter; in memory if absent.
    pub spool: Option<PathBuf>,
}

impl Options {
    /// Where the integers of large weights are kept.
    fn store(&self) -> Box<dyn WeightStore> {
        match &self.spool {
            Some(folder) => Box::new(WeightFolder::new(folder)),
            None => Box::new(InMemory),
        }
    }
}

/// A graph, samples of its inputs, and how to compile it.
type Task<'a> = (Cow<'a, Graph>, Cow<'a, [Vec<Tensor>]>, CompileOptions);

/// Most samples that calibration runs; more make no difference to ranges.
const MAX_SAMPLES: usize = 256;

impl OnnxModel {
    /// Reads an ONNX file; weights outside of it are looked for in its folder. `dims` gives symbolic sizes their values.
    ///
    /// # Errors
    /// [`Error::Import`]: not ONNX, unknown operators (all of them), a size without a value, …
    pub fn read(path: &Path, dims: &BTreeMap<String, usize>) -> Result<OnnxModel, Error> {
        let options = ImportOptions { dims: dims.clone() };
        let graph = zktorch_onnx::import(path, &options).map_err(|source| Error::Import { file: path.to_path_buf(), source })?;
        Ok(OnnxModel { graph, file: path.to_path_buf() })
    }

    /// A float graph made in code instead of a file, under a name.
    pub fn from_graph(graph: Graph, name: &str) -> OnnxModel {
        OnnxModel { graph, file: PathBuf::from(name) }
    }

    /// Like [`OnnxModel::read`]; symbolic sizes take the values that make the inputs those of `specs`.
    ///
    /// # Errors
    /// As [`OnnxModel::read`].
    pub fn read_like(path: &Path, specs: &[TensorSpec]) -> Result<OnnxModel, Error> {
        let mut dims = BTreeMap::new();
        loop {
            match OnnxModel::read(path, &dims) {
                Err(Error::Import { file, source: ImportError::MissingDims(open) }) => {
                    let size = |d: &OpenDim| specs.iter().find(|s| s.name == d.input)?.shape.get(d.axis).copied();
                    let found: Vec<(String, usize)> = open.iter().filter_map(|d| Some((d.dim.clone(), size(d)?))).collect();
                    if found.is_empty() {
                        return Err(Error::Import { file, source: ImportError::MissingDims(open) });
                    }
                    dims.extend(found);
                }
                other => return other,
            }
        }
    }

    /// Inputs in graph order.
    pub fn inputs(&self) -> Vec<TensorSpec> {
        self.specs(&self.graph.inputs)
    }

    /// Outputs in graph order.
    pub fn outputs(&self) -> Vec<TensorSpec> {
        self.specs(&self.graph.outputs)
    }

    fn specs(&self, ids: &[zktorch_float::ValueId]) -> Vec<TensorSpec> {
        let spec = |v: &zktorch_float::ValueInfo| TensorSpec { name: v.name.clone(), dtype: v.dtype, shape: v.shape.clone() };
        ids.iter().map(|&id| spec(self.graph.value(id))).collect()
    }

    /// Operators with their number of nodes.
    pub fn operators(&self) -> BTreeMap<String, u64> {
        let mut operators = BTreeMap::new();
        for node in &self.graph.nodes {
            *operators.entry(node.onnx_op.clone()).or_default() += 1;
        }
        operators
    }

    /// Runs the model in floating point.
    ///
    /// # Errors
    /// Inputs that do not fit, or an operator that cannot be evaluated on them.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        Ok(zktorch_float::run(&self.graph, inputs, |_, _| {})?.into_iter().map(std::sync::Arc::unwrap_or_clone).collect())
    }

    /// Compiles the model.
    ///
    /// # Errors
    /// Unfit calibration files, or [`Error::Compile`].
    pub fn compile(&self, options: &Options) -> Result<Model, Error> {
        self.compile_on(&self.samples(options)?, options)
    }

    /// The samples of all calibration files.
    fn samples(&self, options: &Options) -> Result<Vec<Vec<Tensor>>, Error> {
        let specs = self.inputs();
        let mut samples = Vec::new();
        for file in &options.calibration {
            samples.extend(tensors::bind_samples(file, &specs, tensors::read_entries(file)?, MAX_SAMPLES)?);
        }
        samples.truncate(MAX_SAMPLES);
        Ok(samples)
    }

    /// Compiles the model with the scales that `samples` ask for; with none, random inputs are used.
    ///
    /// # Errors
    /// [`Error::Compile`], or [`Error::Metric`] for a model that the metric does not apply to.
    pub fn compile_on(&self, samples: &[Vec<Tensor>], options: &Options) -> Result<Model, Error> {
        self.compile_into(&*options.store(), samples, options)
    }

    /// Like [`OnnxModel::compile_on`]; the integers of large weights go to `store` one by one instead of the options' folder.
    ///
    /// # Errors
    /// As [`OnnxModel::compile_on`].
    pub fn compile_into(&self, store: &dyn WeightStore, samples: &[Vec<Tensor>], options: &Options) -> Result<Model, Error> {
        let (graph, samples, options) = self.task(samples, options)?;
        Model::new(zktorch_graph::compile_into(store, &graph, &samples, &options)?, self.operators().into_iter().collect())
    }

    /// Compiles the model at the least cost at which every output on the calibration inputs has at least the cosine `goal` with the float output. If no
    /// widths reach it, the model that comes closest; the report says how close, and which values limit it.
    ///
    /// # Errors
    /// As [`OnnxModel::compile`]; also a goal outside of (0, 1], or no calibration files.
    pub fn compile_to_fidelity(&self, options: &Options, goal: f64) -> Result<(Model, GoalReport), Error> {
        let (samples, store) = (self.samples(options)?, options.store());
        let (graph, samples, options) = self.task(&samples, options)?;
        let (compiled, report) = zktorch_graph::compile_to_goal_into(&*store, &graph, &samples, &options, goal)?;
        Ok((Model::new(compiled, self.operators().into_iter().collect())?, report))
    }

    /// What is compiled, on what, and how: this graph, or the one with the metric.
    fn task<'a>(&'a self, samples: &'a [Vec<Tensor>], options: &Options) -> Result<Task<'a>, Error> {
        let mut task = match options.metric {
            None => (Cow::Borrowed(&self.graph), Cow::Borrowed(samples), CompileOptions::default()),
            Some(metric) => {
                let graph = metric.append(&self.graph)?;
                let label = graph.inputs.last().map(|&id| metric::any_label(&graph.value(id).shape));
                let samples = samples.iter().map(|s| s.iter().cloned().chain(label.clone()).collect()).collect();
                (Cow::Owned(graph), Cow::Owned(samples), CompileOptions::default())
            }
        };
        let (graph, _, compile) = &mut task;
        compile.inputs = vec![options.inputs; graph.inputs.len()];
        compile.outputs = match options.metric {
            None => vec![options.outputs; graph.outputs.len()],
            // The scores stay an output, hidden: the integers are chosen by how close they are to the float scores.
            Some(_) => vec![Visibility::Private, Visibility::Public],
        };
        compile.source = self.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        compile.weight_bits = options.weight_bits.unwrap_or(compile.weight_bits);
        Ok(task)
    }

    /// Fidelity of a compiled model to this one on `samples` (without labels), per output that both have; nothing without samples.
    ///
    /// # Errors
    /// A sample that one of both cannot be run on.
    pub fn fidelity(&self, model: &Model, samples: &[Vec<Tensor>]) -> Result<Vec<Fidelity>, Error> {
        let mut worst: Vec<Fidelity> = Vec::new();
        let label = model.compiled.inputs.last().filter(|_| model.has_metric()).map(|l| metric::any_label(&l.shape));
        for inputs in samples {
            let labelled: Vec<Tensor> = inputs.iter().cloned().chain(label.clone()).collect();
            let scores = &model.run(&labelled)?.outputs;
            let common = if model.has_metric() { &scores[..1] } else { scores };
            let got = model.fidelity(&self.run(inputs)?, common);
            if worst.is_empty() {
                worst = got;
                continue;
            }
            for (w, g) in worst.iter_mut().zip(got) {
                w.max_abs = w.max_abs.max(g.max_abs);
                w.mean_abs += g.mean_abs;
                w.cosine = w.cosine.min(g.cosine);
                w.top1 += g.top1;
            }
        }
        for w in &mut worst {
            w.mean_abs /= samples.len() as f64;
            w.top1 /= samples.len() as f64;
        }
        Ok(worst)
    }
}

/// What an ONNX model needs when it is compiled with these files of typical inputs (or with random ones), and what of it cannot be proved.
///
/// # Errors
/// A file that is no ONNX model, or that needs sizes. Unsupported operators are no error but part of the report.
pub fn check(path: &Path, dims: &BTreeMap<String, usize>, calibration: &[PathBuf]) -> Result<CheckReport, Error> {
    let onnx = match OnnxModel::read(path, dims) {
        Ok(onnx) => onnx,
        Err(Error::Import { source: ImportError::Unsupported(items), .. }) => {
            let node = |u: zktorch_onnx::Unsupported| {
                let attribute = u.attribute.map(|a| format!("attribute '{a}': ")).unwrap_or_default();
                UnsupportedNode { node: u.node, op: u.op, reason: format!("{attribute}{} (opset {})", u.reason, u.opset) }
            };
            return Ok(CheckReport { unsupported: items.into_iter().map(node).collect(), ..CheckReport::default() });
        }
        Err(e) => return Err(e),
    };
    let mut report = CheckReport { inputs: onnx.inputs(), outputs: onnx.outputs(), operators: onnx.operators(), ..CheckReport::default() };
    match onnx.compile(&Options { calibration: calibration.to_vec(), ..Options::default() }) {
        Ok(model) => {
            let shape = zktorch_protocol::proof_shape(&model.compiled.built.program).map_err(Error::Program)?;
            let made = &model.compiled.report;
            report.parameters = made.parameters;
            report.cells = made.cells;
            report.lookups = made.lookups;
            report.table_rows = made.table_rows;
            report.nodes.clone_from(&made.nodes);
            report.cost = made.cost();
            report.proof_bytes = shape.bytes;
            report.srs_size = shape.srs_size;
            // That the ranges are those of random inputs matters to compiled models, not to this report.
            report.warnings = made.warnings.iter().filter(|w| !w.contains("random inputs")).cloned().collect();
            Ok(report)
        }
        Err(Error::Compile(CompileError::Unsupported { nodes })) => {
            report.unsupported = nodes.into_iter().map(|n| UnsupportedNode { node: n.node, op: n.op, reason: n.reason }).collect();
            Ok(report)
        }
        Err(e) => Err(e),
    }
}

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
    fn new(compiled: CompiledModel, operators: Vec<(String, u64)>) -> Result<Model, Error> {
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

    /// Writes a `.zkt` file and returns its length.
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
    let unreadable = |reason: String| InputError::Format { file: path.to_path_buf(), reason };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| unreadable(format!("cannot be read: {e}")))? {
        let file = entry.map_err(|e| unreadable(format!("cannot be read: {e}")))?.path();
        if file.extension().is_some_and(|e| ["npz", "npy", "json"].iter().any(|k| e.eq_ignore_ascii_case(k))) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(unreadable("the folder has no .npz, .npy or .json file".to_owned()));
    }
    files.iter().map(|file| tensors::bind(file, specs, tensors::read_entries(file)?)).collect()
}

fn spec_of(info: &zktorch_graph::IoInfo) -> TensorSpec {
    TensorSpec { name: info.name.clone(), dtype: info.element.dtype(), shape: info.shape.clone() }
}
