//! Errors: what went wrong, a stable code, and what to do about it.

use crate::container::Kind;
use crate::jobdir::JobError;
use crate::metric::MetricError;
use std::path::{Path, PathBuf};
use zktorch_float::EvalError;
use zktorch_graph::{CompileError, RunError};
use zktorch_onnx::ImportError;
use zktorch_program::ExecuteError;
use zktorch_program::derive::DeriveError;
use zktorch_protocol::pcs::SrsError;
use zktorch_protocol::{AccumulatorError, ProveError, RangeError, SetupError, VerifyError};

/// A file of ours that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refuses to read.
    #[error("cannot read {file}: {source}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The operating system refuses to write.
    #[error("cannot write {file}: {source}", file = file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// No magic of ours.
    #[error("{file} is not a file of zktorch{what}", file = file.display(), what = looks_like.map(|l| format!("; it looks like {l}")).unwrap_or_default())]
    NotOurs {
        /// The file.
        file: PathBuf,
        /// What it seems to be.
        looks_like: Option<&'static str>,
    },
    /// A kind that this version does not know.
    #[error("{file} is a kind of zktorch file that this version does not know", file = file.display())]
    UnknownKind {
        /// The file.
        file: PathBuf,
    },
    /// A file of ours, but another one than expected.
    #[error("{file} is {got}, expected {expected}", file = file.display(), got = got.described(), expected = expected.described())]
    WrongKind {
        /// The file.
        file: PathBuf,
        /// What the command wants.
        expected: Kind,
        /// What the file is.
        got: Kind,
    },
    /// Another version of the format.
    #[error("{file} is {what} in format version {got}; this zktorch reads version {ours}", file = file.display(), what = kind.described(), ours = kind.version())]
    Version {
        /// The file.
        file: PathBuf,
        /// What it is.
        kind: Kind,
        /// Version in the file.
        got: u32,
    },
    /// The file ends early.
    #[error("{file} is truncated: {got} bytes of {expected}", file = file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Length that the header asks for.
        expected: usize,
        /// Length of the file.
        got: usize,
    },
    /// Bytes follow the end.
    #[error("{file} has {count} bytes after its end", file = file.display())]
    Trailing {
        /// The file.
        file: PathBuf,
        /// How many.
        count: usize,
    },
    /// The digest does not match.
    #[error("{file} is corrupt: its contents do not match its digest", file = file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
    },
    /// The container is intact, its payload is not what the kind and version say.
    #[error("{file} is {what} with invalid contents: {reason}", file = file.display(), what = kind.described())]
    Payload {
        /// The file.
        file: PathBuf,
        /// What it is.
        kind: Kind,
        /// What is wrong.
        reason: String,
    },
}

impl FileError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "E0601",
            Self::Write { .. } => "E0602",
            Self::NotOurs { .. } => "E0603",
            Self::UnknownKind { .. } => "E0604",
            Self::WrongKind { .. } => "E0605",
            Self::Version { .. } => "E0606",
            Self::Truncated { .. } => "E0607",
            Self::Trailing { .. } => "E0608",
            Self::Corrupt { .. } => "E0609",
            Self::Payload { .. } => "E0610",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::Write { .. } => "check that the folder exists, can be written and has space left; nothing was written".to_owned(),
            Self::NotOurs { .. } => {
                "see which file the command wants with --help; `zktorch inspect FILE` says what a file of zktorch is".to_owned()
            }
            Self::UnknownKind { .. } => "it was made by a newer zktorch: update, or make the file again with this one".to_owned(),
            Self::WrongKind { expected, .. } => {
                format!("{} is made by `{}`; perhaps two arguments are swapped", expected.described(), expected.made_by())
            }
            Self::Version { kind, got, .. } if *got > kind.version() => {
                format!("made by a newer zktorch: update, or make it again with `{}`", kind.made_by())
            }
            Self::Version { kind, .. } => format!("made by an older zktorch: make it again with `{}`", kind.made_by()),
            Self::Truncated { file, .. } | Self::Trailing { file, .. } | Self::Corrupt { file } => {
                format!("copy {} again from where it was made; it changed on the way", file.display())
            }
            Self::Payload { kind, .. } => format!("make it again with `{}`", kind.made_by()),
        })
    }

    /// Whether the file was there and claims to be of the kind asked for, but its contents do not hold: for a proof, that is a rejection.
    pub fn is_defective_content(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Trailing { .. } | Self::Corrupt { .. } | Self::Payload { .. })
    }
}

