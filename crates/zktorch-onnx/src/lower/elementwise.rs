//! Elementwise operators.

use super::{Ctx, Lowered};
use crate::ImportError;
use crate::proto::ElementType;
use crate::tensor::{dtype, width};
use zktorch_float::{BinaryFn, DType, Data, Op, Tensor, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    if let Some(function) = unary(ctx) {
        return Some(ctx.emit_same(Op::Unary(function)));
    }
    if let Some(function) = binary(ctx) {
        return Some(ctx.emit_same(Op::Binary(function)));
    }
    Some(match ctx.kind() {
        "Sum" => chain(ctx, BinaryFn::Add),
        "Max" => chain(ctx, BinaryFn::Max),
        "Min" => chain(ctx, BinaryFn::Min),
        "Mean" => mean(ctx),
        "Where" => ctx.emit_same(Op::Where),
        "Identity" => ctx.input(0).map(|x| vec![x]),
        "Dropout" => dropout(ctx),
        "Cast" => cast(ctx),
        "CastLike" => cast_like(ctx),
        "Clip" => clip(ctx),
        "BitwiseNot" => bitwise_not(ctx),
        "BitShift" => bit_shift(ctx),
        "PRelu" => ctx.emit_same(Op::Binary(BinaryFn::PRelu)),
        _ => return None,
    })
}

fn unary(ctx: &Ctx<'_>) -> Option<UnaryFn> {
    let alpha = |default: f32| ctx.attrs.float("alpha").unwrap_or(default);
    Some(match ctx.kind() {
        "Abs" => UnaryFn::Abs,
        "Acos" => UnaryFn::Acos,
        "Acosh" => UnaryFn::Acosh,
        "Asin" => UnaryFn::Asin,
        "Asinh" => UnaryFn::Asinh,
        "Atan" => UnaryFn::Atan,
        "Atanh" => UnaryFn::Atanh,
        "Ceil" => UnaryFn::Ceil,
        "Celu" => UnaryFn::Celu { alpha: alpha(1.0) },
        "Cos" => UnaryFn::Cos,
        "Cosh" => UnaryFn::Cosh,
        "Elu" => UnaryFn::Elu { alpha: alpha(1.0) },
        "Erf" => UnaryFn::Erf,
        "Exp" => UnaryFn::Exp,
        "Floor" => UnaryFn::Floor,
        "Gelu" if ctx.attrs.string("approximate") == Some("tanh") => UnaryFn::GeluTanh,
        "Gelu" => UnaryFn::Gelu,
        "HardSigmoid" => UnaryFn::HardSigmoid { alpha: alpha(0.2), beta: ctx.attrs.float("beta").unwrap_or(0.5) },
        "HardSwish" => UnaryFn::HardSwish,
        "IsInf" => UnaryFn::IsInf {
            positive: ctx.attrs.int("detect_positive").unwrap_or(1) != 0,
            negative: ctx.attrs.int("detect_negative").unwrap_or(1) != 0,
        },
        "IsNaN" => UnaryFn::IsNaN,
        "LeakyRelu" => UnaryFn::LeakyRelu { alpha: alpha(0.01) },
        "Log" => UnaryFn::Log,
        "Mish" => UnaryFn::Mish,
        "Neg" => UnaryFn::Neg,
        "Not" => UnaryFn::Not,
        "Reciprocal" => UnaryFn::Reciprocal,
        "Relu" => UnaryFn::Relu,
        "Round" => UnaryFn::Round,
        "Selu" => UnaryFn::Selu { alpha: alpha(1.673_263_2), gamma: ctx.attrs.float("gamma").unwrap_or(1.050_701) },
        "Shrink" => UnaryFn::Shrink { lambd: ctx.attrs.float("lambd").unwrap_or(0.5), bias: ctx.attrs.float("bias").unwrap_or(0.0) },
        "Sigmoid" => UnaryFn::Sigmoid,
        "Sign" => UnaryFn::Sign,
        "Sin" => UnaryFn::Sin,
        "Sinh" => UnaryFn::Sinh,
        "Softplus" => UnaryFn::Softplus,
        "Softsign" => UnaryFn::Softsign,
        "Sqrt" => UnaryFn::Sqrt,
        "Swish" => UnaryFn::Silu { alpha: alpha(1.0) },
        "Tan" => UnaryFn::Tan,
        "Tanh" => UnaryFn::Tanh,
        "ThresholdedRelu" => UnaryFn::ThresholdedRelu { alpha: alpha(1.0) },
        _ => return None,
    })
}

