//! Sequences of tensors whose lengths are known at import: lists of values, which leave no trace in the graph.

use super::Importer;
use crate::ImportError;
use crate::attributes::{Attributes, node_error, node_name};
use crate::proto::NodeProto;
use zktorch_float::{Op, Tensor, ValueId};

/// Operators that make, change or read sequences.
pub(super) const SEQUENCES: [&str; 8] = [
    "ConcatFromSequence",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SplitToSequence",
];

impl Importer {
    /// A sequence operator.
    pub(super) fn sequence(&mut self, node: &NodeProto, inputs: &[Option<ValueId>]) -> Result<Vec<ValueId>, ImportError> {
        let kind = node.op_type.as_deref().unwrap_or("");
        let given: Vec<ValueId> = inputs.iter().flatten().copied().collect();
        if kind == "SequenceConstruct" {
            return self.list(node, given);
        }
        if kind == "SplitToSequence" {
            return self.split(node, inputs);
        }
        let mut items = match given.first() {
            None => Vec::new(),
            Some(first) => self.sequences.get(first).cloned().ok_or_else(|| node_error(node, "operand 0 is no sequence"))?,
        };
        match kind {
            "SequenceEmpty" => self.list(node, Vec::new()),
            "SequenceLength" => {
                let length = Tensor::i64(Vec::new(), vec![items.len() as i64])?;
                Ok(vec![self.builder.constant(format!("{}:length", node_name(node)), length, false)])
            }
            "SequenceAt" => {
                let at = self.position(node, given.get(1).copied(), items.len(), false)?;
                Ok(vec![items[at]])
            }
            "SequenceErase" => {
                let at = self.position(node, given.get(1).copied(), items.len(), false)?;
                items.remove(at);
                self.list(node, items)
            }
            "SequenceInsert" => {
                let new = *given.get(1).ok_or_else(|| node_error(node, "operand 1 is missing"))?;
                let at = self.position(node, given.get(2).copied(), items.len(), true)?;
                items.insert(at, new);
                self.list(node, items)
            }
            _ => self.concatenated(node, items),
        }
    }

    /// A value that stands for a list.
    fn list(&mut self, node: &NodeProto, items: Vec<ValueId>) -> Result<Vec<ValueId>, ImportError> {
        let empty = Tensor::i64(vec![0], Vec::new())?;
        let id = self.builder.constant(format!("{}:sequence", node_name(node)), empty, false);
        self.sequences.insert(id, items);
        Ok(vec![id])
    }

    /// A constant position, the last one (or the one behind it, to insert) by default.
    fn position(&self, node: &NodeProto, id: Option<ValueId>, length: usize, insert: bool) -> Result<usize, ImportError> {
        let end = if insert { length + 1 } else { length };
        let at = match id {
            None => end as i64 - 1,
            Some(id) => {
                let constant = self.builder.graph.constant(id);
                let constant = constant.ok_or_else(|| node_error(node, "a position that depends on the model's input"))?;
                constant.as_i64()?.first().copied().unwrap_or(0)
            }
        };
        let at = if at < 0 { at + length as i64 } else { at };
        usize::try_from(at).ok().filter(|&a| a < end).ok_or_else(|| node_error(node, format!("position {at} of {length}")))
    }

    fn split(&mut self, node: &NodeProto, inputs: &[Option<ValueId>]) -> Result<Vec<ValueId>, ImportError> {
        let attrs = Attributes(node);
        let x = inputs.first().copied().flatten().ok_or_else(|| node_error(node, "operand 0 is missing"))?;
        let shape = self.builder.shape(x).to_vec();
        let axis = super::control::wrapped(node, attrs.int("axis").unwrap_or(0), shape.len())?;
        let n = shape[axis];
        let given = inputs.get(1).copied().flatten();
        let (sizes, keep) = match given {
            None => (vec![1; n], attrs.int("keepdims").unwrap_or(1) != 0),
            Some(id) => {
                let constant = self.builder.graph.constant(id);
                let constant = constant.ok_or_else(|| node_error(node, "sizes that depend on the model's input"))?;
                let sizes: Vec<usize> = constant.as_i64()?.iter().map(|&s| usize::try_from(s).unwrap_or(0)).collect();
                match sizes[..] {
                    // One size for all parts; the last one may be smaller.
                    [size] if constant.shape.is_empty() && size > 0 => {
                        ((0..n.div_ceil(size)).map(|i| size.min(n - i * size)).collect(), true)
                    }
                    _ => (sizes, true),
                }
            }
        };
        if sizes.iter().sum::<usize>() != n || sizes.contains(&0) {
            return Err(node_error(node, format!("parts of sizes {sizes:?} of {n}")));
        }
        let outputs = self.builder.emit(&node_name(node), "SplitToSequence", Op::Split { axis, sizes }, &[Some(x)])?;
        let mut items = Vec::with_capacity(outputs.len());
        for part in outputs {
            items.push(if keep {
                part
            } else {
                let mut shape = shape.clone();
                shape.remove(axis);
                self.one(node, Op::Reshape { shape }, &[part])?
            });
        }
        self.list(node, items)
    }

    fn concatenated(&mut self, node: &NodeProto, items: Vec<ValueId>) -> Result<Vec<ValueId>, ImportError> {
        let attrs = Attributes(node);
        let axis = attrs.required(attrs.int("axis"), "axis")?;
        let first = *items.first().ok_or_else(|| node_error(node, "an empty sequence"))?;
        if attrs.flag("new_axis") {
            return Ok(vec![self.stacked(node, &items, axis)?]);
        }
        let axis = super::control::wrapped(node, axis, self.builder.shape(first).len())?;
        Ok(vec![if let [one] = items[..] { one } else { self.one(node, Op::Concat { axis }, &items)? }])
    }

    /// Fails if an operator that works on tensors reads a sequence.
    pub(super) fn refuse_sequences(&self, node: &NodeProto, inputs: &[Option<ValueId>]) -> Result<(), ImportError> {
        let passes = matches!(node.op_type.as_deref(), Some("Identity" | "Loop"));
        if !passes && inputs.iter().flatten().any(|id| self.sequences.contains_key(id)) {
            return Err(node_error(node, "an operand is a sequence"));
        }
        Ok(())
    }
}
