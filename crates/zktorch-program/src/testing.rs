//! Sample programs for tests, here and in crates that build on this one.

use crate::builder::{Builder, Built, Part};
use crate::relation::Term;
use crate::step::{Digit, Step};
use crate::view::{Axis, View};

fn part(weight: i128, lo: i64, bits: u32) -> Part {
    Part { weight, lo, bits }
}

/// Small integers with a pattern: `(7·i mod 2·bound + 1) − bound`.
fn pattern(n: usize, bound: i64) -> Vec<i64> {
    (0..n as i64).map(|i| (7 * i + i * i / 3) % (2 * bound + 1) - bound).collect()
}

/// A small program that uses every kind of source, region, table, factor and step, with inputs for it:
/// a public input, a private one (row numbers) and a committed one (an image); a matrix product with bias and rescaling, a function table,
/// a softmax, a three-factor contraction with a mask, roots, gathers from a matrix and from small parameters, a convolution through
/// overlapping windows, a comparison with a negative weight; public outputs, one of them transposed.
pub fn sample_program() -> (Built, Vec<Vec<i64>>) {
    let mut b = Builder::new();
    let rectified = linear(&mut b);
    let weights = softmax(&mut b, &rectified);
    pooled(&mut b, &rectified, &weights);
    roots(&mut b, &rectified);
    gathers(&mut b);
    convolution(&mut b);
    let inputs = vec![pattern(15, 100), vec![8, 0, 3, 3], (0..36).map(|i| (5 * i + i * i) % 16).collect()];
    (b.finish(None), inputs)
}

/// `relu(x · Wᵀ + bias) / 4`, of shape `[3, 7]`.
fn linear(b: &mut Builder) -> View {
    let x = b.public("x", &[3, 5], -100, 100);
    b.step(Step::Input { input: 0, name: "x".to_string(), view: x.clone(), lo: -100, hi: 100 });
    let weight = pattern(35, 20).iter().map(|&v| v as i32).collect();
    let w = b.matrix("w", &[7, 5], weight);
    let bias = b.param("bias", &[7], &pattern(7, 300));
    let relu = (-2048..2048).map(|v: i64| v.max(0) / 4).collect();
    let relu = b.function_table("relu", -2048, vec![relu]);
    let y = b.column_cells(relu, &[3, 7]);
    let low = b.range_table(0, 4);
    let rest = b.virtual_cells("linear", low, &[3, 7]);
    b.decompose_into(
        "linear",
        &[3, 7, 5],
        2,
        vec![Term::product(1, x, &[0, 2], w, &[1, 2]), Term::linear(1, bias, &[1]), Term::constant(8)],
        &[part(16, -2048, 12), part(1, 0, 4)],
        &[y[0].clone(), rest],
    );
    b.apply("relu", relu, &y);
    y[1].clone()
}

/// Softmax over the last axis of `x[3, 7]`, in 1/256.
fn softmax(b: &mut Builder, x: &View) -> View {
    let positive = b.range_table(0, 9);
    let max = b.column_cells(positive, &[3]).swap_remove(0);
    b.step(Step::Max { x: x.clone(), max: max.clone() });
    let exp = (0..512).map(|z| (256.0 * (-(z as f64) / 64.0).exp()).round() as i64);
    let zero = (0..512).map(|z| (z == 0) as i64);
    let exp = b.function_table("exp", 0, vec![exp.collect(), zero.collect()]);
    let cells = b.column_cells(exp, &[3, 7]);
    let (z, e, is_zero) = (&cells[0], &cells[1], &cells[2]);
    b.decompose_into(
        "softmax/shift",
        &[3, 7],
        2,
        vec![Term::linear(1, max, &[0]), Term::linear(-1, x.clone(), &[0, 1])],
        &[part(1, 0, 9)],
        std::slice::from_ref(z),
    );
    b.apply("softmax/exp", exp, &cells);
    // The maximum is one of the values: at least one difference is zero.
    let others = b.range_table(0, 3);
    let others = b.virtual_cells("softmax/max", others, &[3]);
    let zeros = vec![Term::linear(1, is_zero.clone(), &[0, 1]), Term::constant(-1)];
    b.decompose_into("softmax/max", &[3, 7], 1, zeros, &[part(1, 0, 3)], &[others]);
    let sum = b.assign("softmax/sum", &[3, 7], 1, vec![Term::linear(1, e.clone(), &[0, 1])], 0, 7 * 256);
    let q = b.column_cells(positive, &[3]).swap_remove(0);
    b.step(Step::Quotient {
        node: "softmax/reciprocal".to_string(),
        sizes: vec![3],
        outputs: 1,
        numerator: vec![Term::constant(1 << 16)],
        denominator: sum.clone(),
        quotient: q.clone(),
        lo: 0,
        hi: 511,
    });
    // Another identity reads this remainder, so it is committed after all.
    let rest = b.range_table(0, 11);
    let rest = b.virtual_cells("softmax/reciprocal", rest, &[3]);
    let terms = vec![Term::constant(1 << 16), Term::product(-1, q.clone(), &[0], sum.clone(), &[0])];
    b.decompose_into("softmax/reciprocal", &[3], 1, terms, &[part(1, 0, 11)], std::slice::from_ref(&rest));
    b.decompose(
        "softmax/remainder",
        &[3],
        1,
        vec![Term::linear(1, sum, &[0]), Term::linear(-1, rest, &[0]), Term::constant(-1)],
        &[part(1, 0, 11)],
    );
    let scaled = vec![Term::product(1, e.clone(), &[0, 1], q, &[0])];
    let low = b.range_table(0, 8);
    let p = [b.column_cells(positive, &[3, 7]).swap_remove(0), b.virtual_cells("softmax/scale", low, &[3, 7])];
    b.decompose_into("softmax/scale", &[3, 7], 2, scaled, &[part(256, 0, 9), part(1, 0, 8)], &p);
    let out = b.public("weights", &[7, 3], 0, 511);
    b.decompose_into("weights", &[7, 3], 2, vec![Term::linear(1, p[0].clone(), &[1, 0])], &[part(1, 0, 9)], &[out]);
    p[0].clone()
}

