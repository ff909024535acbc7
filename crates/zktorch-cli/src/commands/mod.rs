//! One function per command.

mod accumulate;
mod check;
mod compile;
mod demo;
pub mod inspect;
mod job;
mod prove;
mod prove_metric;
mod run;
mod setup;
mod srs;
mod verify;

use crate::args::{BenchOne, Cli, Command, Dim, Metric, Stage, Visibility};
use crate::ui::Ui;
use crate::{Failure, Outcome, bench};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use zktorch::{Fidelity, Tensor, TensorSpec, container};

/// Runs the command.
pub fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    if let Command::Prove(_) | Command::ProveMetric(_) | Command::Work(_) | Command::BenchOne(BenchOne { stage: Stage::Prove, .. }) =
        &cli.command
    {
        // These processes end with the proof.
        zktorch::memory::keep_freed();
    }
    match cli.command {
        Command::Demo(args) => demo::demo(&args, ui),
        Command::Check(args) => check::check(&args, ui),
        Command::Compile(args) => compile::compile(&args, ui),
        Command::Setup(args) => setup::setup(&args, ui),
        Command::Run(args) => run::run(&args, ui),
        Command::Prove(args) => prove::prove(&args, ui),
        Command::ProveMetric(args) => prove_metric::prove_metric(&args, ui),
        Command::Accumulate(args) => accumulate::accumulate(&args, ui),
        Command::Plan(args) => job::plan(&args, ui),
        Command::Work(args) => job::work(&args, ui),
        Command::Join(args) => job::join(&args, ui),
        Command::Verify(args) => verify::verify(&args, ui),
        Command::Inspect(args) => inspect::inspect(&args, ui),
        Command::Srs(args) => srs::srs(&args, ui),
        Command::Bench(args) => bench::bench(&args, cli.common, ui),
        Command::BenchOne(args) => bench::bench_one(&args, ui),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "zktorch", &mut script);
            ui.raw(&String::from_utf8_lossy(&script));
            Ok(Outcome::Done)
        }
    }
}

/// Checks that files can be made where flags want them, before anything is computed, and that they are different ones.
pub fn check_outputs(outputs: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
    let mut seen: Vec<(&str, &Path)> = Vec::new();
    for &(flag, path) in outputs {
        let Some(path) = path else { continue };
        container::check_writable(path)?;
        if let Some((other, _)) = seen.iter().find(|(_, p)| *p == path) {
            return Err(Failure::Usage {
                code: "E0902",
                message: format!("{other} and {flag} are the same file, {}", path.display()),
                help: "each output needs a name of its own".to_owned(),
            });
        }
        seen.push((flag, path));
    }
    Ok(())
}

/// Sizes by name; a name given twice keeps its last value.
pub fn dims(list: &[Dim]) -> BTreeMap<String, usize> {
    list.iter().map(|d| (d.name.clone(), d.value)).collect()
}

impl From<Visibility> for zktorch::Visibility {
    fn from(v: Visibility) -> Self {
        match v {
            Visibility::Public => zktorch::Visibility::Public,
            Visibility::Private => zktorch::Visibility::Private,
            Visibility::Committed => zktorch::Visibility::Committed,
        }
    }
}

impl From<Metric> for zktorch::Metric {
    fn from(m: Metric) -> Self {
        match m {
            Metric::Top1 => zktorch::Metric::Top1,
        }
    }
}

/// Name of a visibility.
pub fn visibility_name(v: zktorch::Visibility) -> &'static str {
    match v {
        zktorch::Visibility::Public => "public",
        zktorch::Visibility::Private => "private",
        zktorch::Visibility::Committed => "committed",
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `{NAME: {shape, values}}`.
pub fn tensors_json<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Value {
    tensors.map(|(n, t)| (n.to_owned(), json!({ "shape": t.shape, "values": zktorch::tensors::json_values(t) }))).collect()
}

/// Most elements of a tensor that are printed.
const SHOWN: usize = 12;

/// The first elements, and the largest if there is a row to choose from.
pub fn preview(tensor: &Tensor) -> String {
    let values = tensor.to_f32_vec();
    let shown: Vec<String> = values.iter().take(SHOWN).map(|x| number(*x)).collect();
    let rest = if values.len() > SHOWN { format!(", … {} in all", values.len()) } else { String::new() };
    format!("[{}{rest}]", shown.join(", "))
}

fn number(x: f32) -> String {
    if x == x.trunc() && x.abs() < 1e6 { format!("{x}") } else { format!("{x:.4}") }
}

/// `image f32 [1, 1, 8, 8]`.
pub fn spec_text(spec: &TensorSpec) -> String {
    format!("{} {} {:?}", spec.name, spec.dtype, spec.shape)
}

/// How integers stand for real numbers.
pub fn scale_text(scale: i32) -> String {
    match scale {
        0 => "whole numbers".to_owned(),
        n => format!("in steps of 2^{}", -n),
    }
}

/// `{NAME: {max_abs, mean_abs, cosine, top1}}`.
pub fn fidelity_json(list: &[Fidelity]) -> Value {
    list.iter()
        .map(|f| (f.name.clone(), json!({ "max_abs": f.max_abs, "mean_abs": f.mean_abs, "cosine": f.cosine, "top1": f.top1 })))
        .collect()
}

/// One line per output.
pub fn fidelity_lines(list: &[Fidelity], ui: &Ui) {
    for f in list {
        ui.line(format!(
            "  {}: largest error {:.3e}, mean error {:.3e}, cosine {:.6}, same top-1 in {:.2} %",
            f.name,
            f.max_abs,
            f.mean_abs,
            f.cosine,
            100.0 * f.top1
        ));
    }
}

/// Words of a phase of proving.
pub fn phase_text(phase: &str) -> &str {
    match phase {
        "witness" => "running the integer model",
        "commit" => "committing to the cells",
        "lookups" => "proving the lookups",
        "identities" => "proving the identities",
        "claims" => "merging the claims",
        "rows" => "opening the rows",
        "decider" => "proving the verifier circuit",
        "opening" => "opening the commitment",
        other => other,
    }
}