/// Tensors given by the user that do not fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {file}: {source}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of outputs in a format that we do not write.
    #[error("{file}: an output file ends in .npz or .json", file = file.display())]
    Extension {
        /// The file.
        file: PathBuf,
    },
    /// Not one of the formats that we read.
    #[error("{file}: {reason}", file = file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Names, number or shapes do not fit.
    #[error("{file}: {reason}", file = file.display())]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
        /// The tensors that the model wants, one per line.
        expected: String,
    },
    /// NaN or infinity.
    #[error("{file}: input '{name}' is {value} at position {index}; only finite numbers can be proved", file = file.display())]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Row-major position.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
}

impl InputError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "E0601",
            Self::Format { .. } | Self::Extension { .. } => "E0701",
            Self::Mismatch { .. } => "E0702",
            Self::NotFinite { .. } => "E0703",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::IsADirectory => {
                "--inputs takes a folder; elsewhere, name one of its files".to_owned()
            }
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::Extension { .. } => "the ending of its name says how the outputs are written: choose one of these".to_owned(),
            Self::Format { .. } => {
                "inputs are .npz, .npy, or JSON {\"input_data\": [[1.0, 2.0], …]} with one flat list per input, in graph order".to_owned()
            }
            Self::Mismatch { expected, .. } => format!("the model's tensors are\n{expected}"),
            Self::NotFinite { .. } => "clean the data before proving".to_owned(),
        })
    }
}

