//! The prover's leaves and its tree of fractions.

use super::arith::add;
use super::layout::{Block, Content, Layout, Window};
use super::leaves::Opening;
use super::round::{Chunk, Form, LayerSumcheck};
use super::{Fingerprint, LookupWitness};
use crate::claims::{Vector, Weight, index_bits};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::small::SmallAccumulator;
use zktorch_algebra::{Fr, fr_from_i64, mle, small};
use zktorch_program::{Axis, Lookup, Program, Source, Table, View};

/// log2 of the number of leaves that are handled at a time: 128 KiB of field elements, which stay in a second-level cache.
pub(super) const CHUNK_BITS: usize = 12;

/// A leaf outside its block's box.
const PADDING: u32 = u32::MAX;
/// A site that is no row of its table (no honest prover has one): its fingerprint is kept apart.
const STRAY: u32 = u32::MAX - 1;

/// Integers of either width.
#[derive(Clone, Copy)]
enum Cells<'a> {
    Wide(&'a [i64]),
    Narrow(&'a [i32]),
}

impl Cells<'_> {
    #[inline]
    fn get(&self, i: usize) -> i64 {
        match self {
            Cells::Wide(v) => v[i],
            Cells::Narrow(v) => i64::from(v[i]),
        }
    }
}

/// The prover's view of all lookups.
pub(super) struct LookupProver<'a> {
    program: &'a Program,
    publics: &'a [Vec<i64>],
    witness: LookupWitness<'a>,
    layout: &'a Layout,
    /// `α − fp_j` for the rows of each table in use.
    rows: Vec<Vec<Fr>>,
    /// The compressed content of each table of rows.
    contents: Vec<Vec<Fr>>,
    /// For each block of sites the row that each leaf looks up.
    sites: Vec<Vec<u32>>,
    /// For each block the sites that are no rows, with `α − fp`.
    strays: Vec<Vec<(usize, Fr)>>,
}

/// A weight for each combination of the inner indices, with the cells' distances from the row's first.
struct Inner {
    weights: Vec<Fr>,
    table_cells: Vec<usize>,
    site_cells: Vec<usize>,
}

impl Inner {
    fn new(fingerprint: &Fingerprint, table: usize, table_axes: &[Axis], site_axes: &[Axis]) -> Inner {
        let cells = |axes: &[Axis]| View { source: Source::Params, offset: 0, axes: axes.to_vec() }.cells();
        let mut weights = vec![Fr::ONE];
        let mut point = &fingerprint.inner[table][..];
        for axis in table_axes {
            let (head, tail) = point.split_at(index_bits(axis.size));
            let eq = &mle::eq_table(head)[..axis.size];
            weights = weights.iter().flat_map(|w| eq.iter().map(move |e| *w * e)).collect();
            point = tail;
        }
        Inner { weights, table_cells: cells(table_axes), site_cells: cells(site_axes) }
    }

    fn compress(&self, cells: Cells<'_>, first: usize, distances: &[usize]) -> Fr {
        let mut sum = SmallAccumulator::new();
        for (w, d) in self.weights.iter().zip(distances) {
            sum.add(cells.get(first + d), w);
        }
        sum.value()
    }
}

impl<'a> LookupProver<'a> {
    /// Finds out what each site looks up. `None` only in a build without a prover.
    pub fn new(
        program: &'a Program,
        publics: &'a [Vec<i64>],
        witness: LookupWitness<'a>,
        layout: &'a Layout,
        fingerprint: &Fingerprint,
    ) -> Option<Self> {
        let tables = program.tables.len();
        let mut prover = LookupProver {
            program,
            publics,
            witness,
            layout,
            rows: vec![Vec::new(); tables],
            contents: vec![Vec::new(); tables],
            sites: Vec::new(),
            strays: Vec::new(),
        };
        for block in &layout.blocks {
            if let Content::Rows { table, .. } = block.content {
                prover.fill_table(fingerprint, table);
            }
        }
        for block in &layout.blocks {
            let (sites, strays) = match &block.content {
                Content::Rows { .. } => (Vec::new(), Vec::new()),
                Content::Sites { lookup, windows, .. } => prover.find_rows(fingerprint, block, &program.lookups[*lookup], windows),
            };
            prover.sites.push(sites);
            prover.strays.push(strays);
        }
        Some(prover)
    }

