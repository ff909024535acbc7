//! The reference string: powers of a secret `τ` in G1, and `τ` in G2.

use ark_bn254::Bn254;
use ark_ec::{AffineRepr, CurveGroup, pairing::Pairing};
use ark_ff::Zero;
use zktorch_algebra::{
    Fr, G1_UNCOMPRESSED_BYTES, G1Affine, G2_BYTES, G2Affine, fr_from_i128, g1_from_uncompressed, g1_to_uncompressed, g2_from_bytes,
    g2_to_bytes, hash_to_g1, msm::msm,
};

const MAGIC: [u8; 8] = *b"zktorSRS";
const VERSION: u32 = 1;
/// Magic, version, number of powers.
const HEADER: usize = 8 + 4 + 8;
const DIGEST: usize = 32;

/// Powers of `τ`: `g1[i] = τ^i·g1[0]`, `tau_g2 = τ·g2`.
///
/// Who knows `τ` can open any commitment to anything. The fields are public for the prover's inner loops; a string from
/// outside comes in through [`Srs::decode`] or [`import_ptau`](super::import_ptau) and [`Srs::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srs {
    /// `τ^i·G` for `i = 0, 1, …`.
    pub g1: Vec<G1Affine>,
    /// The generator of G2.
    pub g2: G2Affine,
    /// `τ` times the generator of G2.
    pub tau_g2: G2Affine,
}

/// What the verifier needs of a reference string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// The first power: the generator of G1.
    pub g1: G1Affine,
    /// The generator of blinding terms, independent of the powers: [`hiding_generator`].
    pub h: G1Affine,
    /// The generator of G2.
    pub g2: G2Affine,
    /// `τ` times the generator of G2.
    pub tau_g2: G2Affine,
}

/// The generator `H` of blinding terms: hashed to the curve, so nobody knows it as a combination of powers of `τ`.
///
/// Were it a power of `τ`, a blinding term could absorb any quotient and every opening could be forged.
pub fn hiding_generator() -> G1Affine {
    hash_to_g1(b"zktorch/H")
}

/// Why a reference string is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrsError {
    /// The file does not begin as a reference string does.
    #[error("E0540: this is not a {expected} file")]
    Magic {
        /// The format that was expected.
        expected: &'static str,
    },
    /// The format's version is unknown.
    #[error("E0541: version {got} of the format is not supported, only {expected}")]
    Version {
        /// Known version.
        expected: u32,
        /// Version in the file.
        got: u32,
    },
    /// The file has another length than its header says.
    #[error("E0542: the file has {got} bytes, its header promises {expected}")]
    Length {
        /// By the header.
        expected: u64,
        /// In the file.
        got: u64,
    },
    /// The digest at the end does not match the content.
    #[error("E0543: the digest does not match: the file is damaged")]
    Digest,
    /// A point is not canonically encoded, not on the curve, not in the group, or the identity.
    #[error("E0544: {what} {index} is not a valid point")]
    Point {
        /// Which kind of point.
        what: &'static str,
        /// Its position.
        index: usize,
    },
    /// There are no powers.
    #[error("E0545: the reference string is empty")]
    Empty,
    /// `τ` is 0 or 1.
    #[error("E0546: the secret of the reference string is 0 or 1")]
    TrivialSecret,
    /// The points are not the powers of one secret.
    #[error("E0547: the points are not the powers of one secret (pairing check)")]
    Inconsistent,
    /// The first power is not the standard generator.
    #[error("E0548: the first power in {group} is not the standard generator")]
    Generator {
        /// G1 or G2.
        group: &'static str,
    },
    /// A `.ptau` file is for another curve.
    #[error("E0549: the file is not for the curve BN254")]
    Curve,
    /// A section of a `.ptau` file is missing.
    #[error("E0550: section {section} is missing, or comes before the header")]
    MissingSection {
        /// Its number.
        section: u32,
    },
    /// A section of a `.ptau` file has an impossible length.
    #[error("E0551: section {section} has {got} bytes, the header promises {expected}")]
    SectionLength {
        /// Its number.
        section: u32,
        /// By the header.
        expected: u64,
        /// In the file.
        got: u64,
    },
    /// Reading failed.
    #[error("E0552: {0}")]
    Io(#[from] std::io::Error),
}

impl Srs {
    /// Number of powers: the longest vector that can be committed.
    pub fn len(&self) -> usize {
        self.g1.len()
    }

    /// Whether there is no power at all.
    pub fn is_empty(&self) -> bool {
        self.g1.is_empty()
    }

