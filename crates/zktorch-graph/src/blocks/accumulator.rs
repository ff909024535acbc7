//! Sums and products that are no cells yet, with exact interval bounds.

use super::BlockError;
use crate::tensor::{Accumulator, Format, QTensor};
use std::borrow::Cow;
use zktorch_program::{Factor, Term, View};

/// The closed interval of `coeff · Π factors` summed over `repeat` indices.
fn product_interval(coeff: i128, repeat: usize, factors: impl Iterator<Item = (i128, i128)>) -> (i128, i128) {
    let (mut lo, mut hi) = (1i128, 1i128);
    for (a, b) in factors {
        let c = [lo.saturating_mul(a), lo.saturating_mul(b), hi.saturating_mul(a), hi.saturating_mul(b)];
        lo = c.into_iter().fold(i128::MAX, i128::min);
        hi = c.into_iter().fold(i128::MIN, i128::max);
    }
    let k = coeff.saturating_mul(repeat as i128);
    let (a, b) = (lo.saturating_mul(k), hi.saturating_mul(k));
    (a.min(b), a.max(b))
}

impl Format {
    /// Smallest integer: `-2^(bits-1)`.
    pub(crate) fn lo(&self) -> i64 {
        -(1i64 << (self.bits - 1))
    }
    /// Largest integer: `2^(bits-1) - 1`.
    pub(crate) fn hi(&self) -> i64 {
        (1i64 << (self.bits - 1)) - 1
    }
}

impl Accumulator {
    /// The constant 0 of a shape.
    pub(crate) fn zero(shape: &[usize], scale: i32) -> Accumulator {
        Accumulator { sizes: shape.to_vec(), outputs: shape.len(), terms: Vec::new(), scale, lo: 0, hi: 0 }
    }

    /// A tensor as it is; costs nothing, and blocks recognise it as cells that exist already.
    pub(crate) fn of(x: &QTensor) -> Accumulator {
        let sizes = x.shape();
        let mut acc = Accumulator::zero(&sizes, x.scale);
        let letters: Vec<u8> = (0..sizes.len() as u8).collect();
        acc.push(1, &[(x, &letters)]);
        acc
    }

    /// `coeff · Σ_{contraction letters} Π factors[letters]` over letters of the given sizes, of which the first `outputs` are the axes of
    /// the result; the scale is the sum of the factors' scales.
    pub(crate) fn contraction(coeff: i128, sizes: &[usize], outputs: usize, factors: &[(&QTensor, &[u8])]) -> Accumulator {
        let scale = factors.iter().map(|(x, _)| x.scale).sum();
        let mut acc = Accumulator { sizes: sizes.to_vec(), outputs, terms: Vec::new(), scale, lo: 0, hi: 0 };
        acc.push(coeff, factors);
        acc
    }

    /// Adds one term over the letters of this accumulator. The caller answers for the term's scale.
    pub(crate) fn push(&mut self, coeff: i128, factors: &[(&QTensor, &[u8])]) {
        let mut contracted: Vec<u8> = factors.iter().flat_map(|(_, l)| l.iter().copied()).filter(|&l| l as usize >= self.outputs).collect();
        contracted.sort_unstable();
        contracted.dedup();
        let repeat = contracted.iter().map(|&l| self.sizes[l as usize]).product();
        let (lo, hi) = product_interval(coeff, repeat, factors.iter().map(|(x, _)| (x.lo as i128, x.hi as i128)));
        self.lo = self.lo.saturating_add(lo);
        self.hi = self.hi.saturating_add(hi);
        self.terms.push(Term {
            coeff,
            factors: factors.iter().map(|(x, letters)| Factor { view: x.view.clone(), letters: letters.to_vec() }).collect(),
        });
    }

    /// Adds an integer (at the accumulator's scale) to every element.
    pub(crate) fn add_constant(&mut self, c: i128) {
        if c != 0 {
            self.terms.push(Term::constant(c));
            self.lo = self.lo.saturating_add(c);
            self.hi = self.hi.saturating_add(c);
        }
    }

    /// Every element times an integer; the scale stays.
    pub(crate) fn times(mut self, c: i128) -> Accumulator {
        for t in &mut self.terms {
            t.coeff = t.coeff.saturating_mul(c);
        }
        let (a, b) = (self.lo.saturating_mul(c), self.hi.saturating_mul(c));
        (self.lo, self.hi) = (a.min(b), a.max(b));
        self
    }

    /// The same real values at a scale that is not coarser.
    pub(crate) fn rescaled(self, scale: i32) -> Accumulator {
        let up = scale - self.scale;
        debug_assert!((0..100).contains(&up), "rescaling to {up} more bits");
        let mut acc = self.times(1i128 << up.clamp(0, 100));
        acc.scale = scale;
        acc
    }

