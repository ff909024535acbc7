//! Float-to-float rewriting before quantisation: composite operators become a small core, constants are folded, batch
//! normalisation disappears into the weights before it, additive and selecting masks become masked softmax.

mod affine;
mod causal;
mod choose;
mod closed;
mod decompose;
mod fold;
mod narrow;
mod positions;
mod recurrent;
mod scalars;

use std::sync::Arc;
use zktorch_float::{BinaryFn, DType, EvalError, Graph, Node, Op, Tensor, UnaryFn, ValueId, eval_op};

/// Values of at least this magnitude stand for minus or plus infinity in masks.
pub(crate) const MASK_LIMIT: f32 = 1e9;

/// A graph under construction. Value ids of the source graph stay valid.
pub(crate) struct Rewriter {
    pub(crate) graph: Graph,
    /// Name and source operator of the node being rewritten.
    name: String,
    onnx_op: String,
    serial: usize,
}

/// Rewrites `source` into the core operators that lowering knows. Operators without a decomposition stay as they are.
pub(crate) fn rewrite(source: &Graph) -> Result<Graph, EvalError> {
    let mut folded = source.clone();
    fold_constants(&mut folded)?;
    fold::fold_batch_norms(&mut folded)?;
    fold::fuse_masks(&mut folded)?;
    scalars::move_scalars(&mut folded)?;
    drop_dead_nodes(&mut folded);
    narrow::narrow(&mut folded)?;
    drop_dead_nodes(&mut folded);
    causal::split_masked_attention(&mut folded)?;
    let mut rewriter = Rewriter::new(folded);
    for node in std::mem::take(&mut rewriter.graph.nodes) {
        rewriter.name.clone_from(&node.name);
        rewriter.onnx_op.clone_from(&node.onnx_op);
        rewriter.serial = 0;
        rewriter.node(node)?;
    }
    let mut graph = rewriter.graph;
    drop_dead_nodes(&mut graph);
    affine::fold_norms(&mut graph)?;
    Ok(graph)
}

/// Evaluates every node whose operands are all constants.
fn fold_constants(graph: &mut Graph) -> Result<(), EvalError> {
    let mut rewriter = Rewriter::new(std::mem::take(graph));
    for node in std::mem::take(&mut rewriter.graph.nodes) {
        rewriter.push(node)?;
    }
    *graph = rewriter.graph;
    Ok(())
}

fn drop_dead_nodes(graph: &mut Graph) {
    let mut live = vec![false; graph.values.len()];
    for id in &graph.outputs {
        live[id.0] = true;
    }
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        if node.outputs.iter().any(|o| live[o.0]) {
            for id in node.inputs.iter().flatten() {
                live[id.0] = true;
            }
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
}

impl Rewriter {
    fn new(graph: Graph) -> Rewriter {
        Rewriter { graph, name: String::new(), onnx_op: String::new(), serial: 0 }
    }

    fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.value(id).shape.clone()
    }

    fn dtype(&self, id: ValueId) -> DType {
        self.graph.value(id).dtype
    }

    fn constant(&self, id: ValueId) -> Option<Arc<Tensor>> {
        self.graph.constant(id).cloned()
    }

    /// Adds a node that produces existing values, or folds it if its operands are constants.
    fn push(&mut self, node: Node) -> Result<(), EvalError> {
        let constants: Option<Vec<Option<Arc<Tensor>>>> = node
            .inputs
            .iter()
            .map(|i| match i {
                Some(id) => self.graph.constant(*id).cloned().map(Some),
                None => Some(None),
            })
            .collect();
        if let Some(constants) = constants {
            let operands: Vec<Option<&Tensor>> = constants.iter().map(|c| c.as_deref()).collect();
            let results = eval_op(&node.op, &operands).map_err(|source| EvalError::Node {
                node: node.name.clone(),
                op: node.onnx_op.clone(),
                source: Box::new(source),
            })?;
            let from_weights = node.inputs.iter().flatten().any(|id| self.graph.value(*id).from_weights);
            for (id, tensor) in node.outputs.iter().zip(results) {
                let value = &mut self.graph.values[id.0];
                value.shape.clone_from(&tensor.shape);
                value.dtype = tensor.dtype();
                value.constant = Some(Arc::new(tensor));
                value.from_weights = from_weights;
            }
            return Ok(());
        }
        self.graph.nodes.push(node);
        Ok(())
    }

    /// A node of the current source node with one new result.
    fn emit(&mut self, op: Op, inputs: &[ValueId], dtype: DType, shape: &[usize]) -> Result<ValueId, EvalError> {
        self.serial += 1;
        let name = format!("{}#{}", self.name, self.serial);
        let out = self.graph.add_value(name.clone(), dtype, shape.to_vec());
        self.push(Node {
            name,
            onnx_op: self.onnx_op.clone(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![out],
        })?;
        Ok(out)
    }

    /// A node of the current source node that produces `out`.
    fn finish(&mut self, op: Op, inputs: &[ValueId], out: ValueId) -> Result<(), EvalError> {
        self.push(Node {
            name: self.name.clone(),
            onnx_op: self.onnx_op.clone(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![out],
        })
    }

    /// A constant that follows from the model's structure or (with `from_weights`) from its weights.
    fn new_constant(&mut self, tensor: Tensor, from_weights: bool) -> ValueId {
        self.serial += 1;
        let name = format!("{}#{}", self.name, self.serial);
        self.graph.add_constant(name, tensor, from_weights)
    }

    fn scalar(&mut self, x: f32) -> ValueId {
        self.new_constant(Tensor::scalar(x), false)
    }

    fn binary(&mut self, f: BinaryFn, a: ValueId, b: ValueId, shape: &[usize]) -> Result<ValueId, EvalError> {
        self.emit(Op::Binary(f), &[a, b], DType::F32, shape)
    }

    fn unary(&mut self, f: UnaryFn, x: ValueId) -> Result<ValueId, EvalError> {
        let shape = self.shape(x);
        self.emit(Op::Unary(f), &[x], DType::F32, &shape)
    }

    fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, EvalError> {
        let (from, dtype) = (self.shape(x), self.dtype(x));
        let shape: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
        self.emit(Op::Transpose { perm: perm.to_vec() }, &[x], dtype, &shape)
    }

    fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, EvalError> {
        let dtype = self.dtype(x);
        self.emit(Op::Reshape { shape: shape.to_vec() }, &[x], dtype, shape)
    }

    /// Elements `from .. from + len` of one axis.
    fn slice(&mut self, x: ValueId, axis: usize, from: usize, len: usize) -> Result<ValueId, EvalError> {
        let (mut shape, dtype) = (self.shape(x), self.dtype(x));
        let mut starts = vec![0; shape.len()];
        starts[axis] = from;
        shape[axis] = len;
        let op = Op::Slice { starts, sizes: shape.clone(), steps: vec![1; shape.len()] };
        self.emit(op, &[x], dtype, &shape)
    }

    /// `x · w` over the last axis of `x`, for a constant matrix of this rewriting.
    fn matmul(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, EvalError> {
        let (mut shape, w_shape) = (self.shape(x), self.shape(w));
        if let (Some(last), Some(cols)) = (shape.last_mut(), w_shape.last()) {
            *last = *cols;
        }
        let dtype = self.dtype(x);
        self.emit(Op::MatMul, &[x, w], dtype, &shape)
    }
}
