//! Products, convolutions and pooling.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, Op, ReduceFn, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "MatMul" => ctx.emit_same(Op::MatMul),
        "Gemm" => {
            let (alpha, beta) = (ctx.attrs.float("alpha").unwrap_or(1.0), ctx.attrs.float("beta").unwrap_or(1.0));
            let (trans_a, trans_b) = (ctx.attrs.flag("transA"), ctx.attrs.flag("transB"));
            ctx.emit_same(Op::Gemm { alpha, beta, trans_a, trans_b })
        }
        "Einsum" => einsum(ctx),
        "Conv" => conv(ctx),
        "ConvTranspose" => conv_transpose(ctx),
        "AveragePool" => average_pool(ctx),
        "LpPool" | "GlobalLpPool" => lp_pool(ctx),
        "GlobalAveragePool" => ctx.emit_same(Op::GlobalAveragePool),
        "GlobalMaxPool" => ctx.emit_same(Op::GlobalMaxPool),
        _ => return None,
    })
}

/// Window parameters with all defaults filled in.
pub(super) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Vec<(usize, usize)>,
}

/// Attribute `name` as `count` positive numbers, 1 by default.
fn positive(ctx: &Ctx<'_>, name: &str, count: usize) -> Result<Vec<usize>, ImportError> {
    let Some(values) = ctx.attrs.ints(name) else { return Ok(vec![1; count]) };
    let values = ctx.sizes(values, name)?;
    ctx.ensure(values.len() == count && !values.contains(&0), || format!("{name} {values:?} should have {count} positive entries"))?;
    Ok(values)
}

/// Attribute `pads` as pairs, 0 by default.
fn pads(ctx: &Ctx<'_>, count: usize) -> Result<Vec<(usize, usize)>, ImportError> {
    let Some(values) = ctx.attrs.ints("pads") else { return Ok(vec![(0, 0); count]) };
    let values = ctx.sizes(values, "pads")?;
    ctx.ensure(values.len() == 2 * count, || format!("pads {values:?} should have {} entries", 2 * count))?;
    Ok((0..count).map(|i| (values[i], values[i + count])).collect())
}

/// Sizes of the spatial axes of operand 0.
fn spatial(ctx: &Ctx<'_>) -> Result<Vec<usize>, ImportError> {
    let shape = ctx.shape(ctx.input(0)?);
    ctx.ensure(shape.len() >= 3, || format!("shape {shape:?} has no spatial axes"))?;
    Ok(shape[2..].to_vec())
}

/// Window of operand 0; the kernel is that of the weight, or the attribute.
pub(super) fn window(ctx: &Ctx<'_>, weight: Option<ValueId>) -> Result<Window, ImportError> {
    let input = spatial(ctx)?;
    let count = input.len();
    let kernel = if let Some(weight) = weight {
        let shape = ctx.shape(weight);
        ctx.ensure(shape.len() == count + 2, || format!("the weight of shape {shape:?} does not fit"))?;
        if let Some(given) = ctx.attrs.ints("kernel_shape") {
            let given = ctx.sizes(given, "kernel_shape")?;
            ctx.ensure(given == shape[2..], || format!("kernel_shape {given:?}, but the weight has {shape:?}"))?;
        }
        shape[2..].to_vec()
    } else {
        let given = ctx.attrs.required(ctx.attrs.ints("kernel_shape"), "kernel_shape")?;
        ctx.sizes(given, "kernel_shape")?;
        positive(ctx, "kernel_shape", count)?
    };
    let mut window = Window {
        kernel,
        strides: positive(ctx, "strides", count)?,
        dilations: positive(ctx, "dilations", count)?,
        pads: pads(ctx, count)?,
    };
    let mode = ctx.attrs.string("auto_pad").unwrap_or("NOTSET");
    if mode == "VALID" {
        window.pads = vec![(0, 0); count];
    } else if mode != "NOTSET" && ctx.kind() != "ConvTranspose" {
        for (a, &size) in input.iter().enumerate() {
            let (stride, output) = (window.strides[a], size.div_ceil(window.strides[a]));
            let extent = window.kernel[a].saturating_sub(1).saturating_mul(window.dilations[a]).saturating_add(1);
            let total = (output.saturating_sub(1) * stride).saturating_add(extent).saturating_sub(size);
            window.pads[a] = halves(total, mode == "SAME_UPPER");
        }
    }
    Ok(window)
}

