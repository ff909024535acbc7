//! Division, reciprocal and square root with remainders, for operands too wide or results too fine for a table.

use super::cells::{bit_length, check_range, check_terms, check_width, checked_cells, compact, letters, look_up, negated, spread};
use super::compare::non_negative;
use super::{BlockError, Lowering, broadcast_shape, broadcast_to, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Step, Term};

/// `q = floor(numerator / denominator)`, uniquely: `numerator - q·c = r`, `r ≥ 0`, `c - 1 - r ≥ 0`, both in limbs, `q` range-checked to the
/// format. A denominator `c ≤ 0` admits no `r`. Both operands share their output letters.
pub(super) fn quotient(
    ctx: &mut Lowering,
    node: &str,
    numerator: &Accumulator,
    denominator: &QTensor,
    out: Format,
) -> Result<QTensor, BlockError> {
    if !(2..=40).contains(&out.bits) {
        return Err(BlockError::unsupported(
            node,
            format!("a quotient of {} bits; 2 to 40 are possible", out.bits),
            "choose a width in that range",
        ));
    }
    quotient_in(ctx, node, numerator, denominator, out.lo(), out.bits, out.scale)
}

/// [`quotient`] in `[lo, lo + 2^bits)`, at a scale of the caller.
pub(super) fn quotient_in(
    ctx: &mut Lowering,
    node: &str,
    numerator: &Accumulator,
    denominator: &QTensor,
    lo: i64,
    bits: u32,
    scale: i32,
) -> Result<QTensor, BlockError> {
    let hi = lo + (1i64 << bits) - 1;
    let shape = numerator.shape().to_vec();
    let view = checked_cells(ctx, &shape, lo, bits);
    let q = QTensor { view: view.clone(), scale, lo, hi };
    let all = letters(shape.len());
    let mut rest = numerator.clone();
    rest.push(-1, &[(&q, &all), (denominator, &all)]);
    check_width(node, "the division", &rest)?;
    ctx.builder.step(Step::Quotient {
        node: node.to_string(),
        sizes: numerator.sizes.clone(),
        outputs: numerator.outputs,
        numerator: numerator.terms.clone(),
        denominator: denominator.view.clone(),
        quotient: view.clone(),
        lo,
        hi,
    });
    check_range(ctx, node, &view, lo, bits);
    let bits = bit_length(denominator.hi.max(1) as i128 - 1).max(1);
    let mut above = negated(&rest.terms);
    above.push(Term::linear(1, denominator.view.clone(), &all));
    above.push(Term::constant(-1));
    check_terms(ctx, node, &rest.sizes, rest.outputs, rest.terms, bits);
    check_terms(ctx, node, &rest.sizes, rest.outputs, above, bits);
    Ok(q)
}

/// `v = floor(numerator / denominator)` with `v ∈ [0, 2^bits)`, one division per element of the denominator, which must be positive.
pub(super) fn quotient_of_constant(
    ctx: &mut Lowering,
    node: &str,
    numerator: i128,
    denominator: &QTensor,
    bits: u32,
) -> Result<QTensor, BlockError> {
    let shape = denominator.shape();
    let mut acc = Accumulator::zero(&shape, 0);
    acc.add_constant(numerator);
    quotient_in(ctx, node, &acc, denominator, 0, bits, 0)
}

/// `2·|b|·2^fine` in one cell per distinct element of `b`, and the sign of `b`: a tensor, or a known one.
pub(super) struct Divisor {
    pub twice: QTensor,
    pub sign: Sign,
}

pub(super) enum Sign {
    Known(i128),
    Cells(QTensor),
}

