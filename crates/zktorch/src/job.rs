//! Proofs of many inferences, of large models, or both: leaves are proved one by one, or side by side, and folded in a tree as they become ready.

use crate::accumulated::{Accumulated, fold_as};
use crate::error::Error;
use crate::id::ModelId;
use crate::keys::ProvingKey;
use crate::model::Model;
use crate::parts::{Layout, Parts};
use crate::proof::Run;
use crate::random;
use rand_core::SeedableRng as _;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use zktorch_algebra::{Fr, fr_from_wide_bytes};
use zktorch_float::Tensor;
use zktorch_program::derive::{Derived, SegmentCost};
use zktorch_program::{Program, Witness};
use zktorch_protocol::{self as protocol, Blinding};

/// Memory of the prover per committed cell and per lookup of a leaf, beside the cells themselves, and what does not depend on either: by the peaks of `zktorch bench`, at least 0.9 and
/// at most 1.4 times which the estimate is.
const BYTES_PER_CELL: u64 = 15;
const BYTES_PER_LOOKUP: u64 = 15;
const BYTES_BASE: u64 = 48 << 20;
/// Inferences are proved side by side as one batch while it stays below this number of cells.
const BATCH_CELLS: usize = 1 << 22;
/// Leaves of fewer cells are proved side by side, one on each core; larger ones one after the other, each on all cores.
const PARALLEL_CELLS: usize = 1 << 19;

/// How to prove several inferences.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobOptions {
    /// Inferences in a batch; by default as many as pay.
    pub batch: Option<usize>,
    /// Segments per batch; by default one, or as many as `memory` asks for.
    pub segments: Option<usize>,
    /// Bytes of memory that the prover may use.
    pub memory: Option<u64>,
}

/// What a job does next, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Leaves that are done.
    pub leaves: usize,
    /// Folds that are done.
    pub folds: usize,
    /// All leaves; there is one fold less.
    pub total: usize,
}

/// A proof that was just made, of several inferences.
#[derive(Debug, Clone)]
pub struct ProvedAll {
    /// The accumulated proof before the decider.
    pub accumulated: Accumulated,
    /// Outputs of each inference.
    pub outputs: Vec<Vec<Tensor>>,
}

/// How inferences are proved: the batches, each with its segments.
#[derive(Debug, Clone)]
pub struct Plan {
    parts: Vec<Parts>,
    /// Powers that the reference string needs.
    srs_size: usize,
}

impl Plan {
    /// Plans `inferences` inferences of a model.
    ///
    /// # Errors
    /// A program that cannot be batched, or one that does not fit the memory in any number of segments.
    pub fn new(model: &Model, inferences: usize, summed: &[u32], options: &JobOptions) -> Result<Plan, Error> {
        let program = &model.compiled.built.program;
        let unbatched = summed.is_empty() && !program.committed.is_empty();
        let affordable = options.memory.map_or(BATCH_CELLS, |m| BATCH_CELLS.min((m / (BYTES_PER_CELL + BYTES_PER_LOOKUP)) as usize));
        let automatic = if unbatched { 1 } else { affordable / program.witness_len().max(1) };
        let largest = options.batch.unwrap_or(automatic).clamp(1, inferences.max(1));
        // Batches of nearly equal size, at most two sizes.
        let batches = inferences.div_ceil(largest).max(1);
        let sizes = (0..batches).map(|batch| inferences / batches + usize::from(batch < inferences % batches));
        Plan::of_parts(program, Parts::sequence(sizes, |&size| plan_batch(model, size, summed, options))?)
    }

    /// Powers that the reference string needs.
    pub fn srs_size(&self) -> usize {
        self.srs_size
    }

