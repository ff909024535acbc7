//! Operators that read, write or find positions.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, DType, Data, Op, ReduceFn, Tensor, ValueId, eval_op};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "Gather" => own_axis(ctx, 0).and_then(|axis| ctx.emit_same(Op::Gather { axis })),
        "GatherElements" => own_axis(ctx, 0).and_then(|axis| ctx.emit_same(Op::GatherElements { axis })),
        "GatherND" => gather_nd(ctx),
        "Scatter" | "ScatterElements" => own_axis(ctx, 0).and_then(|axis| scatter(ctx, Some(axis))),
        "ScatterND" => scatter(ctx, None),
        "Compress" => compress(ctx),
        "OneHot" => one_hot(ctx),
        "ArgMax" | "ArgMin" => arg(ctx),
        "TopK" => top_k(ctx),
        "CumSum" => cum_sum(ctx),
        _ => return None,
    })
}

fn own_axis(ctx: &Ctx<'_>, default: i64) -> Result<usize, ImportError> {
    let rank = ctx.shape(ctx.input(0)?).len();
    ctx.axis(ctx.attrs.int("axis").unwrap_or(default), rank)
}

fn gather_nd(ctx: &mut Ctx<'_>) -> Lowered {
    let batch = ctx.attrs.int("batch_dims").unwrap_or(0);
    let batch_dims = usize::try_from(batch).map_err(|_| ctx.error(format!("batch_dims {batch}")))?;
    ctx.emit_same(Op::GatherNd { batch_dims })
}

