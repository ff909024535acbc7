//! Elementwise functions.

use super::strided::{broadcast_shape, zip};
use super::{ensure, map_data, same_type};
use crate::{BinaryFn, DType, Data, EvalError, Tensor, UnaryFn};

/// Applies an elementwise function of one tensor.
pub(crate) fn unary(function: UnaryFn, x: &Tensor) -> Result<Tensor, EvalError> {
    let bools = |data: Vec<bool>| Tensor::new(x.shape.clone(), Data::Bool(data));
    match (function, &x.data) {
        (UnaryFn::Identity, _) => Ok(x.clone()),
        (UnaryFn::Not, Data::Bool(v)) => bools(v.iter().map(|&b| !b).collect()),
        (UnaryFn::IsNaN, Data::F32(v)) => bools(v.iter().map(|a| a.is_nan()).collect()),
        (UnaryFn::IsInf { positive, negative }, Data::F32(v)) => {
            let test = |a: &f32| a.is_infinite() && (if *a > 0.0 { positive } else { negative });
            bools(v.iter().map(test).collect())
        }
        (UnaryFn::IsNaN | UnaryFn::IsInf { .. }, Data::I64(v)) => bools(vec![false; v.len()]),
        (UnaryFn::Not, _) => Err(EvalError::WrongType { expected: DType::Bool, got: x.dtype() }),
        (_, Data::F32(v)) => Tensor::f32(x.shape.clone(), v.iter().map(|&a| function.apply(a)).collect()),
        (_, Data::I64(v)) => {
            let f: Box<dyn Fn(i64) -> i64> = match function {
                UnaryFn::Neg => Box::new(i64::wrapping_neg),
                UnaryFn::Abs => Box::new(i64::wrapping_abs),
                UnaryFn::Relu => Box::new(|a| a.max(0)),
                UnaryFn::Sign => Box::new(i64::signum),
                UnaryFn::Clip { min, max } => {
                    // The conversion saturates, so infinite bounds become the ends of the range.
                    let (min, max) = (min as i64, max as i64);
                    Box::new(move |a| a.max(min).min(max))
                }
                _ => return Err(EvalError::WrongType { expected: DType::F32, got: DType::I64 }),
            };
            Tensor::i64(x.shape.clone(), v.iter().map(|&a| f(a)).collect())
        }
        (_, Data::Bool(_)) => Err(EvalError::WrongType { expected: DType::F32, got: DType::Bool }),
    }
}

