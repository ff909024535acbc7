use super::{Net, Random, reference};
use crate::{CompileError, CompileOptions, compile_to_goal};
use zktorch_float::{BinaryFn, Op, Tensor, UnaryFn};
use zktorch_program::check;

/// A perceptron whose last layer subtracts nearly equal numbers if `hard`.
fn perceptron(hard: bool) -> (Net, Vec<Vec<Tensor>>) {
    let mut r = Random::new(41);
    let mut net = Net::default();
    let x = net.input("x", &[1, 16]);
    let w = net.weight(r.tensor(&[16, 24], 0.5));
    let y = net.op(Op::MatMul, &[x, w]);
    let mut y = net.op(Op::Unary(UnaryFn::Tanh), &[y]);
    if hard {
        // The output is a small difference of large numbers, which 16 bits hold only coarsely.
        let big = net.weight(Tensor::f32(vec![1], vec![3000.0]).unwrap());
        let shifted = net.op(Op::Binary(BinaryFn::Add), &[y, big]);
        let square = net.op(Op::Binary(BinaryFn::Mul), &[shifted, shifted]);
        let w = net.weight(r.tensor(&[24, 24], 0.1));
        y = net.op(Op::MatMul, &[square, w]);
    }
    let w = net.weight(r.tensor(&[24, 10], 0.5));
    let y = net.op(Op::MatMul, &[y, w]);
    net.output(y);
    let samples = (0..8).map(|_| vec![r.tensor(&[1, 16], 1.0)]).collect();
    (net, samples)
}

#[test]
fn a_goal_is_met_at_the_least_cost() {
    let (net, samples) = perceptron(false);
    let mut costs = Vec::new();
    for goal in [0.99, 0.9999, 0.999_999] {
        let (model, report) = compile_to_goal(&net.graph, &samples, &CompileOptions::default(), goal).unwrap();
        assert!(report.reached >= goal, "{report:?}");
        for inputs in &samples {
            let result = model.run(inputs).unwrap();
            check(&model.built.program, &model.built.parameters, &result.witness).unwrap();
            let fidelity = model.fidelity(&reference(&net.graph, inputs), &result.outputs);
            assert!(fidelity[0].cosine >= goal, "{fidelity:?}");
        }
        costs.push((report.activation_bits, model.report.cost()));
    }
    assert!(costs.is_sorted(), "{costs:?}");
    assert!(costs[0].1 < costs[2].1, "{costs:?}");
}

#[test]
fn what_limits_the_fidelity_is_said() {
    let (net, samples) = perceptron(true);
    let (model, report) = compile_to_goal(&net.graph, &samples, &CompileOptions::default(), 1.0).unwrap();
    assert!(report.reached < 1.0 && report.reached > 0.9, "{report:?}");
    assert!(!report.limits.is_empty() && report.limits[0].loss > 0.0, "{report:?}");
    assert!(report.limits.is_sorted_by(|a, b| a.loss >= b.loss), "{report:?}");
    let result = model.run(&samples[0]).unwrap();
    check(&model.built.program, &model.built.parameters, &result.witness).unwrap();
}

#[test]
fn a_goal_needs_inputs_and_a_sensible_cosine() {
    let (net, samples) = perceptron(false);
    let options = CompileOptions::default();
    let refused = |e: CompileError| matches!(e, CompileError::Option { option: "fidelity", .. });
    assert!(refused(compile_to_goal(&net.graph, &[], &options, 0.9).unwrap_err()));
    assert!(refused(compile_to_goal(&net.graph, &samples, &options, 1.5).unwrap_err()));
    assert!(refused(compile_to_goal(&net.graph, &samples, &options, f64::NAN).unwrap_err()));
}
