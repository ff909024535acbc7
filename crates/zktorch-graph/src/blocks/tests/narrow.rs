//! Blocks under a plan with narrow tables: the same integers, still forced, and no wide table.

use crate::blocks::testing::{Bench, Random, Run};
use crate::blocks::*;
use crate::tensor::{Accumulator, Format, QTensor};

const A16: Format = Format { scale: 10, bits: 16 };

/// Limbs and values of at most `bits` bits, and none of the function tables of the given names.
fn narrow(bits: u32, avoided: &[&str]) -> Bench {
    let avoided = avoided.iter().map(|s| s.to_string()).collect::<std::collections::BTreeSet<_>>();
    let mut bench = Bench::default();
    bench.ctx.tables = TablePlan { limb_bits: bits, value_bits: bits, avoided: avoided.into() };
    bench
}

fn assert_narrow(run: &Run, bits: u32) {
    run.assert_forced();
    for t in &run.built.program.tables {
        assert!(t.len() <= 1 << bits, "a table of {} rows", t.len());
    }
}

fn half_up(v: i64, s: u32) -> i64 {
    (v + (1 << s >> 1)) >> s
}

#[test]
fn a_value_in_limbs_is_the_rounded_product() {
    for (limb, bits, s) in [(8, 16u32, 9), (6, 15, 4), (5, 12, 13), (8, 24, 3), (4, 9, 16)] {
        let mut rng = Random(u64::from(limb + s));
        let mut bench = narrow(limb, &[]);
        let most = (((1i64 << (bits - 1 + s).min(30)) as f64).sqrt() as i64 - 1).min((1 << 15) - 1);
        let mut a = rng.integers(6, -most, most);
        let b = rng.integers(6, -most, most);
        a[0] = most;
        let x = bench.tensor(&[2, 3], A16, a.clone());
        let y = bench.tensor(&[2, 3], A16, b.clone());
        let product = Accumulator::product("mul", &x, &y).unwrap();
        let out = requantize(&mut bench.ctx, "mul", &product, Format { scale: 20 - s as i32, bits }).unwrap();
        let run = bench.run();
        assert_eq!(run.read(&out), a.iter().zip(&b).map(|(a, b)| half_up(a * b, s)).collect::<Vec<_>>());
        assert_narrow(&run, limb);
    }
    let mut bench = narrow(6, &[]);
    let x = bench.tensor(&[2], A16, vec![5, -20000]);
    let square = Accumulator::product("square", &x, &x).unwrap();
    requantize(&mut bench.ctx, "square", &square, Format { scale: 18, bits: 16 }).unwrap();
    assert!(bench.fails().contains("square"));
}

#[test]
fn relu_needs_no_table_of_its_own() {
    for (limb, s) in [(8, 0), (5, 7), (6, 16)] {
        let mut bench = narrow(limb, &[]);
        let values = vec![0, 1, -1, 2, -2, 63, 64, -64, -65, 30000, -30000, 32767, -32768];
        let x = bench.tensor(&[values.len()], A16, values.clone());
        let factor = 1i64 << s;
        // A little below half a unit, so that rounding matters.
        let mut acc = Accumulator::of(&x).times(i128::from(factor));
        acc.add_constant(i128::from(factor / 2 - i64::from(s > 0)));
        acc.scale += s;
        let y = relu(&mut bench.ctx, "relu", &acc, A16).unwrap();
        assert_eq!((y.lo, y.hi, y.scale), (0, (1 << 15) - 1, A16.scale));
        let run = bench.run();
        assert_eq!(run.read(&y), values.iter().map(|v| *v.max(&0)).collect::<Vec<_>>());
        assert_narrow(&run, limb);
    }
    let mut bench = narrow(8, &[]);
    let x = bench.tensor(&[1], A16, vec![-32768]);
    relu(&mut bench.ctx, "too_low", &Accumulator::of(&x).times(2), A16).unwrap();
    assert!(bench.fails().contains("too_low"));
}

