use super::{World, asset};
use std::fmt::Write as _;
use zktorch::{Data, Model, Tensor};

const IMAGES: usize = 30;

/// Made-up images, 64 numbers in [0, 1] each.
fn images() -> Vec<Vec<f32>> {
    (0..IMAGES).map(|k| (0..64).map(|i| ((k * 37 + i * (11 + k % 7)) % 23) as f32 / 22.0).collect()).collect()
}

fn json(numbers: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let mut text = String::new();
    for x in numbers {
        let _ = write!(text, "{}{x}", if text.is_empty() { "" } else { "," });
    }
    format!("{{\"input_data\": [[{text}]]}}")
}

/// The perceptron, compiled for its accuracy, set up, with images.
fn world(flags: &str) -> World {
    let world = World::new();
    std::fs::copy(asset("digits_mlp.onnx"), world.path("m.onnx")).unwrap();
    world.write("images.json", json(images().concat()));
    world.run(&format!("compile m.onnx --metric top1 -o m.zkt --calibrate images.json {flags}")).succeeded();
    world.run("setup m.zkt --pk m.pk --vk m.vk").succeeded();
    world
}

/// What the integer model takes each image for.
fn predictions(world: &World) -> Vec<i64> {
    let model = Model::read(&world.path("m.zkt")).unwrap();
    let shapes: Vec<_> = model.inputs().into_iter().map(|s| s.shape).collect();
    let predict = |image: Vec<f32>| {
        let label = Tensor { shape: shapes[1].clone(), data: Data::I64(vec![0]) };
        let run = model.run(&[Tensor { shape: shapes[0].clone(), data: Data::F32(image.into()) }, label]).unwrap();
        let scores = run.outputs[0].to_f32_vec();
        (1..10).fold(0, |best, j| if scores[j] > scores[best] { j } else { best }) as i64
    };
    images().into_iter().map(predict).collect()
}

#[test]
fn the_accuracy_of_a_hidden_model_is_proved() {
    let world = world("");
    // Every third label is wrong.
    let labels: Vec<i64> = predictions(&world).iter().enumerate().map(|(k, p)| if k % 3 == 2 { (p + 1) % 10 } else { *p }).collect();
    world.write("labels.json", json(&labels));
    let line = "prove-metric m.zkt --pk m.pk --inputs images.json --labels labels.json -o m.proof";
    let made = world.run(&format!("{line} --json")).succeeded().json();
    assert_eq!(made["metric"]["correct"], 20, "{made}");
    assert_eq!(made["batches"].as_array().unwrap().len(), 1, "{made}");
    let text = world.run("verify m.proof --vk m.vk").succeeded().stdout;
    assert!(text.contains("20 of 30 correct (66.67 %)") && text.contains("private"), "{text}");
    let verified = world.run("verify m.proof --vk m.vk --json").succeeded().json();
    assert_eq!(verified["metric"], serde_json::json!({ "name": "top1", "correct": 20, "of": 30 }));
    assert_eq!(verified["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["correct"], "no scores: {verified}");
    assert_eq!(verified["statement"]["inputs"]["label"]["values"].as_array().unwrap().len(), IMAGES);
    // Several batches, whose counts add up.
    let said = world.run(&format!("{line} --batch 10")).succeeded();
    assert!(said.stdout.contains("20 of 30 correct") && said.stderr.contains("each of 3 batches"), "{}{}", said.stdout, said.stderr);
    assert!(world.run("verify m.proof --vk m.vk").succeeded().stdout.contains("20 of 30 correct"));
    world.write("wrong.json", json(labels.iter().map(|l| (l + 1) % 10)));
    world.refuses(&format!("{line} --batch 1"), "E0707", "whether that prediction is correct");
    world.run("prove-metric m.zkt --pk m.pk --inputs images.json --labels wrong.json -o wrong.proof").succeeded();
    let text = world.run("verify wrong.proof --vk m.vk").succeeded().stdout;
    assert!(!text.contains("20 of 30"), "{text}");
}

#[test]
fn a_job_counts_over_its_inputs() {
    let world = world("");
    let labels: Vec<i64> = predictions(&world).iter().enumerate().map(|(k, p)| if k % 5 == 0 { (p + 1) % 10 } else { *p }).collect();
    world.write("labels.json", json(&labels));
    let plan = "plan m.zkt --pk m.pk --inputs images.json --labels labels.json --segments 2";
    let made = world.run(&format!("{plan} --batch 15 -o job --json")).succeeded().json();
    assert_eq!((made["inferences"].as_u64(), made["batches"].as_array().unwrap().len()), (Some(30), 2), "{made}");
    world.run("work job --all").succeeded();
    world.run("join job -o m.proof").succeeded();
    let verified = world.run("verify m.proof --vk m.vk --json").succeeded().json();
    assert_eq!(verified["metric"], serde_json::json!({ "name": "top1", "correct": 24, "of": 30 }));
    let statements = verified["statements"].as_array().unwrap();
    assert_eq!(statements.len(), 2, "one count for each batch: {verified}");
    assert!(statements.iter().all(|s| s["outputs"].as_object().unwrap().keys().eq(["correct"])), "no scores: {verified}");
    world.refuses(&format!("{plan} --batch 1 -o other"), "E0707", "whether that prediction is correct");
    let single = world.run("plan m.zkt --pk m.pk --input images.json --labels labels.json -o other --json");
    assert_eq!((single.code, single.json()["error"]["code"].as_str()), (2, Some("E0900")));
}

#[test]
fn labels_and_models_that_do_not_fit_are_refused() {
    let world = world("--input-visibility private");
    world.write("labels.json", json(predictions(&world)));
    let line = |labels: &str| format!("prove-metric m.zkt --pk m.pk --inputs images.json --labels {labels} -o m.proof");
    let text = world.run(&line("labels.json")).succeeded().stdout;
    assert!(text.contains("30 of 30 correct"), "{text}");
    let verified = world.run("verify m.proof --vk m.vk --json").succeeded().json();
    assert_eq!(verified["statement"]["inputs"]["label"].get("values"), None);
    assert_eq!(verified["metric"]["of"], 30);
    std::fs::remove_file(world.path("m.proof")).unwrap();
    world.write("few.json", json(0..7));
    world.refuses(&line("few.json"), "E0706", "7 labels for 30 inputs");
    world.write("large.json", json((0..30).map(|k| k % 11)));
    world.refuses(&line("large.json"), "E0706", "label 10 at position 10");
    world.write("floats.json", json((0..30).map(|k| f64::from(k) + 0.5)));
    world.refuses(&line("floats.json"), "E0702", "floating point");
    world.run("compile m.onnx -o plain.zkt --calibrate images.json").succeeded();
    world.run("setup plain.zkt --pk plain.pk --vk plain.vk").succeeded();
    world.refuses("prove-metric plain.zkt --pk plain.pk --inputs images.json --labels labels.json -o m.proof", "E0705", "without a metric");
    let both = world.run("compile m.onnx -o x.zkt --metric top1 --output-visibility private --json");
    assert_eq!((both.code, both.json()["error"]["code"].as_str()), (2, Some("E0900")));
    // Compared are the scores.
    world.write("one.json", format!("{{\"input_data\": [{:?}, [3]]}}", images()[0]));
    let compared = world.run("run m.zkt --input one.json --compare m.onnx").succeeded().stdout;
    assert!(compared.contains("same top-1 in 100.00 %"), "{compared}");
}
