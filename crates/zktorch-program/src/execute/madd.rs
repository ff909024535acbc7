//! Products with weights of 8 or 16 bits by instructions that multiply pairs of 16-bit integers and add: `c[i][j] = Σ_k x[i][k] · w[k][j]`.
//!
//! `x` is cut into planes of `b` bits, the last of them signed, so that [`DEPTH`] products of a plane with weights stay below 2^31:
//! `b = 8` for weights of 16 bits, 15 for weights of 8 bits.

use super::columns::{STRIP, side_by_side};
use rayon::prelude::*;
use std::ops::Range;

/// Summed indices between two transfers of 32-bit sums to 64 bits; even.
const DEPTH: usize = 128;
/// log2 of the sums of [`DEPTH`] products.
const SUM_BITS: u32 = 30;
/// Most planes that are worth it.
const PLANES: usize = 3;
/// Rows of `x` that share the weights in registers.
const ROWS: usize = 4;

/// How the values of `x` are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    bits: u32,
    planes: usize,
}

impl Cut {
    /// For values and weights of at most these absolute values; nothing if that takes too many planes.
    pub fn new(x: u128, weights: u128) -> Option<Cut> {
        let weight_bits = u128::BITS - weights.checked_sub(1)?.leading_zeros();
        let bits = SUM_BITS.checked_sub(DEPTH.trailing_zeros() + weight_bits)?.min(15);
        let planes = (u128::BITS - x.leading_zeros()).div_ceil(bits.max(1)).max(1) as usize;
        (weight_bits <= 15 && bits > 0 && planes <= PLANES).then_some(Cut { bits, planes })
    }

    fn plane(self, x: i32, p: usize) -> i16 {
        let shifted = x >> (p as u32 * self.bits);
        (if p + 1 < self.planes { shifted & ((1 << self.bits) - 1) } else { shifted }) as i16
    }
}

/// Where `w[k][j]` is.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    pub cells: &'a [T],
    pub depth_stride: usize,
    pub column_stride: usize,
}

/// Two 16-bit integers in 32 bits.
fn pair(low: i16, high: i16) -> i32 {
    i32::from(low) & 0xffff | i32::from(high) << 16
}

/// The product, dense, if the processor has the instructions. `x` holds `depth` values per row.
pub(super) fn product<T: Copy + Into<i32> + Sync>(
    x: &[i32],
    weights: Weights<'_, T>,
    depth: usize,
    columns: usize,
    cut: Cut,
) -> Option<Vec<i64>> {
    let arch = Level::get()?;
    let rows = x.len() / depth;
    let pairs = depth.div_ceil(2);
    // Row by row and plane by plane the pairs of neighbouring values.
    let mut planes = vec![0i32; rows * cut.planes * pairs];
    planes.par_chunks_mut(cut.planes * pairs).zip(x.par_chunks(depth)).for_each(|(to, x)| {
        for (p, to) in to.chunks_mut(pairs).enumerate() {
            for (to, two) in to.iter_mut().zip(x.chunks(2)) {
                *to = pair(cut.plane(two[0], p), two.get(1).map_or(0, |x| cut.plane(*x, p)));
            }
        }
    });
    let planes = Planes { pairs: &planes, per_row: cut.planes * pairs, per_plane: pairs, cut };
    Some(side_by_side(rows, columns, |task| block(arch, planes, weights, depth, task, rows)))
}

/// The planes of `x`.
#[derive(Clone, Copy)]
struct Planes<'a> {
    pairs: &'a [i32],
    per_row: usize,
    per_plane: usize,
    cut: Cut,
}

/// Some columns, padded to whole strips.
fn block<T: Copy + Into<i32>>(
    arch: Level,
    planes: Planes<'_>,
    weights: Weights<'_, T>,
    depth: usize,
    columns: Range<usize>,
    rows: usize,
) -> Vec<i64> {
    let width = columns.len().next_multiple_of(STRIP);
    let mut c = vec![0i64; rows * width];
    let mut packed = vec![0i32; DEPTH / 2 * width];
    for first in (0..depth).step_by(DEPTH) {
        let indices = first..(first + DEPTH).min(depth);
        let used = &mut packed[..indices.len().div_ceil(2) * width];
        pack(weights, indices.clone(), &columns, width, used);
        arch.add(planes, first / 2..indices.end.div_ceil(2), used, width, &mut c);
    }
    c
}

