//! The command line: every command, flag and help text.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const AFTER: &str = "\
The usual way:
  zktorch compile model.onnx -o model.zkt --calibrate samples.npz
  zktorch setup model.zkt --pk model.pk --vk model.vk
  zktorch prove model.zkt --pk model.pk --input input.npz -o proof.bin
  zktorch verify proof.bin --vk model.vk

Exit codes: 0 done or verified, 1 proof rejected, 2 bad usage or input.";

/// Proves in zero knowledge that an output came from running a given ONNX model.
#[derive(Debug, Parser)]
#[command(name = "zktorch", version, about = "Proves in zero knowledge that an output came from running a given ONNX model", after_help = AFTER, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
}

/// Flags of every command.
#[derive(Debug, Args, Clone, Copy)]
pub struct Common {
    /// Print one JSON value on standard output instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results and errors, no progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more detail.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Number of threads [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A small trained model: compiled, set up, proved and verified, with a word on each file.
    #[command(
        long_about = "Recognises a handwritten digit with a small convolutional network that comes with zktorch, proves the result and verifies the proof.\n\n\
        All files stay in DIR (default: zktorch-demo), so that the other commands can be tried on them."
    )]
    Demo(Demo),
    /// What a model needs: operators, shapes, parameters, cells, lookups, estimated time and memory; what is unsupported.
    Check(Check),
    /// Turns an ONNX model into integers and equations.
    #[command(
        long_about = "Turns an ONNX model (opsets 7 to 28) into a quantised integer model and the equations that a proof is about.\n\n\
        The integer scales are chosen from the values seen on the calibration inputs. Without --calibrate, random inputs are used, which is rarely \
        what a trained model expects: give some real ones.\n\n\
        Compiled models contain the weights: keep them as secret as the weights are."
    )]
    Compile(Compile),
    /// Makes the proving key and the verifying key of a compiled model.
    #[command(long_about = "Makes the proving key (for whoever proves) and the verifying key (for everybody) of a compiled model.\n\n\
        The keys rest on a reference string. Without --srs, one is generated on this machine and cached: whoever generates a reference string can \
        forge proofs, so this is for development only. For use between parties, import one from a ceremony: zktorch srs import FILE.ptau -o FILE.srs")]
    Setup(Setup),
    /// Runs the integer model and compares it with the original.
    #[command(long_about = "Runs the integer model on an input: exactly what a proof proves.\n\n\
        --compare FILE reports how far the outputs are from others: FILE is the original .onnx model (run in floating point on the same input) \
        or a file of reference outputs (.npz, .npy or .json).")]
    Run(Run),
    /// Proves an inference. The proof carries the public inputs and outputs.
    #[command(
        long_about = "Runs the model on an input and proves the result. The proof file carries the public inputs and outputs, and nothing of what is private.\n\n\
        Input files: .npz with the model's input names, .npy (one input), or JSON {\"input_data\": [[1.0, 2.0, …], …]} with one flat list per input \
        in graph order, or {\"input_data\": {\"name\": [1.0, 2.0, …]}}."
    )]
    Prove(Prove),
    /// Proves how many predictions of a hidden model are correct on a labelled set.
    #[command(
        long_about = "Runs a model that was compiled with --metric top1 on a labelled set and proves how many of its predictions are the labels. The proof shows the count, \
        not the predictions: `zktorch verify` prints \"N of M correct\".\n\n\
        Public inputs and labels (the default) are listed in the proof file, which grows by them: they are the set that the count is about. Of a private or committed set \
        only the count is shown; it then says that there is such a set, not that it is a fair one.\n\n\
        A prediction is the class of the largest score of the integer model, the first of equal ones. \
        The set is proved in one batch if the memory and the keys' reference string allow it, otherwise in several, each with its own count: they add up."
    )]
    ProveMetric(ProveMetric),
    /// Folds accumulators (prove --accumulator) into one proof.
    #[command(
        long_about = "Folds accumulators of one model (zktorch prove --accumulator) and proves all their inferences in one proof.\n\n\
        A fold costs milliseconds. The proof grows by the messages of each accumulator, and is verified with one opening and one pairing check, however many there are."
    )]
    Accumulate(Accumulate),
    /// Divides a proof into tasks for many machines: a directory, for work and join.
    #[command(
        long_about = "Makes a directory with everything that a proof of some inferences needs, and a list of tasks (JOB/job.json: id, kind, inputs, outputs, dependencies).\n\n\
        The tasks are run by zktorch work on any machine that sees the directory, in any order that the dependencies allow; zktorch join makes the proof.\n\n\
        The directory holds the weights, the inputs and a secret: only its owner can enter it, and it must be kept as secret as these."
    )]
    Plan(Plan),
    /// Runs a task of a planned job, or whatever is ready.
    #[command(long_about = "Runs one task of a job (zktorch plan), or with --all whatever is ready until nothing is left.\n\n\
        A worker may be killed at any moment: the task is run again and gives the same result. A result that is there and intact is not made again; a damaged one is. \
        Workers of one job claim tasks by files in JOB/claims; a task that is named on the command line is run whoever has claimed it.")]
    Work(Work),
    /// Checks the results of a planned job and makes the proof.
    #[command(long_about = "Checks the results of all tasks of a job (zktorch plan) and makes the proof.\n\n\
        A result that is missing, damaged, of another task or job, or forged is named: delete it and run its task again.")]
    Join(Join),
    /// Verifies a proof and prints the statement that it verified.
    #[command(
        long_about = "Verifies a proof with the verifying key alone, and prints what is thereby known: which model, which inputs and which outputs.\n\n\
        A verifying key says which model it is for; compare its model id with the one that you trust, or give that one with --model-id.\n\n\
        Exit codes: 0 verified, 1 rejected, 2 bad usage or input."
    )]
    Verify(Verify),
    /// Any file of zktorch, in words.
    Inspect(Inspect),
    /// Reference strings: generate, import from a ceremony, verify.
    #[command(subcommand)]
    Srs(Srs),
    /// Time of each phase, peak memory, sizes and verification time of named models.
    #[command(
        long_about = "Compiles, sets up, proves and verifies named models or .onnx files and prints tables (or a JSON list with --json). \
        Weights are made up, of the exact shapes, and the same on every machine.\n\n\
        Measured by default:\n\
        \x20 mlp          64-64-32-10, handwritten digits, trained\n\
        \x20 trees        100 boosted trees of depth 6 on 28 features\n\
        \x20 lenet5       LeNet-5, 28x28 images\n\
        \x20 nanogpt      4 layers, width 64, 64 tokens, 0.2 M parameters\n\
        When asked for, minutes and gigabytes:\n\
        \x20 vgg16        VGG-16, 32x32 images, 15 M parameters\n\
        \x20 mobilenetv2  MobileNetV2, 224x224 images, 3.5 M parameters\n\
        \x20 resnet50     ResNet-50, 224x224 images, 25.5 M parameters\n\
        \x20 bert-base    BERT-base, 128 tokens, 109 M parameters\n\
        \x20 vit-b16      ViT-B/16, 224x224 images, 86 M parameters\n\
        \x20 gpt2-16, gpt2-64, gpt2-256  GPT-2, 16, 64 or 256 tokens, 124 M parameters\n\
        \x20 gptj-1 to gptj-28          GPT-J with so many layers, 2 tokens, 8-bit weights, 0.6 to 6.05 G parameters\n\
        \x20 cells-16 to cells-27       residual blocks of width 128 with about 2^16 to 2^27 heap cells, to see how costs grow\n\n\
        Proving runs in a process of its own, which reads its files and does nothing else: its peak memory is that of `zktorch prove`. \
        Without --threads, each model is measured with one thread and with all cores."
    )]
    Bench(Bench),
    /// Prints a completion script for a shell.
    Completions(Completions),
    /// One stage of a measurement of `bench`, in this process.
    #[command(hide = true)]
    BenchOne(BenchOne),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for the files.
    #[arg(default_value = "zktorch-demo")]
    pub dir: PathBuf,
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

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    /// Rows of the first output whose largest score is at the label's place.
    Top1,
}

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

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The compiled model.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// The proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
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
    /// The model, compiled with --metric.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// The proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
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

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// The compiled model.
    #[arg(value_name = "MODEL.zkt")]
    pub model: PathBuf,
    /// The proving key.
    #[arg(long, value_name = "PK")]
    pub pk: PathBuf,
    /// What the model runs on.
    #[command(flatten)]
    pub inputs: Inputs,
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
    /// A compiled model, key, proof or reference string.
    pub file: PathBuf,
    /// Verifying key of a proof: also show what makes up the proof, in bytes. A verifying key itself shows this of a proof of one inference.
    #[arg(long, value_name = "VK")]
    pub vk: Option<PathBuf>,
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
    /// Size of a dynamic axis.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<Dim>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}
