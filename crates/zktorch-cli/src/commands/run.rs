use super::{fidelity_json, fidelity_lines, preview, tensors_json};
use crate::args;
use crate::ui::Ui;
use crate::{Failure, Outcome};
use serde_json::json;
use std::path::Path;
use zktorch::{Model, OnnxModel, Tensor, container, tensors};

/// `zktorch run`.
pub fn run(args: &args::Run, ui: &Ui) -> Result<Outcome, Failure> {
    if let Some(path) = &args.output {
        container::check_writable(path)?;
    }
    let model = Model::read(&args.model)?;
    let inputs = model.read_inputs(&args.input)?;
    ui.phase("running the integer model");
    let outputs = model.run(&inputs)?.outputs;
    let fidelity = match &args.compare {
        Some(path) => {
            ui.phase("comparing");
            model.fidelity(&reference(path, &model, &inputs)?, &outputs)
        }
        None => Vec::new(),
    };
    let specs = model.outputs();
    let named = || specs.iter().map(|s| s.name.as_str()).zip(&outputs);
    if let Some(path) = &args.output {
        container::write_atomic(path, &tensors::encode_named(path, &named().collect::<Vec<_>>())?)?;
    }
    ui.finish();
    ui.result(&json!({ "outputs": tensors_json(named()), "fidelity": fidelity_json(&fidelity) }));
    for (name, tensor) in named() {
        ui.line(format!("{name} {:?} = {}", tensor.shape, preview(tensor)));
    }
    if let Some(path) = &args.compare {
        ui.line(format!("against {}:", path.display()));
        fidelity_lines(&fidelity, ui);
    }
    if let Some(path) = &args.output {
        ui.line(format!("wrote {}", path.display()));
    }
    Ok(Outcome::Done)
}

/// Reference outputs: of an ONNX model on the same inputs, or from a file.
fn reference(path: &Path, model: &Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
    if path.extension().is_some_and(|e| e == "onnx") {
        let onnx = OnnxModel::read_like(path, &model.inputs())?;
        let mut outputs = onnx.run(model.unlabelled(inputs))?;
        // A metric has the first output as its scores.
        outputs.truncate(if model.has_metric() { 1 } else { outputs.len() });
        return Ok(outputs);
    }
    Ok(tensors::bind(path, &model.outputs(), tensors::read_entries(path)?)?)
}
