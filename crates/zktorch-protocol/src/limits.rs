//! What a verifier is ready to work for a verifying key.
//!
//! A few hundred bytes of key can describe a heap of 2^34 cells or a window that no verifier can evaluate. A key that asks for more than
//! the limits here is refused before anything is allocated for it. Every bound is estimated from above and lies far beyond any model.

use crate::claims::index_bits;
use crate::error::VerifyError;
use zktorch_program::{Axis, Identity, Program, Source, View, VirtualBlocks};

/// Rows of the heap: commitments in a proof.
const HEAP_ROWS: usize = 1 << 22;
/// Values of all public tensors together.
const PUBLIC_VALUES: usize = 1 << 30;
/// Cells that the audit marks: the lengths of all windows on the heap, one bit each.
const AUDITED_CELLS: usize = 1 << 38;
/// Multiplications for windows on values that the verifier knows.
const KNOWN_INDICES: usize = 1 << 34;
/// States of the carry automaton at one bit position.
const STATES: u64 = 1 << 24;
/// Steps of the carry automaton, over all windows.
const STEPS: u64 = 1 << 38;

/// Checks a program that is well formed.
///
/// # Errors
/// [`VerifyError::Key`] with the limit that it exceeds.
pub(crate) fn check(program: &Program) -> Result<(), VerifyError> {
    let bad = |why: &str| Err(VerifyError::Key(format!("no verifier can check its proofs: {why}")));
    if program.heap_len >> program.row_bits > HEAP_ROWS {
        return bad("the heap has too many rows");
    }
    let publics = program.publics.iter().map(|p| p.shape.iter().fold(1usize, |n, s| n.saturating_mul(*s)));
    if publics.fold(0, usize::saturating_add) > PUBLIC_VALUES {
        return bad("the public tensors are too large");
    }
    let (mut audited, mut known, mut steps) = (0usize, 0usize, 0u64);
    let columns = program.lookups.iter().flat_map(|l| &l.columns).map(|view| (view, 1));
    // An identity that leaves virtual cells over is checked for each of their parts.
    let parts = |i: &Identity| {
        let cut = i.terms.iter().any(|t| program.virtual_term(t).is_some());
        if cut { VirtualBlocks::of(&i.sizes[..i.outputs]).runs.len() } else { 1 }
    };
    let factors = program.identities.iter().map(|i| (i, parts(i)));
    let factors = factors.flat_map(|(i, parts)| i.terms.iter().flat_map(|t| &t.factors).map(move |f| (&f.view, parts)));
    for (view, parts) in columns.chain(factors) {
        match view.source {
            Source::Constant(_) | Source::Public(_) => known = known.saturating_add(moving_indices(view).saturating_mul(parts)),
            Source::Matrix(_) => {}
            Source::Region(_) | Source::Params => {
                if matches!(view.source, Source::Region(_)) {
                    audited = audited.saturating_add(view.end());
                }
                let Some(more) = automaton_steps(&view.axes) else { return bad("a window has strides that do not fit together") };
                steps = steps.saturating_add(more.saturating_mul(parts as u64));
            }
        }
    }
    if audited > AUDITED_CELLS {
        return bad("too many windows on a large heap");
    }
    if known > KNOWN_INDICES {
        return bad("the windows on constants and public tensors are too large");
    }
    if steps > STEPS {
        return bad("the windows' strides do not fit together");
    }
    Ok(())
}

/// Indices of the axes that move the window.
fn moving_indices(view: &View) -> usize {
    view.axes.iter().filter(|a| a.stride != 0).fold(1, |n, a| n.saturating_mul(a.size))
}

/// Upper bound of the steps of [`crate::automaton::evaluate`], `None` beyond the number of states. [`crate::windows`] does other work where it is less.
fn automaton_steps(axes: &[Axis]) -> Option<u64> {
    // Position, bits, odd part of the stride, and whether the size is no power of two.
    let digits: Vec<(usize, usize, u64, bool)> = axes
        .iter()
        .filter(|a| a.size > 1 && a.stride > 0)
        .map(|a| {
            let shift = a.stride.trailing_zeros() as usize;
            (shift, index_bits(a.size), (a.stride >> shift) as u64, !a.size.is_power_of_two())
        })
        .collect();
    let last = digits.iter().map(|(shift, bits, _, _)| shift + bits).max().unwrap_or(0);
    let (mut carry, mut steps) = (0u64, 0u64);
    for t in 0..last {
        let live = digits.iter().filter(|(shift, bits, _, _)| *shift <= t && t < shift + bits);
        let choices = 1u64.checked_shl(live.clone().count() as u32)?;
        let flags = digits.iter().filter(|(shift, _, _, flag)| *flag && *shift <= t).count();
        let states = (carry + 1).checked_mul(1u64.checked_shl(flags as u32)?).filter(|&s| s <= STATES)?;
        steps = steps.checked_add(states.checked_mul(choices).filter(|&s| s <= STATES * 16)?)?;
        carry = (carry + live.map(|(_, _, odd, _)| odd).sum::<u64>()).div_ceil(2);
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(axes: &[(usize, usize)]) -> Option<u64> {
        automaton_steps(&axes.iter().map(|&(size, stride)| Axis { size, stride }).collect::<Vec<_>>())
    }

    #[test]
    fn windows_with_awkward_pitches_are_admitted() {
        // Convolution windows on an image with pitch 58, attention weights of 197 tokens, a transposed embedding of 50257 words.
        for axes in [
            &[(64, 58 * 58), (56, 58), (56, 1), (3, 58), (3, 1)][..],
            &[(12, 197 * 197), (197, 197), (197, 1)],
            &[(768, 50_257), (50_257, 1)],
        ] {
            let steps = steps(axes).expect("admitted");
            assert!(steps < STEPS / 1000, "{steps}");
        }
        assert_eq!(steps(&[(2, 1); 31]), None);
        assert_eq!(steps(&[(3, (1 << 33) + 1), (2, 1)]), None);
    }
}
