//! The container around every file that zktorch writes.
//!
//! ```text
//! offset  bytes
//! 0       8    magic "ZKTORCH\0"
//! 8       4    kind
//! 12      4    version, little-endian
//! 16      8    payload length n, little-endian
//! 24      n    payload
//! 24+n    32   BLAKE3 digest of everything before it
//! ```
//!
//! A file is accepted only if all of it is accounted for; each way of not being acceptable is an error of its own.

use crate::error::FileError;
use std::io::{Read as _, Write as _};
use std::path::Path;

const MAGIC: [u8; 8] = *b"ZKTORCH\0";
pub(crate) const HEADER: usize = 24;
const DIGEST: usize = 32;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A compiled model (`.zkt`).
    Model,
    /// A proving key.
    ProvingKey,
    /// A verifying key.
    VerifyingKey,
    /// A proof with its statement.
    Proof,
    /// A reference string.
    Srs,
    /// A proof that committed weights are small.
    RangeProof,
    /// Inferences proved up to the decider.
    Accumulator,
    /// All integers of some inferences: a result of a job's task.
    Witness,
    /// An accumulator as the result of a job's task.
    TaskResult,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Model,
        Kind::ProvingKey,
        Kind::VerifyingKey,
        Kind::Proof,
        Kind::Srs,
        Kind::RangeProof,
        Kind::Accumulator,
        Kind::Witness,
        Kind::TaskResult,
    ];

    fn tag(self) -> [u8; 4] {
        match self {
            Kind::Model => *b"MODL",
            Kind::ProvingKey => *b"PKEY",
            Kind::VerifyingKey => *b"VKEY",
            Kind::Proof => *b"PROF",
            Kind::Srs => *b"SRS\0",
            Kind::RangeProof => *b"RANG",
            Kind::Accumulator => *b"ACCU",
            Kind::Witness => *b"WITN",
            Kind::TaskResult => *b"TASK",
        }
    }

    /// Version that this build writes and reads.
    pub fn version(self) -> u32 {
        match self {
            Kind::Proof | Kind::RangeProof => 6,
            Kind::Accumulator => 5,
            Kind::TaskResult => 3,
            Kind::Model | Kind::ProvingKey => 2,
            _ => 1,
        }
    }

    /// Permissions of a new file: secrets are for their owner, to everything else the umask applies as to any file that a program creates.
    fn mode(self) -> u32 {
        match self {
            Kind::Model | Kind::ProvingKey | Kind::Accumulator | Kind::Witness | Kind::TaskResult => OWN,
            Kind::VerifyingKey | Kind::Proof | Kind::Srs | Kind::RangeProof => SHARED,
        }
    }

    /// Name with its article, as messages use it.
    pub fn described(self) -> &'static str {
        match self {
            Kind::Model => "a compiled model",
            Kind::ProvingKey => "a proving key",
            Kind::VerifyingKey => "a verifying key",
            Kind::Proof => "a proof",
            Kind::Srs => "a reference string",
            Kind::RangeProof => "a range proof",
            Kind::Accumulator => "an accumulator",
            Kind::Witness => "the witness of a job",
            Kind::TaskResult => "the result of a job's task",
        }
    }

    /// The command that makes such a file.
    pub fn made_by(self) -> &'static str {
        match self {
            Kind::Model => "zktorch compile MODEL.onnx -o MODEL.zkt",
            Kind::ProvingKey | Kind::VerifyingKey => "zktorch setup MODEL.zkt --pk PK --vk VK",
            Kind::Proof => "zktorch prove MODEL.zkt --pk PK --input FILE -o PROOF",
            Kind::Srs => "zktorch srs generate --size-log2 N -o SRS",
            Kind::RangeProof => "zktorch setup MODEL.zkt --pk PK --vk VK --prove-ranges RANGES",
            Kind::Accumulator => "zktorch prove MODEL.zkt --pk PK --input FILE --accumulator ACC",
            Kind::Witness | Kind::TaskResult => "zktorch work JOB TASK",
        }
    }
}

