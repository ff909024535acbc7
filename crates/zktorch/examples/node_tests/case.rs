//! One case: import, compile, run, compare, prove.

use crate::Result;
use prost::Message;
use std::collections::BTreeSet;
use std::path::PathBuf;
use zktorch_float::{DType, Data, Tensor};
use zktorch_graph::{CompileOptions, CompiledModel, compile};
use zktorch_onnx::proto::{ModelProto, TensorProto};
use zktorch_onnx::{ImportOptions, import_bytes, read_tensor};
use zktorch_program::{audit, check};
use zktorch_protocol::pcs::Srs;
use zktorch_protocol::{Blinding, Statement};

/// log2 of the powers in the reference string for `--prove`.
pub const SRS_BITS: u32 = 18;

/// Largest accepted `|y - y'| / max(1, max|y|)` of float results: 16-bit integers with a spare bit resolve 2^-14 of the largest magnitude.
pub const BOUND: f64 = 1.0 / 512.0;

/// A case on disk.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
}

/// What became of a case.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Operators of the model's graph in order.
    pub operators: Vec<String>,
    /// Element types of operands and results.
    pub types: BTreeSet<&'static str>,
    /// Stage and reason, unless it passed.
    pub failure: Option<(&'static str, String)>,
    /// Operands that had to be constants.
    pub constants: Vec<usize>,
    /// Largest error of float results.
    pub error: f64,
    /// Elements of all results.
    pub elements: usize,
    /// Cells and lookups of all nodes.
    pub cells: usize,
    pub lookups: usize,
    pub proof_bytes: usize,
}

impl Outcome {
    pub fn failed(stage: &'static str, reason: impl Into<String>) -> Outcome {
        Outcome { failure: Some((stage, reason.into())), ..Outcome::default() }
    }
}

/// A tensor of the case with its type in the file.
struct Side {
    proto: TensorProto,
    kind: &'static str,
    tensor: Tensor,
}

fn kind(element: i32) -> &'static str {
    const NAMES: [&str; 27] = [
        "?",
        "f32",
        "u8",
        "i8",
        "u16",
        "i16",
        "i32",
        "i64",
        "string",
        "bool",
        "f16",
        "f64",
        "u32",
        "u64",
        "complex64",
        "complex128",
        "bf16",
        "f8e4m3fn",
        "f8e4m3fnuz",
        "f8e5m2",
        "f8e5m2fnuz",
        "u4",
        "i4",
        "f4e2m1",
        "f8e8m0",
        "u2",
        "i2",
    ];
    usize::try_from(element).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or("?")
}

impl Case {
    fn sides(&self, which: &str) -> Result<Vec<Side>> {
        let mut sides = Vec::new();
        while let Ok(bytes) = std::fs::read(self.folder.join(format!("{which}_{}.pb", sides.len()))) {
            let (_, element, tensor) = read_tensor(bytes.clone())?;
            sides.push(Side { proto: TensorProto::decode(bytes.as_slice())?, kind: kind(element), tensor });
        }
        Ok(sides)
    }

