//! Simplifications keep the meaning: each test states the plain computation and compares.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, bool_tensor, close, float_tensor, int, int_tensor, ints, numbers, outputs, tensor};
use zktorch_float::{BinaryFn, ClosedRow, Graph, Op, Tensor, UnaryFn};
use zktorch_onnx::proto::ElementType;

fn only_op(graph: &Graph) -> &Op {
    assert_eq!(graph.nodes.len(), 1, "{:?}", graph.nodes);
    &graph.nodes[0].op
}

/// The input, and the output of the graph on it.
fn evaluate(graph: &Graph, shape: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let x = tensor(shape);
    let y = outputs(graph, std::slice::from_ref(&x)).remove(0);
    (x.to_f32_vec(), y)
}

#[test]
fn gelu_in_both_spellings() {
    let exact = Model::new(13)
        .input("x", &["2", "5"])
        .scalar("root", std::f32::consts::SQRT_2)
        .scalar("one", 1.0)
        .scalar("half", 0.5)
        .node("Div", "x root", "a", vec![])
        .node("Erf", "a", "b", vec![])
        .node("Add", "b one", "c", vec![])
        .node("Mul", "x c", "d", vec![])
        .node("Mul", "d half", "y", vec![])
        .output("y")
        .import();
    assert_eq!(only_op(&exact), &Op::Unary(UnaryFn::Gelu));
    let (x, y) = evaluate(&exact, &[2, 5]);
    let tanh = Model::new(13)
        .input("x", &["2", "5"])
        .scalar("three", 3.0)
        .scalar("cubic", 0.044_715)
        .scalar("factor", 0.797_884_6)
        .scalar("one", 1.0)
        .scalar("half", 0.5)
        .node("Mul", "x half", "h", vec![])
        .node("Pow", "x three", "a", vec![])
        .node("Mul", "a cubic", "b", vec![])
        .node("Add", "x b", "c", vec![])
        .node("Mul", "c factor", "d", vec![])
        .node("Tanh", "d", "e", vec![])
        .node("Add", "e one", "f", vec![])
        .node("Mul", "h f", "y", vec![])
        .output("y")
        .import();
    assert_eq!(only_op(&tanh), &Op::Unary(UnaryFn::GeluTanh));
    let (_, z) = evaluate(&tanh, &[2, 5]);
    for ((x, y), z) in x.iter().zip(&y).zip(&z) {
        let t = 0.797_884_6 * (x + 0.044_715 * x.powi(3));
        assert!((z - 0.5 * x * (1.0 + t.tanh())).abs() < 1e-5);
        assert!((y - z).abs() < 2e-3);
    }
}

#[test]
fn silu_and_near_misses() {
    let model = |second: &str| {
        Model::new(13)
            .input("x", &["2", "5"])
            .node("Neg", "x", "n", vec![])
            .node("Sigmoid", "x", "s", vec![])
            .node("Mul", second, "y", vec![])
            .output("y")
            .import()
    };
    let silu = model("x s");
    assert_eq!(only_op(&silu), &Op::Unary(UnaryFn::Silu { alpha: 1.0 }));
    let (x, y) = evaluate(&silu, &[2, 5]);
    close(&y, &x.iter().map(|x| x / (1.0 + (-x).exp())).collect::<Vec<_>>());
    let other = model("n s");
    assert_eq!(other.nodes.len(), 3);
    let (x, y) = evaluate(&other, &[2, 5]);
    close(&y, &x.iter().map(|x| -x / (1.0 + (-x).exp())).collect::<Vec<_>>());
}

