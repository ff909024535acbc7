//! ONNX import for zktorch.
