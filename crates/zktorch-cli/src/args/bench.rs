//! Measuring.

use super::Dim;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// Named models (see the list above; mlp, trees, lenet5 and nanogpt if there are none), or paths of .onnx files.
    pub models: Vec<String>,
    /// Earlier results (--json > FILE) to compare with: ratios of new to old.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Prove so many times and report the fastest.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub runs: u16,
    /// Leave out the kernels for AVX-512, as on a processor that has none.
    #[arg(long)]
    pub portable: bool,
    /// Write the named models as ONNX files to this folder, and measure nothing.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["against", "runs"])]
    pub export: Option<PathBuf>,
    /// Size of a dynamic axis of the .onnx files; repeat for several.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<Dim>,
}

/// What one process of `bench` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Compiles and sets up.
    Prepare,
    /// Proves.
    Prove,
    /// Verifies.
    Verify,
}

/// Arguments of the hidden `bench-one`.
#[derive(Debug, Args)]
pub struct BenchOne {
    /// Name or path.
    pub model: String,
    /// What to do.
    #[arg(long, value_enum)]
    pub stage: Stage,
    /// Folder of the files that the stages share.
    #[arg(long)]
    pub dir: PathBuf,
    /// Leave out the kernels for AVX-512.
    #[arg(long)]
    pub portable: bool,
    /// Size of a dynamic axis.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<Dim>,
}
