//! LayerNorm, RMSNorm, InstanceNorm, GroupNorm and L2 normalisation.

use super::{BlockError, Lowering};
use crate::tensor::{Format, QTensor};

/// A real parameter of a normalisation, private to the model's owner.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    /// Name of the weight.
    pub name: String,
    /// Values, row-major over `axes`.
    pub values: Vec<f64>,
    /// The axes of `x` that the values run over, ascending; the other axes broadcast.
    pub axes: Vec<usize>,
}

/// What a normalisation computes; see [`normalise`].
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    /// The first `outer` axes of `x` count rows; the others are normalised together.
    pub outer: usize,
    /// Subtract the row's mean (LayerNorm, InstanceNorm, GroupNorm) or not (RMSNorm, L2).
    pub center: bool,
    /// Divide by the root of the mean of squares (`true`) or of their sum (`false`, L2 normalisation).
    pub mean: bool,
    /// Added to the mean (or sum) of squares, in real units.
    pub eps: f64,
    /// Factor; 1 if absent.
    pub gamma: Option<Affine>,
    /// Summand; 0 if absent.
    pub beta: Option<Affine>,
}

/// `γ·(x - μ)/sqrt(mean((x - μ)²) + ε) + β` over the inner axes of `x`, in format `out`.
///
/// With `D` elements in a row: `s = Σ x`, `μ = round(4·s/D)`, `c_i = 4·x_i - μ`, `V = floor(Σ c_i² / 2^w) + E` with `E ≥ 1` for ε,
/// `t = floor(2^h / sqrt(V))`, `out_i = floor((γ'_i·t·c_i + β'_i)/2^q + 1/2)` with `γ'` the integers next to `γ·sqrt(D)·2^(g - w/2)`. Without
/// `center`, `c_i = x_i`. Relative error about 2^-13 whatever the variance, as long as it is above the resolution of `x`.
///
/// LayerNorm: `outer` = the leading axes. InstanceNorm of `[N, C, …]`: `outer` = 2, parameters over axis 1. GroupNorm: view `x` as
/// `[N, G, C/G, …]`, `outer` = 2, parameters over axes 1 and 2. The result has the shape of `x`.
pub(crate) fn normalise(
    ctx: &mut Lowering,
    node: &str,
    x: &QTensor,
    norm: &Norm,
    out: Format,
) -> Result<QTensor, BlockError> {
    let _ = (ctx, x, norm, out);
    Err(BlockError::unsupported(node, "normalise", ""))
}
