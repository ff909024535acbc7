//! The facade as a library: what is bound to what.

#![allow(clippy::unwrap_used)]

use crate::keys::{ModelInfo, VerifyingKey};
use crate::parts::Layout;
use crate::proof::Run;
use crate::{
    Accumulated, DType, Error, FileError, JobOptions, JobSecret, Model, OnnxModel, Options, Plan, ReferenceString, Rejection, Tensor,
    Visibility, fold_as, prove, prove_all, prove_leaf, setup, verify, verify_all,
};
use zktorch_float::{Graph, Node, Op, UnaryFn};
use zktorch_protocol::VerifyError;

/// `logits = relu(x · w)`, `x: [1, 4]`.
fn model(options: &Options) -> Model {
    let mut graph = Graph::default();
    let x = graph.add_value("x", DType::F32, vec![1, 4]);
    let weights = (0..12).map(|i| 0.25 * (i % 5) as f32 - 0.5).collect();
    let w = graph.add_constant("w", Tensor::f32(vec![4, 3], weights).unwrap(), true);
    let y = graph.add_value("y", DType::F32, vec![1, 3]);
    let logits = graph.add_value("logits", DType::F32, vec![1, 3]);
    let node = |name: &str, op: Op, inputs: &[_], output| Node {
        name: name.to_owned(),
        onnx_op: name.to_owned(),
        op,
        inputs: inputs.iter().map(|&i| Some(i)).collect(),
        outputs: vec![output],
    };
    graph.nodes = vec![node("MatMul", Op::MatMul, &[x, w], y), node("Relu", Op::Unary(UnaryFn::Relu), &[y], logits)];
    graph.inputs = vec![x];
    graph.outputs = vec![logits];
    OnnxModel::from_graph(graph, "model").compile_on(&[input()], options).unwrap()
}

fn input() -> Vec<Tensor> {
    vec![Tensor::f32(vec![1, 4], vec![1.0, -0.5, 0.25, 2.0]).unwrap()]
}

pub(crate) fn srs(model: &Model) -> ReferenceString {
    ReferenceString::generate(model.required_srs_size().unwrap().trailing_zeros())
}

#[test]
fn the_statement_is_what_the_integer_model_computes() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let mut phases = Vec::new();
    let proved = prove(&model, &pk, &input(), &mut |phase| phases.push(phase)).unwrap();
    assert_eq!(phases.first(), Some(&"witness"));
    assert_eq!(phases.len(), proved.phases.len());
    let statement = verify(&vk, &proved.proof).unwrap();
    assert_eq!(statement.inputs[0].value.as_ref(), Some(&input()[0]));
    assert_eq!(statement.outputs[0].value.as_ref(), Some(&proved.outputs[0]));
    let logits = proved.outputs[0].as_f32().unwrap();
    let by_hand: Vec<f32> = (0..3)
        .map(|j| (0..4).map(|k| input()[0].as_f32().unwrap()[k] * (0.25 * ((3 * k + j) % 5) as f32 - 0.5)).sum::<f32>().max(0.0))
        .collect();
    assert!(logits.iter().zip(&by_hand).all(|(a, b)| (a - b).abs() < 1e-3), "{logits:?} {by_hand:?}");
}

#[test]
fn names_scales_and_order_are_part_of_the_model_id() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let proof = prove(&model, &pk, &input(), &mut |_| {}).unwrap().proof;
    let changes: [fn(&mut ModelInfo); 3] =
        [|info| info.outputs[0].scale += 1, |info| info.source.push('x'), |info| info.inputs[0].element = crate::Element::I64];
    for change in changes {
        let mut info = vk.info().clone();
        change(&mut info);
        let forged = VerifyingKey::new(vk.key.clone(), info).unwrap();
        assert_ne!(forged.model_id(), vk.model_id());
        assert!(matches!(verify(&forged, &proof), Err(Rejection::OtherModel { .. })));
        // Writing the forged id into the proof does not help: the transcript is bound to the id.
        let relabelled = proof.relabelled(forged.model_id());
        assert!(matches!(verify(&forged, &relabelled), Err(Rejection::Proof(_))));
    }
}

