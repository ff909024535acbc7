//! Maxima, minima and their positions.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, QTensor};

/// `y[o] = max_k x[o, k]` over all axes of `x` from `n_outputs` on (pooling windows may overlap), at the scale of `x`.
///
/// `d_k = y - x_k`, `(d_k, z_k = [d_k = 0])` in a table, `Σ_k z_k - 1 ∈ [0, K)`: `y` is at least every `x_k` and equals one of them.
pub(crate) fn reduce_max(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    n_outputs: usize,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, n_outputs);
    Err(BlockError::unsupported(node, "reduce_max", ""))
}

/// `y[o] = min_k x[o, k]`; see [`reduce_max`].
pub(crate) fn reduce_min(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    n_outputs: usize,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, n_outputs);
    Err(BlockError::unsupported(node, "reduce_min", ""))
}

/// Position of the largest element along the last axis of `x`, the first one (or the last one, with `last`) of equal elements; scale 0.
/// The result drops the axis.
pub(crate) fn arg_max(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    last: bool,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, last);
    Err(BlockError::unsupported(node, "arg_max", ""))
}

/// Position of the smallest element; see [`arg_max`].
pub(crate) fn arg_min(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    last: bool,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, last);
    Err(BlockError::unsupported(node, "arg_min", ""))
}

/// Elementwise larger one of two tensors, with broadcasting, no cell yet: `b + [a ≥ b]·(a - b)` at the finer scale.
pub(crate) fn max_of(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
) -> Result<Accumulator, BlockError> {
    let _ = (ctx, a, b);
    Err(BlockError::unsupported(node, "max_of", ""))
}

/// Elementwise smaller one of two tensors, with broadcasting, no cell yet: `a - [a ≥ b]·(a - b)` at the finer scale.
pub(crate) fn min_of(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
) -> Result<Accumulator, BlockError> {
    let _ = (ctx, a, b);
    Err(BlockError::unsupported(node, "min_of", ""))
}
