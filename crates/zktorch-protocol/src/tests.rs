//! Whole proofs, honest and not.

use crate::party::Prover;
use crate::pcs::Srs;
use crate::{Blinding, Phase, ProvingKey, Statement, VerifyError, VerifyingKey, Witness, required_srs_size, setup, verify};
use ark_ff::AdditiveGroup;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zktorch_algebra::Fr;
use zktorch_program::{Builder, Built, Parameters, Part, RegionKind, Step, Term, execute};

/// A proof of one inference of a key's own program, by a prover that `hook` may turn into a cheating one.
#[allow(clippy::too_many_arguments)]
pub(crate) fn prove_with(
    pk: &ProvingKey,
    key: &VerifyingKey,
    parameters: &Parameters,
    context: &[u8],
    heap: &[i64],
    publics: &[Vec<i64>],
    rng: ChaCha20Rng,
    hook: impl FnOnce(&mut Prover<'_, ChaCha20Rng>),
) -> Vec<u8> {
    let witness = Witness { heap, parameters };
    crate::proof::prove_with(pk, key, &Statement::of(key, context, publics), witness, Blinding::Fresh, rng, &mut |_| {}, hook).unwrap()
}

/// An honest one.
pub(crate) fn prove(
    pk: &ProvingKey,
    key: &VerifyingKey,
    parameters: &Parameters,
    context: &[u8],
    heap: &[i64],
    publics: &[Vec<i64>],
    rng: ChaCha20Rng,
) -> Vec<u8> {
    prove_with(pk, key, parameters, context, heap, publics, rng, |_| {})
}

/// `y = relu(x Wᵀ + b) >> 4`, with public x and y.
fn sample() -> (Built, Vec<Vec<i64>>) {
    sample_in_rows(3)
}

/// The same in rows of `2^row_bits` cells.
pub(crate) fn sample_in_rows(row_bits: u32) -> (Built, Vec<Vec<i64>>) {
    let mut b = Builder::new();
    let (n, k, m) = (4usize, 6usize, 5usize);
    let public_x = b.public("x", &[n, k], -100, 100);
    let x = b.assigned_cells(&[n, k], -100, 100);
    b.step(Step::Input { input: 0, name: "x".into(), view: public_x.clone(), lo: -100, hi: 100 });
    b.assign_into("x", &[n, k], 2, vec![Term::linear(1, public_x, &[0, 1])], &x, -100, 100);
    let w = b.matrix("w", &[m, k], (0..m * k).map(|i| (i as i32 * 37) % 41 - 20).collect());
    let bias = b.param("bias", &[m], &[5, -300, 40, 0, 77]);
    let relu: Vec<i64> = (-2048..2048).map(|v: i64| v.max(0)).collect();
    let table = b.function_table("relu", -2048, vec![relu]);
    let hy = b.column_cells(table, &[n, m]);
    let remainders = b.range_table(0, 4);
    let r = b.virtual_cells("linear", remainders, &[n, m]);
    let terms = vec![Term::product(1, x, &[0, 2], w, &[1, 2]), Term::linear(1, bias, &[1]), Term::constant(8)];
    let parts = [Part { weight: 16, lo: -2048, bits: 12 }, Part { weight: 1, lo: 0, bits: 4 }];
    b.decompose_into("linear", &[n, m, k], 2, terms, &parts, &[hy[0].clone(), r]);
    b.apply("relu", table, &hy);
    let public_y = b.public("y", &[n, m], 0, 4000);
    b.assign_into("y", &[n, m], 2, vec![Term::linear(1, hy[1].clone(), &[0, 1])], &public_y, 0, 4000);
    let inputs = vec![(0..(n * k) as i64).map(|i| (i * 53) % 201 - 100).collect()];
    (b.finish(Some(row_bits)), inputs)
}

pub(crate) fn keys(built: &Built) -> (ProvingKey, VerifyingKey) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let srs = Srs::generate(required_srs_size(&built.program).unwrap(), &mut rng);
    setup(&built.program, &built.parameters, &srs, &mut rng).unwrap()
}

