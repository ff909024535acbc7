//! The prover's accumulators: folding, encoding, and the check of an accumulator that somebody else made.

use super::{Digest, Messages, Total, fold_messages};
use crate::bytes::{Reader, Writer};
use crate::circuit::{Form, Pair, ROW, cross_terms};
use crate::decider;
use crate::keys::ProvingKey;
use crate::opening::{OpenClaim, prover::commit_to};
use crate::party::{Party, Prover, random_scalar};
use crate::pcs::{Srs, hiding_generator};
use crate::proof::Phase;
use crate::transcript::Transcript;
use ark_ff::{AdditiveGroup, Field};
use rand_core::{CryptoRng, RngCore};
use rayon::prelude::*;
use zktorch_algebra::msm::{FixedBaseTable, msm};
use zktorch_algebra::small::dot;
use zktorch_algebra::{FR_BYTES, Fr, G1_BYTES, G1Affine, fr_to_bytes, g1_to_bytes};

/// A fold: where it stands in the tree, and its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fold {
    /// Number of leaves before it in the order "left, right, fold".
    pub before: u32,
    pub messages: Messages,
}

/// One or many proofs before the decider. **Secret**: it contains the hidden messages, which tell about weights and inputs.
#[derive(Clone, Debug)]
pub struct Accumulator {
    /// Messages of each leaf.
    pub(crate) leaves: Vec<Vec<u8>>,
    /// The folds, in the order of the tree.
    pub(crate) folds: Vec<Fold>,
    pub(crate) digest: Digest,
    pub(crate) form: Form,
    pub(crate) slack: Fr,
    /// The claim with vector, blinder and the kernel's values (the kernel as such is for verifiers).
    pub(crate) claim: OpenClaim,
    pub(crate) wires: Vec<Fr>,
    pub(crate) blinders: Vec<Fr>,
    /// Error and its blinder.
    pub(crate) error: (Fr, Fr),
}

/// Why an accumulator is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccumulatorError {
    /// The bytes are no accumulator.
    #[error("E0560: the accumulator is truncated or malformed")]
    Malformed,
    /// Its public messages do not verify.
    #[error("E0561: the accumulator's messages are wrong: {0}")]
    Messages(#[from] crate::VerifyError),
    /// Its secrets do not belong to its messages.
    #[error("E0562: the accumulator's {what} does not belong to its messages")]
    Secrets {
        /// Which part.
        what: &'static str,
    },
}