    /// The first `n` powers, or all if there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.g1.truncate(n);
    }

    /// What the verifier needs.
    ///
    /// # Errors
    /// [`SrsError::Empty`].
    pub fn verifier_key(&self) -> Result<VerifierKey, SrsError> {
        let g1 = *self.g1.first().ok_or(SrsError::Empty)?;
        Ok(VerifierKey { g1, h: hiding_generator(), g2: self.g2, tau_g2: self.tau_g2 })
    }

    /// A string with a secret of its own, for development and tests: whoever ran this could know `τ`.
    #[cfg(feature = "prover")]
    pub fn generate<R: rand_core::RngCore + rand_core::CryptoRng>(size: usize, rng: &mut R) -> Self {
        use ark_ff::Field;
        use rayon::prelude::*;
        use zktorch_algebra::{G1Projective, fr_from_wide_bytes, msm::FixedBaseTable};

        let mut tau = Fr::zero();
        while tau.is_zero() || tau == Fr::ONE {
            let mut bytes = [0; 64];
            rng.fill_bytes(&mut bytes);
            tau = fr_from_wide_bytes(&bytes);
        }
        let window = if size < 1 << 10 { 6 } else { 10 };
        let table = FixedBaseTable::new(&[G1Affine::generator()], window);
        const CHUNK: usize = 1 << 10;
        let g1 = (0..size.div_ceil(CHUNK))
            .into_par_iter()
            .flat_map_iter(|chunk| {
                let start = chunk * CHUNK;
                let mut power = tau.pow([start as u64]);
                let points: Vec<G1Projective> = (start..size.min(start + CHUNK))
                    .map(|_| {
                        let point = table.mul_sum(&[(0, power)]);
                        power *= tau;
                        point
                    })
                    .collect();
                G1Projective::normalize_batch(&points)
            })
            .collect();
        let g2 = G2Affine::generator();
        Self { g1, g2, tau_g2: (g2 * tau).into_affine() }
    }

    /// Checks that the points are the powers of one secret: no point is the identity, all are in their groups, the secret
    /// is neither 0 nor 1, and consecutive powers in G1 have the ratio of the two points in G2.
    ///
    /// The ratio is checked on one random combination, `e(Σ ρ_i·g1[i+1], g2) = e(Σ ρ_i·g1[i], tau_g2)`, with 126-bit
    /// `ρ_i` hashed from the whole string: an inconsistent string passes with chance `2^-126` per attempt.
    /// Cost: two half-width multi-scalar multiplications of the string's length.
    ///
    /// # Errors
    /// [`SrsError`], by the check that fails.
    pub fn check(&self) -> Result<(), SrsError> {
        if self.g1.is_empty() {
            return Err(SrsError::Empty);
        }
        for (index, p) in self.g1.iter().enumerate() {
            // BN254 has cofactor 1 in G1: on the curve is in the group.
            if p.is_zero() || !p.is_on_curve() {
                return Err(SrsError::Point { what: "power in G1", index });
            }
        }
        for (index, p) in [self.g2, self.tau_g2].iter().enumerate() {
            if p.is_zero() {
                return Err(if index == 1 { SrsError::TrivialSecret } else { SrsError::Point { what: "power in G2", index } });
            }
            if !p.is_on_curve() || !p.is_in_correct_subgroup_assuming_on_curve() {
                return Err(SrsError::Point { what: "power in G2", index });
            }
        }
        if self.tau_g2 == self.g2 {
            return Err(SrsError::TrivialSecret);
        }
        let (Some((_, higher)), Some((_, lower))) = (self.g1.split_first(), self.g1.split_last()) else {
            return Err(SrsError::Empty);
        };
        let mut stream = blake3::Hasher::new_derive_key("zktorch 2026 reference string check")
            .update(blake3::hash(&self.body()).as_bytes())
            .finalize_xof();
        let weights: Vec<Fr> = lower
            .iter()
            .map(|_| {
                let mut bytes = [0; 16];
                stream.fill(&mut bytes);
                fr_from_i128(i128::from_le_bytes(bytes) >> 1)
            })
            .collect();
        let (higher, lower) = (msm(higher, &weights).into_affine(), msm(lower, &weights).into_affine());
        if Bn254::multi_pairing([higher, -lower], [self.g2, self.tau_g2]).is_zero() { Ok(()) } else { Err(SrsError::Inconsistent) }
    }

    /// Everything but the digest.
    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + 2 * G2_BYTES + self.g1.len() * G1_UNCOMPRESSED_BYTES + DIGEST);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.g1.len() as u64).to_le_bytes());
        out.extend_from_slice(&g2_to_bytes(&self.g2));
        out.extend_from_slice(&g2_to_bytes(&self.tau_g2));
        for p in &self.g1 {
            out.extend_from_slice(&g1_to_uncompressed(p));
        }
        out
    }

    /// The file format: magic, version (4 bytes), number of powers (8 bytes), two G2 points (128 bytes each), the powers (64
    /// bytes each), BLAKE3 digest of all that (32 bytes). Integers are little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.body();
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    /// Reads [`Srs::encode`]: every point is checked to be canonical, in its group and not the identity, and the secret
    /// not to be 0 or 1. That they are powers of one secret takes [`Srs::check`] as well.
    ///
    /// # Errors
    /// [`SrsError`], by the check that fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, SrsError> {
        let not_ours = || SrsError::Magic { expected: "zktorch reference string" };
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(not_ours)?;
        if *magic != MAGIC {
            return Err(not_ours());
        }
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(not_ours)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(SrsError::Version { expected: VERSION, got: version });
        }
        let (count, rest) = rest.split_first_chunk::<8>().ok_or_else(not_ours)?;
        let count = u64::from_le_bytes(*count);
        let expected = count.saturating_mul(G1_UNCOMPRESSED_BYTES as u64).saturating_add((HEADER + 2 * G2_BYTES + DIGEST) as u64);
        let length = || SrsError::Length { expected, got: bytes.len() as u64 };
        if expected != bytes.len() as u64 {
            return Err(length());
        }
        let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(length)?;
        if blake3::hash(body).as_bytes() != digest {
            return Err(SrsError::Digest);
        }
        let (g2, rest) = rest.split_first_chunk::<G2_BYTES>().ok_or_else(length)?;
        let (tau_g2, rest) = rest.split_first_chunk::<G2_BYTES>().ok_or_else(length)?;
        let (g2, tau_g2) = decode_g2(g2, tau_g2)?;
        let (powers, _) = rest.split_last_chunk::<DIGEST>().ok_or_else(length)?;
        let (powers, _) = powers.as_chunks::<G1_UNCOMPRESSED_BYTES>();
        let g1 = zktorch_algebra::g1_each_from_uncompressed(powers)
            .into_iter()
            .enumerate()
            .map(|(index, p)| p.filter(|p| !p.is_zero()).ok_or(SrsError::Point { what: "power in G1", index }))
            .collect::<Result<Vec<_>, _>>()?;
        if g1.is_empty() {
            return Err(SrsError::Empty);
        }
        Ok(Self { g1, g2, tau_g2 })
    }
}

