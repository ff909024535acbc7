//! Pooling.

use super::conv::{Window, advance};
use super::{ensure, float};
use crate::tensor::volume;
use crate::{Data, EvalError, Tensor};

/// What is computed per window.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The largest element.
    Max,
    /// The mean.
    Average {
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
}

/// Pooling over sliding windows.
pub(crate) fn pool(x: &Tensor, window: &Window<'_>, ceil_mode: bool, kind: Kind) -> Result<Tensor, EvalError> {
    ensure(x.rank() >= 3, || format!("shape {:?} has no spatial axes", x.shape))?;
    let input = &x.shape[2..];
    let spatial = input.len();
    window.check(spatial)?;
    let mut output = window.output(input)?;
    if ceil_mode {
        for a in 0..spatial {
            let padded = input[a] + window.pads[a].0 + window.pads[a].1;
            let mut size = (padded - window.extent(a)).div_ceil(window.strides[a]) + 1;
            // A window that starts in the padding at the end is left out.
            if (size - 1) * window.strides[a] >= input[a] + window.pads[a].0 {
                size -= 1;
            }
            output[a] = size;
        }
    }
    let (in_size, out_size) = (volume(input)?, volume(&output)?);
    let mut shape = x.shape[..2].to_vec();
    shape.extend(&output);
    let mut out = Vec::with_capacity(volume(&shape)?);
    if out_size == 0 || in_size == 0 {
        x.as_f32()?;
        return float(shape, out);
    }
    // The windows are the same in every channel: list their elements once.
    let mut windows: Vec<(Vec<usize>, usize)> = Vec::with_capacity(out_size);
    let mut position = vec![0usize; spatial];
    loop {
        windows.push(elements(&position, window, input));
        if !advance(&mut position, &output) {
            break;
        }
    }
    if let (Data::I64(integers), Kind::Max) = (&x.data, kind) {
        return Tensor::new(shape, super::quant::max_of_windows(integers, in_size, &windows)?);
    }
    for channel in x.as_f32()?.chunks_exact(in_size) {
        for (inside, with_padding) in &windows {
            out.push(match kind {
                Kind::Max => inside.iter().fold(f32::NEG_INFINITY, |m, &i| m.max(channel[i])),
                Kind::Average { count_include_pad } => {
                    let sum: f64 = inside.iter().map(|&i| f64::from(channel[i])).sum();
                    let count = if count_include_pad { *with_padding } else { inside.len() };
                    (sum / count as f64) as f32
                }
            });
        }
    }
    float(shape, out)
}

/// Offsets of the input elements under the window at `position`, and the number of taps inside the padded input.
fn elements(position: &[usize], window: &Window<'_>, input: &[usize]) -> (Vec<usize>, usize) {
    let mut inside = Vec::new();
    let mut with_padding = 0;
    let mut tap = vec![0usize; input.len()];
    loop {
        let mut offset = Some(0usize);
        let mut padded = true;
        for a in 0..input.len() {
            let at = position[a] * window.strides[a] + tap[a] * window.dilations[a];
            padded &= at < input[a] + window.pads[a].0 + window.pads[a].1;
            let at = at.checked_sub(window.pads[a].0).filter(|&p| p < input[a]);
            offset = offset.and_then(|o| Some(o * input[a] + at?));
        }
        inside.extend(offset);
        with_padding += usize::from(padded);
        if !advance(&mut tap, window.kernel) {
            return (inside, with_padding);
        }
    }
}

/// Mean or maximum over all spatial axes.
pub(crate) fn global(x: &Tensor, max: bool) -> Result<Tensor, EvalError> {
    let xs = x.as_f32()?;
    ensure(x.rank() >= 3 && !x.is_empty(), || format!("shape {:?} has no spatial elements", x.shape))?;
    let size: usize = x.shape[2..].iter().product();
    let reduce = |channel: &[f32]| {
        if max {
            channel.iter().copied().fold(f32::NEG_INFINITY, f32::max)
        } else {
            (channel.iter().map(|&v| f64::from(v)).sum::<f64>() / size as f64) as f32
        }
    };
    let mut shape = x.shape.clone();
    shape[2..].fill(1);
    float(shape, xs.chunks_exact(size).map(reduce).collect())
}