    /// The same real values at this scale or a finer one.
    pub(crate) fn at_least(&self, scale: i32) -> Cow<'_, Accumulator> {
        match self.scale < scale {
            true => Cow::Owned(self.clone().rescaled(scale)),
            false => Cow::Borrowed(self),
        }
    }

    /// `a + sign·b` for accumulators over the same output letters; contraction letters of `b` are renamed. The scale is the finer one.
    pub(crate) fn plus(self, sign: i128, b: Accumulator) -> Accumulator {
        debug_assert_eq!(self.sizes[..self.outputs], b.sizes[..b.outputs]);
        let scale = self.scale.max(b.scale);
        let mut a = self.rescaled(scale);
        let b = b.rescaled(scale).times(sign);
        let shift = (a.sizes.len() - a.outputs) as u8;
        let outputs = b.outputs as u8;
        a.sizes.extend_from_slice(&b.sizes[b.outputs..]);
        a.terms.extend(b.terms.into_iter().map(|mut t| {
            for f in &mut t.factors {
                for l in &mut f.letters {
                    if *l >= outputs {
                        *l += shift;
                    }
                }
            }
            t
        }));
        a.lo = a.lo.saturating_add(b.lo);
        a.hi = a.hi.saturating_add(b.hi);
        a
    }

    /// Shape of the result.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.sizes[..self.outputs]
    }

    /// The tensor itself, if the accumulator is nothing but a tensor (see [`Accumulator::of`]).
    pub(crate) fn as_tensor(&self) -> Option<QTensor> {
        let [term] = self.terms.as_slice() else {
            return None;
        };
        let [factor] = term.factors.as_slice() else {
            return None;
        };
        let plain =
            term.coeff == 1 && factor.letters.len() == self.outputs && factor.letters.iter().enumerate().all(|(i, &l)| i == l as usize);
        plain.then(|| QTensor { view: factor.view.clone(), scale: self.scale, lo: self.lo as i64, hi: self.hi as i64 })
    }

    /// Elementwise `a·b` with ONNX broadcasting; scales add.
    pub(crate) fn product(node: &str, a: &QTensor, b: &QTensor) -> Result<Accumulator, BlockError> {
        let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
        let letters: Vec<u8> = (0..shape.len() as u8).collect();
        let a = broadcast_to(node, a, &shape)?;
        let b = broadcast_to(node, b, &shape)?;
        Ok(Accumulator::contraction(1, &shape, shape.len(), &[(&a, &letters), (&b, &letters)]))
    }

    /// Elementwise `a + sign·b` with ONNX broadcasting; the scale is the finer one.
    pub(crate) fn sum(node: &str, a: &QTensor, sign: i128, b: &QTensor) -> Result<Accumulator, BlockError> {
        let shape = broadcast_shape(node, &a.shape(), &b.shape())?;
        let a = Accumulator::of(&broadcast_to(node, a, &shape)?);
        let b = Accumulator::of(&broadcast_to(node, b, &shape)?);
        Ok(a.plus(sign, b))
    }
}

/// The shape that two shapes broadcast to (ONNX rules: aligned at the last axis, sizes equal or 1).
pub(crate) fn broadcast_shape(node: &str, a: &[usize], b: &[usize]) -> Result<Vec<usize>, BlockError> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], d: usize| (d + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|d| match (at(a, d), at(b, d)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => {
                Err(BlockError::Shape { node: node.to_string(), what: "operands do not broadcast", expected: a.to_vec(), got: b.to_vec() })
            }
        })
        .collect()
}

/// The tensor as a view of the given shape: missing and size-1 axes get stride 0.
pub(crate) fn broadcast_to(node: &str, x: &QTensor, shape: &[usize]) -> Result<QTensor, BlockError> {
    let own = x.shape();
    let fits = own.len() <= shape.len() && own.iter().rev().zip(shape.iter().rev()).all(|(&a, &b)| a == b || a == 1);
    if !fits {
        return Err(BlockError::Shape { node: node.to_string(), what: "operand does not broadcast", expected: shape.to_vec(), got: own });
    }
    let missing = shape.len() - own.len();
    let axes = shape
        .iter()
        .enumerate()
        .map(|(d, &size)| {
            let stride = match d.checked_sub(missing) {
                Some(i) if own[i] == size => x.view.axes[i].stride,
                _ => 0,
            };
            zktorch_program::Axis { size, stride }
        })
        .collect();
    let view = View { source: x.view.source, offset: x.view.offset, axes };
    Ok(QTensor { view, ..x.clone() })
}
