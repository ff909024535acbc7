//! The prover's side of a layer's sumcheck.
//!
//! The summand `h = (p_0 + λ q_0) q_1 + p_1 q_0` is a sum of two products, `κ h = a_0 a_1 + b_0 b_1`, in one of two forms:
//!
//! | layer | `κ` | `a_0, a_1` | `b_0, b_1` | |
//! | --- | --- | --- | --- | --- |
//! | above fractions | 1 | `p_0 + λ q_0, q_1` | `p_1, q_0` | one multiplication per node to set up |
//! | above the leaves | `λ` | `p_0 + λ q_0, p_1 + λ q_1` | `p_0, −p_1` | where all numerators are 1, `b_0 b_1 = −1` in every round |
//!
//! In the two lowest layers, above leaves that look up ranges, the first three rounds take the integers that are looked up
//! ([`zktorch_algebra::units`]): tables exist only once three variables are bound.
//!
//! Nodes come in chunks of a power of two; those past the last chunk are all `0/1` and stay so when variables are bound. Once few nodes are left they become four tables, and
//! variables are bound several at a time.

use super::gkr::LATE_BITS;
use crate::joint;
use crate::sumcheck::RoundProver;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::units::{HEAD, Units};
use zktorch_algebra::{Fr, batch_inverse, mle, table};

/// log2 of the number of nodes of a chunk after a regrouping.
const NODE_BITS: usize = super::prover::CHUNK_BITS - 1;
/// Chunks are regrouped when they are down to `2^3` nodes.
const SMALL_BITS: usize = 3;

/// A run of nodes: entries `2i` and `2i + 1` belong to node `i`.
#[derive(Default)]
pub(super) struct Chunk<'a> {
    /// `a_0` and `a_1` of each node.
    pub a: Vec<Fr>,
    /// `b_0` and `b_1` of each node; empty if they are `1` and `−1` everywhere.
    pub b: Vec<Fr>,
    /// The leaves below, while neither table exists.
    pub unbound: Option<Below<'a>>,
}

/// Leaves that tables are made from when they are needed.
#[derive(Clone, Copy)]
pub(super) enum Below<'a> {
    /// The first [`HEAD`] variables are bound at once, in integers.
    Units(Units<'a>),
    /// The nodes' children are the second layer above these leaves. It is made twice, for the first round and to bind the first variable, so that only half of it is ever in memory.
    Quads(Units<'a>),
}

impl Below<'_> {
    /// The tables `a` and `b` of nodes above the second layer.
    fn tables(units: &Units<'_>, lambda: &Fr) -> (Vec<Fr>, Vec<Fr>) {
        let (mut p, mut q) = units.quads();
        table::fractions_to_nodes(&mut p, &mut q, lambda);
        (p, q)
    }
}

/// What `a` and `b` are.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// The children are fractions.
    Fractions,
    /// The children are leaves.
    Leaves,
}

impl Form {
    /// `[a_0, a_1]` and `[b_0, b_1]` of a node with children `0/1`.
    pub fn empty(self, lambda: Fr) -> [[Fr; 2]; 2] {
        match self {
            Form::Fractions => [[lambda, Fr::ONE], [Fr::ZERO, Fr::ONE]],
            Form::Leaves => [[lambda; 2], [Fr::ZERO; 2]],
        }
    }
}

impl Chunk<'_> {
    /// Appends nodes with children `0/1` until there are `len` entries.
    pub fn pad(&mut self, len: usize, [a, b]: [[Fr; 2]; 2]) {
        for (entries, node) in [(&mut self.a, a), (&mut self.b, b)] {
            while entries.len() < len {
                entries.extend(node);
            }
        }
    }
}

/// The prover's state in a layer's sumcheck.
pub(super) struct LayerSumcheck<'a> {
    chunks: Vec<Chunk<'a>>,
    /// `κ h` of the chunks without tables over the variables up to [`HEAD`] that are not bound: see [`zktorch_algebra::units::GRID`].
    head: Vec<Fr>,
    /// The first challenges, at most [`HEAD`] of them.
    challenges: Vec<Fr>,
    /// log2 of the number of nodes of a chunk.
    bits: usize,
    /// `eq` over the variables that number the chunks.
    eq_chunk: Vec<Fr>,
    /// `eq_node[l]`: `eq` over the `l` variables that follow those.
    eq_node: Vec<Vec<Fr>>,
    /// What the chunks past the last contribute to `κ h(0)`.
    past: Fr,
    /// The claim's point without the variables that are bound.
    point: Vec<Fr>,
    /// Inverses of the point's coordinates.
    inverses: Vec<Fr>,
    form: Form,
    lambda: Fr,
    lambda_inverse: Fr,
    /// `κ h(0)` and the leading coefficient of `κ h` in the current round.
    ends: [Fr; 2],
    /// `a_0, a_1, b_0, b_1` of all nodes up to the last in use, once there are at most `2^LATE_BITS` nodes.
    late: Option<[Vec<Fr>; 4]>,
}

