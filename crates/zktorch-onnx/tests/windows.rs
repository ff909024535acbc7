//! Windows, regions, frames and states, against results worked out by hand.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, attr, bool_tensor, close, float, float_tensor, info, int, int_tensor, ints, outputs, string};
use zktorch_float::Tensor;
use zktorch_onnx::proto::{AttributeProto, AttributeType, ElementType, GraphProto, NodeProto};
use zktorch_onnx::{ImportOptions, import_bytes};

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape.to_vec(), values.to_vec()).unwrap()
}

#[test]
fn maxima_come_with_the_positions_of_the_first_of_them() {
    let x = [1.0, 5.0, 2.0, 5.0, 0.0, 3.0, 3.0, -1.0, 4.0];
    for (attributes, values, places) in [
        (vec![], vec![5.0, 5.0, 5.0, 4.0], vec![1.0, 1.0, 3.0, 8.0]),
        (vec![int("storage_order", 1)], vec![5.0, 5.0, 5.0, 4.0], vec![3.0, 3.0, 1.0, 8.0]),
        (vec![ints("strides", &[2, 2]), ints("pads", &[1, 1, 0, 0])], vec![1.0, 5.0, 5.0, 4.0], vec![0.0, 1.0, 3.0, 8.0]),
    ] {
        let attributes = [attributes, vec![ints("kernel_shape", &[2, 2])]].concat();
        let model = Model::new(12).input("x", &["1", "1", "3", "3"]).node("MaxPool", "x", "y i", attributes).output("y").output("i");
        let found = outputs(&model.import(), &[tensor(&[1, 1, 3, 3], &x)]);
        assert_eq!((&found[0], &found[1]), (&values, &places));
    }
}

#[test]
fn unpooling_puts_elements_back() {
    let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let model = Model::new(11).input("x", &["1", "1", "2", "2"]).node("MaxPool", "x", "y i", attributes.clone());
    let model = model.node("MaxUnpool", "y i", "z", attributes).output("z");
    assert_eq!(outputs(&model.import(), &[tensor(&[1, 1, 2, 2], &[1.0, 2.0, 4.0, 3.0])])[0], [0.0, 0.0, 4.0, 0.0]);
}

#[test]
fn regions_are_sampled_between_elements() {
    let x = tensor(&[1, 1, 2, 2], &[0.0, 1.0, 2.0, 3.0]);
    let model = |mode| {
        Model::new(16)
            .input("x", &["1", "1", "2", "2"])
            .weight(float_tensor("r", &[1, 4], &[0.5, 0.5, 1.5, 1.5]))
            .weight(int_tensor("b", &[1], &[0]))
            .node("RoiAlign", "x r b", "y", vec![string("mode", mode), int("sampling_ratio", 1)])
            .output("y")
    };
    // The middle of the region is the middle of the image.
    close(&outputs(&model("avg").import(), std::slice::from_ref(&x))[0], &[1.5]);
    close(&outputs(&model("max").import(), &[x])[0], &[0.75]);
}

#[test]
fn computed_regions_are_sampled_like_constant_ones() {
    let x = tensor(&[2, 2, 4, 5], &(0..80).map(|i| ((i * 37) % 23) as f32 - 9.0).collect::<Vec<_>>());
    // Inside, across the border, far outside, turned round and very small.
    let regions = [0.5, 1.0, 3.5, 2.5, -3.0, -2.0, 6.0, 8.0, 20.0, 20.0, 30.0, 30.0, 3.0, 3.0, 1.0, 2.0, 1.25, 1.25, 1.5, 1.5];
    let images = [0, 1, 1, 0, 1];
    for mode in ["half_pixel", "output_half_pixel"] {
        let attributes = || {
            let sizes = [("output_height", 3), ("output_width", 2), ("sampling_ratio", 2)].map(|(n, v)| int(n, v));
            [&sizes[..], &[string("coordinate_transformation_mode", mode), float("spatial_scale", 0.8)]].concat()
        };
        let start = || Model::new(16).input("x", &["2", "2", "4", "5"]);
        let known = start().weight(float_tensor("r", &[5, 4], &regions)).weight(int_tensor("b", &[5], &images));
        let known = known.node("RoiAlign", "x r b", "y", attributes()).output("y").import();
        let given = start().input("r", &["5", "4"]).input_of("b", ElementType::Int64, &["5"]);
        let given = given.node("RoiAlign", "x r b", "y", attributes()).output("y");
        let operands = [x.clone(), tensor(&[5, 4], &regions), Tensor::ints(images.to_vec())];
        close(&outputs(&given.import(), &operands)[0], &outputs(&known, &operands[..1])[0]);
        let mut adaptive = given;
        adaptive.graph.node[0].attribute.retain(|a| a.name.as_deref() != Some("sampling_ratio"));
        assert!(adaptive.try_import().unwrap_err().to_string().contains("sampling_ratio"));
    }
}

