//! The heap of a derived program.

use super::Derived;
use super::draft::Padding;
use crate::execute::{ExecuteError, recount};
use crate::program::Parameters;
use crate::relation::Table;
use crate::view::{Source, View};
use crate::witness::Witness;

/// Why inferences cannot be joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// Wrong number of inferences, or of cells or public values of one.
    #[error("the inferences do not fit the program: their number, or the number of cells or public values of one of them")]
    Inferences,
    /// A cell is not in its table, or parameters do not fit.
    #[error(transparent)]
    Execute(#[from] Box<ExecuteError>),
}

impl Derived {
    /// The witness of the derived program, given those of the base program for each inference. Multiplicities are counted anew.
    /// Takes time proportional to the cells and lookups.
    ///
    /// # Errors
    /// If a witness is not one of the base program.
    pub fn fill(&self, parameters: &Parameters, inferences: &[Witness]) -> Result<Witness, FillError> {
        let tensors: Vec<&[Vec<i64>]> = inferences.iter().map(|w| &w.publics[..]).collect();
        let publics = self.publics(&tensors).ok_or(FillError::Inferences)?;
        let mut heap = vec![0i64; self.program.witness_len()];
        for (region, piece) in self.program.regions.iter().zip(&self.pieces) {
            if piece.padding == Padding::Counted {
                continue;
            }
            let cells = &mut heap[region.base..region.base + region.len];
            let len = piece.len();
            if piece.pitch > len && inferences.len() > 1 {
                cells.fill(self.padding(piece.padding, parameters));
            }
            for (copy, inference) in cells.chunks_mut(piece.pitch).zip(inferences) {
                let mut copy = copy;
                for run in &piece.runs {
                    let (head, tail) = copy.split_at_mut(run.len());
                    head.copy_from_slice(inference.heap.get(run.clone()).ok_or(FillError::Inferences)?);
                    copy = tail;
                }
            }
        }
        Ok(recount(&self.program, parameters, Witness { heap, publics }).map_err(Box::new)?)
    }

    fn padding(&self, padding: Padding, parameters: &Parameters) -> i64 {
        let (table, column) = match padding {
            Padding::Row(table, column) => (&self.program.tables[table.0 as usize], column),
            Padding::Value(value) => return value,
            Padding::Counted => return 0,
        };
        let nearest = |lo: i64| 0.clamp(lo, lo + table.len() as i64 - 1);
        match table {
            Table::Range { lo, .. } => nearest(*lo),
            Table::Function { lo, outputs, .. } => match column {
                0 => nearest(*lo),
                _ => outputs[column - 1][(nearest(*lo) - lo) as usize],
            },
            Table::Rows { .. } if column == 0 => 0,
            Table::Rows { view, .. } => self.value(view, parameters),
        }
    }

    /// The first cell of a view of something public or of a parameter.
    fn value(&self, view: &View, parameters: &Parameters) -> i64 {
        let wide = match view.source {
            Source::Params => &parameters.heap,
            Source::Constant(c) => &self.program.constants[c.0 as usize].values,
            Source::Matrix(m) => {
                let cells = parameters.matrices.get(m.0 as usize).filter(|m| view.offset < m.len());
                return cells.map_or(0, |m| m.view().get(view.offset));
            }
            Source::Region(_) | Source::Public(_) => return 0,
        };
        wide.get(view.offset).copied().unwrap_or(0)
    }
}
