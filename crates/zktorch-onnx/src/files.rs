//! Files of a model, mapped into memory.

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of a model and the files in it that tensors refer to, each mapped once.
pub(crate) struct Files {
    /// `None` for a model in memory, which cannot refer to files.
    pub folder: Option<PathBuf>,
    maps: RefCell<HashMap<PathBuf, Bytes>>,
}

impl Files {
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), maps: RefCell::default() }
    }

    /// The content of a file.
    pub(crate) fn map(&self, path: &Path) -> io::Result<Bytes> {
        if let Some(bytes) = self.maps.borrow().get(path) {
            return Ok(bytes.clone());
        }
        let bytes = map(path)?;
        self.maps.borrow_mut().insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// Maps a whole file read-only. Its pages are read when they are touched and can be dropped again by the system, so that weights
/// of a model larger than memory cost no memory of their own.
#[expect(unsafe_code, reason = "mapping a file cannot be checked by the compiler: others may change the file")]
///
/// # Errors
/// Those of the operating system; no regular file.
pub fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is read-only and lives as long as the `Bytes` that own it; only plain integers and floats are read from it, of
    // which every bit pattern is one. Another process may still write to the file meanwhile: then a weight is another number than it
    // was, and what is made of it (a quantised model, a proof) is refused where it matters, as for any other wrong weight. If the file is
    // truncated meanwhile, touching a page behind the new end ends the process with SIGBUS; it never reads other memory.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_mapped_once_and_empty_ones_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.bin");
        std::fs::write(&path, [1u8, 2, 3]).unwrap();
        let files = Files::new(Some(folder.path()));
        let (a, b) = (files.map(&path).unwrap(), files.map(&path).unwrap());
        assert_eq!(&a[..], [1, 2, 3]);
        assert_eq!(a.as_ptr(), b.as_ptr());
        std::fs::write(folder.path().join("empty"), []).unwrap();
        assert!(files.map(&folder.path().join("empty")).unwrap().is_empty());
        assert!(files.map(folder.path()).is_err());
        assert!(files.map(&folder.path().join("absent")).is_err());
    }
}
