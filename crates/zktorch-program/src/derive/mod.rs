//! Programs derived from a program: many inferences at once, and segments.
//!
//! A verifying key holds one program. A proof may be about several inferences ([`batch`]), and a large proof is made in parts ([`segments`]).
//! Prover and verifier derive the programs of such proofs alike, so parameters and their commitments stay those of the key: parameters,
//! matrices, constants, public tensors and tables keep their ids, and the row length stays.
//!
//! # Batches
//! All cells of all inferences lie on one heap, tensor by tensor: the `count` copies of a region make one region, a pitch apart. The inference is
//! one more output letter of every identity, so a batch has as many identities and claims as one inference. Tables are shared. Public tensors get
//! an outermost axis, unless their sums over the inferences are wanted.
//!
//! # Segments
//! Identities are in topological order and are cut into runs. Each cell belongs to the first segment that reads it, with its lookups. Cells that
//! later segments read lie on rows of their own, one group for each set of readers; a reader's heap repeats these rows, and their commitments
//! are required to be equal. So every identity and every lookup of the program is proved in one segment, about the same cells.
//!
//! # Soundness
//! Audit the base program: its derived programs are then sound. The copies of a cell in a batch are bounded like the cell, and an identity over the
//! inferences is the identity for each of them; where an identity is summed, [`batch`] checks that the sum does not wrap. The segments together
//! prove the base program's relations. The gaps between copies are looked up (columns) or not read by any relation (others).

mod atoms;
mod batch;
mod cut;
mod draft;
#[cfg(feature = "prover")]
mod fill;
mod split;
#[cfg(all(test, feature = "prover"))]
mod tests;

use crate::audit::{AuditError, AuditReport, Exempt, audit_beside};
use crate::program::Program;
use crate::validate::Malformed;
use crate::view::{PublicId, View};
use atoms::Atoms;
use draft::{Draft, Piece};

#[cfg(feature = "prover")]
pub use fill::FillError;

/// A program derived from another one, the base program, and where its cells come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// What is proved.
    pub program: Program,
    /// Rows that repeat rows of earlier segments.
    pub imports: Vec<Import>,
    /// Regions of the imports.
    imported: Vec<usize>,
    /// Cells between the copies of assigned regions.
    gaps: Vec<View>,
    /// One per region.
    pieces: Vec<Piece>,
    inferences: usize,
    summed: Vec<bool>,
}

/// Rows of a segment's heap that are rows of an earlier segment's heap: same cells, same row commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import {
    /// First row.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// The earlier segment.
    pub from_segment: usize,
    /// First row there.
    pub from_row: usize,
}

/// What a derived program costs to prove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCost {
    /// Heap cells, padding and imports included.
    pub cells: usize,
    /// Tuples looked up.
    pub lookups: usize,
    /// Heap cells on imported rows.
    pub imported_cells: usize,
}

/// Why a program cannot be derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// The base program or the derived one is not well formed.
    #[error("the program is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Batches have at least one inference, and programs at least one segment.
    #[error("there is no batch of 0 inferences and no program of 0 segments")]
    Zero,
    /// The derived program would be larger than any program may be.
    #[error("the derived program is too large")]
    TooLarge,
    /// A column region is not looked up over its whole length.
    #[error("region {region} is a column of a table that it is not looked up in")]
    Column {
        /// The region.
        region: usize,
    },
    /// A relation reads multiplicities.
    #[error("{name} reads multiplicities")]
    ReadsMultiplicities {
        /// Name of the identity or lookup.
        name: String,
    },
    /// A lookup has both cells, which differ between inferences, and a matrix, which has no axis for them.
    #[error("lookup {name} has both cells and a matrix as columns and cannot be batched")]
    MatrixLookup {
        /// Name of the lookup.
        name: String,
    },
    /// A public tensor that is to be summed does not exist.
    #[error("there is no public tensor {0:?}")]
    NoSuchPublic(PublicId),
    /// A public tensor cannot be summed over the inferences.
    #[error("a public tensor of {name} cannot be summed over inferences: {reason}")]
    Sum {
        /// Name of the identity or lookup that reads it.
        name: String,
        /// Why not.
        reason: &'static str,
    },
}

/// `count` inferences of a program. Public tensors get an outermost axis of this size, those in `summed` hold sums over the inferences instead.
/// A batch of one inference is the program itself. Takes time proportional to the program's description, not to its heap.
///
/// # Errors
/// [`DeriveError::Sum`]: only public tensors that an identity sets equal to a sum of cells of earlier identities can be summed.
pub fn batch(program: &Program, count: usize, summed: &[PublicId]) -> Result<Derived, DeriveError> {
    program.validate()?;
    let summed = flags(program, count, summed)?;
    let draft = Draft::whole(program).repeat(count, &summed)?;
    let mut all = draft::finish(vec![draft], count, &summed)?;
    all.pop().ok_or(DeriveError::Zero)
}

