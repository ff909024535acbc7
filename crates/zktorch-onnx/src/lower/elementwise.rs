//! Elementwise operators.

use super::{Ctx, Lowered};
use crate::tensor::dtype;
use zktorch_float::{BinaryFn, Op, UnaryFn, ValueId};

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
        "Identity" | "Dropout" => alias(ctx),
        "Cast" => cast(ctx),
        "CastLike" => cast_like(ctx),
        "Clip" => clip(ctx),
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

/// An operator that passes its operand on. The mask of a dropout has no use at inference.
fn alias(ctx: &mut Ctx<'_>) -> Lowered {
    if ctx.kind() == "Dropout" {
        if let Some(training) = ctx.constant(2)? {
            let on = training.to_f32_vec().iter().any(|&v| v != 0.0);
            ctx.ensure(!on, || "training mode is not supported".to_owned())?;
        }
        let masked = ctx.node.output.get(1).is_some_and(|o| !o.is_empty());
        ctx.ensure(!masked, || "the mask output is not supported".to_owned())?;
    }
    Ok(vec![ctx.input(0)?])
}

fn convert(ctx: &mut Ctx<'_>, x: ValueId, to: zktorch_float::DType) -> Lowered {
    // Widths are not told apart, so a change of width is no operation.
    if ctx.dtype(x) == to {
        return Ok(vec![x]);
    }
    Ok(vec![ctx.emit(Op::Cast { to }, &[x])?])
}

fn cast(ctx: &mut Ctx<'_>) -> Lowered {
    let to = ctx.attrs.required(ctx.attrs.int("to"), "to")?;
    let to = i32::try_from(to).map_err(|_| ctx.error(format!("element type {to} is not supported")))?;
    let to = dtype(to).map_err(|e| ctx.error(e))?;
    let x = ctx.input(0)?;
    convert(ctx, x, to)
}

fn cast_like(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, like) = (ctx.input(0)?, ctx.input(1)?);
    let to = ctx.dtype(like);
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
