//! Decoders of GPT-J's shape with any number of layers: up to 6 billion parameters, made as a float graph and never held as a whole.
//!
//! The float graph holds the weights of one layer, which all layers share; the integers of each layer are those of the shared weights turned by a
//! number of cells that depends on the weight's name, so that every layer has weights of its own on disk. What a proof costs does not depend on the
//! weights' values, and every layer is committed, bound and opened by itself.

use super::super::onnx::SplitMix64;
use std::sync::Arc;
use zktorch::float::{BinaryFn, ClosedRow, Graph, Node, Op, UnaryFn, ValueId};
use zktorch::{DType, Data, MatrixCells, Tensor, WeightFolder, WeightStore};

/// A decoder of GPT-J's shape: rotary positions, attention and perceptron side by side, logits for the last token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    layers: usize,
    width: usize,
    heads: usize,
    /// Dimensions of a head that are rotated.
    rotary: usize,
    vocabulary: usize,
    tokens: usize,
}

/// The decoder that a name like `gptj-28` (that of GPT-J itself) means.
pub fn named(name: &str) -> Option<Decoder> {
    let layers = name.strip_prefix("gptj-")?.parse().ok().filter(|n| (1..=28).contains(n))?;
    Some(Decoder { layers, width: 4096, heads: 16, rotary: 64, vocabulary: 50_400, tokens: 2 })
}

/// Names for help texts.
pub const NAMES: &str = "gptj-1 to gptj-28";

/// Bits of a weight.
pub const WEIGHT_BITS: u32 = 8;

/// Keeps each weight in a file, turned by its name.
pub struct Turned<'a> {
    /// Where the weights go.
    pub folder: WeightFolder,
    /// Hears of each weight.
    pub progress: &'a dyn Fn(&str),
}

impl WeightStore for Turned<'_> {
    fn keep(&self, name: &str, cells: MatrixCells) -> std::io::Result<MatrixCells> {
        (self.progress)(name);
        let turn = name.bytes().fold(0u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3).rotate_left(29));
        let by = turn as usize % cells.len().max(1);
        let mut bytes = cells.to_le_bytes().into_owned();
        bytes.rotate_left(by * cells.width().bytes());
        self.folder.keep_bytes(cells.width(), &bytes)
    }

    fn by_name(&self) -> bool {
        true
    }
}

/// A graph under construction.
struct Net {
    graph: Graph,
    random: SplitMix64,
}

impl Net {
    fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.value(id).shape.clone()
    }

    fn tensor(&mut self, shape: &[usize], mean: f32, deviation: f32) -> Arc<Tensor> {
        let n = shape.iter().product();
        // Uniform numbers of the given deviation: a sum of many of them does not tell.
        let values = (0..n).map(|_| mean + (self.random.uniform() - 0.5) * deviation * 3.46).collect();
        Arc::new(Tensor { shape: shape.to_vec(), data: Data::F32(values) })
    }

    fn shared(&mut self, name: &str, tensor: &Arc<Tensor>, weights: bool) -> ValueId {
        let id = self.graph.add_value(name, tensor.dtype(), tensor.shape.clone());
        let value = &mut self.graph.values[id.0];
        value.constant = Some(Arc::clone(tensor));
        value.from_weights = weights;
        id
    }

    fn op(&mut self, name: &str, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let output = self.graph.add_value(name, DType::F32, shape.to_vec());
        let onnx_op = format!("{op:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
        let inputs = inputs.iter().copied().map(Some).collect();
        self.graph.nodes.push(Node { name: name.to_owned(), onnx_op, op, inputs, outputs: vec![output] });
        output
    }

    fn times(&mut self, name: &str, x: ValueId, weight: ValueId) -> ValueId {
        let (mut shape, columns) = (self.shape(x), self.shape(weight)[1]);
        if let Some(last) = shape.last_mut() {
            *last = columns;
        }
        self.op(name, Op::MatMul, &[x, weight], &shape)
    }

    fn add(&mut self, name: &str, x: ValueId, y: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.op(name, Op::Binary(BinaryFn::Add), &[x, y], &shape)
    }
}

/// The weights that all layers share.
struct Layer {
    square: [Arc<Tensor>; 4],
    up: Arc<Tensor>,
    up_bias: Arc<Tensor>,
    down: Arc<Tensor>,
    bias: Arc<Tensor>,
    gain: Arc<Tensor>,
}

impl Decoder {
    /// Number of parameters, biases and norms included.
    #[cfg(test)]
    pub fn parameters(&self) -> usize {
        let d = self.width;
        self.layers * (12 * d * d + 7 * d) + 2 * self.vocabulary * d + self.vocabulary + 2 * d
    }

