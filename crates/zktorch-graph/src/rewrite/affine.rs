//! Factors and summands of normalisations: into the linear maps that read them, where they cost nothing.

use std::sync::Arc;
use zktorch_float::{BinaryFn, EvalError, Graph, Node, Op, Tensor, ValueId};

/// How a reader of a normalisation takes its affine part.
#[derive(Clone, Copy)]
enum Reader {
    /// A product with a constant matrix `[n, columns]`, which nobody else reads.
    Product { weight: ValueId },
    /// A sum: the affine part stays, as a product that is part of the sum's accumulator.
    Sum,
}

/// `γ·norm(x) + β` becomes `norm(x)`, if all that reads it is products with constant matrices `W` and sums: `diag(γ)·W` takes the place of `W`,
/// `β·W` is added to the product.
pub(super) fn fold_norms(graph: &mut Graph) -> Result<(), EvalError> {
    let consumers = graph.consumers();
    let matrices: Vec<ValueId> =
        (0..graph.values.len()).map(ValueId).filter(|id| graph.constant(*id).is_some_and(|t| t.shape.len() == 2)).collect();
    let mut before: Vec<Vec<Node>> = vec![Vec::new(); graph.nodes.len()];
    let mut after: Vec<Vec<Node>> = vec![Vec::new(); graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let node = graph.nodes[index].clone();
        let (Op::LayerNormalization { axis, .. } | Op::RmsNormalization { axis, .. }) = node.op else { continue };
        let y = node.outputs[0];
        let shape = graph.value(y).shape.clone();
        let n = shape.last().copied().unwrap_or(1);
        let unused = node.outputs[1..].iter().all(|o| consumers[o.0].is_empty() && !graph.outputs.contains(o));
        if axis + 1 != shape.len() || graph.outputs.contains(&y) || !unused {
            continue;
        }
        let (Some(gamma), Some(beta)) = (parameter(graph, &node, 1, n), parameter(graph, &node, 2, n)) else { continue };
        if gamma.is_none() && beta.is_none() {
            continue;
        }
        let readers: Option<Vec<(usize, Reader)>> =
            consumers[y.0].iter().map(|&c| reader(graph, &matrices, &consumers, c, y).map(|r| (c, r))).collect();
        let Some(readers) = readers.filter(|r| !r.is_empty() && r.iter().any(|(_, r)| matches!(r, Reader::Product { .. }))) else {
            continue;
        };
        for (at, reader) in readers {
            match reader {
                Reader::Product { weight } => {
                    after[at] = fold_into(graph, at, weight, gamma.as_deref(), beta.as_deref())?;
                }
                Reader::Sum => {
                    let (value, nodes) = affine(graph, &graph.nodes[at].name.clone(), y, gamma.as_deref(), beta.as_deref())?;
                    for input in graph.nodes[at].inputs.iter_mut().flatten().filter(|i| **i == y) {
                        *input = value;
                    }
                    before[at].extend(nodes);
                }
            }
        }
        let ones = graph.add_constant(format!("{}/ones", node.name), Tensor::f32(vec![n], vec![1.0; n])?, false);
        graph.nodes[index].inputs = vec![node.inputs[0], Some(ones)];
    }
    let nodes = std::mem::take(&mut graph.nodes).into_iter();
    graph.nodes = nodes.zip(before.into_iter().zip(after)).flat_map(|(node, (b, a))| b.into_iter().chain([node]).chain(a)).collect();
    Ok(())
}

/// A constant parameter of `n` elements: `Some(None)` if there is none, `None` if it has another form.
fn parameter(graph: &Graph, node: &Node, at: usize, n: usize) -> Option<Option<Vec<f32>>> {
    let Some(id) = node.inputs.get(at).copied().flatten() else { return Some(None) };
    let values = graph.constant(id)?.to_f32_vec();
    match values.len() {
        1 => Some(Some(vec![values[0]; n])),
        k if k == n => Some(Some(values)),
        _ => None,
    }
}

