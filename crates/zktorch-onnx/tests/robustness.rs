//! Damaged files give errors, never a panic.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, float_tensor, int, int_tensor, ints, numbers, string};
use zktorch_onnx::{ImportOptions, import_bytes};

fn sample() -> Vec<u8> {
    Model::new(17)
        .input("x", &["1", "2", "6", "6"])
        .weight(float_tensor("w", &[4, 2, 3, 3], &numbers(72)))
        .weight(float_tensor("v", &[36, 5], &numbers(180)))
        .weight(int_tensor("shape", &[2], &[1, -1]))
        .weight(int_tensor("sizes", &[2], &[2, 3]))
        .node("Conv", "x w", "a", vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])])
        .node("MaxPool", "a", "b", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[1, 1]), int("ceil_mode", 1)])
        .node("Transpose", "b", "t", vec![ints("perm", &[0, 2, 3, 1])])
        .node("Softmax", "t", "s", vec![int("axis", -1)])
        .node("Reshape", "a shape", "f", vec![])
        .node("Gemm", "f v", "g", vec![int("transB", 0)])
        .node("Split", "g sizes", "p q", vec![int("axis", 1)])
        .output("p")
        .output("q")
        .output("s")
        .encode()
}

/// Operators with involved shapes.
fn second_sample() -> Vec<u8> {
    Model::new(23)
        .input("x", &["3", "2", "4"])
        .weight(float_tensor("w", &[1, 12, 4], &numbers(48)))
        .weight(float_tensor("r", &[1, 12, 3], &numbers(36)))
        .weight(float_tensor("scales", &[3], &[1.0, 2.0, 1.5]))
        .weight(float_tensor("m", &[2, 2], &[0.0, f32::MIN, 0.0, 0.0]))
        .weight(int_tensor("ix", &[2, 2], &[0, 1, 2, 0]))
        .weight(int_tensor("from", &[2], &[0, -1]))
        .weight(int_tensor("to", &[2], &[2, 0]))
        .weight(int_tensor("step", &[2], &[1, -1]))
        .weight(int_tensor("axes", &[2], &[1, 2]))
        .weight(int_tensor("k", &[1], &[2]))
        .weight(int_tensor("pads", &[4], &[0, 1, 0, -1]))
        .node("LSTM", "x w r", "y h", vec![int("hidden_size", 3)])
        .node("Attention", "x x x m", "a", vec![int("q_num_heads", 2), int("kv_num_heads", 2)])
        .node("Resize", "x - scales", "b", vec![string("mode", "linear")])
        .node("GatherND", "x ix", "c", vec![])
        .node("Slice", "x from to axes step", "d", vec![])
        .node("TopK", "d k", "e f", vec![])
        .node("Einsum", "x x", "g", vec![string("equation", "...bc,dbc->...d")])
        .node("Pad", "g pads", "p", vec![string("mode", "edge")])
        .output("h")
        .output("b")
        .output("c")
        .output("e")
        .output("p")
        .output("a")
        .encode()
}

#[test]
fn truncated_and_altered_files_never_panic() {
    for good in [sample(), second_sample()] {
        import_bytes(good.clone(), &ImportOptions::default()).unwrap();
        damage(&good);
    }
}

fn damage(good: &[u8]) {
    let options = ImportOptions::default();
    for length in 0..good.len() {
        let _ = import_bytes(good[..length].to_vec(), &options);
    }
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..4000 {
        let mut bad = good.to_vec();
        for _ in 0..=random(3) {
            let at = random(bad.len());
            bad[at] = match random(3) {
                0 => bad[at] ^ (1 << random(8)),
                1 => random(256) as u8,
                _ => [0, 1, 0x7f, 0x80, 0xff][random(5)],
            };
        }
        refused += usize::from(import_bytes(bad, &options).is_err());
    }
    assert!(refused > 500, "{refused}");
}
