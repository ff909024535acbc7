#!/usr/bin/env python3
"""Writes small models of many families with the results of ONNX Runtime, for `node_tests` to compile, compare, prove and verify.

`pip install onnx onnxruntime && python conformance/families.py OUT`, then
`cargo run --release -p zktorch --example node_tests -- OUT --prove`

Weights are random with the variance that keeps activations near 1; the architecture is the one that gives a family its name.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from writing import write_case

F, I = TensorProto.FLOAT, TensorProto.INT64


class Net:
    """A graph under construction. Operands are names or arrays, which become weights."""

    def __init__(self, opset=17, seed=0):
        self.rng, self.opset = np.random.default_rng(seed), opset
        self.nodes, self.weights, self.inputs, self.outputs, self.feeds = [], [], [], [], {}

    def input(self, name, value):
        value = np.asarray(value)
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
        self.feeds[name] = value
        return name

    def const(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, op, *operands, n=1, domain="", **attributes):
        names = [o if isinstance(o, str) else self.const(o) for o in operands]
        outs = [f"v{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(op, names, outs, domain=domain, **attributes))
        return outs[0] if n == 1 else outs

    def output(self, *names):
        self.outputs += [helper.make_empty_tensor_value_info(n) for n in names]

    def randn(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def matrix(self, rows, cols):
        return self.randn(rows, cols, scale=rows**-0.5)

    def linear(self, x, rows, cols, bias=True):
        y = self("MatMul", x, self.matrix(rows, cols))
        return self("Add", y, self.randn(cols, scale=0.1)) if bias else y

    def conv(self, x, c_in, c_out, k=3, rank=2, op="Conv", group=1, **attributes):
        shape = (c_in, c_out // group) if op == "ConvTranspose" else (c_out, c_in // group)
        w = self.randn(*shape, *[k] * rank, scale=(c_in // group * k**rank) ** -0.5)
        if op == "Conv":
            attributes.setdefault("pads", [k // 2] * (2 * rank))
        return self(op, x, w, self.randn(c_out, scale=0.1), group=group, **attributes)

    def layer_norm(self, x, d):
        return self("LayerNormalization", x, 1 + self.randn(d, scale=0.1), self.randn(d, scale=0.1), axis=-1)

    def rms_norm(self, x, d):
        if self.opset >= 23:
            return self("RMSNormalization", x, 1 + self.randn(d, scale=0.1), axis=-1, epsilon=1e-6)
        mean = self("ReduceMean", self("Pow", x, f32(2)), ints(-1)) if self.opset >= 18 else self("ReduceMean", self("Pow", x, f32(2)), axes=[-1])
        root = self("Sqrt", self("Add", mean, f32(1e-6)))
        return self("Mul", self("Mul", x, self("Reciprocal", root)), 1 + self.randn(d, scale=0.1))

    def heads(self, x, n, t, size):
        return self("Transpose", self("Reshape", x, ints(1, t, n, size)), perm=[0, 2, 1, 3])

    def merge(self, x, t, d):
        return self("Reshape", self("Transpose", x, perm=[0, 2, 1, 3]), ints(1, t, d))

    def attend(self, q, k, v, size, mask=None, scale=True):
        scores = self("MatMul", q, self("Transpose", k, perm=[0, 1, 3, 2]))
        if scale:
            scores = self("Mul", scores, f32(size**-0.5))
        if mask is not None:
            scores = self("Add", scores, mask)
        return self("MatMul", self("Softmax", scores, axis=-1), v)


def ints(*values):
    return np.array(values, np.int64)


def f32(value):
    return np.float32(value)


def causal(t, window=None):
    i, j = np.arange(t)[:, None], np.arange(t)[None, :]
    keep = (j <= i) & (i - j < (window or t))
    return np.where(keep, 0, np.finfo(np.float32).min).astype(np.float32)[None, None]


def rope(net, x, t, size, heads):
    angles = np.arange(t)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    both = np.concatenate([angles, angles], -1)
    cos, sin = np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)
    low, high = net("Split", x, ints(size // 2, size // 2), n=2, axis=-1)
    turned = net("Concat", net("Neg", high), low, axis=-1)
    return net("Add", net("Mul", x, cos), net("Mul", turned, sin))


def decoder(net, t=6, d=32, heads=4, kv=2, window=None, mlp=None, soft_cap=None):
    """A layer of LLaMA, Mistral (window), Gemma (soft cap) or Mixtral (experts): RMSNorm, RoPE, shared keys, SwiGLU."""
    size = d // heads
    x = net.input("x", net.randn(1, t, d))
    h = net.rms_norm(x, d)
    q = rope(net, net.heads(net.linear(h, d, d, False), heads, t, size), t, size, heads)
    k = rope(net, net.heads(net.linear(h, d, kv * size, False), kv, t, size), t, size, kv)
    v = net.heads(net.linear(h, d, kv * size, False), kv, t, size)
    wide = []
    for y in (k, v):
        y = net("Expand", net("Unsqueeze", y, ints(2)), ints(1, kv, heads // kv, t, size))
        wide.append(net("Reshape", y, ints(1, heads, t, size)))
    if soft_cap:
        scores = net("Mul", net("MatMul", q, net("Transpose", wide[0], perm=[0, 1, 3, 2])), f32(size**-0.5))
        scores = net("Mul", net("Tanh", net("Div", scores, f32(soft_cap))), f32(soft_cap))
        a = net("MatMul", net("Softmax", net("Add", scores, causal(t, window)), axis=-1), wide[1])
    else:
        a = net.attend(q, *wide, size, causal(t, window))
    x = net("Add", x, net.linear(net.merge(a, t, d), d, d, False))
    h = net.rms_norm(x, d)
    y = mlp(net, h, t, d) if mlp else swiglu(net, h, d, 2 * d)
    net.output(net("Add", x, y))


def swiglu(net, x, d, wide):
    gate = net.linear(x, d, wide, False)
    gate = net("Mul", gate, net("Sigmoid", gate))
    return net.linear(net("Mul", gate, net.linear(x, d, wide, False)), wide, d, False)


def experts(net, x, t, d, count=4, k=2, wide=24):
    """Mixture of experts: the k best experts of each token, whose weights are gathered by their computed numbers."""
    x = net("Reshape", x, ints(t, d))
    probabilities = net("Softmax", net.linear(x, d, count, False), axis=-1)
    best, which = net("TopK", probabilities, ints(k), n=2, axis=-1)
    best = net("Div", best, net("ReduceSum", best, ints(-1), keepdims=1))
    up = net("Gather", net.randn(count, d, wide, scale=d**-0.5), which, axis=0)
    gate = net("Gather", net.randn(count, d, wide, scale=d**-0.5), which, axis=0)
    down = net("Gather", net.randn(count, wide, d, scale=wide**-0.5), which, axis=0)
    rows = net("Expand", net("Reshape", x, ints(t, 1, 1, d)), ints(t, k, 1, d))
    g = net("MatMul", rows, gate)
    h = net("Mul", net("Mul", g, net("Sigmoid", g)), net("MatMul", rows, up))
    y = net("Reshape", net("MatMul", h, down), ints(t, k, d))
    y = net("ReduceSum", net("Mul", y, net("Unsqueeze", best, ints(-1))), ints(1), keepdims=0)
    return net("Reshape", y, ints(1, t, d))


def dense_experts(net, x, t, d, count=4, k=2, wide=24):
    """The same with all experts computed and the weights of the others 0 (scattered at computed positions)."""
    x = net("Reshape", x, ints(t, d))
    best, which = net("TopK", net("Softmax", net.linear(x, d, count, False), axis=-1), ints(k), n=2, axis=-1)
    weights = net("ScatterElements", np.zeros((t, count), np.float32), which, best, axis=1)
    total = None
    for e in range(count):
        y = swiglu(net, x, d, wide)
        y = net("Mul", y, net("Gather", weights, ints(e), axis=1))
        total = y if total is None else net("Add", total, y)
    return net("Reshape", total, ints(1, t, d))


def t5(net, t=6, d=32, heads=4):
    """A layer of T5: attention with a learned bias per distance, without scaling; gated GELU."""
    size = d // heads
    x = net.input("x", net.randn(1, t, d))
    h = net.rms_norm(x, d)
    q, k, v = (net.heads(net("MatMul", h, net.matrix(d, d) * (size**-0.5 if i == 0 else 1)), heads, t, size) for i in range(3))
    distance = np.arange(t)[None, :] - np.arange(t)[:, None]
    buckets = np.clip(np.abs(distance), 0, 3) + 4 * (distance > 0)
    bias = net("Gather", net.randn(8, heads), buckets.astype(np.int64), axis=0)
    bias = net("Unsqueeze", net("Transpose", bias, perm=[2, 0, 1]), ints(0))
    x = net("Add", x, net.linear(net.merge(net.attend(q, k, v, size, bias, scale=False), t, d), d, d, False))
    h = net.rms_norm(x, d)
    gate = net("Gelu", net.linear(h, d, 48, False), approximate="tanh")
    net.output(net("Add", x, net.linear(net("Mul", gate, net.linear(h, d, 48, False)), 48, d, False)))


def whisper(net, t=12, d=24, heads=3):
    """The front of Whisper: two convolutions over time with GELU, positions, one layer; a decoder's cross attention."""
    size, s = d // heads, t // 2
    mel = net.input("mel", net.randn(1, 8, t))
    y = net("Gelu", net.conv(mel, 8, d, rank=1))
    y = net("Gelu", net.conv(y, d, d, rank=1, strides=[2]))
    x = net("Add", net("Transpose", y, perm=[0, 2, 1]), net.randn(s, d, scale=0.1))
    h = net.layer_norm(x, d)
    q, k, v = (net.heads(net.linear(h, d, d, i != 1), heads, s, size) for i in range(3))
    x = net("Add", x, net.linear(net.merge(net.attend(q, k, v, size), s, d), d, d))
    x = net("Add", x, net.linear(net("Gelu", net.linear(net.layer_norm(x, d), d, 2 * d)), 2 * d, d))
    memory = net.layer_norm(x, d)
    tokens = net.input("tokens", ints(*net.rng.integers(0, 20, 4)).reshape(1, 4))
    h = net("Add", net("Gather", net.randn(20, d), tokens, axis=0), net.randn(4, d, scale=0.1))
    q = net.heads(net.linear(h, d, d), heads, 4, size)
    k, v = (net.heads(net.linear(memory, d, d), heads, s, size) for _ in range(2))
    h = net("Add", h, net.linear(net.merge(net.attend(q, k, v, size), 4, d), d, d))
    net.output(net.linear(net.layer_norm(h, d), d, 20, False))


