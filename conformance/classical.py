#!/usr/bin/env python3
"""Writes models of one classical operator each with the results of ONNX Runtime, for `node_tests` to compare, prove and verify.

`pip install onnx onnxruntime && python conformance/classical.py OUT`, then
`cargo run --release -p zktorch --example node_tests -- OUT --prove`

The ONNX project has no node tests for most operators of `ai.onnx.ml`. Numbers of inputs, thresholds and set members lie on a grid of 1/16.
"""

import os
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from writing import write_case

ROWS = 6
rng = np.random.default_rng(5)


def grid(*shape, most=2.0):
    return (np.round(rng.uniform(-most, most, shape) * 16) / 16).astype(np.float32)


def tree_nodes(trees, features, depth, modes):
    """Complete trees in the form with one list per property; the leaves of each by (tree, node)."""
    lists = {k: [] for k in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaves = []
    inner = 2**depth - 1
    for t in range(trees):
        for i in range(2 ** (depth + 1) - 1):
            leaf = i >= inner
            lists["treeids"].append(t)
            lists["nodeids"].append(i)
            lists["featureids"].append(0 if leaf else int(rng.integers(features)))
            lists["values"].append(0.0 if leaf else float(grid(1)[0]))
            lists["modes"].append("LEAF" if leaf else modes[i % len(modes)])
            lists["truenodeids"].append(0 if leaf else 2 * i + 1)
            lists["falsenodeids"].append(0 if leaf else 2 * i + 2)
            if leaf:
                leaves.append((t, i))
    return {f"nodes_{k}": v for k, v in lists.items()}, leaves


def regressor(modes, aggregate="SUM", targets=1, base=None):
    nodes, leaves = tree_nodes(4, 3, 3, modes)
    both = [(t, n, k) for t, n in leaves for k in range(targets)]
    extra = {} if base is None else {"base_values": base}
    return grid(ROWS, 3), dict(
        nodes, target_treeids=[b[0] for b in both], target_nodeids=[b[1] for b in both], target_ids=[b[2] for b in both],
        target_weights=grid(len(both)).tolist(), n_targets=targets, aggregate_function=aggregate, **extra)


def classifier(classes, transform="NONE", only=None, positive=False):
    nodes, leaves = tree_nodes(3, 3, 3, ["BRANCH_LEQ"])
    ids = range(classes) if only is None else [only]
    both = [(t, n, k) for t, n in leaves for k in ids]
    weights = grid(len(both))
    if positive:
        weights = np.abs(weights) / 6
    return grid(ROWS, 3), dict(
        nodes, class_treeids=[b[0] for b in both], class_nodeids=[b[1] for b in both], class_ids=[b[2] for b in both],
        class_weights=weights.tolist(), classlabels_int64s=list(range(3, 3 + classes)), post_transform=transform)


def ensemble(mode, aggregate=1):
    """The form with leaves of their own: two trees of three branches."""
    branches = 6
    attributes = dict(
        n_targets=1, aggregate_function=aggregate, tree_roots=[0, 3],
        nodes_featureids=rng.integers(0, 3, branches).tolist(),
        nodes_truenodeids=[1, 0, 2, 4, 4, 6], nodes_trueleafs=[0, 1, 1, 0, 1, 1],
        nodes_falsenodeids=[2, 1, 3, 5, 5, 7], nodes_falseleafs=[0, 1, 1, 0, 1, 1],
        leaf_targetids=[0] * 8, leaf_weights=numpy_helper.from_array(grid(8)),
        nodes_modes=numpy_helper.from_array(np.full(branches, mode, np.uint8)),
        nodes_splits=numpy_helper.from_array(grid(branches)))
    x = grid(ROWS, 3)
    if mode == 6:
        x = np.round(x * 2)
        members = np.array([v for i in range(branches) for v in [*np.unique(x[:3, i % 3]), np.nan]], np.float32)
        attributes["membership_values"] = numpy_helper.from_array(members)
        attributes["nodes_featureids"] = [i % 3 for i in range(branches)]
    return x, attributes


def linear(classes, rows, transform="NONE"):
    return grid(ROWS, 4), dict(
        coefficients=grid(rows * 4).tolist(), intercepts=grid(rows).tolist(), classlabels_ints=list(range(10, 10 + classes)), post_transform=transform,
        multi_class=1 if rows > 1 else 0)


def svm_classifier(kernel):
    counts = [3, 2, 3]
    n = sum(counts)
    return grid(ROWS, 3), dict(
        classlabels_ints=[4, 5, 6], coefficients=grid(2 * n).tolist(), kernel_params=[0.3, 0.2, 2.0], kernel_type=kernel, rho=grid(3).tolist(),
        support_vectors=grid(n, 3).flatten().tolist(), vectors_per_class=counts)


def svm_regressor(kernel):
    return grid(ROWS, 3), dict(
        coefficients=grid(5).tolist(), kernel_params=[0.3, 0.2, 2.0], kernel_type=kernel, rho=[0.4], support_vectors=grid(5, 3).flatten().tolist(),
        n_supports=5)


CASES = {
    "tree_regressor_leq": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_LEQ"])),
    "tree_regressor_all_modes": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_LEQ", "BRANCH_EQ", "BRANCH_NEQ"])),
    "tree_regressor_targets": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_LT"], targets=2, base=[0.5, -1.0])),
    "tree_regressor_average": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_LEQ"], "AVERAGE")),
    "tree_regressor_min": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_LEQ"], "MIN")),
    "tree_regressor_max": ("TreeEnsembleRegressor", lambda: regressor(["BRANCH_GTE"], "MAX")),
    "tree_classifier": ("TreeEnsembleClassifier", lambda: classifier(3)),
    "tree_classifier_softmax": ("TreeEnsembleClassifier", lambda: classifier(3, "SOFTMAX")),
    **{f"tree_classifier_only_{o}": ("TreeEnsembleClassifier", lambda o=o: classifier(2, only=o)) for o in (0, 1)},
    **{f"tree_classifier_only_{o}_logistic": ("TreeEnsembleClassifier", lambda o=o: classifier(2, "LOGISTIC", only=o)) for o in (0, 1)},
    **{f"tree_classifier_only_{o}_positive": ("TreeEnsembleClassifier", lambda o=o: classifier(2, only=o, positive=True)) for o in (0, 1)},
    **{f"tree_ensemble_mode_{m}": ("TreeEnsemble", lambda m=m: ensemble(m)) for m in range(7)},
    "tree_ensemble_average": ("TreeEnsemble", lambda: ensemble(0, 0)),
    "tree_ensemble_min": ("TreeEnsemble", lambda: ensemble(0, 2)),
    "tree_ensemble_max": ("TreeEnsemble", lambda: ensemble(1, 3)),
    "linear_regressor": ("LinearRegressor", lambda: (grid(ROWS, 4), dict(coefficients=grid(8).tolist(), intercepts=grid(2).tolist(), targets=2))),
    "linear_classifier": ("LinearClassifier", lambda: linear(3, 3)),
    "linear_classifier_softmax": ("LinearClassifier", lambda: linear(3, 3, "SOFTMAX")),
    "linear_classifier_logistic": ("LinearClassifier", lambda: linear(3, 3, "LOGISTIC")),
    "linear_classifier_one_row": ("LinearClassifier", lambda: linear(2, 1)),
    "linear_classifier_one_row_logistic": ("LinearClassifier", lambda: linear(2, 1, "LOGISTIC")),
    **{f"svm_classifier_{k.lower()}": ("SVMClassifier", lambda k=k: svm_classifier(k)) for k in ("LINEAR", "POLY", "RBF", "SIGMOID")},
    **{f"svm_regressor_{k.lower()}": ("SVMRegressor", lambda k=k: svm_regressor(k)) for k in ("LINEAR", "POLY", "RBF", "SIGMOID")},
    "scaler": ("Scaler", lambda: (grid(ROWS, 3), dict(offset=grid(3).tolist(), scale=[0.5, 2.0, 0.3]))),
    **{f"normalizer_{n.lower()}": ("Normalizer", lambda n=n: (np.abs(grid(ROWS, 3)) + np.float32(0.25), dict(norm=n))) for n in ("MAX", "L1", "L2")},
    "imputer": ("Imputer", lambda: (np.where(rng.random((ROWS, 3)) < 0.4, np.float32(-1), grid(ROWS, 3)), dict(imputed_value_floats=[0.5, 1.0, 1.5], replaced_value_float=-1.0))),
    "imputer_integers": ("Imputer", lambda: (rng.integers(0, 3, (ROWS, 3)), dict(imputed_value_int64s=[7], replaced_value_int64=0))),
    "label_encoder": ("LabelEncoder", lambda: (rng.integers(0, 5, ROWS), dict(keys_int64s=[0, 1, 3], values_int64s=[10, 20, 30], default_int64=-1))),
    "one_hot_encoder": ("OneHotEncoder", lambda: (rng.integers(0, 5, (ROWS, 1)), dict(cats_int64s=[0, 1, 3], zeros=1))),
    "feature_vectorizer": ("FeatureVectorizer", lambda: ((grid(ROWS, 2), grid(ROWS, 3)), dict(inputdimensions=[2, 3]))),
}
RESULTS = {"TreeEnsembleClassifier": 2, "LinearClassifier": 2, "SVMClassifier": 2}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, (operator, make) in CASES.items():
        inputs, attributes = make()
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        infos = [helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for i, x in enumerate(inputs)]
        outputs = [f"y{i}" for i in range(RESULTS.get(operator, 1))]
        node = helper.make_node(operator, [i.name for i in infos], outputs, domain="ai.onnx.ml", **attributes)
        graph = helper.make_graph([node], name, infos, [helper.make_empty_tensor_value_info(o) for o in outputs])
        version = {"TreeEnsemble": 5}.get(operator, 3)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", version)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {i.name: x for i, x in zip(infos, inputs)})
        names = [[v.name for v in side] for side in (graph.input, graph.output)]
        write_case(os.path.join(sys.argv[1], name), model, zip(names[0], inputs), zip(names[1], results))
    print(f"{len(CASES)} models in {sys.argv[1]}")


if __name__ == "__main__":
    main()
