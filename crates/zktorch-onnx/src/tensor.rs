//! Constant tensors: every encoding that the format has, including files outside of the model.

use crate::ImportError;
use crate::files::Files;
use crate::proto::{ElementType, TensorProto};
use bytes::Bytes;
use std::path::{Component, Path, PathBuf};
use zktorch_float::{DType, Data, Floats, Tensor};

/// The element type that stands for `element` in the graph.
pub(crate) fn dtype(element: i32) -> Result<DType, String> {
    match ElementType::try_from(element) {
        Ok(
            ElementType::Float
            | ElementType::Float16
            | ElementType::Double
            | ElementType::Bfloat16
            | ElementType::Float8e4m3fn
            | ElementType::Float8e4m3fnuz
            | ElementType::Float8e5m2
            | ElementType::Float8e5m2fnuz
            | ElementType::Float4e2m1
            | ElementType::Float8e8m0,
        ) => Ok(DType::F32),
        Ok(
            ElementType::Uint2
            | ElementType::Int2
            | ElementType::Uint4
            | ElementType::Int4
            | ElementType::Uint8
            | ElementType::Int8
            | ElementType::Uint16
            | ElementType::Int16
            | ElementType::Int32
            | ElementType::Int64
            | ElementType::Uint32
            | ElementType::Uint64,
        ) => Ok(DType::I64),
        Ok(ElementType::Bool) => Ok(DType::Bool),
        Ok(other) => Err(format!("element type {other:?} is not supported")),
        Err(_) => Err(format!("element type {element} is not supported")),
    }
}

/// Bits per element in the raw encoding.
pub(crate) fn width(element: ElementType) -> usize {
    match element {
        ElementType::Uint2 | ElementType::Int2 => 2,
        ElementType::Uint4 | ElementType::Int4 | ElementType::Float4e2m1 => 4,
        ElementType::Uint8
        | ElementType::Int8
        | ElementType::Bool
        | ElementType::Float8e4m3fn
        | ElementType::Float8e4m3fnuz
        | ElementType::Float8e5m2
        | ElementType::Float8e5m2fnuz
        | ElementType::Float8e8m0 => 8,
        ElementType::Uint16 | ElementType::Int16 | ElementType::Float16 | ElementType::Bfloat16 => 16,
        ElementType::Int64 | ElementType::Uint64 | ElementType::Double => 64,
        _ => 32,
    }
}

/// Layout of the narrow floats: bits of exponent and fraction, and the bias.
fn layout(element: ElementType) -> Option<(u32, u32, i32)> {
    Some(match element {
        ElementType::Float8e4m3fn => (4, 3, 7),
        ElementType::Float8e4m3fnuz => (4, 3, 8),
        ElementType::Float8e5m2 => (5, 2, 15),
        ElementType::Float8e5m2fnuz => (5, 2, 16),
        ElementType::Float4e2m1 => (2, 1, 1),
        _ => return None,
    })
}

/// A float of at most 8 bits.
fn narrow(element: ElementType, bits: u8) -> f32 {
    if element == ElementType::Float8e8m0 {
        return if bits == 255 { f32::NAN } else { 2f32.powi(i32::from(bits) - 127) };
    }
    let Some((exponent_bits, fraction_bits, bias)) = layout(element) else { return f32::NAN };
    let negative = bits >> (exponent_bits + fraction_bits) & 1 == 1;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let exponent = i32::from(bits >> fraction_bits & ((1 << exponent_bits) - 1));
    let sign = if negative { -1.0 } else { 1.0 };
    match element {
        ElementType::Float8e4m3fn if bits & 0x7f == 0x7f => return f32::NAN,
        ElementType::Float8e4m3fnuz | ElementType::Float8e5m2fnuz if bits == 0x80 => return f32::NAN,
        ElementType::Float8e5m2 if exponent == 31 => return if fraction == 0 { sign * f32::INFINITY } else { f32::NAN },
        _ => {}
    }
    let part = f32::from(fraction) / f32::from(1u8 << fraction_bits);
    sign * if exponent == 0 { part * 2f32.powi(1 - bias) } else { (1.0 + part) * 2f32.powi(exponent - bias) }
}

