use super::{dims, fidelity_json, fidelity_lines, hex, spec_text, visibility_name};
use crate::args;
use crate::ui::{Ui, bytes, count};
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::{Path, PathBuf};
use zktorch::{GoalReport, OnnxModel, Options, container, tensors};

/// The folder that a file is in.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Samples on which the integer model is compared with the original: each one is a run of both.
const COMPARED: usize = 8;

/// `zktorch compile`.
pub fn compile(args: &args::Compile, ui: &Ui) -> Result<Outcome, Failure> {
    container::check_writable(&args.output)?;
    ui.phase("importing");
    let onnx = OnnxModel::read(&args.model.model, &dims(&args.model.dims))?;
    let options = Options {
        calibration: args.calibrate.clone(),
        inputs: args.input_visibility.into(),
        outputs: args.output_visibility.into(),
        metric: args.metric.map(Into::into),
        // Beside the output: there is room for the weights.
        spool: Some(folder_of(&args.output)),
        ..Options::default()
    };
    ui.phase("calibrating and compiling");
    let (model, goal) = match args.fidelity {
        Some(goal) => {
            let (model, report) = onnx.compile_to_fidelity(&options, goal)?;
            (model, Some(report))
        }
        None => (onnx.compile(&options)?, None),
    };
    let mut samples = Vec::new();
    for file in &args.calibrate {
        let left = COMPARED.saturating_sub(samples.len());
        if left > 0 {
            samples.extend(tensors::bind_samples(file, &onnx.inputs(), tensors::read_entries(file)?, left)?);
        }
    }
    ui.phase("comparing with the original");
    let fidelity = onnx.fidelity(&model, &samples)?;
    let written = model.write(&args.output)?;
    ui.finish();

    let report = &model.compiled().report;
    if report.random_calibration {
        ui.warn("the integer scales were chosen on random inputs: give typical ones with --calibrate FILE");
    }
    for warning in report.warnings.iter().filter(|w| !w.contains("random inputs")) {
        ui.warn(warning);
    }
    if let Some(report) = goal.as_ref().filter(|r| r.reached < r.goal) {
        ui.warn(format!("the fidelity goal {} is not reached: the outputs' least cosine is {:.6}", report.goal, report.reached));
    }
    ui.result(&json!({
        "file": args.output,
        "file_bytes": written,
        "digest": hex(&model.digest()),
        "parameters": report.parameters,
        "cells": report.cells,
        "lookups": report.lookups,
        "calibration_samples": if report.random_calibration { 0 } else { report.samples },
        "fidelity": fidelity_json(&fidelity),
        "fidelity_goal": goal.as_ref().map(goal_json),
        "warnings": report.warnings,
    }));
    let compiled = model.compiled();
    for (specs, infos, what) in [(model.inputs(), &compiled.inputs, "input"), (model.outputs(), &compiled.outputs, "output")] {
        for (spec, info) in specs.iter().zip(infos) {
            ui.line(format!("{} {what} {}", visibility_name(info.visibility), spec_text(spec)));
        }
    }
    ui.line(format!("{} parameters (private), {} cells, {} lookups", count(report.parameters), count(report.cells), count(report.lookups)));
    if !fidelity.is_empty() {
        ui.line(format!("against the original, on {} calibration inputs:", samples.len()));
        fidelity_lines(&fidelity, ui);
    }
    if let Some(report) = &goal {
        goal_lines(report, ui);
    }
    if ui.verbose {
        for node in &report.nodes {
            ui.line(format!(
                "  {} ({}): {} cells, {} lookups, {}",
                node.name,
                node.op,
                count(node.cells),
                count(node.lookups),
                super::scale_text(node.scale)
            ));
        }
    }
    ui.line(format!("wrote {} ({}); it contains the weights", args.output.display(), bytes(written)));
    Ok(Outcome::Done)
}

/// Limits of the fidelity that are printed.
const LIMITS: usize = 3;

fn goal_json(report: &GoalReport) -> serde_json::Value {
    let limits: Vec<_> = report
        .limits
        .iter()
        .map(|l| json!({ "node": l.node, "op": l.op, "scale": l.scale, "bits": l.bits, "noise": l.noise, "loss": l.loss }))
        .collect();
    json!({
        "goal": report.goal,
        "reached": report.reached,
        "met": report.reached >= report.goal,
        "trials": report.trials,
        "activation_bits": report.activation_bits,
        "widened": report.widened,
        "limits": limits,
    })
}

fn goal_lines(report: &GoalReport, ui: &Ui) {
    let wider = if report.widened > 0 { format!(", {} values with more", report.widened) } else { String::new() };
    ui.line(format!(
        "fidelity goal {}: least cosine {:.6} on {} inputs, with activations of {} bits{wider}",
        report.goal, report.reached, report.trials, report.activation_bits
    ));
    for l in report.limits.iter().take(LIMITS) {
        ui.line(format!(
            "  limited by {} ({}): {} bits {}, noise {:.1e} of the value, alone it costs {:.1e} of the cosine",
            l.node,
            l.op,
            l.bits,
            super::scale_text(l.scale),
            l.noise,
            l.loss
        ));
    }
}