    /// The vector of a view, and the distance of the view's offset from the vector's start.
    fn cells(&self, source: Source) -> (Cells<'a>, usize) {
        match source {
            Source::Region(r) => (Cells::Wide(self.witness.heap), self.program.regions[r.0 as usize].base),
            Source::Params => (Cells::Wide(&self.witness.params.heap), 0),
            Source::Matrix(m) => (Cells::Narrow(&self.witness.params.matrices[m.0 as usize]), 0),
            Source::Constant(c) => (Cells::Wide(&self.program.constants[c.0 as usize].values), 0),
            Source::Public(p) => (Cells::Wide(&self.publics[p.0 as usize]), 0),
        }
    }

    /// Computes `α − fp` of each row of a table.
    fn fill_table(&mut self, fingerprint: &Fingerprint, table: usize) {
        let constant = fingerprint.constant(table);
        let t = &self.program.tables[table];
        self.rows[table] = match t {
            Table::Range { lo, bits } => (0..1i64 << bits).into_par_iter().map(|j| constant - fr_from_i64(lo + j)).collect(),
            Table::Function { lo, outputs, .. } => (0..t.len())
                .into_par_iter()
                .map(|j| {
                    let mut sum = SmallAccumulator::new();
                    for (column, beta) in outputs.iter().zip(&fingerprint.beta[1..]) {
                        sum.add(column[j], beta);
                    }
                    constant - fr_from_i64(lo + j as i64) - sum.value()
                })
                .collect(),
            Table::Rows { view, .. } => {
                let (cells, base) = self.cells(view.source);
                let inner = Inner::new(fingerprint, table, &view.axes[1..], &[]);
                let first = base + view.offset;
                let contents: Vec<Fr> = (0..t.len())
                    .into_par_iter()
                    .map(|j| inner.compress(cells, first + j * view.axes[0].stride, &inner.table_cells))
                    .collect();
                let rows = contents.par_iter().enumerate().map(|(j, v)| constant - Fr::from(j as u64) - fingerprint.beta[1] * v).collect();
                self.contents[table] = contents;
                rows
            }
        };
    }

