//! Import of small models: shapes, folding, versions of operators, errors.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, bool_tensor, close, float, float_tensor, info, int, int_tensor, ints, numbers, outputs, string, tensor};
use std::collections::BTreeMap;
use zktorch_float::{Op, Tensor, UnaryFn};
use zktorch_onnx::proto::{
    AttributeProto, AttributeType, ElementType, GraphProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use zktorch_onnx::{ImportError, ImportOptions, import, import_bytes, supported_operators};

#[test]
fn shape_computations_fold_away() {
    let graph = Model::new(13)
        .input("x", &["2", "3", "4"])
        .weight(int_tensor("zero", &[1], &[0]))
        .weight(int_tensor("rest", &[1], &[-1]))
        .node("Shape", "x", "s", vec![])
        .node("Gather", "s zero", "n", vec![])
        .node("Concat", "n rest", "target", vec![int("axis", 0)])
        .node("Reshape", "x target", "y", vec![])
        .output("y")
        .import();
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(graph.nodes[0].op, Op::Reshape { shape: vec![2, 12] });
    assert_eq!(graph.value(graph.outputs[0]).name, "y");
}

#[test]
fn an_operator_of_a_later_set_has_its_first_meaning() {
    for approximate in ["none", "tanh"] {
        let gelu = |opset| {
            let model = Model::new(opset).input("x", &["2", "3"]);
            model.node("Gelu", "x", "y", vec![string("approximate", approximate)]).output("y").import()
        };
        let x = Tensor::f32(vec![2, 3], numbers(6)).unwrap();
        close(&outputs(&gelu(18), std::slice::from_ref(&x))[0], &outputs(&gelu(20), &[x])[0]);
    }
}

#[test]
fn weights_are_marked_and_structure_is_not() {
    let graph = Model::new(13)
        .input("x", &["2", "3"])
        .weight(float_tensor("w", &[2, 3], &numbers(6)))
        .node("Transpose", "w", "wt", vec![])
        .node("Constant", "", "c", vec![float("value_float", 2.0)])
        .node("MatMul", "x wt", "y", vec![])
        .node("Mul", "y c", "z", vec![])
        .output("z")
        .import();
    assert_eq!(graph.nodes.len(), 2);
    let constants: Vec<_> = graph.values.iter().filter(|v| v.constant.is_some()).collect();
    assert_eq!(constants.iter().map(|v| v.from_weights).collect::<Vec<_>>(), [true, false]);
    assert_eq!(constants[0].shape, [3, 2]);
}

#[test]
fn symbolic_sizes_must_be_bound() {
    let model = Model::new(13).input("x", &["batch", "3"]).node("Relu", "x", "y", vec![]).output("y");
    let error = model.try_import().unwrap_err();
    assert!(matches!(&error, ImportError::MissingDims(open) if open[0].input == "x" && open[0].axis == 0 && open[0].dim == "batch"));
    assert!(error.to_string().ends_with("give --dim batch=N"));
    let dims = BTreeMap::from([("batch".to_owned(), 5)]);
    let graph = import_bytes(model.encode(), &ImportOptions { dims }).unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [5, 3]);
}

#[test]
fn pooling_by_norms() {
    let graph = Model::new(18)
        .input("x", &["1", "1", "2", "2"])
        .node("LpPool", "x", "a", vec![ints("kernel_shape", &[1, 2]), ints("pads", &[0, 1, 0, 0])])
        .node("LpPool", "x", "b", vec![ints("kernel_shape", &[2, 2]), int("p", 1)])
        .node("GlobalLpPool", "x", "c", vec![])
        .output("a")
        .output("b")
        .output("c")
        .import();
    let x = Tensor::f32(vec![1, 1, 2, 2], vec![3.0, -4.0, 5.0, 12.0]).unwrap();
    let out = outputs(&graph, &[x]);
    close(&out[0], &[3.0, 5.0, 5.0, 13.0]);
    close(&out[1], &[24.0]);
    close(&out[2], &[194f32.sqrt()]);
}

