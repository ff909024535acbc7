use super::{Net, Random, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, CoordinateTransform, DType, NearestMode, Op, PadMode, ResizeMode, Tensor, UnaryFn};

#[test]
fn views_make_no_cells() {
    let mut r = Random::new(31);
    let mut net = Net::default();
    let x = net.input("x", &[2, 3, 4]);
    let t = net.op(Op::Transpose { perm: vec![2, 0, 1] }, &[x]);
    let s = net.op(Op::Slice { starts: vec![1, 0, 0], sizes: vec![2, 2, 2], steps: vec![2, 1, 1] }, &[t]);
    let e = net.op(Op::Expand { shape: vec![3, 2, 2, 2] }, &[s]);
    let rs = net.op(Op::Reshape { shape: vec![3, 2, 2, 2, 1] }, &[e]);
    let parts = net.node(Op::Split { axis: 0, sizes: vec![1, 2] }, &[Some(rs)], 2);
    for p in parts {
        net.output(p);
    }
    let model = verify(&net, &[vec![r.tensor(&[2, 3, 4], 1.0)]], 1e-3);
    let nodes: usize = model.report.nodes.iter().map(|n| n.cells).sum();
    assert_eq!(nodes, 0, "{:?}", model.report.nodes);
}

#[test]
fn copies_where_strides_do_not_suffice() {
    let mut r = Random::new(32);
    let mut net = Net::default();
    let x = net.input("x", &[4, 6]);
    let t = net.op(Op::Transpose { perm: vec![1, 0] }, &[x]);
    let index = net.constant(Tensor::ints(vec![3, 0, 2]));
    let ops = [
        net.op(Op::Reshape { shape: vec![24] }, &[t]),
        net.op(Op::Slice { starts: vec![3, 5], sizes: vec![4, 3], steps: vec![-1, -2] }, &[x]),
        net.op(Op::Tile { repeats: vec![2, 3] }, &[x]),
        net.op(Op::Gather { axis: 0 }, &[x, index]),
        net.op(Op::Pad { mode: PadMode::Reflect, pads: vec![(1, 2), (0, 3)], value: 0.0 }, &[x]),
        net.op(Op::Pad { mode: PadMode::Edge, pads: vec![(1, 2), (0, 3)], value: 0.0 }, &[x]),
        net.op(Op::Pad { mode: PadMode::Constant, pads: vec![(1, 2), (0, 3)], value: 0.75 }, &[x]),
        net.op(Op::Concat { axis: 1 }, &[x, x]),
    ];
    ops.into_iter().for_each(|y| net.output(y));
    let inputs = vec![r.tensor(&[4, 6], 1.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn parts_of_different_scales_join_at_a_common_one() {
    let mut r = Random::new(33);
    let mut net = Net::default();
    let a = net.input("a", &[2, 3]);
    let b = net.input("b", &[2, 2]);
    let w = net.weight(r.tensor(&[2, 1], 1.0));
    let n = net.op(Op::Unary(UnaryFn::Neg), &[b]);
    let p = net.op(Op::Binary(BinaryFn::Mul), &[b, b]);
    let y = net.op(Op::Concat { axis: 1 }, &[a, n, w, p]);
    net.output(y);
    verify(&net, &[vec![r.tensor(&[2, 3], 20.0), r.tensor(&[2, 2], 1.0)]], 2e-3);
}

#[test]
fn resizing() {
    let mut r = Random::new(34);
    let sizes = vec![1, 2, 6, 8];
    let scales = vec![1.0, 1.0, 2.0, 2.0];
    let modes = [
        (ResizeMode::Nearest(NearestMode::Floor), CoordinateTransform::Asymmetric),
        (ResizeMode::Linear, CoordinateTransform::HalfPixel),
        (ResizeMode::Linear, CoordinateTransform::AlignCorners),
    ];
    for (mode, transform) in modes {
        let mut net = Net::default();
        let x = net.input("x", &[1, 2, 3, 4]);
        let y = net.op(Op::Resize { mode, transform, scales: scales.clone(), sizes: sizes.clone() }, &[x]);
        net.output(y);
        let model = verify(&net, &[vec![r.tensor(&[1, 2, 3, 4], 1.0)]], 2e-3);
        assert!(model.built.program.identities.len() < 8, "one copy, not one per row");
    }
}

#[test]
fn rows_by_private_index() {
    let mut r = Random::new(35);
    let mut net = Net::default();
    let ids = net.typed_input("ids", &[2, 3], DType::I64);
    let table = net.weight(r.tensor(&[7, 4], 1.0));
    let y = net.op(Op::Gather { axis: 0 }, &[table, ids]);
    let labels = net.constant(Tensor::ints(vec![10, -20, 30, 40, 50, 60, 70]));
    let z = net.op(Op::Gather { axis: 0 }, &[labels, ids]);
    net.output(y);
    net.output(z);
    let inputs = vec![r.ids(&[2, 3], 7)];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-4);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn running_sums_and_triangles() {
    let mut r = Random::new(36);
    let mut net = Net::default();
    let x = net.input("x", &[3, 4]);
    let y = net.op(Op::CumSum { axis: 0, exclusive: true, reverse: true }, &[x]);
    let z = net.op(Op::Trilu { upper: true, k: 1 }, &[x]);
    net.output(y);
    net.output(z);
    verify(&net, &[vec![r.tensor(&[3, 4], 1.0)]], 1e-3);
}
