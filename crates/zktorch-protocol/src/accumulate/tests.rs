//! Accumulators, honest and not.

use super::*;
use crate::circuit::ROW;
use crate::party::Prover;
use crate::proof::accumulate_with;
use crate::tests::{keys, sample_in_rows};
use crate::{
    Accumulator, AccumulatorError, Blinding, Import, ProvingKey, Statement, VerifyingKey, Witness, accumulate, check_accumulator,
    verify_all,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use zktorch_algebra::msm::FixedBaseTable;
use zktorch_algebra::{fr_from_bytes, fr_to_bytes, g1_from_bytes, g1_to_bytes};
use zktorch_program::{Built, execute};

struct Setting {
    built: Built,
    pk: ProvingKey,
    vk: VerifyingKey,
    /// Heap and public tensors of some inferences.
    runs: Vec<(Vec<i64>, Vec<Vec<i64>>)>,
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

impl Setting {
    fn new(inferences: usize) -> Setting {
        let (built, inputs) = sample_in_rows(3);
        let (pk, vk) = keys(&built);
        let run = |k: usize| {
            let inputs: Vec<Vec<i64>> = inputs.iter().map(|x| x.iter().map(|v| (v + 7 * k as i64 + 100) % 201 - 100).collect()).collect();
            let witness = execute(&built, &inputs).unwrap();
            (witness.heap, witness.publics)
        };
        let runs = (0..inferences).map(run).collect();
        Setting { pk, vk, runs, built }
    }

    fn statement(&self, k: usize) -> Statement<'_> {
        Statement::of(&self.vk, b"", &self.runs[k].1)
    }
    fn statements(&self) -> Vec<Statement<'_>> {
        (0..self.runs.len()).map(|k| self.statement(k)).collect()
    }

    fn leaf(&self, k: usize, heap: &[i64], seed: u64) -> Accumulator {
        let witness = Witness { heap, parameters: &self.built.parameters };
        accumulate(&self.pk, &self.vk, &self.statement(k), witness, Blinding::Fresh, rng(seed), &mut |_| {}).unwrap()
    }
    /// A leaf by a prover that the hook has turned into a cheating one.
    fn leaf_with(&self, k: usize, hook: impl FnOnce(&mut Prover<'_, ChaCha20Rng>)) -> Accumulator {
        let bases = [&self.pk.srs.g1[..ROW], &[self.vk.pcs.h]].concat();
        let table = FixedBaseTable::new(&bases, 8);
        let mut party = Prover::new(Transcript::new(), &table, rng(20 + k as u64));
        hook(&mut party);
        let witness = Witness { heap: &self.runs[k].0, parameters: &self.built.parameters };
        accumulate_with(&mut party, &self.pk, &self.vk, &self.statement(k), witness, Blinding::Fresh, &mut |_| {}).unwrap()
    }
    fn leaves(&self) -> Vec<Accumulator> {
        (0..self.runs.len()).map(|k| self.leaf(k, &self.runs[k].0, 10 + k as u64)).collect()
    }
    fn fold(&self, a: Accumulator, b: Accumulator, seed: u64) -> Accumulator {
        Accumulator::fold(a, b, &self.pk.srs, self.vk.pcs.h, rng(seed))
    }
    fn chain(&self, leaves: Vec<Accumulator>) -> Accumulator {
        leaves.into_iter().reduce(|a, b| self.fold(a, b, 50)).unwrap()
    }
    fn decide(&self, a: Accumulator) -> Vec<u8> {
        a.decide(&self.pk, rng(99))
    }
    fn verify(&self, proof: &[u8]) -> Result<(), VerifyError> {
        verify_all(&self.vk, &self.statements(), proof).map(|_| ())
    }
    fn check(&self, a: &Accumulator) -> Result<(), AccumulatorError> {
        check_accumulator(&self.pk, &self.vk, &self.statements()[..a.leaves()], a)
    }
}

/// `a`'s halves folded first.
fn balanced(s: &Setting, mut leaves: Vec<Accumulator>) -> Accumulator {
    if leaves.len() == 1 {
        return leaves.pop().unwrap();
    }
    let right = leaves.split_off(leaves.len() / 2);
    let (left, right) = (balanced(s, leaves), balanced(s, right));
    s.fold(left, right, 60)
}

#[test]
fn trees_of_any_shape_prove_the_same_statements() {
    let s = Setting::new(5);
    s.verify(&s.decide(s.chain(s.leaves()))).unwrap();
    let tree = balanced(&s, s.leaves());
    assert_eq!(tree.leaves(), 5);
    s.check(&tree).unwrap();
    let proof = s.decide(tree);
    s.verify(&proof).unwrap();
    // A chain whose right side grows.
    let right = s.leaves().into_iter().rev().reduce(|b, a| s.fold(a, b, 70)).unwrap();
    s.verify(&s.decide(right)).unwrap();
    // Another order of statements is another statement.
    let mut swapped = s.statements();
    swapped.swap(0, 1);
    assert!(verify_all(&s.vk, &swapped, &proof).is_err());
    assert!(verify_all(&s.vk, &s.statements()[..4], &proof).is_err());
    assert!(verify_all(&s.vk, &[], &proof).is_err());
    // A leaf costs its messages and a fold of 100 bytes.
    let leaf = s.leaves()[0].leaves[0].len();
    let one = s.decide(s.leaves().remove(0)).len();
    assert_eq!(proof.len(), one + 4 * (leaf + 100));
}

#[test]
fn accumulators_survive_their_encoding_and_damage_is_refused() {
    let s = Setting::new(3);
    let a = s.chain(s.leaves());
    let bytes = a.encode();
    let back = Accumulator::decode(&bytes).unwrap();
    assert_eq!(back.encode(), bytes);
    s.verify(&s.decide(back)).unwrap();
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 120 + 1) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        if let Ok(bad) = Accumulator::decode(&bad) {
            assert!(s.check(&bad).is_err(), "byte {at}");
        } else {
            refused += 1;
        }
    }
    assert!(refused > 0);
    for cut in [0, 7, 100, bytes.len() - 1] {
        assert_eq!(Accumulator::decode(&bytes[..cut]).unwrap_err(), AccumulatorError::Malformed);
    }
    assert_eq!(Accumulator::decode(&[&bytes[..], &[0]].concat()).unwrap_err(), AccumulatorError::Malformed);
}

