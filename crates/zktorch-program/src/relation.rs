//! The two relations of a program: einsum identities and lookups.

use crate::view::{TableId, View};
use serde::{Deserialize, Serialize};

/// One factor of a term: `letters[d]` names the index that runs over axis `d` of the view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// The window.
    pub view: View,
    /// One letter per axis of the view; no letter twice.
    pub letters: Vec<u8>,
}

/// `coeff · Σ_{contraction letters of this term} Π_f factors[f]`. At most three factors. A term without factors is the constant `coeff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Integer coefficient, `|coeff| < 2^100`.
    pub coeff: i128,
    /// Zero to three factors.
    pub factors: Vec<Factor>,
}

impl Term {
    /// The constant `coeff`.
    pub fn constant(coeff: i128) -> Term {
        Term { coeff, factors: Vec::new() }
    }
    /// `coeff · view[letters]`.
    pub fn linear(coeff: i128, view: View, letters: &[u8]) -> Term {
        Term { coeff, factors: vec![Factor { view, letters: letters.to_vec() }] }
    }
    /// `coeff · a[a_letters] · b[b_letters]`, contracted over letters that are no output letters.
    pub fn product(coeff: i128, a: View, a_letters: &[u8], b: View, b_letters: &[u8]) -> Term {
        Term { coeff, factors: vec![Factor { view: a, letters: a_letters.to_vec() }, Factor { view: b, letters: b_letters.to_vec() }] }
    }
    /// Adds a factor.
    pub fn times(mut self, view: View, letters: &[u8]) -> Term {
        self.factors.push(Factor { view, letters: letters.to_vec() });
        self
    }
}

/// For all values of the output letters `0..outputs`: `Σ_terms coeff · Σ_k Π_f V_f[o, k] = 0` over the integers.
/// Letter `l` runs over `0..sizes[l]`. A term contracts exactly the letters `≥ outputs` that occur in it;
/// an output letter that does not occur in a term broadcasts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the graph node it stems from, for errors and reports.
    pub name: String,
    /// Size of each letter.
    pub sizes: Vec<usize>,
    /// Letters `0..outputs` are output letters.
    pub outputs: usize,
    /// The terms.
    pub terms: Vec<Term>,
}

/// A table that cells are looked up in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// The integers `lo .. lo + 2^bits`; one column. `bits ≤ 16`.
    Range {
        /// Smallest entry.
        lo: i64,
        /// Logarithm of the number of entries.
        bits: u32,
    },
    /// Row `j` is `(lo + j, outputs[0][j], outputs[1][j], …)`; at most 2^16 rows.
    Function {
        /// What it computes, for reports.
        name: String,
        /// First argument.
        lo: i64,
        /// Output columns, all of one length.
        outputs: Vec<Vec<i64>>,
    },
    /// Row `j` is `(j, view[j, ·])`: whole rows of a (usually committed) parameter; gathers and embeddings.
    Rows {
        /// What it holds, for reports.
        name: String,
        /// Axis 0 counts rows, the other axes are the row's content.
        view: View,
    },
}

impl Table {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Table::Range { bits, .. } => 1 << bits,
            Table::Function { outputs, .. } => outputs.first().map_or(0, Vec::len),
            Table::Rows { view, .. } => view.axes.first().map_or(0, |a| a.size),
        }
    }
    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Number of columns, the argument included.
    pub fn columns(&self) -> usize {
        match self {
            Table::Range { .. } => 1,
            Table::Function { outputs, .. } => 1 + outputs.len(),
            Table::Rows { .. } => 2,
        }
    }
    /// Smallest and largest entry of a column (`None` for the content of [`Table::Rows`]).
    pub fn bounds(&self, column: usize) -> Option<(i64, i64)> {
        match self {
            Table::Range { lo, bits } => (column == 0).then_some((*lo, *lo + (1i64 << bits) - 1)),
            Table::Function { lo, outputs, .. } if column == 0 => Some((*lo, *lo + outputs.first()?.len() as i64 - 1)),
            Table::Function { outputs, .. } => {
                let c = outputs.get(column - 1)?;
                Some((*c.iter().min()?, *c.iter().max()?))
            }
            Table::Rows { view, .. } => (column == 0).then_some((0, view.axes.first()?.size as i64 - 1)),
        }
    }
}

/// `(columns[0][i], columns[1][i], …)` is a row of `table` for every index `i`.
/// All columns share the first `index_axes` axes; for [`Table::Rows`] the second column has the row's content as further axes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Name for errors and reports.
    pub name: String,
    /// The table.
    pub table: TableId,
    /// One view per column of the table.
    pub columns: Vec<View>,
    /// Number of leading axes that run over the sites.
    pub index_axes: usize,
}

impl Lookup {
    /// Number of tuples that are looked up, for a lookup of a valid program.
    pub fn sites(&self) -> usize {
        let axes = self.columns.first().map_or(&[][..], |v| &v.axes);
        axes.iter().take(self.index_axes).map(|a| a.size).product()
    }
}
