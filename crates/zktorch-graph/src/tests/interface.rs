use super::{Net, Random, verify_with, wrong_cells_are_caught};
use crate::{CompileError, CompileOptions, InputError, RunError, Visibility, compile};
use zktorch_float::{BinaryFn, DType, Op, ReduceFn, Tensor, UnaryFn};

fn small() -> (Net, Vec<Tensor>) {
    let mut r = Random::new(41);
    let mut net = Net::default();
    let x = net.input("x", &[2, 3]);
    let w = net.weight(r.tensor(&[3, 2], 1.0));
    let y = net.op(Op::MatMul, &[x, w]);
    net.output(y);
    (net, vec![r.tensor(&[2, 3], 1.0)])
}

#[test]
fn every_visibility_of_inputs_and_outputs() {
    let (net, inputs) = small();
    for input in [Visibility::Public, Visibility::Private, Visibility::Committed] {
        for output in [Visibility::Public, Visibility::Private, Visibility::Committed] {
            let options = CompileOptions { inputs: vec![input], outputs: vec![output], adapt: false, ..CompileOptions::default() };
            let model = verify_with(&net, std::slice::from_ref(&inputs), 1e-3, &options);
            let publics = [input, output].iter().filter(|v| **v == Visibility::Public).count();
            let committed = [input, output].iter().filter(|v| **v == Visibility::Committed).count();
            assert_eq!(model.built.program.publics.len(), publics);
            assert_eq!(model.built.program.committed.len(), committed);
            assert_eq!(model.inputs[0].public.is_some(), input == Visibility::Public);
            wrong_cells_are_caught(&model, &inputs);
        }
    }
}

#[test]
fn bad_inputs_are_refused_by_name() {
    let (net, inputs) = small();
    let model = compile(&net.graph, &[inputs], &CompileOptions::default()).unwrap();
    let with = |v: f32| Tensor::f32(vec![2, 3], vec![0.0, v, 0.0, 0.0, 0.0, 0.0]).unwrap();
    assert!(matches!(model.quantize_inputs(&[]), Err(InputError::Count { expected: 1, got: 0 })));
    assert!(matches!(model.quantize_inputs(&[Tensor::scalar(0.0)]), Err(InputError::Shape { .. })));
    let ids = Tensor::i64(vec![2, 3], vec![0; 6]).unwrap();
    assert!(matches!(model.quantize_inputs(&[ids]), Err(InputError::Type { .. })));
    assert!(matches!(model.quantize_inputs(&[with(f32::NAN)]), Err(InputError::NotFinite { index: 1, .. })));
    assert!(matches!(model.run(&[with(1e6)]), Err(RunError::Input(InputError::Range { index: 1, .. }))));
}

#[test]
fn rounding_is_half_up() {
    let (net, inputs) = small();
    let model = compile(&net.graph, &[inputs], &CompileOptions::default()).unwrap();
    let unit = (-model.inputs[0].scale as f32).exp2();
    let x = [0.5, -0.5, 1.5, -1.5, 0.49, -0.51].map(|v| v * unit);
    let q = model.quantize_inputs(&[Tensor::f32(vec![2, 3], x.to_vec()).unwrap()]).unwrap();
    assert_eq!(q[0], vec![1, 0, 2, -1, 0, -1]);
}

