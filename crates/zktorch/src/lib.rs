//! Proves in zero knowledge that an output came from running a given ONNX model.
//!
//! ```no_run
//! use std::{collections::BTreeMap, path::Path};
//! use zktorch::{OnnxModel, Options, ReferenceString, prove, setup, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let onnx = OnnxModel::read(Path::new("model.onnx"), &BTreeMap::new())?;
//! let model = onnx.compile(&Options { calibration: vec!["samples.npz".into()], ..Options::default() })?;
//! let srs = ReferenceString::read(Path::new("ceremony.srs"))?;
//! let (proving_key, verifying_key) = setup(&model, &srs)?;
//!
//! let inputs = model.read_inputs(Path::new("input.npz"))?;
//! let proved = prove(&model, &proving_key, &inputs, &mut |_phase| {})?;
//!
//! let statement = verify(&verifying_key, &proved.proof)?;
//! println!("{}: {:?}", statement.model_id, statement.outputs);
//! # Ok(())
//! # }
//! ```
//!
//! | step | in | out |
//! | --- | --- | --- |
//! | [`OnnxModel::read`] | ONNX file | float graph of fixed shapes |
//! | [`OnnxModel::compile`] | float graph, typical inputs | [`Model`]: integers and equations |
//! | [`setup()`] | model, [`ReferenceString`] | [`ProvingKey`], [`VerifyingKey`] |
//! | [`prove`] | model, proving key, input | [`Proof`] with its public tensors |
//! | [`verify`] | verifying key, proof | [`Statement`], or a [`Rejection`] |

mod accumulated;
mod check;
pub mod container;
mod error;
mod id;
mod job;
mod jobdir;
mod keys;
mod metric;
mod model;
mod npy;
mod onnx;
mod parts;
mod proof;
mod random;
mod ranges;
mod srs;
pub mod tensors;
#[cfg(test)]
mod tests;
mod weights;

pub use accumulated::{Accumulated, fold_as};
pub use check::{CheckReport, UnsupportedNode, check};
pub use container::Kind;
pub use error::{Error, FileError, InputError, Rejection};
pub use id::ModelId;
pub use job::{JobOptions, JobSecret, Plan, Progress, ProvedAll, prove_all, prove_leaf};
pub use jobdir::{Claim, Claims, JobDir, JobError, Task, TaskState, Worker, describe_result};
pub use keys::{ModelInfo, ProvingKey, TensorInfo, VerifyingKey, setup, write_keys};
pub use metric::{CORRECT, LABEL, Metric, MetricError, Score, plan_metric, score};
pub use model::Model;
pub use onnx::{OnnxModel, Options};
pub use parts::Layout;
pub use proof::{Phases, Proof, Proved, Statement, StatementTensor, link_key, prove, prove_linked, verify, verify_all, verify_timed};
pub use ranges::RangeProof;
pub use srs::{Development, ReferenceString};
pub use tensors::TensorSpec;
pub use weights::WeightFolder;
#[doc(no_inline)]
pub use zktorch_algebra::{ifma as kernels, memory};
pub use zktorch_float as float;
#[doc(no_inline)]
pub use zktorch_float::{DType, Data, Tensor};
#[doc(no_inline)]
pub use zktorch_graph::{Element, Fidelity, GoalReport, Limit, NodeReport, Visibility, WeightStore};
#[doc(no_inline)]
pub use zktorch_program::{CellWidth, MatrixCells};
