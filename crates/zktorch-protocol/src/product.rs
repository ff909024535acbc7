//! The prover of a batch of sums of products: `Σ_t c_t · Σ_x Π_f T_{t,f}(x)`, for terms over different numbers of variables.

use crate::claims::Claim;
use crate::streamed::Streamed;
use crate::sumcheck::{RoundProver, interpolate};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{Fr, mle::bind_top, small::dot, table};

/// How a term over `m < rounds` variables joins a batch over more variables. It depends on the last `m` variables either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// It does not depend on the first variables; its coefficient is divided by `2^(rounds − m)`.
    Constant,
    /// Two of its factors carry `Π (1 − x_i)` over the first variables: vectors that are padded with zeros.
    Padded,
}

/// One term.
pub struct Term<'a> {
    /// Coefficient.
    pub coeff: Fr,
    /// The factors.
    pub factors: Factors<'a>,
}

/// The factors of a term.
pub enum Factors<'a> {
    /// Tables of `2^m` values each.
    Tables(Vec<Vec<Fr>>),
    /// Two factors that are tables only after the first rounds, over the given number of variables.
    Streamed(Streamed<'a>, usize),
}

impl<'a> Factors<'a> {
    /// `cells(x) · Σ_j w_j K_j(x)` over `2^vars` cells.
    pub fn streamed(cells: &'a [i64], claims: &[(Fr, Claim)], vars: usize) -> Factors<'a> {
        let streamed = Streamed::new(cells, claims, vars);
        match vars {
            0 => Factors::Tables(streamed.tables().into()),
            _ => Factors::Streamed(streamed, vars),
        }
    }
}

/// A batch of terms in a sumcheck of `rounds` rounds.
///
/// Coefficient 1 of a round polynomial is never sent (see [`crate::sumcheck`]), so it is not computed where that saves work.
pub struct Batch<'a> {
    terms: Vec<State<'a>>,
    degree: usize,
    join: Join,
    round: usize,
    rounds: usize,
}

struct State<'a> {
    term: Term<'a>,
    vars: usize,
    /// The sum, for terms that have not joined yet.
    sum: Fr,
}

/// Pairs per parallel task.
const CHUNK: usize = 1 << 11;

