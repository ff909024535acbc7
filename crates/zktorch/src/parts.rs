//! What a proof of several inferences or segments is made of.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use zktorch_program::derive::{DeriveError, Derived, Import, batched_segments};
use zktorch_program::{Program, PublicId};
use zktorch_protocol as protocol;

/// How some inferences are proved together: as one batch, cut into segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Inferences in the batch.
    pub inferences: u32,
    /// Number of segments asked for; a program that cannot be cut so often has fewer.
    pub segments: u32,
    /// Public tensors (by position in the program) whose values are added up over the batch instead of listed.
    pub summed: Vec<u32>,
}

impl Layout {
    /// One inference in one piece: the program of the verifying key itself.
    pub const SINGLE: Layout = Layout { inferences: 1, segments: 1, summed: Vec::new() };
}

/// The programs of the leaves of one batch.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    layout: Layout,
    /// Empty if the only program is the key's own. Shared by all batches of this layout.
    derived: Arc<Vec<Derived>>,
    labels: Vec<Vec<u8>>,
    imports: Vec<Vec<protocol::Import>>,
}

impl Parts {
    /// Derives the programs. Cost: proportional to the program's description.
    pub fn new(program: &Program, layout: &Layout) -> Result<Parts, DeriveError> {
        let own = Parts { layout: layout.clone(), derived: Arc::default(), labels: vec![Vec::new()], imports: vec![Vec::new()] };
        if *layout == Layout::SINGLE {
            return Ok(own);
        }
        let summed: Vec<PublicId> = layout.summed.iter().map(|&p| PublicId(p)).collect();
        let derived = batched_segments(program, layout.inferences as usize, &summed, layout.segments as usize)?;
        let count = derived.len() as u64;
        let label = |segment: usize| {
            let numbers = [u64::from(layout.inferences), u64::from(layout.segments), count, segment as u64];
            let summed = layout.summed.iter().map(|&s| u64::from(s));
            numbers.into_iter().chain(summed).flat_map(u64::to_le_bytes).collect()
        };
        let imports = derived.iter().map(|d| {
            let import =
                |i: &Import| protocol::Import { first_row: i.first_row, rows: i.rows, from_leaf: i.from_segment, from_row: i.from_row };
            d.imports.iter().map(import).collect()
        });
        Ok(Parts { labels: (0..derived.len()).map(label).collect(), imports: imports.collect(), derived: Arc::new(derived), ..own })
    }

    /// The parts of one batch after the other; batches with equal keys share the work of deriving them.
    pub fn sequence<K: Eq + Hash, E>(
        keys: impl IntoIterator<Item = K>,
        mut derive: impl FnMut(&K) -> Result<Parts, E>,
    ) -> Result<Vec<Parts>, E> {
        let mut known: HashMap<K, Parts> = HashMap::new();
        let mut leaves = 0;
        let next = |key: K| {
            let parts = match known.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let parts = derive(new.key())?;
                    new.insert(parts)
                }
            };
            let first = leaves;
            leaves += parts.len();
            Ok(parts.at(first))
        };
        keys.into_iter().map(next).collect()
    }

    /// The same parts, as leaves of a proof from the given one on.
    fn at(&self, first_leaf: usize) -> Parts {
        let mut parts = self.clone();
        parts.imports.iter_mut().flatten().for_each(|i| i.from_leaf += first_leaf);
        parts
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A segment's derived program; `None` for the key's own.
    pub fn derived(&self, segment: usize) -> Option<&Derived> {
        self.derived.get(segment)
    }

    pub fn program<'a>(&'a self, own: &'a Program, segment: usize) -> &'a Program {
        self.derived.get(segment).map_or(own, |d| &d.program)
    }

    pub fn imports(&self, segment: usize) -> &[protocol::Import] {
        self.imports.get(segment).map_or(&[], |i| i)
    }

    /// What a leaf is about.
    pub fn statement<'a>(
        &'a self,
        own: &'a Program,
        segment: usize,
        context: &'a [u8],
        publics: &'a [Vec<i64>],
    ) -> protocol::Statement<'a> {
        protocol::Statement {
            program: self.program(own, segment),
            label: self.labels.get(segment).map_or(&[], |l| l),
            context,
            publics,
            imports: self.imports(segment),
        }
    }
}
