//! Scalar factors, such as attention's `1/√d`: out of matrix products and into the weights before them, where they cost nothing.

use zktorch_float::{BinaryFn, Data, EvalError, Graph, Node, Op, Tensor, ValueId};

/// Values that a path may not cross because somebody else reads them.
struct Uses {
    producers: Vec<Option<usize>>,
    count: Vec<usize>,
}

impl Uses {
    fn of(graph: &Graph) -> Uses {
        let mut count: Vec<usize> = graph.consumers().iter().map(Vec::len).collect();
        for id in &graph.outputs {
            count[id.0] += 1;
        }
        Uses { producers: graph.producers(), count }
    }

    fn producer<'g>(&self, graph: &'g Graph, id: ValueId) -> Option<(usize, &'g Node)> {
        let index = self.producers[id.0]?;
        Some((index, &graph.nodes[index]))
    }
}

/// The tensor and the real factor of `x · c` or `x / c` with one number `c` for all elements.
fn scaling(graph: &Graph, node: &Node) -> Option<(ValueId, f64)> {
    let operand = |i: usize| node.inputs.get(i).copied().flatten();
    let (a, b) = (operand(0)?, operand(1)?);
    let number = |id: ValueId| match &graph.constant(id)?.data {
        Data::F32(v) if v.len() == 1 => v.first().copied().map(f64::from),
        Data::F32(v) if !graph.value(id).from_weights => {
            let first = *v.first()?;
            v.iter().all(|x| *x == first).then_some(f64::from(first))
        }
        _ => None,
    };
    let same = |id: ValueId| graph.value(id).shape == graph.value(node.outputs[0]).shape;
    match node.op {
        Op::Binary(BinaryFn::Mul) => match (number(a), number(b)) {
            (None, Some(c)) if same(a) => Some((a, c)),
            (Some(c), None) if same(b) => Some((b, c)),
            _ => None,
        },
        Op::Binary(BinaryFn::Div) => match (number(a), number(b)) {
            (None, Some(c)) if same(a) && c != 0.0 => Some((a, 1.0 / c)),
            _ => None,
        },
        _ => None,
    }
}

fn is_power_of_two(c: f64) -> bool {
    libm::frexp(c).0.abs() == 0.5
}

/// `(a·c)·(b·d)` becomes `(a·b)·cd` for matrix products of two computed tensors; then factors that are no powers of two move into the
/// constant weights that the scaled tensor was computed with, where there are such.
pub(super) fn move_scalars(graph: &mut Graph) -> Result<(), EvalError> {
    hoist(graph);
    let uses = Uses::of(graph);
    for index in 0..graph.nodes.len() {
        let Some((x, c)) = scaling(graph, &graph.nodes[index]) else {
            continue;
        };
        if is_power_of_two(c) || c == 0.0 {
            continue;
        }
        // Of a matrix product, either operand may take the factor.
        let candidates = match uses.producer(graph, x) {
            Some((_, node)) if node.op == Op::MatMul && uses.count[x.0] == 1 => {
                let operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
                [&operands[..], &[x]].concat()
            }
            _ => vec![x],
        };
        for id in candidates {
            if absorb(graph, &uses, id, c, None, false)? {
                absorb(graph, &uses, id, c, None, true)?;
                replace(graph, graph.nodes[index].outputs[0], x);
                break;
            }
        }
    }
    Ok(())
}

/// Everybody who reads `old` reads `new`.
fn replace(graph: &mut Graph, old: ValueId, new: ValueId) {
    for node in &mut graph.nodes {
        for input in node.inputs.iter_mut().flatten() {
            if *input == old {
                *input = new;
            }
        }
    }
    for output in &mut graph.outputs {
        if *output == old {
            *output = new;
        }
    }
}

