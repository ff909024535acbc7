use super::{Net, Random, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, DType, Op, ReduceFn, Tensor, UnaryFn};

#[test]
fn scattering_at_constant_positions() {
    let mut r = Random::new(81);
    let mut net = Net::default();
    let x = net.input("x", &[4, 3]);
    let u = net.input("u", &[2, 3]);
    let rows = net.constant(Tensor::i64(vec![2, 1], vec![3, 1]).unwrap());
    let places = net.constant(Tensor::i64(vec![2, 3], vec![0, 1, 3, 2, -1, 0]).unwrap());
    let pairs = net.constant(Tensor::i64(vec![3, 2], vec![0, 0, 2, 1, 3, 2]).unwrap());
    let nd = net.op(Op::ScatterNd, &[x, rows, u]);
    let elements = net.op(Op::ScatterElements { axis: 0 }, &[x, places, u]);
    let gathered = net.op(Op::GatherNd { batch_dims: 0 }, &[x, pairs]);
    let picked = net.op(Op::GatherElements { axis: 0 }, &[x, places]);
    for y in [nd, elements, gathered, picked] {
        net.output(y);
    }
    let inputs = vec![r.tensor(&[4, 3], 2.0), r.tensor(&[2, 3], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn one_hot_rows_of_computed_indices() {
    let mut net = Net::default();
    let i = net.typed_input("i", &[2, 2], DType::I64);
    let values = net.constant(Tensor::f32(vec![2], vec![-0.5, 2.0]).unwrap());
    for axis in [0, 2] {
        let y = net.op(Op::OneHot { axis, depth: 3 }, &[i, values]);
        net.output(y);
    }
    let inputs = vec![Tensor::i64(vec![2, 2], vec![0, 2, -1, 5]).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn largest_and_smallest_elements_in_order() {
    let mut net = Net::default();
    let x = net.input("x", &[2, 5]);
    for (axis, k, largest) in [(1, 3, true), (1, 5, false), (0, 1, true)] {
        let outputs = net.node(Op::TopK { axis, k, largest }, &[Some(x)], 2);
        outputs.into_iter().for_each(|y| net.output(y));
    }
    // With equal elements: the first one comes first.
    let x = Tensor::f32(vec![2, 5], vec![1.0, 3.0, -2.0, 3.0, 0.5, -1.0, -1.0, -1.0, 2.0, 0.0]).unwrap();
    let inputs = vec![x];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn long_orders_and_wide_integers() {
    let mut r = Random::new(85);
    let mut net = Net::default();
    let (x, i) = (net.input("x", &[2, 30]), net.typed_input("i", &[6, 2], DType::I64));
    for (from, axis, k, largest) in [(x, 1, 20, true), (x, 1, 30, false), (i, 0, 2, true), (i, 0, 6, false)] {
        net.node(Op::TopK { axis, k, largest }, &[Some(from)], 2).into_iter().for_each(|y| net.output(y));
    }
    // The elements at the places that were found, which need not be shown to be on the axis.
    let places = net.graph.outputs[1];
    let y = net.op(Op::GatherElements { axis: 1 }, &[x, places]);
    net.output(y);
    let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let wide = Tensor::i64(vec![6, 2], vec![high, 5, low, 5, 0, 5, high, 5, low, 5, -1, 5]).unwrap();
    // Steps of 1/4, so that there are equal elements.
    let steps = r.tensor(&[2, 30], 8.0).to_f32_vec().iter().map(|v| v.round() / 4.0).collect();
    let inputs = vec![Tensor::f32(vec![2, 30], steps).unwrap(), wide];
    let model = verify(&net, std::slice::from_ref(&inputs), 0.0);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn products_over_axes() {
    let mut r = Random::new(82);
    let mut net = Net::default();
    let x = net.input("x", &[2, 3, 2]);
    for (axes, keepdims) in [(vec![1], true), (vec![0, 2], false)] {
        let y = net.op(Op::Reduce { function: ReduceFn::Prod, axes, keepdims }, &[x]);
        net.output(y);
    }
    let counts = net.typed_input("n", &[3, 2], DType::I64);
    let y = net.op(Op::Reduce { function: ReduceFn::Prod, axes: vec![0], keepdims: true }, &[counts]);
    net.output(y);
    let inputs = vec![r.tensor(&[2, 3, 2], 1.5), Tensor::i64(vec![3, 2], vec![3, -2, 0, 5, 7, 4]).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn steps_and_remainders() {
    let mut net = Net::default();
    let x = net.input("x", &[9]);
    for f in [
        UnaryFn::Round,
        UnaryFn::Floor,
        UnaryFn::Ceil,
        UnaryFn::Sign,
        UnaryFn::Cos,
        UnaryFn::Softsign,
        UnaryFn::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
        UnaryFn::Celu { alpha: 0.5 },
        UnaryFn::HardSigmoid { alpha: 0.2, beta: 0.5 },
        UnaryFn::ThresholdedRelu { alpha: 1.0 },
        UnaryFn::Shrink { lambd: 0.5, bias: 0.25 },
    ] {
        let y = net.op(Op::Unary(f), &[x]);
        net.output(y);
    }
    let divisor = net.constant(Tensor::scalar(0.75));
    for f in [BinaryFn::Mod, BinaryFn::FMod] {
        let y = net.op(Op::Binary(f), &[x, divisor]);
        net.output(y);
    }
    // Halves are on the grid and go to even.
    let values = vec![-2.5, -1.5, -0.6, 0.0, 0.5, 1.1, 1.5, 2.4, 2.6];
    verify(&net, &[vec![Tensor::f32(vec![9], values).unwrap()]], 2e-3);
}

#[test]
fn running_sums_and_triangles() {
    let mut r = Random::new(83);
    let mut net = Net::default();
    let x = net.input("x", &[3, 4]);
    for (axis, exclusive, reverse) in [(0, false, false), (1, true, false), (1, false, true)] {
        let y = net.op(Op::CumSum { axis, exclusive, reverse }, &[x]);
        net.output(y);
    }
    for (upper, k) in [(true, 1), (false, 0)] {
        let y = net.op(Op::Trilu { upper, k }, &[x]);
        net.output(y);
    }
    let inputs = vec![r.tensor(&[3, 4], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}