#[test]
fn a_proof_depends_neither_on_vector_instructions_nor_on_threads() {
    let (built, inputs) = sample();
    let witness = execute(&built, &inputs).unwrap();
    let (pk, vk) = keys(&built);
    let make = || {
        let rng = ChaCha20Rng::seed_from_u64(5);
        prove(&pk, &vk, &built.parameters, b"ctx", &witness.heap, &witness.publics, rng)
    };
    // The instructions are forbidden to a thread, so there is only one.
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(single.install(|| zktorch_algebra::ifma::portable(make)), make());
}

/// Were they others, proofs would be made all the same, but later.
#[test]
fn masks_are_as_long_as_what_is_known_before_says() {
    let (built, inputs) = sample();
    let witness = execute(&built, &inputs).unwrap();
    let (pk, vk) = keys(&built);
    let statement = Statement::of(&vk, b"ctx", &witness.publics);
    let secrets = Witness { heap: &witness.heap, parameters: &built.parameters };
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let masks = crate::masks::Masks::new(&pk, vk.pcs.h, &statement, &mut rng).unwrap();
    rayon::join(|| masks.make(), || masks.make());
    let lens = crate::masks::Masks::lens(pk.hidden_rows, &built.program);
    let accumulator = crate::accumulate(&pk, &vk, &statement, secrets, Blinding::Fresh, rng, &mut |_| {}).unwrap();
    // A random cell is not zero.
    assert_eq!(accumulator.claim.poly.iter().rposition(|c| *c != Fr::ZERO), Some(lens[0] - 1));
    assert_eq!(lens[1], accumulator.wires.len() + crate::opening::MASK_ROWS * crate::circuit::ROW);
    for (name, len) in crate::masks::NAMES.into_iter().zip(lens) {
        assert!(masks.take(name, len + 1).is_none(), "another length");
        let mask = masks.take(name, len).unwrap();
        assert_eq!(mask.commitment, crate::opening::prover::commit_to(&pk.srs, vk.pcs.h, &mask.values, mask.blinder));
        assert!(mask.values.iter().all(|v| *v != Fr::ZERO));
        assert!(masks.take(name, len).is_none(), "a mask hides once");
    }
    // What nobody has begun is made by who needs it.
    let masks = crate::masks::Masks::new(&pk, vk.pcs.h, &statement, &mut ChaCha20Rng::seed_from_u64(5)).unwrap();
    let late: Vec<_> = crate::masks::NAMES.into_iter().zip(lens).map(|(name, len)| masks.take(name, len).unwrap().commitment).collect();
    assert_ne!(late[0], late[1]);
    // So is what somebody has begun who cannot go on.
    let masks = crate::masks::Masks::new(&pk, vk.pcs.h, &statement, &mut ChaCha20Rng::seed_from_u64(5)).unwrap();
    masks.begin();
    let begun: Vec<_> = crate::masks::NAMES.into_iter().zip(lens).map(|(name, len)| masks.take(name, len).unwrap().commitment).collect();
    assert_eq!(begun, late);
    // A proof asks for them by these names and lengths.
    let mut asked = None;
    let (heap, publics) = (&witness.heap, &witness.publics);
    prove_with(&pk, &vk, &built.parameters, b"ctx", heap, publics, ChaCha20Rng::seed_from_u64(5), |party| asked = party.masks.clone());
    let asked = asked.unwrap();
    for (name, len) in crate::masks::NAMES.into_iter().zip(lens) {
        assert!(asked.take(name, len).is_none(), "{name}");
    }
    let derived = Statement { label: b"batch", ..statement };
    assert!(crate::masks::Masks::new(&pk, vk.pcs.h, &derived, &mut ChaCha20Rng::seed_from_u64(5)).is_none());
}

/// A thread that waits for others may begin another proof: none may wait for one that it has put off.
#[test]
fn proofs_side_by_side_come_to_an_end() {
    use rayon::prelude::*;
    let (built, inputs) = sample();
    let witness = execute(&built, &inputs).unwrap();
    let (pk, vk) = keys(&built);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let make = |seed| prove(&pk, &vk, &built.parameters, b"ctx", &witness.heap, &witness.publics, ChaCha20Rng::seed_from_u64(seed));
    let proofs: Vec<Vec<u8>> = pool.install(|| (0..24u64).into_par_iter().map(make).collect());
    for proof in &proofs {
        let _ = verify(&vk, b"ctx", &witness.publics, proof).unwrap();
    }
    assert_eq!(proofs[7], make(7), "whoever has made its masks");
}

