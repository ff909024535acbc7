//! Jobs as a library: results are functions of the job, and a worker that knows the secret and lies is named.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::accumulated::fold_as;
use crate::job::prove_leaf;
use crate::tests::{inputs, srs};
use crate::{DType, OnnxModel, Options, Proof, setup, verify_all};
use zktorch_float::{Graph, Node, Op, UnaryFn};

/// Four layers `relu(x · w)` of width 4: enough to be cut in two.
fn model() -> Model {
    let mut graph = Graph::default();
    let mut x = graph.add_value("x", DType::F32, vec![1, 4]);
    graph.inputs = vec![x];
    for layer in 0..4 {
        let weights = (0..16).map(|i| 0.25 * ((i * 3 + layer) % 5) as f32 - 0.5).collect();
        let w = graph.add_constant(format!("w{layer}"), Tensor::f32(vec![4, 4], weights).unwrap(), true);
        let product = graph.add_value(format!("product{layer}"), DType::F32, vec![1, 4]);
        let relu = graph.add_value(format!("relu{layer}"), DType::F32, vec![1, 4]);
        for (op, inputs, output) in [(Op::MatMul, vec![x, w], product), (Op::Unary(UnaryFn::Relu), vec![product], relu)] {
            let name = format!("node{}", graph.nodes.len());
            let inputs = inputs.into_iter().map(Some).collect();
            graph.nodes.push(Node { onnx_op: name.clone(), name, op, inputs, outputs: vec![output] });
        }
        x = relu;
    }
    graph.outputs = vec![x];
    OnnxModel::from_graph(graph, "layers").compile_on(&inputs(2), &Options::default()).unwrap()
}

/// A job of two inferences in two segments each, with all its results.
fn done(dir: &Path, name: &str) -> Worker {
    let path = |f: &str| dir.join(f);
    if !path("m.zkt").exists() {
        let model = model();
        let (pk, vk) = setup(&model, &srs(&model)).unwrap();
        crate::write_keys((&pk, &path("pk")), (&vk, &path("vk"))).unwrap();
        model.write(&path("m.zkt")).unwrap();
    }
    let options = JobOptions { batch: Some(1), segments: Some(2), memory: None };
    let job = JobDir::create(&path(name), &path("m.zkt"), &path("pk"), &inputs(2), &options).unwrap();
    assert_eq!(job.tasks().len(), 2 + 4 + 3);
    let worker = Worker::new(job).unwrap();
    for &task in worker.job().tasks() {
        assert_eq!(worker.state(task).unwrap(), TaskState::Ready);
        assert!(worker.run(task).unwrap());
        assert_eq!(worker.state(task).unwrap(), TaskState::Done);
    }
    worker
}

fn join(worker: &Worker) -> Result<Proof, Error> {
    worker.join(&mut |_| {})
}

/// That the join names `task`, and follows its advice.
fn names(worker: &Worker, task: Task) {
    let error = join(worker).unwrap_err();
    let Error::Job(JobError::Result { task: named, file, spoilt, .. }) = &error else { panic!("{error}") };
    assert_eq!(*named, task.to_string(), "{error}");
    assert_eq!(error.code(), "E0635");
    for file in spoilt.iter().chain([file]) {
        std::fs::remove_file(file).unwrap();
    }
    for &task in worker.job().tasks() {
        worker.run(task).unwrap();
    }
}

/// Makes again what depends on a forged result, as workers would that have read it.
fn remake(worker: &Worker, task: Task) {
    for t in worker.job.dependents(task) {
        std::fs::remove_file(worker.results.path(t)).unwrap();
        worker.run(t).unwrap();
    }
}

#[test]
fn results_are_functions_of_the_job_and_join_to_a_proof() {
    let dir = tempfile::tempdir().unwrap();
    let worker = done(dir.path(), "job");
    for &task in worker.job().tasks() {
        let before = worker.results.read(task).unwrap();
        assert!(!worker.run(task).unwrap(), "{task} is done");
        std::fs::remove_file(worker.results.path(task)).unwrap();
        assert!(worker.run(task).unwrap());
        assert!(worker.results.read(task).unwrap() == before, "{task}");
    }
    let vk = crate::VerifyingKey::read(&dir.path().join("vk")).unwrap();
    let statements = verify_all(&vk, &join(&worker).unwrap()).unwrap();
    for (statement, input) in statements.iter().zip(inputs(2)) {
        assert_eq!(statement.inputs[0].value.as_ref(), Some(&input[0]));
    }
    // Another job about the same inputs has other secrets.
    let other = done(dir.path(), "other");
    assert_ne!(worker.secret.as_bytes(), other.secret.as_bytes());
    let leaf = Task::Leaf { batch: 0, segment: 0 };
    assert!(worker.results.read(leaf).unwrap() != other.results.read(leaf).unwrap());
}

