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
    initializers = [v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()]
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


def padding():
    """Masks of padding as exporters write them: tokens that are none are closed to all, beside a fixed causal mask."""
    given = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int64)
    x, v = randn(2, 4, 4), randn(2, 4, 3)
    inputs = {"x": x, "v": v, "mask": given}
    low = np.float32(np.finfo(np.float32).min)
    causal = np.where(np.tril(np.ones((1, 4, 4), bool)), np.float32(0), low).astype(np.float32)
    weigh = [node("Softmax", "scores", "p", axis=-1), node("MatMul", "p v", "y")]
    spread = node("Unsqueeze", "mask axis", "wide")
    weights = {"axis": np.array([1], np.int64), "low": low, "one": np.float32(1), "none": np.int64(0)}
    # (1 - mask)·low, as BERT and GPT-2 have it.
    factor = [spread, node("Cast", "wide", "f", to=TensorProto.FLOAT), node("Sub", "one f", "c"), node("Mul", "c low", "m")]
    case("padding_multiplied", [*factor, node("Add", "x m", "scores"), *weigh], inputs, ["y"], weights)
    both = [*factor, node("Add", "m causal", "all"), node("Add", "x all", "scores")]
    case("padding_and_causal", [*both, *weigh], inputs, ["y"], {**weights, "causal": np.maximum(causal, np.float32(-1e9))})
    # masked_fill of the inverted mask, and of the causal one.
    fill = [*factor[:3], node("Cast", "c", "b", to=TensorProto.BOOL), node("Where", "b low c", "m")]
    case("padding_filled", [*fill, node("Add", "x m", "scores"), *weigh], inputs, ["y"], weights)
    gone = [spread, node("Equal", "wide none", "gone"), node("Where", "gone low causal", "m")]
    case("padding_filled_causal", [*gone, node("Add", "x m", "scores"), *weigh], inputs, ["y"], {**weights, "causal": causal})
    # Of numbers that are closed where a sum is not zero, as later versions write it.
    summed = [spread, node("Cast", "wide", "f", to=TensorProto.FLOAT), node("Add", "causal f", "sum"), node("Equal", "sum zero", "gone")]
    case("padding_summed", [*summed, node("Where", "gone low causal", "m"), node("Add", "x m", "scores"), *weigh], inputs, ["y"],
         {**weights, "causal": causal, "zero": np.float32(0)})


def scatters():
    """Updates that meet what is there at positions that are computed, some counted from the end, several at one position."""
    places = {"shift": np.array([[0, 1, -3, 0, 4]], np.int64)}
    start = np.array([[0], [-1], [1]], np.int64)
    where = node("Add", "start shift", "index")
    for reduction in ("none", "add", "mul", "max", "min"):
        if reduction == "none":
            # Positions that do not meet: of those that do, any may be the last.
            weights = {"shift": np.array([[0, 1, -3, 2, 3]], np.int64)}
        else:
            weights = places
        for kind, make in (("float", randn), ("int", lambda *shape: RNG.integers(-9, 10, shape))):
            inputs = {"x": make(3, 7), "u": make(3, 5), "start": start}
            scatter = node("ScatterElements", "x index u", "y", axis=1, reduction=reduction)
            case(f"scatter_elements_{reduction}_{kind}", [where, scatter], inputs, ["y"], weights)
    tuples = node("Add", "start shift", "index")
    for reduction in ("add", "mul", "max", "min"):
        inputs = {"x": randn(3, 4, 2), "u": randn(5, 2), "start": np.array([[0, 1]], np.int64)}
        weights = {"shift": np.array([[0, 0], [2, 1], [-1, -2], [0, 0], [2, 1]], np.int64)}
        scatter = node("ScatterND", "x index u", "y", reduction=reduction)
        case(f"scatter_nd_{reduction}", [tuples, scatter], inputs, ["y"], weights)


def gathers():
    """Positions that are computed, from -n to n - 1."""
    start = np.array([[-2], [1]], np.int64)
    weights = {"shift": np.array([[-3, 0, 2]], np.int64)}
    where = node("Add", "start shift", "index")
    table, x = randn(5, 3), randn(5, 4)
    case("gather_embedding", [where, node("Gather", "table index", "y")], {"start": start}, ["y"], {**weights, "table": table})
    case("gather_computed", [where, node("Gather", "x index", "y")], {"start": start, "x": x}, ["y"], weights)
    across = {**weights, "table": randn(3, 5)}
    case("gather_columns", [where, node("Gather", "table index", "y", axis=1)], {"start": start}, ["y"], across)
    case("gather_elements", [where, node("GatherElements", "x index", "y")], {"start": start, "x": x}, ["y"], weights)
    pairs = {"shift": np.array([[0, -4], [-5, 3], [2, -1]], np.int64)}
    case("gather_nd", [where, node("GatherND", "x index", "y")], {"start": np.array([[0, 0]], np.int64), "x": x}, ["y"], pairs)


def quantised():
    """Integers of 16 and 4 bits between floats, per tensor and per axis."""
    x = randn(3, 8)
    for kind, low, high in ((TensorProto.INT16, -(2**15), 2**15), (TensorProto.UINT16, 0, 2**16), (TensorProto.INT4, -8, 8), (TensorProto.UINT4, 0, 16)):
        name = TensorProto.DataType.Name(kind).lower()
        middle = (low + high) // 2
        step = np.float32(6.0 / (high - low))
        zero = helper.make_tensor("zero", kind, [], [middle])
        through = [node("Relu", "x", "r"), node("QuantizeLinear", "r scale zero", "q"), node("DequantizeLinear", "q scale zero", "y")]
        case(f"quantised_{name}", through, {"x": x}, ["y"], {"scale": step, "zero": zero})
        steps = step * np.array([1, 2, 4], np.float32)
        zeros = helper.make_tensor("zero", kind, [3], [middle, middle + 1, middle - 1])
        through = [node(n.op_type, " ".join(n.input), " ".join(n.output), **({"axis": 0} if "Linear" in n.op_type else {})) for n in through]
        case(f"quantised_{name}_axis", through, {"x": x}, ["y"], {"scale": steps, "zero": zeros})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    closed_rows()
    padding()
    scatters()
    gathers()
    quantised()
    for name, (model, inputs, outputs) in CASES.items():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        results = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)
        write_case(os.path.join(sys.argv[1], name), model, inputs.items(), zip(outputs, results))
    print(f"{len(CASES)} cases in {sys.argv[1]}")


if __name__ == "__main__":
    main()