/// A public output of shape `[3]`: a weighted sum of three factors, and a masked sum.
fn pooled(b: &mut Builder, x: &View, weights: &View) {
    let gain = b.param("gain", &[7], &pattern(7, 3));
    let mask = b.constant("mask", &[7], vec![1, 0, 1, 1, 0, 0, 1]);
    let digits = b.decompose(
        "pool",
        &[3, 7],
        1,
        vec![
            Term::product(1, weights.clone(), &[0, 1], x.clone(), &[0, 1]).times(gain, &[1]),
            Term::product(5, mask, &[1], weights.clone(), &[0, 1]),
        ],
        &[part(1 << 12, -2048, 12), part(1, 0, 12)],
    );
    let out = b.public("pooled", &[3], -2048, 2047);
    b.decompose_into("pooled", &[3], 1, vec![Term::linear(1, digits[0].clone(), &[0])], &[part(1, -2048, 12)], &[out]);
}

/// The root, and the inverse root in 1/1024, of `1 + Σ x²` over the last axis of `x[3, 7]`.
fn roots(b: &mut Builder, x: &View) {
    let v = b.assign(
        "norm",
        &[3, 7],
        1,
        vec![Term::product(1, x.clone(), &[0, 1], x.clone(), &[0, 1]), Term::constant(1)],
        1,
        1 + 7 * 511 * 511,
    );
    let range = b.range_table(0, 11);
    let t = b.column_cells(range, &[3]).swap_remove(0);
    b.step(Step::InverseSqrt { node: "norm/inverse".to_string(), value: v.clone(), shift: 10, out: t.clone() });
    // t²·v ≤ 2^20 < (t + 1)²·v
    let square = |c: i128| Term::product(c, t.clone(), &[0], t.clone(), &[0]).times(v.clone(), &[0]);
    b.decompose("norm/inverse below", &[3], 1, vec![Term::constant(1 << 20), square(-1)], &[part(1 << 11, 0, 10), part(1, 0, 11)]);
    b.decompose(
        "norm/inverse above",
        &[3],
        1,
        vec![
            square(1),
            Term::product(2, t.clone(), &[0], v.clone(), &[0]),
            Term::linear(1, v.clone(), &[0]),
            Term::constant(-1 - (1 << 20)),
        ],
        &[part(1 << 11, 0, 12), part(1, 0, 11)],
    );
    let s = b.column_cells(range, &[3]).swap_remove(0);
    b.step(Step::Sqrt { node: "norm/root".to_string(), value: v.clone(), out: s.clone() });
    let rest = b.decompose(
        "norm/root below",
        &[3],
        1,
        vec![Term::linear(1, v, &[0]), Term::product(-1, s.clone(), &[0], s.clone(), &[0])],
        &[part(1, 0, 12)],
    );
    b.decompose("norm/root above", &[3], 1, vec![Term::linear(2, s, &[0]), Term::linear(-1, rest[0].clone(), &[0])], &[part(1, 0, 12)]);
}

