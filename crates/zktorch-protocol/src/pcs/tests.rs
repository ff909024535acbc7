//! Tests of the opening protocol and of the reference string.
#![allow(clippy::unwrap_used)]

use super::*;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zktorch_algebra::{G2Affine, fr_from_wide_bytes, fr_to_bytes, g1_to_bytes, mle, msm::msm};

/// A transcript that can forget one kind of message, and records what it was told.
#[derive(Clone, Default)]
struct Recorder {
    state: Vec<u8>,
    forget: Option<&'static [u8]>,
    challenges: Vec<Fr>,
}

impl Recorder {
    fn absorb(&mut self, label: &'static [u8], bytes: &[u8]) {
        if self.forget != Some(label) {
            self.state.extend_from_slice(label);
            self.state.extend_from_slice(bytes);
        }
    }
}

impl PcsTranscript for Recorder {
    fn absorb_point(&mut self, label: &'static [u8], p: &G1Affine) {
        self.absorb(label, &g1_to_bytes(p));
    }
    fn absorb_scalar(&mut self, label: &'static [u8], s: &Fr) {
        self.absorb(label, &fr_to_bytes(s));
    }
    fn challenge(&mut self, label: &'static [u8]) -> Fr {
        self.absorb(label, b"challenge");
        let challenge = zktorch_algebra::hash_to_fr(&self.state);
        self.challenges.push(challenge);
        challenge
    }
}

fn random(rng: &mut ChaCha20Rng) -> Fr {
    let mut bytes = [0; 64];
    rng.fill_bytes(&mut bytes);
    fr_from_wide_bytes(&bytes)
}

#[derive(Clone)]
struct Case {
    vk: VerifierKey,
    commitment: G1Affine,
    point: Vec<Fr>,
    value: Fr,
    opening: Opening,
}

impl Case {
    fn new(srs: &Srs, variables: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let poly: Vec<Fr> = (0..1 << variables).map(|_| random(&mut rng)).collect();
        let point: Vec<Fr> = (0..variables).map(|_| random(&mut rng)).collect();
        Self::of(srs, &poly, point)
    }

    fn of(srs: &Srs, poly: &[Fr], point: Vec<Fr>) -> Self {
        let opening = open(srs, poly, &point, &mut Recorder::default()).unwrap();
        Self {
            vk: srs.verifier_key().unwrap(),
            commitment: msm(&srs.g1, poly).into_affine(),
            value: mle::evaluate(poly, &point),
            point,
            opening,
        }
    }

    fn verify(&self) -> Result<(), PcsError> {
        verify(&self.vk, &self.commitment, &self.point, &self.value, &self.opening, &mut Recorder::default())
    }
}

fn srs(size: usize) -> Srs {
    Srs::generate(size, &mut ChaCha20Rng::seed_from_u64(1))
}

#[test]
fn honest_openings_verify_at_every_size() {
    let srs = srs(1 << 10);
    for variables in 0..=10 {
        let case = Case::new(&srs, variables, variables as u64);
        assert_eq!(case.verify(), Ok(()), "{variables} variables");
        assert_eq!((case.opening.points.len(), case.opening.scalars.len()), Opening::shape(variables));
    }
}

#[test]
fn special_polynomials_and_points_verify() {
    let srs = srs(64);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for variables in [1, 2, 5, 6] {
        let n = 1 << variables;
        let mut unit = vec![Fr::ZERO; n];
        unit[n - 1] = Fr::ONE;
        for poly in [vec![Fr::ZERO; n], vec![Fr::ONE; n], unit] {
            for point in [vec![Fr::ZERO; variables], vec![Fr::ONE; variables], vec![random(&mut rng); variables]] {
                assert_eq!(Case::of(&srs, &poly, point).verify(), Ok(()));
            }
        }
    }
}

#[test]
fn changed_statements_are_rejected() {
    let srs = srs(64);
    for variables in [1, 2, 5, 6] {
        let mut case = Case::new(&srs, variables, 9);
        case.value += Fr::ONE;
        assert_eq!(case.verify(), Err(PcsError::Pairing));
        case.value -= Fr::ONE;
        for i in 0..variables {
            case.point[i] += Fr::ONE;
            assert_eq!(case.verify(), Err(PcsError::Pairing));
            case.point[i] -= Fr::ONE;
        }
        case.commitment = (case.commitment + G1Affine::generator()).into_affine();
        assert_eq!(case.verify(), Err(PcsError::Pairing));
    }
    let mut constant = Case::new(&srs, 0, 9);
    constant.value += Fr::ONE;
    assert_eq!(constant.verify(), Err(PcsError::Constant));
}

