//! From a float graph to a compiled model.

use crate::blocks::TablePlan;
use crate::economy;
use crate::model::{CompileReport, CompiledModel, NodeReport};
use crate::store::{InMemory, WeightStore};
use crate::{CompileError, CompileOptions, calibrate, lower, rewrite};
use std::collections::{HashMap, HashSet};
use zktorch_float::{DType, Graph, Tensor, run};
use zktorch_program::{Built, Factor, Program, RegionKind, Source, Step, Term, View};

/// Compiles `graph` into a program over integers.
///
/// `calibration` holds sets of graph inputs from the model's domain; they decide the scale of every value. If there are none, random
/// inputs take their place and the report says so.
///
/// # Errors
/// An invalid graph, a failing float evaluation, options out of range, or nodes without a lowering (all of them are listed).
pub fn compile(graph: &Graph, calibration: &[Vec<Tensor>], options: &CompileOptions) -> Result<CompiledModel, CompileError> {
    compile_into(&InMemory, graph, calibration, options)
}

/// Like [`compile`]; the integers of large weights go to `store` one by one.
///
/// # Errors
/// As [`compile`]; a failing store is reported like a node without a lowering.
pub fn compile_into(
    store: &dyn WeightStore,
    graph: &Graph,
    calibration: &[Vec<Tensor>],
    options: &CompileOptions,
) -> Result<CompiledModel, CompileError> {
    graph.validate()?;
    options.check(graph.inputs.len(), graph.outputs.len())?;
    let mut graph = rewrite::rewrite(graph)?;
    let ranges = calibrate::calibrate(&mut graph, calibration, options.seed)?;
    if !options.adapt {
        return build(store, &graph, &ranges, options, &TablePlan::of_width(options.activation_bits));
    }
    let (model, tables) = economy::cheapest(options.activation_bits, None, |plan| build(store, &graph, &ranges, options, plan))?;
    if ranges.random || model.report.table_rows * 4 < model.report.cells {
        return Ok(model);
    }
    narrower(store, (model, tables), &graph, &ranges, calibration, options)
}

/// Lowers the graph with the widths that the options ask for and the given tables.
pub(crate) fn build(
    store: &dyn WeightStore,
    graph: &Graph,
    ranges: &calibrate::Ranges,
    options: &CompileOptions,
    tables: &TablePlan,
) -> Result<CompiledModel, CompileError> {
    let formats = calibrate::formats(graph, ranges, options);
    let lowered =
        lower::lower(store, graph, &formats, &ranges.min, options, tables).map_err(|nodes| CompileError::Unsupported { nodes })?;
    let mut built = lowered.built;
    simplify(&mut built);
    let program = &built.program;
    let mut report = CompileReport {
        cells: program.regions.iter().filter(|r| !r.is_virtual()).map(|r| r.len).sum(),
        lookups: program.lookup_count(),
        parameters: program.parameter_count(),
        table_rows: program.tables.iter().map(|t| t.len()).sum(),
        activation_bits: options.activation_bits,
        samples: ranges.samples,
        random_calibration: ranges.random,
        warnings: lowered.warnings,
        ..CompileReport::default()
    };
    if ranges.random {
        report.warnings.push("calibrated on random inputs: real ones may leave the ranges, give some".to_string());
    }
    report.nodes = node_reports(graph, &formats, &built);
    Ok(CompiledModel { built, inputs: lowered.inputs, outputs: lowered.outputs, report, source: options.source.clone() })
}

/// Widths below the asked one that are tried for small models.
const WIDTHS: std::ops::RangeInclusive<u32> = 10..=14;
/// Fewer calibration inputs than this say too little for fewer than 12 bits.
const FEW: usize = 8;
/// Narrower activations must save at least this [`CompileReport::cost`], about 2 ms.
const WORTHWHILE: usize = 12_000;
/// Calibration inputs on which narrower activations must prove themselves.
const TRIALS: usize = 32;

/// The cheapest of `model` and its narrower variants that agree with the float graph on the calibration inputs.
fn narrower(
    store: &dyn WeightStore,
    (model, tables): (CompiledModel, TablePlan),
    graph: &Graph,
    ranges: &calibrate::Ranges,
    calibration: &[Vec<Tensor>],
    options: &CompileOptions,
) -> Result<CompiledModel, CompileError> {
    let trials = &calibration[..calibration.len().min(TRIALS)];
    let mut references = Vec::new();
    for inputs in trials {
        let outputs = run(graph, inputs, |_, _| {})?;
        references.push(outputs.iter().map(|t| (**t).clone()).collect::<Vec<_>>());
    }
    let mut best = model;
    let least = if trials.len() < FEW { 12 } else { 0 };
    for bits in WIDTHS.filter(|b| (least..options.activation_bits).contains(b)) {
        let narrow = CompileOptions { activation_bits: bits, ..options.clone() };
        let (candidate, _) = economy::cheapest(bits, Some(&tables), |plan| build(store, graph, ranges, &narrow, plan))?;
        if candidate.report.cost() + WORTHWHILE < best.report.cost() && agrees(&candidate, trials, &references, options) {
            best = candidate;
        }
    }
    Ok(best)
}

fn agrees(model: &CompiledModel, inputs: &[Vec<Tensor>], references: &[Vec<Tensor>], options: &CompileOptions) -> bool {
    inputs.iter().zip(references).all(|(inputs, reference)| {
        let Ok(result) = model.run(inputs) else {
            return false;
        };
        let close =
            model.fidelity(reference, &result.outputs).iter().all(|f| f.top1 == 1.0 && f.cosine * 1e6 >= f64::from(options.adapt_cosine));
        let same_integers = reference.iter().zip(&result.outputs).all(|(r, g)| r.dtype() == DType::F32 || r.data == g.data);
        close && same_integers
    })
}