fn norm_model(subtract: bool) -> Model {
    let model = Model::new(13)
        .input("x", &["2", "3", "8"])
        .weight(float_tensor("g", &[8], &numbers(8)))
        .weight(float_tensor("b", &[8], &numbers(8)))
        .scalar("two", 2.0)
        .scalar("eps", 1e-5);
    let mean = || vec![ints("axes", &[-1])];
    if subtract {
        model
            .node("ReduceMean", "x", "m", mean())
            .node("Sub", "x m", "d", vec![])
            .node("Pow", "d two", "p", vec![])
            .node("ReduceMean", "p", "v", mean())
            .node("Add", "v eps", "ve", vec![])
            .node("Sqrt", "ve", "r", vec![])
            .node("Div", "d r", "n", vec![])
            .node("Mul", "n g", "s", vec![])
            .node("Add", "s b", "y", vec![])
    } else {
        model
            .node("Mul", "x x", "p", vec![])
            .node("ReduceMean", "p", "v", mean())
            .node("Add", "v eps", "ve", vec![])
            .node("Sqrt", "ve", "r", vec![])
            .node("Reciprocal", "r", "q", vec![])
            .node("Mul", "x q", "n", vec![])
            .node("Mul", "g n", "y", vec![])
    }
    .output("y")
}

#[test]
fn normalisations_written_out() {
    for subtract in [true, false] {
        let graph = norm_model(subtract).import();
        let known = match only_op(&graph) {
            Op::LayerNormalization { axis: 2, .. } => subtract,
            Op::RmsNormalization { axis: 2, .. } => !subtract,
            _ => false,
        };
        assert!(known);
        let (x, y) = evaluate(&graph, &[2, 3, 8]);
        let g = numbers(8);
        for (row, out) in x.chunks(8).zip(y.chunks(8)) {
            let mean = if subtract { row.iter().sum::<f32>() / 8.0 } else { 0.0 };
            let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 8.0;
            let bias = |i: usize| if subtract { g[i] } else { 0.0 };
            let expected: Vec<f32> = (0..8).map(|i| (row[i] - mean) / (var + 1e-5).sqrt() * g[i] + bias(i)).collect();
            close(out, &expected);
        }
    }
}

#[test]
fn a_mean_over_another_axis_is_left_alone() {
    let mut model = norm_model(false);
    model.graph.node[1].attribute = vec![ints("axes", &[1])];
    assert!(model.import().nodes.len() > 1);
}

fn masked(bias: &[f32]) -> Model {
    Model::new(13)
        .input("x", &["2", "3", "3"])
        .weight(float_tensor("m", &[3, 3], bias))
        .scalar("zero", 0.0)
        .node("Add", "x m", "a", vec![])
        .node("Softmax", "a", "s", vec![int("axis", -1)])
        .node("IsNaN", "s", "n", vec![])
        .node("Where", "n zero s", "y", vec![])
        .output("y")
}

#[test]
fn constant_masks_become_truth_values() {
    let (inf, low) = (f32::NEG_INFINITY, f32::MIN);
    let graph = masked(&[0.0, inf, low, 0.0, 0.0, inf, 0.0, 0.0, 0.0]).import();
    // The guard stays as an identity because its result is an output.
    let ops: Vec<_> = graph.nodes.iter().map(|n| &n.op).collect();
    assert_eq!(ops, [&Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Equal }, &Op::Unary(UnaryFn::Identity)]);
    let mask = graph.nodes[0].inputs[1].unwrap();
    assert!(!graph.value(mask).from_weights);
    let (x, y) = evaluate(&graph, &[2, 3, 3]);
    close(&y[..3], &[1.0, 0.0, 0.0]);
    let second = 1.0 / (1.0 + (x[4] - x[3]).exp());
    close(&y[3..6], &[second, 1.0 - second, 0.0]);
}

#[test]
fn a_bias_inside_a_mask_is_kept() {
    let graph = masked(&[0.5, f32::MIN, f32::MIN, 1.0, -1.0, f32::MIN, 0.0, 0.0, 2.0]).import();
    let (x, y) = evaluate(&graph, &[2, 3, 3]);
    let second = 1.0 / (1.0 + (x[4] - 1.0 - x[3] - 1.0).exp());
    close(&y[..6], &[1.0, 0.0, 0.0, second, 1.0 - second, 0.0]);
    assert!(graph.nodes.iter().any(|n| matches!(n.op, Op::MaskedSoftmax { .. })));
}

