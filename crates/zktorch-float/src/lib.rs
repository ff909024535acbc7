//! Typed float graph and its reference interpreter.
