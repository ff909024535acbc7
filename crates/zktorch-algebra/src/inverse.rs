//! Inversion modulo a prime of four limbs, by division steps.
//!
//! Bernstein and Yang, "Fast constant-time gcd computation and modular inversion" (2019), in the variable-time form with
//! 62 steps per batch that libsecp256k1 uses (its `doc/safegcd_implementation.md`, whose names are kept here). Many steps
//! are done on one word, where arkworks' binary extended Euclid shifts and subtracts four words each time.

use ark_ff::{AdditiveGroup, BigInt, MontConfig};

use crate::limbs::Field4;

const MASK: u64 = u64::MAX >> 2;

/// A number in five limbs of 62 bits; the last one carries the sign.
type Signed62 = [i64; 5];

/// `2^62` times the matrix of 62 division steps: `(f, g) → (u·f + v·g, q·f + r·g)`.
struct Matrix {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

const fn split(w: [u64; 4]) -> Signed62 {
    [
        (w[0] & MASK) as i64,
        ((w[0] >> 62 | w[1] << 2) & MASK) as i64,
        ((w[1] >> 60 | w[2] << 4) & MASK) as i64,
        ((w[2] >> 58 | w[3] << 6) & MASK) as i64,
        (w[3] >> 56) as i64,
    ]
}

fn join(l: Signed62) -> [u64; 4] {
    let l = l.map(|l| l as u64);
    [l[0] | l[1] << 62, l[1] >> 2 | l[2] << 60, l[2] >> 4 | l[3] << 58, l[3] >> 6 | l[4] << 56]
}

/// 62 division steps on the low bits of `f` (odd) and `g`.
#[inline(always)]
fn divsteps(eta: &mut i64, f: i64, g: i64) -> Matrix {
    let (mut u, mut v, mut q, mut r) = (1u64, 0u64, 0u64, 1u64);
    let (mut f, mut g) = (f as u64, g as u64);
    let mut left = 62;
    loop {
        // Halve g as often as it is even.
        let zeros = (g | u64::MAX << left).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        *eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            break;
        }
        if *eta < 0 {
            *eta = -*eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
        }
        // Clear up to six low bits of g with a multiple of f: as many as steps without another exchange. The inverse of f
        // modulo 2^6 is f·(2 - f²).
        let limit = (*eta + 1).min(i64::from(left)) as u32;
        let mask = (u64::MAX >> (64 - limit)) & 63;
        let w = f.wrapping_mul(g).wrapping_mul(f.wrapping_mul(f).wrapping_sub(2)) & mask;
        g = g.wrapping_add(f.wrapping_mul(w));
        q = q.wrapping_add(u.wrapping_mul(w));
        r = r.wrapping_add(v.wrapping_mul(w));
    }
    Matrix { u: u as i64, v: v as i64, q: q as i64, r: r as i64 }
}