#[test]
fn metadata_that_does_not_fit_the_program_is_no_key() {
    let model = model(&Options::default());
    let (_, vk) = setup(&model, &srs(&model)).unwrap();
    let changes: [fn(&mut ModelInfo); 7] = [
        |info| info.outputs[0].name.push('x'),
        |info| info.outputs[0].shape = vec![3, 1],
        |info| info.outputs[0].public = Some(9),
        |info| info.outputs[0].public = None,
        |info| info.outputs[0].visibility = Visibility::Private,
        |info| info.outputs[0].scale = 1000,
        |info| info.inputs.clear(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut info = vk.info().clone();
        change(&mut info);
        assert!(VerifyingKey::new(vk.key.clone(), info).is_err(), "change {i}");
    }
}

#[test]
fn hidden_tensors_have_no_value_in_the_statement() {
    for (inputs, outputs) in [(Visibility::Private, Visibility::Public), (Visibility::Committed, Visibility::Private)] {
        let model = model(&Options { inputs, outputs, ..Options::default() });
        let (pk, vk) = setup(&model, &srs(&model)).unwrap();
        let proved = prove(&model, &pk, &input(), &mut |_| {}).unwrap();
        assert_eq!(proved.outputs[0].shape, [1, 3], "whoever proves sees the outputs");
        let statement = verify(&vk, &proved.proof).unwrap();
        assert!(statement.inputs[0].value.is_none());
        assert_eq!(statement.inputs[0].commitment.is_some(), inputs == Visibility::Committed);
        assert_eq!(statement.outputs[0].value.is_some(), outputs == Visibility::Public);
    }
}

/// `y = x · w`, `x: [1, 40]`, with a weight matrix whose second axis is no power of two.
fn wide_model(name: &str) -> (Model, Vec<Tensor>) {
    let mut graph = Graph::default();
    let x = graph.add_value("x", DType::F32, vec![1, 40]);
    let weights = (0..40 * 30).map(|i| ((i * 7919) % 201) as f32 / 100.0 - 1.0).collect();
    let w = graph.add_constant("w", Tensor::f32(vec![40, 30], weights).unwrap(), true);
    let y = graph.add_value("y", DType::F32, vec![1, 30]);
    let product = || "MatMul".to_owned();
    graph.nodes = vec![Node { name: product(), onnx_op: product(), op: Op::MatMul, inputs: vec![Some(x), Some(w)], outputs: vec![y] }];
    graph.inputs = vec![x];
    graph.outputs = vec![y];
    let input = vec![Tensor::f32(vec![1, 40], (0..40).map(|i| i as f32 / 20.0 - 1.0).collect()).unwrap()];
    let model = OnnxModel::from_graph(graph, name).compile_on(std::slice::from_ref(&input), &Options::default()).unwrap();
    assert_eq!(model.compiled.built.parameters.matrices.len(), 1);
    (model, input)
}

#[test]
fn mapped_weights_are_those_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let (model, input) = wide_model("model");
    let length = model.write(&path).unwrap();
    assert_eq!(length, std::fs::metadata(&path).unwrap().len());
    let mapped = Model::read(&path).unwrap();
    assert_eq!(mapped.digest(), model.digest());
    assert_eq!(mapped.compiled, model.compiled);
    mapped.write(&dir.path().join("again")).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(dir.path().join("again")).unwrap());
    // With the same randomness, the same keys and proofs.
    let srs = srs(&model).0;
    let make = |model: &Model| {
        use rand_core::SeedableRng as _;
        let rng = || rand_chacha::ChaCha20Rng::seed_from_u64(7);
        let built = &model.compiled.built;
        let (pk, vk) = zktorch_protocol::setup(&built.program, &built.parameters, &srs, &mut rng()).unwrap();
        let run = model.run(&input).unwrap();
        let witness = &run.witness;
        let statement = zktorch_protocol::Statement::of(&vk, b"", &witness.publics);
        let secrets = zktorch_protocol::Witness { heap: &witness.heap, parameters: &built.parameters };
        let fresh = zktorch_protocol::Blinding::Fresh;
        let proof = zktorch_protocol::prove(&pk, &vk, &statement, secrets, fresh, rng(), &mut |_| {}).unwrap();
        assert_eq!(zktorch_protocol::verify(&vk, b"", &witness.publics, &proof).unwrap().publics, witness.publics);
        (pk.encode(), vk.encode(), proof)
    };
    assert!(make(&mapped) == make(&model));
}

