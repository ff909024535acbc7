//! Bad input of every kind: exit code 2, one screen, what to do, and no file left behind.

use crate::{World, asset, pixels};
use prost::Message as _;
use zktorch_onnx::proto::{DimensionProto, ModelProto};

/// The multilayer perceptron with a change.
fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let bytes = std::fs::read(asset("digits_mlp.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

#[test]
fn models_that_are_none() {
    let world = World::new();
    let good = std::fs::read(asset("digits_mlp.onnx")).unwrap();
    world.write("text.onnx", "this is no model");
    world.write("empty.onnx", "");
    world.write("short.onnx", &good[..good.len() / 2]);
    for command in ["check", "compile -o out.zkt"] {
        world.refuses(&format!("{command} missing.onnx"), "E0101", "missing.onnx");
        world.refuses(&format!("{command} text.onnx"), "E0102", "text.onnx");
        world.refuses(&format!("{command} empty.onnx"), "E0102", "empty.onnx");
        world.refuses(&format!("{command} short.onnx"), "E0102", "short.onnx");
    }
}

#[test]
fn opsets_that_are_unknown() {
    let world = World::new();
    for version in [1, 6, 99] {
        world.write("m.onnx", changed(|m| m.opset_import[0].version = Some(version)));
        world.refuses("compile m.onnx -o out.zkt", "E0103", &format!("version {version}"));
    }
}

#[test]
fn operators_and_attributes_that_are_unknown_are_all_named() {
    let world = World::new();
    world.write(
        "m.onnx",
        changed(|m| {
            let graph = m.graph.as_mut().unwrap();
            graph.node[1].op_type = Some("Frobnicate".to_owned());
            graph.node[3].op_type = Some("Defenestrate".to_owned());
            graph.node[0].attribute[0].name = Some("transQ".to_owned());
        }),
    );
    for words in ["Frobnicate", "Defenestrate", "transQ", "relu_1"] {
        world.refuses("compile m.onnx -o out.zkt", "E0104", words);
    }
    let report = world.run("check m.onnx --json").succeeded().json();
    assert_eq!(report["supported"], false);
    let unsupported = report["unsupported"].as_array().unwrap();
    assert_eq!(unsupported.len(), 3, "{report}");
    assert!(unsupported.iter().all(|u| u["node"].is_string() && u["op"].is_string() && u["reason"].is_string()));
}

#[test]
fn dynamic_axes_without_a_size() {
    let world = World::new();
    world.write(
        "m.onnx",
        changed(|m| {
            let info = m.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
            let shape = info.tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
            shape.dim[0] = DimensionProto { dim_value: None, dim_param: Some("batch".to_owned()) };
        }),
    );
    world.refuses("compile m.onnx -o out.zkt", "E0105", "--dim batch=");
    world.refuses("check m.onnx", "E0105", "batch");
    world.run("compile m.onnx -o out.zkt --dim batch=2").succeeded();
    let json = world.run("inspect out.zkt --json").succeeded().json();
    assert_eq!(json["tensors"][0]["shape"], serde_json::json!([2, 64]));
}

#[test]
fn inputs_that_do_not_fit() {
    let world = World::with_keys();
    let numbers = format!("{:?}", pixels());
    let cases = [
        ("{\"input_data\": [[1, 2, 3]]}".to_owned(), "E0702", "3 numbers"),
        (format!("{{\"input_data\": [{numbers}, [1]]}}"), "E0702", "2 tensors"),
        (format!("{{\"input_data\": {{\"picture\": {numbers}}}}}"), "E0702", "image"),
        (format!("{{\"input_data\": [[{numbers}, {numbers}]]}}"), "E0702", "[2, 64]"),
        ("{\"input_data\": [[true, false]]}".to_owned(), "E0702", "image"),
        (format!("{{\"input_data\": [{}]}}", numbers.replacen("1.0", "1e99", 1)), "E0703", "image"),
        (format!("{{\"input_data\": [{}]}}", numbers.replacen("1.0", "NaN", 1)), "E0701", "JSON"),
        (format!("{{\"input_data\": [{}]}}", numbers.replacen("1.0", "1000.0", 1)), "E0704", "image"),
        ("{\"output\": 1}".to_owned(), "E0701", "input_data"),
        (String::new(), "E0701", "empty"),
    ];
    for (content, code, words) in cases {
        world.write("bad.json", content);
        world.refuses("prove m.zkt --pk m.pk --input bad.json -o out.proof", code, words);
        world.refuses("run m.zkt --input bad.json --output out.npz", code, words);
    }
    world.refuses("prove m.zkt --pk m.pk --input missing.npz -o out.proof", "E0601", "missing.npz");
    world.refuses("prove m.zkt --pk m.pk --input . -o out.proof", "E0601", "--inputs takes a folder");
    world.refuses("compile m.onnx -o out.zkt --calibrate bad.json", "E0701", "empty");
}

#[test]
fn nan_and_infinity_in_arrays() {
    let world = World::with_keys();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = pixels();
        values[5] = bad;
        let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        npy.extend(format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 64), }").bytes());
        npy.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        world.write("bad.npy", &npy);
        world.refuses("prove m.zkt --pk m.pk --input bad.npy -o out.proof", "E0703", "position 5");
        world.write("bad.npy", &npy[..npy.len() - 4]);
        world.refuses("prove m.zkt --pk m.pk --input bad.npy -o out.proof", "E0701", "bad.npy");
    }
}