fn hoist(graph: &mut Graph) {
    let uses = Uses::of(graph);
    let mut after: Vec<(usize, Node)> = Vec::new();
    for index in 0..graph.nodes.len() {
        if graph.nodes[index].op != Op::MatMul {
            continue;
        }
        let operands: Vec<ValueId> = graph.nodes[index].inputs.iter().flatten().copied().collect();
        if operands.iter().any(|id| graph.constant(*id).is_some()) {
            continue;
        }
        let mut factor = 1.0;
        for id in operands {
            // Down to a scaling through movements that nobody else sees.
            let mut reader = index;
            let mut at = id;
            while uses.count[at.0] == 1 {
                let Some((producer, node)) = uses.producer(graph, at) else {
                    break;
                };
                if let Some((x, c)) = scaling(graph, node) {
                    for input in &mut graph.nodes[reader].inputs {
                        if *input == Some(at) {
                            *input = Some(x);
                        }
                    }
                    factor *= c;
                    break;
                }
                match (&node.op, node.inputs.first().copied().flatten()) {
                    (Op::Transpose { .. } | Op::Reshape { .. }, Some(x)) => {
                        reader = producer;
                        at = x;
                    }
                    _ => break,
                }
            }
        }
        if factor != 1.0 {
            let node = &graph.nodes[index];
            let (name, out) = (node.name.clone(), node.outputs[0]);
            let info = graph.value(out).clone();
            let product = graph.add_value(format!("{name}/unscaled"), info.dtype, info.shape);
            let c = Tensor::scalar(factor as f32);
            let c = graph.add_constant(format!("{name}/scale"), c, false);
            graph.nodes[index].outputs[0] = product;
            after.push((
                index,
                Node {
                    name: format!("{name}/scaled"),
                    onnx_op: "Mul".into(),
                    op: Op::Binary(BinaryFn::Mul),
                    inputs: vec![Some(product), Some(c)],
                    outputs: vec![out],
                },
            ));
        }
    }
    for (index, node) in after.into_iter().rev() {
        graph.nodes.insert(index + 1, node);
    }
}

/// Multiplies value `id` (or a range of its last axis) by `c` through the constants it was computed with. Without `apply` only says
/// whether that is possible.
fn absorb(graph: &mut Graph, uses: &Uses, id: ValueId, c: f64, range: Option<(usize, usize)>, apply: bool) -> Result<bool, EvalError> {
    if uses.count[id.0] != 1 {
        return Ok(false);
    }
    let Some((index, node)) = uses.producer(graph, id) else {
        return Ok(false);
    };
    let node = node.clone();
    let operand = |i: usize| node.inputs.get(i).copied().flatten();
    let last = graph.value(id).shape.len().saturating_sub(1);
    match (&node.op, operand(0), operand(1)) {
        (Op::Transpose { .. } | Op::Reshape { .. }, Some(x), _) if range.is_none() => absorb(graph, uses, x, c, None, apply),
        (Op::Split { axis, sizes }, Some(x), _) if *axis == last && range.is_none() => {
            let Some(part) = node.outputs.iter().position(|o| *o == id) else {
                return Ok(false);
            };
            let start = sizes[..part].iter().sum();
            absorb(graph, uses, x, c, Some((start, sizes[part])), apply)
        }
        (Op::Binary(BinaryFn::Add), Some(a), Some(b)) => {
            for (x, bias, i) in [(a, b, 1), (b, a, 0)] {
                if graph.constant(bias).is_some() && graph.constant(x).is_none() {
                    return Ok(absorb(graph, uses, x, c, range, apply)? && scale(graph, index, i, bias, c, range, apply)?);
                }
            }
            Ok(false)
        }
        (Op::MatMul, Some(_), Some(w)) if graph.value(w).shape.len() >= 2 => scale(graph, index, 1, w, c, range, apply),
        (Op::Gemm { trans_b, beta, .. }, Some(_), Some(w)) => {
            if range.is_some() && *trans_b {
                return Ok(false);
            }
            let bias = match operand(2) {
                Some(b) if *beta != 0.0 => scale(graph, index, 2, b, c, range, apply)?,
                _ => true,
            };
            Ok(bias && scale(graph, index, 1, w, c, range, apply)?)
        }
        _ => Ok(false),
    }
}

/// Replaces constant operand `operand` of node `index` by its multiple (on `range` of its last axis).
fn scale(
    graph: &mut Graph,
    index: usize,
    operand: usize,
    id: ValueId,
    c: f64,
    range: Option<(usize, usize)>,
    apply: bool,
) -> Result<bool, EvalError> {
    let Some(tensor) = graph.constant(id).cloned() else {
        return Ok(false);
    };
    let Data::F32(values) = &tensor.data else {
        return Ok(false);
    };
    let cols = tensor.shape.last().copied().unwrap_or(1);
    let (from, len) = range.unwrap_or((0, cols));
    if from + len > cols {
        return Ok(false);
    }
    if apply {
        let scaled = values
            .iter()
            .enumerate()
            .map(|(i, v)| match i % cols {
                j if (from..from + len).contains(&j) => (f64::from(*v) * c) as f32,
                _ => *v,
            })
            .collect();
        let scaled = Tensor::f32(tensor.shape.clone(), scaled)?;
        let info = graph.value(id);
        let (name, from_weights) = (info.name.clone(), info.from_weights);
        let new = graph.add_constant(name, scaled, from_weights);
        graph.nodes[index].inputs[operand] = Some(new);
    }
    Ok(true)
}
