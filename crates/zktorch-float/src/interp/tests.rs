//! Operators against plain loops and known values.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{BinaryFn, ClosedRow, CoordinateTransform, DType, Direction, Node, PadMode, ReduceFn, ResizeMode, UnaryFn};

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::f32(shape.to_vec(), numbers(shape.iter().product(), seed)).unwrap()
}

fn apply(op: Op, inputs: &[&Tensor]) -> Tensor {
    let inputs: Vec<Option<&Tensor>> = inputs.iter().copied().map(Some).collect();
    eval_op(&op, &inputs).unwrap().remove(0)
}

fn close(a: &Tensor, b: &[f32]) {
    let a = a.as_f32().unwrap();
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-4 * (1.0 + y.abs()), "{x} {y}");
    }
}

#[test]
fn matmul_broadcasts_batches_and_vectors() {
    let (a, b) = (tensor(&[2, 1, 3, 4], 1), tensor(&[5, 4, 2], 2));
    let c = apply(Op::MatMul, &[&a, &b]);
    assert_eq!(c.shape, [2, 5, 3, 2]);
    let (x, y) = (a.as_f32().unwrap(), b.as_f32().unwrap());
    let mut expected = Vec::new();
    for (n, g, i, j) in (0..60).map(|p| (p / 30, p / 6 % 5, p / 2 % 3, p % 2)) {
        expected.push((0..4).map(|k| x[n * 12 + i * 4 + k] * y[g * 8 + k * 2 + j]).sum());
    }
    close(&c, &expected);
    let (v, w) = (tensor(&[4], 3), tensor(&[3, 4], 4));
    assert_eq!(apply(Op::MatMul, &[&w, &v]).shape, [3]);
    assert_eq!(apply(Op::MatMul, &[&v, &tensor(&[7, 4, 2], 5)]).shape, [7, 2]);
    assert_eq!(apply(Op::MatMul, &[&v, &v]).shape, Vec::<usize>::new());
}

/// Convolution of two spatial axes by its definition.
fn naive_conv(x: &Tensor, w: &Tensor, s: usize, d: usize, pad: (usize, usize), group: usize) -> Vec<f32> {
    let [n, c, h, wd] = x.shape[..] else { panic!() };
    let [m, cg, kh, kw] = w.shape[..] else { panic!() };
    let (xs, ws) = (x.as_f32().unwrap(), w.as_f32().unwrap());
    let out = |size: usize, k: usize| (size + pad.0 + pad.1 - (k - 1) * d - 1) / s + 1;
    let (oh, ow) = (out(h, kh), out(wd, kw));
    let mut result = Vec::new();
    for (b, f, i, j) in (0..n * m * oh * ow).map(|p| (p / (m * oh * ow), p / (oh * ow) % m, p / ow % oh, p % ow)) {
        let mut sum = 0.0;
        for (ch, u, v) in (0..cg * kh * kw).map(|p| (p / (kh * kw), p / kw % kh, p % kw)) {
            let (y, z) = ((i * s + u * d).wrapping_sub(pad.0), (j * s + v * d).wrapping_sub(pad.0));
            if y < h && z < wd {
                let channel = f / (m / group) * cg + ch;
                sum += xs[((b * c + channel) * h + y) * wd + z] * ws[((f * cg + ch) * kh + u) * kw + v];
            }
        }
        result.push(sum);
    }
    result
}

#[test]
fn conv_follows_its_definition() {
    for (s, d, pad, group) in [(1, 1, (0, 0), 1), (2, 1, (1, 0), 2), (1, 2, (2, 1), 1), (3, 1, (0, 2), 4)] {
        let (x, w) = (tensor(&[2, 4, 7, 6], 1), tensor(&[8, 4 / group, 3, 2], 2));
        let op = Op::Conv { kernel: vec![3, 2], strides: vec![s; 2], dilations: vec![d; 2], pads: vec![pad; 2], group };
        close(&apply(op, &[&x, &w]), &naive_conv(&x, &w, s, d, pad, group));
    }
}

