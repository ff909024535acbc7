use crate::blocks::testing::{Bench, Random};
use crate::blocks::*;
use crate::tensor::{Accumulator, Format, QTensor};
use zktorch_program::Axis;

const A16: Format = Format { scale: 10, bits: 16 };

fn softmax_oracle(x: &[f64], mask: &[bool]) -> Vec<f64> {
    let m = x.iter().zip(mask).filter(|(_, k)| **k).fold(f64::MIN, |m, (v, _)| m.max(*v));
    let e: Vec<f64> = x.iter().zip(mask).map(|(v, k)| if *k { (v - m).exp() } else { 0.0 }).collect();
    let s: f64 = e.iter().sum();
    e.iter().map(|e| e / s).collect()
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn softmax_case(shape: &[usize], format: Format, values: Vec<i64>, mask: Option<Vec<bool>>, out_scale: i32) -> (f64, testing::Run) {
    let mut bench = Bench::default();
    let row = *shape.last().unwrap();
    let x = bench.tensor(shape, format, values.clone());
    let p = softmax(&mut bench.ctx, "softmax", &x, mask.as_deref(), Format { scale: out_scale, bits: 16 }).unwrap();
    let run = bench.run();
    let real: Vec<f64> = values.iter().map(|&v| v as f64 * (-format.scale as f64).exp2()).collect();
    let mask = mask.unwrap_or(vec![true; values.len()]);
    let expected: Vec<f64> = real.chunks(row).zip(mask.chunks(row)).flat_map(|(x, k)| softmax_oracle(x, k)).collect();
    (worst(&run.reals(&p), &expected), run)
}

#[test]
fn softmax_is_close_to_the_real_one_and_forced() {
    let mut rng = Random(1);
    let mut values = rng.normal(3 * 7, 2000.0);
    values[..7].fill(-32768);
    values[7..14].copy_from_slice(&[32767, -32768, 32767, 0, 0, 0, 0]);
    let (error, run) = softmax_case(&[3, 7], A16, values, None, 14);
    assert!(error < 1.0 / 16384.0, "{error}");
    run.assert_forced();
}

#[test]
fn softmax_of_long_and_short_rows_is_close() {
    let mut rng = Random(2);
    for (row, deviation) in [(1, 5.0), (2, 3000.0), (300, 1.0), (300, 1500.0), (2000, 900.0)] {
        let values = rng.normal(2 * row, deviation);
        let (error, _) = softmax_case(&[2, row], A16, values, None, 14);
        assert!(error < 1.2 / 16384.0, "row of {row}: {error}");
    }
}

#[test]
fn wide_scores_keep_their_precision_and_saturate() {
    let mut rng = Random(4);
    let mut values = rng.normal(2 * 6, 4000.0);
    values[1] = values[0] + 2;
    values[2] = (1 << 23) - 1;
    values[3] = -(1 << 23);
    values[4] = values[2] - 65536;
    values[5] = values[2] - 1;
    let (error, run) = softmax_case(&[2, 6], Format { scale: 12, bits: 24 }, values, None, 14);
    assert!(error < 1.0 / 16384.0, "{error}");
    run.assert_forced();
}

#[test]
fn scores_of_a_product_need_no_cells() {
    let mut rng = Random(11);
    for (bits, masked) in [(16, false), (20, false), (16, true), (20, true)] {
        let mut bench = Bench::default();
        let (a, b) = (rng.normal(2 * 3 * 4, 2500.0), rng.normal(2 * 5 * 4, 2500.0));
        let q = bench.tensor(&[2, 3, 4], A16, a.clone());
        let k = bench.tensor(&[2, 5, 4], A16, b.clone());
        let mut acc = Accumulator::contraction(1, &[2, 3, 5, 4], 3, &[(&q, &[0, 1, 3]), (&k, &[0, 2, 3])]);
        acc.scale += 1;
        let mask: Vec<bool> = (0..30).map(|i| i % 5 <= i / 5 % 3).collect();
        let mask = masked.then_some(mask);
        let input = Format { scale: 11, bits };
        let p = softmax_of(&mut bench.ctx, "attention", &acc, input, mask.as_deref(), Format { scale: 14, bits: 16 }).unwrap();
        let run = bench.run();
        let mut expected = Vec::new();
        for r in 0..6 {
            let x: Vec<f64> = (0..5)
                .map(|j| (0..4).map(|c| a[r * 4 + c] * b[(r / 3 * 5 + j) * 4 + c]).sum::<i64>() as f64)
                .map(|v| (v / 1024.0).round() / 2048.0)
                .collect();
            expected.extend(softmax_oracle(&x, mask.as_ref().map_or(&[true; 5], |m| &m[r * 5..r * 5 + 5])));
        }
        let error = worst(&run.reals(&p), &expected);
        assert!(error < 1.0 / 16384.0, "{error}");
        run.assert_forced();
    }
}

/// Weights of scores `[3, keys]` times values `[keys, 4]` of scale 12, and their distance from the real ones.
fn attention_case(a: Vec<i64>, b: &[i64], input: Format, mask: Option<&[bool]>, bits: u32) -> (f64, testing::Run) {
    let (rows, width) = (3, 4);
    let keys = b.len() / width;
    let mut bench = Bench::default();
    let real: Vec<f64> = a.iter().map(|&v| v as f64 / f64::from(input.scale).exp2()).collect();
    let x = bench.tensor(&[rows, keys], input, a);
    let values = bench.tensor(&[keys, width], Format { scale: 12, bits: 16 }, b.to_vec());
    let w = attention_weights(&mut bench.ctx, "attention", &Accumulator::of(&x).rescaled(input.scale + 3), input, mask, bits).unwrap();
    let mut factors = vec![(&w.each, vec![0, 2]), (&values, vec![2, 1])];
    if let Some((allowed, axes)) = &w.allowed {
        factors.push((allowed, axes.iter().map(|&d| [0, 2][d]).collect()));
    }
    let factors: Vec<(&QTensor, &[u8])> = factors.iter().map(|(q, l)| (*q, l.as_slice())).collect();
    let acc = Accumulator::contraction(1, &[rows, width, keys], 2, &factors);
    let y = requantize(&mut bench.ctx, "attention", &acc, Format { scale: 12, bits: 16 }).unwrap();
    let run = bench.run();
    let mut expected = Vec::new();
    for (r, x) in real.chunks(keys).enumerate() {
        let p = softmax_oracle(x, &mask.map_or(vec![true; keys], |m| m[r * keys..(r + 1) * keys].to_vec()));
        expected.extend((0..width).map(|d| (0..keys).map(|j| p[j] * b[j * width + d] as f64 / 4096.0).sum::<f64>()));
    }
    (worst(&run.reals(&y), &expected), run)
}

#[test]
fn weights_that_a_shift_normalises_are_close_and_forced() {
    let mut rng = Random(31);
    let b = rng.normal(6 * 4, 9000.0);
    let largest = b.iter().map(|v| v.abs()).max().unwrap() as f64 / 4096.0;
    let mask: Vec<bool> = (0..18).map(|i| i % 6 <= i / 6 + 1).collect();
    for scale in [6, 8, 10, 12] {
        for mask in [None, Some(&mask[..])] {
            let a = rng.normal(18, 1000.0);
            let (error, run) = attention_case(a, &b, Format { scale, bits: 16 }, mask, 16);
            // A sum is within exp(±2^-(K+1)) of 1, an exponential within 2^-17.
            let bound = largest * (f64::from(-scale - 1).exp2() * 1.01 + 6.0 / 131072.0) + 0.5 / 4096.0;
            assert!(error < bound, "{scale}: {error} of {bound}");
            if scale == 8 {
                run.assert_forced();
            }
        }
    }
}

#[test]
fn a_position_that_is_alone_has_all_the_weight() {
    let mask: Vec<bool> = (0..9).map(|i| i % 3 == i / 3).collect();
    let b = vec![100, -200, 300, -400, 5, 6, 7, 8, -9, 10, -11, 12];
    // Closed scores are far above and far below the open ones.
    let a = vec![0, 30000, -30000, 30000, 0, -30000, 30000, -30000, 0];
    let (error, run) = attention_case(a, &b, Format { scale: 8, bits: 16 }, Some(&mask), 16);
    assert_eq!(error, 0.0);
    run.assert_forced();
}

#[test]
fn weights_of_wide_scores_have_two_digits() {
    let mut rng = Random(33);
    let b = rng.normal(4 * 4, 9000.0);
    let mut a = rng.normal(12, 1000.0);
    a[2] -= 1 << 17;
    a[7] -= 70000;
    let (error, run) = attention_case(a.clone(), &b, Format { scale: 10, bits: 20 }, None, 16);
    assert!(error < 9.0 / 2048.0, "{error}");
    run.assert_forced();
    // With a mask: the score far below the others is the only open one of its row, a high one is closed.
    let mask: Vec<bool> = (0..12).map(|i| [0, 1, 2, 3, 7, 8, 11].contains(&i)).collect();
    let (error, run) = attention_case(a.clone(), &b, Format { scale: 10, bits: 20 }, Some(&mask), 16);
    assert!(error < 9.0 / 2048.0, "{error}");
    run.assert_forced();
    let mut bench = Bench::default();
    let x = bench.tensor(&[3, 4], Format { scale: 10, bits: 20 }, a);
    attention_weights(&mut bench.ctx, "attention", &Accumulator::of(&x), A16, None, 16).unwrap();
    assert!(bench.fails().contains("attention"));
}

#[test]
fn a_product_with_a_softmax_needs_no_probabilities() {
    let mut rng = Random(13);
    let (rows, keys, width) = (3, 6, 4);
    let mut bench = Bench::default();
    let (a, b) = (rng.normal(rows * keys, 2500.0), rng.normal(keys * width, 9000.0));
    let x = bench.tensor(&[rows, keys], A16, a.clone());
    let values = bench.tensor(&[keys, width], Format { scale: 12, bits: 16 }, b.clone());
    let w = softmax_weights(&mut bench.ctx, "attention", &Accumulator::of(&x), A16, None, 16).unwrap();
    let factors = [(&w.each, &[0, 2][..]), (&w.factor, &[0]), (&values, &[2, 1])];
    let acc = Accumulator::contraction(1, &[rows, width, keys], 2, &factors);
    let y = requantize(&mut bench.ctx, "attention", &acc, Format { scale: 12, bits: 16 }).unwrap();
    let run = bench.run();
    let real: Vec<f64> = a.iter().map(|&v| v as f64 / 1024.0).collect();
    let mut expected = Vec::new();
    for x in real.chunks(keys) {
        let p = softmax_oracle(x, &[true; 6]);
        expected.extend((0..width).map(|d| (0..keys).map(|j| p[j] * b[j * width + d] as f64 / 4096.0).sum::<f64>()));
    }
    let error = worst(&run.reals(&y), &expected);
    assert!(error < 0.6 / 4096.0 + 2.0 / 16384.0, "{error}");
    run.assert_forced();
}

#[test]
fn causal_and_scattered_masks_give_zeros() {
    let mut rng = Random(5);
    let causal: Vec<bool> = (0..2 * 4 * 4).map(|i| i % 4 <= i / 4 % 4).collect();
    let scattered: Vec<bool> = [true, false, true, true].repeat(8);
    let padding: Vec<bool> = [[false, true, true, false].repeat(4), vec![true; 16]].concat();
    for mask in [causal, scattered, padding] {
        // Masked scores are often the largest ones.
        let values: Vec<i64> = mask.iter().map(|&k| if k { rng.between(-9000, 3000) } else { rng.between(2000, 32767) }).collect();
        let (error, run) = softmax_case(&[2, 4, 4], A16, values.clone(), Some(mask.clone()), 14);
        assert!(error < 1.0 / 16384.0, "{error}");
        run.assert_forced();
    }
    let mut bench = Bench::default();
    let x = bench.tensor(&[2, 2], A16, vec![0; 4]);
    let error = softmax(&mut bench.ctx, "sm", &x, Some(&[true, true, false, false]), Format { scale: 14, bits: 16 }).unwrap_err();
    assert_eq!(error, BlockError::EmptyRow { node: "sm".into(), row: 1 });
    assert!(softmax(&mut bench.ctx, "sm", &x, None, Format { scale: 15, bits: 16 }).is_err());
}

#[test]
fn log_softmax_is_close_for_sharp_and_flat_rows() {
    let mut rng = Random(6);
    for (row, deviation) in [(1, 100.0), (10, 1.0), (10, 4000.0), (500, 2000.0)] {
        let mut bench = Bench::default();
        let mut values = rng.normal(3 * row, deviation);
        values[row] = 20000;
        let x = bench.tensor(&[3, row], A16, values.clone());
        let y = log_softmax(&mut bench.ctx, "log_softmax", &x, Format { scale: 9, bits: 16 }).unwrap();
        let run = bench.run();
        let real: Vec<f64> = values.iter().map(|&v| v as f64 / 1024.0).collect();
        let expected: Vec<f64> = real.chunks(row).flat_map(softmax_log_oracle).collect();
        let error = worst(&run.reals(&y), &expected);
        assert!(error < 0.5 / 512.0 + 1.0 / 4096.0, "row of {row}: {error}");
        if row == 10 {
            run.assert_forced();
        }
    }
}

fn softmax_log_oracle(x: &[f64]) -> Vec<f64> {
    let m = x.iter().copied().fold(f64::MIN, f64::max);
    let s: f64 = x.iter().map(|v| (v - m).exp()).sum();
    x.iter().map(|v| v - m - s.ln()).collect()
}

fn norm_oracle(x: &[f64], center: bool, mean: bool, eps: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mu = if center { x.iter().sum::<f64>() / n } else { 0.0 };
    let total: f64 = x.iter().map(|v| (v - mu) * (v - mu)).sum();
    let root = ((if mean { total / n } else { total }) + eps).sqrt();
    x.iter().map(|v| (v - mu) / root).collect()
}

fn affine(name: &str, rng: &mut Random, n: usize, axes: Vec<usize>) -> Affine {
    Affine { name: name.into(), values: (0..n).map(|_| rng.between(-1500, 2000) as f64 / 1000.0).collect(), axes }
}

#[test]
fn layer_norm_is_accurate_over_all_magnitudes_and_forced() {
    let mut rng = Random(7);
    for (width, deviation) in [(5, 40.0), (48, 6000.0), (48, 300.0), (384, 2000.0), (1000, 3.0)] {
        let mut bench = Bench::default();
        let mut values = rng.normal(2 * width, deviation);
        values[0] += 5 * deviation as i64;
        values.iter_mut().for_each(|v| *v += 700);
        let (gamma, beta) = (affine("gamma", &mut rng, width, vec![1]), affine("beta", &mut rng, width, vec![1]));
        let norm = Norm { outer: 1, center: true, mean: true, eps: 1e-5, gamma: Some(gamma.clone()), beta: Some(beta.clone()) };
        let x = bench.tensor(&[2, width], A16, values.clone());
        let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 11, bits: 16 }).unwrap();
        let run = bench.run();
        let real: Vec<f64> = values.iter().map(|&v| v as f64 / 1024.0).collect();
        let expected: Vec<f64> = real
            .chunks(width)
            .flat_map(|x| {
                let n = norm_oracle(x, true, true, 1e-5);
                n.iter().enumerate().map(|(i, v)| v * gamma.values[i] + beta.values[i]).collect::<Vec<f64>>()
            })
            .collect();
        let largest = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
        let error = worst(&run.reals(&y), &expected);
        // For tiny deviations the mean's resolution of an eighth of a unit shows.
        let bound = 0.6 / 2048.0 + largest / 4096.0 + 2.0 * 0.125 / deviation;
        assert!(error < bound, "width {width}, deviation {deviation}: {error} > {bound}");
        if width <= 5 {
            run.assert_forced();
        }
    }
}

