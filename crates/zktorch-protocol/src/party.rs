//! The two parties of a protocol step. Each step is written once, generic over [`Party`]: the prover computes a message and commits to it,
//! the verifier reads the commitment; both absorb it and state the same constraints, so they cannot drift apart.
//!
//! # Hidden messages
//! A hidden message of `n` values occupies `⌈n / ROW⌉` rows of [`ROW`] wires. Every row has a Pedersen commitment of its own, over *the same*
//! generators `G_0..G_{ROW-1}` and `H`. Commitments over disjoint generators of one long vector, added up, would be smaller in the
//! decider, but unsound: a late message could carry a correction on the generators of an early one and so change it after
//! its challenge is known. With a row commitment per message the binding of each message holds by itself.

use crate::circuit::{Circuit, Lc, ROW, Wire};
use crate::error::VerifyError;
use crate::transcript::Transcript;
use zktorch_algebra::{FR_BYTES, Fr, G1_BYTES, G1Affine, fr_from_bytes, g1_batch, g1_each_from_bytes};

/// What a part of a proof leaves: the hidden rows' commitments (verifier) or wires, blinders and messages (prover).
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Commitments of the hidden rows.
    pub rows: Vec<G1Affine>,
    /// Values of the wires.
    pub wires: Vec<Fr>,
    /// Blinders of the hidden rows.
    pub blinders: Vec<Fr>,
    /// The messages as they stand in the proof.
    pub messages: Vec<u8>,
}

/// A uniformly random vector that hides another one; the verifier has its commitment only.
#[derive(Clone, Debug)]
pub struct Mask {
    /// The vector.
    pub values: Vec<Fr>,
    /// The commitment's blinder.
    pub blinder: Fr,
    /// The commitment.
    pub commitment: G1Affine,
}

