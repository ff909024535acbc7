//! Verifying, and looking into files.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The proof.
    pub proof: PathBuf,
    /// The verifying key.
    #[arg(long, value_name = "VK")]
    pub vk: PathBuf,
    /// The model id that you trust (64 hexadecimal digits, or the first 16 or more): a key for another model is rejected.
    #[arg(long, value_name = "ID")]
    pub model_id: Option<String>,
    /// A range proof of the key (setup --prove-ranges): also verify that the committed weights are small integers.
    #[arg(long, value_name = "RANGES")]
    pub ranges: Option<PathBuf>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A compiled model, key, proof, accumulator, reference string, range proof, or result of a task.
    pub file: PathBuf,
    /// Verifying key of a proof: also show what makes up the proof, in bytes. A verifying key itself shows this of a proof of one inference.
    #[arg(long, value_name = "VK")]
    pub vk: Option<PathBuf>,
}
