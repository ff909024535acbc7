//! What can be wrong with a job's directory.

use std::path::PathBuf;

/// What is wrong with a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is something where the directory shall be.
    #[error("{dir} exists already", dir = dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// The description of the job cannot be used.
    #[error("{file} does not describe a job: {reason}", file = file.display())]
    Description {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A task that the job does not have.
    #[error("the job has no task '{task}'")]
    NoSuchTask {
        /// As the caller says.
        task: String,
        /// Some task that it has.
        example: String,
    },
    /// A result that is needed is not there.
    #[error("the result of task {task} is not there yet")]
    NotDone {
        /// The task.
        task: String,
    },
    /// A file of the job is not the one that it was planned with.
    #[error("{file} is not the file that the job was planned with", file = file.display())]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// The result of a task is damaged or forged.
    #[error("the result of task {task} is refused: {reason}")]
    Result {
        /// The task.
        task: String,
        /// Its result.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Results that were made of it.
        spoilt: Vec<PathBuf>,
    },
}

impl JobError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "E0630",
            Self::Description { .. } => "E0631",
            Self::NoSuchTask { .. } => "E0632",
            Self::NotDone { .. } => "E0633",
            Self::Changed { .. } => "E0634",
            Self::Result { .. } => "E0635",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Exists { .. } => "choose another name, or remove it".to_owned(),
            Self::Description { .. } => "make the job again: zktorch plan MODEL.zkt --pk PK --inputs PATH -o JOB".to_owned(),
            Self::NoSuchTask { example, .. } => format!("job.json lists the tasks, for example {example}"),
            Self::NotDone { task } => format!("run it: zktorch work JOB {task} (or --all)"),
            Self::Changed { .. } => "put the original back, or plan a new job: one job never serves two models or inputs".to_owned(),
            Self::Result { task, file, spoilt, .. } => {
                let also: String = spoilt.iter().map(|f| format!(" {}", f.display())).collect();
                format!("delete {}{also} and run it again: zktorch work JOB {task} (or --all)", file.display())
            }
        }
    }
}
