//! The prover's side of a layer's sumcheck.
//!
//! With `u_b = p_b + λ q_b` the summand is `h = (p_0 + λ q_0) q_1 + p_1 q_0 = (u_0 u_1 − p_0 p_1)/λ`, so a run of nodes with `p_0 = p_1 = 1`
//! costs one product. Nodes come in chunks of a power of two; chunks past the last are all `0/1` and stay so when variables are bound.

use crate::sumcheck::RoundProver;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{Fr, batch_inverse, mle};

/// log2 of the number of nodes of a chunk after a regrouping.
const NODE_BITS: usize = super::prover::CHUNK_BITS - 1;
/// Chunks are regrouped when they are down to `2^3` nodes.
const SMALL_BITS: usize = 3;

/// The children of a run of nodes: entries `2i` and `2i + 1` belong to node `i`.
pub(super) struct Chunk {
    /// `p + λ q` (or `q`, before `λ` is known).
    pub u: Vec<Fr>,
    /// Numerators; empty if all are 1.
    pub p: Vec<Fr>,
}

/// The prover's state in a layer's sumcheck.
pub(super) struct LayerSumcheck {
    chunks: Vec<Chunk>,
    /// log2 of the number of nodes of a chunk.
    bits: usize,
    /// `eq` over the variables that number the chunks.
    eq_chunk: Vec<Fr>,
    /// `eq_node[l]`: `eq` over the `l` variables that follow those.
    eq_node: Vec<Vec<Fr>>,
    /// What the chunks past the last contribute to `λ h(0)`.
    past: Fr,
    /// The claim's point without the variables that are bound.
    point: Vec<Fr>,
    /// Inverses of the point's coordinates.
    inverses: Vec<Fr>,
    lambda: Fr,
    lambda_inverse: Fr,
    /// `Π eq(r_i, ρ_i)` over the bound variables.
    scale: Fr,
    /// The claim divided by `scale`; `None` before the first round.
    claim: Option<Fr>,
    /// `λ h(0)` and `λ h(∞)` of the current round.
    ends: [Fr; 2],
    /// Coefficients of `h`.
    h: [Fr; 3],
}

impl LayerSumcheck {
    /// For the claim at `point` (most significant variable first). All chunks have the same power-of-two size, at least two entries.
    pub fn new(chunks: Vec<Chunk>, point: &[Fr], lambda: Fr) -> LayerSumcheck {
        let mut inverses: Vec<Fr> = point.iter().copied().chain([lambda]).collect();
        batch_inverse(&mut inverses);
        let lambda_inverse = inverses.pop().unwrap_or_default();
        let bits = (chunks[0].u.len() / 2).trailing_zeros() as usize;
        let mut state = LayerSumcheck {
            chunks,
            bits,
            eq_chunk: Vec::new(),
            eq_node: Vec::new(),
            past: Fr::ZERO,
            point: point.to_vec(),
            inverses,
            lambda,
            lambda_inverse,
            scale: Fr::ONE,
            claim: None,
            ends: [Fr::ZERO; 2],
            h: [Fr::ZERO; 3],
        };
        state.prepare_eq();
        if state.bits > 0 {
            let eq = &state.eq_node[state.bits - 1];
            let ends = state.chunks.par_iter().zip(&state.eq_chunk).map(|(c, e)| c.ends(eq).map(|x| x * e));
            state.ends = ends.reduce(|| [Fr::ZERO; 2], add);
            state.ends[0] += state.past;
        }
        state
    }

