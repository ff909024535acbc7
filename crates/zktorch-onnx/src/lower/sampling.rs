//! Operators that are linear maps with coefficients known at import: sampling on constant grids and folding of columns.

use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, Data, Op, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "GridSample" => grid_sample(ctx),
        "AffineGrid" => affine_grid(ctx),
        "Col2Im" => fold(ctx),
        _ => return None,
    })
}

/// Most coefficients of a map.
pub(super) const MAX_COEFFICIENTS: usize = 1 << 26;

/// A constant that depends on the weights if one of `sources` does.
pub(super) fn derived(ctx: &mut Ctx<'_>, shape: Vec<usize>, values: Vec<f32>, sources: &[ValueId]) -> Result<ValueId, ImportError> {
    let from_weights = sources.iter().any(|id| ctx.builder.graph.value(*id).from_weights);
    let tensor = ctx.tensor(shape, Data::F32(values.into()))?;
    let id = ctx.literal(tensor);
    ctx.builder.graph.values[id.0].from_weights = from_weights;
    Ok(id)
}

/// Weights of the neighbours of a coordinate, by integer position.
fn taps(mode: &str, x: f64) -> Vec<(i64, f64)> {
    let low = x.floor();
    let t = x - low;
    let low = low as i64;
    match mode {
        "nearest" => vec![(x.round_ties_even() as i64, 1.0)],
        "cubic" | "bicubic" => {
            let a = -0.75;
            let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
            let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
            vec![(low - 1, far(t + 1.0)), (low, near(t)), (low + 1, near(1.0 - t)), (low + 2, far(2.0 - t))]
        }
        _ => vec![(low, 1.0 - t), (low + 1, t)],
    }
}

/// Mirrors a coordinate into an interval.
fn reflect(x: f64, min: f64, max: f64) -> f64 {
    let span = max - min;
    if span <= 0.0 {
        return min;
    }
    let t = (x - min).rem_euclid(2.0 * span);
    min + if t > span { 2.0 * span - t } else { t }
}

/// Interpolation at the points of a constant grid: one matrix per image.
fn grid_sample(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, grid) = (ctx.input(0)?, ctx.input(1)?);
    let (shape, points) = (ctx.shape(x), ctx.shape(grid));
    let dims = shape.get(2..).unwrap_or_default().to_vec();
    let fits = !dims.is_empty() && points.len() == shape.len() && points[0] == shape[0] && points.last() == Some(&dims.len());
    ctx.ensure(fits, || format!("a grid of shape {points:?} for {shape:?}"))?;
    let mode = ctx.attrs.string("mode").unwrap_or("linear").to_owned();
    let padding = ctx.attrs.string("padding_mode").unwrap_or("zeros").to_owned();
    let align = ctx.attrs.flag("align_corners");
    if ctx.builder.graph.constant(grid).is_none() {
        return computed_grid(ctx, &dims, &mode, &padding, align);
    }
    let at = ctx.const_floats(1)?.unwrap_or_default();
    let (inputs, outputs): (usize, usize) = (dims.iter().product(), points[1..points.len() - 1].iter().product());
    let total = shape[0].saturating_mul(inputs).saturating_mul(outputs);
    ctx.ensure(total <= MAX_COEFFICIENTS, || format!("{total} coefficients are too many"))?;
    let mut matrix = vec![0f32; total];
    for n in 0..shape[0] {
        for o in 0..outputs {
            let point = &at[(n * outputs + o) * dims.len()..][..dims.len()];
            // Row-major positions with their weights, axis by axis; points name the last axis first.
            let mut found = vec![(0usize, 1f64)];
            for (d, &size) in dims.iter().enumerate() {
                let (length, v) = (size as f64, f64::from(point[dims.len() - 1 - d]));
                let (min, max) = if align { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
                let mut c = if align { (v + 1.0) / 2.0 * (length - 1.0) } else { ((v + 1.0) * length - 1.0) / 2.0 };
                if mode == "nearest" {
                    c = c.round_ties_even();
                }
                if c < min || c > max {
                    c = match padding.as_str() {
                        "border" => c.clamp(0.0, length - 1.0),
                        "reflection" => reflect(c, min, max),
                        _ => c,
                    };
                }
                let inside = |i: i64| match padding.as_str() {
                    "border" => Some(i.clamp(0, size as i64 - 1)),
                    "reflection" if (i as f64) < min || (i as f64) > max => Some(reflect(i as f64, min, max) as i64),
                    _ => Some(i),
                };
                let near: Vec<(usize, f64)> = taps(&mode, c)
                    .into_iter()
                    .filter_map(|(i, w)| usize::try_from(inside(i)?).ok().filter(|&i| i < size).map(|i| (i, w)))
                    .collect();
                found = found.iter().flat_map(|&(p, v)| near.iter().map(move |&(i, w)| (p * size + i, v * w))).collect();
            }
            for (p, w) in found {
                matrix[(n * inputs + p) * outputs + o] += w as f32;
            }
        }
    }
    let matrix = derived(ctx, vec![shape[0], inputs, outputs], matrix, &[grid])?;
    let flat = ctx.reshape(x, vec![shape[0], shape[1], inputs])?;
    let y = ctx.emit(Op::MatMul, &[flat, matrix])?;
    let target = [&shape[..2], &points[1..points.len() - 1]].concat();
    Ok(vec![ctx.reshape(y, target)?])
}