#[test]
fn transposed_conv_is_the_adjoint() {
    // <conv(x), y> = <x, convᵀ(y)> for every x and y.
    let (x, w, y) = (tensor(&[1, 4, 7, 7], 1), tensor(&[6, 2, 3, 3], 2), tensor(&[1, 6, 4, 4], 3));
    let (kernel, strides, dilations, pads) = (vec![3, 3], vec![2, 2], vec![1, 1], vec![(1, 1), (1, 1)]);
    let forward = apply(
        Op::Conv { kernel: kernel.clone(), strides: strides.clone(), dilations: dilations.clone(), pads: pads.clone(), group: 2 },
        &[&x, &w],
    );
    let back = Op::ConvTranspose { kernel, strides, dilations, pads, output_padding: vec![0, 0], group: 2 };
    let back = apply(back, &[&y, &w]);
    assert_eq!((&forward.shape, &back.shape), (&y.shape, &x.shape));
    let dot = |a: &Tensor, b: &Tensor| -> f32 { a.as_f32().unwrap().iter().zip(b.as_f32().unwrap()).map(|(p, q)| p * q).sum() };
    assert!((dot(&forward, &y) - dot(&x, &back)).abs() < 1e-3);
}

#[test]
fn pooling_counts_padding_as_told() {
    let x = Tensor::f32(vec![1, 1, 4], vec![1.0, 2.0, 3.0, 6.0]).unwrap();
    let average = |count_include_pad, ceil_mode| Op::AveragePool {
        kernel: vec![3],
        strides: vec![2],
        dilations: vec![1],
        pads: vec![(1, 0)],
        ceil_mode,
        count_include_pad,
    };
    close(&apply(average(false, false), &[&x]), &[1.5, 11.0 / 3.0]);
    close(&apply(average(true, false), &[&x]), &[1.0, 11.0 / 3.0]);
    let max = |ceil_mode| Op::MaxPool { kernel: vec![2], strides: vec![3], dilations: vec![1], pads: vec![(0, 0)], ceil_mode };
    close(&apply(max(false), &[&x]), &[2.0]);
    close(&apply(max(true), &[&x]), &[2.0, 6.0]);
}

#[test]
fn softmax_with_a_mask_ignores_the_masked() {
    let x = Tensor::f32(vec![3, 2], vec![1.0, 1.0, 5.0, -3.0, 0.0, 9.0]).unwrap();
    let mask = Tensor::bool(vec![3, 2], vec![true, true, false, true, false, false]).unwrap();
    let masked = |closed| apply(Op::MaskedSoftmax { axis: 1, closed }, &[&x, &mask]);
    close(&masked(ClosedRow::Zero), &[0.5, 0.5, 0.0, 1.0, 0.0, 0.0]);
    close(&masked(ClosedRow::Equal), &[0.5, 0.5, 0.0, 1.0, 0.5, 0.5]);
    let last = 1.0 / (1.0 + (-9f32).exp());
    close(&masked(ClosedRow::Scores), &[0.5, 0.5, 0.0, 1.0, 1.0 - last, last]);
    let big = Tensor::f32(vec![2], vec![1000.0, 1000.0]).unwrap();
    close(&apply(Op::Softmax { axis: 0 }, &[&big]), &[0.5, 0.5]);
    close(&apply(Op::LogSoftmax { axis: 0 }, &[&big]), &[-(2f32.ln()); 2]);
}

#[test]
fn normalisations_give_unit_moments() {
    let (x, ones, zeros) = (tensor(&[2, 4, 6], 1), vec![1.0; 6], vec![0.0; 6]);
    let (ones, zeros) = (Tensor::f32(vec![6], ones).unwrap(), Tensor::f32(vec![6], zeros).unwrap());
    let y = apply(Op::LayerNormalization { axis: 2, eps: 0.0 }, &[&x, &ones, &zeros]);
    for row in y.as_f32().unwrap().chunks(6) {
        assert!(row.iter().sum::<f32>().abs() < 1e-4);
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 6.0).abs() < 1e-3);
    }
    let y = apply(Op::RmsNormalization { axis: 2, eps: 0.0 }, &[&x, &ones]);
    for row in y.as_f32().unwrap().chunks(6) {
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 6.0).abs() < 1e-3);
    }
}

