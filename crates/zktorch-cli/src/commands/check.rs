use super::dims;
use crate::args::{self, Order};
use crate::ui::{Ui, bytes, count, seconds};
use crate::{Failure, Outcome};
use serde_json::json;
use zktorch::{CheckReport, NodeReport};

/// `zktorch check`.
pub fn check(args: &args::Check, ui: &Ui) -> Result<Outcome, Failure> {
    ui.phase("importing and compiling");
    let report = zktorch::check(&args.model.model, &dims(&args.model.dims), &args.calibrate)?;
    ui.finish();
    let supported = report.unsupported.is_empty();
    let (time, memory) = estimate(&report);
    let unsupported: Vec<_> = report.unsupported.iter().map(|u| json!({ "node": u.node, "op": u.op, "reason": u.reason })).collect();
    let tensors = |specs: &[zktorch::TensorSpec]| -> serde_json::Value {
        specs.iter().map(|s| json!({ "name": s.name, "dtype": s.dtype.to_string(), "shape": s.shape })).collect()
    };
    ui.result(&json!({
        "supported": supported,
        "unsupported": unsupported,
        "parameters": report.parameters,
        "cells": report.cells,
        "lookups": report.lookups,
        "table_rows": report.table_rows,
        "nodes": nodes_json(&report),
        "operators": report.operators,
        "inputs": tensors(&report.inputs),
        "outputs": tensors(&report.outputs),
        "proof_bytes": report.proof_bytes,
        "srs_size": report.srs_size,
        "estimated_prove_seconds": time,
        "estimated_peak_bytes": memory,
        "warnings": report.warnings,
    }));
    for (what, specs) in [("input ", &report.inputs), ("output", &report.outputs)] {
        for spec in specs {
            ui.line(format!("{what}      {}", super::spec_text(spec)));
        }
    }
    let operators: Vec<String> = report.operators.iter().map(|(op, n)| format!("{op} {n}")).collect();
    if !operators.is_empty() {
        ui.line(format!("operators   {}", operators.join(", ")));
    }
    if supported {
        ui.line(format!("parameters  {}", count(report.parameters)));
        ui.line(format!("cells       {}", count(report.cells)));
        ui.line(format!("lookups     {}", count(report.lookups)));
        ui.line(format!("proof       {} and the public tensors", bytes(report.proof_bytes as u64)));
        ui.line(format!("reference string of 2^{} powers or more", report.srs_size.next_power_of_two().trailing_zeros()));
        ui.line(format!("estimate    about {} and {} to prove on this machine, not measured", seconds(time), bytes(memory)));
        node_lines(&report, args.nodes, ui);
        for warning in &report.warnings {
            ui.line(format!("warning     {warning}"));
        }
        ui.line("supported: every operator of this model can be proved");
    } else {
        for node in report.unsupported.iter().take(40) {
            ui.line(format!("unsupported {} ({}): {}", node.node, node.op, node.reason));
        }
        if report.unsupported.len() > 40 {
            ui.line(format!("… and {} more; --json lists all", report.unsupported.len() - 40));
        }
        ui.line(format!("not supported: {} node(s) cannot be proved", report.unsupported.len()));
    }
    Ok(Outcome::Done)
}

/// Nodes that are listed unasked.
const LISTED: usize = 10;

/// Share of the whole cost.
fn share(cost: usize, report: &CheckReport) -> f64 {
    cost as f64 / report.cost.max(1) as f64
}

fn nodes_json(report: &CheckReport) -> serde_json::Value {
    let node = |n: &NodeReport| json!({ "node": n.name, "op": n.op, "cells": n.cells, "lookups": n.lookups, "share": share(n.cost(), report), "scale": n.scale });
    report.nodes.iter().map(node).collect()
}

