//! A proving job as a directory of tasks, for many processes or machines that share it.
//!
//! ```text
//! JOB/job.json          the description: digests of all files, batches, tasks with inputs, outputs and dependencies
//!     secret            32 random bytes; with the job's digest they determine all randomness of the tasks
//!     model.zkt, model.pk, inputs/0.npz, …
//!     results/          one file per task that is done
//!     claims/           one file per task that some worker is at
//! ```
//!
//! A task's result is a function of the description and the secret, so a task can be killed, run again or run twice. Everything in the directory is **secret** but the
//! description: weights, inputs, and hidden values of the inferences.
//!
//! What a join believes: its own copy of the code, and the description. Results carry a tag under the job's secret, which finds damaged, swapped and foreign ones; a worker that
//! knows the secret can make any result, and that is found by checking what it stands for.

mod claim;
mod error;
mod join;
mod results;
mod task;
#[cfg(test)]
mod tests;
mod worker;

pub use claim::{Claim, Claims};
pub use error::JobError;
pub use results::describe as describe_result;
pub use task::Task;
pub use worker::{TaskState, Worker};

use crate::container;
use crate::error::{Error, FileError};
use crate::job::{JobOptions, JobSecret, Plan};
use crate::keys::ProvingKey;
use crate::metric::plan_metric;
use crate::model::Model;
use crate::parts::Layout;
use crate::tensors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zktorch_float::Tensor;

const DESCRIPTION: &str = "job.json";
const SECRET: &str = "secret";
const MODEL: &str = "model.zkt";
const KEY: &str = "model.pk";
/// Version of the description.
const VERSION: u32 = 1;

fn input_name(inference: usize) -> String {
    format!("inputs/{inference}.npz")
}

/// A batch in the description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    #[serde(flatten)]
    layout: Layout,
    /// Segments that it really has.
    leaves: usize,
}

/// A task in the description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TaskEntry {
    id: String,
    kind: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    depends: Vec<String>,
}

/// Contents of `job.json`. `tasks` and `result` follow from the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    version: u32,
    /// Version of the program: another one may use the secret's randomness in another way.
    zktorch: String,
    /// Random: tells two jobs about the same inputs apart.
    job: String,
    model_id: String,
    /// BLAKE3 digests of the files, in hexadecimal digits.
    files: BTreeMap<String, String>,
    batches: Vec<Batch>,
    tasks: Vec<TaskEntry>,
    result: String,
}

/// The directory of a job.
#[derive(Debug, Clone)]
pub struct JobDir {
    dir: PathBuf,
    description: Description,
    /// Leaves of each batch.
    leaves: Vec<usize>,
    tasks: Vec<Task>,
}

/// Digest of a file's bytes.
fn digest(path: &Path) -> Result<String, FileError> {
    let fail = |source| FileError::Read { file: path.to_path_buf(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).map_err(fail)?).map_err(fail)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The file under another name, without a copy where the file system can do that.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), FileError> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    std::fs::copy(from, to).map(|_| ()).map_err(|source| FileError::Write { file: to.to_path_buf(), source })
}

impl JobDir {
    /// Plans the proof of `inputs`, one inference each, and makes its directory: whole or not at all. `model` and `key` are linked or copied into it.
    ///
    /// # Errors
    /// [`JobError::Exists`], a key of another model, what [`Plan::new`] refuses, a directory that cannot be written.
    pub fn create(dir: &Path, model: &Path, key: &Path, inputs: &[Vec<Tensor>], options: &JobOptions) -> Result<JobDir, Error> {
        JobDir::planned(dir, model, key, inputs, &|model, _| Plan::new(model, inputs.len(), &[], options))
    }

    /// Like [`JobDir::create`], for the count of a model with a metric over `inputs` with their labels, as [`Model::read_labelled`] reads them.
    ///
    /// # Errors
    /// As [`JobDir::create`], and what [`plan_metric`] refuses.
    pub fn create_metric(dir: &Path, model: &Path, key: &Path, inputs: &[Vec<Tensor>], options: &JobOptions) -> Result<JobDir, Error> {
        JobDir::planned(dir, model, key, inputs, &|model, key| plan_metric(model, key, inputs.len(), options))
    }

