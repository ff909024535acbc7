use super::{check_outputs, phase_text, preview, visibility_name};
use crate::args;
use crate::process::{available_bytes, peak_rss_bytes};
use crate::ui::{self, Ui, bytes, counted, seconds};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use zktorch::{JobOptions, Layout, Model, Plan, ProvedAll, ProvingKey, Tensor, container};

/// `zktorch prove`.
pub fn prove(args: &args::Prove, ui: &Ui) -> Result<Outcome, Failure> {
    check_outputs(&[("--output", args.output.as_deref()), ("--accumulator", args.accumulator.as_deref())])?;
    match (&args.inputs.input, &args.output) {
        (Some(input), Some(output))
            if args.accumulator.is_none() && args.split.batch.is_none() && args.split.segments.is_none() && args.split.memory.is_none() =>
        {
            prove_one(args, input, output, ui)
        }
        _ => prove_many(args, ui),
    }
}

/// One inference in one piece.
fn prove_one(args: &args::Prove, input: &Path, output: &Path, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("reading the model and the key");
    let read = || -> Result<_, Failure> {
        let model = Model::read(&args.prover.model)?;
        let inputs = model.read_inputs(input)?;
        Ok((model, inputs))
    };
    let (read, key) = rayon::join(read, || ProvingKey::read(&args.prover.pk));
    let ((model, inputs), key) = (read?, key?);
    let link = args.link.as_deref().map(link_secret).transpose()?;
    let began = Instant::now();
    let proved = zktorch::prove_linked(&model, &key, &inputs, link.as_ref(), &mut |phase| ui.phase(phase_text(phase)))?;
    let elapsed = began.elapsed().as_secs_f64();
    let written = proved.proof.write(output)?;
    ui.finish();
    let phases: serde_json::Map<_, _> = proved.phases.iter().map(|(n, t)| ((*n).to_owned(), json!(t.as_secs_f64()))).collect();
    let peak = peak_rss_bytes();
    ui.result(&json!({
        "proof_bytes": written,
        "prove_seconds": elapsed,
        "peak_rss_bytes": peak,
        "model_id": key.model_id().to_string(),
        "phases": phases,
    }));
    for (info, tensor) in key.verifying_key().info().outputs.iter().zip(&proved.outputs) {
        ui.line(format!("{} output {} {:?} = {}", visibility_name(info.visibility), info.name, info.shape, preview(tensor)));
    }
    let memory = peak.map(|p| format!(", peak memory {}", bytes(p))).unwrap_or_default();
    ui.line(format!("proved in {}{memory}", seconds(elapsed)));
    ui.line(format!("wrote {} ({})", output.display(), bytes(written)));
    Ok(Outcome::Done)
}

/// What the flags ask for.
pub fn job_options(split: &args::Split) -> JobOptions {
    let (segments, memory) = match split.segments {
        Some(args::Segments::Count(n)) => (Some(n), None),
        Some(args::Segments::Auto) => (None, available_bytes()),
        None => (None, split.memory),
    };
    JobOptions { batch: split.batch.map(|b| b as usize), segments, memory }
}

/// One inference's inputs, or those of many.
pub fn read_inputs(model: &Model, inputs: &args::Inputs) -> Result<Vec<Vec<Tensor>>, Failure> {
    match (&inputs.inputs, &inputs.input) {
        (Some(path), _) => Ok(model.read_many(path)?),
        (None, Some(path)) => Ok(vec![model.read_inputs(path)?]),
        (None, None) => Ok(Vec::new()),
    }
}

/// Proves all leaves and folds them, behind a progress bar.
pub fn prove_all(model: &Model, key: &ProvingKey, plan: &Plan, inputs: &[Vec<Tensor>], ui: &Ui) -> Result<ProvedAll, Failure> {
    ui.bar("proving and folding", (2 * plan.leaves()).saturating_sub(1) as u64);
    let bar = ui.counter();
    Ok(zktorch::prove_all(model, key, plan, inputs, &|done| bar.set((done.leaves + done.folds) as u64))?)
}

