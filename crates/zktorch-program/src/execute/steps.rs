//! What each kind of step computes.

use super::einsum::{Values, evaluate};
use super::memory::Memory;
use super::{ExecuteError, StepFlaw, digits, index_of, level};
use crate::program::Program;
use crate::relation::{Table, Term};
use crate::step::Step;
use crate::view::{Source, TableId, View};
use rayon::prelude::*;

fn readable(program: &Program, view: &View, shape: &[usize]) -> Result<(), StepFlaw> {
    program.check_view(view)?;
    let got = view.shape();
    match got == shape {
        true => Ok(()),
        false => Err(StepFlaw::Shape { expected: shape.to_vec(), got }),
    }
}

fn writable(program: &Program, view: &View, shape: &[usize]) -> Result<(), StepFlaw> {
    readable(program, view, shape)?;
    match view.source {
        Source::Region(_) | Source::Public(_) => Ok(()),
        _ => Err(StepFlaw::ReadOnly),
    }
}

fn terms_fit(program: &Program, terms: &[Term], sizes: &[usize], outputs: usize) -> Result<(), StepFlaw> {
    program.check_term(&Term::constant(0), sizes, outputs)?;
    terms.iter().try_for_each(|t| program.check_term(t, sizes, outputs))?;
    Ok(())
}

/// Checks that a step can run: views in place, shapes equal, destinations writable.
pub(crate) fn validate(program: &Program, step: &Step) -> Result<(), StepFlaw> {
    match step {
        Step::Input { view, .. } => writable(program, view, &view.shape()),
        Step::Digits { sizes, outputs, terms, digits, .. } => {
            terms_fit(program, terms, sizes, *outputs)?;
            for d in digits {
                if d.weight == 0 || d.weight == i128::MIN {
                    return Err(StepFlaw::Weight);
                }
                writable(program, &d.view, &sizes[..*outputs])?;
            }
            Ok(())
        }
        Step::Apply { table, x, outputs, .. } => {
            readable(program, x, &x.shape())?;
            match program.tables.get(table.0 as usize) {
                Some(Table::Function { outputs: t, .. }) if t.len() == outputs.len() => {
                    outputs.iter().try_for_each(|o| writable(program, o, &x.shape()))
                }
                _ => Err(StepFlaw::Table),
            }
        }
        Step::Max { x, max } => {
            readable(program, x, &x.shape())?;
            let kept = max.axes.len().min(x.axes.len());
            writable(program, max, &x.shape()[..kept])
        }
        Step::Quotient { sizes, outputs, numerator, denominator, quotient, .. } => {
            terms_fit(program, numerator, sizes, *outputs)?;
            readable(program, denominator, &sizes[..*outputs])?;
            writable(program, quotient, &sizes[..*outputs])
        }
        Step::InverseSqrt { shift, .. } if *shift > 60 => Err(StepFlaw::Shift(*shift)),
        Step::InverseSqrt { value, out, .. } | Step::Sqrt { value, out, .. } => {
            readable(program, value, &value.shape())?;
            writable(program, out, &value.shape())
        }
        Step::Gather { table, index, out, .. } => {
            readable(program, index, &index.shape())?;
            let Some(Table::Rows { view, .. }) = program.tables.get(table.0 as usize) else {
                return Err(StepFlaw::Table);
            };
            let mut shape = index.shape();
            shape.extend(&view.shape()[1..]);
            writable(program, out, &shape)
        }
        Step::Level { x, allowed, table, column, out, .. } => {
            readable(program, x, &x.shape())?;
            if let Some(allowed) = allowed {
                readable(program, allowed, &x.shape())?;
            }
            match program.tables.get(table.0 as usize) {
                Some(Table::Function { outputs, lo: 0, .. }) if *column < outputs.len() => {}
                _ => return Err(StepFlaw::Table),
            }
            let kept = out.axes.len().min(x.axes.len());
            writable(program, out, &x.shape()[..kept])
        }
    }
}

