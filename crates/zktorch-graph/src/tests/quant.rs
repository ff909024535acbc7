use super::{Net, Random, verify, wrong_cells_are_caught};
use crate::{CompileOptions, compile};
use zktorch_float::{BinaryFn, DType, Op, Tensor, UnaryFn};

fn bytes(r: &mut Random, shape: &[usize]) -> Tensor {
    let ids = r.ids(shape, 256);
    Tensor::i64(shape.to_vec(), ids.as_i64().unwrap().iter().map(|v| v - 128).collect()).unwrap()
}

fn scalar(v: i64) -> Tensor {
    Tensor::i64(Vec::new(), vec![v]).unwrap()
}

#[test]
fn quantised_convolution_and_product_are_exact() {
    let mut r = Random::new(61);
    let mut net = Net::default();
    let x = net.input("x", &[1, 2, 4, 4]);
    let scale = net.weight(Tensor::scalar(0.013));
    let zero = net.weight(scalar(7));
    let q = net.op(Op::QuantizeLinear { axis: 1, low: -128, high: 127 }, &[x, scale, zero]);
    let d = net.op(Op::Binary(BinaryFn::Sub), &[q, zero]);
    let w = net.weight(bytes(&mut r, &[3, 2, 3, 3]));
    let b = net.weight(Tensor::ints(vec![500, -700, 12_345]));
    let conv = Op::Conv { kernel: vec![3, 3], strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], group: 1 };
    let acc = net.op(conv, &[d, w, b]);
    let f = net.weight(Tensor::f32(vec![3], vec![0.001_234, 0.02, 7.7e-4]).unwrap());
    let to = net.weight(scalar(-5));
    // A rectifier is a bound.
    let y = net.op(Op::Requantize { axis: 1, low: -5, high: 127 }, &[acc, f, to]);
    let pool = Op::MaxPool { kernel: vec![2, 2], strides: vec![2, 2], dilations: vec![1, 1], pads: vec![(0, 0), (0, 0)], ceil_mode: false };
    let p = net.op(pool, &[y]);
    let flat = net.op(Op::Reshape { shape: vec![1, 12] }, &[p]);
    let m = net.weight(bytes(&mut r, &[12, 4]));
    let acc = net.op(Op::MatMul, &[flat, m]);
    let g = net.weight(Tensor::scalar(0.003_3));
    let z = net.op(Op::Requantize { axis: 1, low: 0, high: 255 }, &[acc, g, zero]);
    let back = net.op(Op::DequantizeLinear { axis: 1 }, &[z, scale, zero]);
    for id in [q, y, z, back] {
        net.output(id);
    }
    let inputs: Vec<_> = (0..3).map(|_| vec![r.tensor(&[1, 2, 4, 4], 2.0)]).collect();
    // Integers agree exactly: the bound is below 1.
    let model = verify(&net, &inputs, 2e-3);
    wrong_cells_are_caught(&model, &inputs[0]);
}

#[test]
fn halves_go_to_even() {
    let mut net = Net::default();
    let x = net.typed_input("x", &[9], DType::I64);
    let half = net.weight(Tensor::scalar(0.5));
    let quarters = net.weight(Tensor::scalar(0.75));
    for f in [half, quarters] {
        let y = net.op(Op::Requantize { axis: 0, low: -6, high: 5 }, &[x, f]);
        net.output(y);
    }
    let inputs = vec![Tensor::ints(vec![-30, -5, -3, -1, 1, 2, 3, 5, 30])];
    // Public integers have 32 bits: no tie can be excluded, and the table rounds.
    let error = compile(&net.graph, std::slice::from_ref(&inputs), &CompileOptions::default()).map(|m| m.run(&inputs).unwrap().outputs);
    let outputs = error.unwrap();
    assert_eq!(outputs[0].as_i64().unwrap(), [-6, -2, -2, 0, 0, 1, 2, 2, 5]);
    assert_eq!(outputs[1].as_i64().unwrap(), [-6, -4, -2, -1, 1, 2, 2, 4, 5]);
    let model = verify(&net, std::slice::from_ref(&inputs), 0.0);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn halves_of_fine_factors_go_to_even() {
    let mut net = Net::default();
    let x = net.typed_input("x", &[8], DType::I64);
    let factor = net.weight(Tensor::scalar(3.0 / f32::from(1u16 << 15) / 4.0));
    let y = net.op(Op::Requantize { axis: 0, low: -100, high: 100 }, &[x, factor]);
    net.output(y);
    // 3·2^-17: multiples of 2^16 are half way.
    let inputs = vec![Tensor::ints(vec![65536, -65536, 3 * 65536, -3 * 65536, 65535, 65537, -65537, 0])];
    let model = verify(&net, std::slice::from_ref(&inputs), 0.0);
    assert_eq!(model.run(&inputs).unwrap().outputs[0].as_i64().unwrap(), [2, -2, 4, -4, 1, 2, -2, 0]);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn a_computed_float_is_quantised_with_a_warning() {
    let mut r = Random::new(62);
    let mut net = Net::default();
    let x = net.input("x", &[4, 8]);
    let s = net.weight(Tensor::scalar(0.1));
    let e = net.op(Op::Unary(UnaryFn::Exp), &[x]);
    let q = net.op(Op::QuantizeLinear { axis: 0, low: 0, high: 255 }, &[e, s]);
    net.output(q);
    let inputs = vec![r.tensor(&[4, 8], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 1.0);
    assert!(model.report.warnings.iter().any(|w| w.contains("n1") && w.contains("computed float")), "{:?}", model.report.warnings);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn bytes_by_the_extrema_of_the_tensor_and_a_product_of_them() {
    let mut r = Random::new(63);
    let mut net = Net::default();
    let x = net.input("x", &[3, 8]);
    let made = net.node(Op::DynamicQuantizeLinear, &[Some(x)], 3);
    let d = net.op(Op::Binary(BinaryFn::Sub), &[made[0], made[2]]);
    let w = net.weight(bytes(&mut r, &[8, 4]));
    let acc = net.op(Op::MatMul, &[d, w]);
    let acc = net.op(Op::Cast { to: DType::F32 }, &[acc]);
    // Scales of one weight, and of its columns.
    for scales in [Tensor::scalar(7.3e-4), Tensor::f32(vec![4], vec![1e-3, 2e-4, 9e-4, 5e-5]).unwrap()] {
        let scales = net.weight(scales);
        let scale = net.op(Op::Binary(BinaryFn::Mul), &[made[1], scales]);
        let y = net.op(Op::Binary(BinaryFn::Mul), &[acc, scale]);
        net.output(y);
    }
    let inputs: Vec<_> = (0..3).map(|_| vec![r.tensor(&[3, 8], 2.0)]).collect();
    // An integer that differs by 1 moves a sum by 127 steps of 2/255·1e-3 at most.
    let model = verify(&net, &inputs, 3e-3);
    wrong_cells_are_caught(&model, &inputs[0]);
    made.iter().for_each(|&id| net.output(id));
    net.graph.outputs.drain(..2);
    let model = verify(&net, &inputs, 1.0);
    for sample in &inputs {
        let (want, got) = (super::reference(&net.graph, sample), model.run(sample).unwrap().outputs);
        let differ = want[0].as_i64().unwrap().iter().zip(got[0].as_i64().unwrap()).filter(|(a, b)| a != b).count();
        assert!(differ <= 1, "{differ} of 24 integers differ");
        assert_eq!(want[2], got[2]);
        assert!((want[1].to_f32_vec()[0] / got[1].to_f32_vec()[0] - 1.0).abs() < 1e-3);
    }
}