#[test]
fn damaged_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    // One of two names of different length leads to padding before the cells.
    let metadata = |file: &[u8]| u64::from_le_bytes(file[24..32].try_into().unwrap()) as usize;
    let files = ["model", "models"].map(|name| {
        wide_model(name).0.write(&path).unwrap();
        std::fs::read(&path).unwrap()
    });
    let good = files.into_iter().find(|file| !(24 + 8 + metadata(file)).is_multiple_of(64)).unwrap();
    let refusal = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Model::read(&path) {
            Err(Error::File(e)) => e,
            other => panic!("{other:?}"),
        }
    };
    for n in [0, 7, 23, 24, 100, good.len() - 1] {
        let error = refusal(&good[..n]);
        assert!(n == 0 || matches!(error, FileError::Truncated { .. }), "{n} bytes: {error}");
    }
    assert!(matches!(refusal(&[&good[..], &[0]].concat()), FileError::Trailing { count: 1, .. }));
    for at in [24, 40, good.len() / 2, good.len() - 40, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(refusal(&bad), FileError::Corrupt { .. }), "byte {at}");
    }
    // What has a digest of its own must still be a model: cells missing, left over, or displaced.
    let payload = &good[24..good.len() - 32];
    let longer = [payload, &[0]].concat();
    for bad in [&payload[..payload.len() - 1], &longer, &payload[..4], &payload[1..]] {
        let error = refusal(&crate::container::seal(crate::Kind::Model, bad));
        assert!(matches!(error, FileError::Payload { .. }), "{error}");
    }
    let mut bad = payload.to_vec();
    bad[8 + metadata(&good)] = 1;
    assert!(matches!(refusal(&crate::container::seal(crate::Kind::Model, &bad)), FileError::Payload { .. }));
    std::fs::write(&path, &good).unwrap();
    Model::read(&path).unwrap();
}

#[test]
fn keys_and_proofs_survive_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let (pk_path, vk_path) = (dir.path().join("pk"), dir.path().join("vk"));
    crate::write_keys((&pk, &pk_path), (&vk, &vk_path)).unwrap();
    model.write(&dir.path().join("model")).unwrap();
    let model = Model::read(&dir.path().join("model")).unwrap();
    let pk = crate::ProvingKey::read(&pk_path).unwrap();
    let proof = prove(&model, &pk, &input(), &mut |_| {}).unwrap().proof;
    proof.write(&dir.path().join("proof")).unwrap();
    let again = crate::Proof::read(&dir.path().join("proof")).unwrap();
    assert_eq!(again, proof);
    let vk = VerifyingKey::read(&vk_path).unwrap();
    assert_eq!(vk.model_id(), pk.model_id());
    assert_eq!(verify(&vk, &again).unwrap().model_id, vk.model_id());
}

pub(crate) fn inputs(count: usize) -> Vec<Vec<Tensor>> {
    let value = |k: usize, i: usize| ((k * 5 + i * 3) % 17) as f32 / 8.0 - 1.0;
    (0..count).map(|k| vec![Tensor::f32(vec![1, 4], (0..4).map(|i| value(k, i)).collect()).unwrap()]).collect()
}