/// Writes updates, or combines them with what is there. At constant positions, updates that meet at one position come one after the other.
fn scatter(ctx: &mut Ctx<'_>, axis: Option<usize>) -> Lowered {
    let function = match ctx.attrs.string("reduction") {
        Some("add") => BinaryFn::Add,
        Some("mul") => BinaryFn::Mul,
        Some("max") => BinaryFn::Max,
        Some("min") => BinaryFn::Min,
        _ => return ctx.emit_same(axis.map_or(Op::ScatterNd, |axis| Op::ScatterElements { axis })),
    };
    let (x, index, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if ctx.builder.graph.constant(index).is_none() {
        return match axis {
            Some(axis) => scatter_along(ctx, function, axis),
            None => scatter_slices(ctx, function),
        };
    }
    let (shape, own) = (ctx.shape(x), ctx.shape(updates));
    let count: usize = shape.iter().product();
    // Row-major position of each update: scatter the positions' own numbers the other way.
    let numbers = ctx.tensor(shape.clone(), Data::I64((0..count as i64).collect()))?;
    let indices = ctx.constant(1)?.cloned().ok_or_else(|| ctx.error("no positions"))?;
    let op = axis.map_or(Op::GatherNd { batch_dims: 0 }, |axis| Op::GatherElements { axis });
    let found = eval_op(&op, &[Some(&numbers), Some(&indices)]).map_err(|e| ctx.error(e.to_string()))?;
    let places = found.first().and_then(|t| t.as_i64().ok()).unwrap_or(&[]).to_vec();
    ctx.ensure(places.len() == own.iter().product::<usize>(), || format!("updates of shape {own:?}"))?;
    let mut rounds: Vec<(Vec<i64>, Vec<i64>)> = Vec::new();
    let mut met = vec![0usize; count];
    for (update, &place) in places.iter().enumerate() {
        let round = met[place as usize];
        met[place as usize] += 1;
        if rounds.len() == round {
            rounds.push((Vec::new(), Vec::new()));
        }
        rounds[round].0.push(place);
        rounds[round].1.push(update as i64);
    }
    let mut y = ctx.reshape(x, vec![count])?;
    let flat = ctx.reshape(updates, vec![places.len()])?;
    for (places, numbers) in rounds {
        let (places, numbers) = (ctx.literal(Tensor::ints(places)), ctx.literal(Tensor::ints(numbers)));
        let there = ctx.emit(Op::Gather { axis: 0 }, &[y, places])?;
        let new = ctx.emit(Op::Gather { axis: 0 }, &[flat, numbers])?;
        let both = ctx.binary(function, there, new)?;
        y = ctx.emit(Op::ScatterElements { axis: 0 }, &[y, places, both])?;
    }
    Ok(vec![ctx.reshape(y, shape)?])
}

/// Updates at computed positions along an axis, combined with what is there: `x[…, p] + Σ_j [I[…, j] = p]·u[…, j]`, or as [`combined`] says.
fn scatter_along(ctx: &mut Ctx<'_>, function: BinaryFn, axis: usize) -> Lowered {
    let (x, index, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (shape, own) = (ctx.shape(x), ctx.shape(index));
    let fits = own.len() == shape.len() && (0..shape.len()).all(|d| d == axis || own[d] == shape[d]);
    ctx.ensure(fits, || format!("computed positions of shape {own:?} for {shape:?}"))?;
    let mut perm: Vec<usize> = (0..shape.len()).filter(|&d| d != axis).collect();
    perm.push(axis);
    let mut back = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        back[from] = to;
    }
    let turn = |ctx: &mut Ctx<'_>, id| ctx.emit(Op::Transpose { perm: perm.clone() }, &[id]);
    let index = ctx.emit(Op::Position { size: shape[axis] }, &[index])?;
    let (place, updates) = (turn(ctx, index)?, turn(ctx, updates)?);
    let turned: Vec<usize> = perm.iter().map(|&d| shape[d]).collect();
    let mut row = ctx.shape(updates);
    row.insert(row.len() - 1, 1);
    let row = ctx.reshape(updates, row)?;
    if function != BinaryFn::Add {
        let there = turn(ctx, x)?;
        let column = ctx.reshape(there, [&turned[..], &[1]].concat())?;
        let y = combined(ctx, function, column, place, row, shape.len())?;
        let y = ctx.reshape(y, turned)?;
        return Ok(vec![ctx.emit(Op::Transpose { perm: back }, &[y])?]);
    }
    let values = switch(ctx, x)?;
    let hits = ctx.emit(Op::OneHot { axis: shape.len(), depth: shape[axis] }, &[place, values])?;
    let sums = ctx.emit(Op::MatMul, &[row, hits])?;
    let sums = ctx.reshape(sums, turned)?;
    let sums = ctx.emit(Op::Transpose { perm: back }, &[sums])?;
    Ok(vec![ctx.binary(BinaryFn::Add, x, sums)?])
}

/// Slices at computed index tuples, combined with what is there: `x[p, …] + Σ_j [I_j = p]·u[j, …]` with positions `p` in row-major order, or as
/// [`combined`] says.
fn scatter_slices(ctx: &mut Ctx<'_>, function: BinaryFn) -> Lowered {
    let (x, index, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (shape, own) = (ctx.shape(x), ctx.shape(index));
    let depth = own.last().copied().unwrap_or(0);
    ctx.ensure((1..=shape.len()).contains(&depth), || format!("index tuples of shape {own:?} for {shape:?}"))?;
    let count: usize = own[..own.len() - 1].iter().product();
    let (positions, inner): (usize, usize) = (shape[..depth].iter().product(), shape[depth..].iter().product());
    let tuples = ctx.reshape(index, vec![count, depth])?;
    let parts = ctx.emit_many(Op::Split { axis: 1, sizes: vec![1; depth] }, &[Some(tuples)])?;
    let mut place: Option<ValueId> = None;
    for (d, part) in parts.into_iter().enumerate() {
        let part = ctx.emit(Op::Position { size: shape[d] }, &[part])?;
        let pitch = ctx.literal(Tensor::ints(vec![shape[d + 1..depth].iter().product::<usize>() as i64]));
        let part = ctx.binary(BinaryFn::Mul, part, pitch)?;
        place = Some(match place {
            None => part,
            Some(before) => ctx.binary(BinaryFn::Add, before, part)?,
        });
    }
    let place = place.ok_or_else(|| ctx.error("no positions"))?;
    let place = ctx.reshape(place, vec![count])?;
    if function != BinaryFn::Add {
        let there = ctx.reshape(x, vec![positions, 1, inner])?;
        let updates = ctx.reshape(updates, vec![1, count, inner])?;
        let y = combined(ctx, function, there, place, updates, 1)?;
        return Ok(vec![ctx.reshape(y, shape)?]);
    }
    let values = switch(ctx, x)?;
    let hits = ctx.emit(Op::OneHot { axis: 0, depth: positions }, &[place, values])?;
    let updates = ctx.reshape(updates, vec![count, inner])?;
    let sums = ctx.emit(Op::MatMul, &[hits, updates])?;
    let sums = ctx.reshape(sums, shape)?;
    Ok(vec![ctx.binary(BinaryFn::Add, x, sums)?])
}

/// Most elements whose updates are chosen one by one: positions times updates.
const MOST_CHOICES: usize = 1 << 22;

/// `max(x_p, max_j (I_j = p ? u_j : x_p))`, likewise with minima, or `x_p·Π_j (I_j = p ? u_j : 1)`. `x` is `[…, n, 1]` or `[n, 1, inner]` with its axis of
/// size 1 at `axis`, along which the updates run, and which the positions `[…, m]` lack or end with.
fn combined(
    ctx: &mut Ctx<'_>,
    function: BinaryFn,
    x: ValueId,
    place: ValueId,
    updates: ValueId,
    axis: usize,
) -> Result<ValueId, ImportError> {
    let (shape, own) = (ctx.shape(x), ctx.shape(place));
    let (n, count) = (shape[axis - 1], own.last().copied().unwrap_or(0));
    let total = shape.iter().product::<usize>().saturating_mul(count);
    ctx.ensure((1..=MOST_CHOICES).contains(&total), || {
        format!("{count} updates at computed positions for {} elements", total / count.max(1))
    })?;
    let behind = shape.len() - 1 - axis;
    let place = ctx.reshape(place, [&own[..own.len() - 1], &[1, count], &vec![1; behind][..]].concat())?;
    let numbers = Tensor::new([&[n, 1][..], &vec![1; behind]].concat(), Data::I64((0..n as i64).collect()));
    let numbers = ctx.literal(numbers.map_err(|e| ctx.error(e.to_string()))?);
    let hit = ctx.binary(BinaryFn::Equal, place, numbers)?;
    let (other, reduce) = match function {
        BinaryFn::Max => (x, ReduceFn::Max),
        BinaryFn::Min => (x, ReduceFn::Min),
        _ => {
            let values = switch(ctx, x)?;
            (ctx.emit(Op::Slice { starts: vec![1], sizes: vec![1], steps: vec![1] }, &[values])?, ReduceFn::Prod)
        }
    };
    let chosen = ctx.emit(Op::Where, &[hit, updates, other])?;
    let all = ctx.emit(Op::Reduce { function: reduce, axes: vec![axis], keepdims: true }, &[chosen])?;
    ctx.binary(function, x, all)
}

/// Zero and one of the type of a tensor.
fn switch(ctx: &mut Ctx<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    Ok(match ctx.dtype(x) {
        DType::I64 => ctx.literal(Tensor::ints(vec![0, 1])),
        _ => {
            let values = ctx.tensor(vec![2], Data::F32(vec![0.0, 1.0].into()))?;
            ctx.literal(values)
        }
    })
}

/// Slices, or elements of the flat tensor, where a constant is true.
fn compress(ctx: &mut Ctx<'_>) -> Lowered {
    let mut x = ctx.input(0)?;
    let keep = ctx.constant(1)?.map(|t| t.to_f32_vec()).unwrap_or_default();
    let axis = match ctx.attrs.int("axis") {
        Some(_) => own_axis(ctx, 0)?,
        None => {
            let count = ctx.shape(x).iter().product();
            x = ctx.reshape(x, vec![count])?;
            0
        }
    };
    let size = ctx.shape(x)[axis];
    ctx.ensure(keep.len() <= size, || format!("{} truth values for {size} slices", keep.len()))?;
    let places = keep.iter().enumerate().filter(|(_, k)| **k != 0.0).map(|(i, _)| i as i64).collect();
    let places = ctx.literal(Tensor::ints(places));
    Ok(vec![ctx.emit(Op::Gather { axis }, &[x, places])?])
}

fn one_hot(ctx: &mut Ctx<'_>) -> Lowered {
    let (indices, values) = (ctx.input(0)?, ctx.input(2)?);
    let depth = ctx.const_floats(1)?.and_then(|v| v.first().copied()).unwrap_or(0.0);
    let depth = ctx.sizes(&[depth as i64], "depth")?[0];
    let rank = ctx.shape(indices).len();
    let indices = if ctx.dtype(indices) == DType::F32 { ctx.emit(Op::Cast { to: DType::I64 }, &[indices])? } else { indices };
    let axis = ctx.axis(ctx.attrs.int("axis").unwrap_or(-1), rank + 1)?;
    Ok(vec![ctx.emit(Op::OneHot { axis, depth }, &[indices, values])?])
}

fn arg(ctx: &mut Ctx<'_>) -> Lowered {
    let axis = own_axis(ctx, 0)?;
    let keepdims = ctx.attrs.int("keepdims").unwrap_or(1) != 0;
    let select_last_index = ctx.attrs.flag("select_last_index");
    ctx.emit_same(if ctx.kind() == "ArgMax" {
        Op::ArgMax { axis, keepdims, select_last_index }
    } else {
        Op::ArgMin { axis, keepdims, select_last_index }
    })
}

fn top_k(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let axis = own_axis(ctx, -1)?;
    let k = if ctx.opset < 10 { ctx.attrs.int("k") } else { ctx.const_int(1)? };
    let k = k.ok_or_else(|| ctx.error("k is missing"))?;
    let k = ctx.sizes(&[k], "k")?[0];
    let largest = ctx.attrs.int("largest").unwrap_or(1) != 0;
    // An unsorted result may come in any order, so the sorted one is right as well.
    ctx.emit_many(Op::TopK { axis, k, largest }, &[Some(x)])
}

fn cum_sum(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let axis = ctx.const_int(1)?.ok_or_else(|| ctx.error("the axis is missing"))?;
    let axis = ctx.axis(axis, ctx.shape(x).len())?;
    let x = if ctx.dtype(x) == DType::Bool { ctx.emit(Op::Cast { to: DType::I64 }, &[x])? } else { x };
    let (exclusive, reverse) = (ctx.attrs.flag("exclusive"), ctx.attrs.flag("reverse"));
    Ok(vec![ctx.emit(Op::CumSum { axis, exclusive, reverse }, &[x])?])
}
