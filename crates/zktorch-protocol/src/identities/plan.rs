//! All terms of all identities, at the points at which they are checked.

use crate::circuit::Wire;
use crate::claims::{Resolved, VirtualClaim, Weight, index_bits, resolve, weighted_sum};
use ark_ff::{AdditiveGroup, Field};
use std::collections::HashMap;
use zktorch_algebra::{Fr, fr_from_i128, mle::sum_of_eq_below};
use zktorch_program::{Axis, Factor, Identity, Program, RegionId, Source, Term};

/// A factor whose letters have weights; `None` for a letter that the sumcheck runs over.
pub(super) struct Bound<'a> {
    pub source: Resolved<'a>,
    pub offset: usize,
    pub axes: Vec<(Axis, u8, Option<Weight>)>,
}

impl Bound<'_> {
    /// The axes with the sumcheck's point filled in.
    pub fn weighted(&self, point_of: impl Fn(u8) -> Vec<Fr>) -> Vec<(Axis, Weight)> {
        self.axes.iter().map(|(axis, letter, weight)| (*axis, weight.clone().unwrap_or_else(|| Weight::Eq(point_of(*letter))))).collect()
    }
}

#[cfg(feature = "prover")]
impl Bound<'_> {
    /// Whether two factors are the same cells with the same letters.
    pub fn same_cells(&self, other: &Bound<'_>) -> bool {
        let same = match (&self.source, &other.source) {
            (Resolved::Committed(v, _), Resolved::Committed(w, _)) => v == w,
            (Resolved::Known(v), Resolved::Known(w)) => std::ptr::eq(*v, *w),
            _ => false,
        };
        let axes = |b: &Bound<'_>| b.axes.iter().map(|(a, l, w)| (*a, *l, w.is_none())).collect::<Vec<_>>();
        same && self.offset == other.offset && axes(self) == axes(other)
    }
}

/// A one-factor term.
pub(super) struct Single<'a> {
    pub weight: Fr,
    pub factor: Bound<'a>,
}

/// A term with several factors.
pub(super) struct Multi<'a> {
    pub weight: Fr,
    pub factors: Vec<Bound<'a>>,
    /// Letters of the sumcheck, in order, with their numbers of variables.
    pub shared: Vec<(u8, usize)>,
    /// The points of those shared letters that are output letters.
    pub eq: Vec<Option<Vec<Fr>>>,
}

impl Multi<'_> {
    pub fn vars(&self) -> usize {
        self.shared.iter().map(|(_, bits)| bits).sum()
    }
    pub fn has_eq(&self) -> bool {
        self.eq.iter().any(|e| e.as_ref().is_some_and(|p| !p.is_empty()))
    }
}

/// All terms of all identities, at a random point.
pub(super) struct Plan<'a> {
    pub constant: Fr,
    /// Values of virtual cells, which the lookups claim, with their weights.
    pub claimed: Vec<(Fr, Wire)>,
    pub singles: Vec<Single<'a>>,
    pub multis: Vec<Multi<'a>>,
}

pub(super) fn output_bits(identity: &Identity) -> usize {
    identity.sizes[..identity.outputs].iter().map(|&s| index_bits(s)).sum()
}

/// A point's coordinates for each letter.
fn split(mut point: &[Fr], sizes: &[usize]) -> Vec<Vec<Fr>> {
    let letter = |&size: &usize| {
        let (head, tail) = point.split_at(index_bits(size));
        point = tail;
        head.to_vec()
    };
    sizes.iter().map(letter).collect()
}

/// An identity where a claim on its virtual cells speaks of it: over a part of one letter's range.
struct Part {
    letter: u8,
    first: usize,
    /// Letter sizes of the part.
    sizes: Vec<usize>,
    /// The claim's coordinates, letter by letter.
    points: Vec<Vec<Fr>>,
    /// The same for the letter's whole range: the part's first index gives the leading coordinates.
    whole: Vec<Vec<Fr>>,
}

impl Part {
    fn new(identity: &Identity, claim: &VirtualClaim) -> Part {
        let (letter, first, len) = claim.part;
        let mut sizes = identity.sizes.clone();
        let size = std::mem::replace(&mut sizes[letter as usize], len);
        let points = split(&claim.point, &sizes[..identity.outputs]);
        let mut whole = points.clone();
        let (low, all) = (index_bits(len), index_bits(size));
        let leading = (low..all).rev().map(|bit| if first >> bit & 1 == 1 { Fr::ONE } else { Fr::ZERO });
        whole[letter as usize].splice(0..0, leading);
        Part { letter, first, sizes, points, whole }
    }