/// What nodes cost, as a share of the estimated time; the rest are the tables and the inputs.
fn node_lines(report: &CheckReport, order: Option<Order>, ui: &Ui) {
    let mut nodes: Vec<&NodeReport> = report.nodes.iter().collect();
    if order != Some(Order::Graph) {
        nodes.sort_by_key(|n| std::cmp::Reverse(n.cost()));
    }
    let listed = if order.is_some() { nodes.len() } else { LISTED };
    let line = |ui: &Ui, share: f64, cells: usize, lookups: usize, what: &str| {
        ui.line(format!("  {:5.1} %  {:>12}  {:>12}  {what}", 100.0 * share, count(cells), count(lookups)));
    };
    ui.line(format!("    share  {:>12}  {:>12}  node", "cells", "lookups"));
    for n in nodes.iter().take(listed) {
        line(ui, share(n.cost(), report), n.cells, n.lookups, &format!("{} ({})", n.name, n.op));
    }
    if let [first, ..] = &nodes[listed.min(nodes.len())..] {
        let rest = &nodes[listed..];
        let sum = |f: fn(&NodeReport) -> usize| rest.iter().map(|n| f(n)).sum::<usize>();
        let what = format!("{} more nodes, each at most as much as {} (--nodes lists all)", rest.len(), first.name);
        line(ui, share(sum(NodeReport::cost), report), sum(|n| n.cells), sum(|n| n.lookups), &what);
    }
    let of_nodes = |f: fn(&NodeReport) -> usize| report.nodes.iter().map(f).sum::<usize>();
    let (cells, lookups) = (report.cells.saturating_sub(of_nodes(|n| n.cells)), report.lookups.saturating_sub(of_nodes(|n| n.lookups)));
    line(ui, share(report.cost.saturating_sub(of_nodes(NodeReport::cost)), report), cells, lookups, "tables and inputs");
}

/// Seconds and bytes that a proof takes, roughly. The coefficients were fitted by hand to the models of docs/performance.md and README.md, from mlp to
/// gpt2-256 and from cells-16 to cells-26, measured with 1 and 2 threads of a Xeon with AVX-512. Up to eight threads are taken to help in proportion.
fn estimate(report: &CheckReport) -> (f64, u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (prove_seconds(report, cores), peak_bytes(report))
}

fn prove_seconds(report: &CheckReport, cores: usize) -> f64 {
    let size = (report.cells + report.lookups) as f64;
    // Messages and circuits grow much slower than tables do.
    let work = 0.03 + 1e-4 * size.sqrt() + 0.18e-6 * size + 4e-9 * report.parameters as f64;
    let speedup = if cores == 1 { 1.0 } else { 0.9 * cores.min(8) as f64 };
    0.012 + work / speedup
}

/// Weights have 16 bits.
fn peak_bytes(report: &CheckReport) -> u64 {
    let size = report.cells + report.lookups;
    20_000_000 + (21 * size + 18_000 * size.isqrt() + 2 * report.parameters) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells, lookups and parameters in millions, seconds with two threads and megabytes, of the version that the coefficients were fitted to.
    const MEASURED: [(&str, [f64; 3], f64, f64); 15] = [
        ("mlp", [0.001, 0.001, 0.007], 0.032, 18.0),
        ("trees", [0.053, 0.032, 0.6], 0.055, 24.0),
        ("lenet5", [0.045, 0.024, 0.062], 0.052, 22.0),
        ("cells-18", [0.23, 0.20, 0.54], 0.099, 35.0),
        ("nanogpt", [0.74, 0.51, 0.21], 0.251, 77.0),
        ("vgg16", [1.05, 0.72, 15.2], 0.44, 115.0),
        ("gpt2-16", [2.8, 3.6, 124.0], 1.36, 416.0),
        ("gpt2-64", [10.8, 14.4, 124.0], 3.1, 845.0),
        ("gpt2-256", [55.9, 64.0, 124.0], 15.0, 3120.0),
        ("mobilenetv2", [13.8, 13.6, 3.5], 2.98, 646.0),
        ("resnet50", [22.7, 20.8, 25.6], 4.6, 1005.0),
        ("bert-base", [27.0, 31.3, 110.0], 5.71, 1350.0),
        ("vit-b16", [48.8, 51.9, 86.0], 10.4, 2050.0),
        ("cells-20", [0.75, 0.78, 0.54], 0.192, 68.0),
        ("cells-26", [42.7, 48.8, 0.54], 8.36, 1790.0),
    ];

    #[test]
    fn estimates_are_within_a_factor_of_one_and_a_half() {
        for (name, sizes, seconds, megabytes) in MEASURED {
            let [cells, lookups, parameters] = sizes.map(|millions| (millions * 1e6) as usize);
            let report = CheckReport { cells, lookups, parameters, ..CheckReport::default() };
            let near = |estimated: f64, measured: f64| estimated < 1.5 * measured && measured < 1.5 * estimated;
            let (time, memory) = (prove_seconds(&report, 2), peak_bytes(&report) as f64 / 1e6);
            assert!(near(time, seconds), "{name}: {time} s, measured {seconds}");
            assert!(near(memory, megabytes), "{name}: {memory} MB, measured {megabytes}");
        }
    }
}
