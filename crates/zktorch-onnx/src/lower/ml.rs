//! Operators of the classical machine learning domain that reduce to tensor operations.

use super::{Ctx, Lowered};
use zktorch_float::{BinaryFn, DType, Data, Op, ReduceFn, Tensor, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Lowered {
    match ctx.kind() {
        "ArrayFeatureExtractor" => extract(ctx),
        "Scaler" => scale(ctx),
        "Normalizer" => normalize(ctx),
        "FeatureVectorizer" => join(ctx),
        "Imputer" => impute(ctx),
        "LinearRegressor" => regress(ctx),
        "LinearClassifier" => classify(ctx),
        "SVMClassifier" => super::svm::classify(ctx),
        "SVMRegressor" => super::svm::regress(ctx),
        "Binarizer" => binarize(ctx),
        "LabelEncoder" => encode_labels(ctx),
        "OneHotEncoder" => encode_one_hot(ctx),
        "TreeEnsemble" => super::tree::leaves_apart(ctx),
        "TreeEnsembleClassifier" => super::tree::classify(ctx),
        "TreeEnsembleRegressor" => super::tree::regress(ctx),
        _ => Err(ctx.error("the operator has no translation")),
    }
}

/// Picks columns of the last axis.
fn extract(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let shape = ctx.shape(x);
    let count: usize = ctx.shape(indices).iter().product();
    let axis = shape.len().checked_sub(1).ok_or_else(|| ctx.error("the operand is a scalar"))?;
    let flat = ctx.reshape(indices, vec![count])?;
    let y = ctx.emit(Op::Gather { axis }, &[x, flat])?;
    // The result of a vector has an axis of size 1 in front.
    if axis == 0 { Ok(vec![ctx.reshape(y, vec![1, count])?]) } else { Ok(vec![y]) }
}

/// Operand 0 as floats.
pub(super) fn floats(ctx: &mut Ctx<'_>) -> Result<ValueId, crate::ImportError> {
    let x = ctx.input(0)?;
    if ctx.dtype(x) == DType::F32 { Ok(x) } else { ctx.emit(Op::Cast { to: DType::F32 }, &[x]) }
}

/// A constant from the attributes, which hold the model's weights.
pub(super) fn weights(ctx: &mut Ctx<'_>, shape: Vec<usize>, data: &[f32]) -> Result<ValueId, crate::ImportError> {
    let tensor = ctx.tensor(shape, Data::F32(data.to_vec().into()))?;
    let id = ctx.literal(tensor);
    ctx.builder.graph.values[id.0].from_weights = true;
    Ok(id)
}

fn scale(ctx: &mut Ctx<'_>) -> Lowered {
    let mut x = floats(ctx)?;
    if let Some(offset) = ctx.attrs.floats("offset") {
        let offset = weights(ctx, vec![offset.len()], offset)?;
        x = ctx.binary(BinaryFn::Sub, x, offset)?;
    }
    if let Some(scale) = ctx.attrs.floats("scale") {
        let scale = weights(ctx, vec![scale.len()], scale)?;
        x = ctx.binary(BinaryFn::Mul, x, scale)?;
    }
    Ok(vec![x])
}

fn normalize(ctx: &mut Ctx<'_>) -> Lowered {
    let x = floats(ctx)?;
    let axis = ctx.shape(x).len().checked_sub(1).ok_or_else(|| ctx.error("the operand is a scalar"))?;
    let function = match ctx.attrs.string("norm") {
        Some("L1") => ReduceFn::L1,
        Some("L2") => ReduceFn::L2,
        _ => ReduceFn::Max,
    };
    let norm = ctx.emit(Op::Reduce { function, axes: vec![axis], keepdims: true }, &[x])?;
    Ok(vec![ctx.binary(BinaryFn::Div, x, norm)?])
}

/// `X·coefficientsᵀ + intercepts` for `targets` rows of coefficients.
fn linear(ctx: &mut Ctx<'_>, targets: usize) -> Result<ValueId, crate::ImportError> {
    let x = floats(ctx)?;
    let coefficients = ctx.attrs.required(ctx.attrs.floats("coefficients"), "coefficients")?;
    ctx.ensure(targets > 0 && coefficients.len() % targets == 0, || format!("{} coefficients for {targets} targets", coefficients.len()))?;
    let w = weights(ctx, vec![targets, coefficients.len() / targets], coefficients)?;
    let mut inputs = vec![x, w];
    if let Some(intercepts) = ctx.attrs.floats("intercepts").filter(|i| !i.is_empty()) {
        inputs.push(weights(ctx, vec![intercepts.len()], intercepts)?);
    }
    ctx.emit(Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true }, &inputs)
}

