//! Compilation to a goal: the cheapest widths at which the integer outputs are as close to the float outputs as was asked for.

use crate::blocks::TablePlan;
use crate::calibrate::{self, Ranges, formats};
use crate::economy;
use crate::model::CompiledModel;
use crate::store::{InMemory, WeightStore};
use crate::{CompileError, CompileOptions, Format, rewrite};
use std::sync::Arc;
use zktorch_float::{DType, Data, EvalError, Graph, Tensor, eval_op, run};

/// What [`compile_to_goal`] reached.
#[derive(Debug, Clone, PartialEq)]
pub struct GoalReport {
    /// Least cosine of an output that was asked for.
    pub goal: f64,
    /// Least cosine of an output over the trials.
    pub reached: f64,
    /// Calibration inputs that were tried.
    pub trials: usize,
    /// Signed width of activations.
    pub activation_bits: u32,
    /// Values that were given more bits than that.
    pub widened: usize,
    /// The values whose rounding moves the outputs most, worst first.
    pub limits: Vec<Limit>,
}

/// How much the rounding of one value alone moves the outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The node that makes the value, or the input.
    pub node: String,
    /// Its operator in the source model; `input` for inputs.
    pub op: String,
    /// `real = integer · 2^-scale`.
    pub scale: i32,
    /// Signed width.
    pub bits: u32,
    /// Root mean square of the rounding error relative to that of the value.
    pub noise: f64,
    /// `1 - cosine` of the outputs if nothing else is rounded.
    pub loss: f64,
}

/// Widths of activations that are tried.
const WIDTHS: std::ops::RangeInclusive<u32> = 8..=16;
/// Largest scale of an activation in the second attempt: small values then use all their bits.
const FINE_SCALE: i32 = 22;
/// Calibration inputs that are tried, at most.
const TRIALS: usize = 16;
/// Values whose effect on the outputs is measured.
const SUSPECTS: usize = 8;
/// Bits by which a value that limits the fidelity is widened.
const EXTRA: u32 = 4;

/// One compiled candidate.
struct Candidate {
    model: CompiledModel,
    cosine: f64,
    bits: u32,
    max_scale: i32,
}

struct Search<'a> {
    graph: &'a Graph,
    trials: &'a [Vec<Tensor>],
    references: Vec<Vec<Tensor>>,
    options: &'a CompileOptions,
    store: &'a dyn WeightStore,
}