#[test]
fn all_missing_and_unused_sizes_are_named() {
    let model = Model::new(13).input("x", &["batch", "3"]).input("y", &["batch", ""]).node("Add", "x y", "z", vec![]).output("z");
    let text = model.try_import().unwrap_err().to_string();
    assert!(text.contains("give --dim batch=N --dim y.1=N (INPUT.AXIS"), "{text}");
    let import = |dims: &[(&str, usize)]| {
        let dims = dims.iter().map(|&(d, n)| (d.to_owned(), n)).collect();
        import_bytes(model.encode(), &ImportOptions { dims })
    };
    assert!(import(&[("batch", 2), ("y.1", 3)]).is_ok());
    assert!(import(&[("x.0", 2), ("y.0", 2), ("y.1", 3), ("x.1", 3)]).is_ok());
    let text = import(&[("batch", 2), ("y.1", 3), ("seq", 4)]).unwrap_err().to_string();
    assert!(text.contains("no dimension 'seq'") && text.ends_with("batch, y.1"), "{text}");
    for conflict in [[("batch", 2), ("y.1", 3), ("x.1", 4)], [("batch", 2), ("y.1", 3), ("x.0", 4)]] {
        assert!(matches!(import(&conflict), Err(ImportError::DimConflict { given: 4, .. })));
    }
}

#[test]
fn everything_unknown_is_listed_at_once() {
    let mut model = Model::new(13)
        .input("x", &["3"])
        .node("FancyOp", "x", "a", vec![])
        .node("Relu", "a", "b", vec![int("speed", 3)])
        .node("Gelu", "b", "c", vec![])
        .node("Pad", "c", "d", vec![string("mode", "spiral")])
        .node("Clip", "d", "e", vec![float("min", 0.0)])
        .output("e");
    model.graph.node[0].domain = Some("com.example".to_owned());
    let error = model.try_import().unwrap_err();
    let ImportError::Unsupported(items) = &error else { panic!("{error}") };
    let reasons: Vec<_> = items.iter().map(|i| (i.node.as_str(), i.attribute.as_deref())).collect();
    assert_eq!(reasons, [("n0", None), ("n1", Some("speed")), ("n3", Some("mode")), ("n4", Some("min"))]);
    assert!(error.to_string().contains("com.example:FancyOp"));
}

#[test]
fn operator_sets_outside_the_range_are_refused() {
    for opset in [0, 6, 29] {
        let model = Model::new(opset).input("x", &["3"]).node("Relu", "x", "y", vec![]).output("y");
        assert!(matches!(model.try_import(), Err(ImportError::Opset { .. })), "{opset}");
    }
}

#[test]
fn old_and_new_forms_agree() {
    // The same computation with attributes (opset 9) and with operands (opset 18).
    let old = Model::new(9)
        .input("x", &["2", "3", "4"])
        .node("Slice", "x", "a", vec![ints("starts", &[1]), ints("ends", &[-1]), ints("axes", &[2])])
        .node("Unsqueeze", "a", "b", vec![ints("axes", &[0])])
        .node("Pad", "b", "c", vec![ints("pads", &[0, 0, 0, 1, 0, 0, 0, 0]), float("value", 3.0)])
        .node("Clip", "c", "d", vec![float("min", -1.0), float("max", 1.0)])
        .node("ReduceMean", "d", "e", vec![ints("axes", &[3]), int("keepdims", 0)])
        .node("Squeeze", "e", "f", vec![ints("axes", &[0])])
        .output("f")
        .import();
    let new = Model::new(18)
        .input("x", &["2", "3", "4"])
        .weight(int_tensor("one", &[1], &[1]))
        .weight(int_tensor("end", &[1], &[-1]))
        .weight(int_tensor("two", &[1], &[2]))
        .weight(int_tensor("zero", &[1], &[0]))
        .weight(int_tensor("last", &[1], &[3]))
        .weight(int_tensor("pads", &[8], &[0, 0, 0, 1, 0, 0, 0, 0]))
        .scalar("fill", 3.0)
        .scalar("low", -1.0)
        .scalar("high", 1.0)
        .node("Slice", "x one end two", "a", vec![])
        .node("Unsqueeze", "a zero", "b", vec![])
        .node("Pad", "b pads fill", "c", vec![])
        .node("Clip", "c low high", "d", vec![])
        .node("ReduceMean", "d last", "e", vec![int("keepdims", 0)])
        .node("Squeeze", "e zero", "f", vec![])
        .output("f")
        .import();
    let ops = |g: &zktorch_float::Graph| g.nodes.iter().map(|n| n.op.clone()).collect::<Vec<_>>();
    assert_eq!(ops(&old), ops(&new));
    let x = tensor(&[2, 3, 4]);
    close(&outputs(&old, std::slice::from_ref(&x))[0], &outputs(&new, &[x])[0]);
}

