//! Weights on disk while a model is compiled.

use std::io::{self, Write as _};
use std::path::PathBuf;
use zktorch_graph::WeightStore;
use zktorch_program::{CellWidth, MatrixCells};

/// Keeps the integers of large weights in files of a folder instead of in memory. The files lose their names at once, and their space when the
/// model that uses them is dropped.
#[derive(Debug, Clone)]
pub struct WeightFolder {
    folder: PathBuf,
}

impl WeightFolder {
    /// Files in `folder`, on a disk with a byte or two of space per parameter.
    pub fn new(folder: impl Into<PathBuf>) -> WeightFolder {
        WeightFolder { folder: folder.into() }
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
        self.keep_bytes(cells.width(), &cells.to_le_bytes())
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
        for values in [&[1, -2, 3][..], &[300, 4], &[-70_000], &[]] {
            let cells = MatrixCells::narrowest(values);
            assert_eq!(folder.keep("w", cells.clone()).unwrap(), cells);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(folder.keep_bytes(CellWidth::Two, &[1, 2, 3]).is_err());
        assert!(WeightFolder::new(dir.path().join("absent")).keep("w", MatrixCells::narrowest(&[1])).is_err());
    }
}
