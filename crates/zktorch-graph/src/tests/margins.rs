use super::{Net, Random, verify, wrong_cells_are_caught};
use crate::CompiledModel;
use zktorch_float::{Op, Tensor, UnaryFn, ValueId};

const CLOSE: f32 = 4e-3;

struct Window<'a> {
    kernel: &'a [usize],
    strides: &'a [usize],
    pads: &'a [(usize, usize)],
    group: usize,
}

fn conv(net: &mut Net, r: &mut Random, x: ValueId, to: usize, w: &Window<'_>) -> ValueId {
    let from = net.graph.value(x).shape[1];
    let shape = [&[to, from / w.group], w.kernel].concat();
    let weight = net.weight(r.tensor(&shape, 0.5));
    let bias = net.weight(r.tensor(&[to], 0.5));
    let op = Op::Conv {
        kernel: w.kernel.to_vec(),
        strides: w.strides.to_vec(),
        dilations: vec![1; w.kernel.len()],
        pads: w.pads.to_vec(),
        group: w.group,
    };
    net.op(op, &[x, weight, bias])
}

/// Cells of the nodes with this operator, in order.
fn cells(model: &CompiledModel, op: &str) -> Vec<usize> {
    model.report.nodes.iter().filter(|n| n.op == op).map(|n| n.cells).collect()
}

fn check(net: &Net, inputs: &[Tensor]) -> CompiledModel {
    let model = verify(net, &[inputs.to_vec()], CLOSE);
    wrong_cells_are_caught(&model, inputs);
    model
}

#[test]
fn a_convolution_reads_the_zeros_beside_a_rectified_layer() {
    let mut r = Random::new(31);
    let mut net = Net::default();
    let x = net.input("x", &[1, 2, 8, 8]);
    let one = Window { kernel: &[1, 1], strides: &[1, 1], pads: &[(0, 0), (0, 0)], group: 1 };
    let x = conv(&mut net, &mut r, x, 4, &one);
    let x = net.op(Op::Unary(UnaryFn::Relu), &[x]);
    let three = Window { kernel: &[3, 3], strides: &[1, 1], pads: &[(1, 1), (1, 1)], group: 2 };
    let y = conv(&mut net, &mut r, x, 2, &three);
    net.output(y);
    let model = check(&net, &[r.tensor(&[1, 2, 8, 8], 1.0)]);
    // Three cells per element, two per zero: 9 + 1 before the image and 17 behind each of the four channels.
    assert_eq!(cells(&model, "Unary"), [3 * 256 + 2 * (10 + 4 * 17)]);
    assert_eq!(cells(&model, "Conv"), [2 * 128], "no copy");
    let of_nodes: usize = model.report.nodes.iter().map(|n| n.cells).sum();
    assert_eq!(of_nodes + 128 + model.report.table_rows, model.report.cells, "nodes, input and tables");
}

#[test]
fn margins_of_all_kinds_hold_what_padding_means() {
    let mut r = Random::new(32);
    let cases: [(&[usize], Window<'_>); 3] = [
        (&[2, 2, 9], Window { kernel: &[4], strides: &[2], pads: &[(3, 1)], group: 1 }),
        (&[1, 3, 6, 7], Window { kernel: &[3, 2], strides: &[1, 2], pads: &[(1, 1), (0, 1)], group: 3 }),
        (&[2, 1, 4, 3, 4], Window { kernel: &[2, 2, 2], strides: &[1, 1, 2], pads: &[(0, 0), (1, 0), (1, 1)], group: 1 }),
    ];
    for (shape, window) in cases {
        for rectified in [false, true] {
            let mut net = Net::default();
            let x = net.input("x", shape);
            let ones = vec![1; shape.len() - 2];
            let none = vec![(0, 0); shape.len() - 2];
            let mut x = conv(&mut net, &mut r, x, 3, &Window { kernel: &ones, strides: &ones, pads: &none, group: 1 });
            if rectified {
                x = net.op(Op::Unary(UnaryFn::Relu), &[x]);
            }
            let y = conv(&mut net, &mut r, x, 3, &window);
            let z = conv(&mut net, &mut r, x, 3, &Window { kernel: &ones, strides: &ones, pads: &none, group: 3 });
            net.output(y);
            net.output(z);
            check(&net, &[r.tensor(shape, 1.0)]);
        }
    }
}

#[test]
fn maxima_of_rectified_windows_go_by_pairs() {
    let mut r = Random::new(33);
    for (size, kernel, stride, pad, ceil_mode) in [(6, 2, 2, 0, false), (7, 3, 2, 1, false), (8, 3, 2, 0, true), (5, 3, 1, 1, false)] {
        let mut net = Net::default();
        let shape = [1, 2, size, size];
        let x = net.input("x", &shape);
        let x = net.op(Op::Unary(UnaryFn::Relu), &[x]);
        let pool =
            Op::MaxPool { kernel: vec![kernel; 2], strides: vec![stride; 2], dilations: vec![1; 2], pads: vec![(pad, pad); 2], ceil_mode };
        let x = net.op(pool, &[x]);
        let three = Window { kernel: &[3, 3], strides: &[1, 1], pads: &[(1, 1), (1, 1)], group: 1 };
        let y = conv(&mut net, &mut r, x, 2, &three);
        net.output(y);
        let model = check(&net, &[r.tensor(&shape, 1.0)]);
        if (size, kernel) == (6, 2) {
            // Two maxima of rows and one of columns; the result, and its zeros.
            assert_eq!(cells(&model, "MaxPool"), [18 * 7 + (5 + 2 * 7)]);
        }
    }
}
