//! Integers of a matrix in as few bytes as they need, in memory or in a mapped file.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Bytes of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellWidth {
    /// `i8`.
    One,
    /// `i16`.
    Two,
    /// `i32`.
    Four,
}

impl CellWidth {
    /// The narrowest width that holds `lo..=hi`, or nothing beyond 32 bits.
    pub fn of_bounds(lo: i64, hi: i64) -> Option<CellWidth> {
        let fits = |bits: u32| lo >= -(1i64 << (bits - 1)) && hi < 1i64 << (bits - 1);
        [(8, CellWidth::One), (16, CellWidth::Two), (32, CellWidth::Four)].into_iter().find(|(bits, _)| fits(*bits)).map(|(_, width)| width)
    }

    /// Number of bytes.
    pub fn bytes(self) -> usize {
        match self {
            CellWidth::One => 1,
            CellWidth::Two => 2,
            CellWidth::Four => 4,
        }
    }

    /// Smallest and largest integer of the width.
    pub fn bounds(self) -> (i64, i64) {
        let half = 1i64 << (8 * self.bytes() - 1);
        (-half, half - 1)
    }
}

/// The cells of a matrix, row-major. Cloning shares them. They may lie in a mapped file: then they are read from it when they are touched, and
/// cost no memory of their own.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Encoded", try_from = "Encoded")]
pub struct MatrixCells {
    width: CellWidth,
    /// In the byte order and with the alignment of the machine.
    bytes: Bytes,
}

/// Bytes of a cell, and all cells little-endian.
#[derive(Serialize, Deserialize)]
struct Encoded(u8, Bytes);

impl From<MatrixCells> for Encoded {
    fn from(cells: MatrixCells) -> Encoded {
        let bytes = match cfg!(target_endian = "little") {
            true => cells.bytes.clone(),
            false => cells.to_le_bytes().into_owned().into(),
        };
        Encoded(cells.width.bytes() as u8, bytes)
    }
}

impl TryFrom<Encoded> for MatrixCells {
    type Error = &'static str;

    fn try_from(Encoded(width, bytes): Encoded) -> Result<MatrixCells, Self::Error> {
        let widths = [CellWidth::One, CellWidth::Two, CellWidth::Four];
        let width = widths.into_iter().find(|w| w.bytes() == width as usize).ok_or("a cell has 1, 2 or 4 bytes")?;
        MatrixCells::from_le_bytes(width, bytes).ok_or("the last cell is cut off")
    }
}