pub(super) fn divisor(ctx: &mut Lowering, node: &str, b: &QTensor, fine: u32) -> Result<Divisor, BlockError> {
    let largest = bit_length(b.lo.unsigned_abs().max(b.hi.unsigned_abs()) as i128) + fine + 1;
    if largest > 60 {
        return Err(BlockError::TooWide { node: node.to_string(), what: "the divisor", bits: largest, limit: 60 });
    }
    let factor = 2i64 << fine;
    let arg = QTensor { view: compact(&b.view), ..b.clone() };
    let all = letters(arg.view.axes.len());
    let shape = arg.shape();
    let assign = |ctx: &mut Lowering, acc: Accumulator| {
        let (lo, hi) = (acc.lo as i64, acc.hi as i64);
        let view = ctx.builder.assign(node, &shape, shape.len(), acc.terms, lo, hi);
        QTensor { view: spread(view, &b.view), scale: 0, lo, hi }
    };
    if b.lo >= 0 || b.hi <= 0 {
        let sign = if b.lo >= 0 { 1 } else { -1 };
        let twice = assign(ctx, Accumulator::of(&arg).times(sign * factor as i128));
        return Ok(Divisor { twice, sign: Sign::Known(sign) });
    }
    let label = format!("{factor}|b|, sign b");
    if b.lo >= -(1 << 15) && b.hi < 1 << 15 && !ctx.tables.avoids(&label) {
        let range = -(1i64 << 15)..1 << 15;
        let columns = vec![range.clone().map(|v| v.abs() * factor).collect(), range.map(i64::signum).collect()];
        let table = ctx.builder.function_table(&label, -(1 << 15), columns);
        let mut cells = look_up(ctx, node, table, b);
        let sign = cells.swap_remove(1);
        return Ok(Divisor { twice: cells.swap_remove(0), sign: Sign::Cells(sign) });
    }
    // σ = 2·[b ≥ 0] - 1; |b| = σ·b.
    let g = non_negative(ctx, node, &Accumulator::of(&arg))?;
    let sigma = assign(ctx, {
        let mut acc = Accumulator::of(&g).times(2);
        acc.add_constant(-1);
        acc
    });
    let small = QTensor { view: compact(&sigma.view), ..sigma.clone() };
    let mut magnitude = Accumulator::zero(&shape, 0);
    magnitude.push(factor as i128, &[(&small, &all), (&arg, &all)]);
    let twice = assign(ctx, magnitude);
    Ok(Divisor { twice, sign: Sign::Cells(sigma) })
}

/// `floor(numerator·2^up / b + 1/2)` for a numerator over the shape of `b`: `(σ·numerator·2^(up+1) + |b|·2^down) / (2·|b|·2^down)`.
fn rounded_quotient(
    ctx: &mut Lowering,
    node: &str,
    a: Option<&QTensor>,
    b: &QTensor,
    exponent: i32,
    out: Format,
) -> Result<QTensor, BlockError> {
    if exponent.abs() > 62 {
        return Err(BlockError::unsupported(
            node,
            format!("a division with a rescale by 2^{exponent}"),
            "choose scales that differ by at most 62 bits",
        ));
    }
    let (up, down) = (exponent.max(0) as u32, (-exponent).max(0) as u32);
    let Divisor { twice, sign } = divisor(ctx, node, b, down)?;
    let shape = b.shape();
    let all = letters(shape.len());
    let mut numerator = Accumulator::zero(&shape, 0);
    let scale = 1i128 << (up + 1);
    let half = 1i128 << down;
    match (&sign, a) {
        (Sign::Known(s), Some(a)) => numerator.push(s * scale, &[(a, &all)]),
        (Sign::Known(s), None) => numerator.add_constant(s * scale),
        (Sign::Cells(s), Some(a)) => numerator.push(scale, &[(s, &all), (a, &all)]),
        (Sign::Cells(s), None) => numerator.push(scale, &[(s, &all)]),
    }
    match &sign {
        Sign::Known(s) => numerator.push(s * half, &[(b, &all)]),
        Sign::Cells(s) => numerator.push(half, &[(s, &all), (b, &all)]),
    }
    quotient(ctx, node, &numerator, &twice, out)
}