/// A convolution of `[1, 1, 2, 2]` with a kernel of one element and an offset of half a column.
#[test]
fn taps_move_by_computed_offsets() {
    let x = tensor(&[1, 1, 2, 2], &[0.0, 1.0, 2.0, 3.0]);
    let offset = tensor(&[1, 2, 2, 2], &[0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]);
    let weight = float_tensor("w", &[1, 1, 1, 1], &[2.0]);
    let model = Model::new(19).input("x", &["1", "1", "2", "2"]).input("o", &["1", "2", "2", "2"]).weight(weight);
    let model = model.node("DeformConv", "x w o", "y", vec![]).output("y");
    close(&outputs(&model.import(), &[x, offset])[0], &[1.0, 1.0, 5.0, 3.0]);
}

#[test]
fn grids_may_be_computed() {
    let x = tensor(&[1, 1, 1, 3], &[1.0, 2.0, 4.0]);
    for (padding, expected) in [("zeros", [2.0, 3.0, 1.0, 0.0]), ("border", [2.0, 3.0, 1.0, 4.0])] {
        let attributes = vec![string("padding_mode", padding), int("align_corners", 1)];
        let model = Model::new(20).input("x", &["1", "1", "1", "3"]).input("g", &["1", "1", "4", "2"]);
        let model = model.node("GridSample", "x g", "y", attributes).output("y");
        let grid = tensor(&[1, 1, 4, 2], &[0.0, 0.0, 0.5, 0.0, -1.0, 0.0, 2.0, 0.0]);
        close(&outputs(&model.import(), &[x.clone(), grid])[0], &expected);
    }
}

