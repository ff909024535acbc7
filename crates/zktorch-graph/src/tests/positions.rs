use super::{Net, Random, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, DType, Op, Tensor, ValueId};

/// A float input and integer inputs that are positions.
fn inputs(net: &mut Net, shape: &[usize], index: &[usize]) -> (ValueId, ValueId) {
    (net.input("x", shape), net.typed_input("i", index, DType::I64))
}

#[test]
fn gathering_computed_slices_along_each_axis() {
    let mut r = Random::new(91);
    let mut net = Net::default();
    let (x, i) = inputs(&mut net, &[2, 4, 3], &[3]);
    let double = net.op(Op::Binary(BinaryFn::Mul), &[x, x]);
    let weight = net.weight(r.tensor(&[2, 4], 1.0));
    for y in [net.op(Op::Gather { axis: 1 }, &[double, i]), net.op(Op::Gather { axis: 1 }, &[x, i])] {
        net.output(y);
    }
    // Rows of a constant cannot count from the end.
    let place = net.op(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[x]);
    let y = net.op(Op::Gather { axis: 1 }, &[weight, place]);
    net.output(y);
    let inputs = vec![r.tensor(&[2, 4, 3], 2.0), Tensor::i64(vec![3], vec![3, 0, -2]).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn gathering_computed_elements_and_tuples() {
    let mut r = Random::new(92);
    let mut net = Net::default();
    let (x, i) = inputs(&mut net, &[3, 4], &[2, 4]);
    let y = net.op(Op::GatherElements { axis: 0 }, &[x, i]);
    net.output(y);
    let columns = net.node(Op::TopK { axis: 1, k: 2, largest: true }, &[Some(x)], 2)[1];
    let y = net.op(Op::GatherElements { axis: 1 }, &[x, columns]);
    net.output(y);
    let rows = net.constant(Tensor::i64(vec![3, 2, 1], vec![0, 0, 1, 1, 2, 2]).unwrap());
    let columns = net.op(Op::Reshape { shape: vec![3, 2, 1] }, &[columns]);
    let pairs = net.op(Op::Concat { axis: 2 }, &[rows, columns]);
    let table = net.weight(r.tensor(&[3, 4, 2], 1.0));
    for (from, batch_dims) in [(x, 0), (table, 0)] {
        let y = net.op(Op::GatherNd { batch_dims }, &[from, pairs]);
        net.output(y);
    }
    let y = net.op(Op::GatherNd { batch_dims: 1 }, &[x, columns]);
    net.output(y);
    let inputs = vec![r.tensor(&[3, 4], 2.0), Tensor::i64(vec![2, 4], vec![2, 0, -1, 1, 0, 0, -3, 2]).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn writing_at_computed_positions_in_order() {
    let mut r = Random::new(93);
    let mut net = Net::default();
    let (x, i) = inputs(&mut net, &[3, 4], &[3, 2]);
    let u = net.input("u", &[3, 2]);
    let y = net.op(Op::ScatterElements { axis: 1 }, &[x, i, u]);
    net.output(y);
    let row = net.op(Op::ArgMax { axis: 0, keepdims: false, select_last_index: false }, &[x]);
    let row = net.op(Op::Reshape { shape: vec![4, 1] }, &[row]);
    let new = net.input("new", &[4, 4]);
    let y = net.op(Op::ScatterNd, &[x, row, new]);
    net.output(y);
    // The last one of two updates of one element counts.
    let places = Tensor::i64(vec![3, 2], vec![3, 3, 0, -1, 2, 1]).unwrap();
    let inputs = vec![r.tensor(&[3, 4], 2.0), places, r.tensor(&[3, 2], 1.0), r.tensor(&[4, 4], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}
