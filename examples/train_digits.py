"""Trains the small digit classifiers that the command line embeds, and writes them as ONNX.

    pip install numpy onnx scikit-learn
    python examples/train_digits.py crates/zktorch-cli/assets

The data are scikit-learn's digits (1,797 grey images of 8x8 pixels, from the UCI repository, distributed under the BSD licence with scikit-learn).
Everything is seeded: the same versions of numpy and scikit-learn give the same files.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

RNG = np.random.default_rng(20240607)
CLASSES = 10


class Dense:
    def __init__(self, fan_in, fan_out):
        self.p = [RNG.normal(0, np.sqrt(2 / fan_in), (fan_out, fan_in)), np.zeros(fan_out)]

    def forward(self, x):
        self.x = x
        return x @ self.p[0].T + self.p[1]

    def backward(self, g):
        self.g = [g.T @ self.x, g.sum(0)]
        return g @ self.p[0]


class Relu:
    p = []

    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, g):
        return g * self.mask


class Conv:
    """3x3, stride 1, zero padding 1."""

    def __init__(self, channels_in, channels_out):
        self.p = [RNG.normal(0, np.sqrt(2 / (9 * channels_in)), (channels_out, channels_in, 3, 3)), np.zeros(channels_out)]

    def forward(self, x):
        self.windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
        return np.einsum("ncyxij,ocij->noyx", self.windows, self.p[0], optimize=True) + self.p[1][:, None, None]

    def backward(self, g):
        self.g = [np.einsum("ncyxij,noyx->ocij", self.windows, g, optimize=True), g.sum((0, 2, 3))]
        windows = sliding_window_view(np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
        return np.einsum("noyxij,ocij->ncyx", windows, self.p[0][:, :, ::-1, ::-1], optimize=True)


class MaxPool:
    """2x2, stride 2."""

    p = []

    def forward(self, x):
        n, c, h, w = x.shape
        self.blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        self.max = self.blocks.max((3, 5), keepdims=True)
        return self.max.reshape(n, c, h // 2, w // 2)

    def backward(self, g):
        hit = self.blocks == self.max
        hit = hit / hit.sum((3, 5), keepdims=True)
        n, c, h, _, w, _ = self.blocks.shape
        return (hit * g.reshape(n, c, h, 1, w, 1)).reshape(n, c, 2 * h, 2 * w)


class Flatten:
    p = []

    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, g):
        return g.reshape(self.shape)


def train(layers, x, y, epochs, rate=2e-3, batch=64):
    """Adam on the cross-entropy."""
    moments = {}
    step = 0
    for _ in range(epochs):
        for rows in np.array_split(RNG.permutation(len(x)), len(x) // batch):
            out = predict(layers, x[rows])
            out = np.exp(out - out.max(1, keepdims=True))
            g = out / out.sum(1, keepdims=True)
            g[np.arange(len(rows)), y[rows]] -= 1
            g /= len(rows)
            for layer in reversed(layers):
                g = layer.backward(g)
            step += 1
            for layer in layers:
                for i, p in enumerate(layer.p):
                    m, v = moments.setdefault((id(layer), i), (np.zeros_like(p), np.zeros_like(p)))
                    m += 0.1 * (layer.g[i] - m)
                    v += 0.001 * (layer.g[i] ** 2 - v)
                    p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)


def predict(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def export(layers, input_shape, path):
    nodes, constants, value = [], [], "image"
    for i, layer in enumerate(layers):
        kind = type(layer).__name__
        out = "logits" if layer is layers[-1] else f"{kind.lower()}_{i}"
        names = []
        for tag, p in zip(("weight", "bias"), layer.p):
            names.append(f"{kind.lower()}_{i}.{tag}")
            constants.append(numpy_helper.from_array(p.astype(np.float32), names[-1]))
        attributes = {
            "Dense": ("Gemm", {"transB": 1}),
            "Relu": ("Relu", {}),
            "Conv": ("Conv", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
            "MaxPool": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            "Flatten": ("Flatten", {"axis": 1}),
        }[kind]
        nodes.append(helper.make_node(attributes[0], [value, *names], [out], name=f"{kind.lower()}_{i}", **attributes[1]))
        value = out
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="examples/train_digits.py")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def main(folder):
    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.target))
    images, labels = (digits.images[order] / 16).astype(np.float32), digits.target[order]
    split = 1400
    conv = [Conv(1, 8), Relu(), MaxPool(), Conv(8, 16), Relu(), MaxPool(), Flatten(), Dense(64, 32), Relu(), Dense(32, CLASSES)]
    mlp = [Dense(64, 64), Relu(), Dense(64, 32), Relu(), Dense(32, CLASSES)]
    for name, layers, shape in [("digits_conv", conv, (1, 8, 8)), ("digits_mlp", mlp, (64,))]:
        x = images.reshape(-1, *shape)
        train(layers, x[:split], labels[:split], epochs=40)
        accuracy = (predict(layers, x[split:]).argmax(1) == labels[split:]).mean()
        export(layers, [1, *shape], folder / f"{name}.onnx")
        print(f"{name}: {sum(p.size for layer in layers for p in layer.p)} parameters, test accuracy {accuracy:.4f}")
    # One held-out image for the demonstration, and some training images to choose the integer scales by.
    np.savez_compressed(folder / "digits_input.npz", image=images[split].reshape(1, 1, 8, 8))
    np.savez_compressed(folder / "digits_calibration.npz", image=images[:64].reshape(64, 1, 8, 8))
    print(f"digits_input.npz shows a {labels[split]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