impl<'a> LayerSumcheck<'a> {
    /// For the claim at `point` (most significant variable first). All chunks have `size` entries, a power of two and at least two. What the first
    /// round needs of a chunk is computed as soon as it is made, while it is in the cache.
    pub fn new(
        form: Form,
        chunks: impl IndexedParallelIterator<Item = Chunk<'a>>,
        size: usize,
        point: &[Fr],
        lambda: Fr,
    ) -> LayerSumcheck<'a> {
        let mut inverses: Vec<Fr> = point.iter().copied().chain([lambda]).collect();
        batch_inverse(&mut inverses);
        let lambda_inverse = inverses.pop().unwrap_or_default();
        let bits = (size / 2).trailing_zeros() as usize;
        let mut state = LayerSumcheck {
            chunks: Vec::new(),
            head: Vec::new(),
            challenges: Vec::new(),
            bits,
            eq_chunk: Vec::new(),
            eq_node: Vec::new(),
            past: Fr::ZERO,
            point: point.to_vec(),
            inverses,
            form,
            lambda,
            lambda_inverse,
            ends: [Fr::ZERO; 2],
            late: None,
        };
        if state.point.len() <= LATE_BITS {
            state.chunks = chunks.collect();
            state.collect();
        } else {
            state.prepare_eq(chunks.len());
            let eq = &state.eq_node[state.bits - 1];
            let ends = chunks.zip(&state.eq_chunk).map(|(c, e)| {
                let ends = c.first_ends(eq, &lambda).map(|x| x * e);
                (c, ends)
            });
            let (chunks, ends): (Vec<_>, Vec<_>) = ends.unzip();
            state.chunks = chunks;
            state.prepare_head();
            state.set_ends(ends.into_iter().fold([Fr::ZERO; 2], add));
        }
        state
    }

    /// Turns chunks into the tables of the last rounds.
    fn collect(&mut self) {
        let mut tables: [Vec<Fr>; 4] = Default::default();
        for mut chunk in std::mem::take(&mut self.chunks) {
            chunk.pad(chunk.a.len(), [[Fr::ZERO; 2], [Fr::ONE, -Fr::ONE]]);
            for (a, b) in chunk.a.as_chunks::<2>().0.iter().zip(chunk.b.as_chunks::<2>().0) {
                for (table, entry) in tables.iter_mut().zip(a.iter().chain(b)) {
                    table.push(*entry);
                }
            }
        }
        self.late = Some(tables);
    }

    /// Adds nodes with children `0/1` up to a multiple of `2^bits`.
    fn fill(&mut self, bits: usize) {
        let [a, b] = self.form.empty(self.lambda);
        for (table, empty) in self.late.iter_mut().flatten().zip(a.into_iter().chain(b)) {
            table.resize(table.len().next_multiple_of(1 << bits), empty);
        }
    }

    /// The `eq` tables for so many chunks.
    fn prepare_eq(&mut self, chunks: usize) {
        let (high, low) = self.point.split_at(self.point.len() - self.bits);
        self.eq_chunk = mle::eq_table(high);
        self.eq_chunk.truncate(chunks);
        let [a, b] = self.form.empty(self.lambda);
        self.past = (Fr::ONE - self.eq_chunk.iter().sum::<Fr>()) * (a[0] * a[1] + b[0] * b[1]);
        self.eq_node = vec![vec![Fr::ONE]];
        for x in low.iter().take(self.bits.saturating_sub(1)) {
            let last = &self.eq_node[self.eq_node.len() - 1];
            let next = last.iter().flat_map(|e| {
                let one = *e * x;
                [*e - one, one]
            });
            let next = next.collect();
            self.eq_node.push(next);
        }
    }

    /// Computes `head` if chunks have no tables.
    fn prepare_head(&mut self) {
        let Some(eq) = self.bits.checked_sub(HEAD).and_then(|l| self.eq_node.get(l)) else { return };
        let (lambda, form) = (self.lambda, self.form);
        let grids = self.chunks.par_iter().zip(&self.eq_chunk).filter_map(|(c, e)| {
            let Some(Below::Units(units)) = c.unbound else { return None };
            let grid = match form {
                Form::Leaves => units.products(&lambda, eq),
                Form::Fractions => units.pair_products(&lambda, eq),
            };
            Some(grid.map(|v| v * e))
        });
        let sum = grids.reduce_with(|mut a, b| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        });
        self.head = sum.map_or_else(Vec::new, |grid| grid.to_vec());
    }

    /// What the chunks without tables add to `ends`.
    fn head_ends(&self) -> [Fr; 2] {
        let left = HEAD.saturating_sub(self.challenges.len() + 1);
        // The variables of the head that come later, the next one first.
        let later = self.point.iter().rev().skip(1).take(left);
        let mut values: Vec<[Fr; 2]> = self.head.as_chunks::<3>().0.iter().map(|[zero, _, infinity]| [*zero, *infinity]).collect();
        for x in later {
            values = values.as_chunks::<3>().0.iter().map(|[a, b, _]| [0, 1].map(|i| a[i] + *x * (b[i] - a[i]))).collect();
        }
        values.first().copied().unwrap_or_default()
    }

    /// Notes a challenge for the variables of the head.
    fn bind_head(&mut self, r: Fr) {
        if self.challenges.len() < HEAD {
            self.challenges.push(r);
            let at = |[zero, one, infinity]: &[Fr; 3]| *zero + r * (*one - zero + (r - Fr::ONE) * infinity);
            self.head = self.head.as_chunks::<3>().0.iter().map(at).collect();
        }
    }

    /// Joins small chunks into large ones.
    fn regroup(&mut self) {
        let bits = NODE_BITS.min(self.point.len());
        let size = 2usize << bits;
        let per = 1usize << (bits - self.bits);
        let empty = self.form.empty(self.lambda);
        self.chunks = self
            .chunks
            .par_chunks(per)
            .map(|part| {
                let mut joined = Chunk { a: Vec::with_capacity(size), b: Vec::with_capacity(size), unbound: None };
                for chunk in part {
                    joined.a.extend_from_slice(&chunk.a);
                    joined.b.extend_from_slice(&chunk.b);
                    joined.pad(joined.a.len(), [[Fr::ZERO; 2], [Fr::ONE, -Fr::ONE]]);
                }
                joined.pad(size, empty);
                joined
            })
            .collect();
        self.bits = bits;
        self.prepare_eq(self.chunks.len());
    }

    /// Computes `ends` for the current round, if one is left.
    fn find_ends(&mut self) {
        if self.bits > 0 {
            let eq = &self.eq_node[self.bits - 1];
            let ends = self.chunks.par_iter().zip(&self.eq_chunk).map(|(c, e)| c.ends(eq).map(|x| x * e));
            let ends = ends.reduce(|| [Fr::ZERO; 2], add);
            self.set_ends(ends);
        }
    }

    /// Sets `ends`, given what tables contribute.
    fn set_ends(&mut self, tables: [Fr; 2]) {
        self.ends = add(tables, self.head_ends());
        self.ends[0] += self.past;
    }

    /// `p_0, p_1, q_0, q_1` of each of the `2^bits` nodes that are left.
    pub fn tail(mut self, bits: usize) -> Vec<Fr> {
        self.fill(bits);
        let Some([a0, a1, b0, b1]) = &self.late else { return Vec::new() };
        let node = |i: usize| match self.form {
            Form::Fractions => [a0[i] - self.lambda * b1[i], b0[i], b1[i], a1[i]],
            Form::Leaves => [b0[i], -b1[i], (a0[i] - b0[i]) * self.lambda_inverse, (a1[i] + b1[i]) * self.lambda_inverse],
        };
        (0..1usize << bits).flat_map(node).collect()
    }
}

