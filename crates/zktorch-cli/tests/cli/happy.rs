use crate::{World, asset, pixels};

#[test]
fn the_demonstration_verifies_and_says_what_its_files_are() {
    let world = World::new();
    let done = world.run("demo").succeeded();
    assert!(done.stdout.contains("The image shows a 3."), "{}", done.stdout);
    assert!(done.stderr.contains("can forge proofs"), "{}", done.stderr);
    for file in ["digits.onnx", "digits.zkt", "digits.pk", "digits.vk", "proof.bin", "input.npz"] {
        assert!(done.stdout.contains(file) && world.path("zktorch-demo").join(file).is_file(), "{file}");
    }
    let again = world.run("verify zktorch-demo/proof.bin --vk zktorch-demo/digits.vk --json").succeeded();
    assert_eq!(again.json()["verified"], true);
    let json = world.run("demo other --json").succeeded().json();
    assert_eq!(json["digit"], 3);
    assert!(world.path("other/proof.bin").is_file());
}

#[test]
fn a_model_is_checked_compiled_set_up_run_proved_and_verified() {
    let world = World::with_model();
    let check = world.run("check m.onnx --json").succeeded().json();
    assert_eq!(check["supported"], true);
    assert_eq!(check["unsupported"].as_array().unwrap().len(), 0);
    assert_eq!(check["parameters"], 6570);
    assert!(check["cells"].as_u64().unwrap() > 0 && check["lookups"].as_u64().unwrap() > 0);

    let setup = world.run("setup m.zkt --pk m.pk --vk m.vk --json").succeeded();
    assert!(setup.stderr.contains("can forge proofs"));
    let id = setup.json()["model_id"].as_str().unwrap().to_owned();

    let run = world.run("run m.zkt --input input.json --output out.npz --compare m.onnx --json").succeeded().json();
    let fidelity = &run["fidelity"]["logits"];
    assert!(fidelity["cosine"].as_f64().unwrap() > 0.9999, "{fidelity}");
    assert_eq!(fidelity["top1"], 1.0);
    assert!(fidelity["max_abs"].as_f64().unwrap() < 0.02, "{fidelity}");
    let same = world.run("run m.zkt --input input.json --compare out.npz --json").succeeded().json();
    assert_eq!(same["fidelity"]["logits"]["max_abs"], 0.0);

    let prove = world.run("prove m.zkt --pk m.pk --input input.json -o m.proof --json").succeeded().json();
    assert_eq!(prove["proof_bytes"].as_u64().unwrap(), world.bytes("m.proof").len() as u64);
    assert!(prove["prove_seconds"].as_f64().unwrap() > 0.0);
    assert!(cfg!(not(target_os = "linux")) || prove["peak_rss_bytes"].as_u64().unwrap() > 0);

    let verify = world.args(&["verify", "m.proof", "--vk", "m.vk", "--model-id", &id[..16], "--json"]).succeeded().json();
    assert_eq!(verify["verified"], true);
    assert_eq!(verify["model_id"], id);
    assert!(verify["error"].is_null());
    assert!(verify["verify_seconds"].as_f64().unwrap() > 0.0);
    // What is proved is what the integer model says, in the same real numbers.
    assert_eq!(verify["outputs"], run["outputs"]);
    assert_eq!(verify["outputs"]["logits"]["shape"], serde_json::json!([1, 10]));
    let input = verify["statement"]["inputs"]["image"]["values"].as_array().unwrap();
    assert!(input.iter().zip(pixels()).all(|(a, b)| (a.as_f64().unwrap() - f64::from(b)).abs() < 1e-3));

    let text = world.run("verify m.proof --vk m.vk").succeeded().stdout;
    assert!(text.contains(&id) && text.contains("logits [1, 10] = ["), "{text}");
}

#[test]
fn two_proofs_of_one_statement_differ() {
    let world = World::with_proof();
    world.run("prove m.zkt --pk m.pk --input input.json -o again.proof").succeeded();
    assert_ne!(world.bytes("m.proof"), world.bytes("again.proof"));
    world.run("verify again.proof --vk m.vk").succeeded();
}