#[test]
fn data_movement_keeps_values() {
    let x = Tensor::i64(vec![2, 3], (0..6).collect()).unwrap();
    let ints = |t: Tensor| t.as_i64().unwrap().to_vec();
    assert_eq!(ints(apply(Op::Transpose { perm: vec![1, 0] }, &[&x])), [0, 3, 1, 4, 2, 5]);
    let reverse = Op::Slice { starts: vec![0, 2], sizes: vec![2, 2], steps: vec![1, -2] };
    assert_eq!(ints(apply(reverse, &[&x])), [2, 0, 5, 3]);
    let pad = |mode| Op::Pad { mode, pads: vec![(0, 0), (2, 1)], value: 9.0 };
    assert_eq!(ints(apply(pad(PadMode::Reflect), &[&x]))[..6], [2, 1, 0, 1, 2, 1]);
    assert_eq!(ints(apply(pad(PadMode::Constant), &[&x]))[..6], [9, 9, 0, 1, 2, 9]);
    assert_eq!(ints(apply(pad(PadMode::Wrap), &[&x]))[..6], [1, 2, 0, 1, 2, 0]);
    let rows = Tensor::ints(vec![-1, 0]);
    assert_eq!(ints(apply(Op::Gather { axis: 0 }, &[&x, &rows])), [3, 4, 5, 0, 1, 2]);
    assert_eq!(ints(apply(Op::Concat { axis: 1 }, &[&x, &x])), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
    assert_eq!(ints(apply(Op::Tile { repeats: vec![1, 2] }, &[&x])), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
    assert_eq!(ints(apply(Op::Trilu { upper: false, k: 0 }, &[&x])), [0, 0, 0, 3, 4, 0]);
    let sum = Op::CumSum { axis: 1, exclusive: true, reverse: true };
    assert_eq!(ints(apply(sum, &[&x])), [3, 2, 0, 9, 5, 0]);
}

#[test]
fn reductions_and_selections() {
    let x = tensor(&[2, 3, 4], 1);
    let v = x.as_f32().unwrap();
    let mean = apply(Op::Reduce { function: ReduceFn::Mean, axes: vec![0, 2], keepdims: false }, &[&x]);
    let expected: Vec<f32> = (0..3).map(|j| (0..8).map(|p| v[p / 4 * 12 + j * 4 + p % 4]).sum::<f32>() / 8.0).collect();
    close(&mean, &expected);
    let large = Tensor::f32(vec![2], vec![900.0, 900.0]).unwrap();
    let log_sum = Op::Reduce { function: ReduceFn::LogSumExp, axes: vec![0], keepdims: true };
    close(&apply(log_sum, &[&large]), &[900.0 + 2f32.ln()]);
    let ties = Tensor::f32(vec![4], vec![1.0, 3.0, 3.0, 0.0]).unwrap();
    let arg = |select_last_index| Op::ArgMax { axis: 0, keepdims: false, select_last_index };
    assert_eq!(apply(arg(false), &[&ties]).as_i64().unwrap(), [1]);
    assert_eq!(apply(arg(true), &[&ties]).as_i64().unwrap(), [2]);
    let top = eval_op(&Op::TopK { axis: 0, k: 3, largest: true }, &[Some(&ties)]).unwrap();
    assert_eq!(top[1].as_i64().unwrap(), [1, 2, 0]);
}

#[test]
fn einsum_matches_loops() {
    let (a, b) = (tensor(&[2, 3, 4], 1), tensor(&[5, 4, 2], 2));
    let y = apply(Op::Einsum { equation: "bij,kjb->bki".to_owned() }, &[&a, &b]);
    let (u, v) = (a.as_f32().unwrap(), b.as_f32().unwrap());
    let expected: Vec<f32> = (0..30)
        .map(|p| (p / 15, p / 3 % 5, p % 3))
        .map(|(b, k, i)| (0..4).map(|j| u[b * 12 + i * 4 + j] * v[k * 8 + j * 2 + b]).sum())
        .collect();
    close(&y, &expected);
    let square = tensor(&[3, 3], 3);
    let w = square.as_f32().unwrap();
    close(&apply(Op::Einsum { equation: "ii->".to_owned() }, &[&square]), &[w[0] + w[4] + w[8]]);
}

#[test]
fn linear_resize_matches_known_values() {
    let x = Tensor::f32(vec![2], vec![0.0, 4.0]).unwrap();
    let op = |transform| Op::Resize { mode: ResizeMode::Linear, transform, scales: vec![2.0], sizes: vec![4] };
    close(&apply(op(CoordinateTransform::HalfPixel), &[&x]), &[0.0, 1.0, 3.0, 4.0]);
    close(&apply(op(CoordinateTransform::AlignCorners), &[&x]), &[0.0, 4.0 / 3.0, 8.0 / 3.0, 4.0]);
    close(&apply(op(CoordinateTransform::Asymmetric), &[&x]), &[0.0, 2.0, 4.0, 4.0]);
}

#[test]
fn reverse_recurrence_is_forward_on_the_reversed_sequence() {
    let (x, w, r) = (tensor(&[5, 2, 3], 1), tensor(&[1, 16, 3], 2), tensor(&[1, 16, 4], 3));
    let op = |direction| Op::Lstm {
        direction,
        hidden: 4,
        activations: vec![[crate::RnnActivation::Sigmoid, crate::RnnActivation::Tanh, crate::RnnActivation::Tanh]],
        clip: None,
        input_forget: false,
    };
    let flip = |t: &Tensor| {
        let steps: Vec<i64> = (0..t.rank()).map(|a| if a == 0 { -1 } else { 1 }).collect();
        let starts = (0..t.rank()).map(|a| if a == 0 { t.shape[0] - 1 } else { 0 }).collect();
        apply(Op::Slice { starts, sizes: t.shape.clone(), steps }, &[t])
    };
    let forward = apply(op(Direction::Forward), &[&flip(&x), &w, &r]);
    let reverse = apply(op(Direction::Reverse), &[&x, &w, &r]);
    close(&flip(&forward), reverse.as_f32().unwrap());
}

#[test]
fn bad_operands_are_errors() {
    let (a, b) = (tensor(&[2, 3], 1), tensor(&[4], 2));
    let fails = |op: Op, inputs: &[Option<&Tensor>]| assert!(eval_op(&op, inputs).is_err(), "{op:?}");
    fails(Op::MatMul, &[Some(&a), Some(&b)]);
    fails(Op::Binary(BinaryFn::Add), &[Some(&a), Some(&b)]);
    fails(Op::Binary(BinaryFn::Add), &[Some(&a)]);
    fails(Op::Softmax { axis: 2 }, &[Some(&a)]);
    fails(Op::Reshape { shape: vec![7] }, &[Some(&a)]);
    fails(Op::Expand { shape: vec![1 << 40, 3] }, &[Some(&a)]);
    fails(Op::Transpose { perm: vec![0, 0] }, &[Some(&a)]);
    fails(Op::Gather { axis: 0 }, &[Some(&a), Some(&Tensor::ints(vec![2]))]);
    fails(Op::Slice { starts: vec![1, 0], sizes: vec![2, 3], steps: vec![1, 1] }, &[Some(&a)]);
    fails(Op::Unary(UnaryFn::Not), &[Some(&a)]);
    let zero = Tensor::ints(vec![0]);
    fails(Op::Binary(BinaryFn::Div), &[Some(&zero), Some(&zero)]);
}

#[test]
fn graphs_run_and_check_their_inputs() {
    let mut graph = Graph::default();
    let x = graph.add_value("x", DType::F32, vec![2]);
    let c = graph.add_constant("c", Tensor::scalar(3.0), true);
    let y = graph.add_value("y", DType::F32, vec![2]);
    let z = graph.add_value("z", DType::F32, vec![2]);
    let node = |name: &str, op, inputs: &[ValueId], output| Node {
        name: name.to_owned(),
        onnx_op: String::new(),
        op,
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![output],
    };
    graph.inputs.push(x);
    graph.nodes.push(node("mul", Op::Binary(BinaryFn::Mul), &[x, c], y));
    graph.nodes.push(node("neg", Op::Unary(UnaryFn::Neg), &[y], z));
    graph.outputs.push(z);
    graph.validate().unwrap();
    let input = Tensor::f32(vec![2], vec![1.0, -2.0]).unwrap();
    let mut visited = Vec::new();
    let outputs = run(&graph, std::slice::from_ref(&input), |id, _| visited.push(id)).unwrap();
    close(&outputs[0], &[-3.0, 6.0]);
    assert_eq!(visited, [x, y, z]);
    assert_eq!(interpret(&graph, &[input]).unwrap().iter().flatten().count(), 4);
    let wrong = Tensor::f32(vec![3], vec![0.0; 3]).unwrap();
    assert!(matches!(run(&graph, &[wrong], |_, _| {}), Err(EvalError::InputMismatch { .. })));
    graph.nodes.swap(0, 1);
    assert!(graph.validate().is_err());
}