fn regress(ctx: &mut Ctx<'_>) -> Lowered {
    let targets = usize::try_from(ctx.attrs.int("targets").unwrap_or(1)).unwrap_or(0);
    Ok(vec![linear(ctx, targets)?])
}

fn classify(ctx: &mut Ctx<'_>) -> Lowered {
    let labels = ctx.attrs.required(ctx.attrs.ints("classlabels_ints"), "classlabels_ints")?;
    let features = ctx.shape(ctx.input(0)?).last().copied().unwrap_or(0);
    if labels.len() == 2 && ctx.attrs.floats("coefficients").is_some_and(|c| c.len() == features) {
        return two_classes(ctx, labels);
    }
    let scores = linear(ctx, labels.len())?;
    let best = ctx.emit(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[scores])?;
    let table = ctx.literal(Tensor::ints(labels.to_vec()));
    let label = ctx.emit(Op::Gather { axis: 0 }, &[table, best])?;
    let scores = transformed(ctx, scores, ctx.attrs.string("post_transform"))?;
    Ok(vec![label, scores])
}

/// A score through its function; softmax is over the last of two axes.
pub(super) fn transformed(ctx: &mut Ctx<'_>, scores: ValueId, function: Option<&str>) -> Result<ValueId, crate::ImportError> {
    match function {
        Some("SOFTMAX") => ctx.emit(Op::Softmax { axis: 1 }, &[scores]),
        Some("LOGISTIC") => ctx.unary(UnaryFn::Sigmoid, scores),
        _ => Ok(scores),
    }
}

/// One score for two classes: it speaks for the second one.
fn two_classes(ctx: &mut Ctx<'_>, labels: &[i64]) -> Lowered {
    let score = linear(ctx, 1)?;
    let zero = ctx.float_literal(0.0);
    let above = ctx.binary(BinaryFn::Greater, score, zero)?;
    let above = ctx.emit(Op::Cast { to: DType::I64 }, &[above])?;
    let rows = ctx.shape(above).iter().product();
    let above = ctx.reshape(above, vec![rows])?;
    let table = ctx.literal(Tensor::ints(labels.to_vec()));
    let label = ctx.emit(Op::Gather { axis: 0 }, &[table, above])?;
    let transform = ctx.attrs.string("post_transform");
    ctx.ensure(transform != Some("SOFTMAX"), || "SOFTMAX of one score is not supported".to_owned())?;
    let second = transformed(ctx, score, transform)?;
    let one = ctx.float_literal(1.0);
    let both = [ctx.binary(BinaryFn::Sub, one, second)?, second];
    Ok(vec![label, ctx.emit(Op::Concat { axis: 1 }, &both)?])
}

/// All features of a row side by side, as floats.
fn join(ctx: &mut Ctx<'_>) -> Lowered {
    let inputs = ctx.all()?;
    let widths = ctx.attrs.ints("inputdimensions");
    ctx.ensure(widths.is_none_or(|w| w.len() == inputs.len()), || format!("widths {widths:?} for {} operands", inputs.len()))?;
    let mut parts = Vec::with_capacity(inputs.len());
    for (i, id) in inputs.into_iter().enumerate() {
        let x = if ctx.dtype(id) == DType::F32 { id } else { ctx.emit(Op::Cast { to: DType::F32 }, &[id])? };
        let shape = ctx.shape(x);
        let (rows, columns) = (shape.first().copied().unwrap_or(1), shape.get(1..).unwrap_or_default().iter().product::<usize>());
        let fits = widths.is_none_or(|w| w.get(i) == Some(&(columns as i64)));
        ctx.ensure(fits, || format!("operand {i} has {columns} columns, expected {widths:?}"))?;
        parts.push(ctx.reshape(x, vec![rows, columns])?);
    }
    if let [one] = parts[..] { Ok(vec![one]) } else { Ok(vec![ctx.emit(Op::Concat { axis: 1 }, &parts)?]) }
}

