//! Interpolation at points that may be computed, regions of interest and deformable convolution.
//!
//! Between neighbours, an element at position `i` of an axis weighs `max(0, 1 - |p - i|)` at the point `p`: products of such weights over the
//! axes make a matrix of all elements and all points. At constant points it is folded into a constant.

use super::linear::{group, window};
use super::sampling::{MAX_COEFFICIENTS, derived};
use super::{Ctx, Lowered};
use crate::ImportError;
use zktorch_float::{BinaryFn, DType, Data, Op, ReduceFn, UnaryFn, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    Some(match ctx.kind() {
        "RoiAlign" => roi_align(ctx),
        "DeformConv" => deform_conv(ctx),
        _ => return None,
    })
}

/// Weights of all elements of `dims` at points: `coordinates` has one tensor of shape `[…, points]` per axis; the result is
/// `[…, elements, points]`. Points outside meet zeros.
pub(super) fn weights(ctx: &mut Ctx<'_>, coordinates: &[ValueId], dims: &[usize]) -> Result<ValueId, ImportError> {
    let points = ctx.shape(coordinates[0]);
    let (outer, count) = points.split_at(points.len() - 1);
    let elements: usize = dims.iter().product();
    let total = points.iter().product::<usize>().saturating_mul(elements);
    ctx.ensure(total <= MAX_COEFFICIENTS, || format!("{total} coefficients are too many"))?;
    let mut product: Option<ValueId> = None;
    for (d, &c) in coordinates.iter().enumerate() {
        let row = ctx.reshape(c, [outer, &[1], count].concat())?;
        let numbers = ctx.tensor(vec![dims[d], 1], Data::F32((0..dims[d]).map(|i| i as f32).collect()))?;
        let numbers = ctx.literal(numbers);
        let distance = ctx.binary(BinaryFn::Sub, row, numbers)?;
        let distance = ctx.unary(UnaryFn::Abs, distance)?;
        let one = ctx.float_literal(1.0);
        let near = ctx.binary(BinaryFn::Sub, one, distance)?;
        let near = ctx.unary(UnaryFn::Relu, near)?;
        let mut wide = vec![1; dims.len()];
        wide[d] = dims[d];
        let near = ctx.reshape(near, [outer, &wide, count].concat())?;
        product = Some(match product {
            None => near,
            Some(before) => ctx.binary(BinaryFn::Mul, before, near)?,
        });
    }
    let product = product.ok_or_else(|| ctx.error("no axes"))?;
    ctx.reshape(product, [outer, &[elements], count].concat())
}

/// Samples of one axis of a region: the lower neighbour, the upper one and the weight of the upper one, or `None` outside.
fn neighbours(p: f64, size: usize) -> Option<(usize, usize, f64)> {
    if p < -1.0 || p > size as f64 {
        return None;
    }
    let p = p.max(0.0);
    let low = p as usize;
    if low + 1 >= size {
        return Some((size - 1, size - 1, 0.0));
    }
    Some((low, low + 1, p - low as f64))
}

