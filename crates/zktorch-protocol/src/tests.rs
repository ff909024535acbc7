//! Whole proofs, honest and not.

use crate::pcs::Srs;
use crate::{Phase, ProvingKey, VerifyError, VerifyingKey, prove, required_srs_size, setup, verify};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zktorch_program::{Builder, Built, Part, Step, Term, execute};

/// `y = relu(x Wᵀ + b) >> 4`, with public x and y.
fn sample() -> (Built, Vec<Vec<i64>>) {
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
    let r = b.decompose_remainder(&hy[0], x, w, bias, (n, k, m));
    let _ = r;
    b.apply("relu", table, &hy);
    let public_y = b.public("y", &[n, m], 0, 4000);
    b.assign_into("y", &[n, m], 2, vec![Term::linear(1, hy[1].clone(), &[0, 1])], &public_y, 0, 4000);
    let inputs = vec![(0..(n * k) as i64).map(|i| (i * 53) % 201 - 100).collect()];
    (b.finish(Some(3)), inputs)
}

trait Rescale {
    fn decompose_remainder(
        &mut self,
        h: &zktorch_program::View,
        x: zktorch_program::View,
        w: zktorch_program::View,
        bias: zktorch_program::View,
        dims: (usize, usize, usize),
    ) -> zktorch_program::View;
}

impl Rescale for Builder {
    fn decompose_remainder(
        &mut self,
        h: &zktorch_program::View,
        x: zktorch_program::View,
        w: zktorch_program::View,
        bias: zktorch_program::View,
        (n, k, m): (usize, usize, usize),
    ) -> zktorch_program::View {
        let table = self.range_table(0, 4);
        let r = self.column_cells(table, &[n, m]).swap_remove(0);
        let terms = vec![Term::product(1, x, &[0, 2], w, &[1, 2]), Term::linear(1, bias, &[1]), Term::constant(8)];
        let parts = [Part { weight: 16, lo: -2048, bits: 12 }, Part { weight: 1, lo: 0, bits: 4 }];
        self.decompose_into("linear", &[n, m, k], 2, terms, &parts, &[h.clone(), r.clone()]);
        r
    }
}

fn keys(built: &Built) -> (ProvingKey, VerifyingKey) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let srs = Srs::generate(required_srs_size(&built.program).unwrap(), &mut rng);
    setup(&built.program, &built.parameters, &srs, &mut rng).unwrap()
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
        prove(&pk, &vk, &built.parameters, b"ctx", &witness.heap, &witness.publics, rng, &mut |p| phases.push(p)).unwrap()
    };
    let proof = make(5, &mut phases);
    assert_eq!(phases.len(), 7);
    let verified = verify(&vk, b"ctx", &witness.publics, &proof).unwrap();
    assert_eq!(verified.publics, witness.publics);
    assert_eq!(proof.len(), crate::proof_shape(&built.program).unwrap().bytes);
    assert_eq!(proof, make(5, &mut phases), "with fixed randomness a proof is reproducible");
    let other = make(6, &mut phases);
    assert!(proof.as_chunks::<32>().0.iter().zip(other.as_chunks::<32>().0).all(|(a, b)| a != b), "every message is blinded");
    assert!(verify(&vk, b"other", &witness.publics, &proof).is_err());
    let decoded = VerifyingKey::decode(&vk.encode()).unwrap();
    assert_eq!(decoded.digest(), vk.digest());
    let _ = verify(&decoded, b"ctx", &witness.publics, &proof).unwrap();
    let mut longer = proof.clone();
    longer.push(0);
    assert_eq!(verify(&vk, b"ctx", &witness.publics, &longer).unwrap_err(), VerifyError::TrailingBytes { count: 1 });
}
