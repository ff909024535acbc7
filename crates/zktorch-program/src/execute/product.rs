//! One term of a sum in canonical form: letters of size 1 dropped, neighbouring letters merged where the strides allow it.

use crate::cells::CellSlice;
use std::borrow::Cow;

/// The integers a factor reads.
#[derive(Clone, Debug)]
pub(crate) enum Data<'a> {
    /// 64-bit cells: heap, parameter heap, constants, public tensors, intermediate results.
    Wide(Cow<'a, [i64]>),
    /// Narrow cells: parameter matrices.
    Narrow(CellSlice<'a>),
}

/// A factor: its cells, and where its window starts.
#[derive(Clone, Debug)]
pub(crate) struct Operand<'a> {
    pub(crate) data: Data<'a>,
    pub(crate) offset: usize,
    /// No cell that the window reads exceeds this in absolute value; at least 1, so that products of peaks bound partial products too.
    pub(crate) peak: u128,
}

/// An index and the distance in cells that it moves each operand by (0 where it does not occur).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) size: usize,
    pub(crate) strides: [usize; 3],
}

/// `repeat · Σ_{sum letters} Π operands`, for all `out` letters (row-major).
#[derive(Clone, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) out: Vec<Letter>,
    pub(crate) sum: Vec<Letter>,
    pub(crate) operands: Vec<Operand<'a>>,
    pub(crate) repeat: i64,
}

pub(crate) fn volume(letters: &[Letter]) -> usize {
    letters.iter().map(|l| l.size).product()
}

/// Offsets of all combinations of the letters for operand `i`, row-major.
pub(crate) fn offsets(letters: &[Letter], i: usize) -> Vec<usize> {
    let mut all = vec![0usize];
    for l in letters {
        all = all.iter().flat_map(|&base| (0..l.size).map(move |j| base + j * l.strides[i])).collect();
    }
    all
}

/// Gives the letters row-major strides for operand `i`; all other strides become 0.
pub(crate) fn dense(letters: &[Letter], i: usize) -> Vec<Letter> {
    let mut stride = 1;
    let mut all: Vec<Letter> = letters
        .iter()
        .rev()
        .map(|l| {
            let mut strides = [0; 3];
            strides[i] = stride;
            stride *= l.size;
            Letter { size: l.size, strides }
        })
        .collect();
    all.reverse();
    all
}

fn merge(letters: &mut Vec<Letter>) {
    let mut merged: Vec<Letter> = Vec::with_capacity(letters.len());
    for l in letters.iter().filter(|l| l.size != 1) {
        match merged.last_mut() {
            Some(outer) if (0..3).all(|i| outer.strides[i] == l.strides[i] * l.size) => {
                outer.size *= l.size;
                outer.strides = l.strides;
            }
            _ => merged.push(*l),
        }
    }
    *letters = merged;
}

impl Product<'_> {
    /// Brings the letters into canonical form. The row-major order of the outputs stays.
    pub(crate) fn canonical(mut self) -> Self {
        merge(&mut self.out);
        let repeated = self.sum.iter().filter(|l| l.strides == [0; 3]);
        self.repeat *= repeated.map(|l| l.size as i64).product::<i64>();
        self.sum.retain(|l| l.strides != [0; 3]);
        self.sum.sort_by_key(|l| std::cmp::Reverse(l.strides));
        merge(&mut self.sum);
        self
    }

    /// Upper bound of the absolute value of every output, `None` beyond 2^127.
    pub(crate) fn peak(&self) -> Option<u128> {
        let volume = (volume(&self.sum) as u128).checked_mul(self.repeat.unsigned_abs() as u128)?;
        let peak = self.operands.iter().try_fold(volume, |v, o| v.checked_mul(o.peak))?;
        (peak < 1 << 127).then_some(peak)
    }
}
