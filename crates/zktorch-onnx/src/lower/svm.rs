//! Support vector machines, written out as kernel, weighted sums and votes.

use super::ml::{floats, weights};
use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, DType, Op, ReduceFn, Tensor, UnaryFn, ValueId};

/// The kernel of every row and every support vector: `[rows, vectors]`.
fn kernels(ctx: &mut Ctx<'_>, count: usize) -> Result<ValueId, ImportError> {
    let x = floats(ctx)?;
    let &[_, features] = ctx.shape(x).as_slice() else { return Err(ctx.error("the features should have two axes")) };
    let vectors = ctx.attrs.required(ctx.attrs.floats("support_vectors"), "support_vectors")?;
    ctx.ensure(count.checked_mul(features) == Some(vectors.len()), || {
        format!("{} numbers for {count} support vectors of {features} features", vectors.len())
    })?;
    let transposed: Vec<f32> = (0..vectors.len()).map(|i| vectors[(i % count) * features + i / count]).collect();
    let matrix = weights(ctx, vec![features, count], &transposed)?;
    let products = ctx.emit(Op::MatMul, &[x, matrix])?;
    let kind = ctx.attrs.string("kernel_type").unwrap_or("LINEAR");
    if kind == "LINEAR" {
        return Ok(products);
    }
    let &[gamma, offset, degree] = ctx.attrs.required(ctx.attrs.floats("kernel_params"), "kernel_params")? else {
        return Err(ctx.error("kernel_params should be three numbers"));
    };
    if kind == "RBF" {
        // exp(-gamma·(|x|² - 2x·v + |v|²))
        let squares = ctx.emit(Op::Reduce { function: ReduceFn::SumSquare, axes: vec![1], keepdims: true }, &[x])?;
        let lengths: Vec<f32> = vectors.chunks(features.max(1)).map(|v| v.iter().map(|a| a * a).sum()).collect();
        let lengths = weights(ctx, vec![count], &lengths)?;
        let two = ctx.float_literal(2.0);
        let twice = ctx.binary(BinaryFn::Mul, products, two)?;
        let near = ctx.binary(BinaryFn::Sub, squares, twice)?;
        let distance = ctx.binary(BinaryFn::Add, near, lengths)?;
        let factor = weights(ctx, Vec::new(), &[-gamma])?;
        let exponent = ctx.binary(BinaryFn::Mul, distance, factor)?;
        return ctx.unary(UnaryFn::Exp, exponent);
    }
    let (gamma, offset) = (weights(ctx, Vec::new(), &[gamma])?, weights(ctx, Vec::new(), &[offset])?);
    let scaled = ctx.binary(BinaryFn::Mul, products, gamma)?;
    let moved = ctx.binary(BinaryFn::Add, scaled, offset)?;
    if kind == "SIGMOID" {
        return ctx.unary(UnaryFn::Tanh, moved);
    }
    let degree = ctx.float_literal(degree);
    ctx.binary(BinaryFn::Pow, moved, degree)
}

pub(super) fn regress(ctx: &mut Ctx<'_>) -> Lowered {
    let count = usize::try_from(ctx.attrs.int("n_supports").unwrap_or(0)).unwrap_or(0);
    ctx.ensure(count > 0, || "a regressor without support vectors is not supported".to_owned())?;
    let coefficients = ctx.attrs.required(ctx.attrs.floats("coefficients"), "coefficients")?;
    let rho = ctx.attrs.floats("rho").and_then(|r| r.first()).copied().unwrap_or(0.0);
    let kernels = kernels(ctx, count)?;
    let matrix = weights(ctx, vec![count, 1], coefficients)?;
    let sums = ctx.emit(Op::MatMul, &[kernels, matrix])?;
    let rho = weights(ctx, vec![1], &[rho])?;
    Ok(vec![ctx.binary(BinaryFn::Add, sums, rho)?])
}

/// One score per pair of classes; the class with most pairs won is the label, the first one of several.
pub(super) fn classify(ctx: &mut Ctx<'_>) -> Lowered {
    let labels = ctx.attrs.required(ctx.attrs.ints("classlabels_ints"), "classlabels_ints")?;
    let per_class = ctx.attrs.required(ctx.attrs.ints("vectors_per_class"), "vectors_per_class")?;
    let per_class = ctx.sizes(per_class, "vectors_per_class")?;
    let classes = labels.len();
    ctx.ensure(classes > 2 && per_class.len() == classes, || {
        format!("{classes} classes with {} counts of support vectors; three or more classes are supported", per_class.len())
    })?;
    let count: usize = per_class.iter().sum();
    let coefficients = ctx.attrs.required(ctx.attrs.floats("coefficients"), "coefficients")?;
    let rho = ctx.attrs.required(ctx.attrs.floats("rho"), "rho")?;
    let pairs: Vec<(usize, usize)> = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j))).collect();
    let fits = coefficients.len() == (classes - 1) * count && rho.len() == pairs.len();
    ctx.ensure(fits, || format!("{} coefficients and {} offsets do not fit {classes} classes", coefficients.len(), rho.len()))?;
    let starts: Vec<usize> = per_class
        .iter()
        .scan(0, |at, n| {
            *at += n;
            Some(*at - n)
        })
        .collect();
    let mut matrix = vec![0.0; count * pairs.len()];
    let mut votes = vec![0.0; pairs.len() * classes];
    let mut base = vec![0.0; classes];
    for (p, &(i, j)) in pairs.iter().enumerate() {
        for (class, row) in [(i, j - 1), (j, i)] {
            for v in starts[class]..starts[class] + per_class[class] {
                matrix[v * pairs.len() + p] = coefficients[row * count + v];
            }
        }
        votes[p * classes + i] = 1.0;
        votes[p * classes + j] = -1.0;
        base[j] += 1.0;
    }
    let kernels = kernels(ctx, count)?;
    let matrix = weights(ctx, vec![count, pairs.len()], &matrix)?;
    let sums = ctx.emit(Op::MatMul, &[kernels, matrix])?;
    let rho = weights(ctx, vec![rho.len()], rho)?;
    let scores = ctx.binary(BinaryFn::Add, sums, rho)?;
    let zero = ctx.float_literal(0.0);
    let won = ctx.binary(BinaryFn::Greater, scores, zero)?;
    let won = ctx.emit(Op::Cast { to: DType::F32 }, &[won])?;
    let votes = ctx.tensor(vec![pairs.len(), classes], zktorch_float::Data::F32(votes.into()))?;
    let votes = ctx.literal(votes);
    let counted = ctx.emit(Op::MatMul, &[won, votes])?;
    let base = ctx.tensor(vec![classes], zktorch_float::Data::F32(base.into()))?;
    let base = ctx.literal(base);
    let counted = ctx.binary(BinaryFn::Add, counted, base)?;
    let best = ctx.emit(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[counted])?;
    let table = ctx.literal(Tensor::ints(labels.to_vec()));
    let label = ctx.emit(Op::Gather { axis: 0 }, &[table, best])?;
    Ok(vec![label, scores])
}