/// Means of a grid of samples in each bin of a computed region. A sample is bilinear and 0 outside of the image, so that it is a product of
/// weights of rows and weights of columns: `Σ_{h,w} R_{h,i}·X_{h,w}·C_{w,j}`, where each of `R` and `C` is a mean over the samples of a bin.
fn roi_align_computed(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, rois, images) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (&[batch, channels, height, width], &[count, 4]) = (ctx.shape(x).as_slice(), ctx.shape(rois).as_slice()) else {
        return Err(ctx.error("the features should have four axes, and the regions four numbers each"));
    };
    let size = |name: &str, default: i64| ctx.sizes(&[ctx.attrs.int(name).unwrap_or(default)], name).map(|s| s[0]);
    let (rows, columns, ratio) = (size("output_height", 1)?, size("output_width", 1)?, size("sampling_ratio", 0)?);
    ctx.ensure(ratio > 0, || "the samples of computed regions must be counted by sampling_ratio, not by their sizes".to_owned())?;
    ctx.ensure(ctx.attrs.string("mode") != Some("max"), || "maxima of computed regions are not supported".to_owned())?;
    ctx.ensure(batch * height * width * rows * columns > 0, || "no elements".to_owned())?;
    let half = ctx.opset >= 16 && ctx.attrs.string("coordinate_transformation_mode") != Some("output_half_pixel");
    let scale = ctx.float_literal(ctx.attrs.float("spatial_scale").unwrap_or(1.0));
    let mut ends = ctx.binary(BinaryFn::Mul, rois, scale)?;
    if half {
        let shift = ctx.float_literal(0.5);
        ends = ctx.binary(BinaryFn::Sub, ends, shift)?;
    }
    let corners = ctx.emit_many(Op::Split { axis: 1, sizes: vec![1; 4] }, &[Some(ends)])?;
    let weights_of = |ctx: &mut Ctx<'_>, (first, last): (ValueId, ValueId), elements: usize, bins: usize| {
        let mut extent = ctx.binary(BinaryFn::Sub, last, first)?;
        if !half {
            let least = ctx.float_literal(1.0);
            extent = ctx.binary(BinaryFn::Max, extent, least)?;
        }
        let points = bins * ratio;
        let total = count.saturating_mul(elements).saturating_mul(points);
        ctx.ensure(total <= MAX_COEFFICIENTS, || format!("{total} coefficients are too many"))?;
        let parts = (0..points).map(|i| (i as f32 + 0.5) / points as f32).collect::<Vec<_>>();
        let parts = ctx.tensor(vec![1, points], Data::F32(parts.into()))?;
        let parts = ctx.literal(parts);
        let moved = ctx.binary(BinaryFn::Mul, extent, parts)?;
        let places = ctx.binary(BinaryFn::Add, first, moved)?;
        let (low, high) = (ctx.float_literal(-1.0), ctx.float_literal(elements as f32));
        let after = ctx.binary(BinaryFn::GreaterOrEqual, places, low)?;
        let before = ctx.binary(BinaryFn::LessOrEqual, places, high)?;
        let inside = ctx.binary(BinaryFn::And, after, before)?;
        let inside = ctx.emit(Op::Cast { to: DType::F32 }, &[inside])?;
        let inside = ctx.reshape(inside, vec![count, 1, points])?;
        let near = ctx.unary(UnaryFn::Clip { min: 0.0, max: elements as f32 - 1.0 }, places)?;
        let shares = weights(ctx, &[near], &[elements])?;
        let shares = ctx.binary(BinaryFn::Mul, shares, inside)?;
        let shares = ctx.reshape(shares, vec![count, elements, bins, ratio])?;
        ctx.emit(Op::Reduce { function: ReduceFn::Mean, axes: vec![3], keepdims: false }, &[shares])
    };
    let down = weights_of(ctx, (corners[1], corners[3]), height, rows)?;
    let across = weights_of(ctx, (corners[0], corners[2]), width, columns)?;
    let own = ctx.emit(Op::Gather { axis: 0 }, &[x, images])?;
    let own = ctx.reshape(own, vec![count, channels * height, width])?;
    let y = ctx.emit(Op::MatMul, &[own, across])?;
    let y = ctx.reshape(y, vec![count, channels, height, columns])?;
    let down = ctx.emit(Op::Transpose { perm: vec![0, 2, 1] }, &[down])?;
    let down = ctx.reshape(down, vec![count, 1, rows, height])?;
    Ok(vec![ctx.emit(Op::MatMul, &[down, y])?])
}

