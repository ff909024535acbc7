use crate::blocks::divide::reciprocal;
use crate::blocks::testing::{Bench, Random};
use crate::blocks::*;
use crate::tensor::{Accumulator, Format, QTensor};

const A16: Format = Format { scale: 10, bits: 16 };

fn half_up(v: i128, s: u32) -> i128 {
    (v + (1i128 << s >> 1)) >> s
}

#[test]
fn a_product_is_rounded_half_up_for_every_shift() {
    for (bits, s) in [(16u32, 1), (16, 15), (16, 16), (12, 20), (24, 8), (32, 3)] {
        let mut rng = Random(s as u64);
        let mut bench = Bench::default();
        let limit = 1i64 << 15;
        let most = ((1i128 << (bits as i32 - 1 + s)) as f64).sqrt().min(limit as f64 - 1.0) as i64 - 1;
        let mut a = rng.integers(6, -most, most);
        let mut b = rng.integers(6, -most, most);
        (a[0], b[0]) = (most, -most);
        (a[1], b[1]) = (0, 5);
        let x = bench.tensor(&[2, 3], A16, a.clone());
        let y = bench.tensor(&[2, 3], A16, b.clone());
        let product = Accumulator::product("mul", &x, &y).unwrap();
        let out = requantize(&mut bench.ctx, "mul", &product, Format { scale: 20 - s, bits }).unwrap();
        let run = bench.run();
        let expected: Vec<i64> = a.iter().zip(&b).map(|(&a, &b)| half_up((a * b) as i128, s as u32) as i64).collect();
        assert_eq!(run.read(&out), expected);
        run.assert_forced();
    }
}

#[test]
fn a_finer_scale_is_exact_and_an_overflow_names_the_node() {
    let mut bench = Bench::default();
    let x = bench.tensor(&[3], Format { scale: 4, bits: 8 }, vec![-128, 0, 127]);
    let out = requantize(&mut bench.ctx, "up", &Accumulator::of(&x), Format { scale: 10, bits: 16 }).unwrap();
    let same = requantize(&mut bench.ctx, "same", &Accumulator::of(&x), Format { scale: 4, bits: 8 }).unwrap();
    assert_eq!(same, x, "a tensor that has the format already costs nothing");
    let run = bench.run();
    assert_eq!(run.read(&out), vec![-128 * 64, 0, 127 * 64]);
    run.assert_forced();

    let mut bench = Bench::default();
    let x = bench.tensor(&[3], Format { scale: 4, bits: 8 }, vec![-128, 0, 127]);
    requantize(&mut bench.ctx, "too_fine", &Accumulator::of(&x), Format { scale: 13, bits: 16 }).unwrap();
    let error = bench.fails();
    assert!(error.contains("too_fine"), "{error}");
}

#[test]
fn scalars_work() {
    let mut bench = Bench::default();
    let x = bench.tensor(&[], A16, vec![1000]);
    let y = bench.tensor(&[], A16, vec![-300]);
    let product = Accumulator::product("mul", &x, &y).unwrap();
    let p = requantize(&mut bench.ctx, "mul", &product, A16).unwrap();
    let r = unary(&mut bench.ctx, "relu", &Accumulator::of(&p), A16, &|v| v.max(0.0), "relu", A16).unwrap();
    assert_eq!((p.shape(), r.shape()), (vec![], vec![]));
    let run = bench.run();
    assert_eq!(run.read(&p), vec![-293]);
    assert_eq!(run.read(&r), vec![0]);
    run.assert_forced();
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()))
}