fn header(kind: Kind, payload: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&kind.tag());
    bytes[12..16].copy_from_slice(&kind.version().to_le_bytes());
    bytes[16..].copy_from_slice(&(payload as u64).to_le_bytes());
    bytes
}

/// Wraps `payload` as a file of `kind`.
pub fn seal(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len() + DIGEST);
    bytes.extend_from_slice(&header(kind, payload.len()));
    bytes.extend_from_slice(payload);
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

/// A file of `kind` whose payload lies in several places and is too large to be copied together.
pub(crate) struct Parts<'a> {
    kind: Kind,
    header: [u8; HEADER],
    payload: Vec<std::borrow::Cow<'a, [u8]>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(kind: Kind, payload: Vec<std::borrow::Cow<'a, [u8]>>) -> Parts<'a> {
        Parts { kind, header: header(kind, payload.iter().map(|p| p.len()).sum()), payload }
    }

    /// The digest at the file's end. Cost: one pass over the payload, on all threads.
    pub(crate) fn digest(&self) -> [u8; DIGEST] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.header);
        for part in &self.payload {
            hasher.update_rayon(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Writes the file as [`write_atomic`] does; returns its length.
    pub(crate) fn write(&self, path: &Path, digest: &[u8; DIGEST]) -> Result<u64, FileError> {
        let pieces = std::iter::once(&self.header[..]).chain(self.payload.iter().map(|p| &p[..])).chain([&digest[..]]);
        stage_pieces(path, pieces.clone(), self.kind.mode())?.commit()?;
        Ok(pieces.map(|p| p.len() as u64).sum())
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The kind that a file says it is, from its first bytes; no other check.
///
/// # Errors
/// Too short, not a file of zktorch, or a kind that this version does not know.
pub fn kind_of(path: &Path, bytes: &[u8]) -> Result<Kind, FileError> {
    let file = path.to_path_buf();
    match field::<8>(bytes, 0) {
        Some(MAGIC) => {}
        None if !bytes.is_empty() && MAGIC.starts_with(bytes) => {
            return Err(FileError::Truncated { file, expected: HEADER, got: bytes.len() });
        }
        _ => return Err(FileError::NotOurs { file, looks_like: looks_like(bytes) }),
    }
    let tag = field::<4>(bytes, 8).ok_or(FileError::Truncated { file: file.clone(), expected: HEADER, got: bytes.len() })?;
    Kind::ALL.into_iter().find(|k| k.tag() == tag).ok_or(FileError::UnknownKind { file })
}

/// The kind that a file says it is, as [`kind_of`], and the file's length.
///
/// # Errors
/// As [`kind_of`] and [`read`].
pub fn kind_of_file(path: &Path) -> Result<(Kind, u64), FileError> {
    let fail = |source| FileError::Read { file: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut head = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut head).map_err(fail)?;
    Ok((kind_of(path, &head)?, size))
}

/// The payload of a file of `kind`.
///
/// # Errors
/// Another kind or version, truncated, trailing bytes, or a digest that does not match.
pub fn open<'a>(kind: Kind, path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], FileError> {
    let total = extent(kind, path, bytes, bytes.len())?;
    let (body, digest) = bytes.split_at(total - DIGEST);
    if blake3::hash(body).as_bytes() != digest {
        return Err(FileError::Corrupt { file: path.to_path_buf() });
    }
    Ok(&body[HEADER..])
}

/// Maps a file of `kind`: its payload, which is read when it is touched, and the digest at its end. The digest is checked in one pass over
/// the file that keeps none of it in memory.
///
/// # Errors
/// As [`open`] and [`read`].
pub(crate) fn map(kind: Kind, path: &Path) -> Result<(bytes::Bytes, [u8; DIGEST]), FileError> {
    let fail = |source| FileError::Read { file: path.to_path_buf(), source };
    let bytes = zktorch_onnx::map_file(path).map_err(fail)?;
    let head = &bytes[..bytes.len().min(HEADER)];
    let total = extent(kind, path, head, bytes.len())?;
    let mut hasher = blake3::Hasher::new();
    let mut rest = std::fs::File::open(path).map_err(fail)?.take((total - DIGEST) as u64);
    let mut buffer = vec![0; HASHED.min(total)];
    loop {
        let n = rest.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            break;
        }
        hasher.update_rayon(&buffer[..n]);
    }
    let digest = *hasher.finalize().as_bytes();
    if bytes[total - DIGEST..] != digest {
        return Err(FileError::Corrupt { file: path.to_path_buf() });
    }
    Ok((bytes.slice(HEADER..total - DIGEST), digest))
}

/// Bytes that are read and hashed at a time.
const HASHED: usize = 1 << 24;

/// Length of a file of `kind` and `length` bytes that begins with `bytes`: the whole file, if nothing is missing or left over.
fn extent(kind: Kind, path: &Path, bytes: &[u8], length: usize) -> Result<usize, FileError> {
    let file = path.to_path_buf();
    let got = kind_of(path, bytes)?;
    if got != kind {
        return Err(FileError::WrongKind { file, expected: kind, got });
    }
    let truncated = |expected: usize| FileError::Truncated { file: path.to_path_buf(), expected, got: length };
    let version = u32::from_le_bytes(field(bytes, 12).ok_or_else(|| truncated(HEADER))?);
    if version != kind.version() {
        return Err(FileError::Version { file, kind, got: version });
    }
    let len = u64::from_le_bytes(field(bytes, 16).ok_or_else(|| truncated(HEADER))?);
    let total = usize::try_from(len).ok().and_then(|n| n.checked_add(HEADER + DIGEST)).ok_or_else(|| truncated(usize::MAX))?;
    if length < total {
        return Err(truncated(total));
    }
    if length > total {
        return Err(FileError::Trailing { file, count: length - total });
    }
    Ok(total)
}

/// Names what a file that is not ours seems to be.
fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("an empty file"),
        [b'P', b'K', 3, 4, ..] => Some("a zip or npz archive"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a npy array"),
        [b'p', b't', b'a', b'u', ..] => Some("a snarkjs .ptau file"),
        [b'{' | b'[', ..] => Some("JSON text"),
        [8, 3..=20, ..] => Some("an ONNX model"),
        _ => None,
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`FileError::Read`] with the reason of the operating system.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read { file: path.to_path_buf(), source })
}