impl Accumulator {
    /// A fresh accumulator.
    pub(crate) fn fresh(
        messages: Vec<u8>,
        digest: Digest,
        form: Form,
        mut claim: OpenClaim,
        wires: Vec<Fr>,
        blinders: Vec<Fr>,
    ) -> Accumulator {
        claim.table = claim.kernel_table();
        claim.kernel.clear();
        Accumulator {
            leaves: vec![messages],
            folds: Vec::new(),
            digest,
            form,
            slack: Fr::ONE,
            claim,
            wires,
            blinders,
            error: (Fr::ZERO, Fr::ZERO),
        }
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// What stands for everything in it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Folds two accumulators; the leaves of `left` come first. `srs` needs one power.
    pub fn fold(left: Accumulator, right: Accumulator, srs: &Srs, h: G1Affine, mut rng: impl CryptoRng) -> Accumulator {
        let (short, long) = (left.claim.poly.len().min(right.claim.poly.len()), left.claim.poly.len().max(right.claim.poly.len()));
        let inner = |k: &OpenClaim, p: &OpenClaim| -> Fr {
            let pairs = k.table[..short].par_chunks(1 << 12).zip(p.poly[..short].par_chunks(1 << 12));
            pairs.map(|(k, p)| dot(k, p)).sum()
        };
        let s = inner(&left.claim, &right.claim) + inner(&right.claim, &left.claim);
        // The form at A + ρB is e_A + ρ t_1 + ρ² t_2 + ρ³ e_B; its values at ρ = ±1 give the cross terms.
        let at = |sign: Fr| {
            let (form, wires) = combine(&left, &right, sign);
            form.evaluate(&wires, left.slack + sign * right.slack)
        };
        let own = |a: &Accumulator| a.form.evaluate(&a.wires, a.slack);
        let [t1, t2] = cross_terms([at(Fr::ONE), at(-Fr::ONE)], [own(&left), own(&right)]);
        let blinders = [random_scalar(&mut rng), random_scalar(&mut rng)];
        let cross = [commit_to(srs, h, &[t1], blinders[0]), commit_to(srs, h, &[t2], blinders[1])];
        let messages = Messages { cross, claim: s };
        let table = FixedBaseTable::new(&[], 8);
        let mut party = Prover::new(Transcript::new(), &table, rng);
        let folded = fold_messages(&mut party, &left.digest, &right.digest, Some(messages));
        let (_, rho, digest) = folded.expect("a prover reads nothing");
        left.join(right, messages, rho, digest, [t1, t2], blinders, s, long)
    }

    #[allow(clippy::too_many_arguments, reason = "everything that a fold has found out")]
    fn join(
        self,
        right: Accumulator,
        messages: Messages,
        rho: Fr,
        digest: Digest,
        cross: [Fr; 2],
        cross_blinders: [Fr; 2],
        s: Fr,
        long: usize,
    ) -> Accumulator {
        let left = self;
        let (form, wires) = combine(&left, &right, rho);
        let add = |mut a: Vec<Fr>, b: &[Fr], len: usize| {
            a.resize(len, Fr::ZERO);
            a.par_iter_mut().zip(b).with_min_len(1 << 12).for_each(|(a, b)| *a += rho * b);
            a
        };
        let rows = wires.len() / ROW;
        let (square, cube) = (rho.square(), rho.square() * rho);
        let before = (left.leaves.len() + right.leaves.len()) as u32;
        let shift = left.leaves.len() as u32;
        let mut folds = left.folds;
        folds.extend(right.folds.iter().map(|f| Fold { before: f.before + shift, ..*f }));
        folds.push(Fold { before, messages });
        let mut leaves = left.leaves;
        leaves.extend(right.leaves);
        let error = |a: Fr, cross: [Fr; 2], b: Fr| a + rho * cross[0] + square * cross[1] + cube * b;
        Accumulator {
            leaves,
            folds,
            digest,
            form,
            slack: left.slack + rho * right.slack,
            claim: OpenClaim {
                bits: left.claim.bits.max(right.claim.bits),
                kernel: Vec::new(),
                value: left.claim.value + rho * s + square * right.claim.value,
                commitment: Vec::new(),
                poly: add(left.claim.poly, &right.claim.poly, long),
                table: add(left.claim.table, &right.claim.table, long),
                blinder: left.claim.blinder + rho * right.claim.blinder,
            },
            wires,
            blinders: add(left.blinders, &right.blinders, rows),
            error: (error(left.error.0, cross, right.error.0), error(left.error.1, cross_blinders, right.error.1)),
        }
    }

    /// Proves the accumulator: the messages of its leaves, its folds, and the decider.
    pub fn decide(self, pk: &ProvingKey, rng: impl CryptoRng) -> Vec<u8> {
        let mut party = Prover::new(Transcript::new(), pk.message_table(), rng);
        self.decide_with(&mut party, &pk.srs, hiding_generator(), &mut |_| {});
        party.proof
    }

    /// [`Accumulator::decide`] with a party of the caller, whose proof it replaces.
    pub(crate) fn decide_with<R: RngCore + CryptoRng>(
        self,
        party: &mut Prover<'_, R>,
        srs: &Srs,
        h: G1Affine,
        phase: &mut dyn FnMut(Phase),
    ) {
        party.restart(super::decider_transcript(&self.digest));
        party.proof = self.messages();
        let total = Total { digest: self.digest, form: self.form, slack: self.slack, claim: self.claim, ..Total::default() };
        let secrets = decider::Secrets { srs, h, wires: &self.wires, blinders: &self.blinders, error: self.error };
        decider::decide(party, total, None, Some(secrets), phase).expect("a prover reads nothing");
    }

    /// The public part: the messages of the leaves and the folds, as they stand in a proof.
    pub fn messages(&self) -> Vec<u8> {
        let mut out = self.leaves.concat();
        for fold in &self.folds {
            out.extend(fold.before.to_le_bytes());
            out.extend(fold.messages.cross.iter().flat_map(g1_to_bytes));
            out.extend(fr_to_bytes(&fold.messages.claim));
        }
        out
    }

    /// Whether the secrets belong to the public messages, which the caller has replayed to `total`. Cost: multi-scalar multiplications of the length of the claim's vector
    /// and of the number of rows.
    pub(crate) fn check(&self, total: &Total, srs: &Srs, h: G1Affine) -> Result<(), AccumulatorError> {
        let expect = |holds: bool, what| if holds { Ok(()) } else { Err(AccumulatorError::Secrets { what }) };
        expect(self.digest == total.digest, "digest")?;
        expect(self.form == total.form && self.slack == total.slack, "form")?;
        expect(self.claim.value == total.claim.value && self.claim.bits == total.claim.bits, "claim")?;
        expect(self.claim.poly.len() == 1 << self.claim.bits && srs.g1.len() >= self.claim.poly.len(), "vector")?;
        let rows = self.wires.len() / ROW;
        expect(rows == total.form.rows() && self.blinders.len() == rows, "number of rows")?;
        let weights = self.row_weights(&total.digest);
        let mut terms: Vec<(Fr, G1Affine)> = Vec::new();
        for (weight, commitments) in &total.rows {
            terms.extend(commitments.iter().zip(&weights).map(|(c, w)| (*weight * w, *c)));
        }
        let mut row = vec![Fr::ZERO; ROW];
        for (cells, w) in self.wires.chunks(ROW).zip(&weights) {
            row.iter_mut().zip(cells).for_each(|(r, c)| *r += *w * c);
        }
        let blinder: Fr = self.blinders.iter().zip(&weights).map(|(b, w)| *b * w).sum();
        let sum = |terms: &[(Fr, G1Affine)]| {
            let (scalars, bases): (Vec<Fr>, Vec<G1Affine>) = terms.iter().copied().unzip();
            G1Affine::from(msm(&bases, &scalars))
        };
        expect(sum(&terms) == commit_to(srs, h, &row, blinder), "wires")?;
        expect(sum(&total.error) == commit_to(srs, h, &[self.error.0], self.error.1), "error term")?;
        expect(self.form.evaluate(&self.wires, self.slack) == self.error.0, "error")?;
        expect(sum(&total.claim.commitment) == commit_to(srs, h, &self.claim.poly, self.claim.blinder), "vector")?;
        let table = OpenClaim { table: Vec::new(), ..total.claim.clone() }.kernel_table();
        expect(table == self.claim.table, "kernel")?;
        let inner: Fr = table.par_chunks(1 << 12).zip(self.claim.poly.par_chunks(1 << 12)).map(|(k, p)| dot(k, p)).sum();
        expect(inner == self.claim.value, "claim's value")
    }

    /// Random weights of the rows that the maker of the accumulator could not foresee: they depend on all secrets and, by the digest, on all commitments.
    pub(crate) fn row_weights(&self, digest: &Digest) -> Vec<Fr> {
        let mut transcript = Transcript::new();
        transcript.absorb_bytes(b"checked accumulator", digest);
        for x in self.wires.iter().chain(&self.blinders) {
            transcript.absorb_scalar(b"secret", x);
        }
        transcript.challenges(b"row weight", self.blinders.len())
    }

    /// The canonical encoding: counts are u64 little-endian, lists begin with their count.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        out.count(self.leaves.len());
        for leaf in &self.leaves {
            out.count(leaf.len());
            out.0.extend_from_slice(leaf);
        }
        out.count(self.folds.len());
        for fold in &self.folds {
            out.count(fold.before as usize);
            out.0.extend(fold.messages.cross.iter().flat_map(g1_to_bytes));
            out.scalar(&fold.messages.claim);
        }
        out.0.extend_from_slice(&self.digest);
        out.scalars(&self.form.linear);
        out.count(self.form.products.len());
        for (pair, y) in &self.form.products {
            out.0.extend(pair.row.to_le_bytes());
            out.0.extend([pair.a, pair.b]);
            out.scalar(y);
        }
        out.scalar(&self.form.constant);
        out.scalar(&self.slack);
        out.count(self.claim.bits);
        out.scalar(&self.claim.value);
        out.scalars(&self.claim.poly);
        out.scalars(&self.claim.table);
        out.scalar(&self.claim.blinder);
        out.scalars(&self.wires);
        out.scalars(&self.blinders);
        out.scalar(&self.error.0);
        out.scalar(&self.error.1);
        out.0
    }

