//! Rectification without a table.

use super::cells::{check_width, letters};
use super::unary::domain;
use super::{BlockError, Lowering, requantize};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::{Part, Term};

/// `y = max(h, 0)` for `h = floor(acc / 2^s + 1/2)` in the format `input`, at the scale of `input`.
///
/// `acc + 2^(s-1) + 2^(s+b-1) = 2^(s+b-1)·u + 2^s·t + r` with `u ∈ {0, 1}` and `t ∈ [0, 2^(b-1))`, `r ∈ [0, 2^s)` in limbs: `u = [h ≥ 0]`, and
/// `t = h` where `u = 1`. Hence `y = u·t`, which is bounded because `u` and `t` are. A value outside of `input` is an error of execution that
/// names the node.
pub(crate) fn relu(ctx: &mut Lowering, node: &str, acc: &Accumulator, input: Format) -> Result<QTensor, BlockError> {
    if !(2..=32).contains(&input.bits) || acc.scale - input.scale < -64 {
        return Err(BlockError::unsupported(
            node,
            format!("an argument of {} bits taken from scale {} to {}", input.bits, acc.scale, input.scale),
            "choose 2 to 32 bits and closer scales",
        ));
    }
    let acc = &*acc.at_least(input.scale);
    check_width(node, "the accumulator", acc)?;
    let s = (acc.scale - input.scale) as u32;
    let domain = domain(acc, s, input);
    if domain.lo >= 0 {
        return requantize(ctx, node, acc, input);
    }
    let magnitude = domain.bits - 1;
    let mut lifted = acc.clone();
    lifted.add_constant((1i128 << (s + magnitude)) + if s > 0 { 1i128 << (s - 1) } else { 0 });
    check_width(node, "the accumulator", &lifted)?;
    let limbs = ctx.limbs(magnitude);
    let mut parts = vec![Part { weight: 1i128 << (s + magnitude), lo: 0, bits: 1 }];
    parts.extend(limbs.iter().map(|p| Part { weight: p.weight << s, ..*p }));
    if s > 0 {
        parts.extend(ctx.limbs(s));
    }
    let digits = ctx.builder.decompose(node, &acc.sizes, acc.outputs, lifted.terms, &parts);
    let shape = acc.shape().to_vec();
    let all = letters(shape.len());
    let product = |(p, t): (&Part, &zktorch_program::View)| Term::product(p.weight, digits[0].clone(), &all, t.clone(), &all);
    let terms = limbs.iter().zip(&digits[1..]).map(product).collect();
    let hi = (1i64 << magnitude) - 1;
    let view = ctx.builder.assign(node, &shape, shape.len(), terms, 0, hi);
    Ok(QTensor { view, scale: input.scale, lo: 0, hi })
}
