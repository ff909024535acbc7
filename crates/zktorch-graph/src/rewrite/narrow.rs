//! Values of which only a part is read: a selection moves towards the inputs, past everything that treats positions apart. The last block of
//! a decoder whose logits are asked for at one position is then computed for that position only.

use zktorch_float::{Data, EvalError, Graph, Node, Op, Tensor, eval_op};

/// A run of positions along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    axis: usize,
    from: usize,
    len: usize,
}

/// What is read of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Nothing,
    Part(Range),
    All,
}

impl Demand {
    fn and(self, other: Demand) -> Demand {
        match (self, other) {
            (Demand::Nothing, d) | (d, Demand::Nothing) => d,
            (a, b) if a == b => a,
            _ => Demand::All,
        }
    }

    fn range(self) -> Option<Range> {
        match self {
            Demand::Part(r) => Some(r),
            _ => None,
        }
    }
}

/// What a node reads of its operands.
struct Plan {
    wanted: Vec<Demand>,
    /// What a selection takes of its first operand, and the size of that axis.
    selected: Option<(Range, usize)>,
}

/// Computes nothing that nobody reads, along one axis of every value.
pub(super) fn narrow(graph: &mut Graph) -> Result<(), EvalError> {
    let mut demands = vec![Demand::Nothing; graph.values.len()];
    for id in &graph.outputs {
        demands[id.0] = Demand::All;
    }
    let mut plans = Vec::with_capacity(graph.nodes.len());
    for node in graph.nodes.iter().rev() {
        // Results of one node are narrowed together, or not at all.
        let mut out = node.outputs.iter().fold(Demand::Nothing, |d, o| d.and(demands[o.0]));
        let narrowed = if out == Demand::Nothing { Some(vec![out; node.inputs.len()]) } else { operand_demands(graph, node, out) };
        let selected = selected(graph, node);
        let mut wanted = narrowed.unwrap_or_else(|| {
            out = Demand::All;
            vec![out; node.inputs.len()]
        });
        if let (Some((range, _)), Demand::All) = (selected, out) {
            wanted[0] = Demand::Part(range);
        }
        node.outputs.iter().for_each(|o| demands[o.0] = out);
        for (id, demand) in node.inputs.iter().zip(&wanted) {
            if let Some(id) = id {
                demands[id.0] = demands[id.0].and(*demand);
            }
        }
        plans.push(Plan { wanted, selected });
    }
    for id in &graph.inputs {
        demands[id.0] = Demand::All;
    }
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (mut node, plan) in std::mem::take(&mut graph.nodes).into_iter().zip(plans.into_iter().rev()) {
        adapt(&mut node, graph, &demands, plan.selected)?;
        for (slot, (input, wanted)) in node.inputs.iter_mut().zip(&plan.wanted).enumerate() {
            let (Some(id), Some(range)) = (*input, wanted.range()) else { continue };
            let constant = graph.constant(id).cloned();
            if constant.is_none() && demands[id.0] == *wanted {
                continue;
            }
            let name = format!("{}/part{slot}", node.name);
            *input = Some(match constant {
                Some(t) => {
                    let part = eval_op(&slice_of(&t.shape, range), &[Some(&t)])?.pop();
                    let part = part.ok_or_else(|| EvalError::Invalid("slice without result".into()))?;
                    let from_weights = graph.value(id).from_weights;
                    graph.add_constant(name, part, from_weights)
                }
                None => {
                    let info = graph.value(id).clone();
                    let op = slice_of(&info.shape, range);
                    let part = graph.add_value(name.clone(), info.dtype, narrowed(&info.shape, range));
                    nodes.push(Node { name, onnx_op: "Slice".into(), op, inputs: vec![Some(id)], outputs: vec![part] });
                    part
                }
            });
        }
        for out in &node.outputs {
            if let Some(range) = demands[out.0].range() {
                graph.values[out.0].shape[range.axis] = range.len;
            }
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
    Ok(())
}

fn narrowed(shape: &[usize], range: Range) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[range.axis] = range.len;
    shape
}

fn slice_of(shape: &[usize], range: Range) -> Op {
    let mut starts = vec![0; shape.len()];
    starts[range.axis] = range.from;
    Op::Slice { starts, sizes: narrowed(shape, range), steps: vec![1; shape.len()] }
}

/// The axis of an operand that is broadcast to `rank` axes; nothing if the operand does not depend on it.
fn broadcast(shape: &[usize], rank: usize, range: Range) -> Demand {
    match (range.axis + shape.len()).checked_sub(rank) {
        Some(axis) if shape[axis] != 1 => Demand::Part(Range { axis, ..range }),
        _ => Demand::All,
    }
}

/// What a node reads of each operand, if `out` is read of its results; nothing if it cannot compute a part.
fn operand_demands(graph: &Graph, node: &Node, out: Demand) -> Option<Vec<Demand>> {
    let range = out.range()?;
    let shape = |i: usize| node.inputs.get(i).copied().flatten().map(|id| graph.value(id).shape.as_slice()).unwrap_or_default();
    let rank = graph.value(node.outputs[0]).shape.len();
    let mut demands = vec![Demand::All; node.inputs.len()];
    let first = |range: Range| {
        let mut demands = demands.clone();
        demands[0] = Demand::Part(range);
        Some(demands)
    };
    match &node.op {
        Op::MaskedSoftmax { axis, .. } if *axis == range.axis => None,
        Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast { .. } | Op::MaskedSoftmax { .. } => {
            Some((0..node.inputs.len()).map(|i| broadcast(shape(i), rank, range)).collect())
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } if *axis != range.axis => first(range),
        Op::LayerNormalization { axis, .. } | Op::RmsNormalization { axis, .. } if range.axis < *axis => first(range),
        Op::Gemm { trans_a: false, .. } if range.axis == 0 => {
            demands[0] = Demand::Part(range);
            if node.inputs.get(2).copied().flatten().is_some() {
                demands[2] = broadcast(shape(2), rank, range);
            }
            Some(demands)
        }
        Op::MatMul if range.axis + 1 < rank && shape(0).len() >= 2 && shape(1).len() >= 2 => {
            demands[0] = broadcast(shape(0), rank, range);
            if range.axis + 2 < rank {
                demands[1] = broadcast(shape(1), rank, range);
            }
            Some(demands)
        }
        Op::Transpose { perm } => first(Range { axis: perm[range.axis], ..range }),
        Op::Reshape { shape: to } => first(Range { axis: same_axis(shape(0), to, range.axis)?, ..range }),
        Op::Concat { axis } | Op::Split { axis, .. } if *axis != range.axis => Some(vec![Demand::Part(range); node.inputs.len()]),
        _ => None,
    }
}

/// The axis of `from` that is axis `axis` of `to` in row-major order.
fn same_axis(from: &[usize], to: &[usize], axis: usize) -> Option<usize> {
    let outer: usize = to[..axis].iter().product();
    (0..from.len()).find(|&d| from[d] == to[axis] && from[..d].iter().product::<usize>() == outer)
}

/// The run of positions that a slice or a gather with known indices takes of its first operand, if it is not everything, and the size of the axis.
fn selected(graph: &Graph, node: &Node) -> Option<(Range, usize)> {
    let from = &graph.value(node.inputs.first().copied().flatten()?).shape;
    match &node.op {
        Op::Slice { starts, sizes, steps } => {
            let mut axes = (0..from.len()).filter(|&d| sizes[d] != from[d]);
            let axis = axes.next().filter(|_| axes.next().is_none())?;
            (steps[axis] == 1).then(|| (Range { axis, from: starts[axis], len: sizes[axis] }, from[axis]))
        }
        Op::Gather { axis } => {
            let indices = graph.constant(node.inputs.get(1).copied().flatten()?)?;
            let positions = positions(indices, from[*axis])?;
            let (first, last) = (*positions.iter().min()?, *positions.iter().max()?);
            let range = Range { axis: *axis, from: first, len: last + 1 - first };
            (range.len < from[*axis]).then_some((range, from[*axis]))
        }
        _ => None,
    }
}

/// Indices, counted from the start.
fn positions(indices: &Tensor, size: usize) -> Option<Vec<usize>> {
    let Data::I64(values) = &indices.data else { return None };
    values.iter().map(|&i| usize::try_from(if i < 0 { i + size as i64 } else { i }).ok()).collect()
}

/// Gives a node the attributes that suit its narrowed operands and results.
fn adapt(node: &mut Node, graph: &mut Graph, demands: &[Demand], selected: Option<(Range, usize)>) -> Result<(), EvalError> {
    match (&mut node.op, selected) {
        (Op::Slice { starts, .. }, Some((range, _))) => starts[range.axis] = 0,
        (Op::Gather { .. }, Some((range, size))) => {
            let Some(indices) = node.inputs[1].and_then(|id| graph.constant(id).cloned()) else { return Ok(()) };
            let moved = positions(&indices, size).unwrap_or_default().into_iter().map(|i| (i - range.from) as i64).collect();
            let moved = Tensor::new(indices.shape.clone(), Data::I64(moved))?;
            node.inputs[1] = Some(graph.add_constant(format!("{}/moved", node.name), moved, false));
        }
        (Op::Reshape { shape }, _) => {
            if let Some(range) = demands[node.outputs[0].0].range() {
                shape[range.axis] = range.len;
            }
        }
        _ => {}
    }
    Ok(())
}
