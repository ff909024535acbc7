//! The ONNX file: what it holds, its runs in floating point, and how it is compiled.

use crate::error::Error;
use crate::metric::{self, Metric};
use crate::model::Model;
use crate::tensors::{self, TensorSpec};
use crate::weights::WeightFolder;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zktorch_float::{Graph, Tensor};
use zktorch_graph::{CompileOptions, Fidelity, GoalReport, InMemory, Visibility, WeightStore};
use zktorch_onnx::{ImportError, ImportOptions, OpenDim};

/// An ONNX model as imported: a float graph with fixed shapes.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    graph: Graph,
    file: PathBuf,
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

/// Random inputs that take the place of calibration files where only the cost matters.
const MADE_UP: u64 = 4;

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

    /// Random inputs in the place of calibration files; none for a model without inputs.
    pub(crate) fn made_up_samples(&self) -> Vec<Vec<Tensor>> {
        match self.graph.inputs[..] {
            [] => Vec::new(),
            _ => (0..MADE_UP).map(|seed| zktorch_graph::random_inputs(&self.graph, seed)).collect(),
        }
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
