//! Results with zeros around them: what a convolution or a pooling reads beside its argument.
//!
//! A tensor `[…, n_1, …, n_r]` is laid out with gaps of `g_d = max(before_d, after_d)` zeros behind each of the last axes, so that the gap behind
//! one row is also the one before the next: axis `d` has the stride `Π_{e > d} (n_e + g_e)`, and `Σ_d before_d·stride_d` zeros precede everything. The
//! tensor and its surroundings are views of the same cells, where a copy would take `Π_d (before_d + n_d + after_d)` new ones per channel. Every cell of the
//! gaps is forced to zero by an identity.

use super::{BlockError, Lowering};
use crate::tensor::QTensor;
use zktorch_program::{Axis, Source, Table, TableId, View};

/// Zeros that a result needs around its last axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Margin {
    /// Cells before and behind each of the last axes.
    pub pads: Vec<(usize, usize)>,
    /// Cells that the copies would take that the margin makes unnecessary.
    pub copied: usize,
}

/// A tensor with zeros around its last axes.
#[derive(Clone, Debug)]
pub(crate) struct Surrounded {
    source: Source,
    offset: usize,
    space: Vec<Axis>,
    pads: Vec<(usize, usize)>,
}

/// Where the cells of a tensor with gaps are.
struct Layout {
    /// The tensor's axes.
    axes: Vec<Axis>,
    /// Zeros before the first element.
    first: usize,
    /// All cells.
    total: usize,
}

impl Layout {
    fn of(shape: &[usize], pads: &[(usize, usize)]) -> Layout {
        let lead = shape.len() - pads.len();
        let mut axes = vec![Axis { size: 1, stride: 1 }; shape.len()];
        let (mut stride, mut first) = (1, 0);
        for d in (0..shape.len()).rev() {
            axes[d] = Axis { size: shape[d], stride };
            let gap = d.checked_sub(lead).map_or(0, |e| pads[e].0.max(pads[e].1));
            first += d.checked_sub(lead).map_or(0, |e| pads[e].0 * stride);
            stride *= shape[d] + gap;
        }
        Layout { axes, first, total: first + stride }
    }
}

impl Lowering {
    /// New cells of a function or range table for a result: with the margin that was asked for, if the cells of the gaps cost less than copies.
    pub(super) fn result_cells(&mut self, node: &str, table: TableId, shape: &[usize]) -> Vec<View> {
        let Some(margin) = self.margin.take().filter(|m| m.pads.len() < shape.len()) else {
            return self.builder.column_cells(table, shape);
        };
        let layout = Layout::of(shape, &margin.pads);
        let columns = self.builder.table_ref(table).columns();
        // A cell costs 5, a lookup 4: see `economy::cost`.
        let gaps = (layout.total - shape.iter().product::<usize>()) * (5 * columns + 4);
        if gaps >= 5 * margin.copied || !keeps_zero(self.builder.table_ref(table)) {
            return self.builder.column_cells(table, shape);
        }
        let all = self.builder.column_cells(table, &[layout.total]);
        self.clear_gaps(node, table, &all, &layout, margin.pads.len());
        let space = layout.axes[shape.len() - margin.pads.len()..].to_vec();
        let views = all.into_iter().map(|v| View { source: v.source, offset: v.offset + layout.first, axes: layout.axes.clone() });
        let views: Vec<View> = views.collect();
        for v in &views {
            self.surrounded.push(Surrounded { source: v.source, offset: v.offset, space: space.clone(), pads: margin.pads.clone() });
        }
        views
    }