    /// The row that each leaf of a block looks up, and the sites that look up none.
    fn find_rows(&self, fingerprint: &Fingerprint, block: &Block, lookup: &Lookup, windows: &[Window]) -> (Vec<u32>, Vec<(usize, Fr)>) {
        let sizes = block.sizes();
        let table = lookup.table.0 as usize;
        let t = &self.program.tables[table];
        let columns: Vec<(Cells<'_>, usize, &[usize])> = lookup
            .columns
            .iter()
            .zip(windows)
            .map(|(view, w)| {
                let (cells, base) = self.cells(view.source);
                (cells, base + w.offset, &w.strides[..])
            })
            .collect();
        // The first cell of each column of a site; `None` outside the box.
        let first_cell = |leaf: usize, column: usize| -> Option<usize> {
            let (_, first, strides) = columns[column];
            if let ([size], [stride]) = (sizes, strides) {
                return (leaf < *size).then(|| first + leaf * stride);
            }
            let mut rest = leaf;
            let mut cell = first;
            for (size, stride) in sizes.iter().zip(strides).rev() {
                let bits = index_bits(*size);
                let i = rest & ((1 << bits) - 1);
                rest >>= bits;
                if i >= *size {
                    return None;
                }
                cell += i * stride;
            }
            Some(cell)
        };
        let inner = match t {
            Table::Rows { view, .. } => {
                Some((Inner::new(fingerprint, table, &view.axes[1..], &lookup.columns[1].axes[lookup.index_axes..]), view))
            }
            _ => None,
        };
        let lo = match t {
            Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
            Table::Rows { .. } => 0,
        };
        let cell = |leaf: usize, column: usize| columns[column].0.get(first_cell(leaf, column).unwrap_or_default());
        let row_of = |leaf: usize| -> u32 {
            let Some(argument) = first_cell(leaf, 0) else {
                return PADDING;
            };
            let j = match columns[0].0.get(argument).checked_sub(lo).and_then(|j| usize::try_from(j).ok()) {
                Some(j) if j < t.len() && j < STRAY as usize => j,
                _ => return STRAY,
            };
            let matches = match (t, &inner) {
                (Table::Function { outputs, .. }, _) => outputs.iter().enumerate().all(|(c, column)| cell(leaf, c + 1) == column[j]),
                (Table::Rows { .. }, Some((inner, view))) => {
                    let (row_cells, base) = self.cells(view.source);
                    let row = base + view.offset + j * view.axes[0].stride;
                    let site = first_cell(leaf, 1).unwrap_or_default();
                    let mut pairs = inner.table_cells.iter().zip(&inner.site_cells);
                    pairs.all(|(r, s)| row_cells.get(row + r) == columns[1].0.get(site + s))
                }
                _ => true,
            };
            if matches { j as u32 } else { STRAY }
        };
        let rows: Vec<u32> = (0..1usize << block.bits).into_par_iter().map(row_of).collect();
        let constant = fingerprint.constant(table);
        let denominator = |leaf: usize| -> Fr {
            let mut sum = fr_from_i64(cell(leaf, 0));
            match &inner {
                Some((inner, _)) => {
                    let site = first_cell(leaf, 1).unwrap_or_default();
                    sum += fingerprint.beta[1] * inner.compress(columns[1].0, site, &inner.site_cells);
                }
                None => sum += (1..columns.len()).map(|c| fingerprint.beta[c] * fr_from_i64(cell(leaf, c))).sum::<Fr>(),
            }
            constant - sum
        };
        let strays = rows.par_iter().enumerate().filter(|(_, row)| **row == STRAY).map(|(leaf, _)| (leaf, denominator(leaf))).collect();
        (rows, strays)
    }

    /// Builds the tree above the leaves: a chunk's whole subtree at once, while it is in the cache, then what joins the chunks.
    pub fn tree(&self) -> Tree<'_> {
        let leaves = Leaves { prover: self, lambda: None, rows: None };
        let chunk = CHUNK_BITS.min(self.layout.bits);
        let subtrees: Vec<Vec<Fractions>> = (0..self.layout.used.div_ceil(1 << chunk))
            .into_par_iter()
            .map(|c| {
                let (q, p) = leaves.chunk(c << chunk, 1 << chunk);
                let mut layers = vec![if p.is_empty() { Fractions::units(&q) } else { Fractions { p, q }.sums() }];
                for _ in 1..chunk {
                    layers.push(layers[layers.len() - 1].sums());
                }
                layers
            })
            .collect();
        let mut depths: Vec<Vec<Fractions>> = (0..chunk).map(|_| Vec::with_capacity(subtrees.len())).collect();
        for subtree in subtrees {
            for (depth, layer) in depths.iter_mut().zip(subtree) {
                depth.push(layer);
            }
        }
        let mut layers: Vec<Option<Vec<Fractions>>> = depths.into_iter().map(Some).collect();
        let roots = layers.last().and_then(Option::as_ref).map_or(&[][..], |l| l);
        let mut top =
            Fractions { p: roots.iter().flat_map(|r| r.p.clone()).collect(), q: roots.iter().flat_map(|r| r.q.clone()).collect() };
        while layers.len() < self.layout.bits {
            top = top.sums();
            layers.push(Some(vec![top.clone()]));
        }
        layers.reverse();
        Tree { leaves, layers }
    }

    /// The value of an opening.
    pub fn open(&self, opening: &Opening) -> Fr {
        if let (Some(table), Some((_, Weight::Eq(point)))) = (opening.content_of, opening.axes.first()) {
            return small::dot(&self.contents[table], &mle::eq_table(point));
        }
        let cells = match opening.vector {
            Vector::Heap => Cells::Wide(self.witness.heap),
            Vector::Params => Cells::Wide(&self.witness.params.heap),
            Vector::Matrix(m) => Cells::Narrow(&self.witness.params.matrices[m]),
        };
        if let (Cells::Wide(values), [(Axis { size, stride: 1 }, Weight::Eq(point))]) = (cells, &opening.axes[..]) {
            return small::evaluate_small(&values[opening.offset..opening.offset + size], point);
        }
        let tables: Vec<(Axis, Vec<Fr>)> = opening.axes.iter().map(|(axis, weight)| (*axis, weight.table(axis.size))).collect();
        weighted_sum(cells, opening.offset, &tables)
    }
}

/// `Σ Π_d table_d[i_d] · cells[offset + Σ stride_d i_d]`.
fn weighted_sum(cells: Cells<'_>, offset: usize, axes: &[(Axis, Vec<Fr>)]) -> Fr {
    match axes {
        [] => fr_from_i64(cells.get(offset)),
        [(axis, table)] => {
            let mut sum = SmallAccumulator::new();
            for (i, w) in table.iter().enumerate() {
                sum.add(cells.get(offset + i * axis.stride), w);
            }
            sum.value()
        }
        [(axis, table), rest @ ..] => {
            table.par_iter().enumerate().map(|(i, w)| *w * weighted_sum(cells, offset + i * axis.stride, rest)).sum()
        }
    }
}

