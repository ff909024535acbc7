//! Table widths that suit how much a model computes.

use crate::CompileError;
use crate::blocks::TablePlan;
use crate::model::CompiledModel;
use std::collections::BTreeMap;
use zktorch_program::{Program, Table};

/// Limbs that are tried, from wide to narrow.
const LIMBS: [u32; 8] = [13, 12, 10, 8, 7, 6, 5, 4];
/// A value in limbs is tried where a program has fewer than this many cells per table row.
const CELLS_PER_ROW: usize = 16;

/// The cheapest of the plans for activations of `bits` bits, with its model. `near` is a plan that suits the same graph with other widths:
/// then only limbs of about its width are tried.
///
/// # Errors
/// Those of `build`.
pub(crate) fn cheapest(
    bits: u32,
    near: Option<&TablePlan>,
    build: impl Fn(&TablePlan) -> Result<CompiledModel, CompileError>,
) -> Result<(CompiledModel, TablePlan), CompileError> {
    let whole = TablePlan::of_width(bits);
    let model = build(&whole)?;
    if model.report.table_rows * CELLS_PER_ROW < model.report.cells {
        return Ok((model, whole));
    }
    let usage = usage(&model.built.program);
    let widest = whole.limb_bits;
    let mut best = (model, whole);
    let rare = |limb: u32| {
        let avoided = usage.iter().filter(|(_, u)| u.is_rare(limb)).map(|(name, _)| name.clone()).collect();
        std::sync::Arc::new(avoided)
    };
    let consider = |best: &mut (CompiledModel, TablePlan), limb_bits, value_bits| -> Result<bool, CompileError> {
        let plan = TablePlan { limb_bits, value_bits, avoided: rare(limb_bits) };
        if plan == best.1 {
            return Ok(false);
        }
        let model = build(&plan)?;
        let better = model.report.cost() < best.0.report.cost();
        if better {
            *best = (model, plan);
        }
        Ok(better)
    };
    consider(&mut best, widest, 16)?;
    // The cost falls and then rises again, but not without bumps.
    let mut misses = 0;
    let close = |limb: u32| near.is_none_or(|p| p.limb_bits.abs_diff(limb) <= 1);
    for limb in LIMBS.into_iter().filter(|&l| l < widest && close(l)) {
        misses = if consider(&mut best, limb, limb)? { 0 } else { misses + 1 };
        if misses == 2 {
            break;
        }
    }
    let limb = best.1.limb_bits;
    if best.1.value_bits < 16 {
        consider(&mut best, limb, 16)?;
    }
    Ok(best)
}

/// Rows and lookups of the function tables of one name.
#[derive(Default)]
struct Usage {
    rows: usize,
    lookups: usize,
}

impl Usage {
    /// Whether limbs instead of the table are cheaper: a limb costs 9 with its lookup and about 3 with its place in a product, a row 6.
    fn is_rare(&self, limb_bits: u32) -> bool {
        self.lookups * 2 * 15usize.div_ceil(limb_bits as usize) < self.rows
    }
}

fn usage(program: &Program) -> BTreeMap<String, Usage> {
    let mut all: BTreeMap<String, Usage> = BTreeMap::new();
    for (t, table) in program.tables.iter().enumerate() {
        if let Table::Function { name, .. } = table {
            let usage = all.entry(name.clone()).or_default();
            usage.rows += table.len();
            usage.lookups += program.lookups.iter().filter(|l| l.table.0 as usize == t).map(|l| l.sites()).sum::<usize>();
        }
    }
    all
}
