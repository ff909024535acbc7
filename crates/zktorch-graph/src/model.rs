//! A compiled model: the program, how its integers relate to real tensors, and a report.

use crate::{InputError, RunError, Visibility};
use serde::{Deserialize, Serialize};
use zktorch_float::{DType, Data, Tensor};
use zktorch_program::{Built, PublicId, Source, View, Witness, execute};

/// Element type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element {
    /// Real numbers, stored as `integer · 2^-scale`.
    F32,
    /// Integers.
    I64,
    /// Truth values, stored as 0 and 1.
    Bool,
}

impl Element {
    /// The type in the float graph.
    pub fn dtype(self) -> DType {
        match self {
            Element::F32 => DType::F32,
            Element::I64 => DType::I64,
            Element::Bool => DType::Bool,
        }
    }
}

/// An input or output of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoInfo {
    /// Name in the source model.
    pub name: String,
    /// Shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Element type.
    pub element: Element,
    /// `real = integer · 2^-scale`; 0 for integers and truth values.
    pub scale: i32,
    /// Smallest integer.
    pub lo: i64,
    /// Largest integer.
    pub hi: i64,
    /// Who learns it.
    pub visibility: Visibility,
    /// The statement's tensor, if it is public.
    pub public: Option<PublicId>,
    /// Where its integers are.
    pub view: View,
}

/// What a node became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Name of the node.
    pub name: String,
    /// Its operator in the source model.
    pub op: String,
    /// Heap cells.
    pub cells: usize,
    /// Lookups.
    pub lookups: usize,
    /// Scale of its first result.
    pub scale: i32,
}

/// What compilation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileReport {
    /// One entry per node that made cells or lookups, in order.
    pub nodes: Vec<NodeReport>,
    /// Heap cells of all regions, multiplicities included.
    pub cells: usize,
    /// Lookups.
    pub lookups: usize,
    /// Weights and other parameters.
    pub parameters: usize,
    /// Rows of all tables.
    pub table_rows: usize,
    /// Signed width of activations.
    pub activation_bits: u32,
    /// Number of calibration samples.
    pub samples: usize,
    /// Whether the calibration inputs were made up.
    pub random_calibration: bool,
    /// Things worth knowing.
    pub warnings: Vec<String>,
}

impl NodeReport {
    /// Relative proving cost, in the units of [`CompileReport::cost`].
    pub fn cost(&self) -> usize {
        5 * self.cells + 4 * self.lookups
    }
}

impl CompileReport {
    /// Relative proving cost, as measured on models of 10^3 to 10^6 cells: about 0.17 µs per unit on two cores. A row of a table has a
    /// multiplicity, but most multiplicities are zero or small.
    pub fn cost(&self) -> usize {
        5 * (self.cells - self.table_rows) + 4 * self.lookups + 6 * self.table_rows
    }
}

/// A model ready for set-up and proving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledModel {
    /// Program, parameters and witness steps.
    pub built: Built,
    /// Inputs in order.
    pub inputs: Vec<IoInfo>,
    /// Outputs in order.
    pub outputs: Vec<IoInfo>,
    /// What compilation did.
    pub report: CompileReport,
    /// Name or digest of the source model, as given.
    pub source: String,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutput {
    /// Outputs in order, as real numbers.
    pub outputs: Vec<Tensor>,
    /// All integers.
    pub witness: Witness,
}

/// How close an output is to its float reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Fidelity {
    /// Name of the output.
    pub name: String,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Cosine of the angle between both, 1 if both are zero.
    pub cosine: f64,
    /// Share of rows (along the last axis) whose largest element is at the same place.
    pub top1: f64,
}

impl CompiledModel {
    /// The integers of real inputs: `floor(x · 2^scale + 1/2)`.
    ///
    /// # Errors
    /// Wrong count, shape or type; numbers that are not finite or outside the input's range.
    pub fn quantize_inputs(&self, inputs: &[Tensor]) -> Result<Vec<Vec<i64>>, InputError> {
        if inputs.len() != self.inputs.len() {
            return Err(InputError::Count { expected: self.inputs.len(), got: inputs.len() });
        }
        self.inputs.iter().zip(inputs).map(|(info, t)| info.quantize(t)).collect()
    }

    /// Runs the integer program.
    ///
    /// # Errors
    /// Inputs that do not fit, or a value that leaves the range it was calibrated for.
    pub fn run(&self, inputs: &[Tensor]) -> Result<RunOutput, RunError> {
        let integers = self.quantize_inputs(inputs)?;
        let witness = execute(&self.built, &integers)?;
        let outputs = self.outputs.iter().map(|o| self.read(o, &witness)).collect();
        Ok(RunOutput { outputs, witness })
    }

