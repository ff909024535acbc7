//! From a claim on the leaves to claims on views.

use super::layout::{Content, pads_with_first_row};
use super::prover::LookupProver;
use super::table::{EqSuffixes, column_values};
use super::{Statement, gkr::LeafClaim};
use crate::circuit::Lc;
use crate::claims::{Claim, Resolved, Vector, VirtualClaim, Weight, index_bits, resolve, weighted_sum};
use crate::error::VerifyError;
use crate::party::Party;
use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::{Fr, fr_from_i64, mle};
use zktorch_program::{Axis, RegionId, Table, View};

/// A column of a block that only the prover can evaluate.
pub(super) struct Opening {
    /// The committed vector; of a virtual column the heap, whose cells the prover has behind it.
    pub vector: Vector,
    /// The region of a virtual column, and its part: axis, first index, number of indices.
    virtual_part: Option<(RegionId, (u8, usize, usize))>,
    /// First cell.
    pub offset: usize,
    /// Axes with their weights.
    pub axes: Vec<(Axis, Weight)>,
    /// The table of rows whose whole content this is.
    #[cfg_attr(not(feature = "prover"), expect(dead_code, reason = "a shortcut of the prover"))]
    pub content_of: Option<usize>,
    /// Its coefficient in the extension of the numerators.
    p: Fr,
    /// Its coefficient in the extension of the denominators.
    q: Fr,
}

/// The leaves' extensions as linear combinations: what the verifier computes itself, and openings.
struct Sums {
    p: Fr,
    q: Fr,
    openings: Vec<Opening>,
}

impl Sums {
    /// Adds `coefficient · Σ weights · view` to the denominators, at once if the verifier knows the view's cells.
    fn add_column(
        &mut self,
        statement: &Statement<'_>,
        view: &View,
        axes: Vec<(Axis, Weight)>,
        coefficient: Fr,
        content_of: Option<usize>,
        (axis, first): (usize, usize),
    ) {
        match resolve(statement.program, statement.publics, view) {
            Resolved::Known(values) => self.q += coefficient * known_value(values, view.offset, axes),
            Resolved::Committed(vector, offset) => {
                let len = axes.get(axis).map_or(1, |(a, _)| a.size);
                let virtual_part = statement.program.virtual_region(view).map(|r| (r, (axis as u8, first, len)));
                self.openings.push(Opening { vector, virtual_part, offset, axes, content_of, p: Fr::ZERO, q: coefficient });
            }
        }
    }
}

/// Like [`weighted_sum`], but axes of stride 0 cost nothing, however long.
fn known_value(values: &[i64], offset: usize, axes: Vec<(Axis, Weight)>) -> Fr {
    let (repeated, moving): (Vec<_>, Vec<_>) = axes.into_iter().partition(|(axis, _)| axis.stride == 0);
    let factor: Fr = repeated
        .iter()
        .map(|(axis, weight)| match weight {
            Weight::Eq(point) => mle::sum_of_eq_below(point, axis.size),
            Weight::Ones => Fr::from(axis.size as u64),
        })
        .product();
    factor * weighted_sum(values, offset, &moving)
}

/// `eq(points, ·)` weights for consecutive axes: each takes as many coordinates as its index has bits.
fn eq_axes(axes: impl Iterator<Item = Axis>, mut point: &[Fr]) -> Vec<(Axis, Weight)> {
    axes.map(|axis| {
        let (head, tail) = point.split_at(index_bits(axis.size));
        point = tail;
        (axis, Weight::Eq(head.to_vec()))
    })
    .collect()
}

/// Writes the leaves' extensions at the claim's point as a combination of columns, has the prover open the committed ones, and states that
/// the sums are what the claim says. Appends a claim per committed column to `claims`, and returns one per virtual column.
pub(super) fn open_leaves<P: Party>(
    party: &mut P,
    statement: &Statement<'_>,
    claim: LeafClaim,
    prover: Option<&LookupProver<'_>>,
    claims: &mut Vec<Claim>,
) -> Result<Vec<VirtualClaim>, VerifyError> {
    let sums = leaf_sums(statement, &claim.point);
    let wires = party.hidden("lookup columns", sums.openings.len(), || {
        let prover = prover.expect("the prover has a state");
        sums.openings.iter().map(|o| prover.open(o)).collect()
    })?;
    let mut virtuals = Vec::new();
    let mut p = Lc::constant(sums.p);
    let mut q = Lc::constant(sums.q);
    for (opening, wire) in sums.openings.into_iter().zip(wires) {
        if opening.p != Fr::ZERO {
            p.add_wire(opening.p, wire);
        }
        if opening.q != Fr::ZERO {
            q.add_wire(opening.q, wire);
        }
        let Opening { vector, virtual_part, offset, axes, .. } = opening;
        match virtual_part {
            Some((region, part)) => {
                let coordinates = axes.into_iter().flat_map(|(_, weight)| if let Weight::Eq(point) = weight { point } else { Vec::new() });
                virtuals.push(VirtualClaim { region, part, point: coordinates.collect(), value: wire });
            }
            None => claims.push(Claim { vector, offset, axes, value: Lc::wire(wire) }),
        }
    }
    p.add_scaled(-Fr::ONE, &claim.p);
    q.add_scaled(-Fr::ONE, &claim.q);
    party.circuit().zero(p);
    party.circuit().zero(q);
    Ok(virtuals)
}

