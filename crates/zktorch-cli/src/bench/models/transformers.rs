//! Transformers: decoders of GPT-2's shape, BERT-base, ViT-B/16.

use crate::bench::onnx::{Attr, Elem, Writer};

/// A decoder of GPT-2's shape.
pub struct Decoder {
    vocabulary: usize,
    tokens: usize,
    width: usize,
    heads: usize,
    layers: usize,
}

/// 0.21 million parameters.
pub const NANOGPT: Decoder = Decoder { vocabulary: 65, tokens: 64, width: 64, heads: 4, layers: 4 };

/// 124 million parameters; the head is the embedding transposed, and logits are computed for the last position only.
pub fn gpt2(tokens: usize) -> Decoder {
    Decoder { vocabulary: 50257, tokens, width: 768, heads: 12, layers: 12 }
}

/// Token ids of any benchmark model are below this.
pub const SMALL_VOCABULARY: usize = NANOGPT.vocabulary;

impl Decoder {
    /// The model with seeded weights.
    pub fn onnx(&self, name: &str) -> Vec<u8> {
        let &Decoder { vocabulary, tokens, width, heads, layers } = self;
        let large = vocabulary > SMALL_VOCABULARY;
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

/// Residual blocks without attention, for which cells grow with the tokens alone.
pub struct Blocks {
    tokens: usize,
}

/// log2 of the cells per token of [`Blocks`], roughly.
pub const BLOCKS_CELL_BITS: u32 = 13;

/// The blocks for a number of tokens.
pub fn blocks(tokens: usize) -> Blocks {
    Blocks { tokens }
}

impl Blocks {
    /// The model with seeded weights: an embedding, four blocks of width 128, the mean over all tokens, ten classes.
    pub fn onnx(&self, name: &str) -> Vec<u8> {
        const WIDTH: usize = 128;
        let mut w = Writer::new(name, 11);
        let ids = w.input("ids", Elem::I64, &[1, self.tokens]);
        let embedding = w.weight("token.weight", &[SMALL_VOCABULARY, WIDTH], 0.0, 0.5);
        let mut x = w.node("Gather", &[&embedding, &ids], &[("axis", Attr::Int(0))]);
        for layer in 0..4 {
            let name = |part: &str| format!("layer{layer}.{part}");
            let y = norm(&mut w, &x, &name("norm"), WIDTH);
            let y = dense(&mut w, &y, &name("up"), WIDTH, 4 * WIDTH);
            let y = w.node("Gelu", &[&y], &[]);
            let y = dense(&mut w, &y, &name("down"), 4 * WIDTH, WIDTH);
            x = w.node("Add", &[&x, &y], &[]);
        }
        let axes = w.ints("axes", &[1]);
        let x = w.node("ReduceMean", &[&x, &axes], &[("keepdims", Attr::Int(0))]);
        let weight = w.weight("head.weight", &[WIDTH, 10], 0.0, (WIDTH as f32).sqrt().recip());
        w.node_to("MatMul", &[&x, &weight], &["logits"], &[]);
        w.output("logits", &[1, 10]);
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

/// The activation as exporters spell it before opset 20: `x/2 · (1 + erf(x/√2))`.
fn gelu(w: &mut Writer, x: &str, [root, one, half]: &[String; 3]) -> String {
    let y = w.node("Div", &[x, root], &[]);
    let y = w.node("Erf", &[&y], &[]);
    let y = w.node("Add", &[&y, one], &[]);
    let y = w.node("Mul", &[x, &y], &[]);
    w.node("Mul", &[&y, half], &[])
}

/// Shape of an encoder of 12 layers, 12 heads and width 768.
struct Encoder {
    tokens: usize,
    /// Names of constants.
    by_heads: String,
    merged: String,
    root: String,
    gelu: [String; 3],
}

/// Width of both encoders.
const WIDTH: usize = 768;
/// Heads of both encoders.
const HEADS: usize = 12;

impl Encoder {
    fn new(w: &mut Writer, tokens: usize) -> Encoder {
        let by_heads = w.ints("shape.heads", &[1, tokens as i64, HEADS as i64, (WIDTH / HEADS) as i64]);
        let merged = w.ints("shape.merged", &[1, tokens as i64, WIDTH as i64]);
        let root = w.floats("root", &[], &[8.0]);
        let gelu = [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)].map(|(name, x)| w.floats(name, &[], &[x]));
        Encoder { tokens, by_heads, merged, root, gelu }
    }

    /// Self-attention with separate projections, as exporters write it, up to the output projection.
    fn attention(&self, w: &mut Writer, x: &str, name: &str) -> String {
        let mut project = |part: &str, perm: &[i64; 4]| {
            let y = dense(w, x, &format!("{name}.{part}"), WIDTH, WIDTH);
            let y = w.node("Reshape", &[&y, &self.by_heads], &[]);
            w.node("Transpose", &[&y], &[("perm", Attr::Ints(perm))])
        };
        let (q, k, v) = (project("q", &[0, 2, 1, 3]), project("k", &[0, 2, 3, 1]), project("v", &[0, 2, 1, 3]));
        let scores = w.node("MatMul", &[&q, &k], &[]);
        let scores = w.node("Div", &[&scores, &self.root], &[]);
        let weights = w.node("Softmax", &[&scores], &[("axis", Attr::Int(-1))]);
        let mixed = w.node("MatMul", &[&weights, &v], &[]);
        let mixed = w.node("Transpose", &[&mixed], &[("perm", Attr::Ints(&[0, 2, 1, 3]))]);
        let mixed = w.node("Reshape", &[&mixed, &self.merged], &[]);
        dense(w, &mixed, &format!("{name}.out"), WIDTH, WIDTH)
    }

    fn feed_forward(&self, w: &mut Writer, x: &str, name: &str) -> String {
        let y = dense(w, x, &format!("{name}.up"), WIDTH, 4 * WIDTH);
        let y = gelu(w, &y, &self.gelu);
        dense(w, &y, &format!("{name}.down"), 4 * WIDTH, WIDTH)
    }

    /// The vector of the first token, `[1, WIDTH]`.
    fn first(w: &mut Writer, x: &str) -> String {
        let zero = w.ints("first", &[0]);
        let flat = w.ints("shape.first", &[1, WIDTH as i64]);
        let y = w.node("Gather", &[x, &zero], &[("axis", Attr::Int(1))]);
        w.node("Reshape", &[&y, &flat], &[])
    }
}

/// BERT-base, 128 tokens of one segment and no padding, with its pooler: 109 million parameters.
pub fn bert_base() -> Vec<u8> {
    const VOCABULARY: usize = 30522;
    let tokens = 128;
    let mut w = Writer::new("bert-base", 11);
    let ids = w.input("input_ids", Elem::I64, &[1, tokens]);
    let encoder = Encoder::new(&mut w, tokens);
    let words = w.weight("word.weight", &[VOCABULARY, WIDTH], 0.0, 0.1);
    // Positions and segments are looked up at constant indices; exporters fold them into one sum.
    let places = w.weight("place.weight", &[1, encoder.tokens, WIDTH], 0.0, 0.1);
    let x = w.node("Gather", &[&words, &ids], &[("axis", Attr::Int(0))]);
    let x = w.node("Add", &[&x, &places], &[]);
    let mut x = norm(&mut w, &x, "embedding.norm", WIDTH);
    for layer in 0..12 {
        let name = |part: &str| format!("layer{layer}.{part}");
        let y = encoder.attention(&mut w, &x, &name("attention"));
        let y = w.node("Add", &[&y, &x], &[]);
        x = norm(&mut w, &y, &name("norm1"), WIDTH);
        let y = encoder.feed_forward(&mut w, &x, &name("mlp"));
        let y = w.node("Add", &[&y, &x], &[]);
        x = norm(&mut w, &y, &name("norm2"), WIDTH);
    }
    let x = Encoder::first(&mut w, &x);
    let x = dense(&mut w, &x, "pooler", WIDTH, WIDTH);
    w.node_to("Tanh", &[&x], &["pooled"], &[]);
    w.output("pooled", &[1, WIDTH]);
    w.finish()
}

/// ViT-B/16 on 224x224 images, 1000 classes: 86 million parameters.
pub fn vit_b16() -> Vec<u8> {
    let (side, patch) = (224, 16);
    let patches = (side / patch) * (side / patch);
    let mut w = Writer::new("vit-b16", 13);
    let pixels = w.input("pixels", Elem::F32, &[1, 3, side, side]);
    let encoder = Encoder::new(&mut w, patches + 1);
    let kernel = w.weight("patch.weight", &[WIDTH, 3, patch, patch], 0.0, ((3 * patch * patch) as f32).sqrt().recip());
    let bias = w.weight("patch.bias", &[WIDTH], 0.0, 0.02);
    let square = [patch as i64; 2];
    let x = w.node("Conv", &[&pixels, &kernel, &bias], &[("kernel_shape", Attr::Ints(&square)), ("strides", Attr::Ints(&square))]);
    let flat = w.ints("shape.patches", &[1, WIDTH as i64, patches as i64]);
    let x = w.node("Reshape", &[&x, &flat], &[]);
    let x = w.node("Transpose", &[&x], &[("perm", Attr::Ints(&[0, 2, 1]))]);
    let class = w.weight("class.token", &[1, 1, WIDTH], 0.0, 0.1);
    let x = w.node("Concat", &[&class, &x], &[("axis", Attr::Int(1))]);
    let places = w.weight("place.weight", &[1, encoder.tokens, WIDTH], 0.0, 0.1);
    let mut x = w.node("Add", &[&x, &places], &[]);
    for layer in 0..12 {
        let name = |part: &str| format!("layer{layer}.{part}");
        let y = norm(&mut w, &x, &name("norm1"), WIDTH);
        let y = encoder.attention(&mut w, &y, &name("attention"));
        x = w.node("Add", &[&x, &y], &[]);
        let y = norm(&mut w, &x, &name("norm2"), WIDTH);
        let y = encoder.feed_forward(&mut w, &y, &name("mlp"));
        x = w.node("Add", &[&x, &y], &[]);
    }
    let x = norm(&mut w, &x, "norm", WIDTH);
    let x = Encoder::first(&mut w, &x);
    let weight = w.weight("head.weight", &[WIDTH, 1000], 0.0, (WIDTH as f32).sqrt().recip());
    let bias = w.weight("head.bias", &[1000], 0.0, 0.02);
    w.node_to("Gemm", &[&x, &weight, &bias], &["logits"], &[]);
    w.output("logits", &[1, 1000]);
    w.finish()
}
