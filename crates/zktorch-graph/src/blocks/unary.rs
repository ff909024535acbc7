//! Functions of one variable by table.

use super::cells::{Top, bit_length, check_width, decompose_rounded, look_up, signed_bits};
use super::{BlockError, Lowering};
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::Part;

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
    if !(2..=16).contains(&input.bits) {
        return Err(BlockError::unsupported(
            node,
            format!("a function table of {name} over {} bits; 2 to 16 are possible", input.bits),
            "rescale the argument to 16 bits",
        ));
    }
    if !(2..=62).contains(&out.bits) {
        return Err(BlockError::unsupported(
            node,
            format!("an output of {} bits; 2 to 62 are possible", out.bits),
            "choose a width in that range",
        ));
    }
    let shift = acc.scale - input.scale;
    if shift < -64 {
        return Err(BlockError::unsupported(node, format!("a rescale by 2^{}", -shift), "choose scales that differ by at most 64 bits"));
    }
    let acc = &*acc.at_least(input.scale);
    check_width(node, "the accumulator", acc)?;
    let s = shift.max(0) as u32;
    let domain = domain(acc, s, input);
    let column = tabulate(&domain, input.scale, f, out);
    let table = ctx.builder.function_table(&label(name, input, out), domain.lo, vec![column]);
    let (lo, hi) = ctx.builder.table_ref(table).bounds(1).unwrap_or((0, 0));
    if s == 0
        && let Some(x) = acc.as_tensor()
    {
        let y = look_up(ctx, node, table, &x).swap_remove(0);
        return Ok(QTensor { scale: out.scale, ..y });
    }
    let mut columns = ctx.result_cells(node, table, acc.shape());
    decompose_rounded(ctx, node, acc, s, &[Top { part: domain, view: columns[0].clone() }]);
    ctx.builder.apply(node, table, &columns);
    Ok(QTensor { view: columns.swap_remove(1), scale: out.scale, lo, hi })
}

/// The name of a function's table.
pub(crate) fn label(name: &str, input: Format, out: Format) -> String {
    // Functions with f(2x) = 2·f(x): only the ratio of the scales matters, and layers of different scales share a table.
    if name == "Relu" || name.starts_with("LeakyRelu") || name == "Abs" {
        return format!("{name} ·2^{}", out.scale - input.scale);
    }
    format!("{name} 2^-{} -> 2^-{}", input.scale, out.scale)
}

/// The arguments that the accumulator can have after a shift by `s`, within the format, as a power of two of rows.
pub(super) fn domain(acc: &Accumulator, s: u32, input: Format) -> Part {
    let half = if s > 0 { 1i128 << (s - 1) } else { 0 };
    let clamp = |v: i128| ((v + half) >> s).clamp(input.lo() as i128, input.hi() as i128);
    let (lo, hi) = (clamp(acc.lo), clamp(acc.hi));
    if lo >= 0 {
        return Part { weight: 1, lo: 0, bits: bit_length(hi).max(1) };
    }
    let bits = signed_bits(lo, hi);
    Part { weight: 1, lo: -(1i64 << (bits - 1)), bits }
}

/// The column of values; see [`unary`] for what happens where `f` is infinite or no number.
fn tabulate(domain: &Part, scale: i32, f: &dyn Fn(f64) -> f64, out: Format) -> Vec<i64> {
    let real: Vec<f64> = (0..1i64 << domain.bits).map(|j| f(libm::ldexp((domain.lo + j) as f64, -scale))).collect();
    let mut nearest: Vec<Option<usize>> = Vec::with_capacity(real.len());
    let mut last = None;
    for (j, v) in real.iter().enumerate() {
        if !v.is_nan() {
            last = Some(j);
        }
        nearest.push(last);
    }
    let mut next: Option<usize> = None;
    for j in (0..real.len()).rev() {
        if !real[j].is_nan() {
            next = Some(j);
        }
        nearest[j] = match (nearest[j], next) {
            (Some(before), Some(after)) if after - j < j - before => Some(after),
            (Some(before), _) => Some(before),
            (None, after) => after,
        };
    }
    nearest.iter().map(|n| n.map_or(0, |j| round_saturated(real[j], out))).collect()
}

/// `floor(v·2^out.scale + 1/2)` saturated to `out`; `v` is no NaN.
pub(super) fn round_saturated(v: f64, out: Format) -> i64 {
    // The cast saturates infinities to the ends of i64.
    (libm::floor(libm::ldexp(v, out.scale) + 0.5) as i64).clamp(out.lo(), out.hi())
}
