//! The prover's tree of fractions.

use super::gkr::LATE_BITS;
use super::prover::{CHUNK_BITS, Leaves, LookupProver};
use super::round::{Below, Chunk, Form, LayerSumcheck};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{Fr, table, units::HEAD};

/// Most chunks that a thread takes at a time: those of many small blocks, or of table rows, cost more than others.
const UNEVEN: usize = 4;

/// Layers above the leaves that are not kept: most of all that is above them. Making a layer again when its turn comes costs less than memory for it, or, in a large tree, little more. A fourth
/// would save nothing: the sumcheck above the third takes as much.
fn dropped(bits: usize) -> usize {
    if bits > 20 { 3 } else { usize::from(bits > CHUNK_BITS) }
}

/// Shortest runs of fractions that make a chunk each: shorter ones are joined.
const RUN: usize = 1 << 7;

impl LookupProver<'_> {
    /// Builds the tree above the leaves: a chunk's whole subtree at once, while it is in the cache, then what joins the chunks.
    ///
    /// The layers next to the leaves are not all kept.
    pub fn tree(&self) -> Tree<'_> {
        let leaves = Leaves::new(self);
        let chunk = CHUNK_BITS.min(self.statement.layout.bits);
        let dropped = dropped(self.statement.layout.bits);
        let subtrees: Vec<Vec<Fractions>> = (0..self.statement.layout.used.div_ceil(1 << chunk))
            .into_par_iter()
            .with_max_len(UNEVEN)
            .map(|c| {
                let mut layers = vec![leaves.layer(c << chunk, 1 << chunk, dropped + 1)];
                while layers.len() < chunk - dropped {
                    layers.push(layers[layers.len() - 1].sums());
                }
                layers
            })
            .collect();
        let mut depths: Vec<Vec<Fractions>> = (dropped..chunk).map(|_| Vec::with_capacity(subtrees.len())).collect();
        for subtree in subtrees {
            for (depth, layer) in depths.iter_mut().zip(subtree) {
                depth.push(layer);
            }
        }
        let mut layers: Vec<Option<Vec<Fractions>>> = std::iter::repeat_n(None, dropped).chain(depths.into_iter().map(Some)).collect();
        let roots = layers.last().and_then(Option::as_ref).map_or(&[][..], |l| l);
        let mut top =
            Fractions { p: roots.iter().flat_map(|r| r.p.clone()).collect(), q: roots.iter().flat_map(|r| r.q.clone()).collect() };
        while layers.len() < self.statement.layout.bits {
            top = top.sums();
            layers.push(Some(vec![top.clone()]));
        }
        layers.reverse();
        Tree { leaves, layers }
    }
}

impl Leaves<'_> {
    /// The layer `depth ≥ 1` above some leaves, as [`Leaves::chunk`] gives them.
    fn layer(&self, first: usize, len: usize, depth: usize) -> Fractions {
        let units = self.units(first, len);
        let (mut layer, from) = match units {
            Some(units) if depth > 1 => (Fractions::of(units.quads()), 2),
            Some(units) => (Fractions::of(units.pairs()), 1),
            None => {
                let (q, p) = self.chunk(first, len);
                (if p.is_empty() { Fractions::units(&q) } else { Fractions { p, q }.sums() }, 1)
            }
        };
        for _ in from..depth {
            layer = layer.sums();
        }
        layer
    }
}

/// Neighbouring nodes of a layer.
#[derive(Clone)]
struct Fractions {
    p: Vec<Fr>,
    q: Vec<Fr>,
}

impl Fractions {
    fn of((p, q): (Vec<Fr>, Vec<Fr>)) -> Fractions {
        Fractions { p, q }
    }

    /// `1/q_0 + 1/q_1` for each pair.
    fn units(q: &[Fr]) -> Fractions {
        Fractions::of(table::unit_fraction_sums(q))
    }

    /// `p_0/q_0 + p_1/q_1` for each pair; a missing sibling is 0/1.
    fn sums(&self) -> Fractions {
        Fractions::of(table::fraction_sums(&self.p, &self.q))
    }
}