    /// Decodes; lengths must fit together. Whether the parts belong together is for [`crate::check_accumulator`].
    pub fn decode(bytes: &[u8]) -> Result<Accumulator, AccumulatorError> {
        Accumulator::read(&mut Reader(bytes)).filter(|a| a.encode() == bytes).ok_or(AccumulatorError::Malformed)
    }

    fn read(r: &mut Reader<'_>) -> Option<Accumulator> {
        let leaves = r.list(8, |r| {
            let n = r.count(1)?;
            r.bytes(n).map(<[u8]>::to_vec)
        })?;
        let folds = r.list(8 + 2 * G1_BYTES + FR_BYTES, |r| {
            let before = u32::try_from(r.count(0)?).ok()?;
            let cross = [r.point()?, r.point()?];
            Some(Fold { before, messages: Messages { cross, claim: r.scalar()? } })
        })?;
        let digest = *r.array::<32>()?;
        let linear = r.scalars()?;
        let products = r.list(6 + FR_BYTES, |r| {
            let row = u32::from_le_bytes(*r.array()?);
            let &[a, b] = r.array()?;
            Some((Pair { row, a, b }, r.scalar()?))
        })?;
        let form = Form { linear, products: products.into_iter().collect(), constant: r.scalar()? };
        let slack = r.scalar()?;
        let bits = r.count(0)?;
        let claim = OpenClaim {
            bits,
            kernel: Vec::new(),
            value: r.scalar()?,
            commitment: Vec::new(),
            poly: r.scalars()?,
            table: r.scalars()?,
            blinder: r.scalar()?,
        };
        let (wires, blinders, error) = (r.scalars()?, r.scalars()?, (r.scalar()?, r.scalar()?));
        let rows = wires.len() / ROW;
        let sizes = bits < usize::BITS as usize
            && claim.poly.len() == 1 << bits
            && claim.table.len() == 1 << bits
            && wires.len() == rows * ROW
            && form.linear.len() == wires.len()
            && blinders.len() == rows
            && form.products.keys().all(|p| (p.row as usize) < rows && p.a <= p.b && (p.b as usize) < ROW)
            && !leaves.is_empty()
            && folds.len() + 1 == leaves.len()
            && r.0.is_empty();
        sizes.then_some(Accumulator { leaves, folds, digest, form, slack, claim, wires, blinders, error })
    }
}

/// The form and the wires of `left + weight · right`.
fn combine(left: &Accumulator, right: &Accumulator, weight: Fr) -> (Form, Vec<Fr>) {
    let mut form = left.form.clone();
    form.add_scaled(weight, &right.form);
    let mut wires = left.wires.clone();
    wires.resize(wires.len().max(right.wires.len()), Fr::ZERO);
    wires.iter_mut().zip(&right.wires).for_each(|(a, b)| *a += weight * b);
    (form, wires)
}