    /// An input or output of the model as real numbers.
    pub fn read(&self, info: &IoInfo, witness: &Witness) -> Tensor {
        let program = &self.built.program;
        let offset = program.absolute_offset(&info.view);
        let cells: &[i64] = match info.view.source {
            Source::Public(p) => &witness.publics[p.0 as usize],
            Source::Region(_) => &witness.heap,
            Source::Params => &self.built.parameters.heap,
            Source::Constant(c) => &program.constants[c.0 as usize].values,
            Source::Matrix(_) => &[],
        };
        let view = View { offset, ..info.view.clone() };
        let integers: Vec<i64> = match info.view.source {
            Source::Matrix(m) => {
                let values = self.built.parameters.matrices[m.0 as usize].view();
                view.cells().iter().map(|&c| values.get(c)).collect()
            }
            _ => view.cells().iter().map(|&c| cells[c]).collect(),
        };
        info.dequantize(&integers)
    }

    /// Compares outputs with a reference.
    pub fn fidelity(&self, reference: &[Tensor], got: &[Tensor]) -> Vec<Fidelity> {
        self.outputs.iter().zip(reference.iter().zip(got)).map(|(info, (r, g))| fidelity(&info.name, r, g)).collect()
    }
}

impl IoInfo {
    fn quantize(&self, t: &Tensor) -> Result<Vec<i64>, InputError> {
        if t.shape != self.shape {
            return Err(InputError::Shape { name: self.name.clone(), expected: self.shape.clone(), got: t.shape.clone() });
        }
        if t.dtype() != self.element.dtype() {
            return Err(InputError::Type {
                name: self.name.clone(),
                expected: self.element.dtype().to_string(),
                got: t.dtype().to_string(),
            });
        }
        let unit = libm::exp2(f64::from(-self.scale));
        let ranged = |index: usize, value: f64, q: f64| {
            if q >= self.lo as f64 && q <= self.hi as f64 {
                Ok(q as i64)
            } else {
                Err(InputError::Range { name: self.name.clone(), index, value, lo: self.lo as f64 * unit, hi: self.hi as f64 * unit })
            }
        };
        match &t.data {
            Data::F32(values) => {
                let one = |(index, &value): (usize, &f32)| {
                    if !value.is_finite() {
                        return Err(InputError::NotFinite { name: self.name.clone(), index, value });
                    }
                    let x = f64::from(value);
                    ranged(index, x, libm::floor(x / unit + 0.5))
                };
                values.iter().enumerate().map(one).collect()
            }
            Data::I64(values) => values.iter().enumerate().map(|(i, &v)| ranged(i, v as f64, v as f64)).collect(),
            Data::Bool(values) => Ok(values.iter().map(|&v| i64::from(v)).collect()),
        }
    }

    fn dequantize(&self, integers: &[i64]) -> Tensor {
        let unit = libm::exp2(f64::from(-self.scale));
        let data = match self.element {
            Element::F32 => Data::F32(integers.iter().map(|&v| (v as f64 * unit) as f32).collect()),
            Element::I64 => Data::I64(integers.to_vec()),
            Element::Bool => Data::Bool(integers.iter().map(|&v| v != 0).collect()),
        };
        Tensor { shape: self.shape.clone(), data }
    }
}

/// Compares one tensor with its reference.
fn fidelity(name: &str, reference: &Tensor, got: &Tensor) -> Fidelity {
    let (r, g) = (reference.to_f32_vec(), got.to_f32_vec());
    let (mut max_abs, mut sum, mut rr, mut gg, mut rg) = (0f64, 0f64, 0f64, 0f64, 0f64);
    for (&a, &b) in r.iter().zip(&g) {
        let (a, b) = (f64::from(a), f64::from(b));
        let d = (a - b).abs();
        max_abs = max_abs.max(d);
        sum += d;
        rr += a * a;
        gg += b * b;
        rg += a * b;
    }
    let cosine = if rr == 0.0 && gg == 0.0 { 1.0 } else { rg / (rr.sqrt() * gg.sqrt()) };
    let row = reference.shape.last().copied().unwrap_or(1).max(1);
    let best = |v: &[f32]| {
        let mut at = 0;
        for (i, x) in v.iter().enumerate() {
            if *x > v[at] {
                at = i;
            }
        }
        at
    };
    let rows = r.chunks(row).zip(g.chunks(row));
    let (mut same, mut count) = (0usize, 0usize);
    for (a, b) in rows {
        same += usize::from(best(a) == best(b));
        count += 1;
    }
    Fidelity { name: name.to_string(), max_abs, mean_abs: sum / r.len().max(1) as f64, cosine, top1: same as f64 / count.max(1) as f64 }
}
