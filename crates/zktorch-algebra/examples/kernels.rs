//! Times the kernels, with vector instructions and without: `cargo run --release -p zktorch-algebra --example kernels [NAME]`
//! runs those whose names contain `NAME`; `large` among the arguments adds a matrix of 100 million parameters.
//!
//! With `RAYON_NUM_THREADS=1` on Linux the figures are processor time, else wall time.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, sync::LazyLock, time::Instant};

use ark_ec::{CurveGroup, VariableBaseMSM};
use zktorch_algebra::{
    Fr, G1Affine, G1Projective, batch_inverse, cube, fr_from_i64, fr_from_wide_bytes, g1_each_from_bytes, g1_to_bytes, hash_to_fr,
    hash_to_g1, ifma, mle,
    msm::{FixedBaseTable, commit_rows, msm, msm_small},
    small, table,
    units::Units,
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Seconds that this thread has run, or if that would be too little those that have passed.
fn clock() -> f64 {
    let alone = std::env::var("RAYON_NUM_THREADS").is_ok_and(|n| n == "1");
    let ran = alone.then(|| std::fs::read_to_string("/proc/thread-self/schedstat").ok()).flatten();
    let nanoseconds = ran.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |n| n * 1e-9)
}

/// Nanoseconds per unit, averaged over at least a fifth of a second.
fn measure<T>(units: usize, f: &mut impl FnMut() -> T) -> f64 {
    black_box(f());
    let begin = clock();
    let mut runs = 0;
    loop {
        // As many as there were: the clock ticks every four milliseconds only, and costs a system call.
        for _ in 0..runs.max(1) {
            black_box(f());
        }
        runs += runs.max(1);
        let passed = clock() - begin;
        if passed > 0.2 {
            return passed * 1e9 / (runs * units) as f64;
        }
    }
}

/// Whether the command line asks for a row.
fn wanted(name: &str) -> bool {
    std::env::args().skip(1).filter(|a| a != "large").all(|a| name.contains(&a))
}

/// One row of code that has no vector form.
fn time_plain<T>(name: &str, units: usize, mut f: impl FnMut() -> T) {
    if wanted(name) {
        println!("{name:<40} {:>12.2} ns", measure(units, &mut f));
    }
}

/// One row: vector instructions, portable code, ratio.
fn time<T>(name: &str, units: usize, mut f: impl FnMut() -> T) {
    if !wanted(name) {
        return;
    }
    if !ifma::available() {
        return time_plain(name, units, f);
    }
    let vector = measure(units, &mut f);
    let portable = ifma::portable(|| measure(units, &mut f));
    println!("{name:<40} {vector:>12.2} ns {portable:>12.2} ns portable {:>8.2}", portable / vector);
}

fn bases(n: usize) -> Vec<G1Affine> {
    let step = hash_to_g1(b"step");
    let mut p = G1Projective::from(hash_to_g1(b"start"));
    let all: Vec<G1Projective> = (0..n)
        .map(|i| {
            p += step;
            if i % 1000 == 0 {
                p += p;
            }
            p
        })
        .collect();
    G1Projective::normalize_batch(&all)
}

