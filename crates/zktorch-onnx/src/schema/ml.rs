//! Operators of `ai.onnx.ml`.

use super::{Attribute, MANY, ML, Operator, float, floats, int, ints, op, string, strings};
use crate::attributes::Kind;

const KERNEL_TYPE: Attribute = string("kernel_type").one_of(&["LINEAR", "POLY", "RBF", "SIGMOID"]);

/// Functions of the scores.
const TRANSFORM: Attribute = string("post_transform").one_of(&["NONE", "SOFTMAX", "LOGISTIC"]);

const fn ml(name: &'static str, inputs: usize, outputs: usize, attributes: &'static [Attribute]) -> Operator {
    let mut operator = op(name, 1, (inputs, inputs), outputs, attributes);
    operator.domain = ML;
    operator
}

pub(super) const OPERATORS: &[Operator] = &[
    ml("ArrayFeatureExtractor", 2, 1, &[]),
    ml("Binarizer", 1, 1, &[float("threshold")]),
    Operator { domain: ML, ..op("FeatureVectorizer", 1, (1, MANY), 1, &[ints("inputdimensions")]) },
    ml(
        "Imputer",
        1,
        1,
        &[floats("imputed_value_floats"), ints("imputed_value_int64s"), float("replaced_value_float"), int("replaced_value_int64")],
    ),
    ml(
        "LabelEncoder",
        1,
        1,
        &[float("default_float"), int("default_int64"), ints("keys_int64s"), ints("values_int64s"), floats("values_floats")],
    ),
    ml("LinearClassifier", 1, 2, &[ints("classlabels_ints"), floats("coefficients"), floats("intercepts"), int("multi_class"), TRANSFORM]),
    ml(
        "LinearRegressor",
        1,
        1,
        &[floats("coefficients"), floats("intercepts"), string("post_transform").one_of(&["NONE"]), int("targets")],
    ),
    ml("Normalizer", 1, 1, &[string("norm").one_of(&["MAX", "L1", "L2"])]),
    ml("OneHotEncoder", 1, 1, &[ints("cats_int64s"), int("zeros").only(&[1])]),
    ml(
        "SVMClassifier",
        1,
        2,
        &[
            ints("classlabels_ints"),
            floats("coefficients"),
            floats("kernel_params"),
            KERNEL_TYPE,
            string("post_transform").one_of(&["NONE"]),
            floats("rho"),
            floats("support_vectors"),
            ints("vectors_per_class"),
        ],
    ),
    ml(
        "SVMRegressor",
        1,
        1,
        &[
            floats("coefficients"),
            floats("kernel_params"),
            KERNEL_TYPE,
            int("n_supports"),
            int("one_class").only(&[0]),
            string("post_transform").one_of(&["NONE"]),
            floats("rho"),
            floats("support_vectors"),
        ],
    ),
    ml("Scaler", 1, 1, &[floats("offset"), floats("scale")]),
    ml(
        "TreeEnsemble",
        1,
        1,
        &[
            int("aggregate_function").only(&[0, 1, 2, 3]),
            ints("leaf_targetids"),
            Attribute::new("leaf_weights", Kind::Tensor),
            Attribute::new("membership_values", Kind::Tensor),
            int("n_targets"),
            ints("nodes_falseleafs"),
            Attribute::new("nodes_hitrates", Kind::Tensor),
            ints("nodes_falsenodeids"),
            ints("nodes_featureids"),
            ints("nodes_missing_value_tracks_true"),
            Attribute::new("nodes_modes", Kind::Tensor),
            Attribute::new("nodes_splits", Kind::Tensor),
            ints("nodes_trueleafs"),
            ints("nodes_truenodeids"),
            int("post_transform").only(&[0]),
            ints("tree_roots"),
        ],
    ),
    ml(
        "TreeEnsembleClassifier",
        1,
        2,
        &tree([
            floats("base_values"),
            ints("class_ids"),
            ints("class_nodeids"),
            ints("class_treeids"),
            floats("class_weights"),
            ints("classlabels_int64s"),
            TRANSFORM,
        ]),
    ),
    ml(
        "TreeEnsembleRegressor",
        1,
        1,
        &tree([
            floats("base_values"),
            ints("target_ids"),
            ints("target_nodeids"),
            ints("target_treeids"),
            floats("target_weights"),
            int("n_targets"),
            string("post_transform").one_of(&["NONE"]),
        ]),
    ),
];

/// Attributes of the nodes of a tree ensemble and those that say what its leaves mean. Features are finite, so that it does not matter
/// where missing ones go.
const fn tree(rest: [Attribute; 7]) -> [Attribute; 17] {
    let [a, b, c, d, e, f, g] = rest;
    [
        string("aggregate_function").one_of(&["SUM", "AVERAGE", "MIN", "MAX"]),
        ints("nodes_falsenodeids"),
        ints("nodes_featureids"),
        floats("nodes_hitrates"),
        ints("nodes_missing_value_tracks_true"),
        strings("nodes_modes").one_of(&["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"]),
        ints("nodes_nodeids"),
        ints("nodes_treeids"),
        ints("nodes_truenodeids"),
        floats("nodes_values"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
    ]
}
