//! Multi-scalar multiplication in G1.

mod fixed_base;

use ark_ec::{CurveGroup, VariableBaseMSM};

use crate::{Fr, G1Affine, G1Projective, fr_from_i64, par};

pub use fixed_base::FixedBaseTable;

/// `Σ scalars[i]·bases[i]` over the shorter length, for signed integers.
pub fn msm_small(bases: &[G1Affine], scalars: &[i64]) -> G1Projective {
    let n = bases.len().min(scalars.len());
    let scalars: Vec<Fr> = scalars[..n].iter().map(|s| fr_from_i64(*s)).collect();
    msm(&bases[..n], &scalars)
}

/// `Σ scalars[i]·bases[i]` over the shorter length, for scalars of any size.
pub fn msm(bases: &[G1Affine], scalars: &[Fr]) -> G1Projective {
    let n = bases.len().min(scalars.len());
    G1Projective::msm_unchecked(&bases[..n], &scalars[..n])
}

/// One commitment per row of `row_len` cells (the last row may be short): `C_i = Σ_j cells[i·row_len + j]·bases[j]`.
///
/// # Panics
/// If `row_len` is zero or exceeds the number of bases.
pub fn commit_rows(bases: &[G1Affine], cells: &[i64], row_len: usize) -> Vec<G1Affine> {
    assert!(
        row_len > 0 && row_len <= bases.len(),
        "a row needs one base per cell"
    );
    let rows = cells.len().div_ceil(row_len);
    let sums = par::map(rows, |i| {
        let row = &cells[i * row_len..cells.len().min((i + 1) * row_len)];
        msm_small(bases, row)
    });
    G1Projective::normalize_batch(&sums)
}
