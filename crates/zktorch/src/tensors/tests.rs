#![allow(clippy::unwrap_used)]
use super::*;

fn path() -> &'static Path {
    Path::new("in.file")
}

fn spec(name: &str, dtype: DType, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn f32s(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn npy_is_read_in_both_orders() {
    let data = f32s(&[1., 2., 3., 4., 5., 6.]);
    let c = parse_entries(path(), &npy("<f4", "False", "(2, 3)", &data)).unwrap();
    assert_eq!(c[0].numbers, Numbers::Float(vec![1., 2., 3., 4., 5., 6.]));
    let f = parse_entries(path(), &npy("<f4", "True", "(2, 3)", &data)).unwrap();
    assert_eq!(f[0].numbers, Numbers::Float(vec![1., 3., 5., 2., 4., 6.]));
    assert_eq!(f[0].shape, Some(vec![2, 3]));
}

#[test]
fn every_admitted_element_type_is_read() {
    for (descr, bytes, want) in [
        ("<f8", 2f64.to_le_bytes().to_vec(), Numbers::Float(vec![2.])),
        (">f4", 2f32.to_be_bytes().to_vec(), Numbers::Float(vec![2.])),
        ("|i1", vec![0xff], Numbers::Int(vec![-1])),
        ("<i2", (-2i16).to_le_bytes().to_vec(), Numbers::Int(vec![-2])),
        ("<i4", (-2i32).to_le_bytes().to_vec(), Numbers::Int(vec![-2])),
        ("<i8", i64::MIN.to_le_bytes().to_vec(), Numbers::Int(vec![i64::MIN])),
        ("|u1", vec![200], Numbers::Int(vec![200])),
        ("|b1", vec![1], Numbers::Bool(vec![true])),
    ] {
        let entries = parse_entries(path(), &npy(descr, "False", "(1,)", &bytes)).unwrap();
        assert_eq!(entries[0].numbers, want, "{descr}");
    }
    let complex = parse_entries(path(), &npy("<c8", "False", "(1,)", &[0; 8]));
    assert!(matches!(complex, Err(InputError::Format { .. })));
}

#[test]
fn damaged_npy_is_an_error() {
    let good = npy("<f4", "False", "(2, 3)", &f32s(&[0.; 6]));
    for n in 0..good.len() {
        assert!(parse_entries(path(), &good[..n]).is_err(), "{n} bytes");
    }
    let huge = npy("<f4", "False", "(4000000000, 4000000000, 4000000000)", &[]);
    assert!(matches!(parse_entries(path(), &huge), Err(InputError::Format { .. })));
}

#[test]
fn npz_round_trips() {
    let a = Tensor::f32(vec![2, 2], vec![1., -2., 3.5, 0.]).unwrap();
    let b = Tensor::i64(vec![3], vec![-1, 0, 7]).unwrap();
    let bytes = encode_named(Path::new("o.npz"), &[("a", &a), ("b", &b)]).unwrap();
    let entries = parse_entries(path(), &bytes).unwrap();
    let specs = [spec("b", DType::I64, &[3]), spec("a", DType::F32, &[2, 2])];
    assert_eq!(bind(path(), &specs, entries).unwrap(), vec![b, a]);
    for n in [1, 10, bytes.len() / 2, bytes.len() - 1] {
        assert!(parse_entries(path(), &bytes[..n]).is_err(), "{n} bytes");
    }
}

#[test]
fn json_is_read_by_position_and_by_name() {
    let specs = [spec("x", DType::F32, &[2, 2]), spec("n", DType::I64, &[1])];
    let by_position = parse_entries(path(), br#"{"input_data": [[1, 2.5, 3, 4], [7]]}"#).unwrap();
    let by_name = parse_entries(path(), br#"{"input_data": {"n": [7], "x": [[1, 2.5], [3, 4]]}}"#).unwrap();
    let want = vec![Tensor::f32(vec![2, 2], vec![1., 2.5, 3., 4.]).unwrap(), Tensor::i64(vec![1], vec![7]).unwrap()];
    assert_eq!(bind(path(), &specs, by_position).unwrap(), want);
    assert_eq!(bind(path(), &specs, by_name).unwrap(), want);
    let json = encode_named(Path::new("o.json"), &[("x", &want[0]), ("n", &want[1])]).unwrap();
    assert_eq!(bind(path(), &specs, parse_entries(path(), &json).unwrap()).unwrap(), want);
}

#[test]
fn unfit_json_is_an_error() {
    for text in [
        "",
        "[]",
        "{}",
        "{\"input_data\": 3}",
        "{\"input_data\": [[1], [\"a\"]]}",
        "{\"input_data\": [[[1, 2], [3]]]}",
        "{\"input_data\": [[1, [2]]]}",
        "{\"input_data\": [[null]]}",
        "{\"input_data\": [[NaN]]}",
        "{\"input_data\": [[true, 2]]}",
    ] {
        assert!(matches!(parse_entries(path(), text.as_bytes()), Err(InputError::Format { .. })), "{text}");
    }
}

#[test]
fn names_shapes_and_types_are_checked() {
    let specs = [spec("x", DType::F32, &[1, 2])];
    let refused = |json: &str| bind(path(), &specs, parse_entries(path(), json.as_bytes()).unwrap()).unwrap_err();
    for (json, what) in [
        (r#"{"input_data": [[1, 2, 3]]}"#, "3 numbers"),
        (r#"{"input_data": [[1, 2], [3]]}"#, "2 tensors"),
        (r#"{"input_data": {"y": [1, 2]}}"#, "no tensor 'x'"),
        (r#"{"input_data": {"x": [1, 2], "y": [1]}}"#, "'y'"),
        (r#"{"input_data": {"x": [[1], [2]]}}"#, "[2, 1]"),
        (r#"{"input_data": [[true, false]]}"#, "truth values"),
    ] {
        let error = refused(json);
        assert!(matches!(error, InputError::Mismatch { .. }), "{json}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.help().unwrap().contains("x: f32 [1, 2]"));
    }
    assert!(matches!(refused(r#"{"input_data": [[1, 1e300]]}"#), InputError::NotFinite { index: 1, .. }));
    let nan = parse_entries(path(), &npy("<f4", "False", "(1, 2)", &f32s(&[f32::NAN, 0.]))).unwrap();
    assert!(matches!(bind(path(), &specs, nan), Err(InputError::NotFinite { index: 0, .. })));
    let ints = [spec("x", DType::I64, &[2])];
    let floats = parse_entries(path(), br#"{"input_data": [[1.5, 2]]}"#).unwrap();
    assert!(matches!(bind(path(), &ints, floats), Err(InputError::Mismatch { .. })));
}

#[test]
fn calibration_files_hold_many_samples() {
    let x = Tensor::f32(vec![3, 2], vec![1., 2., 3., 4., 5., 6.]).unwrap();
    let labels = Tensor::i64(vec![3], vec![0, 1, 2]).unwrap();
    let bytes = encode_named(Path::new("o.npz"), &[("x", &x), ("labels", &labels)]).unwrap();
    let specs = [spec("x", DType::F32, &[1, 2])];
    let samples = bind_samples(path(), &specs, parse_entries(path(), &bytes).unwrap(), 2).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[1][0], Tensor::f32(vec![1, 2], vec![3., 4.]).unwrap());
    let single = parse_entries(path(), br#"{"input_data": [[9, 8]]}"#).unwrap();
    assert_eq!(bind_samples(path(), &specs, single, 5).unwrap().len(), 1);
}
