//! Encodings of what only a prover reads: counts are u64 little-endian, lists begin with their count.

use zktorch_algebra::{FR_BYTES, Fr, fr_from_bytes, fr_to_bytes};
#[cfg(feature = "prover")]
use zktorch_algebra::{G1_BYTES, G1Affine, g1_from_bytes};

/// Appends numbers and scalars.
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn count(&mut self, n: usize) {
        self.0.extend((n as u64).to_le_bytes());
    }
    pub fn scalar(&mut self, x: &Fr) {
        self.0.extend(fr_to_bytes(x));
    }
    pub fn scalars(&mut self, xs: &[Fr]) {
        self.count(xs.len());
        self.0.reserve(xs.len() * FR_BYTES);
        xs.iter().for_each(|x| self.scalar(x));
    }
}

/// Takes them back; nothing where the bytes do not hold them.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.bytes(N)?.first_chunk()
    }
    /// A count of things that take at least `size` bytes each.
    pub fn count(&mut self, size: usize) -> Option<usize> {
        let n = usize::try_from(u64::from_le_bytes(*self.array()?)).ok()?;
        (size == 0 || n <= self.0.len() / size).then_some(n)
    }
    pub fn list<T>(&mut self, size: usize, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.count(size)?).map(|_| item(self)).collect()
    }
    pub fn scalar(&mut self) -> Option<Fr> {
        fr_from_bytes(self.array::<FR_BYTES>()?)
    }
    #[cfg(feature = "prover")]
    pub fn point(&mut self) -> Option<G1Affine> {
        g1_from_bytes(self.array::<G1_BYTES>()?)
    }
    pub fn scalars(&mut self) -> Option<Vec<Fr>> {
        self.list(FR_BYTES, Reader::scalar)
    }
}
