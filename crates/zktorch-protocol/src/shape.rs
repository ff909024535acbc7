//! What proofs look like, from the program alone.

use crate::accumulate::replay;
use crate::error::VerifyError;
use crate::party::Verifier;
use crate::proof::{Statement, check_publics, read_decider, read_leaves};
use zktorch_program::Program;

/// What a program's proofs look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofShape {
    /// Length of the proof in bytes, without the statement.
    pub bytes: usize,
    /// What makes it up: each kind of message and the bytes of all messages of this kind, in the order of the protocol.
    pub parts: Vec<(&'static str, usize)>,
    /// Powers of τ that proving needs.
    pub srs_size: usize,
    /// Committed rows of hidden messages.
    pub hidden_rows: usize,
}

/// Length of a proof, size of the reference string and of the verifier circuit, from the program alone.
pub fn proof_shape(program: &Program) -> Result<ProofShape, VerifyError> {
    let publics: Vec<Vec<i64>> = program.publics.iter().map(|p| vec![p.lo; p.shape.iter().product()]).collect();
    // Any values will do that the program allows.
    shape_of(&[Statement { program, label: &[], context: &[], publics: &publics, imports: &[] }], usize::MAX)
}

/// [`proof_shape`] of a proof of several statements, which may come from somebody else: refused if their public tensors do not fit their programs, or if the proof would
/// have more than `most` bytes.
pub fn shape_of(statements: &[Statement<'_>], most: usize) -> Result<ProofShape, VerifyError> {
    for statement in statements {
        check_publics(statement.program, statement.publics)?;
    }
    let mut party = Verifier::dry_within(most);
    let leaves = read_leaves(&mut party, &[0; 32], statements, None, &mut |_| {})?.0;
    let row_bits = statements.iter().map(|s| s.program.row_bits as usize).max().unwrap_or(0);
    let total = replay(&mut party, leaves)?;
    let hidden_rows = total.form.rows();
    let bits = read_decider(&mut party, total, None, &mut |_| {})?;
    let parts = party.dry_parts().to_vec();
    let bytes = parts.iter().map(|(_, bytes)| bytes).sum();
    Ok(ProofShape { bytes, parts, srs_size: 1 << bits.max(row_bits), hidden_rows })
}

/// Number of powers of τ that a program needs, the proof about its parameters included. Batches of inferences have a few more rounds than one: there is room for twice as many
/// hidden messages.
pub fn required_srs_size(program: &Program) -> Result<usize, VerifyError> {
    sizes(program).map(|(powers, _)| powers)
}

/// [`required_srs_size`], and the number of rows of hidden messages.
pub(crate) fn sizes(program: &Program) -> Result<(usize, usize), VerifyError> {
    let ranges = proof_shape(&crate::ranges::range_program(program).program)?;
    let own = proof_shape(program)?;
    let roomy = (2 * (own.hidden_rows + 1) * crate::circuit::ROW).next_power_of_two();
    Ok((own.srs_size.max(ranges.srs_size).max(roomy), own.hidden_rows))
}
