//! Weight matrices as the prover reads them: in place, whatever their width; never copied as a whole.

use crate::keys::matrix_bits;
use ark_ff::AdditiveGroup;
use rayon::prelude::*;
use zktorch_algebra::small::{Cell, combine_rows};
use zktorch_algebra::{Fr, G1Affine, msm};
use zktorch_program::{CellSlice, with_cells};

/// Cells that are widened at a time: a few rows or columns.
const BLOCK: usize = 1 << 18;

/// Lines of at least so many cells are combined in place.
const LONG_LINE: usize = 128;

/// A matrix whose every axis counts as padded with zeros to a power of two.
#[derive(Clone, Copy)]
pub(crate) struct PaddedMatrix<'a> {
    shape: &'a [usize],
    cells: CellSlice<'a>,
}

impl<'a> PaddedMatrix<'a> {
    pub(crate) fn new(shape: &'a [usize], cells: CellSlice<'a>) -> PaddedMatrix<'a> {
        PaddedMatrix { shape, cells }
    }

    /// Whether all padding comes after the cells.
    fn is_dense(&self) -> bool {
        self.shape.iter().skip(1).all(|s| s.is_power_of_two())
    }

    /// Writes the padded cells from `start` on to `to`, which holds zeros.
    fn fill(&self, start: usize, to: &mut [i64]) {
        let Some((&inner, outer)) = self.shape.split_last() else {
            return self.cells.slice(start.min(1)..1).widen(to);
        };
        let pitch = inner.next_power_of_two();
        let mut at = start;
        let end = start + to.len();
        while at < end {
            let (line, first) = (at / pitch, at % pitch);
            let next = ((line + 1) * pitch).min(end);
            if let Some(line) = dense_line(outer, line)
                && first < inner
            {
                let last = inner.min(first + next - at);
                self.cells.slice(line * inner + first..line * inner + last).widen(&mut to[at - start..]);
            }
            at = next;
        }
    }

    /// `C_i = Σ_j row_i[j]·bases[j]` for rows of `row` cells, block of rows by block of rows.
    pub(crate) fn commit_rows(&self, bases: &[G1Affine], row: usize) -> Vec<G1Affine> {
        let total = 1usize << matrix_bits(self.shape);
        let block = row * (16 * BLOCK / row).max(1);
        let mut out = Vec::with_capacity(total / row);
        if self.is_dense() {
            with_cells!(self.cells, cells => cells.chunks(block).for_each(|cells| out.extend(msm::commit_rows(bases, cells, row))));
            out.resize(total / row, G1Affine::identity());
            return out;
        }
        let mut cells = vec![0i64; block.min(total)];
        for first in (0..total).step_by(block) {
            let cells = &mut cells[..block.min(total - first)];
            cells.par_chunks_mut(BLOCK).enumerate().for_each(|(i, to)| {
                to.fill(0);
                self.fill(first + i * BLOCK, to);
            });
            out.extend(msm::commit_rows(bases, cells, row));
        }
        out
    }

    /// `Σ_i weights[i]·row_i` for rows of `row` cells.
    pub(crate) fn combine(&self, weights: &[Fr], row: usize) -> Vec<Fr> {
        if self.is_dense() {
            return with_cells!(self.cells, cells => combine_rows(|i| part(cells, i * row, row), weights, row));
        }
        if let Some((&inner, outer)) = self.shape.split_last()
            && inner >= LONG_LINE
        {
            return with_cells!(self.cells, cells => combine_lines(cells, outer, inner, weights, row));
        }
        let columns = (BLOCK / weights.len().max(1)).clamp(64, 4096);
        let block = |first: usize| {
            let width = columns.min(row - first);
            let mut cells = vec![0; width * weights.len()];
            cells.chunks_mut(width).enumerate().for_each(|(i, to)| self.fill(i * row + first, to));
            combine_rows(|i| &cells[i * width..][..width], weights, width)
        };
        let blocks: Vec<Vec<Fr>> = (0..row.div_ceil(columns)).into_par_iter().map(|b| block(b * columns)).collect();
        blocks.concat()
    }
}

