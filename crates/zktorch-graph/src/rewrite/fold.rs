//! Patterns over several nodes.

use super::MASK_LIMIT;
use std::sync::Arc;
use zktorch_float::{BinaryFn, ClosedRow, DType, Data, EvalError, Graph, Op, Tensor, UnaryFn, ValueId};

/// Folds `BatchNormalization` into the constant weights of the convolution or matrix product before it.
pub(super) fn fold_batch_norms(graph: &mut Graph) -> Result<(), EvalError> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let mut dropped = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let node = graph.nodes[index].clone();
        let Op::BatchNormalization { eps } = node.op else {
            continue;
        };
        let Some(x) = node.inputs.first().copied().flatten() else {
            continue;
        };
        let Some(producer) = producers[x.0] else {
            continue;
        };
        if consumers[x.0].len() != 1 || graph.outputs.contains(&x) || dropped[producer] {
            continue;
        }
        let Some((scale, shift)) = affine(graph, &node.inputs, eps)? else {
            continue;
        };
        let source = graph.nodes[producer].clone();
        // Axis of the weight that counts output channels.
        let axis = match &source.op {
            Op::Conv { .. } => 0,
            Op::ConvTranspose { group: 1, .. } => 1,
            Op::Gemm { trans_b, beta, .. } if *beta == 1.0 => usize::from(!trans_b),
            _ => continue,
        };
        let Some(weight) = source.inputs.get(1).copied().flatten().and_then(|w| graph.constant(w).cloned()) else {
            continue;
        };
        let bias = match source.inputs.get(2).copied().flatten() {
            None => vec![0.0; scale.len()],
            Some(id) => match graph.constant(id) {
                Some(b) if b.len() == scale.len() => b.as_f32()?.to_vec(),
                _ => continue,
            },
        };
        if weight.shape.get(axis) != Some(&scale.len()) {
            continue;
        }
        let inner: usize = weight.shape[axis + 1..].iter().product();
        let mut values = weight.as_f32()?.to_vec();
        for (i, v) in values.iter_mut().enumerate() {
            *v *= scale[(i / inner) % scale.len()];
        }
        let bias: Vec<f32> = bias.iter().zip(scale.iter().zip(&shift)).map(|(b, (s, t))| b * s + t).collect();
        let weight = Tensor::f32(weight.shape.clone(), values)?;
        let bias = Tensor::f32(vec![bias.len()], bias)?;
        let w = graph.add_constant(format!("{}/weight", node.name), weight, true);
        let b = graph.add_constant(format!("{}/bias", node.name), bias, true);
        let target = &mut graph.nodes[producer];
        target.inputs = vec![source.inputs[0], Some(w), Some(b)];
        target.outputs.clone_from(&node.outputs);
        dropped[index] = true;
    }
    let mut keep = dropped.iter().map(|d| !d);
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
    Ok(())
}

/// Scale and shift per channel of a batch normalisation with constant statistics.
pub(super) type Affine = (Vec<f32>, Vec<f32>);

/// The affine map that a batch normalisation is, if its parameters are constants.
pub(super) fn affine(graph: &Graph, inputs: &[Option<ValueId>], eps: f32) -> Result<Option<Affine>, EvalError> {
    let mut constants = Vec::new();
    for i in 1..5 {
        match inputs.get(i).copied().flatten().and_then(|id| graph.constant(id)) {
            Some(t) => constants.push(t.as_f32()?.to_vec()),
            None => return Ok(None),
        }
    }
    let [gamma, beta, mean, variance] = &constants[..] else {
        return Ok(None);
    };
    let mut affine = (Vec::with_capacity(gamma.len()), Vec::with_capacity(gamma.len()));
    for ((g, b), (m, v)) in gamma.iter().zip(beta).zip(mean.iter().zip(variance)) {
        let s = f64::from(*g) / (f64::from(*v) + f64::from(eps)).sqrt();
        affine.0.push(s as f32);
        affine.1.push((f64::from(*b) - f64::from(*m) * s) as f32);
    }
    Ok(Some(affine))
}