    /// The float graph. Memory: the weights of one layer, the embedding and the head, as floats.
    pub fn graph(&self) -> Graph {
        let &Decoder { layers, width, vocabulary, tokens, .. } = self;
        let mut net = Net { graph: Graph::default(), random: SplitMix64(6) };
        let ids = net.graph.add_value("ids", DType::I64, vec![1, tokens]);
        net.graph.inputs.push(ids);
        let deviation = |n: usize| (n as f32).sqrt().recip();
        let embedding = net.tensor(&[vocabulary, width], 0.0, 0.5);
        let embedding = net.shared("embedding", &embedding, true);
        let layer = Layer {
            square: std::array::from_fn(|_| net.tensor(&[width, width], 0.0, deviation(width))),
            up: net.tensor(&[width, 4 * width], 0.0, deviation(width)),
            up_bias: net.tensor(&[4 * width], 0.0, 0.02),
            down: net.tensor(&[4 * width, width], 0.0, deviation(4 * width)),
            bias: net.tensor(&[width], 0.0, 0.02),
            gain: net.tensor(&[width], 1.0, 0.05),
        };
        let mut x = net.op("embed", Op::Gather { axis: 0 }, &[embedding, ids], &[1, tokens, width]);
        for i in 0..layers {
            x = self.layer(&mut net, &layer, x, &format!("layer{i}"));
        }
        let x = norm(&mut net, &layer, x, "final");
        let last = Op::Slice { starts: vec![0, tokens - 1, 0], sizes: vec![1, 1, width], steps: vec![1; 3] };
        let x = net.op("last", last, &[x], &[1, 1, width]);
        let head = net.tensor(&[width, vocabulary], 0.0, deviation(width));
        let head = net.shared("head", &head, true);
        let bias = net.tensor(&[vocabulary], 0.0, 0.02);
        let bias = net.shared("head.bias", &bias, true);
        let x = net.times("scores", x, head);
        let logits = net.add("logits", x, bias);
        net.graph.outputs.push(logits);
        net.graph
    }

    fn layer(&self, net: &mut Net, layer: &Layer, x: ValueId, name: &str) -> ValueId {
        let &Decoder { width, heads, tokens, .. } = self;
        let part = |p: &str| format!("{name}.{p}");
        let y = norm(net, layer, x, &part("norm"));
        let [q, k, v, out] = ["q", "k", "v", "out"].map(part);
        let weights: Vec<ValueId> =
            [&q, &k, &v, &out].iter().zip(&layer.square).map(|(n, t)| net.shared(&format!("{n}.weight"), t, true)).collect();
        let by_heads = [1, tokens, heads, width / heads];
        let split = |net: &mut Net, n: &str, weight: ValueId, rotated: bool, perm: [usize; 4]| {
            let x = net.times(n, y, weight);
            let x = net.op(&format!("{n}.heads"), Op::Reshape { shape: by_heads.to_vec() }, &[x], &by_heads);
            let x = if rotated { self.rotate(net, x, n) } else { x };
            net.op(&format!("{n}.turned"), Op::Transpose { perm: perm.to_vec() }, &[x], &perm.map(|d| by_heads[d]))
        };
        let q = split(net, &q, weights[0], true, [0, 2, 1, 3]);
        let k = split(net, &k, weights[1], true, [0, 2, 3, 1]);
        let v = split(net, &v, weights[2], false, [0, 2, 1, 3]);
        let square = [1, heads, tokens, tokens];
        let scores = net.op(&part("scores"), Op::MatMul, &[q, k], &square);
        let scale = net.shared(&part("scale"), &Arc::new(Tensor::scalar(((width / heads) as f32).sqrt().recip())), false);
        let scores = net.op(&part("scaled"), Op::Binary(BinaryFn::Mul), &[scores, scale], &square);
        let past = (0..tokens * tokens).map(|i| i % tokens <= i / tokens).collect();
        let past = net.shared(&part("past"), &Arc::new(Tensor { shape: vec![tokens, tokens], data: Data::Bool(past) }), false);
        let shares = net.op(&part("shares"), Op::MaskedSoftmax { axis: 3, closed: ClosedRow::Zero }, &[scores, past], &square);
        let mixed = net.op(&part("mixed"), Op::MatMul, &[shares, v], &[1, heads, tokens, width / heads]);
        let mixed = net.op(&part("mixed.turned"), Op::Transpose { perm: vec![0, 2, 1, 3] }, &[mixed], &by_heads);
        let flat = [1, tokens, width];
        let mixed = net.op(&part("merged"), Op::Reshape { shape: flat.to_vec() }, &[mixed], &flat);
        let attention = net.times(&out, mixed, weights[3]);
        let weight = net.shared(&part("up.weight"), &layer.up, true);
        let bias = net.shared(&part("up.bias"), &layer.up_bias, true);
        let z = net.times(&part("up"), y, weight);
        let z = net.add(&part("up.sum"), z, bias);
        let z = net.op(&part("gelu"), Op::Unary(UnaryFn::GeluTanh), &[z], &[1, tokens, 4 * width]);
        let weight = net.shared(&part("down.weight"), &layer.down, true);
        let bias = net.shared(&part("down.bias"), &layer.bias, true);
        let z = net.times(&part("down"), z, weight);
        let z = net.add(&part("down.sum"), z, bias);
        let both = net.add(&part("both"), attention, z);
        net.add(&part("end"), x, both)
    }

