//! Where each lookup and each table row sits among the leaves of the fraction tree.
//!
//! A *block* is a run of `2^bits` leaves that begins at a multiple of its size, so that the extension of the leaves splits over the blocks:
//! `f̃(r) = Σ_b eq(r_hi, b) · f̃_b(r_lo)`. Blocks are sorted by size, largest first, and follow each other without gaps.
//!
//! A lookup whose sites form a single axis is cut into pieces of power-of-two size, the last one padded; any other lookup is one block with
//! every axis padded to a power of two, and so are the parts of a virtual region, whose axes are letters of an identity. A table is one block.
//!
//! What a block of sites has outside of its box looks up the first row of its table, which both parties know how often: then all numerators of the block are 1.
//! Outside of other boxes, of blocks of sites of a table of rows, and past the last block leaves hold the fraction `0/1`.

use crate::claims::index_bits;
use crate::error::VerifyError;
use std::cmp::Reverse;
use zktorch_program::{Program, Source, Table, View, VirtualBlocks};

/// Largest logarithm of the number of leaves: far above any model, far below any overflow.
const MAX_BITS: usize = 40;
/// Padding that is always accepted in a cut lookup, in leaves: less than what one more piece costs.
const FREE_PADDING: usize = 64;

/// The sites that one column of a block reads: `source[offset + Σ_d strides[d] · i_d]`, with the offset counted as in the lookup's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// First cell.
    pub offset: usize,
    /// Stride of each axis of the block's box.
    pub strides: Vec<usize>,
}

/// What a block holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The fractions `1/(α − fp_i)` for the sites `i` of a box.
    Sites {
        /// Index of the lookup.
        lookup: usize,
        /// Sizes of the box, outermost first.
        sizes: Vec<usize>,
        /// Where on an axis of its lookup a box begins that is a part of a virtual region.
        part: (usize, usize),
        /// One window per column of the lookup.
        windows: Vec<Window>,
    },
    /// The fractions `−m_j/(α − fp_j)` for the rows `j` of a table.
    Rows {
        /// Index of the table.
        table: usize,
        /// Number of rows.
        len: usize,
    },
}

/// A run of `2^bits` leaves, aligned to its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// First leaf, a multiple of `2^bits`.
    pub start: usize,
    /// log2 of the number of leaves.
    pub bits: usize,
    /// What it holds.
    pub content: Content,
}

impl Block {
    /// Sizes of the box of leaves in use; the block has `⌈log2 size⌉` bits for each, outermost first.
    pub fn sizes(&self) -> &[usize] {
        match &self.content {
            Content::Sites { sizes, .. } => sizes,
            Content::Rows { len, .. } => std::slice::from_ref(len),
        }
    }
}

/// The leaves of the fraction tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Blocks in the order of their leaves.
    pub blocks: Vec<Block>,
    /// log2 of the number of leaves; at least 1.
    pub bits: usize,
    /// Number of leaves in blocks.
    pub used: usize,
    /// For each table the number of leaves outside of boxes that look up its first row.
    pub padding: Vec<usize>,
}

/// Whether leaves outside of the boxes of a table's lookups look up its first row; otherwise they hold `0/1`. The content of a table of rows is not known to the verifier.
pub(super) fn pads_with_first_row(table: &Table) -> bool {
    !matches!(table, Table::Rows { .. })
}

impl Layout {
    /// Lays out the lookups of a program and the tables that they use; `None` if there are no lookups.
    ///
    /// # Errors
    /// [`VerifyError::Key`] if there are more than `2^40` leaves.
    pub fn new(program: &Program) -> Result<Option<Layout>, VerifyError> {
        if program.lookups.is_empty() {
            return Ok(None);
        }
        // More pieces mean more claims, but one leaf variable less is worth many: take the coarsest cut with the fewest variables.
        let mut best: Option<Layout> = None;
        for shift in [4, 5, 6, 8] {
            let layout = Layout::with_padding(program, shift)?;
            if best.as_ref().is_none_or(|b| layout.bits < b.bits) {
                best = Some(layout);
            }
        }
        Ok(best)
    }

