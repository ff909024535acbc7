//! The named models of `bench`: exact architectures, seeded weights.

use super::onnx::{Attr, Elem, SplitMix64, Writer};
use zktorch::DType;
use zktorch::{Data, Tensor, TensorSpec};

/// Names in the order in which they are measured.
pub const NAMES: [&str; 3] = ["mlp", "lenet5", "nanogpt"];

/// Names of models that take minutes and gigabytes: measured when asked for.
pub const LARGE: [&str; 3] = ["gpt2-16", "gpt2-64", "gpt2-256"];

/// The ONNX file of a named model, or nothing for other names.
pub fn named(name: &str) -> Option<Vec<u8>> {
    match name {
        "mlp" => Some(include_bytes!("../../assets/digits_mlp.onnx").to_vec()),
        "lenet5" => Some(lenet5()),
        "nanogpt" => Some(NANOGPT.onnx(name)),
        "gpt2-16" => Some(Decoder { tokens: 16, ..GPT2 }.onnx(name)),
        "gpt2-64" => Some(GPT2.onnx(name)),
        "gpt2-256" => Some(Decoder { tokens: 256, ..GPT2 }.onnx(name)),
        _ => None,
    }
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
                DType::I64 => Data::I64((0..n).map(|_| (random.next_u64() % VOCABULARY as u64) as i64).collect()),
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

/// A decoder of GPT-2's shape.
struct Decoder {
    vocabulary: usize,
    tokens: usize,
    width: usize,
    heads: usize,
    layers: usize,
}

/// 0.21 million parameters.
const NANOGPT: Decoder = Decoder { vocabulary: 65, tokens: 64, width: 64, heads: 4, layers: 4 };

/// 124 million parameters; the head is the embedding transposed, and logits are computed for the last position only.
const GPT2: Decoder = Decoder { vocabulary: 50257, tokens: 64, width: 768, heads: 12, layers: 12 };

/// Token ids of any benchmark model are below this.
const VOCABULARY: usize = NANOGPT.vocabulary;

impl Decoder {
    /// The model with seeded weights.
    fn onnx(&self, name: &str) -> Vec<u8> {
        let &Decoder { vocabulary, tokens, width, heads, layers } = self;
        let large = vocabulary > VOCABULARY;
        let mut w = Writer::new(name, 7);
        let ids = w.input("ids", Elem::I64, &[1, tokens]);
        let embedding = w.weight("token.weight", &[vocabulary, width], 0.0, if large { 0.1 } else { 0.5 });
        let position = w.weight("position.weight", &[1, tokens, width], 0.0, 0.2);
        let by_heads = w.ints("shape.heads", &[1, tokens as i64, heads as i64, (width / heads) as i64]);
        let merged = w.ints("shape.merged", &[1, tokens as i64, width as i64]);
        let future = w.bools("mask", &[tokens, tokens], (0..tokens * tokens).map(|i| i % tokens > i / tokens));
        let minus_infinity = w.floats("minus_infinity", &[], &[f32::NEG_INFINITY]);
        let scale = w.floats("scale", &[], &[((width / heads) as f32).sqrt().recip()]);
        let x = w.node("Gather", &[&embedding, &ids], &[("axis", Attr::Int(0))]);
        let mut x = w.node("Add", &[&x, &position], &[]);
        for layer in 0..layers {
            let name = |part: &str| format!("layer{layer}.{part}");
            let y = norm(&mut w, &x, &name("norm1"), width);
            let qkv = dense(&mut w, &y, &name("qkv"), width, 3 * width);
            let parts = ["q", "k", "v"].map(name);
            let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
            w.node_to("Split", &[&qkv], &outputs, &[("axis", Attr::Int(2)), ("num_outputs", Attr::Int(3))]);
            let mut split = |part: &str, perm: &[i64; 4]| {
                let by_head = w.node("Reshape", &[part, &by_heads], &[]);
                w.node("Transpose", &[&by_head], &[("perm", Attr::Ints(perm))])
            };
            let q = split(&parts[0], &[0, 2, 1, 3]);
            let k = split(&parts[1], &[0, 2, 3, 1]);
            let v = split(&parts[2], &[0, 2, 1, 3]);
            let scores = w.node("MatMul", &[&q, &k], &[]);
            let scores = w.node("Mul", &[&scores, &scale], &[]);
            let scores = w.node("Where", &[&future, &minus_infinity, &scores], &[]);
            let weights = w.node("Softmax", &[&scores], &[("axis", Attr::Int(-1))]);
            let mixed = w.node("MatMul", &[&weights, &v], &[]);
            let mixed = w.node("Transpose", &[&mixed], &[("perm", Attr::Ints(&[0, 2, 1, 3]))]);
            let mixed = w.node("Reshape", &[&mixed, &merged], &[]);
            let mixed = dense(&mut w, &mixed, &name("out"), width, width);
            x = w.node("Add", &[&x, &mixed], &[]);
            let y = norm(&mut w, &x, &name("norm2"), width);
            let y = dense(&mut w, &y, &name("up"), width, 4 * width);
            let y = w.node("Gelu", &[&y], &[]);
            let y = dense(&mut w, &y, &name("down"), 4 * width, width);
            x = w.node("Add", &[&x, &y], &[]);
        }
        let x = norm(&mut w, &x, "norm", width);
        if large {
            let last = w.ints("shape.last", &[tokens as i64 - 1]);
            let x = w.node("Gather", &[&x, &last], &[("axis", Attr::Int(1))]);
            let head = w.node("Transpose", &[&embedding], &[("perm", Attr::Ints(&[1, 0]))]);
            w.node_to("MatMul", &[&x, &head], &["logits"], &[]);
            w.output("logits", &[1, 1, vocabulary]);
        } else {
            let head = w.weight("head.weight", &[width, vocabulary], 0.0, (width as f32).sqrt().recip());
            w.node_to("MatMul", &[&x, &head], &["logits"], &[]);
            w.output("logits", &[1, tokens, vocabulary]);
        }
        w.finish()
    }
}

fn norm(w: &mut Writer, x: &str, name: &str, width: usize) -> String {
    let gain = w.weight(&format!("{name}.weight"), &[width], 1.0, 0.05);
    let bias = w.weight(&format!("{name}.bias"), &[width], 0.0, 0.02);
    w.node("LayerNormalization", &[x, &gain, &bias], &[("axis", Attr::Int(-1)), ("epsilon", Attr::Float(1e-5))])
}

fn dense(w: &mut Writer, x: &str, name: &str, rows: usize, columns: usize) -> String {
    let weight = w.weight(&format!("{name}.weight"), &[rows, columns], 0.0, (rows as f32).sqrt().recip());
    let bias = w.weight(&format!("{name}.bias"), &[columns], 0.0, 0.02);
    let y = w.node("MatMul", &[x, &weight], &[]);
    w.node("Add", &[&y, &bias], &[])
}