impl Search<'_> {
    fn options(&self, bits: u32, max_scale: i32) -> CompileOptions {
        CompileOptions { activation_bits: bits, max_scale, ..self.options.clone() }
    }

    /// The model with these widths, and how close it is; a width at which something does not fit is no candidate.
    fn candidate(&self, ranges: &Ranges, bits: u32, max_scale: i32) -> Result<Option<Candidate>, CompileError> {
        let options = self.options(bits, max_scale);
        let build = |plan: &TablePlan| crate::compile::build(self.store, self.graph, ranges, &options, plan);
        let model = if self.options.adapt { economy::cheapest(bits, None, build)?.0 } else { build(&TablePlan::of_width(bits))? };
        let mut cosine = 1.0f64;
        for (inputs, reference) in self.trials.iter().zip(&self.references) {
            let Ok(result) = model.run(inputs) else {
                return Ok(None);
            };
            cosine = model.fidelity(reference, &result.outputs).iter().fold(cosine, |c, f| c.min(f.cosine));
        }
        Ok(Some(Candidate { model, cosine, bits, max_scale }))
    }

    /// The narrowest activations that meet the goal, or the ones that come closest.
    fn narrowest(&self, ranges: &Ranges, goal: f64) -> Result<Option<Candidate>, CompileError> {
        let (mut lo, mut hi) = (*WIDTHS.start(), *WIDTHS.end());
        let Some(mut best) = self.candidate(ranges, hi, self.options.max_scale)? else {
            return Ok(None);
        };
        if best.cosine < goal {
            // All bits of small values count before any width is raised: that costs nothing.
            let fine = self.candidate(ranges, hi, FINE_SCALE.max(self.options.max_scale))?;
            return Ok(Some(fine.filter(|f| f.cosine > best.cosine).unwrap_or(best)));
        }
        while lo < hi {
            let middle = (lo + hi) / 2;
            match self.candidate(ranges, middle, self.options.max_scale)?.filter(|c| c.cosine >= goal) {
                Some(c) => {
                    hi = middle;
                    if c.model.report.cost() <= best.model.report.cost() {
                        best = c;
                    }
                }
                None => lo = middle + 1,
            }
        }
        Ok(Some(best))
    }

    /// The values that lose most, worst first, by numbers of values.
    fn limits(&self, ranges: &Ranges, best: &Candidate) -> Result<Vec<(usize, Limit)>, CompileError> {
        let (Some(inputs), Some(reference)) = (self.trials.first(), self.references.first()) else {
            return Ok(Vec::new());
        };
        let formats = formats(self.graph, ranges, &self.options(best.bits, best.max_scale));
        let mut noise = vec![0.0; self.graph.values.len()];
        let written = |id: usize| self.graph.values[id].constant.is_none() && self.graph.values[id].dtype == DType::F32;
        run(self.graph, inputs, |id, tensor| {
            if written(id.0) {
                noise[id.0] = relative_noise(tensor, formats[id.0]);
            }
        })?;
        let mut suspects: Vec<usize> = (0..noise.len()).filter(|&i| noise[i] > 0.0).collect();
        suspects.sort_by(|&a, &b| noise[b].total_cmp(&noise[a]));
        suspects.truncate(SUSPECTS);
        let producers = self.graph.producers();
        let mut limits = Vec::new();
        for id in suspects {
            let outputs = run_rounding(self.graph, inputs, |i, t| if i == id { rounded(&t, formats[id]) } else { t })?;
            let compared = best.model.fidelity(reference, &outputs);
            let loss = compared.iter().fold(0.0f64, |worst, f| worst.max(1.0 - f.cosine));
            let (node, op) = match producers[id].map(|p| &self.graph.nodes[p]) {
                Some(n) => (n.name.clone(), n.onnx_op.clone()),
                None => (self.graph.values[id].name.clone(), "input".to_owned()),
            };
            limits.push((id, Limit { node, op, scale: formats[id].scale, bits: formats[id].bits, noise: noise[id], loss }));
        }
        limits.sort_by(|a, b| b.1.loss.total_cmp(&a.1.loss));
        Ok(limits)
    }
}

/// Compiles `graph` at the least cost at which every output of every calibration input has at least the cosine `goal` with the float output.
///
/// Tried are widths of all activations from 8 to 16 bits, then finer scales of small values, then more bits for the values that lose most. If nothing
/// is close enough, the closest model is returned; the report says what was reached and which values limit it.
///
/// # Errors
/// As [`crate::compile`]; also a goal outside of (0, 1] or no calibration inputs.
pub fn compile_to_goal(
    graph: &Graph,
    calibration: &[Vec<Tensor>],
    options: &CompileOptions,
    goal: f64,
) -> Result<(CompiledModel, GoalReport), CompileError> {
    compile_to_goal_into(&InMemory, graph, calibration, options, goal)
}

