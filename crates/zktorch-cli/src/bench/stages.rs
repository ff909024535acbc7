//! The stages of a measurement, each in a process of its own that leaves its files to the next.

use super::models;
use crate::args::{self, Stage};
use crate::commands::{dims, fidelity_json, inspect::parts_json};
use crate::process::{cpu_seconds, peak_rss_bytes, reset_peak};
use crate::ui::Ui;
use crate::{Failure, Outcome};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Instant;
use zktorch::{Model, OnnxModel, Options, Proof, ProvingKey, ReferenceString, VerifyingKey, WeightFolder, container};

/// `zktorch bench-one`, hidden.
pub fn bench_one(args: &args::BenchOne, ui: &Ui) -> Result<Outcome, Failure> {
    if args.portable {
        zktorch::kernels::forbid();
    }
    let value = match args.stage {
        Stage::Prepare => prepare(args, ui)?,
        Stage::Prove => prove(&args.dir)?,
        Stage::Verify => verify(&args.dir)?,
    };
    ui.result(&value);
    ui.line(value.to_string());
    Ok(Outcome::Done)
}

/// Inputs that a model is calibrated on; the first is the one that is proved.
const SAMPLES: u64 = 4;

/// A compiled model.
struct Compiled {
    model: Model,
    compile_seconds: f64,
    /// By output; null if the integers are not those of the float weights.
    fidelity: Value,
}

/// Compiles the model, and compares it with the original on the input that is proved.
fn compile(args: &args::BenchOne, ui: &Ui) -> Result<Compiled, Failure> {
    if let Some(decoder) = models::gptj::named(&args.model) {
        ui.phase("making the float graph");
        let onnx = OnnxModel::from_graph(decoder.graph(), &args.model);
        let samples = [models::inputs(&onnx.inputs(), 0)];
        ui.phase("calibrating");
        let began = Instant::now();
        let progress = |name: &str| ui.phase(&format!("quantising {name}"));
        let store = models::gptj::Turned { folder: WeightFolder::new(&args.dir), progress: &progress };
        let options = Options { weight_bits: Some(models::gptj::WEIGHT_BITS), ..Options::default() };
        let model = onnx.compile_into(&store, &samples, &options)?;
        return Ok(Compiled { model, compile_seconds: began.elapsed().as_secs_f64(), fidelity: Value::Null });
    }
    let path = match models::named(&args.model) {
        Some(onnx) => {
            let path = args.dir.join("model.onnx");
            container::write_atomic(&path, &onnx)?;
            path
        }
        None => args.model.clone().into(),
    };
    let began = Instant::now();
    let onnx = OnnxModel::read(&path, &dims(&args.dims))?;
    let samples: Vec<_> = (0..SAMPLES).map(|seed| models::inputs(&onnx.inputs(), seed)).collect();
    let model = onnx.compile_on(&samples, &Options { spool: Some(args.dir.clone()), ..Options::default() })?;
    let compile_seconds = began.elapsed().as_secs_f64();
    ui.phase("comparing with the original");
    let fidelity = fidelity_json(&onnx.fidelity(&model, &samples[..1])?);
    Ok(Compiled { model, compile_seconds, fidelity })
}

fn prepare(args: &args::BenchOne, ui: &Ui) -> Result<Value, Failure> {
    let Compiled { model, compile_seconds, fidelity } = compile(args, ui)?;
    ui.phase("writing the model");
    let path = args.dir.join("model.zkt");
    let model_bytes = model.write(&path)?;
    drop(model);
    let model = Model::read(&path)?;
    ui.phase("making a reference string");
    // A fresh string: benchmarks leave nothing in the user's cache, and its cost is no part of set-up.
    let size_log2 = model.required_srs_size()?.next_power_of_two().trailing_zeros();
    let srs = ReferenceString::generate(size_log2);
    ui.phase("setting up");
    let began = Instant::now();
    let (pk, vk) = zktorch::setup(&model, &srs)?;
    let setup_seconds = began.elapsed().as_secs_f64();
    let (pk_bytes, vk_bytes) = zktorch::write_keys((&pk, &args.dir.join("pk")), (&vk, &args.dir.join("vk")))?;
    let report = &model.compiled().report;
    Ok(json!({
        "compile_seconds": compile_seconds,
        "setup_seconds": setup_seconds,
        "srs_log2": size_log2,
        "model_bytes": model_bytes,
        "pk_bytes": pk_bytes,
        "vk_bytes": vk_bytes,
        "parameters": report.parameters,
        "cells": report.cells,
        "lookups": report.lookups,
        "activation_bits": report.activation_bits,
        "fidelity": fidelity,
    }))
}

