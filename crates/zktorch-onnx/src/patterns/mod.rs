//! Simplifications of the graph that keep its meaning.
//!
//! One pass over the nodes in order. A rule looks at a node and at the already simplified nodes behind its operands, and either
//! replaces the node's operator and operands or puts another value in the place of its result. Nodes that lose their last
//! reader are removed at the end.

mod activation;
mod layout;
mod mask;
mod norm;

use std::collections::{HashMap, HashSet};
use zktorch_float::{BinaryFn, DType, Graph, Node, Op, Tensor, UnaryFn, ValueId, eval_op};

/// What a rule makes of a node with one result.
enum Rewrite {
    /// Readers of the result read this value instead.
    Alias(ValueId),
    /// The result is computed in this way.
    Replace(Op, Vec<ValueId>),
}

/// Applies all simplifications.
pub(crate) fn simplify(graph: &mut Graph) {
    let nodes = std::mem::take(&mut graph.nodes);
    let count = graph.values.len();
    let mut rewriter = Rewriter {
        outputs: graph.outputs.iter().copied().collect(),
        graph,
        producer: vec![None; count],
        alias: (0..count).map(ValueId).collect(),
        seen: HashMap::new(),
        name: String::new(),
    };
    for node in nodes {
        rewriter.visit(node);
    }
    let alias = rewriter.alias;
    for id in &mut graph.outputs {
        *id = alias[id.0];
    }
    // Truth values say which elements exist, which is part of the structure and no weight.
    for value in graph.values.iter_mut().filter(|v| v.dtype == DType::Bool) {
        value.from_weights = false;
    }
}

/// Rules in the order in which they are tried.
const RULES: &[fn(&mut Rewriter<'_>, &Node) -> Option<Rewrite>] = &[
    layout::reshape_only,
    layout::merge,
    mask::softmax,
    mask::guard,
    mask::all_true,
    mask::open_zero,
    norm::rms,
    norm::scale,
    norm::bias,
    activation::fuse,
    activation::log_sum_exp,
];

/// How often rules may apply to one node.
const MAX_REWRITES: usize = 8;

struct Rewriter<'g> {
    graph: &'g mut Graph,
    outputs: HashSet<ValueId>,
    /// By value, the node behind it among those already visited.
    producer: Vec<Option<usize>>,
    /// By value, the value to read instead.
    alias: Vec<ValueId>,
    /// Nodes by operator and operands, to share equal computations.
    seen: HashMap<String, usize>,
    /// Name of the node in work, for helper nodes.
    name: String,
}

