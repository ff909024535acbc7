//! Lowering of a rewritten, calibrated graph into a program, one node after the other.
//!
//! A float value becomes a constant, cells, or an accumulator that is rescaled when somebody needs cells. A matrix product, the bias
//! behind it and an activation thus share one rescaling.

mod constants;
mod conv;
mod elementwise;
mod io;
mod linear;
mod movement;
mod nonlinear;
mod quant;
mod tree;

use crate::blocks::{self, Attention, BlockError, Lowering, Margin, SoftmaxWeights, TablePlan};
use crate::error::UnsupportedNode;
use crate::model::IoInfo;
use crate::store::WeightStore;
use crate::{Accumulator, CompileOptions, Format, QTensor};
use constants::Constants;
use std::sync::Arc;
use zktorch_float::{BinaryFn, EvalError, Graph, Node, Op, ReduceFn, Tensor, UnaryFn, ValueId};
use zktorch_program::Built;

/// A constant of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Const {
    pub name: String,
    pub tensor: Arc<Tensor>,
    /// Depends on the model's weights: it must stay private.
    pub weights: bool,
}

/// An accumulator that waits for its rescaling.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub acc: Accumulator,
    /// Shape of the value: the accumulator's letters, reshaped in row-major order.
    pub shape: Vec<usize>,
    /// The node that made it, for the names of its cells.
    pub node: String,
    /// Format to rescale to.
    pub format: Format,
}

#[derive(Clone, Debug)]
enum Value {
    Const(Const),
    Cells(QTensor),
    Acc(Box<Pending>),
    /// A softmax as weights, for a product that it is the left operand of.
    Weights(Box<Weights>),
    /// The node that should have produced it has been reported.
    Failed,
}

/// A softmax that gets no cells of its own.
#[derive(Clone, Debug)]
enum Weights {
    /// Weights that sum up to about 1 in each row.
    Shifted(Attention),
    /// Exponentials and one factor per row.
    Divided(SoftmaxWeights),
}

/// Why a node was not lowered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LowerError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error("{0}")]
    Unsupported(String),
    /// An operand has failed; nothing more to say.
    #[error("an operand is missing")]
    Operand,
}

pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, LowerError> {
    Err(LowerError::Unsupported(reason.into()))
}

/// State of the lowering.
pub(crate) struct Lower<'a> {
    store: &'a dyn WeightStore,
    graph: &'a Graph,
    formats: &'a [Format],
    options: &'a CompileOptions,
    values: Vec<Option<Value>>,
    uses: Vec<usize>,
    /// The node that reads each value, where there is exactly one.
    reader: Vec<Option<usize>>,
    consumers: Vec<Vec<usize>>,
    constants: Constants,
    /// Elementwise functions at all arguments, by name, scale and width.
    functions: std::collections::HashMap<(String, i32, u32), Arc<Vec<f32>>>,
    pub(crate) ctx: Lowering,
    pub(crate) warnings: Vec<String>,
}

/// The result of lowering.
pub(crate) struct Lowered {
    pub built: Built,
    pub inputs: Vec<IoInfo>,
    pub outputs: Vec<IoInfo>,
    pub warnings: Vec<String>,
}

