//! Einstein summation.

use super::strided::{broadcast_strides, for_each_row, last, row_major};
use super::{ensure, float, linear, reduce, view};
use crate::tensor::volume;
use crate::{BinaryFn, EvalError, ReduceFn, Tensor};

/// Evaluates a normalised equation from left to right, one operand at a time: letters that nothing later needs are summed as
/// soon as possible, and each pair is multiplied as a batched matrix product.
pub(crate) fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor, EvalError> {
    let bad = || EvalError::invalid(format!("malformed equation '{equation}'"));
    let (left, right) = equation.split_once("->").ok_or_else(bad)?;
    let terms: Vec<Vec<char>> = left.split(',').map(|t| t.chars().collect()).collect();
    let output: Vec<char> = right.chars().collect();
    let letters_only = terms.iter().flatten().chain(&output).all(char::is_ascii_alphabetic);
    let known = output.iter().all(|c| terms.iter().any(|t| t.contains(c)));
    let distinct = (0..output.len()).all(|i| !output[..i].contains(&output[i]));
    ensure(letters_only && known && distinct && terms.len() == operands.len(), || bad().to_string())?;
    let mut current: Option<(Vec<char>, Tensor)> = None;
    for (i, (term, operand)) in terms.iter().zip(operands).enumerate() {
        let next = diagonal(term, operand)?;
        let needed: Vec<char> = terms[i + 1..].iter().flatten().chain(&output).copied().collect();
        current = Some(match current {
            None => drop_letters(next, &needed)?,
            Some(current) => {
                let other: Vec<char> = current.0.iter().chain(&needed).copied().collect();
                let next = drop_letters(next, &other)?;
                pair(current, next, &needed)?
            }
        });
    }
    let (letters, tensor) = current.ok_or_else(bad)?;
    let perm = output.iter().filter_map(|c| letters.iter().position(|l| l == c)).collect::<Vec<_>>();
    view::transpose(&tensor, &perm)
}

/// Reads repeated letters of one operand along their diagonal.
fn diagonal(term: &[char], x: &Tensor) -> Result<(Vec<char>, Tensor), EvalError> {
    ensure(term.len() == x.rank(), || format!("term of {} letters for shape {:?}", term.len(), x.shape))?;
    let strides = row_major(&x.shape);
    let (mut letters, mut shape, mut steps) = (Vec::new(), Vec::new(), Vec::<isize>::new());
    for (axis, &c) in term.iter().enumerate() {
        if let Some(at) = letters.iter().position(|&l| l == c) {
            ensure(shape[at] == x.shape[axis], || format!("letter '{c}' has two sizes"))?;
            steps[at] += strides[axis];
        } else {
            letters.push(c);
            shape.push(x.shape[axis]);
            steps.push(strides[axis]);
        }
    }
    let v = x.as_f32()?;
    let mut out = Vec::with_capacity(volume(&shape)?);
    let (length, step) = last(&shape, &steps);
    for_each_row(&shape, [&steps], [0], |[start]| {
        out.extend((0..length as isize).map(|i| v[(start + i * step) as usize]));
    });
    Ok((letters, float(shape, out)?))
}

/// Sums over the letters that are not needed.
fn drop_letters((letters, x): (Vec<char>, Tensor), needed: &[char]) -> Result<(Vec<char>, Tensor), EvalError> {
    let axes: Vec<usize> = (0..letters.len()).filter(|&a| !needed.contains(&letters[a])).collect();
    if axes.is_empty() {
        return Ok((letters, x));
    }
    let sum = reduce::reduce(&x, ReduceFn::Sum, &axes, false)?;
    Ok((letters.into_iter().filter(|c| needed.contains(c)).collect(), sum))
}

/// Multiplies two operands and sums over the shared letters that are not needed.
fn pair((la, a): (Vec<char>, Tensor), (lb, b): (Vec<char>, Tensor), needed: &[char]) -> Result<(Vec<char>, Tensor), EvalError> {
    let a_only_unneeded: Vec<char> = la.iter().copied().filter(|c| lb.contains(c) || needed.contains(c)).collect();
    let (la, a) = drop_letters((la, a), &a_only_unneeded)?;
    let batch: Vec<char> = la.iter().copied().filter(|c| lb.contains(c) && needed.contains(c)).collect();
    let inner: Vec<char> = la.iter().copied().filter(|c| lb.contains(c) && !needed.contains(c)).collect();
    let rows: Vec<char> = la.iter().copied().filter(|c| !lb.contains(c)).collect();
    let cols: Vec<char> = lb.iter().copied().filter(|c| !la.contains(c)).collect();
    let size = |letters: &[char], from: &[char], t: &Tensor| -> Vec<usize> {
        letters.iter().filter_map(|c| from.iter().position(|l| l == c)).map(|p| t.shape[p]).collect()
    };
    let arrange = |t: &Tensor, from: &[char], order: [&[char]; 3]| -> Result<Tensor, EvalError> {
        let perm: Vec<usize> = order.iter().flat_map(|g| g.iter()).filter_map(|c| from.iter().position(|l| l == c)).collect();
        let shape = order.iter().map(|g| size(g, from, t).iter().product()).collect();
        view::transpose(t, &perm)?.reshaped(shape)
    };
    if rows.is_empty() && cols.is_empty() && inner.is_empty() {
        // A plain elementwise product.
        let perm: Vec<usize> = la.iter().filter_map(|c| lb.iter().position(|l| l == c)).collect();
        let product = super::elementwise::binary(BinaryFn::Mul, &a, &view::transpose(&b, &perm)?)?;
        return Ok((la, product));
    }
    broadcast_strides(&size(&batch, &lb, &b), &size(&batch, &la, &a))?;
    let x = arrange(&a, &la, [&batch, &rows, &inner])?;
    let y = arrange(&b, &lb, [&batch, &inner, &cols])?;
    let product = linear::matmul(&x, &y)?;
    let mut shape = size(&batch, &la, &a);
    shape.extend(size(&rows, &la, &a));
    shape.extend(size(&cols, &lb, &b));
    let letters = [batch, rows, cols].concat();
    Ok((letters, product.reshaped(shape)?))
}
