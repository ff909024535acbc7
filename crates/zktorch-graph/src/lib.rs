//! Quantised graph, basic blocks and their lowering to an algebraic program.