/// Splits padding; the odd element goes to the end (`upper`) or to the beginning.
fn halves(total: usize, upper: bool) -> (usize, usize) {
    let small = total / 2;
    if upper { (small, total - small) } else { (total - small, small) }
}

pub(super) fn group(ctx: &Ctx<'_>) -> Result<usize, ImportError> {
    let group = ctx.attrs.int("group").unwrap_or(1);
    usize::try_from(group).ok().filter(|&g| g > 0).ok_or_else(|| ctx.error(format!("group {group}")))
}

fn conv(ctx: &mut Ctx<'_>) -> Lowered {
    let weight = ctx.input(1)?;
    let op = conv_op(ctx, weight)?;
    ctx.emit_same(op)
}

/// The convolution of operand 0 with a weight.
pub(super) fn conv_op(ctx: &Ctx<'_>, weight: ValueId) -> Result<Op, ImportError> {
    let Window { kernel, strides, dilations, pads } = window(ctx, Some(weight))?;
    Ok(Op::Conv { kernel, strides, dilations, pads, group: group(ctx)? })
}

fn conv_transpose(ctx: &mut Ctx<'_>) -> Lowered {
    let input = spatial(ctx)?;
    let count = input.len();
    let weight = ctx.input(1)?;
    let mut w = window(ctx, Some(weight))?;
    let group = group(ctx)?;
    let mut output_padding = match ctx.attrs.ints("output_padding") {
        Some(v) => ctx.sizes(v, "output_padding")?,
        None => vec![0; count],
    };
    ctx.ensure(output_padding.len() == count, || format!("output_padding {output_padding:?}"))?;
    let mode = ctx.attrs.string("auto_pad").unwrap_or("NOTSET");
    let wanted = ctx.attrs.ints("output_shape").map(|v| ctx.sizes(v, "output_shape")).transpose()?;
    if wanted.is_some() || mode.starts_with("SAME") {
        for a in 0..count {
            let extent = w.kernel[a].saturating_sub(1).saturating_mul(w.dilations[a]).saturating_add(1);
            let full = (input[a].saturating_sub(1) * w.strides[a]) + extent + output_padding[a];
            let target = match &wanted {
                // The batch and channel axes may be given as well.
                Some(v) => {
                    let at = (v.len() + a).checked_sub(count).and_then(|i| v.get(i)).copied();
                    at.ok_or_else(|| ctx.error(format!("output_shape {v:?}")))?
                }
                None => input[a] * w.strides[a],
            };
            if target > full {
                output_padding[a] += target - full;
                w.pads[a] = (0, 0);
            } else {
                w.pads[a] = halves(full - target, mode != "SAME_LOWER" && mode == "SAME_UPPER");
            }
        }
    }
    ctx.emit_same(Op::ConvTranspose { kernel: w.kernel, strides: w.strides, dilations: w.dilations, pads: w.pads, output_padding, group })
}

fn average_pool(ctx: &mut Ctx<'_>) -> Lowered {
    let Window { kernel, strides, dilations, pads } = window(ctx, None)?;
    let (ceil_mode, count_include_pad) = (ctx.attrs.flag("ceil_mode"), ctx.attrs.flag("count_include_pad"));
    ctx.emit_same(Op::AveragePool { kernel, strides, dilations, pads, ceil_mode, count_include_pad })
}

