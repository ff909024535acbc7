//! Translation of single nodes: attributes of every operator set version resolved to those of the float graph.

use crate::ImportError;
use crate::attributes::{Attributes, domain, node_error, node_name, op_name};
use crate::builder::Builder;
use crate::check::Opsets;
use crate::files::Files;
use crate::proto::NodeProto;
use crate::schema::ML;
use zktorch_float::{BinaryFn, DType, Data, EvalError, Op, Tensor, UnaryFn, ValueId};

mod attention;
mod composite;
mod elementwise;
mod index;
mod linear;
mod linear_attention;
mod maxima;
mod ml;
mod norm;
pub(crate) mod quant;
mod recurrent;
mod regions;
mod resample;
mod resize;
mod sampling;
mod shape;
mod spectrum;
mod svm;
mod text;
mod tree;

/// A node on its way into the graph.
pub(crate) struct Ctx<'a> {
    pub builder: &'a mut Builder,
    pub node: &'a NodeProto,
    pub attrs: Attributes<'a>,
    pub opset: i64,
    /// Files of the model, for tensors outside of it.
    pub files: &'a Files,
    name: String,
    op: String,
    inputs: Vec<Option<ValueId>>,
}

/// Outputs of a translated node.
pub(crate) type Lowered = Result<Vec<ValueId>, ImportError>;

/// Adds `node` to the graph. Returns its results; there may be fewer than the node has names for if they are not supported.
pub(crate) fn lower(builder: &mut Builder, node: &NodeProto, inputs: Vec<Option<ValueId>>, opsets: Opsets, files: &Files) -> Lowered {
    let mut ctx =
        Ctx { builder, node, attrs: Attributes(node), opset: opsets.onnx, files, name: node_name(node), op: op_name(node), inputs };
    if domain(node) == ML {
        return ml::lower(&mut ctx);
    }
    for family in [
        elementwise::lower,
        shape::lower,
        linear::lower,
        norm::lower,
        index::lower,
        resize::lower,
        recurrent::lower,
        attention::lower,
        quant::lower,
        composite::lower,
        sampling::lower,
        spectrum::lower,
        maxima::lower,
        regions::lower,
        linear_attention::lower,
        text::lower,
    ] {
        if let Some(outputs) = family(&mut ctx) {
            return outputs;
        }
    }
    Err(ctx.error("the operator has no translation"))
}

impl<'a> Ctx<'a> {
    /// The operator without its domain.
    pub(crate) fn kind(&self) -> &'a str {
        self.node.op_type.as_deref().unwrap_or("")
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> ImportError {
        node_error(self.node, reason)
    }

    /// Fails with `reason` unless `condition` holds.
    pub(crate) fn ensure(&self, condition: bool, reason: impl FnOnce() -> String) -> Result<(), ImportError> {
        if condition { Ok(()) } else { Err(self.error(reason())) }
    }