/// Borrowed cells of either width.
#[derive(Clone, Copy, Debug)]
pub enum CellSlice<'a> {
    /// 8-bit cells.
    I8(&'a [i8]),
    /// 16-bit cells.
    I16(&'a [i16]),
    /// 32-bit cells.
    I32(&'a [i32]),
}

/// Runs an expression on the slice inside of a [`CellSlice`], whatever its type.
#[macro_export]
macro_rules! with_cells {
    ($slice:expr, $cells:ident => $body:expr) => {
        match $slice {
            $crate::CellSlice::I8($cells) => $body,
            $crate::CellSlice::I16($cells) => $body,
            #[allow(clippy::useless_conversion, reason = "a conversion to `i32` is one for the narrower cells")]
            $crate::CellSlice::I32($cells) => $body,
        }
    };
}

/// Keeps a typed vector alive behind [`Bytes`].
struct Owned<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

macro_rules! from_vec {
    ($($cell:ty => $width:ident),*) => {$(
        impl From<Vec<$cell>> for MatrixCells {
            /// Takes the cells as they are.
            fn from(values: Vec<$cell>) -> MatrixCells {
                MatrixCells { width: CellWidth::$width, bytes: Bytes::from_owner(Owned(values)) }
            }
        }
    )*};
}
from_vec!(i8 => One, i16 => Two, i32 => Four);

impl MatrixCells {
    /// Copies `values` in the given width.
    ///
    /// # Panics
    /// If a value does not fit.
    pub fn with_width(width: CellWidth, values: impl Iterator<Item = i64>) -> MatrixCells {
        let fits = "the caller chose a width that holds the values";
        match width {
            CellWidth::One => values.map(|v| i8::try_from(v).expect(fits)).collect::<Vec<_>>().into(),
            CellWidth::Two => values.map(|v| i16::try_from(v).expect(fits)).collect::<Vec<_>>().into(),
            CellWidth::Four => values.map(|v| i32::try_from(v).expect(fits)).collect::<Vec<_>>().into(),
        }
    }

    /// Copies `values` in the narrowest width that holds them.
    pub fn narrowest(values: &[i32]) -> MatrixCells {
        let (lo, hi) = values.iter().fold((0, 0), |(lo, hi), &v| (v.min(lo), v.max(hi)));
        let width = CellWidth::of_bounds(lo.into(), hi.into()).unwrap_or(CellWidth::Four);
        MatrixCells::with_width(width, values.iter().map(|&v| v.into()))
    }

    /// Little-endian cells of the given width, as [`MatrixCells::to_le_bytes`] gives them. They are used in place (for example in a mapped
    /// file) where they are aligned to their width and the machine has the same byte order; else they are copied.
    ///
    /// Returns nothing if the last cell is cut off.
    pub fn from_le_bytes(width: CellWidth, bytes: Bytes) -> Option<MatrixCells> {
        if !bytes.len().is_multiple_of(width.bytes()) {
            return None;
        }
        let aligned = bytes.as_ptr().align_offset(width.bytes()) == 0;
        if width == CellWidth::One || (cfg!(target_endian = "little") && aligned) {
            return Some(MatrixCells { width, bytes });
        }
        Some(match width {
            CellWidth::One => MatrixCells { width, bytes },
            CellWidth::Two => bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect::<Vec<_>>().into(),
            CellWidth::Four => bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect::<Vec<_>>().into(),
        })
    }

    /// The cells as little-endian integers of their width, one after the other.
    pub fn to_le_bytes(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            return Cow::Borrowed(&self.bytes);
        }
        Cow::Owned(match self.view() {
            CellSlice::I8(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            CellSlice::I16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            CellSlice::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        })
    }

    /// Bytes of one cell.
    pub fn width(&self) -> CellWidth {
        self.width
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The cells.
    #[inline]
    pub fn view(&self) -> CellSlice<'_> {
        match self.width {
            CellWidth::One => CellSlice::I8(bytemuck::cast_slice(&self.bytes)),
            CellWidth::Two => CellSlice::I16(bytemuck::cast_slice(&self.bytes)),
            CellWidth::Four => CellSlice::I32(bytemuck::cast_slice(&self.bytes)),
        }
    }

    /// A copy in which `change` has changed the integers, in the narrowest width that then holds them: for tests.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn changed(&self, change: impl FnOnce(&mut Vec<i32>)) -> MatrixCells {
        let mut values: Vec<i32> = self.view().iter().map(|v| v as i32).collect();
        change(&mut values);
        MatrixCells::narrowest(&values)
    }
}

impl<'a> CellSlice<'a> {
    /// Number of cells.
    pub fn len(&self) -> usize {
        with_cells!(self, v => v.len())
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cell.
    ///
    /// # Panics
    /// Beyond the end.
    #[inline]
    pub fn get(&self, i: usize) -> i64 {
        with_cells!(self, v => v[i].into())
    }

    /// A run of cells.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn slice(&self, range: std::ops::Range<usize>) -> CellSlice<'a> {
        match self {
            CellSlice::I8(v) => CellSlice::I8(&v[range]),
            CellSlice::I16(v) => CellSlice::I16(&v[range]),
            CellSlice::I32(v) => CellSlice::I32(&v[range]),
        }
    }

    /// All cells in order.
    pub fn iter(self) -> impl Iterator<Item = i64> + 'a {
        (0..self.len()).map(move |i| self.get(i))
    }

    /// Writes the cells to the start of `to`.
    ///
    /// # Panics
    /// If `to` is shorter.
    pub fn widen(&self, to: &mut [i64]) {
        let to = &mut to[..self.len()];
        with_cells!(self, v => to.iter_mut().zip(*v).for_each(|(t, v)| *t = (*v).into()));
    }

    /// Smallest and largest integer that cells of this type can be.
    pub fn type_bounds(&self) -> (i64, i64) {
        let width = match self {
            CellSlice::I8(_) => CellWidth::One,
            CellSlice::I16(_) => CellWidth::Two,
            CellSlice::I32(_) => CellWidth::Four,
        };
        width.bounds()
    }

    /// The first cell outside `lo..=hi`. Costs nothing if the type of the cells excludes it.
    pub fn first_outside(&self, lo: i64, hi: i64) -> Option<usize> {
        let (least, most) = self.type_bounds();
        if lo <= least && most <= hi {
            return None;
        }
        with_cells!(self, v => v.iter().position(|&v| !(lo..=hi).contains(&v.into())))
    }
}

