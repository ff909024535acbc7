//! What accumulation costs and saves: `cargo run --release -p zktorch --example accumulation -- MODEL.onnx [INFERENCES [SEGMENTS]]`.
//!
//! Proves the same inferences (random inputs) three ways and prints a table: accumulated (each segment of each inference a leaf, folded in a tree, one decider), apart (one decider and one
//! opening for each leaf), and as a single batch in one piece. Then folds the same leaves as a tree and as a chain. `zktorch bench --export DIR MODEL` writes the named models as files.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};
use zktorch::{
    Accumulated, DType, Data, JobOptions, JobSecret, Model, OnnxModel, Options, Plan, Proof, ProvingKey, ReferenceString, Tensor,
    VerifyingKey, fold_as, prove, prove_all, prove_leaf, setup, verify, verify_all,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A row of the table.
struct Row {
    name: &'static str,
    leaves: usize,
    prove: Duration,
    peak: u64,
    bytes: usize,
    verify: Option<Duration>,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: accumulation MODEL.onnx [INFERENCES [SEGMENTS]]")?;
    let mut number = |default: usize| args.next().map_or(Ok(default), |a| a.parse());
    let (inferences, segments) = (number(1)?.max(1), number(1)?.max(1));
    let onnx = OnnxModel::read(Path::new(&path), &Default::default())?;
    let inputs: Vec<Vec<Tensor>> = (0..inferences as u64).map(|seed| random_inputs(&onnx, seed)).collect();
    let model = onnx.compile_on(&inputs[..inputs.len().min(4)], &Options::default())?;
    drop(onnx);
    let srs = ReferenceString::generate(model.required_srs_size()?.trailing_zeros());
    let (key, vk) = setup(&model, &srs)?;
    drop(srs);
    let case = Case { model: &model, key: &key, vk: &vk, inputs: &inputs };
    println!("{path}: {inferences} inferences, {segments} segments, {} threads", rayon::current_num_threads());
    println!("{:<12} {:>6} {:>10} {:>10} {:>10} {:>10}", "", "leaves", "prove", "peak", "proof", "verify");
    let options = |batch, segments| JobOptions { batch: Some(batch), segments: Some(segments), memory: None };
    let accumulated = case.accumulated("accumulated", &options(1, segments))?;
    accumulated.print();
    case.apart(&options(1, segments))?.print();
    case.accumulated("one batch", &options(inferences, 1))?.print();
    let plan = Plan::new(&model, inferences, &[], &options(1, segments))?;
    case.folds(&plan, accumulated.prove)?;
    if plan.leaves() > 1 {
        let one = Case { inputs: &inputs[..1], ..case }.accumulated("", &options(1, segments))?;
        if inferences > 1 {
            let each = |all: f64, first: f64| (all - first) / (inferences - 1) as f64;
            let seconds = |row: &Row| row.verify.unwrap_or_default().as_secs_f64() * 1e3;
            println!(
                "each inference more: {:.2} kB, {:.2} ms of verification",
                each(accumulated.bytes as f64, one.bytes as f64) / 1e3,
                each(seconds(&accumulated), seconds(&one))
            );
        }
    }
    Ok(())
}

impl Row {
    fn print(&self) {
        let verify = self.verify.map_or("-".to_owned(), |t| format!("{:.1} ms", t.as_secs_f64() * 1e3));
        println!(
            "{:<12} {:>6} {:>8.2} s {:>7} MB {:>7.1} kB {:>10}",
            self.name,
            self.leaves,
            self.prove.as_secs_f64(),
            self.peak / 1_000_000,
            self.bytes as f64 / 1e3,
            verify
        );
    }
}

#[derive(Clone, Copy)]
struct Case<'a> {
    model: &'a Model,
    key: &'a ProvingKey,
    vk: &'a VerifyingKey,
    inputs: &'a [Vec<Tensor>],
}

