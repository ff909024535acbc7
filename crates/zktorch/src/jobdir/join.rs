//! The end of a job: every result is checked, the wrong one named, the last one decided.

use super::{Task, Worker};
use crate::error::Error;
use crate::job::prove_leaf;
use crate::proof::{Proof, Run, parts, statements};
use zktorch_program::Witness;
use zktorch_protocol::check_leaf;

impl Worker {
    /// Checks all results and makes the proof. What is checked: every result is intact and was made by a worker of this job; witnesses are those of the job's inputs (all
    /// inferences are run again, which costs little next to proving them); the last accumulator stands for all of them. If it does not, leaves and folds are checked one by one
    /// and the first wrong one is named.
    ///
    /// # Errors
    /// [`JobError::NotDone`](super::JobError::NotDone) or [`JobError::Result`](super::JobError::Result), with the task.
    pub fn join(&self, progress: &mut dyn FnMut(&str)) -> Result<Proof, Error> {
        progress("checking the results");
        for &task in self.job.tasks() {
            // Accumulators are decoded where they are needed.
            self.results.read(task)?;
        }
        progress("running the inferences again");
        let runs = self.runs()?;
        progress("checking the accumulator");
        let root = Task::root(&self.job.leaves);
        let checked = self.accumulated(root).and_then(|all| {
            if all.runs != runs {
                return Err(self.refused(root, "its public tensors are not those of the job"));
            }
            all.check(&self.key)?;
            Ok(all)
        });
        match checked {
            Ok(all) => {
                progress("proving the accumulator");
                all.decide(&self.key)
            }
            Err(error) => {
                progress("looking for the wrong result");
                self.blame(&runs)?;
                Err(error)
            }
        }
    }

    /// The public part of the statement, from the inputs.
    fn runs(&self) -> Result<Vec<Run>, Error> {
        let program = &self.model.compiled.built.program;
        let mut runs = Vec::with_capacity(self.plan.batches());
        for (batch, layout) in self.plan.layouts().enumerate() {
            let witnesses = self.execute(batch)?;
            let task = Task::Witness { batch };
            if self.results.read(task)? != self.encode_witnesses(&witnesses)? {
                return Err(self.refused(task, "it is not what the model computes from the inputs"));
            }
            let mut run = Run { layout: layout.clone(), publics: Vec::new() };
            let own = parts(program, std::slice::from_ref(&run), usize::MAX).map_err(|e| Error::Accumulator(e.into()))?;
            let tensors: Vec<&[Vec<i64>]> = witnesses.iter().map(|w: &Witness| &w.publics[..]).collect();
            run.publics = match own.first().and_then(|p| p.derived(0)) {
                Some(derived) => derived.publics(&tensors),
                None => tensors.first().map(|t| t.to_vec()),
            }
            .ok_or_else(|| self.refused(task, "it is about another number of inferences"))?;
            runs.push(run);
        }
        Ok(runs)
    }

    /// Names the first leaf or fold that does not stand for what it should.
    fn blame(&self, runs: &[Run]) -> Result<(), Error> {
        let verifying = self.key.verifying_key();
        let parts = parts(verifying.program(), runs, usize::MAX).map_err(|e| Error::Accumulator(e.into()))?;
        let mut statements = statements(verifying, runs, &parts).into_iter();
        let mut heaps = Vec::new();
        for (batch, (run, parts)) in runs.iter().zip(&parts).enumerate() {
            for (segment, statement) in (0..parts.len()).zip(&mut statements) {
                let task = Task::Leaf { batch, segment };
                let leaf = self.accumulated(task)?;
                if leaf.model != self.key.model_id() || leaf.runs != std::slice::from_ref(run) {
                    return Err(self.refused(task, "its public tensors are not those of the job"));
                }
                match check_leaf(&self.key.key, &verifying.key, &statement, &heaps, &leaf.accumulator) {
                    Ok(rows) => heaps.push(rows),
                    Err(error) => return Err(self.wrong_leaf(batch, segment)?.unwrap_or(Error::Accumulator(error))),
                }
            }
        }
        for &task in self.job.tasks().iter().filter(|t| t.kind() == "fold") {
            // Folds are functions of what they fold.
            if self.fold(task)?.encode()? != self.results.read(task)? {
                return Err(self.refused(task, "it is not the fold of the results that it depends on"));
            }
        }
        Ok(())
    }

    /// Which leaf is to blame if a segment does not fit its statement: it may be an earlier one that is valid by itself, but not the one whose rows this one imports. Leaves are
    /// functions of the job, so they are made again.
    fn wrong_leaf(&self, batch: usize, segment: usize) -> Result<Option<Error>, Error> {
        let witnesses = self.witnesses(batch)?;
        for segment in (0..=segment).rev() {
            let task = Task::Leaf { batch, segment };
            let again = prove_leaf(&self.model, &self.key, &self.plan, (batch, segment), &witnesses, &self.secret)?;
            if again.encode()? != self.results.read(task)? {
                return Ok(Some(self.refused(task, "it does not prove its segment of the job's inferences")));
            }
        }
        Ok(None)
    }
}