#[test]
fn an_empty_row_of_a_constant_mask_is_zero_behind_its_guard() {
    let inf = f32::NEG_INFINITY;
    let graph = masked(&[inf, inf, inf, 0.0, 0.0, inf, 0.0, 0.0, 0.0]).import();
    assert!(graph.nodes.iter().any(|n| n.op == Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Zero }));
    let (_, y) = evaluate(&graph, &[2, 3, 3]);
    close(&y[..3], &[0.0, 0.0, 0.0]);
}

/// What ONNX Runtime 1.31 makes of a row that is closed by a number (weights of NaN by -∞).
#[test]
fn the_number_of_a_mask_says_what_a_closed_row_is() {
    let cases = [
        (f32::NEG_INFINITY, ClosedRow::Zero, ClosedRow::Zero),
        (f32::MIN, ClosedRow::Equal, ClosedRow::Equal),
        (-1e9, ClosedRow::Equal, ClosedRow::Equal),
        (-65504.0, ClosedRow::Scores, ClosedRow::Equal),
        (-10000.0, ClosedRow::Scores, ClosedRow::Equal),
    ];
    for (low, added, chosen) in cases {
        let base = || {
            let model = Model::new(13).input("x", &["1", "4"]).input_of("m", ElementType::Bool, &["1", "4"]);
            model.scalar("zero", 0.0).scalar("low", low)
        };
        let sum = base().node("Where", "m zero low", "w", vec![]).node("Add", "x w", "a", vec![]);
        let choice = base().node("Where", "m x low", "a", vec![]);
        for (model, closed) in [(sum, added), (choice, chosen)] {
            let graph = model.node("Softmax", "a", "y", vec![int("axis", -1)]).output("y").import();
            assert_eq!(only_op(&graph), &Op::MaskedSoftmax { axis: 1, closed }, "{low}");
        }
    }
}

#[test]
fn computed_masks_are_taken_out() {
    let graph = Model::new(13)
        .input("x", &["2", "3", "3"])
        .input_of("m", ElementType::Bool, &["1", "3"])
        .weight(bool_tensor("all", &[3, 1], &[true; 3]))
        .scalar("zero", 0.0)
        .scalar("low", f32::MIN)
        .node("And", "all m", "k", vec![])
        .node("Where", "k zero low", "w", vec![])
        .node("Add", "x w", "a", vec![])
        .node("Softmax", "a", "y", vec![int("axis", -1)])
        .output("y")
        .import();
    assert_eq!(only_op(&graph), &Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Equal });
    let mask = Tensor::bool(vec![1, 3], vec![true, false, true]).unwrap();
    let x = tensor(&[2, 3, 3]);
    let y = outputs(&graph, &[x.clone(), mask]).remove(0);
    let x = x.to_f32_vec();
    let first = 1.0 / (1.0 + (x[2] - x[0]).exp());
    close(&y[..3], &[first, 0.0, 1.0 - first]);
}

/// Scores of two queries and four keys under a mask of the keys, `nodes` of which make `m` from the numbers `n`.
fn padded(element: ElementType, low: f32, nodes: &[(&str, &str, &str)]) -> Graph {
    let causal = float_tensor("causal", &[2, 4], &[0.0, 0.0, 0.0, f32::MIN, 0.0, 0.0, 0.0, 0.0]);
    let model = Model::new(13).input("x", &["2", "4"]).input_of("n", element, &["1", "4"]).weight(causal);
    let model = model.scalar("zero", 0.0).scalar("one", 1.0).scalar("low", low);
    let to = |op: &str, to| if op == "Cast" { vec![int("to", to)] } else { vec![] };
    let float = ElementType::Float as i64;
    let model = nodes.iter().fold(model, |m, &(op, operands, result)| m.node(op, operands, result, to(op, float)));
    model.node("Add", "x m", "a", vec![]).node("Softmax", "a", "y", vec![int("axis", -1)]).output("y").import()
}

