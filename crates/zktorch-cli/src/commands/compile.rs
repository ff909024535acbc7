use super::{dims, fidelity_json, fidelity_lines, hex, spec_text, visibility_name};
use crate::args;
use crate::ui::{Ui, bytes, count};
use crate::{Failure, Outcome};
use serde_json::json;
use zktorch::{OnnxModel, Options, container, tensors};

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
        ..Options::default()
    };
    ui.phase("calibrating and compiling");
    let model = onnx.compile(&options)?;
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
    ui.result(&json!({
        "file": args.output,
        "file_bytes": written,
        "digest": hex(&model.digest()),
        "parameters": report.parameters,
        "cells": report.cells,
        "lookups": report.lookups,
        "calibration_samples": if report.random_calibration { 0 } else { report.samples },
        "fidelity": fidelity_json(&fidelity),
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
