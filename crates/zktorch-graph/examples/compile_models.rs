//! Compiles every model of a folder, runs it on its sample input and compares it with the float interpreter.
//!
//! `cargo run --release -p zktorch-graph --example compile_models -- <folder> [model…]`
//!
//! A model is a subfolder with `model.onnx` and `input.npz`; `testset.npz` with an array named `X` (or the model's input) and the others
//! of a sample is used for the share of equal decisions.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use zktorch_float::{DType, Data, Graph, Tensor, run};
use zktorch_graph::{CompileOptions, compile};
use zktorch_onnx::{ImportOptions, import};
use zktorch_program::{Table, audit, check};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: compile_models <folder> [model…]")?;
    let mut names: Vec<String> = args.collect();
    let verbose = names.iter().any(|n| n == "-v");
    names.retain(|n| n != "-v");
    if names.is_empty() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.path().join("model.onnx").exists() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
    }
    for name in names {
        if let Err(e) = model(&Path::new(&folder).join(&name), &name, verbose) {
            println!("{name}: {e}");
        }
    }
    Ok(())
}

fn model(path: &Path, name: &str, verbose: bool) -> Result<()> {
    let start = Instant::now();
    let arrays = npz(&path.join("input.npz"))?;
    let mut options = ImportOptions::default();
    for (name, array) in &arrays {
        for (axis, &size) in array.shape.iter().enumerate() {
            options.dims.insert(format!("{name}.{axis}"), size);
        }
    }
    let graph = import(path.join("model.onnx"), &options)?;
    let imported = start.elapsed();
    let sample = inputs(&graph, &arrays)?;
    let mut calibration = vec![sample.clone()];
    let tests = test_set(&graph, &path.join("testset.npz")).unwrap_or_default();
    calibration.extend(tests.iter().take(32).cloned());
    let start = Instant::now();
    let model = compile(&graph, &calibration, &CompileOptions::default())?;
    let compiled = start.elapsed();
    let start = Instant::now();
    let result = model.run(&sample)?;
    let executed = start.elapsed();
    let reference: Vec<Tensor> = run(&graph, &sample, |_, _| {})?.iter().map(|t| (**t).clone()).collect();
    let program = &model.built.program;
    println!(
        "{name}: {} bits, {} cells, {} lookups, {} table rows, {} parameters, {} identities, {} tables, import {imported:.2?}, compile {compiled:.2?}, run {executed:.2?}",
        model.report.activation_bits,
        model.report.cells,
        model.report.lookups,
        model.report.table_rows,
        model.report.parameters,
        program.identities.len(),
        program.tables.len(),
    );
    for f in model.fidelity(&reference, &result.outputs) {
        println!(
            "  {}: cosine {:.6}, max error {:.2e}, mean error {:.2e}, top-1 {:.1} %",
            f.name,
            f.cosine,
            f.max_abs,
            f.mean_abs,
            100.0 * f.top1
        );
    }
    for w in &model.report.warnings {
        println!("  warning: {w}");
    }
    program.validate()?;
    if let Err(e) = audit(program) {
        println!("  audit: {e}");
    }
    if let Err(e) = check(program, &model.built.parameters, &result.witness) {
        println!("  check: {e}");
    }
    if verbose {
        for (t, table) in program.tables.iter().enumerate() {
            let sites: usize = program
                .lookups
                .iter()
                .filter(|l| l.table.0 as usize == t)
                .map(|l| l.columns[0].axes[..l.index_axes].iter().map(|a| a.size).product::<usize>())
                .sum();
            let name = match table {
                Table::Range { lo, bits } => format!("range {lo} + 2^{bits}"),
                Table::Function { name, lo, .. } => format!("function {name} from {lo}"),
                Table::Rows { name, .. } => format!("rows of {name}"),
            };
            println!("    {:>9} rows {sites:>9} lookups  {name}", table.len());
        }
        for n in &model.report.nodes {
            println!("    {:>9} cells {:>9} lookups, scale {:>3}  {} ({})", n.cells, n.lookups, n.scale, n.name, n.op);
        }
    }
    if !tests.is_empty() {
        let (mut top1, mut worst, mut done) = (vec![0.0; model.outputs.len()], f64::MAX, 0);
        let mut failed = 0;
        for test in &tests {
            let reference: Vec<Tensor> = run(&graph, test, |_, _| {})?.iter().map(|t| (**t).clone()).collect();
            match model.run(test) {
                Err(e) => {
                    failed += 1;
                    if failed == 1 {
                        println!("  test input refused: {e}");
                    }
                }
                Ok(result) => {
                    done += 1;
                    for (i, f) in model.fidelity(&reference, &result.outputs).iter().enumerate() {
                        top1[i] += f.top1;
                        worst = worst.min(f.cosine);
                    }
                }
            }
        }
        let share: Vec<String> = top1.iter().map(|t| format!("{:.2} %", 100.0 * t / f64::from(done.max(1)))).collect();
        println!("  {done} test inputs: top-1 {share:?}, smallest cosine {worst:.6}, {failed} refused");
    }
    Ok(())
}

