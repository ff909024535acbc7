//! Proofs as jobs of many processes: workers that are killed, results that are damaged or swapped.

use crate::World;
use prost::Message as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zktorch_onnx::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

const TOKENS: usize = 4;
const WIDTH: usize = 8;

/// A transformer layer: attention with one head and a residual, then two layers with a residual. `[4, 8]` to `[4, 8]`.
fn transformer() -> Vec<u8> {
    let text = |s: &str| Some(s.to_owned());
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: text(output),
        op_type: text(op),
        ..NodeProto::default()
    };
    let weight = |name: &str, dims: &[usize], seed: usize| TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(1),
        float_data: (0..dims.iter().product()).map(|i: usize| ((i * 7 + seed * 5) % 13) as f32 / 26.0 - 0.23).collect(),
        name: text(name),
        ..TensorProto::default()
    };
    let value = |name: &str| {
        let dim = |n: usize| DimensionProto { dim_value: Some(n as i64), dim_param: None };
        let shape = TensorShapeProto { dim: vec![dim(TOKENS), dim(WIDTH)] };
        let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(shape) };
        ValueInfoProto { name: text(name), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    };
    let graph = GraphProto {
        name: text("transformer"),
        node: vec![
            node("MatMul", &["x", "wq"], "q"),
            node("MatMul", &["x", "wk"], "k"),
            node("MatMul", &["x", "wv"], "v"),
            node("Transpose", &["k"], "kt"),
            node("MatMul", &["q", "kt"], "scores"),
            node("Softmax", &["scores"], "weights"),
            node("MatMul", &["weights", "v"], "mixed"),
            node("Add", &["x", "mixed"], "attended"),
            node("MatMul", &["attended", "w1"], "inner"),
            node("Relu", &["inner"], "active"),
            node("MatMul", &["active", "w2"], "outer"),
            node("Add", &["attended", "outer"], "y"),
        ],
        initializer: vec![
            weight("wq", &[WIDTH, WIDTH], 1),
            weight("wk", &[WIDTH, WIDTH], 2),
            weight("wv", &[WIDTH, WIDTH], 3),
            weight("w1", &[WIDTH, 2 * WIDTH], 4),
            weight("w2", &[2 * WIDTH, WIDTH], 5),
        ],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: text(""), version: Some(17) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..ModelProto::default() }.encode_to_vec()
}

fn input(k: usize) -> String {
    let values: Vec<f32> = (0..TOKENS * WIDTH).map(|i| ((i * 3 + k * 11) % 17) as f32 / 8.0 - 1.0).collect();
    format!("{{\"input_data\": [{values:?}]}}")
}

/// The transformer with its keys, and two inputs.
fn world() -> World {
    let world = World::new();
    world.write("t.onnx", transformer());
    std::fs::create_dir(world.path("inputs")).unwrap();
    (0..2).for_each(|k| world.write(&format!("inputs/{k}.json"), input(k)));
    world.run("compile t.onnx -o t.zkt --calibrate inputs/0.json --calibrate inputs/1.json").succeeded();
    world.run("setup t.zkt --pk t.pk --vk t.vk").succeeded();
    world
}

fn plan(world: &World, job: &str) {
    let made = world.run(&format!("plan t.zkt --pk t.pk --inputs inputs --batch 1 --segments 3 -o {job} --json")).succeeded().json();
    assert_eq!(made["inferences"], 2);
    // Two witnesses, six leaves, five folds.
    assert_eq!(made["tasks"].as_array().unwrap().len(), 13, "{made}");
}

