//! Accuracy of a hidden model on a labelled set.
//!
//! **Relation.** A model that is compiled with [`Metric::Top1`] has one more input, `label`, and says in its only visible output, `correct`, on how many rows of its scores the
//! largest element is at the label's place; of equal largest elements the first one counts. A proof of many inferences then has the *sum* of `correct` over a whole batch in its
//! statement, so that a batch shows how many predictions are right and not which.
//!
//! **What a verifier has to look at.** Public inputs and labels are listed, and are the set that the count is about. Of a private or committed set only the count is known: it says
//! that the prover knows *some* set of this size with that count.

use crate::error::Error;
use crate::job::{JobOptions, Plan};
use crate::keys::{ModelInfo, ProvingKey};
use crate::model::{Model, read_many_of};
use crate::proof::{Statement, StatementTensor};
use crate::tensors::{self, Numbers, TensorSpec};
use std::path::Path;
use zktorch_float::{BinaryFn, DType, Data, Graph, Node, Op, ReduceFn, Tensor, ValueId};
use zktorch_graph::{Element, Visibility};
use zktorch_program::derive::DeriveError;

/// Name of the input that holds the labels.
pub const LABEL: &str = "label";
/// Name of the output that counts.
pub const CORRECT: &str = "correct";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Rows of the first output (along its last axis) whose largest element is at the label's place.
    Top1,
}

/// Why a metric cannot be computed or proved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// The first output holds no scores.
    #[error("the first output, {spec}, does not hold scores of two or more classes along its last axis")]
    Scores {
        /// The output.
        spec: TensorSpec,
    },
    /// The model has a tensor of that name.
    #[error("the model has a tensor named '{name}', which is the name of a tensor of the metric")]
    Name {
        /// The name.
        name: &'static str,
    },
    /// The model was compiled without a metric.
    #[error("the model was compiled without a metric: it has no integer input '{LABEL}' with a public output '{CORRECT}'")]
    None,
    /// Another output is public.
    #[error("the output '{name}' is public: single predictions would be visible")]
    Visible {
        /// The output.
        name: String,
    },
    /// Another number of labels than of inputs.
    #[error("there are {labels} labels for {inputs} inputs of {each} label(s) each")]
    Count {
        /// Labels given.
        labels: usize,
        /// Inputs given.
        inputs: usize,
        /// Labels that each input needs.
        each: usize,
    },
    /// A label that names no class.
    #[error("label {label} at position {index} is not one of the classes 0 to {}", classes - 1)]
    Range {
        /// Position in the file.
        index: usize,
        /// The label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A batch of one inference out of several.
    #[error("a batch of one inference would show whether that prediction is correct")]
    Single,
}

/// The result of a metric over a statement's inferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Rows whose label is the position of the largest score.
    pub correct: u64,
    /// All rows.
    pub of: u64,
}

impl Score {
    /// The result over the outputs of some runs of a model that was compiled with a metric.
    pub fn of_outputs(model: &Model, outputs: &[Vec<Tensor>]) -> Score {
        let place = model.compiled.outputs.iter().position(|o| o.name == CORRECT);
        let each: usize = model.compiled.inputs.last().map_or(0, |l| l.shape.iter().product());
        let counts = outputs.iter().filter_map(|o| match &o.get(place?)?.data {
            Data::I64(values) => Some(values.iter().sum::<i64>()),
            _ => None,
        });
        Score { correct: counts.sum::<i64>().unsigned_abs(), of: (outputs.len() * each) as u64 }
    }

    /// Share of correct rows, in percent.
    pub fn percent(self) -> f64 {
        100.0 * self.correct as f64 / self.of.max(1) as f64
    }
}

