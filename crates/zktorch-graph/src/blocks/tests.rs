//! Blocks against plain oracles in real numbers, and against cheating provers.

#![allow(clippy::unwrap_used)]

mod dynamic;
mod elementwise;
mod index;
mod integer;
mod narrow;
mod order;
mod reductions;
