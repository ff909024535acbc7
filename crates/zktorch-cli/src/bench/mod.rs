//! Measurements: preparing, proving and verifying run in processes of their own, so that peak memory is that of proving alone.

mod models;
mod onnx;
mod stages;
mod table;

use crate::args::{self, Common};
use crate::ui::Ui;
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use zktorch::{FileError, container};

pub use stages::bench_one;

/// `zktorch bench`.
pub fn bench(args: &args::Bench, common: Common, ui: &Ui) -> Result<Outcome, Failure> {
    let small = || models::SMALL.iter().map(|n| (*n).to_owned()).collect();
    let names: Vec<String> = if args.models.is_empty() { small() } else { args.models.clone() };
    for name in &names {
        if !models::is_named(name) && !Path::new(name).is_file() {
            return Err(Failure::Usage {
                code: "E0904",
                message: format!("'{name}' is neither a named model nor a file"),
                help: format!(
                    "named models are {}; anything else is the path of an .onnx file",
                    [&models::SMALL[..], &models::LARGE, &[models::gptj::NAMES, models::SCALING]].concat().join(", ")
                ),
            });
        }
    }
    if let Some(dir) = &args.export {
        return export(&names, dir, ui);
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
        let folder = tempfile::tempdir().map_err(|source| FileError::Write { file: std::env::temp_dir(), source })?;
        let most = threads.iter().copied().max().unwrap_or(1);
        ui.phase(&format!("compiling and setting up {name}"));
        let (mut prepared, _) = stage(name, "prepare", most, folder.path(), args)?;
        prepared["name"] = json!(name);
        prepared["setup_threads"] = json!(most);
        for &n in &threads {
            ui.phase(&format!("measuring {name} with {n} thread(s)"));
            results.push(measure(name, n, folder.path(), &prepared, args)?);
        }
    }
    ui.finish();
    table::print(&results, before.as_deref(), ui);
    ui.result(&Value::Array(results));
    Ok(Outcome::Done)
}

/// Writes the named models to a folder.
fn export(names: &[String], dir: &Path, ui: &Ui) -> Result<Outcome, Failure> {
    let mut files = Vec::new();
    for name in names {
        if let Some(onnx) = models::named(name) {
            let path = dir.join(format!("{name}.onnx"));
            container::write_atomic(&path, &onnx)?;
            ui.line(format!("wrote {}", path.display()));
            files.push(json!(path));
        }
    }
    ui.result(&Value::Array(files));
    Ok(Outcome::Done)
}

/// The fastest of some runs, verified.
fn measure(name: &str, threads: u16, dir: &Path, prepared: &Value, args: &args::Bench) -> Result<Value, Failure> {
    let seconds = |v: &Value| v["prove_seconds"].as_f64().unwrap_or(f64::INFINITY);
    let mut best: Option<(Value, f64)> = None;
    let mut verified = json!({});
    for _ in 0..args.runs {
        let (proved, process) = stage(name, "prove", threads, dir, args)?;
        let (result, _) = stage(name, "verify", threads, dir, args)?;
        let faster = |old: &Value, key: &str, new: &Value| old[key].as_f64().is_none_or(|o| new[key].as_f64().is_some_and(|n| n < o));
        if faster(&verified, "verify_seconds", &result) {
            verified = result;
        }
        if best.as_ref().is_none_or(|(old, _)| seconds(&proved) < seconds(old)) {
            best = Some((proved, process));
        }
    }
    let (proved, process) = best.unwrap_or_default();
    let mut value = prepared.clone();
    for part in [proved, verified] {
        if let (Some(all), Value::Object(fields)) = (value.as_object_mut(), part) {
            all.extend(fields);
        }
    }
    value["process_seconds"] = json!(process);
    let ratio = |a: &Value, b: &Value| Some(a.as_f64()? / b.as_f64()?);
    value["peak_bytes_per_cell"] = json!(ratio(&value["peak_rss_bytes"], &value["cells"]));
    Ok(value)
}

/// One stage in a child process: its result, and the time from its start to its end.
fn stage(name: &str, stage: &str, threads: u16, dir: &Path, args: &args::Bench) -> Result<(Value, f64), Failure> {
    let broken = |message: String| Failure::Usage {
        code: "E0905",
        message: format!("measuring '{name}' failed ({stage}): {message}"),
        help: "`zktorch check` says what is wrong with a model; `zktorch bench --export DIR` writes the named ones as files".to_owned(),
    };
    let program = std::env::current_exe().map_err(|e| broken(e.to_string()))?;
    let mut command = Command::new(program);
    command.args(["bench-one", name, "--stage", stage, "--json", "--quiet", "--threads", &threads.to_string(), "--dir"]).arg(dir);
    for dim in &args.dims {
        command.args(["--dim", &format!("{}={}", dim.name, dim.value)]);
    }
    if args.portable {
        command.arg("--portable");
    }
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|e| broken(e.to_string()))?;
    let elapsed = began.elapsed().as_secs_f64();
    let value: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| broken(format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))?;
    match value.get("error").and_then(|e| e.get("message")) {
        Some(message) => Err(broken(message.as_str().unwrap_or_default().to_owned())),
        None => Ok((value, elapsed)),
    }
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