impl PartialEq for MatrixCells {
    fn eq(&self, other: &Self) -> bool {
        match self.width == other.width {
            true => self.bytes == other.bytes,
            false => self.len() == other.len() && self.view().iter().eq(other.view().iter()),
        }
    }
}

impl Eq for MatrixCells {}

impl std::fmt::Debug for MatrixCells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MatrixCells").field("width", &self.width).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_width_is_chosen() {
        for (values, width) in [
            (vec![], CellWidth::One),
            (vec![-128, 127], CellWidth::One),
            (vec![128], CellWidth::Two),
            (vec![-129], CellWidth::Two),
            (vec![32767, -32768], CellWidth::Two),
            (vec![32768], CellWidth::Four),
            (vec![i32::MIN, i32::MAX], CellWidth::Four),
        ] {
            let cells = MatrixCells::narrowest(&values);
            assert_eq!(cells.width(), width);
            assert_eq!(cells.view().iter().map(|v| v as i32).collect::<Vec<_>>(), values);
            assert_eq!(cells, MatrixCells::from(values));
        }
        assert_eq!(CellWidth::of_bounds(0, 1 << 31), None);
        assert_eq!(CellWidth::of_bounds(-1 << 31, (1 << 31) - 1), Some(CellWidth::Four));
    }

    #[test]
    fn bytes_give_the_same_cells_wherever_they_lie() {
        let values = [5, -7, 1 << 20, -(1 << 30)];
        for cells in [MatrixCells::narrowest(&values), MatrixCells::narrowest(&values[..2]), MatrixCells::from(vec![300i16, -300])] {
            let bytes = cells.to_le_bytes().into_owned();
            for shift in 0..4 {
                let shifted = Bytes::from([&[0u8; 4][..shift], &bytes].concat());
                assert_eq!(MatrixCells::from_le_bytes(cells.width(), shifted.slice(shift..)), Some(cells.clone()));
            }
            if cells.width() > CellWidth::One {
                assert!(MatrixCells::from_le_bytes(cells.width(), Bytes::from(bytes).slice(1..)).is_none());
            }
        }
    }

    #[test]
    fn values_outside_bounds_are_found() {
        let cells = MatrixCells::from(vec![1i16, 2, 300, -4]);
        assert_eq!(cells.view().first_outside(-4, 299), Some(2));
        assert_eq!(cells.view().first_outside(-3, 300), Some(3));
        assert_eq!(cells.view().first_outside(-4, 300), None);
        assert_eq!(cells.view().first_outside(-1 << 15, (1 << 15) - 1), None);
        assert_ne!(cells, cells.changed(|v| v[0] = 2));
    }
}