#[test]
fn an_honest_proof_verifies_and_differs_every_time() {
    let (built, inputs) = sample();
    zktorch_program::audit(&built.program).unwrap();
    let witness = execute(&built, &inputs).unwrap();
    zktorch_program::check(&built.program, &built.parameters, &witness).unwrap();
    let (pk, vk) = keys(&built);
    let mut phases: Vec<Phase> = Vec::new();
    let make = |seed, phases: &mut Vec<Phase>| {
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let statement = Statement::of(&vk, b"ctx", &witness.publics);
        let secrets = Witness { heap: &witness.heap, parameters: &built.parameters };
        crate::prove(&pk, &vk, &statement, secrets, Blinding::Fresh, rng, &mut |p| phases.push(p)).unwrap()
    };
    let proof = make(5, &mut phases);
    assert_eq!(phases.len(), 7);
    let verified = verify(&vk, b"ctx", &witness.publics, &proof).unwrap();
    assert_eq!(verified.publics, witness.publics);
    assert_eq!(proof.len(), crate::proof_shape(&built.program).unwrap().bytes);
    assert_eq!(proof, make(5, &mut phases), "with fixed randomness a proof is reproducible");
    let other = make(6, &mut phases);
    let words = proof.as_chunks::<32>().0.iter().zip(other.as_chunks::<32>().0);
    let equal = words.filter(|(a, b)| a == b).count();
    assert_eq!(equal, 0, "every message is blinded");
    assert!(verify(&vk, b"other", &witness.publics, &proof).is_err());
    let decoded = VerifyingKey::decode(&vk.encode()).unwrap();
    assert_eq!(decoded.digest(), vk.digest());
    let _ = verify(&decoded, b"ctx", &witness.publics, &proof).unwrap();
    let mut longer = proof.clone();
    longer.push(0);
    assert_eq!(verify(&vk, b"ctx", &witness.publics, &longer).unwrap_err(), VerifyError::TrailingBytes { count: 1 });
}

/// A sample with its keys and an honest witness.
struct Setting {
    built: Built,
    pk: ProvingKey,
    vk: VerifyingKey,
    heap: Vec<i64>,
    publics: Vec<Vec<i64>>,
}

impl Setting {
    fn new() -> Setting {
        Setting::of(sample())
    }
    /// Every feature of programs, in small.
    fn rich() -> Setting {
        Setting::of(zktorch_program::testing::sample_program())
    }
    fn of((built, inputs): (Built, Vec<Vec<i64>>)) -> Setting {
        let witness = execute(&built, &inputs).unwrap();
        let (pk, vk) = keys(&built);
        Setting { built, pk, vk, heap: witness.heap, publics: witness.publics }
    }
    /// The names of the kinds of hidden messages of an honest proof.
    fn hidden_messages(&self) -> Vec<&'static str> {
        let rng = ChaCha20Rng::seed_from_u64(9);
        let (heap, publics) = (&self.heap, &self.publics);
        let names = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = names.clone();
        prove_with(&self.pk, &self.vk, &self.built.parameters, b"", heap, publics, rng, |party| {
            party.tamper = Some(Box::new(move |what, _| {
                if !seen.borrow().contains(&what) {
                    seen.borrow_mut().push(what);
                }
            }));
        });
        names.borrow().clone()
    }
    fn attempt(&self, heap: &[i64], publics: &[Vec<i64>], tamper: Option<(&'static str, usize)>) -> Result<crate::Verified, VerifyError> {
        let rng = ChaCha20Rng::seed_from_u64(9);
        let proof = prove_with(&self.pk, &self.vk, &self.built.parameters, b"", heap, publics, rng, |party| {
            if let Some((name, position)) = tamper {
                let mut seen = 0;
                party.tamper = Some(Box::new(move |what, values| {
                    if what == name {
                        if let (0, Some(value)) = (seen, values.get_mut(position)) {
                            *value += zktorch_algebra::Fr::from(1u64);
                        }
                        seen += 1;
                    }
                }));
            }
        });
        verify(&self.vk, b"", publics, &proof)
    }
}

