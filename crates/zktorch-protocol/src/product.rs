//! The prover of a batch of sums of products: `Σ_t c_t · Σ_x Π_f T_{t,f}(x)`, for terms over different numbers of variables.

use crate::sumcheck::{RoundProver, interpolate};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{Fr, mle::bind_top};

/// How a term over `m < rounds` variables joins a batch over more variables. It depends on the last `m` variables either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// It does not depend on the first variables; its coefficient is divided by `2^(rounds − m)`.
    Constant,
    /// Two of its factors carry `Π (1 − x_i)` over the first variables: vectors that are padded with zeros.
    Padded,
}

/// One term.
pub struct Term {
    /// Coefficient.
    pub coeff: Fr,
    /// Factors: tables of `2^m` values each.
    pub tables: Vec<Vec<Fr>>,
}

/// A batch of terms in a sumcheck of `rounds` rounds.
pub struct Batch {
    terms: Vec<State>,
    degree: usize,
    join: Join,
    round: usize,
    rounds: usize,
}

struct State {
    coeff: Fr,
    tables: Vec<Vec<Fr>>,
    vars: usize,
    /// The sum, for terms that have not joined yet.
    sum: Fr,
}

/// Pairs per parallel task.
const CHUNK: usize = 1 << 10;

impl Batch {
    /// `degree` is that of the round polynomials.
    pub fn new(terms: Vec<Term>, rounds: usize, degree: usize, join: Join) -> Batch {
        let terms = terms
            .into_iter()
            .map(|t| {
                let len = t.tables.first().map_or(1, Vec::len);
                let vars = len.trailing_zeros() as usize;
                assert!(len.is_power_of_two() && vars <= rounds && t.tables.iter().all(|x| x.len() == len), "tables of one size");
                State { coeff: t.coeff, vars, sum: Fr::ZERO, tables: t.tables }
            })
            .map(|mut s| {
                if s.vars < rounds {
                    s.sum = total(&s.tables);
                }
                s
            })
            .collect();
        Batch { terms, degree, join, round: 0, rounds }
    }

    /// Values of the factors of term `t` at the point to which all variables were bound.
    pub fn finals(&self, t: usize) -> Vec<Fr> {
        self.terms[t].tables.iter().map(|x| x[0]).collect()
    }
}

/// `Σ_x Π_f T_f(x)`.
fn total(tables: &[Vec<Fr>]) -> Fr {
    let n = tables.first().map_or(1, Vec::len);
    (0..n.div_ceil(CHUNK))
        .into_par_iter()
        .map(|c| (c * CHUNK..((c + 1) * CHUNK).min(n)).map(|i| tables.iter().map(|t| t[i]).product::<Fr>()).sum::<Fr>())
        .sum()
}

/// Sums over all pairs of `Π_f (lo_f + X (hi_f − lo_f))` at `X = 0..=d`, `d` the number of tables.
fn round_values(tables: &[Vec<Fr>]) -> Vec<Fr> {
    let half = tables[0].len() / 2;
    let d = tables.len();
    let chunk = |c: usize| {
        let mut sums = vec![Fr::ZERO; d + 1];
        let mut x = vec![Fr::ZERO; d];
        let mut step = vec![Fr::ZERO; d];
        for i in c * CHUNK..((c + 1) * CHUNK).min(half) {
            for (f, t) in tables.iter().enumerate() {
                x[f] = t[i];
                step[f] = t[i + half] - t[i];
            }
            for (k, sum) in sums.iter_mut().enumerate() {
                if k > 0 {
                    for (x, s) in x.iter_mut().zip(&step) {
                        *x += s;
                    }
                }
                let mut p = x[0];
                for y in &x[1..] {
                    p *= y;
                }
                *sum += p;
            }
        }
        sums
    };
    let add = |mut a: Vec<Fr>, b: Vec<Fr>| {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    };
    (0..half.div_ceil(CHUNK)).into_par_iter().map(chunk).reduce(|| vec![Fr::ZERO; d + 1], add)
}

impl RoundProver for Batch {
    fn round(&mut self, _claim: Fr) -> Vec<Fr> {
        let left = self.rounds - self.round;
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let parts: Vec<Vec<Fr>> = self
            .terms
            .par_iter()
            .map(|t| {
                if t.vars < left {
                    match self.join {
                        Join::Constant => vec![t.coeff * half * t.sum],
                        Join::Padded => {
                            let s = t.coeff * t.sum;
                            vec![s, -s.double(), s]
                        }
                    }
                } else {
                    interpolate(&round_values(&t.tables)).into_iter().map(|c| c * t.coeff).collect()
                }
            })
            .collect();
        let mut coeffs = vec![Fr::ZERO; self.degree + 1];
        for part in parts {
            for (c, p) in coeffs.iter_mut().zip(part) {
                *c += p;
            }
        }
        coeffs
    }

    fn bind(&mut self, r: Fr) {
        let left = self.rounds - self.round;
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let join = self.join;
        self.terms.par_iter_mut().for_each(|t| {
            if t.vars < left {
                t.coeff *= match join {
                    Join::Constant => half,
                    Join::Padded => (Fr::ONE - r).square(),
                };
            } else {
                t.tables.par_iter_mut().for_each(|x| bind_top(x, r));
            }
        });
        self.round += 1;
    }
}