fn add(a: [Fr; 2], b: [Fr; 2]) -> [Fr; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

impl Chunk<'_> {
    /// `Σ_y eq[y] · κ h(y, ·)` at 0 and its leading coefficient, if there are tables; entries `4y..4y+4` belong to nodes `2y` and `2y + 1`.
    fn ends(&self, eq: &[Fr]) -> [Fr; 2] {
        if self.unbound.is_some() {
            return [Fr::ZERO; 2];
        }
        if self.b.is_empty() {
            // The weights sum to 1.
            let [zero, infinity] = table::layer_ends(&self.a, None, eq);
            return [zero - Fr::ONE, infinity];
        }
        table::layer_ends(&self.a, Some(&self.b), eq)
    }

    /// [`Chunk::ends`] in the first round.
    fn first_ends(&self, eq: &[Fr], lambda: &Fr) -> [Fr; 2] {
        if let Some(Below::Quads(units)) = &self.unbound {
            let (a, b) = Below::tables(units, lambda);
            return table::layer_ends(&a, Some(&b), eq);
        }
        self.ends(eq)
    }

    /// Binds the least significant variable of the nodes to `r`; `first` are the first challenges, up to this one or [`HEAD`] of them.
    fn bind(&mut self, r: Fr, form: Form, lambda: &Fr, first: &[Fr]) {
        match &self.unbound {
            Some(Below::Units(units)) => {
                if let Ok(challenges) = first.try_into() {
                    match form {
                        Form::Leaves => self.a = units.bind(lambda, challenges),
                        Form::Fractions => [self.a, self.b] = units.pair_bind(lambda, challenges),
                    }
                    self.unbound = None;
                }
            }
            Some(Below::Quads(units)) => {
                // Copies, since tables that were cut off would leave holes between them that nothing fits.
                let (mut a, mut b) = Below::tables(units, lambda);
                table::bind_pairs(&mut a, &r);
                table::bind_pairs(&mut b, &r);
                (self.a, self.b) = (a.to_vec(), b.to_vec());
                self.unbound = None;
            }
            None => {
                table::bind_pairs(&mut self.a, &r);
                table::bind_pairs(&mut self.b, &r);
            }
        }
    }
}

