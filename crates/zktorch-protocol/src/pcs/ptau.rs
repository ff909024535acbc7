//! Import of the `.ptau` files of a public "powers of tau" ceremony, as written by snarkjs.
//!
//! Layout (integers little-endian): `"ptau"`, version (u32, 1), number of sections (u32), then sections: number (u32),
//! length (u64), content. Section 1: bytes per field element (u32, 32), the base field's modulus, `power` (u32), ceremony
//! power (u32). Section 2: `2^(power+1) - 1` powers in G1. Section 3: `2^power` powers in G2. Coordinates are in Montgomery
//! form modulo `2^256`, little-endian. Other sections are not needed.

use std::io::Read;

use ark_bn254::{Fq, Fq2};
use ark_ec::AffineRepr;
use ark_ff::{BigInt, PrimeField};
use zktorch_algebra::{G1Affine, G2Affine};

use super::{Srs, SrsError};

const VERSION: u32 = 1;
const HEADER_SECTION: u32 = 1;
const G1_SECTION: u32 = 2;
const G2_SECTION: u32 = 3;
/// The largest ceremony that the scalar field's structure admits.
const MAX_POWER: u32 = 28;

/// Reads up to `max_size` powers from a `.ptau` file and checks them with [`Srs::check`].
///
/// # Errors
/// [`SrsError`], by the check that fails.
pub fn import_ptau(mut reader: impl Read, max_size: usize) -> Result<Srs, SrsError> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    if magic != *b"ptau" {
        return Err(SrsError::Magic { expected: "snarkjs ptau" });
    }
    let version = read_u32(&mut reader)?;
    if version != VERSION {
        return Err(SrsError::Version { expected: VERSION, got: version });
    }
    let sections = read_u32(&mut reader)?;
    let (mut power, mut g1, mut g2) = (None, None, None);
    for _ in 0..sections {
        let section = read_u32(&mut reader)?;
        let length = read_u64(&mut reader)?;
        let expect = |expected: u64| {
            if length == expected { Ok(()) } else { Err(SrsError::SectionLength { section, expected, got: length }) }
        };
        let header = || power.ok_or(SrsError::MissingSection { section: HEADER_SECTION });
        let read = match section {
            HEADER_SECTION => {
                expect(44)?;
                power = Some(read_header(&mut reader)?);
                length
            }
            G1_SECTION => {
                let count = (2u64 << header()?) - 1;
                expect(count * 64)?;
                let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(max_size);
                g1 = Some(read_g1(&mut reader, wanted)?);
                wanted as u64 * 64
            }
            G2_SECTION => {
                expect((1u64 << header()?) * 128)?;
                g2 = Some([read_g2(&mut reader, 0)?, read_g2(&mut reader, 1)?]);
                256
            }
            _ => 0,
        };
        if g1.is_some() && g2.is_some() {
            break;
        }
        skip(&mut reader, length - read)?;
    }
    let g1 = g1.ok_or(SrsError::MissingSection { section: G1_SECTION })?;
    let [g2, tau_g2] = g2.ok_or(SrsError::MissingSection { section: G2_SECTION })?;
    if g1.first().is_some_and(|p| *p != G1Affine::generator()) {
        return Err(SrsError::Generator { group: "G1" });
    }
    if g2 != G2Affine::generator() {
        return Err(SrsError::Generator { group: "G2" });
    }
    let srs = Srs { g1, g2, tau_g2 };
    srs.check()?;
    Ok(srs)
}

fn read_u32(reader: &mut impl Read) -> Result<u32, SrsError> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_u64(reader: &mut impl Read) -> Result<u64, SrsError> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn skip(reader: &mut impl Read, count: u64) -> Result<(), SrsError> {
    let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink())?;
    if skipped == count { Ok(()) } else { Err(SrsError::Io(std::io::ErrorKind::UnexpectedEof.into())) }
}

fn read_limbs(reader: &mut impl Read) -> Result<[u64; 4], SrsError> {
    let mut limbs = [0; 4];
    for limb in &mut limbs {
        *limb = read_u64(reader)?;
    }
    Ok(limbs)
}

/// The section of the header; returns `power`.
fn read_header(reader: &mut impl Read) -> Result<u32, SrsError> {
    let width = read_u32(reader)?;
    if width != 32 || read_limbs(reader)? != Fq::MODULUS.0 {
        return Err(SrsError::Curve);
    }
    let power = read_u32(reader)?;
    read_u32(reader)?;
    if power == 0 || power > MAX_POWER {
        return Err(SrsError::Curve);
    }
    Ok(power)
}

/// A coordinate; `None` if its Montgomery form is not below the modulus.
fn read_fq(reader: &mut impl Read) -> Result<Option<Fq>, SrsError> {
    let montgomery = BigInt(read_limbs(reader)?);
    Ok((montgomery < Fq::MODULUS).then(|| Fq::new_unchecked(montgomery)))
}

fn read_g1(reader: &mut impl Read, count: usize) -> Result<Vec<G1Affine>, SrsError> {
    let mut points = Vec::new();
    for index in 0..count {
        let point = match (read_fq(reader)?, read_fq(reader)?) {
            (Some(x), Some(y)) => Some(G1Affine::new_unchecked(x, y)),
            _ => None,
        };
        let valid = point.filter(|p| !p.is_zero() && p.is_on_curve());
        points.push(valid.ok_or(SrsError::Point { what: "power in G1", index })?);
    }
    Ok(points)
}

