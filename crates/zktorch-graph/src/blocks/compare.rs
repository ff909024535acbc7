//! Comparisons, logic and selection. Booleans are tensors of 0 and 1 at scale 0.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, QTensor};

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `a < b`.
    Less,
    /// `a ≤ b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a ≥ b`.
    GreaterOrEqual,
    /// `a = b`.
    Equal,
}

/// Compares two tensors elementwise, with broadcasting: 1 or 0 at scale 0. Scales are aligned first.
///
/// `[u ≥ 0]` for `u` with `|u| ≤ 2^B`: `u + 2^B = 2^B·g + r`, `g ∈ {0, 1}`, `r ∈ [0, 2^B)`; `Less` is `u = b - a - 1` and so on. `Equal` is a
/// table on the difference if it has at most 2^16 values, else the product of both inequalities.
pub(crate) fn compare(
    ctx: &mut Lowering,
    node: &str,
    which: Comparison,
    a: &QTensor,
    b: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, which, a, b);
    Err(BlockError::unsupported(node, "compare", ""))
}

/// `cond·(a - b) + b` with broadcasting for `cond ∈ {0, 1}`, no cell yet; the scale is the finer one of `a` and `b`.
pub(crate) fn where_select(
    node: &str,
    cond: &QTensor,
    a: &QTensor,
    b: &QTensor,
) -> Result<Accumulator, BlockError> {
    let _ = (cond, a, b);
    Err(BlockError::unsupported(node, "where", ""))
}

/// `a·b` for booleans, with broadcasting.
pub(crate) fn logical_and(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, a, b);
    Err(BlockError::unsupported(node, "and", ""))
}

/// `a + b - a·b` for booleans, with broadcasting.
pub(crate) fn logical_or(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, a, b);
    Err(BlockError::unsupported(node, "or", ""))
}

/// `a + b - 2·a·b` for booleans, with broadcasting.
pub(crate) fn logical_xor(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, a, b);
    Err(BlockError::unsupported(node, "xor", ""))
}

/// `1 - a` for booleans.
pub(crate) fn logical_not(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, a);
    Err(BlockError::unsupported(node, "not", ""))
}
