//! The reference checker: every relation, cell by cell, over the integers. Slow and plain; the oracle of tests.

use crate::program::{Parameters, Program, RegionKind};
use crate::relation::{Identity, Lookup, Table, Term};
use crate::validate::Malformed;
use crate::view::{Source, View};
use crate::witness::Witness;

/// The first relation that a witness violates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The program is not well formed.
    #[error("the program is malformed: {0}")]
    Program(#[from] Malformed),
    /// A vector has a wrong length.
    #[error("{what} has {got} values instead of {expected}")]
    Length {
        /// Which vector.
        what: String,
        /// Length that the program asks for.
        expected: usize,
        /// Length given.
        got: usize,
    },
    /// A parameter or public value is outside its declared bounds.
    #[error("value {value} at {index} of {what} is out of range {lo}..={hi}")]
    Bounds {
        /// Which vector.
        what: String,
        /// Position, row-major.
        index: usize,
        /// The value.
        value: i64,
        /// Smallest admitted value.
        lo: i64,
        /// Largest admitted value.
        hi: i64,
    },
    /// A heap cell outside every region is not 0.
    #[error("heap cell {cell} lies in no region but holds {value}")]
    Padding {
        /// The cell.
        cell: usize,
        /// Its value.
        value: i64,
    },
    /// An identity does not hold.
    #[error("identity {name} is off by {value} at {index:?}")]
    Identity {
        /// Name of the identity.
        name: String,
        /// Output index.
        index: Vec<usize>,
        /// Value of its left side, which should be 0.
        value: i128,
    },
    /// The sums of an identity exceed 127 bits.
    #[error("identity {name} overflows 127 bits at {index:?}")]
    Overflow {
        /// Name of the identity.
        name: String,
        /// Output index.
        index: Vec<usize>,
    },
    /// A looked-up tuple is not in its table.
    #[error("lookup {name}: the cells at site {site} are not in the table, the first is {value}")]
    Lookup {
        /// Name of the lookup.
        name: String,
        /// Row-major number of the site.
        site: usize,
        /// Value of the first column.
        value: i64,
    },
    /// A multiplicity is not the number of lookups.
    #[error("table {table}: row {row} is looked up {expected} times, its multiplicity is {got}")]
    Multiplicity {
        /// The table.
        table: usize,
        /// The row.
        row: usize,
        /// Number of lookups.
        expected: i64,
        /// The multiplicity cell.
        got: i64,
    },
}

struct Reader<'a> {
    program: &'a Program,
    parameters: &'a Parameters,
    witness: &'a Witness,
}

impl Reader<'_> {
    fn cell(&self, view: &View, cell: usize) -> i64 {
        match view.source {
            Source::Region(r) => self.witness.heap[self.program.regions[r.0 as usize].base + cell],
            Source::Params => self.parameters.heap[cell],
            Source::Matrix(m) => self.parameters.matrices[m.0 as usize].view().get(cell),
            Source::Constant(c) => self.program.constants[c.0 as usize].values[cell],
            Source::Public(p) => self.witness.publics[p.0 as usize][cell],
        }
    }

    fn read(&self, view: &View) -> Vec<i64> {
        view.cells().iter().map(|&c| self.cell(view, c)).collect()
    }

    /// Value of a term at an output index; `index` has room for all letters. `None` beyond 127 bits.
    fn term(&self, term: &Term, identity: &Identity, index: &mut [usize]) -> Option<i128> {
        let contracted: Vec<usize> = (identity.outputs..identity.sizes.len())
            .filter(|&l| {
                let mut letters = term.factors.iter().flat_map(|f| &f.letters);
                letters.any(|&used| used as usize == l)
            })
            .collect();
        contracted.iter().for_each(|&l| index[l] = 0);
        let mut sum = 0i128;
        loop {
            let mut product = term.coeff;
            for f in &term.factors {
                let axes = f.letters.iter().zip(&f.view.axes);
                let moved: usize = axes.map(|(&l, a)| index[l as usize] * a.stride).sum();
                let value = self.cell(&f.view, f.view.offset + moved);
                product = product.checked_mul(value as i128)?;
            }
            sum = sum.checked_add(product)?;
            if !advance(index, &contracted, &identity.sizes) {
                return Some(sum);
            }
        }
    }
}

/// Steps to the next combination of the letters, the last one fastest; `false` after the last.
fn advance(index: &mut [usize], letters: &[usize], sizes: &[usize]) -> bool {
    for &l in letters.iter().rev() {
        index[l] += 1;
        if index[l] < sizes[l] {
            return true;
        }
        index[l] = 0;
    }
    false
}

