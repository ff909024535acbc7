//! Multiplicities: how often each row of each table is looked up.

use super::memory::Memory;
use super::{ExecuteError, index_of};
use crate::relation::{Lookup, Table};
use rayon::prelude::*;

/// Sites per parallel task.
const CHUNK: usize = 1 << 15;

/// Counts every lookup, checks that every looked-up tuple is a row of its table, and fills the multiplicity regions.
pub(crate) fn fill_multiplicities(memory: &mut Memory) -> Result<(), ExecuteError> {
    let program = memory.program;
    let mut counts: Vec<Vec<i64>> = program.tables.iter().map(|t| vec![0; t.len()]).collect();
    for lookup in &program.lookups {
        let table = lookup.table.0 as usize;
        count(memory, lookup, &program.tables[table], &mut counts[table])?;
    }
    for (count, region) in counts.iter().zip(&program.multiplicities) {
        let region = &program.regions[region.0 as usize];
        // The region is empty if the table is not used.
        memory.heap[region.base..region.base + region.len].copy_from_slice(&count[..region.len]);
    }
    Ok(())
}

fn count(memory: &Memory, lookup: &Lookup, table: &Table, total: &mut [i64]) -> Result<(), ExecuteError> {
    let shape: Vec<usize> = lookup.columns[0].shape();
    let columns: Vec<_> = lookup.columns.iter().map(|v| memory.read(v)).collect();
    let lo = match table {
        Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
        Table::Rows { .. } => 0,
    };
    let rows = table.len();
    let content = match table {
        Table::Rows { view, .. } => view.axes[1..].iter().map(|a| a.size).product(),
        _ => 0,
    };
    let sites = columns[0].len();
    let chunks: Vec<usize> = (0..sites).step_by(CHUNK).collect();
    let site = |i: usize| -> Result<usize, ExecuteError> {
        let value = columns[0][i];
        let row = usize::try_from(value as i128 - lo as i128).ok().filter(|&j| j < rows).ok_or_else(|| ExecuteError::OutOfRange {
            node: lookup.name.clone(),
            value: value as i128,
            index: index_of(i, &shape),
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
        match matches {
            true => Ok(row),
            false => Err(ExecuteError::NotInTable { node: lookup.name.clone(), index: index_of(i, &shape), row }),
        }
    };
    let counted = chunks
        .par_iter()
        .try_fold(
            || vec![0i64; rows],
            |mut count, &start| {
                for i in start..(start + CHUNK).min(sites) {
                    count[site(i)?] += 1;
                }
                Ok::<_, ExecuteError>(count)
            },
        )
        .try_reduce_with(|mut a, b| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            Ok(a)
        });
    if let Some(counted) = counted {
        for (t, c) in total.iter_mut().zip(counted?) {
            *t += c;
        }
    }
    Ok(())
}