/// Pairs of weights, `w[k][j]` with `w[k + 1][j]`: a line for each pair of indices.
fn pack<T: Copy + Into<i32>>(weights: Weights<'_, T>, indices: Range<usize>, columns: &Range<usize>, width: usize, to: &mut [i32]) {
    let Weights { cells, depth_stride, column_stride } = weights;
    let low = |v: T| -> i32 { v.into() & 0xffff };
    let odd = indices.len() % 2 == 1;
    if column_stride == 1 {
        for (k, to) in indices.clone().step_by(2).zip(to.chunks_mut(width)) {
            let line = |k: usize| &cells[k * depth_stride + columns.start..][..columns.len()];
            if k + 1 < indices.end {
                to.iter_mut().zip(line(k).iter().zip(line(k + 1))).for_each(|(to, (a, b))| *to = low(*a) | (*b).into() << 16);
            } else {
                to.iter_mut().zip(line(k)).for_each(|(to, a)| *to = low(*a));
            }
        }
        return;
    }
    for (j, column) in columns.clone().enumerate() {
        let at = |k: usize| cells[k * depth_stride + column * column_stride];
        for (i, k) in indices.clone().step_by(2).enumerate() {
            let high = if odd && k + 1 == indices.end { 0 } else { at(k + 1).into() << 16 };
            to[i * width + j] = low(at(k)) | high;
        }
    }
}

/// Instructions that are there.
#[derive(Clone, Copy)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    V3(pulp::x86::V3),
    #[cfg(target_arch = "x86_64")]
    V4(pulp::x86::V4),
}

impl Level {
    #[cfg(target_arch = "x86_64")]
    fn get() -> Option<Level> {
        pulp::x86::V4::try_new().map(Level::V4).or_else(|| pulp::x86::V3::try_new().map(Level::V3))
    }
    #[cfg(not(target_arch = "x86_64"))]
    fn get() -> Option<Level> {
        None
    }

    /// `c += planes · packed` over a range of pairs of indices.
    fn add(self, planes: Planes<'_>, pairs: Range<usize>, packed: &[i32], width: usize, c: &mut [i64]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::V3(simd) => pulp::Simd::vectorize(simd, x86::Narrow { simd, planes, pairs, packed, width, c }),
            #[cfg(target_arch = "x86_64")]
            Level::V4(simd) => pulp::Simd::vectorize(simd, x86::Wide { simd, planes, pairs, packed, width, c }),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Planes, ROWS};
    use pulp::{cast, i16x16, i16x32, i32x8, i32x16};
    use std::ops::Range;

