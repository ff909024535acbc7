//! Writes small ONNX models: just enough of the format for the benchmark's architectures.

/// Element types of graph inputs.
#[derive(Debug, Clone, Copy)]
pub enum Elem {
    /// 32-bit float.
    F32 = 1,
    /// 64-bit integer.
    I64 = 7,
}

/// An attribute of a node.
#[derive(Debug, Clone)]
pub enum Attr<'a> {
    /// One integer.
    Int(i64),
    /// Several integers.
    Ints(&'a [i64]),
    /// One float.
    Float(f32),
    /// Several floats.
    Floats(&'a [f32]),
    /// Several strings.
    Texts(&'a [&'a str]),
}

/// A protobuf message under construction.
#[derive(Debug, Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut x: u64) {
        while x >= 0x80 {
            self.0.push((x as u8) | 0x80);
            x >>= 7;
        }
        self.0.push(x as u8);
    }

    fn int(&mut self, field: u64, x: i64) -> &mut Self {
        self.varint(field << 3);
        // Protobuf writes negative int64 as its two's complement.
        self.varint(x as u64);
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, field: u64, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(&mut self, field: u64, message: &Message) -> &mut Self {
        self.bytes(field, &message.0)
    }

    fn float(&mut self, field: u64, x: f32) -> &mut Self {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&x.to_le_bytes());
        self
    }
}

/// An ONNX graph under construction, with seeded weights.
#[derive(Debug)]
pub struct Writer {
    graph: Message,
    nodes: usize,
    random: SplitMix64,
}

impl Writer {
    /// An empty graph; `seed` determines the weights.
    pub fn new(name: &str, seed: u64) -> Writer {
        let mut graph = Message::default();
        graph.text(2, name);
        Writer { graph, nodes: 0, random: SplitMix64(seed) }
    }

    fn value_info(name: &str, elem: Elem, shape: &[usize]) -> Message {
        let mut dims = Message::default();
        for &d in shape {
            let mut dim = Message::default();
            dim.int(1, d as i64);
            dims.message(1, &dim);
        }
        let (mut tensor, mut of_type, mut info) = (Message::default(), Message::default(), Message::default());
        tensor.int(1, elem as i64).message(2, &dims);
        of_type.message(1, &tensor);
        info.text(1, name).message(2, &of_type);
        info
    }

    /// Declares a graph input.
    pub fn input(&mut self, name: &str, elem: Elem, shape: &[usize]) -> String {
        self.graph.message(11, &Self::value_info(name, elem, shape));
        name.to_owned()
    }

    /// Declares a graph output.
    pub fn output(&mut self, name: &str, shape: &[usize]) {
        self.graph.message(12, &Self::value_info(name, Elem::F32, shape));
    }

    fn tensor(&mut self, name: &str, data_type: i64, shape: &[usize], raw: &[u8]) -> String {
        let mut tensor = Message::default();
        for &d in shape {
            tensor.int(1, d as i64);
        }
        tensor.int(2, data_type).text(8, name).bytes(9, raw);
        self.graph.message(5, &tensor);
        name.to_owned()
    }

    /// A float constant.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, 1, shape, &raw)
    }

    /// An integer constant.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, 7, &[values.len()], &raw)
    }

    /// A constant of truth values.
    pub fn bools(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = bool>) -> String {
        let raw: Vec<u8> = values.map(u8::from).collect();
        self.tensor(name, 9, shape, &raw)
    }

    /// A weight with normal entries of standard deviation `deviation` around `mean`.
    pub fn weight(&mut self, name: &str, shape: &[usize], mean: f32, deviation: f32) -> String {
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| mean + deviation * self.random.normal()).collect();
        self.floats(name, shape, &values)
    }

    /// The generator of the weights.
    pub fn random(&mut self) -> &mut SplitMix64 {
        &mut self.random
    }

    /// A node with one output, whose name is returned.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attr<'_>)]) -> String {
        let output = format!("{}_{}", op.to_lowercase(), self.nodes);
        self.node_to(op, inputs, &[&output], attributes);
        output
    }

    /// A node with named outputs.
    pub fn node_to(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attr<'_>)]) {
        self.node_of("", op, inputs, outputs, attributes);
    }

    /// A node of an operator set other than the default one (`""`).
    pub fn node_of(&mut self, domain: &str, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attr<'_>)]) {
        let mut node = Message::default();
        for input in inputs {
            node.text(1, input);
        }
        for output in outputs {
            node.text(2, output);
        }
        node.text(3, &format!("{}_{}", op.to_lowercase(), self.nodes)).text(4, op);
        if !domain.is_empty() {
            node.text(7, domain);
        }
        for (name, value) in attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            match value {
                Attr::Float(x) => attribute.float(2, *x).int(20, 1),
                Attr::Int(x) => attribute.int(3, *x).int(20, 2),
                Attr::Ints(xs) => {
                    for x in *xs {
                        attribute.int(8, *x);
                    }
                    attribute.int(20, 7)
                }
                Attr::Floats(xs) => {
                    for x in *xs {
                        attribute.float(7, *x);
                    }
                    attribute.int(20, 6)
                }
                Attr::Texts(xs) => {
                    for x in *xs {
                        attribute.text(9, x);
                    }
                    attribute.int(20, 8)
                }
            };
            node.message(5, &attribute);
        }
        self.graph.message(1, &node);
        self.nodes += 1;
    }

    /// The model's bytes, at opset 20 (and 3 of the classical operators).
    pub fn finish(self) -> Vec<u8> {
        let (mut opset, mut classical, mut model) = (Message::default(), Message::default(), Message::default());
        opset.text(1, "").int(2, 20);
        classical.text(1, "ai.onnx.ml").int(2, 3);
        model.int(1, 9).text(2, "zktorch bench").message(7, &self.graph).message(8, &opset).message(8, &classical);
        model.0
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine and in every version.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Approximately normal: the sum of twelve uniforms, which needs no logarithm and is therefore the same everywhere.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}