/// Checks every relation of a program by brute force: lengths, bounds of parameters and public values, zero padding, identities, lookups
/// and multiplicities. Takes time proportional to the number of products; meant for tests.
///
/// # Errors
/// The first violated relation, by name and index.
pub fn check(program: &Program, parameters: &Parameters, witness: &Witness) -> Result<(), Violation> {
    program.validate()?;
    check_vectors(program, parameters, witness)?;
    let reader = Reader { program, parameters, witness };
    for identity in &program.identities {
        check_identity(&reader, identity)?;
    }
    let mut counts: Vec<Vec<i64>> = program.tables.iter().map(|t| vec![0; t.len()]).collect();
    for lookup in &program.lookups {
        let table = lookup.table.0 as usize;
        check_lookup(&reader, lookup, &program.tables[table], &mut counts[table])?;
    }
    for (table, (count, region)) in counts.iter().zip(&program.multiplicities).enumerate() {
        let region = &program.regions[region.0 as usize];
        // The region is empty if the table is not used.
        for (row, &expected) in count[..region.len].iter().enumerate() {
            let got = witness.heap[region.base + row];
            if got != expected {
                return Err(Violation::Multiplicity { table, row, expected, got });
            }
        }
    }
    Ok(())
}

fn check_vectors(program: &Program, parameters: &Parameters, witness: &Witness) -> Result<(), Violation> {
    let length = |what: &str, expected: usize, got: usize| match expected == got {
        true => Ok(()),
        false => Err(Violation::Length { what: what.to_string(), expected, got }),
    };
    let bounds =
        |what: &str, values: &mut dyn Iterator<Item = i64>, lo: i64, hi: i64| match values.enumerate().find(|(_, v)| *v < lo || *v > hi) {
            None => Ok(()),
            Some((index, value)) => Err(Violation::Bounds { what: what.to_string(), index, value, lo, hi }),
        };
    length("the heap", program.witness_len(), witness.heap.len())?;
    length("the parameter heap", program.params_len, parameters.heap.len())?;
    length("the list of matrices", program.matrices.len(), parameters.matrices.len())?;
    length("the list of public tensors", program.publics.len(), witness.publics.len())?;
    for b in &program.params {
        let cells = &parameters.heap[b.offset..b.offset + b.len];
        bounds(&b.name, &mut cells.iter().copied(), b.lo, b.hi)?;
    }
    for (m, values) in program.matrices.iter().zip(&parameters.matrices) {
        length(&m.name, m.shape.iter().product(), values.len())?;
        bounds(&m.name, &mut values.view().iter(), m.lo, m.hi)?;
    }
    for (p, values) in program.publics.iter().zip(&witness.publics) {
        length(&p.name, p.shape.iter().product(), values.len())?;
        bounds(&p.name, &mut values.iter().copied(), p.lo, p.hi)?;
    }
    let mut used = vec![false; program.witness_len()];
    for r in &program.regions {
        used[r.base..r.base + r.len].fill(true);
    }
    for (cell, (&value, used)) in witness.heap.iter().zip(used).enumerate() {
        if !used && value != 0 {
            return Err(Violation::Padding { cell, value });
        }
    }
    for r in &program.regions {
        if let RegionKind::Assigned { lo, hi } = r.kind {
            let cells = &witness.heap[r.base..r.base + r.len];
            let what = format!("the region at heap cell {}", r.base);
            bounds(&what, &mut cells.iter().copied(), lo, hi)?;
        }
    }
    Ok(())
}

fn check_identity(reader: &Reader, identity: &Identity) -> Result<(), Violation> {
    let mut index = vec![0usize; identity.sizes.len()];
    let outputs: Vec<usize> = (0..identity.outputs).collect();
    loop {
        let mut value = Some(0i128);
        for t in &identity.terms {
            let term = reader.term(t, identity, &mut index);
            value = value.and_then(|v| v.checked_add(term?));
        }
        let at = || index[..identity.outputs].to_vec();
        match value {
            Some(0) => {}
            Some(value) => {
                return Err(Violation::Identity { name: identity.name.clone(), index: at(), value });
            }
            None => {
                return Err(Violation::Overflow { name: identity.name.clone(), index: at() });
            }
        }
        if !advance(&mut index, &outputs, &identity.sizes) {
            return Ok(());
        }
    }
}

fn check_lookup(reader: &Reader, lookup: &Lookup, table: &Table, count: &mut [i64]) -> Result<(), Violation> {
    let columns: Vec<Vec<i64>> = lookup.columns.iter().map(|v| reader.read(v)).collect();
    let lo = match table {
        Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
        Table::Rows { .. } => 0,
    };
    let content = match table {
        Table::Rows { view, .. } => reader.read(view),
        _ => Vec::new(),
    };
    let width = content.len() / table.len();
    for (site, &value) in columns[0].iter().enumerate() {
        let row = usize::try_from(value as i128 - lo as i128).ok();
        let found = row.filter(|&row| {
            row < table.len()
                && match table {
                    Table::Range { .. } => true,
                    Table::Function { outputs, .. } => (outputs.iter().zip(&columns[1..])).all(|(o, c)| o[row] == c[site]),
                    Table::Rows { .. } => columns[1][site * width..(site + 1) * width] == content[row * width..(row + 1) * width],
                }
        });
        match found {
            Some(row) => count[row] += 1,
            None => {
                return Err(Violation::Lookup { name: lookup.name.clone(), site, value });
            }
        }
    }
    Ok(())
}
