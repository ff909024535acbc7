use super::{Net, Random, verify, wrong_cells_are_caught};
use zktorch_float::{BinaryFn, DType, Op, Tensor, UnaryFn};

#[test]
fn sums_and_products_with_broadcasting() {
    let mut r = Random::new(21);
    let mut net = Net::default();
    let a = net.input("a", &[2, 3, 4]);
    let b = net.input("b", &[3, 1]);
    let w = net.weight(r.tensor(&[4], 3.0));
    let half = net.constant(Tensor::scalar(0.5));
    let third = net.constant(Tensor::scalar(0.3333));
    for f in [BinaryFn::Add, BinaryFn::Sub, BinaryFn::Mul] {
        for (x, y) in [(a, b), (b, a), (a, w), (w, a), (b, w), (a, half), (third, b), (a, a)] {
            let y = net.op(Op::Binary(f), &[x, y]);
            net.output(y);
        }
    }
    let inputs = vec![r.tensor(&[2, 3, 4], 1.0), r.tensor(&[3, 1], 5.0)];
    let model = verify(&net, std::slice::from_ref(&inputs), 4e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn differences_times_tensors_are_one_accumulator() {
    let mut r = Random::new(22);
    let mut net = Net::default();
    let a = net.input("a", &[2, 3]);
    let b = net.input("b", &[3]);
    let c = net.input("c", &[2, 3]);
    let d = net.op(Op::Binary(BinaryFn::Sub), &[a, b]);
    let y = net.op(Op::Binary(BinaryFn::Mul), &[d, c]);
    let n = net.op(Op::Unary(UnaryFn::Neg), &[y]);
    let z = net.op(Op::Binary(BinaryFn::Add), &[n, a]);
    net.output(z);
    let inputs = vec![r.tensor(&[2, 3], 1.0), r.tensor(&[3], 1.0), r.tensor(&[2, 3], 1.0)];
    let model = verify(&net, &[inputs], 1e-3);
    assert_eq!(model.report.nodes.len(), 1, "only the last sum has cells: {:?}", model.report.nodes);
}

#[test]
fn division_powers_and_extrema() {
    let mut r = Random::new(23);
    let mut net = Net::default();
    let a = net.input("a", &[2, 5]);
    let b = net.input("b", &[2, 5]);
    let two = net.constant(Tensor::scalar(2.0));
    let three = net.constant(Tensor::scalar(3.0));
    let w = net.weight(Tensor::f32(vec![5], vec![2.0, -3.0, 0.5, 7.0, -1.0]).unwrap());
    let pairs = [
        (BinaryFn::Div, a, b),
        (BinaryFn::Div, a, w),
        (BinaryFn::Pow, a, two),
        (BinaryFn::Pow, a, three),
        (BinaryFn::Max, a, b),
        (BinaryFn::Min, a, b),
        (BinaryFn::Max, a, two),
        (BinaryFn::PRelu, a, w),
    ];
    for (f, x, y) in pairs {
        let y = net.op(Op::Binary(f), &[x, y]);
        net.output(y);
    }
    let b: Vec<f32> = (0..10).map(|_| 1.5 + r.next()).collect();
    let inputs = vec![r.tensor(&[2, 5], 2.0), Tensor::f32(vec![2, 5], b).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 5e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn functions_of_one_variable() {
    let mut r = Random::new(24);
    let x: Vec<f32> = (0..40).map(|i| i as f32 / 8.0 - 2.5 + 0.01 * r.next()).collect();
    let functions = [
        UnaryFn::Abs,
        UnaryFn::Exp,
        UnaryFn::Erf,
        UnaryFn::Sigmoid,
        UnaryFn::Tanh,
        UnaryFn::Relu,
        UnaryFn::LeakyRelu { alpha: 0.1 },
        UnaryFn::Elu { alpha: 1.0 },
        UnaryFn::Gelu,
        UnaryFn::GeluTanh,
        UnaryFn::Silu { alpha: 1.0 },
        UnaryFn::Mish,
        UnaryFn::HardSwish,
        UnaryFn::Softplus,
        UnaryFn::Sin,
        UnaryFn::Clip { min: -1.0, max: 1.5 },
    ];
    let mut net = Net::default();
    let input = net.input("x", &[40]);
    for f in functions {
        let y = net.op(Op::Unary(f), &[input]);
        net.output(y);
    }
    verify(&net, &[vec![Tensor::f32(vec![40], x).unwrap()]], 3e-3);
    let mut net = Net::default();
    let input = net.input("x", &[20]);
    for f in [UnaryFn::Sqrt, UnaryFn::Log, UnaryFn::Reciprocal] {
        let y = net.op(Op::Unary(f), &[input]);
        net.output(y);
    }
    let x: Vec<f32> = (0..20).map(|i| 1.0 + i as f32 / 10.0).collect();
    verify(&net, &[vec![Tensor::f32(vec![20], x).unwrap()]], 1e-3);
}

#[test]
fn comparisons_logic_selection_and_casts() {
    let mut net = Net::default();
    let a = net.input("a", &[6]);
    let b = net.input("b", &[6]);
    let c = net.typed_input("c", &[6], DType::Bool);
    let mut truths = Vec::new();
    for f in [BinaryFn::Equal, BinaryFn::Less, BinaryFn::LessOrEqual, BinaryFn::Greater, BinaryFn::GreaterOrEqual] {
        truths.push(net.op(Op::Binary(f), &[a, b]));
    }
    for f in [BinaryFn::And, BinaryFn::Or, BinaryFn::Xor] {
        let y = net.op(Op::Binary(f), &[truths[1], c]);
        truths.push(y);
    }
    truths.push(net.op(Op::Unary(UnaryFn::Not), &[c]));
    let y = net.op(Op::Where, &[c, a, b]);
    let i = net.op(Op::Cast { to: DType::I64 }, &[a]);
    let f = net.op(Op::Cast { to: DType::F32 }, &[i]);
    for id in truths.into_iter().chain([y, i, f]) {
        net.output(id);
    }
    let a = Tensor::f32(vec![6], vec![1.0, -1.5, 2.25, 0.0, 3.0, -2.0]).unwrap();
    let b = Tensor::f32(vec![6], vec![1.0, 0.5, -2.25, 0.0, 2.0, -1.0]).unwrap();
    let c = Tensor::bool(vec![6], vec![true, false, true, false, false, true]).unwrap();
    let inputs = vec![a, b, c];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn powers_with_computed_bases_and_exponents() {
    let mut net = Net::default();
    let (a, b) = (net.input("a", &[2, 3]), net.input("b", &[3]));
    let exponents = net.constant(Tensor::f32(vec![3], vec![2.0, 0.0, 3.0]).unwrap());
    let base = net.constant(Tensor::scalar(2.0));
    let n = net.typed_input("n", &[3], DType::I64);
    let whole = net.constant(Tensor::i64(vec![3], vec![3, 1, 2]).unwrap());
    for (x, y) in [(a, b), (a, exponents), (base, b), (a, n), (n, whole)] {
        let z = net.op(Op::Binary(BinaryFn::Pow), &[x, y]);
        net.output(z);
    }
    let a = Tensor::f32(vec![2, 3], vec![1.5, 0.5, 2.0, 1.0, 3.0, 0.25]).unwrap();
    let b = Tensor::f32(vec![3], vec![-1.0, 2.0, 1.5]).unwrap();
    let inputs = vec![a, b, Tensor::i64(vec![3], vec![2, 3, 1]).unwrap()];
    let model = verify(&net, std::slice::from_ref(&inputs), 1e-2);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn integers_divide_and_combine_bits() {
    let mut net = Net::default();
    let (a, b) = (net.typed_input("a", &[2, 4], DType::I64), net.typed_input("b", &[4], DType::I64));
    let several = net.constant(Tensor::i64(vec![4], vec![3, -4, 5, 7]).unwrap());
    let functions = [BinaryFn::Div, BinaryFn::Mod, BinaryFn::FMod, BinaryFn::BitAnd, BinaryFn::BitOr, BinaryFn::BitXor];
    // An operand that is no constant is 0 when the test's net works its shapes out, and 0 divides nothing.
    for f in functions {
        let y = net.op(Op::Binary(f), &[a, several]);
        net.output(y);
    }
    for f in &functions[3..] {
        let y = net.op(Op::Binary(*f), &[a, b]);
        net.output(y);
    }
    let x = net.input("x", &[4]);
    let by = net.constant(Tensor::f32(vec![4], vec![1.5, -2.25, 0.75, 3.0]).unwrap());
    let y = net.op(Op::Binary(BinaryFn::FMod), &[x, by]);
    net.output(y);
    let a = Tensor::i64(vec![2, 4], vec![7, -7, 12, -30, 100, 99, -1, 0]).unwrap();
    let b = Tensor::i64(vec![4], vec![6, -3, 255, 1]).unwrap();
    let x = Tensor::f32(vec![4], vec![4.0, -5.0, 0.5, -7.5]).unwrap();
    let inputs = vec![a, b, x];
    let model = verify(&net, std::slice::from_ref(&inputs), 2e-3);
    wrong_cells_are_caught(&model, &inputs);
}

#[test]
fn integers_of_32_bits_divide_by_large_powers() {
    let mut net = Net::default();
    let a = net.typed_input("a", &[3], DType::I64);
    let by = net.constant(Tensor::i64(vec![3], vec![1 << 31; 3]).unwrap());
    let rest = net.op(Op::Binary(BinaryFn::Mod), &[a, by]);
    let down = net.op(Op::Binary(BinaryFn::Sub), &[a, rest]);
    let y = net.op(Op::Binary(BinaryFn::Div), &[down, by]);
    for id in [rest, y] {
        net.output(id);
    }
    let power = net.constant(Tensor::i64(vec![], vec![8]).unwrap());
    let y = net.op(Op::Binary(BinaryFn::Pow), &[a, power]);
    net.output(y);
    // Small numbers whose results are large, and large ones.
    let inputs = [vec![-8, 4, -1], vec![-13, 14, 2]].map(|v| vec![Tensor::i64(vec![3], v).unwrap()]);
    let model = verify(&net, &inputs, 0.0);
    wrong_cells_are_caught(&model, &inputs[0]);
    let wide = vec![Tensor::i64(vec![3], vec![-1, 8, -(1 << 31)]).unwrap()];
    let mut net = Net::default();
    let a = net.typed_input("a", &[3], DType::I64);
    let by = net.constant(Tensor::i64(vec![3], vec![1 << 31; 3]).unwrap());
    for f in [BinaryFn::Mod, BinaryFn::Div] {
        let y = net.op(Op::Binary(f), &[a, by]);
        net.output(y);
    }
    let model = verify(&net, std::slice::from_ref(&wide), 0.0);
    wrong_cells_are_caught(&model, &wide);
}

#[test]
fn sums_along_an_axis_and_minima_keep_the_type() {
    let mut net = Net::default();
    let a = net.typed_input("a", &[2, 3], DType::I64);
    let b = net.typed_input("b", &[2, 3], DType::Bool);
    let y = net.op(Op::CumSum { axis: 0, exclusive: false, reverse: true }, &[a]);
    let z = net.op(Op::Reduce { function: zktorch_float::ReduceFn::Min, axes: vec![1], keepdims: false }, &[b]);
    for id in [y, z] {
        net.output(id);
    }
    let a = Tensor::i64(vec![2, 3], vec![1, -2, 3, 4, 5, -6]).unwrap();
    let b = Tensor::bool(vec![2, 3], vec![true, true, true, false, true, true]).unwrap();
    let inputs = vec![a, b];
    let model = verify(&net, std::slice::from_ref(&inputs), 0.0);
    wrong_cells_are_caught(&model, &inputs);
}
