//! Dense row-major tensors.

use crate::{EvalError, Floats};
use std::fmt;

/// Element types. Narrower types of a source model are widened: every integer type becomes [`DType::I64`] and every floating
/// point type becomes [`DType::F32`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float (also stands for f16, bf16 and f64 of a source model).
    F32,
    /// 64-bit signed integer (also stands for all narrower integers of a source model).
    I64,
    /// Truth value.
    Bool,
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I64 => "i64",
            Self::Bool => "bool",
        })
    }
}

/// The elements of a [`Tensor`] in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Floats.
    F32(Floats),
    /// Integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense row-major tensor. The number of elements is the product of `shape`; the empty shape is a scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest.
    pub data: Data,
}

/// Most elements that the interpreter puts into one tensor (2^30).
const MAX_ELEMENTS: usize = 1 << 30;

/// Number of elements of `shape`; an error if it overflows or passes what the interpreter can hold.
pub(crate) fn volume(shape: &[usize]) -> Result<usize, EvalError> {
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= MAX_ELEMENTS))
        .ok_or_else(|| EvalError::TooLarge { shape: shape.to_vec() })
}

impl Tensor {
    /// A tensor of `shape` over `data`; an error if the sizes disagree.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self, EvalError> {
        let n = volume(&shape)?;
        if n != data.len() {
            return Err(EvalError::invalid(format!("shape {shape:?} needs {n} elements, got {}", data.len())));
        }
        Ok(Self { shape, data })
    }

    /// A float tensor; an error if the sizes disagree.
    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, EvalError> {
        Self::new(shape, Data::F32(data.into()))
    }

    /// An integer tensor; an error if the sizes disagree.
    pub fn i64(shape: Vec<usize>, data: Vec<i64>) -> Result<Self, EvalError> {
        Self::new(shape, Data::I64(data))
    }

    /// A truth-value tensor; an error if the sizes disagree.
    pub fn bool(shape: Vec<usize>, data: Vec<bool>) -> Result<Self, EvalError> {
        Self::new(shape, Data::Bool(data))
    }

    /// A float scalar.
    pub fn scalar(x: f32) -> Self {
        Self { shape: Vec::new(), data: Data::F32(vec![x].into()) }
    }

    /// An integer vector.
    pub fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::I64(values) }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::I64(_) => DType::I64,
            Data::Bool(_) => DType::Bool,
        }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements of a float tensor.
    pub fn as_f32(&self) -> Result<&[f32], EvalError> {
        match &self.data {
            Data::F32(v) => Ok(v),
            _ => Err(EvalError::WrongType { expected: DType::F32, got: self.dtype() }),
        }
    }

    /// The elements of an integer tensor.
    pub fn as_i64(&self) -> Result<&[i64], EvalError> {
        match &self.data {
            Data::I64(v) => Ok(v),
            _ => Err(EvalError::WrongType { expected: DType::I64, got: self.dtype() }),
        }
    }

    /// The elements of a truth-value tensor.
    pub fn as_bool(&self) -> Result<&[bool], EvalError> {
        match &self.data {
            Data::Bool(v) => Ok(v),
            _ => Err(EvalError::WrongType { expected: DType::Bool, got: self.dtype() }),
        }
    }

    /// The same elements in another shape; an error if the sizes disagree.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, EvalError> {
        Self::new(shape, self.data.clone())
    }

    /// The elements as floats, whatever the type (truth values become 0 and 1).
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match &self.data {
            Data::F32(v) => v.to_vec(),
            Data::I64(v) => v.iter().map(|&x| x as f32).collect(),
            Data::Bool(v) => v.iter().map(|&x| f32::from(u8::from(x))).collect(),
        }
    }
}