    /// The plan with these batches, as [`Plan::layouts`] tells them.
    ///
    /// # Errors
    /// A program that cannot be batched or cut like this.
    pub fn of_layouts<'a>(model: &Model, layouts: impl IntoIterator<Item = &'a Layout>) -> Result<Plan, Error> {
        Plan::of_parts(&model.compiled.built.program, Parts::sequence(layouts, |layout| derive(model, layout))?)
    }

    fn of_parts(program: &Program, parts: Vec<Parts>) -> Result<Plan, Error> {
        let mut srs_size = 0;
        let mut layouts = HashSet::new();
        for parts in parts.iter().filter(|p| layouts.insert(p.layout())) {
            for segment in 0..parts.len() {
                let shape = protocol::proof_shape(parts.program(program, segment)).map_err(Error::Program)?;
                srs_size = srs_size.max(shape.srs_size);
            }
        }
        Ok(Plan { parts, srs_size })
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.parts.len()
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.parts.iter().map(Parts::len).sum()
    }

    /// Inferences and segments of each batch.
    pub fn layouts(&self) -> impl Iterator<Item = &Layout> {
        self.parts.iter().map(Parts::layout)
    }

    /// Number of segments of a batch.
    pub fn segments(&self, batch: usize) -> usize {
        self.parts.get(batch).map_or(0, Parts::len)
    }

    /// Inferences of a batch, as positions in the whole list.
    pub fn inferences(&self, batch: usize) -> std::ops::Range<usize> {
        let before: usize = self.parts.iter().take(batch).map(|p| p.layout().inferences as usize).sum();
        before..before + self.parts.get(batch).map_or(0, |p| p.layout().inferences as usize)
    }
}

fn derive(model: &Model, layout: &Layout) -> Result<Parts, Error> {
    Parts::new(&model.compiled.built.program, layout).map_err(Error::Derive)
}

fn plan_batch(model: &Model, size: usize, summed: &[u32], options: &JobOptions) -> Result<Parts, Error> {
    let mut summed = summed.to_vec();
    summed.sort_unstable();
    summed.dedup();
    let layout = |segments: usize| Layout { inferences: size as u32, segments: segments as u32, summed: summed.clone() };
    let mut segments = options.segments.unwrap_or(1).max(1);
    let mut parts = derive(model, &layout(segments))?;
    let Some(memory) = options.memory else { return Ok(parts) };
    loop {
        let needed = peak(model, &parts);
        if needed <= memory || options.segments.is_some() {
            return Ok(parts);
        }
        let more = (segments * 2).min(segments + (segments as u64 * needed / memory.max(1)) as usize).max(segments + 1);
        let next = derive(model, &layout(more))?;
        if next.len() <= parts.len() {
            return Err(Error::Memory { needed, memory, segments: parts.len() });
        }
        (segments, parts) = (more, next);
    }
}

/// Estimate of the prover's peak memory: model and base heaps, and the largest leaf.
fn peak(model: &Model, parts: &Parts) -> u64 {
    let program = &model.compiled.built.program;
    let leaf = |s: usize| {
        let own = || SegmentCost { cells: program.heap_len, lookups: program.lookup_count(), imported_cells: 0 };
        let cost = parts.derived(s).map_or_else(own, Derived::cost);
        cost.cells as u64 * BYTES_PER_CELL + cost.lookups as u64 * BYTES_PER_LOOKUP
    };
    let largest = (0..parts.len()).map(leaf).max().unwrap_or(0);
    let heaps = u64::from(parts.layout().inferences) * program.witness_len() as u64 * 8;
    BYTES_BASE + program.parameter_count() as u64 * 2 + heaps + largest
}

/// The secret of a job: blinders of shared rows are derived from it, so that leaves can be made apart from each other.
#[derive(Clone)]
pub struct JobSecret([u8; 32]);

impl std::fmt::Debug for JobSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobSecret")
    }
}

impl JobSecret {
    /// A new one.
    pub fn generate() -> JobSecret {
        use rand_core::RngCore as _;
        let mut bytes = [0u8; 32];
        random::secret_rng().fill_bytes(&mut bytes);
        JobSecret(bytes)
    }

    /// From 32 bytes that nobody else knows. Leaves that are made with one secret show which of their rows are equal, and nothing else.
    pub fn from_bytes(bytes: [u8; 32]) -> JobSecret {
        JobSecret(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret of one job: it depends on everything that the job's digest covers, so another job never uses the same one.
    pub(crate) fn of_job(&self, job: &[u8; 32]) -> JobSecret {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"zktorch job secret v1").update(job);
        JobSecret(*hasher.finalize().as_bytes())
    }

    /// What only a worker of the job can write under the result of a task.
    pub(crate) fn tag(&self, task: &str, result: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"zktorch task result v1").update(&(task.len() as u64).to_le_bytes()).update(task.as_bytes()).update(result);
        hasher.finalize()
    }