#[test]
fn one_wrong_cell_of_any_region_is_refused_by_the_verifier_circuit() {
    let s = Setting::rich();
    let _ = s.attempt(&s.heap, &s.publics, None).unwrap();
    for region in &s.built.program.regions {
        for (cell, delta) in [(region.base, 1), (region.base + region.len - 1, -1)] {
            let mut heap = s.heap.clone();
            heap[cell] += delta;
            let refusal = s.attempt(&heap, &s.publics, None).unwrap_err();
            assert_eq!(refusal, VerifyError::Circuit, "region {region:?}");
        }
    }
}

#[test]
fn values_that_wrap_around_the_range_are_refused() {
    // A multiple of the rescaling's weight moved from the remainder to the quotient, and large values everywhere.
    let s = Setting::rich();
    for region in &s.built.program.regions {
        for value in [1i64 << 40, -(1 << 40), i64::MAX, i64::MIN + 1] {
            let mut heap = s.heap.clone();
            heap[region.base] = value;
            assert_eq!(s.attempt(&heap, &s.publics, None).unwrap_err(), VerifyError::Circuit, "region {region:?}");
        }
    }
}

#[test]
fn a_remainder_outside_its_table_is_refused_though_its_identity_holds() {
    // `16 q + r` stays what it is. No commitment holds `r`, so nothing but its lookup stands against this.
    let s = Setting::new();
    let regions = &s.built.program.regions;
    let remainder = regions.iter().find(|r| r.is_virtual()).unwrap().base;
    let quotient = regions.iter().find(|r| matches!(r.kind, RegionKind::Column { column: 0, .. })).unwrap().base;
    for cell in [0, 7, 19] {
        let mut heap = s.heap.clone();
        heap[quotient + cell] -= 1;
        heap[remainder + cell] += 16;
        assert_eq!(s.attempt(&heap, &s.publics, None).unwrap_err(), VerifyError::Circuit);
        // A prover who looks up another remainder than the one that the identity leaves over.
        heap[remainder + cell] -= 16;
        assert_eq!(s.attempt(&heap, &s.publics, None).unwrap_err(), VerifyError::Circuit);
    }
}

#[test]
fn other_weights_than_those_of_the_key_are_refused() {
    let mut s = Setting::rich();
    let honest = s.built.parameters.clone();
    for at in 0..honest.heap.len() {
        s.built.parameters.heap[at] += 1;
        assert!(s.attempt(&s.heap, &s.publics, None).is_err(), "parameter {at}");
        s.built.parameters = honest.clone();
    }
    for m in 0..honest.matrices.len() {
        s.built.parameters.matrices[m] = honest.matrices[m].changed(|v| v[0] ^= 1);
        assert!(s.attempt(&s.heap, &s.publics, None).is_err(), "matrix {m}");
        s.built.parameters = honest.clone();
    }
}

#[test]
fn public_tensors_are_bound_to_their_cells() {
    let s = Setting::new();
    for t in 0..s.publics.len() {
        let mut publics = s.publics.clone();
        publics[t][3] += 1;
        assert_eq!(s.attempt(&s.heap, &publics, None).unwrap_err(), VerifyError::Circuit);
    }
    let mut swapped = s.publics.clone();
    swapped[1].swap(0, 1);
    assert_ne!(swapped, s.publics);
    assert_eq!(s.attempt(&s.heap, &swapped, None).unwrap_err(), VerifyError::Circuit);
    assert_eq!(verify(&s.vk, b"", &s.publics[..1], &[]).unwrap_err(), VerifyError::PublicCount { expected: 2, got: 1 });
    let mut long = s.publics.clone();
    long[0].push(0);
    assert!(matches!(verify(&s.vk, b"", &long, &[]).unwrap_err(), VerifyError::PublicLength { got: 25, .. }));
    let mut far = s.publics.clone();
    far[1][2] = 5000;
    assert!(matches!(verify(&s.vk, b"", &far, &[]).unwrap_err(), VerifyError::PublicRange { index: 2, value: 5000, .. }));
}