    fn planned(
        dir: &Path,
        model: &Path,
        key: &Path,
        inputs: &[Vec<Tensor>],
        plan: &dyn Fn(&Model, &ProvingKey) -> Result<Plan, Error>,
    ) -> Result<JobDir, Error> {
        if dir.exists() {
            return Err(JobError::Exists { dir: dir.to_path_buf() }.into());
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fail = |source| FileError::Write { file: dir.to_path_buf(), source };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".zktorch-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o700));
        }
        let temporary = builder.tempdir_in(parent).map_err(fail)?;
        let at = |name: &str| temporary.path().join(name);
        for folder in ["inputs", "results", "claims"] {
            std::fs::create_dir(at(folder)).map_err(fail)?;
        }
        let mut files = BTreeMap::new();
        for (from, name) in [(model, MODEL), (key, KEY)] {
            link_or_copy(from, &at(name))?;
            files.insert(name.to_owned(), digest(&at(name))?);
        }
        let model = Model::read(&at(MODEL))?;
        let key = ProvingKey::read(&at(KEY))?;
        key.check_model(&model)?;
        let specs = model.inputs();
        for (k, tensors) in inputs.iter().enumerate() {
            let named: Vec<(&str, &Tensor)> = specs.iter().map(|s| s.name.as_str()).zip(tensors).collect();
            let path = at(&input_name(k));
            container::write_secret(&path, &tensors::encode_named(&path, &named)?)?;
            files.insert(input_name(k), digest(&path)?);
        }
        let plan = plan(&model, &key)?;
        let batches = plan.layouts().enumerate().map(|(b, l)| Batch { layout: l.clone(), leaves: plan.segments(b) });
        let description = Description {
            version: VERSION,
            zktorch: env!("CARGO_PKG_VERSION").to_owned(),
            job: blake3::Hash::from_bytes(*JobSecret::generate().as_bytes()).to_hex().to_string(),
            model_id: key.model_id().to_string(),
            files,
            batches: batches.collect(),
            tasks: Vec::new(),
            result: String::new(),
        };
        let description = description.with_tasks();
        let text = serde_json::to_vec_pretty(&description).map_err(|e| Error::Mismatch(format!("the job cannot be described: {e}")))?;
        container::write_secret(&at(SECRET), JobSecret::generate().as_bytes())?;
        container::write_atomic(&at(DESCRIPTION), &text)?;
        std::fs::rename(temporary.path(), dir).map_err(fail)?;
        // Nothing is left under the temporary name.
        let _ = temporary.keep();
        JobDir::open(dir)
    }

