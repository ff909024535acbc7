//! Models: what they need, compiling, running.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The model and its sizes.
#[derive(Debug, Args)]
pub struct OnnxModel {
    /// The ONNX model.
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Size of a dynamic axis; repeat for several.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<Dim>,
}

/// A size of a dynamic axis.
#[derive(Debug, Clone)]
pub struct Dim {
    /// Name of the size in the model.
    pub name: String,
    /// Its value.
    pub value: usize,
}

impl std::str::FromStr for Dim {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (name, value) = s.rsplit_once('=').ok_or("expected NAME=N, for example batch=1")?;
        let value = value.parse().ok().filter(|&n: &usize| n > 0).ok_or_else(|| format!("'{value}' is not a positive number"))?;
        if name.is_empty() {
            return Err("expected NAME=N, for example batch=1".to_owned());
        }
        Ok(Dim { name: name.to_owned(), value })
    }
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The model.
    #[command(flatten)]
    pub model: OnnxModel,
    /// Typical inputs, as for compile: small models may then need fewer cells than on random ones.
    #[arg(long, value_name = "FILE")]
    pub calibrate: Vec<PathBuf>,
    /// List what every node costs, the most expensive first or in graph order (without this flag: the ten most expensive).
    #[arg(long, value_enum, value_name = "ORDER", num_args = 0..=1, require_equals = true, default_missing_value = "cost")]
    pub nodes: Option<Order>,
}

/// How nodes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// The most expensive first.
    Cost,
    /// As in the model.
    Graph,
}

/// Arguments of `compile`.
#[derive(Debug, Args)]
pub struct Compile {
    /// The model.
    #[command(flatten)]
    pub model: OnnxModel,
    /// Where to write the compiled model.
    #[arg(short, long, value_name = "MODEL.zkt")]
    pub output: PathBuf,
    /// Typical inputs (.npz, .npy, .json), one or many per file; repeat for several files.
    #[arg(long, value_name = "FILE")]
    pub calibrate: Vec<PathBuf>,
    /// Least cosine of every output with the original's on the calibration inputs, for example 0.999: the cheapest integers that reach it are chosen, and
    /// what limits them is said. Needs --calibrate.
    #[arg(long, value_name = "COSINE", value_parser = cosine, requires = "calibrate")]
    pub fidelity: Option<f64>,
    /// Who learns the inputs.
    #[arg(long, value_enum, default_value_t = Visibility::Public, value_name = "V")]
    pub input_visibility: Visibility,
    /// Who learns the outputs.
    #[arg(long, value_enum, default_value_t = Visibility::Public, value_name = "V", conflicts_with = "metric")]
    pub output_visibility: Visibility,
    /// Count correct predictions instead of giving outputs, for prove-metric. The model gets one more input, "label", as visible as the others.
    #[arg(long, value_enum, value_name = "METRIC")]
    pub metric: Option<Metric>,
}

/// A fidelity goal.
fn cosine(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|c| *c > 0.0 && *c <= 1.0).ok_or_else(|| format!("'{text}' is not above 0 and at most 1"))
}

/// Who learns a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Visibility {
    /// Part of the statement: every verifier sees it.
    Public,
    /// Hidden.
    Private,
    /// Hidden, with a published commitment that links proofs about the same data.
    Committed,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    /// Rows of the first output whose largest score is at the label's place.
    Top1,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The compiled model.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// The input (.npz, .npy, .json).
    #[arg(short, long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where to write the outputs (.npz or .json).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to compare with: the original .onnx model, or reference outputs.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}
