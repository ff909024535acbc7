use super::verify::statement_lines;
use super::{fidelity_lines, phase_text, setup};
use crate::args;
use crate::process::peak_rss_bytes;
use crate::ui::{Ui, bytes, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use zktorch::{FileError, Model, OnnxModel, Options, Proof, ProvingKey, VerifyingKey, container};

const ONNX: &[u8] = include_bytes!("../../assets/digits_conv.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../assets/digits_calibration.npz");
const INPUT: &[u8] = include_bytes!("../../assets/digits_input.npz");

/// The demonstration's files.
struct Files {
    onnx: PathBuf,
    calibration: PathBuf,
    input: PathBuf,
    model: PathBuf,
    pk: PathBuf,
    vk: PathBuf,
    proof: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Files {
        Files {
            onnx: dir.join("digits.onnx"),
            calibration: dir.join("calibration.npz"),
            input: dir.join("input.npz"),
            model: dir.join("digits.zkt"),
            pk: dir.join("digits.pk"),
            vk: dir.join("digits.vk"),
            proof: dir.join("proof.bin"),
        }
    }

    fn described(&self) -> [(&'static str, &Path, &'static str); 7] {
        [
            ("model", &self.onnx, "the trained network, as ONNX"),
            ("calibration", &self.calibration, "64 images; integer scales are chosen by their values"),
            ("input", &self.input, "the image to classify"),
            ("compiled", &self.model, "integers and equations, with the weights: private"),
            ("proving_key", &self.pk, "for whoever proves: private"),
            ("verifying_key", &self.vk, "for everybody who verifies"),
            ("proof", &self.proof, "the proof with its input and output: send this"),
        ]
    }
}

/// `zktorch demo`. Every step goes through its file, as the separate commands do.
pub fn demo(args: &args::Demo, ui: &Ui) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir).map_err(|source| FileError::Write { file: dir.clone(), source })?;
    let files = Files::new(dir);
    for (path, content) in [(&files.onnx, ONNX), (&files.calibration, CALIBRATION), (&files.input, INPUT)] {
        container::write_atomic(path, content)?;
    }
    ui.line("A convolutional network with 3,658 weights reads a handwritten digit. The weights stay private.");

    ui.phase("compiling");
    let onnx = OnnxModel::read(&files.onnx, &Default::default())?;
    let model = onnx.compile(&Options { calibration: vec![files.calibration.clone()], ..Options::default() })?;
    model.write(&files.model)?;
    let report = &model.compiled().report;
    ui.line(format!("1. compile: {} cells, {} lookups", report.cells, report.lookups));
    let sample = model.read_inputs(&files.input)?;
    fidelity_lines(&onnx.fidelity(&model, std::slice::from_ref(&sample))?, ui);

    let (srs, _) = setup::reference_string(None, model.required_srs_size()?, ui)?;
    ui.phase("setting up");
    let (pk, vk) = zktorch::setup(&model, &srs)?;
    zktorch::write_keys((&pk, &files.pk), (&vk, &files.vk))?;
    ui.line(format!("2. setup: model id {}", vk.model_id()));

    let (model, pk) = (Model::read(&files.model)?, ProvingKey::read(&files.pk)?);
    let inputs = model.read_inputs(&files.input)?;
    let began = Instant::now();
    let proved = zktorch::prove(&model, &pk, &inputs, &mut |phase| ui.phase(phase_text(phase)))?;
    let prove_seconds = began.elapsed().as_secs_f64();
    let proof_bytes = proved.proof.write(&files.proof)?;
    ui.line(format!("3. prove: {}, {}", seconds(prove_seconds), bytes(proof_bytes)));

    ui.phase("verifying");
    let vk = VerifyingKey::read(&files.vk)?;
    let began = Instant::now();
    let result = zktorch::verify(&vk, &Proof::read(&files.proof)?);
    let verify_seconds = began.elapsed().as_secs_f64();
    let statement = match result {
        Ok(statement) => statement,
        Err(rejection) => {
            ui.error(rejection.code(), &format!("the proof is rejected: {rejection}"), rejection.help().as_deref());
            return Ok(Outcome::Rejected);
        }
    };
    ui.line(format!("4. verify: {}", seconds(verify_seconds)));
    for line in statement_lines(&statement, &vk) {
        ui.line(line);
    }
    let digit = statement.outputs.first().and_then(|o| o.value.as_ref()).map(|v| largest(&v.to_f32_vec()));
    if let Some(digit) = digit {
        ui.line(format!("The image shows a {digit}."));
    }
    ui.line("");
    ui.line("Files:");
    for (_, path, words) in files.described() {
        ui.line(format!("  {:<32} {words}", path.display().to_string()));
    }
    ui.line("Try:");
    ui.line(format!("  zktorch verify {} --vk {}", files.proof.display(), files.vk.display()));
    ui.line(format!("  zktorch inspect {}", files.vk.display()));
    ui.result(&json!({
        "verified": true,
        "model_id": vk.model_id().to_string(),
        "digit": digit,
        "prove_seconds": prove_seconds,
        "verify_seconds": verify_seconds,
        "proof_bytes": proof_bytes,
        "peak_rss_bytes": peak_rss_bytes(),
        "files": files.described().into_iter().map(|(name, path, _)| (name.to_owned(), json!(path))).collect::<serde_json::Map<_, _>>(),
    }));
    Ok(Outcome::Done)
}

fn largest(values: &[f32]) -> usize {
    let best = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(i, _)| i)
}
