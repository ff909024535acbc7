//! The prover of a batch of sums of products: `Σ_t c_t · Σ_x Π_f T_{t,f}(x)`, for terms over different numbers of variables.

use crate::claims::Claim;
use crate::integers::Integers;
use crate::joint;
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
    /// Factors that are tables only after the first rounds, since two are integers.
    Integers(Integers),
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
/// Entries of tables that a thread is woken for.
const AWAKE: usize = 1 << 12;

impl<'a> Batch<'a> {
    /// `degree` is that of the round polynomials.
    pub fn new(terms: Vec<Term<'a>>, rounds: usize, degree: usize, join: Join) -> Batch<'a> {
        let terms = terms
            .into_iter()
            .map(|term| {
                let vars = match &term.factors {
                    Factors::Streamed(_, vars) => *vars,
                    Factors::Integers(integers) => integers.vars(),
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

    /// Least number of terms that a thread takes: so many that its entries are worth waking it.
    fn terms_apart(&self) -> usize {
        let entries = |s: &State<'_>| match &s.term.factors {
            Factors::Tables(tables) => tables.iter().map(Vec::len).sum(),
            Factors::Streamed(_, vars) => 2usize << vars,
            Factors::Integers(integers) => 2usize << integers.vars(),
        };
        let all: usize = self.terms.iter().map(entries).sum();
        (self.terms.len() * AWAKE / all.max(1)).max(1)
    }

    /// Values of the factors of term `t` at the point to which all variables were bound.
    pub fn finals(&self, t: usize) -> Vec<Fr> {
        match &self.terms[t].term.factors {
            Factors::Tables(tables) => tables.iter().map(|x| x[0]).collect(),
            Factors::Streamed(..) | Factors::Integers(_) => unreachable!("all variables are bound"),
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
        Factors::Integers(integers) => return integers.sum(),
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
        let apart = self.terms_apart();
        let parts: Vec<Vec<Fr>> = self
            .terms
            .par_iter()
            .with_min_len(apart)
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
                        Factors::Integers(integers) => integers.round(),
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

    fn joint(&mut self, variables: usize) -> Vec<Fr> {
        let left = self.rounds - self.round;
        let (join, points) = (self.join, self.degree + 1);
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let apart = self.terms_apart();
        let parts: Vec<Vec<Fr>> = self
            .terms
            .par_iter_mut()
            .with_min_len(apart)
            .map(|s| {
                if s.vars > left - variables {
                    match &s.term.factors {
                        Factors::Streamed(streamed, _) => s.term.factors = Factors::Tables(streamed.tables().into()),
                        Factors::Integers(integers) => s.term.factors = Factors::Tables(integers.tables()),
                        Factors::Tables(_) => {}
                    }
                }
                // The first of the variables come before the term's own.
                let before = left.saturating_sub(s.vars).min(variables);
                let (own, degree) = match &s.term.factors {
                    Factors::Tables(tables) if before < variables => (joint::product(tables, variables - before), tables.len()),
                    _ => (vec![s.sum], 0),
                };
                let line: &[Fr] = match join {
                    Join::Constant => &[half],
                    Join::Padded => &[Fr::ONE, -Fr::ONE.double(), Fr::ONE],
                };
                let mut out = vec![Fr::ZERO; points.pow(variables as u32)];
                for (k, c) in own.iter().enumerate() {
                    // Exponents of its own variables, in the larger grid.
                    let at: usize = (before..variables)
                        .scan(k, |k, i| Some((std::mem::replace(k, *k / (degree + 1)) % (degree + 1)) * points.pow(i as u32)))
                        .sum();
                    let mut grid = vec![(at, s.term.coeff * c)];
                    for i in 0..before {
                        let step = points.pow(i as u32);
                        grid = grid.iter().flat_map(|(at, c)| line.iter().enumerate().map(move |(e, l)| (at + e * step, *c * l))).collect();
                    }
                    grid.into_iter().for_each(|(at, c)| out[at] += c);
                }
                out
            })
            .collect();
        parts
            .into_iter()
            .reduce(|mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            })
            .unwrap_or_else(|| vec![Fr::ZERO; points.pow(variables as u32)])
    }

    fn bind(&mut self, r: Fr) {
        let left = self.rounds - self.round;
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let (join, apart) = (self.join, self.terms_apart());
        self.terms.par_iter_mut().with_min_len(apart).for_each(|s| {
            let t = &mut s.term;
            if s.vars < left {
                t.coeff *= match join {
                    Join::Constant => half,
                    Join::Padded => (Fr::ONE - r).square(),
                };
            } else {
                let bound = match &mut t.factors {
                    Factors::Streamed(streamed, _) => streamed.bind(r).map(Vec::from),
                    Factors::Integers(integers) => {
                        let (tables, scale) = integers.bind(r);
                        t.coeff *= scale;
                        tables
                    }
                    Factors::Tables(tables) => {
                        // Long tables are bound by all threads, one after the other.
                        tables.iter_mut().for_each(|x| bind_top(x, r));
                        None
                    }
                };
                if let Some(tables) = bound {
                    t.factors = Factors::Tables(tables);
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

    /// The same in messages about several variables.
    fn run_jointly(batch: &mut Batch<'_>, mut claim: Fr, variables: usize) -> (Fr, Vec<Fr>) {
        let mut point = Vec::new();
        let half = Fr::from(2u64).inverse().expect("2 is invertible");
        let fold = |c: &[Fr], degree: usize, one: &dyn Fn(&[Fr], usize) -> Fr, n: usize| {
            (0..n).fold(c.to_vec(), |c, i| c.chunks(degree + 1).map(|line| one(line, i)).collect())[0]
        };
        while point.len() < batch.rounds {
            let n = variables.min(batch.rounds - point.len());
            let c = batch.joint(n);
            let mean = |line: &[Fr], _: usize| line[0] + half * line[1..].iter().sum::<Fr>();
            assert_eq!(fold(&c, batch.degree, &mean, n), claim * half.pow([n as u64]), "the message fits the claim");
            let r: Vec<Fr> = (0..n).map(|i| hash_to_fr(&((point.len() + i) as u64).to_le_bytes())).collect();
            claim = fold(&c, batch.degree, &|line, i| line.iter().rev().fold(Fr::ZERO, |sum, c| sum * r[i] + c), n);
            batch.bind_all(&r);
            point.extend(r);
        }
        (claim, point)
    }

    #[test]
    fn terms_with_integers_and_tables_give_the_same_sumcheck() {
        let (head, long) = (crate::integers::HEAD_BITS, i64::from(i32::MAX));
        for (n, square, count, most) in [(3, false, 0, 1 << 20), (5, false, 1, long >> 7), (5, true, 0, long >> 6), (12, false, 2, 1 << 16)]
        {
            let integers = |seed: i64| -> std::sync::Arc<[i32]> {
                (0..1i64 << n).map(|i| ((i * 7919 + seed) % (2 * most + 1) - most) as i32).collect()
            };
            let a = integers(1);
            let b = if square { a.clone() } else { integers(5) };
            assert!(crate::integers::Integers::fits([&a, &b]));
            let field = |x: &[i32]| x.iter().map(|v| fr_from_i64(i64::from(*v))).collect::<Vec<Fr>>();
            let others: Vec<Vec<Fr>> = (0..count).map(|k| table(k, 1 << (n - head))).collect();
            let eq = table(7, 1 << (n - head));
            for points in 0..1usize << (head + 1) {
                let point: [Option<Fr>; 3] = std::array::from_fn(|i| (points >> i & 1 == 1).then(|| hash_to_fr(&[i as u8])));
                let tail = (points >> head & 1 == 1).then(|| eq.clone());
                for places in [[0, 1], [0, count as usize + 1]] {
                    let lines = point.iter().fold(vec![Fr::ONE], |head, p| {
                        head.iter().flat_map(|w| p.map_or([*w; 2], |p| [*w * (Fr::ONE - p), *w * p])).collect()
                    });
                    let mut tables: Vec<Vec<Fr>> = others.iter().map(|t| t.repeat(1 << head)).collect();
                    let rest = tail.clone().unwrap_or_else(|| vec![Fr::ONE; 1 << (n - head)]);
                    tables.push(lines.iter().flat_map(|w| rest.iter().map(move |t| *w * t)).collect());
                    tables.insert(places[0], field(&a));
                    tables.insert(places[1], field(&b));
                    let claim: Fr = (0..1 << n).map(|i| tables.iter().map(|t| t[i]).product::<Fr>()).sum::<Fr>() * Fr::from(4u64);
                    let degree = tables.len();
                    let batch =
                        |rounds: usize, factors| Batch::new(vec![Term { coeff: Fr::from(4u64), factors }], rounds, degree, Join::Constant);
                    let own = || {
                        let factors = [a.clone(), b.clone()];
                        Factors::Integers(crate::integers::Integers::new(factors, places, point, others.clone(), tail.clone()))
                    };
                    for rounds in [n, n + 2] {
                        let (mut x, mut y) = (batch(rounds, own()), batch(rounds, Factors::Tables(tables.clone())));
                        let end = run(&mut x, claim);
                        assert_eq!(end, run(&mut y, claim), "{n} variables, {points:b}");
                        assert_eq!(x.finals(0)[..degree - 1], y.finals(0)[..degree - 1]);
                        if n < 6 && degree < 4 {
                            for variables in 1..=4 {
                                assert_eq!(run_jointly(&mut batch(rounds, own()), claim, variables), end);
                            }
                        }
                    }
                }
            }
        }
        let (wide, unit): (std::sync::Arc<[i32]>, std::sync::Arc<[i32]>) = ([i32::MIN; 8].into(), [1 << 24; 8].into());
        assert!(!crate::integers::Integers::fits([&wide, &unit]));
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
                    let end = run(&mut a, claim);
                    assert_eq!(end, run(&mut b, claim));
                    assert_eq!(a.finals(0), b.finals(0));
                    for variables in 1..=4 {
                        let mut c = Batch::new(term(Factors::streamed(&cells, &claims, n)), rounds, 2, Join::Constant);
                        assert_eq!(run_jointly(&mut c, claim, variables), end);
                        assert_eq!(c.finals(0), a.finals(0));
                    }
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
            let terms = || {
                vec![
                    Term { coeff: Fr::ONE, factors: Factors::Tables(vec![a.clone(), b.clone()]) },
                    Term { coeff: k, factors: Factors::Tables(vec![c.clone(), c.clone()]) },
                ]
            };
            let mut batch = Batch::new(terms(), 3, 2, join);
            let (end, point) = run(&mut batch, long + k * short);
            let scale = match join {
                Join::Constant => Fr::from(4u64).inverse().expect("4 is invertible"),
                Join::Padded => ((Fr::ONE - point[0]) * (Fr::ONE - point[1])).square(),
            };
            let value = |t: usize| batch.finals(t).into_iter().product::<Fr>();
            assert_eq!(end, value(0) + k * scale * value(1));
            for variables in 1..=3 {
                let mut batch = Batch::new(terms(), 3, 2, join);
                assert_eq!(run_jointly(&mut batch, long + k * short, variables), (end, point.clone()));
            }
        }
    }
}
