//! Convolutions, by unfolding windows into a matrix.

use super::linear::{accumulate, view};
use super::quant::check_sums;
use super::{ensure, float};
use crate::tensor::volume;
use crate::{Data, EvalError, Tensor};
use ndarray::LinalgScalar;
use std::ops::AddAssign;

/// Sliding window parameters per spatial axis.
pub(crate) struct Window<'a> {
    /// Sizes.
    pub kernel: &'a [usize],
    /// Steps.
    pub strides: &'a [usize],
    /// Distances between taps.
    pub dilations: &'a [usize],
    /// Padding before and after.
    pub pads: &'a [(usize, usize)],
}

impl Window<'_> {
    /// Fails unless all vectors have `spatial` positive entries of a sane size.
    pub(crate) fn check(&self, spatial: usize) -> Result<(), EvalError> {
        let lengths = [self.kernel.len(), self.strides.len(), self.dilations.len(), self.pads.len()];
        let sane = |v: &[usize]| v.iter().all(|&x| (1..1 << 30).contains(&x));
        let valid = lengths.iter().all(|&l| l == spatial)
            && spatial > 0
            && sane(self.kernel)
            && sane(self.strides)
            && sane(self.dilations)
            && self.pads.iter().all(|&(a, b)| a < 1 << 30 && b < 1 << 30);
        ensure(valid, || format!("window parameters do not fit {spatial} spatial axes"))?;
        volume(self.kernel).map(|_| ())
    }

    /// Distance from the first to the last tap, plus one.
    pub(crate) fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// Number of positions per axis over an input of sizes `input`; windows stay inside the padded input.
    pub(crate) fn output(&self, input: &[usize]) -> Result<Vec<usize>, EvalError> {
        (0..input.len())
            .map(|a| {
                let padded = input[a] + self.pads[a].0 + self.pads[a].1;
                ensure(padded >= self.extent(a), || format!("a window of {} is larger than the padded input {padded}", self.extent(a)))?;
                Ok((padded - self.extent(a)) / self.strides[a] + 1)
            })
            .collect()
    }
}

/// Advances `counter` through `shape` in row-major order; false at the end.
pub(crate) fn advance(counter: &mut [usize], shape: &[usize]) -> bool {
    for (c, &s) in counter.iter_mut().zip(shape).rev() {
        *c += 1;
        if *c < s {
            return true;
        }
        *c = 0;
    }
    false
}

/// Calls `visit(column_offset, input_offset, count, stride)` for every stretch along the last axis where kernel tap `tap`
/// meets the input, for one channel. `column_offset` counts output positions and `input_offset` input elements.
fn for_each_stretch(
    tap: &[usize],
    window: &Window<'_>,
    input: &[usize],
    output: &[usize],
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    let last = input.len() - 1;
    let position = |axis: usize, o: usize| -> Option<usize> {
        (o * window.strides[axis] + tap[axis] * window.dilations[axis]).checked_sub(window.pads[axis].0).filter(|&p| p < input[axis])
    };
    // The valid output positions on the last axis form one interval.
    let valid: Vec<usize> = (0..output[last]).filter(|&o| position(last, o).is_some()).collect();
    let (Some(&first), count) = (valid.first(), valid.len()) else { return };
    let start = position(last, first).unwrap_or(0);
    let outer = &output[..last];
    let mut counter = vec![0usize; last];
    let mut row = 0usize;
    loop {
        let mut base = Some(0usize);
        for (axis, &o) in counter.iter().enumerate() {
            base = base.and_then(|b| Some(b * input[axis] + position(axis, o)?));
        }
        if let Some(base) = base {
            visit(row * output[last] + first, base * input[last] + start, count, window.strides[last]);
        }
        row += 1;
        if !advance(&mut counter, outer) {
            return;
        }
    }
}

/// Calls `visit(row, tap)` for each kernel tap in row-major order.
fn for_each_tap(kernel: &[usize], mut visit: impl FnMut(usize, &[usize])) {
    let mut tap = vec![0usize; kernel.len()];
    let mut row = 0;
    loop {
        visit(row, &tap);
        row += 1;
        if !advance(&mut tap, kernel) {
            return;
        }
    }
}

/// Convolution.
pub(crate) fn conv(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, window: &Window<'_>, group: usize) -> Result<Tensor, EvalError> {
    if let (Data::I64(xs), Data::I64(ws)) = (&x.data, &w.data) {
        check_sums(xs, ws, w.shape.iter().skip(1).fold(1, |n: usize, &d| n.saturating_mul(d)))?;
        let b = bias.map(Tensor::as_i64).transpose()?;
        let most = b.into_iter().flatten().map(|v| v.unsigned_abs()).max().unwrap_or(0);
        ensure(most < 1 << 62, || "a bias leaves 62 bits".to_owned())?;
        let (shape, out) = convolve((x, xs), (w, ws), b, window, group)?;
        return Tensor::i64(shape, out);
    }
    let b = bias.map(Tensor::as_f32).transpose()?;
    let (shape, out) = convolve((x, x.as_f32()?), (w, w.as_f32()?), b, window, group)?;
    float(shape, out)
}