/// Rows of a matrix and of a small parameter, by the private row numbers; their sum is bounded by the identity alone.
fn gathers(b: &mut Builder) {
    let embedding = pattern(27, 90).iter().map(|&v| v as i32).collect();
    let embedding = b.matrix("embedding", &[9, 3], embedding);
    let positions = b.param("positions", &[9, 3], &pattern(27, 10));
    let ids = b.assigned_cells(&[4], 0, 8);
    b.step(Step::Input { input: 1, name: "ids".to_string(), view: ids.clone(), lo: 0, hi: 8 });
    let mut rows = Vec::new();
    for (name, view) in [("embedding", embedding), ("positions", positions)] {
        let (lo, hi) = b.bounds(&view);
        let table = b.rows_table(name, view);
        let out = b.assigned_cells(&[4, 3], lo as i64, hi as i64);
        b.step(Step::Gather { node: name.to_string(), table, index: ids.clone(), out: out.clone() });
        b.lookup(name, table, vec![ids.clone(), out.clone()], 1);
        rows.push(Term::linear(1, out, &[0, 1]));
    }
    b.assign("embed", &[4, 3], 2, rows, -256, 254);
}

/// A committed image of shape `[6, 6]`, convolved with two 3×3 kernels; the sign of the result, by a digit of negative weight.
fn convolution(b: &mut Builder) {
    let image = b.committed_cells("image", &[6, 6], 0, 15);
    b.step(Step::Input { input: 2, name: "image".to_string(), view: image.clone(), lo: 0, hi: 15 });
    let pixels = b.range_table(0, 4);
    b.lookup("image", pixels, vec![image.clone()], 2);
    let kernel = pattern(18, 7).iter().map(|&v| v as i32).collect();
    let kernel = b.matrix("kernel", &[2, 3, 3], kernel);
    let windows = View { axes: [(4, 6), (4, 1), (3, 6), (3, 1)].map(|(size, stride)| Axis { size, stride }).to_vec(), ..image };
    let values = b.assign("conv", &[2, 4, 4, 3, 3], 3, vec![Term::product(1, kernel, &[0, 3, 4], windows, &[1, 2, 3, 4])], -17280, 17145);
    let bit = b.range_table(0, 1);
    let low = b.range_table(0, 11);
    let views = [bit, low].map(|t| b.column_cells(t, &[2, 4, 4]).swap_remove(0));
    let sign = |view: &View, weight, hi| Digit { view: view.clone(), weight, lo: 0, hi };
    // value = −2048 · (value < 0) + rest
    b.step(Step::Digits {
        node: "sign".to_string(),
        sizes: vec![2, 4, 4],
        outputs: 3,
        terms: vec![Term::linear(1, values.clone(), &[0, 1, 2])],
        digits: vec![sign(&views[0], -2048, 1), sign(&views[1], 1, 2047)],
    });
    b.identity(
        "sign",
        &[2, 4, 4],
        3,
        vec![
            Term::linear(1, values, &[0, 1, 2]),
            Term::linear(2048, views[0].clone(), &[0, 1, 2]),
            Term::linear(-1, views[1].clone(), &[0, 1, 2]),
        ],
    );
}

#[cfg(all(test, feature = "prover"))]
mod tests {
    use super::*;

    #[test]
    fn the_sample_program_is_sound_and_runs() {
        let (built, inputs) = sample_program();
        let report = crate::audit(&built.program).expect("sound");
        let witness = crate::execute(&built, &inputs).expect("runs");
        crate::check(&built.program, &built.parameters, &witness).expect("holds");
        assert_eq!(witness.heap.len(), report.heap_cells + report.virtual_cells);
        // The transposed softmax weights of each row sum up to about one.
        for row in 0..3 {
            let sum: i64 = (0..7).map(|o| witness.publics[1][o * 3 + row]).sum();
            assert!((240..=256).contains(&sum), "{sum}");
        }
        let costs = crate::costs(&built.program).expect("well formed");
        let cells: usize = costs.iter().map(|c| c.cells).sum();
        let lookups: usize = costs.iter().map(|c| c.lookups).sum();
        assert_eq!(cells + report.padding_cells, report.heap_cells);
        assert_eq!(lookups, report.lookups);
        let conv = costs.iter().find(|c| c.name == "conv").expect("a node");
        assert_eq!((conv.cells, conv.products), (36 + 32, 32 * 9));
    }
}
