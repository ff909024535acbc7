//! Reading and writing at computed positions.

use super::strided::row_major;
use super::{check_axis, ensure, map_data, same_type};
use crate::tensor::volume;
use crate::{Data, EvalError, Tensor};

/// A possibly negative index into an axis of `size` elements.
fn position(index: i64, size: usize) -> Result<usize, EvalError> {
    let wrapped = if index < 0 { index.saturating_add(size as i64) } else { index };
    usize::try_from(wrapped)
        .ok()
        .filter(|&p| p < size)
        .ok_or_else(|| EvalError::invalid(format!("index {index} leaves an axis of size {size}")))
}

/// Indices counted from the start of an axis.
pub(crate) fn positions(indices: &Tensor, size: usize) -> Result<Tensor, EvalError> {
    let at = indices.as_i64()?.iter().map(|&i| position(i, size).map(|p| p as i64)).collect::<Result<_, _>>()?;
    Tensor::new(indices.shape.clone(), Data::I64(at))
}

/// Gathers slices along an axis.
pub(crate) fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor, EvalError> {
    check_axis(axis, &x.shape)?;
    let n = x.shape[axis];
    let at = indices.as_i64()?.iter().map(|&i| position(i, n)).collect::<Result<Vec<_>, _>>()?;
    let outer: usize = x.shape[..axis].iter().product();
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut shape = x.shape[..axis].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&x.shape[axis + 1..]);
    let size = volume(&shape)?;
    let data = map_data!(&x.data, v => {
        let mut out = Vec::with_capacity(size);
        for o in 0..outer {
            for &i in &at {
                out.extend_from_slice(&v[(o * n + i) * inner..][..inner]);
            }
        }
        out
    });
    Tensor::new(shape, data)
}

