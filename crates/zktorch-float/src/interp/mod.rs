//! Reference execution.

use crate::{Data, EvalError, Graph, Op, Tensor, ValueId};
use std::sync::Arc;

mod conv;
mod einsum;
mod elementwise;
mod index;
mod linear;
mod norm;
mod pool;
mod quant;
mod recurrent;
mod reduce;
mod resize;
mod strided;
mod tree;
mod view;

#[cfg(test)]
mod tests;

/// Operands of an operator as the evaluators see them.
pub(crate) struct Args<'a>(&'a [Option<&'a Tensor>]);

impl<'a> Args<'a> {
    /// Operand `i`; an error if it is left out.
    fn get(&self, i: usize) -> Result<&'a Tensor, EvalError> {
        self.opt(i).ok_or_else(|| EvalError::invalid(format!("operand {i} is missing")))
    }

    /// Operand `i`, if given.
    fn opt(&self, i: usize) -> Option<&'a Tensor> {
        self.0.get(i).copied().flatten()
    }

    /// All operands; an error if one is left out.
    fn all(&self) -> Result<Vec<&'a Tensor>, EvalError> {
        (0..self.0.len()).map(|i| self.get(i)).collect()
    }
}

/// Fails with `message` unless `condition` holds.
pub(crate) fn ensure(condition: bool, message: impl FnOnce() -> String) -> Result<(), EvalError> {
    if condition { Ok(()) } else { Err(EvalError::Invalid(message())) }
}

/// Fails unless `axis` is an axis of a tensor of `shape`.
pub(crate) fn check_axis(axis: usize, shape: &[usize]) -> Result<(), EvalError> {
    ensure(axis < shape.len(), || format!("axis {axis} does not exist in shape {shape:?}"))
}