#[test]
fn a_wide_residual_stream_is_normalised() {
    let mut rng = Random(12);
    for deviation in [300.0, 40_000.0, 1_000_000.0] {
        let mut bench = Bench::default();
        let values = rng.normal(2 * 64, deviation);
        let norm = Norm { outer: 1, center: true, mean: true, eps: 1e-6, gamma: None, beta: None };
        let x = bench.tensor(&[2, 64], Format { scale: 12, bits: 24 }, values.clone());
        let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 12, bits: 16 }).unwrap();
        let run = bench.run();
        let real: Vec<f64> = values.iter().map(|&v| v as f64 / 4096.0).collect();
        let expected: Vec<f64> = real.chunks(64).flat_map(|x| norm_oracle(x, true, true, 1e-6)).collect();
        let error = worst(&run.reals(&y), &expected);
        assert!(error < 0.6 / 4096.0 + 3.0 / 4096.0 + 0.3 / deviation, "{deviation}: {error}");
        if deviation == 300.0 {
            run.assert_forced();
        }
    }
}

#[test]
fn rms_l2_and_instance_norm_use_the_same_block() {
    let mut rng = Random(8);
    // RMSNorm with a factor, L2 without one.
    for mean in [true, false] {
        let mut bench = Bench::default();
        let values = rng.normal(3 * 16, 2000.0);
        let gamma = mean.then(|| affine("gamma", &mut rng, 16, vec![1]));
        let norm = Norm { outer: 1, center: false, mean, eps: if mean { 1e-6 } else { 0.0 }, gamma: gamma.clone(), beta: None };
        let x = bench.tensor(&[3, 16], A16, values.clone());
        let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 12, bits: 16 }).unwrap();
        let run = bench.run();
        let real: Vec<f64> = values.iter().map(|&v| v as f64 / 1024.0).collect();
        let factor = |i: usize| gamma.as_ref().map_or(1.0, |g| g.values[i]);
        let expected: Vec<f64> =
            real.chunks(16).flat_map(|x| norm_oracle(x, false, mean, 0.0).into_iter().enumerate().map(|(i, v)| v * factor(i))).collect();
        let error = worst(&run.reals(&y), &expected);
        assert!(error < 0.6 / 4096.0 + 4.0 / 8192.0, "{error}");
        run.assert_forced();
    }
    // A remainder of one limb, without a factor.
    let mut bench = Bench::default();
    let values = rng.normal(3 * 4, 100.0);
    let norm = Norm { outer: 1, center: false, mean: false, eps: 0.0, gamma: None, beta: None };
    let x = bench.tensor(&[3, 4], Format { scale: 6, bits: 10 }, values.clone());
    let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 14, bits: 16 }).unwrap();
    let run = bench.run();
    let real: Vec<f64> = values.iter().map(|&v| v as f64 / 64.0).collect();
    let expected: Vec<f64> = real.chunks(4).flat_map(|x| norm_oracle(x, false, false, 0.0)).collect();
    let error = worst(&run.reals(&y), &expected);
    assert!(error < 3.0 / 512.0, "{error}");
    run.assert_forced();
    // InstanceNorm of [N, C, H, W].
    let mut bench = Bench::default();
    let values = rng.normal(2 * 3 * 4 * 5, 2500.0);
    let (gamma, beta) = (affine("gamma", &mut rng, 3, vec![1]), affine("beta", &mut rng, 3, vec![1]));
    let norm = Norm { outer: 2, center: true, mean: true, eps: 1e-5, gamma: Some(gamma.clone()), beta: Some(beta.clone()) };
    let x = bench.tensor(&[2, 3, 4, 5], A16, values.clone());
    let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 12, bits: 16 }).unwrap();
    let run = bench.run();
    let real: Vec<f64> = values.iter().map(|&v| v as f64 / 1024.0).collect();
    let expected: Vec<f64> = real
        .chunks(20)
        .enumerate()
        .flat_map(|(r, x)| {
            let c = r % 3;
            norm_oracle(x, true, true, 1e-5).into_iter().map(|v| v * gamma.values[c] + beta.values[c]).collect::<Vec<f64>>()
        })
        .collect();
    let error = worst(&run.reals(&y), &expected);
    assert!(error < 0.6 / 4096.0 + 4.0 / 4096.0, "{error}");
}