#[test]
fn a_changed_job_has_another_secret_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let worker = done(dir.path(), "job");
    let job = dir.path().join("job");
    // An input is exchanged, and the description with it: the results of the old input are those of another job.
    let text = std::fs::read_to_string(job.join("job.json")).unwrap();
    let input = job.join("inputs/0.npz");
    let old = digest(&input).unwrap();
    std::fs::copy(job.join("inputs/1.npz"), &input).unwrap();
    assert!(matches!(worker.run(Task::Witness { batch: 0 }), Ok(false)), "what is done is done");
    std::fs::remove_file(worker.results.path(Task::Witness { batch: 0 })).unwrap();
    assert!(matches!(worker.run(Task::Witness { batch: 0 }), Err(Error::Job(JobError::Changed { .. }))));
    std::fs::write(job.join("job.json"), text.replace(&old, &digest(&input).unwrap())).unwrap();
    let changed = Worker::new(JobDir::open(&job).unwrap()).unwrap();
    assert_ne!(changed.secret.as_bytes(), worker.secret.as_bytes());
    let leaf = Task::Leaf { batch: 1, segment: 0 };
    assert!(matches!(changed.results.read(leaf), Err(Error::Job(JobError::Result { .. }))));
    // A description that does not fit itself.
    for (from, to) in [("\"version\": 1", "\"version\": 2"), ("fold-0-1\"", "fold-0-2\""), ("\"leaves\": 2", "\"leaves\": 1"), ("{", "[")] {
        std::fs::write(job.join("job.json"), text.replacen(from, to, 1)).unwrap();
        assert!(matches!(JobDir::open(&job), Err(Error::Job(JobError::Description { .. }))), "{from}");
    }
}

#[test]
fn a_forged_result_is_named_even_if_its_tag_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let worker = done(dir.path(), "job");
    let leaf = |batch, segment| Task::Leaf { batch, segment };
    // A witness of other inputs.
    let wrong = worker.encode_witnesses(&worker.execute(1).unwrap()).unwrap();
    worker.results.write(Task::Witness { batch: 0 }, &wrong).unwrap();
    names(&worker, Task::Witness { batch: 0 });
    // A leaf about other inputs.
    let other = worker.results.read(leaf(1, 0)).unwrap();
    worker.results.write(leaf(0, 0), &other).unwrap();
    remake(&worker, leaf(0, 0));
    names(&worker, leaf(0, 0));
    // A leaf of wrong cells.
    let mut witnesses = worker.execute(1).unwrap();
    for cell in witnesses[0].heap.iter_mut().filter(|c| **c != 0).step_by(7) {
        *cell ^= 1;
    }
    let prove = |witnesses: &[_], segment, secret: &JobSecret| {
        prove_leaf(&worker.model, &worker.key, &worker.plan, (1, segment), witnesses, secret).and_then(|a| a.encode())
    };
    worker.results.write(leaf(1, 0), &prove(&witnesses, 0, &worker.secret).unwrap()).unwrap();
    remake(&worker, leaf(1, 0));
    names(&worker, leaf(1, 0));
    // Leaves that are right by themselves, but not the ones that the others belong to.
    let good = worker.execute(1).unwrap();
    for segment in [0, 1] {
        worker.results.write(leaf(1, segment), &prove(&good, segment, &JobSecret::generate()).unwrap()).unwrap();
        remake(&worker, leaf(1, segment));
        names(&worker, leaf(1, segment));
    }
    // A fold of something else.
    let accumulated = |t| worker.accumulated(t).unwrap();
    let swapped = fold_as(&worker.key, accumulated(leaf(1, 1)), accumulated(leaf(1, 0)), false).unwrap();
    let fold = Task::Segments { batch: 1, first: 0, last: 1 };
    worker.results.write(fold, &swapped.encode().unwrap()).unwrap();
    remake(&worker, fold);
    names(&worker, fold);
    join(&worker).unwrap();
}

#[test]
fn damaged_swapped_and_missing_results_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (worker, other) = (done(dir.path(), "job"), done(dir.path(), "other"));
    let (leaf, next) = (Task::Leaf { batch: 0, segment: 1 }, Task::Leaf { batch: 1, segment: 1 });
    let path = worker.results.path(leaf);
    let good = std::fs::read(&path).unwrap();
    for at in [0, 30, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        names(&worker, leaf);
        // With a right digest of the container, what a forger without the secret would write.
        if (24..good.len() - 32).contains(&at) {
            std::fs::write(&path, container::seal(container::Kind::TaskResult, &bad[24..bad.len() - 32])).unwrap();
            names(&worker, leaf);
        }
    }
    std::fs::write(&path, b"").unwrap();
    names(&worker, leaf);
    for from in [worker.results.path(next), other.results.path(leaf)] {
        std::fs::copy(from, &path).unwrap();
        names(&worker, leaf);
    }
    // What is damaged is made again by whoever works on it; what depends on it says what is missing.
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    let fold = Task::Segments { batch: 0, first: 0, last: 1 };
    std::fs::remove_file(worker.results.path(fold)).unwrap();
    assert_eq!((worker.state(leaf).unwrap(), worker.state(fold).unwrap()), (TaskState::Ready, TaskState::Waiting));
    assert_eq!(worker.run(fold).unwrap_err().code(), "E0635");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(worker.run(fold).unwrap_err().code(), "E0633");
    assert_eq!(join(&worker).unwrap_err().code(), "E0633");
    assert!(worker.run(leaf).unwrap() && worker.run(fold).unwrap());
    assert!(std::fs::read(&path).unwrap() == good);
    join(&worker).unwrap();
}
