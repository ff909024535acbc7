//! The graph: values, nodes and their order.

use crate::{DType, GraphError, Op, Tensor};
use std::sync::Arc;

/// Number of a value in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// What is known about a value.
#[derive(Debug, Clone)]
pub struct ValueInfo {
    /// Name in the source model, or one derived from it.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Static shape.
    pub shape: Vec<usize>,
    /// The tensor, if the value is the same in every run.
    pub constant: Option<Arc<Tensor>>,
    /// Whether a constant depends on the model's weights (initializers) and not only on its structure. Never set for truth
    /// values: they say which elements exist.
    pub from_weights: bool,
}

/// One application of an operator.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name in the source model, or one derived from it. Unique in the graph.
    pub name: String,
    /// Operator of the source model that this node came from (for messages).
    pub onnx_op: String,
    /// What is computed.
    pub op: Op,
    /// Operands; `None` is an optional operand left out. The meaning of each position is documented at the [`Op`] variant.
    pub inputs: Vec<Option<ValueId>>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// A computation over tensors of static shape.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Nodes; each one comes after the producers of its operands.
    pub nodes: Vec<Node>,
    /// All values: graph inputs, constants and node outputs.
    pub values: Vec<ValueInfo>,
    /// Inputs in the order of the source model.
    pub inputs: Vec<ValueId>,
    /// Outputs in the order of the source model. May repeat, and may be inputs or constants.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// The value `id`. Panics if it does not belong to this graph.
    pub fn value(&self, id: ValueId) -> &ValueInfo {
        &self.values[id.0]
    }

    /// The constant tensor behind `id`, if the value is one.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.values.get(id.0).and_then(|v| v.constant.as_ref())
    }

    /// Adds a value and returns its number.
    pub fn add_value(&mut self, name: impl Into<String>, dtype: DType, shape: Vec<usize>) -> ValueId {
        self.values.push(ValueInfo { name: name.into(), dtype, shape, constant: None, from_weights: false });
        ValueId(self.values.len() - 1)
    }

    /// Adds a constant and returns its number.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor, from_weights: bool) -> ValueId {
        let id = self.add_value(name, tensor.dtype(), tensor.shape.clone());
        self.values[id.0].constant = Some(Arc::new(tensor));
        self.values[id.0].from_weights = from_weights;
        id
    }

    /// For each value, the node that produces it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for output in &node.outputs {
                producers[output.0] = Some(index);
            }
        }
        producers
    }

    /// For each value, the nodes that read it (a node reading it twice appears twice), in order.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for input in node.inputs.iter().flatten() {
                consumers[input.0].push(index);
            }
        }
        consumers
    }

    /// Checks that every value exists, is defined exactly once and before it is read.
    pub fn validate(&self) -> Result<(), GraphError> {
        let exists = |place: &str, id: ValueId| {
            if id.0 < self.values.len() { Ok(()) } else { Err(GraphError::UnknownValue { place: place.to_owned(), id: id.0 }) }
        };
        let mut defined: Vec<bool> = self.values.iter().map(|v| v.constant.is_some()).collect();
        for &input in &self.inputs {
            exists("graph inputs", input)?;
            if std::mem::replace(&mut defined[input.0], true) {
                return Err(GraphError::DefinedTwice { value: self.value(input).name.clone() });
            }
        }
        for node in &self.nodes {
            for &input in node.inputs.iter().flatten() {
                exists(&node.name, input)?;
                if !defined[input.0] {
                    let value = self.value(input).name.clone();
                    return Err(GraphError::NotDefined { node: node.name.clone(), value });
                }
            }
            for &output in &node.outputs {
                exists(&node.name, output)?;
                if std::mem::replace(&mut defined[output.0], true) {
                    return Err(GraphError::DefinedTwice { value: self.value(output).name.clone() });
                }
            }
        }
        for &output in &self.outputs {
            exists("graph outputs", output)?;
            if !defined[output.0] {
                let value = self.value(output).name.clone();
                return Err(GraphError::NotDefined { node: "graph outputs".to_owned(), value });
            }
        }
        Ok(())
    }
}