#[test]
fn constant_rows_and_large_volumes_do_not_break_the_norm() {
    for (count, value) in [(8, 0), (8, -32768), (8, 32767), (40_000, 32767)] {
        let mut bench = Bench::default();
        let x = bench.tensor(&[1, count], A16, vec![value; count]);
        let norm = Norm { outer: 1, center: true, mean: true, eps: 1e-5, gamma: None, beta: None };
        let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 12, bits: 16 }).unwrap();
        let run = bench.run();
        // The rounded mean is off by up to 2^-3 units of x, which ε = 2^-16.6 turns into a few hundredths at most.
        assert!(run.reals(&y).iter().all(|v| v.abs() < 0.05), "{:?}", &run.reals(&y)[..8]);
    }
    let mut bench = Bench::default();
    let count = 40_000;
    let values: Vec<i64> = (0..count).map(|i| if i % 2 == 0 { 32767 } else { -32768 }).collect();
    let x = bench.tensor(&[1, count as usize], A16, values);
    let norm = Norm { outer: 1, center: true, mean: true, eps: 1e-5, gamma: None, beta: None };
    let y = normalise(&mut bench.ctx, "norm", &x, &norm, Format { scale: 12, bits: 16 }).unwrap();
    let run = bench.run();
    assert!(run.reals(&y).iter().all(|v| (v.abs() - 1.0).abs() < 1.0 / 2048.0));
}