#[test]
fn changed_messages_are_rejected() {
    let srs = srs(64);
    for variables in [1, 5, 6] {
        let good = Case::new(&srs, variables, 4);
        let (points, scalars) = Opening::shape(variables);
        for i in 0..points {
            for replacement in [G1Affine::identity(), (good.opening.points[i] + srs.g1[0]).into_affine()] {
                let mut opening = good.opening.clone();
                if opening.points[i] == replacement {
                    continue;
                }
                opening.points[i] = replacement;
                let case = Case { opening, ..good.clone() };
                assert_eq!(case.verify(), Err(PcsError::Pairing), "point {i}");
            }
        }
        for i in 0..scalars {
            let mut opening = good.opening.clone();
            opening.scalars[i] += Fr::ONE;
            let case = Case { opening, ..good.clone() };
            assert_eq!(case.verify(), Err(PcsError::Pairing), "scalar {i}");
        }
        for drop_point in [true, false] {
            let mut opening = good.opening.clone();
            if drop_point {
                opening.points.pop();
            } else {
                opening.scalars.push(Fr::ONE);
            }
            let case = Case { opening, ..good.clone() };
            assert_eq!(case.verify(), Err(PcsError::Shape { variables }));
        }
    }
    let mut constant = Case::new(&srs, 0, 4);
    constant.opening.points.push(srs.g1[0]);
    assert_eq!(constant.verify(), Err(PcsError::Shape { variables: 0 }));
}

/// Changing a message moves every challenge after it, and none before: a message that is not absorbed is noticed here.
#[test]
fn every_message_binds_the_challenges_after_it() {
    let srs = srs(64);
    let good = Case::new(&srs, 5, 11);
    let run = |case: &Case| {
        let mut transcript = Recorder::default();
        let _ = verify(&case.vk, &case.commitment, &case.point, &case.value, &case.opening, &mut transcript);
        transcript.challenges
    };
    let reference = run(&good);
    assert_eq!(reference.len(), 6);
    let copy = || good.clone();
    let moved_from = |case: &Case, first: usize| {
        for (k, (a, b)) in run(case).iter().zip(&reference).enumerate() {
            assert_eq!(a == b, k < first, "challenge {k}, message before challenge {first}");
        }
    };
    for (i, first) in [0, 1, 1, 2, 2, 3, 4, 5].into_iter().enumerate() {
        let mut case = copy();
        case.opening.points[i] = (case.opening.points[i] + srs.g1[1]).into_affine();
        moved_from(&case, first);
    }
    for i in 0..6 {
        let mut case = copy();
        case.opening.scalars[i] += Fr::ONE;
        moved_from(&case, 3);
    }
    for i in 0..5 {
        let mut case = copy();
        case.point[i] += Fr::ONE;
        moved_from(&case, 0);
    }
    let mut case = copy();
    case.value += Fr::ONE;
    moved_from(&case, 0);
}

#[test]
fn a_verifier_that_skips_a_message_rejects() {
    let srs = srs(64);
    let good = Case::new(&srs, 5, 12);
    for label in [
        b"opening h".as_slice(),
        b"opening q",
        b"opening g",
        b"opening S",
        b"opening D",
        b"opening H",
        b"opening W",
        b"opening evaluation",
        b"opening point",
        b"opening value",
    ] {
        let mut transcript = Recorder { forget: Some(label), ..Recorder::default() };
        let result = verify(&good.vk, &good.commitment, &good.point, &good.value, &good.opening, &mut transcript);
        assert_eq!(result, Err(PcsError::Pairing), "{}", String::from_utf8_lossy(label));
    }
}

#[test]
fn a_commitment_with_terms_beyond_the_cube_is_rejected() {
    let srs = srs(128);
    let mut case = Case::new(&srs, 5, 13);
    case.commitment = (case.commitment + srs.g1[40]).into_affine();
    assert_eq!(case.verify(), Err(PcsError::Pairing));
}

#[test]
fn the_prover_refuses_what_it_cannot_open() {
    let srs = srs(4);
    let t = || Recorder::default();
    assert_eq!(open(&srs, &[Fr::ONE; 3], &[Fr::ONE; 2], &mut t()), Err(PcsError::Coefficients { variables: 2, got: 3 }));
    assert_eq!(open(&srs, &[Fr::ONE; 8], &[Fr::ONE; 3], &mut t()), Err(PcsError::TooShort { have: 4, need: 8 }));
}

