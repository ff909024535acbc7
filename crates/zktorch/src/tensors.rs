//! Tensors in files: `.npz`, `.npy` and JSON.

use crate::error::InputError;
use crate::npy;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;
use zktorch_float::{DType, Data, Tensor};

/// Name, element type and shape that a model wants of an input or gives to an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the ONNX model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} {:?}", self.name, self.dtype, self.shape)
    }
}

fn describe(specs: &[TensorSpec]) -> String {
    let mut text = String::new();
    for spec in specs.iter().take(12) {
        let _ = writeln!(text, "  {spec}");
    }
    if specs.len() > 12 {
        let _ = writeln!(text, "  … and {} more", specs.len() - 12);
    }
    text.trim_end().to_owned()
}

/// Numbers as a file gives them.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Floating point numbers.
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Numbers {
    fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name, if the format has names.
    pub name: Option<String>,
    /// Shape, unless the format gives a flat list.
    pub shape: Option<Vec<usize>>,
    /// Elements, row-major.
    pub numbers: Numbers,
}

/// Largest decompressed size of one array of an archive, 4 GiB: a guard against archives that expand without end.
const MAX_ENTRY: u64 = 4 << 30;

/// Reads all tensors of `path`; the format follows the contents.
///
/// # Errors
/// [`InputError::Read`], or [`InputError::Format`] for anything that is not one of the formats, or that has an element type we do not read.
pub fn read_entries(path: &Path) -> Result<Vec<Entry>, InputError> {
    let bytes = std::fs::read(path).map_err(|source| InputError::Read { file: path.to_path_buf(), source })?;
    parse_entries(path, &bytes)
}

/// [`read_entries`] of bytes; `path` is for messages.
///
/// # Errors
/// As [`read_entries`].
pub fn parse_entries(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, InputError> {
    match bytes {
        [] => Err(format_error(path, "the file is empty")),
        [b'P', b'K', ..] => parse_npz(path, bytes),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            let (shape, numbers) = parse_npy(path, "array", bytes)?;
            Ok(vec![Entry { name: None, shape: Some(shape), numbers }])
        }
        _ => parse_json(path, bytes),
    }
}

fn format_error(path: &Path, reason: impl Into<String>) -> InputError {
    InputError::Format { file: path.to_path_buf(), reason: reason.into() }
}

fn parse_npz(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, InputError> {
    let broken = |e: &dyn std::fmt::Display| format_error(path, format!("broken npz archive: {e}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let mut entries = Vec::new();
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).map_err(|e| broken(&e))?;
        let full = file.name().map_err(|e| broken(&e))?.into_owned();
        let name = full.strip_suffix(".npy").unwrap_or(&full).to_owned();
        let mut content = Vec::new();
        let read = file.by_ref().take(MAX_ENTRY + 1).read_to_end(&mut content).map_err(|e| broken(&e))?;
        if read as u64 > MAX_ENTRY {
            return Err(format_error(path, format!("array '{name}' is larger than {} GiB", MAX_ENTRY >> 30)));
        }
        let (shape, numbers) = parse_npy(path, &name, &content)?;
        entries.push(Entry { name: Some(name), shape: Some(shape), numbers });
    }
    Ok(entries)
}

fn parse_npy(path: &Path, name: &str, bytes: &[u8]) -> Result<(Vec<usize>, Numbers), InputError> {
    npy::decode(bytes).map_err(|reason| format_error(path, format!("array '{name}': {reason}")))
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, InputError> {
    use serde_json::Value;
    let value: Value = serde_json::from_slice(bytes).map_err(|e| format_error(path, format!("neither npz, npy nor valid JSON ({e})")))?;
    let Value::Object(mut object) = value else {
        return Err(format_error(path, "the JSON is not an object with the key \"input_data\""));
    };
    // The files that `run --output` writes are read back by `run --compare`.
    let data = object.remove("input_data").or_else(|| object.remove("output_data"));
    match data {
        Some(Value::Array(items)) => items.iter().enumerate().map(|(i, v)| json_entry(path, None, &format!("number {i}"), v)).collect(),
        Some(Value::Object(items)) => items.iter().map(|(k, v)| json_entry(path, Some(k.clone()), k, v)).collect(),
        Some(_) => Err(format_error(path, "\"input_data\" is neither a list of lists nor an object of lists")),
        None => Err(format_error(path, "the JSON object has no key \"input_data\"")),
    }
}

fn json_entry(path: &Path, name: Option<String>, label: &str, value: &serde_json::Value) -> Result<Entry, InputError> {
    let mut shape = Vec::new();
    let mut flat = Vec::new();
    flatten_json(value, 0, &mut shape, &mut flat).map_err(|reason| format_error(path, format!("input {label}: {reason}")))?;
    // A flat list says nothing of the shape; nested lists do.
    let shape = (shape.len() > 1).then_some(shape);
    let numbers = if flat.iter().all(|v| v.is_boolean()) && !flat.is_empty() {
        Numbers::Bool(flat.iter().map(|v| v.as_bool() == Some(true)).collect())
    } else if let Some(ints) = flat.iter().map(|v| v.as_i64()).collect::<Option<Vec<_>>>() {
        Numbers::Int(ints)
    } else {
        let floats: Option<Vec<f64>> = flat.iter().map(|v| v.as_f64()).collect();
        Numbers::Float(
            floats
                .ok_or_else(|| format_error(path, format!("input {label}: only numbers, or only true and false, may stand in a list")))?,
        )
    };
    Ok(Entry { name, shape, numbers })
}

fn flatten_json<'a>(
    value: &'a serde_json::Value,
    depth: usize,
    shape: &mut Vec<usize>,
    flat: &mut Vec<&'a serde_json::Value>,
) -> Result<(), String> {
    use serde_json::Value;
    match value {
        Value::Array(items) => {
            match shape.get(depth) {
                None if flat.is_empty() => shape.push(items.len()),
                Some(&n) if n == items.len() => {}
                _ => return Err("nested lists of different lengths".to_owned()),
            }
            items.iter().try_for_each(|v| flatten_json(v, depth + 1, shape, flat))
        }
        Value::Number(_) | Value::Bool(_) if depth == shape.len() => {
            flat.push(value);
            Ok(())
        }
        Value::Number(_) | Value::Bool(_) => Err("a number stands where a list is expected".to_owned()),
        Value::String(s) => Err(format!("the text {s:?} is not a number")),
        _ => Err("null and objects are not numbers".to_owned()),
    }
}

/// What to do with tensors of a file that the model does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// They are an error.
    Refuse,
    /// They are left out (labels beside calibration data).
    Ignore,
}