/// The first `count` elements of less than 8 bits or floats of 8 bits, the lowest bits of each byte first.
fn unpacked(element: ElementType, bytes: &[u8], count: usize) -> Data {
    let bits = width(element);
    let mask = (1u16 << bits) - 1;
    let codes = bytes.iter().flat_map(|&b| (0..8 / bits).map(move |i| (u16::from(b) >> (i * bits) & mask) as u8)).take(count);
    match element {
        ElementType::Uint2 | ElementType::Uint4 => Data::I64(codes.map(i64::from).collect()),
        ElementType::Int2 | ElementType::Int4 => {
            let half = 1i64 << (bits - 1);
            Data::I64(codes.map(|c| (i64::from(c) ^ half) - half).collect())
        }
        _ => Data::F32(codes.map(|c| narrow(element, c)).collect()),
    }
}

/// Whether elements are unpacked from bytes whatever field they are in.
fn is_packed(element: ElementType) -> bool {
    width(element) < 8 || layout(element).is_some() || element == ElementType::Float8e8m0
}

/// Reads a tensor; `files` are those of the model.
pub(crate) fn read(proto: &TensorProto, files: &Files) -> Result<Tensor, ImportError> {
    decode(proto, files).map_err(|reason| ImportError::Tensor { tensor: proto.name.clone().unwrap_or_default(), reason })
}

fn decode(proto: &TensorProto, files: &Files) -> Result<Tensor, String> {
    let mut shape = Vec::with_capacity(proto.dims.len());
    let mut count = 1usize;
    for &dim in &proto.dims {
        let size = usize::try_from(dim).map_err(|_| format!("negative size {dim}"))?;
        count = count.checked_mul(size).ok_or("the shape is too large")?;
        shape.push(size);
    }
    let code = proto.data_type.unwrap_or(0);
    dtype(code)?;
    let element = ElementType::try_from(code).map_err(|_| format!("element type {code} is not supported"))?;
    let bytes_wanted = count.checked_mul(width(element)).ok_or("the shape is too large")?.div_ceil(8);
    let data = if is_packed(element) {
        let bytes = match &proto.raw_data {
            _ if proto.data_location == Some(1) => external(proto, files, bytes_wanted)?,
            Some(raw) => raw.clone(),
            None => proto.int32_data.iter().map(|&v| v as u8).collect::<Vec<u8>>().into(),
        };
        unpacked(element, &bytes, count)
    } else if proto.data_location == Some(1) {
        from_bytes(element, external(proto, files, bytes_wanted)?)
    } else if let Some(raw) = &proto.raw_data {
        if raw.len() != bytes_wanted {
            return Err(format!("shape {shape:?} of {element:?} needs {bytes_wanted} bytes, got {}", raw.len()));
        }
        from_bytes(element, raw.clone())
    } else {
        from_fields(proto, element)
    };
    Tensor::new(shape, data).map_err(|e| e.to_string())
}

/// Elements from the typed fields.
fn from_fields(proto: &TensorProto, element: ElementType) -> Data {
    match element {
        ElementType::Float => Data::F32(proto.float_data.clone().into()),
        ElementType::Double => Data::F32(proto.double_data.iter().map(|&v| v as f32).collect()),
        ElementType::Float16 => Data::F32(proto.int32_data.iter().map(|&v| half(v as u16)).collect()),
        ElementType::Bfloat16 => Data::F32(proto.int32_data.iter().map(|&v| f32::from_bits((v as u32 & 0xffff) << 16)).collect()),
        ElementType::Bool => Data::Bool(proto.int32_data.iter().map(|&v| v != 0).collect()),
        ElementType::Int64 => Data::I64(proto.int64_data.clone()),
        ElementType::Uint32 | ElementType::Uint64 => Data::I64(proto.uint64_data.iter().map(|&v| v as i64).collect()),
        _ => Data::I64(proto.int32_data.iter().map(|&v| i64::from(v)).collect()),
    }
}