    /// The term over the part; `None` if a matrix, of which a view is always the whole, has the letter.
    fn restricted(&self, term: &Term) -> Option<Term> {
        let mut term = term.clone();
        for factor in &mut term.factors {
            if let Some(axis) = factor.letters.iter().position(|l| *l == self.letter) {
                if matches!(factor.view.source, Source::Matrix(_)) {
                    return None;
                }
                factor.view = factor.view.slice(axis, self.first, self.sizes[self.letter as usize], 1);
            }
        }
        Some(term)
    }
}

impl<'a> Plan<'a> {
    pub fn new(program: &'a Program, publics: &'a [Vec<i64>], point: &[Fr], gamma: Fr, virtuals: &[VirtualClaim]) -> Plan<'a> {
        let mut plan = Plan { constant: Fr::ZERO, claimed: Vec::new(), singles: Vec::new(), multis: Vec::new() };
        let mut claims: HashMap<RegionId, Vec<&VirtualClaim>> = HashMap::new();
        for claim in virtuals {
            claims.entry(claim.region).or_default().push(claim);
        }
        let mut weight = Fr::ONE;
        for identity in &program.identities {
            let left_over = identity.terms.iter().find_map(|t| program.virtual_term(t).map(|r| (r, t.coeff)));
            match left_over.and_then(|(r, coeff)| claims.get(&r).map(|claims| (claims, coeff))) {
                None => {
                    let points = split(point, &identity.sizes[..identity.outputs]);
                    for term in &identity.terms {
                        plan.term(program, publics, (&identity.sizes, identity.outputs), term, &points, weight);
                    }
                    weight *= gamma;
                }
                Some((claims, coeff)) => {
                    for claim in claims {
                        plan.claimed.push((weight * fr_from_i128(coeff), claim.value));
                        let part = Part::new(identity, claim);
                        for term in identity.terms.iter().filter(|t| program.virtual_term(t).is_none()) {
                            match part.restricted(term) {
                                Some(term) => plan.term(program, publics, (&part.sizes, identity.outputs), &term, &part.points, weight),
                                None => plan.term(program, publics, (&identity.sizes, identity.outputs), term, &part.whole, weight),
                            }
                        }
                        weight *= gamma;
                    }
                }
            }
        }
        plan
    }

    fn term(
        &mut self,
        program: &'a Program,
        publics: &'a [Vec<i64>],
        (sizes, outputs): (&[usize], usize),
        term: &Term,
        points: &[Vec<Fr>],
        weight: Fr,
    ) {
        let count = |l: u8| term.factors.iter().filter(|f| f.letters.contains(&l)).count();
        // An output letter that does not occur broadcasts the term over its box.
        let missing = (0..outputs).filter(|&l| count(l as u8) == 0).map(|l| sum_of_eq_below(&points[l], sizes[l])).product::<Fr>();
        let weight = weight * fr_from_i128(term.coeff) * missing;
        let mut shared: Vec<(u8, usize)> =
            (0..sizes.len() as u8).filter(|&l| count(l) > 1).map(|l| (l, index_bits(sizes[l as usize]))).collect();
        shared.sort();
        let bind = |f: &Factor| {
            let source = resolve(program, publics, &f.view);
            let offset = if let Resolved::Committed(_, offset) = source { offset } else { f.view.offset };
            let axes = f
                .view
                .axes
                .iter()
                .zip(&f.letters)
                .map(|(axis, &l)| {
                    let weight = if count(l) > 1 {
                        None
                    } else if (l as usize) < outputs {
                        Some(Weight::Eq(points[l as usize].clone()))
                    } else {
                        Some(Weight::Ones)
                    };
                    (*axis, l, weight)
                })
                .collect();
            Bound { source, offset, axes }
        };
        match term.factors.as_slice() {
            [] => self.constant += weight,
            [f] => {
                let factor = bind(f);
                match factor.source {
                    Resolved::Known(values) => {
                        self.constant += weight * weighted_sum(values, factor.offset, &factor.weighted(|_| Vec::new()));
                    }
                    Resolved::Committed(..) => self.singles.push(Single { weight, factor }),
                }
            }
            factors => {
                let eq = shared.iter().map(|&(l, _)| points.get(l as usize).cloned()).collect();
                self.multis.push(Multi { weight, factors: factors.iter().map(bind).collect(), shared, eq });
            }
        }
    }
}
