//! The prover of the opening protocol described in [the parent module](super).

use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use zktorch_algebra::{
    Fr, G1Affine, G1Projective, mle,
    msm::msm,
    small::{WideAccumulator, dot},
};

use super::{
    Opening, PcsError, PcsTranscript, Srs,
    mercury::{Places, Schedule, low_variables},
};

/// Opens `poly` (`2^ℓ` coefficients, most significant variable first) at a point of `ℓ` variables.
///
/// The transcript must already be bound to the commitment. The point and the value are absorbed here.
///
/// # Errors
/// [`PcsError::Coefficients`] or [`PcsError::TooShort`]; [`PcsError::DegenerateChallenge`] with chance below `2^-250`.
pub fn open<T: PcsTranscript>(srs: &Srs, poly: &[Fr], point: &[Fr], transcript: &mut T) -> Result<Opening, PcsError> {
    let variables = point.len();
    if variables >= usize::BITS as usize || poly.len() != 1 << variables {
        return Err(PcsError::Coefficients { variables, got: poly.len() });
    }
    if srs.g1.len() < poly.len() {
        return Err(PcsError::TooShort { have: srs.g1.len(), need: poly.len() });
    }
    if variables == 0 {
        Schedule::start(transcript, point, &poly[0]);
        return Ok(Opening { points: Vec::new(), scalars: Vec::new() });
    }
    let low = low_variables(variables);
    let width = 1 << low;
    let (u_high, u_low) = point.split_at(variables - low);
    let (eq_high, eq_low) = (mle::eq_table(u_high), mle::eq_table(u_low));
    // What a short vector was padded with stays zero in all that is computed from it.
    let commit = |p: &[Fr]| msm(&srs.g1, &p[..p.iter().rposition(|c| *c != Fr::ZERO).map_or(0, |last| last + 1)]);

    let h: Vec<Fr> = poly.par_chunks(width).map(|row| dot(row, &eq_low)).collect();
    let value = dot(&h, &eq_high);
    let mut schedule = Schedule::start(transcript, point, &value);
    let h_point = commit(&h).into_affine();
    let alpha = schedule.alpha(&h_point);

    let (q, g) = divide_by_binomial(poly, width, &alpha);
    let [q_point, g_point] = normalize(rayon::join(|| commit(&q), || commit(&g)).into());
    let gamma = schedule.gamma(&q_point, &g_point);

    let s = cross_terms([(&g, &eq_low, Fr::ONE), (&h, &eq_high, gamma)]);
    let d: Vec<Fr> = g.iter().rev().copied().collect();
    let [s_point, d_point] = normalize(rayon::join(|| commit(&s), || commit(&d)).into());
    let zeta = schedule.zeta(&s_point, &d_point);
    let places = Places::new(alpha, zeta)?;

    let mut quotient = subtract_multiple(poly, &q, zeta.pow([width as u64]) - alpha);
    divide_by_linear(&mut quotient, &zeta);
    let quotient_point = commit(&quotient).into_affine();
    let mut scalars = [Fr::ZERO; 6];
    for (pair, p) in scalars.chunks_exact_mut(2).zip([&g, &h, &s]) {
        pair[0] = evaluate(p, &zeta);
        pair[1] = evaluate(p, &places.zeta_inverse);
    }
    let beta = schedule.beta(&quotient_point, &scalars);

    // W = Σ β^k·(p_k - r_k)/Z_k: dividing by one place after the other and dropping the remainders.
    let zeros: [(&[Fr], &[Fr]); 4] =
        [(&g, &[zeta, places.zeta_inverse]), (&h, &[zeta, places.zeta_inverse, alpha]), (&s, &[zeta, places.zeta_inverse]), (&d, &[zeta])];
    let mut w = vec![Fr::ZERO; width];
    let mut power = Fr::ONE;
    for (p, zeros) in zeros {
        let mut p = p.to_vec();
        for zero in zeros {
            divide_by_linear(&mut p, zero);
        }
        accumulate(&mut w, &p, &power);
        power *= beta;
    }
    let w_point = commit(&w).into_affine();
    let z = schedule.z(&w_point);

    // The constants r_k(z) only change the remainder, which is zero.
    let (all, missing) = places.vanishing(&z);
    let mut linearised = vec![Fr::ZERO; width];
    let mut power = Fr::ONE;
    for ((p, _), missing) in zeros.iter().zip(missing) {
        accumulate(&mut linearised, p, &(power * missing));
        power *= beta;
    }
    accumulate(&mut linearised, &w, &-all);
    divide_by_linear(&mut linearised, &z);
    let w_prime_point = commit(&linearised).into_affine();
    schedule.delta(&w_prime_point);

    Ok(Opening {
        points: vec![h_point, q_point, g_point, s_point, d_point, quotient_point, w_point, w_prime_point],
        scalars: scalars.to_vec(),
    })
}