#[test]
fn a_wrong_leaf_spoils_every_accumulator_that_it_is_folded_into() {
    let s = Setting::new(4);
    for cell in [0, s.runs[2].0.len() - 20] {
        let mut heap = s.runs[2].0.clone();
        heap[cell] += 1;
        let mut leaves = s.leaves();
        leaves[2] = s.leaf(2, &heap, 12);
        let tree = balanced(&s, leaves);
        assert_eq!(s.check(&tree).unwrap_err(), AccumulatorError::Secrets { what: "error" });
        assert_eq!(s.verify(&s.decide(tree)).unwrap_err(), VerifyError::Circuit);
    }
}

#[test]
fn opposite_errors_of_two_leaves_do_not_cancel() {
    // All leaves commit over the same generators; a fold weighs them by a challenge that is drawn after both.
    let s = Setting::new(2);
    let delta = s.pk.srs.g1[1];
    for message in ["lookup top layer", "identity evaluations", "row evaluations", "heap row", "opening mask"] {
        let leaf = |k: usize| {
            s.leaf_with(k, |party| {
                let mut first = true;
                party.tamper_point = Some(Box::new(move |what, p| {
                    if what == message && std::mem::take(&mut first) {
                        *p = G1Affine::from(if k == 0 { delta + *p } else { -delta + *p });
                    }
                }));
            })
        };
        let folded = s.fold(leaf(0), leaf(1), 5);
        assert!(matches!(s.check(&folded), Err(AccumulatorError::Secrets { .. })), "{message}");
        assert!(matches!(s.verify(&s.decide(folded)), Err(VerifyError::Opening(_))), "{message}");
    }
    let folded = s.fold(s.leaf_with(0, |_| {}), s.leaf_with(1, |_| {}), 5);
    s.check(&folded).unwrap();
    s.verify(&s.decide(folded)).unwrap();
}