/// Linear interpolation at computed points.
fn computed_grid(ctx: &mut Ctx<'_>, dims: &[usize], mode: &str, padding: &str, align: bool) -> Lowered {
    let (x, grid) = (ctx.input(0)?, ctx.input(1)?);
    let (shape, points) = (ctx.shape(x), ctx.shape(grid));
    let known = matches!(mode, "linear" | "bilinear") && matches!(padding, "zeros" | "border");
    ctx.ensure(known, || format!("mode {mode} with padding {padding} at points that depend on the model's input"))?;
    let axes = dims.len();
    let (inputs, outputs): (usize, usize) = (dims.iter().product(), points[1..=axes].iter().product());
    let flat = ctx.reshape(grid, vec![shape[0], outputs, axes])?;
    let mut coordinates = Vec::with_capacity(axes);
    for (d, &size) in dims.iter().enumerate() {
        // Points name the last axis first, from -1 at one end to 1 at the other.
        let op = Op::Slice { starts: vec![0, 0, axes - 1 - d], sizes: vec![shape[0], outputs, 1], steps: vec![1; 3] };
        let v = ctx.emit(op, &[flat])?;
        let end = size as f32 - 1.0;
        let (half, middle) = (ctx.float_literal(if align { end } else { size as f32 } / 2.0), ctx.float_literal(end / 2.0));
        let v = ctx.binary(BinaryFn::Mul, v, half)?;
        let mut v = ctx.binary(BinaryFn::Add, v, middle)?;
        if padding == "border" {
            v = ctx.unary(UnaryFn::Clip { min: 0.0, max: end }, v)?;
        }
        coordinates.push(ctx.reshape(v, vec![shape[0], outputs])?);
    }
    let matrix = super::regions::weights(ctx, &coordinates, dims)?;
    let flat = ctx.reshape(x, vec![shape[0], shape[1], inputs])?;
    let y = ctx.emit(Op::MatMul, &[flat, matrix])?;
    Ok(vec![ctx.reshape(y, [&shape[..2], &points[1..=axes]].concat())?])
}

