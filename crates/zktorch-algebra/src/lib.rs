//! Field, multilinear and multi-scalar-multiplication kernels of zktorch.