#[test]
fn the_hiding_generator_is_no_power() {
    let srs = srs(64);
    assert!(!srs.g1.contains(&hiding_generator()));
}

#[test]
fn generated_strings_pass_their_check() {
    for size in [1, 2, 3, 64, 2000] {
        let srs = srs(size);
        assert_eq!((srs.len(), srs.is_empty()), (size, false));
        srs.check().unwrap();
    }
}

#[test]
fn defective_strings_fail_their_check() {
    let good = srs(16);
    let failing = |change: &dyn Fn(&mut Srs)| {
        let mut srs = good.clone();
        change(&mut srs);
        srs.check().unwrap_err()
    };
    assert!(matches!(failing(&|s| s.g1.clear()), SrsError::Empty));
    assert!(matches!(failing(&|s| s.g1[5] = G1Affine::identity()), SrsError::Point { index: 5, .. }));
    assert!(matches!(failing(&|s| s.g1[5] = G1Affine::new_unchecked(s.g1[5].x, s.g1[4].y)), SrsError::Point { index: 5, .. }));
    for i in 0..16 {
        assert!(matches!(failing(&|s| s.g1[i] = hiding_generator()), SrsError::Inconsistent), "power {i}");
    }
    assert!(matches!(failing(&|s| s.g1.swap(2, 3)), SrsError::Inconsistent));
    assert!(matches!(failing(&|s| s.g1[15] = s.g1[14]), SrsError::Inconsistent));
    assert!(matches!(failing(&|s| s.tau_g2 = s.g2), SrsError::TrivialSecret));
    assert!(matches!(failing(&|s| s.tau_g2 = G2Affine::identity()), SrsError::TrivialSecret));
    assert!(matches!(failing(&|s| s.g2 = G2Affine::identity()), SrsError::Point { what: "power in G2", index: 0 }));
    assert!(matches!(failing(&|s| s.tau_g2 = (s.tau_g2 + s.g2).into_affine()), SrsError::Inconsistent));
}

#[test]
fn strings_survive_their_encoding_and_damage_is_refused() {
    let srs = srs(9);
    let bytes = srs.encode();
    assert_eq!(Srs::decode(&bytes).unwrap(), srs);
    let refused = |bytes: &[u8]| Srs::decode(bytes).unwrap_err();
    // With a fresh digest, so that the check behind it is reached.
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = bytes[..bytes.len() - 32].to_vec();
        change(&mut body);
        let digest = blake3::hash(&body);
        body.extend_from_slice(digest.as_bytes());
        refused(&body)
    };
    for i in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[i] ^= 1;
        refused(&bytes);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(refused(&longer), SrsError::Length { .. }));
    for cut in [0, 7, 11, 19, 20, 300, bytes.len() - 1] {
        refused(&bytes[..cut]);
    }
    let first_power = 20 + 256;
    assert!(matches!(resealed(&|b| b[0] = 0), SrsError::Magic { .. }));
    assert!(matches!(resealed(&|b| b[8] = 2), SrsError::Version { got: 2, .. }));
    assert!(matches!(resealed(&|b| b[12] += 1), SrsError::Length { .. }));
    assert!(matches!(resealed(&|b| b[20] ^= 1), SrsError::Point { what: "power in G2", index: 0 }));
    assert!(matches!(resealed(&|b| b.copy_within(20..148, 148)), SrsError::TrivialSecret));
    assert!(matches!(resealed(&|b| b[first_power] ^= 1), SrsError::Point { what: "power in G1", index: 0 }));
    assert!(matches!(
        resealed(&|b| {
            b[first_power..first_power + 64].fill(0);
            b[first_power + 63] = 0x40;
        }),
        SrsError::Point { what: "power in G1", index: 0 }
    ));
    assert!(matches!(
        resealed(&|b| {
            b.truncate(first_power);
            b[12] = 0;
        }),
        SrsError::Empty
    ));
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(refused(&damaged), SrsError::Digest));
}

#[test]
fn verifier_keys_survive_their_encoding_and_damage_is_refused() {
    let vk = srs(2).verifier_key().unwrap();
    let bytes = vk.encode();
    assert_eq!(bytes.len(), VerifierKey::BYTES);
    assert_eq!(VerifierKey::decode(&bytes).unwrap(), vk);
    for i in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[i] ^= 1;
        assert!(VerifierKey::decode(&bytes).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(VerifierKey::decode(&longer), Err(SrsError::Length { .. })));
    assert!(matches!(VerifierKey::decode(&bytes[..100]), Err(SrsError::Length { .. })));
}