/// Elements from little-endian bytes; `bytes` is a whole number of elements. Floats that are aligned stay where they are.
fn from_bytes(element: ElementType, bytes: Bytes) -> Data {
    fn each<const N: usize, T, C: FromIterator<T>>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> C {
        bytes.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
    }
    match element {
        ElementType::Double => Data::F32(each(&bytes, |b| f64::from_le_bytes(b) as f32)),
        ElementType::Float16 => Data::F32(each(&bytes, |b| half(u16::from_le_bytes(b)))),
        ElementType::Bfloat16 => Data::F32(each(&bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        ElementType::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
        ElementType::Uint8 => Data::I64(bytes.iter().map(|&b| i64::from(b)).collect()),
        ElementType::Int8 => Data::I64(bytes.iter().map(|&b| i64::from(b as i8)).collect()),
        ElementType::Uint16 => Data::I64(each(&bytes, |b| i64::from(u16::from_le_bytes(b)))),
        ElementType::Int16 => Data::I64(each(&bytes, |b| i64::from(i16::from_le_bytes(b)))),
        ElementType::Int32 => Data::I64(each(&bytes, |b| i64::from(i32::from_le_bytes(b)))),
        ElementType::Uint32 => Data::I64(each(&bytes, |b| i64::from(u32::from_le_bytes(b)))),
        ElementType::Int64 => Data::I64(each(&bytes, i64::from_le_bytes)),
        ElementType::Uint64 => Data::I64(each(&bytes, |b| u64::from_le_bytes(b) as i64)),
        // The callers let only known types through; the rest is float.
        _ => Data::F32(Floats::from_le_bytes(bytes)),
    }
}

/// An IEEE half-precision number.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

/// Bytes of a tensor outside of the model file.
fn external(proto: &TensorProto, files: &Files, wanted: usize) -> Result<Bytes, String> {
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref());
    let number =
        |key: &str| entry(key).map(|v| v.parse::<u64>().map_err(|_| format!("external data {key} '{v}' is no number"))).transpose();
    let location = entry("location").ok_or("external data without a location")?;
    let folder = files.folder.as_deref().ok_or("external data needs a model read from a file")?;
    let path = resolve(folder, location)?;
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or(wanted as u64);
    if length != wanted as u64 {
        return Err(format!("external data length {length}, but the shape needs {wanted} bytes"));
    }
    let content = files.map(&path).map_err(|e| format!("external data {}: {e}", path.display()))?;
    let start = usize::try_from(offset).ok().filter(|&s| s <= content.len());
    let range = start.and_then(|s| Some(s..s.checked_add(wanted).filter(|&end| end <= content.len())?));
    let size = content.len();
    let range =
        range.ok_or_else(|| format!("external data needs {wanted} bytes at offset {offset}, but {} has {size} bytes", path.display()))?;
    Ok(content.slice(range))
}

/// A file below `folder`; absolute locations and ones that climb up are refused, so that a model cannot read foreign files.
fn resolve(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err(format!("external data location '{location}' is not a plain relative path"));
    }
    Ok(folder.join(relative))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_matches_known_values() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0), (0x3555, 0.333_251_95)] {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn narrow_elements_match_known_values() {
        let floats = [
            (ElementType::Float8e4m3fn, 0x7e, 448.0),
            (ElementType::Float8e4m3fn, 0xed, -104.0),
            (ElementType::Float8e4m3fnuz, 0x01, 2f32.powi(-10)),
            (ElementType::Float8e5m2, 0x7b, 57344.0),
            (ElementType::Float8e5m2fnuz, 0x7f, 57344.0),
            (ElementType::Float4e2m1, 0x0f, -6.0),
            (ElementType::Float4e2m1, 0x01, 0.5),
            (ElementType::Float8e8m0, 124, 0.125),
        ];
        for (element, bits, value) in floats {
            assert_eq!(narrow(element, bits), value, "{element:?}");
        }
        assert_eq!(narrow(ElementType::Float8e5m2, 0xfc), f32::NEG_INFINITY);
        assert!(narrow(ElementType::Float8e4m3fn, 0xff).is_nan());
        assert_eq!(unpacked(ElementType::Int4, &[0x87, 0xcf], 3), Data::I64(vec![7, -8, -1]));
        assert_eq!(unpacked(ElementType::Uint4, &[0x87], 2), Data::I64(vec![7, 8]));
        assert_eq!(unpacked(ElementType::Int2, &[0b11_10_01_00], 4), Data::I64(vec![0, 1, -2, -1]));
        let proto =
            TensorProto { dims: vec![3], data_type: Some(ElementType::Uint4 as i32), int32_data: vec![0x21], ..TensorProto::default() };
        assert!(decode(&proto, &Files::new(None)).is_err());
    }

    #[test]
    fn external_locations_stay_inside_the_folder() {
        let folder = Path::new("models");
        assert!(resolve(folder, "weights.bin").is_ok());
        for bad in ["../weights.bin", "/etc/passwd", "a/../../b", ""] {
            assert!(resolve(folder, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn raw_sizes_are_checked() {
        let proto = TensorProto {
            dims: vec![3],
            data_type: Some(ElementType::Float as i32),
            raw_data: Some(vec![0u8; 8].into()),
            ..TensorProto::default()
        };
        assert!(decode(&proto, &Files::new(None)).unwrap_err().contains("12 bytes"));
    }
}
