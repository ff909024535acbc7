//! Which cells of a region a set of views touches.

use crate::view::View;

/// A set of cells `0..len`.
#[derive(Clone, Debug)]
pub(crate) enum Cover {
    /// No cell.
    Empty,
    /// Some cells, one bit each.
    Some(Vec<u64>),
    /// All cells.
    Full,
}

/// `bits |= bits << by`, keeping the length.
fn or_shifted(bits: &mut [u64], by: usize) {
    let (words, rest) = (by / 64, by % 64);
    for i in (words..bits.len()).rev() {
        let mut moved = bits[i - words] << rest;
        if rest > 0 && i > words {
            moved |= bits[i - words - 1] >> (64 - rest);
        }
        bits[i] |= moved;
    }
}

fn fill(bits: &mut [u64], from: usize, to: usize) {
    for (i, word) in bits.iter_mut().enumerate().take(to.div_ceil(64)) {
        let lo = from.saturating_sub(i * 64).min(64);
        let hi = to.saturating_sub(i * 64).min(64);
        if lo < hi {
            let ones = if hi - lo == 64 { u64::MAX } else { ((1u64 << (hi - lo)) - 1) << lo };
            *word |= ones;
        }
    }
}

/// The cells that a valid view touches. Takes time proportional to the extent of the view, not to its number of indices, which may be
/// much larger.
fn touched(view: &View) -> Vec<u64> {
    let end = view.end();
    let mut bits = vec![0u64; end.div_ceil(64)];
    let mut axes: Vec<_> = (view.axes.iter()).filter(|a| a.size > 1 && a.stride > 0).collect();
    axes.sort_by_key(|a| a.stride);
    // Axes whose windows meet make one run of cells.
    let mut run = 1;
    let mut outer = 0;
    for a in &axes {
        if a.stride > run {
            break;
        }
        run += (a.size - 1) * a.stride;
        outer += 1;
    }
    fill(&mut bits, view.offset, view.offset + run);
    for a in &axes[outer..] {
        // `reached` indices are covered; double until all are.
        let mut reached = 1;
        while reached < a.size {
            let more = reached.min(a.size - reached);
            or_shifted(&mut bits, more * a.stride);
            reached += more;
        }
    }
    bits
}

fn count(bits: &[u64]) -> usize {
    bits.iter().map(|w| w.count_ones() as usize).sum()
}

impl Cover {
    /// Adds the cells of a view; returns how many are new. `len` is the number of cells of the region.
    pub(crate) fn add(&mut self, view: &View, len: usize) -> usize {
        if view.offset == 0 && view.is_contiguous() && view.len() == len {
            let before = self.count(len);
            *self = Cover::Full;
            return len - before;
        }
        let bits = match self {
            Cover::Full => return 0,
            Cover::Empty => {
                *self = Cover::Some(vec![0; len.div_ceil(64)]);
                return self.add(view, len);
            }
            Cover::Some(bits) => bits,
        };
        let mut new = 0;
        for (word, t) in bits.iter_mut().zip(touched(view)) {
            new += (t & !*word).count_ones() as usize;
            *word |= t;
        }
        if count(bits) == len {
            *self = Cover::Full;
        }
        new
    }

    /// Whether every cell of the view is in the set.
    pub(crate) fn contains(&self, view: &View) -> bool {
        match self {
            Cover::Full => true,
            Cover::Empty => false,
            Cover::Some(bits) => touched(view).iter().zip(bits).all(|(t, b)| t & !b == 0),
        }
    }

    /// Whether some cell of the view is in the set.
    pub(crate) fn meets(&self, view: &View) -> bool {
        match self {
            Cover::Full => true,
            Cover::Empty => false,
            Cover::Some(bits) => touched(view).iter().zip(bits).any(|(t, b)| t & b != 0),
        }
    }

    /// Number of cells.
    pub(crate) fn count(&self, len: usize) -> usize {
        match self {
            Cover::Full => len,
            Cover::Empty => 0,
            Cover::Some(bits) => count(bits),
        }
    }

    /// The first cell that is not in the set.
    pub(crate) fn first_missing(&self, len: usize) -> Option<usize> {
        match self {
            Cover::Full => None,
            Cover::Empty => Some(0),
            Cover::Some(bits) => {
                let word = bits.iter().position(|&w| w != u64::MAX)?;
                let cell = word * 64 + bits[word].trailing_ones() as usize;
                (cell < len).then_some(cell)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Axis, Source};

    #[test]
    fn the_touched_cells_are_those_of_the_view() {
        let axes = |list: &[(usize, usize)]| -> Vec<Axis> { list.iter().map(|&(size, stride)| Axis { size, stride }).collect() };
        for (offset, axes) in [
            (0, axes(&[])),
            (5, axes(&[(7, 1)])),
            (63, axes(&[(2, 1)])),
            (1, axes(&[(3, 64), (4, 3)])),
            (2, axes(&[(5, 9), (5, 1), (3, 9), (3, 1)])),
            (0, axes(&[(13, 5), (6, 0), (11, 7)])),
            (0, axes(&[(1, 1000), (130, 1)])),
            (9, axes(&[(33, 2), (9, 200)])),
        ] {
            let view = View { source: Source::Params, offset, axes };
            let mut expected: Vec<usize> = view.cells();
            expected.sort_unstable();
            expected.dedup();
            let bits = touched(&view);
            let got: Vec<usize> = (0..bits.len() * 64).filter(|c| bits[c / 64] >> (c % 64) & 1 == 1).collect();
            assert_eq!(got, expected, "{view:?}");
        }
    }

    #[test]
    fn covers_add_up() {
        let view = |offset, size, stride| View { source: Source::Params, offset, axes: vec![Axis { size, stride }] };
        let mut cover = Cover::Empty;
        assert_eq!(cover.add(&view(0, 50, 2), 100), 50);
        assert!(cover.contains(&view(10, 5, 4)) && !cover.contains(&view(10, 5, 3)));
        assert!(cover.meets(&view(9, 2, 1)) && !cover.meets(&view(1, 49, 2)));
        assert_eq!(cover.first_missing(100), Some(1));
        assert_eq!(cover.add(&view(1, 49, 2), 100), 49);
        assert_eq!(cover.first_missing(100), Some(99));
        assert_eq!(cover.add(&view(90, 10, 1), 100), 1);
        assert!(matches!(cover, Cover::Full));
    }
}
