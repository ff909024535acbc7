//! Counts: right ones, wrong ones, and what they show.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests::srs;
use crate::{JobSecret, OnnxModel, Options, ProvingKey, Rejection, VerifyingKey, prove_all, prove_leaf, setup, verify_all};

/// `scores = x · w`, `x: [rows, 4]`, `w: [4, 3]`.
fn graph(rows: usize) -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_value("x", DType::F32, vec![rows, 4]);
    let weights = (0..12).map(|i| 0.25 * (i * 7 % 5) as f32 - 0.5).collect();
    let w = graph.add_constant("w", Tensor::f32(vec![4, 3], weights).unwrap(), true);
    let scores = graph.add_value("scores", DType::F32, vec![rows, 3]);
    let node = Node {
        name: "MatMul".to_owned(),
        onnx_op: "MatMul".to_owned(),
        op: Op::MatMul,
        inputs: vec![Some(x), Some(w)],
        outputs: vec![scores],
    };
    graph.nodes.push(node);
    (graph.inputs, graph.outputs) = (vec![x], vec![scores]);
    graph
}

fn images(rows: usize, count: usize) -> Vec<Vec<Tensor>> {
    let value = |k: usize, i: usize| ((k * 5 + i * 3) % 17) as f32 / 8.0 - 1.0;
    (0..count).map(|k| vec![Tensor::f32(vec![rows, 4], (0..rows * 4).map(|i| value(k, i)).collect()).unwrap()]).collect()
}

fn compile(rows: usize, inputs: Visibility) -> Model {
    let options = Options { inputs, metric: Some(Metric::Top1), ..Options::default() };
    OnnxModel::from_graph(graph(rows), "test").compile_on(&images(rows, 9), &options).unwrap()
}

/// Labels `k mod 3`.
fn samples(rows: usize, count: usize) -> Vec<Vec<Tensor>> {
    let label = |k: usize| Tensor { shape: vec![rows], data: Data::I64((0..rows).map(|r| ((k + r) % 3) as i64).collect()) };
    images(rows, count).into_iter().enumerate().map(|(k, mut s)| [s.remove(0), label(k)].into()).collect()
}

/// Rows whose first largest score is at the label's place.
fn by_hand(model: &Model, samples: &[Vec<Tensor>]) -> u64 {
    let mut correct = 0;
    for sample in samples {
        let scores = model.run(sample).unwrap().outputs[0].to_f32_vec();
        for (row, &label) in scores.chunks(3).zip(sample[1].as_i64().unwrap()) {
            let best = (1..3).fold(0, |best, j| if row[j] > row[best] { j } else { best });
            correct += u64::from(best as i64 == label);
        }
    }
    correct
}

fn proved(model: &Model, samples: &[Vec<Tensor>], options: &JobOptions) -> (ProvingKey, VerifyingKey, crate::Proof) {
    let (pk, vk) = setup(model, &srs(model)).unwrap();
    let plan = plan_metric(model, &pk, samples.len(), options).unwrap();
    let all = prove_all(model, &pk, &plan, samples, &|_| {}).unwrap();
    assert_eq!(Score::of_outputs(model, &all.outputs).correct, by_hand(model, samples));
    let proof = all.accumulated.decide(&pk).unwrap();
    (pk, vk, proof)
}

#[test]
fn a_count_is_proved_and_no_single_prediction_is_shown() {
    let model = compile(1, Visibility::Public);
    let samples = samples(1, 13);
    let correct = by_hand(&model, &samples);
    assert!(correct > 0 && correct < 13, "{correct}");
    let (_, vk, proof) = proved(&model, &samples, &JobOptions::default());
    let statements = verify_all(&vk, &proof).unwrap();
    assert_eq!(score(vk.info(), &statements), Some(Score { correct, of: 13 }));
    let [statement] = &statements[..] else { panic!("{} statements", statements.len()) };
    assert_eq!(statement.inferences, 13);
    // 13 inputs of 4 numbers, 13 labels and one count: nothing else is public.
    assert_eq!(proof.public_values(), 13 * 4 + 13 + 1);
    assert!(statement.outputs[0].value.is_none());
    let count = &statement.outputs[1];
    assert!(count.summed && count.value.as_ref().unwrap().as_i64().unwrap() == [correct as i64]);
    let labels: Vec<i64> = (0..13).map(|k| k % 3).collect();
    assert_eq!(statement.inputs[1].value.as_ref().unwrap().as_i64().unwrap(), labels);
}

#[test]
fn another_count_label_or_input_is_refused() {
    let model = compile(1, Visibility::Public);
    let (_, vk, proof) = proved(&model, &samples(1, 6), &JobOptions::default());
    verify_all(&vk, &proof).unwrap();
    let place = |name: &str| vk.program().publics.iter().position(|p| p.name == name).unwrap();
    for (name, at) in [(CORRECT, 0), (LABEL, 0), (LABEL, 5), ("x", 3)] {
        for change in [1, -1] {
            let altered = proof.altered(|publics| publics[place(name)][at] += change);
            assert!(matches!(verify_all(&vk, &altered), Err(Rejection::Proof(_))), "{name}");
        }
    }
}

