//! Operators that are imported as several others, against results worked out by hand.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, attr, close, float, float_tensor, info, int, int_tensor, ints, outputs, string};
use zktorch_float::Tensor;
use zktorch_onnx::proto::{AttributeProto, AttributeType, ElementType, GraphProto, NodeProto};

fn one(model: Model, inputs: &[Tensor]) -> Vec<f32> {
    outputs(&model.output("y").import(), inputs).swap_remove(0)
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape.to_vec(), values.to_vec()).unwrap()
}

#[test]
fn the_largest_element_of_a_row_is_marked() {
    let model = Model::new(13).input("x", &["2", "3"]).node("Hardmax", "x", "y", vec![]);
    assert_eq!(one(model, &[tensor(&[2, 3], &[1.0, 3.0, 3.0, 2.0, 0.0, 1.0])]), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn neighbouring_channels_normalise_each_other() {
    let attributes = vec![int("size", 3), float("alpha", 3.0), float("beta", 0.5), float("bias", 1.0)];
    let model = Model::new(13).input("x", &["1", "3", "1", "1"]).node("LRN", "x", "y", attributes);
    let x = [1.0, 2.0, 4.0];
    let expected = [1.0 / 6f32.sqrt(), 2.0 / 22f32.sqrt(), 4.0 / 21f32.sqrt()];
    close(&one(model, &[tensor(&[1, 3, 1, 1], &x)]), &expected);
}

#[test]
fn rows_lose_mean_and_variance() {
    let model = Model::new(13).input("x", &["2", "2", "1", "1"]).node("MeanVarianceNormalization", "x", "y", vec![]);
    close(&one(model, &[tensor(&[2, 2, 1, 1], &[1.0, 5.0, 3.0, 9.0])]), &[-1.0, -1.0, 1.0, 1.0]);
}

#[test]
fn centres_are_cut_out_and_padded() {
    let model = Model::new(18).input("x", &["1", "5"]).weight(int_tensor("s", &[2], &[2, 2])).node("CenterCropPad", "x s", "y", vec![]);
    assert_eq!(one(model, &[tensor(&[1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0])]), [2.0, 3.0, 0.0, 0.0]);
}

#[test]
fn sequences_are_reversed_up_to_their_length() {
    let attributes = vec![int("time_axis", 1), int("batch_axis", 0)];
    let model =
        Model::new(10).input("x", &["2", "3"]).weight(int_tensor("l", &[2], &[3, 2])).node("ReverseSequence", "x l", "y", attributes);
    assert_eq!(one(model, &[tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]), [3.0, 2.0, 1.0, 5.0, 4.0, 6.0]);
}

#[test]
fn products_accumulate_in_both_directions() {
    for (attributes, expected) in [
        (vec![], [2.0, 6.0, 24.0]),
        (vec![int("exclusive", 1)], [1.0, 2.0, 6.0]),
        (vec![int("reverse", 1)], [24.0, 12.0, 4.0]),
        (vec![int("reverse", 1), int("exclusive", 1)], [12.0, 4.0, 1.0]),
    ] {
        let model = Model::new(26).input("x", &["3"]).weight(int_tensor("a", &[], &[0])).node("CumProd", "x a", "y", attributes);
        assert_eq!(one(model, &[tensor(&[3], &[2.0, 3.0, 4.0])]), expected);
    }
}

#[test]
fn determinants_expand_by_columns() {
    let model = Model::new(11).input("x", &["3", "3"]).node("Det", "x", "y", vec![]);
    close(&one(model, &[tensor(&[3, 3], &[2.0, 0.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0, 4.0])]), &[18.0]);
}

#[test]
fn a_transform_and_its_inverse_cancel() {
    let model = Model::new(20).input("x", &["1", "6", "1"]).node("DFT", "x", "f", vec![]).node("DFT", "f", "y", vec![int("inverse", 1)]);
    let x = [1.0, -2.0, 3.0, 0.5, 0.0, 4.0];
    let y = one(model, &[tensor(&[1, 6, 1], &x)]);
    close(&y.iter().step_by(2).copied().collect::<Vec<_>>(), &x);
    close(&y.iter().skip(1).step_by(2).copied().collect::<Vec<_>>(), &[0.0; 6]);
    let onesided = Model::new(20).input("x", &["1", "6", "1"]).node("DFT", "x", "f", vec![int("onesided", 1)]);
    let model = onesided.node("DFT", "f", "y", vec![int("inverse", 1), int("onesided", 1)]);
    close(&one(model, &[tensor(&[1, 6, 1], &x)]), &x);
}

#[test]
fn overlapping_columns_are_added_up() {
    let model = Model::new(18)
        .input("x", &["1", "2", "2"])
        .weight(int_tensor("i", &[2], &[1, 3]))
        .weight(int_tensor("b", &[2], &[1, 2]))
        .node("Col2Im", "x i b", "y", vec![]);
    assert_eq!(one(model, &[tensor(&[1, 2, 2], &[1.0, 2.0, 10.0, 20.0])]), [1.0, 12.0, 20.0]);
}

#[test]
fn an_affine_grid_that_changes_nothing_samples_the_image() {
    let theta = float_tensor("t", &[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let model = Model::new(20)
        .input("x", &["1", "1", "2", "3"])
        .weight(theta)
        .weight(int_tensor("s", &[4], &[1, 1, 2, 3]))
        .node("AffineGrid", "t s", "g", vec![])
        .node("GridSample", "x g", "y", vec![string("mode", "linear")]);
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    close(&one(model, &[tensor(&[1, 1, 2, 3], &x)]), &x);
}

#[test]
fn points_outside_of_an_image_are_padded() {
    for (mode, expected) in [("zeros", [0.0, 1.0]), ("border", [2.0, 1.0]), ("reflection", [1.0, 1.0])] {
        let grid = float_tensor("g", &[1, 1, 2, 2], &[3.0, 0.0, -0.5, 0.0]);
        let attributes = vec![string("mode", "nearest"), string("padding_mode", mode)];
        let model = Model::new(20).input("x", &["1", "1", "1", "2"]).weight(grid).node("GridSample", "x g", "y", attributes);
        assert_eq!(one(model, &[tensor(&[1, 1, 1, 2], &[1.0, 2.0])]), expected, "{mode}");
    }
}

#[test]
fn cubic_interpolation_uses_four_neighbours() {
    let attributes = vec![string("mode", "cubic")];
    let scales = float_tensor("s", &[4], &[1.0, 1.0, 1.0, 2.0]);
    let model = Model::new(19).input("x", &["1", "1", "1", "4"]).weight(scales).node("Resize", "x - s", "y", attributes);
    // Coefficients of ratio 3/4 with a = -3/4, outside elements repeated.
    let y = one(model, &[tensor(&[1, 1, 1, 4], &[0.0, 0.0, 1.0, 1.0])]);
    let near = |d: f32| (1.25 * d - 2.25) * d * d + 1.0;
    let far = |d: f32| ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0;
    close(&y[3..5], &[near(0.75) + far(1.75), near(0.25) + far(1.25)]);
    assert!((y[3] + y[4] - 1.0).abs() < 1e-6);
}

#[test]
fn shrinking_without_aliasing_averages() {
    let attributes = vec![string("mode", "linear"), int("antialias", 1)];
    let scales = float_tensor("s", &[1], &[0.5]);
    let model = Model::new(19).input("x", &["4"]).weight(scales).node("Resize", "x - s", "y", attributes);
    // Triangles of half width 2 around 0.5 and 2.5, elements outside repeated: weights 1, 3, 3, 1 of 8.
    close(&one(model, &[tensor(&[4], &[8.0, 0.0, 0.0, 16.0])]), &[4.0, 8.0]);
}

#[test]
fn updates_are_combined_in_turn() {
    for (reduction, expected) in [("add", [1.0, 35.0]), ("mul", [1.0, 1000.0]), ("max", [1.0, 20.0]), ("min", [1.0, 5.0])] {
        let model = Model::new(18).input("x", &["2"]).input("u", &["2"]).weight(int_tensor("i", &[2], &[1, 1])).node(
            "ScatterElements",
            "x i u",
            "y",
            vec![string("reduction", reduction)],
        );
        assert_eq!(one(model, &[tensor(&[2], &[1.0, 5.0]), tensor(&[2], &[10.0, 20.0])]), expected, "{reduction}");
    }
}

fn body(nodes: &[(&str, &str, &str)], inputs: &[&str], outputs: &[&str]) -> AttributeProto {
    let names = |s: &str| s.split_whitespace().map(str::to_owned).collect();
    let node = |&(op, i, o): &(&str, &str, &str)| NodeProto {
        op_type: Some(op.to_owned()),
        input: names(i),
        output: names(o),
        ..NodeProto::default()
    };
    let infos = |all: &[&str]| all.iter().map(|n| info(n, ElementType::Float, &[])).collect();
    let graph =
        GraphProto { node: nodes.iter().map(node).collect(), input: infos(inputs), output: infos(outputs), ..GraphProto::default() };
    AttributeProto { g: Some(graph), r#type: Some(AttributeType::Graph as i32), ..attr("body") }
}

#[test]
fn a_loop_is_written_out() {
    let nodes = [("Add", "s x", "t"), ("Identity", "c", "d"), ("Identity", "t", "row")];
    let model = Model::new(16).input("x", &["2"]).weight(int_tensor("n", &[], &[3])).node(
        "Loop",
        "n - x",
        "s y",
        vec![body(&nodes, &["i", "c", "s"], &["d", "t", "row"])],
    );
    let graph = model.output("s").output("y").import();
    let out = outputs(&graph, &[tensor(&[2], &[1.0, 2.0])]);
    assert_eq!(out[0], [4.0, 8.0]);
    assert_eq!(out[1], [2.0, 4.0, 3.0, 6.0, 4.0, 8.0]);
    // A number of rounds that depends on the input cannot be written out.
    let model = Model::new(16).input("x", &["2"]).input_of("n", ElementType::Int64, &[]);
    let model = model.node("Loop", "n - x", "s y", vec![body(&nodes, &["i", "c", "s"], &["d", "t", "row"])]);
    let error = model.output("s").try_import().unwrap_err().to_string();
    assert!(error.contains("number of rounds"), "{error}");
}

#[test]
fn a_scan_goes_over_slices() {
    let nodes = [("Add", "s e", "t"), ("Identity", "t", "row")];
    let attributes = vec![body(&nodes, &["s", "e"], &["t", "row"]), int("num_scan_inputs", 1), ints("scan_input_directions", &[1])];
    let model = Model::new(16).input("s0", &["2"]).input("x", &["3", "2"]).node("Scan", "s0 x", "s y", attributes);
    let graph = model.output("s").output("y").import();
    let out = outputs(&graph, &[tensor(&[2], &[0.0, 0.0]), tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    assert_eq!(out[0], [9.0, 12.0]);
    assert_eq!(out[1], [5.0, 6.0, 8.0, 10.0, 9.0, 12.0]);
}

#[test]
fn shifts_keep_the_bits_that_fit() {
    for (element, direction, expected) in [
        (ElementType::Int8, "LEFT", [-128.0, 24.0, 0.0]),
        (ElementType::Uint8, "LEFT", [128.0, 24.0, 0.0]),
        (ElementType::Uint8, "RIGHT", [16.0, 0.0, 0.0]),
    ] {
        let model = Model::new(11).input_of("x", element, &["3"]).weight(int_tensor("n", &[3], &[2, 3, 9])).node(
            "BitShift",
            "x n",
            "y",
            vec![string("direction", direction)],
        );
        let x = if direction == "LEFT" { vec![32, 3, 5] } else { vec![64, 3, 5] };
        assert_eq!(one(model, &[Tensor::i64(vec![3], x).unwrap()]), expected, "{element:?} {direction}");
    }
    let model = Model::new(11).input_of("x", ElementType::Int8, &["2"]).weight(int_tensor("n", &[2], &[1, 9])).node(
        "BitShift",
        "x n",
        "y",
        vec![string("direction", "RIGHT")],
    );
    assert_eq!(one(model, &[Tensor::i64(vec![2], vec![-7, -7]).unwrap()]), [-4.0, -1.0]);
}

#[test]
fn a_loss_takes_the_class_of_each_place() {
    let model = Model::new(13)
        .input("x", &["2", "3"])
        .input_of("t", ElementType::Int64, &["2"])
        .weight(float_tensor("w", &[3], &[1.0, 2.0, 4.0]))
        .node("NegativeLogLikelihoodLoss", "x t w", "y", vec![]);
    let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let t = |v: [i64; 2]| Tensor::i64(vec![2], v.to_vec()).unwrap();
    close(&one(model, &[x.clone(), t([1, 2])]), &[-(2.0 * 2.0 + 4.0 * 6.0) / 6.0]);
    let ignoring = Model::new(13).input("x", &["2", "3"]).input_of("t", ElementType::Int64, &["2"]);
    let model = ignoring.node("NegativeLogLikelihoodLoss", "x t", "y", vec![int("ignore_index", -5)]);
    close(&one(model, &[x, t([-5, 0])]), &[-4.0]);
}

#[test]
fn attention_windows_leave_keys_out() {
    let attributes = vec![int("is_causal", 1), int("left_window_size", 1)];
    let model = Model::new(25).input("q", &["1", "1", "3", "1"]).input("k", &["1", "1", "3", "1"]).input("v", &["1", "1", "3", "1"]).node(
        "Attention",
        "q k v",
        "y",
        attributes,
    );
    let zero = tensor(&[1, 1, 3, 1], &[0.0; 3]);
    let v = tensor(&[1, 1, 3, 1], &[1.0, 2.0, 4.0]);
    close(&one(model, &[zero.clone(), zero, v]), &[1.0, 1.5, 3.0]);
}

#[test]
fn labels_and_categories_are_encoded() {
    let ml = |mut model: Model| {
        model.graph.node.last_mut().unwrap().domain = Some("ai.onnx.ml".to_owned());
        model
    };
    let floats =
        |name: &str, values: &[f32]| AttributeProto { floats: values.to_vec(), r#type: Some(AttributeType::Floats as i32), ..attr(name) };
    let input = || Model::new(18).input_of("x", ElementType::Int64, &["3"]);
    let x = Tensor::i64(vec![3], vec![5, -2, 9]).unwrap();
    let attributes = vec![ints("keys_int64s", &[-2, 5]), floats("values_floats", &[0.5, 1.5]), float("default_float", -1.0)];
    assert_eq!(one(ml(input().node("LabelEncoder", "x", "y", attributes)), std::slice::from_ref(&x)), [1.5, 0.5, -1.0]);
    let attributes = vec![ints("keys_int64s", &[-2, 5]), ints("values_int64s", &[7, 8]), int("default_int64", 3)];
    assert_eq!(one(ml(input().node("LabelEncoder", "x", "y", attributes)), std::slice::from_ref(&x)), [8.0, 7.0, 3.0]);
    let model = ml(input().node("OneHotEncoder", "x", "y", vec![ints("cats_int64s", &[9, 5])]));
    assert_eq!(one(model, &[x]), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    let model = ml(Model::new(18).input("x", &["2"]).node("Binarizer", "x", "y", vec![float("threshold", 1.0)]));
    assert_eq!(one(model, &[tensor(&[2], &[1.0, 1.5])]), [0.0, 1.0]);
}