#[test]
fn many_inferences_in_batches_and_segments_are_one_proof() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let inputs = inputs(7);
    for (batch, segments) in [(1, 1), (3, 1), (7, 1), (2, 2), (1, 3)] {
        let options = JobOptions { batch: Some(batch), segments: Some(segments), memory: None };
        let plan = Plan::new(&model, inputs.len(), &[], &options).unwrap();
        let seen = std::sync::Mutex::new(Vec::new());
        let all = prove_all(&model, &pk, &plan, &inputs, &|p| seen.lock().unwrap().push(p)).unwrap();
        let last = seen.into_inner().unwrap().into_iter().max_by_key(|p| p.leaves + p.folds).unwrap();
        assert_eq!((last.leaves, last.folds, last.total), (plan.leaves(), plan.leaves() - 1, plan.leaves()));
        all.accumulated.check(&pk).unwrap();
        let proof = all.accumulated.decide(&pk).unwrap();
        let statements = verify_all(&vk, &proof).unwrap();
        assert_eq!(statements.len(), 7);
        for ((statement, input), output) in statements.iter().zip(&inputs).zip(&all.outputs) {
            assert_eq!(statement.inputs[0].value.as_ref(), Some(&input[0]));
            assert_eq!(statement.outputs[0].value.as_ref(), Some(&output[0]));
        }
        assert!(matches!(verify(&vk, &proof), Err(Rejection::Proof(_))), "several inferences are no single one");
    }
}

#[test]
fn accumulators_are_folded_later() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let make = |range: std::ops::Range<usize>, segments| {
        let plan = Plan::new(&model, range.len(), &[], &JobOptions { segments: Some(segments), ..JobOptions::default() }).unwrap();
        prove_all(&model, &pk, &plan, &inputs(6)[range], &|_| {}).unwrap().accumulated
    };
    let path = dir.path().join("a.acc");
    make(0..2, 2).write(&path).unwrap();
    let first = Accumulated::read(&path).unwrap();
    let all = fold_as(&pk, fold_as(&pk, first.clone(), make(2..3, 1), true).unwrap(), make(3..6, 3), true).unwrap();
    assert_eq!(all.inferences(), 6);
    all.check(&pk).unwrap();
    let statements = verify_all(&vk, &all.decide(&pk).unwrap()).unwrap();
    for (statement, input) in statements.iter().zip(inputs(6)) {
        assert_eq!(statement.inputs[0].value.as_ref(), Some(&input[0]));
    }
    // A batch without its last segment is no proof of it.
    let half = fold_as(&pk, first, make(2..3, 1), false).unwrap();
    assert!(half.check(&pk).is_err());
    assert!(verify_all(&vk, &half.decide(&pk).unwrap()).is_err());
    // Another set-up's key.
    let (other, _) = setup(&model, &srs(&model)).unwrap();
    assert!(make(0..1, 1).decide(&other).is_err());
}

#[test]
fn a_sum_over_inferences_is_no_single_inference() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let logits = vk.info().outputs[0].public.unwrap();
    let plan = Plan::new(&model, 3, &[logits, logits], &JobOptions { batch: Some(3), ..JobOptions::default() }).unwrap();
    let all = prove_all(&model, &pk, &plan, &inputs(3), &|_| {}).unwrap();
    let proof = all.accumulated.decide(&pk).unwrap();
    let statements = verify_all(&vk, &proof).unwrap();
    assert_eq!((statements.len(), statements[0].inferences, statements[0].outputs[0].summed), (1, 3, true));
    assert!(matches!(verify(&vk, &proof), Err(Rejection::Proof(VerifyError::Parts(_)))));
}