/// Everything that can go wrong, except that a proof is rejected (that is a [`Rejection`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of our files.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of tensors.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An ONNX model that cannot be imported.
    #[error("{}", imported(file, source))]
    Import {
        /// The model.
        file: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// A model that cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A model that cannot be run on some input.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A float model that cannot be run.
    #[error(transparent)]
    Float(#[from] EvalError),
    /// A reference string that is refused.
    #[error("{file}: {source}", file = file.display())]
    Srs {
        /// The file.
        file: PathBuf,
        /// Why.
        source: SrsError,
    },
    /// Keys that cannot be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A proof that cannot be made.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// A range proof that cannot be made.
    #[error(transparent)]
    Ranges(#[from] RangeError),
    /// A program that the protocol does not take.
    #[error("the model's program cannot be proved: {0}")]
    Program(VerifyError),
    /// Inferences that cannot be batched, or a program that cannot be cut into segments.
    #[error(transparent)]
    Derive(DeriveError),
    /// An accumulator that is refused.
    #[error(transparent)]
    Accumulator(AccumulatorError),
    /// A job's directory.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A proof that would take more memory than it may.
    #[error("the proof needs about {:.1} MiB of memory, even in {segments} segments; {:.1} MiB are allowed", mebibytes(*needed), mebibytes(*memory))]
    Memory {
        /// Estimated bytes.
        needed: u64,
        /// Bytes that are allowed.
        memory: u64,
        /// Segments that the model was cut into.
        segments: usize,
    },
    /// A metric that cannot be computed or proved.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Files that do not belong together.
    #[error("{0}")]
    Mismatch(String),
}

impl Error {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(e) => e.code(),
            Self::Input(e) => e.code(),
            Self::Import { source, .. } => match source {
                ImportError::Io { .. } => "E0101",
                ImportError::NotOnnx(_) => "E0102",
                ImportError::Opset { .. } => "E0103",
                ImportError::Unsupported(_) => "E0104",
                ImportError::MissingDims(_) | ImportError::UnknownDim { .. } | ImportError::DimConflict { .. } => "E0105",
                ImportError::Input { .. } => "E0106",
                ImportError::Tensor { .. } => "E0107",
                ImportError::Node { .. } => "E0108",
                _ => "E0109",
            },
            Self::Compile(e) => match e {
                CompileError::Unsupported { .. } => "E0201",
                CompileError::NotFinite { .. } => "E0202",
                CompileError::Option { .. } => "E0203",
                CompileError::Float(_) => "E0204",
                CompileError::Graph(_) => "E0205",
            },
            Self::Run(e) => match e {
                RunError::Input(_) => "E0704",
                RunError::Execute(e) if leaves_range(e) => "E0301",
                RunError::Execute(_) => "E0302",
            },
            Self::Float(_) => "E0303",
            Self::Setup(SetupError::ReferenceString { .. }) => "E0401",
            Self::Setup(SetupError::Audit(_)) | Self::Program(_) => "E0402",
            Self::Setup(_) => "E0403",
            Self::Prove(_) | Self::Ranges(_) => "E0404",
            Self::Derive(_) => "E0406",
            Self::Memory { .. } => "E0407",
            Self::Accumulator(_) => "E0612",
            Self::Metric(e) => match e {
                MetricError::Scores { .. } | MetricError::Name { .. } => "E0206",
                MetricError::None | MetricError::Visible { .. } => "E0705",
                MetricError::Count { .. } | MetricError::Range { .. } => "E0706",
                MetricError::Single => "E0707",
            },
            Self::Mismatch(_) => "E0611",
            Self::Srs { .. } => "E0620",
            Self::Job(e) => e.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::File(e) => return e.help(),
            Self::Input(e) => return e.help(),
            Self::Job(e) => return Some(e.help()),
            Self::Import { source, .. } => match source {
                ImportError::Io { .. } => "check the path; weights outside of the model file are looked for in its folder",
                ImportError::NotOnnx(_) => {
                    "export the model as ONNX, for example with torch.onnx.export(model, args, 'model.onnx'), and copy it whole"
                }
                ImportError::Opset { .. } => "export with an operator set from 7 to 28: torch.onnx.export(…, opset_version=17)",
                ImportError::Unsupported(_) => {
                    "`zktorch check MODEL.onnx` lists everything; export with another opset, or replace these operators"
                }
                ImportError::MissingDims(open) => {
                    let mut flags: Vec<String> = open.iter().map(|d| format!("--dim {}=1", d.dim)).collect();
                    let mut seen = std::collections::HashSet::new();
                    flags.retain(|f| seen.insert(f.clone()));
                    return Some(format!("proofs are about fixed shapes: choose them, for example {}", flags.join(" ")));
                }
                ImportError::UnknownDim { known, .. } if known.is_empty() => "leave out --dim",
                ImportError::UnknownDim { .. } | ImportError::DimConflict { .. } => {
                    "give each symbolic dimension one size with --dim NAME=N; one without a name is written INPUT.AXIS"
                }
                _ => "check the model with onnx.checker.check_model, or export it again",
            },
            Self::Compile(e) => match e {
                CompileError::Unsupported { .. } => "`zktorch check MODEL.onnx` lists everything; replace these operators in the model",
                CompileError::NotFinite { .. } => "give typical inputs with --calibrate FILE",
                CompileError::Option { .. } => "see zktorch compile --help",
                CompileError::Float(_) => "check that the calibration inputs are typical inputs of the model",
                CompileError::Graph(_) => "export the model again",
            },
            Self::Run(RunError::Execute(e)) if leaves_range(e) => {
                "this input leaves the ranges seen in calibration: compile again with inputs like this one, --calibrate FILE"
            }
            Self::Run(RunError::Input(_)) => "compile again with calibration inputs that cover this one, --calibrate FILE",
            Self::Run(_) | Self::Setup(SetupError::Parameters(_)) => "make the compiled model again with `zktorch compile`",
            Self::Float(_) => "check that the input is a typical input of the model",
            Self::Setup(SetupError::ReferenceString { needed, .. }) => {
                let log2 = needed.next_power_of_two().trailing_zeros();
                return Some(format!(
                    "use one of at least 2^{log2} powers: `zktorch srs generate --size-log2 {log2} -o FILE` (development), or import a larger ceremony"
                ));
            }
            Self::Setup(_) | Self::Program(_) => "please report this model",
            Self::Prove(_) | Self::Ranges(_) => "make both keys again with `zktorch setup`",
            Self::Derive(_) => "prove the inferences one by one: --batch 1 --segments 1",
            Self::Memory { .. } => "allow more memory, or fewer inferences in a batch: --batch 1",
            Self::Accumulator(_) => "make it again: run the task that it is the result of",
            Self::Metric(e) => match e {
                MetricError::Scores { .. } => "export the model with its scores (logits or probabilities) as the first output",
                MetricError::Name { .. } => "rename the tensor in the model",
                MetricError::None | MetricError::Visible { .. } => {
                    "compile the model for it: zktorch compile MODEL.onnx --metric top1 -o MODEL.zkt; keys are made for it with zktorch setup"
                }
                MetricError::Count { .. } => "give one label per prediction, in the order of the inputs, as one array of integers",
                MetricError::Range { .. } => "labels are positions of classes in the model's first output, counted from 0",
                MetricError::Single => "leave out --batch, or choose one that leaves no inference alone",
            },
            Self::Mismatch(_) => "`zktorch inspect FILE` says which model a file belongs to",
            Self::Srs { .. } => {
                "generate one with `zktorch srs generate --size-log2 N -o FILE`, or import a ceremony with `zktorch srs import FILE.ptau -o FILE`"
            }
        };
        Some(text.to_owned())
    }
}

