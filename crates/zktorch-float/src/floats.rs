//! Floats that are owned, or lie in a mapped file.

use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// The elements of a float tensor: a vector, or a piece of a file that is mapped into memory. Pages of the latter are read when they are touched and
/// cost no memory of their own, since the system can drop them again. Cloning a piece of a file shares it.
#[derive(Clone)]
pub struct Floats(Source);

#[derive(Clone)]
enum Source {
    Owned(Vec<f32>),
    /// Whole floats in the byte order and with the alignment of the machine.
    Shared(Bytes),
}

impl Floats {
    /// The floats whose little-endian bytes these are (bytes of a last, incomplete one are left out): shared, or copied if the machine cannot read
    /// them where they are.
    pub fn from_le_bytes(bytes: Bytes) -> Self {
        let (floats, rest) = bytes.as_chunks::<4>();
        if cfg!(target_endian = "little") && rest.is_empty() && bytemuck::try_cast_slice::<u8, f32>(&bytes).is_ok() {
            return Self(Source::Shared(bytes));
        }
        floats.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    /// The floats as a vector; copied unless they are one.
    pub fn into_vec(self) -> Vec<f32> {
        match self.0 {
            Source::Owned(values) => values,
            Source::Shared(bytes) => bytemuck::cast_slice(&bytes).to_vec(),
        }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Source::Owned(values) => values,
            Source::Shared(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Self {
        Self(Source::Owned(values))
    }
}

impl FromIterator<f32> for Floats {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        Vec::from_iter(values).into()
    }
}

impl<'a> IntoIterator for &'a Floats {
    type Item = &'a f32;
    type IntoIter = std::slice::Iter<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Floats {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_bytes_are_shared_and_others_copied() {
        let values = [1.5f32, -2.0, f32::MIN_POSITIVE];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut kinds = [0, 0];
        for start in 0..4 {
            let mut moved = vec![0u8; start];
            moved.extend_from_slice(&bytes);
            let moved = Bytes::from(moved);
            let at = moved.slice(start..);
            let place = at.as_ptr();
            let floats = Floats::from_le_bytes(at);
            assert_eq!(*floats, values);
            let shared = matches!(floats.0, Source::Shared(_));
            kinds[usize::from(shared)] += 1;
            assert_eq!(shared, cfg!(target_endian = "little") && place.align_offset(4) == 0);
            assert_eq!(floats.clone().into_vec(), values);
        }
        // Four neighbouring places: one of them is aligned if all begin alike.
        assert!(kinds[0] > 0);
        assert!(Floats::from_le_bytes(Bytes::from_static(&[1, 2, 3])).is_empty());
    }
}