/// The prover's fraction tree. Layers are taken from the root on and freed as they are consumed.
pub(super) struct Tree<'a> {
    leaves: Leaves<'a>,
    /// Layer `k < N` in runs of equal power-of-two length (or a single one); nodes past the end are 0/1.
    layers: Vec<Option<Vec<Fractions>>>,
}

impl<'a> Tree<'a> {
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
    pub fn layer_sumcheck(&mut self, k: usize, point: &[Fr], lambda: Fr) -> LayerSumcheck<'a> {
        let size = 1usize << CHUNK_BITS.min(k + 1);
        let late = k < LATE_BITS + HEAD;
        if k + 1 == self.layers.len() {
            self.leaves.combine(lambda);
            let chunks = (0..self.leaves.used().div_ceil(size)).into_par_iter().with_max_len(UNEVEN).map(|c| {
                if let Some(units) = self.leaves.units(c * size, size).filter(|_| !late) {
                    return Chunk { unbound: Some(Below::Units(units)), ..Chunk::default() };
                }
                let (a, mut b) = self.leaves.chunk(c * size, size);
                for p in b.iter_mut().skip(1).step_by(2) {
                    p.neg_in_place();
                }
                Chunk { a, b, unbound: None }
            });
            return LayerSumcheck::new(Form::Leaves, chunks, size, point, lambda);
        }
        let empty = Form::Fractions.empty(lambda);
        let Some(runs) = self.layers[k + 1].take() else {
            // A layer that was not kept.
            let depth = self.layers.len() - (k + 1);
            let len = size << depth;
            let chunks = (0..self.leaves.used().div_ceil(len)).into_par_iter().with_max_len(UNEVEN).map(|c| {
                let unbound = match depth {
                    1 | 2 if !late => self.leaves.units(c * len, len).map(if depth == 1 { Below::Units } else { Below::Quads }),
                    _ => None,
                };
                if unbound.is_some() {
                    return Chunk { unbound, ..Chunk::default() };
                }
                let Fractions { p, q } = self.leaves.layer(c * len, len, depth);
                Chunk::of_fractions(&[(&p, &q)], lambda, size, empty)
            });
            return LayerSumcheck::new(Form::Fractions, chunks, size, point, lambda);
        };
        let len = runs[0].q.len();
        if runs.len() > 1 && len >= RUN {
            // A run becomes a chunk where it is.
            let chunks = runs.into_par_iter().map(|Fractions { mut p, mut q }| {
                table::fractions_to_nodes(&mut p, &mut q, &lambda);
                Chunk { a: p, b: q, unbound: None }
            });
            return LayerSumcheck::new(Form::Fractions, chunks, len, point, lambda);
        }
        // Either several runs make a chunk, or one run makes several.
        let per_chunk = size.checked_div(runs[0].q.len()).unwrap_or(1).max(1);
        let parts: Vec<Vec<(&[Fr], &[Fr])>> = if let [run] = &runs[..] {
            run.p.chunks(size).zip(run.q.chunks(size)).map(|part| vec![part]).collect()
        } else {
            runs.chunks(per_chunk).map(|runs| runs.iter().map(|r| (&r.p[..], &r.q[..])).collect()).collect()
        };
        let chunks = parts.into_par_iter().map(|parts| Chunk::of_fractions(&parts, lambda, size, empty));
        LayerSumcheck::new(Form::Fractions, chunks, size, point, lambda)
    }
}

impl Chunk<'_> {
    /// From the children in order, in runs of one length; only the last run may be shorter.
    fn of_fractions(parts: &[(&[Fr], &[Fr])], lambda: Fr, size: usize, empty: [[Fr; 2]; 2]) -> Self {
        let mut chunk = Chunk { a: Vec::with_capacity(size), b: Vec::with_capacity(size), unbound: None };
        if parts.first().is_some_and(|(p, _)| p.len() % 2 == 1) {
            // Runs of a single node: siblings lie in neighbouring runs.
            let (p, q): (Vec<&[Fr]>, Vec<&[Fr]>) = parts.iter().copied().unzip();
            table::fraction_nodes(&p.concat(), &q.concat(), &lambda, &mut chunk.a, &mut chunk.b);
        } else {
            for (p, q) in parts {
                table::fraction_nodes(p, q, &lambda, &mut chunk.a, &mut chunk.b);
            }
        }
        chunk.pad(size, empty);
        chunk
    }
}
