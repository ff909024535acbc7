//! The named models of `bench`: exact architectures, seeded weights.

mod convolutions;
pub mod gptj;
mod transformers;
mod trees;

use super::onnx::{Attr, Elem, SplitMix64, Writer};
use zktorch::{DType, Data, Tensor, TensorSpec};

/// Names of models that take seconds at most: measured by default.
pub const SMALL: [&str; 4] = ["mlp", "trees", "lenet5", "nanogpt"];

/// Names of models that take minutes and gigabytes, the cheapest first: measured when asked for.
pub const LARGE: [&str; 8] = ["vgg16", "gpt2-16", "mobilenetv2", "gpt2-64", "bert-base", "resnet50", "vit-b16", "gpt2-256"];

/// Names of models that differ in size alone.
pub const SCALING: &str = "cells-16 to cells-27";

/// The ONNX file of a named model, or nothing for other names.
pub fn named(name: &str) -> Option<Vec<u8>> {
    match name {
        "mlp" => Some(include_bytes!("../../../assets/digits_mlp.onnx").to_vec()),
        "trees" => Some(trees::boosted()),
        "lenet5" => Some(lenet5()),
        "nanogpt" => Some(transformers::NANOGPT.onnx(name)),
        "vgg16" => Some(convolutions::vgg16()),
        "mobilenetv2" => Some(convolutions::mobilenet_v2()),
        "resnet50" => Some(convolutions::resnet50()),
        "gpt2-16" => Some(transformers::gpt2(16).onnx(name)),
        "gpt2-64" => Some(transformers::gpt2(64).onnx(name)),
        "gpt2-256" => Some(transformers::gpt2(256).onnx(name)),
        "bert-base" => Some(transformers::bert_base()),
        "vit-b16" => Some(transformers::vit_b16()),
        _ => scaling(name).map(|log2_cells| transformers::blocks(1 << (log2_cells - transformers::BLOCKS_CELL_BITS)).onnx(name)),
    }
}

/// The logarithm in a name like `cells-20`: a stack of residual blocks of about `2^20` heap cells, to see how costs grow.
fn scaling(name: &str) -> Option<u32> {
    let log2_cells = name.strip_prefix("cells-")?.parse().ok()?;
    (16..=27).contains(&log2_cells).then_some(log2_cells)
}

/// Whether a name is that of a model; cheaper than [`named`].
pub fn is_named(name: &str) -> bool {
    SMALL.contains(&name) || LARGE.contains(&name) || gptj::named(name).is_some() || scaling(name).is_some()
}

/// Seeded inputs for any model: floats in `[0, 1)`, integers below 65, true.
pub fn inputs(specs: &[TensorSpec], seed: u64) -> Vec<Tensor> {
    let mut random = SplitMix64(seed);
    specs
        .iter()
        .map(|spec| {
            let n = spec.len();
            let data = match spec.dtype {
                DType::F32 => Data::F32((0..n).map(|_| random.uniform()).collect()),
                DType::I64 => Data::I64((0..n).map(|_| (random.next_u64() % transformers::SMALL_VOCABULARY as u64) as i64).collect()),
                DType::Bool => Data::Bool(vec![true; n]),
            };
            Tensor { shape: spec.shape.clone(), data }
        })
        .collect()
}

/// LeNet-5 on 28x28 images: tanh, average pooling, 61,706 parameters.
fn lenet5() -> Vec<u8> {
    let mut w = Writer::new("lenet5", 5);
    let mut x = w.input("image", Elem::F32, &[1, 1, 28, 28]);
    for (name, shape, pad) in [("conv1", [6, 1, 5, 5], 2), ("conv2", [16, 6, 5, 5], 0)] {
        let fan_in = (shape[1] * 25) as f32;
        let kernel = w.weight(&format!("{name}.weight"), &shape, 0.0, fan_in.sqrt().recip());
        let bias = w.weight(&format!("{name}.bias"), &shape[..1], 0.0, 0.1);
        x = w.node("Conv", &[&x, &kernel, &bias], &[("kernel_shape", Attr::Ints(&[5, 5])), ("pads", Attr::Ints(&[pad; 4]))]);
        x = w.node("Tanh", &[&x], &[]);
        x = w.node("AveragePool", &[&x], &[("kernel_shape", Attr::Ints(&[2, 2])), ("strides", Attr::Ints(&[2, 2]))]);
    }
    x = w.node("Flatten", &[&x], &[("axis", Attr::Int(1))]);
    for (i, (rows, columns)) in [(120, 400), (84, 120), (10, 84)].into_iter().enumerate() {
        let weight = w.weight(&format!("dense{i}.weight"), &[rows, columns], 0.0, (columns as f32).sqrt().recip());
        let bias = w.weight(&format!("dense{i}.bias"), &[rows], 0.0, 0.1);
        let out = if i == 2 { "logits".to_owned() } else { format!("dense{i}") };
        w.node_to("Gemm", &[&x, &weight, &bias], &[&out], &[("transB", Attr::Int(1))]);
        x = if i == 2 { out } else { w.node("Tanh", &[&out], &[]) };
    }
    w.output("logits", &[1, 10]);
    w.finish()
}