#[test]
fn a_function_of_an_accumulator_is_correctly_rounded() {
    let mut rng = Random(3);
    let mut bench = Bench::default();
    let (a, w) = (rng.integers(4 * 8, -1000, 1000), rng.integers(5 * 8, -2000, 2000));
    let x = bench.tensor(&[4, 8], A16, a.clone());
    let y = bench.tensor(&[5, 8], Format { scale: 12, bits: 16 }, w.clone());
    let acc = Accumulator::contraction(1, &[4, 5, 8], 2, &[(&x, &[0, 2]), (&y, &[1, 2])]);
    let out = unary(&mut bench.ctx, "gelu", &acc, A16, &gelu, "gelu", A16).unwrap();
    let run = bench.run();
    let mut expected = Vec::new();
    for i in 0..4 {
        for j in 0..5 {
            let dot: i64 = (0..8).map(|k| a[i * 8 + k] * w[j * 8 + k]).sum();
            let h = half_up(dot as i128, 12) as f64 / 1024.0;
            expected.push((gelu(h) * 1024.0 + 0.5).floor() as i64);
        }
    }
    assert_eq!(run.read(&out), expected);
    run.assert_forced();
}

#[test]
fn a_function_of_a_tensor_is_looked_up_in_place_once_per_distinct_cell() {
    let mut bench = Bench::default();
    let x = bench.tensor(&[3], Format { scale: 4, bits: 8 }, vec![-128, 17, 127]);
    let wide = broadcast_to("tanh", &x, &[2, 3]).unwrap();
    let acc = Accumulator::of(&wide);
    let out = unary(&mut bench.ctx, "tanh", &acc, Format { scale: 4, bits: 16 }, &f64::tanh, "tanh", A16).unwrap();
    let run = bench.run();
    let row: Vec<i64> = [-128, 17, 127].iter().map(|&v: &i64| ((v as f64 / 16.0).tanh() * 1024.0 + 0.5).floor() as i64).collect();
    assert_eq!(run.read(&out), [row.clone(), row].concat());
    assert_eq!(run.built.program.lookup_count(), 3);
    run.assert_forced();
}

#[test]
fn undefined_and_infinite_values_saturate_as_documented() {
    let mut bench = Bench::default();
    let format = Format { scale: 0, bits: 8 };
    let out = Format { scale: 8, bits: 16 };
    let x = bench.tensor(&[4], format, vec![-128, -1, 0, 2]);
    let acc = Accumulator::of(&x);
    let log = unary(&mut bench.ctx, "log", &acc, format, &f64::ln, "ln", out).unwrap();
    let inverse = unary(&mut bench.ctx, "inv", &acc, format, &|v| 1.0 / v, "inv", out).unwrap();
    let root = unary(&mut bench.ctx, "sqrt", &acc, format, &f64::sqrt, "sqrt", out).unwrap();
    let none = unary(&mut bench.ctx, "nan", &acc, format, &|_| f64::NAN, "nan", out).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&log), vec![-32768, -32768, -32768, 177]);
    assert_eq!(run.read(&inverse), vec![-2, -256, 32767, 128]);
    assert_eq!(run.read(&root), vec![0, 0, 0, 362]);
    assert_eq!(run.read(&none), vec![0; 4]);
}

#[test]
fn an_argument_outside_the_table_names_the_node() {
    let mut bench = Bench::default();
    let x = bench.tensor(&[1], Format { scale: 4, bits: 20 }, vec![1 << 16]);
    unary(&mut bench.ctx, "far_out", &Accumulator::of(&x), Format { scale: 4, bits: 16 }, &f64::tanh, "tanh", A16).unwrap();
    let error = bench.fails();
    assert!(error.contains("far_out"), "{error}");
}

#[test]
fn comparisons_agree_with_integers_at_every_width_and_scale() {
    let all = [
        (Comparison::Less, (|a, b| a < b) as fn(i64, i64) -> bool),
        (Comparison::LessOrEqual, |a, b| a <= b),
        (Comparison::Greater, |a, b| a > b),
        (Comparison::GreaterOrEqual, |a, b| a >= b),
        (Comparison::Equal, |a, b| a == b),
    ];
    for bits in [8, 16, 20] {
        let (lo, hi) = (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1);
        let a = vec![lo, hi, lo, hi, 0, 5, 5, -5];
        let b = vec![hi, lo, lo, hi, 0, 4, 6, -4];
        for (which, oracle) in all {
            let mut bench = Bench::default();
            let x = bench.tensor(&[8], Format { scale: 3, bits }, a.clone());
            let y = bench.tensor(&[8], Format { scale: 4, bits }, b.clone());
            let out = compare(&mut bench.ctx, "cmp", which, &x, &y).unwrap();
            let run = bench.run();
            let expected: Vec<i64> = a.iter().zip(&b).map(|(&a, &b)| oracle(2 * a, b) as i64).collect();
            assert_eq!(run.read(&out), expected, "{which:?} at {bits} bits");
            if bits != 8 {
                run.assert_forced();
            }
        }
    }
}

