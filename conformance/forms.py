#!/usr/bin/env python3
"""Writes forms of standard operators that the ONNX project has no node tests for, with the results of ONNX Runtime.

`pip install onnx onnxruntime && python conformance/forms.py OUT`, then
`cargo run --release -p zktorch --example node_tests -- OUT --prove`
"""

import os
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from writing import write_case

RNG = np.random.default_rng(1)
CASES = {}


def randn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def case(name, nodes, inputs, outputs, weights=None, opset=21):
    """A model of `nodes` with inputs and weights given as arrays by name."""
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in inputs.items()]
    results = [helper.make_empty_tensor_value_info(o) for o in outputs]
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, name, infos, results, initializers)
    CASES[name] = (helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), inputs, outputs)


def node(op, operands, outputs, **attributes):
    return helper.make_node(op, operands.split(), outputs.split(), **attributes)


def closed_rows():
    """Scores under a mask that is computed from lengths and closes whole rows."""
    lengths = np.array([[3], [-1], [2], [9]], np.float32)
    places = np.arange(4, dtype=np.float32)[None]
    # Multiples of 2^-8, which sums with -10000 keep.
    x, v = np.round(randn(2, 4, 4) * 512) / 256, randn(2, 4, 3)
    keep = node("Less", "places lengths", "keep")
    weigh = [node("Softmax", "scores", "p", axis=-1), node("MatMul", "p v", "y")]
    for name, low in (("1e4", -1e4), ("1e9", -1e9), ("lowest", np.finfo(np.float32).min)):
        weights = {"places": places, "low": np.float32(low)}
        inputs = {"x": x, "v": v, "lengths": lengths}
        added = [node("Where", "keep zero low", "m"), node("Add", "x m", "scores")]
        case(f"closed_rows_added_{name}", [keep, *added, *weigh], inputs, ["p", "y"], {"zero": np.float32(0), **weights})
        case(f"closed_rows_chosen_{name}", [keep, node("Where", "keep x low", "scores"), *weigh], inputs, ["y"], weights)
    guard = [node("Softmax", "scores", "q", axis=-1), node("IsNaN", "q", "gone"), node("Where", "gone zero q", "p"), weigh[1]]
    weights = {"places": places, "low": np.float32(-np.inf), "zero": np.float32(0)}
    added = [node("Where", "keep zero low", "m"), node("Add", "x m", "scores")]
    case("closed_rows_guarded", [keep, *added, *guard], {"x": x, "v": v, "lengths": lengths}, ["y"], weights)
    inputs = {"q": randn(1, 2, 4, 3), "k": randn(1, 2, 4, 3), "v": randn(1, 2, 4, 3), "lengths": lengths}
    for causal in (0, 1):
        attention = node("Attention", "q k v keep", "y", is_causal=causal)
        case(f"closed_rows_attention_{causal}", [keep, attention], inputs, ["y"], {"places": places}, 23)
    fixed = {"keep": np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]], bool)}
    inputs = {name: inputs[name] for name in "qkv"}
    case("closed_rows_attention_constant", [node("Attention", "q k v keep", "y")], inputs, ["y"], fixed, 23)
    fixed = {"m": np.where(fixed["keep"], 0, np.finfo(np.float32).min).astype(np.float32)}
    case("closed_rows_added_constant", [node("Add", "x m", "scores"), *weigh], {"x": x, "v": v}, ["y"], fixed)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    closed_rows()
    for name, (model, inputs, outputs) in CASES.items():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        results = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)
        write_case(os.path.join(sys.argv[1], name), model, inputs.items(), zip(outputs, results))
    print(f"{len(CASES)} cases in {sys.argv[1]}")


if __name__ == "__main__":
    main()
