//! Where the integers of large weights are kept while a model is compiled.

use std::io;
use zktorch_program::MatrixCells;

/// Keeps the integers of large weights, so that a model larger than memory can be compiled: one weight at a time is in memory.
pub trait WeightStore {
    /// Keeps the cells of the weight `name` and returns them from where they are kept, for example a mapped file. A store of synthetic models may
    /// return other cells of the same number and width.
    ///
    /// # Errors
    /// Whatever prevents it from keeping them.
    fn keep(&self, name: &str, cells: MatrixCells) -> io::Result<MatrixCells>;

    /// Whether equal weights of different names are different ones. Otherwise equal weights, and transposed ones, are kept and committed once.
    fn by_name(&self) -> bool {
        false
    }
}

/// Keeps all weights in memory.
#[derive(Debug, Clone, Copy)]
pub struct InMemory;

impl WeightStore for InMemory {
    fn keep(&self, _: &str, cells: MatrixCells) -> io::Result<MatrixCells> {
        Ok(cells)
    }
}