/// Another number in place of a missing one. Numbers of a program are finite: where NaN means missing, nothing is.
fn impute(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let (missing, values) = if ctx.dtype(x) == DType::F32 {
        let missing = ctx.attrs.float("replaced_value_float").unwrap_or(0.0);
        if missing.is_nan() {
            return Ok(vec![x]);
        }
        let values = ctx.attrs.required(ctx.attrs.floats("imputed_value_floats"), "imputed_value_floats")?;
        (ctx.float_literal(missing), weights(ctx, vec![values.len()], values)?)
    } else {
        let missing = ctx.tensor(Vec::new(), Data::I64(vec![ctx.attrs.int("replaced_value_int64").unwrap_or(0)]))?;
        let values = ctx.attrs.required(ctx.attrs.ints("imputed_value_int64s"), "imputed_value_int64s")?;
        (ctx.literal(missing), ctx.literal(Tensor::ints(values.to_vec())))
    };
    let hit = ctx.binary(BinaryFn::Equal, x, missing)?;
    let y = ctx.emit(Op::Where, &[hit, values, x])?;
    let (from, to) = (ctx.shape(x), ctx.shape(y));
    ctx.ensure(from == to, || format!("values for columns of {from:?} make {to:?}"))?;
    Ok(vec![y])
}

/// 1 above the threshold, 0 elsewhere.
fn binarize(ctx: &mut Ctx<'_>) -> Lowered {
    let x = floats(ctx)?;
    let threshold = ctx.float_literal(ctx.attrs.float("threshold").unwrap_or(0.0));
    let above = ctx.binary(BinaryFn::Greater, x, threshold)?;
    Ok(vec![ctx.emit(Op::Cast { to: DType::F32 }, &[above])?])
}

/// `[x = key]` for each key on a new last axis, as numbers of type `to`.
fn hits(ctx: &mut Ctx<'_>, keys: &[i64], to: DType) -> Result<ValueId, crate::ImportError> {
    let x = ctx.input(0)?;
    ctx.ensure(ctx.dtype(x) == DType::I64, || "the operand should hold integers".to_owned())?;
    let column = [&ctx.shape(x)[..], &[1]].concat();
    let column = ctx.reshape(x, column)?;
    let keys = ctx.literal(Tensor::ints(keys.to_vec()));
    let same = ctx.binary(BinaryFn::Equal, column, keys)?;
    ctx.emit(Op::Cast { to }, &[same])
}

/// The value that belongs to each integer, or a default: `default + Σ [x = key]·(value - default)`.
fn encode_labels(ctx: &mut Ctx<'_>) -> Lowered {
    let keys = ctx.attrs.required(ctx.attrs.ints("keys_int64s"), "keys_int64s")?;
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    let (to, values, default) = match (ctx.attrs.ints("values_int64s"), ctx.attrs.floats("values_floats")) {
        (Some(values), None) => {
            let default = ctx.attrs.int("default_int64").unwrap_or(-1);
            let values = values.iter().map(|v| v - default).collect();
            (DType::I64, Data::I64(values), Data::I64(vec![default]))
        }
        (None, Some(values)) => {
            let default = ctx.attrs.float("default_float").unwrap_or(0.0);
            (DType::F32, Data::F32(values.iter().map(|v| v - default).collect()), Data::F32(vec![default].into()))
        }
        _ => return Err(ctx.error("either values_int64s or values_floats should be given")),
    };
    let count = values.len();
    ctx.ensure(count == keys.len() && different.len() == count, || format!("{} keys for {count} values", keys.len()))?;
    let hits = hits(ctx, keys, to)?;
    let values = ctx.tensor(vec![count, 1], values)?;
    let values = ctx.literal(values);
    let chosen = ctx.emit(Op::MatMul, &[hits, values])?;
    let shape = ctx.shape(ctx.input(0)?);
    let chosen = ctx.reshape(chosen, shape)?;
    let default = ctx.tensor(Vec::new(), default)?;
    let default = ctx.literal(default);
    Ok(vec![ctx.binary(BinaryFn::Add, chosen, default)?])
}

/// One-hot rows over integer categories; another number has a row of zeros.
fn encode_one_hot(ctx: &mut Ctx<'_>) -> Lowered {
    let keys = ctx.attrs.required(ctx.attrs.ints("cats_int64s"), "cats_int64s")?;
    Ok(vec![hits(ctx, keys, DType::F32)?])
}
