//! Quantised operators: what they become, and their integers.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, close, float_tensor, int, numbers, outputs, tensor};
use zktorch_float::{Op, Tensor};
use zktorch_onnx::proto::{ElementType, TensorProto};

fn typed(name: &str, dims: &[i64], element: ElementType, data: &[i32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(element as i32),
        int32_data: data.to_vec(),
        ..TensorProto::default()
    }
}

fn parameters(model: Model) -> Model {
    model
        .scalar("sx", 0.05)
        .scalar("sy", 0.2)
        .weight(typed("zx", &[], ElementType::Int8, &[3]))
        .weight(typed("zy", &[], ElementType::Int8, &[-10]))
        .weight(typed("w", &[4, 3], ElementType::Int8, &[5, -100, 30, 7, 127, -128, 0, 64, 9, -33, 2, 81]))
        .weight(float_tensor("sw", &[3], &[0.01, 0.03, 0.02]))
        .weight(typed("zw", &[3], ElementType::Int8, &[0, 0, 0]))
        .weight(typed("b", &[3], ElementType::Int32, &[100, -200, 300]))
        .weight(float_tensor("sb", &[3], &[0.05 * 0.01, 0.05 * 0.03, 0.05 * 0.02]))
}

/// Integers of the layer by its definition.
fn expected(x: &[f32]) -> Vec<f32> {
    let w = [5, -100, 30, 7, 127, -128, 0, 64, 9, -33, 2, 81];
    let (scales, bias) = ([0.01f32, 0.03, 0.02], [100, -200, 300]);
    let q: Vec<i64> = x.iter().map(|v| ((v / 0.05).round_ties_even() as i64 + 3).clamp(-128, 127) - 3).collect();
    (0..q.len() / 4 * 3)
        .map(|i| {
            let (row, c) = (i / 3, i % 3);
            let acc: i64 = (0..4).map(|k| q[row * 4 + k] * w[k * 3 + c]).sum::<i64>() + bias[c];
            let factor = 0.05f32 * scales[c] / 0.2;
            ((acc as f64 * f64::from(factor)).round_ties_even() as i64 - 10).clamp(-10, 127) as f32
        })
        .collect()
}

#[test]
fn quantise_and_dequantise_pairs_become_integer_operators() {
    let graph = parameters(Model::new(13))
        .input("x", &["2", "4"])
        .node("QuantizeLinear", "x sx zx", "q", vec![])
        .node("DequantizeLinear", "q sx zx", "d", vec![])
        .node("DequantizeLinear", "w sw zw", "dw", vec![int("axis", 1)])
        .node("DequantizeLinear", "b sb", "db", vec![int("axis", 0)])
        .node("Gemm", "d dw db", "y", vec![])
        .node("Relu", "y", "r", vec![])
        .node("QuantizeLinear", "r sy zy", "z", vec![])
        .output("z")
        .import();
    assert!(graph.nodes.iter().any(|n| n.op == Op::Requantize { axis: 1, low: -10, high: 127 }));
    assert!(!graph.nodes.iter().any(|n| matches!(n.op, Op::Gemm { .. } | Op::DequantizeLinear { .. })));
    let x = tensor(&[2, 4]);
    assert_eq!(outputs(&graph, std::slice::from_ref(&x))[0], expected(&numbers(8)));
}

#[test]
fn qlinear_product_agrees_with_its_definition() {
    let graph = parameters(Model::new(13))
        .input("x", &["2", "4"])
        .node("QuantizeLinear", "x sx zx", "q", vec![])
        .node("QLinearMatMul", "q sx zx w sw zw sy zy", "z", vec![])
        .node("MatMulInteger", "q w zx", "i", vec![])
        .output("z")
        .output("i")
        .import();
    let out = outputs(&graph, &[tensor(&[2, 4])]);
    let factors = [0.01f32, 0.03, 0.02].map(|s| 0.05 * s / 0.2);
    for (i, (z, acc)) in out[0].iter().zip(&out[1]).enumerate() {
        let want = (f64::from(*acc) * f64::from(factors[i % 3])).round_ties_even() - 10.0;
        assert_eq!(f64::from(*z), want.clamp(-128.0, 127.0));
    }
}

#[test]
fn qlinear_convolution_pads_with_the_zero_point() {
    let graph = Model::new(13)
        .input("x", &["1", "1", "3", "3"])
        .scalar("s", 0.5)
        .scalar("one", 1.0)
        .weight(typed("zx", &[], ElementType::Uint8, &[10]))
        .weight(typed("w", &[1, 1, 3, 3], ElementType::Uint8, &[2; 9]))
        .weight(typed("zw", &[], ElementType::Uint8, &[1]))
        .node("QuantizeLinear", "x one zx", "q", vec![])
        .node("QLinearConv", "q one zx w one zw s zx", "y", vec![common::ints("pads", &[1, 1, 1, 1])])
        .node("ConvInteger", "q w zx zw", "i", vec![common::ints("pads", &[1, 1, 1, 1])])
        .output("y")
        .output("i")
        .import();
    let x = Tensor::f32(vec![1, 1, 3, 3], (1..10).map(|v| v as f32).collect()).unwrap();
    let out = outputs(&graph, &[x]);
    let sums = [12.0, 21.0, 16.0, 27.0, 45.0, 33.0, 24.0, 39.0, 28.0];
    assert_eq!(out[1], sums);
    assert_eq!(out[0], sums.map(|s| s * 2.0 + 10.0));
}