fn binary(ctx: &Ctx<'_>) -> Option<BinaryFn> {
    Some(match ctx.kind() {
        "Add" => BinaryFn::Add,
        "Sub" => BinaryFn::Sub,
        "Mul" => BinaryFn::Mul,
        "Div" => BinaryFn::Div,
        "Pow" => BinaryFn::Pow,
        "Mod" if ctx.attrs.flag("fmod") => BinaryFn::FMod,
        "Mod" => BinaryFn::Mod,
        "Equal" => BinaryFn::Equal,
        "Less" => BinaryFn::Less,
        "LessOrEqual" => BinaryFn::LessOrEqual,
        "Greater" => BinaryFn::Greater,
        "GreaterOrEqual" => BinaryFn::GreaterOrEqual,
        "BitwiseAnd" => BinaryFn::BitAnd,
        "BitwiseOr" => BinaryFn::BitOr,
        "BitwiseXor" => BinaryFn::BitXor,
        "And" => BinaryFn::And,
        "Or" => BinaryFn::Or,
        "Xor" => BinaryFn::Xor,
        _ => return None,
    })
}

/// A left-to-right chain of a function of two operands.
fn chain(ctx: &mut Ctx<'_>, function: BinaryFn) -> Lowered {
    let inputs = ctx.all()?;
    let mut inputs = inputs.into_iter();
    let mut sum = inputs.next().ok_or_else(|| ctx.error("no operands"))?;
    for next in inputs {
        sum = ctx.binary(function, sum, next)?;
    }
    Ok(vec![sum])
}

fn mean(ctx: &mut Ctx<'_>) -> Lowered {
    let count = ctx.all()?.len();
    let sum = chain(ctx, BinaryFn::Add)?[0];
    let factor = ctx.float_literal(1.0 / count as f32);
    Ok(vec![ctx.binary(BinaryFn::Mul, sum, factor)?])
}

/// A dropout that drops nothing: outside of training, or with ratio 0. Its mask is all true.
fn dropout(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let training = ctx.const_floats(2)?.is_some_and(|t| t.iter().any(|&v| v != 0.0));
    if training {
        let ratio = ctx.const_floats(1)?.unwrap_or_else(|| vec![0.5]);
        ctx.ensure(ratio.iter().all(|&r| r == 0.0), || "training mode is not supported".to_owned())?;
    }
    if ctx.node.output.get(1).is_none_or(|o| o.is_empty()) {
        return Ok(vec![x]);
    }
    ctx.ensure(ctx.opset >= 10, || "the mask output of this opset is not supported".to_owned())?;
    let shape = ctx.shape(x);
    let all = vec![true; shape.iter().product()];
    let mask = ctx.tensor(shape, Data::Bool(all))?;
    Ok(vec![x, ctx.literal(mask)])
}

/// Whether a computed value can be rounded to an element type: floats of 8 bits and less are only read.
fn is_target(element: ElementType) -> bool {
    width(element) >= 16 || !matches!(dtype(element as i32), Ok(DType::F32))
}

/// A change of the element type. Floats all have one width; integers keep the bits that fit, where a value may have more.
fn convert(ctx: &mut Ctx<'_>, x: ValueId, element: i32) -> Lowered {
    let to = dtype(element).map_err(|e| ctx.error(e))?;
    let own = ctx.builder.elements.get(&x).and_then(|&e| ElementType::try_from(e).ok());
    let target = ElementType::try_from(element).unwrap_or(ElementType::Undefined);
    ctx.ensure(is_target(target) || own == Some(target), || format!("rounding to {target:?} is not supported"))?;
    let from = ctx.dtype(x);
    let mut y = if from == to { x } else { ctx.emit(Op::Cast { to }, &[x])? };
    let bits = width(target);
    // Floats outside of the range have no defined result, except for the narrowest integers.
    let may_overflow = match from {
        DType::I64 => {
            let fits = |o: ElementType| o == target || (width(o) < bits && (is_signed(target) || !is_signed(o)));
            bits <= 16 && !own.is_some_and(fits)
        }
        DType::F32 => bits <= 4,
        DType::Bool => false,
    };
    if to == DType::I64 && may_overflow {
        y = wrapped(ctx, y, bits as u32, is_signed(target))?;
    }
    if y != x {
        ctx.builder.elements.insert(y, element);
    }
    Ok(vec![y])
}

fn is_signed(element: ElementType) -> bool {
    matches!(
        element,
        ElementType::Int2 | ElementType::Int4 | ElementType::Int8 | ElementType::Int16 | ElementType::Int32 | ElementType::Int64
    )
}

/// The lowest `bits` bits of an integer, as a signed or unsigned number.
fn wrapped(ctx: &mut Ctx<'_>, x: ValueId, bits: u32, signed: bool) -> Result<ValueId, ImportError> {
    let modulus = ctx.tensor(Vec::new(), Data::I64(vec![1i64 << bits]))?;
    let modulus = ctx.literal(modulus);
    if !signed {
        return ctx.binary(BinaryFn::Mod, x, modulus);
    }
    let half = ctx.tensor(Vec::new(), Data::I64(vec![1i64 << (bits - 1)]))?;
    let half = ctx.literal(half);
    let lifted = ctx.binary(BinaryFn::Add, x, half)?;
    let rest = ctx.binary(BinaryFn::Mod, lifted, modulus)?;
    ctx.binary(BinaryFn::Sub, rest, half)
}

