//! Operators that move elements: other views of the same cells where strides allow it, copies elsewhere.

use super::linear::{permute_acc, squeeze_letters};
use super::{Lower, LowerError, Value, unsupported};
use crate::{Accumulator, QTensor};
use zktorch_float::{DType, Data, Node, Op, Tensor, ValueId, eval_op};
use zktorch_program::{Axis, Part, Source, Term, View};

/// The view of the given shape whose cells are `cells` in row-major order, if there is one.
fn affine(source: Source, cells: &[usize], shape: &[usize]) -> Option<View> {
    let offset = *cells.first()?;
    let mut axes = vec![Axis { size: 1, stride: 0 }; shape.len()];
    let mut pitch = 1;
    for (axis, &size) in axes.iter_mut().zip(shape).rev() {
        axis.size = size;
        if size > 1 {
            axis.stride = cells[pitch].checked_sub(offset)?;
        }
        pitch *= size;
    }
    let view = View { source, offset, axes };
    let mut i = 0;
    let mut same = true;
    view.for_each(|c| {
        same &= cells[i] == c;
        i += 1;
    });
    same.then_some(view)
}

/// `seq[i] - seq[0]` as nested strides, outermost first: several axes whose sizes multiply to the length.
fn nested(seq: &[usize]) -> Option<Vec<Axis>> {
    let n = seq.len();
    if n == 1 {
        return Some(Vec::new());
    }
    // The longest prefix with one stride is the innermost axis, or a multiple of it.
    let stride = seq[1].checked_sub(seq[0])?;
    let run = (1..n).find(|&i| seq[i].checked_sub(seq[i - 1]) != Some(stride)).unwrap_or(n);
    let size = (2..=run).rev().find(|f| n.is_multiple_of(*f))?;
    let inner = |i: usize| seq[i] == seq[i - i % size] + (i % size) * stride;
    if !(0..n).all(inner) {
        return None;
    }
    let outer: Vec<usize> = seq.iter().step_by(size).copied().collect();
    let mut axes = nested(&outer)?;
    axes.push(Axis { size, stride });
    Some(axes)
}

/// A view with the given cells in row-major order whose axes refine those of `shape`.
fn refined(source: Source, cells: &[usize], shape: &[usize]) -> Option<View> {
    let mut axes = Vec::new();
    let mut pitch = cells.len();
    for &size in shape {
        pitch /= size;
        let seq: Vec<usize> = (0..size).map(|i| cells[i * pitch]).collect();
        axes.extend(nested(&seq)?);
    }
    let sizes: Vec<usize> = axes.iter().map(|a| a.size).collect();
    affine(source, cells, &sizes)
}

/// Splits the cells into blocks along the outermost axes, each of which is a view. `f(start, view)` gets the row-major position of the
/// block's first element.
fn blocks_of(source: Source, cells: &[usize], shape: &[usize], position: usize, f: &mut dyn FnMut(usize, View)) {
    if let Some(view) = refined(source, cells, shape) {
        f(position, view);
        return;
    }
    // Runs along the first axis: all that is left, or the longest power of two that is a view.
    let inner: usize = shape[1..].iter().product();
    let mut from = 0;
    while from < shape[0] {
        let left = shape[0] - from;
        let halves = std::iter::successors(Some(left.next_power_of_two() / 2), |s| Some(s / 2));
        let run = std::iter::once(left).chain(halves.take_while(|s| *s > 0)).find_map(|len| {
            let mut part = shape.to_vec();
            part[0] = len;
            refined(source, &cells[from * inner..(from + len) * inner], &part).map(|v| (len, v))
        });
        match run {
            Some((len, view)) => {
                f(position + from * inner, view);
                from += len;
            }
            None => {
                // Not even one index of this axis is a view: go deeper.
                let sub = &cells[from * inner..(from + 1) * inner];
                blocks_of(source, sub, &shape[1..], position + from * inner, f);
                from += 1;
            }
        }
    }
}

