//! ONNX import for zktorch.
//!
//! [`import`] reads a model file and returns a [`Graph`] with static shapes and resolved attributes. Operator sets 7 to 28 of
//! `ai.onnx` are accepted, and operators of `ai.onnx.ml` (linear models, trees, support vector machines); see [`supported_operators`]. Anything unknown – an operator, an
//! attribute, a value of an attribute – is an error that lists all such places, never ignored.
//!
//! Element types are widened: all integers become `i64` and all floats `f32`. Dropout and conversions between widths of floats therefore
//! disappear, and rounding to a narrower type is not reproduced. A conversion of integers to 16 bits or fewer keeps the bits that fit; other
//! wrap-around is not reproduced.
//!
//! Quantised operators keep their integers: `QuantizeLinear`, `QLinearConv` and the like round halves to even and saturate as ONNX
//! Runtime does, and a `QuantizeLinear` behind dequantised operands becomes the integer operator that ONNX Runtime makes of it
//! ([`Requantize`](zktorch_float::Op::Requantize), which multiplies exactly where ONNX Runtime rounds the product to `f32`).
//!
//! Masks written as very negative scores before a softmax come out as truth values
//! ([`MaskedSoftmax`](zktorch_float::Op::MaskedSoftmax)). A row that a mask closes entirely has the weights that ONNX Runtime gives it: equal
//! ones if the mask puts numbers of at most -2^29 (like -1e9) on the scores or any number in their place, those of the unmasked scores if it adds a number nearer to 0 (like -10000), and
//! zeros in the operator `Attention` and where the mask is -∞ (which is not a number in the source, unless a guard makes zeros of it).
//! Two masks that are added one after the other and close a row only together count as one. Of the numbers that say which tokens are no padding, those from
//! 1 on say so.

mod attributes;
mod builder;
mod check;
mod dims;
mod error;
mod files;
mod import;
mod lower;
mod patterns;
pub mod proto;
mod schema;
mod tensor;

pub use error::{ImportError, OpenDim, Unsupported};
pub use files::map as map_file;
pub use import::{ImportOptions, import, import_bytes, read_tensor};
pub use schema::{Operator, supported_operators};
#[doc(no_inline)]
pub use zktorch_float::Graph;
