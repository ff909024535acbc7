//! Runs the backend node tests of the ONNX project: imports each case, calibrates on its operands, compiles, runs the integers, checks every
//! equation, compares with the expected results and, with `--prove`, proves and verifies.
//!
//! `cargo run -p zktorch --example node_tests -- CASES [--prove] [--table docs/operators.md] [--excluded conformance/excluded.txt] [--list FILE] [NAME…]`
//!
//! `conformance/cases.py` writes CASES. A case that is not in the list of excluded ones must pass, one that is must not: the exit status says
//! whether both hold. NAME restricts the run to cases whose name contains it.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod report;

use case::{Case, Outcome};
use common::Result;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use zktorch_protocol::pcs::Srs;

/// What to do, from the command line.
#[derive(Default)]
struct Args {
    cases: PathBuf,
    prove: bool,
    table: Option<PathBuf>,
    excluded: Option<PathBuf>,
    list: Option<PathBuf>,
    names: Vec<String>,
}

fn args() -> Result<Args> {
    let mut args = Args::default();
    let mut words = std::env::args().skip(1);
    args.cases = words.next().ok_or("usage: node_tests CASES [--prove] [--table FILE] [--excluded FILE] [--list FILE] [NAME…]")?.into();
    while let Some(word) = words.next() {
        let mut file = || words.next().map(PathBuf::from).ok_or(format!("{word} needs a file"));
        match word.as_str() {
            "--prove" => args.prove = true,
            "--table" => args.table = Some(file()?),
            "--excluded" => args.excluded = Some(file()?),
            "--list" => args.list = Some(file()?),
            _ => args.names.push(word),
        }
    }
    Ok(args)
}

/// Excluded cases by name with their reasons. A line is `reason:` or two spaces and a name.
fn excluded(text: &str) -> BTreeMap<String, String> {
    let mut reason = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        match line.strip_prefix("  ") {
            Some(name) => _ = found.insert(name.trim().to_owned(), reason.clone()),
            None => reason = line.trim_end_matches(':').to_owned(),
        }
    }
    found
}

fn main() -> ExitCode {
    common::exit(start())
}

fn start() -> Result<bool> {
    let args = args()?;
    let excluded = match &args.excluded {
        Some(file) => excluded(&std::fs::read_to_string(file)?),
        None => BTreeMap::new(),
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&args.cases)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|n| args.names.is_empty() || args.names.iter().any(|part| n.contains(part.as_str())));
    names.sort();
    let srs = args.prove.then(|| {
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_os_rng();
        Srs::generate(1 << case::SRS_BITS, &mut rng)
    });
    if args.names.is_empty() {
        // Panics are counted as failures; a run of chosen cases shows them.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let run = |name: &String| {
        let case = Case { name: name.clone(), folder: args.cases.join(name) };
        let outcome = std::panic::catch_unwind(|| case.run(srs.as_ref())).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Outcome::failed("panic", text.unwrap_or_default())
        });
        (case, outcome)
    };
    // Provers use all cores themselves. What is done is shown at once, in case the run is cut short.
    let run_shown = |name: &String| {
        let (case, outcome) = run(name);
        print!("{}", report::line(&case, &outcome, "done"));
        (case, outcome)
    };
    let done: Vec<(Case, Outcome)> = if args.prove { names.iter().map(run_shown).collect() } else { names.par_iter().map(run).collect() };
    let mut right = true;
    let mut lines = String::new();
    for (case, outcome) in &done {
        let expected = excluded.get(&case.name);
        let verdict = match (outcome.failure.is_none(), expected) {
            (true, None) => "pass",
            (false, Some(_)) => "excluded",
            (true, Some(_)) => "PASSES BUT IS EXCLUDED",
            (false, None) => "FAIL",
        };
        right &= matches!(verdict, "pass" | "excluded");
        let line = report::line(case, outcome, verdict);
        if !matches!(verdict, "pass" | "excluded") && args.list.is_none() {
            print!("{line}");
        }
        lines.push_str(&line);
    }
    if let Some(file) = &args.list {
        std::fs::write(file, lines)?;
    }
    if let Some(file) = &args.table {
        std::fs::write(file, report::table(&done, &excluded, args.prove))?;
    }
    println!("{}", report::summary(&done, &excluded));
    Ok(right)
}