/// How node `at` reads `y`, if it can take its affine part.
fn reader(graph: &Graph, matrices: &[ValueId], consumers: &[Vec<usize>], at: usize, y: ValueId) -> Option<Reader> {
    let node = &graph.nodes[at];
    let operand = |i: usize| node.inputs.get(i).copied().flatten();
    match (&node.op, operand(0)?, operand(1)?) {
        (Op::MatMul, a, weight) if a == y && weight != y => {
            let matrix = graph.constant(weight)?;
            let own = consumers[weight.0].len() == 1 && !graph.outputs.contains(&weight) && matrix.shape.len() == 2;
            // A matrix that the model holds twice, perhaps transposed, is committed once: it stays as it is.
            let alone = own && !matrices.iter().any(|&m| m != weight && graph.constant(m).is_some_and(|t| same(t, matrix)));
            alone.then_some(Reader::Product { weight })
        }
        (Op::Binary(BinaryFn::Add), a, b) if a != b => {
            let same = |id: ValueId| graph.value(id).shape == graph.value(node.outputs[0]).shape;
            (same(y) && graph.constant(a).is_none() && graph.constant(b).is_none()).then_some(Reader::Sum)
        }
        _ => None,
    }
}

/// Whether two matrices are equal, or one is the other transposed.
fn same(a: &Arc<Tensor>, b: &Arc<Tensor>) -> bool {
    if Arc::ptr_eq(a, b) {
        return true;
    }
    let (Ok(x), Ok(y)) = (a.as_f32(), b.as_f32()) else { return false };
    let (rows, columns) = (b.shape[0], b.shape[1]);
    (a.shape == b.shape && x == y) || (a.shape == [columns, rows] && (0..x.len()).all(|i| x[i] == y[(i % rows) * columns + i / rows]))
}

/// `x·W` becomes `x·diag(γ)·W + β·W`: the nodes that follow the product.
fn fold_into(graph: &mut Graph, at: usize, weight: ValueId, gamma: Option<&[f32]>, beta: Option<&[f32]>) -> Result<Vec<Node>, EvalError> {
    let name = graph.nodes[at].name.clone();
    let Some(matrix) = graph.constant(weight).cloned() else { return Ok(Vec::new()) };
    let columns = matrix.shape[1];
    let values = matrix.to_f32_vec();
    if let Some(gamma) = gamma {
        let scaled = values.iter().enumerate().map(|(i, v)| v * gamma[i / columns]).collect();
        // Nobody else reads it.
        graph.values[weight.0].constant = Some(Arc::new(Tensor::f32(matrix.shape.clone(), scaled)?));
        graph.values[weight.0].from_weights = true;
    }
    let Some(beta) = beta.filter(|b| b.iter().any(|v| *v != 0.0)) else { return Ok(Vec::new()) };
    let mut bias = vec![0f64; columns];
    for (row, b) in values.chunks(columns).zip(beta) {
        bias.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(*b) * f64::from(*w));
    }
    let bias = Tensor::f32(vec![columns], bias.into_iter().map(|v| v as f32).collect())?;
    let bias = graph.add_constant(format!("{name}/beta"), bias, true);
    let out = graph.nodes[at].outputs[0];
    let info = graph.value(out).clone();
    let product = graph.add_value(format!("{name}/product"), info.dtype, info.shape);
    graph.nodes[at].outputs[0] = product;
    let onnx_op = graph.nodes[at].onnx_op.clone();
    let inputs = vec![Some(product), Some(bias)];
    Ok(vec![Node { name: format!("{name}#beta"), onnx_op, op: Op::Binary(BinaryFn::Add), inputs, outputs: vec![out] }])
}

/// `γ·y + β` as nodes of their own.
fn affine(
    graph: &mut Graph,
    name: &str,
    y: ValueId,
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
) -> Result<(ValueId, Vec<Node>), EvalError> {
    let info = graph.value(y).clone();
    let mut nodes = Vec::new();
    let mut value = y;
    for (function, what, parameter) in [(BinaryFn::Mul, "gamma", gamma), (BinaryFn::Add, "beta", beta)] {
        let Some(values) = parameter else { continue };
        let constant = graph.add_constant(format!("{name}/{what}"), Tensor::f32(vec![values.len()], values.to_vec())?, true);
        let name = format!("{name}#{what}");
        let out = graph.add_value(name.clone(), info.dtype, info.shape.clone());
        let inputs = vec![Some(value), Some(constant)];
        nodes.push(Node { name, onnx_op: "LayerNormalization".into(), op: Op::Binary(function), inputs, outputs: vec![out] });
        value = out;
    }
    Ok((value, nodes))
}