/// A process that works on `job` until nothing is left.
fn worker(world: &World) -> Child {
    Command::new(env!("CARGO_BIN_EXE_zktorch"))
        .args("work job --all --claim-timeout 1 --threads 1 --json".split(' '))
        .current_dir(world.dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a process is at a task of a kind.
fn wait_until_at(world: &World, worker: &mut Child, kind: &str) {
    let began = Instant::now();
    loop {
        for entry in std::fs::read_dir(world.path("job/claims")).unwrap() {
            let path = entry.unwrap().path();
            let is_kind = path.file_name().unwrap().to_str().unwrap().starts_with(kind);
            // A claim may be gone by now.
            if is_kind && std::fs::read_to_string(&path).is_ok_and(|pid| pid == worker.id().to_string()) {
                return;
            }
        }
        assert!(worker.try_wait().unwrap().is_none(), "the worker has ended");
        assert!(began.elapsed() < Duration::from_secs(120), "the worker is at nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// SIGKILL.
fn kill(mut worker: Child) {
    worker.kill().unwrap();
    assert!(!worker.wait().unwrap().success());
}

#[test]
fn four_workers_one_of_them_killed_twice_make_one_proof() {
    let world = world();
    plan(&world, "job");
    let mut unlucky = worker(&world);
    wait_until_at(&world, &mut unlucky, "");
    kill(unlucky);
    let mut unlucky = worker(&world);
    wait_until_at(&world, &mut unlucky, "leaf");
    let mut workers: Vec<Child> = (0..3).map(|_| worker(&world)).collect();
    kill(unlucky);
    workers.push(worker(&world));
    for worker in workers {
        let done = worker.wait_with_output().unwrap();
        assert!(done.status.success());
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["finished"], true);
    }
    let joined = world.run("join job -o proof.bin --json").succeeded().json();
    assert_eq!(joined["inferences"], 2);
    let verified = world.run("verify proof.bin --vk t.vk --json").succeeded().json();
    let statements = verified["statements"].as_array().unwrap();
    for (k, statement) in statements.iter().enumerate() {
        let run = world.run(&format!("run t.zkt --input inputs/{k}.json --json")).succeeded().json();
        assert_eq!(statement["outputs"], run["outputs"]);
    }
    assert_eq!(statements.len(), 2);
    // Nobody else can look into the job.
    let mode = |name: &str| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path(name)).unwrap().permissions()) & 0o777;
    assert_eq!(mode("job"), 0o700);
    for secret in ["job/secret", "job/inputs/0.npz", "job/results/witness-0.witness", "job/results/leaf-0-1.acc"] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
}

/// That the join refuses the result of `task`, and that running it again helps.
fn named(world: &World, task: &str, words: &str) {
    let refused = world.run("join job -o bad.proof");
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    assert!(refused.stderr.starts_with(&format!("error[E0635]: the result of task {task} is refused")), "{}", refused.stderr);
    assert!(refused.stderr.contains(words) && refused.stderr.contains("run it again: zktorch work JOB"), "{}", refused.stderr);
    assert!(!world.path("bad.proof").exists());
    std::fs::remove_file(world.path(&format!("job/results/{task}.acc"))).unwrap();
    world.run(&format!("work job {task}")).succeeded();
}

#[test]
fn wrong_results_are_named_and_made_again() {
    let world = world();
    plan(&world, "job");
    let early = world.run("work job leaf-0-0");
    assert_eq!(early.code, 2);
    assert!(early.stderr.contains("error[E0633]") && early.stderr.contains("witness-0"), "{}", early.stderr);
    assert_eq!(world.run("work job leaf-9-9 --json").json()["error"]["code"], "E0632");
    assert_eq!(world.run("work job").code, 2);
    let missing = world.run("join job -o proof.bin");
    assert!(missing.stderr.starts_with("error[E0633]"), "{}", missing.stderr);
    let some = world.run("work job --next 2 --json").succeeded().json();
    assert_eq!(some["made"].as_array().unwrap().len(), 2);
    assert_eq!(some["finished"], false);
    world.run("work job --all").succeeded();
    assert!(world.run("work job leaf-0-0").succeeded().stdout.contains("there already"));

    let leaf = "job/results/leaf-0-1.acc";
    let good = world.bytes(leaf);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    world.write(leaf, &flipped);
    named(&world, "leaf-0-1", "do not match its digest");
    assert!(world.bytes(leaf) == good, "a task that is run again has the same result");

    world.write(leaf, world.bytes("job/results/leaf-0-2.acc"));
    named(&world, "leaf-0-1", "it is the result of task leaf-0-2");

    plan(&world, "other");
    world.run("work other --all").succeeded();
    world.write(leaf, world.bytes("other/results/leaf-0-1.acc"));
    named(&world, "leaf-0-1", "it belongs to another job");

    // With the worker's own advice followed, all is well.
    world.run("join job -o proof.bin").succeeded();
    world.run("verify proof.bin --vk t.vk").succeeded();
    let inspected = world.run(&format!("inspect {leaf}")).succeeded().stdout;
    assert!(inspected.contains("task leaf-0-1") && inspected.contains("secret"), "{inspected}");

    // A job is planned once, and its files stay as they are.
    world.refuses("plan t.zkt --pk t.pk --inputs inputs -o job", "E0630", "exists already");
    world.refuses("work inputs --all", "E0601", "job.json");
    world.write("job/inputs/0.npz", world.bytes("job/inputs/1.npz"));
    world.refuses("join job -o bad.proof", "E0634", "inputs/0.npz");
}
