//! The verifier circuit: constraints over hidden prover messages, and the one form that they are combined into.
//!
//! What a verifier of clear-text messages would check becomes a quadratic equation over *wires* (hidden values). Coefficients may be challenges and other values
//! that the verifier computes itself, so the circuit has one equation per check and needs no public inputs. A product may only join wires of one committed row: then an
//! equation says the same of every row, whatever the circuit, and all circuits have one shape.
//!
//! After the last message all equations are combined with the powers of one challenge into a single [`Form`] `⟨x, w⟩ + Σ y_{i,ab} w_{i,a} w_{i,b} + c = 0`, in which `x, y, c`
//! are known to both parties. Forms of different proofs can be folded: see [`mod@crate::accumulate`].

use ark_ff::{AdditiveGroup, Field};
use std::collections::BTreeMap;
use zktorch_algebra::Fr;

/// Number of wires in one committed row: messages are padded to whole rows.
pub const ROW: usize = 32;
/// log2 of [`ROW`].
pub const ROW_BITS: usize = 5;

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
    /// The value under an assignment of the wires.
    pub fn value(&self, wires: &[Fr]) -> Fr {
        self.terms.iter().fold(self.constant, |acc, &(w, c)| acc + c * wires[w.0 as usize])
    }
}

/// `coefficient · a · b`, two wires of one row.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The coefficient.
    pub coefficient: Fr,
    /// One wire.
    pub a: Wire,
    /// The other one; may be the same.
    pub b: Wire,
}

/// `linear + Σ products = 0`.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The linear part.
    pub linear: Lc,
    /// The quadratic part.
    pub products: Vec<Product>,
}

/// The constraints collected while the protocol runs; prover and verifier collect the same ones.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    /// The constraints, in the order in which the protocol states them.
    pub constraints: Vec<Constraint>,
    /// Number of committed rows so far.
    pub rows: usize,
}

impl Circuit {
    /// States `linear + Σ coefficient · a · b = 0`. The wires of a product must be in one row.
    pub fn quadratic(&mut self, linear: Lc, products: Vec<Product>) {
        debug_assert!(products.iter().all(|p| p.a.0 as usize / ROW == p.b.0 as usize / ROW), "products join wires of one row");
        self.constraints.push(Constraint { linear, products });
    }
    /// States `linear = 0`.
    pub fn zero(&mut self, linear: Lc) {
        self.quadratic(linear, Vec::new());
    }
    /// Takes the wires of a new message of `n` values.
    pub fn allocate(&mut self, n: usize) -> Vec<Wire> {
        let first = self.rows * ROW;
        self.rows += n.div_ceil(ROW);
        (first..first + n).map(|i| Wire(i as u32)).collect()
    }
    /// All constraints as one, the `k`-th with weight `γ^k`. Error of the combination: number of constraints / |F|.
    pub fn combine(&self, gamma: Fr) -> Form {
        let mut form = Form { linear: vec![Fr::ZERO; self.rows * ROW], products: BTreeMap::new(), constant: Fr::ZERO };
        let mut weight = Fr::ONE;
        for Constraint { linear, products } in &self.constraints {
            for &(wire, c) in &linear.terms {
                form.linear[wire.0 as usize] += weight * c;
            }
            form.constant += weight * linear.constant;
            for p in products {
                *form.products.entry(Pair::of(p.a, p.b)).or_insert(Fr::ZERO) += weight * p.coefficient;
            }
            weight *= gamma;
        }
        form
    }
}

/// Two positions of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The row.
    pub row: u32,
    /// Smaller position.
    pub a: u8,
    /// Larger position, or the same.
    pub b: u8,
}

impl Pair {
    fn of(a: Wire, b: Wire) -> Pair {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        Pair { row: a.0 / ROW as u32, a: (a.0 % ROW as u32) as u8, b: (b.0 % ROW as u32) as u8 }
    }
}

/// `⟨linear, w⟩ + Σ products · w · w + constant`, over the wires `w` of a number of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// One coefficient per wire.
    pub linear: Vec<Fr>,
    /// Coefficients of the products.
    pub products: BTreeMap<Pair, Fr>,
    /// The constant.
    pub constant: Fr,
}

impl Form {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.linear.len() / ROW
    }
    /// `self += k · other`; the shorter of the two counts as padded with zeros.
    pub fn add_scaled(&mut self, k: Fr, other: &Form) {
        if self.linear.len() < other.linear.len() {
            self.linear.resize(other.linear.len(), Fr::ZERO);
        }
        for (own, other) in self.linear.iter_mut().zip(&other.linear) {
            *own += k * other;
        }
        for (pair, y) in &other.products {
            *self.products.entry(*pair).or_insert(Fr::ZERO) += k * y;
        }
        self.constant += k * other.constant;
    }
    /// `u · ⟨linear, w⟩ + Σ products · w · w + u² · constant`: the form made homogeneous of degree 3 in `(linear, products, constant, u, w)`.
    pub fn evaluate(&self, wires: &[Fr], u: Fr) -> Fr {
        let linear: Fr = self.linear.iter().zip(wires).map(|(x, w)| *x * w).sum();
        let at = |row: u32, position: u8| wires.get(row as usize * ROW + position as usize).copied().unwrap_or_default();
        let quadratic: Fr = self.products.iter().map(|(p, y)| *y * at(p.row, p.a) * at(p.row, p.b)).sum();
        u * (linear + u * self.constant) + quadratic
    }
}

/// The two middle coefficients of a polynomial of degree 3 from its values at 1 and −1 and its outer coefficients.
#[cfg(feature = "prover")]
pub(crate) fn cross_terms([plus, minus]: [Fr; 2], [constant, leading]: [Fr; 2]) -> [Fr; 2] {
    let half = Fr::from(2u64).inverse().unwrap_or_default();
    [(plus - minus) * half - leading, (plus + minus) * half - constant]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_combined_form_is_the_weighted_sum_of_the_constraints() {
        let mut c = Circuit::default();
        let wires: Vec<Fr> = (0..2 * ROW as u64).map(|i| Fr::from(i * i + 3)).collect();
        let w = c.allocate(ROW + 3);
        let mut lc = Lc::wire(w[10]);
        lc.add_wire(Fr::from(5u64), w[2]);
        lc.constant = Fr::from(7u64);
        c.zero(lc.clone());
        let product = Product { coefficient: Fr::from(9u64), a: w[3], b: w[1] };
        let square = Product { coefficient: Fr::from(4u64), a: w[9], b: w[9] };
        c.quadratic(lc.scaled(Fr::from(2u64)), vec![product, square]);
        let gamma = Fr::from(1_000_003u64);
        let first = lc.value(&wires);
        let second = first.double() + Fr::from(9u64) * wires[3] * wires[1] + Fr::from(4u64) * wires[9] * wires[9];
        let mut form = c.combine(gamma);
        assert_eq!(form.evaluate(&wires, Fr::ONE), first + gamma * second);
        assert_eq!(form.rows(), 2);
        let doubled = form.evaluate(&wires, Fr::ONE).double();
        form.add_scaled(Fr::ONE, &form.clone());
        assert_eq!(form.evaluate(&wires, Fr::ONE), doubled);
    }
}