#[test]
fn dynamic_quantisation_finds_scale_and_zero_point() {
    let graph = Model::new(13)
        .input("x", &["4"])
        .node("DynamicQuantizeLinear", "x", "y s z", vec![])
        .node("DequantizeLinear", "y s z", "d", vec![])
        .output("y")
        .output("s")
        .output("z")
        .output("d")
        .import();
    // The example of the operator's description.
    let x = Tensor::f32(vec![4], vec![-1.0, -2.1, -1.3, -2.5]).unwrap();
    let out = outputs(&graph, &[x]);
    assert_eq!(out[0], [153.0, 41.0, 122.0, 0.0]);
    close(&out[1], &[2.5 / 255.0]);
    assert_eq!(out[2], [255.0]);
}

#[test]
fn types_of_zero_points_decide_the_range() {
    let model = |element| {
        Model::new(13)
            .input("x", &["2"])
            .scalar("s", 1.0)
            .weight(typed("z", &[], element, &[0]))
            .node("QuantizeLinear", "x s z", "q", vec![])
            .output("q")
    };
    let x = Tensor::f32(vec![2], vec![-1e6, 1e6]).unwrap();
    for (element, range) in [
        (ElementType::Int8, [-128.0, 127.0]),
        (ElementType::Uint8, [0.0, 255.0]),
        (ElementType::Int16, [-32768.0, 32767.0]),
        (ElementType::Uint16, [0.0, 65535.0]),
    ] {
        assert_eq!(outputs(&model(element).import(), std::slice::from_ref(&x))[0], range);
    }
    assert!(model(ElementType::Int32).try_import().is_err());
}

#[test]
fn blocks_share_scales_and_zero_points() {
    // Bytes hold two elements each, the lower half first.
    let raw = |bytes: &[u8]| Some(bytes.to_vec().into());
    let weight = TensorProto { raw_data: raw(&[0x21, 0x43, 0xf5]), ..typed("w", &[3, 2], ElementType::Uint4, &[]) };
    let zero = TensorProto { int32_data: vec![0x11, 0x02], ..typed("z", &[2, 2], ElementType::Uint4, &[]) };
    let graph = Model::new(21)
        .input("x", &["1", "3"])
        .weight(weight)
        .weight(float_tensor("s", &[2, 2], &[1.0, 10.0, 100.0, 1000.0]))
        .weight(zero)
        .node("DequantizeLinear", "w s z", "d", vec![int("axis", 0), int("block_size", 2)])
        .node("MatMul", "x d", "y", vec![])
        .output("y")
        .import();
    assert!(matches!(graph.nodes[..], [ref n] if n.op == Op::MatMul));
    // Rows (1-1)·1, (2-1)·10; (3-1)·1, (4-1)·10; (5-2)·100, (15-0)·1000.
    assert_eq!(outputs(&graph, &[Tensor::f32(vec![1, 3], vec![1.0, 1.0, 1.0]).unwrap()])[0], [302.0, 15040.0]);
}

#[test]
fn inputs_are_quantised_with_parameters_of_their_own() {
    let model = |scale: &[f32], dims: &[i64], attributes| {
        Model::new(21)
            .input("x", &["2", "3"])
            .weight(float_tensor("s", dims, scale))
            .node("QuantizeLinear", "x s", "q", attributes)
            .output("q")
            .import()
    };
    let x = Tensor::f32(vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let per_column = model(&[1.0, 0.5, 0.1], &[3], vec![int("axis", 1)]);
    assert_eq!(outputs(&per_column, std::slice::from_ref(&x))[0], [1.0, 4.0, 30.0, 4.0, 10.0, 60.0]);
    let model = Model::new(21).input("x", &["2", "3"]).weight(float_tensor("s", &[2, 2], &[1.0, 0.5, 0.25, 2.0]));
    let blocked = model.node("QuantizeLinear", "x s", "q", vec![int("axis", 1), int("block_size", 2)]).output("q").import();
    assert_eq!(outputs(&blocked, &[x])[0], [1.0, 2.0, 6.0, 16.0, 20.0, 3.0]);
}

#[test]
fn narrowing_casts_keep_the_lowest_bits() {
    let x = Tensor::i64(vec![4], vec![300, -1, 127, -129]).unwrap();
    for (element, expected) in [
        (ElementType::Uint8, [44.0, 255.0, 127.0, 127.0]),
        (ElementType::Int8, [44.0, -1.0, 127.0, 127.0]),
        (ElementType::Int4, [-4.0, -1.0, -1.0, -1.0]),
        (ElementType::Int32, [300.0, -1.0, 127.0, -129.0]),
    ] {
        let model = Model::new(21).input_of("x", ElementType::Int64, &["4"]).node("Cast", "x", "y", vec![int("to", element as i64)]);
        assert_eq!(outputs(&model.output("y").import(), std::slice::from_ref(&x))[0], expected, "{element:?}");
    }
    let model = Model::new(21).input("x", &["1"]).node("Cast", "x", "y", vec![int("to", ElementType::Float8e5m2 as i64)]).output("y");
    assert!(model.try_import().unwrap_err().to_string().contains("rounding"));
}
