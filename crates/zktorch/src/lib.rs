//! Proves in zero knowledge that an output came from running a given ONNX model.

pub mod container;
mod error;
mod npy;
pub mod tensors;

pub use error::{FileError, InputError};
