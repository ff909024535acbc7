//! Which tables a program uses, chosen by how often it would use them.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Widths of tables. Each row of a table costs about as much as a lookup, so a small program wants small ones: values in several limbs,
/// and no table at all for a function that identities express as well. No choice changes what a program computes, except that a
/// [`relu`](super::relu) without a table keeps the scale of its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TablePlan {
    /// Widest limb of a decomposition, 3 to 16 bits.
    pub limb_bits: u32,
    /// Widest value with a range table of its own, at most 16 bits; a wider one is a sum of limbs.
    pub value_bits: u32,
    /// Function tables to do without, by name.
    pub avoided: Arc<BTreeSet<String>>,
}

impl Default for TablePlan {
    fn default() -> TablePlan {
        TablePlan { limb_bits: 16, value_bits: 16, avoided: Arc::default() }
    }
}

impl TablePlan {
    /// Few wide tables, for programs whose activations have `bits` bits.
    pub(crate) fn of_width(bits: u32) -> TablePlan {
        TablePlan { limb_bits: bits.clamp(8, 16), ..TablePlan::default() }
    }

    /// Whether to do without the function table of this name, if there is a way.
    pub(crate) fn avoids(&self, label: &str) -> bool {
        self.avoided.contains(label)
    }
}
