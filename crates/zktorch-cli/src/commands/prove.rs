use super::{phase_text, preview, visibility_name};
use crate::args;
use crate::process::peak_rss_bytes;
use crate::ui::{Ui, bytes, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use zktorch::{Model, ProvingKey, container};

/// `zktorch prove`.
pub fn prove(args: &args::Prove, ui: &Ui) -> Result<Outcome, Failure> {
    container::check_writable(&args.output)?;
    ui.phase("reading the model and the key");
    let model = Model::read(&args.model)?;
    let inputs = model.read_inputs(&args.input)?;
    let key = ProvingKey::read(&args.pk)?;
    let link = args.link.as_deref().map(link_secret).transpose()?;
    let began = Instant::now();
    let proved = zktorch::prove_linked(&model, &key, &inputs, link.as_ref(), &mut |phase| ui.phase(phase_text(phase)))?;
    let elapsed = began.elapsed().as_secs_f64();
    let written = proved.proof.write(&args.output)?;
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
    ui.line(format!("wrote {} ({})", args.output.display(), bytes(written)));
    Ok(Outcome::Done)
}

/// The secret that links proofs: a hash of the file.
fn link_secret(path: &Path) -> Result<[u8; 32], Failure> {
    let bytes = container::read(path)?;
    zktorch::link_key(&bytes).ok_or_else(|| Failure::Usage {
        code: "E0908",
        message: format!("{} has {} bytes, too few for a secret", path.display(), bytes.len()),
        help: "make one: head -c 32 /dev/urandom > link.secret".to_owned(),
    })
}
