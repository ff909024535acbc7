//! The algebraic program that zktorch proves.
//!
//! A [`Program`] says which integers live on the heap, which windows ([`View`]) onto heap, parameters, constants and public tensors exist,
//! which einsum identities ([`Identity`]) hold between them and which cells are looked up in which [`Table`]. It knows no machine learning, no
//! cryptography and no files. [`Builder`] makes programs; [`Step`]s compute the heap of one inference.

mod audit;
#[cfg(test)]
mod audit_tests;
mod bounds;
mod builder;
mod cells;
mod check;
#[cfg(all(test, feature = "prover"))]
mod check_tests;
mod costs;
mod cover;
pub mod derive;
#[cfg(feature = "prover")]
mod execute;
mod layout;
mod program;
mod relation;
mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod validate;
mod view;
mod virtuals;
mod witness;

pub use audit::{AuditError, AuditReport, audit};
pub use builder::{Builder, Built, Part};
pub use cells::{CellSlice, CellWidth, MatrixCells};
pub use check::{Violation, check};
pub use costs::{NodeCost, costs};
#[cfg(feature = "prover")]
pub use execute::{ExecuteError, StepFlaw, execute, execute_steps};
pub use program::{Committed, Constant, Matrix, ParamBlock, Parameters, Program, Public, Region, RegionKind};
pub use relation::{Factor, Identity, Lookup, Table, Term};
pub use step::{Digit, Step};
pub use validate::{Malformed, TermFlaw, ViewFlaw};
pub use view::{Axis, ConstantId, MatrixId, PublicId, RegionId, Source, TableId, View};
pub use virtuals::VirtualBlocks;
pub use witness::Witness;