impl Metric {
    /// The graph with the input `label` and the outputs (scores, `correct`); other outputs are dropped.
    pub(crate) fn append(self, graph: &Graph) -> Result<Graph, MetricError> {
        let Metric::Top1 = self;
        if let Some(name) = [LABEL, CORRECT].into_iter().find(|n| graph.values.iter().any(|v| v.name == *n)) {
            return Err(MetricError::Name { name });
        }
        let none = TensorSpec { name: "none".to_owned(), dtype: DType::F32, shape: Vec::new() };
        let Some(&scores) = graph.outputs.first() else { return Err(MetricError::Scores { spec: none }) };
        let value = graph.value(scores);
        let (shape, dtype) = (value.shape.clone(), value.dtype);
        let Some((_, rows)) = shape.split_last().filter(|(classes, rows)| dtype != DType::Bool && **classes > 1 && !rows.contains(&0))
        else {
            return Err(MetricError::Scores { spec: TensorSpec { name: value.name.clone(), dtype, shape } });
        };
        // No tensor without axes: one row of scores keeps its axis.
        let rows = if rows.is_empty() { vec![1] } else { rows.to_vec() };
        let (axis, keepdims) = (shape.len() - 1, shape.len() == 1);
        let mut graph = graph.clone();
        let label = graph.add_value(LABEL, DType::I64, rows.clone());
        let mut add = |name: &str, op: Op, inputs: &[ValueId], dtype: DType, shape: Vec<usize>| {
            let out = graph.add_value(name, dtype, shape);
            let inputs = inputs.iter().map(|&i| Some(i)).collect();
            graph.nodes.push(Node { name: format!("metric/{name}"), onnx_op: "Top1".to_owned(), op, inputs, outputs: vec![out] });
            out
        };
        let argmax = Op::ArgMax { axis, keepdims, select_last_index: false };
        let predicted = add("predicted", argmax, &[scores], DType::I64, rows.clone());
        let hit = add("hit", Op::Binary(BinaryFn::Equal), &[predicted, label], DType::Bool, rows.clone());
        let cast = Op::Cast { to: DType::I64 };
        let correct = if rows.iter().product::<usize>() == 1 {
            add(CORRECT, cast, &[hit], DType::I64, rows)
        } else {
            let one = add("one", cast, &[hit], DType::I64, rows.clone());
            let axes = (0..rows.len()).collect();
            let sum = Op::Reduce { function: ReduceFn::Sum, axes, keepdims: true };
            add(CORRECT, sum, &[one], DType::I64, vec![1; rows.len()])
        };
        graph.inputs.push(label);
        graph.outputs = vec![scores, correct];
        Ok(graph)
    }
}

/// A label for runs that are not about the metric: class 0.
pub(crate) fn any_label(rows: &[usize]) -> Tensor {
    Tensor { shape: rows.to_vec(), data: Data::I64(vec![0; rows.iter().product()]) }
}

/// Position of `correct` among the public tensors of a model with a metric.
fn correct_of<'a>(
    mut inputs: impl DoubleEndedIterator<Item = (&'a str, Element)>,
    mut outputs: impl Iterator<Item = (&'a str, Element, Option<u32>)>,
) -> Option<u32> {
    let (LABEL, Element::I64) = inputs.next_back()? else { return None };
    outputs.find(|o| o.0 == CORRECT && o.1 == Element::I64)?.2
}

impl Model {
    /// Position of `correct` among the public tensors.
    fn correct(&self) -> Option<u32> {
        let inputs = self.compiled.inputs.iter().map(|i| (i.name.as_str(), i.element));
        correct_of(inputs, self.compiled.outputs.iter().map(|o| (o.name.as_str(), o.element, o.public.map(|p| p.0))))
    }

    /// Whether it was compiled with a metric.
    pub fn has_metric(&self) -> bool {
        self.correct().is_some()
    }

    /// The inputs without the label of a metric.
    pub fn unlabelled<'a, T>(&self, inputs: &'a [T]) -> &'a [T] {
        let labels = usize::from(self.has_metric());
        &inputs[..inputs.len() - labels.min(inputs.len())]
    }

    /// Reads a labelled set: `inputs` as for [`Model::read_many`], without labels; `labels` is a file with one array of integers, in the order of the inputs.
    ///
    /// # Errors
    /// A model without a metric, files that do not fit, labels of another number or that name no class.
    pub fn read_labelled(&self, inputs: &Path, labels: &Path) -> Result<Vec<Vec<Tensor>>, Error> {
        if !self.has_metric() {
            return Err(MetricError::None.into());
        }
        let specs = self.inputs();
        let Some((label, own)) = specs.split_last() else { return Err(MetricError::None.into()) };
        let mut samples = read_many_of(inputs, own)?;
        let mut entries = tensors::read_entries(labels)?;
        // A file that also holds the inputs names the labels.
        if entries.len() > 1 {
            entries.retain(|e| e.name.as_deref() == Some(LABEL));
        }
        for entry in &mut entries {
            // Any shape will do; a single tensor needs no name.
            let count = if let Numbers::Int(v) = &entry.numbers { v.len() } else { continue };
            if count != samples.len() * label.len() {
                return Err(MetricError::Count { labels: count, inputs: samples.len(), each: label.len() }.into());
            }
            entry.name = None;
            entry.shape = None;
        }
        let all = TensorSpec { shape: [&[samples.len()], label.shape.as_slice()].concat(), ..label.clone() };
        let all = tensors::bind(labels, &[all], entries)?.pop();
        let Some(Data::I64(numbers)) = all.map(|t| t.data) else { return Err(MetricError::None.into()) };
        self.check_labels(&numbers)?;
        for (sample, own) in samples.iter_mut().zip(numbers.chunks(label.len().max(1))) {
            sample.push(Tensor { shape: label.shape.clone(), data: Data::I64(own.to_vec()) });
        }
        Ok(samples)
    }

    fn check_labels(&self, labels: &[i64]) -> Result<(), MetricError> {
        let scores = self.compiled.outputs.iter().find(|o| o.name != CORRECT);
        let Some(&classes) = scores.and_then(|o| o.shape.last()) else { return Ok(()) };
        let known = |label: i64| usize::try_from(label).is_ok_and(|l| l < classes);
        match labels.iter().enumerate().find(|(_, l)| !known(**l)) {
            Some((index, &label)) => Err(MetricError::Range { index, label, classes }),
            None => Ok(()),
        }
    }
}