/// Passes over tables, on this thread, per entry of the first table.
fn passes(scalars: &[Fr], cells: &[i64]) {
    let n = 1 << 12;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| &scalars[i * n..][..n]);
    let mut out = a.to_vec();
    let mut run = |name: &str, pass: &mut dyn FnMut(&mut Vec<Fr>)| time(name, n, || pass(&mut out));
    run("add_scaled", &mut |out| table::add_scaled(out, b, &c[0]));
    run("bind", &mut |out| table::bind(out, b, &c[0]));
    run("product_ends", &mut |_| {
        black_box(table::product_ends([a, b], [c, d]));
    });
    run("product_values, 3 factors", &mut |_| {
        black_box(table::product_values(&[a, b, c], &[b, c, d], 4));
    });
    run("layer_ends", &mut |_| {
        black_box(table::layer_ends(a, Some(b), c));
    });
    run("cube::weighted_products, 3 variables", &mut |_| {
        black_box(cube::weighted_products(a, b, &c[..n / 8], 3));
    });
    let [x, y]: [Vec<&[Fr]>; 2] = [a, b].map(|t| t.chunks(n / 8).collect());
    run("cube::products, 3 variables", &mut |_| {
        black_box(cube::products(&x, &y, 3));
    });
    run("cube::bind, 3 variables", &mut |_| {
        black_box(cube::bind(a, &c[..3]));
    });
    run("unit_fraction_sums", &mut |_| {
        black_box(table::unit_fraction_sums(a));
    });
    run("fraction_sums", &mut |_| {
        black_box(table::fraction_sums(a, b));
    });
    let mut q = b.to_vec();
    run("fractions_to_nodes", &mut |out| table::fractions_to_nodes(out, &mut q, &c[0]));
    let integers: Vec<u32> = cells[..n].iter().map(|v| u32::from(*v as u16)).collect();
    if let Some(units) = Units::new(&integers, c[0]) {
        run("units, pairs", &mut |_| {
            black_box(units.pairs());
        });
        run("units, quads", &mut |_| {
            black_box(units.quads());
        });
        run("units, products", &mut |_| {
            black_box(units.products(&c[1], &a[..n / 16]));
        });
        run("units, bind", &mut |_| {
            black_box(units.bind(&c[1], &[c[2], c[3], c[4]]));
        });
        run("units, pair_products", &mut |_| {
            black_box(units.pair_products(&c[1], &a[..n / 32]));
        });
        run("units, pair_bind", &mut |_| {
            black_box(units.pair_bind(&c[1], &[c[2], c[3], c[4]]));
        });
    }
    run("dot_small, i16", &mut |_| {
        black_box(small::dot_small(&cells[..n], a));
    });
}