#[test]
fn comparisons_and_division_do_without_their_tables() {
    let avoided = ["is not negative 2^-0 -> 2^-0", "is zero 2^-0 -> 2^-0", "2|b|, sign b"];
    let mut bench = narrow(6, &avoided);
    let format = Format { scale: 0, bits: 12 };
    let (a, b) = (vec![5, -7, 2047, -2048, 0, 3], vec![5, -8, -2048, 2047, -1, 4]);
    let x = bench.tensor(&[6], format, a.clone());
    let y = bench.tensor(&[6], format, b.clone());
    let less = compare(&mut bench.ctx, "less", Comparison::Less, &x, &y).unwrap();
    let equal = compare(&mut bench.ctx, "equal", Comparison::Equal, &x, &y).unwrap();
    let set = differs_from_zero(&mut bench.ctx, "set", &x).unwrap();
    let q = divide(&mut bench.ctx, "divide", &x, &y, Format { scale: 0, bits: 13 }).unwrap();
    let run = bench.run();
    let flags = |f: &dyn Fn(i64, i64) -> bool| a.iter().zip(&b).map(|(a, b)| f(*a, *b) as i64).collect::<Vec<_>>();
    assert_eq!(run.read(&less), flags(&|a, b| a < b));
    assert_eq!(run.read(&equal), flags(&|a, b| a == b));
    assert_eq!(run.read(&set), flags(&|a, _| a != 0));
    let rounded = |(a, b): (&i64, &i64)| (*a as f64 / *b as f64 + 0.5).floor() as i64;
    assert_eq!(run.read(&q), a.iter().zip(&b).map(rounded).collect::<Vec<_>>());
    assert_narrow(&run, 6);
}

#[test]
fn maxima_and_positions_split_their_distances() {
    let mut rng = Random(9);
    let mut bench = narrow(8, &["is zero"]);
    let mut values = rng.integers(12, -32768, 32767);
    (values[0], values[1], values[5], values[6]) = (32767, -32768, 77, 77 + 256);
    let x = bench.tensor(&[3, 4], A16, values.clone());
    let largest = reduce_max(&mut bench.ctx, "max", &x, 1).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&largest), values.chunks(4).map(|r| *r.iter().max().unwrap()).collect::<Vec<_>>());
    assert_narrow(&run, 9);

    let mut bench = narrow(7, &["is zero"]);
    let values = vec![3, 9, 9, -4, -500, -500, -501, -700];
    let x = bench.tensor(&[2, 4], Format { scale: 0, bits: 12 }, values);
    let first = arg_max(&mut bench.ctx, "argmax", &x, false).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&first), vec![1, 0]);
    assert_narrow(&run, 8);
}

/// Softmax of two rows under a plan.
fn softmax_under(bench: Bench, values: &[i64], scale: i32, mask: Option<&[bool]>) -> (Vec<i64>, Run) {
    let mut bench = bench;
    let x: QTensor = bench.tensor(&[2, 5], Format { scale, bits: 16 }, values.to_vec());
    let y = softmax(&mut bench.ctx, "softmax", &x, mask, Format { scale: 14, bits: 16 }).unwrap();
    let run = bench.run();
    (run.read(&y), run)
}

#[test]
fn softmax_with_short_exponentials_gives_the_same_integers() {
    let values = [32767, 32000, -32768, 28000, 32766, 0, -1, 300, 4095, -40];
    let mask = [true, false, true, true, true, true, true, false, true, true];
    for (scale, bits) in [(8, 12), (5, 10)] {
        let label = format!("exp(-d·2^-{scale})·2^16");
        for mask in [None, Some(&mask[..])] {
            let (wide, _) = softmax_under(Bench::default(), &values, scale, mask);
            let (short, run) = softmax_under(narrow(8, &[&label]), &values, scale, mask);
            assert_eq!(wide, short);
            assert_narrow(&run, bits);
        }
    }
}