impl RoundProver for LayerSumcheck<'_> {
    /// The coefficients of `h`.
    fn round(&mut self, claim: Fr) -> Vec<Fr> {
        if self.late.is_some() {
            return self.joint(1);
        }
        let last = self.point.len() - 1;
        let x = self.point[last];
        // claim = (1 − x) h(0) + x h(1)
        let [h0, h2] = match self.form {
            Form::Fractions => self.ends,
            Form::Leaves => self.ends.map(|e| e * self.lambda_inverse),
        };
        let h1 = (claim - (Fr::ONE - x) * h0) * self.inverses[last] - h0 - h2;
        vec![h0, h1, h2]
    }

    fn joint(&mut self, variables: usize) -> Vec<Fr> {
        self.fill(variables);
        let Some(tables) = &self.late else { return Vec::new() };
        // Nodes past the tables are all alike: they add to the constant coefficient only, which is not sent.
        let mut eq = mle::eq_table(&self.point[..self.point.len() - variables]);
        eq.truncate(tables[0].len() >> variables);
        let mut coefficients = joint::weighted(tables.each_ref().map(|t| &t[..]), &eq, variables);
        if let Form::Leaves = self.form {
            coefficients.iter_mut().for_each(|c| *c *= self.lambda_inverse);
        }
        coefficients
    }

    fn bind(&mut self, r: Fr) {
        if self.late.is_some() {
            return self.bind_all(&[r]);
        }
        if self.point.pop().is_none() {
            return;
        }
        self.bits -= 1;
        self.bind_head(r);
        let (form, lambda, first) = (self.form, self.lambda, &self.challenges[..]);
        let collect = self.point.len() <= LATE_BITS;
        if collect || (self.bits == SMALL_BITS && self.point.len() > self.bits) {
            self.chunks.par_iter_mut().for_each(|c| c.bind(r, form, &lambda, first));
            if collect {
                return self.collect();
            }
            self.regroup();
            self.find_ends();
            return;
        }
        let eq = self.bits.checked_sub(1).map(|l| &self.eq_node[l]);
        let ends = self.chunks.par_iter_mut().zip(&self.eq_chunk).map(|(c, e)| {
            c.bind(r, form, &lambda, first);
            eq.map_or([Fr::ZERO; 2], |eq| c.ends(eq).map(|x| x * e))
        });
        let ends = ends.reduce(|| [Fr::ZERO; 2], add);
        self.set_ends(ends);
    }

    fn bind_all(&mut self, challenges: &[Fr]) {
        let Some(tables) = &mut self.late else {
            return challenges.iter().for_each(|r| self.bind(*r));
        };
        for table in tables.iter_mut() {
            *table = joint::bind_low(table, challenges);
        }
        self.point.truncate(self.point.len() - challenges.len());
    }
}

#[cfg(test)]
mod tests;
