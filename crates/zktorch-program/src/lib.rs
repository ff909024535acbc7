//! The algebraic program that zktorch proves.
//!
//! A [`Program`] says which integers live on the heap, which windows ([`View`]) onto heap, parameters, constants and public tensors exist,
//! which einsum identities ([`Identity`]) hold between them and which cells are looked up in which [`Table`]. It knows no machine learning, no
//! cryptography and no files. [`Builder`] makes programs; [`Step`]s compute the heap of one inference.

mod builder;
mod program;
mod relation;
mod step;
mod view;

pub use builder::{Builder, Built, Part};
pub use program::{
    Committed, Constant, Matrix, ParamBlock, Parameters, Program, Public, Region, RegionKind,
};
pub use relation::{Factor, Identity, Lookup, Table, Term};
pub use step::{Digit, Step};
pub use view::{Axis, ConstantId, MatrixId, PublicId, RegionId, Source, TableId, View};