#[test]
fn logic_and_selection_follow_their_truth_tables() {
    let mut bench = Bench::default();
    let a = bench.input(&[4], 0, 1, 0, vec![0, 0, 1, 1]);
    let b = bench.input(&[4], 0, 1, 0, vec![0, 1, 0, 1]);
    let x = bench.tensor(&[1], A16, vec![100]);
    let y = bench.tensor(&[2, 4], Format { scale: 9, bits: 16 }, (0..8).collect());
    let ctx = &mut bench.ctx;
    let and = logical_and(ctx, "and", &a, &b).unwrap();
    let or = logical_or(ctx, "or", &a, &b).unwrap();
    let xor = logical_xor(ctx, "xor", &a, &b).unwrap();
    let not = logical_not(ctx, "not", &a).unwrap();
    let chosen = where_select("where", &a, &x, &y).unwrap();
    let chosen = requantize(ctx, "where", &chosen, A16).unwrap();
    assert!(logical_and(ctx, "and", &x, &b).is_err());
    let run = bench.run();
    assert_eq!(run.read(&and), vec![0, 0, 0, 1]);
    assert_eq!(run.read(&or), vec![0, 1, 1, 1]);
    assert_eq!(run.read(&xor), vec![0, 1, 1, 0]);
    assert_eq!(run.read(&not), vec![1, 1, 0, 0]);
    assert_eq!(run.read(&chosen), vec![0, 2, 100, 100, 8, 10, 100, 100]);
    run.assert_forced();
}

#[test]
fn minima_and_maxima_of_two_tensors_align_their_scales() {
    let (a, b) = (vec![-32768, 32767, 3, 0], vec![32767, -32768, 6, 1]);
    let mut bench = Bench::default();
    let x = bench.tensor(&[4], Format { scale: 3, bits: 16 }, a.clone());
    let y = bench.tensor(&[4], Format { scale: 4, bits: 16 }, b.clone());
    let wide = Format { scale: 4, bits: 20 };
    let max = max_of(&mut bench.ctx, "max", &x, &y).unwrap();
    let max = requantize(&mut bench.ctx, "max", &max, wide).unwrap();
    let min = min_of(&mut bench.ctx, "min", &x, &y).unwrap();
    let min = requantize(&mut bench.ctx, "min", &min, wide).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&max), a.iter().zip(&b).map(|(a, b)| *b.max(&(2 * a))).collect::<Vec<i64>>());
    assert_eq!(run.read(&min), a.iter().zip(&b).map(|(a, b)| *b.min(&(2 * a))).collect::<Vec<i64>>());
    run.assert_forced();
}

fn rounded_ratio(a: i64, b: i64, scale: i32) -> i64 {
    (a as f64 / b as f64 * (scale as f64).exp2() + 0.5).floor() as i64
}

#[test]
fn quotients_are_rounded_for_divisors_of_any_sign_and_width() {
    let a = vec![1000, -1000, 32767, -32768, 7, 0];
    for (lo, hi, b) in [
        (1, 32767, vec![7, 7, 32767, 8000, 14, 1]),
        (-32768, -1, vec![-7, -7, -32768, -8000, -14, -1]),
        (-32768, 32767, vec![7, -7, -32768, 8000, -14, -1]),
        (-(1 << 20), 1 << 20, vec![77, -77, -(1 << 20), 8000, -14, -1]),
    ] {
        for scale in [6, -2] {
            let mut bench = Bench::default();
            let x = bench.tensor(&[6], Format { scale: 0, bits: 16 }, a.clone());
            let y = bench.input(&[6], lo, hi, 0, b.clone());
            let out = divide(&mut bench.ctx, "div", &x, &y, Format { scale, bits: 16 }).unwrap();
            let run = bench.run();
            let expected: Vec<i64> = a.iter().zip(&b).map(|(&a, &b)| rounded_ratio(a, b, scale)).collect();
            assert_eq!(run.read(&out), expected, "divisors in {lo}..={hi} at scale {scale}");
            run.assert_forced();
        }
    }
}