#[test]
fn private_and_committed_tensors_stay_out_of_the_proof_file() {
    let world = World::with_model();
    for (input, output) in [("private", "public"), ("committed", "committed"), ("public", "private")] {
        let flags = format!("--input-visibility {input} --output-visibility {output}");
        world.run(&format!("compile m.onnx -o v.zkt --calibrate input.json {flags}")).succeeded();
        world.run("setup v.zkt --pk v.pk --vk v.vk").succeeded();
        world.run("prove v.zkt --pk v.pk --input input.json -o v.proof").succeeded();
        let json = world.run("verify v.proof --vk v.vk --json").succeeded().json();
        let shown = |of: &str, name: &str| json["statement"][of][name].get("values").is_some();
        assert_eq!(shown("inputs", "image"), input == "public", "{json}");
        assert_eq!(shown("outputs", "logits"), output == "public", "{json}");
        assert_eq!(json["outputs"].as_object().unwrap().len(), usize::from(output == "public"));
        let commitment = &json["statement"]["inputs"]["image"]["commitment"];
        assert_eq!(commitment.is_string(), input == "committed", "{json}");
    }
}

#[test]
fn every_file_can_be_inspected() {
    let world = World::with_proof();
    world.run("srs generate --size-log2 4 -o s.srs").succeeded();
    for (file, words) in [
        ("m.zkt", "a compiled model"),
        ("m.pk", "a proving key"),
        ("m.vk", "a verifying key"),
        ("m.proof", "a proof"),
        ("s.srs", "a reference string"),
    ] {
        let text = world.run(&format!("inspect {file}")).succeeded().stdout;
        assert!(text.contains(words), "{text}");
        let json = world.run(&format!("inspect {file} --json")).succeeded().json();
        assert_eq!(json["kind"], words);
    }
}

#[test]
fn secrets_are_for_their_owner() {
    let world = World::with_proof();
    world.run("prove m.zkt --pk m.pk --input input.json --accumulator a.acc").succeeded();
    world.write("plain", "");
    let mode = |name: &str| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path(name)).unwrap().permissions()) & 0o777;
    for secret in ["m.zkt", "m.pk", "a.acc"] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    for shown in ["m.vk", "m.proof"] {
        assert_eq!(mode(shown), mode("plain"), "{shown}");
    }
}

