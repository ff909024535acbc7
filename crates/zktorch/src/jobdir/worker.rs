//! Doing tasks.

use super::results::Results;
use super::{JobDir, JobError, KEY, MODEL, Task, input_name};
use crate::accumulated::{Accumulated, fold_with};
use crate::error::Error;
use crate::job::{JobSecret, Plan, prove_leaf};
use crate::keys::ProvingKey;
use crate::model::Model;
use zktorch_program::Witness;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Its result is there and intact.
    Done,
    /// It can be run.
    Ready,
    /// It waits for another result.
    Waiting,
}

/// A process that works on a job: model, key and plan are read once.
pub struct Worker {
    pub(super) job: JobDir,
    pub(super) model: Model,
    pub(super) key: ProvingKey,
    pub(super) plan: Plan,
    pub(super) secret: JobSecret,
    pub(super) results: Results,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("job", &self.job.dir).finish_non_exhaustive()
    }
}

impl Worker {
    /// Reads what the tasks of a job need.
    ///
    /// # Errors
    /// Files that are not those that the job was planned with.
    pub fn new(job: JobDir) -> Result<Worker, Error> {
        let model = Model::read(&job.file(MODEL)?)?;
        let key = ProvingKey::read(&job.file(KEY)?)?;
        key.check_model(&model)?;
        let plan = Plan::of_layouts(&model, job.layouts())?;
        let segments = (0..plan.batches()).map(|b| plan.segments(b));
        if key.model_id().to_string() != job.description.model_id || !segments.eq(job.leaves.iter().copied()) {
            let reason = "it is about another model than its files".to_owned();
            return Err(JobError::Description { file: job.dir.join(super::DESCRIPTION), reason }.into());
        }
        let secret = job.secret()?;
        let results = Results::new(&job.dir, job.digest(), secret.clone());
        Ok(Worker { job, model, key, plan, secret, results })
    }

    /// The job.
    pub fn job(&self) -> &JobDir {
        &self.job
    }

    /// The proving key.
    pub fn key(&self) -> &ProvingKey {
        &self.key
    }

    /// How far a task is. Cost: hashes its result and, if that is not there, those that it depends on.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn state(&self, task: Task) -> Result<TaskState, Error> {
        if self.results.intact(task)? {
            return Ok(TaskState::Done);
        }
        for dependency in self.job.dependencies(task) {
            if !self.results.intact(dependency)? {
                return Ok(TaskState::Waiting);
            }
        }
        Ok(TaskState::Ready)
    }

    /// Runs a task, unless its result is there and intact. Returns whether it did.
    ///
    /// # Errors
    /// [`JobError::NotDone`] or [`JobError::Result`] about a result that it depends on; what proving refuses.
    pub fn run(&self, task: Task) -> Result<bool, Error> {
        if self.results.intact(task)? {
            return Ok(false);
        }
        let result = match task {
            Task::Witness { batch } => self.encode_witnesses(&self.execute(batch)?)?,
            Task::Leaf { batch, segment } => {
                let witnesses = self.witnesses(batch)?;
                prove_leaf(&self.model, &self.key, &self.plan, (batch, segment), &witnesses, &self.secret)?.encode()?
            }
            Task::Segments { .. } | Task::Batches { .. } => self.fold(task)?.encode()?,
        };
        self.results.write(task, &result)?;
        Ok(true)
    }

    /// Runs the inferences of a batch.
    pub(super) fn execute(&self, batch: usize) -> Result<Vec<Witness>, Error> {
        let run = |k: usize| {
            let inputs = self.model.read_inputs(&self.job.file(&input_name(k))?)?;
            Ok(self.model.run(&inputs)?.witness)
        };
        self.plan.inferences(batch).map(run).collect()
    }

    pub(super) fn encode_witnesses(&self, witnesses: &[Witness]) -> Result<Vec<u8>, Error> {
        postcard::to_allocvec(witnesses).map_err(|e| Error::Mismatch(format!("the witness cannot be encoded: {e}")))
    }

    pub(super) fn witnesses(&self, batch: usize) -> Result<Vec<Witness>, Error> {
        let task = Task::Witness { batch };
        let bytes = self.results.read(task)?;
        postcard::from_bytes(&bytes).map_err(|e| self.refused(task, e.to_string()))
    }

    /// The accumulator that is a task's result.
    pub(super) fn accumulated(&self, task: Task) -> Result<Accumulated, Error> {
        Accumulated::decode(&self.results.read(task)?).map_err(|e| self.refused(task, e))
    }

    pub(super) fn fold(&self, task: Task) -> Result<Accumulated, Error> {
        let mut parts = Vec::with_capacity(2);
        for dependency in self.job.dependencies(task) {
            parts.push(self.accumulated(dependency)?);
        }
        let (Some(right), Some(left)) = (parts.pop(), parts.pop()) else {
            return Err(Error::Mismatch(format!("task {task} folds nothing")));
        };
        let rng = self.secret.fold_rng(&left.accumulator.digest(), &right.accumulator.digest());
        fold_with(&self.key, left, right, matches!(task, Task::Batches { .. }), rng)
    }

    /// That a result is forged, with all that was made of it.
    pub(super) fn refused(&self, task: Task, reason: impl Into<String>) -> Error {
        self.results.refused(task, reason, &self.job.dependents(task))
    }
}
