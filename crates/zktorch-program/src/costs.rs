//! What each node of a model costs to prove.

use crate::cover::Cover;
use crate::program::{Program, RegionKind};
use crate::validate::Malformed;
use crate::view::{Source, View};
use std::collections::HashMap;

/// Cost of the relations of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCost {
    /// Name of the identities and lookups.
    pub name: String,
    /// Heap cells that these relations are the first to use.
    pub cells: usize,
    /// Tuples that these relations look up, including the range checks of the cells above.
    pub lookups: usize,
    /// Products of two or three factors, summed over all index combinations.
    pub products: u128,
}

/// Attributes cells, lookups and products to the names of identities and lookups, in program order. A cell belongs to the first identity
/// that uses it (or else to its lookup), multiplicities to the entry `multiplicities`; all cells but padding and all lookups are counted once.
///
/// # Errors
/// If the program is not well formed.
pub fn costs(program: &Program) -> Result<Vec<NodeCost>, Malformed> {
    program.validate()?;
    let mut table = Costs { program, covers: vec![Cover::Empty; program.regions.len()], all: Vec::new(), by_name: HashMap::new() };
    for identity in &program.identities {
        let entry = table.entry(&identity.name);
        for term in &identity.terms {
            if term.factors.len() > 1 {
                let mut letters = vec![false; identity.sizes.len()];
                letters[..identity.outputs].fill(true);
                for f in &term.factors {
                    f.letters.iter().for_each(|&l| letters[l as usize] = true);
                }
                let used = identity.sizes.iter().zip(letters).filter(|(_, used)| *used);
                table.all[entry].products += used.map(|(&s, _)| s as u128).product::<u128>();
            }
            for f in &term.factors {
                table.cells(entry, &f.view);
            }
        }
    }
    for lookup in &program.lookups {
        let entry = table.entry(&lookup.name);
        if !table.is_whole_column(&lookup.columns[0], lookup.table.0) {
            let sites = lookup.sites();
            let cost = &mut table.all[entry];
            cost.lookups = cost.lookups.saturating_add(sites);
        }
        for view in &lookup.columns {
            table.cells(entry, view);
        }
    }
    let entry = table.entry("multiplicities");
    for r in &program.regions {
        if matches!(r.kind, RegionKind::Multiplicity { .. }) {
            table.all[entry].cells += r.len;
        }
    }
    let used = |c: &NodeCost| c.cells > 0 || c.lookups > 0 || c.products > 0;
    table.all.retain(used);
    Ok(table.all)
}

struct Costs<'a> {
    program: &'a Program,
    covers: Vec<Cover>,
    all: Vec<NodeCost>,
    by_name: HashMap<String, usize>,
}

impl Costs<'_> {
    fn entry(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        self.by_name.insert(name.to_string(), self.all.len());
        self.all.push(NodeCost { name: name.to_string(), ..NodeCost::default() });
        self.all.len() - 1
    }

    /// Whether the view is a region whose tuples are counted with its cells.
    fn is_whole_column(&self, view: &View, of: u32) -> bool {
        let Source::Region(r) = view.source else {
            return false;
        };
        let region = &self.program.regions[r.0 as usize];
        let column = matches!(region.kind, RegionKind::Column { table, column: 0 } if table.0 == of);
        column && view.offset == 0 && view.is_contiguous() && view.len() == region.len
    }

    fn cells(&mut self, entry: usize, view: &View) {
        let Source::Region(r) = view.source else {
            return;
        };
        let region = &self.program.regions[r.0 as usize];
        if matches!(region.kind, RegionKind::Multiplicity { .. }) {
            return;
        }
        let new = self.covers[r.0 as usize].add(view, region.len);
        let cost = &mut self.all[entry];
        // Virtual cells cost their lookup only.
        cost.cells += if region.is_virtual() { 0 } else { new };
        if matches!(region.kind, RegionKind::Column { column: 0, .. }) {
            cost.lookups = cost.lookups.saturating_add(new);
        }
    }
}