#[test]
fn pooling_takes_the_largest_of_overlapping_windows() {
    let mut rng = Random(9);
    for bits in [16, 20] {
        let mut bench = Bench::default();
        let limit = 1i64 << (bits - 1);
        let mut values = rng.integers(25, -limit, limit - 1);
        (values[0], values[1], values[7]) = (-limit, limit - 1, limit - 1);
        let x = bench.tensor(&[5, 5], Format { scale: 3, bits }, values.clone());
        // Windows of 3×3, stride 2.
        let mut window = x.clone();
        window.view.axes = [(2, 10), (2, 2), (3, 5), (3, 1)].map(|(size, stride)| Axis { size, stride }).to_vec();
        let max = reduce_max(&mut bench.ctx, "pool", &window, 2).unwrap();
        let min = reduce_min(&mut bench.ctx, "pool", &window, 2).unwrap();
        let run = bench.run();
        let window = |o: usize| (0..9).map(|k| values[(o / 2 * 2 + k / 3) * 5 + o % 2 * 2 + k % 3]).collect::<Vec<i64>>();
        assert_eq!(run.read(&max), (0..4).map(|o| *window(o).iter().max().unwrap()).collect::<Vec<i64>>());
        assert_eq!(run.read(&min), (0..4).map(|o| *window(o).iter().min().unwrap()).collect::<Vec<i64>>());
        run.assert_forced();
    }
}

