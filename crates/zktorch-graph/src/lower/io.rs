//! Inputs and outputs of the program.

use super::{Lower, LowerError, unsupported};
use crate::blocks;
use crate::model::{Element, IoInfo};
use crate::{QTensor, Visibility};
use zktorch_float::{DType, ValueId};
use zktorch_program::{Source, Step, Term, View};

fn element(dtype: DType) -> Element {
    match dtype {
        DType::F32 => Element::F32,
        DType::I64 => Element::I64,
        DType::Bool => Element::Bool,
    }
}

impl Lower<'_> {
    /// Cells for graph input `i`.
    pub(super) fn input(&mut self, i: usize, id: ValueId, minimum: f64) -> Result<IoInfo, LowerError> {
        let value = self.graph.value(id);
        let (name, shape) = (value.name.clone(), value.shape.clone());
        if shape.contains(&0) {
            return unsupported("an input without elements");
        }
        let format = self.format(id);
        let visibility = self.options.input(i);
        // Widths of hidden inputs are those of a range table.
        let (lo, bits) = match (value.dtype, visibility) {
            (DType::Bool, _) => (0, 1),
            (DType::F32, _) => (-(1i64 << (format.bits - 1)), format.bits),
            (DType::I64, Visibility::Public) => (-(1i64 << 31), 32),
            (DType::I64, _) if minimum >= 0.0 => (0, 16),
            (DType::I64, _) => (-(1i64 << 15), 16),
        };
        let hi = lo + (1i64 << bits) - 1;
        let builder = &mut self.ctx.builder;
        let mut public = None;
        let view = match visibility {
            Visibility::Public => {
                let statement = builder.public(&name, &shape, lo, hi);
                if let Source::Public(p) = statement.source {
                    public = Some(p);
                }
                self.ctx.builder.step(Step::Input { input: i, name: name.clone(), view: statement.clone(), lo, hi });
                let letters: Vec<u8> = (0..shape.len() as u8).collect();
                let terms = vec![Term::linear(1, statement, &letters)];
                self.ctx.builder.assign(&name, &shape, shape.len(), terms, lo, hi)
            }
            Visibility::Private => {
                let view = blocks::checked_cells(&mut self.ctx, &shape, lo, bits);
                self.ctx.builder.step(Step::Input { input: i, name: name.clone(), view: view.clone(), lo, hi });
                blocks::check_range(&mut self.ctx, &name, &view, lo, bits);
                view
            }
            Visibility::Committed => {
                let view = builder.committed_cells(&name, &shape, lo, hi);
                builder.step(Step::Input { input: i, name: name.clone(), view: view.clone(), lo, hi });
                if bits <= self.ctx.tables.value_bits {
                    let table = self.ctx.builder.range_table(lo, bits);
                    self.ctx.builder.lookup(&name, table, vec![view.clone()], shape.len());
                } else {
                    blocks::check_range(&mut self.ctx, &name, &view, lo, bits);
                }
                view
            }
        };
        let q = QTensor { view, scale: format.scale, lo, hi };
        let info = IoInfo {
            name,
            shape,
            element: element(self.graph.value(id).dtype),
            scale: format.scale,
            lo,
            hi,
            visibility,
            public,
            view: q.view.clone(),
        };
        self.values[id.0] = Some(super::Value::Cells(q));
        Ok(info)
    }

    /// Ties graph output `i` to the statement as its visibility demands.
    pub(super) fn output(&mut self, i: usize, id: ValueId) -> Result<IoInfo, LowerError> {
        let q = self.cells(id)?;
        let value = self.graph.value(id);
        let (name, shape, dtype) = (value.name.clone(), value.shape.clone(), value.dtype);
        let visibility = self.options.output(i);
        let letters: Vec<u8> = (0..shape.len() as u8).collect();
        let terms = vec![Term::linear(1, q.view.clone(), &letters)];
        let mut public = None;
        let mut view = q.view.clone();
        let bind = |this: &mut Self, target: &View| {
            this.ctx.builder.assign_into(&format!("output {name}"), &shape, shape.len(), terms.clone(), target, q.lo, q.hi);
        };
        match visibility {
            Visibility::Public => {
                view = self.ctx.builder.public(&name, &shape, q.lo, q.hi);
                if let Source::Public(p) = view.source {
                    public = Some(p);
                }
                bind(self, &view);
            }
            Visibility::Committed => {
                view = self.ctx.builder.committed_cells(&name, &shape, q.lo, q.hi);
                bind(self, &view);
            }
            Visibility::Private => {}
        }
        Ok(IoInfo { name, shape, element: element(dtype), scale: q.scale, lo: q.lo, hi: q.hi, visibility, public, view })
    }
}
