//! Evaluates sums of terms over all output indices: matrix products where a term is one, strided loops elsewhere.

use super::memory::Memory;
use super::nest::{self, Number};
use super::product::{Data, Letter, Operand, Product, dense, volume};
use super::{ExecuteError, matmul, weights};
use crate::relation::Term;
use std::borrow::Cow;

/// Bound of sums that are computed in 64 bits.
const NARROW: u128 = 1 << 62;
/// Bound of sums that are computed in 128 bits.
const WIDE: u128 = 1 << 126;
/// Largest packed side of a matrix product, in cells.
const RESIDENT: usize = 1 << 26;

/// Values of a sum, row-major over the output letters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// All values are below 2^62.
    Narrow(Vec<i64>),
    /// Some bound exceeds 2^62.
    Wide(Vec<i128>),
}

/// `Σ_t c_t · Σ_k Π_f V_{t,f}[o, k]` for all outputs `o`. The terms were checked against the program.
pub(crate) fn evaluate(memory: &Memory, node: &str, sizes: &[usize], outputs: usize, terms: &[Term]) -> Result<Values, ExecuteError> {
    let len = sizes[..outputs].iter().product();
    let mut products = Vec::with_capacity(terms.len());
    let mut bound: Option<u128> = Some(0);
    for term in terms.iter().filter(|t| t.coeff != 0) {
        let product = prepare(memory, sizes, outputs, term);
        let peak = product.peak().and_then(|p| p.checked_mul(term.coeff.unsigned_abs()));
        bound = bound.and_then(|b| b.checked_add(peak?));
        products.push((term.coeff, product));
    }
    match bound {
        Some(b) if b < NARROW => {
            let mut out = vec![0i64; len];
            for (coeff, product) in products {
                accumulate(product, coeff as i64, &mut out);
            }
            Ok(Values::Narrow(out))
        }
        Some(b) if b < WIDE => {
            let mut out = vec![0i128; len];
            for (coeff, product) in products {
                accumulate(product, coeff, &mut out);
            }
            Ok(Values::Wide(out))
        }
        _ => Err(ExecuteError::Overflow { node: node.to_string() }),
    }
}

fn prepare<'a>(memory: &'a Memory, sizes: &[usize], outputs: usize, term: &Term) -> Product<'a> {
    let mut letters: Vec<Letter> = sizes.iter().map(|&size| Letter { size, strides: [0; 3] }).collect();
    let mut used: Vec<bool> = (0..sizes.len()).map(|l| l < outputs).collect();
    for (i, f) in term.factors.iter().enumerate() {
        for (&l, axis) in f.letters.iter().zip(&f.view.axes) {
            letters[l as usize].strides[i] = axis.stride;
            used[l as usize] = true;
        }
    }
    let sum = (outputs..sizes.len()).filter(|&l| used[l]).map(|l| letters[l]).collect();
    letters.truncate(outputs);
    Product {
        out: letters,
        sum,
        operands: term
            .factors
            .iter()
            .map(|f| Operand { data: memory.data(f.view.source), offset: f.view.offset, peak: memory.peak(&f.view) })
            .collect(),
        repeat: 1,
    }
    .canonical()
}

/// `out += coeff · product`, for a canonical product whose bounds fit.
fn accumulate<T: Number>(product: Product, coeff: T, out: &mut [T]) {
    let product = match product.operands.len() {
        3 => pair(product),
        _ => product,
    };
    let product = match product.operands.len() {
        2 => multiply(reduce(product)),
        _ => product,
    };
    nest::accumulate(&product, coeff, out);
}

/// A dense tensor over `out` as operand `i`.
fn tensor<'a>(product: Product<'a>) -> Operand<'a> {
    let peak = product.peak().map_or(u128::MAX, |p| p.max(1));
    let mut values = vec![0i64; volume(&product.out)];
    accumulate(product.canonical(), 1i64, &mut values);
    Operand { data: Data::Wide(Cow::Owned(values)), offset: 0, peak }
}

/// Keeps the strides of the given operands, in the given order.
fn restrict(l: &Letter, operands: &[usize]) -> Letter {
    let mut strides = [0; 3];
    for (to, &from) in operands.iter().enumerate() {
        strides[to] = l.strides[from];
    }
    Letter { size: l.size, strides }
}

/// Replaces two of three operands by their product over the indices that the third or the output needs, where that saves work.
fn pair<'a>(product: Product<'a>) -> Product<'a> {
    let work = volume(&product.out).saturating_mul(volume(&product.sum));
    let best = [(0, 1, 2), (0, 2, 1), (1, 2, 0)]
        .into_iter()
        .map(|(a, b, c)| {
            let moved = |l: &&Letter| l.strides[a] != 0 || l.strides[b] != 0;
            let kept = |l: &&Letter| moved(l) && l.strides[c] != 0;
            let out: usize = product.out.iter().filter(moved).map(|l| l.size).product();
            let sum: usize = product.sum.iter().filter(kept).map(|l| l.size).product();
            (out.saturating_mul(sum), a, b, c)
        })
        .min();
    let Some((cells, a, b, c)) = best else {
        return product;
    };
    if cells.saturating_mul(2) > work || cells > RESIDENT {
        return product;
    }
    let moved = |l: &Letter| l.strides[a] != 0 || l.strides[b] != 0;
    let inner_out: Vec<Letter> =
        (product.out.iter()).chain(product.sum.iter().filter(|l| l.strides[c] != 0)).filter(|l| moved(l)).copied().collect();
    let inner = Product {
        out: inner_out.iter().map(|l| restrict(l, &[a, b])).collect(),
        sum: (product.sum.iter()).filter(|l| l.strides[c] == 0).map(|l| restrict(l, &[a, b])).collect(),
        operands: vec![product.operands[a].clone(), product.operands[b].clone()],
        repeat: 1,
    };
    if inner.peak().is_none_or(|p| p >= NARROW) {
        return product;
    }
    let mut strides = dense(&inner_out, 0).into_iter();
    let mut place = |l: &Letter| {
        let first = match moved(l) {
            true => strides.next().map_or(0, |s| s.strides[0]),
            false => 0,
        };
        Letter { size: l.size, strides: [first, l.strides[c], 0] }
    };
    let out = product.out.iter().map(&mut place).collect();
    let sum = product.sum.iter().filter(|l| l.strides[c] != 0);
    let sum = sum.map(&mut place).collect();
    Product { out, sum, operands: vec![tensor(inner), product.operands[c].clone()], repeat: product.repeat }.canonical()
}

