#!/usr/bin/env python3
"""Writes quantised graphs with the results of ONNX Runtime, for `node_tests` to compare integer by integer.

`pip install onnx onnxruntime && python conformance/int8.py OUT`, then
`cargo run --release -p zktorch --example node_tests -- OUT`

Each graph takes bytes and gives bytes: operators of the QLinear and Integer kind, and float operators between DequantizeLinear and
QuantizeLinear, which ONNX Runtime fuses. Weights, scales and zero points are random, with scales that are no powers of two.
"""

import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from writing import write_case

SEEDS = 8


def qparams(rng, signed):
    kind = np.int8 if signed else np.uint8
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return np.float32(rng.uniform(0.004, 0.05)), kind(rng.integers(low // 4, high // 4)), kind


class Net:
    """A graph under construction."""

    def __init__(self, rng, signed):
        self.rng, self.signed, self.nodes, self.constants = rng, signed, [], []
        self.kind = np.int8 if signed else np.uint8
        self.element = TensorProto.INT8 if signed else TensorProto.UINT8

    def const(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def bytes(self, shape):
        info = np.iinfo(self.kind)
        return self.rng.integers(info.min, info.max + 1, shape).astype(self.kind)

    def scale(self, name):
        scale, zero, _ = qparams(self.rng, self.signed)
        return self.const(name + "_scale", scale), self.const(name + "_zero", zero)

    def dequantised(self, x):
        scale, zero = self.scale(x)
        return self.node("DequantizeLinear", [x, scale, zero], x + "_real")

    def quantised(self, y, scale=None):
        own, zero = self.scale(y)
        if scale is not None:
            self.constants = [c for c in self.constants if c.name != own]
            self.const(own, np.float32(scale))
        return self.node("QuantizeLinear", [y, own, zero], "out")

    def weight(self, name, shape):
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = self.const(name + "_scale", np.float32(self.rng.uniform(0.003, 0.02)))
        zero = self.const(name + "_zero", np.int8(0))
        return self.const(name, values), scale, zero


def qlinear_conv(net):
    x, zero = net.scale("x")
    w, ws, wz = net.weight("w", (4, 3, 3, 3))
    bias = net.const("b", net.rng.integers(-2000, 2000, 4).astype(np.int32))
    y, yz = net.scale("y")
    net.constants = [c for c in net.constants if c.name != y]
    net.const(y, np.float32(0.09))
    net.node("QLinearConv", ["x", x, zero, w, ws, wz, y, yz, bias], "out", pads=[1, 1, 1, 1])
    return (1, 3, 6, 6), (1, 4, 6, 6)


def qlinear_matmul(net):
    x, zero = net.scale("x")
    w, ws, wz = net.weight("w", (12, 5))
    y, yz = net.scale("y")
    net.constants = [c for c in net.constants if c.name != y]
    net.const(y, np.float32(0.07))
    net.node("QLinearMatMul", ["x", x, zero, w, ws, wz, y, yz], "out")
    return (3, 12), (3, 5)


def matmul_integer(net):
    zero = net.const("zero", net.kind(3))
    w = net.const("w", net.rng.integers(-127, 128, (12, 5)).astype(np.int8))
    net.node("MatMulInteger", ["x", w, zero], "out")
    return (3, 12), (3, 5)


def conv_integer(net):
    zero = net.const("zero", net.kind(3))
    w = net.const("w", net.rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8))
    net.node("ConvInteger", ["x", w, zero], "out", pads=[1, 1, 1, 1])
    return (1, 3, 6, 6), (1, 4, 6, 6)


def qdq_conv_relu(net):
    x = net.dequantised("x")
    w, ws, wz = net.weight("w", (4, 3, 3, 3))
    real = net.node("DequantizeLinear", [w, ws, wz], "w_real")
    y = net.node("Conv", [x, real], "conv", pads=[1, 1, 1, 1])
    net.quantised(net.node("Relu", [y], "relu"), 0.08)
    return (1, 3, 6, 6), (1, 4, 6, 6)


def qdq_matmul(net):
    x = net.dequantised("x")
    w, ws, wz = net.weight("w", (12, 5))
    real = net.node("DequantizeLinear", [w, ws, wz], "w_real")
    net.quantised(net.node("MatMul", [x, real], "mm"), 0.06)
    return (3, 12), (3, 5)


def qdq_maxpool(net):
    scale, zero = net.scale("x")
    x = net.node("DequantizeLinear", ["x", scale, zero], "x_real")
    y = net.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.node("QuantizeLinear", [y, scale, zero], "out")
    return (1, 2, 6, 6), (1, 2, 3, 3)


GRAPHS = [qlinear_conv, qlinear_matmul, matmul_integer, conv_integer, qdq_conv_relu, qdq_matmul, qdq_maxpool]


def main():
    warnings.filterwarnings("ignore")
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    count = 0
    for build in GRAPHS:
        for signed in (False, True):
            if build is conv_integer and signed:
                continue  # ONNX Runtime has only the unsigned kernel
            for seed in range(SEEDS):
                net = Net(np.random.default_rng(seed), signed)
                shape, result = build(net)
                element = TensorProto.INT32 if "integer" in build.__name__ else net.element
                graph = helper.make_graph(
                    net.nodes,
                    build.__name__,
                    [helper.make_tensor_value_info("x", net.element, shape)],
                    [helper.make_tensor_value_info("out", element, result)],
                    net.constants,
                )
                model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
                onnx.checker.check_model(model)
                x = net.bytes(shape)
                session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
                (out,) = session.run(None, {"x": x})
                folder = os.path.join(sys.argv[1], f"{build.__name__}_{'i8' if signed else 'u8'}_{seed}")
                write_case(folder, model, [("x", x)], [("out", out)])
                count += 1
    print(f"{count} cases in {sys.argv[1]}, onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
