//! Proving inferences in one process.

use clap::Args;
use std::path::PathBuf;

/// A compiled model and its proving key.
#[derive(Debug, Args)]
pub struct ModelWithKey {
    /// The compiled model.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// The proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
}

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// What proves.
    #[command(flatten)]
    pub prover: ModelWithKey,
    /// What the model runs on.
    #[command(flatten)]
    pub inputs: Inputs,
    /// Where to write the proof.
    #[arg(short, long, value_name = "PROOF", required_unless_present = "accumulator")]
    pub output: Option<PathBuf>,
    /// Also (or only) write an accumulator: the proof before its last step, which `zktorch accumulate` folds with others. It is as secret as the weights.
    #[arg(long, value_name = "ACC")]
    pub accumulator: Option<PathBuf>,
    /// How inferences are split.
    #[command(flatten)]
    pub split: Split,
    /// A file with a secret of at least 16 random bytes. Proofs of one model made with the same secret show the same commitment for the same committed
    /// tensor, so that they can be linked; without it every proof shows another one.
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["inputs", "accumulator", "batch", "segments", "memory"])]
    pub link: Option<PathBuf>,
}

/// Arguments of `prove-metric`.
#[derive(Debug, Args)]
pub struct ProveMetric {
    /// What proves.
    #[command(flatten)]
    pub prover: ModelWithKey,
    /// The inputs: a folder of files, or a file whose tensors have the inferences as an additional outermost axis.
    #[arg(long, value_name = "PATH")]
    pub inputs: PathBuf,
    /// The labels: one array of integers (.npy, .npz, JSON), in the order of the inputs; in a file with more arrays, the one named "label".
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// Where to write the proof.
    #[arg(short, long, value_name = "PROOF")]
    pub output: PathBuf,
    /// How inferences are split.
    #[command(flatten)]
    pub split: Split,
}

/// The inputs of one inference, or of many.
#[derive(Debug, Args)]
pub struct Inputs {
    /// The input (.npz, .npy, .json).
    #[arg(short, long, value_name = "FILE", required_unless_present = "inputs", conflicts_with = "inputs")]
    pub input: Option<PathBuf>,
    /// Many inputs, for one proof of all of them: a folder of files, or a file whose tensors have the inferences as an additional outermost axis.
    #[arg(long, value_name = "PATH")]
    pub inputs: Option<PathBuf>,
}

/// How inferences are split into batches and segments.
#[derive(Debug, Args, Clone, Copy)]
pub struct Split {
    /// Inferences that are proved side by side in one piece; by default as many as pay.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Pieces that the model is proved in, one after the other, each in the memory that the one before has used: a number, or "auto" for as many as the free memory asks for.
    #[arg(long, value_name = "auto|N")]
    pub segments: Option<Segments>,
    /// Memory that the prover may use, for example 6GiB: chooses the number of segments.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, conflicts_with = "segments")]
    pub memory: Option<u64>,
}

/// Number of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    /// By the free memory.
    Auto,
    /// This many.
    Count(usize),
}

impl std::str::FromStr for Segments {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse() {
            _ if s == "auto" => Ok(Segments::Auto),
            Ok(n) if n > 0 => Ok(Segments::Count(n)),
            _ => Err("expected auto or a positive number".to_owned()),
        }
    }
}

/// A number of bytes: 6GiB, 512MiB, 4GB, 1000000.
fn memory_size(s: &str) -> Result<u64, String> {
    let digits = s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len());
    let (number, unit) = s.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("'{s}' is not a size such as 6GiB or 512MiB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{s}' is not a size such as 6GiB or 512MiB"))?;
    Ok((number * unit as f64) as u64)
}

/// Arguments of `accumulate`.
#[derive(Debug, Args)]
pub struct Accumulate {
    /// Accumulators of one model, in the order in which the proof lists their inferences.
    #[arg(value_name = "ACC", required = true)]
    pub accumulators: Vec<PathBuf>,
    /// The proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
    /// Where to write the proof of all of them.
    #[arg(short, long, value_name = "PROOF", required_unless_present = "keep")]
    pub output: Option<PathBuf>,
    /// Where to write the accumulator of all of them, to be folded with more later.
    #[arg(long, value_name = "ACC")]
    pub keep: Option<PathBuf>,
}
