//! Grows a graph node by node and executes every node on the way, which gives shapes, types and constants at once.

use crate::lower::quant::Quantised;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use zktorch_float::{BinaryFn, Data, EvalError, Graph, Node, Op, Tensor, ValueId, eval_op};

/// A graph under construction with the value that each of its values takes on the synthetic input.
pub(crate) struct Builder {
    pub graph: Graph,
    /// By value number. Shapes and constants come from here; the numbers of values that are not constant mean nothing.
    observed: Vec<Arc<Tensor>>,
    names: HashSet<String>,
    /// Element types of the source model where they are known: integers here are all 64 bits wide.
    pub elements: HashMap<ValueId, i32>,
    /// By value, the integers that it stands for.
    pub dequantised: HashMap<ValueId, Quantised>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { graph: Graph::default(), observed: Vec::new(), names: HashSet::new(), elements: HashMap::new(), dequantised: HashMap::new() }
    }

    /// Adds a graph input that takes the value `sample` in the execution.
    pub(crate) fn input(&mut self, name: &str, sample: Tensor) -> ValueId {
        let id = self.graph.add_value(name, sample.dtype(), sample.shape.clone());
        self.graph.inputs.push(id);
        self.observed.push(Arc::new(sample));
        id
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, name: impl Into<String>, tensor: Tensor, from_weights: bool) -> ValueId {
        let id = self.graph.add_constant(name, tensor, from_weights);
        if let Some(constant) = self.graph.constant(id) {
            self.observed.push(Arc::clone(constant));
        }
        id
    }

    /// Shape of a value.
    pub(crate) fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph.value(id).shape
    }

    /// Adds a node, or a constant if all operands are. `name` is the source node; a suffix makes it unique.
    pub(crate) fn emit(&mut self, name: &str, onnx_op: &str, op: Op, inputs: &[Option<ValueId>]) -> Result<Vec<ValueId>, EvalError> {
        let mut operands: Vec<Option<&Tensor>> = inputs.iter().map(|i| i.map(|id| &*self.observed[id.0])).collect();
        // What an unknown integer is here means nothing, so that it may just as well divide.
        let ones;
        if let (Op::Binary(BinaryFn::Div | BinaryFn::Mod | BinaryFn::FMod), [_, Some(divisor)]) = (&op, inputs)
            && self.graph.constant(*divisor).is_none()
            && let Data::I64(v) = &self.observed[divisor.0].data
        {
            ones = Tensor::i64(self.shape(*divisor).to_vec(), vec![1; v.len()])?;
            operands[1] = Some(&ones);
        }
        let results = eval_op(&op, &operands)?;
        let given = || inputs.iter().flatten();
        let constant = given().all(|id| self.graph.constant(*id).is_some());
        let from_weights = given().any(|id| self.graph.value(*id).from_weights);
        let name = self.unique(name);
        let several = results.len() > 1;
        let mut outputs = Vec::with_capacity(results.len());
        for (i, tensor) in results.into_iter().enumerate() {
            let value = if several { format!("{name}:{i}") } else { name.clone() };
            outputs.push(if constant {
                self.constant(value, tensor, from_weights)
            } else {
                let id = self.graph.add_value(value, tensor.dtype(), tensor.shape.clone());
                self.observed.push(Arc::new(tensor));
                id
            });
        }
        if !constant {
            self.graph.nodes.push(Node { name, onnx_op: onnx_op.to_owned(), op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        }
        Ok(outputs)
    }

    /// `base`, or `base` with the first number that makes it a new name.
    fn unique(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut count = 1usize;
        while !self.names.insert(name.clone()) {
            name = format!("{base}.{count}");
            count += 1;
        }
        name
    }
}