/// Runs a valid step.
pub(crate) fn run(memory: &mut Memory, step: &Step, inputs: &[Vec<i64>]) -> Result<(), ExecuteError> {
    match step {
        Step::Input { input, name, view, lo, hi } => {
            let values =
                inputs.get(*input).ok_or_else(|| ExecuteError::MissingInput { input: *input, name: name.clone(), got: inputs.len() })?;
            if values.len() != view.len() {
                return Err(ExecuteError::InputLength { name: name.clone(), expected: view.len(), got: values.len() });
            }
            if let Some(i) = values.iter().position(|v| v < lo || v > hi) {
                let value = values[i] as i128;
                return Err(out_of_range(name, value, i, view, *lo as i128, *hi as i128));
            }
            memory.write(view, values);
            Ok(())
        }
        Step::Digits { node, sizes, outputs, terms, digits } => {
            let values = evaluate(memory, node, sizes, *outputs, terms)?;
            digits::write_digits(memory, node, &sizes[..*outputs], values, digits)
        }
        Step::Apply { node, table, x, outputs } => apply(memory, node, *table, x, outputs),
        Step::Max { x, max } => {
            let values = memory.read(x);
            let reduced = values.len() / max.len();
            let out: Vec<i64> = values.par_chunks(reduced).with_min_len(256).map(|c| c.iter().fold(i64::MIN, |a, &b| a.max(b))).collect();
            memory.write(max, &out);
            Ok(())
        }
        Step::Quotient { node, sizes, outputs, numerator, denominator, quotient, lo, hi } => {
            let values = evaluate(memory, node, sizes, *outputs, numerator)?;
            let wide: Vec<i128> = match values {
                Values::Narrow(v) => v.into_iter().map(i128::from).collect(),
                Values::Wide(v) => v,
            };
            let below = memory.read(denominator);
            let divide = |i: usize| -> Result<i64, ExecuteError> {
                let d = below[i] as i128;
                if d <= 0 {
                    let mut e = out_of_range(node, d, i, quotient, 1, i64::MAX as i128);
                    if let ExecuteError::OutOfRange { what, .. } = &mut e {
                        *what = " (the denominator)".to_string();
                    }
                    return Err(e);
                }
                let q = wide[i].div_euclid(d);
                match i64::try_from(q) {
                    Ok(q) if (*lo..=*hi).contains(&q) => Ok(q),
                    _ => Err(out_of_range(node, q, i, quotient, *lo as i128, *hi as i128)),
                }
            };
            let out = map_indices(wide.len(), divide)?;
            memory.write(quotient, &out);
            Ok(())
        }
        Step::InverseSqrt { node, value, shift, out } => {
            let values = memory.read(value);
            let scale = 1u128 << (2 * shift);
            // t²·v ≤ s holds exactly if t² ≤ floor(s / v): no product beyond 128 bits is needed.
            let f = |i: usize| match values[i] {
                v if v > 0 => Ok((scale / v as u128).isqrt() as i64),
                v => Err(out_of_range(node, v as i128, i, value, 1, i64::MAX as i128)),
            };
            let roots = map_indices(values.len(), f)?;
            memory.write(out, &roots);
            Ok(())
        }
        Step::Sqrt { node, value, out } => {
            let values = memory.read(value);
            let f = |i: usize| match u64::try_from(values[i]) {
                Ok(v) => Ok(v.isqrt() as i64),
                Err(_) => Err(out_of_range(node, values[i] as i128, i, value, 0, i64::MAX as i128)),
            };
            let roots = map_indices(values.len(), f)?;
            memory.write(out, &roots);
            Ok(())
        }
        Step::Gather { node, table, index, out } => gather(memory, node, *table, index, out),
        Step::Level { .. } => level::run(memory, step),
    }
}

pub(super) fn out_of_range(node: &str, value: i128, at: usize, view: &View, lo: i128, hi: i128) -> ExecuteError {
    ExecuteError::OutOfRange { node: node.to_string(), value, index: index_of(at, &view.shape()), lo, hi, what: String::new() }
}

pub(super) fn map_indices(n: usize, f: impl Fn(usize) -> Result<i64, ExecuteError> + Sync + Send) -> Result<Vec<i64>, ExecuteError> {
    const CHUNK: usize = 1024;
    let mut out = vec![0; n];
    out.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, out)| {
        out.iter_mut().enumerate().try_for_each(|(j, out)| {
            *out = f(chunk * CHUNK + j)?;
            Ok::<_, ExecuteError>(())
        })
    })?;
    Ok(out)
}

fn apply(memory: &mut Memory, node: &str, table: TableId, x: &View, outputs: &[View]) -> Result<(), ExecuteError> {
    let program = memory.program;
    let Table::Function { lo, outputs: rows, .. } = &program.tables[table.0 as usize] else { unreachable!("the step's table was checked") };
    let len = rows.first().map_or(0, Vec::len);
    let values = memory.read(x);
    let row = |i: usize| -> Result<i64, ExecuteError> {
        let j = values[i] as i128 - *lo as i128;
        match (0..len as i128).contains(&j) {
            true => Ok(j as i64),
            false => {
                let hi = *lo as i128 + len as i128 - 1;
                Err(out_of_range(node, values[i] as i128, i, x, *lo as i128, hi))
            }
        }
    };
    let found = map_indices(values.len(), row)?;
    for (column, view) in rows.iter().zip(outputs) {
        let out: Vec<i64> = (found.par_iter().with_min_len(1024)).map(|&j| column[j as usize]).collect();
        memory.write(view, &out);
    }
    Ok(())
}

fn gather(memory: &mut Memory, node: &str, table: TableId, index: &View, out: &View) -> Result<(), ExecuteError> {
    let program = memory.program;
    let Table::Rows { view, .. } = &program.tables[table.0 as usize] else { unreachable!("the step's table was checked") };
    let rows = view.axes[0].size;
    let width = view.len() / rows;
    let index_values = memory.read(index);
    let mut values = Vec::with_capacity(index_values.len() * width);
    for (i, &row) in index_values.iter().enumerate() {
        let Some(row) = usize::try_from(row).ok().filter(|&r| r < rows) else {
            let hi = rows as i128 - 1;
            return Err(out_of_range(node, row as i128, i, index, 0, hi));
        };
        // Only the rows asked for are read: the table may be a large embedding.
        values.extend_from_slice(&memory.read(&view.at(0, row)));
    }
    memory.write(out, &values);
    Ok(())
}
