//! Provers that cheat beside the protocol: each test forges a proof in one particular way and sees it refused.

use crate::circuit::{Circuit, Lc, ROW, Wire};
use crate::party::{Mask, Part, Party, Verifier};
use crate::proof::{read_decider, read_leaves};
use crate::tests::{keys, prove, prove_with, sample_in_rows};
use crate::{ProvingKey, Statement, Transcript, VerifyError, VerifyingKey, verify};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zktorch_algebra::{Fr, G1Affine, fr_from_bytes, fr_to_bytes, g1_from_bytes, g1_to_bytes};
use zktorch_program::{Axis, Built, Identity, RegionId, Source, Term, View, execute};

/// A model with its keys, in rows that hold its matrix as a whole.
struct Setting {
    built: Built,
    inputs: Vec<Vec<i64>>,
    pk: ProvingKey,
    vk: VerifyingKey,
}

impl Setting {
    fn new(row_bits: u32) -> Setting {
        let (built, inputs) = sample_in_rows(row_bits);
        let (pk, vk) = keys(&built);
        Setting { built, inputs, pk, vk }
    }
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

#[test]
fn a_correction_of_a_weight_inside_the_opening_mask_is_refused() {
    // The mask is chosen before the fold's challenge. If mask and first claim had the same weight, a prover could use other weights than
    // those of the key and put the difference into the mask.
    let s = Setting::new(8);
    let mut other = s.built.clone();
    other.parameters.matrices[0] = other.parameters.matrices[0].changed(|v| v[0] += 3);
    let witness = execute(&other, &s.inputs).unwrap();
    assert_ne!(witness.publics, execute(&s.built, &s.inputs).unwrap().publics, "the forged output is wrong");
    let correction = s.pk.srs.g1[0] + s.pk.srs.g1[0] + s.pk.srs.g1[0];
    let forge = |sign: bool| {
        prove_with(&s.pk, &s.vk, &other.parameters, b"", &witness.heap, &witness.publics, rng(1), |party| {
            party.tamper_point = Some(Box::new(move |what, p| {
                if what == "opening mask" {
                    *p = G1Affine::from(if sign { correction + *p } else { -correction + *p });
                }
            }));
        })
    };
    for sign in [false, true] {
        assert!(matches!(verify(&s.vk, b"", &witness.publics, &forge(sign)).unwrap_err(), VerifyError::Opening(_)), "{sign}");
    }
}

#[test]
fn a_late_message_cannot_correct_an_early_one() {
    // Every row of hidden messages has the same generators, so opposite errors of two rows cancel in the plain sum of all rows; the opening weighs
    // the rows by a point that is drawn after them.
    let s = Setting::new(3);
    let (heap, publics) = s.witness();
    let delta = s.pk.srs.g1[1];
    let forge = |early: &'static str, late: &'static str| {
        let (mut first, mut second) = (true, true);
        prove_with(&s.pk, &s.vk, &s.built.parameters, b"", &heap, &publics, rng(1), |party| {
            party.tamper_point = Some(Box::new(move |what, p| {
                if what == early && std::mem::take(&mut first) {
                    *p = G1Affine::from(delta + *p);
                } else if what == late && std::mem::take(&mut second) {
                    *p = G1Affine::from(-delta + *p);
                }
            }));
        })
    };
    for (early, late) in [
        ("lookup top layer", "mask wires"),
        ("identity evaluations", "row evaluations"),
        ("heap row", "opening mask"),
        ("heap row", "random witness"),
        ("random witness", "cross term"),
    ] {
        let refusal = verify(&s.vk, b"", &publics, &forge(early, late)).unwrap_err();
        assert!(matches!(refusal, VerifyError::Opening(_)), "{early}, {late}: {refusal}");
    }
}

#[test]
fn a_scalar_in_the_clear_that_is_off_by_one_is_refused() {
    let s = Setting::new(3);
    let (heap, publics) = s.witness();
    for (name, refusal) in [
        ("masked evaluation", VerifyError::Circuit),
        ("masked error", VerifyError::Circuit),
        ("decider round", VerifyError::Circuit),
        ("masked row", VerifyError::Circuit),
        ("random witness evaluation", VerifyError::BatchedClaims),
        ("second masked evaluation", VerifyError::BatchedClaims),
        ("opening sumcheck", VerifyError::BatchedClaims),
        ("opening evaluation", VerifyError::BatchedClaims),
        ("folded blinder", VerifyError::Opening(crate::pcs::PcsError::Pairing)),
    ] {
        let mut first = true;
        let proof = prove_with(&s.pk, &s.vk, &s.built.parameters, b"", &heap, &publics, rng(1), |party| {
            party.tamper_scalar = Some(Box::new(move |what, x| {
                if what == name && std::mem::take(&mut first) {
                    *x += Fr::from(1u64);
                }
            }));
        });
        assert_eq!(verify(&s.vk, b"", &publics, &proof).unwrap_err(), refusal, "{name}");
    }
}

/// A verifier that checks nothing, and notes every message and every challenge.
struct Recorder<'a> {
    inner: Verifier<'a>,
    /// Name of each 32-byte word of the proof, and whether it is a point.
    words: Vec<(&'static str, bool)>,
    /// Number of words read before each challenge, and the challenge.
    challenges: Vec<(usize, Fr)>,
}

impl Recorder<'_> {
    fn note(&mut self, what: &'static str, points: usize, scalars: usize) {
        self.words.extend(std::iter::repeat_n((what, true), points));
        self.words.extend(std::iter::repeat_n((what, false), scalars));
    }
}