/// The leaves, as `q` (no `lambda`) or as `u = p + λ q`.
struct Leaves<'a> {
    prover: &'a LookupProver<'a>,
    lambda: Option<Fr>,
    /// With a `lambda`: `1 + λ q` for the rows of each table.
    rows: Option<Vec<Vec<Fr>>>,
}

impl Leaves<'_> {
    /// Switches from `q` to `p + λ q`. One multiplication per table row.
    fn combine(&mut self, lambda: Fr) {
        self.rows = Some(self.prover.rows.iter().map(|rows| rows.par_iter().map(|q| Fr::ONE + lambda * q).collect()).collect());
        self.lambda = Some(lambda);
    }

    /// Leaves `first .. first + len` (both are multiples of the chunk size, or this is the whole tree), and their numerators; these are empty
    /// if all are 1.
    fn chunk(&self, first: usize, len: usize) -> (Vec<Fr>, Vec<Fr>) {
        let layout = self.prover.layout;
        let tables = self.rows.as_ref().unwrap_or(&self.prover.rows);
        // Value of a leaf with fraction 0/1.
        let empty = self.lambda.unwrap_or(Fr::ONE);
        let mut values = Vec::with_capacity(len);
        // Runs of numerators that are not 1: offset from `first`, numerators.
        let mut numerators: Vec<(usize, Vec<Fr>)> = Vec::new();
        let begin = layout.blocks.partition_point(|b| b.start + (1 << b.bits) <= first);
        for (b, block) in layout.blocks.iter().enumerate().skip(begin) {
            if block.start >= first + len {
                break;
            }
            let from = first.max(block.start);
            let to = (first + len).min(block.start + (1 << block.bits));
            let leaves = from - block.start..to - block.start;
            match &block.content {
                Content::Sites { lookup, .. } => {
                    let table = &tables[self.prover.program.lookups[*lookup].table.0 as usize];
                    let rows = &self.prover.sites[b][leaves.clone()];
                    let mut padded = false;
                    for (row, leaf) in rows.iter().zip(leaves) {
                        values.push(match *row {
                            PADDING => {
                                padded = true;
                                empty
                            }
                            STRAY => self.stray(b, leaf),
                            row => table[row as usize],
                        });
                    }
                    if padded {
                        let p = rows.iter().map(|row| if *row == PADDING { Fr::ZERO } else { Fr::ONE });
                        numerators.push((from - first, p.collect()));
                    }
                }
                Content::Rows { table, len } => {
                    let region = &self.prover.program.regions[self.prover.program.multiplicities[*table].0 as usize];
                    let counts = &self.prover.witness.heap[region.base..region.base + len];
                    let p: Vec<Fr> = leaves.clone().map(|j| counts.get(j).map_or(Fr::ZERO, |m| -fr_from_i64(*m))).collect();
                    for (j, p) in leaves.zip(&p) {
                        values.push(match tables[*table].get(j) {
                            None => empty,
                            Some(value) if self.lambda.is_some() => *value - Fr::ONE + p,
                            Some(value) => *value,
                        });
                    }
                    numerators.push((from - first, p));
                }
            }
        }
        if values.len() < len {
            numerators.push((values.len(), vec![Fr::ZERO; len - values.len()]));
            values.resize(len, empty);
        }
        let mut p = Vec::new();
        if !numerators.is_empty() {
            p = vec![Fr::ONE; len];
            for (at, run) in numerators {
                p[at..at + run.len()].copy_from_slice(&run);
            }
        }
        (values, p)
    }

    fn stray(&self, block: usize, leaf: usize) -> Fr {
        let strays = &self.prover.strays[block];
        let q = strays.binary_search_by_key(&leaf, |s| s.0).map(|i| strays[i].1).unwrap_or_default();
        self.lambda.map_or(q, |lambda| Fr::ONE + lambda * q)
    }
}

/// Neighbouring nodes of a layer.
#[derive(Clone)]
struct Fractions {
    p: Vec<Fr>,
    q: Vec<Fr>,
}

