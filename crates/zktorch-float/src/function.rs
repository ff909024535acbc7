//! Functions of numbers, which operators apply to tensors.

/// Elementwise functions of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UnaryFn {
    /// `x`.
    Identity,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// Square root.
    Sqrt,
    /// `1/x`.
    Reciprocal,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Error function.
    Erf,
    /// `1/(1+e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x` if `x ≥ 0`, else `alpha·x`.
    LeakyRelu {
        /// Slope of the negative part.
        alpha: f32,
    },
    /// `x` if `x > alpha`, else 0.
    ThresholdedRelu {
        /// The threshold.
        alpha: f32,
    },
    /// `x` if `x ≥ 0`, else `alpha·(e^x - 1)`.
    Elu {
        /// Scale of the negative part.
        alpha: f32,
    },
    /// `max(x,0) + min(0, alpha·(e^(x/alpha) - 1))`.
    Celu {
        /// Scale of the negative part.
        alpha: f32,
    },
    /// `gamma·x` if `x > 0`, else `gamma·alpha·(e^x - 1)`.
    Selu {
        /// Scale of the exponential.
        alpha: f32,
        /// Overall scale.
        gamma: f32,
    },
    /// `x·Φ(x)`, by `erf`.
    Gelu,
    /// `0.5x(1+tanh(√(2/π)(x+0.044715x³)))`.
    GeluTanh,
    /// `x·sigmoid(alpha·x)`; `alpha = 1` is SiLU.
    Silu {
        /// Slope inside the sigmoid.
        alpha: f32,
    },
    /// `x·tanh(softplus(x))`.
    Mish,
    /// `clamp(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x·clamp(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `x-bias` if `x > lambd`, `x+bias` if `x < -lambd`, else 0.
    Shrink {
        /// Half width of the dead zone.
        lambd: f32,
        /// Amount subtracted outside of it.
        bias: f32,
    },
    /// `ln(1+e^x)`.
    Softplus,
    /// `x/(1+|x|)`.
    Softsign,
    /// Round up.
    Ceil,
    /// Round down.
    Floor,
    /// Round to nearest, ties to even.
    Round,
    /// Sine (radians).
    Sin,
    /// Cosine (radians).
    Cos,
    /// Tangent (radians).
    Tan,
    /// Arcsine.
    Asin,
    /// Arccosine.
    Acos,
    /// Arctangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// -1, 0 or 1.
    Sign,
    /// Logical negation of a bool tensor.
    Not,
    /// Whether a float is NaN (bool result).
    IsNaN,
    /// Whether a float is infinite (bool result).
    IsInf {
        /// Count +∞.
        positive: bool,
        /// Count -∞.
        negative: bool,
    },
    /// `min(max(x, min), max)`; also applies to integers, where infinite bounds are absent bounds.
    Clip {
        /// Lower bound; -∞ if absent.
        min: f32,
        /// Upper bound; +∞ if absent.
        max: f32,
    },
}

/// Elementwise functions of two tensors with broadcasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryFn {
    /// `a+b`.
    Add,
    /// `a-b`.
    Sub,
    /// `a·b`.
    Mul,
    /// `a/b`; truncated towards zero for integers.
    Div,
    /// `a^b`; the result has the type of `a`.
    Pow,
    /// Remainder with the sign of the divisor (integers).
    Mod,
    /// Remainder with the sign of the dividend (C `fmod`).
    FMod,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// `a = b` (bool result).
    Equal,
    /// `a < b` (bool result).
    Less,
    /// `a ≤ b` (bool result).
    LessOrEqual,
    /// `a > b` (bool result).
    Greater,
    /// `a ≥ b` (bool result).
    GreaterOrEqual,
    /// Logical and.
    And,
    /// Logical or.
    Or,
    /// Logical exclusive or.
    Xor,
    /// Bitwise and of integers in two's complement.
    BitAnd,
    /// Bitwise or.
    BitOr,
    /// Bitwise exclusive or.
    BitXor,
    /// `a` if `a ≥ 0`, else `a·b` (`b` is the slope).
    PRelu,
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReduceFn {
    /// Sum.
    Sum,
    /// Arithmetic mean.
    Mean,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Product.
    Prod,
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials.
    LogSumExp,
}