fn normalize<const N: usize>(points: [G1Projective; N]) -> [G1Affine; N] {
    let affine = G1Projective::normalize_batch(&points);
    std::array::from_fn(|i| affine[i])
}

/// Quotient and remainder of `f / (X^width - α)`, row by row from the top: `q_{j-1} = f_j + α·q_j`.
fn divide_by_binomial(f: &[Fr], width: usize, alpha: &Fr) -> (Vec<Fr>, Vec<Fr>) {
    let mut q = f[width..].to_vec();
    let rows = q.len() / width;
    for j in (1..rows).rev() {
        let (below, above) = q.split_at_mut(j * width);
        for (x, y) in below[(j - 1) * width..].iter_mut().zip(above) {
            *x += *alpha * *y;
        }
    }
    let mut g = f[..width].to_vec();
    accumulate(&mut g, q.get(..width).unwrap_or_default(), alpha);
    (q, g)
}

/// `f - factor·q`, as long as `f`.
fn subtract_multiple(f: &[Fr], q: &[Fr], factor: Fr) -> Vec<Fr> {
    let mut out = f.to_vec();
    out.par_chunks_mut(1 << 12).zip(q.par_chunks(1 << 12)).for_each(|(out, q)| accumulate(out, q, &-factor));
    out
}

/// Replaces `p` by the quotient of `p / (X - a)`; the remainder is dropped.
fn divide_by_linear(p: &mut Vec<Fr>, a: &Fr) {
    let mut carry = Fr::ZERO;
    for x in p.iter_mut().rev() {
        let next = *x + *a * carry;
        *x = carry;
        carry = next;
    }
    p.pop();
}

fn evaluate(p: &[Fr], x: &Fr) -> Fr {
    p.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c)
}

/// `out += factor·p`, on the coefficients of `p`.
fn accumulate(out: &mut [Fr], p: &[Fr], factor: &Fr) {
    for (o, p) in out.iter_mut().zip(p) {
        *o += *factor * p;
    }
}

/// Coefficients of `X^1, X^2, …` of `Σ c·(a(X)·b(1/X) + a(1/X)·b(X))` over the triples `(a, b, c)`: the polynomial `S`.
///
/// Quadratic in the length, which is the square root of the polynomial's: less than a percent of the opening.
fn cross_terms(triples: [(&[Fr], &[Fr], Fr); 2]) -> Vec<Fr> {
    let longest = triples.iter().map(|(a, _, _)| a.len()).max().unwrap_or(1);
    (1..longest)
        .into_par_iter()
        .map(|k| {
            let term = |(a, b, c): &(&[Fr], &[Fr], Fr)| {
                let mut sum = WideAccumulator::new();
                for (p, q) in [(a, b), (b, a)] {
                    for (x, y) in p.iter().skip(k).zip(q.iter()) {
                        sum.add(x, y);
                    }
                }
                *c * sum.value()
            };
            triples.iter().map(term).sum()
        })
        .collect()
}