    /// The `eq` tables for the current chunks.
    fn prepare_eq(&mut self) {
        let (high, low) = self.point.split_at(self.point.len() - self.bits);
        self.eq_chunk = mle::eq_table(high);
        self.eq_chunk.truncate(self.chunks.len());
        self.past = (Fr::ONE - self.eq_chunk.iter().sum::<Fr>()) * self.lambda.square();
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

    /// Joins small chunks into large ones.
    fn regroup(&mut self) {
        let bits = NODE_BITS.min(self.point.len());
        let size = 2usize << bits;
        let per = 1usize << (bits - self.bits);
        let lambda = self.lambda;
        self.chunks = self
            .chunks
            .par_chunks(per)
            .map(|part| {
                let mut u = Vec::with_capacity(size);
                let mut p = Vec::with_capacity(size);
                for chunk in part {
                    u.extend_from_slice(&chunk.u);
                    p.extend_from_slice(&chunk.p);
                    if chunk.p.is_empty() {
                        p.resize(u.len(), Fr::ONE);
                    }
                }
                u.resize(size, lambda);
                p.resize(size, Fr::ZERO);
                Chunk { u, p }
            })
            .collect();
        self.bits = bits;
        self.prepare_eq();
    }

    /// `p_0, p_1, q_0, q_1` when every variable is bound.
    pub fn children(self) -> [Fr; 4] {
        let chunk = &self.chunks[0];
        let [p0, p1] = if chunk.p.is_empty() { [Fr::ONE; 2] } else { [chunk.p[0], chunk.p[1]] };
        [p0, p1, (chunk.u[0] - p0) * self.lambda_inverse, (chunk.u[1] - p1) * self.lambda_inverse]
    }
}

fn add(a: [Fr; 2], b: [Fr; 2]) -> [Fr; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

impl Chunk {
    /// `Σ_y eq[y] · λ h(y, ·)` at 0 and its leading coefficient; entries `4y..4y+4` are the children of nodes `2y` and `2y + 1`.
    fn ends(&self, eq: &[Fr]) -> [Fr; 2] {
        let mut ends = [Fr::ZERO; 2];
        if self.p.is_empty() {
            for (u, e) in self.u.chunks_exact(4).zip(eq) {
                ends[0] += *e * (u[0] * u[1] - Fr::ONE);
                ends[1] += *e * ((u[2] - u[0]) * (u[3] - u[1]));
            }
        } else {
            for ((u, p), e) in self.u.chunks_exact(4).zip(self.p.chunks_exact(4)).zip(eq) {
                ends[0] += *e * Fr::sum_of_products(&[u[0], -p[0]], &[u[1], p[1]]);
                ends[1] += *e * Fr::sum_of_products(&[u[2] - u[0], p[0] - p[2]], &[u[3] - u[1], p[3] - p[1]]);
            }
        }
        ends
    }

    /// Binds the least significant variable of the nodes.
    fn bind(&mut self, r: Fr) {
        for v in [&mut self.u, &mut self.p] {
            let half = v.len() / 2;
            for i in 0..half {
                let at = 4 * (i / 2) + i % 2;
                v[i] = v[at] + r * (v[at + 2] - v[at]);
            }
            v.truncate(half);
        }
    }
}

impl RoundProver for LayerSumcheck {
    fn round(&mut self, claim: Fr) -> Vec<Fr> {
        let claim = self.claim.unwrap_or(claim);
        let last = self.point.len() - 1;
        let x = self.point[last];
        let zero = Fr::ONE - x;
        // claim = (1 − x) h(0) + x h(1)
        let h0 = self.ends[0] * self.lambda_inverse;
        let h2 = self.ends[1] * self.lambda_inverse;
        let h1 = (claim - zero * h0) * self.inverses[last] - h0 - h2;
        self.h = [h0, h1, h2];
        let constant = self.scale * zero;
        let slope = self.scale * (x - zero);
        vec![constant * h0, constant * h1 + slope * h0, constant * h2 + slope * h1, slope * h2]
    }

    fn bind(&mut self, r: Fr) {
        let Some(x) = self.point.pop() else {
            return;
        };
        self.claim = Some((self.h[2] * r + self.h[1]) * r + self.h[0]);
        self.scale *= (x * r).double() - x - r + Fr::ONE;
        self.bits -= 1;
        if self.bits == SMALL_BITS && self.point.len() > self.bits {
            self.chunks.par_iter_mut().for_each(|c| c.bind(r));
            self.regroup();
            let eq = &self.eq_node[self.bits - 1];
            let ends = self.chunks.par_iter().zip(&self.eq_chunk).map(|(c, e)| c.ends(eq).map(|x| x * e));
            self.ends = ends.reduce(|| [Fr::ZERO; 2], add);
            self.ends[0] += self.past;
            return;
        }
        let eq = self.bits.checked_sub(1).map(|l| &self.eq_node[l]);
        let ends = self.chunks.par_iter_mut().zip(&self.eq_chunk).map(|(c, e)| {
            c.bind(r);
            eq.map_or([Fr::ZERO; 2], |eq| c.ends(eq).map(|x| x * e))
        });
        self.ends = ends.reduce(|| [Fr::ZERO; 2], add);
        self.ends[0] += self.past;
    }
}