fn is_mask_value(x: f32) -> bool {
    x <= -MASK_LIMIT
}

/// `softmax(x + mask)` and `softmax(where(c, x, -inf))` become a masked softmax.
pub(super) fn fuse_masks(graph: &mut Graph) -> Result<(), EvalError> {
    let producers = graph.producers();
    let mut insert: Vec<(usize, zktorch_float::Node)> = Vec::new();
    for index in 0..graph.nodes.len() {
        let Op::Softmax { axis } = graph.nodes[index].op else {
            continue;
        };
        let Some(x) = graph.nodes[index].inputs.first().copied().flatten() else {
            continue;
        };
        let Some(source) = producers[x.0].map(|p| graph.nodes[p].clone()) else {
            continue;
        };
        let operand = |i: usize| source.inputs.get(i).copied().flatten();
        let target = graph.value(x).shape.clone();
        let name = graph.nodes[index].name.clone();
        match source.op {
            Op::Binary(BinaryFn::Add) => {
                for (mask, other) in [(1, 0), (0, 1)] {
                    let (Some(mask), Some(other)) = (operand(mask), operand(other)) else {
                        continue;
                    };
                    let Some(tensor) = graph.constant(mask).cloned() else {
                        continue;
                    };
                    let Data::F32(values) = &tensor.data else {
                        continue;
                    };
                    let open = |v: &f32| !is_mask_value(*v);
                    if values.iter().all(open) || values.iter().any(|v| open(v) && *v != 0.0) || graph.value(other).shape != target {
                        continue;
                    }
                    let low = values.iter().copied().filter(|v| !open(v)).fold(f32::NEG_INFINITY, f32::max);
                    let keep = Tensor::bool(tensor.shape.clone(), values.iter().map(open).collect())?;
                    let keep = graph.add_constant(format!("{name}/mask"), keep, false);
                    let node = &mut graph.nodes[index];
                    node.op = Op::MaskedSoftmax { axis, closed: ClosedRow::of_added(low) };
                    node.inputs = vec![Some(other), Some(keep)];
                    break;
                }
            }
            Op::Where => {
                let (Some(cond), Some(a), Some(b)) = (operand(0), operand(1), operand(2)) else {
                    continue;
                };
                let masked = |id: ValueId| match &graph.constant(id)?.data {
                    Data::F32(v) => v.iter().copied().reduce(f32::max).filter(|&v| is_mask_value(v)).map(ClosedRow::of_chosen),
                    _ => None,
                };
                let (scores, keep, closed) = if let Some(closed) = masked(b).filter(|_| graph.value(a).shape == target) {
                    (a, cond, closed)
                } else if let Some(closed) = masked(a).filter(|_| graph.value(b).shape == target) {
                    let shape = graph.value(cond).shape.clone();
                    let inverse = graph.add_value(format!("{name}/mask"), DType::Bool, shape);
                    insert.push((
                        index,
                        zktorch_float::Node {
                            name: format!("{name}/mask"),
                            onnx_op: "Not".into(),
                            op: Op::Unary(UnaryFn::Not),
                            inputs: vec![Some(cond)],
                            outputs: vec![inverse],
                        },
                    ));
                    (b, inverse, closed)
                } else {
                    continue;
                };
                let node = &mut graph.nodes[index];
                node.op = Op::MaskedSoftmax { axis, closed };
                node.inputs = vec![Some(scores), Some(keep)];
            }
            _ => {}
        }
    }
    for (index, node) in insert.into_iter().rev() {
        graph.nodes.insert(index, node);
    }
    Ok(())
}

/// A constant tensor with every element mapped.
pub(super) fn map(tensor: &Tensor, f: impl Fn(f32) -> f32) -> Result<Arc<Tensor>, EvalError> {
    let values = tensor.to_f32_vec().into_iter().map(f).collect();
    Tensor::f32(tensor.shape.clone(), values).map(Arc::new)
}
