//! Operators with all attributes resolved.
//!
//! Axes are non-negative and in range, padding is explicit, and optional attributes have their defaults filled in. Operand
//! positions follow the ONNX operator of the same name unless the variant says otherwise.

use crate::{BinaryFn, DType, ReduceFn, TreeEnsemble, UnaryFn};
use std::sync::Arc;

/// How [`Op::Pad`] fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PadMode {
    /// With a value.
    Constant,
    /// With the mirror image without the border element.
    Reflect,
    /// With the border element.
    Edge,
    /// Periodically.
    Wrap,
}

/// Interpolation of [`Op::Resize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeMode {
    /// Nearest element.
    Nearest(NearestMode),
    /// Multilinear.
    Linear,
}

/// Rounding of the source coordinate in nearest interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NearestMode {
    /// To nearest, halves down.
    RoundPreferFloor,
    /// To nearest, halves up.
    RoundPreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// Map from an output coordinate to a source coordinate in [`Op::Resize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoordinateTransform {
    /// `(x+0.5)/scale - 0.5`.
    HalfPixel,
    /// As `HalfPixel`, but 0 where the output has one element.
    PytorchHalfPixel,
    /// `x·(in-1)/(out-1)`.
    AlignCorners,
    /// `x/scale`.
    Asymmetric,
}

/// Weights of a row of [`Op::MaskedSoftmax`] that the mask closes entirely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClosedRow {
    /// Those of the scores without the mask: a number was added that leaves the scores their differences.
    Scores,
    /// All equal: the scores gave way to one number.
    Equal,
    /// 0.
    Zero,
}

impl ClosedRow {
    /// What is left of a row of scores to which `low` was added: nothing of `-∞` (ONNX Runtime gives NaN, and 0 inside of `Attention`), equal numbers
    /// where sums are rounded to multiples of 64 or more, as with `-1e9`.
    pub fn of_added(low: f32) -> ClosedRow {
        match low {
            f32::NEG_INFINITY => ClosedRow::Zero,
            low if low <= -((1 << 29) as f32) => ClosedRow::Equal,
            _ => ClosedRow::Scores,
        }
    }

    /// What is left of a row of scores that `low` replaced.
    pub fn of_chosen(low: f32) -> ClosedRow {
        if low == f32::NEG_INFINITY { ClosedRow::Zero } else { ClosedRow::Equal }
    }
}

/// Direction of a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// First step to last.
    Forward,
    /// Last step to first.
    Reverse,
    /// Both, stacked on the direction axis (forward first).
    Bidirectional,
}

impl Direction {
    /// Number of directions: 1 or 2.
    pub fn count(self) -> usize {
        if self == Self::Bidirectional { 2 } else { 1 }
    }
}

/// Activation inside a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RnnActivation {
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Rectifier.
    Relu,
}