def cached_decoder(net, past, d=16, heads=2):
    """One token with a cache of keys and values, which may be empty; the grown cache is a result."""
    size = d // heads
    x = net.input("x", net.randn(1, 1, d))
    old_k, old_v = (net.input(n, net.randn(1, heads, past, size)) for n in ("past_k", "past_v"))
    h = net.layer_norm(x, d)
    q, k, v = (net.heads(net.linear(h, d, d), heads, 1, size) for _ in range(3))
    k, v = net("Concat", old_k, k, axis=2), net("Concat", old_v, v, axis=2)
    y = net.linear(net.merge(net.attend(q, k, v, size), 1, d), d, d)
    net.output(net("Add", x, y), k, v)


def yolo(net):
    """C2f block, spatial pyramid pooling, upsampling, and the head of YOLO v8: a softmax over distances, sigmoid scores."""
    silu = lambda y: net("Mul", y, net("Sigmoid", y))
    x = net.input("image", net.randn(1, 3, 16, 16))
    x = silu(net.conv(x, 3, 8, strides=[2, 2]))
    a, b = net("Split", silu(net.conv(x, 8, 8, k=1)), ints(4, 4), n=2, axis=1)
    c = net("Add", b, silu(net.conv(silu(net.conv(b, 4, 4)), 4, 4)))
    x = silu(net.conv(net("Concat", a, b, c, axis=1), 12, 8, k=1))
    down = silu(net.conv(x, 8, 8, strides=[2, 2]))
    pools = [down]
    for _ in range(3):
        pools.append(net("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2, 2, 2, 2]))
    down = silu(net.conv(net("Concat", *pools, axis=1), 32, 8, k=1))
    up = net("Resize", down, "", np.array([1, 1, 2, 2], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = net("Concat", up, x, axis=1)
    bins, classes, cells = 8, 3, 64
    boxes = net("Reshape", net.conv(x, 16, 4 * bins, k=1), ints(1, 4, bins, cells))
    weights = net("Softmax", net("Transpose", boxes, perm=[0, 2, 1, 3]), axis=1)
    distances = net.nodes and net("Conv", weights, np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
    distances = net("Reshape", distances, ints(1, 4, cells))
    near, far = net("Slice", distances, ints(0), ints(2), ints(1)), net("Slice", distances, ints(2), ints(4), ints(1))
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)))[None].reshape(1, 2, cells).astype(np.float32) + 0.5
    low, high = net("Sub", grid, near), net("Add", grid, far)
    box = net("Concat", net("Div", net("Add", low, high), f32(2)), net("Sub", high, low), axis=1)
    scores = net("Sigmoid", net("Reshape", net.conv(x, 16, classes, k=1), ints(1, classes, cells)))
    net.output(net("Concat", net("Mul", box, f32(2)), scores, axis=1))


def dlrm(net, tables=3, d=8):
    """DLRM: dense features, embedding bags, the products of all pairs, a top network."""
    dense = net.input("dense", net.randn(2, 6))
    bottom = net("Relu", net.linear(net("Relu", net.linear(dense, 6, 16)), 16, d))
    rows = [net("Unsqueeze", bottom, ints(1))]
    for i in range(tables):
        which = net.input(f"sparse{i}", net.rng.integers(0, 30, (2, 3)))
        bag = net("ReduceSum", net("Gather", net.randn(30, d, scale=0.5), which, axis=0), ints(1), keepdims=1)
        rows.append(bag)
    z = net("Concat", *rows, axis=1)
    pairs = net("Reshape", net("MatMul", z, net("Transpose", z, perm=[0, 2, 1])), ints(2, (tables + 1) ** 2))
    lower = [i * (tables + 1) + j for i in range(tables + 1) for j in range(i)]
    x = net("Concat", bottom, net("Gather", pairs, ints(*lower), axis=1), axis=1)
    x = net("Relu", net.linear(x, d + len(lower), 16))
    net.output(net("Sigmoid", net.linear(x, 16, 1)))


def unet(net, c=8):
    """A block of a diffusion U-Net: time embedding, group normalisation, residual block, self and cross attention, both ways up."""
    image = net.input("latent", net.randn(1, 4, 8, 8))
    step = net.input("step", np.array([0.7], np.float32))
    text = net.input("text", net.randn(1, 5, 12))
    angles = net("Mul", net("Unsqueeze", step, ints(1)), np.exp(-np.arange(4) / 4 * 3).astype(np.float32)[None])
    emb = net("Concat", net("Sin", angles), net("Cos", angles), axis=1)
    silu = lambda y: net("Mul", y, net("Sigmoid", y))

    def group_norm(y, channels, side):
        y = net("Reshape", y, ints(1, 4, -1))
        y = net("InstanceNormalization", y, np.ones(4, np.float32), np.zeros(4, np.float32), epsilon=1e-5)
        y = net("Reshape", y, ints(1, channels, side, side))
        return net("Add", net("Mul", y, 1 + net.randn(channels, 1, 1, scale=0.1)), net.randn(channels, 1, 1, scale=0.1))

    x = net.conv(image, 4, c)
    skip = x
    h = net.conv(silu(group_norm(x, c, 8)), c, c)
    h = net("Add", h, net("Unsqueeze", net.linear(silu(net.linear(emb, 8, 16)), 16, c), ints(2, 3)))
    x = net("Add", x, net.conv(silu(group_norm(h, c, 8)), c, c))
    x = net.conv(x, c, c, strides=[2, 2])
    t = net("Transpose", net("Reshape", group_norm(x, c, 4), ints(1, c, 16)), perm=[0, 2, 1])
    for keys, width, count in ((None, c, 16), (text, 12, 5)):
        q = net.heads(net.linear(net.layer_norm(t, c), c, c, False), 2, 16, c // 2)
        source = keys or net.layer_norm(t, c)
        k, v = (net.heads(net.linear(source, width, c, False), 2, count, c // 2) for _ in range(2))
        t = net("Add", t, net.linear(net.merge(net.attend(q, k, v, c // 2), 16, c), c, c))
    gate = net.linear(net.layer_norm(t, c), c, 4 * c)
    a, b = net("Split", gate, ints(2 * c, 2 * c), n=2, axis=-1)
    t = net("Add", t, net.linear(net("Mul", a, net("Gelu", b)), 2 * c, c))
    x = net("Add", x, net("Reshape", net("Transpose", t, perm=[0, 2, 1]), ints(1, c, 4, 4)))
    near = net("Resize", x, "", np.array([1, 1, 2, 2], np.float32), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    learned = net.conv(x, c, c, k=2, op="ConvTranspose", strides=[2, 2])
    smooth = net("Resize", x, "", np.array([1, 1, 2, 2], np.float32), mode="linear", coordinate_transformation_mode="half_pixel")
    x = net("Concat", net("Add", net("Add", near, learned), smooth), skip, axis=1)
    net.output(net.conv(silu(group_norm(net.conv(x, 2 * c, c), c, 8)), c, 4))


def efficientnet(net, c=8):
    """Inverted bottleneck with squeeze and excitation, and a pooled classifier."""
    silu = lambda y: net("Mul", y, net("Sigmoid", y))

    def bn(y, n):
        return net("BatchNormalization", y, 1 + net.randn(n, scale=0.1), net.randn(n, scale=0.1), net.randn(n, scale=0.1), 1 + np.abs(net.randn(n, scale=0.1)))

    x = net.input("image", net.randn(1, 3, 12, 12))
    x = silu(bn(net.conv(x, 3, c, strides=[2, 2]), c))
    h = silu(bn(net.conv(x, c, 4 * c, k=1), 4 * c))
    h = silu(bn(net.conv(h, 4 * c, 4 * c, group=4 * c), 4 * c))
    squeezed = silu(net.conv(net("GlobalAveragePool", h), 4 * c, 4, k=1))
    h = net("Mul", h, net("Sigmoid", net.conv(squeezed, 4, 4 * c, k=1)))
    x = net("Add", x, bn(net.conv(h, 4 * c, c, k=1), c))
    net.output(net.linear(net("Flatten", net("GlobalAveragePool", x)), c, 5))


def retinanet(net, c=8, anchors=3, classes=4):
    """Pyramid of two levels with shared heads; boxes decoded from anchors and clipped; scores as they are before suppression."""
    x = net.input("image", net.randn(1, 3, 16, 16))
    c3 = net("Relu", net.conv(x, 3, c, strides=[2, 2]))
    c4 = net("Relu", net.conv(c3, c, c, strides=[2, 2]))
    p4 = net.conv(c4, c, c, k=1)
    up = net("Resize", p4, "", "", ints(1, c, 8, 8), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    p3 = net.conv(net("Add", net.conv(c3, c, c, k=1), up), c, c)
    rng = net.rng.bit_generator.state
    scores, boxes = [], []
    for level, side in ((p3, 8), (p4, 4)):
        net.rng.bit_generator.state = rng
        s = net.conv(net("Relu", net.conv(level, c, c)), c, anchors * classes)
        s = net("Reshape", net("Transpose", net("Reshape", s, ints(1, anchors, classes, side, side)), perm=[0, 3, 4, 1, 2]), ints(1, -1, classes))
        b = net.conv(net("Relu", net.conv(level, c, c)), c, anchors * 4)
        b = net("Reshape", net("Transpose", net("Reshape", b, ints(1, anchors, 4, side, side)), perm=[0, 3, 4, 1, 2]), ints(1, -1, 4))
        scores.append(s)
        boxes.append(b)
    scores = net("Sigmoid", net("Concat", *scores, axis=1))
    deltas = net("Concat", *boxes, axis=1)
    n = (64 + 16) * anchors
    centre, size = net.rng.uniform(0, 16, (1, n, 2)).astype(np.float32), net.rng.uniform(2, 6, (1, n, 2)).astype(np.float32)
    shift, grow = net("Split", deltas, ints(2, 2), n=2, axis=2)
    middle = net("Add", net("Mul", shift, size), centre)
    half = net("Mul", net("Mul", net("Exp", net("Clip", grow, "", f32(4.135))), size), f32(0.5))
    corners = net("Concat", net("Sub", middle, half), net("Add", middle, half), axis=2)
    corners = net("Clip", corners, f32(0), f32(16))
    top = net("ReduceMax", scores, axes=[2], keepdims=0)
    best, which = net("TopK", top, ints(5), n=2, axis=1)
    chosen = net("GatherElements", corners, net("Expand", net("Unsqueeze", which, ints(2)), ints(1, 5, 4)), axis=1)
    net.output(scores, best, chosen)


def unet3d(net, c=4):
    x = net.input("volume", net.randn(1, 1, 8, 8, 8))
    act = lambda y, n: net("LeakyRelu", net("InstanceNormalization", y, np.ones(n, np.float32), np.zeros(n, np.float32)), alpha=0.01)
    a = act(net.conv(x, 1, c, rank=3), c)
    b = act(net.conv(a, c, 2 * c, rank=3, strides=[2, 2, 2]), 2 * c)
    up = net.conv(b, 2 * c, c, k=2, rank=3, op="ConvTranspose", strides=[2, 2, 2])
    y = act(net.conv(net("Concat", up, a, axis=1), 2 * c, c, rank=3), c)
    net.output(net("ArgMax", net.conv(y, c, 3, k=1, rank=3), axis=1), net.conv(y, c, 3, k=1, rank=3))


def segnet(net, c=4):
    """Pooling with positions and its inverse."""
    x = net.input("image", net.randn(1, 2, 8, 8))
    x = net("Relu", net.conv(x, 2, c))
    pooled, places = net("MaxPool", x, n=2, kernel_shape=[2, 2], strides=[2, 2])
    net.output(net.conv(pooled, c, 3), places)


def recurrent(net, kind, gates, t=5, n=4, hidden=6):
    x = net.input("x", net.randn(t, 1, n))
    w, r, b = net.randn(2, gates * hidden, n, scale=0.4), net.randn(2, gates * hidden, hidden, scale=0.4), net.randn(2, 2 * gates * hidden, scale=0.1)
    extra = {"linear_before_reset": 1} if kind == "GRU" else {}
    outs = net(kind, x, w, r, b, n=3 if kind == "LSTM" else 2, hidden_size=hidden, direction="bidirectional", **extra)
    y = net("Reshape", net("Transpose", outs[0], perm=[0, 2, 1, 3]), ints(t, 1, 2 * hidden))
    net.output(net.linear(y, 2 * hidden, 3), *outs[1:])


def rnnt(net, t=4, u=3, d=8, vocabulary=6):
    """RNN-T: encoder and prediction network of LSTMs, and the joint network over all pairs of time and label."""
    frames = net.input("frames", net.randn(t, 1, d))
    labels = net.input("labels", net.rng.integers(0, vocabulary, (u, 1)))

    def lstm(x, n):
        return net("Squeeze", net("LSTM", x, net.randn(1, 4 * d, n, scale=0.4), net.randn(1, 4 * d, d, scale=0.4), net.randn(1, 8 * d, scale=0.1), hidden_size=d), ints(1))

    f = lstm(frames, d)
    f = net("Reshape", net("Transpose", f, perm=[1, 0, 2]), ints(1, t // 2, 2 * d))
    f = net.linear(f, 2 * d, d)
    g = net.linear(net("Transpose", lstm(net("Gather", net.randn(vocabulary, d), labels, axis=0), d), perm=[1, 0, 2]), d, d)
    joint = net("Relu", net("Add", net("Unsqueeze", f, ints(2)), net("Unsqueeze", g, ints(1))))
    net.output(net("LogSoftmax", net.linear(joint, d, vocabulary), axis=-1))


def gptj(net, t=5, d=16, heads=2, rotary=4):
    """A layer of GPT-J: attention and network side by side, some features of each head rotated in pairs."""
    size = d // heads
    x = net.input("x", net.randn(1, t, d))
    h = net.layer_norm(x, d)
    q, k, v = (net.heads(net.linear(h, d, d, False), heads, t, size) for _ in range(3))
    angles = np.arange(t)[:, None] / 10000 ** (np.arange(0, rotary, 2) / rotary)
    cos, sin = (np.repeat(f(angles), 2, -1).astype(np.float32) for f in (np.cos, np.sin))

    def turn(y):
        part, rest = net("Split", y, ints(rotary, size - rotary), n=2, axis=-1)
        even = net("Slice", part, ints(0), ints(rotary), ints(3), ints(2))
        odd = net("Slice", part, ints(1), ints(rotary), ints(3), ints(2))
        pairs = net("Concat", net("Unsqueeze", net("Neg", odd), ints(-1)), net("Unsqueeze", even, ints(-1)), axis=-1)
        pairs = net("Reshape", pairs, ints(1, heads, t, rotary))
        return net("Concat", net("Add", net("Mul", part, cos), net("Mul", pairs, sin)), rest, axis=-1)

    a = net.linear(net.merge(net.attend(turn(q), turn(k), v, size, causal(t)), t, d), d, d, False)
    m = net.linear(net("Gelu", net.linear(h, d, 4 * d), approximate="tanh"), 4 * d, d)
    net.output(net("Add", net("Add", a, m), x))


def mamba(net, t=4, d=6, n=3):
    """A state space layer: causal convolution, softplus step sizes and a recurrence written as Scan."""
    x = net.input("x", net.randn(1, t, d))
    y = net("Transpose", x, perm=[0, 2, 1])
    y = net("Conv", y, net.randn(d, 1, 3, scale=0.5), net.randn(d, scale=0.1), group=d, pads=[2, 0])
    y = net("Transpose", net("Mul", y, net("Sigmoid", y)), perm=[0, 2, 1])
    step = net("Softplus", net.linear(y, d, d))
    b, c = net.linear(y, d, n, False), net.linear(y, d, n, False)
    decay = net("Exp", net("Mul", net("Unsqueeze", step, ints(3)), -np.arange(1, n + 1, dtype=np.float32)))
    add = net("Mul", net("Unsqueeze", net("Mul", step, y), ints(3)), net("Unsqueeze", b, ints(2)))
    info = lambda name, shape: helper.make_tensor_value_info(name, F, shape)
    body = helper.make_graph(
        [helper.make_node("Mul", ["s", "a"], ["m"]), helper.make_node("Add", ["m", "u"], ["s2"]), helper.make_node("Identity", ["s2"], ["row"])],
        "body", [info("s", [1, d, n]), info("a", [1, d, n]), info("u", [1, d, n])], [info("s2", [1, d, n]), info("row", [1, d, n])])
    last, states = net("Scan", np.zeros((1, d, n), np.float32), decay, add, n=2, body=body, num_scan_inputs=2, scan_input_axes=[1, 1], scan_output_axes=[1])
    out = net("Squeeze", net("MatMul", states, net("Unsqueeze", c, ints(3))), ints(3))
    net.output(net("Add", out, net("Mul", y, net.randn(d))), last)


def four_bits(net, d=32, block=16):
    """A layer whose weights are integers of four bits with a scale per block, as quantised language models have."""
    x = net.input("x", net.randn(2, d))
    q = net.rng.integers(0, 16, (d, 8)).astype(np.uint8)
    w = helper.make_tensor("q", TensorProto.UINT4, (d, 8), q.flatten().tolist())
    z = helper.make_tensor("z", TensorProto.UINT4, (d // block, 8), net.rng.integers(6, 10, d // block * 8).tolist())
    net.weights += [w, z]
    scale = net.rng.uniform(0.01, 0.05, (d // block, 8)).astype(np.float32)
    net.output(net("MatMul", x, net("DequantizeLinear", "q", scale, "z", axis=0, block_size=block)))


FAMILIES = {
    "llama": lambda: decoder_net(),
    "llama_opset23": lambda: decoder_net(opset=23),
    "mistral_window": lambda: decoder_net(window=3),
    "gemma_soft_cap": lambda: decoder_net(soft_cap=5.0),
    "mixtral_gathered": lambda: decoder_net(mlp=experts),
    "mixtral_scattered": lambda: decoder_net(mlp=dense_experts),
    "t5": lambda: built(t5, 20),
    "whisper": lambda: built(whisper, 20),
    "cached_decoder": lambda: built(lambda n: cached_decoder(n, 3)),
    "cached_decoder_empty": lambda: built(lambda n: cached_decoder(n, 0)),
    "yolo": lambda: built(yolo),
    "dlrm": lambda: built(dlrm),
    "unet_diffusion": lambda: built(unet, 20),
    "efficientnet": lambda: built(efficientnet),
    "retinanet": lambda: built(retinanet),
    "unet3d": lambda: built(unet3d),
    "segnet": lambda: built(segnet),
    "lstm": lambda: built(lambda n: recurrent(n, "LSTM", 4)),
    "gru": lambda: built(lambda n: recurrent(n, "GRU", 3)),
    "rnn": lambda: built(lambda n: recurrent(n, "RNN", 1)),
    "rnnt": lambda: built(rnnt),
    "gptj": lambda: built(gptj, 20),
    "mamba": lambda: built(mamba),
    "dynamic_int8": lambda: built(dynamic_int8),
    "regions": lambda: built(regions),
    "four_bit_weights": lambda: built(four_bits, 21),
}


def dynamic_linear(net, x, rows, cols, relu=False):
    """A product of bytes that are quantised by the extrema of their tensor, with weights of 8 bits and a scale per column."""
    w = net.matrix(rows, cols)
    scale = (np.abs(w).max(axis=0) / 127).astype(np.float32)
    q, s, z = net("DynamicQuantizeLinear", x, n=3)
    acc = net("MatMulInteger", q, np.round(w / scale).astype(np.int8), z, np.zeros(cols, np.int8))
    y = net("Mul", net("Cast", acc, to=F), net("Mul", s, scale))
    y = net("Add", y, net.randn(cols, scale=0.1))
    return net("Relu", y) if relu else y


def dynamic_int8(net, t=4, d=16, heads=2):
    """Attention and a convolution as dynamic quantisation exports them. Behind a second quantisation single integers would differ: floats
    between them are rounded elsewhere than in ONNX Runtime."""
    x = net.input("tokens", net.randn(1, t, d))
    query, key, value = (net.heads(dynamic_linear(net, x, d, d), heads, t, d // heads) for _ in range(3))
    net.output(net.layer_norm(net.merge(net.attend(query, key, value, d // heads), t, d), d))
    q, s, z = net("DynamicQuantizeLinear", net.input("image", net.randn(1, 2, 5, 5)), n=3)
    kernel = net.rng.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8)
    acc = net("ConvInteger", q, kernel, z, np.int8(0), pads=[1, 1, 1, 1])
    net.output(q, net("Relu", net("Mul", net("Cast", acc, to=F), net("Mul", s, np.float32(0.003)))))


def regions(net, c=6, side=8, k=20):
    """A detector of two stages: the best of all boxes, features of their regions, a head for each."""
    image = net.input("image", net.randn(1, 3, side, side))
    x = net("Relu", net.conv(image, 3, c))
    scores = net("Reshape", net("Sigmoid", net.conv(x, c, 1, 1)), ints(side * side))
    best, which = net("TopK", scores, ints(k), n=2, axis=0)
    deltas = net("Transpose", net("Reshape", net("Sigmoid", net.conv(x, c, 4, 1)), ints(4, side * side)), perm=[1, 0])
    deltas = net("Gather", deltas, which, axis=0)
    grid = np.stack([np.tile(np.arange(side), side), np.repeat(np.arange(side), side)], 1).astype(np.float32)
    centre = net("Gather", grid, which, axis=0)
    near, far = net("Split", net("Mul", deltas, np.float32(3)), n=2, axis=1)
    boxes = net("Concat", net("Sub", centre, near), net("Add", centre, far), axis=1)
    own = net("RoiAlign", x, boxes, np.zeros(k, np.int64), output_height=2, output_width=2, sampling_ratio=2)
    y = net("Relu", net.linear(net("Reshape", own, ints(k, 4 * c)), 4 * c, 8))
    net.output(best, which, net("Softmax", net.linear(y, 8, 3), axis=-1))


def built(make, opset=17, **options):
    net = Net(opset)
    make(net, **options)
    return net


def decoder_net(opset=17, **options):
    return built(decoder, opset, **options)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, make in FAMILIES.items():
        net = make()
        graph = helper.make_graph(net.nodes, name, net.inputs, net.outputs, net.weights)
        opsets = [helper.make_opsetid("", net.opset), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        # Without optimisations: they would round activations to 8 bits before a product with weights of 4.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        results = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, net.feeds)
        write_case(os.path.join(sys.argv[1], name), model, net.feeds.items(), zip((o.name for o in graph.output), results))
    print(f"{len(FAMILIES)} models in {sys.argv[1]}")


if __name__ == "__main__":
    main()
