//! Recurrent layers.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{Direction, Op, RnnActivation, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    match ctx.kind() {
        "LSTM" | "GRU" | "RNN" => Some(recurrent(ctx)),
        _ => None,
    }
}

fn recurrent(ctx: &mut Ctx<'_>) -> Lowered {
    let direction = match ctx.attrs.string("direction") {
        Some("reverse") => Direction::Reverse,
        Some("bidirectional") => Direction::Bidirectional,
        _ => Direction::Forward,
    };
    let hidden = hidden(ctx)?;
    let clip = ctx.attrs.float("clip").filter(|&c| c > 0.0);
    let (names, states): (&[RnnActivation], &[usize]) = match ctx.kind() {
        "LSTM" => (&[RnnActivation::Sigmoid, RnnActivation::Tanh, RnnActivation::Tanh], &[5, 6]),
        "GRU" => (&[RnnActivation::Sigmoid, RnnActivation::Tanh], &[5]),
        _ => (&[RnnActivation::Tanh], &[5]),
    };
    let activations = activations(ctx, direction, names)?;
    sequence_lengths(ctx)?;
    let mut inputs: Vec<Option<ValueId>> = (0..8).map(|i| ctx.opt(i)).collect();
    inputs.truncate(ctx.inputs.len());
    if let Some(lengths) = inputs.get_mut(4) {
        *lengths = None;
    }
    // Layout 1 has the batch first in X, Y and the states.
    let batch_first = ctx.attrs.flag("layout");
    if batch_first {
        for &i in [0].iter().chain(states) {
            if let Some(Some(id)) = inputs.get(i).copied() {
                inputs[i] = Some(ctx.emit(Op::Transpose { perm: vec![1, 0, 2] }, &[id])?);
            }
        }
    }
    let op = match ctx.kind() {
        "LSTM" => Op::Lstm {
            direction,
            hidden,
            activations: activations.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect(),
            clip,
            input_forget: ctx.attrs.flag("input_forget"),
        },
        "GRU" => Op::Gru {
            direction,
            hidden,
            activations: activations.chunks_exact(2).map(|c| [c[0], c[1]]).collect(),
            clip,
            linear_before_reset: ctx.attrs.flag("linear_before_reset"),
        },
        _ => Op::Rnn { direction, hidden, activations, clip },
    };
    let mut outputs = ctx.emit_many(op, &inputs)?;
    if batch_first {
        for (i, id) in outputs.iter_mut().enumerate() {
            let perm = if i == 0 { vec![2, 0, 1, 3] } else { vec![1, 0, 2] };
            *id = ctx.emit(Op::Transpose { perm }, &[*id])?;
        }
    }
    Ok(outputs)
}

/// The hidden size, which the recurrent weights tell as well.
fn hidden(ctx: &Ctx<'_>) -> Result<usize, ImportError> {
    let weights = ctx.shape(ctx.input(2)?);
    let own = *weights.last().ok_or_else(|| ctx.error("the recurrent weights are a scalar"))?;
    if let Some(given) = ctx.attrs.int("hidden_size") {
        ctx.ensure(given == own as i64, || format!("hidden_size {given}, but the weights have shape {weights:?}"))?;
    }
    Ok(own)
}

fn activations(ctx: &Ctx<'_>, direction: Direction, default: &[RnnActivation]) -> Result<Vec<RnnActivation>, ImportError> {
    let count = default.len() * direction.count();
    let Some(names) = ctx.attrs.strings("activations") else {
        return Ok(default.iter().copied().cycle().take(count).collect());
    };
    ctx.ensure(names.len() == count, || format!("{} activations, expected {count}", names.len()))?;
    let known = |name: &str| match name {
        "Sigmoid" => Ok(RnnActivation::Sigmoid),
        "Tanh" => Ok(RnnActivation::Tanh),
        "Relu" => Ok(RnnActivation::Relu),
        _ => Err(ctx.error(format!("activation '{name}' is not supported"))),
    };
    names.into_iter().map(known).collect()
}

/// Sequence lengths are accepted only where they are all the full length.
fn sequence_lengths(ctx: &Ctx<'_>) -> Result<(), ImportError> {
    let Some(lengths) = ctx.const_ints(4)? else { return Ok(()) };
    let shape = ctx.shape(ctx.input(0)?);
    let steps = shape.get(usize::from(ctx.attrs.flag("layout"))).copied().unwrap_or(0) as i64;
    ctx.ensure(lengths.iter().all(|&l| l == steps), || {
        format!("sequence lengths {lengths:?} other than the full {steps} are not supported")
    })
}