fn main() {
    let n = 1 << 16;
    let scalars: Vec<Fr> = (0..n).map(|i: u32| hash_to_fr(&i.to_le_bytes())).collect();
    let noise: Vec<i64> = scalars.iter().map(|s| s.0.0[0] as i64).collect();
    let cells = |bits: u32| -> Vec<i64> { noise.iter().map(|v| v >> (64 - bits)).collect() };
    let i16s = cells(16);
    let a = &scalars[..1024];
    let mut products = a.to_vec();
    time_plain("Fr multiplication", 1024, || products.iter_mut().zip(a.iter().rev()).for_each(|(p, a)| *p *= a));
    time_plain("Fr from i64", 1024, || i16s[..1024].iter().map(|v| fr_from_i64(*v)).sum::<Fr>());
    time_plain("Fr from 64 bytes", 100, || (0..100).map(|i| fr_from_wide_bytes(black_box(&[i; 64]))).sum::<Fr>());
    time("batch inversion, 2^16", n as usize, || batch_inverse(&mut scalars.clone()));
    time("dot, 1024", 1024, || small::dot(a, a));
    for bits in [8, 16, 31, 48, 62] {
        let v = cells(bits);
        time(&format!("dot_small, i{bits}, 1024"), 1024, || small::dot_small(&v[..1024], a));
        time(&format!("evaluate_small, i{bits}, 2^16"), n as usize, || small::evaluate_small(&v, &scalars[..16]));
        for (count, len) in [(64, 1024), (1024, 1024)] {
            time(&format!("combine_rows, i{bits}, {count} x {len}"), count * len, || {
                small::combine_rows(|i| &v[i % 64 * len..][..len], &scalars[..count], len)
            });
        }
    }
    // Rows of large matrices, as they lie in memory: 96 of 3072 cells, 2^15 cells apart; 256 MB in all, which no cache holds.
    if wanted("combine_rows, strided") {
        let matrix: Vec<i16> = (0..1usize << 27).map(|i| noise[i % noise.len()] as i16).collect();
        let places: Vec<usize> =
            (0..matrix.len() >> 15).step_by(128).flat_map(|first| (0..8).map(move |line| (first << 15) + line * 4096)).collect();
        time("combine_rows, strided, i16, 96 x 3072", places.len() * 96 * 3072, || {
            places.iter().for_each(|at| {
                black_box(small::combine_rows(|i| &matrix[at + (i << 15)..][..3072], &scalars[..96], 3072));
            });
        });
    }
    passes(&scalars, &i16s);
    time("eq_table, 2^16", n as usize, || mle::eq_table(&scalars[..16]));
    time("bind_top, 2^16", n as usize, || mle::bind_top(&mut scalars.clone(), scalars[3]));
    time("evaluate, 2^16", n as usize, || mle::evaluate(&scalars, &scalars[..16]));

    let bases = bases(n as usize);
    for n in [1, 4, 10, 32, 100, 256] {
        time(&format!("msm, {n}"), n, || msm(&bases[..n], &scalars[..n]));
        time_plain(&format!("msm of arkworks, {n}"), n, || G1Projective::msm_unchecked(&bases[..n], &scalars[..n]));
    }
    for log in [10, 12, 14, 16] {
        let n = 1 << log;
        for bits in [1, 8, 16, 17, 32, 62] {
            let v = cells(bits);
            time(&format!("msm_small, i{bits}, 2^{log}"), n, || msm_small(&bases[..n], &v[..n]));
        }
        let mut mixed = cells(17);
        mixed.iter_mut().step_by(100).for_each(|v| *v <<= 40);
        time(&format!("msm_small, i17 with 1% of i57, 2^{log}"), n, || msm_small(&bases[..n], &mixed[..n]));
        time(&format!("msm, 2^{log}"), n, || msm(&bases[..n], &scalars[..n]));
        time_plain(&format!("msm of arkworks (one thread), 2^{log}"), n, || G1Projective::msm_unchecked(&bases[..n], &scalars[..n]));
    }
    let bytes: Vec<[u8; 32]> = bases[..1024].iter().map(g1_to_bytes).collect();
    time("g1_each_from_bytes, 1024", 1024, || g1_each_from_bytes(&bytes));
    let weights: Vec<i8> = (0..1 << 20).map(|i| (noise[i & 0xffff].wrapping_mul(2 * i as i64 + 1) >> 56) as i8).collect();
    for log in [8, 10, 12, 14] {
        time(&format!("commit_rows, i8, rows of 2^{log}"), weights.len(), || commit_rows(&bases, &weights, 1 << log));
    }
    if std::env::args().any(|a| a == "large") {
        let all: Vec<i8> = weights.iter().copied().cycle().take(100_000_000).collect();
        for log in [10, 12, 14] {
            let begin = Instant::now();
            black_box(commit_rows(&bases, &all, 1 << log));
            println!("100 million of i8, rows of 2^{log}: {:.2} s", begin.elapsed().as_secs_f64());
        }
    }
    let v = cells(17);
    for log in [8, 10, 12] {
        time(&format!("commit_rows, i17, rows of 2^{log}"), n as usize, || commit_rows(&bases, &v, 1 << log));
    }
    let terms: Vec<(usize, Fr)> = (0..4).map(|i| (i, scalars[i])).collect();
    for window in [4, 5, 6, 7, 8] {
        time(&format!("FixedBaseTable of 9, window {window}"), 1, || FixedBaseTable::new(&bases[..9], window));
        // The form of a table is chosen when it is built.
        let (vector, portable) = (FixedBaseTable::new(&bases[..9], window), ifma::portable(|| FixedBaseTable::new(&bases[..9], window)));
        time_plain(&format!("mul_sum of 4 scalars, window {window}"), 1, || vector.mul_sum(&terms));
        time_plain(&format!("mul_sum of 4, portable, window {window}"), 1, || portable.mul_sum(&terms));
    }
}
