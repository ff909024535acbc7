//! Several variables of a sumcheck at once: sums of products of two tables over `{0, 1, ∞}^v`, the *cube*.
//!
//! A line has its values at 0 and 1 and, at ∞, its slope; a product of two lines has at ∞ its leading coefficient. So what a product of multilinear polynomials is in `v`
//! variables follows from products of numbers at `3^v` places, without any division ([`coefficients`]). Numbers of a cube are ordered like the digits of base 3, the first
//! variable at stride 1, those of `2^v` *corners* like the digits of base 2.
//!
//! All passes run on the calling thread. Per `2^v` entries of both tables: `3^v` products.

#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(test)]
mod tests;

use ark_ff::AdditiveGroup;

use crate::small::WideAccumulator;
use crate::{Fr, limbs};

/// The cube of a multilinear polynomial with these corners.
fn extend(corners: impl Iterator<Item = Fr>, variables: usize) -> Vec<Fr> {
    let mut cube: Vec<Fr> = corners.collect();
    let mut stride = 1;
    for _ in 0..variables {
        let line = |pair: &[Fr]| {
            let (low, high) = pair.split_at(stride);
            let slopes: Vec<Fr> = low.iter().zip(high).map(|(l, h)| limbs::sub(h, l)).collect();
            [low, high, &slopes].concat()
        };
        cube = cube.chunks_exact(2 * stride).flat_map(line).collect();
        stride *= 3;
    }
    cube
}

/// `Σ_y` of the cubes of `a · b`, where `a` and `b` have for each of their `2^v` corners a vector over `y`.
///
/// # Panics
/// If the vectors are not `2^v`, or differ in length.
pub fn products(a: &[&[Fr]], b: &[&[Fr]], variables: usize) -> Vec<Fr> {
    let n = a.first().map_or(0, |x| x.len());
    assert!([a, b].iter().all(|t| t.len() == 1 << variables && t.iter().all(|x| x.len() == n)), "a vector for each corner of two tables");
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let (mut done, mut sums) = (0, vec![Fr::ZERO; 3usize.pow(variables as u32)]);
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        let whole = n / 8 * 8;
        (done, sums) = match variables {
            2 => (whole, ifma::products_2(ifma, blocks(a), blocks(b)).to_vec()),
            3 => (whole, ifma::products_3(ifma, blocks(a), blocks(b)).to_vec()),
            _ => (0, sums),
        };
    }
    let corners = |t: &[&[Fr]], y: usize| extend(t.iter().map(|x| x[y]), variables);
    add_products(&mut sums, (done..n).map(|y| (corners(a, y), corners(b, y))));
    sums
}

/// What fills vectors of each of `C` vectors.
#[cfg(target_arch = "x86_64")]
fn blocks<'a, const C: usize>(table: &[&'a [Fr]]) -> [&'a [[Fr; 8]]; C] {
    std::array::from_fn(|i| table[i].as_chunks().0)
}

/// `Σ_y weights[y]` times the cube of `a · b` at `y`, where each `2^v` consecutive entries of `a` and `b` are the corners for one `y`. Over the shortest length.
pub fn weighted_products(a: &[Fr], b: &[Fr], weights: &[Fr], variables: usize) -> Vec<Fr> {
    let corners = 1usize << variables;
    let n = (a.len().min(b.len()) >> variables).min(weights.len());
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let (mut done, mut sums) = (0, vec![Fr::ZERO; 3usize.pow(variables as u32)]);
    #[cfg(target_arch = "x86_64")]
    if n >= 8
        && let Some(ifma) = crate::ifma::Ifma::get()
    {
        let w = weights[..n].as_chunks().0;
        let whole = n / 8 * 8;
        (done, sums) = match variables {
            2 => (whole, ifma::weighted_2(ifma, a.as_chunks().0.as_chunks().0, b.as_chunks().0.as_chunks().0, w).to_vec()),
            3 => (whole, ifma::weighted_3(ifma, a.as_chunks().0.as_chunks().0, b.as_chunks().0.as_chunks().0, w).to_vec()),
            _ => (0, sums),
        };
    }
    let groups = a.chunks_exact(corners).zip(b.chunks_exact(corners)).zip(weights).take(n).skip(done);
    let scaled = |a: &[Fr], w: &Fr| extend(a.iter().map(|x| *w * x), variables);
    add_products(&mut sums, groups.map(|((a, b), w)| (scaled(a, w), extend(b.iter().copied(), variables))));
    sums
}

fn add_products(sums: &mut [Fr], pairs: impl Iterator<Item = (Vec<Fr>, Vec<Fr>)>) {
    let mut wide = vec![WideAccumulator::new(); sums.len()];
    for (a, b) in pairs {
        wide.iter_mut().zip(a.iter().zip(&b)).for_each(|(sum, (a, b))| sum.add(a, b));
    }
    sums.iter_mut().zip(wide).for_each(|(sum, wide)| *sum = limbs::add(sum, &wide.value()));
}

/// The coefficients of a polynomial of degree 2 in each variable with this cube, in the order of the cube.
///
/// # Panics
/// If the length is not a power of 3.
pub fn coefficients(mut cube: Vec<Fr>) -> Vec<Fr> {
    let mut stride = 1;
    while stride < cube.len() {
        for line in cube.chunks_exact_mut(3 * stride) {
            let (low, rest) = line.split_at_mut(stride);
            let (middle, high) = rest.split_at_mut(stride);
            for ((low, middle), high) in low.iter().zip(middle).zip(high) {
                *middle -= *low + *high;
            }
        }
        stride *= 3;
    }
    assert!(stride == cube.len(), "a power of 3");
    cube
}

/// Binds the variables of corners that are `2^v` consecutive entries, the lowest variable first: one entry is left of each group.
pub fn bind(table: &[Fr], challenges: &[Fr]) -> Vec<Fr> {
    // Π (1 − r_i) or r_i for each corner.
    let mut weights = vec![Fr::from(1u64)];
    for r in challenges {
        let upper: Vec<Fr> = weights.iter().map(|w| *w * r).collect();
        weights.iter_mut().zip(&upper).for_each(|(w, u)| *w -= u);
        weights.extend(upper);
    }
    let mut out = vec![Fr::ZERO; table.len() / weights.len()];
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "assigned for vectors only"))]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::ifma::Ifma::get() {
        match weights[..] {
            [a, b, c, d] => ifma::bind_2(ifma, table.as_chunks().0.as_chunks().0, &[a, b, c, d], out.as_chunks_mut().0),
            [a, b, c, d, e, f, g, h] => {
                ifma::bind_3(ifma, table.as_chunks().0.as_chunks().0, &[a, b, c, d, e, f, g, h], out.as_chunks_mut().0);
            }
            _ => {}
        }
        done = if matches!(weights.len(), 4 | 8) { out.len() / 8 * 8 } else { 0 };
    }
    for (out, group) in out.iter_mut().zip(table.chunks_exact(weights.len())).skip(done) {
        let mut sum = WideAccumulator::new();
        group.iter().zip(&weights).for_each(|(x, w)| sum.add(x, w));
        *out = sum.value();
    }
    out
}