#[test]
fn padding_is_taken_out_in_all_its_spellings() {
    let factor = [("Cast", "n", "f"), ("Sub", "one f", "c"), ("Mul", "c low", "m")];
    let both = [("Cast", "n", "f"), ("Sub", "one f", "c"), ("Mul", "low c", "p"), ("Add", "p causal", "m")];
    let summed = [("Cast", "n", "f"), ("Add", "causal f", "s"), ("Equal", "s zero", "g"), ("Where", "g low causal", "m")];
    for (nodes, causal) in [(&factor[..], false), (&both, true), (&summed, true)] {
        let graph = padded(ElementType::Int64, f32::MIN, nodes);
        assert!(graph.nodes.iter().any(|n| matches!(n.op, Op::MaskedSoftmax { closed: ClosedRow::Equal, .. })), "{nodes:?}");
        assert!(!graph.nodes.iter().any(|n| matches!(n.op, Op::Binary(BinaryFn::Mul | BinaryFn::Add))), "{nodes:?}: {:?}", graph.nodes);
        let n = Tensor::i64(vec![1, 4], vec![1, 0, 1, 1]).unwrap();
        let x = Tensor::f32(vec![2, 4], vec![0.5, 9.0, 0.5, 0.5, 1.0, 9.0, 1.0, 1.0]).unwrap();
        let first = if causal { [0.5, 0.0, 0.5, 0.0] } else { [1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0] };
        let y = outputs(&graph, &[x, n]).remove(0);
        close(&y[..4], &first);
        close(&y[4..], &[1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0]);
    }
}

#[test]
fn sums_of_sums_are_searched_for_masks_in_bounded_time() {
    let model = Model::new(13).input("x", &["2", "4"]).node("Add", "x x", "s0", vec![]);
    let model = (1..60).fold(model, |m, i| m.node("Add", &format!("s{0} s{0}", i - 1), &format!("s{i}"), vec![]));
    let graph = model.node("Add", "x s59", "a", vec![]).node("Softmax", "a", "y", vec![int("axis", -1)]).output("y").import();
    assert!(!graph.nodes.iter().any(|n| matches!(n.op, Op::MaskedSoftmax { .. })));
}

#[test]
fn fractions_of_a_finite_penalty_are_no_mask() {
    let nodes = [("Sub", "one n", "c"), ("Mul", "c low", "m")];
    let masked = |low| padded(ElementType::Float, low, &nodes).nodes.iter().any(|n| matches!(n.op, Op::MaskedSoftmax { .. }));
    assert!(masked(-1e9) && !masked(-10000.0));
}

#[test]
fn equal_computations_are_shared_and_idle_movement_vanishes() {
    let graph = Model::new(13)
        .input("x", &["1", "4"])
        .weight(int_tensor("i", &[4], &[0, 1, 2, 3]))
        .weight(int_tensor("s", &[2], &[2, 2]))
        .node("Relu", "x", "a", vec![])
        .node("Relu", "x", "b", vec![])
        .node("Add", "a b", "c", vec![])
        .node("Gather", "c i", "d", vec![int("axis", 1)])
        .node("Reshape", "d s", "y", vec![])
        .output("y")
        .import();
    assert_eq!(graph.nodes.len(), 3);
    let (x, y) = evaluate(&graph, &[1, 4]);
    close(&y, &x.iter().map(|v| 2.0 * v.max(0.0)).collect::<Vec<_>>());
}

#[test]
fn a_logarithm_of_summed_exponentials_is_one_operator() {
    let model = Model::new(13).input("x", &["2", "3"]).node("Exp", "x", "e", vec![]).node("ReduceSum", "e", "s", vec![]);
    let graph = model.node("Log", "s", "y", vec![]).output("y").import();
    assert!(matches!(only_op(&graph), Op::Reduce { function: zktorch_float::ReduceFn::LogSumExp, .. }));
}