/// `q = floor(a/b + 1/2)` in units of `out` (real division, ties towards +∞), with broadcasting.
///
/// `b` of a known sign: `B = 2·|b|`; otherwise `(b, B = 2·|b|, σ = sign b)` in a table, or `σ = 2·[b ≥ 0] - 1` for more than 16 bits. Then
/// `σ·a·2^(j+1) + |b| = q·B + r`, `0 ≤ r < B`. A divisor that four or more elements share is inverted once, to at least 16 bits, and `q` is
/// the rounded product, off by less than one unit for results of 16 bits. Division by 0 is an error of execution that names the node.
pub(crate) fn divide(ctx: &mut Lowering, node: &str, a: &QTensor, b: &QTensor, out: Format) -> Result<QTensor, BlockError> {
    let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
    let (wide_a, wide_b) = (broadcast_to(node, a, &shape)?, broadcast_to(node, b, &shape)?);
    let bits = bit_length(b.lo.unsigned_abs().max(b.hi.unsigned_abs()) as i128);
    if compact(&wide_b.view).len() * 4 <= wide_b.view.len() && bits <= 22 && out.bits <= 16 {
        // 1/b has at least 16 bits for the largest |b|, and at most 16 + bits for |b| = 1.
        let inverse = reciprocal(ctx, node, b, Format { scale: 16 + bits as i32 - b.scale, bits: bits + 18 })?;
        return requantize(ctx, node, &Accumulator::product(node, a, &inverse)?, out);
    }
    rounded_quotient(ctx, node, Some(&wide_a), &wide_b, out.scale - a.scale + b.scale, out)
}

/// `floor(1/x + 1/2)` in units of `out`, for `x` of either sign: one division per distinct element of `x`, exact to half a unit. `x = 0` is
/// an error of execution that names the node.
pub(crate) fn reciprocal(ctx: &mut Lowering, node: &str, x: &QTensor, out: Format) -> Result<QTensor, BlockError> {
    let small = QTensor { view: compact(&x.view), ..x.clone() };
    let q = rounded_quotient(ctx, node, None, &small, out.scale + x.scale, out)?;
    Ok(QTensor { view: spread(q.view, &x.view), ..q })
}

/// `y = floor(sqrt(acc))` in units of `out`, for `acc ≥ 0` of any width up to 62 bits: `0 ≤ v - y² ≤ 2y` for `v = floor(acc·2^e)` at twice
/// the scale of `out`. The precision is that of `acc`, not of a 16-bit table: use it for norms. A negative value is an error of execution
/// that names the node.
pub(crate) fn sqrt(ctx: &mut Lowering, node: &str, acc: &Accumulator, out: Format) -> Result<QTensor, BlockError> {
    let shift = acc.scale - 2 * out.scale;
    if shift < -62 || !(2..=31).contains(&out.bits) {
        return Err(BlockError::unsupported(
            node,
            format!("a square root from scale {} to {} bits at scale {}", acc.scale, out.bits, out.scale),
            "choose 2 to 31 bits and closer scales",
        ));
    }
    let acc = &*acc.at_least(2 * out.scale);
    check_width(node, "the radicand", acc)?;
    let s = shift.max(0) as u32;
    let bits = bit_length((acc.hi >> s).max(1));
    if bits > 62 {
        return Err(BlockError::TooWide { node: node.to_string(), what: "the radicand", bits, limit: 62 });
    }
    let shape = acc.shape().to_vec();
    let all = letters(shape.len());
    // v in limbs and acc = v·2^s + r: v is bounded and not negative.
    let value_parts = ctx.limbs(bits);
    let mut parts: Vec<Part> = value_parts.iter().map(|p| Part { weight: p.weight << s, ..*p }).collect();
    if s > 0 {
        parts.extend(ctx.limbs(s));
    }
    let digits = ctx.builder.decompose(node, &acc.sizes, acc.outputs, acc.terms.clone(), &parts);
    let terms = value_parts.iter().zip(&digits).map(|(p, d)| Term::linear(p.weight, d.clone(), &all)).collect();
    let hi = (1i64 << bits) - 1;
    let v = ctx.builder.assign(node, &shape, shape.len(), terms, 0, hi);
    let y = checked_cells(ctx, &shape, out.lo(), out.bits);
    ctx.builder.step(Step::Sqrt { node: node.to_string(), value: v.clone(), out: y.clone() });
    check_range(ctx, node, &y, out.lo(), out.bits);
    let below = vec![Term::linear(1, v, &all), Term::product(-1, y.clone(), &all, y.clone(), &all)];
    let mut above = negated(&below);
    above.push(Term::linear(2, y.clone(), &all));
    let rest = bits / 2 + 2;
    check_terms(ctx, node, &shape, shape.len(), below, rest);
    check_terms(ctx, node, &shape, shape.len(), above, rest);
    Ok(QTensor { view: y, scale: out.scale, lo: out.lo(), hi: out.hi() })
}
