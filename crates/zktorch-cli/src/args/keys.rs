//! Keys and reference strings.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `setup`.
#[derive(Debug, Args)]
pub struct Setup {
    /// The compiled model.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// Reference string [default: a development one, generated here and cached].
    #[arg(long, value_name = "FILE")]
    pub srs: Option<PathBuf>,
    /// Where to write the proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
    /// Where to write the verifying key.
    #[arg(long, value_name = "VK")]
    pub vk: PathBuf,
    /// Also prove, once, that the committed weights are small integers, and write that proof here. Proofs of inferences rely on it; whoever does
    /// not trust the key's maker asks for it (verify --ranges). Takes about as long as proving an inference with one cell per weight.
    #[arg(long, value_name = "RANGES")]
    pub prove_ranges: Option<PathBuf>,
}

/// The commands on reference strings.
#[derive(Debug, Subcommand)]
pub enum Srs {
    /// Generates a reference string for development. Whoever generates it can forge proofs.
    Generate {
        /// log2 of the number of powers.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=27))]
        size_log2: u32,
        /// Where to write it.
        #[arg(short, long, value_name = "SRS")]
        output: PathBuf,
    },
    /// Imports the powers of tau of a ceremony (snarkjs, curve bn128), with all checks.
    Import {
        /// The ceremony's file.
        #[arg(value_name = "FILE.ptau")]
        ptau: PathBuf,
        /// Take only the first 2^N powers.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=27))]
        size_log2: Option<u32>,
        /// Where to write the reference string.
        #[arg(short, long, value_name = "SRS")]
        output: PathBuf,
    },
    /// Checks a reference string: points on the curve, powers of one secret, not zero.
    Verify {
        /// The reference string.
        #[arg(value_name = "SRS")]
        srs: PathBuf,
    },
}
