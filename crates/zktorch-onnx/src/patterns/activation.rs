//! Activations written out as products.

use super::{Rewrite, Rewriter, near, orders, pair};
use zktorch_float::{BinaryFn, Node, Op, ReduceFn, UnaryFn, ValueId};

/// Nested products that are looked through.
const MAX_DEPTH: usize = 4;

/// A product as a constant factor and the other factors.
struct Product {
    constant: f32,
    factors: Vec<ValueId>,
}

/// Takes products and divisions by constants apart, but not `whole`.
fn product(r: &Rewriter<'_>, id: ValueId, whole: ValueId) -> Product {
    let mut result = Product { constant: 1.0, factors: Vec::new() };
    collect(r, id, MAX_DEPTH, Some(whole), &mut result);
    result
}

fn collect(r: &Rewriter<'_>, id: ValueId, depth: usize, whole: Option<ValueId>, result: &mut Product) {
    if let Some(c) = r.scalar(id) {
        result.constant *= c;
        return;
    }
    if depth > 0 && Some(id) != whole {
        if let Some((a, b)) = r.binary(id, BinaryFn::Mul) {
            collect(r, a, depth - 1, whole, result);
            collect(r, b, depth - 1, whole, result);
            return;
        }
        if let Some((a, c)) = r.binary(id, BinaryFn::Div).and_then(|(a, b)| Some((a, r.scalar(b)?))) {
            result.constant /= c;
            collect(r, a, depth - 1, whole, result);
            return;
        }
        match r.binary(id, BinaryFn::Pow).map(|(a, e)| (a, r.scalar(e))) {
            Some((a, Some(2.0))) => return result.factors.extend([a, a]),
            Some((a, Some(3.0))) => return result.factors.extend([a, a, a]),
            _ => {}
        }
    }
    result.factors.push(id);
}

/// `constant·x` as its constant.
fn multiple(r: &Rewriter<'_>, id: ValueId, x: ValueId) -> Option<f32> {
    let p = product(r, id, x);
    (p.factors == [x]).then_some(p.constant)
}

/// The other term of a sum with the constant 1.
fn plus_one(r: &Rewriter<'_>, id: ValueId) -> Option<ValueId> {
    orders(r.binary(id, BinaryFn::Add)?).into_iter().find(|&(_, c)| r.scalar(c) == Some(1.0)).map(|(x, _)| x)
}

/// `ln Σ e^x`, which the operator of that name computes without leaving the range of its numbers.
pub(super) fn log_sum_exp(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    if node.op != Op::Unary(UnaryFn::Log) {
        return None;
    }
    let sum = r.node(super::first(node)?)?;
    let Op::Reduce { function: ReduceFn::Sum, axes, keepdims } = &sum.op else { return None };
    let op = Op::Reduce { function: ReduceFn::LogSumExp, axes: axes.clone(), keepdims: *keepdims };
    match r.unary(super::first(sum)?)? {
        (UnaryFn::Exp, x) => Some(Rewrite::Replace(op, vec![x])),
        _ => None,
    }
}

/// Recognises `x·g(x)` in its usual spellings.
pub(super) fn fuse(r: &mut Rewriter<'_>, node: &Node) -> Option<Rewrite> {
    if !matches!(node.op, Op::Binary(BinaryFn::Mul | BinaryFn::Div)) {
        return None;
    }
    let (a, b) = pair(node)?;
    // The argument may be a product itself, so shallow readings come first.
    let (x, function) = (0..MAX_DEPTH).find_map(|depth| {
        let mut whole = Product { constant: 1.0, factors: Vec::new() };
        collect(r, a, depth, None, &mut whole);
        if node.op == Op::Binary(BinaryFn::Div) {
            whole.constant /= r.scalar(b)?;
        } else {
            collect(r, b, depth, None, &mut whole);
        }
        let [a, b] = whole.factors[..] else { return None };
        orders((a, b)).into_iter().find_map(|(x, gate)| Some((x, activation(r, x, gate, whole.constant)?)))
    })?;
    (r.shape(x) == r.shape(*node.outputs.first()?)).then(|| Rewrite::Replace(Op::Unary(function), vec![x]))
}

/// The function `constant·x·gate`, if it is known.
fn activation(r: &Rewriter<'_>, x: ValueId, gate: ValueId, constant: f32) -> Option<UnaryFn> {
    if let Some(inner) = plus_one(r, gate).filter(|_| near(constant, 0.5)) {
        return match r.unary(inner)? {
            (UnaryFn::Erf, y) if near(multiple(r, y, x)?, std::f32::consts::FRAC_1_SQRT_2) => Some(UnaryFn::Gelu),
            (UnaryFn::Tanh, y) if is_tanh_argument(r, y, x) => Some(UnaryFn::GeluTanh),
            _ => None,
        };
    }
    if constant != 1.0 {
        return None;
    }
    match r.unary(gate)? {
        (UnaryFn::Sigmoid, y) => Some(UnaryFn::Silu { alpha: multiple(r, y, x)? }),
        (UnaryFn::HardSigmoid { alpha, beta }, y) if y == x && near(alpha, 1.0 / 6.0) && beta == 0.5 => Some(UnaryFn::HardSwish),
        (UnaryFn::Tanh, y) if r.unary(y) == Some((UnaryFn::Softplus, x)) => Some(UnaryFn::Mish),
        _ => None,
    }
}

/// `√(2/π)·(x + 0.044715·x³)`, or with `x` taken out of the sum.
fn is_tanh_argument(r: &Rewriter<'_>, id: ValueId, x: ValueId) -> bool {
    const CUBIC: f32 = 0.044_715;
    let p = product(r, id, x);
    if !near(p.constant, 0.797_884_6) {
        return false;
    }
    let is_power = |id: ValueId, power: usize| {
        let p = product(r, id, x);
        near(p.constant, CUBIC) && p.factors.len() == power && p.factors.iter().all(|&f| f == x)
    };
    match p.factors[..] {
        [sum] => r.binary(sum, BinaryFn::Add).is_some_and(|s| orders(s).into_iter().any(|(a, b)| a == x && is_power(b, 3))),
        [a, b] => orders((a, b)).into_iter().any(|(y, sum)| y == x && plus_one(r, sum).is_some_and(|s| is_power(s, 2))),
        _ => false,
    }
}
