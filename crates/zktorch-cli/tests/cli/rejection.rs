use crate::{Done, World, pixels};

/// Exit code 1, in text and in JSON.
fn rejected(world: &World, line: &str, code: &str) -> Done {
    let text = world.run(line);
    assert_eq!(text.code, 1, "{line}: {}{}", text.stdout, text.stderr);
    assert!(text.stderr.starts_with(&format!("error[{code}]: the proof is rejected")), "{line}: {}", text.stderr);
    let json = world.run(&format!("{line} --json"));
    assert_eq!(json.code, 1);
    assert_eq!(json.json()["verified"], false);
    assert_eq!(json.json()["error"]["code"], code, "{}", json.stdout);
    text
}

/// The proof file with other contents but a right digest: what an attacker would write.
fn reseal(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = bytes[24..bytes.len() - 32].to_vec();
    change(&mut payload);
    zktorch::container::seal(zktorch::Kind::Proof, &payload)
}

#[test]
fn a_changed_byte_anywhere_in_the_proof_is_rejected() {
    let world = World::with_proof();
    let good = world.bytes("m.proof");
    let payload = good.len() - 56;
    // Positions in the model id, the public tensors and all over the proof.
    for at in [0, 31, 40, 200, payload / 2, payload - 600, payload - 1] {
        world.write("bad.proof", reseal(&good, |p| p[at] ^= 1));
        let done = world.run("verify bad.proof --vk m.vk");
        assert_eq!(done.code, 1, "byte {at}: {}{}", done.stdout, done.stderr);
    }
}

#[test]
fn a_damaged_proof_file_is_rejected() {
    let world = World::with_proof();
    let good = world.bytes("m.proof");
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    world.write("bad.proof", &flipped);
    rejected(&world, "verify bad.proof --vk m.vk", "E0609");
    world.write("bad.proof", &good[..good.len() - 1]);
    rejected(&world, "verify bad.proof --vk m.vk", "E0607");
    world.write("bad.proof", [good.as_slice(), b"x"].concat());
    rejected(&world, "verify bad.proof --vk m.vk", "E0608");
    world.write("bad.proof", reseal(&good, |p| p.push(0)));
    rejected(&world, "verify bad.proof --vk m.vk", "E0610");
}

#[test]
fn a_shortened_or_prolonged_proof_is_rejected() {
    let world = World::with_proof();
    let good = world.bytes("m.proof");
    // The proof proper is the last field: a length in two or three varint bytes, then the bytes.
    let proof = zktorch::Proof::read(&world.path("m.proof")).unwrap();
    let len = proof.proof_len();
    let varint = |mut n: usize| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push((n as u8) | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    for new_len in [0, 1, 32, len - 32, len - 1, len + 1, len + 32] {
        let bad = reseal(&good, |p| {
            let start = p.len() - len;
            let mut body = p.split_off(start);
            p.truncate(start - varint(len).len());
            body.resize(new_len, 0);
            p.extend(varint(new_len));
            p.extend(body);
        });
        world.write("bad.proof", bad);
        rejected(&world, "verify bad.proof --vk m.vk", "E0500");
    }
}

#[test]
fn another_output_is_rejected() {
    let world = World::with_proof();
    // The proof of one input with the statement of another.
    let mut other = pixels();
    other[0] = 0.75;
    world.write("other.json", format!("{{\"input_data\": [{other:?}]}}"));
    world.run("prove m.zkt --pk m.pk --input other.json -o other.proof").succeeded();
    let len = zktorch::Proof::read(&world.path("m.proof")).unwrap().proof_len();
    let (a, b) = (world.bytes("m.proof"), world.bytes("other.proof"));
    let tail = a[a.len() - 32 - len..a.len() - 32].to_vec();
    world.write(
        "bad.proof",
        reseal(&b, |p| {
            let start = p.len() - len;
            p.truncate(start);
            p.extend(tail);
        }),
    );
    rejected(&world, "verify bad.proof --vk m.vk", "E0500");
}

#[test]
fn a_key_of_another_set_up_or_an_untrusted_model_is_rejected() {
    let world = World::with_proof();
    // Fresh blinders make another key even of the same model.
    world.run("setup m.zkt --pk n.pk --vk n.vk").succeeded();
    rejected(&world, "verify m.proof --vk n.vk", "E0521");
    rejected(&world, &format!("verify m.proof --vk m.vk --model-id {}", "0".repeat(64)), "E0522");
}

#[test]
fn a_changed_byte_anywhere_in_the_verifying_key_is_noticed() {
    let world = World::with_proof();
    let good = world.bytes("m.vk");
    let payload = &good[24..good.len() - 32];
    // Metadata at the front, the program, and commitments and reference string at the end.
    let end = payload.len();
    for at in (0..60).step_by(7).chain((60..end).step_by(end / 12)).chain([end - 300, end - 200, end - 40, end - 1]) {
        let mut bad = payload.to_vec();
        bad[at] ^= 1;
        world.write("bad.vk", zktorch::container::seal(zktorch::Kind::VerifyingKey, &bad));
        let done = world.run("verify m.proof --vk bad.vk");
        assert!(matches!(done.code, 1 | 2), "byte {at}: {}{}", done.stdout, done.stderr);
        assert!(!done.stderr.contains("panicked"), "byte {at}: {}", done.stderr);
    }
}

#[test]
fn a_changed_compiled_model_or_proving_key_never_gives_a_valid_proof_of_the_old_key() {
    let world = World::with_proof();
    for (file, kind) in [("m.zkt", zktorch::Kind::Model), ("m.pk", zktorch::Kind::ProvingKey)] {
        let good = world.bytes(file);
        let payload = &good[24..good.len() - 32];
        let end = payload.len();
        for at in (0..60).step_by(11).chain((60..end).step_by(end / 10)) {
            let mut bad = payload.to_vec();
            bad[at] ^= 1;
            world.write("bad", zktorch::container::seal(kind, &bad));
            let (zkt, pk) = if file == "m.zkt" { ("bad", "m.pk") } else { ("m.zkt", "bad") };
            let done = world.run(&format!("prove {zkt} --pk {pk} --input input.json -o bad.proof"));
            assert!(matches!(done.code, 0 | 2), "{file} byte {at}: {}", done.stderr);
            // A changed blinder or power of the reference string is only noticed by the verifier.
            if done.code == 0 {
                assert_eq!(file, "m.pk", "byte {at}");
                assert_eq!(world.run("verify bad.proof --vk m.vk").code, 1, "{file} byte {at}");
            }
        }
    }
}
