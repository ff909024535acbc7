//! Convolutions and pooling: overlapping windows of a (padded) tensor.

use super::linear::times_real;
use super::{Const, Lower, LowerError, unsupported};
use crate::blocks::{self, Margin};
use crate::{Accumulator, Format, QTensor};
use zktorch_float::{Data, Node, Op, Tensor, ValueId};
use zktorch_program::Axis;

/// The windows of the spatial axes of `q` (`[N, C, spatial…]`, already padded): axes `[N, C, out…, kernel…]`.
fn windows(q: &QTensor, out: &[usize], kernel: &[usize], strides: &[usize], dilations: &[usize]) -> QTensor {
    let mut axes = q.view.axes[..2].to_vec();
    for (d, &size) in out.iter().enumerate() {
        let stride = q.view.axes[d + 2].stride * strides[d];
        axes.push(Axis { size, stride });
    }
    for (d, &size) in kernel.iter().enumerate() {
        let stride = q.view.axes[d + 2].stride * dilations[d];
        axes.push(Axis { size, stride });
    }
    let mut windows = q.clone();
    windows.view.axes = axes;
    windows
}

/// Elements `start, start + step, …` (`size` of them) of one axis of an accumulator.
fn sliced(acc: &Accumulator, axis: usize, start: usize, size: usize, step: usize) -> Accumulator {
    let mut out = acc.clone();
    out.sizes[axis] = size;
    for factor in out.terms.iter_mut().flat_map(|t| &mut t.factors) {
        for (letter, a) in factor.letters.iter().zip(&mut factor.view.axes) {
            if usize::from(*letter) == axis {
                factor.view.offset += start * a.stride;
                *a = Axis { size, stride: a.stride * step };
            }
        }
    }
    out
}

/// Elements that windows reach beyond `before + size + after`: partial windows of `ceil_mode`.
fn overhang(size: usize, pads: (usize, usize), out: usize, k: usize, s: usize, d: usize) -> usize {
    ((out - 1) * s + (k - 1) * d + 1).saturating_sub(size + pads.0 + pads.1)
}

