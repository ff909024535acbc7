//! The command line: every command, flag and help text.

mod bench;
mod job;
mod keys;
mod model;
mod prove;
mod verify;

pub use bench::{Bench, BenchOne, Stage};
pub use job::{Join, Plan, Work};
pub use keys::{Setup, Srs};
pub use model::{Check, Compile, Dim, Metric, Order, Run, Visibility};
pub use prove::{Accumulate, Inputs, ModelWithKey, Prove, ProveMetric, Segments, Split};
pub use verify::{Inspect, Verify};

use clap::{Args, Parser, Subcommand};
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

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}
