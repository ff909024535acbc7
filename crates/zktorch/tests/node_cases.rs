//! Single operators from the ONNX file to the verified proof: a small part of what `examples/node_tests` does with the test data of the ONNX
//! project, without a download.

#![allow(clippy::unwrap_used)]

use prost::Message;
use zktorch::{Data, OnnxModel, Options, ReferenceString, Tensor, prove, setup, verify};
use zktorch_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, ElementType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// An operator with its operands; those after the `inputs` first ones are constants.
struct Case {
    op: &'static str,
    attributes: Vec<AttributeProto>,
    operands: Vec<Tensor>,
    inputs: usize,
    expected: Tensor,
}

fn f(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape.to_vec(), values.to_vec()).unwrap()
}

fn i(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::i64(shape.to_vec(), values.to_vec()).unwrap()
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), i: Some(value), r#type: Some(AttributeType::Int as i32), ..AttributeProto::default() }
}

fn string(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec().into());
    AttributeProto { name: Some(name.to_owned()), s, r#type: Some(AttributeType::String as i32), ..AttributeProto::default() }
}

fn element(t: &Tensor) -> i32 {
    match t.data {
        Data::F32(_) => ElementType::Float as i32,
        Data::I64(_) => ElementType::Int64 as i32,
        Data::Bool(_) => ElementType::Bool as i32,
    }
}

fn encode(case: &Case) -> Vec<u8> {
    let names: Vec<String> = (0..case.operands.len()).map(|k| format!("x{k}")).collect();
    let mut graph = GraphProto { output: vec![ValueInfoProto { name: Some("y".to_owned()), r#type: None }], ..GraphProto::default() };
    for (k, (name, t)) in names.iter().zip(&case.operands).enumerate() {
        if k < case.inputs {
            let dim = t.shape.iter().map(|&d| DimensionProto { dim_value: Some(d as i64), dim_param: None }).collect();
            let tensor_type = Some(TensorTypeProto { elem_type: Some(element(t)), shape: Some(TensorShapeProto { dim }) });
            graph.input.push(ValueInfoProto { name: Some(name.clone()), r#type: Some(TypeProto { tensor_type }) });
            continue;
        }
        let mut proto = TensorProto { name: Some(name.clone()), data_type: Some(element(t)), ..TensorProto::default() };
        proto.dims = t.shape.iter().map(|&d| d as i64).collect();
        match &t.data {
            Data::F32(v) => proto.float_data = v.to_vec(),
            Data::I64(v) => proto.int64_data.clone_from(v),
            Data::Bool(v) => proto.int32_data = v.iter().map(|&b| i32::from(b)).collect(),
        }
        graph.initializer.push(proto);
    }
    let attribute = case.attributes.clone();
    graph.node.push(NodeProto {
        op_type: Some(case.op.to_owned()),
        input: names,
        output: vec!["y".to_owned()],
        attribute,
        ..NodeProto::default()
    });
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(28) }];
    ModelProto { ir_version: Some(10), graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec()
}

fn cases() -> Vec<Case> {
    let case = |op, attributes, operands, inputs, expected| Case { op, attributes, operands, inputs, expected };
    let x = f(&[2, 3], &[1.0, -0.5, 3.0, 0.25, 2.0, -1.5]);
    vec![
        case("Hardmax", vec![], vec![x.clone()], 1, f(&[2, 3], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0])),
        case("CumSum", vec![], vec![x.clone(), i(&[], &[1])], 1, f(&[2, 3], &[1.0, 0.5, 3.5, 0.25, 2.25, 0.75])),
        case("Mod", vec![], vec![i(&[2, 2], &[7, -7, 9, -9]), i(&[2], &[4, -5])], 2, i(&[2, 2], &[3, -2, 1, -4])),
        case("Div", vec![], vec![i(&[4], &[7, -7, 9, -9]), i(&[4], &[2, 2, -4, -4])], 1, i(&[4], &[3, -3, -2, 2])),
        case("BitwiseXor", vec![], vec![i(&[3], &[5, -3, 12]), i(&[3], &[3, 6, -1])], 2, i(&[3], &[6, -5, -13])),
        case("Pow", vec![], vec![f(&[3], &[1.5, 2.0, 0.5]), f(&[3], &[2.0, -1.0, 3.0])], 2, f(&[3], &[2.25, 0.5, 0.125])),
        case("Trilu", vec![int("upper", 0)], vec![i(&[2, 2], &[1, 2, 3, 4])], 1, i(&[2, 2], &[1, 0, 3, 4])),
        case("Einsum", vec![string("equation", "ii->i")], vec![f(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], 1, f(&[2], &[1.0, 4.0])),
        case(
            "ScatterElements",
            vec![string("reduction", "add")],
            vec![f(&[3], &[1.0, 2.0, 3.0]), i(&[3], &[2, 0, 2]), f(&[3], &[0.5, 1.5, 0.25])],
            1,
            f(&[3], &[2.5, 2.0, 3.75]),
        ),
        case(
            "ScatterElements",
            vec![string("reduction", "add")],
            vec![f(&[3], &[1.0, 2.0, 3.0]), i(&[3], &[2, 0, 2]), f(&[3], &[0.5, 1.5, 0.25])],
            3,
            f(&[3], &[2.5, 2.0, 3.75]),
        ),
        case("GatherElements", vec![int("axis", 1)], vec![x.clone(), i(&[2, 2], &[2, 0, -1, 1])], 2, f(&[2, 2], &[3.0, 1.0, -1.5, 2.0])),
        case("ReduceMax", vec![int("keepdims", 0)], vec![x, i(&[1], &[1])], 1, f(&[2], &[3.0, 2.0])),
    ]
}

#[test]
fn operators_are_imported_proved_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let srs = ReferenceString::generate(18);
    for (number, case) in cases().into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.onnx"));
        std::fs::write(&path, encode(&case)).unwrap();
        let onnx = OnnxModel::read(&path, &std::collections::BTreeMap::new()).unwrap_or_else(|e| panic!("{}: {e}", case.op));
        let inputs = case.operands[..case.inputs].to_vec();
        let model = onnx.compile_on(std::slice::from_ref(&inputs), &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", case.op));
        let (pk, vk) = setup(&model, &srs).unwrap();
        let proof = prove(&model, &pk, &inputs, &mut |_| {}).unwrap().proof;
        let statement = verify(&vk, &proof).unwrap();
        let got = statement.outputs[0].value.clone().unwrap();
        assert_eq!((&got.shape, got.dtype()), (&case.expected.shape, case.expected.dtype()), "{}", case.op);
        let pairs = got.to_f32_vec().into_iter().zip(case.expected.to_f32_vec());
        assert!(pairs.clone().all(|(g, w)| (g - w).abs() <= 4e-3), "{}: {:?}", case.op, pairs.collect::<Vec<_>>());
    }
}