#[test]
fn two_decisions_of_one_accumulator_have_only_its_leaves_in_common() {
    let s = Setting::new(2);
    let folded = s.fold(s.leaf(0, &s.runs[0].0, 1), s.leaf(1, &s.runs[1].0, 2), 3);
    let start = folded.messages().len();
    let decide = |seed| folded.clone().decide(&s.pk, rng(seed));
    let (a, b) = (decide(4), decide(5));
    assert_eq!(a[..start], b[..start]);
    let words = a[start..].as_chunks::<32>().0.iter().zip(b[start..].as_chunks::<32>().0);
    assert_eq!(words.filter(|(a, b)| a == b).count(), 0);
    s.verify(&a).unwrap();
    s.verify(&b).unwrap();
    // Its leaf in another fold.
    let other = s.decide(s.fold(s.leaf(0, &s.runs[0].0, 1), s.leaf(1, &s.runs[1].0, 6), 7));
    s.verify(&other).unwrap();
}

#[test]
fn whoever_checks_an_accumulator_weighs_rows_by_secrets_and_commitments() {
    // Otherwise errors of two rows of the last message could be chosen so that they cancel.
    let s = Setting::new(1);
    let leaf = s.leaf(0, &s.runs[0].0, 1);
    let weights = leaf.row_weights(&leaf.digest());
    assert_eq!(weights.len(), leaf.blinders.len());
    let mut others = [leaf.clone(), leaf.clone(), leaf.clone()];
    others[0].digest[5] ^= 1;
    others[1].wires[9] += Fr::ONE;
    others[2].blinders[0] += Fr::ONE;
    for other in others {
        assert!(other.row_weights(&other.digest()).iter().zip(&weights).all(|(a, b)| a != b));
    }
}

/// Changes to an accumulator by its maker: seen when it is checked, and in the proof, unless the part is one that the verifier computes for itself.
#[test]
fn each_part_of_a_wrongly_folded_accumulator_is_refused() {
    let s = Setting::new(3);
    type Change = fn(&mut Accumulator);
    let cases: [(&str, Change, [bool; 2]); 12] = [
        ("error", |a| a.error.0 += Fr::ONE, [true, true]),
        ("error's blinder", |a| a.error.1 += Fr::ONE, [true, true]),
        ("slack", |a| a.slack += Fr::ONE, [true, true]),
        ("wire", |a| a.wires[3] += Fr::ONE, [true, true]),
        ("row blinder", |a| a.blinders[1] += Fr::ONE, [true, true]),
        ("vector", |a| a.claim.poly[2] += Fr::ONE, [true, true]),
        ("vector's blinder", |a| a.claim.blinder += Fr::ONE, [true, true]),
        ("kernel", |a| a.claim.table[2] += Fr::ONE, [true, true]),
        ("value", |a| a.claim.value += Fr::ONE, [false, false]),
        ("form", |a| a.form.linear[5] += Fr::ONE, [true, true]),
        ("constant", |a| a.form.constant += Fr::ONE, [true, false]),
        ("digest", |a| a.digest[0] ^= 1, [true, true]),
    ];
    let mut leaves = s.leaves();
    let last = leaves.pop().unwrap();
    let first = s.chain(leaves);
    for (name, change, spoils) in cases {
        // Changed before a fold, and after the last one.
        for (early, spoils) in [true, false].into_iter().zip(spoils) {
            let mut a = first.clone();
            if early {
                change(&mut a);
            }
            let mut a = s.fold(a, last.clone(), 80);
            if !early {
                change(&mut a);
            }
            assert!(s.check(&a).is_err(), "{name}, {early}");
            if spoils {
                assert!(s.verify(&s.decide(a)).is_err(), "{name}, {early}");
            }
        }
    }
}