/// Which file, and why; the file is said once.
fn imported(file: &Path, source: &ImportError) -> String {
    match source {
        ImportError::Io { path, .. } if path == file => source.to_string(),
        _ => format!("{}: {source}", file.display()),
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Whether a run failed because some value is larger than calibration foresaw.
fn leaves_range(error: &ExecuteError) -> bool {
    matches!(error, ExecuteError::OutOfRange { .. } | ExecuteError::Remainder { .. } | ExecuteError::Overflow { .. })
}

/// Why a proof is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The proof file is not intact.
    #[error(transparent)]
    File(FileError),
    /// The proof is about another model than the verifying key.
    #[error("the proof is about model {got}, the verifying key is for {expected}")]
    OtherModel {
        /// Model id of the verifying key.
        expected: String,
        /// Model id in the proof.
        got: String,
    },
    /// The verifying key is for another model than the one that the caller trusts.
    #[error("the verifying key is for model {got}, not for the trusted {expected}")]
    NotTrusted {
        /// As the caller says.
        expected: String,
        /// Model id of the verifying key.
        got: String,
    },
    /// The protocol rejects.
    #[error(transparent)]
    Proof(#[from] VerifyError),
}

impl Rejection {
    /// Stable code of the rejection.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(e) => e.code(),
            Self::OtherModel { .. } => "E0521",
            Self::NotTrusted { .. } => "E0522",
            // The protocol's texts begin with their own, finer code.
            Self::Proof(_) => "E0500",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::File(e) => return e.help(),
            Self::OtherModel { .. } => "use the verifying key of the set-up that the proof was made with".to_owned(),
            Self::NotTrusted { .. } => "get the verifying key from whoever you trust; do not accept this proof".to_owned(),
            Self::Proof(_) => "do not accept this proof: it was changed, or never valid".to_owned(),
        })
    }
}