/// `4 inferences in 1 batch, 3 leaves`.
pub fn extent(inferences: usize, batches: usize, leaves: usize) -> String {
    let (batches, leaves) = (counted(batches, "batch", "batches"), counted(leaves, "leaf", "leaves"));
    format!("{} in {batches}, {leaves},", ui::inferences(inferences))
}

/// The batches of a plan.
pub fn layouts_json<'a>(layouts: impl Iterator<Item = &'a Layout>) -> Value {
    layouts.map(|l| json!({ "inferences": l.inferences, "segments": l.segments })).collect()
}

/// Says that the model cannot be cut as often as it was asked for.
fn warn_of_fewer_segments(split: &args::Split, plan: &Plan, ui: &Ui) {
    let Some(args::Segments::Count(asked)) = split.segments else { return };
    if let Some(least) = (0..plan.batches()).map(|b| plan.segments(b)).min().filter(|least| *least < asked) {
        ui.warn(format!("{} instead of {asked}: there are no more places to cut the model", counted(least, "segment", "segments")));
    }
}

/// Many inferences, or segments, or both.
fn prove_many(args: &args::Prove, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("reading the model and the key");
    let model = Model::read(&args.prover.model)?;
    let inputs = read_inputs(&model, &args.inputs)?;
    let key = ProvingKey::read(&args.prover.pk)?;
    let began = Instant::now();
    let plan = Plan::new(&model, inputs.len(), &[], &job_options(&args.split))?;
    let leaves = plan.leaves();
    warn_of_fewer_segments(&args.split, &plan, ui);
    let all = prove_all(&model, &key, &plan, &inputs, ui)?;
    let accumulator_bytes = args.accumulator.as_ref().map(|path| all.accumulated.write(path)).transpose()?;
    ui.phase("proving the accumulator");
    let proof_bytes = args.output.as_ref().map(|path| all.accumulated.decide(&key)?.write(path)).transpose()?;
    let elapsed = began.elapsed().as_secs_f64();
    ui.finish();
    let peak = peak_rss_bytes();
    ui.result(&json!({
        "inferences": inputs.len(),
        "leaves": leaves,
        "batches": layouts_json(plan.layouts()),
        "proof_bytes": proof_bytes,
        "accumulator_bytes": accumulator_bytes,
        "prove_seconds": elapsed,
        "peak_rss_bytes": peak,
        "model_id": key.model_id().to_string(),
    }));
    for (k, outputs) in all.outputs.iter().enumerate().take(MOST_LISTED) {
        for (info, tensor) in key.verifying_key().info().outputs.iter().zip(outputs) {
            let which = if inputs.len() > 1 { format!("{k}: ") } else { String::new() };
            ui.line(format!("{which}{} output {} {:?} = {}", visibility_name(info.visibility), info.name, info.shape, preview(tensor)));
        }
    }
    if inputs.len() > MOST_LISTED {
        ui.line(format!("… and {} more", inputs.len() - MOST_LISTED));
    }
    let memory = peak.map(|p| format!(", peak memory {}", bytes(p))).unwrap_or_default();
    ui.line(format!("proved {} in {}{memory}", extent(inputs.len(), plan.batches(), leaves), seconds(elapsed)));
    for (path, written) in [(&args.output, proof_bytes), (&args.accumulator, accumulator_bytes)] {
        if let (Some(path), Some(written)) = (path, written) {
            ui.line(format!("wrote {} ({})", path.display(), bytes(written)));
        }
    }
    Ok(Outcome::Done)
}

/// Inferences whose outputs are printed.
const MOST_LISTED: usize = 8;

/// The secret that links proofs: a hash of the file.
fn link_secret(path: &Path) -> Result<[u8; 32], Failure> {
    let bytes = container::read(path)?;
    zktorch::link_key(&bytes).ok_or_else(|| Failure::Usage {
        code: "E0908",
        message: format!("{} has {} bytes, too few for a secret", path.display(), bytes.len()),
        help: "make one: head -c 32 /dev/urandom > link.secret".to_owned(),
    })
}
