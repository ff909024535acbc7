//! Blocks against plain oracles in real numbers, and against cheating provers.

#![allow(clippy::unwrap_used)]

mod elementwise;
mod narrow;
mod reductions;