    /// Opens the directory of a job.
    ///
    /// # Errors
    /// A directory without a description, or with one that is not consistent.
    pub fn open(dir: &Path) -> Result<JobDir, Error> {
        let file = dir.join(DESCRIPTION);
        let bytes = container::read(&file)?;
        let refuse = |reason: String| JobError::Description { file: file.clone(), reason };
        let description: Description = serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))?;
        if description.version != VERSION {
            return Err(refuse(format!("it is in version {}, this zktorch reads version {VERSION}", description.version)).into());
        }
        if description.zktorch != env!("CARGO_PKG_VERSION") {
            let ours = env!("CARGO_PKG_VERSION");
            return Err(refuse(format!("it was made by zktorch {}, this is {ours}", description.zktorch)).into());
        }
        let inferences = description.inferences().ok_or_else(|| refuse("the batches are not those of any proof".to_owned()))?;
        let names = [MODEL.to_owned(), KEY.to_owned()].into_iter().chain((0..inferences).map(input_name));
        if !names.collect::<std::collections::BTreeSet<_>>().iter().eq(description.files.keys()) {
            return Err(refuse("the files are not those of its inferences".to_owned()).into());
        }
        if description.clone().with_tasks() != description {
            return Err(refuse("the tasks are not those of its batches".to_owned()).into());
        }
        let leaves = description.leaves();
        Ok(JobDir { dir: dir.to_path_buf(), tasks: Task::all(&leaves), leaves, description })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// All tasks, each after those that it depends on; the last one's result is what the join decides.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Number of inferences.
    pub fn inferences(&self) -> usize {
        self.description.inferences().unwrap_or(0)
    }

    /// Inferences and segments of each batch.
    pub fn layouts(&self) -> impl Iterator<Item = &Layout> {
        self.description.batches.iter().map(|b| &b.layout)
    }

    /// A task by its name in the description.
    ///
    /// # Errors
    /// [`JobError::NoSuchTask`].
    pub fn task(&self, name: &str) -> Result<Task, JobError> {
        let example = || self.tasks.last().map(Task::to_string).unwrap_or_default();
        let found = self.tasks.iter().copied().find(|t| t.to_string() == name);
        found.ok_or_else(|| JobError::NoSuchTask { task: name.to_owned(), example: example() })
    }

    fn dependencies(&self, task: Task) -> Vec<Task> {
        task.dependencies(&self.leaves)
    }

    /// The tasks that use a task's result, directly or not, without those that only use a witness.
    fn dependents(&self, task: Task) -> Vec<Task> {
        let mut spoilt = vec![task];
        for &t in &self.tasks {
            if self.dependencies(t).iter().any(|d| spoilt.contains(d)) {
                spoilt.push(t);
            }
        }
        spoilt.split_off(1)
    }

    /// A file of the job, which is the one that it was planned with.
    fn file(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join(name);
        if self.description.files.get(name) != Some(&digest(&path)?) {
            return Err(JobError::Changed { file: path }.into());
        }
        Ok(path)
    }

    /// Names the job: BLAKE3 of everything that its results depend on, but the secret.
    fn digest(&self) -> [u8; 32] {
        let d = &self.description;
        let mut hasher = blake3::Hasher::new_derive_key("zktorch job id v1");
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        part(&d.version.to_le_bytes());
        part(d.zktorch.as_bytes());
        part(d.job.as_bytes());
        part(d.model_id.as_bytes());
        part(&(d.files.len() as u64).to_le_bytes());
        for (name, digest) in &d.files {
            part(name.as_bytes());
            part(digest.as_bytes());
        }
        for batch in &d.batches {
            let layout = &batch.layout;
            let numbers = [u64::from(layout.inferences), u64::from(layout.segments), batch.leaves as u64];
            let numbers = numbers.into_iter().chain(layout.summed.iter().map(|&s| u64::from(s)));
            part(&numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        }
        *hasher.finalize().as_bytes()
    }

    /// The job's own secret.
    fn secret(&self) -> Result<JobSecret, Error> {
        let file = self.dir.join(SECRET);
        let bytes = container::read(&file)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| JobError::Changed { file })?;
        Ok(JobSecret::from_bytes(bytes).of_job(&self.digest()))
    }
}

impl Description {
    fn leaves(&self) -> Vec<usize> {
        self.batches.iter().map(|b| b.leaves).collect()
    }

    /// Number of inferences; nothing for batches that cannot be. Counts are bounded by the list of files, so that a damaged description does not ask for a huge list of tasks.
    fn inferences(&self) -> Option<usize> {
        let possible = |b: &Batch| b.leaves > 0 && b.leaves <= b.layout.segments as usize && b.layout.inferences > 0;
        let total: usize = self.batches.iter().map(|b| b.layout.inferences as usize).sum();
        let leaves: usize = self.batches.iter().map(|b| b.leaves).fold(0, usize::saturating_add);
        let tasks = leaves.saturating_mul(2).saturating_add(self.batches.len());
        let listed = self.tasks.is_empty() || tasks == self.tasks.len() + 1;
        (!self.batches.is_empty() && self.batches.iter().all(possible) && total <= self.files.len() && listed).then_some(total)
    }

    /// The same with its list of tasks.
    fn with_tasks(mut self) -> Description {
        let leaves = self.leaves();
        let mut before = vec![0usize];
        for batch in &self.batches {
            before.push(before[before.len() - 1] + batch.layout.inferences as usize);
        }
        let entry = |task: Task| {
            let depends = task.dependencies(&leaves);
            let mut inputs: Vec<String> = match task {
                Task::Witness { batch } => {
                    [MODEL.to_owned()].into_iter().chain((before[batch]..before[batch + 1]).map(input_name)).collect()
                }
                Task::Leaf { .. } => vec![MODEL.to_owned(), KEY.to_owned(), SECRET.to_owned()],
                Task::Segments { .. } | Task::Batches { .. } => vec![KEY.to_owned(), SECRET.to_owned()],
            };
            inputs.extend(depends.iter().map(|d| results::name(*d)));
            TaskEntry {
                id: task.to_string(),
                kind: task.kind().to_owned(),
                inputs,
                outputs: vec![results::name(task)],
                depends: depends.iter().map(Task::to_string).collect(),
            }
        };
        self.tasks = Task::all(&leaves).into_iter().map(entry).collect();
        self.result = results::name(Task::root(&leaves));
        self
    }
}