    /// Operand `i`, if given.
    pub(crate) fn opt(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// Operand `i`.
    pub(crate) fn input(&self, i: usize) -> Result<ValueId, ImportError> {
        self.opt(i).ok_or_else(|| self.error(format!("operand {i} is missing")))
    }

    /// All operands.
    pub(crate) fn all(&self) -> Result<Vec<ValueId>, ImportError> {
        (0..self.inputs.len()).map(|i| self.input(i)).collect()
    }

    pub(crate) fn shape(&self, id: ValueId) -> Vec<usize> {
        self.builder.shape(id).to_vec()
    }

    pub(crate) fn dtype(&self, id: ValueId) -> DType {
        self.builder.graph.value(id).dtype
    }

    /// The constant behind operand `i`, if it is given. An operand that depends on the input is an error: it decides about
    /// shapes or attributes, which must be the same in every run.
    pub(crate) fn constant(&self, i: usize) -> Result<Option<&Tensor>, ImportError> {
        let Some(id) = self.opt(i) else { return Ok(None) };
        match self.builder.graph.constant(id) {
            Some(t) => Ok(Some(t)),
            None => Err(self.error(format!(
                "operand {i} ('{}') depends on the model's input, but it decides about the shape or kind of the result \
                 and must be constant",
                self.builder.graph.value(id).name
            ))),
        }
    }

    /// Constant operand `i` as integers.
    pub(crate) fn const_ints(&self, i: usize) -> Result<Option<Vec<i64>>, ImportError> {
        self.constant(i)?.map(|t| t.as_i64().map(<[i64]>::to_vec).map_err(|e| self.error(format!("operand {i}: {e}")))).transpose()
    }

    /// Constant operand `i` as floats, whatever its type.
    pub(crate) fn const_floats(&self, i: usize) -> Result<Option<Vec<f32>>, ImportError> {
        Ok(self.constant(i)?.map(Tensor::to_f32_vec))
    }

    /// Constant operand `i` as one integer.
    pub(crate) fn const_int(&self, i: usize) -> Result<Option<i64>, ImportError> {
        match self.const_ints(i)?.as_deref() {
            None => Ok(None),
            Some([v]) => Ok(Some(*v)),
            Some(v) => Err(self.error(format!("operand {i} should be one number, got {}", v.len()))),
        }
    }

    /// Adds a node with any number of results.
    pub(crate) fn emit_many(&mut self, op: Op, inputs: &[Option<ValueId>]) -> Lowered {
        let (name, kind) = (self.name.clone(), self.op.clone());
        self.builder
            .emit(&name, &kind, op, inputs)
            .map_err(|source| EvalError::Node { node: name, op: kind, source: Box::new(source) }.into())
    }

    /// Adds a node with one result.
    pub(crate) fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId, ImportError> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        let outputs = self.emit_many(op, &inputs)?;
        outputs.first().copied().ok_or_else(|| self.error("no result"))
    }

    /// Adds a node with one result and all operands of the source node as they are.
    pub(crate) fn emit_same(&mut self, op: Op) -> Lowered {
        let inputs = self.inputs.clone();
        self.emit_many(op, &inputs)
    }

    pub(crate) fn unary(&mut self, function: UnaryFn, x: ValueId) -> Result<ValueId, ImportError> {
        self.emit(Op::Unary(function), &[x])
    }

    pub(crate) fn binary(&mut self, function: BinaryFn, a: ValueId, b: ValueId) -> Result<ValueId, ImportError> {
        self.emit(Op::Binary(function), &[a, b])
    }

    /// Adds a reshape, unless the shape is the same.
    pub(crate) fn reshape(&mut self, x: ValueId, shape: Vec<usize>) -> Result<ValueId, ImportError> {
        if self.builder.shape(x) == shape { Ok(x) } else { self.emit(Op::Reshape { shape }, &[x]) }
    }

    /// Adds a constant of the model's structure.
    pub(crate) fn literal(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("{}:constant{}", self.name, self.builder.graph.values.len());
        self.builder.constant(name, tensor, false)
    }

    pub(crate) fn float_literal(&mut self, x: f32) -> ValueId {
        self.literal(Tensor::scalar(x))
    }

    /// A tensor of `shape`; an error if it does not fit.
    pub(crate) fn tensor(&self, shape: Vec<usize>, data: Data) -> Result<Tensor, ImportError> {
        Tensor::new(shape, data).map_err(|e| self.error(e.to_string()))
    }

    /// A possibly negative axis of a tensor of `rank`.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Result<usize, ImportError> {
        let wrapped = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(wrapped)
            .ok()
            .filter(|&a| a < rank)
            .ok_or_else(|| self.error(format!("axis {axis} is out of range for {rank} axes")))
    }

    /// Possibly negative axes, ascending; an axis named twice is an error.
    pub(crate) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, ImportError> {
        let mut found = axes.iter().map(|&a| self.axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        found.sort_unstable();
        self.ensure(found.windows(2).all(|w| w[0] != w[1]), || format!("axes {axes:?} repeat"))?;
        Ok(found)
    }

    /// Non-negative numbers of a sane size.
    pub(crate) fn sizes(&self, values: &[i64], what: &str) -> Result<Vec<usize>, ImportError> {
        let size = |&v: &i64| {
            usize::try_from(v)
                .ok()
                .filter(|&v| v < 1 << 31)
                .ok_or_else(|| self.error(format!("{what} {values:?} has an entry out of range")))
        };
        values.iter().map(size).collect()
    }
}