/// Drops axes that say nothing: of size 1, or of stride 0 for an output letter (a term without the letter broadcasts anyway) or for a
/// contraction letter that another factor of the term carries. Fewer shared letters mean smaller sumchecks.
fn simplify(built: &mut Built) {
    let Program { regions, identities, .. } = &mut built.program;
    // The term of a virtual region says where its cells are: by all output letters.
    let is_virtual = |f: &Factor| matches!(f.view.source, Source::Region(r) if regions[r.0 as usize].is_virtual());
    for identity in identities {
        for term in identity.terms.iter_mut().filter(|t| !t.factors.iter().any(is_virtual)) {
            simplify_term(term, identity.outputs);
        }
    }
    for step in &mut built.steps {
        match step {
            Step::Digits { outputs, terms, .. } => {
                for term in terms {
                    simplify_term(term, *outputs);
                }
            }
            Step::Quotient { outputs, numerator, .. } => {
                for term in numerator {
                    simplify_term(term, *outputs);
                }
            }
            _ => {}
        }
    }
}

fn simplify_term(term: &mut Term, outputs: usize) {
    for f in 0..term.factors.len() {
        let mut d = 0;
        while d < term.factors[f].letters.len() {
            let factor = &term.factors[f];
            let (letter, axis) = (factor.letters[d], factor.view.axes[d]);
            let elsewhere = || term.factors.iter().enumerate().any(|(g, other)| g != f && other.letters.contains(&letter));
            let idle = axis.size == 1 || (axis.stride == 0 && ((letter as usize) < outputs || elsewhere()));
            if idle {
                term.factors[f].letters.remove(d);
                term.factors[f].view.axes.remove(d);
            } else {
                d += 1;
            }
        }
    }
}

/// Cells and lookups per node, by the names of the witness steps.
fn node_reports(graph: &Graph, formats: &[crate::Format], built: &Built) -> Vec<NodeReport> {
    let index: HashMap<&str, usize> = graph.nodes.iter().enumerate().map(|(i, n)| (n.name.as_str(), i)).collect();
    let mut cells = vec![0; graph.nodes.len()];
    let mut lookups = vec![0; graph.nodes.len()];
    let mut current = None;
    // Steps may fill cells twice: the maximum of a row is found in cells that hold distances in the end.
    let mut seen = HashSet::new();
    for step in &built.steps {
        if !matches!(step, Step::Input { .. } | Step::Max { .. }) {
            current = find(&index, step.node());
        }
        let Some(i) = current else { continue };
        for view in written(step) {
            let Source::Region(r) = view.source else {
                continue;
            };
            if !seen.insert((r.0, view.offset, view.axes.iter().map(|a| (a.size, a.stride)).collect::<Vec<_>>())) {
                continue;
            }
            let (per_cell, per_lookup) = match built.program.regions[r.0 as usize].kind {
                RegionKind::Column { column: 0, .. } => (1, 1),
                RegionKind::Virtual { .. } => (0, 1),
                _ => (1, 0),
            };
            cells[i] += per_cell * view.len();
            lookups[i] += per_lookup * view.len();
        }
    }
    graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(i, _)| cells[*i] > 0)
        .map(|(i, n)| NodeReport {
            name: n.name.clone(),
            op: n.onnx_op.clone(),
            cells: cells[i],
            lookups: lookups[i],
            scale: n.outputs.first().map_or(0, |o| formats[o.0].scale),
        })
        .collect()
}

/// The node that a step's name begins with: blocks append a suffix.
fn find(index: &HashMap<&str, usize>, name: &str) -> Option<usize> {
    let mut name = name;
    loop {
        if let Some(&i) = index.get(name) {
            return Some(i);
        }
        name = &name[..name.rfind([' ', '.', ':', '/', '#'])?];
    }
}

fn written(step: &Step) -> Vec<&View> {
    match step {
        Step::Input { view, .. } => vec![view],
        Step::Digits { digits, .. } => digits.iter().map(|d| &d.view).collect(),
        Step::Apply { outputs, .. } => outputs.iter().collect(),
        Step::Max { max, .. } => vec![max],
        Step::Quotient { quotient, .. } => vec![quotient],
        Step::InverseSqrt { out, .. } | Step::Sqrt { out, .. } | Step::Gather { out, .. } | Step::Level { out, .. } => {
            vec![out]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zktorch_program::{Axis, Source};

    #[test]
    fn simplification_drops_idle_axes_only() {
        let view = |axes: &[(usize, usize)]| View {
            source: Source::Params,
            offset: 0,
            axes: axes.iter().map(|&(size, stride)| Axis { size, stride }).collect(),
        };
        let mut term = Term::product(1, view(&[(3, 0), (1, 5), (4, 0)]), &[0, 1, 2], view(&[(4, 1)]), &[2]);
        simplify_term(&mut term, 2);
        assert!(term.factors[0].letters.is_empty());
        assert_eq!(term.factors[1].letters, vec![2]);
        // A lone contraction letter counts: the sum over it multiplies by its size.
        let mut term = Term::linear(1, view(&[(4, 0)]), &[2]);
        simplify_term(&mut term, 2);
        assert_eq!(term.factors[0].letters, vec![2]);
    }
}
