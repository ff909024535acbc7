//! Matrix products.

use super::quant::check_sums;
use super::strided::{broadcast_shape, broadcast_strides, for_each_row};
use super::{ensure, float};
use crate::tensor::volume;
use crate::{BinaryFn, Data, EvalError, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

/// A row-major matrix view of `data`.
pub(crate) fn view<T>(data: &[T], rows: usize, cols: usize) -> Result<ArrayView2<'_, T>, EvalError> {
    ArrayView2::from_shape((rows, cols), data).map_err(|e| EvalError::invalid(e.to_string()))
}

/// `out += a·b`.
pub(crate) fn accumulate<T: LinalgScalar>(a: &ArrayView2<'_, T>, b: &ArrayView2<'_, T>, out: &mut [T]) -> Result<(), EvalError> {
    ensure(a.ncols() == b.nrows(), || format!("inner sizes {} and {} differ", a.ncols(), b.nrows()))?;
    let mut c = ArrayViewMut2::from_shape((a.nrows(), b.ncols()), out).map_err(|e| EvalError::invalid(e.to_string()))?;
    general_mat_mul(T::one(), a, b, T::one(), &mut c);
    Ok(())
}

/// NumPy's `matmul`.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor, EvalError> {
    let (shape, data) = match (&a.data, &b.data) {
        (Data::I64(x), Data::I64(y)) => {
            check_sums(x, y, a.shape.last().copied().unwrap_or(0))?;
            let (shape, out) = product(a, x, b, y)?;
            (shape, Data::I64(out))
        }
        _ => {
            let (shape, out) = product(a, a.as_f32()?, b, b.as_f32()?)?;
            (shape, Data::F32(out.into()))
        }
    };
    Tensor::new(shape, data)
}

/// Shape and elements of the product of `a` and `b`, whose elements are `x` and `y`.
fn product<T: LinalgScalar>(a: &Tensor, x: &[T], b: &Tensor, y: &[T]) -> Result<(Vec<usize>, Vec<T>), EvalError> {
    ensure(a.rank() > 0 && b.rank() > 0, || "a product needs at least one axis".to_owned())?;
    let mut a_shape = a.shape.clone();
    let mut b_shape = b.shape.clone();
    if a.rank() == 1 {
        a_shape.insert(0, 1);
    }
    if b.rank() == 1 {
        b_shape.push(1);
    }
    let (ra, rb) = (a_shape.len(), b_shape.len());
    let (m, k, n) = (a_shape[ra - 2], a_shape[ra - 1], b_shape[rb - 1]);
    ensure(k == b_shape[rb - 2], || format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape))?;
    let batch = broadcast_shape(&a_shape[..ra - 2], &b_shape[..rb - 2])?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    let mut out = vec![T::zero(); volume(&shape)?];
    if rb == 2 {
        // One product with all leading axes of `a` as rows.
        let rows = a_shape[..ra - 1].iter().product();
        accumulate(&view(x, rows, k)?, &view(y, k, n)?, &mut out)?;
    } else if m * n > 0 {
        // Walk over the batch as the outer axes of a tensor with rows of length 1.
        let mut walk = batch.clone();
        walk.push(1);
        let strides = |shape: &[usize]| -> Result<Vec<isize>, EvalError> {
            let mut s = broadcast_strides(shape, &batch)?;
            s.push(0);
            Ok(s)
        };
        let (sa, sb) = (strides(&a_shape[..ra - 2])?, strides(&b_shape[..rb - 2])?);
        let mut chunks = out.chunks_exact_mut(m * n);
        let mut result = Ok(());
        for_each_row(&walk, [&sa, &sb], [0, 0], |[oa, ob]| {
            if let (Some(chunk), true) = (chunks.next(), result.is_ok()) {
                let (oa, ob) = (oa as usize * m * k, ob as usize * k * n);
                result = view(&x[oa..oa + m * k], m, k).and_then(|av| accumulate(&av, &view(&y[ob..ob + k * n], k, n)?, chunk));
            }
        });
        result?;
    }
    if b.rank() == 1 {
        shape.pop();
    }
    if a.rank() == 1 {
        let at = shape.len() - usize::from(b.rank() != 1) - 1;
        shape.remove(at);
    }
    Ok((shape, out))
}

/// `alpha·A'·B' + beta·C`.
pub(crate) fn gemm(
    a: &Tensor,
    b: &Tensor,
    c: Option<&Tensor>,
    alpha: f32,
    beta: f32,
    (trans_a, trans_b): (bool, bool),
) -> Result<Tensor, EvalError> {
    ensure(a.rank() == 2 && b.rank() == 2, || format!("shapes {:?} and {:?} are no matrices", a.shape, b.shape))?;
    let mut av = view(a.as_f32()?, a.shape[0], a.shape[1])?;
    let mut bv = view(b.as_f32()?, b.shape[0], b.shape[1])?;
    if trans_a {
        av = av.reversed_axes();
    }
    if trans_b {
        bv = bv.reversed_axes();
    }
    let shape = vec![av.nrows(), bv.ncols()];
    let mut out = vec![0.0f32; volume(&shape)?];
    accumulate(&av, &bv, &mut out)?;
    if alpha != 1.0 {
        out.iter_mut().for_each(|v| *v *= alpha);
    }
    let product = float(shape, out)?;
    let Some(c) = c.filter(|_| beta != 0.0) else { return Ok(product) };
    let c = if beta == 1.0 { c.clone() } else { float(c.shape.clone(), c.as_f32()?.iter().map(|v| v * beta).collect())? };
    let sum = super::elementwise::binary(BinaryFn::Add, &product, &c)?;
    ensure(sum.shape == product.shape, || format!("C of shape {:?} does not fit {:?}", c.shape, product.shape))?;
    Ok(sum)
}