#[test]
fn a_hidden_message_of_any_kind_that_is_off_by_one_is_refused() {
    let s = Setting::rich();
    let names = s.hidden_messages();
    assert!(names.len() >= 10, "{names:?}");
    // Wires without constraints have no honest value.
    let names = names.into_iter().filter(|n| *n != "mask wires");
    for name in names {
        // Every value of the first message of a kind.
        let refused = (0..).map_while(|at| s.attempt(&s.heap, &s.publics, Some((name, at))).err());
        let refusals: Vec<VerifyError> = refused.collect();
        // The mask's value among the row evaluations is for the opening to check.
        let mask = usize::from(name == "row evaluations");
        assert!(refusals.len() > mask && refusals.iter().rev().skip(mask).all(|r| *r == VerifyError::Circuit), "{name}: {refusals:?}");
        assert!(!name.ends_with("sumcheck") || refusals.len() >= 2, "{name}: {}", refusals.len());
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused_without_a_panic() {
    let s = Setting::new();
    let rng = ChaCha20Rng::seed_from_u64(9);
    let proof = prove(&s.pk, &s.vk, &s.built.parameters, b"", &s.heap, &s.publics, rng);
    let _ = verify(&s.vk, b"", &s.publics, &proof).unwrap();
    for word in (0..proof.len() / 32).step_by(7).chain(proof.len() / 32 - 90..proof.len() / 32) {
        for (byte, mask) in [(0, 1u8), (31, 0x80), (15, 0x10)] {
            let mut bad = proof.clone();
            bad[word * 32 + byte] ^= mask;
            assert!(verify(&s.vk, b"", &s.publics, &bad).is_err(), "word {word} byte {byte}");
        }
    }
    for cut in [0, 1, 31, 32, 1000, proof.len() - 1] {
        assert!(matches!(verify(&s.vk, b"", &s.publics, &proof[..cut]).unwrap_err(), VerifyError::Truncated { .. }));
    }
}

#[test]
fn a_changed_verifying_key_refuses_the_proof_or_does_not_decode() {
    let s = Setting::new();
    let rng = ChaCha20Rng::seed_from_u64(9);
    let proof = prove(&s.pk, &s.vk, &s.built.parameters, b"", &s.heap, &s.publics, rng);
    let bytes = s.vk.encode();
    for at in (0..bytes.len()).step_by(bytes.len() / 150 + 1) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        if let Ok(key) = VerifyingKey::decode(&bad) {
            assert!(verify(&key, b"", &s.publics, &proof).is_err(), "byte {at}");
        }
    }
    let mut matrix_rows = s.vk.matrix_rows.clone();
    matrix_rows[0].swap(0, 1);
    let other = VerifyingKey::new(s.vk.program.clone(), s.vk.params_rows.clone(), matrix_rows, s.vk.pcs);
    assert_ne!(other.digest(), s.vk.digest());
    assert!(verify(&other, b"", &s.publics, &proof).is_err());
}

#[test]
fn matrices_that_change_places_are_refused() {
    // Both are read at one point, so their rows are combined in one vector, and the sum of their values stays what it is. Their weights in it differ.
    let mut b = Builder::new();
    let (n, k) = (4usize, 8usize);
    let x = b.public("x", &[n], -100, 100);
    b.step(Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: -100, hi: 100 });
    for (name, seed) in [("u", 37), ("v", 23)] {
        let w = b.matrix(name, &[n, k], (0..n * k).map(|i| (i as i32 * seed) % 41 - 20).collect());
        let y = b.public(name, &[k], -20000, 20000);
        b.assign_into(name, &[k, n], 1, vec![Term::product(1, x.clone(), &[1], w, &[1, 0])], &y, -20000, 20000);
    }
    let built = b.finish(Some(2));
    let (pk, vk) = keys(&built);
    let inputs = [(0..n as i64).map(|i| 10 * i - 7).collect()];
    let witness = execute(&built, &inputs).unwrap();
    let rng = || ChaCha20Rng::seed_from_u64(3);
    let _ = verify(&vk, b"", &witness.publics, &prove(&pk, &vk, &built.parameters, b"", &witness.heap, &witness.publics, rng())).unwrap();
    let mut other = built.clone();
    other.parameters.matrices.swap(0, 1);
    let witness = execute(&other, &inputs).unwrap();
    let forged = prove(&pk, &vk, &other.parameters, b"", &witness.heap, &witness.publics, rng());
    assert!(matches!(verify(&vk, b"", &witness.publics, &forged).unwrap_err(), VerifyError::Opening(_)));
}

