//! The prover of a batch of sums of products: `Σ_t c_t · Σ_x Π_f T_{t,f}(x)`, for terms over different numbers of variables.

use crate::sumcheck::{RoundProver, interpolate};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{
    Fr, fr_from_i64,
    mle::bind_top,
    small::{dot, dot_small},
    table,
};

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
    /// A factor of integers, padded with zeros; it becomes the first factor when its first variable is bound.
    pub integers: Option<&'a [i64]>,
    /// The other factors: tables of `2^m` values each.
    pub tables: Vec<Vec<Fr>>,
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
                let len = term.tables.first().map_or(1, Vec::len);
                let vars = len.trailing_zeros() as usize;
                assert!(len.is_power_of_two() && vars <= rounds && term.tables.iter().all(|x| x.len() == len), "tables of one size");
                let sum = if vars < rounds { total(&term) } else { Fr::ZERO };
                State { vars, sum, term }
            })
            .collect();
        Batch { terms, degree, join, round: 0, rounds }
    }

    /// Values of the factors of term `t` at the point to which all variables were bound; a factor of integers comes first.
    pub fn finals(&self, t: usize) -> Vec<Fr> {
        let term = &self.terms[t].term;
        let integer = term.integers.map(|v| fr_from_i64(v.first().copied().unwrap_or(0)));
        integer.into_iter().chain(term.tables.iter().map(|x| x[0])).collect()
    }
}

fn chunks(n: usize) -> impl IndexedParallelIterator<Item = std::ops::Range<usize>> {
    (0..n.div_ceil(CHUNK)).into_par_iter().map(move |c| c * CHUNK..((c + 1) * CHUNK).min(n))
}

/// `Σ_x Π_f T_f(x)`.
fn total(term: &Term<'_>) -> Fr {
    let n = term.tables.first().map_or(1, Vec::len);
    let tables = &term.tables;
    match (term.integers, tables.as_slice()) {
        (Some(cells), [t]) => chunks(cells.len()).map(|c| dot_small(&cells[c.clone()], &t[c])).sum(),
        (None, [a, b]) => chunks(n).map(|c| dot(&a[c.clone()], &b[c])).sum(),
        (None, tables) => chunks(n)
            .map(|c| {
                let tables: Vec<&[Fr]> = tables.iter().map(|t| &t[c.clone()]).collect();
                table::product_values(&tables, &tables, 1)[0]
            })
            .sum(),
        (cells, tables) => chunks(n)
            .map(|c| {
                let one = |i: usize| {
                    let integer = cells.map_or(Fr::ONE, |v| fr_from_i64(v.get(i).copied().unwrap_or(0)));
                    tables.iter().fold(integer, |p, t| p * t[i])
                };
                c.map(one).sum::<Fr>()
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

/// The cells of a range of padded integers, without the padding.
fn present(cells: &[i64], range: std::ops::Range<usize>) -> &[i64] {
    &cells[range.start.min(cells.len())..range.end.min(cells.len())]
}

/// The same for integers and a table.
fn integers_and_table(cells: &[i64], b: &[Fr]) -> Vec<Fr> {
    let half = b.len() / 2;
    let (b0, b1) = b.split_at(half);
    let [c0, c2] = chunks(half)
        .map(|c| {
            let (x, y) = (present(cells, c.clone()), present(cells, c.start + half..c.end + half));
            let (b0, b1) = (&b0[c.clone()], &b1[c]);
            // Longer than y: padding begins there first.
            let steps: Option<Vec<i64>> = x.iter().zip(y.iter().chain(std::iter::repeat(&0))).map(|(x, y)| y.checked_sub(*x)).collect();
            let slope = |b: &[Fr]| match &steps {
                Some(steps) => dot_small(steps, b),
                None => dot_small(y, b) - dot_small(x, b),
            };
            [dot_small(x, b0), slope(b1) - slope(b0)]
        })
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

/// Binds the first variable of integers that are padded to `2·half` values.
fn bind_integers(cells: &[i64], half: usize, r: Fr) -> Vec<Fr> {
    let mut out = table::zeros(half);
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, out)| {
        let (from, to) = (c * CHUNK, c * CHUNK + out.len());
        table::bind_integers(present(cells, from..to), present(cells, from + half..to + half), &r, out);
    });
    out
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
                    match (t.integers, t.tables.as_slice()) {
                        (Some(cells), [b]) => integers_and_table(cells, b),
                        (None, [a, b]) => two_tables(a, b),
                        (_, tables) => interpolate(&round_values(tables)),
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
                let size = t.tables.first().map_or(1, Vec::len);
                let bound = t.integers.take().map(|cells| bind_integers(cells, size / 2, r));
                t.tables.par_iter_mut().for_each(|x| bind_top(x, r));
                if let Some(bound) = bound {
                    t.tables.insert(0, bound);
                }
            }
        });
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zktorch_algebra::hash_to_fr;

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
    fn integers_and_their_field_elements_give_the_same_sumcheck() {
        let cells: Vec<i64> = (0..50).map(|i| (i * 7919) % 301 - 150).chain([i64::MAX, i64::MIN + 1, 0, 5]).collect();
        let mut padded: Vec<Fr> = cells.iter().map(|&v| fr_from_i64(v)).collect();
        padded.resize(64, Fr::ZERO);
        let other = table(1, 64);
        let claim = dot(&padded, &other);
        let terms = |integers: bool| {
            let tables = if integers { vec![other.clone()] } else { vec![padded.clone(), other.clone()] };
            vec![Term { coeff: Fr::ONE, integers: integers.then_some(&cells[..]), tables }]
        };
        for join in [Join::Constant, Join::Padded] {
            let mut a = Batch::new(terms(true), 6, 2, join);
            let mut b = Batch::new(terms(false), 6, 2, join);
            let (end, point) = run(&mut a, claim);
            assert_eq!(run(&mut b, claim), (end, point));
            assert_eq!(a.finals(0), b.finals(0));
            assert_eq!(end, a.finals(0).into_iter().product::<Fr>());
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
                Term { coeff: Fr::ONE, integers: None, tables: vec![a.clone(), b.clone()] },
                Term { coeff: k, integers: None, tables: vec![c.clone(), c.clone()] },
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
