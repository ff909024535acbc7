//! A proof by many machines: `plan`, `work`, `join`.

use super::prove::{job_options, layouts_json, read_inputs};
use super::prove_metric::metric_options;
use crate::args;
use crate::ui::{self, Ui, bytes, counted, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use zktorch::{Claims, FileError, JobDir, Model, Task, TaskState, Worker, container};

/// How often a worker looks for results of others.
const POLL: Duration = Duration::from_millis(100);

/// `zktorch plan`.
pub fn plan(args: &args::Plan, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("reading the model and the inputs");
    let model = Model::read(&args.prover.model)?;
    let args::ModelWithKey { model: model_file, pk } = &args.prover;
    let (inputs, job) = match (&args.inputs.inputs, &args.labels) {
        (Some(path), Some(labels)) => {
            let inputs = model.read_labelled(path, labels)?;
            drop(model);
            ui.phase("planning");
            let job = JobDir::create_metric(&args.output, model_file, pk, &inputs, &metric_options(&args.split))?;
            (inputs, job)
        }
        _ => {
            let inputs = read_inputs(&model, &args.inputs)?;
            drop(model);
            ui.phase("planning");
            let job = JobDir::create(&args.output, model_file, pk, &inputs, &job_options(&args.split))?;
            (inputs, job)
        }
    };
    ui.finish();
    let tasks: Vec<String> = job.tasks().iter().map(Task::to_string).collect();
    let dir = job.path().display();
    ui.result(&json!({ "job": dir.to_string(), "inferences": inputs.len(), "batches": layouts_json(job.layouts()), "tasks": tasks }));
    let batches = counted(job.layouts().count(), "batch", "batches");
    ui.line(format!("planned {} in {batches}: {} tasks", ui::inferences(inputs.len()), tasks.len()));
    ui.line(format!("{dir} holds the weights, the inputs and a secret: keep it as secret as these"));
    ui.line(format!("on every machine: zktorch work {dir} --all; then: zktorch join {dir} -o PROOF"));
    Ok(Outcome::Done)
}

/// `zktorch work`.
pub fn work(args: &args::Work, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("reading the job");
    let job = JobDir::open(&args.job)?;
    let asked = args.task.as_deref().map(|name| job.task(name)).transpose()?;
    let worker = Worker::new(job)?;
    let total = worker.job().tasks().len();
    let mut made = Vec::new();
    let finished = match asked {
        Some(task) => {
            ui.phase(&task.to_string());
            if worker.run(task)? {
                made.push(task.to_string());
            }
            None
        }
        None => Some(work_all(&worker, args, ui, &mut made)?),
    };
    ui.finish();
    ui.result(&json!({ "made": made, "tasks": total, "finished": finished }));
    match (made.len(), asked) {
        (0, Some(task)) => ui.line(format!("{task}: its result is there already")),
        (_, Some(task)) => ui.line(format!("{task}: done")),
        (n, None) => ui.line(format!("did {n} of {total} tasks")),
    }
    if finished == Some(true) {
        let dir = args.job.display();
        ui.line(format!("all tasks are done: zktorch join {dir} -o PROOF"));
    }
    Ok(Outcome::Done)
}

/// Runs what is ready until nothing is left, or as many tasks as asked for. Returns whether all tasks are done.
fn work_all(worker: &Worker, args: &args::Work, ui: &Ui, made: &mut Vec<String>) -> Result<bool, Failure> {
    let limit = args.next.map_or(usize::MAX, |n| n as usize);
    let mut claims = Claims::new(worker.job().path(), Duration::from_secs(args.claim_timeout));
    let failed = |source| FileError::Write { file: args.job.join("claims"), source };
    // Results that this process has seen intact: they are not read again and again.
    let mut done: HashSet<Task> = HashSet::new();
    loop {
        let mut progress = false;
        for &task in worker.job().tasks() {
            if done.contains(&task) {
                continue;
            }
            if made.len() >= limit {
                return Ok(false);
            }
            match worker.state(task)? {
                TaskState::Waiting => continue,
                TaskState::Done => progress = done.insert(task),
                TaskState::Ready => {
                    let Some(claim) = claims.take(task).map_err(failed)? else { continue };
                    ui.phase(&task.to_string());
                    // Another worker may have finished it before it was claimed.
                    if worker.run(task)? {
                        made.push(task.to_string());
                    }
                    drop(claim);
                    progress = done.insert(task);
                }
            }
        }
        if done.len() == worker.job().tasks().len() {
            return Ok(true);
        }
        if !progress {
            ui.phase("waiting for other workers");
            std::thread::sleep(POLL);
        }
    }
}

/// `zktorch join`.
pub fn join(args: &args::Join, ui: &Ui) -> Result<Outcome, Failure> {
    container::check_writable(&args.output)?;
    ui.phase("reading the job");
    let worker = Worker::new(JobDir::open(&args.job)?)?;
    let began = Instant::now();
    let proof = worker.join(&mut |phase| ui.phase(phase))?;
    let written = proof.write(&args.output)?;
    let elapsed = began.elapsed().as_secs_f64();
    ui.finish();
    let inferences = proof.inferences();
    ui.result(&json!({
        "inferences": inferences,
        "tasks": worker.job().tasks().len(),
        "seconds": elapsed,
        "proof_bytes": written,
        "model_id": worker.key().model_id().to_string(),
    }));
    ui.line(format!("joined {} tasks to a proof of {} in {}", worker.job().tasks().len(), ui::inferences(inferences), seconds(elapsed)));
    ui.line(format!("wrote {} ({})", args.output.display(), bytes(written)));
    Ok(Outcome::Done)
}