/// `Σ_c β^c column_c` of the first row of a range or a function.
fn first_row(table: &Table, beta: &[Fr]) -> Fr {
    match table {
        Table::Range { lo, .. } => fr_from_i64(*lo),
        Table::Function { lo, outputs, .. } => {
            let columns = std::iter::once(*lo).chain(outputs.iter().map(|column| column.first().copied().unwrap_or(0)));
            columns.zip(beta).map(|(v, b)| fr_from_i64(v) * b).sum()
        }
        Table::Rows { .. } => Fr::ZERO,
    }
}

/// With `e_b = eq(r_hi, b)` and `box_b = Σ_{i in box} eq(r_lo, i)`:
/// `p̃(r) = Σ_sites e_b box_b − Σ_tables e_b m̃(r_lo)` and, every unused leaf having denominator 1,
/// `q̃(r) = 1 + Σ_b e_b ((α − β^K id − 1) box_b − Σ_c β^c columñ_c(r_lo))`.
/// Where leaves outside the boxes look up the first row, they count as sites with its columns, and `m` of that row is larger by their number.
fn leaf_sums(statement: &Statement<'_>, point: &[Fr]) -> Sums {
    let Statement { program, layout, fingerprint, .. } = *statement;
    let mut sums = Sums { p: Fr::ZERO, q: Fr::ONE, openings: Vec::new() };
    let mut eq = EqSuffixes::new(point);
    for block in &layout.blocks {
        let (high, low) = point.split_at(layout.bits - block.bits);
        let e = mle::eq_index(high, block.start >> block.bits);
        let mut rest = low;
        let mut box_sum = e;
        for &size in block.sizes() {
            let (head, tail) = rest.split_at(index_bits(size));
            box_sum *= mle::sum_of_eq_below(head, size);
            rest = tail;
        }
        match &block.content {
            Content::Sites { lookup, sizes, part, windows } => {
                let l = &program.lookups[*lookup];
                let table = l.table.0 as usize;
                let t = &program.tables[table];
                let leaves = if pads_with_first_row(t) { e } else { box_sum };
                sums.p += leaves;
                sums.q += leaves * (fingerprint.constant(table) - Fr::ONE);
                if pads_with_first_row(t) {
                    sums.q -= (e - box_sum) * first_row(t, &fingerprint.beta);
                }
                for (c, (view, window)) in l.columns.iter().zip(windows).enumerate() {
                    let sites = sizes.iter().zip(&window.strides).map(|(&size, &stride)| Axis { size, stride });
                    let mut axes = eq_axes(sites, low);
                    axes.extend(eq_axes(view.axes[l.index_axes..].iter().copied(), &fingerprint.inner[table]));
                    let window_view = View { offset: window.offset, ..view.clone() };
                    sums.add_column(statement, &window_view, axes, -e * fingerprint.beta[c], None, *part);
                }
            }
            Content::Rows { table, len } => {
                sums.q += box_sum * (fingerprint.constant(*table) - Fr::ONE);
                let counts = &program.regions[program.multiplicities[*table].0 as usize];
                let axes = vec![(Axis { size: *len, stride: 1 }, Weight::Eq(low.to_vec()))];
                sums.p -= e * Fr::from(layout.padding[*table] as u64) * mle::eq_index(low, 0);
                sums.openings.push(Opening {
                    vector: Vector::Heap,
                    virtual_part: None,
                    offset: counts.base,
                    axes,
                    content_of: None,
                    p: -e,
                    q: Fr::ZERO,
                });
                let t = &program.tables[*table];
                for (value, beta) in column_values(t, &mut eq, block.bits).iter().zip(&fingerprint.beta) {
                    sums.q -= e * beta * value;
                }
                if let Table::Rows { view, .. } = t {
                    let mut axes = eq_axes(view.axes[..1].iter().copied(), low);
                    axes.extend(eq_axes(view.axes[1..].iter().copied(), &fingerprint.inner[*table]));
                    sums.add_column(statement, view, axes, -e * fingerprint.beta[1], Some(*table), (0, 0));
                }
            }
        }
    }
    sums
}