#[test]
fn positions_break_ties_as_asked() {
    let values = vec![3, 9, 9, -4, 9, 1, 1, 5, 5, 0, 7, 7, 7, 7, 7];
    for bits in [16, 18] {
        for last in [false, true] {
            let mut bench = Bench::default();
            let x = bench.tensor(&[3, 5], Format { scale: 3, bits }, values.clone());
            let max = arg_max(&mut bench.ctx, "argmax", &x, last).unwrap();
            let min = arg_min(&mut bench.ctx, "argmin", &x, last).unwrap();
            let run = bench.run();
            assert_eq!(run.read(&max), if last { vec![4, 3, 4] } else { vec![1, 2, 0] });
            assert_eq!(run.read(&min), if last { vec![3, 4, 4] } else { vec![3, 4, 0] });
            run.assert_forced();
        }
    }
}

#[test]
fn unused_tensor_helpers_keep_shapes() {
    let x = QTensor { view: zktorch_program::View::dense(zktorch_program::Source::Params, 0, &[2, 1, 3]), scale: 0, lo: 0, hi: 1 };
    assert_eq!(broadcast_to("n", &x, &[4, 2, 5, 3]).unwrap().shape(), vec![4, 2, 5, 3]);
    assert!(broadcast_to("n", &x, &[2, 3]).is_err());
    assert!(broadcast_shape("n", &[2, 3], &[4, 3]).is_err());
}

