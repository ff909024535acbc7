//! The fast paths against the plain definition.

use super::einsum::{Values, evaluate};
use super::memory::Memory;
use crate::builder::Builder;
use crate::relation::{Factor, Term};
use crate::view::{Axis, Source, View};
use proptest::prelude::*;

/// `Σ terms` at every output index, by definition.
fn naive(memory: &Memory, sizes: &[usize], outputs: usize, terms: &[Term]) -> Vec<i128> {
    let shape = &sizes[..outputs];
    let total: usize = shape.iter().product();
    (0..total)
        .map(|o| {
            let at = super::index_of(o, shape);
            terms.iter().map(|t| term(memory, sizes, &at, t)).sum()
        })
        .collect()
}

fn term(memory: &Memory, sizes: &[usize], at: &[usize], t: &Term) -> i128 {
    let summed: Vec<usize> = (at.len()..sizes.len()).filter(|&l| t.factors.iter().any(|f| f.letters.contains(&(l as u8)))).collect();
    let shape: Vec<usize> = summed.iter().map(|&l| sizes[l]).collect();
    (0..shape.iter().product::<usize>())
        .map(|k| {
            let inner = super::index_of(k, &shape);
            let index = |l: u8| match summed.iter().position(|&s| s == l as usize) {
                Some(p) => inner[p],
                None => at[l as usize],
            };
            t.factors.iter().fold(t.coeff, |p, f| {
                let axes = f.letters.iter().zip(&f.view.axes);
                let cell = f.view.offset + axes.map(|(&l, a)| index(l) * a.stride).sum::<usize>();
                let one = View { source: f.view.source, offset: cell, axes: vec![] };
                let value = match one.source {
                    Source::Matrix(m) => memory.matrix(m).get(cell),
                    _ => memory.read(&one)[0],
                };
                p * value as i128
            })
        })
        .sum()
}

fn widen(values: Values) -> Vec<i128> {
    match values {
        Values::Narrow(v) => v.into_iter().map(i128::from).collect(),
        Values::Wide(v) => v,
    }
}

/// A deterministic stream of integers below `bound` in absolute value.
fn stream(seed: u64, n: usize, bound: i64) -> Vec<i64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 1) as i64 % bound * if state & 1 == 0 { 1 } else { -1 }
        })
        .collect()
}

/// Letters, strides, offset, source (0 parameter heap, 1 public tensor).
type FactorCase = (Vec<u8>, Vec<usize>, usize, u8);

