//! Multiplicities: how often each row of each table is looked up.

use super::memory::Memory;
use super::{ExecuteError, index_of};
use crate::relation::{Lookup, Table};
use crate::view::View;
use rayon::prelude::*;

/// Sites per parallel task, about.
const CHUNK: usize = 1 << 15;

/// Counts every lookup, checks that every looked-up tuple is a row of its table, and fills the multiplicity regions.
pub(crate) fn fill_multiplicities(memory: &mut Memory) -> Result<(), ExecuteError> {
    let program = memory.program;
    for (t, (table, region)) in program.tables.iter().zip(&program.multiplicities).enumerate() {
        let lookups: Vec<&Lookup> = program.lookups.iter().filter(|l| l.table.0 as usize == t).collect();
        let counts = count(memory, &lookups, table)?;
        let region = &program.regions[region.0 as usize];
        // The region is empty if the table is not used.
        memory.heap[region.base..region.base + region.len].copy_from_slice(&counts[..region.len]);
    }
    Ok(())
}

/// Some of a lookup's sites: indices of its first axis that has several.
struct Part<'a> {
    lookup: &'a Lookup,
    axis: usize,
    first: usize,
    count: usize,
}

/// Tasks of about [`CHUNK`] sites.
fn parts<'a>(lookups: &[&'a Lookup]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for &lookup in lookups {
        let view = &lookup.columns[0];
        let axis = view.axes.iter().position(|a| a.size > 1).unwrap_or(0);
        let outer = view.axes.get(axis).map_or(1, |a| a.size);
        let step = (CHUNK * outer / view.len().max(1)).max(1);
        parts.extend((0..outer).step_by(step).map(|first| Part { lookup, axis, first, count: step.min(outer - first) }));
    }
    parts
}

fn count(memory: &Memory, lookups: &[&Lookup], table: &Table) -> Result<Vec<i64>, ExecuteError> {
    let parts = parts(lookups);
    let counted = parts.par_iter().try_fold(
        || vec![0i64; table.len()],
        |mut counts, part| {
            add(memory, part, table, &mut counts)?;
            Ok::<_, ExecuteError>(counts)
        },
    );
    let sum = counted.try_reduce_with(|mut a, b| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        Ok(a)
    });
    match sum {
        None => Ok(vec![0; table.len()]),
        Some(Ok(counts)) => Ok(counts),
        // The first lookup that fails, whichever was found first.
        Some(Err(error)) => {
            let mut counts = vec![0; table.len()];
            Err(parts.iter().find_map(|part| add(memory, part, table, &mut counts).err()).unwrap_or(error))
        }
    }
}

/// Counts some of a lookup's sites.
fn add(memory: &Memory, part: &Part<'_>, table: &Table, counts: &mut [i64]) -> Result<(), ExecuteError> {
    let Part { lookup, axis, first, count } = *part;
    let views: Vec<View> =
        lookup.columns.iter().map(|v| if lookup.index_axes == 0 { v.clone() } else { v.slice(axis, first, count, 1) }).collect();
    let columns: Vec<_> = views.iter().map(|v| memory.read(v)).collect();
    let lo = match table {
        Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
        Table::Rows { .. } => 0,
    };
    let rows = counts.len();
    let index = |i: usize| {
        let shape = lookup.columns[0].shape();
        index_of(i + first * shape.iter().skip(axis + 1).product::<usize>(), &shape)
    };
    let content = match table {
        Table::Rows { view, .. } => view.axes[1..].iter().map(|a| a.size).product(),
        _ => 0,
    };
    for (i, &value) in columns[0].iter().enumerate() {
        let row = usize::try_from(value as i128 - lo as i128).ok().filter(|&j| j < rows).ok_or_else(|| ExecuteError::OutOfRange {
            node: lookup.name.clone(),
            value: value as i128,
            index: index(i),
            lo: lo as i128,
            hi: lo as i128 + rows as i128 - 1,
            what: String::new(),
        })?;
        let matches = match table {
            Table::Range { .. } => true,
            Table::Function { outputs, .. } => outputs.iter().zip(&columns[1..]).all(|(o, c)| o[row] == c[i]),
            // Only the rows looked up are read: the table may be a large embedding.
            Table::Rows { view, .. } => columns[1][i * content..(i + 1) * content] == *memory.read(&view.at(0, row)),
        };
        if !matches {
            return Err(ExecuteError::NotInTable { node: lookup.name.clone(), index: index(i), row });
        }
        counts[row] += 1;
    }
    Ok(())
}