/// Cells (without multiplicities) and lookups of a block over `[rows, columns]`.
fn cost(rows: usize, columns: usize, block: &dyn Fn(&mut Lowering, &QTensor)) -> (i64, i64) {
    let mut bench = Bench::default();
    let x = bench.tensor(&[rows, columns], A16, vec![0; rows * columns]);
    block(&mut bench.ctx, &x);
    let program = bench.ctx.builder.finish(None).program;
    let report = zktorch_program::audit(&program).unwrap();
    ((report.column_cells + report.assigned_cells) as i64, program.lookup_count() as i64)
}

#[test]
fn costs_are_as_documented() {
    type Block<'a> = (&'a str, &'a dyn Fn(&mut Lowering, &QTensor), (i64, i64), (i64, i64));
    let p = Format { scale: 14, bits: 16 };
    let norm = Norm { outer: 1, center: true, mean: true, eps: 1e-5, gamma: None, beta: None };
    let twice = |x: &QTensor| Accumulator::product("n", x, x).unwrap();
    let blocks: [Block; 10] = [
        ("requantize", &|c, x| drop(requantize(c, "n", &twice(x), A16)), (2, 2), (0, 0)),
        ("unary in place", &|c, x| drop(unary(c, "n", &Accumulator::of(x), A16, &f64::tanh, "tanh", A16)), (1, 1), (0, 0)),
        ("unary", &|c, x| drop(unary(c, "n", &twice(x), A16, &f64::tanh, "tanh", A16)), (3, 2), (0, 0)),
        ("softmax", &|c, x| drop(softmax(c, "n", x, None, p)), (6, 4), (10, 8)),
        ("softmax_of", &|c, x| drop(softmax_of(c, "n", &twice(x), A16, None, p)), (7, 5), (10, 8)),
        ("attention_weights", &|c, x| drop(attention_weights(c, "n", &twice(x), A16, None, 16)), (4, 2), (3, 3)),
        ("normalise", &|c, x| drop(normalise(c, "n", x, &norm, Format { scale: 11, bits: 16 })), (2, 2), (22, 18)),
        ("reduce_max", &|c, x| drop(reduce_max(c, "n", x, 1)), (2, 1), (2, 2)),
        ("arg_max", &|c, x| drop(arg_max(c, "n", x, true)), (4, 2), (6, 5)),
        ("compare", &|c, x| drop(compare(c, "n", Comparison::Less, x, &x.clone())), (2, 2), (0, 0)),
    ];
    for (name, block, element, row) in blocks {
        let (a, b) = (cost(2, 128, block), cost(2, 96, block));
        let got = ((a.0 - b.0) / 64, (a.1 - b.1) / 64);
        assert_eq!(got, element, "{name}, cells and lookups per element");
        assert_eq!(((a.0 - 256 * got.0) / 2, (a.1 - 256 * got.1) / 2), row, "{name}, cells and lookups per row");
    }
}