/// The entries in the order of `specs`: by name if the file has names, else by position.
fn arrange(path: &Path, specs: &[TensorSpec], entries: Vec<Entry>, extra: Extra) -> Result<Vec<Entry>, InputError> {
    let mismatch = |reason: String| InputError::Mismatch { file: path.to_path_buf(), reason, expected: describe(specs) };
    if entries.iter().any(|e| e.name.is_none()) {
        if entries.len() != specs.len() {
            return Err(mismatch(format!("has {} tensors, the model has {}", entries.len(), specs.len())));
        }
        return Ok(entries);
    }
    let mut by_name = BTreeMap::new();
    for entry in entries {
        let name = entry.name.clone().unwrap_or_default();
        if by_name.insert(name.clone(), entry).is_some() {
            return Err(mismatch(format!("has '{name}' twice")));
        }
    }
    let given = by_name.keys().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", ");
    let found = specs
        .iter()
        .map(|s| {
            by_name
                .remove(&s.name)
                .ok_or_else(|| mismatch(format!("has no tensor '{}' (it has {})", s.name, if given.is_empty() { "none" } else { &given })))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match by_name.keys().next() {
        Some(name) if extra == Extra::Refuse => Err(mismatch(format!("has a tensor '{name}' that the model does not know"))),
        _ => Ok(found),
    }
}

/// One tensor per spec from the entries of a file.
///
/// # Errors
/// Names, shapes or types that do not fit, and NaN or infinite elements.
pub fn bind(path: &Path, specs: &[TensorSpec], entries: Vec<Entry>) -> Result<Vec<Tensor>, InputError> {
    let entries = arrange(path, specs, entries, Extra::Refuse)?;
    specs.iter().zip(entries).map(|(spec, entry)| convert(path, specs, spec, entry)).collect()
}

/// Like [`bind`], but a file may hold many samples along one more (or a longer first) axis: returns one list of tensors per sample, at most `limit`.
///
/// # Errors
/// As [`bind`], and inputs with different numbers of samples.
pub fn bind_samples(path: &Path, specs: &[TensorSpec], entries: Vec<Entry>, limit: usize) -> Result<Vec<Vec<Tensor>>, InputError> {
    let entries = arrange(path, specs, entries, Extra::Ignore)?;
    let mut samples: Vec<Vec<Tensor>> = Vec::new();
    for (i, (spec, entry)) in specs.iter().zip(entries).enumerate() {
        let count = sample_count(spec, &entry);
        let parts = split(entry, count, spec, limit.max(1));
        if i > 0 && parts.len() != samples.len() {
            let reason = format!("input '{}' has {count} samples, the inputs before it have {}", spec.name, samples.len());
            return Err(InputError::Mismatch { file: path.to_path_buf(), reason, expected: describe(specs) });
        }
        samples.resize_with(parts.len(), Vec::new);
        for (sample, part) in samples.iter_mut().zip(parts) {
            sample.push(convert(path, specs, spec, part)?);
        }
    }
    Ok(samples)
}

/// Number of samples stacked in an entry: 1 unless the shape is the spec's with one more axis in front, or with a longer first axis in place of 1.
fn sample_count(spec: &TensorSpec, entry: &Entry) -> usize {
    let tail_fits = |shape: &[usize]| match (shape.split_first(), spec.shape.split_first()) {
        (Some((&n, tail)), _) if n > 0 && tail == spec.shape => Some(n),
        (Some((&n, tail)), Some((1, want))) if n > 1 && tail == want => Some(n),
        _ => None,
    };
    match &entry.shape {
        Some(shape) => tail_fits(shape).unwrap_or(1),
        None if !spec.is_empty() && entry.numbers.len() > spec.len() && entry.numbers.len().is_multiple_of(spec.len()) => {
            entry.numbers.len() / spec.len()
        }
        None => 1,
    }
}

fn split(entry: Entry, count: usize, spec: &TensorSpec, limit: usize) -> Vec<Entry> {
    if count == 1 && entry.shape.as_ref().is_none_or(|s| s.len() <= spec.shape.len()) {
        return vec![entry];
    }
    let size = spec.len();
    (0..count.min(limit))
        .map(|i| {
            let range = i * size..(i + 1) * size;
            let numbers = match &entry.numbers {
                Numbers::Float(v) => Numbers::Float(v[range].to_vec()),
                Numbers::Int(v) => Numbers::Int(v[range].to_vec()),
                Numbers::Bool(v) => Numbers::Bool(v[range].to_vec()),
            };
            Entry { name: entry.name.clone(), shape: Some(spec.shape.clone()), numbers }
        })
        .collect()
}

fn convert(path: &Path, specs: &[TensorSpec], spec: &TensorSpec, entry: Entry) -> Result<Tensor, InputError> {
    let mismatch = |reason: String| InputError::Mismatch { file: path.to_path_buf(), reason, expected: describe(specs) };
    if let Some(shape) = &entry.shape
        && *shape != spec.shape
    {
        return Err(mismatch(format!("'{}' has shape {shape:?}, the model wants {:?}", spec.name, spec.shape)));
    }
    if entry.numbers.len() != spec.len() {
        return Err(mismatch(format!("'{}' has {} numbers, shape {:?} wants {}", spec.name, entry.numbers.len(), spec.shape, spec.len())));
    }
    let data = match (spec.dtype, entry.numbers) {
        (DType::F32, Numbers::Float(v)) => Data::F32(finite(path, spec, v)?.into()),
        (DType::F32, Numbers::Int(v)) => Data::F32(v.into_iter().map(|x| x as f32).collect()),
        (DType::I64, Numbers::Int(v)) => Data::I64(v),
        (DType::Bool, Numbers::Bool(v)) => Data::Bool(v),
        (DType::Bool, Numbers::Int(v)) if v.iter().all(|x| (0..=1).contains(x)) => Data::Bool(v.into_iter().map(|x| x == 1).collect()),
        (DType::I64, Numbers::Bool(v)) => Data::I64(v.into_iter().map(i64::from).collect()),
        (want, got) => {
            let got = match got {
                Numbers::Float(_) => "floating point numbers",
                Numbers::Int(_) => "integers",
                Numbers::Bool(_) => "truth values",
            };
            return Err(mismatch(format!("'{}' holds {got}, the model wants {want}", spec.name)));
        }
    };
    Tensor::new(spec.shape.clone(), data).map_err(|e| mismatch(format!("'{}': {e}", spec.name)))
}

fn finite(path: &Path, spec: &TensorSpec, values: Vec<f64>) -> Result<Vec<f32>, InputError> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, x)| {
            let single = x as f32;
            if single.is_finite() {
                Ok(single)
            } else {
                let value = if x.is_finite() { format!("{x:e} (beyond float32)") } else { format!("{x}") };
                Err(InputError::NotFinite { file: path.to_path_buf(), name: spec.name.clone(), index, value })
            }
        })
        .collect()
}