impl Rewriter<'_> {
    fn visit(&mut self, mut node: Node) {
        self.name.clone_from(&node.name);
        for input in node.inputs.iter_mut().flatten() {
            *input = self.alias[input.0];
        }
        if let [output] = node.outputs[..] {
            for _ in 0..MAX_REWRITES {
                match RULES.iter().find_map(|rule| rule(self, &node)) {
                    None => break,
                    Some(Rewrite::Replace(op, inputs)) => {
                        node.op = op;
                        node.inputs = inputs.into_iter().map(Some).collect();
                    }
                    Some(Rewrite::Alias(id)) => {
                        if !self.outputs.contains(&output) {
                            self.alias[output.0] = id;
                            return;
                        }
                        // An output keeps its own value and name.
                        node.op = Op::Unary(UnaryFn::Identity);
                        node.inputs = vec![Some(id)];
                    }
                }
            }
        }
        let key = format!("{:?}{:?}", node.op, node.inputs);
        let is_output = node.outputs.iter().any(|id| self.outputs.contains(id));
        if let Some(&index) = self.seen.get(&key).filter(|_| !is_output) {
            let twin = self.graph.nodes[index].outputs.clone();
            for (output, other) in node.outputs.iter().zip(twin) {
                self.alias[output.0] = other;
            }
            return;
        }
        self.push(node, key);
    }

    fn push(&mut self, node: Node, key: String) {
        for output in &node.outputs {
            self.producer[output.0] = Some(self.graph.nodes.len());
        }
        self.seen.insert(key, self.graph.nodes.len());
        self.graph.nodes.push(node);
    }

    /// Adds a helper node, or a constant if all operands are.
    fn emit(&mut self, op: Op, inputs: &[ValueId], dtype: DType, shape: Vec<usize>) -> Option<ValueId> {
        let constants: Option<Vec<&Tensor>> = inputs.iter().map(|&id| self.graph.constant(id).map(|t| &**t)).collect();
        if let Some(constants) = constants {
            let operands: Vec<Option<&Tensor>> = constants.into_iter().map(Some).collect();
            let result = eval_op(&op, &operands).ok()?.into_iter().next()?;
            let from_weights = inputs.iter().any(|&id| self.graph.value(id).from_weights);
            return Some(self.constant(result, from_weights));
        }
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        let key = format!("{op:?}{inputs:?}");
        if let Some(&index) = self.seen.get(&key) {
            return self.graph.nodes[index].outputs.first().copied();
        }
        let name = format!("{}:{}", self.name, self.graph.values.len());
        let id = self.graph.add_value(name.clone(), dtype, shape);
        self.grow();
        let onnx_op = match &op {
            Op::Unary(f) => format!("{f:?}"),
            Op::Binary(f) => format!("{f:?}"),
            _ => "(inserted)".to_owned(),
        };
        self.push(Node { name, onnx_op, op, inputs, outputs: vec![id] }, key);
        Some(id)
    }

    /// Adds a constant.
    fn constant(&mut self, tensor: Tensor, from_weights: bool) -> ValueId {
        let name = format!("{}:{}", self.name, self.graph.values.len());
        let id = self.graph.add_constant(name, tensor, from_weights);
        self.grow();
        id
    }

    fn grow(&mut self) {
        let count = self.graph.values.len();
        self.producer.resize(count, None);
        while self.alias.len() < count {
            self.alias.push(ValueId(self.alias.len()));
        }
    }

    /// The node behind `id`, if it is not an input or a constant.
    fn node(&self, id: ValueId) -> Option<&Node> {
        self.producer[id.0].map(|index| &self.graph.nodes[index])
    }

    fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph.value(id).shape
    }

    /// The float constant behind `id`.
    fn floats(&self, id: ValueId) -> Option<&[f32]> {
        self.graph.constant(id)?.as_f32().ok()
    }

    /// The constant behind `id`, if it is one float that broadcasting does not see.
    fn scalar(&self, id: ValueId) -> Option<f32> {
        match self.floats(id)? {
            [x] => Some(*x),
            _ => None,
        }
    }

    /// Operands of the node behind `id` if it is `function` of two tensors.
    fn binary(&self, id: ValueId, function: BinaryFn) -> Option<(ValueId, ValueId)> {
        let node = self.node(id)?;
        if node.op == Op::Binary(function) { pair(node) } else { None }
    }

    /// Function and operand of the node behind `id` if it is elementwise.
    fn unary(&self, id: ValueId) -> Option<(UnaryFn, ValueId)> {
        let node = self.node(id)?;
        match node.op {
            Op::Unary(function) => Some((function, first(node)?)),
            _ => None,
        }
    }
}

/// First operand of a node.
fn first(node: &Node) -> Option<ValueId> {
    node.inputs.first().copied().flatten()
}

/// Both operands of a node that has two.
fn pair(node: &Node) -> Option<(ValueId, ValueId)> {
    match node.inputs[..] {
        [Some(a), Some(b)] => Some((a, b)),
        _ => None,
    }
}

/// Both orders of a pair.
fn orders((a, b): (ValueId, ValueId)) -> [(ValueId, ValueId); 2] {
    [(a, b), (b, a)]
}

/// Equal to within what exporters round constants to.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * b.abs()
}

/// Removes nodes and values that no output depends on. Inputs stay.
pub(crate) fn remove_dead(graph: &mut Graph) {
    let mut live = vec![false; graph.values.len()];
    for id in graph.outputs.iter().chain(&graph.inputs) {
        live[id.0] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|id| live[id.0]) {
            keep[index] = true;
            // All outputs of a live node exist, wanted or not.
            for id in node.inputs.iter().flatten().chain(&node.outputs) {
                live[id.0] = true;
            }
        }
    }
    let mut flags = keep.into_iter();
    graph.nodes.retain(|_| flags.next().unwrap_or(true));
    let mut next = 0;
    let number: Vec<usize> = live
        .iter()
        .map(|&l| {
            let number = next;
            next += usize::from(l);
            number
        })
        .collect();
    let mut flags = live.into_iter();
    graph.values.retain(|_| flags.next().unwrap_or(true));
    let renumber = |id: &mut ValueId| id.0 = number[id.0];
    for node in &mut graph.nodes {
        node.inputs.iter_mut().flatten().for_each(renumber);
        node.outputs.iter_mut().for_each(renumber);
    }
    graph.inputs.iter_mut().for_each(renumber);
    graph.outputs.iter_mut().for_each(renumber);
}