#[test]
fn layouts_and_lists_that_do_not_fit_are_refused_at_once() {
    let model = model(&Options::default());
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let plan = Plan::new(&model, 2, &[], &JobOptions { batch: Some(2), segments: Some(2), memory: None }).unwrap();
    let proof = prove_all(&model, &pk, &plan, &inputs(2), &|_| {}).unwrap().accumulated.decide(&pk).unwrap();
    let run = proof.runs()[0].clone();
    let _ = verify_all(&vk, &proof).unwrap();
    let layout = |inferences, segments, summed: &[u32]| Layout { inferences, segments, summed: summed.to_vec() };
    let with = |layout: Layout| vec![Run { layout, publics: run.publics.clone() }];
    let publics = |publics: Vec<Vec<i64>>| vec![Run { layout: run.layout.clone(), publics }];
    let many = |n: u32| (1..=n).map(|k| Run { layout: layout(k, 1, &[]), publics: run.publics.clone() }).collect::<Vec<_>>();
    let mut short = run.publics.clone();
    short[0].pop();
    for (i, runs) in [
        Vec::new(),
        with(layout(0, 1, &[])),
        with(layout(2, 0, &[])),
        with(layout(1, 1, &[])),
        with(layout(3, 2, &[])),
        with(layout(u32::MAX, 2, &[])),
        with(layout(u32::MAX, 1, &[0, 1])),
        with(layout(2, 1, &[])),
        with(layout(2, 3, &[])),
        with(layout(2, u32::MAX, &[])),
        with(layout(2, 2, &[1, 1])),
        with(layout(2, 2, &[u32::MAX])),
        publics(Vec::new()),
        publics(vec![Vec::new(); 2]),
        publics(vec![vec![i64::MIN; 8]; 2]),
        publics(short),
        many(64),
        many(65),
        vec![run.clone(), run.clone()],
        vec![run.clone(); 100_000],
    ]
    .into_iter()
    .enumerate()
    {
        let hostile = proof.with_runs(runs);
        assert!(verify_all(&vk, &hostile).is_err(), "{i}");
        // What it would be made of may be known all the same; it must not panic, nor take long.
        let _ = hostile.parts(&vk);
    }
    let reason = |runs| verify_all(&vk, &proof.with_runs(runs)).unwrap_err().to_string();
    assert!(reason(many(65)).contains("too many different layouts"));
    assert!(!reason(many(64)).contains("too many different layouts"));
    assert!(reason(with(layout(2, 2, &[1, 1]))).contains("not in order"));
}

#[test]
fn one_secret_for_two_inputs_or_layouts_repeats_no_mask() {
    let model = model(&Options { inputs: Visibility::Private, ..Options::default() });
    let (pk, _) = setup(&model, &srs(&model)).unwrap();
    let secret = JobSecret::from_bytes([7; 32]);
    let witness = |k: usize| model.run(&inputs(3)[k]).unwrap().witness;
    let rows = model.compiled.built.program.heap_len >> model.compiled.built.program.row_bits;
    let leaf = |batch: usize, witnesses: &[zktorch_program::Witness]| {
        let plan = Plan::new(&model, witnesses.len(), &[], &JobOptions { batch: Some(batch), ..JobOptions::default() }).unwrap();
        prove_leaf(&model, &pk, &plan, (0, 0), witnesses, &secret).unwrap().messages()
    };
    let one = leaf(1, &[witness(0)]);
    assert_eq!(one, leaf(1, &[witness(0)]), "the same leaf");
    for other in [leaf(1, &[witness(1)]), leaf(2, &[witness(0), witness(1)])] {
        // Rows of the heap may be equal; no other message is.
        let words: std::collections::HashSet<&[u8; 32]> = other.as_chunks::<32>().0.iter().collect();
        let equal = one.as_chunks::<32>().0.iter().skip(rows).filter(|word| words.contains(word));
        assert_eq!(equal.count(), 0);
    }
}

#[test]
fn a_budget_of_memory_makes_segments_or_is_refused() {
    let model = model(&Options::default());
    let plan = |memory| Plan::new(&model, 1, &[], &JobOptions { memory: Some(memory), ..JobOptions::default() });
    assert_eq!(plan(1 << 34).unwrap().leaves(), 1);
    assert_eq!(plan(1000).unwrap_err().code(), "E0407");
}