fn read_g2(reader: &mut impl Read, index: usize) -> Result<G2Affine, SrsError> {
    let point = match (read_fq(reader)?, read_fq(reader)?, read_fq(reader)?, read_fq(reader)?) {
        (Some(a), Some(b), Some(c), Some(d)) => Some(G2Affine::new_unchecked(Fq2::new(a, b), Fq2::new(c, d))),
        _ => None,
    };
    point
        .filter(|p| !p.is_zero() && p.is_on_curve() && p.is_in_correct_subgroup_assuming_on_curve())
        .ok_or(SrsError::Point { what: "power in G2", index })
}

#[cfg(all(test, feature = "prover"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand_core::SeedableRng;

    const POWER: u32 = 3;

    fn srs() -> Srs {
        Srs::generate((2 << POWER) - 1, &mut rand_chacha::ChaCha20Rng::seed_from_u64(7))
    }

    fn put_fq(out: &mut Vec<u8>, x: &Fq) {
        for limb in x.0.0 {
            out.extend_from_slice(&limb.to_le_bytes());
        }
    }

    fn section(out: &mut Vec<u8>, number: u32, content: &[u8]) {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&(content.len() as u64).to_le_bytes());
        out.extend_from_slice(content);
    }

    /// A file as snarkjs writes it, with one unknown section in the middle.
    fn file(srs: &Srs) -> Vec<u8> {
        let mut out = b"ptau".to_vec();
        out.extend_from_slice(&1u32.to_le_bytes());
        out.extend_from_slice(&4u32.to_le_bytes());
        let mut header = 32u32.to_le_bytes().to_vec();
        for limb in Fq::MODULUS.0 {
            header.extend_from_slice(&limb.to_le_bytes());
        }
        header.extend_from_slice(&POWER.to_le_bytes());
        header.extend_from_slice(&POWER.to_le_bytes());
        section(&mut out, 1, &header);
        let mut points = Vec::new();
        for p in &srs.g1 {
            put_fq(&mut points, &p.x);
            put_fq(&mut points, &p.y);
        }
        section(&mut out, 2, &points);
        section(&mut out, 9, b"something else");
        let mut points = Vec::new();
        for p in [srs.g2, srs.tau_g2].iter().cycle().take(1 << POWER) {
            for c in [p.x.c0, p.x.c1, p.y.c0, p.y.c1] {
                put_fq(&mut points, &c);
            }
        }
        section(&mut out, 3, &points);
        out
    }

    /// Offset of the content of section 2.
    const G1_CONTENT: usize = 12 + 12 + 44 + 12;

    #[test]
    fn a_file_imports_to_the_string_it_was_written_from() {
        let srs = srs();
        let bytes = file(&srs);
        assert_eq!(import_ptau(bytes.as_slice(), usize::MAX).unwrap(), srs);
        let mut short = srs;
        short.truncate(5);
        assert_eq!(import_ptau(bytes.as_slice(), 5).unwrap(), short);
    }

    #[test]
    fn every_defect_has_its_error() {
        let srs = srs();
        let good = file(&srs);
        let import = |bytes: &[u8]| import_ptau(bytes, usize::MAX).unwrap_err();
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            import(&bytes)
        };
        assert!(matches!(changed(0), SrsError::Magic { .. }));
        assert!(matches!(changed(4), SrsError::Version { got: 0, .. }));
        assert!(matches!(changed(16), SrsError::SectionLength { section: 1, .. }));
        assert!(matches!(changed(24), SrsError::Curve), "bytes per element");
        assert!(matches!(changed(28), SrsError::Curve), "modulus");
        assert!(matches!(changed(60), SrsError::SectionLength { section: 2, .. }), "power");
        assert!(matches!(changed(G1_CONTENT + 64), SrsError::Point { what: "power in G1", index: 1 }));
        assert!(matches!(changed(good.len() - 1024), SrsError::Point { what: "power in G2", index: 0 }));
        assert!(matches!(import(&good[..good.len() - 1000]), SrsError::Io(_)));
        assert!(matches!(import_ptau(good.as_slice(), 0).unwrap_err(), SrsError::Empty));
        let mut no_header = good.clone();
        no_header[12] = 77;
        assert!(matches!(import(&no_header), SrsError::MissingSection { section: 1 }));
        let mut few = good.clone();
        few[8] = 3;
        assert!(matches!(import(&few), SrsError::MissingSection { section: 3 }));
        let mut not_reduced = good.clone();
        not_reduced[G1_CONTENT..G1_CONTENT + 32].fill(0xff);
        assert!(matches!(import(&not_reduced), SrsError::Point { index: 0, .. }));
        let mut zero = good.clone();
        zero[G1_CONTENT..G1_CONTENT + 64].fill(0);
        assert!(matches!(import(&zero), SrsError::Point { index: 0, .. }));

        let mut wrong = srs.clone();
        wrong.g1[4] = wrong.g1[3];
        assert!(matches!(import(&file(&wrong)), SrsError::Inconsistent));
        let mut wrong = srs.clone();
        wrong.g1[0] = srs.g1[1];
        assert!(matches!(import(&file(&wrong)), SrsError::Generator { group: "G1" }));
        let mut wrong = srs.clone();
        wrong.g2 = wrong.tau_g2;
        assert!(matches!(import(&file(&wrong)), SrsError::Generator { group: "G2" }));
        let mut wrong = srs.clone();
        wrong.tau_g2 = wrong.g2;
        assert!(matches!(import(&file(&wrong)), SrsError::TrivialSecret));
    }
}