/// Peak memory of each phase.
struct Peaks {
    phases: Map<String, Value>,
    current: Option<&'static str>,
    total: Option<u64>,
}

impl Peaks {
    /// The phase that runs ends, `next` begins.
    fn turn(&mut self, next: Option<&'static str>) {
        let peak = peak_rss_bytes();
        self.total = self.total.max(peak);
        if let (Some(name), Some(peak)) = (self.current, peak) {
            self.phases.insert(name.to_owned(), json!(peak));
        }
        self.current = next;
        reset_peak();
    }
}

fn prove(dir: &Path) -> Result<Value, Failure> {
    let read = || -> Result<_, Failure> {
        let began = Instant::now();
        let model = Model::read(&dir.join("model.zkt"))?;
        Ok((model, began.elapsed().as_secs_f64(), peak_rss_bytes()))
    };
    // As `zktorch prove` does.
    let (read, key) = rayon::join(read, || ProvingKey::read(&dir.join("pk")));
    let ((model, read_seconds, read_peak), key) = (read?, key?);
    let inputs = models::inputs(&model.inputs(), 0);
    let mut peaks = Peaks { phases: Map::new(), current: Some("reading"), total: None };
    let (began, busy) = (Instant::now(), cpu_seconds());
    let proved = zktorch::prove(&model, &key, &inputs, &mut |phase| peaks.turn(Some(phase)))?;
    let prove_seconds = began.elapsed().as_secs_f64();
    let cpu = busy.and_then(|before| Some(cpu_seconds()? - before));
    peaks.turn(None);
    let proof_bytes = proved.proof.write(&dir.join("proof"))?;
    let phases: Map<_, _> = proved.phases.iter().map(|(n, t)| ((*n).to_owned(), json!(t.as_secs_f64()))).collect();
    let threads = rayon::current_num_threads();
    Ok(json!({
        "threads": threads,
        "model_read_seconds": read_seconds,
        "model_read_peak_bytes": read_peak,
        "prove_seconds": prove_seconds,
        "phases": phases,
        "cpu_seconds": cpu,
        "utilisation": cpu.map(|c| c / (prove_seconds * threads as f64)),
        "peak_rss_bytes": peaks.total.max(peak_rss_bytes()),
        "phase_peak_bytes": peaks.phases,
        "proof_bytes": proof_bytes,
    }))
}

fn verify(dir: &Path) -> Result<Value, Failure> {
    let began = Instant::now();
    let vk = VerifyingKey::read(&dir.join("vk"))?;
    let read_seconds = began.elapsed().as_secs_f64();
    let proof = Proof::read(&dir.join("proof"))?;
    let began = Instant::now();
    let result = zktorch::verify_timed(&vk, &proof);
    let verify_seconds = began.elapsed().as_secs_f64();
    let broken = |rejection: zktorch::Rejection| Failure::Usage {
        code: "E0906",
        message: format!("the proof does not verify: {rejection}"),
        help: "please report this model".to_owned(),
    };
    match result {
        Ok((_, phases)) => Ok(json!({
            "verify_seconds": verify_seconds,
            "vk_read_seconds": read_seconds,
            "verify_phases": phases.iter().map(|(name, time)| ((*name).to_owned(), json!(time.as_secs_f64()))).collect::<Map<_, _>>(),
            "proof_length": proof.proof_len(),
            "proof_parts": parts_json(&proof.parts(&vk).map_err(broken)?),
        })),
        Err(rejection) => Err(broken(rejection)),
    }
}
