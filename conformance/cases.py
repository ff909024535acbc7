#!/usr/bin/env python3
"""Writes the ONNX backend node tests to a folder: `pip install onnx && python conformance/cases.py OUT`.

OUT/CASE/model.onnx, input_<i>.pb and output_<i>.pb: the model, its operands and the expected results as serialised tensors. A case with
values that are not tensors (sequences, optionals, maps) has only its model.
"""

import os
import sys
import warnings

import numpy
from onnx import TensorProto, numpy_helper


def tensor(value, name):
    """The value as a TensorProto, or None if it is no tensor."""
    if isinstance(value, TensorProto):
        named = TensorProto()
        named.CopyFrom(value)
        named.name = name
        return named
    if isinstance(value, (numpy.ndarray, numpy.generic, int, float)):
        return numpy_helper.from_array(numpy.ascontiguousarray(value).reshape(numpy.shape(value)), name)
    return None


def main():
    warnings.filterwarnings("ignore")
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from onnx.backend.test.case.node import collect_testcases

    count = 0
    for case in collect_testcases():
        if case.model is None or not case.data_sets:
            continue
        folder = os.path.join(sys.argv[1], case.name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "model.onnx"), "wb") as file:
            file.write(case.model.SerializeToString())
        inputs, outputs = case.data_sets[0]
        sides = (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output))
        tensors = [(f"{side}_{i}.pb", tensor(v, info.name)) for side, vs, infos in sides for i, (v, info) in enumerate(zip(vs, infos))]
        if all(proto is not None for _, proto in tensors):
            for file_name, proto in tensors:
                with open(os.path.join(folder, file_name), "wb") as file:
                    file.write(proto.SerializeToString())
        count += 1
    print(f"{count} cases in {sys.argv[1]}")


if __name__ == "__main__":
    main()