    macro_rules! kernel {
        ($(#[$doc:meta])* $name:ident, $simd:ty, $lanes:literal, $words:ident, $sums:ident, $madd:ident, $add:ident, $splat:ident) => {
            $(#[$doc])*
            pub(super) struct $name<'a> {
                pub simd: $simd,
                pub planes: Planes<'a>,
                pub pairs: Range<usize>,
                pub packed: &'a [i32],
                pub width: usize,
                pub c: &'a mut [i64],
            }

            impl pulp::WithSimd for $name<'_> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) {
                    let rows = self.c.len() / self.width;
                    let whole = rows / ROWS * ROWS;
                    for first in (0..whole).step_by(ROWS) {
                        for p in 0..self.planes.cut.planes {
                            add_rows::<ROWS>(self.simd, self.planes, &self.pairs, self.packed, self.width, (first, p), self.c);
                        }
                    }
                    for first in whole..rows {
                        for p in 0..self.planes.cut.planes {
                            add_rows::<1>(self.simd, self.planes, &self.pairs, self.packed, self.width, (first, p), self.c);
                        }
                    }

                    /// Plane `p` of `R` rows from `first` on.
                    #[inline(always)]
                    fn add_rows<const R: usize>(
                        simd: $simd,
                        planes: Planes<'_>,
                        pairs: &Range<usize>,
                        packed: &[i32],
                        width: usize,
                        (first, p): (usize, usize),
                        c: &mut [i64],
                    ) {
                        const LANES: usize = $lanes;
                        let x: [&[i32]; R] = std::array::from_fn(|r| {
                            let start = (first + r) * planes.per_row + p * planes.per_plane;
                            &planes.pairs[start + pairs.start..start + pairs.end]
                        });
                        let shift = p as u32 * planes.cut.bits;
                        for column in (0..width).step_by(2 * LANES) {
                            let mut sums: [[$sums; 2]; R] = [[cast([0i32; LANES]); 2]; R];
                            for (k, line) in packed.chunks_exact(width).enumerate() {
                                let two = &line[column..column + 2 * LANES].as_chunks::<LANES>().0;
                                let w: [$words; 2] = [cast(two[0]), cast(two[1])];
                                for (x, sums) in x.iter().zip(&mut sums) {
                                    // Made from an array it would go through memory.
                                    let x: $words = cast(simd.$splat(x[k]));
                                    sums[0] = simd.$add(sums[0], simd.$madd(w[0], x));
                                    sums[1] = simd.$add(sums[1], simd.$madd(w[1], x));
                                }
                            }
                            for (r, sums) in sums.into_iter().enumerate() {
                                let sums: [[i32; LANES]; 2] = [cast(sums[0]), cast(sums[1])];
                                let to = &mut c[(first + r) * width + column..][..2 * LANES];
                                for (c, s) in to.iter_mut().zip(sums.as_flattened()) {
                                    *c += i64::from(*s) << shift;
                                }
                            }
                        }
                    }
                }
            }
        };
    }

    kernel! {
        /// With AVX2.
        Narrow, pulp::x86::V3, 8, i16x16, i32x8, multiply_wrapping_add_adjacent_i16x16, wrapping_add_i32x8, splat_i32x8
    }
    kernel! {
        /// With AVX-512.
        Wide, pulp::x86::V4, 16, i16x32, i32x16, multiply_wrapping_add_adjacent_i16x32, wrapping_add_i32x16, splat_i32x16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: i64, lo: i64, hi: i64) -> Vec<i64> {
        let mut out: Vec<i64> =
            (0..n as i64).map(|i| lo + (i * 7_919 + seed * 104_729).wrapping_mul(2_654_435_761).rem_euclid(hi - lo + 1)).collect();
        out.iter_mut().step_by(3).zip([lo, hi, hi, lo]).for_each(|(v, extreme)| *v = extreme);
        out
    }

    fn check<T: Copy + Into<i32> + Sync>(cells: Vec<T>, weight_peak: u128, x_bits: u32, (rows, depth, columns): (usize, usize, usize)) {
        let x: Vec<i32> = values(rows * depth, 5, -(1 << x_bits), (1 << x_bits) - 1).into_iter().map(|v| v as i32).collect();
        let Some(cut) = Cut::new(1 << x_bits, weight_peak) else { return };
        for transposed in [false, true] {
            let (depth_stride, column_stride) = if transposed { (1, depth) } else { (columns, 1) };
            let expected: Vec<i64> = (0..rows * columns)
                .map(|at| {
                    let (i, j) = (at / columns, at % columns);
                    (0..depth).map(|k| i64::from(x[i * depth + k]) * i64::from(cells[k * depth_stride + j * column_stride].into())).sum()
                })
                .collect();
            if let Some(got) = product(&x, Weights { cells: &cells, depth_stride, column_stride }, depth, columns, cut) {
                assert_eq!(got, expected, "{x_bits} bits, {rows} x {depth} x {columns}, {transposed}");
            }
        }
    }

    #[test]
    fn products_equal_their_definition() {
        for shape in [(1, 1, 1), (3, 5, 7), (4, 128, 32), (5, 300, 33), (9, 129, 1100), (2, 1024, 64)] {
            for x_bits in [1, 7, 8, 14, 15, 16, 17, 23, 24, 30] {
                let n = shape.1 * shape.2;
                check(values(n, 1, -128, 127).into_iter().map(|v| v as i8).collect(), 128, x_bits, shape);
                check(values(n, 2, -32768, 32767).into_iter().map(|v| v as i16).collect(), 32768, x_bits, shape);
                check(values(n, 3, -100, 100).into_iter().map(|v| v as i16).collect(), 100, x_bits, shape);
            }
        }
    }

    #[test]
    fn values_are_cut_into_as_few_planes_as_possible() {
        assert_eq!(Cut::new(1 << 15, 1 << 15), Some(Cut { bits: 8, planes: 2 }));
        assert_eq!(Cut::new((1 << 15) - 1, 1 << 7), Some(Cut { bits: 15, planes: 1 }));
        assert_eq!(Cut::new(1 << 24, 1 << 15), None);
        assert_eq!(Cut::new(1, 1 << 16), None);
    }
}
