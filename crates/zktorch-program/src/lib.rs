//! The algebraic program that zktorch proves.
//!
//! A [`Program`] says which integers live on the heap, which windows ([`View`]) onto heap, parameters, constants and public tensors exist,
//! which einsum identities ([`Identity`]) hold between them and which cells are looked up in which [`Table`]. It knows no machine learning, no
//! cryptography and no files. [`Builder`] makes programs; [`Step`]s compute the heap of one inference.

mod builder;
mod check;
#[cfg(feature = "prover")]
mod execute;
mod program;
mod relation;
mod step;
mod validate;
mod view;
mod witness;

pub use builder::{Builder, Built, Part};
pub use check::{Violation, check};
#[cfg(feature = "prover")]
pub use execute::{ExecuteError, StepFlaw, execute, execute_steps};
pub use program::{Committed, Constant, Matrix, ParamBlock, Parameters, Program, Public, Region, RegionKind};
pub use relation::{Factor, Identity, Lookup, Table, Term};
pub use step::{Digit, Step};
pub use validate::{Malformed, TermFlaw, ViewFlaw};
pub use view::{Axis, ConstantId, MatrixId, PublicId, RegionId, Source, TableId, View};
pub use witness::Witness;