#[test]
fn folds_that_are_changed_dropped_doubled_or_swapped_are_refused() {
    let s = Setting::new(4);
    let tree = balanced(&s, s.leaves());
    let (leaf, folds) = (tree.leaves[0].len(), tree.folds.len());
    let proof = s.decide(tree);
    s.verify(&proof).unwrap();
    let start = 4 * leaf;
    let size = 100;
    let part = |k: usize| proof[start + k * size..start + (k + 1) * size].to_vec();
    let with = |parts: &[Vec<u8>]| [&proof[..start], &parts.concat(), &proof[start + folds * size..]].concat();
    assert_eq!(with(&[part(0), part(1), part(2)]), proof);
    for k in 0..folds {
        // Cross terms: moved by a generator, exchanged, empty.
        for word in 0..2 {
            let mut bad = part(k);
            let at = 4 + 32 * word;
            let point = g1_from_bytes(bad[at..at + 32].first_chunk().unwrap()).unwrap();
            bad[at..at + 32].copy_from_slice(&g1_to_bytes(&G1Affine::from(point + s.vk.pcs.g1)));
            let mut parts: Vec<Vec<u8>> = (0..folds).map(part).collect();
            parts[k] = bad;
            assert!(s.verify(&with(&parts)).is_err(), "cross term {word} of fold {k}");
        }
        let mut parts: Vec<Vec<u8>> = (0..folds).map(part).collect();
        let (a, b) = (parts[k][4..36].to_vec(), parts[k][36..68].to_vec());
        parts[k][4..68].copy_from_slice(&[b, a].concat());
        assert!(s.verify(&with(&parts)).is_err(), "exchanged cross terms of fold {k}");
        let mut parts: Vec<Vec<u8>> = (0..folds).map(part).collect();
        let claim = fr_from_bytes(parts[k][68..100].first_chunk().unwrap()).unwrap();
        parts[k][68..100].copy_from_slice(&fr_to_bytes(&(claim + Fr::ONE)));
        assert!(s.verify(&with(&parts)).is_err(), "claim of fold {k}");
        // The tree's shape.
        for before in [0u32, 1, 2, 3, 4, 5, u32::MAX] {
            let mut parts: Vec<Vec<u8>> = (0..folds).map(part).collect();
            parts[k][..4].copy_from_slice(&before.to_le_bytes());
            if parts[k] != part(k) {
                assert!(s.verify(&with(&parts)).is_err(), "position {before} of fold {k}");
            }
        }
    }
    assert!(s.verify(&with(&[part(0), part(1)])).is_err(), "dropped");
    assert!(s.verify(&with(&[part(0), part(1), part(2), part(2)])).is_err(), "doubled");
    assert!(s.verify(&with(&[part(1), part(0), part(2)])).is_err(), "swapped");
    assert!(s.verify(&with(&[part(0), part(0), part(2)])).is_err(), "repeated");
    // Leaves: swapped, doubled.
    let leaves = |order: [usize; 4]| {
        let parts: Vec<&[u8]> = order.iter().map(|k| &proof[k * leaf..(k + 1) * leaf]).collect();
        [&parts.concat(), &proof[start..]].concat()
    };
    for order in [[1, 0, 2, 3], [0, 0, 2, 3], [0, 1, 3, 2], [2, 3, 0, 1]] {
        assert!(s.verify(&leaves(order)).is_err(), "{order:?}");
    }
    // Folds of another accumulation of the same leaves' statements.
    let others = (0..4).map(|k| s.leaf(k, &s.runs[k].0, 30 + k as u64)).collect();
    let other = s.decide(balanced(&s, others));
    s.verify(&other).unwrap();
    assert!(s.verify(&[&proof[..start], &other[start..]].concat()).is_err());
    for word in (start / 32..proof.len() / 32).step_by(5) {
        let mut bad = proof.clone();
        bad[word * 32 + 9] ^= 4;
        assert!(s.verify(&bad).is_err(), "word {word}");
    }
}

