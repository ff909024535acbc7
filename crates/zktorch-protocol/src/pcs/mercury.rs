//! What prover and verifier share, and the verifier. The protocol is described in [the parent module](super).

use ark_bn254::Bn254;
use ark_ec::{CurveGroup, pairing::Pairing};
use ark_ff::{AdditiveGroup, Field, Zero};
use zktorch_algebra::{Fr, G1Affine, msm::msm};

use super::{PcsError, PcsTranscript, VerifierKey};

/// Messages of the prover, in the order of the protocol.
///
/// Points: `h, q, g, S, D, H, W, W'`. Scalars: `g(ζ), g(1/ζ), h(ζ), h(1/ζ), S(ζ), S(1/ζ)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Commitments. The verifier takes them to be on the curve: whoever decodes them checks it.
    pub points: Vec<G1Affine>,
    /// Evaluations.
    pub scalars: Vec<Fr>,
}

impl Opening {
    /// How many points and scalars an opening over this many variables has.
    pub fn shape(variables: usize) -> (usize, usize) {
        if variables == 0 { (0, 0) } else { (8, 6) }
    }
}

/// Number of low variables: a row has `2^low` coefficients.
pub(super) fn low_variables(variables: usize) -> usize {
    variables.div_ceil(2)
}

/// The transcript's side of the protocol: each step absorbs the messages and draws the challenge they are bound by.
pub(super) struct Schedule<'a, T>(&'a mut T);

impl<'a, T: PcsTranscript> Schedule<'a, T> {
    pub(super) fn start(transcript: &'a mut T, point: &[Fr], value: &Fr) -> Self {
        for u in point {
            transcript.absorb_scalar(b"opening point", u);
        }
        transcript.absorb_scalar(b"opening value", value);
        Self(transcript)
    }

    pub(super) fn alpha(&mut self, h: &G1Affine) -> Fr {
        self.0.absorb_point(b"opening h", h);
        self.0.challenge(b"opening alpha")
    }

    pub(super) fn gamma(&mut self, q: &G1Affine, g: &G1Affine) -> Fr {
        self.0.absorb_point(b"opening q", q);
        self.0.absorb_point(b"opening g", g);
        self.0.challenge(b"opening gamma")
    }

    pub(super) fn zeta(&mut self, s: &G1Affine, d: &G1Affine) -> Fr {
        self.0.absorb_point(b"opening S", s);
        self.0.absorb_point(b"opening D", d);
        self.0.challenge(b"opening zeta")
    }

    pub(super) fn beta(&mut self, quotient: &G1Affine, evaluations: &[Fr; 6]) -> Fr {
        self.0.absorb_point(b"opening H", quotient);
        for e in evaluations {
            self.0.absorb_scalar(b"opening evaluation", e);
        }
        self.0.challenge(b"opening beta")
    }

    pub(super) fn z(&mut self, w: &G1Affine) -> Fr {
        self.0.absorb_point(b"opening W", w);
        self.0.challenge(b"opening z")
    }

    pub(super) fn delta(&mut self, w_prime: &G1Affine) -> Fr {
        self.0.absorb_point(b"opening W'", w_prime);
        self.0.challenge(b"opening delta")
    }
}

/// The points at which the batch opens, pairwise different.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) alpha: Fr,
    pub(super) zeta: Fr,
    pub(super) zeta_inverse: Fr,
}

impl Places {
    pub(super) fn new(alpha: Fr, zeta: Fr) -> Result<Self, PcsError> {
        let zeta_inverse = zeta.inverse().ok_or(PcsError::DegenerateChallenge)?;
        if zeta == zeta_inverse || alpha == zeta || alpha == zeta_inverse {
            return Err(PcsError::DegenerateChallenge);
        }
        Ok(Self { alpha, zeta, zeta_inverse })
    }

    /// The vanishing polynomials at `z`: of all three places, and for `g, h, S, D` of the places where each is *not* opened.
    pub(super) fn vanishing(&self, z: &Fr) -> (Fr, [Fr; 4]) {
        let (a, b, c) = (*z - self.zeta, *z - self.zeta_inverse, *z - self.alpha);
        (a * b * c, [c, Fr::ONE, c, b * c])
    }
}

/// The univariate polynomial with coefficients `eq(u, ·)`, at `x`: `Π_k (u_k·x^{2^{n-1-k}} + 1 - u_k)`.
fn eq_univariate(u: &[Fr], x: &Fr) -> Fr {
    let mut power = *x;
    let mut product = Fr::ONE;
    for u in u.iter().rev() {
        product *= *u * power + Fr::ONE - u;
        power.square_in_place();
    }
    product
}

