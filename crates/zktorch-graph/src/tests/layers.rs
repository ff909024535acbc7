use super::{Net, Random, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, ClosedRow, DType, Direction, Op, ReduceFn, RnnActivation, Tensor, UnaryFn};

/// Half a unit of the output's scale for values around 4, and a little for the operands.
const CLOSE: f32 = 2e-3;

#[test]
fn matrix_product_bias_and_relu_share_one_rescaling() {
    let mut r = Random::new(1);
    let mut net = Net::default();
    let x = net.input("x", &[3, 8]);
    let w = net.weight(r.tensor(&[8, 5], 1.0));
    let b = net.weight(r.tensor(&[5], 1.0));
    let y = net.op(Op::MatMul, &[x, w]);
    let y = net.op(Op::Binary(BinaryFn::Add), &[y, b]);
    let y = net.op(Op::Unary(UnaryFn::Relu), &[y]);
    net.output(y);
    let samples: Vec<_> = (0..3).map(|_| vec![r.tensor(&[3, 8], 1.0)]).collect();
    let model = verify(&net, &samples, CLOSE);
    let relu = model.report.nodes.iter().find(|n| n.op == "Unary").unwrap();
    assert_eq!((relu.cells, relu.lookups), (45, 30), "three cells and two lookups per element");
    wrong_cells_are_caught(&model, &samples[0]);
}

#[test]
fn gemm_in_all_orientations() {
    for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut r = Random::new(2);
        let mut net = Net::default();
        let x = net.input("x", if trans_a { &[6, 2] } else { &[2, 6] });
        let w = net.weight(r.tensor(if trans_b { &[4, 6] } else { &[6, 4] }, 1.0));
        let c = net.weight(r.tensor(&[4], 1.0));
        let op = Op::Gemm { alpha: 0.7, beta: 1.5, trans_a, trans_b };
        let y = net.op(op, &[x, w, c]);
        net.output(y);
        let shape: &[usize] = if trans_a { &[6, 2] } else { &[2, 6] };
        verify(&net, &[vec![r.tensor(shape, 1.0)]], CLOSE);
    }
}

