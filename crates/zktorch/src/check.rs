//! What a model needs, and what of it cannot be proved.

use crate::error::Error;
use crate::onnx::{OnnxModel, Options};
use crate::tensors::TensorSpec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zktorch_graph::{CompileError, NodeReport};
use zktorch_onnx::ImportError;

/// A node that cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why, and what helps.
    pub reason: String,
}

/// What a model needs.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Everything that cannot be proved; the rest is only filled in if this is empty.
    pub unsupported: Vec<UnsupportedNode>,
    /// Operators with their number of nodes.
    pub operators: BTreeMap<String, u64>,
    /// Inputs.
    pub inputs: Vec<TensorSpec>,
    /// Outputs.
    pub outputs: Vec<TensorSpec>,
    /// Weights and other parameters.
    pub parameters: usize,
    /// Cells that a proof commits to.
    pub cells: usize,
    /// Lookups of a proof.
    pub lookups: usize,
    /// Cells that count how often the rows of tables are looked up.
    pub table_rows: usize,
    /// What each node costs, in graph order; with the tables' rows and the inputs' cells these are all cells.
    pub nodes: Vec<NodeReport>,
    /// Relative cost of the whole: that of the nodes, tables and inputs.
    pub cost: usize,
    /// Length of a proof in bytes, without the public tensors.
    pub proof_bytes: usize,
    /// Powers that the reference string needs.
    pub srs_size: usize,
    /// Things worth knowing.
    pub warnings: Vec<String>,
}

/// What an ONNX model needs when it is compiled with these files of typical inputs (or with random ones), and what of it cannot be proved.
///
/// # Errors
/// A file that is no ONNX model, or that needs sizes. Unsupported operators are no error but part of the report.
pub fn check(path: &Path, dims: &BTreeMap<String, usize>, calibration: &[PathBuf]) -> Result<CheckReport, Error> {
    let onnx = match OnnxModel::read(path, dims) {
        Ok(onnx) => onnx,
        Err(Error::Import { source: ImportError::Unsupported(items), .. }) => {
            let node = |u: zktorch_onnx::Unsupported| {
                let attribute = u.attribute.map(|a| format!("attribute '{a}': ")).unwrap_or_default();
                UnsupportedNode { node: u.node, op: u.op, reason: format!("{attribute}{} (opset {})", u.reason, u.opset) }
            };
            return Ok(CheckReport { unsupported: items.into_iter().map(node).collect(), ..CheckReport::default() });
        }
        Err(e) => return Err(e),
    };
    let mut report = CheckReport { inputs: onnx.inputs(), outputs: onnx.outputs(), operators: onnx.operators(), ..CheckReport::default() };
    let options = Options { calibration: calibration.to_vec(), ..Options::default() };
    let compiled = match calibration {
        // As if they were real, so that activations become as narrow as those of a compiled model.
        [] => onnx.compile_on(&onnx.made_up_samples(), &options),
        _ => onnx.compile(&options),
    };
    match compiled {
        Ok(model) => {
            let shape = zktorch_protocol::proof_shape(&model.compiled.built.program).map_err(Error::Program)?;
            let made = &model.compiled.report;
            report.parameters = made.parameters;
            report.cells = made.cells;
            report.lookups = made.lookups;
            report.table_rows = made.table_rows;
            report.nodes.clone_from(&made.nodes);
            report.cost = made.cost();
            report.proof_bytes = shape.bytes;
            report.srs_size = shape.srs_size;
            report.warnings.clone_from(&made.warnings);
            Ok(report)
        }
        Err(Error::Compile(CompileError::Unsupported { nodes })) => {
            report.unsupported = nodes.into_iter().map(|n| UnsupportedNode { node: n.node, op: n.op, reason: n.reason }).collect();
            Ok(report)
        }
        Err(e) => Err(e),
    }
}
