//! Results for people.

use crate::ui::{Ui, bytes, count, seconds};
use serde_json::Value;

/// Phases in the order in which they run; others, if there are any, follow.
const PHASES: [&str; 8] = ["witness", "commit", "lookups", "identities", "claims", "rows", "decider", "opening"];

/// Prints what was measured, and ratios to earlier results.
pub fn print(results: &[Value], before: Option<&[Value]>, ui: &Ui) {
    rows(&sizes(results), ui);
    ui.line("");
    rows(&times(results), ui);
    if ui.verbose {
        ui.line("");
        ui.line("peak memory per phase:");
        rows(&by_phase(results, "phase_peak_bytes", |v| v.as_u64().map_or("-".to_owned(), bytes)), ui);
    }
    if let Some(before) = before {
        ui.line("");
        ui.line("new / old:");
        rows(&ratios(results, before), ui);
    }
}

fn head(r: &Value) -> Vec<String> {
    vec![r["name"].as_str().unwrap_or_default().to_owned(), r["threads"].to_string()]
}

fn time(v: &Value) -> String {
    v.as_f64().map_or("-".to_owned(), seconds)
}

fn size(v: &Value) -> String {
    v.as_u64().map_or("-".to_owned(), bytes)
}

/// The least cosine of an output with the original's.
fn least_cosine(fidelity: &Value) -> Option<f64> {
    fidelity.as_object()?.values().filter_map(|f| f["cosine"].as_f64()).reduce(f64::min)
}

fn titles(list: &[&str]) -> Vec<String> {
    list.iter().map(|t| (*t).to_owned()).collect()
}

fn sizes(results: &[Value]) -> Vec<Vec<String>> {
    let mut table = vec![titles(&[
        "model",
        "threads",
        "parameters",
        "cells",
        "lookups",
        "compile",
        "set-up",
        "proving key",
        "verifying key",
        "cosine",
        "proof",
        "messages",
        "verify",
        "peak memory",
        "per cell",
    ])];
    for r in results {
        let number = |key: &str| r[key].as_u64().map_or("-".to_owned(), |n| count(n as usize));
        let mut row = head(r);
        row.extend(["parameters", "cells", "lookups"].map(number));
        row.extend(["compile_seconds", "setup_seconds"].map(|k| time(&r[k])));
        row.extend(["pk_bytes", "vk_bytes"].map(|k| size(&r[k])));
        row.push(least_cosine(&r["fidelity"]).map_or("-".to_owned(), |c| format!("{c:.6}")));
        row.extend(["proof_bytes", "proof_length"].map(|k| size(&r[k])));
        row.extend([time(&r["verify_seconds"]), size(&r["peak_rss_bytes"])]);
        row.push(r["peak_bytes_per_cell"].as_f64().map_or("-".to_owned(), |b| bytes(b as u64)));
        table.push(row);
    }
    table
}

/// Names of all phases of the results under `key`.
fn phases<'a>(results: &'a [Value], key: &str) -> Vec<&'a str> {
    let mut names: Vec<&str> = results.iter().filter_map(|r| r[key].as_object()).flat_map(|o| o.keys().map(String::as_str)).collect();
    let place = |name: &&str| PHASES.iter().position(|p| p == name).unwrap_or(PHASES.len());
    names.sort_by_key(|n| (place(n), *n));
    names.dedup();
    names
}

fn by_phase(results: &[Value], key: &str, text: impl Fn(&Value) -> String) -> Vec<Vec<String>> {
    let names = phases(results, key);
    let mut table = vec![titles(&[&["model", "threads"], &names[..]].concat())];
    for r in results {
        let mut row = head(r);
        row.extend(names.iter().map(|n| text(&r[key][*n])));
        table.push(row);
    }
    table
}

fn times(results: &[Value]) -> Vec<Vec<String>> {
    let mut table = by_phase(results, "phases", time);
    table[0].extend(titles(&["prove", "start to file", "cores busy"]));
    for (row, r) in table[1..].iter_mut().zip(results) {
        row.extend([time(&r["prove_seconds"]), time(&r["process_seconds"])]);
        row.push(r["utilisation"].as_f64().map_or("-".to_owned(), |u| format!("{:.0} %", 100.0 * u)));
    }
    table
}

/// New figures relative to those of the same model and thread count in earlier results.
fn ratios(results: &[Value], before: &[Value]) -> Vec<Vec<String>> {
    const FIGURES: [(&str, &str); 8] = [
        ("prove", "prove_seconds"),
        ("start to file", "process_seconds"),
        ("peak memory", "peak_rss_bytes"),
        ("proof", "proof_bytes"),
        ("verify", "verify_seconds"),
        ("set-up", "setup_seconds"),
        ("cells", "cells"),
        ("lookups", "lookups"),
    ];
    let names = phases(results, "phases");
    let figures: Vec<&str> = FIGURES.iter().map(|f| f.0).collect();
    let mut table = vec![titles(&[&["model", "threads"], &figures[..], &names].concat())];
    for r in results {
        let old = before.iter().find(|b| b["name"] == r["name"] && b["threads"] == r["threads"]).unwrap_or(&Value::Null);
        let ratio = |new: &Value, old: &Value| match (new.as_f64(), old.as_f64()) {
            (Some(n), Some(o)) if o > 0.0 => format!("{:.2}x", n / o),
            _ => "-".to_owned(),
        };
        let mut row = head(r);
        row.extend(FIGURES.iter().map(|(_, key)| ratio(&r[*key], &old[*key])));
        row.extend(names.iter().map(|n| ratio(&r["phases"][*n], &old["phases"][*n])));
        table.push(row);
    }
    table
}

/// Columns side by side.
fn rows(rows: &[Vec<String>], ui: &Ui) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &w)| format!("{cell:<w$}")).collect();
        ui.line(cells.join("  ").trim_end());
    }
}
