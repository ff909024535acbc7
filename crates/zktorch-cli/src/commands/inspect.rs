use super::{hex, visibility_name};
use crate::args;
use crate::ui::{Ui, bytes, count, counted, inferences};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use zktorch::{Accumulated, Kind, Model, ModelInfo, Proof, ProvingKey, RangeProof, ReferenceString, VerifyingKey, container};

/// `zktorch inspect`.
pub fn inspect(args: &args::Inspect, ui: &Ui) -> Result<Outcome, Failure> {
    let path = &args.file;
    let (kind, size) = container::kind_of_file(path)?;
    ui.phase("reading");
    let (lines, mut value) = match kind {
        Kind::Model => model(&Model::read(path)?, ui.verbose),
        Kind::ProvingKey => {
            let key = ProvingKey::read(path)?;
            let (mut lines, mut value) = key_text(key.verifying_key());
            lines.push(format!("reference string of {} powers inside", count(key.srs_size())));
            lines.push("secret: it holds the blinding factors of the weight commitments".to_owned());
            value["srs_size"] = json!(key.srs_size());
            (lines, value)
        }
        Kind::VerifyingKey => {
            let key = VerifyingKey::read(path)?;
            let (mut lines, mut value) = key_text(&key);
            add_parts(&key.proof_parts()?, &mut lines, &mut value);
            (lines, value)
        }
        Kind::Proof => {
            let proof = Proof::read(path)?;
            let mut lines = vec![
                format!("says that it is about model {}", proof.claimed_model()),
                inferences(proof.inferences()),
                format!("{} public numbers, {} of proof", count(proof.public_values()), bytes(proof.proof_len() as u64)),
                "whether it is valid: zktorch verify PROOF --vk VK".to_owned(),
            ];
            let mut value = json!({
                "claimed_model_id": proof.claimed_model().to_string(),
                "inferences": proof.inferences(),
                "public_values": proof.public_values(),
                "proof_length": proof.proof_len(),
            });
            if let Some(vk) = &args.vk {
                match proof.parts(&VerifyingKey::read(vk)?) {
                    Ok(parts) => add_parts(&parts, &mut lines, &mut value),
                    Err(rejection) => {
                        ui.error(rejection.code(), &format!("it is no proof for this key: {rejection}"), rejection.help().as_deref());
                        return Ok(Outcome::Rejected);
                    }
                }
            }
            (lines, value)
        }
        Kind::Accumulator => {
            let all = Accumulated::read(path)?;
            let lines = vec![
                format!("{} of model {}, in {}", inferences(all.inferences()), all.model_id(), counted(all.leaves(), "leaf", "leaves")),
                "secret: it holds hidden values of these inferences".to_owned(),
                "make a proof of it: zktorch accumulate ACC --pk PK -o PROOF".to_owned(),
            ];
            (lines, json!({ "claimed_model_id": all.model_id().to_string(), "inferences": all.inferences(), "leaves": all.leaves() }))
        }
        Kind::Witness | Kind::TaskResult => {
            let (job, task, length) = zktorch::describe_result(path, kind)?;
            let lines = vec![
                format!("says that it is the result of task {task} of job {}, {}", hex(&job), bytes(length as u64)),
                "secret: it holds hidden values of the job's inferences".to_owned(),
            ];
            (lines, json!({ "claimed_job": hex(&job), "claimed_task": task, "length": length }))
        }
        Kind::Srs => {
            let srs = ReferenceString::read(path)?;
            let line = format!("{} powers; zktorch srs verify checks that they belong together", count(srs.len()));
            (vec![line], json!({ "size": srs.len() }))
        }
        Kind::RangeProof => {
            let proof = RangeProof::read(path)?;
            let lines = vec![
                format!("says that the weights of model {} are small integers", proof.claimed_model()),
                "whether it is valid: zktorch verify PROOF --vk VK --ranges RANGES".to_owned(),
            ];
            (lines, json!({ "claimed_model_id": proof.claimed_model().to_string() }))
        }
    };
    ui.finish();
    value["kind"] = json!(kind.described());
    value["version"] = json!(kind.version());
    value["file_bytes"] = json!(size);
    ui.result(&value);
    ui.line(format!("{}: {}, format version {}, {}", path.display(), kind.described(), kind.version(), bytes(size)));
    for line in lines {
        ui.line(format!("  {line}"));
    }
    Ok(Outcome::Done)
}