#[test]
fn a_prover_who_states_another_count_or_label_convinces_nobody() {
    let model = compile(1, Visibility::Public);
    let samples = samples(1, 4);
    let (pk, vk) = setup(&model, &srs(&model)).unwrap();
    let plan = plan_metric(&model, &pk, 4, &JobOptions::default()).unwrap();
    let prove = |name: &str, by: i64| {
        let mut witnesses: Vec<_> = samples.iter().map(|s| model.run(s).unwrap().witness).collect();
        let place = vk.program().publics.iter().position(|p| p.name == name).unwrap();
        witnesses[2].publics[place][0] += by;
        let leaf = prove_leaf(&model, &pk, &plan, (0, 0), &witnesses, &JobSecret::generate()).unwrap();
        verify_all(&vk, &leaf.decide(&pk).unwrap())
    };
    let _ = prove(CORRECT, 0).unwrap();
    for (name, by) in [(CORRECT, 1), (CORRECT, -1), (LABEL, 1), (LABEL, -1)] {
        assert!(matches!(prove(name, by), Err(Rejection::Proof(_))), "{name} {by}");
    }
}

#[test]
fn batches_add_up_and_none_is_of_one() {
    let model = compile(1, Visibility::Public);
    let samples = samples(1, 7);
    let batch = |n| JobOptions { batch: Some(n), ..JobOptions::default() };
    let (pk, vk, proof) = proved(&model, &samples, &JobOptions { segments: Some(2), ..batch(4) });
    let statements = verify_all(&vk, &proof).unwrap();
    assert_eq!(statements.len(), 2);
    assert_eq!(score(vk.info(), &statements), Some(Score { correct: by_hand(&model, &samples), of: 7 }));
    for (inferences, options) in [(7, batch(1)), (3, batch(2))] {
        let refused = plan_metric(&model, &pk, inferences, &options).unwrap_err();
        assert_eq!(refused.code(), "E0707");
    }
    assert_eq!(plan_metric(&model, &pk, 1, &JobOptions::default()).unwrap().batches(), 1);
    let little = JobOptions { memory: Some(1000), ..JobOptions::default() };
    assert_eq!(plan_metric(&model, &pk, 8, &little).unwrap_err().code(), "E0407");
}

#[test]
fn a_hidden_set_shows_only_its_count() {
    for visibility in [Visibility::Private, Visibility::Committed] {
        let model = compile(1, visibility);
        let samples = samples(1, 5);
        let (_, vk, proof) = proved(&model, &samples, &JobOptions::default());
        assert_eq!(proof.public_values(), 1);
        let statements = verify_all(&vk, &proof).unwrap();
        assert_eq!(score(vk.info(), &statements), Some(Score { correct: by_hand(&model, &samples), of: 5 }));
        assert!(statements[0].inputs.iter().all(|i| i.value.is_none()));
        assert_eq!(statements[0].inputs.iter().all(|i| i.commitment.is_some()), visibility == Visibility::Committed);
        let altered = proof.altered(|publics| publics[0][0] += 1);
        assert!(matches!(verify_all(&vk, &altered), Err(Rejection::Proof(_))));
    }
}

#[test]
fn the_first_of_equal_scores_is_the_prediction() {
    let model = compile(1, Visibility::Public);
    let zero = Tensor::f32(vec![1, 4], vec![0.0; 4]).unwrap();
    for (label, correct) in [(0, 1), (1, 0), (2, 0)] {
        let label = Tensor { shape: vec![1], data: Data::I64(vec![label]) };
        let run = model.run(&[zero.clone(), label]).unwrap();
        assert_eq!(run.outputs[1].as_i64().unwrap(), [correct]);
    }
}

#[test]
fn several_rows_of_scores_have_several_labels() {
    let model = compile(2, Visibility::Public);
    let samples = samples(2, 4);
    let (_, vk, proof) = proved(&model, &samples, &JobOptions::default());
    let statements = verify_all(&vk, &proof).unwrap();
    assert_eq!(score(vk.info(), &statements), Some(Score { correct: by_hand(&model, &samples), of: 8 }));
    assert_eq!(proof.public_values(), 4 * (2 * 4 + 2) + 1);
}

#[test]
fn models_that_have_no_scores_or_no_metric_are_refused() {
    let refuse = |change: fn(&mut Graph)| {
        let mut graph = graph(1);
        change(&mut graph);
        let options = Options { metric: Some(Metric::Top1), ..Options::default() };
        OnnxModel::from_graph(graph, "test").compile_on(&images(1, 2), &options).unwrap_err().code()
    };
    assert_eq!(refuse(|g| g.values[0].name = LABEL.to_owned()), "E0206");
    assert_eq!(refuse(|g| g.outputs.clear()), "E0206");
    assert_eq!(refuse(|g| g.values[2].shape = vec![3, 1]), "E0206");
    let plain = OnnxModel::from_graph(graph(1), "test").compile_on(&images(1, 2), &Options::default()).unwrap();
    let (pk, vk) = setup(&plain, &srs(&plain)).unwrap();
    assert_eq!(plan_metric(&plain, &pk, 2, &JobOptions::default()).unwrap_err().code(), "E0705");
    assert_eq!(score(vk.info(), &[]), None);
}
