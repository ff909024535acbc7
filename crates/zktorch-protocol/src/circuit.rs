//! The verifier circuit: constraints over hidden prover messages.
//!
//! What a verifier of clear-text messages would check becomes a rank-one constraint over *wires* (hidden values). Coefficients may
//! be challenges and other values that the verifier computes itself, so the circuit has one constraint per product of hidden values and
//! one per linear check; it needs no public inputs.

use ark_ff::{AdditiveGroup, Field};
use zktorch_algebra::Fr;

/// Number of wires in one committed row: messages are padded to whole rows.
pub const ROW: usize = 8;
/// log2 of [`ROW`].
pub const ROW_BITS: usize = 3;

/// Index of a hidden value: `row · ROW + position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire(pub u32);

/// A linear combination of wires plus a constant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lc {
    /// `(wire, coefficient)`; a wire may occur more than once.
    pub terms: Vec<(Wire, Fr)>,
    /// The constant.
    pub constant: Fr,
}

impl Lc {
    /// Zero.
    pub fn zero() -> Lc {
        Lc::default()
    }
    /// A constant, known to the verifier.
    pub fn constant(c: Fr) -> Lc {
        Lc { terms: Vec::new(), constant: c }
    }
    /// A single wire.
    pub fn wire(w: Wire) -> Lc {
        Lc { terms: vec![(w, Fr::ONE)], constant: Fr::ZERO }
    }
    /// `self += k · other`.
    pub fn add_scaled(&mut self, k: Fr, other: &Lc) {
        if k == Fr::ZERO {
            return;
        }
        self.terms.extend(other.terms.iter().map(|&(w, c)| (w, c * k)));
        self.constant += other.constant * k;
    }
    /// `self += k · wire`.
    pub fn add_wire(&mut self, k: Fr, wire: Wire) {
        self.terms.push((wire, k));
    }
    /// `self *= k`.
    pub fn scale(&mut self, k: Fr) {
        for (_, c) in &mut self.terms {
            *c *= k;
        }
        self.constant *= k;
    }
    /// `k · self`.
    pub fn scaled(&self, k: Fr) -> Lc {
        let mut lc = self.clone();
        lc.scale(k);
        lc
    }
    /// The value under an assignment of the wires, with the constant weighted by `u`.
    pub fn value(&self, wires: &[Fr], u: Fr) -> Fr {
        self.terms.iter().fold(self.constant * u, |acc, &(w, c)| acc + c * wires[w.0 as usize])
    }
}

/// `a · b = c`.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// Left factor.
    pub a: Lc,
    /// Right factor.
    pub b: Lc,
    /// Product.
    pub c: Lc,
}

/// log2 of the padded number of `constraints`.
pub fn bits(constraints: usize) -> usize {
    constraints.max(2).next_power_of_two().trailing_zeros() as usize
}

/// The constraints collected while the protocol runs; prover and verifier collect the same ones.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    /// The constraints, in the order in which the protocol states them.
    pub constraints: Vec<Constraint>,
    /// Number of committed rows so far.
    pub rows: usize,
    /// The wires in use, ascending; the others only fill up rows.
    pub wires: Vec<Wire>,
}

impl Circuit {
    /// States `a · b = c`.
    pub fn product(&mut self, a: Lc, b: Lc, c: Lc) {
        self.constraints.push(Constraint { a, b, c });
    }
    /// States `a = 0`.
    pub fn zero(&mut self, a: Lc) {
        self.constraints.push(Constraint { a, b: Lc::constant(Fr::ONE), c: Lc::zero() });
    }
    /// Takes the wires of a new message of `n` values.
    pub fn allocate(&mut self, n: usize) -> Vec<Wire> {
        let first = self.rows * ROW;
        self.rows += n.div_ceil(ROW);
        let wires: Vec<Wire> = (first..first + n).map(|i| Wire(i as u32)).collect();
        self.wires.extend_from_slice(&wires);
        wires
    }
    /// log2 of the padded number of wires.
    pub fn wire_bits(&self) -> usize {
        (self.rows * ROW).next_power_of_two().trailing_zeros() as usize
    }
    /// log2 of the padded number of constraints.
    pub fn constraint_bits(&self) -> usize {
        bits(self.constraints.len())
    }
}