    /// Cut lookups may waste `2^-shift` of their size.
    fn with_padding(program: &Program, shift: usize) -> Result<Layout, VerifyError> {
        let mut contents: Vec<(usize, Content)> = Vec::new();
        let mut in_use = vec![false; program.tables.len()];
        for (lookup, l) in program.lookups.iter().enumerate() {
            in_use[l.table.0 as usize] = true;
            if let [column] = &l.columns[..]
                && program.virtual_region(column).is_some()
            {
                contents.extend(virtual_boxes(lookup, column));
                continue;
            }
            // A view of a matrix is always the whole matrix, axis by axis.
            let whole = l.columns.iter().any(|v| matches!(v.source, Source::Matrix(_)));
            let (sizes, windows) = merged_box(&l.columns, l.index_axes, whole);
            match sizes[..] {
                [size] if !whole => {
                    for (first, len) in pieces(size, FREE_PADDING.max(size >> shift)) {
                        let windows = windows.iter().map(|w| Window { offset: w.offset + first * w.strides[0], ..w.clone() });
                        contents
                            .push((index_bits(len), Content::Sites { lookup, sizes: vec![len], part: (0, 0), windows: windows.collect() }));
                    }
                }
                _ => {
                    let bits = sizes.iter().map(|&s| index_bits(s)).sum();
                    contents.push((bits, Content::Sites { lookup, sizes, part: (0, 0), windows }));
                }
            }
        }
        for (table, _) in in_use.iter().enumerate().filter(|(_, used)| **used) {
            let len = program.tables[table].len();
            contents.push((index_bits(len), Content::Rows { table, len }));
        }
        contents.sort_by_key(|&(bits, _)| Reverse(bits));
        let mut start = 0usize;
        let mut blocks = Vec::with_capacity(contents.len());
        for (bits, content) in contents {
            blocks.push(Block { start, bits, content });
            start = (bits <= MAX_BITS)
                .then(|| start + (1 << bits))
                .filter(|&end| end <= 1 << MAX_BITS)
                .ok_or_else(|| VerifyError::Key(format!("more than 2^{MAX_BITS} lookups")))?;
        }
        let mut padding = vec![0; program.tables.len()];
        for block in &blocks {
            let Content::Sites { lookup, sizes, .. } = &block.content else { continue };
            let table = program.lookups[*lookup].table.0 as usize;
            if pads_with_first_row(&program.tables[table]) {
                padding[table] += (1 << block.bits) - sizes.iter().product::<usize>();
            }
        }
        Ok(Layout { blocks, bits: index_bits(start).max(1), used: start, padding })
    }
}

/// The boxes of a virtual region, whose axes are letters of an identity.
fn virtual_boxes(lookup: usize, column: &View) -> impl Iterator<Item = (usize, Content)> {
    let shape = column.shape();
    let strides: Vec<usize> = column.axes.iter().map(|a| a.stride).collect();
    let offset = column.offset;
    let VirtualBlocks { axis, runs, .. } = VirtualBlocks::of(&shape);
    runs.into_iter().map(move |(first, len)| {
        let mut sizes = shape.clone();
        let mut offset = offset;
        if let (Some(size), Some(stride)) = (sizes.get_mut(axis), strides.get(axis)) {
            *size = len;
            offset += first * stride;
        }
        let bits = sizes.iter().map(|&s| index_bits(s)).sum();
        (bits, Content::Sites { lookup, sizes, part: (axis, first), windows: vec![Window { offset, strides: strides.clone() }] })
    })
}

/// The index axes of a lookup, neighbours merged where every column allows it unless `keep`, and each column's window on them.
fn merged_box(columns: &[View], index_axes: usize, keep: bool) -> (Vec<usize>, Vec<Window>) {
    let mut sizes: Vec<usize> = Vec::new();
    let mut windows: Vec<Window> = columns.iter().map(|v| Window { offset: v.offset, strides: Vec::new() }).collect();
    let box_sizes = columns.first().map_or(&[][..], |v| &v.axes[..index_axes]);
    for (d, axis) in box_sizes.iter().enumerate() {
        if axis.size == 1 && !keep {
            continue;
        }
        let stride = |v: &View| v.axes[d].stride;
        let follows = |v: &View, w: &Window| w.strides.last().is_some_and(|&outer| Some(outer) == stride(v).checked_mul(axis.size));
        if !keep && columns.iter().zip(&windows).all(|(v, w)| follows(v, w)) {
            if let Some(size) = sizes.last_mut() {
                *size *= axis.size;
            }
            for (v, w) in columns.iter().zip(&mut windows) {
                if let Some(last) = w.strides.last_mut() {
                    *last = stride(v);
                }
            }
        } else {
            sizes.push(axis.size);
            for (v, w) in columns.iter().zip(&mut windows) {
                w.strides.push(stride(v));
            }
        }
    }
    (sizes, windows)
}