impl Party for Recorder<'_> {
    fn transcript(&mut self) -> &mut Transcript {
        self.inner.transcript()
    }
    fn circuit(&mut self) -> &mut Circuit {
        self.inner.circuit()
    }
    fn hidden(&mut self, what: &'static str, n: usize, values: impl FnOnce() -> Vec<Fr>) -> Result<Vec<Wire>, VerifyError> {
        self.note(what, n.div_ceil(ROW), 0);
        self.inner.hidden(what, n, values)
    }
    fn point(&mut self, what: &'static str, value: impl FnOnce() -> G1Affine) -> Result<G1Affine, VerifyError> {
        self.note(what, 1, 0);
        self.inner.point(what, value)
    }
    fn scalar(&mut self, what: &'static str, value: impl FnOnce() -> Fr) -> Result<Fr, VerifyError> {
        self.note(what, 0, 1);
        self.inner.scalar(what, value)
    }
    fn raw(
        &mut self,
        what: &'static str,
        shape: (usize, usize),
        values: impl FnOnce(&mut Transcript) -> (Vec<G1Affine>, Vec<Fr>),
    ) -> Result<(Vec<G1Affine>, Vec<Fr>), VerifyError> {
        self.note(what, shape.0, shape.1);
        self.inner.raw(what, shape, values)
    }
    fn value(&self, lc: &Lc) -> Option<Fr> {
        self.inner.value(lc)
    }
    fn rows(&self) -> &[G1Affine] {
        self.inner.rows()
    }
    fn secrets(&self) -> Option<(&[Fr], &[Fr])> {
        None
    }
    fn random(&mut self, n: usize) -> Vec<Fr> {
        self.inner.random(n)
    }
    fn mask(&mut self, what: &'static str, n: usize, commit: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Result<Mask, VerifyError> {
        self.note(what, 1, 0);
        self.inner.mask(what, n, commit)
    }
    fn restart(&mut self, transcript: Transcript) -> Part {
        self.inner.restart(transcript)
    }
    fn checks(&self) -> bool {
        false
    }
    fn challenge(&mut self, label: &'static [u8]) -> Fr {
        let c = self.inner.challenge(label);
        self.challenges.push((self.words.len(), c));
        c
    }
    fn challenges(&mut self, label: &'static [u8], n: usize) -> Vec<Fr> {
        (0..n).map(|_| self.challenge(label)).collect()
    }
}

