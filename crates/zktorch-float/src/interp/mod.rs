//! Reference execution.

use crate::{EvalError, Graph, Op, Tensor, ValueId};
use std::sync::Arc;

mod conv;
mod elementwise;
mod index;
mod linear;
mod norm;
mod recurrent;
mod reduce;
mod resize;
mod view;