/// Cuts `0..size` into `(first, length)` pieces, all but the last of power-of-two length, largest first; rounding the last one up to a power of
/// two adds at most `padding` leaves.
fn pieces(size: usize, padding: usize) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut first = 0;
    while first < size {
        let rest = size - first;
        let up = rest.next_power_of_two();
        let len = if up - rest <= padding { rest } else { up / 2 };
        out.push((first, len));
        first += len;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use zktorch_program::Builder;

    #[test]
    fn pieces_cover_everything_with_little_padding() {
        for size in (1..3000).chain([65_535, 65_537, 1_000_003, 12_345_678]) {
            for padding in [0, 64, size / 16] {
                let cut = pieces(size, padding);
                let mut next = 0;
                let mut padded = 0;
                for (k, &(first, len)) in cut.iter().enumerate() {
                    assert_eq!(first, next);
                    assert!(k + 1 == cut.len() || len.is_power_of_two());
                    next += len;
                    padded += len.next_power_of_two();
                }
                assert_eq!(next, size);
                assert!(padded - size <= padding);
                assert!(cut.windows(2).all(|p| p[0].1.next_power_of_two() >= p[1].1.next_power_of_two()));
            }
        }
        assert_eq!(pieces(1000, 64), vec![(0, 1000)]);
        assert_eq!(pieces(1 << 20, 0).len(), 1);
    }

    #[test]
    fn blocks_are_disjoint_aligned_and_cover_every_site_once() {
        let mut seed = 1u64;
        let mut random = move |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..40 {
            let mut b = Builder::new();
            let tables: Vec<_> = (0..1 + random(3)).map(|t| b.range_table(t as i64, 1 + random(8) as u32)).collect();
            for &t in &tables {
                for _ in 0..1 + random(2) {
                    b.column_cells(t, &[1 + random(900) as usize]);
                }
                let shape = [1 + random(5) as usize, 1 + random(9) as usize, 1 + random(7) as usize];
                let cells = b.assigned_cells(&shape, 0, 1);
                let view = if random(2) == 0 { cells } else { cells.permute(&[2, 0, 1]) };
                b.lookup("explicit", t, vec![view], 3);
            }
            let program = b.finish(None).program;
            let layout = Layout::new(&program).unwrap().unwrap();
            assert!(layout.used <= 1 << layout.bits && layout.used > (1 << layout.bits) / 2);
            let mut end = 0;
            let mut seen: Vec<Vec<usize>> = vec![Vec::new(); program.lookups.len()];
            let mut rows = vec![0; program.tables.len()];
            for block in &layout.blocks {
                assert_eq!(block.start, end);
                assert_eq!(block.start % (1 << block.bits), 0);
                assert_eq!(block.bits, block.sizes().iter().map(|&s| index_bits(s)).sum::<usize>());
                end += 1 << block.bits;
                match &block.content {
                    Content::Rows { table, len } => rows[*table] += len,
                    Content::Sites { lookup, sizes, windows, .. } => {
                        let axes = sizes.iter().zip(&windows[0].strides).map(|(&size, &stride)| zktorch_program::Axis { size, stride });
                        let source = program.lookups[*lookup].columns[0].source;
                        seen[*lookup].extend(View { source, offset: windows[0].offset, axes: axes.collect() }.cells());
                    }
                }
            }
            assert_eq!(end, layout.used);
            for (l, mut cells) in program.lookups.iter().zip(seen) {
                let mut expected = l.columns[0].cells();
                expected.sort_unstable();
                cells.sort_unstable();
                assert_eq!(cells, expected);
            }
            for (t, n) in program.tables.iter().zip(rows) {
                assert_eq!(n, t.len());
            }
        }
    }

    #[test]
    fn neighbouring_axes_merge_when_every_column_allows_it() {
        let dense = View::dense(Source::Params, 5, &[3, 4, 5]);
        let (sizes, windows) = merged_box(&[dense.clone(), dense.clone()], 3, false);
        assert_eq!(sizes, vec![60]);
        assert_eq!(windows, vec![Window { offset: 5, strides: vec![1] }; 2]);
        let turned = View::dense(Source::Params, 0, &[4, 3, 5]).permute(&[1, 0, 2]);
        let (sizes, windows) = merged_box(&[dense, turned], 3, false);
        assert_eq!(sizes, vec![3, 4, 5]);
        assert_eq!(windows[1].strides, vec![5, 15, 1]);
    }
}