    /// Runs the case; with a reference string also proves and verifies it.
    pub fn run(&self, srs: Option<&Srs>) -> Outcome {
        let fail = |stage, e: Box<dyn std::error::Error>| Outcome::failed(stage, e.to_string());
        let model =
            match std::fs::read(self.folder.join("model.onnx")).map_err(Into::into).and_then(|b| Ok(ModelProto::decode(b.as_slice())?)) {
                Ok(model) => model,
                Err(e) => return fail("read", e),
            };
        let operators: Vec<String> = model.graph.iter().flat_map(|g| &g.node).map(|n| n.op_type.clone().unwrap_or_default()).collect();
        let (inputs, outputs) = match self.sides("input").and_then(|i| Ok((i, self.sides("output")?))) {
            Ok(sides) => sides,
            Err(e) => return Outcome { operators, ..fail("type", e) },
        };
        let types = inputs.iter().chain(&outputs).map(|s| s.kind).collect();
        let mut outcome = Outcome { operators, types, ..Outcome::default() };
        if outputs.is_empty() {
            outcome.failure = Some(("type", "values that are not tensors".to_owned()));
            return outcome;
        }
        let expected: Vec<&Tensor> = outputs.iter().map(|s| &s.tensor).collect();
        outcome.elements = expected.iter().map(|t| t.len()).sum();
        let mut first: Option<(&'static str, String)> = None;
        for constants in attempts(&model, &inputs) {
            match attempt(&model, &inputs, &constants, &expected, srs, &mut outcome) {
                Ok(()) => {
                    outcome.constants = constants;
                    return outcome;
                }
                Err((stage, e)) => {
                    // What the last attempts say counts if the first one only wanted constants.
                    let text = e.to_string();
                    let wants_constant = |text: &str| text.contains("must be constant") || text.contains("depends on the");
                    if first.as_ref().is_none_or(|(_, old): &(_, String)| wants_constant(old) && !wants_constant(&text)) {
                        first = Some((stage, text));
                    }
                }
            }
        }
        outcome.failure = first.or(Some(("import", "no operands".to_owned())));
        outcome
    }
}

/// Sets of operands to be made constants, in the order in which they are tried: none, the integers and truth values behind the first operand,
/// everything behind it, everything but one. Only for operators that make constants of constants: all.
fn attempts(model: &ModelProto, inputs: &[Side]) -> Vec<Vec<usize>> {
    let all = |f: &dyn Fn(usize) -> bool| (0..inputs.len()).filter(|&i| f(i)).collect::<Vec<_>>();
    let mut tries = vec![Vec::new(), all(&|i| i > 0 && inputs[i].tensor.dtype() != DType::F32), all(&|i| i > 0)];
    if model_is_structure(model, inputs) {
        tries.push(all(&|_| true));
    }
    if inputs.len() > 1 {
        tries.extend((1..inputs.len()).map(|keep| all(&|i| i != keep)));
    }
    let mut seen = BTreeSet::new();
    tries.retain(|t| seen.insert(t.clone()));
    tries
}

/// Operators that make constants of constants: their operands decide about shapes.
const STRUCTURE: [&str; 8] =
    ["BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "Loop", "MelWeightMatrix", "NonZero", "Range"];

fn model_is_structure(model: &ModelProto, inputs: &[Side]) -> bool {
    let operators: Vec<&str> = model.graph.iter().flat_map(|g| &g.node).map(|n| n.op_type.as_deref().unwrap_or("")).collect();
    // Written out as functions, they have nothing but numbers as operands.
    operators.iter().any(|o| STRUCTURE.contains(o)) && (operators.len() == 1 || inputs.iter().all(|i| i.tensor.len() <= 1))
}

type Failure = (&'static str, Box<dyn std::error::Error>);

fn attempt(
    model: &ModelProto,
    inputs: &[Side],
    constants: &[usize],
    expected: &[&Tensor],
    srs: Option<&Srs>,
    outcome: &mut Outcome,
) -> std::result::Result<(), Failure> {
    let at = |stage| move |e: Box<dyn std::error::Error>| -> Failure { (stage, e) };
    let mut model = model.clone();
    let mut operands = Vec::new();
    let mut dims = std::collections::BTreeMap::new();
    if let Some(graph) = &mut model.graph {
        let infos = std::mem::take(&mut graph.input);
        for (i, (info, side)) in infos.into_iter().zip(inputs).enumerate() {
            if constants.contains(&i) {
                graph.initializer.push(TensorProto { name: info.name, ..side.proto.clone() });
                continue;
            }
            let name = info.name.clone().unwrap_or_default();
            let shape = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.shape.as_ref());
            for (axis, (dim, &size)) in shape.iter().flat_map(|s| &s.dim).zip(&side.tensor.shape).enumerate() {
                if dim.dim_value.is_none_or(|v| v <= 0) {
                    dims.insert(dim.dim_param.clone().filter(|d| !d.is_empty()).unwrap_or_else(|| format!("{name}.{axis}")), size);
                }
            }
            // Without elements it is no input of the imported graph.
            if !side.tensor.is_empty() {
                operands.push(side.tensor.clone());
            }
            graph.input.push(info);
        }
    }
    let graph = import_bytes(model.encode_to_vec(), &ImportOptions { dims }).map_err(|e| at("import")(e.into()))?;
    let float = zktorch_float::run(&graph, &operands, |_, _| {}).map_err(|e| at("float")(e.into()))?;
    let (float_bound, bound) = bounds(&outcome.types);
    for (got, want) in float.iter().zip(expected) {
        compare(got, want, float_bound, false).map_err(at("float"))?;
    }
    // Sixteen bits throughout, and all tables, as in a large model.
    let options = CompileOptions { adapt: false, ..CompileOptions::default() };
    let compiled = compile(&graph, &[operands.clone()], &options).map_err(|e| at("compile")(e.into()))?;
    let result = compiled.run(&operands).map_err(|e| at("run")(e.into()))?;
    outcome.error = 0.0;
    for (got, want) in result.outputs.iter().zip(expected) {
        let error = compare(got, want, bound, true).map_err(at("compare"))?;
        outcome.error = outcome.error.max(error);
    }
    let program = &compiled.built.program;
    audit(program).map_err(|e| at("audit")(e.to_string().into()))?;
    check(program, &compiled.built.parameters, &result.witness).map_err(|e| at("check")(e.to_string().into()))?;
    outcome.cells = compiled.report.nodes.iter().map(|n| n.cells).sum();
    outcome.lookups = compiled.report.lookups;
    if let Some(srs) = srs {
        // The same widths without tables that would cost more than a small case; a cosine above 1 keeps activations from becoming narrower.
        let options = CompileOptions { adapt: true, adapt_cosine: 1_000_001, ..CompileOptions::default() };
        let small = compile(&graph, &[operands.clone()], &options).map_err(|e| at("compile")(e.into()))?;
        let result = small.run(&operands).map_err(|e| at("run")(e.into()))?;
        for (got, want) in result.outputs.iter().zip(expected) {
            compare(got, want, bound, true).map_err(at("compare"))?;
        }
        outcome.proof_bytes = prove(&small, &result.witness, srs).map_err(at("prove"))?;
    }
    Ok(())
}

/// Sets up, proves and verifies; checks that a changed statement is refused. Returns the proof's length.
fn prove(compiled: &CompiledModel, witness: &zktorch_program::Witness, srs: &Srs) -> Result<usize> {
    let built = &compiled.built;
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_os_rng();
    let (pk, vk) = zktorch_protocol::setup(&built.program, &built.parameters, srs, &mut rng)?;
    let (heap, publics) = (&witness.heap, &witness.publics);
    let statement = Statement::of(&vk, b"node test", publics);
    let cells = zktorch_protocol::Witness { heap, parameters: &built.parameters };
    let proof = zktorch_protocol::prove(&pk, &vk, &statement, cells, Blinding::Fresh, rng, &mut |_| {})?;
    let _ = zktorch_protocol::verify(&vk, b"node test", publics, &proof)?;
    let mut other = publics.clone();
    if let Some(value) = other.last_mut().and_then(|t| t.last_mut()) {
        *value += 1;
        if zktorch_protocol::verify(&vk, b"node test", &other, &proof).is_ok() {
            return Err("a changed result was accepted".into());
        }
    }
    Ok(proof.len())
}

/// Bounds for the float graph and for the integers: results that were computed in 16-bit floats have their error.
fn bounds(types: &BTreeSet<&str>) -> (f64, f64) {
    match (types.contains("bf16"), types.contains("f16")) {
        (true, _) => (1.0 / 64.0, 1.0 / 64.0),
        (_, true) => (1.0 / 512.0, BOUND + 1.0 / 512.0),
        _ => (1e-4, BOUND),
    }
}

/// The error of `got`, at most `bound`; integers and truth values must be equal. What is not finite cannot come from `integers`.
fn compare(got: &Tensor, want: &Tensor, bound: f64, integers: bool) -> Result<f64> {
    if got.shape != want.shape {
        return Err(format!("shape {:?}, expected {:?}", got.shape, want.shape).into());
    }
    match (&got.data, &want.data) {
        (Data::F32(g), Data::F32(w)) => {
            if w.iter().any(|v| !v.is_finite()) {
                let same = g.iter().zip(w).all(|(g, w)| g == w || (g.is_nan() && w.is_nan()));
                return if same && !integers { Ok(0.0) } else { Err("the expected result is not finite".into()) };
            }
            let scale = w.iter().fold(1f64, |m, v| m.max(f64::from(v.abs())));
            let error = g.iter().zip(w).map(|(g, w)| (f64::from(*g) - f64::from(*w)).abs() / scale);
            let error = error.fold(0f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
            if error <= bound { Ok(error) } else { Err(format!("error {error:.2e}, bound {bound:.2e}").into()) }
        }
        (g, w) if g == w => Ok(0.0),
        (g, w) => Err(format!("got {}, expected {}", text(g), text(w)).into()),
    }
}

fn text(data: &Data) -> String {
    let all = format!("{data:?}");
    all.chars().take(60).collect()
}
