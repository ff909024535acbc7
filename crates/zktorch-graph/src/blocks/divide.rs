//! Division, reciprocal and square root with remainders, for operands too wide or results too fine for a table.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};

/// `q = floor(a/b + 1/2)` in units of `out` (real division, ties towards +∞), with broadcasting.
///
/// `b` of a known sign: `B = 2·|b|`; otherwise `(b, B = 2·|b|, σ = sign b)` in a table (at most 16 bits). Then
/// `σ·a·2^(j+1) + |b| = q·B + r`, `0 ≤ r < B`. Division by 0 is an error of execution that names the node.
pub(crate) fn divide(
    ctx: &mut Lowering,
    node: &str,
    a: &QTensor,
    b: &QTensor,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, a, b, out);
    Err(BlockError::unsupported(node, "divide", ""))
}

/// `floor(2^j / x)` for `x > 0`, in units of `out`: one division per element of `x`, for a divisor that many elements share.
/// `x ≤ 0` is an error of execution that names the node.
pub(crate) fn reciprocal(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, out);
    Err(BlockError::unsupported(node, "reciprocal", ""))
}

/// `y = floor(sqrt(acc))` in units of `out`, for `acc ≥ 0` of any width up to 62 bits: `0 ≤ acc - y² ≤ 2y`. The precision is that of
/// `acc`, not of a 16-bit table: use it for norms. A negative value is an error of execution that names the node.
pub(crate) fn sqrt(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, acc, out);
    Err(BlockError::unsupported(node, "sqrt", ""))
}