/// A prover or a verifier.
pub trait Party {
    /// The transcript.
    fn transcript(&mut self) -> &mut Transcript;
    /// The verifier circuit.
    fn circuit(&mut self) -> &mut Circuit;
    /// A hidden message of `n` values. `values` runs at the prover only and must return `n` values.
    fn hidden(&mut self, what: &'static str, n: usize, values: impl FnOnce() -> Vec<Fr>) -> Result<Vec<Wire>, VerifyError>;
    /// A commitment that is sent as it is (already hiding). `value` runs at the prover only.
    fn point(&mut self, what: &'static str, value: impl FnOnce() -> G1Affine) -> Result<G1Affine, VerifyError>;
    /// A scalar that is sent in the clear (already masked). `value` runs at the prover only.
    fn scalar(&mut self, what: &'static str, value: impl FnOnce() -> Fr) -> Result<Fr, VerifyError>;
    /// Points and scalars that a sub-protocol absorbs by itself. `values` runs at the prover only.
    fn raw(
        &mut self,
        what: &'static str,
        shape: (usize, usize),
        values: impl FnOnce(&mut Transcript) -> (Vec<G1Affine>, Vec<Fr>),
    ) -> Result<(Vec<G1Affine>, Vec<Fr>), VerifyError>;
    /// The value of a linear combination; `None` at the verifier.
    fn value(&self, lc: &Lc) -> Option<Fr>;
    /// Commitments of the hidden rows so far; empty at the prover.
    fn rows(&self) -> &[G1Affine];
    /// Values of the wires and blinders of the rows so far; `None` at the verifier.
    fn secrets(&self) -> Option<(&[Fr], &[Fr])>;
    /// `n` uniformly random scalars; empty at the verifier.
    fn random(&mut self, n: usize) -> Vec<Fr>;
    /// A mask of `n` values, whose commitment is sent. `commit` commits to values with a blinder and runs at the prover only.
    fn mask(&mut self, what: &'static str, n: usize, commit: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Result<Mask, VerifyError>;
    /// Begins the next part of the proof: another transcript and an empty circuit. Returns what the part before has left.
    fn restart(&mut self, transcript: Transcript) -> Part;
    /// Whether this party reads a proof and so has something to check. The prover and a dry run do not.
    fn checks(&self) -> bool;

    /// Draws a challenge.
    fn challenge(&mut self, label: &'static [u8]) -> Fr {
        self.transcript().challenge(label)
    }
    /// Draws several challenges.
    fn challenges(&mut self, label: &'static [u8], n: usize) -> Vec<Fr> {
        self.transcript().challenges(label, n)
    }
}

/// Points that one thread decodes at a time.
#[cfg(feature = "prover")]
const DECODED: usize = 64;
/// Most points that are decoded before they are read: a proof of tens of kilobytes as a whole, and little of what may follow it.
const MOST_DECODED: usize = 1 << 12;

/// Decodes words as points, on all cores.
pub(crate) fn decode_points(words: &[[u8; G1_BYTES]]) -> Vec<Option<G1Affine>> {
    #[cfg(feature = "prover")]
    {
        use rayon::prelude::*;
        words.par_chunks(DECODED).flat_map_iter(g1_each_from_bytes).collect()
    }
    #[cfg(not(feature = "prover"))]
    g1_each_from_bytes(words)
}

/// Where a verifier's messages come from.
enum Source<'a> {
    /// A proof.
    Proof {
        /// What has not been read.
        rest: &'a [u8],
        /// The next words, decoded as points in case they are: several at a time cost little more than one. The word after the last
        /// of them stands where `ahead_end` bytes are left.
        ahead: Vec<Option<G1Affine>>,
        ahead_end: usize,
        /// Words to decode next.
        window: usize,
    },
    /// Nowhere: every message is zero. Used to learn the shape of a proof from a verifying key alone.
    Dry {
        /// Bytes that each kind of message would have taken so far, in the order of its first message.
        parts: Vec<(&'static str, usize)>,
        /// Bytes that may still be read.
        left: usize,
    },
}

/// The verifier: reads messages from a proof.
pub struct Verifier<'a> {
    transcript: Transcript,
    circuit: Circuit,
    source: Source<'a>,
    /// Commitments of the hidden rows, in order.
    pub rows: Vec<G1Affine>,
}

impl<'a> Verifier<'a> {
    /// Reads from `proof`.
    pub fn new(transcript: Transcript, proof: &'a [u8]) -> Verifier<'a> {
        Verifier {
            transcript,
            circuit: Circuit::default(),
            source: Source::Proof { rest: proof, ahead: Vec::new(), ahead_end: proof.len(), window: MOST_DECODED },
            rows: Vec::new(),
        }
    }

    /// Decodes the next words as points: words that are scalars are decoded in vain, which is cheaper than to learn where they are.
    pub(crate) fn decode_ahead(&mut self) {
        if let Source::Proof { rest, ahead, ahead_end, window } = &mut self.source {
            let words = rest.as_chunks::<G1_BYTES>().0;
            *ahead = decode_points(words.get(..*window).unwrap_or(words));
            *ahead_end = rest.len().saturating_sub(ahead.len().saturating_mul(G1_BYTES));
        }
    }

    /// A verifier that reads zeros: to learn how long a proof is and how large its circuit.
    pub fn dry() -> Verifier<'static> {
        Verifier::dry_within(usize::MAX)
    }

    /// [`Verifier::dry`] that reads no more than so many bytes, for statements that somebody else made: each may be short and ask for much.
    pub(crate) fn dry_within(bytes: usize) -> Verifier<'static> {
        let source = Source::Dry { parts: Vec::new(), left: bytes };
        Verifier { transcript: Transcript::new(), circuit: Circuit::default(), source, rows: Vec::new() }
    }

    /// Reads a number of four bytes, little-endian; a dry run has `dry` instead. The caller absorbs what it means.
    pub(crate) fn count(&mut self, what: &'static str, dry: u32) -> Result<u32, VerifyError> {
        Ok(self.take::<4>(what)?.map_or(dry, u32::from_le_bytes))
    }

    /// The messages of the proof that a dry run has read: name and total length of each kind, in the order of their first message.
    pub fn dry_parts(&self) -> &[(&'static str, usize)] {
        match &self.source {
            Source::Dry { parts, .. } => parts,
            Source::Proof { .. } => &[],
        }
    }

    /// Refuses bytes after the last message.
    pub fn finish(&self) -> Result<(), VerifyError> {
        match self.source {
            Source::Proof { rest, .. } if !rest.is_empty() => Err(VerifyError::TrailingBytes { count: rest.len() }),
            _ => Ok(()),
        }
    }

    fn take<const N: usize>(&mut self, what: &'static str) -> Result<Option<[u8; N]>, VerifyError> {
        match &mut self.source {
            Source::Proof { rest, .. } => {
                let (head, tail) = rest.split_first_chunk::<N>().ok_or(VerifyError::Truncated { what })?;
                let head = *head;
                *rest = tail;
                Ok(Some(head))
            }
            Source::Dry { parts, left } => {
                *left = left.checked_sub(N).ok_or(VerifyError::Truncated { what })?;
                match parts.iter_mut().find(|(name, _)| *name == what) {
                    Some((_, length)) => *length += N,
                    None => parts.push((what, N)),
                }
                Ok(None)
            }
        }
    }

    fn read_scalar(&mut self, what: &'static str) -> Result<Fr, VerifyError> {
        match self.take::<FR_BYTES>(what)? {
            Some(bytes) => fr_from_bytes(&bytes).ok_or(VerifyError::BadScalar { what }),
            None => Ok(Fr::default()),
        }
    }

    fn read_point(&mut self, what: &'static str) -> Result<G1Affine, VerifyError> {
        if let Source::Proof { rest, ahead_end, window, .. } = &mut self.source {
            // Words decoded and not yet passed; what was decoded is of no use at another alignment.
            let left = rest.len().saturating_sub(*ahead_end);
            if left == 0 || left % G1_BYTES != 0 {
                // More than before if those were of use.
                *window = if left == 0 { (2 * *window).min(MOST_DECODED) } else { g1_batch() };
                self.decode_ahead();
            }
        }
        if let Source::Proof { rest, ahead, ahead_end, .. } = &mut self.source {
            let left = rest.len().saturating_sub(*ahead_end) / G1_BYTES;
            let point = ahead.len().checked_sub(left).and_then(|i| ahead.get(i)).copied().flatten();
            self.take::<G1_BYTES>(what)?;
            return point.ok_or(VerifyError::BadPoint { what });
        }
        self.take::<G1_BYTES>(what)?;
        Ok(G1Affine::identity())
    }
}

impl Party for Verifier<'_> {
    fn transcript(&mut self) -> &mut Transcript {
        &mut self.transcript
    }
    fn circuit(&mut self) -> &mut Circuit {
        &mut self.circuit
    }
    fn hidden(&mut self, what: &'static str, n: usize, _: impl FnOnce() -> Vec<Fr>) -> Result<Vec<Wire>, VerifyError> {
        let wires = self.circuit.allocate(n);
        for _ in 0..n.div_ceil(ROW) {
            let row = self.read_point(what)?;
            self.transcript.absorb_point(what.as_bytes(), &row);
            self.rows.push(row);
        }
        Ok(wires)
    }
    fn point(&mut self, what: &'static str, _: impl FnOnce() -> G1Affine) -> Result<G1Affine, VerifyError> {
        let p = self.read_point(what)?;
        self.transcript.absorb_point(what.as_bytes(), &p);
        Ok(p)
    }
    fn scalar(&mut self, what: &'static str, _: impl FnOnce() -> Fr) -> Result<Fr, VerifyError> {
        let s = self.read_scalar(what)?;
        self.transcript.absorb_scalar(what.as_bytes(), &s);
        Ok(s)
    }
    fn raw(
        &mut self,
        what: &'static str,
        (points, scalars): (usize, usize),
        _: impl FnOnce(&mut Transcript) -> (Vec<G1Affine>, Vec<Fr>),
    ) -> Result<(Vec<G1Affine>, Vec<Fr>), VerifyError> {
        let points = (0..points).map(|_| self.read_point(what)).collect::<Result<_, _>>()?;
        let scalars = (0..scalars).map(|_| self.read_scalar(what)).collect::<Result<_, _>>()?;
        Ok((points, scalars))
    }
    fn value(&self, _: &Lc) -> Option<Fr> {
        None
    }
    fn rows(&self) -> &[G1Affine] {
        &self.rows
    }
    fn secrets(&self) -> Option<(&[Fr], &[Fr])> {
        None
    }
    fn random(&mut self, _: usize) -> Vec<Fr> {
        Vec::new()
    }
    fn mask(&mut self, what: &'static str, _: usize, _: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Result<Mask, VerifyError> {
        Ok(Mask { values: Vec::new(), blinder: Fr::default(), commitment: self.point(what, G1Affine::identity)? })
    }
    fn restart(&mut self, transcript: Transcript) -> Part {
        self.transcript = transcript;
        self.circuit = Circuit::default();
        Part { rows: std::mem::take(&mut self.rows), ..Part::default() }
    }
    fn checks(&self) -> bool {
        matches!(self.source, Source::Proof { .. })
    }
}

#[cfg(feature = "prover")]
pub use prover::Prover;

#[cfg(feature = "prover")]
mod prover {
    use super::*;
    use crate::masks::Masks;
    use ark_ff::AdditiveGroup;
    use rand_core::{CryptoRng, RngCore};
    use std::sync::Arc;
    use zktorch_algebra::{fr_from_wide_bytes, fr_to_bytes, g1_to_bytes, msm::FixedBaseTable};

    /// A uniformly random scalar.
    pub fn random_scalar(rng: &mut (impl CryptoRng + ?Sized)) -> Fr {
        let mut bytes = [0u8; 64];
        rng.fill_bytes(&mut bytes);
        fr_from_wide_bytes(&bytes)
    }

    impl Mask {
        /// A mask with fresh randomness.
        pub(crate) fn random(rng: &mut (impl CryptoRng + ?Sized), n: usize, commit: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Mask {
            let blinder = random_scalar(rng);
            let values: Vec<Fr> = (0..n).map(|_| random_scalar(rng)).collect();
            let commitment = commit(&values, blinder);
            Mask { values, blinder, commitment }
        }
    }

    /// Multiples of what hidden messages are committed with: `G_0..G_{ROW-1}` and, last, `H`.
    pub(crate) fn message_table(srs: &crate::pcs::Srs, h: G1Affine) -> FixedBaseTable {
        let mut bases = srs.g1[..ROW].to_vec();
        bases.push(h);
        FixedBaseTable::new(&bases, 5)
    }

    /// Called with a message's name and its content, which it may change.
    #[cfg(test)]
    pub type Tamper<'a, T> = Box<dyn FnMut(&'static str, &mut T) + 'a>;

    /// The prover: computes messages, commits to the hidden ones and writes the proof.
    pub struct Prover<'a, R> {
        transcript: Transcript,
        circuit: Circuit,
        /// Values of the wires.
        pub wires: Vec<Fr>,
        /// Blinders of the hidden rows.
        pub blinders: Vec<Fr>,
        /// The proof so far.
        pub proof: Vec<u8>,
        /// Randomness for blinding.
        pub rng: R,
        /// Multiples of `G_0..G_{ROW-1}` and, last, `H`.
        table: &'a FixedBaseTable,
        /// Masks that are made before they are needed.
        pub(crate) masks: Option<Arc<Masks>>,
        /// Tests only: called with the message's name and its number; may change the message.
        #[cfg(test)]
        pub tamper: Option<Tamper<'a, Vec<Fr>>>,
        /// Tests only: may change a commitment (of a hidden row or sent as it is) before it is absorbed.
        #[cfg(test)]
        pub tamper_point: Option<Tamper<'a, G1Affine>>,
        /// Tests only: may change a scalar in the clear before it is absorbed.
        #[cfg(test)]
        pub tamper_scalar: Option<Tamper<'a, Fr>>,
    }

    impl<'a, R: RngCore + CryptoRng> Prover<'a, R> {
        /// `table` holds `G_0..G_{ROW-1}` and then `H`.
        pub fn new(transcript: Transcript, table: &'a FixedBaseTable, rng: R) -> Prover<'a, R> {
            Prover {
                transcript,
                circuit: Circuit::default(),
                wires: Vec::new(),
                blinders: Vec::new(),
                proof: Vec::new(),
                rng,
                table,
                masks: None,
                #[cfg(test)]
                tamper: None,
                #[cfg(test)]
                tamper_point: None,
                #[cfg(test)]
                tamper_scalar: None,
            }
        }
    }

    impl<R: RngCore + CryptoRng> Party for Prover<'_, R> {
        fn transcript(&mut self) -> &mut Transcript {
            &mut self.transcript
        }
        fn circuit(&mut self) -> &mut Circuit {
            &mut self.circuit
        }
        fn hidden(&mut self, what: &'static str, n: usize, values: impl FnOnce() -> Vec<Fr>) -> Result<Vec<Wire>, VerifyError> {
            let mut values = values();
            assert_eq!(values.len(), n, "a message has the announced length");
            #[cfg(test)]
            if let Some(tamper) = &mut self.tamper {
                tamper(what, &mut values);
            }
            let wires = self.circuit.allocate(n);
            values.resize(n.div_ceil(ROW) * ROW, Fr::ZERO);
            for row in values.chunks(ROW) {
                let blinder = random_scalar(&mut self.rng);
                let mut terms: Vec<(usize, Fr)> = row.iter().copied().enumerate().filter(|(_, v)| *v != Fr::ZERO).collect();
                terms.push((ROW, blinder));
                #[cfg_attr(not(test), expect(unused_mut, reason = "tests change it"))]
                let mut commitment = G1Affine::from(self.table.mul_sum(&terms));
                #[cfg(test)]
                if let Some(tamper) = &mut self.tamper_point {
                    tamper(what, &mut commitment);
                }
                self.transcript.absorb_point(what.as_bytes(), &commitment);
                self.proof.extend_from_slice(&g1_to_bytes(&commitment));
                self.blinders.push(blinder);
            }
            self.wires.extend_from_slice(&values);
            Ok(wires)
        }
        fn point(&mut self, what: &'static str, value: impl FnOnce() -> G1Affine) -> Result<G1Affine, VerifyError> {
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests change it"))]
            let mut p = value();
            #[cfg(test)]
            if let Some(tamper) = &mut self.tamper_point {
                tamper(what, &mut p);
            }
            self.transcript.absorb_point(what.as_bytes(), &p);
            self.proof.extend_from_slice(&g1_to_bytes(&p));
            Ok(p)
        }
        fn scalar(&mut self, what: &'static str, value: impl FnOnce() -> Fr) -> Result<Fr, VerifyError> {
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests change it"))]
            let mut s = value();
            #[cfg(test)]
            if let Some(tamper) = &mut self.tamper_scalar {
                tamper(what, &mut s);
            }
            self.transcript.absorb_scalar(what.as_bytes(), &s);
            self.proof.extend_from_slice(&fr_to_bytes(&s));
            Ok(s)
        }
        fn raw(
            &mut self,
            _: &'static str,
            shape: (usize, usize),
            values: impl FnOnce(&mut Transcript) -> (Vec<G1Affine>, Vec<Fr>),
        ) -> Result<(Vec<G1Affine>, Vec<Fr>), VerifyError> {
            let (points, scalars) = values(&mut self.transcript);
            assert_eq!((points.len(), scalars.len()), shape, "a message has the announced length");
            for p in &points {
                self.proof.extend_from_slice(&g1_to_bytes(p));
            }
            for s in &scalars {
                self.proof.extend_from_slice(&fr_to_bytes(s));
            }
            Ok((points, scalars))
        }
        fn value(&self, lc: &Lc) -> Option<Fr> {
            Some(lc.value(&self.wires))
        }
        fn rows(&self) -> &[G1Affine] {
            &[]
        }
        fn secrets(&self) -> Option<(&[Fr], &[Fr])> {
            Some((&self.wires, &self.blinders))
        }
        fn random(&mut self, n: usize) -> Vec<Fr> {
            (0..n).map(|_| random_scalar(&mut self.rng)).collect()
        }
        fn mask(&mut self, what: &'static str, n: usize, commit: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Result<Mask, VerifyError> {
            let made = self.masks.as_ref().and_then(|masks| masks.take(what, n));
            let mut mask = made.unwrap_or_else(|| Mask::random(&mut self.rng, n, commit));
            mask.commitment = self.point(what, || mask.commitment)?;
            Ok(mask)
        }
        fn restart(&mut self, transcript: Transcript) -> Part {
            self.transcript = transcript;
            self.circuit = Circuit::default();
            Part {
                rows: Vec::new(),
                wires: std::mem::take(&mut self.wires),
                blinders: std::mem::take(&mut self.blinders),
                messages: std::mem::take(&mut self.proof),
            }
        }
        fn checks(&self) -> bool {
            false
        }
    }
}

#[cfg(feature = "prover")]
pub(crate) use prover::message_table;
#[cfg(feature = "prover")]
pub use prover::random_scalar;
