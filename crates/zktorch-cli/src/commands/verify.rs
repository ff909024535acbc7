use super::{hex, preview, visibility_name};
use crate::args;
use crate::ui::{Ui, error_json, seconds};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::time::Instant;
use zktorch::{ModelId, Phases, Proof, RangeProof, Rejection, Statement, StatementTensor, VerifyingKey};

/// `zktorch verify`.
pub fn verify(args: &args::Verify, ui: &Ui) -> Result<Outcome, Failure> {
    if let Some(id) = &args.model_id
        && !(16..=64).contains(&id.len()) | !id.chars().all(|c| c.is_ascii_hexdigit())
    {
        return Err(Failure::Usage {
            code: "E0903",
            message: format!("'{id}' is not a model id"),
            help: "a model id has 64 hexadecimal digits; the first 16 or more of them will do".to_owned(),
        });
    }
    let key = VerifyingKey::read(&args.vk)?;
    let began = Instant::now();
    let result = checked(args, &key)?;
    let elapsed = began.elapsed().as_secs_f64();
    match result {
        Ok((statements, phases)) => {
            // Public tensors are large: they become JSON only where it is asked for.
            if ui.json {
                let mut accepted = accepted_json(&statements, &key, elapsed);
                accepted["phases"] = phases.iter().map(|(name, time)| ((*name).to_owned(), json!(time.as_secs_f64()))).collect();
                if let Some(score) = zktorch::score(key.info(), &statements) {
                    accepted["metric"] = super::prove_metric::score_json(score);
                }
                ui.result(&accepted);
            }
            for (k, statement) in statements.iter().enumerate() {
                if statements.len() > 1 {
                    ui.line(format!("{} of {}:", k + 1, statements.len()));
                }
                for line in statement_lines(statement, &key) {
                    ui.line(line);
                }
            }
            if let Some(score) = zktorch::score(key.info(), &statements) {
                ui.line(super::prove_metric::score_text(score));
            }
            if args.ranges.is_some() {
                ui.line("the committed weights are integers within the bounds that the key declares");
            }
            ui.line(format!("verified in {}", seconds(elapsed)));
            if ui.verbose {
                for (name, time) in &phases {
                    ui.line(format!("  {:>9}  {name}", seconds(time.as_secs_f64())));
                }
            }
            Ok(Outcome::Done)
        }
        Err(rejection) => {
            let (code, message, help) = (rejection.code(), rejection.to_string(), rejection.help());
            if ui.json {
                ui.result(&rejected_json(&rejection, key.model_id(), elapsed));
            } else {
                ui.error(code, &format!("the proof is rejected: {message}"), help.as_deref());
            }
            Ok(Outcome::Rejected)
        }
    }
}

/// What a valid proof shows, and the time of each step.
type Timed = (Vec<Statement>, Phases);

/// The statement, or why not. A file that cannot be read at all, or is no proof, is the caller's mistake and not a rejection.
fn checked(args: &args::Verify, key: &VerifyingKey) -> Result<Result<Timed, Rejection>, Failure> {
    let began = Instant::now();
    let proof = match Proof::read(&args.proof) {
        Ok(proof) => proof,
        Err(e) if e.is_defective_content() => return Ok(Err(Rejection::File(e))),
        Err(e) => return Err(e.into()),
    };
    if let Some(trusted) = &args.model_id
        && !key.model_id().matches(trusted)
    {
        return Ok(Err(Rejection::NotTrusted { expected: trusted.clone(), got: key.model_id().to_string() }));
    }
    let mut before = vec![("reading", began.elapsed())];
    if let Some(path) = &args.ranges {
        let began = Instant::now();
        let ranges = match RangeProof::read(path) {
            Ok(ranges) => ranges,
            Err(e) if e.is_defective_content() => return Ok(Err(Rejection::File(e))),
            Err(e) => return Err(e.into()),
        };
        if let Err(rejection) = ranges.verify(key) {
            return Ok(Err(rejection));
        }
        before.push(("range proof", began.elapsed()));
    }
    Ok(zktorch::verify_timed(key, &proof).map(|(statements, phases)| (statements, before.into_iter().chain(phases).collect())))
}

/// What is known after verification, in sentences.
pub fn statement_lines(statement: &Statement, key: &VerifyingKey) -> Vec<String> {
    let source = &key.info().source;
    let mut lines = vec![
        "It is proved that whoever made the proof ran".to_owned(),
        format!("  model {} ('{source}', weights private)", statement.model_id),
    ];
    if statement.inferences > 1 {
        lines.push(format!("  {} times", statement.inferences));
    }
    for (what, tensors) in [("on input", &statement.inputs), ("giving output", &statement.outputs)] {
        for tensor in tensors {
            lines.push(format!("  {what} {}", tensor_text(tensor)));
        }
    }
    lines
}

fn tensor_text(tensor: &StatementTensor) -> String {
    let summed = if tensor.summed { "the sum of all " } else { "" };
    let head = format!("{summed}{} {:?}", tensor.info.name, tensor.info.shape);
    match (&tensor.value, &tensor.commitment) {
        (Some(value), _) => format!("{head} = {}", preview(value)),
        (None, Some(commitment)) => format!("{head}, committed as {}", hex(commitment)),
        (None, None) => format!("{head}, private"),
    }
}

/// One inference stands by itself; several are listed under `statements`.
fn accepted_json(statements: &[Statement], key: &VerifyingKey, elapsed: f64) -> Value {
    if let [statement] = statements {
        return statement_json(statement, elapsed);
    }
    let parts = statements.iter().map(|s| {
        let mut one = statement_json(s, elapsed);
        json!({ "statement": one["statement"].take(), "outputs": one["outputs"].take() })
    });
    json!({
        "verified": true,
        "verify_seconds": elapsed,
        "model_id": key.model_id().to_string(),
        "statements": parts.collect::<Vec<_>>(),
        "error": null,
    })
}

fn statement_json(statement: &Statement, elapsed: f64) -> Value {
    let public =
        |tensors: &[StatementTensor]| super::tensors_json(tensors.iter().filter_map(|t| Some((t.info.name.as_str(), t.value.as_ref()?))));
    let described = |tensors: &[StatementTensor]| -> Value {
        tensors
            .iter()
            .map(|t| {
                let mut value = json!({ "visibility": visibility_name(t.info.visibility), "shape": t.info.shape, "scale": t.info.scale });
                if let Some(v) = &t.value {
                    value["values"] = zktorch::tensors::json_values(v);
                }
                if t.summed {
                    value["summed"] = json!(true);
                }
                if let Some(c) = &t.commitment {
                    value["commitment"] = json!(hex(c));
                }
                (t.info.name.clone(), value)
            })
            .collect()
    };
    json!({
        "verified": true,
        "verify_seconds": elapsed,
        "model_id": statement.model_id.to_string(),
        "statement": {
            "parameters": "private",
            "inferences": statement.inferences,
            "inputs": described(&statement.inputs),
            "outputs": described(&statement.outputs),
        },
        "outputs": public(&statement.outputs),
        "error": null,
    })
}

fn rejected_json(rejection: &Rejection, id: ModelId, elapsed: f64) -> Value {
    json!({
        "verified": false,
        "verify_seconds": elapsed,
        "model_id": id.to_string(),
        "statement": null,
        "outputs": {},
        "error": error_json(rejection.code(), &rejection.to_string(), rejection.help().as_deref()),
    })
}
