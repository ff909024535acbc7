//! Imports every `model*.onnx` below a folder and compares the interpreter with stored reference outputs.
//!
//! Each model folder has, next to `modelTAG.onnx`, an `inputTAG.npz` and a `reference_outputTAG.npz` with arrays named as in
//! the graph. Usage: `check_models FOLDER [NAME…]`; only models whose folder name contains one of the names are checked.

#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use zktorch_float::{Data, Op, Tensor, run};
use zktorch_onnx::proto::ModelProto;
use zktorch_onnx::{ImportOptions, import};

type Arrays = HashMap<String, Tensor>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().ok_or("usage: check_models FOLDER [NAME...]")?);
    let wanted: Vec<String> = args.collect();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)?.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_dir()).collect();
    folders.sort();
    let (mut good, mut bad) = (0, 0);
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !wanted.is_empty() && !wanted.iter().any(|w| name.contains(w.as_str())) {
            continue;
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
            .collect();
        files.sort();
        for file in files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let Some(tag) = stem.strip_prefix("model") else { continue };
            match check(&file, &folder, tag) {
                Ok(report) => {
                    println!("ok   {name}{tag}: {report}");
                    good += 1;
                }
                Err(e) => {
                    println!("FAIL {name}{tag}: {e}");
                    bad += 1;
                }
            }
        }
    }
    println!("{good} ok, {bad} failed");
    if bad > 0 { Err("some models failed".into()) } else { Ok(()) }
}

fn check(file: &Path, folder: &Path, tag: &str) -> Result<String, Box<dyn Error>> {
    let mut inputs = read_npz(&folder.join(format!("input{tag}.npz")))?;
    let expected = read_npz(&folder.join(format!("reference_output{tag}.npz")))?;
    let options = ImportOptions { dims: symbols(file, &inputs)? };
    let start = Instant::now();
    let graph = import(file, &options)?;
    let import_time = start.elapsed();
    let mut operands = Vec::new();
    for id in &graph.inputs {
        let name = &graph.value(*id).name;
        operands.push(inputs.remove(name).ok_or_else(|| format!("no input '{name}' in the archive"))?);
    }
    let start = Instant::now();
    let outputs = run(&graph, &operands, |_, _| {})?;
    let run_time = start.elapsed();
    let mut worst = 0f64;
    for (id, output) in graph.outputs.iter().zip(&outputs) {
        let name = &graph.value(*id).name;
        let reference = expected.get(name).ok_or_else(|| format!("no output '{name}' in the archive"))?;
        let error = difference(output, reference).map_err(|e| format!("output '{name}': {e}"))?;
        worst = worst.max(error);
    }
    let mut ops: BTreeMap<String, usize> = BTreeMap::new();
    for node in &graph.nodes {
        let name = match &node.op {
            Op::Unary(f) => format!("{f:?}"),
            Op::Binary(f) => format!("{f:?}"),
            op => format!("{op:?}"),
        };
        let name = name.split([' ', '{', '(']).next().unwrap_or("").to_owned();
        *ops.entry(name).or_default() += 1;
    }
    let ops: Vec<String> = ops.iter().map(|(op, n)| format!("{op} {n}")).collect();
    let summary =
        format!("error {worst:.1e}, import {import_time:.1?}, run {run_time:.1?}, {} nodes: {}", graph.nodes.len(), ops.join(", "));
    if worst < 1e-4 { Ok(summary) } else { Err(summary.into()) }
}

/// Sizes of symbolic dimensions, read off the stored inputs.
fn symbols(file: &Path, inputs: &Arrays) -> Result<BTreeMap<String, usize>, Box<dyn Error>> {
    let model = <ModelProto as prost::Message>::decode(std::fs::read(file)?.as_slice())?;
    let mut dims = BTreeMap::new();
    for input in model.graph.iter().flat_map(|g| &g.input) {
        let Some(tensor) = inputs.get(input.name.as_deref().unwrap_or("")) else { continue };
        let shape = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.shape.as_ref());
        for (axis, (dim, &size)) in shape.iter().flat_map(|s| &s.dim).zip(&tensor.shape).enumerate() {
            let unnamed = || format!("{}.{axis}", input.name.as_deref().unwrap_or(""));
            dims.insert(dim.dim_param.clone().filter(|d| !d.is_empty()).unwrap_or_else(unnamed), size);
        }
    }
    Ok(dims)
}

/// Largest absolute difference over the largest magnitude.
fn difference(a: &Tensor, b: &Tensor) -> Result<f64, Box<dyn Error>> {
    if a.shape != b.shape {
        return Err(format!("shape {:?}, expected {:?}", a.shape, b.shape).into());
    }
    let (a, b) = (a.to_f32_vec(), b.to_f32_vec());
    let scale = b.iter().fold(1e-6f64, |m, &v| m.max(f64::from(v.abs())));
    let mut worst = 0f64;
    for (x, y) in a.iter().zip(&b) {
        let d = f64::from((x - y).abs());
        if d.is_nan() {
            return Err(format!("got {x}, expected {y}").into());
        }
        worst = worst.max(d);
    }
    Ok(worst / scale)
}

fn read_npz(path: &Path) -> Result<Arrays, Box<dyn Error>> {
    let mut archive = npyz::npz::NpzArchive::open(path)?;
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut arrays = HashMap::new();
    for name in names {
        let Some(array) = archive.by_name(&name)? else { continue };
        let shape: Vec<usize> = array.shape().iter().map(|&d| d as usize).collect();
        let kind = array.dtype().descr();
        let data = match kind.trim_matches('\'').trim_start_matches(['<', '|', '=']) {
            "f4" => Data::F32(array.into_vec::<f32>()?.into()),
            "f8" => Data::F32(array.into_vec::<f64>()?.into_iter().map(|v| v as f32).collect()),
            "i8" => Data::I64(array.into_vec::<i64>()?),
            "i4" => Data::I64(array.into_vec::<i32>()?.into_iter().map(i64::from).collect()),
            "b1" => Data::Bool(array.into_vec::<bool>()?),
            other => return Err(format!("array '{name}' has type {other}").into()),
        };
        arrays.insert(name, Tensor::new(shape, data)?);
    }
    Ok(arrays)
}
