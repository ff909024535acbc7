use super::prove::{extent, job_options, layouts_json, prove_all};
use crate::args;
use crate::process::{available_bytes, peak_rss_bytes};
use crate::ui::{Ui, bytes, seconds};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::time::Instant;
use zktorch::{JobOptions, Model, ProvingKey, Score, container};

/// `27 of 30 correct (90.00 %)`.
pub fn score_text(score: Score) -> String {
    format!("{} of {} correct ({:.2} %)", score.correct, score.of, score.percent())
}

/// `{name, correct, of}`.
pub fn score_json(score: Score) -> Value {
    json!({ "name": "top1", "correct": score.correct, "of": score.of })
}

/// What the flags ask for. One batch of a whole set may be large: without other wishes, it takes the memory that is free.
pub fn metric_options(split: &args::Split) -> JobOptions {
    let mut options = job_options(split);
    if options.memory.is_none() && options.segments.is_none() {
        options.memory = available_bytes();
    }
    options
}

/// `zktorch prove-metric`.
pub fn prove_metric(args: &args::ProveMetric, ui: &Ui) -> Result<Outcome, Failure> {
    container::check_writable(&args.output)?;
    ui.phase("reading the model and the key");
    let model = Model::read(&args.prover.model)?;
    let samples = model.read_labelled(&args.inputs, &args.labels)?;
    let key = ProvingKey::read(&args.prover.pk)?;
    let began = Instant::now();
    let plan = zktorch::plan_metric(&model, &key, samples.len(), &metric_options(&args.split))?;
    let (batches, leaves) = (plan.batches(), plan.leaves());
    let all = prove_all(&model, &key, &plan, &samples, ui)?;
    ui.phase("proving the accumulator");
    let proof = all.accumulated.decide(&key)?;
    let written = proof.write(&args.output)?;
    let elapsed = began.elapsed().as_secs_f64();
    ui.finish();
    let score = Score::of_outputs(&model, &all.outputs);
    let peak = peak_rss_bytes();
    ui.result(&json!({
        "inferences": samples.len(),
        "metric": score_json(score),
        "leaves": leaves,
        "batches": layouts_json(plan.layouts()),
        "proof_bytes": written,
        "prove_seconds": elapsed,
        "peak_rss_bytes": peak,
        "model_id": key.model_id().to_string(),
    }));
    ui.line(score_text(score));
    let memory = peak.map(|p| format!(", peak memory {}", bytes(p))).unwrap_or_default();
    ui.line(format!("proved {} in {}{memory}", extent(samples.len(), batches, leaves), seconds(elapsed)));
    if batches > 1 {
        ui.warn(format!("the proof shows the count of each of {batches} batches"));
    }
    ui.line(format!("wrote {} ({})", args.output.display(), bytes(written)));
    Ok(Outcome::Done)
}