/// Plans the proof of a metric: one batch if the memory and the key's reference string allow it, in segments if need be; otherwise more batches, whose counts add up.
///
/// # Errors
/// A model without a metric or with another public output, a batch of one inference out of several, or too little memory.
pub fn plan_metric(model: &Model, key: &ProvingKey, inferences: usize, options: &JobOptions) -> Result<Plan, Error> {
    key.check_model(model)?;
    let correct = model.correct().ok_or(MetricError::None)?;
    if let Some(other) = model.compiled.outputs.iter().find(|o| o.name != CORRECT && o.visibility != Visibility::Private) {
        return Err(MetricError::Visible { name: other.name.clone() }.into());
    }
    let plan = |batch: usize| {
        let plan = Plan::new(model, inferences, &[correct], &JobOptions { batch: Some(batch), ..*options })?;
        let single = inferences > 1 && plan.layouts().any(|l| l.inferences < 2);
        if single { Err(MetricError::Single.into()) } else { Ok(plan) }
    };
    if let Some(batch) = options.batch {
        return plan(batch);
    }
    let mut batches = 1;
    loop {
        let batch = inferences.div_ceil(batches).max(1);
        let found = plan(batch);
        let too_large = match &found {
            Ok(plan) => plan.srs_size() > key.srs_size(),
            Err(Error::Memory { .. } | Error::Derive(DeriveError::TooLarge | DeriveError::Sum { .. })) => true,
            Err(_) => false,
        };
        if !too_large || batch < 4 {
            return found;
        }
        batches *= 2;
    }
}

/// The result of the metric over verified statements; nothing if the model has none.
pub fn score(info: &ModelInfo, statements: &[Statement]) -> Option<Score> {
    let inputs = info.inputs.iter().map(|i| (i.name.as_str(), i.element));
    correct_of(inputs, info.outputs.iter().map(|o| (o.name.as_str(), o.element, o.public)))?;
    let mut score = Score { correct: 0, of: 0 };
    for statement in statements {
        let find = |tensors: &[StatementTensor], name| tensors.iter().find(|t: &&StatementTensor| t.info.name == name).cloned();
        let correct = find(&statement.outputs, CORRECT)?.value?;
        let Data::I64(values) = correct.data else { return None };
        for value in values {
            score.correct = score.correct.checked_add(u64::try_from(value).ok()?)?;
        }
        let labels = find(&statement.inputs, LABEL).filter(|l| !l.summed)?;
        let rows = labels.info.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?))?;
        score.of = score.of.checked_add(rows)?;
    }
    Some(score)
}

#[cfg(test)]
mod tests;