/// What makes up a proof.
fn add_parts(parts: &[(&'static str, usize)], lines: &mut Vec<String>, value: &mut Value) {
    let total: usize = parts.iter().map(|(_, n)| n).sum();
    lines.push(format!("a proof without the public tensors has {} bytes:", count(total)));
    lines.extend(parts.iter().map(|(name, n)| format!("{:>9}  {name}", count(*n))));
    value["proof_parts"] = parts_json(parts);
}

/// `[{part, bytes}]`, in the order of the protocol.
pub fn parts_json(parts: &[(&'static str, usize)]) -> Value {
    parts.iter().map(|(name, n)| json!({ "part": name, "bytes": n })).collect()
}

fn model(model: &Model, verbose: bool) -> (Vec<String>, Value) {
    let compiled = model.compiled();
    let mut lines = vec![format!("from '{}', digest {}", compiled.source, hex(&model.digest()))];
    let mut tensors = Vec::new();
    for (what, list) in [("input", &compiled.inputs), ("output", &compiled.outputs)] {
        for t in list {
            let unit = f64::from(-t.scale).exp2();
            lines.push(format!(
                "{} {what} {} {} {:?}, {}, from {} to {}",
                visibility_name(t.visibility),
                t.name,
                t.element.dtype(),
                t.shape,
                super::scale_text(t.scale),
                t.lo as f64 * unit,
                t.hi as f64 * unit
            ));
            tensors.push(json!({
                "kind": what, "name": t.name, "shape": t.shape, "dtype": t.element.dtype().to_string(), "scale": t.scale,
                "visibility": visibility_name(t.visibility),
            }));
        }
    }
    let report = &compiled.report;
    lines.push(format!(
        "{} parameters (in this file), {} cells, {} lookups",
        count(report.parameters),
        count(report.cells),
        count(report.lookups)
    ));
    if report.random_calibration {
        lines.push("calibrated on random inputs".to_owned());
    } else {
        lines.push(format!("calibrated on {} inputs", report.samples));
    }
    let operators: Vec<String> = model.operators().iter().map(|(op, n)| format!("{op} {n}")).collect();
    lines.push(format!("operators {}", operators.join(", ")));
    let shown = if verbose { report.nodes.len() } else { 12 };
    for node in report.nodes.iter().take(shown) {
        lines.push(format!("{} ({}): {} cells, {} lookups", node.name, node.op, count(node.cells), count(node.lookups)));
    }
    if report.nodes.len() > shown {
        lines.push(format!("… and {} more nodes (-v shows all)", report.nodes.len() - shown));
    }
    let nodes: Vec<Value> = report
        .nodes
        .iter()
        .map(|n| json!({ "name": n.name, "op": n.op, "cells": n.cells, "lookups": n.lookups, "scale": n.scale }))
        .collect();
    let value = json!({
        "source": compiled.source, "operators": model.operators(), "digest": hex(&model.digest()), "tensors": tensors, "parameters": report.parameters,
        "cells": report.cells, "lookups": report.lookups, "nodes": nodes,
    });
    (lines, value)
}

fn key_text(key: &VerifyingKey) -> (Vec<String>, Value) {
    let info = key.info();
    let program = key.program();
    let operators: Vec<String> = info.operators.iter().map(|(op, n)| format!("{op} {n}")).collect();
    let mut lines = vec![
        format!("model id {}", key.model_id()),
        format!("from '{}', as its maker says", info.source),
        format!("operators {}", operators.join(", ")),
        format!("{} private parameters, committed", count(program.parameter_count())),
    ];
    let tensors = tensors(info, &mut lines);
    lines.push(format!(
        "{} cells, {} identities, {} lookups in {} tables",
        count(program.heap_len),
        count(program.identities.len()),
        count(program.lookup_count()),
        count(program.tables.len())
    ));
    let value = json!({
        "model_id": key.model_id().to_string(), "source": info.source, "operators": info.operators, "tensors": tensors,
        "parameters": program.parameter_count(), "cells": program.heap_len, "identities": program.identities.len(),
        "lookups": program.lookup_count(), "tables": program.tables.len(),
    });
    (lines, value)
}

fn tensors(info: &ModelInfo, lines: &mut Vec<String>) -> Vec<Value> {
    let mut values = Vec::new();
    for (what, list) in [("input", &info.inputs), ("output", &info.outputs)] {
        for t in list {
            let visibility = visibility_name(t.visibility);
            lines.push(format!("{visibility} {what} {}, {}", super::spec_text(&t.spec()), super::scale_text(t.scale)));
            values.push(json!({ "kind": what, "name": t.name, "shape": t.shape, "scale": t.scale, "visibility": visibility }));
        }
    }
    values
}
