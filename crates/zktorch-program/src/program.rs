//! The finished program: what the protocol proves.

use crate::cells::MatrixCells;
use crate::relation::{Identity, Lookup, Table};
use crate::view::{RegionId, Source, TableId, View};
use serde::{Deserialize, Serialize};

/// Why the cells of a region are bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionKind {
    /// The region as a whole is column `column` of a lookup in `table`; regions of one table run in parallel.
    Column {
        /// The table.
        table: TableId,
        /// The column.
        column: usize,
    },
    /// An identity (or an explicit lookup) makes every cell an integer in `lo..=hi`.
    Assigned {
        /// Smallest value.
        lo: i64,
        /// Largest value.
        hi: i64,
    },
    /// How often each row of `table` is looked up. Not bounded: LogUp needs no bound.
    Multiplicity {
        /// The table.
        table: TableId,
    },
    /// What one identity leaves over: the region is a term of its own of that identity, its indices are the output letters, and it is the only
    /// column of one lookup in `table`. No other relation reads it. Such cells are linear in the identity's other terms, so they are not
    /// committed: they lie behind the heap, in the witness only, and what the lookup says about them becomes a claim about those terms.
    Virtual {
        /// The table.
        table: TableId,
    },
}

/// A run of heap cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First cell on the heap; for virtual regions a cell of the witness behind the heap.
    pub base: usize,
    /// Number of cells.
    pub len: usize,
    /// Why the cells are bounded.
    pub kind: RegionKind,
    /// The region begins at a row boundary and shares no row with others: its row commitments stand for it alone.
    pub own_rows: bool,
}

/// A parameter matrix: dense row-major integers at set-up, committed with every axis padded to a power of two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// Name of the weight.
    pub name: String,
    /// Dense shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Smallest value.
    pub lo: i64,
    /// Largest value.
    pub hi: i64,
}

/// A constant of the circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constant {
    /// Name, for reports.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<i64>,
}

/// A tensor of the statement. The verifier checks every value against `lo..=hi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// Name of the model's input or output.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Smallest admitted value.
    pub lo: i64,
    /// Largest admitted value.
    pub hi: i64,
}

/// A tensor whose row commitments are published, so that proofs can be linked to the same data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Name of the model's input or output.
    pub name: String,
    /// Its region (with rows of its own).
    pub region: RegionId,
}

/// Bounds of a run of parameter-heap cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamBlock {
    /// Name of the parameter.
    pub name: String,
    /// First cell.
    pub offset: usize,
    /// Number of cells.
    pub len: usize,
    /// Smallest value.
    pub lo: i64,
    /// Largest value.
    pub hi: i64,
}

/// Everything that prover and verifier agree on before they know weights or inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// log2 of the row length of every committed vector.
    pub row_bits: u32,
    /// Number of heap cells, a multiple of the row length.
    pub heap_len: usize,
    /// Regions, in heap order.
    pub regions: Vec<Region>,
    /// Number of cells of the parameter heap.
    pub params_len: usize,
    /// Bounds of the parameter heap's blocks, in order, without gaps.
    pub params: Vec<ParamBlock>,
    /// Parameter matrices.
    pub matrices: Vec<Matrix>,
    /// Constants of the circuit.
    pub constants: Vec<Constant>,
    /// Tensors of the statement.
    pub publics: Vec<Public>,
    /// Tensors with published commitments.
    pub committed: Vec<Committed>,
    /// Lookup tables.
    pub tables: Vec<Table>,
    /// For each table the region of its multiplicities.
    pub multiplicities: Vec<RegionId>,
    /// Lookups.
    pub lookups: Vec<Lookup>,
    /// Identities.
    pub identities: Vec<Identity>,
}

impl Program {
    /// Offset of a view from the start of its vector: regions are resolved to the heap.
    pub fn absolute_offset(&self, view: &View) -> usize {
        match view.source {
            Source::Region(r) => self.regions[r.0 as usize].base + view.offset,
            _ => view.offset,
        }
    }

    /// Number of lookup sites, over all lookups of a valid program.
    pub fn lookup_count(&self) -> usize {
        let sites = self.lookups.iter().map(Lookup::sites);
        sites.fold(0, usize::saturating_add)
    }

    /// Number of parameters (dense, without padding).
    pub fn parameter_count(&self) -> usize {
        self.params_len + self.matrices.iter().map(|m| m.shape.iter().product::<usize>()).sum::<usize>()
    }
}

/// The integers of a model: what set-up commits to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The parameter heap.
    pub heap: Vec<i64>,
    /// Dense row-major values of each matrix.
    pub matrices: Vec<MatrixCells>,
}
