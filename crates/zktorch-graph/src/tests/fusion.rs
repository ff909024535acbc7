//! What needs no cells of its own: affine parts of normalisations, values that nobody reads, copies behind masked attention.

use super::{Net, Random, reference, verify, wrong_cells_are_caught};
use crate::CompiledModel;
use zktorch_float::{BinaryFn, ClosedRow, Op, Tensor, UnaryFn, ValueId};

/// Cells and lookups per element of a node's result.
fn cost(model: &CompiledModel, op: &str, elements: usize) -> Vec<(usize, usize)> {
    model.report.nodes.iter().filter(|n| n.op == op).map(|n| (n.cells / elements, n.lookups / elements)).collect()
}

fn positive(r: &mut Random, n: usize) -> Tensor {
    Tensor::f32(vec![n], (0..n).map(|_| 1.0 + 0.5 * r.next()).collect()).unwrap()
}

/// `norm` of 16 elements with factor and summand, `[8, 16]` to `[8, 16]`.
fn norm(net: &mut Net, r: &mut Random, x: ValueId, center: bool) -> ValueId {
    let gamma = positive(r, 64);
    let (gamma, beta) = (net.weight(gamma), net.weight(r.tensor(&[64], 0.3)));
    match center {
        true => net.op(Op::LayerNormalization { axis: 1, eps: 1e-5 }, &[x, gamma, beta]),
        false => net.op(Op::RmsNormalization { axis: 1, eps: 1e-5 }, &[x, gamma]),
    }
}

#[test]
fn the_affine_part_of_a_norm_goes_into_the_products_that_read_it() {
    for center in [true, false] {
        let mut r = Random::new(41);
        let mut net = Net::default();
        let x = net.input("x", &[8, 64]);
        let y = norm(&mut net, &mut r, x, center);
        let (a, b) = (net.weight(r.tensor(&[64, 5], 0.4)), net.weight(r.tensor(&[64, 7], 0.4)));
        let bias = net.weight(r.tensor(&[5], 0.4));
        let p = net.op(Op::MatMul, &[y, a]);
        let p = net.op(Op::Binary(BinaryFn::Add), &[p, bias]);
        let q = net.op(Op::MatMul, &[y, b]);
        net.output(p);
        net.output(q);
        let samples: Vec<_> = (0..3).map(|_| vec![r.tensor(&[8, 64], 1.0)]).collect();
        let model = verify(&net, &samples, 4e-3);
        let op = if center { "LayerNormalization" } else { "RmsNormalization" };
        assert_eq!(cost(&model, op, 8 * 64), [(2, 2)], "an output and one remainder");
        wrong_cells_are_caught(&model, &samples[0]);
    }
}

#[test]
fn a_residual_sum_takes_the_affine_part_into_its_rescaling() {
    let mut r = Random::new(42);
    let mut net = Net::default();
    let x = net.input("x", &[8, 64]);
    let y = norm(&mut net, &mut r, x, true);
    let w = net.weight(r.tensor(&[64, 64], 0.3));
    let p = net.op(Op::MatMul, &[y, w]);
    let sum = net.op(Op::Binary(BinaryFn::Add), &[p, y]);
    let z = net.op(Op::Unary(UnaryFn::Tanh), &[sum]);
    net.output(z);
    let samples: Vec<_> = (0..3).map(|_| vec![r.tensor(&[8, 64], 1.0)]).collect();
    let model = verify(&net, &samples, 2e-3);
    assert_eq!(cost(&model, "LayerNormalization", 8 * 64), [(2, 2)]);
    assert_eq!(cost(&model, "Unary", 8 * 64), [(3, 2)], "the sum has no rescaling of its own");
    wrong_cells_are_caught(&model, &samples[0]);
}

#[test]
fn a_norm_that_others_read_keeps_its_affine_part() {
    let mut r = Random::new(43);
    let mut net = Net::default();
    let x = net.input("x", &[8, 64]);
    let y = norm(&mut net, &mut r, x, true);
    // The matrix is read twice; another one is a transposed copy.
    let shared = r.tensor(&[64, 64], 0.3);
    let values = shared.to_f32_vec();
    let turned = Tensor::f32(vec![64, 64], (0..64 * 64).map(|i| values[i % 64 * 64 + i / 64]).collect()).unwrap();
    let (w, t) = (net.weight(shared), net.weight(turned));
    let p = net.op(Op::MatMul, &[y, w]);
    let q = net.op(Op::MatMul, &[x, t]);
    net.output(p);
    net.output(q);
    let samples = vec![vec![r.tensor(&[8, 64], 1.0)]];
    let model = verify(&net, &samples, 4e-3);
    assert_eq!(cost(&model, "LayerNormalization", 8 * 64), [(3, 3)]);
    assert_eq!(model.built.program.matrices.len(), 1);
}

