//! The tasks of a job and what each of them needs: a function of how many segments each batch has.

use std::collections::HashSet;

/// A task of a job. Its result is one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Runs the inferences of a batch.
    Witness {
        /// The batch.
        batch: usize,
    },
    /// Proves a segment of a batch.
    Leaf {
        /// The batch.
        batch: usize,
        /// The segment.
        segment: usize,
    },
    /// Folds neighbouring segments of a batch.
    Segments {
        /// The batch.
        batch: usize,
        /// First segment.
        first: usize,
        /// Last segment, larger than `first`.
        last: usize,
    },
    /// Folds neighbouring batches.
    Batches {
        /// First batch.
        first: usize,
        /// Last batch, larger than `first`.
        last: usize,
    },
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Task::Witness { batch } => write!(f, "witness-{batch}"),
            Task::Leaf { batch, segment } => write!(f, "leaf-{batch}-{segment}"),
            Task::Segments { batch, first, last } => write!(f, "fold-{batch}-{first}-{last}"),
            Task::Batches { first, last } => write!(f, "fold-{first}-{last}"),
        }
    }
}

/// Segments `first..=last` of a batch, folded if there are several.
fn segments(batch: usize, first: usize, last: usize) -> Task {
    if first == last { Task::Leaf { batch, segment: first } } else { Task::Segments { batch, first, last } }
}

/// Batches `first..=last`, folded if there are several.
fn batches(leaves: &[usize], first: usize, last: usize) -> Task {
    match leaves.get(first) {
        Some(count) if first == last => segments(first, 0, count.saturating_sub(1)),
        _ => Task::Batches { first, last },
    }
}

impl Task {
    /// What kind of task it is, as `job.json` says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Task::Witness { .. } => "witness",
            Task::Leaf { .. } => "leaf",
            Task::Segments { .. } | Task::Batches { .. } => "fold",
        }
    }

    /// The last task of a job whose batches have so many leaves; at least one batch.
    pub(super) fn root(leaves: &[usize]) -> Task {
        batches(leaves, 0, leaves.len().saturating_sub(1))
    }

    /// The tasks whose results it takes; for a fold left and right.
    pub(super) fn dependencies(&self, leaves: &[usize]) -> Vec<Task> {
        let middle = |first: usize, last: usize| first + (last + 1 - first) / 2;
        match *self {
            Task::Witness { .. } => Vec::new(),
            Task::Leaf { batch, .. } => vec![Task::Witness { batch }],
            Task::Segments { batch, first, last } => {
                let m = middle(first, last);
                vec![segments(batch, first, m - 1), segments(batch, m, last)]
            }
            Task::Batches { first, last } => {
                let m = middle(first, last);
                vec![batches(leaves, first, m - 1), batches(leaves, m, last)]
            }
        }
    }

    /// All tasks of a job, each after those that it depends on.
    pub(super) fn all(leaves: &[usize]) -> Vec<Task> {
        fn visit(task: Task, leaves: &[usize], seen: &mut HashSet<Task>, tasks: &mut Vec<Task>) {
            if seen.insert(task) {
                task.dependencies(leaves).into_iter().for_each(|t| visit(t, leaves, seen, tasks));
                tasks.push(task);
            }
        }
        let mut tasks = Vec::new();
        visit(Task::root(leaves), leaves, &mut HashSet::new(), &mut tasks);
        tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_come_after_what_they_need_and_every_leaf_is_there_once() {
        for leaves in [vec![1], vec![3], vec![1, 1], vec![3, 3, 2], vec![2; 9]] {
            let tasks = Task::all(&leaves);
            let total: usize = leaves.iter().sum();
            assert_eq!(tasks.len(), leaves.len() + 2 * total - 1, "{leaves:?}");
            assert_eq!(tasks.last(), Some(&Task::root(&leaves)));
            for (k, task) in tasks.iter().enumerate() {
                assert!(task.dependencies(&leaves).iter().all(|d| tasks[..k].contains(d)), "{task}");
            }
            // A result is used once, but for witnesses.
            let used = tasks.iter().flat_map(|t| t.dependencies(&leaves)).filter(|t| t.kind() != "witness");
            assert_eq!(used.collect::<HashSet<_>>().len(), 2 * total - 2);
            let names: HashSet<String> = tasks.iter().map(Task::to_string).collect();
            assert_eq!(names.len(), tasks.len());
        }
    }
}