/// The bytes of a file of named tensors: JSON `{"output_data": {name: flat list}}` if `path` ends in `.json`, `.npz` otherwise.
///
/// # Errors
/// [`InputError::Extension`] for another ending.
pub fn encode_named(path: &Path, tensors: &[(&str, &Tensor)]) -> Result<Vec<u8>, InputError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => {
            let data: serde_json::Map<_, _> = tensors.iter().map(|(n, t)| ((*n).to_owned(), json_values(t))).collect();
            Ok(serde_json::json!({ "output_data": data }).to_string().into_bytes())
        }
        Some("npz") => encode_npz(tensors).map_err(|e| format_error(path, format!("cannot be made: {e}"))),
        _ => Err(InputError::Extension { file: path.to_path_buf() }),
    }
}

/// The elements as a flat JSON list.
pub fn json_values(tensor: &Tensor) -> serde_json::Value {
    match &tensor.data {
        Data::F32(v) => v.iter().map(|&x| serde_json::Value::from(x)).collect(),
        Data::I64(v) => v.iter().copied().collect(),
        Data::Bool(v) => v.iter().copied().collect(),
    }
}

fn encode_npz(tensors: &[(&str, &Tensor)]) -> std::io::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&encode_npy(tensor))?;
    }
    Ok(archive.finish()?.into_inner())
}

fn encode_npy(tensor: &Tensor) -> Vec<u8> {
    let (descr, data): (_, Vec<u8>) = match &tensor.data {
        Data::F32(v) => ("<f4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::I64(v) => ("<i8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Bool(v) => ("|b1", v.iter().map(|&x| u8::from(x)).collect()),
    };
    npy::encode(descr, &tensor.shape, &data)
}

#[cfg(test)]
mod tests;