#[test]
fn batched_products_of_two_activations_broadcast() {
    let mut r = Random::new(3);
    let mut net = Net::default();
    let a = net.input("a", &[2, 3, 4, 5]);
    let b = net.input("b", &[3, 5, 6]);
    let c = net.input("c", &[5]);
    let y = net.op(Op::MatMul, &[a, b]);
    let z = net.op(Op::MatMul, &[a, c]);
    net.output(y);
    net.output(z);
    let inputs = vec![r.tensor(&[2, 3, 4, 5], 1.0), r.tensor(&[3, 5, 6], 2.0), r.tensor(&[5], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), CLOSE);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn tied_weights_are_committed_once() {
    let mut r = Random::new(4);
    let mut net = Net::default();
    let ids = net.typed_input("ids", &[4], DType::I64);
    let table = net.weight(r.tensor(&[40, 32], 1.0));
    let x = net.op(Op::Gather { axis: 0 }, &[table, ids]);
    let t = net.op(Op::Transpose { perm: vec![1, 0] }, &[table]);
    let y = net.op(Op::MatMul, &[x, t]);
    net.output(y);
    let inputs = vec![r.ids(&[4], 40)];
    let model = verify(&net, std::slice::from_ref(&inputs), 5e-3);
    assert_eq!(model.built.program.matrices.len(), 1);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn einsum_contracts_and_transposes() {
    let mut r = Random::new(5);
    let mut net = Net::default();
    let a = net.input("a", &[2, 3, 4]);
    let w = net.weight(r.tensor(&[5, 4, 2], 1.0));
    let y = net.op(Op::Einsum { equation: "bij,kjb->ik".into() }, &[a, w]);
    net.output(y);
    verify(&net, &[vec![r.tensor(&[2, 3, 4], 1.0)]], CLOSE);
}

#[test]
fn convolutions_with_padding_stride_dilation_and_groups() {
    let mut r = Random::new(6);
    let cases: [(&[usize], &[usize], Op); 4] = [
        (&[2, 4, 9], &[6, 2, 3], Op::Conv { kernel: vec![3], strides: vec![2], dilations: vec![2], pads: vec![(1, 3)], group: 2 }),
        (
            &[1, 3, 6, 7],
            &[4, 3, 3, 2],
            Op::Conv { kernel: vec![3, 2], strides: vec![1, 2], dilations: vec![1, 1], pads: vec![(1, 1), (0, 1)], group: 1 },
        ),
        (
            &[1, 4, 5, 5],
            &[4, 1, 3, 3],
            Op::Conv { kernel: vec![3, 3], strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], group: 4 },
        ),
        (
            &[1, 2, 4, 3, 4],
            &[3, 2, 2, 2, 2],
            Op::Conv {
                kernel: vec![2, 2, 2],
                strides: vec![1, 1, 2],
                dilations: vec![1, 1, 1],
                pads: vec![(0, 0), (1, 0), (1, 1)],
                group: 1,
            },
        ),
    ];
    for (shape, kernel, op) in cases {
        let mut net = Net::default();
        let x = net.input("x", shape);
        let w = net.weight(r.tensor(kernel, 0.5));
        let b = net.weight(r.tensor(&kernel[..1], 0.5));
        let y = net.op(op, &[x, w, b]);
        net.output(y);
        let inputs = vec![r.tensor(shape, 1.0)];
        let model = verify(&net, std::slice::from_ref(&inputs), CLOSE);
        wrong_cells_are_caught(&model, &inputs);
    }
}

#[test]
fn transposed_convolution() {
    let mut r = Random::new(7);
    for group in [1, 2] {
        let mut net = Net::default();
        let x = net.input("x", &[1, 4, 3, 4]);
        let w = net.weight(r.tensor(&[4, 3, 3, 2], 0.5));
        let b = net.weight(r.tensor(&[3 * group], 0.5));
        let op = Op::ConvTranspose {
            kernel: vec![3, 2],
            strides: vec![2, 3],
            dilations: vec![1, 1],
            pads: vec![(1, 0), (0, 1)],
            output_padding: vec![1, 0],
            group,
        };
        let y = net.op(op, &[x, w, b]);
        net.output(y);
        verify(&net, &[vec![r.tensor(&[1, 4, 3, 4], 1.0)]], CLOSE);
    }
}

#[test]
fn batch_normalisation_is_folded_or_applied() {
    let mut r = Random::new(8);
    for behind_conv in [true, false] {
        let mut net = Net::default();
        let x = net.input("x", &[1, 3, 4, 4]);
        let mut y = x;
        if behind_conv {
            let w = net.weight(r.tensor(&[3, 3, 1, 1], 1.0));
            let op = Op::Conv { kernel: vec![1, 1], strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(0, 0), (0, 0)], group: 1 };
            y = net.op(op, &[x, w]);
        }
        let scale = net.weight(r.tensor(&[3], 1.0));
        let bias = net.weight(r.tensor(&[3], 1.0));
        let mean = net.weight(r.tensor(&[3], 1.0));
        let var = net.weight(Tensor::f32(vec![3], vec![0.5, 1.0, 2.0]).unwrap());
        let y = net.op(Op::BatchNormalization { eps: 1e-5 }, &[y, scale, bias, mean, var]);
        net.output(y);
        let model = verify(&net, &[vec![r.tensor(&[1, 3, 4, 4], 1.0)]], CLOSE);
        assert_eq!(model.report.nodes.iter().any(|n| n.op == "BatchNormalization"), !behind_conv);
    }
}

#[test]
fn pooling_counts_the_border_as_onnx_does() {
    let mut r = Random::new(9);
    for count_include_pad in [false, true] {
        for pads in [vec![(0, 0), (0, 0)], vec![(1, 1), (1, 0)]] {
            for ceil_mode in [false, true] {
                let mut net = Net::default();
                let x = net.input("x", &[1, 2, 5, 6]);
                let (kernel, strides, dilations) = (vec![3, 2], vec![2, 2], vec![1, 1]);
                let average = Op::AveragePool {
                    kernel: kernel.clone(),
                    strides: strides.clone(),
                    dilations: dilations.clone(),
                    pads: pads.clone(),
                    ceil_mode,
                    count_include_pad,
                };
                let max = Op::MaxPool { kernel, strides, dilations, pads: pads.clone(), ceil_mode };
                let y = net.op(average, &[x]);
                let z = net.op(max, &[x]);
                net.output(y);
                net.output(z);
                verify(&net, &[vec![r.tensor(&[1, 2, 5, 6], 1.0)]], CLOSE);
            }
        }
    }
}

