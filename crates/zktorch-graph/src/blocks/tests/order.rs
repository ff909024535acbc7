//! Elements in order.

use crate::blocks::testing::{Bench, Random};
use crate::blocks::*;

/// The definition: a stable sort.
fn expected(row: &[i64], k: usize, largest: bool) -> (Vec<i64>, Vec<i64>) {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by_key(|&i| if largest { -i128::from(row[i]) } else { i128::from(row[i]) });
    order[..k].iter().map(|&i| (row[i], i as i64)).unzip()
}

fn ordered(mut bench: Bench, (lo, hi): (i64, i64), n: usize, k: usize, largest: bool, values: Vec<i64>) {
    let rows = values.len() / n;
    let x = bench.input(&[rows, n], lo, hi, 3, values.clone());
    let (y, i) = top_k(&mut bench.ctx, "top", &x, k, largest).unwrap();
    assert_eq!((y.shape(), y.scale, i.shape(), i.scale), (vec![rows, k], 3, vec![rows, k], 0));
    let run = bench.run();
    let (values, indices): (Vec<_>, Vec<_>) = values.chunks(n).map(|row| expected(row, k, largest)).unzip();
    assert_eq!((run.read(&y), run.read(&i)), (values.concat(), indices.concat()));
    run.assert_forced();
}

#[test]
fn elements_come_in_order_and_equal_ones_by_their_index() {
    let mut r = Random(3);
    for largest in [true, false] {
        for (n, k) in [(1, 1), (5, 5), (6, 2)] {
            ordered(Bench::default(), (-4, 3), n, k, largest, r.integers(2 * n, -4, 3));
        }
        ordered(Bench::default(), (-4, 3), 7, 4, largest, vec![2; 7]);
        let ends = vec![i64::from(i32::MIN), i64::from(i32::MAX), 0, i64::from(i32::MIN), i64::from(i32::MAX)];
        ordered(Bench::default(), (i32::MIN.into(), i32::MAX.into()), 5, 3, largest, ends);
    }
}

#[test]
fn narrow_limbs_give_the_same_order() {
    let avoided: std::collections::BTreeSet<String> = ["is zero", "is not negative"].iter().map(|s| s.to_string()).collect();
    let mut bench = Bench::default();
    bench.ctx.tables = TablePlan { limb_bits: 5, value_bits: 5, avoided: avoided.into() };
    ordered(bench, (-900, 900), 4, 3, true, Random(4).integers(8, -900, 900));
}