/// Graph inputs from named arrays.
fn inputs(graph: &Graph, arrays: &BTreeMap<String, Tensor>) -> Result<Vec<Tensor>> {
    graph
        .inputs
        .iter()
        .map(|&id| {
            let info = graph.value(id);
            let t = arrays.get(&info.name).ok_or_else(|| format!("no array '{}'", info.name))?;
            convert(t, info.dtype)?.reshaped(info.shape.clone()).map_err(Into::into)
        })
        .collect()
}

fn convert(t: &Tensor, to: DType) -> Result<Tensor> {
    let data = match (&t.data, to) {
        (d, DType::F32) if !matches!(d, Data::F32(_)) => Data::F32(t.to_f32_vec().into()),
        (Data::F32(v), DType::I64) => Data::I64(v.iter().map(|x| *x as i64).collect()),
        (Data::I64(v), DType::Bool) => Data::Bool(v.iter().map(|x| *x != 0).collect()),
        (d, _) => d.clone(),
    };
    Ok(Tensor::new(t.shape.clone(), data)?)
}

/// Samples of a test set whose first array's rows are inputs of the graph's single input.
fn test_set(graph: &Graph, path: &Path) -> Result<Vec<Vec<Tensor>>> {
    let arrays = npz(path)?;
    let [input] = graph.inputs[..] else {
        return Err("several inputs".into());
    };
    let info = graph.value(input);
    let n: usize = info.shape.iter().product();
    let all = ["X", "x", "ids", info.name.as_str()].iter().find_map(|k| arrays.get(*k)).ok_or("no samples")?;
    let all = convert(all, info.dtype)?;
    // A row may hold one more element than the input (the next token).
    let rows = all.shape.first().copied().unwrap_or(1).max(1);
    let row = all.len() / rows;
    if row != n && row != n + 1 {
        return Err("samples of another shape".into());
    }
    let mut samples = Vec::new();
    for i in 0..rows {
        let (from, to) = (i * row, i * row + n);
        let data = match &all.data {
            Data::F32(v) => Data::F32(v[from..to].to_vec().into()),
            Data::I64(v) => Data::I64(v[from..to].to_vec()),
            Data::Bool(v) => Data::Bool(v[from..to].to_vec()),
        };
        samples.push(vec![Tensor::new(info.shape.clone(), data)?]);
    }
    Ok(samples)
}

/// Arrays of an uncompressed `.npz` archive.
fn npz(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path)?;
    let word = |at: usize, n: usize| -> Result<usize> {
        let b = bytes.get(at..at + n).ok_or("truncated archive")?;
        Ok(b.iter().rev().fold(0, |v, x| v << 8 | usize::from(*x)))
    };
    let end = (0..bytes.len().saturating_sub(21)).rev().find(|&i| bytes[i..].starts_with(b"PK\x05\x06")).ok_or("no archive")?;
    let mut at = word(end + 16, 4)?;
    let mut arrays = BTreeMap::new();
    for _ in 0..word(end + 10, 2)? {
        if word(at + 10, 2)? != 0 {
            return Err("compressed arrays are not supported".into());
        }
        let (len, name_len) = (word(at + 24, 4)?, word(at + 28, 2)?);
        let skip = word(at + 30, 2)? + word(at + 32, 2)?;
        let local = word(at + 42, 4)?;
        let name = String::from_utf8_lossy(&bytes[at + 46..at + 46 + name_len]).into_owned();
        at += 46 + name_len + skip;
        let from = local + 30 + word(local + 26, 2)? + word(local + 28, 2)?;
        let name = name.trim_end_matches(".npy").to_string();
        if let Some(t) = npy(bytes.get(from..from + len).ok_or("truncated array")?)? {
            arrays.insert(name, t);
        }
    }
    Ok(arrays)
}

/// One array; `None` for element types that no model takes.
fn npy(bytes: &[u8]) -> Result<Option<Tensor>> {
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    let field = |key: &str| text.split(key).nth(1).unwrap_or("");
    let descr = field("'descr': '").split('\'').next().unwrap_or("").to_string();
    let shape: Vec<usize> = field("'shape': (").split(')').next().unwrap_or("").split(',').filter_map(|s| s.trim().parse().ok()).collect();
    let body = &bytes[10 + header..];
    let data = match descr.as_str() {
        "<f4" => Data::F32(body.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        "<f8" => Data::F32(words(body).map(|b| f64::from_le_bytes(b) as f32).collect()),
        "<i8" => Data::I64(words(body).map(i64::from_le_bytes).collect()),
        "<i4" => Data::I64(body.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()),
        "|b1" => Data::Bool(body.iter().map(|b| *b != 0).collect()),
        "|u1" => Data::I64(body.iter().map(|b| i64::from(*b)).collect()),
        _ => return Ok(None),
    };
    Ok(Some(Tensor::new(shape, data)?))
}

fn words(body: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    body.chunks_exact(8).map(|b| [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}