/// Means, or maxima of weighted neighbours, of a grid of samples in each bin of a region.
fn roi_align(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    let known = |i: usize| ctx.input(i).map(|id| ctx.builder.graph.constant(id).is_some());
    if !(known(1)? && known(2)?) {
        return roi_align_computed(ctx);
    }
    let &[batch, channels, height, width] = ctx.shape(x).as_slice() else {
        return Err(ctx.error("the features should have four axes"));
    };
    let rois = ctx.const_floats(1)?.unwrap_or_default();
    let images = ctx.const_ints(2)?.unwrap_or_default();
    let count = images.len();
    let fits = rois.len() == 4 * count && images.iter().all(|&i| usize::try_from(i).is_ok_and(|i| i < batch)) && height * width > 0;
    ctx.ensure(fits, || format!("{} numbers for {count} regions of {batch} images", rois.len()))?;
    let size = |name: &str, default: i64| ctx.sizes(&[ctx.attrs.int(name).unwrap_or(default)], name).map(|s| s[0]);
    let (rows, columns, ratio) = (size("output_height", 1)?, size("output_width", 1)?, size("sampling_ratio", 0)?);
    let scale = f64::from(ctx.attrs.float("spatial_scale").unwrap_or(1.0));
    let half = ctx.opset >= 16 && ctx.attrs.string("coordinate_transformation_mode") != Some("output_half_pixel");
    let largest = ctx.attrs.string("mode") == Some("max");
    let bins = rows * columns;
    // Per region, the samples of each bin as neighbours with weights.
    type Taps = Vec<[(usize, f64); 4]>;
    let mut regions: Vec<Vec<Taps>> = Vec::with_capacity(count);
    for roi in rois.chunks_exact(4) {
        let shift = if half { 0.5 } else { 0.0 };
        let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| f64::from(roi[i]) * scale - shift);
        let least = if half { f64::MIN } else { 1.0 };
        let steps = [(y1 - y0).max(least) / rows as f64, (x1 - x0).max(least) / columns as f64];
        let grid = steps.map(|s| if ratio > 0 { ratio } else { s.ceil().max(0.0) as usize });
        let samples = grid[0].saturating_mul(grid[1]).saturating_mul(bins);
        ctx.ensure(samples <= MAX_COEFFICIENTS, || format!("{samples} samples of a region are too many"))?;
        let mut region = Vec::with_capacity(bins);
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let mut taps = Taps::new();
            for (a, b) in (0..grid[0]).flat_map(|a| (0..grid[1]).map(move |b| (a, b))) {
                let y = y0 + steps[0] * (i as f64 + (a as f64 + 0.5) / grid[0] as f64);
                let x = x0 + steps[1] * (j as f64 + (b as f64 + 0.5) / grid[1] as f64);
                taps.push(match (neighbours(y, height), neighbours(x, width)) {
                    (Some((t, u, v)), Some((l, r, w))) => [
                        (t * width + l, (1.0 - v) * (1.0 - w)),
                        (t * width + r, (1.0 - v) * w),
                        (u * width + l, v * (1.0 - w)),
                        (u * width + r, v * w),
                    ],
                    _ => [(0, 0.0); 4],
                });
            }
            region.push(taps);
        }
        regions.push(region);
    }
    let most = regions.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let wide = if largest { bins * most * 4 } else { bins };
    let total = count.saturating_mul(height * width).saturating_mul(wide);
    ctx.ensure(total <= MAX_COEFFICIENTS && wide > 0, || format!("{total} coefficients are too many, or none"))?;
    let mut matrix = vec![0f32; total];
    for (r, (b, taps)) in regions.iter().enumerate().flat_map(|(r, region)| region.iter().enumerate().map(move |x| (r, x))) {
        ctx.ensure(!taps.is_empty(), || "a region without samples".to_owned())?;
        for k in 0..if largest { most } else { taps.len() } {
            for (n, &(place, weight)) in taps[k.min(taps.len() - 1)].iter().enumerate() {
                let column = if largest { (b * most + k) * 4 + n } else { b };
                let share = if largest { weight } else { weight / taps.len() as f64 };
                matrix[(r * height * width + place) * wide + column] += share as f32;
            }
        }
    }
    let sources = [ctx.input(1)?, ctx.input(2)?];
    let matrix = derived(ctx, vec![count, height * width, wide], matrix, &sources)?;
    let flat = ctx.reshape(x, vec![batch, channels, height * width])?;
    let images = ctx.literal(zktorch_float::Tensor::ints(images));
    let own = ctx.emit(Op::Gather { axis: 0 }, &[flat, images])?;
    let mut y = ctx.emit(Op::MatMul, &[own, matrix])?;
    if largest {
        y = ctx.reshape(y, vec![count, channels, bins, most * 4])?;
        y = ctx.emit(Op::Reduce { function: ReduceFn::Max, axes: vec![3], keepdims: false }, &[y])?;
    }
    Ok(vec![ctx.reshape(y, vec![count, channels, rows, columns])?])
}

