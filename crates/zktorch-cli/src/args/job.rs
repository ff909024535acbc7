//! Proofs by many machines.

use super::prove::{Inputs, ModelWithKey, Split};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What proves.
    #[command(flatten)]
    pub prover: ModelWithKey,
    /// What the model runs on.
    #[command(flatten)]
    pub inputs: Inputs,
    /// The labels of --inputs, for a model compiled with --metric: the proof shows how many predictions are correct, as that of prove-metric does.
    #[arg(long, value_name = "FILE", requires = "inputs", conflicts_with = "input")]
    pub labels: Option<PathBuf>,
    /// The directory to make.
    #[arg(short, long, value_name = "JOB")]
    pub output: PathBuf,
    /// How inferences are split.
    #[command(flatten)]
    pub split: Split,
}

/// Arguments of `work`.
#[derive(Debug, Args)]
pub struct Work {
    /// The job's directory.
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The task to run.
    #[arg(required_unless_present_any = ["all", "next"], conflicts_with_all = ["all", "next"])]
    pub task: Option<String>,
    /// Run whatever is ready, and wait for what other workers do, until nothing is left.
    #[arg(long, conflicts_with = "next")]
    pub all: bool,
    /// The same, but end after N tasks.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub next: Option<u32>,
    /// Take over a task if its worker has given no sign of life for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub claim_timeout: u64,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The job's directory.
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Where to write the proof.
    #[arg(short, long, value_name = "PROOF")]
    pub output: PathBuf,
}