/// Like [`compile_to_goal`]; the integers of large weights go to `store`, those of every candidate.
///
/// # Errors
/// As [`compile_to_goal`]; a failing store is reported like a node without a lowering.
pub fn compile_to_goal_into(
    store: &dyn WeightStore,
    graph: &Graph,
    calibration: &[Vec<Tensor>],
    options: &CompileOptions,
    goal: f64,
) -> Result<(CompiledModel, GoalReport), CompileError> {
    graph.validate()?;
    options.check(graph.inputs.len(), graph.outputs.len())?;
    let refused = |expected: &str, got: String| Err(CompileError::Option { option: "fidelity", expected: expected.to_owned(), got });
    if !(goal > 0.0 && goal <= 1.0) {
        return refused("above 0 and at most 1", goal.to_string());
    }
    if calibration.is_empty() {
        return refused("calibration inputs to compare on", "none".to_owned());
    }
    let mut graph = rewrite::rewrite(graph)?;
    let mut ranges = calibrate::calibrate(&mut graph, calibration, options.seed)?;
    let trials = &calibration[..calibration.len().min(TRIALS)];
    let mut references = Vec::new();
    for inputs in trials {
        references.push(run(&graph, inputs, |_, _| {})?.iter().map(|t| (**t).clone()).collect());
    }
    let search = Search { graph: &graph, trials, references, options, store };
    let Some(mut best) = search.narrowest(&ranges, goal)? else {
        // Not even the usual widths can be run: the error of compiling as usual, or of running it, says why.
        let model = crate::compile_into(store, &graph, calibration, options)?;
        let report = GoalReport { goal, reached: 0.0, trials: 0, activation_bits: options.activation_bits, widened: 0, limits: Vec::new() };
        return Ok((model, report));
    };
    let mut limits = search.limits(&ranges, &best)?;
    let mut widened = 0;
    if best.cosine < goal {
        for count in 1..=limits.len() {
            // One value more at a time; a width that some operator does not take is undone.
            let id = limits[count - 1].0;
            ranges.extra_bits[id] = EXTRA;
            match search.candidate(&ranges, best.bits, best.max_scale) {
                Ok(Some(c)) if c.cosine > best.cosine => {
                    best = c;
                    widened += 1;
                }
                _ => ranges.extra_bits[id] = 0,
            }
            if best.cosine >= goal {
                break;
            }
        }
        if widened > 0 {
            limits = search.limits(&ranges, &best)?;
        }
    }
    let limits = limits.into_iter().map(|l| l.1).collect();
    let report = GoalReport { goal, reached: best.cosine, trials: trials.len(), activation_bits: best.bits, widened, limits };
    Ok((best.model, report))
}

/// Root mean square of the rounding to a format relative to that of the values.
fn relative_noise(tensor: &Tensor, format: Format) -> f64 {
    let Data::F32(values) = &tensor.data else { return 0.0 };
    let unit = libm::exp2(f64::from(-format.scale));
    let (mut signal, mut error) = (0.0, 0.0);
    for v in values.iter().map(|&v| f64::from(v)).filter(|v| v.abs() < f64::from(rewrite::MASK_LIMIT)) {
        let e = libm::floor(v / unit + 0.5) * unit - v;
        signal += v * v;
        error += e * e;
    }
    if signal > 0.0 { libm::sqrt(error / signal) } else { 0.0 }
}

fn rounded(tensor: &Tensor, format: Format) -> Tensor {
    let unit = libm::exp2(f64::from(-format.scale));
    let round = |v: &f32| {
        let x = f64::from(*v);
        if x.abs() < f64::from(rewrite::MASK_LIMIT) { (libm::floor(x / unit + 0.5) * unit) as f32 } else { *v }
    };
    match &tensor.data {
        Data::F32(values) => Tensor { shape: tensor.shape.clone(), data: Data::F32(values.iter().map(round).collect()) },
        _ => tensor.clone(),
    }
}

/// Runs the graph with every value replaced by what `change` makes of it.
fn run_rounding(graph: &Graph, inputs: &[Tensor], change: impl Fn(usize, Tensor) -> Tensor) -> Result<Vec<Tensor>, EvalError> {
    let mut values: Vec<Option<Arc<Tensor>>> = graph.values.iter().map(|v| v.constant.clone()).collect();
    for (id, tensor) in graph.inputs.iter().zip(inputs) {
        values[id.0] = Some(Arc::new(change(id.0, tensor.clone())));
    }
    for node in &graph.nodes {
        let operands: Vec<Option<&Tensor>> = node.inputs.iter().map(|i| i.and_then(|id| values[id.0].as_deref())).collect();
        let results = eval_op(&node.op, &operands)?;
        for (id, tensor) in node.outputs.iter().zip(results) {
            values[id.0] = Some(Arc::new(change(id.0, tensor)));
        }
    }
    let missing = |id: usize| EvalError::Missing { node: "graph outputs".to_owned(), value: graph.values[id].name.clone() };
    graph.outputs.iter().map(|id| values[id.0].as_deref().cloned().ok_or_else(|| missing(id.0))).collect()
}