#[test]
fn all_unsupported_nodes_are_listed_at_once() {
    let mut net = Net::default();
    let x = net.input("x", &[2, 100]);
    // Products of more than 64 factors.
    let a = net.op(Op::Reduce { function: ReduceFn::Prod, axes: vec![1], keepdims: false }, &[x]);
    let b = net.op(Op::Reduce { function: ReduceFn::Prod, axes: vec![0, 1], keepdims: true }, &[x]);
    let c = net.op(Op::Unary(UnaryFn::Relu), &[a]);
    [b, c].into_iter().for_each(|id| net.output(id));
    match compile(&net.graph, &[], &CompileOptions::default()) {
        Err(CompileError::Unsupported { nodes }) => {
            let names: Vec<&str> = nodes.iter().map(|n| n.node.as_str()).collect();
            assert_eq!(names, ["n0", "n1"], "and not what depends on them");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn calibration_refuses_values_that_are_not_finite() {
    let mut net = Net::default();
    let x = net.input("x", &[1]);
    let y = net.op(Op::Unary(UnaryFn::Log), &[x]);
    net.output(y);
    let inputs = vec![Tensor::f32(vec![1], vec![-1.0]).unwrap()];
    match compile(&net.graph, &[inputs], &CompileOptions::default()) {
        Err(CompileError::NotFinite { node, .. }) => assert_eq!(node, "n0"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_calibration_is_reported_and_reproducible() {
    let mut r = Random::new(42);
    let mut net = Net::default();
    let ids = net.typed_input("ids", &[3], DType::I64);
    let table = net.weight(r.tensor(&[5, 2], 1.0));
    let y = net.op(Op::Gather { axis: 0 }, &[table, ids]);
    let y = net.op(Op::Binary(BinaryFn::Mul), &[y, y]);
    net.output(y);
    let a = compile(&net.graph, &[], &CompileOptions::default()).unwrap();
    let b = compile(&net.graph, &[], &CompileOptions::default()).unwrap();
    assert!(a.report.random_calibration && !a.report.warnings.is_empty());
    assert_eq!(a, b);
}

#[test]
fn small_models_get_narrow_tables() {
    let mut r = Random::new(43);
    let mut net = Net::default();
    let x = net.input("x", &[1, 8]);
    let w = net.weight(r.tensor(&[8, 6], 1.0));
    let y = net.op(Op::MatMul, &[x, w]);
    let y = net.op(Op::Unary(UnaryFn::Tanh), &[y]);
    net.output(y);
    let samples: Vec<_> = (0..10).map(|_| vec![r.tensor(&[1, 8], 1.0)]).collect();
    let wide = compile(&net.graph, &samples, &CompileOptions { adapt: false, ..CompileOptions::default() }).unwrap();
    let model = verify_with(&net, &samples, 0.05, &CompileOptions::default());
    assert_eq!(wide.report.activation_bits, 16);
    assert!(model.report.activation_bits < 16);
    assert!(4 * model.report.cells < wide.report.cells, "{} and {}", model.report.cells, wide.report.cells);
    wrong_cells_are_caught(&model, &samples[0]);
}

#[test]
fn rectifiers_of_small_models_need_no_tables() {
    let mut r = Random::new(44);
    let mut net = Net::default();
    let x = net.input("x", &[3, 8]);
    let w = net.weight(r.tensor(&[8, 6], 1.0));
    let y = net.op(Op::MatMul, &[x, w]);
    let y = net.op(Op::Unary(UnaryFn::Relu), &[y]);
    let y = net.op(Op::Reduce { function: ReduceFn::Max, axes: vec![1], keepdims: false }, &[y]);
    net.output(y);
    let samples: Vec<_> = (0..4).map(|_| vec![r.tensor(&[3, 8], 1.0)]).collect();
    let options = CompileOptions { inputs: vec![Visibility::Private], ..CompileOptions::default() };
    let model = verify_with(&net, &samples, 1e-3, &options);
    assert_eq!(model.report.activation_bits, 16, "nothing to gain from narrower activations");
    assert!(model.report.table_rows < 2000, "{} rows", model.report.table_rows);
    wrong_cells_are_caught(&model, &samples[0]);
}

#[test]
fn options_out_of_range_are_refused() {
    let (net, _) = small();
    let options = CompileOptions { weight_bits: 40, ..CompileOptions::default() };
    let result = compile(&net.graph, &[], &options);
    assert!(matches!(result, Err(CompileError::Option { option: "weight_bits", .. })));
}

#[test]
fn outputs_may_be_inputs_constants_or_repeated() {
    let (mut net, inputs) = small();
    let c = net.constant(Tensor::f32(vec![2], vec![1.0, -2.0]).unwrap());
    let x = net.graph.inputs[0];
    let y = net.graph.outputs[0];
    [c, x, y].into_iter().for_each(|id| net.output(id));
    verify_with(&net, &[inputs], 1e-3, &CompileOptions { adapt: false, ..CompileOptions::default() });
}
