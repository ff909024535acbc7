//! Functions of one variable by table.

use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};

/// `y = F(floor(acc / 2^s + 1/2))` with `s = acc.scale - input.scale`, where `F(h) = floor(f(h·2^-input.scale)·2^out.scale + 1/2)`
/// saturated to the format `out`, for `h` in the format `input` (at most 16 bits).
///
/// `acc + 2^(s-1) = h·2^s + r`, `(h, y)` in the function table, `r ∈ [0, 2^s)`: three cells and two lookups, no separate rescaling. A
/// tensor at scale `input.scale` is looked up where it is: one cell, one lookup. An accumulator with narrower bounds than `input` gets a
/// smaller table. `f` is evaluated at compile time: +∞ and −∞ saturate to the ends of `out`; an argument at which `f` is NaN takes the
/// value of the nearest argument in the table at which it is a number (the smaller one of two; 0 if there is none). An argument outside of
/// `input` is an error of execution that names the node.
pub(crate) fn unary(
    ctx: &mut Lowering,
    node: &str,
    acc: &Accumulator,
    input: Format,
    f: &dyn Fn(f64) -> f64,
    name: &str,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, acc, input, f, name, out);
    Err(BlockError::unsupported(node, "unary", ""))
}