#[test]
fn frames_are_windowed_and_transformed() {
    let model = Model::new(17)
        .input("x", &["1", "6", "1"])
        .weight(int_tensor("s", &[], &[2]))
        .weight(float_tensor("w", &[4], &[1.0, 0.0, 1.0, 0.0]))
        .node("STFT", "x s w", "y", vec![int("onesided", 1)])
        .output("y");
    let y = &outputs(&model.import(), &[tensor(&[1, 6, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])[0];
    // Frames 1 0 3 0 and 3 0 5 0.
    close(y, &[4.0, 0.0, -2.0, 0.0, 4.0, 0.0, 8.0, 0.0, -2.0, 0.0, 8.0, 0.0]);
}

#[test]
fn slices_are_kept_where_a_constant_says_so() {
    let model = Model::new(11).input("x", &["2", "3"]).weight(common::bool_tensor("c", &[3], &[true, false, true]));
    let model = model.node("Compress", "x c", "y", vec![int("axis", 1)]).node("Compress", "x c", "z", vec![]).output("y").output("z");
    let found = outputs(&model.import(), &[tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    assert_eq!(found, [vec![1.0, 3.0, 4.0, 6.0], vec![1.0, 3.0]]);
}

#[test]
fn sums_meet_at_computed_positions() {
    let model = Model::new(18).input("x", &["3"]).input_of("i", ElementType::Int64, &["4"]).input("u", &["4"]);
    let model = model.node("ScatterElements", "x i u", "y", vec![string("reduction", "add")]).output("y");
    let i = Tensor::i64(vec![4], vec![0, 2, 0, -1]).unwrap();
    let found = outputs(&model.import(), &[tensor(&[3], &[1.0, 1.0, 1.0]), i, tensor(&[4], &[2.0, 3.0, 4.0, 5.0])]);
    assert_eq!(found[0], [7.0, 1.0, 9.0]);
}

#[test]
fn updates_are_multiplied_or_compared_at_computed_positions() {
    let i = Tensor::i64(vec![4], vec![0, 2, 0, -1]).unwrap();
    for (reduction, expected) in [("mul", [24.0, 1.0, -45.0]), ("max", [4.0, 1.0, 5.0]), ("min", [2.0, 1.0, -3.0])] {
        let model = Model::new(18).input("x", &["3"]).input_of("i", ElementType::Int64, &["4"]).input("u", &["4"]);
        let model = model.node("ScatterElements", "x i u", "y", vec![string("reduction", reduction)]).output("y");
        let operands = [tensor(&[3], &[3.0, 1.0, 3.0]), i.clone(), tensor(&[4], &[2.0, -3.0, 4.0, 5.0])];
        assert_eq!(outputs(&model.import(), &operands)[0], expected, "{reduction}");

        let model = Model::new(18).input("x", &["3", "1"]).input_of("i", ElementType::Int64, &["4", "1"]).input("u", &["4", "1"]);
        let model = model.node("ScatterND", "x i u", "y", vec![string("reduction", reduction)]).output("y");
        let operands = operands.map(|t| Tensor { shape: vec![t.len(), 1], ..t });
        assert_eq!(outputs(&model.import(), &operands)[0], expected, "{reduction}");
    }
}

#[test]
fn convolutions_and_attention_carry_states() {
    let weight = float_tensor("w", &[1, 1, 2], &[10.0, 1.0]);
    let model = Model::new(27).input("x", &["1", "1", "3"]).input("p", &["1", "1", "1"]).weight(weight);
    let model = model.node("CausalConvWithState", "x w - p", "y s", vec![]).output("y").output("s");
    let found = outputs(&model.import(), &[tensor(&[1, 1, 3], &[1.0, 2.0, 3.0]), tensor(&[1, 1, 1], &[4.0])]);
    assert_eq!(found, [vec![41.0, 12.0, 23.0], vec![3.0]]);

    let heads = || vec![int("q_num_heads", 1), int("kv_num_heads", 1), float("scale", 1.0)];
    let sides = ["q", "k", "v"].into_iter().fold(Model::new(27), |m, n| m.input(n, &["1", "2", "1"]));
    let model = sides.input("g", &["1", "2", "1"]).input("b", &["1", "2", "1"]);
    let model = model.node("LinearAttention", "q k v - g b", "y s", [heads(), vec![string("update_rule", "gated_delta")]].concat());
    let two = |a: f32, b: f32| tensor(&[1, 2, 1], &[a, b]);
    let halves = two(0.0, 0.5f32.ln());
    let found = outputs(&model.output("y").output("s").import(), &[two(1.0, 2.0), two(1.0, 3.0), two(4.0, 5.0), halves, two(0.5, 1.0)]);
    // S = 0.5·4 = 2, then 1 + 3·(5 - 3·1) = 7.
    close(&found[0], &[2.0, 14.0]);
    close(&found[1], &[7.0]);
}

fn graph(name: &str, op: &str, input: &str) -> AttributeProto {
    let node = NodeProto {
        op_type: Some(op.to_owned()),
        input: vec![input.to_owned(), "c".to_owned()],
        output: vec!["out".to_owned()],
        ..NodeProto::default()
    };
    let inner = GraphProto {
        node: vec![node],
        initializer: vec![float_tensor("c", &[], &[0.5])],
        input: vec![info(input, ElementType::Float, &[])],
        output: vec![info("out", ElementType::Float, &[])],
        ..GraphProto::default()
    };
    AttributeProto { g: Some(inner), r#type: Some(AttributeType::Graph as i32), ..attr(name) }
}

#[test]
fn graphs_change_scores_and_probabilities() {
    let sides = ["q", "k", "v"].into_iter().fold(Model::new(26), |m, n| m.input(n, &["1", "1", "2", "1"]));
    let mut model = sides.node("FlexAttention", "q k v", "y", vec![graph("score_mod", "Add", "s"), graph("prob_mod", "Mul", "p")]);
    model.graph.node[0].domain = Some("ai.onnx.preview".to_owned());
    let zero = tensor(&[1, 1, 2, 1], &[0.0, 0.0]);
    let found = outputs(&model.output("y").import(), &[zero.clone(), zero, tensor(&[1, 1, 2, 1], &[2.0, 6.0])]);
    close(&found[0], &[2.0, 2.0]);
}

#[test]
fn sequences_are_lists_of_values() {
    let one = |name: &str, v: i64| int_tensor(name, &[], &[v]);
    let model = Model::new(17)
        .input("x", &["5"])
        .weight(one("two", 2))
        .weight(one("last", -1))
        .weight(one("zero", 0))
        .node("SplitToSequence", "x two", "s", vec![])
        .node("SequenceAt", "s last", "a", vec![])
        .node("SequenceErase", "s last", "t", vec![])
        .node("SequenceInsert", "t a zero", "u", vec![])
        .node("SequenceLength", "u", "n", vec![])
        .node("ConcatFromSequence", "u", "y", vec![int("axis", 0)])
        .output("y")
        .output("n");
    let found = outputs(&model.import(), &[tensor(&[5], &[1.0, 2.0, 3.0, 4.0, 5.0])]);
    assert_eq!(found, [vec![5.0, 1.0, 2.0, 3.0, 4.0], vec![3.0]]);
    let wrong = Model::new(17).input("x", &["5"]).node("SplitToSequence", "x", "s", vec![]).node("Neg", "s", "y", vec![]).output("y");
    assert!(wrong.try_import().unwrap_err().to_string().contains("sequence"));
}

#[test]
fn an_empty_cache_is_no_input() {
    let model = Model::new(17).input("past", &["1", "0"]).input("x", &["1", "2"]).node("Concat", "past x", "y", vec![int("axis", 1)]);
    // A size of 0 in a file means that it is open.
    let options = ImportOptions { dims: [("past.1".to_owned(), 0)].into() };
    let graph = import_bytes(model.output("y").encode(), &options).unwrap();
    assert_eq!(graph.inputs.len(), 1);
    assert_eq!(outputs(&graph, &[tensor(&[1, 2], &[1.0, 2.0])])[0], [1.0, 2.0]);
}

#[test]
fn exports_of_old_operator_sets_are_accepted() {
    // Converters write comparisons of floats with Equal, and products of bytes with MatMul, before the standard allowed them.
    let model = Model::new(10).input("x", &["3"]).weight(float_tensor("c", &[], &[2.0])).node("Equal", "x c", "y", vec![]).output("y");
    assert_eq!(outputs(&model.import(), &[tensor(&[3], &[1.0, 2.0, 3.0])])[0], [0.0, 1.0, 0.0]);
    let model = Model::new(8).input_of("x", ElementType::Int8, &["1", "2"]).weight(int_tensor("w", &[2, 1], &[3, -4]));
    let model = model.node("MatMul", "x w", "y", vec![]).output("y");
    assert_eq!(outputs(&model.import(), &[Tensor::i64(vec![1, 2], vec![5, 6]).unwrap()])[0], [-9.0]);
}

#[test]
fn slices_are_added_at_computed_tuples() {
    let model = Model::new(18).input("x", &["2", "3"]).input_of("i", ElementType::Int64, &["3", "1"]).input("u", &["3", "3"]);
    let graph = model.node("ScatterND", "x i u", "y", vec![string("reduction", "add")]).output("y").import();
    let (x, u) = (tensor(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), tensor(&[3, 3], &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 4.0]));
    let sums = |places: Vec<i64>| zktorch_float::run(&graph, &[x.clone(), Tensor::i64(vec![3, 1], places).unwrap(), u.clone()], |_, _| {});
    assert_eq!(sums(vec![1, 0, -1]).unwrap()[0].to_f32_vec(), [0.0, 3.0, 2.0, 4.0, 4.0, 9.0]);
    assert!(sums(vec![1, 2, 0]).unwrap_err().to_string().contains("index 2 leaves an axis of size 2"));
}

#[test]
fn a_dropout_that_drops_nothing_keeps_everything() {
    let x = tensor(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
    let model = |ratio, training| {
        let model = Model::new(13).input("x", &["2", "2"]).scalar("r", ratio).weight(bool_tensor("t", &[], &[training]));
        model.node("Dropout", "x r t", "y m", vec![]).output("y").output("m")
    };
    for (ratio, training) in [(0.5, false), (0.0, true)] {
        assert_eq!(outputs(&model(ratio, training).import(), std::slice::from_ref(&x)), [x.to_f32_vec(), vec![1.0; 4]]);
    }
    assert!(model(0.5, true).try_import().unwrap_err().to_string().contains("training mode"));
}

#[test]
fn a_batch_is_normalised_by_its_own_statistics() {
    let x = tensor(&[2, 2, 2], &[1.0, 3.0, 0.0, 0.0, 5.0, 7.0, 2.0, 2.0]);
    let vector = |name, v: [f32; 2]| float_tensor(name, &[2], &v);
    let model = Model::new(15).input("x", &["2", "2", "2"]).weight(vector("s", [1.0, 2.0])).weight(vector("b", [0.0, 1.0]));
    let model = model.weight(vector("m", [10.0, 0.0])).weight(vector("v", [1.0, 1.0]));
    let attributes = vec![int("training_mode", 1), float("momentum", 0.5), float("epsilon", 0.0)];
    let model = model.node("BatchNormalization", "x s b m v", "y rm rv", attributes).output("y").output("rm").output("rv");
    let found = outputs(&model.import(), &[x]);
    // Means 4 and 1, variances 5 and 1.
    let r = 5f32.sqrt();
    close(&found[0], &[-3.0 / r, -1.0 / r, -1.0, -1.0, 1.0 / r, 3.0 / r, 3.0, 3.0]);
    close(&found[1], &[7.0, 0.5]);
    close(&found[2], &[3.0, 1.0]);
}