#[test]
fn global_pools_and_reductions() {
    let mut r = Random::new(10);
    let mut net = Net::default();
    let x = net.input("x", &[2, 3, 4, 5]);
    for op in [Op::GlobalAveragePool, Op::GlobalMaxPool] {
        let y = net.op(op, &[x]);
        net.output(y);
    }
    for function in [ReduceFn::Sum, ReduceFn::Mean, ReduceFn::Max, ReduceFn::Min, ReduceFn::L1, ReduceFn::SumSquare] {
        let y = net.op(Op::Reduce { function, axes: vec![1, 3], keepdims: false }, &[x]);
        net.output(y);
    }
    let y = net.op(Op::ArgMax { axis: 2, keepdims: true, select_last_index: false }, &[x]);
    net.output(y);
    let inputs = vec![r.tensor(&[2, 3, 4, 5], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 3e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn normalisations() {
    let mut r = Random::new(11);
    let shape = [2, 4, 3, 5];
    let mut net = Net::default();
    let x = net.input("x", &shape);
    let g = net.weight(r.tensor(&[3, 5], 1.0));
    let b = net.weight(r.tensor(&[3, 5], 1.0));
    let gc = net.weight(r.tensor(&[4], 1.0));
    let bc = net.weight(r.tensor(&[4], 1.0));
    let outputs = [
        net.op(Op::LayerNormalization { axis: 2, eps: 1e-5 }, &[x, g, b]),
        net.op(Op::RmsNormalization { axis: 2, eps: 1e-5 }, &[x, g]),
        net.op(Op::InstanceNormalization { eps: 1e-5 }, &[x, gc, bc]),
        net.op(Op::GroupNormalization { groups: 2, eps: 1e-5 }, &[x, gc, bc]),
    ];
    outputs.into_iter().for_each(|y| net.output(y));
    let inputs = vec![r.tensor(&shape, 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 3e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn softmax_with_and_without_masks() {
    let mut r = Random::new(12);
    let shape = [2, 4, 4];
    let mut net = Net::default();
    let x = net.input("x", &shape);
    let mask = net.typed_input("mask", &[1, 1, 4], DType::Bool);
    let causal: Vec<bool> = (0..16).map(|i| i % 4 <= i / 4).collect();
    let fixed = net.constant(Tensor::bool(vec![4, 4], causal.clone()).unwrap());
    let additive =
        net.constant(Tensor::f32(vec![4, 4], causal.iter().map(|&c| if c { 0.0 } else { f32::NEG_INFINITY }).collect()).unwrap());
    let sum = net.op(Op::Binary(BinaryFn::Add), &[x, additive]);
    let outputs = [
        net.op(Op::Softmax { axis: 2 }, &[x]),
        net.op(Op::Softmax { axis: 1 }, &[x]),
        net.op(Op::LogSoftmax { axis: 2 }, &[x]),
        net.op(Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Zero }, &[x, fixed]),
        net.op(Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Zero }, &[x, mask]),
        net.op(Op::Softmax { axis: 2 }, &[sum]),
    ];
    outputs.into_iter().for_each(|y| net.output(y));
    let mask = Tensor::bool(vec![1, 1, 4], vec![true, true, false, true]).unwrap();
    let inputs = vec![r.tensor(&shape, 4.0), mask];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

/// The weights of a row whose mask the model computes, or is given, multiply values without becoming probabilities first.
#[test]
fn computed_masks_before_a_product() {
    let mut r = Random::new(15);
    let shape = [2, 4, 4];
    let mut net = Net::default();
    let (x, v, t) = (net.input("x", &shape), net.input("v", &[2, 4, 3]), net.input("t", &[4]));
    let given = net.typed_input("mask", &[2, 1, 4], DType::Bool);
    let zero = net.constant(Tensor::scalar(0.0));
    let computed = net.op(Op::Binary(BinaryFn::Greater), &[t, zero]);
    // A score that is closed and higher than all others would have all the weight.
    let double = net.op(Op::Binary(BinaryFn::Mul), &[x, x]);
    for (scores, mask) in [(x, given), (double, computed)] {
        let p = net.op(Op::MaskedSoftmax { axis: 2, closed: ClosedRow::Zero }, &[scores, mask]);
        let y = net.op(Op::MatMul, &[p, v]);
        net.output(y);
    }
    let mut scores = r.tensor(&shape, 3.0).to_f32_vec();
    scores[2] = 3.9;
    let scores = Tensor::f32(shape.to_vec(), scores).unwrap();
    let t = Tensor::f32(vec![4], vec![0.5, 1.0, -0.5, 0.25]).unwrap();
    let mask = Tensor::bool(vec![2, 1, 4], vec![true, true, false, true, false, true, false, true]).unwrap();
    let inputs = vec![scores, r.tensor(&[2, 4, 3], 1.0), t, mask];
    let model = verify(&net, std::slice::from_ref(&inputs), 5e-3);
    wrong_cells_are_caught(&model, &inputs);
}

/// Rows that a mask closes have equal weights, those of the scores, or none; given masks, computed ones and constant ones.
#[test]
fn closed_rows_are_what_the_source_makes_of_them() {
    let mut r = Random::new(17);
    let shape = [2, 3, 4];
    let open = [true, true, false, true, false, false, false, false, false, true, false, true];
    let inputs = vec![r.tensor(&shape, 3.0), r.tensor(&[2, 4, 3], 1.0), Tensor::bool(vec![3, 4], open.to_vec()).unwrap()];
    for closed in [ClosedRow::Scores, ClosedRow::Equal, ClosedRow::Zero] {
        let mut net = Net::default();
        let (x, v, given) = (net.input("x", &shape), net.input("v", &[2, 4, 3]), net.typed_input("mask", &[3, 4], DType::Bool));
        let fixed = net.constant(Tensor::bool(vec![3, 4], open.to_vec()).unwrap());
        // Half of a column of rows, along which nothing changes.
        let column = net.constant(Tensor::bool(vec![3, 1], vec![true, false, true]).unwrap());
        for mask in [given, fixed, column] {
            let op = Op::MaskedSoftmax { axis: 2, closed };
            let shown = net.op(op.clone(), &[x, mask]);
            net.output(shown);
            let p = net.op(op, &[x, mask]);
            let y = net.op(Op::MatMul, &[p, v]);
            net.output(y);
            let along_rows = net.op(Op::MaskedSoftmax { axis: 1, closed }, &[x, mask]);
            net.output(along_rows);
        }
        let model = verify(&net, std::slice::from_ref(&inputs), 4e-3);
        wrong_cells_are_caught(&model, &inputs);
        let row = model.run(&inputs).unwrap().outputs[0].to_f32_vec()[4..8].to_vec();
        match closed {
            ClosedRow::Equal => assert!(row.iter().all(|w| (w - 0.25).abs() < 1e-3), "{row:?}"),
            ClosedRow::Zero => assert_eq!(row, [0.0; 4]),
            ClosedRow::Scores => assert!(row.iter().any(|w| (w - 0.25).abs() > 0.1), "{row:?}"),
        }
    }
}

/// Blocks of rows of a causal mask leave out columns, in which a closed row has weights.
#[test]
fn a_causal_mask_with_a_closed_row_is_not_split() {
    let mut r = Random::new(18);
    let seq = 32;
    let inputs = vec![r.tensor(&[1, seq, 4], 1.0), r.tensor(&[1, 4, seq], 1.0), r.tensor(&[1, seq, 3], 1.0)];
    for closed in [ClosedRow::Scores, ClosedRow::Equal, ClosedRow::Zero] {
        let mut net = Net::default();
        let (q, k, v) = (net.input("q", &[1, seq, 4]), net.input("k", &[1, 4, seq]), net.input("v", &[1, seq, 3]));
        let open = (0..seq * seq).map(|i| i % seq < i / seq).collect();
        let mask = net.constant(Tensor::bool(vec![seq, seq], open).unwrap());
        let s = net.op(Op::MatMul, &[q, k]);
        let p = net.op(Op::MaskedSoftmax { axis: 2, closed }, &[s, mask]);
        let y = net.op(Op::MatMul, &[p, v]);
        net.output(y);
        verify(&net, std::slice::from_ref(&inputs), 2e-3);
    }
}

/// Weights that are normalised along the rows of a matrix, not along its columns, are no weights of the values behind them.
#[test]
fn softmax_over_rows_before_a_product() {
    let mut r = Random::new(14);
    for shape in [[2, 4, 4], [2, 4, 3]] {
        let mut net = Net::default();
        let x = net.input("x", &shape);
        let v = net.input("v", &[2, shape[2], 5]);
        let open = (0..shape[1] * shape[2]).map(|i| i % 5 != 1).collect();
        let mask = net.constant(Tensor::bool(vec![shape[1], shape[2]], open).unwrap());
        for axis in [1, 2] {
            let p = net.op(Op::Softmax { axis }, &[x]);
            let masked = net.op(Op::MaskedSoftmax { axis, closed: ClosedRow::Zero }, &[x, mask]);
            for p in [p, masked] {
                let y = net.op(Op::MatMul, &[p, v]);
                net.output(y);
            }
        }
        let inputs = vec![r.tensor(&shape, 4.0), r.tensor(&[2, shape[2], 5], 1.0)];
        verify(&net, std::slice::from_ref(&inputs), 2e-3);
    }
}

#[test]
fn recurrent_layers() {
    let (seq, batch, input, hidden) = (4, 2, 3, 5);
    let relu_free = [RnnActivation::Sigmoid, RnnActivation::Tanh, RnnActivation::Tanh];
    for direction in [Direction::Forward, Direction::Reverse, Direction::Bidirectional] {
        let dirs = direction.count();
        let ops = [
            (4, Op::Lstm { direction, hidden, activations: vec![relu_free; dirs], clip: None, input_forget: false }, 3),
            (
                3,
                Op::Gru {
                    direction,
                    hidden,
                    activations: vec![[RnnActivation::Sigmoid, RnnActivation::Tanh]; dirs],
                    clip: None,
                    linear_before_reset: true,
                },
                2,
            ),
            (
                3,
                Op::Gru {
                    direction,
                    hidden,
                    activations: vec![[RnnActivation::Sigmoid, RnnActivation::Tanh]; dirs],
                    clip: None,
                    linear_before_reset: false,
                },
                2,
            ),
            (1, Op::Rnn { direction, hidden, activations: vec![RnnActivation::Tanh; dirs], clip: Some(0.8) }, 2),
        ];
        for (gates, op, outputs) in ops {
            let mut r = Random::new(13);
            let mut net = Net::default();
            let x = net.input("x", &[seq, batch, input]);
            let w = net.weight(r.tensor(&[dirs, gates * hidden, input], 0.8));
            let rec = net.weight(r.tensor(&[dirs, gates * hidden, hidden], 0.8));
            let b = net.weight(r.tensor(&[dirs, 2 * gates * hidden], 0.5));
            let h0 = net.input("h0", &[dirs, batch, hidden]);
            let ids = net.node(op, &[Some(x), Some(w), Some(rec), Some(b), None, Some(h0)], outputs);
            ids.into_iter().for_each(|id| net.output(id));
            let inputs = vec![r.tensor(&[seq, batch, input], 1.0), r.tensor(&[dirs, batch, hidden], 0.7)];
            verify(&net, &[inputs], 2e-3);
        }
    }
}

/// Causal attention of two heads: the factor moves into the weights, masked blocks are left out, probabilities are no cells.
fn attention(seq: usize, causal: bool) -> (Net, Vec<Tensor>) {
    let mut r = Random::new(14);
    let mut net = Net::default();
    let x = net.input("x", &[1, seq, 6]);
    let w = net.weight(r.tensor(&[6, 18], 1.0));
    let b = net.weight(r.tensor(&[18], 0.3));
    let c = net.weight(Tensor::scalar(0.5773503));
    let qkv = net.op(Op::MatMul, &[x, w]);
    let qkv = net.op(Op::Binary(BinaryFn::Add), &[qkv, b]);
    let parts = net.node(Op::Split { axis: 2, sizes: vec![6; 3] }, &[Some(qkv)], 3);
    let mut heads = Vec::new();
    for (part, perm) in parts.into_iter().zip([vec![0, 2, 1, 3], vec![0, 2, 3, 1], vec![0, 2, 1, 3]]) {
        let split = net.op(Op::Reshape { shape: vec![1, seq, 2, 3] }, &[part]);
        heads.push(net.op(Op::Transpose { perm }, &[split]));
    }
    let s = net.op(Op::MatMul, &[heads[0], heads[1]]);
    let s = net.op(Op::Binary(BinaryFn::Mul), &[s, c]);
    let p = if causal {
        let open = (0..seq * seq).map(|i| i % seq <= i / seq).collect();
        let mask = net.constant(Tensor::bool(vec![seq, seq], open).unwrap());
        net.op(Op::MaskedSoftmax { axis: 3, closed: ClosedRow::Zero }, &[s, mask])
    } else {
        net.op(Op::Softmax { axis: 3 }, &[s])
    };
    let o = net.op(Op::MatMul, &[p, heads[2]]);
    let o = net.op(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[o]);
    let o = net.op(Op::Reshape { shape: vec![1, seq, 6] }, &[o]);
    net.output(o);
    (net, vec![r.tensor(&[1, seq, 6], 1.0)])
}

#[test]
fn attention_costs_what_it_must() {
    let (full, inputs) = attention(32, false);
    let full = verify(&full, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&full, &inputs);
    let (causal, inputs) = attention(32, true);
    let causal = verify(&causal, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&causal, &inputs);
    assert!(full.report.nodes.iter().all(|n| n.op != "Binary" || n.cells == 2 * 32 * 18), "{:?}", full.report.nodes);
    let cells = |m: &crate::CompiledModel| m.report.cells - m.report.table_rows;
    assert!(5 * cells(&full) < 2 * 32 * 32 * 5 * 5 + 10_000, "{}", cells(&full));
    let scores = |m: &crate::CompiledModel| -> usize { m.report.nodes.iter().filter(|n| n.op.contains("oftmax")).map(|n| n.cells).sum() };
    assert!(scores(&causal) < scores(&full) * 2, "{} and {}", scores(&causal), scores(&full));
}

#[test]
fn remainders_of_large_tensors_are_not_committed() {
    let mut r = Random::new(16);
    let mut net = Net::default();
    let x = net.input("x", &[1, 64, 8]);
    let w = net.weight(r.tensor(&[8, 30], 1.0));
    let y = net.op(Op::MatMul, &[x, w]);
    let z = net.op(Op::Unary(UnaryFn::Relu), &[y]);
    let v = net.weight(r.tensor(&[30, 4], 1.0));
    let out = net.op(Op::MatMul, &[z, v]);
    net.output(out);
    let inputs = vec![r.tensor(&[1, 64, 8], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
    let elements = 64 * 30;
    let virtual_cells: usize = model.built.program.regions.iter().filter(|r| r.is_virtual()).map(|r| r.len).sum();
    assert_eq!(virtual_cells, elements, "the remainders of the second product are too few for a block of their own");
}

#[test]
fn long_sums_of_products_stay_within_the_letters() {
    let mut r = Random::new(15);
    let mut net = Net::default();
    let x = net.input("x", &[2, 4]);
    let mut sum = x;
    for _ in 0..40 {
        let w = net.weight(r.tensor(&[4, 4], 0.3));
        let y = net.op(Op::MatMul, &[x, w]);
        sum = net.op(Op::Binary(BinaryFn::Add), &[sum, y]);
    }
    net.output(sum);
    verify(&net, &[vec![r.tensor(&[2, 4], 1.0)]], 5e-3);
}