/// An operator. Shapes in the comments are written outermost axis first.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `A·B` over the last two axes with broadcast leading axes (NumPy `matmul`), of floats or of integers. Inputs `[A, B]`.
    MatMul,
    /// `alpha·A'·B' + beta·C` on matrices. Inputs `[A, B, C?]`.
    Gemm {
        /// Factor of the product.
        alpha: f32,
        /// Factor of `C`.
        beta: f32,
        /// Whether `A` is transposed.
        trans_a: bool,
        /// Whether `B` is transposed.
        trans_b: bool,
    },
    /// Convolution of `[N, C, spatial…]` with `[M, C/group, kernel…]`, of floats or of integers. Inputs `[X, W, B?]`.
    Conv {
        /// Kernel sizes per spatial axis.
        kernel: Vec<usize>,
        /// Strides per spatial axis.
        strides: Vec<usize>,
        /// Dilations per spatial axis.
        dilations: Vec<usize>,
        /// Zero padding before and after each spatial axis.
        pads: Vec<(usize, usize)>,
        /// Number of channel groups.
        group: usize,
    },
    /// Transposed convolution of `[N, C, spatial…]` with `[C, M/group, kernel…]`. Inputs `[X, W, B?]`. The output size is
    /// `(in-1)·stride + output_padding + (kernel-1)·dilation + 1 - before - after`.
    ConvTranspose {
        /// Kernel sizes per spatial axis.
        kernel: Vec<usize>,
        /// Strides per spatial axis.
        strides: Vec<usize>,
        /// Dilations per spatial axis.
        dilations: Vec<usize>,
        /// Elements cut from the beginning and the end of each spatial axis.
        pads: Vec<(usize, usize)>,
        /// Elements added at the end of each spatial axis.
        output_padding: Vec<usize>,
        /// Number of channel groups.
        group: usize,
    },
    /// Largest element of each window of `[N, C, spatial…]`, floats or integers. Input `[X]`.
    MaxPool {
        /// Window sizes per spatial axis.
        kernel: Vec<usize>,
        /// Strides per spatial axis.
        strides: Vec<usize>,
        /// Dilations per spatial axis.
        dilations: Vec<usize>,
        /// Padding (never chosen) before and after each spatial axis.
        pads: Vec<(usize, usize)>,
        /// Whether a partial window at the end counts.
        ceil_mode: bool,
    },
    /// Mean of each window of `[N, C, spatial…]`. Input `[X]`.
    AveragePool {
        /// Window sizes per spatial axis.
        kernel: Vec<usize>,
        /// Strides per spatial axis.
        strides: Vec<usize>,
        /// Dilations per spatial axis.
        dilations: Vec<usize>,
        /// Padding before and after each spatial axis.
        pads: Vec<(usize, usize)>,
        /// Whether a partial window at the end counts.
        ceil_mode: bool,
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// Mean over all spatial axes, kept with size 1. Input `[X]`.
    GlobalAveragePool,
    /// Maximum over all spatial axes, kept with size 1. Input `[X]`.
    GlobalMaxPool,
    /// `(x-mean)/√(var+eps)·scale + bias` per channel (axis 1). Inputs `[X, scale, bias, mean, var]`.
    BatchNormalization {
        /// Added to the variance.
        eps: f32,
    },
    /// Normalisation over axes `axis…`. Inputs `[X, scale, bias?]`.
    LayerNormalization {
        /// First normalised axis.
        axis: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// `x/√(mean(x²)+eps)·scale` over axes `axis…`. Inputs `[X, scale]`.
    RmsNormalization {
        /// First normalised axis.
        axis: usize,
        /// Added to the mean square.
        eps: f32,
    },
    /// Normalisation over the spatial axes of each channel. Inputs `[X, scale, bias]`.
    InstanceNormalization {
        /// Added to the variance.
        eps: f32,
    },
    /// Normalisation over groups of channels; scale and bias are per channel. Inputs `[X, scale, bias]`.
    GroupNormalization {
        /// Number of groups; divides the channels.
        groups: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// Softmax over one axis. Input `[X]`.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Logarithm of softmax over one axis. Input `[X]`.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// Softmax over the elements where the mask is true; elsewhere 0. Inputs `[scores, mask]`; the bool mask broadcasts to the shape of the
    /// scores.
    MaskedSoftmax {
        /// The axis.
        axis: usize,
        /// What becomes of a row without any true element.
        closed: ClosedRow,
    },
    /// Elementwise function. Input `[X]`.
    Unary(UnaryFn),
    /// Elementwise function with broadcasting. Inputs `[A, B]`.
    Binary(BinaryFn),
    /// `condition ? A : B` with broadcasting. Inputs `[condition, A, B]`.
    Where,
    /// Reduction over some axes. Input `[X]`.
    Reduce {
        /// What is computed.
        function: ReduceFn,
        /// Reduced axes, ascending.
        axes: Vec<usize>,
        /// Whether reduced axes stay with size 1.
        keepdims: bool,
    },
    /// Index of the largest element (i64). Input `[X]`.
    ArgMax {
        /// The axis.
        axis: usize,
        /// Whether the axis stays with size 1.
        keepdims: bool,
        /// Whether the last of equal elements wins instead of the first.
        select_last_index: bool,
    },
    /// Index of the smallest element (i64). Input `[X]`.
    ArgMin {
        /// The axis.
        axis: usize,
        /// Whether the axis stays with size 1.
        keepdims: bool,
        /// Whether the last of equal elements wins instead of the first.
        select_last_index: bool,
    },
    /// Conversion of the element type; floats are truncated towards zero to integers. Input `[X]`.
    Cast {
        /// Target type.
        to: DType,
    },
    /// Slices of `X` along an axis at `indices` (negative ones count from the end). The indices' shape replaces the axis. Inputs
    /// `[X, indices]`.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// `out[i…] = X[i… with position axis replaced by indices[i…]]`. Inputs `[X, indices]`.
    GatherElements {
        /// The axis.
        axis: usize,
    },
    /// Slices of `X` at index tuples on the last axis of `indices`. Inputs `[X, indices]`.
    GatherNd {
        /// Leading axes shared by both.
        batch_dims: usize,
    },
    /// Copy of `X` with elements overwritten at index positions. Inputs `[X, indices, updates]`.
    ScatterElements {
        /// The axis.
        axis: usize,
    },
    /// Copy of `X` with slices overwritten at index tuples. Inputs `[X, indices, updates]`.
    ScatterNd,
    /// `saturate(round(x / scale) + zero)` as integers, halves to even; the quotient is an `f32`. Inputs `[X, scale, zero?]`; the
    /// parameters are single numbers or one per index of the axis.
    QuantizeLinear {
        /// Axis of the parameters.
        axis: usize,
        /// Smallest result.
        low: i64,
        /// Largest result.
        high: i64,
    },
    /// Quantisation to unsigned bytes by the extrema `M ≥ 0 ≥ m` of the tensor and 0: `scale = (M - m)/255` (1 if both are 0),
    /// `zero = saturate(round(-m / scale))`, `y = saturate(round(x / scale) + zero)`, halves to even; quotients are `f32`. Input `[X]`, outputs
    /// `[y, scale, zero]`.
    DynamicQuantizeLinear,
    /// `(x - zero)·scale` of integers. Inputs `[X, scale, zero?]`; parameters as in [`Op::QuantizeLinear`].
    DequantizeLinear {
        /// Axis of the parameters.
        axis: usize,
    },
    /// `saturate(round(x·factor) + zero)` of integers, halves to even, with the exact product (ONNX Runtime rounds it to `f32` first,
    /// which matters only within 2^-16 of a half). Inputs `[X, factor, zero?]`; parameters as in [`Op::QuantizeLinear`].
    Requantize {
        /// Axis of the parameters.
        axis: usize,
        /// Smallest result.
        low: i64,
        /// Largest result.
        high: i64,
    },
    /// Sums of the leaves that each row of `[rows, features]` reaches: `[rows, targets]`. Input `[X]`.
    TreeEnsemble(Arc<TreeEnsemble>),
    /// The same elements in row-major order under another shape. Input `[X]`.
    Reshape {
        /// Target shape.
        shape: Vec<usize>,
    },
    /// Permutation of axes: axis `i` of the result is axis `perm[i]` of `X`. Input `[X]`.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Strided box: element `i` of axis `a` is element `starts[a] + i·steps[a]` of `X`. All vectors have the rank of `X`.
    /// Input `[X]`.
    Slice {
        /// First position per axis.
        starts: Vec<usize>,
        /// Number of elements per axis.
        sizes: Vec<usize>,
        /// Step per axis; may be negative, never 0.
        steps: Vec<i64>,
    },
    /// Parts along an axis, one per output. Input `[X]`.
    Split {
        /// The axis.
        axis: usize,
        /// Sizes of the parts.
        sizes: Vec<usize>,
    },
    /// Concatenation. Any number of inputs.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Broadcast to a shape that `X` broadcasts to. Input `[X]`.
    Expand {
        /// The result's shape (already combined with that of `X`).
        shape: Vec<usize>,
    },
    /// Repetition along each axis. Input `[X]`.
    Tile {
        /// Repetitions per axis.
        repeats: Vec<usize>,
    },
    /// Padding. Input `[X]`.
    Pad {
        /// How the padding is filled.
        mode: PadMode,
        /// Elements before and after, per axis.
        pads: Vec<(usize, usize)>,
        /// The value of constant padding.
        value: f32,
    },
    /// Interpolation. Input `[X]`.
    Resize {
        /// Interpolation.
        mode: ResizeMode,
        /// Coordinate map.
        transform: CoordinateTransform,
        /// Output size over input size, per axis (as given, not re-derived from the sizes).
        scales: Vec<f32>,
        /// Output sizes per axis.
        sizes: Vec<usize>,
    },
    /// Largest or smallest elements and their indices. Input `[X]`, outputs `[values, indices]`.
    TopK {
        /// The axis.
        axis: usize,
        /// How many.
        k: usize,
        /// Largest or smallest.
        largest: bool,
    },
    /// Running sum. Input `[X]`.
    CumSum {
        /// The axis.
        axis: usize,
        /// Whether an element is left out of its own sum.
        exclusive: bool,
        /// Whether sums run from the end.
        reverse: bool,
    },
    /// Upper or lower triangle of the last two axes, the rest 0. Input `[X]`.
    Trilu {
        /// Upper or lower.
        upper: bool,
        /// Diagonal: 0 is the main one, positive is above it.
        k: i64,
    },
    /// Indices into an axis, counted from its start: `i`, or `i + size` if it is negative. An index outside of `[-size, size)` is an error.
    /// Input `[indices]`.
    Position {
        /// Size of the axis.
        size: usize,
    },
    /// One-hot rows. Inputs `[indices, values]` with `values = [off, on]`.
    OneHot {
        /// Position of the new axis in the result.
        axis: usize,
        /// Size of the new axis.
        depth: usize,
    },
    /// Einstein summation. Any number of inputs.
    Einsum {
        /// Normalised equation with explicit output, no blanks and no ellipsis, such as `bij,bjk->bik`.
        equation: String,
    },
    /// LSTM. Inputs `[X, W, R, B?, sequence_lens?, initial_h?, initial_c?, P?]`, outputs `[Y, Y_h, Y_c]`; `sequence_lens` is
    /// always absent. Layout: X `[seq, batch, input]`, Y `[seq, dirs, batch, hidden]`, Y_h and Y_c `[dirs, batch, hidden]`. Gates
    /// are ordered i, o, f, c.
    Lstm {
        /// Direction.
        direction: Direction,
        /// Hidden size.
        hidden: usize,
        /// Gate, cell and hidden activation, for each direction.
        activations: Vec<[RnnActivation; 3]>,
        /// Bound on the activations' arguments.
        clip: Option<f32>,
        /// Whether the forget gate is one minus the input gate.
        input_forget: bool,
    },
    /// GRU. Inputs `[X, W, R, B?, sequence_lens?, initial_h?]`, outputs `[Y, Y_h]`; `sequence_lens` is always absent. Layout as
    /// in [`Op::Lstm`]; gates are ordered z, r, h.
    Gru {
        /// Direction.
        direction: Direction,
        /// Hidden size.
        hidden: usize,
        /// Gate and hidden activation, for each direction.
        activations: Vec<[RnnActivation; 2]>,
        /// Bound on the activations' arguments.
        clip: Option<f32>,
        /// Whether the reset gate is applied after the recurrent product.
        linear_before_reset: bool,
    },
    /// Elman network. Inputs `[X, W, R, B?, sequence_lens?, initial_h?]`, outputs `[Y, Y_h]`; `sequence_lens` is always absent.
    /// Layout as in [`Op::Lstm`].
    Rnn {
        /// Direction.
        direction: Direction,
        /// Hidden size.
        hidden: usize,
        /// Activation, for each direction.
        activations: Vec<RnnActivation>,
        /// Bound on the activations' arguments.
        clip: Option<f32>,
    },
}