/// Offsets into `x` of the elements that `indices` select along `axis`.
fn element_offsets(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Vec<usize>, EvalError> {
    check_axis(axis, &x.shape)?;
    let fits = indices.rank() == x.rank() && (0..x.rank()).all(|a| a == axis || indices.shape[a] <= x.shape[a]);
    ensure(fits, || format!("indices {:?} do not fit {:?}", indices.shape, x.shape))?;
    let (from, own) = (row_major(&x.shape), row_major(&indices.shape));
    let element = |(i, &index): (usize, &i64)| {
        let mut offset = 0;
        for a in 0..x.rank() {
            let at = if a == axis { position(index, x.shape[a])? } else { i / own[a] as usize % indices.shape[a] };
            offset += at * from[a] as usize;
        }
        Ok(offset)
    };
    indices.as_i64()?.iter().enumerate().map(element).collect()
}

/// Gathers single elements along an axis.
pub(crate) fn gather_elements(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor, EvalError> {
    let offsets = element_offsets(x, indices, axis)?;
    let data = map_data!(&x.data, v => offsets.iter().map(|&o| v[o]).collect::<Vec<_>>());
    Tensor::new(indices.shape.clone(), data)
}

/// Overwrites single elements along an axis.
pub(crate) fn scatter_elements(x: &Tensor, indices: &Tensor, updates: &Tensor, axis: usize) -> Result<Tensor, EvalError> {
    let offsets = element_offsets(x, indices, axis)?;
    ensure(updates.shape == indices.shape, || format!("updates {:?} do not fit indices {:?}", updates.shape, indices.shape))?;
    write(x, updates, offsets.into_iter().map(|o| (o, 1)).collect())
}

/// Copies `updates` over the given stretches of `x` in order.
fn write(x: &Tensor, updates: &Tensor, stretches: Stretches) -> Result<Tensor, EvalError> {
    fn apply<T: Copy>(x: &[T], u: &[T], stretches: &[(usize, usize)]) -> Vec<T> {
        let mut out = x.to_vec();
        let mut from = 0;
        for &(offset, length) in stretches {
            out[offset..offset + length].copy_from_slice(&u[from..from + length]);
            from += length;
        }
        out
    }
    same_type(x, updates)?;
    let data = match (&x.data, &updates.data) {
        (Data::F32(a), Data::F32(b)) => Data::F32(apply(a, b, &stretches).into()),
        (Data::I64(a), Data::I64(b)) => Data::I64(apply(a, b, &stretches)),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(apply(a, b, &stretches)),
        _ => return Err(EvalError::WrongType { expected: x.dtype(), got: updates.dtype() }),
    };
    Tensor::new(x.shape.clone(), data)
}

/// Runs of consecutive elements as (offset, length).
type Stretches = Vec<(usize, usize)>;

/// Stretches of `x` that the index tuples select, and the shape they form.
fn tuples(x: &Tensor, indices: &Tensor, batch: usize) -> Result<(Stretches, Vec<usize>), EvalError> {
    let depth = *indices.shape.last().ok_or_else(|| EvalError::invalid("indices without axes"))?;
    let lead = &indices.shape[..indices.rank() - 1];
    let fits = depth > 0 && batch <= lead.len() && batch + depth <= x.rank() && indices.shape[..batch] == x.shape[..batch];
    ensure(fits, || format!("index tuples {:?} do not fit {:?}", indices.shape, x.shape))?;
    let strides = row_major(&x.shape);
    let length: usize = x.shape[batch + depth..].iter().product();
    let per_batch: usize = lead[batch..].iter().product();
    let block: usize = x.shape[batch..].iter().product();
    let tuple = |(i, tuple): (usize, &[i64])| {
        let mut offset = i / per_batch.max(1) * block;
        for (j, &index) in tuple.iter().enumerate() {
            offset += position(index, x.shape[batch + j])? * strides[batch + j] as usize;
        }
        Ok((offset, length))
    };
    let stretches = indices.as_i64()?.chunks_exact(depth).enumerate().map(tuple).collect::<Result<_, EvalError>>()?;
    let mut shape = lead.to_vec();
    shape.extend(&x.shape[batch + depth..]);
    Ok((stretches, shape))
}

/// Gathers slices at index tuples.
pub(crate) fn gather_nd(x: &Tensor, indices: &Tensor, batch_dims: usize) -> Result<Tensor, EvalError> {
    let (stretches, shape) = tuples(x, indices, batch_dims)?;
    volume(&shape)?;
    let data = map_data!(&x.data, v => stretches.iter().flat_map(|&(o, l)| v[o..o + l].iter().copied()).collect::<Vec<_>>());
    Tensor::new(shape, data)
}

/// Overwrites slices at index tuples.
pub(crate) fn scatter_nd(x: &Tensor, indices: &Tensor, updates: &Tensor) -> Result<Tensor, EvalError> {
    let (stretches, shape) = tuples(x, indices, 0)?;
    ensure(updates.shape == shape, || format!("updates {:?} should have shape {shape:?}", updates.shape))?;
    write(x, updates, stretches)
}

/// One-hot rows along a new axis; indices out of range give a row of "off".
pub(crate) fn one_hot(indices: &Tensor, values: &Tensor, axis: usize, depth: usize) -> Result<Tensor, EvalError> {
    ensure(values.len() == 2 && axis <= indices.rank(), || format!("one-hot axis {axis} with values of shape {:?}", values.shape))?;
    let mut shape = indices.shape.clone();
    shape.insert(axis, depth);
    let inner: usize = indices.shape[axis..].iter().product();
    let rows: Vec<i64> = match &indices.data {
        Data::I64(v) => v.clone(),
        _ => indices.to_f32_vec().iter().map(|&v| v as i64).collect(),
    };
    let size = volume(&shape)?;
    let data = map_data!(&values.data, v => {
        let mut out = vec![v[0]; size];
        for (i, &row) in rows.iter().enumerate() {
            let row = if row < 0 { row.saturating_add(depth as i64) } else { row };
            if let Some(row) = usize::try_from(row).ok().filter(|&r| r < depth) {
                out[(i / inner * depth + row) * inner + i % inner] = v[1];
            }
        }
        out
    });
    Tensor::new(shape, data)
}
