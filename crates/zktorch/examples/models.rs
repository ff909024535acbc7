//! Compiles, sets up, proves and verifies every model of a folder and compares the integers' results with stored ones.
//!
//! `cargo run --release -p zktorch --example models -- FOLDER [--cosine 0.999] [NAME…]`
//!
//! Models are all `.onnx` files below FOLDER. Beside `model.onnx` lie its inputs, `input.npz`, on which it is calibrated, and `reference_output.npz`, the
//! outputs of another implementation; beside `model_KIND.onnx` or `anything.onnx` `input_KIND.npz` and so on, or else, for `anything.onnx`, nothing: then inputs
//! are made up, and the reference is the float interpreter. NAME restricts the run to files whose path contains it.
//!
//! A model passes if its proof verifies and shows outputs that have at least the given cosine with the reference; integers must be equal, and the
//! largest element of an output of one row must be in the same place. The exit status says whether all pass.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use zktorch::tensors::{self, Entry};
use zktorch::{DType, Data, Fidelity, OnnxModel, Options, ReferenceString, Tensor, TensorSpec};

/// What to do, from the command line.
struct Args {
    folder: PathBuf,
    cosine: f64,
    names: Vec<String>,
}

fn args() -> Result<Args> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("usage: models FOLDER [--cosine C] [NAME…]")?.into();
    let mut args = Args { folder, cosine: 0.999, names: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--cosine" => args.cosine = words.next().ok_or("--cosine needs a number")?.parse()?,
            _ => args.names.push(word),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    common::exit(start())
}

/// All `.onnx` files below a folder, sorted.
fn models(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            models(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
    Ok(())
}

fn start() -> Result<bool> {
    let args = args()?;
    let mut files = Vec::new();
    models(&args.folder, &mut files)?;
    let mut srs: Option<ReferenceString> = None;
    let (mut passed, mut done) = (0, 0);
    println!("| model | parameters | cells | lookups | reference | cosine | top-1 | prove | proof | verify | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for file in files {
        let name = file.strip_prefix(&args.folder).unwrap_or(&file).display().to_string();
        if !args.names.is_empty() && !args.names.iter().any(|n| name.contains(n.as_str())) {
            continue;
        }
        done += 1;
        match model(&file, &mut srs) {
            Ok(outcome) => {
                let fault = outcome.fault(args.cosine);
                passed += usize::from(fault.is_none());
                println!("| {name} {outcome} {} |", fault.unwrap_or_else(|| "pass".to_owned()));
            }
            Err(e) => println!("| {name} | | | | | | | | | | FAIL: {} |", e.to_string().replace('\n', " ")),
        }
    }
    println!("\n{passed} of {done} pass");
    Ok(passed == done)
}

/// What a model's proof showed, and what it cost.
struct Outcome {
    parameters: usize,
    cells: usize,
    lookups: usize,
    stored: bool,
    fidelity: Vec<Fidelity>,
    /// Element types and shapes of the outputs.
    outputs: Vec<TensorSpec>,
    prove_seconds: f64,
    proof_bytes: usize,
    verify_seconds: f64,
}

impl Outcome {
    fn least(&self, of: impl Fn(&Fidelity) -> f64) -> f64 {
        self.fidelity.iter().map(of).fold(1.0, f64::min)
    }

    /// Why the outputs are not close enough.
    fn fault(&self, cosine: f64) -> Option<String> {
        for (f, spec) in self.fidelity.iter().zip(&self.outputs) {
            if spec.dtype != DType::F32 && f.max_abs > 0.0 {
                return Some(format!("FAIL: {} differs by {}", f.name, f.max_abs));
            }
            if spec.dtype == DType::F32 && (f.cosine < cosine || f.cosine.is_nan()) {
                return Some(format!("FAIL: {} has cosine {:.6}", f.name, f.cosine));
            }
            if spec.shape.last() == Some(&spec.len()) && f.top1 < 1.0 {
                return Some(format!("FAIL: {} has another largest element", f.name));
            }
        }
        None
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {:.6} | {:.1} % | {:.2} s | {} B | {:.1} ms |",
            self.parameters,
            self.cells,
            self.lookups,
            if self.stored { "stored" } else { "interpreter" },
            self.least(|f| f.cosine),
            100.0 * self.least(|f| f.top1),
            self.prove_seconds,
            self.proof_bytes,
            1e3 * self.verify_seconds
        )
    }
}

/// The file beside `model.onnx` or `model_KIND.onnx` that begins with `what` instead of `model`.
fn beside(model: &Path, what: &str) -> Option<PathBuf> {
    let kind = model.file_stem()?.to_str()?.strip_prefix("model")?;
    Some(model.with_file_name(format!("{what}{kind}.npz"))).filter(|p| p.is_file())
}

fn model(file: &Path, srs: &mut Option<ReferenceString>) -> Result<Outcome> {
    let stored = beside(file, "input");
    let (onnx, inputs) = match &stored {
        Some(path) => {
            let entries = tensors::read_entries(path)?;
            let onnx = OnnxModel::read_like(file, &entries.iter().map(spec).collect::<Vec<_>>())?;
            let inputs = tensors::bind(path, &onnx.inputs(), entries)?;
            (onnx, inputs)
        }
        None => {
            let onnx = OnnxModel::read(file, &BTreeMap::new())?;
            let inputs = onnx.inputs().iter().map(made_up).collect::<Result<Vec<_>>>()?;
            (onnx, inputs)
        }
    };
    let outputs = onnx.outputs();
    let reference = beside(file, "reference_output");
    let wanted = match &reference {
        Some(path) => tensors::bind(path, &outputs, tensors::read_entries(path)?)?,
        None => onnx.run(&inputs)?,
    };
    let model = onnx.compile_on(std::slice::from_ref(&inputs), &Options::default())?;
    let size = model.required_srs_size()?;
    let srs = match srs {
        Some(long) if long.len() >= size => long,
        short => short.insert(ReferenceString::generate(size.next_power_of_two().trailing_zeros())),
    };
    let (pk, vk) = zktorch::setup(&model, srs)?;
    let began = Instant::now();
    let proved = zktorch::prove(&model, &pk, &inputs, &mut |_| {})?;
    let prove_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let statement = zktorch::verify(&vk, &proved.proof)?;
    let verify_seconds = began.elapsed().as_secs_f64();
    let shown = statement
        .outputs
        .iter()
        .map(|t| t.value.clone().ok_or("an output is not in the statement"))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let report = &model.compiled().report;
    Ok(Outcome {
        parameters: report.parameters,
        cells: report.cells,
        lookups: report.lookups,
        stored: reference.is_some(),
        fidelity: model.fidelity(&wanted, &shown),
        outputs,
        prove_seconds,
        proof_bytes: proved.proof.proof_len(),
        verify_seconds,
    })
}

/// Name and shape of a stored tensor; its element type does not matter to symbolic sizes.
fn spec(entry: &Entry) -> TensorSpec {
    TensorSpec { name: entry.name.clone().unwrap_or_default(), dtype: DType::F32, shape: entry.shape.clone().unwrap_or_default() }
}

/// Floats in `[0, 1)`, the same on every machine.
fn made_up(spec: &TensorSpec) -> Result<Tensor> {
    if spec.dtype != DType::F32 {
        return Err(format!("there is no stored input, and '{}' takes no floats", spec.name).into());
    }
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    Ok(Tensor { shape: spec.shape.clone(), data: Data::F32((0..spec.len()).map(|_| next()).collect()) })
}
