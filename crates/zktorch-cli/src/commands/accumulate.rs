use super::check_outputs;
use crate::args;
use crate::ui::{self, Ui, bytes, counted, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use std::time::Instant;
use zktorch::{Accumulated, ProvingKey, fold_as};

/// `zktorch accumulate`.
pub fn accumulate(args: &args::Accumulate, ui: &Ui) -> Result<Outcome, Failure> {
    check_outputs(&[("--output", args.output.as_deref()), ("--keep", args.keep.as_deref())])?;
    ui.phase("reading the key");
    let key = ProvingKey::read(&args.pk)?;
    let began = Instant::now();
    // Neighbours of equal size are folded as soon as both are there: few accumulators are in memory at a time.
    let mut stack: Vec<Accumulated> = Vec::new();
    for (k, path) in args.accumulators.iter().enumerate() {
        ui.phase(&format!("folding accumulator {} of {}", k + 1, args.accumulators.len()));
        let next = Accumulated::read(path)?;
        next.check(&key)?;
        stack.push(next);
        while let [.., left, right] = &stack[..]
            && left.leaves() <= right.leaves()
        {
            fold_last(&key, &mut stack)?;
        }
    }
    while stack.len() > 1 {
        fold_last(&key, &mut stack)?;
    }
    let Some(all) = stack.pop() else { return Ok(Outcome::Done) };
    let (inferences, leaves) = (all.inferences(), all.leaves());
    let kept = args.keep.as_ref().map(|path| all.write(path)).transpose()?;
    ui.phase("proving the accumulator");
    let written = args.output.as_ref().map(|path| all.decide(&key)?.write(path)).transpose()?;
    let elapsed = began.elapsed().as_secs_f64();
    ui.finish();
    ui.result(&json!({
        "inferences": inferences,
        "leaves": leaves,
        "seconds": elapsed,
        "proof_bytes": written,
        "accumulator_bytes": kept,
        "model_id": key.model_id().to_string(),
    }));
    ui.line(format!("folded {} ({}) in {}", ui::inferences(inferences), counted(leaves, "leaf", "leaves"), seconds(elapsed)));
    for (path, written) in [(&args.output, written), (&args.keep, kept)] {
        if let (Some(path), Some(written)) = (path, written) {
            ui.line(format!("wrote {} ({})", path.display(), bytes(written)));
        }
    }
    Ok(Outcome::Done)
}

fn fold_last(key: &ProvingKey, stack: &mut Vec<Accumulated>) -> Result<(), Failure> {
    if let (Some(right), Some(left)) = (stack.pop(), stack.pop()) {
        stack.push(fold_as(key, left, right, true)?);
    }
    Ok(())
}
