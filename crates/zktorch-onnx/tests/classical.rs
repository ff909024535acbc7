//! Trees and support vector machines.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, attr, close, int, ints, outputs};
use zktorch_float::Tensor;
use zktorch_onnx::proto::{AttributeProto, AttributeType};

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|s| s.as_bytes().to_vec().into()).collect();
    AttributeProto { strings, r#type: Some(AttributeType::Strings as i32), ..attr(name) }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), r#type: Some(AttributeType::Floats as i32), ..attr(name) }
}

fn ml(mut model: Model) -> Model {
    model.graph.node.last_mut().unwrap().domain = Some("ai.onnx.ml".to_owned());
    model
}

/// Two trees: a branch on feature 1 and below it one on feature 0; a branch on feature 0.
fn nodes() -> Vec<AttributeProto> {
    vec![
        ints("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 1]),
        ints("nodes_nodeids", &[0, 1, 2, 3, 4, 0, 1, 2]),
        ints("nodes_featureids", &[1, 0, 0, 0, 0, 0, 0, 0]),
        floats("nodes_values", &[0.5, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0]),
        strings("nodes_modes", &["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"]),
        ints("nodes_truenodeids", &[1, 3, 0, 0, 0, 1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 4, 0, 0, 0, 2, 0, 0]),
    ]
}

fn rows() -> Tensor {
    Tensor::f32(vec![4, 2], vec![-1.0, 0.5, -0.5, 0.0, 0.0, 1.0, 3.0, 1.0]).unwrap()
}

#[test]
fn trees_of_a_regressor_are_added_up() {
    let mut attributes = nodes();
    attributes.extend([
        ints("target_treeids", &[0, 0, 0, 1, 1]),
        ints("target_nodeids", &[2, 3, 4, 1, 2]),
        ints("target_ids", &[0, 0, 0, 0, 0]),
        floats("target_weights", &[1.0, 10.0, 100.0, 0.25, 0.5]),
        floats("base_values", &[1000.0]),
        int("n_targets", 1),
    ]);
    let model = ml(Model::new(18).input("x", &["4", "2"]).node("TreeEnsembleRegressor", "x", "y", attributes));
    let graph = model.output("y").import();
    assert_eq!(outputs(&graph, &[rows()])[0], [1010.25, 1100.25, 1001.25, 1001.5]);
}

#[test]
fn trees_of_a_binary_classifier_score_the_second_class() {
    let classifier = |weights: &[f32]| {
        let mut attributes = nodes();
        attributes.extend([
            ints("class_treeids", &[0, 0, 0, 1, 1]),
            ints("class_nodeids", &[2, 3, 4, 1, 2]),
            ints("class_ids", &[0, 0, 0, 0, 0]),
            floats("class_weights", weights),
            ints("classlabels_int64s", &[7, 9]),
        ]);
        let model = ml(Model::new(18).input("x", &["4", "2"]).node("TreeEnsembleClassifier", "x", "l p", attributes));
        let graph = model.output("l").output("p").import();
        outputs(&graph, &[rows()])
    };
    let out = classifier(&[0.3, 0.1, 0.6, 0.1, 0.4]);
    assert_eq!(out[0], [7.0, 9.0, 7.0, 9.0]);
    close(&out[1], &[0.8, 0.2, 0.3, 0.7, 0.6, 0.4, 0.3, 0.7]);
    let out = classifier(&[-0.3, 0.1, 0.6, -0.2, 0.4]);
    assert_eq!(out[0], [7.0, 9.0, 7.0, 9.0]);
    close(&out[1], &[0.1, -0.1, -0.4, 0.4, 0.5, -0.5, -0.1, 0.1]);
}

#[test]
fn damaged_trees_are_refused() {
    for (at, attribute) in [
        (5, ints("nodes_truenodeids", &[1, 0, 0, 0, 0, 1, 0, 0])),
        (5, ints("nodes_truenodeids", &[9, 3, 0, 0, 0, 1, 0, 0])),
        (2, ints("nodes_featureids", &[1, -1, 0, 0, 0, 0, 0, 0])),
        (2, ints("nodes_featureids", &[5, 0, 0, 0, 0, 0, 0, 0])),
        (0, ints("nodes_treeids", &[0])),
    ] {
        let mut attributes = nodes();
        attributes[at] = attribute;
        attributes.extend([
            ints("target_treeids", &[0]),
            ints("target_nodeids", &[2]),
            ints("target_ids", &[0]),
            floats("target_weights", &[1.0]),
        ]);
        let model = ml(Model::new(18).input("x", &["4", "2"]).node("TreeEnsembleRegressor", "x", "y", attributes));
        assert!(model.output("y").try_import().is_err());
    }
}

#[test]
fn support_vector_regression_by_distance() {
    let attributes = vec![
        AttributeProto { s: Some(b"RBF".to_vec().into()), r#type: Some(AttributeType::String as i32), ..attr("kernel_type") },
        floats("kernel_params", &[0.5, 0.0, 3.0]),
        floats("support_vectors", &[0.0, 1.0, 2.0, -1.0]),
        floats("coefficients", &[1.5, -2.0]),
        floats("rho", &[0.25]),
        int("n_supports", 2),
    ];
    let model = ml(Model::new(18).input("x", &["1", "2"]).node("SVMRegressor", "x", "y", attributes));
    let graph = model.output("y").import();
    let out = outputs(&graph, &[Tensor::f32(vec![1, 2], vec![1.0, 0.0]).unwrap()]);
    // Both distances squared are 2.
    close(&out[0], &[-0.5 * (-1.0f32).exp() + 0.25]);
}
