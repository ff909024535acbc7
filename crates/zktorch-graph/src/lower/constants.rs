//! Constants as cells: weights become private parameters, everything else a constant of the circuit.

use super::{Const, Lower, LowerError, unsupported};
use crate::QTensor;
use crate::calibrate::constant_scale;
use std::collections::{HashMap, HashSet};
use zktorch_float::{Data, Tensor};
use zktorch_program::{Axis, CellWidth, MatrixCells, View};

/// Weights of at least this many elements (and two axes) are matrices of their own.
const MATRIX_LEN: usize = 1024;

/// What has been registered: the same weight is committed once, however often and in whichever orientation it is used.
#[derive(Default)]
pub(super) struct Constants {
    registered: HashMap<Key, QTensor>,
    /// [`Content::unordered`] of all registered matrices: a matrix can only be another one transposed if they agree in it.
    unordered: HashSet<u64>,
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    shape: Vec<usize>,
    content: [u64; 2],
    /// If the store tells weights apart by their names.
    name: Option<String>,
    weights: bool,
    /// `None`: any scale will do (matrices keep the scale of their first use).
    scale: Option<i32>,
}

/// Hashes of the elements of a tensor (not cryptographic: equality of the model's own tensors).
struct Content {
    /// Two independent hashes in row-major order.
    ordered: [u64; 2],
    /// The same in any order.
    unordered: u64,
}

fn content(values: impl Iterator<Item = u64>) -> Content {
    let (mut a, mut b) = (0xcbf2_9ce4_8422_2325u64, 0x9e37_79b9_7f4a_7c15u64);
    let mut unordered = 0u64;
    for v in values {
        a = (a ^ v).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        b = (b.rotate_left(5) ^ v).wrapping_mul(0x517c_c1b7_2722_0a95);
        let mixed = (v ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        unordered = unordered.wrapping_add(mixed ^ (mixed >> 31));
    }
    Content { ordered: [a, b], unordered }
}

fn bits(t: &Tensor, i: usize) -> u64 {
    match &t.data {
        Data::F32(v) => u64::from(v[i].to_bits()),
        Data::I64(v) => v[i] as u64,
        Data::Bool(v) => u64::from(v[i]),
    }
}

/// The largest magnitude of the elements.
pub(super) fn abs_max(t: &Tensor) -> f64 {
    match &t.data {
        Data::F32(v) => v.iter().fold(0.0, |m, x| m.max(f64::from(x.abs()))),
        Data::I64(v) => v.iter().fold(0.0, |m, x| m.max((*x as f64).abs())),
        Data::Bool(_) => 1.0,
    }
}

impl Lower<'_> {
    /// A weight at the largest scale that fits `weight_bits`, lowered by up to `spare` bits towards `wanted`.
    pub(super) fn weight(&mut self, c: &Const, wanted: i32, spare: i32) -> Result<QTensor, LowerError> {
        let fit = constant_scale(abs_max(&c.tensor), self.options.weight_bits);
        let scale = fit.min(wanted.max(fit.saturating_sub(spare)));
        self.constant_cells(c, Some(scale))
    }

    /// A constant as cells. `None`: at the largest scale that fits `weight_bits`. A matrix that is registered already keeps its scale.
    pub(super) fn constant_cells(&mut self, c: &Const, scale: Option<i32>) -> Result<QTensor, LowerError> {
        let t = &c.tensor;
        let n = t.len();
        let scale = scale.unwrap_or_else(|| constant_scale(abs_max(t), self.options.weight_bits)).min(60);
        let squeezed: Vec<usize> = t.shape.iter().copied().filter(|&d| d != 1).collect();
        let matrix = c.weights && squeezed.len() >= 2 && n >= MATRIX_LEN;
        let name = (c.weights && self.store.by_name()).then(|| c.name.clone());
        let hashes = content((0..n).map(|i| bits(t, i)));
        let mut key = Key { shape: squeezed.clone(), content: hashes.ordered, name, weights: c.weights, scale: (!matrix).then_some(scale) };
        if let Some(q) = self.constants.registered.get(&key) {
            return Ok(unsqueezed(q, &t.shape));
        }
        let known = self.constants.unordered.contains(&hashes.unordered);
        if let (true, [rows, cols]) = (matrix && known && key.name.is_none(), &squeezed[..]) {
            let transposed = (0..n).map(|i| bits(t, (i % rows) * cols + i / rows));
            let other = Key { shape: vec![*cols, *rows], content: content(transposed).ordered, ..key.clone() };
            if let Some(q) = self.constants.registered.get(&other) {
                let view = q.view.permute(&[1, 0]);
                return Ok(unsqueezed(&QTensor { view, ..q.clone() }, &t.shape));
            }
        }
        let cells = if matrix { matrix_cells(t, scale)? } else { None };
        let small = cells.is_some();
        let builder = &mut self.ctx.builder;
        let view = if let Some(cells) = cells {
            let store = |e: std::io::Error| LowerError::Unsupported(format!("weight {} cannot be stored: {e}", c.name));
            let cells = self.store.keep(&c.name, cells).map_err(store)?;
            self.constants.unordered.insert(hashes.unordered);
            builder.matrix_of_cells(&c.name, &squeezed, cells)
        } else if c.weights {
            builder.param(&c.name, &squeezed, &integers(t, scale)?)
        } else {
            builder.constant(&c.name, &squeezed, integers(t, scale)?)
        };
        // The declared bounds, not those of the values: the program is public, the weights are not.
        let (lo, hi) = self.ctx.builder.bounds(&view);
        let q = QTensor { view, scale, lo: lo as i64, hi: hi as i64 };
        if matrix && !small {
            key.scale = Some(scale);
        }
        let result = unsqueezed(&q, &t.shape);
        self.constants.registered.insert(key, q);
        Ok(result)
    }
}

