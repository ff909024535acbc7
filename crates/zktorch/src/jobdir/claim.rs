//! Claims: who works on what, so that workers do not do the same work twice. Nothing depends on them: two workers on one task write the same result.

use super::Task;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// The claims of a job, as one worker sees them.
#[derive(Debug)]
pub struct Claims {
    dir: PathBuf,
    timeout: Duration,
    /// When a claim was last seen to change. Clocks of other machines are compared with themselves only.
    seen: HashMap<Task, (Option<SystemTime>, Instant)>,
}

/// A claim on a task. While it lives, its file is touched; when it is dropped, its file is removed; when its process dies, the file grows old.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    stop: Option<mpsc::Sender<()>>,
    pulse: Option<std::thread::JoinHandle<()>>,
}

impl Claims {
    /// The claims in the job's directory `dir`. A claim that nobody has touched for `timeout` counts as given up.
    pub fn new(dir: &Path, timeout: Duration) -> Claims {
        Claims { dir: dir.join("claims"), timeout, seen: HashMap::new() }
    }

    /// Claims a task; nothing if another worker has done so.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn take(&mut self, task: Task) -> std::io::Result<Option<Claim>> {
        std::fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(task.to_string());
        for _ in 0..2 {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    // For people who look; nothing reads it.
                    let _ = write!(file, "{}", std::process::id());
                    return Claim::start(path, self.timeout / 4).map(Some);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
            let touched = std::fs::metadata(&path).and_then(|m| m.modified()).ok();
            let seen = self.seen.entry(task).or_insert((touched, Instant::now()));
            if seen.0 != touched {
                *seen = (touched, Instant::now());
            }
            if seen.1.elapsed() < self.timeout {
                return Ok(None);
            }
            // Its worker is gone. Should two of us see this at once, both do the task, and write the same.
            self.seen.remove(&task);
            let _ = std::fs::remove_file(&path);
        }
        Ok(None)
    }
}

impl Claim {
    fn start(path: PathBuf, every: Duration) -> std::io::Result<Claim> {
        let (stop, stopped) = mpsc::channel::<()>();
        let file = path.clone();
        let pulse = std::thread::Builder::new().name("claim".to_owned()).spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                // A claim that cannot be touched is lost, which costs double work at most.
                let _ = File::options().write(true).open(&file).and_then(|f| f.set_modified(SystemTime::now()));
            }
        })?;
        Ok(Claim { path, stop: Some(stop), pulse: Some(pulse) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(pulse) = self.pulse.take() {
            let _ = pulse.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_is_claimed_once_and_again_when_its_worker_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let task = Task::Witness { batch: 0 };
        let (mut a, mut b) = (Claims::new(dir.path(), Duration::from_millis(200)), Claims::new(dir.path(), Duration::from_millis(200)));
        let claim = a.take(task).unwrap().unwrap();
        let began = Instant::now();
        // A living claim is touched, so it lasts longer than the timeout.
        while began.elapsed() < Duration::from_millis(600) {
            assert!(b.take(task).unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(claim);
        drop(b.take(task).unwrap().unwrap());
        // A killed worker leaves its file behind.
        std::fs::write(dir.path().join("claims/witness-0"), "").unwrap();
        assert!(b.take(task).unwrap().is_none());
        std::thread::sleep(Duration::from_millis(250));
        assert!(b.take(task).unwrap().is_some());
    }
}
