//! Zero-knowledge proof protocol for algebraic programs.
