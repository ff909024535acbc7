#!/usr/bin/env python3
"""Writes the ONNX backend node tests to a folder: `pip install onnx && python conformance/cases.py OUT`.

OUT/CASE/model.onnx, input_<i>.pb and output_<i>.pb: the model, its operands and the expected results as serialised tensors. A case with
values that are not tensors (sequences, optionals, maps) has only its model.
"""

import os
import sys
import warnings

from writing import write_case


def main():
    warnings.filterwarnings("ignore")
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from onnx.backend.test.case.node import collect_testcases

    count = 0
    for case in collect_testcases():
        if case.model is None or not case.data_sets:
            continue
        infos = (case.model.graph.input, case.model.graph.output)
        inputs, outputs = ([(info.name, v) for info, v in zip(side, values)] for side, values in zip(infos, case.data_sets[0]))
        write_case(os.path.join(sys.argv[1], case.name), case.model, inputs, outputs)
        count += 1
    print(f"{count} cases in {sys.argv[1]}")


if __name__ == "__main__":
    main()
