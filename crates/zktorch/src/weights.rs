//! Weights on disk while a model is compiled.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use zktorch_graph::WeightStore;
use zktorch_program::{CellWidth, MatrixCells};

/// Weights by their width and the digest of their bytes.
type Kept = HashMap<(CellWidth, [u8; 32]), MatrixCells>;

/// Weights of fewer bytes stay in memory.
const LEAST: usize = 1 << 16;

/// Keeps the integers of large weights in files of a folder instead of in memory. The files lose their names at once, and their space when the folder
/// and the models that use them are dropped. The same integers, which every candidate of a search has, are written once.
#[derive(Debug, Clone)]
pub struct WeightFolder {
    folder: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

impl WeightFolder {
    /// Files in `folder`, on a disk with a byte or two of space per parameter.
    pub fn new(folder: impl Into<PathBuf>) -> WeightFolder {
        WeightFolder { folder: folder.into(), kept: Arc::default() }
    }

    /// Keeps cells that are given as their little-endian bytes.
    ///
    /// # Errors
    /// Those of the operating system; a number of bytes that is no multiple of the width.
    pub fn keep_bytes(&self, width: CellWidth, bytes: &[u8]) -> io::Result<MatrixCells> {
        let mut file = tempfile::Builder::new().prefix(".zktorch-").suffix(".weights").tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        let mapped = zktorch_onnx::map_file(file.path())?;
        MatrixCells::from_le_bytes(width, mapped).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}

impl WeightStore for WeightFolder {
    fn keep(&self, _: &str, cells: MatrixCells) -> io::Result<MatrixCells> {
        let (width, bytes) = (cells.width(), cells.to_le_bytes());
        if bytes.len() < LEAST {
            return Ok(cells.clone());
        }
        let key = (width, *blake3::Hasher::new().update_rayon(&bytes).finalize().as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&key) {
            return Ok(known.clone());
        }
        let cells = self.keep_bytes(width, &bytes)?;
        kept.insert(key, cells.clone());
        Ok(cells)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kept_weights_are_the_given_ones_and_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = WeightFolder::new(dir.path());
        let long = |factor: i32| (0..LEAST as i32).map(|i| (i % 100 - 50) * factor).collect::<Vec<_>>();
        for values in [&[1, -2, 3][..], &[], &long(1), &long(100), &long(70_000)] {
            let cells = MatrixCells::narrowest(values);
            assert_eq!(folder.keep("w", cells.clone()).unwrap(), cells);
        }
        let address = || folder.keep("w", MatrixCells::narrowest(&long(1))).unwrap().to_le_bytes().as_ptr();
        assert_eq!(address(), address(), "the same integers are kept once");
        assert_eq!(folder.keep_bytes(CellWidth::Two, &[1, 2]).unwrap(), MatrixCells::from(vec![0x201i16]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(folder.keep_bytes(CellWidth::Two, &[1, 2, 3]).is_err());
        assert!(WeightFolder::new(dir.path().join("absent")).keep("w", MatrixCells::narrowest(&long(1))).is_err());
    }
}