/// `(Σ |x|^p)^(1/p)` over windows or whole channels: a mean of what is summed, times the size of the window.
fn lp_pool(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let p = ctx.attrs.int("p").unwrap_or(2);
    ctx.ensure((1..=8).contains(&p), || format!("p is {p}; 1 to 8 are supported"))?;
    let square = p == 2;
    if ctx.kind() == "GlobalLpPool" {
        ctx.ensure(p <= 2, || format!("p is {p}; 1 and 2 are supported"))?;
        let axes = (2..2 + spatial(ctx)?.len()).collect();
        let function = if square { ReduceFn::L2 } else { ReduceFn::L1 };
        return Ok(vec![ctx.emit(Op::Reduce { function, axes, keepdims: true }, &[x])?]);
    }
    let Window { kernel, strides, dilations, pads } = window(ctx, None)?;
    let size = kernel.iter().fold(1f32, |n, &k| n * k as f32);
    let powers = match p {
        2 => ctx.binary(BinaryFn::Mul, x, x)?,
        _ => {
            let magnitude = ctx.unary(UnaryFn::Abs, x)?;
            let exponent = ctx.float_literal(p as f32);
            if p == 1 { magnitude } else { ctx.binary(BinaryFn::Pow, magnitude, exponent)? }
        }
    };
    let op = Op::AveragePool { kernel, strides, dilations, pads, ceil_mode: ctx.attrs.flag("ceil_mode"), count_include_pad: true };
    let means = ctx.emit(op, &[powers])?;
    let size = ctx.float_literal(size);
    let sums = ctx.binary(BinaryFn::Mul, means, size)?;
    Ok(vec![match p {
        1 => sums,
        2 => ctx.unary(UnaryFn::Sqrt, sums)?,
        _ => {
            let root = ctx.float_literal(1.0 / p as f32);
            ctx.binary(BinaryFn::Pow, sums, root)?
        }
    }])
}

/// Brings an equation into the form `ab,bc->ac`: no blanks, explicit output, letters instead of an ellipsis.
fn einsum(ctx: &mut Ctx<'_>) -> Lowered {
    let inputs = ctx.all()?;
    let ranks: Vec<usize> = inputs.iter().map(|&id| ctx.shape(id).len()).collect();
    let text = ctx.attrs.required(ctx.attrs.string("equation"), "equation")?;
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l.to_owned(), Some(r.to_owned())),
        None => (text.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    ctx.ensure(terms.len() == inputs.len(), || format!("equation '{text}' for {} operands", inputs.len()))?;
    // The ellipsis stands for as many letters as the operand has more axes than letters; operands align at their last one.
    let mut hidden = 0;
    for (term, rank) in terms.iter().zip(&ranks) {
        if term.contains("...") {
            let letters = term.len() - 3;
            let own = rank.checked_sub(letters);
            hidden = hidden.max(own.ok_or_else(|| ctx.error(format!("equation '{text}' does not fit")))?);
        }
    }
    let spare: Vec<char> = ('a'..='z').chain('A'..='Z').filter(|c| !text.contains(*c)).collect();
    ctx.ensure(hidden <= spare.len(), || "too many axes".to_owned())?;
    let ellipsis = |own: usize| spare[hidden - own.min(hidden)..hidden].iter().collect::<String>();
    let expanded: Vec<String> = terms
        .iter()
        .zip(&ranks)
        .map(|(term, rank)| {
            let letters = term.len().saturating_sub(3);
            term.replacen("...", &ellipsis(rank.saturating_sub(letters)), 1)
        })
        .collect();
    let output = match right {
        Some(right) => right.replacen("...", &ellipsis(hidden), 1),
        None => {
            let all = expanded.concat();
            let mut once: Vec<char> = all.chars().filter(|c| all.matches(*c).count() == 1 && text.contains(*c)).collect();
            once.sort_unstable();
            ellipsis(hidden) + &once.iter().collect::<String>()
        }
    };
    ctx.emit_same(Op::Einsum { equation: format!("{}->{output}", expanded.join(",")) })
}