impl VerifierKey {
    /// Length of [`VerifierKey::encode`].
    pub const BYTES: usize = G1_UNCOMPRESSED_BYTES + 2 * G2_BYTES;

    /// `g1, g2, tau_g2`, uncompressed; `h` is a constant.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = g1_to_uncompressed(&self.g1).to_vec();
        out.extend_from_slice(&g2_to_bytes(&self.g2));
        out.extend_from_slice(&g2_to_bytes(&self.tau_g2));
        out
    }

    /// Reads [`VerifierKey::encode`], with all checks on points; trailing bytes are refused.
    ///
    /// # Errors
    /// [`SrsError`], by the check that fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, SrsError> {
        let length = || SrsError::Length { expected: Self::BYTES as u64, got: bytes.len() as u64 };
        let (g1, rest) = bytes.split_first_chunk().ok_or_else(length)?;
        let (g2, rest) = rest.split_first_chunk().ok_or_else(length)?;
        let (tau_g2, rest) = rest.split_first_chunk().ok_or_else(length)?;
        if !rest.is_empty() {
            return Err(length());
        }
        let g1 = g1_from_uncompressed(g1).filter(|p| !p.is_zero()).ok_or(SrsError::Point { what: "power in G1", index: 0 })?;
        let (g2, tau_g2) = decode_g2(g2, tau_g2)?;
        Ok(Self { g1, h: hiding_generator(), g2, tau_g2 })
    }
}

/// The generator of G2 and its multiple by a secret that is neither 0 nor 1.
fn decode_g2(g2: &[u8; G2_BYTES], tau_g2: &[u8; G2_BYTES]) -> Result<(G2Affine, G2Affine), SrsError> {
    let point = |bytes, index| g2_from_bytes(bytes).ok_or(SrsError::Point { what: "power in G2", index });
    let (first, second) = (point(g2, 0)?, point(tau_g2, 1)?);
    if first.is_zero() {
        return Err(SrsError::Point { what: "power in G2", index: 0 });
    }
    if second.is_zero() || first == second {
        return Err(SrsError::TrivialSecret);
    }
    Ok((first, second))
}