/// Two layers of a decoder, of whose tokens one is read.
fn decoder(seq: usize, last: bool) -> (Net, Vec<Tensor>) {
    let mut r = Random::new(44);
    let mut net = Net::default();
    let (width, heads) = (8, 2);
    let mut x = net.input("x", &[1, seq, width]);
    let mut dense = |net: &mut Net, x: ValueId, n: usize, m: usize| {
        let (w, b) = (net.weight(r.tensor(&[n, m], 0.5)), net.weight(r.tensor(&[m], 0.1)));
        let y = net.op(Op::MatMul, &[x, w]);
        net.op(Op::Binary(BinaryFn::Add), &[y, b])
    };
    let norm = |net: &mut Net, x: ValueId| {
        let gamma = net.weight(Tensor::f32(vec![width], (0..width).map(|i| 0.8 + 0.05 * i as f32).collect()).unwrap());
        let beta = net.weight(Tensor::f32(vec![width], (0..width).map(|i| 0.02 * i as f32).collect()).unwrap());
        net.op(Op::LayerNormalization { axis: 2, eps: 1e-5 }, &[x, gamma, beta])
    };
    for _ in 0..2 {
        let y = norm(&mut net, x);
        let qkv = dense(&mut net, y, width, 3 * width);
        let parts = net.node(Op::Split { axis: 2, sizes: vec![width; 3] }, &[Some(qkv)], 3);
        let split = |net: &mut Net, at: usize, perm: [usize; 4]| {
            let by_head = net.op(Op::Reshape { shape: vec![1, seq, heads, width / heads] }, &[parts[at]]);
            net.op(Op::Transpose { perm: perm.to_vec() }, &[by_head])
        };
        let (q, k, v) = (split(&mut net, 0, [0, 2, 1, 3]), split(&mut net, 1, [0, 2, 3, 1]), split(&mut net, 2, [0, 2, 1, 3]));
        let s = net.op(Op::MatMul, &[q, k]);
        let c = net.constant(Tensor::scalar(0.5));
        let s = net.op(Op::Binary(BinaryFn::Mul), &[s, c]);
        let mask = net.constant(Tensor::bool(vec![seq, seq], (0..seq * seq).map(|i| i % seq <= i / seq).collect()).unwrap());
        let p = net.op(Op::MaskedSoftmax { axis: 3, closed: ClosedRow::Zero }, &[s, mask]);
        let o = net.op(Op::MatMul, &[p, v]);
        let o = net.op(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[o]);
        let o = net.op(Op::Reshape { shape: vec![1, seq, width] }, &[o]);
        let o = dense(&mut net, o, width, width);
        x = net.op(Op::Binary(BinaryFn::Add), &[x, o]);
        let y = norm(&mut net, x);
        let y = dense(&mut net, y, width, 4 * width);
        let y = net.op(Op::Unary(UnaryFn::Tanh), &[y]);
        let y = dense(&mut net, y, 4 * width, width);
        x = net.op(Op::Binary(BinaryFn::Add), &[x, y]);
    }
    x = norm(&mut net, x);
    if last {
        let index = net.constant(Tensor::i64(vec![1], vec![-1]).unwrap());
        x = net.op(Op::Gather { axis: 1 }, &[x, index]);
    }
    x = dense(&mut net, x, width, 5);
    net.output(x);
    (net, vec![r.tensor(&[1, seq, width], 1.0)])
}

#[test]
fn only_tokens_that_are_read_are_computed() {
    let (whole, _) = decoder(16, false);
    let (last, inputs) = decoder(16, true);
    let all = reference(&whole.graph, &inputs).remove(0).to_f32_vec();
    let one = reference(&last.graph, &inputs).remove(0);
    assert_eq!(one.shape, [1, 1, 5]);
    assert!(one.to_f32_vec().iter().zip(&all[75..]).all(|(a, b)| (a - b).abs() < 1e-5));
    let rewritten = crate::rewrite::rewrite(&last.graph).unwrap();
    let same = reference(&rewritten, &inputs).remove(0);
    assert!(same.to_f32_vec().iter().zip(one.to_f32_vec()).all(|(a, b)| (a - b).abs() < 1e-5), "the graph means the same");
    let whole = verify(&whole, std::slice::from_ref(&inputs), 1e-2);
    let last = verify(&last, std::slice::from_ref(&inputs), 1e-2);
    wrong_cells_are_caught(&last, &inputs);
    let functions = |m: &CompiledModel| -> Vec<usize> { m.report.nodes.iter().filter(|n| n.op == "Unary").map(|n| n.cells).collect() };
    assert_eq!((functions(&whole), functions(&last)), (vec![3 * 16 * 32; 2], vec![3 * 16 * 32, 3 * 32]));
    assert!(whole.report.nodes.iter().all(|n| n.op != "Reshape"), "no copies: {:?}", whole.report.nodes);
}

#[test]
fn parts_of_everything_are_parts_of_its_operands() {
    let mut r = Random::new(45);
    let mut net = Net::default();
    let x = net.input("x", &[2, 6, 4]);
    let row = net.weight(r.tensor(&[6, 1], 1.0));
    let column = net.weight(r.tensor(&[4], 1.0));
    let y = net.op(Op::Binary(BinaryFn::Mul), &[x, row]);
    let y = net.op(Op::Binary(BinaryFn::Add), &[y, column]);
    let y = net.op(Op::Unary(UnaryFn::Tanh), &[y]);
    let z = net.op(Op::Concat { axis: 2 }, &[y, x]);
    let z = net.op(Op::Softmax { axis: 2 }, &[z]);
    let z = net.op(Op::Transpose { perm: vec![1, 0, 2] }, &[z]);
    let a = net.op(Op::Slice { starts: vec![2, 0, 0], sizes: vec![3, 2, 8], steps: vec![1; 3] }, &[z]);
    let b = net.constant(Tensor::i64(vec![2], vec![2, -2]).unwrap());
    let b = net.op(Op::Gather { axis: 0 }, &[z, b]);
    net.output(a);
    net.output(b);
    let samples = vec![vec![r.tensor(&[2, 6, 4], 1.0)]];
    let model = verify(&net, &samples, 2e-3);
    assert_eq!(cost(&model, "Unary", 2 * 3 * 4), [(3, 2)], "three rows of six: {:?}", model.report.nodes);
    wrong_cells_are_caught(&model, &samples[0]);
}
