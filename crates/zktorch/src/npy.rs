//! The npy array format, versions 1 to 3: plain element types, both orders. Every size is checked before anything is allocated.

use crate::tensors::Numbers;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads one array: shape and row-major elements.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn decode(bytes: &[u8]) -> Result<(Vec<usize>, Numbers), String> {
    let truncated = || "the file is truncated".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a npy array")?;
    let (&[major, _], rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    let (header_len, rest) = match major {
        1 => rest.split_first_chunk::<2>().map(|(n, r)| (usize::from(u16::from_le_bytes(*n)), r)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, r)| (u32::from_le_bytes(*n) as usize, r)),
        _ => return Err(format!("version {major} of the npy format is not known")),
    }
    .ok_or_else(truncated)?;
    let (header, data) = rest.split_at_checked(header_len).ok_or_else(truncated)?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let Header { descr, fortran, shape } = Header::parse(header)?;

    let big = descr.starts_with('>');
    let code = descr.trim_start_matches(['<', '>', '|', '=']);
    let width: usize = code.get(1..).and_then(|w| w.parse().ok()).unwrap_or(0);
    if !["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1"].contains(&code) {
        return Err(format!("element type {descr} is not read; convert it to float32, float64, bool or an integer of at most 64 bits"));
    }
    let want = shape.iter().try_fold(width, |n, &d| n.checked_mul(d));
    if want != Some(data.len()) {
        return Err(format!("shape {shape:?} of {descr} does not fit {} bytes of data", data.len()));
    }
    macro_rules! elements {
        ($type:ty) => {
            data.chunks_exact(size_of::<$type>()).map(|chunk| {
                let mut bytes = [0u8; size_of::<$type>()];
                bytes.copy_from_slice(chunk);
                if big { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) }
            })
        };
    }
    let numbers = match code {
        "f4" => Numbers::Float(elements!(f32).map(f64::from).collect()),
        "f8" => Numbers::Float(elements!(f64).collect()),
        "i1" => Numbers::Int(elements!(i8).map(i64::from).collect()),
        "i2" => Numbers::Int(elements!(i16).map(i64::from).collect()),
        "i4" => Numbers::Int(elements!(i32).map(i64::from).collect()),
        "i8" => Numbers::Int(elements!(i64).collect()),
        "u1" => Numbers::Int(data.iter().map(|&x| i64::from(x)).collect()),
        "u2" => Numbers::Int(elements!(u16).map(i64::from).collect()),
        "u4" => Numbers::Int(elements!(u32).map(i64::from).collect()),
        "b1" if data.iter().all(|&x| x <= 1) => Numbers::Bool(data.iter().map(|&x| x == 1).collect()),
        _ => return Err("a truth value is neither 0 nor 1".to_owned()),
    };
    let numbers = match numbers {
        _ if !fortran => numbers,
        Numbers::Float(v) => Numbers::Float(to_row_major(&v, &shape)),
        Numbers::Int(v) => Numbers::Int(to_row_major(&v, &shape)),
        Numbers::Bool(v) => Numbers::Bool(to_row_major(&v, &shape)),
    };
    Ok((shape, numbers))
}

/// Writes one array of little-endian elements (`data`) in version 1.
pub fn encode(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let dims: String = shape.iter().map(|d| format!("{d},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version, length and header fill a multiple of 64 bytes, the header ends in a newline.
    let padded = (header.len() + 11).next_multiple_of(64) - 10;
    let mut bytes = Vec::with_capacity(10 + padded + data.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(padded as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(9 + padded, b' ');
    bytes.push(b'\n');
    bytes.extend_from_slice(data);
    bytes
}

/// Elements in row-major order, given with the first axis fastest.
fn to_row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = vec![1usize; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut index = vec![0usize; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// The dictionary at the head of an array.
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, keys in any order.
    fn parse(text: &str) -> Result<Header, String> {
        let value = |key: &str| {
            let at = ["'", "\""].iter().find_map(|q| text.find(&format!("{q}{key}{q}"))).ok_or(format!("the header has no {key}"))?;
            let after = text.get(at + key.len() + 2..).unwrap_or_default().trim_start();
            after.strip_prefix(':').map(str::trim_start).ok_or(format!("the header is damaged at {key}"))
        };
        let descr = value("descr")?;
        let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or("structured element types are not read")?;
        let descr = descr.get(1..).and_then(|d| d.split_once(quote)).ok_or("the header is damaged at descr")?.0.to_owned();
        let fortran = match value("fortran_order")? {
            v if v.starts_with("True") => true,
            v if v.starts_with("False") => false,
            _ => return Err("the header is damaged at fortran_order".to_owned()),
        };
        let dims = value("shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or("the header is damaged at shape")?.0;
        let shape = dims
            .split(',')
            .map(str::trim)
            .filter(|d| !d.is_empty())
            .map(|d| d.trim_end_matches('L').parse::<usize>().map_err(|_| format!("'{d}' is not a length")))
            .collect::<Result<_, _>>()?;
        Ok(Header { descr, fortran, shape })
    }
}
