//! Quantisation by extrema, against exact quotients.

use crate::blocks::testing::{Bench, Random, Run};
use crate::blocks::*;
use crate::tensor::Format;

const FORMAT: Format = Format { scale: 10, bits: 16 };

/// Bytes, span and zero point by definition: halves up, in integers.
fn expected(values: &[i64]) -> (Vec<i64>, i64, i64) {
    let most = values.iter().copied().max().unwrap().max(0);
    let least = values.iter().copied().min().unwrap().min(0);
    let span = if most == least { 1 << FORMAT.scale } else { most - least };
    let round = |v: i64| (2 * 255 * v + span).div_euclid(2 * span);
    let zero = round(-least);
    (values.iter().map(|&v| (round(v) + zero).clamp(0, 255)).collect(), span, zero)
}

fn run(mut bench: Bench, shape: &[usize], values: &[i64]) -> Run {
    let x = bench.tensor(shape, FORMAT, values.to_vec());
    let made = dynamic_quantize(&mut bench.ctx, "dynamic", &x).unwrap();
    assert_eq!((made.y.shape(), made.span.scale), (shape.to_vec(), FORMAT.scale));
    let run = bench.run();
    let (y, span, zero) = expected(values);
    assert_eq!((run.read(&made.y), run.read(&made.span), run.read(&made.zero)), (y, vec![span], vec![zero]));
    run
}

#[test]
fn bytes_are_rounded_quotients_by_the_span() {
    let mut r = Random(5);
    let samples = [
        r.integers(12, -3000, 5000),
        r.integers(12, 10, 5000),
        r.integers(12, -5000, -10),
        vec![0; 12],
        // The span is 2 and -1 is half way: both quotients are rounded up, and their sum is 256 before it is bounded.
        vec![1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0],
        vec![32767, -32768, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4],
    ];
    for values in &samples {
        run(Bench::default(), &[3, 4], values).assert_forced();
    }
    run(Bench::default(), &[], &[77]).assert_forced();
    run(Bench::default(), &[], &[-77]).assert_forced();
}

#[test]
fn narrow_limbs_give_the_same_bytes() {
    let mut bench = Bench::default();
    bench.ctx.tables = TablePlan { limb_bits: 6, value_bits: 6, ..TablePlan::default() };
    run(bench, &[2, 2], &[-900, 1200, 33, 0]).assert_forced();
}

#[test]
fn a_large_tensor_loses_its_axes_one_by_one() {
    let mut r = Random(6);
    run(Bench::default(), &[3, 160, 150], &r.integers(3 * 160 * 150, -20_000, 30_000));
}