/// The words and challenges of a proof.
type Record = (Vec<(&'static str, bool)>, Vec<(usize, Fr)>);

impl Setting {
    fn witness(&self) -> (Vec<i64>, Vec<Vec<i64>>) {
        let witness = execute(&self.built, &self.inputs).unwrap();
        (witness.heap, witness.publics)
    }
    fn prove(&self, seed: u64) -> Vec<u8> {
        let (heap, publics) = self.witness();
        prove(&self.pk, &self.vk, &self.built.parameters, b"", &heap, &publics, rng(seed))
    }
    fn record(&self, digest: &[u8; 32], context: &[u8], publics: &[Vec<i64>], proof: &[u8]) -> Record {
        let inner = Verifier::new(Transcript::new(), proof);
        let mut party = Recorder { inner, words: Vec::new(), challenges: Vec::new() };
        let mut leaves =
            read_leaves(&mut party, digest, &[Statement::of(&self.vk, context, publics)], Some(&self.vk), &mut |_| {}).unwrap().0;
        read_decider(&mut party, leaves.pop().unwrap(), Some(&self.vk), &mut |_| {}).unwrap();
        party.inner.finish().unwrap();
        (party.words, party.challenges)
    }
    /// The first and the last word of each kind of message.
    fn sampled_words(&self, words: &[(&'static str, bool)]) -> Vec<usize> {
        let ends = |i: &usize| {
            let same = |j: usize| words[j] == words[*i];
            !(0..*i).any(same) || !(*i + 1..words.len()).any(same)
        };
        (0..words.len()).filter(ends).collect()
    }
}

fn word(proof: &[u8], i: usize) -> [u8; 32] {
    proof.as_chunks::<32>().0[i]
}

fn with_word(proof: &[u8], i: usize, word: [u8; 32]) -> Vec<u8> {
    let mut out = proof.to_vec();
    out[32 * i..32 * (i + 1)].copy_from_slice(&word);
    out
}

#[test]
fn every_kind_of_message_moves_the_next_challenge() {
    // The opening's own messages have a test of their own beside the opening.
    let s = Setting::new(3);
    let (_, publics) = s.witness();
    let (digest, proof) = (s.vk.digest(), s.prove(1));
    let (words, reference) = s.record(&digest, b"", &publics, &proof);
    assert_eq!(words.len() * 32, proof.len());
    let mut kinds = std::collections::BTreeSet::new();
    for i in s.sampled_words(&words) {
        let (what, point) = words[i];
        if what == "opening" {
            continue;
        }
        kinds.insert(what);
        let other = match point {
            true => g1_to_bytes(&G1Affine::from(s.vk.pcs.g1 + g1_from_bytes(&word(&proof, i)).unwrap())),
            false => fr_to_bytes(&(fr_from_bytes(&word(&proof, i)).unwrap() + Fr::from(1u64))),
        };
        let (_, got) = s.record(&digest, b"", &publics, &with_word(&proof, i, other));
        for (k, ((read, a), (_, b))) in reference.iter().zip(&got).enumerate() {
            assert_eq!(a == b, i >= *read, "challenge {k} after a change of {what}, word {i}");
        }
    }
    assert!(kinds.len() >= 22, "{kinds:?}");
}

#[test]
fn every_part_of_the_statement_moves_the_first_challenge() {
    let s = Setting::new(3);
    let of = |digest: [u8; 32], label: &[u8], context: &[u8], publics: &[Vec<i64>]| {
        Statement { label, ..Statement::of(&s.vk, context, publics) }.transcript(&digest).challenge(b"first")
    };
    let first = |digest: [u8; 32], context: &[u8], publics: &[Vec<i64>]| of(digest, b"", context, publics);
    let digest = s.vk.digest();
    let statements = [
        of(digest, b"batch", b"", &[vec![1, 2], vec![3]]),
        of(digest, b"", b"batch", &[vec![1, 2], vec![3]]),
        first(digest, b"", &[vec![1, 2], vec![3]]),
        first([0; 32], b"", &[vec![1, 2], vec![3]]),
        first(digest, b"x", &[vec![1, 2], vec![3]]),
        first(digest, b"", &[vec![1], vec![2, 3]]),
        first(digest, b"", &[vec![1, 2, 3]]),
        first(digest, b"", &[vec![1, 2], vec![3], vec![]]),
        first(digest, b"", &[vec![2, 1], vec![3]]),
        first(digest, b"", &[vec![1, 2], vec![-3]]),
    ];
    for (i, a) in statements.iter().enumerate() {
        assert!(statements[..i].iter().all(|b| a != b), "statement {i}");
    }
}

#[test]
fn a_proof_of_one_key_is_refused_by_another_key_of_the_same_model() {
    let s = Setting::new(3);
    let (_, publics) = s.witness();
    let (_, other) = crate::setup(&s.built.program, &s.built.parameters, &s.pk.srs, &mut rng(77)).unwrap();
    assert_ne!(other.digest(), s.vk.digest());
    let proof = s.prove(1);
    let _ = verify(&s.vk, b"", &publics, &proof).unwrap();
    assert!(verify(&other, b"", &publics, &proof).is_err());
    assert!(verify(&s.vk, b"another context", &publics, &proof).is_err());
}

#[test]
fn spliced_swapped_repeated_and_empty_messages_are_refused() {
    let s = Setting::new(3);
    let (_, publics) = s.witness();
    let (proof, second) = (s.prove(1), s.prove(2));
    let (words, _) = s.record(&s.vk.digest(), b"", &publics, &proof);
    let refused = |bad: &[u8], what: &str, i: usize| {
        if bad != proof {
            assert!(verify(&s.vk, b"", &publics, bad).is_err(), "{what} at word {i}, {}", words[i].0);
        }
    };
    for i in s.sampled_words(&words) {
        refused(&with_word(&proof, i, word(&second, i)), "a message of another proof", i);
        if i > 0 {
            let joined = [&proof[..32 * i], &second[32 * i..]].concat();
            refused(&joined, "the rest of another proof", i);
        }
        if i + 1 < words.len() && words[i].1 == words[i + 1].1 {
            let (a, b) = (word(&proof, i), word(&proof, i + 1));
            refused(&with_word(&with_word(&proof, i, b), i + 1, a), "swapped messages", i);
            refused(&with_word(&proof, i + 1, a), "a repeated message", i);
        }
        let nothing = if words[i].1 { g1_to_bytes(&G1Affine::identity()) } else { [0; 32] };
        refused(&with_word(&proof, i, nothing), "an empty message", i);
    }
}

#[test]
fn keys_that_ask_for_boundless_work_are_refused_at_once() {
    let s = Setting::new(3);
    let refused = |change: &dyn Fn(&mut VerifyingKey)| {
        let mut key = s.vk.clone();
        change(&mut key);
        let refusal = VerifyingKey::decode(&key.encode()).unwrap_err();
        assert!(matches!(&refusal, VerifyError::Key(why) if why.contains("no verifier can check")), "{refusal}");
    };
    refused(&|key| {
        key.program.row_bits = 0;
        key.program.heap_len = 1 << 33;
        key.program.regions.iter_mut().filter(|r| r.is_virtual()).for_each(|r| r.base += 1 << 33);
    });
    let view = |source, offset, axes: &[(usize, usize)]| View {
        source,
        offset,
        axes: axes.iter().map(|&(size, stride)| Axis { size, stride }).collect(),
    };
    let reads = |key: &mut VerifyingKey, view: View| {
        let letters: Vec<u8> = (0..view.axes.len() as u8).collect();
        let sizes = view.shape();
        key.program.identities.push(Identity {
            name: "hostile".into(),
            outputs: sizes.len(),
            sizes,
            terms: vec![Term::linear(1, view, &letters)],
        });
    };
    // Many odd strides at once, and long overlapping windows on a constant.
    refused(&|key| {
        let region = key.program.regions.iter().position(|r| r.len >= 64).unwrap();
        reads(key, view(Source::Region(RegionId(region as u32)), 0, &[(2, 1); 31]));
    });
    refused(&|key| {
        key.program.constants.push(zktorch_program::Constant { name: "c".into(), shape: vec![1 << 19], values: vec![0; 1 << 19] });
        let id = zktorch_program::ConstantId(key.program.constants.len() as u32 - 1);
        reads(key, view(Source::Constant(id), 0, &[(1 << 18, 1), (1 << 18, 1)]));
    });
    // Repeating a constant is cheap, however often.
    let mut key = s.vk.clone();
    key.program.constants.push(zktorch_program::Constant { name: "c".into(), shape: vec![1], values: vec![0] });
    let id = zktorch_program::ConstantId(key.program.constants.len() as u32 - 1);
    reads(&mut key, view(Source::Constant(id), 0, &[(1 << 47, 0)]));
    let key = VerifyingKey::decode(&key.encode()).unwrap();
    assert!(verify(&key, b"", &s.witness().1, &s.prove(1)).is_err());
    crate::proof_shape(&key.program).unwrap();
}
