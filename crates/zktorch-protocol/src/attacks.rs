//! Provers that cheat beside the protocol: each test forges a proof in one particular way and sees it refused.

use crate::tests::{keys, sample_in_rows};
use crate::{ProvingKey, VerifyError, VerifyingKey, verify};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zktorch_algebra::G1Affine;
use zktorch_program::{Built, execute};

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
    other.parameters.matrices[0][0] += 3;
    let witness = execute(&other, &s.inputs).unwrap();
    assert_ne!(witness.publics, execute(&s.built, &s.inputs).unwrap().publics, "the forged output is wrong");
    let correction = s.pk.srs.g1[0] + s.pk.srs.g1[0] + s.pk.srs.g1[0];
    let forge = |sign: bool| {
        crate::proof::prove_with(&s.pk, &s.vk, &other.parameters, b"", &witness.heap, &witness.publics, rng(1), &mut |_| {}, |party| {
            party.tamper_point = Some(Box::new(move |what, p| {
                if what == "opening mask" {
                    *p = G1Affine::from(if sign { correction + *p } else { -correction + *p });
                }
            }));
        })
        .unwrap()
    };
    for sign in [false, true] {
        assert!(matches!(verify(&s.vk, b"", &witness.publics, &forge(sign)).unwrap_err(), VerifyError::Opening(_)), "{sign}");
    }
}