/// At `z`, the polynomial of least degree through these places and values; `None` if two places are equal.
fn interpolate<const N: usize>(nodes: [(Fr, Fr); N], z: &Fr) -> Option<Fr> {
    let mut sum = Fr::ZERO;
    for (i, (x, y)) in nodes.iter().enumerate() {
        let (mut numerator, mut denominator) = (*y, Fr::ONE);
        for (_, (other, _)) in nodes.iter().enumerate().filter(|(j, _)| *j != i) {
            numerator *= *z - other;
            denominator *= *x - other;
        }
        sum += numerator * denominator.inverse()?;
    }
    Some(sum)
}

/// Checks that the committed polynomial has this value at this point.
///
/// The caller has bound the commitment to the transcript before. Cost: one product of two pairings.
///
/// # Errors
/// [`PcsError`], by the check that fails.
pub fn verify<T: PcsTranscript>(
    vk: &VerifierKey,
    commitment: &G1Affine,
    point: &[Fr],
    value: &Fr,
    opening: &Opening,
    transcript: &mut T,
) -> Result<(), PcsError> {
    let variables = point.len();
    let mut schedule = Schedule::start(transcript, point, value);
    if variables == 0 {
        if !opening.points.is_empty() || !opening.scalars.is_empty() {
            return Err(PcsError::Shape { variables });
        }
        let constant = (vk.g1 * value).into_affine();
        return if constant == *commitment { Ok(()) } else { Err(PcsError::Constant) };
    }
    let shape = |_| PcsError::Shape { variables };
    let [h, q, g, s, d, quotient, w, w_prime]: [G1Affine; 8] = opening.points.as_slice().try_into().map_err(shape)?;
    let evaluations: [Fr; 6] = opening.scalars.as_slice().try_into().map_err(shape)?;
    let [g_zeta, g_inverse, h_zeta, h_inverse, s_zeta, s_inverse] = evaluations;

    let alpha = schedule.alpha(&h);
    let gamma = schedule.gamma(&q, &g);
    let zeta = schedule.zeta(&s, &d);
    let beta = schedule.beta(&quotient, &evaluations);
    let z = schedule.z(&w);
    let delta = schedule.delta(&w_prime);
    let places = Places::new(alpha, zeta)?;
    let zeta_inverse = places.zeta_inverse;

    // The identity of `S` at ζ, solved for h(α).
    let low = low_variables(variables);
    let (u_high, u_low) = point.split_at(variables - low);
    let half = Fr::from(2u64).inverse().ok_or(PcsError::DegenerateChallenge)?;
    let products = g_zeta * eq_univariate(u_low, &zeta_inverse)
        + g_inverse * eq_univariate(u_low, &zeta)
        + gamma * (h_zeta * eq_univariate(u_high, &zeta_inverse) + h_inverse * eq_univariate(u_high, &zeta));
    let h_alpha = (products - zeta * s_zeta - zeta_inverse * s_inverse) * half - gamma * value;

    let mut zeta_b = zeta;
    for _ in 0..low {
        zeta_b.square_in_place();
    }
    let d_zeta = zeta_b * zeta_inverse * g_inverse;

    // Σ_k β^k·Z_{T∖k}(z)·(p_k - r_k(z)) - Z_T(z)·W must vanish at z.
    let interpolants = [
        interpolate([(zeta, g_zeta), (zeta_inverse, g_inverse)], &z),
        interpolate([(zeta, h_zeta), (zeta_inverse, h_inverse), (alpha, h_alpha)], &z),
        interpolate([(zeta, s_zeta), (zeta_inverse, s_inverse)], &z),
        Some(d_zeta),
    ];
    let (all, missing) = places.vanishing(&z);
    let mut weights = [Fr::ZERO; 4];
    let mut constant = Fr::ZERO;
    let mut power = delta;
    for ((weight, missing), interpolant) in weights.iter_mut().zip(missing).zip(interpolants) {
        *weight = power * missing;
        constant += *weight * interpolant.ok_or(PcsError::DegenerateChallenge)?;
        power *= beta;
    }
    let [weight_g, weight_h, weight_s, weight_d] = weights;

    // Both quotients in one equation: (f - (ζ^b - α)q - g(ζ)) - (τ - ζ)H + δ·(… - (τ - z)W') = 0.
    let terms = [
        (*commitment, Fr::ONE),
        (q, alpha - zeta_b),
        (vk.g1, -(g_zeta + constant)),
        (quotient, zeta),
        (g, weight_g),
        (h, weight_h),
        (s, weight_s),
        (d, weight_d),
        (w, -(delta * all)),
        (w_prime, delta * z),
    ];
    let (bases, scalars): (Vec<G1Affine>, Vec<Fr>) = terms.into_iter().unzip();
    let left = msm(&bases, &scalars).into_affine();
    let right = -(w_prime * delta + quotient).into_affine();
    if Bn254::multi_pairing([left, right], [vk.g2, vk.tau_g2]).is_zero() { Ok(()) } else { Err(PcsError::Pairing) }
}
