"""What the scripts beside this one write: a folder per case with model.onnx, input_<i>.pb and output_<i>.pb."""

import os

import numpy as np
from onnx import TensorProto, numpy_helper


def tensor(value, name):
    """The value as a TensorProto of that name, or None if it is no tensor."""
    if isinstance(value, TensorProto):
        named = TensorProto()
        named.CopyFrom(value)
        named.name = name
        return named
    if isinstance(value, (np.ndarray, np.generic, int, float)):
        return numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
    return None


def write_case(folder, model, inputs, outputs):
    """Writes a model with its operands and results, pairs of a name and a value; only the model if one of them is no tensor."""
    os.makedirs(folder, exist_ok=True)
    sides = (("input", inputs), ("output", outputs))
    files = {f"{side}_{i}.pb": tensor(value, name) for side, pairs in sides for i, (name, value) in enumerate(pairs)}
    if any(proto is None for proto in files.values()):
        files = {}
    for file_name, proto in {"model.onnx": model, **files}.items():
        with open(os.path.join(folder, file_name), "wb") as file:
            file.write(proto.SerializeToString())
