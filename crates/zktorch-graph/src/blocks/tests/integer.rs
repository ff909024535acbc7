use crate::blocks::testing::{Bench, Random};
use crate::blocks::*;

fn floor_div(a: i64, b: i64) -> i64 {
    a.div_euclid(b) - if b < 0 && a.rem_euclid(b) != 0 { 1 } else { 0 }
}

#[test]
fn integers_are_divided_down_and_towards_zero() {
    // Divisors of a known sign, of both signs in a table, and wide ones.
    for (lo, hi, limit) in [(1, 40, 1000), (-40, -1, 1000), (-40, 40, 1000), (-100_000, 100_000, 2_000_000)] {
        for towards in [Towards::Floor, Towards::Zero] {
            let mut rng = Random(7);
            let mut bench = Bench::default();
            let a = rng.integers(12, -limit, limit);
            let mut b: Vec<i64> = rng.integers(4, lo, hi).into_iter().map(|v| if v == 0 { hi } else { v }).collect();
            b[0] = if lo < 0 { lo } else { hi };
            let x = bench.input(&[3, 4], -limit, limit, 0, a.clone());
            let y = bench.input(&[4], lo, hi, 0, b.clone());
            let q = integer_quotient(&mut bench.ctx, "div", &x, &y, towards).unwrap();
            let r = remainder(&mut bench.ctx, "mod", &x, &y, towards).unwrap();
            let run = bench.run();
            let pairs = || a.iter().enumerate().map(|(i, &a)| (a, b[i % 4]));
            let quotient = |(a, b): (i64, i64)| if towards == Towards::Zero { a / b } else { floor_div(a, b) };
            assert_eq!(run.read(&q), pairs().map(quotient).collect::<Vec<_>>());
            assert_eq!(run.read(&r), pairs().map(|(a, b)| a - b * quotient((a, b))).collect::<Vec<_>>());
            run.assert_forced();
        }
    }
}

#[test]
fn a_positive_dividend_needs_no_sign() {
    let mut bench = Bench::default();
    let x = bench.input(&[3], 0, 100, 0, vec![0, 7, 100]);
    let y = bench.input(&[3], -9, 9, 0, vec![3, -2, 9]);
    let q = integer_quotient(&mut bench.ctx, "div", &x, &y, Towards::Zero).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&q), vec![0, -3, 11]);
    run.assert_forced();
}

#[test]
fn division_by_zero_names_the_node() {
    let mut bench = Bench::default();
    let x = bench.input(&[1], -9, 9, 0, vec![3]);
    let y = bench.input(&[1], -9, 9, 0, vec![0]);
    integer_quotient(&mut bench.ctx, "by_zero", &x, &y, Towards::Zero).unwrap();
    assert!(bench.fails().contains("by_zero"));
}

#[test]
fn bits_of_twos_complement_are_combined() {
    for (lo, hi) in [(0, 255), (-128, 127), (-100_000, 90_000)] {
        let combined = |which, a: i64, b: i64| match which {
            Bitwise::And => a & b,
            Bitwise::Or => a | b,
            Bitwise::Xor => a ^ b,
        };
        for which in [Bitwise::And, Bitwise::Or, Bitwise::Xor] {
            let mut rng = Random(hi as u64);
            let mut bench = Bench::default();
            let (mut a, b) = (rng.integers(6, lo, hi), rng.integers(3, lo, hi));
            (a[0], a[1]) = (lo, hi);
            let x = bench.input(&[2, 3], lo, hi, 0, a.clone());
            let y = bench.input(&[3], lo, hi, 0, b.clone());
            let z = bitwise(&mut bench.ctx, "bits", which, &x, &y).unwrap();
            let run = bench.run();
            assert_eq!(run.read(&z), a.iter().enumerate().map(|(i, &a)| combined(which, a, b[i % 3])).collect::<Vec<_>>());
            run.assert_forced();
        }
    }
}
