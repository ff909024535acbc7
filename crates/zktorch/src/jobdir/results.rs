//! Files of results: which job and task they belong to, and a tag that only workers of the job can make.
//!
//! ```text
//! 32  tag: keyed BLAKE3 of task and result, under the job's secret
//! 32  digest of the job
//!  8  length n of the task's name, little-endian
//!  n  the task's name
//!     the result
//! ```

use super::{JobError, Task};
use crate::container::{self, Kind};
use crate::error::{Error, FileError};
use crate::job::JobSecret;
use std::path::{Path, PathBuf};

/// Files of the results of a job.
pub(super) struct Results {
    dir: PathBuf,
    job: [u8; 32],
    secret: JobSecret,
}

fn kind(task: Task) -> Kind {
    if matches!(task, Task::Witness { .. }) { Kind::Witness } else { Kind::TaskResult }
}

/// Name of a result's file, in the job's directory.
pub(super) fn name(task: Task) -> String {
    format!("results/{task}.{}", if kind(task) == Kind::Witness { "witness" } else { "acc" })
}

/// The job's digest, the tag, the task's name and the result.
type Sealed<'a> = (&'a [u8; 32], &'a [u8; 32], &'a str, &'a [u8]);

fn split(payload: &[u8]) -> Option<Sealed<'_>> {
    let (tag, rest) = payload.split_first_chunk::<32>()?;
    let (job, rest) = rest.split_first_chunk::<32>()?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let (name, result) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    Some((job, tag, std::str::from_utf8(name).ok()?, result))
}

/// What the result of a task says about itself: the digest of its job, its task, the length of the result.
///
/// # Errors
/// A file that is not intact.
pub fn describe(path: &Path, kind: Kind) -> Result<([u8; 32], String, usize), FileError> {
    let bytes = container::read(path)?;
    let payload = container::open(kind, path, &bytes)?;
    let malformed = || FileError::Payload { file: path.to_path_buf(), kind, reason: "it is too short".to_owned() };
    let (job, _, task, result) = split(payload).ok_or_else(malformed)?;
    Ok((*job, task.to_owned(), result.len()))
}

impl Results {
    pub fn new(dir: &Path, job: [u8; 32], secret: JobSecret) -> Results {
        Results { dir: dir.to_path_buf(), job, secret }
    }

    pub fn path(&self, task: Task) -> PathBuf {
        self.dir.join(name(task))
    }

    /// That a result is refused; `spoilt` were made of it.
    pub fn refused(&self, task: Task, reason: impl Into<String>, spoilt: &[Task]) -> Error {
        let spoilt = spoilt.iter().map(|t| self.path(*t)).collect();
        JobError::Result { task: task.to_string(), file: self.path(task), reason: reason.into(), spoilt }.into()
    }

    /// Writes a result, whole or not at all; only the owner can read it.
    pub fn write(&self, task: Task, result: &[u8]) -> Result<(), Error> {
        let name = task.to_string();
        let mut payload = Vec::with_capacity(72 + name.len() + result.len());
        payload.extend_from_slice(self.secret.tag(&name, result).as_bytes());
        payload.extend_from_slice(&self.job);
        payload.extend_from_slice(&(name.len() as u64).to_le_bytes());
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(result);
        Ok(container::write_secret(&self.path(task), &container::seal(kind(task), &payload))?)
    }

    /// The result of a task: intact, of this job and of this task. That it is also true is for the join to find out.
    ///
    /// # Errors
    /// [`JobError::NotDone`], [`JobError::Result`], or a file that cannot be read.
    pub fn read(&self, task: Task) -> Result<Vec<u8>, Error> {
        let path = self.path(task);
        let mut bytes = match container::read(&path) {
            Ok(bytes) => bytes,
            Err(FileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(JobError::NotDone { task: task.to_string() }.into());
            }
            Err(e) => return Err(e.into()),
        };
        let payload = container::open(kind(task), &path, &bytes).map_err(|e| self.refused(task, e.to_string(), &[]))?;
        let refused = |reason: &str| self.refused(task, reason, &[]);
        let (job, tag, name, result) = split(payload).ok_or_else(|| refused("it is too short"))?;
        if *job != self.job {
            return Err(refused("it belongs to another job"));
        }
        if name != task.to_string() {
            return Err(self.refused(task, format!("it is the result of task {name}"), &[]));
        }
        // The comparison of hashes takes the same time whatever they are.
        if self.secret.tag(name, result) != blake3::Hash::from_bytes(*tag) {
            return Err(refused("it was not made by a worker of this job"));
        }
        let len = result.len();
        // The result is the end of the payload, which ends before the container's digest.
        let end = bytes.len() - 32;
        bytes.truncate(end);
        Ok(bytes.split_off(end - len))
    }

    /// Whether the result is there and intact.
    pub fn intact(&self, task: Task) -> Result<bool, Error> {
        match self.read(task) {
            Ok(_) => Ok(true),
            Err(Error::Job(JobError::NotDone { .. } | JobError::Result { .. })) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