/// Lowers the whole graph, or lists every node that cannot be lowered.
pub(crate) fn lower(
    store: &dyn WeightStore,
    graph: &Graph,
    formats: &[Format],
    minima: &[f64],
    options: &CompileOptions,
    tables: &TablePlan,
) -> Result<Lowered, Vec<UnsupportedNode>> {
    let consumers = graph.consumers();
    let reader = consumers
        .iter()
        .map(|c| match c[..] {
            [one] => Some(one),
            _ => None,
        })
        .collect();
    let mut uses: Vec<usize> = consumers.iter().map(Vec::len).collect();
    for id in &graph.outputs {
        uses[id.0] += 1;
    }
    let mut lower = Lower {
        store,
        graph,
        formats,
        options,
        values: graph
            .values
            .iter()
            .map(|v| v.constant.as_ref().map(|t| Value::Const(Const { name: v.name.clone(), tensor: t.clone(), weights: v.from_weights })))
            .collect(),
        uses,
        reader,
        consumers,
        constants: Constants::default(),
        functions: std::collections::HashMap::new(),
        ctx: Lowering::with_tables(tables.clone()),
        warnings: Vec::new(),
    };
    let mut failures = Vec::new();
    let mut report = |node: &str, op: &str, error: &LowerError| {
        if !matches!(error, LowerError::Operand) {
            failures.push(UnsupportedNode { node: node.to_string(), op: op.to_string(), reason: error.to_string() });
        }
    };
    let mut inputs = Vec::new();
    for (i, &id) in graph.inputs.iter().enumerate() {
        match lower.input(i, id, minima[id.0]) {
            Ok(info) => inputs.push(info),
            Err(e) => {
                report(&graph.value(id).name, "input", &e);
                lower.values[id.0] = Some(Value::Failed);
            }
        }
    }
    for node in &graph.nodes {
        if let Err(e) = lower.node(node) {
            report(&node.name, &node.onnx_op, &e);
            for out in &node.outputs {
                lower.values[out.0] = Some(Value::Failed);
            }
        }
    }
    let mut outputs = Vec::new();
    for (i, &id) in graph.outputs.iter().enumerate() {
        match lower.output(i, id) {
            Ok(info) => outputs.push(info),
            Err(e) => report(&graph.value(id).name, "output", &e),
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let built = lower.ctx.builder.finish(options.row_bits);
    Ok(Lowered { built, inputs, outputs, warnings: lower.warnings })
}

impl Lower<'_> {
    fn format(&self, id: ValueId) -> Format {
        self.formats[id.0]
    }

    /// Scale at which an accumulator that starts at `id` will be rescaled: sums and movements do not rescale.
    fn rescaling_scale(&self, id: ValueId) -> i32 {
        let mut id = id;
        while self.uses[id.0] == 1 {
            let Some(node) = self.reader[id.0].map(|n| &self.graph.nodes[n]) else {
                break;
            };
            match node.op {
                Op::Reshape { .. } | Op::Transpose { .. } | Op::Unary(UnaryFn::Neg) | Op::Binary(BinaryFn::Add | BinaryFn::Sub) => {
                    id = node.outputs[0]
                }
                _ => break,
            }
        }
        self.format(id).scale
    }

    /// The same accumulator, finer by factors of two, so that its rescaling to `scale` uses whole limbs, and with them one
    /// remainder table.
    fn with_common_remainder(&self, acc: Accumulator, scale: i32) -> Accumulator {
        let shift = acc.scale - scale;
        let common = self.ctx.tables.limb_bits;
        let wanted = match shift {
            3.. if acc.as_tensor().is_none() => (shift as u32).next_multiple_of(common) as i32,
            _ => shift,
        };
        let fits = acc.hi.unsigned_abs().max(acc.lo.unsigned_abs()) < 1 << 100;
        if wanted > shift && fits { acc.rescaled(scale + wanted) } else { acc }
    }

    fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph.value(id).shape
    }

    fn constant(&self, id: ValueId) -> Option<Const> {
        match self.values.get(id.0) {
            Some(Some(Value::Const(c))) => Some(c.clone()),
            _ => None,
        }
    }

    fn operand(&self, node: &Node, i: usize) -> Result<ValueId, LowerError> {
        match node.inputs.get(i).copied().flatten() {
            Some(id) => Ok(id),
            None => unsupported(format!("operand {i} is missing")),
        }
    }

    /// The value as cells; an accumulator is rescaled now, a constant registered.
    pub(crate) fn cells(&mut self, id: ValueId) -> Result<QTensor, LowerError> {
        match self.values[id.0].clone() {
            Some(Value::Cells(q)) => Ok(q),
            Some(Value::Const(c)) => {
                let scale = match c.tensor.dtype() {
                    zktorch_float::DType::F32 => None,
                    _ => Some(0),
                };
                self.constant_cells(&c, scale)
            }
            Some(Value::Acc(pending)) => {
                let q = self.materialise(&pending, self.margin(id))?;
                self.values[id.0] = Some(Value::Cells(q.clone()));
                Ok(q)
            }
            Some(Value::Weights(_) | Value::Failed) | None => Err(LowerError::Operand),
        }
    }

    fn materialise(&mut self, pending: &Pending, margin: Option<Margin>) -> Result<QTensor, LowerError> {
        let acc = self.with_common_remainder(pending.acc.clone(), pending.format.scale);
        let margin = margin.filter(|m| acc.shape().ends_with(&pending.shape[pending.shape.len() - m.pads.len()..]));
        let q = self.ctx.surrounding(margin, |ctx| blocks::requantize(ctx, &pending.node, &acc, pending.format))?;
        self.reshaped(&pending.node, q, &pending.shape)
    }

    /// The tensor under another shape; copied if its strides do not allow it.
    pub(crate) fn reshaped(&mut self, node: &str, q: QTensor, shape: &[usize]) -> Result<QTensor, LowerError> {
        if q.shape() == shape {
            return Ok(q);
        }
        if let Some(view) = q.view.reshape(shape) {
            return Ok(QTensor { view, ..q });
        }
        let q = self.copied(node, &q);
        match q.view.reshape(shape) {
            Some(view) => Ok(QTensor { view, ..q }),
            None => unsupported(format!("cannot reshape {:?} to {shape:?}", q.shape())),
        }
    }

    /// A dense copy.
    pub(crate) fn copied(&mut self, node: &str, q: &QTensor) -> QTensor {
        let acc = Accumulator::of(q);
        let view = self.ctx.builder.assign(node, &acc.sizes, acc.outputs, acc.terms, q.lo, q.hi);
        QTensor { view, ..q.clone() }
    }

    /// The value as an accumulator whose output letters are its axes. Constants are registered at `scale` (or one that fits).
    pub(crate) fn accumulator(&mut self, id: ValueId, scale: i32) -> Result<Accumulator, LowerError> {
        match self.values[id.0].take() {
            Some(Value::Acc(pending)) if self.uses[id.0] <= 1 => {
                if pending.acc.shape() == pending.shape {
                    return Ok(pending.acc);
                }
                if let Some(acc) = linear::squeeze_letters(&pending.acc, &pending.shape) {
                    return Ok(acc);
                }
                self.values[id.0] = Some(Value::Acc(pending));
            }
            Some(Value::Const(c)) => {
                self.values[id.0] = Some(Value::Const(c.clone()));
                let scale = match c.tensor.dtype() {
                    zktorch_float::DType::F32 => Some(scale),
                    _ => Some(0),
                };
                return Ok(Accumulator::of(&self.constant_cells(&c, scale)?));
            }
            other => self.values[id.0] = other,
        }
        Ok(Accumulator::of(&self.cells(id)?))
    }

    fn set_cells(&mut self, id: ValueId, q: QTensor) -> Result<(), LowerError> {
        if q.shape() != self.shape(id) {
            return unsupported(format!("lowered to shape {:?}, expected {:?}", q.shape(), self.shape(id)));
        }
        if q.scale != 0 && self.graph.value(id).dtype != zktorch_float::DType::F32 {
            return unsupported(format!("integers at scale 2^-{}", q.scale));
        }
        self.values[id.0] = Some(Value::Cells(q));
        Ok(())
    }

    /// Stores an accumulator; with several consumers it is rescaled at once.
    fn set_acc(&mut self, node: &Node, id: ValueId, acc: Accumulator) -> Result<(), LowerError> {
        let pending = Pending { acc, shape: self.shape(id).to_vec(), node: node.name.clone(), format: self.format(id) };
        let (have, want) = (pending.acc.shape().iter().product::<usize>(), pending.shape.iter().product::<usize>());
        if have != want {
            return unsupported(format!("lowered to shape {:?}, expected {:?}", pending.acc.shape(), pending.shape));
        }
        if self.uses[id.0] > 1 {
            let q = self.materialise(&pending, self.margin(id))?;
            self.values[id.0] = Some(Value::Cells(q));
        } else {
            self.values[id.0] = Some(Value::Acc(Box::new(pending)));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), LowerError> {
        for id in node.inputs.iter().flatten() {
            if matches!(self.values[id.0], None | Some(Value::Failed)) {
                return Err(LowerError::Operand);
            }
        }
        if node.outputs.iter().any(|o| self.shape(*o).contains(&0)) {
            return unsupported("the result has no elements");
        }
        match &node.op {
            Op::MatMul => self.matmul(node),
            Op::Einsum { equation } => self.einsum(node, equation),
            Op::Conv { .. } | Op::ConvTranspose { .. } => self.convolution(node),
            Op::AveragePool { .. } => self.average_pool(node),
            Op::MaxPool { .. } => self.max_pool(node),
            Op::Unary(UnaryFn::Neg) => {
                let x = self.operand(node, 0)?;
                let acc = self.accumulator(x, self.format(x).scale)?.times(-1);
                self.set_acc(node, node.outputs[0], acc)
            }
            Op::Unary(f) => self.unary(node, *f),
            Op::Binary(BinaryFn::Add) => self.sum(node, 1),
            Op::Binary(BinaryFn::Sub) => self.sum(node, -1),
            Op::Binary(BinaryFn::Mul) => self.product(node),
            Op::Binary(f) => self.binary(node, *f),
            Op::Where => self.select(node),
            Op::Cast { to } => self.cast(node, *to),
            Op::Reduce { function: ReduceFn::Sum, axes, .. } => self.reduce_sum(node, axes, false),
            Op::Reduce { function: ReduceFn::Mean, axes, .. } => self.reduce_sum(node, axes, true),
            Op::Reduce { function: ReduceFn::Max, axes, .. } => self.reduce_max(node, axes),
            Op::ArgMax { axis, select_last_index, .. } => self.arg_extremum(node, *axis, *select_last_index, true),
            Op::ArgMin { axis, select_last_index, .. } => self.arg_extremum(node, *axis, *select_last_index, false),
            Op::Softmax { axis } | Op::LogSoftmax { axis } | Op::MaskedSoftmax { axis, .. } => self.softmax(node, *axis),
            Op::LayerNormalization { .. }
            | Op::RmsNormalization { .. }
            | Op::InstanceNormalization { .. }
            | Op::GroupNormalization { .. } => self.normalisation(node),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Pad { mode: zktorch_float::PadMode::Constant, pads, value } => self.pad(node, pads, *value),
            Op::Gather { axis } => self.gather(node, *axis),
            Op::TopK { axis, k, largest } => self.top_k(node, *axis, *k, *largest),
            Op::Position { size } => self.position(node, *size),
            Op::TreeEnsemble(trees) => self.trees(node, trees),
            Op::QuantizeLinear { low, high, .. } => self.quantize(node, *low, *high),
            Op::DynamicQuantizeLinear => self.dynamic_quantize(node),
            Op::DequantizeLinear { axis } => self.dequantize(node, *axis),
            Op::Requantize { axis, low, high } => self.requantize(node, *axis, *low, *high),
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Split { .. }
            | Op::Expand { .. }
            | Op::Tile { .. }
            | Op::Pad { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. }
            | Op::Resize { .. } => self.movement(node),
            op => unsupported(format!("no lowering for this form of the operator ({})", op_name(op))),
        }
    }
}

/// The variant's name.
fn op_name(op: &Op) -> String {
    let text = format!("{op:?}");
    text.split([' ', '(', '{']).next().unwrap_or("").to_string()
}
