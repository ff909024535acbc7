//! What the prover knows.

use zktorch_program::Parameters;

/// The prover's secrets: the heap of one inference and the model's parameters. A verifier has none.
#[derive(Clone, Copy, Debug)]
pub struct Witness<'a> {
    /// The heap, `program.heap_len` cells.
    pub heap: &'a [i64],
    /// The parameters that the verifying key commits to.
    pub parameters: &'a Parameters,
}