impl Lower<'_> {
    /// Zeros that convolutions and poolings want around a value, if nobody reads it who would rather have it dense.
    pub(super) fn margin(&self, id: ValueId) -> Option<Margin> {
        let shape = self.shape(id);
        let space = shape.get(2..).filter(|s| !s.is_empty() && !self.graph.outputs.contains(&id))?;
        let mut margin = Margin { pads: vec![(0, 0); space.len()], copied: 0 };
        for &reader in &self.consumers[id.0] {
            let node = &self.graph.nodes[reader];
            let pads = match &node.op {
                Op::Conv { pads, .. } | Op::MaxPool { pads, .. } | Op::AveragePool { pads, .. } => pads,
                Op::Binary(_) | Op::Unary(_) => continue,
                _ => return None,
            };
            if pads.iter().any(|p| *p != (0, 0)) {
                let padded: usize = space.iter().zip(pads).map(|(n, (before, after))| n + before + after).product();
                margin.copied += shape[0] * shape[1] * padded;
                for (have, want) in margin.pads.iter_mut().zip(pads) {
                    *have = (have.0.max(want.0), have.1.max(want.1));
                }
            }
        }
        (margin.copied > 0).then_some(margin)
    }

    pub(super) fn convolution(&mut self, node: &Node) -> Result<(), LowerError> {
        let (x, w) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let bias = node.inputs.get(2).copied().flatten();
        let out = node.outputs[0];
        let Some(weight) = self.constant(w) else {
            return unsupported("a convolution kernel that is computed");
        };
        let q = self.cells(x)?;
        let in_shape = q.shape();
        let rank = in_shape.len() - 2;
        let mut halo = vec![(0, 0); 2];
        let mut steps = vec![1; 2];
        // (kernel, strides of the windows, dilations, groups, weight as [g, M/g, C/g, kernel…])
        let (kernel, strides, dilations, group, tensor) = match &node.op {
            Op::Conv { kernel, strides, dilations, pads, group } => {
                halo.extend_from_slice(pads);
                steps.extend(vec![1; rank]);
                let t = regroup(&weight.tensor, *group, false)?;
                (kernel.clone(), strides.clone(), dilations.clone(), *group, t)
            }
            Op::ConvTranspose { kernel, strides, dilations, pads, output_padding, group } => {
                // The same as a convolution of the input spread out by `strides`, with the mirrored kernel.
                for d in 0..rank {
                    let reach = dilations[d] * (kernel[d] - 1);
                    let (Some(before), Some(after)) = (reach.checked_sub(pads[d].0), (reach + output_padding[d]).checked_sub(pads[d].1))
                    else {
                        return unsupported("padding wider than the kernel's reach");
                    };
                    halo.push((before, after));
                }
                steps.extend_from_slice(strides);
                let t = regroup(&weight.tensor, *group, true)?;
                (kernel.clone(), vec![1; rank], dilations.clone(), *group, t)
            }
            _ => return unsupported("not a convolution"),
        };
        let padded = self.embed(&node.name, &q, &halo, &steps, 0);
        let out_shape = self.shape(out).to_vec();
        let spatial = &out_shape[2..];
        let mut win = windows(&padded, spatial, &kernel, &strides, &dilations);
        // Channels as [group, C/group].
        let channels = win.view.axes[1];
        let per_group = in_shape[1] / group;
        win.view.axes[1] = Axis { size: per_group, stride: channels.stride };
        win.view.axes.insert(1, Axis { size: group, stride: channels.stride * per_group });
        let weight = Const { tensor: tensor.into(), ..weight };
        let qw = self.weight_for(&weight, Some(q.scale), self.rescaling_scale(out))?;
        // Letters: n, g, m, spatial…; then c, kernel….
        let maps = out_shape[1] / group;
        let mut sizes = vec![out_shape[0], group, maps];
        sizes.extend_from_slice(spatial);
        let outputs = sizes.len() as u8;
        sizes.push(per_group);
        sizes.extend_from_slice(&kernel);
        let space: Vec<u8> = (3..outputs).collect();
        let inner: Vec<u8> = (outputs + 1..sizes.len() as u8).collect();
        let lx = [&[0, 1, outputs][..], &space, &inner].concat();
        let lw = [&[1, 2, outputs][..], &inner].concat();
        let mut acc = Accumulator::contraction(1, &sizes, outputs as usize, &[(&win, &lx[..]), (&qw, &lw[..])]);
        if let Some(b) = bias {
            let scale = acc.scale;
            let qb = match self.constant(b) {
                Some(c) => self.constant_cells(&c, Some(scale))?,
                None => self.cells(b)?,
            };
            let Some(view) = qb.view.reshape(&[group, maps]) else {
                return unsupported("a bias that is no plain vector");
            };
            let qb = QTensor { view, ..qb };
            let mut linear = Accumulator::zero(&acc.sizes[..acc.outputs], qb.scale);
            linear.push(1, &[(&qb, &[1, 2])]);
            acc = acc.plus(1, linear);
        }
        self.set_acc(node, out, acc)
    }

    pub(super) fn max_pool(&mut self, node: &Node) -> Result<(), LowerError> {
        let Op::MaxPool { kernel, strides, dilations, pads, .. } = &node.op else {
            return unsupported("not a pooling");
        };
        let (q, halo) = self.pooled(node, kernel, strides, dilations, pads)?;
        let out = node.outputs[0];
        let shape = self.shape(out).to_vec();
        // The smallest integer of the format loses against every element.
        let padded = self.embed(&node.name, &q, &halo, &vec![1; halo.len()], q.lo);
        if let Some(y) = self.maximum_by_pairs(node, &padded, &shape[2..])? {
            return self.set_cells(out, y);
        }
        let win = windows(&padded, &shape[2..], kernel, strides, dilations);
        let y = blocks::reduce_max(&mut self.ctx, &node.name, &win, shape.len())?;
        let y = self.reshaped(&node.name, y, &shape)?;
        self.set_cells(out, y)
    }

    /// The maximum over windows of a tensor without negative elements, one axis after the other, by `max(a, b) = a + max(b - a, 0)` with the
    /// table of rectified layers: `2·(k - 1)` cells and `k - 1` lookups for `k` elements, where distances to the maximum take `2·k` and `k`. Nothing
    /// if differences leave the table, or if the program does without it.
    fn maximum_by_pairs(&mut self, node: &Node, x: &QTensor, out: &[usize]) -> Result<Option<QTensor>, LowerError> {
        let Op::MaxPool { kernel, strides, dilations, .. } = &node.op else {
            return unsupported("not a pooling");
        };
        let limb = self.ctx.tables.limb_bits;
        let bits = i64::BITS - x.hi.leading_zeros();
        let format = Format { scale: x.scale, bits: (bits + 1).max(2) };
        let rare = self.ctx.tables.avoids(&blocks::label("Relu", format, format));
        if x.lo != 0 || format.bits > 16 || limb < bits || rare {
            return Ok(None);
        }
        let mut best = Accumulator::of(x);
        for d in 0..out.len() {
            let rows = best;
            let part = |j: usize| sliced(&rows, d + 2, j * dilations[d], out[d], strides[d]);
            best = part(0);
            for j in 1..kernel[d] {
                let gap = part(j).plus(-1, best.clone());
                let more = blocks::unary(&mut self.ctx, &node.name, &gap, format, &|v| v.max(0.0), "Relu", format)?;
                best = best.plus(1, Accumulator::of(&more));
            }
        }
        // Sums of bounds say less than is true of a maximum: it gets a range of its own.
        let margin = self.margin(node.outputs[0]);
        Ok(Some(self.ctx.surrounding(margin, |ctx| blocks::bounded(ctx, &node.name, &best, limb))?))
    }

    /// What a pooling runs over: its operand, and by how much that is surrounded along each axis.
    fn pooled(
        &mut self,
        node: &Node,
        kernel: &[usize],
        strides: &[usize],
        dilations: &[usize],
        pads: &[(usize, usize)],
    ) -> Result<(QTensor, Vec<(usize, usize)>), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let (from, out) = (q.shape(), self.shape(node.outputs[0]));
        let mut halo = vec![(0, 0); 2];
        for d in 0..kernel.len() {
            let more = overhang(from[d + 2], pads[d], out[d + 2], kernel[d], strides[d], dilations[d]);
            halo.push((pads[d].0, pads[d].1 + more));
        }
        Ok((q, halo))
    }

    pub(super) fn average_pool(&mut self, node: &Node) -> Result<(), LowerError> {
        let Op::AveragePool { kernel, strides, dilations, pads, .. } = &node.op else {
            return unsupported("not a pooling");
        };
        let (q, halo) = self.pooled(node, kernel, strides, dilations, pads)?;
        let out = node.outputs[0];
        let shape = self.shape(out).to_vec();
        let padded = self.embed(&node.name, &q, &halo, &vec![1; halo.len()], 0);
        let win = windows(&padded, &shape[2..], kernel, strides, dilations);
        let outputs = shape.len();
        let mut sizes = shape.clone();
        sizes.extend_from_slice(kernel);
        let letters: Vec<u8> = (0..sizes.len() as u8).collect();
        // The divisors: the pooling of all ones tells how much of each window counts.
        let spatial = &q.shape()[2..];
        let from = [&[1, 1], spatial].concat();
        let n = from.iter().product();
        let ones = Tensor::f32(from, vec![1.0; n])?;
        let share = zktorch_float::eval_op(&node.op, &[Some(&ones)])?;
        let full: usize = kernel.iter().product();
        let plain = |v: &f32| *v == 1.0;
        let Some(Data::F32(share)) = share.into_iter().next().map(|t| t.data) else {
            return unsupported("pooling of something that is no float");
        };
        let divisors = self.divisors(node, &share, spatial, &shape[2..])?;
        let uniform = divisors.iter().all(|d| *d == full as f64);
        let acc = if uniform || (share.iter().all(plain) && full == 1) {
            let acc = Accumulator::contraction(1, &sizes, outputs, &[(&win, &letters)]);
            times_real(acc, 1.0 / full as f64)
        } else {
            let inverse = divisors.iter().map(|d| (1.0 / d) as f32).collect();
            let c = Const {
                name: format!("{}/divisors", node.name),
                tensor: Tensor::f32(shape[2..].to_vec(), inverse)?.into(),
                weights: false,
            };
            let qc = self.constant_cells(&c, Some(14))?;
            let space: Vec<u8> = (2..outputs as u8).collect();
            Accumulator::contraction(1, &sizes, outputs, &[(&win, &letters), (&qc, &space)])
        };
        self.set_acc(node, out, acc)
    }

    /// Divisor of every window. `share` is the pooling of all ones: (elements of the window inside the tensor) / divisor.
    fn divisors(&self, node: &Node, share: &[f32], from: &[usize], to: &[usize]) -> Result<Vec<f64>, LowerError> {
        let Op::AveragePool { kernel, strides, dilations, pads, .. } = &node.op else {
            return unsupported("not a pooling");
        };
        let mut divisors = Vec::with_capacity(share.len());
        for (i, s) in share.iter().enumerate() {
            let mut rest = i;
            let mut inside = 1;
            for d in (0..to.len()).rev() {
                let o = rest % to[d];
                rest /= to[d];
                inside *= (0..kernel[d])
                    .filter(|k| {
                        let at = o * strides[d] + k * dilations[d];
                        at >= pads[d].0 && at < pads[d].0 + from[d]
                    })
                    .count();
            }
            if inside == 0 || *s <= 0.0 {
                return unsupported("a window without any element");
            }
            divisors.push(libm::round(inside as f64 / f64::from(*s)));
        }
        Ok(divisors)
    }
}

/// Kernel `[M, C/g, k…]` as `[g, M/g, C/g, k…]`; with `transposed` from `[C, M/g, k…]`, mirrored along all kernel axes.
fn regroup(t: &Tensor, group: usize, transposed: bool) -> Result<Tensor, LowerError> {
    let kernel = &t.shape[2..];
    if !transposed {
        let shape = [&[group, t.shape[0] / group, t.shape[1]], kernel].concat();
        return Ok(t.reshaped(shape)?);
    }
    let (c, m) = (t.shape[0] / group, t.shape[1]);
    let size: usize = kernel.iter().product();
    let values = t.as_f32()?;
    let mut out = Vec::with_capacity(values.len());
    for g in 0..group {
        for j in 0..m {
            for i in 0..c {
                let base = ((g * c + i) * m + j) * size;
                // Mirroring every axis reverses the row-major order.
                out.extend(values[base..base + size].iter().rev());
            }
        }
    }
    let shape = [&[group, m, c], kernel].concat();
    Ok(Tensor::f32(shape, out)?)
}
