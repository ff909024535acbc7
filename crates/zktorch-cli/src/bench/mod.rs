//! Measurements: each model in a process of its own, so that peak memory is its own.

mod models;
mod onnx;

use crate::args::{self, Common};
use crate::commands::dims;
use crate::memory::peak_rss_bytes;
use crate::ui::{Ui, bytes, seconds};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use zktorch::{FileError, OnnxModel, Options, Proof, ReferenceString, VerifyingKey, container};

/// `zktorch bench`.
pub fn bench(args: &args::Bench, common: Common, ui: &Ui) -> Result<Outcome, Failure> {
    let names: Vec<String> =
        if args.models.is_empty() { models::NAMES.iter().map(|n| (*n).to_owned()).collect() } else { args.models.clone() };
    for name in &names {
        if models::named(name).is_none() && !Path::new(name).is_file() {
            return Err(Failure::Usage {
                code: "E0904",
                message: format!("'{name}' is neither a named model nor a file"),
                help: format!(
                    "named models are {}; anything else is the path of an .onnx file",
                    [&models::NAMES[..], &models::LARGE].concat().join(", ")
                ),
            });
        }
    }
    let before = args.against.as_deref().map(read_results).transpose()?;
    let all = std::thread::available_parallelism().map_or(1, |n| n.get() as u16);
    let threads = match common.threads {
        Some(n) => vec![n],
        None if all > 1 => vec![1, all],
        None => vec![1],
    };
    let mut results = Vec::new();
    for name in &names {
        for &n in &threads {
            ui.phase(&format!("measuring {name} with {n} thread(s)"));
            results.push(measure(name, n, args)?);
        }
    }
    ui.finish();
    table(&results, before.as_deref(), ui);
    ui.result(&Value::Array(results));
    Ok(Outcome::Done)
}

/// One measurement in a child process.
fn measure(name: &str, threads: u16, args: &args::Bench) -> Result<Value, Failure> {
    let broken = |message: String| Failure::Usage {
        code: "E0905",
        message: format!("measuring '{name}' failed: {message}"),
        help: format!("`zktorch check` says what is wrong with a model; `zktorch bench-one {name} --threads {threads}` runs it here"),
    };
    let program = std::env::current_exe().map_err(|e| broken(e.to_string()))?;
    let mut command = Command::new(program);
    command.args(["bench-one", name, "--json", "--quiet", "--threads", &threads.to_string()]);
    for dim in &args.dims {
        command.args(["--dim", &format!("{}={}", dim.name, dim.value)]);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|e| broken(e.to_string()))?;
    let value: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| broken(format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))?;
    match value.get("error").and_then(|e| e.get("message")) {
        Some(message) => Err(broken(message.as_str().unwrap_or_default().to_owned())),
        None => Ok(value),
    }
}

/// `zktorch bench-one`, hidden.
pub fn bench_one(args: &args::BenchOne, ui: &Ui) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir().map_err(|source| FileError::Write { file: std::env::temp_dir(), source })?;
    let path = match models::named(&args.model) {
        Some(onnx) => {
            let path = folder.path().join(format!("{}.onnx", args.model));
            container::write_atomic(&path, &onnx)?;
            path
        }
        None => args.model.clone().into(),
    };
    let onnx = OnnxModel::read(&path, &dims(&args.dims))?;
    let samples: Vec<_> = (0..4).map(|seed| models::inputs(&onnx.inputs(), seed)).collect();
    let model = onnx.compile_on(&samples, &Options::default())?;
    drop(onnx);
    // A fresh string: benchmarks leave nothing in the user's cache, and its cost is no part of set-up.
    let srs = ReferenceString::generate(model.required_srs_size()?.next_power_of_two().trailing_zeros());
    let began = Instant::now();
    let (pk, vk) = zktorch::setup(&model, &srs)?;
    let setup_seconds = began.elapsed().as_secs_f64();
    drop(srs);
    let (pk_path, vk_path, proof_path) = (folder.path().join("pk"), folder.path().join("vk"), folder.path().join("proof"));
    let (pk_bytes, vk_bytes) = zktorch::write_keys((&pk, &pk_path), (&vk, &vk_path))?;

    let began = Instant::now();
    let proved = zktorch::prove(&model, &pk, &samples[0], &mut |_| {})?;
    let prove_seconds = began.elapsed().as_secs_f64();
    let proof_bytes = proved.proof.write(&proof_path)?;

    let vk = VerifyingKey::read(&vk_path)?;
    let proof = Proof::read(&proof_path)?;
    let began = Instant::now();
    let result = zktorch::verify(&vk, &proof);
    let verify_seconds = began.elapsed().as_secs_f64();
    if let Err(rejection) = result {
        return Err(Failure::Usage {
            code: "E0906",
            message: format!("the proof does not verify: {rejection}"),
            help: "please report this model".to_owned(),
        });
    }
    let phases: serde_json::Map<_, _> = proved.phases.iter().map(|(n, t)| ((*n).to_owned(), json!(t.as_secs_f64()))).collect();
    let value = json!({
        "name": args.model,
        "threads": threads(),
        "setup_seconds": setup_seconds,
        "prove_seconds": prove_seconds,
        "phases": phases,
        "peak_rss_bytes": peak_rss_bytes(),
        "proof_bytes": proof_bytes,
        "verify_seconds": verify_seconds,
        "pk_bytes": pk_bytes,
        "vk_bytes": vk_bytes,
    });
    ui.result(&value);
    ui.line(value.to_string());
    Ok(Outcome::Done)
}

fn threads() -> usize {
    rayon::current_num_threads()
}

fn read_results(path: &Path) -> Result<Vec<Value>, Failure> {
    let bad = |message: String| Failure::Usage {
        code: "E0907",
        message: format!("{}: {message}", path.display()),
        help: "--against takes the output of an earlier `zktorch bench --json`".to_owned(),
    };
    let bytes = container::read(path)?;
    serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))
}

fn table(results: &[Value], before: Option<&[Value]>, ui: &Ui) {
    let headings = ["model", "threads", "setup", "prove", "peak memory", "proof", "verify", "pk", "vk"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    if before.is_some() {
        rows[0].push("prove, against".to_owned());
    }
    for r in results {
        let time = |key: &str| r[key].as_f64().map_or("-".to_owned(), seconds);
        let size = |key: &str| r[key].as_u64().map_or("-".to_owned(), bytes);
        let mut row = vec![r["name"].as_str().unwrap_or_default().to_owned(), r["threads"].to_string()];
        row.extend([time("setup_seconds"), time("prove_seconds"), size("peak_rss_bytes"), size("proof_bytes")]);
        row.extend([time("verify_seconds"), size("pk_bytes"), size("vk_bytes")]);
        if let Some(before) = before {
            row.push(ratio(r, before).map_or("-".to_owned(), |x| format!("{x:.2}x")));
        }
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len()).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &w)| format!("{cell:<w$}")).collect();
        ui.line(cells.join("  ").trim_end());
    }
    if ui.verbose {
        for r in results {
            ui.line(format!("{} with {} thread(s): {}", r["name"].as_str().unwrap_or_default(), r["threads"], r["phases"]));
        }
    }
}

/// Proving time relative to the same model and thread count in earlier results.
fn ratio(result: &Value, before: &[Value]) -> Option<f64> {
    let old = before.iter().find(|b| b["name"] == result["name"] && b["threads"] == result["threads"])?;
    Some(result["prove_seconds"].as_f64()? / old["prove_seconds"].as_f64()?)
}
