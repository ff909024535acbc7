//! Loops with a number of rounds that is known at import: their bodies are written out, once per round.

use super::{Importer, Scope};
use crate::ImportError;
use crate::attributes::{Attributes, node_error, node_name};
use crate::check::MAX_DEPTH;
use crate::proto::{GraphProto, NodeProto};
use std::collections::HashMap;
use zktorch_float::{Data, Op, Tensor, ValueId};

/// Most rounds that are written out.
const MAX_ROUNDS: usize = 1 << 14;

impl Importer {
    /// Adds the nodes of a body whose inputs are `inputs`, and returns its results.
    pub(super) fn body(
        &mut self,
        node: &NodeProto,
        graph: &GraphProto,
        inputs: &[ValueId],
        scope: &Scope<'_>,
    ) -> Result<Vec<ValueId>, ImportError> {
        if scope.depth >= MAX_DEPTH {
            return Err(node_error(node, "subgraphs are nested too deeply"));
        }
        if graph.input.len() != inputs.len() {
            return Err(node_error(node, format!("the body has {} inputs, expected {}", graph.input.len(), inputs.len())));
        }
        let mut inner = Scope { names: HashMap::new(), parent: Some(scope), depth: scope.depth + 1 };
        for (info, &id) in graph.input.iter().zip(inputs) {
            inner.define(info.name.as_deref().unwrap_or(""), id)?;
        }
        self.initializers(graph, &mut inner)?;
        self.nodes(graph, &mut inner)?;
        let find = |name: &str| {
            let undefined = || ImportError::Undefined { reader: format!("the body of node '{}'", node_name(node)), value: name.to_owned() };
            inner.find(name).ok_or_else(undefined)
        };
        graph.output.iter().map(|o| find(o.name.as_deref().unwrap_or(""))).collect()
    }

