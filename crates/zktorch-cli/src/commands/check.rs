use super::dims;
use crate::args;
use crate::ui::{Ui, bytes, count, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use zktorch::CheckReport;

/// `zktorch check`.
pub fn check(args: &args::Check, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("importing and compiling");
    let report = zktorch::check(&args.model.model, &dims(&args.model.dims), &args.calibrate)?;
    ui.finish();
    let supported = report.unsupported.is_empty();
    let (time, memory) = estimate(&report);
    let unsupported: Vec<_> = report.unsupported.iter().map(|u| json!({ "node": u.node, "op": u.op, "reason": u.reason })).collect();
    let tensors = |specs: &[zktorch::TensorSpec]| -> serde_json::Value {
        specs.iter().map(|s| json!({ "name": s.name, "dtype": s.dtype.to_string(), "shape": s.shape })).collect()
    };
    ui.result(&json!({
        "supported": supported,
        "unsupported": unsupported,
        "parameters": report.parameters,
        "cells": report.cells,
        "lookups": report.lookups,
        "operators": report.operators,
        "inputs": tensors(&report.inputs),
        "outputs": tensors(&report.outputs),
        "proof_bytes": report.proof_bytes,
        "srs_size": report.srs_size,
        "estimated_prove_seconds": time,
        "estimated_peak_bytes": memory,
        "warnings": report.warnings,
    }));
    for (what, specs) in [("input ", &report.inputs), ("output", &report.outputs)] {
        for spec in specs {
            ui.line(format!("{what}      {}", super::spec_text(spec)));
        }
    }
    let operators: Vec<String> = report.operators.iter().map(|(op, n)| format!("{op} {n}")).collect();
    if !operators.is_empty() {
        ui.line(format!("operators   {}", operators.join(", ")));
    }
    if supported {
        ui.line(format!("parameters  {}", count(report.parameters)));
        ui.line(format!("cells       {}", count(report.cells)));
        ui.line(format!("lookups     {}", count(report.lookups)));
        ui.line(format!("proof       {} and the public tensors", bytes(report.proof_bytes as u64)));
        ui.line(format!("reference string of 2^{} powers or more", report.srs_size.next_power_of_two().trailing_zeros()));
        ui.line(format!("estimate    {} and {} to prove on this machine", seconds(time), bytes(memory)));
        for warning in &report.warnings {
            ui.line(format!("warning     {warning}"));
        }
        ui.line("supported: every operator of this model can be proved");
    } else {
        for node in report.unsupported.iter().take(40) {
            ui.line(format!("unsupported {} ({}): {}", node.node, node.op, node.reason));
        }
        if report.unsupported.len() > 40 {
            ui.line(format!("… and {} more; --json lists all", report.unsupported.len() - 40));
        }
        ui.line(format!("not supported: {} node(s) cannot be proved", report.unsupported.len()));
    }
    Ok(Outcome::Done)
}

/// Seconds and bytes that a proof takes, within a factor of about two. The coefficients were measured on LeNet-5 and nanoGPT.
fn estimate(report: &CheckReport) -> (f64, u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let work = 1.3e-6 * report.cells as f64 + 0.7e-6 * report.lookups as f64;
    let memory = 160 * report.cells + 20 * report.lookups;
    (0.09 + work / cores.min(8.0), 15_000_000 + memory as u64)
}
