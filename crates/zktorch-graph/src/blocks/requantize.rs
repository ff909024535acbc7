//! Rescaling by powers of two.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};

/// `y = floor(acc / 2^s + 1/2)` with `s = acc.scale - out.scale`, as cells of format `out` (`bits ≤ 32`).
///
/// `s > 0`: `acc + 2^(s-1) = y·2^s + r`, `y` in a signed range table, `r ∈ [0, 2^s)` in limbs of at most 16 bits. `s ≤ 0`: `y = acc·2^-s`
/// exactly, without a lookup where the bounds of `acc` fit the format. A tensor that has the format already is returned as it is.
/// A value outside the format is an error of execution that names the node.
pub(crate) fn requantize(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, acc, out);
    Err(BlockError::unsupported(node, "requantize", ""))
}