    /// Rotary positions. Rotated pairs come apart (first all even, then all odd ones): scores do not depend on the order of a head's dimensions.
    fn rotate(&self, net: &mut Net, x: ValueId, name: &str) -> ValueId {
        let &Decoder { width, heads, rotary, tokens, .. } = self;
        let (all, half) = (width / heads, rotary / 2);
        let angle = |t: usize, i: usize| t as f32 / 10_000f32.powf(2.0 * i as f32 / rotary as f32);
        let table = |f: fn(f32) -> f32| {
            let values = (0..tokens * half).map(|i| f(angle(i / half, i % half))).collect();
            Arc::new(Tensor { shape: vec![1, tokens, 1, half], data: Data::F32(values) })
        };
        let (cos, sin) = (table(f32::cos), table(f32::sin));
        let cos = net.shared(&format!("{name}.cos"), &cos, false);
        let sin = net.shared(&format!("{name}.sin"), &sin, false);
        let slice = |net: &mut Net, suffix: &str, start: usize, size: usize, step: i64| {
            let op = Op::Slice { starts: vec![0, 0, 0, start], sizes: vec![1, tokens, heads, size], steps: vec![1, 1, 1, step] };
            net.op(&format!("{name}.{suffix}"), op, &[x], &[1, tokens, heads, size])
        };
        let even = slice(net, "even", 0, half, 2);
        let odd = slice(net, "odd", 1, half, 2);
        let rest = slice(net, "rest", rotary, all - rotary, 1);
        let shape = [1, tokens, heads, half];
        let two = |net: &mut Net, suffix: &str, f: BinaryFn, a: ValueId, b: ValueId| {
            net.op(&format!("{name}.{suffix}"), Op::Binary(f), &[a, b], &shape)
        };
        let even_cos = two(net, "even.cos", BinaryFn::Mul, even, cos);
        let odd_sin = two(net, "odd.sin", BinaryFn::Mul, odd, sin);
        let odd_cos = two(net, "odd.cos", BinaryFn::Mul, odd, cos);
        let even_sin = two(net, "even.sin", BinaryFn::Mul, even, sin);
        let first = two(net, "first", BinaryFn::Sub, even_cos, odd_sin);
        let second = two(net, "second", BinaryFn::Add, odd_cos, even_sin);
        net.op(&format!("{name}.rotated"), Op::Concat { axis: 3 }, &[first, second, rest], &[1, tokens, heads, all])
    }
}

fn norm(net: &mut Net, layer: &Layer, x: ValueId, name: &str) -> ValueId {
    let gain = net.shared(&format!("{name}.gain"), &layer.gain, true);
    let bias = net.shared(&format!("{name}.bias"), &layer.bias, true);
    let shape = net.shape(x);
    net.op(name, Op::LayerNormalization { axis: 2, eps: 1e-5 }, &[x, gain, bias], &shape)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use zktorch::{OnnxModel, Options, ReferenceString};

    #[test]
    fn names_mean_decoders_of_gptj() {
        assert_eq!(named("gptj-28").unwrap().parameters(), 6_050_882_784);
        assert_eq!(named("gptj-0"), None);
        assert_eq!(named("gptj-29"), None);
        assert_eq!(named("gptj"), None);
    }

    #[test]
    fn every_layer_has_weights_of_its_own_and_the_whole_is_proved() {
        let small = Decoder { layers: 2, width: 32, heads: 4, rotary: 4, vocabulary: 70, tokens: 2 };
        let onnx = OnnxModel::from_graph(small.graph(), "small");
        let samples = [super::super::inputs(&onnx.inputs(), 0)];
        let dir = tempfile::tempdir().unwrap();
        let heard = std::cell::RefCell::new(Vec::new());
        let progress = |name: &str| heard.borrow_mut().push(name.to_owned());
        let store = Turned { folder: WeightFolder::new(dir.path()), progress: &progress };
        let options = Options { weight_bits: Some(WEIGHT_BITS), ..Options::default() };
        let model = onnx.compile_into(&store, &samples, &options).unwrap();
        let names: std::collections::BTreeSet<String> = heard.borrow().iter().cloned().collect();
        assert_eq!(names.len(), 2 * 6 + 2);
        assert_eq!(model.compiled().report.parameters, small.parameters());
        let matrices = &model.compiled().built.parameters.matrices;
        assert_eq!(matrices.len(), names.len());
        for (i, a) in matrices.iter().enumerate() {
            assert_eq!(a.width().bytes(), 1);
            assert!(matrices[..i].iter().all(|b| a != b));
        }
        let srs = ReferenceString::generate(model.required_srs_size().unwrap().trailing_zeros());
        let (pk, vk) = zktorch::setup(&model, &srs).unwrap();
        let proved = zktorch::prove(&model, &pk, &samples[0], &mut |_| {}).unwrap();
        assert!(zktorch::verify(&vk, &proved.proof).is_ok());
    }
}
