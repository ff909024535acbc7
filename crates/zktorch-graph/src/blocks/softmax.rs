//! Softmax and log-softmax along the last axis.

use super::{BlockError, Lowering};
use crate::tensor::{Format, QTensor};

/// Softmax along the last axis of `x` (any other axis: permute the view before and the result after).
///
/// With `k` fractional bits for exponentials and `K = x.scale`, over the allowed positions `i` of a row:
/// `m = max x_i`, `d_i = m - x_i` (at least 2^16 counts as infinite), `e_i = round(2^k·exp(-d_i·2^-K))`, `S = Σ e_i`, `v = floor(2^t / S)`,
/// `p_i = floor(e_i·v / 2^(t - out.scale) + 1/2)`; a masked position has `p_i = 0`. `mask` is `true` where a position is allowed, row-major
/// over the shape of `x`. `out.scale ≤ out.bits - 2`, because `p = 1` must fit. Absolute error against the softmax of the same integers:
/// about 2^-14 plus half a unit of the output.
///
/// # Errors
/// A row without an allowed position; an output format that cannot hold 1.
pub(crate) fn softmax(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    mask: Option<&[bool]>,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, mask, out);
    Err(BlockError::unsupported(node, "softmax", ""))
}

/// `x_i - m - ln Σ exp(x_j - m)` along the last axis of `x`, without a mask.
pub(crate) fn log_softmax(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, out);
    Err(BlockError::unsupported(node, "log_softmax", ""))
}