/// Writes `bytes` to `path` so that a reader sees either the old file or the whole new one: into a temporary file beside it, synced, renamed.
///
/// # Errors
/// [`FileError::Write`]; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    stage_pieces(path, [bytes].into_iter(), SHARED)?.commit()
}

/// Like [`write_atomic`], for secrets: only the owner may read the file.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    stage_pieces(path, [bytes].into_iter(), OWN)?.commit()
}

/// A file that is complete on disk but not yet visible under its name.
#[derive(Debug)]
pub struct Staged {
    temporary: tempfile::NamedTempFile,
    path: std::path::PathBuf,
}

impl Staged {
    /// Gives the file its name. Until then, dropping it removes it.
    ///
    /// # Errors
    /// [`FileError::Write`]; nothing is left behind then.
    pub fn commit(self) -> Result<(), FileError> {
        let path = self.path;
        self.temporary.persist(&path).map(|_| ()).map_err(|e| FileError::Write { file: path, source: e.error })
    }
}

/// Writes a file of `kind` to a temporary one beside `path`, which only its owner can read if the kind is secret; several files that belong together are
/// staged first and then committed.
///
/// # Errors
/// [`FileError::Write`]; nothing is left behind then.
pub fn stage(kind: Kind, path: &Path, bytes: &[u8]) -> Result<Staged, FileError> {
    stage_pieces(path, [bytes].into_iter(), kind.mode())
}