/// Shape and elements of a convolution of tensors with the given elements.
fn convolve<T: LinalgScalar + AddAssign>(
    (x, xs): (&Tensor, &[T]),
    (w, ws): (&Tensor, &[T]),
    bias: Option<&[T]>,
    window: &Window<'_>,
    group: usize,
) -> Result<(Vec<usize>, Vec<T>), EvalError> {
    ensure(x.rank() >= 3 && w.rank() == x.rank(), || format!("shapes {:?} and {:?} are no convolution operands", x.shape, w.shape))?;
    let spatial = x.rank() - 2;
    window.check(spatial)?;
    let (n, c, m) = (x.shape[0], x.shape[1], w.shape[0]);
    let fits = group > 0 && w.shape[1].checked_mul(group) == Some(c) && m % group == 0 && w.shape[2..] == *window.kernel;
    ensure(fits, || format!("weight {:?} does not fit input {:?} in {group} groups", w.shape, x.shape))?;
    let input = &x.shape[2..];
    let output = window.output(input)?;
    let (in_size, out_size) = (volume(input)?, volume(&output)?);
    let taps = volume(window.kernel)?;
    let (cg, mg) = (c / group, m / group);
    let mut shape = vec![n, m];
    shape.extend(&output);
    let mut out = vec![T::zero(); volume(&shape)?];
    add_bias(&mut out, bias, m, out_size)?;
    let pointwise = taps == 1 && window.strides.iter().all(|&s| s == 1) && window.pads.iter().all(|&(a, b)| a + b == 0);
    let mut columns = vec![T::zero(); if pointwise { 0 } else { volume(&[cg, taps, out_size])? }];
    for image in 0..n {
        for g in 0..group {
            let channels = &xs[(image * c + g * cg) * in_size..][..cg * in_size];
            if !pointwise {
                columns.fill(T::zero());
                for_each_tap(window.kernel, |row, tap| {
                    for_each_stretch(tap, window, input, &output, |col, from, count, stride| {
                        for ch in 0..cg {
                            let target = &mut columns[(ch * taps + row) * out_size + col..][..count];
                            let source = &channels[ch * in_size + from..];
                            for (t, s) in target.iter_mut().zip(source.iter().step_by(stride)) {
                                *t = *s;
                            }
                        }
                    });
                });
            }
            let kernel = view(&ws[g * mg * cg * taps..][..mg * cg * taps], mg, cg * taps)?;
            let matrix = view(if pointwise { channels } else { &columns }, cg * taps, out_size)?;
            accumulate(&kernel, &matrix, &mut out[(image * m + g * mg) * out_size..][..mg * out_size])?;
        }
    }
    Ok((shape, out))
}

fn add_bias<T: LinalgScalar + AddAssign>(out: &mut [T], bias: Option<&[T]>, m: usize, size: usize) -> Result<(), EvalError> {
    let Some(b) = bias else { return Ok(()) };
    ensure(b.len() == m, || format!("a bias of {} elements does not fit {m} channels", b.len()))?;
    if size > 0 {
        for (i, channel) in out.chunks_exact_mut(size).enumerate() {
            channel.iter_mut().for_each(|v| *v += b[i % m]);
        }
    }
    Ok(())
}

/// Transposed convolution.
pub(crate) fn conv_transpose(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    window: &Window<'_>,
    output_padding: &[usize],
    group: usize,
) -> Result<Tensor, EvalError> {
    let (xs, ws) = (x.as_f32()?, w.as_f32()?);
    ensure(x.rank() >= 3 && w.rank() == x.rank(), || format!("shapes {:?} and {:?} are no convolution operands", x.shape, w.shape))?;
    let spatial = x.rank() - 2;
    window.check(spatial)?;
    let (n, c) = (x.shape[0], x.shape[1]);
    let fits = group > 0 && w.shape[0] == c && c % group == 0 && w.shape[2..] == *window.kernel && output_padding.len() == spatial;
    ensure(fits, || format!("weight {:?} does not fit input {:?} in {group} groups", w.shape, x.shape))?;
    let (cg, mg) = (c / group, w.shape[1]);
    let m = volume(&[mg, group])?;
    let input = &x.shape[2..];
    let mut output = Vec::with_capacity(spatial);
    for a in 0..spatial {
        ensure(input[a] > 0 && output_padding[a] < 1 << 30, || format!("input {:?} is empty", x.shape))?;
        let full = (input[a] - 1).saturating_mul(window.strides[a]).saturating_add(window.extent(a));
        let full = full.saturating_add(output_padding[a]);
        let size = full.checked_sub(window.pads[a].0 + window.pads[a].1).filter(|&s| s > 0);
        output.push(size.ok_or_else(|| EvalError::invalid("padding removes the whole output"))?);
    }
    let (in_size, out_size) = (volume(input)?, volume(&output)?);
    let taps = volume(window.kernel)?;
    let mut shape = vec![n, m];
    shape.extend(&output);
    let mut out = vec![0.0f32; volume(&shape)?];
    add_bias(&mut out, bias.map(Tensor::as_f32).transpose()?, m, out_size)?;
    let mut columns = vec![0.0f32; volume(&[mg, taps, in_size])?];
    for image in 0..n {
        for g in 0..group {
            columns.fill(0.0);
            let channels = view(&xs[(image * c + g * cg) * in_size..][..cg * in_size], cg, in_size)?;
            let kernel = view(&ws[g * cg * mg * taps..][..cg * mg * taps], cg, mg * taps)?;
            accumulate(&kernel.reversed_axes(), &channels, &mut columns)?;
            let target = &mut out[(image * m + g * mg) * out_size..][..mg * out_size];
            // The transposed convolution scatters where a convolution from output to input would gather.
            for_each_tap(window.kernel, |row, tap| {
                for_each_stretch(tap, window, &output, input, |col, to, count, stride| {
                    for ch in 0..mg {
                        let source = &columns[(ch * taps + row) * in_size + col..][..count];
                        let cells = target[ch * out_size + to..][..].iter_mut().step_by(stride);
                        for (t, s) in cells.zip(source) {
                            *t += *s;
                        }
                    }
                });
            });
        }
    }
    float(shape, out)
}