#[test]
fn softmax_flattens_before_version_13() {
    let model = |opset| Model::new(opset).input("x", &["2", "2", "3"]).node("Softmax", "x", "y", vec![int("axis", 1)]).output("y").import();
    let x = tensor(&[2, 2, 3]);
    let old = outputs(&model(11), std::slice::from_ref(&x)).remove(0);
    let new = outputs(&model(13), &[x]).remove(0);
    assert!((old[..6].iter().sum::<f32>() - 1.0).abs() < 1e-5);
    assert!((new[0] + new[3] - 1.0).abs() < 1e-5);
}

#[test]
fn automatic_padding_becomes_explicit() {
    let graph = Model::new(13)
        .input("x", &["1", "1", "5", "6"])
        .weight(float_tensor("w", &[1, 1, 2, 3], &numbers(6)))
        .node("Conv", "x w", "y", vec![string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])])
        .output("y")
        .import();
    let Op::Conv { pads, .. } = &graph.nodes[0].op else { panic!() };
    assert_eq!(pads, &[(0, 1), (0, 1)]);
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 1, 3, 3]);
}

#[test]
fn attention_shares_heads_and_masks() {
    let mask: Vec<bool> = (0..9).map(|p| p % 3 <= p / 3).collect();
    let attention = |attributes| {
        Model::new(23)
            .input("q", &["1", "4", "3", "2"])
            .input("k", &["1", "2", "3", "2"])
            .input("v", &["1", "2", "3", "2"])
            .weight(bool_tensor("mask", &[3, 3], &mask))
            .node("Attention", if attributes { "q k v" } else { "q k v mask" }, "y", {
                if attributes { vec![int("is_causal", 1)] } else { vec![] }
            })
            .output("y")
            .import()
    };
    let inputs = [tensor(&[1, 4, 3, 2]), tensor(&[1, 2, 3, 2]), tensor(&[1, 2, 3, 2])];
    let (causal, masked) = (outputs(&attention(true), &inputs), outputs(&attention(false), &inputs));
    close(&causal[0], &masked[0]);
    // The first query sees only the first key, so it returns the first value of its head.
    let v = inputs[2].as_f32().unwrap();
    close(&causal[0][..2], &v[..2]);
    close(&causal[0][12..14], &v[6..8]);
    assert!(attention(true).nodes.iter().any(|n| matches!(n.op, Op::MaskedSoftmax { axis: 3, .. })));
}