#[derive(Clone, Debug)]
struct Case {
    sizes: Vec<usize>,
    outputs: usize,
    /// Coefficient and factors of each term.
    terms: Vec<(i128, Vec<FactorCase>)>,
    magnitude: u32,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(1usize..12, 1..6), 1u32..40, any::<u64>()).prop_flat_map(|(sizes, magnitude, seed)| {
        let n = sizes.len();
        let factor = (
            prop::sample::subsequence((0..n as u8).collect::<Vec<_>>(), 0..=n).prop_shuffle(),
            prop::collection::vec(0usize..40, n),
            0usize..50,
            0u8..2,
        )
            .prop_map(|(letters, mut strides, offset, source)| {
                strides.truncate(letters.len());
                (letters, strides, offset, source)
            });
        let term = (-1000i128..1000, prop::collection::vec(factor, 0..=3));
        (prop::collection::vec(term, 1..4), 0..=n).prop_map(move |(terms, outputs)| Case {
            sizes: sizes.clone(),
            outputs,
            terms,
            magnitude,
            seed,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn sums_of_terms_equal_their_definition(case in case()) {
        // Longest possible window: 5 axes of 11 indices with stride 40, and the offset.
        let len = 5 * 11 * 40 + 51;
        let mut b = Builder::new();
        let p = b.param("p", &[len], &stream(case.seed, len, 1 << case.magnitude));
        let q = b.public("q", &[len], i64::MIN, i64::MAX);
        let built = b.finish(None);
        let mut memory = Memory::new(&built.program, &built.parameters);
        memory.write(&q, &stream(case.seed ^ 77, len, 1 << case.magnitude));
        let terms: Vec<Term> = case.terms.iter().map(|(coeff, factors)| Term {
            coeff: *coeff,
            factors: factors.iter().map(|(letters, strides, offset, source)| Factor {
                view: View {
                    source: if *source == 0 { p.source } else { q.source },
                    offset: *offset,
                    axes: letters.iter().zip(strides)
                        .map(|(&l, &stride)| Axis { size: case.sizes[l as usize], stride })
                        .collect(),
                },
                letters: letters.clone(),
            }).collect(),
        }).collect();
        if let Ok(values) = evaluate(&memory, "n", &case.sizes, case.outputs, &terms) {
            prop_assert_eq!(widen(values), naive(&memory, &case.sizes, case.outputs, &terms));
        } else {
            prop_assert!(case.magnitude > 25);
        }
    }
}

/// Compares `evaluate` with the definition for products of a matrix, in each width, and a public tensor.
fn against_matrix(sizes: &[usize], outputs: usize, w: (&[usize], &[u8]), x: (View, &[u8])) {
    for bound in [128, 1 << 15, 1 << 29] {
        against_matrix_of(bound, sizes, outputs, w, (x.0.clone(), x.1));
    }
}

fn against_matrix_of(bound: i64, sizes: &[usize], outputs: usize, w: (&[usize], &[u8]), x: (View, &[u8])) {
    let mut b = Builder::new();
    let cells: usize = w.0.iter().product();
    let weights = stream(3, cells, bound).into_iter().map(|v| v as i32).collect();
    let matrix = b.matrix("w", w.0, weights);
    let len = x.0.end();
    let public = b.public("x", &[len], -40000, 40000);
    let built = b.finish(None);
    let mut memory = Memory::new(&built.program, &built.parameters);
    memory.write(&public, &stream(4, len, 32768));
    let x_view = View { source: public.source, ..x.0 };
    for flip in [false, true] {
        let term = match flip {
            false => Term::product(-3, matrix.clone(), w.1, x_view.clone(), x.1),
            true => Term::product(-3, x_view.clone(), x.1, matrix.clone(), w.1),
        };
        let terms = [term, Term::constant(5)];
        let values = evaluate(&memory, "n", sizes, outputs, &terms).expect("small numbers");
        assert_eq!(widen(values), naive(&memory, sizes, outputs, &terms));
    }
}

#[test]
fn products_with_matrices_equal_their_definition() {
    let dense = |shape: &[usize]| View::dense(Source::Params, 0, shape);
    // Linear: y[t, o] = Σ_i x[t, i] w[o, i], also with one token, transposed weights, and an odd depth beyond one pass.
    against_matrix(&[5, 7, 33], 2, (&[7, 33], &[1, 2]), (dense(&[5, 33]), &[0, 2]));
    against_matrix(&[1, 70, 33], 2, (&[70, 33], &[1, 2]), (dense(&[1, 33]), &[0, 2]));
    against_matrix(&[5, 7, 33], 2, (&[33, 7], &[2, 1]), (dense(&[5, 33]), &[0, 2]));
    against_matrix(&[21, 5, 1501], 2, (&[5, 1501], &[1, 2]), (dense(&[21, 1501]), &[0, 2]));
    // More columns and summed indices than one block has, and more rows than one group.
    against_matrix(&[5, 530, 67], 2, (&[67, 530], &[2, 1]), (dense(&[5, 67]), &[0, 2]));
    against_matrix(&[2, 9, 210], 2, (&[210, 9], &[2, 1]), (dense(&[2, 210]), &[0, 2]));
    // Convolution: y[o, i, j] = Σ_{c, u, v} w[o, c, u, v] x[c, i + u, j + v], through overlapping windows.
    let window = |c: usize, h: usize, w: usize, k: usize| View {
        source: Source::Params,
        offset: 0,
        axes: vec![
            Axis { size: c, stride: h * w },
            Axis { size: h - k + 1, stride: w },
            Axis { size: w - k + 1, stride: 1 },
            Axis { size: k, stride: w },
            Axis { size: k, stride: 1 },
        ],
    };
    against_matrix(&[6, 7, 5, 4, 3, 3], 3, (&[6, 4, 3, 3], &[0, 3, 4, 5]), (window(4, 9, 7, 3), &[3, 1, 2, 4, 5]));
    // Depthwise, with the channel as batch letter.
    against_matrix(&[4, 7, 5, 3, 3], 3, (&[4, 3, 3], &[0, 3, 4]), (window(4, 9, 7, 3), &[0, 1, 2, 3, 4]));
    // Elementwise and whole contraction.
    against_matrix(&[5, 9], 2, (&[5, 9], &[0, 1]), (dense(&[5, 9]), &[0, 1]));
    against_matrix(&[5, 9], 0, (&[9, 5], &[1, 0]), (dense(&[5, 9]), &[0, 1]));
    // A letter of the weight's own is summed first.
    against_matrix(&[4, 6, 9, 10], 2, (&[6, 9, 10], &[1, 3, 2].map(|l| if l == 1 { 1 } else { 5 - l })), (dense(&[4, 9]), &[0, 2]));
}

#[test]
#[ignore = "prints the speed of matrix products"]
#[allow(clippy::print_stderr)]
fn speed() {
    let mut b = Builder::new();
    let (t, o, i) = (256, 1024, 1024);
    let weights = stream(3, o * i, 128).into_iter().map(|v| v as i32).collect();
    let w = b.matrix("w", &[o, i], weights);
    let x = b.public("x", &[t, i], -40000, 40000);
    let y = b.public("y", &[i, t], -40000, 40000);
    let built = b.finish(None);
    let mut memory = Memory::new(&built.program, &built.parameters);
    memory.write(&x, &stream(4, t * i, 32768));
    memory.write(&y, &stream(4, t * i, 32768));
    let timed = |name: &str, sizes: &[usize], outputs: usize, term: Term| {
        let start = std::time::Instant::now();
        let work: usize = sizes.iter().product();
        evaluate(&memory, "n", sizes, outputs, &[term]).expect("small numbers");
        let s = start.elapsed().as_secs_f64();
        eprintln!("{name}: {:.2} GMAC/s", work as f64 / s / 1e9);
    };
    let run = |name: &str, sizes: &[usize], term: Term| timed(name, sizes, 2, term);
    let run_3 = |name: &str, sizes: &[usize], term: Term| timed(name, sizes, 3, term);
    run("linear", &[t, o, i], Term::product(1, x.clone(), &[0, 2], w.clone(), &[1, 2]));
    run("linear, weights transposed", &[t, o, i], Term::product(1, x.clone(), &[0, 2], w.clone(), &[2, 1]));
    run("one token", &[1, o, i], Term::product(1, x.slice(0, 0, 1, 1), &[0, 2], w.clone(), &[1, 2]));
    let heads = |v: &View| v.reshape(&[t, 16, 64]).expect("dense").permute(&[1, 0, 2]);
    let scores = Term::product(1, heads(&x), &[0, 1, 3], heads(&View::dense(y.source, 0, &[t, i])), &[0, 2, 3]);
    run_3("attention scores", &[16, t, t, 64], scores);
    let values = Term::product(1, View::dense(y.source, 0, &[4, t, t]), &[0, 1, 3], View::dense(x.source, 0, &[4, t, 64]), &[0, 3, 2]);
    run_3("attention values", &[4, t, 64, t], values);
    let window = |c: usize, h: usize, k: usize| View {
        source: x.source,
        offset: 0,
        axes: [(c, h * h), (h - k + 1, h), (h - k + 1, 1), (k, h), (k, 1)].map(|(size, stride)| Axis { size, stride }).to_vec(),
    };
    let kernel = View::dense(y.source, 0, &[64, 64, 3, 3]);
    let conv = Term::product(1, kernel, &[0, 3, 4, 5], window(64, 58, 3), &[3, 1, 2, 4, 5]);
    run_3("convolution", &[64, 56, 56, 64, 3, 3], conv);
    let kernel = View::dense(y.source, 0, &[64, 3, 3]);
    let conv = Term::product(1, kernel, &[0, 3, 4], window(64, 58, 3), &[0, 1, 2, 3, 4]);
    run_3("depthwise convolution", &[64, 56, 56, 3, 3], conv);
    run("heap by heap", &[t, t, i], Term::product(1, x.clone(), &[0, 2], y.clone(), &[2, 1]));
}