/// Sums each of two operands over the letters that are its alone.
fn reduce<'a>(mut product: Product<'a>) -> Product<'a> {
    for i in 0..2 {
        let other = 1 - i;
        let alone = |l: &Letter| l.strides[i] != 0 && l.strides[other] == 0;
        if !product.sum.iter().any(alone) {
            continue;
        }
        let moved = |l: &&Letter| l.strides[i] != 0;
        let kept: Vec<Letter> =
            (product.out.iter().filter(moved)).chain(product.sum.iter().filter(|l| moved(l) && !alone(l))).copied().collect();
        let inner = Product {
            out: kept.iter().map(|l| restrict(l, &[i])).collect(),
            sum: (product.sum.iter()).filter(|l| alone(l)).map(|l| restrict(l, &[i])).collect(),
            operands: vec![product.operands[i].clone()],
            repeat: 1,
        };
        if inner.peak().is_none_or(|p| p >= NARROW) {
            continue;
        }
        let mut strides = dense(&kept, i).into_iter();
        product.sum.retain(|l| !alone(l));
        for l in product.out.iter_mut().chain(&mut product.sum) {
            if l.strides[i] != 0 {
                l.strides[i] = strides.next().map_or(0, |s| s.strides[i]);
            }
        }
        product.operands[i] = tensor(inner);
    }
    product.canonical()
}

/// Computes a product of two operands as a batched matrix product, if it is a large enough one.
fn multiply<'a>(product: Product<'a>) -> Product<'a> {
    let class = |l: &Letter| (l.strides[0] != 0, l.strides[1] != 0);
    let places = |a: bool, b: bool| -> Vec<usize> {
        let all = 0..product.out.len();
        all.filter(|&p| class(&product.out[p]) == (a, b)).collect()
    };
    let letters = |places: &[usize]| -> Vec<Letter> { places.iter().map(|&p| product.out[p]).collect() };
    let batch_places = places(true, true);
    let own_places = [places(true, false), places(false, true)];
    let batch = letters(&batch_places);
    let own = [letters(&own_places[0]), letters(&own_places[1])];
    let mut sum = product.sum.clone();
    if sum.iter().any(|l| class(l) != (true, true)) {
        return product;
    }
    let (depth, rows) = (volume(&sum), [volume(&own[0]), volume(&own[1])]);
    let narrow = |i: usize| matches!(product.operands[i].data, Data::Narrow(_));
    let square = rows[0] >= 4 && rows[1] >= 4;
    let peaks = product.operands[0].peak.max(product.operands[1].peak);
    let bound = (product.operands[0].peak.checked_mul(product.operands[1].peak)).and_then(|p| p.checked_mul(depth as u128));
    // The resident side is the one with fewer cells; it is packed, the other one is not.
    let cells: Vec<usize> = own.iter().map(|own| matmul::packed_cells(&batch, own, &sum)).collect();
    let y = if rows[0] <= rows[1] { 0 } else { 1 };
    let y = if cells[y] > RESIDENT { 1 - y } else { y };
    if depth < 8 || !(square || narrow(0) || narrow(1)) || peaks >= 1 << 31 || bound.is_none_or(|b| b >= NARROW) || cells[y] > RESIDENT {
        return product;
    }
    let by_weights = |w: usize| weights::product(&product.operands, w, &batch, &own, &sum).map(|c| (w, c));
    if let Some((w, c)) = (0..2).filter(|&w| narrow(w)).find_map(by_weights) {
        let order = [&own_places[1 - w][..], &own_places[w]].concat();
        return placed(product, &order, c, bound);
    }
    let x = 1 - y;
    // Weights are read in place when the summed letters follow their layout.
    let lead = if narrow(1) { 1 } else { 0 };
    sum.sort_by_key(|l| std::cmp::Reverse(l.strides[lead]));
    let c = matmul::product(
        &matmul::Side::new(&product.operands[x], x, &batch, &own[x], &sum),
        &matmul::Side::new(&product.operands[y], y, &batch, &own[y], &sum),
        volume(&batch),
    );
    let order = [&batch_places[..], &own_places[x], &own_places[y]].concat();
    placed(product, &order, c, bound)
}

/// A computed product of two operands, `c`, dense over the output letters in the given order.
fn placed<'a>(product: Product<'a>, order: &[usize], c: Vec<i64>, bound: Option<u128>) -> Product<'a> {
    let letters: Vec<Letter> = order.iter().map(|&p| product.out[p]).collect();
    let mut out = product.out.clone();
    out.iter_mut().for_each(|l| l.strides = [0; 3]);
    for (&p, l) in order.iter().zip(dense(&letters, 0)) {
        out[p].strides = l.strides;
    }
    Product {
        out,
        sum: Vec::new(),
        operands: vec![Operand { data: Data::Wide(Cow::Owned(c)), offset: 0, peak: bound.unwrap_or(u128::MAX) }],
        repeat: product.repeat,
    }
    .canonical()
}