impl Lower<'_> {
    /// Row-major source positions of the elements of each result of a movement of a tensor of shape `from`.
    fn positions(&self, node: &Node, from: &[usize]) -> Result<Vec<Tensor>, LowerError> {
        let n: usize = from.iter().product();
        let index = Tensor::i64(from.to_vec(), (0..n as i64).collect())?;
        let mut constants = Vec::new();
        for id in node.inputs.iter().skip(1) {
            match id {
                None => constants.push(None),
                Some(id) => match self.constant(*id) {
                    Some(c) => constants.push(Some(c.tensor)),
                    None => return unsupported("positions that depend on the input"),
                },
            }
        }
        let mut operands = vec![Some(&index)];
        operands.extend(constants.iter().map(|c| c.as_deref()));
        match eval_op(&node.op, &operands) {
            Ok(t) => Ok(t),
            Err(_) if n < 1 << 24 => {
                let index = Tensor::f32(from.to_vec(), (0..n).map(|i| i as f32).collect())?;
                operands[0] = Some(&index);
                Ok(eval_op(&node.op, &operands)?)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn movement(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        if let Some(Value::Acc(p)) = self.values[x.0].clone()
            && node.outputs.len() == 1
            && self.uses[x.0] <= 1
        {
            let out = node.outputs[0];
            let mut p = *p;
            match &node.op {
                Op::Reshape { shape } => {
                    p.shape.clone_from(shape);
                    return self.store_pending(out, p);
                }
                Op::Transpose { perm } => {
                    let acc = if p.acc.shape() == p.shape { Some(p.acc.clone()) } else { squeeze_letters(&p.acc, &p.shape) };
                    if let Some(acc) = acc {
                        p.acc = permute_acc(&acc, perm);
                        p.shape = p.acc.shape().to_vec();
                        return self.store_pending(out, p);
                    }
                }
                _ => {}
            }
        }
        let q = self.cells(x)?;
        if let Some(views) = direct(&node.op, &q) {
            for (&out, view) in node.outputs.iter().zip(views) {
                self.set_cells(out, QTensor { view, ..q.clone() })?;
            }
            return Ok(());
        }
        if let Op::Reshape { shape } = &node.op {
            let q = self.reshaped(&node.name, q, shape)?;
            return self.set_cells(node.outputs[0], q);
        }
        let results = self.positions(node, &q.shape())?;
        for (&out, positions) in node.outputs.iter().zip(results) {
            let moved = self.moved(&node.name, &q, &positions)?;
            self.set_cells(out, moved)?;
        }
        Ok(())
    }

    fn store_pending(&mut self, out: ValueId, p: super::Pending) -> Result<(), LowerError> {
        if self.uses[out.0] > 1 {
            let q = self.materialise(&p, self.margin(out))?;
            return self.set_cells(out, q);
        }
        self.values[out.0] = Some(Value::Acc(Box::new(p)));
        Ok(())
    }

    /// The elements of `q` at row-major `positions`: a view if strides allow it, else a copy.
    pub(super) fn moved(&mut self, node: &str, q: &QTensor, positions: &Tensor) -> Result<QTensor, LowerError> {
        let own = q.view.cells();
        let at = |i: f64| -> Result<usize, LowerError> {
            match own.get(i as usize) {
                Some(&c) if i >= 0.0 => Ok(c),
                _ => unsupported(format!("position {i} outside the tensor")),
            }
        };
        let cells: Vec<usize> = match &positions.data {
            Data::I64(v) => v.iter().map(|&i| at(i as f64)).collect::<Result<_, _>>()?,
            Data::F32(v) => v.iter().map(|&i| at(f64::from(i))).collect::<Result<_, _>>()?,
            Data::Bool(_) => return unsupported("boolean positions"),
        };
        let shape = &positions.shape;
        if let Some(view) = affine(q.view.source, &cells, shape) {
            return Ok(QTensor { view, ..q.clone() });
        }
        let target = self.ctx.builder.assigned_cells(shape, q.lo, q.hi);
        let mut parts = Vec::new();
        blocks_of(q.view.source, &cells, shape, 0, &mut |start, view| {
            parts.push((start, view));
        });
        for (start, view) in parts {
            let part = View::dense(target.source, target.offset + start, &view.shape());
            let sizes = view.shape();
            let letters: Vec<u8> = (0..sizes.len() as u8).collect();
            let terms = vec![Term::linear(1, view, &letters)];
            self.ctx.builder.assign_into(node, &sizes, sizes.len(), terms, &part, q.lo, q.hi);
        }
        Ok(QTensor { view: target, ..q.clone() })
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let out = node.outputs[0];
        let format = self.format(out);
        let ids: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        // Parts that have one scale already keep it.
        let mut common = None;
        let mut equal = true;
        for &id in &ids {
            if let Some(Value::Cells(q)) = &self.values[id.0] {
                equal &= common.is_none_or(|s| s == q.scale);
                common = Some(q.scale);
            }
        }
        let scale = match common {
            Some(s) if equal && s <= format.scale => s,
            _ => format.scale,
        };
        let target_format = crate::Format { scale, ..format };
        if common.is_none()
            && let Some(q) = self.joined(node, axis, &ids, target_format)?
        {
            return self.set_cells(out, q);
        }
        let mut parts: Vec<Accumulator> = Vec::new();
        for &id in &ids {
            if self.shape(id).contains(&0) {
                continue;
            }
            let acc = self.accumulator(id, scale)?;
            parts.push(if acc.scale <= scale {
                acc.rescaled(scale)
            } else {
                let q = crate::blocks::requantize(&mut self.ctx, &node.name, &acc, target_format)?;
                Accumulator::of(&q).rescaled(scale)
            });
        }
        let lo = parts.iter().map(|p| p.lo).min().unwrap_or(0);
        let hi = parts.iter().map(|p| p.hi).max().unwrap_or(0);
        let (Ok(lo), Ok(hi)) = (i64::try_from(lo), i64::try_from(hi)) else {
            return unsupported("parts of 64 bits and more");
        };
        let shape = self.shape(out).to_vec();
        let view = self.ctx.builder.assigned_cells(&shape, lo, hi);
        let mut start = 0;
        for p in parts {
            let len = p.sizes[axis];
            let target = view.slice(axis, start, len, 1);
            start += len;
            self.ctx.builder.assign_into(&node.name, &p.sizes, p.outputs, p.terms, &target, lo, hi);
        }
        self.set_cells(out, QTensor { view, scale, lo, hi })
    }

    /// Concatenation of accumulators that all need the same kind of rescaling: each writes into its part of one range-checked tensor.
    fn joined(&mut self, node: &Node, axis: usize, ids: &[ValueId], format: crate::Format) -> Result<Option<QTensor>, LowerError> {
        let fits = |this: &Self, id: &ValueId| match &this.values[id.0] {
            Some(Value::Acc(p)) => {
                (1..=64).contains(&(p.acc.scale - format.scale))
                    && this.uses[id.0] <= 1
                    && (p.acc.shape() == p.shape || squeeze_letters(&p.acc, &p.shape).is_some())
            }
            _ => false,
        };
        if format.bits > self.ctx.tables.value_bits || !ids.iter().all(|id| fits(self, id)) {
            return Ok(None);
        }
        let shape = self.shape(node.outputs[0]).to_vec();
        let (lo, hi) = (format.lo(), format.hi());
        let table = self.ctx.builder.range_table(lo, format.bits);
        let whole = self.ctx.builder.column_cells(table, &shape).swap_remove(0);
        let mut start = 0;
        for &id in ids {
            let acc = self.accumulator(id, format.scale)?;
            let mut acc = self.with_common_remainder(acc, format.scale);
            let shift = (acc.scale - format.scale) as u32;
            acc.add_constant(1 << (shift - 1));
            if acc.lo.unsigned_abs().max(acc.hi.unsigned_abs()) >= 1 << 118 {
                return unsupported("sums of more than 118 bits");
            }
            let len = acc.sizes[axis];
            let part = whole.slice(axis, start, len, 1);
            start += len;
            let mut parts = vec![Part { weight: 1 << shift, lo, bits: format.bits }];
            let mut views = vec![part];
            let limbs = self.ctx.limbs(shift);
            views.extend(self.ctx.builder.digit_cells(&node.name, acc.shape(), &limbs));
            parts.extend(limbs);
            self.ctx.builder.decompose_into(&node.name, &acc.sizes, acc.outputs, acc.terms, &parts, &views);
        }
        Ok(Some(QTensor { view: whole, scale: format.scale, lo, hi }))
    }

    pub(super) fn pad(&mut self, node: &Node, pads: &[(usize, usize)], value: f32) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let q = self.cells(x)?;
        let fill = libm::floor(f64::from(value) * libm::exp2(f64::from(q.scale)) + 0.5) as i64;
        let steps = vec![1; pads.len()];
        let q = self.embed(&node.name, &q, pads, &steps, fill);
        self.set_cells(node.outputs[0], q)
    }

    /// `q` in a larger tensor, as a view where its zeros exist already, else as a copy: axis `d` begins with `pads[d].0` cells, then elements at distance `steps[d]`, then `pads[d].1` cells;
    /// all other cells are `fill`, each forced by an identity.
    pub(super) fn embed(&mut self, node: &str, q: &QTensor, pads: &[(usize, usize)], steps: &[usize], fill: i64) -> QTensor {
        if pads.iter().all(|p| *p == (0, 0)) && steps.iter().all(|s| *s == 1) {
            return q.clone();
        }
        if fill == 0
            && steps.iter().all(|s| *s == 1)
            && let Some(q) = self.ctx.with_margin(q, pads)
        {
            return q;
        }
        let from = q.shape();
        let shape: Vec<usize> =
            from.iter().zip(pads.iter().zip(steps)).map(|(&n, (&(before, after), &s))| before + (n - 1) * s + 1 + after).collect();
        let (lo, hi) = (q.lo.min(fill), q.hi.max(fill));
        let builder = &mut self.ctx.builder;
        let whole = builder.assigned_cells(&shape, lo, hi);
        let constant = if fill == 0 { Vec::new() } else { vec![Term::constant(i128::from(fill))] };
        // Axes before the current one run over the elements' positions, axes behind it over everything.
        let mut grid = whole.clone();
        for d in 0..shape.len() {
            let ((before, after), step) = (pads[d], steps[d]);
            let mut rest: Vec<(usize, usize, usize)> = vec![(0, before, 1), (before + (from[d] - 1) * step + 1, after, 1)];
            rest.extend((1..step).map(|phase| (before + phase, from[d] - 1, step)));
            for (start, count, stride) in rest.into_iter().filter(|r| r.1 > 0) {
                let view = grid.slice(d, start, count, stride);
                let sizes = view.shape();
                builder.assign_into(node, &sizes, sizes.len(), constant.clone(), &view, fill.min(0), fill.max(0));
            }
            grid = grid.slice(d, before, from[d], step);
        }
        let acc = Accumulator::of(q);
        builder.assign_into(node, &acc.sizes, acc.outputs, acc.terms, &grid, q.lo, q.hi);
        QTensor { view: whole, scale: q.scale, lo, hi }
    }

    pub(super) fn position(&mut self, node: &Node, size: usize) -> Result<(), LowerError> {
        let index = self.operand(node, 0)?;
        let index = self.cells(index)?;
        let q = crate::blocks::position(&mut self.ctx, &node.name, &index, size)?;
        self.set_cells(node.outputs[0], q)
    }

    /// Rows of a constant at computed indices, which may count from the end where they are not given from outside.
    pub(super) fn gather(&mut self, node: &Node, axis: usize) -> Result<(), LowerError> {
        let (x, index) = (self.operand(node, 0)?, self.operand(node, 1)?);
        if self.constant(index).is_some() {
            return self.movement(node);
        }
        let out = node.outputs[0];
        if self.graph.value(index).dtype != DType::I64 {
            return unsupported("indices that are no integers");
        }
        let table = match self.constant(x) {
            Some(c) => {
                let scale = (c.tensor.dtype() != DType::F32).then_some(0);
                self.constant_cells(&c, scale)?
            }
            None => return unsupported("computed indices into a computed tensor"),
        };
        if axis != 0 {
            return unsupported(format!("computed indices on axis {axis}, only axis 0"));
        }
        let given = self.is_given(index);
        let mut index = self.cells(index)?;
        if index.lo < 0 && !given {
            let rows = self.shape(x).first().copied().unwrap_or(0);
            index = crate::blocks::position(&mut self.ctx, &node.name, &index, rows)?;
        }
        let q = crate::blocks::gather_rows(&mut self.ctx, &node.name, &index, &table)?;
        let shape = self.shape(out).to_vec();
        let q = self.reshaped(&node.name, q, &shape)?;
        self.set_cells(out, q)
    }
}

/// Movements that are views of any tensor, without looking at positions.
fn direct(op: &Op, q: &QTensor) -> Option<Vec<View>> {
    let v = &q.view;
    match op {
        Op::Reshape { shape } => v.reshape(shape).map(|v| vec![v]),
        Op::Transpose { perm } => Some(vec![v.permute(perm)]),
        Op::Slice { starts, sizes, steps } => {
            let mut view = v.clone();
            for d in 0..sizes.len() {
                let step = match usize::try_from(steps[d]) {
                    Ok(s) => s,
                    Err(_) if sizes[d] == 1 => 1,
                    Err(_) => return None,
                };
                view = view.slice(d, starts[d], sizes[d], step);
            }
            Some(vec![view])
        }
        Op::Split { axis, sizes } => {
            let mut start = 0;
            let mut views = Vec::new();
            for &n in sizes {
                views.push(v.slice(*axis, start, n, 1));
                start += n;
            }
            Some(views)
        }
        Op::Expand { shape } => crate::blocks::broadcast_to("", q, shape).ok().map(|q| vec![q.view]),
        _ => None,
    }
}