/// Points of a regular grid under an affine map: `[N, …, dims]`.
fn affine_grid(ctx: &mut Ctx<'_>) -> Lowered {
    let theta = ctx.input(0)?;
    let size = ctx.const_ints(1)?.unwrap_or_default();
    let size = ctx.sizes(&size, "size")?;
    let dims = size.get(2..).unwrap_or_default().to_vec();
    let n = dims.len();
    let own = ctx.shape(theta);
    ctx.ensure((1..=3).contains(&n) && own == [size[0], n, n + 1], || format!("a map of shape {own:?} for {size:?}"))?;
    let align = ctx.attrs.flag("align_corners");
    let count: usize = dims.iter().product();
    let coordinate = |i: usize, size: usize| {
        let (i, size) = (i as f64, size as f64);
        if align { -1.0 + 2.0 * i / (size - 1.0) } else { -1.0 + (2.0 * i + 1.0) / size }
    };
    let mut points = vec![1f32; (n + 1) * count];
    for o in 0..count {
        let mut rest = o;
        // The innermost axis is the first coordinate.
        for d in (0..n).rev() {
            points[(n - 1 - d) * count + o] = coordinate(rest % dims[d], dims[d]) as f32;
            rest /= dims[d];
        }
    }
    let points = derived(ctx, vec![n + 1, count], points, &[])?;
    let y = ctx.emit(Op::MatMul, &[theta, points])?;
    let y = ctx.emit(Op::Transpose { perm: vec![0, 2, 1] }, &[y])?;
    let target = [&size[..1], &dims[..], &[n]].concat();
    Ok(vec![ctx.reshape(y, target)?])
}

/// Sums the columns of an unfolded image where their windows overlap: a matrix of zeros and ones.
fn fold(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let image = ctx.const_ints(1)?.unwrap_or_default();
    let block = ctx.const_ints(2)?.unwrap_or_default();
    let (image, block) = (ctx.sizes(&image, "image_shape")?, ctx.sizes(&block, "block_shape")?);
    let n = image.len();
    let list = |name: &str, count: usize, default: usize| -> Result<Vec<usize>, ImportError> {
        let values = ctx.attrs.ints(name).map_or(Ok(vec![default; count]), |v| ctx.sizes(v, name))?;
        ctx.ensure(values.len() == count, || format!("{name} {values:?} should have {count} entries"))?;
        Ok(values)
    };
    let (strides, dilations, pads) = (list("strides", n, 1)?, list("dilations", n, 1)?, list("pads", 2 * n, 0)?);
    ctx.ensure(block.len() == n && !strides.contains(&0) && !block.contains(&0), || format!("blocks {block:?} of {image:?}"))?;
    let columns: Vec<usize> = (0..n)
        .map(|d| (image[d] + pads[d] + pads[d + n]).checked_sub(dilations[d] * (block[d] - 1) + 1).map_or(0, |room| room / strides[d] + 1))
        .collect();
    let (inner, count): (usize, usize) = (block.iter().product(), columns.iter().product());
    let pixels: usize = image.iter().product();
    let shape = ctx.shape(x);
    let fits = shape.len() == 3 && shape[1].is_multiple_of(inner) && shape[2] == count;
    ctx.ensure(fits, || format!("shape {shape:?} for {count} blocks of {inner}"))?;
    let total = inner.saturating_mul(count).saturating_mul(pixels);
    ctx.ensure(total <= MAX_COEFFICIENTS, || format!("{total} coefficients are too many"))?;
    let mut matrix = vec![0f32; total];
    let digit = |i: usize, sizes: &[usize], d: usize| i / sizes[d + 1..].iter().product::<usize>() % sizes[d];
    for (k, c) in (0..inner).flat_map(|k| (0..count).map(move |c| (k, c))) {
        let place = (0..n).try_fold(0usize, |p, d| {
            let at = digit(c, &columns, d) * strides[d] + digit(k, &block, d) * dilations[d];
            at.checked_sub(pads[d]).filter(|&i| i < image[d]).map(|i| p * image[d] + i)
        });
        if let Some(place) = place {
            matrix[(k * count + c) * pixels + place] = 1.0;
        }
    }
    let matrix = derived(ctx, vec![inner * count, pixels], matrix, &[])?;
    let channels = shape[1] / inner;
    let flat = ctx.reshape(x, vec![shape[0], channels, inner * count])?;
    let y = ctx.emit(Op::MatMul, &[flat, matrix])?;
    Ok(vec![ctx.reshape(y, [&[shape[0], channels], &image[..]].concat())?])
}