    /// Identities that make all cells of the first column but the tensor's zero; the table does the same to the other columns.
    fn clear_gaps(&mut self, node: &str, table: TableId, all: &[View], layout: &Layout, rank: usize) {
        let at = |offset: usize, axes: Vec<Axis>| -> Vec<View> {
            all.iter().map(|v| View { source: v.source, offset: v.offset + offset, axes: axes.clone() }).collect()
        };
        let mut gaps = Vec::new();
        if layout.first > 0 {
            gaps.push(at(0, vec![Axis { size: layout.first, stride: 1 }]));
        }
        let lead = layout.axes.len() - rank;
        for d in lead..layout.axes.len() {
            // Axes before this one run over the elements; what lies behind the last element is a run of cells.
            let Axis { size, stride } = layout.axes[d];
            let pitch = d.checked_sub(1).map_or(layout.total - layout.first, |before| layout.axes[before].stride);
            if pitch > size * stride {
                let mut axes = layout.axes[..d].to_vec();
                axes.push(Axis { size: pitch - size * stride, stride: 1 });
                gaps.push(at(layout.first + size * stride, axes));
            }
        }
        for columns in gaps {
            let sizes = columns[0].shape();
            self.builder.assign_into(node, &sizes, sizes.len(), Vec::new(), &columns[0], 0, 0);
            if columns.len() > 1 {
                self.builder.apply(node, table, &columns);
            }
        }
    }

    /// The tensor with `pads` zeros around its last axes, if these cells exist.
    pub(crate) fn with_margin(&self, q: &QTensor, pads: &[(usize, usize)]) -> Option<QTensor> {
        let found = self.surrounded.iter().find(|s| {
            let lead = q.view.axes.len().checked_sub(s.space.len());
            s.source == q.view.source && s.offset == q.view.offset && lead.is_some_and(|l| q.view.axes[l..] == s.space)
        })?;
        let lead = q.view.axes.len() - found.space.len();
        let none = |p: &(usize, usize)| *p == (0, 0);
        let (outer, inner) = pads.split_at_checked(lead)?;
        let covered = inner.iter().zip(&found.pads).all(|(want, have)| want.0 <= have.0 && want.1 <= have.1);
        if !covered || !outer.iter().all(none) || q.lo > 0 || q.hi < 0 {
            return None;
        }
        let mut view = q.view.clone();
        for (axis, (before, after)) in view.axes[lead..].iter_mut().zip(inner) {
            view.offset -= before * axis.stride;
            axis.size += before + after;
        }
        Some(QTensor { view, ..q.clone() })
    }

    /// Runs a block whose result is to have a margin.
    pub(crate) fn surrounding(
        &mut self,
        margin: Option<Margin>,
        block: impl FnOnce(&mut Lowering) -> Result<QTensor, BlockError>,
    ) -> Result<QTensor, BlockError> {
        self.margin = margin;
        let result = block(self);
        self.margin = None;
        result
    }
}

/// Whether 0 is in the table and all its columns are 0 there.
fn keeps_zero(table: &Table) -> bool {
    match table {
        Table::Range { lo, bits } => *lo <= 0 && -lo < 1 << bits,
        Table::Function { lo, outputs, .. } => {
            usize::try_from(-lo).is_ok_and(|zero| outputs.iter().all(|column| column.get(zero) == Some(&0)))
        }
        Table::Rows { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_channels_share_their_gaps() {
        let layout = Layout::of(&[2, 3, 3], &[(1, 1), (1, 1)]);
        assert_eq!(layout.axes.iter().map(|a| a.stride).collect::<Vec<_>>(), [16, 4, 1]);
        assert_eq!((layout.first, layout.total), (5, 37));
    }

    #[test]
    fn gaps_and_elements_are_all_cells_and_disjoint() {
        for (shape, pads) in [(vec![2, 3, 3], vec![(1, 1), (1, 1)]), (vec![1, 3, 4, 2], vec![(2, 1), (0, 3)]), (vec![2, 4], vec![(0, 1)])] {
            let mut ctx = Lowering::new();
            let table = ctx.builder.range_table(-8, 4);
            let copied = 1 << 20;
            ctx.margin = Some(Margin { pads: pads.clone(), copied });
            let view = ctx.result_cells("t", table, &shape).swap_remove(0);
            let built = ctx.builder.finish(None);
            let mut seen = vec![0; built.program.regions[0].len];
            view.for_each(|c| seen[c] += 1);
            for identity in &built.program.identities {
                assert_eq!(identity.terms.len(), 1);
                identity.terms[0].factors[0].view.for_each(|c| seen[c] += 1);
            }
            assert!(seen.iter().all(|n| *n == 1), "{shape:?} {pads:?}: {seen:?}");
        }
    }
}