/// Convolution whose taps are moved by offsets, which may be computed: samples at the moved taps, times the mask, times the weight.
fn deform_conv(ctx: &mut Ctx<'_>) -> Lowered {
    let (x, weight, offset) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let w = window(ctx, Some(weight))?;
    let (&[n, channels, height, width], &[kh, kw]) = (ctx.shape(x).as_slice(), w.kernel.as_slice()) else {
        return Err(ctx.error("only two spatial axes are supported"));
    };
    let group = group(ctx)?;
    let parts = ctx.sizes(&[ctx.attrs.int("offset_group").unwrap_or(1)], "offset_group")?[0];
    let outputs = ctx.shape(weight)[0];
    let taps = kh * kw;
    let &[batch, given, oh, ow] = ctx.shape(offset).as_slice() else { return Err(ctx.error("offsets should have four axes")) };
    let fits = batch == n
        && parts > 0
        && channels.is_multiple_of(parts)
        && given == parts * taps * 2
        && channels.is_multiple_of(group)
        && outputs.is_multiple_of(group);
    ctx.ensure(fits, || format!("offsets of {given} channels for {parts} groups of {taps} taps"))?;
    let points = oh * ow;
    let offset = ctx.reshape(offset, vec![n, parts, taps, 2, points])?;
    let mut coordinates = Vec::new();
    for (axis, across) in [(0, kw), (1, 1)] {
        let base = (0..taps * points).map(|i| {
            let (tap, point) = (i / points, i % points);
            let (step, at) = if axis == 0 { (point / ow, tap / across) } else { (point % ow, tap % kw) };
            (step * w.strides[axis] + at * w.dilations[axis]) as f32 - w.pads[axis].0 as f32
        });
        let base = ctx.tensor(vec![taps, 1, points], Data::F32(base.collect()))?;
        let base = ctx.literal(base);
        let mut starts = vec![0; 5];
        starts[3] = axis;
        let own = ctx.emit(Op::Slice { starts, sizes: vec![n, parts, taps, 1, points], steps: vec![1; 5] }, &[offset])?;
        let moved = ctx.binary(BinaryFn::Add, own, base)?;
        coordinates.push(ctx.reshape(moved, vec![n, parts, taps * points])?);
    }
    let matrix = weights(ctx, &coordinates, &[height, width])?;
    let flat = ctx.reshape(x, vec![n, parts, channels / parts, height * width])?;
    let mut samples = ctx.emit(Op::MatMul, &[flat, matrix])?;
    if let Some(mask) = ctx.opt(4) {
        let mask = ctx.reshape(mask, vec![n, parts, 1, taps * points])?;
        samples = ctx.binary(BinaryFn::Mul, samples, mask)?;
    }
    let samples = ctx.reshape(samples, vec![n, group, channels / group * taps, points])?;
    let rows = ctx.reshape(weight, vec![group, outputs / group, channels / group * taps])?;
    let mut y = ctx.emit(Op::MatMul, &[rows, samples])?;
    y = ctx.reshape(y, vec![n, outputs, oh, ow])?;
    if let Some(bias) = ctx.opt(3) {
        let bias = ctx.reshape(bias, vec![outputs, 1, 1])?;
        y = ctx.binary(BinaryFn::Add, y, bias)?;
    }
    Ok(vec![y])
}
