use super::{Net, Random, count, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, DType, Op, Tensor, ValueId};
use zktorch_program::{Digit, Step, Table, Term, check, execute_steps};

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
    let (weight, rows) = (net.weight(r.tensor(&[2, 4], 1.0)), net.weight(r.tensor(&[4, 2], 1.0)));
    for y in [net.op(Op::Gather { axis: 1 }, &[double, i]), net.op(Op::Gather { axis: 1 }, &[x, i])] {
        net.output(y);
    }
    let place = net.op(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[x]);
    // Rows of a constant count from the end where the index is computed.
    let next = net.constant(Tensor::i64(vec![1], vec![-1]).unwrap());
    let back = net.op(Op::Binary(BinaryFn::Add), &[i, next]);
    for (axis, place) in [(1, place), (1, back), (0, back)] {
        let from = if axis == 0 { rows } else { weight };
        let y = net.op(Op::Gather { axis }, &[from, place]);
        net.output(y);
    }
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

#[test]
fn the_last_of_many_updates_at_computed_positions_counts() {
    let mut r = Random::new(96);
    let mut net = Net::default();
    let (x, i) = inputs(&mut net, &[5, 2], &[70, 1]);
    let u = net.input("u", &[70, 2]);
    let y = net.op(Op::ScatterNd, &[x, i, u]);
    net.output(y);
    let zero = net.constant(Tensor::scalar(0.0));
    let (a, b) = (net.op(Op::Binary(BinaryFn::Greater), &[x, zero]), net.op(Op::Binary(BinaryFn::Greater), &[u, zero]));
    let y = net.op(Op::ScatterNd, &[a, i, b]);
    net.output(y);
    let inputs = vec![r.tensor(&[5, 2], 2.0), r.ids(&[70, 1], 4), r.tensor(&[70, 2], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn writing_at_computed_tuples_that_count_from_the_end() {
    let mut r = Random::new(94);
    let mut net = Net::default();
    let (x, i) = inputs(&mut net, &[3, 4], &[2, 2]);
    let u = net.input("u", &[2]);
    let y = net.op(Op::ScatterNd, &[x, i, u]);
    net.output(y);
    let y = net.op(Op::GatherNd { batch_dims: 0 }, &[x, i]);
    net.output(y);
    let inputs = vec![r.tensor(&[3, 4], 2.0), Tensor::i64(vec![2, 2], vec![-1, 2, 0, -4]).unwrap(), r.tensor(&[2], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

/// Each operator that reads or writes at computed indices into 4 elements of an axis.
fn indexed() -> Vec<(&'static str, Net, Vec<Tensor>)> {
    let mut r = Random::new(95);
    let mut all = Vec::new();
    type Build = fn(&mut Net, ValueId, ValueId, ValueId) -> ValueId;
    let operators: [(&str, &[usize], &[usize], Build); 5] = [
        ("Gather", &[1], &[1], |net, x, i, _| net.op(Op::Gather { axis: 1 }, &[x, i])),
        ("GatherElements", &[3, 1], &[1], |net, x, i, _| net.op(Op::GatherElements { axis: 1 }, &[x, i])),
        ("GatherNd", &[1, 2], &[1], |net, x, i, _| net.op(Op::GatherNd { batch_dims: 0 }, &[x, i])),
        ("ScatterElements", &[3, 1], &[3, 1], |net, x, i, u| net.op(Op::ScatterElements { axis: 1 }, &[x, i, u])),
        ("ScatterNd", &[1, 2], &[1], |net, x, i, u| net.op(Op::ScatterNd, &[x, i, u])),
    ];
    for (name, index, updates, build) in operators {
        let mut net = Net::default();
        let (x, i) = inputs(&mut net, &[3, 4], index);
        let u = net.input("u", updates);
        let y = build(&mut net, x, i, u);
        net.output(y);
        let n = index.iter().product();
        // The last component of a tuple counts columns.
        let places = Tensor::i64(index.to_vec(), vec![2; n]).unwrap();
        all.push((name, net, vec![r.tensor(&[3, 4], 2.0), places, r.tensor(updates, 1.0)]));
    }
    all
}

#[test]
fn an_index_outside_of_its_axis_is_refused() {
    for (name, net, inputs) in indexed() {
        let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
        wrong_cells_are_caught(&model, &inputs);
        for outside in [4, -5] {
            let mut wrong = inputs.clone();
            let mut places = inputs[1].as_i64().unwrap().to_vec();
            *places.last_mut().unwrap() = outside;
            wrong[1] = Tensor::i64(inputs[1].shape.clone(), places).unwrap();
            let error = model.run(&wrong).unwrap_err().to_string();
            assert!(error.contains("out of range") && error.contains("node n0"), "{name}: {error}");
        }
    }
}

#[test]
fn a_witness_that_finds_nothing_at_an_index_outside_is_refused() {
    for (name, net, inputs) in indexed() {
        let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
        let program = &model.built.program;
        let is_position = |s: &Step| matches!(s, Step::Apply { table, .. } if matches!(&program.tables[table.0 as usize], Table::Function { name, .. } if name.starts_with("index into 4")));
        let at = model.built.steps.iter().position(is_position).unwrap();
        let Step::Apply { node, outputs, .. } = &model.built.steps[at] else { panic!("not a table") };
        // Whether a prover can claim the position `p` and go on honestly from there: nothing is found at 4 and beyond.
        let claimed = |index: i64, p: i64| {
            let sizes = outputs[0].shape();
            let digits = vec![Digit { view: outputs[0].clone(), weight: 1, lo: i64::MIN / 2, hi: i64::MAX / 2 }];
            let mut steps = model.built.steps.clone();
            let terms = vec![Term::constant(i128::from(p))];
            steps[at] = Step::Digits { node: node.clone(), outputs: sizes.len(), sizes, terms, digits };
            let mut integers = model.quantize_inputs(&inputs).unwrap();
            *integers[1].last_mut().unwrap() = index;
            let Ok(mut witness) = execute_steps(program, &model.built.parameters, &steps, &integers) else { return false };
            count(program, &mut witness);
            check(program, &model.built.parameters, &witness).is_ok()
        };
        assert!(claimed(2, 2));
        for index in [2, 4, 5, -5] {
            for p in (-5..8).filter(|&p| p != index) {
                assert!(!claimed(index, p), "{name}: index {index} at position {p}");
            }
            assert!(index == 2 || !claimed(index, index), "{name}: index {index} as it is");
        }
    }
}
