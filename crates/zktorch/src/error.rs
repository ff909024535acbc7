//! Errors: what went wrong, a stable code, and what to do about it.

use crate::container::Kind;
use std::path::PathBuf;

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
            Self::Format { .. } => "E0701",
            Self::Mismatch { .. } => "E0702",
            Self::NotFinite { .. } => "E0703",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Format { .. } => {
                "inputs are .npz, .npy, or JSON {\"input_data\": [[1.0, 2.0], …]} with one flat list per input, in graph order".to_owned()
            }
            Self::Mismatch { expected, .. } => format!("the model's tensors are\n{expected}"),
            Self::NotFinite { .. } => "clean the data before proving".to_owned(),
        })
    }
}