fn erf(x: f32) -> f32 {
    libm::erf(f64::from(x)) as f32
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl UnaryFn {
    /// The function at `x`. The predicates (`Not`, `IsNaN`, `IsInf`) give 0 or 1, `Not` taking every non-zero number as true.
    pub fn apply(self, x: f32) -> f32 {
        let truth = |b: bool| f32::from(u8::from(b));
        match self {
            Self::Identity => x,
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Erf => erf(x),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::ThresholdedRelu { alpha } => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Celu { alpha } => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0),
            Self::Selu { alpha, gamma } => {
                if x > 0.0 {
                    gamma * x
                } else {
                    gamma * alpha * x.exp_m1()
                }
            }
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Silu { alpha } => x * sigmoid(alpha * x),
            Self::Mish => x * softplus(x).tanh(),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Shrink { lambd, bias } => {
                if x < -lambd {
                    x + bias
                } else if x > lambd {
                    x - bias
                } else {
                    0.0
                }
            }
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
            Self::Round => x.round_ties_even(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asinh => x.asinh(),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Sign => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            Self::Not => truth(x == 0.0),
            Self::IsNaN => truth(x.is_nan()),
            Self::IsInf { positive, negative } => truth((positive && x == f32::INFINITY) || (negative && x == f32::NEG_INFINITY)),
            // Not `clamp`, which panics on an empty range; the upper bound wins, as in the ONNX definition.
            Self::Clip { min, max } => x.max(min).min(max),
        }
    }
}

/// Applies an elementwise function of two tensors.
pub(crate) fn binary(function: BinaryFn, a: &Tensor, b: &Tensor) -> Result<Tensor, EvalError> {
    match (&a.data, &b.data) {
        (Data::F32(x), Data::F32(y)) => floats(function, (x, &a.shape), (y, &b.shape)),
        (Data::I64(x), Data::I64(y)) => ints(function, (x, &a.shape), (y, &b.shape)),
        (Data::Bool(x), Data::Bool(y)) => bools(function, (x, &a.shape), (y, &b.shape)),
        (Data::F32(x), Data::I64(y)) if function == BinaryFn::Pow => {
            let y: Vec<f32> = y.iter().map(|&v| v as f32).collect();
            floats(function, (x, &a.shape), (&y, &b.shape))
        }
        (Data::I64(x), Data::F32(y)) if function == BinaryFn::Pow => {
            let (shape, out) = zip((x, &a.shape), (y, &b.shape), |x, y| (x as f64).powf(f64::from(y)) as i64)?;
            Tensor::i64(shape, out)
        }
        _ => Err(EvalError::WrongType { expected: a.dtype(), got: b.dtype() }),
    }
}

fn floats(function: BinaryFn, a: (&[f32], &[usize]), b: (&[f32], &[usize])) -> Result<Tensor, EvalError> {
    macro_rules! num {
        ($f:expr) => {{
            let (shape, out) = zip(a, b, $f)?;
            Tensor::f32(shape, out)
        }};
    }
    macro_rules! test {
        ($f:expr) => {{
            let (shape, out) = zip(a, b, $f)?;
            Tensor::bool(shape, out)
        }};
    }
    match function {
        BinaryFn::Add => num!(|x, y| x + y),
        BinaryFn::Sub => num!(|x, y| x - y),
        BinaryFn::Mul => num!(|x, y| x * y),
        BinaryFn::Div => num!(|x, y| x / y),
        BinaryFn::Pow => num!(power),
        BinaryFn::Mod => num!(|x: f32, y: f32| x - y * (x / y).floor()),
        BinaryFn::FMod => num!(|x: f32, y: f32| x % y),
        BinaryFn::Min => num!(|x: f32, y: f32| if x.is_nan() || x < y { x } else { y }),
        BinaryFn::Max => num!(|x: f32, y: f32| if x.is_nan() || x > y { x } else { y }),
        BinaryFn::PRelu => num!(|x: f32, y: f32| if x < 0.0 { x * y } else { x }),
        BinaryFn::Equal => test!(|x, y| x == y),
        BinaryFn::Less => test!(|x, y| x < y),
        BinaryFn::LessOrEqual => test!(|x, y| x <= y),
        BinaryFn::Greater => test!(|x, y| x > y),
        BinaryFn::GreaterOrEqual => test!(|x, y| x >= y),
        BinaryFn::And | BinaryFn::Or | BinaryFn::Xor => Err(EvalError::WrongType { expected: DType::Bool, got: DType::F32 }),
        BinaryFn::BitAnd | BinaryFn::BitOr | BinaryFn::BitXor => Err(EvalError::WrongType { expected: DType::I64, got: DType::F32 }),
    }
}

/// `x^y`, by multiplication for the small whole exponents that models use.
fn power(x: f32, y: f32) -> f32 {
    if y == 2.0 {
        x * x
    } else if y == 3.0 {
        x * x * x
    } else {
        x.powf(y)
    }
}

fn ints(function: BinaryFn, a: (&[i64], &[usize]), b: (&[i64], &[usize])) -> Result<Tensor, EvalError> {
    macro_rules! num {
        ($f:expr) => {{
            let (shape, out) = zip(a, b, $f)?;
            Tensor::i64(shape, out)
        }};
    }
    macro_rules! test {
        ($f:expr) => {{
            let (shape, out) = zip(a, b, $f)?;
            Tensor::bool(shape, out)
        }};
    }
    let nonzero = || ensure(!b.0.contains(&0), || "integer division by zero".to_owned());
    match function {
        BinaryFn::Add => num!(i64::wrapping_add),
        BinaryFn::Sub => num!(i64::wrapping_sub),
        BinaryFn::Mul => num!(i64::wrapping_mul),
        BinaryFn::Div => {
            nonzero()?;
            num!(i64::wrapping_div)
        }
        BinaryFn::Mod => {
            nonzero()?;
            num!(|x: i64, y: i64| {
                let r = x.wrapping_rem(y);
                if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
            })
        }
        BinaryFn::FMod => {
            nonzero()?;
            num!(i64::wrapping_rem)
        }
        BinaryFn::Pow => num!(|x: i64, y: i64| match u32::try_from(y) {
            Ok(y) => x.wrapping_pow(y),
            Err(_) => (x as f64).powf(y as f64) as i64,
        }),
        BinaryFn::Min => num!(|x: i64, y: i64| x.min(y)),
        BinaryFn::Max => num!(|x: i64, y: i64| x.max(y)),
        BinaryFn::PRelu => num!(|x: i64, y: i64| if x < 0 { x.wrapping_mul(y) } else { x }),
        BinaryFn::Equal => test!(|x, y| x == y),
        BinaryFn::Less => test!(|x, y| x < y),
        BinaryFn::LessOrEqual => test!(|x, y| x <= y),
        BinaryFn::Greater => test!(|x, y| x > y),
        BinaryFn::GreaterOrEqual => test!(|x, y| x >= y),
        BinaryFn::BitAnd => num!(|x: i64, y: i64| x & y),
        BinaryFn::BitOr => num!(|x: i64, y: i64| x | y),
        BinaryFn::BitXor => num!(|x: i64, y: i64| x ^ y),
        BinaryFn::And | BinaryFn::Or | BinaryFn::Xor => Err(EvalError::WrongType { expected: DType::Bool, got: DType::I64 }),
    }
}

fn bools(function: BinaryFn, a: (&[bool], &[usize]), b: (&[bool], &[usize])) -> Result<Tensor, EvalError> {
    let f: fn(bool, bool) -> bool = match function {
        BinaryFn::And | BinaryFn::Mul | BinaryFn::Min => |x, y| x && y,
        BinaryFn::Or | BinaryFn::Max => |x, y| x || y,
        BinaryFn::Xor => |x, y| x != y,
        BinaryFn::Equal => |x, y| x == y,
        _ => return Err(EvalError::WrongType { expected: DType::F32, got: DType::Bool }),
    };
    let (shape, out) = zip(a, b, f)?;
    Tensor::bool(shape, out)
}

/// `condition ? a : b`.
pub(crate) fn select(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor, EvalError> {
    same_type(a, b)?;
    let c = condition.as_bool()?;
    let ab = broadcast_shape(&a.shape, &b.shape)?;
    let shape = broadcast_shape(&condition.shape, &ab)?;
    let (a, b) = (super::view::expand(a, &shape)?, super::view::expand(b, &shape)?);
    let c = super::view::expand(&Tensor::bool(condition.shape.clone(), c.to_vec())?, &shape)?;
    let c = c.as_bool()?;
    let data = match (&a.data, &b.data) {
        (Data::F32(a), Data::F32(b)) => Data::F32(pick(c, a, b).into()),
        (Data::I64(a), Data::I64(b)) => Data::I64(pick(c, a, b)),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(pick(c, a, b)),
        _ => return Err(EvalError::WrongType { expected: a.dtype(), got: b.dtype() }),
    };
    Tensor::new(shape, data)
}

fn pick<T: Copy>(c: &[bool], a: &[T], b: &[T]) -> Vec<T> {
    c.iter().zip(a).zip(b).map(|((&c, &a), &b)| if c { a } else { b }).collect()
}

/// Converts the element type.
pub(crate) fn cast(x: &Tensor, to: DType) -> Result<Tensor, EvalError> {
    let data = match (&x.data, to) {
        (_, DType::F32) => Data::F32(x.to_f32_vec().into()),
        (Data::F32(v), DType::I64) => Data::I64(v.iter().map(|&a| a as i64).collect()),
        (Data::Bool(v), DType::I64) => Data::I64(v.iter().map(|&a| i64::from(a)).collect()),
        (Data::F32(v), DType::Bool) => Data::Bool(v.iter().map(|&a| a != 0.0).collect()),
        (Data::I64(v), DType::Bool) => Data::Bool(v.iter().map(|&a| a != 0).collect()),
        (Data::I64(_), DType::I64) | (Data::Bool(_), DType::Bool) => map_data!(&x.data, v => v.clone()),
    };
    Tensor::new(x.shape.clone(), data)
}