#[test]
fn a_shared_divisor_is_inverted_once() {
    let a: Vec<i64> = (0..12).map(|i| i * 5000 - 30_000).collect();
    let b = vec![777, -32768];
    let mut bench = Bench::default();
    let x = bench.tensor(&[2, 6], A16, a.clone());
    let y = bench.tensor(&[2, 1], A16, b.clone());
    let out = divide(&mut bench.ctx, "div", &x, &y, Format { scale: 9, bits: 16 }).unwrap();
    let run = bench.run();
    for (i, q) in run.read(&out).into_iter().enumerate() {
        let real = a[i] as f64 / b[i / 6] as f64 * 512.0;
        assert!((q as f64 - real).abs() < 0.76, "{q} for {real}");
    }
    run.assert_forced();
}

#[test]
fn a_division_by_zero_names_the_node() {
    let mut bench = Bench::default();
    let x = bench.tensor(&[1], A16, vec![1]);
    let y = bench.tensor(&[1], A16, vec![0]);
    divide(&mut bench.ctx, "div_zero", &x, &y, A16).unwrap();
    let error = bench.fails();
    assert!(error.contains("div_zero"), "{error}");
}

#[test]
fn reciprocals_and_roots_are_exact_to_one_unit() {
    let values = vec![1, -3, 1000, 32767, -32768];
    let mut bench = Bench::default();
    let x = bench.tensor(&[5], A16, values.clone());
    let out = Format { scale: 12, bits: 24 };
    let inverse = reciprocal(&mut bench.ctx, "inv", &x, out).unwrap();
    let square = Accumulator::product("norm", &x, &x).unwrap();
    let same = sqrt(&mut bench.ctx, "norm", &square, Format { scale: 10, bits: 17 }).unwrap();
    let coarse = sqrt(&mut bench.ctx, "norm", &square, Format { scale: 8, bits: 16 }).unwrap();
    let fine = sqrt(&mut bench.ctx, "norm", &square, Format { scale: 13, bits: 20 }).unwrap();
    let run = bench.run();
    assert_eq!(run.read(&inverse), values.iter().map(|&v| rounded_ratio(1, v, 22)).collect::<Vec<i64>>());
    assert_eq!(run.read(&same), values.iter().map(|v| v.abs()).collect::<Vec<i64>>());
    assert_eq!(run.read(&coarse), values.iter().map(|v| v.abs() / 4).collect::<Vec<i64>>());
    assert_eq!(run.read(&fine), values.iter().map(|v| v.abs() * 8).collect::<Vec<i64>>());
    run.assert_forced();
}

#[test]
fn rows_of_a_private_table_are_gathered() {
    let mut bench = Bench::default();
    let content: Vec<i64> = (0..6 * 4).map(|v| v * 3 - 30).collect();
    let view = bench.ctx.builder.param("embedding", &[6, 4], &content);
    let table = QTensor { view, scale: 10, lo: -30, hi: 39 };
    let index = bench.input(&[2, 3], 0, 5, 0, vec![5, 0, 3, 3, 1, 2]);
    let one = bench.input(&[], 0, 5, 0, vec![4]);
    let out = gather_rows(&mut bench.ctx, "gather", &index, &table).unwrap();
    let row = gather_rows(&mut bench.ctx, "gather", &one, &table).unwrap();
    assert_eq!((out.shape(), row.shape()), (vec![2, 3, 4], vec![4]));
    let run = bench.run();
    let expected: Vec<i64> = [5, 0, 3, 3, 1, 2].iter().flat_map(|&r: &usize| content[r * 4..r * 4 + 4].to_vec()).collect();
    assert_eq!(run.read(&out), expected);
    assert_eq!(run.read(&row), content[16..20].to_vec());
    run.assert_forced();
}