/// Puts axes of size 1 back.
fn unsqueezed(q: &QTensor, shape: &[usize]) -> QTensor {
    let mut inner = q.view.axes.iter();
    let axes = shape
        .iter()
        .map(|&size| match size {
            1 => Axis { size: 1, stride: 0 },
            _ => *inner.next().expect("one axis per size above 1"),
        })
        .collect();
    QTensor { view: View { source: q.view.source, offset: q.view.offset, axes }, ..q.clone() }
}

/// The elements as [`integers`] gives them, in the narrowest width; nothing if they exceed 32 bits.
fn matrix_cells(t: &Tensor, scale: i32) -> Result<Option<MatrixCells>, LowerError> {
    let narrowed = |lo: i64, hi: i64| CellWidth::of_bounds(lo.min(0), hi.max(0));
    if let Data::F32(values) = &t.data
        && values.iter().all(|v| v.is_finite())
    {
        // Rounding is monotonous, so that the extremes of the integers are those of the numbers.
        let factor = libm::exp2(f64::from(scale));
        let one = |v: f32| libm::floor(f64::from(v) * factor + 0.5) as i64;
        let (lo, hi) = values.iter().fold((0f32, 0f32), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        return Ok(narrowed(one(lo), one(hi)).map(|width| MatrixCells::with_width(width, values.iter().map(|&v| one(v)))));
    }
    let values = integers(t, scale)?;
    let (lo, hi) = values.iter().fold((0, 0), |(lo, hi): (i64, i64), &v| (lo.min(v), hi.max(v)));
    Ok(narrowed(lo, hi).map(|width| MatrixCells::with_width(width, values.into_iter())))
}

/// `round(v · 2^scale)`, halves up.
fn integers(t: &Tensor, scale: i32) -> Result<Vec<i64>, LowerError> {
    let factor = libm::exp2(f64::from(scale));
    let one = |v: f64| -> Result<i64, LowerError> {
        let r = libm::floor(v * factor + 0.5);
        if r.is_finite() && r.abs() < 9e15 {
            Ok(r as i64)
        } else {
            unsupported(format!("constant element {v} does not fit at scale 2^-{scale}"))
        }
    };
    match &t.data {
        Data::F32(v) => v.iter().map(|&x| one(f64::from(x))).collect(),
        Data::I64(v) if scale == 0 => Ok(v.clone()),
        Data::I64(v) => v.iter().map(|&x| one(x as f64)).collect(),
        Data::Bool(v) => v.iter().map(|&x| one(f64::from(u8::from(x)))).collect(),
    }
}