#[test]
fn constant_conditions_are_inlined_and_others_selected() {
    let branch = |op: &str| AttributeProto {
        name: Some(if op == "Relu" { "then_branch" } else { "else_branch" }.to_owned()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(GraphProto {
            node: vec![NodeProto {
                op_type: Some(op.to_owned()),
                input: vec!["x".to_owned()],
                output: vec![format!("in_{op}")],
                ..NodeProto::default()
            }],
            output: vec![ValueInfoProto { name: Some(format!("in_{op}")), r#type: None }],
            ..GraphProto::default()
        }),
        ..AttributeProto::default()
    };
    let fixed = Model::new(13)
        .input("x", &["3"])
        .weight(bool_tensor("c", &[], &[true]))
        .node("If", "c", "y", vec![branch("Relu"), branch("Neg")])
        .output("y")
        .import();
    assert_eq!(fixed.nodes.len(), 1);
    assert_eq!(fixed.nodes[0].op, Op::Unary(UnaryFn::Relu));
    let open = Model::new(13)
        .input("x", &["3"])
        .input_of("c", ElementType::Bool, &["1"])
        .node("If", "c", "y", vec![branch("Relu"), branch("Neg")])
        .output("y")
        .import();
    let x = Tensor::f32(vec![3], vec![1.0, -2.0, 3.0]).unwrap();
    for (c, expected) in [(true, [1.0, 0.0, 3.0]), (false, [-1.0, 2.0, -3.0])] {
        let c = Tensor::bool(vec![1], vec![c]).unwrap();
        close(&outputs(&open, &[x.clone(), c])[0], &expected);
    }
}

#[test]
fn outputs_keep_their_names_even_as_aliases() {
    let graph = Model::new(13)
        .input("x", &["3"])
        .node("Relu", "x", "a", vec![])
        .node("Identity", "a", "b", vec![])
        .node("Identity", "x", "c", vec![])
        .output("a")
        .output("b")
        .output("c")
        .import();
    let names: Vec<_> = graph.outputs.iter().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(graph.value(graph.inputs[0]).name, "x");
}

#[test]
fn malformed_graphs_have_clear_errors() {
    let relu = |i: &str, o: &str| Model::new(13).input("x", &["3"]).node("Relu", i, o, vec![]).output("y");
    let error = |m: Model| m.try_import().unwrap_err();
    assert!(matches!(error(relu("ghost", "y")), ImportError::Undefined { value, .. } if value == "ghost"));
    assert!(matches!(error(relu("x", "z")), ImportError::Undefined { .. }));
    assert!(matches!(error(relu("x", "x")), ImportError::Duplicate(n) if n == "x"));
    assert!(matches!(error(relu("x", "y").node("Relu", "x", "y", vec![])), ImportError::Duplicate(_)));
    let cycle = Model::new(13).input("x", &["3"]).node("Add", "x b", "a", vec![]).node("Relu", "a", "b", vec![]).output("b");
    assert!(matches!(error(cycle), ImportError::Cycle(_)));
    assert!(matches!(error(Model::new(13).output("y")), ImportError::EmptyGraph("nodes")));
    let shapes = relu("x", "y").input("w", &["4"]).node("Add", "x w", "z", vec![]);
    assert!(error(shapes).to_string().contains("'n1' (Add)"));
    let data_dependent =
        Model::new(13).input("x", &["3"]).input_of("shape", ElementType::Int64, &["1"]).node("Reshape", "x shape", "y", vec![]).output("y");
    assert!(error(data_dependent).to_string().contains("depends on the model's input"));
    let none = ImportOptions::default();
    assert!(matches!(import_bytes(&b"PK\x03\x04 something else"[..], &none), Err(ImportError::NotOnnx(_))));
    assert!(matches!(import_bytes(&b""[..], &none), Err(ImportError::NotOnnx(_))));
    assert!(matches!(import("/nonexistent/model.onnx", &none), Err(ImportError::Io { .. })));
}

#[test]
fn nodes_out_of_order_are_sorted() {
    let graph = Model::new(13).input("x", &["3"]).node("Neg", "a", "y", vec![]).node("Relu", "x", "a", vec![]).output("y").import();
    close(&outputs(&graph, &[Tensor::f32(vec![3], vec![1.0, -1.0, 2.0]).unwrap()])[0], &[-1.0, 0.0, -2.0]);
}

#[test]
fn tensors_outside_of_the_file_are_range_checked() {
    let folder = std::env::temp_dir().join(format!("zktorch-onnx-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let bytes: Vec<u8> = [0f32, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join("weights.bin"), bytes).unwrap();
    let path = folder.join("model.onnx");
    let try_with = |location: &str, offset: &str, length: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        let weight = TensorProto {
            external_data: vec![entry("location", location), entry("offset", offset), entry("length", length)],
            data_location: Some(1),
            raw_data: None,
            ..float_tensor("w", &[3], &[])
        };
        let model = Model::new(13).input("x", &["3"]).weight(weight).node("Add", "x w", "y", vec![]).output("y");
        std::fs::write(&path, model.encode()).unwrap();
        import(&path, &ImportOptions::default())
    };
    let graph = try_with("weights.bin", "4", "12").unwrap();
    close(&outputs(&graph, &[Tensor::f32(vec![3], vec![0.0; 3]).unwrap()])[0], &[1.0, 2.0, 3.0]);
    for (location, offset, length) in [
        ("../weights.bin", "4", "12"),
        ("/etc/passwd", "0", "12"),
        ("weights.bin", "8", "12"),
        ("weights.bin", "400", "12"),
        ("weights.bin", "4", "8"),
        ("weights.bin", "-4", "12"),
        ("missing.bin", "0", "12"),
    ] {
        let result = try_with(location, offset, length);
        assert!(matches!(result, Err(ImportError::Tensor { .. })), "{location} {offset} {length}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn initializers_listed_as_inputs_are_constants() {
    let mut model =
        Model::new(8).input("x", &["3"]).weight(float_tensor("w", &[3], &numbers(3))).node("Mul", "x w", "y", vec![]).output("y");
    model.graph.input.push(info("w", ElementType::Float, &["3"]));
    assert_eq!(model.import().inputs.len(), 1);
}

#[test]
fn the_operator_table_is_public() {
    assert!(supported_operators().any(|o| o.name == "Attention" && o.since == 23));
}
