//! Times the kernels: `cargo run --release -p zktorch-algebra --example kernels`.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, time::Instant};

use ark_ec::{CurveGroup, VariableBaseMSM};
use zktorch_algebra::{
    Fr, G1Affine, G1Projective, batch_inverse, fr_from_i64, fr_from_wide_bytes, hash_to_fr, hash_to_g1, mle,
    msm::{FixedBaseTable, commit_rows, msm, msm_small},
    small,
};

/// Least wall time of a few runs, in nanoseconds per unit.
fn time<T>(name: &str, units: usize, mut f: impl FnMut() -> T) {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for _ in 0..30 {
        let start = Instant::now();
        black_box(f());
        best = best.min(start.elapsed().as_secs_f64());
        if begin.elapsed().as_secs_f64() > 0.7 {
            break;
        }
    }
    println!("{name:<44} {:>12.2} us total {:>10.2} ns/unit", best * 1e6, best * 1e9 / units as f64);
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

fn main() {
    let n = 1 << 16;
    let scalars: Vec<Fr> = (0..n).map(|i: u32| hash_to_fr(&i.to_le_bytes())).collect();
    let noise: Vec<i64> = scalars.iter().map(|s| s.0.0[0] as i64).collect();
    let cells = |bits: u32| -> Vec<i64> { noise.iter().map(|v| v >> (64 - bits)).collect() };
    let i16s = cells(16);
    let a = &scalars[..1024];
    let mut products = a.to_vec();
    time("Fr multiplication", 1024, || products.iter_mut().zip(a.iter().rev()).for_each(|(p, a)| *p *= a));
    time("Fr from i64", 1024, || i16s[..1024].iter().map(|v| fr_from_i64(*v)).sum::<Fr>());
    time("Fr from 64 bytes", 100, || (0..100).map(|i| fr_from_wide_bytes(black_box(&[i; 64]))).sum::<Fr>());
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
    time("eq_table, 2^16", n as usize, || mle::eq_table(&scalars[..16]));
    time("bind_top, 2^16", n as usize, || mle::bind_top(&mut scalars.clone(), scalars[3]));
    time("evaluate, 2^16", n as usize, || mle::evaluate(&scalars, &scalars[..16]));

    let bases = bases(n as usize);
    for n in [1, 4, 10, 32, 100, 256] {
        time(&format!("msm, {n}"), n, || msm(&bases[..n], &scalars[..n]));
        time(&format!("msm of arkworks, {n}"), n, || G1Projective::msm_unchecked(&bases[..n], &scalars[..n]));
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
        time(&format!("msm of arkworks (one thread), 2^{log}"), n, || G1Projective::msm_unchecked(&bases[..n], &scalars[..n]));
    }
    let v = cells(17);
    for log in [8, 10, 12] {
        time(&format!("commit_rows, i17, rows of 2^{log}"), n as usize, || commit_rows(&bases, &v, 1 << log));
    }
    let terms: Vec<(usize, Fr)> = (0..4).map(|i| (i, scalars[i])).collect();
    for window in [4, 5, 6, 7, 8] {
        time(&format!("FixedBaseTable of 9, window {window}"), 1, || FixedBaseTable::new(&bases[..9], window));
        let table = FixedBaseTable::new(&bases[..9], window);
        time(&format!("mul_sum of 4 scalars, window {window}"), 1, || table.mul_sum(&terms));
    }
}