#[inline(always)]
fn product(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

/// `(f, g) ← matrix·(f, g) / 2^62`, which is exact.
#[inline(always)]
fn update_fg(f: &mut Signed62, g: &mut Signed62, t: &Matrix) {
    let (mut cf, mut cg) = (0, 0);
    for i in 0..5 {
        cf += product(t.u, f[i]) + product(t.v, g[i]);
        cg += product(t.q, f[i]) + product(t.r, g[i]);
        if i > 0 {
            f[i - 1] = (cf as u64 & MASK) as i64;
            g[i - 1] = (cg as u64 & MASK) as i64;
        }
        cf >>= 62;
        cg >>= 62;
    }
    f[4] = cf as i64;
    g[4] = cg as i64;
}

/// `(d, e) ← matrix·(d, e) / 2^62` modulo `p`, within `(-2p, p)`.
#[inline(always)]
fn update_de(d: &mut Signed62, e: &mut Signed62, t: &Matrix, p: &Signed62, p_inverse: u64) {
    // Start from p added to what is negative, then choose the multiple of p that clears the low 62 bits.
    let (sd, se) = (d[4] >> 63, e[4] >> 63);
    let mut md = (t.u & sd) + (t.v & se);
    let mut me = (t.q & sd) + (t.r & se);
    let mut cd = product(t.u, d[0]) + product(t.v, e[0]);
    let mut ce = product(t.q, d[0]) + product(t.r, e[0]);
    md -= (p_inverse.wrapping_mul(cd as u64).wrapping_add(md as u64) & MASK) as i64;
    me -= (p_inverse.wrapping_mul(ce as u64).wrapping_add(me as u64) & MASK) as i64;
    cd += product(p[0], md);
    ce += product(p[0], me);
    cd >>= 62;
    ce >>= 62;
    for i in 1..5 {
        cd += product(t.u, d[i]) + product(t.v, e[i]) + product(p[i], md);
        ce += product(t.q, d[i]) + product(t.r, e[i]) + product(p[i], me);
        d[i - 1] = (cd as u64 & MASK) as i64;
        e[i - 1] = (ce as u64 & MASK) as i64;
        cd >>= 62;
        ce >>= 62;
    }
    d[4] = cd as i64;
    e[4] = ce as i64;
}

/// Adds `p` if `d` is negative, negates, or both, and carries.
fn adjust(d: &mut Signed62, p: &Signed62, negate: bool) {
    let add = d[4] < 0;
    let mut carry = 0;
    for (d, p) in d.iter_mut().zip(p) {
        let t = *d + if add { *p } else { 0 };
        let t = if negate { -t } else { t } + carry;
        *d = (t as u64 & MASK) as i64;
        carry = t >> 62;
    }
    // The sign lives in the last limb.
    d[4] |= carry << 62;
}

/// `1/x`, or `None` for zero.
pub(crate) fn invert<C: MontConfig<4>>(x: &Field4<C>) -> Option<Field4<C>> {
    let words = x.0.0;
    if words == [0; 4] {
        return None;
    }
    let p = split(C::MODULUS.0);
    // `INV` is -1/p modulo 2^64.
    let p_inverse = C::INV.wrapping_neg() & MASK;
    let (mut d, mut e) = ([0; 5], [1, 0, 0, 0, 0]);
    let (mut f, mut g) = (p, split(words));
    let mut eta = -1;
    while g != [0; 5] {
        let t = divsteps(&mut eta, f[0], g[0]);
        update_de(&mut d, &mut e, &t, &p, p_inverse);
        update_fg(&mut f, &mut g, &t);
    }
    // f is now ±1 and d is ±1/x modulo p, in (-2p, p).
    adjust(&mut d, &p, f[4] < 0);
    adjust(&mut d, &p, false);
    // The words were x·R, so this is 1/(x·R); one product with R³ makes it R/x.
    let square = Field4::<C>::new_unchecked(C::R2);
    Some(Field4::<C>::new_unchecked(BigInt(join(d))) * (square * square))
}

/// Replaces every element by its inverse, zero by zero; three multiplications each.
pub(crate) fn invert_all<C: MontConfig<4>>(values: &mut [Field4<C>]) {
    let mut prefix = Vec::with_capacity(values.len());
    let mut product = Field4::<C>::new_unchecked(C::R);
    for v in values.iter() {
        prefix.push(product);
        if *v != Field4::<C>::ZERO {
            product *= v;
        }
    }
    let mut inverse = invert(&product).expect("a product of non-zero elements of a field is not zero");
    for (v, before) in values.iter_mut().zip(prefix).rev() {
        if *v != Field4::<C>::ZERO {
            let this = inverse * before;
            inverse *= *v;
            *v = this;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_to_fr;
    use ark_bn254::{FqConfig, FrConfig};
    use ark_ff::{Field, PrimeField};

    fn check<C: MontConfig<4>>() {
        let mut values: Vec<Field4<C>> =
            (0..3000u32).map(|i| Field4::<C>::from_le_bytes_mod_order(&crate::fr_to_bytes(&hash_to_fr(&i.to_le_bytes())))).collect();
        for i in 0..64 {
            let power = Field4::<C>::from(2u64).pow([4 * i]);
            values.extend([power, -power, power + Field4::<C>::ONE, Field4::<C>::from(i), -Field4::<C>::from(i)]);
            // Small Montgomery words and large ones.
            let mut large = C::MODULUS;
            large.0[0] -= i + 1;
            values.extend([Field4::<C>::new_unchecked(BigInt([i, 0, 0, 0])), Field4::<C>::new_unchecked(large)]);
            values.push(Field4::<C>::new_unchecked(BigInt([0, 0, 0, 1 << (i % 60)])));
        }
        for x in &values {
            assert_eq!(invert(x), x.inverse());
        }
        let expected: Vec<_> = values.iter().map(|x| x.inverse().unwrap_or_default()).collect();
        invert_all(&mut values);
        assert_eq!(values, expected);
    }

    #[test]
    fn inverses_equal_those_of_arkworks() {
        check::<FqConfig>();
        check::<FrConfig>();
    }
}