/// Cuts a program into at most `count` segments of about equal cost, in order. Imports refer to earlier segments.
///
/// # Errors
/// As [`batched_segments`].
pub fn segments(program: &Program, count: usize) -> Result<Vec<Derived>, DeriveError> {
    batched_segments(program, 1, &[], count)
}

/// The segments of a batch: each segment of the program, for `inferences` inferences. The segments do not depend on the number of inferences.
///
/// # Errors
/// A malformed or unsound program, numbers that are 0, a program that becomes too large, or tensors that cannot be summed (as [`batch`]).
pub fn batched_segments(program: &Program, inferences: usize, summed: &[PublicId], count: usize) -> Result<Vec<Derived>, DeriveError> {
    program.validate()?;
    if count == 0 {
        return Err(DeriveError::Zero);
    }
    let summed = flags(program, inferences, summed)?;
    let atoms = Atoms::new(program)?;
    let cuts = cut::cuts(program, &atoms, count);
    let drafts: Result<Vec<Draft>, DeriveError> =
        split::split(program, &atoms, &cuts).into_iter().map(|d| d.repeat(inferences, &summed)).collect();
    draft::finish(drafts?, inferences, &summed)
}

/// About the fewest segments of a batch of which none has more than `cells` heap cells. Every segment has multiplicities of its own, so more
/// segments do not always help: if these do not, the segments tried whose largest heap is smallest. Tries numbers that grow by a quarter, each in
/// the time of [`batched_segments`].
///
/// # Errors
/// As [`batched_segments`].
pub fn segments_within(program: &Program, inferences: usize, summed: &[PublicId], cells: usize) -> Result<Vec<Derived>, DeriveError> {
    let largest = |all: &[Derived]| all.iter().map(|d| d.program.heap_len).max().unwrap_or(0);
    let mut best = batched_segments(program, inferences, summed, 1)?;
    let (mut count, mut failures) = (2, 0);
    while largest(&best) > cells && failures < 3 && count <= program.identities.len() {
        let all = batched_segments(program, inferences, summed, count)?;
        // Less than 1/16 is no progress.
        failures = if largest(&all) > largest(&best) / 16 * 15 { failures + 1 } else { 0 };
        if largest(&all) < largest(&best) {
            best = all;
        }
        count += count.div_ceil(4);
    }
    Ok(best)
}

/// Checks the numbers of a batch; says for each public tensor whether it is summed.
fn flags(program: &Program, count: usize, summed: &[PublicId]) -> Result<Vec<bool>, DeriveError> {
    if count == 0 {
        return Err(DeriveError::Zero);
    }
    let mut flags = vec![false; program.publics.len()];
    for &p in summed {
        *flags.get_mut(p.0 as usize).ok_or(DeriveError::NoSuchPublic(p))? = true;
    }
    batch::check_sums(program, count, &flags)?;
    Ok(flags)
}

impl Derived {
    /// The public tensors of all inferences, given those of each one: one after the other, or added up. `None` if a number of inferences, tensors
    /// or values does not fit, or a sum is no 64-bit integer.
    pub fn publics(&self, inferences: &[&[Vec<i64>]]) -> Option<Vec<Vec<i64>>> {
        if inferences.len() != self.inferences || inferences.iter().any(|p| p.len() != self.summed.len()) {
            return None;
        }
        let tensor = |(p, &summed): (usize, &bool)| {
            let len: usize = self.program.publics[p].shape.iter().product();
            let each = if summed { len } else { len / self.inferences };
            let values = || inferences.iter().map(|tensors| &tensors[p]);
            if values().any(|v| v.len() != each) {
                return None;
            }
            match summed {
                false => Some(values().flatten().copied().collect()),
                true => (0..len).map(|i| values().try_fold(0i64, |sum, v| sum.checked_add(v[i]))).collect(),
            }
        };
        self.summed.iter().enumerate().map(tensor).collect()
    }

    /// Number of inferences.
    pub fn inferences(&self) -> usize {
        self.inferences
    }

    /// What it costs to prove.
    pub fn cost(&self) -> SegmentCost {
        let imported: usize = self.imports.iter().map(|i| i.rows).sum();
        SegmentCost {
            cells: self.program.heap_len,
            lookups: self.program.lookup_count(),
            imported_cells: imported << self.program.row_bits,
        }
    }

    /// Checks directly what follows from the audit of the base program. Like [`crate::audit`], but imported cells are taken to be bounded where they
    /// come from, and the gaps between the copies of a tensor, which no relation reads, need no bound. Time grows with the number of inferences.
    ///
    /// # Errors
    /// As [`crate::audit`]. For segments also if a segment reads cells that only a later one bounds, which is sound.
    pub fn audit(&self) -> Result<AuditReport, AuditError> {
        audit_beside(&self.program, &Exempt { gaps: self.gaps.clone(), given: self.imported.clone() })
    }
}