/// Permissions of secrets.
const OWN: u32 = 0o600;
/// Permissions of other files, less the umask.
const SHARED: u32 = 0o666;

/// A staged file that has its permissions from the first byte on.
fn stage_pieces<'a>(path: &Path, pieces: impl Iterator<Item = &'a [u8]>, mode: u32) -> Result<Staged, FileError> {
    let fail = |source| FileError::Write { file: path.to_path_buf(), source };
    let mut temporary = temporary_beside(path, mode).map_err(fail)?;
    for piece in pieces {
        // By way of the file itself: errors would name the temporary one otherwise.
        temporary.as_file_mut().write_all(piece).map_err(fail)?;
    }
    temporary.as_file().sync_all().map_err(fail)?;
    Ok(Staged { temporary, path: path.to_path_buf() })
}

/// Checks that a file can be made at `path`, so that a long computation does not end in an unwritable output.
///
/// # Errors
/// [`FileError::Write`].
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let fail = |source| FileError::Write { file: path.to_path_buf(), source };
    if path.is_dir() {
        return Err(fail(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    temporary_beside(path, SHARED).map(|_| ()).map_err(fail)
}

fn temporary_beside(path: &Path, mode: u32) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::metadata(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".zktorch-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    // The reason without the temporary file's name.
    builder.tempfile_in(folder).map_err(|e| std::io::Error::from(e.kind()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path() -> &'static Path {
        Path::new("some.file")
    }

    #[test]
    fn a_sealed_payload_opens_to_itself() {
        let bytes = seal(Kind::Proof, b"payload");
        assert_eq!(open(Kind::Proof, path(), &bytes).unwrap(), b"payload");
        assert_eq!(bytes.len(), 24 + 7 + 32);
    }

    #[test]
    fn every_single_byte_change_is_refused() {
        let bytes = seal(Kind::Proof, b"payload");
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(open(Kind::Proof, path(), &bad).is_err(), "byte {i}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = seal(Kind::Proof, b"payload");
        for n in 1..bytes.len() {
            assert!(matches!(open(Kind::Proof, path(), &bytes[..n]), Err(FileError::Truncated { .. })), "{n} bytes");
        }
        assert!(matches!(open(Kind::Proof, path(), b""), Err(FileError::NotOurs { looks_like: Some("an empty file"), .. })));
    }

    #[test]
    fn each_defect_has_its_own_error() {
        let good = seal(Kind::Proof, b"payload");
        assert!(matches!(
            open(Kind::ProvingKey, path(), &good),
            Err(FileError::WrongKind { expected: Kind::ProvingKey, got: Kind::Proof, .. })
        ));
        let mut bad = good.clone();
        bad[12] = 9;
        assert!(matches!(open(Kind::Proof, path(), &bad), Err(FileError::Version { got: 9, .. })));
        bad = good.clone();
        bad[8] = b'?';
        assert!(matches!(open(Kind::Proof, path(), &bad), Err(FileError::UnknownKind { .. })));
        bad = good.clone();
        bad.push(0);
        assert!(matches!(open(Kind::Proof, path(), &bad), Err(FileError::Trailing { count: 1, .. })));
        bad = good.clone();
        bad[30] ^= 4;
        assert!(matches!(open(Kind::Proof, path(), &bad), Err(FileError::Corrupt { .. })));
        bad = good.clone();
        bad[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(open(Kind::Proof, path(), &bad), Err(FileError::Truncated { .. })));
        assert!(matches!(open(Kind::Proof, path(), b"{\"a\": 1}"), Err(FileError::NotOurs { looks_like: Some("JSON text"), .. })));
    }

    #[test]
    fn an_uncommitted_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        drop(stage(Kind::Proof, &target, b"abc").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        write_atomic(&target, b"abc").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(write_atomic(&dir.path().join("no/such/out"), b"abc"), Err(FileError::Write { .. })));
        assert!(matches!(check_writable(dir.path()), Err(FileError::Write { .. })));
    }
}