impl Case<'_> {
    /// Leaves folded in a tree, one decider.
    fn accumulated(&self, name: &'static str, options: &JobOptions) -> Result<Row> {
        reset_peak();
        let began = Instant::now();
        let plan = Plan::new(self.model, self.inputs.len(), &[], options)?;
        let proof = prove_all(self.model, self.key, &plan, self.inputs, &|_| {})?.accumulated.decide(self.key)?;
        let prove = began.elapsed();
        let peak = peak();
        let verify = best(|| verify_all(self.vk, &proof).map(|_| ()))?;
        Ok(Row { name, leaves: plan.leaves(), prove, peak, bytes: proof.proof_len(), verify: Some(verify) })
    }

    /// One decider and one opening per leaf. Segments cannot be verified apart from each other: they share rows.
    fn apart(&self, options: &JobOptions) -> Result<Row> {
        reset_peak();
        let plan = Plan::new(self.model, self.inputs.len(), &[], options)?;
        let whole = plan.leaves() == self.inputs.len();
        let began = Instant::now();
        let mut proofs: Vec<Proof> = Vec::new();
        for (batch, inputs) in self.inputs.iter().enumerate() {
            if whole {
                proofs.push(prove(self.model, self.key, inputs, &mut |_| {})?.proof);
                continue;
            }
            let witness = [self.model.run(inputs)?.witness];
            for segment in 0..plan.segments(batch) {
                let leaf = prove_leaf(self.model, self.key, &plan, (batch, segment), &witness, &JobSecret::generate())?;
                proofs.push(leaf.decide(self.key)?);
            }
        }
        let prove = began.elapsed();
        let peak = peak();
        let all = || proofs.iter().try_for_each(|p| verify(self.vk, p).map(|_| ()));
        let verify = if whole { Some(best(all)?) } else { None };
        Ok(Row { name: "apart", leaves: plan.leaves(), prove, peak, bytes: proofs.iter().map(Proof::proof_len).sum(), verify })
    }

    /// The same leaves folded as a tree and as a chain.
    fn folds(&self, plan: &Plan, proving: Duration) -> Result<()> {
        let secret = JobSecret::generate();
        let mut leaves = Vec::new();
        for (batch, inputs) in self.inputs.iter().enumerate() {
            let witness = [self.model.run(inputs)?.witness];
            for segment in 0..plan.segments(batch) {
                leaves.push(prove_leaf(self.model, self.key, plan, (batch, segment), &witness, &secret)?);
            }
        }
        if leaves.len() < 2 {
            return Ok(());
        }
        let own = leaves.clone();
        let began = Instant::now();
        self.tree(own)?;
        let tree = began.elapsed();
        let count = leaves.len();
        let began = Instant::now();
        let mut rest = leaves.into_iter();
        if let Some(first) = rest.next() {
            rest.try_fold(first, |all, next| fold_as(self.key, all, next, true))?;
        }
        let chain = began.elapsed();
        println!(
            "{} folds: tree {:.1} ms, chain {:.1} ms ({:.2} times); the tree is {:.2} % of proving",
            count - 1,
            tree.as_secs_f64() * 1e3,
            chain.as_secs_f64() * 1e3,
            chain.as_secs_f64() / tree.as_secs_f64(),
            100.0 * tree.as_secs_f64() / proving.as_secs_f64()
        );
        Ok(())
    }

    fn tree(&self, mut leaves: Vec<Accumulated>) -> std::result::Result<Accumulated, zktorch::Error> {
        if leaves.len() == 1
            && let Some(one) = leaves.pop()
        {
            return Ok(one);
        }
        let right = leaves.split_off(leaves.len() / 2);
        let (left, right) = rayon::join(|| self.tree(leaves), || self.tree(right));
        fold_as(self.key, left?, right?, true)
    }
}

/// The fastest of three.
fn best<E>(f: impl Fn() -> std::result::Result<(), E>) -> std::result::Result<Duration, E> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        f()?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

/// Inputs of the model's shapes: real numbers in -1..1, small indices.
fn random_inputs(onnx: &OnnxModel, seed: u64) -> Vec<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut tensor = |spec: &zktorch::TensorSpec| {
        let count: usize = spec.shape.iter().product();
        let data = match spec.dtype {
            DType::I64 => Data::I64((0..count).map(|_| (next() % 60) as i64).collect()),
            DType::Bool => Data::Bool(vec![true; count]),
            _ => Data::F32((0..count).map(|_| (next() as f64 / f64::from(1u32 << 30) - 1.0) as f32).collect()),
        };
        Tensor { shape: spec.shape.clone(), data }
    };
    onnx.inputs().iter().map(&mut tensor).collect()
}

/// Peak memory since [`reset_peak`], where the system tells.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kb| kb * 1024)
}

fn reset_peak() {
    // Refused by some systems; the peak is then that of everything so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
