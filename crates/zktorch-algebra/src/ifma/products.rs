//! Sums of products, reduced once in a while.

use ark_ff::MontConfig;

use super::{Element, Ifma, Packed, U64x8};

/// Products that the limbs take: a limb gathers nine terms below `2^52` from each, and stays below `2^62.2`.
pub(crate) const BLOCK: usize = 128;

/// `Σ a·b` in eight lanes, for plain factors with bounds `A·B ≤ 48`.
#[derive(Debug)]
pub(crate) struct Products<C> {
    limbs: [U64x8; 10],
    /// Below `2p`.
    total: Packed<C>,
    /// See [`unit`].
    unit: Packed<C>,
}

impl<C: MontConfig<4>> Products<C> {
    /// The empty sum.
    #[inline(always)]
    pub(crate) fn new(ifma: Ifma) -> Self {
        let unit = unit(ifma);
        Self { limbs: [U64x8::zero(ifma); 10], total: Packed::zero(ifma), unit }
    }

    /// Adds `a·b`. At most [`BLOCK`] of them between calls of [`reduce`](Self::reduce).
    #[inline(always)]
    pub(crate) fn add(&mut self, a: Packed<C>, b: Packed<C>) {
        a.product_into(b, &mut self.limbs);
    }

    /// Makes room for another block.
    #[inline(always)]
    pub(crate) fn reduce(&mut self, ifma: Ifma) {
        // Below (0.0119·48·128 + 1)·p < 84p.
        settle(ifma, &mut self.limbs, &mut self.total, self.unit);
    }

    /// The sum over the lanes.
    #[inline(always)]
    pub(crate) fn finish(mut self, ifma: Ifma) -> Element<C> {
        self.reduce(ifma);
        sum_of_lanes(ifma, self.total)
    }
}

/// `2^264`: two factors `2^256` and a reduction by `2^260` leave `2^252` in place of `2^256`, and so does the product that mends it.
#[inline(always)]
pub(crate) fn unit<C: MontConfig<4>>(ifma: Ifma) -> Packed<C> {
    Packed::splat_raised(ifma, &Element::<C>::from(16u64))
}

/// Moves products of plain factors from ten limbs to a total below `2p`. They must be below `84p` after a reduction by `2^260`.
#[inline(always)]
pub(crate) fn settle<C: MontConfig<4>>(ifma: Ifma, limbs: &mut [U64x8; 10], total: &mut Packed<C>, unit: Packed<C>) {
    let limbs = std::mem::replace(limbs, [U64x8::zero(ifma); 10]);
    // Below 2p.
    let block = Packed::redc(ifma, limbs).mul(ifma, unit);
    *total = total.add(ifma, block).reduce::<2>(ifma);
}

/// The sum of eight values below `2p`.
#[inline(always)]
pub(crate) fn sum_of_lanes<C: MontConfig<4>>(ifma: Ifma, values: Packed<C>) -> Element<C> {
    let zero = Element::<C>::new_unchecked(ark_ff::BigInt([0; 4]));
    let mut lanes = [zero; 8];
    values.reduce::<1>(ifma).store(ifma, &mut lanes);
    lanes.iter().fold(zero, |sum, lane| crate::limbs::add(&sum, lane))
}