/// `Σ_i weights[i]·row_i`, line by line where they are: a row has some lines, or a line has some rows.
fn combine_lines<T: Cell>(cells: &[T], outer: &[usize], inner: usize, weights: &[Fr], row: usize) -> Vec<Fr> {
    let pitch = inner.next_power_of_two();
    let width = pitch.min(row);
    let mut out = Vec::with_capacity(row);
    for first in (0..row).step_by(width) {
        let piece = |i: usize| {
            let (line, from) = ((i * row + first) / pitch, (i * row + first) % pitch);
            match dense_line(outer, line) {
                Some(line) if from < inner => &cells[line * inner + from..line * inner + inner.min(from + width)],
                _ => &[],
            }
        };
        // What all lines are padded with is zero.
        out.extend(combine_rows(piece, weights, width.min(inner)));
        out.resize(first + width, Fr::ZERO);
    }
    out
}

fn part<T>(cells: &[T], start: usize, len: usize) -> &[T] {
    let rest = cells.get(start..).unwrap_or_default();
    &rest[..len.min(rest.len())]
}

/// The line with a number among lines of padded axes, as a number among those of the axes; `None` in the padding.
fn dense_line(outer: &[usize], mut line: usize) -> Option<usize> {
    let (mut dense, mut pitch) = (0, 1);
    for &size in outer.iter().rev() {
        let padded = size.next_power_of_two();
        let i = line & (padded - 1);
        line /= padded;
        if i >= size {
            return None;
        }
        dense += i * pitch;
        pitch *= size;
    }
    Some(dense)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::CurveGroup;
    use zktorch_algebra::{G1Projective, fr_from_i64, hash_to_fr, hash_to_g1};
    use zktorch_program::MatrixCells;

    /// The padded cells by their definition.
    fn padded(shape: &[usize], values: &[i32]) -> Vec<i64> {
        let mut out = vec![0; 1 << matrix_bits(shape)];
        for (at, &v) in values.iter().enumerate() {
            let (mut rest, mut place, mut pitch) = (at, 0, 1);
            for &size in shape.iter().rev() {
                place += rest % size * pitch;
                rest /= size;
                pitch *= size.next_power_of_two();
            }
            out[place] = v.into();
        }
        out
    }

    #[test]
    fn rows_of_a_padded_matrix_are_those_of_its_padded_copy() {
        let bases: Vec<G1Affine> = (0..512u16).map(|i| hash_to_g1(&i.to_le_bytes())).collect();
        for shape in [&[][..], &[5], &[8], &[3, 5], &[6, 8], &[8, 8], &[3, 2, 3], &[5, 1, 4], &[2, 70], &[3, 130], &[2, 3, 129]] {
            for bits in [7, 15, 30] {
                let len = shape.iter().product::<usize>();
                let values: Vec<i32> = (0..len as i32).map(|i| (i * 7919 % 251 - 125) << (bits - 7)).collect();
                let cells = MatrixCells::narrowest(&values);
                let matrix = PaddedMatrix::new(shape, cells.view());
                let expected = padded(shape, &values);
                for row in [1, 2, 8, 64, 512].into_iter().filter(|r| *r <= expected.len()) {
                    let weights: Vec<Fr> = (0..expected.len() / row).map(|i| hash_to_fr(&i.to_le_bytes())).collect();
                    let mut sums = vec![Fr::ZERO; row];
                    let mut commitments = Vec::new();
                    for (cells, w) in expected.chunks(row).zip(&weights) {
                        sums.iter_mut().zip(cells).for_each(|(s, c)| *s += *w * fr_from_i64(*c));
                        let sum: G1Projective = bases.iter().zip(cells).map(|(b, c)| *b * fr_from_i64(*c)).sum();
                        commitments.push(sum.into_affine());
                    }
                    assert_eq!(matrix.combine(&weights, row), sums, "{shape:?}, rows of {row}");
                    assert_eq!(matrix.commit_rows(&bases, row), commitments, "{shape:?}, rows of {row}");
                }
            }
        }
    }
}