fn cast(ctx: &mut Ctx<'_>) -> Lowered {
    let to = ctx.attrs.required(ctx.attrs.int("to"), "to")?;
    let to = i32::try_from(to).map_err(|_| ctx.error(format!("element type {to} is not supported")))?;
    let x = ctx.input(0)?;
    convert(ctx, x, to)
}

fn cast_like(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, like) = (ctx.input(0)?, ctx.input(1)?);
    let widest = match ctx.dtype(like) {
        DType::F32 => ElementType::Float,
        DType::I64 => ElementType::Int64,
        DType::Bool => ElementType::Bool,
    };
    let to = ctx.builder.elements.get(&like).copied().unwrap_or(widest as i32);
    convert(ctx, x, to)
}

fn clip(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    if ctx.opset < 11 {
        let min = ctx.attrs.float("min").unwrap_or(f32::NEG_INFINITY);
        let max = ctx.attrs.float("max").unwrap_or(f32::INFINITY);
        return Ok(vec![ctx.unary(UnaryFn::Clip { min, max }, x)?]);
    }
    let fixed = |ctx: &Ctx<'_>, i: usize| -> Option<Option<f32>> {
        match ctx.opt(i) {
            None => Some(None),
            Some(id) => {
                let t = ctx.builder.graph.constant(id)?;
                (t.len() == 1).then(|| t.to_f32_vec().first().copied())
            }
        }
    };
    if let (Some(min), Some(max)) = (fixed(ctx, 1), fixed(ctx, 2)) {
        let (min, max) = (min.unwrap_or(f32::NEG_INFINITY), max.unwrap_or(f32::INFINITY));
        return Ok(vec![ctx.unary(UnaryFn::Clip { min, max }, x)?]);
    }
    let mut y = x;
    if let Some(min) = ctx.opt(1) {
        y = ctx.binary(BinaryFn::Max, y, min)?;
    }
    if let Some(max) = ctx.opt(2) {
        y = ctx.binary(BinaryFn::Min, y, max)?;
    }
    Ok(vec![y])
}

/// Bits of the element type of operand 0, and whether it is signed.
fn integer_width(ctx: &Ctx<'_>) -> Result<(u32, bool), ImportError> {
    let element = ctx.builder.elements.get(&ctx.input(0)?).and_then(|&e| ElementType::try_from(e).ok());
    match element.filter(|&e| matches!(dtype(e as i32), Ok(DType::I64))) {
        Some(element) => Ok((width(element) as u32, is_signed(element))),
        None => Err(ctx.error("the element type is unknown, which decides about the bits")),
    }
}

/// `-1 - x`, or `2^w - 1 - x` for unsigned integers.
fn bitwise_not(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let top = match integer_width(ctx)? {
        (_, true) => -1,
        (64, false) => return Err(ctx.error("the complement of 64-bit unsigned integers exceeds 63 bits")),
        (width, false) => (1i64 << width) - 1,
    };
    let top = ctx.literal(Tensor::ints(vec![top]));
    let top = ctx.reshape(top, Vec::new())?;
    Ok(vec![ctx.binary(BinaryFn::Sub, top, x)?])
}

/// Shifts by constant amounts: a product with a power of two, of which the bits that fit are kept, or a quotient rounded down.
fn bit_shift(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let (width, signed) = integer_width(ctx)?;
    let amounts = ctx.const_ints(1)?.unwrap_or_default();
    let shape = ctx.shape(ctx.input(1)?);
    ctx.ensure(amounts.iter().all(|&a| a >= 0), || format!("negative amounts {amounts:?}"))?;
    let integers = |ctx: &mut Ctx<'_>, shape: Vec<usize>, values: Vec<i64>| -> Result<ValueId, ImportError> {
        let tensor = ctx.tensor(shape, Data::I64(values))?;
        Ok(ctx.literal(tensor))
    };
    if ctx.attrs.string("direction") == Some("RIGHT") {
        // Bits that leave are dropped; copies of the sign, or zeros, come in.
        let most = i64::from(if signed { width - 1 } else { width }).min(62);
        let powers = integers(ctx, shape, amounts.iter().map(|&a| 1i64 << a.min(most)).collect())?;
        let x = if signed {
            let rest = ctx.binary(BinaryFn::Mod, x, powers)?;
            ctx.binary(BinaryFn::Sub, x, rest)?
        } else {
            x
        };
        return Ok(vec![ctx.binary(BinaryFn::Div, x, powers)?]);
    }
    let power = |a: i64| if a < i64::from(width.min(62)) { 1i64 << a } else { 0 };
    let powers = integers(ctx, shape, amounts.into_iter().map(power).collect())?;
    let y = ctx.binary(BinaryFn::Mul, x, powers)?;
    Ok(vec![if width <= 32 { wrapped(ctx, y, width, signed)? } else { y }])
}