#[test]
fn leaves_of_different_lengths_fold() {
    // The sample's own program and a smaller one in the same key's rows: forms and vectors of different lengths.
    let s = Setting::new(1);
    let mut b = zktorch_program::Builder::new();
    let range = b.range_table(0, 4);
    let x = b.column_cells(range, &[4]).swap_remove(0);
    b.step(zktorch_program::Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: 0, hi: 15 });
    let small = b.finish(Some(3));
    let mut program = small.program.clone();
    let base = &s.built.program;
    (program.params, program.params_len, program.matrices) = (base.params.clone(), base.params_len, base.matrices.clone());
    let heap = execute(&small, &[vec![3, 1, 4, 15]]).unwrap().heap;
    let statement = Statement { program: &program, label: b"small", ..Statement::of(&s.vk, b"", &[]) };
    let witness = Witness { heap: &heap, parameters: &s.built.parameters };
    let leaf = || accumulate(&s.pk, &s.vk, &statement, witness, Blinding::Fresh, rng(3), &mut |_| {}).unwrap();
    let big = || s.leaf(0, &s.runs[0].0, 4);
    let statements = [statement, s.statement(0), statement];
    assert_ne!(leaf().claim.bits, big().claim.bits);
    let tree = s.fold(s.fold(leaf(), big(), 1), leaf(), 2);
    check_accumulator(&s.pk, &s.vk, &statements, &tree).unwrap();
    let proof = s.decide(tree);
    let _ = verify_all(&s.vk, &statements, &proof).unwrap();
    // The label is bound.
    let other = Statement { label: b"other", ..statement };
    assert!(verify_all(&s.vk, &[statement, s.statement(0), other], &proof).is_err());
}

#[test]
fn imported_rows_are_those_of_the_other_leaf() {
    // Two leaves of one program with the same heap, the second of which commits to nothing of its own; then with one cell changed.
    let s = Setting::new(2);
    let (heap, publics) = &s.runs[0];
    let rows = s.built.program.heap_len >> s.built.program.row_bits;
    let blinders: Vec<Fr> = (0..rows as u64).map(|i| Fr::from(1000 + i * i)).collect();
    let import = [Import { first_row: 0, rows, from_leaf: 0, from_row: 0 }];
    let first = Statement::of(&s.vk, b"", publics);
    let second = Statement { imports: &import, ..first };
    let leaf = |statement: &Statement<'_>, heap: &[i64], blinders: &[Fr]| {
        let witness = Witness { heap, parameters: &s.built.parameters };
        accumulate(&s.pk, &s.vk, statement, witness, Blinding::Given(blinders), rng(3), &mut |_| {}).unwrap()
    };
    let prove = |b: Accumulator| s.decide(s.fold(leaf(&first, heap, &blinders), b, 1));
    let proof = prove(leaf(&second, heap, &blinders));
    let _ = verify_all(&s.vk, &[first, second], &proof).unwrap();
    assert_eq!(leaf(&second, heap, &blinders).leaves[0].len() + rows * 32, leaf(&first, heap, &blinders).leaves[0].len());
    // A valid witness of another inference does not pass for the first one's rows.
    let (other_heap, other_publics) = &s.runs[1];
    let other = Statement { publics: other_publics, ..second };
    let forged = prove(leaf(&other, other_heap, &blinders));
    assert!(verify_all(&s.vk, &[first, other], &forged).is_err());
    // Nor do other blinders, another row, or a leaf that is not there.
    let mut wrong = blinders.clone();
    wrong.swap(0, 1);
    assert!(verify_all(&s.vk, &[first, second], &prove(leaf(&second, heap, &wrong))).is_err());
    let shifted = [Import { from_row: 1, ..import[0] }];
    assert!(verify_all(&s.vk, &[first, Statement { imports: &shifted, ..first }], &proof).is_err());
    let ahead = [Import { from_leaf: 1, ..import[0] }];
    let refusal = verify_all(&s.vk, &[first, Statement { imports: &ahead, ..first }], &proof).unwrap_err();
    assert!(matches!(refusal, VerifyError::Parts(_)));
}