impl Fractions {
    /// `1/q_0 + 1/q_1` for each pair.
    fn units(q: &[Fr]) -> Fractions {
        let pairs = q.as_chunks::<2>().0;
        Fractions { p: pairs.iter().map(|q| add(&q[0], &q[1])).collect(), q: pairs.iter().map(|q| q[0] * q[1]).collect() }
    }

    /// `p_0/q_0 + p_1/q_1` for each pair; a missing sibling is 0/1.
    fn sums(&self) -> Fractions {
        let (p, p_rest) = self.p.as_chunks::<2>();
        let (q, q_rest) = self.q.as_chunks::<2>();
        let numerators = p.iter().zip(q).map(|(p, q)| add(&(p[0] * q[1]), &(p[1] * q[0])));
        let denominators = q.iter().map(|q| q[0] * q[1]);
        Fractions { p: numerators.chain(p_rest.iter().copied()).collect(), q: denominators.chain(q_rest.iter().copied()).collect() }
    }
}

/// The prover's fraction tree. Layers are taken from the root on and freed as they are consumed.
pub(super) struct Tree<'a> {
    leaves: Leaves<'a>,
    /// Layer `k < N` in runs of equal power-of-two length (or a single one); nodes past the end are 0/1.
    layers: Vec<Option<Vec<Fractions>>>,
}

impl Tree<'_> {
    /// All `2^k` nodes of layer `k`, once; the layers above are dropped.
    pub fn take_layer(&mut self, k: usize) -> (Vec<Fr>, Vec<Fr>) {
        let runs = self.layers[k].take().expect("a layer is taken once");
        self.layers[..k].fill(None);
        let (mut p, mut q) = (Vec::new(), Vec::new());
        for run in runs {
            p.extend(run.p);
            q.extend(run.q);
        }
        p.resize(1 << k, Fr::ZERO);
        q.resize(1 << k, Fr::ONE);
        (p, q)
    }

    /// The sumcheck that leads from layer `k` at `point` to its children.
    pub fn layer_sumcheck(&mut self, k: usize, point: &[Fr], lambda: Fr) -> LayerSumcheck {
        let size = 1usize << CHUNK_BITS.min(k + 1);
        if k + 1 == self.layers.len() {
            self.leaves.combine(lambda);
            let chunks = (0..self.leaves.prover.layout.used.div_ceil(size)).into_par_iter().map(|c| {
                let (a, mut b) = self.leaves.chunk(c * size, size);
                for p in b.iter_mut().skip(1).step_by(2) {
                    p.neg_in_place();
                }
                Chunk { a, b }
            });
            return LayerSumcheck::new(Form::Leaves, chunks.collect(), point, lambda);
        }
        let runs = self.layers[k + 1].take().expect("a layer is taken once");
        // Either several runs make a chunk, or one run makes several.
        let per_chunk = size.checked_div(runs[0].q.len()).unwrap_or(1).max(1);
        let parts: Vec<Vec<(&[Fr], &[Fr])>> = if let [run] = &runs[..] {
            run.p.chunks(size).zip(run.q.chunks(size)).map(|part| vec![part]).collect()
        } else {
            runs.chunks(per_chunk).map(|runs| runs.iter().map(|r| (&r.p[..], &r.q[..])).collect()).collect()
        };
        let empty = Form::Fractions.empty(lambda);
        let chunks = parts.into_par_iter().map(|parts| {
            let nodes = parts.iter().flat_map(|(p, q)| p.iter().zip(*q));
            Chunk::of_fractions(nodes, lambda, size, empty)
        });
        LayerSumcheck::new(Form::Fractions, chunks.collect(), point, lambda)
    }
}

impl Chunk {
    /// From the children in order.
    fn of_fractions<'a>(mut children: impl Iterator<Item = (&'a Fr, &'a Fr)>, lambda: Fr, size: usize, empty: [[Fr; 2]; 2]) -> Chunk {
        let mut chunk = Chunk { a: Vec::with_capacity(size), b: Vec::with_capacity(size) };
        while let Some((p0, q0)) = children.next() {
            // A missing sibling is 0/1.
            let (p1, q1) = children.next().unwrap_or((&Fr::ZERO, &Fr::ONE));
            chunk.a.extend([add(p0, &(lambda * q0)), *q1]);
            chunk.b.extend([*p1, *q0]);
        }
        chunk.pad(size, empty);
        chunk
    }
}
