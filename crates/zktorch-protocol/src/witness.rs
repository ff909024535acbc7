//! What the prover knows.

use zktorch_program::Parameters;
#[cfg(feature = "prover")]
use zktorch_program::Program;

/// The prover's secrets: the heap of one inference and the model's parameters. A verifier has none.
#[derive(Clone, Copy, Debug)]
pub struct Witness<'a> {
    /// The heap and behind it the virtual cells, `program.witness_len()` in all.
    pub heap: &'a [i64],
    /// The parameters that the verifying key commits to.
    pub parameters: &'a Parameters,
}

#[cfg(feature = "prover")]
impl<'a> Witness<'a> {
    /// The cells of the heap: those that are committed.
    pub(crate) fn committed(&self, program: &Program) -> &'a [i64] {
        &self.heap[..program.heap_len]
    }
}