#[test]
fn parameters_are_shown_to_be_small_once() {
    let s = Setting::rich();
    let make = |s: &Setting, parameters: &zktorch_program::Parameters| {
        let rng = ChaCha20Rng::seed_from_u64(3);
        crate::prove_ranges(&s.pk, &s.vk, parameters, rng, &mut |_| {})
    };
    let proof = make(&s, &s.built.parameters).unwrap();
    crate::verify_ranges(&s.vk, &proof).unwrap();
    assert!(crate::verify_ranges(&s.vk, &proof[1..]).is_err());
    // A range proof is no proof of an inference and the other way round.
    assert!(verify(&s.vk, b"", &s.publics, &proof).is_err());
    // Executing the statement for a parameter out of range fails; a proof about other parameters than the committed ones does not verify.
    let mut far = s.built.parameters.clone();
    far.heap[0] = 1 << 50;
    assert!(make(&s, &far).is_err());
    let mut other = s.built.parameters.clone();
    other.heap[0] ^= 1;
    let refusal = crate::verify_ranges(&s.vk, &make(&s, &other).unwrap()).unwrap_err();
    assert!(matches!(refusal, VerifyError::Opening(_)), "{refusal}");
}

#[test]
fn two_witnesses_of_one_statement_look_alike() {
    // y = 0·x for private x: any x is a witness. The scalars in the clear and the points of many proofs are compared by the frequency of
    // their bits; a value that is not masked would show as a bit that differs between the two witnesses far more often than chance.
    let mut b = Builder::new();
    let range = b.range_table(0, 4);
    let x = b.column_cells(range, &[4]).swap_remove(0);
    b.step(Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: 0, hi: 15 });
    let y = b.public("y", &[1], 0, 0);
    b.assign_into("y", &[1], 1, vec![Term::linear(0, x.at(0, 0), &[])], &y, 0, 0);
    let built = b.finish(Some(3));
    let (pk, vk) = keys(&built);
    let n = 60;
    let mut counts: Vec<Vec<[i32; 256]>> = Vec::new();
    for x in [vec![0i64; 4], vec![15, 3, 9, 12]] {
        let witness = execute(&built, &[x]).unwrap();
        let mut count: Vec<[i32; 256]> = Vec::new();
        for seed in 0..n {
            let rng = ChaCha20Rng::seed_from_u64(1000 + seed);
            let proof = prove(&pk, &vk, &built.parameters, b"", &witness.heap, &witness.publics, rng);
            let _ = verify(&vk, b"", &witness.publics, &proof).unwrap();
            let words = proof.as_chunks::<32>().0;
            count.resize(words.len(), [0; 256]);
            for (c, w) in count.iter_mut().zip(words) {
                for (bit, c) in c.iter_mut().enumerate() {
                    *c += i32::from(w[bit / 8] >> (bit % 8) & 1);
                }
            }
        }
        counts.push(count);
    }
    // Standard deviation of a difference of two binomials with p = 1/2: sqrt(n/2) = 5.5; among 256 bits of a few hundred words the
    // largest is about 4.5 deviations.
    let worst = counts[0].iter().zip(&counts[1]).flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs())).max().unwrap();
    assert!(worst < 36, "a bit differs {worst} times out of {n}");
}

#[test]
fn proofs_about_the_same_committed_data_can_be_linked() {
    let s = Setting::rich();
    assert!(!s.built.program.committed.is_empty());
    let make = |heap: &[i64], blinding: Blinding<'_>, seed| {
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let (parameters, x) = (&s.built.parameters, &s.publics);
        let proof = crate::prove(&s.pk, &s.vk, &Statement::of(&s.vk, b"", x), Witness { heap, parameters }, blinding, rng, &mut |_| {});
        verify(&s.vk, b"", x, &proof.unwrap()).unwrap().committed
    };
    let linked = make(&s.heap, Blinding::Linked(&[7; 32]), 1);
    assert_eq!(linked, make(&s.heap, Blinding::Linked(&[7; 32]), 2));
    assert_ne!(linked, make(&s.heap, Blinding::Linked(&[8; 32]), 1));
    assert_ne!(make(&s.heap, Blinding::Fresh, 1), make(&s.heap, Blinding::Fresh, 2));
}
