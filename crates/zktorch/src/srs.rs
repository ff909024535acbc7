//! Reference strings: generate for development, import from a ceremony, check, cache.

use crate::container::{self, Kind};
use crate::error::Error;
use crate::random;
use std::path::{Path, PathBuf};
use zktorch_protocol::pcs::{self, SrsError};

/// A structured reference string: powers of a secret that nobody may know. Whoever knows the secret can forge proofs.
#[derive(Debug, Clone)]
pub struct ReferenceString(pub(crate) pcs::Srs);

/// Which string a set-up uses, and where it came from.
#[derive(Debug, Clone)]
pub struct Development {
    /// The string.
    pub srs: ReferenceString,
    /// Where it is cached.
    pub path: PathBuf,
    /// Whether it was generated just now.
    pub fresh: bool,
}

impl ReferenceString {
    /// `2^size_log2` powers of a fresh secret, which is forgotten when this returns. For development: a verifier has to believe that.
    pub fn generate(size_log2: u32) -> ReferenceString {
        ReferenceString(pcs::Srs::generate(1 << size_log2, &mut random::secret_rng()))
    }

    /// Reads the powers of tau of a ceremony (`.ptau`, curve BN254), at most `2^size_log2`, with all checks.
    ///
    /// # Errors
    /// A file that cannot be read or does not pass a check.
    pub fn import_ptau(path: &Path, size_log2: Option<u32>) -> Result<ReferenceString, Error> {
        let fail = |source| Error::Srs { file: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(|e| fail(SrsError::Io(e)))?;
        let size = size_log2.map_or(usize::MAX, |n| 1 << n);
        pcs::import_ptau(std::io::BufReader::with_capacity(1 << 20, file), size).map(ReferenceString).map_err(fail)
    }

    /// Number of powers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no powers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that the points are the powers of one secret that is neither 0 nor 1.
    ///
    /// # Errors
    /// The check that fails; `path` is for its message.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        self.0.check().map_err(|source| Error::Srs { file: path.to_path_buf(), source })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`crate::FileError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(container::write_atomic(path, &container::seal(Kind::Srs, &self.0.encode()))?)
    }

    /// Reads a file; every point is checked, that they are powers of one secret is not ([`ReferenceString::check`]).
    ///
    /// # Errors
    /// A file that is not intact, or points that are not valid.
    pub fn read(path: &Path) -> Result<ReferenceString, Error> {
        let bytes = container::read(path)?;
        let payload = container::open(Kind::Srs, path, &bytes)?;
        pcs::Srs::decode(payload).map(ReferenceString).map_err(|source| Error::Srs { file: path.to_path_buf(), source })
    }

    /// A development string of at least `size` powers from the user's cache, generated there if there is none.
    ///
    /// # Errors
    /// No place for a cache, or one that cannot be written.
    pub fn development(size: usize) -> Result<Development, Error> {
        let folder = cache_folder()?;
        let wanted = size.next_power_of_two().trailing_zeros();
        let path_of = |n: u32| folder.join(format!("development-{n}.srs"));
        // A damaged cache entry is made again rather than reported: nothing but the cache depends on it.
        let cached = (wanted..=wanted + 2).map(path_of).find_map(|path| Some((ReferenceString::read(&path).ok()?, path)));
        if let Some((srs, path)) = cached {
            return Ok(Development { srs, path, fresh: false });
        }
        let path = path_of(wanted);
        std::fs::create_dir_all(&folder).map_err(|source| crate::FileError::Write { file: folder.clone(), source })?;
        let srs = ReferenceString::generate(wanted);
        srs.write(&path)?;
        Ok(Development { srs, path, fresh: true })
    }
}

/// `$XDG_CACHE_HOME/zktorch`, else `~/.cache/zktorch`.
fn cache_folder() -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").or_else(|| absolute("USERPROFILE")).map(|home| home.join(".cache")))
        .map(|cache| cache.join("zktorch"))
        .ok_or_else(|| {
            Error::Mismatch(
                "there is no place to cache a reference string: neither XDG_CACHE_HOME nor HOME is set; give one with --srs FILE"
                    .to_owned(),
            )
        })
}