impl<'a> Batch<'a> {
    /// `degree` is that of the round polynomials.
    pub fn new(terms: Vec<Term<'a>>, rounds: usize, degree: usize, join: Join) -> Batch<'a> {
        let terms = terms
            .into_iter()
            .map(|term| {
                let vars = match &term.factors {
                    Factors::Streamed(_, vars) => *vars,
                    Factors::Tables(tables) => {
                        let len = tables.first().map_or(1, Vec::len);
                        assert!(len.is_power_of_two() && tables.iter().all(|x| x.len() == len), "tables of one size");
                        len.trailing_zeros() as usize
                    }
                };
                assert!(vars <= rounds, "no more variables than rounds");
                let sum = if vars < rounds { total(&term.factors) } else { Fr::ZERO };
                State { vars, sum, term }
            })
            .collect();
        Batch { terms, degree, join, round: 0, rounds }
    }

    /// Values of the factors of term `t` at the point to which all variables were bound.
    pub fn finals(&self, t: usize) -> Vec<Fr> {
        match &self.terms[t].term.factors {
            Factors::Tables(tables) => tables.iter().map(|x| x[0]).collect(),
            Factors::Streamed(..) => unreachable!("all variables are bound"),
        }
    }
}

fn chunks(n: usize) -> impl IndexedParallelIterator<Item = std::ops::Range<usize>> {
    (0..n.div_ceil(CHUNK)).into_par_iter().map(move |c| c * CHUNK..((c + 1) * CHUNK).min(n))
}

/// `Σ_x Π_f T_f(x)`.
fn total(factors: &Factors<'_>) -> Fr {
    let tables = match factors {
        Factors::Streamed(streamed, _) => return streamed.sum(),
        Factors::Tables(tables) => tables,
    };
    let n = tables.first().map_or(1, Vec::len);
    match tables.as_slice() {
        [a, b] => chunks(n).map(|c| dot(&a[c.clone()], &b[c])).sum(),
        tables => chunks(n)
            .map(|c| {
                let tables: Vec<&[Fr]> = tables.iter().map(|t| &t[c.clone()]).collect();
                table::product_values(&tables, &tables, 1)[0]
            })
            .sum(),
    }
}

/// Coefficients 0 and 2 of a product of two tables' round polynomial.
fn two_tables(a: &[Fr], b: &[Fr]) -> Vec<Fr> {
    let half = a.len() / 2;
    let ((a0, a1), (b0, b1)) = (a.split_at(half), b.split_at(half));
    let [c0, c2] = chunks(half)
        .map(|c| table::product_ends([&a0[c.clone()], &a1[c.clone()]], [&b0[c.clone()], &b1[c]]))
        .reduce(|| [Fr::ZERO; 2], |x, y| [x[0] + y[0], x[1] + y[1]]);
    vec![c0, Fr::ZERO, c2]
}

/// Sums over all pairs of `Π_f (lo_f + X (hi_f − lo_f))` at `X = 0..=d`, `d` the number of tables.
fn round_values(tables: &[Vec<Fr>]) -> Vec<Fr> {
    let half = tables[0].len() / 2;
    let points = tables.len() + 1;
    let round = |c: std::ops::Range<usize>| {
        let (low, high): (Vec<&[Fr]>, Vec<&[Fr]>) = tables.iter().map(|t| (&t[c.clone()], &t[c.start + half..c.end + half])).unzip();
        table::product_values(&low, &high, points)
    };
    let add = |mut a: Vec<Fr>, b: Vec<Fr>| {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    };
    chunks(half).map(round).reduce(|| vec![Fr::ZERO; points], add)
}

impl RoundProver for Batch<'_> {
    fn round(&mut self, _claim: Fr) -> Vec<Fr> {
        let left = self.rounds - self.round;
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let parts: Vec<Vec<Fr>> = self
            .terms
            .par_iter()
            .map(|s| {
                let t = &s.term;
                let coeffs = if s.vars < left {
                    match self.join {
                        Join::Constant => vec![half * s.sum],
                        Join::Padded => vec![s.sum, -s.sum.double(), s.sum],
                    }
                } else {
                    match &t.factors {
                        Factors::Streamed(streamed, _) => {
                            let [c0, c2] = streamed.round();
                            vec![c0, Fr::ZERO, c2]
                        }
                        Factors::Tables(tables) => match tables.as_slice() {
                            [a, b] => two_tables(a, b),
                            tables => interpolate(&round_values(tables)),
                        },
                    }
                };
                coeffs.into_iter().map(|c| c * t.coeff).collect()
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
        self.terms.par_iter_mut().for_each(|s| {
            let t = &mut s.term;
            if s.vars < left {
                t.coeff *= match join {
                    Join::Constant => half,
                    Join::Padded => (Fr::ONE - r).square(),
                };
            } else {
                let bound = match &mut t.factors {
                    Factors::Streamed(streamed, _) => streamed.bind(r),
                    Factors::Tables(tables) => {
                        tables.par_iter_mut().for_each(|x| bind_top(x, r));
                        None
                    }
                };
                if let Some(tables) = bound {
                    t.factors = Factors::Tables(tables.into());
                }
            }
        });
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automaton::tests::{Rng, by_definition};
    use crate::claims::{Vector, Weight, index_bits};
    use zktorch_algebra::{fr_from_i64, hash_to_fr};
    use zktorch_program::Axis;

    fn table(seed: u64, n: usize) -> Vec<Fr> {
        (0..n as u64).map(|i| hash_to_fr(&(seed << 32 | i).to_le_bytes())).collect()
    }

    /// Runs a sumcheck in the clear and returns whether every round fits the claim, and the end.
    fn run(batch: &mut Batch<'_>, mut claim: Fr) -> (Fr, Vec<Fr>) {
        let mut point = Vec::new();
        for round in 0..batch.rounds as u64 {
            let mut c = batch.round(claim);
            c[1] = claim - c[0].double() - c[2..].iter().sum::<Fr>();
            let r = hash_to_fr(&round.to_le_bytes());
            claim = c.iter().rev().fold(Fr::ZERO, |acc, c| acc * r + c);
            batch.bind(r);
            point.push(r);
        }
        (claim, point)
    }

    #[test]
    fn streamed_terms_and_tables_give_the_same_sumcheck() {
        let mut rng = Rng(3);
        for n in 0..=9usize {
            for len in [(1usize << n) - (1 << n) / 3, 1 << n] {
                let mut cells: Vec<i64> = (0..len as i64).map(|i| (i * 7919) % 301 - 150).collect();
                cells[0] = i64::MIN + 1;
                let claims: Vec<(Fr, Claim)> = (0..3u64)
                    .map(|k| {
                        let size = 1 + rng.below(len);
                        let axes = vec![(Axis { size, stride: 1 }, Weight::Eq(rng.point(index_bits(size))))];
                        let claim = Claim { vector: Vector::Heap, offset: rng.below(len - size + 1), axes, value: Default::default() };
                        (Fr::from(k + 2), claim)
                    })
                    .collect();
                let mut weights = vec![Fr::ZERO; 1 << n];
                for (w, c) in &claims {
                    by_definition(c.offset, &c.axes, n).iter().zip(&mut weights).for_each(|(k, e)| *e += *w * k);
                }
                let mut padded: Vec<Fr> = cells.iter().map(|&v| fr_from_i64(v)).collect();
                padded.resize(1 << n, Fr::ZERO);
                let claim = dot(&padded, &weights);
                for rounds in [n, n + 2] {
                    let term = |factors| vec![Term { coeff: Fr::from(4u64), factors }];
                    let mut a = Batch::new(term(Factors::streamed(&cells, &claims, n)), rounds, 2, Join::Constant);
                    let mut b = Batch::new(term(Factors::Tables(vec![padded.clone(), weights.clone()])), rounds, 2, Join::Constant);
                    let claim = claim * Fr::from(4u64);
                    assert_eq!(run(&mut a, claim), run(&mut b, claim));
                    assert_eq!(a.finals(0), b.finals(0));
                }
            }
        }
    }

    #[test]
    fn short_terms_join_late() {
        let (a, b, c) = (table(2, 8), table(3, 8), table(4, 2));
        let short = dot(&c, &c);
        let long = dot(&a, &b);
        let k = Fr::from(5u64);
        for join in [Join::Constant, Join::Padded] {
            let terms = vec![
                Term { coeff: Fr::ONE, factors: Factors::Tables(vec![a.clone(), b.clone()]) },
                Term { coeff: k, factors: Factors::Tables(vec![c.clone(), c.clone()]) },
            ];
            let mut batch = Batch::new(terms, 3, 2, join);
            let (end, point) = run(&mut batch, long + k * short);
            let scale = match join {
                Join::Constant => Fr::from(4u64).inverse().expect("4 is invertible"),
                Join::Padded => ((Fr::ONE - point[0]) * (Fr::ONE - point[1])).square(),
            };
            let value = |t: usize| batch.finals(t).into_iter().product::<Fr>();
            assert_eq!(end, value(0) + k * scale * value(1));
        }
    }
}
