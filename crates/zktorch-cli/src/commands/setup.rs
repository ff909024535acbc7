use super::check_outputs;
use crate::args;
use crate::ui::{Ui, bytes, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use zktorch::{Model, RangeProof, ReferenceString};

/// The reference string at `path`, or a development one of at least `size` powers, with a warning.
pub fn reference_string(path: Option<&Path>, size: usize, ui: &Ui) -> Result<(ReferenceString, bool), Failure> {
    if let Some(path) = path {
        ui.phase("reading and checking the reference string");
        let srs = ReferenceString::read(path)?;
        srs.check(path)?;
        return Ok((srs, false));
    }
    ui.phase("preparing a development reference string");
    let development = ReferenceString::development(size)?;
    ui.finish();
    let origin = if development.fresh { "was generated on this machine" } else { "comes from this machine's cache" };
    ui.warn(format!(
        "for development only: the reference string {origin} ({}). Whoever generated it can forge proofs; use one from a ceremony with --srs",
        development.path.display()
    ));
    Ok((development.srs, true))
}

/// `zktorch setup`.
pub fn setup(args: &args::Setup, ui: &Ui) -> Result<Outcome, Failure> {
    check_outputs(&[("--pk", Some(&args.pk)), ("--vk", Some(&args.vk)), ("--prove-ranges", args.prove_ranges.as_deref())])?;
    ui.phase("reading the model");
    let model = Model::read(&args.model)?;
    let (srs, development) = reference_string(args.srs.as_deref(), model.required_srs_size()?, ui)?;
    ui.phase("committing to the weights");
    let began = Instant::now();
    let (pk, vk) = zktorch::setup(&model, &srs)?;
    let elapsed = began.elapsed().as_secs_f64();
    let ranges = match &args.prove_ranges {
        Some(_) => {
            ui.phase("proving that the weights are small");
            Some(RangeProof::make(&model, &pk, &mut |_| {})?)
        }
        None => None,
    };
    let (pk_bytes, vk_bytes) = zktorch::write_keys((&pk, &args.pk), (&vk, &args.vk))?;
    let mut ranges_bytes = None;
    if let (Some(proof), Some(path)) = (ranges, &args.prove_ranges) {
        ranges_bytes = Some(proof.write(path)?);
    }
    ui.finish();
    ui.result(&json!({
        "model_id": vk.model_id().to_string(),
        "setup_seconds": elapsed,
        "pk_bytes": pk_bytes,
        "vk_bytes": vk_bytes,
        "ranges_bytes": ranges_bytes,
        "srs_size": pk.srs_size(),
        "development_srs": development,
    }));
    ui.line(format!("model id {}", vk.model_id()));
    ui.line(format!("wrote {} ({}): for whoever proves; keep it as secret as the weights", args.pk.display(), bytes(pk_bytes)));
    ui.line(format!("wrote {} ({}): for everybody", args.vk.display(), bytes(vk_bytes)));
    if let (Some(n), Some(path)) = (ranges_bytes, &args.prove_ranges) {
        ui.line(format!("wrote {} ({}): for whoever does not trust you with the key", path.display(), bytes(n)));
    }
    ui.line(format!("done in {}", seconds(elapsed)));
    Ok(Outcome::Done)
}