/// Applies one operator. Returns one tensor per output of the operator. Operands that do not fit are an error, never a panic.
pub fn eval_op(op: &Op, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, EvalError> {
    let args = Args(inputs);
    let one = |t: Result<Tensor, EvalError>| t.map(|t| vec![t]);
    match op {
        Op::MatMul => one(linear::matmul(args.get(0)?, args.get(1)?)),
        Op::Gemm { alpha, beta, trans_a, trans_b } => {
            one(linear::gemm(args.get(0)?, args.get(1)?, args.opt(2), *alpha, *beta, (*trans_a, *trans_b)))
        }
        Op::Conv { kernel, strides, dilations, pads, group } => {
            let window = conv::Window { kernel, strides, dilations, pads };
            one(conv::conv(args.get(0)?, args.get(1)?, args.opt(2), &window, *group))
        }
        Op::ConvTranspose { kernel, strides, dilations, pads, output_padding, group } => {
            let window = conv::Window { kernel, strides, dilations, pads };
            one(conv::conv_transpose(args.get(0)?, args.get(1)?, args.opt(2), &window, output_padding, *group))
        }
        Op::MaxPool { kernel, strides, dilations, pads, ceil_mode } => {
            let window = conv::Window { kernel, strides, dilations, pads };
            one(pool::pool(args.get(0)?, &window, *ceil_mode, pool::Kind::Max))
        }
        Op::AveragePool { kernel, strides, dilations, pads, ceil_mode, count_include_pad } => {
            let window = conv::Window { kernel, strides, dilations, pads };
            let kind = pool::Kind::Average { count_include_pad: *count_include_pad };
            one(pool::pool(args.get(0)?, &window, *ceil_mode, kind))
        }
        Op::GlobalAveragePool => one(pool::global(args.get(0)?, false)),
        Op::GlobalMaxPool => one(pool::global(args.get(0)?, true)),
        Op::BatchNormalization { eps } => one(norm::batch(&args, *eps)),
        Op::LayerNormalization { axis, eps } => one(norm::layer(&args, *axis, *eps)),
        Op::RmsNormalization { axis, eps } => one(norm::rms(&args, *axis, *eps)),
        Op::InstanceNormalization { eps } => one(norm::instance(&args, *eps)),
        Op::GroupNormalization { groups, eps } => one(norm::group(&args, *groups, *eps)),
        Op::Softmax { axis } => one(norm::softmax(args.get(0)?, *axis, false)),
        Op::LogSoftmax { axis } => one(norm::softmax(args.get(0)?, *axis, true)),
        Op::MaskedSoftmax { axis, closed } => one(norm::masked_softmax(args.get(0)?, args.get(1)?, *axis, *closed)),
        Op::Unary(function) => one(elementwise::unary(*function, args.get(0)?)),
        Op::Binary(function) => one(elementwise::binary(*function, args.get(0)?, args.get(1)?)),
        Op::Where => one(elementwise::select(args.get(0)?, args.get(1)?, args.get(2)?)),
        Op::Reduce { function, axes, keepdims } => one(reduce::reduce(args.get(0)?, *function, axes, *keepdims)),
        Op::ArgMax { axis, keepdims, select_last_index } => one(reduce::arg(args.get(0)?, *axis, *keepdims, *select_last_index, true)),
        Op::ArgMin { axis, keepdims, select_last_index } => one(reduce::arg(args.get(0)?, *axis, *keepdims, *select_last_index, false)),
        Op::Cast { to } => one(elementwise::cast(args.get(0)?, *to)),
        Op::Gather { axis } => one(index::gather(args.get(0)?, args.get(1)?, *axis)),
        Op::GatherElements { axis } => one(index::gather_elements(args.get(0)?, args.get(1)?, *axis)),
        Op::GatherNd { batch_dims } => one(index::gather_nd(args.get(0)?, args.get(1)?, *batch_dims)),
        Op::ScatterElements { axis } => one(index::scatter_elements(args.get(0)?, args.get(1)?, args.get(2)?, *axis)),
        Op::ScatterNd => one(index::scatter_nd(args.get(0)?, args.get(1)?, args.get(2)?)),
        Op::QuantizeLinear { axis, low, high } => one(quant::quantize(args.get(0)?, args.get(1)?, args.opt(2), *axis, (*low, *high))),
        Op::DynamicQuantizeLinear => quant::dynamic(args.get(0)?),
        Op::DequantizeLinear { axis } => one(quant::dequantize(args.get(0)?, args.get(1)?, args.opt(2), *axis)),
        Op::Requantize { axis, low, high } => one(quant::requantize(args.get(0)?, args.get(1)?, args.opt(2), *axis, (*low, *high))),
        Op::TreeEnsemble(trees) => one(tree::ensemble(args.get(0)?, trees)),
        Op::Reshape { shape } => one(args.get(0)?.reshaped(shape.clone())),
        Op::Transpose { perm } => one(view::transpose(args.get(0)?, perm)),
        Op::Slice { starts, sizes, steps } => one(view::slice(args.get(0)?, starts, sizes, steps)),
        Op::Split { axis, sizes } => view::split(args.get(0)?, *axis, sizes),
        Op::Concat { axis } => one(view::concat(&args.all()?, *axis)),
        Op::Expand { shape } => one(view::expand(args.get(0)?, shape)),
        Op::Tile { repeats } => one(view::tile(args.get(0)?, repeats)),
        Op::Pad { mode, pads, value } => one(view::pad(args.get(0)?, *mode, pads, *value)),
        Op::Resize { mode, transform, scales, sizes } => one(resize::resize(args.get(0)?, *mode, *transform, scales, sizes)),
        Op::TopK { axis, k, largest } => reduce::top_k(args.get(0)?, *axis, *k, *largest),
        Op::CumSum { axis, exclusive, reverse } => one(reduce::cum_sum(args.get(0)?, *axis, *exclusive, *reverse)),
        Op::Trilu { upper, k } => one(view::trilu(args.get(0)?, *upper, *k)),
        Op::Position { size } => one(index::positions(args.get(0)?, *size)),
        Op::OneHot { axis, depth } => one(index::one_hot(args.get(0)?, args.get(1)?, *axis, *depth)),
        Op::Einsum { equation } => one(einsum::einsum(equation, &args.all()?)),
        Op::Lstm { direction, hidden, activations, clip, input_forget } => {
            recurrent::lstm(&args, *direction, *hidden, activations, *clip, *input_forget)
        }
        Op::Gru { direction, hidden, activations, clip, linear_before_reset } => {
            recurrent::gru(&args, *direction, *hidden, activations, *clip, *linear_before_reset)
        }
        Op::Rnn { direction, hidden, activations, clip } => recurrent::rnn(&args, *direction, *hidden, activations, *clip),
    }
}

/// Runs the graph and hands every input and every node output to `visit` as soon as it exists (constants are not visited).
/// Values are dropped after their last use. Returns the outputs in order.
pub fn run(graph: &Graph, inputs: &[Tensor], mut visit: impl FnMut(ValueId, &Tensor)) -> Result<Vec<Arc<Tensor>>, EvalError> {
    let mut last_use = vec![0usize; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for id in node.inputs.iter().flatten().chain(&node.outputs) {
            if let Some(last) = last_use.get_mut(id.0) {
                *last = index;
            }
        }
    }
    for id in &graph.outputs {
        if let Some(last) = last_use.get_mut(id.0) {
            *last = usize::MAX;
        }
    }
    let mut values = start(graph, inputs, &mut visit)?;
    for (index, node) in graph.nodes.iter().enumerate() {
        step(graph, index, &mut values, &mut visit)?;
        for id in node.inputs.iter().flatten().chain(&node.outputs) {
            if last_use.get(id.0) == Some(&index) {
                values[id.0] = None;
            }
        }
    }
    graph
        .outputs
        .iter()
        .map(|id| {
            values.get(id.0).cloned().flatten().ok_or_else(|| EvalError::Missing {
                node: "graph outputs".to_owned(),
                value: graph.values.get(id.0).map_or_else(|| id.0.to_string(), |v| v.name.clone()),
            })
        })
        .collect()
}

/// Runs the graph and returns every value by number, constants included. Values that nothing defines are `None`.
pub fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Option<Arc<Tensor>>>, EvalError> {
    let mut visit = |_: ValueId, _: &Tensor| {};
    let mut values = start(graph, inputs, &mut visit)?;
    for index in 0..graph.nodes.len() {
        step(graph, index, &mut values, &mut visit)?;
    }
    Ok(values)
}

/// Values before the first node: constants and the checked inputs.
fn start(graph: &Graph, inputs: &[Tensor], visit: &mut impl FnMut(ValueId, &Tensor)) -> Result<Vec<Option<Arc<Tensor>>>, EvalError> {
    if inputs.len() != graph.inputs.len() {
        return Err(EvalError::InputCount { expected: graph.inputs.len(), got: inputs.len() });
    }
    let mut values: Vec<_> = graph.values.iter().map(|v| v.constant.clone()).collect();
    for (id, tensor) in graph.inputs.iter().zip(inputs) {
        let info = graph.values.get(id.0).ok_or_else(|| EvalError::invalid(format!("graph input {} does not exist", id.0)))?;
        if info.shape != tensor.shape || info.dtype != tensor.dtype() {
            return Err(EvalError::InputMismatch {
                name: info.name.clone(),
                expected_dtype: info.dtype,
                expected_shape: info.shape.clone(),
                got_dtype: tensor.dtype(),
                got_shape: tensor.shape.clone(),
            });
        }
        // The fields of a tensor are public, so its size may be wrong.
        let tensor = Tensor::new(tensor.shape.clone(), tensor.data.clone())?;
        visit(*id, &tensor);
        values[id.0] = Some(Arc::new(tensor));
    }
    Ok(values)
}

/// Runs node `index` and stores its outputs.
fn step(
    graph: &Graph,
    index: usize,
    values: &mut [Option<Arc<Tensor>>],
    visit: &mut impl FnMut(ValueId, &Tensor),
) -> Result<(), EvalError> {
    let node = &graph.nodes[index];
    let fail = |source| EvalError::Node { node: node.name.clone(), op: node.onnx_op.clone(), source: Box::new(source) };
    let mut operands = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        operands.push(match input {
            None => None,
            Some(id) => Some(values.get(id.0).and_then(Option::as_deref).ok_or_else(|| EvalError::Missing {
                node: node.name.clone(),
                value: graph.values.get(id.0).map_or_else(|| id.0.to_string(), |v| v.name.clone()),
            })?),
        });
    }
    let results = eval_op(&node.op, &operands).map_err(fail)?;
    if results.len() < node.outputs.len() {
        let message = format!("{} outputs wanted, {} computed", node.outputs.len(), results.len());
        return Err(fail(EvalError::invalid(message)));
    }
    for (id, tensor) in node.outputs.iter().zip(results) {
        let Some(info) = graph.values.get(id.0) else {
            return Err(fail(EvalError::invalid(format!("output {} does not exist", id.0))));
        };
        if info.shape != tensor.shape || info.dtype != tensor.dtype() {
            return Err(fail(EvalError::invalid(format!(
                "output '{}' is declared {} {:?} but computed {} {:?}",
                info.name,
                info.dtype,
                info.shape,
                tensor.dtype(),
                tensor.shape
            ))));
        }
        visit(*id, &tensor);
        values[id.0] = Some(Arc::new(tensor));
    }
    Ok(())
}

/// Applies a generic expression to the elements of a tensor, whatever their type.
macro_rules! map_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::Data::F32($v) => $crate::Data::F32($body.into()),
            $crate::Data::I64($v) => $crate::Data::I64($body),
            $crate::Data::Bool($v) => $crate::Data::Bool($body),
        }
    };
}
pub(crate) use map_data;

/// Fails unless both tensors have the same element type.
pub(crate) fn same_type(a: &Tensor, b: &Tensor) -> Result<(), EvalError> {
    if a.dtype() == b.dtype() { Ok(()) } else { Err(EvalError::WrongType { expected: a.dtype(), got: b.dtype() }) }
}

/// A tensor whose size is known to fit; checked all the same.
pub(crate) fn float(shape: Vec<usize>, data: Vec<f32>) -> Result<Tensor, EvalError> {
    Tensor::new(shape, Data::F32(data.into()))
}