    /// The generator of a fold. The digests go in, so that no blinder serves two folds.
    pub(crate) fn fold_rng(&self, left: &[u8; 32], right: &[u8; 32]) -> rand_chacha::ChaCha20Rng {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"zktorch fold v1").update(left).update(right);
        rand_chacha::ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
    }

    fn hasher(&self, purpose: &str, numbers: &[u64]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose.as_bytes());
        for n in numbers {
            hasher.update(&n.to_le_bytes());
        }
        hasher
    }

    /// A blinder of a row of a leaf's heap. Content goes in, because one blinder for two contents would show their difference.
    fn blinder(&self, leaf: usize, row: usize, cells: &[i64]) -> Fr {
        let mut hasher = self.hasher("zktorch row blinder v2", &[leaf as u64, row as u64, cells.len() as u64]);
        update(&mut hasher, cells);
        let mut bytes = [0u8; 64];
        hasher.finalize_xof().fill(&mut bytes);
        fr_from_wide_bytes(&bytes)
    }

    /// The generator for everything else in a leaf. It depends on all that the leaf depends on: two leaves that shared a mask would show the difference of what it masks.
    fn rng(&self, leaf: usize, model: &ModelId, parts: &Parts, segment: usize, witness: &Witness) -> rand_chacha::ChaCha20Rng {
        let layout = parts.layout();
        let numbers = [leaf as u64, layout.inferences.into(), layout.segments.into(), segment as u64, layout.summed.len() as u64];
        let mut hasher = self.hasher("zktorch leaf v2", &numbers);
        for p in &layout.summed {
            hasher.update(&p.to_le_bytes());
        }
        hasher.update(model.as_bytes());
        for cells in std::iter::once(&witness.heap).chain(&witness.publics) {
            hasher.update(&(cells.len() as u64).to_le_bytes());
            update(&mut hasher, cells);
        }
        rand_chacha::ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

/// Hashes cells, some at a time.
fn update(hasher: &mut blake3::Hasher, cells: &[i64]) {
    let mut bytes = [0u8; 1 << 14];
    for some in cells.chunks(bytes.len() / 8) {
        bytes.as_chunks_mut::<8>().0.iter_mut().zip(some).for_each(|(b, c)| *b = c.to_le_bytes());
        hasher.update(&bytes[..8 * some.len()]);
    }
}

/// Proves one leaf: segment `segment` of batch `batch`. `witnesses` are those of the batch's inferences, in order. The result depends on the arguments alone.
///
/// # Errors
/// A key of another model, or witnesses that do not fit.
pub fn prove_leaf(
    model: &Model,
    key: &ProvingKey,
    plan: &Plan,
    (batch, segment): (usize, usize),
    witnesses: &[Witness],
    secret: &JobSecret,
) -> Result<Accumulated, Error> {
    key.check_model(model)?;
    let no_such = || Error::Mismatch(format!("the job has no segment {segment} of batch {batch}"));
    let parts = plan.parts.get(batch).filter(|p| segment < p.len()).ok_or_else(no_such)?;
    if key.srs_size() < plan.srs_size {
        return Err(Error::Setup(protocol::SetupError::ReferenceString { got: key.srs_size(), needed: plan.srs_size }));
    }
    let built = &model.compiled.built;
    let first: usize = plan.parts[..batch].iter().map(Parts::len).sum();
    let filled;
    let witness = match parts.derived(segment) {
        None => witnesses.first().ok_or_else(no_such)?,
        Some(derived) => {
            filled = derived.fill(&built.parameters, witnesses).map_err(|e| Error::Mismatch(e.to_string()))?;
            &filled
        }
    };
    let verifying = key.verifying_key();
    let id = verifying.model_id();
    let statement = parts.statement(&built.program, segment, id.as_bytes(), &witness.publics);
    let own = first + segment;
    let rows = witness.heap[..statement.program.heap_len].chunks(1 << statement.program.row_bits).enumerate();
    let blinder = |(row, cells): (usize, &[i64])| {
        // An imported row has the blinder that it has where it comes from.
        let (leaf, row) = statement.imported(row).unwrap_or((own, row));
        secret.blinder(leaf, row, cells)
    };
    let blinders: Vec<Fr> = rows.map(blinder).collect();
    let cells = protocol::Witness { heap: &witness.heap, parameters: &built.parameters };
    let rng = secret.rng(own, &id, parts, segment, witness);
    let accumulator = protocol::accumulate(&key.key, &verifying.key, &statement, cells, Blinding::Given(&blinders), rng, &mut |_| {})?;
    let run = Run { layout: parts.layout().clone(), publics: witness.publics.clone() };
    Ok(Accumulated { model: id, runs: vec![run], accumulator })
}

/// Proves `inputs`, one inference each, up to the decider. Leaves are folded as soon as two neighbours are ready.
///
/// # Errors
/// A key of another model, inputs out of range, a value that leaves its range.
pub fn prove_all(
    model: &Model,
    key: &ProvingKey,
    plan: &Plan,
    inputs: &[Vec<Tensor>],
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<ProvedAll, Error> {
    key.check_model(model)?;
    key.key.prepare();
    let job = Job {
        model,
        key,
        plan,
        secret: JobSecret::generate(),
        leaves: AtomicUsize::new(0),
        folds: AtomicUsize::new(0),
        progress,
        side_by_side: plan.parts.iter().flat_map(|p| (0..p.len()).map(|s| p.program(&model.compiled.built.program, s).heap_len)).max()
            < Some(PARALLEL_CELLS),
    };
    let (accumulated, outputs) = job.batches(0..plan.batches(), inputs)?;
    Ok(ProvedAll { accumulated, outputs })
}

struct Job<'a> {
    model: &'a Model,
    key: &'a ProvingKey,
    plan: &'a Plan,
    secret: JobSecret,
    leaves: AtomicUsize,
    folds: AtomicUsize,
    progress: &'a (dyn Fn(Progress) + Sync),
    /// Small leaves are proved side by side.
    side_by_side: bool,
}

type Outputs = Vec<Vec<Tensor>>;

impl Job<'_> {
    fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        if self.side_by_side { rayon::join(a, b) } else { (a(), b()) }
    }

    fn batches(&self, range: std::ops::Range<usize>, inputs: &[Vec<Tensor>]) -> Result<(Accumulated, Outputs), Error> {
        if range.len() <= 1 {
            return self.batch(range.start, inputs);
        }
        let middle = range.start + range.len() / 2;
        let (left, right) = self.both(|| self.batches(range.start..middle, inputs), || self.batches(middle..range.end, inputs));
        let ((left, mut outputs), (right, more)) = (left?, right?);
        outputs.extend(more);
        Ok((self.fold(left, right, true)?, outputs))
    }

    fn batch(&self, batch: usize, inputs: &[Vec<Tensor>]) -> Result<(Accumulated, Outputs), Error> {
        let range = self.plan.inferences(batch);
        let own = inputs.get(range.clone()).ok_or_else(|| Error::Mismatch("the plan is for another number of inferences".into()))?;
        let mut witnesses = Vec::with_capacity(own.len());
        let mut outputs = Vec::with_capacity(own.len());
        for inputs in own {
            let run = self.model.run(inputs)?;
            witnesses.push(run.witness);
            outputs.push(run.outputs);
        }
        Ok((self.segments(batch, 0..self.plan.segments(batch), &witnesses)?, outputs))
    }

    fn segments(&self, batch: usize, range: std::ops::Range<usize>, witnesses: &[Witness]) -> Result<Accumulated, Error> {
        if range.len() <= 1 {
            let leaf = prove_leaf(self.model, self.key, self.plan, (batch, range.start), witnesses, &self.secret)?;
            self.leaves.fetch_add(1, Ordering::Relaxed);
            self.report();
            return Ok(leaf);
        }
        let middle = range.start + range.len() / 2;
        let (left, right) =
            self.both(|| self.segments(batch, range.start..middle, witnesses), || self.segments(batch, middle..range.end, witnesses));
        self.fold(left?, right?, false)
    }

    fn fold(&self, left: Accumulated, right: Accumulated, batches: bool) -> Result<Accumulated, Error> {
        let folded = fold_as(self.key, left, right, batches)?;
        self.folds.fetch_add(1, Ordering::Relaxed);
        self.report();
        Ok(folded)
    }

    fn report(&self) {
        let (leaves, folds) = (self.leaves.load(Ordering::Relaxed), self.folds.load(Ordering::Relaxed));
        (self.progress)(Progress { leaves, folds, total: self.plan.leaves() });
    }
}