#[test]
fn files_of_other_kinds() {
    let world = World::with_proof();
    for (line, words) in [
        ("prove m.vk --pk m.pk --input input.json -o out", "a verifying key, expected a compiled model"),
        ("prove m.zkt --pk m.vk --input input.json -o out", "a verifying key, expected a proving key"),
        ("verify m.zkt --vk m.vk", "a compiled model, expected a proof"),
        ("verify m.proof --vk m.proof", "a proof, expected a verifying key"),
        ("setup m.proof --pk out.pk --vk out.vk", "a proof, expected a compiled model"),
        ("setup m.zkt --srs m.vk --pk out.pk --vk out.vk", "a verifying key, expected a reference string"),
        ("srs verify m.zkt", "a compiled model, expected a reference string"),
    ] {
        world.refuses(line, "E0605", words);
    }
    world.refuses("inspect m.onnx", "E0603", "looks like an ONNX model");
    world.refuses("run m.onnx --input input.json", "E0603", "not a file of zktorch");
    world.refuses("verify m.proof --vk missing.vk", "E0601", "missing.vk");
    world.refuses("srs import m.zkt -o out.srs", "E0620", "m.zkt");
}

#[test]
fn files_that_are_damaged() {
    let world = World::with_proof();
    for (file, line) in [
        ("m.zkt", "run bad --input input.json"),
        ("m.pk", "prove m.zkt --pk bad --input input.json -o out"),
        ("m.vk", "verify m.proof --vk bad"),
        ("m.zkt", "inspect bad"),
    ] {
        let good = world.bytes(file);
        world.write("bad", &good[..good.len() - 7]);
        world.refuses(line, "E0607", "truncated");
        world.write("bad", [good.as_slice(), b"tail"].concat());
        world.refuses(line, "E0608", "4 bytes after its end");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 0x10;
        world.write("bad", &bad);
        world.refuses(line, "E0609", "corrupt");
        bad = good.clone();
        bad[12] = 9;
        world.write("bad", &bad);
        world.refuses(line, "E0606", "format version 9");
    }
}

#[test]
fn files_that_do_not_belong_together() {
    let world = World::with_keys();
    let mut other = pixels();
    other[9] = 0.5;
    world.write("other.json", format!("{{\"input_data\": [{other:?}]}}"));
    world.run("compile m.onnx -o private.zkt --calibrate other.json --input-visibility private").succeeded();
    world.refuses("prove private.zkt --pk m.pk --input input.json -o out", "E0611", "another compiled model");
    world.run("srs generate --size-log2 3 -o small.srs").succeeded();
    world.refuses("setup m.zkt --srs small.srs --pk out.pk --vk out.vk", "E0401", "8 powers");
}

#[test]
fn outputs_that_cannot_be_written() {
    let world = World::with_keys();
    world.refuses("compile m.onnx -o no/such/folder/m.zkt", "E0602", "cannot write");
    world.refuses("prove m.zkt --pk m.pk --input input.json -o no/such/folder/proof", "E0602", "cannot write");
    world.refuses("setup m.zkt --pk out.pk --vk no/such/folder/vk", "E0602", "cannot write");
    world.refuses("setup m.zkt --pk out --vk out", "E0902", "same file");
    world.refuses("setup m.zkt --pk out.pk --vk out.vk --prove-ranges out.vk", "E0902", "--vk and --prove-ranges");
    world.refuses("prove m.zkt --pk m.pk --input input.json -o out --accumulator out", "E0902", "same file");
    world.refuses("accumulate a.acc --pk m.pk -o out --keep out", "E0902", "same file");
    world.refuses("run m.zkt --input input.json --output out.txt", "E0701", ".npz or .json");
    world.refuses("srs generate --size-log2 3 -o no/such/folder/s", "E0602", "cannot write");
}

#[test]
fn command_lines_that_do_not_parse() {
    let world = World::new();
    for line in ["", "frobnicate", "prove", "compile m.onnx", "check m.onnx --dim batch", "check m.onnx --dim batch=0", "srs generate -o s"]
    {
        let done = world.run(line);
        assert_eq!(done.code, 2, "{line}");
        let json = world.run(&format!("{line} --json"));
        assert_eq!(json.code, 2, "{line}");
        assert_eq!(json.json()["error"]["code"], "E0900", "{line}");
    }
    world.refuses("bench nonsense", "E0904", "nonsense");
    world.refuses("verify a --vk b --model-id xyz", "E0903", "xyz");
}