    pub(super) fn one(&mut self, node: &NodeProto, op: Op, inputs: &[ValueId]) -> Result<ValueId, ImportError> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        let kind = node.op_type.as_deref().unwrap_or("");
        let outputs = self.builder.emit(&node_name(node), kind, op, &inputs)?;
        outputs.first().copied().ok_or_else(|| node_error(node, "no result"))
    }

    /// Stacks the results of all rounds along a new axis.
    pub(super) fn stacked(&mut self, node: &NodeProto, parts: &[ValueId], axis: i64) -> Result<ValueId, ImportError> {
        let first = *parts.first().ok_or_else(|| node_error(node, "a loop without rounds has no results to stack"))?;
        let mut shape = self.builder.shape(first).to_vec();
        let axis = wrapped(node, axis, shape.len() + 1)?;
        shape.insert(axis, 1);
        let mut rows = Vec::with_capacity(parts.len());
        for &part in parts {
            rows.push(self.one(node, Op::Reshape { shape: shape.clone() }, &[part])?);
        }
        if let [one] = rows[..] { Ok(one) } else { self.one(node, Op::Concat { axis }, &rows) }
    }

    /// The truth value that a constant has; `None` if it depends on the input.
    fn truth(&self, node: &NodeProto, id: ValueId) -> Result<bool, ImportError> {
        let constant = self.builder.graph.constant(id);
        let constant = constant.ok_or_else(|| node_error(node, "whether the loop goes on depends on the model's input"))?;
        Ok(constant.as_bool()?.first() == Some(&true))
    }

    /// `Loop`: as many rounds as its constant count and condition say.
    pub(super) fn rounds(&mut self, node: &NodeProto, inputs: &[Option<ValueId>], scope: &Scope<'_>) -> Result<Vec<ValueId>, ImportError> {
        let attrs = Attributes(node);
        let graph = attrs.required(attrs.graph("body"), "body")?;
        let given = |i: usize| inputs.get(i).copied().flatten();
        let count = match given(0) {
            None => None,
            Some(id) => {
                let constant = self.builder.graph.constant(id);
                let constant = constant.ok_or_else(|| node_error(node, "the number of rounds depends on the model's input"))?;
                Some(constant.as_i64()?.first().copied().unwrap_or(0))
            }
        };
        let mut goes_on = given(1).map_or(Ok(true), |id| self.truth(node, id))?;
        let mut states: Vec<ValueId> = inputs.iter().skip(2).copied().flatten().collect();
        let results = graph.output.len().checked_sub(1 + states.len());
        let results = results.ok_or_else(|| node_error(node, format!("the body has {} results", graph.output.len())))?;
        let mut collected: Vec<Vec<ValueId>> = vec![Vec::new(); results];
        let mut round = 0usize;
        while goes_on && count.is_none_or(|c| (round as i64) < c) {
            if round >= MAX_ROUNDS {
                return Err(node_error(node, format!("more than {MAX_ROUNDS} rounds")));
            }
            let number = Tensor::new(Vec::new(), Data::I64(vec![round as i64]))?;
            let number = self.builder.constant(format!("{}:round{round}", node_name(node)), number, false);
            let before = Tensor::new(Vec::new(), Data::Bool(vec![true]))?;
            let before = self.builder.constant(format!("{}:goes{round}", node_name(node)), before, false);
            let outputs = self.body(node, graph, &[&[number, before], &states[..]].concat(), scope)?;
            let (&condition, rest) = outputs.split_first().ok_or_else(|| node_error(node, "the body has no results"))?;
            // The condition of the last counted round does not matter.
            let last = count.is_some_and(|c| round as i64 + 1 >= c);
            goes_on = last || self.truth(node, condition)?;
            let (next, rows) = rest.split_at(states.len());
            states = next.to_vec();
            collected.iter_mut().zip(rows).for_each(|(all, &row)| all.push(row));
            round += 1;
        }
        for (i, rows) in collected.iter().enumerate() {
            let wanted = node.output.get(states.len() + i).is_some_and(|o| !o.is_empty());
            if wanted && rows.is_empty() {
                return Err(node_error(node, "a loop without rounds has no results to stack"));
            }
        }
        let listed = collected.iter().flatten().any(|id| self.sequences.contains_key(id));
        if listed {
            return Err(node_error(node, "sequences cannot be stacked"));
        }
        let mut outputs = states;
        for rows in collected.iter().filter(|r| !r.is_empty()) {
            outputs.push(self.stacked(node, rows, 0)?);
        }
        Ok(outputs)
    }

    /// `Scan`: one round per slice of the scanned operands.
    pub(super) fn scan(&mut self, node: &NodeProto, inputs: &[Option<ValueId>], scope: &Scope<'_>) -> Result<Vec<ValueId>, ImportError> {
        let attrs = Attributes(node);
        let graph = attrs.required(attrs.graph("body"), "body")?;
        let scanned = attrs.required(attrs.int("num_scan_inputs"), "num_scan_inputs")?;
        let all: Vec<ValueId> = inputs.iter().copied().flatten().collect();
        let fits = usize::try_from(scanned).ok().filter(|&s| s > 0 && s <= all.len());
        let scanned = fits.ok_or_else(|| node_error(node, format!("{scanned} scanned operands of {}", all.len())))?;
        let (initial, sources) = all.split_at(all.len() - scanned);
        let mut states = initial.to_vec();
        let entry = |name: &str, i: usize| attrs.ints(name).and_then(|v| v.get(i)).copied().unwrap_or(0);
        let mut places = Vec::with_capacity(scanned);
        for (i, &id) in sources.iter().enumerate() {
            let rank = self.builder.shape(id).len();
            places.push(wrapped(node, entry("scan_input_axes", i), rank)?);
        }
        let length = self.builder.shape(sources[0])[places[0]];
        let same = sources.iter().zip(&places).all(|(&id, &axis)| self.builder.shape(id)[axis] == length);
        if !same || length > MAX_ROUNDS {
            return Err(node_error(node, format!("scanned operands of {length} slices, or of different numbers")));
        }
        let mut collected: Vec<Vec<ValueId>> = vec![Vec::new(); graph.output.len().saturating_sub(states.len())];
        for round in 0..length {
            let mut operands = states.clone();
            for (i, (&id, &axis)) in sources.iter().zip(&places).enumerate() {
                let shape = self.builder.shape(id).to_vec();
                let (mut starts, mut sizes) = (vec![0; shape.len()], shape.clone());
                starts[axis] = if entry("scan_input_directions", i) == 1 { length - 1 - round } else { round };
                sizes[axis] = 1;
                let slice = self.one(node, Op::Slice { starts, sizes, steps: vec![1; shape.len()] }, &[id])?;
                let mut shape = shape;
                shape.remove(axis);
                operands.push(self.one(node, Op::Reshape { shape }, &[slice])?);
            }
            let outputs = self.body(node, graph, &operands, scope)?;
            let next = outputs.get(..states.len()).ok_or_else(|| node_error(node, format!("the body has {} results", outputs.len())))?;
            collected.iter_mut().zip(&outputs[states.len()..]).for_each(|(all, &row)| all.push(row));
            states = next.to_vec();
        }
        let mut outputs = states;
        for (i, rows) in collected.iter_mut().enumerate() {
            if entry("scan_output_directions", i) == 1 {
                rows.reverse();
            }
            outputs.push(self.stacked(node, rows, entry("scan_output_axes", i))?);
        }
        Ok(outputs)
    }
}

/// A possibly negative axis of `rank`.
pub(super) fn wrapped(node: &NodeProto, axis: i64, rank: usize) -> Result<usize, ImportError> {
    let wrapped = if axis < 0 { axis + rank as i64 } else { axis };
    let axis = usize::try_from(wrapped).ok().filter(|&a| a < rank);
    axis.ok_or_else(|| node_error(node, format!("axis {wrapped} of {rank} axes")))
}
