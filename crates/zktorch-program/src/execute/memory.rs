//! The vectors that steps read and write.

use super::product::Data;
use crate::program::{Parameters, Program};
use crate::view::{Source, View};
use crate::witness::Witness;
use rayon::prelude::*;
use std::borrow::Cow;

/// Heap and public tensors under construction, beside the fixed vectors.
pub(crate) struct Memory<'a> {
    pub(crate) program: &'a Program,
    parameters: &'a Parameters,
    pub(crate) heap: Vec<i64>,
    pub(crate) publics: Vec<Vec<i64>>,
    written: Vec<Vec<bool>>,
}

impl<'a> Memory<'a> {
    /// Zeroed vectors for a valid program.
    pub(crate) fn new(program: &'a Program, parameters: &'a Parameters) -> Memory<'a> {
        let lengths = program.publics.iter().map(|p| p.shape.iter().product::<usize>());
        Memory {
            program,
            parameters,
            heap: vec![0; program.witness_len()],
            publics: lengths.clone().map(|n| vec![0; n]).collect(),
            written: lengths.map(|n| vec![false; n]).collect(),
        }
    }

    /// The vectors of a finished witness.
    pub(crate) fn of(program: &'a Program, parameters: &'a Parameters, witness: Witness) -> Memory<'a> {
        Memory { program, parameters, heap: witness.heap, publics: witness.publics, written: Vec::new() }
    }

    /// The cells of a source; offsets of views count from its start.
    pub(crate) fn data(&self, source: Source) -> Data<'_> {
        Data::Wide(Cow::Borrowed(match source {
            Source::Region(r) => {
                let r = &self.program.regions[r.0 as usize];
                &self.heap[r.base..r.base + r.len]
            }
            Source::Params => &self.parameters.heap,
            Source::Constant(c) => &self.program.constants[c.0 as usize].values,
            Source::Public(p) => &self.publics[p.0 as usize],
            Source::Matrix(m) => return Data::Narrow(self.parameters.matrices[m.0 as usize].view()),
        }))
    }

    /// The dense cells of a matrix.
    #[cfg(test)]
    pub(crate) fn matrix(&self, m: crate::view::MatrixId) -> crate::cells::CellSlice<'_> {
        self.parameters.matrices[m.0 as usize].view()
    }

    /// A bound of the absolute values of the cells that the view reads, at least 1.
    pub(crate) fn peak(&self, view: &View) -> u128 {
        let peak = match self.data(view.source) {
            Data::Narrow(_) => {
                let Source::Matrix(m) = view.source else { unreachable!("only matrices are narrow") };
                let m = &self.program.matrices[m.0 as usize];
                m.lo.unsigned_abs().max(m.hi.unsigned_abs())
            }
            Data::Wide(cells) => {
                // Scan the run of cells from the first to the last, unless the window touches only few of them.
                let run = view.end() - view.offset;
                let touched: usize = (view.axes.iter()).filter(|a| a.stride != 0).map(|a| a.size).product();
                if touched < run / 4 {
                    let mut distinct = view.clone();
                    distinct.axes.retain(|a| a.stride != 0);
                    let mut peak = 0;
                    distinct.for_each(|c| peak = peak.max(cells[c].unsigned_abs()));
                    peak
                } else {
                    cells[view.offset..view.end()]
                        .par_chunks(1 << 16)
                        .map(|c| c.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0))
                        .max()
                        .unwrap_or(0)
                }
            }
        };
        peak.max(1) as u128
    }

    /// The elements of a view, row-major.
    pub(crate) fn read(&self, view: &View) -> Cow<'_, [i64]> {
        match self.data(view.source) {
            Data::Narrow(cells) => {
                let mut out = Vec::with_capacity(view.len());
                view.for_each(|c| out.push(cells.get(c)));
                Cow::Owned(out)
            }
            Data::Wide(Cow::Borrowed(cells)) if view.is_contiguous() => Cow::Borrowed(&cells[view.offset..view.end()]),
            Data::Wide(cells) => {
                let mut out = Vec::with_capacity(view.len());
                view.for_each(|c| out.push(cells[c]));
                Cow::Owned(out)
            }
        }
    }

    /// The cells of contiguous views of regions that do not overlap, to be written; nothing for other views.
    pub(crate) fn in_place(&mut self, views: &[&View]) -> Option<Vec<&mut [i64]>> {
        let mut places = Vec::with_capacity(views.len());
        for (i, view) in views.iter().enumerate() {
            let Source::Region(r) = view.source else { return None };
            let start = self.program.regions[r.0 as usize].base + view.offset;
            places.push((start, view.len(), i));
            if !view.is_contiguous() {
                return None;
            }
        }
        places.sort_unstable();
        let (mut rest, mut at) = (&mut self.heap[..], 0);
        let mut found = Vec::with_capacity(views.len());
        for (start, len, i) in places {
            let (cells, tail) = rest.split_at_mut_checked(start.checked_sub(at)?)?.1.split_at_mut_checked(len)?;
            found.push((i, cells));
            (rest, at) = (tail, start + len);
        }
        found.sort_unstable_by_key(|(i, _)| *i);
        Some(found.into_iter().map(|(_, cells)| cells).collect())
    }

    /// Writes the elements of a view of a region or a public tensor, row-major.
    pub(crate) fn write(&mut self, view: &View, values: &[i64]) {
        let cells = match view.source {
            Source::Region(r) => {
                let r = &self.program.regions[r.0 as usize];
                &mut self.heap[r.base..r.base + r.len]
            }
            Source::Public(p) => {
                let written = &mut self.written[p.0 as usize];
                view.for_each(|c| written[c] = true);
                &mut self.publics[p.0 as usize]
            }
            Source::Params | Source::Matrix(_) | Source::Constant(_) => {
                unreachable!("destinations were checked before the first step")
            }
        };
        if view.is_contiguous() {
            cells[view.offset..view.offset + values.len()].copy_from_slice(values);
        } else {
            let mut values = values.iter();
            view.for_each(|c| {
                if let Some(&v) = values.next() {
                    cells[c] = v;
                }
            });
        }
    }

    /// The first public tensor, and its first cell, that no step has written.
    pub(crate) fn unwritten(&self) -> Option<(usize, usize)> {
        let mut all = self.written.iter().enumerate();
        all.find_map(|(p, w)| w.iter().position(|w| !w).map(|c| (p, c)))
    }
}