#[test]
fn the_parts_of_a_proof_add_up_to_it() {
    let world = World::with_proof();
    let inspected = world.run("inspect m.proof --vk m.vk --json").succeeded().json();
    let sum = |value: &serde_json::Value| -> u64 {
        let parts = value["proof_parts"].as_array().unwrap();
        assert!(parts.len() > 5 && parts.iter().all(|p| p["part"].is_string()), "{value}");
        parts.iter().map(|p| p["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&inspected), inspected["proof_length"].as_u64().unwrap());
    // The key alone says the same of a proof of one inference.
    let of_key = world.run("inspect m.vk --json").succeeded().json();
    assert_eq!(of_key["proof_parts"], inspected["proof_parts"]);
    let text = world.run("inspect m.proof --vk m.vk").succeeded().stdout;
    for part in inspected["proof_parts"].as_array().unwrap() {
        assert!(text.contains(part["part"].as_str().unwrap()), "{text}");
    }
    assert!(!world.run("inspect m.proof").succeeded().stdout.contains("without the public tensors has"));
    world.run("setup m.zkt --pk other.pk --vk other.vk").succeeded();
    let other = world.run("inspect m.proof --vk other.vk");
    assert_eq!(other.code, 1, "{}", other.stdout);
    assert!(other.stderr.contains("it is no proof for this key"), "{}", other.stderr);
}

#[test]
fn verify_says_how_long_each_step_took() {
    let world = World::with_proof();
    let json = world.run("verify m.proof --vk m.vk --json").succeeded().json();
    let phases = json["phases"].as_object().unwrap();
    let total: f64 = phases.values().map(|t| t.as_f64().unwrap()).sum();
    assert!(phases.contains_key("reading") && phases.len() > 3, "{json}");
    assert!(total > 0.0 && total <= json["verify_seconds"].as_f64().unwrap(), "{json}");
    let listed = |text: &str| phases.keys().all(|name| text.lines().any(|l| l.starts_with("  ") && l.ends_with(&format!("  {name}"))));
    assert!(listed(&world.run("verify m.proof --vk m.vk -v").succeeded().stdout));
    assert!(!listed(&world.run("verify m.proof --vk m.vk").succeeded().stdout));
}

#[test]
fn reference_strings_are_generated_verified_and_used() {
    let world = World::with_model();
    let done = world.run("srs generate --size-log2 12 -o s.srs").succeeded();
    assert!(done.stderr.contains("can forge proofs"), "{}", done.stderr);
    assert_eq!(world.run("srs verify s.srs --json").succeeded().json()["valid"], true);
    let json = world.run("setup m.zkt --srs s.srs --pk m.pk --vk m.vk --json").succeeded().json();
    assert_eq!(json["development_srs"], false);
    assert!(!world.path("cache").exists(), "no development string is made when one is given");
}

#[test]
fn a_cached_reference_string_is_used_again_and_replaced_when_damaged() {
    let world = World::with_model();
    let setup = "setup m.zkt --pk m.pk --vk m.vk";
    assert!(world.run(setup).succeeded().stderr.contains("was generated on this machine"));
    assert!(world.run(setup).succeeded().stderr.contains("comes from this machine's cache"));
    let folder = world.path("cache/zktorch");
    let cached = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&cached, b"damaged").unwrap();
    assert!(world.run(setup).succeeded().stderr.contains("was generated on this machine"));
}

#[test]
fn inputs_come_as_npz_npy_and_json() {
    let world = World::new();
    std::fs::copy(asset("digits_conv.onnx"), world.path("c.onnx")).unwrap();
    let (npz, calibration) = (asset("digits_input.npz"), asset("digits_calibration.npz"));
    let compiled = world.args(&["compile", "c.onnx", "-o", "c.zkt", "--calibrate", calibration.to_str().unwrap(), "--json"]).succeeded();
    assert_eq!(compiled.json()["calibration_samples"], 64);
    assert!(compiled.json()["fidelity"]["logits"]["cosine"].as_f64().unwrap() > 0.999);
    let from_npz = world.args(&["run", "c.zkt", "--input", npz.to_str().unwrap(), "--json"]).succeeded().json();

    let entries = zktorch::tensors::read_entries(&npz).unwrap();
    let zktorch::tensors::Numbers::Float(values) = &entries[0].numbers else { panic!("pixels are floats") };
    world.write("i.json", format!("{{\"input_data\": {{\"image\": {values:?}}}}}"));
    assert_eq!(world.run("run c.zkt --input i.json --json").succeeded().json(), from_npz);

    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    npy.extend(format!("{:<117}\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 8, 8), }").bytes());
    npy.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    world.write("i.npy", npy);
    assert_eq!(world.run("run c.zkt --input i.npy --json").succeeded().json(), from_npz);
}

#[test]
fn compiling_without_calibration_says_so() {
    let world = World::new();
    std::fs::copy(asset("digits_mlp.onnx"), world.path("m.onnx")).unwrap();
    let done = world.run("compile m.onnx -o m.zkt --json").succeeded();
    assert!(done.stderr.contains("random inputs"), "{}", done.stderr);
    assert_eq!(done.json()["calibration_samples"], 0);
}

#[test]
fn benchmarks_report_the_stable_fields() {
    let world = World::new();
    let done = world.run("bench mlp --threads 1 --json").succeeded();
    let list = done.json();
    let fields = "name threads compile_seconds setup_seconds prove_seconds process_seconds phases proof_bytes verify_seconds pk_bytes vk_bytes \
        parameters cells lookups fidelity proof_length";
    for field in fields.split_whitespace() {
        assert!(!list[0][field].is_null(), "{field}: {list}");
    }
    assert_eq!(list[0]["threads"], 1);
    assert!(list[0]["fidelity"]["logits"]["cosine"].as_f64().is_some_and(|c| c > 0.999), "{list}");
    assert!(list[0]["proof_length"].as_u64() < list[0]["proof_bytes"].as_u64(), "{list}");
    for phase in ["witness", "commit", "opening"] {
        assert!(list[0]["phases"][phase].as_f64().is_some_and(|t| t > 0.0), "{phase}: {list}");
    }
    // Where the system tells: phases are parts of the whole, and one thread cannot be busier than one core.
    if let (Some(peak), Some(cells)) = (list[0]["peak_rss_bytes"].as_f64(), list[0]["cells"].as_f64()) {
        assert!(list[0]["peak_bytes_per_cell"].as_f64().is_some_and(|b| (b * cells / peak - 1.0).abs() < 1e-9), "{list}");
        assert!(list[0]["phase_peak_bytes"]["commit"].as_f64().is_some_and(|p| p > 0.0 && p <= peak), "{list}");
    }
    assert!(list[0]["utilisation"].as_f64().is_none_or(|u| u < 1.1), "{list}");
    world.write("before.json", &done.stdout);
    let table = world.run("bench mlp --threads 1 --against before.json").succeeded().stdout;
    assert!(table.contains("new / old:") && table.contains("1.00x"), "{table}");
}

#[test]
fn check_says_what_each_node_costs() {
    let world = World::new();
    std::fs::copy(asset("digits_mlp.onnx"), world.path("m.onnx")).unwrap();
    let report = world.run("check m.onnx --json").succeeded().json();
    let nodes = report["nodes"].as_array().unwrap().clone();
    let shares: f64 = nodes.iter().map(|n| n["share"].as_f64().unwrap()).sum();
    assert!(nodes.len() > 2 && shares > 0.1 && shares < 1.0, "{report}");
    let cells: u64 = nodes.iter().map(|n| n["cells"].as_u64().unwrap()).sum();
    assert!(cells + report["table_rows"].as_u64().unwrap() <= report["cells"].as_u64().unwrap(), "{report}");
    let place = |text: &str, name: &serde_json::Value| text.find(&format!("{} (", name["node"].as_str().unwrap()));
    let graph = world.run("check m.onnx --nodes=graph").succeeded().stdout;
    let places: Vec<_> = nodes.iter().map(|n| place(&graph, n)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{graph}");
    let mut sorted = nodes;
    sorted.sort_by(|a, b| b["share"].as_f64().unwrap().total_cmp(&a["share"].as_f64().unwrap()));
    let cost = world.run("check m.onnx --nodes").succeeded().stdout;
    assert!(place(&cost, &sorted[0]) < place(&cost, sorted.last().unwrap()), "{cost}");
}

#[test]
fn compiling_meets_a_fidelity_goal() {
    let world = World::new();
    std::fs::copy(asset("digits_mlp.onnx"), world.path("m.onnx")).unwrap();
    let pixels = |seed: usize| (0..64).map(|i| ((i * 7 + seed * 13) % 17) as f64).collect::<Vec<_>>();
    for seed in 0..3 {
        world.write(&format!("s{seed}.json"), serde_json::json!({ "input_data": [pixels(seed)] }).to_string());
    }
    let samples = "--calibrate s0.json --calibrate s1.json --calibrate s2.json";
    let coarse = world.run(&format!("compile m.onnx -o coarse.zkt {samples} --fidelity 0.99 --json")).succeeded().json();
    let fine = world.run(&format!("compile m.onnx -o fine.zkt {samples} --fidelity 0.99999 --json")).succeeded().json();
    for (report, goal) in [(&coarse, 0.99), (&fine, 0.99999)] {
        assert_eq!(report["fidelity_goal"]["met"], true, "{report}");
        assert!(report["fidelity_goal"]["reached"].as_f64().unwrap() >= goal, "{report}");
        assert!(!report["fidelity_goal"]["limits"].as_array().unwrap().is_empty(), "{report}");
    }
    assert!(coarse["fidelity_goal"]["activation_bits"].as_u64() <= fine["fidelity_goal"]["activation_bits"].as_u64());
    let text = world.run(&format!("compile m.onnx -o coarse.zkt {samples} --fidelity 0.99")).succeeded().stdout;
    assert!(text.contains("fidelity goal 0.99: least cosine") && text.contains("limited by"), "{text}");
    let refused = world.run(&format!("compile m.onnx -o c.zkt {samples} --fidelity 1.5"));
    assert!(refused.code == 2 && refused.stderr.contains("at most 1"), "{}", refused.stderr);
}

#[test]
fn named_models_can_be_had_as_files() {
    let world = World::new();
    world.run("bench trees lenet5 --export .").succeeded();
    let report = world.run("check trees.onnx --json").succeeded().json();
    assert_eq!(report["supported"], true);
    let report = world.run("check lenet5.onnx --json").succeeded().json();
    assert_eq!(report["parameters"], 61_706);
}

#[test]
fn help_teaches_and_completions_are_made() {
    let world = World::new();
    let commands = [
        "demo",
        "check",
        "compile",
        "setup",
        "run",
        "prove",
        "prove-metric",
        "plan",
        "work",
        "join",
        "verify",
        "inspect",
        "srs",
        "srs generate",
        "srs import",
        "srs verify",
        "bench",
    ];
    for command in commands {
        let help = world.run(&format!("{command} --help")).succeeded().stdout;
        assert!(help.contains("Usage: zktorch"), "{help}");
    }
    assert!(world.run("--help").succeeded().stdout.contains("zktorch prove model.zkt"));
    assert!(world.run("completions bash").succeeded().stdout.contains("_zktorch"));
}

#[test]
fn weights_are_shown_to_be_small_once() {
    let world = World::with_model();
    world.run("setup m.zkt --pk model.pk --vk model.vk --prove-ranges model.ranges").succeeded();
    world.run("setup m.zkt --pk other.pk --vk other.vk").succeeded();
    world.run("prove m.zkt --pk model.pk --input input.json -o proof.bin").succeeded();
    let done = world.run("verify proof.bin --vk model.vk --ranges model.ranges").succeeded();
    assert!(done.stdout.contains("within the bounds"), "{}", done.stdout);
    assert!(world.run("inspect model.ranges").succeeded().stdout.contains("a range proof"));
    world.run("prove m.zkt --pk other.pk --input input.json -o other.bin").succeeded();
    assert_eq!(world.run("verify other.bin --vk other.vk --ranges model.ranges").code, 1, "the range proof is about another key");
    let mut bytes = world.bytes("model.ranges");
    bytes.truncate(bytes.len() - 1);
    world.write("model.ranges", bytes);
    assert_eq!(world.run("verify proof.bin --vk model.vk --ranges model.ranges").code, 1);
}

#[test]
fn proofs_about_the_same_hidden_input_can_be_linked() {
    let world = World::new();
    std::fs::copy(asset("digits_mlp.onnx"), world.path("model.onnx")).unwrap();
    let pixels: Vec<String> = pixels().iter().map(f32::to_string).collect();
    world.write("input.json", format!("{{\"input_data\": [[{}]]}}", pixels.join(",")));
    world.run("compile model.onnx -o model.zkt --input-visibility committed --calibrate input.json").succeeded();
    world.run("setup model.zkt --pk model.pk --vk model.vk").succeeded();
    world.write("link.secret", [7u8; 32]);
    world.write("short.secret", [7u8; 8]);
    let commitment = |link: &str, name: &str| {
        world.run(&format!("prove model.zkt --pk model.pk --input input.json -o {name} {link}")).succeeded();
        let verified = world.run(&format!("verify {name} --vk model.vk --json")).succeeded().json();
        verified["statement"]["inputs"].as_object().unwrap().values().next().unwrap()["commitment"].as_str().unwrap().to_owned()
    };
    let linked = commitment("--link link.secret", "a.bin");
    assert_eq!(linked, commitment("--link link.secret", "b.bin"));
    assert_ne!(linked, commitment("", "c.bin"));
    let short = world.run("prove model.zkt --pk model.pk --input input.json -o d.bin --link short.secret");
    assert_eq!(short.code, 2);
    assert!(short.stderr.contains("too few"), "{}", short.stderr);
}

#[test]
fn many_inputs_are_one_proof_and_accumulators_fold_into_another() {
    let world = World::with_keys();
    let input = world.bytes("input.json");
    std::fs::create_dir(world.path("inputs")).unwrap();
    for k in 0..3 {
        world.write(&format!("inputs/{k}.json"), &input);
    }
    let made = world.run("prove m.zkt --pk m.pk --inputs inputs -o many.proof --json").succeeded().json();
    assert_eq!(made["inferences"], 3);
    let verified = world.run("verify many.proof --vk m.vk --json").succeeded().json();
    assert_eq!(verified["statements"].as_array().unwrap().len(), 3);
    // One by one, in segments, folded later, in two steps.
    world.run("prove m.zkt --pk m.pk --inputs inputs --batch 2 --accumulator a.acc").succeeded();
    world.run("prove m.zkt --pk m.pk --input input.json --segments 2 --accumulator b.acc").succeeded();
    let kept = world.run("accumulate a.acc b.acc --pk m.pk --keep ab.acc --json").succeeded().json();
    assert_eq!(kept["inferences"], 4);
    world.run("accumulate ab.acc b.acc --pk m.pk -o all.proof").succeeded();
    let verified = world.run("verify all.proof --vk m.vk").succeeded();
    assert!(verified.stdout.contains("5 of 5"), "{}", verified.stdout);
    assert!(world.run("inspect ab.acc").succeeded().stdout.contains("4 inferences"));
    // A model that cannot be cut so often says so.
    let cut = world.run("prove m.zkt --pk m.pk --input input.json --segments 1000 -o x.proof").succeeded();
    assert!(cut.stderr.contains("instead of 1000"), "{}", cut.stderr);
    std::fs::remove_file(world.path("x.proof")).unwrap();
    // Too little memory is said before anything is proved.
    let refused = world.run("prove m.zkt --pk m.pk --input input.json --memory 1KiB -o x.proof");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("E0407"), "{}", refused.stderr);
    assert!(!world.path("x.proof").exists());
}
